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

/// Lists all services with their destinations without a second look at whether the services changed meanwhile.
pub(crate) fn streamed(ipvs: &mut Ipvs) -> usize {
    let mut table: Vec<_> = ipvs.stream_services().unwrap().map(|service| (service.unwrap(), Vec::new())).collect();
    for (service, destinations) in &mut table {
        *destinations = ipvs.destinations(service.key()).unwrap();
    }
    table.len()
}
