//! Listing sets and their members.

use std::collections::VecDeque;

use super::client::Ipset;
use super::entry::Member;
use super::kind::{AnyType, Kind, SetType};
use super::numbers::Command;
use super::parts::SetName;
use super::request::Query;
use super::set::{Parts, Set, SetInfo};
use crate::connection::Request;
use crate::error::{Cause, DecodeError, Error, Reason, Result};
use crate::wire::reader::required;
use crate::wire::{Kind as Attribute, nfnetlink};

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
    /// A member that cannot be decoded is an item that is an error and names the set; the next member follows. A set
    /// that cannot be decoded is also an error; its members are left out, and the next set follows.
    ///
    /// # Errors
    /// See [`Ipset`]; later ones are items.
    #[doc(alias = "IPSET_CMD_LIST")]
    pub fn stream_contents(&mut self, name: Option<SetName>) -> Result<Contents<'_>> {
        self.listing(Query::List(name), name)
    }

    fn listing(&mut self, query: Query, name: Option<SetName>) -> Result<Contents<'_>> {
        query.queue(&mut self.connection).map_err(|cause| Error::new(&query, cause))?;
        Ok(Contents { ipset: self, query, name, current: Current::None, pending: VecDeque::new(), ended: false })
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
    /// The rest of the last message.
    pending: VecDeque<Result<Listed>>,
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

impl Contents<'_> {
    /// Reads the next message; returns whether one arrived.
    fn receive(&mut self) -> Result<bool> {
        if self.ipset.connection.next_item(&self.query)?.is_none() {
            return Ok(false);
        }
        let (current, pending) = (&mut self.current, &mut self.pending);
        take_apart(self.ipset.connection.message(), self.name, current, pending).map_err(|fault| {
            self.ipset.connection.abandon();
            Error::new(&self.query, fault)
        })?;
        Ok(true)
    }
}

/// Reads a message of a listing of this set, or of all sets.
///
/// # Errors
/// A message that leaves unknown what the next one is about.
fn take_apart(
    body: &[u8],
    name: Option<SetName>,
    current: &mut Current,
    pending: &mut VecDeque<Result<Listed>>,
) -> Result<(), DecodeError> {
    let (parts, fault) = Parts::read_all(nfnetlink::attributes(body)?)?;
    let failed = |set: Option<SetName>, fault: DecodeError| Error::new(Query::List(set.or(name)), fault);
    let info = match (fault, &parts.data) {
        (Some(fault), _) => Err(fault),
        (None, Some(_)) => parts.info().map(Some),
        // A message without a header continues the set before.
        (None, None) => Ok(None),
    };
    match info {
        Ok(None) => {}
        Ok(Some(info)) => {
            *current = Current::Set(info.set.name(), info.set.kind());
            pending.push_back(Ok(Listed::Set(info)));
        }
        Err(fault) => {
            if parts.data.is_some() {
                *current = Current::Unknown;
            }
            pending.push_back(Err(failed(parts.name, fault)));
        }
    }
    let (set, kind) = match *current {
        Current::Set(set, kind) => (set, kind),
        Current::Unknown => return Ok(()),
        Current::None => return Err(DecodeError::Missing { attribute: Command::TypeName.name() }),
    };
    for entry in parts.entries.iter().flat_map(Clone::clone) {
        let member = Member::read(kind, entry?.nested());
        pending.push_back(member.map(Listed::Member).map_err(|fault| failed(Some(set), fault)));
    }
    Ok(())
}

impl Iterator for Contents<'_> {
    type Item = Result<Listed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.renew_deadline();
        self.advance()
    }
}

impl Contents<'_> {
    /// Starts the deadline of the next item, for any number of messages before it.
    fn renew_deadline(&mut self) {
        if self.pending.is_empty() {
            self.ipset.connection.renew_deadline();
        }
    }

    /// Returns the next item within the operation that has started.
    fn advance(&mut self) -> Option<Result<Listed>> {
        loop {
            if let Some(listed) = self.pending.pop_front() {
                return Some(listed);
            }
            if self.ended {
                return None;
            }
            match self.receive() {
                Ok(true) => {}
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    self.pending.push_back(Err(error));
                }
            }
        }
    }
}

impl Drop for Contents<'_> {
    /// Reads the dump to its end, within [`Options::deadline`](crate::Options::deadline): until then a set cannot be
    /// destroyed, renamed or swapped.
    fn drop(&mut self) {
        self.ipset.connection.renew_deadline();
        while !self.ended {
            self.ended = !matches!(self.ipset.connection.next_item(&self.query), Ok(Some(_)));
        }
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
    fn advance(&mut self) -> Option<Result<Member<T>>> {
        let failed = |cause: Cause| Some(Err(Error::new(Query::List(Some(self.set.name())), cause)));
        loop {
            match self.contents.advance()? {
                Err(error) => return Some(Err(error)),
                Ok(Listed::Set(info)) if info.set.kind() == self.set.kind() => {}
                Ok(Listed::Set(info)) => {
                    self.contents.ended = true;
                    self.contents.pending.clear();
                    let text = format!("the set is of the type {} by now, wanted {}", info.set.kind(), self.set.kind());
                    return failed(Cause::precondition(Reason::TypeMismatch, text));
                }
                Ok(Listed::Member(member)) => {
                    let typed: Result<Member<T>, _> = member.of_type();
                    return typed.map_or_else(|cause| failed(cause.into()), |member| Some(Ok(member)));
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
            match self.0.advance()? {
                Ok(Listed::Set(info)) => return Some(Ok(info)),
                Ok(Listed::Member(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
