//! Entries of sets of any type, and the values of an entry.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::addresses::{Addresses, Network};
use super::check::seconds;
use super::into_entry::IntoEntry;
use super::kind::{AnyType, Kind, Networks, SetType};
use super::numbers::flag;
use super::parts::{Comment, InterfaceMatch, InterfaceName, ListMember, Mac, Place, SetName};
use super::ports::{Ports, ProtocolPorts};
use crate::error::DecodeError;
use crate::net::Protocol;
use crate::wire::reader::required;
use crate::wire::{Attr, Attrs, Kind as Attribute, Writer, kinds};

/// An entry of a set of any type.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Entry {
    /// `bitmap:ip`, `hash:ip`, `hash:net`.
    Ip(Addresses),
    /// `bitmap:ip,mac`, and `hash:ip,mac`, where the second is always there.
    IpMac(IpAddr, Option<Mac>),
    /// `hash:ip,mark`.
    #[doc(alias = "IPSET_ATTR_MARK")]
    IpMark(Addresses, u32),
    /// `hash:ip,port`, `hash:net,port`.
    IpPort(Addresses, ProtocolPorts),
    /// `hash:ip,port,ip`, `hash:ip,port,net`, `hash:net,port,net`.
    IpPortIp(Addresses, ProtocolPorts, Addresses),
    /// `hash:net,net`.
    IpIp(Addresses, Addresses),
    /// `hash:net,iface`.
    IpInterface(Addresses, InterfaceMatch),
    /// `bitmap:port`.
    Port(Ports),
    /// `hash:mac`.
    Mac(Mac),
    /// `list:set`.
    Set(ListMember),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::IpMac(ip, None) => ip.fmt(f),
            Self::IpMac(ip, Some(mac)) => write!(f, "{ip},{mac}"),
            Self::IpMark(ip, mark) => write!(f, "{ip},0x{mark:08x}"),
            Self::IpPort(ip, port) => write!(f, "{ip},{port}"),
            Self::IpPortIp(ip, port, other) => write!(f, "{ip},{port},{other}"),
            Self::IpIp(ip, other) => write!(f, "{ip},{other}"),
            Self::IpInterface(ip, interface) => write!(f, "{ip},{interface}"),
            Self::Port(ports) => ports.fmt(f),
            Self::Mac(mac) => mac.fmt(f),
            Self::Set(set) => set.fmt(f),
        }
    }
}

/// The error of an entry that sets of this type cannot have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an entry of sets of this type")]
pub struct WrongEntry;

/// The entry of a set type as an [`Entry`], and back: each line is read in both directions.
macro_rules! entries {
    ($($entry:ty: { $($any:tt)+ } = { $($typed:tt)+ };)+) => {
        $(
            impl From<$entry> for Entry {
                #[inline]
                fn from($($typed)+: $entry) -> Self {
                    $($any)+
                }
            }

            impl TryFrom<Entry> for $entry {
                type Error = WrongEntry;
                #[inline]
                fn try_from(entry: Entry) -> Result<Self, WrongEntry> {
                    match entry {
                        $($any)+ => Ok($($typed)+),
                        _ => Err(WrongEntry),
                    }
                }
            }
        )+
    };
}

entries! {
    Addresses: { Entry::Ip(ip) } = { ip };
    (IpAddr, Option<Mac>): { Entry::IpMac(ip, mac) } = { (ip, mac) };
    (IpAddr, Mac): { Entry::IpMac(ip, Some(mac)) } = { (ip, mac) };
    (Addresses, u32): { Entry::IpMark(ip, mark) } = { (ip, mark) };
    (Addresses, ProtocolPorts): { Entry::IpPort(ip, port) } = { (ip, port) };
    (Addresses, ProtocolPorts, IpAddr): { Entry::IpPortIp(ip, port, Addresses::One(other)) } = { (ip, port, other) };
    (Addresses, ProtocolPorts, Addresses): { Entry::IpPortIp(ip, port, other) } = { (ip, port, other) };
    (Addresses, Addresses): { Entry::IpIp(ip, other) } = { (ip, other) };
    (Addresses, InterfaceMatch): { Entry::IpInterface(ip, interface) } = { (ip, interface) };
    Ports: { Entry::Port(ports) } = { ports };
    Mac: { Entry::Mac(mac) } = { mac };
    ListMember: { Entry::Set(set) } = { set };
}

