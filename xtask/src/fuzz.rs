//! Looks for inputs that the crate or its programs do not survive.
use crate::test::say;
use crate::{Usage, cargo, host, step, vm};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

/// A panic is not all that counts: an input may take 10 seconds, an allocation 64 MB. No captured datagram is longer.
const LIMITS: [&str; 4] = ["-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=64", "-max_len=4096"];

/// Runs one target, or each, for `duration`. The next run begins with the inputs that this one adds to the cache.
pub(crate) fn run(target: Option<&str>, duration: Duration) -> Result<ExitCode> {
    ensure!(host::which("cargo-fuzz").is_some(), "cargo-fuzz is not installed; type: cargo install cargo-fuzz");
    let known = targets()?;
    let chosen: Vec<&str> = match target {
        None => known.iter().map(String::as_str).collect(),
        Some(target) if known.iter().any(|known| known == target) => vec![target],
        Some(target) => bail!(Usage(format!("no target {target}; known targets: {}", known.join(", ")))),
    };
    step("building the targets");
    ensure!(fuzz(&["build"]).status().context("running cargo fuzz")?.success(), "the targets could not be built");
    let mut failed = Vec::new();
    for target in chosen {
        if !one(target, duration)? {
            failed.push(target);
        }
    }
    ensure!(failed.is_empty(), "found something: {}", failed.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// `cargo fuzz`, with `RUSTC_BOOTSTRAP` for its nightly features on a stable compiler.
fn fuzz(arguments: &[&str]) -> std::process::Command {
    let mut command = cargo::command();
    command.arg("fuzz").args(arguments).env("RUSTC_BOOTSTRAP", "1");
    command
}

fn targets() -> Result<Vec<String>> {
    let output = host::output_of(&mut fuzz(&["list"]))?;
    Ok(output.lines().map(str::to_owned).collect())
}

/// Runs one target; returns whether it found nothing.
fn one(target: &str, duration: Duration) -> Result<bool> {
    let learned = vm::cache::folder()?.join("fuzz").join(target);
    fs::create_dir_all(&learned).with_context(|| format!("making {}", learned.display()))?;
    let kept = Path::new("fuzz/corpus").join(target);
    step(format_args!("{target}: {} s", duration.as_secs()));
    let started = Instant::now();
    let mut child = fuzz(&["run", target])
        .args([&learned, &kept])
        .arg("--")
        .args(LIMITS)
        .args([format!("-max_total_time={}", duration.as_secs()), "-print_final_stats=1".to_owned()])
        .stderr(Stdio::piped())
        .spawn()
        .context("running cargo fuzz")?;
    let mut end = End::default();
    for line in BufReader::new(child.stderr.take().context("the output of cargo fuzz")?).split(b'\n') {
        end.take(String::from_utf8_lossy(&line.context("the output of cargo fuzz")?).into_owned());
    }
    let good = child.wait().context("waiting for cargo fuzz")?.success();
    if !good {
        say(&end.told.join("\n"))?;
    }
    let End { executions, coverage, .. } = end;
    say(&format!("{target}: {executions} executions in {} s; {coverage}", started.elapsed().as_secs()))?;
    Ok(good)
}

/// Figures that a run prints at its end.
#[derive(Default)]
struct End {
    executions: u64,
    /// How many edges and how many features of them were reached, and how many inputs that took:
    /// `cov: 1 ft: 2 corp: 3/4b`.
    coverage: String,
    /// Everything but its progress.
    told: Vec<String>,
}

impl End {
    fn take(&mut self, line: String) {
        if let Some((_, numbers)) = line.split_once("\tcov: ").or_else(|| line.split_once(" cov: ")) {
            let numbers = numbers.split(" lim:").next().unwrap_or_default().split(" exec/s").next().unwrap_or_default();
            self.coverage = format!("cov: {}", numbers.trim());
        } else if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = count.trim().parse().unwrap_or_default();
        } else if !line.starts_with('#') && !line.starts_with("INFO") {
            self.told.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_run_is_reported() {
        let mut end = End::default();
        for line in [
            "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 32Mb",
            "#4394591\tDONE   cov: 1888 ft: 4717 corp: 542/92Kb lim: 4096 exec/s: 29103 rss: 494Mb",
            "Done 4394591 runs in 151 second(s)",
            "stat::number_of_executed_units: 4394591",
        ] {
            end.take(line.to_owned());
        }
        assert_eq!((end.executions, end.coverage.as_str()), (4_394_591, "cov: 1888 ft: 4717 corp: 542/92Kb"));
        assert_eq!(end.told, ["Done 4394591 runs in 151 second(s)"]);
    }
}
