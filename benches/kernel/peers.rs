//! Programs, ours and others', from their start to their end; what they read stands ready in a file.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lvs::ipvs::{Change, ServiceKey};

/// Runs a program and gives its time.
pub(crate) fn run(command: &str, input: Option<&Path>) -> Duration {
    let mut words = command.split(' ');
    let mut program = Command::new(words.next().unwrap());
    program.args(words).stdout(Stdio::null());
    program.stdin(input.map_or_else(Stdio::null, |input| File::open(input).unwrap().into()));
    let started = Instant::now();
    let status = program.status().unwrap();
    let time = started.elapsed();
    assert!(status.success(), "{command}: {status}");
    time
}

/// Runs a program with this for its input.
pub(crate) fn feed(command: &str, input: &str) -> Duration {
    let file = Path::new("/tmp/input");
    fs::write(file, input).unwrap();
    run(command, Some(file))
}

/// Runs a program once for each line, with the line's words for arguments.
pub(crate) fn each(program: &str, lines: &str) -> Duration {
    lines.lines().map(|line| run(&format!("{program} {line}"), None)).sum()
}

/// Returns the input of `ipvsadm -R` for these changes, a line for each.
pub(crate) fn ipvsadm_lines(changes: &[Change]) -> String {
    let mut lines = String::new();
    for change in changes {
        match change {
            Change::AddService(service) => writeln!(lines, "-A -t {} -s rr", address(service.key)),
            Change::SetService(service) => writeln!(lines, "-E -t {} -s rr -p 600", address(service.key)),
            Change::DeleteService(key) => writeln!(lines, "-D -t {}", address(*key)),
            Change::AddDestination(key, destination) => {
                writeln!(lines, "-a -t {} -r {} -m -w 1", address(*key), destination.address)
            }
            other => panic!("{other}"),
        }
        .unwrap();
    }
    lines
}

fn address(key: ServiceKey) -> String {
    match key {
        ServiceKey::Address { address, .. } => address.to_string(),
        other => panic!("{other}"),
    }
}