/// An entry of a set with its timeout, counters, comment and other values: to be added, or as it was read.
///
/// The ends of a reversed range are swapped. An empty comment, and a mark with its mask, a priority or a queue of
/// zero, read back as `None`.
///
/// A set accepts only values for which it was created: see [`NewSet`](super::NewSet).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Member<T: SetType> {
    /// The entry.
    #[doc(alias = "IPSET_ATTR_DATA")]
    pub entry: T::Entry,
    /// Time until expiry, in whole seconds up to 2147483; zero means never, `None` the set's
    /// default. Reading returns the remaining time.
    #[doc(alias = "IPSET_ATTR_TIMEOUT")]
    pub timeout: Option<Duration>,
    /// Counters of matching packets, in a set with counters.
    pub counters: Counters,
    /// Its comment, in a set with comments.
    #[doc(alias = "IPSET_ATTR_COMMENT")]
    pub comment: Option<Comment>,
    /// Values that the `SET` target of iptables puts on matching packets, in a set with skbinfo.
    pub skb: SkbInfo,
    /// Whether it is an exception: matching packets are not in the set (`nomatch`).
    #[doc(alias = "IPSET_FLAG_NOMATCH")]
    pub nomatch: bool,
}

/// Counters of the packets that matched an entry.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Counters {
    /// Packets, below 2^64 - 1. `None` starts a new entry with zero and keeps the count of an existing one. The kernel
    /// may also keep the count of a deleted entry whose memory it reuses.
    #[doc(alias = "IPSET_ATTR_PACKETS")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub packets: Option<u64>,
    /// Bytes of the packets, below 2^64 - 1; `None` as for packets.
    #[doc(alias = "IPSET_ATTR_BYTES")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub bytes: Option<u64>,
}

/// Values that the `SET` target of iptables (`--map-mark`, …) puts on packets.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct SkbInfo {
    /// A packet mark and its mask.
    #[doc(alias = "IPSET_ATTR_SKBMARK")]
    #[cfg_attr(
        feature = "serde",
        serde(rename = "skbmark", with = "super::data::skbmark", skip_serializing_if = "Option::is_none")
    )]
    pub mark: Option<(u32, u32)>,
    /// A class of traffic control: major and minor number.
    #[doc(alias = "IPSET_ATTR_SKBPRIO")]
    #[cfg_attr(
        feature = "serde",
        serde(rename = "skbprio", with = "super::data::skbprio", skip_serializing_if = "Option::is_none")
    )]
    pub priority: Option<(u16, u16)>,
    /// A queue of the network card.
    #[doc(alias = "IPSET_ATTR_SKBQUEUE")]
    #[cfg_attr(feature = "serde", serde(rename = "skbqueue", skip_serializing_if = "Option::is_none"))]
    pub queue: Option<u16>,
}

impl<T: SetType> Member<T> {
    /// Returns this entry without other values.
    pub fn new(entry: impl IntoEntry<T::Entry>) -> Self {
        let entry = entry.into_entry();
        let (counters, skb) = (Counters::default(), SkbInfo::default());
        Self { entry, timeout: None, counters, comment: None, skb, nomatch: false }
    }

    /// Returns a copy that expires after this time, in whole seconds up to 2147483; zero is never.
    #[must_use = "the changed value is returned"]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Returns a copy whose counters start with these values.
    #[must_use = "the changed value is returned"]
    pub fn counters(self, counters: Counters) -> Self {
        Self { counters, ..self }
    }

    /// Returns a copy with this comment.
    #[must_use = "the changed value is returned"]
    pub fn comment(self, comment: Comment) -> Self {
        Self { comment: Some(comment), ..self }
    }

    /// Returns a copy with these values for the `SET` target.
    ///
    /// ```
    /// # use lvs::ipset::{HashIp, Member, SkbInfo};
    /// let mark = SkbInfo { mark: Some((0x4000, 0x4000)), ..SkbInfo::default() };
    /// let member = Member::<HashIp>::parse("10.0.0.1")?.skb(mark);
    /// assert_eq!(member.to_string(), "10.0.0.1 skbmark 0x4000/0x4000");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the changed value is returned"]
    pub fn skb(self, skb: SkbInfo) -> Self {
        Self { skb, ..self }
    }

