//! A batch error keeps its meaning when it becomes an [`Error`], by one rule in all modules.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lvs::ipset::{self, HashIp, Member, NewSet};
use lvs::ipvs::{self, Change, Destination, Ipvs, Scheduler, Service, ServiceKey};
use lvs::testing::{Fault, Kernel};
use lvs::vip::{Binder, Vip};
use lvs::{Cause, Error, Reason};
use proptest::prelude::*;

use crate::everywhere::errno::{ENOBUFS, EPERM};
use crate::vips::kernel_with_foreign_routes;

type Predicate = fn(&Error) -> bool;

const PREDICATES: [(&str, Predicate); 10] = [
    ("already exists", Error::is_already_exists),
    ("not found", Error::is_not_found),
    ("permission denied", Error::is_permission_denied),
    ("unavailable", Error::is_unavailable),
    ("full", Error::is_full),
    ("conflict", Error::is_conflict),
    ("in use", Error::is_in_use),
    ("invalid input", Error::is_invalid_input),
    ("interrupted", Error::is_interrupted),
    ("timed out", Error::is_timed_out),
];

/// The predicates that are true of an error.
fn true_of(error: &Error) -> Vec<&'static str> {
    PREDICATES.iter().filter(|(_, predicate)| predicate(error)).map(|(name, _)| *name).collect()
}

fn service(port: u16) -> Service {
    Service::tcp(([10, 96, 0, 1], port).into(), Scheduler::RR)
}

fn server(host: u8) -> Destination {
    Destination::new(([10, 1, 0, host], 80).into())
}

fn ipvs_error(setup: impl Fn(&Kernel), changes: Vec<Change>) -> Error {
    let kernel = Kernel::new();
    let mut ipvs = kernel.ipvs().unwrap();
    ipvs.add_service(service(1)).unwrap();
    setup(&kernel);
    ipvs.batch(changes).unwrap_err().into()
}

fn ipset_error(setup: impl Fn(&Kernel), hosts: Vec<u8>) -> Error {
    let kernel = Kernel::new();
    let mut ipset = kernel.ipset();
    let set = ipset.create("s".parse().unwrap(), &NewSet::<HashIp>::ipv4()).unwrap();
    let member = |host: u8| Member::<HashIp>::new(Ipv4Addr::new(10, 0, 0, host));
    ipset.add(&set, &member(1)).unwrap();
    setup(&kernel);
    ipset.add_all(&set, hosts.into_iter().map(member)).unwrap_err().into()
}

fn vip_error(setup: impl Fn(&Kernel), hosts: Vec<u8>) -> Error {
    let kernel = kernel_with_foreign_routes();
    let mut vips = kernel.vips();
    setup(&kernel);
    let vips_wanted = hosts.into_iter().map(|host| Vip::from(IpAddr::from([10, 96, 0, host])));
    vips.bind_all(&Binder::local_routes(77), vips_wanted).unwrap_err().into()
}

#[test]
fn a_batch_is_of_a_kind_if_all_of_its_failures_are_in_every_module() {
    let add = |port| Change::AddService(service(port));
    let quiet = |_: &Kernel| {};
    for (error, failures, names) in [
        (ipvs_error(quiet, vec![add(1)]), 1, vec!["already exists"]),
        (ipvs_error(quiet, vec![add(1), add(2), add(1)]), 2, vec!["already exists"]),
        (ipvs_error(quiet, vec![add(1), Change::DeleteService(service(9).key)]), 2, vec![]),
        (ipset_error(quiet, vec![2, 3, 1]), 1, vec!["already exists"]),
        (vip_error(quiet, vec![1, 200]), 1, vec!["conflict"]),
        (vip_error(quiet, vec![200, 201]), 2, vec!["conflict"]),
    ] {
        assert_eq!((error.failures().len(), true_of(&error)), (failures, names), "{error}");
        assert!(error.interruption().is_none(), "{error}");
        assert!(matches!(error.cause(), Cause::Batch { .. }), "{error}");
        assert!(!error.operation().is_empty(), "{error}");
        for failure in error.failures() {
            assert!(!failure.operation().is_empty() && true_of(failure).len() == 1, "{failure}");
        }
    }
}

