//! Reader of the connection table.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Lines, OF_MARK, Source, Words, number, protocol};
use crate::error::Result;
use crate::ipvs::{PersistenceEngine, ServiceKey};
use crate::name::{Name, named};
use crate::net::{Family, Protocol};

pub(super) const FILE: &str = "ip_vs_conn";
const SOURCE: Source = Source { operation: "read the connections", file: FILE, since: None };

/// Iterator over the connections of a network namespace, and over the templates by which IPVS remembers clients.
///
/// ```no_run
/// use lvs::ipvs::{Connections, ServiceKey};
///
/// let web = ServiceKey::tcp("10.96.0.10:443".parse()?);
/// for connection in Connections::open()?.of_service(web) {
///     let connection = connection?;
///     println!("{} -> {} {}", connection.client, connection.destination, connection.state);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The kernel has two files with different columns. [`Connections::open`] has the data of persistence engines,
/// [`Connections::open_with_origin`] whether a connection was received from another machine by a sync daemon.
///
/// The connections are those of the calling thread's namespace. `namespace.run(Connections::open)` opens those of
/// another namespace ([`Namespace::run`](crate::netns::Namespace::run)); the reader may then be used anywhere. Reading
/// needs no privilege (mode 0444).
///
/// # Limits of the kernel
///
/// The result is no snapshot. The kernel returns 4 KiB, some 50 connections, at a time, and finds the place to continue
/// by counting. Connections that begin or end meanwhile cause others to be listed twice or not at all.
///
/// Up to Linux 6.12 it counts from the start of the table, which has the connections of all namespaces. The time to
/// read grows with the *square* of their number. Linux 7.x counts within a bucket; with 60,000 connections it takes a
/// tenth of the time. [`Status::connections`](super::Status::connections) and the counts of
/// [`DestinationInfo`](crate::ipvs::DestinationInfo) are cheaper if only numbers are needed.
///
/// # Errors
/// A line that cannot be parsed is one error ([`DecodeError::Line`](crate::DecodeError::Line)), and the next lines
/// follow. A failed system call or an endless line is the last item.
///
/// Memory is bounded for any input, and allocated for a connection only if it has data of an engine.
#[derive(Debug)]
#[doc(alias("ip_vs_conn", "ip_vs_conn_sync"))]
pub struct Connections<R = BufReader<File>> {
    lines: Lines<R>,
    ended: bool,
}

impl Connections {
    /// Opens the connections of the calling thread's namespace, without their [`origin`](Connection::origin)
    /// (`ip_vs_conn`).
    ///
    /// # Errors
    /// [`is_unavailable`](crate::Error::is_unavailable) when the module `ip_vs` is not loaded: reading does not load
    /// it, [`Ipvs::connect`](crate::ipvs::Ipvs::connect) does.
    pub fn open() -> Result<Self> {
        SOURCE.open().map(Self::from_reader)
    }

    /// Opens the connections of the calling thread's namespace, without the data of persistence
    /// [`engine`](Connection::engine)s (`ip_vs_conn_sync`).
    ///
    /// # Errors
    /// As for [`Connections::open`].
    pub fn open_with_origin() -> Result<Self> {
        let source = Source { file: "ip_vs_conn_sync", ..SOURCE };
        source.open().map(|reader| Self { lines: Lines::new(reader, source), ended: false })
    }
}

impl<R: BufRead> Connections<R> {
    /// Reads the text of either file. Each line shows the file that it is from. The first line, of titles, may be
    /// missing.
    pub fn from_reader(reader: R) -> Self {
        Self { lines: Lines::new(reader, SOURCE), ended: false }
    }

    /// Returns only the connections of a service, by [`Connection::belongs_to`], and errors.
    pub fn of_service(self, service: ServiceKey) -> impl Iterator<Item = Result<Connection>> {
        self.filter(move |connection| connection.as_ref().map_or(true, |connection| connection.belongs_to(service)))
    }
}

impl<R: BufRead> Iterator for Connections<R> {
    type Item = Result<Connection>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.lines.advance() {
                Ok(true) if self.lines.line().starts_with(b"Pro ") => {}
                Ok(true) => return Some(Connection::read(self.lines.line()).map_err(|what| self.lines.wrong(what))),
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// A connection through IPVS, or a template.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct Connection {
    /// The transport protocol; 0 for the templates of a service by firewall mark.
    pub protocol: Protocol,
    /// Address of the client. A template has port 0, and with a persistence
    /// [`Netmask`](crate::ipvs::Netmask) it has the network's address.
    #[cfg_attr(feature = "serde", serde(rename = "source"))]
    pub client: SocketAddr,
    /// Virtual address that the client connects to. A template of a service by firewall mark has the mark in its place:
    /// [`Connection::firewall_mark`].
    #[cfg_attr(feature = "serde", serde(rename = "virtual"))]
    pub virtual_address: SocketAddr,
    /// The destination. It may have the other address family if the packets go through a tunnel.
    pub destination: SocketAddr,
    /// State of the connection.
    pub state: ConnectionState,
    /// Time until the connection expires if no more packets arrive, in whole seconds, at most 4,294,967 (49.7 days).
    /// Zero if that time has passed.
    #[cfg_attr(feature = "serde", serde(rename = "expire", with = "crate::net::seconds"))]
    pub expires: Duration,
    /// Data of the persistence engine about the client: in templates of a service that has one. Not in
    /// [`Connections::open_with_origin`].
    #[cfg_attr(feature = "serde", serde(rename = "pe", default, skip_serializing_if = "Option::is_none"))]
    pub engine: Option<EngineData>,
    /// Origin of the entry: only in [`Connections::open_with_origin`].
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub origin: Option<Origin>,
}

impl Connection {
    /// Returns a connection without a state, for tests.
    pub fn new(protocol: Protocol, client: SocketAddr, virtual_address: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            protocol,
            client,
            virtual_address,
            destination,
            state: ConnectionState::NONE,
            expires: Duration::ZERO,
            engine: None,
            origin: None,
        }
    }

