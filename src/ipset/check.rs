//! Entries that a set cannot hold, found before anything is sent.
//
// Always inlined, for the bar of filling a set: where the set type is known at compile time, most branches
// vanish.

use std::time::Duration;

use super::addresses::Addresses;
use super::entry::{Entry, Member};
use super::kind::{Kind, SetType};
use super::numbers::MAX_TIMEOUT;
use super::ports::ProtocolPorts;
use crate::error::Cause;
use crate::net::{Family, Protocol};

/// Refuses an entry that a set of this type and family cannot hold as it is.
#[inline(always)]
pub(super) fn check(kind: Kind, family: Option<Family>, entry: &Entry) -> Result<(), Cause> {
    let of_kind = match entry {
        Entry::Ip(_) => matches!(kind, Kind::BitmapIp | Kind::HashIp | Kind::HashNet),
        Entry::IpMac(_, None) => kind == Kind::BitmapIpMac,
        Entry::IpMac(_, Some(_)) => matches!(kind, Kind::BitmapIpMac | Kind::HashIpMac),
        Entry::IpMark(..) => kind == Kind::HashIpMark,
        Entry::IpPort(..) => matches!(kind, Kind::HashIpPort | Kind::HashNetPort),
        Entry::IpPortIp(_, _, Addresses::One(_)) => {
            matches!(kind, Kind::HashIpPortIp | Kind::HashIpPortNet | Kind::HashNetPortNet)
        }
        Entry::IpPortIp(..) => matches!(kind, Kind::HashIpPortNet | Kind::HashNetPortNet),
        Entry::IpIp(..) => kind == Kind::HashNetNet,
        Entry::IpInterface(..) => kind == Kind::HashNetIface,
        Entry::Port(_) => kind == Kind::BitmapPort,
        Entry::Mac(_) => kind == Kind::HashMac,
        Entry::Set(_) => kind == Kind::ListSet,
    };
    if !of_kind {
        return Err(wrong(entry, &format!("a {kind} has no such entries")));
    }
    match entry {
        Entry::Ip(ip) | Entry::IpMark(ip, _) | Entry::IpInterface(ip, _) => {
            check_addresses(kind, family, ip, Kind::starts_with_network)
        }
        Entry::IpPort(ip, ports) => {
            check_addresses(kind, family, ip, Kind::starts_with_network)?;
            check_ports(family, ports)
        }
        Entry::IpMac(ip, _) => check_addresses(kind, family, &Addresses::One(*ip), Kind::starts_with_network),
        Entry::IpPortIp(ip, ports, other) => {
            check_addresses(kind, family, ip, Kind::starts_with_network)?;
            check_ports(family, ports)?;
            check_addresses(kind, family, other, Kind::has_networks)
        }
        Entry::IpIp(ip, other) => {
            check_addresses(kind, family, ip, Kind::starts_with_network)?;
            check_addresses(kind, family, other, Kind::has_networks)
        }
        Entry::Port(_) | Entry::Mac(_) | Entry::Set(_) => Ok(()),
    }
}

/// Formats a fault; apart from the checks, which hardly ever find one.
#[cold]
fn wrong(part: &dyn std::fmt::Display, why: &str) -> Cause {
    Cause::InvalidInput(format!("{part}: {why}").into())
}

#[inline(always)]
fn check_addresses(
    kind: Kind,
    family: Option<Family>,
    addresses: &Addresses,
    has_networks: fn(Kind) -> bool,
) -> Result<(), Cause> {
    let family = family.unwrap_or(Family::Inet);
    let wrong = |why: &str| Err(wrong(addresses, why));
    if addresses.family() != family {
        return wrong(&format!("the set has addresses of the family {family}"));
    }
    match *addresses {
        Addresses::One(_) | Addresses::Range(..) => Ok(()),
        Addresses::Network(network)
            if family == Family::Inet6 && !has_networks(kind) && network.prefix() != family.bits() =>
        {
            wrong(&format!("a {kind} takes single IPv6 addresses only"))
        }
        Addresses::Network(_) => Ok(()),
    }
}

