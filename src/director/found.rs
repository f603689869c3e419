//! Services and sets of a snapshot.

use crate::hash::KeySet;
use crate::ipset::{self, AnyType, Member, NewSet, SetOptions};
use crate::ipvs::{Destination, DestinationInfo, Service, ServiceKey};

/// An existing service.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FoundService {
    /// The service.
    pub service: Service,
    /// Its destinations, in the order of their addresses.
    pub destinations: Vec<DestinationInfo>,
    /// Whether its key is registered or adopted.
    pub(super) registered: bool,
}

/// Existing services in the order of their keys. Not a map: they are built at once, and read from first to last with
/// each plan.
#[derive(Clone, Debug, Default)]
pub(super) struct FoundServices(Vec<FoundService>);

/// An existing set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FoundSet {
    /// Its type and options.
    pub new: NewSet<AnyType>,
    /// Its members without timeouts and counters, in the order of their entries.
    pub members: Vec<Member<AnyType>>,
}

impl FoundServices {
    pub(super) fn new(mut services: Vec<FoundService>) -> Self {
        services.sort_unstable_by_key(|found| found.service.key);
        Self(services)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn place(&self, key: ServiceKey) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |found| found.service.key)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, FoundService> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, FoundService> {
        self.0.iter_mut()
    }

    /// A service, that may be at this place, and its place.
    pub(super) fn get_near(&mut self, place: usize, key: ServiceKey) -> Option<(usize, &mut FoundService)> {
        let there = self.0.get(place).is_some_and(|found| found.service.key == key);
        let place = if there { place } else { self.place(key).ok()? };
        Some((place, self.0.get_mut(place)?))
    }

    pub(super) fn get(&self, key: ServiceKey) -> Option<&FoundService> {
        self.0.get(self.place(key).ok()?)
    }

    pub(super) fn get_mut(&mut self, key: ServiceKey) -> Option<&mut FoundService> {
        let place = self.place(key).ok()?;
        self.0.get_mut(place)
    }

    /// Returns the service after this key; after the last one, the first.
    pub(super) fn behind(&self, key: Option<ServiceKey>) -> Option<&FoundService> {
        let place = key.map_or(0, |key| self.place(key).map_or_else(|place| place, |place| place + 1));
        self.0.get(place).or_else(|| self.0.first())
    }

    pub(super) fn put(&mut self, found: FoundService) {
        match self.place(found.service.key) {
            Ok(place) => {
                if let Some(known) = self.0.get_mut(place) {
                    *known = found;
                }
            }
            Err(place) => self.0.insert(place, found),
        }
    }

    pub(super) fn remove_all(&mut self, keys: &KeySet<ServiceKey>) {
        if !keys.is_empty() {
            self.0.retain(|found| !keys.contains(&found.service.key));
        }
    }

    pub(super) fn remove(&mut self, key: ServiceKey) {
        if let Ok(place) = self.place(key) {
            self.0.remove(place);
        }
    }

    /// Adds services, or replaces those with their keys. They are in the order of their keys, so that sorting is a
    /// merge.
    pub(super) fn extend(&mut self, added: Vec<FoundService>) {
        if added.is_empty() {
            return;
        }
        self.0.extend(added);
        self.0.sort_by_key(|found| found.service.key);
        self.0.dedup_by(|newer, older| {
            let same = newer.service.key == older.service.key;
            if same {
                std::mem::swap(newer, older);
            }
            same
        });
    }
}

impl FoundService {
    pub(super) fn new(service: Service, mut destinations: Vec<DestinationInfo>) -> Self {
        // The kernel lists the newest first: reversed, most lists are sorted already. For the bar of a director that reads.
        destinations.reverse();
        destinations.sort_unstable_by_key(DestinationInfo::address);
        Self { service, destinations, registered: false }
    }

    /// Whether everything is equal, except for counters and numbers of connections.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let destinations = |found: &Self| found.destinations.iter().map(|info| info.destination).collect::<Vec<_>>();
        (self.service, self.registered) == (other.service, other.registered)
            && destinations(self) == destinations(other)
    }

    pub(super) fn put(&mut self, destination: Destination) {
        match self.destinations.binary_search_by_key(&destination.address, DestinationInfo::address) {
            Ok(place) => {
                if let Some(info) = self.destinations.get_mut(place) {
                    info.destination = destination;
                }
            }
            Err(place) => self.destinations.insert(place, DestinationInfo::new(destination)),
        }
    }
}

impl FoundSet {
    pub(super) fn new(kind: ipset::Kind, options: SetOptions, members: Vec<Member<AnyType>>) -> Self {
        let mut members: Vec<_> = members.iter().filter_map(|member| member.as_listed(kind)).collect();
        members.sort_unstable_by_key(|member| member.entry);
        Self { new: NewSet::<AnyType>::new(kind, options), members }
    }
}
