//! The bytes of each value, one by one.

use lvs::DecodeError;

use crate::values::*;

#[test]
fn a_service_by_ipv4_address_has_these_attributes() {
    assert_list(
        &service_nest(Change::AddService(service(tcp4()))),
        &[
            (1, &2u16.to_ne_bytes()),
            (2, &6u16.to_ne_bytes()),
            (3, &[10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (4, &[1, 0xbb]),
            (6, b"wrr\0"),
            (11, b"sip\0"),
            (7, &[0x0du32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat()),
            (8, &258u32.to_ne_bytes()),
            (9, &[255, 255, 254, 1]),
        ],
    );
}

#[test]
fn a_service_by_ipv6_address_has_its_prefix_in_the_machines_order() {
    assert_list(
        &service_nest(Change::AddService(service(udp6()))),
        &[
            (1, &10u16.to_ne_bytes()),
            (2, &17u16.to_ne_bytes()),
            (3, &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]),
            (4, &[0x14, 0xe9]),
            (6, b"wrr\0"),
            (11, b"sip\0"),
            (7, &[0x0du32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat()),
            (8, &258u32.to_ne_bytes()),
            (9, &64u32.to_ne_bytes()),
        ],
    );
}

#[test]
fn a_firewall_mark_stands_in_place_of_protocol_address_and_port() {
    for (family, number, netmask) in
        [(Family::Inet, 2u16, [255, 255, 254, 1]), (Family::Inet6, 10, 64u32.to_ne_bytes())]
    {
        assert_list(
            &service_nest(Change::AddService(service(mark(family)))),
            &[
                (1, &number.to_ne_bytes()),
                (5, &0x0102_0304u32.to_ne_bytes()),
                (6, b"wrr\0"),
                (11, b"sip\0"),
                (7, &[0x0du32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat()),
                (8, &258u32.to_ne_bytes()),
                (9, &netmask),
            ],
        );
    }
}

#[test]
fn a_plain_service_sends_what_the_kernel_demands_all_the_same() {
    for (key, netmask) in [(tcp4(), [255; 4]), (udp6(), 128u32.to_ne_bytes())] {
        let nest = service_nest(Change::AddService(Service::new(key, Scheduler::RR)));
        assert_eq!(payload(&nest, 7), [0u32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat());
        assert_eq!(payload(&nest, 8), 0u32.to_ne_bytes());
        assert_eq!(payload(&nest, 9), netmask);
        assert!(attributes(&nest).iter().all(|found| found.number != 11), "{}", hex(&nest));
        // The same netmask when it is said.
        let sticky = Service::new(key, Scheduler::RR).persistent(Duration::from_secs(1));
        assert_eq!(payload(&service_nest(Change::AddService(sticky)), 9), netmask);
    }
}

#[test]
fn every_protocol_has_its_number() {
    let address = "10.1.2.3:443".parse().unwrap();
    let other = ServiceKey::Address { protocol: Protocol(0x0102), address };
    for (key, number) in [
        (ServiceKey::tcp(address), 6u16),
        (ServiceKey::udp(address), 17),
        (ServiceKey::sctp(address), 132),
        (other, 258),
    ] {
        assert_eq!(payload(&service_nest(Change::DeleteService(key)), 2), number.to_ne_bytes());
    }
}

#[test]
fn a_key_alone_is_its_identification_and_nothing_else() {
    for message in [
        Message::from(Change::DeleteService(tcp4())),
        Change::Zero(tcp4()).into(),
        Query::Service(tcp4()).into(),
        Query::Destinations(tcp4()).into(),
        add(destination()).into(),
        Change::DeleteDestination(tcp4(), "10.1.2.4:8443".parse().unwrap()).into(),
    ] {
        assert_list(
            &service_nest(message),
            &[
                (1, &2u16.to_ne_bytes()),
                (2, &6u16.to_ne_bytes()),
                (3, &[10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                (4, &[1, 0xbb]),
            ],
        );
    }
}

#[test]
fn a_destination_has_these_attributes() {
    assert_list(
        &destination_nest(add(destination())),
        &[
            (11, &2u16.to_ne_bytes()),
            (1, &[10, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (2, &[0x20, 0xfb]),
            (3, &2u32.to_ne_bytes()),
            (4, &258u32.to_ne_bytes()),
            (13, &[1]),
            (14, &[0x17, 0xc0]),
            (15, &1u16.to_ne_bytes()),
            (5, &0x0102_0304u32.to_ne_bytes()),
            (6, &0x0001_0203u32.to_ne_bytes()),
        ],
    );
    assert_list(
        &destination_nest(add(Destination::new("[2001:db8::1:2]:5353".parse().unwrap()))),
        &[
            (11, &10u16.to_ne_bytes()),
            (1, &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]),
            (2, &[0x14, 0xe9]),
            (3, &0u32.to_ne_bytes()),
            (4, &1u32.to_ne_bytes()),
            (5, &0u32.to_ne_bytes()),
            (6, &0u32.to_ne_bytes()),
        ],
    );
}

#[test]
fn a_threshold_that_is_not_set_is_zero() {
    let upper = NonZeroU32::new(258).unwrap();
    for (thresholds, expected) in [
        (None, [0u32, 0]),
        (Some(Thresholds { upper, lower: None }), [258, 0]),
        (Some(Thresholds { upper, lower: NonZeroU32::new(7) }), [258, 7]),
    ] {
        let mut destination = destination();
        destination.thresholds = thresholds;
        let nest = destination_nest(add(destination));
        assert_eq!(
            [5, 6].map(|number| payload(&nest, number).to_vec()),
            expected.map(|value| value.to_ne_bytes().to_vec())
        );
    }
}

#[test]
fn a_timeout_is_sent_in_whole_seconds_and_one_beyond_the_attribute_as_its_longest() {
    for (timeout, expected) in [
        (Duration::from_millis(258_999), 258),
        (Duration::from_secs(u32::MAX.into()), u32::MAX),
        (Duration::from_secs(1 << 32), u32::MAX),
        (Duration::MAX, u32::MAX),
    ] {
        let service = Service::new(tcp4(), Scheduler::RR).persistent(timeout);
        assert_eq!(payload(&service_nest(Change::AddService(service)), 8), expected.to_ne_bytes());
    }
}

#[test]
fn a_destination_to_delete_is_its_key_alone() {
    assert_list(
        &destination_nest(Change::DeleteDestination(tcp4(), "10.1.2.4:8443".parse().unwrap())),
        &[(11, &2u16.to_ne_bytes()), (1, &[10, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), (2, &[0x20, 0xfb])],
    );
}

#[test]
fn a_daemon_has_its_port_in_the_machines_order() {
    let change = Change::StartDaemon(daemon());
    assert_list(
        payload(&encode(change), DAEMON),
        &[
            (1, &2u32.to_ne_bytes()),
            (2, b"bond0.258\0"),
            (3, &0xfeu32.to_ne_bytes()),
            (4, &1027u16.to_ne_bytes()),
            (5, &[224, 0, 1, 82]),
            (7, &8851u16.to_ne_bytes()),
            (8, &[3]),
        ],
    );
    let mut other = daemon();
    other.state = SyncState::Master;
    other.group = Some("ff02::1:52".parse().unwrap());
    let nest = payload(&encode(Change::StartDaemon(other)), DAEMON).to_vec();
    assert_eq!(payload(&nest, 1), 1u32.to_ne_bytes());
    assert_eq!(payload(&nest, 6), [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x52]);
    assert_eq!(hex(&without(&without(&nest, 6), 1)), hex(&without(&without(payload(&encode(change), DAEMON), 5), 1)));
    // Starting a daemon and reporting one use the same bytes.
    for daemon in [daemon(), other] {
        assert_eq!(back(Change::StartDaemon(daemon)), Ok(Answer::Daemon(daemon).into()));
        assert_eq!(hex(&encode(Answer::Daemon(daemon))), hex(&encode(Change::StartDaemon(daemon))));
        assert_eq!(Message::from(Change::StartDaemon(daemon)).command(), NEW_DAEMON);
    }
}

#[test]
fn a_plain_daemon_leaves_the_rest_to_the_kernel() {
    let plain = SyncDaemon::new(SyncState::Master, Interface::new("eth0").unwrap(), 0);
    let expected: [(u16, &[u8]); 3] = [(1, &1u32.to_ne_bytes()), (2, b"eth0\0"), (3, &[0; 4])];
    assert_list(payload(&encode(Change::StartDaemon(plain)), DAEMON), &expected);
    assert_list(payload(&encode(Change::StopDaemon(SyncState::Backup)), DAEMON), &[(1, &2u32.to_ne_bytes())]);
    assert_eq!(Message::from(Change::StopDaemon(SyncState::Backup)).command(), 10);
    // 0 is what kernels and tools say for none.
    let zeros = [attribute(4, &[0; 2]), attribute(7, &[0; 2]), attribute(8, &[0])].concat();
    let nest = [payload(&encode(Change::StartDaemon(plain)), DAEMON), &zeros].concat();
    assert_eq!(decode(NEW_DAEMON, &attribute(DAEMON, &nest)), Ok(Answer::Daemon(plain).into()));
}

#[test]
fn a_sync_id_that_no_message_can_have_is_an_error_to_read() {
    let nest = without(payload(&encode(Change::StartDaemon(daemon())), DAEMON), 3);
    for id in [256u32, 0x0102_0304, u32::MAX] {
        let nest = [nest.clone(), attribute(3, &id.to_ne_bytes())].concat();
        let wrong = DecodeError::Value { attribute: "IPVS_DAEMON_ATTR_SYNC_ID", value: id.into() };
        assert_eq!(decode(NEW_DAEMON, &attribute(DAEMON, &nest)), Err(wrong.to_string()));
    }
}

#[test]
fn a_daemons_ipv4_group_goes_before_an_ipv6_one() {
    let nest = payload(&encode(Change::StartDaemon(daemon())), DAEMON).to_vec();
    let other = attribute(6, &[0xff; 16]);
    for nest in [[nest.clone(), other.clone()], [other, nest]] {
        assert_eq!(decode(NEW_DAEMON, &attribute(DAEMON, &nest.concat())), Ok(Answer::Daemon(daemon()).into()));
    }
}

#[test]
fn timeouts_that_are_not_set_are_not_sent() {
    for (timeouts, expected) in [
        (timeouts(Some(0x0102_0304), Some(258), Some(259)), &[(4, 0x0102_0304u32), (5, 258), (6, 259)][..]),
        (timeouts(None, Some(258), None), &[(5, 258)]),
        (timeouts(Some(u64::MAX), None, Some(1 << 32)), &[(4, u32::MAX), (6, u32::MAX)]),
        (timeouts(None, None, None), &[]),
    ] {
        let bytes = encode(Change::SetTimeouts(timeouts));
        let expected = expected.iter().flat_map(|(kind, value)| attribute(*kind, &value.to_ne_bytes()));
        assert_eq!(hex(&bytes), hex(&expected.collect::<Vec<_>>()));
        assert_eq!(hex(&encode(Answer::Timeouts(timeouts))), hex(&bytes));
        assert_eq!(Message::from(Change::SetTimeouts(timeouts)).command(), SET_CONFIG);
    }
    let timeouts = timeouts(Some(258), None, Some(259));
    assert_eq!(back(Change::SetTimeouts(timeouts)), Ok(Answer::Timeouts(timeouts).into()));
}

#[test]
fn what_is_of_daemons_and_timeouts_and_wrong_is_an_error_that_names_it() {
    let nest = payload(&encode(Change::StartDaemon(daemon())), DAEMON).to_vec();
    let wrong = |list: &[u8]| decode(NEW_DAEMON, &attribute(DAEMON, list)).unwrap_err();
    for (kind, name, wanted) in [
        (1, "IPVS_DAEMON_ATTR_STATE", 4),
        (3, "IPVS_DAEMON_ATTR_SYNC_ID", 4),
        (4, "IPVS_DAEMON_ATTR_SYNC_MAXLEN", 2),
        (5, "IPVS_DAEMON_ATTR_MCAST_GROUP", 4),
        (6, "IPVS_DAEMON_ATTR_MCAST_GROUP6", 16),
        (7, "IPVS_DAEMON_ATTR_MCAST_PORT", 2),
        (8, "IPVS_DAEMON_ATTR_MCAST_TTL", 1),
    ] {
        for got in (0..=20).filter(|got| *got != wanted) {
            let error = wrong(&[nest.clone(), attribute(kind, &vec![0; got])].concat());
            assert_eq!(error, format!("{name}: wanted {wanted} bytes, got {got}"));
        }
    }
    for (kind, name) in
        [(1, "IPVS_DAEMON_ATTR_STATE"), (2, "IPVS_DAEMON_ATTR_MCAST_IFN"), (3, "IPVS_DAEMON_ATTR_SYNC_ID")]
    {
        assert_eq!(wrong(&without(&nest, kind)), format!("{name} is missing"));
    }
    for state in [0u32, 3, 1 << 24] {
        let error = wrong(&[without(&nest, 1), attribute(1, &state.to_ne_bytes())].concat());
        assert_eq!(error, format!("IPVS_DAEMON_ATTR_STATE: {state} is not a valid value"));
    }
    for text in [&b"eth0"[..], b"a/b", b"sixteen-letters-\0"] {
        let error = wrong(&[without(&nest, 2), attribute(2, text)].concat());
        assert!(error.starts_with("IPVS_DAEMON_ATTR_MCAST_IFN"), "{error}");
    }
    for name in [&b"caf\xe9"[..], b"\xff", b"a/b: c"] {
        let list = [without(&nest, 2), attribute(2, &[name, b"\0"].concat())].concat();
        let mut expected = daemon();
        expected.interface = Interface::any(name).unwrap();
        assert_eq!(decode(NEW_DAEMON, &attribute(DAEMON, &list)), Ok(Answer::Daemon(expected).into()), "{name:?}");
    }
    let missing = Err("IPVS_CMD_ATTR_DAEMON is missing".to_owned());
    assert_eq!((decode(NEW_DAEMON, &[]), decode(10, &[])), (missing.clone(), missing));
    assert_eq!(decode(10, &attribute(DAEMON, &[])), Err("IPVS_DAEMON_ATTR_STATE is missing".to_owned()));
    for (kind, name) in
        [(4, "IPVS_CMD_ATTR_TIMEOUT_TCP"), (5, "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN"), (6, "IPVS_CMD_ATTR_TIMEOUT_UDP")]
    {
        for got in (0..=20).filter(|got| *got != 4) {
            let error = decode(SET_CONFIG, &attribute(kind, &vec![0; got])).unwrap_err();
            assert_eq!(error, format!("{name}: wanted 4 bytes, got {got}"));
        }
    }
}

#[test]
fn every_way_of_forwarding_has_its_number() {
    let flags = TunnelFlags::from_bits_retain(0x0102);
    let port = NonZeroU16::new(443).unwrap();
    for (forwarding, method, tunnel) in [
        (Forwarding::Masquerade, 0u32, None),
        (Forwarding::Local, 1, None),
        (Forwarding::DirectRoute, 3, None),
        (Forwarding::Bypass, 4, None),
        (Forwarding::Other(5), 5, None),
        (Forwarding::Other(7), 7, None),
        (Forwarding::Tunnel(Tunnel::Ipip), 2, Some((0, 0u16, 0u16))),
        (Forwarding::Tunnel(Tunnel::Gue { port, flags }), 2, Some((1, 443, 0x0102))),
        (Forwarding::Tunnel(Tunnel::Gre { flags }), 2, Some((2, 0, 0x0102))),
        (Forwarding::Tunnel(Tunnel::Other { kind: 200, port: 443, flags }), 2, Some((200, 443, 0x0102))),
    ] {
        let change = add(Destination::new("10.1.2.4:443".parse().unwrap()).forwarding(forwarding));
        let nest = destination_nest(change);
        assert_eq!(payload(&nest, 3), method.to_ne_bytes(), "{forwarding:?}");
        match tunnel {
            Some((kind, port, flags)) => {
                assert_eq!(payload(&nest, 13), [kind], "{forwarding:?}");
                assert_eq!(payload(&nest, 14), port.to_be_bytes(), "{forwarding:?}");
                assert_eq!(payload(&nest, 15), flags.to_ne_bytes(), "{forwarding:?}");
            }
            None => assert!(!attributes(&nest).iter().any(|found| (13..=15).contains(&found.number))),
        }
        assert_eq!(back(change), Ok(change.into()));
    }
}

#[test]
fn messages_without_an_object_have_no_attributes() {
    for (message, command) in [
        (Message::from(Change::Clear), 17),
        (Change::ZeroAll.into(), 16),
        (Query::Services.into(), 4),
        (Query::Version.into(), 15),
        (Query::Timeouts.into(), 13),
        (Query::Daemons.into(), 11),
    ] {
        assert_eq!(hex(&encode(message)), "");
        assert_eq!(message.command(), command);
        assert_eq!(decode(command, &[]), Ok(message));
    }
}

#[test]
fn every_message_has_its_command() {
    let of = |message: &Message| message.command();
    let expect = [
        (Message::from(Change::AddService(service(tcp4()))), 1),
        (Change::SetService(service(tcp4())).into(), 2),
        (Change::DeleteService(tcp4()).into(), 3),
        (Query::Service(tcp4()).into(), 4),
        (add(destination()).into(), 5),
        (Change::SetDestination(tcp4(), destination()).into(), 6),
        (Change::DeleteDestination(tcp4(), destination().address).into(), 7),
        (Query::Destinations(tcp4()).into(), 8),
        (Change::Zero(tcp4()).into(), 16),
    ];
    for (message, command) in expect {
        assert_eq!(of(&message), command, "{message:?}");
        assert_eq!(back(message), Ok(message));
    }
    for (command, bytes, message) in every_kind() {
        assert_eq!(of(&message), command, "{message:?}");
        assert_eq!(decode(command, &bytes), Ok(message));
    }
}

#[test]
fn an_unknown_command_is_an_error_with_its_number() {
    for command in [0, 18, 255] {
        let error = decode(command, &[]).unwrap_err();
        assert!(error.contains("IPVS_CMD") && error.contains(&command.to_string()), "{error}");
    }
}
