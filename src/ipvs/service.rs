//! Virtual services: what clients connect to.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::address;
use super::numbers::{HASHED, PERSISTENT, ServiceAttr};
use super::{PersistenceEngine, Scheduler, Stats};
use crate::address::Family;
use crate::error::DecodeError;
use crate::wire::reader::required;
use crate::wire::{Attr, Kind, Writer};

/// A virtual service: where clients connect and how their connections are spread.
///
/// ```
/// use std::time::Duration;
/// use lvs::ipvs::{Scheduler, Service};
///
/// let web = Service::tcp("10.96.0.10:443".parse().unwrap(), Scheduler::WRR);
/// let sticky = web.persistent(Duration::from_secs(600));
/// assert_eq!(sticky.key.to_string(), "10.96.0.10:443/tcp");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[doc(alias = "IPVS_CMD_ATTR_SERVICE")]
pub struct Service {
    /// What identifies the service; a change of it makes another service.
    pub key: ServiceKey,
    /// How the destination of a new connection is chosen (`IPVS_SVC_ATTR_SCHED_NAME`).
    #[doc(alias = "IPVS_SVC_ATTR_SCHED_NAME")]
    pub scheduler: Scheduler,
    /// Whether, and how, a client stays with its destination; `None`: each connection is scheduled by itself.
    pub persistence: Option<Persistence>,
    /// How a client is recognised by more than its address (`IPVS_SVC_ATTR_PE_NAME`); of use to a persistent service.
    #[doc(alias = "IPVS_SVC_ATTR_PE_NAME")]
    pub engine: Option<PersistenceEngine>,
    /// The scheduler's flags and one-packet scheduling (`IPVS_SVC_ATTR_FLAGS`).
    #[doc(alias = "IPVS_SVC_ATTR_FLAGS")]
    pub flags: ServiceFlags,
}

impl Service {
    /// A service that is not persistent and has no flags.
    pub fn new(key: ServiceKey, scheduler: Scheduler) -> Self {
        Self { key, scheduler, persistence: None, engine: None, flags: ServiceFlags::empty() }
    }

    /// A TCP service at this address and port.
    pub fn tcp(address: SocketAddr, scheduler: Scheduler) -> Self {
        Self::new(ServiceKey::tcp(address), scheduler)
    }

    /// A UDP service at this address and port.
    pub fn udp(address: SocketAddr, scheduler: Scheduler) -> Self {
        Self::new(ServiceKey::udp(address), scheduler)
    }

    /// An SCTP service at this address and port.
    pub fn sctp(address: SocketAddr, scheduler: Scheduler) -> Self {
        Self::new(ServiceKey::sctp(address), scheduler)
    }

    /// A service for all packets of a family that carry this firewall mark.
    pub fn firewall_mark(mark: NonZeroU32, family: Family, scheduler: Scheduler) -> Self {
        Self::new(ServiceKey::FirewallMark { mark, family }, scheduler)
    }

    /// The same, keeping each client at its destination for this [`timeout`](Persistence::timeout).
    #[must_use]
    pub fn persistent(self, timeout: Duration) -> Self {
        Self { persistence: Some(Persistence::new(timeout)), ..self }
    }

    /// What the kernel would refuse, or take for something else than was meant.
    #[inline]
    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        if let Some(problem) = self.key.problem() {
            return Some(problem);
        }
        if self.flags.intersects(ServiceFlags::from_bits_retain(PERSISTENT | HASHED)) {
            return Some("the flags of persistence and of the kernel itself (0x1, 0x2) cannot be set".into());
        }
        if let ServiceKey::Address { protocol, address } = self.key {
            if address.port() == 0 && self.persistence.is_none() {
                return Some("port 0 (any port) needs a persistent service".into());
            }
            if self.flags.contains(ServiceFlags::ONE_PACKET) && protocol != Protocol::UDP {
                return Some("one-packet scheduling is only for UDP and firewall-mark services".into());
            }
        }
        self.persistence.and_then(|persistence| persistence.problem(self.key.family()))
    }
}

/// What identifies a virtual service in the kernel's table.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ServiceKey {
    /// A protocol, an address and a port. Port 0 stands for every port that has no service of its own, and needs
    /// [`Persistence`].
    #[doc(alias("IPVS_SVC_ATTR_PROTOCOL", "IPVS_SVC_ATTR_ADDR", "IPVS_SVC_ATTR_PORT"))]
    Address {
        /// The transport protocol (`IPVS_SVC_ATTR_PROTOCOL`).
        protocol: Protocol,
        /// The virtual address and port (`IPVS_SVC_ATTR_ADDR`, `IPVS_SVC_ATTR_PORT`). The kernel takes an IPv4 address
        /// written as IPv6 (`::ffff:10.0.0.1`), though no packet has one.
        address: SocketAddr,
    },
    /// All packets of a family that carry a firewall mark, as `iptables -j MARK` and nftables set it. Such a service
    /// goes before one by address.
    #[doc(alias = "IPVS_SVC_ATTR_FWMARK")]
    FirewallMark {
        /// The mark (`IPVS_SVC_ATTR_FWMARK`).
        mark: NonZeroU32,
        /// The address family (`IPVS_SVC_ATTR_AF`); the same mark can have a service in each.
        family: Family,
    },
}

