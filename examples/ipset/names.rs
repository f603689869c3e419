//! Names of hosts, services, protocols and types of ICMP. Numbers are recognized without asking anyone.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use dns_lookup::{AddrInfoHints, getaddrinfo};
use lvs::Family;
use nix::libc::{AF_INET, AF_INET6, SOCK_STREAM};

use crate::database::Database;
use crate::failure::Failure;
use crate::hosts::Hosts;

pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;

/// The names that the system has; each is looked up once.
#[derive(Default)]
pub(crate) struct Names {
    services: OnceCell<Database>,
    protocols: OnceCell<Database>,
    numbers: RefCell<BTreeMap<u8, Rc<str>>>,
    hosts: RefCell<HashMap<IpAddr, Option<String>>>,
    files: OnceCell<Hosts>,
    /// No host has a name, and nobody is asked for one.
    no_hosts: bool,
}

impl Names {
    /// Names that do not depend on the machine: those of two such files, and none of hosts.
    #[cfg(any(all(test, feature = "testing"), fuzzing))]
    pub(crate) fn of(services: &str, protocols: &str) -> Self {
        let read = |text| OnceCell::from(Database::read(text));
        Self { services: read(services), protocols: read(protocols), no_hosts: true, ..Self::default() }
    }

    fn protocols(&self) -> &Database {
        self.protocols.get_or_init(|| Database::open("/etc/protocols"))
    }

    /// The number of a protocol by one of its names.
    pub(crate) fn protocol(&self, name: &str) -> Option<u8> {
        match name {
            // Those of nearly every line need no file.
            "tcp" => Some(6),
            "udp" => Some(17),
            "icmp" => Some(ICMP),
            _ if name.eq_ignore_ascii_case("icmpv6") => Some(ICMPV6),
            _ => self.protocols().values(name).next()?.parse().ok(),
        }
    }

    /// Returns the name of a protocol, or its number.
    pub(crate) fn protocol_name(&self, number: u8) -> Rc<str> {
        let name = || {
            let number = number.to_string();
            self.protocols().name(&number).unwrap_or(&number).into()
        };
        self.numbers.borrow_mut().entry(number).or_insert_with(name).clone()
    }

    /// The port of a service that a protocol, by its name, has.
    pub(crate) fn port(&self, service: &str, protocol: &str) -> Option<u16> {
        let services = self.services.get_or_init(|| Database::open("/etc/services"));
        let mut ports = services.values(service).filter_map(|value| value.split_once('/'));
        ports.find(|(_, of)| *of == protocol)?.0.parse().ok()
    }

    /// The first address of a host, by its name or its number, and whether it has others.
    pub(crate) fn address(&self, host: &str, family: Family) -> Result<(IpAddr, bool), Failure> {
        let unknown = || {
            let version = if family == Family::Inet { 4 } else { 6 };
            Failure::syntax(format_args!("cannot parse {host}: resolving to IPv{version} address failed"))
        };
        let numeric = match family {
            Family::Inet => inet(host).map(IpAddr::V4),
            _ => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        };
        if let Some(address) = numeric {
            return Ok((address, false));
        }
        if self.no_hosts || !can_be_a_name(host) {
            return Err(unknown());
        }
        let files = self.files.get_or_init(Hosts::of_system);
        let mut found: Vec<_> = files.addresses(host).filter(|ip| ip.is_ipv4() == (family == Family::Inet)).collect();
        if found.is_empty() && files.asks_dns() {
            let address = if family == Family::Inet { AF_INET } else { AF_INET6 };
            let hints = AddrInfoHints { socktype: SOCK_STREAM, address, ..AddrInfoHints::default() };
            let all = getaddrinfo(Some(host), None, Some(hints)).map_err(|_| unknown())?;
            found.extend(all.filter_map(|found| found.ok().map(|found| found.sockaddr.ip())));
        }
        let first = *found.first().ok_or_else(unknown)?;
        Ok((first, found.iter().any(|other| *other != first)))
    }

    /// The name of the host that has this address.
    pub(crate) fn host(&self, address: IpAddr) -> Option<String> {
        if self.no_hosts {
            return None;
        }
        let ask = || self.files.get_or_init(Hosts::of_system).name(address);
        self.hosts.borrow_mut().entry(address).or_insert_with(ask).clone()
    }
}

/// Whether a text can be a host name. Numbers and texts with blanks or signs cannot, though resolvers would try them.
fn can_be_a_name(host: &str) -> bool {
    let is_number =
        |part: &str| part.starts_with("0x") || part.starts_with("0X") || part.bytes().all(|byte| byte.is_ascii_digit());
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || !c.is_ascii();
    !host.is_empty() && host.chars().all(is_allowed) && !host.split('.').all(is_number)
}

/// An IPv4 address as `inet_aton` reads it, but for hexadecimal: `10.1` is 10.0.0.1, and `010` is 8.
pub(crate) fn inet(text: &str) -> Option<Ipv4Addr> {
    let (mut address, mut bits) = (0, 32);
    let (mut part, mut radix, mut is_empty) = (0, 10, true);
    for byte in text.bytes() {
        if byte == b'.' {
            // Each part but the last is a byte.
            if is_empty || part > 255 || bits == 8 {
                return None;
            }
            bits -= 8;
            address |= part << bits;
            (part, is_empty) = (0, true);
            continue;
        }
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if is_empty {
            radix = if digit == 0 { 8 } else { 10 };
        }
        part = part * radix + digit;
        if digit >= radix || part > u32::MAX.into() {
            return None;
        }
        is_empty = false;
    }
    // The last part is all of the rest.
    if is_empty || part >= 1 << bits {
        return None;
    }
    u32::try_from(address | part).ok().map(Ipv4Addr::from)
}

