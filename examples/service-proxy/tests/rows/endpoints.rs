//! Rows E: the endpoints that a node uses.

use serde_json::{Value, json};
use service_proxy::translate::translate;

use crate::lab::{
    ending, endpoint, members_of, node_a, objects, on_node_a, ready, service, services, slice, slice_of, to,
};

const WEB: &str = "10.96.0.10:80/tcp";

/// The destinations of the Service for these endpoints.
fn chosen(endpoints: Value) -> Vec<String> {
    to(&on_node_a([service(json!({})), slice(endpoints)]), WEB)
}

#[test]
fn e1_an_endpoint_without_conditions_is_ready() {
    let bare = json!({"addresses": ["10.244.1.12"]});
    for conditions in [json!({}), json!(null), json!({"ready": null, "terminating": null})] {
        let endpoints = json!([endpoint("10.244.1.11", "node-b", conditions), bare]);
        assert_eq!(chosen(endpoints), ["10.244.1.11:8080", "10.244.1.12:8080"]);
    }
}

#[test]
fn e2_an_endpoint_that_is_not_ready_is_no_destination() {
    for conditions in [json!({"ready": false, "serving": false}), json!({"ready": false, "serving": true})] {
        assert_eq!(chosen(json!([endpoint("10.244.1.11", "node-a", conditions)])), [""; 0]);
    }
}

#[test]
fn e3_ready_endpoints_take_the_traffic_of_terminating_ones() {
    let endpoints = json!([ready("10.244.1.11", "node-a"), ending("10.244.1.12", "node-a", true)]);
    assert_eq!(chosen(endpoints), ["10.244.1.11:8080"]);
}

#[test]
fn e4_without_ready_endpoints_serving_terminating_ones_take_traffic() {
    let endpoints = json!([
        ending("10.244.1.11", "node-b", true),
        ending("10.244.1.12", "node-b", false),
        endpoint("10.244.1.13", "node-b", json!({"ready": false, "serving": true, "terminating": false})),
        endpoint("10.244.1.14", "node-b", json!({"ready": false, "terminating": true})),
    ]);
    assert_eq!(chosen(endpoints), ["10.244.1.11:8080", "10.244.1.14:8080"]);
}

fn hinted(mut endpoint: Value, nodes: &[&str], zones: &[&str]) -> Value {
    let names = |of: &[&str]| of.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    endpoint["hints"] = json!({"forNodes": names(nodes), "forZones": names(zones)});
    endpoint
}

#[test]
fn e5_hints_for_the_node_come_before_hints_for_its_zone() {
    let pod = |number: u8| ready(&format!("10.244.1.{number}"), "node-b");
    let [one, two, three] = [11, 12, 13].map(|number| format!("10.244.1.{number}:8080"));
    let cases = [
        // Each ready endpoint has hints for nodes, one of them for this node.
        (json!([hinted(pod(11), &["node-a"], &["zone-1"]), hinted(pod(12), &["node-b"], &["zone-1"])]), vec![&one]),
        // None for this node: those for its zone.
        (json!([hinted(pod(11), &["node-c"], &["zone-2"]), hinted(pod(12), &["node-b"], &["zone-1"])]), vec![&two]),
        // One has none for nodes.
        (json!([hinted(pod(11), &["node-a"], &["zone-1"]), hinted(pod(12), &[], &["zone-2"])]), vec![&one]),
        // One has none at all.
        (json!([hinted(pod(11), &["node-a"], &["zone-1"]), pod(12)]), vec![&one, &two]),
        // None for this zone.
        (json!([hinted(pod(11), &[], &["zone-2"]), hinted(pod(12), &[], &["zone-3"])]), vec![&one, &two]),
        // Several.
        (
            json!([
                hinted(pod(11), &[], &["zone-1", "zone-2"]),
                hinted(pod(12), &[], &["zone-2"]),
                hinted(pod(13), &[], &["zone-1"])
            ]),
            vec![&one, &three],
        ),
    ];
    for (endpoints, expected) in cases {
        assert_eq!(chosen(endpoints.clone()), expected.into_iter().cloned().collect::<Vec<_>>(), "{endpoints}");
    }
}

