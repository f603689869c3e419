//! Drains of destinations and services.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lvs::director::{Desired, Drain, End, Owner, Pace, Role, Until};
use lvs::ipset::{BitmapIp, HashIp, HashIpPort, Member, NewSet, ProtocolPorts, SetName};
use lvs::ipvs::{Destination, Scheduler, Service, ServiceKey};
use lvs::{Family, Protocol};

use crate::lab::{Lab, MINUTE, pod, texts, vip, web};

#[test]
fn a_destination_that_is_desired_again_is_raised() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7), pod(8)]).unwrap();
    lab.director.sync(&desired).unwrap();
    desired.service(web(), [pod(7)]).unwrap();
    let report = lab.director.sync(&desired).unwrap();
    assert_eq!(report.draining.len(), 1);
    assert!(report.again_at.is_some());
    desired.service(web(), [pod(7), pod(8)]).unwrap();
    let report = lab.director.sync(&desired).unwrap();
    let steps: Vec<_> = report.steps().map(|(step, _)| step.to_string()).collect();
    assert_eq!(steps, ["~ destination 10.244.1.8:6443 of service 10.96.0.10:443/tcp: weight 0 -> 1"]);
    assert_eq!((report.draining.len(), report.again_at), (0, None));
}

#[test]
fn a_destination_drains_until_it_is_idle_or_its_deadline_has_passed() {
    for (until, counts, over) in [
        (Until::Idle, [1, 0, 0], false),
        (Until::Idle, [0, 5, 5], true),
        (Until::Forgotten, [0, 1, 0], false),
        (Until::Forgotten, [0, 0, 5], true),
        (Until::Unpinned, [0, 0, 1], false),
        (Until::Unpinned, [0, 0, 0], true),
    ] {
        let mut lab = Lab::new();
        let mut desired = Desired::default();
        desired.service(web(), [pod(7), pod(8)]).unwrap();
        lab.director.sync(&desired).unwrap();
        let [active, inactive, persistent] = counts;
        lab.kernel.set_connections(web(), pod(8).address, active, inactive, persistent);
        desired.service(web(), [pod(7)]).unwrap().drain = Drain::within(MINUTE).until(until);
        let began = Instant::now();
        // Its weight is 0 before its connections count.
        lab.director.sync_at(&desired, began).unwrap();
        assert_eq!(lab.weights(web()), [(7, 1), (8, 0)], "{until:?} {counts:?}");
        let report = lab.director.sync_at(&desired, began + MINUTE / 2).unwrap();
        let there: &[_] = if over { &[(7, 1)] } else { &[(7, 1), (8, 0)] };
        assert_eq!(lab.weights(web()), there, "{until:?} {counts:?}");
        assert_eq!(report.draining.len(), usize::from(!over));
        lab.director.sync_at(&desired, began + MINUTE).unwrap();
        assert_eq!(lab.weights(web()), [(7, 1)], "{until:?} {counts:?}");
    }
}

#[test]
fn a_drain_without_end_is_checked_at_its_pace() {
    let json = r#"{"until": "idle", "deadline": 18446744073709551615}"#;
    let far = Duration::from_secs(1 << 63);
    for drain in [Drain::within(Duration::MAX), Drain::within(far), serde_json::from_str(json).unwrap()] {
        let mut lab = Lab::new();
        let mut desired = Desired::default();
        desired.service(web(), [pod(7), pod(8)]).unwrap();
        lab.director.sync(&desired).unwrap();
        lab.kernel.set_connections(web(), pod(8).address, 1, 0, 0);
        desired.service(web(), [pod(7)]).unwrap().drain = drain;
        let began = Instant::now();
        for now in [began, began + MINUTE, began + 365 * 24 * 60 * MINUTE] {
            let report = lab.director.sync_at(&desired, now).unwrap();
            assert_eq!(report.again_at, Some(now + Pace::default().drains));
            let [draining] = report.draining[..] else { panic!("{:?}", report.draining) };
            assert_eq!((draining.since, draining.deadline), (began, None));
        }
        lab.kernel.set_connections(web(), pod(8).address, 0, 0, 0);
        let report = lab.director.sync_at(&desired, began + 365 * 24 * 60 * MINUTE).unwrap();
        assert_eq!((report.draining.len(), report.again_at), (0, None));
    }
}

#[test]
fn a_deadline_before_the_next_check_is_the_time_of_the_next_call() {
    let mut lab = Lab::new();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7), pod(8)]).unwrap();
    lab.director.sync(&desired).unwrap();
    lab.kernel.set_connections(web(), pod(8).address, 1, 0, 0);
    let drain = Drain::within(Duration::from_millis(500));
    desired.service(web(), [pod(7)]).unwrap().drain = drain;
    let began = Instant::now();
    let report = lab.director.sync_at(&desired, began).unwrap();
    assert_eq!(report.draining[0].deadline, Some(began + drain.deadline));
    assert_eq!(report.again_at, Some(began + drain.deadline));
}

