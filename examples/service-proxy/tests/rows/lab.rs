//! Objects as a cluster writes them, and the lines that a translation is compared by.

use std::net::IpAddr;

use lvs::ipvs::Forwarding;
use serde_json::{Value, json};
use service_proxy::node::Node;
use service_proxy::objects::Objects;
use service_proxy::source::file;
use service_proxy::translate::{Translation, translate};

/// The cluster IP of [`service`].
pub(crate) const A: &str = "10.96.0.10";

/// The node of all examples.
pub(crate) fn node_a() -> Node {
    let mut node = Node::new("node-a");
    node.zone = Some("zone-1".to_owned());
    node.addresses = ["192.0.2.11", "2001:db8:1::11"].map(address).to_vec();
    node.vip_networks = ["10.96.0.0/16", "fd00:10:96::/112"].map(|text| text.parse().unwrap()).to_vec();
    node.pod_networks = vec!["10.244.0.0/16".parse().unwrap()];
    node
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The Service `shop/web` with one port `http`, and these fields of its `spec`.
pub(crate) fn service(spec: Value) -> Value {
    named("web", A, spec)
}

/// A Service with one port `http`, and these fields of its `spec`.
pub(crate) fn named(name: &str, cluster_ip: &str, spec: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": name, "namespace": "shop", "creationTimestamp": "2026-11-28T03:52:27Z", "resourceVersion": "410",
            "labels": {"app": name}, "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {
            "clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "web"}],
            "selector": {"app": name}, "sessionAffinity": "None", "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    });
    merge(&mut service["spec"], spec);
    service
}

/// Sets the fields of one object in another one.
pub(crate) fn merge(object: &mut Value, fields: Value) {
    let Value::Object(fields) = fields else { panic!("{fields}") };
    object.as_object_mut().unwrap().extend(fields);
}

/// The same Service with an address of a load balancer.
pub(crate) fn balanced(mut service: Value, ingress: Value) -> Value {
    service["status"] = json!({"loadBalancer": {"ingress": [ingress]}});
    service
}

/// A slice of `shop/web` with one port `http`.
pub(crate) fn slice(endpoints: Value) -> Value {
    slice_of("web", "web-2j4jc", endpoints)
}

/// A slice with one port `http`.
pub(crate) fn slice_of(service: &str, name: &str, endpoints: Value) -> Value {
    json!({
        "addressType": "IPv4", "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "generateName": "web-", "generation": 4, "name": name, "namespace": "shop",
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": service,
            },
        },
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

/// A ready endpoint.
pub(crate) fn ready(address: &str, node: &str) -> Value {
    endpoint(address, node, json!({"ready": true, "serving": true, "terminating": false}))
}

/// An endpoint that is about to end, and still answers or not.
pub(crate) fn ending(address: &str, node: &str, serving: bool) -> Value {
    endpoint(address, node, json!({"ready": false, "serving": serving, "terminating": true}))
}

pub(crate) fn endpoint(address: &str, node: &str, conditions: Value) -> Value {
    json!({
        "addresses": [address], "conditions": conditions, "nodeName": node, "zone": "zone-1",
        "targetRef": {"kind": "Pod", "name": "pod", "namespace": "shop"},
    })
}

/// A list as `kubectl` prints it.
pub(crate) fn list(items: impl IntoIterator<Item = Value>) -> String {
    let items: Vec<_> = items.into_iter().collect();
    serde_json::to_string_pretty(
        &json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}),
    )
    .unwrap()
}

pub(crate) fn objects(items: impl IntoIterator<Item = Value>) -> Objects {
    file::parse(list(items).as_bytes()).unwrap()
}

/// Translates for the node of all examples.
pub(crate) fn on_node_a(items: impl IntoIterator<Item = Value>) -> Translation {
    translate(&objects(items), &node_a())
}

/// Services with their destinations.
pub(crate) fn services(translation: &Translation) -> Vec<String> {
    let mut lines = Vec::new();
    for wanted in translation.desired.services() {
        let service = wanted.service();
        let to = wanted.destinations().iter().map(|to| {
            assert_eq!((to.weight, to.forwarding), (1, Forwarding::Masquerade));
            format!(" {}", to.address)
        });
        lines.push(format!("{service}{}{}", if to.len() > 0 { " ->" } else { "" }, to.collect::<String>()));
    }
    lines
}

/// The virtual IPs that are bound for services.
pub(crate) fn vips(translation: &Translation) -> Vec<String> {
    let bound = translation.desired.services().filter(|wanted| wanted.bind);
    let mut vips: Vec<_> = bound.map(|wanted| wanted.service().key.address().unwrap().ip().to_string()).collect();
    vips.sort();
    vips.dedup();
    vips
}

/// The members of all sets: `lvs4-cluster 10.96.0.10,tcp:80`.
pub(crate) fn members(translation: &Translation) -> Vec<String> {
    let sets = translation.desired.sets();
    sets.flat_map(|(name, set)| set.members().iter().map(move |member| format!("{name} {member}"))).collect()
}

/// The members of one set.
pub(crate) fn members_of(translation: &Translation, set: &str) -> Vec<String> {
    members(translation)
        .into_iter()
        .filter_map(|line| line.split_once(' ').filter(|(name, _)| *name == set).map(|(_, member)| member.to_owned()))
        .collect()
}

pub(crate) fn notes(translation: &Translation) -> Vec<String> {
    translation.notes.iter().map(ToString::to_string).collect()
}

/// The destinations of one service.
pub(crate) fn to(translation: &Translation, service: &str) -> Vec<String> {
    let key: lvs::ipvs::ServiceKey = service.parse().unwrap();
    let wanted = translation.desired.get(key).unwrap_or_else(|| panic!("no service {service}"));
    wanted.destinations().iter().map(|to| to.address.to_string()).collect()
}
