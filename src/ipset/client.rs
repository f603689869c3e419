//! The client: operations on the kernel's sets.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc::EEXIST;

use super::batch::{self, BatchError};
use super::entry::Member;
use super::kind::{AnyType, Kind, SetType};
use super::new_set::NewSet;
use super::numbers::{Command, error};
use super::parts::SetName;
use super::replace;
use super::request::{Change, OfEntry, Query, Sent, Verb};
use super::set::{Parts, Set};
use crate::connection::{Connection, Options, Request};
use crate::error::{Cause, DecodeError, Error, Reason, Refusal, Result};
use crate::outcome::Outcome;
use crate::wire::nfnetlink;
use crate::wire::reader::required;

/// Client of the sets of one network namespace: that of the thread that connects.
///
/// It holds one netlink socket. Every operation except connecting needs `CAP_NET_ADMIN` in the user namespace that owns
/// the network namespace, also reading; [`is_permission_denied`](Error::is_permission_denied) reports a lack of it. The
/// kernel checks the sender of each request: a client does not carry the privilege of the process that opened it.
///
/// The verbs are those of [`Ipvs`](crate::ipvs::Ipvs), with `create` and `destroy` for adding and deleting a set.
/// [`Ipset::put_set`] never changes an existing set: it fails if the set differs from the requested one.
///
/// Operations on one set fail with [`is_not_found`](Error::is_not_found) when no such set exists. Each operation can
/// fail for reasons that are not repeated below: no permission, a timeout ([`Options::timeout`]), lost replies
/// ([`Cause::Overrun`]).
#[derive(Debug)]
pub struct Ipset {
    pub(super) connection: Connection,
    /// The lowest and the highest revision of each type in this kernel; `None` before the first query.
    revisions: [Option<(u8, u8)>; Kind::ALL.len()],
}

impl Ipset {
    /// Opens a socket. The kernel loads its ipset module at the first request.
    ///
    /// # Errors
    /// If no socket can be opened.
    pub fn connect() -> Result<Self> {
        Self::connect_with(&Options::default())
    }

    /// Connects as [`Ipset::connect`], with other buffers or another timeout.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// use lvs::ipset::Ipset;
    /// let client = Ipset::connect_with(&lvs::Options::default().timeout(Duration::from_secs(1)))?;
    /// # Ok::<(), lvs::Error>(())
    /// ```
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

    /// Returns the lowest and the highest protocol version of the kernel (`IPSET_CMD_PROTOCOL`). This crate needs 7,
    /// which every kernel has since Linux 4.20.
    ///
    /// # Errors
    /// See [`Ipset`].
    #[doc(alias("IPSET_CMD_PROTOCOL", "IPSET_ATTR_PROTOCOL", "IPSET_ATTR_PROTOCOL_MIN"))]
    pub fn version(&mut self) -> Result<RangeInclusive<u8>> {
        self.ask(Query::Version, |parts| {
            let highest = required(parts.protocol, Command::Protocol)?;
            let (lowest, highest) = parts.lowest_to(highest)?;
            Ok(lowest..=highest)
        })
    }

    /// Returns the revisions of a set type in the kernel (`IPSET_CMD_TYPE`), which loads the module if it can. The
    /// client asks once for each set type.
    ///
    /// # Errors
    /// [`is_unavailable`](Error::is_unavailable) when the kernel does not have the set type.
    #[doc(alias("IPSET_CMD_TYPE", "IPSET_ATTR_REVISION_MIN"))]
    pub fn revisions(&mut self, kind: Kind) -> Result<RangeInclusive<u8>> {
        let place = Kind::ALL.iter().position(|known| *known == kind).unwrap_or_default();
        if let Some(Some((lowest, highest))) = self.revisions.get(place) {
            return Ok(*lowest..=*highest);
        }
        let (lowest, highest) = self.ask(Query::Revisions(kind), |parts| {
            let highest = required(parts.revision, Command::Revision)?;
            parts.lowest_to(highest)
        })?;
        if let Some(known) = self.revisions.get_mut(place) {
            *known = Some((lowest, highest));
        }
        Ok(lowest..=highest)
    }

