//! Snapshots of the kernel's state.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::Peekable;
use std::net::SocketAddr;

use super::found::{FoundService, FoundServices, FoundSet};
use super::owner::{Owner, Services};
use super::step::Change;
use crate::conntrack::Flow;
use crate::hash::KeySet;
use crate::ipset::{self, AnyType, Entry, Member, NewSet, SetName};
use crate::ipvs::{self, Destination, Forwarding, Service, ServiceKey};
use crate::net::{Family, Protocol};
use crate::vip::{self, Binder, Vip};

/// A snapshot of the table of IPVS, the virtual IPs of the binder, and the sets of the owner.
///
/// Two snapshots can be [compared](Snapshot::changes), since IPVS and ipset do not report changes.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) owner: Owner,
    pub(super) binder: Binder,
    pub(super) services: FoundServices,
    pub(super) vips: BTreeSet<Vip>,
    /// Those of them that are not local.
    pub(super) lost: BTreeSet<Vip>,
    pub(super) sets: BTreeMap<SetName, FoundSet>,
    /// The keys of [`Owner::registered`], or those that were adopted.
    pub(super) keys: KeySet<ServiceKey>,
    /// The registry sets that exist.
    pub(super) registries: BTreeSet<SetName>,
    /// Whether flows of the connection tracker are to be deleted.
    pub(super) tracked: bool,
    /// UDP services with flows that are translated to none of their destinations.
    pub(super) stale: KeySet<ServiceKey>,
}

/// A change between two snapshots.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A service was added.
    ServiceAdded(Service),
    /// A service was changed.
    ServiceChanged {
        /// The service before.
        before: Service,
        /// The service after.
        after: Service,
    },
    /// A service is gone, with its destinations.
    ServiceGone(ServiceKey),
    /// A destination was added, such as one of a service that was added.
    DestinationAdded(ServiceKey, Destination),
    /// A destination was changed, such as its weight.
    DestinationChanged {
        /// The service.
        service: ServiceKey,
        /// The destination before.
        before: Destination,
        /// The destination after.
        after: Destination,
    },
    /// A destination of a service that still exists is gone.
    DestinationGone(ServiceKey, SocketAddr),
    /// A virtual IP was bound.
    VipBound(Vip),
    /// A virtual IP is gone.
    VipGone(Vip),
    /// A set was created, or another one took its name.
    SetMade(SetName, NewSet<AnyType>),
    /// A set is gone, with its members.
    SetGone(SetName),
    /// A member was added to a set, or its values were changed.
    MemberAdded(SetName, Member<AnyType>),
    /// A member of a set that still exists is gone.
    MemberGone(SetName, Entry),
}

impl Snapshot {
    pub(super) fn empty(owner: Owner, binder: Binder) -> Self {
        Self {
            owner,
            binder,
            services: FoundServices::default(),
            vips: BTreeSet::new(),
            lost: BTreeSet::new(),
            sets: BTreeMap::new(),
            keys: KeySet::default(),
            registries: BTreeSet::new(),
            tracked: false,
            stale: KeySet::default(),
        }
    }

