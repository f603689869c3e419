//! Virtual IPs, by each of the binders.

mod not_local;
mod read_back;

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use lvs::Outcome::{Added, Deleted, Unchanged};
use lvs::vip::{BatchError, Binder, Tally, Vip, Vips};
use lvs::{Cause, Options, Reason};

use crate::lab::{Lab, Need, start_child, tests};
use crate::peers::until;

/// No virtual IP.
const NONE: [Vip; 0] = [];

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[];
        an_interface_of_another_kind_is_refused,
        impossible_names_and_numbers_are_refused,
        a_prefix_is_one_route,
        a_prefix_around_an_address_of_the_machine_is_a_conflict,
        twenty_thousand_local_routes_are_bound_listed_and_removed,
        a_label_needs_its_interface,
        two_labels_with_numbers_of_their_own_are_apart,
        an_ipv6_route_needs_the_loopback_interface,
        where_ipv6_is_disabled_only_ipv6_fails,
    );
    all.extend(tests!(&[Need::Dummy];
        binding_and_unbinding_tell_whether_there_was_something_to_do,
        sync_ends_in_what_is_desired_and_leaves_alone_what_is_foreign,
        an_address_that_something_else_has_is_a_conflict,
        clearing_leaves_what_others_have_on_the_interface,
        names_that_are_not_utf_8_are_in_nobodys_way,
        a_bound_address_is_local_at_once,
        addresses_that_no_host_has_are_refused,
        a_dummy_interface_is_made_on_demand_and_left_down,
        a_dummy_interface_that_is_gone_holds_nothing,
        only_the_interface_that_was_asked_for_is_listed,
        a_thousand_addresses_are_bound_listed_and_removed,
        twenty_thousand_addresses_of_a_dummy_are_bound_listed_and_removed,
        a_small_receive_buffer_loses_nothing,
        a_killed_sync_is_made_up_for_by_the_next,
    ));
    all.extend(not_local::tests());
    all.extend(read_back::tests());
    all
}

/// One of each kind.
pub(crate) const BINDERS: [fn() -> Binder; 3] =
    [|| Binder::dummy("vip0").unwrap(), || Binder::local_routes(77), || Binder::label("eth0:1", 77).unwrap()];

fn vip(text: &str) -> Vip {
    text.parse().unwrap()
}

fn vips(texts: &[&str]) -> BTreeSet<Vip> {
    texts.iter().map(|text| vip(text)).collect()
}

fn listed(vips: &mut Vips, binder: &Binder) -> BTreeSet<Vip> {
    let all = vips.virtual_ips(binder).unwrap();
    let set: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(set.len(), all.len(), "{all:?}");
    set
}

/// An interface that is not for virtual IPs only.
pub(crate) fn real_interface(lab: &Lab) {
    lab.tool("ip link add eth0 type veth peer name eth1");
    for name in ["eth0", "eth1"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0").ok();
        lab.tool(&format!("ip link set {name} up"));
    }
}

fn binding_and_unbinding_tell_whether_there_was_something_to_do(lab: &Lab) {
    real_interface(lab);
    let mut client = lab.vips();
    for binder in BINDERS.map(|binder| binder()) {
        for vip in [vip("10.96.0.10"), vip("2001:db8::a")] {
            assert_eq!(client.unbind(&binder, vip).unwrap(), Unchanged);
            assert_eq!(client.bind(&binder, vip).unwrap(), Added, "{vip} {binder}");
            assert_eq!(client.bind(&binder, vip).unwrap(), Unchanged, "{vip} {binder}");
            assert_eq!(client.virtual_ips(&binder).unwrap(), [vip]);
            assert_eq!(client.unbind(&binder, vip).unwrap(), Deleted);
            assert_eq!(client.unbind(&binder, vip).unwrap(), Unchanged);
            assert_eq!(client.virtual_ips(&binder).unwrap(), []);
        }
        client.bind(&binder, vip("10.96.0.10")).unwrap();
        assert_eq!(client.clear(&binder).unwrap(), Deleted);
        assert_eq!(client.clear(&binder).unwrap(), Unchanged);
    }
}

/// An address of another program; the kernel makes its route in the background.
pub(crate) fn add_ipv6(lab: &Lab, address: &str) {
    lab.tool(&format!("ip address add {address} dev eth0 nodad"));
    let (ip, _) = address.split_once('/').unwrap();
    until("the address is local", || !lab.tool(&format!("ip -6 route show table local {ip}")).is_empty());
}

