//! Changes and queries of the kernel's sets, as values.

use std::fmt;

use super::entry::{Entry, Member};
use super::kind::{AnyType, Kind, SetType};
use super::new_set::NewSet;
use super::numbers::{Command, PROTOCOL, SUBSYSTEM, command, family, list_flag};
use super::parts::SetName;
use super::set::{Set, family_number};
use crate::connection::{Exchange, Prepared, Request};
use crate::error::{Cause, Error, Refusal, Refused, Result};
use crate::net::Family;
use crate::wire::message::EXCLUSIVE;
use crate::wire::{Writer, nfnetlink};

/// An object that exists already, or is absent already, is an error.
pub(crate) const STRICT: u16 = EXCLUSIVE;

/// One change of the kernel's sets, as a value.
///
/// [`Ipset::change`](super::Ipset::change) carries it out, [`Ipset::batch`](super::Ipset::batch) carries out many.
///
/// Its text names the operation and the object: `add 10.0.0.7 to set blocked`. The alternate form has the values, too:
/// `add 10.0.0.7 timeout 60 to set blocked`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Change {
    /// Creates a set (`IPSET_CMD_CREATE`).
    #[doc(alias = "IPSET_CMD_CREATE")]
    Create(SetName, NewSet<AnyType>),
    /// Creates a set unless an equal one exists (`IPSET_CMD_CREATE` without `NLM_F_EXCL`): see
    /// [`Ipset::put_set`](super::Ipset::put_set).
    PutSet(SetName, NewSet<AnyType>),
    /// Destroys a set (`IPSET_CMD_DESTROY`).
    #[doc(alias = "IPSET_CMD_DESTROY")]
    Destroy(SetName),
    /// Destroys a set if it exists.
    RemoveSet(SetName),
    /// Destroys all sets, or none if one of them is in use.
    DestroyAll,
    /// Deletes all entries of a set (`IPSET_CMD_FLUSH`).
    #[doc(alias = "IPSET_CMD_FLUSH")]
    Clear(SetName),
    /// Deletes all entries of all sets (`IPSET_CMD_FLUSH`).
    ClearAll,
    /// Gives the first set the second name (`IPSET_CMD_RENAME`).
    #[doc(alias = "IPSET_CMD_RENAME")]
    Rename(SetName, SetName),
    /// Exchanges the contents of two sets (`IPSET_CMD_SWAP`).
    #[doc(alias = "IPSET_CMD_SWAP")]
    Swap(SetName, SetName),
    /// Adds an entry (`IPSET_CMD_ADD`).
    #[doc(alias = "IPSET_CMD_ADD")]
    #[cfg_attr(feature = "serde", serde(with = "super::data::of_set"))]
    Add(Set<AnyType>, Member<AnyType>),
    /// Adds an entry, or updates the existing one (`IPSET_CMD_ADD` without `NLM_F_EXCL`).
    #[cfg_attr(feature = "serde", serde(with = "super::data::of_set"))]
    Put(Set<AnyType>, Member<AnyType>),
    /// Deletes an entry (`IPSET_CMD_DEL`).
    #[doc(alias = "IPSET_CMD_DEL")]
    #[cfg_attr(feature = "serde", serde(with = "super::data::of_set"))]
    Delete(Set<AnyType>, Member<AnyType>),
    /// Deletes an entry if it exists (`IPSET_CMD_DEL` without `NLM_F_EXCL`).
    #[cfg_attr(feature = "serde", serde(with = "super::data::of_set"))]
    Remove(Set<AnyType>, Member<AnyType>),
}

impl Change {
    /// Checks, without the kernel, that the kernel accepts the change and stores it as asked. [`Ipset`](super::Ipset)
    /// checks every change before sending it.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input), with the fault.
    pub fn check(&self) -> Result<()> {
        self.fault().map_err(|cause| Error::new(self, cause))
    }