/// Refuses ports that the kernel would store otherwise: it clears the port of a protocol without ports, and takes the
/// first of a range of ICMP types and codes.
#[inline]
fn check_ports(family: Option<Family>, ports: &ProtocolPorts) -> Result<(), Cause> {
    let inet6 = family == Some(Family::Inet6);
    let fault = match ports.protocol {
        Protocol::TCP | Protocol::UDP | Protocol::SCTP | ProtocolPorts::UDPLITE => return Ok(()),
        ProtocolPorts::ICMP if inet6 => "ICMP is a protocol of IPv4 sets; IPv6 sets take ICMPv6",
        ProtocolPorts::ICMPV6 if !inet6 => "ICMPv6 is a protocol of IPv6 sets; IPv4 sets take ICMP",
        ProtocolPorts::ICMP | ProtocolPorts::ICMPV6 if ports.ports.first != ports.ports.last => {
            "the kernel takes no ranges of ICMP types and codes"
        }
        ProtocolPorts::ICMP | ProtocolPorts::ICMPV6 => return Ok(()),
        Protocol(0 | 256..) => "the protocol of a packet is 1 to 255",
        _ if (ports.ports.first, ports.ports.last) != (0, 0) => "the protocol has no ports: its port must be 0",
        _ => return Ok(()),
    };
    Err(wrong(ports, fault))
}

/// Whether an entry stands for one entry of a set.
fn is_single(kind: Kind, entry: &Entry) -> bool {
    let single = |addresses: &Addresses, has_networks: bool| match addresses {
        Addresses::One(_) => true,
        Addresses::Network(network) => has_networks || network.prefix() == addresses.family().bits(),
        Addresses::Range(first, last) => first == last,
    };
    let first = |ip| single(ip, kind.starts_with_network());
    let second = |ip| single(ip, kind.has_networks());
    match entry {
        Entry::Ip(ip) | Entry::IpMark(ip, _) | Entry::IpInterface(ip, _) => first(ip),
        Entry::IpPort(ip, ports) => first(ip) && ports.ports.first == ports.ports.last,
        Entry::IpPortIp(ip, ports, other) => first(ip) && ports.ports.first == ports.ports.last && second(other),
        Entry::IpIp(ip, other) => first(ip) && second(other),
        Entry::Port(ports) => ports.first == ports.last,
        Entry::IpMac(..) | Entry::Mac(_) | Entry::Set(_) => true,
    }
}

impl<T: SetType> Member<T> {
    /// Refuses what cannot be sent to a set of this type and family.
    #[inline(always)]
    pub(super) fn check(&self, kind: Kind, family: Option<Family>) -> Result<(), Cause> {
        check(kind, family, &T::any(self.entry))?;
        if self.nomatch && !kind.has_networks() {
            return Err(Cause::InvalidInput(format!("a {kind} has no exceptions (nomatch)").into()));
        }
        if self.counters.packets == Some(u64::MAX) || self.counters.bytes == Some(u64::MAX) {
            return Err(wrong(&u64::MAX, "the kernel treats a counter of this value as not given"));
        }
        self.timeout.map_or(Ok(()), |timeout| seconds(timeout).map(drop))
    }

    /// Refuses what cannot be tested in a set of this type and family.
    pub(super) fn check_test(&self, kind: Kind, family: Option<Family>) -> Result<(), Cause> {
        self.check(kind, family)?;
        if self.is_single(kind) {
            return Ok(());
        }
        // The kernel would test the first entry alone.
        Err(wrong(&T::any(self.entry), "the kernel tests single entries only"))
    }

    /// Whether the entry stands for one entry of a set of this type.
    pub(super) fn is_single(&self, kind: Kind) -> bool {
        is_single(kind, &T::any(self.entry))
    }
}

/// Timeout in the kernel's unit.
pub(super) fn seconds(timeout: Duration) -> Result<u32, Cause> {
    match u32::try_from(timeout.as_secs()) {
        Ok(seconds) if seconds <= MAX_TIMEOUT && timeout.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(Cause::InvalidInput(
            format!("a timeout of {timeout:?}: the kernel takes whole seconds up to {MAX_TIMEOUT}").into(),
        )),
    }
}
