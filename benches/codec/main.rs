//! Measures the cost of writing and reading one object.
//!
//! The style of the rust-netlink crates does the same for the same bytes, for comparison.
//!
//! `lvs` is measured through its clients, whose kernel is a script here: with the checks, the sequence numbers and the
//! matching of answers. The other style is measured without any of that, writing into one buffer and reading from
//! another.
//!
//! ```sh
//! cargo bench --features testing --bench codec
//! ```
//!
//! Nanoseconds for one (medians on a shared machine with two cores):
//!
//! | | `lvs` | the other style |
//! |---|---|---|
//! | write a service | 37 | 238 |
//! | write a destination | 36 | 346 |
//! | write a member of a set | 3.8 | 112 |
//! | read a service with both kinds of statistics | 91 | 312 |
//! | read a member | 70 | 50 |
//!
//! For a member, the other style copies bytes; `lvs` makes a typed entry of them, with all that it may carry.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark")]

mod trait_style;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use lvs::ipset::{HashIp, Member, NewSet, Set, SetName};
use lvs::ipvs::{Change, Destination, Scheduler, Service, ServiceKey};
use lvs::testing::{Kernel, Reply};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable};
use netlink_packet_generic::GenlMessage;
use trait_style as other;

const COUNT: usize = 1000;
const HEADER: usize = 16;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const FAMILY: u16 = 37;
const CONTROLLER: u16 = 16;
const NEW_SERVICE: u8 = 1;
const NEW_DESTINATION: u8 = 5;
const IPSET_ADD: u16 = 6 << 8 | 9;
const IPSET_LIST: u16 = 6 << 8 | 7;

fn main() {
    the_bytes_are_the_same();
    divan::main();
}

// The objects that are written and read.

fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap())
}

fn services() -> impl Iterator<Item = Service> {
    (0..COUNT).map(|n| Service::tcp(SocketAddr::new(address(n).into(), 80), Scheduler::WRR))
}

fn destinations() -> impl Iterator<Item = Destination> {
    (0..COUNT).map(|n| Destination::new(SocketAddr::new(address(n).into(), 8080)).weight(2))
}

fn members() -> impl Iterator<Item = Member<HashIp>> {
    (0..COUNT).map(|n| Member::new(IpAddr::from(address(n))))
}

/// The answer of Linux 7.3 for one service, with both kinds of statistics: without its header.
fn service_record() -> Vec<u8> {
    let text = include_str!("../../tests/data/ipvs-7.3-service.hex");
    let bytes: Vec<_> = text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes[HEADER..length(&bytes)].to_vec()
}

/// A list of a set with many members, as one message without its header.
fn members_record() -> Vec<u8> {
    let entry = |n| other::Entries::Data(vec![ip(address(n).into())]);
    let list = other::IpsetCommand {
        kind: IPSET_LIST,
        family: 2,
        attributes: vec![
            other::Ipset::Protocol(7),
            other::Ipset::SetName(b"web\0".to_vec()),
            other::Ipset::TypeName(b"hash:ip\0".to_vec()),
            other::Ipset::Family(2),
            other::Ipset::Revision(6),
            other::Ipset::Data(Vec::new()),
            other::Ipset::Entries((0..COUNT).map(entry).collect()),
        ],
    };
    let mut bytes = Vec::new();
    write(&mut bytes, NLM_F_REQUEST, list);
    bytes[HEADER..].to_vec()
}

// The other style.

fn other_service(service: &Service) -> other::Ipvs {
    let ServiceKey::Address { address, .. } = service.key else { unreachable!("all are of TCP") };
    other::Ipvs::Service(vec![
        other::Service::Family(2),
        other::Service::Protocol(6),
        other::Service::Address(padded(address.ip())),
        other::Service::Port(address.port().to_be()),
        other::Service::Scheduler([service.scheduler.as_bytes(), &[0]].concat()),
        other::Service::Flags(vec![0, 0, 0, 0, 255, 255, 255, 255]),
        other::Service::Timeout(0),
        other::Service::Netmask(u32::MAX),
    ])
}

fn other_key(service: &Service) -> other::Ipvs {
    match other_service(service) {
        other::Ipvs::Service(attributes) => other::Ipvs::Service(attributes.into_iter().take(4).collect()),
        attribute => attribute,
    }
}

fn other_destination(destination: &Destination) -> other::Ipvs {
    other::Ipvs::Destination(vec![
        other::Destination::Family(2),
        other::Destination::Address(padded(destination.address.ip())),
        other::Destination::Port(destination.address.port().to_be()),
        other::Destination::Forwarding(0),
        other::Destination::Weight(destination.weight),
        other::Destination::UpperThreshold(0),
        other::Destination::LowerThreshold(0),
    ])
}

