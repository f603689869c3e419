//! Connections outlive their director: another one was told about them, and takes over the virtual address.

use std::net::{IpAddr, SocketAddr};

use libtest_mimic::Trial;
use lvs::Interface;
use lvs::ipvs::{
    ConnectionState, Connections, Destination, Forwarding, Ipvs, Origin, Scheduler, Service, SyncDaemon, SyncState,
};
use lvs::netns::Namespace;

use crate::lab::{Lab, Need, tests, tool};
use crate::network::{Answers, FAMILIES, Network, SERVERS, host, vip};
use crate::peers::{Client, Server, Transport, until};

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs, Need::Dummy];
        connections_go_on_with_direct_routing,
        connections_go_on_with_masquerading,
        connections_go_on_after_synchronisation_over_ipv6,
    )
}

fn connections_go_on_with_direct_routing(lab: &Lab) {
    connections_go_on(lab, Forwarding::DirectRoute, None);
}

fn connections_go_on_with_masquerading(lab: &Lab) {
    connections_go_on(lab, Forwarding::Masquerade, None);
}

fn connections_go_on_after_synchronisation_over_ipv6(lab: &Lab) {
    connections_go_on(lab, Forwarding::DirectRoute, Some("ff02::51".parse().unwrap()));
}

fn connections_go_on(lab: &Lab, forwarding: Forwarding, group: Option<IpAddr>) {
    const PORT: u16 = 80;
    const OTHER: u8 = 3;
    let direct = forwarding == Forwarding::DirectRoute;
    let network = Network::new(lab.namespace(), if direct { Answers::Directly } else { Answers::ThroughDirector });
    let other = Namespace::create().unwrap();
    network.add_director(&other, OTHER);

    let mut servers = Vec::new();
    for family in FAMILIES {
        for (server, number) in network.servers.iter().zip(SERVERS) {
            let at = if direct { vip(family) } else { host(family, number) };
            servers.push(Server::start(server, Transport::Tcp, SocketAddr::new(at, PORT), &number.to_string()));
        }
    }
    for (director, state) in [(lab.namespace(), SyncState::Master), (&other, SyncState::Backup)] {
        let mut ipvs = director.run(Ipvs::connect).unwrap().unwrap();
        for family in FAMILIES {
            let web = Service::tcp(SocketAddr::new(vip(family), PORT), Scheduler::RR);
            ipvs.add_service(web).unwrap();
            for number in SERVERS {
                let real = Destination::new(SocketAddr::new(host(family, number), PORT)).forwarding(forwarding);
                ipvs.add_destination(web.key, real).unwrap();
            }
        }
        let mut daemon = SyncDaemon::new(state, Interface::new("eth0").unwrap(), 7);
        daemon.group = group;
        ipvs.start_daemon(&daemon).unwrap();
    }

    let services = FAMILIES.map(|family| SocketAddr::new(vip(family), PORT));
    let client = Client::new(&network.client, Transport::Tcp);
    let mut connections: Vec<_> = [services, services].concat().iter().map(|at| client.connect(*at).unwrap()).collect();
    let mut ask = || connections.iter_mut().map(|connection| connection.ask().unwrap()).collect::<Vec<_>>();
    let names = ask();
    assert!(names[..2] != names[2..], "{names:?}");
    until("the other director knows of the connections", || {
        // A connection is synchronised as packets come in: by default the third, and then every 50th.
        assert_eq!(ask(), names);
        learned(&other) == names.len()
    });
    tool(lab.namespace(), "ip link set eth0 down", "");
    network.take_over(&other, OTHER);
    assert_eq!(ask(), names);
    for service in services {
        client.ask(service).unwrap();
    }
    // Until Linux 6.12 lists of all namespaces walk through its services, until the kernel has ended it.
    other.run(|| Ipvs::connect()?.clear()).unwrap().unwrap();
}

/// How many open connections a director was told of.
fn learned(director: &Namespace) -> usize {
    let connections = director.run(Connections::open_with_origin).unwrap().unwrap().map(Result::unwrap);
    let open = connections.filter(|connection| connection.state == ConnectionState::ESTABLISHED);
    open.filter(|connection| connection.origin == Some(Origin::Sync)).count()
}
