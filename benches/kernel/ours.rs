//! What this crate's users write.

use std::time::{Duration, Instant};

use lvs::ipvs::{Change, Ipvs};

pub(crate) fn one_at_a_time(ipvs: &mut Ipvs, changes: &[Change]) -> Duration {
    let started = Instant::now();
    for change in changes {
        ipvs.change(*change).unwrap();
    }
    started.elapsed()
}

pub(crate) fn batched(ipvs: &mut Ipvs, changes: &[Change]) -> Duration {
    let started = Instant::now();
    ipvs.batch(changes.iter().copied()).unwrap();
    started.elapsed()
}
