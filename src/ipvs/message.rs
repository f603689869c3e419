//! Messages of the family `IPVS`, and the kernel's answers.

use std::fmt;
use std::net::SocketAddr;

use super::daemon::{self, SyncDaemon};
use super::destination::{self, DestinationInfo};
use super::key::ServiceKey;
use super::numbers::{Command, VERSION, command};
use super::request::{Change, Query};
use super::service::{self, ServiceInfo};
use super::timeouts::Timeouts;
use crate::error::{DecodeError, Result};
use crate::wire::reader::required;
use crate::wire::{Attrs, Kind, Writer, genl, kinds};

/// An answer of the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// A virtual service.
    Service(ServiceInfo),
    /// A destination of the service that was asked about.
    Destination(DestinationInfo),
    /// The version and the size of the connection table (`IPVS_CMD_SET_INFO`).
    #[doc(alias = "IPVS_CMD_SET_INFO")]
    Version(Version),
    /// Timeouts of connections.
    Timeouts(Timeouts),
    /// A sync daemon that runs.
    Daemon(SyncDaemon),
}

/// Version of the kernel's IPVS.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct Version {
    /// Major, minor, patch, such as 1.2.1 (`IPVS_INFO_ATTR_VERSION`).
    #[doc(alias = "IPVS_INFO_ATTR_VERSION")]
    #[cfg_attr(feature = "serde", serde(rename = "version", with = "release"))]
    pub release: (u8, u8, u8),
    /// Number of buckets of the connection table (`IPVS_INFO_ATTR_CONN_TAB_SIZE`). Fixed up to Linux 6.12; on 7.x it
    /// grows and is 0 before the first service.
    #[doc(alias = "IPVS_INFO_ATTR_CONN_TAB_SIZE")]
    #[cfg_attr(feature = "serde", serde(rename = "size"))]
    pub connection_table_size: u32,
}

impl fmt::Display for Version {
    /// As `ipvsadm -Ln` prints it: `1.2.1 (size=4096)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release: (major, minor, patch), connection_table_size } = self;
        write!(f, "{major}.{minor}.{patch} (size={connection_table_size})")
    }
}

/// Serialised form of a release: `1.2.1`.
#[cfg(feature = "serde")]
mod release {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::net::{InvalidText, number};

