//! The forms in which `kubectl` and the API server write objects.

use serde_json::{Value, json};
use service_proxy::objects::Objects;
use service_proxy::source::file::{self, Problem};

use crate::lab::{list, named, ready, service, slice};

fn names(objects: &Objects) -> Vec<String> {
    let services = objects.services().map(|(name, service)| format!("{name} {}", service.spec.ports.len()));
    let slices = objects.slices().map(|(service, slice)| format!("{service}: {}", slice.endpoints.len()));
    services.chain(slices).collect()
}

fn parse(text: &str) -> Objects {
    file::parse(text.as_bytes()).unwrap()
}

fn problem(text: &str) -> String {
    file::parse(text.as_bytes()).unwrap_err().to_string()
}

fn pods() -> Value {
    slice(json!([ready("10.244.1.11", "node-a")]))
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

const BOTH: [&str; 2] = ["shop/web 1", "shop/web: 1"];

#[test]
fn lists_of_kubectl_are_of_mixed_kinds() {
    assert_eq!(names(&parse(&list([pods(), service(json!({}))]))), BOTH);
}

#[test]
fn items_of_the_api_have_neither_kind_nor_version() {
    let bare = |mut object: Value| {
        object.as_object_mut().unwrap().remove("kind");
        object.as_object_mut().unwrap().remove("apiVersion");
        object
    };
    let list = |kind: &str, version: &str, item: Value| {
        // The items come before and after what they are.
        let fields = [
            format!(r#""kind": "{kind}", "apiVersion": "{version}""#),
            format!(r#""metadata": {{"resourceVersion": "1"}}, "items": [{item}]"#),
        ];
        [format!("{{{}, {}}}", fields[0], fields[1]), format!("{{{}, {}}}", fields[1], fields[0])]
    };
    let services = list("ServiceList", "v1", bare(service(json!({}))));
    let slices = list("EndpointSliceList", "discovery.k8s.io/v1", bare(pods()));
    for (services, slices) in services.iter().zip(&slices) {
        assert_eq!(names(&parse(&format!("{services}{slices}"))), BOTH);
    }
    let [old, _] = list("EndpointSliceList", "discovery.k8s.io/v1beta1", bare(pods()));
    assert!(
        problem(&old).contains("EndpointSlice shop/web-2j4jc: version discovery.k8s.io/v1beta1"),
        "{}",
        problem(&old)
    );
}

#[test]
fn single_objects_follow_each_other_without_a_separator() {
    let later = service(json!({"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}));
    let text: String = [service(json!({})), pods(), later].iter().map(|object| format!("{object:#}")).collect();
    assert_eq!(names(&parse(&text)), ["shop/web 2", "shop/web: 1"]);
}

#[test]
fn events_add_change_and_delete() {
    let bookmark = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "spec": {}});
    let changed = slice(json!([ready("10.244.1.11", "node-a"), ready("10.244.1.12", "node-a")]));
    let events = [
        event("ADDED", service(json!({}))),
        event("ADDED", pods()),
        event("BOOKMARK", bookmark),
        event("ADDED", named("gone", "10.96.0.11", json!({}))),
        event("MODIFIED", changed),
        event("DELETED", named("gone", "10.96.0.11", json!({}))),
    ];
    // Pretty-printed by `kubectl`, one a line by the API server.
    for text in [
        events.iter().map(|event| format!("{event:#}")).collect::<String>(),
        events.iter().map(|event| format!("{event}\n")).collect(),
    ] {
        assert_eq!(names(&parse(&text)), ["shop/web 1", "shop/web: 2"]);
    }
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_other_one() {
    let mut moved = pods();
    moved["metadata"]["labels"]["kubernetes.io/service-name"] = json!("other");
    let events =
        format!("{}{}{}", event("ADDED", service(json!({}))), event("ADDED", pods()), event("MODIFIED", moved));
    assert_eq!(names(&parse(&events)), ["shop/web 1", "shop/other: 1"]);
    let deleted = format!("{events}{}", event("DELETED", pods()));
    assert_eq!(names(&parse(&deleted)), ["shop/web 1"]);
}

#[test]
fn an_error_event_is_an_error() {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "code": 410, "message": "too old resource version: 1 (9)"});
    let text = format!("{}\n{}", event("ADDED", service(json!({}))), event("ERROR", status.clone()));
    let expected = "the API server answered with an error 410: too old resource version: 1 (9)";
    assert!(problem(&text).starts_with("line 2, ") && problem(&text).ends_with(expected), "{}", problem(&text));
    assert!(problem(&status.to_string()).ends_with(expected));
}

#[test]
fn a_page_of_a_list_is_incomplete_without_its_next_page() {
    let page = |next: &str, name: &str| {
        let metadata = json!({"resourceVersion": "1", "continue": next});
        json!({"kind": "ServiceList", "apiVersion": "v1", "metadata": metadata, "items": [named(name, "10.96.0.1", json!({}))]})
    };
    let first = page("eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ", "a");
    assert_eq!(
        problem(&format!("\n{first}")),
        "line 2, byte 1: ServiceList is incomplete: its next page is missing (metadata.continue)"
    );
    assert_eq!(names(&parse(&format!("{first}{}", page("", "b")))), ["shop/a 1", "shop/b 1"]);
    // The pages of another kind are no substitute.
    let slices = |next: &str| {
        let metadata = json!({"resourceVersion": "1", "continue": next});
        json!({"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": metadata, "items": [pods()]})
    };
    for pages in [vec![slices("")], vec![slices("x"), slices("")]] {
        let pages: String = pages.iter().map(ToString::to_string).collect();
        for text in [format!("{first}{pages}"), format!("{pages}{first}")] {
            assert!(problem(&text).contains("ServiceList is incomplete"), "{text}");
        }
    }
}

#[test]
fn a_wrong_type_is_an_error_that_names_the_object_and_the_place() {
    let text = list([service(json!({})), service(json!({"ports": [{"name": "http", "port": "eighty"}]}))]);
    let error = file::parse(text.as_bytes()).unwrap_err();
    let at = text.find("eighty").unwrap();
    assert_eq!(error.line, text[..at].matches('\n').count() + 1);
    assert!(text[..error.byte].ends_with("eighty"), "{}", &text[..error.byte]);
    let expected = "Service shop/web: invalid type: string \"eighty\", expected u16";
    assert_eq!(error.problem.to_string(), expected);
}

#[test]
fn other_values_are_errors() {
    for (text, expected) in [
        ("[]", "neither an object of the API nor an event"),
        ("{}", "neither an object of the API nor an event"),
        ("7", "neither an object of the API nor an event"),
        (r#"{"kind": "List", "items": [null]}"#, "neither an object of the API nor an event"),
        (r#"{"type": "RENAMED", "object": {}}"#, "unknown event type \"RENAMED\""),
        ("# not JSON", "invalid JSON: expected value"),
        ("{\"kind\": \"Service\"}\n}", "invalid JSON: expected value"),
    ] {
        assert!(problem(text).contains(expected), "{text}: {}", problem(text));
    }
    assert!(matches!(file::parse(b"{\"kind\": \"\xff\"}").unwrap_err().problem, Problem::Syntax(_)));
}

#[test]
fn unknown_fields_and_nulls_are_accepted() {
    let text = r#"{"kind": "Service", "metadata": null, "spec": null, "status": null, "extra": {"a": [1]}}
        {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "b", "labels": null,
         "annotations": null, "creationTimestamp": null}, "spec": {"ports": null, "clusterIPs": null, "externalIPs": null,
         "loadBalancerSourceRanges": null, "sessionAffinityConfig": null}, "status": {"loadBalancer": {"ingress": null}}}
        {"kind": "EndpointSlice", "metadata": {"name": "s", "namespace": "b", "labels": {"kubernetes.io/service-name": "a"}},
         "endpoints": [{"addresses": null, "conditions": null, "hints": null, "nodeName": null, "new": 1}],
         "ports": [{"name": null, "port": null, "protocol": null, "appProtocol": null}], "addressType": "IPv9"}
        {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-a"}, "status": {"addresses": null}}"#;
    assert_eq!(names(&parse(text)), [" 0", "b/a 0", "b/a: 1"]);
}
