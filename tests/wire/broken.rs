//! Attributes that are missing, wrong, unknown, repeated or broken.

use crate::values::*;

/// The attributes of a nest that have a fixed length, with the kernel's names for them.
const SERVICE_LENGTHS: [(u16, &str, usize); 7] = [
    (1, "IPVS_SVC_ATTR_AF", 2),
    (2, "IPVS_SVC_ATTR_PROTOCOL", 2),
    (4, "IPVS_SVC_ATTR_PORT", 2),
    (5, "IPVS_SVC_ATTR_FWMARK", 4),
    (7, "IPVS_SVC_ATTR_FLAGS", 8),
    (8, "IPVS_SVC_ATTR_TIMEOUT", 4),
    (9, "IPVS_SVC_ATTR_NETMASK", 4),
];
const DESTINATION_LENGTHS: [(u16, &str, usize); 12] = [
    (2, "IPVS_DEST_ATTR_PORT", 2),
    (3, "IPVS_DEST_ATTR_FWD_METHOD", 4),
    (4, "IPVS_DEST_ATTR_WEIGHT", 4),
    (5, "IPVS_DEST_ATTR_U_THRESH", 4),
    (6, "IPVS_DEST_ATTR_L_THRESH", 4),
    (7, "IPVS_DEST_ATTR_ACTIVE_CONNS", 4),
    (8, "IPVS_DEST_ATTR_INACT_CONNS", 4),
    (9, "IPVS_DEST_ATTR_PERSIST_CONNS", 4),
    (11, "IPVS_DEST_ATTR_ADDR_FAMILY", 2),
    (13, "IPVS_DEST_ATTR_TUN_TYPE", 1),
    (14, "IPVS_DEST_ATTR_TUN_PORT", 2),
    (15, "IPVS_DEST_ATTR_TUN_FLAGS", 2),
];
const STATS: [&str; 10] = [
    "IPVS_STATS_ATTR_CONNS",
    "IPVS_STATS_ATTR_INPKTS",
    "IPVS_STATS_ATTR_OUTPKTS",
    "IPVS_STATS_ATTR_INBYTES",
    "IPVS_STATS_ATTR_OUTBYTES",
    "IPVS_STATS_ATTR_CPS",
    "IPVS_STATS_ATTR_INPPS",
    "IPVS_STATS_ATTR_OUTPPS",
    "IPVS_STATS_ATTR_INBPS",
    "IPVS_STATS_ATTR_OUTBPS",
];

#[test]
fn a_value_of_another_length_is_an_error_that_names_its_attribute() {
    let service = payload(&service_answer(service(tcp4()), numbers()), SERVICE).to_vec();
    let destination = payload(&destination_answer(destination(), [1; 3], numbers()), DESTINATION).to_vec();
    let cases = SERVICE_LENGTHS.map(|case| (NEW_SERVICE, SERVICE, &service, case)).into_iter();
    let cases = cases.chain(DESTINATION_LENGTHS.map(|case| (NEW_DESTINATION, DESTINATION, &destination, case)));
    for (command, number, nest, (kind, name, wanted)) in cases {
        for got in (0..=20).filter(|got| *got != wanted) {
            let broken = attribute(kind, &vec![0; got]);
            // As one more: the good one before it does not make up for it.
            let list = [&nest[..], &broken].concat();
            let error = decode(command, &attribute(number, &list)).unwrap_err();
            assert_eq!(error, format!("{name}: wanted {wanted} bytes, got {got}"));
            // The last of two equal attributes counts. A service with an address has no mark.
            let list = [&broken, &nest[..]].concat();
            let twice = decode(command, &attribute(number, &list));
            match name {
                "IPVS_SVC_ATTR_FWMARK" => assert_eq!(twice.unwrap_err(), error),
                _ => assert_eq!(twice, decode(command, &attribute(number, nest))),
            }
        }
    }
    for (kind, name) in (1..).zip(STATS) {
        for got in (0..=20).filter(|got| !matches!(got, 4 | 8)) {
            let stats = attribute(kind, &vec![0; got]);
            for (command, number, nest) in
                [(NEW_SERVICE, SERVICE, &service), (NEW_DESTINATION, DESTINATION, &destination)]
            {
                // The old ones are read where there are none of 64 bits, which stand at the end: ten numbers.
                let without = nest[..nest.len() - (4 + 10 * 12)].to_vec();
                for (width, nest) in [(10, &without), (12, nest)] {
                    let list = [nest.clone(), attribute(width, &stats)].concat();
                    let error = decode(command, &attribute(number, &list)).unwrap_err();
                    assert_eq!(error, format!("{name}: wanted 8 bytes, got {got}"));
                }
            }
        }
    }
    for got in (0..=20).filter(|got| *got != 4) {
        for (kind, name) in [(1, "IPVS_INFO_ATTR_VERSION"), (2, "IPVS_INFO_ATTR_CONN_TAB_SIZE")] {
            let list = [info(1, 1), attribute(kind, &vec![0; got])].concat();
            assert_eq!(decode(SET_INFO, &list), Err(format!("{name}: wanted 4 bytes, got {got}")));
        }
    }
}

