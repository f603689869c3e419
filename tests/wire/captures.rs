//! Captured requests of `ipvsadm` and answers of kernels. Another file beside each describes how it was captured.
//!
//! The machines were little-endian.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::path::Path;
use std::time::Duration;

use lvs::exchange::{Exchange, Limits, Step};
use lvs::ipvs::{
    Answer, Change, Destination, DestinationInfo, Forwarding, Message, Netmask, Persistence, PersistenceEngine, Query,
    Scheduler, Service, ServiceFlags, ServiceInfo, ServiceKey, Stats, SyncDaemon, SyncState, Thresholds, Timeouts,
    Tunnel, TunnelFlags,
};
use lvs::{Family, Interface};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::{GenlFamily, GenlMessage};

use crate::{attributes, decode, encode, hex, payload};

const KERNELS: [&str; 3] = ["6.1", "6.12", "7.3"];

/// The datagrams of a capture.
fn capture(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{name}.hex"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let bytes = |text: &str| text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    text.split("\n\n").map(bytes).collect()
}

/// The messages of a datagram.
fn messages(mut datagram: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let length = usize::try_from(u32::from_ne_bytes(datagram[..4].try_into().unwrap())).unwrap();
        messages.push(&datagram[..length]);
        datagram = &datagram[length.next_multiple_of(4)..];
    }
    messages
}

/// Whether a message is the end of a dump. The kernel sends it in a datagram of its own.
fn is_done(message: &[u8]) -> bool {
    message[4..6] == 3u16.to_ne_bytes()
}

/// The answers in these datagrams.
fn answers(datagrams: &[Vec<u8>]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for message in datagrams.iter().flat_map(|datagram| messages(datagram)) {
        let read = NetlinkMessage::<GenlMessage<Message>>::deserialize(message);
        match read.unwrap_or_else(|error| panic!("{}: {error}", hex(message))).payload {
            NetlinkPayload::InnerMessage(inner) => match inner.payload {
                Message::Answer(answer) => answers.push(answer),
                other => panic!("{} is {other:?}", hex(message)),
            },
            NetlinkPayload::Done(_) => {}
            other => panic!("{} is {other:?}", hex(message)),
        }
    }
    answers
}

// Typed command lines.

fn tcp() -> ServiceKey {
    ServiceKey::tcp("10.8.0.1:443".parse().unwrap())
}

fn hashed() -> ServiceKey {
    ServiceKey::tcp("10.8.0.1:8443".parse().unwrap())
}

fn mark(family: Family) -> ServiceKey {
    ServiceKey::FirewallMark { mark: NonZeroU32::new(16_909_060).unwrap(), family }
}

fn destination(address: &str, forwarding: Forwarding, weight: u32) -> Destination {
    Destination::new(address.parse().unwrap()).forwarding(forwarding).weight(weight)
}

fn gue(port: u16, flags: TunnelFlags) -> Forwarding {
    Forwarding::Tunnel(Tunnel::Gue { port: NonZeroU16::new(port).unwrap(), flags })
}

fn thresholds(upper: u32, lower: u32) -> Option<Thresholds> {
    Some(Thresholds { upper: NonZeroU32::new(upper).unwrap(), lower: NonZeroU32::new(lower) })
}

/// The services as they stand in the captured tables, in the order that `ipvsadm` prints.
fn services() -> [Service; 7] {
    let persistent = |mut service: Service, netmask| {
        service.persistence = Some(Persistence::new(Duration::from_secs(258)).netmask(netmask));
        service
    };
    let wide = Netmask::inet(Ipv4Addr::new(255, 255, 254, 0));
    let mut maglev = Service::new(hashed(), Scheduler::MH);
    maglev.flags = ServiceFlags::PORT;
    let mut sip = persistent(Service::udp("10.8.0.1:5060".parse().unwrap(), Scheduler::RR), Netmask::HOST);
    sip.engine = Some(PersistenceEngine::SIP);
    let mut one_packet = Service::udp("10.8.0.1:5353".parse().unwrap(), Scheduler::RR);
    one_packet.flags = ServiceFlags::ONE_PACKET;
    let sctp = Service::sctp("[2001:db8:8::1]:3868".parse().unwrap(), Scheduler::LC);
    [
        persistent(Service::new(tcp(), Scheduler::WRR), wide),
        maglev,
        sip,
        one_packet,
        persistent(sctp, Netmask::inet6(64).unwrap()),
        Service::new(mark(Family::Inet), Scheduler::WLC),
        Service::new(mark(Family::Inet6), Scheduler::WLC),
    ]
}

