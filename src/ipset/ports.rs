//! Ports of entries, and their protocols.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::net::{InvalidText, Protocol, number};

/// One port, or all from the first to the second.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ports {
    /// The first.
    #[doc(alias = "IPSET_ATTR_PORT_FROM")]
    pub first: u16,
    /// The last.
    #[doc(alias = "IPSET_ATTR_PORT_TO")]
    pub last: u16,
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl From<RangeInclusive<u16>> for Ports {
    fn from(range: RangeInclusive<u16>) -> Self {
        let (first, last) = range.into_inner();
        Self { first, last }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// Ports of TCP, UDP, UDP-Lite or SCTP, a type and code of ICMP or ICMPv6, or another protocol without ports.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProtocolPorts {
    /// The protocol (`/etc/protocols`), 1 to 255.
    #[doc(alias = "IPSET_ATTR_PROTO")]
    pub protocol: Protocol,
    /// Its ports. ICMP and ICMPv6 have the type in the high byte and the code in the low one.
    #[doc(alias("IPSET_ATTR_PORT", "IPSET_ATTR_PORT_TO"))]
    pub ports: Ports,
}

impl ProtocolPorts {
    pub(crate) const ICMP: Protocol = Protocol(1);
    pub(crate) const ICMPV6: Protocol = Protocol(58);
    pub(crate) const UDPLITE: Protocol = Protocol(136);

    /// Returns one port, or a range of ports, of TCP.
    pub fn tcp(ports: impl Into<Ports>) -> Self {
        Self { protocol: Protocol::TCP, ports: ports.into() }
    }

    /// Returns one port, or a range of ports, of UDP.
    pub fn udp(ports: impl Into<Ports>) -> Self {
        Self { protocol: Protocol::UDP, ports: ports.into() }
    }

    /// Returns one port, or a range of ports, of SCTP.
    pub fn sctp(ports: impl Into<Ports>) -> Self {
        Self { protocol: Protocol::SCTP, ports: ports.into() }
    }

    /// Returns one port, or a range of ports, of UDP-Lite.
    ///
    /// ```
    /// # use lvs::ipset::ProtocolPorts;
    /// assert_eq!(ProtocolPorts::udplite(53).to_string(), "udplite:53");
    /// assert_eq!(ProtocolPorts::sctp(9999).to_string(), "sctp:9999");
    /// ```
    pub fn udplite(ports: impl Into<Ports>) -> Self {
        Self { protocol: Self::UDPLITE, ports: ports.into() }
    }

    /// Returns a type and a code of ICMP, for sets of IPv4 addresses.
    pub fn icmp(kind: u8, code: u8) -> Self {
        Self { protocol: Self::ICMP, ports: u16::from_be_bytes([kind, code]).into() }
    }

    /// Returns a type and a code of ICMPv6, for sets of IPv6 addresses.
    ///
    /// ```
    /// # use lvs::ipset::ProtocolPorts;
    /// assert_eq!(ProtocolPorts::icmpv6(128, 0).to_string(), "icmpv6:128/0");
    /// ```
    pub fn icmpv6(kind: u8, code: u8) -> Self {
        Self { protocol: Self::ICMPV6, ports: u16::from_be_bytes([kind, code]).into() }
    }

    /// Returns one port, or a range of ports, of this protocol.
    pub fn of(protocol: Protocol, ports: impl Into<Ports>) -> Self {
        Self { protocol, ports: ports.into() }
    }

    /// Returns a protocol without ports.
    pub fn protocol(number: u8) -> Self {
        Self { protocol: Protocol(number.into()), ports: 0.into() }
    }
}

impl fmt::Display for ProtocolPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::TCP => f.write_str("tcp")?,
            Protocol::UDP => f.write_str("udp")?,
            Protocol::SCTP => f.write_str("sctp")?,
            Self::UDPLITE => f.write_str("udplite")?,
            Self::ICMP | Self::ICMPV6 => {
                f.write_str(if self.protocol == Self::ICMP { "icmp" } else { "icmpv6" })?;
                let [kind, code] = self.ports.first.to_be_bytes();
                write!(f, ":{kind}/{code}")?;
                if self.ports.first != self.ports.last {
                    let [kind, code] = self.ports.last.to_be_bytes();
                    write!(f, "-{kind}/{code}")?;
                }
                return Ok(());
            }
            other => other.fmt(f)?,
        }
        write!(f, ":{}", self.ports)
    }
}

impl FromStr for Ports {
    type Err = InvalidText;

    /// Reads `80` or `1000-2000`.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let parsed = match text.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| Self { first, last }),
            None => number(text).map(|port: u16| port.into()),
        };
        parsed.ok_or_else(|| InvalidText::new(text, "a port or a range of ports such as 1000-2000"))
    }
}

impl FromStr for ProtocolPorts {
    type Err = InvalidText;

    /// Reads `tcp:80`, `udp:1000-2000`, `icmp:8/0`, `47:0`: a protocol without a name here is a number.
    ///
    /// ```
    /// # use lvs::ipset::ProtocolPorts;
    /// assert_eq!("udp:1000-2000".parse(), Ok(ProtocolPorts::udp(1000..=2000)));
    /// assert_eq!("icmp:8/0".parse(), Ok(ProtocolPorts::icmp(8, 0)));
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        parse(text).ok_or_else(|| InvalidText::new(text, "a protocol and ports such as tcp:80 or icmp:8/0"))
    }
}

fn parse(text: &str) -> Option<ProtocolPorts> {
    let (protocol, ports) = text.split_once(':')?;
    let protocol = match protocol {
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        "sctp" => Protocol::SCTP,
        "udplite" => ProtocolPorts::UDPLITE,
        "icmp" => ProtocolPorts::ICMP,
        "icmpv6" => ProtocolPorts::ICMPV6,
        other => Protocol(number::<u8>(other)?.into()),
    };
    let icmp = |text: &str| {
        let (kind, code) = text.split_once('/')?;
        Some(u16::from_be_bytes([number(kind)?, number(code)?]))
    };
    let ports = match (protocol, ports.split_once('-')) {
        (ProtocolPorts::ICMP | ProtocolPorts::ICMPV6, Some((first, last))) => {
            Ports { first: icmp(first)?, last: icmp(last)? }
        }
        (ProtocolPorts::ICMP | ProtocolPorts::ICMPV6, None) => icmp(ports)?.into(),
        _ => ports.parse().ok()?,
    };
    Some(ProtocolPorts { protocol, ports })
}

serde_text!(Ports, ProtocolPorts);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_shown_as_ipset_takes_them() {
        assert_eq!(ProtocolPorts::tcp(80).to_string(), "tcp:80");
        assert_eq!(ProtocolPorts::udp(53..=60).to_string(), "udp:53-60");
        assert_eq!(ProtocolPorts::icmp(8, 1).to_string(), "icmp:8/1");
        assert_eq!(ProtocolPorts::protocol(47).to_string(), "47:0");
    }
}
