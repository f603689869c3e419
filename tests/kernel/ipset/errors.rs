//! Texts of the kernel's refusals: the operation, the object and the reason.

use std::net::Ipv4Addr;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipset::{
    Addresses, AnyType, BitmapIp, Change, Comment, Counters, HashIp, HashIpPort, HashNet, Ipset, Kind, ListMember,
    ListSet, Member, NewSet, Ports, ProtocolPorts, Set, SetOptions, SkbInfo,
};
use lvs::{Cause, Error, Protocol, Reason};

use super::{addresses, name};
use crate::lab::{self, Lab, Need, tests};

pub(super) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipset(Kind::HashIp)];
        of_what_a_set_was_made_without,
        of_bitmaps,
        of_lists,
        of_names,
        of_what_is_refused_before_sending,
        of_ports,
    );
    all.extend(tests!(COMPARED; of_sets_that_exist,));
    all.extend(tests!(&[Need::Ipset(Kind::HashIp)]; without_privilege, in_a_user_namespace_of_its_own,));
    all
}

fn refused(error: &Error) -> Reason {
    match error.cause() {
        Cause::Refused(refused) => refused.reason,
        other => panic!("{other}"),
    }
}

fn set(ipset: &mut Ipset) -> Set<HashIp> {
    ipset.put_set(name("plain"), &NewSet::ipv4()).unwrap().0
}

fn of_what_a_set_was_made_without(lab: &Lab) {
    let mut ipset = lab.ipset();
    let plain = set(&mut ipset);
    let member = || Member::<HashIp>::new(addresses("10.0.0.1"));
    for (member, wanted) in [
        (member().timeout(Duration::from_secs(5)), "created without timeouts"),
        (member().counters(Counters { packets: Some(1), bytes: Some(2) }), "created without counters"),
        (member().comment(Comment::new("x").unwrap()), "created without comments"),
        (member().skb(SkbInfo { queue: Some(1), ..SkbInfo::default() }), "created without skbinfo"),
    ] {
        let error = ipset.add(&plain, &member).unwrap_err();
        assert_eq!(refused(&error), Reason::NotEnabled);
        let text = error.to_string();
        assert!(text.starts_with("add 10.0.0.1 to set plain: ") && text.contains(wanted), "{text}");
    }
    let zero = ipset.add(&plain, &Member::new(addresses("0.0.0.0"))).unwrap_err();
    assert!(zero.to_string().contains("is zero"), "{zero}");
}

fn of_bitmaps(lab: &Lab) {
    let mut ipset = lab.ipset();
    let new = NewSet::<BitmapIp>::range(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 1, 0, 0));
    let error = ipset.create(name("wide"), &new).unwrap_err();
    assert!(error.to_string().contains("more than 65536 elements"), "{error}");
    let new = NewSet::<BitmapIp>::range(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 0, 9));
    let map = ipset.create(name("map"), &new).unwrap();
    let outside = Member::new(addresses("10.0.0.10"));
    let error = ipset.add(&map, &outside).unwrap_err();
    assert!(error.to_string().contains("outside of the set's range"), "{error}");
    assert!(!ipset.test(&map, &outside).unwrap());
}

