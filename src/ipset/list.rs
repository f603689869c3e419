//! Listing sets and their members.

use std::collections::VecDeque;
use std::fmt;

use super::client::{Ipset, write_start};
use super::entry::Member;
use super::kind::{Any, Kind, SetType};
use super::numbers::{Command, SUBSYSTEM, command, list};
use super::parts::SetName;
use super::refusal::{self, explain};
use super::set::{Parts, Set, SetInfo};
use crate::connection::Reply;
use crate::error::{Cause, DecodeError, Error, Reason, Result};
use crate::wire::reader::required;
use crate::wire::{Kind as Attribute, nfnetlink};

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
        let read = |attributes: &[u8]| Ok(required(Parts::read(attributes)?.name, Command::SetName)?);
        while let Some(name) = self.next_message(operation, read)? {
            names.push(name);
        }
        Ok(names)
    }

    /// All sets without their members (`IPSET_CMD_LIST`), the `list:set` last. The kernel counts the entries of each
    /// by going through all of them.
    ///
    /// # Errors
    /// See [`Ipset`]; also when a set cannot be decoded: [`Ipset::headers`] has the others.
    pub fn sets(&mut self) -> Result<Vec<SetInfo>> {
        self.headers()?.collected()
    }

    /// As [`Ipset::sets`], one by one as they arrive. A set that cannot be decoded is an item that is an error, and the
    /// next set follows.
    ///
    /// # Errors
    /// See [`Ipset`]; later ones are items.
    pub fn headers(&mut self) -> Result<Headers<'_>> {
        Ok(Headers(self.listing(None, list::HEADERS_ONLY)?))
    }

    /// A set without its members (`IPSET_CMD_LIST`).
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn info(&mut self, name: SetName) -> Result<SetInfo> {
        // The dump is read to its end: its refusal may be the last message.
        let all = Headers(self.listing(Some(name), list::HEADERS_ONLY)?).collected()?;
        all.into_iter().next().ok_or_else(|| Error::new(Operation(Some(name)), Cause::NoAnswer))
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
    /// A member that cannot be decoded is an item that is an error and names the set; the next member follows. So is a
    /// set that cannot be decoded; its members are left out, and the next set follows.
    ///
    /// # Errors
    /// See [`Ipset`]; later ones are items.
    pub fn list(&mut self, name: Option<SetName>) -> Result<Listing<'_>> {
        self.listing(name, 0)
    }

    fn listing(&mut self, name: Option<SetName>, flags: u32) -> Result<Listing<'_>> {
        self.start_list(name, flags).map_err(|cause| Error::new(Operation(name), cause))?;
        Ok(Listing { ipset: self, name, current: Current::None, pending: VecDeque::new(), ended: false })
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

    /// Reads the next message of a list.
    fn next_message<A>(
        &mut self,
        operation: impl fmt::Display,
        read: impl FnOnce(&[u8]) -> Result<A, Cause>,
    ) -> Result<Option<A>> {
        let mut refused = None;
        let read = loop {
            match self.connection.reply() {
                Ok(Reply::Finished) => break Ok(None),
                Ok(Reply::Message(..)) => {
                    let attributes = nfnetlink::attributes(self.connection.message());
                    break attributes.map_err(Cause::from).and_then(read).map(Some);
                }
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

/// Sets and their members, as they arrive from the kernel: see [`Ipset::list`].
#[derive(Debug)]
pub struct Listing<'a> {
    ipset: &'a mut Ipset,
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
    /// It could not: its members are left out.
    Unknown,
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
    /// Takes the next message apart; returns whether one arrived.
    fn receive(&mut self) -> Result<bool> {
        let (current, pending, name) = (&mut self.current, &mut self.pending, self.name);
        let part = self.ipset.next_message(Operation(name), |attributes| {
            let (parts, fault) = Parts::read_all(attributes)?;
            let failed = |set: Option<SetName>, fault| Error::new(Operation(set.or(name)), Cause::from(fault));
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
                Current::None => return Err(DecodeError::Missing { attribute: Command::TypeName.name() }.into()),
            };
            for entry in parts.entries.iter().flat_map(Clone::clone) {
                let member = Member::read(kind, entry?.nested());
                pending.push_back(member.map(Listed::Member).map_err(|fault| failed(Some(set), fault)));
            }
            Ok(())
        })?;
        Ok(part.is_some())
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<Listed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.renew_deadline();
        self.advance()
    }
}

impl Listing<'_> {
    /// Starts the operation of the next item, however many messages arrive before it.
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

impl Drop for Listing<'_> {
    /// Reads the dump to its end, within [`Options::deadline`](crate::Options::deadline): until then a set cannot be destroyed,
    /// renamed or swapped.
    fn drop(&mut self) {
        self.ipset.connection.renew_deadline();
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
        self.listing.renew_deadline();
        loop {
            let failed = |cause| Error::new(format_args!("list set {}", self.set), cause);
            match self.listing.advance()? {
                Err(error) => return Some(Err(error)),
                Ok(Listed::Set(info)) if info.set.kind() == self.set.kind() => {}
                Ok(Listed::Set(info)) => {
                    self.listing.ended = true;
                    self.listing.pending.clear();
                    let text = format!("it is a {} by now, not a {}", info.set.kind(), self.set.kind());
                    return Some(Err(failed(Cause::precondition(Reason::TypeMismatch, text))));
                }
                Ok(Listed::Member(member)) => {
                    let typed: Result<Member<T>, _> = member.of_type();
                    return Some(typed.map_err(|cause| failed(cause.into())));
                }
            }
        }
    }
}

/// Sets without their members, as they arrive from the kernel: see [`Ipset::headers`].
#[derive(Debug)]
pub struct Headers<'a>(Listing<'a>);

impl Iterator for Headers<'_> {
    type Item = Result<SetInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.renew_deadline();
        self.advance()
    }
}

impl Headers<'_> {
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
