//! Reader of the kernel's summary of the table.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;

use super::{Lines, Source, Words, number, protocol};
use crate::error::Result;
use crate::ipvs::{Scheduler, ServiceKey};
use crate::net::Protocol;
use crate::net::{self, InvalidText};

const SOURCE: Source = Source { operation: "read the overview", file: "ip_vs", since: None };

/// Iterator over the services of a network namespace, each with its destinations: a subset of `ipvsadm -Ln`.
///
/// ```no_run
/// use lvs::ipvs::Overview;
///
/// for service in Overview::open()? {
///     let service = service?;
///     let connections: u32 = service.destinations.iter().map(|server| server.active_connections).sum();
///     println!("{}: {connections}", service.address);
/// }
/// # Ok::<(), lvs::Error>(())
/// ```
///
/// It needs no privilege (mode 0444). For some thousand services it is cheaper than
/// [`Ipvs::table`](crate::ipvs::Ipvs::table).
///
/// It lacks statistics, thresholds, tunnel types, flags, persistence engines and timeouts, and the address family of a
/// service by firewall mark.
///
/// The services are those of the calling thread's namespace. `namespace.run(Overview::open)` opens those of another
/// namespace ([`Namespace::run`](crate::netns::Namespace::run)); the reader may then be used anywhere.
///
/// # Limits of the kernel
///
/// The result is no snapshot. The kernel returns 4 KiB, some 20 services, at a time, and finds the place to continue by
/// counting from the first. Services that are added or deleted meanwhile cause others to be listed twice or not at all.
/// A service is always listed with all of its destinations.
///
/// Counting makes the total time quadratic. With 20,000 services it is still cheaper than `Ipvs::table`:
/// `docs/performance.md` has the figures.
///
/// # Errors
/// A line that cannot be parsed is one error ([`DecodeError::Line`](crate::DecodeError::Line)) in place of its service,
/// and the next service follows. A failed system call or an endless line is the last item.
///
/// It holds one service with its destinations in memory.
#[derive(Debug)]
#[doc(alias = "ip_vs")]
pub struct Overview<R = BufReader<File>> {
    lines: Lines<R>,
    /// The service whose destinations are being read, or its error.
    current: Option<Result<ServiceOverview>>,
    ended: bool,
}

impl Overview {
    /// Opens the summary of the calling thread's namespace (`ip_vs`).
    ///
    /// # Errors
    /// [`is_unavailable`](crate::Error::is_unavailable) when the module `ip_vs` is not loaded: reading does not load
    /// it, [`Ipvs::connect`](crate::ipvs::Ipvs::connect) does.
    pub fn open() -> Result<Self> {
        SOURCE.open().map(Self::from_reader)
    }
}

impl<R: BufRead> Overview<R> {
    /// Reads the text of the file. Its first lines, of titles, may be missing.
    pub fn from_reader(reader: R) -> Self {
        Self { lines: Lines::new(reader, SOURCE), current: None, ended: false }
    }
}

impl<R: BufRead> Iterator for Overview<R> {
    type Item = Result<ServiceOverview>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.lines.advance() {
                Ok(true) => {
                    let line = self.lines.line();
                    if TITLES.iter().any(|title| line.starts_with(title)) {
                        continue;
                    }
                    if let Some(destination) = line.strip_prefix(b"  -> ") {
                        match (DestinationOverview::read(destination), &mut self.current) {
                            (Ok(destination), Some(Ok(service))) => service.destinations.push(destination),
                            // The error is reported once.
                            (_, Some(Err(_))) => {}
                            (Ok(_), None) => self.current = Some(Err(self.lines.wrong("service"))),
                            (Err(what), _) => self.current = Some(Err(self.lines.wrong(what))),
                        }
                        continue;
                    }
                    let service = ServiceOverview::read(line).map_err(|what| self.lines.wrong(what));
                    if let Some(before) = self.current.replace(service) {
                        return Some(before);
                    }
                }
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    // Replaces the service, whose destinations may be incomplete.
                    self.current = Some(Err(error));
                }
            }
        }
        self.current.take()
    }
}

/// Start of the title lines.
const TITLES: [&[u8]; 3] = [b"IP Virtual Server ", b"Prot ", b"  -> RemoteAddress:"];

/// A service as the kernel prints it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct ServiceOverview {
    /// Identity of the service.
    #[cfg_attr(feature = "serde", serde(rename = "service"))]
    pub address: OverviewAddress,
    /// Scheduler of new connections.
    pub scheduler: Scheduler,
    /// Whether each packet is scheduled by itself (`ops`).
    #[cfg_attr(feature = "serde", serde(rename = "ops", default))]
    pub one_packet: bool,
    /// Whether a client stays with its destination (`persistent`).
    #[cfg_attr(feature = "serde", serde(default))]
    pub persistent: bool,
    /// Its destinations, the newest first.
    #[cfg_attr(feature = "serde", serde(default))]
    pub destinations: Vec<DestinationOverview>,
}

/// Identity of a service in the kernel's summary.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OverviewAddress {
    /// A protocol, an address and a port.
    Address(Protocol, SocketAddr),
    /// A firewall mark. The kernel does not print its family.
    FirewallMark(NonZeroU32),
}

