//! The promises after a kill at any datagram, and with every fault of the kernel: the next call reaches the same state.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use lvs::Family;
use lvs::conntrack::Tuple;
use lvs::director::{Desired, Director};
use lvs::ipvs::{Scheduler, Service};
use lvs::testing::{Fault, Kernel};
use lvs::vip::Binder;

use crate::order::Moment;
use crate::random::Random;
use crate::world::{DEADLINE, Kind, State, binder, desired, director, number, owner, populate, state, without_keys};

const EPERM: i32 = 1;
const ENOBUFS: i32 = 105;

/// A kernel in which one state was reached, and the one that is desired next.
struct Change {
    kernel: Kernel,
    director: Director,
    binder: Binder,
    foreign: BTreeSet<lvs::ipvs::ServiceKey>,
    desired: Desired,
    now: Instant,
}

fn change(seed: u64, kind: Kind, now: Instant) -> Change {
    let mut random = Random(seed);
    let kernel = Kernel::new();
    populate(&kernel, &mut random, kind);
    let binder = binder(&mut random);
    let foreign = state(&kernel, &binder).services.into_keys().collect();
    let mut director = director(&kernel, &owner(kind), binder);
    director.sync_at(&desired(&mut random, kind), now).unwrap();
    Change { kernel, director, binder, foreign, desired: desired(&mut random, kind), now: now + DEADLINE / 2 }
}