/// The destinations of [`tcp`], in the order that they were added.
fn destinations() -> [Destination; 6] {
    let mut masquerade = destination("10.0.0.11:8443", Forwarding::Masquerade, 258);
    masquerade.thresholds = thresholds(16_909_060, 66_051);
    let gre = Tunnel::Gre { flags: TunnelFlags::CHECKSUM };
    [
        masquerade,
        destination("10.0.0.12:443", gue(6080, TunnelFlags::CHECKSUM), 258),
        destination("10.0.0.13:443", Forwarding::Tunnel(gre), 259),
        destination("10.0.0.14:443", Forwarding::Tunnel(Tunnel::Ipip), 260),
        destination("10.0.0.15:443", Forwarding::DirectRoute, 261),
        destination("[2001:db8::16]:443", gue(6081, TunnelFlags::REMOTE_CHECKSUM), 262),
    ]
}

/// The one that was added with weight 261, after `edit-destination`.
fn edited() -> Destination {
    let mut edited = destination("10.0.0.15:443", Forwarding::DirectRoute, 516);
    edited.thresholds = thresholds(1027, 515);
    edited
}

/// The daemons that were started: a master, a backup, and one with nothing but an interface.
fn daemons() -> [SyncDaemon; 3] {
    let interface = Interface::new("sync0").unwrap();
    let mut master = SyncDaemon::new(SyncState::Master, interface, 254);
    master.max_length = NonZeroU16::new(1027);
    master.group = Some("224.0.1.82".parse().unwrap());
    master.port = NonZeroU16::new(8851);
    master.ttl = NonZeroU8::new(3);
    let mut backup = SyncDaemon::new(SyncState::Backup, interface, 7);
    backup.max_length = NonZeroU16::new(1028);
    backup.group = Some("ff02::1:52".parse().unwrap());
    backup.port = NonZeroU16::new(8852);
    [master, backup, SyncDaemon::new(SyncState::Backup, interface, 0)]
}

fn timeouts() -> Timeouts {
    let [tcp, tcp_fin, udp] = [66_051, 66_052, 66_053].map(|seconds| Some(Duration::from_secs(seconds)));
    Timeouts { tcp, tcp_fin, udp }
}

/// Captures of `ipvsadm` in which each attribute means something.
fn full_requests() -> Vec<(&'static str, Message)> {
    let [wide, maglev, sip, one_packet, sctp, mark4, mark6] = services();
    let mut source = Service::new(hashed(), Scheduler::SH);
    source.flags = ServiceFlags::FALLBACK | ServiceFlags::PORT;
    vec![
        ("add-service-tcp", Change::AddService(wide).into()),
        ("add-service-udp", Change::AddService(one_packet).into()),
        ("add-service-sctp6", Change::AddService(sctp).into()),
        ("add-service-fwmark4", Change::AddService(mark4).into()),
        ("add-service-fwmark6", Change::AddService(mark6).into()),
        ("add-service-sh", Change::AddService(source).into()),
        ("add-service-sip", Change::AddService(sip).into()),
        ("edit-service", Change::SetService(maglev).into()),
        ("get-destinations", Query::Destinations(tcp()).into()),
        ("get-services", Query::Services.into()),
        ("get-info", Query::Version.into()),
        ("get-timeouts", Query::Timeouts.into()),
        ("get-daemons", Query::Daemons.into()),
        ("zero-all", Change::ZeroAll.into()),
        ("flush", Change::Clear.into()),
    ]
}

/// Captures of `ipvsadm` in which a service is only named, and yet all of its attributes are sent.
fn padded_requests() -> Vec<(&'static str, Message)> {
    let [masquerade, gue, gre, ipip, direct, gue6] = destinations();
    let add = |destination| Change::AddDestination(tcp(), destination).into();
    let six = destination("[2001:db8::11]:8080", Forwarding::Masquerade, 258);
    vec![
        ("add-destination-masquerade", add(masquerade)),
        ("add-destination-gue", add(gue)),
        ("add-destination-gre", add(gre)),
        ("add-destination-ipip", add(ipip)),
        ("add-destination-direct", add(direct)),
        ("add-destination-gue6", add(gue6)),
        ("add-destination-6", Change::AddDestination(mark(Family::Inet6), six).into()),
        ("edit-destination", Change::SetDestination(tcp(), edited()).into()),
        ("delete-destination", Change::DeleteDestination(tcp(), gue6.address).into()),
        ("delete-service", Change::DeleteService(hashed()).into()),
        ("delete-service-fwmark6", Change::DeleteService(mark(Family::Inet6)).into()),
        ("zero", Change::Zero(tcp()).into()),
        ("get-service", Query::Service(tcp()).into()),
    ]
}

