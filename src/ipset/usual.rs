//! Quick reader of members, for fast listings of members: `xtask/src/bench/bars.rs` has the limit. It expects the attributes
//! in the kernel's order and compares each header as one number. [`Member::read`] is the plain reader of every form.

use std::net::IpAddr;
use std::time::Duration;

use super::addresses::Addresses;
use super::entry::{AddressAttr, Counters, Entry, EntryAttr, FIRST, Member, addresses};
use super::kind::{Kind, SetType};
use super::ports::{Ports, ProtocolPorts};
use crate::error::Cause;
use crate::net::Protocol;
use crate::wire::Attrs;

impl<T: SetType> Member<T> {
    /// Reads an entry as [`Member::read`] does, typed.
    ///
    /// # Errors
    /// Also when sets of type `T` have no such entries.
    #[inline]
    pub(super) fn read_typed(kind: Kind, attrs: Attrs<'_, EntryAttr>) -> Result<Self, Cause> {
        match Self::read_usual(kind, attrs.clone()) {
            Some(member) => Ok(member),
            None => Member::read(kind, attrs)?.of_type().map_err(Into::into),
        }
    }

    /// Reads an address or a network, with a port in some types, then the timeout and counters. `None` for other forms.
    #[inline]
    pub(super) fn read_usual(kind: Kind, mut attrs: Attrs<'_, EntryAttr>) -> Option<Self> {
        let address = take_address(&mut attrs)?;
        let entry = match kind {
            Kind::BitmapIp | Kind::HashIp | Kind::HashNet => Entry::Ip(with_prefix(address, &mut attrs)?),
            Kind::HashIpPort | Kind::HashNetPort => {
                let first = u16::from_be_bytes(attrs.usual_net(EntryAttr::Port)?);
                let addresses = with_prefix(address, &mut attrs)?;
                let [protocol] = attrs.usual(EntryAttr::Protocol)?;
                let ports = Ports { first, last: first };
                Entry::IpPort(addresses, ProtocolPorts { protocol: Protocol(protocol.into()), ports })
            }
            _ => return None,
        };
        let timeout = attrs.usual_net(EntryAttr::Timeout).map(u32::from_be_bytes);
        let bytes = attrs.usual_net(EntryAttr::Bytes).map(u64::from_be_bytes);
        let packets = attrs.usual_net(EntryAttr::Packets).map(u64::from_be_bytes);
        if !attrs.is_at_end() {
            return None;
        }
        let timeout = timeout.map(|timeout| Duration::from_secs(timeout.into()));
        let member = Self::new(T::Entry::try_from(entry).ok()?);
        Some(Self { timeout, counters: Counters { packets, bytes }, ..member })
    }
}

#[inline]
fn take_address(attrs: &mut Attrs<'_, EntryAttr>) -> Option<IpAddr> {
    match attrs.usual_nested(EntryAttr::Ip, AddressAttr::V4) {
        Some(octets) => Some(<[u8; 4]>::into(octets)),
        None => attrs.usual_nested(EntryAttr::Ip, AddressAttr::V6).map(<[u8; 16]>::into),
    }
}

/// Returns the address, or its network if the prefix length follows.
#[inline]
fn with_prefix(address: IpAddr, attrs: &mut Attrs<'_, EntryAttr>) -> Option<Addresses> {
    let prefix = attrs.usual(EntryAttr::Cidr).map(|[prefix]| prefix);
    addresses(address, None, prefix, FIRST).ok()
}
