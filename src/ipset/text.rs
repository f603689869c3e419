//! Entries and members as text, in the syntax of `ipset(8)`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::entry::{Entry, Member};
use super::kind::{AnyType, Kind, Known, SetType};
use super::options::{Words, bits, hex, set, set_flag};
use super::parts::{Comment, Mac};
use crate::net::{InvalidText, number};

impl Entry {
    /// Reads an entry of a set of this type, as [`Display`](fmt::Display) writes it.
    ///
    /// Addresses, ports and protocols are numbers or the names that this crate prints; no name service is asked. Names
    /// with blanks or commas have no text.
    ///
    /// ```
    /// # use lvs::ipset::{Entry, Kind, ProtocolPorts};
    /// # use std::net::Ipv4Addr;
    /// let entry = Entry::parse(Kind::HashIpPort, "10.0.0.1,tcp:80")?;
    /// assert_eq!(entry, Entry::IpPort(Ipv4Addr::new(10, 0, 0, 1).into(), ProtocolPorts::tcp(80)));
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    ///
    /// # Errors
    /// When sets of this type have no such entries.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, InvalidText> {
        read_entry(kind, text).ok_or_else(|| InvalidText::new(text, form(kind)))
    }
}

fn read_entry(kind: Kind, text: &str) -> Option<Entry> {
    let pair = || text.split_once(',');
    let triple = || {
        let (ip, rest) = text.split_once(',')?;
        let (port, other) = rest.split_once(',')?;
        Some((ip.parse().ok()?, port.parse().ok()?, other))
    };
    Some(match kind {
        Kind::BitmapIp | Kind::HashIp | Kind::HashNet => Entry::Ip(text.parse().ok()?),
        Kind::BitmapIpMac => match pair() {
            Some((ip, mac)) => Entry::IpMac(ip.parse().ok()?, Some(mac.parse().ok()?)),
            None => Entry::IpMac(text.parse().ok()?, None),
        },
        Kind::HashIpMac => {
            let (ip, mac) = pair()?;
            Entry::IpMac(ip.parse().ok()?, Some(mac.parse::<Mac>().ok()?))
        }
        Kind::HashIpMark => {
            let (ip, mark) = pair()?;
            Entry::IpMark(ip.parse().ok()?, bits(mark)?)
        }
        Kind::HashIpPort | Kind::HashNetPort => {
            let (ip, port) = pair()?;
            Entry::IpPort(ip.parse().ok()?, port.parse().ok()?)
        }
        Kind::HashIpPortIp | Kind::HashIpPortNet | Kind::HashNetPortNet => {
            let (ip, port, other) = triple()?;
            Entry::IpPortIp(ip, port, other.parse().ok()?)
        }
        Kind::HashNetNet => {
            let (ip, other) = pair()?;
            Entry::IpIp(ip.parse().ok()?, other.parse().ok()?)
        }
        Kind::HashNetIface => {
            let (ip, interface) = pair()?;
            Entry::IpInterface(ip.parse().ok()?, interface.parse().ok()?)
        }
        Kind::BitmapPort => Entry::Port(text.parse().ok()?),
        Kind::HashMac => Entry::Mac(text.parse().ok()?),
        Kind::ListSet => Entry::Set(text.parse().ok()?),
    })
}

/// The form of the entries of a type, for errors.
fn form(kind: Kind) -> &'static str {
    match kind {
        Kind::BitmapIp | Kind::HashIp => "an entry such as 10.0.0.1",
        Kind::HashNet => "an entry such as 10.0.0.0/8",
        Kind::BitmapIpMac | Kind::HashIpMac => "an entry such as 10.0.0.1,02:00:00:00:00:01",
        Kind::HashIpMark => "an entry such as 10.0.0.1,0x00000001",
        Kind::HashIpPort => "an entry such as 10.0.0.1,tcp:80",
        Kind::HashNetPort => "an entry such as 10.0.0.0/8,tcp:80",
        Kind::HashIpPortIp => "an entry such as 10.0.0.1,tcp:80,10.0.0.2",
        Kind::HashIpPortNet => "an entry such as 10.0.0.1,tcp:80,10.0.0.0/8",
        Kind::HashNetPortNet => "an entry such as 10.0.0.0/8,tcp:80,192.168.0.0/16",
        Kind::HashNetNet => "an entry such as 10.0.0.0/8,192.168.0.0/16",
        Kind::HashNetIface => "an entry such as 10.0.0.0/8,eth0",
        Kind::BitmapPort => "a port or a range of ports such as 1000-2000",
        Kind::HashMac => "an Ethernet address such as 02:00:00:00:00:01",
        Kind::ListSet => "a set such as a, a before b, a after b",
    }
}

