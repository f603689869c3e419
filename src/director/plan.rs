//! Difference between the desired state and a snapshot.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use super::desired::{Desired, Role, WantedService, WantedSet};
use super::drain::{Connections, Drain, Draining, Drains};
use super::found::{FoundService, FoundSet};
use super::owner::{Registry, Services};
use super::snapshot::{Pair, Snapshot, pairs, repliers};
use super::step::{Before, Change, Phase, Phases, Step};
use crate::ipset::{
    self, Addresses, AnyType, BitmapRange, Entry, Member, NewSet, ProtocolPorts, Set, SetName, SetOptions,
};
use crate::ipvs::{self, Destination, DestinationInfo, ServiceKey};
use crate::net::{Family, Protocol};
use crate::ready::Part;
use crate::vip::{self, Vip};

/// Steps from a snapshot to the desired state, in their order.
///
/// Its text has one line for each step, conflict and drain.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// Desired objects that are foreign, or that the owner cannot have. They are not changed.
    pub conflicts: Vec<Conflict>,
    /// Destinations that are quiesced, or will be by a step, and wait to be deleted.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub draining: Vec<Draining>,
    /// Schedulers and set types that the steps need and this kernel cannot load.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub missing: Vec<Part>,
    /// Number of foreign services.
    pub foreign: usize,
    /// Number of destinations with a weight above 0 that a service has at the end, for services that grow and shrink.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) serving: HashMap<ServiceKey, usize>,
}

/// A desired object that is not changed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Conflict {
    /// The service exists and is foreign: see [`Director::adopt`](super::Director::adopt).
    Foreign(ServiceKey),
    /// The owner cannot have a service with this key.
    NotOwnable(ServiceKey),
    /// The owner cannot have a set of this name: see [`Owner::sets`](super::Owner::sets).
    Set(SetName),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(key) => {
                write!(f, "service {key} exists and is foreign: it is not changed until it is adopted")
            }
            Self::NotOwnable(key) => write!(f, "service {key} cannot belong to the owner"),
            Self::Set(name) => {
                write!(f, "set {name} cannot belong to the owner: its name has another prefix")
            }
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Conflict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
pub(super) fn as_text<T: fmt::Display, S: serde::Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

impl Plan {
    /// Whether no step is needed now. Conflicts and drains may remain.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))?;
        self.conflicts.iter().try_for_each(|conflict| writeln!(f, "! {conflict}"))?;
        self.missing.iter().try_for_each(|part| writeln!(f, "! {part} cannot be loaded"))?;
        self.draining.iter().try_for_each(|drain| writeln!(f, "  {drain}"))
    }
}

/// Returns the steps from a snapshot to the desired state. It is a pure function: equal arguments give equal plans.
///
/// `drains` has the times at which drains began. A drain that is not among them begins `now`.
pub fn plan(desired: &Desired, found: &Snapshot, drains: &Drains, now: Instant) -> Plan {
    let mut planner = Planner {
        desired,
        found,
        drains,
        now,
        plan: Plan::default(),
        phases: Phases::default(),
        bound: Vec::with_capacity(desired.services().len()),
        registered: 0,
        kept: BTreeSet::new(),
        ending: HashSet::new(),
        ending_addresses: HashSet::new(),
        registries: BTreeSet::new(),
        renewed: BTreeSet::new(),
        local: Vec::new(),
    };
    planner.services();
    planner.stale_keys();
    planner.vips();
    planner.flows();
    planner.sets();
    planner.finish()
}

