//! Virtual services, to which clients connect.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::address;
use super::flags::ServiceFlags;
use super::key::ServiceKey;
use super::numbers::{HASHED, PERSISTENT};
use super::persistence::{Netmask, Persistence};
use super::{PersistenceEngine, Scheduler, Stats};
use crate::error::DecodeError;
use crate::net::{Family, InvalidText, Protocol, number, set};
use crate::wire::reader::required;
use crate::wire::{Attr, Attrs, ByNumber, Kind, Laid, Layout, Writer, kinds};

/// A virtual service: the address to which clients connect, and the scheduler that spreads their connections.
///
/// ```
/// use std::time::Duration;
/// use lvs::ipvs::{Scheduler, Service};
///
/// let web = Service::tcp("10.96.0.10:443".parse().unwrap(), Scheduler::WRR);
/// let sticky = web.persistent(Duration::from_secs(600));
/// assert_eq!(sticky.key.to_string(), "10.96.0.10:443/tcp");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
#[doc(alias = "IPVS_CMD_ATTR_SERVICE")]
pub struct Service {
    /// Identity of the service. Another key is another service.
    #[cfg_attr(feature = "serde", serde(rename = "service"))]
    pub key: ServiceKey,
    /// Scheduler of new connections (`IPVS_SVC_ATTR_SCHED_NAME`).
    #[doc(alias = "IPVS_SVC_ATTR_SCHED_NAME")]
    pub scheduler: Scheduler,
    /// Persistence of clients on their destination; `None`: each connection is scheduled by itself.
    #[cfg_attr(feature = "serde", serde(rename = "persistent", default, skip_serializing_if = "Option::is_none"))]
    pub persistence: Option<Persistence>,
    /// Persistence engine, which recognises a client by more than its address (`IPVS_SVC_ATTR_PE_NAME`). It only
    /// affects a persistent service.
    #[doc(alias = "IPVS_SVC_ATTR_PE_NAME")]
    #[cfg_attr(feature = "serde", serde(rename = "pe", default, skip_serializing_if = "Option::is_none"))]
    pub engine: Option<PersistenceEngine>,
    /// The scheduler's flags and one-packet scheduling (`IPVS_SVC_ATTR_FLAGS`).
    #[doc(alias = "IPVS_SVC_ATTR_FLAGS")]
    #[cfg_attr(
        feature = "serde",
        serde(default = "ServiceFlags::empty", skip_serializing_if = "ServiceFlags::is_empty")
    )]
    pub flags: ServiceFlags,
}

impl Service {
    /// Returns a service that is not persistent and has no flags.
    pub fn new(key: ServiceKey, scheduler: Scheduler) -> Self {
        Self { key, scheduler, persistence: None, engine: None, flags: ServiceFlags::empty() }
    }

    /// Returns a TCP service at this address and port.
    pub fn tcp(address: SocketAddr, scheduler: Scheduler) -> Self {
        Self::new(ServiceKey::tcp(address), scheduler)
    }

    /// Returns a UDP service at this address and port.
    pub fn udp(address: SocketAddr, scheduler: Scheduler) -> Self {
        Self::new(ServiceKey::udp(address), scheduler)
    }

    /// Returns an SCTP service at this address and port.
    pub fn sctp(address: SocketAddr, scheduler: Scheduler) -> Self {
        Self::new(ServiceKey::sctp(address), scheduler)
    }

    /// Returns a service for all packets of a family with this firewall mark.
    pub fn firewall_mark(mark: NonZeroU32, family: Family, scheduler: Scheduler) -> Self {
        Self::new(ServiceKey::FirewallMark { mark, family }, scheduler)
    }

    /// Returns a copy that keeps each client at its destination for this [`timeout`](Persistence::timeout).
    #[must_use = "the changed value is returned"]
    pub fn persistent(self, timeout: Duration) -> Self {
        self.persistence(Persistence::new(timeout))
    }

    /// Returns a copy with another scheduler.
    #[must_use = "the changed value is returned"]
    pub fn scheduler(self, scheduler: Scheduler) -> Self {
        Self { scheduler, ..self }
    }

    /// Returns a copy with this persistence; `None`: not persistent.
    #[must_use = "the changed value is returned"]
    pub fn persistence(self, persistence: impl Into<Option<Persistence>>) -> Self {
        Self { persistence: persistence.into(), ..self }
    }

