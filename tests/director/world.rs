//! Random worlds: a kernel with foreign objects, owners, and desired states.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs::director::{Desired, Director, Drain, Owner, Ranges, Role};
use lvs::ipset::{AnyType, HashIp, HashIpPort, HashNet, Ipset, Member, NewSet, SetName};
use lvs::ipvs::{Destination, Ipvs, Scheduler, Service, ServiceKey};
use lvs::vip::{Binder, Vips};

use crate::random::Random;

/// Where clients come from: a model, or a namespace of a real kernel.
pub(crate) trait World {
    fn ipvs(&self) -> Ipvs;
    fn ipset(&self) -> Ipset;
    fn vips(&self) -> Vips;
}

/// The ways to own services.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Registered,
    Ranges,
    Bound,
    Everything,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Registered, Kind::Ranges, Kind::Bound, Kind::Everything];

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn owner(kind: Kind) -> Owner {
    let owner = match kind {
        Kind::Registered => Owner::registered("mine").unwrap(),
        Kind::Ranges => Owner::ranges(
            Ranges::networks(["10.96.0.0/16".parse().unwrap(), "fd00:96::/64".parse().unwrap()]).marks(1..=9),
        ),
        Kind::Bound => Owner::bound(),
        Kind::Everything => Owner::everything(),
    };
    owner.sets("mine-")
}

pub(crate) fn binder(random: &mut Random) -> Binder {
    if random.percent(50) { Binder::dummy("vip0").unwrap() } else { Binder::local_routes(77) }
}

pub(crate) fn director(world: &impl World, owner: &Owner, binder: Binder) -> Director {
    Director::over(world.ipvs(), world.ipset(), world.vips(), owner.clone(), binder)
}

fn key(text: &str) -> ServiceKey {
    text.parse().unwrap()
}

/// Keys of services that may be desired.
pub(crate) fn keys() -> Vec<ServiceKey> {
    let texts = [
        "10.96.0.1:80/tcp",
        "10.96.0.1:443/tcp",
        "10.96.0.1:53/udp",
        "10.96.0.2:80/tcp",
        "10.96.0.3:53/udp",
        "[fd00:96::1]:80/tcp",
        "fwmark 7",
        "fwmark 7 inet6",
    ];
    texts.map(key).to_vec()
}

/// Keys of services that no director desires.
fn foreign_keys() -> Vec<ServiceKey> {
    ["192.0.2.80:80/tcp", "192.0.2.80:53/udp", "fwmark 99", "[2001:db8::80]:80/tcp"].map(key).to_vec()
}

fn pods(key: ServiceKey) -> Vec<SocketAddr> {
    let inet = key.family() == lvs::Family::Inet;
    let address = |number: u8| -> IpAddr {
        if inet { [10, 244, 0, number].into() } else { [0xfd00, 0x244, 0, 0, 0, 0, 0, number.into()].into() }
    };
    (1..6).map(|number| SocketAddr::new(address(number), 8080)).collect()
}

fn service(random: &mut Random, key: ServiceKey) -> Service {
    let service = Service::new(key, *random.one(&[Scheduler::RR, Scheduler::WRR, Scheduler::LC]));
    if random.percent(30) { service.persistent(Duration::from_secs(300)) } else { service }
}

fn destinations(random: &mut Random, key: ServiceKey) -> Vec<Destination> {
    let pods = pods(key);
    let mut chosen: Vec<_> = pods.into_iter().filter(|_| random.percent(60)).collect();
    let weight = |random: &mut Random| u32::try_from(random.below(4)).unwrap();
    random.shuffle(&mut chosen);
    chosen.into_iter().map(|pod| Destination::new(pod).weight(weight(random))).collect()
}

