//! Persistence of clients, and the effects of weights, thresholds and removal on connections.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::Family;
use lvs::ipvs::{
    Connection, Connections, Netmask, Persistence, PersistenceEngine, Scheduler, Service, Thresholds, Timeouts,
    settings,
};

use crate::cluster::{Cluster, sorted};
use crate::lab::{Lab, Need, address, tests};
use crate::peers::{Client, PATIENCE, Transport, until};

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs, Need::Dummy];
        a_client_stays_with_its_server_across_ports,
        a_client_stays_with_its_server_across_ports_over_ipv6,
        a_client_stays_with_its_server_across_ports_over_sctp,
        a_client_of_a_firewall_mark_stays_across_ports_and_protocols,
        a_client_is_let_go_after_the_timeout,
        a_client_with_connections_is_not_let_go,
        a_netmask_groups_clients,
        a_prefix_groups_clients_over_ipv6,
        sip_keeps_a_call_together,
        weight_0_keeps_connections_and_takes_no_new_ones,
        weight_0_keeps_persistent_clients_unless_templates_expire,
        thresholds_stop_and_resume,
        without_a_lower_threshold_it_resumes_below_three_quarters,
        persistent_clients_pass_the_threshold,
        a_removed_server_is_silent_until_it_is_added_again,
        a_removed_server_s_connections_end_if_so_set,
    )
}

const LONG: Duration = Duration::from_secs(600);

/// From now on: entries keep the timeout that they got with their last packet.
fn set_udp_timeout(cluster: &mut Cluster<'_>, seconds: u64) {
    cluster.ipvs.set_timeouts(&Timeouts { udp: Some(Duration::from_secs(seconds)), ..Timeouts::default() }).unwrap();
}

fn at_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// Servers of clients, each of which asks more than once, with addresses or transports that are to lead to the same.
fn stay(cluster: &mut Cluster<'_>, clients: &[Client<'_>], ports: &[SocketAddr]) -> String {
    let mut servers = String::new();
    for client in clients {
        let answers: String = ports.iter().chain(ports).map(|to| cluster.open_as(*client, *to)).collect();
        let first = answers.chars().next().unwrap();
        assert_eq!(answers, first.to_string().repeat(answers.len()));
        servers.push(first);
    }
    servers
}

fn across_ports(lab: &Lab, any_port: &Service) {
    let mut cluster = Cluster::start(lab, &any_port.persistent(LONG), &[1, 1]);
    let ports = [80, 443].map(|port| at_port(cluster.address(), port));
    let clients = [1, 2, 3, 4].map(|host| cluster.client_at(0, host, 0));
    // A turn for each client, not for each connection.
    let servers = stay(&mut cluster, &clients, &ports);
    assert!(["abab", "baba"].contains(&servers.as_str()), "{servers}");
    for server in ['a', 'b'] {
        let info = cluster.info(server);
        assert_eq!((info.persistent_connections, info.active_connections), (2, 8));
    }
}

fn a_client_stays_with_its_server_across_ports(lab: &Lab) {
    across_ports(lab, &Service::tcp(address("10.96.0.10:0"), Scheduler::RR));
}

fn a_client_stays_with_its_server_across_ports_over_ipv6(lab: &Lab) {
    across_ports(lab, &Service::tcp(address("[2001:db8::a]:0"), Scheduler::RR));
}

fn a_client_stays_with_its_server_across_ports_over_sctp(lab: &Lab) {
    across_ports(lab, &Service::sctp(address("10.96.0.10:0"), Scheduler::RR));
}

fn a_client_of_a_firewall_mark_stays_across_ports_and_protocols(lab: &Lab) {
    let mark = NonZeroU32::new(7).unwrap();
    let service = Service::firewall_mark(mark, Family::Inet, Scheduler::RR).persistent(LONG);
    let mut cluster = Cluster::start(lab, &service, &[1, 1]);
    let http = cluster.virtual_address(1);
    let places = [http, at_port(http, 443), cluster.virtual_address(2)];
    let mut servers = String::new();
    for host in [1, 2] {
        let client = cluster.client_at(0, host, 0);
        let both = stay(&mut cluster, &[client, client.transport(Transport::Udp)], &places);
        assert_eq!(both[..1], both[1..]);
        servers.push_str(&both[..1]);
    }
    assert_eq!(sorted(&servers), "ab");
}

fn a_client_is_let_go_after_the_timeout(lab: &Lab) {
    // Longer than its connection lasts: else it would be remembered for a minute more.
    let service = Service::udp(address("10.96.0.10:53"), Scheduler::RR).persistent(Duration::from_secs(4));
    let mut cluster = Cluster::start(lab, &service, &[1, 1]);
    set_udp_timeout(&mut cluster, 1);
    let (client, to) = (cluster.client(), cluster.address());
    let server = cluster.ask(client, to);
    until("a client to be forgotten", || cluster.info(server).persistent_connections == 0);
    assert_ne!(cluster.ask(client, to), server);
}

