//! Names of hosts and ports.
//!
//! Ports are looked up in `/etc/services`. A name is turned into an address by the system's resolver; an address into
//! a name by `/etc/hosts` alone, so without `-n` an address that only DNS has a name for is shown as a number. Other
//! sources of the name service switch are not asked for ports and for names of addresses.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::sync::OnceLock;

use lvs::ipvs::Protocol;

/// The names that this machine has, read when the first is asked for.
pub(crate) struct Names {
    resolve: fn(&str) -> Option<Ipv4Addr>,
    services: OnceLock<Vec<NamedPort>>,
    hosts: OnceLock<Vec<(IpAddr, String)>>,
}

/// A line of `/etc/services`: its names, the official one first.
struct NamedPort {
    port: u16,
    protocol: String,
    names: Vec<String>,
}

impl Names {
    /// The names that the system has.
    pub(crate) fn of_system() -> Self {
        Self { resolve: first_address, services: OnceLock::new(), hosts: OnceLock::new() }
    }

    /// The port that has this name for this protocol.
    pub(crate) fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let protocol = protocol.to_string();
        let is_it = |line: &&NamedPort| line.protocol == protocol && line.names.iter().any(|known| known == name);
        self.services().iter().find(is_it).map(|line| line.port)
    }

    /// The official name of a port of this protocol.
    pub(crate) fn service(&self, port: u16, protocol: Protocol) -> Option<&str> {
        let protocol = protocol.to_string();
        let line = self.services().iter().find(|line| line.port == port && line.protocol == protocol)?;
        line.names.first().map(String::as_str)
    }

    /// The first IPv4 address of a host.
    pub(crate) fn address(&self, host: &str) -> Option<Ipv4Addr> {
        (self.resolve)(host)
    }

    /// The name of the host that has this address.
    pub(crate) fn host(&self, address: IpAddr) -> Option<&str> {
        let hosts = self.hosts.get_or_init(|| hosts(&text_of("/etc/hosts")));
        hosts.iter().find(|(known, _)| *known == address).map(|(_, name)| name.as_str())
    }

    fn services(&self) -> &[NamedPort] {
        self.services.get_or_init(|| services(&text_of("/etc/services")))
    }
}

fn first_address(host: &str) -> Option<Ipv4Addr> {
    let mut addresses = (host, 0).to_socket_addrs().ok().filter(|_| !host.is_empty())?;
    addresses.find_map(|address| match address.ip() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    })
}

fn services(text: &str) -> Vec<NamedPort> {
    let line = |line: &str| {
        let mut words = words(line);
        let name = words.next()?;
        let (port, protocol) = words.next()?.split_once('/')?;
        let names = std::iter::once(name).chain(words).map(str::to_owned).collect();
        Some(NamedPort { port: port.parse().ok()?, protocol: protocol.to_owned(), names })
    };
    text.lines().filter_map(line).collect()
}

fn hosts(text: &str) -> Vec<(IpAddr, String)> {
    let line = |line: &str| {
        let mut words = words(line);
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// The words of a line before its comment.
fn words(line: &str) -> std::str::SplitWhitespace<'_> {
    line.split('#').next().unwrap_or_default().split_whitespace()
}

/// A file that is not there has no names.
fn text_of(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Names that do not depend on the machine.
    pub(crate) fn some_names() -> Names {
        let known =
            services("http\t80/tcp\twww # web\nshell 514/tcp cmd syslog\nsyslog 514/udp\nbroken\n\n# x 1/tcp\n");
        let names =
            Names { resolve: |host| (host == "vip").then_some(Ipv4Addr::new(10, 0, 0, 1)), ..Names::of_system() };
        assert!(names.services.set(known).is_ok());
        assert!(names.hosts.set(hosts("10.0.0.1 vip.example.com vip\nfd00::1 six\n# 10.0.0.2 no\n")).is_ok());
        names
    }

    #[test]
    fn ports_have_a_name_for_each_protocol() {
        let names = some_names();
        assert_eq!(names.port("www", Protocol::TCP), Some(80));
        assert_eq!(names.port("http", Protocol::UDP), None);
        assert_eq!(names.service(514, Protocol::TCP), Some("shell"));
        assert_eq!(names.service(514, Protocol::UDP), Some("syslog"));
        assert_eq!(names.service(1, Protocol::TCP), None);
    }

    #[test]
    fn hosts_have_their_first_name() {
        let names = some_names();
        assert_eq!(names.host("10.0.0.1".parse().unwrap()), Some("vip.example.com"));
        assert_eq!(names.host("fd00::1".parse().unwrap()), Some("six"));
        assert_eq!(names.host("10.0.0.2".parse().unwrap()), None);
    }
}
