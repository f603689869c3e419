//! Rows K: services, virtual IPs and members of sets.

use serde_json::json;
use service_proxy::translate::translate;

use crate::lab::{
    A, address, balanced, members, members_of, merge, named, node_a, notes, objects, on_node_a, ready, service,
    services, slice, slice_of, to, vips,
};

/// Fields of a Service with addresses of both families.
fn dual() -> serde_json::Value {
    json!({"clusterIPs": [A, "fd00:10:96::a"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"})
}

fn with_ports(ports: serde_json::Value) -> serde_json::Value {
    service(json!({"ports": ports}))
}

#[test]
fn k1_each_cluster_ip_is_a_service_a_virtual_ip_and_a_member() {
    let mut inet6 = slice_of("web", "web-6", json!([ready("fd00:10:244:1::b", "node-b")]));
    inet6["addressType"] = json!("IPv6");
    let translation = on_node_a([service(dual()), slice(json!([ready("10.244.1.11", "node-b")])), inet6]);
    assert_eq!(
        services(&translation),
        ["10.96.0.10:80/tcp rr -> 10.244.1.11:8080", "[fd00:10:96::a]:80/tcp rr -> [fd00:10:244:1::b]:8080"]
    );
    assert_eq!(vips(&translation), [A, "fd00:10:96::a"]);
    assert_eq!(
        members(&translation),
        [
            "lvs4-cluster 10.96.0.10,tcp:80",
            "lvs4-vips 10.96.0.10",
            "lvs6-cluster fd00:10:96::a,tcp:80",
            "lvs6-vips fd00:10:96::a"
        ]
    );
    assert_eq!(translation.desired.sets().count(), 14);
}

#[test]
fn k2_one_port_of_two_protocols_is_two_services_at_one_virtual_ip() {
    let translation = on_node_a([with_ports(json!([
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]))]);
    assert_eq!(services(&translation), ["10.96.0.10:53/tcp rr", "10.96.0.10:53/udp rr"]);
    assert_eq!(vips(&translation), [A]);
    assert_eq!(members_of(&translation, "lvs4-cluster"), ["10.96.0.10,tcp:53", "10.96.0.10,udp:53"]);
}

#[test]
fn k3_sctp_is_a_service_and_a_member() {
    let translation = on_node_a([with_ports(json!([{"name": "sig", "port": 9999, "protocol": "SCTP"}]))]);
    assert_eq!(services(&translation), ["10.96.0.10:9999/sctp rr"]);
    assert_eq!(members_of(&translation, "lvs4-cluster"), ["10.96.0.10,sctp:9999"]);
}

#[test]
fn k4_external_ips_of_the_families_of_the_service_are_bound() {
    let spec = json!({"externalIPs": ["198.51.100.7", "2001:db8::7"], "externalTrafficPolicy": "Cluster"});
    let translation = on_node_a([service(spec.clone()), slice(json!([ready("10.244.1.11", "node-b")]))]);
    assert_eq!(
        services(&translation),
        ["10.96.0.10:80/tcp rr -> 10.244.1.11:8080", "198.51.100.7:80/tcp rr -> 10.244.1.11:8080"]
    );
    assert_eq!(vips(&translation), [A, "198.51.100.7"]);
    assert_eq!(members_of(&translation, "lvs4-external"), ["198.51.100.7,tcp:80"]);
    assert_eq!(members_of(&translation, "lvs4-vips"), [A, "198.51.100.7"]);

    let mut node = node_a();
    node.external_ips = false;
    assert_eq!(services(&translate(&objects([service(spec)]), &node)), ["10.96.0.10:80/tcp rr"]);
}

#[test]
fn k5_an_address_of_another_interface_is_served_but_not_bound() {
    let mut node = node_a();
    node.local = [address("198.51.100.7")].into();
    let translation = translate(&objects([service(json!({"externalIPs": ["198.51.100.7"]}))]), &node);
    assert_eq!(services(&translation), ["10.96.0.10:80/tcp rr", "198.51.100.7:80/tcp rr"]);
    assert_eq!(vips(&translation), [A]);
    assert_eq!(members_of(&translation, "lvs4-vips"), [A]);
    assert_eq!(
        notes(&translation),
        ["conflict shop/web: 198.51.100.7 is an address of another interface: it is not bound"]
    );
}

#[test]
fn k6_addresses_of_load_balancers_are_served_as_external_ips() {
    for ingress in [json!({"ip": "203.0.113.10", "ipMode": "VIP"}), json!({"ip": "203.0.113.10"})] {
        let translation = on_node_a([balanced(service(json!({"type": "LoadBalancer"})), ingress)]);
        assert_eq!(services(&translation), ["10.96.0.10:80/tcp rr", "203.0.113.10:80/tcp rr"]);
        assert_eq!(vips(&translation), [A, "203.0.113.10"]);
        assert_eq!(members_of(&translation, "lvs4-external"), ["203.0.113.10,tcp:80"]);
    }
}

#[test]
fn k7_an_ingress_of_a_proxy_or_a_host_name_needs_nothing() {
    for ingress in [json!({"ip": "203.0.113.10", "ipMode": "Proxy"}), json!({"hostname": "lb.example.net"})] {
        let translation = on_node_a([balanced(service(json!({"type": "LoadBalancer"})), ingress)]);
        assert_eq!(services(&translation), ["10.96.0.10:80/tcp rr"]);
        assert_eq!(notes(&translation), [""; 0]);
    }
}

#[test]
fn k8_node_ports_are_served_at_the_addresses_of_the_node_and_not_bound() {
    let mut spec = dual();
    merge(&mut spec, json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}));
    let translation = on_node_a([service(spec.clone())]);
    assert_eq!(
        services(&translation),
        [
            "10.96.0.10:80/tcp rr",
            "192.0.2.11:30080/tcp rr",
            "[2001:db8:1::11]:30080/tcp rr",
            "[fd00:10:96::a]:80/tcp rr"
        ]
    );
    assert_eq!(vips(&translation), [A, "fd00:10:96::a"]);
    assert_eq!(members_of(&translation, "lvs4-external"), ["192.0.2.11,tcp:30080"]);
    assert_eq!(members_of(&translation, "lvs6-external"), ["2001:db8:1::11,tcp:30080"]);
    assert_eq!(members_of(&translation, "lvs4-vips"), [A]);
    assert_eq!(notes(&translation), [""; 0]);

    let mut unknown = node_a();
    unknown.addresses.clear();
    let translation = translate(&objects([service(spec)]), &unknown);
    assert_eq!(services(&translation).len(), 2);
    assert_eq!(
        notes(&translation),
        ["warning shop/web: node port 30080 is not served: no address of the node is known"]
    );
}

#[test]
fn k9_the_policy_local_moves_the_outer_keys_to_the_set_local() {
    let spec = json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "externalIPs": ["198.51.100.7"],
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
    });
    let translation = on_node_a([balanced(service(spec), json!({"ip": "203.0.113.10"}))]);
    assert_eq!(members_of(&translation, "lvs4-external"), [""; 0]);
    assert_eq!(
        members_of(&translation, "lvs4-local"),
        ["192.0.2.11,tcp:30080", "198.51.100.7,tcp:80", "203.0.113.10,tcp:80"]
    );
    assert_eq!(members_of(&translation, "lvs4-cluster"), ["10.96.0.10,tcp:80"]);
}