fn other_members(members: impl Iterator<Item = Member<HashIp>>) -> other::IpsetCommand {
    let entry = |(n, member): (usize, Member<HashIp>)| {
        other::Entries::Data(vec![ip(member.entry.first()), other::Entry::Line(u32::try_from(n).unwrap() + 1)])
    };
    other::IpsetCommand {
        kind: IPSET_ADD,
        family: 2,
        attributes: vec![
            other::Ipset::Protocol(7),
            other::Ipset::SetName(b"web\0".to_vec()),
            other::Ipset::Line(0),
            other::Ipset::Entries(members.enumerate().map(entry).collect()),
        ],
    }
}

fn ip(address: IpAddr) -> other::Entry {
    let IpAddr::V4(address) = address else { unreachable!("all are of IPv4") };
    other::Entry::Ip(vec![other::Address::V4(address.octets().to_vec())])
}

/// An address as IPVS takes it.
fn padded(address: IpAddr) -> Vec<u8> {
    let IpAddr::V4(address) = address else { unreachable!("all are of IPv4") };
    [&address.octets()[..], &[0; 12]].concat()
}

fn command(command: u8, attributes: Vec<other::Ipvs>) -> GenlMessage<other::Command> {
    let mut message = GenlMessage::from_payload(other::Command { command, attributes });
    message.set_resolved_family_id(FAMILY);
    message
}

fn write<T: NetlinkSerializable>(out: &mut Vec<u8>, flags: u16, payload: T) {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(payload));
    message.header.flags = flags;
    message.finalize();
    let start = out.len();
    out.resize(start + message.buffer_len(), 0);
    message.serialize(&mut out[start..]);
}

fn write_services(out: &mut Vec<u8>) {
    for service in services() {
        write(out, NLM_F_REQUEST, command(NEW_SERVICE, vec![other_service(&service)]));
    }
}

fn write_destinations(out: &mut Vec<u8>) {
    let service = services().next().unwrap();
    for destination in destinations() {
        let attributes = vec![other_key(&service), other_destination(&destination)];
        write(out, NLM_F_REQUEST, command(NEW_DESTINATION, attributes));
    }
}

// The script.

fn length(message: &[u8]) -> usize {
    u32::from_ne_bytes(message[..4].try_into().unwrap()).try_into().unwrap()
}

fn message(kind: u16, request: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes();
    let padding = [0; 3];
    let padding = &padding[..body.len().next_multiple_of(4) - body.len()];
    [&length[..], &kind.to_ne_bytes(), &[2, 0], &request[8..16], body, padding].concat()
}

/// A kernel that accepts every request, lists these records, and stores the last request.
fn kernel(kind: u16, record: &[u8], times: usize) -> (Kernel, Arc<Mutex<Vec<u8>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (kept, record) = (Arc::clone(&sent), record.to_vec());
    let answer = move |datagram: &[u8]| {
        kept.lock().unwrap().clear();
        kept.lock().unwrap().extend_from_slice(datagram);
        let mut last = datagram;
        while last.len() > length(last).next_multiple_of(4) {
            last = &last[length(last).next_multiple_of(4)..];
        }
        let acknowledgement = message(ERROR, last, &[&[0; 4], &last[..HEADER]].concat());
        let mut answers = Vec::new();
        if datagram[4..6] == CONTROLLER.to_ne_bytes() {
            let [low, high] = FAMILY.to_ne_bytes();
            let family = [1, 2, 0, 0, 6, 0, 1, 0, low, high, 0, 0, 9, 0, 2, 0, b'I', b'P', b'V', b'S', 0];
            answers.push(message(CONTROLLER, last, &family));
        }
        if datagram[6..8] == (DUMP | NLM_F_REQUEST).to_ne_bytes() {
            // As many as the kernel puts into one of its datagrams.
            let one = message(kind, last, &record);
            let fit = (32 << 10) / one.len();
            answers.extend((0..times.div_ceil(fit.max(1))).map(|n| one.repeat(fit.max(1).min(times - n * fit.max(1)))));
            answers.push(message(DONE, last, &[0; 4]));
        } else {
            answers.push(acknowledgement);
        }
        answers.into_iter().map(|answer| Reply::Datagram(0, answer)).collect()
    };
    (Kernel::script(answer), sent)
}

fn set() -> Set<HashIp> {
    let name = SetName::new("web").unwrap();
    Kernel::new().ipset().create(name, &NewSet::ipv4()).unwrap()
}

