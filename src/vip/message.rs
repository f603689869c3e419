//! Messages about addresses and routes: requests, and the parts of the answers that this crate uses.

use std::net::IpAddr;

use super::binder::{Vip, Way};
use crate::error::DecodeError;
use crate::net::Family;
use crate::wire::{Attr, Attrs, Kind, Writer, kinds};

/// The loopback interface has this index in every namespace (`LOOPBACK_IFINDEX`).
pub(crate) const LOOPBACK: u32 = 1;
/// Protocol number of routes that the kernel creates for an address (`RTPROT_KERNEL`).
pub(crate) const RTPROT_KERNEL: u8 = 2;

/// `RTM_*`.
pub(crate) const NEW_ADDRESS: u16 = 20;
pub(crate) const DELETE_ADDRESS: u16 = 21;
pub(crate) const GET_ADDRESS: u16 = 22;
pub(crate) const NEW_ROUTE: u16 = 24;
pub(crate) const DELETE_ROUTE: u16 = 25;
pub(crate) const GET_ROUTE: u16 = 26;

/// The lengths of `struct ifaddrmsg` and `struct rtmsg`.
const ADDRESS_HEADER: usize = 8;
pub(crate) const ROUTE_HEADER: usize = 12;

/// `RT_TABLE_LOCAL`.
pub(crate) const TABLE: u8 = 255;
/// `RT_SCOPE_HOST`.
pub(crate) const SCOPE: u8 = 254;
/// `RTN_LOCAL`.
pub(crate) const LOCAL: u8 = 2;
/// `RTN_BROADCAST` and `RTN_ANYCAST`: such a route of the kernel precedes a local route for the same address.
pub(crate) const BROADCAST: u8 = 3;
pub(super) const ANYCAST: u8 = 4;
/// `RTN_MULTICAST`.
pub(super) const MULTICAST: u8 = 5;
/// Requests the route of the table instead of one for the address (`RTM_F_FIB_MATCH`).
const FIB_MATCH: u32 = 0x2000;
/// Usable immediately (`IFA_F_NODAD`), without a second route besides the local one (`IFA_F_NOPREFIXROUTE`).
const FLAGS: u32 = 0x02 | 0x200;

kinds! {
    /// Attributes of an address (`linux/if_addr.h`).
    AddressAttr "IFA" {
        Address = 1 "IFA_ADDRESS",
        Local = 2 "IFA_LOCAL",
        Label = 3 "IFA_LABEL",
        CacheInfo = 6 "IFA_CACHEINFO",
        Flags = 8 "IFA_FLAGS",
        Protocol = 11 "IFA_PROTO",
    }
}

kinds! {
    /// Attributes of a route (`linux/rtnetlink.h`).
    RouteAttr "RTA" {
        Destination = 1 "RTA_DST",
        Output = 4 "RTA_OIF",
    }
}

/// Destination of a bind: the way, and the index of the interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) way: Way,
    pub(super) index: u32,
    /// Whether each bound address must have a route in the table `local`.
    pub(super) is_checked: bool,
}

/// Writes the request that binds `vip`, of type [`NEW_ADDRESS`] or [`NEW_ROUTE`].
pub(super) fn write_bind(out: &mut Writer<'_>, target: Target, vip: Vip) {
    if let Way::Routes(protocol) = target.way {
        return write_route(out, protocol, vip, |out| out.u32_ne(RouteAttr::Output, target.index));
    }
    write_address(out, target, vip);
    if vip.family() == Family::Inet6 {
        out.u32_ne(AddressAttr::Flags, FLAGS);
        // Valid for ever, but never preferred, so that it is no source address of the machine's own connections.
        out.nest(AddressAttr::CacheInfo, |out| {
            for field in [0, u32::MAX, 0, 0] {
                out.raw(&field.to_ne_bytes());
            }
        });
    }
    if let Way::Label { protocol, .. } = target.way {
        out.u8(AddressAttr::Protocol, protocol);
    }
}

/// Writes the request that unbinds `vip`, of type [`DELETE_ADDRESS`] or [`DELETE_ROUTE`].
pub(super) fn write_unbind(out: &mut Writer<'_>, target: Target, vip: Vip) {
    match target.way {
        Way::Routes(protocol) => write_route(out, protocol, vip, |_| {}),
        Way::Dummy(_) | Way::Label { .. } => write_address(out, target, vip),
    }
}

fn write_address(out: &mut Writer<'_>, target: Target, vip: Vip) {
    write_address_header(out, family_number(vip.family()), vip.length(), target.index);
    write_ip(out, AddressAttr::Local, vip.address());
    write_ip(out, AddressAttr::Address, vip.address());
    if let (Way::Label { label, .. }, Family::Inet) = (target.way, vip.family()) {
        out.text(AddressAttr::Label, label.as_bytes());
    }
}

/// Writes the request, of type [`GET_ADDRESS`], for all addresses of the interface with this index.
pub(super) fn write_get_addresses(out: &mut Writer<'_>, index: u32) {
    write_address_header(out, 0, 0, index);
}