#[test]
fn e5_hints_count_among_ready_endpoints_only_and_not_for_the_fallback() {
    let elsewhere = hinted(ending("10.244.1.12", "node-b", true), &[], &["zone-2"]);
    let endpoints =
        json!([hinted(ready("10.244.1.11", "node-b"), &[], &["zone-1"]), ending("10.244.1.13", "node-b", true)]);
    assert_eq!(chosen(endpoints), ["10.244.1.11:8080"]);
    assert_eq!(chosen(json!([elsewhere])), ["10.244.1.12:8080"]);

    let mut node = node_a();
    node.zone = None;
    let pods = json!([
        hinted(ready("10.244.1.11", "node-b"), &[], &["zone-1"]),
        hinted(ready("10.244.1.12", "node-b"), &[], &[""])
    ]);
    let translation = translate(&objects([service(json!({})), slice(pods)]), &node);
    assert_eq!(to(&translation, WEB), ["10.244.1.11:8080", "10.244.1.12:8080"]);
}

#[test]
fn e6_the_internal_policy_local_leaves_the_endpoints_of_the_node() {
    let local = || service(json!({"internalTrafficPolicy": "Local"}));
    let of = |endpoints: Value| to(&on_node_a([local(), slice(endpoints)]), WEB);
    let here = || ready("10.244.1.11", "node-a");
    let there = || ready("10.244.2.12", "node-b");
    assert_eq!(of(json!([here(), there()])), ["10.244.1.11:8080"]);
    assert_eq!(of(json!([ending("10.244.1.11", "node-a", true), there()])), ["10.244.1.11:8080"]);
    assert_eq!(of(json!([there()])), [""; 0]);
    // Hints have no effect.
    let elsewhere = hinted(here(), &[], &["zone-2"]);
    assert_eq!(of(json!([elsewhere, hinted(there(), &[], &["zone-1"])])), ["10.244.1.11:8080"]);

    // As kube-proxy: no fallback for a plain cluster IP, but for one that is reachable from outside.
    let mut node = node_a();
    node.local_fallback = true;
    let translation = translate(&objects([local(), slice(json!([there()]))]), &node);
    assert_eq!(to(&translation, WEB), [""; 0]);
    assert_eq!(translation.without_local, [0, 1]);
    let reachable = service(json!({"internalTrafficPolicy": "Local", "type": "NodePort"}));
    let translation = translate(&objects([reachable, slice(json!([there()]))]), &node);
    assert_eq!(to(&translation, WEB), ["10.244.2.12:8080"]);
}

#[test]
fn e7_the_external_policy_local_leaves_the_endpoints_of_the_node_at_outer_addresses() {
    let spec = json!({
        "type": "NodePort", "externalTrafficPolicy": "Local", "externalIPs": ["198.51.100.7"],
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
    });
    let items = |endpoints: Value| [service(spec.clone()), slice(endpoints)];
    let outer = ["192.0.2.11:30080/tcp", "198.51.100.7:80/tcp"];
    let (here, there) = (|| ready("10.244.1.11", "node-a"), || ready("10.244.2.12", "node-b"));
    let translation = on_node_a(items(json!([here(), there()])));
    assert_eq!(to(&translation, WEB), ["10.244.1.11:8080", "10.244.2.12:8080"]);
    for key in outer {
        assert_eq!(to(&translation, key), ["10.244.1.11:8080"]);
    }
    let translation = on_node_a(items(json!([ending("10.244.1.13", "node-a", true), there()])));
    for key in outer {
        assert_eq!(to(&translation, key), ["10.244.1.13:8080"]);
    }

    let without = objects(items(json!([there()])));
    let translation = translate(&without, &node_a());
    assert_eq!(to(&translation, WEB), ["10.244.2.12:8080"]);
    assert_eq!(translation.without_local, [1, 0]);
    let mut node = node_a();
    node.local_fallback = true;
    let fallback = translate(&without, &node);
    for key in outer {
        assert_eq!(to(&translation, key), [""; 0]);
        assert_eq!(to(&fallback, key), ["10.244.2.12:8080"]);
    }
}

