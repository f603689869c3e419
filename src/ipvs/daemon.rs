//! Sync daemons, which send connections to another load balancer.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16};
use std::str::FromStr;

use super::numbers::daemon;
use crate::error::DecodeError;
use crate::name::Interface;
use crate::net::{InvalidText, number, set};
use crate::wire::reader::required;
use crate::wire::{Attrs, Writer, kinds};

/// Length of a message in the longest IP packet, without the headers of IPv4 or IPv6 and UDP.
const LONGEST_V4: u16 = u16::MAX - 20 - 8;
const LONGEST_V6: u16 = u16::MAX - 40 - 8;

/// A sync daemon, which keeps connections alive across a fail-over.
///
/// The master multicasts the connections of its machine, and the backup stores them. They continue when the virtual IP
/// moves to the backup's machine. Each network namespace can run one master and one backup.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
#[doc(alias = "IPVS_CMD_ATTR_DAEMON")]
pub struct SyncDaemon {
    /// Master or backup (`IPVS_DAEMON_ATTR_STATE`).
    #[doc(alias = "IPVS_DAEMON_ATTR_STATE")]
    pub state: SyncState,
    /// The interface to multicast on (`IPVS_DAEMON_ATTR_MCAST_IFN`).
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_IFN")]
    pub interface: Interface,
    /// Sync group of the daemon (`IPVS_DAEMON_ATTR_SYNC_ID`). A backup accepts masters of its own group; group 0
    /// accepts all. The attribute has 32 bits, the messages between daemons have 8. Reading a daemon that another
    /// program started with a number above 255 is an error.
    #[doc(alias = "IPVS_DAEMON_ATTR_SYNC_ID")]
    #[cfg_attr(feature = "serde", serde(rename = "syncid"))]
    pub sync_id: u8,
    /// The longest message, in bytes without its headers (`IPVS_DAEMON_ATTR_SYNC_MAXLEN`, Linux 4.3): at most 65,507,
    /// or 65,487 with an IPv6 group. The kernel raises the value of a backup to 1024. `None`: 1500 bytes
    /// less the headers, for a backup the interface's MTU less the headers if that is more.
    #[doc(alias = "IPVS_DAEMON_ATTR_SYNC_MAXLEN")]
    #[cfg_attr(feature = "serde", serde(rename = "maxlen", default, skip_serializing_if = "Option::is_none"))]
    pub max_length: Option<NonZeroU16>,
    /// The multicast group, IPv4 or IPv6 (`IPVS_DAEMON_ATTR_MCAST_GROUP`, `IPVS_DAEMON_ATTR_MCAST_GROUP6`, Linux 4.3).
    /// `None`: 224.0.0.81.
    #[doc(alias("IPVS_DAEMON_ATTR_MCAST_GROUP", "IPVS_DAEMON_ATTR_MCAST_GROUP6"))]
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub group: Option<IpAddr>,
    /// The UDP port (`IPVS_DAEMON_ATTR_MCAST_PORT`, Linux 4.3). `None`: 8848.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_PORT")]
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub port: Option<NonZeroU16>,
    /// TTL of the messages (`IPVS_DAEMON_ATTR_MCAST_TTL`, Linux 4.3). `None`: 1.
    #[doc(alias = "IPVS_DAEMON_ATTR_MCAST_TTL")]
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub ttl: Option<NonZeroU8>,
}

impl SyncDaemon {
    /// Returns a daemon with the kernel's defaults for everything else.
    pub fn new(state: SyncState, interface: Interface, sync_id: u8) -> Self {
        Self { state, interface, sync_id, max_length: None, group: None, port: None, ttl: None }
    }

    /// Returns a copy with this length of the longest message, in bytes without its headers.
    #[must_use = "the changed value is returned"]
    pub fn max_length(self, max_length: NonZeroU16) -> Self {
        Self { max_length: Some(max_length), ..self }
    }

    /// Returns a copy with this multicast group.
    #[must_use = "the changed value is returned"]
    pub fn group(self, group: IpAddr) -> Self {
        Self { group: Some(group), ..self }
    }

