//! Files that change, and standard input.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, process, slice};

use lvs::testing::Kernel;
use serde_json::{Value, json};
use service_proxy::source::{Known, Update, follow};

use crate::cluster::{known, one};
use crate::lab::{A, list, named, service};
use crate::proxy::{Lab, NODE};
use crate::server::PATIENCE;

pub(crate) fn event(kind: &str, object: Value) -> String {
    // `kubectl` prints events like this.
    serde_json::to_string_pretty(&json!({"type": kind, "object": object})).unwrap()
}

/// A lab that read this stream to its end.
fn read(text: &str, known: Known) -> Lab {
    follow(Lab::new(), text, known)
}

fn follow(mut lab: Lab, text: &str, known: Known) -> Lab {
    lab.proxy = lab.proxy.settling();
    let (updates, received) = mpsc::channel();
    follow::stream(text.as_bytes(), known, &updates);
    received.try_iter().for_each(|update| _ = lab.proxy.take(update, lab.now));
    lab
}

/// A list of one kind, as the API server writes it.
fn typed(kind: &str, next: &str, items: &[Value]) -> String {
    let version = if kind == "ServiceList" { "v1" } else { "discovery.k8s.io/v1" };
    let metadata = json!({"resourceVersion": "1", "continue": next});
    json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}).to_string()
}

/// The mark after the initial events.
fn mark(kind: &str) -> String {
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    event("BOOKMARK", json!({"kind": kind, "metadata": {"resourceVersion": "100", "annotations": annotations}}))
}

fn api() -> Value {
    named("api", "10.96.0.11", json!({}))
}

/// A Service with a value of a wrong type.
fn malformed(name: &str) -> Value {
    named(name, "10.96.0.11", json!({"ports": [{"port": "eighty"}]}))
}

/// A lab that an earlier run left with the services `shop/web` and `shop/api`.
fn left() -> Lab {
    let mut lab = read(&list([service(json!({})), api(), one("10.244.1.11")]), known());
    assert!(lab.apply());
    assert_eq!(lab.table().len(), 2);
    lab.restarted()
}

/// Whether anything is applied within a minute.
fn is_applied(lab: &mut Lab) -> bool {
    lab.now += Duration::from_secs(60);
    lab.apply()
}

#[test]
fn an_input_that_fails_before_its_lists_are_complete_changes_nothing() {
    let (web, pods) = (event("ADDED", service(json!({}))), event("ADDED", one("10.244.1.11")));
    let error =
        json!({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is away"}}).to_string();
    let whole = list([service(json!({})), one("10.244.1.11")]);
    let services = typed("ServiceList", "", &[service(json!({}))]);
    for (text, lacks, fault) in [
        // `kubectl` cannot reach the server.
        ("", "Service", ""),
        (" \n", "Service", ""),
        (&whole[..whole.len() / 2], "Service", "invalid JSON: EOF"),
        (&list([]), "Service", "the list of Services is empty, while services exist"),
        // One kind only.
        (&services, "EndpointSlice", ""),
        (
            &[&*services, &typed("EndpointSliceList", "", &[])].concat(),
            "EndpointSlice",
            "the list of EndpointSlices is empty",
        ),
        (
            &[&*services, &typed("EndpointSliceList", "x", &[one("10.244.1.11")])].concat(),
            "EndpointSlice",
            "next page is missing",
        ),
        // Initial events, cut between two events and inside of one.
        (&[&*web, &pods].concat(), "Service", ""),
        (&[&*web, &pods, &web[..web.len() - 9]].concat(), "Service", "invalid JSON: EOF"),
        (&[&*web, &pods, "}", &event("ADDED", api())].concat(), "Service", "invalid JSON"),
        (&[&*web, &pods, &error].concat(), "Service", "etcd is away"),
        (&[&*web, &pods, &mark("Service")].concat(), "EndpointSlice", ""),
        (&[&*pods, &mark("Service"), &mark("EndpointSlice")].concat(), "Service", "the list of Services is empty"),
    ] {
        let mut lab = follow(left(), text, Known::new(true, false));
        assert!(!is_applied(&mut lab), "{text}");
        let line = format!("the input ended before all {lacks}s were read: nothing was changed");
        assert_eq!(lab.count(&line), 1, "{text}: {}", lab.text());
        assert!(lab.text().contains(fault), "{text}: {}", lab.text());
        assert_eq!(lab.table().len(), 2, "{text}");
        assert!(!lab.status.health().good);
    }
}

/// An input that cannot be read.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the line is down"))
    }
}

#[test]
fn an_input_that_cannot_be_read_changes_nothing() {
    let events = [event("ADDED", service(json!({}))), event("ADDED", one("10.244.1.11"))].concat();
    let mut lab = left();
    let (updates, received) = mpsc::channel();
    follow::stream(events.as_bytes().chain(Broken), Known::new(true, false), &updates);
    received.try_iter().for_each(|update| _ = lab.proxy.take(update, lab.now));
    assert!(!is_applied(&mut lab));
    assert_eq!(lab.count("standard input, value 3: the line is down: the rest is not read"), 1, "{}", lab.text());
}

