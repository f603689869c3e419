//! Addresses and networks of entries.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::net::{Family, InvalidText, number};

/// A network: an address and a prefix length. [`Network::new`] clears the host bits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Returns the network of this prefix length that contains the address; `None` if the prefix is longer than an
    /// address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = Family::of(address).bits();
        (prefix <= bits).then(|| {
            let shift = u32::from(bits - prefix);
            let address = match address {
                IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(
                    v4.to_bits().checked_shr(shift).unwrap_or(0).checked_shl(shift).unwrap_or(0),
                )),
                IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(
                    v6.to_bits().checked_shr(shift).unwrap_or(0).checked_shl(shift).unwrap_or(0),
                )),
            };
            Self { address, prefix }
        })
    }

    /// Returns a network that keeps the host bits of the address, such as `10.0.0.3/30`.
    ///
    /// A request has the address with its host bits. The kernel clears them, except for some checks of the address. The
    /// value is unequal to that of [`Network::new`].
    pub fn of_host(address: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= Family::of(address).bits()).then_some(Self { address, prefix })
    }

    /// Returns its first address, or the address of [`Network::of_host`].
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Returns the prefix length: the number of bits that its addresses share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed =
            text.split_once('/').and_then(|(address, prefix)| Self::new(address.parse().ok()?, number(prefix)?));
        parsed.ok_or_else(|| InvalidText::new(text, "a network such as 10.0.0.0/8"))
    }
}

/// One address, or many.
///
/// In a type of networks (`hash:net`, …) an address is the network of one host, and a range is split into the fewest
/// networks. In a type of addresses (`hash:ip`, …) a range or a network means each of its addresses. The kernel has no
/// ranges of IPv6 addresses, and IPv6 networks only in types of networks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Addresses {
    /// One address.
    #[doc(alias("IPSET_ATTR_IP", "IPSET_ATTR_IP2", "IPSET_ATTR_IPADDR_IPV4", "IPSET_ATTR_IPADDR_IPV6"))]
    One(IpAddr),
    /// All addresses of a network.
    #[doc(alias("IPSET_ATTR_CIDR", "IPSET_ATTR_CIDR2"))]
    Network(Network),
    /// All IPv4 addresses from the first to the second. The ends may be reversed.
    #[doc(alias("IPSET_ATTR_IP_TO", "IPSET_ATTR_IP2_TO"))]
    Range(Ipv4Addr, Ipv4Addr),
}

impl Addresses {
    /// Returns their family.
    pub fn family(self) -> Family {
        Family::of(self.first())
    }

    /// Returns the first address.
    pub fn first(self) -> IpAddr {
        match self {
            Self::One(address) => address,
            Self::Range(address, _) => address.into(),
            Self::Network(network) => network.address,
        }
    }
}

impl From<IpAddr> for Addresses {
    fn from(address: IpAddr) -> Self {
        Self::One(address)
    }
}

impl From<Ipv4Addr> for Addresses {
    fn from(address: Ipv4Addr) -> Self {
        Self::One(address.into())
    }
}

impl From<Ipv6Addr> for Addresses {
    fn from(address: Ipv6Addr) -> Self {
        Self::One(address.into())
    }
}

impl From<Network> for Addresses {
    /// A network of one host is that host.
    fn from(network: Network) -> Self {
        if network.prefix == Family::of(network.address).bits() {
            Self::One(network.address)
        } else {
            Self::Network(network)
        }
    }
}

impl From<RangeInclusive<Ipv4Addr>> for Addresses {
    fn from(range: RangeInclusive<Ipv4Addr>) -> Self {
        let (first, last) = range.into_inner();
        Self::Range(first, last)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::Network(network) => network.fmt(f),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl FromStr for Addresses {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = if text.contains('/') {
            text.parse::<Network>().ok().map(Self::from)
        } else if let Some((first, last)) = text.split_once('-') {
            first.parse().ok().zip(last.parse().ok()).map(|(first, last)| Self::Range(first, last))
        } else {
            text.parse::<IpAddr>().ok().map(Self::from)
        };
        parsed.ok_or_else(|| InvalidText::new(text, "an address, a network or a range of IPv4 addresses"))
    }
}

serde_text!(Network, Addresses);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_no_host_bits() {
        let network = |text: &str| text.parse::<Network>().map(|network| network.to_string());
        assert_eq!(network("10.1.2.3/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(network("10.1.2.3/0").as_deref(), Ok("0.0.0.0/0"));
        assert_eq!(network("2001:db8::1/32").as_deref(), Ok("2001:db8::/32"));
        assert_eq!(network("2001:db8::1/0").as_deref(), Ok("::/0"));
        assert!(network("10.1.2.3/33").is_err());
        assert!(network("10.1.2.3").is_err());
        let of_host =
            |prefix| Network::of_host(Ipv4Addr::new(10, 1, 2, 3).into(), prefix).map(|network| network.to_string());
        assert_eq!(of_host(8).as_deref(), Some("10.1.2.3/8"));
        assert_eq!(of_host(33), None);
    }

    #[test]
    fn addresses_read_back() {
        for text in ["10.0.0.1", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "2001:db8::1", "2001:db8::/32"] {
            assert_eq!(text.parse::<Addresses>().map(|addresses| addresses.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("10.0.0.1/32".parse::<Addresses>(), Ok(Addresses::from(Ipv4Addr::new(10, 0, 0, 1))));
        for text in ["", "10.0.0.1-", "10.0.0.1-x", "10.0.0.1-::1", "::1-::9", "10.0.0.1/", "a"] {
            assert!(text.parse::<Addresses>().is_err(), "{text}");
        }
    }
}
