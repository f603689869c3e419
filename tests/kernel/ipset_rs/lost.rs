//! Output that cannot be written: closed, to a full disk, to a reader that is gone.
//!
//! The sets must be as if all output were written, and so must the exit status, but where standard output is lost: then
//! it is 1, or that of `SIGPIPE`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use libtest_mimic::Trial;
use lvs::ipset::{HashIp, Kind, Listed, Member, NewSet};

use super::bench::Case;
use crate::lab::{Lab, Need, tests};
use crate::lost::{self, LOST, Stream};

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipset(Kind::HashIp), Need::Program("ipset"), Need::Program("ipset-rs")];
        output_that_is_lost_changes_nothing_else,
    )
}

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
        for lost in LOST {
            for (out, errors) in [(lost, Stream::Kept), (Stream::Kept, lost), (lost, lost)] {
                let (found, found_sets) = run(lab, "ipset-rs", &case, out, errors);
                let is_right = found == status || (out.loses() && matches!(found, 1 | 141));
                assert!(is_right, "status {found}, not {status}, with {out:?} and {errors:?}: {case}");
                assert_eq!(found_sets, sets, "with {out:?} and {errors:?}: {case}");
            }
            // `ipset` makes its changes all the same, except where a test ends its restore.
            let (_, their_sets) = run(lab, "ipset", &case, lost, Stream::Kept);
            if !case.has("test") {
                let has = |line: &str| sets.contains(line);
                assert!(their_sets.lines().all(has), "{their_sets}ours: {sets}with {lost:?}: {case}");
            }
        }
    }
}

/// Runs a case where there is a set of one entry. Returns the status as a shell shows it, and the sets afterwards.
fn run(lab: &Lab, program: &str, case: &Case, out: Stream, errors: Stream) -> (i32, String) {
    let mut ipset = lab.ipset();
    let new = NewSet::<HashIp>::ipv4().initval(1);
    let set = ipset.create("s".parse().unwrap(), &new).unwrap();
    ipset.add(&set, &Member::new(Ipv4Addr::new(10, 0, 0, 1))).unwrap();
    let status = lost::run(lab, program, &case.words, case.input.as_bytes(), out, errors);
    let mut sets = String::new();
    for listed in ipset.stream_contents(None).unwrap() {
        let _ = match listed.unwrap() {
            Listed::Set(info) => writeln!(sets, "{:?}", info.set),
            Listed::Member(member) => writeln!(sets, "{:?}", member.entry),
        };
    }
    ipset.destroy_all().unwrap();
    (status, sets)
}
