//! What the kernel's refusals become: the text says what was attempted, on which object, and what is wrong.

use std::net::Ipv4Addr;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipset::{
    Addresses, AnyType, BitmapIp, Comment, Counters, HashIp, HashIpPort, HashNet, Ipset, Kind, ListMember, ListSet,
    Member, NewSet, Ports, ProtocolPorts, Set, SetOptions, SkbInfo,
};
use lvs::{Cause, Error, Reason};

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
        (member().timeout(Duration::from_secs(5)), "made without timeouts"),
        (member().counters(Counters { packets: Some(1), bytes: Some(2) }), "made without counters"),
        (member().comment(Comment::new("x").unwrap()), "made without comments"),
        (member().skb(SkbInfo { queue: Some(1), ..SkbInfo::default() }), "made without skbinfo"),
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
        (ListMember::new(name("nothing")), "the set to be listed is not there"),
        (ListMember::new(name("list")), "a list:set cannot be in a list:set"),
        (plain.before(name("nothing")), "the set that says where is not there"),
        (plain.after(name("plain")), "the set that says where is not in the list"),
    ] {
        let error = ipset.add(&list, &Member::new(member)).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
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
        for protocol in 0..=u8::MAX {
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