fn of_lists(lab: &Lab) {
    let mut ipset = lab.ipset();
    set(&mut ipset);
    let list = ipset.create(name("list"), &NewSet::<ListSet>::new()).unwrap();
    let plain = ListMember::new(name("plain"));
    for (member, wanted) in [
        (ListMember::new(name("nothing")), "no set has the name of the member"),
        (ListMember::new(name("list")), "a list:set cannot be in a list:set"),
        (plain.before(name("nothing")), "no set has the name of the place"),
        (plain.after(name("plain")), "the set of the place is not in the list"),
    ] {
        let error = ipset.add(&list, &Member::new(member)).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

const COMPARED: &[Need] = &[
    Need::Ipset(Kind::BitmapIp),
    Need::Ipset(Kind::BitmapPort),
    Need::Ipset(Kind::HashIp),
    Need::Ipset(Kind::HashIpMark),
    Need::Ipset(Kind::HashIpPort),
    Need::Ipset(Kind::HashNet),
    Need::Ipset(Kind::ListSet),
];

fn of_sets_that_exist(lab: &Lab) {
    let mut ipset = lab.ipset();
    let held = name("held");
    let new = |text: &str| text.parse::<NewSet<AnyType>>().unwrap();
    for (existing, wanted, difference) in [
        ("hash:ip family inet maxelem 7", "hash:ip,port family inet maxelem 7", "hash:ip, wanted hash:ip,port"),
        (
            "hash:ip family inet",
            "hash:ip,port family inet maxelem 1048576",
            "hash:ip maxelem 65536, wanted hash:ip,port maxelem 1048576",
        ),
        (
            "hash:ip family inet counters timeout 5",
            "hash:ip family inet counters comment",
            "hash:ip timeout 5, wanted hash:ip comment",
        ),
        ("hash:net family inet", "hash:net family inet6", "hash:net family inet, wanted hash:net family inet6"),
        ("hash:net family inet", "list:set", "hash:net family inet maxelem 65536, wanted list:set size 8"),
        ("bitmap:port range 1-5", "bitmap:port range 1-6", "bitmap:port range 1-5, wanted bitmap:port range 1-6"),
        ("list:set", "list:set size 9", "list:set size 8, wanted list:set size 9"),
        (
            "hash:ip,mark family inet",
            "hash:ip,mark family inet markmask 0xff",
            "hash:ip,mark markmask 0xffffffff, wanted hash:ip,mark markmask 0x000000ff",
        ),
    ] {
        let (existing, wanted) = (new(existing), new(wanted));
        ipset.create(held, &existing).unwrap();
        for error in [
            ipset.create(held, &wanted).unwrap_err(),
            ipset.put_set(held, &wanted).unwrap_err(),
            ipset.batch([Change::PutSet(held, wanted)]).unwrap_err().into(),
        ] {
            assert!(error.is_already_exists(), "{error}");
            let text = format!("set held exists and differs: {difference}");
            assert!(error.to_string().contains(&text), "{error}");
        }
        ipset.put_set(held, &existing).unwrap();
        ipset.destroy(held).unwrap();
    }
    for (existing, wanted) in [
        ("bitmap:ip range 10.0.0.9-10.0.0.3 netmask 30", "bitmap:ip range 10.0.0.0-10.0.0.11 netmask 30"),
        ("list:set size 2", "list:set size 4"),
        ("hash:ip family inet netmask 32 hashsize 64 forceadd", "hash:ip maxelem 65536"),
        ("hash:ip,mark family inet", "hash:ip,mark family inet markmask 0xffffffff"),
    ] {
        ipset.create(held, &new(existing)).unwrap();
        ipset.put_set(held, &new(wanted)).unwrap();
        let error = ipset.create(held, &new(wanted)).unwrap_err().to_string();
        assert!(error.contains("set held exists, with this type and these options (EEXIST)"), "{error}");
        ipset.destroy(held).unwrap();
    }
}

fn of_names(lab: &Lab) {
    let mut ipset = lab.ipset();
    let plain = set(&mut ipset);
    let taken = ipset.put_set(name("plain"), &NewSet::<HashIp>::ipv4().counters()).unwrap_err();
    assert!(taken.is_already_exists(), "{taken}");
    let other_family = ipset.put_set(name("plain"), &NewSet::<HashIp>::ipv6()).unwrap_err();
    assert!(other_family.to_string().contains("set plain"), "{other_family}");
    let nothing = name("nothing");
    for error in [
        ipset.clear(nothing).unwrap_err(),
        ipset.set(nothing).unwrap_err(),
        ipset.header(nothing).unwrap_err(),
        ipset.index(nothing).unwrap_err(),
        ipset.swap(nothing, name("plain")).unwrap_err(),
        ipset.swap(name("plain"), nothing).unwrap_err(),
        ipset.rename(nothing, name("other")).unwrap_err(),
        ipset.stream_contents(Some(nothing)).unwrap().next().unwrap().unwrap_err(),
    ] {
        assert!(error.is_not_found() && error.to_string().contains("nothing"), "{error}");
    }
    ipset.destroy(name("plain")).unwrap();
    assert!(ipset.put(&plain, &Member::new(addresses("10.0.0.1"))).unwrap_err().is_not_found());
    let nets = ipset.create(name("nets"), &NewSet::<HashNet>::ipv4()).unwrap();
    set(&mut ipset);
    let mismatch = ipset.swap(name("nets"), name("plain"));
    // A hash:net and a hash:ip differ in that the first has exceptions.
    assert_eq!(refused(&mismatch.unwrap_err()), Reason::TypeMismatch);
    assert!(ipset.stream_members(&nets).unwrap().next().is_none());
}

fn of_what_is_refused_before_sending(lab: &Lab) {
    let mut ipset = lab.ipset();
    let plain = set(&mut ipset);
    let bad = |entry: Addresses| Member::<HashIp>::new(entry);
    for (member, wanted) in [
        (bad(addresses("::1")), "family inet"),
        (bad(addresses("10.0.0.1")).timeout(Duration::from_millis(1500)), "whole seconds"),
        (bad(addresses("10.0.0.1")).timeout(Duration::from_secs(2_147_484)), "up to 2147483"),
    ] {
        let error = ipset.add(&plain, &member).unwrap_err();
        assert!(error.is_invalid_input() && error.to_string().contains(wanted), "{error}");
    }
    let mut options = SetOptions::default();
    options.markmask = Some(1);
    let error = ipset.create(name("new"), &NewSet::<AnyType>::new(Kind::HashIp, options)).unwrap_err();
    assert!(error.is_invalid_input() && error.to_string().contains("no option markmask"), "{error}");
    for new in [NewSet::<HashIp>::ipv4().netmask(33), NewSet::ipv4().bucketsize(3), NewSet::ipv4().netmask(0)] {
        assert!(ipset.create(name("new"), &new).unwrap_err().is_invalid_input());
    }
}

/// Every protocol with a port, a range and none: what is accepted reads back as it was asked, the rest is not sent.
fn of_ports(lab: &Lab) {
    let mut ipset = lab.ipset();
    for (new, address) in [(NewSet::<HashIpPort>::ipv4(), "10.0.0.1"), (NewSet::ipv6(), "2001:db8::1")] {
        let ports = ipset.create(name("ports"), &new).unwrap();
        for protocol in (0..=256).map(Protocol) {
            for (first, last) in [(0, 0), (80, 80), (0x0800, 0x0803), (0, 3)] {
                let asked = ProtocolPorts { protocol, ports: Ports { first, last } };
                let member = Member::new((addresses(address), asked));
                match ipset.add(&ports, &member) {
                    Err(error) => {
                        assert!(error.is_invalid_input(), "{error}");
                        assert!(ipset.test(&ports, &member).unwrap_err().is_invalid_input(), "{asked}");
                        assert!(ipset.remove(&ports, &member).unwrap_err().is_invalid_input(), "{asked}");
                        let all = ipset.put_all(&ports, [member.clone()]).unwrap_err();
                        assert!(all.failures[0].error.is_invalid_input(), "{asked}");
                        let text = format!("{},{}", addresses(address), asked);
                        assert!(error.to_string().contains(&text), "{error}");
                    }
                    Ok(()) => {
                        let wanted: Vec<_> =
                            (first..=last).map(|port| ProtocolPorts { protocol, ports: port.into() }).collect();
                        let mut read: Vec<_> =
                            ipset.stream_members(&ports).unwrap().map(|read| read.unwrap().entry.1).collect();
                        read.sort();
                        assert_eq!(read, wanted);
                        assert_eq!(ipset.test(&ports, &member).ok(), (first == last).then_some(true), "{asked}");
                        ipset.delete(&ports, &member).unwrap();
                    }
                }
            }
        }
        ipset.destroy(name("ports")).unwrap();
    }
}

fn without_privilege(lab: &Lab) {
    let answers = lab::unprivileged_child(lab, "ipset");
    for answer in answers {
        assert!(answer.starts_with("permission denied: ") && answer.contains("CAP_NET_ADMIN"), "{answer}");
    }
}

/// Unlike IPVS, ipset is content with root of the user namespace that owns the network namespace.
fn in_a_user_namespace_of_its_own(lab: &Lab) {
    assert_eq!(lab::child_in_its_own_namespaces(lab, "ipset"), ["[]", "()"]);
}