    pub(super) fn serialize<S: Serializer>(release: &(u8, u8, u8), serializer: S) -> Result<S::Ok, S::Error> {
        let (major, minor, patch) = release;
        serializer.collect_str(&format_args!("{major}.{minor}.{patch}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(u8, u8, u8), D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split('.').map(number).collect::<Option<Vec<_>>>();
        match parts.as_deref() {
            Some(&[major, minor, patch]) => Ok((major, minor, patch)),
            _ => Err(D::Error::custom(InvalidText::new(&text, "a version such as 1.2.1"))),
        }
    }
}

/// A message of the generic netlink family `IPVS`, to or from the kernel.
///
/// It is for programs with their own transport, such as [`exchange`](crate::exchange). [`check`](Change::check) a
/// change before sending it. With the feature `interop` it has the traits of the rust-netlink crates (`GenlFamily`,
/// `Emitable`, `ParseableParametrized`), for a `GenlMessage` with `netlink-proto` and `genetlink`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Message {
    /// A change, sent to the kernel with `NLM_F_ACK`.
    Change(Change),
    /// A query, sent to the kernel with `NLM_F_DUMP` if [`Query::is_dump`].
    Query(Query),
    /// An answer from the kernel.
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

kinds! {
    /// Attributes of the answer to `IPVS_CMD_GET_INFO`.
    InfoAttr "IPVS_INFO_ATTR" {
        Version = 1 "IPVS_INFO_ATTR_VERSION",
        ConnectionTableSize = 2 "IPVS_INFO_ATTR_CONN_TAB_SIZE",
    }
}

/// Reads an answer; `None` if the message is no answer.
pub(super) fn answer(body: &[u8]) -> Result<Option<Answer>, DecodeError> {
    Ok(match Message::decode(body)? {
        Message::Answer(answer) => Some(answer),
        // Without statistics it looks just like a request.
        Message::Change(Change::AddService(service)) => Some(Answer::Service(ServiceInfo::new(service))),
        _ => None,
    })
}

// The same for the lists that are long, of which nothing is read but what is wanted. `take` gets the object, unless the
// message is none.

pub(super) fn service(body: &[u8], take: impl FnOnce(ServiceInfo)) -> Result<(), DecodeError> {
    listed(body, command::NEW_SERVICE, Command::Service, |attrs| service::listed(attrs, take))
}

pub(super) fn service_key(body: &[u8], take: impl FnOnce(ServiceKey)) -> Result<(), DecodeError> {
    listed(body, command::NEW_SERVICE, Command::Service, |attrs| service::listed_key(attrs).map(take))
}

pub(super) fn destination(body: &[u8], take: impl FnOnce(DestinationInfo)) -> Result<(), DecodeError> {
    listed(body, command::NEW_DEST, Command::Destination, |attrs| destination::listed(attrs, take))
}

pub(super) fn destination_address(body: &[u8], take: impl FnOnce(SocketAddr)) -> Result<(), DecodeError> {
    listed(body, command::NEW_DEST, Command::Destination, |attrs| destination::listed_address(attrs).map(take))
}

#[inline]
fn listed<'a, K: Kind>(
    body: &'a [u8],
    command: u8,
    object: Command,
    read: impl FnOnce(Attrs<'a, K>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let (found, attributes) = genl::split(body)?;
    if found != command {
        return Ok(());
    }
    let attributes = Attrs::new(attributes);
    read(match attributes.only(object) {
        Some(usual) => usual,
        None => find(attributes, object)?,
    })
}

#[cold]
fn find<K: Kind>(attributes: Attrs<'_, Command>, object: Command) -> Result<Attrs<'_, K>, DecodeError> {
    for attr in attributes {
        let attr = attr?;
        if attr.kind == object {
            return Ok(attr.nested());
        }
    }
    Err(DecodeError::Missing { attribute: object.name() })
}

impl Answer {
    fn command(&self) -> u8 {
        match self {
            Self::Service(_) => command::NEW_SERVICE,
            Self::Destination(_) => command::NEW_DEST,
            Self::Version(_) => command::SET_INFO,
            Self::Timeouts(_) => command::SET_CONFIG,
            Self::Daemon(_) => command::NEW_DAEMON,
        }
    }

    fn write_attributes(&self, out: &mut Writer<'_>) {
        match self {
            Self::Service(info) => out.nest(Command::Service, |out| info.write(out)),
            Self::Destination(info) => out.nest(Command::Destination, |out| info.write(out)),
            Self::Version(Version { release: (major, minor, patch), connection_table_size }) => {
                out.u32_ne(InfoAttr::Version, u32::from_be_bytes([0, *major, *minor, *patch]));
                out.u32_ne(InfoAttr::ConnectionTableSize, *connection_table_size);
            }
            Self::Timeouts(timeouts) => timeouts.write(out),
            Self::Daemon(daemon) => out.nest(Command::Daemon, |out| daemon.write(out)),
        }
    }
}

impl Message {
    /// Returns the command (`IPVS_CMD_*`).
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

    /// Returns the body of a netlink message: the generic netlink header and the attributes. The type of the netlink
    /// message is the number of the family `IPVS`.
    ///
    /// ```
    /// # use lvs::ipvs::{Message, Query};
    /// let message = Message::from(Query::Version);
    /// assert_eq!(Message::decode(&message.encode()), Ok(message));
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut out = Writer::new(&mut body);
        genl::write_header(&mut out, self.command(), VERSION);
        self.write_attributes(&mut out);
        body
    }

    /// Reads the body of a netlink message of the family `IPVS`. A request that sets timeouts or starts a daemon has
    /// the bytes of an answer, and is read as an answer.
    ///
    /// # Errors
    /// [`DecodeError`] for a body that is malformed, or of an unknown command.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let (command, attributes) = genl::split(body)?;
        Self::read_attributes(command, attributes)
    }

    /// Reads the attributes of a command. An answer differs from a change by its attributes: the kernel sends
    /// statistics with each service, and destinations without the service. Requests to set timeouts and to start a
    /// daemon have the bytes of answers, and are read as these.
    pub(crate) fn read_attributes(command: u8, attributes: &[u8]) -> Result<Self, DecodeError> {
        if command == command::SET_INFO {
            return Version::read(Attrs::new(attributes)).map(|version| Answer::Version(version).into());
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
            command::SET_SERVICE => Change::SetService(service::read(with_service()?)?).into(),
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
                destination().map(|(key, destination)| Change::SetDestination(key, destination))?.into()
            }
            command::DEL_DEST => {
                let key = key()?;
                Change::DeleteDestination(key, destination::read_address(with_destination()?, Some(key.family()))?)
                    .into()
            }
            command::GET_DEST => Query::Destinations(key()?).into(),
            command::GET_INFO => Query::Version.into(),
            command::ZERO if service.is_none() => Change::ZeroAll.into(),
            command::ZERO => Change::Zero(key()?).into(),
            command::FLUSH => Change::Clear.into(),
            command::GET_CONFIG => Query::Timeouts.into(),
            command::NEW_DAEMON => Answer::Daemon(required(daemon, Command::Daemon)?.daemon()?).into(),
            command::DEL_DAEMON => Change::StopDaemon(required(daemon, Command::Daemon)?.state()?).into(),
            command::GET_DAEMON => Query::Daemons.into(),
            other => return Err(DecodeError::Value { attribute: "IPVS_CMD", value: other.into() }),
        })
    }
}