/// Writes the request, of type [`DELETE_ADDRESS`], to delete an address from an interface that does not exist.
pub(super) fn write_impossible_delete(out: &mut Writer<'_>) {
    write_address_header(out, family_number(Family::Inet), 0, 0);
}

fn write_address_header(out: &mut Writer<'_>, family: u8, length: u8, index: u32) {
    out.raw(&[family, length, 0, 0]);
    out.raw(&index.to_ne_bytes());
}

/// Writes the request, of type [`GET_ROUTE`], for the route that packets to `vip` take.
pub(super) fn write_get_route(out: &mut Writer<'_>, vip: Vip) {
    out.raw(&[family_number(vip.family()), vip.length(), 0, 0, 0, 0, 0, 0]);
    out.raw(&FIB_MATCH.to_ne_bytes());
    write_ip(out, RouteAttr::Destination, vip.address());
}

/// Writes the request, of type [`GET_ROUTE`], for the local routes of one protocol.
pub(super) fn write_get_routes(out: &mut Writer<'_>, family: Family, protocol: u8) {
    out.raw(&[family_number(family), 0, 0, 0, TABLE, protocol, 0, LOCAL, 0, 0, 0, 0]);
}

/// Writes the request, of type [`GET_ROUTE`], for all routes of the table `local`.
pub(super) fn write_get_table(out: &mut Writer<'_>, family: Family) {
    out.raw(&[family_number(family), 0, 0, 0, TABLE, 0, 0, 0, 0, 0, 0, 0]);
}

fn write_route(out: &mut Writer<'_>, protocol: u8, vip: Vip, more: impl FnOnce(&mut Writer<'_>)) {
    // IPv6 ignores the scope.
    out.raw(&[family_number(vip.family()), vip.length(), 0, 0, TABLE, protocol, SCOPE, LOCAL, 0, 0, 0, 0]);
    write_ip(out, RouteAttr::Destination, vip.address());
    more(out);
}

pub(crate) fn write_ip(out: &mut Writer<'_>, kind: impl Kind, address: IpAddr) {
    match address {
        IpAddr::V4(address) => out.array(kind, &address.octets()),
        IpAddr::V6(address) => out.array(kind, &address.octets()),
    }
}

/// Reads the answer to [`write_get_addresses`]: an address that `target` owns; `None` if it does not.
pub(super) fn read_owned_address(kind: u16, body: &[u8], target: Target) -> Result<Option<Vip>, DecodeError> {
    if kind != NEW_ADDRESS {
        return Ok(None);
    }
    let Some((&[family, length, _, _, i0, i1, i2, i3], attributes)) = body.split_first_chunk::<ADDRESS_HEADER>() else {
        return Err(DecodeError::Length { attribute: "ifaddrmsg", wanted: ADDRESS_HEADER, got: body.len() });
    };
    let (mut own, mut peer, mut label, mut protocol) = (None, None, &b""[..], 0);
    for attr in Attrs::<AddressAttr>::new(attributes) {
        let attr = attr?;
        match attr.kind {
            AddressAttr::Local => own = read_ip(family, &attr)?,
            AddressAttr::Address => peer = read_ip(family, &attr)?,
            AddressAttr::Label => label = attr.text_bytes()?,
            AddressAttr::Protocol => protocol = attr.u8()?,
            AddressAttr::CacheInfo | AddressAttr::Flags => {}
        }
    }
    // An address with a peer is that of a point-to-point link.
    let vip = own.or(peer).filter(|address| peer.is_none_or(|peer| peer == *address));
    let vip = vip.map(Vip::from).filter(|vip| vip.length() == length);
    let owned = u32::from_ne_bytes([i0, i1, i2, i3]) == target.index
        && match target.way {
            Way::Label { label: own, protocol: own_protocol, .. } => {
                protocol == own_protocol && (family != family_number(Family::Inet) || label == own.as_bytes())
            }
            Way::Dummy(_) | Way::Routes(_) => true,
        };
    Ok(vip.filter(|_| owned))
}

/// Reads the answer to [`write_get_addresses`]: whether it is an address of the interface that `target` does not own.
pub(super) fn is_foreign_address(kind: u16, body: &[u8], target: Target) -> Result<bool, DecodeError> {
    let owned = read_owned_address(kind, body, target)?;
    let is_of_interface = body.get(4..ADDRESS_HEADER) == Some(&target.index.to_ne_bytes());
    Ok(kind == NEW_ADDRESS && owned.is_none() && is_of_interface)
}

/// A local route, or a broadcast or anycast route of the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Route {
    pub(crate) vip: Vip,
    pub(crate) is_local: bool,
    pub(crate) protocol: u8,
    /// The index of its interface; 0 if it has none or several.
    pub(crate) index: u32,
}

