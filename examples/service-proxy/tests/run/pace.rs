//! The number of applies, and the last content.

use std::io::ErrorKind;
use std::time::Duration;

use lvs::testing::Fault;
use serde_json::json;
use service_proxy::objects::{Kind, Object};
use service_proxy::run::pace::{PAUSE, Pace};
use service_proxy::run::status::Status;
use service_proxy::source::Update;

use crate::cluster::one;
use crate::lab::{A, objects, service};
use crate::proxy::{Lab, MIN_SYNC, SYNC_PERIOD};

/// The only object of a value.
fn object(value: serde_json::Value) -> Object {
    objects([value]).into_objects().next().unwrap()
}

fn lists(lab: &mut Lab) {
    for (kind, value) in [(Kind::Service, service(json!({}))), (Kind::Slice, one("10.244.1.11"))] {
        lab.proxy.take(Update::List { kind, objects: vec![object(value)], kept: Vec::new() }, lab.now);
    }
}

#[test]
fn a_thousand_changes_in_a_second_are_eleven_applies_and_the_last_content() {
    let mut lab = Lab::new();
    lists(&mut lab);
    let (mut applies, end) = (0, lab.now + Duration::from_secs(1));
    for change in 0..1000_u32 {
        let address = format!("10.244.{}.{}", change / 250, 1 + change % 250);
        lab.proxy.take(Update::Put(object(one(&address))), lab.now);
        if lab.proxy.due().is_some_and(|due| due <= lab.now) {
            lab.proxy.sync(lab.now);
            applies += 1;
        }
        lab.now += Duration::from_millis(1);
    }
    assert_eq!(applies, 10);
    // The rest of the changes is due at the end of the second.
    assert_eq!(lab.proxy.due(), Some(end));
    lab.proxy.sync(end);
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.3.250:8080=1")]);
    assert_eq!(lab.proxy.due(), Some(end + SYNC_PERIOD));
}

#[test]
fn the_first_change_is_applied_at_once() {
    let mut lab = Lab::new();
    assert_eq!(lab.proxy.due(), None);
    lists(&mut lab);
    assert_eq!(lab.proxy.due(), Some(lab.now));
    lab.proxy.sync(lab.now);
    lab.now += SYNC_PERIOD / 2;
    lab.proxy.take(Update::Put(object(one("10.244.1.12"))), lab.now);
    assert_eq!(lab.proxy.due(), Some(lab.now));
}

#[test]
fn a_failed_apply_is_repeated_and_reported_once() {
    let mut lab = Lab::new();
    lists(&mut lab);
    const EPERM: i32 = 1;
    for seconds in [1, 2, 4] {
        lab.kernel.disturb(0, Fault::Refused(EPERM));
        lab.proxy.sync(lab.now);
        assert_eq!(lab.proxy.due(), Some(lab.now + Duration::from_secs(seconds)));
        lab.now += Duration::from_secs(seconds);
    }
    let text = std::io::Error::from(ErrorKind::PermissionDenied).to_string();
    assert_eq!(lab.text().lines().count(), 1, "{text}: {}", lab.text());
    lab.proxy.sync(lab.now);
    assert!(lab.text().ends_with("the kernel's state is the desired one again\n"), "{}", lab.text());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1")]);
}

#[test]
fn drains_are_reaped_when_the_director_wants_to_be_called() {
    let mut lab = Lab::with(&["--zone", "zone-1", "--node-ip", "192.0.2.11", "--drain", "60"]);
    lists(&mut lab);
    lab.proxy.sync(lab.now);
    let key: lvs::ipvs::ServiceKey = format!("{A}:80/tcp").parse().unwrap();
    lab.kernel.set_connections(key, "10.244.1.11:8080".parse().unwrap(), 1, 0, 0);
    lab.now += MIN_SYNC;
    lab.proxy.take(Update::Put(object(one("10.244.1.12"))), lab.now);
    lab.proxy.sync(lab.now);
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1 10.244.1.11:8080=0")]);
    lab.kernel.set_connections(key, "10.244.1.11:8080".parse().unwrap(), 0, 0, 0);
    lab.now = lab.proxy.due().unwrap();
    lab.proxy.sync(lab.now);
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1")]);
}

/// The loop sleeps until `due`: a time that is always over would make it spin.
#[test]
fn applies_without_a_change_are_apart_whatever_the_options_are() {
    // The clock cannot represent the end of this drain.
    let mut lab = Lab::with(&["--zone", "zone-1", "--node-ip", "192.0.2.11", "--drain", "18446744073709551615"]);
    lists(&mut lab);
    lab.proxy.sync(lab.now);
    let key: lvs::ipvs::ServiceKey = format!("{A}:80/tcp").parse().unwrap();
    lab.kernel.set_connections(key, "10.244.1.11:8080".parse().unwrap(), 1, 0, 0);
    lab.proxy.take(Update::Put(object(one("10.244.1.12"))), lab.now);
    for _ in 0..3 {
        lab.now += MIN_SYNC;
        lab.proxy.sync(lab.now);
        let due = lab.proxy.due().unwrap();
        assert!(due >= lab.now + PAUSE, "{:?}", due.checked_duration_since(lab.now));
        lab.now = due;
    }
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1 10.244.1.11:8080=0")]);

    let now = lab.now;
    let mut pace = Pace::new(Duration::ZERO, Duration::ZERO);
    pace.done(now, Some(now));
    assert_eq!(pace.due(), Some(now + PAUSE));
    pace.failed(now);
    assert_eq!(pace.due(), Some(now + PAUSE));
    // The shortest time between two changes is the administrator's choice.
    pace.changed(now);
    assert_eq!(pace.due(), Some(now));
    let mut pace = Pace::new(Duration::MAX, Duration::MAX);
    pace.done(now, None);
    assert_eq!(pace.due(), None);
    pace.failed(now);
    assert_eq!(pace.due(), Some(now + Duration::from_secs(1)));
    assert!(!Status::new(Duration::MAX).health().good);
}
