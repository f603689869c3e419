//! Sets brought to desired members.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::Reason;
use lvs::ipset::{
    Addresses, AnyType, BitmapRange, Comment, Counters, Entry, HashIp, InterfaceMatch, Kind, ListMember, Mac, Member,
    Method, Network, NewSet, ProtocolPorts, Set, SetOptions, Tally,
};

use super::name;
use crate::lab::{Lab, Need, tests};
use crate::random::Random;

pub(super) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipset(Kind::HashIp)];
        sync_ends_in_the_desired_members,
        members_that_cannot_be_compared_are_refused,
        another_mac_is_an_update_of_its_address,
        names_and_wildcards_that_cover_them_are_kept_apart,
        any_change_of_names_and_wildcards_ends_as_desired,
        a_full_set_keeps_every_desired_member,
        an_update_keeps_timeout_and_counters,
        a_list_gets_the_desired_order,
    )
}

/// Ten single entries of a type, some of them in a form in which the kernel does not list them.
fn entries(kind: Kind) -> Vec<Entry> {
    let ip = |at: u8| Addresses::from(Ipv4Addr::new(10, 0, 0, at));
    let net = |at: u8| match at % 3 {
        0 => ip(at),
        1 => Network::of_host(Ipv4Addr::new(10, 0, at, 9).into(), 24).unwrap().into(),
        _ => Addresses::Network(Network::new(Ipv4Addr::new(10, 1, 1, at).into(), 32).unwrap()),
    };
    let port = |at: u8| match at % 3 {
        0 => ProtocolPorts::protocol(47 + at),
        1 => ProtocolPorts::tcp(u16::from(at)..=u16::from(at)),
        _ => ProtocolPorts::udp(u16::from(at)..=u16::from(at)),
    };
    let first = |at| if kind.has_networks() && kind != Kind::HashIpPortNet { net(at) } else { ip(at) };
    let second = |at| if kind.has_networks() { net(at) } else { ip(at) };
    let of = |at: u8| match kind {
        Kind::BitmapIp | Kind::HashIp | Kind::HashNet => Entry::Ip(first(at)),
        Kind::BitmapIpMac | Kind::HashIpMac => Entry::IpMac(ip(at).first(), Some(Mac::new([2, 0, 0, 0, 0, at]))),
        Kind::HashIpMark => Entry::IpMark(ip(at), at.into()),
        Kind::HashIpPort | Kind::HashNetPort => Entry::IpPort(first(at), port(at)),
        Kind::HashIpPortIp | Kind::HashIpPortNet | Kind::HashNetPortNet => {
            Entry::IpPortIp(first(at), port(at), second(at + 20))
        }
        Kind::HashNetNet => Entry::IpIp(net(at), net(at + 20)),
        Kind::HashNetIface => Entry::IpInterface(net(at), InterfaceMatch::new(format!("eth{at}").parse().unwrap())),
        Kind::BitmapPort => Entry::Port(u16::from(at).into()),
        Kind::HashMac => Entry::Mac(Mac::new([2, 0, 0, 0, 0, at])),
        Kind::ListSet => Entry::Set(ListMember::new(name(&format!("listed{at}")))),
    };
    (1..=10).map(of).collect()
}

fn new_set(kind: Kind) -> NewSet<AnyType> {
    let mut options = SetOptions::default();
    options.comment = true;
    if kind == Kind::BitmapPort {
        options.range = Some(BitmapRange::Ports((0..=1023).into()));
    } else if kind.method() == Method::Bitmap {
        options.range = Some(BitmapRange::Addresses(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 0, 255)));
    }
    NewSet::<AnyType>::new(kind, options)
}

/// Comments of the members, by their entries as the kernel lists them.
fn held(lab: &Lab, set: &Set<AnyType>) -> BTreeMap<String, Option<Comment>> {
    let members = lab.ipset().members(set).unwrap();
    members.into_iter().map(|member| (member.entry.to_string(), member.comment)).collect()
}

