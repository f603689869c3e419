//! Whatever the library accepts reads back as it was asked for, and whatever it refuses `ipset` refuses, too, or stores
//! otherwise.
//!
//! `LVS_SEED` and `LVS_SETS` make it other and more sets of each type and family.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipset::{
    Addresses, AnyType, BitmapRange, Comment, Counters, Entry, InterfaceMatch, InterfaceName, Ipset, Kind, ListMember,
    Mac, Member, Method, Network, NewSet, Ports, ProtocolPorts, Set, SetName, SetOptions,
};
use lvs::{Family, Protocol};

use crate::lab::{Lab, Need, number, tests};
use crate::random::Random;

pub(super) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipset(Kind::HashIp), Need::Program("ipset")]; accepted_sets_and_entries_read_back,)
}

/// Sums of what was tried.
#[derive(Debug, Default)]
struct Count {
    sets: usize,
    unavailable: usize,
    refused_sets: usize,
    entries: usize,
    refused_by_library: usize,
    refused_by_kernel: usize,
}

fn accepted_sets_and_entries_read_back(lab: &Lab) {
    let (seed, sets) = (number("LVS_SEED", 1), number("LVS_SETS", 6));
    let mut count = Count::default();
    lab.run(|| {
        let mut ipset = Ipset::connect().unwrap();
        for other in ["one", "two", "three"] {
            ipset.create(name(other), &NewSet::<lvs::ipset::HashIp>::ipv4()).unwrap();
        }
        for (at, kind) in Kind::ALL.iter().enumerate() {
            for family in [Family::Inet, Family::Inet6].into_iter().take(if kind.has_family() { 2 } else { 1 }) {
                let mut random =
                    Random(seed * 1000 + u64::try_from(at).unwrap() * 2 + u64::from(family == Family::Inet6));
                for _ in 0..sets {
                    one_set(&mut ipset, *kind, family, &mut random, &mut count);
                }
            }
        }
    });
    println!("{count:?}");
    assert!(count.entries > count.refused_by_library + count.refused_by_kernel, "{count:?}");
}

fn name(text: &str) -> SetName {
    text.parse().unwrap()
}

/// Creates a set, compares its options, and adds entries to it.
fn one_set(ipset: &mut Ipset, kind: Kind, family: Family, random: &mut Random, count: &mut Count) {
    let options = options(kind, family, random);
    let new = NewSet::<AnyType>::new(kind, options);
    count.sets += 1;
    let set = match ipset.create(name("s"), &new) {
        Ok(set) => set,
        Err(error) if error.is_unavailable() => return count.unavailable += 1,
        Err(_) => return count.refused_sets += 1,
    };
    let read = ipset.set(name("s")).unwrap().options;
    assert_options(kind, &options, &read);
    for _ in 0..8 {
        one_entry(ipset, &set, &options, random, count);
    }
    ipset.destroy(name("s")).unwrap();
}

