//! IPVS values and their bytes, as `linux/ip_vs.h` says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::time::Duration;

use lvs::Interface;
use lvs::ipvs::{
    Answer, Change, Destination, Family, Forwarding, Info, Message, Netmask, Persistence, PersistenceEngine, Protocol,
    Query, Rates, Scheduler, Service, ServiceFlags, ServiceKey, Stats, SyncDaemon, SyncState, Thresholds, Timeouts,
    Tunnel, TunnelFlags,
};
use netlink_packet_generic::GenlFamily;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{attribute, attributes, back, decode, encode, hex, payload, without};

const SERVICE: u16 = 1;
const DESTINATION: u16 = 2;
const DAEMON: u16 = 3;

const NEW_SERVICE: u8 = 1;
const NEW_DESTINATION: u8 = 5;
const NEW_DAEMON: u8 = 9;
const SET_CONFIG: u8 = 12;
const SET_INFO: u8 = 14;

// Values.

fn tcp4() -> ServiceKey {
    ServiceKey::tcp("10.1.2.3:443".parse().unwrap())
}

fn udp6() -> ServiceKey {
    ServiceKey::udp("[2001:db8::1:2]:5353".parse().unwrap())
}

fn mark(family: Family) -> ServiceKey {
    ServiceKey::FirewallMark { mark: NonZeroU32::new(0x0102_0304).unwrap(), family }
}

fn service(key: ServiceKey) -> Service {
    let mut service = Service::new(key, Scheduler::WRR);
    service.persistence = Some(Persistence::new(Duration::from_secs(258)).netmask(match key.family() {
        Family::Inet => Netmask::inet(Ipv4Addr::new(255, 255, 254, 1)),
        Family::Inet6 => Netmask::inet6(64).unwrap(),
    }));
    service.engine = Some(PersistenceEngine::SIP);
    service.flags = ServiceFlags::FALLBACK | ServiceFlags::ONE_PACKET;
    service
}

fn destination() -> Destination {
    let mut destination = Destination::new("10.1.2.4:8443".parse().unwrap()).weight(258);
    destination.thresholds =
        Some(Thresholds { upper: NonZeroU32::new(0x0102_0304).unwrap(), lower: NonZeroU32::new(0x0001_0203) });
    destination.forwarding =
        Forwarding::Tunnel(Tunnel::Gue { port: NonZeroU16::new(6080).unwrap(), flags: TunnelFlags::CHECKSUM });
    destination
}

fn daemon() -> SyncDaemon {
    let mut daemon = SyncDaemon::new(SyncState::Backup, Interface::new("bond0.258").unwrap(), 0x0102_0304);
    daemon.max_length = NonZeroU16::new(1027);
    daemon.group = Some("224.0.1.82".parse().unwrap());
    daemon.port = NonZeroU16::new(8851);
    daemon.ttl = NonZeroU8::new(3);
    daemon
}

fn timeouts(tcp: Option<u64>, tcp_fin: Option<u64>, udp: Option<u64>) -> Timeouts {
    let [tcp, tcp_fin, udp] = [tcp, tcp_fin, udp].map(|seconds| seconds.map(Duration::from_secs));
    Timeouts { tcp, tcp_fin, udp }
}

/// Ten numbers that differ from each other in every byte order and width.
fn numbers() -> [u64; 10] {
    std::array::from_fn(|i| 0x0102_0304 + 0x0101_0101 * u64::try_from(i).unwrap())
}

fn stats(numbers: [u64; 10]) -> Stats {
    let [connections, packets_in, packets_out, bytes_in, bytes_out, rates @ ..] = numbers;
    let mut stats = Stats::default();
    (stats.connections, stats.packets_in, stats.packets_out) = (connections, packets_in, packets_out);
    (stats.bytes_in, stats.bytes_out) = (bytes_in, bytes_out);
    let mut of_rates = Rates::default();
    [of_rates.connections, of_rates.packets_in, of_rates.packets_out, of_rates.bytes_in, of_rates.bytes_out] = rates;
    stats.rates = of_rates;
    stats
}

// Their bytes, as the kernel sends them.

/// The statistics nest in 64 bits.
fn stats64(number: u16, numbers: [u64; 10]) -> Vec<u8> {
    let counters = (1..).zip(numbers).flat_map(|(kind, value)| attribute(kind, &value.to_ne_bytes()));
    attribute(number, &counters.collect::<Vec<_>>())
}