struct Planner<'a> {
    desired: &'a Desired,
    found: &'a Snapshot,
    drains: &'a Drains,
    now: Instant,
    plan: Plan,
    phases: Phases,
    /// Virtual IPs that are to be bound. A virtual IP of new services needs a complete one.
    bound: Vec<(Vip, Option<ServiceKey>)>,
    /// Number of services that exist and are registered.
    registered: usize,
    /// Addresses of services: the virtual IPs that have them stay if they are bound.
    kept: BTreeSet<Vip>,
    /// Services that are not desired and still drain, and their addresses: the members of sets for them stay.
    ending: HashSet<ServiceKey>,
    ending_addresses: HashSet<IpAddr>,
    /// Registry sets that are to be created.
    registries: BTreeSet<SetName>,
    /// UDP services whose flows may have other destinations: new ones, and those that lose a destination.
    renewed: BTreeSet<ServiceKey>,
    /// Virtual IPs that become local, in their order.
    local: Vec<Vip>,
}

impl<'a> Planner<'a> {
    fn step(&mut self, phase: Phase, change: Change) {
        self.push(phase, change, None);
    }

    fn ipset(&mut self, phase: Phase, change: ipset::Change) {
        self.push(phase, Change::Ipset(Box::new(change)), None);
    }

    fn ipvs(&mut self, phase: Phase, change: ipvs::Change) {
        self.push(phase, Change::Ipvs(change), None);
    }

    fn push(&mut self, phase: Phase, change: Change, before: Option<Before>) {
        let before = before.map(Box::new);
        self.phases.of(phase).push(Step { phase, change, before, needs: Vec::new() });
    }

    fn finish(mut self) -> Plan {
        // Members that stop packets end before those that let them pass; sets end last.
        self.phases.clean.sort_by_key(|step| match &step.change {
            Change::Unregister(_) | Change::Vip(_) => 0,
            Change::Ipset(change) => match &**change {
                ipset::Change::Remove(set, _) => {
                    let guard = self.desired.find_set(set.name()).is_some_and(|wanted| wanted.role == Role::Guard);
                    if guard { 1 } else { 2 }
                }
                _ => 3,
            },
            _ => 3,
        });
        let phases = self.phases.in_order();
        self.plan.steps.reserve_exact(phases.iter().map(Vec::len).sum());
        for mut steps in phases {
            self.plan.steps.append(&mut steps);
        }
        self.plan
    }

    fn services(&mut self) {
        let (desired, found) = (self.desired, self.found);
        let keys = (|wanted: &&WantedService| wanted.service().key, |found: &&FoundService| found.service.key);
        for pair in pairs(desired.services(), found.services(), keys.0, keys.1) {
            match pair {
                Pair::Left(wanted) => self.new_service(wanted),
                Pair::Both(wanted, there) => {
                    let key = there.service.key;
                    if found.has(there) {
                        self.registered += usize::from(there.registered);
                        self.existing_service(wanted, there);
                    } else {
                        self.plan.foreign += 1;
                        self.conflict(wanted, Conflict::Foreign(key));
                    }
                }
                Pair::Right(there) if found.has(there) => {
                    self.registered += usize::from(there.registered);
                    self.unwanted_service(there);
                }
                Pair::Right(_) => self.plan.foreign += 1,
            }
        }
    }

    fn new_service(&mut self, wanted: &WantedService) {
        let key = wanted.service().key;
        if !self.ownable(wanted) {
            return self.conflict(wanted, Conflict::NotOwnable(key));
        }
        self.register(key);
        self.ipvs(Phase::Add, ipvs::Change::AddService(*wanted.service()));
        self.renew(key);
        for destination in wanted.destinations() {
            self.ipvs(Phase::Grow, ipvs::Change::AddDestination(key, *destination));
        }
        self.bind(wanted, Some(key));
    }

    fn renew(&mut self, key: ServiceKey) {
        if is_udp(key) {
            self.renewed.insert(key);
        }
    }

    fn register(&mut self, key: ServiceKey) {
        let Some(registry) = self.found.owner.registry().filter(|_| !self.found.keys.contains(&key)) else { return };
        let Some(name) = registry.name(key) else { return };
        if !self.found.registries.contains(&name) && self.registries.insert(name) {
            if let Some((name, new)) = registry.sets().into_iter().find(|(set, _)| *set == name) {
                self.ipset(Phase::Fill, ipset::Change::PutSet(name, new));
            }
        }
        self.step(Phase::Fill, Change::Register(key));
    }

