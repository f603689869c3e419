//! Every way of forwarding, with packets on a link between a client, a director and real servers.
//!
//! Tunnels of all kinds work between all families. The kernel has no masquerading or direct routing to a destination of
//! another family, and the crate refuses both. It has no destination of another family while a sync daemon runs, and does
//! not masquerade answers to packets that are scheduled one by one.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, UdpSocket};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipvs::{
    Destination, Forwarding, Ipvs, Scheduler, Service, ServiceFlags, ServiceKey, SyncDaemon, SyncState, Tunnel,
    TunnelFlags,
};
use lvs::netns::Namespace;
use lvs::{Cause, Family, Interface, Reason};
use socket2::{Domain, Socket, Type};

use crate::lab::{Lab, Need, tests, tool};
use crate::network::{Answers, CLIENT, DIRECTOR, FAMILIES, Network, SERVERS, adding, host, vip};
use crate::peers::{Client, Connection, Server, Transport, until};

pub(crate) fn tests() -> Vec<Trial> {
    use Need::{Dummy, Ipvs, Module, Program};
    let mut all = tests!(&[Ipvs, Dummy];
        a_destination_of_another_family_and_a_sync_daemon_exclude_each_other,
        the_director_serves_itself,
        one_packet_scheduling,
        answers_to_single_packets_are_not_masqueraded,
    );
    all.extend(tests!(&[Ipvs, Dummy, Module("sctp")]; masquerading, direct_routing,));
    all.extend(
        tests!(&[Ipvs, Dummy, Module("sctp"), Module("ipip"), Module("ip6_tunnel"), Module("sit")]; ipip_tunnels,),
    );
    all.extend(
        tests!(&[Ipvs, Dummy, Module("fou"), Module("ipip"), Module("ip6_tunnel"), Module("sit")]; gue_tunnels,),
    );
    all.extend(tests!(&[Ipvs, Dummy, Module("ip_gre"), Module("ip6_gre")]; gre_tunnels,));
    all.extend(tests!(&[Ipvs, Dummy, Program("iptables"), Program("ip6tables")];
        a_firewall_mark_joins_two_ports,
        a_client_of_a_firewall_mark_stays_with_its_server_on_both_ports,
    ));
    all
}

const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Sctp];

/// A director on its network, and what it balances.
struct Director {
    network: Network,
    ipvs: Ipvs,
    services: Vec<Balanced>,
}

/// A service whose connections are held open.
struct Balanced {
    what: String,
    key: ServiceKey,
    _servers: Vec<Server>,
    _connections: Vec<Connection>,
}

impl Director {
    fn new(lab: &Lab, answers: Answers) -> Self {
        let network = Network::new(lab.namespace(), answers);
        Self { network, ipvs: lab.ipvs(), services: Vec::new() }
    }

    /// Adds a service with both servers behind it, who call themselves by their addresses.
    fn add(&mut self, service: &Service, transport: Transport, to: Family, forwarding: Forwarding) -> Vec<Server> {
        let ServiceKey::Address { address: virtual_address, .. } = service.key else { panic!("{service:?}") };
        self.ipvs.add_service(service).unwrap();
        let mut servers = Vec::new();
        for (namespace, number) in self.network.servers.iter().zip(SERVERS) {
            let mut real = SocketAddr::new(host(to, number), virtual_address.port());
            let mut listens = virtual_address;
            if forwarding == Forwarding::Masquerade {
                real.set_port(real.port() + 1000);
                listens = real;
            }
            servers.push(Server::start(namespace, transport, listens, &real.to_string()));
            self.ipvs.add_destination(service.key, Destination::new(real).forwarding(forwarding)).unwrap();
        }
        servers
    }

    /// Four connections to a new service go to the two servers in turn, and stay.
    fn balances(&mut self, transport: Transport, family: Family, to: Family, forwarding: Forwarding) {
        let what = format!("{forwarding:?} of {transport:?} over {family} to {to}");
        let address = SocketAddr::new(vip(family), 5000 + u16::try_from(self.services.len()).unwrap());
        let service = match transport {
            Transport::Tcp => Service::tcp(address, Scheduler::RR),
            Transport::Udp => Service::udp(address, Scheduler::RR),
            Transport::Sctp => Service::sctp(address, Scheduler::RR),
        };
        let servers = self.add(&service, transport, to, forwarding);
        let client = Client::new(&self.network.client, transport);
        let mut connections: Vec<_> =
            (0..4).map(|_| client.connect(address).unwrap_or_else(|error| panic!("{what}: {error}"))).collect();
        let mut round = || -> Vec<_> {
            let ask = |connection: &mut Connection| connection.ask().unwrap_or_else(|error| panic!("{what}: {error}"));
            connections.iter_mut().map(ask).collect()
        };
        let names = round();
        assert!(names[0] != names[1] && names[..2] == names[2..], "{what}: {names:?}");
        assert_eq!(names, round(), "{what}");
        let connected = if transport == Transport::Udp { (0, 2) } else { (2, 0) };
        for info in self.ipvs.destinations(service.key).unwrap() {
            assert_eq!((info.active_connections, info.inactive_connections), connected, "{what}: {info:?}");
        }
        self.services.push(Balanced { what, key: service.key, _servers: servers, _connections: connections });
    }

