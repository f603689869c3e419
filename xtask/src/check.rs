//! Checks what is required of every change.
use crate::{arrows, cargo, prose, step};
use anyhow::{Context, Result, bail};
use std::process::{Command, ExitCode, Stdio};

struct Check {
    name: &'static str,
    /// Arguments of `cargo`.
    arguments: &'static str,
    environment: &'static [(&'static str, &'static str)],
}

/// A program that the checks need and that does not come with the compiler.
struct Tool {
    name: &'static str,
    /// Arguments of `cargo` that succeed if the tool is installed.
    probe: &'static str,
    /// Command that installs the tool.
    install: &'static str,
}

const TOOLS: [Tool; 2] = [
    Tool {
        name: concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"), ".0"),
        probe: concat!("+", env!("CARGO_PKG_RUST_VERSION"), ".0 --version"),
        install: concat!("rustup toolchain install ", env!("CARGO_PKG_RUST_VERSION"), ".0 --profile minimal"),
    },
    Tool { name: "cargo-deny", probe: "deny --version", install: "cargo install cargo-deny --locked" },
];

const CHECKS: [Check; 9] = [
    Check { name: "format", arguments: "fmt --all --check", environment: &[] },
    Check {
        name: "lints",
        arguments: "clippy --workspace --all-targets --all-features -- -D warnings",
        environment: &[],
    },
    Check {
        name: "lints without features",
        arguments: "clippy --package lvs --lib --examples -- -D warnings",
        environment: &[],
    },
    Check {
        name: "documentation",
        arguments: "doc --workspace --no-deps --all-features",
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    Check {
        name: "lowest Rust",
        // The client of the API server needs a later one.
        arguments: concat!(
            "+",
            env!("CARGO_PKG_RUST_VERSION"),
            ".0 check --workspace --exclude service-proxy --all-targets --all-features"
        ),
        environment: &[],
    },
    Check { name: "public interface", arguments: "xtask api --check", environment: &[] },
    Check {
        name: "package",
        // Its metadata has no repository yet.
        arguments: "package --package lvs --all-features --allow-dirty --no-metadata",
        environment: &[],
    },
    Check {
        name: "dependencies",
        // It warns of exceptions in deny.toml that nothing needs any longer.
        arguments: "deny --workspace --exclude service-proxy check -D warnings licenses bans sources",
        environment: &[],
    },
    Check {
        name: "dependencies of the service proxy",
        arguments: concat!(
            "deny --manifest-path examples/service-proxy/Cargo.toml --config examples/service-proxy/deny.toml ",
            "check -D warnings licenses bans sources"
        ),
        environment: &[],
    },
];

const ADVISORIES: Check =
    Check { name: "advisories", arguments: "deny --workspace check advisories", environment: &[] };

pub(crate) fn run() -> Result<ExitCode> {
    TOOLS.iter().try_for_each(Tool::require)?;
    arrows::check()?;
    prose::check()?;
    CHECKS.iter().try_for_each(Check::run)?;
    // The only check that may be left out: the database of advisories cannot be reached from every machine.
    if succeeds("deny fetch db") {
        ADVISORIES.run()?;
        step("all checks passed");
    } else {
        step("all other checks passed; not checked: advisories: the database cannot be fetched");
    }
    Ok(ExitCode::SUCCESS)
}

impl Tool {
    fn require(&self) -> Result<()> {
        if !succeeds(self.probe) {
            bail!("{} is not installed; type: {}", self.name, self.install);
        }
        Ok(())
    }
}

impl Check {
    fn run(&self) -> Result<()> {
        step(format_args!("{}: cargo {}", self.name, self.arguments));
        let mut command = command(self.arguments);
        if !command.envs(self.environment.iter().copied()).status().context(self.name)?.success() {
            bail!("the check of {} failed", self.name);
        }
        Ok(())
    }
}

fn succeeds(arguments: &str) -> bool {
    let status = command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn command(arguments: &str) -> Command {
    let (mut command, arguments) = match arguments.strip_prefix('+').and_then(|rest| rest.split_once(' ')) {
        // The cargo that started this program is a certain toolchain's, and takes no other.
        Some((toolchain, rest)) => (cargo::of_toolchain(toolchain), rest),
        None => (cargo::command(), arguments),
    };
    command.args(arguments.split(' '));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_an_error_with_its_install_command() {
        let missing = Tool { name: "X", probe: "no-such-command --version", install: "cargo install x" };
        let error = missing.require().unwrap_err();
        assert_eq!(error.to_string(), "X is not installed; type: cargo install x");
        let there = Tool { probe: "--version", ..missing };
        there.require().unwrap();
    }
}
