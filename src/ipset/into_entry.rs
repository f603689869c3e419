//! Values that convert to entries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::addresses::{Addresses, Network};
use super::entry::{Entry, Member};
use super::kind::HashIpPort;
use super::parts::{InterfaceMatch, ListMember, Mac, SetName};
use super::ports::{Ports, ProtocolPorts};
use crate::net::Protocol;

/// Values that convert to an entry `E` of a set.
///
/// An address converts to [`Addresses`] in any entry, and a socket address with its protocol to an address and a port.
///
/// The compiler cannot infer the type that a text is parsed to: "to read an entry from text, write
/// `Member::parse(text)?`".
///
/// ```compile_fail
/// # use lvs::ipset::{HashNet, Member};
/// // Does not compile: write `Member::parse("10.0.0.0/8")?`.
/// let member = Member::<HashNet>::new("10.0.0.0/8".parse()?);
/// # Ok::<(), lvs::InvalidText>(())
/// ```
///
/// ```compile_fail
/// # use lvs::ipset::{HashNet, Member};
/// // Does not compile: "`&str` is not an entry of a set whose entries are `lvs::ipset::Addresses`".
/// let member = Member::<HashNet>::new("10.0.0.0/8");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an entry of a set whose entries are `{E}`",
    label = "not an entry of this set type",
    note = "to read an entry from text, write `Member::parse(text)?` instead of `Member::new(text.parse()?)`"
)]
pub trait IntoEntry<E> {
    /// Converts the value to the entry.
    fn into_entry(self) -> E;
}

/// Each line: the generic parameters, the value, the entry, and how one becomes the other.
macro_rules! into_entry {
    ($([$($generic:tt)*] $from:ty => $entry:ty: $pattern:pat => $value:expr;)+) => {
        $(
            impl<$($generic)*> IntoEntry<$entry> for $from {
                #[inline]
                fn into_entry(self) -> $entry {
                    let $pattern = self;
                    $value
                }
            }
        )+
    };
}

into_entry! {
    [] Addresses => Addresses: ip => ip;
    [] Network => Addresses: ip => ip.into();
    [] IpAddr => Addresses: ip => ip.into();
    [] Ipv4Addr => Addresses: ip => ip.into();
    [] Ipv6Addr => Addresses: ip => ip.into();
    [] RangeInclusive<Ipv4Addr> => Addresses: ip => ip.into();
    [I: Into<IpAddr>] (I, Option<Mac>) => (IpAddr, Option<Mac>): (ip, mac) => (ip.into(), mac);
    [I: Into<IpAddr>] (I, Mac) => (IpAddr, Option<Mac>): (ip, mac) => (ip.into(), Some(mac));
    [I: Into<IpAddr>] (I, Mac) => (IpAddr, Mac): (ip, mac) => (ip.into(), mac);
    [A: Into<Addresses>] (A, u32) => (Addresses, u32): (ip, mark) => (ip.into(), mark);
    [A: Into<Addresses>] (A, ProtocolPorts) => (Addresses, ProtocolPorts): (ip, port) => (ip.into(), port);
    [] (SocketAddr, Protocol) => (Addresses, ProtocolPorts):
        (address, protocol) => (address.ip().into(), ProtocolPorts::of(protocol, address.port()));
    [A: Into<Addresses>, I: Into<IpAddr>] (A, ProtocolPorts, I) => (Addresses, ProtocolPorts, IpAddr):
        (ip, port, other) => (ip.into(), port, other.into());
    [A: Into<Addresses>, B: Into<Addresses>] (A, ProtocolPorts, B) => (Addresses, ProtocolPorts, Addresses):
        (ip, port, other) => (ip.into(), port, other.into());
    [A: Into<Addresses>, B: Into<Addresses>] (A, B) => (Addresses, Addresses):
        (ip, other) => (ip.into(), other.into());
    [A: Into<Addresses>] (A, InterfaceMatch) => (Addresses, InterfaceMatch): (ip, interface) => (ip.into(), interface);
    [] Ports => Ports: ports => ports;
    [] u16 => Ports: port => port.into();
    [] RangeInclusive<u16> => Ports: ports => ports.into();
    [] Mac => Mac: mac => mac;
    [] ListMember => ListMember: set => set;
    [] SetName => ListMember: set => set.into();
    [T: Into<Entry>] T => Entry: entry => entry.into();
}

impl Member<HashIpPort> {
    /// Returns the address, port and protocol of the entry; `None` if the entry is a network or a range, or has no
    /// ports. [`Member::new`] converts in the other direction.
    ///
    /// ```
    /// # use lvs::Protocol;
    /// # use lvs::ipset::{HashIpPort, Member};
    /// let web = ("10.96.0.10:443".parse()?, Protocol::TCP);
    /// let member = Member::<HashIpPort>::new(web);
    /// assert_eq!(member.to_string(), "10.96.0.10,tcp:443");
    /// assert_eq!(member.endpoint(), Some(web));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn endpoint(&self) -> Option<(SocketAddr, Protocol)> {
        let (addresses, ProtocolPorts { protocol, ports }) = self.entry;
        let has_ports = matches!(protocol, Protocol::TCP | Protocol::UDP | Protocol::SCTP | ProtocolPorts::UDPLITE);
        match addresses {
            Addresses::One(address) if has_ports && ports.first == ports.last => {
                Some((SocketAddr::new(address, ports.first), protocol))
            }
            _ => None,
        }
    }
}
