//! The worked examples: source ranges, an address of the node itself, a rolling update.

use lvs::ipvs::{Scheduler, Service};
use serde_json::{Value, json};
use service_proxy::translate::translate;

use crate::destinations::Machine;
use crate::lab::{
    address, balanced, ending, endpoint, members, merge, named, node_a, notes, objects, on_node_a, ready, service,
    services, slice_of, to, vips,
};

#[test]
fn w2_source_ranges() {
    let spec = json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000,
        "loadBalancerSourceRanges": ["192.0.2.0/24", "198.51.100.64/26", "2001:db8:1::/48"],
        "ports": [{"name": "http", "nodePort": 30080, "port": 80, "protocol": "TCP", "targetPort": 8080}],
    });
    let balanced = balanced(named("lb-local", "10.96.7.7", spec), json!({"ip": "203.0.113.10", "ipMode": "VIP"}));
    let pods = json!([
        ready("10.244.1.11", "node-a"),
        ready("10.244.1.12", "node-a"),
        ready("10.244.2.13", "node-b"),
        ready("10.244.3.14", "node-c"),
    ]);
    let translation = on_node_a([balanced, slice_of("lb-local", "lb-local-x", pods)]);
    let local = "10.244.1.11:8080 10.244.1.12:8080";
    assert_eq!(
        services(&translation),
        [
            format!("10.96.7.7:80/tcp rr -> {local} 10.244.2.13:8080 10.244.3.14:8080"),
            format!("192.0.2.11:30080/tcp rr -> {local}"),
            format!("203.0.113.10:80/tcp rr -> {local}"),
        ]
    );
    assert_eq!(
        members(&translation),
        [
            "lvs4-cluster 10.96.7.7,tcp:80",
            "lvs4-firewall 203.0.113.10,tcp:80",
            "lvs4-local 192.0.2.11,tcp:30080",
            "lvs4-local 203.0.113.10,tcp:80",
            "lvs4-loopback 10.244.1.11,tcp:8080,10.244.1.11",
            "lvs4-loopback 10.244.1.12,tcp:8080,10.244.1.12",
            "lvs4-source 203.0.113.10,tcp:80,203.0.113.10",
            "lvs4-source 203.0.113.10,tcp:80,192.0.2.0/24",
            "lvs4-source 203.0.113.10,tcp:80,198.51.100.64/26",
            "lvs4-vips 10.96.7.7",
            "lvs4-vips 203.0.113.10",
        ]
    );
    assert_eq!(translation.health[0].to_string(), "health 32000 shop/lb-local: 2 local");
}

