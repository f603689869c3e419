//! The constant rules of the service proxy with packets: who reaches a Service, and with which source.

use std::fs;
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipset::Kind;
use lvs::netns::Namespace;

use crate::lab::{Lab, Need, tests, tool};

pub(crate) fn tests() -> Vec<Trial> {
    let needs = &[
        Need::Ipvs,
        Need::Ipset(Kind::HashIpPortNet),
        Need::Ipset(Kind::HashIpPortIp),
        Need::Program("service-proxy"),
        Need::Program("iptables-restore"),
        Need::Module("ipt_REJECT"),
        Need::Module("ip6t_REJECT"),
    ];
    tests!(needs;
        proxy_rules_masquerade_restrict_and_guard_ipv4,
        proxy_rules_masquerade_restrict_and_guard_ipv6,
    )
}

/// Addresses of one family.
struct Plan {
    family: &'static str,
    restore: &'static str,
    save: &'static str,
    /// Prefix length of one address, and of the link to the outside.
    lengths: [u8; 2],
    node: &'static str,
    outside: &'static str,
    gateway: &'static str,
    pods: [&'static str; 2],
    pod_network: &'static str,
    cluster: &'static str,
    external: &'static str,
    /// Addresses of load balancers: for endpoints of the node only, with the range of the client, with another one.
    balanced: [&'static str; 3],
    other_range: &'static str,
}

const IPV4: Plan = Plan {
    family: "4",
    restore: "iptables-restore",
    save: "iptables-save",
    lengths: [32, 24],
    node: "192.0.2.11",
    outside: "192.0.2.50",
    gateway: "10.244.1.1",
    pods: ["10.244.1.2", "10.244.1.3"],
    pod_network: "10.244.0.0/16",
    cluster: "10.96.0.10",
    external: "198.51.100.7",
    balanced: ["203.0.113.20", "203.0.113.10", "203.0.113.11"],
    other_range: "192.0.2.99/32",
};

const IPV6: Plan = Plan {
    family: "6",
    restore: "ip6tables-restore",
    save: "ip6tables-save",
    lengths: [128, 64],
    node: "2001:db8:1::11",
    outside: "2001:db8:1::50",
    gateway: "fd00:10:244:1::1",
    pods: ["fd00:10:244:1::2", "fd00:10:244:1::3"],
    pod_network: "fd00:10:244::/48",
    cluster: "fd00:10:96::a",
    external: "2001:db8:100::7",
    balanced: ["2001:db8:200::20", "2001:db8:200::10", "2001:db8:200::11"],
    other_range: "2001:db8:1::99/128",
};

/// A host that is connected to the node.
fn host(lab: &Lab, plan: &Plan, port: &str, [near, far]: [&str; 2], length: u8) -> Namespace {
    let host = Namespace::create().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), host.as_fd().as_raw_fd());
    lab.tool(&format!("ip link add {port} up type veth peer name eth0 netns {path}"));
    let once = if plan.family == "6" { " nodad" } else { "" };
    lab.tool(&format!("ip addr add {near}/{length} dev {port}{once}"));
    tool(&host, "ip link set lo up", "");
    tool(&host, "ip link set eth0 up", "");
    tool(&host, &format!("ip addr add {far}/{length} dev eth0{once}"), "");
    if length == plan.lengths[0] {
        lab.tool(&format!("ip route add {far}/{length} dev {port}"));
        tool(&host, &format!("ip route add {near}/{length} dev eth0"), "");
    }
    tool(&host, &format!("ip -{} route add default via {near}", plan.family), "");
    host
}

