//! ipset on a real kernel.

mod errors;
mod read_back;
mod rules;
mod scale;
mod sync;

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipset::{
    Addresses, AnyType, BitmapIp, BitmapIpMac, BitmapPort, Change, Comment, Counters, HashIp, HashIpMac, HashIpMark,
    HashIpPort, HashIpPortIp, HashIpPortNet, HashMac, HashNet, HashNetIface, HashNetNet, HashNetPort, HashNetPortNet,
    InterfaceMatch, Kind, ListMember, ListSet, Mac, Member, NewSet, Ports, ProtocolPorts, Set, SetName, SetType,
    SkbInfo,
};

use crate::lab::{Lab, Need, tests};

pub(crate) fn tests() -> Vec<Trial> {
    // A host's kernel may lack some types.
    let tests = [
        tests!(&[Need::Ipset(Kind::BitmapIp)]; bitmap_ip,),
        tests!(&[Need::Ipset(Kind::BitmapIpMac)]; bitmap_ip_mac,),
        tests!(&[Need::Ipset(Kind::BitmapPort)]; bitmap_port,),
        tests!(&[Need::Ipset(Kind::HashIp)]; hash_ip,),
        tests!(&[Need::Ipset(Kind::HashIpMac)]; hash_ip_mac,),
        tests!(&[Need::Ipset(Kind::HashIpMark)]; hash_ip_mark,),
        tests!(&[Need::Ipset(Kind::HashIpPort)]; hash_ip_port,),
        tests!(&[Need::Ipset(Kind::HashIpPortIp)]; hash_ip_port_ip,),
        tests!(&[Need::Ipset(Kind::HashIpPortNet)]; hash_ip_port_net,),
        tests!(&[Need::Ipset(Kind::HashMac)]; hash_mac,),
        tests!(&[Need::Ipset(Kind::HashNet)]; hash_net,),
        tests!(&[Need::Ipset(Kind::HashNetIface)]; hash_net_iface,),
        tests!(&[Need::Ipset(Kind::HashNetNet)]; hash_net_net,),
        tests!(&[Need::Ipset(Kind::HashNetPort)]; hash_net_port,),
        tests!(&[Need::Ipset(Kind::HashNetPortNet)]; hash_net_port_net,),
        tests!(&[Need::Ipset(Kind::ListSet)]; list_set,),
        tests!(&[Need::Ipset(Kind::HashIp)];
            a_batch_says_which_entry_failed,
            a_set_is_replaced_at_once,
            a_replacement_destroys_nothing_of_others,
            sets_are_renamed_swapped_and_found,
            many_changes_are_made_in_their_order,
            what_a_member_carries_does_not_matter_to_test_and_delete,
        ),
        errors::tests(),
        read_back::tests(),
        sync::tests(),
        rules::tests(),
        scale::tests(),
    ];
    tests.into_iter().flatten().collect()
}

fn name(text: &str) -> SetName {
    text.parse().unwrap()
}

fn addresses(text: &str) -> Addresses {
    text.parse().unwrap()
}

const MAC: Mac = Mac::new([0x02, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e]);

