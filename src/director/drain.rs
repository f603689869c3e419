//! Drains of destinations that are no longer desired.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::ipvs::{DestinationInfo, ServiceKey};
use crate::net::Protocol;

/// Removal of destinations that are no longer desired: quiesce, wait, delete.
///
/// The weight is set to 0 (quiesced), so that the destination gets no new connections. It is deleted when it is idle,
/// or when the deadline has passed. The weight is stored in the kernel, and survives the end of this process. The
/// deadline is stored in the [`Director`](super::Director): a new one begins it again when it first finds the
/// destination.
///
/// ```
/// use std::time::Duration;
/// use lvs::director::{Drain, Until};
///
/// let minute = Drain::within(Duration::from_secs(60));
/// assert_eq!((minute.until, minute.datagrams), (Until::Idle, false));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Drain {
    /// The state in which the destination is deleted.
    pub until: Until,
    /// Time after which it is deleted in any state; zero deletes immediately. A time that the clock cannot represent,
    /// such as `Duration::from_secs(u64::MAX)`, never passes.
    #[cfg_attr(feature = "serde", serde(with = "crate::net::seconds"))]
    pub deadline: Duration,
    /// Whether destinations of UDP, SCTP and other services than TCP drain, too. Otherwise they are deleted immediately: IPVS
    /// cannot detect the end of a UDP flow. Services by firewall mark drain in either case.
    ///
    /// The kernel counts a UDP flow as inactive, until no packet has arrived for the UDP timeout (5 minutes, see
    /// [`Timeouts`](crate::ipvs::Timeouts)). [`Until::Idle`] waits for that, except for services of TCP and SCTP.
    pub datagrams: bool,
}

/// State in which a draining destination is deleted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Until {
    /// No established connection (`ActiveConn` of `ipvsadm -L`), and with [`Drain::datagrams`](field@Drain::datagrams)
    /// no flow of UDP.
    ///
    /// The kernel also counts a handshake that has not ended (`SYN_RECV`), for a minute or longer.
    #[default]
    Idle,
    /// Also no connection in another state, such as `TIME_WAIT` (`InActConn`).
    Forgotten,
    /// Also no client that persistence keeps (`PersistConn`).
    Unpinned,
}

impl Drain {
    /// Deletes immediately. Established connections stall. With the sysctl `expire_nodest_conn` IPVS forgets them, and
    /// the next packet of a TCP connection is answered with a reset.
    pub const NONE: Self = Self { until: Until::Idle, deadline: Duration::ZERO, datagrams: false };

    /// Returns a drain that ends when the destination has no established connection, at the latest after this time.
    pub fn within(deadline: Duration) -> Self {
        Self { deadline, ..Self::NONE }
    }

    /// Returns a copy that ends in this state.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lvs::director::{Drain, Until};
    /// let drain = Drain::within(Duration::from_secs(60)).until(Until::Forgotten);
    /// assert_eq!(drain.until, Until::Forgotten);
    /// ```
    #[must_use]
    pub fn until(self, until: Until) -> Self {
        Self { until, ..self }
    }

    /// Sets whether destinations of services other than TCP drain, too: see [`Drain::datagrams`](field@Drain::datagrams).
    #[must_use]
    pub fn datagrams(self, datagrams: bool) -> Self {
        Self { datagrams, ..self }
    }

    /// Whether a destination of this service is quiesced before it is deleted.
    pub(super) fn applies_to(&self, key: ServiceKey) -> bool {
        let waits = self.datagrams || key.protocol().is_none_or(|protocol| protocol == Protocol::TCP);
        waits && !self.deadline.is_zero()
    }

    /// Whether a destination of this service, without new connections, can be deleted.
    pub(super) fn is_over(&self, key: ServiceKey, info: &DestinationInfo) -> bool {
        let DestinationInfo { active_connections, inactive_connections, persistent_connections, .. } = *info;
        // The kernel calls connections of these protocols active while they are established, and of others never.
        let has_states = matches!(key.protocol(), Some(Protocol::TCP | Protocol::SCTP));
        let counted = match self.until {
            Until::Idle if self.datagrams && !has_states => [active_connections, inactive_connections, 0],
            Until::Idle => [active_connections, 0, 0],
            Until::Forgotten => [active_connections, inactive_connections, 0],
            Until::Unpinned => [active_connections, inactive_connections, persistent_connections],
        };
        counted == [0; 3]
    }
}

/// Drains until no connection is established, for at most 15 minutes; only TCP and services by firewall mark.
impl Default for Drain {
    fn default() -> Self {
        Self::within(Duration::from_secs(15 * 60))
    }
}

/// The time at which each drain began.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Drains(BTreeMap<(ServiceKey, SocketAddr), Instant>);

impl Drains {
    /// Returns the time at which the destination was first found and not desired.
    ///
    /// ```
    /// # use lvs::director::Drains;
    /// # use lvs::ipvs::ServiceKey;
    /// // Before the first call, nothing drains.
    /// let since = Drains::default().since(ServiceKey::tcp("10.96.0.10:80".parse()?), "10.244.1.7:80".parse()?);
    /// assert_eq!(since, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn since(&self, service: ServiceKey, destination: SocketAddr) -> Option<Instant> {
        self.0.get(&(service, destination)).copied()
    }

    /// The services that have drains.
    pub(super) fn services(&self) -> Vec<ServiceKey> {
        let mut services: Vec<_> = self.0.keys().map(|(service, _)| *service).collect();
        services.dedup();
        services
    }

    /// Replaces the drains by these.
    pub(super) fn set(&mut self, draining: &[Draining]) {
        self.0 = draining.iter().map(|drain| ((drain.service, drain.destination), drain.since)).collect();
    }
}

/// A destination that is quiesced and not deleted yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Draining {
    /// The service.
    pub service: ServiceKey,
    /// The destination.
    pub destination: SocketAddr,
    /// The time at which it began.
    pub since: Instant,
    /// The time at which the destination is deleted at the latest; `None` if the clock cannot represent it.
    pub deadline: Option<Instant>,
    /// Connections when the table was read: see [`DestinationInfo`].
    pub connections: Connections,
}

/// Numbers of connections to a destination: see [`DestinationInfo`].
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Connections {
    /// Established connections of TCP and SCTP.
    pub active: u32,
    /// Other connections, such as flows of UDP.
    pub inactive: u32,
    /// Clients that persistence keeps.
    pub persistent: u32,
}

impl From<&DestinationInfo> for Connections {
    fn from(info: &DestinationInfo) -> Self {
        Self {
            active: info.active_connections,
            inactive: info.inactive_connections,
            persistent: info.persistent_connections,
        }
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { active, inactive, persistent } = self;
        write!(f, "active {active} inactive {inactive} persistent {persistent}")
    }
}

impl fmt::Display for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, destination, connections, .. } = self;
        write!(f, "destination {destination} of service {service}: draining, {connections}")
    }
}
