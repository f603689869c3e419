//! Forwarding: how packets get to a destination.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use super::flags::{read_words, write_words};
use super::numbers::{forwarding, tunnel};
use crate::net::{InvalidText, number};

/// Forwarding method of packets to a destination (`IP_VS_CONN_F_FWD_MASK`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
#[doc(alias("IPVS_DEST_ATTR_FWD_METHOD", "IP_VS_CONN_F_FWD_MASK"))]
pub enum Forwarding {
    /// Network address translation (`IP_VS_CONN_F_MASQ`): answers must come back through this machine.
    #[doc(alias = "IP_VS_CONN_F_MASQ")]
    Masquerade,
    /// Delivery to this machine itself (`IP_VS_CONN_F_LOCALNODE`). The other methods also deliver to a local address.
    #[doc(alias = "IP_VS_CONN_F_LOCALNODE")]
    Local,
    /// Encapsulation (`IP_VS_CONN_F_TUNNEL`): the destination has the virtual address and answers clients directly.
    #[doc(alias = "IP_VS_CONN_F_TUNNEL")]
    Tunnel(Tunnel),
    /// Direct routing, also called gatewaying (`IP_VS_CONN_F_DROUTE`): packets are forwarded unchanged. The destination
    /// is on the same link, has the virtual address and answers clients directly.
    #[doc(alias = "IP_VS_CONN_F_DROUTE")]
    DirectRoute,
    /// Delivery to the address in the client's packet (`IP_VS_CONN_F_BYPASS`). The kernel uses it by itself for a
    /// bypassed cache.
    #[doc(alias = "IP_VS_CONN_F_BYPASS")]
    Bypass,
    /// A number that has no meaning up to Linux 7.3. It can be read; setting it is refused.
    Other(u32),
}

/// Encapsulation of packets.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
#[doc(alias = "IPVS_DEST_ATTR_TUN_TYPE")]
pub enum Tunnel {
    /// IP in IP.
    #[doc(alias = "IP_VS_CONN_F_TUNNEL_TYPE_IPIP")]
    Ipip,
    /// Generic UDP Encapsulation (Linux 5.2).
    #[doc(alias = "IP_VS_CONN_F_TUNNEL_TYPE_GUE")]
    Gue {
        /// The UDP port (`IPVS_DEST_ATTR_TUN_PORT`).
        #[doc(alias = "IPVS_DEST_ATTR_TUN_PORT")]
        port: NonZeroU16,
        /// Checksums (`IPVS_DEST_ATTR_TUN_FLAGS`).
        #[doc(alias = "IPVS_DEST_ATTR_TUN_FLAGS")]
        flags: TunnelFlags,
    },
    /// Generic Routing Encapsulation (Linux 5.3).
    #[doc(alias = "IP_VS_CONN_F_TUNNEL_TYPE_GRE")]
    Gre {
        /// Checksums (`IPVS_DEST_ATTR_TUN_FLAGS`); remote checksum offload has no effect here.
        flags: TunnelFlags,
    },
    /// A kind that Linux 7.3 does not know and treats as [`Tunnel::Ipip`].
    Other {
        /// Its number (`IPVS_DEST_ATTR_TUN_TYPE`).
        kind: u8,
        /// Its port, 0 if it has none.
        port: u16,
        /// Its flags.
        flags: TunnelFlags,
    },
}

bitflags::bitflags! {
    /// Checksums of encapsulated packets (`IP_VS_TUNNEL_ENCAP_FLAG_*`). None of them: no checksum
    /// (`IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM`).
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    #[doc(alias = "IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM")]
    pub struct TunnelFlags: u16 {
        /// With a checksum (`IP_VS_TUNNEL_ENCAP_FLAG_CSUM`).
        #[doc(alias = "IP_VS_TUNNEL_ENCAP_FLAG_CSUM")]
        const CHECKSUM = 1;
        /// Remote checksum offload (`IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM`), for [`Tunnel::Gue`].
        #[doc(alias = "IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM")]
        const REMOTE_CHECKSUM = 2;

        /// Flags without a name here are kept.
        const _ = !0;
    }
}

impl fmt::Display for Forwarding {
    /// Writes the terms of `ipvsadm -Ln` in lower case: `masq`, `local`, `tunnel`, `route`. A tunnel of another type than IP
    /// in IP follows: `tunnel gue port 6080 csum`. A number without a meaning is `method 5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masquerade => f.pad("masq"),
            Self::Local => f.pad("local"),
            Self::Tunnel(Tunnel::Ipip) => f.pad("tunnel"),
            Self::Tunnel(tunnel) => write!(f, "tunnel {tunnel}"),
            Self::DirectRoute => f.pad("route"),
            Self::Bypass => f.pad("bypass"),
            Self::Other(number) => write!(f, "method {number}"),
        }
    }
}

