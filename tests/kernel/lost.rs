//! Output that cannot be written: closed, to a full disk, to a reader that is gone. No program panics, and each does its
//! work all the same, or ends with a failure.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use lvs::ipvs::{Destination, Forwarding, Scheduler, Service};

use crate::lab::{Lab, Need, address, tests};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs, Need::Program("ipvsadm-rs")];
        output_of_ipvsadm_rs_that_is_lost_changes_nothing_else,
    );
    all.extend(
        tests!(&[Need::Ipvs, Need::Dummy, Need::Program("doctor")]; no_example_panics_where_its_output_is_lost,),
    );
    all
}

/// Where a stream goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stream {
    Kept,
    Closed,
    Full,
    Gone,
}

pub(crate) const LOST: [Stream; 3] = [Stream::Closed, Stream::Full, Stream::Gone];

impl Stream {
    /// Whether a program sees that its output is lost.
    pub(crate) fn loses(self) -> bool {
        matches!(self, Self::Full | Self::Gone)
    }

    fn stdio(self) -> Stdio {
        match self {
            Self::Kept | Self::Closed => Stdio::null(),
            Self::Full => File::options().write(true).open("/dev/full").unwrap().into(),
            Self::Gone => {
                let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
                let pipe = reader.stdin.take().unwrap();
                reader.wait().unwrap();
                pipe.into()
            }
        }
    }
}

/// Runs a program inside the lab's namespace. Returns the exit status as a shell has it.
pub(crate) fn run(
    lab: &Lab,
    program: &str,
    words: &[impl AsRef<OsStr> + Sync],
    input: &[u8],
    out: Stream,
    errors: Stream,
) -> i32 {
    let status = lab.run(|| {
        let close = |stream, number| if stream == Stream::Closed { format!("{number}>&-") } else { String::new() };
        let script = format!("exec {program} \"$@\" {} {}", close(out, 1), close(errors, 2));
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).args(words).stdin(Stdio::piped());
        let mut child = command.stdout(out.stdio()).stderr(errors.stdio()).spawn().unwrap();
        // One that does not read may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait().unwrap()
    });
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Command lines of `ipvsadm-rs`, and their input.
const CASES: &[(&str, &str)] = &[
    ("-h", ""),
    ("-v", ""),
    ("", ""),
    ("-Ln", ""),
    ("-Ln --stats", ""),
    ("-Ln -t 10.0.0.1:80", ""),
    ("-Ln -t 10.0.0.9:80", ""),
    ("-Lnc", ""),
    ("-L --timeout", ""),
    ("-L --daemon", ""),
    ("-Sn", ""),
    ("-A -t 10.0.0.2:80", ""),
    ("-A -t 10.0.0.1:80", ""),
    ("-A -t nowhere", ""),
    ("-d -t 10.0.0.1:80 -r 10.9.1.1", ""),
    ("-d -t 10.0.0.1:80 -r 10.9.1.9", ""),
    ("--set 77 0 0", ""),
    ("--start-daemon master --mcast-interface nowhere", ""),
    ("--bogus", ""),
    ("-A -t 10.0.0.1:80 --bogus", ""),
    ("-Z", ""),
    ("-C", ""),
    ("-R", "-A -t 10.0.0.2:80\n-A -t 10.0.0.1:80\n-A -t 10.0.0.3:80\n"),
    ("-R", "-A -t 10.0.0.2:80\n-A -t nowhere\n-A -t 10.0.0.3:80\n"),
    ("-R", "-A -t 10.0.0.2:80\n-h\n-A -t 10.0.0.3:80\n"),
];

fn output_of_ipvsadm_rs_that_is_lost_changes_nothing_else(lab: &Lab) {
    let service = Service::tcp(address("10.0.0.1:80"), Scheduler::RR);
    let destination = Destination::new(address("10.9.1.1:80")).forwarding(Forwarding::DirectRoute);
    let mut ipvs = lab.ipvs();
    for (words, input) in CASES {
        let words: Vec<_> = words.split_whitespace().collect();
        let mut case = |out, errors| {
            ipvs.clear().unwrap();
            ipvs.add_service(service).unwrap();
            ipvs.add_destination(service.key, destination).unwrap();
            let status = run(lab, "ipvsadm-rs", &words, input.as_bytes(), out, errors);
            let mut table = ipvs.table().unwrap();
            table.sort_by_key(|(service, _)| service.key().to_string());
            (status, table, ipvs.timeouts().unwrap())
        };
        let (status, table, timeouts) = case(Stream::Kept, Stream::Kept);
        for lost in LOST {
            for (out, errors) in [(lost, Stream::Kept), (Stream::Kept, lost), (lost, lost)] {
                let (found, found_table, found_timeouts) = case(out, errors);
                let is_right = found == status || (out.loses() && matches!(found, 1 | 141));
                assert!(is_right, "status {found}, not {status}, with {out:?} and {errors:?}: {words:?} {input}");
                assert_eq!(found_table, table, "with {out:?} and {errors:?}: {words:?} {input}");
                assert_eq!(found_timeouts, timeouts, "with {out:?} and {errors:?}: {words:?} {input}");
            }
        }
    }
}

/// Their words, and what the status is where no output is lost.
const EXAMPLES: &[(&str, &[&str], i32)] = &[
    ("balance", &["10.96.0.10:80", "10.0.1.1:8080"], 0),
    ("balance", &[], 1),
    ("blocklist", &["blocked"], 0),
    ("blocklist", &[], 1),
    ("doctor", &[], 0),
    ("exporter", &[], 0),
    ("health", &[], 1),
    ("quickstart", &[], 0),
    ("test_without_root", &[], 0),
    ("vips", &[], 0),
];

fn no_example_panics_where_its_output_is_lost(lab: &Lab) {
    for (program, words, status) in EXAMPLES {
        let run = |out, errors| run(lab, program, words, b"", out, errors);
        assert_eq!(run(Stream::Kept, Stream::Kept), *status, "{program}");
        for lost in LOST {
            let expected = if lost.loses() { 1 } else { *status };
            assert_eq!(run(lost, lost), expected, "{program} with {lost:?}");
            assert_eq!(run(Stream::Kept, lost), *status, "{program} with {lost:?} errors");
        }
    }
}