#[test]
fn w3_a_load_balancer_address_that_is_the_node_itself() {
    let mut node = node_a();
    node.addresses = vec![address("10.0.0.11")];
    let ports = json!([
        {"name": "web", "nodePort": 31564, "port": 80, "protocol": "TCP", "targetPort": "web"},
        {"name": "websecure", "nodePort": 32312, "port": 443, "protocol": "TCP", "targetPort": "websecure"},
    ]);
    let traefik = named("traefik", "10.43.153.251", json!({"type": "LoadBalancer", "ports": ports}));
    let traefik = balanced(traefik, json!({"ip": "10.0.0.11", "ipMode": "VIP"}));
    let mut slice = slice_of("traefik", "traefik-x", json!([ready("10.42.0.12", "node-a")]));
    slice["ports"] = json!([{"name": "websecure", "port": 8443}, {"name": "web", "port": 8000}]);
    let unready = endpoint("10.42.0.20", "node-a", json!({"ready": false, "serving": false, "terminating": false}));
    let backend = service(json!({"ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}));
    let mut not_ready = slice_of("web", "web-x", json!([unready]));
    not_ready["ports"] = json!([{"name": "", "port": 8080, "protocol": "TCP"}]);
    let translation = translate(&objects([traefik, slice, backend, not_ready]), &node);
    assert_eq!(
        services(&translation),
        [
            "10.0.0.11:80/tcp rr -> 10.42.0.12:8000",
            "10.0.0.11:443/tcp rr -> 10.42.0.12:8443",
            "10.0.0.11:31564/tcp rr -> 10.42.0.12:8000",
            "10.0.0.11:32312/tcp rr -> 10.42.0.12:8443",
            "10.43.153.251:80/tcp rr -> 10.42.0.12:8000",
            "10.43.153.251:443/tcp rr -> 10.42.0.12:8443",
            "10.96.0.10:80/tcp rr",
        ]
    );
    assert_eq!(vips(&translation), ["10.43.153.251", "10.96.0.10"]);
    assert!(!members(&translation).contains(&"lvs4-vips 10.0.0.11".to_owned()));
    assert_eq!(
        notes(&translation),
        ["conflict shop/traefik: 10.0.0.11 is an address of another interface: it is not bound"]
    );
}

/// The ten states of a rolling update: pods, and whether the Service has its second port, or exists at all.
fn states() -> Vec<Vec<Value>> {
    let (old, new) = ("10.244.1.101", "10.244.2.102");
    let not_ready = endpoint(new, "node-b", json!({"ready": false, "serving": false, "terminating": false}));
    let (old_ready, new_ready) = (ready(old, "node-a"), ready(new, "node-b"));
    let pods = [
        json!([old_ready]),
        json!([old_ready, not_ready]),
        json!([old_ready, new_ready]),
        json!([ending(old, "node-a", true), new_ready]),
        json!([ending(old, "node-a", false), new_ready]),
        json!([new_ready]),
        json!([new_ready]),
        json!([ending(new, "node-b", true)]),
        json!(null),
        json!(null),
    ];
    let mut states = Vec::new();
    for (version, pods) in pods.into_iter().enumerate() {
        let mut app = service(json!({}));
        let mut slice = slice_of("web", "web-2j4jc", pods);
        if version >= 6 {
            let ports = json!([{"name": "http", "port": 80}, {"name": "admin", "port": 81}]);
            merge(&mut app["spec"], json!({"ports": ports}));
            slice["ports"] = json!([{"name": "http", "port": 8080}, {"name": "admin", "port": 8081}]);
        }
        if version >= 8 {
            slice["ports"] = json!(null);
        }
        states.push(if version == 9 { vec![slice] } else { vec![app, slice] });
    }
    states
}

#[test]
fn w4_a_rolling_update_state_by_state() {
    const WEB: &str = "10.96.0.10:80/tcp";
    let mut machine = Machine::new();
    let foreign = Service::tcp("198.51.100.9:9".parse().unwrap(), Scheduler::RR);
    machine.ipvs().add_service(foreign).unwrap();
    let (old, new) =
        (|weight: u32| format!("10.244.1.101:8080 {weight}"), |weight: u32| format!("10.244.2.102:8080 {weight}"));
    let expected = [
        vec![old(1)],
        vec![old(1)],
        vec![old(1), new(1)],
        vec![old(0), new(1)],
        vec![old(0), new(1)],
        vec![old(0), new(1)],
        vec![old(0), new(1)],
        vec![old(0), new(1)],
        vec![old(0)],
    ];
    let states = states();
    for (version, expected) in expected.into_iter().enumerate() {
        let report = machine.apply(states[version].clone());
        if version == 0 {
            machine.connect(WEB, "10.244.1.101:8080", 1);
        }
        if [1, 4, 5, 7].contains(&version) {
            assert!(report.steps().all(|(step, _)| step.to_string().contains("loopback")), "v{version}: {report:?}");
        }
        if version == 8 {
            // The new pod is idle: the next call deletes it.
            machine.apply(states[version].clone());
        }
        assert_eq!(machine.weights(WEB), expected, "v{version}");
        if (6..8).contains(&version) {
            assert_eq!(machine.weights("10.96.0.10:81/tcp"), ["10.244.2.102:8081 1"]);
        }
    }

    // The Service is gone, and a connection is still open.
    machine.apply(states[9].clone());
    assert_eq!(machine.weights(WEB), [old(0)]);
    let state = machine.state();
    for line in ["vip 10.96.0.10", "  lvs4-vips 10.96.0.10", "  lvs4-cluster 10.96.0.10,tcp:80"] {
        assert!(state.contains(&line.to_owned()), "{line}: {state:#?}");
    }
    assert!(!state.contains(&"  lvs4-cluster 10.96.0.10,tcp:81".to_owned()), "{state:#?}");
    machine.connect(WEB, "10.244.1.101:8080", 0);
    machine.apply(states[9].clone());
    let left: Vec<_> = machine.state().into_iter().filter(|line| !line.starts_with("set ")).collect();
    assert_eq!(left, ["service 198.51.100.9:9/tcp rr"]);
}

#[test]
fn w4_with_datagrams_the_old_pod_is_deleted_at_once() {
    let mut machine = Machine::new();
    for mut items in states().into_iter().skip(2).take(2) {
        items[0]["spec"]["ports"] = json!([{"name": "http", "port": 80, "protocol": "UDP"}]);
        items[1]["ports"] = json!([{"name": "http", "port": 8080, "protocol": "UDP"}]);
        machine.apply(items.clone());
        if to(&on_node_a(items), "10.96.0.10:80/udp").len() == 2 {
            machine.connect("10.96.0.10:80/udp", "10.244.1.101:8080", 1);
        }
    }
    assert_eq!(machine.weights("10.96.0.10:80/udp"), ["10.244.2.102:8080 1"]);
}