pub(crate) fn desired(random: &mut Random, kind: Kind) -> Desired {
    let mut desired = Desired::default();
    desired.drain = *random.one(&[Drain::NONE, Drain::within(DEADLINE)]);
    for key in keys() {
        if random.percent(60) {
            let (service, destinations) = (service(random, key), destinations(random, key));
            let wanted = desired.service(service, destinations).unwrap();
            wanted.drain =
                *random.one(&[Drain::NONE, Drain::within(DEADLINE), Drain::within(DEADLINE).datagrams(true)]);
            // An owner of what is bound has no other services.
            wanted.bind = kind == Kind::Bound || random.percent(90);
        }
    }
    for vip in ["10.96.0.1", "10.96.0.9", "fd00:96::9"] {
        if random.percent(30) {
            desired.vip(vip.parse::<IpAddr>().unwrap());
        }
    }
    for (number, role) in [(1, Role::Allow), (2, Role::Guard), (3, Role::Allow)] {
        if random.percent(50) {
            set(random, &mut desired, number).role = role;
        }
    }
    desired
}

fn set<'a>(random: &mut Random, desired: &'a mut Desired, number: u8) -> &'a mut lvs::director::WantedSet {
    let name: SetName = format!("mine-{number}").parse().unwrap();
    // Another one replaces the set.
    let maxelem = *random.one(&[4, 5]);
    let mut members = |of: &[&str], new: NewSet<AnyType>| -> (NewSet<AnyType>, Vec<Member<AnyType>>) {
        let chosen = of.iter().filter(|_| random.percent(50));
        (new, chosen.map(|text| Member::parse_as(new.kind(), text).unwrap()).collect())
    };
    let (new, members) = match number {
        1 => members(
            &["10.96.0.1,tcp:80", "10.96.0.1,udp:53", "10.96.0.2,tcp:80", "10.96.0.3,udp:53"],
            NewSet::<HashIpPort>::ipv4().maxelem(maxelem).any(),
        ),
        2 => members(&["10.96.0.1", "10.96.0.2", "10.96.0.9"], NewSet::<HashIp>::ipv4().maxelem(maxelem).any()),
        _ => {
            let new = NewSet::<HashNet>::ipv4();
            members(
                &["10.0.0.0/8", "10.1.2.3/16", "192.0.2.1"],
                if number == 3 { new.comment().any() } else { new.any() },
            )
        }
    };
    desired.set(name, &new, members).unwrap()
}

/// Adds foreign services, one of them perhaps under a key that is desired later, and a foreign set.
pub(crate) fn populate(world: &impl World, random: &mut Random, kind: Kind) {
    let mut ipvs = world.ipvs();
    let mut foreign: Vec<_> = if kind == Kind::Everything { Vec::new() } else { foreign_keys() };
    if kind == Kind::Registered {
        foreign.extend(keys().into_iter().filter(|_| random.percent(15)));
    }
    for key in foreign {
        ipvs.add_service(service(random, key)).unwrap();
        for destination in destinations(random, key) {
            ipvs.add_destination(key, destination).unwrap();
        }
    }
    let mut ipset = world.ipset();
    let set = ipset.create("other".parse().unwrap(), &NewSet::<HashIp>::ipv4()).unwrap();
    ipset.add(&set, &Member::new("10.96.0.1".parse::<IpAddr>().unwrap())).unwrap();
}

/// Everything that a kernel has: one line for each object, those of the binder's interface included.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct State {
    pub(crate) services: BTreeMap<ServiceKey, (Service, BTreeMap<SocketAddr, Destination>)>,
    pub(crate) vips: BTreeSet<String>,
    pub(crate) sets: BTreeMap<String, (String, BTreeSet<String>)>,
}

pub(crate) fn state(world: &impl World, binder: &Binder) -> State {
    let mut state = State::default();
    for (info, to) in world.ipvs().table().unwrap() {
        let to = to.into_iter().map(|info| (info.address(), info.destination)).collect();
        state.services.insert(info.key(), (info.service, to));
    }
    state.vips = world.vips().virtual_ips(binder).unwrap().iter().map(ToString::to_string).collect();
    let mut ipset = world.ipset();
    for info in ipset.sets().unwrap() {
        let members = ipset.members(&info.set).unwrap();
        let members = members.iter().map(|member| member.entry.to_string()).collect();
        state.sets.insert(info.set.to_string(), (info.set.kind().to_string(), members));
    }
    state
}