#[test]
fn k10_session_affinity_is_on_all_services_of_the_service() {
    for (config, seconds) in
        [(json!({"clientIP": {"timeoutSeconds": 600}}), 600), (json!(null), 10800), (json!({"clientIP": {}}), 10800)]
    {
        let mut spec = dual();
        let fields = json!({
            "type": "NodePort", "sessionAffinity": "ClientIP", "sessionAffinityConfig": config,
            "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
        });
        merge(&mut spec, fields);
        let translation = on_node_a([service(spec)]);
        let expected = ["10.96.0.10:80", "192.0.2.11:30080", "[2001:db8:1::11]:30080", "[fd00:10:96::a]:80"]
            .map(|key| format!("{key}/tcp rr persistent {seconds}"));
        assert_eq!(services(&translation), expected);
    }
}

fn restricted(ranges: serde_json::Value) -> serde_json::Value {
    let spec = json!({
        "type": "LoadBalancer", "loadBalancerSourceRanges": ranges,
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
    });
    balanced(service(spec), json!({"ip": "203.0.113.10"}))
}

#[test]
fn k11_source_ranges_restrict_the_addresses_of_load_balancers() {
    let translation = on_node_a([restricted(json!(["198.51.100.64/26", "2001:db8:1::/48", "203.0.113.0/24"]))]);
    assert_eq!(members_of(&translation, "lvs4-firewall"), ["203.0.113.10,tcp:80"]);
    assert_eq!(
        members_of(&translation, "lvs4-source"),
        ["203.0.113.10,tcp:80,198.51.100.64/26", "203.0.113.10,tcp:80,203.0.113.0/24"]
    );
    assert_eq!(members_of(&translation, "lvs6-source"), [""; 0]);

    // The node itself is allowed.
    let translation = on_node_a([restricted(json!(["192.0.2.0/24"]))]);
    assert_eq!(
        members_of(&translation, "lvs4-source"),
        ["203.0.113.10,tcp:80,203.0.113.10", "203.0.113.10,tcp:80,192.0.2.0/24"]
    );
    assert_eq!(notes(&translation), [""; 0]);
}

