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

impl Entry {
    /// Refuses an entry that a set of this type and family cannot hold as it is.
    #[inline(always)]
    fn check(&self, kind: Kind, family: Option<Family>) -> Result<(), Cause> {
        let of_kind = match self {
            Self::Ip(_) => matches!(kind, Kind::BitmapIp | Kind::HashIp | Kind::HashNet),
            Self::IpMac(_, None) => kind == Kind::BitmapIpMac,
            Self::IpMac(_, Some(_)) => matches!(kind, Kind::BitmapIpMac | Kind::HashIpMac),
            Self::IpMark(..) => kind == Kind::HashIpMark,
            Self::IpPort(..) => matches!(kind, Kind::HashIpPort | Kind::HashNetPort),
            Self::IpPortIp(_, _, Addresses::One(_)) => {
                matches!(kind, Kind::HashIpPortIp | Kind::HashIpPortNet | Kind::HashNetPortNet)
            }
            Self::IpPortIp(..) => matches!(kind, Kind::HashIpPortNet | Kind::HashNetPortNet),
            Self::IpIp(..) => kind == Kind::HashNetNet,
            Self::IpInterface(..) => kind == Kind::HashNetIface,
            Self::Port(_) => kind == Kind::BitmapPort,
            Self::Mac(_) => kind == Kind::HashMac,
            Self::Set(_) => kind == Kind::ListSet,
        };
        if !of_kind {
            return Err(wrong(self, &format!("a {kind} has no such entries")));
        }
        match self {
            Self::Ip(ip) | Self::IpMark(ip, _) | Self::IpInterface(ip, _) => {
                check_addresses(kind, family, ip, Kind::starts_with_network)
            }
            Self::IpPort(ip, ports) => {
                check_addresses(kind, family, ip, Kind::starts_with_network)?;
                check_ports(family, ports)
            }
            Self::IpMac(ip, _) => check_addresses(kind, family, &Addresses::One(*ip), Kind::starts_with_network),
            Self::IpPortIp(ip, ports, other) => {
                check_addresses(kind, family, ip, Kind::starts_with_network)?;
                check_ports(family, ports)?;
                check_addresses(kind, family, other, Kind::has_networks)
            }
            Self::IpIp(ip, other) => {
                check_addresses(kind, family, ip, Kind::starts_with_network)?;
                check_addresses(kind, family, other, Kind::has_networks)
            }
            Self::Port(_) | Self::Mac(_) | Self::Set(_) => Ok(()),
        }
    }

    /// Whether it stands for one entry of a set of this type.
    fn is_single(&self, kind: Kind) -> bool {
        let single = |addresses: &Addresses, has_networks: bool| match addresses {
            Addresses::One(_) => true,
            Addresses::Network(network) => has_networks || network.prefix() == addresses.family().bits(),
            Addresses::Range(first, last) => first == last,
        };
        let first = |ip| single(ip, kind.starts_with_network());
        let second = |ip| single(ip, kind.has_networks());
        match self {
            Self::Ip(ip) | Self::IpMark(ip, _) | Self::IpInterface(ip, _) => first(ip),
            Self::IpPort(ip, ports) => first(ip) && ports.ports.first == ports.ports.last,
            Self::IpPortIp(ip, ports, other) => first(ip) && ports.ports.first == ports.ports.last && second(other),
            Self::IpIp(ip, other) => first(ip) && second(other),
            Self::Port(ports) => ports.first == ports.last,
            Self::IpMac(..) | Self::Mac(_) | Self::Set(_) => true,
        }
    }
}

impl<T: SetType> Member<T> {
    /// Refuses what cannot be sent to a set of this type and family.
    #[inline(always)]
    pub(super) fn check(&self, kind: Kind, family: Option<Family>) -> Result<(), Cause> {
        let entry: Entry = self.entry.into();
        entry.check(kind, family)?;
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
        let entry: Entry = self.entry.into();
        Err(wrong(&entry, "the kernel tests single entries only"))
    }

    /// Whether the entry stands for one entry of a set of this type.
    pub(super) fn is_single(&self, kind: Kind) -> bool {
        let entry: Entry = self.entry.into();
        entry.is_single(kind)
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

/// Timeout in the kernel's unit.
pub(super) fn seconds(timeout: Duration) -> Result<u32, Cause> {
    match u32::try_from(timeout.as_secs()) {
        Ok(seconds) if seconds <= MAX_TIMEOUT && timeout.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(Cause::InvalidInput(
            format!("a timeout of {timeout:?}: the kernel takes whole seconds up to {MAX_TIMEOUT}").into(),
        )),
    }
}
