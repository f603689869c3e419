//! Rows D and K16: the kernel's state after each apply.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lvs::director::{Conflict, Desired, Director, Drain, Report};
use lvs::ipset::{HashIp, Member, NewSet};
use lvs::ipvs::{Ipvs, Scheduler, Service, ServiceKey};
use lvs::testing::Kernel;
use lvs::vip::Binder;
use serde_json::{Value, json};
use service_proxy::node::Node;
use service_proxy::translate::translate;

use crate::lab::{address, merge, named, node_a, objects, ready, service, slice, slice_of};

/// A node with a kernel in memory.
pub(crate) struct Machine {
    pub(crate) kernel: Kernel,
    pub(crate) director: Director,
    pub(crate) node: Node,
    pub(crate) now: Instant,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let (kernel, node) = (Kernel::new(), node_a());
        Self { director: director(&kernel, &node), kernel, node, now: Instant::now() }
    }

    pub(crate) fn ipvs(&self) -> Ipvs {
        self.kernel.ipvs().unwrap()
    }

    pub(crate) fn apply(&mut self, items: impl IntoIterator<Item = Value>) -> Report {
        let desired = translate(&objects(items), &self.node).desired;
        self.director.sync_at(&desired, self.now).unwrap()
    }

    /// A new process on the same kernel.
    pub(crate) fn restart(&mut self) {
        self.director = director(&self.kernel, &self.node);
    }

    /// Lets the longest drain end.
    pub(crate) fn pass_deadline(&mut self) {
        self.now += Duration::from_secs(900);
    }

    /// Destinations of a service with their weights.
    pub(crate) fn weights(&self, service: &str) -> Vec<String> {
        let key: ServiceKey = service.parse().unwrap();
        let mut found = self.ipvs().destinations(key).unwrap();
        found.sort_by_key(|info| info.address());
        found.iter().map(|info| format!("{} {}", info.address(), info.destination.weight)).collect()
    }

    /// Opens connections to a destination.
    pub(crate) fn connect(&self, service: &str, to: &str, connections: u32) {
        let (key, to): (ServiceKey, SocketAddr) = (service.parse().unwrap(), to.parse().unwrap());
        assert!(self.kernel.set_connections(key, to, connections, 0, 0));
    }

    /// Everything that exists: services with destinations, virtual IPs, sets with members.
    pub(crate) fn state(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (info, to) in self.ipvs().table().unwrap() {
            lines.push(format!("service {}", info.service));
            lines.extend(to.iter().map(|to| format!("  {} of {}", to.destination, info.key())));
        }
        let binder = Binder::dummy(&self.node.device).unwrap();
        lines.extend(self.kernel.vips().virtual_ips(&binder).unwrap().iter().map(|vip| format!("vip {vip}")));
        let mut ipset = self.kernel.ipset();
        for info in ipset.sets().unwrap() {
            let members = ipset.members(&info.set).unwrap();
            lines.push(format!("set {}", info.set));
            lines.extend(members.iter().map(|member| format!("  {} {member}", info.set)));
        }
        lines.sort();
        lines
    }
}

fn director(kernel: &Kernel, node: &Node) -> Director {
    let (owner, binder) = (node.owner().unwrap(), node.binder().unwrap());
    Director::over(kernel.ipvs().unwrap(), kernel.ipset(), kernel.vips(), owner, binder)
}

fn steps(report: &Report) -> Vec<String> {
    report.steps().map(|(step, _)| step.to_string()).collect()
}

const WEB: &str = "10.96.0.10:80/tcp";

fn pods(numbers: &[u8]) -> Value {
    let pods: Vec<_> = numbers.iter().map(|number| ready(&format!("10.244.2.{number}"), "node-b")).collect();
    slice(json!(pods))
}

