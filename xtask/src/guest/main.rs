//! The program that runs the guest: `/init` and `/sbin/modprobe`, by the name it is called with.
//!
//! It is statically linked and stands in the initramfs that `cargo xtask` writes; on the host it does nothing.
mod init;
mod modules;

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let called = arguments.next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(|name| name.to_str()) {
        Some("init") if std::process::id() == 1 => init::run(),
        Some("modprobe") => modules::modprobe(arguments),
        _ => {
            complain("this is the init and the modprobe of the virtual machine that `cargo xtask` boots");
            ExitCode::from(2)
        }
    }
}

/// Writes a line to standard error; the exit status reports the failure, too.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
