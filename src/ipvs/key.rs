//! Keys of virtual services.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::Peekable;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::{FromStr, Split};

use super::address;
use super::service::{Service, ServiceAttr, ServiceInfo};
use crate::net::{Family, InvalidText, Protocol, number};
use crate::wire::Writer;

/// Identity of a virtual service in the kernel's table.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ServiceKey {
    /// A protocol, an address and a port. Port 0 means every port without a service of its own, and needs
    /// [`Persistence`](super::Persistence).
    #[doc(alias("IPVS_SVC_ATTR_PROTOCOL", "IPVS_SVC_ATTR_ADDR", "IPVS_SVC_ATTR_PORT"))]
    Address {
        /// The transport protocol (`IPVS_SVC_ATTR_PROTOCOL`).
        protocol: Protocol,
        /// The virtual address and port (`IPVS_SVC_ATTR_ADDR`, `IPVS_SVC_ATTR_PORT`). The kernel accepts an IPv4
        /// address written as IPv6 (`::ffff:10.0.0.1`), though no packet has such an address.
        address: SocketAddr,
    },
    /// All packets of a family with a firewall mark, as `iptables -j MARK` and nftables set it. Such a service takes
    /// precedence over a service by address.
    #[doc(alias = "IPVS_SVC_ATTR_FWMARK")]
    FirewallMark {
        /// The mark (`IPVS_SVC_ATTR_FWMARK`).
        mark: NonZeroU32,
        /// The address family (`IPVS_SVC_ATTR_AF`); the same mark can have a service in each.
        family: Family,
    },
}

/// Hashes one or two numbers. Hashing each field takes twice as long, and large tables are looked up by their keys.
impl Hash for ServiceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match *self {
            Self::Address { protocol: Protocol(protocol), address } => {
                let rest = u64::from(protocol) << 48 | u64::from(address.port()) << 32;
                match address.ip() {
                    IpAddr::V4(v4) => state.write_u64(rest | u64::from(v4.to_bits())),
                    IpAddr::V6(v6) => {
                        state.write_u128(v6.to_bits());
                        state.write_u64(rest);
                    }
                }
            }
            Self::FirewallMark { mark, .. } => state.write_u32(mark.get()),
        }
    }
}

impl ServiceKey {
    /// Returns the key of the TCP service at this address and port.
    pub fn tcp(address: SocketAddr) -> Self {
        Self::Address { protocol: Protocol::TCP, address }
    }

    /// Returns the key of the UDP service at this address and port.
    pub fn udp(address: SocketAddr) -> Self {
        Self::Address { protocol: Protocol::UDP, address }
    }

    /// Returns the key of the SCTP service at this address and port.
    ///
    /// ```
    /// # use lvs::ipvs::{Scheduler, Service, ServiceKey};
    /// let key = ServiceKey::sctp("10.96.0.10:9999".parse()?);
    /// assert_eq!(Service::sctp("10.96.0.10:9999".parse()?, Scheduler::RR).key, key);
    /// assert_eq!(key.fwmark(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sctp(address: SocketAddr) -> Self {
        Self::Address { protocol: Protocol::SCTP, address }
    }

    /// Returns why the kernel cannot be asked for this key: a part of it has no attribute.
    #[inline]
    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Address { address, .. } => {
                let part = address::extra_parts(*address)?;
                Some(format!("a virtual service's address cannot have a {part}").into())
            }
            Self::FirewallMark { .. } => None,
        }
    }

    /// Returns the virtual address and port; `None` for a service by firewall mark.
    ///
    /// ```
    /// # use lvs::ipvs::ServiceKey;
    /// # use lvs::vip::Vip;
    /// let key: ServiceKey = "10.96.0.10:443/tcp".parse()?;
    /// let vip = key.address().map(|address| Vip::from(address.ip()));
    /// assert_eq!(vip, Some("10.96.0.10".parse().unwrap()));
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address { address, .. } => Some(*address),
            Self::FirewallMark { .. } => None,
        }
    }

    /// Returns the transport protocol; `None` for a service by firewall mark.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Address { protocol, .. } => Some(*protocol),
            Self::FirewallMark { .. } => None,
        }
    }

    /// Returns the firewall mark; `None` for a service by address.
    pub fn fwmark(&self) -> Option<NonZeroU32> {
        match self {
            Self::Address { .. } => None,
            Self::FirewallMark { mark, .. } => Some(*mark),
        }
    }

    /// Returns the address family of the service's clients.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(address.ip()),
            Self::FirewallMark { family, .. } => *family,
        }
    }
}