    /// Creates a set (`IPSET_CMD_CREATE`).
    ///
    /// # Errors
    /// [`is_already_exists`](Error::is_already_exists), with the differences of the existing set in the text;
    /// [`is_unavailable`](Error::is_unavailable) when the kernel lacks the type or a feature that the options need.
    #[doc(alias = "IPSET_CMD_CREATE")]
    pub fn create<T: SetType>(&mut self, name: SetName, new: &NewSet<T>) -> Result<Set<T>> {
        self.change(Change::Create(name, new.any()))?;
        Ok(new.named(name))
    }

    /// Creates a set unless one of this name exists, which must be of the same type, family and options, except for
    /// `hashsize`, `bucketsize`, `initval` and `forceadd`.
    ///
    /// # Errors
    /// As [`Ipset::create`]; [`is_already_exists`](Error::is_already_exists) when the existing set differs.
    pub fn put_set<T: SetType>(&mut self, name: SetName, new: &NewSet<T>) -> Result<(Set<T>, Outcome)> {
        let create = Change::Create(name, new.any());
        let outcome = match self.send(&create)? {
            None => Outcome::Added,
            Some(refusal) if refusal.errno == EEXIST => {
                self.change(Change::PutSet(name, new.any()))?;
                Outcome::Unchanged
            }
            Some(refusal) => return Err(Error::new(&create, create.refused(refusal))),
        };
        Ok((new.named(name), outcome))
    }

    /// Destroys a set (`IPSET_CMD_DESTROY`).
    ///
    /// # Errors
    /// [`is_in_use`](Error::is_in_use) while a rule or a `list:set` refers to it, or any process lists it.
    #[doc(alias = "IPSET_CMD_DESTROY")]
    pub fn destroy(&mut self, name: SetName) -> Result<()> {
        self.change(Change::Destroy(name))
    }

    /// Destroys a set if it exists.
    ///
    /// # Errors
    /// As [`Ipset::destroy`].
    pub fn remove_set(&mut self, name: SetName) -> Result<Outcome> {
        match self.destroy(name) {
            Err(error) if error.is_not_found() => Ok(Outcome::Unchanged),
            done => done.map(|()| Outcome::Deleted),
        }
    }

    /// Destroys all sets, or none if one of them is in use (`IPSET_CMD_DESTROY`).
    ///
    /// ```no_run
    /// // Only in a network namespace of the test: other programs use sets, too.
    /// lvs::ipset::Ipset::connect()?.destroy_all()?;
    /// # Ok::<(), lvs::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`is_in_use`](Error::is_in_use), also if a `list:set` has members: clear it first.
    pub fn destroy_all(&mut self) -> Result<()> {
        self.change(Change::DestroyAll)
    }

    /// Deletes all entries of a set (`IPSET_CMD_FLUSH`).
    ///
    /// # Errors
    /// See [`Ipset`].
    #[doc(alias = "flush")]
    #[doc(alias = "IPSET_CMD_FLUSH")]
    pub fn clear(&mut self, name: SetName) -> Result<()> {
        self.change(Change::Clear(name))
    }

    /// Deletes all entries of all sets (`IPSET_CMD_FLUSH`).
    ///
    /// # Errors
    /// See [`Ipset`].
    #[doc(alias = "flush")]
    pub fn clear_all(&mut self) -> Result<()> {
        self.change(Change::ClearAll)
    }

    /// Gives a set another name (`IPSET_CMD_RENAME`).
    ///
    /// # Errors
    /// [`is_already_exists`](Error::is_already_exists) when another set has it; [`is_in_use`](Error::is_in_use) as
    /// [`Ipset::destroy`].
    #[doc(alias("IPSET_CMD_RENAME", "IPSET_ATTR_SETNAME2"))]
    pub fn rename(&mut self, from: SetName, to: SetName) -> Result<()> {
        self.change(Change::Rename(from, to))
    }

