//! The rules of the packet filter, and the properties of a Node object.

use lvs::Family;
use lvs::ipset::Network;
use serde_json::json;
use service_proxy::node::Node;
use service_proxy::rules;

use crate::lab::{address, node_a, objects};

/// `cargo xtask bench claims` measures these rules.
const IPV4: &str = include_str!("../../../../benches/kernel/claims/constant.rules");

#[test]
fn the_rules_are_constant() {
    let pods = node_a().pod_networks;
    assert_eq!(rules::iptables(Family::Inet, &pods).unwrap(), IPV4);
    let ipv6 = IPV4.replace("lvs4-", "lvs6-").replace("127.0.0.0/8", "::1/128");
    let pods6: Network = "fd00:10:244::/64".parse().unwrap();
    let expected = ipv6.replace("10.244.0.0/16", "fd00:10:244::/64");
    assert_eq!(rules::iptables(Family::Inet6, &[pods[0], pods6]).unwrap(), expected);

    // Without the network of pods only the hairpin of an endpoint is recognised.
    let expected = IPV4.replace(
        "! -s 10.244.0.0/16 -m set --match-set lvs4-cluster dst,dst",
        "-m set --match-set lvs4-cluster src,dst",
    );
    assert_eq!(rules::iptables(Family::Inet, &[pods6]).unwrap(), expected);
}

#[test]
fn the_rules_for_nft_state_their_limits() {
    let node = node_a();
    let text = rules::nft(&node.vip_networks, &node.pod_networks).unwrap();
    for line in [
        "# - loadBalancerSourceRanges: the addresses of load balancers are open to all,",
        "\t\tip daddr { 10.96.0.0/16 } ip saddr != { 10.244.0.0/16 } meta mark set meta mark or 0x4000",
        "\t\tip6 daddr { fd00:10:96::/112 } meta mark set meta mark or 0x4000",
        "\t\tfib daddr type local udp dport 30000-32767 meta mark set meta mark or 0x4000",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn a_node_object_gives_what_no_option_has() {
    let object = json!({
        "kind": "Node", "apiVersion": "v1",
        "metadata": {"name": "node-a", "labels": {"topology.kubernetes.io/zone": "zone-9", "kubernetes.io/os": "linux"}},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"]},
        "status": {"addresses": [
            {"type": "InternalIP", "address": "192.0.2.12"},
            {"type": "InternalIP", "address": "2001:db8:1::12"},
            {"type": "ExternalIP", "address": "203.0.113.1"},
            {"type": "Hostname", "address": "node-a"},
        ]},
    });
    let objects = objects([object]);
    let mut node = Node::new("node-a");
    node.fill(objects.node("node-a").unwrap());
    assert_eq!(node.zone.as_deref(), Some("zone-9"));
    assert_eq!(node.addresses, ["192.0.2.12", "2001:db8:1::12"].map(address));
    assert_eq!(node.pod_networks.len(), 2);

    let mut given = node_a();
    given.fill(objects.node("node-a").unwrap());
    let expected = node_a();
    assert_eq!((given.zone, given.addresses), (expected.zone, expected.addresses));
    assert_eq!(given.pod_networks, expected.pod_networks);
}

#[test]
fn the_rules_are_deleted_by_a_text_of_their_own() {
    let expected = "\
*nat
:LVS-SERVICES - [0:0]
:LVS-POSTROUTING - [0:0]
-D PREROUTING -j LVS-SERVICES
-D OUTPUT -j LVS-SERVICES
-D POSTROUTING -j LVS-POSTROUTING
-X LVS-SERVICES
-X LVS-POSTROUTING
COMMIT
*filter
:LVS-INPUT - [0:0]
:LVS-FORWARD - [0:0]
-D INPUT -j LVS-INPUT
-D FORWARD -j LVS-FORWARD
-X LVS-INPUT
-X LVS-FORWARD
COMMIT
";
    assert_eq!(rules::delete_iptables().unwrap(), expected);
    assert!(rules::nft(&[], &[]).unwrap().contains(rules::DELETE_NFT));
}
