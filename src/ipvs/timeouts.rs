//! Timeouts of connections.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::numbers::Command;
use crate::error::DecodeError;
use crate::net::{InvalidText, number};
use crate::wire::{Attrs, Writer};

/// Time until a connection without packets expires, by its state (`IPVS_CMD_SET_CONFIG`).
///
/// Timeouts are whole seconds, from 1 up. The kernel counts ticks in 31 bits and refuses more: 2,147,483 s is the
/// maximum with 1000 ticks a second, 8,589,934 s with 250.
///
/// Linux 6.1 to 7.3 have exactly these three.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[doc(alias("IPVS_CMD_SET_CONFIG", "IPVS_CMD_GET_CONFIG"))]
pub struct Timeouts {
    /// Timeout of established TCP connections (`IPVS_CMD_ATTR_TIMEOUT_TCP`); 900 s unless changed. `None` leaves it as
    /// it is; the kernel always returns a value.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_TCP")]
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::net::optional_seconds", skip_serializing_if = "Option::is_none")
    )]
    pub tcp: Option<Duration>,
    /// Timeout of TCP connections that one side has closed (`IPVS_CMD_ATTR_TIMEOUT_TCP_FIN`); 120 s unless changed.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN")]
    #[cfg_attr(
        feature = "serde",
        serde(rename = "tcpfin", with = "crate::net::optional_seconds", skip_serializing_if = "Option::is_none")
    )]
    pub tcp_fin: Option<Duration>,
    /// Timeout of UDP (`IPVS_CMD_ATTR_TIMEOUT_UDP`); 300 s unless changed.
    #[doc(alias = "IPVS_CMD_ATTR_TIMEOUT_UDP")]
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::net::optional_seconds", skip_serializing_if = "Option::is_none")
    )]
    pub udp: Option<Duration>,
}

impl Timeouts {
    /// Returns a copy with this timeout of established TCP connections.
    #[must_use = "the changed value is returned"]
    pub fn tcp(self, timeout: Duration) -> Self {
        Self { tcp: Some(timeout), ..self }
    }

    /// Returns a copy with this timeout of TCP connections that one side has closed.
    #[must_use = "the changed value is returned"]
    pub fn tcp_fin(self, timeout: Duration) -> Self {
        Self { tcp_fin: Some(timeout), ..self }
    }

    /// Returns a copy with this timeout of UDP.
    #[must_use = "the changed value is returned"]
    pub fn udp(self, timeout: Duration) -> Self {
        Self { udp: Some(timeout), ..self }
    }

    fn each(&self) -> [(Command, Option<Duration>); 3] {
        [(Command::TimeoutTcp, self.tcp), (Command::TimeoutTcpFin, self.tcp_fin), (Command::TimeoutUdp, self.udp)]
    }

    /// Fault of a value that the kernel would refuse or misunderstand.
    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        for timeout in self.each().into_iter().filter_map(|(_, timeout)| timeout) {
            if timeout.is_zero() || timeout.subsec_nanos() != 0 || u32::try_from(timeout.as_secs()).is_err() {
                return Some(format!("a timeout of {timeout:?} is not a number of whole seconds from 1 up").into());
            }
        }
        None
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        for (kind, timeout) in self.each() {
            if let Some(timeout) = timeout {
                out.u32_ne(kind, timeout.as_secs().try_into().unwrap_or(u32::MAX));
            }
        }
    }

    pub(super) fn read(attrs: Attrs<'_, Command>) -> Result<Self, DecodeError> {
        let mut timeouts = Self::default();
        for attr in attrs {
            let attr = attr?;
            let timeout = match attr.kind {
                Command::TimeoutTcp => &mut timeouts.tcp,
                Command::TimeoutTcpFin => &mut timeouts.tcp_fin,
                Command::TimeoutUdp => &mut timeouts.udp,
                Command::Service | Command::Destination | Command::Daemon => continue,
            };
            // 0 leaves it as it is.
            *timeout = match attr.u32_ne()? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds.into())),
            };
        }
        Ok(timeouts)
    }
}

impl fmt::Display for Timeouts {
    /// `tcp 900s, udp 300s`; `to stay` if all are `None`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("tcp", self.tcp), ("tcp fin", self.tcp_fin), ("udp", self.udp)];
        let mut first = true;
        for (name, timeout) in named {
            if let Some(timeout) = timeout {
                write!(f, "{}{name} {timeout:?}", if first { "" } else { ", " })?;
                first = false;
            }
        }
        if first { f.write_str("to stay") } else { Ok(()) }
    }
}

impl FromStr for Timeouts {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes of whole seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lvs::ipvs::Timeouts;
    /// let timeouts: Timeouts = "tcp 900s, udp 300s".parse()?;
    /// assert_eq!(timeouts, Timeouts::default().tcp(Duration::from_secs(900)).udp(Duration::from_secs(300)));
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let mut timeouts = Self::default();
        let mut read = |part: &str| {
            let (name, seconds) = part.rsplit_once(' ')?;
            let timeout = match name {
                "tcp" => &mut timeouts.tcp,
                "tcp fin" => &mut timeouts.tcp_fin,
                "udp" => &mut timeouts.udp,
                _ => return None,
            };
            let seconds = Duration::from_secs(number(seconds.strip_suffix('s')?)?);
            timeout.replace(seconds).is_none().then_some(())
        };
        if text == "to stay" || text.split(", ").all(|part| read(part).is_some()) {
            Ok(timeouts)
        } else {
            Err(InvalidText::new(text, "timeouts such as tcp 900s, tcp fin 120s, udp 300s"))
        }
    }
}
