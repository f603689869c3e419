//! Addresses of a binder that have lost their local routes, and the notifications of that.

use libtest_mimic::Trial;
use lvs::Outcome::{Added, Unchanged};
use lvs::vip::{Binder, Tally, Vip, Vips, Watch};

use super::{BINDERS, NONE, many, real_interface, vip, vips};
use crate::lab::{Lab, Need, tests};

pub(super) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Dummy];
        an_address_whose_route_another_program_deleted_is_bound_again,
        an_address_that_stays_while_its_interface_goes_down_is_bound_again,
        an_address_behind_an_unreachable_route_is_a_failure,
        an_address_of_another_prefix_length_without_a_route_is_a_failure,
        a_thousand_lost_routes_are_restored,
        a_replaced_route_is_reported_as_a_loss,
        a_prefix_around_a_broadcast_address_is_a_conflict,
    );
    all.extend(tests!(&[Need::Dummy, Need::Module("vrf")]; addresses_of_a_vrf_are_left_alone,));
    all
}

fn tally(tally: Tally) -> (usize, usize, usize) {
    (tally.bound, tally.unbound, tally.unchanged)
}

fn is_local(lab: &Lab, address: &str) -> bool {
    lab.run(|| std::process::Command::new("ip").args(["route", "get", address]).output())
        .is_ok_and(|output| output.stdout.starts_with(b"local "))
}