    /// Returns the services in the order of their keys, including foreign ones.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &FoundService> {
        self.services.iter()
    }

    /// Returns the service with this key.
    pub fn service(&self, key: impl Into<ServiceKey>) -> Option<&FoundService> {
        self.services.get(key.into())
    }

    /// Returns the virtual IPs of the binder.
    pub fn vips(&self) -> impl Iterator<Item = Vip> {
        self.vips.iter().copied()
    }

    /// Returns the sets of the owner, in the order of their names.
    pub fn sets(&self) -> impl Iterator<Item = (SetName, &FoundSet)> {
        self.sets.iter().map(|(name, set)| (*name, set))
    }

    /// Whether a service with this key belongs, or would belong, to the owner.
    pub fn owns(&self, key: ServiceKey) -> bool {
        self.keys.contains(&key) || self.is_in_range(key)
    }

    /// As [`Snapshot::owns`], for a service of this snapshot.
    pub(super) fn has(&self, found: &FoundService) -> bool {
        found.registered || self.is_in_range(found.service.key)
    }

    /// The keys of the UDP services of a family.
    pub(super) fn udp_services(&self, family: Family) -> impl Iterator<Item = ServiceKey> {
        let keys = self.services.iter().map(|found| found.service.key);
        keys.filter(move |key| key.protocol() == Some(Protocol::UDP) && key.family() == family)
    }

    /// The UDP service that a flow goes to, if the flow is translated to none of its destinations.
    pub(super) fn service_of(&self, flow: &Flow) -> Option<&FoundService> {
        let service = flow.original.destination;
        let found = self.services.get(ServiceKey::udp(service))?;
        let destinations = found.destinations.iter().map(|info| info.destination);
        flow.is_stale(service, repliers(service, destinations)).then_some(found)
    }

    /// Finds the services whose keys are registered or adopted.
    pub(super) fn mark_registered(&mut self) {
        for found in self.services.iter_mut() {
            found.registered = self.keys.contains(&found.service.key);
        }
    }

    fn is_in_range(&self, key: ServiceKey) -> bool {
        if self.owner.ranges.as_ref().is_some_and(|ranges| ranges.have(key)) {
            return true;
        }
        match &self.owner.services {
            Services::Nothing | Services::Registered(_) => false,
            Services::Bound => key.address().is_some_and(|address| self.is_bound(address.ip().into())),
            Services::Everything => true,
        }
    }

    fn is_bound(&self, vip: Vip) -> bool {
        self.vips.contains(&vip) || self.vips.iter().any(|bound| bound.is_prefix() && bound.contains(vip))
    }

    /// Returns the changes between this snapshot and a newer one. Counters and numbers of connections are not compared.
    pub fn changes<'a>(&'a self, newer: &'a Self) -> Vec<Event> {
        let mut events = Vec::new();
        for pair in pairs(self.services(), newer.services(), |found| found.service.key, |found| found.service.key) {
            match pair {
                Pair::Left(before) => events.push(Event::ServiceGone(before.service.key)),
                Pair::Right(after) => {
                    events.push(Event::ServiceAdded(after.service));
                    let added = after.destinations.iter().map(|info| info.destination);
                    events.extend(added.map(|destination| Event::DestinationAdded(after.service.key, destination)));
                }
                Pair::Both(before, after) => {
                    if before.service != after.service {
                        events.push(Event::ServiceChanged { before: before.service, after: after.service });
                    }
                    destination_events(before, after, &mut events);
                }
            }
        }
        for pair in pairs(self.vips(), newer.vips(), |vip| *vip, |vip| *vip) {
            match pair {
                Pair::Left(vip) => events.push(Event::VipGone(vip)),
                Pair::Right(vip) => events.push(Event::VipBound(vip)),
                Pair::Both(..) => {}
            }
        }
        for pair in pairs(self.sets(), newer.sets(), |(name, _)| *name, |(name, _)| *name) {
            match pair {
                Pair::Left((name, _)) => events.push(Event::SetGone(name)),
                Pair::Right((name, set)) => {
                    events.push(Event::SetMade(name, set.new));
                    events.extend(set.members.iter().cloned().map(|member| Event::MemberAdded(name, member)));
                }
                Pair::Both((name, before), (_, after)) => member_events(name, before, after, &mut events),
            }
        }
        events
    }

    /// Applies changes of the kernel to the snapshot.
    pub(super) fn note_all<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) {
        let (mut added, mut deleted, mut bound, mut next) = (Vec::new(), KeySet::default(), Vec::new(), 0);
        let mut changes = changes.peekable();
        while let Some(change) = changes.next() {
            match change {
                Change::Ipvs(ipvs::Change::AddService(service)) => {
                    let registered = self.keys.contains(&service.key);
                    added.push(FoundService { service: *service, destinations: Vec::new(), registered });
                }
                Change::Ipvs(ipvs::Change::DeleteService(key)) => _ = deleted.insert(*key),
                Change::Ipvs(ipvs::Change::AddDestination(key, destination)) => {
                    // Destinations of one service are neighbours, and often those of the next service follow.
                    let Some((place, found)) = self.services.get_near(next, *key) else { continue };
                    next = place + 1;
                    found.put(*destination);
                    while let Some(Change::Ipvs(ipvs::Change::AddDestination(of, destination))) = changes.peek() {
                        if of != key {
                            break;
                        }
                        found.put(*destination);
                        changes.next();
                    }
                }
                Change::Vip(vip::Change::Bind(_, vip)) => bound.push(*vip),
                change => self.note(change),
            }
        }
        self.services.extend(added);
        self.services.remove_all(&deleted);
        let mut bound: BTreeSet<_> = bound.into_iter().collect();
        self.lost.retain(|vip| !bound.contains(vip));
        self.vips.append(&mut bound);
    }

    /// Applies a change of the kernel to the snapshot, except for those that [`Snapshot::note_all`] applies together.
    fn note(&mut self, change: &Change) {
        match change {
            Change::Register(key) => {
                self.keys.insert(*key);
                if let Some(found) = self.services.get_mut(*key) {
                    found.registered = true;
                }
            }
            Change::Unregister(key) => {
                self.keys.remove(key);
                if let Some(found) = self.services.get_mut(*key) {
                    found.registered = false;
                }
            }
            Change::Ipvs(change) => self.note_ipvs(change),
            Change::Vip(vip::Change::Unbind(_, vip)) => {
                self.vips.remove(vip);
                self.lost.remove(vip);
            }
            Change::Ipset(change) => self.note_ipset(change),
            Change::Vip(vip::Change::Bind(..)) => {}
            Change::DeleteFlows(service, _) => _ = self.stale.remove(&ServiceKey::udp(*service)),
            Change::ReplaceSet(name, new, members) => {
                let members = members.iter().filter_map(|member| member.as_listed(new.kind())).collect();
                self.sets.insert(*name, FoundSet { new: **new, members });
            }
        }
    }

    fn note_ipvs(&mut self, change: &ipvs::Change) {
        match change {
            ipvs::Change::SetService(service) => {
                if let Some(found) = self.services.get_mut(service.key) {
                    found.service = *service;
                }
            }
            ipvs::Change::SetDestination(key, destination) => {
                if let Some(found) = self.services.get_mut(*key) {
                    found.put(*destination);
                }
            }
            ipvs::Change::DeleteDestination(key, address) => {
                let Some(found) = self.services.get_mut(*key) else { return };
                found.destinations.retain(|info| info.address() != *address);
            }
            _ => {}
        }
    }

    fn note_ipset(&mut self, change: &ipset::Change) {
        match change {
            ipset::Change::PutSet(name, _) if self.owner.registry().is_some_and(|registry| registry.has(*name)) => {
                self.registries.insert(*name);
            }
            ipset::Change::PutSet(name, new) => {
                self.sets.entry(*name).or_insert_with(|| FoundSet { new: *new, members: Vec::new() });
            }
            ipset::Change::RemoveSet(name) => _ = self.sets.remove(name),
            ipset::Change::Put(set, member) => {
                let Some(found) = self.sets.get_mut(&set.name()) else { return };
                let Some(member) = member.as_listed(set.kind()) else { return };
                match found.members.binary_search_by_key(&member.entry, |member| member.entry) {
                    Ok(place) => {
                        if let Some(known) = found.members.get_mut(place) {
                            *known = member;
                        }
                    }
                    Err(place) => found.members.insert(place, member),
                }
            }
            ipset::Change::Remove(set, member) => {
                let Some(found) = self.sets.get_mut(&set.name()) else { return };
                if let Ok(place) = found.members.binary_search_by_key(&member.entry, |member| member.entry) {
                    found.members.remove(place);
                }
            }
            _ => {}
        }
    }
}

