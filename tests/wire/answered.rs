//! Answers of the kernel.

use std::collections::BTreeMap;

use crate::captures::by_number;
use crate::values::*;

/// The attributes without the statistics in 32 bits, which differ here so that it shows which ones were read.
fn in_64_bits(nest: &[u8]) -> BTreeMap<u16, String> {
    let mut attributes = by_number(nest);
    assert!(attributes.remove(&10).is_some());
    attributes
}

#[test]
fn an_answer_about_a_service_is_told_from_a_change_by_its_statistics() {
    let bytes = service_answer(service(tcp4()), numbers());
    let Ok(Message::Answer(Answer::Service(info))) = decode(NEW_SERVICE, &bytes) else {
        panic!("no answer: {}", hex(&bytes));
    };
    assert_eq!(info.service, service(tcp4()));
    assert_eq!(info.stats, stats(numbers()));
    assert_eq!(info.key(), tcp4());
    assert_eq!(in_64_bits(&service_nest(Answer::Service(info))), in_64_bits(payload(&bytes, SERVICE)));
}

#[test]
fn an_answer_about_a_destination_comes_without_its_service() {
    let bytes = destination_answer(destination(), [258, 259, 260], numbers());
    let Ok(Message::Answer(Answer::Destination(info))) = decode(NEW_DESTINATION, &bytes) else {
        panic!("no answer: {}", hex(&bytes));
    };
    assert_eq!(info.destination, destination());
    assert_eq!((info.active_connections, info.inactive_connections, info.persistent_connections), (258, 259, 260));
    assert_eq!(info.stats, stats(numbers()));
    assert_eq!(in_64_bits(&destination_nest(Answer::Destination(info))), in_64_bits(payload(&bytes, DESTINATION)));
}

#[test]
fn the_version_is_three_numbers() {
    let Ok(Message::Answer(Answer::Version(info))) = decode(SET_INFO, &info(0x0001_0203, 0x0405_0607)) else {
        panic!("no answer");
    };
    assert_eq!((info.release, info.connection_table_size), ((1, 2, 3), 0x0405_0607));
    assert_list(
        &encode(Answer::Version(info)),
        &[(1, &0x0001_0203u32.to_ne_bytes()), (2, &0x0405_0607u32.to_ne_bytes())],
    );
}

#[test]
fn statistics_of_32_bits_do_when_there_are_no_others() {
    let wide = stats64(12, numbers().map(|number| number << 8));
    let narrow = stats32(10, numbers());
    let service = service_nest(Change::AddService(service(tcp4())));
    let destination = destination_nest(add(destination()));
    let wanted = [
        (vec![narrow.clone()], stats(numbers())),
        (vec![wide.clone()], stats(numbers().map(|number| number << 8))),
        (vec![narrow.clone(), wide.clone()], stats(numbers().map(|number| number << 8))),
        (vec![wide, narrow], stats(numbers().map(|number| number << 8))),
        // Kernels that add a number, and the filler some architectures need.
        (vec![attribute(12, &[attribute(11, &[]), attribute(1, &258u64.to_ne_bytes())].concat())], {
            let mut stats = Stats::default();
            stats.connections = 258;
            stats
        }),
    ];
    for (lists, expected) in wanted {
        let lists = lists.concat();
        let bytes = attribute(SERVICE, &[&service[..], &lists].concat());
        let Ok(Message::Answer(Answer::Service(info))) = decode(NEW_SERVICE, &bytes) else {
            panic!("no answer: {}", hex(&bytes));
        };
        assert_eq!(info.stats, expected, "{}", hex(&lists));
        // Statistics may stand before what they are about.
        let bytes = attribute(DESTINATION, &[&lists[..], &destination].concat());
        let Ok(Message::Answer(Answer::Destination(info))) = decode(NEW_DESTINATION, &bytes) else {
            panic!("no answer: {}", hex(&bytes));
        };
        assert_eq!(info.stats, expected, "{}", hex(&lists));
    }
}

