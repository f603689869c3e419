//! The rules of the page, one by one.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lvs::conntrack::Tuple;
use lvs::director::{Conflict, Desired, Director, Drain, End, Event, Owner, Phase, Ranges, Role};
use lvs::ipset::{HashIp, Member, NewSet, SetName};
use lvs::ipvs::{Scheduler, Service};

use crate::lab::{Lab, MINUTE, pod, vip, vip0, web};

#[test]
fn a_plan_is_text_and_json() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7).weight(2), pod(8)]).unwrap().drain = Drain::within(MINUTE);
    lab.director.sync(&desired).unwrap();
    lab.ipvs.add_service(Service::udp("10.96.0.53:53".parse().unwrap(), Scheduler::RR)).unwrap();

    desired.service(web().scheduler(Scheduler::LC), [pod(7), pod(9)]).unwrap().drain = Drain::within(MINUTE);
    desired.service(Service::udp("10.96.0.53:53".parse().unwrap(), Scheduler::RR), [pod(7)]).unwrap();
    desired.service(Service::tcp("10.96.0.11:80".parse().unwrap(), Scheduler::RR), [pod(7)]).unwrap();
    let name: SetName = "web-clients".parse().unwrap();
    desired.set(name, &NewSet::<HashIp>::ipv4(), [Member::new(vip("10.0.0.1"))]).unwrap().role = Role::Guard;
    let plan = lab.plan(&desired);
    let text = "\
+ key 10.96.0.11:80/tcp
~ service 10.96.0.10:443/tcp: scheduler wrr -> lc
+ service 10.96.0.11:80/tcp rr
+ destination 10.244.1.9:6443 masq weight 1 of service 10.96.0.10:443/tcp
+ destination 10.244.1.7:6443 masq weight 1 of service 10.96.0.11:80/tcp
+ set web-clients hash:ip family inet
+ member 10.0.0.1 of set web-clients
+ virtual IP 10.96.0.11 on vip0
~ destination 10.244.1.7:6443 of service 10.96.0.10:443/tcp: weight 2 -> 1
~ destination 10.244.1.8:6443 of service 10.96.0.10:443/tcp: weight 1 -> 0
! service 10.96.0.53:53/udp exists and is foreign: it is not changed until it is adopted
  destination 10.244.1.8:6443 of service 10.96.0.10:443/tcp: draining, active 0 inactive 0 persistent 0
";
    assert_eq!(plan.to_string(), text);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["steps"][1]["phase"], "add");
    assert_eq!(json["steps"][1]["text"], "~ service 10.96.0.10:443/tcp: scheduler wrr -> lc");
    assert_eq!(json["foreign"], 1);
    let phases: Vec<_> = plan.steps.iter().map(|step| step.phase).collect();
    assert!(phases.is_sorted());
    assert_eq!(phases[0], Phase::Fill);
}

#[test]
fn a_foreign_service_is_a_conflict_until_it_is_adopted() {
    let mut lab = Lab::new();
    lab.ipvs.add_service(web()).unwrap();
    lab.ipvs.add_destination(web(), pod(1)).unwrap();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7)]).unwrap();
    desired.service(Service::tcp("10.96.0.11:80".parse().unwrap(), Scheduler::RR), [pod(7)]).unwrap();

    let report = lab.director.sync(&desired).unwrap();
    assert_eq!(report.conflicts, [Conflict::Foreign(web().key)]);
    assert_eq!(lab.weights(web()), [(1, 1)]);
    assert_eq!(lab.bound(), ["10.96.0.11"]);

    lab.director.adopt(web()).unwrap();
    let report = lab.director.sync(&desired).unwrap();
    assert_eq!(report.conflicts, []);
    assert_eq!(lab.weights(web()), [(1, 0), (7, 1)]);

    // It is owned from then on, by other directors, too.
    let owner = Owner::registered("web").unwrap();
    let (ipvs, ipset, vips) = (lab.kernel.ipvs().unwrap(), lab.kernel.ipset(), lab.kernel.vips());
    let mut other = Director::over(ipvs, ipset, vips, owner, vip0());
    let mut nothing = Desired::default();
    nothing.drain = Drain::NONE;
    other.sync(&nothing).unwrap();
    assert!(lab.ipvs.services().unwrap().is_empty());
    assert_eq!(lab.bound(), [""; 0]);
}

