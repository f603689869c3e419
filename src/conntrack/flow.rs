//! Flows, the rule for stale ones, and their bytes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::error::{Cause, DecodeError};
use crate::net::{Family, Protocol};
use crate::wire::reader::required;
use crate::wire::{Attr, Attrs, Writer, kinds};

/// The entry of a UDP flow in the connection tracker, as it was read.
///
/// Its text names the original direction: `10.0.0.2:4000 -> 10.96.0.10:53/udp`. The alternate form has the reply
/// direction, too.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Flow {
    /// Addresses of the first packet (`CTA_TUPLE_ORIG`): a flow to a service has the virtual address as its
    /// destination.
    #[doc(alias = "CTA_TUPLE_ORIG")]
    pub original: Tuple,
    /// Addresses that the tracker expects of a reply (`CTA_TUPLE_REPLY`). A masqueraded flow has its endpoint as the
    /// source.
    #[doc(alias = "CTA_TUPLE_REPLY")]
    pub reply: Tuple,
    /// The kernel's number of the entry (`CTA_ID`). A later flow with an equal original tuple has another number,
    /// unless its entry is at the same place in the kernel's memory.
    #[doc(alias = "CTA_ID")]
    pub id: u32,
    /// Connection mark (`CTA_MARK`); `None` if the kernel has no connection marks.
    #[doc(alias = "CTA_MARK")]
    pub mark: Option<u32>,
    /// Time until the entry expires without a further packet, in whole seconds (`CTA_TIMEOUT`); `None` for a flow that
    /// is offloaded.
    #[doc(alias = "CTA_TIMEOUT")]
    pub timeout: Option<Duration>,
}

impl Flow {
    /// Whether the flow goes to a UDP service, and its replies come from none of the endpoints. It began before the
    /// service received it, or its endpoint was removed.
    ///
    /// `service` is the virtual address and port. An endpoint is the address and port of a destination: `endpoints` are
    /// those of masqueraded destinations with a weight above 0, and of quiesced ones that may keep their clients. Replies of direct routing and tunnels come from the virtual
    /// address and do not pass this machine: for these, `endpoints` includes `service`.
    ///
    /// ```
    /// # fn check(flow: lvs::conntrack::Flow) -> Result<(), std::net::AddrParseError> {
    /// let (dns, endpoint) = ("10.96.0.10:53".parse()?, "10.244.1.7:53".parse()?);
    /// if flow.is_stale(dns, [endpoint]) {
    ///     assert_eq!(flow.original.destination, dns);
    ///     assert_ne!(flow.reply.source, endpoint);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_stale(&self, service: SocketAddr, endpoints: impl IntoIterator<Item = SocketAddr>) -> bool {
        let is = |one: SocketAddr, other: SocketAddr| (one.ip(), one.port()) == (other.ip(), other.port());
        is(self.original.destination, service) && !endpoints.into_iter().any(|endpoint| is(self.reply.source, endpoint))
    }

    /// Returns the address family of the original direction.
    pub fn family(&self) -> Family {
        Family::of(self.original.source.ip())
    }

    /// Checks that the kernel can look up the flow.
    pub(super) fn check(&self) -> Result<(), Cause> {
        let Tuple { source, destination, .. } = self.reply;
        match [source, destination].iter().all(|address| Family::of(address.ip()) == self.family()) {
            true => Ok(()),
            false => Err(Cause::InvalidInput("the addresses of the flow are of two families".into())),
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.original, Protocol::UDP)?;
        if f.alternate() { write!(f, " (reply {})", self.reply) } else { Ok(()) }
    }
}

/// Addresses and ports of one direction of a flow (`CTA_TUPLE`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[doc(alias = "CTA_TUPLE")]
pub struct Tuple {
    /// Address and port of the sender.
    #[doc(alias("CTA_IP_V4_SRC", "CTA_IP_V6_SRC", "CTA_PROTO_SRC_PORT"))]
    pub source: SocketAddr,
    /// Address and port of the receiver.
    #[doc(alias("CTA_IP_V4_DST", "CTA_IP_V6_DST", "CTA_PROTO_DST_PORT"))]
    pub destination: SocketAddr,
    /// Zone of the direction (`CTA_ZONE`, `CTA_TUPLE_ZONE`); 0 is the default zone.
    #[doc(alias("CTA_ZONE", "CTA_TUPLE_ZONE"))]
    pub zone: u16,
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.source, self.destination)
    }
}

// The bytes.

