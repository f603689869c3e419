//! A small model of the kernel's interfaces, addresses and local routes: see [`testing`](crate::testing).

use std::cmp::Reverse;
use std::net::IpAddr;

use nix::libc::{EADDRNOTAVAIL, EEXIST, EINVAL, ENETUNREACH, ENODEV, EOPNOTSUPP, ESRCH};

use super::Denial;
use crate::error::DecodeError;
use crate::vip::Vip;
use crate::vip::link::{self, DUMMY, InfoAttr, LinkAttr, read_link};
use crate::vip::message::{self, AddressAttr, LOOPBACK, RTPROT_KERNEL, Route, RouteAttr};
use crate::wire::reader::required;
use crate::wire::{Attrs, Writer};

/// Largest number of queues of an interface.
const MOST_QUEUES: u32 = 4096;

/// The interfaces in the order of their indexes, with their addresses, and the routes of the table `local` that belong
/// to no address.
#[derive(Debug)]
pub(crate) struct Model {
    links: Vec<Link>,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    last_index: u32,
}

#[derive(Debug)]
struct Link {
    index: u32,
    name: Vec<u8>,
    /// Dummy interfaces are down, all others are up.
    is_dummy: bool,
}

#[derive(Debug)]
struct Address {
    /// The index of its interface.
    index: u32,
    vip: Vip,
    /// Prefix length of its subnet.
    length: u8,
    label: Vec<u8>,
    protocol: u8,
    /// Whether another program deleted its local route.
    is_lost: bool,
}