    /// Returns the entry without values, which identifies it. The kernel refuses some values in requests that do not
    /// need them, and adds the counters of a tested entry to the existing ones.
    pub(super) fn bare(&self) -> Self {
        Self { nomatch: self.nomatch, ..Self::new(self.entry) }
    }

    /// Returns the type-erased member.
    #[must_use = "the changed value is returned"]
    pub fn any(self) -> Member<AnyType> {
        let Self { entry, timeout, counters, comment, skb, nomatch } = self;
        Member { entry: entry.into(), timeout, counters, comment, skb, nomatch }
    }
}

impl<T: Networks> Member<T> {
    /// Returns a copy that is an exception: matching packets are not in the set.
    #[must_use = "the changed value is returned"]
    pub fn nomatch(self) -> Self {
        Self { nomatch: true, ..self }
    }
}

impl Member<AnyType> {
    /// Returns the member as one of a set of this type.
    ///
    /// # Errors
    /// When sets of this type have no such entries.
    pub fn of_type<T: SetType>(self) -> Result<Member<T>, <T::Entry as TryFrom<Entry>>::Error> {
        let Self { entry, timeout, counters, comment, skb, nomatch } = self;
        Ok(Member { entry: entry.try_into()?, timeout, counters, comment, skb, nomatch })
    }
}

// The bytes.

kinds! {
    /// An address.
    AddressAttr "IPSET_ATTR_IPADDR" {
        V4 = 1 "IPSET_ATTR_IPADDR_IPV4",
        V6 = 2 "IPSET_ATTR_IPADDR_IPV6",
    }
}

kinds! {
    /// Attributes of an entry.
    EntryAttr "IPSET_ATTR_DATA" {
        Ip = 1 "IPSET_ATTR_IP",
        IpTo = 2 "IPSET_ATTR_IP_TO",
        Cidr = 3 "IPSET_ATTR_CIDR",
        Port = 4 "IPSET_ATTR_PORT",
        PortTo = 5 "IPSET_ATTR_PORT_TO",
        Timeout = 6 "IPSET_ATTR_TIMEOUT",
        Protocol = 7 "IPSET_ATTR_PROTO",
        Flags = 8 "IPSET_ATTR_CADT_FLAGS",
        Line = 9 "IPSET_ATTR_LINENO",
        Mark = 10 "IPSET_ATTR_MARK",
        Ether = 17 "IPSET_ATTR_ETHER",
        Name = 18 "IPSET_ATTR_NAME",
        NameRef = 19 "IPSET_ATTR_NAMEREF",
        Ip2 = 20 "IPSET_ATTR_IP2",
        Cidr2 = 21 "IPSET_ATTR_CIDR2",
        Ip2To = 22 "IPSET_ATTR_IP2_TO",
        Interface = 23 "IPSET_ATTR_IFACE",
        Bytes = 24 "IPSET_ATTR_BYTES",
        Packets = 25 "IPSET_ATTR_PACKETS",
        Comment = 26 "IPSET_ATTR_COMMENT",
        SkbMark = 27 "IPSET_ATTR_SKBMARK",
        SkbPrio = 28 "IPSET_ATTR_SKBPRIO",
        SkbQueue = 29 "IPSET_ATTR_SKBQUEUE",
    }
}

#[inline]
pub(super) fn write_address(out: &mut Writer<'_>, kind: impl Attribute, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => out.nested_array_net(kind, AddressAttr::V4, &v4.octets()),
        IpAddr::V6(v6) => out.nested_array_net(kind, AddressAttr::V6, &v6.octets()),
    }
}

pub(super) fn read_address<K: Attribute>(attr: &Attr<'_, K>) -> Result<IpAddr, DecodeError> {
    let inner = attr.nested::<AddressAttr>().next().transpose()?;
    match required(inner, AddressAttr::V4)? {
        inner if inner.kind == AddressAttr::V4 => Ok(IpAddr::from(inner.array::<4>()?)),
        inner => Ok(IpAddr::from(inner.array::<16>()?)),
    }
}