    fn ownable(&self, wanted: &WantedService) -> bool {
        let key = wanted.service().key;
        match &self.found.owner.services {
            Services::Registered(_) if Registry::takes(key) => true,
            Services::Bound if wanted.bind && key.address().is_some() => true,
            _ => self.found.owns(key),
        }
    }

    fn bind(&mut self, wanted: &WantedService, needs: Option<ServiceKey>) {
        if let Some(vip) = vip_of(wanted.service().key).filter(|_| wanted.bind) {
            self.bound.push((vip, needs));
        }
    }

    fn conflict(&mut self, wanted: &WantedService, conflict: Conflict) {
        self.plan.conflicts.push(conflict);
        self.kept.extend(vip_of(wanted.service().key));
    }

    fn existing_service(&mut self, wanted: &WantedService, there: &FoundService) {
        let key = there.service.key;
        if !self.ownable(wanted) {
            return self.conflict(wanted, Conflict::NotOwnable(key));
        }
        if *wanted.service() != there.service {
            let before = Some(Before::Service(there.service));
            self.push(Phase::Add, Change::Ipvs(ipvs::Change::SetService(*wanted.service())), before);
        }
        self.bind(wanted, None);
        let (desired, found) = (wanted.destinations().iter(), there.destinations.iter());
        if desired.clone().eq(found.clone().map(|info| &info.destination)) {
            return;
        }
        let [grow, shrink, reap] = self.lengths();
        for pair in pairs(desired, found, |wanted| wanted.address, |info| info.address()) {
            match pair {
                Pair::Left(destination) => self.ipvs(Phase::Grow, ipvs::Change::AddDestination(key, *destination)),
                Pair::Right(info) => self.unwanted_destination(key, info, wanted.drain),
                Pair::Both(destination, info) if *destination != info.destination => {
                    let lower = destination.weight < info.destination.weight;
                    let phase = if lower { Phase::Shrink } else { Phase::Grow };
                    self.set_destination(phase, key, *destination, info);
                }
                Pair::Both(..) => {}
            }
        }
        let after = self.lengths();
        if after[2] > reap {
            self.renew(key);
        }
        if after[0] > grow && (after[1] > shrink || after[2] > reap) {
            let serving = wanted.destinations().iter().filter(|destination| destination.weight > 0).count();
            self.plan.serving.insert(key, serving);
        }
    }

    /// Numbers of steps that grow, shrink and reap so far.
    fn lengths(&self) -> [usize; 3] {
        [&self.phases.grow, &self.phases.shrink, &self.phases.reap].map(Vec::len)
    }

    fn set_destination(&mut self, phase: Phase, key: ServiceKey, destination: Destination, info: &DestinationInfo) {
        let before = Some(Before::Destination(info.destination));
        self.push(phase, Change::Ipvs(ipvs::Change::SetDestination(key, destination)), before);
    }

    /// Deletes a destination, quiesces it, or leaves it alone while it drains.
    fn unwanted_destination(&mut self, key: ServiceKey, info: &DestinationInfo, drain: Drain) {
        if self.is_over(key, info, drain) {
            self.ipvs(Phase::Reap, ipvs::Change::DeleteDestination(key, info.address()));
            return;
        }
        let quiesced = info.destination.weight == 0;
        if !quiesced {
            self.set_destination(Phase::Shrink, key, info.destination.weight(0), info);
        }
        let since = self.since(key, info);
        let deadline = since.checked_add(drain.deadline);
        let connections = Connections::from(info);
        self.plan.draining.push(Draining { service: key, destination: info.address(), since, deadline, connections });
    }

