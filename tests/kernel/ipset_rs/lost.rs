//! Output that cannot be written: closed, to a full disk, to a reader that is gone.
//!
//! The sets must be as if all output were written, and so must the exit status, but where standard output is lost: then
//! it is 1, or that of `SIGPIPE`.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use lvs::ipset::Kind;

use super::bench::Case;
use crate::lab::{Lab, Need, tests};

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipset(Kind::HashIp), Need::Program("ipset"), Need::Program("ipset-rs")];
        output_that_is_lost_changes_nothing_else,
    )
}

/// Where a stream goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stream {
    Kept,
    Closed,
    Full,
    Gone,
}

const STREAMS: [Stream; 4] = [Stream::Kept, Stream::Closed, Stream::Full, Stream::Gone];

/// Command lines, and what they read.
const CASES: &[(&str, &str)] = &[
    ("list", ""),
    ("list -n", ""),
    ("list -t", ""),
    ("list -o xml", ""),
    ("list -o save -s", ""),
    ("list nosuch", ""),
    ("save", ""),
    ("version", ""),
    ("help", ""),
    ("help hash:ip", ""),
    ("help nosuch", ""),
    ("test s 10.0.0.1", ""),
    ("test s 10.0.0.2", ""),
    ("test -q s 10.0.0.2", ""),
    ("test s far", ""),
    ("test nosuch 10.0.0.1", ""),
    ("add s 10.0.0.1", ""),
    ("add s 10.0.0.2", ""),
    ("add s x", ""),
    ("del s 10.0.0.1", ""),
    ("flush", ""),
    ("rename s t", ""),
    ("swap s nosuch", ""),
    ("destroy nosuch", ""),
    ("create x hash:ip gc 5 initval 1", ""),
    ("create x foo", ""),
    ("foo", ""),
    ("save -f /nosuch/file", ""),
    ("restore -f /nosuch/file", ""),
    ("restore", "test s 10.0.0.1\nadd s 10.0.0.7\n"),
    ("restore", "test s 10.0.0.2\nadd s 10.0.0.7\n"),
    ("restore", "add s 10.0.0.6\nlist s\nadd s 10.0.0.7\nsave\nadd s 10.0.0.8\n"),
    ("restore", "add s 10.0.0.6\nlist s\nadd s x\nadd s 10.0.0.7\n"),
    ("restore", "create x hash:ip gc 5 initval 1\nadd x 10.0.0.1\n"),
    ("restore", "list s\n-\nadd s 10.0.0.7\nlist\nadd s 10.0.0.8\n"),
    ("-", "list\nadd s 10.0.0.7\ntest s 10.0.0.7\nfoo\nadd s x\nadd s 10.0.0.8\nquit\n"),
];

fn output_that_is_lost_changes_nothing_else(lab: &Lab) {
    for (words, input) in CASES {
        let case = Case { input: (*input).into(), ..Case::new(&words.split(' ').collect::<Vec<_>>()) };
        let (status, sets) = run(lab, "ipset-rs", &case, Stream::Kept, Stream::Kept);
        for out in STREAMS {
            for errors in STREAMS {
                let (found, found_sets) = run(lab, "ipset-rs", &case, out, errors);
                let is_lost = matches!(out, Stream::Full | Stream::Gone);
                let is_right = found == status || (is_lost && matches!(found, 1 | 141));
                assert!(is_right, "status {found}, not {status}, with {out:?} and {errors:?}: {case}");
                assert_eq!(found_sets, sets, "with {out:?} and {errors:?}: {case}");
                // What `ipset` changes, it changes all the same, but where a signal ends it or a test ends its restore.
                let (theirs, their_sets) = run(lab, "ipset", &case, out, errors);
                if theirs < 128 && !case.has("test") {
                    let has = |set: &str| sets.contains(set);
                    assert!(their_sets.lines().all(has), "{their_sets}ours: {sets}with {out:?} and {errors:?}: {case}");
                }
            }
        }
    }
}

/// Runs a case where there is a set of one entry. Returns the status as a shell tells it, and the sets behind.
fn run(lab: &Lab, program: &str, case: &Case, out: Stream, errors: Stream) -> (i32, String) {
    lab.tool_with_input("ipset restore", "create s hash:ip initval 1\nadd s 10.0.0.1\n");
    let status = lab.run(|| {
        let close = |stream, number| if stream == Stream::Closed { format!("{number}>&-") } else { String::new() };
        let script = format!("exec {program} \"$@\" {} {}", close(out, 1), close(errors, 2));
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).args(&case.words).stdin(Stdio::piped());
        let mut child = command.stdout(stream(out)).stderr(stream(errors)).spawn().unwrap();
        // One that does not read may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(case.input.as_bytes());
        child.wait().unwrap()
    });
    let sets = lab.tool("ipset save");
    lab.tool("ipset destroy");
    (status.code().unwrap_or_else(|| 128 + status.signal().unwrap()), sets)
}

fn stream(kind: Stream) -> Stdio {
    match kind {
        Stream::Kept | Stream::Closed => Stdio::null(),
        Stream::Full => File::options().write(true).open("/dev/full").unwrap().into(),
        Stream::Gone => {
            let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
            let pipe = reader.stdin.take().unwrap();
            reader.wait().unwrap();
            pipe.into()
        }
    }
}
