//! What travels: changes and questions to the kernel, and its answers.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use super::daemon::{self, SyncDaemon, SyncState};
use super::destination::{self, Destination, DestinationInfo};
use super::numbers::{Command, InfoAttr, VERSION, command};
use super::service::{self, Service, ServiceInfo, ServiceKey};
use super::timeouts::Timeouts;
use crate::error::{Cause, DecodeError, Error, Result};
use crate::wire::reader::required;
use crate::wire::{Attrs, Kind, Writer, genl};

/// One change of the kernel's table, as a value: carried out by [`Ipvs::change`](super::Ipvs::change) or, with others,
/// by [`Ipvs::batch`](super::Ipvs::batch).
///
/// Its text says what it does: `add service 10.0.0.1:80/tcp`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Adds a virtual service (`IPVS_CMD_NEW_SERVICE`).
    #[doc(alias = "IPVS_CMD_NEW_SERVICE")]
    AddService(Service),
    /// Replaces everything that is set of a virtual service but its key (`IPVS_CMD_SET_SERVICE`).
    #[doc(alias = "IPVS_CMD_SET_SERVICE")]
    ReplaceService(Service),
    /// Deletes a virtual service and its destinations (`IPVS_CMD_DEL_SERVICE`).
    #[doc(alias = "IPVS_CMD_DEL_SERVICE")]
    DeleteService(ServiceKey),
    /// Adds a destination to a service (`IPVS_CMD_NEW_DEST`).
    #[doc(alias = "IPVS_CMD_NEW_DEST")]
    AddDestination(ServiceKey, Destination),
    /// Replaces everything that is set of a destination but its address (`IPVS_CMD_SET_DEST`).
    #[doc(alias = "IPVS_CMD_SET_DEST")]
    ReplaceDestination(ServiceKey, Destination),
    /// Deletes a destination of a service (`IPVS_CMD_DEL_DEST`).
    #[doc(alias = "IPVS_CMD_DEL_DEST")]
    DeleteDestination(ServiceKey, SocketAddr),
    /// Sets the counters of a service and its destinations to zero (`IPVS_CMD_ZERO`).
    #[doc(alias = "IPVS_CMD_ZERO")]
    Zero(ServiceKey),
    /// Sets all counters to zero (`IPVS_CMD_ZERO`).
    ZeroAll,
    /// Deletes all services of the network namespace (`IPVS_CMD_FLUSH`).
    #[doc(alias = "IPVS_CMD_FLUSH")]
    Flush,
    /// Sets how long connections are remembered (`IPVS_CMD_SET_CONFIG`).
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
    /// Finds what the kernel would refuse, or take for something else than was meant, as far as that can be known
    /// without asking it. [`Ipvs`](super::Ipvs) checks every change before sending it; who sends a [`Message`] by other
    /// means should do the same.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input), with what is wrong.
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.problem().map_or(Ok(()), |problem| Err(Error::new(self, Cause::InvalidInput(problem))))
    }

    #[inline]
    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::AddService(service) | Self::ReplaceService(service) => service.problem(),
            Self::AddDestination(key, destination) | Self::ReplaceDestination(key, destination) => {
                destination.problem(key)
            }
            Self::SetTimeouts(timeouts) => timeouts.problem(),
            Self::StartDaemon(daemon) => daemon.problem(),
            Self::DeleteService(key) | Self::Zero(key) => key.problem(),
            Self::DeleteDestination(key, address) => key.problem().or_else(|| destination::address_problem(*address)),
            Self::ZeroAll | Self::Flush | Self::StopDaemon(_) => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(service) => write!(f, "add service {}", service.key),
            Self::ReplaceService(service) => write!(f, "replace service {}", service.key),
            Self::DeleteService(key) => write!(f, "delete service {key}"),
            Self::AddDestination(key, destination) => {
                write!(f, "add destination {} to service {key}", destination.address)
            }
            Self::ReplaceDestination(key, destination) => {
                write!(f, "replace destination {} of service {key}", destination.address)
            }
            Self::DeleteDestination(key, address) => write!(f, "delete destination {address} of service {key}"),
            Self::Zero(key) => write!(f, "zero the counters of service {key}"),
            Self::ZeroAll => f.write_str("zero all counters"),
            Self::Flush => f.write_str("flush all services"),
            Self::SetTimeouts(timeouts) => write!(f, "set the timeouts {timeouts}"),
            Self::StartDaemon(daemon) => write!(f, "start the {} sync daemon on {}", daemon.state, daemon.interface),
            Self::StopDaemon(state) => write!(f, "stop the {state} sync daemon"),
        }
    }
}

