//! Files of `/proc/net`: captures of each kernel, round trips, damage.

use std::collections::HashSet;
use std::io::{self, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs::ipvs::{
    Connection, ConnectionState, Connections, CpuCounters, CpuStats, EngineData, ForwardingName, Origin, Overview,
    OverviewAddress, PersistenceEngine, Scheduler, ServiceKey, ServiceOverview, Status,
};
use lvs::{Cause, DecodeError, Error, Family, Protocol};
use proptest::collection::vec;
use proptest::prelude::*;

macro_rules! captures {
    ($file:literal: $($kernel:literal)+) => {
        [$(($kernel, include_bytes!(concat!("../data/", $file, "-", $kernel, ".proc")).as_slice())),+]
    };
}

fn read(text: &[u8]) -> Vec<Connection> {
    Connections::from_reader(text).collect::<Result<_, _>>().unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A connection's client without its port, the other addresses, the state, whether it is a template.
fn essence(connection: &Connection) -> (Protocol, String, String, String, ConnectionState, bool) {
    let Connection { protocol, client, virtual_address, destination, state, .. } = connection;
    let (client, virtual_address) = (client.ip().to_string(), virtual_address.to_string());
    (*protocol, client, virtual_address, destination.to_string(), *state, connection.is_template())
}

#[test]
fn connections_of_each_kernel_are_read() {
    use ConnectionState as State;
    let is = |protocol, client: &str, virtual_address: &str, destination: &str, state, template| {
        (protocol, client.to_owned(), virtual_address.to_owned(), destination.to_owned(), state, template)
    };
    let (tcp, udp, sctp, mark) = (Protocol::TCP, Protocol::UDP, Protocol::SCTP, Protocol(0));
    let expected = HashSet::from([
        is(tcp, "10.0.0.1", "10.0.0.1:80", "10.9.1.1:8080", State::ESTABLISHED, false),
        is(tcp, "10.0.0.2", "10.0.0.2:80", "10.9.1.2:8080", State::ESTABLISHED, false),
        is(tcp, "10.0.0.2", "10.0.0.2:80", "10.9.1.2:8080", State::ASSURED, true),
        is(tcp, "10.0.0.2", "10.0.0.2:8080", "10.9.1.2:8080", State::ESTABLISHED, false),
        is(tcp, "10.0.0.2", "10.0.0.2:0", "10.9.1.2:0", State::ASSURED, true),
        is(udp, "10.0.0.1", "10.0.0.1:53", "10.9.1.1:53", State::UDP, false),
        is(udp, "10.0.0.1", "10.0.0.1:5060", "10.9.1.1:5060", State::UDP, false),
        is(udp, "10.0.0.1", "10.0.0.1:5060", "10.9.1.1:5060", State::ASSURED, true),
        is(sctp, "10.0.0.1", "10.0.0.1:3868", "10.9.1.1:3868", State::ESTABLISHED, false),
        is(tcp, "2001:db8::80", "[2001:db8::80]:80", "[fd00::2]:80", State::ESTABLISHED, false),
        is(tcp, "2001:db8::80", "[2001:db8::80]:8080", "[fd00::2]:8080", State::CLOSE, false),
        // A client network of 64 bits.
        is(tcp, "2001:db8::", "[2001:db8::80]:0", "[fd00::2]:0", State::NONE, true),
        // IPv4 through an IPv6 tunnel.
        is(tcp, "10.0.0.1", "10.0.0.1:81", "[fd00::99]:81", State::SYN_RECV, false),
        is(mark, "10.0.0.3", "0.0.0.7:0", "10.9.1.1:0", State::NONE, true),
        is(tcp, "10.0.0.3", "10.0.0.3:90", "10.9.1.1:90", State::CLOSE, false),
        is(tcp, "10.0.0.3", "10.0.0.3:91", "10.9.1.1:8080", State::ESTABLISHED, false),
        is(mark, "fd00::3", "[ee6b:2800::]:0", "[fd00::3]:0", State::NONE, true),
        is(tcp, "fd00::3", "[fd00::3]:90", "[fd00::3]:90", State::CLOSE, false),
    ]);
    for (kernel, text) in captures!("ip_vs_conn": "6.1" "6.12" "7.3") {
        let connections = read(text);
        // Two calls, of the same client.
        assert_eq!(connections.len(), expected.len() + 2, "{kernel}");
        assert_eq!(connections.iter().map(essence).collect::<HashSet<_>>(), expected, "{kernel}");
        let calls: HashSet<_> = connections
            .iter()
            .filter_map(|connection| connection.engine.clone())
            .map(|engine| {
                assert_eq!(engine.engine, PersistenceEngine::SIP);
                engine.data
            })
            .collect();
        // No UTF-8: Latin-1, as a client may send it.
        assert_eq!(
            calls,
            HashSet::from([b"a84b4c76e66710@pc33.example.com".to_vec(), b"caf\xe9".to_vec()]),
            "{kernel}"
        );
        assert!(connections.iter().all(|connection| connection.origin.is_none()), "{kernel}");
        let web = connections.iter().find(|connection| connection.virtual_address == address("10.0.0.1:80")).unwrap();
        assert!((Duration::from_secs(800)..=Duration::from_secs(900)).contains(&web.expires), "{kernel}");
        assert_ne!(web.client.port(), 0, "{kernel}");
    }
}

#[test]
fn the_other_file_has_the_same_and_the_origin_but_no_engines() {
    let both =
        captures!("ip_vs_conn": "6.1" "6.12" "7.3").into_iter().zip(captures!("ip_vs_conn_sync": "6.1" "6.12" "7.3"));
    for ((kernel, plain), (_, with_origin)) in both {
        let mut plain = read(plain);
        for connection in &mut plain {
            connection.engine = None;
            connection.origin = Some(Origin::Local);
        }
        assert_eq!(read(with_origin), plain, "{kernel}");
    }
    let line = "TCP 0A000001 9FFC 0A000001 0050 0A090101 1F90 ESTABLISHED SYNC       893";
    assert_eq!(read(line.as_bytes())[0].origin, Some(Origin::Sync));
}

#[test]
fn a_service_has_its_connections_and_templates() {
    let clients = |service: ServiceKey| -> Vec<usize> {
        let counts = captures!("ip_vs_conn": "6.1" "6.12" "7.3").map(|(_, text)| {
            let connections: Result<Vec<_>, _> = Connections::from_reader(text).of_service(service).collect();
            connections.unwrap().len()
        });
        counts.to_vec()
    };
    assert_eq!(clients(ServiceKey::tcp(address("10.0.0.1:80"))), [1; 3]);
    assert_eq!(clients(ServiceKey::udp(address("10.0.0.1:80"))), [0; 3]);
    assert_eq!(clients(ServiceKey::udp(address("10.0.0.1:5060"))), [4; 3]);
    assert_eq!(clients(ServiceKey::sctp(address("10.0.0.1:3868"))), [1; 3]);
    // Each has a template; port 0 takes all of them.
    assert_eq!(clients(ServiceKey::tcp(address("10.0.0.2:80"))), [2; 3]);
    assert_eq!(clients(ServiceKey::tcp(address("10.0.0.2:0"))), [4; 3]);
    assert_eq!(clients(ServiceKey::tcp(address("[2001:db8::80]:0"))), [3; 3]);
    let mark = |mark: u32, family| ServiceKey::FirewallMark { mark: mark.try_into().unwrap(), family };
    assert_eq!(clients(mark(7, Family::Inet)), [1; 3]);
    assert_eq!(clients(mark(7, Family::Inet6)), [0; 3]);
    assert_eq!(clients(mark(4_000_000_000, Family::Inet6)), [1; 3]);
    // Not persistent: no templates, and its connections do not tell.
    assert_eq!(clients(mark(9, Family::Inet)), [0; 3]);
}

#[test]
fn a_connection_that_is_expected_is_no_template() {
    let line = "TCP 0A000001 0000 0A000002 0014 0A090101 0014 LISTEN          119";
    assert!(!read(line.as_bytes())[0].is_template());
}

#[test]
fn a_timer_that_has_passed_leaves_no_time() {
    let expires = |seconds: &str| {
        let line = format!("TCP 0A000001 9FFC 0A000001 0050 0A090101 1F90 CLOSE       {seconds:>7}\n");
        read(line.as_bytes())[0].expires
    };
    assert_eq!(expires("0"), Duration::ZERO);
    assert_eq!(expires("4294967"), Duration::from_secs(4_294_967));
    // As kernels wrote it that did not look at the sign, in 32 and in 64 bits.
    assert_eq!(expires("42949672"), Duration::ZERO);
    assert_eq!(expires("73786976294838206"), Duration::ZERO);
}

/// Returns the number and the fault of the line in an error.
fn damage(error: &Error) -> (u64, &'static str) {
    match error.cause() {
        Cause::Decode(DecodeError::Line { file: "ip_vs_conn", number, what, .. }) => (*number, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_line_is_an_error_and_the_next_is_read() {
    let good = "TCP 0A000001 9FFC 0A000001 0050 0A090101 1F90 ESTABLISHED     893";
    for (from, to, what) in [
        ("TCP", "tcp", "protocol"),
        ("TCP", "IP_65536", "protocol"),
        ("0A000001 9FFC", "0A00000 9FFC", "client"),
        ("9FFC", "19FFC", "client"),
        ("9FFC", "+FFC", "client"),
        ("0050", "", "virtual address"),
        ("0A090101", "fd00:::1", "destination"),
        ("ESTABLISHED", "AVERYLONGSTATENAME", "state"),
        ("893", "", "expiry"),
        ("893", "-1", "expiry"),
        ("893", "893 anengineofmorethan16", "persistence engine"),
        (good, "", "protocol"),
    ] {
        let text = format!("Pro FromIP   FPrt\n{}\n{good}\n", good.replacen(from, to, 1));
        let mut connections = Connections::from_reader(text.as_bytes());
        assert_eq!(damage(&connections.next().unwrap().unwrap_err()), (2, what), "{from} {to}");
        assert!(connections.next().unwrap().is_ok(), "{from} {to}");
        assert!(connections.next().is_none());
    }
}

#[test]
fn an_unreadable_file_ends_the_connections() {
    let mut endless = Connections::from_reader(BufReader::new(io::repeat(b'7')));
    assert_eq!(damage(&endless.next().unwrap().unwrap_err()), (1, "length"));
    assert!(endless.next().is_none());
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let mut broken = Connections::from_reader(BufReader::new(Broken));
    assert_eq!(broken.next().unwrap().unwrap_err().errno(), Some(5));
    assert!(broken.next().is_none());
}

#[test]
fn counters_of_each_kernel_are_read() {
    for (kernel, text) in captures!("ip_vs_stats_percpu": "6.1" "6.12" "7.3") {
        let stats = CpuStats::from_reader(text).unwrap();
        let mut cpu = CpuCounters::default();
        (cpu.connections, cpu.packets_in, cpu.packets_out, cpu.bytes_in, cpu.bytes_out) = (14, 31, 24, 2555, 2132);
        assert_eq!(stats.cpus, [cpu], "{kernel}");
        assert_eq!((stats.total.connections, stats.total.bytes_out), (14, 2132), "{kernel}");
        let rates = stats.total.rates;
        let rates = [rates.connections, rates.packets_in, rates.packets_out, rates.bytes_in, rates.bytes_out];
        let expected = if kernel == "6.1" { [1, 1, 1, 0x7d, 0x6e] } else { [1, 2, 1, 0x8d, 0x7c] };
        assert_eq!(rates, expected, "{kernel}");
    }
}

/// The formats of the kernel: each number is as wide as this, or wider.
fn cpu_stats_text(stats: &CpuStats) -> String {
    let mut text = "       Total Incoming Outgoing         Incoming         Outgoing\n\
                    CPU    Conns  Packets  Packets            Bytes            Bytes\n"
        .to_owned();
    for CpuCounters { cpu, connections, packets_in, packets_out, bytes_in, bytes_out, .. } in &stats.cpus {
        text += &format!("{cpu:3X} {connections:8X} {packets_in:8X} {packets_out:8X} {bytes_in:16X} {bytes_out:16X}\n");
    }
    let (total, rates) = (stats.total, stats.total.rates);
    text += &format!(
        "  ~ {:8X} {:8X} {:8X} {:16X} {:16X}\n\n     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n",
        total.connections, total.packets_in, total.packets_out, total.bytes_in, total.bytes_out
    );
    text += &format!(
        "    {:8X} {:8X} {:8X} {:16X} {:16X}\n",
        rates.connections, rates.packets_in, rates.packets_out, rates.bytes_in, rates.bytes_out
    );
    text
}

#[test]
fn cut_counters_are_an_error() {
    let [(_, text), ..] = captures!("ip_vs_stats_percpu": "6.1" "6.12" "7.3");
    let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    for length in 0..lines.len() {
        let error = CpuStats::from_reader(lines[..length].concat().as_slice()).unwrap_err();
        assert!(
            matches!(error.cause(), Cause::Decode(DecodeError::Line { file: "ip_vs_stats_percpu", .. })),
            "{error}"
        );
    }
}

#[test]
fn the_status_is_read() {
    let [(_, text)] = captures!("ip_vs_status": "7.3");
    let status = Status::from_reader(text).unwrap();
    assert_eq!((status.connections, status.services), (20, 12));
    let (connections, services) = (status.connection_table, status.service_table);
    assert_eq!((connections.buckets, connections.bits, connections.load_factor), (512, 9, -4));
    assert_eq!(connections.lengths, [481, 30, 1, 0, 0, 0, 0, 0]);
    assert_eq!((services.buckets, services.bits, services.load_factor), (128, 7, -3));
    assert_eq!(services.lengths, [118, 8, 2, 0, 0, 0, 0, 0]);
    assert_eq!((status.estimator_threads, status.estimator_threads_max), (1, 4));
    assert_eq!((status.estimator_chain_max, status.estimators_per_thread), (209, 501_600));
}

#[test]
fn a_status_of_nothing_and_one_with_unknown_lines_are_read() {
    // Before the first service.
    let text = "Conns:\t0\nConn buckets:\t0 (0 bits, lfactor 0)\nServices:\t0\nService buckets:\t0 (0 bits, lfactor 0)\n\
                Stats thread slots:\t1 (max 0)\nStats chain max len:\t0\nStats thread ests:\t0\n";
    let mut nothing = Status::default();
    nothing.estimator_threads = 1;
    assert_eq!(Status::from_reader(text.as_bytes()).unwrap(), nothing);
    let more = format!("New:\tsomething else\n{text}Conn buckets len-7:\t3 (100%)\n");
    nothing.connection_table.lengths[7] = 3;
    assert_eq!(Status::from_reader(more.as_bytes()).unwrap(), nothing);
    let error = Status::from_reader(text.replace("Services", "Dienste").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "read the status: the kernel's reply could not be decoded: Services is missing");
    assert!(Status::from_reader("Conns\n".as_bytes()).is_err());
}

fn overview(text: &[u8]) -> Vec<ServiceOverview> {
    Overview::from_reader(text).collect::<Result<_, _>>().unwrap()
}

/// A service's scheduler, whether it is of one packet, whether it is persistent; and its destinations' addresses and ways.
type Glance = (Scheduler, bool, bool, Vec<(SocketAddr, ForwardingName, u32)>);

fn glance(service: &ServiceOverview) -> Glance {
    let destinations = service.destinations.iter().map(|to| (to.address, to.forwarding, to.weight)).collect();
    (service.scheduler, service.one_packet, service.persistent, destinations)
}

#[test]
fn overviews_of_each_kernel_are_read() {
    let to = |text: &str, forwarding, weight| (address(text), forwarding, weight);
    let mark = |mark: u32, family| ServiceKey::FirewallMark { mark: mark.try_into().unwrap(), family };
    let [tcp, udp, sctp] =
        [ServiceKey::tcp, ServiceKey::udp, ServiceKey::sctp].map(|key| move |text| key(address(text)));
    let all_ways = vec![
        to("127.0.0.1:80", ForwardingName::DirectRoute, 1),
        to("10.1.0.3:80", ForwardingName::DirectRoute, 65535),
        to("10.1.0.2:80", ForwardingName::Tunnel, 0),
        to("10.1.0.1:8080", ForwardingName::Masquerade, 3),
    ];
    let expected = [
        (tcp("10.0.0.1:80"), (Scheduler::WRR, false, false, all_ways)),
        (tcp("10.0.0.2:443"), (Scheduler::RR, false, true, vec![])),
        (tcp("10.0.0.3:0"), (Scheduler::SH, false, true, vec![])),
        (udp("10.0.0.4:53"), (Scheduler::MH, true, false, vec![])),
        (sctp("10.0.0.5:5"), (Scheduler::NONE, false, false, vec![])),
        (udp("10.0.0.6:5060"), (Scheduler::RR, false, true, vec![])),
        (mark(7, Family::Inet), (Scheduler::SH, false, false, vec![to("10.1.0.9:0", ForwardingName::DirectRoute, 1)])),
        (
            mark(8, Family::Inet6),
            (Scheduler::RR, false, true, vec![to("[2001:db8::5]:0", ForwardingName::DirectRoute, 1)]),
        ),
        (
            udp("[2001:db8::1]:53"),
            (Scheduler::FO, false, false, vec![to("[2001:db8::2]:53", ForwardingName::Masquerade, 1)]),
        ),
        (tcp("[2001:db8::1]:80"), (Scheduler::LC, false, true, vec![to("10.1.0.7:80", ForwardingName::Tunnel, 1)])),
    ];
    for (kernel, text) in captures!("ip_vs": "6.1" "6.12" "7.3") {
        let services = overview(text);
        assert_eq!(services.len(), expected.len(), "{kernel}");
        for (key, expected) in &expected {
            let found = services.iter().find(|service| service.address.is_of(*key)).unwrap();
            assert_eq!(glance(found), *expected, "{kernel} {key}");
        }
    }
}

#[test]
fn a_damaged_line_of_an_overview_is_an_error_and_the_next_service_is_read() {
    let service = "TCP  0A000001:0050 wrr persistent 90000 FFFFFFFF";
    let good = "  -> 0A010001:1F90      Masq    3      12         4294967295";
    for (from, to, line, what) in [
        ("TCP", "tcp", 2, "protocol"),
        ("TCP  0A000001:0050", "FWM  00000000", 2, "service"),
        ("0A000001:0050", "0A000001 0050", 2, "service"),
        ("0A000001:0050", "[2001:db8::1:0050", 2, "service"),
        ("wrr persistent 90000 FFFFFFFF", "", 2, "scheduler"),
        ("0A010001:1F90", "0A010001", 3, "destination"),
        ("Masq", "Mask", 3, "forwarding method"),
        (" 3 ", " x ", 3, "weight"),
        ("12 ", "1O ", 3, "active connections"),
        ("4294967295", "", 3, "inactive connections"),
    ] {
        let damaged = format!("{service}\n{good}\n").replacen(from, to, 1);
        let text = format!("Prot LocalAddress:Port Scheduler Flags\n{damaged}{good}\n{service}\n{good}\n");
        let mut services = Overview::from_reader(text.as_bytes());
        let error = services.next().unwrap().unwrap_err();
        let Cause::Decode(DecodeError::Line { file: "ip_vs", number, what: wrong, .. }) = error.cause() else {
            panic!("{error:?}");
        };
        assert_eq!((*number, *wrong), (line, what), "{from} {to}");
        let next = services.next().unwrap().unwrap();
        assert_eq!(
            (next.destinations[0].active_connections, next.destinations[0].inactive_connections),
            (12, u32::MAX)
        );
        assert!(services.next().is_none());
    }
    let without_a_service = format!("{good}\n{good}\n{service}\n");
    let read: Vec<_> = Overview::from_reader(without_a_service.as_bytes()).map(|service| service.is_ok()).collect();
    assert_eq!(read, [false, true]);
}

#[test]
fn fewer_than_no_connections_are_none() {
    let text = "FWM  0000000A rr\n  -> 0A010001:0000      Local   1      -1         7\n";
    let [service] = overview(text.as_bytes()).try_into().unwrap();
    assert_eq!(service.address, OverviewAddress::FirewallMark(10.try_into().unwrap()));
    let [destination] = service.destinations.try_into().unwrap();
    assert_eq!((destination.active_connections, destination.inactive_connections), (0, 7));
}

/// A connection as the kernel prints it.
fn line(connection: &Connection) -> Vec<u8> {
    let protocol = match connection.protocol {
        Protocol(0) => "IP".to_owned(),
        Protocol(1) => "ICMP".to_owned(),
        Protocol(6) => "TCP".to_owned(),
        Protocol(17) => "UDP".to_owned(),
        Protocol(58) => "ICMPv6".to_owned(),
        Protocol(132) => "SCTP".to_owned(),
        Protocol(other) => format!("IP_{other}"),
    };
    let endpoint = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => format!("{:08X} {:04X}", v4.to_bits(), address.port()),
        IpAddr::V6(v6) => {
            let groups = v6.segments().map(|group| format!("{group:04x}"));
            format!("{} {:04X}", groups.join(":"), address.port())
        }
    };
    let (client, virtual_address) = (endpoint(connection.client), endpoint(connection.virtual_address));
    let (destination, state) = (endpoint(connection.destination), connection.state);
    let mut line = format!("{protocol:<3} {client} {virtual_address} {destination} {state:<11}").into_bytes();
    match connection.origin {
        None => {}
        Some(Origin::Local) => line.extend(b" LOCAL "),
        Some(Origin::Sync) => line.extend(b" SYNC  "),
    }
    line.extend(format!(" {:7}", connection.expires.as_secs()).bytes());
    if let Some(EngineData { engine, data, .. }) = &connection.engine {
        line.extend(format!(" {engine} ").bytes());
        line.extend(data);
    }
    line.push(b'\n');
    line
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

prop_compose! {
    fn connections()(
        protocol in prop_oneof![Just(0), Just(1), Just(6), Just(17), Just(58), Just(132), any::<u16>()],
        (client, virtual_address, destination) in (addresses(), addresses(), addresses()),
        state in "[A-Z!?-]{1,15}",
        seconds in 0..=4_294_967_u64,
        // Whatever a client may say, but what would be the end of the line.
        engine in proptest::option::of(("[a-z]{1,16}", vec(any::<u8>().prop_filter("line", |byte| *byte != b'\n'), 0..=255))),
        origin in proptest::option::of(prop_oneof![Just(Origin::Local), Just(Origin::Sync)]),
    ) -> Connection {
        let mut connection = Connection::new(Protocol(protocol), client, virtual_address, destination);
        connection.state = ConnectionState::new(&state).unwrap();
        connection.expires = Duration::from_secs(seconds);
        connection.engine = engine.filter(|_| origin.is_none()).map(|(name, data)| {
            EngineData::new(PersistenceEngine::new(&name).unwrap(), data)
        });
        connection.origin = origin;
        connection
    }
}

prop_compose! {
    fn cpu_stats()(
        cpus in vec((any::<u32>(), any::<[u64; 5]>()), 0..5),
        total in any::<[u64; 10]>(),
    ) -> CpuStats {
        let mut stats = CpuStats::default();
        for (number, counters) in cpus {
            let mut cpu = CpuCounters::default();
            cpu.cpu = number;
            [cpu.connections, cpu.packets_in, cpu.packets_out, cpu.bytes_in, cpu.bytes_out] = counters;
            stats.cpus.push(cpu);
        }
        let rates = &mut stats.total.rates;
        let [connections, packets_in, packets_out, bytes_in, bytes_out, ..] = total;
        [.., rates.connections, rates.packets_in, rates.packets_out, rates.bytes_in, rates.bytes_out] = total;
        (stats.total.connections, stats.total.packets_in, stats.total.packets_out) = (connections, packets_in, packets_out);
        (stats.total.bytes_in, stats.total.bytes_out) = (bytes_in, bytes_out);
        stats
    }
}

proptest! {
    #[test]
    fn every_connection_is_read_as_it_was(all in vec(connections(), 0..4)) {
        let text: Vec<u8> = all.iter().flat_map(line).collect();
        prop_assert_eq!(read(&text), all);
    }

    #[test]
    fn all_counters_are_read_as_they_were(stats in cpu_stats()) {
        prop_assert_eq!(CpuStats::from_reader(cpu_stats_text(&stats).as_bytes()).unwrap(), stats);
    }

    #[test]
    fn no_text_is_too_much(text in vec(any::<u8>(), 0..300)) {
        // Each line gives one connection or one error.
        prop_assert!(Connections::from_reader(text.as_slice()).count() <= text.len());
        prop_assert!(Overview::from_reader(text.as_slice()).count() <= text.len());
        let _ = CpuStats::from_reader(text.as_slice());
        let _ = Status::from_reader(text.as_slice());
    }

    #[test]
    fn damaged_text_is_read_or_refused(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        for (_, text) in captures!("ip_vs_conn": "6.1" "7.3") {
            let mut text = text.to_vec();
            let at = at.index(text.len());
            text[at] = byte;
            let errors = Connections::from_reader(text.as_slice()).filter(Result::is_err).count();
            // At most the line that was split in two.
            prop_assert!(errors <= 2);
        }
        for (_, text) in captures!("ip_vs": "6.1" "7.3") {
            let mut text = text.to_vec();
            let at = at.index(text.len());
            text[at] = byte;
            let errors = Overview::from_reader(text.as_slice()).filter(Result::is_err).count();
            prop_assert!(errors <= 2);
        }
        let [(_, cpus), ..] = captures!("ip_vs_stats_percpu": "7.3");
        let [(_, status), ..] = captures!("ip_vs_status": "7.3");
        for text in [cpus, status] {
            let mut text = text.to_vec();
            let at = at.index(text.len());
            text[at] = byte;
            let _ = CpuStats::from_reader(text.as_slice());
            let _ = Status::from_reader(text.as_slice());
        }
    }
}
