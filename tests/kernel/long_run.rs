//! Runs random operations, some of them invalid, for a given time.
//!
//! Each operation has the outcome of a model. The tables equal the model, as this crate reads them and as `ipvsadm` and
//! `ipset` do. Neither memory nor descriptors grow.
//!
//! `LVS_LONG` is the time in seconds, `LVS_SEED` chooses other operations:
//! `LVS_SEED=7 LVS_LONG=3600 cargo xtask test --timeout 4500 long_run`.

mod ipset;
mod ipvs;

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use lvs::ipset::Kind;
use lvs::{Cause, Error, Reason};

use crate::lab::{Lab, Need, number, tests};
use crate::random::Random;

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs, Need::Ipset(Kind::HashIp), Need::Program("ipvsadm"), Need::Program("ipset")];
        the_tables_are_those_of_a_model,
    )
}

/// Outcome of an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Done,
    /// Refused before anything is sent.
    Invalid,
    Refused(Reason),
}

impl Outcome {
    fn of_error(error: &Error) -> Self {
        match error.cause() {
            Cause::InvalidInput(_) => Self::Invalid,
            Cause::Refused(refused) => Self::Refused(refused.reason),
            Cause::Precondition { reason, .. } => Self::Refused(*reason),
            Cause::Batch { failures, interruption: None } if failures.len() == 1 => Self::of_error(&failures[0]),
            _ => panic!("{error}"),
        }
    }

    fn of<T>(result: Result<T, impl Into<Error>>) -> Self {
        result.map_or_else(|error| Self::of_error(&error.into()), |_| Self::Done)
    }
}

/// How many operations there are between two looks at everything.
const BETWEEN_LOOKS: usize = 500;
/// How much the allocator may come to keep for its own use, in KiB: an hour's operations that lose 16 bytes each are more.
const SLACK: u64 = 4096;

fn the_tables_are_those_of_a_model(lab: &Lab) {
    let (seed, seconds) = (number("LVS_SEED", 1), number("LVS_LONG", 8));
    let mut random = Random(seed);
    let (mut ipvs, mut ipset) = (ipvs::Run::start(lab), ipset::Run::start(lab));
    // So that the memory that the largest operations need is there from the beginning.
    ipvs.many(&mut random);
    ipset.many(&mut random);
    let (started, mut operations, mut looks) = (Instant::now(), 0, 0);
    let mut samples = Vec::new();
    // The clock of a virtual machine may run fast when its host is busy.
    while operations < 2 * BETWEEN_LOOKS || started.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..BETWEEN_LOOKS {
            match random.percent(50) {
                true => ipvs.step(&mut random),
                false => ipset.step(&mut random),
            }
        }
        operations += BETWEEN_LOOKS;
        ipvs.compare_with_ipvsadm(lab);
        ipset.compare_with_ipset(lab);
        looks += 1;
        samples.push(held());
    }
    // The first quarter is for getting warm.
    let (first, last) = (samples[samples.len() / 4], samples[samples.len() - 1]);
    println!("seed {seed}: {operations} operations in {} s, {looks} looks", started.elapsed().as_secs());
    println!("IPVS: {}\nipset: {}", ipvs.tally, ipset.tally);
    let memory = (0..=10).map(|tenth| samples[(samples.len() - 1) * tenth / 10].memory.to_string());
    println!("KiB of memory, at each tenth of the time: {}", memory.collect::<Vec<_>>().join(" "));
    assert!(last.memory <= first.memory + SLACK, "{first:?} {last:?}");
    assert_eq!(last.descriptors, first.descriptors);
}

/// Resources of this process.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// In KiB.
    memory: u64,
    descriptors: usize,
}

fn held() -> Held {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory = line.trim().trim_end_matches(" kB").parse().unwrap();
    Held { memory, descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count() }
}

/// How many operations had each outcome.
#[derive(Debug, Default)]
struct Tally(std::collections::BTreeMap<String, usize>);

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        *self.0.entry(format!("{outcome:?}")).or_default() += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        f.write_str(&parts.join(", "))
    }
}
