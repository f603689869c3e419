//! Files that change, and standard input.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, process, slice};

use serde_json::{Value, json};
use service_proxy::source::{Known, Update, follow};

use crate::cluster::{known, one};
use crate::lab::{A, list, named, service};
use crate::proxy::Lab;
use crate::server::PATIENCE;

fn event(kind: &str, object: Value) -> String {
    // `kubectl` prints events like this.
    serde_json::to_string_pretty(&json!({"type": kind, "object": object})).unwrap()
}

/// A lab that read this stream to its end.
fn read(text: &str, known: Known) -> Lab {
    let mut lab = Lab::new();
    let (updates, received) = mpsc::channel();
    follow::stream(text.as_bytes(), known, &updates);
    received.try_iter().for_each(|update| _ = lab.proxy.take(update, lab.now));
    lab
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
    assert_eq!(lab.count("standard input, value 3: no Service and no EndpointSlice"), 1);
}

#[test]
fn a_list_replaces_the_kinds_of_earlier_lists() {
    let both = list([service(json!({})), one("10.244.1.11")]);
    let mut lab = read(&[both, list([one("10.244.1.11")])].concat(), known());
    assert!(lab.apply());
    assert!(lab.table().is_empty());
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
    let bookmark = |kind: &str| {
        let annotations = json!({"k8s.io/initial-events-end": "true"});
        event("BOOKMARK", json!({"kind": kind, "metadata": {"resourceVersion": "100", "annotations": annotations}}))
    };
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
    let marked = open(&[&objects, &bookmark("Service"), &bookmark("EndpointSlice")].map(String::as_str).concat());
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
    let typed = |kind: &str, version: &str, items: &[Value]| {
        json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}).to_string()
    };
    let typed = |services: &[Value], slices: &[Value]| {
        typed("ServiceList", "v1", services) + &typed("EndpointSliceList", "discovery.k8s.io/v1", slices)
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