fn destination_events(before: &FoundService, after: &FoundService, events: &mut Vec<Event>) {
    let service = before.service.key;
    let infos = (before.destinations.iter(), after.destinations.iter());
    for pair in pairs(infos.0, infos.1, |info| info.address(), |info| info.address()) {
        match pair {
            Pair::Left(before) => events.push(Event::DestinationGone(service, before.address())),
            Pair::Right(after) => events.push(Event::DestinationAdded(service, after.destination)),
            Pair::Both(before, after) if before.destination != after.destination => {
                let (before, after) = (before.destination, after.destination);
                events.push(Event::DestinationChanged { service, before, after });
            }
            Pair::Both(..) => {}
        }
    }
}

fn member_events(name: SetName, before: &FoundSet, after: &FoundSet, events: &mut Vec<Event>) {
    if before.new != after.new {
        events.push(Event::SetMade(name, after.new));
    }
    let members = (before.members.iter(), after.members.iter());
    for pair in pairs(members.0, members.1, |member| member.entry, |member| member.entry) {
        match pair {
            Pair::Left(before) => events.push(Event::MemberGone(name, before.entry)),
            Pair::Right(after) => events.push(Event::MemberAdded(name, after.clone())),
            Pair::Both(before, after) if before != after => events.push(Event::MemberAdded(name, after.clone())),
            Pair::Both(..) => {}
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAdded(service) => write!(f, "service {service} was added"),
            Self::ServiceChanged { before, after } => write!(f, "service {before} was changed to {after}"),
            Self::ServiceGone(key) => write!(f, "service {key} is gone"),
            Self::DestinationAdded(key, destination) => {
                write!(f, "destination {destination} of service {key} was added")
            }
            Self::DestinationChanged { service, before, after } => {
                write!(f, "destination {before} of service {service} was changed to {after}")
            }
            Self::DestinationGone(key, address) => write!(f, "destination {address} of service {key} is gone"),
            Self::VipBound(vip) => write!(f, "virtual IP {vip} was bound"),
            Self::VipGone(vip) => write!(f, "virtual IP {vip} is gone"),
            Self::SetMade(name, new) => write!(f, "set {name} {new} was made"),
            Self::SetGone(name) => write!(f, "set {name} is gone"),
            Self::MemberAdded(name, member) => write!(f, "member {member} of set {name} was added"),
            Self::MemberGone(name, entry) => write!(f, "member {entry} of set {name} is gone"),
        }
    }
}

