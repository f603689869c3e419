//! Parts of entries.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::name::{InvalidName, Name, named};
use crate::net::InvalidText;

use super::numbers::{MAX_COMMENT, MAX_INTERFACE, MAX_NAME};

named! {
    /// The name of a set: at most 31 bytes, without control characters.
    ///
    /// The kernel accepts any byte except zero. `ipset restore` cannot read names with blanks or quotes.
    #[doc(alias = "IPSET_ATTR_SETNAME")]
    SetName MAX_NAME, "set name", |name| name.iter().any(u8::is_ascii_control).then_some("has a control character")
}

impl SetName {
    /// Returns any name that the kernel accepts: also an empty one, or one with control characters.
    ///
    /// # Errors
    /// When it is longer than 31 bytes, or has a zero byte.
    pub fn any(name: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
        Name::or_empty("set name", name.as_ref()).map(Self)
    }
}

named! {
    /// Name or prefix of an interface in a `hash:net,iface`: at most 15 bytes.
    ///
    /// The kernel accepts any text here, also an invalid name of an interface, such as the alias `eth0:1`.
    InterfaceName MAX_INTERFACE, "interface name", |_| None
}

impl InterfaceName {
    /// Returns any text that the kernel accepts, also an empty one.
    ///
    /// # Errors
    /// When it is longer than 15 bytes, or has a zero byte.
    pub fn any(name: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
        Name::or_empty("interface name", name.as_ref()).map(Self)
    }
}

/// An Ethernet (MAC) address.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[doc(alias = "IPSET_ATTR_ETHER")]
pub struct Mac([u8; 6]);

impl Mac {
    /// Returns the address of these bytes, in the order in which they are written.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl FromStr for Mac {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        let all = bytes.iter_mut().all(|byte| {
            let part = parts.next().filter(|part| matches!(part.len(), 1 | 2) && !part.starts_with('+'));
            part.and_then(|part| u8::from_str_radix(part, 16).ok()).map(|value| *byte = value).is_some()
        });
        if all && parts.next().is_none() { Ok(Self(bytes)) } else { Err(InvalidText::new(text, "an Ethernet address")) }
    }
}

/// Interfaces that an entry of `hash:net,iface` matches.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InterfaceMatch {
    /// The interface, or the prefix of its name.
    #[doc(alias = "IPSET_ATTR_IFACE")]
    pub name: InterfaceName,
    /// Whether it matches the port of a bridge instead of the bridge (`physdev`).
    #[doc(alias = "IPSET_FLAG_PHYSDEV")]
    pub physdev: bool,
    /// Whether it matches all interfaces whose name starts so (`wildcard`); since Linux 5.5.
    ///
    /// The kernel treats each name of the same network that a stored wildcard covers as this entry. Adding such a name
    /// updates the wildcard, and deleting the name deletes the wildcard. The kernel stores both if the name is added
    /// first. [`Ipset::replace`] and [`Ipset::sync`] add them in this order. In all other calls the order is the
    /// caller's. An update of an existing name does not change its `wildcard`: delete it first.
    ///
    /// [`Ipset::replace`]: super::Ipset::replace
    /// [`Ipset::sync`]: super::Ipset::sync
    #[doc(alias = "IPSET_FLAG_IFACE_WILDCARD")]
    pub wildcard: bool,
}

impl InterfaceMatch {
    /// Returns a match of the interface of this name.
    pub fn new(name: InterfaceName) -> Self {
        Self { name, physdev: false, wildcard: false }
    }

    /// Returns a copy that matches the port of a bridge instead of the bridge.
    ///
    /// ```
    /// # use lvs::ipset::InterfaceMatch;
    /// assert_eq!(InterfaceMatch::new("eth0".parse()?).physdev().to_string(), "physdev:eth0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the changed value is returned"]
    pub fn physdev(self) -> Self {
        Self { physdev: true, ..self }
    }

    /// Returns a copy that matches all interfaces whose name starts so.
    #[must_use = "the changed value is returned"]
    pub fn wildcard(self) -> Self {
        Self { wildcard: true, ..self }
    }
}

impl fmt::Display for InterfaceMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let physdev = if self.physdev { "physdev:" } else { "" };
        let wildcard = if self.wildcard { " wildcard" } else { "" };
        write!(f, "{physdev}{}{wildcard}", self.name)
    }
}

impl FromStr for InterfaceMatch {
    type Err = InvalidText;

    /// Reads `eth0`, `physdev:eth0`, `eth wildcard`. A name with a blank, or one that starts with `physdev:`, has no
    /// text.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let (rest, wildcard) = text.strip_suffix(" wildcard").map_or((text, false), |rest| (rest, true));
        let (name, physdev) = rest.strip_prefix("physdev:").map_or((rest, false), |name| (name, true));
        let name = Some(name).filter(|name| !has_blank(name)).and_then(|name| name.parse().ok());
        name.map(|name| Self { name, physdev, wildcard })
            .ok_or_else(|| InvalidText::new(text, "an interface such as eth0, physdev:eth0 or eth wildcard"))
    }
}

/// Text that `ipset restore` would read as more than one word.
fn has_blank(text: &str) -> bool {
    text.contains([' ', '\t', '\n', '\r'])
}