    /// Exchanges the contents of two sets atomically (`IPSET_CMD_SWAP`): rules that refer to one then match the former
    /// contents of the other. Their entries must have the same parts and family; their options may differ.
    ///
    /// # Errors
    /// [`is_in_use`](Error::is_in_use) while any process lists one of them; [`Reason::TypeMismatch`].
    #[doc(alias("IPSET_CMD_SWAP", "IPSET_ATTR_SETNAME2"))]
    pub fn swap(&mut self, one: SetName, other: SetName) -> Result<()> {
        self.change(Change::Swap(one, other))
    }

    /// Adds an entry, or all entries of a range (`IPSET_CMD_ADD`).
    ///
    /// ```no_run
    /// # use lvs::ipset::{HashIp, Ipset, Member};
    /// # use std::{net::Ipv4Addr, time::Duration};
    /// let mut ipset = Ipset::connect()?;
    /// let blocked = ipset.open::<HashIp>("blocked".parse()?)?;
    /// ipset.add(&blocked, &Member::new(Ipv4Addr::new(192, 0, 2, 7)))?;
    /// ipset.add(&blocked, &Member::parse("192.0.2.8")?.timeout(Duration::from_secs(60)))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`is_already_exists`](Error::is_already_exists); [`is_full`](Error::is_full); [`Reason::NotEnabled`] when the
    /// member has a timeout, counters, a comment or skbinfo, and the set was created without. The entries of a range
    /// before the failure are added.
    #[doc(alias = "IPSET_CMD_ADD")]
    pub fn add<T: SetType>(&mut self, set: &Set<T>, member: &Member<T>) -> Result<()> {
        self.connection.run(&OfEntry { verb: Verb::Add, set, member }, |_, _| Ok(()))
    }

    /// Adds an entry, or updates the values of an existing one.
    ///
    /// A name in a `hash:net,iface` updates an existing wildcard that covers it: see
    /// [`wildcard`](super::InterfaceMatch::wildcard). An existing member of a `list:set` keeps its place.
    ///
    /// # Errors
    /// As [`Ipset::add`], except for an existing entry.
    pub fn put<T: SetType>(&mut self, set: &Set<T>, member: &Member<T>) -> Result<Outcome> {
        if self.attempt(Verb::Add, set, member)? {
            return Ok(Outcome::Added);
        }
        self.connection.run(&OfEntry { verb: Verb::Put, set, member }, |_, _| Ok(()))?;
        Ok(Outcome::Updated)
    }

    /// Deletes an entry, or all entries of a range (`IPSET_CMD_DEL`). The other values of the member are ignored, also
    /// the MAC of a `bitmap:ip,mac`: the kernel deletes the address with any MAC. A name in a `hash:net,iface` may delete
    /// a [`wildcard`](super::InterfaceMatch::wildcard) that covers it.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found).
    #[doc(alias = "IPSET_CMD_DEL")]
    pub fn delete<T: SetType>(&mut self, set: &Set<T>, member: &Member<T>) -> Result<()> {
        self.connection.run(&OfEntry { verb: Verb::Delete, set, member }, |_, _| Ok(()))
    }

    /// Deletes an entry if it exists. A range deletes its existing entries and returns [`Outcome::Deleted`]. The
    /// MAC of a `bitmap:ip,mac` is ignored, and a wildcard may be deleted, as by [`Ipset::delete`].
    ///
    /// # Errors
    /// See [`Ipset`].
    pub fn remove<T: SetType>(&mut self, set: &Set<T>, member: &Member<T>) -> Result<Outcome> {
        if self.attempt(Verb::Delete, set, member)? {
            return Ok(Outcome::Deleted);
        }
        if member.is_single(set.kind()) {
            return Ok(Outcome::Unchanged);
        }
        // The kernel stopped at the first entry of the range that is absent.
        self.connection.run(&OfEntry { verb: Verb::Remove, set, member }, |_, _| Ok(()))?;
        Ok(Outcome::Deleted)
    }