#[test]
fn a_missing_attribute_is_an_error_that_names_it() {
    let missing = |name: &str| Err(format!("{name} is missing"));
    let nest = service_nest(Change::AddService(service(tcp4())));
    let key =
        [(1, "IPVS_SVC_ATTR_AF"), (2, "IPVS_SVC_ATTR_PROTOCOL"), (3, "IPVS_SVC_ATTR_ADDR"), (4, "IPVS_SVC_ATTR_PORT")];
    for (kind, name) in key.into_iter().chain([(6, "IPVS_SVC_ATTR_SCHED_NAME")]) {
        for command in [1, 2] {
            assert_eq!(decode(command, &attribute(SERVICE, &without(&nest, kind))), missing(name));
        }
    }
    for (kind, name) in key {
        for command in [3, 4, 8, 16] {
            assert_eq!(decode(command, &attribute(SERVICE, &without(&nest, kind))), missing(name));
        }
    }
    for command in [1, 2, 3, 6, 7, 8] {
        assert_eq!(decode(command, &[]), missing("IPVS_CMD_ATTR_SERVICE"), "{command}");
    }
    for command in [5, 6, 7] {
        assert_eq!(decode(command, &attribute(SERVICE, &nest)), missing("IPVS_CMD_ATTR_DEST"), "{command}");
    }
    let answer = payload(&destination_answer(destination(), [1; 3], numbers()), DESTINATION).to_vec();
    for (kind, name) in [
        (1, "IPVS_DEST_ATTR_ADDR"),
        (2, "IPVS_DEST_ATTR_PORT"),
        (3, "IPVS_DEST_ATTR_FWD_METHOD"),
        (4, "IPVS_DEST_ATTR_WEIGHT"),
        (11, "IPVS_DEST_ATTR_ADDR_FAMILY"),
    ] {
        assert_eq!(decode(5, &attribute(DESTINATION, &without(&answer, kind))), missing(name));
    }
    for (kind, name) in [(1, "IPVS_INFO_ATTR_VERSION"), (2, "IPVS_INFO_ATTR_CONN_TAB_SIZE")] {
        assert_eq!(decode(SET_INFO, &without(&info(1, 1), kind)), missing(name));
    }
}

#[test]
fn a_service_is_never_made_up_of_half_a_key() {
    for key in [tcp4(), udp6(), mark(Family::Inet), mark(Family::Inet6)] {
        let nest = service_nest(Change::DeleteService(key));
        for found in attributes(&nest) {
            let half = without(&nest, found.number);
            for command in [1, 2, 3, 4, 8, 16] {
                let got = decode(command, &attribute(SERVICE, &half));
                assert!(got.is_err(), "{command}: {} is {got:?}", hex(&half));
            }
        }
    }
}

