//! Makes IPVS, virtual IPs and sets equal to a JSON file: prints each plan, then one line with its result.
//!
//! ```sh
//! cargo run --features serde --example reconcile -- FILE [--dry-run | --once]    # as root
//! ```
//!
//! It ends with `SIGTERM` at any time: what it made stays in place, and the next run continues.

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use lvs::director::{Desired, Director, Owner};
use lvs::vip::Binder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("usage: reconcile FILE [--dry-run | --once]")?;
    let mode = arguments.next().unwrap_or_default();

    let owner = Owner::registered("reconcile")?.sets("reconcile-");
    let mut director = Director::connect(owner, Binder::dummy("reconcile0")?)?;
    if mode == "--dry-run" {
        write!(out, "{}", director.plan(&read(&file)?)?)?;
        return Ok(());
    }
    // A file that cannot be read changes nothing.
    let mut known = read(&file)?;
    loop {
        let report = match director.sync(&known) {
            Ok(report) => report,
            Err(error) if mode == "--once" => return Err(error.into()),
            Err(error) => {
                writeln!(out, "{error}")?;
                *error.done
            }
        };
        for (step, end) in report.steps() {
            writeln!(out, "{step} ({end:?})")?;
        }
        if mode == "--once" {
            writeln!(out, "{report}")?;
            return Ok(());
        }
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
