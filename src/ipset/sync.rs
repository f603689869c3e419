//! Difference between the members of a set and desired ones: see [`Ipset::sync`].

use std::collections::HashMap;
use std::fmt;

use super::addresses::{Addresses, Network};
use super::batch::{BatchError, Failure, Placed, fill_placed};
use super::client::Ipset;
use super::entry::{Counters, Entry, Member, SkbInfo};
use super::kind::{AnyType, Kind, SetType};
use super::order::{Names, Tangled, identity, wildcards_last};
use super::parts::ListMember;
use super::request::{Change, Verb};
use super::set::Set;
use crate::error::{Cause, Error, Reason, Result};

/// Numbers of members that were added, updated, deleted, or left alone.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Tally {
    /// Number of added members.
    pub added: usize,
    /// Number of existing members whose comment, exception, skbinfo or MAC was updated, or that were added again.
    pub updated: usize,
    /// Number of deleted members.
    pub deleted: usize,
    /// Number of members that were as desired.
    pub unchanged: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, updated, deleted, unchanged } = self;
        write!(f, "{added} added, {updated} updated, {deleted} deleted, {unchanged} unchanged")
    }
}

impl Ipset {
    /// Makes the members of a set the desired ones, by sending the difference.
    ///
    /// Adds the missing members, updates those with other values, then deletes the surplus. If `maxelem` is too small
    /// for old and new members together, the surplus is deleted first: a full set with `forceadd` evicts members. The
    /// next call completes an interrupted one, and adds members that were evicted because the kernel also counted
    /// expired ones.
    ///
    /// The comment, the skbinfo and the exception of a member are compared. The MAC of a `bitmap:ip,mac` is a value of
    /// its address: another MAC is an update, and a desired member without MAC equals any MAC. Timeout and counters of
    /// an existing member stay as they are: an update sends the remaining time in whole seconds, and no counters. A
    /// desired member that existed before is in the set all the time, except in the two types below.
    /// [`Ipset::replace`] swaps all members at one moment.
    ///
    /// In a `hash:net,iface` a wildcard follows the interface names that it covers: see
    /// [`wildcard`](super::InterfaceMatch::wildcard). Where a change needs it, all members of the network are deleted
    /// and added again, with their remaining time and counters. They count as updated. So do the members of a `list:set`
    /// from the first that is not at its place: the list gets the order of the desired members.
    ///
    /// # Errors
    /// As [`Ipset::put_all`], with positions among the desired members. The failure of a deletion has no position. After
    /// a failure any other change may be missing, and `unknown` is empty: `done` counts the answered changes in the order
    /// in which they were sent. Also, before any change:
    ///
    /// - [`is_full`](Error::is_full) if more members are desired than `maxelem`, in a set with `forceadd`;
    /// - [`is_invalid_input`](Error::is_invalid_input) for a range, and for a network in a set of addresses. The same
    ///   holds for an interface name with and without `wildcard`, and for a [`ListMember`] with a place;
    /// - [`Cause::Precondition`] with [`Reason::Unsupported`] for a set with a mask, which stores other entries than
    ///   the added ones.
    pub fn sync<T: SetType>(
        &mut self,
        set: &Set<T>,
        desired: impl IntoIterator<Item = Member<T>>,
    ) -> Result<Tally, BatchError> {
        let operation = format!("synchronise set {set}");
        let aside = |error: Error| BatchError::aside(error.during(&operation), 0);
        let desired = Desired::collect(set, desired).map_err(|failures| BatchError::new(&operation, failures, 0))?;
        let options = self.set(set.name()).map_err(aside)?.options;
        let marks = options.markmask.is_some_and(|mask| mask != u32::MAX);
        if options.netmask.is_some() || options.bitmask.is_some() || marks {
            let text = "a set with a mask stores other entries than those that are added: replace it";
            return Err(aside(Error::new("", Cause::precondition(Reason::Unsupported, text))));
        }
        let existing = self.members(&set.any()).map_err(aside)?;
        let most = options.maxelem.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let before = existing.len();
        let (plan, tally) = desired.difference(set.kind(), existing);
        if options.forceadd && tally.added > 0 && tally.added + tally.updated + tally.unchanged > most {
            let text = format!("more members are desired than the set takes with forceadd (maxelem {most})");
            return Err(aside(Error::new("", Cause::precondition(Reason::Full, text))));
        }
        let fits = before + tally.added <= most;
        plan.carry_out(self, &set.any(), fits).map_err(|error| error.during(&operation))?;
        Ok(tally)
    }
}