    /// Checks the change for a program with its own transport. A set is created with this revision of its type:
    /// [`Ipset::revisions`](super::Ipset::revisions) returns those of the kernel, and revision 0 has the fewest options.
    ///
    /// # Errors
    /// As [`Change::check`].
    pub fn prepare(&self, revision: u8) -> Result<Prepared<'_>> {
        Prepared::new(Sent { change: self, revision })
    }

    fn fault(&self) -> Result<(), Cause> {
        match self {
            Self::Create(_, new) | Self::PutSet(_, new) => new.check(),
            _ => self.of_entry().map_or(Ok(()), |request| request.check()),
        }
    }

    /// The change as one of an entry, if it is.
    pub(super) fn of_entry(&self) -> Option<OfEntry<'_, AnyType>> {
        let (verb, set, member) = match self {
            Self::Add(set, member) => (Verb::Add, set, member),
            Self::Put(set, member) => (Verb::Put, set, member),
            Self::Delete(set, member) => (Verb::Delete, set, member),
            Self::Remove(set, member) => (Verb::Remove, set, member),
            _ => return None,
        };
        Some(OfEntry { verb, set, member })
    }

    fn command(&self) -> u8 {
        match self {
            Self::Create(..) | Self::PutSet(..) => command::CREATE,
            Self::Destroy(_) | Self::RemoveSet(_) | Self::DestroyAll => command::DESTROY,
            Self::Clear(_) | Self::ClearAll => command::FLUSH,
            Self::Rename(..) => command::RENAME,
            Self::Swap(..) => command::SWAP,
            Self::Add(..) | Self::Put(..) => command::ADD,
            Self::Delete(..) | Self::Remove(..) => command::DEL,
        }
    }

    /// Writes the attributes; a set is created in this revision of its type.
    fn write(&self, out: &mut Writer<'_>, revision: u8) {
        match self {
            Self::Create(name, new) | Self::PutSet(name, new) => {
                out.text(Command::SetName, name.as_bytes());
                out.text(Command::TypeName, new.kind.name());
                out.u8(Command::Revision, revision);
                out.u8(Command::Family, family_number(new.family()));
                out.marked_nest(Command::Data, |out| new.write(out));
            }
            Self::Destroy(name) | Self::RemoveSet(name) | Self::Clear(name) => {
                out.text(Command::SetName, name.as_bytes());
            }
            Self::DestroyAll | Self::ClearAll => {}
            Self::Rename(name, other) | Self::Swap(name, other) => {
                out.text(Command::SetName, name.as_bytes());
                out.text(Command::TypeName, other.as_bytes());
            }
            Self::Add(..) | Self::Put(..) | Self::Delete(..) | Self::Remove(..) => {}
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(request) = self.of_entry() {
            return request.fmt(f);
        }
        match self {
            Self::Create(name, new) | Self::PutSet(name, new) if f.alternate() => {
                write!(f, "create set {name} {new}")
            }
            Self::Create(name, new) | Self::PutSet(name, new) => write!(f, "create set {name} ({})", new.kind),
            Self::Destroy(name) | Self::RemoveSet(name) => write!(f, "destroy set {name}"),
            Self::DestroyAll => f.write_str("destroy all sets"),
            Self::Clear(name) => write!(f, "clear set {name}"),
            Self::ClearAll => f.write_str("clear all sets"),
            Self::Rename(from, to) => write!(f, "rename set {from} to {to}"),
            Self::Swap(one, other) => write!(f, "swap sets {one} and {other}"),
            Self::Add(..) | Self::Put(..) | Self::Delete(..) | Self::Remove(..) => Ok(()),
        }
    }
}

/// A change as it is sent: with the revision in which a set is created.
pub(super) struct Sent<'a> {
    pub(super) change: &'a Change,
    pub(super) revision: u8,
}

impl fmt::Display for Sent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.change.fmt(f)
    }
}

impl Request for Sent<'_> {
    fn check(&self) -> Result<(), Cause> {
        self.change.fault()
    }

    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        if let Some(request) = self.change.of_entry() {
            return request.queue(exchange);
        }
        let strict = !matches!(self.change, Change::PutSet(..) | Change::RemoveSet(_));
        let kind = nfnetlink::message_type(SUBSYSTEM, self.change.command());
        exchange.queue_with(kind, if strict { STRICT } else { 0 }, |out| {
            write_start(out);
            self.change.write(out, self.revision);
        })?;
        Ok(1)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        self.change.refused(refusal)
    }
}

