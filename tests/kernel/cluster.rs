//! A service with its servers, all in one namespace: who gets which connection.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lvs::ipvs::{Destination, DestinationInfo, Ipvs, Service, ServiceKey};
use lvs::vip::{Binder, Vips};
use lvs::{Family, Protocol};

use crate::lab::Lab;
use crate::peers::{Client, Connection, Server, Transport, until};

/// Its servers are called `a`, `b`, `c` and so on, and so is what they answer.
pub(crate) struct Cluster<'a> {
    lab: &'a Lab,
    vips: Vips,
    pub(crate) ipvs: Ipvs,
    pub(crate) key: ServiceKey,
    servers: Vec<Server>,
    open: Vec<(char, Connection)>,
}

impl<'a> Cluster<'a> {
    /// A server for each weight. Those of a service of many ports listen at 80 and 443.
    pub(crate) fn start(lab: &'a Lab, service: &Service, weights: &[u32]) -> Self {
        let (vips, ipvs) = (lab.vips(), lab.ipvs());
        let mut cluster = Self { lab, vips, ipvs, key: service.key, servers: Vec::new(), open: Vec::new() };
        let transports = match service.key {
            ServiceKey::Address { protocol, address } => {
                cluster.bind(address.ip());
                vec![transport(protocol)]
            }
            ServiceKey::FirewallMark { .. } => vec![Transport::Tcp, Transport::Udp],
        };
        cluster.ipvs.add_service(service).unwrap();
        for (letter, weight) in ('a'..).zip(weights) {
            let at = cluster.server(letter);
            cluster.bind(at.ip());
            let ports = if at.port() == 0 { vec![80, 443] } else { vec![at.port()] };
            for port in ports {
                for transport in &transports {
                    let at = SocketAddr::new(at.ip(), port);
                    cluster.servers.push(Server::start(lab.namespace(), *transport, at, &letter.to_string()));
                }
            }
            cluster.ipvs.add_destination(cluster.key, Destination::new(at).weight(*weight)).unwrap();
        }
        cluster
    }

    fn bind(&mut self, ip: IpAddr) {
        self.vips.bind(&Binder::dummy("vip0").unwrap(), ip).unwrap();
    }

    fn host(&self, site: u8, network: u8, host: u8) -> IpAddr {
        match self.key.family() {
            Family::Inet6 => Ipv6Addr::from([0x2001, 0xdb8, site.into(), network.into(), 0, 0, 0, host.into()]).into(),
            _ => Ipv4Addr::from([10, site, network, host]).into(),
        }
    }

    /// Where a server is; port 0 if the service has many ports.
    pub(crate) fn server(&self, letter: char) -> SocketAddr {
        let port = match self.key {
            ServiceKey::Address { address, .. } if address.port() != 0 => 8080,
            _ => 0,
        };
        SocketAddr::new(self.host(244, 1, 1 + letter as u8 - b'a'), port)
    }

    /// One of the virtual addresses of a firewall mark.
    pub(crate) fn virtual_address(&mut self, number: u8) -> SocketAddr {
        let ip = self.host(96, 1, number);
        self.bind(ip);
        SocketAddr::new(ip, 80)
    }

    pub(crate) fn client(&self) -> Client<'a> {
        let client = |transport| Client::new(self.lab.namespace(), transport);
        match self.key {
            ServiceKey::Address { protocol, .. } => client(transport(protocol)),
            ServiceKey::FirewallMark { mark, .. } => client(Transport::Tcp).mark(mark.get()),
        }
    }

    /// A client with an address of its own, in one of several networks (/24 or /64), and a port if not 0.
    pub(crate) fn client_at(&mut self, network: u8, host: u8, port: u16) -> Client<'a> {
        let ip = self.host(1, network, host);
        self.bind(ip);
        self.client().source(SocketAddr::new(ip, port))
    }

    /// The service's address.
    pub(crate) fn address(&self) -> SocketAddr {
        match self.key {
            ServiceKey::Address { address, .. } => address,
            ServiceKey::FirewallMark { .. } => panic!("a firewall mark has no address"),
        }
    }

    /// Returns the server of a connection that is closed again.
    pub(crate) fn ask(&self, client: Client<'_>, to: SocketAddr) -> char {
        letter(&client.ask(to).unwrap())
    }

    /// Returns the server of a connection that stays open.
    pub(crate) fn open_as(&mut self, client: Client<'_>, to: SocketAddr) -> char {
        let mut connection = client.connect(to).unwrap();
        let letter = letter(&connection.ask().unwrap());
        self.open.push((letter, connection));
        letter
    }

    /// Opens `count` connections to the service's address, which stay open, and returns the server of each.
    pub(crate) fn open(&mut self, count: usize) -> String {
        (0..count).map(|_| self.open_as(self.client(), self.address())).collect()
    }

    /// Every open connection is still served by whom it was.
    pub(crate) fn assert_open_are_served(&mut self) {
        for (server, connection) in &mut self.open {
            assert_eq!(letter(&connection.ask().unwrap()), *server);
        }
    }

    /// Closes the connections to a server.
    pub(crate) fn close(&mut self, server: char) {
        self.open.retain(|(letter, _)| *letter != server);
        until("closed connections to be inactive", || self.info(server).active_connections == 0);
    }

    /// Nobody takes a new connection.
    pub(crate) fn assert_refused(&self, client: Client<'_>, to: SocketAddr) {
        assert_eq!(client.ask(to).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    pub(crate) fn info(&mut self, server: char) -> DestinationInfo {
        let at = self.server(server);
        self.ipvs.destinations(self.key).unwrap().into_iter().find(|info| info.address() == at).unwrap()
    }

    pub(crate) fn update(&mut self, server: char, edit: impl FnOnce(&mut Destination)) {
        self.ipvs.update_destination(self.key, self.server(server), edit).unwrap();
    }

    pub(crate) fn set_weight(&mut self, server: char, weight: u32) {
        self.update(server, |destination| destination.weight = weight);
    }
}

fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::UDP => Transport::Udp,
        Protocol::SCTP => Transport::Sctp,
        _ => Transport::Tcp,
    }
}

fn letter(answer: &str) -> char {
    answer.chars().next().unwrap()
}

/// Sorts servers whose order is unspecified.
pub(crate) fn sorted(letters: &str) -> String {
    let mut letters: Vec<_> = letters.chars().collect();
    letters.sort_unstable();
    letters.into_iter().collect()
}
