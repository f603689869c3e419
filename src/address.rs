//! Address families, and which addresses a host can have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// An address family.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[doc(alias("IPVS_SVC_ATTR_AF", "IPSET_ATTR_FAMILY"))]
pub enum Family {
    /// IPv4 (`AF_INET`).
    Inet,
    /// IPv6 (`AF_INET6`).
    Inet6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Inet } else { Self::Inet6 }
    }

    /// The length of an address in bits.
    pub(crate) fn bits(self) -> u8 {
        match self {
            Self::Inet => 32,
            Self::Inet6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inet => "inet",
            Self::Inet6 => "inet6",
        })
    }
}

/// Why no host has this address, or `None` if one may.
pub(crate) fn not_of_a_host(address: IpAddr) -> Option<String> {
    let mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    if mapped {
        return Some(format!("{address} is an IPv4 address written as IPv6, which no packet has"));
    }
    let broadcast = address == Ipv4Addr::BROADCAST;
    (broadcast || address.is_unspecified() || address.is_multicast())
        .then(|| format!("{address} is not the address of one host"))
}