impl State {
    /// Fails with the lines in which they differ.
    #[track_caller]
    pub(crate) fn assert_is(&self, wanted: &Self, place: &str) {
        let (found, wanted) = (self.lines(), wanted.lines());
        let surplus: Vec<_> = found.difference(&wanted).collect();
        let missing: Vec<_> = wanted.difference(&found).collect();
        assert!(surplus.is_empty() && missing.is_empty(), "{place}\nsurplus: {surplus:#?}\nmissing: {missing:#?}");
    }

    fn lines(&self) -> BTreeSet<String> {
        let mut lines: BTreeSet<_> = self.vips.iter().map(|vip| format!("virtual IP {vip}")).collect();
        for (service, to) in self.services.values() {
            lines.insert(service.to_string());
            lines.extend(to.values().map(|to| format!("{}: {to}", service.key)));
        }
        for (name, (kind, members)) in &self.sets {
            lines.insert(format!("{name} {kind}"));
            lines.extend(members.iter().map(|member| format!("{name}: {member}")));
        }
        lines
    }

    /// The services and sets that are not of the owner, given those that were foreign at the beginning.
    pub(crate) fn only(&self, services: &BTreeSet<ServiceKey>) -> (Vec<String>, Vec<String>) {
        let of = self.services.iter().filter(|(key, _)| services.contains(key)).map(|found| format!("{found:?}"));
        let sets = self.sets.iter().filter(|(name, _)| *name == "other").map(|set| format!("{set:?}"));
        (of.collect(), sets.collect())
    }

    /// The keys in the registry sets of the owner.
    pub(crate) fn registered(&self) -> BTreeSet<String> {
        let of = |name: &str| self.sets.get(name).map(|(_, members)| members.clone()).unwrap_or_default();
        ["mine-4", "mine-6", "mine-mark"].into_iter().flat_map(of).collect()
    }
}

/// The entry of a key in a registry set of the owner.
pub(crate) fn entry(key: ServiceKey) -> String {
    match (key.address(), key.protocol(), key.fwmark()) {
        (Some(address), Some(protocol), _) => format!("{},{protocol}:{}", address.ip(), address.port()),
        (_, _, Some(mark)) => {
            let family = if key.family() == lvs::Family::Inet { 4 } else { 6 };
            format!("127.0.0.{family},0x{mark:08x}")
        }
        other => panic!("{other:?}"),
    }
}

/// The desired state when every drain is over, for the keys that the owner may have.
pub(crate) fn expected(before: &State, foreign: &BTreeSet<ServiceKey>, desired: &Desired, kind: Kind) -> State {
    let mut state = State::default();
    let ownable = |key: &ServiceKey, bind: bool| kind != Kind::Bound || bind && key.address().is_some();
    for wanted in desired.services() {
        let service = *wanted.service();
        if foreign.contains(&service.key) || !ownable(&service.key, wanted.bind) {
            continue;
        }
        let to = wanted.destinations().iter().map(|destination| (destination.address, *destination)).collect();
        state.services.insert(service.key, (service, to));
        if let Some(address) = service.key.address().filter(|_| wanted.bind) {
            state.vips.insert(address.ip().to_string());
        }
    }
    state.vips.extend(desired.vips().map(|vip| vip.to_string()));
    for (key, found) in before.services.iter().filter(|(key, _)| foreign.contains(key)) {
        state.services.insert(*key, found.clone());
    }
    for (name, set) in desired.sets() {
        let members = set.members().iter().map(|member| member.entry.to_string()).collect();
        state.sets.insert(name.to_string(), (set.new_set().kind().to_string(), members));
    }
    state
}

/// Removes the registry sets of the owner, and the foreign set. Also the staged set and the marker of a replacement that
/// was cut short: they stay until the set is replaced again.
pub(crate) fn without_keys(mut state: State) -> State {
    let of_tests = ["mine-4", "mine-6", "mine-mark", "other"];
    state.sets.retain(|name, _| !of_tests.contains(&name.as_str()) && !name.starts_with("lvs-"));
    state
}

pub(crate) fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}