fn sync_ends_in_the_desired_members(lab: &Lab) {
    let mut ipset = lab.ipset();
    for at in 1..=10 {
        ipset.create(name(&format!("listed{at}")), &NewSet::<HashIp>::ipv4()).unwrap();
    }
    let mut random = Random(7);
    for kind in Kind::ALL {
        let set = match ipset.create(name("s"), &new_set(*kind)) {
            Ok(set) => set,
            Err(error) => {
                assert!(error.is_unavailable(), "{error}");
                continue;
            }
        };
        let entries = entries(*kind);
        let comments = ["one", "two"].map(|text| Comment::new(text).unwrap());
        let mut before = BTreeMap::new();
        for _ in 0..12 {
            let mut desired: Vec<_> =
                entries.iter().filter(|_| random.percent(50)).copied().map(Member::<AnyType>::new).collect();
            desired
                .iter_mut()
                .for_each(|member| member.comment = random.percent(60).then(|| random.one(&comments).clone()));
            let tally = ipset.sync(&set, desired.iter().cloned()).unwrap();
            let after = held(lab, &set);
            assert_eq!(after.len(), desired.len(), "{kind}: {desired:?} {after:?}");
            let count = |comment: &Option<Comment>| after.values().filter(|held| *held == comment).count();
            for comment in comments.iter().cloned().map(Some).chain([None]) {
                let wanted = desired.iter().filter(|member| member.comment == comment).count();
                assert_eq!(count(&comment), wanted, "{kind}: {comment:?}");
            }
            let keys = |map: &BTreeMap<String, Option<Comment>>| map.keys().cloned().collect::<BTreeSet<_>>();
            let kept = keys(&before).intersection(&keys(&after)).cloned().collect::<Vec<_>>();
            let updated = kept.iter().filter(|entry| before[*entry] != after[*entry]).count();
            // A member of a list is also updated to get its place.
            let updated = if *kind == Kind::ListSet { tally.updated } else { updated };
            assert_eq!(
                (tally.added, tally.deleted, tally.updated, tally.unchanged),
                (after.len() - kept.len(), before.len() - kept.len(), updated, kept.len() - updated),
                "{kind}"
            );
            let again = ipset.sync(&set, desired).unwrap();
            assert_eq!((again.unchanged, again.added + again.updated + again.deleted), (after.len(), 0), "{kind}");
            before = after;
        }
        // Each desired entry is one of the set.
        ipset.sync(&set, entries.iter().copied().map(Member::<AnyType>::new)).unwrap();
        for entry in entries {
            assert!(ipset.test(&set, &Member::new(entry)).unwrap(), "{kind}: {entry}");
        }
        ipset.destroy(name("s")).unwrap();
    }
}

fn members_that_cannot_be_compared_are_refused(lab: &Lab) {
    let mut ipset = lab.ipset();
    let set = ipset.create(name("s"), &NewSet::<HashIp>::ipv4()).unwrap();
    let member = |text: &str| Member::<HashIp>::new(text.parse::<Addresses>().unwrap());
    ipset.add(&set, &member("10.0.0.1")).unwrap();
    let desired = ["10.0.0.2", "10.0.0.4-10.0.0.9", "10.1.0.0/24"].map(member);
    let error = ipset.sync(&set, desired).unwrap_err();
    let failed: Vec<_> = error.failures.iter().map(|failure| failure.position().unwrap()).collect();
    assert_eq!((failed, error.done), (vec![1, 2], 0));
    assert!(lvs::Error::from(error).is_invalid_input());
    assert_eq!(held(lab, &set.any()).into_keys().collect::<Vec<_>>(), ["10.0.0.1"]);
    let masked = ipset.create(name("masked"), &NewSet::<HashIp>::ipv4().netmask(24)).unwrap();
    let error = lvs::Error::from(ipset.sync(&masked, [member("10.0.0.1")]).unwrap_err());
    assert_eq!((error.reason(), error.operation()), (Some(Reason::Unsupported), "synchronise set masked"));
    let gone = ipset.open::<HashIp>(name("s")).unwrap();
    ipset.destroy(name("s")).unwrap();
    assert!(lvs::Error::from(ipset.sync(&gone, []).unwrap_err()).is_not_found());
}

/// Members as text, in the order of the listing.
fn texts(lab: &Lab, set: &Set<AnyType>) -> Vec<String> {
    lab.ipset().members(set).unwrap().iter().map(ToString::to_string).collect()
}

fn parsed(kind: Kind, texts: &[&str]) -> Vec<Member<AnyType>> {
    texts.iter().map(|text| Member::parse_as(kind, text).unwrap()).collect()
}

/// Added, updated, deleted and unchanged members.
fn numbers(tally: Tally) -> [usize; 4] {
    [tally.added, tally.updated, tally.deleted, tally.unchanged]
}