/// With a number or two: one for each field would take twice as long, and large tables are looked up by their keys.
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
    /// The TCP service at this address and port.
    pub fn tcp(address: SocketAddr) -> Self {
        Self::Address { protocol: Protocol::TCP, address }
    }

    /// The UDP service at this address and port.
    pub fn udp(address: SocketAddr) -> Self {
        Self::Address { protocol: Protocol::UDP, address }
    }

    /// The SCTP service at this address and port.
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

    /// The address family of the service's clients.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(address.ip()),
            Self::FirewallMark { family, .. } => *family,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// `10.0.0.1:80/tcp`, `[2001:db8::1]:53/udp`, `fwmark 7`, `fwmark 7 (inet6)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol, address } => write!(f, "{address}/{protocol}"),
            Self::FirewallMark { mark, family: Family::Inet } => write!(f, "fwmark {mark}"),
            Self::FirewallMark { mark, family } => write!(f, "fwmark {mark} ({family})"),
        }
    }
}

/// A transport protocol by its IP number.
///
/// The kernel stores any number and schedules those that have a constant here.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Protocol(pub u16);

impl Protocol {
    /// The Transmission Control Protocol.
    pub const TCP: Self = Self(6);
    /// The User Datagram Protocol.
    pub const UDP: Self = Self(17);
    /// The Stream Control Transmission Protocol.
    pub const SCTP: Self = Self(132);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.pad("tcp"),
            Self::UDP => f.pad("udp"),
            Self::SCTP => f.pad("sctp"),
            Self(number) => fmt::Display::fmt(&number, f),
        }
    }
}

/// How a client stays with its destination (`IP_VS_SVC_F_PERSISTENT`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[doc(alias = "IP_VS_SVC_F_PERSISTENT")]
pub struct Persistence {
    /// How long a client is remembered, from the beginning of its last connection (`IPVS_SVC_ATTR_TIMEOUT`): whole
    /// seconds, at most [`Persistence::LONGEST`]. If it still has connections when that is over, the kernel goes on with
    /// a minute at a time.
    #[doc(alias = "IPVS_SVC_ATTR_TIMEOUT")]
    pub timeout: Duration,
    /// Which clients count as one (`IPVS_SVC_ATTR_NETMASK`).
    #[doc(alias = "IPVS_SVC_ATTR_NETMASK")]
    pub netmask: Netmask,
}

impl Persistence {
    /// The longest timeout that every kernel counts right: above it, one with 1000 ticks a second starts again at
    /// zero, without a word.
    pub const LONGEST: Duration = Duration::from_secs(4_294_967);

    /// Each client address by itself, remembered for this long.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, netmask: Netmask::HOST }
    }

    /// The same, taking the clients of a network for one.
    #[must_use]
    pub fn netmask(self, netmask: Netmask) -> Self {
        Self { netmask, ..self }
    }

    fn problem(&self, family: Family) -> Option<Cow<'static, str>> {
        if self.timeout.subsec_nanos() != 0 {
            return Some(format!("the persistence timeout {:?} is not in whole seconds", self.timeout).into());
        }
        if self.timeout > Self::LONGEST {
            return Some(format!("the persistence timeout {:?} is above {:?}", self.timeout, Self::LONGEST).into());
        }
        match (self.netmask.0, family) {
            (Mask::Inet(_), Family::Inet6) => Some("an IPv4 persistence netmask on an IPv6 service".into()),
            (Mask::Inet6(_), Family::Inet) => Some("an IPv6 persistence prefix on an IPv4 service".into()),
            _ => None,
        }
    }
}

/// Which clients of a persistent service count as one.
///
/// ```
/// use lvs::ipvs::Netmask;
///
/// assert_eq!(Netmask::inet("255.255.255.255".parse().unwrap()), Netmask::HOST);
/// assert_eq!(Netmask::inet6(128), Ok(Netmask::HOST));
/// assert!(Netmask::inet6(129).is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Netmask(Mask);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Mask {
    Host,
    Inet(Ipv4Addr),
    Inet6(u8),
}

impl Netmask {
    /// Each address by itself, in either family.
    pub const HOST: Self = Self(Mask::Host);