/// Adds foreign objects that resemble those of the binders.
fn foreign(lab: &Lab) {
    for address in ["192.0.2.1/24", "192.0.2.99/32", "198.51.100.7/32 label eth0:1", "198.51.100.8/32 label eth0:2"] {
        lab.tool(&format!("ip address add {address} dev eth0"));
    }
    add_ipv6(lab, "2001:db8:9::1/64");
    add_ipv6(lab, "2001:db8:9::99/128");
    lab.tool("ip address add 203.0.113.1/24 dev eth1");
    for route in ["198.51.100.20 dev lo proto 78", "198.51.100.21 dev lo proto static", "198.51.100.32/28 dev lo"] {
        lab.tool(&format!("ip route add local {route} table local"));
    }
    lab.tool("ip -6 route add local 2001:db8:a::1 dev lo table local proto 78");
}

/// Everything that is not the binder's: what there was before it did anything.
fn state(lab: &Lab) -> BTreeSet<String> {
    let tools = ["ip -o address show", "ip route show table all", "ip -6 route show table all"];
    let lines = tools.iter().flat_map(|tool| lab.tool(tool).lines().map(str::to_owned).collect::<Vec<_>>());
    // The kernel gives interfaces these by itself, a second later.
    lines.filter(|line| !line.contains("fe80:")).collect()
}

fn sync_ends_in_what_is_desired_and_leaves_alone_what_is_foreign(lab: &Lab) {
    real_interface(lab);
    foreign(lab);
    let before = state(lab);
    let mut client = lab.vips();
    for binder in BINDERS.map(|binder| binder()) {
        let first = ["10.96.0.1", "10.96.0.2", "192.0.2.50", "2001:db8::1", "2001:db8::2", "2001:db8:9::50"];
        let second = ["10.96.0.2", "10.96.0.3", "2001:db8::2", "2001:db8::3"];
        let tally = |tally: Tally| (tally.bound, tally.unbound, tally.unchanged);
        assert_eq!(tally(client.sync(&binder, vips(&first)).unwrap()), (6, 0, 0), "{binder}");
        assert_eq!(listed(&mut client, &binder), vips(&first));
        assert_eq!(tally(client.sync(&binder, vips(&first)).unwrap()), (0, 0, 6), "{binder}");
        assert_eq!(tally(client.sync(&binder, vips(&second)).unwrap()), (2, 4, 2), "{binder}");
        assert_eq!(listed(&mut client, &binder), vips(&second));
        // Nor is it touched when it is named.
        for theirs in ["192.0.2.1", "192.0.2.99", "198.51.100.7", "2001:db8:9::99", "198.51.100.20", "2001:db8:a::1"] {
            assert_eq!(client.unbind(&binder, vip(theirs)).unwrap(), Unchanged, "{theirs}");
        }
        assert!(state(lab).is_superset(&before), "{:?}", before.difference(&state(lab)));
        assert_eq!(tally(client.sync(&binder, NONE).unwrap()), (0, 4, 0), "{binder}");
        assert_eq!(client.virtual_ips(&binder).unwrap(), []);
        client.clear(&binder).unwrap();
        assert_eq!(state(lab), before);
    }
}