    /// Returns the time at which its drain began: now, if it still gets connections.
    fn since(&self, key: ServiceKey, info: &DestinationInfo) -> Instant {
        let quiesced = info.destination.weight == 0;
        self.drains.since(key, info.address()).filter(|_| quiesced).unwrap_or(self.now)
    }

    fn is_over(&self, key: ServiceKey, info: &DestinationInfo, drain: Drain) -> bool {
        if !drain.applies_to(key) {
            return true;
        }
        let elapsed = self.now.saturating_duration_since(self.since(key, info));
        info.destination.weight == 0 && (drain.is_over(key, info) || elapsed >= drain.deadline)
    }

    fn unwanted_service(&mut self, there: &FoundService) {
        let (key, drain) = (there.service.key, self.desired.drain);
        if there.destinations.iter().all(|info| self.is_over(key, info, drain)) {
            self.ipvs(Phase::Delete, ipvs::Change::DeleteService(key));
            if there.registered && self.found.owner.registry().is_some() {
                self.step(Phase::Clean, Change::Unregister(key));
            }
            return;
        }
        self.kept.extend(vip_of(key));
        self.ending.insert(key);
        self.ending_addresses.extend(key.address().map(|address| address.ip()));
        for info in &there.destinations {
            self.unwanted_destination(key, info, drain);
        }
    }

    /// Keys of services that are gone.
    fn stale_keys(&mut self) {
        let (found, desired) = (self.found, self.desired);
        if found.owner.registry().is_none() || found.keys.len() == self.registered {
            return;
        }
        let stale = |key: &&ServiceKey| found.service(**key).is_none() && desired.get(**key).is_none();
        let mut stale: Vec<_> = found.keys.iter().filter(stale).collect();
        stale.sort_unstable();
        for key in stale {
            self.step(Phase::Clean, Change::Unregister(*key));
        }
    }

    fn vips(&mut self) {
        let (found, desired) = (self.found, self.desired);
        let prefixes: Vec<_> = desired.vips().filter(Vip::is_prefix).collect();
        let mut bound = std::mem::take(&mut self.bound);
        bound.extend(desired.vips().map(|vip| (vip, None)));
        // A prefix makes its addresses local already.
        bound.retain(|(vip, _)| vip.is_prefix() || !prefixes.iter().any(|prefix| prefix.contains(*vip)));
        bound.sort_unstable();
        let services =
            |of: &[(Vip, Option<ServiceKey>)]| of.iter().map(|(_, needs)| *needs).collect::<Option<Vec<_>>>();
        let bound = bound.chunk_by(|(one, _), (other, _)| one == other);
        let bound = bound.filter_map(|of| Some((of.first()?.0, of)));
        for pair in pairs(bound, found.vips(), |(vip, _)| *vip, |vip| *vip) {
            match pair {
                Pair::Both(_, vip) if !found.lost.contains(&vip) => {}
                Pair::Left((vip, needs)) | Pair::Both((vip, needs), _) => {
                    self.local.push(vip);
                    let change = Change::Vip(vip::Change::Bind(found.binder, vip));
                    // A service that exists already is enough.
                    let needs = services(needs).unwrap_or_default();
                    let step = Step { phase: Phase::Bind, change, before: None, needs };
                    self.phases.bind.push(step);
                }
                Pair::Right(vip) if !contains_any(vip, &self.kept) => {
                    // An owner that identifies its services by their address loses them with it.
                    let bound = matches!(found.owner.services, Services::Bound);
                    let phase = if bound { Phase::Clean } else { Phase::Unbind };
                    self.step(phase, Change::Vip(vip::Change::Unbind(found.binder, vip)));
                }
                Pair::Right(_) => {}
            }
        }
    }

