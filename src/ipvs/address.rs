//! Families and addresses in messages of IPVS: 16 bytes in either family.

use std::net::{IpAddr, SocketAddr};

use super::numbers::{INET, INET6};
use crate::error::DecodeError;
use crate::net::Family;
use crate::wire::{Attr, Kind};

impl Family {
    #[inline]
    pub(super) fn bytes(self) -> [u8; 2] {
        match self {
            Self::Inet => INET.to_ne_bytes(),
            Self::Inet6 => INET6.to_ne_bytes(),
        }
    }

    pub(super) fn read<K: Kind>(attr: &Attr<'_, K>) -> Result<Self, DecodeError> {
        match attr.u16_ne()? {
            INET => Ok(Self::Inet),
            INET6 => Ok(Self::Inet6),
            other => Err(attr.wrong_value(other)),
        }
    }
}

/// The 16 bytes of the kernel's `union nf_inet_addr`.
#[inline]
pub(super) fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Reads an address whose family another attribute has.
#[inline]
pub(super) fn read<K: Kind>(attr: &Attr<'_, K>, family: Family) -> Result<IpAddr, DecodeError> {
    match family {
        Family::Inet6 => attr.array::<16>().map(IpAddr::from),
        // Clients may send an IPv4 address alone; the kernel sends 16 bytes.
        Family::Inet => match attr.bytes().first_chunk::<4>() {
            Some(v4) if matches!(attr.bytes().len(), 4 | 16) => Ok(IpAddr::from(*v4)),
            _ => Err(attr.wrong_length(16)),
        },
    }
}

/// Part of an IPv6 socket address that IPVS has no attribute for.
#[inline]
pub(super) fn extra_parts(address: SocketAddr) -> Option<&'static str> {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => Some("scope (%interface)"),
        SocketAddr::V6(v6) if v6.flowinfo() != 0 => Some("flow label"),
        _ => None,
    }
}