fn an_address_that_something_else_has_is_a_conflict(lab: &Lab) {
    real_interface(lab);
    foreign(lab);
    let before = state(lab);
    let mut client = lab.vips();
    for binder in BINDERS.map(|binder| binder()) {
        for (theirs, holder) in [
            ("203.0.113.1", "203.0.113.1 is an address of eth1 already"),
            ("192.0.2.99", "192.0.2.99 is an address of eth0 already"),
            ("198.51.100.7", "198.51.100.7 is an address of eth0 already"),
            ("2001:db8:9::1", "2001:db8:9::1 is an address of eth0 already"),
            ("192.0.2.255", "192.0.2.255 is the broadcast address of a subnet of eth0"),
            ("198.51.100.20", "a route of protocol 78 makes 198.51.100.20 local already, on lo"),
            ("2001:db8:a::1", "a route of protocol 78 makes 2001:db8:a::1 local already, on lo"),
        ] {
            let error = client.bind(&binder, vip(theirs)).unwrap_err();
            assert!(error.is_conflict(), "{error}");
            assert_eq!(error.to_string(), format!("bind {theirs} to {binder}: {holder}"));
        }
        assert_eq!(state(lab), before);
        // A dump finds the conflicts of many, a look-up for each those of few.
        let many: Vec<Vip> = ["192.0.2", "198.51.100", "203.0.113"]
            .iter()
            .flat_map(|subnet| (0..=255).map(move |host| vip(&format!("{subnet}.{host}"))))
            .collect();
        let conflicts = |client: &mut Vips, wanted: &[Vip]| -> Vec<String> {
            let failures = client.check(&binder, wanted).err().map(|error| error.failures).unwrap_or_default();
            failures.iter().map(|failure| failure.error.to_string()).collect()
        };
        let of_few: Vec<_> = many.chunks(50).flat_map(|few| conflicts(&mut client, few)).collect();
        assert_eq!(conflicts(&mut client, &many), of_few);
        assert!(of_few.len() >= 5, "{of_few:?}");
        let wanted = ["10.96.0.1", "192.0.2.1", "2001:db8::1", "2001:db8:9::1"];
        let assert_conflicts = |error: BatchError, done: (usize, usize, usize)| {
            let failed: BTreeSet<_> = error.failures.iter().map(|failure| failure.change.vip()).collect();
            assert_eq!(failed, vips(&["192.0.2.1", "2001:db8:9::1"]));
            assert!(error.interruption.is_none() && error.failures.iter().all(|failure| failure.error.is_conflict()));
            assert_eq!((error.done.bound, error.done.unbound, error.done.unchanged), done, "{error}");
        };
        assert_conflicts(client.check(&binder, vips(&wanted)).unwrap_err(), (0, 0, 0));
        assert_eq!(state(lab), before);
        // They keep nothing else from being bound and unbound.
        client.bind_all(&binder, vips(&["10.96.0.9", "2001:db8::9"])).unwrap();
        assert_conflicts(client.bind_all(&binder, vips(&wanted)).unwrap_err(), (2, 0, 0));
        assert_conflicts(client.sync(&binder, vips(&wanted)).unwrap_err(), (0, 2, 2));
        assert_eq!(listed(&mut client, &binder), vips(&["10.96.0.1", "2001:db8::1"]));
        client.check(&binder, vips(&["10.96.0.1", "10.96.0.2"])).unwrap();
        client.sync(&binder, NONE).unwrap();
        // An address within a local prefix of another is none of its.
        assert_eq!(client.bind(&binder, vip("198.51.100.33")).unwrap(), Added);
        client.clear(&binder).unwrap();
        assert_eq!(state(lab), before);
    }
}

fn a_bound_address_is_local_at_once(lab: &Lab) {
    real_interface(lab);
    let mut client = lab.vips();
    for binder in BINDERS.map(|binder| binder()) {
        for address in ["10.96.0.10", "2001:db8::a"] {
            let ip: IpAddr = address.parse().unwrap();
            assert!(lab.run(|| TcpListener::bind((ip, 80))).is_err());
            client.bind(&binder, vip(address)).unwrap();
            assert!(lab.tool(&format!("ip route get {address}")).starts_with("local "));
            let listening = lab.run(|| TcpListener::bind((ip, 80)));
            // The kernel does not take an IPv6 route alone for an address of the machine.
            assert_eq!(listening.is_ok(), binder != Binder::local_routes(77) || ip.is_ipv4(), "{address} {binder}");
            assert!(!lab.tool("ip -6 route").contains("2001:db8::a"), "a second route beside the local one");
            client.unbind(&binder, vip(address)).unwrap();
        }
    }
}