    /// Plans the deletion of flows to UDP services, which the connection tracker translates as their first packet.
    fn flows(&mut self) {
        let desired = self.desired;
        let prefixes: Vec<_> = self.local.iter().copied().filter(Vip::is_prefix).collect();
        let udp = desired.services().filter(|wanted| self.found.tracked && is_udp(wanted.service().key));
        for wanted in udp {
            let key = wanted.service().key;
            let Some(address) = key.address() else { continue };
            let vip = address.ip().into();
            let appears = self.local.binary_search(&vip).is_ok() || prefixes.iter().any(|prefix| prefix.contains(vip));
            // An owner of the services with bound addresses owns it from now on.
            let gained = appears && matches!(self.found.owner.services, Services::Bound);
            let owned = gained || self.found.service(key).is_none() || self.found.owns(key);
            if !self.renewed.contains(&key) && !(owned && (appears || self.found.stale.contains(&key))) {
                continue;
            }
            // In the order of their services, as these are.
            let draining = &self.plan.draining;
            let first = draining.partition_point(|drain| drain.service < key);
            let draining = draining.iter().skip(first).take_while(|drain| drain.service == key);
            let draining = draining.map(|drain| drain.destination);
            let endpoints = repliers(address, wanted.destinations().iter().copied()).chain(draining).collect();
            self.step(Phase::Track, Change::DeleteFlows(address, endpoints));
        }
    }

    fn sets(&mut self) {
        let (found, desired) = (self.found, self.desired);
        let (mut wanted, outside): (Vec<_>, Vec<_>) = desired.sets().partition(|(name, _)| found.owner.owns_set(*name));
        self.plan.conflicts.extend(outside.iter().map(|(name, _)| Conflict::Set(*name)));
        // A list needs its sets to exist; sets of other types need no others.
        wanted.sort_by_key(|(name, set)| (set.kind() == ipset::Kind::ListSet, *name));
        for (name, set) in wanted {
            self.set(name, set, found.sets.get(&name));
        }
        let gone = found.sets.iter().filter(|(name, _)| desired.find_set(**name).is_none());
        let (lists, others): (Vec<_>, Vec<_>) = gone.partition(|(_, set)| set.new.kind() == ipset::Kind::ListSet);
        for (name, set) in lists.into_iter().chain(others) {
            let (ending, others): (Vec<_>, Vec<_>) =
                set.members.iter().partition(|member| self.is_ending(member.entry));
            if ending.is_empty() {
                self.ipset(Phase::Clean, ipset::Change::RemoveSet(*name));
                continue;
            }
            // The set stays with the members of services that drain.
            for member in others {
                self.ipset(Phase::Clean, ipset::Change::Remove(set.new.named(*name), member.clone()));
            }
        }
    }

    /// Whether an entry matches packets of a service that is not desired and still drains.
    fn is_ending(&self, entry: Entry) -> bool {
        match entry {
            Entry::Ip(Addresses::One(ip)) => self.ending_addresses.contains(&ip),
            _ => key_of(entry).is_some_and(|key| self.ending.contains(&key)),
        }
    }

    fn set(&mut self, name: SetName, wanted: &WantedSet, there: Option<&FoundSet>) {
        let phase = match wanted.role {
            Role::Allow => Phase::Fill,
            Role::Guard => Phase::Guard,
        };
        let new = *wanted.new_set();
        let handle = new.named(name);
        if there.is_none() {
            self.ipset(phase, ipset::Change::PutSet(name, new));
        }
        let members = there.map_or(&[][..], |there| &there.members);
        let (mut put, mut ending, mut remove) = (Vec::new(), Vec::new(), Vec::new());
        for pair in pairs(wanted.members().iter(), members.iter(), |member| member.entry, |member| member.entry) {
            match pair {
                Pair::Left(member) => put.push(member),
                Pair::Right(member) if self.is_ending(member.entry) => ending.push(member),
                Pair::Right(member) => remove.push(member),
                Pair::Both(member, there) if !same(member, there) => put.push(member),
                Pair::Both(..) => {}
            }
        }
        let all = wanted.members().len() + ending.len() + remove.len();
        let room = new.kind().method() != ipset::Method::Hash || all <= maxelem(&new);
        let differs = there.is_some_and(|there| comparable(&there.new) != comparable(&new));
        if differs || !room && !remove.is_empty() {
            // Old members stay until they are removed. Without room for all, those of services that drain stay.
            remove.retain(|member| room && carried(member, handle, &new).is_some());
            ending.extend(&remove);
            let stay = ending.into_iter().filter_map(|member| carried(member, handle, &new));
            let mut members: Vec<_> = wanted.members().iter().cloned().chain(stay).collect();
            members.sort_by_key(|member| member.entry);
            self.step(phase, Change::ReplaceSet(name, Box::new(new), members));
            put.clear();
        }
        for member in put {
            self.ipset(phase, ipset::Change::Put(handle, member.clone()));
        }
        for member in remove {
            self.ipset(Phase::Clean, ipset::Change::Remove(handle, member.clone()));
        }
    }
}