    /// Whether an entry is in a set (`IPSET_CMD_TEST`). A set of networks contains an address if one of its networks
    /// does; with `nomatch`, if an exception does. Other values of the member are ignored.
    ///
    /// The kernel also returns no for an entry that the set cannot hold, such as one outside of its range.
    ///
    /// # Errors
    /// See [`Ipset`]; [`is_invalid_input`](Error::is_invalid_input) for a range, which the kernel would test by its
    /// first entry alone.
    #[doc(alias = "IPSET_CMD_TEST")]
    pub fn test<T: SetType>(&mut self, set: &Set<T>, member: &Member<T>) -> Result<bool> {
        self.attempt(Verb::Test, set, member)
    }

    /// Adds any number of entries, many with each message, and stops at the first failure. An existing entry is a
    /// failure. Returns the number of members.
    ///
    /// Uses constant memory. If the process is killed meanwhile, the first entries are in the set, and the rest is not.
    ///
    /// # Errors
    /// [`BatchError`] has the member that failed: those before it are in the set, those after it were not tried.
    #[doc(alias = "IPSET_ATTR_ADT")]
    pub fn add_all<T: SetType>(
        &mut self,
        set: &Set<T>,
        members: impl IntoIterator<Item = Member<T>>,
    ) -> Result<usize, BatchError> {
        batch::fill(self, Verb::Add, set, &mut members.into_iter())
    }

    /// Adds any number of entries, or updates the values of existing ones: as [`Ipset::add_all`]. The kernel does not
    /// report which of them existed. As with [`Ipset::put`], the order of names and wildcards matters.
    ///
    /// # Errors
    /// As [`Ipset::add_all`], except for existing entries.
    pub fn put_all<T: SetType>(
        &mut self,
        set: &Set<T>,
        members: impl IntoIterator<Item = Member<T>>,
    ) -> Result<usize, BatchError> {
        batch::fill(self, Verb::Put, set, &mut members.into_iter())
    }

    /// Deletes any number of entries: as [`Ipset::add_all`]. An absent entry is a failure.
    ///
    /// # Errors
    /// As [`Ipset::add_all`].
    pub fn delete_all<T: SetType>(
        &mut self,
        set: &Set<T>,
        members: impl IntoIterator<Item = Member<T>>,
    ) -> Result<usize, BatchError> {
        batch::fill(self, Verb::Delete, set, &mut members.into_iter())
    }

    /// Deletes any number of entries, of which some may be absent: as [`Ipset::add_all`]. The kernel does not report
    /// which of them existed.
    ///
    /// # Errors
    /// As [`Ipset::add_all`].
    pub fn remove_all<T: SetType>(
        &mut self,
        set: &Set<T>,
        members: impl IntoIterator<Item = Member<T>>,
    ) -> Result<usize, BatchError> {
        batch::fill(self, Verb::Remove, set, &mut members.into_iter())
    }

    /// Makes one change.
    ///
    /// # Errors
    /// As the method named like the change.
    pub fn change(&mut self, change: Change) -> Result<()> {
        self.carry_out(&change)
    }