/// Reads a route; `None` if it is neither local nor a broadcast or anycast route of the kernel.
pub(crate) fn read_route(kind: u16, body: &[u8]) -> Result<Option<Route>, DecodeError> {
    if kind != NEW_ROUTE {
        return Ok(None);
    }
    let Some((&[family, length, _, _, _, protocol, _, class, ..], attributes)) =
        body.split_first_chunk::<ROUTE_HEADER>()
    else {
        return Err(DecodeError::Length { attribute: "rtmsg", wanted: ROUTE_HEADER, got: body.len() });
    };
    let is_local = class == LOCAL;
    // The kernel names the table `main` in the reply for one IPv4 address.
    let is_of_subnet = protocol == RTPROT_KERNEL && matches!(class, BROADCAST | ANYCAST);
    if !is_local && !is_of_subnet {
        return Ok(None);
    }
    let (mut address, mut index) = (None, 0);
    for attr in Attrs::<RouteAttr>::new(attributes) {
        let attr = attr?;
        match attr.kind {
            RouteAttr::Destination => address = read_ip(family, &attr)?,
            RouteAttr::Output => index = attr.u32_ne()?,
        }
    }
    // A route without a destination matches every address. A route with an invalid prefix belongs to another program.
    let vip = address.and_then(|address| Vip::prefix(address, length).ok());
    Ok(vip.map(|vip| Route { vip, is_local, protocol, index }))
}

/// `None` for another family than IPv4 and IPv6.
pub(crate) fn read_ip(family: u8, attr: &Attr<'_, impl Kind>) -> Result<Option<IpAddr>, DecodeError> {
    if family == family_number(Family::Inet) {
        attr.array::<4>().map(|octets| Some(octets.into()))
    } else if family == family_number(Family::Inet6) {
        attr.array::<16>().map(|octets| Some(octets.into()))
    } else {
        Ok(None)
    }
}

/// `AF_INET` and `AF_INET6`.
pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 2,
        Family::Inet6 => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vip::Binder;
    use crate::wire::writer::written;

    fn targets() -> [Target; 3] {
        let binders = [Binder::dummy("vip0").unwrap(), Binder::local_routes(77), Binder::label("eth0:1", 78).unwrap()];
        binders.map(|binder| Target { way: binder.0, index: 258, is_checked: true })
    }

    fn vips() -> [Vip; 2] {
        ["10.96.1.2", "fd00:96::102"].map(|text| text.parse().unwrap())
    }

    #[test]
    fn bound_addresses_read_back_as_owned() {
        let [dummy, routes, label] = targets();
        for vip in vips() {
            for target in [dummy, label] {
                let body = written(|out| write_bind(out, target, vip));
                assert_eq!(read_owned_address(NEW_ADDRESS, &body, target), Ok(Some(vip)));
                assert_eq!(read_owned_address(NEW_ADDRESS, &body, Target { index: 1, ..target }), Ok(None));
                assert_eq!(read_owned_address(DELETE_ADDRESS, &body, target), Ok(None));
            }
            let body = written(|out| write_bind(out, dummy, vip));
            let with_label = Target { way: label.way, ..dummy };
            assert_eq!(read_owned_address(NEW_ADDRESS, &body, with_label), Ok(None), "without the number");
            let body = written(|out| write_bind(out, routes, vip));
            assert_eq!(read_route(NEW_ROUTE, &body), Ok(Some(Route { vip, is_local: true, protocol: 77, index: 258 })));
        }
        let other = Target { way: Binder::label("eth0:2", 78).unwrap().0, ..label };
        let [four, six] = vips().map(|vip| written(|out| write_bind(out, label, vip)));
        assert_eq!(read_owned_address(NEW_ADDRESS, &four, other), Ok(None));
        assert!(read_owned_address(NEW_ADDRESS, &six, other).unwrap().is_some(), "IPv6 has no labels");
    }

    #[test]
    fn only_whole_addresses_and_local_routes_count() {
        let [dummy, routes, _] = targets();
        let mut body = written(|out| write_bind(out, dummy, vips()[0]));
        body[1] = 24;
        assert_eq!(read_owned_address(NEW_ADDRESS, &body, dummy), Ok(None));
        let mut body = written(|out| write_bind(out, routes, vips()[0]));
        body[7] = 1;
        assert_eq!(read_route(NEW_ROUTE, &body), Ok(None));
        body[7] = BROADCAST;
        assert_eq!(read_route(NEW_ROUTE, &body), Ok(None), "of another program");
        body[5] = RTPROT_KERNEL;
        assert_eq!(read_route(NEW_ROUTE, &body).unwrap().map(|route| route.is_local), Some(false));
    }

    #[test]
    fn every_prefix_of_a_message_is_read_or_refused() {
        for target in targets() {
            for vip in vips() {
                let body = written(|out| write_bind(out, target, vip));
                for end in 0..body.len() {
                    let _ = read_owned_address(NEW_ADDRESS, &body[..end], target);
                    let _ = read_route(NEW_ROUTE, &body[..end]);
                }
                for at in 0..body.len() {
                    for byte in [0, 1, 3, 255] {
                        let mut damaged = body.clone();
                        damaged[at] = byte;
                        let _ = read_owned_address(NEW_ADDRESS, &damaged, target);
                        let _ = read_route(NEW_ROUTE, &damaged);
                    }
                }
            }
        }
        assert!(read_route(NEW_ROUTE, &[2; 11]).is_err());
        assert!(read_owned_address(NEW_ADDRESS, &[2; 7], targets()[0]).is_err());
    }
}
