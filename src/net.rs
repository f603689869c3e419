//! Address families, protocols, the error of text, and which addresses a host can have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// An address family.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[doc(alias("IPVS_SVC_ATTR_AF", "IPSET_ATTR_FAMILY"))]
pub enum Family {
    /// IPv4 (`AF_INET`).
    Inet,
    /// IPv6 (`AF_INET6`).
    Inet6,
}

impl Family {
    /// Returns the family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Inet } else { Self::Inet6 }
    }

    /// The length of an address in bits.
    pub(crate) fn bits(self) -> u8 {
        match self {
            Self::Inet => 32,
            Self::Inet6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inet => "inet",
            Self::Inet6 => "inet6",
        })
    }
}

impl FromStr for Family {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        match text {
            "inet" => Ok(Self::Inet),
            "inet6" => Ok(Self::Inet6),
            _ => Err(InvalidText::new(text, "inet or inet6")),
        }
    }
}

/// A transport protocol by its IP number.
///
/// The kernel stores any number and schedules those that have a constant here.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Protocol(pub u16);

impl Protocol {
    /// The Transmission Control Protocol.
    pub const TCP: Self = Self(6);
    /// The User Datagram Protocol.
    pub const UDP: Self = Self(17);
    /// The Stream Control Transmission Protocol.
    pub const SCTP: Self = Self(132);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.pad("tcp"),
            Self::UDP => f.pad("udp"),
            Self::SCTP => f.pad("sctp"),
            Self(number) => fmt::Display::fmt(&number, f),
        }
    }
}

impl FromStr for Protocol {
    type Err = InvalidText;

    /// Reads `tcp`, `udp`, `sctp` or a number.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        match text {
            "tcp" => Ok(Self::TCP),
            "udp" => Ok(Self::UDP),
            "sctp" => Ok(Self::SCTP),
            _ => number(text).map(Self).ok_or_else(|| InvalidText::new(text, "tcp, udp, sctp or a protocol number")),
        }
    }
}

/// The error of a text that cannot be parsed.
///
/// ```
/// let error = "tpc".parse::<lvs::Protocol>().unwrap_err();
/// assert_eq!(error.to_string(), "\"tpc\" is not tcp, udp, sctp or a protocol number");
/// assert_eq!(error.text(), "tpc");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
#[non_exhaustive]
pub struct InvalidText {
    text: String,
    expected: &'static str,
}

impl InvalidText {
    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.to_owned(), expected }
    }

    /// Returns the text that could not be parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns a description of the expected form.
    ///
    /// ```
    /// let error = "tpc".parse::<lvs::ipvs::Forwarding>().unwrap_err();
    /// assert_eq!(error.to_string(), format!("{:?} is not {}", error.text(), error.expected()));
    /// ```
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

serde_text!(Family, Protocol);

/// Serialised form of a time: whole seconds.
#[cfg(feature = "serde")]
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        if time.subsec_nanos() != 0 {
            return Err(S::Error::custom(format_args!("{time:?} is not in whole seconds")));
        }
        time.as_secs().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

/// Serialised form of an optional time: whole seconds.
#[cfg(feature = "serde")]
pub(crate) mod optional_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature is that of serde")]
    pub(crate) fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::seconds::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
    }
}

/// Reads a number that has digits only, without a sign.
pub(crate) fn number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Stores a part of a text that was not given before.
pub(crate) fn set<T>(part: &mut Option<T>, value: T) -> Option<()> {
    part.replace(value).is_none().then_some(())
}

/// Returns the reason why no host can have this address; `None` if a host can.
pub(crate) fn unusable_for_host(address: IpAddr) -> Option<String> {
    let mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    if mapped {
        return Some(format!("{address} is an IPv4 address written as IPv6, which no packet has"));
    }
    let broadcast = address == Ipv4Addr::BROADCAST;
    (broadcast || address.is_unspecified() || address.is_multicast())
        .then(|| format!("{address} is not the address of one host"))
}