impl Model {
    /// The model has the loopback interface, up and with its addresses.
    pub(crate) fn new() -> Self {
        let mut model = Self { links: Vec::new(), addresses: Vec::new(), routes: Vec::new(), last_index: 0 };
        model.add_link(b"lo", false);
        for (address, length) in [(IpAddr::from([127, 0, 0, 1]), 8), (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), 128)] {
            model.add_address(LOOPBACK, address, length);
        }
        model
    }

    /// Adds an interface if it is missing; returns its index.
    pub(crate) fn add_link(&mut self, name: &[u8], is_dummy: bool) -> u32 {
        if let Some(link) = self.links.iter().find(|link| link.name == name) {
            return link.index;
        }
        self.last_index += 1;
        self.links.push(Link { index: self.last_index, name: name.to_vec(), is_dummy });
        self.last_index
    }

    /// Adds an address that belongs to no binder.
    pub(crate) fn add_address(&mut self, index: u32, ip: IpAddr, length: u8) {
        let label = self.links.iter().find(|link| link.index == index).map(|link| link.name.clone());
        let address =
            Address { index, vip: ip.into(), length, label: label.unwrap_or_default(), protocol: 0, is_lost: false };
        self.addresses.push(address);
    }

    /// Deletes the local route of an address; returns whether it had one.
    pub(crate) fn delete_local_route(&mut self, ip: IpAddr) -> bool {
        let address = self.addresses.iter_mut().find(|one| one.vip == ip.into() && !one.is_lost);
        address.map(|address| address.is_lost = true).is_some()
    }

    /// Returns the type and the bodies of the answers to a request, or its refusal.
    pub(crate) fn answer(&mut self, kind: u16, body: &[u8], dump: bool) -> Result<(u16, Vec<Vec<u8>>), Denial> {
        let silent = |()| Vec::new();
        Ok(match (kind, dump) {
            (link::GET_LINK, _) => (link::NEW_LINK, self.get_links(body, dump)?),
            (link::NEW_LINK, false) => (kind, self.new_link(body).map(silent)?),
            (link::DELETE_LINK, false) => (kind, self.delete_link(body).map(silent)?),
            (message::GET_ADDRESS, true) => (message::NEW_ADDRESS, self.list_addresses(body)?),
            (message::NEW_ADDRESS, false) => (kind, self.new_address(&Asked::read(body)?).map(silent)?),
            (message::DELETE_ADDRESS, false) => (kind, self.delete_address(&Asked::read(body)?).map(silent)?),
            (message::GET_ROUTE, true) => (message::NEW_ROUTE, self.list_routes(body)?),
            (message::GET_ROUTE, false) => (message::NEW_ROUTE, self.route_to(body)?),
            (message::NEW_ROUTE, false) => (kind, self.new_route(body).map(silent)?),
            (message::DELETE_ROUTE, false) => (kind, self.delete_route(body).map(silent)?),
            _ => return Err(Denial::not_modelled("this message of rtnetlink")),
        })
    }

    fn link(&self, index: u32) -> Result<&Link, Denial> {
        self.links.iter().find(|link| link.index == index).ok_or(ENODEV.into())
    }

    /// The name of the interface that a request is about.
    pub(crate) fn asked_name(&self, body: &[u8]) -> Result<String, DecodeError> {
        let asked = read_link(link::NEW_LINK, body)?.unwrap_or_default();
        Ok(asked.name.map_or_else(|| self.name(asked.index), |name| name.to_string()))
    }

    /// The label that a request about addresses has, or the name of its interface.
    pub(crate) fn place_of(&self, asked: &Asked<'_>) -> String {
        let label = asked.label.map(|label| String::from_utf8_lossy(label).into_owned());
        label.unwrap_or_else(|| self.name(asked.index))
    }

    fn name(&self, index: u32) -> String {
        let found = self.link(index).map(|link| String::from_utf8_lossy(&link.name).into_owned());
        found.unwrap_or_else(|_| format!("number {index}"))
    }

    fn get_links(&self, body: &[u8], dump: bool) -> Result<Vec<Vec<u8>>, Denial> {
        let asked = requested_link(body)?;
        let wanted = |link: &&Link| match &asked.name {
            _ if dump => true,
            Some(name) => link.name == name.as_bytes(),
            None => link.index == asked.index,
        };
        let found: Vec<_> = self.links.iter().filter(wanted).map(|link| message(|out| write_link(out, link))).collect();
        if found.is_empty() { Err(ENODEV.into()) } else { Ok(found) }
    }

    fn new_link(&mut self, body: &[u8]) -> Result<(), Denial> {
        let asked = requested_link(body)?;
        let name = asked.name.ok_or_else(|| Denial::not_modelled("interfaces without a name"))?;
        if self.links.iter().any(|link| link.name == name.as_bytes()) {
            return Err(EEXIST.into());
        }
        if asked.kind.as_deref() != Some(DUMMY) {
            return Err(EOPNOTSUPP.into());
        }
        for attr in Attrs::<LinkAttr>::new(body.get(link::HEADER..).unwrap_or_default()) {
            let attr = attr?;
            if attr.kind == LinkAttr::TxQueues && attr.u32_ne()? > MOST_QUEUES {
                return Err(EINVAL.into());
            }
        }
        self.add_link(name.as_bytes(), true);
        Ok(())
    }

    fn delete_link(&mut self, body: &[u8]) -> Result<(), Denial> {
        let index = requested_link(body)?.index;
        if !self.link(index)?.is_dummy {
            return Err(EOPNOTSUPP.into());
        }
        self.links.retain(|link| link.index != index);
        self.addresses.retain(|address| address.index != index);
        self.routes.retain(|route| route.index != index);
        Ok(())
    }

    fn list_addresses(&self, body: &[u8]) -> Result<Vec<Vec<u8>>, Denial> {
        let index = Asked::read(body)?.index;
        self.link(index)?;
        let of =
            |six| self.addresses.iter().filter(move |one| one.index == index && one.vip.address().is_ipv6() == six);
        // The kernel lists the newest address of IPv6 first.
        Ok(of(false).chain(of(true).rev()).map(|address| message(|out| address.write(out))).collect())
    }

    fn new_address(&mut self, asked: &Asked<'_>) -> Result<(), Denial> {
        let vip = Vip::from(asked.ip.ok_or(Denial::from(EINVAL))?);
        if !(1..=vip.length()).contains(&asked.length) {
            return Err(EINVAL.into());
        }
        let link = self.link(asked.index)?;
        // Several prefix lengths make several addresses of IPv4, but not of IPv6.
        let same = |one: &Address| one.vip == vip && (one.length == asked.length || vip.address().is_ipv6());
        if self.addresses.iter().any(|one| one.index == asked.index && same(one)) {
            return Err(EEXIST.into());
        }
        let label = asked.label.unwrap_or(&link.name).to_vec();
        let Asked { index, length, protocol, .. } = *asked;
        self.addresses.push(Address { index, vip, length, label, protocol, is_lost: false });
        Ok(())
    }

    fn delete_address(&mut self, asked: &Asked<'_>) -> Result<(), Denial> {
        self.link(asked.index)?;
        let place = self.addresses.iter().position(|one| {
            one.index == asked.index
                && asked.ip == Some(one.vip.address())
                && one.length == asked.length
                && asked.label.is_none_or(|label| one.label == label)
        });
        self.addresses.remove(place.ok_or(Denial::from(EADDRNOTAVAIL))?);
        Ok(())
    }

    /// All routes of the table `local`.
    fn all_routes(&self) -> impl Iterator<Item = Route> {
        self.routes.iter().copied().chain(self.addresses.iter().flat_map(Address::routes))
    }

    fn list_routes(&self, body: &[u8]) -> Result<Vec<Vec<u8>>, Denial> {
        let (family, protocol, class) = (byte(body, 0)?, byte(body, 5)?, byte(body, 7)?);
        let wanted = |route: &Route| {
            message::family_number(route.vip.family()) == family
                && (class == 0 || route.is_local)
                && (protocol == 0 || route.protocol == protocol)
        };
        let mut routes: Vec<_> = self.all_routes().filter(wanted).collect();
        // The order of the kernel's tries: a prefix of IPv6 comes behind all that is inside it.
        routes.sort_by_key(|Route { vip, protocol, .. }| {
            let place = if vip.address().is_ipv6() { last(*vip) } else { bits(*vip) };
            (place, Reverse(vip.length()), precedes(*vip, *protocol))
        });
        Ok(routes.iter().map(|route| message(|out| write_route(out, route))).collect())
    }

    fn route_to(&self, body: &[u8]) -> Result<Vec<Vec<u8>>, Denial> {
        let to = Vip::from(requested_destination(body)?);
        let precedence = |route: &Route| (Reverse(route.vip.length()), precedes(route.vip, route.protocol));
        let found = self.all_routes().filter(|route| route.vip.contains(to)).min_by_key(precedence);
        let route = found.ok_or(Denial::from(ENETUNREACH))?;
        Ok(vec![message(|out| write_route(out, &route))])
    }

    fn new_route(&mut self, body: &[u8]) -> Result<(), Denial> {
        let new = requested_route(body)?;
        self.link(new.index)?;
        // A route of IPv6 has another metric than the one of an address.
        let same =
            |route: Route| route.vip == new.vip && (new.vip.address().is_ipv4() || route.protocol != RTPROT_KERNEL);
        if self.all_routes().any(same) {
            return Err(EEXIST.into());
        }
        self.routes.push(new);
        Ok(())
    }

    fn delete_route(&mut self, body: &[u8]) -> Result<(), Denial> {
        let old = requested_route(body)?;
        let same = |route: &Route| route.vip == old.vip && route.protocol == old.protocol;
        let place = self.routes.iter().position(same).ok_or(Denial::from(ESRCH))?;
        self.routes.remove(place);
        Ok(())
    }
}