/// A set in a `list:set`, and its place in the list.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ListMember {
    /// The member.
    #[doc(alias = "IPSET_ATTR_NAME")]
    pub set: SetName,
    /// Place in the list; `None` is the end. Listings do not repeat it: their order shows it.
    pub place: Option<Place>,
}

/// A place in a `list:set`, for a new member: an existing one is not moved.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Place {
    /// Directly before this member.
    #[doc(alias("IPSET_ATTR_NAMEREF", "IPSET_FLAG_BEFORE"))]
    Before(SetName),
    /// Directly after this member.
    #[doc(alias = "IPSET_ATTR_NAMEREF")]
    After(SetName),
}

impl ListMember {
    /// Returns this set at the end of the list.
    pub fn new(set: SetName) -> Self {
        Self { set, place: None }
    }

    /// Returns a copy placed directly before another member.
    #[must_use = "the changed value is returned"]
    pub fn before(self, other: SetName) -> Self {
        Self { place: Some(Place::Before(other)), ..self }
    }

    /// Returns a copy placed directly after another member.
    #[must_use = "the changed value is returned"]
    pub fn after(self, other: SetName) -> Self {
        Self { place: Some(Place::After(other)), ..self }
    }
}

impl From<SetName> for ListMember {
    fn from(set: SetName) -> Self {
        Self::new(set)
    }
}

impl fmt::Display for ListMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            None => self.set.fmt(f),
            Some(Place::Before(other)) => write!(f, "{} before {other}", self.set),
            Some(Place::After(other)) => write!(f, "{} after {other}", self.set),
        }
    }
}

impl FromStr for ListMember {
    type Err = InvalidText;

    /// Reads `a`, `a before b`, `a after b`. A name with a blank has no text.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let words = text.split(' ').map(|word| Some(word).filter(|word| !has_blank(word))).collect::<Option<Vec<_>>>();
        let name = |name: &str| name.parse::<SetName>().ok();
        let parsed = match *words.unwrap_or_default().as_slice() {
            [set] => name(set).map(Self::new),
            [set, "before", other] => name(set).zip(name(other)).map(|(set, other)| Self::new(set).before(other)),
            [set, "after", other] => name(set).zip(name(other)).map(|(set, other)| Self::new(set).after(other)),
            _ => None,
        };
        parsed.ok_or_else(|| InvalidText::new(text, "a set such as a, a before b, a after b"))
    }
}

/// A comment on an entry: at most 255 bytes, without double quotes and line breaks, which `ipset restore` cannot read.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[doc(alias = "IPSET_ATTR_COMMENT")]
pub struct Comment(Box<[u8]>);

impl Comment {
    /// Returns a comment with this text.
    ///
    /// # Errors
    /// When it is longer than 255 bytes, or has a quote, a line break or a zero byte.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        match text.contains(['"', '\n']) {
            true => Err(InvalidName::new("comment", text.as_bytes(), "has a quote or a line break")),
            false => Self::any(text),
        }
    }

    /// Returns any comment that the kernel accepts. Its bytes need not be text.
    ///
    /// # Errors
    /// When it is longer than 255 bytes, or has a zero byte.
    pub fn any(bytes: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
        let bytes = bytes.as_ref();
        let problem: Cow<'static, str> = match bytes.len() {
            length if length > MAX_COMMENT => format!("has {length} bytes; the kernel allows {MAX_COMMENT}").into(),
            _ if bytes.contains(&0) => "has a zero byte".into(),
            _ => return Ok(Self(bytes.into())),
        };
        Err(InvalidName::new("comment", bytes, problem))
    }

    /// Returns a comment that was read from a set.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Comment {
    type Err = InvalidName;

    /// As [`Comment::new`].
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl fmt::Display for Comment {
    /// Bytes that are not UTF-8 are shown as `\u{fffd}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.0))
    }
}

serde_text!(Mac, InterfaceMatch, ListMember, Comment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_addresses_read_back() {
        assert_eq!("02:0a:00:00:00:fF".parse::<Mac>().unwrap().to_string(), "02:0A:00:00:00:FF");
        for text in ["", "02:0a:00:00:00", "02:0a:00:00:00:ff:1", "02:0a:00:00:00:100", "+2:0a:00:00:00:ff"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_and_comments_that_no_list_could_show_are_refused() {
        for name in ["", "a\n", "a\0", &"x".repeat(32)] {
            assert!(SetName::new(name).is_err(), "{name:?}");
        }
        assert!(SetName::new("x".repeat(31)).is_ok());
        assert!(Comment::new("say \"x\"").is_err());
        assert!(Comment::new(&"x".repeat(256)).is_err());
        assert!(Comment::any([0xe4; 256]).is_err());
        assert!(Comment::any([0xe4, 0]).is_err());
        assert_eq!(Comment::any([0xe4; 255]).unwrap().as_bytes(), [0xe4; 255]);
        assert_eq!(SetName::any("").unwrap().as_bytes(), b"");
        assert_eq!(InterfaceName::any("eth0:1").unwrap().as_bytes(), b"eth0:1");
        assert_eq!(Comment::new("a comment").unwrap().to_string(), "a comment");
    }
}