#[test]
fn datagrams_drain_only_where_it_is_asked_for() {
    let dns = Service::udp("10.96.0.53:53".parse().unwrap(), Scheduler::RR);
    for (drain, left) in
        [(Drain::within(MINUTE), &[(7, 1)][..]), (Drain::within(MINUTE).datagrams(true), &[(7, 1), (8, 0)])]
    {
        let mut lab = Lab::new();
        let mut desired = Desired::default();
        desired.service(dns, [pod(7), pod(8)]).unwrap();
        lab.director.sync(&desired).unwrap();
        desired.service(dns, [pod(7)]).unwrap().drain = drain;
        lab.director.sync(&desired).unwrap();
        assert_eq!(lab.weights(dns), left);
    }
}

#[test]
fn flows_that_the_kernel_never_counts_as_active_drain_until_they_are_forgotten() {
    let address = "10.96.0.53:53".parse().unwrap();
    let of = |protocol| ServiceKey::Address { protocol, address };
    let mark = ServiceKey::FirewallMark { mark: 7.try_into().unwrap(), family: Family::Inet };
    // Whether a destination with inactive connections alone is deleted.
    for (key, datagrams, over) in [
        (of(Protocol::UDP), true, false),
        (mark, true, false),
        (mark, false, true),
        (of(Protocol::TCP), true, true),
        (of(Protocol::SCTP), true, true),
    ] {
        let service = Service::new(key, Scheduler::RR);
        let mut lab = Lab::new();
        let mut desired = Desired::default();
        let destination = |number: u8| Destination::new(SocketAddr::from(([10, 244, 1, number], 53)));
        desired.service(service, [destination(7), destination(8)]).unwrap();
        lab.director.sync(&desired).unwrap();
        lab.kernel.set_connections(key, destination(8).address, 0, 3, 0);
        desired.service(service, [destination(7)]).unwrap().drain = Drain::within(MINUTE).datagrams(datagrams);
        let began = Instant::now();
        lab.director.sync_at(&desired, began).unwrap();
        let report = lab.director.sync_at(&desired, began + MINUTE / 2).unwrap();
        assert_eq!(report.draining.is_empty(), over, "{key} {datagrams}");
        lab.kernel.set_connections(key, destination(8).address, 0, 0, 0);
        let report = lab.director.sync_at(&desired, began + MINUTE / 2).unwrap();
        assert!(report.draining.is_empty(), "{key} {datagrams}");
    }
}

#[test]
fn members_for_a_service_stay_until_its_last_destination_has_drained() {
    let mut lab = Lab::of(Owner::registered("web").unwrap().sets("web4-").sets("web6-"));
    let (key, guard): (SetName, SetName) = ("web4-keys".parse().unwrap(), "web4-vips".parse().unwrap());
    let other = Member::new((vip("10.96.0.10"), ProtocolPorts::tcp(81)));
    let own = Member::new((vip("10.96.0.10"), ProtocolPorts::tcp(443)));
    let mut desired = Desired::default();
    desired.service(web(), [pod(7)]).unwrap();
    desired.set(key, &NewSet::<HashIpPort>::ipv4(), [own, other]).unwrap();
    desired.set(guard, &NewSet::<HashIp>::ipv4(), [Member::new(vip("10.96.0.10"))]).unwrap().role = Role::Guard;
    lab.director.sync(&desired).unwrap();
    assert!(lab.kernel.set_connections(web(), pod(7).address, 1, 0, 0));

    let mut nothing = Desired::default();
    nothing.set(key, &NewSet::<HashIpPort>::ipv4(), []).unwrap();
    nothing.set(guard, &NewSet::<HashIp>::ipv4(), []).unwrap().role = Role::Guard;
    lab.director.sync(&nothing).unwrap();
    assert_eq!(lab.members(key), ["10.96.0.10,tcp:443"]);
    assert_eq!(lab.members(guard), ["10.96.0.10"]);

    assert!(lab.kernel.set_connections(web(), pod(7).address, 0, 0, 0));
    let report = lab.director.sync(&nothing).unwrap();
    let last: Vec<_> = report.steps().map(|(step, _)| step.to_string()).collect();
    assert_eq!(
        last,
        [
            "- virtual IP 10.96.0.10 on vip0",
            "- service 10.96.0.10:443/tcp",
            "- key 10.96.0.10:443/tcp",
            "- member 10.96.0.10 of set web4-vips",
            "- member 10.96.0.10,tcp:443 of set web4-keys",
        ]
    );
    assert_eq!(lab.members(key), [""; 0]);
}

