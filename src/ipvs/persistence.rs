//! Persistence: how a client stays with its destination.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use crate::net::{Family, InvalidText, number};

/// Persistence of a client on its destination (`IP_VS_SVC_F_PERSISTENT`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
#[doc(alias = "IP_VS_SVC_F_PERSISTENT")]
pub struct Persistence {
    /// Time for which a client is remembered, from the beginning of its last connection (`IPVS_SVC_ATTR_TIMEOUT`):
    /// whole seconds, at most [`Persistence::LONGEST`]. While the client still has connections, the kernel extends an
    /// expired time by a minute at a time.
    #[doc(alias = "IPVS_SVC_ATTR_TIMEOUT")]
    #[cfg_attr(feature = "serde", serde(with = "crate::net::seconds"))]
    pub timeout: Duration,
    /// Mask of the clients that count as one (`IPVS_SVC_ATTR_NETMASK`).
    #[doc(alias = "IPVS_SVC_ATTR_NETMASK")]
    #[cfg_attr(feature = "serde", serde(default = "Netmask::host", skip_serializing_if = "Netmask::is_host"))]
    pub netmask: Netmask,
}

impl Persistence {
    /// The longest timeout that every kernel counts correctly. Above it, a kernel with 1000 ticks a second wraps around
    /// to zero without an error.
    pub const LONGEST: Duration = Duration::from_secs(4_294_967);

    /// Returns the persistence of single client addresses, with this timeout.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, netmask: Netmask::HOST }
    }

    /// Returns a copy that treats the clients of a network as one.
    #[must_use = "the changed value is returned"]
    pub fn netmask(self, netmask: Netmask) -> Self {
        Self { netmask, ..self }
    }

    pub(super) fn problem(&self, family: Family) -> Option<Cow<'static, str>> {
        self.timeout_problem().or_else(|| self.netmask_problem(family))
    }

    /// As [`Persistence::problem`], of the values that differ from `before`.
    pub(super) fn edited_problem(&self, before: Option<Self>, family: Family) -> Option<Cow<'static, str>> {
        let (timeout, netmask) =
            before.map_or((true, true), |before| (self.timeout != before.timeout, self.netmask != before.netmask));
        let problem = timeout.then(|| self.timeout_problem()).flatten();
        problem.or_else(|| netmask.then(|| self.netmask_problem(family)).flatten())
    }

    fn timeout_problem(&self) -> Option<Cow<'static, str>> {
        if self.timeout.subsec_nanos() != 0 {
            return Some(format!("the persistence timeout {:?} is not in whole seconds", self.timeout).into());
        }
        if self.timeout > Self::LONGEST {
            return Some(format!("the persistence timeout {:?} is above {:?}", self.timeout, Self::LONGEST).into());
        }
        None
    }

    fn netmask_problem(&self, family: Family) -> Option<Cow<'static, str>> {
        match (self.netmask.0, family) {
            (Mask::Inet(_), Family::Inet6) => Some("an IPv4 persistence netmask on an IPv6 service".into()),
            (Mask::Inet6(_), Family::Inet) => Some("an IPv6 persistence prefix on an IPv4 service".into()),
            _ => None,
        }
    }
}

/// Mask of the clients of a persistent service that count as one.
///
/// ```
/// use lvs::ipvs::Netmask;
///
/// assert_eq!(Netmask::inet("255.255.255.255".parse().unwrap()), Netmask::HOST);
/// assert_eq!(Netmask::inet6(128), Ok(Netmask::HOST));
/// assert!(Netmask::inet6(129).is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Netmask(Mask);

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Mask {
    Host,
    Inet(Ipv4Addr),
    Inet6(u8),
}

impl Netmask {
    /// Mask for single addresses, in either family.
    pub const HOST: Self = Self(Mask::Host);

    #[cfg(feature = "serde")]
    fn host() -> Self {
        Self::HOST
    }

    #[cfg(feature = "serde")]
    fn is_host(&self) -> bool {
        *self == Self::HOST
    }

    /// Returns a mask for IPv4 clients. Clients that agree in its bits count as one; the bits need not be contiguous.
    pub fn inet(mask: Ipv4Addr) -> Self {
        if mask == Ipv4Addr::BROADCAST { Self::HOST } else { Self(Mask::Inet(mask)) }
    }

    /// Returns a mask for IPv6 clients. Clients that agree in the first `prefix` bits, 1 to 128, count as one.
    ///
    /// # Errors
    /// For any other length.
    pub fn inet6(prefix: u8) -> Result<Self, InvalidPrefix> {
        match prefix {
            128 => Ok(Self::HOST),
            1..=127 => Ok(Self(Mask::Inet6(prefix))),
            _ => Err(InvalidPrefix(prefix)),
        }
    }

    /// Returns the mask of an IPv4 service; `None` for an IPv6 mask.
    pub fn as_inet(&self) -> Option<Ipv4Addr> {
        match self.0 {
            Mask::Host => Some(Ipv4Addr::BROADCAST),
            Mask::Inet(mask) => Some(mask),
            Mask::Inet6(_) => None,
        }
    }

    /// Returns the prefix length of an IPv6 service; `None` for an IPv4 mask.
    pub fn as_inet6(&self) -> Option<u8> {
        match self.0 {
            Mask::Host => Some(128),
            Mask::Inet(_) => None,
            Mask::Inet6(prefix) => Some(prefix),
        }
    }
}

/// A prefix length outside of 1 to 128.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an IPv6 prefix length of {0} is not between 1 and 128")]
pub struct InvalidPrefix(u8);

impl fmt::Display for Netmask {
    /// Writes the argument of `ipvsadm -M`: `255.255.255.0`, or the prefix length of IPv6. [`Netmask::HOST`] is `host`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Mask::Host => f.pad("host"),
            Mask::Inet(mask) => fmt::Display::fmt(&mask, f),
            Mask::Inet6(prefix) => fmt::Display::fmt(&prefix, f),
        }
    }
}

impl FromStr for Netmask {
    type Err = InvalidText;

    /// Reads `host`, an IPv4 mask or an IPv6 prefix length.
    ///
    /// ```
    /// # use lvs::ipvs::Netmask;
    /// assert_eq!("255.255.255.255".parse(), Ok(Netmask::HOST));
    /// assert_eq!("64".parse(), Ok(Netmask::inet6(64).unwrap()));
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let parsed = match text {
            "host" => Some(Self::HOST),
            _ if text.contains('.') => text.parse().ok().map(Self::inet),
            _ => number(text).and_then(|prefix| Self::inet6(prefix).ok()),
        };
        parsed.ok_or_else(|| InvalidText::new(text, "an IPv4 mask, an IPv6 prefix length of 1 to 128, or host"))
    }
}

serde_text!(Netmask);

// The bytes.

impl Netmask {
    /// An IPv4 mask goes in network order, an IPv6 prefix length in the machine's.
    #[inline]
    pub(super) fn bytes(self, family: Family) -> [u8; 4] {
        match (self.0, family) {
            (Mask::Inet(mask), _) => mask.octets(),
            (Mask::Inet6(prefix), _) => u32::from(prefix).to_ne_bytes(),
            (Mask::Host, Family::Inet) => [255; 4],
            (Mask::Host, Family::Inet6) => 128u32.to_ne_bytes(),
        }
    }
}