    /// A tunnel of this kind carries each family in each; `fits` knows its packets from behind the outer IP header on.
    fn tunnels(&mut self, transport: Transport, tunnel: Tunnel, fits: impl Fn(Family, &[u8]) -> bool) {
        for family in FAMILIES {
            for to in FAMILIES {
                let protocol = match (tunnel, family) {
                    (Tunnel::Gue { .. }, _) => 17,
                    (Tunnel::Gre { .. }, _) => 47,
                    (_, Family::Inet) => 4,
                    (_, Family::Inet6) => 41,
                };
                let outside = Outside::of(&self.network.servers[0], to, protocol);
                self.balances(transport, family, to, Forwarding::Tunnel(tunnel));
                outside.wait(|packet| fits(family, packet));
            }
        }
    }

    /// The director saw every connection, and the answers only if they went through it.
    fn counts(&mut self) {
        let answered = |packets| if self.network.answers == Answers::Directly { packets == 0 } else { packets >= 4 };
        for Balanced { what, key, .. } in &self.services {
            until(what, || {
                let all = self.ipvs.destinations(*key).unwrap();
                all.iter().all(|info| {
                    let stats = info.stats;
                    stats.connections == 2 && stats.packets_in >= 4 && answered(stats.packets_out)
                })
            });
        }
    }
}

fn masquerading(lab: &Lab) {
    let mut director = Director::new(lab, Answers::ThroughDirector);
    for transport in TRANSPORTS {
        for family in FAMILIES {
            director.balances(transport, family, family, Forwarding::Masquerade);
        }
    }
    director.counts();
}

fn direct_routing(lab: &Lab) {
    let mut director = Director::new(lab, Answers::Directly);
    for transport in TRANSPORTS {
        for family in FAMILIES {
            director.balances(transport, family, family, Forwarding::DirectRoute);
        }
    }
    director.counts();
}

/// Sees what of an IP protocol arrives at a host, before the host takes it out of its tunnel.
struct Outside(Socket, Family);

impl Outside {
    fn of(namespace: &Namespace, family: Family, protocol: i32) -> Self {
        let domain = if family == Family::Inet { Domain::IPV4 } else { Domain::IPV6 };
        let socket = namespace.run(|| Socket::new(domain, Type::RAW, Some(protocol.into()))).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(socket, family)
    }

    /// Waits for such a packet. Those of earlier connections come, too.
    fn wait(&self, fits: impl Fn(&[u8]) -> bool) {
        // Raw IPv4 sockets get the header (raw(7)), IPv6 ones do not (RFC 3542).
        let header = if self.1 == Family::Inet { 20 } else { 0 };
        let mut bytes = [0; 128];
        loop {
            let length = (&self.0).read(&mut bytes).unwrap_or_else(|error| panic!("no such packet: {error}"));
            if fits(&bytes[header..length]) {
                return;
            }
        }
    }
}

/// Runs `ip` commands on each server, with its addresses for `V4` and `V6`.
fn on_servers(network: &Network, commands: &str) {
    for (server, number) in network.servers.iter().zip(SERVERS) {
        let [v4, v6] = FAMILIES.map(|family| host(family, number).to_string());
        tool(server, "ip -batch -", &commands.replace("V4", &v4).replace("V6", &v6));
    }
}

const IP_IN_IP: &str = "link add in4 up type ipip local V4\n\
                        link add in6 up type ip6tnl mode any local V6\n\
                        link add sit up type sit local V4\n";

fn ipip_tunnels(lab: &Lab) {
    let mut director = Director::new(lab, Answers::Directly);
    on_servers(&director.network, IP_IN_IP);
    for transport in TRANSPORTS {
        director.tunnels(transport, Tunnel::Ipip, |_, _| true);
    }
    director.counts();
}