/// Adds the entry to such a set with everything an entry can carry, finds it, lists it, and removes it.
fn round_trip<T: SetType + Debug>(lab: &Lab, new: NewSet<T>, entry: T::Entry, others: &[T::Entry]) {
    let mut ipset = lab.ipset();
    let (kind, family) = (new.any(), new.options().family);
    let new = new.timeout(Duration::from_secs(258)).counters().comment().skbinfo();
    let set: Set<T> = ipset.create(name("tried"), &new).unwrap();
    assert!(ipset.create(name("tried"), &new).unwrap_err().is_already_exists());
    ipset.put_set(name("tried"), &new).unwrap();
    assert_eq!(ipset.open::<T>(name("tried")).unwrap(), set);

    let carried = Member::<T>::new(entry)
        .timeout(Duration::from_secs(77_777))
        .counters(Counters { packets: Some(0x0102_0304_0506_0708), bytes: Some(0x1112_1314_1516_1718) })
        .comment(Comment::new("what it is").unwrap())
        .skb(SkbInfo { mark: Some((0x0102_0304, 0xff00_00ff)), priority: Some((0x0102, 0x0304)), queue: Some(0x0506) });
    assert!(!ipset.test(&set, &carried).unwrap(), "{kind:?}");
    ipset.add(&set, &carried).unwrap();
    assert!(ipset.test(&set, &Member::new(entry)).unwrap());
    let again = ipset.add(&set, &carried).unwrap_err();
    assert!(again.is_already_exists(), "{again}");
    ipset.put(&set, &carried).unwrap();

    let listed: Vec<_> = ipset.stream_members(&set).unwrap().map(Result::unwrap).collect();
    let [member] = &listed[..] else { panic!("{listed:?}") };
    let left = member.timeout.unwrap().as_secs();
    assert!((77_000..=77_777).contains(&left), "{left}");
    assert_eq!(member.clone().timeout(carried.timeout.unwrap()), carried);

    let info = ipset.set(name("tried")).unwrap();
    assert_eq!((info.set, info.entries, info.references), (set.any(), 1, 0));
    assert!(info.options.counters && info.options.comment && info.options.skbinfo);
    assert_eq!(info.options.timeout, Some(Duration::from_secs(258)));
    assert_eq!(info.options.family, family);

    ipset.delete(&set, &carried).unwrap();
    assert!(ipset.delete(&set, &carried).unwrap_err().is_not_found());
    ipset.remove(&set, &carried).unwrap();

    let many: Vec<_> = others.iter().copied().chain([entry]).map(Member::new).collect();
    ipset.add_all(&set, many.clone()).unwrap();
    let mut listed: Vec<_> = ipset.stream_members(&set).unwrap().map(|member| member.unwrap().entry).collect();
    assert_eq!(listed.len(), many.len());
    listed.retain(|entry| !many.iter().any(|member| member.entry == *entry));
    assert_eq!(listed, []);
    ipset.delete_all(&set, many).unwrap();
    assert_eq!(ipset.stream_members(&set).unwrap().count(), 0);

    // Without what it would carry.
    ipset.destroy(name("tried")).unwrap();
    assert!(ipset.destroy(name("tried")).unwrap_err().is_not_found());
    ipset.remove_set(name("tried")).unwrap();
}

fn bitmap_ip(lab: &Lab) {
    let new = NewSet::<BitmapIp>::range(Ipv4Addr::new(10, 1, 2, 0), Ipv4Addr::new(10, 1, 3, 255));
    round_trip(lab, new, addresses("10.1.2.3"), &[addresses("10.1.2.4"), addresses("10.1.3.2")]);
}

fn bitmap_ip_mac(lab: &Lab) {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let new = NewSet::<BitmapIpMac>::range(Ipv4Addr::new(10, 1, 2, 0), Ipv4Addr::new(10, 1, 3, 255));
    let other = Mac::new([2, 0, 0, 0, 0, 1]);
    round_trip(lab, new, (ip("10.1.2.3"), Some(MAC)), &[(ip("10.1.2.4"), Some(other))]);
    let mut ipset = lab.ipset();
    let set = ipset.create(name("late"), &new).unwrap();
    ipset.add(&set, &Member::new((ip("10.1.2.3"), None))).unwrap();
    ipset.add(&set, &Member::new((ip("10.1.2.3"), Some(MAC)))).unwrap();
    assert!(!ipset.test(&set, &Member::new((ip("10.1.2.3"), Some(other)))).unwrap());
    assert_eq!(ipset.stream_members(&set).unwrap().next().unwrap().unwrap().entry, (ip("10.1.2.3"), Some(MAC)));
}

fn bitmap_port(lab: &Lab) {
    round_trip(lab, NewSet::<BitmapPort>::range(256..=1000), Ports::from(258), &[Ports::from(513)]);
}

fn hash_ip(lab: &Lab) {
    round_trip(lab, NewSet::<HashIp>::ipv4(), addresses("10.1.2.3"), &[addresses("10.3.2.1")]);
    round_trip(lab, NewSet::<HashIp>::ipv6(), addresses("2001:db8::1:2"), &[addresses("2001:db8::2:1")]);
}