/// Writes one of the two addresses that an entry may have. A range begins with its lowest address: of a reversed one,
/// the kernel would cut the wrong end by the set's mask.
// Inlined as the checks are.
#[inline(always)]
fn write_addresses(out: &mut Writer<'_>, addresses: Addresses, [from, to, prefix]: [EntryAttr; 3]) {
    match addresses {
        Addresses::One(address) => write_address(out, from, address),
        Addresses::Network(network) => {
            write_address(out, from, network.address());
            out.u8(prefix, network.prefix());
        }
        Addresses::Range(one, other) => {
            write_address(out, from, one.min(other).into());
            write_address(out, to, one.max(other).into());
        }
    }
}

pub(super) const FIRST: [EntryAttr; 3] = [EntryAttr::Ip, EntryAttr::IpTo, EntryAttr::Cidr];
const SECOND: [EntryAttr; 3] = [EntryAttr::Ip2, EntryAttr::Ip2To, EntryAttr::Cidr2];

fn write_ports(out: &mut Writer<'_>, ports: Ports) {
    out.u16_net(EntryAttr::Port, ports.first);
    if ports.last != ports.first {
        out.u16_net(EntryAttr::PortTo, ports.last);
    }
}

impl Entry {
    /// Writes it; returns the flags that belong to it.
    #[inline(always)]
    fn write(&self, out: &mut Writer<'_>) -> u32 {
        match *self {
            Self::Ip(ip) => write_addresses(out, ip, FIRST),
            Self::IpMac(ip, mac) => {
                write_address(out, EntryAttr::Ip, ip);
                if let Some(mac) = mac {
                    out.array(EntryAttr::Ether, &mac.bytes());
                }
            }
            Self::IpMark(ip, mark) => {
                write_addresses(out, ip, FIRST);
                out.u32_net(EntryAttr::Mark, mark);
            }
            Self::IpPort(ip, port) => write_with_port(out, ip, port),
            Self::IpPortIp(ip, port, other) => {
                write_with_port(out, ip, port);
                write_addresses(out, other, SECOND);
            }
            Self::IpIp(ip, other) => {
                write_addresses(out, ip, FIRST);
                write_addresses(out, other, SECOND);
            }
            Self::IpInterface(ip, interface) => {
                write_addresses(out, ip, FIRST);
                out.text(EntryAttr::Interface, interface.name.as_bytes());
                let bit = |set, bit| if set { bit } else { 0 };
                return bit(interface.physdev, flag::PHYSDEV) | bit(interface.wildcard, flag::IFACE_WILDCARD);
            }
            Self::Port(ports) => write_ports(out, ports),
            Self::Mac(mac) => out.array(EntryAttr::Ether, &mac.bytes()),
            Self::Set(ListMember { set, place }) => {
                out.text(EntryAttr::Name, set.as_bytes());
                match place {
                    None => {}
                    Some(Place::After(other)) => out.text(EntryAttr::NameRef, other.as_bytes()),
                    Some(Place::Before(other)) => {
                        out.text(EntryAttr::NameRef, other.as_bytes());
                        return flag::BEFORE;
                    }
                }
            }
        }
        0
    }
}

fn write_with_port(out: &mut Writer<'_>, ip: Addresses, port: ProtocolPorts) {
    write_addresses(out, ip, FIRST);
    let Protocol(protocol) = port.protocol;
    out.u8(EntryAttr::Protocol, protocol.try_into().unwrap_or_default());
    write_ports(out, port.ports);
}

