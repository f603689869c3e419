//! Property tests: written messages read back, and no input panics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::option;
use proptest::prelude::*;

use super::entry::EntryAttr;
use super::set::Parts;
use super::*;
use crate::error::Cause;
use crate::net::{Family, Protocol};
use crate::wire::Attrs;
use crate::wire::writer::written;

fn v4() -> impl Strategy<Value = IpAddr> {
    any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into())
}

fn v6() -> impl Strategy<Value = IpAddr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into())
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![v4(), v6()]
}

fn addresses() -> impl Strategy<Value = Addresses> {
    let network = (ip(), 0..=128u8).prop_map(|(ip, prefix)| {
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        Addresses::from(Network::new(ip, prefix.min(longest)).unwrap())
    });
    prop_oneof![
        ip().prop_map(Addresses::One),
        network,
        // The ends of a reversed range are swapped when it is written.
        (any::<u32>(), any::<u32>())
            .prop_map(|(one, other)| Addresses::Range(one.min(other).into(), one.max(other).into())),
    ]
}

fn ports() -> impl Strategy<Value = Ports> {
    (any::<u16>(), any::<u16>()).prop_map(|(first, last)| Ports { first, last })
}

fn name() -> impl Strategy<Value = SetName> {
    "[a-zA-Z0-9_:. -]{1,31}".prop_map(|name| name.parse().unwrap())
}

/// A set type and an entry of such a set.
fn entry() -> impl Strategy<Value = (Kind, Entry)> {
    let mac = || any::<[u8; 6]>().prop_map(Mac::new);
    let protocol =
        || (any::<u8>(), ports()).prop_map(|(protocol, ports)| ProtocolPorts::of(Protocol(u16::from(protocol)), ports));
    let interface = ("[a-z0-9.]{3,15}", any::<bool>(), any::<bool>())
        .prop_map(|(name, physdev, wildcard)| InterfaceMatch { name: name.parse().unwrap(), physdev, wildcard });
    let place = option::of((any::<bool>(), name()))
        .prop_map(|place| place.map(|(before, name)| if before { Place::Before(name) } else { Place::After(name) }));
    prop_oneof![
        (prop::sample::select(vec![Kind::BitmapIp, Kind::HashIp, Kind::HashNet]), addresses())
            .prop_map(|(kind, ip)| (kind, Entry::Ip(ip))),
        (ip(), option::of(mac())).prop_map(|(ip, mac)| (Kind::BitmapIpMac, Entry::IpMac(ip, mac))),
        (ip(), mac()).prop_map(|(ip, mac)| (Kind::HashIpMac, Entry::IpMac(ip, Some(mac)))),
        (addresses(), any::<u32>()).prop_map(|(ip, mark)| (Kind::HashIpMark, Entry::IpMark(ip, mark))),
        (prop::sample::select(vec![Kind::HashIpPort, Kind::HashNetPort]), addresses(), protocol())
            .prop_map(|(kind, ip, port)| (kind, Entry::IpPort(ip, port))),
        (
            prop::sample::select(vec![Kind::HashIpPortIp, Kind::HashIpPortNet, Kind::HashNetPortNet]),
            addresses(),
            protocol(),
            addresses()
        )
            .prop_map(|(kind, ip, port, other)| (kind, Entry::IpPortIp(ip, port, other))),
        (addresses(), addresses()).prop_map(|(one, other)| (Kind::HashNetNet, Entry::IpIp(one, other))),
        (addresses(), interface).prop_map(|(ip, interface)| (Kind::HashNetIface, Entry::IpInterface(ip, interface))),
        ports().prop_map(|ports| (Kind::BitmapPort, Entry::Port(ports))),
        mac().prop_map(|mac| (Kind::HashMac, Entry::Mac(mac))),
        (name(), place).prop_map(|(set, place)| (Kind::ListSet, Entry::Set(ListMember { set, place }))),
    ]
}

fn member() -> impl Strategy<Value = (Kind, Member<AnyType>)> {
    let counters = any::<(Option<u64>, Option<u64>)>().prop_map(|(packets, bytes)| Counters { packets, bytes });
    let skb = (any::<Option<(u32, u32)>>(), any::<Option<(u16, u16)>>(), any::<Option<u16>>())
        .prop_map(|(mark, priority, queue)| SkbInfo { mark, priority, queue });
    let comment = "[^\"\n\0]{0,60}".prop_map(|text| Comment::new(&text).unwrap());
    (entry(), option::of(0..=2_147_483u64), counters, option::of(comment), skb, any::<bool>()).prop_map(
        |((kind, entry), timeout, counters, comment, skb, nomatch)| {
            let timeout = timeout.map(Duration::from_secs);
            (kind, Member { entry, timeout, counters, comment, skb, nomatch })
        },
    )
}

