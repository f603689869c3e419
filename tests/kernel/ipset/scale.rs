//! Large sets, and many.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use libtest_mimic::Trial;
use lvs::Reason;
use lvs::ipset::{BitmapPort, Change, HashIp, Kind, Listed, Member, NewSet};

use super::name;
use crate::lab::{Lab, Need, tests};

pub(super) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipset(Kind::HashIp), Need::Ipset(Kind::BitmapPort)];
        a_million_members,
        ten_thousand_sets,
        a_list_that_is_given_up_is_in_nobodys_way,
        a_listing_of_a_set_that_changed_its_type_ends,
    )
}

const MILLION: u32 = 1_000_000;

fn members(count: u32) -> impl Iterator<Item = Member<HashIp>> {
    (0..count).map(|i| Member::new(Ipv4Addr::from_bits(0x0a00_0000 + i)))
}

fn a_million_members(lab: &Lab) {
    let mut ipset = lab.ipset();
    let new = NewSet::<HashIp>::ipv4().maxelem(2 * MILLION).hashsize(1 << 18);
    let set = ipset.create(name("million"), &new).unwrap();
    ipset.add_all(&set, members(MILLION)).unwrap();
    assert_eq!(ipset.set(name("million")).unwrap().entries, MILLION);
    let mut seen = vec![false; MILLION as usize];
    for member in ipset.stream_members(&set).unwrap() {
        let std::net::IpAddr::V4(address) = member.unwrap().entry.first() else { panic!("not IPv4") };
        let seen = &mut seen[(address.to_bits() - 0x0a00_0000) as usize];
        assert!(!std::mem::replace(seen, true), "{address} twice");
    }
    assert!(seen.into_iter().all(|seen| seen));
    ipset.destroy(name("million")).unwrap();
}

fn ten_thousand_sets(lab: &Lab) {
    let mut ipset = lab.ipset();
    let names: Vec<_> = (0..10_000).map(|i| name(&format!("set-{i}"))).collect();
    let new = NewSet::<HashIp>::ipv4().hashsize(64).any();
    ipset.batch(names.iter().map(|name| Change::Create(*name, new))).unwrap();
    assert_eq!(ipset.names().unwrap(), names);
    let listed = ipset.stream_contents(None).unwrap().map(|listed| match listed.unwrap() {
        Listed::Set(info) => info.set.name(),
        Listed::Member(member) => panic!("{member:?}"),
    });
    assert_eq!(listed.collect::<HashSet<_>>().len(), names.len());
    ipset.destroy_all().unwrap();
    assert_eq!(ipset.names().unwrap(), []);
}

fn a_list_that_is_given_up_is_in_nobodys_way(lab: &Lab) {
    let mut ipset = lab.ipset();
    let set = ipset.create(name("large"), &NewSet::<HashIp>::ipv4()).unwrap();
    ipset.add_all(&set, members(50_000)).unwrap();
    assert!(ipset.stream_members(&set).unwrap().next().unwrap().is_ok());
    lab.ipset().destroy(name("large")).unwrap();
    assert!(ipset.set(name("large")).unwrap_err().is_not_found());
}

fn a_listing_of_a_set_that_changed_its_type_ends(lab: &Lab) {
    let mut ipset = lab.ipset();
    let before = ipset.create(name("large"), &NewSet::<BitmapPort>::range(0..=9)).unwrap();
    ipset.destroy(name("large")).unwrap();
    let set = ipset.create(name("large"), &NewSet::<HashIp>::ipv4()).unwrap();
    ipset.add_all(&set, members(50_000)).unwrap();
    assert_eq!(ipset.members(&before).unwrap_err().reason(), Some(Reason::TypeMismatch));
    ipset.destroy(name("large")).unwrap();
}
