//! Answers of an API server that must not change anything.

use lvs::ipvs::{Scheduler, Service};
use serde_json::{Value, json};
use service_proxy::source::{Known, Update};

use crate::cluster::{known, listed, one};
use crate::lab::{A, named, objects, service};
use crate::proxy::{Lab, watch};
use crate::server::{SERVICES, SLICES, Server, version};

#[test]
fn an_empty_list_changes_nothing_while_services_exist() {
    let server = Server::start();
    let (mut lab, updates, mut services, _slices) = listed(&server);
    services.error(410, "gone");
    for version in ["200", "201", "202"] {
        server.list(SERVICES, version, &[]);
    }
    server.list(SERVICES, "203", &[named("api", "10.96.0.11", json!({}))]);
    lab.take_until(&updates, "the list of Services is empty");
    assert!(!lab.apply());
    lab.take_until(&updates, "answers again");
    assert!(lab.apply());
    assert_eq!(lab.table(), ["10.96.0.11:80/tcp"]);
    assert_eq!(lab.count("is empty"), 1);
}

#[test]
fn an_empty_first_list_is_refused_if_an_earlier_run_left_services() {
    let server = Server::start();
    let mut lab = Lab::new();
    let updates = watch(&server, None, Known::new(true, false));
    server.list(SERVICES, "100", &[service(json!({}))]);
    lab.take(&updates);
    server.list(SLICES, "100", &[]);
    lab.take_until(&updates, "the list of EndpointSlices is empty");
    assert!(!lab.apply());
}

#[test]
fn an_empty_list_is_accepted_on_request() {
    let server = Server::start();
    let mut lab = Lab::new();
    let updates = watch(&server, None, Known::new(true, true));
    server.list(SERVICES, "100", &[]);
    server.list(SLICES, "100", &[]);
    lab.take(&updates);
    lab.take(&updates);
    assert!(lab.apply());
    assert!(lab.table().is_empty());
}

#[test]
fn an_error_event_changes_nothing() {
    let server = Server::start();
    let (mut lab, updates, _services, mut slices) = listed(&server);
    slices.error(500, "etcd is away");
    lab.take_until(&updates, "etcd is away");
    assert!(!lab.apply());
    slices.send("MODIFIED", version(one("10.244.1.12"), "120"));
    lab.take_until(&updates, "answers again");
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1")]);
}

#[test]
fn a_truncated_list_changes_nothing_and_is_reported_once() {
    let server = Server::start();
    let mut lab = Lab::new();
    let updates = watch(&server, None, known());
    server.list(SERVICES, "100", &[service(json!({}))]);
    lab.take(&updates);
    let list =
        json!({"kind": "EndpointSliceList", "metadata": {"resourceVersion": "100"}, "items": [one("10.244.1.11")]});
    for _ in 0..3 {
        server.next(SLICES).cut(&list);
    }
    lab.take_until(&updates, "watch of EndpointSlices");
    assert!(!lab.apply());
    server.next(SLICES).slowly(&list);
    lab.take(&updates);
    lab.take_until(&updates, "answers again");
    assert_eq!(lab.count("watch of EndpointSlices"), 2, "{}", lab.text());
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1")]);
}

#[test]
fn invalid_json_in_a_watch_changes_nothing() {
    let server = Server::start();
    let (mut lab, updates, mut services, mut slices) = listed(&server);
    slices.raw("{\"type\": \"MODIFIED\", \"object\": {]\n");
    lab.take_until(&updates, "watch of EndpointSlices");
    assert!(!lab.apply());
    services.send("ADDED", version(named("api", "10.96.0.11", json!({})), "110"));
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table()[0], format!("{A}:80/tcp 10.244.1.11:8080=1"));
}

#[test]
fn a_refusal_is_reported_once_and_asked_again() {
    let server = Server::start();
    let mut lab = Lab::new();
    let updates = watch(&server, None, known());
    for _ in 0..3 {
        server.next(SLICES).refuse(404, "the server could not find the requested resource");
    }
    server.list(SLICES, "100", &[one("10.244.1.11")]);
    lab.take_until(&updates, "answers again");
    assert_eq!(lab.count("could not find"), 1, "{}", lab.text());
}

/// Objects with a fault: the field, and a value of a wrong type.
fn malformed(mut object: Value, field: &str) -> Value {
    object[field] = json!([{"port": "eighty"}]);
    object
}

#[test]
fn a_malformed_object_costs_only_itself() {
    let server = Server::start();
    let (mut lab, updates, mut services, _slices) = listed(&server);
    services.send("MODIFIED", version(malformed(service(json!({})), "spec"), "110"));
    lab.take_until(&updates, "Service shop/web is malformed");
    assert!(!lab.apply());
    services.send("ADDED", version(named("api", "10.96.0.11", json!({})), "111"));
    lab.take(&updates);
    assert!(lab.apply());
    let both = [format!("{A}:80/tcp 10.244.1.11:8080=1"), "10.96.0.11:80/tcp".to_owned()];
    assert_eq!(lab.table(), both);
    // In a list, too.
    services.error(410, "gone");
    let api = named("api", "10.96.0.11", json!({}));
    server.list(SERVICES, "200", &[malformed(service(json!({})), "spec"), api]);
    lab.take_until(&updates, "answers again");
    assert!(lab.apply());
    assert_eq!(lab.table(), both);
}

#[test]
fn a_slice_of_v1beta1_costs_only_itself() {
    let server = Server::start();
    let (mut lab, updates, _services, mut slices) = listed(&server);
    let mut old = version(one("10.244.1.12"), "110");
    old["apiVersion"] = "discovery.k8s.io/v1beta1".into();
    slices.send("MODIFIED", old);
    lab.take_until(&updates, "EndpointSlice shop/web-2j4jc is malformed");
    assert!(!lab.apply());
    assert_eq!(lab.count("version discovery.k8s.io/v1beta1 is not supported"), 1);
}

#[test]
fn services_of_others_are_taken_over_at_the_first_apply_if_asked() {
    let external = || [service(json!({"externalIPs": ["198.51.100.7"]})), one("10.244.1.11")];
    let foreign = |lab: &Lab| {
        let other = Service::tcp("198.51.100.7:80".parse().unwrap(), Scheduler::SH);
        lab.kernel.ipvs().unwrap().add_service(other).unwrap();
    };
    let sorted = |lab: &Lab| {
        let mut table = lab.table();
        table.sort();
        table
    };
    for adopts in [false, true] {
        let mut lab = Lab::new();
        foreign(&lab);
        if adopts {
            lab.proxy = lab.proxy.adopting();
        }
        lab.proxy.take(Update::All(objects(external())), lab.now);
        assert!(lab.apply());
        let own = if adopts { "198.51.100.7:80/tcp 10.244.1.11:8080=1" } else { "198.51.100.7:80/tcp" };
        assert_eq!(sorted(&lab), [&format!("{A}:80/tcp 10.244.1.11:8080=1"), own]);
    }
    // Only at the first one.
    let mut lab = Lab::new();
    lab.proxy = lab.proxy.adopting();
    lab.proxy.take(Update::All(objects([service(json!({})), one("10.244.1.11")])), lab.now);
    assert!(lab.apply());
    foreign(&lab);
    lab.proxy.take(Update::All(objects(external())), lab.now);
    assert!(lab.apply());
    assert_eq!(sorted(&lab), [&format!("{A}:80/tcp 10.244.1.11:8080=1"), "198.51.100.7:80/tcp"]);
}