impl<T: SetType> fmt::Display for Member<T> {
    /// Writes the text of `ipset save`: `10.0.0.1,tcp:80 timeout 30 comment "x"`.
    ///
    /// Parts of a comment that `ipset restore` cannot read are shown as `\u{fffd}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry: Entry = self.entry.into();
        write!(f, "{entry}")?;
        let mut words = Words { f, blank: " " };
        words.value("timeout", self.timeout.map(|timeout| timeout.as_secs()))?;
        words.word("nomatch", self.nomatch)?;
        words.value("packets", self.counters.packets)?;
        words.value("bytes", self.counters.bytes)?;
        let comment = self.comment.as_ref().map(Comment::to_string);
        words.value("comment", comment.map(|text| format!("\"{}\"", text.replace(['"', '\n'], "\u{fffd}"))))?;
        words.value("skbmark", self.skb.mark.map(skbmark))?;
        words.value("skbprio", self.skb.priority.map(skbprio))?;
        words.value("skbqueue", self.skb.queue)
    }
}

impl<T: Known> FromStr for Member<T> {
    type Err = InvalidText;

    /// As [`Member::parse`].
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::parse(text)
    }
}

impl<T: Known> Member<T> {
    /// Reads the text that [`Display`](fmt::Display) writes: an entry as [`Entry::parse`] reads it, and options in any
    /// order.
    ///
    /// ```
    /// # use lvs::ipset::{HashIpPort, Member, ProtocolPorts};
    /// # use std::{net::Ipv4Addr, time::Duration};
    /// let member = Member::<HashIpPort>::parse("10.0.0.1,tcp:80 timeout 30")?;
    /// let same = Member::new((Ipv4Addr::new(10, 0, 0, 1), ProtocolPorts::tcp(80))).timeout(Duration::from_secs(30));
    /// assert_eq!(member, same);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    ///
    /// # Errors
    /// When sets of this type have no such entries.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        Member::<AnyType>::parse_as(T::OF, text)?.of_type().map_err(|_| InvalidText::new(text, form(T::OF)))
    }
}

impl Member<AnyType> {
    /// Reads a member of a set of this type, as [`Member::parse`] does.
    ///
    /// # Errors
    /// When sets of this type have no such entries.
    pub fn parse_as(kind: Kind, text: &str) -> Result<Self, InvalidText> {
        let (entry, options) = split(text);
        let mut member = Self::new(Entry::parse(kind, entry)?);
        let options = read_options(&mut member, options);
        options.ok_or_else(|| InvalidText::new(text, "an entry and options such as timeout 30 comment \"x\""))?;
        Ok(member)
    }
}

/// Splits a text into the entry, with its own words, and the options.
fn split(text: &str) -> (&str, &str) {
    let end = |from: usize| text.get(from..).and_then(|rest| rest.find(' ')).map_or(text.len(), |at| from + at);
    let mut at = end(0);
    let rest = text.get(at..).unwrap_or_default();
    if rest == " wildcard" || rest.starts_with(" wildcard ") {
        at = end(at + 1);
    } else if rest.starts_with(" before ") || rest.starts_with(" after ") {
        at = end(end(at + 1) + 1);
    }
    (text.get(..at).unwrap_or_default(), text.get(at..).unwrap_or_default())
}

/// Reads options, each at most once.
fn read_options(member: &mut Member<AnyType>, mut rest: &str) -> Option<()> {
    loop {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            return Some(());
        }
        let (name, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = behind;
        if name == "nomatch" {
            set_flag(&mut member.nomatch)?;
            continue;
        }
        if name == "comment" {
            let (comment, behind) = rest.strip_prefix('"')?.split_once('"')?;
            if !behind.is_empty() && !behind.starts_with(' ') {
                return None;
            }
            set(&mut member.comment, comment.parse().ok()?)?;
            rest = behind;
            continue;
        }
        let (value, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = behind;
        match name {
            "timeout" => set(&mut member.timeout, Duration::from_secs(number(value)?))?,
            "packets" => set(&mut member.counters.packets, number(value)?)?,
            "bytes" => set(&mut member.counters.bytes, number(value)?)?,
            "skbmark" => set(&mut member.skb.mark, read_skbmark(value)?)?,
            "skbprio" => set(&mut member.skb.priority, read_skbprio(value)?)?,
            "skbqueue" => set(&mut member.skb.queue, number(value)?)?,
            _ => return None,
        }
    }
}

/// A mark and its mask: `0x1/0xff`, and `0x1` with a mask of ones.
pub(super) fn skbmark((mark, mask): (u32, u32)) -> String {
    if mask == u32::MAX { format!("{mark:#x}") } else { format!("{mark:#x}/{mask:#x}") }
}

pub(super) fn read_skbmark(text: &str) -> Option<(u32, u32)> {
    let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
    Some((bits(mark)?, mask.map_or(Some(u32::MAX), bits)?))
}

/// A class of traffic control: `1:a`.
pub(super) fn skbprio((major, minor): (u16, u16)) -> String {
    format!("{major:x}:{minor:x}")
}

pub(super) fn read_skbprio(text: &str) -> Option<(u16, u16)> {
    let (major, minor) = text.split_once(':')?;
    Some((hex(major)?.try_into().ok()?, hex(minor)?.try_into().ok()?))
}

serde_text!(@ [T: Known] Member<T>);