    /// Returns a copy with this persistence engine; `None`: clients are recognised by their address.
    #[must_use = "the changed value is returned"]
    pub fn engine(self, engine: impl Into<Option<PersistenceEngine>>) -> Self {
        Self { engine: engine.into(), ..self }
    }

    /// Returns a copy with exactly these flags.
    #[must_use = "the changed value is returned"]
    pub fn flags(self, flags: ServiceFlags) -> Self {
        Self { flags, ..self }
    }

    /// Fault of a value that the kernel would refuse or misunderstand.
    #[inline]
    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        let of_values = || self.flags_problem().or_else(|| self.port_problem());
        let problem = self.key.problem().or_else(of_values);
        problem.or_else(|| self.persistence.and_then(|persistence| persistence.problem(self.key.family())))
    }

    /// As [`Service::problem`], of the values that differ from `before`. Another program may have set values that this
    /// crate would reject.
    pub(super) fn edited_problem(&self, before: &Self) -> Option<Cow<'static, str>> {
        if self.flags != before.flags {
            if let Some(problem) = self.flags_problem() {
                return Some(problem);
            }
        }
        match self.persistence {
            None => before.persistence.and_then(|_| self.port_problem()),
            Some(persistence) => persistence.edited_problem(before.persistence, self.key.family()),
        }
    }

    #[inline]
    fn flags_problem(&self) -> Option<Cow<'static, str>> {
        if self.flags.intersects(ServiceFlags::from_bits_retain(PERSISTENT | HASHED)) {
            return Some("the flags of persistence and of the kernel itself (0x1, 0x2) cannot be set".into());
        }
        if self.flags.contains(ServiceFlags::ONE_PACKET) && self.key.protocol().is_some_and(|it| it != Protocol::UDP) {
            return Some("one-packet scheduling is only for UDP and firewall-mark services".into());
        }
        None
    }

    #[inline]
    fn port_problem(&self) -> Option<Cow<'static, str>> {
        let any_port = self.key.address().is_some_and(|address| address.port() == 0);
        (any_port && self.persistence.is_none()).then(|| "port 0 (any port) needs a persistent service".into())
    }
}

impl fmt::Display for Service {
    /// Writes the terms of `ipvsadm(8)`: `10.96.0.10:443/tcp wrr persistent 300 mask 255.255.255.0 pe sip flag-1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.scheduler)?;
        if let Some(persistence) = self.persistence {
            match persistence.timeout.subsec_nanos() {
                0 => write!(f, " persistent {}", persistence.timeout.as_secs())?,
                _ => write!(f, " persistent {:?}", persistence.timeout)?,
            }
            if persistence.netmask != Netmask::HOST {
                write!(f, " mask {}", persistence.netmask)?;
            }
        }
        if let Some(engine) = self.engine {
            write!(f, " pe {engine}")?;
        }
        if self.flags.is_empty() { Ok(()) } else { write!(f, " {}", self.flags) }
    }
}

impl FromStr for Service {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes, with the parts after the scheduler in any order. The name
    /// of a scheduler or an engine cannot be read back if it has a blank or is not UTF-8. The same is true of a
    /// scheduler named `inet` or `inet6`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lvs::ipvs::{Scheduler, Service, ServiceKey};
    /// let web: Service = "10.96.0.10:443/tcp wrr persistent 300".parse()?;
    /// let key: ServiceKey = "10.96.0.10:443/tcp".parse()?;
    /// assert_eq!(web, Service::new(key, Scheduler::WRR).persistent(Duration::from_secs(300)));
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        parse(text).ok_or_else(|| InvalidText::new(text, "a service such as 10.0.0.1:80/tcp wrr persistent 300"))
    }
}

fn parse(text: &str) -> Option<Service> {
    let mut words = text.split(' ').peekable();
    let key = ServiceKey::take(&mut words)?;
    let scheduler = words.next().filter(|name| name.parse::<Family>().is_err())?;
    let (mut timeout, mut netmask, mut engine, mut flags) = (None, None, None, None);
    while let Some(word) = words.next() {
        match word {
            "persistent" => set(&mut timeout, number(words.next()?)?)?,
            "mask" => set(&mut netmask, words.next()?.parse().ok()?)?,
            "pe" => set(&mut engine, words.next()?.parse().ok()?)?,
            _ => set(&mut flags, word.parse().ok()?)?,
        }
    }
    if timeout.is_none() && netmask.is_some() {
        return None;
    }
    let persistence = timeout.map(|timeout| Persistence {
        timeout: Duration::from_secs(timeout),
        netmask: netmask.unwrap_or(Netmask::HOST),
    });
    let flags = flags.unwrap_or(ServiceFlags::empty());
    Some(Service { key, scheduler: scheduler.parse().ok()?, persistence, engine, flags })
}