#[test]
fn silence_does_not_complete_an_input_with_a_refused_value() {
    let events = [event("MODIFIED", service(json!({}))), event("MODIFIED", one("10.244.1.11"))].concat();
    for refused in [list([]), json!({"kind": "List", "items": [[]]}).to_string(), json!({"kind": "Status"}).to_string()]
    {
        let mut lab = left();
        lab.proxy = lab.proxy.settling();
        let (updates, received) = mpsc::channel();
        follow::stream([refused, events.clone()].concat().as_bytes(), Known::new(true, false), &updates);
        // Without the end.
        let all: Vec<_> = received.try_iter().filter(|update| !matches!(update, Update::End(_))).collect();
        all.into_iter().for_each(|update| _ = lab.proxy.take(update, lab.now));
        assert!(!is_applied(&mut lab));
        assert_eq!(lab.count("standard input, value 1: "), 1, "{}", lab.text());
        assert_eq!(
            lab.count("a value was refused: the first apply waits for a list of each kind"),
            1,
            "{}",
            lab.text()
        );
    }
}

#[test]
fn an_input_that_ends_keeps_its_state_and_is_reported_and_unhealthy() {
    let mut lab = Lab::on(Kernel::new(), &NODE, Duration::ZERO);
    let (updates, received) = mpsc::channel();
    follow::stream(list([service(json!({})), one("10.244.1.11")]).as_bytes(), known(), &updates);
    let mut health = Vec::new();
    for update in received.try_iter() {
        lab.proxy.take(update, lab.now);
        lab.apply();
        health.push(lab.status.health().good);
    }
    // After the list, and after the end.
    assert_eq!(health, [false, true, false]);
    assert_eq!(lab.count("the input ended: its last state is kept, and changes are not read"), 1, "{}", lab.text());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1")]);
    // A new input can be expected within the patience.
    let lab = read(&list([service(json!({})), one("10.244.1.11")]), known());
    assert!(!lab.text().contains("nothing was changed"), "{}", lab.text());
}

#[test]
fn an_empty_input_is_accepted_on_request() {
    for text in [String::new(), list([]), typed("ServiceList", "", &[]) + &typed("EndpointSliceList", "", &[])] {
        let mut lab = follow(left(), &text, Known::new(true, true));
        assert!(lab.apply(), "{text}");
        assert!(lab.table().is_empty(), "{text}");
    }
    // Events that may be cut are no empty input.
    let events = [event("ADDED", service(json!({}))), event("ADDED", one("10.244.1.11"))].concat();
    assert!(!is_applied(&mut follow(left(), &events, Known::new(true, true))));
}

#[test]
fn pages_of_a_list_are_one_list() {
    let text = [
        typed("ServiceList", "page-2", &[service(json!({}))]),
        typed("EndpointSliceList", "", &[one("10.244.1.11")]),
        typed("ServiceList", "", &[api()]),
    ];
    let mut lab = follow(left(), &text.concat(), Known::new(true, false));
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1"), "10.96.0.11:80/tcp".to_owned()]);
}

#[test]
fn a_malformed_object_of_a_list_costs_only_itself() {
    let text = [
        list([service(json!({})), api(), one("10.244.1.11")]),
        list([service(json!({})), malformed("api"), one("10.244.1.12")]),
    ];
    let mut lab = read(&text.concat(), known());
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1"), "10.96.0.11:80/tcp".to_owned()]);
    assert_eq!(lab.count("standard input, value 2: Service shop/api is malformed, its last state is kept: "), 1);
    // A malformed object can be deleted.
    let text = [&*text.concat(), &event("DELETED", malformed("api"))].concat();
    let mut lab = read(&text, known());
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1")]);
}

#[test]
fn a_stream_of_events_is_applied_at_its_end() {
    let text = [
        event("ADDED", service(json!({}))),
        event("ADDED", named("api", "10.96.0.11", json!({}))),
        event("ADDED", one("10.244.1.11")),
        event("MODIFIED", one("10.244.1.12")),
        event("DELETED", named("api", "10.96.0.11", json!({}))),
    ];
    let mut lab = read(&text.concat(), known());
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1")]);
}

#[test]
fn lists_replace_and_an_empty_one_changes_nothing() {
    let text = [
        list([service(json!({})), named("api", "10.96.0.11", json!({})), one("10.244.1.11")]),
        list([service(json!({})), one("10.244.1.12")]),
        list([]),
    ];
    let mut lab = read(&text.concat(), known());
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1")]);
    assert_eq!(lab.count("standard input, value 3: the list of Services is empty"), 1);
}

#[test]
fn a_list_replaces_the_kinds_of_earlier_lists() {
    let both = list([service(json!({})), one("10.244.1.11")]);
    let mut lab = read(&[both, list([one("10.244.1.12")])].concat(), known());
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1")]);
    assert_eq!(lab.count("standard input, value 2: the list of Services is empty, while services exist"), 1);
    let mut lab = read(&[list([service(json!({}))]), list([one("10.244.1.11")])].concat(), known());
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1")]);
}

