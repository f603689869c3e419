//! Destinations, the real servers of a service.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use super::address;
use super::forwarding::{Forwarding, Tunnel, TunnelFlags};
use super::numbers::{INT_MAX, forwarding, tunnel};
use super::{Change, ServiceKey, Stats};
use crate::error::{DecodeError, Result};
use crate::net::{Family, InvalidText, number, set, unusable_for_host};
use crate::wire::reader::required;
use crate::wire::{Attr, Attrs, ByNumber, Kind, Layout, Writer, kinds};

/// A destination (real server) of a virtual service.
///
/// Its address and port identify it within its service.
///
/// ```
/// use lvs::ipvs::{Destination, Forwarding};
///
/// let pod = Destination::new("10.244.1.7:6443".parse().unwrap()).weight(2);
/// assert_eq!(pod.forwarding, Forwarding::Masquerade);
/// let quiesced = pod.weight(0);
/// assert_eq!(quiesced.address, pod.address);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
#[doc(alias = "IPVS_CMD_ATTR_DEST")]
pub struct Destination {
    /// Its address and port. Port 0 keeps the port that the client asked for.
    #[doc(alias("IPVS_DEST_ATTR_ADDR", "IPVS_DEST_ATTR_PORT", "IPVS_DEST_ATTR_ADDR_FAMILY"))]
    pub address: SocketAddr,
    /// Forwarding method (`IPVS_DEST_ATTR_FWD_METHOD`).
    #[doc(alias = "IPVS_DEST_ATTR_FWD_METHOD")]
    #[cfg_attr(feature = "serde", serde(default = "masquerade"))]
    pub forwarding: Forwarding,
    /// Its share of the connections, for schedulers that weigh (`IPVS_DEST_ATTR_WEIGHT`): 0 to 2,147,483,647. With 0
    /// it gets no new connections and keeps those it has.
    #[doc(alias = "IPVS_DEST_ATTR_WEIGHT")]
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub weight: u32,
    /// Limits of its connections; `None`: no limit.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub thresholds: Option<Thresholds>,
}

impl Destination {
    /// Returns a destination of weight 1 without thresholds, reached by masquerading.
    ///
    /// Masquerading needs `net.ipv4.ip_forward` at 1, for IPv6 `net.ipv6.conf.all.forwarding`, and replies that return
    /// through this machine. `ipvsadm` has another default: direct routing ([`Forwarding::DirectRoute`]).
    pub fn new(address: SocketAddr) -> Self {
        Self { address, forwarding: Forwarding::Masquerade, weight: 1, thresholds: None }
    }

    /// Returns a copy with this weight.
    #[must_use = "the changed value is returned"]
    pub fn weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    /// Returns a copy with this forwarding method.
    #[must_use = "the changed value is returned"]
    pub fn forwarding(self, forwarding: Forwarding) -> Self {
        Self { forwarding, ..self }
    }

    /// Returns a copy with these thresholds; `None`: no limit of connections.
    #[must_use = "the changed value is returned"]
    pub fn thresholds(self, thresholds: impl Into<Option<Thresholds>>) -> Self {
        Self { thresholds: thresholds.into(), ..self }
    }

    /// Checks, without the kernel, that a service takes the destination and the kernel stores it as asked.
    ///
    /// ```
    /// # use lvs::ipvs::{Destination, Forwarding, ServiceKey};
    /// let web: ServiceKey = "10.96.0.10:80/tcp".parse()?;
    /// let server = Destination::new("10.0.1.1:8080".parse()?);
    /// server.check(&web)?;
    /// // Direct routing keeps the port.
    /// assert!(server.forwarding(Forwarding::DirectRoute).check(&web).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Change::check`] for adding it.
    #[inline(always)]
    pub fn check(&self, service: &ServiceKey) -> Result<()> {
        self.problem(service).map_or(Ok(()), |_| Change::AddDestination(*service, *self).check())
    }