#[test]
fn counters_that_are_not_sent_are_zero() {
    let bytes = attribute(DESTINATION, &destination_nest(add(destination())));
    let Ok(Message::Answer(Answer::Destination(info))) = decode(5, &bytes) else {
        panic!("no answer: {}", hex(&bytes));
    };
    assert_eq!((info.active_connections, info.inactive_connections, info.persistent_connections), (0, 0, 0));
    assert_eq!(info.stats, Stats::default());
}

#[test]
fn an_unknown_family_is_an_error_with_its_number() {
    let nest = service_nest(Change::DeleteService(tcp4()));
    let nest = [without(&nest, 1), attribute(1, &258u16.to_ne_bytes())].concat();
    let expected = "IPVS_SVC_ATTR_AF: 258 is not a valid value";
    assert_eq!(decode(3, &attribute(SERVICE, &nest)), Err(expected.to_owned()));
    let nest = destination_nest(add(destination()));
    let nest = [without(&nest, 11), attribute(11, &7u16.to_ne_bytes())].concat();
    let expected = "IPVS_DEST_ATTR_ADDR_FAMILY: 7 is not a valid value";
    assert_eq!(decode(5, &attribute(DESTINATION, &nest)), Err(expected.to_owned()));
}

#[test]
fn a_name_without_its_end_is_an_error_that_names_its_attribute() {
    let nest = service_nest(Change::AddService(service(tcp4())));
    for (kind, name, longest) in [(6, "IPVS_SVC_ATTR_SCHED_NAME", 15), (11, "IPVS_SVC_ATTR_PE_NAME", 16)] {
        let long = [vec![b'x'; longest + 1], vec![0]].concat();
        for text in [&b""[..], b"wrr", &long] {
            let list = [without(&nest, kind), attribute(kind, text)].concat();
            let error = decode(1, &attribute(SERVICE, &list)).unwrap_err();
            assert!(error.starts_with(name), "{}: {error}", hex(text));
        }
        let long = [vec![b'x'; longest], vec![0]].concat();
        // A name is bytes.
        for text in [&long, &b"\xff\0"[..]] {
            let list = [without(&nest, kind), attribute(kind, text)].concat();
            assert!(decode(1, &attribute(SERVICE, &list)).is_ok(), "{}", hex(text));
        }
    }
}

#[test]
fn a_repeated_attribute_counts_as_it_came_last() {
    let first = service_nest(Change::AddService(Service::new(udp6(), Scheduler::SH)));
    let nest = [first.clone(), service_nest(Change::AddService(service(tcp4())))].concat();
    assert_eq!(decode(1, &attribute(SERVICE, &nest)), Ok(Change::AddService(service(tcp4())).into()));
    let twice = [attribute(SERVICE, &first), encode(Change::AddService(service(tcp4())))].concat();
    assert_eq!(decode(1, &twice), Ok(Change::AddService(service(tcp4())).into()));
}

/// Attributes that no list has.
fn unknown() -> Vec<Vec<u8>> {
    vec![attribute(0, &[]), attribute(100, &[1]), attribute(0x3fff, &[0xff; 6]), attribute(16, &attribute(1, &[1; 4]))]
}

/// The same list with this between all its attributes.
fn strewn(list: &[u8], strange: &[u8]) -> Vec<u8> {
    let inside = attributes(list).into_iter().flat_map(|found| [strange, &list[found.whole]].concat());
    inside.chain(strange.iter().copied()).collect()
}

#[test]
fn unknown_attributes_are_skipped_in_every_list() {
    for (command, bytes, message) in every_kind() {
        for strange in unknown() {
            assert_eq!(decode(command, &strewn(&bytes, &strange)), Ok(message), "{}", hex(&strange));
        }
        if has_no_nests(command) {
            continue;
        }
        for strange in unknown() {
            let nests = attributes(&bytes).into_iter().flat_map(|found| {
                let nest = strewn(&bytes[found.payload], &strange);
                // And in the statistics, which are nests of both lists.
                let lists = attributes(&nest).into_iter().flat_map(|inner| match inner.number {
                    10 | 12 => attribute(inner.number, &strewn(&nest[inner.payload], &strange)),
                    _ => nest[inner.whole].to_vec(),
                });
                attribute(found.number, &lists.collect::<Vec<_>>())
            });
            let nests = nests.collect::<Vec<_>>();
            assert_eq!(decode(command, &nests), Ok(message), "{}", hex(&nests));
        }
    }
}

