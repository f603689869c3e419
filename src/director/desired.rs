//! The desired state.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::drain::Drain;
use crate::error::{Cause, Error};
use crate::ipset::{self, AnyType, Kind, Member, Method, NewSet, SetName, SetType};
use crate::ipvs::{self, Destination, Service, ServiceKey};
use crate::vip::Vip;

/// The desired state: services with their destinations, virtual IPs, and sets.
///
/// ```
/// use std::time::Duration;
///
/// use lvs::director::{Desired, Drain};
/// use lvs::ipvs::{Destination, Scheduler, Service};
///
/// let mut desired = Desired::default();
/// let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
/// let endpoints = ["10.244.1.7:6443".parse()?, "10.244.1.8:6443".parse()?].map(Destination::new);
/// desired.service(web, endpoints)?.drain = Drain::within(Duration::from_secs(60));
///
/// // Every mistake of a service is found at once, each with its place.
/// let wrong = ["10.244.1.7:80".parse()?, "[2001:db8::7]:80".parse()?].map(|address| Destination::new(address).weight(1 << 31));
/// let error = desired.service(web, wrong).unwrap_err();
/// assert_eq!(error.mistakes().len(), 2);
/// assert!(error.to_string().starts_with("service 10.96.0.10:443/tcp: destination 10.244.1.7:80: weight 2147483648 is above"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With the feature `serde` it is read from a document such as this one:
///
/// ```json
/// {
///   "services": [{
///     "service": "10.96.0.10:443/tcp", "scheduler": "wrr",
///     "destinations": [{"address": "10.244.1.7:6443", "weight": 2}],
///     "drain": {"until": "idle", "deadline": 60}, "bind": true
///   }],
///   "vips": ["10.96.0.20"],
///   "sets": [{"name": "web-clients", "set": "hash:net family inet", "members": ["10.0.0.0/8"], "role": "allow"}]
/// }
/// ```
///
/// Mandatory are `services`, for each service `service`, `scheduler` and `destinations`, for each destination `address`,
/// and for each set `name`, `set` and `members`. Unknown fields are ignored. An absent list would desire no objects, and
/// [`sync`](super::Director::sync) would delete all of them. Therefore a document with a misspelt name of one of these
/// lists is an error, and an empty list is written as `[]`. The lists `vips` and `sets` are empty if they are absent.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "draft::Draft", into = "draft::Draft"))]
pub struct Desired {
    services: BTreeMap<ServiceKey, WantedService>,
    vips: BTreeSet<Vip>,
    sets: BTreeMap<SetName, WantedSet>,
    /// Drain of the destinations of services that are no longer desired. A desired service has its own.
    pub drain: Drain,
    edition: Edition,
}

/// Number of a content. Each possible change assigns another number; a clone has the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Edition(u64);

impl Default for Edition {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A desired service.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WantedService {
    service: Service,
    destinations: Vec<Destination>,
    /// Drain of its destinations that are no longer desired; initially [`Desired::drain`].
    pub drain: Drain,
    /// Whether its address is bound; true by default. Set it to false if a prefix is bound, or a router delivers the
    /// packets.
    pub bind: bool,
}

/// A desired set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WantedSet {
    new: NewSet<AnyType>,
    members: Vec<Member<AnyType>>,
    /// The use of the set, which decides the order of changes of its members.
    pub role: Role,
}

/// The use of a set in the packet filter's rules.
///
/// Members for a service that drains stay until it is deleted. A set without room for all old and new members is
/// replaced at once: its other old members are deleted with this step.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Role {
    /// Its members admit packets, or mark them. They are added before services and deleted after them.
    #[default]
    Allow,
    /// Its members block packets, except for those that a member of a [`Role::Allow`] set admits. They are added after
    /// the members of all these sets and before virtual IPs are bound. They are deleted before members of these sets.
    Guard,
}

