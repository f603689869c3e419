//! The client: operations on the kernel's sets.

use std::fmt;
use std::ops::RangeInclusive;

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::batch::{self, BatchError, Change};
use super::entry::Member;
use super::kind::{Any, Kind, SetType};
use super::numbers::{Command, PROTOCOL, SUBSYSTEM, command, error};
use super::parts::SetName;
use super::refusal::{Operation, explain};
use super::replace;
use super::set::{NewSet, Parts, Set, family_number};
use crate::address::Family;
use crate::connection::Options;
use crate::connection::{Connection, Reply};
use crate::error::{Cause, Error, Reason, Refusal, Result, from_fn};
use crate::wire::reader::required;
use crate::wire::{Writer, nfnetlink};

/// What is an error without it is none: the entry or the set to be added is there, the one to be removed is not
/// (`NLM_F_EXCL`).
pub(crate) const STRICT: u16 = 0x200;

/// Whether it matters that an entry or a set to be made is there already, or one to be removed is not there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Exist {
    /// It is an error.
    Error,
    /// It is fine (`ipset -exist`). An entry that is there takes what the new one carries; see
    /// [`create`](Ipset::create) for sets.
    Fine,
}

impl Exist {
    pub(super) fn flags(self) -> u16 {
        match self {
            Self::Error => STRICT,
            Self::Fine => 0,
        }
    }
}

/// The sets of a network namespace: that of the thread that connects, for as long as the client lives.
///
/// Every operation but to connect needs `CAP_NET_ADMIN` in the user namespace that owns the network namespace, also those
/// that only read; [`is_permission_denied`](Error::is_permission_denied) says so. A client does not keep the privilege of
/// the one who opened it. Operations on one set fail with
/// [`is_not_found`](Error::is_not_found) when there is no such set. Each can fail for reasons that are not repeated below: no permission,
/// a time-out ([`Options::timeout`]), lost replies ([`Cause::Overrun`]).
#[derive(Debug)]
pub struct Ipset {
    pub(super) connection: Connection,
    /// The lowest and the highest revision of each type that this kernel has, once it was asked.
    revisions: [Option<(u8, u8)>; Kind::ALL.len()],
}

impl Ipset {
    /// Opens a socket. The kernel loads its ipset module when it is asked for the first time.
    ///
    /// # Errors
    /// When the system has no room for another socket.
    pub fn connect() -> Result<Self> {
        Self::connect_with(&Options::default())
    }

    /// As [`Ipset::connect`], with other buffers or another time-out.
    ///
    /// # Errors
    /// As [`Ipset::connect`].
    pub fn connect_with(options: &Options) -> Result<Self> {
        let connection = Connection::open(NETLINK_NETFILTER, options);
        connection.map(Self::over).map_err(|cause| Error::new("connect to ipset", cause))
    }

    pub(crate) fn over(connection: Connection) -> Self {
        Self { connection, revisions: [None; Kind::ALL.len()] }
    }

    /// The versions of the protocol that the kernel speaks, the lowest and the highest (`IPSET_CMD_PROTOCOL`). All of
    /// this crate needs 7, which every kernel since Linux 4.20 speaks.
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn protocol(&mut self) -> Result<RangeInclusive<u8>> {
        let operation = "ask for the version of ipset";
        let answer = self.ask(
            command::PROTOCOL,
            |_| {},
            |parts| {
                let highest = required(parts.protocol, Command::Protocol)?;
                let (lowest, highest) = parts.lowest_to(highest)?;
                Ok(lowest..=highest)
            },
        );
        answer.map_err(|(cause, refusal)| asked(operation, cause, refusal))
    }

    /// The revisions of a type of sets that the kernel has (`IPSET_CMD_TYPE`). It loads the module if it can, and is
    /// asked once for each type.
    ///
    /// # Errors
    /// [`is_unavailable`](Error::is_unavailable) when it does not have the type.
    pub fn revisions(&mut self, kind: Kind) -> Result<RangeInclusive<u8>> {
        let place = Kind::ALL.iter().position(|known| *known == kind).unwrap_or_default();
        if let Some(Some((lowest, highest))) = self.revisions.get(place) {
            return Ok(*lowest..=*highest);
        }
        let operation = from_fn(|f| write!(f, "ask for the type {kind}"));
        let family = if kind.has_family() || kind.name().starts_with("bitmap:ip") { Some(Family::Inet) } else { None };
        let answer = self.ask(
            command::TYPE,
            |out| {
                out.text(Command::TypeName, kind.name());
                out.u8(Command::Family, family_number(family));
            },
            |parts| {
                let highest = required(parts.revision, Command::Revision)?;
                Ok(parts.lowest_to(highest)?)
            },
        );
        let (lowest, highest) = answer.map_err(|(cause, refusal)| match refusal {
            Some(refusal) => Error::new(operation, explain(Operation::Ask, Some(kind), refusal)),
            None => Error::new(operation, cause),
        })?;
        if let Some(known) = self.revisions.get_mut(place) {
            *known = Some((lowest, highest));
        }
        Ok(lowest..=highest)
    }