/// The command, the flags and the attributes of a captured request.
fn request(name: &str) -> (u8, u16, Vec<u8>) {
    let datagrams = capture(&format!("ipvsadm-{name}"));
    let [datagram] = &datagrams[..] else {
        panic!("{name} has {} datagrams", datagrams.len());
    };
    assert_eq!(messages(datagram), [&datagram[..]], "{name}");
    (datagram[16], u16::from_ne_bytes([datagram[6], datagram[7]]), datagram[20..].to_vec())
}

/// The attributes of a list by their numbers.
pub(crate) fn by_number(list: &[u8]) -> BTreeMap<u16, String> {
    attributes(list).into_iter().map(|found| (found.number, hex(&list[found.payload]))).collect()
}

#[test]
fn requests_of_ipvsadm_are_read() {
    for (name, expected) in full_requests().into_iter().chain(padded_requests()) {
        let (command, _, attributes) = request(name);
        assert_eq!(decode(command, &attributes), Ok(expected), "{name}: {}", hex(&attributes));
    }
}

#[test]
fn requests_equal_those_of_ipvsadm() {
    for (name, message) in full_requests() {
        let (command, flags, theirs) = request(name);
        assert_eq!(message.command(), command, "{name}");
        let dump = matches!(message, Message::Query(query) if query.is_dump());
        // It asks for an acknowledgement of dumps, too.
        assert_eq!(flags, NLM_F_REQUEST | NLM_F_ACK | if dump { NLM_F_DUMP } else { 0 }, "{name}");
        // It marks nests as such, so the lists are compared, not the whole.
        let (ours, theirs) = (attributes_of(&encode(message)), attributes_of(&theirs));
        assert_eq!(ours, theirs, "{name}");
    }
}

/// The nests of a message, in their order and each with its attributes in theirs.
fn attributes_of(message: &[u8]) -> Vec<(u16, String)> {
    attributes(message).into_iter().map(|found| (found.number, hex(&message[found.payload]))).collect()
}

#[test]
fn further_attributes_of_ipvsadm_are_ignored_or_defaults() {
    // Behind a service's key: no scheduler, no flags, no timeout, and a netmask of some kind.
    let key_only = |netmask: &str| {
        let rest = [(6, "00 "), (7, "00 00 00 00 ff ff ff ff "), (8, "00 00 00 00 "), (9, netmask)];
        rest.map(|(number, payload)| (number, payload.to_owned())).into()
    };
    let netmasks = ["ff ff ff ff ", "80 00 00 00 ", "00 00 00 00 "].map(key_only);
    // No tunnel, to a destination that is not behind one: what the kernel assumes of one that has none.
    let no_tunnel: BTreeMap<u16, String> =
        [(13, "00 "), (14, "00 00 "), (15, "00 00 ")].map(|(number, payload)| (number, payload.to_owned())).into();
    for (name, message) in padded_requests() {
        let (command, flags, theirs) = request(name);
        assert_eq!((message.command(), NLM_F_REQUEST | NLM_F_ACK), (command, flags), "{name}");
        let ours = encode(message);
        assert_eq!(
            by_number(&ours).into_keys().collect::<Vec<_>>(),
            by_number(&theirs).into_keys().collect::<Vec<_>>()
        );
        for nest in attributes(&ours) {
            let our_nest = by_number(payload(&ours, nest.number));
            let mut more = by_number(payload(&theirs, nest.number));
            for (number, value) in our_nest {
                assert_eq!(more.remove(&number), Some(value), "{name}: {number} in {}", nest.number);
            }
            if nest.number == 1 {
                assert!(netmasks.contains(&more), "{name}: {more:?}");
            } else if command == 7 {
                assert_eq!(more.into_keys().collect::<Vec<_>>(), [3, 4, 5, 6, 13, 14, 15], "{name}");
            } else {
                assert!(more.is_empty() || more == no_tunnel, "{name}: {more:?}");
            }
        }
    }
}

