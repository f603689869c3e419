//! Checks what is required of every change.
use crate::{cargo, step};
use anyhow::{Context, Result, bail};
use std::process::{Command, ExitCode, Stdio};

struct Check {
    name: &'static str,
    /// What follows `cargo`.
    arguments: &'static str,
    environment: &'static [(&'static str, &'static str)],
    needs: &'static [Need],
}

/// What not every machine has: where it is missing, these arguments fail.
struct Need {
    arguments: &'static str,
    missing: &'static str,
}

const CARGO_DENY: Need = Need { arguments: "deny --version", missing: "cargo-deny is not installed" };
const ADVISORIES: Need = Need { arguments: "deny fetch db", missing: "the database cannot be fetched" };
const LOWEST_RUST: Need = Need {
    arguments: concat!("+", env!("CARGO_PKG_RUST_VERSION"), ".0 --version"),
    missing: concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"), ".0 is not installed"),
};

const CHECKS: [Check; 8] = [
    Check { name: "format", arguments: "fmt --all --check", environment: &[], needs: &[] },
    Check {
        name: "lints",
        arguments: "clippy --workspace --all-targets --all-features -- -D warnings",
        environment: &[],
        needs: &[],
    },
    Check {
        name: "documentation",
        arguments: "doc --workspace --no-deps --all-features",
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
        needs: &[],
    },
    Check {
        name: "lowest Rust",
        arguments: concat!("+", env!("CARGO_PKG_RUST_VERSION"), ".0 check --workspace --all-targets --all-features"),
        environment: &[],
        needs: &[LOWEST_RUST],
    },
    Check { name: "public interface", arguments: "xtask api --check", environment: &[], needs: &[LOWEST_RUST] },
    Check {
        name: "package",
        // Its metadata lacks a repository: there is none to name yet.
        arguments: "package --package lvs --all-features --allow-dirty --no-metadata",
        environment: &[],
        needs: &[],
    },
    Check {
        name: "dependencies",
        // It warns of exceptions in deny.toml that nothing needs any longer.
        arguments: "deny --workspace check -D warnings licenses bans sources",
        environment: &[],
        needs: &[CARGO_DENY],
    },
    Check {
        name: "advisories",
        arguments: "deny --workspace check advisories",
        environment: &[],
        needs: &[CARGO_DENY, ADVISORIES],
    },
];

pub(crate) fn run() -> Result<ExitCode> {
    let mut left_out = Vec::new();
    for check in CHECKS {
        if let Some(need) = check.needs.iter().find(|need| !need.is_met()) {
            left_out.push(format!("not checked: {}: {}", check.name, need.missing));
            continue;
        }
        step(format_args!("{}: cargo {}", check.name, check.arguments));
        let mut command = command(check.arguments);
        if !command.envs(check.environment.iter().copied()).status().context(check.name)?.success() {
            bail!("the check of {} failed", check.name);
        }
    }
    left_out.iter().for_each(step);
    step(if left_out.is_empty() { "all checks passed" } else { "all other checks passed" });
    Ok(ExitCode::SUCCESS)
}

impl Need {
    fn is_met(&self) -> bool {
        let status = command(self.arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
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