    /// Makes any number of changes in their order, and stops at the first that fails, as `ipset restore` does. Returns
    /// the number of changes.
    ///
    /// Neighbouring entries of one set share messages. Uses constant memory.
    ///
    /// # Errors
    /// [`BatchError`] has the change that failed: those before it were made, those after it were not tried.
    pub fn batch(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<usize, BatchError> {
        batch::run(self, changes.into_iter())
    }

    /// Replaces all members of the set of this name atomically. Creates the set if it does not exist.
    ///
    /// The members are added to a staged set. Then the two sets are swapped, and the staged set is destroyed with the
    /// old members. Rules that refer to the set see either all of the old members or all of the new ones. After a
    /// failure the set has all old members, or all new ones. If another process lists the set, the call waits for up to
    /// a second.
    ///
    /// The members of a `hash:net,iface` are collected first, and names are added before the wildcards that cover them.
    ///
    /// The set then has the options of `new`, such as `maxelem` and `timeout`. Only the set type and the family must be
    /// those of the existing set.
    ///
    /// The staged set and its marker are called `lvs-new-…` and `lvs-mark-…`. A killed replacement leaves both, and the
    /// next replacement of the same set removes them. A set without a marker is never removed.
    ///
    /// Concurrent replacements of one set by two processes never mix their members: each has a staged set of its own.
    /// The later one may end the earlier one, which then fails with [`is_not_found`](Error::is_not_found) or
    /// [`is_in_use`](Error::is_in_use) and has changed nothing.
    ///
    /// # Errors
    /// As [`Ipset::put_all`] and [`Ipset::create`]. Only the error of a member has a position. Also:
    ///
    /// - [`is_invalid_input`](Error::is_invalid_input), before any member is added, for an interface name with and
    ///   without `wildcard`;
    /// - [`Cause::Precondition`] with [`Reason::TypeMismatch`], before any change, if the existing set has another
    ///   set type or family;
    /// - [`Cause::Precondition`] with [`Reason::AlreadyExists`], before any change, if another set has the name of the
    ///   staged set or of the marker;
    /// - [`is_in_use`](Error::is_in_use), before any change, if another process starts a replacement of the same set at
    ///   the same moment;
    /// - [`is_in_use`](Error::is_in_use), after the swap, if the old members could not be destroyed.
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
    /// The marker has the FNV-1a hash of the staged set's name as `maxelem`. A killed replacement leaves its sets. The
    /// next replacement of the same set removes them, also [`Ipset::replace`] and one with another staged set: it finds
    /// the set whose name has this hash.
    ///
    /// ```no_run
    /// # use lvs::ipset::{HashNet, Ipset, Member, NewSet};
    /// let members = ["10.0.0.0/8", "192.0.2.0/24"].map(Member::parse);
    /// let members = members.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// Ipset::connect()?.replace_through("blocked".parse()?, "blocked.new".parse()?, &NewSet::<HashNet>::ipv4(), members)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Returns a handle of the set of this name, with its type as a value (`IPSET_CMD_HEADER`).
    ///
    /// # Errors
    /// See [`Ipset`].
    #[doc(alias = "IPSET_CMD_HEADER")]
    pub fn header(&mut self, name: SetName) -> Result<Set<AnyType>> {
        self.ask(Query::Header(name), |parts| parts.set())
    }

    /// Returns a handle of the set of this name, if it is of the type `T` (`IPSET_CMD_HEADER`).
    ///
    /// # Errors
    /// [`Cause::Precondition`] with [`Reason::TypeMismatch`] when it is of another type.
    pub fn open<T: SetType>(&mut self, name: SetName) -> Result<Set<T>> {
        let set = self.header(name)?;
        match T::KIND {
            Some(kind) if kind != set.kind() => {
                let text = format!("the set is of the type {}, wanted {kind}", set.kind());
                Err(Error::new(format_args!("open set {name}"), Cause::precondition(Reason::TypeMismatch, text)))
            }
            _ => Ok(Set::new(name, set.kind(), set.family())),
        }
    }

    /// Returns the number of a set, by which rules of packet filters refer to it (`IPSET_CMD_GET_BYNAME`). It stays
    /// with the name when contents are swapped.
    ///
    /// ```no_run
    /// # use lvs::ipset::Ipset;
    /// let mut ipset = Ipset::connect()?;
    /// let index = ipset.index("blocked".parse()?)?;
    /// assert_eq!(ipset.name_of(index)?, "blocked".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`Ipset`].
    #[doc(alias = "IPSET_CMD_GET_BYNAME")]
    pub fn index(&mut self, name: SetName) -> Result<u16> {
        self.ask(Query::Index(name), |parts| required(parts.index, Command::Index))
    }

    /// Returns the name of the set with this number (`IPSET_CMD_GET_BYINDEX`).
    ///
    /// # Errors
    /// See [`Ipset`].
    #[doc(alias = "IPSET_CMD_GET_BYINDEX")]
    pub fn name_of(&mut self, index: u16) -> Result<SetName> {
        self.ask(Query::NameOf(index), |parts| required(parts.name, Command::SetName))
    }

    // The conversation.

    /// Sends a request about an entry; `false` if the entry exists already, or is absent already.
    fn attempt<T: SetType>(&mut self, verb: Verb, set: &Set<T>, member: &Member<T>) -> Result<bool> {
        let request = OfEntry { verb, set, member };
        match self.connection.attempt(&request, |_, _| Ok(()))? {
            None => Ok(true),
            Some(refusal) if refusal.errno == error::EXIST => Ok(false),
            Some(refusal) => Err(Error::new(&request, request.refused(refusal))),
        }
    }

    /// Carries out a change.
    pub(super) fn carry_out(&mut self, change: &Change) -> Result<()> {
        if let Some(refusal) = self.send(change)? {
            let mut refused = change.refused(refusal);
            if let (Reason::AlreadyExists, Change::Create(name, new) | Change::PutSet(name, new)) =
                (refused.reason, change)
            {
                refused.explanation = self.describe_existing(*name, new).unwrap_or(refused.explanation);
            }
            return Err(Error::new(change, refused));
        }
        let Change::PutSet(name, new) = change else { return Ok(()) };
        // The kernel does not compare families.
        let existing = self.header(*name).map_err(|error| error.during(change))?;
        if existing.family() == new.family() {
            return Ok(());
        }
        let text = self.describe_existing(*name, new);
        let text = text.unwrap_or_else(|| format!("set {name} exists and is of the other family").into());
        Err(Error::new(change, Cause::precondition(Reason::AlreadyExists, text)))
    }

    /// Describes the differences of the existing set; `None` if it cannot be read.
    fn describe_existing(&mut self, name: SetName, wanted: &NewSet<AnyType>) -> Option<Cow<'static, str>> {
        let existing = self.set(name).ok()?;
        Some(match wanted.difference(existing.set.kind(), &existing.options) {
            None => format!("set {name} exists, with this type and these options").into(),
            Some(difference) => format!("set {name} exists and differs: {difference}").into(),
        })
    }

