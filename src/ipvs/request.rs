//! Changes and queries of the kernel's table, as values.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use nix::libc::ENOENT;

use super::daemon::{SyncDaemon, SyncState};
use super::destination::{self, Destination};
use super::key::ServiceKey;
use super::numbers::{Command, FAMILY, MODULE, VERSION, command};
use super::service::Service;
use super::timeouts::Timeouts;
use crate::connection::{Exchange, Prepared, Request};
use crate::error::{Cause, DecodeError, Error, Reason, Refusal, Refused, Result};
use crate::wire::message::NOOP;
use crate::wire::{Writer, genl};

/// One change of the kernel's table, as a value.
///
/// [`Ipvs::change`](super::Ipvs::change) carries it out, [`Ipvs::batch`](super::Ipvs::batch) carries out many.
///
/// Its text names the operation and the object; the alternate form has the values, too:
///
/// ```
/// # use lvs::ipvs::{Change, Destination, ServiceKey};
/// let key: ServiceKey = "10.96.0.10:443/tcp".parse()?;
/// let quiesce = Change::SetDestination(key, Destination::new("10.9.1.1:80".parse()?).weight(0));
/// assert_eq!(quiesce.to_string(), "set destination 10.9.1.1:80 of service 10.96.0.10:443/tcp");
/// assert_eq!(format!("{quiesce:#}"), "set destination 10.9.1.1:80 masq weight 0 of service 10.96.0.10:443/tcp");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Change {
    /// Adds a virtual service (`IPVS_CMD_NEW_SERVICE`).
    #[doc(alias = "IPVS_CMD_NEW_SERVICE")]
    AddService(Service),
    /// Sets everything of a virtual service but its key (`IPVS_CMD_SET_SERVICE`).
    #[doc(alias = "IPVS_CMD_SET_SERVICE")]
    SetService(Service),
    /// Deletes a virtual service and its destinations (`IPVS_CMD_DEL_SERVICE`).
    #[doc(alias = "IPVS_CMD_DEL_SERVICE")]
    DeleteService(ServiceKey),
    /// Adds a destination to a service (`IPVS_CMD_NEW_DEST`).
    #[doc(alias = "IPVS_CMD_NEW_DEST")]
    #[cfg_attr(feature = "serde", serde(with = "of_service"))]
    AddDestination(ServiceKey, Destination),
    /// Sets everything of a destination but its address (`IPVS_CMD_SET_DEST`).
    #[doc(alias = "IPVS_CMD_SET_DEST")]
    #[cfg_attr(feature = "serde", serde(with = "of_service"))]
    SetDestination(ServiceKey, Destination),
    /// Deletes a destination of a service (`IPVS_CMD_DEL_DEST`).
    #[doc(alias = "IPVS_CMD_DEL_DEST")]
    #[cfg_attr(feature = "serde", serde(with = "of_service_address"))]
    DeleteDestination(ServiceKey, SocketAddr),
    /// Sets the counters of a service and its destinations to zero (`IPVS_CMD_ZERO`).
    #[doc(alias = "IPVS_CMD_ZERO")]
    Zero(ServiceKey),
    /// Sets all counters to zero (`IPVS_CMD_ZERO`).
    ZeroAll,
    /// Deletes all services of the network namespace (`IPVS_CMD_FLUSH`).
    #[doc(alias = "IPVS_CMD_FLUSH")]
    Clear,
    /// Sets the timeouts of connections (`IPVS_CMD_SET_CONFIG`).
    #[doc(alias = "IPVS_CMD_SET_CONFIG")]
    SetTimeouts(Timeouts),
    /// Starts a sync daemon (`IPVS_CMD_NEW_DAEMON`).
    #[doc(alias = "IPVS_CMD_NEW_DAEMON")]
    StartDaemon(SyncDaemon),
    /// Stops a sync daemon (`IPVS_CMD_DEL_DAEMON`).
    #[doc(alias = "IPVS_CMD_DEL_DAEMON")]
    StopDaemon(SyncState),
}