/// How long the kernel will still remember the only client.
fn remembered(lab: &Lab) -> Duration {
    let mut connections = lab.run(Connections::open).unwrap().map(Result::unwrap);
    connections.find(Connection::is_template).map_or(Duration::ZERO, |template| template.expires)
}

fn a_client_with_connections_is_not_let_go(lab: &Lab) {
    let service = Service::tcp(address("10.96.0.10:80"), Scheduler::RR).persistent(Duration::from_secs(1));
    let mut cluster = Cluster::start(lab, &service, &[1, 1]);
    let server = cluster.open(1);
    // When the timeout is over, the kernel adds a minute.
    until("a client to be remembered longer", || remembered(lab) > Duration::from_secs(30));
    assert_eq!(cluster.open(3), server.repeat(3));
}

fn groups(lab: &Lab, service: &str, netmask: Netmask) {
    let mut service = Service::tcp(address(service), Scheduler::RR);
    service.persistence = Some(Persistence::new(LONG).netmask(netmask));
    let mut cluster = Cluster::start(lab, &service, &[1, 1]);
    let to = cluster.address();
    let mut servers = String::new();
    for network in [1, 2, 3] {
        let clients = [1, 2, 254].map(|host| cluster.client_at(network, host, 0));
        let group = stay(&mut cluster, &clients, &[to]);
        assert_eq!(group, group[..1].repeat(3));
        servers.push_str(&group[..1]);
    }
    assert!(["aba", "bab"].contains(&servers.as_str()), "{servers}");
}

fn a_netmask_groups_clients(lab: &Lab) {
    groups(lab, "10.96.0.10:80", Netmask::inet("255.255.255.0".parse().unwrap()));
}

fn a_prefix_groups_clients_over_ipv6(lab: &Lab) {
    groups(lab, "[2001:db8::a]:80", Netmask::inet6(64).unwrap());
}