#[test]
fn an_interrupted_batch_is_of_the_kind_of_its_interruption_in_every_module() {
    let changes = || vec![Change::AddService(service(2)), Change::AddService(service(1))];
    for (fault, names) in [
        (Fault::Lost, vec!["timed out"]),
        (Fault::Failing(ENOBUFS), vec![]),
        (Fault::Unsent(EPERM), vec!["permission denied"]),
    ] {
        let setup = |kernel: &Kernel| kernel.disturb(0, fault);
        for error in [ipvs_error(setup, changes()), ipset_error(setup, vec![2, 1]), vip_error(setup, vec![1, 2])] {
            let interruption = error.interruption().expect("an interruption");
            assert_eq!((true_of(&error), true_of(interruption)), (names.clone(), names.clone()), "{error}");
            assert_eq!(error.errno(), interruption.errno());
            assert!(!interruption.operation().is_empty());
        }
    }
}

/// The kernel may have carried out a change that it did not answer: each position of a batch, in both modules.
#[test]
fn a_change_without_an_answer_is_unknown_and_no_failure() {
    let names = ["a", "b"].map(|name| name.parse().unwrap());
    let new = || NewSet::<HashIp>::ipv4().any();
    let sets = || {
        [
            ipset::Change::Create(names[0], new()),
            ipset::Change::PutSet(names[1], new()),
            ipset::Change::Swap(names[0], names[1]),
            ipset::Change::Clear(names[0]),
            ipset::Change::RemoveSet(names[0]),
            ipset::Change::Rename(names[1], names[0]),
            ipset::Change::DestroyAll,
        ]
    };
    for fault in [Fault::Lost, Fault::Cut(10), Fault::Failing(ENOBUFS)] {
        let mut unknown = Vec::new();
        for skip in 0.. {
            let kernel = Kernel::new();
            let mut ipset = kernel.ipset();
            // The type is looked up before.
            ipset.revisions(ipset::Kind::HashIp).unwrap();
            kernel.disturb(skip, fault);
            let Err(error) = ipset.batch(sets()) else { break };
            assert!(error.failures.is_empty() && error.interruption.is_some(), "{fault:?} at {skip}: {error}");
            assert_eq!(error.unknown, error.done..error.done + 1, "{fault:?} at {skip}: {error}");
            unknown.push(error.done);
        }
        unknown.dedup();
        assert_eq!(unknown, (0..sets().len()).collect::<Vec<_>>(), "{fault:?}");

        let kernel = Kernel::new();
        let mut ipvs = kernel.ipvs().unwrap();
        kernel.disturb(0, fault);
        let error = ipvs.batch([Change::AddService(service(1))]).unwrap_err();
        assert_eq!((error.failures.len(), error.interruption.is_some(), error.unknown), (0, true, 0..1), "{fault:?}");
    }
}

#[test]
fn the_number_of_a_batch_is_the_one_that_its_failures_have_in_common() {
    let refused = |kernel: &Kernel| {
        kernel.disturb(0, Fault::Refused(EPERM));
        kernel.disturb(1, Fault::Refused(EPERM));
    };
    let error = ipvs_error(refused, vec![Change::AddService(service(2)), Change::AddService(service(3))]);
    assert_eq!((error.errno(), error.reason()), (Some(EPERM), Some(Reason::PermissionDenied)));
    let mixed = vec![Change::AddService(service(1)), Change::DeleteService(service(9).key)];
    let error = ipvs_error(|_| {}, mixed);
    assert_eq!((error.errno(), error.reason()), (None, None), "{error}");
}

#[test]
fn endpoints_of_a_service_that_failed_follow_from_it() {
    let misspelt = Service::new(service(7).key, Scheduler::new("wrrr").unwrap());
    let endpoints = (1..=200).map(|host| Change::AddDestination(misspelt.key, server(host)));
    let changes = [Change::AddService(service(2)), Change::AddService(misspelt)].into_iter().chain(endpoints);
    let kernel = Kernel::new();
    let mut ipvs = kernel.ipvs().unwrap();
    let error = ipvs.batch(changes).unwrap_err();
    assert_eq!(error.failures.len(), 201);
    assert_eq!(error.independent().map(|failure| failure.position().unwrap()).collect::<Vec<_>>(), [1]);
    assert!(error.failures[1..].iter().all(|failure| failure.error.follows() == Some(1)));
    let text = error.failures[200].error.to_string();
    assert!(text.ends_with("no such service (ESRCH) (change 201, after change 1)"), "{text}");
    let error = Error::from(error);
    assert_eq!((error.failures().len(), error.is_unavailable(), error.is_not_found()), (201, true, false));
    assert!(error.to_string().contains("1 change failed, and 200 that follow"), "{error}");
}