impl PartialEq for Desired {
    fn eq(&self, other: &Self) -> bool {
        let Self { services, vips, sets, drain, edition: _ } = self;
        (services, vips, sets, drain) == (&other.services, &other.vips, &other.sets, &other.drain)
    }
}

impl Desired {
    /// Adds a service with its destinations, or replaces the one with its key.
    ///
    /// # Errors
    /// [`InvalidDesired`], when the kernel would refuse or misunderstand the service or a destination, or when a
    /// destination is repeated. Nothing is added then.
    pub fn service(
        &mut self,
        service: impl Into<Service>,
        destinations: impl IntoIterator<Item = impl Into<Destination>>,
    ) -> Result<&mut WantedService, InvalidDesired> {
        let service = service.into();
        let destinations = destinations.into_iter().map(Into::into).collect();
        let wanted = WantedService::new(service, destinations, self.drain)?;
        self.edition = Edition::default();
        Ok(put(&mut self.services, service.key, wanted))
    }

    /// Removes a service: its destinations drain, then it is deleted.
    ///
    /// ```
    /// # use lvs::director::Desired;
    /// # use lvs::ipvs::{Destination, Scheduler, Service};
    /// let mut desired = Desired::default();
    /// let web = Service::tcp("10.96.0.10:80".parse()?, Scheduler::RR);
    /// desired.service(web, [Destination::new("10.244.1.7:80".parse()?)])?;
    /// assert!(desired.remove_service(web).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_service(&mut self, key: impl Into<ServiceKey>) -> Option<WantedService> {
        self.edition = Edition::default();
        self.services.remove(&key.into())
    }

    /// Returns the services, in the order of their keys.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &WantedService> + Clone {
        self.services.values()
    }

    /// Returns the service with this key.
    pub fn get(&self, key: impl Into<ServiceKey>) -> Option<&WantedService> {
        self.services.get(&key.into())
    }

    /// Adds a virtual IP that is bound also without a service.
    pub fn vip(&mut self, vip: impl Into<Vip>) {
        self.edition = Edition::default();
        self.vips.insert(vip.into());
    }

    /// Returns the virtual IPs that were added, without those of services.
    pub fn vips(&self) -> impl Iterator<Item = Vip> {
        self.vips.iter().copied()
    }

    /// Adds a set with its members, or replaces the one with this name. Its [owner](super::Owner::sets) decides which
    /// names it may have.
    ///
    /// # Errors
    /// [`InvalidDesired`], when the kernel would refuse or misunderstand the set or a member, a member is repeated, or
    /// is a range or network of a set that holds single entries. Nothing is added then.
    pub fn set<T: SetType>(
        &mut self,
        name: SetName,
        new: &NewSet<T>,
        members: impl IntoIterator<Item = Member<T>>,
    ) -> Result<&mut WantedSet, InvalidDesired> {
        let members = members.into_iter().map(Member::any).collect();
        let wanted = WantedSet::new(name, new.any(), members)?;
        self.edition = Edition::default();
        Ok(put(&mut self.sets, name, wanted))
    }

    /// Returns the sets, in the order of their names.
    pub fn sets(&self) -> impl Iterator<Item = (SetName, &WantedSet)> {
        self.sets.iter().map(|(name, set)| (*name, set))
    }

    /// Returns the number of this content. A change of [`Desired::drain`] assigns no other: it only affects services
    /// that end.
    pub(super) fn edition(&self) -> Edition {
        self.edition
    }

    pub(super) fn find_set(&self, name: SetName) -> Option<&WantedSet> {
        self.sets.get(&name)
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) -> &mut V {
    match map.entry(key) {
        Entry::Vacant(place) => place.insert(value),
        Entry::Occupied(mut place) => {
            place.insert(value);
            place.into_mut()
        }
    }
}