impl Change {
    /// Checks, without the kernel, that the kernel accepts the change and stores it as asked.
    ///
    /// [`Ipvs`](super::Ipvs) checks every change before sending it. A program that sends a [`Message`](super::Message)
    /// by other means should do the same.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input), with the fault.
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.problem().map_or(Ok(()), |problem| Err(Error::new(self, Cause::InvalidInput(problem))))
    }

    /// Checks the change for a program with its own transport. The family's number is the reply to [`Query::prepare_family`].
    ///
    /// # Errors
    /// As [`Change::check`].
    pub fn prepare(self, family: u16) -> Result<Prepared<'static>> {
        Prepared::new(ToFamily { family, request: self, trusted: false })
    }

    #[inline]
    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::AddService(service) | Self::SetService(service) => service.problem(),
            Self::AddDestination(key, destination) | Self::SetDestination(key, destination) => destination.problem(key),
            Self::SetTimeouts(timeouts) => timeouts.problem(),
            Self::StartDaemon(daemon) => daemon.problem(),
            Self::DeleteService(key) | Self::Zero(key) => key.problem(),
            Self::DeleteDestination(key, address) => key.problem().or_else(|| destination::address_problem(*address)),
            Self::ZeroAll | Self::Clear | Self::StopDaemon(_) => None,
        }
    }
}

impl fmt::Display for Change {
    /// The operation and the object; in the alternate form (`{:#}`), also the values that it sets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(service) if f.alternate() => write!(f, "add service {service}"),
            Self::SetService(service) if f.alternate() => write!(f, "set service {service}"),
            Self::AddDestination(key, destination) if f.alternate() => {
                write!(f, "add destination {destination} to service {key}")
            }
            Self::SetDestination(key, destination) if f.alternate() => {
                write!(f, "set destination {destination} of service {key}")
            }
            Self::AddService(service) => write!(f, "add service {}", service.key),
            Self::SetService(service) => write!(f, "set service {}", service.key),
            Self::DeleteService(key) => write!(f, "delete service {key}"),
            Self::AddDestination(key, destination) => {
                write!(f, "add destination {} to service {key}", destination.address)
            }
            Self::SetDestination(key, destination) => {
                write!(f, "set destination {} of service {key}", destination.address)
            }
            Self::DeleteDestination(key, address) => write!(f, "delete destination {address} of service {key}"),
            Self::Zero(key) => write!(f, "zero the counters of service {key}"),
            Self::ZeroAll => f.write_str("zero all counters"),
            Self::Clear => f.write_str("delete all services"),
            Self::SetTimeouts(timeouts) => write!(f, "set the timeouts {timeouts}"),
            Self::StartDaemon(daemon) => write!(f, "start the {} sync daemon on {}", daemon.state, daemon.interface),
            Self::StopDaemon(state) => write!(f, "stop the {state} sync daemon"),
        }
    }
}

/// A question to the kernel.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Query {
    /// One virtual service (`IPVS_CMD_GET_SERVICE`).
    #[doc(alias = "IPVS_CMD_GET_SERVICE")]
    Service(ServiceKey),
    /// All virtual services (`IPVS_CMD_GET_SERVICE` as a dump).
    Services,
    /// All destinations of a service (`IPVS_CMD_GET_DEST`, a dump).
    #[doc(alias = "IPVS_CMD_GET_DEST")]
    Destinations(ServiceKey),
    /// The version and the size of the connection table (`IPVS_CMD_GET_INFO`).
    #[doc(alias = "IPVS_CMD_GET_INFO")]
    Version,
    /// The timeouts of connections (`IPVS_CMD_GET_CONFIG`).
    #[doc(alias = "IPVS_CMD_GET_CONFIG")]
    Timeouts,
    /// The sync daemons that run (`IPVS_CMD_GET_DAEMON`, a dump).
    #[doc(alias = "IPVS_CMD_GET_DAEMON")]
    Daemons,
}

impl Query {
    /// Whether it must be sent with `NLM_F_DUMP`.
    pub fn is_dump(&self) -> bool {
        matches!(self, Self::Services | Self::Destinations(_) | Self::Daemons)
    }