fn another_mac_is_an_update_of_its_address(lab: &Lab) {
    let mut ipset = lab.ipset();
    let set = ipset.create(name("s"), &new_set(Kind::BitmapIpMac)).unwrap();
    let mut sync = |texts: &[&str]| ipset.sync(&set, parsed(Kind::BitmapIpMac, texts)).map(numbers).unwrap();
    let [one, other, bare] = ["10.0.0.1,02:00:00:00:00:01", "10.0.0.1,02:00:00:00:00:02", "10.0.0.1"];
    assert_eq!(sync(&[bare]), [1, 0, 0, 0]);
    assert_eq!((sync(&[one]), texts(lab, &set)), ([0, 1, 0, 0], vec![one.to_owned()]));
    assert_eq!((sync(&[other]), texts(lab, &set)), ([0, 1, 0, 0], vec![other.to_owned()]));
    // Without a MAC, one that the kernel has learned stays.
    assert_eq!((sync(&[bare]), texts(lab, &set)), ([0, 0, 0, 1], vec![other.to_owned()]));
    let comment = format!("{bare} comment \"new\"");
    assert_eq!(sync(&[&comment]), [0, 1, 0, 0]);
    assert_eq!(texts(lab, &set), [format!("{other} comment \"new\"")]);
    assert_eq!((sync(&[one, &comment]), sync(&[])), ([0, 0, 0, 1], [0, 0, 1, 0]));
}

fn names_and_wildcards_that_cover_them_are_kept_apart(lab: &Lab) {
    let mut ipset = lab.ipset();
    let (kind, new) = (Kind::HashNetIface, new_set(Kind::HashNetIface));
    let [wildcard, exact] = ["10.0.0.0/8,eth wildcard", "10.0.0.0/8,eth0 nomatch"];
    let set = ipset.replace(name("s"), &new, parsed(kind, &[wildcard, exact])).unwrap();
    assert_eq!(texts(lab, &set), [exact, wildcard]);
    assert_eq!(ipset.sync(&set, parsed(kind, &[wildcard, exact])).map(numbers).unwrap(), [0, 0, 0, 2]);
    for (before, after) in [
        (vec![wildcard], vec![exact, wildcard]),
        (vec![wildcard], vec![exact]),
        (vec![exact], vec![exact, wildcard]),
        (vec![exact, wildcard], vec![exact]),
        (vec![exact, wildcard], vec![wildcard]),
        (vec!["10.0.0.0/8,eth0 wildcard"], vec![exact]),
    ] {
        ipset.replace(name("s"), &new, parsed(kind, &before)).unwrap();
        ipset.sync(&set, parsed(kind, &after)).unwrap();
        assert_eq!(texts(lab, &set), after, "{before:?}");
        let again = ipset.sync(&set, parsed(kind, &after)).map(numbers).unwrap();
        assert_eq!(again, [0, 0, 0, after.len()], "{before:?} {after:?}");
    }
    let both = parsed(kind, &[exact, wildcard, "10.0.0.0/8,eth"]);
    for error in [ipset.sync(&set, both.clone()).unwrap_err(), ipset.replace(name("s"), &new, both).unwrap_err()] {
        assert_eq!(error.failures[0].position(), Some(2), "{error}");
        assert!(lvs::Error::from(error).is_invalid_input());
    }
    assert_eq!(texts(lab, &set), [exact]);
    assert_eq!(ipset.names().unwrap().len(), 1);
    // The position is the caller's.
    let mut options = SetOptions::default();
    options.maxelem = Some(1);
    let small = NewSet::<AnyType>::new(kind, options);
    let error = ipset.replace(name("s"), &small, parsed(kind, &[wildcard, exact])).unwrap_err();
    assert_eq!(error.failures[0].position(), Some(0), "{error}");
}

fn any_change_of_names_and_wildcards_ends_as_desired(lab: &Lab) {
    let mut ipset = lab.ipset();
    let kind = Kind::HashNetIface;
    let set = ipset.create(name("s"), &new_set(kind)).unwrap();
    let mut random = Random(11);
    for _ in 0..300 {
        let mut desired = Vec::new();
        for text in ["e", "et", "eth", "eth0", "eth1", "eth0.1", "physdev:e", "physdev:eth0", "w0"] {
            if random.percent(50) {
                let wildcard = if random.percent(40) { " wildcard" } else { "" };
                let values = ["", " nomatch", " comment \"one\"", " comment \"two\" nomatch"];
                desired.push(format!("10.0.0.0/8,{text}{wildcard}{}", random.one(&values)));
            }
        }
        let members: Vec<_> = desired.iter().map(|text| Member::parse_as(kind, text).unwrap()).collect();
        let tally = ipset.sync(&set, members.iter().cloned()).unwrap();
        let sorted = |mut texts: Vec<String>| {
            texts.sort_unstable();
            texts
        };
        let wanted = sorted(members.iter().map(ToString::to_string).collect());
        assert_eq!(sorted(texts(lab, &set)), wanted, "{tally}");
        let again = ipset.sync(&set, members).map(numbers).unwrap();
        assert_eq!(again, [0, 0, 0, wanted.len()]);
    }
}

