//! Counters and rates.

use std::fmt;

use crate::error::DecodeError;
use crate::wire::{Attr, Attrs, ByNumber, Kind, Layout, Table, Writer, kinds};

/// The kernel's 64-bit form, where it need not pad the numbers.
static LAYOUT: Layout<10, { StatsAttr::TABLE }, 120> = Layout::new(&[
    (StatsAttr::Connections as u16, 8),
    (StatsAttr::PacketsIn as u16, 8),
    (StatsAttr::PacketsOut as u16, 8),
    (StatsAttr::BytesIn as u16, 8),
    (StatsAttr::BytesOut as u16, 8),
    (StatsAttr::ConnectionRate as u16, 8),
    (StatsAttr::PacketRateIn as u16, 8),
    (StatsAttr::PacketRateOut as u16, 8),
    (StatsAttr::ByteRateIn as u16, 8),
    (StatsAttr::ByteRateOut as u16, 8),
]);

/// Traffic through a service or a destination since it was created, or since [`Ipvs::zero`](super::Ipvs::zero). A
/// destination that is deleted and added again while it still has connections keeps its counters.
///
/// The kernel updates these copies every 2 seconds. While the sysctl `net.ipv4.vs.run_estimation` is 0, it does not
/// update them.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
#[doc(alias("IPVS_SVC_ATTR_STATS64", "IPVS_DEST_ATTR_STATS64", "IPVS_SVC_ATTR_STATS", "IPVS_DEST_ATTR_STATS"))]
pub struct Stats {
    /// Connections scheduled (`IPVS_STATS_ATTR_CONNS`).
    #[doc(alias = "IPVS_STATS_ATTR_CONNS")]
    #[cfg_attr(feature = "serde", serde(rename = "conns"))]
    pub connections: u64,
    /// Packets from clients (`IPVS_STATS_ATTR_INPKTS`).
    #[doc(alias = "IPVS_STATS_ATTR_INPKTS")]
    #[cfg_attr(feature = "serde", serde(rename = "inpkts"))]
    pub packets_in: u64,
    /// Packets to clients that pass this machine (`IPVS_STATS_ATTR_OUTPKTS`).
    #[doc(alias = "IPVS_STATS_ATTR_OUTPKTS")]
    #[cfg_attr(feature = "serde", serde(rename = "outpkts"))]
    pub packets_out: u64,
    /// Bytes from clients (`IPVS_STATS_ATTR_INBYTES`).
    #[doc(alias = "IPVS_STATS_ATTR_INBYTES")]
    #[cfg_attr(feature = "serde", serde(rename = "inbytes"))]
    pub bytes_in: u64,
    /// Bytes to clients that pass this machine (`IPVS_STATS_ATTR_OUTBYTES`).
    #[doc(alias = "IPVS_STATS_ATTR_OUTBYTES")]
    #[cfg_attr(feature = "serde", serde(rename = "outbytes"))]
    pub bytes_out: u64,
    /// Averages per second.
    pub rates: Rates,
}

/// Moving averages per second. Each update has a weight of one quarter.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Rates {
    /// Connections per second (`IPVS_STATS_ATTR_CPS`).
    #[doc(alias = "IPVS_STATS_ATTR_CPS")]
    #[cfg_attr(feature = "serde", serde(rename = "cps"))]
    pub connections: u64,
    /// Packets from clients per second (`IPVS_STATS_ATTR_INPPS`).
    #[doc(alias = "IPVS_STATS_ATTR_INPPS")]
    #[cfg_attr(feature = "serde", serde(rename = "inpps"))]
    pub packets_in: u64,
    /// Packets to clients per second (`IPVS_STATS_ATTR_OUTPPS`).
    #[doc(alias = "IPVS_STATS_ATTR_OUTPPS")]
    #[cfg_attr(feature = "serde", serde(rename = "outpps"))]
    pub packets_out: u64,
    /// Bytes from clients per second (`IPVS_STATS_ATTR_INBPS`).
    #[doc(alias = "IPVS_STATS_ATTR_INBPS")]
    #[cfg_attr(feature = "serde", serde(rename = "inbps"))]
    pub bytes_in: u64,
    /// Bytes to clients per second (`IPVS_STATS_ATTR_OUTBPS`).
    #[doc(alias = "IPVS_STATS_ATTR_OUTBPS")]
    #[cfg_attr(feature = "serde", serde(rename = "outbps"))]
    pub bytes_out: u64,
}

impl fmt::Display for Stats {
    /// The columns of `ipvsadm -Ln --stats`: `conns 2 inpkts 10 outpkts 8 inbytes 600 outbytes 4000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, packets_in, packets_out, bytes_in, bytes_out, rates: _ } = self;
        write!(f, "conns {connections} inpkts {packets_in} outpkts {packets_out}")?;
        write!(f, " inbytes {bytes_in} outbytes {bytes_out}")
    }
}

impl fmt::Display for Rates {
    /// The columns of `ipvsadm -Ln --rate`: `cps 2 inpps 10 outpps 8 inbps 600 outbps 4000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, packets_in, packets_out, bytes_in, bytes_out } = self;
        write!(f, "cps {connections} inpps {packets_in} outpps {packets_out} inbps {bytes_in} outbps {bytes_out}")
    }
}