/// The one in 32 bits, of which the bytes have 64.
fn stats32(number: u16, numbers: [u64; 10]) -> Vec<u8> {
    let counters = (1..).zip(numbers).flat_map(|(kind, value)| match kind {
        4 | 5 => attribute(kind, &value.to_ne_bytes()),
        _ => attribute(kind, &u32::try_from(value).unwrap().to_ne_bytes()),
    });
    attribute(number, &counters.collect::<Vec<_>>())
}

/// What is in the service's nest of a message.
fn service_nest(message: impl Into<Message>) -> Vec<u8> {
    payload(&encode(message), SERVICE).to_vec()
}

/// What is in the destination's nest of a message.
fn destination_nest(message: impl Into<Message>) -> Vec<u8> {
    payload(&encode(message), DESTINATION).to_vec()
}

fn add(destination: Destination) -> Change {
    Change::AddDestination(tcp4(), destination)
}

/// The kernel's answer about a service.
fn service_answer(service: Service, numbers: [u64; 10]) -> Vec<u8> {
    let nest = service_nest(Change::AddService(service));
    let mask = u32::MAX.to_ne_bytes();
    let flags = u32::from_ne_bytes(payload(&nest, 7)[..4].try_into().unwrap()) | 2;
    let nest = [
        without(&nest, 7),
        attribute(7, &[flags.to_ne_bytes(), mask].concat()),
        stats32(10, numbers.map(|number| number & 0xffff)),
        stats64(12, numbers),
    ];
    attribute(SERVICE, &nest.concat())
}

/// The kernel's answer about a destination.
fn destination_answer(destination: Destination, connections: [u32; 3], numbers: [u64; 10]) -> Vec<u8> {
    let nest = destination_nest(add(destination));
    let counters = (7..).zip(connections).flat_map(|(kind, value)| attribute(kind, &value.to_ne_bytes()));
    let stats = [stats32(10, numbers.map(|number| number & 0xffff)), stats64(12, numbers)].concat();
    attribute(DESTINATION, &nest.into_iter().chain(counters).chain(stats).collect::<Vec<_>>())
}

/// One message of each kind with everything in it: its command, its attributes, its value.
fn every_kind() -> Vec<(u8, Vec<u8>, Message)> {
    let mut changes = vec![
        Change::ReplaceDestination(mark(Family::Inet6), destination()),
        Change::DeleteDestination(udp6(), "[2001:db8::3]:53".parse().unwrap()),
        Change::AddDestination(udp6(), Destination::new("[2001:db8::4]:8443".parse().unwrap())),
        add(destination()),
        Change::ZeroAll,
        Change::Flush,
        Change::StopDaemon(SyncState::Master),
        Change::StopDaemon(SyncState::Backup),
    ];
    let mut queries = vec![Query::Services, Query::Info, Query::Timeouts, Query::Daemons];
    for key in [tcp4(), udp6(), mark(Family::Inet), mark(Family::Inet6)] {
        changes.extend([
            Change::AddService(service(key)),
            Change::AddService(Service::new(key, Scheduler::SH)),
            Change::ReplaceService(service(key)),
            Change::DeleteService(key),
            Change::Zero(key),
        ]);
        queries.extend([Query::Service(key), Query::Destinations(key)]);
    }
    let messages = changes.into_iter().map(Message::from).chain(queries.into_iter().map(Message::from));
    let mut all = messages.map(|message| (message.command(), encode(message), message)).collect::<Vec<_>>();
    for (command, bytes) in [
        (NEW_SERVICE, service_answer(service(tcp4()), numbers())),
        (NEW_SERVICE, service_answer(service(mark(Family::Inet6)), numbers())),
        (NEW_DESTINATION, destination_answer(destination(), [258, 259, 260], numbers())),
        (SET_INFO, info(0x0001_0203, 258)),
        (SET_CONFIG, encode(Change::SetTimeouts(timeouts(Some(258), Some(259), Some(260))))),
        (NEW_DAEMON, encode(Change::StartDaemon(daemon()))),
    ] {
        let message = decode(command, &bytes).unwrap();
        assert!(matches!(message, Message::Answer(_)), "{message:?}");
        all.push((command, bytes, message));
    }
    all
}

fn has_no_nests(command: u8) -> bool {
    matches!(command, SET_INFO | SET_CONFIG)
}

