//! The message in the company of the rust-netlink crates.

use lvs::ipvs::{Answer, Change, Destination, Forwarding, Message, Query, Scheduler, Service, ServiceKey, Tunnel};
use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};

use crate::{decode, encode, hex};

fn key() -> ServiceKey {
    ServiceKey::tcp("10.0.0.1:443".parse().unwrap())
}

/// One of each class, with its command.
fn messages() -> Vec<(Message, u8)> {
    let destination = Destination::new("10.0.0.2:443".parse().unwrap()).forwarding(Forwarding::Tunnel(Tunnel::Ipip));
    let info = crate::attribute(1, &0x0001_0203u32.to_ne_bytes());
    let info = decode(14, &[info, crate::attribute(2, &258u32.to_ne_bytes())].concat()).unwrap();
    assert!(matches!(info, Message::Answer(Answer::Version(_))));
    vec![
        (Change::AddService(Service::new(key(), Scheduler::WRR)).into(), 1),
        (Change::AddDestination(key(), destination).into(), 5),
        (Change::Clear.into(), 17),
        (Query::Destinations(key()).into(), 8),
        (Query::Services.into(), 4),
        (info, 14),
    ]
}

#[test]
fn the_family_is_ipvs_version_1() {
    assert_eq!(Message::family_name(), "IPVS");
    for (message, command) in messages() {
        assert_eq!(message.version(), 1);
        assert_eq!(message.command(), command);
    }
}

#[test]
fn every_class_of_message_travels_in_a_netlink_message() {
    for (message, command) in messages() {
        let mut packet = NetlinkMessage::from(GenlMessage::from_payload(message));
        packet.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        packet.header.sequence_number = 0x0102_0304;
        if let NetlinkPayload::InnerMessage(inner) = &mut packet.payload {
            inner.set_resolved_family_id(258);
        }
        packet.finalize();
        let mut bytes = vec![0x5a; packet.buffer_len()];
        packet.serialize(&mut bytes);

        let attributes = encode(message);
        let expected = [
            &u32::try_from(20 + attributes.len()).unwrap().to_ne_bytes()[..],
            &258u16.to_ne_bytes(),
            &5u16.to_ne_bytes(),
            &0x0102_0304u32.to_ne_bytes(),
            &[0; 4],
            &[command, 1, 0, 0],
            &attributes,
        ]
        .concat();
        assert_eq!(hex(&bytes), hex(&expected), "{message:?}");

        let read = NetlinkMessage::<GenlMessage<Message>>::deserialize(&bytes).unwrap();
        assert_eq!(read.header, packet.header);
        let NetlinkPayload::InnerMessage(inner) = read.payload else {
            panic!("no message in {}", hex(&bytes));
        };
        assert_eq!(inner.header, GenlHeader { cmd: command, version: 1 });
        assert_eq!(inner.payload, message);
    }
}

#[test]
fn a_buffer_may_be_longer_than_needed_and_a_shorter_one_is_left_alone() {
    for (message, _) in messages() {
        let exact = encode(message);
        let mut long = vec![0xa5; exact.len() + 3];
        message.emit(&mut long);
        assert_eq!(hex(&long), hex(&[&exact[..], &[0xa5; 3]].concat()));
        if let Some(shorter) = exact.len().checked_sub(1) {
            let mut short = vec![0xa5; shorter];
            message.emit(&mut short);
            assert_eq!(hex(&short), hex(&vec![0xa5; shorter]));
        }
    }
}

#[test]
fn an_error_of_ours_becomes_one_of_theirs_with_its_text() {
    let body = [&[1, 1, 0, 0][..], &crate::attribute(1, &crate::attribute(1, &[2]))].concat();
    let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(258u16.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    let error = NetlinkMessage::<GenlMessage<Message>>::deserialize(&bytes).unwrap_err();
    let mut texts = Vec::new();
    let mut next = Some(&error as &dyn std::error::Error);
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    assert!(texts.iter().any(|text| text.contains("IPVS_SVC_ATTR_AF: wanted 2 bytes, got 1")), "{texts:?}");
}

#[test]
fn the_version_is_not_looked_at() {
    let attributes = encode(Query::Service(key()));
    let read = Message::parse_with_param(&attributes, GenlHeader { cmd: 4, version: 99 });
    assert_eq!(read.unwrap(), Query::Service(key()).into());
}

/// That it compiles is the test.
#[test]
fn genetlink_and_netlink_proto_take_the_message() {
    async fn _with_genetlink(mut handle: genetlink::GenetlinkHandle, query: Query) {
        let mut packet = NetlinkMessage::from(GenlMessage::from_payload(Message::from(query)));
        packet.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let answers = handle.request(packet).await;
        drop(answers);
    }

    fn _with_netlink_proto(handle: netlink_proto::ConnectionHandle<GenlMessage<Message>>, change: Change) {
        let mut packet = NetlinkMessage::from(GenlMessage::from_payload(Message::from(change)));
        packet.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        let answers = handle.request(packet, netlink_proto::sys::SocketAddr::new(0, 0));
        drop(answers);
    }
}