impl WantedService {
    fn new(service: Service, mut destinations: Vec<Destination>, drain: Drain) -> Result<Self, InvalidDesired> {
        let mut mistakes = Mistakes::default();
        let place = || format!("service {}", service.key);
        mistakes.check(place, ipvs::Change::AddService(service).check());
        // Sorting compares equal neighbours.
        let mut repeated = false;
        destinations.sort_unstable_by(|one, other| {
            let order = one.address.cmp(&other.address);
            repeated |= order.is_eq();
            order
        });
        for destination in &destinations {
            let place = || format!("{}: destination {}", place(), destination.address);
            mistakes.check(place, destination.check(&service.key));
        }
        for (one, other) in destinations.iter().zip(destinations.iter().skip(1)).filter(|_| repeated) {
            if one.address == other.address {
                mistakes.add(format!("{}: destination {}", place(), one.address), "is repeated");
            }
        }
        mistakes.none_or(Self { service, destinations, drain, bind: true })
    }

    /// Returns the service.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Returns its destinations, in the order of their addresses.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }
}

impl WantedSet {
    fn new(name: SetName, new: NewSet<AnyType>, members: Vec<Member<AnyType>>) -> Result<Self, InvalidDesired> {
        let mut mistakes = Mistakes::default();
        let place = || format!("set {name}");
        mistakes.check(place, ipset::Change::PutSet(name, new).check());
        let options = new.options();
        if options.netmask.is_some() || options.bitmask.is_some() || options.markmask.is_some() {
            mistakes.add(place(), "a set with a mask stores other members than those that are added");
        }
        let most = options.maxelem.unwrap_or(65536);
        if new.kind().method() == Method::Hash && members.len() > most.try_into().unwrap_or(usize::MAX) {
            mistakes.add(place(), format_args!("{} members do not fit: maxelem is {most}", members.len()));
        }
        let set = new.named(name);
        let place = |member: &Member<AnyType>| format!("set {name}: member {member}");
        // In the memory of the members.
        let listed = members.into_iter().filter_map(|member| {
            let change = ipset::Change::Put(set, member);
            let checked = change.check();
            let ipset::Change::Put(_, member) = change else { return None };
            match (checked, member.as_listed(set.kind())) {
                (Err(error), _) => mistakes.check(|| place(&member), Err(error)),
                (Ok(()), None) => mistakes.add(place(&member), "stands for several entries: list each"),
                (Ok(()), Some(as_listed)) => {
                    return Some(Member { timeout: member.timeout, counters: member.counters, ..as_listed });
                }
            }
            None
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort_by_key(|member| member.entry);
        for (one, other) in listed.iter().zip(listed.iter().skip(1)) {
            if one.entry == other.entry {
                mistakes.add(format!("set {name}: member {one}"), "is repeated");
            }
        }
        mistakes.none_or(Self { new, members: listed, role: Role::default() })
    }

    /// Returns the type and the options of the set.
    ///
    /// ```
    /// # use lvs::director::Desired;
    /// # use lvs::ipset::{HashIp, Kind, NewSet};
    /// let mut desired = Desired::default();
    /// let clients = desired.set("web-clients".parse()?, &NewSet::<HashIp>::ipv4(), [])?;
    /// assert_eq!(clients.new_set().kind(), Kind::HashIp);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new_set(&self) -> &NewSet<AnyType> {
        &self.new
    }

    /// Returns its members in the form in which the kernel lists them, in the order of their entries.
    pub fn members(&self) -> &[Member<AnyType>] {
        &self.members
    }

    pub(super) fn kind(&self) -> Kind {
        self.new.kind()
    }
}

/// The mistakes in a desired object, each with its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidDesired(Vec<Mistake>);

/// A value of [`Desired`] that the kernel would refuse or misunderstand.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Mistake {
    /// Its place: `service 10.96.0.10:443/tcp: destination 10.244.1.7:80`.
    pub place: String,
    /// The fault.
    pub problem: String,
}

