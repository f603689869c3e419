//! Checks what is required of every change.
use crate::{arrows, host, prose, step};
use anyhow::{Context, Result, bail};
use std::path::Path;
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

/// Targets for which the library and its examples compile.
const TARGETS: [&str; 8] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "armv7-unknown-linux-gnueabihf",
    "i686-unknown-linux-gnu",
    "riscv64gc-unknown-linux-gnu",
    "s390x-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
];

const FEATURES: [&str; 4] = ["interop", "serde", "testing", "tracing"];

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
    Check { name: "package", arguments: "package --package lvs --all-features --allow-dirty", environment: &[] },
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
    for feature in FEATURES {
        cargo(
            "lints of a feature",
            &format!("clippy --package lvs --all-targets --features {feature} -- -D warnings"),
        )?;
        cargo("unit tests of a feature", &format!("test --quiet --package lvs --lib --features {feature}"))?;
    }
    let (installed, absent): (Vec<&str>, Vec<&str>) = TARGETS.iter().partition(|target| is_installed(target));
    let targets: String = installed.iter().map(|target| format!(" --target {target}")).collect();
    cargo("targets", &format!("check --package lvs --lib --examples --all-features{targets}"))?;

    // Only what a machine without its download can lack may be left out.
    let mut unchecked = Vec::new();
    if !absent.is_empty() {
        unchecked.push(format!("targets that are not installed (rustup target add {})", absent.join(" ")));
    }
    if succeeds("deny fetch db") {
        ADVISORIES.run()?;
    } else {
        unchecked.push("advisories: the database cannot be fetched".to_owned());
    }
    if unchecked.is_empty() {
        step("all checks passed");
    } else {
        step(format_args!("all other checks passed; not checked: {}", unchecked.join("; ")));
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
        run_with(self.name, self.arguments, self.environment)
    }
}

fn cargo(name: &'static str, arguments: &str) -> Result<()> {
    run_with(name, arguments, &[])
}

fn run_with(name: &'static str, arguments: &str, environment: &[(&str, &str)]) -> Result<()> {
    step(format_args!("{name}: cargo {arguments}"));
    if !command(arguments).envs(environment.iter().copied()).status().context(name)?.success() {
        bail!("the check of {name} failed");
    }
    Ok(())
}

/// Returns whether the compiler has the standard library of a target.
fn is_installed(target: &str) -> bool {
    let folder = host::output_of(Command::new("rustc").args(["--print", "target-libdir", "--target", target]));
    folder.is_ok_and(|folder| Path::new(folder.trim_end()).exists())
}

fn succeeds(arguments: &str) -> bool {
    let status = command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn command(arguments: &str) -> Command {
    let (mut command, arguments) = match arguments.strip_prefix('+').and_then(|rest| rest.split_once(' ')) {
        // The cargo that started this program is a certain toolchain's, and takes no other.
        Some((toolchain, rest)) => (crate::cargo::of_toolchain(toolchain), rest),
        None => (crate::cargo::command(), arguments),
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