fn gue_tunnels(lab: &Lab) {
    const PORT: u16 = 6080;
    let mut director = Director::new(lab, Answers::Directly);
    for server in &director.network.servers {
        tool(server, &format!("ip fou add port {PORT} gue"), "");
        tool(server, &format!("ip -6 fou add port {PORT} gue"), "");
    }
    on_servers(&director.network, IP_IN_IP);
    for flags in [TunnelFlags::empty(), TunnelFlags::CHECKSUM, TunnelFlags::REMOTE_CHECKSUM] {
        let tunnel = Tunnel::Gue { port: NonZeroU16::new(PORT).unwrap(), flags };
        director.tunnels(Transport::Tcp, tunnel, |family, udp| {
            let (port, checksum, gue) = (&udp[2..4], &udp[6..8], &udp[8..]);
            let inside = if family == Family::Inet { 4 } else { 41 };
            // Remote checksum offload, a private field of the GUE header, relies on the outer checksum.
            port == PORT.to_be_bytes()
                && gue[1] == inside
                && (checksum != [0, 0]) != flags.is_empty()
                && (gue[2..4] == [0, 1]) == flags.contains(TunnelFlags::REMOTE_CHECKSUM)
        });
    }
    director.counts();
}

fn gre_tunnels(lab: &Lab) {
    let mut director = Director::new(lab, Answers::Directly);
    for (flags, option) in [(TunnelFlags::empty(), ""), (TunnelFlags::CHECKSUM, "icsum")] {
        on_servers(
            &director.network,
            &format!("link add in4 up type gre local V4 {option}\nlink add in6 up type ip6gre local V6 {option}\n"),
        );
        director.tunnels(Transport::Tcp, Tunnel::Gre { flags }, |family, gre| {
            let inside = if family == Family::Inet { [0x08, 0x00] } else { [0x86, 0xdd] };
            gre[2..4] == inside && (gre[0] == 0x80) == flags.contains(TunnelFlags::CHECKSUM)
        });
        on_servers(&director.network, "link delete in4\nlink delete in6\n");
    }
    director.counts();
}

fn a_destination_of_another_family_and_a_sync_daemon_exclude_each_other(lab: &Lab) {
    let mut director = Director::new(lab, Answers::Directly);
    let web = Service::tcp(SocketAddr::new(vip(Family::Inet), 80), Scheduler::RR);
    director.ipvs.add_service(web).unwrap();
    let other = Destination::new(SocketAddr::new(host(Family::Inet6, SERVERS[0]), 80))
        .forwarding(Forwarding::Tunnel(Tunnel::Ipip));
    let daemon = SyncDaemon::new(SyncState::Backup, Interface::new("eth0").unwrap(), 1);
    director.ipvs.add_destination(web.key, other).unwrap();
    let daemon_refused = director.ipvs.start_daemon(&daemon).unwrap_err();
    director.ipvs.delete_destination(web.key, other.address).unwrap();
    director.ipvs.start_daemon(&daemon).unwrap();
    let destination_refused = director.ipvs.add_destination(web.key, other).unwrap_err();
    for error in [daemon_refused, destination_refused] {
        assert!(matches!(error.cause(), Cause::Refused(refused) if refused.reason == Reason::Invalid), "{error}");
        assert!(error.to_string().contains("famil"), "{error}");
    }
    director.ipvs.stop_daemon(SyncState::Backup).unwrap();
}

fn the_director_serves_itself(lab: &Lab) {
    let mut director = Director::new(lab, Answers::Directly);
    for family in FAMILIES {
        let service = SocketAddr::new(vip(family), 80);
        let translated = SocketAddr::new(host(family, DIRECTOR), 8080);
        let remote = SocketAddr::new(host(family, SERVERS[0]), 80);
        let _servers = [
            Server::start(lab.namespace(), Transport::Tcp, service, "local"),
            Server::start(lab.namespace(), Transport::Tcp, translated, "translated"),
            Server::start(&director.network.servers[0], Transport::Tcp, service, "remote"),
        ];
        let web = Service::tcp(service, Scheduler::RR);
        director.ipvs.add_service(web).unwrap();
        for destination in [
            Destination::new(SocketAddr::new(host(family, DIRECTOR), 80)).forwarding(Forwarding::Local),
            Destination::new(translated),
            Destination::new(remote).forwarding(Forwarding::DirectRoute),
        ] {
            director.ipvs.add_destination(web.key, destination).unwrap();
        }
        let client = Client::new(&director.network.client, Transport::Tcp);
        let mut names = [(); 6].map(|()| client.ask(service).unwrap());
        names.sort_unstable();
        assert_eq!(names, ["local", "local", "remote", "remote", "translated", "translated"]);
    }
}

fn single_packets(family: Family) -> Service {
    let mut dns = Service::udp(SocketAddr::new(vip(family), 53), Scheduler::RR);
    dns.flags = ServiceFlags::ONE_PACKET;
    dns
}