    /// Fault of a value that the kernel would refuse or misunderstand.
    // Inlined into loops over destinations, for the share of translating in docs/performance.md.
    #[inline(always)]
    pub(super) fn problem(&self, service: &ServiceKey) -> Option<Cow<'static, str>> {
        if let Some(problem) = service.problem().or_else(|| address_problem(self.address)) {
            return Some(problem);
        }
        if let Some(problem) = self.weight_problem().or_else(|| self.thresholds_problem()) {
            return Some(problem);
        }
        if let Some(problem) = unusable_for_host(self.address.ip()) {
            return Some(problem.into());
        }
        self.forwarding_problem(service)
    }

    /// As [`Destination::problem`], of the values that differ from `before`. Another program may have set values that
    /// this crate would reject.
    pub(super) fn edited_problem(&self, before: &Self, service: &ServiceKey) -> Option<Cow<'static, str>> {
        let of_weight = || (self.weight != before.weight).then(|| self.weight_problem()).flatten();
        let of_thresholds = || (self.thresholds != before.thresholds).then(|| self.thresholds_problem()).flatten();
        let of_forwarding =
            || (self.forwarding != before.forwarding).then(|| self.forwarding_problem(service)).flatten();
        of_weight().or_else(of_thresholds).or_else(of_forwarding)
    }

    #[inline(always)]
    fn weight_problem(&self) -> Option<Cow<'static, str>> {
        if self.weight > INT_MAX {
            return fault(format_args!("weight {} is above {INT_MAX}", self.weight));
        }
        None
    }

    #[inline(always)]
    fn thresholds_problem(&self) -> Option<Cow<'static, str>> {
        let Thresholds { upper, lower } = self.thresholds?;
        if upper.get() > INT_MAX {
            return fault(format_args!("upper threshold {upper} is above {INT_MAX}"));
        }
        if let Some(lower) = lower.filter(|lower| *lower > upper) {
            return fault(format_args!("lower threshold {lower} is above the upper one, {upper}"));
        }
        None
    }

    #[inline(always)]
    fn forwarding_problem(&self, service: &ServiceKey) -> Option<Cow<'static, str>> {
        if let Forwarding::Other(method) = self.forwarding {
            return fault(format_args!("forwarding method {method} has no meaning"));
        }
        if let Forwarding::Tunnel(Tunnel::Other { kind: kind @ tunnel::IPIP..=tunnel::GRE, .. }) = self.forwarding {
            return fault(format_args!("tunnel type {kind} is no other one: it has a name in Tunnel"));
        }
        let tunnelled = matches!(self.forwarding, Forwarding::Tunnel(_));
        if !tunnelled && Family::of(self.address.ip()) != service.family() {
            let family = service.family();
            return fault(format_args!("a destination of another family than its {family} service needs a tunnel"));
        }
        if let ServiceKey::Address { address, .. } = service {
            let keeps_port = tunnelled || self.forwarding == Forwarding::DirectRoute;
            if keeps_port && ![0, address.port()].contains(&self.address.port()) {
                let port = address.port();
                return fault(format_args!(
                    "direct routing and tunnels leave the port as it is: it must be the service's, {port}, or 0"
                ));
            }
        }
        None
    }
}

/// Formats a fault, away from the path of valid values.
#[cold]
fn fault(text: fmt::Arguments<'_>) -> Option<Cow<'static, str>> {
    Some(text.to_string().into())
}

/// Returns why the kernel cannot be asked for this address: a part of it has no attribute.
#[inline]
pub(super) fn address_problem(address: SocketAddr) -> Option<Cow<'static, str>> {
    let part = address::extra_parts(address)?;
    fault(format_args!("a destination's address cannot have a {part}"))
}