fn hash_ip_mac(lab: &Lab) {
    for (new, ip) in [(NewSet::<HashIpMac>::ipv4(), "10.1.2.3"), (NewSet::ipv6(), "2001:db8::1:2")] {
        round_trip(lab, new, (ip.parse().unwrap(), MAC), &[(ip.parse().unwrap(), Mac::new([2, 0, 0, 0, 0, 1]))]);
    }
}

fn hash_ip_mark(lab: &Lab) {
    for (new, ip) in [(NewSet::<HashIpMark>::ipv4(), "10.1.2.3"), (NewSet::ipv6(), "2001:db8::1:2")] {
        round_trip(lab, new, (addresses(ip), 0x0102_0304), &[(addresses(ip), 0x0403_0201)]);
    }
}

fn ports(family: usize) -> [ProtocolPorts; 5] {
    let icmp = [ProtocolPorts::icmp(8, 1), ProtocolPorts::icmpv6(128, 1)];
    [
        ProtocolPorts::tcp(258),
        ProtocolPorts::udp(513),
        ProtocolPorts::sctp(258),
        icmp[family],
        ProtocolPorts::protocol(47),
    ]
}

fn hash_ip_port(lab: &Lab) {
    for (family, ip) in ["10.1.2.3", "2001:db8::1:2"].map(addresses).into_iter().enumerate() {
        let [port, others @ ..] = ports(family);
        round_trip(lab, NewSet::<HashIpPort>::of_family(ip.family()), (ip, port), &others.map(|port| (ip, port)));
    }
}

fn hash_ip_port_ip(lab: &Lab) {
    for (family, ip) in ["10.1.2.3", "2001:db8::1:2"].map(addresses).into_iter().enumerate() {
        let [port, others @ ..] = ports(family);
        let entry = |port| (ip, port, ip.first());
        round_trip(lab, NewSet::<HashIpPortIp>::of_family(ip.family()), entry(port), &others.map(entry));
    }
}

fn hash_ip_port_net(lab: &Lab) {
    let families = [("10.1.2.3", "10.9.0.0/16"), ("2001:db8::1:2", "2001:db9::/32")];
    for (family, (ip, net)) in families.map(|(ip, net)| (addresses(ip), addresses(net))).into_iter().enumerate() {
        let [port, others @ ..] = ports(family);
        let entry = |port| (ip, port, net);
        round_trip(lab, NewSet::<HashIpPortNet>::of_family(ip.family()), entry(port), &others.map(entry));
    }
}

fn hash_mac(lab: &Lab) {
    round_trip(lab, NewSet::<HashMac>::new(), MAC, &[Mac::new([2, 0, 0, 0, 0, 1])]);
}

fn hash_net(lab: &Lab) {
    round_trip(lab, NewSet::<HashNet>::ipv4(), addresses("10.1.0.0/16"), &["10.2.0.1", "10.3.0.0/24"].map(addresses));
    let others = ["2001:db8::1", "2001:db8:2::/48"].map(addresses);
    round_trip(lab, NewSet::<HashNet>::ipv6(), addresses("2001:db8::/32"), &others);
}

fn hash_net_iface(lab: &Lab) {
    let interface = InterfaceMatch::new("eth0".parse().unwrap());
    let others = [interface.physdev(), InterfaceMatch::new("veth".parse().unwrap()).wildcard()];
    for net in ["10.1.0.0/16", "2001:db8::/32"].map(addresses) {
        let new = NewSet::<HashNetIface>::of_family(net.family());
        round_trip(lab, new, (net, interface), &others.map(|other| (net, other)));
    }
}

fn hash_net_net(lab: &Lab) {
    for (one, other) in [("10.1.0.0/16", "10.2.3.0/24"), ("2001:db8::/32", "2001:db9:1::/48")] {
        let (one, other) = (addresses(one), addresses(other));
        round_trip(lab, NewSet::<HashNetNet>::of_family(one.family()), (one, other), &[(other, one)]);
    }
}