    /// IPv4 clients that agree in the bits of this mask, which need not be contiguous.
    pub fn inet(mask: Ipv4Addr) -> Self {
        if mask == Ipv4Addr::BROADCAST { Self::HOST } else { Self(Mask::Inet(mask)) }
    }

    /// IPv6 clients that agree in the first `prefix` bits, 1 to 128.
    ///
    /// # Errors
    /// For any other length.
    pub fn inet6(prefix: u8) -> Result<Self, InvalidPrefix> {
        match prefix {
            128 => Ok(Self::HOST),
            1..=127 => Ok(Self(Mask::Inet6(prefix))),
            _ => Err(InvalidPrefix(prefix)),
        }
    }

    /// The mask of an IPv4 service; `None` if this is one for IPv6.
    pub fn as_inet(&self) -> Option<Ipv4Addr> {
        match self.0 {
            Mask::Host => Some(Ipv4Addr::BROADCAST),
            Mask::Inet(mask) => Some(mask),
            Mask::Inet6(_) => None,
        }
    }

    /// The prefix length of an IPv6 service; `None` if this is one for IPv4.
    pub fn as_inet6(&self) -> Option<u8> {
        match self.0 {
            Mask::Host => Some(128),
            Mask::Inet(_) => None,
            Mask::Inet6(prefix) => Some(prefix),
        }
    }
}

/// A prefix length outside of 1 to 128.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an IPv6 prefix length of {0} is not between 1 and 128")]
pub struct InvalidPrefix(u8);

bitflags::bitflags! {
    /// Flags of a service that the user sets (`IP_VS_SVC_F_*`).
    ///
    /// Persistence is not among them, because [`Persistence`] says it, nor are the kernel's own.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub struct ServiceFlags: u32 {
        /// Schedule every packet by itself (`IP_VS_SVC_F_ONEPACKET`). UDP only.
        const ONE_PACKET = 0x4;
        /// The scheduler's first flag (`IP_VS_SVC_F_SCHED1`).
        const SCHEDULER_1 = 0x8;
        /// The scheduler's second flag (`IP_VS_SVC_F_SCHED2`).
        const SCHEDULER_2 = 0x10;
        /// The scheduler's third flag (`IP_VS_SVC_F_SCHED3`). No scheduler of Linux 7.3 looks at it.
        const SCHEDULER_3 = 0x20;

        /// Flags without a name here are kept.
        const _ = !(PERSISTENT | HASHED);
    }
}

impl ServiceFlags {
    /// `sh` and `mh`: take another destination when the hashed one is unavailable (`IP_VS_SVC_F_SCHED_SH_FALLBACK`,
    /// `IP_VS_SVC_F_SCHED_MH_FALLBACK`).
    pub const FALLBACK: Self = Self::SCHEDULER_1;
    /// `sh` and `mh`: hash the client's port, too (`IP_VS_SVC_F_SCHED_SH_PORT`, `IP_VS_SVC_F_SCHED_MH_PORT`).
    pub const PORT: Self = Self::SCHEDULER_2;
}

/// A virtual service as the kernel has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServiceInfo {
    /// The service as it was set.
    pub service: Service,
    /// What went through all of its destinations.
    pub stats: Stats,
}

impl ServiceInfo {
    /// A service through which nothing went, such as the tests of a program need.
    pub fn new(service: Service) -> Self {
        Self { service, stats: Stats::default() }
    }

    /// What identifies the service.
    pub fn key(&self) -> ServiceKey {
        self.service.key
    }

    /// How the destination of a new connection is chosen.
    pub fn scheduler(&self) -> Scheduler {
        self.service.scheduler
    }
}

impl From<&Service> for Service {
    fn from(service: &Service) -> Self {
        *service
    }
}

impl From<Service> for ServiceKey {
    fn from(service: Service) -> Self {
        service.key
    }
}

impl From<&Service> for ServiceKey {
    fn from(service: &Service) -> Self {
        service.key
    }
}

impl From<&ServiceInfo> for ServiceKey {
    fn from(info: &ServiceInfo) -> Self {
        info.key()
    }
}

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