#[test]
fn k16_a_foreign_service_is_a_conflict_until_it_is_adopted() {
    let mut machine = Machine::new();
    let foreign = Service::tcp("198.51.100.7:80".parse().unwrap(), Scheduler::WLC);
    machine.ipvs().add_service(foreign).unwrap();
    // In the network of cluster IPs all services belong to this program.
    machine.ipvs().add_service(Service::tcp("10.96.0.10:80".parse().unwrap(), Scheduler::WLC)).unwrap();
    let items = || [service(json!({"externalIPs": ["198.51.100.7"]})), pods(&[1])];
    let report = machine.apply(items());
    assert_eq!(report.conflicts, [Conflict::Foreign(foreign.key)]);
    assert_eq!(machine.weights(WEB), ["10.244.2.1:8080 1"]);
    assert_eq!(machine.ipvs().service(foreign.key).unwrap().service, foreign);

    machine.director.adopt(foreign).unwrap();
    assert_eq!(machine.apply(items()).conflicts, []);
    assert_eq!(machine.weights("198.51.100.7:80/tcp"), ["10.244.2.1:8080 1"]);
    machine.restart();
    assert!(machine.apply(items()).is_empty());
}

#[test]
fn d1_unwanted_tcp_drains_and_unwanted_datagrams_are_deleted() {
    let both = |numbers: &[u8]| {
        let mut slice = pods(numbers);
        slice["ports"] = json!([{"name": "tcp", "port": 8080}, {"name": "udp", "port": 8080, "protocol": "UDP"}]);
        let ports = json!([{"name": "tcp", "port": 80}, {"name": "udp", "port": 80, "protocol": "UDP"}]);
        [service(json!({"ports": ports})), slice]
    };
    let udp = "10.96.0.10:80/udp";
    let mut machine = Machine::new();
    machine.apply(both(&[1, 2, 3]));
    machine.connect(WEB, "10.244.2.1:8080", 2);
    machine.connect(WEB, "10.244.2.2:8080", 1);
    machine.connect(udp, "10.244.2.1:8080", 2);
    let report = machine.apply(both(&[3]));
    assert_eq!(report.draining.len(), 2);
    assert_eq!(machine.weights(WEB), ["10.244.2.1:8080 0", "10.244.2.2:8080 0", "10.244.2.3:8080 1"]);
    assert_eq!(machine.weights(udp), ["10.244.2.3:8080 1"]);
    // One is idle, the other one has reached its deadline.
    machine.connect(WEB, "10.244.2.2:8080", 0);
    machine.apply(both(&[3]));
    assert_eq!(machine.weights(WEB), ["10.244.2.1:8080 0", "10.244.2.3:8080 1"]);
    machine.pass_deadline();
    machine.apply(both(&[3]));
    assert_eq!(machine.weights(WEB), ["10.244.2.3:8080 1"]);
}

#[test]
fn d2_a_draining_destination_that_is_wanted_again_gets_its_weight_back() {
    let mut machine = Machine::new();
    machine.apply([service(json!({})), pods(&[1, 2])]);
    machine.connect(WEB, "10.244.2.1:8080", 1);
    machine.apply([service(json!({})), pods(&[2])]);
    let report = machine.apply([service(json!({})), pods(&[1, 2])]);
    assert_eq!(steps(&report), ["~ destination 10.244.2.1:8080 of service 10.96.0.10:80/tcp: weight 0 -> 1"]);
    let connections = machine.ipvs().destinations(WEB.parse::<ServiceKey>().unwrap()).unwrap();
    assert_eq!(connections.iter().map(|info| info.active_connections).sum::<u32>(), 1);
}

#[test]
fn d3_destinations_that_are_found_at_the_start_continue() {
    let mut machine = Machine::new();
    machine.apply([service(json!({})), pods(&[1, 2, 3])]);
    machine.connect(WEB, "10.244.2.1:8080", 1);
    machine.connect(WEB, "10.244.2.2:8080", 1);
    machine.apply([service(json!({})), pods(&[3])]);
    machine.restart();
    let report = machine.apply([service(json!({})), pods(&[1, 3])]);
    assert_eq!(report.draining.len(), 1);
    assert_eq!(machine.weights(WEB), ["10.244.2.1:8080 1", "10.244.2.2:8080 0", "10.244.2.3:8080 1"]);
}