/// A request about addresses.
pub(crate) struct Asked<'a> {
    length: u8,
    index: u32,
    pub(crate) ip: Option<IpAddr>,
    label: Option<&'a [u8]>,
    protocol: u8,
}

impl<'a> Asked<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((&[family, length, _, _, i0, i1, i2, i3], attributes)) = body.split_first_chunk() else {
            return Err(DecodeError::Length { attribute: "ifaddrmsg", wanted: 8, got: body.len() });
        };
        let index = u32::from_ne_bytes([i0, i1, i2, i3]);
        let mut asked = Self { length, index, ip: None, label: None, protocol: 0 };
        for attr in Attrs::<AddressAttr>::new(attributes) {
            let attr = attr?;
            match attr.kind {
                AddressAttr::Local => asked.ip = message::read_ip(family, &attr)?,
                AddressAttr::Label => asked.label = Some(attr.text_bytes()?),
                AddressAttr::Protocol => asked.protocol = attr.u8()?,
                AddressAttr::Address | AddressAttr::CacheInfo | AddressAttr::Flags => {}
            }
        }
        Ok(asked)
    }
}

impl Address {
    /// Returns the routes that the kernel creates for it in the table `local`.
    fn routes(&self) -> impl Iterator<Item = Route> + use<> {
        let route = |vip, is_local| Route { vip, is_local, protocol: RTPROT_KERNEL, index: self.index };
        let (mut broadcast, mut around) = (None, None);
        if let IpAddr::V4(address) = self.vip.address() {
            let hosts = u32::MAX.checked_shr(self.length.into()).unwrap_or(0);
            let ends = [address.to_bits() & !hosts, address.to_bits() | hosts].map(|bits| IpAddr::V4(bits.into()));
            broadcast = (hosts > 1).then(|| route(ends[1].into(), false));
            around = Vip::prefix(ends[0], self.length).ok().filter(|all| self.index == LOOPBACK && all.is_prefix());
        }
        let around = around.map(|all| route(all, true));
        let own = (!self.is_lost).then(|| route(self.vip, true));
        [own, broadcast, around].into_iter().flatten()
    }

