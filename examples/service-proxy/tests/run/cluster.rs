//! Lists and watches of an API server.

use std::sync::mpsc::Receiver;

use serde_json::{Value, json};
use service_proxy::source::{Known, Update};

use crate::lab::{A, named, ready, service, slice};
use crate::proxy::{Lab, watch};
use crate::server::{NODES, SERVICES, SLICES, Server, Watch, version};

/// A slice of `shop/web` with one ready endpoint.
pub(crate) fn one(address: &str) -> Value {
    slice(json!([ready(address, "node-a")]))
}

pub(crate) fn known() -> Known {
    Known::new(false, false)
}

/// A cluster with `shop/web`, listed and applied.
pub(crate) fn listed(server: &Server) -> (Lab, Receiver<Update>, Watch, Watch) {
    let mut lab = Lab::new();
    let updates = watch(server, None, known());
    server.list(SERVICES, "100", &[service(json!({}))]);
    server.list(SLICES, "100", &[one("10.244.1.11")]);
    lab.take(&updates);
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1")]);
    (lab, updates, server.watch(SERVICES, "100"), server.watch(SLICES, "100"))
}

#[test]
fn nothing_is_applied_before_both_lists_are_complete() {
    let server = Server::start();
    let mut lab = Lab::new();
    let updates = watch(&server, None, known());
    let page = server.next(SERVICES);
    page.list(json!({"resourceVersion": "100", "continue": "page-2"}), &[service(json!({}))]);
    let page = server.next(SERVICES);
    assert!(page.target.contains("continue=page-2"), "{}", page.target);
    page.list(json!({"resourceVersion": "100"}), &[named("api", "10.96.0.11", json!({}))]);
    lab.take(&updates);
    assert!(!lab.apply());
    server.list(SLICES, "101", &[one("10.244.1.11")]);
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1"), "10.96.0.11:80/tcp".to_owned()]);
}

#[test]
fn events_change_single_objects() {
    let server = Server::start();
    let (mut lab, updates, mut services, mut slices) = listed(&server);
    services.send("ADDED", version(named("api", "10.96.0.11", json!({})), "110"));
    lab.take(&updates);
    slices.send("MODIFIED", version(one("10.244.1.12"), "111"));
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1"), "10.96.0.11:80/tcp".to_owned()]);
    services.send("DELETED", version(named("api", "10.96.0.11", json!({})), "112"));
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1")]);
}

#[test]
fn a_watch_that_ends_or_is_cut_continues_behind_its_last_bookmark() {
    let server = Server::start();
    let (mut lab, updates, _services, mut slices) = listed(&server);
    slices.bookmark("EndpointSlice", "150");
    slices.end();
    let mut slices = server.watch(SLICES, "150");
    slices.send("MODIFIED", version(one("10.244.1.12"), "160"));
    lab.take(&updates);
    drop(slices);
    let mut slices = server.watch(SLICES, "160");
    slices.send("MODIFIED", version(one("10.244.1.13"), "161"));
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.13:8080=1")]);
}

#[test]
fn status_410_lists_again_and_the_new_list_replaces() {
    let server = Server::start();
    let (mut lab, updates, mut services, _slices) = listed(&server);
    services.error(410, "too old resource version: 100 (400)");
    lab.take_until(&updates, "too old resource version");
    assert!(!lab.apply());
    server.list(SERVICES, "400", &[named("api", "10.96.0.11", json!({}))]);
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table(), ["10.96.0.11:80/tcp"]);
}

#[test]
fn a_list_whose_next_page_has_expired_begins_anew() {
    let server = Server::start();
    let mut lab = Lab::new();
    let updates = watch(&server, None, known());
    server.list(SLICES, "100", &[one("10.244.1.11")]);
    lab.take(&updates);
    server.next(SERVICES).list(json!({"resourceVersion": "100", "continue": "page-2"}), &[service(json!({}))]);
    server.next(SERVICES).refuse(410, "the continue parameter is too old");
    lab.take_until(&updates, "is too old");
    assert!(!lab.apply());
    server.list(SERVICES, "200", &[named("api", "10.96.0.11", json!({}))]);
    lab.take_until(&updates, "answers again");
    assert!(lab.apply());
    assert_eq!(lab.table(), ["10.96.0.11:80/tcp"]);
}

#[test]
fn zone_and_addresses_are_those_of_the_node_object_and_follow_it() {
    let server = Server::start();
    let mut lab = Lab::with(&["--drain", "0"]);
    lab.proxy = lab.proxy.awaiting_node();
    let updates = watch(&server, Some("node-a"), known());
    let node = |address: &str| {
        json!({
            "kind": "Node", "apiVersion": "v1",
            "metadata": {
                "name": "node-a", "resourceVersion": "90", "labels": {"topology.kubernetes.io/zone": "zone-1"},
            },
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        })
    };
    server.list(
        SERVICES,
        "100",
        &[service(json!({
            "type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
        }))],
    );
    server.list(SLICES, "100", &[one("10.244.1.11")]);
    lab.take(&updates);
    lab.take(&updates);
    assert!(!lab.apply());
    let request = server.next(NODES);
    assert!(request.target.contains("fieldSelector=metadata.name%3Dnode-a"), "{}", request.target);
    request.list(json!({"resourceVersion": "100"}), &[node("192.0.2.11")]);
    lab.take(&updates);
    assert!(lab.apply());
    let at = |address: &str| format!("{address}:30080/tcp 10.244.1.11:8080=1");
    assert_eq!(lab.table()[1], at("192.0.2.11"));
    server.watch(NODES, "100").send("MODIFIED", node("192.0.2.12"));
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table()[1..], [at("192.0.2.12")]);
}

#[test]
fn an_empty_list_of_nodes_changes_nothing_while_services_exist() {
    let server = Server::start();
    let mut lab = Lab::with(&["--drain", "0"]);
    lab.proxy = lab.proxy.awaiting_node();
    let updates = watch(&server, Some("node-a"), Known::new(true, false));
    server.list(SERVICES, "100", &[service(json!({}))]);
    server.list(SLICES, "100", &[one("10.244.1.11")]);
    lab.take(&updates);
    lab.take(&updates);
    // Without its Node object, the node has no addresses for node ports.
    server.next(NODES).list(json!({"resourceVersion": "100"}), &[]);
    lab.take_until(&updates, "the list of Nodes is empty, while services exist");
    assert!(!lab.apply());
    let node = json!({"metadata": {"name": "node-a", "resourceVersion": "90"}});
    server.next(NODES).list(json!({"resourceVersion": "101"}), &[node]);
    lab.take_until(&updates, "watch of Nodes: the API server answers again");
    assert!(lab.apply());
}
