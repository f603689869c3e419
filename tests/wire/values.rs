//! Values that differ when their bytes are swapped, the bytes that the kernel sends for them, and what the tests of the
//! wire format use.

pub(crate) use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
pub(crate) use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
pub(crate) use std::time::Duration;

pub(crate) use lvs::ipvs::{
    Answer, Change, Destination, Forwarding, Message, Netmask, Persistence, PersistenceEngine, Query, Rates, Scheduler,
    Service, ServiceFlags, ServiceKey, Stats, SyncDaemon, SyncState, Thresholds, Timeouts, Tunnel, TunnelFlags,
};
pub(crate) use lvs::{Family, Interface, Protocol};
pub(crate) use netlink_packet_generic::GenlFamily;
pub(crate) use proptest::collection::vec;
pub(crate) use proptest::prelude::*;

pub(crate) use crate::{attribute, attributes, back, decode, encode, hex, payload, without};

pub(crate) const SERVICE: u16 = 1;
pub(crate) const DESTINATION: u16 = 2;
pub(crate) const DAEMON: u16 = 3;

pub(crate) const NEW_SERVICE: u8 = 1;
pub(crate) const NEW_DESTINATION: u8 = 5;
pub(crate) const NEW_DAEMON: u8 = 9;
pub(crate) const SET_CONFIG: u8 = 12;
pub(crate) const SET_INFO: u8 = 14;

// Values.

pub(crate) fn tcp4() -> ServiceKey {
    ServiceKey::tcp("10.1.2.3:443".parse().unwrap())
}

pub(crate) fn udp6() -> ServiceKey {
    ServiceKey::udp("[2001:db8::1:2]:5353".parse().unwrap())
}

pub(crate) fn mark(family: Family) -> ServiceKey {
    ServiceKey::FirewallMark { mark: NonZeroU32::new(0x0102_0304).unwrap(), family }
}

pub(crate) fn service(key: ServiceKey) -> Service {
    let mut service = Service::new(key, Scheduler::WRR);
    service.persistence = Some(Persistence::new(Duration::from_secs(258)).netmask(match key.family() {
        Family::Inet => Netmask::inet(Ipv4Addr::new(255, 255, 254, 1)),
        Family::Inet6 => Netmask::inet6(64).unwrap(),
    }));
    service.engine = Some(PersistenceEngine::SIP);
    service.flags = ServiceFlags::FALLBACK | ServiceFlags::ONE_PACKET;
    service
}

pub(crate) fn destination() -> Destination {
    let mut destination = Destination::new("10.1.2.4:8443".parse().unwrap()).weight(258);
    destination.thresholds =
        Some(Thresholds { upper: NonZeroU32::new(0x0102_0304).unwrap(), lower: NonZeroU32::new(0x0001_0203) });
    destination.forwarding =
        Forwarding::Tunnel(Tunnel::Gue { port: NonZeroU16::new(6080).unwrap(), flags: TunnelFlags::CHECKSUM });
    destination
}

pub(crate) fn daemon() -> SyncDaemon {
    let mut daemon = SyncDaemon::new(SyncState::Backup, Interface::new("bond0.258").unwrap(), 0xfe);
    daemon.max_length = NonZeroU16::new(1027);
    daemon.group = Some("224.0.1.82".parse().unwrap());
    daemon.port = NonZeroU16::new(8851);
    daemon.ttl = NonZeroU8::new(3);
    daemon
}

pub(crate) fn timeouts(tcp: Option<u64>, tcp_fin: Option<u64>, udp: Option<u64>) -> Timeouts {
    let [tcp, tcp_fin, udp] = [tcp, tcp_fin, udp].map(|seconds| seconds.map(Duration::from_secs));
    Timeouts { tcp, tcp_fin, udp }
}

/// Ten numbers that differ from each other in every byte order and width.
pub(crate) fn numbers() -> [u64; 10] {
    std::array::from_fn(|i| 0x0102_0304 + 0x0101_0101 * u64::try_from(i).unwrap())
}

pub(crate) fn stats(numbers: [u64; 10]) -> Stats {
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
pub(crate) fn stats64(number: u16, numbers: [u64; 10]) -> Vec<u8> {
    let counters = (1..).zip(numbers).flat_map(|(kind, value)| attribute(kind, &value.to_ne_bytes()));
    attribute(number, &counters.collect::<Vec<_>>())
}

/// The one in 32 bits, of which the bytes have 64.
pub(crate) fn stats32(number: u16, numbers: [u64; 10]) -> Vec<u8> {
    let counters = (1..).zip(numbers).flat_map(|(kind, value)| match kind {
        4 | 5 => attribute(kind, &value.to_ne_bytes()),
        _ => attribute(kind, &u32::try_from(value).unwrap().to_ne_bytes()),
    });
    attribute(number, &counters.collect::<Vec<_>>())
}

/// Returns the service's nest of a message.
pub(crate) fn service_nest(message: impl Into<Message>) -> Vec<u8> {
    payload(&encode(message), SERVICE).to_vec()
}

/// Returns the destination's nest of a message.
pub(crate) fn destination_nest(message: impl Into<Message>) -> Vec<u8> {
    payload(&encode(message), DESTINATION).to_vec()
}

pub(crate) fn add(destination: Destination) -> Change {
    Change::AddDestination(tcp4(), destination)
}

/// The kernel's answer about a service.
pub(crate) fn service_answer(service: Service, numbers: [u64; 10]) -> Vec<u8> {
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
pub(crate) fn destination_answer(destination: Destination, connections: [u32; 3], numbers: [u64; 10]) -> Vec<u8> {
    let nest = destination_nest(add(destination));
    let counters = (7..).zip(connections).flat_map(|(kind, value)| attribute(kind, &value.to_ne_bytes()));
    let stats = [stats32(10, numbers.map(|number| number & 0xffff)), stats64(12, numbers)].concat();
    attribute(DESTINATION, &nest.into_iter().chain(counters).chain(stats).collect::<Vec<_>>())
}

/// One message of each kind with everything in it: its command, its attributes, its value.
pub(crate) fn every_kind() -> Vec<(u8, Vec<u8>, Message)> {
    let mut changes = vec![
        Change::SetDestination(mark(Family::Inet6), destination()),
        Change::DeleteDestination(udp6(), "[2001:db8::3]:53".parse().unwrap()),
        Change::AddDestination(udp6(), Destination::new("[2001:db8::4]:8443".parse().unwrap())),
        add(destination()),
        Change::ZeroAll,
        Change::Clear,
        Change::StopDaemon(SyncState::Master),
        Change::StopDaemon(SyncState::Backup),
    ];
    let mut queries = vec![Query::Services, Query::Version, Query::Timeouts, Query::Daemons];
    for key in [tcp4(), udp6(), mark(Family::Inet), mark(Family::Inet6)] {
        changes.extend([
            Change::AddService(service(key)),
            Change::AddService(Service::new(key, Scheduler::SH)),
            Change::SetService(service(key)),
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

pub(crate) fn has_no_nests(command: u8) -> bool {
    matches!(command, SET_INFO | SET_CONFIG)
}

pub(crate) fn info(version: u32, size: u32) -> Vec<u8> {
    [attribute(1, &version.to_ne_bytes()), attribute(2, &size.to_ne_bytes())].concat()
}

#[track_caller]
pub(crate) fn assert_list(list: &[u8], expected: &[(u16, &[u8])]) {
    let expected = expected.iter().flat_map(|(number, payload)| attribute(*number, payload)).collect::<Vec<_>>();
    assert_eq!(hex(list), hex(&expected));
}