#[test]
fn k12_no_range_of_the_family_or_all_addresses_restrict_nothing() {
    let translation = on_node_a([restricted(json!(["198.51.100.64/26", "0.0.0.0/0"]))]);
    assert_eq!(members_of(&translation, "lvs4-firewall"), [""; 0]);
    assert_eq!(members_of(&translation, "lvs4-source"), [""; 0]);
    assert_eq!(notes(&translation), [""; 0]);

    let translation = on_node_a([restricted(json!(["2001:db8:1::/48"]))]);
    assert_eq!(members_of(&translation, "lvs4-firewall"), [""; 0]);
    assert_eq!(
        notes(&translation),
        ["warning shop/web: no source range is of IPv4: its load balancer addresses are open to all"]
    );
}

#[test]
fn k13_blanks_around_source_ranges_are_trimmed() {
    let translation = on_node_a([restricted(json!([" 198.51.100.64/26\t"]))]);
    assert_eq!(members_of(&translation, "lvs4-source"), ["203.0.113.10,tcp:80,198.51.100.64/26"]);
}

#[test]
fn k14_a_health_check_node_port_is_a_line_of_the_plan() {
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000});
    let endpoints = json!([
        ready("10.244.1.11", "node-a"),
        ready("10.244.1.12", "node-a"),
        ready("10.244.2.13", "node-b"),
        crate::lab::ending("10.244.1.14", "node-a", true),
    ]);
    let mut spec_of_two_ports = spec;
    let ports = json!([{"name": "http", "port": 80}, {"name": "http", "port": 81, "protocol": "TCP"}]);
    merge(&mut spec_of_two_ports, json!({"ports": ports}));
    let translation = on_node_a([service(spec_of_two_ports), slice(endpoints)]);
    let lines: Vec<_> = translation.health.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["health 32000 shop/web: 2 local"]);
    assert_eq!(services(&translation).len(), 2);
}

#[test]
fn k15_of_two_services_with_one_key_the_older_one_has_it() {
    let spec = json!({"externalIPs": ["198.51.100.7"]});
    let (mut one, other) = (named("b", "10.96.0.11", spec.clone()), named("a", "10.96.0.12", spec));
    let slices = || [slice_of("a", "a-1", json!([ready("10.244.1.1", "node-b")])), slice_of("b", "b-1", json!(null))];
    let [a, b] = slices();
    let conflict = |loser: &str, winner: &str| {
        format!("conflict shop/{loser}: 198.51.100.7:80/tcp belongs to the older Service shop/{winner}")
    };
    let translation = on_node_a([one.clone(), other.clone(), a, b]);
    assert_eq!(to(&translation, "198.51.100.7:80/tcp"), ["10.244.1.1:8080"]);
    assert_eq!(notes(&translation), [conflict("b", "a")]);
    assert_eq!(services(&translation).len(), 3);

    one["metadata"]["creationTimestamp"] = json!("2026-11-28T03:52:26Z");
    let [a, b] = slices();
    let translation = on_node_a([one.clone(), other, a, b]);
    assert_eq!(to(&translation, "198.51.100.7:80/tcp"), [""; 0]);
    assert_eq!(notes(&translation), [conflict("a", "b")]);
}