impl InvalidDesired {
    /// Returns the mistakes, at least one.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl fmt::Display for InvalidDesired {
    /// Writes one line for each mistake.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidDesired {}

impl From<InvalidDesired> for Error {
    fn from(invalid: InvalidDesired) -> Self {
        Self::new("check the desired state", Cause::InvalidInput(invalid.to_string().into()))
    }
}

#[derive(Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn add(&mut self, place: String, problem: impl fmt::Display) {
        self.0.push(Mistake { place, problem: problem.to_string() });
    }

    fn check(&mut self, place: impl FnOnce() -> String, checked: Result<(), Error>) {
        if let Err(error) = checked {
            self.add(place(), error.cause());
        }
    }

    fn none_or<T>(self, valid: T) -> Result<T, InvalidDesired> {
        if self.0.is_empty() { Ok(valid) } else { Err(InvalidDesired(self.0)) }
    }
}

/// Serialised form of [`Desired`].
#[cfg(feature = "serde")]
mod draft {
    use serde::{Deserialize, Serialize};

    use super::*;

    /// A list of objects that most documents have is mandatory. Absent by mistake, it would delete all of them.
    #[derive(Deserialize, Serialize)]
    pub(super) struct Draft {
        services: Vec<DraftService>,
        #[serde(default)]
        vips: Vec<Vip>,
        #[serde(default)]
        sets: Vec<DraftSet>,
        #[serde(default)]
        drain: Drain,
    }

    #[derive(Deserialize, Serialize)]
    struct DraftService {
        #[serde(flatten)]
        service: Service,
        destinations: Vec<Destination>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain: Option<Drain>,
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        bind: bool,
    }

    #[derive(Deserialize, Serialize)]
    struct DraftSet {
        name: SetName,
        set: NewSet<AnyType>,
        members: Vec<String>,
        #[serde(default)]
        role: Role,
    }

    fn yes() -> bool {
        true
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is that of serde")]
    fn is_true(value: &bool) -> bool {
        *value
    }

    impl TryFrom<Draft> for Desired {
        type Error = InvalidDesired;

        fn try_from(draft: Draft) -> Result<Self, InvalidDesired> {
            let mut desired = Self { drain: draft.drain, ..Self::default() };
            let mut mistakes = Mistakes::default();
            for DraftService { service, destinations, drain, bind } in draft.services {
                if desired.services.contains_key(&service.key) {
                    mistakes.add(format!("service {}", service.key), "is repeated");
                }
                match desired.service(service, destinations) {
                    Ok(wanted) => {
                        wanted.bind = bind;
                        wanted.drain = drain.unwrap_or(wanted.drain);
                    }
                    Err(invalid) => mistakes.0.extend(invalid.0),
                }
            }
            desired.vips.extend(draft.vips);
            for DraftSet { name, set, members, role } in draft.sets {
                if desired.sets.contains_key(&name) {
                    mistakes.add(format!("set {name}"), "is repeated");
                }
                let mut read = Vec::with_capacity(members.len());
                for text in members {
                    match Member::parse_as(set.kind(), &text) {
                        Ok(member) => read.push(member),
                        Err(error) => mistakes.add(format!("set {name}: member {text}"), error),
                    }
                }
                match desired.set(name, &set, read) {
                    Ok(wanted) => wanted.role = role,
                    Err(invalid) => mistakes.0.extend(invalid.0),
                }
            }
            mistakes.none_or(desired)
        }
    }

    impl From<Desired> for Draft {
        fn from(desired: Desired) -> Self {
            let Desired { services, vips, sets, drain, edition: _ } = desired;
            let services = services.into_values().map(|WantedService { service, destinations, drain: own, bind }| {
                DraftService { service, destinations, drain: Some(own).filter(|own| *own != drain), bind }
            });
            let sets = sets.into_iter().map(|(name, WantedSet { new, members, role })| DraftSet {
                name,
                set: new,
                members: members.iter().map(ToString::to_string).collect(),
                role,
            });
            Self { services: services.collect(), vips: vips.into_iter().collect(), sets: sets.collect(), drain }
        }
    }
}
