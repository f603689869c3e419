//! Malformed objects after a restart: no last state of them is in memory, only in the kernel.

use std::sync::mpsc::{self, Receiver};

use serde_json::{Value, json};
use service_proxy::source::{Known, Update, follow};

use crate::cluster::one;
use crate::follow::event;
use crate::lab::{A, balanced, list, merge, named, objects, ready, service, slice_of};
use crate::proxy::{Lab, MIN_SYNC, NODE, watch};
use crate::server::{NODES, SERVICES, SLICES, Server, Watch, version};

/// Services, destinations, virtual IPs, and members of sets.
fn everything(lab: &Lab) -> Vec<String> {
    let mut lines = lab.table();
    let (mut ipset, mut vips) = (lab.kernel.ipset(), lab.kernel.vips());
    for name in ipset.names().unwrap() {
        let set = ipset.set(name).unwrap().set;
        lines.extend(ipset.members(&set).unwrap().iter().map(|member| format!("{name} {member}")));
    }
    let binder = crate::proxy::options(&[]).node(&objects([])).unwrap().binder().unwrap();
    lines.extend(vips.virtual_ips(&binder).unwrap().iter().map(|vip| format!("bound {vip}")));
    lines.sort();
    lines
}

/// The parts of it with this text.
fn parts(lab: &Lab, text: &str) -> Vec<String> {
    everything(lab).into_iter().filter(|line| line.contains(text)).collect()
}

fn web() -> Value {
    let spec = json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["198.51.100.64/26"]});
    balanced(service(spec), json!({"ip": "203.0.113.10"}))
}

fn api() -> Value {
    named("api", "10.96.0.11", json!({}))
}

fn pods_of_api(address: &str) -> Value {
    slice_of("api", "api-x", json!([ready(address, "node-a")]))
}

/// The same object with a value of a wrong type.
fn malformed(mut object: Value) -> Value {
    let part = if object["kind"] == "Service" { &mut object["spec"] } else { &mut object };
    merge(part, json!({"ports": "eighty"}));
    object
}

/// The node of a proxy that applied these objects and ended.
fn left(values: impl IntoIterator<Item = Value>) -> Lab {
    let mut lab = Lab::with(&NODE);
    lab.proxy.take(Update::All(objects(values)), lab.now);
    assert!(lab.apply());
    lab.restarted()
}

/// A proxy that starts on this node, and is due to apply these lists.
fn listed(lab: &mut Lab, services: &[Value], slices: &[Value]) -> (Server, Receiver<Update>, [Watch; 2]) {
    let server = Server::start();
    let updates = watch(&server, None, Known::new(true, false));
    server.list(SERVICES, "100", services);
    lab.take(&updates);
    server.list(SLICES, "100", slices);
    lab.take(&updates);
    let watches = [server.watch(SERVICES, "100"), server.watch(SLICES, "100")];
    (server, updates, watches)
}

const KEPT: &str = "services and endpoints of an earlier run are kept while an object cannot be read: Service shop/web";

#[test]
fn a_malformed_service_keeps_its_state_over_a_restart() {
    let gone = named("gone", "10.96.0.12", json!({}));
    let mut lab = left([web(), api(), gone, one("10.244.1.11"), pods_of_api("10.244.1.21")]);
    let before = everything(&lab);
    let of_web = [A, "203.0.113.10", "10.244.1.11"].map(|text| parts(&lab, text));
    assert!(of_web.iter().all(|lines| lines.len() > 2), "{of_web:?}");
    let slices = [one("10.244.1.11"), pods_of_api("10.244.1.21")];
    let (_server, updates, [mut services, mut slices]) = listed(&mut lab, &[malformed(web()), api()], &slices);
    assert!(lab.apply());
    assert_eq!(everything(&lab), before);
    assert_eq!(lab.count(KEPT), 1, "{}", lab.text());
    // Other objects are followed as ever.
    slices.send("MODIFIED", version(pods_of_api("10.244.1.22"), "101"));
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(parts(&lab, "10.96.0.11:80/tcp"), ["10.96.0.11:80/tcp 10.244.1.22:8080=1"]);
    services.send("DELETED", version(api(), "102"));
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(parts(&lab, "10.96.0.11"), [""; 0]);
    assert_eq!([A, "203.0.113.10", "10.244.1.11"].map(|text| parts(&lab, text)), of_web);
    // Nothing is kept once the object can be read.
    assert!(!parts(&lab, "10.96.0.12").is_empty());
    services.send("MODIFIED", version(service(json!({})), "103"));
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1")]);
    assert_eq!(parts(&lab, "203.0.113.10"), [""; 0]);
    assert_eq!(parts(&lab, "10.96.0.12"), [""; 0]);
}