/// The state when every drain is over.
fn settled(
    (kernel, binder): (&Kernel, &Binder),
    director: &mut Director,
    desired: &Desired,
    now: Instant,
    place: &str,
) -> State {
    for now in [now, now + DEADLINE, now + 3 * DEADLINE] {
        director.sync_at(desired, now).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    without_keys(state(kernel, binder))
}

#[test]
fn a_kill_at_any_datagram_is_made_up_for() {
    let first = number("LVS_SEED", 1);
    for seed in first..first + number("LVS_WORLDS", 40) / 4 {
        for kind in [Kind::Registered, Kind::Ranges, Kind::Everything] {
            let began = Instant::now();
            let mut whole = change(seed, kind, began);
            let before = state(&whole.kernel, &whole.binder);
            whole.director.sync_at(&whole.desired, whole.now).unwrap();
            let mut fresh = director(&whole.kernel, &owner(kind), whole.binder);
            let wanted = settled((&whole.kernel, &whole.binder), &mut fresh, &whole.desired, whole.now, "whole");
            for position in 0.. {
                let place = format!("seed {seed}, {kind:?}, datagram {position}");
                let mut cut = change(seed, kind, began);
                cut.kernel.cut(position);
                let ended = cut.director.sync_at(&cut.desired, cut.now);
                if !cut.kernel.mend() {
                    break;
                }
                assert!(ended.is_err(), "{place}");
                let there = state(&cut.kernel, &cut.binder);
                let moment = Moment { before: &before, there: &there, foreign: &cut.foreign, desired: &cut.desired };
                moment.check(kind, &place);
                let mut next = director(&cut.kernel, &owner(kind), cut.binder);
                settled((&cut.kernel, &cut.binder), &mut next, &cut.desired, cut.now, &place)
                    .assert_is(&wanted, &place);
            }
        }
    }
}

#[test]
fn stale_flows_are_deleted_after_a_kill_or_fault_at_any_datagram() {
    let dns: SocketAddr = "10.96.0.53:53".parse().unwrap();
    let pod = |number: u8| SocketAddr::from(([10, 244, 1, number], 53));
    let client = |number: u8| SocketAddr::from(([192, 0, 2, number], 4000));
    let tuple = |source, destination| Tuple { source, destination, zone: 0 };
    let desired = |pods: &[u8]| {
        let mut desired = Desired::default();
        desired.service(Service::udp(dns, Scheduler::RR), pods.iter().copied().map(pod)).unwrap();
        desired
    };
    let director = |kernel: &Kernel| {
        let binder = Binder::dummy("vip0").unwrap();
        director(kernel, &owner(Kind::Registered), binder).conntrack(kernel.conntrack())
    };
    let flows = |kernel: &Kernel| kernel.conntrack().flows(Family::Inet).unwrap();
    // The service appears, or loses a destination.
    for (before, after) in [(None, &[7][..]), (Some(&[6, 7][..]), &[7][..])] {
        for fault in [None, Some(Fault::Refused(EPERM)), Some(Fault::Lost), Some(Fault::Failing(ENOBUFS))] {
            for position in 0.. {
                let place = format!("{before:?}, {fault:?} at datagram {position}");
                let kernel = Kernel::new();
                let kept = kernel.add_flow(tuple(client(1), dns), tuple(pod(7), client(1))).unwrap();
                let mut first = director(&kernel);
                before.iter().for_each(|pods| _ = first.sync(&desired(pods)).unwrap());
                for (number, from) in [(2, pod(6)), (3, dns)] {
                    kernel.add_flow(tuple(client(number), dns), tuple(from, client(number))).unwrap();
                }
                fault.map_or_else(|| kernel.cut(position), |fault| kernel.disturb(position, fault));
                let ended = first.sync(&desired(after));
                if !kernel.mend() && (fault.is_none() || kernel.faults_left() > 0) {
                    assert!(position > 3, "{place}");
                    break;
                }
                // After a fault, the same director continues.
                let mut next = if fault.is_none() { director(&kernel) } else { first };
                assert!(fault.is_some() || ended.is_err(), "{place}");
                next.sync(&desired(after)).unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_eq!(flows(&kernel), [kept], "{place}");
                assert!(next.sync(&desired(after)).unwrap().is_empty(), "{place}");
                assert!(director(&kernel).plan(&desired(after)).unwrap().is_empty(), "{place}");
            }
        }
    }
}

#[test]
fn every_fault_at_every_datagram_is_an_error_or_nothing() {
    // Not `Swapped`: netlink keeps the order, and clients rely on it.
    let faults = [
        Fault::Refused(EPERM),
        Fault::Unsent(ENOBUFS),
        Fault::Lost,
        Fault::Late,
        Fault::Twice,
        Fault::Truncated,
        Fault::Cut(10),
        Fault::Altered(20, 0xff),
        Fault::Forged,
        Fault::Stray,
        Fault::Interrupted,
        Fault::Ended(EPERM),
        Fault::Failing(ENOBUFS),
    ];
    let first = number("LVS_SEED", 1);
    for seed in first..first + number("LVS_WORLDS", 40) / 20 {
        let began = Instant::now();
        let kind = Kind::Registered;
        let mut whole = change(seed, kind, began);
        whole.director.sync_at(&whole.desired, whole.now).unwrap();
        let mut fresh = director(&whole.kernel, &owner(kind), whole.binder);
        let wanted = settled((&whole.kernel, &whole.binder), &mut fresh, &whole.desired, whole.now, "whole");
        for fault in faults {
            for position in 0.. {
                let place = format!("seed {seed}, {fault:?} at {position}");
                let mut cut = change(seed, kind, began);
                let before = state(&cut.kernel, &cut.binder);
                cut.kernel.disturb(position, fault);
                let ended = cut.director.sync_at(&cut.desired, cut.now);
                if cut.kernel.faults_left() > 0 {
                    break;
                }
                if let Err(error) = ended {
                    assert!(!error.to_string().is_empty(), "{place}");
                }
                let there = state(&cut.kernel, &cut.binder);
                assert_eq!(there.only(&cut.foreign), before.only(&cut.foreign), "{place}");
                // The same director continues.
                let Change { kernel, binder, desired, now, mut director, .. } = cut;
                settled((&kernel, &binder), &mut director, &desired, now, &place).assert_is(&wanted, &place);
            }
        }
    }
}
