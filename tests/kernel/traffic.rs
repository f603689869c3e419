//! Real connections through the table.

use libtest_mimic::Trial;
use lvs::ipvs::{Scheduler, Service, Stats};

use crate::cluster::{Cluster, sorted};
use crate::lab::{Lab, Need, address, tests};
use crate::peers::until;

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs, Need::Dummy];
        connections_are_spread_and_counted,
        connections_are_spread_and_counted_over_ipv6,
    )
}

fn spread(lab: &Lab, service: &str) {
    let mut cluster = Cluster::start(lab, &Service::tcp(address(service), Scheduler::WRR), &[1, 3]);
    assert_eq!(sorted(&cluster.open(40)), "a".repeat(10) + &"b".repeat(30));
    let (key, ipvs) = (cluster.key, &mut cluster.ipvs);
    let connections: u32 =
        ipvs.destinations(key).unwrap().iter().map(|info| info.active_connections + info.inactive_connections).sum();
    assert_eq!(connections, 40);
    let mut stats = Stats::default();
    until("counters of the service", || {
        stats = ipvs.service(key).unwrap().stats;
        stats.connections == 40 && stats.rates.connections > 0
    });
    assert!(stats.packets_in >= 120 && stats.bytes_in > stats.packets_in * 40, "{stats:?}");
    let mut counted: Vec<_> = ipvs.destinations(key).unwrap().iter().map(|info| info.stats.connections).collect();
    counted.sort_unstable();
    assert_eq!(counted, [10, 30]);
    ipvs.zero(key).unwrap();
    assert_eq!(ipvs.service(key).unwrap().stats.connections, 0);
    cluster.open(1);
    until("a connection after zeroing", || cluster.ipvs.service(key).unwrap().stats.connections == 1);
    cluster.ipvs.zero_all().unwrap();
    assert_eq!(cluster.ipvs.service(key).unwrap().stats.connections, 0);
}

fn connections_are_spread_and_counted(lab: &Lab) {
    spread(lab, "10.96.0.10:80");
}

fn connections_are_spread_and_counted_over_ipv6(lab: &Lab) {
    spread(lab, "[2001:db8::a]:80");
}
