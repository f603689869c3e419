//! State of an earlier run that is kept while objects cannot be read.
//!
//! A malformed object keeps its last state. After a restart only the kernel has that state, without the name of the object: every service
//! and destination that no other object desires may belong to it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lvs::director::{Desired, FoundSet, Snapshot};
use lvs::ipset::{Addresses, Entry, SetName};
use lvs::ipvs::{Destination, Service, ServiceKey};
use lvs::vip::Vip;

use crate::model::ObjectName;
use crate::objects::Kind;

/// The objects that could not be read since the start.
pub(super) type Unread = BTreeSet<(Kind, ObjectName)>;

/// Services and destinations of an earlier run that no object desired since.
#[derive(Debug)]
pub(super) struct Held {
    services: Vec<HeldService>,
    sets: Vec<(SetName, FoundSet)>,
}

#[derive(Debug)]
struct HeldService {
    service: Service,
    destinations: Vec<Destination>,
    /// Whether its address was bound.
    bound: bool,
    /// Whether an object desired the service since: the service then ends with that object.
    desired: bool,
}

impl Held {
    /// Holds the services of this program, except for destinations that drain; none if there are no services.
    pub(super) fn new(snapshot: &Snapshot) -> Option<Self> {
        let bound: BTreeSet<Vip> = snapshot.vips().collect();
        let own = snapshot.services().filter(|found| snapshot.owns(found.service.key));
        let services: Vec<_> = own
            .map(|found| {
                let destinations = found.destinations.iter().map(|info| info.destination);
                let address = found.service.key.address();
                HeldService {
                    service: found.service,
                    destinations: destinations.filter(|to| to.weight > 0).collect(),
                    bound: address.is_some_and(|address| bound.contains(&address.ip().into())),
                    desired: false,
                }
            })
            .collect();
        let sets = snapshot.sets().map(|(name, set)| (name, set.clone())).collect();
        (!services.is_empty()).then_some(Self { services, sets })
    }

    /// Adds services that may belong to unread objects, their destinations and their members of sets to the desired state.
    pub(super) fn add_to(&mut self, desired: &mut Desired, unread: &Unread) {
        // Without its Node object, a proxy knows neither the addresses of node ports nor its zone.
        let may_be = |of: Kind| unread.iter().any(|(kind, _)| [of, Kind::Node].contains(kind));
        let (mut keys, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for held in &mut self.services {
            let key = held.service.key;
            let ServiceKey::Address { protocol, address } = key else { continue };
            let (service, mut to, bound) = match desired.get(key) {
                Some(wanted) => {
                    held.desired = true;
                    let to = wanted.destinations().to_vec();
                    let is_desired =
                        |held: &Destination| to.binary_search_by_key(&held.address, |to| to.address).is_ok();
                    held.destinations.retain(|held| !is_desired(held));
                    if held.destinations.is_empty() || !may_be(Kind::Slice) {
                        continue;
                    }
                    (*wanted.service(), to, wanted.bind)
                }
                None if held.desired || !may_be(Kind::Service) => continue,
                None => {
                    keys.insert(key);
                    addresses.insert(address.ip());
                    (held.service, Vec::new(), held.bound)
                }
            };
            // Keys of hairpin packets.
            let of = |to: &Destination| ServiceKey::Address { protocol, address: to.address };
            keys.extend(held.destinations.iter().map(of));
            to.extend(&held.destinations);
            // Another program may have added a service that this program cannot desire.
            if let Ok(wanted) = desired.service(service, to) {
                wanted.bind = bound;
            }
        }
        self.add_members(desired, &keys, &addresses);
    }

    fn add_members(&self, desired: &mut Desired, keys: &BTreeSet<ServiceKey>, addresses: &BTreeSet<IpAddr>) {
        let is_held = |entry| match entry {
            Entry::Ip(Addresses::One(ip)) => addresses.contains(&ip),
            Entry::IpPort(Addresses::One(ip), ports) | Entry::IpPortIp(Addresses::One(ip), ports, _) => {
                let address = (ip, ports.ports.first).into();
                keys.contains(&ServiceKey::Address { protocol: ports.protocol, address })
            }
            _ => false,
        };
        let wanted: Vec<_> = desired.sets().map(|(name, set)| (name, set.clone())).collect();
        for (name, set) in wanted {
            let Some((_, found)) = self.sets.iter().find(|(of, _)| *of == name) else { continue };
            let mut members = set.members().to_vec();
            let is_new = |entry| set.members().binary_search_by_key(&entry, |member| member.entry).is_err();
            let held = found.members.iter().filter(|member| is_held(member.entry) && is_new(member.entry));
            members.extend(held.cloned());
            // A set of an earlier version may have members of another type.
            if let Ok(wanted) = desired.set(name, set.new_set(), members) {
                wanted.role = set.role;
            }
        }
    }
}
