//! What entries are made of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::address::{Family, InvalidText};
use crate::name::{InvalidName, Name, named};

use super::numbers::{MAX_COMMENT, MAX_INTERFACE, MAX_NAME};

named! {
    /// The name of a set: at most 31 bytes, without control characters.
    ///
    /// The kernel takes any byte but zero. `ipset restore` cannot read names with blanks or quotes.
    SetName MAX_NAME, "set name", |name| name.iter().any(u8::is_ascii_control).then_some("has a control character")
}

impl SetName {
    /// AnyType name that the kernel takes: also an empty one, or one with control characters, such as another program may
    /// have given.
    ///
    /// # Errors
    /// When it is longer than 31 bytes, or has a zero byte.
    pub fn any(name: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
        Name::or_empty("set name", name.as_ref()).map(Self)
    }
}

named! {
    /// What the name of an interface is compared with (`hash:net,iface`): at most 15 bytes.
    ///
    /// The kernel takes any text here, also what no interface can be called, such as the alias `eth0:1`.
    InterfaceName MAX_INTERFACE, "interface name", |_| None
}

impl InterfaceName {
    /// AnyType text that the kernel takes, also an empty one.
    ///
    /// # Errors
    /// When it is longer than 15 bytes, or has a zero byte.
    pub fn any(name: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
        Name::or_empty("interface name", name.as_ref()).map(Self)
    }
}

fn invalid(text: &str, wanted: &'static str) -> InvalidText {
    InvalidText::new(text, wanted)
}

/// A network: an address and how many of its leading bits count. [`Network::new`] clears the other bits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of `prefix` bits that this address is in; `None` if an address has not that many.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = Family::of(address).bits();
        (prefix <= bits).then(|| {
            let shift = u32::from(bits - prefix);
            let address = match address {
                IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(
                    v4.to_bits().checked_shr(shift).unwrap_or(0).checked_shl(shift).unwrap_or(0),
                )),
                IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(
                    v6.to_bits().checked_shr(shift).unwrap_or(0).checked_shl(shift).unwrap_or(0),
                )),
            };
            Self { address, prefix }
        })
    }

    /// The same network with the host bits of the address, such as `10.0.0.3/30`. A request sends them as they are; the
    /// kernel clears them, but for some checks of the address. Unequal to the network without them.
    pub fn of_host(address: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= Family::of(address).bits()).then_some(Self { address, prefix })
    }

    /// Its first address, or the one of [`Network::of_host`].
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits its addresses share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed =
            text.split_once('/').and_then(|(address, prefix)| Self::new(address.parse().ok()?, prefix.parse().ok()?));
        parsed.ok_or_else(|| invalid(text, "a network such as 10.0.0.0/8"))
    }
}

/// One address, or many.
///
/// In a type of networks (`hash:net`, …) an address is the network of that one host, and a range is cut into the fewest
/// networks that make it up. In a type of addresses (`hash:ip`, …) a range or a network stands for each of its
/// addresses. With IPv6 the kernel takes no ranges, and networks only in types of networks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Addresses {
    /// One address.
    One(IpAddr),
    /// All addresses of a network.
    Network(Network),
    /// All addresses from the first to the second.
    Range(IpAddr, IpAddr),
}

impl Addresses {
    /// The family they are of.
    pub fn family(self) -> Family {
        Family::of(self.first())
    }

    /// The first of them.
    pub fn first(self) -> IpAddr {
        match self {
            Self::One(address) | Self::Range(address, _) => address,
            Self::Network(network) => network.address,
        }
    }
}

impl From<IpAddr> for Addresses {
    fn from(address: IpAddr) -> Self {
        Self::One(address)
    }
}

impl From<Ipv4Addr> for Addresses {
    fn from(address: Ipv4Addr) -> Self {
        Self::One(address.into())
    }
}

impl From<Ipv6Addr> for Addresses {
    fn from(address: Ipv6Addr) -> Self {
        Self::One(address.into())
    }
}

impl From<Network> for Addresses {
    /// A network of one host is that host.
    fn from(network: Network) -> Self {
        if network.prefix == Family::of(network.address).bits() {
            Self::One(network.address)
        } else {
            Self::Network(network)
        }
    }
}

impl From<RangeInclusive<Ipv4Addr>> for Addresses {
    fn from(range: RangeInclusive<Ipv4Addr>) -> Self {
        let (first, last) = range.into_inner();
        Self::Range(first.into(), last.into())
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::Network(network) => network.fmt(f),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl FromStr for Addresses {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = if text.contains('/') {
            text.parse::<Network>().ok().map(Self::from)
        } else if let Some((first, last)) = text.split_once('-') {
            first.parse().ok().zip(last.parse().ok()).map(|(first, last)| Self::Range(first, last))
        } else {
            text.parse::<IpAddr>().ok().map(Self::from)
        };
        parsed.ok_or_else(|| invalid(text, "an address, a network or a range of addresses"))
    }
}

/// One port, or all from the first to the second.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl From<RangeInclusive<u16>> for Ports {
    fn from(range: RangeInclusive<u16>) -> Self {
        let (first, last) = range.into_inner();
        Self { first, last }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// Ports of a protocol; of other protocols than TCP, UDP, UDP-Lite, SCTP, ICMP and ICMPv6, the protocol alone.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProtocolPorts {
    /// The number of the protocol (`/etc/protocols`), not 0.
    pub protocol: u8,
    /// Its ports; of ICMP and ICMPv6, the type in the high byte and the code in the low one.
    pub ports: Ports,
}

impl ProtocolPorts {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const SCTP: u8 = 132;
    pub(crate) const UDPLITE: u8 = 136;

