//! Listing sets and their members.

use std::collections::VecDeque;
use std::fmt;

use super::client::{Ipset, read_parts, write_start};
use super::entry::Member;
use super::kind::{Any, Kind, SetType};
use super::numbers::{Command, SUBSYSTEM, command, list};
use super::parts::SetName;
use super::refusal::{self, explain};
use super::set::{Parts, Set, SetInfo};
use crate::error::{Cause, Error, Result, from_fn};
use crate::transport::blocking::Reply;
use crate::wire::nfnetlink;
use crate::wire::reader::required;

/// One line of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listed {
    /// A set. Its members follow.
    Set(SetInfo),
    /// A member of the set before.
    Member(Member<Any>),
}

impl Ipset {
    /// The names of all sets (`IPSET_CMD_LIST`), the `list:set` last. A set that others make, rename or destroy meanwhile
    /// may be listed or not, and twice if it is another by then.
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn names(&mut self) -> Result<Vec<SetName>> {
        let operation = "list the names of all sets";
        self.start_list(None, list::NAMES_ONLY).map_err(|cause| Error::new(operation, cause))?;
        let mut names = Vec::new();
        while let Some(name) = self.next_part(operation, |parts| Ok(required(parts.name, Command::SetName)?))? {
            names.push(name);
        }
        Ok(names)
    }

    /// All sets without their members (`IPSET_CMD_LIST`), the `list:set` last. The kernel counts the entries of each
    /// by going through all of them.
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn sets(&mut self) -> Result<Vec<SetInfo>> {
        self.headers(None, "list all sets")
    }

    /// A set without its members (`IPSET_CMD_LIST`).
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn info(&mut self, name: SetName) -> Result<SetInfo> {
        let operation = from_fn(|f| write!(f, "list set {name}"));
        let first = self.headers(Some(name), operation)?.into_iter().next();
        first.ok_or_else(|| Error::new(operation, Cause::NoAnswer))
    }

    fn headers(&mut self, name: Option<SetName>, operation: impl fmt::Display + Copy) -> Result<Vec<SetInfo>> {
        self.start_list(name, list::HEADERS_ONLY).map_err(|cause| Error::new(operation, cause))?;
        let mut sets = Vec::new();
        while let Some(info) = self.next_part(operation, |parts| Ok(parts.info()?))? {
            sets.push(info);
        }
        Ok(sets)
    }

    /// All sets with their members (`IPSET_CMD_LIST`), or one, as they come from the kernel: memory stays the same
    /// whatever the number of members. A list that is given up is
    /// read to its end all the same.
    ///
    /// While a set is being listed it cannot be destroyed, renamed or swapped, and other processes' attempts fail, too:
    /// do not dawdle.
    ///
    /// Sets and entries that are there all the time are listed once; those that come or go meanwhile may be listed or not,
    /// or twice. (Only a `list:set` of more sets than one message has room for goes on by position: then a set may come
    /// twice, or be left out, when others are put before it or taken out.) The kernel does not lock the set, so what an
    /// entry carries can be wrong: one that is deleted at that moment may come with the comment and counters of what takes
    /// its place in memory (seen on Linux 7.3), and of a set that grows at that moment, a comment that is changed may come
    /// from memory that was freed (seen on Linux 6.12). A set that is changed by [`Ipset::replace`] has none of that.
    ///
    /// # Errors
    /// See [`Ipset`]; later ones come as items.
    pub fn list(&mut self, name: Option<SetName>) -> Result<Listing<'_>> {
        self.start_list(name, 0).map_err(|cause| Error::new(Operation(name), cause))?;
        Ok(Listing { ipset: self, name, kind: None, pending: VecDeque::new(), ended: false })
    }

    /// The members of a set (`IPSET_CMD_LIST`): as [`Ipset::list`].
    ///
    /// # Errors
    /// As [`Ipset::list`]; an item that is an error when the set is of another type by now.
    pub fn members<T: SetType>(&mut self, set: &Set<T>) -> Result<Members<'_, T>> {
        Ok(Members { listing: self.list(Some(set.name()))?, set: *set })
    }

    fn start_list(&mut self, name: Option<SetName>, flags: u32) -> Result<(), Cause> {
        self.connection.queue_dump(nfnetlink::message_type(SUBSYSTEM, command::LIST), |out| {
            write_start(out);
            if let Some(name) = name {
                out.text(Command::SetName, name.as_bytes());
            }
            if flags != 0 {
                out.u32_net(Command::Flags, flags);
            }
        })
    }

    /// The next message of a list.
    fn next_part<A>(
        &mut self,
        operation: impl fmt::Display,
        read: impl FnMut(&Parts<'_>) -> Result<A, Cause>,
    ) -> Result<Option<A>> {
        let mut refused = None;
        let read = loop {
            match self.connection.reply() {
                Ok(Reply::Finished) => break Ok(None),
                Ok(Reply::Message(..)) => break read_parts(self.connection.message(), read).map(Some),
                Ok(Reply::Refused(_, refusal)) => refused = Some(refusal),
                Err(cause) => break Err(cause),
            }
        };
        match (read, refused) {
            (Ok(None), Some(refusal)) => Err(Error::new(operation, explain(refusal::Operation::Ask, None, refusal))),
            (Ok(part), _) => Ok(part),
            (Err(cause), _) => {
                self.connection.abandon();
                Err(Error::new(operation, cause))
            }
        }
    }
}