#[test]
fn invalid_values_cost_only_themselves() {
    let mut beta = one("10.244.1.13");
    beta["apiVersion"] = "discovery.k8s.io/v1beta1".into();
    let gone = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}});
    let text = [
        list([service(json!({})), one("10.244.1.11")]),
        event("MODIFIED", beta),
        gone.to_string(),
        event("MODIFIED", one("10.244.1.12")),
        "{\"kind\": \"Service\", \"metadata".to_owned(),
    ];
    let mut lab = read(&text.join("\n"), known());
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.12:8080=1")]);
    for (number, fault) in [(2, "v1beta1"), (3, "410: too old"), (5, "invalid JSON")] {
        assert_eq!(lab.count(&format!("standard input, value {number}: ")), 1, "{}", lab.text());
        assert_eq!(lab.count(fault), 1, "{}", lab.text());
    }
}

#[test]
fn an_open_stream_is_complete_by_its_marks_or_by_silence() {
    let objects = [event("ADDED", service(json!({}))), event("ADDED", one("10.244.1.11"))].concat();
    // The last update is the end, which an open stream does not have.
    let open = |text: &str| {
        let mut lab = Lab::new();
        lab.proxy = lab.proxy.settling();
        let (updates, received) = mpsc::channel();
        follow::stream(text.as_bytes(), known(), &updates);
        let mut all: Vec<_> = received.try_iter().collect();
        all.pop();
        all.into_iter().for_each(|update| _ = lab.proxy.take(update, lab.now));
        lab
    };
    let marked = open(&[&objects, &mark("Service"), &mark("EndpointSlice")].map(String::as_str).concat());
    assert_eq!(marked.proxy.due(), Some(marked.now));
    let silent = open(&objects);
    assert_eq!(silent.proxy.due(), Some(silent.now + Duration::from_secs(1)));
    assert_eq!(open(&event("ADDED", service(json!({})))).proxy.due(), None);
}

/// A directory of a test.
fn directory(test: &str) -> PathBuf {
    let directory = env::temp_dir().join(format!("service-proxy-{test}-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn a_file_without_services_or_without_slices_changes_nothing() {
    let typed = |services: &[Value], slices: &[Value]| {
        typed("ServiceList", "", services) + &typed("EndpointSliceList", "", slices)
    };
    let (web, pods) = (service(json!({})), one("10.244.1.11"));
    let [no_service, no_slice] = ["Service", "EndpointSlice"].map(|kind| format!("no {kind}, which every cluster has"));
    let directory = directory("lacks");
    for (number, (text, fault)) in [
        // `kubectl get services -o json`
        (list([web.clone()]), &no_slice),
        (typed(slice::from_ref(&web), &[]), &no_slice),
        (list([pods.clone()]), &no_service),
        (typed(&[], slice::from_ref(&pods)), &no_service),
    ]
    .into_iter()
    .enumerate()
    {
        let path = directory.join(format!("{number}.json"));
        // Also before anything was applied.
        fs::write(&path, &text).unwrap();
        let mut lab = Lab::new();
        let (updates, received) = mpsc::channel();
        follow::file(path.clone(), known(), updates).unwrap();
        lab.take_until(&received, fault);
        assert!(!lab.apply());
        fs::write(&path, list([web.clone(), pods.clone()])).unwrap();
        lab.take(&received);
        assert!(lab.apply());
        fs::write(&path, &text).unwrap();
        let line = received.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(&line, Update::Line(text) if text.contains(fault)), "{line:?}");
        assert!(!lab.apply());
        assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1")]);
    }
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_file_is_read_again_when_it_is_written_or_replaced() {
    let directory = directory("follow");
    let path = directory.join("objects.json");
    let content = |address: &str| list([service(json!({})), one(address)]);
    fs::write(&path, content("10.244.1.11")).unwrap();
    let mut lab = Lab::new();
    let (updates, received) = mpsc::channel();
    follow::file(path.clone(), known(), updates).unwrap();
    lab.take(&received);
    assert!(lab.apply());
    // A truncated file changes nothing.
    fs::write(&path, &content("10.244.1.12")[..200]).unwrap();
    lab.take_until(&received, "invalid JSON");
    assert!(!lab.apply());
    fs::write(directory.join("new"), content("10.244.1.13")).unwrap();
    fs::rename(directory.join("new"), &path).unwrap();
    lab.take(&received);
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.13:8080=1")]);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_directory_that_is_removed_ends_the_input() {
    let directory = directory("removed");
    let path = directory.join("objects.json");
    fs::write(&path, list([service(json!({})), one("10.244.1.11")])).unwrap();
    let mut lab = Lab::new();
    let (updates, received) = mpsc::channel();
    follow::file(path, known(), updates).unwrap();
    lab.take(&received);
    assert!(lab.apply());
    fs::remove_dir_all(&directory).unwrap();
    lab.take_until(&received, "the input ended: its last state is kept");
    assert_eq!(lab.count(&format!("watch {}: ", directory.display())), 1, "{}", lab.text());
    assert!(lab.apply());
    assert_eq!(lab.table(), [format!("{A}:80/tcp 10.244.1.11:8080=1")]);
}
