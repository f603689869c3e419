//! One random world: after each call, what is there is what is desired, and what is foreign is as it was.

use std::collections::BTreeSet;
use std::time::Instant;

use lvs::director::End;
use lvs::vip::Binder;

use super::world::{
    DEADLINE, Kind, State, World, binder, desired, director, entry, expected, owner, populate, state, without_keys,
};
use crate::random::Random;

/// `also` compares what is read with what other programs say.
pub(crate) fn run(world: &impl World, seed: u64, kind: Kind, also: impl Fn(&State, &Binder, &str)) {
    let place = format!("seed {seed}, {kind:?}");
    let mut random = Random(seed);
    populate(world, &mut random, kind);
    let (owner, binder) = (owner(kind), binder(&mut random));
    let before = state(world, &binder);
    let foreign: BTreeSet<_> = before.services.keys().copied().collect();
    let mut director = self::director(world, &owner, binder);
    let mut now = Instant::now();
    for round in 0..4 {
        let place = format!("{place}, round {round}");
        let desired = desired(&mut random, kind);
        let report = director.sync_at(&desired, now).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(report.steps().len(), report.count(End::Done), "{place}: {report}");

        // While destinations drain, they are all that is there beside what is desired.
        let there = state(world, &binder);
        also(&there, &binder, &place);
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
        let mut fresh = self::director(world, &owner, binder);
        if report.draining.is_empty() {
            assert!(again.is_empty(), "{place}: {again:?}");
            let fresh = fresh.sync_at(&desired, now).unwrap();
            assert!(fresh.is_empty(), "{place}: {fresh:?}");
        }

        // Some drains end by themselves, some by their deadline, some by being desired again.
        if random.percent(70) {
            now += DEADLINE;
            director.sync_at(&desired, now).unwrap();
            let mut there = without_keys(state(world, &binder));
            // The virtual IP of a service that is a conflict stays if it was bound.
            there.vips.retain(|vip| wanted.vips.contains(vip) || !conflicting.contains(vip));
            there.assert_is(&wanted, &place);
        }
    }
}