/// A query of the kernel's sets.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Query {
    /// The versions of the protocol (`IPSET_CMD_PROTOCOL`).
    #[doc(alias = "IPSET_CMD_PROTOCOL")]
    Version,
    /// The revisions of a type (`IPSET_CMD_TYPE`).
    #[doc(alias = "IPSET_CMD_TYPE")]
    Revisions(Kind),
    /// Type and family of a set (`IPSET_CMD_HEADER`).
    #[doc(alias = "IPSET_CMD_HEADER")]
    Header(SetName),
    /// The number of a set (`IPSET_CMD_GET_BYNAME`).
    #[doc(alias = "IPSET_CMD_GET_BYNAME")]
    Index(SetName),
    /// The name of the set with this number (`IPSET_CMD_GET_BYINDEX`).
    #[doc(alias = "IPSET_CMD_GET_BYINDEX")]
    NameOf(u16),
    /// Whether an entry is in a set (`IPSET_CMD_TEST`).
    #[doc(alias = "IPSET_CMD_TEST")]
    #[cfg_attr(feature = "serde", serde(with = "super::data::of_set"))]
    Test(Set<AnyType>, Member<AnyType>),
    /// The names of all sets (`IPSET_CMD_LIST`).
    #[doc(alias = "IPSET_CMD_LIST")]
    Names,
    /// All sets, or one, without their members (`IPSET_CMD_LIST`).
    Headers(Option<SetName>),
    /// All sets, or one, with their members (`IPSET_CMD_LIST`).
    List(Option<SetName>),
}

impl Query {
    /// Checks the query for a program with its own transport. The kernel refuses [`Query::Test`] if the entry is absent.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input) for an entry that the set cannot hold.
    pub fn prepare(&self) -> Result<Prepared<'_>> {
        Prepared::new(self)
    }

    /// Number of the command, and whether the answer is a dump.
    fn command(&self) -> (u8, bool) {
        match self {
            Self::Version => (command::PROTOCOL, false),
            Self::Revisions(_) => (command::TYPE, false),
            Self::Header(_) => (command::HEADER, false),
            Self::Index(_) => (command::GET_BYNAME, false),
            Self::NameOf(_) => (command::GET_BYINDEX, false),
            Self::Test(..) => (command::TEST, false),
            Self::Names | Self::Headers(_) | Self::List(_) => (command::LIST, true),
        }
    }

    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Version => {}
            Self::Revisions(kind) => {
                let has_family = kind.has_family() || kind.name().starts_with("bitmap:ip");
                out.text(Command::TypeName, kind.name());
                out.u8(Command::Family, family_number(has_family.then_some(Family::Inet)));
            }
            Self::Header(name) | Self::Index(name) => out.text(Command::SetName, name.as_bytes()),
            Self::NameOf(index) => out.u16_net(Command::Index, *index),
            Self::Test(..) => {}
            Self::Names => out.u32_net(Command::Flags, list_flag::LIST_SETNAME),
            Self::Headers(name) | Self::List(name) => {
                if let Some(name) = name {
                    out.text(Command::SetName, name.as_bytes());
                }
                if let Self::Headers(_) = self {
                    out.u32_net(Command::Flags, list_flag::LIST_HEADER);
                }
            }
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("read the version of ipset"),
            Self::Revisions(kind) => write!(f, "look up the type {kind}"),
            Self::Header(name) => write!(f, "look up set {name}"),
            Self::Index(name) => write!(f, "look up the index of set {name}"),
            Self::NameOf(index) => write!(f, "look up set number {index}"),
            Self::Test(set, member) => OfEntry { verb: Verb::Test, set, member }.fmt(f),
            Self::Names => f.write_str("list the names of all sets"),
            Self::Headers(None) | Self::List(None) => f.write_str("list all sets"),
            Self::Headers(Some(name)) | Self::List(Some(name)) => write!(f, "list set {name}"),
        }
    }
}