impl Version {
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
        Ok(Self { release: (major, minor, patch), connection_table_size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::{Destination, Scheduler, Service};

    #[test]
    fn a_message_has_its_header_before_its_attributes() {
        let change = Change::Zero(ServiceKey::tcp("10.0.0.1:443".parse().unwrap()));
        let message = Message::from(change);
        let (whole, mut attributes) = (message.encode(), Vec::new());
        message.write_attributes(&mut Writer::new(&mut attributes));
        assert!(!attributes.is_empty());
        assert_eq!(whole, [&[16, 1, 0, 0], &attributes[..]].concat());
        assert_eq!(Message::decode(&whole), Ok(message));
    }

    /// The object that a reader of listings takes from a body.
    fn taken<T>(read: impl FnOnce(&mut Option<T>) -> Result<(), DecodeError>) -> Result<Option<T>, DecodeError> {
        let mut object = None;
        read(&mut object)?;
        Ok(object)
    }

    /// The body with each byte behind the header of its nest changed, and with its end cut off.
    fn damaged(body: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let changed = (8..body.len()).flat_map(move |at| {
            [1, 0x40, 0x80].map(|bit| {
                let mut body = body.to_vec();
                body[at] ^= bit;
                body
            })
        });
        let cut = (8..body.len()).step_by(4).map(|length| {
            let mut body = body[..length].to_vec();
            body[4..6].copy_from_slice(&u16::try_from(length - 4).unwrap().to_ne_bytes());
            body
        });
        changed.chain(cut)
    }

    #[test]
    fn a_nest_is_found_wherever_it_is() {
        let service = Service::new(ServiceKey::tcp("10.0.0.1:443".parse().unwrap()), Scheduler::RR);
        let body = Message::Answer(Answer::Service(ServiceInfo::new(service))).encode();
        let (header, nest) = body.split_at(4);
        let [l0, l1, n0, n1] = [8, 99].map(u16::to_ne_bytes).concat()[..] else { panic!() };
        let unknown = [l0, l1, n0, n1, 1, 2, 3, 4];
        let mut marked = nest.to_vec();
        marked[2..4].copy_from_slice(&(Command::Service.number() | 1 << 15).to_ne_bytes());
        for nests in [nest.to_vec(), [&unknown, nest].concat(), [nest, &unknown].concat(), marked] {
            let body = [header, &nests].concat();
            let listed = taken(|listed| super::service(&body, |info| *listed = Some(info)));
            assert_eq!(listed, Ok(Some(ServiceInfo::new(service))), "{body:?}");
        }
        for length in 0..8 {
            let mut nest = nest.to_vec();
            nest[..2].copy_from_slice(&u16::to_ne_bytes(length));
            let body = [header, &nest].concat();
            assert!(taken(|listed| super::service(&body, |info| *listed = Some(info))).is_err(), "{length}");
        }
    }

    #[test]
    fn a_listed_service_is_read_as_any_answer() {
        let service = Service::new(ServiceKey::tcp("10.0.0.1:443".parse().unwrap()), Scheduler::RR);
        let body = Message::Answer(Answer::Service(ServiceInfo::new(service))).encode();
        assert!(matches!(answer(&body), Ok(Some(Answer::Service(_)))));
        for body in damaged(&body).chain([body.clone()]) {
            let listed = taken(|listed| super::service(&body, |info| *listed = Some(info)));
            assert_eq!(listed.clone().map(|info| info.map(Answer::Service)), answer(&body), "{body:?}");
            if let Ok(Some(info)) = listed {
                assert_eq!(
                    taken(|listed| service_key(&body, |key| *listed = Some(key))),
                    Ok(Some(info.key())),
                    "{body:?}"
                );
            }
        }
    }

    #[test]
    fn a_listed_destination_is_read_as_any_answer() {
        let destination = Destination::new("[2001:db8::1]:80".parse().unwrap());
        let body = Message::Answer(Answer::Destination(DestinationInfo::new(destination))).encode();
        assert!(matches!(answer(&body), Ok(Some(Answer::Destination(_)))));
        for body in damaged(&body).chain([body.clone()]) {
            let listed = taken(|listed| super::destination(&body, |info| *listed = Some(info)));
            assert_eq!(listed.clone().map(|info| info.map(Answer::Destination)), answer(&body), "{body:?}");
            if let Ok(Some(info)) = listed {
                let address = taken(|listed| destination_address(&body, |address| *listed = Some(address)));
                assert_eq!(address, Ok(Some(info.address())), "{body:?}");
            }
        }
    }
}