/// Key of the service whose packets an entry matches by address, protocol and port.
fn key_of(entry: Entry) -> Option<ServiceKey> {
    match entry {
        Entry::IpPort(Addresses::One(ip), ports) | Entry::IpPortIp(Addresses::One(ip), ports, _) => {
            let ProtocolPorts { protocol, ports } = ports;
            Some(ServiceKey::Address { protocol, address: (ip, ports.first).into() })
        }
        _ => None,
    }
}

/// Whether two members with equal entries have equal values.
fn same(wanted: &Member<AnyType>, there: &Member<AnyType>) -> bool {
    wanted.comment == there.comment && wanted.skb == there.skb && wanted.nomatch == there.nomatch
}

/// A member of an old set as one of the set that replaces it; `None` if the new set cannot have it.
fn carried(member: &Member<AnyType>, set: Set<AnyType>, new: &NewSet<AnyType>) -> Option<Member<AnyType>> {
    let SetOptions { range, comment, skbinfo, .. } = *new.options();
    let in_range = match (range, member.entry) {
        (None, _) => true,
        (Some(BitmapRange::Addresses(first, last)), Entry::Ip(Addresses::One(IpAddr::V4(ip)))) => {
            (first.min(last)..=first.max(last)).contains(&ip)
        }
        (Some(_), _) => false,
    };
    let mut carried = Member { nomatch: member.nomatch, ..Member::new(member.entry) };
    carried.comment = member.comment.clone().filter(|_| comment);
    if skbinfo {
        carried.skb = member.skb;
    }
    (in_range && ipset::Change::Put(set, carried.clone()).check().is_ok()).then_some(carried)
}

fn maxelem(new: &NewSet<AnyType>) -> usize {
    new.options().maxelem.map_or(65536, |most| most.try_into().unwrap_or(usize::MAX))
}

/// The options that make two sets different, with the kernel's defaults.
fn comparable(new: &NewSet<AnyType>) -> NewSet<AnyType> {
    let mut options = SetOptions { hashsize: None, bucketsize: None, initval: None, ..*new.options() };
    let kind = new.kind();
    if kind.has_family() {
        options.family = options.family.or(Some(Family::Inet));
    }
    match kind.method() {
        ipset::Method::Hash => options.maxelem = options.maxelem.or(Some(65536)),
        ipset::Method::List => options.size = None,
        ipset::Method::Bitmap => {}
    }
    NewSet::<AnyType>::new(kind, options)
}

fn is_udp(key: ServiceKey) -> bool {
    key.protocol() == Some(Protocol::UDP)
}

/// The virtual IP of a service; `None` of one by firewall mark.
pub(super) fn vip_of(key: ServiceKey) -> Option<Vip> {
    key.address().map(|address| address.ip().into())
}

/// Whether one of these virtual IPs is this one, or in this prefix.
pub(super) fn contains_any(vip: Vip, others: &BTreeSet<Vip>) -> bool {
    // In their order, those in a prefix follow it.
    others.range(vip..).next().is_some_and(|next| vip.contains(*next))
}