    /// Checks that the kernel has an attribute for each part of the key, as [`Change::check`] does.
    /// [`Ipvs`](super::Ipvs) checks every query before sending it.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input), with the part that cannot be sent.
    pub fn check(&self) -> Result<()> {
        self.problem().map_or(Ok(()), |problem| Err(Error::new(self, Cause::InvalidInput(problem))))
    }

    /// Checks the query for a program with its own transport. [`Message::decode`](super::Message::decode) reads the answers.
    ///
    /// # Errors
    /// As [`Query::check`].
    pub fn prepare(self, family: u16) -> Result<Prepared<'static>> {
        Prepared::new(ToFamily { family, request: self, trusted: false })
    }

    /// Returns the request for the number of the family `IPVS` (`CTRL_CMD_GETFAMILY`). The kernel loads its module if it can, and
    /// assigns another number with each load. [`Query::read_family`] reads the answer.
    ///
    /// # Errors
    /// None.
    #[doc(alias = "CTRL_CMD_GETFAMILY")]
    pub fn prepare_family() -> Result<Prepared<'static>> {
        Prepared::new(FindFamily)
    }

    /// Reads the answer to [`Query::prepare_family`] (`CTRL_ATTR_FAMILY_ID`).
    ///
    /// # Errors
    /// [`DecodeError`] for a body that is malformed or lacks the number.
    pub fn read_family(body: &[u8]) -> Result<u16, DecodeError> {
        genl::family_reply(body)
    }

    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Service(key) | Self::Destinations(key) => key.problem(),
            Self::Services | Self::Version | Self::Timeouts | Self::Daemons => None,
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => write!(f, "read service {key}"),
            Self::Services => f.write_str("list services"),
            Self::Destinations(key) => write!(f, "list destinations of service {key}"),
            Self::Version => f.write_str("read the version of IPVS"),
            Self::Timeouts => f.write_str("read the timeouts"),
            Self::Daemons => f.write_str("list the sync daemons"),
        }
    }
}

/// Serialised form of a destination of a service: the fields of the destination, and the service.
#[cfg(feature = "serde")]
mod of_service {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Destination, ServiceKey};

    #[derive(Deserialize, Serialize)]
    struct OfService {
        service: ServiceKey,
        #[serde(flatten)]
        destination: Destination,
    }

    pub(super) fn serialize<S: Serializer>(
        service: &ServiceKey,
        destination: &Destination,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        OfService { service: *service, destination: *destination }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<(ServiceKey, Destination), D::Error> {
        OfService::deserialize(deserializer).map(|of| (of.service, of.destination))
    }
}

/// Serialised form of a destination's address and its service.
#[cfg(feature = "serde")]
mod of_service_address {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ServiceKey;

    #[derive(Deserialize, Serialize)]
    struct OfService {
        service: ServiceKey,
        address: SocketAddr,
    }

    pub(super) fn serialize<S: Serializer>(
        service: &ServiceKey,
        address: &SocketAddr,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        OfService { service: *service, address: *address }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<(ServiceKey, SocketAddr), D::Error> {
        OfService::deserialize(deserializer).map(|of| (of.service, of.address))
    }
}

// The bytes.

impl Change {
    pub(super) fn command(&self) -> u8 {
        match self {
            Self::AddService(_) => command::NEW_SERVICE,
            Self::SetService(_) => command::SET_SERVICE,
            Self::DeleteService(_) => command::DEL_SERVICE,
            Self::AddDestination(..) => command::NEW_DEST,
            Self::SetDestination(..) => command::SET_DEST,
            Self::DeleteDestination(..) => command::DEL_DEST,
            Self::Zero(_) | Self::ZeroAll => command::ZERO,
            Self::Clear => command::FLUSH,
            Self::SetTimeouts(_) => command::SET_CONFIG,
            Self::StartDaemon(_) => command::NEW_DAEMON,
            Self::StopDaemon(_) => command::DEL_DAEMON,
        }
    }