impl fmt::Display for Destination {
    /// Writes the terms of `ipvsadm(8)`: `10.9.1.1:80 masq weight 1`, `10.9.1.1:80 route weight 1 upper 100 lower 50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} weight {}", self.address, self.forwarding, self.weight)?;
        if let Some(Thresholds { upper, lower }) = self.thresholds {
            write!(f, " upper {upper}")?;
            if let Some(lower) = lower {
                write!(f, " lower {lower}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Destination {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes. The weight and the thresholds may stand in any order.
    /// Absent parts are those of [`Destination::new`].
    ///
    /// ```
    /// # use lvs::ipvs::{Destination, Forwarding};
    /// let pod: Destination = "10.9.1.1:80 route weight 2".parse()?;
    /// assert_eq!((pod.forwarding, pod.weight), (Forwarding::DirectRoute, 2));
    /// assert_eq!("10.9.1.1:80".parse(), Ok(Destination::new("10.9.1.1:80".parse().unwrap())));
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        parse(text).ok_or_else(|| InvalidText::new(text, "a destination such as 10.9.1.1:80 masq weight 1"))
    }
}

fn parse(text: &str) -> Option<Destination> {
    let words = text.split(' ').collect::<Vec<_>>();
    let is_name = |word: &&str| matches!(*word, "weight" | "upper" | "lower");
    let (first, values) = words.split_at_checked(words.iter().position(is_name).unwrap_or(words.len()))?;
    let (address, forwarding) = first.split_first()?;
    let mut destination = Destination::new(address.parse().ok()?);
    if !forwarding.is_empty() {
        destination.forwarding = forwarding.join(" ").parse().ok()?;
    }
    let (mut weight, mut upper, mut lower) = (None, None, None);
    for pair in values.chunks(2) {
        match *pair {
            ["weight", value] => set(&mut weight, number(value)?)?,
            ["upper", value] => set(&mut upper, number(value)?)?,
            ["lower", value] => set(&mut lower, number(value)?)?,
            _ => return None,
        }
    }
    if upper.is_none() && lower.is_some() {
        return None;
    }
    destination.weight = weight.unwrap_or(destination.weight);
    destination.thresholds = upper.map(|upper| Thresholds { upper, lower });
    Some(destination)
}

/// Limits of a destination's connections, active and inactive. Clients that persistence keeps at the destination are
/// not limited.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct Thresholds {
    /// Number of connections from which on it gets no new ones (`IPVS_DEST_ATTR_U_THRESH`); at most 2,147,483,647.
    #[doc(alias = "IPVS_DEST_ATTR_U_THRESH")]
    pub upper: NonZeroU32,
    /// Number of connections below which it gets new ones again (`IPVS_DEST_ATTR_L_THRESH`); `None`: three quarters of
    /// `upper`.
    #[doc(alias = "IPVS_DEST_ATTR_L_THRESH")]
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub lower: Option<NonZeroU32>,
}

/// A destination as the kernel has it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct DestinationInfo {
    /// The destination as it was set.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub destination: Destination,
    /// Established connections of TCP and SCTP (`IPVS_DEST_ATTR_ACTIVE_CONNS`).
    #[doc(alias = "IPVS_DEST_ATTR_ACTIVE_CONNS")]
    #[cfg_attr(feature = "serde", serde(rename = "activeconn", default))]
    pub active_connections: u32,
    /// Other connections that are remembered: closing ones, and each flow of UDP (`IPVS_DEST_ATTR_INACT_CONNS`).
    #[doc(alias = "IPVS_DEST_ATTR_INACT_CONNS")]
    #[cfg_attr(feature = "serde", serde(rename = "inactconn", default))]
    pub inactive_connections: u32,
    /// Clients that are kept here by persistence (`IPVS_DEST_ATTR_PERSIST_CONNS`).
    #[doc(alias = "IPVS_DEST_ATTR_PERSIST_CONNS")]
    #[cfg_attr(feature = "serde", serde(rename = "persistconn", default))]
    pub persistent_connections: u32,
    /// Traffic through the destination.
    #[cfg_attr(feature = "serde", serde(default))]
    pub stats: Stats,
}

impl DestinationInfo {
    /// Returns a destination without connections and traffic, for tests.
    pub fn new(destination: Destination) -> Self {
        Self {
            destination,
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
        }
    }

    /// Returns the address and port, which identify the destination within its service.
    pub fn address(&self) -> SocketAddr {
        self.destination.address
    }
}

impl From<&Destination> for Destination {
    fn from(destination: &Destination) -> Self {
        *destination
    }
}

/// A destination with masquerading and weight 1.
impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

impl fmt::Display for DestinationInfo {
    /// The destination, its connections, and its counters as [`Stats`] prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, active_connections, inactive_connections, persistent_connections, stats } = self;
        write!(f, "{destination}, active {active_connections} inactive {inactive_connections}")?;
        write!(f, " persistent {persistent_connections}, {stats}")
    }
}

/// Values of absent fields, as in [`Destination::new`].
#[cfg(feature = "serde")]
fn masquerade() -> Forwarding {
    Forwarding::Masquerade
}

#[cfg(feature = "serde")]
fn one() -> u32 {
    1
}

// The bytes.

kinds! {
    /// Attributes of a destination.
    DestinationAttr "IPVS_CMD_ATTR_DEST" {
        Address = 1 "IPVS_DEST_ATTR_ADDR",
        Port = 2 "IPVS_DEST_ATTR_PORT",
        Forwarding = 3 "IPVS_DEST_ATTR_FWD_METHOD",
        Weight = 4 "IPVS_DEST_ATTR_WEIGHT",
        UpperThreshold = 5 "IPVS_DEST_ATTR_U_THRESH",
        LowerThreshold = 6 "IPVS_DEST_ATTR_L_THRESH",
        ActiveConnections = 7 "IPVS_DEST_ATTR_ACTIVE_CONNS",
        InactiveConnections = 8 "IPVS_DEST_ATTR_INACT_CONNS",
        PersistentConnections = 9 "IPVS_DEST_ATTR_PERSIST_CONNS",
        Stats = 10 "IPVS_DEST_ATTR_STATS",
        Family = 11 "IPVS_DEST_ATTR_ADDR_FAMILY",
        Stats64 = 12 "IPVS_DEST_ATTR_STATS64",
        TunnelKind = 13 "IPVS_DEST_ATTR_TUN_TYPE",
        TunnelPort = 14 "IPVS_DEST_ATTR_TUN_PORT",
        TunnelFlags = 15 "IPVS_DEST_ATTR_TUN_FLAGS",
    }
}