#[test]
fn an_owner_of_nothing_changes_nothing() {
    let mut lab = Lab::of(Owner::nothing());
    lab.ipvs.add_service(web()).unwrap();
    let mut desired = Desired::default();
    desired.service(Service::tcp("10.96.0.11:80".parse().unwrap(), Scheduler::RR), [pod(7)]).unwrap();
    let name: SetName = "web-clients".parse().unwrap();
    desired.set(name, &NewSet::<HashIp>::ipv4(), []).unwrap();
    let report = lab.director.sync(&desired).unwrap();
    let other = Service::tcp("10.96.0.11:80".parse().unwrap(), Scheduler::RR).key;
    assert_eq!(report.conflicts, [Conflict::NotOwnable(other), Conflict::Set(name)]);
    assert!(report.is_empty());
    assert_eq!(lab.ipvs.services().unwrap().len(), 1);
}

#[test]
fn a_document_tells_all_its_mistakes() {
    let json = r#"{
        "services": [
            {"service": "10.96.0.10:443/tcp", "scheduler": "wrr", "unknown": 1, "destinations": [
                {"address": "10.244.1.7:6443", "weight": 4000000000},
                {"address": "10.244.1.8:6443"}, {"address": "10.244.1.8:6443"}
            ]},
            {"service": "10.96.0.11:0/tcp", "scheduler": "rr", "destinations": []}
        ],
        "sets": [{"name": "web-clients", "set": "hash:ip family inet", "members": ["10.0.0.1", "10.0.0.0/8", "x"]}]
    }"#;
    let error = serde_json::from_str::<Desired>(json).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(
        lines,
        [
            "service 10.96.0.10:443/tcp: destination 10.244.1.7:6443: weight 4000000000 is above 2147483647",
            "service 10.96.0.10:443/tcp: destination 10.244.1.8:6443: is repeated",
            "service 10.96.0.11:0/tcp: port 0 (any port) needs a persistent service",
            "set web-clients: member x: \"x\" is not an entry such as 10.0.0.1",
            "set web-clients: member 10.0.0.0/8: stands for several entries: list each",
        ]
    );
}

/// A misspelt list is not an empty one, which would delete everything.
#[test]
fn a_document_without_a_mandatory_list_is_refused() {
    let error = |json| serde_json::from_str::<Desired>(json).unwrap_err().to_string();
    assert!(error("{}").starts_with("missing field `services`"));
    assert!(error(r#"{"service": []}"#).starts_with("missing field `services`"));
    let service = r#"{"services": [{"service": "10.96.0.10:443/tcp", "scheduler": "wrr", "destination": []}]}"#;
    assert!(error(service).starts_with("missing field `destinations`"));
    let set = r#"{"services": [], "sets": [{"name": "web-clients", "set": "hash:ip family inet", "member": []}]}"#;
    assert!(error(set).starts_with("missing field `members`"));
    let nothing = serde_json::from_str::<Desired>(r#"{"services": [], "unknown": 1}"#).unwrap();
    assert_eq!(nothing, Desired::default());
}

#[test]
fn a_document_reads_back() {
    let mut desired = Desired::default();
    desired.drain = Drain::NONE;
    let wanted = desired.service(web(), [pod(7).weight(2)]).unwrap();
    (wanted.drain, wanted.bind) = (Drain::within(MINUTE), false);
    desired.vip(vip("10.96.0.20"));
    let name: SetName = "web-clients".parse().unwrap();
    desired.set(name, &NewSet::<HashIp>::ipv4(), [Member::new(vip("10.0.0.1"))]).unwrap().role = Role::Guard;
    let json = serde_json::to_string(&desired).unwrap();
    let golden = r#"{"services":[{"service":"10.96.0.10:443/tcp","scheduler":"wrr","destinations":[{"address":"10.244.1.7:6443","forwarding":"masq","weight":2}],"drain":{"until":"idle","deadline":60,"datagrams":false},"bind":false}],"vips":["10.96.0.20"],"sets":[{"name":"web-clients","set":"hash:ip family inet","members":["10.0.0.1"],"role":"guard"}],"drain":{"until":"idle","deadline":0,"datagrams":false}}"#;
    assert_eq!(json, golden);
    assert_eq!(serde_json::from_str::<Desired>(&json).unwrap(), desired);
}

#[test]
fn two_snapshots_give_events() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7), pod(8)]).unwrap();
    lab.director.sync(&desired).unwrap();
    let before = lab.director.snapshot().unwrap();
    assert_eq!(before.changes(&before), []);
    lab.ipvs.set_destination(web(), pod(7).weight(5)).unwrap();
    lab.ipvs.delete_destination(web(), pod(8).address).unwrap();
    lab.vips.unbind(&vip0(), vip("10.96.0.10")).unwrap();
    let after = lab.director.snapshot().unwrap();
    let events = before.changes(&after);
    assert_eq!(
        events,
        [
            Event::DestinationChanged { service: web().key, before: pod(7), after: pod(7).weight(5) },
            Event::DestinationGone(web().key, pod(8).address),
            Event::VipGone(vip("10.96.0.10").into()),
        ]
    );
}