impl FromStr for Forwarding {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes.
    ///
    /// ```
    /// # use lvs::ipvs::{Forwarding, Tunnel};
    /// assert_eq!("route".parse(), Ok(Forwarding::DirectRoute));
    /// assert_eq!("tunnel".parse(), Ok(Forwarding::Tunnel(Tunnel::Ipip)));
    /// assert_eq!("tunnel ipip".parse(), Ok(Forwarding::Tunnel(Tunnel::Ipip)));
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let parsed = match text {
            "masq" => Some(Self::Masquerade),
            "local" => Some(Self::Local),
            "tunnel" => Some(Self::Tunnel(Tunnel::Ipip)),
            "route" => Some(Self::DirectRoute),
            "bypass" => Some(Self::Bypass),
            _ => match text.split_once(' ') {
                Some(("tunnel", tunnel)) => tunnel.parse().ok().map(Self::Tunnel),
                Some(("method", method)) => number(method).map(Self::Other),
                _ => None,
            },
        };
        parsed.ok_or_else(|| InvalidText::new(text, "masq, route, local, bypass, or tunnel and its type"))
    }
}

impl fmt::Display for Tunnel {
    /// `ipip`, `gue port 6080 csum`, `gre`; a type without a name is `type 9 port 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = match self {
            Self::Ipip => return f.pad("ipip"),
            Self::Gue { port, flags } => {
                write!(f, "gue port {port}")?;
                flags
            }
            Self::Gre { flags } => {
                f.write_str("gre")?;
                flags
            }
            Self::Other { kind, port, flags } => {
                write!(f, "type {kind} port {port}")?;
                flags
            }
        };
        if flags.is_empty() { Ok(()) } else { write!(f, " {flags}") }
    }
}

impl FromStr for Tunnel {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let words = text.split(' ').collect::<Vec<_>>();
        let parsed = match *words.as_slice() {
            ["ipip"] => Some(Self::Ipip),
            ["gue", "port", port, ref flags @ ..] => {
                number(port).zip(trailing(flags)).map(|(port, flags)| Self::Gue { port, flags })
            }
            ["gre", ref flags @ ..] => trailing(flags).map(|flags| Self::Gre { flags }),
            ["type", kind, "port", port, ref flags @ ..] => match (number(kind), number(port), trailing(flags)) {
                (Some(kind), Some(port), Some(flags)) => Some(Self::Other { kind, port, flags }),
                _ => None,
            },
            _ => None,
        };
        parsed.ok_or_else(|| InvalidText::new(text, "a tunnel such as ipip, gue port 6080 csum, or gre"))
    }
}

/// The flags at the end of a tunnel's text.
fn trailing(words: &[&str]) -> Option<TunnelFlags> {
    match words {
        [] => Some(TunnelFlags::empty()),
        [flags] => flags.parse().ok(),
        _ => None,
    }
}

/// Terms of `ipvsadm(8)`.
const WORDS: [(&str, u32); 2] =
    [("csum", TunnelFlags::CHECKSUM.bits() as u32), ("remcsum", TunnelFlags::REMOTE_CHECKSUM.bits() as u32)];

impl fmt::Display for TunnelFlags {
    /// Writes the terms of `ipvsadm(8)`, with commas: `csum`, `remcsum`. No flag is `nocsum`, others are a number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_words(f, WORDS.into_iter(), self.bits().into(), "nocsum")
    }
}

impl FromStr for TunnelFlags {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        read_words(WORDS.into_iter(), text, "nocsum")
            .and_then(|bits| bits.try_into().ok())
            .map(Self::from_bits_retain)
            .ok_or_else(|| InvalidText::new(text, "csum, remcsum or nocsum"))
    }
}

serde_text!(Forwarding, Tunnel, TunnelFlags);

// The bytes.

impl Forwarding {
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Masquerade => forwarding::MASQUERADE,
            Self::Local => forwarding::LOCAL,
            Self::Tunnel(_) => forwarding::TUNNEL,
            Self::DirectRoute => forwarding::DIRECT_ROUTE,
            Self::Bypass => forwarding::BYPASS,
            Self::Other(number) => number,
        }
    }
}

impl Tunnel {
    pub(super) fn parts(self) -> (u8, u16, TunnelFlags) {
        match self {
            Self::Ipip => (tunnel::IPIP, 0, TunnelFlags::empty()),
            Self::Gue { port, flags } => (tunnel::GUE, port.get(), flags),
            Self::Gre { flags } => (tunnel::GRE, 0, flags),
            Self::Other { kind, port, flags } => (kind, port, flags),
        }
    }

    pub(super) fn from_parts(kind: u8, port: u16, flags: TunnelFlags) -> Self {
        match (kind, NonZeroU16::new(port)) {
            (tunnel::IPIP, _) => Self::Ipip,
            (tunnel::GUE, Some(port)) => Self::Gue { port, flags },
            (tunnel::GRE, _) => Self::Gre { flags },
            _ => Self::Other { kind, port, flags },
        }
    }
}
