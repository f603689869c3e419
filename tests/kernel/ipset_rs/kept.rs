//! A restore that fails keeps all lines before the one that is wrong: at least those that `ipset` keeps.

use std::fmt::Write as _;

use libtest_mimic::Trial;
use lvs::ipset::Kind;

use super::bench::{Bench, Case};
use crate::lab::{Lab, Need, tests};

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipset(Kind::HashIp), Need::Program("ipset"), Need::Program("ipset-rs")];
        the_lines_before_a_wrong_one_are_kept,
    )
}

/// Lines that are wrong by themselves, or that the kernel refuses.
const WRONG: &[&str] = &[
    "add s 203.0.113.1 timeout -1",
    "add s x",
    "add s 203.0.113.1 foo",
    "add s 203.0.113.1 timeout",
    "add s 10.0.0.1",
    "add nosuch 10.0.0.1",
    "add",
    "del s 203.0.113.1",
    "del s x",
    "test s x",
    "foo s",
    "restore",
    "create s hash:ip timeout 5",
    "create u foo",
    "create u hash:ip timeout x",
    "create u bitmap:port",
    "destroy nosuch",
    "flush nosuch",
    "rename s t",
    "swap s nosuch",
    "list nosuch",
    "list -o foo",
    "add s 203.0.113.1 comment \"x",
    "a-name-that-no-command-begins-with -exist",
    "-! foo",
];

fn the_lines_before_a_wrong_one_are_kept(lab: &Lab) {
    let mut bench = Bench::new(lab);
    for (at, wrong) in WRONG.iter().enumerate() {
        // More than a page of the original, and not a whole number of pages.
        let count = 170 + at;
        for options in [&["restore"][..], &["restore", "-exist"]] {
            let mut input = "create s hash:ip timeout 5000 initval 1\ncreate t hash:ip initval 1\n".to_owned();
            for entry in 0..count {
                // Two sets take turns, in runs of different lengths.
                let set = if entry / 50 % 2 == 0 { "s" } else { "t" };
                let _ = writeln!(input, "add {set} 10.0.{}.{}", entry / 250, entry % 250 + 1);
            }
            // No line feed: a quote that is not closed is an error.
            let _ = write!(input, "{wrong}");
            let case = Case { input, ..Case::new(options) };
            bench.clear();
            let [theirs, ours] = bench.run(&case);
            let entries = |state: &str| state.lines().filter(|line| line.starts_with("  ")).count();
            let [their_sets, our_sets] = bench.states();
            assert_eq!(ours.status, theirs.status, "{wrong}: {ours}{theirs}");
            assert_eq!(ours.errors, theirs.errors, "{wrong}");
            assert_eq!(entries(&our_sets), count, "{wrong}: {}", entries(&their_sets));
            assert!(entries(&their_sets) <= count, "{wrong}");
        }
    }
}
