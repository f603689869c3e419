//! Objects that are not as desired, and the steps that depend on them.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::owner::Owner;
use super::plan::{contains_any, vip_of};
use super::step::{Change, Step};
use crate::ipset::{self, Addresses, Entry, SetName};
use crate::ipvs::{self, ServiceKey};
use crate::vip::{self, Vip};

/// Objects that are not as desired, since a step failed or was withheld.
#[derive(Debug, Default)]
pub(super) struct Unmet {
    /// Services that do not exist as desired, or still exist.
    services: HashSet<ServiceKey>,
    /// Number of destinations of a service that could not be added.
    absent: HashMap<ServiceKey, usize>,
    /// Number of destinations with a weight above 0 that a service lacks.
    lost: HashMap<ServiceKey, usize>,
    /// Sets that are missing, full or not replaced.
    sets: HashSet<SetName>,
    /// Addresses of members that are not in their sets as desired, or are still in them, and of services that still
    /// exist.
    addresses: BTreeSet<Vip>,
    /// Virtual IPs that are still bound.
    bound: HashSet<Vip>,
    /// Virtual IPs that could not be bound, and addresses of services that still exist.
    needed: BTreeSet<Vip>,
}

impl Unmet {
    /// Notes a change that was not made.
    pub(super) fn note(&mut self, change: &Change) {
        match change {
            Change::Register(key) => _ = self.services.insert(*key),
            Change::Ipvs(change) => match change {
                ipvs::Change::AddService(service) => _ = self.services.insert(service.key),
                ipvs::Change::DeleteService(key) => {
                    self.services.insert(*key);
                    self.addresses.extend(vip_of(*key));
                    self.needed.extend(vip_of(*key));
                }
                ipvs::Change::AddDestination(key, destination) => {
                    *self.absent.entry(*key).or_default() += 1;
                    *self.lost.entry(*key).or_default() += usize::from(destination.weight > 0);
                }
                ipvs::Change::SetDestination(key, destination) if destination.weight > 0 => {
                    *self.lost.entry(*key).or_default() += 1;
                }
                _ => {}
            },
            Change::Vip(vip::Change::Bind(_, vip)) => _ = self.needed.insert(*vip),
            Change::Vip(vip::Change::Unbind(_, vip)) => _ = self.bound.insert(*vip),
            Change::ReplaceSet(name, _, members) => {
                self.sets.insert(*name);
                self.addresses.extend(members.iter().filter_map(|member| address_of(member.entry)));
            }
            Change::Ipset(change) => match &**change {
                ipset::Change::PutSet(name, _) => _ = self.sets.insert(*name),
                ipset::Change::Put(_, member) | ipset::Change::Remove(_, member) => {
                    self.addresses.extend(address_of(member.entry));
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Notes that nothing more fits into the set of a change.
    pub(super) fn full(&mut self, change: &Change, owner: &Owner) {
        match change {
            Change::Register(key) => self.sets.extend(registry_set(*key, owner)),
            Change::Ipset(change) => {
                if let ipset::Change::Put(set, _) = &**change {
                    self.sets.insert(set.name());
                }
            }
            _ => {}
        }
    }

    /// Whether a change of IPVS depends on one that was not made. `serving` is that of the plan.
    pub(super) fn holds_ipvs(&self, change: &ipvs::Change, serving: &HashMap<ServiceKey, usize>) -> bool {
        match change {
            ipvs::Change::AddService(service) => self.services.contains(&service.key),
            ipvs::Change::AddDestination(key, _) => self.services.contains(key),
            // The service would have no destination, since its new ones could not be added.
            ipvs::Change::DeleteDestination(key, _) => self.is_bare(key, serving),
            ipvs::Change::SetDestination(key, destination) => destination.weight == 0 && self.is_bare(key, serving),
            ipvs::Change::DeleteService(key) => vip_of(*key).is_some_and(|vip| self.is_bound(vip)),
            _ => false,
        }
    }

    fn is_bare(&self, key: &ServiceKey, serving: &HashMap<ServiceKey, usize>) -> bool {
        let lost = self.lost.get(key).copied().unwrap_or_default();
        lost > 0 && serving.get(key).is_some_and(|serving| lost >= *serving)
    }

    /// Whether a change of a set, a member or a key depends on one that was not made.
    pub(super) fn holds_set(&self, change: &Change, owner: &Owner) -> bool {
        match change {
            Change::Register(key) => registry_set(*key, owner).is_some_and(|name| self.sets.contains(&name)),
            Change::Unregister(key) => self.services.contains(key),
            Change::Ipset(change) => match &**change {
                ipset::Change::Put(set, member) | ipset::Change::Remove(set, member) => {
                    self.sets.contains(&set.name()) || self.holds_entry(member.entry)
                }
                _ => false,
            },
            _ => false,
        }
    }

    fn holds_entry(&self, entry: Entry) -> bool {
        match entry {
            Entry::Set(member) => self.sets.contains(&member.set),
            _ => address_of(entry).is_some_and(|vip| self.addresses.contains(&vip) || self.is_bound(vip)),
        }
    }

    /// Whether an address is still bound, by itself or by a prefix.
    fn is_bound(&self, vip: Vip) -> bool {
        self.bound.contains(&vip) || self.bound.iter().any(|bound| bound.is_prefix() && bound.contains(vip))
    }

    /// Whether a virtual IP to bind depends on a change that was not made.
    pub(super) fn holds_bind(&self, vip: Vip) -> bool {
        contains_any(vip, &self.addresses)
    }

    /// Whether a virtual IP to unbind has addresses that would not be local without it, and have to be.
    pub(super) fn holds_unbind(&self, vip: Vip) -> bool {
        let in_prefix = |needed: &Vip| needed.is_prefix() && needed.contains(vip);
        contains_any(vip, &self.needed) || self.needed.iter().any(in_prefix)
    }

    /// Returns the numbers of destinations that these steps add, for services that lack some of them.
    pub(super) fn added(&self, steps: &[Step]) -> HashMap<ServiceKey, usize> {
        let mut added = HashMap::new();
        for step in steps.iter().filter(|_| !self.absent.is_empty()) {
            match &step.change {
                Change::Ipvs(ipvs::Change::AddDestination(key, _)) if self.absent.contains_key(key) => {
                    *added.entry(*key).or_default() += 1;
                }
                _ => {}
            }
        }
        added
    }

    /// Whether a step needs no service, or has one that is complete. `added` is that of the plan.
    pub(super) fn is_served(&self, step: &Step, added: &HashMap<ServiceKey, usize>) -> bool {
        let complete = |key: &ServiceKey| {
            let has_one = |absent| added.get(key).is_some_and(|added| absent < added);
            !self.services.contains(key) && self.absent.get(key).is_none_or(has_one)
        };
        step.needs.is_empty() || step.needs.iter().any(complete)
    }
}

/// The registry set that has the key.
fn registry_set(key: ServiceKey, owner: &Owner) -> Option<SetName> {
    owner.registry()?.name(key)
}

/// The address that packets to a service have in an entry.
fn address_of(entry: Entry) -> Option<Vip> {
    match entry {
        Entry::Ip(Addresses::One(ip))
        | Entry::IpPort(Addresses::One(ip), _)
        | Entry::IpPortIp(Addresses::One(ip), ..) => Some(ip.into()),
        _ => None,
    }
}
