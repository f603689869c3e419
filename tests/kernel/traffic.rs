//! Real connections through the table.

use std::collections::HashMap;
use std::net::SocketAddr;

use libtest_mimic::Trial;
use lvs::ipvs::{Destination, Scheduler, Service, Stats};
use lvs::vip::Binder;

use crate::lab::{Lab, Need, address, tests};
use crate::peers::{Client, Server, Transport, until};

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs, Need::Dummy];
        connections_are_spread_and_counted,
        connections_are_spread_and_counted_over_ipv6,
    )
}

fn spread(lab: &Lab, service: SocketAddr, servers: [SocketAddr; 2]) {
    let (mut vips, mut ipvs) = (lab.vips(), lab.ipvs());
    let local = [service, servers[0], servers[1]].map(|address| address.ip().into());
    vips.bind_all(&Binder::dummy("vip0").unwrap(), local).unwrap();
    let web = Service::tcp(service, Scheduler::WRR);
    ipvs.add_service(&web).unwrap();
    let mut running = Vec::new();
    for (at, weight) in servers.into_iter().zip([1, 3]) {
        running.push(Server::start(lab.namespace(), Transport::Tcp, at, &at.to_string()));
        ipvs.add_destination(web.key, &Destination::new(at).weight(weight)).unwrap();
    }
    let mut open = Vec::new();
    let mut answers = HashMap::<String, usize>::new();
    for _ in 0..40 {
        let mut client = Client::new(lab.namespace(), Transport::Tcp).connect(service).unwrap();
        *answers.entry(client.ask().unwrap()).or_default() += 1;
        open.push(client);
    }
    assert_eq!(answers, HashMap::from([(servers[0].to_string(), 10), (servers[1].to_string(), 30)]));
    let connections: u32 = ipvs
        .destinations(web.key)
        .unwrap()
        .iter()
        .map(|info| info.active_connections + info.inactive_connections)
        .sum();
    assert_eq!(connections, 40);
    let mut stats = Stats::default();
    until("counters of the service", || {
        stats = ipvs.service(web.key).unwrap().stats;
        stats.connections == 40 && stats.rates.connections > 0
    });
    assert!(stats.packets_in >= 120 && stats.bytes_in > stats.packets_in * 40, "{stats:?}");
    let mut counted: Vec<_> = ipvs.destinations(web.key).unwrap().iter().map(|info| info.stats.connections).collect();
    counted.sort_unstable();
    assert_eq!(counted, [10, 30]);
    ipvs.zero(web.key).unwrap();
    assert_eq!(ipvs.service(web.key).unwrap().stats.connections, 0);
    open.push(Client::new(lab.namespace(), Transport::Tcp).connect(service).unwrap());
    until("a connection after zeroing", || ipvs.service(web.key).unwrap().stats.connections == 1);
    ipvs.zero_all().unwrap();
    assert_eq!(ipvs.service(web.key).unwrap().stats.connections, 0);
}

fn connections_are_spread_and_counted(lab: &Lab) {
    spread(lab, address("10.96.0.10:80"), [address("10.244.1.1:8080"), address("10.244.1.2:8080")]);
}

fn connections_are_spread_and_counted_over_ipv6(lab: &Lab) {
    spread(lab, address("[2001:db8::a]:80"), [address("[2001:db8::1:1]:8080"), address("[2001:db8::1:2]:8080")]);
}