    /// One port, or a range of them, of TCP.
    pub fn tcp(ports: impl Into<Ports>) -> Self {
        Self { protocol: Self::TCP, ports: ports.into() }
    }

    /// One port, or a range of them, of UDP.
    pub fn udp(ports: impl Into<Ports>) -> Self {
        Self { protocol: Self::UDP, ports: ports.into() }
    }

    /// One port, or a range of them, of SCTP.
    pub fn sctp(ports: impl Into<Ports>) -> Self {
        Self { protocol: Self::SCTP, ports: ports.into() }
    }

    /// One port, or a range of them, of UDP-Lite.
    pub fn udplite(ports: impl Into<Ports>) -> Self {
        Self { protocol: Self::UDPLITE, ports: ports.into() }
    }

    /// A type and a code of ICMP, for sets of IPv4 addresses.
    pub fn icmp(kind: u8, code: u8) -> Self {
        Self { protocol: Self::ICMP, ports: u16::from_be_bytes([kind, code]).into() }
    }

    /// A type and a code of ICMPv6, for sets of IPv6 addresses.
    pub fn icmpv6(kind: u8, code: u8) -> Self {
        Self { protocol: Self::ICMPV6, ports: u16::from_be_bytes([kind, code]).into() }
    }

    /// AnyType other protocol, without ports.
    pub fn protocol(number: u8) -> Self {
        Self { protocol: number, ports: 0.into() }
    }
}

impl fmt::Display for ProtocolPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Self::TCP => f.write_str("tcp")?,
            Self::UDP => f.write_str("udp")?,
            Self::SCTP => f.write_str("sctp")?,
            Self::UDPLITE => f.write_str("udplite")?,
            Self::ICMP | Self::ICMPV6 => {
                f.write_str(if self.protocol == Self::ICMP { "icmp" } else { "icmpv6" })?;
                let [kind, code] = self.ports.first.to_be_bytes();
                write!(f, ":{kind}/{code}")?;
                if self.ports.first != self.ports.last {
                    let [kind, code] = self.ports.last.to_be_bytes();
                    write!(f, "-{kind}/{code}")?;
                }
                return Ok(());
            }
            other => other.fmt(f)?,
        }
        write!(f, ":{}", self.ports)
    }
}

/// The address of an Ethernet card.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[doc(alias = "IPSET_ATTR_ETHER")]
pub struct Mac([u8; 6]);

impl Mac {
    /// The address of these bytes, in the order in which they are written.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl FromStr for Mac {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        let all = bytes.iter_mut().all(|byte| {
            let part = parts.next().filter(|part| matches!(part.len(), 1 | 2) && !part.starts_with('+'));
            part.and_then(|part| u8::from_str_radix(part, 16).ok()).map(|value| *byte = value).is_some()
        });
        if all && parts.next().is_none() { Ok(Self(bytes)) } else { Err(invalid(text, "an Ethernet address")) }
    }
}

/// Which interfaces an entry of `hash:net,iface` means.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InterfaceMatch {
    /// The interface, or how its name starts.
    pub name: InterfaceName,
    /// The port of a bridge rather than the bridge (`physdev`).
    pub physdev: bool,
    /// All interfaces whose name starts so (`wildcard`); since Linux 5.5.
    pub wildcard: bool,
}

impl InterfaceMatch {
    /// The interface of this name.
    pub fn new(name: InterfaceName) -> Self {
        Self { name, physdev: false, wildcard: false }
    }

    /// The port of a bridge rather than the bridge.
    pub fn physdev(self) -> Self {
        Self { physdev: true, ..self }
    }

    /// All interfaces whose name starts so.
    pub fn wildcard(self) -> Self {
        Self { wildcard: true, ..self }
    }
}

impl fmt::Display for InterfaceMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let physdev = if self.physdev { "physdev:" } else { "" };
        write!(f, "{physdev}{}", self.name)
    }
}

/// A set in a `list:set`, and where in the list.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ListMember {
    /// The member.
    pub set: SetName,
    /// Where: at the end, if nothing is said. Lists do not repeat it, their order tells.
    pub place: Option<Place>,
}

/// A place in a `list:set`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// Right before this member.
    Before(SetName),
    /// Right after this member.
    After(SetName),
}

impl ListMember {
    /// This set, at the end of the list.
    pub fn new(set: SetName) -> Self {
        Self { set, place: None }
    }