/// A question to the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
    Info,
    /// How long connections are remembered (`IPVS_CMD_GET_CONFIG`).
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

    /// Finds parts of the key that the kernel has no attribute for, as [`Change::check`] does.
    /// [`Ipvs`](super::Ipvs) checks every query before sending it.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input), with the part that cannot be sent.
    pub fn check(&self) -> Result<()> {
        self.problem().map_or(Ok(()), |problem| Err(Error::new(self, Cause::InvalidInput(problem))))
    }

    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Service(key) | Self::Destinations(key) => key.problem(),
            Self::Services | Self::Info | Self::Timeouts | Self::Daemons => None,
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => write!(f, "read service {key}"),
            Self::Services => f.write_str("list services"),
            Self::Destinations(key) => write!(f, "list destinations of service {key}"),
            Self::Info => f.write_str("read the version of IPVS"),
            Self::Timeouts => f.write_str("read the timeouts"),
            Self::Daemons => f.write_str("list the sync daemons"),
        }
    }
}

/// What the kernel answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// A virtual service.
    Service(ServiceInfo),
    /// A destination of the service that was asked about.
    Destination(DestinationInfo),
    /// The version and the size of the connection table.
    Info(Info),
    /// How long connections are remembered.
    Timeouts(Timeouts),
    /// A sync daemon that runs.
    Daemon(SyncDaemon),
}

/// The kernel's IPVS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Info {
    /// Its version, such as 1.2.1: major, minor, patch (`IPVS_INFO_ATTR_VERSION`).
    #[doc(alias = "IPVS_INFO_ATTR_VERSION")]
    pub version: (u8, u8, u8),
    /// How many buckets the connection table has (`IPVS_INFO_ATTR_CONN_TAB_SIZE`). Fixed up to Linux 6.12; on 7.x it
    /// grows and is 0 before the first service.
    #[doc(alias = "IPVS_INFO_ATTR_CONN_TAB_SIZE")]
    pub connection_table_size: u32,
}

/// A message of the generic netlink family `IPVS`, to or from the kernel.
///
/// For those who bring their own transport; they should [`check`](Change::check) what they send. It has the traits of the rust-netlink crates (`GenlFamily`, `Emitable`,
/// `ParseableParametrized`), so that it travels in a `GenlMessage` with `netlink-proto` and `genetlink`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Message {
    /// To the kernel: change the table. Wants `NLM_F_ACK`.
    Change(Change),
    /// To the kernel: tell. Wants `NLM_F_DUMP` if [`Query::is_dump`].
    Query(Query),
    /// From the kernel.
    Answer(Answer),
}

impl From<Change> for Message {
    fn from(change: Change) -> Self {
        Self::Change(change)
    }
}

impl From<Query> for Message {
    fn from(query: Query) -> Self {
        Self::Query(query)
    }
}

impl From<Answer> for Message {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

// The bytes.

impl Change {
    fn command(&self) -> u8 {
        match self {
            Self::AddService(_) => command::NEW_SERVICE,
            Self::ReplaceService(_) => command::SET_SERVICE,
            Self::DeleteService(_) => command::DEL_SERVICE,
            Self::AddDestination(..) => command::NEW_DEST,
            Self::ReplaceDestination(..) => command::SET_DEST,
            Self::DeleteDestination(..) => command::DEL_DEST,
            Self::Zero(_) | Self::ZeroAll => command::ZERO,
            Self::Flush => command::FLUSH,
            Self::SetTimeouts(_) => command::SET_CONFIG,
            Self::StartDaemon(_) => command::NEW_DAEMON,
            Self::StopDaemon(_) => command::DEL_DAEMON,
        }
    }

    /// The generic netlink header and the attributes.
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        genl::write_header(out, self.command(), VERSION);
        self.write_attributes(out);
    }

    fn write_attributes(&self, out: &mut Writer<'_>) {
        match self {
            Self::AddService(service) | Self::ReplaceService(service) => {
                out.nest(Command::Service, |out| service.write(out));
            }
            Self::DeleteService(key) | Self::Zero(key) => out.nest(Command::Service, |out| key.write(out)),
            Self::AddDestination(key, destination) | Self::ReplaceDestination(key, destination) => {
                out.nest(Command::Service, |out| key.write(out));
                out.nest(Command::Destination, |out| destination.write(out));
            }
            Self::DeleteDestination(key, address) => {
                out.nest(Command::Service, |out| key.write(out));
                out.nest(Command::Destination, |out| destination::write_key(out, *address));
            }
            Self::ZeroAll | Self::Flush => {}
            Self::SetTimeouts(timeouts) => timeouts.write(out),
            Self::StartDaemon(daemon) => out.nest(Command::Daemon, |out| daemon.write(out)),
            Self::StopDaemon(state) => out.nest(Command::Daemon, |out| state.write(out)),
        }
    }
}

