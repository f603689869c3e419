//! Virtual addresses on a dummy interface.

use std::collections::HashSet;
use std::net::{IpAddr, TcpListener};

use libtest_mimic::Trial;
use lvs::Reason;
use lvs::netns::Namespace;
use lvs::vip::Outcome::{Changed, Unchanged};
use lvs::vip::Vips;

use crate::lab::{Lab, Need, tests};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[]; an_interface_of_another_kind_is_refused, impossible_names_are_refused,);
    all.extend(tests!(&[Need::Dummy];
        a_dummy_interface_is_made_once,
        binding_and_unbinding_tell_whether_there_was_something_to_do,
        only_the_interface_that_was_asked_for_is_listed,
        a_bound_address_is_local_at_once,
        addresses_that_no_host_has_are_refused,
        an_interface_that_is_gone_is_not_found,
        an_interface_of_another_namespace_is_refused,
        hundreds_of_addresses_are_listed,
    ));
    all
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn a_dummy_interface_is_made_once(lab: &Lab) {
    let mut vips = lab.vips();
    let dummy = vips.ensure_dummy("vip0").unwrap();
    assert_eq!(vips.ensure_dummy("vip0").unwrap(), dummy);
    let shown = lab.tool("ip -d link show vip0");
    assert!(shown.contains("dummy") && shown.contains("NOARP") && shown.contains("state DOWN"), "{shown}");
    assert!(shown.starts_with(&format!("{}: vip0:", dummy.index())), "{shown}");
    assert_eq!(vips.delete_dummy(&dummy).unwrap(), Changed);
    assert_eq!(vips.delete_dummy(&dummy).unwrap(), Unchanged);
}

fn an_interface_of_another_kind_is_refused(lab: &Lab) {
    let error = lab.vips().ensure_dummy("lo").unwrap_err();
    assert!(error.is_already_exists());
    assert!(error.to_string().starts_with("ensure dummy interface lo: "), "{error}");
    lab.tool("ip link add pair0 type veth peer name pair1");
    let error = lab.vips().ensure_dummy("pair0").unwrap_err();
    assert!(error.is_already_exists() && error.to_string().contains("veth"), "{error}");
}

fn impossible_names_are_refused(lab: &Lab) {
    for name in ["", ".", "..", "a/b", "a:b", "a b", "sixteen_letters_"] {
        assert!(lab.vips().ensure_dummy(name).unwrap_err().is_invalid_input(), "{name:?}");
    }
}

fn binding_and_unbinding_tell_whether_there_was_something_to_do(lab: &Lab) {
    let mut vips = lab.vips();
    let dummy = vips.ensure_dummy("vip0").unwrap();
    for address in [ip("10.96.0.10"), ip("2001:db8::a")] {
        assert_eq!(vips.unbind(&dummy, address).unwrap(), Unchanged);
        assert_eq!(vips.bind(&dummy, address).unwrap(), Changed);
        assert_eq!(vips.bind(&dummy, address).unwrap(), Unchanged);
        assert_eq!(vips.addresses(&dummy).unwrap(), [address]);
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        assert!(lab.tool("ip address show dev vip0").contains(&format!("{address}/{prefix} ")));
        assert_eq!(vips.unbind(&dummy, address).unwrap(), Changed);
        assert_eq!(vips.addresses(&dummy).unwrap().len(), 0);
    }
}

fn only_the_interface_that_was_asked_for_is_listed(lab: &Lab) {
    let mut vips = lab.vips();
    let (one, two) = (vips.ensure_dummy("vip1").unwrap(), vips.ensure_dummy("vip2").unwrap());
    vips.bind(&one, ip("10.96.0.1")).unwrap();
    vips.bind(&two, ip("10.96.0.2")).unwrap();
    lab.tool("ip address add 10.96.9.1/24 dev vip2");
    lab.tool("ip link set vip2 up");
    assert_eq!(vips.addresses(&one).unwrap(), [ip("10.96.0.1")]);
    assert_eq!(vips.addresses(&two).unwrap(), [ip("10.96.0.2")]);
    assert_eq!(vips.unbind(&two, ip("10.96.9.1")).unwrap(), Unchanged);
    assert!(lab.tool("ip address show dev vip2").contains("10.96.9.1/24"));
}

fn a_bound_address_is_local_at_once(lab: &Lab) {
    let mut vips = lab.vips();
    let dummy = vips.ensure_dummy("vip0").unwrap();
    for address in [ip("10.96.0.10"), ip("2001:db8::a")] {
        assert!(lab.run(|| TcpListener::bind((address, 80))).is_err());
        vips.bind(&dummy, address).unwrap();
        lab.run(|| TcpListener::bind((address, 80))).unwrap();
    }
    assert!(!lab.tool("ip -6 route").contains("2001:db8::a"), "a second route beside the local one");
}

fn addresses_that_no_host_has_are_refused(lab: &Lab) {
    let mut vips = lab.vips();
    let dummy = vips.ensure_dummy("vip0").unwrap();
    for address in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:10.0.0.1"] {
        assert!(vips.bind(&dummy, ip(address)).unwrap_err().is_invalid_input(), "{address}");
    }
}

fn an_interface_that_is_gone_is_not_found(lab: &Lab) {
    let mut vips = lab.vips();
    let dummy = vips.ensure_dummy("vip0").unwrap();
    lab.tool("ip link delete vip0");
    let errors = [
        vips.bind(&dummy, ip("10.96.0.10")).unwrap_err(),
        vips.unbind(&dummy, ip("2001:db8::a")).unwrap_err(),
        vips.addresses(&dummy).unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_not_found() && error.to_string().contains("vip0"), "{error}");
        let lvs::Cause::Refused(refused) = error.cause() else { panic!("{error}") };
        assert_eq!(refused.reason, Reason::InterfaceNotFound);
    }
}

fn hundreds_of_addresses_are_listed(lab: &Lab) {
    let mut vips = lab.vips();
    let dummy = vips.ensure_dummy("vip0").unwrap();
    let all: HashSet<IpAddr> =
        (0..=255).flat_map(|n| [ip(&format!("10.96.1.{n}")), ip(&format!("2001:db8::{n:x}"))]).collect();
    for address in &all {
        vips.bind(&dummy, *address).unwrap();
    }
    let listed = vips.addresses(&dummy).unwrap();
    assert_eq!(listed.len(), all.len());
    assert_eq!(listed.into_iter().collect::<HashSet<_>>(), all);
}

fn an_interface_of_another_namespace_is_refused(lab: &Lab) {
    let dummy = lab.vips().ensure_dummy("vip0").unwrap();
    let other = Namespace::create().unwrap();
    let mut vips = other.run(Vips::connect).unwrap().unwrap();
    // The same index may be anything there.
    let errors = [
        vips.bind(&dummy, ip("10.96.0.10")).unwrap_err(),
        vips.unbind(&dummy, ip("10.96.0.10")).unwrap_err(),
        vips.addresses(&dummy).unwrap_err(),
        vips.delete_dummy(&dummy).unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_invalid_input() && error.to_string().contains("another network namespace"), "{error}");
    }
    assert_eq!(lab.vips().delete_dummy(&dummy).unwrap(), Changed);
}