fn addresses_that_no_host_has_are_refused(lab: &Lab) {
    real_interface(lab);
    for binder in BINDERS.map(|binder| binder()) {
        for address in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:10.0.0.1", "224.0.0.0/4"] {
            let error = lab.vips().bind(&binder, vip(address)).unwrap_err();
            assert!(error.is_invalid_input(), "{error}");
            let error = lab.vips().check(&binder, [vip("10.96.0.1"), vip(address)]).unwrap_err();
            assert_eq!((error.failures.len(), error.done), (1, Tally::default()), "{error}");
            assert_eq!(lab.vips().virtual_ips(&binder).unwrap(), []);
            lab.vips().bind(&binder, vip("10.96.0.2")).unwrap();
            let error = lab.vips().sync(&binder, [vip("10.96.0.1"), vip(address)]).unwrap_err();
            assert!(error.failures.len() == 1 && error.failures[0].error.is_invalid_input(), "{error}");
            assert_eq!(lab.vips().virtual_ips(&binder).unwrap(), [vip("10.96.0.1")]);
            lab.vips().clear(&binder).unwrap();
        }
        // A prefix that only routes can bind: its addresses are desired.
        lab.vips().bind_all(&binder, vips(&["10.96.0.1", "10.97.0.1"])).unwrap();
        if binder != Binder::local_routes(77) {
            let error = lab.vips().sync(&binder, [vip("10.96.0.0/16")]).unwrap_err();
            assert!(error.failures.len() == 1 && error.failures[0].error.is_invalid_input(), "{error}");
            assert_eq!(lab.vips().virtual_ips(&binder).unwrap(), [vip("10.96.0.1")]);
        }
        lab.vips().clear(&binder).unwrap();
    }
}

fn a_dummy_interface_is_made_on_demand_and_left_down(lab: &Lab) {
    let (mut client, vip0) = (lab.vips(), Binder::dummy("vip0").unwrap());
    assert_eq!(client.virtual_ips(&vip0).unwrap(), []);
    client.sync(&vip0, NONE).unwrap();
    assert!(!lab.tool("ip -o link").contains("vip0"));
    client.bind(&vip0, vip("2001:db8::a")).unwrap();
    client.bind(&vip0, vip("10.96.0.10")).unwrap();
    let shown = lab.tool("ip -d link show vip0");
    assert!(shown.contains("dummy") && shown.contains("NOARP") && shown.contains("state DOWN"), "{shown}");
    let shown = lab.tool("ip address show dev vip0");
    assert!(shown.contains("10.96.0.10/32 ") && shown.contains("2001:db8::a/128 "), "{shown}");
    // Not one that the machine would take for its own connections; nothing to wait for.
    assert!(shown.contains("deprecated") && !shown.contains("tentative"), "{shown}");
    // It keeps what is not a host address of its own.
    lab.tool("ip address add 10.96.9.1/24 dev vip0");
    lab.tool("ip address add 10.96.16.0/20 dev vip0");
    for theirs in ["10.96.9.1", "10.96.16.0", "10.96.16.0/20"] {
        assert_eq!(client.unbind(&vip0, vip(theirs)).unwrap(), Unchanged);
    }
    client.sync(&vip0, NONE).unwrap();
    let shown = lab.tool("ip address show dev vip0");
    assert!(shown.contains("10.96.9.1/24") && shown.contains("10.96.16.0/20"), "{shown}");
}

fn clearing_leaves_what_others_have_on_the_interface(lab: &Lab) {
    let (mut client, vip0) = (lab.vips(), Binder::dummy("vip0").unwrap());
    lab.tool("ip link add br0 type bridge");
    for (theirs, undo) in [
        ("address add 10.96.9.1/24 dev vip0", "address delete 10.96.9.1/24 dev vip0"),
        ("address add 2001:db8:9::1/64 dev vip0", "address delete 2001:db8:9::1/64 dev vip0"),
        ("address add 10.96.9.7 peer 10.96.9.8/32 dev vip0", "address delete 10.96.9.7 peer 10.96.9.8/32 dev vip0"),
        ("address add 2001:db8:9::7 peer 2001:db8:9::8/128 dev vip0", "address flush dev vip0"),
        ("link set vip0 up", "link set vip0 down"),
        ("link set vip0 master br0", "link set vip0 nomaster"),
    ] {
        client.bind_all(&vip0, vips(&["10.96.0.1", "2001:db8::1"])).unwrap();
        lab.tool(&format!("ip {theirs}"));
        let state =
            || (lab.tool("ip -o address show"), lab.tool("ip -o link show"), lab.tool("ip route show table all"));
        assert_eq!(listed(&mut client, &vip0), vips(&["10.96.0.1", "2001:db8::1"]), "{theirs}");
        let before = lab.tool("ip -o link show");
        assert_eq!(client.clear(&vip0).unwrap(), Deleted, "{theirs}");
        assert_eq!(lab.tool("ip -o link show"), before, "{theirs}");
        let shown = state();
        assert!(!shown.0.contains("10.96.0.1/") && !shown.0.contains("2001:db8::1/"), "{shown:?}");
        if let Some(("address", rest)) = theirs.split_once(' ') {
            let address = rest.split(' ').nth(1).unwrap().split('/').next().unwrap();
            assert!(shown.0.contains(address), "{theirs}: {shown:?}");
        }
        assert_eq!(client.clear(&vip0).unwrap(), Unchanged, "{theirs}");
        assert_eq!(state(), shown);
        lab.tool(&format!("ip {undo}"));
        assert_eq!(client.clear(&vip0).unwrap(), Deleted, "{theirs}");
        assert!(!lab.tool("ip -o link show").contains("vip0"), "{theirs}");
    }
}