#[test]
fn one_operation_is_named_once() {
    let mut ipset = Kernel::new().ipset();
    let members = [Member::<HashIp>::parse("10.0.0.1 timeout 5").unwrap()];
    let error = ipset.replace("q".parse().unwrap(), &NewSet::<HashIp>::ipv4(), members).unwrap_err();
    let text = error.to_string();
    assert_eq!(text.matches("replace set q").count(), 1, "{text}");
    assert_eq!(Error::from(error).to_string(), text);
}

/// Small changes of a table of few services and servers, so that they meet.
fn change() -> impl Strategy<Value = Change> {
    let key = (1..4u16).prop_map(|port| service(port).key);
    (key, 1..3u8, 0..8u8).prop_map(|(key, host, what): (ServiceKey, u8, u8)| {
        let service = Service::new(key, Scheduler::RR);
        let wrong = Service::new(key, Scheduler::new("wrrr").unwrap());
        let odd = Destination::new(SocketAddr::new(Ipv4Addr::BROADCAST.into(), 80));
        match what {
            0 => Change::AddService(service),
            1 => Change::AddService(wrong),
            2 => Change::DeleteService(key),
            3 | 4 => Change::AddDestination(key, server(host)),
            5 => Change::SetDestination(key, server(host)),
            6 => Change::DeleteDestination(key, server(host).address),
            _ => Change::AddDestination(key, odd),
        }
    })
}

/// Whether the object that a change needs is there.
fn exists(ipvs: &mut Ipvs, change: &Change) -> bool {
    match change {
        Change::AddService(service) => ipvs.service(service.key).is_ok(),
        Change::AddDestination(key, destination) => {
            ipvs.destinations(*key).is_ok_and(|found| found.iter().any(|info| info.address() == destination.address))
        }
        _ => false,
    }
}

proptest! {
    /// A failure that follows from another one comes after it and is a "not found".
    ///
    /// The earlier change failed to add the object that the later one misses. No change between them added it.
    #[test]
    fn failures_follow_only_from_failed_additions(changes in proptest::collection::vec(change(), 1..12)) {
        let kernel = Kernel::new();
        let mut ipvs = kernel.ipvs().unwrap();
        let mut refused: Vec<(usize, Option<Error>)> = Vec::new();
        // One by one, to see the table after each change.
        let mut there = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            refused.push((index, ipvs.change(*change).err()));
            there.push(changes.iter().map(|change| exists(&mut ipvs, change)).collect::<Vec<_>>());
        }
        let together = Kernel::new();
        let done = together.ipvs().unwrap().batch(changes.clone());
        let failures = done.err().map(|error| error.failures).unwrap_or_default();
        let alone: Vec<_> = refused.iter().filter(|(_, error)| error.is_some()).map(|(index, _)| *index).collect();
        prop_assert_eq!(failures.iter().map(|failure| failure.position().unwrap()).collect::<Vec<_>>(), alone);
        for ipvs::Failure { change, error, .. } in &failures {
            let index = error.position().unwrap();
            let Some(earlier) = error.follows() else { continue };
            prop_assert!(earlier < index && error.is_not_found(), "{error}");
            let Some(cause) = failures.iter().find(|failure| failure.position() == Some(earlier)) else {
                return Err(TestCaseError::fail(format!("change {earlier} did not fail: {error}")));
            };
            prop_assert!(matches!(cause.change, Change::AddService(_) | Change::AddDestination(..)), "{change}");
            prop_assert!((earlier..index).all(|at| !there[at][earlier]), "{error}: it existed in between");
        }
    }
}

#[test]
fn a_change_that_is_made_alone_has_no_position() {
    let kernel = Kernel::new();
    let error = kernel.ipvs().unwrap().stop_daemon(ipvs::SyncState::Master).unwrap_err();
    assert_eq!((error.position(), error.follows(), error.failures().len()), (None, None, 0));
    let mut ipset = kernel.ipset();
    let error = ipset.destroy("x".parse::<ipset::SetName>().unwrap()).unwrap_err();
    assert_eq!((error.position(), error.failures().len()), (None, 0));
}