/// Equal except for sequence numbers and flags, which the other style does not write.
fn the_bytes_are_the_same() {
    let (kernel, sent) = kernel(0, &[], 0);
    let bare = |bytes: &[u8]| {
        let (mut bytes, mut at) = (bytes.to_vec(), 0);
        while at < bytes.len() {
            bytes[at + 6..at + 12].fill(0);
            at += length(&bytes[at..]).next_multiple_of(4);
        }
        bytes
    };
    let mut other = Vec::new();
    // So few that they travel together.
    let few = 100;
    let mut ipvs = kernel.ipvs().unwrap();
    ipvs.batch(services().take(few).map(Change::AddService)).unwrap();
    write_services(&mut other);
    let ours = bare(&sent.lock().unwrap());
    assert!(bare(&other).starts_with(&ours));
    other.clear();
    let key = services().next().unwrap().key;
    ipvs.batch(destinations().take(few).map(|destination| Change::AddDestination(key, destination))).unwrap();
    write_destinations(&mut other);
    let ours = bare(&sent.lock().unwrap());
    assert!(bare(&other).starts_with(&ours));
    other.clear();
    kernel.ipset().add_all(&set(), members()).unwrap();
    write(&mut other, NLM_F_REQUEST, other_members(members()));
    assert!(bare(&sent.lock().unwrap()) == bare(&other));
}

// The measurements.

#[divan::bench_group(name = "write", counters = [ItemsCount::new(COUNT)])]
mod writing {
    use super::*;

    #[divan::bench]
    fn services_lvs(bencher: Bencher<'_, '_>) {
        let mut ipvs = kernel(0, &[], 0).0.ipvs().unwrap();
        bencher.bench_local(|| ipvs.batch(black_box(services()).map(Change::AddService)).unwrap());
    }

    #[divan::bench]
    fn services_other(bencher: Bencher<'_, '_>) {
        let mut out = Vec::new();
        bencher.bench_local(|| {
            out.clear();
            write_services(&mut out);
            black_box(out.len())
        });
    }

    #[divan::bench]
    fn destinations_lvs(bencher: Bencher<'_, '_>) {
        let mut ipvs = kernel(0, &[], 0).0.ipvs().unwrap();
        let key = services().next().unwrap().key;
        let change = |destination| Change::AddDestination(key, destination);
        bencher.bench_local(|| ipvs.batch(black_box(destinations()).map(change)).unwrap());
    }

    #[divan::bench]
    fn destinations_other(bencher: Bencher<'_, '_>) {
        let mut out = Vec::new();
        bencher.bench_local(|| {
            out.clear();
            write_destinations(&mut out);
            black_box(out.len())
        });
    }

    #[divan::bench]
    fn members_lvs(bencher: Bencher<'_, '_>) {
        let (mut ipset, set) = (kernel(0, &[], 0).0.ipset(), set());
        bencher.bench_local(|| ipset.add_all(&set, black_box(members())).unwrap());
    }

    #[divan::bench]
    fn members_other(bencher: Bencher<'_, '_>) {
        let mut out = Vec::new();
        bencher.bench_local(|| {
            out.clear();
            write(&mut out, NLM_F_REQUEST, other_members(black_box(members())));
            black_box(out.len())
        });
    }
}

#[divan::bench_group(name = "read", counters = [ItemsCount::new(COUNT)])]
mod reading {
    use super::*;

    #[divan::bench]
    fn services_lvs(bencher: Bencher<'_, '_>) {
        let mut ipvs = kernel(FAMILY, &service_record(), COUNT).0.ipvs().unwrap();
        bencher.bench_local(|| {
            let listed = ipvs.stream_services().unwrap().inspect(|service| _ = black_box(service));
            assert_eq!(listed.filter(Result::is_ok).count(), COUNT);
        });
    }

    #[divan::bench]
    fn services_other(bencher: Bencher<'_, '_>) {
        let message = message(FAMILY, &[0; HEADER], &service_record());
        bencher.bench_local(|| {
            for _ in 0..COUNT {
                let read = NetlinkMessage::<GenlMessage<other::Command>>::deserialize(black_box(&message));
                black_box(read.unwrap());
            }
        });
    }

    #[divan::bench]
    fn members_lvs(bencher: Bencher<'_, '_>) {
        let (mut ipset, set) = (kernel(IPSET_LIST, &members_record(), 1).0.ipset(), set());
        bencher.bench_local(|| {
            let listed = ipset.stream_members(&set).unwrap().inspect(|member| _ = black_box(member));
            assert_eq!(listed.filter(Result::is_ok).count(), COUNT);
        });
    }

    #[divan::bench]
    fn members_other(bencher: Bencher<'_, '_>) {
        let message = message(IPSET_LIST, &[0; HEADER], &members_record());
        bencher.bench_local(|| {
            black_box(NetlinkMessage::<other::IpsetCommand>::deserialize(black_box(&message)).unwrap())
        });
    }
}
