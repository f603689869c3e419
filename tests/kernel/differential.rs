//! Runs the same command lines through `ipvsadm` and our `ipvsadm-rs`.
//!
//! Exit status, output, errors and the table afterwards must be equal, except for [deviations] that have a name and a
//! reason.
//!
//! A second mode runs sequences of lines about [services that exist](reuse) on one table.
//!
//! `LVS_SEED` and `LVS_LINES` choose other and more random lines: `LVS_SEED=7 LVS_LINES=20000 cargo xtask test
//! --timeout 7200 differential`.

mod bench;
mod deviations;
mod lines;
mod reuse;

use std::fmt::Write as _;

use libtest_mimic::Trial;

use crate::lab::{Lab, Need, number, tests};
use bench::{Bench, Case, Outcome, Start};
use deviations::DEVIATIONS;
use reuse::Reuse;

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs, Need::Program("ipvsadm"), Need::Program("ipvsadm-rs")];
        written_lines_do_the_same,
        generated_lines_do_the_same,
        lines_about_existing_services_do_the_same,
        daemons_do_the_same,
    )
}

fn written_lines_do_the_same(lab: &Lab) {
    let mut judge = Judge::new("written");
    lab.run(|| judge.all(lines::written()));
    judge.finish();
    let unseen: Vec<_> = DEVIATIONS.iter().filter(|row| !judge.seen.contains(&row.name)).map(|row| row.name).collect();
    assert!(unseen.is_empty(), "deviations that no line shows: {unseen:?}");
}

fn generated_lines_do_the_same(lab: &Lab) {
    let (seed, count) = (number("LVS_SEED", 1), number("LVS_LINES", 2000));
    let mut judge = Judge::new(&format!("generated from seed {seed}"));
    lab.run(|| judge.all(lines::generated(seed, count.try_into().unwrap())));
    judge.finish();
}

fn lines_about_existing_services_do_the_same(lab: &Lab) {
    lab.add_interface();
    let (seed, count) = (number("LVS_SEED", 1), number("LVS_LINES", 150));
    let count = usize::try_from(count).unwrap();
    let mut judge = Judge::new(&format!("about existing services from seed {seed}"));
    let mut reuse = Reuse::new(seed);
    lab.run(|| {
        let mut bench = Bench::new();
        while judge.lines < count {
            let (start, cases) = reuse.sequence();
            judge.sequence(&mut bench, &cases, start);
        }
    });
    judge.finish();
    let Judge { lines, succeeded, .. } = judge;
    assert!(succeeded * 2 > lines, "{succeeded} of {lines} lines succeed");
}

fn daemons_do_the_same(lab: &Lab) {
    lab.add_interface();
    let mut judge = Judge::new("daemons");
    lab.run(|| judge.all(lines::daemons()));
    judge.finish();
}

/// Compares what came of each line, and sums it up.
struct Judge {
    what: String,
    lines: usize,
    runs: usize,
    /// Runs that succeed with both programs.
    succeeded: usize,
    /// Runs that change the table with both programs.
    changed: usize,
    identical: usize,
    /// The name of the deviation of each run that had one.
    seen: Vec<&'static str>,
    differences: Vec<String>,
}

impl Judge {
    fn new(what: &str) -> Self {
        let what = what.to_owned();
        Self {
            what,
            lines: 0,
            runs: 0,
            succeeded: 0,
            changed: 0,
            identical: 0,
            seen: Vec::new(),
            differences: Vec::new(),
        }
    }

    fn all(&mut self, cases: Vec<Case>) {
        let mut bench = Bench::new();
        for case in cases {
            self.lines += 1;
            let theirs = self.one(&mut bench, &case, case.only.unwrap_or(Start::Filled));
            // A line that is refused for what it says is so whatever there is.
            if case.only.is_none() && !theirs.is_refused_unseen() {
                self.one(&mut bench, &case, Start::Empty);
            }
        }
    }

    fn one(&mut self, bench: &mut Bench, case: &Case, start: Start) -> Outcome {
        let [theirs, ours] = bench.run(case, start);
        self.compare(case, &theirs, &ours, || format!("on the {start} table"));
        theirs
    }

    /// Runs lines one after the other on one table, and compares them until the tables differ.
    fn sequence(&mut self, bench: &mut Bench, cases: &[Case], start: Start) {
        let [theirs, ours] = bench.sequence(cases, start);
        for (at, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
            self.lines += 1;
            let before = || {
                let lines = cases[at.saturating_sub(SHOWN)..at].iter().map(|case| format!("{case}\n"));
                format!("in a sequence on the {start} table, after\n{}", lines.collect::<String>())
            };
            self.compare(&cases[at], theirs, ours, before);
            if theirs.state != ours.state {
                return;
            }
        }
    }

    fn compare(&mut self, case: &Case, theirs: &Outcome, ours: &Outcome, place: impl Fn() -> String) {
        self.runs += 1;
        self.succeeded += usize::from(theirs.status.success() && ours.status.success());
        self.changed += usize::from(theirs.changed && ours.changed);
        if theirs == ours {
            self.identical += 1;
        } else if let Some(row) = DEVIATIONS.iter().find(|row| (row.explains)(case, theirs, ours)) {
            self.seen.push(row.name);
        } else {
            self.differences.push(format!("{case}\n{}, ipvsadm: {theirs}ipvsadm-rs: {ours}", place()));
        }
    }

    fn finish(&self) {
        let Self { what, lines, runs, succeeded, changed, identical, differences, .. } = self;
        let share = |count: &usize| count * 100 / runs.max(&1);
        let mut text = format!(
            "{what}: {lines} lines, {runs} runs, {} % succeed, {} % change the table, {identical} identical",
            share(succeeded),
            share(changed),
        );
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

/// How many differences are told in full.
const SHOWN: usize = 30;