impl<T: SetType> Member<T> {
    /// Writes all of it, with the number by which a refusal names it.
    // Inlined as the checks are.
    #[inline(always)]
    pub(crate) fn write(&self, out: &mut Writer<'_>, line: Option<u32>) {
        let entry: Entry = self.entry.into();
        let mut flags = entry.write(out);
        if self.nomatch {
            flags |= flag::NOMATCH;
        }
        if flags != 0 {
            out.u32_net(EntryAttr::Flags, flags);
        }
        if let Some(timeout) = self.timeout.and_then(|timeout| seconds(timeout).ok()) {
            out.u32_net(EntryAttr::Timeout, timeout);
        }
        if let Some(packets) = self.counters.packets {
            out.u64_net(EntryAttr::Packets, packets);
        }
        if let Some(bytes) = self.counters.bytes {
            out.u64_net(EntryAttr::Bytes, bytes);
        }
        if let Some(comment) = &self.comment {
            out.text(EntryAttr::Comment, comment.as_bytes());
        }
        if let Some((mark, mask)) = self.skb.mark {
            out.u64_net(EntryAttr::SkbMark, u64::from(mark) << 32 | u64::from(mask));
        }
        if let Some((major, minor)) = self.skb.priority {
            out.u32_net(EntryAttr::SkbPrio, u32::from(major) << 16 | u32::from(minor));
        }
        if let Some(queue) = self.skb.queue {
            out.u16_net(EntryAttr::SkbQueue, queue);
        }
        if let Some(line) = line {
            out.u32_ne(EntryAttr::Line, line);
        }
    }
}

/// Attributes of an entry that are present.
#[derive(Default)]
struct Parts<'a> {
    ip: Option<IpAddr>,
    ip_to: Option<IpAddr>,
    prefix: Option<u8>,
    ip2: Option<IpAddr>,
    ip2_to: Option<IpAddr>,
    prefix2: Option<u8>,
    port: Option<u16>,
    port_to: Option<u16>,
    protocol: Option<u8>,
    mark: Option<u32>,
    mac: Option<Mac>,
    interface: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    name_ref: Option<&'a [u8]>,
    flags: u32,
}

impl Member<AnyType> {
    /// Reads an entry of a set of this type.
    pub(crate) fn read(kind: Kind, attrs: Attrs<'_, EntryAttr>) -> Result<Self, DecodeError> {
        let mut parts = Parts::default();
        let (mut timeout, mut counters, mut comment, mut skb) = (None, Counters::default(), None, SkbInfo::default());
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                EntryAttr::Ip => parts.ip = Some(read_address(&attr)?),
                EntryAttr::IpTo => parts.ip_to = Some(read_address(&attr)?),
                EntryAttr::Cidr => parts.prefix = Some(attr.u8()?),
                EntryAttr::Port => parts.port = Some(attr.u16_be()?),
                EntryAttr::PortTo => parts.port_to = Some(attr.u16_be()?),
                EntryAttr::Timeout => timeout = Some(Duration::from_secs(attr.u32_be()?.into())),
                EntryAttr::Protocol => parts.protocol = Some(attr.u8()?),
                EntryAttr::Flags => parts.flags = attr.u32_be()?,
                EntryAttr::Line => {}
                EntryAttr::Mark => parts.mark = Some(attr.u32_be()?),
                EntryAttr::Ether => parts.mac = Some(Mac::new(attr.array()?)),
                EntryAttr::Name => parts.name = Some(attr.text_bytes()?),
                EntryAttr::NameRef => parts.name_ref = Some(attr.text_bytes()?),
                EntryAttr::Ip2 => parts.ip2 = Some(read_address(&attr)?),
                EntryAttr::Cidr2 => parts.prefix2 = Some(attr.u8()?),
                EntryAttr::Ip2To => parts.ip2_to = Some(read_address(&attr)?),
                EntryAttr::Interface => parts.interface = Some(attr.text_bytes()?),
                EntryAttr::Bytes => counters.bytes = Some(attr.u64_be()?),
                EntryAttr::Packets => counters.packets = Some(attr.u64_be()?),
                EntryAttr::Comment => comment = Some(Comment::read(attr.text_bytes()?)),
                EntryAttr::SkbMark => {
                    let both = attr.u64_be()?;
                    skb.mark = Some((high(both), low(both)));
                }
                EntryAttr::SkbPrio => {
                    let [a, b, c, d] = attr.array()?;
                    skb.priority = Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
                }
                EntryAttr::SkbQueue => skb.queue = Some(attr.u16_be()?),
            }
        }
        let nomatch = parts.flags & flag::NOMATCH != 0;
        Ok(Self { entry: parts.entry(kind)?, timeout, counters, comment, skb, nomatch })
    }
}

