//! Says what this kernel has of what a load balancer needs, and how it is set. Changes nothing, loads nothing, and needs no
//! privilege; exits with 1 if something is missing without which IPVS cannot be used.
//!
//! ```sh
//! cargo run --example doctor
//! ```

use std::process::ExitCode;

use lvs::ready::{self, Level};

fn main() -> ExitCode {
    let report = match ready::check() {
        Ok(report) => report,
        Err(error) => {
            eprintln!("doctor: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("Linux {}\n", report.release);
    for finding in report.findings() {
        let mark = match finding.level {
            Level::Good => "ok",
            Level::Depends => "-",
            Level::Advice => "!",
            Level::Missing => "MISSING",
        };
        println!("{mark:<8}{:<41}{}", finding.what, finding.found);
        if finding.level != Level::Good {
            println!("{:<8}advised: {}", "", finding.advised);
            println!("{:<8}why: {}", "", finding.why);
        }
    }
    if report.is_ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