impl Service {
    #[inline]
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        self.key.write(out);
        self.scheduler.write(out, ServiceAttr::Scheduler);
        let persistence = self.persistence.unwrap_or(Persistence::new(Duration::ZERO));
        if let Some(engine) = self.engine {
            out.text(ServiceAttr::Engine, engine.as_bytes());
        }
        let own = if self.persistence.is_some() { PERSISTENT } else { 0 };
        let flags = self.flags.bits() & !(PERSISTENT | HASHED) | own;
        let [f0, f1, f2, f3] = flags.to_ne_bytes();
        let timeout: u32 = persistence.timeout.as_secs().try_into().unwrap_or(u32::MAX);
        // An IPv4 mask goes in network order, an IPv6 prefix length in the machine's.
        let netmask = match (persistence.netmask.0, self.key.family()) {
            (Mask::Inet(mask), _) => mask.octets(),
            (Mask::Inet6(prefix), _) => u32::from(prefix).to_ne_bytes(),
            (Mask::Host, Family::Inet) => [255; 4],
            (Mask::Host, Family::Inet6) => 128u32.to_ne_bytes(),
        };
        out.together(|out| {
            // The mask says which flags are meant: all of them.
            out.array(ServiceAttr::Flags, &[f0, f1, f2, f3, 255, 255, 255, 255]);
            out.array(ServiceAttr::Timeout, &timeout.to_ne_bytes());
            out.array(ServiceAttr::Netmask, &netmask);
        });
    }
}

impl ServiceInfo {
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        self.service.write(out);
        self.stats.write(out, ServiceAttr::Stats64);
    }
}

/// A service's attributes.
pub(super) type Table<'a> = crate::wire::Table<'a, ServiceAttr, { ServiceAttr::TABLE }>;

/// How the kernel begins with a service that has an address: these attributes, with payloads of so many bytes.
pub(super) const FIRST: [(ServiceAttr, usize); 4] =
    [(ServiceAttr::Family, 2), (ServiceAttr::Protocol, 2), (ServiceAttr::Address, 16), (ServiceAttr::Port, 2)];

#[inline]
pub(super) fn read_key(table: &Table<'_>) -> Result<ServiceKey, DecodeError> {
    let family = Family::read(&table.need(ServiceAttr::Family)?)?;
    if let Some(mark) = table.read(ServiceAttr::FirewallMark, Attr::u32_ne)?.and_then(NonZeroU32::new) {
        return Ok(ServiceKey::FirewallMark { mark, family });
    }
    let protocol = Protocol(table.need(ServiceAttr::Protocol)?.u16_ne()?);
    let address = address::read(&table.need(ServiceAttr::Address)?, family)?;
    let port = table.need(ServiceAttr::Port)?.u16_be()?;
    Ok(ServiceKey::Address { protocol, address: SocketAddr::new(address, port) })
}

#[inline]
pub(super) fn read(table: &Table<'_>) -> Result<Service, DecodeError> {
    let key = read_key(table)?;
    let flags = match table.read(ServiceAttr::Flags, Attr::array)? {
        Some([f0, f1, f2, f3, _, _, _, _]) => u32::from_ne_bytes([f0, f1, f2, f3]),
        None => 0,
    };
    let timeout = table.read(ServiceAttr::Timeout, Attr::u32_ne)?.unwrap_or_default();
    let netmask = table.read(ServiceAttr::Netmask, Attr::array)?;
    let persistence = if flags & PERSISTENT == 0 {
        None
    } else {
        let netmask = match (netmask, key.family()) {
            (None, _) => Netmask::HOST,
            (Some(mask), Family::Inet) => Netmask::inet(mask.into()),
            (Some(prefix), Family::Inet6) => {
                let prefix = u32::from_ne_bytes(prefix);
                let wrong = DecodeError::Value { attribute: "IPVS_SVC_ATTR_NETMASK", value: prefix.into() };
                u8::try_from(prefix).ok().and_then(|prefix| Netmask::inet6(prefix).ok()).ok_or(wrong)?
            }
        };
        Some(Persistence { timeout: Duration::from_secs(timeout.into()), netmask })
    };
    // `ipvsadm` sends an empty name where it only names a service.
    let scheduler = table.read(ServiceAttr::Scheduler, |attr| match attr.text_bytes()? {
        b"" => Ok(None),
        name => Scheduler::new(name).map(Some).map_err(|_| attr.wrong_text()),
    })?;
    // The kernel takes an empty name for none.
    let engine = table.read(ServiceAttr::Engine, |attr| match attr.text_bytes()? {
        b"" => Ok(None),
        name => PersistenceEngine::new(name).map(Some).map_err(|_| attr.wrong_text()),
    })?;
    Ok(Service {
        key,
        scheduler: required(scheduler.flatten(), ServiceAttr::Scheduler)?,
        persistence,
        engine: engine.flatten(),
        flags: ServiceFlags::from_bits_retain(flags & !(PERSISTENT | HASHED)),
    })
}

pub(super) fn read_stats(table: &Table<'_>) -> Result<Option<Stats>, DecodeError> {
    Stats::newest(table.get(ServiceAttr::Stats64), table.get(ServiceAttr::Stats))
}

#[inline]
pub(super) fn read_info(table: &Table<'_>) -> Result<ServiceInfo, DecodeError> {
    Ok(ServiceInfo { service: read(table)?, stats: read_stats(table)?.unwrap_or_default() })
}