fn a_full_set_keeps_every_desired_member(lab: &Lab) {
    let mut ipset = lab.ipset();
    for new in [NewSet::<HashIp>::ipv4().forceadd(), NewSet::<HashIp>::ipv4()] {
        let set = ipset.create(name("s"), &new.hashsize(64).maxelem(200)).unwrap();
        let members = |hosts: Range<u32>| hosts.map(|host| Member::new(Ipv4Addr::from_bits(0x0a00_0000 | host)));
        for start in [1, 101, 151, 1001] {
            ipset.sync(&set, members(start..start + 200)).unwrap();
            let held: BTreeSet<_> = ipset.members(&set).unwrap().into_iter().map(|member| member.entry).collect();
            assert_eq!(held, members(start..start + 200).map(|member| member.entry).collect(), "{new:?}");
        }
        let error = lvs::Error::from(ipset.sync(&set, members(1..300)).unwrap_err());
        assert!(error.is_full() || error.failures().iter().any(lvs::Error::is_full), "{error}");
        ipset.destroy(name("s")).unwrap();
    }
}

/// Also where names and wildcards are added again.
fn an_update_keeps_timeout_and_counters(lab: &Lab) {
    let mut ipset = lab.ipset();
    for (kind, [one, other, new]) in [
        (Kind::HashIp, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        (Kind::BitmapIpMac, ["10.0.0.1,02:00:00:00:00:01", "10.0.0.2", "10.0.0.3"]),
        (Kind::HashNetIface, ["10.0.0.0/8,eth wildcard", "10.0.0.0/8,w0", "10.0.0.0/8,eth0"]),
    ] {
        let mut options = *new_set(kind).options();
        (options.timeout, options.counters) = (Some(Duration::from_secs(7)), true);
        let set = ipset.create(name("s"), &NewSet::<AnyType>::new(kind, options)).unwrap();
        let before = [format!("{one} timeout 0 packets 3 bytes 4"), format!("{other} timeout 5000 packets 5 bytes 6")];
        ipset.add_all(&set, before.iter().map(|text| Member::parse_as(kind, text).unwrap())).unwrap();
        let desired = [
            format!("{one} timeout 60 packets 8 bytes 8 comment \"new\""),
            format!("{other} comment \"new\""),
            format!("{new} timeout 900 packets 1 bytes 2"),
        ];
        let desired = desired.map(|text| Member::parse_as(kind, &text).unwrap());
        assert_eq!(ipset.sync(&set, desired.iter().cloned()).map(numbers).unwrap(), [1, 2, 0, 0], "{kind}");
        let values: BTreeMap<_, _> = ipset
            .members(&set)
            .unwrap()
            .into_iter()
            .map(|member| (member.entry, (member.timeout.unwrap().as_secs(), member.counters, member.comment)))
            .collect();
        let counters = |packets, bytes| Counters { packets: Some(packets), bytes: Some(bytes) };
        let [first, second, third] = desired.map(|member| values[&member.entry].clone());
        assert_eq!((first.0, first.1, &first.2), (0, counters(3, 4), &second.2), "{kind}");
        assert!((4900..=5000).contains(&second.0) && second.1 == counters(5, 6) && second.2.is_some(), "{kind}");
        assert!((800..=900).contains(&third.0) && third.1 == counters(1, 2), "{kind}");
        ipset.destroy(name("s")).unwrap();
    }
}

fn a_list_gets_the_desired_order(lab: &Lab) {
    let mut ipset = lab.ipset();
    for member in ["a", "b", "c", "d", "e", "f", "g"] {
        ipset.create(name(member), &NewSet::<HashIp>::ipv4()).unwrap();
    }
    let list = ipset.create(name("list"), &new_set(Kind::ListSet)).unwrap();
    for (desired, expected) in [
        ("g c e a", [4, 0, 0, 0]),
        ("g c e a", [0, 0, 0, 4]),
        ("g c e a b", [1, 0, 0, 4]),
        ("g e b", [0, 0, 2, 3]),
        ("g d e b", [1, 2, 0, 1]),
        ("b e d g", [0, 4, 0, 0]),
        ("f a b", [2, 1, 3, 0]),
    ] {
        let members: Vec<_> = desired.split(' ').collect();
        let tally = ipset.sync(&list, parsed(Kind::ListSet, &members)).unwrap();
        assert_eq!((numbers(tally), texts(lab, &list)), (expected, members.iter().map(ToString::to_string).collect()));
    }
    let error = ipset.sync(&list, parsed(Kind::ListSet, &["a", "b before a"])).unwrap_err();
    assert_eq!((error.failures[0].position(), texts(lab, &list).len()), (Some(1), 3), "{error}");
    assert!(lvs::Error::from(error).is_invalid_input());
}