#[test]
fn an_ipv4_address_may_have_4_bytes_or_16() {
    let service = service_nest(Change::DeleteService(tcp4()));
    let destination = destination_nest(add(destination()));
    for address in [&[10, 1, 2, 3][..], &[10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        // The bytes after the first 4 have no meaning.
        let mut address = address.to_vec();
        if let Some(behind) = address.get_mut(4..) {
            behind.fill(0xee);
        }
        let nest = [without(&service, 3), attribute(3, &address)].concat();
        assert_eq!(decode(3, &attribute(SERVICE, &nest)), Ok(Change::DeleteService(tcp4()).into()));
        let nest = [without(&destination, 1), attribute(1, &address)].concat();
        let Ok(Message::Answer(Answer::Destination(info))) = decode(5, &attribute(DESTINATION, &nest)) else {
            panic!("no answer: {}", hex(&nest));
        };
        assert_eq!(info.address(), "10.1.2.3:8443".parse().unwrap());
    }
}

#[test]
fn an_ipv4_address_of_another_length_is_an_error() {
    let service = service_nest(Change::DeleteService(tcp4()));
    for length in (0..=20).filter(|length| !matches!(length, 4 | 16)) {
        let nest = [without(&service, 3), attribute(3, &vec![1; length])].concat();
        let expected = format!("IPVS_SVC_ATTR_ADDR: wanted 16 bytes, got {length}");
        assert_eq!(decode(3, &attribute(SERVICE, &nest)), Err(expected));
    }
}

#[test]
fn an_ipv6_address_has_16_bytes() {
    let service = service_nest(Change::DeleteService(udp6()));
    let answer = destination_nest(Change::DeleteDestination(udp6(), "[2001:db8::3]:53".parse().unwrap()));
    for length in (0..=20).filter(|length| *length != 16) {
        let nest = [without(&service, 3), attribute(3, &vec![1; length])].concat();
        let expected = format!("IPVS_SVC_ATTR_ADDR: wanted 16 bytes, got {length}");
        assert_eq!(decode(3, &attribute(SERVICE, &nest)), Err(expected));
        let nest = [without(&answer, 1), attribute(1, &vec![1; length])].concat();
        let both = [attribute(SERVICE, &service), attribute(DESTINATION, &nest)].concat();
        let expected = format!("IPVS_DEST_ATTR_ADDR: wanted 16 bytes, got {length}");
        assert_eq!(decode(7, &both), Err(expected));
    }
}

#[test]
fn a_destination_without_a_family_has_its_services() {
    for (key, address) in [(tcp4(), "10.1.2.4:53"), (udp6(), "[2001:db8::3]:53"), (mark(Family::Inet6), "[::3]:53")] {
        let change = Change::DeleteDestination(key, address.parse().unwrap());
        let both = [
            attribute(SERVICE, &service_nest(change)),
            attribute(DESTINATION, &without(&destination_nest(change), 11)),
        ];
        assert_eq!(decode(7, &both.concat()), Ok(change.into()));
    }
    // 0 is none, for the kernel.
    let change = Change::DeleteDestination(tcp4(), "10.1.2.4:53".parse().unwrap());
    let both = [
        attribute(SERVICE, &service_nest(change)),
        attribute(DESTINATION, &[without(&destination_nest(change), 11), attribute(11, &[0; 2])].concat()),
    ];
    assert_eq!(decode(7, &both.concat()), Ok(change.into()));
    // Its own goes first.
    let change = Change::DeleteDestination(tcp4(), "[2001:db8::3]:53".parse().unwrap());
    assert_eq!(back(change), Ok(change.into()));
}

#[test]
fn a_firewall_mark_of_zero_is_none() {
    let zero = attribute(5, &0u32.to_ne_bytes());
    let nest = [service_nest(Change::DeleteService(tcp4())), zero.clone()].concat();
    assert_eq!(decode(3, &attribute(SERVICE, &nest)), Ok(Change::DeleteService(tcp4()).into()));
    let nest = [attribute(1, &2u16.to_ne_bytes()), zero].concat();
    assert!(decode(3, &attribute(SERVICE, &nest)).is_err());
}

#[test]
fn a_firewall_mark_goes_before_an_address() {
    let both = [service_nest(Change::DeleteService(tcp4())), attribute(5, &0x0102_0304u32.to_ne_bytes())].concat();
    assert_eq!(decode(3, &attribute(SERVICE, &both)), Ok(Change::DeleteService(mark(Family::Inet)).into()));
}

#[test]
fn persistence_and_the_kernels_own_flag_never_show_among_the_flags() {
    let nest = service_nest(Change::AddService(service(tcp4())));
    for bits in [0u32, 1, 2, 3, 4, 7, 0x3c, 0xffff_ffff, 0x8000_0002] {
        let flags = attribute(7, &[bits.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat());
        let bytes = attribute(SERVICE, &[without(&nest, 7), flags].concat());
        let Ok(Message::Change(Change::AddService(service))) = decode(NEW_SERVICE, &bytes) else {
            panic!("no change: {}", hex(&bytes));
        };
        assert_eq!(service.flags.bits(), bits & !3, "{bits:#x}");
        assert_eq!(service.persistence.is_some(), bits & 1 != 0, "{bits:#x}");
    }
}

#[test]
fn persistence_and_the_kernels_own_flag_cannot_be_smuggled_into_what_is_sent() {
    for (persistent, expected) in [(false, 0xffff_fffcu32), (true, 0xffff_fffd)] {
        let mut service = Service::new(tcp4(), Scheduler::RR);
        service.flags = ServiceFlags::from_bits_retain(u32::MAX);
        if persistent {
            service = service.persistent(Duration::from_secs(1));
        }
        let nest = service_nest(Change::AddService(service));
        assert_eq!(payload(&nest, 7), [expected.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat());
    }
}

#[test]
fn what_the_mask_of_the_flags_says_does_not_matter_to_reading() {
    let nest = service_nest(Change::AddService(service(tcp4())));
    let flags = attribute(7, &[0x0du32.to_ne_bytes(), 0u32.to_ne_bytes()].concat());
    let bytes = attribute(SERVICE, &[without(&nest, 7), flags].concat());
    assert_eq!(decode(NEW_SERVICE, &bytes), Ok(Change::AddService(service(tcp4())).into()));
}

#[test]
fn a_netmask_of_every_address_by_itself_is_the_same_in_both_families() {
    for (key, netmask) in [(tcp4(), [255; 4]), (udp6(), 128u32.to_ne_bytes())] {
        let sticky = Service::new(key, Scheduler::RR).persistent(Duration::from_secs(258));
        let nest = service_nest(Change::AddService(sticky));
        for nest in [without(&nest, 9), [without(&nest, 9), attribute(9, &netmask)].concat()] {
            assert_eq!(decode(1, &attribute(SERVICE, &nest)), Ok(Change::AddService(sticky).into()));
        }
    }
}

#[test]
fn a_prefix_out_of_range_is_an_error_and_without_persistence_does_not_matter() {
    let plain = service_nest(Change::AddService(Service::new(udp6(), Scheduler::RR)));
    let sticky = service_nest(Change::AddService(service(udp6())));
    for prefix in [0u32, 129, 256, 64 << 24, u32::MAX] {
        let netmask = attribute(9, &prefix.to_ne_bytes());
        let bytes = attribute(SERVICE, &[without(&sticky, 9), netmask.clone()].concat());
        let expected = format!("IPVS_SVC_ATTR_NETMASK: {prefix} is not a valid value");
        assert_eq!(decode(NEW_SERVICE, &bytes), Err(expected));
        let bytes = attribute(SERVICE, &[without(&plain, 9), netmask].concat());
        assert!(decode(NEW_SERVICE, &bytes).is_ok());
    }
}

#[test]
fn an_empty_persistence_engine_is_none() {
    let plain = Service::new(tcp4(), Scheduler::RR);
    let nest = [service_nest(Change::AddService(plain)), attribute(11, b"\0")].concat();
    assert_eq!(decode(1, &attribute(SERVICE, &nest)), Ok(Change::AddService(plain).into()));
}

#[test]
fn only_the_three_bits_of_the_forwarding_method_count() {
    let nest = destination_nest(add(destination()));
    for (method, forwarding) in [
        (0xffff_fff8u32, Forwarding::Masquerade),
        (0x9, Forwarding::Local),
        (0xb, Forwarding::DirectRoute),
        (0xc, Forwarding::Bypass),
        (0xd, Forwarding::Other(5)),
        (0xffff_ffff, Forwarding::Other(7)),
        (0xa, destination().forwarding),
    ] {
        let nest = [without(&nest, 3), attribute(3, &method.to_ne_bytes())].concat();
        let Ok(Message::Answer(Answer::Destination(info))) = decode(5, &attribute(DESTINATION, &nest)) else {
            panic!("no answer: {}", hex(&nest));
        };
        assert_eq!(info.destination.forwarding, forwarding, "{method:#x}");
    }
}

#[test]
fn tunnels_are_read_as_they_were_set() {
    let nest = destination_nest(add(Destination::new("10.1.2.4:443".parse().unwrap())));
    let nest = [without(&nest, 3), attribute(3, &2u32.to_ne_bytes())].concat();
    let flags = TunnelFlags::from_bits_retain;
    let port = NonZeroU16::new(443).unwrap();
    for (kind, encapsulation_port, bits, tunnel) in [
        (None, None, None, Tunnel::Ipip),
        (Some(0), Some(0u16), Some(0u16), Tunnel::Ipip),
        (Some(1), Some(443), Some(2), Tunnel::Gue { port, flags: TunnelFlags::REMOTE_CHECKSUM }),
        (Some(2), Some(0), Some(1), Tunnel::Gre { flags: TunnelFlags::CHECKSUM }),
        (Some(2), None, None, Tunnel::Gre { flags: flags(0) }),
        (Some(200), Some(443), Some(0x8001), Tunnel::Other { kind: 200, port: 443, flags: flags(0x8001) }),
        // The kernel refuses these; reading does not make up a port.
        (Some(1), Some(0), Some(1), Tunnel::Other { kind: 1, port: 0, flags: flags(1) }),
        (Some(1), None, None, Tunnel::Other { kind: 1, port: 0, flags: flags(0) }),
    ] {
        let mut nest = nest.clone();
        nest.extend(kind.map(|kind| attribute(13, &[kind])).unwrap_or_default());
        nest.extend(encapsulation_port.map(|port| attribute(14, &port.to_be_bytes())).unwrap_or_default());
        nest.extend(bits.map(|bits| attribute(15, &bits.to_ne_bytes())).unwrap_or_default());
        let Ok(Message::Answer(Answer::Destination(info))) = decode(5, &attribute(DESTINATION, &nest)) else {
            panic!("no answer: {}", hex(&nest));
        };
        assert_eq!(info.destination.forwarding, Forwarding::Tunnel(tunnel), "{}", hex(&nest));
    }
}

#[test]
fn thresholds_are_none_without_the_upper_one() {
    let nest = destination_nest(add(destination()));
    let one = |value| NonZeroU32::new(value);
    for (upper, lower, thresholds) in [
        (Some(0u32), Some(0u32), None),
        (None, None, None),
        (Some(258), Some(0), Some(Thresholds { upper: one(258).unwrap(), lower: None })),
        (Some(258), None, Some(Thresholds { upper: one(258).unwrap(), lower: None })),
        (Some(258), Some(7), Some(Thresholds { upper: one(258).unwrap(), lower: one(7) })),
    ] {
        let mut nest = without(&without(&nest, 5), 6);
        nest.extend(upper.map(|value| attribute(5, &value.to_ne_bytes())).unwrap_or_default());
        nest.extend(lower.map(|value| attribute(6, &value.to_ne_bytes())).unwrap_or_default());
        let Ok(Message::Answer(Answer::Destination(info))) = decode(5, &attribute(DESTINATION, &nest)) else {
            panic!("no answer: {}", hex(&nest));
        };
        assert_eq!(info.destination.thresholds, thresholds, "{upper:?} {lower:?}");
    }
}
