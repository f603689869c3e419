//! Names of hosts and ports, from every source that the C library has (files, DNS, ...), each asked for once in a run.
//!
//! Only ports of SCTP are looked up in `/etc/services` itself, because the C library's interface that is safe to call
//! (`getaddrinfo`, `getnameinfo`) knows ports of TCP and UDP only.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dns_lookup::{AddrInfoHints, getaddrinfo, getnameinfo};
use lvs::Protocol;
use nix::libc::{AF_INET, NI_DGRAM, NI_NUMERICHOST, SOCK_DGRAM, SOCK_STREAM};

use crate::hosts::Hosts;

/// Where names come from.
pub(crate) trait Source {
    /// The port that has this name for this protocol.
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16>;
    /// The official name of a port of this protocol.
    fn service(&self, port: u16, protocol: Protocol) -> Option<String>;
    /// The first IPv4 address of a host.
    fn address(&self, host: &str) -> Option<Ipv4Addr>;
    /// The name of the host that has this address.
    fn host(&self, address: IpAddr) -> Option<String>;
}

/// Names, and those that there are not: what was asked for is remembered.
pub(crate) struct Names {
    source: Box<dyn Source>,
    ports: Answers<(String, Protocol), u16>,
    services: Answers<(u16, Protocol), String>,
    addresses: Answers<String, Ipv4Addr>,
    hosts: Answers<IpAddr, String>,
}

type Answers<K, V> = RefCell<HashMap<K, Option<V>>>;

impl Names {
    /// The names that the system has.
    pub(crate) fn of_system() -> Self {
        Self::of(System::default())
    }

    pub(crate) fn of(source: impl Source + 'static) -> Self {
        Self {
            source: Box::new(source),
            ports: RefCell::default(),
            services: RefCell::default(),
            addresses: RefCell::default(),
            hosts: RefCell::default(),
        }
    }

    /// The port that has this name for this protocol.
    pub(crate) fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let name = possible(name)?;
        once(&self.ports, (name.to_owned(), protocol), || self.source.port(name, protocol))
    }

    /// The official name of a port of this protocol.
    pub(crate) fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        once(&self.services, (port, protocol), || self.source.service(port, protocol))
    }

    /// The first IPv4 address of a host.
    pub(crate) fn address(&self, host: &str) -> Option<Ipv4Addr> {
        let host = possible(host)?;
        once(&self.addresses, host.to_owned(), || self.source.address(host))
    }

    /// The name of the host that has this address.
    pub(crate) fn host(&self, address: IpAddr) -> Option<String> {
        once(&self.hosts, address, || self.source.host(address))
    }
}

/// A name that is not too long for the C library (`NI_MAXHOST`).
fn possible(name: &str) -> Option<&str> {
    (name.len() < 1025).then_some(name)
}

/// Number of answers that are remembered: a restore may ask for any number of names.
const ANSWERS: usize = 1 << 16;

fn once<K: Eq + Hash, V: Clone>(answers: &Answers<K, V>, key: K, ask: impl FnOnce() -> Option<V>) -> Option<V> {
    let mut answers = answers.borrow_mut();
    if answers.len() >= ANSWERS && !answers.contains_key(&key) {
        answers.clear();
    }
    answers.entry(key).or_insert_with(ask).clone()
}

/// The C library.
#[derive(Default)]
struct System {
    /// Read when the first port of SCTP is asked for.
    services: OnceCell<Services>,
    /// Read when the first host is asked for.
    hosts: OnceCell<Hosts>,
}

impl Source for System {
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        // `getaddrinfo` would cut it to 16 bits.
        if is_number(name) || name.contains('/') {
            return None;
        }
        let socktype = match protocol {
            Protocol::TCP => SOCK_STREAM,
            Protocol::UDP => SOCK_DGRAM,
            _ => return self.services().port(name, protocol),
        };
        let hints = AddrInfoHints { socktype, ..AddrInfoHints::default() };
        let found = getaddrinfo(None, Some(name), Some(hints)).ok()?.next()?;
        found.ok().map(|found| found.sockaddr.port())
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        let flags = match protocol {
            Protocol::TCP => 0,
            Protocol::UDP => NI_DGRAM,
            _ => return self.services().service(port, protocol),
        };
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let (_, name) = getnameinfo(&address, flags | NI_NUMERICHOST).ok()?;
        // One without a name has its number here.
        (name != port.to_string()).then_some(name)
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        if host.is_empty() || host.contains(char::is_whitespace) {
            return None;
        }
        let v4 = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        };
        if let Some(found) = self.hosts().addresses(host).find_map(v4) {
            return Some(found);
        }
        if !self.hosts().asks_dns() {
            return None;
        }
        // Only IPv4 is asked for. Then the resolver turns `::1` of a hosts file into 127.0.0.1.
        let hints = AddrInfoHints { address: AF_INET, ..AddrInfoHints::default() };
        let mut found = getaddrinfo(Some(host), None, Some(hints)).ok().filter(|_| self.hosts().asks_dns())?;
        found.find_map(|found| v4(found.ok()?.sockaddr.ip()))
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        self.hosts().name(address)
    }
}