fn info(version: u32, size: u32) -> Vec<u8> {
    [attribute(1, &version.to_ne_bytes()), attribute(2, &size.to_ne_bytes())].concat()
}

// The bytes of each value, one by one.

#[track_caller]
fn assert_list(list: &[u8], expected: &[(u16, &[u8])]) {
    let expected = expected.iter().flat_map(|(number, payload)| attribute(*number, payload)).collect::<Vec<_>>();
    assert_eq!(hex(list), hex(&expected));
}

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
            (3, &0x0102_0304u32.to_ne_bytes()),
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
    // To start a daemon and to tell of one are the same bytes.
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
        assert_eq!(error, format!("IPVS_DAEMON_ATTR_STATE: {state} is not a value it can have"));
    }
    for text in [&b"eth0"[..], b"\xff\0", b"sixteen-letters-\0"] {
        let error = wrong(&[without(&nest, 2), attribute(2, text)].concat());
        assert!(error.starts_with("IPVS_DAEMON_ATTR_MCAST_IFN"), "{error}");
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
        (Message::from(Change::Flush), 17),
        (Change::ZeroAll.into(), 16),
        (Query::Services.into(), 4),
        (Query::Info.into(), 15),
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
        (Change::ReplaceService(service(tcp4())).into(), 2),
        (Change::DeleteService(tcp4()).into(), 3),
        (Query::Service(tcp4()).into(), 4),
        (add(destination()).into(), 5),
        (Change::ReplaceDestination(tcp4(), destination()).into(), 6),
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
fn an_unknown_command_is_an_error_that_says_which() {
    for command in [0, 18, 255] {
        let error = decode(command, &[]).unwrap_err();
        assert!(error.contains("IPVS_CMD") && error.contains(&command.to_string()), "{error}");
    }
}

// What the kernel answers.

#[test]
fn an_answer_about_a_service_is_told_from_a_change_by_its_statistics() {
    let bytes = service_answer(service(tcp4()), numbers());
    let Ok(Message::Answer(Answer::Service(info))) = decode(NEW_SERVICE, &bytes) else {
        panic!("no answer: {}", hex(&bytes));
    };
    assert_eq!(info.service, service(tcp4()));
    assert_eq!(info.stats, stats(numbers()));
    assert_eq!(info.key(), tcp4());
    // Written, it is the same with the 64-bit statistics only.
    let nest = service_nest(Answer::Service(info));
    let expected = [service_nest(Change::AddService(service(tcp4()))), stats64(12, numbers())].concat();
    assert_eq!(hex(&nest), hex(&expected));
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
    let nest = destination_nest(Answer::Destination(info));
    let counters = [(7, 258u32), (8, 259), (9, 260)].map(|(kind, value)| attribute(kind, &value.to_ne_bytes()));
    let expected = [destination_nest(add(destination())), counters.concat(), stats64(12, numbers())].concat();
    assert_eq!(hex(&nest), hex(&expected));
}

#[test]
fn the_version_is_three_numbers() {
    let Ok(Message::Answer(Answer::Info(info))) = decode(SET_INFO, &info(0x0001_0203, 0x0405_0607)) else {
        panic!("no answer");
    };
    let Info { version, connection_table_size, .. } = info;
    assert_eq!((version, connection_table_size), ((1, 2, 3), 0x0405_0607));
    assert_list(&encode(Answer::Info(info)), &[(1, &0x0001_0203u32.to_ne_bytes()), (2, &0x0405_0607u32.to_ne_bytes())]);
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
        // What stands behind the 4 bytes means nothing.
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
        let expected = format!("IPVS_SVC_ATTR_NETMASK: {prefix} is not a value it can have");
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

// What is missing, wrong, unknown, repeated or broken.

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
            // As one more: the good one before it does not make up for it.
            for list in [[nest.clone(), attribute(kind, &vec![0; got])], [attribute(kind, &vec![0; got]), nest.clone()]]
            {
                let error = decode(command, &attribute(number, &list.concat())).unwrap_err();
                assert_eq!(error, format!("{name}: wanted {wanted} bytes, got {got}"));
            }
        }
    }
    for (kind, name) in (1..).zip(STATS) {
        for got in (0..=20).filter(|got| !matches!(got, 4 | 8)) {
            let stats = attribute(kind, &vec![0; got]);
            for (command, number, nest) in
                [(NEW_SERVICE, SERVICE, &service), (NEW_DESTINATION, DESTINATION, &destination)]
            {
                for width in [10, 12] {
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
fn an_unknown_family_is_an_error_that_says_which() {
    let nest = service_nest(Change::DeleteService(tcp4()));
    let nest = [without(&nest, 1), attribute(1, &258u16.to_ne_bytes())].concat();
    let expected = "IPVS_SVC_ATTR_AF: 258 is not a value it can have";
    assert_eq!(decode(3, &attribute(SERVICE, &nest)), Err(expected.to_owned()));
    let nest = destination_nest(add(destination()));
    let nest = [without(&nest, 11), attribute(11, &7u16.to_ne_bytes())].concat();
    let expected = "IPVS_DEST_ATTR_ADDR_FAMILY: 7 is not a value it can have";
    assert_eq!(decode(5, &attribute(DESTINATION, &nest)), Err(expected.to_owned()));
}

#[test]
fn a_name_without_its_end_or_not_in_utf8_is_an_error_that_names_its_attribute() {
    let nest = service_nest(Change::AddService(service(tcp4())));
    for (kind, name, longest) in [(6, "IPVS_SVC_ATTR_SCHED_NAME", 15), (11, "IPVS_SVC_ATTR_PE_NAME", 16)] {
        let long = [vec![b'x'; longest + 1], vec![0]].concat();
        for text in [&b""[..], b"wrr", b"\xff\0", &long] {
            let list = [without(&nest, kind), attribute(kind, text)].concat();
            let error = decode(1, &attribute(SERVICE, &list)).unwrap_err();
            assert!(error.starts_with(name), "{}: {error}", hex(text));
        }
        let long = [vec![b'x'; longest], vec![0]].concat();
        let list = [without(&nest, kind), attribute(kind, &long)].concat();
        assert!(decode(1, &attribute(SERVICE, &list)).is_ok(), "{}", hex(&long));
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
                assert!(error.contains("a broken length"), "{}: {error}", hex(&broken));
            }
        }
    }
}

// Properties.

fn families() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Inet), Just(Family::Inet6)]
}

