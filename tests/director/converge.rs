//! After a call, what is there is what is desired, and what is foreign is as it was.

use std::collections::BTreeSet;
use std::time::Instant;

use lvs::ipset::Ipset;
use lvs::ipvs::Ipvs;
use lvs::testing::Kernel;
use lvs::vip::Vips;

use crate::random::Random;
use crate::world::{
    DEADLINE, KINDS, Kind, World, binder, desired, director, entry, expected, number, owner, populate, state,
    without_keys,
};

impl World for Kernel {
    fn ipvs(&self) -> Ipvs {
        Kernel::ipvs(self).unwrap()
    }

    fn ipset(&self) -> Ipset {
        Kernel::ipset(self)
    }

    fn vips(&self) -> Vips {
        Kernel::vips(self)
    }
}

#[test]
fn every_world_becomes_what_is_desired() {
    let first = number("LVS_SEED", 1);
    for seed in first..first + number("LVS_WORLDS", 40) {
        for kind in KINDS {
            run(seed, kind);
        }
    }
}

fn run(seed: u64, kind: Kind) {
    let place = format!("seed {seed}, {kind:?}");
    let mut random = Random(seed);
    let kernel = Kernel::new();
    populate(&kernel, &mut random, kind);
    let (owner, binder) = (owner(kind), binder(&mut random));
    let before = state(&kernel, &binder);
    let foreign: BTreeSet<_> = before.services.keys().copied().collect();
    let mut director = director(&kernel, &owner, binder);
    let mut now = Instant::now();
    for round in 0..4 {
        let place = format!("{place}, round {round}");
        let desired = desired(&mut random, kind);
        let report = director.sync_at(&desired, now).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(report.steps.len(), report.count(lvs::director::End::Done), "{place}: {report}");

        // While destinations drain, they are all that is there beside what is desired.
        let there = state(&kernel, &binder);
        assert_eq!(there.only(&foreign), before.only(&foreign), "{place}");
        let wanted = expected(&before, &foreign, &desired, kind);
        for (key, (service, to)) in &wanted.services {
            let (found, found_to) = &there.services[key];
            assert_eq!(found, service, "{place}");
            for (address, destination) in found_to {
                let quiesced = !to.contains_key(address) && destination.weight == 0;
                assert!(quiesced || to.get(address) == Some(destination), "{place}: {destination} of {key}");
            }
            assert!(to.keys().all(|address| found_to.contains_key(address)), "{place}: {key}");
        }
        if kind == Kind::Registered {
            let registered: BTreeSet<_> = there.services.keys().filter(|key| !foreign.contains(key)).copied().collect();
            assert_eq!(there.registered(), registered.into_iter().map(entry).collect(), "{place}");
        }

        let conflicting = desired.services().map(|wanted| wanted.service().key).filter(|key| foreign.contains(key));
        let conflicting: BTreeSet<_> = conflicting.filter_map(|key| Some(key.address()?.ip().to_string())).collect();

        // Nothing is left to do, by memory and by what a new director reads.
        let again = director.sync_at(&desired, now).unwrap();
        let mut fresh = crate::world::director(&kernel, &owner, binder);
        if report.draining.is_empty() {
            assert!(again.is_empty(), "{place}: {again:?}");
            let fresh = fresh.sync_at(&desired, now).unwrap();
            assert!(fresh.is_empty(), "{place}: {fresh:?}");
        }

        // Some drains end by themselves, some by their deadline, some by being desired again.
        if random.percent(70) {
            now += DEADLINE;
            director.sync_at(&desired, now).unwrap();
            let mut there = without_keys(state(&kernel, &binder));
            // The virtual IP of a service that is a conflict stays if it was bound.
            there.vips.retain(|vip| wanted.vips.contains(vip) || !conflicting.contains(vip));
            there.assert_is(&wanted, &place);
        }
    }
}