    /// Whether this is a template, by which a persistent service remembers a client. An expected data connection of FTP
    /// has no client port either, but a state of its own.
    ///
    /// ```no_run
    /// # use lvs::ipvs::Connections;
    /// let clients = Connections::open()?.filter(|connection| connection.as_ref().is_ok_and(|of| of.is_template())).count();
    /// println!("{clients} clients stay at their servers");
    /// # Ok::<(), lvs::Error>(())
    /// ```
    pub fn is_template(&self) -> bool {
        self.client.port() == 0 && matches!(self.state, ConnectionState::NONE | ConnectionState::ASSURED)
    }

    /// Returns the mark of the service whose template this is, if that is a service by firewall mark. The kernel does
    /// not list the marks of connections.
    pub fn firewall_mark(&self) -> Option<NonZeroU32> {
        if self.protocol != OF_MARK || !self.is_template() {
            return None;
        }
        // In network order, in the first bytes of the address.
        let mark = match self.virtual_address.ip() {
            IpAddr::V4(v4) => v4.to_bits(),
            IpAddr::V6(v6) => u32::try_from(v6.to_bits() >> 96).unwrap_or_default(),
        };
        NonZeroU32::new(mark)
    }

    /// Whether it has the protocol, the virtual address and the port of this service.
    ///
    /// A service of port 0 matches every port, also those of other services with its address. A service by firewall
    /// mark matches only its templates, since the kernel does not list the marks of connections. Templates of a
    /// persistent FTP service (port 21) have port 0, and only match the service of port 0.
    pub fn belongs_to(&self, service: ServiceKey) -> bool {
        match service {
            ServiceKey::Address { protocol, address } => {
                let own = self.virtual_address;
                self.protocol == protocol && own.ip() == address.ip() && [0, own.port()].contains(&address.port())
            }
            ServiceKey::FirewallMark { mark, family } => {
                self.firewall_mark() == Some(mark) && Family::of(self.virtual_address.ip()) == family
            }
        }
    }
}

named! {
    /// The state of a connection, by the kernel's name.
    ///
    /// The constants are the states of Linux 6.1 to 7.3. The kernel prints `ERR!`, `BUG!` or `?` for a state that it
    /// does not know.
    ConnectionState 15, "connection state", |_| None
}

impl ConnectionState {
    /// No packet has set a state yet; or a template whose client has not completed a connection.
    pub const NONE: Self = Self(Name::literal("NONE"));
    /// A template whose client has completed a connection.
    pub const ASSURED: Self = Self(Name::literal("ASSURED"));
    /// The only state of UDP.
    pub const UDP: Self = Self(Name::literal("UDP"));
    /// TCP and SCTP: both sides may send.
    pub const ESTABLISHED: Self = Self(Name::literal("ESTABLISHED"));
    /// TCP: the server opened it.
    pub const SYN_SENT: Self = Self(Name::literal("SYN_SENT"));
    /// TCP: the client opened it.
    pub const SYN_RECV: Self = Self(Name::literal("SYN_RECV"));
    /// TCP: the server has closed; or the client, if the server's packets do not pass this machine.
    pub const FIN_WAIT: Self = Self(Name::literal("FIN_WAIT"));
    /// TCP: both sides have closed.
    pub const TIME_WAIT: Self = Self(Name::literal("TIME_WAIT"));
    /// TCP: reset.
    pub const CLOSE: Self = Self(Name::literal("CLOSE"));
    /// TCP: the client has closed.
    pub const CLOSE_WAIT: Self = Self(Name::literal("CLOSE_WAIT"));
    /// TCP: the last acknowledgement is awaited.
    pub const LAST_ACK: Self = Self(Name::literal("LAST_ACK"));
    /// TCP: an expected data connection of FTP.
    pub const LISTEN: Self = Self(Name::literal("LISTEN"));
    /// TCP: the handshake is not complete, while the sysctl `secure_tcp` is active.
    pub const SYNACK: Self = Self(Name::literal("SYNACK"));
    /// SCTP: the client has sent INIT.
    pub const INIT1: Self = Self(Name::literal("INIT1"));
    /// SCTP: both have sent INIT, or the client again.
    pub const INIT: Self = Self(Name::literal("INIT"));
    /// SCTP: the server has answered INIT with a cookie.
    pub const C_SENT: Self = Self(Name::literal("C-SENT"));
    /// SCTP: the client has sent the cookie back.
    pub const C_REPLIED: Self = Self(Name::literal("C-REPLIED"));
    /// SCTP: the server opened it, and waits for a cookie.
    pub const C_WAIT: Self = Self(Name::literal("C-WAIT"));
    /// SCTP: the server opened it, and got a cookie.
    pub const COOKIE: Self = Self(Name::literal("COOKIE"));
    /// SCTP: the server opened it, and has sent the cookie back.
    pub const C_ECHOED: Self = Self(Name::literal("C-ECHOED"));
    /// SCTP: the client is ending it.
    pub const S_SENT: Self = Self(Name::literal("S-SENT"));
    /// SCTP: the server is ending it.
    pub const S_RECEIVED: Self = Self(Name::literal("S-RECEIVED"));
    /// SCTP: the end was acknowledged.
    pub const S_ACK_SENT: Self = Self(Name::literal("S-ACK-SENT"));
    /// SCTP: aborted before it was established.
    pub const REJECTED: Self = Self(Name::literal("REJECTED"));
    /// SCTP: over.
    pub const CLOSED: Self = Self(Name::literal("CLOSED"));
}

