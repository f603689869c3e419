//! Serialised forms of sets: texts of `ipset(8)`, and the terms of `ipset list -o xml`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::{Entry, Member};
use super::kind::{AnyType, Kind, SetType};
use super::new_set::family_of;
use super::parts::SetName;
use super::set::Set;
use crate::net::Family;

/// The parts of an entry, and a type that has such entries.
const PARTS: [(&str, Kind); 10] = [
    ("ip", Kind::HashIp),
    ("ip,mac", Kind::BitmapIpMac),
    ("ip,mark", Kind::HashIpMark),
    ("ip,port", Kind::HashIpPort),
    ("ip,port,ip", Kind::HashIpPortNet),
    ("ip,ip", Kind::HashNetNet),
    ("ip,iface", Kind::HashNetIface),
    ("port", Kind::BitmapPort),
    ("mac", Kind::HashMac),
    ("set", Kind::ListSet),
];

fn parts(entry: &Entry) -> (&'static str, Kind) {
    let [ip, ip_mac, ip_mark, ip_port, ip_port_ip, ip_ip, ip_interface, port, mac, set] = PARTS;
    match entry {
        Entry::Ip(_) => ip,
        Entry::IpMac(..) => ip_mac,
        Entry::IpMark(..) => ip_mark,
        Entry::IpPort(..) => ip_port,
        Entry::IpPortIp(..) => ip_port_ip,
        Entry::IpIp(..) => ip_ip,
        Entry::IpInterface(..) => ip_interface,
        Entry::Port(_) => port,
        Entry::Mac(_) => mac,
        Entry::Set(_) => set,
    }
}

fn kind_of<E: serde::de::Error>(parts: &str) -> Result<Kind, E> {
    let known = PARTS.iter().find(|(name, _)| *name == parts);
    known.map(|(_, kind)| *kind).ok_or_else(|| E::custom(format_args!("{parts:?} are not the parts of an entry")))
}

fn no_text<E: serde::ser::Error>(text: &str) -> E {
    E::custom(format_args!("{text:?} does not read back as the same value"))
}

/// The parts of an entry and its text, since the text alone is that of several types.
#[derive(Deserialize, Serialize)]
struct EntryText {
    parts: String,
    entry: String,
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (parts, kind) = parts(self);
        let entry = self.to_string();
        if Self::parse(kind, &entry).as_ref() != Ok(self) {
            return Err(no_text(&entry));
        }
        EntryText { parts: parts.to_owned(), entry }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let EntryText { parts, entry } = EntryText::deserialize(deserializer)?;
        Self::parse(kind_of(&parts)?, &entry).map_err(D::Error::custom)
    }
}

/// The parts of a member's entry and its text.
#[derive(Deserialize, Serialize)]
struct MemberText {
    parts: String,
    member: String,
}

impl Serialize for Member<AnyType> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (parts, kind) = parts(&self.entry);
        MemberText { parts: parts.to_owned(), member: text_of(kind, self)? }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Member<AnyType> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let MemberText { parts, member } = MemberText::deserialize(deserializer)?;
        Self::parse_as(kind_of(&parts)?, &member).map_err(D::Error::custom)
    }
}

fn text_of<E: serde::ser::Error>(kind: Kind, member: &Member<AnyType>) -> Result<String, E> {
    let text = member.to_string();
    if Member::parse_as(kind, &text).as_ref() == Ok(member) { Ok(text) } else { Err(no_text(&text)) }
}

/// A set: its name, its type and its family.
#[derive(Deserialize, Serialize)]
struct SetText {
    name: SetName,
    r#type: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<Family>,
}

impl<T: SetType> From<&Set<T>> for SetText {
    fn from(set: &Set<T>) -> Self {
        Self { name: set.name(), r#type: set.kind(), family: set.family() }
    }
}

impl From<SetText> for Set<AnyType> {
    fn from(SetText { name, r#type, family }: SetText) -> Self {
        Self::new(name, r#type, family_of(r#type, family))
    }
}

impl<T: SetType> Serialize for Set<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SetText::from(self).serialize(serializer)
    }
}

impl<'de, T: SetType> Deserialize<'de> for Set<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let set: Set<AnyType> = SetText::deserialize(deserializer)?.into();
        match T::KIND {
            Some(kind) if kind != set.kind() => {
                let text = format!("set {set} is of the type {}, wanted {kind}", set.kind());
                Err(D::Error::custom(text))
            }
            _ => Ok(Self::new(set.name(), set.kind(), set.family())),
        }
    }
}

/// A member of a set, for requests: the fields of the set, and the text of the member.
pub(super) mod of_set {
    use super::{AnyType, Deserialize, Deserializer, Member, Serialize, Serializer, Set, SetText, text_of};
    use serde::de::Error as _;

    #[derive(Deserialize, Serialize)]
    struct OfSet {
        #[serde(flatten)]
        set: SetText,
        member: String,
    }

    pub(in super::super) fn serialize<S: Serializer>(
        set: &Set<AnyType>,
        member: &Member<AnyType>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        OfSet { set: set.into(), member: text_of(set.kind(), member)? }.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<(Set<AnyType>, Member<AnyType>), D::Error> {
        let OfSet { set, member } = OfSet::deserialize(deserializer)?;
        let set = Set::from(set);
        Ok((set, Member::parse_as(set.kind(), &member).map_err(D::Error::custom)?))
    }
}

/// A value that may be absent, as the text that these two functions write and read.
macro_rules! optional_text {
    ($name:ident: $type:ty, $write:path, $read:path) => {
        pub(super) mod $name {
            use serde::de::Error as _;
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            #[expect(clippy::ref_option, reason = "the signature is that of serde")]
            pub(in super::super) fn serialize<S: Serializer>(
                value: &Option<$type>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                value.map($write).serialize(serializer)
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<$type>, D::Error> {
                let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
                let wrong = || D::Error::custom(format_args!("{text:?} is not a {}", stringify!($name)));
                $read(&text).map(Some).ok_or_else(wrong)
            }
        }
    };
}

optional_text!(skbmark: (u32, u32), crate::ipset::text::skbmark, crate::ipset::text::read_skbmark);
optional_text!(skbprio: (u16, u16), crate::ipset::text::skbprio, crate::ipset::text::read_skbprio);