    fn write(&self, out: &mut Writer<'_>) {
        out.raw(&[message::family_number(self.vip.family()), self.length, 0, 0]);
        out.raw(&self.index.to_ne_bytes());
        message::write_ip(out, AddressAttr::Address, self.vip.address());
        if self.vip.address().is_ipv4() {
            message::write_ip(out, AddressAttr::Local, self.vip.address());
            out.text(AddressAttr::Label, &self.label);
        }
        if self.protocol != 0 {
            out.u8(AddressAttr::Protocol, self.protocol);
        }
    }
}

fn requested_link(body: &[u8]) -> Result<link::Link, Denial> {
    read_link(link::NEW_LINK, body)?.ok_or(EINVAL.into())
}

fn requested_route(body: &[u8]) -> Result<Route, Denial> {
    message::read_route(message::NEW_ROUTE, body)?.ok_or_else(|| Denial::not_modelled("routes that are not local"))
}

pub(crate) fn requested_destination(body: &[u8]) -> Result<IpAddr, DecodeError> {
    let family = body.first().copied().unwrap_or_default();
    let mut to = None;
    for attr in Attrs::<RouteAttr>::new(body.get(message::ROUTE_HEADER..).unwrap_or_default()) {
        let attr = attr?;
        if attr.kind == RouteAttr::Destination {
            to = message::read_ip(family, &attr)?;
        }
    }
    required(to, RouteAttr::Destination)
}

fn byte(body: &[u8], place: usize) -> Result<u8, Denial> {
    body.get(place).copied().ok_or(EINVAL.into())
}

/// The body of a message.
fn message(fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut body = Vec::new();
    fill(&mut Writer::new(&mut body));
    body
}

fn write_link(out: &mut Writer<'_>, link: &Link) {
    out.raw(&[0; 4]);
    out.raw(&link.index.to_ne_bytes());
    out.raw(&(if link.is_dummy { 0 } else { link::UP }).to_ne_bytes());
    out.raw(&[0; 4]);
    out.text(LinkAttr::Name, &link.name);
    if link.is_dummy {
        out.nest(LinkAttr::Info, |out| out.text(InfoAttr::Kind, DUMMY));
    }
}

/// Order of equal prefixes: IPv4 takes the route that existed before the address, and IPv6 that of the address.
fn precedes(vip: Vip, protocol: u8) -> bool {
    (protocol == RTPROT_KERNEL) != vip.address().is_ipv6()
}

fn write_route(out: &mut Writer<'_>, route: &Route) {
    let class = if route.is_local { message::LOCAL } else { message::BROADCAST };
    let (family, length) = (message::family_number(route.vip.family()), route.vip.length());
    out.raw(&[family, length, 0, 0, message::TABLE, route.protocol, message::SCOPE, class, 0, 0, 0, 0]);
    message::write_ip(out, RouteAttr::Destination, route.vip.address());
    out.u32_ne(RouteAttr::Output, route.index);
}

/// The first address as a number.
fn bits(vip: Vip) -> u128 {
    match vip.address() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The last address of IPv6 as a number.
fn last(vip: Vip) -> u128 {
    bits(vip) | u128::MAX.checked_shr(vip.length().into()).unwrap_or(0)
}