fn sip_keeps_a_call_together(lab: &Lab) {
    let mut service = Service::udp(address("10.96.0.10:5060"), Scheduler::RR).persistent(LONG);
    service.engine = Some(PersistenceEngine::SIP);
    let mut cluster = Cluster::start(lab, &service, &[1, 1]);
    let mut host = 0;
    let mut ask = |call: &str| {
        let request = format!(
            "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP client.example.com\r\nFrom: <sip:alice@example.com>\r\n\
             To: <sip:bob@example.com>\r\nCall-ID: {call}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        host += 1;
        let client = cluster.client_at(0, host, 0);
        client.connect(cluster.address()).unwrap().ask_with(request.as_bytes()).unwrap()
    };
    // Each time another client.
    let calls = ["a84b4c76e66710", "f81d4fae", "3848276298220188511", "2xTb9vxSit55XU7p8"];
    let servers = calls.map(&mut ask);
    assert!(["abab", "baba"].contains(&servers.concat().as_str()), "{servers:?}");
    for _ in 0..3 {
        assert_eq!(calls.map(&mut ask), servers);
    }
    // Without a call it is dropped, which a sender on the same machine is told.
    let client = cluster.client_at(0, 1, 0);
    assert_eq!(client.ask(cluster.address()).unwrap_err().kind(), ErrorKind::PermissionDenied);
}

fn weight_0_keeps_connections_and_takes_no_new_ones(lab: &Lab) {
    let mut cluster = Cluster::start(lab, &Service::tcp(address("10.96.0.10:80"), Scheduler::WRR), &[1, 1]);
    assert_eq!(sorted(&cluster.open(4)), "aabb");
    cluster.set_weight('a', 0);
    assert_eq!(cluster.open(4), "bbbb");
    cluster.set_weight('b', 0);
    cluster.assert_refused(cluster.client(), cluster.address());
    cluster.assert_open_are_served();
    cluster.set_weight('a', 1);
    assert_eq!(cluster.open(2), "aa");
}

fn weight_0_keeps_persistent_clients_unless_templates_expire(lab: &Lab) {
    let service = Service::tcp(address("10.96.0.10:80"), Scheduler::FO).persistent(LONG);
    let mut cluster = Cluster::start(lab, &service, &[2, 1]);
    assert_eq!(cluster.open(1), "a");
    cluster.set_weight('a', 0);
    assert_eq!(cluster.open(2), "aa");
    let (other, to) = (cluster.client_at(0, 1, 0), cluster.address());
    assert_eq!(cluster.open_as(other, to), 'b');
    lab.run(|| settings::EXPIRE_QUIESCENT_TEMPLATE.set(true)).unwrap();
    assert_eq!(cluster.open(2), "bb");
    // It stays with its new server when the old one is back.
    cluster.set_weight('a', 2);
    assert_eq!(cluster.open(1), "b");
    cluster.assert_open_are_served();
}

fn limit(cluster: &mut Cluster<'_>, upper: u32, lower: Option<u32>) {
    let [upper, lower] = [Some(upper), lower].map(|threshold| threshold.and_then(NonZeroU32::new));
    cluster.update('a', |a| a.thresholds = upper.map(|upper| Thresholds { upper, lower }));
}

/// Stops at `upper`, does not yet resume with one less, but with two less.
fn stops_and_resumes(lab: &Lab, upper: u32, lower: Option<u32>) {
    let mark = NonZeroU32::new(7).unwrap();
    let mut cluster = Cluster::start(lab, &Service::firewall_mark(mark, Family::Inet, Scheduler::FO), &[2, 1]);
    limit(&mut cluster, upper, lower);
    let (tcp, to) = (cluster.client(), cluster.virtual_address(1));
    let udp = tcp.transport(Transport::Udp);
    for _ in 2..upper {
        assert_eq!(cluster.open_as(tcp, to), 'a');
    }
    let mut passing = [udp, udp].map(|udp| udp.connect(to).unwrap());
    for connection in &mut passing {
        assert_eq!(connection.ask().unwrap(), "a");
    }
    assert_eq!(cluster.open_as(tcp, to), 'b');
    // UDP is forgotten when it has been silent for so long.
    set_udp_timeout(&mut cluster, 1);
    for (connection, (left, next)) in passing.iter_mut().zip([(upper - 1, 'b'), (upper - 2, 'a')]) {
        assert_eq!(connection.ask().unwrap(), "a");
        until("UDP to be forgotten", || {
            let info = cluster.info('a');
            info.active_connections + info.inactive_connections == left
        });
        assert_eq!(cluster.open_as(tcp, to), next);
    }
    cluster.assert_open_are_served();
}

fn thresholds_stop_and_resume(lab: &Lab) {
    stops_and_resumes(lab, 3, Some(2));
}

fn without_a_lower_threshold_it_resumes_below_three_quarters(lab: &Lab) {
    stops_and_resumes(lab, 4, None);
}

fn persistent_clients_pass_the_threshold(lab: &Lab) {
    let service = Service::tcp(address("10.96.0.10:80"), Scheduler::FO).persistent(LONG);
    let mut cluster = Cluster::start(lab, &service, &[2, 1]);
    limit(&mut cluster, 2, None);
    let (clients, to) = ([1, 2, 3].map(|host| cluster.client_at(0, host, 0)), cluster.address());
    // Connections are counted, clients that are remembered are not.
    assert_eq!(clients.map(|client| cluster.open_as(client, to)), ['a', 'a', 'b']);
    assert_eq!(clients.map(|client| cluster.open_as(client, to)), ['a', 'a', 'b']);
}

fn a_removed_server_is_silent_until_it_is_added_again(lab: &Lab) {
    let mut cluster = Cluster::start(lab, &Service::tcp(address("10.96.0.10:80"), Scheduler::FO), &[2, 1]);
    let mut connection = cluster.client().connect(cluster.address()).unwrap();
    assert_eq!(connection.ask().unwrap(), "a");
    let server = cluster.info('a').destination;
    cluster.ipvs.delete_destination(cluster.key, server.address).unwrap();
    assert_eq!(cluster.open(1), "b");
    connection.set_patience(Duration::from_millis(300));
    assert_eq!(connection.ask().unwrap_err().kind(), ErrorKind::WouldBlock);
    connection.set_patience(PATIENCE);
    cluster.ipvs.add_destination(cluster.key, server).unwrap();
    // The answer is to both questions, in one piece or in two.
    assert!(connection.ask().unwrap().starts_with('a'));
    assert_eq!(cluster.info('a').active_connections, 1);
}

fn a_removed_server_s_connections_end_if_so_set(lab: &Lab) {
    lab.run(|| settings::EXPIRE_NODEST_CONN.set(true)).unwrap();
    let mut cluster = Cluster::start(lab, &Service::tcp(address("10.96.0.10:80"), Scheduler::FO), &[2, 1]);
    let mut connection = cluster.client().connect(cluster.address()).unwrap();
    assert_eq!(connection.ask().unwrap(), "a");
    cluster.ipvs.delete_destination(cluster.key, cluster.server('a')).unwrap();
    assert_eq!(connection.ask().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(cluster.open(1), "b");
}