fn hash_net_port(lab: &Lab) {
    for (family, net) in ["10.1.0.0/16", "2001:db8::/32"].map(addresses).into_iter().enumerate() {
        let [port, others @ ..] = ports(family);
        round_trip(lab, NewSet::<HashNetPort>::of_family(net.family()), (net, port), &others.map(|port| (net, port)));
    }
}

fn hash_net_port_net(lab: &Lab) {
    let families = [("10.1.0.0/16", "10.2.3.0/24"), ("2001:db8::/32", "2001:db9:1::/48")];
    for (family, (one, other)) in
        families.map(|(one, other)| (addresses(one), addresses(other))).into_iter().enumerate()
    {
        let [port, others @ ..] = ports(family);
        let entry = |port| (one, port, other);
        round_trip(lab, NewSet::<HashNetPortNet>::of_family(one.family()), entry(port), &others.map(entry));
    }
}

fn list_set(lab: &Lab) {
    let mut ipset = lab.ipset();
    for member in ["first", "second", "third"] {
        ipset.create(name(member), &NewSet::<HashIp>::ipv4()).unwrap();
    }
    let [first, second, third] = ["first", "second", "third"].map(|member| ListMember::new(name(member)));
    round_trip(lab, NewSet::<ListSet>::new(), second, &[first]);
    let list = ipset.create(name("list"), &NewSet::<ListSet>::new()).unwrap();
    ipset.add(&list, &Member::new(second)).unwrap();
    ipset.add(&list, &Member::new(first.before(name("second")))).unwrap();
    ipset.add(&list, &Member::new(third.after(name("first")))).unwrap();
    let order: Vec<_> =
        ipset.stream_members(&list).unwrap().map(|member| member.unwrap().entry.set.to_string()).collect();
    assert_eq!(order, ["first", "third", "second"]);
    assert!(ipset.destroy(name("first")).unwrap_err().is_in_use());
    let missing = ipset.add(&list, &Member::new(ListMember::new(name("missing")))).unwrap_err();
    assert!(missing.is_not_found() && missing.to_string().contains("missing"), "{missing}");
    ipset.clear_all().unwrap();
    ipset.destroy_all().unwrap();
    assert_eq!(ipset.names().unwrap(), []);
}

fn a_batch_says_which_entry_failed(lab: &Lab) {
    let mut ipset = lab.ipset();
    let set = ipset.create(name("large"), &NewSet::<HashIp>::ipv4().maxelem(20_000)).unwrap();
    let entry = |i: u32| Member::new(Ipv4Addr::from_bits(0x0a00_0001 + i));
    let error = ipset.add_all(&set, (0..25_000).map(entry)).unwrap_err();
    assert!(error.failures[0].error.is_full(), "{error}");
    // The kernel counts each part of a large table by itself, and all of them only when an entry is to go to a full part.
    let at = error.done;
    assert!((19_000..22_000).contains(&at) && error.failures[0].position() == Some(at), "{error}");
    let refused = Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(at).unwrap());
    assert!(error.to_string().contains(&format!(" {refused} ")), "{error}");
    let listed =
        ipset.stream_members(&set).unwrap().map(|member| member.unwrap().entry.to_string()).collect::<Vec<_>>();
    assert!(listed.len() == at && !listed.contains(&refused.to_string()));
    let twice = [entry(30_000), entry(30_000)];
    ipset.clear(name("large")).unwrap();
    let error = ipset.add_all(&set, twice).unwrap_err();
    assert!(error.failures[0].error.is_already_exists() && error.done == 1, "{error}");
    let wrong = [entry(30_000), Member::new(addresses("::1"))];
    let error = ipset.put_all(&set, wrong).unwrap_err();
    assert!(error.failures[0].error.is_invalid_input() && error.done == 1, "{error}");
}