    /// Makes a set (`IPSET_CMD_CREATE`).
    ///
    /// With [`Exist::Fine`], a set of this name that is there already must be of the same type and options, as far as the
    /// kernel compares them: not `hashsize`, `bucketsize`, `initval` and `forceadd`.
    ///
    /// # Errors
    /// [`is_already_exists`](Error::is_already_exists); [`is_unavailable`](Error::is_unavailable) when the kernel lacks
    /// the type or what the options need.
    pub fn create<T: SetType>(&mut self, name: SetName, new: &NewSet<T>, exist: Exist) -> Result<Set<T>> {
        let operation = from_fn(|f| write!(f, "create set {name} ({})", new.kind));
        let failed = |cause| Error::new(operation, cause);
        new.check().map_err(failed)?;
        let revision = self.revision_for(new).map_err(|error| error.during(operation))?;
        let family = new.family();
        let body = |out: &mut Writer<'_>| {
            out.text(Command::SetName, name.as_bytes());
            out.text(Command::TypeName, new.kind.name());
            out.u8(Command::Revision, revision);
            out.u8(Command::Family, family_number(family));
            out.marked_nest(Command::Data, |out| new.write(out));
        };
        self.tell(operation, Operation::Create, Some(new.kind), command::CREATE, exist, body)?;
        let set = Set::new(name, new.kind, family);
        if exist == Exist::Fine {
            // The kernel does not compare families.
            let there = self.header(name).map_err(|error| error.during(operation))?;
            if there.family() != family {
                let wanted = family.unwrap_or(Family::Inet);
                let text = format!("set {name} exists and differs: it is of the other family, wanted {wanted}");
                return Err(failed(Cause::precondition(Reason::AlreadyExists, text)));
            }
        }
        Ok(set)
    }

    /// The revision to make such a set with.
    fn revision_for<T: SetType>(&mut self, new: &NewSet<T>) -> Result<u8> {
        let (kind, (needed, since)) = (new.kind, new.needs());
        let there = self.revisions(kind)?;
        if *there.end() < needed {
            let text = format!(
                "it needs revision {needed} of {kind}, which Linux {since} has; this kernel has up to {}",
                there.end()
            );
            return Err(Error::new("", Cause::precondition(Reason::Unavailable, text)));
        }
        Ok(kind.revision().min(*there.end()).max(*there.start()))
    }

    /// Removes a set (`IPSET_CMD_DESTROY`).
    ///
    /// # Errors
    /// [`is_in_use`](Error::is_in_use) while a rule or a `list:set` refers to it, or it is being listed.
    pub fn destroy(&mut self, name: SetName, exist: Exist) -> Result<()> {
        let operation = from_fn(|f| write!(f, "destroy set {name}"));
        self.tell(operation, Operation::Destroy, None, command::DESTROY, exist, |out| {
            out.text(Command::SetName, name.as_bytes());
        })
    }

    /// Removes all sets, or none if one of them is in use (`IPSET_CMD_DESTROY`).
    ///
    /// # Errors
    /// [`is_in_use`](Error::is_in_use); a `list:set` and its members are in each other's way: flush first.
    pub fn destroy_all(&mut self) -> Result<()> {
        self.tell("destroy all sets", Operation::Destroy, None, command::DESTROY, Exist::Error, |_| {})
    }

    /// Removes all entries of a set (`IPSET_CMD_FLUSH`).
    ///
    /// # Errors
    /// See [`Ipset`].
    #[doc(alias = "flush")]
    #[doc(alias = "IPSET_CMD_FLUSH")]
    pub fn clear(&mut self, name: SetName) -> Result<()> {
        let operation = from_fn(|f| write!(f, "clear set {name}"));
        self.tell(operation, Operation::Ask, None, command::FLUSH, Exist::Error, |out| {
            out.text(Command::SetName, name.as_bytes());
        })
    }

    /// Removes all entries of all sets (`IPSET_CMD_FLUSH`).
    ///
    /// # Errors
    /// See [`Ipset`].
    #[doc(alias = "IPSET_CMD_FLUSH")]
    pub fn clear_all(&mut self) -> Result<()> {
        self.tell("clear all sets", Operation::Ask, None, command::FLUSH, Exist::Error, |_| {})
    }

    /// Gives a set another name (`IPSET_CMD_RENAME`).
    ///
    /// # Errors
    /// [`is_already_exists`](Error::is_already_exists) when another set has it; [`is_in_use`](Error::is_in_use) as
    /// [`Ipset::destroy`].
    pub fn rename(&mut self, from: SetName, to: SetName) -> Result<()> {
        let operation = from_fn(|f| write!(f, "rename set {from} to {to}"));
        self.tell(operation, Operation::Rename, None, command::RENAME, Exist::Error, |out| {
            out.text(Command::SetName, from.as_bytes());
            out.text(Command::TypeName, to.as_bytes());
        })
    }

    /// Exchanges the contents of two sets at once (`IPSET_CMD_SWAP`): rules that refer to one then match with what was
    /// in the other. Their entries must be of the same parts and family; their options may differ.
    ///
    /// # Errors
    /// [`is_in_use`](Error::is_in_use) while one is being listed; a refusal with [`Reason::TypeMismatch`].
    pub fn swap(&mut self, one: SetName, other: SetName) -> Result<()> {
        let operation = from_fn(|f| write!(f, "swap sets {one} and {other}"));
        self.tell(operation, Operation::Swap, None, command::SWAP, Exist::Error, |out| {
            out.text(Command::SetName, one.as_bytes());
            out.text(Command::TypeName, other.as_bytes());
        })
    }

    /// Adds an entry, or all of a range (`IPSET_CMD_ADD`).
    ///
    /// # Errors
    /// [`is_already_exists`](Error::is_already_exists); [`is_full`](Error::is_full); [`Reason::NotEnabled`] when the
    /// set was made without what the entry carries. Of a range, what comes before the failure is added.
    pub fn add<T: SetType>(&mut self, set: &Set<T>, member: &Member<T>, exist: Exist) -> Result<()> {
        let operation = from_fn(|f| write!(f, "add {} to set {set}", T::any(member.entry)));
        self.one(operation, Operation::Add, command::ADD, set, member, exist)
    }

    /// Removes an entry, or all of a range (`IPSET_CMD_DEL`). What the member carries does not matter.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found).
    pub fn delete<T: SetType>(&mut self, set: &Set<T>, member: &Member<T>, exist: Exist) -> Result<()> {
        let operation = from_fn(|f| write!(f, "delete {} from set {set}", T::any(member.entry)));
        self.one(operation, Operation::Delete, command::DEL, set, member, exist)
    }

    /// Whether an entry is in a set (`IPSET_CMD_TEST`). In a set of networks, an address is if one of them has it; with
    /// `nomatch`, whether an exception has it. What else the member carries does not matter.
    ///
    /// The kernel also answers no for an entry that the set cannot hold, such as one outside of its range.
    ///
    /// # Errors
    /// See [`Ipset`]; [`is_invalid_input`](Error::is_invalid_input) for a range, which the kernel would test by its first
    /// entry alone.
    pub fn test<T: SetType>(&mut self, set: &Set<T>, member: &Member<T>) -> Result<bool> {
        let operation = from_fn(|f| write!(f, "test {} in set {set}", T::any(member.entry)));
        match self.one(operation, Operation::Test, command::TEST, set, member, Exist::Error) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(self::error::EXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn one<T: SetType>(
        &mut self,
        operation: impl fmt::Display + Copy,
        what: Operation,
        command: u8,
        set: &Set<T>,
        member: &Member<T>,
        exist: Exist,
    ) -> Result<()> {
        let bare = member.bare();
        let member = if command == command::ADD { member } else { &bare };
        let checked = match what {
            Operation::Test => member.check_test(set.kind(), set.family()),
            _ => member.check(set.kind(), set.family()),
        };
        checked.map_err(|cause| Error::new(operation, cause))?;
        self.tell(operation, what, Some(set.kind()), command, exist, |out| {
            out.text(Command::SetName, set.name().as_bytes());
            out.marked_nest(Command::Data, |out| member.write(out, None));
        })
    }

    /// Adds any number of entries, many with each message, and stops at the first that fails.
    ///
    /// Memory stays the same whatever their number. When the process is killed on the way, the first
    /// ones are in the set, and the rest is not.
    ///
    /// # Errors
    /// [`BatchError`] says which one failed: those before it are in the set, those behind it were not tried.
    pub fn add_all<T: SetType>(
        &mut self,
        set: &Set<T>,
        members: impl IntoIterator<Item = Member<T>>,
        exist: Exist,
    ) -> Result<(), BatchError> {
        batch::fill(self, command::ADD, set, &mut members.into_iter(), exist)
    }

    /// Removes any number of entries: as [`Ipset::add_all`].
    ///
    /// # Errors
    /// As [`Ipset::add_all`].
    pub fn delete_all<T: SetType>(
        &mut self,
        set: &Set<T>,
        members: impl IntoIterator<Item = Member<T>>,
        exist: Exist,
    ) -> Result<(), BatchError> {
        batch::fill(self, command::DEL, set, &mut members.into_iter(), exist)
    }

    /// Makes any number of changes in their order, and stops at the first that fails: what `ipset restore` does.
    ///
    /// Neighbouring entries of one set travel together. Memory stays the same whatever the number of changes.
    ///
    /// # Errors
    /// [`BatchError`] says which one failed: those before it are made, those behind it were not tried.
    pub fn batch(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<(), BatchError> {
        batch::run(self, changes.into_iter())
    }

    /// Replaces the set of this name by one of these members, at once; creates it if it does not exist.
    ///
    /// The members are added to a staged set; then the two are swapped, and the staged set is destroyed with the old
    /// members. Rules that refer to the set see either all of the old members or all of the new ones. After any
    /// failure the set is as it was before, or as it should be. A set that another process lists is waited for, up
    /// to a second.
    ///
    /// The staged set is called `lvs-new-HHHHHHHH-RRRRRRRR`: `H` is the FNV-1a hash of the set's name in 32 bits, `R` a
    /// random number. While it exists, so does its marker `lvs-mark-HHHHHHHHHHHHHHHH`, with the hash in 64 bits: an empty
    /// `hash:ip` with `timeout 1819702` and the random number as `maxelem`. A replacement that is killed leaves both
    /// behind, and the next one of the same set removes them. A set without a marker is never removed.
    ///
    /// Replacements of one set by two processes at once never mix their members: each has a staged set of its own. The
    /// later one may end the earlier one, which then fails with [`is_not_found`](Error::is_not_found) or
    /// [`is_in_use`](Error::is_in_use) and has changed nothing.
    ///
    /// # Errors
    /// As [`Ipset::add_all`] and [`Ipset::create`]; a position is given for members only.
    /// Before anything is changed, [`Cause::Precondition`]: with [`Reason::TypeMismatch`] if the existing set is of another
    /// type or family, with [`Reason::AlreadyExists`] if another set has the name of the staged set or of the marker.
    /// [`is_in_use`](Error::is_in_use) after the swap, too, when the old members could not be destroyed yet.
    pub fn replace<T: SetType>(
        &mut self,
        name: SetName,
        new: &NewSet<T>,
        members: impl IntoIterator<Item = Member<T>>,
    ) -> Result<Set<T>, BatchError> {
        replace::replace(self, name, None, new, &mut members.into_iter())
    }

    /// As [`Ipset::replace`], with this name for the staged set. No other process may use it.
    ///
    /// The marker has the FNV-1a hash of the staged set's name as `maxelem`. What a killed replacement leaves under the
    /// name is removed by the next one with the same names.
    ///
    /// # Errors
    /// As [`Ipset::replace`].
    pub fn replace_through<T: SetType>(
        &mut self,
        name: SetName,
        staged: SetName,
        new: &NewSet<T>,
        members: impl IntoIterator<Item = Member<T>>,
    ) -> Result<Set<T>, BatchError> {
        replace::replace(self, name, Some(staged), new, &mut members.into_iter())
    }

    /// The set of this name, of whatever type (`IPSET_CMD_HEADER`).
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn header(&mut self, name: SetName) -> Result<Set<Any>> {
        let operation = from_fn(|f| write!(f, "look up set {name}"));
        let body = |out: &mut Writer<'_>| out.text(Command::SetName, name.as_bytes());
        let answer = self.ask(command::HEADER, body, |parts| Ok(parts.set()?));
        answer.map_err(|(cause, refusal)| asked(operation, cause, refusal))
    }

    /// The set of this name, if it is of the type `T` (`IPSET_CMD_HEADER`).
    ///
    /// # Errors
    /// [`Cause::Precondition`] with [`Reason::TypeMismatch`] when it is of another type.
    pub fn open<T: SetType>(&mut self, name: SetName) -> Result<Set<T>> {
        let set = self.header(name)?;
        match T::KIND {
            Some(kind) if kind != set.kind() => {
                let text = format!("it is a {}, not a {kind}", set.kind());
                Err(Error::new(format_args!("open set {name}"), Cause::precondition(Reason::TypeMismatch, text)))
            }
            _ => Ok(Set::new(name, set.kind(), set.family())),
        }
    }

    /// The number by which rules of packet filters know a set (`IPSET_CMD_GET_BYNAME`). It stays with the name when
    /// contents are swapped.
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn index(&mut self, name: SetName) -> Result<u16> {
        let operation = from_fn(|f| write!(f, "look up the index of set {name}"));
        let body = |out: &mut Writer<'_>| out.text(Command::SetName, name.as_bytes());
        let answer = self.ask(command::GET_BYNAME, body, |parts| Ok(required(parts.index, Command::Index)?));
        answer.map_err(|(cause, refusal)| asked(operation, cause, refusal))
    }

    /// The name of the set of this number (`IPSET_CMD_GET_BYINDEX`).
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn name_of(&mut self, index: u16) -> Result<SetName> {
        let operation = from_fn(|f| write!(f, "look up set number {index}"));
        let body = |out: &mut Writer<'_>| out.u16_net(Command::Index, index);
        let answer = self.ask(command::GET_BYINDEX, body, |parts| Ok(required(parts.name, Command::SetName)?));
        answer.map_err(|(cause, refusal)| asked(operation, cause, refusal))
    }

    // The conversation.

    /// Queues a command.
    pub(super) fn queue(&mut self, command: u8, flags: u16, body: impl FnOnce(&mut Writer<'_>)) -> Result<(), Cause> {
        self.connection.queue(nfnetlink::message_type(SUBSYSTEM, command), flags, |out| {
            write_start(out);
            body(out);
        })
    }

    /// Tells the kernel to do something that it answers with an acknowledgement.
    fn tell(
        &mut self,
        operation: impl fmt::Display,
        what: Operation,
        kind: Option<Kind>,
        command: u8,
        exist: Exist,
        body: impl FnOnce(&mut Writer<'_>),
    ) -> Result<()> {
        let mut refused = None;
        let mut done = self.queue(command, exist.flags(), body);
        while done.is_ok() {
            match self.connection.reply() {
                Ok(Reply::Finished) => break,
                Ok(Reply::Message(..)) => {}
                Ok(Reply::Refused(_, refusal)) => refused = Some(refusal),
                Err(cause) => done = Err(cause),
            }
        }
        match (done, refused) {
            (Err(cause), _) => Err(Error::new(operation, cause)),
            (Ok(()), Some(refusal)) => Err(Error::new(operation, explain(what, kind, refusal))),
            (Ok(()), None) => Ok(()),
        }
    }

    /// Asks the kernel something that it answers with one message.
    fn ask<A>(
        &mut self,
        command: u8,
        body: impl FnOnce(&mut Writer<'_>),
        mut read: impl FnMut(&Parts<'_>) -> Result<A, Cause>,
    ) -> Result<A, (Cause, Option<Refusal>)> {
        let (mut answer, mut refused) = (None, None);
        self.queue(command, 0, body).map_err(|cause| (cause, None))?;
        loop {
            match self.connection.reply().map_err(|cause| (cause, None))? {
                Reply::Finished => break,
                Reply::Message(..) => {
                    answer = Some(read_parts(self.connection.message(), &mut read).map_err(|cause| (cause, None))?);
                }
                Reply::Refused(_, refusal) => refused = Some(refusal),
            }
        }
        match (answer, refused) {
            (_, Some(refusal)) => Err((Cause::NoAnswer, Some(refusal))),
            (Some(answer), None) => Ok(answer),
            (None, None) => Err((Cause::NoAnswer, None)),
        }
    }
}

/// What every request starts with.
pub(crate) fn write_start(out: &mut Writer<'_>) {
    nfnetlink::write_header(out, super::numbers::family::INET);
    out.u8(Command::Protocol, PROTOCOL);
}

fn read_parts<A>(body: &[u8], mut read: impl FnMut(&Parts<'_>) -> Result<A, Cause>) -> Result<A, Cause> {
    read(&Parts::read(nfnetlink::attributes(body)?)?)
}

/// The error of a question.
fn asked(operation: impl fmt::Display, cause: Cause, refusal: Option<Refusal>) -> Error {
    match refusal {
        Some(refusal) => Error::new(operation, explain(Operation::Ask, None, refusal)),
        None => Error::new(operation, cause),
    }
}