impl Request for Query {
    fn check(&self) -> Result<(), Cause> {
        match self {
            Self::Test(set, member) => OfEntry { verb: Verb::Test, set, member }.check(),
            _ => Ok(()),
        }
    }

    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        if let Self::Test(set, member) = self {
            return OfEntry { verb: Verb::Test, set, member }.queue(exchange);
        }
        let body = |out: &mut Writer<'_>| {
            write_start(out);
            self.write(out);
        };
        let (command, is_dump) = self.command();
        let kind = nfnetlink::message_type(SUBSYSTEM, command);
        match is_dump {
            true => exchange.queue_dump_with(kind, body)?,
            false => exchange.queue_with(kind, 0, body)?,
        }
        Ok(1)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        self.meaning(refusal)
    }

    fn is_dump(&self) -> bool {
        self.command().1
    }
}

/// An operation on one entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
    Add,
    Put,
    Delete,
    Remove,
    Test,
}

impl Verb {
    /// The change of a member; a test is none.
    pub(super) fn of(self, set: Set<AnyType>, member: Member<AnyType>) -> Change {
        match self {
            Self::Add => Change::Add(set, member),
            Self::Put => Change::Put(set, member),
            Self::Delete | Self::Test => Change::Delete(set, member),
            Self::Remove => Change::Remove(set, member),
        }
    }

    /// Whether the values of the member are ignored.
    pub(super) fn is_bare(self) -> bool {
        !matches!(self, Self::Add | Self::Put)
    }

    /// Type and flags of the message.
    pub(super) fn header(self) -> (u16, u16) {
        let (command, flags) = match self {
            Self::Add => (command::ADD, STRICT),
            Self::Put => (command::ADD, 0),
            Self::Delete => (command::DEL, STRICT),
            Self::Remove => (command::DEL, 0),
            Self::Test => (command::TEST, STRICT),
        };
        (nfnetlink::message_type(SUBSYSTEM, command), flags)
    }

    /// The parts of the text before and after the entry.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Add | Self::Put => ("add", "to"),
            Self::Delete | Self::Remove => ("delete", "from"),
            Self::Test => ("test", "in"),
        }
    }
}

/// A request about one entry.
pub(super) struct OfEntry<'a, T: SetType> {
    pub(super) verb: Verb,
    pub(super) set: &'a Set<T>,
    pub(super) member: &'a Member<T>,
}

impl<T: SetType> fmt::Display for OfEntry<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, preposition) = self.verb.words();
        if f.alternate() && !self.verb.is_bare() {
            return write!(f, "{verb} {} {preposition} set {}", self.member, self.set);
        }
        let entry: Entry = self.member.entry.into();
        write!(f, "{verb} {entry} {preposition} set {}", self.set)
    }
}

impl<T: SetType> Request for OfEntry<'_, T> {
    fn check(&self) -> Result<(), Cause> {
        let (kind, family) = (self.set.kind(), self.set.family());
        match self.verb {
            Verb::Add | Verb::Put => self.member.check(kind, family),
            Verb::Delete | Verb::Remove => self.member.bare().check(kind, family),
            Verb::Test => self.member.bare().check_test(kind, family),
        }
    }

    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        let (kind, flags) = self.verb.header();
        exchange.queue_with(kind, flags, |out| {
            write_start(out);
            out.text(Command::SetName, self.set.name().as_bytes());
            out.marked_nest(Command::Data, |out| match self.verb.is_bare() {
                true => self.member.bare().write(out, None),
                false => self.member.write(out, None),
            });
        })?;
        Ok(1)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        self.verb.refused(self.set.kind(), refusal)
    }
}

/// Writes the start of every request.
pub(crate) fn write_start(out: &mut Writer<'_>) {
    nfnetlink::write_header(out, family::INET);
    out.u8(Command::Protocol, PROTOCOL);
}
