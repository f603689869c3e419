//! Listings of IPVS: a bad item costs that item, and a changing table is listed as well as it can be.

use std::time::Duration;

use lvs::ipvs::{Ipvs, Scheduler, Service};
use lvs::testing::{Fault, Kernel};
use lvs::{Cause, Error};

/// Place of the address family's value in the first item of a dump: behind the headers of the message, the family, the
/// nest and the attribute.
const FAMILY: usize = 16 + 4 + 4 + 4;

fn service(port: u16) -> Service {
    Service::tcp(([10, 96, 0, 1], port).into(), Scheduler::RR)
}

fn kernel() -> (Kernel, Ipvs) {
    let kernel = Kernel::new();
    let mut ipvs = kernel.ipvs().unwrap();
    (1..=5).for_each(|port| ipvs.add_service(service(port)).unwrap());
    (kernel, ipvs)
}

fn is_bad_item(error: &Error) -> bool {
    matches!(error.cause(), Cause::Decode(_)) && error.operation() == "list services"
}

#[test]
fn a_service_that_cannot_be_decoded_costs_that_service() {
    let (kernel, mut ipvs) = kernel();
    kernel.disturb(0, Fault::Altered(FAMILY, 99));
    let items: Vec<_> = ipvs.stream_services().unwrap().collect();
    assert_eq!(items.len(), 5);
    assert!(items[0].as_ref().is_err_and(is_bad_item), "{:?}", items[0]);
    assert!(items[1..].iter().all(Result::is_ok));

    // The last reading counts.
    (0..64).for_each(|skip| kernel.disturb(skip, Fault::Altered(FAMILY, 99)));
    let listed = ipvs.services_best_effort().unwrap();
    assert!(listed.items.len() < 5 && !listed.errors.is_empty(), "{listed:?}");
    assert!(listed.errors.iter().all(is_bad_item), "{listed:?}");
    let (kernel, mut ipvs) = self::kernel();

    kernel.disturb(0, Fault::Altered(FAMILY, 99));
    assert!(is_bad_item(&ipvs.services().unwrap_err()));
    assert_eq!(ipvs.services().unwrap().len(), 5);
}

#[test]
fn a_table_that_keeps_changing_is_listed_with_a_sign() {
    let (kernel, mut ipvs) = kernel();
    let disturb = |times| (0..times).for_each(|time| kernel.disturb(2 * time, Fault::Interrupted));
    disturb(20);
    assert!(ipvs.services().unwrap_err().is_interrupted());
    let listed = ipvs.services_best_effort().unwrap();
    let mut ports: Vec<_> = listed.items.iter().map(|info| info.key().to_string()).collect();
    ports.sort();
    ports.dedup();
    assert_eq!((ports.len(), listed.items.len(), listed.changing), (5, 5, true));
}

#[test]
fn a_reading_that_is_not_answered_does_not_cost_the_ones_before() {
    let kernel = Kernel::new();
    let mut ipvs = kernel.ipvs().unwrap();
    ipvs.add_service(service(1)).unwrap();
    // A reading of one service has two datagrams.
    kernel.disturb(0, Fault::Interrupted);
    kernel.disturb(2, Fault::Lost);
    let listed = ipvs.services_best_effort().unwrap();
    assert_eq!((listed.items.len(), listed.changing), (1, true));
    assert!(listed.errors.iter().any(Error::is_timed_out), "{:?}", listed.errors);
    assert_eq!(ipvs.services().unwrap().len(), 1);
}

/// Number of datagrams that the kernel sends for a call.
fn datagrams(kernel: &Kernel, mut call: impl FnMut()) -> usize {
    (0..)
        .find(|skip| {
            // It changes nothing.
            kernel.disturb(*skip, Fault::Slow(Duration::ZERO));
            call();
            kernel.faults_left() > 0
        })
        .unwrap()
}

#[test]
fn a_service_that_cannot_be_looked_up_is_listed_with_an_error() {
    let kernel = Kernel::new();
    let mut ipvs = kernel.ipvs().unwrap();
    (1..=150).for_each(|port| ipvs.add_service(service(port)).unwrap());
    let long = datagrams(&kernel, || assert_eq!(ipvs.stream_services().unwrap().count(), 150));
    let both = datagrams(&kernel, || assert_eq!(ipvs.services().unwrap().len(), 150));
    assert!(long > 2);

    // The table changes during five readings, and the sixth lacks the first service, which is looked up.
    for lost in [false, true] {
        for start in [0, long, both, both + long, 2 * both] {
            kernel.disturb(start, Fault::Interrupted);
        }
        kernel.disturb(2 * both + long, Fault::Altered(FAMILY, 99));
        if lost {
            kernel.disturb(3 * both, Fault::Lost);
        }
        let listed = ipvs.services_best_effort().unwrap();
        assert_eq!((listed.items.len(), listed.changing, kernel.faults_left()), (150, true, 0));
        let (bad, other): (Vec<_>, Vec<_>) = listed.errors.into_iter().partition(is_bad_item);
        assert_eq!((bad.len(), other.len()), (1, usize::from(lost)), "{other:?}");
        assert!(other.iter().all(Error::is_timed_out), "{other:?}");
    }
}

#[test]
fn a_quiet_table_is_listed_the_same_by_both() {
    let (_kernel, mut ipvs) = kernel();
    let table = ipvs.table_best_effort().unwrap();
    assert_eq!((table.items, table.changing, table.errors.len()), (ipvs.table().unwrap(), false, 0));
    assert!(ipvs.destinations_best_effort(service(99).key).unwrap_err().is_not_found());
}