/// Bytes that are no UTF-8, in whatever is called by a name.
fn names_that_are_not_utf_8_are_in_nobodys_way(lab: &Lab) {
    let ip = |words: &[&[u8]]| {
        let words: Vec<_> = words.iter().map(|word| std::ffi::OsStr::from_bytes(word)).collect();
        assert!(lab.run(|| std::process::Command::new("ip").args(&words).status()).unwrap().success(), "{words:?}");
    };
    let odd = b"caf\xe9";
    ip(&[b"link", b"add", odd, b"type", b"dummy"]);
    ip(&[b"address", b"add", b"192.0.2.10/32", b"dev", odd]);
    ip(&[b"link", b"add", b"vip0", b"type", b"dummy"]);
    ip(&[b"link", b"set", b"vip0", b"alias", b"\xe9\xff"]);
    ip(&[b"link", b"property", b"add", b"dev", b"vip0", b"altname", b"\xe9tage"]);
    let mut client = lab.vips();
    let vip0 = Binder::dummy("vip0").unwrap();
    let error = client.sync(&vip0, vips(&["192.0.2.10", "192.0.2.11", "2001:db8::1"])).unwrap_err();
    assert_eq!(error.to_string(), "bind 192.0.2.10 to vip0: 192.0.2.10 is an address of caf\u{fffd} already");
    let Cause::Conflict { interface, .. } = error.failures[0].error.cause() else { panic!("{error}") };
    assert_eq!(interface.unwrap().as_bytes(), odd);
    assert_eq!(listed(&mut client, &vip0), vips(&["192.0.2.11", "2001:db8::1"]));
    for binder in [Binder::dummy(odd).unwrap(), Binder::label(b"caf\xe9:\xff/\x01", 77).unwrap()] {
        assert_eq!(client.bind(&binder, vip("10.96.0.1")).unwrap(), Added, "{binder}");
        assert!(client.virtual_ips(&binder).unwrap().contains(&vip("10.96.0.1")), "{binder}");
        assert_eq!(client.bind(&binder, vip("10.96.0.1")).unwrap(), Unchanged, "{binder}");
        assert_eq!(client.unbind(&binder, vip("10.96.0.1")).unwrap(), Deleted, "{binder}");
    }
    assert_eq!(client.clear(&Binder::dummy(odd).unwrap()).unwrap(), Deleted);
    let made = Binder::dummy(b"\xff\x7f\x01").unwrap();
    assert_eq!(client.bind(&made, vip("10.96.0.1")).unwrap(), Added);
    let names: Vec<_> = lab
        .run(|| std::fs::read_dir("/proc/sys/net/ipv4/conf"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(names.contains(&std::ffi::OsStr::from_bytes(b"\xff\x7f\x01").to_owned()), "{names:?}");
    assert_eq!(client.clear(&made).unwrap(), Deleted);
}

fn a_dummy_interface_that_is_gone_holds_nothing(lab: &Lab) {
    let (mut client, vip0) = (lab.vips(), Binder::dummy("vip0").unwrap());
    client.bind(&vip0, vip("10.96.0.10")).unwrap();
    lab.tool("ip link delete vip0");
    assert_eq!(client.unbind(&vip0, vip("10.96.0.10")).unwrap(), Unchanged);
    assert_eq!(client.virtual_ips(&vip0).unwrap(), []);
    assert_eq!(client.clear(&vip0).unwrap(), Unchanged);
    assert_eq!(client.bind(&vip0, vip("10.96.0.10")).unwrap(), Added);
}

fn an_interface_of_another_kind_is_refused(lab: &Lab) {
    lab.tool("ip link add pair0 type veth peer name pair1");
    for (name, kind) in [("lo", "no kind of its own"), ("pair0", "veth")] {
        let (mut client, binder) = (lab.vips(), Binder::dummy(name).unwrap());
        let errors = [
            client.bind(&binder, vip("10.96.0.10")).unwrap_err(),
            client.unbind(&binder, vip("10.96.0.10")).unwrap_err(),
            client.virtual_ips(&binder).unwrap_err(),
            client.clear(&binder).unwrap_err(),
            client.sync(&binder, NONE).unwrap_err().into(),
        ];
        for error in errors {
            assert!(error.is_already_exists() && error.to_string().contains(kind), "{error}");
        }
        assert!(lab.tool("ip -o address show").lines().all(|line| !line.contains("10.96")));
    }
}

fn impossible_names_and_numbers_are_refused(lab: &Lab) {
    for name in ["", ".", "..", "a/b", "a:b", "a b", "sixteen_letters_", "vip%d", "a%", "%%", "all", "default"] {
        assert!(Binder::dummy(name).is_err(), "{name:?}");
    }
    for binder in [Binder::local_routes(4), Binder::label("lo:1", 0).unwrap()] {
        assert!(lab.vips().bind(&binder, vip("10.96.0.10")).unwrap_err().is_invalid_input());
        assert!(lab.vips().sync(&binder, NONE).unwrap_err().interruption.unwrap().is_invalid_input());
        assert!(lab.vips().virtual_ips(&binder).unwrap_err().is_invalid_input());
    }
}

fn a_prefix_is_one_route(lab: &Lab) {
    real_interface(lab);
    let (mut client, routes) = (lab.vips(), Binder::local_routes(77));
    let all = ["10.96.0.0/12", "2001:db8::/64", "10.96.0.1", "10.96.0.0"];
    client.sync(&routes, vips(&all)).unwrap();
    assert_eq!(listed(&mut client, &routes), vips(&all));
    assert_eq!(client.bind(&routes, vip("10.96.0.0/12")).unwrap(), Unchanged);
    for address in ["10.111.255.254", "2001:db8::1:2:3"] {
        assert!(lab.tool(&format!("ip route get {address}")).starts_with("local "), "{address}");
    }
    assert_eq!(client.unbind(&routes, vip("10.96.0.0/13")).unwrap(), Unchanged);
    assert_eq!(client.unbind(&routes, vip("10.96.0.0/12")).unwrap(), Deleted);
    assert_eq!(listed(&mut client, &routes), vips(&["2001:db8::/64", "10.96.0.1", "10.96.0.0"]));
    let error = client.bind(&Binder::label("eth0:1", 77).unwrap(), vip("10.96.0.0/12")).unwrap_err();
    assert!(error.is_invalid_input() && error.to_string().contains("only local routes"), "{error}");
}

fn a_prefix_around_an_address_of_the_machine_is_a_conflict(lab: &Lab) {
    real_interface(lab);
    lab.tool("ip address add 10.96.3.1/24 dev eth0");
    add_ipv6(lab, "2001:db8::3/64");
    let (mut client, routes) = (lab.vips(), Binder::local_routes(77));
    for (prefix, address) in [("10.96.0.0/12", "10.96.3.1"), ("2001:db8::/32", "2001:db8::3")] {
        let within = Vip::from(vip(prefix).address());
        client.bind_all(&routes, [within, vip("10.200.0.1")]).unwrap();
        let error = client.sync(&routes, [vip(prefix), vip("10.112.0.0/16")]).unwrap_err();
        assert!(error.failures.len() == 1, "{error}");
        assert_eq!(
            listed(&mut client, &routes),
            [within, vip("10.112.0.0/16")].into(),
            "an address of the prefix stays"
        );
        let Cause::Conflict { address: found, interface, protocol: None, .. } = error.failures[0].error.cause() else {
            panic!("{error}")
        };
        assert_eq!((Vip::from(*found), *interface), (vip(address), "eth0".parse().ok()));
        client.clear(&routes).unwrap();
    }
}

fn only_the_interface_that_was_asked_for_is_listed(lab: &Lab) {
    let mut client = lab.vips();
    let (one, two) = (Binder::dummy("vip1").unwrap(), Binder::dummy("vip2").unwrap());
    client.bind(&one, vip("10.96.0.1")).unwrap();
    client.bind(&two, vip("10.96.0.2")).unwrap();
    assert_eq!(client.virtual_ips(&one).unwrap(), [vip("10.96.0.1")]);
    assert_eq!(client.virtual_ips(&two).unwrap(), [vip("10.96.0.2")]);
    let error = client.bind(&one, vip("10.96.0.2")).unwrap_err();
    assert!(error.is_conflict() && error.to_string().ends_with("an address of vip2 already"), "{error}");
}

fn a_label_needs_its_interface(lab: &Lab) {
    let (mut client, binder) = (lab.vips(), Binder::label("eth7:1", 77).unwrap());
    let errors = [
        client.bind(&binder, vip("10.96.0.10")).unwrap_err(),
        client.unbind(&binder, vip("10.96.0.10")).unwrap_err(),
        client.virtual_ips(&binder).unwrap_err(),
        client.sync(&binder, NONE).unwrap_err().into(),
    ];
    for error in errors {
        assert!(error.is_not_found() && error.to_string().contains("eth7:1: no such interface"), "{error}");
        assert_eq!(error.reason(), Some(Reason::InterfaceNotFound), "{error}");
    }
}

fn two_labels_with_numbers_of_their_own_are_apart(lab: &Lab) {
    real_interface(lab);
    let mut client = lab.vips();
    let (one, two) = (Binder::label("eth0:1", 77).unwrap(), Binder::label("eth0:web", 78).unwrap());
    client.sync(&one, vips(&["10.96.0.1", "2001:db8::1"])).unwrap();
    client.sync(&two, vips(&["10.96.0.2", "2001:db8::2"])).unwrap();
    assert_eq!(listed(&mut client, &one), vips(&["10.96.0.1", "2001:db8::1"]));
    assert!(lab.tool("ip address show dev eth0 label eth0:web").contains("10.96.0.2/32"));
    assert!(client.bind(&two, vip("2001:db8::1")).unwrap_err().is_conflict());
    client.clear(&two).unwrap();
    assert_eq!(listed(&mut client, &one), vips(&["10.96.0.1", "2001:db8::1"]));
}

fn an_ipv6_route_needs_the_loopback_interface(lab: &Lab) {
    lab.tool("ip link set lo down");
    let (mut client, routes) = (lab.vips(), Binder::local_routes(77));
    assert_eq!(client.bind(&routes, vip("10.96.0.1")).unwrap(), Added);
    let error = client.bind(&routes, vip("2001:db8::1")).unwrap_err();
    assert!(error.to_string().contains("`ip link set lo up`"), "{error}");
    lab.tool("ip link set lo up");
    assert_eq!(client.bind(&routes, vip("2001:db8::1")).unwrap(), Added);
}

fn where_ipv6_is_disabled_only_ipv6_fails(lab: &Lab) {
    real_interface(lab);
    lab.run(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1")).unwrap();
    let (mut client, label) = (lab.vips(), Binder::label("eth0:1", 77).unwrap());
    client.bind(&label, vip("10.96.0.9")).unwrap();
    let error = client.sync(&label, vips(&["10.96.0.1", "2001:db8::1", "10.96.0.2"])).unwrap_err();
    assert_eq!((error.failures.len(), error.done.bound, error.done.unbound), (1, 2, 1), "{error}");
    assert_eq!(error.failures[0].change.vip(), vip("2001:db8::1"));
    let error = lvs::Error::from(error);
    let text = "bind 2001:db8::1 to eth0:1: IPv6 is disabled on the interface (EACCES";
    assert!(error.to_string().contains(text), "{error}");
    assert_eq!(listed(&mut client, &label), vips(&["10.96.0.1", "10.96.0.2"]));
}

/// Many of both families.
fn many(count: u16) -> BTreeSet<Vip> {
    (0..count)
        .flat_map(|n| {
            let [high, low] = n.to_be_bytes();
            let four: IpAddr = [10, 96, high, low].into();
            let six: IpAddr = [0x2001, 0xdb8, 0, 0, 0, 0, 0, n].into();
            [four.into(), six.into()]
        })
        .collect()
}

fn bound_listed_and_removed(lab: &Lab, binder: &Binder, all: &BTreeSet<Vip>) {
    let mut client = lab.vips();
    assert_eq!(client.sync(binder, all.iter().copied()).unwrap().bound, all.len());
    assert_eq!(listed(&mut client, binder), *all);
    let again = client.bind_all(binder, all.iter().copied()).unwrap();
    assert_eq!((again.bound, again.unchanged), (0, all.len()), "{binder}");
    let half: BTreeSet<_> = all.iter().copied().step_by(2).collect();
    let tally = client.sync(binder, half.iter().copied()).unwrap();
    assert_eq!((tally.bound, tally.unbound, tally.unchanged), (0, all.len() / 2, all.len() / 2));
    assert_eq!(listed(&mut client, binder), half);
    let tally = client.unbind_all(binder, all.iter().copied()).unwrap();
    assert_eq!((tally.unbound, tally.unchanged), (all.len() / 2, all.len() / 2));
    assert_eq!(client.virtual_ips(binder).unwrap(), []);
}

fn twenty_thousand_local_routes_are_bound_listed_and_removed(lab: &Lab) {
    bound_listed_and_removed(lab, &Binder::local_routes(77), &many(10_000));
}

fn a_thousand_addresses_are_bound_listed_and_removed(lab: &Lab) {
    real_interface(lab);
    for binder in [BINDERS[0](), BINDERS[2]()] {
        bound_listed_and_removed(lab, &binder, &many(500));
    }
}

/// Only the dummy interface as a whole goes quickly: the kernel takes seconds to unbind thousands of its addresses one by one.
fn twenty_thousand_addresses_of_a_dummy_are_bound_listed_and_removed(lab: &Lab) {
    let (binder, all) = (BINDERS[0](), many(10_000));
    let mut client = lab.vips();
    assert_eq!(client.sync(&binder, all.iter().copied()).unwrap().bound, all.len());
    assert_eq!(listed(&mut client, &binder), all);
    let again = client.bind_all(&binder, all.iter().copied()).unwrap();
    assert_eq!((again.bound, again.unchanged), (0, all.len()));
    let gone: BTreeSet<_> = all.iter().copied().step_by(200).collect();
    let kept: BTreeSet<_> = all.difference(&gone).copied().collect();
    let tally = client.sync(&binder, kept.iter().copied()).unwrap();
    assert_eq!((tally.bound, tally.unbound, tally.unchanged), (0, gone.len(), kept.len()));
    assert_eq!(listed(&mut client, &binder), kept);
    assert_eq!(client.clear(&binder).unwrap(), Deleted);
    assert_eq!(client.virtual_ips(&binder).unwrap(), []);
}

fn a_small_receive_buffer_loses_nothing(lab: &Lab) {
    real_interface(lab);
    for receive_buffer in [0, 400_000] {
        let mut options = Options::default();
        options.receive_buffer = receive_buffer;
        let mut client = lab.run(|| Vips::connect_with(&options)).unwrap();
        let all = many(200);
        for binder in BINDERS.map(|binder| binder()) {
            client.sync(&binder, all.iter().copied()).unwrap();
            assert_eq!(listed(&mut client, &binder), all);
            // As many answers as there are questions, and all refused.
            let other = Binder::local_routes(78);
            assert_eq!(client.bind_all(&other, all.iter().copied()).unwrap_err().failures.len(), all.len());
            assert_eq!(client.sync(&binder, NONE).unwrap().unbound, all.len());
            client.clear(&binder).unwrap();
        }
    }
}

/// Virtual IPs that the child of the next test binds.
pub(crate) fn desired() -> BTreeSet<Vip> {
    many(1500).into_iter().skip(750).collect()
}

fn a_killed_sync_is_made_up_for_by_the_next(lab: &Lab) {
    real_interface(lab);
    foreign(lab);
    let before = state(lab);
    let mut client = lab.vips();
    let (old, desired): (BTreeSet<_>, _) = (many(1500).into_iter().take(1000).collect(), desired());
    let mut cut_short = 0;
    for (number, binder) in BINDERS.map(|binder| binder()).iter().enumerate() {
        client.sync(binder, old.iter().copied()).unwrap();
        let mut child = start_child(lab, &format!("sync {number}"));
        // Once it has begun: something is new, or something old is gone.
        let deadline = Instant::now() + Duration::from_secs(60);
        while listed(&mut client, binder) == old {
            assert!(Instant::now() < deadline, "{binder}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let left = listed(&mut client, binder);
        cut_short += usize::from(left != desired);
        assert!(left.iter().all(|vip| old.contains(vip) || desired.contains(vip)));
        assert!(state(lab).is_superset(&before));
        client.sync(binder, desired.iter().copied()).unwrap();
        assert_eq!(listed(&mut client, binder), desired);
        client.clear(binder).unwrap();
        assert_eq!(state(lab), before);
    }
    assert!(cut_short > 0, "each was done before it could be killed");
}