impl Query {
    fn command(&self) -> u8 {
        match self {
            Self::Service(_) | Self::Services => command::GET_SERVICE,
            Self::Destinations(_) => command::GET_DEST,
            Self::Info => command::GET_INFO,
            Self::Timeouts => command::GET_CONFIG,
            Self::Daemons => command::GET_DAEMON,
        }
    }

    /// The generic netlink header and the attributes.
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        genl::write_header(out, self.command(), VERSION);
        self.write_attributes(out);
    }

    fn write_attributes(&self, out: &mut Writer<'_>) {
        match self {
            Self::Service(key) | Self::Destinations(key) => out.nest(Command::Service, |out| key.write(out)),
            Self::Services | Self::Info | Self::Timeouts | Self::Daemons => {}
        }
    }
}

/// Reads an answer, or nothing if it is a message that is no answer to anything.
pub(super) fn answer(body: &[u8]) -> Result<Option<Answer>, DecodeError> {
    Ok(match Message::read(body)? {
        Message::Answer(answer) => Some(answer),
        // Without statistics it looks just like a request.
        Message::Change(Change::AddService(service)) => Some(Answer::Service(ServiceInfo::new(service))),
        _ => None,
    })
}

// The same for the lists that are long, of which nothing is read but what is wanted.

pub(super) fn service(body: &[u8]) -> Result<Option<ServiceInfo>, DecodeError> {
    listed(body, command::NEW_SERVICE, Command::Service, |mut attrs| {
        let mut table = service::Table::new();
        table.fill_usual(&mut attrs, &service::FIRST);
        table.fill(attrs)?;
        service::read_info(&table)
    })
}

pub(super) fn service_key(body: &[u8]) -> Result<Option<ServiceKey>, DecodeError> {
    listed(body, command::NEW_SERVICE, Command::Service, |mut attrs| {
        let mut table = service::Table::new();
        if !table.fill_usual(&mut attrs, &service::FIRST) {
            table.fill(attrs)?;
        }
        service::read_key(&table)
    })
}

pub(super) fn destination(body: &[u8]) -> Result<Option<DestinationInfo>, DecodeError> {
    listed(body, command::NEW_DEST, Command::Destination, |mut attrs| {
        let mut table = destination::Table::new();
        table.fill_usual(&mut attrs, &destination::FIRST);
        table.fill_usual(&mut attrs, &destination::SECOND);
        table.fill_usual(&mut attrs, &destination::THIRD);
        table.fill(attrs)?;
        destination::read_info(&table)
    })
}

pub(super) fn destination_address(body: &[u8]) -> Result<Option<SocketAddr>, DecodeError> {
    listed(body, command::NEW_DEST, Command::Destination, |attrs| {
        let mut table = destination::Table::new();
        table.fill(attrs)?;
        destination::read_address(&table, None)
    })
}