/// Writes the identity of a destination.
pub(super) fn write_key(out: &mut Writer<'_>, address: SocketAddr) {
    out.together(|out| {
        out.array(DestinationAttr::Family, &Family::of(address.ip()).bytes());
        out.array(DestinationAttr::Address, &address::bytes(address.ip()));
        out.array(DestinationAttr::Port, &address.port().to_be_bytes());
    });
}

fn write_tunnel(out: &mut Writer<'_>, (kind, port, flags): (u8, u16, TunnelFlags)) {
    out.u8(DestinationAttr::TunnelKind, kind);
    out.u16_be(DestinationAttr::TunnelPort, port);
    out.u16_ne(DestinationAttr::TunnelFlags, flags.bits());
}

impl Destination {
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        write_key(out, self.address);
        out.u32_ne(DestinationAttr::Forwarding, self.forwarding.number());
        out.u32_ne(DestinationAttr::Weight, self.weight);
        if let Forwarding::Tunnel(tunnel) = self.forwarding {
            write_tunnel(out, tunnel.parts());
        }
        self.write_thresholds(out);
    }

    fn write_thresholds(&self, out: &mut Writer<'_>) {
        let thresholds = self
            .thresholds
            .map_or((0, 0), |Thresholds { upper, lower }| (upper.get(), lower.map_or(0, NonZeroU32::get)));
        out.u32_ne(DestinationAttr::UpperThreshold, thresholds.0);
        out.u32_ne(DestinationAttr::LowerThreshold, thresholds.1);
    }
}

impl DestinationInfo {
    /// Writes it as the kernel does.
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        let Destination { address, forwarding, weight, .. } = self.destination;
        out.together(|out| {
            out.array(DestinationAttr::Address, &address::bytes(address.ip()));
            out.array(DestinationAttr::Port, &address.port().to_be_bytes());
        });
        out.u32_ne(DestinationAttr::Forwarding, forwarding.number());
        out.u32_ne(DestinationAttr::Weight, weight);
        let tunnel =
            if let Forwarding::Tunnel(tunnel) = forwarding { tunnel.parts() } else { (0, 0, TunnelFlags::empty()) };
        write_tunnel(out, tunnel);
        self.destination.write_thresholds(out);
        out.u32_ne(DestinationAttr::ActiveConnections, self.active_connections);
        out.u32_ne(DestinationAttr::InactiveConnections, self.inactive_connections);
        out.u32_ne(DestinationAttr::PersistentConnections, self.persistent_connections);
        out.together(|out| out.array(DestinationAttr::Family, &Family::of(address.ip()).bytes()));
        self.stats.write_cut(out, DestinationAttr::Stats);
        self.stats.write(out, DestinationAttr::Stats64);
    }
}

/// A destination's attributes.
pub(super) type Table<'a> = crate::wire::Table<'a, DestinationAttr, { DestinationAttr::TABLE }>;

/// As the kernel sends a destination, where it need not pad numbers of 64 bits.
static LAYOUT: Layout<15, { DestinationAttr::TABLE }, 332> = Layout::new(&[
    (DestinationAttr::Address as u16, 16),
    (DestinationAttr::Port as u16, 2),
    (DestinationAttr::Forwarding as u16, 4),
    (DestinationAttr::Weight as u16, 4),
    (DestinationAttr::TunnelKind as u16, 1),
    (DestinationAttr::TunnelPort as u16, 2),
    (DestinationAttr::TunnelFlags as u16, 2),
    (DestinationAttr::UpperThreshold as u16, 4),
    (DestinationAttr::LowerThreshold as u16, 4),
    (DestinationAttr::ActiveConnections as u16, 4),
    (DestinationAttr::InactiveConnections as u16, 4),
    (DestinationAttr::PersistentConnections as u16, 4),
    (DestinationAttr::Family as u16, 2),
    (DestinationAttr::Stats as u16, 88),
    (DestinationAttr::Stats64 as u16, 120),
]);