fn ip(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Inet => any::<Ipv4Addr>().prop_map(IpAddr::from).boxed(),
        Family::Inet6 => any::<Ipv6Addr>().prop_map(IpAddr::from).boxed(),
    }
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    (families().prop_flat_map(ip), any::<u16>()).prop_map(SocketAddr::from)
}

fn keys() -> BoxedStrategy<ServiceKey> {
    prop_oneof![
        2 => (any::<u16>(), addresses())
            .prop_map(|(protocol, address)| ServiceKey::Address { protocol: Protocol(protocol), address }),
        1 => (any::<NonZeroU32>(), families()).prop_map(|(mark, family)| ServiceKey::FirewallMark { mark, family }),
    ]
    .boxed()
}

fn name(longest: usize) -> impl Strategy<Value = String> {
    // Any text without a zero byte; those of more than a byte for each character are shorter.
    vec(prop_oneof![3 => b'!'..=b'~', 1 => 1..=127u8], 1..=longest).prop_map(|bytes| String::from_utf8(bytes).unwrap())
}

fn services() -> BoxedStrategy<Service> {
    keys()
        .prop_flat_map(|key| {
            let netmask = match key.family() {
                Family::Inet => any::<Ipv4Addr>().prop_map(Netmask::inet).boxed(),
                Family::Inet6 => (1..=128u8).prop_map(|prefix| Netmask::inet6(prefix).unwrap()).boxed(),
            };
            let netmask = prop_oneof![1 => Just(Netmask::HOST), 3 => netmask];
            let persistence = (any::<u32>(), netmask)
                .prop_map(|(timeout, netmask)| Persistence::new(Duration::from_secs(timeout.into())).netmask(netmask));
            let engine =
                prop::option::of(name(16)).prop_map(|name| name.map(|name| PersistenceEngine::new(&name).unwrap()));
            let scheduler = name(15).prop_map(|name| Scheduler::new(&name).unwrap());
            let flags = any::<u32>().prop_map(|bits| ServiceFlags::from_bits_retain(bits & !3));
            (scheduler, prop::option::of(persistence), engine, flags).prop_map(
                move |(scheduler, persistence, engine, flags)| {
                    let mut service = Service::new(key, scheduler);
                    (service.persistence, service.engine, service.flags) = (persistence, engine, flags);
                    service
                },
            )
        })
        .boxed()
}

