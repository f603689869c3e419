//! Checks format, lints and documentation, as they are required of every change.
use crate::{cargo, step};
use anyhow::{Result, bail};
use std::process::ExitCode;

struct Check {
    name: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const CHECKS: [Check; 3] = [
    Check { name: "format", arguments: &["fmt", "--all", "--check"], environment: &[] },
    Check {
        name: "lints",
        arguments: &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"],
        environment: &[],
    },
    Check {
        name: "documentation",
        arguments: &["doc", "--workspace", "--no-deps", "--all-features"],
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
];

pub(crate) fn run() -> Result<ExitCode> {
    for check in CHECKS {
        step(format_args!("{}: cargo {}", check.name, check.arguments.join(" ")));
        let status = cargo::command().args(check.arguments).envs(check.environment.iter().copied()).status()?;
        if !status.success() {
            bail!("the check of {} failed", check.name);
        }
    }
    step("all checks passed");
    Ok(ExitCode::SUCCESS)
}