fn set() -> impl Strategy<Value = NewSet<AnyType>> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    let numbers = (any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u32>>(), option::of(1..=6u8));
    let masks = (any::<bool>(), option::of(1..=32u8), any::<u32>(), option::of(1..=u32::MAX), any::<Option<u32>>());
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (kind, any::<bool>(), numbers, masks, flags, option::of(0..=2_147_483u64), (any::<u32>(), ports())).prop_map(
        |(
            kind,
            v6,
            (hashsize, maxelem, initval, half),
            (with_bitmask, netmask, bits, markmask, size),
            flags,
            timeout,
            range,
        )| {
            let mut options = SetOptions::default();
            (options.counters, options.comment, options.skbinfo, options.forceadd) = flags;
            options.timeout = timeout.map(Duration::from_secs);
            options.forceadd &= kind.method() == Method::Hash;
            if kind.has_family() {
                options.family = Some(if v6 { Family::Inet6 } else { Family::Inet });
            }
            match kind.method() {
                Method::Hash => {
                    (options.hashsize, options.maxelem, options.initval) = (hashsize, maxelem, initval);
                    options.bucketsize = half.map(|half| 2 * half);
                }
                Method::Bitmap if kind == Kind::BitmapPort => options.range = Some(BitmapRange::Ports(range.1)),
                Method::Bitmap => options.range = Some(BitmapRange::Addresses(range.0.into(), (range.0 | 0xff).into())),
                Method::List => options.size = size,
            }
            match kind {
                Kind::BitmapIp => options.netmask = netmask,
                Kind::HashIp | Kind::HashIpPort | Kind::HashNetNet if with_bitmask && !v6 => {
                    options.bitmask = Some(IpAddr::V4(Ipv4Addr::from_bits(bits.max(1))));
                }
                Kind::HashIp | Kind::HashIpPort | Kind::HashNetNet => options.netmask = netmask,
                Kind::HashIpMark => options.markmask = markmask,
                _ => {}
            }
            NewSet::<AnyType>::new(kind, options)
        },
    )
}

/// The same with names that `ipset restore` can read.
fn readable(entry: Entry) -> Entry {
    let name = |name: SetName| name.to_string().replace(' ', "_").parse().unwrap();
    let Entry::Set(ListMember { set, place }) = entry else { return entry };
    let place = place.map(|place| match place {
        Place::Before(other) => Place::Before(name(other)),
        Place::After(other) => Place::After(name(other)),
    });
    Entry::Set(ListMember { set: name(set), place })
}

/// Text that is nearly right: words, numbers and signs that some type knows.
fn likely() -> impl Strategy<Value = String> {
    let words = vec![
        "10.0.0.1",
        "::1",
        "/8",
        "-",
        ",",
        ",",
        "tcp:80",
        "icmp:8/0",
        "47:0",
        "02:00:00:00:00:01",
        "eth0",
        "physdev:",
        " wildcard",
        " before ",
        " after ",
        "0x1",
        "7",
        " timeout 30",
        " nomatch",
        " comment \"x y\"",
        " comment \"",
        " skbmark 0x1/0xff",
        " skbprio 1:a",
        " skbqueue 3",
        " packets 1",
        " bytes +2",
        "hash:ip",
        " family inet",
        " ",
        " range 1-2",
        " size 3",
        " counters",
        "+",
        "1-2",
    ];
    proptest::collection::vec(prop::sample::select(words), 0..7).prop_map(|words| words.concat())
}

fn read_all(text: &str) {
    for kind in Kind::ALL {
        if let Ok(member) = Member::parse_as(*kind, text) {
            assert_eq!(Member::parse_as(*kind, &member.to_string()), Ok(member), "{kind} {text}");
        }
        if let Ok(entry) = Entry::parse(*kind, text) {
            assert_eq!(Entry::parse(*kind, &entry.to_string()), Ok(entry), "{kind} {text}");
        }
    }
    for set in [text.parse(), format!("hash:ip{text}").parse::<NewSet<AnyType>>()].into_iter().flatten() {
        assert_eq!(set.to_string().parse(), Ok(set), "{text}");
    }
}

/// Bytes that change, and their new values.
type Damage = Vec<(prop::sample::Index, u8)>;

fn damage() -> impl Strategy<Value = Damage> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
}

fn damaged(bytes: &mut [u8], damage: &Damage) {
    for (at, value) in damage {
        bytes[at.index(bytes.len())] = *value;
    }
}