/// Data by which a persistence engine recognises the client of a template.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct EngineData {
    /// The engine.
    #[cfg_attr(feature = "serde", serde(rename = "name"))]
    pub engine: PersistenceEngine,
    /// The data; for [`PersistenceEngine::SIP`] the Call-ID, at most 255 bytes, which need not be UTF-8. The
    /// kernel prints them as they are, up to the first zero byte.
    #[cfg_attr(feature = "serde", serde(with = "data"))]
    pub data: Vec<u8>,
}

impl EngineData {
    /// Returns data of an engine, for tests.
    pub fn new(engine: PersistenceEngine, data: impl Into<Vec<u8>>) -> Self {
        Self { engine, data: data.into() }
    }
}

/// Serialised form of an engine's data: text, or numbers if they are not UTF-8.
#[cfg(feature = "serde")]
mod data {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Data {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(data) {
            Ok(text) => text.serialize(serializer),
            Err(_) => data.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Data::deserialize(deserializer)? {
            Data::Text(text) => text.into_bytes(),
            Data::Bytes(bytes) => bytes,
        })
    }
}

/// Origin of an entry of the connection table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[doc(alias = "IP_VS_CONN_F_SYNC")]
pub enum Origin {
    /// A packet that this machine saw (`LOCAL`).
    Local,
    /// The master of which this machine is the backup (`SYNC`).
    Sync,
}

// The text.

impl Connection {
    /// Reads a line; an error names the part that is wrong.
    fn read(line: &[u8]) -> Result<Self, &'static str> {
        let mut words = Words(line);
        let protocol = words.next().and_then(protocol).ok_or("protocol")?;
        let client = address(&mut words).ok_or("client")?;
        let virtual_address = address(&mut words).ok_or("virtual address")?;
        let destination = address(&mut words).ok_or("destination")?;
        let state = words.next().and_then(|name| ConnectionState::new(std::str::from_utf8(name).ok()?).ok());
        let state = state.ok_or("state")?;
        let (origin, seconds) = match words.next() {
            Some(b"LOCAL") => (Some(Origin::Local), words.next()),
            Some(b"SYNC") => (Some(Origin::Sync), words.next()),
            seconds => (None, seconds),
        };
        let seconds = seconds.and_then(|seconds| number(seconds, 10)).ok_or("expiry")?;
        let expires = Duration::from_secs(if seconds > LONGEST_EXPIRY { 0 } else { seconds });
        let engine = match words.next() {
            None => None,
            Some(name) => Some(EngineData::read(name, words.0).ok_or("persistence engine")?),
        };
        Ok(Self { protocol, client, virtual_address, destination, state, expires, engine, origin })
    }
}

/// The kernel counts milliseconds in 32 bits.
const LONGEST_EXPIRY: u64 = (u32::MAX / 1000) as u64;

impl EngineData {
    /// Reads an engine's name, a blank and the data, which may have blanks, too.
    fn read(name: &[u8], rest: &[u8]) -> Option<Self> {
        let engine = PersistenceEngine::new(name).ok()?;
        Some(Self { engine, data: rest.strip_prefix(b" ").unwrap_or(rest).to_vec() })
    }
}

/// An IPv4 address is eight digits, an IPv6 address has its usual text; the port is hexadecimal.
fn address(words: &mut Words<'_>) -> Option<SocketAddr> {
    let (ip, port) = (words.next()?, words.next()?);
    let ip = if ip.len() == 8 && !ip.contains(&b':') {
        Ipv4Addr::from_bits(number(ip, 16)?).into()
    } else {
        std::str::from_utf8(ip).ok()?.parse::<Ipv6Addr>().ok()?.into()
    };
    Some(SocketAddr::new(ip, number(port, 16)?))
}