fn options(kind: Kind, family: Family, random: &mut Random) -> SetOptions {
    let mut options = SetOptions::default();
    let small = |random: &mut Random, of: &[u32]| random.percent(30).then(|| *random.one(of));
    options.timeout = small(random, &[0, 1, 600, 2_147_483, 2_147_484]).map(|s| Duration::from_secs(s.into()));
    (options.counters, options.comment, options.skbinfo) = (random.percent(40), random.percent(40), random.percent(40));
    match kind.method() {
        Method::Bitmap if kind == Kind::BitmapPort => options.range = Some(BitmapRange::Ports((0..=1023).into())),
        Method::Bitmap => {
            let ends = [Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 3, 255)];
            options.range = Some(BitmapRange::Addresses(ends[0], ends[1]));
        }
        Method::List => options.size = small(random, &[0, 1, 3, 4, 8, 100]),
        Method::Hash => {
            options.family = kind.has_family().then_some(family);
            options.hashsize = small(random, &[0, 1, 64, 100, 1024, 4096]);
            options.maxelem = small(random, &[1000, 65_536, 1_000_000]);
            options.bucketsize = small(random, &[0, 1, 2, 3, 8, 12, 14, 255]).map(|size| size.try_into().unwrap());
            options.initval = small(random, &[0, 1, 0x0102_0304, u32::MAX]);
            options.forceadd = random.percent(20);
        }
    }
    if kind == Kind::HashIpMark {
        options.markmask = small(random, &[0, 0xff, 0xffff_0000, u32::MAX]);
    }
    let masked = matches!(kind, Kind::HashIp | Kind::HashIpPort | Kind::HashNetNet);
    if (masked || kind == Kind::BitmapIp) && random.percent(40) {
        options.netmask = Some(*random.one(&[0, 24, 30, 32, 33, 64, 120, 128, 129]));
    } else if masked && random.percent(30) {
        options.bitmask = Some(match family {
            Family::Inet => Ipv4Addr::from_bits(*random.one(&[0, 0xffff_ff00, 0xff00_00ff, u32::MAX])).into(),
            Family::Inet6 => Ipv6Addr::from_bits(*random.one(&[0, u128::MAX << 64, 0xff, u128::MAX])).into(),
        });
    }
    options
}

/// Compares the options of a set with those that were asked for, after the normalisations that `SetOptions` documents.
fn assert_options(kind: Kind, asked: &SetOptions, read: &SetOptions) {
    let context = format!("{kind}: {asked:?} reads back as {read:?}");
    assert_eq!((read.timeout, read.family), (asked.timeout, asked.family), "{context}");
    let flags = |o: &SetOptions| (o.counters, o.comment, o.skbinfo, o.forceadd);
    assert_eq!(flags(read), flags(asked), "{context}");
    // A power of two, at least 64.
    let hashsize = asked.hashsize.map(|size| size.max(64).next_power_of_two());
    assert!(hashsize.is_none() || read.hashsize == hashsize, "{context}");
    assert!(asked.maxelem.is_none() || read.maxelem == asked.maxelem, "{context}");
    // Only the newest revision reports these two.
    assert!(
        asked.bucketsize.is_none() || read.bucketsize.is_none() || read.bucketsize == asked.bucketsize,
        "{context}"
    );
    assert!(asked.initval.is_none() || read.initval.is_none() || read.initval == asked.initval, "{context}");
    // A full mask reads back as none.
    let bits = if asked.family == Some(Family::Inet6) { 128 } else { 32 };
    assert_eq!(read.netmask, asked.netmask.filter(|prefix| *prefix != bits), "{context}");
    let is_full = |mask: &IpAddr| match mask {
        IpAddr::V4(mask) => mask.to_bits() == u32::MAX,
        IpAddr::V6(mask) => mask.to_bits() == u128::MAX,
    };
    assert_eq!(read.bitmask, asked.bitmask.filter(|mask| !is_full(mask)), "{context}");
    let markmask = asked.markmask.filter(|mask| *mask != u32::MAX);
    assert!(read.markmask.unwrap_or(u32::MAX) == markmask.unwrap_or(u32::MAX), "{context}");
    assert!(asked.size.is_none() || read.size == asked.size.map(|size| size.max(4)), "{context}");
    assert_eq!(read.range, asked.range, "{context}");
}