/// A virtual service as the kernel has it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct ServiceInfo {
    /// The service as it was set.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub service: Service,
    /// Traffic through all of its destinations.
    #[cfg_attr(feature = "serde", serde(default))]
    pub stats: Stats,
}

impl ServiceInfo {
    /// Returns a service without traffic, for tests.
    pub fn new(service: Service) -> Self {
        Self { service, stats: Stats::default() }
    }

    /// Returns the key of the service.
    pub fn key(&self) -> ServiceKey {
        self.service.key
    }

    /// Scheduler of new connections.
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

impl From<ServiceInfo> for ServiceKey {
    fn from(info: ServiceInfo) -> Self {
        info.key()
    }
}

impl From<&ServiceInfo> for ServiceKey {
    fn from(info: &ServiceInfo) -> Self {
        info.key()
    }
}

impl fmt::Display for ServiceInfo {
    /// The service, and its counters as [`Stats`] prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.service, self.stats)
    }
}

// The bytes.

kinds! {
    /// Attributes of a virtual service.
    ServiceAttr "IPVS_CMD_ATTR_SERVICE" {
        Family = 1 "IPVS_SVC_ATTR_AF",
        Protocol = 2 "IPVS_SVC_ATTR_PROTOCOL",
        Address = 3 "IPVS_SVC_ATTR_ADDR",
        Port = 4 "IPVS_SVC_ATTR_PORT",
        FirewallMark = 5 "IPVS_SVC_ATTR_FWMARK",
        Scheduler = 6 "IPVS_SVC_ATTR_SCHED_NAME",
        Flags = 7 "IPVS_SVC_ATTR_FLAGS",
        Timeout = 8 "IPVS_SVC_ATTR_TIMEOUT",
        Netmask = 9 "IPVS_SVC_ATTR_NETMASK",
        Stats = 10 "IPVS_SVC_ATTR_STATS",
        Engine = 11 "IPVS_SVC_ATTR_PE_NAME",
        Stats64 = 12 "IPVS_SVC_ATTR_STATS64",
    }
}

impl Service {
    #[inline]
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        self.write_with(out, 0);
    }

    /// Writes it with a flag of the kernel.
    #[inline]
    fn write_with(&self, out: &mut Writer<'_>, own: u32) {
        self.key.write(out);
        self.scheduler.write(out, ServiceAttr::Scheduler);
        let persistence = self.persistence.unwrap_or(Persistence::new(Duration::ZERO));
        if let Some(engine) = self.engine {
            out.text(ServiceAttr::Engine, engine.as_bytes());
        }
        let own = own | if self.persistence.is_some() { PERSISTENT } else { 0 };
        let flags = self.flags.bits() & !(PERSISTENT | HASHED) | own;
        let [f0, f1, f2, f3] = flags.to_ne_bytes();
        let timeout: u32 = persistence.timeout.as_secs().try_into().unwrap_or(u32::MAX);
        let netmask = persistence.netmask.bytes(self.key.family());
        out.together(|out| {
            // The mask says which flags are meant: all of them.
            out.array(ServiceAttr::Flags, &[f0, f1, f2, f3, 255, 255, 255, 255]);
            out.array(ServiceAttr::Timeout, &timeout.to_ne_bytes());
            out.array(ServiceAttr::Netmask, &netmask);
        });
    }
}

impl ServiceInfo {
    /// Writes it as the kernel does.
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        self.service.write_with(out, HASHED);
        self.stats.write_cut(out, ServiceAttr::Stats);
        self.stats.write(out, ServiceAttr::Stats64);
    }
}

/// A service's attributes.
pub(super) type Table<'a> = crate::wire::Table<'a, ServiceAttr, { ServiceAttr::TABLE }>;

/// As the kernel begins a service that has an address.
static FIRST: Layout<4, { ServiceAttr::TABLE }, 44> = Layout::new(&[
    (ServiceAttr::Family as u16, 2),
    (ServiceAttr::Protocol as u16, 2),
    (ServiceAttr::Address as u16, 16),
    (ServiceAttr::Port as u16, 2),
]);