#[test]
fn an_idle_call_sends_no_change_and_reads_a_few_services() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    for number in 0..40 {
        let service = Service::tcp(SocketAddr::from(([10, 96, 1, number], 80)), Scheduler::RR);
        desired.service(service, [pod(7), pod(8)]).unwrap();
    }
    lab.director.sync(&desired).unwrap();
    lab.kernel.sent();
    assert!(lab.director.sync(&desired).unwrap().is_empty());
    let sent = lab.kernel.sent();
    assert_eq!(sent.changes, [""; 0]);
    // One service and its destinations.
    assert_eq!(sent.queries.len(), 2, "{:?}", sent.queries);

    // One endpoint more is one change more.
    let web = Service::tcp(SocketAddr::from(([10, 96, 1, 20], 80)), Scheduler::RR);
    desired.service(web, [pod(7), pod(8), pod(9)]).unwrap();
    lab.director.sync(&desired).unwrap();
    let sent = lab.kernel.sent();
    assert_eq!(sent.changes, ["add destination 10.244.1.9:6443 to service 10.96.1.20:80/tcp"]);
    assert_eq!(sent.queries.len(), 2, "{:?}", sent.queries);

    // After the time of a full audit, everything is read.
    lab.director.sync_at(&desired, Instant::now() + Duration::from_secs(3600)).unwrap();
    let sent = lab.kernel.sent();
    assert_eq!(sent.changes, [""; 0]);
    assert!(sent.queries.len() > 40, "{:?}", sent.queries);
}

#[test]
fn a_director_that_found_nothing_to_do_sees_what_changes_after() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7), pod(8)]).unwrap();
    lab.director.sync(&desired).unwrap();
    assert!(lab.director.sync(&desired).unwrap().is_empty());

    // Another program deletes a destination.
    lab.ipvs.delete_destination(web(), pod(7).address).unwrap();
    assert_eq!(lab.director.sync(&desired).unwrap().steps().len(), 1);
    assert_eq!(lab.weights(web()), [(7, 1), (8, 1)]);
    assert!(lab.director.sync(&desired).unwrap().is_empty());

    // A clone is the same until it is changed.
    let mut changed = desired.clone();
    assert!(lab.director.sync(&changed).unwrap().is_empty());
    changed.service(web(), [pod(7), pod(8)]).unwrap().bind = false;
    lab.director.sync(&changed).unwrap();
    assert_eq!(lab.bound(), [""; 0]);
    assert!(lab.director.sync(&changed).unwrap().is_empty());
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.bound(), ["10.96.0.10"]);

    // A virtual IP and a set.
    assert!(lab.director.sync(&desired).unwrap().is_empty());
    desired.vip(vip("10.96.0.20"));
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.bound(), ["10.96.0.10", "10.96.0.20"]);
    assert!(lab.director.sync(&desired).unwrap().is_empty());
    let members = [Member::new("10.96.0.10".parse::<IpAddr>().unwrap())];
    desired.set("web-vips".parse().unwrap(), &NewSet::<HashIp>::ipv4(), members).unwrap();
    assert_eq!(lab.director.sync(&desired).unwrap().steps().len(), 2);

    // A foreign service stays a conflict until it is adopted.
    assert!(lab.director.sync(&desired).unwrap().is_empty());
    let other = Service::tcp("10.96.0.30:80".parse().unwrap(), Scheduler::RR);
    lab.ipvs.add_service(other).unwrap();
    let mut more = desired.clone();
    more.service(other, [pod(9)]).unwrap();
    let end = lab.director.sync(&more).unwrap();
    assert_eq!((end.count(End::Overtaken), &end.conflicts[..]), (1, &[Conflict::Foreign(other.key)][..]));
    assert_eq!(lab.director.sync(&more).unwrap().conflicts.len(), 1);
    lab.director.adopt(other).unwrap();
    lab.director.sync(&more).unwrap();
    assert_eq!(lab.weights(other), [(9, 1)]);

    // A service that is no longer desired drains and ends.
    assert!(lab.director.sync(&more).unwrap().is_empty());
    more.remove_service(other);
    lab.director.sync(&more).unwrap();
    lab.director.sync(&more).unwrap();
    assert_eq!(lab.ipvs.services().unwrap().len(), 1);
}