/// Reads a listed destination. `take` can place it where it stays, without a copy in between.
#[inline]
pub(super) fn listed(attrs: Attrs<'_, DestinationAttr>, take: impl FnOnce(DestinationInfo)) -> Result<(), DecodeError> {
    match LAYOUT.of(&attrs) {
        Some(usual) => take(read_info(&usual)?),
        None => take(read_unusual(attrs)?),
    }
    Ok(())
}

#[cold]
fn read_unusual(attrs: Attrs<'_, DestinationAttr>) -> Result<DestinationInfo, DecodeError> {
    read_info(&Table::of(attrs)?)
}

/// As [`listed`], the address alone.
#[inline]
pub(super) fn listed_address(attrs: Attrs<'_, DestinationAttr>) -> Result<SocketAddr, DecodeError> {
    match LAYOUT.of(&attrs) {
        Some(usual) => read_address(&usual, None),
        None => read_address(&Table::of(attrs)?, None),
    }
}

/// The address and port. Without a family of its own, the destination has `service`'s.
#[inline(always)]
pub(super) fn read_address<'a>(
    table: &impl ByNumber<'a, DestinationAttr>,
    service: Option<Family>,
) -> Result<SocketAddr, DecodeError> {
    let family = table.read(DestinationAttr::Family, |attr| match attr.u16_ne()? {
        // As none does, 0 stands for the service's.
        0 => Ok(None),
        _ => Family::read(attr).map(Some),
    })?;
    let family = required(family.flatten().or(service), DestinationAttr::Family)?;
    let address = address::read(&table.need(DestinationAttr::Address)?, family)?;
    Ok(SocketAddr::new(address, table.need(DestinationAttr::Port)?.u16_be()?))
}

#[inline(always)]
pub(super) fn read<'a>(
    table: &impl ByNumber<'a, DestinationAttr>,
    service: Option<Family>,
) -> Result<Destination, DecodeError> {
    let kind = table.read(DestinationAttr::TunnelKind, Attr::u8)?.unwrap_or_default();
    let port = table.read(DestinationAttr::TunnelPort, Attr::u16_be)?.unwrap_or_default();
    let flags = table.read(DestinationAttr::TunnelFlags, Attr::u16_ne)?.unwrap_or_default();
    let forwarding = match table.need(DestinationAttr::Forwarding)?.u32_ne()? & forwarding::MASK {
        forwarding::MASQUERADE => Forwarding::Masquerade,
        forwarding::LOCAL => Forwarding::Local,
        forwarding::TUNNEL => Forwarding::Tunnel(Tunnel::from_parts(kind, port, TunnelFlags::from_bits_retain(flags))),
        forwarding::DIRECT_ROUTE => Forwarding::DirectRoute,
        forwarding::BYPASS => Forwarding::Bypass,
        other => Forwarding::Other(other),
    };
    let upper = table.read(DestinationAttr::UpperThreshold, Attr::u32_ne)?.and_then(NonZeroU32::new);
    let lower = table.read(DestinationAttr::LowerThreshold, Attr::u32_ne)?.and_then(NonZeroU32::new);
    Ok(Destination {
        address: read_address(table, service)?,
        forwarding,
        weight: table.need(DestinationAttr::Weight)?.u32_ne()?,
        thresholds: upper.map(|upper| Thresholds { upper, lower }),
    })
}

#[inline(always)]
pub(super) fn read_info<'a>(table: &impl ByNumber<'a, DestinationAttr>) -> Result<DestinationInfo, DecodeError> {
    let count = |kind| table.read(kind, Attr::u32_ne).map(Option::unwrap_or_default);
    let stats = Stats::newest(table.get(DestinationAttr::Stats64), table.get(DestinationAttr::Stats))?;
    Ok(DestinationInfo {
        destination: read(table, None)?,
        active_connections: count(DestinationAttr::ActiveConnections)?,
        inactive_connections: count(DestinationAttr::InactiveConnections)?,
        persistent_connections: count(DestinationAttr::PersistentConnections)?,
        stats: stats.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::writer::written;

    #[test]
    fn a_destination_as_the_kernel_writes_it_has_the_usual_places() {
        for address in ["10.0.1.1:80", "[2001:db8::1]:80"] {
            let info = DestinationInfo::new(Destination::new(address.parse().unwrap()));
            let attributes = written(|out| info.write(out));
            assert!(LAYOUT.of(&Attrs::<DestinationAttr>::new(&attributes)).is_some(), "{address}");
        }
    }
}