    /// Sends a change; to create a set, the revision of its type is looked up first. Returns the kernel's refusal.
    fn send(&mut self, change: &Change) -> Result<Option<Refusal>> {
        let revision = match change {
            Change::Create(_, new) | Change::PutSet(_, new) => {
                change.check()?;
                self.revision_for(new).map_err(|error| error.during(change))?
            }
            _ => 0,
        };
        self.connection.attempt(&Sent { change, revision }, |_, _| Ok(()))
    }

    /// Returns the revision in which such a set is created.
    fn revision_for(&mut self, new: &NewSet<AnyType>) -> Result<u8> {
        let (kind, (needed, since)) = (new.kind, new.needs());
        let known = self.revisions(kind)?;
        if *known.end() < needed {
            let text = format!(
                "the options need revision {needed} of {kind}, since Linux {since}; this kernel has revisions up to {}",
                known.end()
            );
            return Err(Error::new("", Cause::precondition(Reason::Unavailable, text)));
        }
        Ok(kind.revision().min(*known.end()).max(*known.start()))
    }

    /// Asks the kernel something that it answers with one message.
    fn ask<A>(&mut self, query: Query, read: impl Fn(&Parts<'_>) -> Result<A, DecodeError>) -> Result<A> {
        let mut answer = None;
        self.connection.run(&query, |_, body| {
            answer = Some(read(&Parts::read(nfnetlink::attributes(body)?)?)?);
            Ok(())
        })?;
        answer.ok_or_else(|| Error::new(query, Cause::NoAnswer))
    }
}
