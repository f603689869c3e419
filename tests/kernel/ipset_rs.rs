//! Runs the same command lines through `ipset` and our `ipset-rs`, each in a network namespace of its own.
//!
//! Exit status, output, errors and the sets at the end must be equal, except for [deviations] that have a name and a
//! reason.
//!
//! `LVS_SEED` and `LVS_LINES` choose other and more random lines.

mod bench;
mod deviations;
mod interface;
mod kept;
mod lines;
mod lost;
mod reuse;
#[path = "../../examples/ipset/texts.rs"]
mod texts;

use std::fmt::Write as _;

use libtest_mimic::Trial;
use lvs::ipset::Kind;

use crate::lab::{Lab, Need, number, tests};
use bench::{Bench, Case};
use deviations::DEVIATIONS;

macro_rules! kinds {
    ($($test:ident $kind:ident,)+) => {
        $(
            fn $test(lab: &Lab) {
                generated(lab, Kind::$kind);
            }
        )+

        pub(crate) fn tests() -> Vec<Trial> {
            let mut all = tests!(&[Need::Ipset(Kind::HashIp), Need::Program("ipset"), Need::Program("ipset-rs")];
                written_lines_do_the_same,
                restored_files_do_the_same,
                options_hold_for_the_lines_that_follow,
                scripts_do_the_same,
            );
            all.extend(interface::tests());
            all.extend(kept::tests());
            all.extend(lost::tests());
            $(
                all.extend(tests!(
                    &[Need::Ipset(Kind::$kind), Need::Program("ipset"), Need::Program("ipset-rs")]; $test,
                ));
            )+
            all
        }
    };
}

kinds! {
    generated_lines_about_bitmap_ip BitmapIp,
    generated_lines_about_bitmap_ip_mac BitmapIpMac,
    generated_lines_about_bitmap_port BitmapPort,
    generated_lines_about_hash_ip HashIp,
    generated_lines_about_hash_ip_mac HashIpMac,
    generated_lines_about_hash_ip_mark HashIpMark,
    generated_lines_about_hash_ip_port HashIpPort,
    generated_lines_about_hash_ip_port_ip HashIpPortIp,
    generated_lines_about_hash_ip_port_net HashIpPortNet,
    generated_lines_about_hash_mac HashMac,
    generated_lines_about_hash_net HashNet,
    generated_lines_about_hash_net_iface HashNetIface,
    generated_lines_about_hash_net_net HashNetNet,
    generated_lines_about_hash_net_port HashNetPort,
    generated_lines_about_hash_net_port_net HashNetPortNet,
    generated_lines_about_list_set ListSet,
}

fn written_lines_do_the_same(lab: &Lab) {
    let mut judge = Judge::new("written lines".into());
    let mut bench = Bench::new(lab);
    judge.sequence(&mut bench, lines::written());
    judge.finish();
}

fn restored_files_do_the_same(lab: &Lab) {
    let mut judge = Judge::new("restored files".into());
    let mut bench = Bench::new(lab);
    for file in lines::files() {
        judge.sequence(&mut bench, vec![file, Case::new(&["save"])]);
    }
    judge.finish();
}

fn options_hold_for_the_lines_that_follow(lab: &Lab) {
    let mut judge = Judge::new("options before lines".into());
    let mut bench = Bench::new(lab);
    for sequence in interface::options_before_lines() {
        judge.sequence(&mut bench, sequence);
    }
    judge.finish();
}

fn scripts_do_the_same(lab: &Lab) {
    let mut judge = Judge::new("scripts".into());
    let mut bench = Bench::new(lab);
    for script in lines::scripts() {
        judge.sequence(&mut bench, script);
    }
    judge.finish();
}

fn generated(lab: &Lab, kind: Kind) {
    let (seed, count) = (number("LVS_SEED", 1), number("LVS_LINES", 100));
    let mut judge = Judge::new(format!("lines about {kind} from seed {seed}"));
    let mut bench = Bench::new(lab);
    let mut random = lines::Random::new(seed, kind);
    while judge.lines < count {
        judge.sequence(&mut bench, random.sequence());
    }
    judge.finish();
    let mut judge = Judge::new(format!("lines about existing sets of {kind} from seed {seed}"));
    let mut reuse = reuse::Reuse::new(seed, kind);
    while judge.lines < count {
        judge.sequence(&mut bench, reuse.sequence());
    }
    judge.finish();
    assert!(judge.succeeded * 2 > judge.lines, "{} of {} lines succeed", judge.succeeded, judge.lines);
}

/// Compares what came of each line, and sums it up.
struct Judge {
    what: String,
    lines: u64,
    /// Those that succeed in both programs.
    succeeded: u64,
    identical: u64,
    /// The name of the deviation of each line that had one.
    seen: Vec<&'static str>,
    differences: Vec<String>,
}

/// How many differences are told in full.
const SHOWN: usize = 20;

impl Judge {
    fn new(what: String) -> Self {
        Self { what, lines: 0, succeeded: 0, identical: 0, seen: Vec::new(), differences: Vec::new() }
    }

    /// Runs lines one after the other, from no sets at all.
    fn sequence(&mut self, bench: &mut Bench, cases: Vec<Case>) {
        bench.clear();
        let mut before = String::new();
        for case in cases {
            self.lines += 1;
            let [theirs, ours] = bench.run(&case);
            let _ = write!(before, "\n{case}");
            self.succeeded += u64::from(theirs.status.success() && ours.status.success());
            let states = bench.states();
            if theirs.is_same(&ours) && states[0] == states[1] {
                self.identical += 1;
            } else if let Some(row) = DEVIATIONS
                .iter()
                .find(|row| (row.explains)(&case, &theirs, &ours) && (row.other_sets || states[0] == states[1]))
            {
                self.seen.push(row.name);
                if row.other_sets {
                    return;
                }
            } else {
                let [one, other] = states;
                let sets = if one == other { String::new() } else { format!("ipset's sets:\n{one}ours:\n{other}") };
                let lines: Vec<_> = before.lines().rev().take(SHOWN).collect();
                let lines = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
                self.differences.push(format!("{lines}\nipset: {theirs}ipset-rs: {ours}{sets}"));
                if !sets.is_empty() {
                    return;
                }
            }
        }
    }

    fn finish(&self) {
        let Self { what, lines, succeeded, identical, differences, .. } = self;
        let mut text = format!("{what}: {lines}, {} % succeed, {identical} identical", succeeded * 100 / lines.max(&1));
        for row in DEVIATIONS {
            let count = self.seen.iter().filter(|name| **name == row.name).count();
            if count > 0 {
                let _ = write!(text, "\n{count:6} {}: {}", row.name, row.reason);
            }
        }
        println!("{text}");
        let shown: Vec<_> = differences.iter().take(SHOWN).map(String::as_str).collect();
        assert!(shown.is_empty(), "{} different\n{}", differences.len(), shown.join("\n"));
    }
}
