//! The promises of the order, between any two messages: the steps of each call are replayed one by one.

use std::collections::BTreeSet;
use std::time::Instant;

use lvs::director::{Change, Desired, End};
use lvs::ipvs::{self, ServiceKey};
use lvs::testing::Kernel;
use lvs::vip;

use crate::random::Random;
use crate::world::{DEADLINE, Kind, State, binder, desired, director, entry, number, owner, populate, state};

#[test]
fn no_moment_breaks_a_promise() {
    let first = number("LVS_SEED", 1);
    for seed in first..first + number("LVS_WORLDS", 40) {
        for kind in [Kind::Registered, Kind::Ranges, Kind::Everything] {
            run(seed, kind);
        }
    }
}

fn run(seed: u64, kind: Kind) {
    let mut random = Random(seed);
    let kernel = Kernel::new();
    populate(&kernel, &mut random, kind);
    let binder = binder(&mut random);
    let foreign: BTreeSet<_> = state(&kernel, &binder).services.into_keys().collect();
    let mut director = director(&kernel, &owner(kind), binder);
    let mut now = Instant::now();
    for round in 0..4 {
        let desired = desired(&mut random, kind);
        let mut there = state(&kernel, &binder);
        let before = there.clone();
        let report = director.sync_at(&desired, now).unwrap();
        for (index, (step, end)) in report.steps().enumerate() {
            let place = format!("seed {seed}, {kind:?}, round {round}, step {index}: {step}");
            assert_eq!(end, End::Done, "{place}");
            replay(&mut there, &step.change);
            Moment { before: &before, there: &there, foreign: &foreign, desired: &desired }.check(kind, &place);
            if let Change::Vip(vip::Change::Bind(_, vip)) = step.change {
                let explicit = desired.vips().any(|wanted| wanted == vip);
                assert!(explicit || is_served(&there, &desired, vip.address()), "{place}");
            }
        }
        there.sets.clear();
        let mut found = state(&kernel, &binder);
        found.sets.clear();
        found.assert_is(&there, &format!("seed {seed}, {kind:?}, round {round}"));
        now += DEADLINE / 2;
    }
}

pub(crate) struct Moment<'a> {
    pub(crate) before: &'a State,
    pub(crate) there: &'a State,
    pub(crate) foreign: &'a BTreeSet<ServiceKey>,
    pub(crate) desired: &'a Desired,
}

impl Moment<'_> {
    pub(crate) fn check(&self, kind: Kind, place: &str) {
        let Self { before, there, foreign, desired } = self;
        let serves = |state: &State, key: &ServiceKey| state.services[key].1.values().any(|to| to.weight > 0);
        for wanted in desired.services() {
            let key = wanted.service().key;
            let should = wanted.destinations().iter().any(|destination| destination.weight > 0);
            if should && before.services.contains_key(&key) && serves(before, &key) {
                assert!(there.services.contains_key(&key), "{place}: {key} was deleted");
                assert!(serves(there, &key), "{place}: {key} has no destination");
            }
        }
        // An address with a virtual IP has a service, unless it never had one.
        for vip in &there.vips {
            let explicit = desired.vips().any(|wanted| wanted.to_string() == *vip);
            let has = |state: &State| state.services.keys().any(|key| of(key) == Some(vip.clone()));
            assert!(explicit || has(there) || !has(before), "{place}: {vip} has no service");
        }
        if kind == Kind::Registered {
            let registered = there.registered();
            for key in there.services.keys().filter(|key| !foreign.contains(key)) {
                assert!(registered.contains(&entry(*key)), "{place}: {key} is not registered");
            }
        }
    }
}

fn of(key: &ServiceKey) -> Option<String> {
    key.address().map(|address| address.ip().to_string())
}

fn is_served(there: &State, desired: &Desired, address: std::net::IpAddr) -> bool {
    there.services.iter().any(|(key, (_, to))| {
        let none = desired.get(*key).is_some_and(|wanted| wanted.destinations().is_empty());
        key.address().is_some_and(|key| key.ip() == address) && (none || !to.is_empty())
    })
}

fn replay(there: &mut State, change: &Change) {
    match change {
        Change::Register(key) => {
            let set = match (key.address(), key.family()) {
                (None, _) => "mine-mark",
                (_, lvs::Family::Inet) => "mine-4",
                (_, lvs::Family::Inet6) => "mine-6",
            };
            there.sets.entry(set.to_owned()).or_default().1.insert(entry(*key));
        }
        Change::Unregister(key) => {
            for (_, members) in there.sets.values_mut() {
                members.remove(&entry(*key));
            }
        }
        Change::Ipvs(change) => match change {
            ipvs::Change::AddService(service) => _ = there.services.insert(service.key, (*service, Default::default())),
            ipvs::Change::SetService(service) => there.services.get_mut(&service.key).unwrap().0 = *service,
            ipvs::Change::DeleteService(key) => _ = there.services.remove(key).unwrap(),
            ipvs::Change::AddDestination(key, to) | ipvs::Change::SetDestination(key, to) => {
                there.services.get_mut(key).unwrap().1.insert(to.address, *to);
            }
            ipvs::Change::DeleteDestination(key, address) => {
                there.services.get_mut(key).unwrap().1.remove(address).unwrap();
            }
            other => panic!("{other}"),
        },
        Change::Vip(vip::Change::Bind(_, vip)) => _ = there.vips.insert(vip.to_string()),
        Change::Vip(vip::Change::Unbind(_, vip)) => _ = there.vips.remove(&vip.to_string()),
        _ => {}
    }
}