/// One binder of addresses on a dummy, one on an interface with others.
fn binders() -> [(Binder, &'static str); 2] {
    [(BINDERS[0](), "vip0"), (BINDERS[2](), "eth0")]
}

fn an_address_whose_route_another_program_deleted_is_bound_again(lab: &Lab) {
    real_interface(lab);
    lab.tool("ip address add 192.0.2.1/24 dev eth0");
    let mut client = lab.vips();
    for (binder, device) in binders() {
        let all = ["10.96.0.30", "10.96.0.31", "2001:db8::30", "2001:db8::31"];
        client.bind_all(&binder, vips(&all)).unwrap();
        for lost in ["10.96.0.30", "2001:db8::30"] {
            let delete = || {
                lab.tool(&format!("ip route delete local {lost} dev {device} table local"));
                assert!(!is_local(lab, lost));
            };
            delete();
            client.check(&binder, vips(&all)).unwrap();
            assert_eq!(tally(client.sync(&binder, vips(&all)).unwrap()), (1, 0, 3), "{lost} {binder}");
            assert!(is_local(lab, lost), "{lost} {binder}");
            assert_eq!(tally(client.sync(&binder, vips(&all)).unwrap()), (0, 0, 4), "{lost} {binder}");
            delete();
            assert_eq!(client.bind(&binder, vip(lost)).unwrap(), Added, "{lost} {binder}");
            assert!(is_local(lab, lost), "{lost} {binder}");
            assert_eq!(client.bind(&binder, vip(lost)).unwrap(), Unchanged, "{lost} {binder}");
            // The surplus has no route, and is unbound.
            delete();
            let rest: Vec<Vip> = vips(&all).into_iter().filter(|one| *one != vip(lost)).collect();
            assert_eq!(tally(client.sync(&binder, rest).unwrap()), (0, 1, 3), "{lost} {binder}");
            client.bind(&binder, vip(lost)).unwrap();
        }
        client.clear(&binder).unwrap();
    }
}

fn an_address_that_stays_while_its_interface_goes_down_is_bound_again(lab: &Lab) {
    real_interface(lab);
    lab.run(|| std::fs::write("/proc/sys/net/ipv6/conf/all/keep_addr_on_down", "1")).unwrap();
    let mut watch = lab.run(Watch::connect).unwrap();
    let mut client = lab.vips();
    for (binder, device) in binders() {
        client.bind_all(&binder, vips(&["10.96.0.10", "2001:db8::10"])).unwrap();
        lab.tool(&format!("ip link set {device} up"));
        watch.lost().unwrap();
        lab.tool(&format!("ip link set {device} down"));
        assert!(lab.tool(&format!("ip address show dev {device}")).contains("2001:db8::10/128"));
        assert!(!is_local(lab, "2001:db8::10"));
        assert!(watch.lost().unwrap());
        assert_eq!(client.bind(&binder, vip("2001:db8::10")).unwrap(), Added, "{binder}");
        assert!(is_local(lab, "2001:db8::10") && is_local(lab, "10.96.0.10"));
        lab.tool(&format!("ip link set {device} up"));
        lab.tool(&format!("ip link set {device} down"));
        let all = vips(&["10.96.0.10", "2001:db8::10"]);
        assert_eq!(tally(client.sync(&binder, all).unwrap()), (1, 0, 1), "{binder}");
        assert!(is_local(lab, "2001:db8::10") && is_local(lab, "10.96.0.10"));
        client.clear(&binder).unwrap();
    }
}

fn an_address_behind_an_unreachable_route_is_a_failure(lab: &Lab) {
    real_interface(lab);
    let mut client = lab.vips();
    for (binder, _) in binders() {
        lab.tool("ip route add unreachable 10.96.0.20 table local proto 78");
        for _ in 0..2 {
            let error = client.sync(&binder, vips(&["10.96.0.20", "10.96.0.21"])).unwrap_err();
            assert_eq!((error.failures.len(), error.failures[0].change.vip()), (1, vip("10.96.0.20")), "{error}");
            assert!(error.to_string().contains("precedes its local route"), "{error}");
            assert!(client.bind(&binder, vip("10.96.0.20")).is_err());
        }
        lab.tool("ip route delete unreachable 10.96.0.20 table local");
        assert_eq!(client.bind(&binder, vip("10.96.0.20")).unwrap(), Unchanged);
        client.clear(&binder).unwrap();
    }
}

fn an_address_of_another_prefix_length_without_a_route_is_a_failure(lab: &Lab) {
    let (mut client, vip0) = (lab.vips(), BINDERS[0]());
    client.bind(&vip0, vip("10.96.0.10")).unwrap();
    lab.tool("ip address add 2001:db8::10/64 dev vip0 nodad");
    crate::peers::until("the address is local", || is_local(lab, "2001:db8::10"));
    assert_eq!(client.bind(&vip0, vip("2001:db8::10")).unwrap(), Unchanged);
    lab.tool("ip route delete local 2001:db8::10 dev vip0 table local");
    let error = client.sync(&vip0, vips(&["10.96.0.10", "2001:db8::10"])).unwrap_err();
    assert_eq!((error.failures.len(), tally(error.done)), (1, (0, 0, 1)), "{error}");
    assert!(error.to_string().contains("has no local route"), "{error}");
}

/// The table of the VRF has their routes.
fn addresses_of_a_vrf_are_left_alone(lab: &Lab) {
    real_interface(lab);
    let mut client = lab.vips();
    client.bind(&BINDERS[0](), vip("10.96.0.9")).unwrap();
    lab.tool("ip link add red type vrf table 9");
    for (binder, device) in binders() {
        lab.tool(&format!("ip link set {device} master red"));
        let all = vips(&["10.96.0.10", "2001:db8::10"]);
        client.sync(&binder, all.clone()).unwrap();
        let before = lab.tool("ip route show table 9");
        assert!(before.contains("local 10.96.0.10 dev"), "{before}");
        assert_eq!(tally(client.sync(&binder, all.clone()).unwrap()), (0, 0, 2), "{binder}");
        assert_eq!(tally(client.bind_all(&binder, all).unwrap()), (0, 0, 2), "{binder}");
        assert_eq!(lab.tool("ip route show table 9"), before);
        client.sync(&binder, NONE).unwrap();
    }
}

/// A dump finds them, not a look-up for each.
fn a_thousand_lost_routes_are_restored(lab: &Lab) {
    real_interface(lab);
    let mut client: Vips = lab.vips();
    for (binder, device) in binders() {
        let all = many(500);
        client.sync(&binder, all.iter().copied()).unwrap();
        for lost in all.iter().step_by(50) {
            lab.tool(&format!("ip route delete local {lost} dev {device} table local"));
        }
        assert_eq!(tally(client.sync(&binder, all.iter().copied()).unwrap()), (20, 0, 980), "{binder}");
        assert!(all.iter().step_by(50).all(|vip| is_local(lab, &vip.to_string())));
        assert_eq!(tally(client.sync(&binder, all.iter().copied()).unwrap()), (0, 0, 1000), "{binder}");
        client.clear(&binder).unwrap();
    }
}

fn a_replaced_route_is_reported_as_a_loss(lab: &Lab) {
    let mut client = lab.vips();
    let routes = Binder::local_routes(77);
    let mut watch = lab.run(Watch::connect).unwrap();
    for (address, family) in [("10.96.0.20", "-4"), ("2001:db8::20", "-6")] {
        client.bind(&routes, vip(address)).unwrap();
        lab.tool("ip link add eth8 type veth peer name eth9");
        lab.tool("ip address add 192.0.2.1/24 dev eth8");
        lab.tool("ip link set eth8 up");
        assert!(!watch.lost().unwrap(), "nothing is deleted");
        lab.tool(&format!("ip {family} route replace unreachable {address} table local proto 77"));
        assert!(watch.lost().unwrap(), "{address}");
        assert!(!watch.lost().unwrap());
        lab.tool("ip link delete eth8");
        watch.lost().unwrap();
    }
}

fn a_prefix_around_a_broadcast_address_is_a_conflict(lab: &Lab) {
    real_interface(lab);
    lab.run(|| std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")).unwrap();
    lab.tool("ip address add 10.50.0.5/24 dev eth0");
    super::add_ipv6(lab, "2001:db8:50::1:5/64");
    let mut client = lab.vips();
    for (prefix, found) in [("10.50.0.252/30", "10.50.0.255"), ("2001:db8:50::/112", "2001:db8:50::")] {
        let error = client.bind(&Binder::local_routes(77), vip(prefix)).unwrap_err();
        assert!(error.is_conflict() && error.to_string().contains(found), "{error}");
    }
    assert_eq!(client.bind(&Binder::local_routes(77), vip("10.50.0.248/30")).unwrap(), Added);
}