/// Adds an entry; what the set holds then must be what was asked for.
fn one_entry(ipset: &mut Ipset, set: &Set<AnyType>, options: &SetOptions, random: &mut Random, count: &mut Count) {
    let kind = set.kind();
    let entry = entry(kind, set.family().unwrap_or(Family::Inet), random);
    let member = carrying(Member::<AnyType>::new(entry), options, random);
    count.entries += 1;
    let added = ipset.put(set, &member);
    let held: Vec<_> = ipset.stream_members(set).unwrap().map(Result::unwrap).collect();
    match added {
        Ok(_) => {
            let expected = expected(kind, options, &entry);
            let mut entries: BTreeMap<String, usize> = BTreeMap::new();
            held.iter().for_each(|member| *entries.entry(member.entry.to_string()).or_default() += 1);
            let wanted: BTreeMap<_, _> = expected.iter().map(|entry| (entry.clone(), 1)).collect();
            assert_eq!(entries, wanted, "{kind} {options:?}: {entry} was accepted");
            held.iter().for_each(|held| assert_carried(&member, held, options));
            // The kernel cuts the address of a test: it does not find those that it has not cut.
            let is_range = |part: &Addresses| matches!(part, Addresses::Range(..));
            let is_cut = match &entry {
                Entry::Ip(ip) => options.bitmask.is_none() || matches!(ip, Addresses::One(_)),
                Entry::IpPort(ip, _) => !is_masked(options) || matches!(ip, Addresses::One(_)),
                Entry::IpIp(ip, other) => !is_masked(options) || !(is_range(ip) || is_range(other)),
                _ => true,
            };
            for one in held.iter().filter(|_| is_cut) {
                assert_eq!(ipset.test(set, &Member::new(one.entry)).ok(), Some(true), "{kind}: test of {}", one.entry);
            }
            ipset.remove(set, &Member::new(entry)).unwrap();
            let left: Vec<_> = ipset.stream_members(set).unwrap().map(Result::unwrap).filter(|_| is_cut).collect();
            assert!(left.is_empty(), "{kind}: {entry} was deleted, and {left:?} is left");
        }
        Err(error) if error.is_invalid_input() => {
            count.refused_by_library += 1;
            assert!(held.is_empty(), "{kind}: {error}");
            let output = Command::new("ipset").args(["add", "s", &entry.to_string()]).output().unwrap();
            let held: Vec<_> = ipset.stream_members(set).unwrap().map(|member| member.unwrap().entry).collect();
            // A timeout or a count that is too large is no fault of the entry.
            let is_faulty = member.timeout.is_none_or(|timeout| timeout.as_secs() <= 2_147_483)
                && member.counters.packets != Some(u64::MAX);
            let same = held == [entry] && output.status.success() && is_faulty;
            assert!(!same, "{kind}: the library refuses ({error}) what ipset stores as it is");
        }
        Err(_) => count.refused_by_kernel += 1,
    }
    ipset.clear(set.name()).unwrap();
}

fn carrying(mut member: Member<AnyType>, options: &SetOptions, random: &mut Random) -> Member<AnyType> {
    if options.timeout.is_some() && random.percent(60) {
        member.timeout = Some(Duration::from_secs(*random.one(&[0, 100, 2_147_483, 2_147_484])));
    }
    if options.counters && random.percent(60) {
        member.counters =
            Counters { packets: Some(*random.one(&[0, 258, u64::MAX - 1, u64::MAX])), bytes: Some(1 << 40) };
    }
    if options.comment && random.percent(60) {
        member.comment =
            Some(Comment::any(*random.one(&[&b""[..], b"a comment", b"caf\xe9 \"x\"", &[b'x'; 255]])).unwrap());
    }
    if options.skbinfo && random.percent(60) {
        member.skb.mark = Some(*random.one(&[(0, 0), (0x0102_0304, u32::MAX), (5, 7)]));
        member.skb.priority = Some(*random.one(&[(0, 0), (1, 0xa), (0xffff, 0xffff)]));
        member.skb.queue = Some(*random.one(&[0, 258]));
    }
    member
}

