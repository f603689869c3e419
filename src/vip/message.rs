//! The route messages that are sent, and what is looked at in those that come.

use std::net::IpAddr;

use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::DecodeError;

/// The kind of a dummy interface (`IFLA_INFO_KIND`).
pub(super) const DUMMY: &str = "dummy";

/// A request for the interface called `name`, without its counters.
pub(super) fn get_link(name: &str) -> RouteNetlinkMessage {
    let mut link = link(name);
    link.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    RouteNetlinkMessage::GetLink(link)
}

/// A request for a new dummy interface called `name`, which the kernel leaves down.
pub(super) fn new_dummy(name: &str) -> RouteNetlinkMessage {
    let mut link = link(name);
    link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]));
    RouteNetlinkMessage::NewLink(link)
}

/// A request that deletes the interface with this index.
pub(super) fn delete_link(index: u32) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    RouteNetlinkMessage::DelLink(link)
}

fn link(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

/// A request that adds an address to the interface with this index.
pub(super) fn new_address(index: u32, address: IpAddr) -> RouteNetlinkMessage {
    let mut message = host_address(index, address);
    if address.is_ipv6() {
        // Usable at once, and no second route beside the local one.
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    RouteNetlinkMessage::NewAddress(message)
}

/// A request that removes an address from the interface with this index.
pub(super) fn delete_address(index: u32, address: IpAddr) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelAddress(host_address(index, address))
}

/// A request for all addresses of the interface with this index.
pub(super) fn get_addresses(index: u32) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    RouteNetlinkMessage::GetAddress(message)
}

fn host_address(index: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = host_prefix(address);
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}

/// The prefix length of one address.
fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A message's type and body.
pub(super) fn encode(message: &RouteNetlinkMessage) -> (u16, Vec<u8>) {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    (message.message_type(), body)
}

/// What an interface is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Link {
    pub(super) index: u32,
    /// `None`: hardware, or the loopback interface.
    pub(super) kind: Option<String>,
}

/// Reads an interface; `None` if the message is about something else.
pub(super) fn read_link(kind: u16, body: &[u8]) -> Result<Option<Link>, DecodeError> {
    let RouteNetlinkMessage::NewLink(link) = read(kind, body)? else {
        return Ok(None);
    };
    let info = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        }),
        _ => None,
    });
    Ok(Some(Link { index: link.header.index, kind: info }))
}

/// Reads an address that stands for itself, not for a network, and the interface it is on; `None` if the message is
/// about something else.
pub(super) fn read_address(kind: u16, body: &[u8]) -> Result<Option<(u32, IpAddr)>, DecodeError> {
    let RouteNetlinkMessage::NewAddress(message) = read(kind, body)? else {
        return Ok(None);
    };
    let (mut own, mut peer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            _ => {}
        }
    }
    let address = own.or(peer).filter(|address| message.header.prefix_len == host_prefix(*address));
    Ok(address.map(|address| (message.header.index, address)))
}

fn read(kind: u16, body: &[u8]) -> Result<RouteNetlinkMessage, DecodeError> {
    RouteNetlinkMessage::parse_with_param(body, kind).map_err(|error| DecodeError::Route(error.to_string()))
}