#[inline]
fn listed<T, K: Kind>(
    body: &[u8],
    command: u8,
    object: Command,
    read: impl Fn(Attrs<'_, K>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    let (found, attributes) = genl::split(body)?;
    if found != command {
        return Ok(None);
    }
    for attr in Attrs::<Command>::new(attributes) {
        let attr = attr?;
        if attr.kind == object {
            return read(attr.nested()).map(Some);
        }
    }
    required(None, object)
}

impl Answer {
    fn command(&self) -> u8 {
        match self {
            Self::Service(_) => command::NEW_SERVICE,
            Self::Destination(_) => command::NEW_DEST,
            Self::Info(_) => command::SET_INFO,
            Self::Timeouts(_) => command::SET_CONFIG,
            Self::Daemon(_) => command::NEW_DAEMON,
        }
    }

    fn write_attributes(&self, out: &mut Writer<'_>) {
        match self {
            Self::Service(info) => out.nest(Command::Service, |out| info.write(out)),
            Self::Destination(info) => out.nest(Command::Destination, |out| info.write(out)),
            Self::Info(Info { version: (major, minor, patch), connection_table_size }) => {
                out.u32_ne(InfoAttr::Version, u32::from_be_bytes([0, *major, *minor, *patch]));
                out.u32_ne(InfoAttr::ConnectionTableSize, *connection_table_size);
            }
            Self::Timeouts(timeouts) => timeouts.write(out),
            Self::Daemon(daemon) => out.nest(Command::Daemon, |out| daemon.write(out)),
        }
    }
}

impl Message {
    /// The command (`IPVS_CMD_*`).
    pub(crate) fn command(&self) -> u8 {
        match self {
            Self::Change(change) => change.command(),
            Self::Query(query) => query.command(),
            Self::Answer(answer) => answer.command(),
        }
    }

    pub(crate) fn write_attributes(&self, out: &mut Writer<'_>) {
        match self {
            Self::Change(change) => change.write_attributes(out),
            Self::Query(query) => query.write_attributes(out),
            Self::Answer(answer) => answer.write_attributes(out),
        }
    }

    /// Reads a message's body: the generic netlink header and the attributes.
    pub(super) fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let (command, attributes) = genl::split(body)?;
        Self::read_attributes(command, attributes)
    }

    /// Reads the attributes of a command. An answer is told from a change by what stands in it: the kernel sends
    /// statistics with each service, and destinations without the service. To set timeouts and to start a daemon look
    /// just like the answers, and are read as these.
    pub(crate) fn read_attributes(command: u8, attributes: &[u8]) -> Result<Self, DecodeError> {
        if command == command::SET_INFO {
            return Info::read(Attrs::new(attributes)).map(|info| Answer::Info(info).into());
        }
        if command == command::SET_CONFIG {
            return Timeouts::read(Attrs::new(attributes)).map(|timeouts| Answer::Timeouts(timeouts).into());
        }
        let (mut service, mut destination, mut daemon) = (None, None, None);
        for attr in Attrs::<Command>::new(attributes) {
            let attr = attr?;
            match attr.kind {
                Command::Service => service.get_or_insert(service::Table::new()).fill(attr.nested())?,
                Command::Destination => destination.get_or_insert(destination::Table::new()).fill(attr.nested())?,
                Command::Daemon => daemon = Some(daemon::Parts::read(attr.nested())?),
                Command::TimeoutTcp | Command::TimeoutTcpFin | Command::TimeoutUdp => {}
            }
        }
        let with_service = || required(service.as_ref(), Command::Service);
        let key = || with_service().and_then(service::read_key);
        let with_destination = || required(destination.as_ref(), Command::Destination);
        let destination = || Ok((key()?, destination::read(with_destination()?, Some(key()?.family()))?));
        Ok(match command {
            command::NEW_SERVICE => {
                let table = with_service()?;
                let service = service::read(table)?;
                match service::read_stats(table)? {
                    Some(stats) => Answer::Service(ServiceInfo { service, stats }).into(),
                    None => Change::AddService(service).into(),
                }
            }
            command::SET_SERVICE => Change::ReplaceService(service::read(with_service()?)?).into(),
            command::DEL_SERVICE => Change::DeleteService(key()?).into(),
            command::GET_SERVICE if service.is_none() => Query::Services.into(),
            command::GET_SERVICE => Query::Service(key()?).into(),
            command::NEW_DEST if service.is_none() => {
                Answer::Destination(destination::read_info(with_destination()?)?).into()
            }
            command::NEW_DEST => {
                destination().map(|(key, destination)| Change::AddDestination(key, destination))?.into()
            }
            command::SET_DEST => {
                destination().map(|(key, destination)| Change::ReplaceDestination(key, destination))?.into()
            }
            command::DEL_DEST => {
                let key = key()?;
                Change::DeleteDestination(key, destination::read_address(with_destination()?, Some(key.family()))?)
                    .into()
            }
            command::GET_DEST => Query::Destinations(key()?).into(),
            command::GET_INFO => Query::Info.into(),
            command::ZERO if service.is_none() => Change::ZeroAll.into(),
            command::ZERO => Change::Zero(key()?).into(),
            command::FLUSH => Change::Flush.into(),
            command::GET_CONFIG => Query::Timeouts.into(),
            command::NEW_DAEMON => Answer::Daemon(required(daemon, Command::Daemon)?.daemon()?).into(),
            command::DEL_DAEMON => Change::StopDaemon(required(daemon, Command::Daemon)?.state()?).into(),
            command::GET_DAEMON => Query::Daemons.into(),
            other => return Err(DecodeError::Value { attribute: "IPVS_CMD", value: other.into() }),
        })
    }
}

impl Info {
    fn read(attrs: Attrs<'_, InfoAttr>) -> Result<Self, DecodeError> {
        let (mut version, mut size) = (None, None);
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                InfoAttr::Version => version = Some(attr.u32_ne()?),
                InfoAttr::ConnectionTableSize => size = Some(attr.u32_ne()?),
            }
        }
        let [_, major, minor, patch] = required(version, InfoAttr::Version)?.to_be_bytes();
        let connection_table_size = required(size, InfoAttr::ConnectionTableSize)?;
        Ok(Self { version: (major, minor, patch), connection_table_size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_header_before_its_attributes() {
        let change = Change::Zero(ServiceKey::tcp("10.0.0.1:443".parse().unwrap()));
        let message = Message::from(change);
        let (mut whole, mut attributes) = (Vec::new(), Vec::new());
        change.write(&mut Writer::new(&mut whole));
        message.write_attributes(&mut Writer::new(&mut attributes));
        assert!(!attributes.is_empty());
        assert_eq!(whole, [&[16, 1, 0, 0], &attributes[..]].concat());
        assert_eq!(Message::read(&whole), Ok(message));
    }
}
