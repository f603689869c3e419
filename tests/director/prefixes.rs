//! Prefixes as virtual IPs of many services.

use std::net::SocketAddr;
use std::time::Instant;

use lvs::conntrack::Tuple;
use lvs::director::{Desired, Drain, End, Owner, Role};
use lvs::ipset::{HashIp, Member, NewSet};
use lvs::ipvs::{Scheduler, Service};
use lvs::vip::{Binder, Vip};

use crate::lab::{Lab, fail, pod, texts, vip, web};

fn prefix() -> Vip {
    "10.96.0.0/16".parse().unwrap()
}

fn lab(owner: Owner) -> Lab {
    Lab::with(owner, Binder::local_routes(77))
}

/// A service in a bound prefix.
fn desired() -> Desired {
    let mut desired = Desired::default();
    desired.vip(prefix());
    desired.service(web(), [pod(7)]).unwrap();
    desired
}

#[test]
fn a_prefix_stays_bound_while_a_service_in_it_drains() {
    for owner in [Owner::registered("web").unwrap(), Owner::bound()] {
        let mut lab = lab(owner.clone());
        lab.director.sync(&desired()).unwrap();
        assert_eq!(lab.bound(), ["10.96.0.0/16"]);
        assert!(lab.kernel.set_connections(web(), pod(7).address, 1, 0, 0));
        for _ in 0..2 {
            let report = lab.director.sync(&Desired::default()).unwrap();
            assert_eq!(report.draining.len(), 1, "{owner}");
            assert_eq!(lab.bound(), ["10.96.0.0/16"], "{owner}");
        }
        assert!(lab.kernel.set_connections(web(), pod(7).address, 0, 0, 0));
        lab.director.sync(&Desired::default()).unwrap();
        assert_eq!(lab.bound(), [""; 0], "{owner}");
        assert!(lab.ipvs.services().unwrap().is_empty(), "{owner}");
    }
}

#[test]
fn stale_flows_of_a_service_are_deleted_when_its_prefix_becomes_local() {
    let dns: SocketAddr = "10.96.0.53:53".parse().unwrap();
    let client: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let tuple = |source, destination| Tuple { source, destination, zone: 0 };
    for owner in [Owner::registered("web").unwrap(), Owner::bound()] {
        let mut lab = lab(owner.clone());
        lab.director = lab.director.conntrack(lab.kernel.conntrack());
        let mut desired = Desired::default();
        desired.service(Service::udp(dns, Scheduler::RR), [pod(7)]).unwrap();
        desired.vip(prefix());
        lab.director.sync(&desired).unwrap();
        let mut conntrack = lab.kernel.conntrack();

        // Lost: packets of a client go elsewhere, until it is bound again.
        lab.vips.unbind(&Binder::local_routes(77), prefix()).unwrap();
        let snapshot = lab.director.snapshot().unwrap();
        lab.kernel.add_flow(tuple(client, dns), tuple(dns, client)).unwrap();
        let plan = lvs::director::plan(&desired, &snapshot, &Default::default(), Instant::now());
        lab.director.apply(plan).unwrap();
        assert_eq!(lab.bound(), ["10.96.0.0/16"], "{owner}");
        assert_eq!(conntrack.flows(lvs::Family::Inet).unwrap(), [], "{owner}");
    }
}

#[test]
fn a_service_is_not_deleted_before_its_prefix_is_unbound() {
    let prepare = || {
        let mut lab = lab(Owner::registered("web").unwrap());
        lab.director.sync(&desired()).unwrap();
        lab.ipvs.set_destination(web(), pod(7).weight(0)).unwrap();
        lab
    };
    let nothing = Desired::default();
    let (mut lab, error) = fail("- virtual IP 10.96.0.0/16 on the local routes of protocol 77", &nothing, prepare);
    let withheld = ["- service 10.96.0.10:443/tcp", "- key 10.96.0.10:443/tcp"];
    assert_eq!(texts(&error.done, End::Withheld), withheld);
    lab.director.sync(&nothing).unwrap();
    assert!(lab.ipvs.services().unwrap().is_empty());
}