/// A type and a code of ICMP or ICMPv6.
type Icmp = (&'static str, u8, u8);

/// RFC 792, by the names that `iptables -p icmp -h` has, too.
const ICMP_NAMES: &[Icmp] = &[
    ("echo-reply", 0, 0),
    ("pong", 0, 0),
    ("network-unreachable", 3, 0),
    ("host-unreachable", 3, 1),
    ("protocol-unreachable", 3, 2),
    ("port-unreachable", 3, 3),
    ("fragmentation-needed", 3, 4),
    ("source-route-failed", 3, 5),
    ("network-unknown", 3, 6),
    ("host-unknown", 3, 7),
    ("network-prohibited", 3, 9),
    ("host-prohibited", 3, 10),
    ("TOS-network-unreachable", 3, 11),
    ("TOS-host-unreachable", 3, 12),
    ("communication-prohibited", 3, 13),
    ("host-precedence-violation", 3, 14),
    ("precedence-cutoff", 3, 15),
    ("source-quench", 4, 0),
    ("network-redirect", 5, 0),
    ("host-redirect", 5, 1),
    ("TOS-network-redirect", 5, 2),
    ("TOS-host-redirect", 5, 3),
    ("echo-request", 8, 0),
    ("ping", 8, 0),
    ("router-advertisement", 9, 0),
    ("router-solicitation", 10, 0),
    ("ttl-zero-during-transit", 11, 0),
    ("ttl-zero-during-reassembly", 11, 1),
    ("ip-header-bad", 12, 0),
    ("required-option-missing", 12, 1),
    ("timestamp-request", 13, 0),
    ("timestamp-reply", 14, 0),
    ("address-mask-request", 17, 0),
    ("address-mask-reply", 18, 0),
];

/// RFC 4443 and RFC 4861.
const ICMPV6_NAMES: &[Icmp] = &[
    ("no-route", 1, 0),
    ("communication-prohibited", 1, 1),
    ("address-unreachable", 1, 3),
    ("port-unreachable", 1, 4),
    ("packet-too-big", 2, 0),
    ("ttl-zero-during-transit", 3, 0),
    ("ttl-zero-during-reassembly", 3, 1),
    ("bad-header", 4, 0),
    ("unknown-header-type", 4, 1),
    ("unknown-option", 4, 2),
    ("echo-request", 128, 0),
    ("ping", 128, 0),
    ("echo-reply", 129, 0),
    ("pong", 129, 0),
    ("router-solicitation", 133, 0),
    ("router-advertisement", 134, 0),
    ("neighbour-solicitation", 135, 0),
    ("neigbour-solicitation", 135, 0),
    ("neighbour-advertisement", 136, 0),
    ("neigbour-advertisement", 136, 0),
    ("redirect", 137, 0),
];

fn icmp_names(protocol: u8) -> &'static [Icmp] {
    if protocol == ICMP { ICMP_NAMES } else { ICMPV6_NAMES }
}

/// The type and the code that a name begins so.
pub(crate) fn icmp(protocol: u8, start: &str) -> Option<(u8, u8)> {
    let begins = |name: &str| name.get(..start.len()).is_some_and(|part| part.eq_ignore_ascii_case(start));
    icmp_names(protocol).iter().find(|(name, ..)| begins(name)).map(|(_, kind, code)| (*kind, *code))
}

/// Returns the name of an ICMP type and code.
pub(crate) fn icmp_name(protocol: u8, kind: u8, code: u8) -> Option<&'static str> {
    icmp_names(protocol).iter().find(|icmp| (icmp.1, icmp.2) == (kind, code)).map(|icmp| icmp.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_addresses_are_filled_up() {
        let read = |text| inet(text).map(|address| address.to_string());
        for (text, address) in [
            ("1.2.3.4", "1.2.3.4"),
            ("1.1", "1.0.0.1"),
            ("1", "0.0.0.1"),
            ("16843009", "1.1.1.1"),
            ("010.1.1.1", "8.1.1.1"),
            ("1.65536", "1.1.0.0"),
            ("1.1.65535", "1.1.255.255"),
            ("4294967295", "255.255.255.255"),
        ] {
            assert_eq!(read(text).as_deref(), Some(address), "{text}");
        }
        for text in
            ["256.1.1.1", "1.1.65536", "4294967296", "08.1.1.1", "1..1", "1.1.1.1.", ".1", "+1", "0x1", "1.1.1.1.1", ""]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_no_names() {
        for host in ["256.1.1.1", "0x01010101", "1.0x1", "", "a b", "::1%lo", "1.1.1.1/"] {
            assert!(!can_be_a_name(host), "{host}");
        }
        assert!(can_be_a_name("localhost") && can_be_a_name("1.example.com"));
    }

    #[test]
    fn the_first_name_that_begins_so_is_meant() {
        assert_eq!(icmp(ICMP, "net"), Some((3, 0)));
        assert_eq!(icmp(ICMP, "TOS-H"), Some((3, 12)));
        assert_eq!(icmp(ICMPV6, "ping"), Some((128, 0)));
        assert_eq!(icmp(ICMP, "foo"), None);
        assert_eq!(icmp_name(ICMP, 0, 0), Some("echo-reply"));
        assert_eq!(icmp_name(ICMPV6, 135, 0), Some("neighbour-solicitation"));
        assert_eq!(icmp_name(ICMP, 3, 8), None);
    }
}