fn tunnels() -> impl Strategy<Value = Tunnel> {
    let flags = || any::<u16>().prop_map(TunnelFlags::from_bits_retain);
    prop_oneof![
        Just(Tunnel::Ipip),
        (any::<NonZeroU16>(), flags()).prop_map(|(port, flags)| Tunnel::Gue { port, flags }),
        flags().prop_map(|flags| Tunnel::Gre { flags }),
        (3..=u8::MAX, any::<u16>(), flags()).prop_map(|(kind, port, flags)| Tunnel::Other { kind, port, flags }),
        flags().prop_map(|flags| Tunnel::Other { kind: 1, port: 0, flags }),
    ]
}

fn destinations() -> BoxedStrategy<Destination> {
    let forwarding = prop_oneof![
        1 => Just(Forwarding::Masquerade),
        1 => Just(Forwarding::Local),
        3 => tunnels().prop_map(Forwarding::Tunnel),
        1 => Just(Forwarding::DirectRoute),
        1 => Just(Forwarding::Bypass),
        1 => (5..=7u32).prop_map(Forwarding::Other),
    ];
    let lower = prop_oneof![Just(0), any::<u32>()];
    let thresholds =
        (any::<NonZeroU32>(), lower).prop_map(|(upper, lower)| Thresholds { upper, lower: NonZeroU32::new(lower) });
    (addresses(), forwarding, any::<u32>(), prop::option::of(thresholds))
        .prop_map(|(address, forwarding, weight, thresholds)| {
            let mut destination = Destination::new(address).weight(weight).forwarding(forwarding);
            destination.thresholds = thresholds;
            destination
        })
        .boxed()
}

fn states() -> impl Strategy<Value = SyncState> {
    prop_oneof![Just(SyncState::Master), Just(SyncState::Backup)]
}

fn daemons() -> BoxedStrategy<SyncDaemon> {
    let interface = name(15).prop_filter_map("no interface's name", |name| Interface::new(&name).ok());
    let group = prop::option::of(families().prop_flat_map(ip));
    let rest = (any::<u16>(), group, any::<u16>(), any::<u8>());
    (states(), interface, any::<u32>(), rest)
        .prop_map(|(state, interface, sync_id, (max_length, group, port, ttl))| {
            let mut daemon = SyncDaemon::new(state, interface, sync_id);
            daemon.max_length = NonZeroU16::new(max_length);
            daemon.group = group;
            daemon.port = NonZeroU16::new(port);
            daemon.ttl = NonZeroU8::new(ttl);
            daemon
        })
        .boxed()
}

fn some_timeouts() -> impl Strategy<Value = Timeouts> {
    let timeout = || prop::option::of((1..=u32::MAX).prop_map(u64::from));
    (timeout(), timeout(), timeout()).prop_map(|(tcp, tcp_fin, udp)| timeouts(tcp, tcp_fin, udp))
}

fn requests() -> BoxedStrategy<Message> {
    let changes = prop_oneof![
        3 => services().prop_map(Change::AddService),
        1 => services().prop_map(Change::ReplaceService),
        1 => keys().prop_map(Change::DeleteService),
        3 => (keys(), destinations()).prop_map(|(key, destination)| Change::AddDestination(key, destination)),
        1 => (keys(), destinations()).prop_map(|(key, destination)| Change::ReplaceDestination(key, destination)),
        1 => (keys(), addresses()).prop_map(|(key, address)| Change::DeleteDestination(key, address)),
        1 => keys().prop_map(Change::Zero),
        1 => Just(Change::ZeroAll),
        1 => prop_oneof![Just(Change::Flush), states().prop_map(Change::StopDaemon)],
    ];
    let queries = prop_oneof![
        keys().prop_map(Query::Service),
        Just(Query::Services),
        keys().prop_map(Query::Destinations),
        Just(Query::Info),
        Just(Query::Timeouts),
        Just(Query::Daemons),
    ];
    prop_oneof![3 => changes.prop_map(Message::from), 1 => queries.prop_map(Message::from)].boxed()
}