#[test]
fn daemons_are_started_as_ipvsadm_does_but_for_the_order() {
    for (name, daemon) in ["start-master", "start-backup", "start-plain"].into_iter().zip(daemons()) {
        let (command, _, theirs) = request(name);
        // It reads as the answer that has the same bytes.
        assert_eq!(decode(command, &theirs), Ok(Answer::Daemon(daemon).into()), "{name}");
        let ours = encode(Change::StartDaemon(daemon));
        assert_eq!(by_number(payload(&ours, 3)), by_number(payload(&theirs, 3)), "{name}");
    }
}

#[test]
fn daemons_are_stopped_by_their_state_alone() {
    for (name, state) in [("stop-master", SyncState::Master), ("stop-backup", SyncState::Backup)] {
        let change = Message::from(Change::StopDaemon(state));
        let (command, _, theirs) = request(name);
        assert_eq!(change.command(), command);
        assert_eq!(decode(command, &theirs), Ok(change), "{name}");
        let mut theirs = by_number(payload(&theirs, 3));
        // It also sends no interface and no number, which the kernel does not look at.
        assert_eq!((theirs.remove(&2), theirs.remove(&3)), (Some("00 ".to_owned()), Some("00 00 00 00 ".to_owned())));
        assert_eq!(by_number(payload(&encode(change), 3)), theirs, "{name}");
    }
}

#[test]
fn timeouts_are_set_as_ipvsadm_does() {
    let (command, _, theirs) = request("set-all-timeouts");
    assert_eq!(decode(command, &theirs), Ok(Answer::Timeouts(timeouts()).into()));
    assert_eq!(hex(&encode(Change::SetTimeouts(timeouts()))), hex(&theirs));
    // One that is left as it is has no attribute; it sends 0.
    let mut two = timeouts();
    (two.tcp_fin, two.udp) = (None, Some(Duration::from_secs(515)));
    let (command, _, theirs) = request("set-timeouts");
    assert_eq!(decode(command, &theirs), Ok(Answer::Timeouts(two).into()));
    let mut theirs = by_number(&theirs);
    assert_eq!(theirs.remove(&5), Some("00 00 00 00 ".to_owned()));
    assert_eq!(by_number(&encode(Change::SetTimeouts(two))), theirs);
}

// Answers of kernels.

/// Counters and rates as `ipvsadm` printed them: connections, packets in, packets out, bytes in, bytes out; the same
/// per second.
type Printed = ([u64; 5], [u64; 5]);

/// Traffic through the first destination of these services, by kernel.
fn printed(kernel: &str) -> [(ServiceKey, Printed); 4] {
    let one_packet = services()[3].key;
    let (tcp, mark4, mark6) = (tcp(), mark(Family::Inet), mark(Family::Inet6));
    match kernel {
        "6.1" => [
            (tcp, ([23, 166, 163, 9176, 72900], [1, 8, 8, 463, 3755])),
            (one_packet, ([140, 140, 0, 4620, 0], [8, 8, 0, 252, 0])),
            (mark4, ([21, 162, 161, 8952, 72780], [1, 9, 9, 477, 3901])),
            (mark6, ([22, 164, 162, 12344, 76080], [1, 9, 9, 643, 4009])),
        ],
        "6.12" => [
            (tcp, ([23, 166, 163, 9176, 72900], [1, 9, 9, 479, 3881])),
            (one_packet, ([140, 140, 0, 4620, 0], [8, 8, 0, 259, 0])),
            (mark4, ([21, 162, 161, 8952, 72780], [1, 9, 9, 490, 4012])),
            (mark6, ([22, 164, 162, 12344, 76080], [1, 9, 9, 671, 4191])),
        ],
        "7.3" => [
            (tcp, ([23, 164, 162, 9072, 72848], [1, 9, 8, 471, 3839])),
            (one_packet, ([140, 140, 0, 4620, 0], [8, 8, 0, 251, 0])),
            (mark4, ([21, 154, 157, 8536, 72572], [1, 8, 8, 454, 3864])),
            (mark6, ([22, 164, 162, 12344, 76080], [1, 9, 9, 648, 4047])),
        ],
        other => panic!("no kernel {other}"),
    }
}

fn as_printed(stats: Stats) -> Printed {
    let Stats { connections, packets_in, packets_out, bytes_in, bytes_out, rates, .. } = stats;
    (
        [connections, packets_in, packets_out, bytes_in, bytes_out],
        [rates.connections, rates.packets_in, rates.packets_out, rates.bytes_in, rates.bytes_out],
    )
}

