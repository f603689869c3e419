//! Bytes of flows and requests, compared with `netlink-packet-netfilter`.

use std::net::SocketAddr;
use std::time::Duration;

use netlink_packet_core::{DefaultNla, Emitable, ParseableParametrized};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple as Theirs,
};
use proptest::prelude::*;

use super::flow::{Flow, Tuple};
use super::request::{Change, Query};
use crate::error::DecodeError;
use crate::net::Family;
use crate::wire::nfnetlink;
use crate::wire::writer::written;

fn tuple(source: &str, destination: &str) -> Tuple {
    Tuple { source: source.parse().unwrap(), destination: destination.parse().unwrap(), zone: 0x0102 }
}

/// A masqueraded flow to a virtual address; no number reads as the same when its bytes are swapped.
fn flow(family: Family) -> Flow {
    let (original, reply) = match family {
        Family::Inet => (tuple("10.0.0.2:4001", "10.96.0.10:53"), tuple("10.244.1.7:5353", "10.0.0.1:1025")),
        Family::Inet6 => {
            (tuple("[2001:db8::2]:4001", "[fd00:96::a]:53"), tuple("[fd00:244::7]:5353", "[2001:db8::1]:1025"))
        }
    };
    let timeout = Some(Duration::from_secs(258));
    Flow { original, reply, id: 0x0304_0506, mark: Some(0x0708_090a), timeout }
}

fn in_the_default_zone(family: Family) -> Flow {
    let mut flow = flow(family);
    (flow.original.zone, flow.reply.zone) = (0, 0);
    flow
}

fn theirs(tuple: Tuple, protocol: Protocol) -> Vec<Theirs> {
    let Tuple { source, destination, .. } = tuple;
    vec![
        Theirs::Ip(vec![IPTuple::SourceAddress(source.ip()), IPTuple::DestinationAddress(destination.ip())]),
        Theirs::Proto(vec![
            ProtoTuple::Protocol(protocol),
            ProtoTuple::SourcePort(source.port()),
            ProtoTuple::DestinationPort(destination.port()),
        ]),
    ]
}

fn other(number: u16, payload: &[u8]) -> ConntrackAttribute {
    ConntrackAttribute::Other(DefaultNla::new(number, payload.to_vec()))
}

/// An entry as the kernel sends it.
fn entry(flow: &Flow, protocol: Protocol) -> Vec<ConntrackAttribute> {
    vec![
        ConntrackAttribute::CtaTupleOrig(theirs(flow.original, protocol)),
        ConntrackAttribute::CtaTupleReply(theirs(flow.reply, protocol)),
        other(12, &flow.id.to_be_bytes()),
        other(18, &flow.reply.zone.to_be_bytes()),
        ConntrackAttribute::CtaTimeout(258),
        ConntrackAttribute::CtaMark(0x0708_090a),
        other(11, &1u32.to_be_bytes()),
    ]
}

