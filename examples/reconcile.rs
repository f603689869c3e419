//! Prints the steps that make IPVS, virtual IPs and sets equal to a JSON file, and the conflicts that prevent some.
//!
//! ```sh
//! cargo build --features serde --example reconcile
//! sudo target/debug/examples/reconcile FILE [--dry-run | --once]
//! ```
//!
//! `--dry-run` prints the plan. `--once` applies it and ends. Without both, the program applies the file every second.
//! Names of sets must begin with `reconcile-`.
//!
//! FILE is the text of a `lvs::director::Desired`, such as `{"services": [{"service": "10.96.0.10:80/tcp", "scheduler": "wrr",
//! "destinations": [{"address": "10.0.1.1:8080"}]}]}`. `SIGTERM` ends the program. Its objects stay, and the next run continues.

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use lvs::director::{Desired, Director, Owner};
use lvs::vip::Binder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let mut arguments = env::args().skip(1);
    let usage = "usage: reconcile FILE [--dry-run | --once]";
    let file = arguments.next().ok_or(usage)?;
    let mode = arguments.next().unwrap_or_default();

    let owner = Owner::registered("reconcile")?.sets("reconcile-");
    let mut director = Director::connect(owner, Binder::dummy("reconcile0")?)?;
    match mode.as_str() {
        "--dry-run" => return Ok(write!(out, "{}", director.plan(&read(&file)?)?)?),
        "--once" => return Ok(writeln!(out, "{}", director.sync(&read(&file)?)?)?),
        "" => {}
        _ => return Err(usage.into()),
    }
    // A file that cannot be read changes nothing.
    let (mut known, mut conflicts) = (read(&file)?, Vec::new());
    loop {
        let report = director.sync(&known).or_else(|error| writeln!(out, "{error}").map(|()| *error.done))?;
        for (step, end) in report.steps() {
            writeln!(out, "{step} ({end:?})")?;
        }
        for conflict in report.conflicts.iter().filter(|conflict| !conflicts.contains(*conflict)) {
            writeln!(out, "! {conflict}")?;
        }
        conflicts.clone_from(&report.conflicts);
        let look_again = Instant::now() + Duration::from_secs(1);
        thread::sleep(report.again_at.unwrap_or(look_again).min(look_again).saturating_duration_since(Instant::now()));
        match read(&file) {
            Ok(desired) => known = desired,
            Err(error) => writeln!(out, "{file}: {error}")?,
        }
    }
}

fn read(file: &str) -> Result<Desired, Box<dyn Error>> {
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}