#[test]
fn a_prefix_is_not_bound_before_the_guard_of_an_address_in_it() {
    let mut desired = desired();
    let guard = "web-vips".parse().unwrap();
    desired.set(guard, &NewSet::<HashIp>::ipv4(), [Member::new(vip("10.96.0.10"))]).unwrap().role = Role::Guard;
    let prepare = || lab(Owner::registered("web").unwrap().sets("web-"));
    let (mut lab, error) = fail("+ set web-vips hash:ip family inet", &desired, prepare);
    let withheld =
        ["+ member 10.96.0.10 of set web-vips", "+ virtual IP 10.96.0.0/16 on the local routes of protocol 77"];
    assert_eq!(texts(&error.done, End::Withheld), withheld);
    lab.director.sync(&desired).unwrap();
    assert_eq!(lab.bound(), ["10.96.0.0/16"]);
}

/// Without its virtual IP, it would be foreign for ever.
#[test]
fn the_virtual_ip_of_an_owner_of_bound_services_stays_if_the_service_could_not_be_deleted() {
    let mut host = Desired::default();
    host.service(web(), [pod(7)]).unwrap();
    for (desired, bound) in [(host, "10.96.0.10"), (desired(), "10.96.0.0/16")] {
        let prepare = || {
            let mut lab = lab(Owner::bound());
            lab.director.sync(&desired).unwrap();
            lab.ipvs.set_destination(web(), pod(7).weight(0)).unwrap();
            lab
        };
        let nothing = Desired::default();
        let (mut lab, error) = fail("- service 10.96.0.10:443/tcp", &nothing, prepare);
        let withheld = [format!("- virtual IP {bound} on the local routes of protocol 77")];
        assert_eq!(texts(&error.done, End::Withheld), withheld);
        assert_eq!(lab.bound(), [bound]);
        lab.director.sync(&nothing).unwrap();
        assert!(lab.ipvs.services().unwrap().is_empty());
        assert_eq!(lab.bound(), [""; 0]);
    }
}

#[test]
fn virtual_ips_stay_bound_if_their_replacement_could_not_be_bound() {
    let mut host = Desired::default();
    host.service(web(), [pod(7)]).unwrap();
    for (before, after, old, new) in
        [(&host, &desired(), "10.96.0.10", "10.96.0.0/16"), (&desired(), &host, "10.96.0.0/16", "10.96.0.10")]
    {
        let prepare = || {
            let mut lab = lab(Owner::registered("web").unwrap());
            lab.director.sync(before).unwrap();
            lab
        };
        let (mut lab, error) = fail(&format!("+ virtual IP {new} on the local routes of protocol 77"), after, prepare);
        assert_eq!(
            texts(&error.done, End::Withheld),
            [format!("- virtual IP {old} on the local routes of protocol 77")]
        );
        assert_eq!(lab.bound(), [old]);
        lab.director.sync(after).unwrap();
        assert_eq!(lab.bound(), [new]);
    }
}

#[test]
fn an_owner_of_bound_services_unbinds_between_the_service_and_the_members_of_its_guard() {
    let guard = "web-vips".parse().unwrap();
    let of = |members: &[Member<HashIp>]| {
        let mut desired = Desired::default();
        desired.drain = Drain::NONE;
        desired.set(guard, &NewSet::<HashIp>::ipv4(), members.to_vec()).unwrap().role = Role::Guard;
        desired
    };
    let mut desired = of(&[Member::new(vip("10.96.0.10"))]);
    desired.service(web(), [pod(7)]).unwrap();
    let mut lab = lab(Owner::bound().sets("web-"));
    lab.director.sync(&desired).unwrap();
    lab.kernel.sent();
    lab.director.sync(&of(&[])).unwrap();
    let changes = [
        "delete service 10.96.0.10:443/tcp",
        "unbind 10.96.0.10 from the local routes of protocol 77",
        "delete 10.96.0.10 from set web-vips",
    ];
    assert_eq!(lab.kernel.sent().changes, changes);
}
