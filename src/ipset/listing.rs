//! Listing sets and their members.

use std::ops::Range;

use super::client::Ipset;
use super::entry::Member;
use super::kind::{AnyType, Kind, SetType};
use super::numbers::Command;
use super::parts::SetName;
use super::request::Query;
use super::set::{Parts, Set, SetInfo};
use crate::error::{Cause, DecodeError, Error, Reason, Result};
use crate::wire::reader::required;
use crate::wire::{Attrs, Kind as Attribute, nfnetlink};

/// An item of a listing.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Listed {
    /// A set. Its members are the next items.
    Set(SetInfo),
    /// A member of the set before.
    Member(Member<AnyType>),
}

impl Ipset {
    /// Returns the names of all sets (`IPSET_CMD_LIST`), the `list:set` last. A set that another process creates,
    /// renames or destroys meanwhile may be listed or not. Its name may be listed twice if another set takes the name
    /// meanwhile.
    ///
    /// # Errors
    /// See [`Ipset`].
    #[doc(alias("IPSET_CMD_LIST", "IPSET_FLAG_LIST_SETNAME"))]
    pub fn names(&mut self) -> Result<Vec<SetName>> {
        let mut names = Vec::new();
        self.connection.run(&Query::Names, |_, body| {
            let parts = Parts::read(nfnetlink::attributes(body)?)?;
            names.push(required(parts.name, Command::SetName)?);
            Ok(())
        })?;
        Ok(names)
    }

    /// Returns all sets without their members (`IPSET_CMD_LIST`), the `list:set` last. The kernel walks all entries of
    /// each set to count them.
    ///
    /// # Errors
    /// See [`Ipset`]; also when a set cannot be decoded: [`Ipset::stream_sets`] has the others.
    #[doc(alias("IPSET_CMD_LIST", "IPSET_FLAG_LIST_HEADER"))]
    pub fn sets(&mut self) -> Result<Vec<SetInfo>> {
        self.stream_sets()?.collected()
    }

    /// Streams all sets without their members, as [`Ipset::sets`]. A set that cannot be decoded is an item that is an
    /// error, and the next set follows.
    ///
    /// # Errors
    /// See [`Ipset`]; later ones are items.
    pub fn stream_sets(&mut self) -> Result<Sets<'_>> {
        Ok(Sets(self.listing(Query::Headers(None), None)?))
    }

    /// Returns a set without its members (`IPSET_CMD_LIST`).
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn set(&mut self, name: SetName) -> Result<SetInfo> {
        let query = Query::Headers(Some(name));
        // The dump is read to its end: its refusal may be the last message.
        let all = Sets(self.listing(query.clone(), Some(name))?).collected()?;
        all.into_iter().next().ok_or_else(|| Error::new(query, Cause::NoAnswer))
    }

    /// Streams all sets with their members (`IPSET_CMD_LIST`), or one set, as they arrive from the kernel. Uses
    /// constant memory. Dropping the stream reads the rest of it.
    ///
    /// Finish or drop the stream promptly: meanwhile no process can destroy, rename or swap the listed set.
    ///
    /// Sets and entries that exist all the time are listed once. Others may be listed once, twice or not at all. The
    /// members of a `list:set` of several messages are listed by position: a member may be listed twice, or be left
    /// out, when others are added or deleted before it.
    ///
    /// The kernel does not lock the set, so that the values of an entry can be wrong. On Linux 7.3 a deleted entry may
    /// have the comment and counters of its successor in memory. On Linux 6.12 a comment that changes while the set
    /// grows may be read from freed memory. [`Ipset::replace`] avoids all of these effects.
    ///
    /// A member that cannot be decoded is returned as an error that names the set, and the listing continues. A set that
    /// cannot be decoded is also returned as an error; its members are left out, and the next set follows.
    ///
    /// # Errors
    /// See [`Ipset`]; later ones are items.
    #[doc(alias = "IPSET_CMD_LIST")]
    pub fn stream_contents(&mut self, name: Option<SetName>) -> Result<Contents<'_>> {
        self.listing(Query::List(name), name)
    }

    fn listing(&mut self, query: Query, name: Option<SetName>) -> Result<Contents<'_>> {
        self.connection.start(&query)?;
        Ok(Contents { ipset: self, query, name, current: Current::None, entries: 0..0, ended: false })
    }

    /// Returns the members of a set (`IPSET_CMD_LIST`): as [`Ipset::stream_contents`].
    ///
    /// # Errors
    /// As [`Ipset::stream_contents`]; also when the set has another type meanwhile, or a member cannot be decoded.
    #[doc(alias("IPSET_CMD_LIST", "IPSET_ATTR_ADT"))]
    pub fn members<T: SetType>(&mut self, set: &Set<T>) -> Result<Vec<Member<T>>> {
        self.stream_members(set)?.collected()
    }

    /// Streams the members of a set, as they arrive from the kernel.
    ///
    /// # Errors
    /// As [`Ipset::stream_contents`]; an item that is an error when the set has another type meanwhile.
    pub fn stream_members<T: SetType>(&mut self, set: &Set<T>) -> Result<Members<'_, T>> {
        Ok(Members { contents: self.stream_contents(Some(set.name()))?, set: *set })
    }
}

