//! Options of sets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use super::kind::{Kind, Method};
use super::numbers::flag;
use super::ports::Ports;
use crate::net::{Family, InvalidText, number};

/// Range of a bitmap.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum BitmapRange {
    /// All addresses from the first to the second.
    #[doc(alias("IPSET_ATTR_IP", "IPSET_ATTR_IP_TO"))]
    Addresses(Ipv4Addr, Ipv4Addr),
    /// All ports from the first to the second.
    #[doc(alias("IPSET_ATTR_PORT", "IPSET_ATTR_PORT_TO"))]
    Ports(Ports),
}

impl BitmapRange {
    /// The range as the kernel stores it in a set with this netmask.
    pub(crate) fn stored(self, netmask: Option<u8>) -> Self {
        match self {
            Self::Addresses(one, other) => {
                let hosts = u32::MAX.checked_shr(netmask.unwrap_or(32).into()).unwrap_or(0);
                let (first, last) = (one.min(other).to_bits() & !hosts, one.max(other).to_bits() | hosts);
                Self::Addresses(first.into(), last.into())
            }
            Self::Ports(Ports { first, last }) => Self::Ports(Ports { first: first.min(last), last: first.max(last) }),
        }
    }
}

impl fmt::Display for BitmapRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(first, last) => write!(f, "{first}-{last}"),
            Self::Ports(Ports { first, last }) => write!(f, "{first}-{last}"),
        }
    }
}

/// The options of a set of any type (`ipset(8)`, "GENERIC CREATE AND ADD OPTIONS" and "SET TYPES").
///
/// [`NewSet`](super::NewSet) has a method for each option of its type. `None` is the kernel's default. Reading returns
/// the kernel's values; it leaves out some of its defaults.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct SetOptions {
    /// The family of the addresses, for hash types except `hash:mac`.
    #[doc(alias = "IPSET_ATTR_FAMILY")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub family: Option<Family>,
    /// Range of the bitmap. At most 65536 elements. The kernel swaps reversed ends, and widens a range of
    /// addresses to whole networks of the `netmask`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub range: Option<BitmapRange>,
    /// The size of the hash table: a power of two, or rounded up to one, at least 64; 1024 by default. The kernel
    /// increases it as needed, and reading returns the present size.
    #[doc(alias = "IPSET_ATTR_HASHSIZE")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub hashsize: Option<u32>,
    /// Maximum number of elements of a hash type; 65536 by default. A set with 0 accepts no element.
    #[doc(alias = "IPSET_ATTR_MAXELEM")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub maxelem: Option<u32>,
    /// The size of the hash table's buckets: even, 2 to 12; 12 by default. Since Linux 5.11. Read from the newest
    /// revision only.
    #[doc(alias = "IPSET_ATTR_BUCKETSIZE")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub bucketsize: Option<u8>,
    /// The initial value of the hash function; random by default. Since Linux 5.11. Read from the newest revision only.
    #[doc(alias = "IPSET_ATTR_INITVAL")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub initval: Option<u32>,
    /// Prefix length by which addresses are masked. A full length, such as 32, reads back as `None`.
    ///
    /// Add single addresses or networks to such sets, and no ranges. In `hash:ip,port` the kernel masks only the first
    /// address of a range or network and stores the others unmasked. In `hash:net,net` an entry with a range is stored
    /// unmasked. In `bitmap:ip` a range counts from its first address in steps of the network, and may miss the network
    /// of its last address.
    #[doc(alias = "IPSET_ATTR_NETMASK")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub netmask: Option<u8>,
    /// Mask of addresses. A mask of ones only reads back as `None`. Add only single addresses to such a set: the kernel
    /// masks the first address of a range or network, and adds every address from there to the last. Since Linux 6.2.
    #[doc(alias = "IPSET_ATTR_BITMASK")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub bitmask: Option<IpAddr>,
    /// Mask of the packet marks in `hash:ip,mark`; all bits by default.
    #[doc(alias = "IPSET_ATTR_MARKMASK")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub markmask: Option<u32>,
    /// The size of a `list:set`; 8 by default. The kernel stores 0 to 3 as 4, and lets the set grow beyond its size.
    #[doc(alias = "IPSET_ATTR_SIZE")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub size: Option<u32>,
    /// Default timeout of entries, in whole seconds up to 2147483; zero is never. `None`: entries have no timeouts.
    #[doc(alias = "IPSET_ATTR_TIMEOUT")]
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::net::optional_seconds", skip_serializing_if = "Option::is_none")
    )]
    pub timeout: Option<Duration>,
    /// Whether entries count matching packets.
    #[doc(alias = "IPSET_FLAG_WITH_COUNTERS")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub counters: bool,
    /// Whether entries may have comments.
    #[doc(alias = "IPSET_FLAG_WITH_COMMENT")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub comment: bool,
    /// Whether entries may have values for the `SET` target of iptables.
    #[doc(alias = "IPSET_FLAG_WITH_SKBINFO")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub skbinfo: bool,
    /// Whether a new entry of a full hash type replaces an entry in its bucket of the hash table. Without one there, the
    /// set is full ([`is_full`](crate::Error::is_full)).
    #[doc(alias = "IPSET_FLAG_WITH_FORCEADD")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub forceadd: bool,
}

