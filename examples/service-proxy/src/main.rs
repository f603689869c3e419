//! Command line of `service-proxy`: see `service-proxy --help`.
#![forbid(unsafe_code)]

mod commands;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

use commands::{Command, Failed};

/// Serves the Services of a Kubernetes cluster on this node by IPVS, as kube-proxy does in IPVS mode.
#[derive(Parser)]
#[command(name = "service-proxy", version, after_help = commands::EXIT_STATUS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.run(&mut io::stdout().lock()) {
        Ok(status) => status,
        // `service-proxy plan - | head -1` has all that it wants.
        Err(Failed::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            // The exit status reports the failure also where standard error is lost.
            let _ = writeln!(io::stderr(), "service-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