    /// Returns a copy with this UDP port.
    #[must_use = "the changed value is returned"]
    pub fn port(self, port: NonZeroU16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Returns a copy with this time to live of its messages.
    #[must_use = "the changed value is returned"]
    pub fn ttl(self, ttl: NonZeroU8) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Fault of a value that the kernel would refuse or misunderstand.
    pub(super) fn problem(&self) -> Option<Cow<'static, str>> {
        let most = if self.group.is_some_and(|group| group.is_ipv6()) { LONGEST_V6 } else { LONGEST_V4 };
        if let Some(length) = self.max_length.filter(|length| length.get() > most) {
            return Some(format!("the longest message of {length} bytes is above {most}").into());
        }
        let group = self.group.filter(|group| !group.is_multicast())?;
        Some(format!("{group} is not the address of a multicast group").into())
    }
}

/// Role of a sync daemon.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SyncState {
    /// Sends connections (`IP_VS_STATE_MASTER`).
    #[doc(alias = "IP_VS_STATE_MASTER")]
    Master,
    /// Receives connections (`IP_VS_STATE_BACKUP`).
    #[doc(alias = "IP_VS_STATE_BACKUP")]
    Backup,
}

impl fmt::Display for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

impl FromStr for SyncState {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        match text {
            "master" => Ok(Self::Master),
            "backup" => Ok(Self::Backup),
            _ => Err(InvalidText::new(text, "master or backup")),
        }
    }
}

impl fmt::Display for SyncDaemon {
    /// Writes the terms of `ipvsadm -Ln --daemon`:
    /// `master mcast eth0 syncid 7 maxlen 1472 group 224.0.0.81 port 8848 ttl 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mcast {} syncid {}", self.state, self.interface, self.sync_id)?;
        if let Some(length) = self.max_length {
            write!(f, " maxlen {length}")?;
        }
        if let Some(group) = self.group {
            write!(f, " group {group}")?;
        }
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, " ttl {ttl}")?;
        }
        Ok(())
    }
}

impl FromStr for SyncDaemon {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes; the parts after the state may stand in any order. An
    /// interface has no text if its alternative name holds a blank or is not UTF-8.
    ///
    /// ```
    /// # use lvs::Interface;
    /// # use lvs::ipvs::{SyncDaemon, SyncState};
    /// let daemon: SyncDaemon = "master mcast eth0 syncid 7".parse()?;
    /// assert_eq!(daemon, SyncDaemon::new(SyncState::Master, Interface::new("eth0")?, 7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        parse(text).ok_or_else(|| InvalidText::new(text, "a sync daemon such as master mcast eth0 syncid 7"))
    }
}

fn parse(text: &str) -> Option<SyncDaemon> {
    let words = text.split(' ').collect::<Vec<_>>();
    let (state, values) = words.split_first()?;
    let (mut interface, mut sync_id) = (None, None);
    let (mut max_length, mut group, mut port, mut ttl) = (None, None, None, None);
    for pair in values.chunks(2) {
        match *pair {
            ["mcast", name] if !name.is_empty() => set(&mut interface, Interface::any(name).ok()?)?,
            ["syncid", value] => set(&mut sync_id, number(value)?)?,
            ["maxlen", value] => set(&mut max_length, number(value)?)?,
            ["group", value] => set(&mut group, value.parse().ok()?)?,
            ["port", value] => set(&mut port, number(value)?)?,
            ["ttl", value] => set(&mut ttl, number(value)?)?,
            _ => return None,
        }
    }
    let (state, interface, sync_id) = (state.parse().ok()?, interface?, sync_id?);
    Some(SyncDaemon { state, interface, sync_id, max_length, group, port, ttl })
}

serde_text!(SyncState);

// The bytes.

