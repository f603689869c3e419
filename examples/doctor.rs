//! Reports the kernel's features and settings that a load balancer needs. Changes nothing, loads nothing, and needs no
//! privilege. Exits with 1 if IPVS cannot be used. The marks are `ok`, `-` (depends on the machine's role), `!` (advice)
//! and `MISSING`.
//!
//! ```sh
//! cargo run --example doctor
//! ```

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use lvs::ready::{self, Level, Report};

fn main() -> ExitCode {
    let report = match ready::check() {
        Ok(report) => report,
        Err(error) => return complain(&format!("doctor: {error}")),
    };
    match print(&report, &mut io::stdout().lock()) {
        Ok(()) if report.is_ready() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        // `doctor | head -1` has all that it wants.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => complain(&format!("doctor: cannot write: {error}")),
    }
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Linux {}\n", report.release)?;
    for finding in report.findings() {
        let mark = match finding.level {
            Level::Good => "ok",
            Level::Depends => "-",
            Level::Advice => "!",
            Level::Missing => "MISSING",
        };
        writeln!(out, "{mark:<8}{:<41}{}", finding.what, finding.found)?;
        if finding.level != Level::Good {
            writeln!(out, "{:<8}advised: {}", "", finding.advised)?;
            writeln!(out, "{:<8}why: {}", "", finding.why)?;
        }
    }
    Ok(())
}

/// Writes the reason of a failure; the exit status reports the failure also where standard error is lost.
fn complain(text: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}