/// The bytes of an answer, and what they say.
fn answers() -> BoxedStrategy<(u8, Vec<u8>, Message)> {
    let read = |command, bytes: Vec<u8>| decode(command, &bytes).map(|message| (command, bytes, message)).unwrap();
    prop_oneof![
        (services(), any::<[u64; 10]>())
            .prop_map(move |(service, numbers)| read(NEW_SERVICE, service_answer(service, numbers))),
        (destinations(), any::<[u32; 3]>(), any::<[u64; 10]>()).prop_map(move |(destination, connections, numbers)| {
            read(NEW_DESTINATION, destination_answer(destination, connections, numbers))
        }),
        (0..1u32 << 24, any::<u32>()).prop_map(move |(version, size)| read(SET_INFO, info(version, size))),
        daemons().prop_map(move |daemon| read(NEW_DAEMON, encode(Change::StartDaemon(daemon)))),
        some_timeouts().prop_map(move |timeouts| read(SET_CONFIG, encode(Change::SetTimeouts(timeouts)))),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn whatever_is_asked_reads_back_as_it_was(message in requests()) {
        prop_assert_eq!(back(message), Ok(message), "{}", hex(&encode(message)));
    }

    #[test]
    fn whatever_is_answered_about_a_service_is_read(service in services(), numbers in any::<[u64; 10]>()) {
        let bytes = service_answer(service, numbers);
        match decode(NEW_SERVICE, &bytes) {
            Ok(Message::Answer(Answer::Service(info))) => {
                prop_assert_eq!(info.service, service, "{}", hex(&bytes));
                prop_assert_eq!(info.stats, stats(numbers), "{}", hex(&bytes));
            }
            other => prop_assert!(false, "{} is {other:?}", hex(&bytes)),
        }
    }

    #[test]
    fn whatever_is_answered_about_a_destination_is_read(
        destination in destinations(), connections in any::<[u32; 3]>(), numbers in any::<[u64; 10]>()
    ) {
        let bytes = destination_answer(destination, connections, numbers);
        match decode(NEW_DESTINATION, &bytes) {
            Ok(Message::Answer(Answer::Destination(info))) => {
                prop_assert_eq!(info.destination, destination, "{}", hex(&bytes));
                prop_assert_eq!(info.stats, stats(numbers), "{}", hex(&bytes));
                let read = [info.active_connections, info.inactive_connections, info.persistent_connections];
                prop_assert_eq!(read, connections, "{}", hex(&bytes));
            }
            other => prop_assert!(false, "{} is {other:?}", hex(&bytes)),
        }
    }

    #[test]
    fn whatever_is_answered_about_daemons_and_timeouts_is_read(daemon in daemons(), timeouts in some_timeouts()) {
        prop_assert_eq!(back(Change::StartDaemon(daemon)), Ok(Answer::Daemon(daemon).into()));
        prop_assert_eq!(back(Change::SetTimeouts(timeouts)), Ok(Answer::Timeouts(timeouts).into()));
    }

    #[test]
    fn whatever_was_answered_reads_back_as_it_was((command, _, message) in answers()) {
        prop_assert_eq!(message.command(), command);
        prop_assert_eq!(back(message), Ok(message), "{}", hex(&encode(message)));
    }

    #[test]
    fn whatever_the_bytes_they_are_read_or_refused(command in 0..20u8, bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(command, &bytes);
    }

    #[test]
    fn whatever_the_attributes_they_are_read_or_refused_and_what_is_read_is_stable(
        command in 0..20u8,
        outer in 0..4u16,
        list in vec((0..18u16, vec(any::<u8>(), 0..20)), 0..12),
    ) {
        let nest = list.iter().flat_map(|(number, payload)| attribute(*number, payload)).collect::<Vec<_>>();
        for bytes in [attribute(outer, &nest), nest] {
            if let Ok(message) = decode(command, &bytes) {
                prop_assert_eq!(back(message), Ok(message), "{}", hex(&bytes));
            }
        }
    }

    #[test]
    fn whatever_is_damaged_is_read_or_refused_and_what_is_read_is_stable(
        (command, mut bytes, _) in prop_oneof![
            answers(),
            requests().prop_map(|message| (message.command(), encode(message), message)),
        ],
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        command_then in prop_oneof![3 => Just(None), 1 => (0..20u8).prop_map(Some)],
    ) {
        for (at, value) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        if let Ok(message) = decode(command_then.unwrap_or(command), &bytes) {
            prop_assert_eq!(back(message), Ok(message), "{}", hex(&bytes));
        }
    }
}