/// A captured table: its services, and the destinations of each in the order that `ipvsadm` asked for them.
fn table(kernel: &str) -> (Vec<ServiceInfo>, Vec<Vec<DestinationInfo>>) {
    let datagrams = capture(&format!("ipvs-{kernel}-table"));
    let mut dumps = datagrams.split_inclusive(|datagram| is_done(datagram));
    let services = answers(dumps.next().unwrap());
    let services = services.into_iter().map(|answer| match answer {
        Answer::Service(info) => info,
        other => panic!("no service: {other:?}"),
    });
    let destinations = dumps.map(|dump| {
        let answers = answers(dump).into_iter().map(|answer| match answer {
            Answer::Destination(info) => info,
            other => panic!("no destination: {other:?}"),
        });
        answers.collect()
    });
    (services.collect(), destinations.collect())
}

#[test]
fn services_of_every_kernel_are_as_set_and_as_ipvsadm_prints() {
    for kernel in KERNELS {
        let (infos, _) = table(kernel);
        assert_eq!(infos.len(), services().len(), "{kernel}");
        let printed = BTreeMap::from(printed(kernel));
        for service in services() {
            let info = infos.iter().find(|info| info.key() == service.key).unwrap();
            assert_eq!(info.service, service, "{kernel}");
            let expected = printed.get(&service.key).copied().unwrap_or_default();
            assert_eq!(as_printed(info.stats), expected, "{kernel}: {}", service.key);
        }
    }
}

#[test]
fn destinations_of_every_kernel_are_as_set_and_as_ipvsadm_prints() {
    for kernel in KERNELS {
        let (_, lists) = table(kernel);
        let printed = BTreeMap::from(printed(kernel));
        let [masquerade, gue, gre, ipip, _, gue6] = destinations();
        let to = |address| destination(address, Forwarding::Masquerade, 258);
        // Each with its persistent, active and inactive connections.
        let idle = |destination| (destination, [0; 3]);
        let expected = [
            vec![(masquerade, [1, 3, 20]), idle(gue), idle(gre), idle(ipip), idle(edited()), idle(gue6)],
            vec![],
            vec![],
            vec![idle(to("10.0.0.11:5354"))],
            vec![],
            vec![(to("10.0.0.11:8443"), [0, 1, 20])],
            vec![(to("[2001:db8::11]:8080"), [0, 2, 20])],
        ];
        assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [6, 0, 0, 1, 0, 1, 1], "{kernel}");
        for ((service, list), expected) in services().into_iter().zip(lists).zip(expected) {
            for (i, (destination, connections)) in expected.into_iter().enumerate() {
                let info = list.iter().find(|info| info.address() == destination.address).unwrap();
                assert_eq!(info.destination, destination, "{kernel}");
                let read = [info.persistent_connections, info.active_connections, info.inactive_connections];
                assert_eq!(read, connections, "{kernel}: {}", destination.address);
                let expected = if i == 0 { printed[&service.key] } else { Printed::default() };
                assert_eq!(as_printed(info.stats), expected, "{kernel}: {}", destination.address);
            }
        }
    }
}

#[test]
fn what_kernels_answer_is_written_as_they_do() {
    for kernel in KERNELS {
        let datagrams = capture(&format!("ipvs-{kernel}-table"));
        let mut seen = 0;
        for message in datagrams.iter().flat_map(|datagram| messages(datagram)) {
            if is_done(message) {
                continue;
            }
            let (command, theirs) = (message[16], &message[20..]);
            assert_eq!(hex(&encode(decode(command, theirs).unwrap())), hex(theirs), "{kernel}");
            seen += 1;
        }
        assert_eq!(seen, 16, "{kernel}");
    }
}

#[test]
fn one_service_is_answered_as_in_the_list() {
    for kernel in KERNELS {
        let (infos, _) = table(kernel);
        let listed = infos.into_iter().find(|info| info.key() == tcp()).unwrap();
        assert_eq!(answers(&capture(&format!("ipvs-{kernel}-service"))), [Answer::Service(listed)], "{kernel}");
    }
}