impl Flow {
    /// Reads the attributes of an entry; `None` if it is of another protocol.
    pub(super) fn read(attributes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let (mut original, mut reply, mut zone) = (None, None, None);
        let (mut id, mut mark, mut timeout) = (None, None, None);
        for attr in Attrs::<FlowAttr>::new(attributes) {
            let attr = attr?;
            match attr.kind {
                FlowAttr::Original => original = Some(Parts::read(attr.nested())?),
                FlowAttr::Reply => reply = Some(Parts::read(attr.nested())?),
                FlowAttr::Timeout => timeout = Some(Duration::from_secs(attr.u32_be()?.into())),
                FlowAttr::Mark => mark = Some(attr.u32_be()?),
                FlowAttr::Id => id = Some(attr.u32_be()?),
                FlowAttr::Zone => zone = Some(attr.u16_be()?),
                FlowAttr::Filter => {}
            }
        }
        let (original, reply) = (required(original, FlowAttr::Original)?, required(reply, FlowAttr::Reply)?);
        if required(original.protocol, ProtoAttr::Number)? != UDP {
            return Ok(None);
        }
        let (original, reply, id) = (original.tuple(zone)?, reply.tuple(zone)?, required(id, FlowAttr::Id)?);
        Ok(Some(Self { original, reply, id, mark, timeout }))
    }

    /// Writes the attributes that identify the entry. The reply tuple distinguishes a stale flow from its successor,
    /// whose number and original tuple may be equal.
    pub(super) fn write_key(&self, out: &mut Writer<'_>) {
        out.marked_nest(FlowAttr::Reply, |out| self.reply.write(out));
        if self.reply.zone != 0 {
            out.u16_be(FlowAttr::Zone, self.reply.zone);
        }
        out.array(FlowAttr::Id, &self.id.to_be_bytes());
    }
}

#[cfg(any(test, fuzzing, feature = "testing"))]
impl Flow {
    /// Writes all attributes, as the kernel does.
    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        for (attr, tuple) in [(FlowAttr::Original, self.original), (FlowAttr::Reply, self.reply)] {
            out.marked_nest(attr, |out| {
                tuple.write(out);
                out.u16_be(TupleAttr::Zone, tuple.zone);
            });
        }
        out.array(FlowAttr::Id, &self.id.to_be_bytes());
        if let Some(mark) = self.mark {
            out.array(FlowAttr::Mark, &mark.to_be_bytes());
        }
        if let Some(seconds) = self.timeout.and_then(|timeout| u32::try_from(timeout.as_secs()).ok()) {
            out.array(FlowAttr::Timeout, &seconds.to_be_bytes());
        }
    }
}

/// Reads the identity of an entry: its reply tuple and its number.
#[cfg(feature = "testing")]
pub(crate) fn read_key(attributes: &[u8]) -> Result<(Tuple, u32), DecodeError> {
    let (mut reply, mut zone, mut id) = (None, None, None);
    for attr in Attrs::<FlowAttr>::new(attributes) {
        let attr = attr?;
        match attr.kind {
            FlowAttr::Reply => reply = Some(Parts::read(attr.nested())?),
            FlowAttr::Zone => zone = Some(attr.u16_be()?),
            FlowAttr::Id => id = Some(attr.u32_be()?),
            _ => {}
        }
    }
    Ok((required(reply, FlowAttr::Reply)?.tuple(zone)?, required(id, FlowAttr::Id)?))
}

impl Tuple {
    fn write(&self, out: &mut Writer<'_>) {
        out.marked_nest(TupleAttr::Ip, |out| {
            write_address(out, IpAttr::V4Source, IpAttr::V6Source, self.source.ip());
            write_address(out, IpAttr::V4Destination, IpAttr::V6Destination, self.destination.ip());
        });
        out.marked_nest(TupleAttr::Protocol, |out| {
            out.u8(ProtoAttr::Number, UDP);
            out.u16_be(ProtoAttr::SourcePort, self.source.port());
            out.u16_be(ProtoAttr::DestinationPort, self.destination.port());
        });
    }
}

fn write_address(out: &mut Writer<'_>, v4: IpAttr, v6: IpAttr, address: IpAddr) {
    match address {
        IpAddr::V4(address) => out.array(v4, &address.octets()),
        IpAddr::V6(address) => out.array(v6, &address.octets()),
    }
}

/// Writes the filter of a dump for UDP flows. Kernels before Linux 5.8 ignore it.
pub(super) fn write_filter(out: &mut Writer<'_>) {
    out.marked_nest(FlowAttr::Original, |out| {
        out.marked_nest(TupleAttr::Protocol, |out| out.u8(ProtoAttr::Number, UDP));
    });
    out.marked_nest(FlowAttr::Filter, |out| out.u32_ne(FilterAttr::OriginalFlags, BY_PROTOCOL));
}