fn high(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn low(value: u64) -> u32 {
    let [.., a, b, c, d] = value.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

impl Parts<'_> {
    fn entry(&self, kind: Kind) -> Result<Entry, DecodeError> {
        Ok(match kind {
            Kind::BitmapIp | Kind::HashIp | Kind::HashNet => Entry::Ip(self.first()?),
            Kind::BitmapIpMac => Entry::IpMac(required(self.ip, EntryAttr::Ip)?, self.mac),
            Kind::HashIpMac => {
                Entry::IpMac(required(self.ip, EntryAttr::Ip)?, Some(required(self.mac, EntryAttr::Ether)?))
            }
            Kind::HashIpMark => Entry::IpMark(self.first()?, required(self.mark, EntryAttr::Mark)?),
            Kind::HashIpPort | Kind::HashNetPort => Entry::IpPort(self.first()?, self.protocol_ports()?),
            Kind::HashIpPortIp | Kind::HashIpPortNet | Kind::HashNetPortNet => {
                Entry::IpPortIp(self.first()?, self.protocol_ports()?, self.second()?)
            }
            Kind::HashNetNet => Entry::IpIp(self.first()?, self.second()?),
            Kind::HashNetIface => {
                let name = required(self.interface, EntryAttr::Interface)?;
                let wrong = |_| DecodeError::Text { attribute: EntryAttr::Interface.name() };
                let interface = InterfaceMatch {
                    name: InterfaceName::any(name).map_err(wrong)?,
                    physdev: self.flags & flag::PHYSDEV != 0,
                    wildcard: self.flags & flag::IFACE_WILDCARD != 0,
                };
                Entry::IpInterface(self.first()?, interface)
            }
            Kind::BitmapPort => Entry::Port(self.ports()?),
            Kind::HashMac => Entry::Mac(required(self.mac, EntryAttr::Ether)?),
            Kind::ListSet => {
                let set = set_name(required(self.name, EntryAttr::Name)?, EntryAttr::Name)?;
                let before = self.flags & flag::BEFORE != 0;
                let place = match self.name_ref {
                    None => None,
                    Some(other) if before => Some(Place::Before(set_name(other, EntryAttr::NameRef)?)),
                    Some(other) => Some(Place::After(set_name(other, EntryAttr::NameRef)?)),
                };
                Entry::Set(ListMember { set, place })
            }
        })
    }

    fn first(&self) -> Result<Addresses, DecodeError> {
        addresses(required(self.ip, EntryAttr::Ip)?, self.ip_to, self.prefix, FIRST)
    }

    fn second(&self) -> Result<Addresses, DecodeError> {
        addresses(required(self.ip2, EntryAttr::Ip2)?, self.ip2_to, self.prefix2, SECOND)
    }

    fn ports(&self) -> Result<Ports, DecodeError> {
        let first = required(self.port, EntryAttr::Port)?;
        Ok(Ports { first, last: self.port_to.unwrap_or(first) })
    }

    fn protocol_ports(&self) -> Result<ProtocolPorts, DecodeError> {
        let protocol = Protocol(required(self.protocol, EntryAttr::Protocol)?.into());
        Ok(ProtocolPorts { protocol, ports: self.ports()? })
    }
}

#[inline]
pub(super) fn addresses(
    address: IpAddr,
    last: Option<IpAddr>,
    prefix: Option<u8>,
    [_, to, cidr]: [EntryAttr; 3],
) -> Result<Addresses, DecodeError> {
    match (last, prefix) {
        (None, None) => Ok(address.into()),
        (Some(last), _) => match (address, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Ok(Addresses::Range(first, last)),
            // The kernel has no ranges of IPv6 addresses.
            _ => Err(DecodeError::Length { attribute: to.name(), wanted: 4, got: 16 }),
        },
        (None, Some(prefix)) => {
            let wrong = DecodeError::Value { attribute: cidr.name(), value: prefix.into() };
            Network::new(address, prefix).map(Addresses::from).ok_or(wrong)
        }
    }
}

pub(super) fn set_name(name: &[u8], attribute: impl Attribute) -> Result<SetName, DecodeError> {
    SetName::any(name).map_err(|_| DecodeError::Text { attribute: attribute.name() })
}