/// Changes written addresses to the form of listings: the kernel does not mark them as in network byte order.
fn as_listed(mut bytes: Vec<u8>) -> Vec<u8> {
    for (length, kind) in [(8u16, 1u16), (20, 2)] {
        let header = |kind: u16| [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        let marked = header(kind | 0x4000);
        for at in (0..bytes.len()).step_by(4) {
            if bytes[at..].starts_with(&marked) {
                bytes[at..at + 4].copy_from_slice(&header(kind));
            }
        }
    }
    bytes
}

fn bare(entry: Entry) -> Vec<u8> {
    let member = Member::<AnyType>::new(entry);
    written(|out| member.write(out, None))
}

/// Compares the quick reader with the plain one, for sets of this type and for those whose entries are an address.
fn reads_alike(kind: Kind, bytes: &[u8]) {
    for kind in [kind, Kind::HashIp, Kind::HashNet] {
        let plain = Member::read(kind, Attrs::new(bytes)).map_err(|fault| fault.to_string());
        let decoded = |cause: Cause| match cause {
            Cause::Decode(fault) => fault.to_string(),
            other => panic!("{other}"),
        };
        let quick = Member::<AnyType>::read_typed(kind, Attrs::new(bytes)).map_err(decoded);
        assert_eq!(quick, plain, "{kind} {bytes:?}");
        let typed = Member::<HashIp>::read_typed(kind, Attrs::new(bytes)).map(Member::any).map_err(decoded);
        match plain {
            Ok(member) if !matches!(member.entry, Entry::Ip(_)) => assert!(typed.is_err()),
            plain => assert_eq!(typed, plain),
        }
    }
}

proptest! {
    #[test]
    fn members_read_back_from_their_text((kind, mut member) in member()) {
        member.entry = readable(member.entry);
        prop_assert_eq!(Entry::parse(kind, &member.entry.to_string()), Ok(member.entry));
        let text = member.to_string();
        prop_assert_eq!(Member::parse_as(kind, &text), Ok(member), "{}", text);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn members_read_back_from_json((kind, mut member) in member()) {
        member.entry = readable(member.entry);
        let json = serde_json::to_string(&member).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Member<AnyType>>(&json).unwrap(), &member, "{}", json);
        let set = Set::new("tried".parse().unwrap(), kind, super::new_set::family_of(kind, None));
        let change = Change::Put(set, member);
        let json = serde_json::to_string(&change).unwrap();
        prop_assert_eq!(serde_json::from_str::<Change>(&json).unwrap(), change, "{}", json);
    }

    #[test]
    fn sets_read_back_from_their_text(set in set()) {
        prop_assert_eq!(set.to_string().parse(), Ok(set), "{}", set);
        prop_assert_eq!(set.options().to_string().parse(), Ok(*set.options()), "{}", set);
    }

    #[test]
    fn no_text_panics(text in any::<String>(), likely in likely()) {
        read_all(&text);
        read_all(&likely);
    }


    #[test]
    fn members_read_back((kind, member) in member(), line in any::<Option<u32>>()) {
        let bytes = written(|out| member.write(out, line));
        prop_assert_eq!(Member::read(kind, Attrs::new(&bytes)), Ok(member));
    }

    #[test]
    fn members_are_read_in_one_look_as_one_attribute_at_a_time((kind, member) in member(), other in member(), damage in damage()) {
        let bytes = as_listed(written(|out| member.write(out, None)));
        let more = as_listed(written(|out| other.1.write(out, Some(1))));
        let unknown = [8u16, 99, 0, 0].map(u16::to_ne_bytes).concat();
        // As the kernel orders them, repeated, in other orders, with an unknown attribute, damaged and cut off.
        for attributes in [[&bytes[..], &[]], [&bytes, &more], [&more, &bytes], [&unknown, &bytes], [&bytes, &unknown]] {
            let mut bytes = attributes.concat();
            reads_alike(kind, &bytes);
            for length in 0..bytes.len() {
                reads_alike(kind, &bytes[..length]);
            }
            damaged(&mut bytes, &damage);
            reads_alike(kind, &bytes);
        }
    }

    #[test]
    fn usual_members_are_read_in_one_look(ip in ip(), prefix in 0..=32u8, ports in ports(), timeout in option::of(0..1000u32), counts in any::<(u64, u64)>()) {
        let timeout = timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let counters = Counters { packets: Some(counts.0), bytes: Some(counts.1) };
        let network = Addresses::from(Network::new(ip, prefix).unwrap());
        let port = ProtocolPorts::tcp(ports.first);
        let tried: [(_, Entry); 3] = [(Kind::HashIp, Addresses::One(ip).into()), (Kind::HashNet, network.into()), (Kind::HashIpPort, (Addresses::One(ip), port).into())];
        for (kind, entry) in tried {
            let member = Member::<AnyType> { timeout, counters, ..Member::new(entry) };
            // The kernel puts the protocol behind the port, and the bytes before the packets.
            let mut bytes = bare(entry);
            if let Entry::IpPort(ip, port) = entry {
                bytes = bare(ip.into());
                bytes.extend(written(|out| {
                    out.u16_net(EntryAttr::Port, port.ports.first);
                    out.u8(EntryAttr::Protocol, 6);
                }));
            }
            bytes.extend(written(|out| {
                if let Some(timeout) = timeout {
                    out.u32_net(EntryAttr::Timeout, u32::try_from(timeout.as_secs()).unwrap());
                }
                out.u64_net(EntryAttr::Bytes, counts.1);
                out.u64_net(EntryAttr::Packets, counts.0);
            }));
            let bytes = as_listed(bytes);
            prop_assert_eq!(Member::read_usual(kind, Attrs::new(&bytes)), Some(member.clone()));
            prop_assert_eq!(Member::read(kind, Attrs::new(&bytes)), Ok(member));
        }
    }

    #[test]
    fn sets_read_back(set in set()) {
        prop_assert!(set.check().is_ok(), "{:?}", set.check());
        let options = *set.options();
        let mut bytes = written(|out| set.write(out));
        if let Some(mask) = options.markmask {
            // The kernel sends this one back in its own byte order.
            let big = mask.to_be_bytes();
            let at = bytes.windows(8).position(|window| window[..2] == 8u16.to_ne_bytes() && window[2..4] == 0x400bu16.to_ne_bytes() && window[4..] == big);
            bytes[at.unwrap() + 4..][..4].copy_from_slice(&mask.to_ne_bytes());
        }
        let header = written(|out| {
            out.text(numbers::Command::SetName, "tried");
            out.text(numbers::Command::TypeName, set.kind.name());
            out.u8(numbers::Command::Revision, 3);
            out.u8(numbers::Command::Family, super::set::family_number(set.family()));
            out.marked_nest(numbers::Command::Data, |out| out.raw(&bytes));
        });
        let info = Parts::read(&header).unwrap().info().unwrap();
        prop_assert_eq!((info.set.kind(), info.set.family(), info.options), (set.kind, set.family(), options));
    }

    #[test]
    fn damaged_bytes_are_read_or_refused((kind, member) in member(), damage in damage()) {
        let mut bytes = written(|out| member.write(out, Some(1)));
        damaged(&mut bytes, &damage);
        let _ = Member::read(kind, Attrs::new(&bytes));
        if let Ok(parts) = Parts::read(&bytes) {
            let _ = parts.info();
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in Kind::ALL {
            let _ = Member::read(*kind, Attrs::new(&bytes));
        }
        if let Ok(parts) = Parts::read(&bytes) {
            let _ = parts.info();
        }
    }

    #[test]
    fn texts_of_parts_read_back(addresses in addresses(), bytes in any::<[u8; 6]>()) {
        prop_assert_eq!(addresses.to_string().parse(), Ok(addresses));
        prop_assert_eq!(Mac::new(bytes).to_string().parse(), Ok(Mac::new(bytes)));
    }
}

#[test]
fn text_is_that_of_ipset_save() {
    let text = "10.0.0.0/8,physdev:eth0 wildcard timeout 7 nomatch packets 4 bytes 5 comment \"x y\" skbmark 0x1/0xff \
                skbprio 1:a skbqueue 3";
    assert_eq!(text.parse::<Member<HashNetIface>>().unwrap().to_string(), text);
    let read = |text: &str| text.parse::<Member<HashIp>>().map(|member| member.to_string());
    assert_eq!(
        read("10.0.0.1 comment \"\"  skbmark 1 timeout 5").as_deref(),
        Ok("10.0.0.1 timeout 5 comment \"\" skbmark 0x1")
    );
    for text in
        ["", " ", "10.0.0.1,tcp:80", "10.0.0.1 timeout", "10.0.0.1 timeout 5 timeout 5", "10.0.0.1 comment \"a\"b"]
    {
        assert_eq!(read(text).unwrap_err().text(), text.split(' ').next().filter(|_| text == " ").unwrap_or(text));
    }
    assert!("10.0.0.1,tcp:80,10.0.0.0/8".parse::<Member<HashIpPortIp>>().is_err());
    let mut quoted = Member::<HashIp>::parse("10.0.0.1").unwrap();
    quoted.comment = Some(Comment::any("a\" nomatch").unwrap());
    assert_eq!(quoted.to_string(), "10.0.0.1 comment \"a\u{fffd} nomatch\"");
    let set = "hash:ip,mark family inet markmask 0x000000ff hashsize 64 maxelem 7 timeout 5 counters bucketsize 4 initval 0x00000007";
    assert_eq!(set.parse::<NewSet<AnyType>>().unwrap().to_string(), set);
    assert_eq!("bitmap:port range 1-2".parse(), Ok(NewSet::<BitmapPort>::range(1..=2).any()));
    assert!("hash:ip counters counters".parse::<NewSet<AnyType>>().is_err());
}