#[test]
fn d4_changed_properties_of_a_service_touch_no_destination() {
    let mut machine = Machine::new();
    machine.apply([service(json!({})), pods(&[1])]);
    let affinity =
        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}});
    let mut changed = service(affinity);
    changed["metadata"]["annotations"] = json!({"kube-router.io/service.scheduler": "wlc"});
    let report = machine.apply([changed, pods(&[1])]);
    assert_eq!(steps(&report), ["~ service 10.96.0.10:80/tcp: scheduler rr -> wlc, persistent none -> 60"]);
}

#[test]
fn d5_a_deleted_service_drains_before_anything_of_it_is_deleted() {
    let mut machine = Machine::new();
    let other = || named("other", "10.96.0.11", json!({}));
    machine.apply([other()]);
    let before = machine.state();
    machine.apply([other(), service(json!({})), pods(&[1])]);
    machine.connect(WEB, "10.244.2.1:8080", 1);
    let during = machine.state();
    machine.apply([other()]);
    let drained: Vec<_> = during.iter().map(|line| line.replace("weight 1", "weight 0")).collect();
    assert_eq!(machine.state(), drained);
    machine.connect(WEB, "10.244.2.1:8080", 0);
    let report = machine.apply([other()]);
    assert_eq!(
        steps(&report),
        [
            "- virtual IP 10.96.0.10 on lvs-proxy0",
            "- service 10.96.0.10:80/tcp",
            "- key 10.96.0.10:80/tcp",
            "- member 10.96.0.10 of set lvs4-vips",
            "- member 10.96.0.10,tcp:80 of set lvs4-cluster",
        ]
    );
    assert_eq!(machine.state(), before);
}

#[test]
fn d6_foreign_objects_stay_as_they_are() {
    let mut machine = Machine::new();
    let foreign = Service::tcp("198.51.100.9:9".parse().unwrap(), Scheduler::SH);
    machine.ipvs().add_service(foreign).unwrap();
    machine.kernel.add_interface("other0", [(address("198.51.100.9"), 32)]);
    let mut ipset = machine.kernel.ipset();
    for name in ["lvs-clients", "lvs4", "KUBE-CLUSTER-IP"] {
        let set = ipset.create(name.parse().unwrap(), &NewSet::<HashIp>::ipv4()).unwrap();
        ipset.add(&set, &Member::new(address("10.0.0.1"))).unwrap();
    }
    let before = machine.state();
    let mut spec = json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    merge(&mut spec, json!({"externalIPs": ["198.51.100.7"]}));
    machine.apply([service(spec.clone()), pods(&[1, 2])]);
    machine.apply([service(spec), pods(&[2])]);
    let state = machine.state();
    assert!(before.iter().all(|line| state.contains(line)));

    // The end of all that is desired, as `cleanup` makes it.
    let mut nothing = Desired::default();
    nothing.drain = Drain::NONE;
    machine.director.sync_at(&nothing, machine.now).unwrap();
    let left: Vec<_> = machine.state().into_iter().filter(|line| !line.starts_with("set lvs-keys-")).collect();
    assert_eq!(left, before);
}

#[test]
fn d7_a_second_apply_writes_nothing() {
    let spec = json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP",
        "externalIPs": ["198.51.100.7"], "loadBalancerSourceRanges": ["192.0.2.0/24"],
        "clusterIPs": ["10.96.0.10", "fd00:10:96::a"],
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "u", "port": 53, "protocol": "UDP"}],
    });
    let items = || {
        let balanced = crate::lab::balanced(service(spec.clone()), json!({"ip": "203.0.113.10"}));
        [balanced, slice_of("web", "web-1", json!([ready("10.244.1.1", "node-a"), ready("10.244.2.2", "node-b")]))]
    };
    let mut machine = Machine::new();
    assert!(!machine.apply(items()).is_empty());
    assert!(machine.apply(items()).is_empty());
    machine.restart();
    assert!(machine.apply(items()).is_empty());
    let state = machine.state();
    machine.director.snapshot().unwrap();
    assert_eq!(machine.state(), state);
}