/// Sets and their members, as they come from the kernel: see [`Ipset::list`].
#[derive(Debug)]
pub struct Listing<'a> {
    ipset: &'a mut Ipset,
    name: Option<SetName>,
    /// The type of the set whose members come.
    kind: Option<Kind>,
    /// What of the last message was not given out yet.
    pending: VecDeque<Listed>,
    ended: bool,
}

/// What a listing of one or all sets is called.
struct Operation(Option<SetName>);

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "list set {name}"),
            None => f.write_str("list all sets"),
        }
    }
}

impl Listing<'_> {
    /// Takes the next message apart; says whether there was one.
    fn receive(&mut self) -> Result<bool> {
        let (kind, pending) = (&mut self.kind, &mut self.pending);
        let part = self.ipset.next_part(Operation(self.name), |parts| {
            // What comes without a header goes on with the set before.
            if parts.data.is_some() {
                let info = parts.info()?;
                *kind = Some(info.set.kind());
                pending.push_back(Listed::Set(info));
            }
            let kind = required(*kind, Command::TypeName)?;
            for entry in parts.entries.iter().flat_map(Clone::clone) {
                pending.push_back(Listed::Member(Member::read(kind, entry?.nested())?));
            }
            Ok(())
        })?;
        Ok(part.is_some())
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<Listed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(listed) = self.pending.pop_front() {
                return Some(Ok(listed));
            }
            if self.ended {
                return None;
            }
            match self.receive() {
                Ok(true) => {}
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.pending.clear();
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Drop for Listing<'_> {
    /// Until its list is at the end, a set cannot be destroyed, renamed or swapped.
    fn drop(&mut self) {
        while !self.ended {
            self.ended = !matches!(self.ipset.connection.reply(), Ok(Reply::Message(..) | Reply::Refused(..)));
        }
    }
}

/// The members of a set, as they come from the kernel: see [`Ipset::members`].
#[derive(Debug)]
pub struct Members<'a, T: SetType> {
    listing: Listing<'a>,
    set: Set<T>,
}

impl<T: SetType> Iterator for Members<'_, T> {
    type Item = Result<Member<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let failed = |cause| Error::new(format_args!("list set {}", self.set), cause);
            match self.listing.next()? {
                Err(error) => return Some(Err(error)),
                Ok(Listed::Set(info)) if info.set.kind() == self.set.kind() => {}
                Ok(Listed::Set(info)) => {
                    self.listing.ended = true;
                    self.listing.pending.clear();
                    let text = format!("it is a {} by now, not a {}", info.set.kind(), self.set.kind());
                    return Some(Err(failed(Cause::InvalidInput(text.into()))));
                }
                Ok(Listed::Member(member)) => {
                    let typed: Result<Member<T>, _> = member.of_type();
                    return Some(typed.map_err(|cause| failed(cause.into())));
                }
            }
        }
    }
}
