//! Drains of destinations and services.

use std::net::SocketAddr;
use std::time::Instant;

use lvs::director::{Desired, Drain, Owner, Role, Until};
use lvs::ipset::{HashIp, HashIpPort, Member, NewSet, ProtocolPorts, SetName};
use lvs::ipvs::{Destination, Scheduler, Service, ServiceKey};
use lvs::{Family, Protocol};

use crate::lab::{Lab, MINUTE, pod, vip, web};

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