fn objects(plan: &Plan) -> String {
    let family = if plan.family == "4" { "IPv4" } else { "IPv6" };
    let service = |name: &str, cluster_ip: String, spec: &str, ip: Option<&str>| {
        let ingress = ip.map(|ip| format!(r#""ingress": [{{"ip": "{ip}"}}]"#)).unwrap_or_default();
        format!(
            r#"{{"kind": "Service", "apiVersion": "v1", "metadata": {{"name": "{name}", "namespace": "shop"}},
                "spec": {{"clusterIP": "{cluster_ip}", "ports": [{{"port": 80}}], {spec}}},
                "status": {{"loadBalancer": {{{ingress}}}}}}}
            {{"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "{family}",
                "metadata": {{"name": "{name}-x", "namespace": "shop", "labels": {{"kubernetes.io/service-name": "{name}"}}}},
                "endpoints": [{{"addresses": ["{pod}"], "nodeName": "node-a"}}], "ports": [{{"name": "", "port": 8080}}]}}"#,
            pod = plan.pods[0],
        )
    };
    let ranges = |range: String| format!(r#""type": "LoadBalancer", "loadBalancerSourceRanges": ["{range}"]"#);
    let [local, right, wrong] = plan.balanced;
    let own = format!("{}/{}", plan.outside, plan.lengths[0]);
    let external = format!(r#""externalIPs": ["{}"]"#, plan.external);
    [
        service("web", plan.cluster.to_owned(), &external, None),
        service(
            "local",
            format!("{}1", plan.cluster),
            r#""type": "LoadBalancer", "externalTrafficPolicy": "Local""#,
            Some(local),
        ),
        service("right", format!("{}2", plan.cluster), &ranges(own), Some(right)),
        service("wrong", format!("{}3", plan.cluster), &ranges(plan.other_range.to_owned()), Some(wrong)),
    ]
    .concat()
}

/// Longer than the time until the first packet is repeated: a refusal that arrives while the socket is locked has no effect.
const PATIENCE: Duration = Duration::from_secs(4);

/// The source address that the endpoint sees of a connection.
fn source(client: &Namespace, to: (&str, u16), endpoint: &TcpListener) -> Result<IpAddr> {
    let to = SocketAddr::new(to.0.parse().unwrap(), to.1);
    let _stream = client.run(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap()?;
    Ok(endpoint.accept()?.1.ip())
}

fn proxy_rules_masquerade_restrict_and_guard_ipv4(lab: &Lab) {
    every_path(lab, &IPV4);
}

fn proxy_rules_masquerade_restrict_and_guard_ipv6(lab: &Lab) {
    every_path(lab, &IPV6);
}

fn every_path(lab: &Lab, plan: &Plan) {
    lab.tool("ip link set lo up");
    lab.run(|| {
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/vs/conntrack"] {
            fs::write(format!("/proc/sys/net/{setting}"), "1").unwrap();
        }
    });
    let outside = host(lab, plan, "out0", [plan.node, plan.outside], plan.lengths[1]);
    let [pod, other] = [("pod0", plan.pods[0]), ("pod1", plan.pods[1])]
        .map(|(port, pod)| host(lab, plan, port, [plan.gateway, pod], plan.lengths[0]));
    let options = format!("--node-name node-a --node-ip {} --pod-cidr {}", plan.node, plan.pod_network);
    lab.tool_with_input(&format!("service-proxy apply - {options}"), &objects(plan));
    let rules = lab.tool(&format!("service-proxy rules --family {} {options}", plan.family));
    lab.tool_with_input(&format!("{} --noflush", plan.restore), &rules);

    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let at = SocketAddr::new(address(plan.pods[0]), 8080);
    let endpoint = pod.run(|| TcpListener::bind(at)).unwrap().unwrap();
    let (gateway, client) = (address(plan.gateway), address(plan.outside));
    let node = lab.namespace();
    let [local, right, wrong] = plan.balanced;
    for (path, from, to, expected) in [
        ("outside to the cluster IP", &outside, plan.cluster, gateway),
        ("another pod to the cluster IP", &other, plan.cluster, address(plan.pods[1])),
        ("the endpoint to itself", &pod, plan.cluster, gateway),
        ("outside to the external IP", &outside, plan.external, gateway),
        ("outside to an address with the policy Local", &outside, local, client),
        ("a client within the source range", &outside, right, gateway),
        ("the node to the cluster IP", node, plan.cluster, gateway),
    ] {
        let seen = source(from, (to, 80), &endpoint).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(seen, expected, "{path}");
    }
    let outcome = |to: &str, port: u16| source(&outside, (to, port), &endpoint).unwrap_err().kind();
    assert_eq!(outcome(wrong, 80), ErrorKind::TimedOut);
    assert_eq!(outcome(plan.cluster, 81), ErrorKind::ConnectionRefused);

    // Back to the beginning.
    let rules = lab.tool("service-proxy rules --delete");
    lab.tool_with_input(&format!("{} --noflush", plan.restore), &rules);
    lab.tool(&format!("service-proxy cleanup {options}"));
    assert!(!lab.tool(plan.save).contains("LVS"));
    assert_eq!((lab.tool("ipset save"), lab.tool("ipvsadm -Sn")), (String::new(), String::new()));
}