/// Compares what an entry carries, after the normalisations that `Member` documents.
fn assert_carried(asked: &Member<AnyType>, held: &Member<AnyType>, options: &SetOptions) {
    let context = format!("{asked:?} reads back as {held:?}");
    if let Some(timeout) = asked.timeout.or(options.timeout) {
        // Reading returns the remaining time; zero means never.
        let left = held.timeout.unwrap();
        assert!(left <= timeout && (left.is_zero() == timeout.is_zero() || timeout.as_secs() == 1), "{context}");
    }
    // Counts that are not given may be those of a deleted entry.
    if let (Some(_), given) = (asked.counters.packets, asked.counters) {
        assert_eq!(held.counters, given, "{context}");
    }
    assert_eq!(held.comment, asked.comment.clone().filter(|comment| !comment.as_bytes().is_empty()), "{context}");
    assert_eq!(held.skb.mark, asked.skb.mark.filter(|mark| *mark != (0, 0)), "{context}");
    assert_eq!(held.skb.priority, asked.skb.priority.filter(|priority| *priority != (0, 0)), "{context}");
    assert_eq!(held.skb.queue, asked.skb.queue.filter(|queue| *queue != 0), "{context}");
}

fn address(family: Family, random: &mut Random) -> IpAddr {
    let low = random.below(1024);
    match family {
        Family::Inet if random.percent(10) => Ipv4Addr::from_bits(*random.one(&[0, 1, u32::MAX, 0xe000_0001])).into(),
        Family::Inet => Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(low).unwrap()).into(),
        Family::Inet6 if random.percent(10) => {
            Ipv6Addr::from_bits(*random.one(&[0, 1, u128::MAX, 0xff02 << 112])).into()
        }
        Family::Inet6 => Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::try_from(low).unwrap()).into(),
    }
}

/// Addresses of which a type of addresses makes at most 16 entries.
fn addresses(family: Family, has_networks: bool, random: &mut Random) -> Addresses {
    let first = address(family, random);
    let bits: u8 = if family == Family::Inet { 32 } else { 128 };
    match (random.below(4), first) {
        (0, _) => {
            let short = [0, 1, 7, bits / 2];
            let prefix = if has_networks && random.percent(40) {
                *random.one(&short)
            } else {
                bits - *random.one(&[0, 1, 2, 4])
            };
            Network::new(first, prefix).unwrap().into()
        }
        (1, IpAddr::V4(v4)) => {
            let last = Ipv4Addr::from_bits(v4.to_bits().wrapping_add(u32::try_from(random.below(10)).unwrap()));
            if random.percent(20) { Addresses::Range(last, v4) } else { Addresses::Range(v4, last) }
        }
        (2, _) if random.percent(5) => {
            address(if family == Family::Inet { Family::Inet6 } else { Family::Inet }, random).into()
        }
        _ => first.into(),
    }
}

fn ports(random: &mut Random) -> Ports {
    let first = u16::try_from(random.below(1100)).unwrap();
    match random.below(4) {
        0 => (first..=first + 4).into(),
        1 => Ports { first: first + 3, last: first },
        2 => 0.into(),
        _ => first.into(),
    }
}

fn protocol_ports(random: &mut Random) -> ProtocolPorts {
    let protocol = *random.one(&[0, 1, 1, 2, 6, 6, 6, 17, 17, 33, 47, 58, 58, 132, 136, 255, 256]);
    ProtocolPorts::of(Protocol(protocol), ports(random))
}