/// Sets and their members, as they arrive from the kernel: see [`Ipset::stream_contents`].
#[derive(Debug)]
pub struct Contents<'a> {
    ipset: &'a mut Ipset,
    query: Query,
    name: Option<SetName>,
    current: Current,
    /// Range of the unread entries in the attributes of the last message.
    entries: Range<usize>,
    ended: bool,
}

/// The set whose members arrive.
#[derive(Clone, Copy, Debug)]
enum Current {
    /// None has arrived.
    None,
    /// It could be decoded.
    Set(SetName, Kind),
    /// It could not be decoded: its members are left out.
    Unknown,
}

impl Iterator for Contents<'_> {
    type Item = Result<Listed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.renew_deadline();
        loop {
            if let Some(member) = self.next_member() {
                return Some(member.map(Listed::Member));
            }
            match self.next_message()? {
                Ok(None) => {}
                Ok(Some(info)) => return Some(Ok(Listed::Set(info))),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Contents<'_> {
    /// Starts the deadline of the next item, for any number of messages before it.
    #[inline]
    fn renew_deadline(&mut self) {
        if self.entries.is_empty() {
            self.ipset.connection.renew_deadline();
        }
    }

    /// Reads the next entry of the last message, in place; `None` after its last one. Serves the bar of listed members.
    #[inline]
    fn next_member<T: SetType>(&mut self) -> Option<Result<Member<T>>> {
        let Current::Set(set, kind) = self.current else { return None };
        if self.entries.is_empty() {
            return None;
        }
        let attributes = nfnetlink::attributes(self.ipset.connection.exchange.message()).unwrap_or_default();
        let mut entries = Attrs::<Command>::new(attributes.get(self.entries.clone()).unwrap_or_default());
        let read = match entries.next()? {
            Ok(entry) => Member::read_typed(kind, entry.nested()),
            Err(fault) => return Some(Err(self.broken(fault))),
        };
        self.entries.start = self.entries.end - entries.rest().len();
        Some(read.map_err(|cause| Error::new(Query::List(Some(set)), cause)))
    }

    /// Receives the next message; returns the set that it begins with, or `None` if it continues the set before.
    fn next_message(&mut self) -> Option<Result<Option<SetInfo>>> {
        if self.ended {
            return None;
        }
        match self.ipset.connection.next_item(&self.query) {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.ended = true;
                return None;
            }
            Err(error) => {
                self.ended = true;
                return Some(Err(error));
            }
        }
        let attributes = nfnetlink::attributes(self.ipset.connection.exchange.message());
        let (parts, fault) = match attributes.and_then(Parts::read_all) {
            Ok(read) => read,
            Err(fault) => return Some(Err(self.broken(fault))),
        };
        let (name, entries) = (parts.name, parts.range_of_entries.clone());
        let info = match (fault, &parts.data) {
            (Some(fault), _) => Err(fault),
            (None, Some(_)) => parts.info().map(Some),
            (None, None) => Ok(None),
        };
        match &info {
            Ok(Some(info)) => self.current = Current::Set(info.set.name(), info.set.kind()),
            Err(_) if parts.data.is_some() => self.current = Current::Unknown,
            Ok(None) | Err(_) => {}
        }
        self.entries = match self.current {
            Current::Set(..) => entries,
            Current::Unknown => 0..0,
            Current::None => {
                let missing = DecodeError::Missing { attribute: Command::TypeName.name() };
                return Some(Err(self.broken(info.err().unwrap_or(missing))));
            }
        };
        Some(info.map_err(|fault| Error::new(Query::List(name.or(self.name)), fault)))
    }

    /// Reads the dump to its end, within [`Options::deadline`](crate::Options::deadline): until then a set cannot be
    /// destroyed, renamed or swapped.
    fn finish(&mut self) {
        self.ipset.connection.renew_deadline();
        while !self.ended {
            self.ended = !matches!(self.ipset.connection.next_item(&self.query), Ok(Some(_)));
        }
        self.entries = 0..0;
    }

    /// Ends the listing at a message that leaves unknown what the next one is about.
    #[cold]
    fn broken(&mut self, fault: DecodeError) -> Error {
        self.ipset.connection.abandon();
        self.entries = 0..0;
        self.ended = true;
        Error::new(&self.query, fault)
    }
}