/// Attributes of a tuple. Those that a protocol lacks are absent.
#[derive(Default)]
struct Parts {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: Option<u8>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    zone: Option<u16>,
}

impl Parts {
    fn read(attributes: Attrs<'_, TupleAttr>) -> Result<Self, DecodeError> {
        let mut parts = Self::default();
        for attr in attributes {
            let attr = attr?;
            match attr.kind {
                TupleAttr::Ip => parts.read_addresses(&attr)?,
                TupleAttr::Protocol => parts.read_protocol(&attr)?,
                TupleAttr::Zone => parts.zone = Some(attr.u16_be()?),
            }
        }
        Ok(parts)
    }

    fn read_addresses(&mut self, list: &Attr<'_, TupleAttr>) -> Result<(), DecodeError> {
        for attr in list.nested::<IpAttr>() {
            let attr = attr?;
            match attr.kind {
                IpAttr::V4Source => self.source = Some(Ipv4Addr::from(attr.array()?).into()),
                IpAttr::V4Destination => self.destination = Some(Ipv4Addr::from(attr.array()?).into()),
                IpAttr::V6Source => self.source = Some(Ipv6Addr::from(attr.array::<16>()?).into()),
                IpAttr::V6Destination => self.destination = Some(Ipv6Addr::from(attr.array::<16>()?).into()),
            }
        }
        Ok(())
    }

    fn read_protocol(&mut self, list: &Attr<'_, TupleAttr>) -> Result<(), DecodeError> {
        for attr in list.nested::<ProtoAttr>() {
            let attr = attr?;
            match attr.kind {
                ProtoAttr::Number => self.protocol = Some(attr.u8()?),
                ProtoAttr::SourcePort => self.source_port = Some(attr.u16_be()?),
                ProtoAttr::DestinationPort => self.destination_port = Some(attr.u16_be()?),
            }
        }
        Ok(())
    }

    /// The tuple; `zone` is that of both directions.
    fn tuple(&self, zone: Option<u16>) -> Result<Tuple, DecodeError> {
        let source = required(self.source, IpAttr::V4Source)?;
        let destination = required(self.destination, IpAttr::V4Destination)?;
        let source_port = required(self.source_port, ProtoAttr::SourcePort)?;
        let destination_port = required(self.destination_port, ProtoAttr::DestinationPort)?;
        Ok(Tuple {
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
            zone: self.zone.or(zone).unwrap_or_default(),
        })
    }
}

/// The number of the protocol (`IPPROTO_UDP`).
const UDP: u8 = 17;

/// Compares the protocol of the original direction (`CTA_FILTER_F_CTA_PROTO_NUM`).
const BY_PROTOCOL: u32 = 1 << 3;

kinds! {
    /// Attributes of an entry (`enum ctattr_type` in `linux/netfilter/nfnetlink_conntrack.h`).
    FlowAttr "CTA" {
        Original = 1 "CTA_TUPLE_ORIG",
        Reply = 2 "CTA_TUPLE_REPLY",
        Timeout = 7 "CTA_TIMEOUT",
        Mark = 8 "CTA_MARK",
        Id = 12 "CTA_ID",
        Zone = 18 "CTA_ZONE",
        Filter = 25 "CTA_FILTER",
    }
}

kinds! {
    /// Attributes of a tuple (`enum ctattr_tuple`).
    TupleAttr "CTA_TUPLE" {
        Ip = 1 "CTA_TUPLE_IP",
        Protocol = 2 "CTA_TUPLE_PROTO",
        Zone = 3 "CTA_TUPLE_ZONE",
    }
}

kinds! {
    /// Addresses of a tuple (`enum ctattr_ip`).
    IpAttr "CTA_IP" {
        V4Source = 1 "CTA_IP_V4_SRC",
        V4Destination = 2 "CTA_IP_V4_DST",
        V6Source = 3 "CTA_IP_V6_SRC",
        V6Destination = 4 "CTA_IP_V6_DST",
    }
}

kinds! {
    /// Protocol and ports of a tuple (`enum ctattr_l4proto`).
    ProtoAttr "CTA_PROTO" {
        Number = 1 "CTA_PROTO_NUM",
        SourcePort = 2 "CTA_PROTO_SRC_PORT",
        DestinationPort = 3 "CTA_PROTO_DST_PORT",
    }
}

kinds! {
    /// Fields that a dump is filtered by (`enum ctattr_filter`).
    FilterAttr "CTA_FILTER" {
        OriginalFlags = 1 "CTA_FILTER_ORIG_FLAGS",
    }
}