#[test]
fn e8_an_endpoint_without_a_node_is_not_local() {
    let bare = json!([{"addresses": ["10.244.1.11"], "conditions": {"ready": true}}]);
    let translation = on_node_a([service(json!({"internalTrafficPolicy": "Local"})), slice(bare)]);
    assert_eq!(to(&translation, WEB), [""; 0]);
    assert_eq!(members_of(&translation, "lvs4-loopback"), [""; 0]);
}

#[test]
fn e9_of_two_equal_endpoints_the_one_that_does_not_terminate_counts() {
    let other = || ready("10.244.1.12", "node-b");
    let (alive, dying) = (ready("10.244.1.11", "node-b"), ending("10.244.1.11", "node-b", true));
    for pair in [[alive.clone(), dying.clone()], [dying, alive]] {
        let [one, two] = pair;
        let slices = [slice_of("web", "web-1", json!([one, other()])), slice_of("web", "web-2", json!([two, other()]))];
        let translation = on_node_a([service(json!({}))].into_iter().chain(slices));
        assert_eq!(to(&translation, WEB), ["10.244.1.11:8080", "10.244.1.12:8080"]);
    }
}

#[test]
fn e10_a_named_port_has_a_number_for_each_slice() {
    let (one, mut two) = (
        slice_of("web", "web-1", json!([ready("10.244.1.11", "node-b")])),
        slice_of("web", "web-2", json!([ready("10.244.1.12", "node-b")])),
    );
    two["ports"] = json!([{"name": "http", "port": 9090, "protocol": "TCP"}, {"name": "admin", "port": 1}]);
    let translation = on_node_a([service(json!({})), one, two]);
    assert_eq!(to(&translation, WEB), ["10.244.1.11:8080", "10.244.1.12:9090"]);
}

#[test]
fn e11_only_the_first_address_counts() {
    let mut pod = ready("10.244.1.11", "node-b");
    pod["addresses"] = json!(["10.244.1.11", "10.244.1.12"]);
    assert_eq!(chosen(json!([pod])), ["10.244.1.11:8080"]);
}

#[test]
fn e12_endpoints_of_the_node_are_in_the_set_loopback() {
    let endpoints = json!([
        ready("10.244.1.11", "node-a"),
        ending("10.244.1.12", "node-a", false),
        endpoint("10.244.1.13", "node-a", json!({"ready": false})),
        ready("10.244.2.14", "node-b"),
    ]);
    let translation = on_node_a([service(json!({})), slice(endpoints)]);
    assert_eq!(
        members_of(&translation, "lvs4-loopback"),
        ["10.244.1.11,tcp:8080,10.244.1.11", "10.244.1.12,tcp:8080,10.244.1.12", "10.244.1.13,tcp:8080,10.244.1.13"]
    );
}

#[test]
fn ports_join_by_name_and_protocol() {
    let unnamed = service(json!({"ports": [{"port": 80, "targetPort": 8080}]}));
    let with = |ports: Value| {
        let mut slice = slice(json!([ready("10.244.1.11", "node-b")]));
        slice["ports"] = ports;
        services(&on_node_a([unnamed.clone(), slice]))
    };
    let joined = ["10.96.0.10:80/tcp rr -> 10.244.1.11:8080"];
    assert_eq!(with(json!([{"name": "", "port": 8080, "protocol": "TCP"}])), joined);
    assert_eq!(with(json!([{"name": "", "port": 8080}])), joined);
    for apart in [
        json!([{"port": 8080, "protocol": "TCP"}]),
        json!([{"name": null, "port": 8080}]),
        json!([{"name": "", "port": 8080, "protocol": "UDP"}]),
        json!([{"name": "", "port": 0}]),
        json!([{"name": ""}]),
        json!([{"name": "http", "port": 8080}]),
        json!(null),
    ] {
        assert_eq!(with(apart), ["10.96.0.10:80/tcp rr"]);
    }
}