#[test]
fn the_flags_of_an_attributes_number_are_ignored() {
    for (command, mut bytes, message) in every_kind() {
        for found in attributes(&bytes.clone()) {
            let number = &mut bytes[found.whole.start + 2..found.whole.start + 4];
            // NLA_F_NESTED, as ipvsadm sets it.
            number.copy_from_slice(&(found.number | 0x8000).to_ne_bytes());
        }
        assert_eq!(decode(command, &bytes), Ok(message));
    }
}

#[test]
fn a_message_cut_anywhere_is_an_error_or_whole_attributes() {
    for (command, bytes, message) in every_kind() {
        let found = attributes(&bytes);
        for end in 0..bytes.len() {
            let got = decode(command, &bytes[..end]);
            // Where nothing but padding is cut, or a whole attribute.
            let whole = found.iter().any(|found| (found.payload.end..=found.whole.end).contains(&end)) || end == 0;
            if !whole {
                assert!(got.is_err(), "{} of {} is {got:?}", end, hex(&bytes));
            } else if end > 0 && found.len() == 1 {
                assert_eq!(got, Ok(message), "{}", hex(&bytes[..end]));
            }
        }
    }
}

#[test]
fn a_nest_cut_anywhere_is_an_error_or_whole_attributes() {
    for (command, bytes, _) in every_kind() {
        if has_no_nests(command) {
            continue;
        }
        for outer in attributes(&bytes) {
            let nest = &bytes[outer.payload.clone()];
            let found = attributes(nest);
            let others = without(&bytes, outer.number);
            for end in 0..nest.len() {
                let cut = [&others[..], &attribute(outer.number, &nest[..end])].concat();
                let got = decode(command, &cut);
                let whole = found.iter().any(|found| (found.payload.end..=found.whole.end).contains(&end)) || end == 0;
                assert!(whole || got.is_err(), "{} is {got:?}", hex(&cut));
            }
        }
    }
}

#[test]
fn a_broken_length_is_an_error_or_a_value_and_never_a_panic() {
    for (command, bytes, _) in every_kind() {
        let mut lengths = Vec::new();
        for outer in attributes(&bytes) {
            lengths.push(outer.whole.start);
            if has_no_nests(command) {
                continue;
            }
            for inner in attributes(&bytes[outer.payload.clone()]) {
                lengths.push(outer.payload.start + inner.whole.start);
                if matches!(inner.number, 10 | 12) {
                    let start = outer.payload.start + inner.payload.start;
                    let list = &bytes[start..outer.payload.start + inner.payload.end];
                    if list.len() > 16 {
                        lengths.extend(attributes(list).iter().map(|found| start + found.whole.start));
                    }
                }
            }
        }
        for at in lengths.into_iter().flat_map(|at| [at, at + 1]) {
            let mut broken = bytes.clone();
            for value in 0..=u8::MAX {
                broken[at] = value;
                let _ = decode(command, &broken);
            }
        }
        // An attribute that claims less than its own header, or more than there is.
        for outer in attributes(&bytes) {
            let left = bytes.len() - outer.whole.start;
            for length in [0, 1, 2, 3, left + 1, left + 5, usize::from(u16::MAX)] {
                let mut broken = bytes.clone();
                let field = &mut broken[outer.whole.start..outer.whole.start + 2];
                field.copy_from_slice(&u16::try_from(length).unwrap().to_ne_bytes());
                let error = decode(command, &broken).unwrap_err();
                assert!(error.contains("an invalid length"), "{}: {error}", hex(&broken));
            }
        }
    }
}