fn entry(kind: Kind, family: Family, random: &mut Random) -> Entry {
    let mac = |random: &mut Random| Mac::new(*random.one(&[[2, 0, 0, 0, 0, 1], [0; 6], [0xff; 6]]));
    let first = addresses(family, kind.has_networks() && kind != Kind::HashIpPortNet, random);
    match kind {
        Kind::BitmapIp | Kind::HashIp | Kind::HashNet => Entry::Ip(first),
        Kind::BitmapIpMac => Entry::IpMac(address(family, random), random.percent(80).then(|| mac(random))),
        Kind::HashIpMac => Entry::IpMac(address(family, random), Some(mac(random))),
        Kind::HashIpMark => Entry::IpMark(first, *random.one(&[0, 1, 0x0102_0304, u32::MAX])),
        Kind::HashIpPort | Kind::HashNetPort => Entry::IpPort(first, protocol_ports(random)),
        Kind::HashIpPortIp => Entry::IpPortIp(first, protocol_ports(random), address(family, random).into()),
        Kind::HashIpPortNet | Kind::HashNetPortNet => {
            Entry::IpPortIp(first, protocol_ports(random), addresses(family, true, random))
        }
        Kind::HashNetNet => Entry::IpIp(first, addresses(family, true, random)),
        Kind::HashNetIface => {
            let name =
                InterfaceName::any(*random.one(&[&b"eth0"[..], b"caf\xe9", b"eth0:1", b"fifteen-letters"])).unwrap();
            let mut interface = InterfaceMatch::new(name);
            interface.physdev = random.percent(30);
            Entry::IpInterface(first, interface)
        }
        Kind::BitmapPort => Entry::Port(ports(random)),
        Kind::HashMac => Entry::Mac(mac(random)),
        Kind::ListSet => {
            const OTHERS: [&str; 4] = ["one", "two", "three", "four"];
            Entry::Set(ListMember::new(name(OTHERS[random.below(OTHERS.len())])))
        }
    }
}

/// The entries that a set must hold, as text: ranges and networks of addresses are their addresses, ranges of networks the
/// fewest networks, cut by the masks of the set.
fn expected(kind: Kind, options: &SetOptions, entry: &Entry) -> Vec<String> {
    let ports = |ports: ProtocolPorts| {
        let (low, high) = (ports.ports.first.min(ports.ports.last), ports.ports.first.max(ports.ports.last));
        (low..=high).map(move |port| ProtocolPorts { ports: port.into(), ..ports }.to_string())
    };
    let first =
        |addresses: &Addresses| parts(kind, addresses, kind.has_networks() && kind != Kind::HashIpPortNet, options);
    let second = |addresses: &Addresses| parts(kind, addresses, kind.has_networks(), &SetOptions::default());
    let mut all: Vec<String> = match entry {
        Entry::Ip(ip) => first(ip),
        Entry::IpMark(ip, mark) => {
            let mark = mark & options.markmask.unwrap_or(u32::MAX);
            first(ip).iter().map(|ip| format!("{ip},0x{mark:08x}")).collect()
        }
        Entry::IpPort(ip, of) => first(ip).iter().flat_map(|ip| ports(*of).map(move |p| format!("{ip},{p}"))).collect(),
        Entry::IpPortIp(ip, of, other) => {
            let others = second(other);
            let pairs = first(ip).into_iter().flat_map(|ip| ports(*of).map(move |port| format!("{ip},{port}")));
            pairs
                .flat_map(|pair| others.iter().map(move |other| format!("{pair},{other}")).collect::<Vec<_>>())
                .collect()
        }
        Entry::IpIp(ip, other) => {
            // As `SetOptions::netmask` says.
            let has_range = [ip, other].iter().any(|part| matches!(part, Addresses::Range(..)));
            let cut = |part| if has_range { part } else { cut(part, options) };
            let (ip, other) = (&cut(*ip), &cut(*other));
            let others = second(other);
            first(ip).iter().flat_map(|ip| others.iter().map(move |other| format!("{ip},{other}"))).collect()
        }
        Entry::IpInterface(ip, interface) => first(ip).iter().map(|ip| format!("{ip},{interface}")).collect(),
        Entry::Port(ports) => {
            (ports.first.min(ports.last)..=ports.first.max(ports.last)).map(|port| port.to_string()).collect()
        }
        other => vec![other.to_string()],
    };
    all.sort();
    all.dedup();
    all
}

/// An address or network, cut by the mask of a set.
fn cut(addresses: Addresses, options: &SetOptions) -> Addresses {
    let mask = mask(addresses.first().is_ipv4(), options);
    let cut = |address: IpAddr| -> IpAddr {
        match address {
            IpAddr::V4(v4) => {
                Ipv4Addr::from_bits(v4.to_bits() & u32::try_from(mask & u128::from(u32::MAX)).unwrap()).into()
            }
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & mask).into(),
        }
    };
    match addresses {
        Addresses::One(address) => cut(address).into(),
        Addresses::Network(network) => Network::of_host(cut(network.address()), network.prefix()).unwrap().into(),
        range => range,
    }
}