/// Members to be sent, with their positions among the desired ones.
#[derive(Debug, Default)]
struct Plan {
    put: Vec<Placed<AnyType>>,
    remove: Vec<Placed<AnyType>>,
    /// Members that are added after all others are deleted, in their order.
    last: Vec<Placed<AnyType>>,
}

impl Plan {
    /// Sends the members. The surplus is deleted first unless `fits`: a full set with `forceadd` evicts members.
    fn carry_out(self, ipset: &mut Ipset, set: &Set<AnyType>, fits: bool) -> Result<(), BatchError> {
        let [put, remove, last] = [(Verb::Put, self.put), (Verb::Remove, self.remove), (Verb::Put, self.last)];
        let mut done = 0;
        for (verb, members) in if fits { [put, remove, last] } else { [remove, put, last] } {
            done += fill_placed(ipset, verb, set, members).map_err(|mut error| {
                error.done += done;
                error
            })?;
        }
        Ok(())
    }
}

/// Desired members by position, in the form in which the kernel lists them.
#[derive(Debug, Default)]
struct Desired {
    /// `None` for a member that is taken, or of which an equal one follows.
    members: Vec<Option<Member<AnyType>>>,
    positions: HashMap<Entry, usize>,
}

impl Desired {
    /// Collects the members.
    ///
    /// # Errors
    /// Those that cannot be compared with a listing.
    fn collect<T: SetType>(set: &Set<T>, desired: impl IntoIterator<Item = Member<T>>) -> Result<Self, Vec<Failure>> {
        let (mut all, mut failures, mut names) = (Self::default(), Vec::new(), Names::default());
        for (position, member) in desired.into_iter().enumerate() {
            let mut member = member.any();
            if let Err(cause) = comparable(set, &member, &mut names) {
                let change = Change::Put(set.any(), member);
                let error = Error::new(&change, cause).at(position);
                failures.push(Failure::new(change, error));
                all.members.push(None);
                continue;
            }
            member.entry = listed(set.kind(), member.entry);
            let earlier = all.positions.insert(identity(set.kind(), member.entry), position);
            if let Some(earlier) = earlier.and_then(|position| all.members.get_mut(position)) {
                *earlier = None;
            }
            all.members.push(Some(member));
        }
        if failures.is_empty() { Ok(all) } else { Err(failures) }
    }

    /// Returns the position of the first member of a `list:set` that does not follow its predecessors in the list.
    fn first_moved(&self, kind: Kind, existing: &[Member<AnyType>]) -> usize {
        if kind != Kind::ListSet {
            return usize::MAX;
        }
        let mut held = existing.iter().filter_map(|member| self.positions.get(&identity(kind, member.entry)));
        let mut wanted = self.members.iter().enumerate().filter(|(_, member)| member.is_some());
        let moved = wanted.find(|(position, _)| held.next() != Some(position));
        moved.map_or(usize::MAX, |(position, _)| position)
    }

    /// Splits the members off that are to be sent.
    fn difference(mut self, kind: Kind, existing: Vec<Member<AnyType>>) -> (Plan, Tally) {
        let (mut plan, mut tally) = (Plan::default(), Tally::default());
        let tangled = match kind {
            Kind::HashNetIface => Tangled::find(&existing, self.members.iter().flatten()),
            _ => Tangled::default(),
        };
        let first_moved = self.first_moved(kind, &existing);
        let is_last = |position: usize, entry| position >= first_moved || tangled.contains(entry);
        for member in existing {
            let Some(position) = self.positions.get(&identity(kind, member.entry)) else {
                plan.remove.push((None, member));
                tally.deleted += 1;
                continue;
            };
            // The kernel may list a member twice while it resizes the set.
            let Some(wanted) = self.members.get_mut(*position).and_then(Option::take) else { continue };
            // The kernel would start an update without timeout with the set's default.
            let (timeout, counters) = (member.timeout, Counters::default());
            if is_last(*position, member.entry) {
                let counters = member.counters;
                plan.last.push((Some(*position), Member { timeout, counters, ..wanted }));
                plan.remove.push((None, member));
                tally.updated += 1;
            } else if is_as_wanted(&wanted, &member) {
                tally.unchanged += 1;
            } else {
                plan.put.push((Some(*position), Member { timeout, counters, ..wanted }));
                tally.updated += 1;
            }
        }
        for (position, member) in self.members.into_iter().enumerate() {
            let Some(member) = member else { continue };
            let queue = if is_last(position, member.entry) { &mut plan.last } else { &mut plan.put };
            queue.push((Some(position), member));
            tally.added += 1;
        }
        plan.last.sort_by_key(|(position, _)| *position);
        if kind == Kind::HashNetIface {
            wildcards_last(&mut plan.put);
            wildcards_last(&mut plan.last);
        }
        (plan, tally)
    }
}