impl System {
    fn hosts(&self) -> &Hosts {
        self.hosts.get_or_init(Hosts::of_system)
    }

    fn services(&self) -> &Services {
        self.services.get_or_init(|| {
            // A file that is not there has no names.
            let text = fs::read("/etc/services").unwrap_or_default();
            Services::read(&text)
        })
    }
}

/// Whether it is a number to C. (A name, such as `7-1`, needs no letter.)
fn is_number(text: &str) -> bool {
    text.trim_start().trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit())
}

/// The text of `/etc/services`.
struct Services(Vec<NamedPort>);

/// A line: its names, the official one first.
struct NamedPort {
    port: u16,
    protocol: String,
    names: Vec<String>,
}

impl Services {
    fn read(text: &[u8]) -> Self {
        let line = |line: &[u8]| {
            // The part before the comment, which may be in any encoding.
            let entry = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let mut words = std::str::from_utf8(entry).ok()?.split_whitespace();
            let name = words.next()?;
            let (port, protocol) = words.next()?.split_once('/')?;
            let names = std::iter::once(name).chain(words).map(str::to_owned).collect();
            Some(NamedPort { port: port.parse().ok()?, protocol: protocol.to_owned(), names })
        };
        Self(text.split(|byte| *byte == b'\n').filter_map(line).collect())
    }

    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let protocol = protocol.to_string();
        let is_it = |line: &&NamedPort| line.protocol == protocol && line.names.iter().any(|known| known == name);
        self.0.iter().find(is_it).map(|line| line.port)
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        let protocol = protocol.to_string();
        self.0.iter().find(|line| line.port == port && line.protocol == protocol)?.names.first().cloned()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::rc::Rc;

    /// Names that do not depend on the machine. Counts the questions.
    struct Known {
        services: Services,
        asked: Rc<RefCell<Vec<String>>>,
    }

    impl Source for Known {
        fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
            self.asked.borrow_mut().push(format!("port {name}"));
            self.services.port(name, protocol)
        }

        fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
            self.asked.borrow_mut().push(format!("service {port}/{protocol}"));
            self.services.service(port, protocol)
        }

        fn address(&self, host: &str) -> Option<Ipv4Addr> {
            self.asked.borrow_mut().push(format!("address {host}"));
            (host == "vip").then_some(Ipv4Addr::new(10, 0, 0, 1))
        }

        fn host(&self, address: IpAddr) -> Option<String> {
            self.asked.borrow_mut().push(format!("host {address}"));
            let known = [("10.0.0.1", "vip.example.com"), ("fd00::1", "six")];
            known.into_iter().find(|(ip, _)| *ip == address.to_string()).map(|(_, name)| name.to_owned())
        }
    }

    fn known() -> (Names, Rc<RefCell<Vec<String>>>) {
        let text = b"http\t80/tcp\twww # caf\xe9\nshell 514/tcp cmd syslog\nsyslog 514/udp\nbroken\n\n# x 1/tcp\ncaf\xe9 2/tcp\n";
        let asked = Rc::default();
        (Names::of(Known { services: Services::read(text), asked: Rc::clone(&asked) }), asked)
    }

    /// Names that do not depend on the machine.
    pub(crate) fn some_names() -> Names {
        known().0
    }

    #[test]
    fn ports_have_a_name_for_each_protocol() {
        let names = some_names();
        assert_eq!(names.port("www", Protocol::TCP), Some(80));
        assert_eq!(names.port("http", Protocol::UDP), None);
        assert_eq!(names.service(514, Protocol::TCP).as_deref(), Some("shell"));
        assert_eq!(names.service(514, Protocol::UDP).as_deref(), Some("syslog"));
        assert_eq!(names.service(1, Protocol::TCP), None);
        assert_eq!(names.service(2, Protocol::TCP), None);
    }

    #[test]
    fn everything_is_asked_once_also_what_has_no_name() {
        let (names, asked) = known();
        for _ in 0..3 {
            assert_eq!(names.host("10.0.0.1".parse().unwrap()).as_deref(), Some("vip.example.com"));
            assert_eq!(names.host("10.0.0.2".parse().unwrap()), None);
            assert_eq!(names.service(514, Protocol::TCP).as_deref(), Some("shell"));
            assert_eq!(names.service(514, Protocol::SCTP), None);
            assert_eq!(names.address("vip"), Some(Ipv4Addr::new(10, 0, 0, 1)));
            assert_eq!(names.port("www", Protocol::TCP), Some(80));
        }
        let expected =
            ["host 10.0.0.1", "host 10.0.0.2", "service 514/tcp", "service 514/sctp", "address vip", "port www"];
        assert_eq!(*asked.borrow(), expected);
    }

    #[test]
    fn a_number_is_no_name_of_a_port() {
        for text in ["", "65536", "+80", " 80", "-1", " +"] {
            assert!(is_number(text), "{text:?}");
            assert_eq!(System::default().port(text, Protocol::TCP), None, "{text:?}");
        }
        for text in ["7-1", "9p", "80 ", "_"] {
            assert!(!is_number(text), "{text:?}");
        }
    }
}