    pub(super) fn write_attributes(&self, out: &mut Writer<'_>) {
        match self {
            Self::AddService(service) | Self::SetService(service) => {
                out.nest(Command::Service, |out| service.write(out));
            }
            Self::DeleteService(key) | Self::Zero(key) => out.nest(Command::Service, |out| key.write(out)),
            Self::AddDestination(key, destination) | Self::SetDestination(key, destination) => {
                out.nest(Command::Service, |out| key.write(out));
                out.nest(Command::Destination, |out| destination.write(out));
            }
            Self::DeleteDestination(key, address) => {
                out.nest(Command::Service, |out| key.write(out));
                out.nest(Command::Destination, |out| destination::write_key(out, *address));
            }
            Self::ZeroAll | Self::Clear => {}
            Self::SetTimeouts(timeouts) => timeouts.write(out),
            Self::StartDaemon(daemon) => out.nest(Command::Daemon, |out| daemon.write(out)),
            Self::StopDaemon(state) => out.nest(Command::Daemon, |out| state.write(out)),
        }
    }
}

impl Query {
    pub(super) fn command(&self) -> u8 {
        match self {
            Self::Service(_) | Self::Services => command::GET_SERVICE,
            Self::Destinations(_) => command::GET_DEST,
            Self::Version => command::GET_INFO,
            Self::Timeouts => command::GET_CONFIG,
            Self::Daemons => command::GET_DAEMON,
        }
    }

    #[inline]
    pub(super) fn write_attributes(&self, out: &mut Writer<'_>) {
        match self {
            Self::Service(key) | Self::Destinations(key) => out.nest(Command::Service, |out| key.write(out)),
            Self::Services | Self::Version | Self::Timeouts | Self::Daemons => {}
        }
    }
}

/// A change or a query to the generic netlink family of IPVS.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToFamily<R> {
    /// The family's number, which is another one after each loading of the module.
    pub(super) family: u16,
    pub(super) request: R,
    /// The values were checked, or are in the kernel already: sent without a check.
    pub(super) trusted: bool,
}

impl<R: fmt::Display> fmt::Display for ToFamily<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

impl Request for ToFamily<Change> {
    fn check(&self) -> Result<(), Cause> {
        match self.request.problem() {
            Some(problem) if !self.trusted => Err(Cause::InvalidInput(problem)),
            _ => Ok(()),
        }
    }

    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        exchange.queue_with(self.family, 0, |out| {
            genl::write_header(out, self.request.command(), VERSION);
            self.request.write_attributes(out);
        })?;
        let Change::StopDaemon(_) = self.request else { return Ok(1) };
        // A daemon that is stopped before it has begun ends with EINTR, and netlink does not report that one error. The
        // request after it is answered.
        exchange.queue_with(NOOP, 0, |_| {})?;
        Ok(2)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        self.request.refused(refusal)
    }
}

impl Request for ToFamily<Query> {
    #[inline]
    fn check(&self) -> Result<(), Cause> {
        self.request.problem().map_or(Ok(()), |problem| Err(Cause::InvalidInput(problem)))
    }

    #[inline]
    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        let body = |out: &mut Writer<'_>| {
            genl::write_header(out, self.request.command(), VERSION);
            self.request.write_attributes(out);
        };
        if self.request.is_dump() {
            exchange.queue_dump_with(self.family, body)?;
        } else {
            exchange.queue_with(self.family, 0, body)?;
        }
        Ok(1)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        self.request.refused(refusal)
    }

    fn is_dump(&self) -> bool {
        self.request.is_dump()
    }
}

/// The look-up of the family's number.
pub(super) struct FindFamily;

impl fmt::Display for FindFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("look up the netlink family IPVS")
    }
}

impl Request for FindFamily {
    fn check(&self) -> Result<(), Cause> {
        Ok(())
    }

    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        exchange.queue_with(genl::CONTROLLER, 0, |out| out.raw(&genl::family_request(FAMILY)))?;
        Ok(1)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        if refusal.errno != ENOENT {
            return Refused::unexplained(refusal);
        }
        let explanation =
            format!("this kernel has no netlink family {FAMILY}: load its module with `modprobe {MODULE}` (as root)");
        Refused::new(Reason::Unavailable, explanation, refusal)
    }
}