impl Stats {
    /// Writes the old form, which cuts all but the bytes to 32 bits.
    pub(super) fn write_cut(&self, out: &mut Writer<'_>, kind: impl Kind) {
        #[expect(clippy::cast_possible_truncation, reason = "the kernel does so")]
        let cut = |number: u64| number as u32;
        let Self { connections, packets_in, packets_out, bytes_in, bytes_out, rates } = *self;
        out.nest(kind, |out| {
            out.u32_ne(StatsAttr::Connections, cut(connections));
            out.u32_ne(StatsAttr::PacketsIn, cut(packets_in));
            out.u32_ne(StatsAttr::PacketsOut, cut(packets_out));
            out.u64_ne(StatsAttr::BytesIn, bytes_in);
            out.u64_ne(StatsAttr::BytesOut, bytes_out);
            out.u32_ne(StatsAttr::ConnectionRate, cut(rates.connections));
            out.u32_ne(StatsAttr::PacketRateIn, cut(rates.packets_in));
            out.u32_ne(StatsAttr::PacketRateOut, cut(rates.packets_out));
            out.u32_ne(StatsAttr::ByteRateIn, cut(rates.bytes_in));
            out.u32_ne(StatsAttr::ByteRateOut, cut(rates.bytes_out));
        });
    }

    /// Writes the 64-bit form.
    pub(super) fn write(&self, out: &mut Writer<'_>, kind: impl Kind) {
        let Self { connections, packets_in, packets_out, bytes_in, bytes_out, rates } = *self;
        out.nest(kind, |out| {
            out.u64_ne(StatsAttr::Connections, connections);
            out.u64_ne(StatsAttr::PacketsIn, packets_in);
            out.u64_ne(StatsAttr::PacketsOut, packets_out);
            out.u64_ne(StatsAttr::BytesIn, bytes_in);
            out.u64_ne(StatsAttr::BytesOut, bytes_out);
            out.u64_ne(StatsAttr::ConnectionRate, rates.connections);
            out.u64_ne(StatsAttr::PacketRateIn, rates.packets_in);
            out.u64_ne(StatsAttr::PacketRateOut, rates.packets_out);
            out.u64_ne(StatsAttr::ByteRateIn, rates.bytes_in);
            out.u64_ne(StatsAttr::ByteRateOut, rates.bytes_out);
        });
    }

    /// Reads what a kernel sends: both forms since Linux 4.1, the old one with the same numbers cut to 32 bits.
    #[inline]
    pub(super) fn newest<K: Kind>(
        new: Option<Attr<'_, K>>,
        old: Option<Attr<'_, K>>,
    ) -> Result<Option<Self>, DecodeError> {
        new.or(old).map(|attr| Self::read(attr.nested())).transpose()
    }

    /// Reads either form: the length of each number is its width.
    #[inline(always)]
    pub(super) fn read(attrs: Attrs<'_, StatsAttr>) -> Result<Self, DecodeError> {
        match LAYOUT.of(&attrs) {
            Some(usual) => Self::from_attributes(&usual),
            None => Self::read_unusual(attrs),
        }
    }

    #[cold]
    fn read_unusual(attrs: Attrs<'_, StatsAttr>) -> Result<Self, DecodeError> {
        Self::from_attributes(&Table::<_, { StatsAttr::TABLE }>::of(attrs)?)
    }

    #[inline(always)]
    fn from_attributes<'a>(table: &impl ByNumber<'a, StatsAttr>) -> Result<Self, DecodeError> {
        let read = |kind| table.read(kind, number).map(Option::unwrap_or_default);
        Ok(Self {
            connections: read(StatsAttr::Connections)?,
            packets_in: read(StatsAttr::PacketsIn)?,
            packets_out: read(StatsAttr::PacketsOut)?,
            bytes_in: read(StatsAttr::BytesIn)?,
            bytes_out: read(StatsAttr::BytesOut)?,
            rates: Rates {
                connections: read(StatsAttr::ConnectionRate)?,
                packets_in: read(StatsAttr::PacketRateIn)?,
                packets_out: read(StatsAttr::PacketRateOut)?,
                bytes_in: read(StatsAttr::ByteRateIn)?,
                bytes_out: read(StatsAttr::ByteRateOut)?,
            },
        })
    }
}

#[inline(always)]
fn number(attr: &Attr<'_, StatsAttr>) -> Result<u64, DecodeError> {
    if attr.bytes().len() == 4 { attr.u32_ne().map(u64::from) } else { attr.u64_ne() }
}

kinds! {
    /// Attributes of statistics, in 32 bits (but for the bytes) or in 64.
    StatsAttr "IPVS_STATS_ATTR" {
        Connections = 1 "IPVS_STATS_ATTR_CONNS",
        PacketsIn = 2 "IPVS_STATS_ATTR_INPKTS",
        PacketsOut = 3 "IPVS_STATS_ATTR_OUTPKTS",
        BytesIn = 4 "IPVS_STATS_ATTR_INBYTES",
        BytesOut = 5 "IPVS_STATS_ATTR_OUTBYTES",
        ConnectionRate = 6 "IPVS_STATS_ATTR_CPS",
        PacketRateIn = 7 "IPVS_STATS_ATTR_INPPS",
        PacketRateOut = 8 "IPVS_STATS_ATTR_OUTPPS",
        ByteRateIn = 9 "IPVS_STATS_ATTR_INBPS",
        ByteRateOut = 10 "IPVS_STATS_ATTR_OUTBPS",
        Padding = 11 "IPVS_STATS_ATTR_PAD",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filler_before_a_number_is_passed_over() {
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes);
        out.bytes(StatsAttr::Padding, &[]);
        out.u64_ne(StatsAttr::Connections, 7);
        assert_eq!(Stats::read(Attrs::new(&bytes)).unwrap(), Stats { connections: 7, ..Stats::default() });
    }
}