#[test]
fn members_for_a_draining_service_stay_in_a_set_that_is_replaced() {
    let keys: SetName = "web-keys".parse().unwrap();
    let member = |number: u16| Member::new((vip("10.96.0.10"), ProtocolPorts::tcp(number)));
    let of = |new: NewSet<HashIpPort>, ports: &[u16]| {
        let mut desired = Desired::default();
        desired.set(keys, &new, ports.iter().copied().map(member)).unwrap();
        desired
    };
    let small = NewSet::<HashIpPort>::ipv4().maxelem(3);
    let large = small.maxelem(4);
    let replaced = |new: &str, members: usize| format!("~ set web-keys: replaced by {new} with {members} members");
    let removed = |port: u16| format!("- member 10.96.0.10,tcp:{port} of set web-keys");
    // The options change: others stay until members are removed.
    let options = replaced("hash:ip,port family inet maxelem 4", 4);
    // There is no room for all.
    let room = replaced("hash:ip,port family inet maxelem 3", 2);
    for (before, next, steps, left) in [
        (of(small, &[443, 81, 82]), of(large, &[83]), vec![options, removed(81), removed(82)], &[443, 83][..]),
        (of(small, &[443, 81, 82]), of(small, &[83]), vec![room], &[443, 83]),
        // The set is not desired any more.
        (of(small, &[443, 81]), Desired::default(), vec![removed(81)], &[443]),
    ] {
        let mut lab = Lab::new();
        let mut before = before.clone();
        before.service(web(), [pod(7)]).unwrap();
        lab.director.sync(&before).unwrap();
        assert!(lab.kernel.set_connections(web(), pod(7).address, 1, 0, 0));

        let report = lab.director.sync(&next).unwrap();
        let mut changes = texts(&report, End::Done);
        changes.retain(|text| text.contains("web-keys"));
        assert_eq!(changes, steps);
        assert_eq!(lab.members(keys), left.iter().map(|port| format!("10.96.0.10,tcp:{port}")).collect::<Vec<_>>());
        assert_eq!(lab.director.sync(&next).unwrap().steps().len(), 0);

        assert!(lab.kernel.set_connections(web(), pod(7).address, 0, 0, 0));
        let report = lab.director.sync(&next).unwrap();
        let last = if next == Desired::default() { "- set web-keys".to_owned() } else { removed(443) };
        assert_eq!(texts(&report, End::Done).last(), Some(&last));
        assert!(lab.director.plan(&next).unwrap().is_empty());
    }
}

#[test]
fn a_member_for_a_draining_service_is_carried_to_a_set_without_comments() {
    let mut lab = Lab::new();
    let name: SetName = "web-vips".parse().unwrap();
    let mut desired = Desired::default();
    desired.service(web(), [pod(7)]).unwrap();
    let mut own = Member::new(vip("10.96.0.10"));
    own.comment = Some("web".parse().unwrap());
    desired.set(name, &NewSet::<HashIp>::ipv4().comment(), [own]).unwrap();
    lab.director.sync(&desired).unwrap();
    assert!(lab.kernel.set_connections(web(), pod(7).address, 1, 0, 0));
    let mut next = Desired::default();
    next.set(name, &NewSet::<HashIp>::ipv4(), []).unwrap();
    lab.director.sync(&next).unwrap();
    assert_eq!(lab.members(name), ["10.96.0.10"]);
}

#[test]
fn a_member_for_a_draining_service_is_carried_to_a_bitmap_that_has_its_address() {
    for (last, members) in [("10.96.0.255", &["10.96.0.10"][..]), ("10.96.0.7", &[])] {
        let mut lab = Lab::new();
        let name: SetName = "web-vips".parse().unwrap();
        let mut desired = Desired::default();
        desired.service(web(), [pod(7)]).unwrap();
        let bitmap = |last: &str| NewSet::<BitmapIp>::range("10.96.0.0".parse().unwrap(), last.parse().unwrap());
        desired.set(name, &bitmap("10.96.0.15"), [Member::new(vip("10.96.0.10"))]).unwrap();
        lab.director.sync(&desired).unwrap();
        assert!(lab.kernel.set_connections(web(), pod(7).address, 1, 0, 0));
        let mut next = Desired::default();
        next.set(name, &bitmap(last), []).unwrap();
        lab.director.sync(&next).unwrap();
        assert_eq!(lab.members(name), members);
    }
}