    /// Right before another member.
    pub fn before(self, other: SetName) -> Self {
        Self { place: Some(Place::Before(other)), ..self }
    }

    /// Right after another member.
    pub fn after(self, other: SetName) -> Self {
        Self { place: Some(Place::After(other)), ..self }
    }
}

impl From<SetName> for ListMember {
    fn from(set: SetName) -> Self {
        Self::new(set)
    }
}

impl fmt::Display for ListMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            None => self.set.fmt(f),
            Some(Place::Before(other)) => write!(f, "{} before {other}", self.set),
            Some(Place::After(other)) => write!(f, "{} after {other}", self.set),
        }
    }
}

/// A comment on an entry: at most 255 bytes, without double quotes and line breaks, which `ipset` could not read back.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[doc(alias = "IPSET_ATTR_COMMENT")]
pub struct Comment(Box<[u8]>);

impl Comment {
    /// A comment of this text.
    ///
    /// # Errors
    /// When it is too long, or has a quote or a line break in it.
    pub fn new(text: &str) -> Result<Self, InvalidText> {
        if text.contains(['"', '\n']) {
            return Err(invalid(text, "a comment without quotes and line breaks"));
        }
        Self::any(text)
    }

    /// AnyType comment that the kernel takes. Its bytes need not be text.
    ///
    /// # Errors
    /// When it is longer than 255 bytes, or has a zero byte.
    pub fn any(bytes: impl AsRef<[u8]>) -> Result<Self, InvalidText> {
        let bytes = bytes.as_ref();
        if bytes.len() > MAX_COMMENT || bytes.contains(&0) {
            return Err(invalid(&String::from_utf8_lossy(bytes), "a comment: at most 255 bytes"));
        }
        Ok(Self(bytes.into()))
    }

    /// One that stands in a set already.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Comment {
    /// What of it is not UTF-8 is shown as `\u{fffd}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_no_host_bits() {
        let network = |text: &str| text.parse::<Network>().map(|network| network.to_string());
        assert_eq!(network("10.1.2.3/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(network("10.1.2.3/0").as_deref(), Ok("0.0.0.0/0"));
        assert_eq!(network("2001:db8::1/32").as_deref(), Ok("2001:db8::/32"));
        assert_eq!(network("2001:db8::1/0").as_deref(), Ok("::/0"));
        assert!(network("10.1.2.3/33").is_err());
        assert!(network("10.1.2.3").is_err());
        let of_host =
            |prefix| Network::of_host(Ipv4Addr::new(10, 1, 2, 3).into(), prefix).map(|network| network.to_string());
        assert_eq!(of_host(8).as_deref(), Some("10.1.2.3/8"));
        assert_eq!(of_host(33), None);
    }

    #[test]
    fn addresses_read_back() {
        for text in ["10.0.0.1", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "2001:db8::1", "2001:db8::/32"] {
            assert_eq!(text.parse::<Addresses>().map(|addresses| addresses.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("10.0.0.1/32".parse::<Addresses>(), Ok(Addresses::from(Ipv4Addr::new(10, 0, 0, 1))));
        for text in ["", "10.0.0.1-", "10.0.0.1-x", "10.0.0.1/", "a"] {
            assert!(text.parse::<Addresses>().is_err(), "{text}");
        }
    }

    #[test]
    fn ethernet_addresses_read_back() {
        assert_eq!("02:0a:00:00:00:fF".parse::<Mac>().unwrap().to_string(), "02:0A:00:00:00:FF");
        for text in ["", "02:0a:00:00:00", "02:0a:00:00:00:ff:1", "02:0a:00:00:00:100", "+2:0a:00:00:00:ff"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_shown_as_ipset_takes_them() {
        assert_eq!(ProtocolPorts::tcp(80).to_string(), "tcp:80");
        assert_eq!(ProtocolPorts::udp(53..=60).to_string(), "udp:53-60");
        assert_eq!(ProtocolPorts::icmp(8, 1).to_string(), "icmp:8/1");
        assert_eq!(ProtocolPorts::protocol(47).to_string(), "47:0");
    }

    #[test]
    fn names_and_comments_that_no_list_could_show_are_refused() {
        for name in ["", "a\n", "a\0", &"x".repeat(32)] {
            assert!(SetName::new(name).is_err(), "{name:?}");
        }
        assert!(SetName::new("x".repeat(31)).is_ok());
        assert!(Comment::new("say \"x\"").is_err());
        assert!(Comment::new(&"x".repeat(256)).is_err());
        assert!(Comment::any([0xe4; 256]).is_err());
        assert!(Comment::any([0xe4, 0]).is_err());
        assert_eq!(Comment::any([0xe4; 255]).unwrap().as_bytes(), [0xe4; 255]);
        assert_eq!(SetName::any("").unwrap().as_bytes(), b"");
        assert_eq!(InterfaceName::any("eth0:1").unwrap().as_bytes(), b"eth0:1");
        assert_eq!(Comment::new("a comment").unwrap().to_string(), "a comment");
    }
}
