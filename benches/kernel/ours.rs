//! The works as a user of this crate writes them.

use std::time::{Duration, Instant};

use lvs::ipvs::{Change, Ipvs, Overview};

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

/// Looks at all services with their destinations in `/proc`.
pub(crate) fn overview() -> usize {
    let services: Vec<_> = Overview::open().unwrap().map(Result::unwrap).collect();
    services.len()
}