fn a_set_is_replaced_at_once(lab: &Lab) {
    let mut ipset = lab.ipset();
    let new = NewSet::<HashIp>::ipv4();
    let members = |count: u32| (0..count).map(|i| Member::new(Ipv4Addr::from_bits(0x0a00_0001 + i)));
    for count in [5, 3000, 2] {
        let live = ipset.replace(name("live"), &new, members(count)).unwrap();
        assert_eq!(ipset.stream_members(&live).unwrap().count(), count as usize);
        assert_eq!(ipset.names().unwrap(), [name("live")]);
    }
    let error = ipset.replace(name("live"), &new.maxelem(10), members(11)).unwrap_err();
    assert!(error.failures[0].error.is_full(), "{error}");
    assert_eq!(ipset.names().unwrap(), [name("live")]);
    assert_eq!(ipset.set(name("live")).unwrap().entries, 2);
}

/// A set of another program stays, whatever its name.
fn a_replacement_destroys_nothing_of_others(lab: &Lab) {
    let mut ipset = lab.ipset();
    let new = NewSet::<HashIp>::ipv4();
    let members = |count: u32| (0..count).map(|i| Member::new(Ipv4Addr::from_bits(0x0a00_0001 + i)));
    let other = ipset.create(name("live.new"), &new).unwrap();
    ipset.add_all(&other, members(9)).unwrap();
    ipset.replace(name("live"), &new, members(3)).unwrap();
    assert_eq!(ipset.set(name("live.new")).unwrap().entries, 9);
    let untouched = |ipset: &mut lvs::ipset::Ipset, error: lvs::ipset::BatchError, in_the_way: &str| {
        let error = lvs::Error::from(error);
        assert!(error.is_already_exists() && !error.is_invalid_input(), "{error}");
        assert!(matches!(error.cause(), lvs::Cause::Precondition { .. }), "{error}");
        assert!(error.operation() == "replace set live" && error.to_string().contains(in_the_way), "{error}");
        assert_eq!(ipset.set(name("live")).unwrap().entries, 3);
        assert_eq!(ipset.set(name("live.new")).unwrap().entries, 9);
    };
    let error = ipset.replace_through(name("live"), name("live.new"), &new, members(4)).unwrap_err();
    untouched(&mut ipset, error, "set live.new is in the way");
    // A set of another program under the name of the marker: FNV-1a of "live".
    let hash = b"live"
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let marker = name(&format!("lvs-mark-{hash:016x}"));
    ipset.create(marker, &new).unwrap();
    let error = ipset.replace(name("live"), &new, members(4)).unwrap_err();
    untouched(&mut ipset, error, "lvs-mark-");
    ipset.destroy(marker).unwrap();
    ipset.replace_through(name("live"), name("spare"), &new, members(4)).unwrap();
    assert_eq!(ipset.names().unwrap().len(), 2);
    // Another type or family is refused before the first member is taken.
    let none =
        || -> Box<dyn Iterator<Item = Member<HashNet>>> { Box::new(std::iter::from_fn(|| panic!("it was sent"))) };
    let error = ipset.replace(name("live"), &NewSet::<HashNet>::ipv4(), none()).unwrap_err();
    assert!(
        matches!(
            error.interruption.as_ref().unwrap().cause(),
            lvs::Cause::Precondition { reason: lvs::Reason::TypeMismatch, .. }
        ),
        "{error}"
    );
    let six = std::iter::from_fn(|| panic!("it was sent"));
    let error = ipset.replace(name("live"), &NewSet::<HashIp>::ipv6(), six).unwrap_err();
    assert!(
        matches!(
            error.interruption.as_ref().unwrap().cause(),
            lvs::Cause::Precondition { reason: lvs::Reason::TypeMismatch, .. }
        ),
        "{error}"
    );
    let error = ipset.replace_through(name("live"), name("live"), &new, members(1)).unwrap_err();
    assert!(lvs::Error::from(error).is_invalid_input());
    assert_eq!(ipset.set(name("live")).unwrap().entries, 4);
}