#[test]
fn stale_flows_to_new_udp_services_are_deleted() {
    let lab = Lab::new();
    let dns: SocketAddr = "10.96.0.53:53".parse().unwrap();
    let client: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let tuple = |source, destination| Tuple { source, destination, zone: 0 };
    // One is not translated, one leads to an endpoint, one is of another service.
    lab.kernel.add_flow(tuple(client, dns), tuple(dns, client)).unwrap();
    let other = "192.0.2.2:4000".parse().unwrap();
    let kept = lab.kernel.add_flow(tuple(other, dns), tuple(pod(7).address, other)).unwrap();
    let elsewhere: SocketAddr = "192.0.2.99:53".parse().unwrap();
    let foreign = lab.kernel.add_flow(tuple(client, elsewhere), tuple(elsewhere, client)).unwrap();

    let mut desired = Desired::default();
    desired.service(Service::udp(dns, Scheduler::RR), [pod(7), pod(8)]).unwrap();
    let mut director = lab.director.conntrack(lab.kernel.conntrack());
    let report = director.sync(&desired).unwrap();
    assert!(report.steps().any(|(step, _)| step.to_string() == "- stale UDP flows to 10.96.0.53:53"));
    let mut conntrack = lab.kernel.conntrack();
    assert_eq!(conntrack.flows(lvs::Family::Inet).unwrap(), [kept, foreign]);

    // Its endpoint is gone.
    desired.service(Service::udp(dns, Scheduler::RR), [pod(8)]).unwrap();
    director.sync(&desired).unwrap();
    assert_eq!(conntrack.flows(lvs::Family::Inet).unwrap(), [foreign]);
    assert!(director.sync(&desired).unwrap().is_empty());
}

#[test]
fn an_owner_of_keys_and_ranges_has_the_services_of_both() {
    let ranges = Ranges::networks(["10.96.0.0/16".parse().unwrap()]);
    let owner = Owner::registered("web").unwrap().or_ranges(ranges);
    let mut lab = Lab::of(owner.clone());
    let outside = |number: u8| Service::tcp(SocketAddr::from(([192, 0, 2, number], 80)), Scheduler::RR);
    lab.ipvs.add_service(web()).unwrap();
    lab.ipvs.add_service(outside(1)).unwrap();
    lab.ipvs.add_service(outside(2)).unwrap();
    let mut desired = Desired::default();
    desired.service(outside(1), [pod(7)]).unwrap();
    desired.service(outside(3), [pod(7)]).unwrap();
    let report = lab.director.sync(&desired).unwrap();
    assert_eq!(report.conflicts, [Conflict::Foreign(outside(1).key)]);
    assert_eq!(report.foreign, 2);

    // Another director finds the same, and deletes only the service that was added.
    let (ipvs, ipset, vips) = (lab.kernel.ipvs().unwrap(), lab.kernel.ipset(), lab.kernel.vips());
    let mut other = Director::over(ipvs, ipset, vips, owner, vip0());
    assert!(other.sync(&desired).unwrap().is_empty());
    let mut nothing = Desired::default();
    nothing.drain = Drain::NONE;
    other.sync(&nothing).unwrap();
    let left: Vec<_> = lab.ipvs.services().unwrap().iter().map(|info| info.key()).collect();
    assert_eq!(left, [outside(1).key, outside(2).key]);
    assert!(other.sync(&nothing).unwrap().is_empty());
}

#[test]
fn a_virtual_ip_without_its_local_route_is_bound_again() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    desired.service(web(), [pod(1)]).unwrap();
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.plan(&desired).steps.len(), 0);

    assert!(lab.kernel.delete_local_route(vip("10.96.0.10")));
    let plan = lab.plan(&desired);
    let steps: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["+ virtual IP 10.96.0.10 on vip0"]);
    lab.director.apply(plan).unwrap();
    assert_eq!(lab.vips.virtual_ips_without_route(&vip0()).unwrap(), []);
    assert_eq!(lab.plan(&desired).steps.len(), 0);

    // One that is not desired is unbound as any other.
    assert!(lab.kernel.delete_local_route(vip("10.96.0.10")));
    let mut nothing = Desired::default();
    nothing.drain = Drain::NONE;
    lab.director.sync(&nothing).unwrap();
    assert_eq!(lab.vips.virtual_ips(&vip0()).unwrap(), []);
}