#[test]
fn every_kernel_tells_its_version_and_size() {
    for (kernel, sizes) in KERNELS.into_iter().zip([[4096, 4096], [4096, 4096], [0, 512]]) {
        for (name, size) in ["info-empty", "info"].into_iter().zip(sizes) {
            let answers = answers(&capture(&format!("ipvs-{kernel}-{name}")));
            let [Answer::Version(info)] = answers[..] else {
                panic!("{kernel}: {answers:?}");
            };
            assert_eq!((info.release, info.connection_table_size), ((1, 2, 1), size), "{kernel}");
        }
    }
}

#[test]
fn every_kernel_tells_its_timeouts_and_daemons() {
    let [master, mut backup, mut plain] = daemons();
    // The kernel fills in missing values: the packet's length from the interface, the rest from its header.
    backup.ttl = NonZeroU8::new(1);
    plain.max_length = NonZeroU16::new(1472);
    plain.group = Some("224.0.0.81".parse().unwrap());
    plain.port = NonZeroU16::new(8848);
    plain.ttl = NonZeroU8::new(1);
    for kernel in KERNELS {
        let read = |name| answers(&capture(&format!("ipvs-{kernel}-{name}")));
        assert_eq!(read("timeouts"), [Answer::Timeouts(timeouts())], "{kernel}");
        assert_eq!(read("daemons"), [Answer::Daemon(master), Answer::Daemon(backup)], "{kernel}");
        assert_eq!(read("daemon-plain"), [Answer::Daemon(plain)], "{kernel}");
    }
}

// The same through an exchange.

/// A captured datagram as if it came in reply to the request with this number.
fn in_reply_to(sequence: u32, datagram: &[u8]) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    let lengths = messages(&datagram.clone()).iter().map(|message| message.len()).collect::<Vec<_>>();
    let mut start = 0;
    for length in lengths {
        datagram[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
        start += length.next_multiple_of(4);
    }
    datagram
}

/// Sends what is queued, plays back these datagrams, and gives all messages and refusals.
fn play(exchange: &mut Exchange, datagrams: &[Vec<u8>]) -> Vec<Result<Message, i32>> {
    assert!(matches!(exchange.step(), Ok(Step::Send)));
    let sequence = u32::from_ne_bytes(exchange.outgoing()[8..12].try_into().unwrap());
    exchange.sent();
    let mut datagrams = datagrams.iter();
    let mut got = Vec::new();
    loop {
        match exchange.step().unwrap() {
            Step::Receive => {
                let datagram = in_reply_to(sequence, datagrams.next().unwrap());
                exchange.inbox()[..datagram.len()].copy_from_slice(&datagram);
                exchange.received(datagram.len(), 0);
            }
            Step::Message { .. } => {
                let body = exchange.message();
                got.push(Ok(decode(body[0], &body[4..]).unwrap()));
            }
            Step::Refused { refusal, .. } => got.push(Err(refusal.errno)),
            Step::Finished => {
                assert_eq!(datagrams.next(), None);
                return got;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn captured_datagrams_finish_the_requests_they_answer() {
    let mut exchange = Exchange::new(Limits::default());
    for kernel in KERNELS {
        exchange.queue(33, 0, b"body").unwrap();
        assert_eq!(play(&mut exchange, &capture(&format!("ipvs-{kernel}-ack"))), []);
        exchange.queue(33, 0, b"body").unwrap();
        // EEXIST.
        assert_eq!(play(&mut exchange, &capture(&format!("ipvs-{kernel}-refusal"))), [Err(17)]);
        let datagrams = capture(&format!("ipvs-{kernel}-table"));
        let mut lengths = Vec::new();
        for dump in datagrams.split_inclusive(|datagram| is_done(datagram)) {
            exchange.queue_dump(33, b"body").unwrap();
            lengths.push(play(&mut exchange, dump).len());
        }
        assert_eq!(lengths, [7, 6, 0, 0, 1, 0, 1, 1], "{kernel}");
    }
}

#[test]
fn every_capture_has_its_origin() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let names = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert!(names.len() > 80, "{names:?}");
    for name in &names {
        let is_text = name.extension().unwrap() == "txt";
        let beside: &[_] = if is_text { &["hex", "proc"] } else { &["txt"] };
        assert!(beside.iter().any(|end| names.contains(&name.with_extension(end))), "{} stands alone", name.display());
        if is_text {
            let text = std::fs::read_to_string(name).unwrap();
            for line in ["\ntool: ", "\nkernel: ", "\ncommand: "] {
                assert!(text.contains(line), "{}", name.display());
            }
        }
    }
}