fn one_packet_scheduling(lab: &Lab) {
    let mut director = Director::new(lab, Answers::Directly);
    for family in FAMILIES {
        let dns = single_packets(family);
        let _servers = director.add(&dns, Transport::Udp, family, Forwarding::DirectRoute);
        let client = Client::new(&director.network.client, Transport::Udp);
        let mut client = client.connect(SocketAddr::new(vip(family), 53)).unwrap();
        let names = [(); 4].map(|()| client.ask().unwrap());
        assert!(names[0] != names[1] && names[..2] == names[2..], "{names:?}");
        for info in director.ipvs.destinations(dns.key).unwrap() {
            assert_eq!((info.active_connections, info.inactive_connections), (0, 0), "{info:?}");
        }
    }
    until("counters", || {
        let counted = FAMILIES.map(|family| director.ipvs.destinations(single_packets(family).key).unwrap());
        counted.iter().flatten().all(|info| info.stats.connections == 2)
    });
}

/// Nothing is remembered by which they could be.
fn answers_to_single_packets_are_not_masqueraded(lab: &Lab) {
    let mut director = Director::new(lab, Answers::ThroughDirector);
    for family in FAMILIES {
        let _servers = director.add(&single_packets(family), Transport::Udp, family, Forwarding::Masquerade);
        let own = SocketAddr::new(host(family, CLIENT), 0);
        let client = director.network.client.run(|| UdpSocket::bind(own)).unwrap().unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.send_to(b"?", SocketAddr::new(vip(family), 53)).unwrap();
        let mut name = [0; 128];
        let (length, from) = client.recv_from(&mut name).unwrap();
        assert_eq!(from.to_string().as_bytes(), &name[..length]);
    }
}

const PORTS: [u16; 2] = [80, 443];

/// A director that marks the packets to two ports of the virtual address, and the service of that mark.
fn marked(lab: &Lab, answers: Answers) -> (Director, [Service; 2], Vec<Server>) {
    const MARK: NonZeroU32 = NonZeroU32::new(7).unwrap();
    let mut director = Director::new(lab, answers);
    let mut servers = Vec::new();
    let services = FAMILIES.map(|family| {
        let iptables = if family == Family::Inet { "iptables" } else { "ip6tables" };
        let ports = PORTS.map(|port| port.to_string()).join(",");
        let (vip, mark) = (vip(family), MARK);
        lab.tool(&format!(
            "{iptables} -t mangle -A PREROUTING -d {vip} -p tcp -m multiport --dports {ports} -j MARK --set-mark {mark}"
        ));
        let service = Service::firewall_mark(MARK, family, Scheduler::RR);
        director.ipvs.add_service(service).unwrap();
        for (server, number) in director.network.servers.iter().zip(SERVERS) {
            let real = host(family, number);
            let (at, forwarding) = match answers {
                Answers::Directly => (vip, Forwarding::DirectRoute),
                Answers::ThroughDirector => (real, Forwarding::Masquerade),
            };
            let start = |port| Server::start(server, Transport::Tcp, SocketAddr::new(at, port), &number.to_string());
            servers.extend(PORTS.map(start));
            let real = Destination::new(SocketAddr::new(real, 0)).forwarding(forwarding);
            director.ipvs.add_destination(service.key, real).unwrap();
        }
        service
    });
    (director, services, servers)
}

fn a_firewall_mark_joins_two_ports(lab: &Lab) {
    let (mut director, services, _servers) = marked(lab, Answers::ThroughDirector);
    let client = Client::new(&director.network.client, Transport::Tcp);
    for family in FAMILIES {
        let names = [80, 80, 443, 443].map(|port| client.ask(SocketAddr::new(vip(family), port)).unwrap());
        assert!(names[0] != names[1] && names[..2] == names[2..], "{names:?}");
        let unmarked = client.ask(SocketAddr::new(vip(family), 81)).unwrap_err();
        assert_eq!(unmarked.kind(), ErrorKind::ConnectionRefused);
    }
    until("counters", || {
        services.iter().all(|service| director.ipvs.service(service.key).unwrap().stats.connections == 4)
    });
}

fn a_client_of_a_firewall_mark_stays_with_its_server_on_both_ports(lab: &Lab) {
    let (mut director, services, _servers) = marked(lab, Answers::Directly);
    const OTHER: u8 = CLIENT + 1;
    for (family, service) in FAMILIES.into_iter().zip(services) {
        director.ipvs.set_service(service.persistent(Duration::from_secs(600))).unwrap();
        let other = host(family, OTHER);
        tool(&director.network.client, "ip -batch -", &adding(other));
        let [names, others] = [host(family, CLIENT), other].map(|source| {
            let client = Client::new(&director.network.client, Transport::Tcp).source(SocketAddr::new(source, 0));
            [80, 443, 80].map(|port| client.ask(SocketAddr::new(vip(family), port)).unwrap())
        });
        assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
        assert!(others.iter().all(|name| *name == others[0] && *name != names[0]), "{names:?} {others:?}");
    }
}
