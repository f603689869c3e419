//! The single entries of a range or network, and the networks that contain an entry.

use std::net::{IpAddr, Ipv4Addr};

use super::Denial;
use crate::ipset::numbers::error;
use crate::ipset::{Addresses, BitmapRange, Entry, Kind, Network, Ports, ProtocolPorts};

/// Maximum number of single entries of one entry.
const MOST: u32 = 1 << 16;

/// The addresses of an entry.
pub(super) fn networks(entry: &Entry) -> [Option<Addresses>; 2] {
    match *entry {
        Entry::Ip(ip) | Entry::IpMark(ip, _) | Entry::IpPort(ip, _) | Entry::IpInterface(ip, _) => [Some(ip), None],
        Entry::IpMac(ip, _) => [Some(ip.into()), None],
        Entry::IpPortIp(ip, _, other) | Entry::IpIp(ip, other) => [Some(ip), Some(other)],
        Entry::Port(_) | Entry::Mac(_) | Entry::Set(_) => [None, None],
    }
}

/// Returns the single entries of an entry, in the kernel's order.
pub(super) fn entries(kind: Kind, entry: &Entry) -> Result<Vec<Entry>, Denial> {
    let too_many = || Denial::not_modelled("so many entries at once");
    let [first, second] = networks(entry);
    for (addresses, network) in [(first, kind.starts_with_network()), (second, kind.has_networks())] {
        match addresses {
            Some(Addresses::Range(..)) if network => return Err(Denial::not_modelled("ranges of networks")),
            Some(Addresses::Network(all)) if all.prefix() == 0 && refuses_all(kind) => {
                return Err(error::INVALID_CIDR.into());
            }
            _ => {}
        }
    }
    let firsts = match first {
        Some(many @ (Addresses::Network(_) | Addresses::Range(..))) if !kind.starts_with_network() => {
            let (from, to) = ends(many).filter(|(from, to)| to - from < MOST).ok_or_else(too_many)?;
            (from..=to).map(|host| Some(Ipv4Addr::from_bits(host).into())).collect()
        }
        first => vec![first],
    };
    let ports = match entry {
        Entry::IpPort(_, ports) | Entry::IpPortIp(_, ports, _) => ports.ports,
        Entry::Port(ports) => *ports,
        _ => Ports { first: 0, last: 0 },
    };
    let mut entries = Vec::new();
    for first in firsts {
        for port in ports.first.min(ports.last)..=ports.first.max(ports.last) {
            let one = |of: ProtocolPorts| ProtocolPorts { ports: Ports { first: port, last: port }, ..of };
            entries.push(match (*entry, first) {
                (Entry::Ip(_), Some(ip)) => Entry::Ip(ip),
                (Entry::IpMark(_, mark), Some(ip)) => Entry::IpMark(ip, mark),
                (Entry::IpPort(_, ports), Some(ip)) => Entry::IpPort(ip, one(ports)),
                (Entry::IpPortIp(_, ports, other), Some(ip)) => Entry::IpPortIp(ip, one(ports), other),
                (Entry::Port(_), _) => Entry::Port(port.into()),
                (entry, _) => entry,
            });
        }
        if entries.len() > usize::try_from(MOST).unwrap_or(usize::MAX) {
            return Err(too_many());
        }
    }
    Ok(entries)
}

/// The first and the last of many IPv4 addresses.
fn ends(addresses: Addresses) -> Option<(u32, u32)> {
    match addresses {
        Addresses::Range(one, other) => Some((one.min(other).to_bits(), one.max(other).to_bits())),
        Addresses::Network(network) => match network.address() {
            IpAddr::V4(first) => {
                let others = u32::MAX.checked_shr(network.prefix().into()).unwrap_or(0);
                Some((first.to_bits(), first.to_bits() | others))
            }
            IpAddr::V6(_) => None,
        },
        Addresses::One(_) => None,
    }
}

/// Whether a network of all addresses is none for this type.
fn refuses_all(kind: Kind) -> bool {
    matches!(kind, Kind::HashNet | Kind::HashNetPort | Kind::HashIpPortNet)
}

pub(super) fn prefix(addresses: Addresses) -> u8 {
    match addresses {
        Addresses::Network(network) => network.prefix(),
        Addresses::One(_) | Addresses::Range(..) => u8::MAX,
    }
}

/// Whether a member has this entry of single addresses in it.
pub(super) fn covers(member: &Entry, entry: &Entry) -> bool {
    let inside = networks(member).into_iter().zip(networks(entry)).all(|(around, one)| match (around, one) {
        (Some(Addresses::Network(network)), Some(one)) => Network::new(one.first(), network.prefix()) == Some(network),
        (around, one) => around == one,
    });
    let rest = match (member, entry) {
        (Entry::Ip(_), Entry::Ip(_)) | (Entry::IpIp(..), Entry::IpIp(..)) => true,
        (Entry::IpPort(_, a), Entry::IpPort(_, b)) | (Entry::IpPortIp(_, a, _), Entry::IpPortIp(_, b, _)) => a == b,
        (Entry::IpInterface(_, a), Entry::IpInterface(_, b)) if a.wildcard => {
            a.physdev == b.physdev && b.name.as_bytes().starts_with(a.name.as_bytes())
        }
        (Entry::IpInterface(_, a), Entry::IpInterface(_, b)) => a == b,
        (member, entry) => member == entry,
    };
    inside && rest
}

/// Whether a bitmap of this range has a place for an entry that is one.
pub(super) fn is_within(range: BitmapRange, entry: &Entry) -> bool {
    match (range, entry) {
        (BitmapRange::Addresses(first, last), Entry::Ip(Addresses::One(IpAddr::V4(ip)))) => (first..=last).contains(ip),
        (BitmapRange::Addresses(first, last), Entry::IpMac(IpAddr::V4(ip), _)) => (first..=last).contains(ip),
        (BitmapRange::Ports(range), Entry::Port(ports)) => (range.first..=range.last).contains(&ports.first),
        _ => false,
    }
}