#[test]
fn a_malformed_service_that_is_deleted_ends() {
    let mut lab = left([web(), api(), one("10.244.1.11"), pods_of_api("10.244.1.21")]);
    let slices = [one("10.244.1.11"), pods_of_api("10.244.1.21")];
    let (server, updates, [mut services, _slices]) = listed(&mut lab, &[malformed(web()), api()], &slices);
    assert!(lab.apply());
    assert!(!parts(&lab, A).is_empty());
    // A list that names it still keeps it.
    services.error(410, "gone");
    server.list(SERVICES, "200", &[malformed(web()), api()]);
    lab.take_until(&updates, "answers again");
    assert!(lab.apply());
    assert!(!parts(&lab, A).is_empty());
    server.watch(SERVICES, "200").send("DELETED", version(malformed(web()), "201"));
    lab.take(&updates);
    assert!(lab.apply());
    assert_eq!(lab.table(), ["10.96.0.11:80/tcp 10.244.1.21:8080=1"]);
    assert_eq!(parts(&lab, A), [""; 0]);
}

#[test]
fn a_malformed_slice_keeps_its_endpoints_over_a_restart() {
    let other = |address: &str| slice_of("web", "web-other", json!([ready(address, "node-a")]));
    let mut lab = left([service(json!({})), one("10.244.1.11"), other("10.244.1.12")]);
    let before = everything(&lab);
    let slices = [malformed(one("10.244.1.11")), other("10.244.1.12")];
    let (_server, updates, [_services, mut slices]) = listed(&mut lab, &[service(json!({}))], &slices);
    assert!(lab.apply());
    assert_eq!(everything(&lab), before);
    // An endpoint of another slice ends.
    let table = |lab: &Lab, to: &[&str]| {
        let to: String = to.iter().map(|to| format!(" 10.244.1.{to}:8080=1")).collect();
        assert_eq!(lab.table(), [format!("{A}:80/tcp{to}")]);
    };
    slices.send("MODIFIED", version(other("10.244.1.13"), "101"));
    lab.take(&updates);
    assert!(lab.apply());
    table(&lab, &["13", "11"]);
    // An endpoint that another slice has had is not kept any more.
    for (address, version_of, expected) in [("10.244.1.11", "102", &["11"][..]), ("10.244.1.14", "103", &["14"][..])] {
        slices.send("MODIFIED", version(other(address), version_of));
        lab.take(&updates);
        assert!(lab.apply());
        table(&lab, expected);
    }
}

#[test]
fn a_malformed_node_keeps_its_node_ports_over_a_restart() {
    let spec = json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    let mut lab = left([service(spec.clone()), one("10.244.1.11")]);
    let before = everything(&lab);
    assert_eq!(parts(&lab, "192.0.2.11:30080/tcp").len(), 1);
    lab = Lab::on(lab.kernel, &["--drain", "0"], crate::proxy::SYNC_PERIOD);
    lab.proxy = lab.proxy.awaiting_node();
    let server = Server::start();
    let updates = watch(&server, Some("node-a"), Known::new(true, false));
    server.list(SERVICES, "100", &[service(spec)]);
    server.list(SLICES, "100", &[one("10.244.1.11")]);
    let node = json!({"metadata": {"name": "node-a", "resourceVersion": "90"}, "status": {"addresses": "192.0.2.11"}});
    server.next(NODES).list(json!({"resourceVersion": "100"}), &[node]);
    (0..3).for_each(|_| lab.take(&updates));
    assert!(lab.apply());
    assert_eq!(everything(&lab), before);
}

#[test]
fn a_malformed_event_keeps_its_state_over_a_restart() {
    let slices = [one("10.244.1.11"), pods_of_api("10.244.1.21")];
    let lists = list([malformed(web()), api()].into_iter().chain(slices.clone()));
    let events = [malformed(web()), api()].into_iter().chain(slices.clone()).map(|object| event("ADDED", object));
    for text in [lists, events.collect()] {
        let mut lab = left([web(), api()].into_iter().chain(slices.clone()));
        let before = everything(&lab);
        lab.proxy = lab.proxy.settling();
        let (updates, received) = mpsc::channel();
        follow::stream(text.as_bytes(), Known::new(true, false), &updates);
        let mut all: Vec<_> = received.try_iter().collect();
        all.pop();
        all.into_iter().for_each(|update| _ = lab.proxy.take(update, lab.now));
        lab.now += MIN_SYNC * 20;
        assert!(lab.apply());
        assert_eq!(everything(&lab), before);
        assert_eq!(lab.count(KEPT), 1, "{}", lab.text());
    }
}