/// Values that identify a virtual service: a [`ServiceKey`], a [`Service`](super::Service), a
/// [`ServiceInfo`](super::ServiceInfo), or a reference to one of them.
///
/// ```
/// # use lvs::ipvs::{IntoServiceKey, Scheduler, Service, ServiceInfo};
/// let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
/// assert_eq!((&web).into_service_key(), web.key);
/// assert_eq!(ServiceInfo::new(web).into_service_key(), web.key);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not identify a virtual service",
    label = "neither a `ServiceKey` nor a `Service`",
    note = "to identify a service by its address, write `ServiceKey::tcp(address)` or `ServiceKey::udp(address)`",
    note = "to read a key from text, write `text.parse::<ServiceKey>()?`"
)]
pub trait IntoServiceKey {
    /// Returns the key of the service.
    fn into_service_key(self) -> ServiceKey;
}

macro_rules! into_service_key {
    ($($type:ty),+) => {
        $(
            impl IntoServiceKey for $type {
                #[inline]
                fn into_service_key(self) -> ServiceKey {
                    self.into()
                }
            }
        )+
    };
}

into_service_key!(ServiceKey, Service, &Service, ServiceInfo, &ServiceInfo);

impl IntoServiceKey for &ServiceKey {
    fn into_service_key(self) -> ServiceKey {
        *self
    }
}

impl fmt::Display for ServiceKey {
    /// `10.0.0.1:80/tcp`, `[2001:db8::1]:53/udp`, `fwmark 7`, `fwmark 7 inet6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol, address } => write!(f, "{address}/{protocol}"),
            Self::FirewallMark { mark, family: Family::Inet } => write!(f, "fwmark {mark}"),
            Self::FirewallMark { mark, family } => write!(f, "fwmark {mark} {family}"),
        }
    }
}

impl FromStr for ServiceKey {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes.
    ///
    /// ```
    /// # use lvs::Protocol;
    /// # use lvs::ipvs::ServiceKey;
    /// let key: ServiceKey = "[2001:db8::1]:53/udp".parse()?;
    /// assert_eq!(key.protocol(), Some(Protocol::UDP));
    /// let error = "10.0.0.1:80".parse::<ServiceKey>().unwrap_err();
    /// assert!(error.to_string().starts_with("\"10.0.0.1:80\" is not a service such as"));
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        parse(text).ok_or_else(|| InvalidText::new(text, "a service such as 10.0.0.1:80/tcp or fwmark 7 inet6"))
    }
}

fn parse(text: &str) -> Option<ServiceKey> {
    let mut words = text.split(' ').peekable();
    let key = ServiceKey::take(&mut words)?;
    words.next().is_none().then_some(key)
}

impl ServiceKey {
    /// Takes the words of a key, and leaves those after it.
    pub(super) fn take(words: &mut Peekable<Split<'_, char>>) -> Option<Self> {
        let first = words.next()?;
        if first == "fwmark" {
            let mark = number(words.next()?)?;
            let family = words.peek().and_then(|word| word.parse().ok());
            if family.is_some() {
                words.next();
            }
            return Some(Self::FirewallMark { mark, family: family.unwrap_or(Family::Inet) });
        }
        let (address, protocol) = first.rsplit_once('/')?;
        Some(Self::Address { protocol: protocol.parse().ok()?, address: address.parse().ok()? })
    }
}

serde_text!(ServiceKey);

// The bytes.

impl ServiceKey {
    #[inline]
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        match *self {
            Self::Address { protocol, address } => out.together(|out| {
                out.array(ServiceAttr::Family, &self.family().bytes());
                out.array(ServiceAttr::Protocol, &protocol.0.to_ne_bytes());
                out.array(ServiceAttr::Address, &address::bytes(address.ip()));
                out.array(ServiceAttr::Port, &address.port().to_be_bytes());
            }),
            Self::FirewallMark { mark, family } => out.together(|out| {
                out.array(ServiceAttr::Family, &family.bytes());
                out.array(ServiceAttr::FirewallMark, &mark.get().to_ne_bytes());
            }),
        }
    }
}
