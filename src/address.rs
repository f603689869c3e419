//! Which addresses a host can have.

use std::net::{IpAddr, Ipv4Addr};

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
