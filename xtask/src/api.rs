//! The crate's public interface as a list of its items, so that a review sees what a change does to it.
use crate::{cargo, step};
use anyhow::{Context, Result, ensure};
use public_api::Builder;
use std::fs;
use std::process::ExitCode;

const FILE: &str = "docs/api.txt";

/// Writes the list, or compares it with what the crate has.
pub(crate) fn run(check: bool) -> Result<ExitCode> {
    let file = cargo::workspace().join(FILE);
    let list = list()?;
    if check {
        let kept = fs::read_to_string(&file).with_context(|| format!("reading {FILE}"))?;
        ensure!(kept == list, "{FILE} is not the public interface; type `cargo xtask api`, and look at the difference");
    } else {
        fs::write(&file, list).with_context(|| format!("writing {FILE}"))?;
        step(format_args!("the public interface is in {FILE}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The compiler whose rustdoc is read: what it writes changes with each, and this is the one that stays.
const RUST: &str = concat!(env!("CARGO_PKG_RUST_VERSION"), ".0");

fn list() -> Result<String> {
    // A folder of its own: the variable makes build scripts run again.
    let target = cargo::target_folder()?.join("api");
    let status = cargo::of_toolchain(RUST)
        .args(["rustdoc", "--quiet", "--package=lvs", "--lib", "--all-features", "--target-dir"])
        .arg(&target)
        .args(["--", "-Zunstable-options", "--output-format=json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .status();
    ensure!(status.context("running rustup")?.success(), "rustdoc could not read the public interface");
    let api = Builder::from_rustdoc_json(target.join("doc/lvs.json"))
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .context("reading the public interface from the output of rustdoc")?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}