fn is_masked(options: &SetOptions) -> bool {
    options.netmask.is_some() || options.bitmask.is_some()
}

/// The netmask or bitmask of a set.
fn mask(is_v4: bool, options: &SetOptions) -> u128 {
    let (bits, all) = if is_v4 { (32, u128::from(u32::MAX)) } else { (128, u128::MAX) };
    let netmask = options.netmask.map(|prefix| all & all.checked_shl(bits - u32::from(prefix)).unwrap_or(0));
    let bitmask = options.bitmask.map(|mask| match mask {
        IpAddr::V4(mask) => u128::from(mask.to_bits()),
        IpAddr::V6(mask) => mask.to_bits(),
    });
    netmask.or(bitmask).unwrap_or(all)
}

fn parts(kind: Kind, addresses: &Addresses, has_networks: bool, options: &SetOptions) -> Vec<String> {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let is_v4 = addresses.first().is_ipv4();
    let bits: u32 = if is_v4 { 32 } else { 128 };
    let ip = |number: u128| match is_v4 {
        true => IpAddr::from(Ipv4Addr::from_bits(number.try_into().unwrap())),
        false => IpAddr::from(Ipv6Addr::from_bits(number)),
    };
    let (low, high) = match *addresses {
        Addresses::One(one) => (number(one), number(one)),
        Addresses::Network(network) if has_networks => return vec![Addresses::from(network).to_string()],
        Addresses::Network(network) => {
            let size = 1_u128 << (bits - u32::from(network.prefix()));
            (number(network.address()), number(network.address()) + (size - 1))
        }
        Addresses::Range(one, other) => (one.min(other).to_bits().into(), one.max(other).to_bits().into()),
    };
    if has_networks {
        return networks(low, high, bits)
            .map(|(at, prefix)| Addresses::from(Network::new(ip(at), prefix).unwrap()).to_string())
            .collect();
    }
    let all = if is_v4 { u128::from(u32::MAX) } else { u128::MAX };
    let netmask = options.netmask.filter(|prefix| u32::from(*prefix) < bits);
    let mask = netmask.map_or(all, |prefix| all & (all << (bits - u32::from(prefix))));
    // As `SetOptions::bitmask` says, and `SetOptions::netmask` of hash:ip,port.
    let given = if kind == Kind::HashIpPort { netmask.map(|_| mask) } else { None };
    if let Some(mask) = options.bitmask.map(number).or(given).filter(|mask| *mask != all) {
        let cut = low & mask;
        let (low, high) = match *addresses {
            Addresses::One(_) => (cut, cut),
            Addresses::Range(..) => (cut, high),
            Addresses::Network(_) => (cut & !(high - low), cut | (high - low)),
        };
        return (low..=high).map(|at| ip(at).to_string()).collect();
    }
    // As `SetOptions::netmask` says.
    let step = netmask.filter(|_| kind == Kind::BitmapIp).map_or(1, |prefix| 1 << (bits - u32::from(prefix)));
    (low..=high).step_by(step).map(|at| ip(at & mask).to_string()).collect()
}

/// The fewest networks that make up a range.
fn networks(low: u128, high: u128, bits: u32) -> impl Iterator<Item = (u128, u8)> {
    let mut next = Some(low);
    std::iter::from_fn(move || {
        let low = next.filter(|low| *low <= high)?;
        let left = (high - low).checked_add(1)?;
        let size = low.trailing_zeros().min(bits).min(127 - left.leading_zeros());
        next = low.checked_add(1 << size);
        Some((low, u8::try_from(bits - size).unwrap()))
    })
}