impl FromStr for BitmapRange {
    type Err = InvalidText;

    /// Reads `10.0.0.0-10.0.0.255` or `1000-2000`.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let parsed = text.split_once('-').and_then(|(first, last)| match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => Some(Self::Addresses(first, last)),
            _ => Some(Self::Ports(Ports { first: number(first)?, last: number(last)? })),
        });
        parsed.ok_or_else(|| InvalidText::new(text, "a range such as 10.0.0.0-10.0.0.255 or 1000-2000"))
    }
}

impl fmt::Display for SetOptions {
    /// Writes the text of `ipset save`: `family inet hashsize 1024 maxelem 65536 timeout 600 counters`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Words { f, blank: "" };
        words.value("range", self.range)?;
        words.value("family", self.family)?;
        words.value("markmask", self.markmask.map(|mask| format!("{mask:#010x}")))?;
        words.value("hashsize", self.hashsize)?;
        words.value("maxelem", self.maxelem)?;
        words.value("size", self.size)?;
        words.value("netmask", self.netmask)?;
        words.value("bitmask", self.bitmask)?;
        words.value("timeout", self.timeout.map(|timeout| timeout.as_secs()))?;
        for (name, given) in [
            ("counters", self.counters),
            ("comment", self.comment),
            ("skbinfo", self.skbinfo),
            ("forceadd", self.forceadd),
        ] {
            words.word(name, given)?;
        }
        words.value("bucketsize", self.bucketsize)?;
        words.value("initval", self.initval.map(|value| format!("{value:#010x}")))
    }
}

impl FromStr for SetOptions {
    type Err = InvalidText;

    /// Reads options in any order, each at most once.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let mut options = Self::default();
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            options.read(word, &mut words).ok_or_else(|| {
                InvalidText::new(text, "options of a set such as family inet maxelem 1000 timeout 600 counters")
            })?;
        }
        Ok(options)
    }
}

impl SetOptions {
    /// The options of a set of this type that the kernel compares, with its defaults.
    pub(super) fn compared(&self, kind: Kind) -> Self {
        let mut options = Self { hashsize: None, bucketsize: None, initval: None, forceadd: false, ..*self };
        if kind.has_family() {
            options.family.get_or_insert(Family::Inet);
        }
        match kind.method() {
            Method::Hash => _ = options.maxelem.get_or_insert(65536),
            Method::List => options.size = Some(options.size.unwrap_or(8).max(4)),
            Method::Bitmap => options.range = options.range.map(|range| range.stored(options.netmask)),
        }
        if kind == Kind::HashIpMark {
            options.markmask.get_or_insert(u32::MAX);
        }
        let bits = options.family.unwrap_or(Family::Inet).bits();
        options.netmask = options.netmask.filter(|prefix| *prefix != bits);
        options.bitmask = options.bitmask.filter(|mask| match mask {
            IpAddr::V4(mask) => mask.to_bits() != u32::MAX,
            IpAddr::V6(mask) => mask.to_bits() != u128::MAX,
        });
        options
    }