kinds! {
    /// Attributes of a sync daemon.
    DaemonAttr "IPVS_CMD_ATTR_DAEMON" {
        State = 1 "IPVS_DAEMON_ATTR_STATE",
        Interface = 2 "IPVS_DAEMON_ATTR_MCAST_IFN",
        SyncId = 3 "IPVS_DAEMON_ATTR_SYNC_ID",
        MaxLength = 4 "IPVS_DAEMON_ATTR_SYNC_MAXLEN",
        Group = 5 "IPVS_DAEMON_ATTR_MCAST_GROUP",
        Group6 = 6 "IPVS_DAEMON_ATTR_MCAST_GROUP6",
        Port = 7 "IPVS_DAEMON_ATTR_MCAST_PORT",
        Ttl = 8 "IPVS_DAEMON_ATTR_MCAST_TTL",
    }
}

impl SyncState {
    pub(super) fn write(self, out: &mut Writer<'_>) {
        let number = match self {
            Self::Master => daemon::MASTER,
            Self::Backup => daemon::BACKUP,
        };
        out.u32_ne(DaemonAttr::State, number);
    }
}

impl SyncDaemon {
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        self.state.write(out);
        out.text(DaemonAttr::Interface, self.interface.as_bytes());
        out.u32_ne(DaemonAttr::SyncId, self.sync_id.into());
        if let Some(length) = self.max_length {
            out.u16_ne(DaemonAttr::MaxLength, length.get());
        }
        match self.group {
            Some(IpAddr::V4(group)) => out.array(DaemonAttr::Group, &group.octets()),
            Some(IpAddr::V6(group)) => out.array(DaemonAttr::Group6, &group.octets()),
            None => {}
        }
        if let Some(port) = self.port {
            // In the machine's byte order, unlike all other ports.
            out.u16_ne(DaemonAttr::Port, port.get());
        }
        if let Some(ttl) = self.ttl {
            out.u8(DaemonAttr::Ttl, ttl.get());
        }
    }
}

/// Attributes of a daemon that are present.
#[derive(Default)]
pub(super) struct Parts {
    state: Option<SyncState>,
    interface: Option<Interface>,
    sync_id: Option<u8>,
    max_length: Option<NonZeroU16>,
    group: Option<IpAddr>,
    group6: Option<IpAddr>,
    port: Option<NonZeroU16>,
    ttl: Option<NonZeroU8>,
}

impl Parts {
    pub(super) fn read(attrs: Attrs<'_, DaemonAttr>) -> Result<Self, DecodeError> {
        let mut parts = Self::default();
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                DaemonAttr::State => {
                    parts.state = Some(match attr.u32_ne()? {
                        daemon::MASTER => SyncState::Master,
                        daemon::BACKUP => SyncState::Backup,
                        other => return Err(attr.wrong_value(other)),
                    });
                }
                // `ipvsadm` sends an empty name where it only names a state.
                DaemonAttr::Interface => match attr.text_bytes()? {
                    b"" => {}
                    name => parts.interface = Some(Interface::any(name).map_err(|_| attr.wrong_text())?),
                },
                DaemonAttr::SyncId => {
                    let number = attr.u32_ne()?;
                    parts.sync_id = Some(u8::try_from(number).map_err(|_| attr.wrong_value(number))?);
                }
                DaemonAttr::MaxLength => parts.max_length = NonZeroU16::new(attr.u16_ne()?),
                DaemonAttr::Group => parts.group = Some(IpAddr::from(attr.array::<4>()?)),
                DaemonAttr::Group6 => parts.group6 = Some(IpAddr::from(attr.array::<16>()?)),
                DaemonAttr::Port => parts.port = NonZeroU16::new(attr.u16_ne()?),
                DaemonAttr::Ttl => parts.ttl = NonZeroU8::new(attr.u8()?),
            }
        }
        // The kernel, too, looks at the IPv4 group first.
        parts.group = parts.group.or(parts.group6);
        Ok(parts)
    }

    pub(super) fn state(&self) -> Result<SyncState, DecodeError> {
        required(self.state, DaemonAttr::State)
    }

    pub(super) fn daemon(&self) -> Result<SyncDaemon, DecodeError> {
        Ok(SyncDaemon {
            state: self.state()?,
            interface: required(self.interface, DaemonAttr::Interface)?,
            sync_id: required(self.sync_id, DaemonAttr::SyncId)?,
            max_length: self.max_length,
            group: self.group,
            port: self.port,
            ttl: self.ttl,
        })
    }
}