#[test]
fn k17_an_annotation_chooses_the_scheduler() {
    let annotated = |scheduler: &str| {
        let mut service = service(json!({"externalIPs": ["198.51.100.7"]}));
        service["metadata"]["annotations"] = json!({"kube-router.io/service.scheduler": scheduler, "other": "x"});
        on_node_a([service])
    };
    let translation = annotated("wlc");
    assert_eq!(services(&translation), ["10.96.0.10:80/tcp wlc", "198.51.100.7:80/tcp wlc"]);
    let flags = |scheduler: &str| {
        let desired = annotated(scheduler).desired;
        desired.services().map(|wanted| wanted.service().flags.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((flags("mh"), flags("sh")), (vec!["flag-2".to_owned(); 2], vec!["none".to_owned(); 2]));
    let translation = annotated("fastest");
    assert_eq!(services(&translation), ["10.96.0.10:80/tcp rr", "198.51.100.7:80/tcp rr"]);
    assert_eq!(notes(&translation), ["conflict shop/web: scheduler \"fastest\" is unknown: rr is used"]);
}

#[test]
fn k18_a_service_without_slices_is_a_service_without_destinations() {
    for slices in [vec![], vec![slice(json!(null))]] {
        let translation = on_node_a([service(json!({}))].into_iter().chain(slices));
        assert_eq!(services(&translation), ["10.96.0.10:80/tcp rr"]);
        assert_eq!(vips(&translation), [A]);
        assert_eq!(members(&translation), ["lvs4-cluster 10.96.0.10,tcp:80", "lvs4-vips 10.96.0.10"]);
    }
}

#[test]
fn k19_two_services_share_an_address_until_the_last_of_them_is_gone() {
    let of = |name: &str, cluster_ip: &str, port: u16| {
        let spec = json!({"type": "LoadBalancer", "ports": [{"name": "http", "port": port}]});
        balanced(named(name, cluster_ip, spec), json!({"ip": "203.0.113.10"}))
    };
    let translation = on_node_a([of("a", "10.96.0.11", 80), of("b", "10.96.0.12", 443)]);
    assert_eq!(vips(&translation), ["10.96.0.11", "10.96.0.12", "203.0.113.10"]);
    assert_eq!(members_of(&translation, "lvs4-external"), ["203.0.113.10,tcp:80", "203.0.113.10,tcp:443"]);
    assert_eq!(notes(&translation), [""; 0]);
    let translation = on_node_a([of("b", "10.96.0.12", 443)]);
    assert_eq!(vips(&translation), ["10.96.0.12", "203.0.113.10"]);
}

#[test]
fn unknown_values_are_conflicts_of_their_service() {
    let spec = json!({
        "type": "Mesh", "externalTrafficPolicy": "Near", "internalTrafficPolicy": "Near", "sessionAffinity": "Cookie",
        "ports": [{"name": "http", "port": 80}, {"name": "quic", "port": 443, "protocol": "QUIC"}],
    });
    let web = balanced(service(spec), json!({"ip": "203.0.113.10", "ipMode": "Tunnel"}));
    let translation = on_node_a([web, named("other", "10.96.0.11", json!({}))]);
    assert_eq!(services(&translation), ["10.96.0.10:80/tcp rr", "10.96.0.11:80/tcp rr"]);
    assert_eq!(
        notes(&translation),
        [
            "conflict shop/web: externalTrafficPolicy \"Near\" is unknown: served as Cluster",
            "conflict shop/web: internalTrafficPolicy \"Near\" is unknown: served as Cluster",
            "conflict shop/web: ipMode \"Tunnel\" of 203.0.113.10 is unknown: the address is not served",
            "conflict shop/web: port 443: protocol \"QUIC\" is unknown",
            "conflict shop/web: sessionAffinity \"Cookie\" is unknown: served as None",
            "conflict shop/web: type \"Mesh\" is unknown: served as ClusterIP",
        ]
    );
}