fn sets_are_renamed_swapped_and_found(lab: &Lab) {
    let mut ipset = lab.ipset();
    ipset.create(name("one"), &NewSet::<HashIp>::ipv4()).unwrap();
    let nets = ipset.create(name("two"), &NewSet::<HashNet>::ipv4()).unwrap();
    let index = ipset.index(name("one")).unwrap();
    assert_eq!(ipset.name_of(index).unwrap(), name("one"));
    assert!(ipset.swap(name("one"), name("three")).unwrap_err().is_not_found());
    assert!(ipset.rename(name("one"), name("two")).unwrap_err().is_already_exists());
    ipset.rename(name("one"), name("three")).unwrap();
    assert!(ipset.index(name("one")).unwrap_err().is_not_found());
    let mismatch = ipset.swap(name("three"), name("two")).unwrap_err();
    assert!(mismatch.to_string().contains("swap sets three and two"), "{mismatch}");
    let error = ipset.open::<HashIp>(name("two")).unwrap_err();
    assert!(matches!(error.cause(), lvs::Cause::Precondition { reason: lvs::Reason::TypeMismatch, .. }), "{error}");
    assert_eq!(ipset.open::<AnyType>(name("two")).unwrap(), nets.any());
    assert_eq!(ipset.revisions(Kind::HashNet).unwrap(), 0..=7);
    assert_eq!(*ipset.version().unwrap().end(), 7);
}

fn many_changes_are_made_in_their_order(lab: &Lab) {
    let mut ipset = lab.ipset();
    let new = NewSet::<HashIp>::ipv4();
    let set = ipset.create(name("a"), &new).unwrap().any();
    let member = |text: &str| Member::<HashIp>::new(addresses(text)).any();
    ipset
        .batch([
            Change::Add(set, member("10.0.0.1")),
            Change::Add(set, member("10.0.0.2")),
            Change::Delete(set, member("10.0.0.1")),
            Change::Create(name("b"), new.any()),
            Change::Swap(name("a"), name("b")),
            Change::Add(set, member("10.0.0.3")),
        ])
        .unwrap();
    let entries = |ipset: &mut lvs::ipset::Ipset, of: &str| -> Vec<String> {
        let set = ipset.header(name(of)).unwrap();
        ipset.stream_members(&set).unwrap().map(|member| member.unwrap().entry.to_string()).collect()
    };
    assert_eq!(entries(&mut ipset, "a"), ["10.0.0.3"]);
    assert_eq!(entries(&mut ipset, "b"), ["10.0.0.2"]);
    let error = ipset
        .batch([
            Change::Clear(name("a")),
            Change::Add(set, member("10.0.0.4")),
            Change::Add(set, member("10.0.0.4")),
            Change::Destroy(name("b")),
        ])
        .unwrap_err();
    assert_eq!((error.done, error.failures[0].position()), (2, Some(2)));
    assert_eq!(entries(&mut ipset, "a"), ["10.0.0.4"]);
    assert_eq!(ipset.names().unwrap().len(), 2);
}

fn what_a_member_carries_does_not_matter_to_test_and_delete(lab: &Lab) {
    let mut ipset = lab.ipset();
    let counted = Member::<HashIp>::new(addresses("10.0.0.1")).counters(Counters { packets: Some(3), bytes: Some(4) });
    let set = ipset.create(name("counted"), &NewSet::<HashIp>::ipv4().counters()).unwrap();
    ipset.add(&set, &counted).unwrap();
    assert!(ipset.test(&set, &counted).unwrap());
    let listed: Vec<_> = ipset.stream_members(&set).unwrap().map(Result::unwrap).collect();
    assert_eq!(listed, std::slice::from_ref(&counted));
    // Nor that the set has none of it.
    let laden = counted.timeout(Duration::from_secs(258)).comment(Comment::new("what it is").unwrap());
    let plain = ipset.create(name("plain"), &NewSet::<HashIp>::ipv4()).unwrap();
    for _ in 0..2 {
        ipset.add(&plain, &Member::new(laden.entry)).unwrap();
        assert!(ipset.test(&plain, &laden).unwrap());
        ipset.delete(&plain, &laden).unwrap();
        assert!(!ipset.test(&plain, &laden).unwrap());
        ipset.add(&plain, &Member::new(laden.entry)).unwrap();
        ipset.delete_all(&plain, [laden.clone()]).unwrap();
    }
}