fn emitted(attributes: Vec<ConntrackAttribute>) -> Vec<u8> {
    let message = ConntrackMessage::New(attributes);
    let mut bytes = vec![0xa5; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn read(attributes: Vec<ConntrackAttribute>) -> Result<Option<Flow>, DecodeError> {
    Flow::read(&emitted(attributes))
}

#[test]
fn an_entry_reads_as_its_flow() {
    for family in [Family::Inet, Family::Inet6] {
        assert_eq!(read(entry(&flow(family), Protocol::Udp)), Ok(Some(flow(family))));
        let mut least = entry(&flow(family), Protocol::Udp);
        least.truncate(3);
        let want = Flow { mark: None, timeout: None, ..in_the_default_zone(family) };
        assert_eq!(read(least), Ok(Some(want)));
    }
}

#[test]
fn each_direction_has_its_zone() {
    let zone = |number: u16| Theirs::Other(DefaultNla::new(3, number.to_be_bytes().to_vec()));
    let mut attributes = entry(&flow(Family::Inet), Protocol::Udp);
    attributes.remove(3);
    for (original, reply, want) in [(Some(7), None, (7, 0)), (None, Some(7), (0, 7))] {
        let with = |tuple, number: Option<u16>| {
            let mut theirs = theirs(tuple, Protocol::Udp);
            theirs.extend(number.map(zone));
            theirs
        };
        attributes[0] = ConntrackAttribute::CtaTupleOrig(with(flow(Family::Inet).original, original));
        attributes[1] = ConntrackAttribute::CtaTupleReply(with(flow(Family::Inet).reply, reply));
        let flow = read(attributes.clone()).unwrap().unwrap();
        assert_eq!((flow.original.zone, flow.reply.zone), want);
    }
}

#[test]
fn other_protocols_are_no_flows() {
    for protocol in [Protocol::Tcp, Protocol::Sctp, Protocol::UdpLite] {
        assert_eq!(read(entry(&flow(Family::Inet), protocol)), Ok(None));
    }
    // Without ports.
    let icmp = |tuple: Tuple| {
        let mut parts = theirs(tuple, Protocol::Icmp);
        parts[1] = Theirs::Proto(vec![ProtoTuple::Protocol(Protocol::Icmp)]);
        parts
    };
    let mut attributes = entry(&flow(Family::Inet), Protocol::Icmp);
    attributes[0] = ConntrackAttribute::CtaTupleOrig(icmp(flow(Family::Inet).original));
    attributes[1] = ConntrackAttribute::CtaTupleReply(icmp(flow(Family::Inet).reply));
    assert_eq!(read(attributes), Ok(None));
}

#[test]
fn a_missing_attribute_is_an_error_that_names_it() {
    for (missing, name) in [(0, "CTA_TUPLE_ORIG"), (1, "CTA_TUPLE_REPLY"), (2, "CTA_ID")] {
        let mut attributes = entry(&flow(Family::Inet), Protocol::Udp);
        attributes.remove(missing);
        assert_eq!(read(attributes), Err(DecodeError::Missing { attribute: name }));
    }
    let mut attributes = entry(&flow(Family::Inet), Protocol::Udp);
    let mut without_port = theirs(flow(Family::Inet).original, Protocol::Udp);
    without_port[1] = Theirs::Proto(vec![ProtoTuple::Protocol(Protocol::Udp)]);
    attributes[0] = ConntrackAttribute::CtaTupleOrig(without_port);
    assert_eq!(read(attributes), Err(DecodeError::Missing { attribute: "CTA_PROTO_SRC_PORT" }));
}

#[test]
fn every_prefix_and_every_byte_of_an_entry_is_read_or_refused() {
    for family in [Family::Inet, Family::Inet6] {
        let body = [&[0; 4][..], &emitted(entry(&flow(family), Protocol::Udp))].concat();
        for end in 0..body.len() {
            super::fuzz::run(&body[..end]);
        }
        for at in 0..body.len() {
            for byte in [0, 1, 3, 16, 127, 128, 255] {
                let mut damaged = body.clone();
                damaged[at] = byte;
                super::fuzz::run(&damaged);
            }
        }
    }
}

#[test]
fn a_deletion_is_the_bytes_that_netlink_packet_netfilter_makes() {
    for (family, number) in [(Family::Inet, 2), (Family::Inet6, 10)] {
        let flow = flow(family);
        let mut attributes = entry(&flow, Protocol::Udp);
        let want = vec![attributes.remove(1), other(18, &[1, 2]), other(12, &[3, 4, 5, 6])];
        let bytes = written(|out| Change::Delete(flow).write(out));
        assert_eq!(bytes[..4], [number, 0, 0, 0]);
        assert_eq!(bytes[4..], emitted(want.clone()));
        assert_eq!(ConntrackMessage::parse_with_param(&bytes[4..], 2).unwrap(), ConntrackMessage::Delete(want));
        // In the default zone.
        let bytes = written(|out| Change::Delete(in_the_default_zone(family)).write(out));
        assert_eq!(nfnetlink::attributes(&bytes).unwrap().len(), if number == 2 { 60 } else { 84 });
    }
}

#[test]
fn a_query_asks_for_udp_of_its_family() {
    for (family, number) in [(Family::Inet, 2), (Family::Inet6, 10)] {
        let filter = [12, 0x8000 | 25, 8, 1].map(u16::to_ne_bytes).concat();
        let protocol = Theirs::Proto(vec![ProtoTuple::Protocol(Protocol::Udp)]);
        let tuple = emitted(vec![ConntrackAttribute::CtaTupleOrig(vec![protocol])]);
        let bytes = written(|out| Query::Flows(family).write(out));
        assert_eq!(bytes[..4], [number, 0, 0, 0]);
        assert_eq!(bytes[4..], [&tuple[..], &filter, &8u32.to_ne_bytes()].concat());
    }
}

#[test]
fn a_flow_to_a_service_is_stale_unless_an_endpoint_replies() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    for (family, service, endpoint, others) in [
        (Family::Inet, "10.96.0.10:53", "10.244.1.7:5353", ["10.244.1.7:53", "10.96.0.10:53"]),
        (Family::Inet6, "[fd00:96::a]:53", "[fd00:244::7]:5353", ["[fd00:244::7]:53", "[fd00:96::a]:53"]),
    ] {
        let (flow, service, endpoint) = (flow(family), address(service), address(endpoint));
        let others = others.map(address);
        assert!(flow.is_stale(service, others));
        assert!(flow.is_stale(service, []));
        assert!(!flow.is_stale(service, others.into_iter().chain([endpoint])));
        for elsewhere in [SocketAddr::new(service.ip(), 54), SocketAddr::new(endpoint.ip(), 53)] {
            assert!(!flow.is_stale(elsewhere, others), "to {elsewhere}");
        }
    }
}

#[test]
fn a_flow_of_two_families_is_refused() {
    let mut mixed = flow(Family::Inet);
    mixed.reply.source = "[2001:db8::2]:4001".parse().unwrap();
    let error = Change::Delete(mixed).check().unwrap_err();
    assert!(error.is_invalid_input());
    assert!(Change::Delete(flow(Family::Inet)).check().is_ok());
}

#[test]
fn texts_name_the_flow() {
    let delete = Change::Delete(flow(Family::Inet));
    assert_eq!(delete.to_string(), "delete flow 10.0.0.2:4001 -> 10.96.0.10:53/udp");
    let reply = "delete flow 10.0.0.2:4001 -> 10.96.0.10:53/udp (reply 10.244.1.7:5353 -> 10.0.0.1:1025)";
    assert_eq!(format!("{delete:#}"), reply);
    assert_eq!(Query::Flows(Family::Inet6).to_string(), "list the UDP flows of the family inet6");
}

proptest! {
    #[test]
    fn any_flow_reads_back(
        (four, six) in any::<([[u8; 4]; 4], [[u8; 16]; 4])>(), is_four: bool, ports: [u16; 4],
        (zones, id, mark, timeout) in any::<([u16; 2], u32, Option<u32>, Option<u32>)>(),
    ) {
        let address = |at: usize| SocketAddr::new(if is_four { four[at].into() } else { six[at].into() }, ports[at]);
        let flow = Flow {
            original: Tuple { source: address(0), destination: address(1), zone: zones[0] },
            reply: Tuple { source: address(2), destination: address(3), zone: zones[1] },
            id, mark, timeout: timeout.map(|seconds| Duration::from_secs(seconds.into())),
        };
        prop_assert_eq!(Flow::read(&written(|out| flow.write(out))), Ok(Some(flow)));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        super::fuzz::run(&bytes);
    }
}