/// As the kernel ends a service, where it need not pad numbers of 64 bits. The names are before.
static LAST: Layout<5, { ServiceAttr::TABLE }, 244> = Layout::new(&[
    (ServiceAttr::Flags as u16, 8),
    (ServiceAttr::Timeout as u16, 4),
    (ServiceAttr::Netmask as u16, 4),
    (ServiceAttr::Stats as u16, 88),
    (ServiceAttr::Stats64 as u16, 120),
]);

/// A service with the usual layouts.
struct Usual<'a> {
    first: Laid<'a, { ServiceAttr::TABLE }, 44>,
    names: Table<'a>,
    last: Laid<'a, { ServiceAttr::TABLE }, 244>,
}

impl<'a> Usual<'a> {
    #[inline(always)]
    fn of(attrs: &Attrs<'a, ServiceAttr>) -> Option<Self> {
        let (first, rest) = FIRST.first_of(attrs)?;
        let (names, last) = LAST.last_of(&rest)?;
        Some(Self { first, names: Table::of(names).ok()?, last })
    }
}

impl<'a> ByNumber<'a, ServiceAttr> for Usual<'a> {
    #[inline(always)]
    fn get(&self, kind: ServiceAttr) -> Option<Attr<'a, ServiceAttr>> {
        self.first.get(kind).or_else(|| self.last.get(kind)).or_else(|| self.names.get(kind))
    }
}

/// Reads a listed service. `take` can place it where it stays, without a copy in between.
#[inline]
pub(super) fn listed(attrs: Attrs<'_, ServiceAttr>, take: impl FnOnce(ServiceInfo)) -> Result<(), DecodeError> {
    match Usual::of(&attrs) {
        Some(usual) => take(read_info(&usual)?),
        None => take(read_unusual(attrs)?),
    }
    Ok(())
}

#[cold]
fn read_unusual(attrs: Attrs<'_, ServiceAttr>) -> Result<ServiceInfo, DecodeError> {
    read_info(&Table::of(attrs)?)
}

/// As [`listed`], the key alone.
#[inline]
pub(super) fn listed_key(attrs: Attrs<'_, ServiceAttr>) -> Result<ServiceKey, DecodeError> {
    match FIRST.first_of(&attrs) {
        Some((usual, _)) => read_key(&usual),
        None => read_key(&Table::of(attrs)?),
    }
}

#[inline(always)]
pub(super) fn read_key<'a>(table: &impl ByNumber<'a, ServiceAttr>) -> Result<ServiceKey, DecodeError> {
    let family = Family::read(&table.need(ServiceAttr::Family)?)?;
    if let Some(mark) = table.read(ServiceAttr::FirewallMark, Attr::u32_ne)?.and_then(NonZeroU32::new) {
        return Ok(ServiceKey::FirewallMark { mark, family });
    }
    let protocol = Protocol(table.need(ServiceAttr::Protocol)?.u16_ne()?);
    let address = address::read(&table.need(ServiceAttr::Address)?, family)?;
    let port = table.need(ServiceAttr::Port)?.u16_be()?;
    Ok(ServiceKey::Address { protocol, address: SocketAddr::new(address, port) })
}

#[inline(always)]
pub(super) fn read<'a>(table: &impl ByNumber<'a, ServiceAttr>) -> Result<Service, DecodeError> {
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

#[inline(always)]
pub(super) fn read_stats<'a>(table: &impl ByNumber<'a, ServiceAttr>) -> Result<Option<Stats>, DecodeError> {
    Stats::newest(table.get(ServiceAttr::Stats64), table.get(ServiceAttr::Stats))
}

#[inline(always)]
pub(super) fn read_info<'a>(table: &impl ByNumber<'a, ServiceAttr>) -> Result<ServiceInfo, DecodeError> {
    Ok(ServiceInfo { service: read(table)?, stats: read_stats(table)?.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::writer::written;

    #[test]
    fn a_service_as_the_kernel_writes_it_has_the_usual_places() {
        let key = ServiceKey::tcp("10.0.0.1:443".parse().unwrap());
        let mut info = ServiceInfo::new(Service::new(key, Scheduler::RR));
        assert!(Usual::of(&Attrs::new(&written(|out| info.write(out)))).is_some());
        info.service.scheduler = Scheduler::LBLCR;
        info.service.engine = Some(PersistenceEngine::SIP);
        assert!(Usual::of(&Attrs::new(&written(|out| info.write(out)))).is_some());
    }
}
