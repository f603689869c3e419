//! Peers that are slow, never end or always start again: every operation ends at its deadline, in bounded memory. No real
//! time passes.

use std::time::Duration;

use lvs::ipset::{Ipset, NewSet};
use lvs::ipvs::{Change, Ipvs, Scheduler, Service, ServiceKey};
use lvs::testing::{Fault, Kernel, Reply};
use lvs::{Cause, Options, Result};

const SECOND: Duration = Duration::from_secs(1);

fn options(deadline: Duration) -> Options {
    let mut options = Options::default();
    options.deadline = deadline;
    options
}

fn service(port: u16) -> Service {
    Service::tcp(([10, 96, 0, 1], port).into(), Scheduler::WRR)
}

fn key() -> ServiceKey {
    service(1).key
}

/// A kernel with some services and a set, and the time that its clients have.
fn kernel(options: &Options) -> Kernel {
    let kernel = Kernel::new().with_options(options);
    let mut ipvs = kernel.ipvs().unwrap();
    ipvs.batch((1..=30).map(|port| Change::AddService(service(port)))).unwrap();
    kernel.ipset().create("block".parse().unwrap(), &NewSet::<lvs::ipset::HashIp>::ipv4()).unwrap();
    kernel
}

type Asked = (&'static str, fn(&mut Ipvs) -> Result<()>);

const ASKED: [Asked; 8] = [
    ("services", |ipvs| ipvs.services().map(drop)),
    ("table", |ipvs| ipvs.table().map(drop)),
    ("destinations", |ipvs| ipvs.destinations(key()).map(drop)),
    ("service", |ipvs| ipvs.service(key()).map(drop)),
    ("daemons", |ipvs| ipvs.daemons().map(drop)),
    ("change", |ipvs| ipvs.zero(key())),
    ("update", |ipvs| ipvs.update_service(key(), |service| service.scheduler = Scheduler::SH)),
    ("batch", |ipvs| ipvs.batch((1..=5).map(|port| Change::Zero(service(port).key))).map_err(Into::into)),
];

#[test]
fn an_endless_answer_ends_at_the_deadline() {
    for (name, ask) in ASKED {
        let kernel = kernel(&options(100 * SECOND));
        let mut ipvs = kernel.ipvs().unwrap();
        let before = kernel.elapsed();
        kernel.disturb(0, Fault::Endless(SECOND));
        match ask(&mut ipvs) {
            // A single datagram answers all others.
            Ok(()) => assert!(!["services", "table"].contains(&name), "{name}"),
            Err(error) => assert!(error.is_timed_out(), "{name}: {error}"),
        }
        // From the 64th datagram on the clock is looked at.
        assert!(kernel.elapsed() - before <= 4 * 64 * SECOND + 200 * SECOND, "{name}: {:?}", kernel.elapsed());
        assert_eq!(kernel.faults_left(), 0);
    }
}

#[test]
fn each_wait_is_shorter_than_the_timeout_and_all_together_than_the_deadline() {
    // 31 services come in several datagrams, each of which takes 20 of the 30 seconds of the timeout.
    let kernel = kernel(&options(70 * SECOND));
    for (name, list) in [ASKED[0], ASKED[1]] {
        let mut ipvs = kernel.ipvs().unwrap();
        let before = kernel.elapsed();
        for position in 0..100 {
            kernel.disturb(position, Fault::Slow(20 * SECOND));
        }
        let error = list(&mut ipvs).unwrap_err();
        assert!(error.is_timed_out(), "{name}: {error}");
        assert_eq!(kernel.elapsed() - before, 70 * SECOND, "{name}");
    }
    let kernel = self::kernel(&options(Duration::ZERO));
    let mut ipvs = kernel.ipvs().unwrap();
    (0..100).for_each(|position| kernel.disturb(position, Fault::Slow(20 * SECOND)));
    assert_eq!(ipvs.services().unwrap().len(), 30);
    kernel.disturb(0, Fault::Slow(31 * SECOND));
    let before = kernel.elapsed();
    while kernel.faults_left() > 0 {
        _ = ipvs.zero_all();
    }
    assert!(kernel.elapsed() >= before);
}

#[test]
fn a_stream_has_its_deadline_for_each_item() {
    let kernel = kernel(&options(25 * SECOND));
    let mut ipvs = kernel.ipvs().unwrap();
    (0..100).for_each(|position| kernel.disturb(position, Fault::Slow(20 * SECOND)));
    let services: Vec<_> = ipvs.stream_services().unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(services.len(), 30);
    assert!(kernel.elapsed() > 50 * SECOND);
}

#[test]
fn a_listing_that_never_agrees_ends_at_the_deadline() {
    let kernel = kernel(&options(50 * SECOND));
    let mut ipvs = kernel.ipvs().unwrap();
    for position in 0..200 {
        kernel.disturb(2 * position, Fault::Slow(3 * SECOND));
        kernel.disturb(2 * position + 1, Fault::Interrupted);
    }
    let before = kernel.elapsed();
    let error = ipvs.services().unwrap_err();
    assert!(error.is_timed_out() || error.is_interrupted(), "{error}");
    assert!(kernel.elapsed() - before <= 50 * SECOND);
}

#[test]
fn an_abandoned_listing_is_read_out_within_the_deadline_and_the_client_is_usable() {
    let kernel = kernel(&options(100 * SECOND));
    let mut ipvs = kernel.ipvs().unwrap();
    kernel.disturb(0, Fault::Endless(SECOND));
    let mut services = ipvs.stream_services().unwrap();
    assert!(services.next().unwrap().is_ok());
    drop(services);
    // The next dump reads on in the endless one, and another attempt does, too.
    for _ in 0..2 {
        let before = kernel.elapsed();
        assert!(ipvs.services().unwrap_err().is_timed_out());
        assert!(kernel.elapsed() - before <= 300 * SECOND);
    }
    // A slow one is over at some time.
    let mut ipvs = kernel.ipvs().unwrap();
    let mut services = ipvs.stream_services().unwrap();
    assert!(services.next().unwrap().is_ok());
    drop(services);
    assert_eq!(ipvs.services().unwrap().len(), 30);
}

#[test]
fn dropping_a_listing_of_sets_is_bounded() {
    let kernel = kernel(&options(100 * SECOND));
    let mut ipset: Ipset = kernel.ipset();
    kernel.disturb(0, Fault::Endless(SECOND));
    let mut listing = ipset.stream_contents(None).unwrap();
    assert!(listing.next().unwrap().is_ok());
    let before = kernel.elapsed();
    drop(listing);
    assert!(kernel.elapsed() - before <= 300 * SECOND);
    assert!(ipset.names().unwrap_err().is_timed_out());
    assert_eq!(kernel.ipset().names().unwrap().len(), 1);
}

#[test]
fn a_collected_listing_is_bounded() {
    let mut options = options(Duration::ZERO);
    options.largest_listing = 100_000;
    for (name, ask) in ASKED.into_iter().take(1) {
        let kernel = kernel(&options);
        let mut ipvs = kernel.ipvs().unwrap();
        kernel.disturb(0, Fault::Endless(Duration::ZERO));
        let error = ask(&mut ipvs).unwrap_err();
        assert!(matches!(error.cause(), Cause::ListingTooLong { limit: 100_000 }), "{name}: {error}");
    }
    let kernel = kernel(&options);
    let mut ipset = kernel.ipset();
    kernel.disturb(0, Fault::Endless(Duration::ZERO));
    assert!(matches!(ipset.names().unwrap_err().cause(), Cause::ListingTooLong { .. }));
}

#[test]
fn an_overrun_of_an_endless_peer_is_emptied_within_the_deadline() {
    let endless = Reply::Endless(SECOND, vec![0; 20]);
    let kernel = Kernel::script(move |_| vec![Reply::Failure(105), endless.clone()]).with_options(&options(SECOND));
    assert!(matches!(kernel.ipvs().unwrap_err().cause(), Cause::Overrun));
    assert!(kernel.elapsed() <= 200 * SECOND);
}

/// Numbers at the ends of their ranges, wherever a test may put them.
#[test]
fn extreme_values_are_survived() {
    for number in [i32::MIN, i32::MIN + 1, -1, 0, i32::MAX] {
        for fault in [Fault::Ended(number), Fault::Refused(number), Fault::Unsent(number), Fault::Failing(number)] {
            for (_, ask) in ASKED {
                let kernel = kernel(&Options::default());
                let mut ipvs = kernel.ipvs().unwrap();
                kernel.disturb(0, fault);
                _ = ask(&mut ipvs);
            }
        }
    }
    for size in [0, 1, usize::MAX] {
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            for fault in [
                Fault::Cut(size),
                Fault::Altered(size, 0xff),
                Fault::Slow(time),
                Fault::Endless(time.clamp(SECOND, 1000 * SECOND)),
            ] {
                let mut options = Options::default();
                (options.timeout, options.deadline) = (time, SECOND);
                (options.largest_listing, options.receive_buffer) = (size, size);
                let kernel = Kernel::new().with_options(&options);
                kernel.disturb(size, fault);
                kernel.disturb(0, fault);
                if let Ok(mut ipvs) = kernel.ipvs() {
                    ASKED.into_iter().for_each(|(_, ask)| drop(ask(&mut ipvs)));
                }
            }
        }
    }
}