    /// Sets the options that are equal in both to `None`.
    pub(super) fn keep_different(&mut self, other: &mut Self) {
        fn drop_equal<T: Default + PartialEq>(one: &mut T, other: &mut T) {
            if one == other {
                (*one, *other) = (T::default(), T::default());
            }
        }
        drop_equal(&mut self.family, &mut other.family);
        drop_equal(&mut self.range, &mut other.range);
        drop_equal(&mut self.hashsize, &mut other.hashsize);
        drop_equal(&mut self.maxelem, &mut other.maxelem);
        drop_equal(&mut self.bucketsize, &mut other.bucketsize);
        drop_equal(&mut self.initval, &mut other.initval);
        drop_equal(&mut self.netmask, &mut other.netmask);
        drop_equal(&mut self.bitmask, &mut other.bitmask);
        drop_equal(&mut self.markmask, &mut other.markmask);
        drop_equal(&mut self.size, &mut other.size);
        drop_equal(&mut self.timeout, &mut other.timeout);
        drop_equal(&mut self.counters, &mut other.counters);
        drop_equal(&mut self.comment, &mut other.comment);
        drop_equal(&mut self.skbinfo, &mut other.skbinfo);
        drop_equal(&mut self.forceadd, &mut other.forceadd);
    }

    /// Reads one option; `None` if it is unknown, was given before, or has a wrong value.
    fn read<'a>(&mut self, name: &str, rest: &mut impl Iterator<Item = &'a str>) -> Option<()> {
        match name {
            "counters" => return set_flag(&mut self.counters),
            "comment" => return set_flag(&mut self.comment),
            "skbinfo" => return set_flag(&mut self.skbinfo),
            "forceadd" => return set_flag(&mut self.forceadd),
            _ => {}
        }
        let value = rest.next()?;
        match name {
            "range" => set(&mut self.range, value.parse().ok()?),
            "family" => set(&mut self.family, value.parse().ok()?),
            "markmask" => set(&mut self.markmask, bits(value)?),
            "hashsize" => set(&mut self.hashsize, number(value)?),
            "maxelem" => set(&mut self.maxelem, number(value)?),
            "size" => set(&mut self.size, number(value)?),
            "netmask" => set(&mut self.netmask, number(value)?),
            "bitmask" => set(&mut self.bitmask, value.parse().ok()?),
            "timeout" => set(&mut self.timeout, Duration::from_secs(number(value)?)),
            "bucketsize" => set(&mut self.bucketsize, number(value)?),
            "initval" => set(&mut self.initval, bits(value)?),
            _ => None,
        }
    }
}

type Get = fn(&SetOptions) -> bool;

/// The flag of each option that is given or not.
pub(super) const FLAGS: [(Get, u32); 4] = [
    (|options| options.counters, flag::WITH_COUNTERS),
    (|options| options.comment, flag::WITH_COMMENT),
    (|options| options.skbinfo, flag::WITH_SKBINFO),
    (|options| options.forceadd, flag::WITH_FORCEADD),
];

/// Words with a blank between them.
pub(super) struct Words<'a, 'f> {
    pub(super) f: &'a mut fmt::Formatter<'f>,
    pub(super) blank: &'static str,
}

impl Words<'_, '_> {
    pub(super) fn word(&mut self, name: &str, given: bool) -> fmt::Result {
        if given {
            write!(self.f, "{}{name}", self.blank)?;
            self.blank = " ";
        }
        Ok(())
    }

    pub(super) fn value(&mut self, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
        if let Some(value) = value {
            write!(self.f, "{}{name} {value}", self.blank)?;
            self.blank = " ";
        }
        Ok(())
    }
}

/// Sets an option that was not given before.
pub(super) fn set<T>(option: &mut Option<T>, value: T) -> Option<()> {
    option.replace(value).is_none().then_some(())
}

/// Sets a flag that was not given before.
pub(super) fn set_flag(flag: &mut bool) -> Option<()> {
    (!std::mem::replace(flag, true)).then_some(())
}

/// Reads a number of 32 bits, decimal or with `0x`.
pub(super) fn bits(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => hex(digits),
        None => number(text),
    }
}

/// Reads hexadecimal digits, without a sign.
pub(super) fn hex(digits: &str) -> Option<u32> {
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, 16).ok() }
}

serde_text!(BitmapRange);