/// Refuses a member that cannot be compared with a listing.
fn comparable<T: SetType>(set: &Set<T>, member: &Member<AnyType>, names: &mut Names) -> Result<(), Cause> {
    member.check(set.kind(), set.family())?;
    let text = match member.entry {
        Entry::Set(ListMember { place: Some(_), .. }) => "the order of the desired members is their place in the list",
        _ if !member.is_single(set.kind()) => "a set is synchronised with single entries only",
        Entry::IpInterface(..) => return names.add(listed(set.kind(), member.entry)),
        _ => return Ok(()),
    };
    Err(Cause::InvalidInput(format!("{}: {text}", member.entry).into()))
}

/// Whether an existing member with this identity needs no update. An address without MAC equals any MAC: the kernel
/// learns it from a packet.
fn is_as_wanted(wanted: &Member<AnyType>, member: &Member<AnyType>) -> bool {
    let of_entry = wanted.entry == member.entry || matches!(wanted.entry, Entry::IpMac(_, None));
    of_entry && carried(wanted) == carried(member)
}

/// Values of a member that stay as they were set, in the form in which the kernel lists them.
fn carried(member: &Member<AnyType>) -> (Option<&[u8]>, SkbInfo, bool) {
    let comment = member.comment.as_ref().map(|comment| comment.as_bytes()).filter(|comment| !comment.is_empty());
    let SkbInfo { mark, priority, queue } = member.skb;
    let skb = SkbInfo {
        mark: mark.filter(|mark| *mark != (0, 0)),
        priority: priority.filter(|priority| *priority != (0, 0)),
        queue: queue.filter(|queue| *queue != 0),
    };
    (comment, skb, member.nomatch)
}

impl Member<AnyType> {
    /// Returns the member as a set of this type lists it, without timeout and counters. Two members that the set stores
    /// in the same way are then equal. `None` if the member has several entries.
    ///
    /// ```
    /// # use lvs::ipset::{AnyType, Kind, Member};
    /// let member = Member::parse_as(Kind::HashNet, "10.0.0.1/8 timeout 60")?;
    /// assert_eq!(member.as_listed(Kind::HashNet), Some(Member::parse_as(Kind::HashNet, "10.0.0.0/8")?));
    /// assert_eq!(Member::parse_as(Kind::HashIp, "10.0.0.0/8")?.as_listed(Kind::HashIp), None);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    pub fn as_listed(&self, kind: Kind) -> Option<Self> {
        let (_, skb, nomatch) = carried(self);
        let comment = self.comment.clone().filter(|comment| !comment.as_bytes().is_empty());
        self.is_single(kind).then(|| Self { comment, skb, nomatch, ..Self::new(listed(kind, self.entry)) })
    }
}

/// A single entry in the form in which the kernel lists it.
pub(super) fn listed(kind: Kind, entry: Entry) -> Entry {
    let first = |addresses| one_form(addresses, kind.starts_with_network());
    let second = |addresses| one_form(addresses, kind.has_networks());
    match entry {
        Entry::Ip(ip) => Entry::Ip(first(ip)),
        Entry::IpMark(ip, mark) => Entry::IpMark(first(ip), mark),
        Entry::IpPort(ip, port) => Entry::IpPort(first(ip), port),
        Entry::IpPortIp(ip, port, other) => Entry::IpPortIp(first(ip), port, second(other)),
        Entry::IpIp(ip, other) => Entry::IpIp(first(ip), second(other)),
        Entry::IpInterface(ip, interface) => Entry::IpInterface(first(ip), interface),
        // A listing shows the place by its order.
        Entry::Set(ListMember { set, .. }) => Entry::Set(ListMember { set, place: None }),
        Entry::IpMac(..) | Entry::Port(_) | Entry::Mac(_) => entry,
    }
}

/// A network without host bits, and one address as that.
fn one_form(addresses: Addresses, is_network: bool) -> Addresses {
    match addresses {
        Addresses::Network(network) if is_network => {
            Network::new(network.address(), network.prefix()).map_or(addresses, Addresses::from)
        }
        Addresses::Network(network) => Addresses::One(network.address()),
        Addresses::Range(first, _) => Addresses::One(first.into()),
        Addresses::One(_) => addresses,
    }
}