/// The addresses that replies of these destinations have in the connection tracker.
pub(super) fn repliers(
    service: SocketAddr,
    destinations: impl Iterator<Item = Destination> + Clone,
) -> impl Iterator<Item = SocketAddr> {
    // Replies of direct routing and tunnels come from the virtual address.
    let untranslated = destinations.clone().any(|to| to.forwarding != Forwarding::Masquerade);
    destinations.map(|to| to.address).chain(untranslated.then_some(service))
}

/// The items of two lists under one key.
pub(super) enum Pair<A, B> {
    Left(A),
    Right(B),
    Both(A, B),
}

/// Pairs the items of two lists that are in the order of their keys, without repetitions.
pub(super) fn pairs<A, B, K: Ord>(
    left: impl Iterator<Item = A>,
    right: impl Iterator<Item = B>,
    left_key: impl Fn(&A) -> K,
    right_key: impl Fn(&B) -> K,
) -> impl Iterator<Item = Pair<A, B>> {
    let (mut left, mut right): (Peekable<_>, Peekable<_>) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (Some(one), Some(other)) => left_key(one).cmp(&right_key(other)),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => left.next().map(Pair::Left),
            Ordering::Greater => right.next().map(Pair::Right),
            Ordering::Equal => left.next().zip(right.next()).map(|(one, other)| Pair::Both(one, other)),
        }
    })
}