impl OverviewAddress {
    /// Whether it can identify this service. A firewall mark matches the services of both families.
    ///
    /// ```
    /// # use lvs::Protocol;
    /// # use lvs::ipvs::{OverviewAddress, ServiceKey};
    /// let address = "10.96.0.10:80".parse()?;
    /// assert!(OverviewAddress::Address(Protocol::TCP, address).is_of(ServiceKey::tcp(address)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_of(&self, service: ServiceKey) -> bool {
        match service {
            ServiceKey::Address { protocol, address } => *self == Self::Address(protocol, address),
            ServiceKey::FirewallMark { mark, .. } => *self == Self::FirewallMark(mark),
        }
    }
}

impl fmt::Display for OverviewAddress {
    /// Writes the text of a [`ServiceKey`]: `10.0.0.1:80/tcp`, `fwmark 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(protocol, address) => write!(f, "{address}/{protocol}"),
            Self::FirewallMark(mark) => write!(f, "fwmark {mark}"),
        }
    }
}

impl FromStr for OverviewAddress {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let mark = text.strip_prefix("fwmark ").map(|mark| net::number(mark).map(Self::FirewallMark));
        let parsed = mark.unwrap_or_else(|| {
            let (address, protocol) = text.rsplit_once('/')?;
            Some(Self::Address(protocol.parse().ok()?, address.parse().ok()?))
        });
        parsed.ok_or_else(|| InvalidText::new(text, "a service such as 10.0.0.1:80/tcp or fwmark 7"))
    }
}

serde_text!(OverviewAddress);

/// A destination as the kernel prints it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct DestinationOverview {
    /// Its address and port.
    pub address: SocketAddr,
    /// Forwarding method.
    pub forwarding: ForwardingName,
    /// Its share of new connections.
    pub weight: u32,
    /// Connections in a state that counts as active.
    #[cfg_attr(feature = "serde", serde(rename = "activeconn", default))]
    pub active_connections: u32,
    /// Other connections that are still remembered.
    #[cfg_attr(feature = "serde", serde(rename = "inactconn", default))]
    pub inactive_connections: u32,
}

/// The kernel's name of a forwarding method: [`Forwarding`](crate::ipvs::Forwarding) without the type of a tunnel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum ForwardingName {
    /// `Masq`: masquerading, and [`Bypass`](crate::ipvs::Forwarding::Bypass), for which the kernel has no name of its
    /// own.
    #[cfg_attr(feature = "serde", serde(rename = "masq"))]
    Masquerade,
    /// `Local`.
    Local,
    /// `Tunnel`.
    Tunnel,
    /// `Route`.
    #[cfg_attr(feature = "serde", serde(rename = "route"))]
    DirectRoute,
}

// The text.

impl ServiceOverview {
    /// Reads the line of a service; an error names the part that is wrong.
    fn read(line: &[u8]) -> Result<Self, &'static str> {
        let mut words = Words(line);
        let kind = words.next().ok_or("protocol")?;
        let place = words.next().ok_or("service")?;
        let address = if kind == b"FWM" {
            number(place, 16).and_then(NonZeroU32::new).map(OverviewAddress::FirewallMark)
        } else {
            let protocol = protocol(kind).ok_or("protocol")?;
            endpoint(place).map(|address| OverviewAddress::Address(protocol, address))
        };
        let scheduler = words.next().and_then(|name| Scheduler::new(name).ok());
        let mut service = Self {
            address: address.ok_or("service")?,
            scheduler: scheduler.ok_or("scheduler")?,
            one_packet: false,
            persistent: false,
            destinations: Vec::new(),
        };
        for word in words {
            service.one_packet |= word == b"ops";
            service.persistent |= word == b"persistent";
        }
        Ok(service)
    }
}

impl DestinationOverview {
    /// Reads the part of a destination's line after the arrow.
    fn read(line: &[u8]) -> Result<Self, &'static str> {
        let mut words = Words(line);
        Ok(Self {
            address: words.next().and_then(endpoint).ok_or("destination")?,
            forwarding: match words.next() {
                Some(b"Masq") => ForwardingName::Masquerade,
                Some(b"Local") => ForwardingName::Local,
                Some(b"Tunnel") => ForwardingName::Tunnel,
                Some(b"Route") => ForwardingName::DirectRoute,
                _ => return Err("forwarding method"),
            },
            weight: words.next().and_then(|weight| number(weight, 10)).ok_or("weight")?,
            active_connections: words.next().and_then(count).ok_or("active connections")?,
            inactive_connections: words.next().and_then(count).ok_or("inactive connections")?,
        })
    }
}

/// Reads a number of connections. Two processors that count concurrently can make it negative for a moment.
fn count(word: &[u8]) -> Option<u32> {
    match word.strip_prefix(b"-") {
        Some(digits) => number::<u32>(digits, 10).map(|_| 0),
        None => number(word, 10),
    }
}

/// An address and a port, hexadecimal: `0A000001:0050`, `[2001:0db8:...]:0050`.
fn endpoint(word: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = word.split_at_checked(word.iter().rposition(|byte| *byte == b':')?)?;
    let ip: IpAddr = match ip.strip_prefix(b"[").and_then(|ip| ip.strip_suffix(b"]")) {
        Some(v6) => std::str::from_utf8(v6).ok()?.parse::<Ipv6Addr>().ok()?.into(),
        None if ip.len() == 8 => Ipv4Addr::from_bits(number(ip, 16)?).into(),
        None => return None,
    };
    Some(SocketAddr::new(ip, number(port.strip_prefix(b":")?, 16)?))
}