impl Drop for Contents<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The members of a set, as they arrive from the kernel: see [`Ipset::stream_members`].
#[derive(Debug)]
pub struct Members<'a, T: SetType> {
    contents: Contents<'a>,
    set: Set<T>,
}

impl<T: SetType> Iterator for Members<'_, T> {
    type Item = Result<Member<T>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.contents.renew_deadline();
        self.advance()
    }
}

impl<T: SetType> Members<'_, T> {
    /// Reads the whole dump as one operation, which the deadline and the largest listing bound.
    fn collected(mut self) -> Result<Vec<Member<T>>> {
        std::iter::from_fn(|| self.advance()).collect()
    }

    /// Returns the next member within the operation that has started.
    #[inline]
    fn advance(&mut self) -> Option<Result<Member<T>>> {
        loop {
            if let Some(member) = self.contents.next_member() {
                return Some(member);
            }
            match self.contents.next_message()? {
                Err(error) => return Some(Err(error)),
                Ok(None) => {}
                Ok(Some(info)) if info.set.kind() == self.set.kind() => {}
                Ok(Some(info)) => {
                    self.contents.finish();
                    let text = format!("the set is of the type {} by now, wanted {}", info.set.kind(), self.set.kind());
                    let cause = Cause::precondition(Reason::TypeMismatch, text);
                    return Some(Err(Error::new(Query::List(Some(self.set.name())), cause)));
                }
            }
        }
    }
}

/// Sets without their members, as they arrive from the kernel: see [`Ipset::stream_sets`].
#[derive(Debug)]
pub struct Sets<'a>(Contents<'a>);

impl Iterator for Sets<'_> {
    type Item = Result<SetInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.renew_deadline();
        self.advance()
    }
}

impl Sets<'_> {
    /// Reads the whole dump as one operation, which the deadline and the largest listing bound.
    fn collected(mut self) -> Result<Vec<SetInfo>> {
        std::iter::from_fn(|| self.advance()).collect()
    }

    /// Returns the next set within the operation that has started.
    fn advance(&mut self) -> Option<Result<SetInfo>> {
        loop {
            let message = self.0.next_message()?;
            // The request excludes members: skip those that a kernel lists in spite of it.
            self.0.entries = 0..0;
            match message {
                Ok(Some(info)) => return Some(Ok(info)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
