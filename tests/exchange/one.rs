//! One request at a time.

use crate::talk::*;

#[test]
fn without_a_request_the_exchange_is_finished() {
    let mut talk = Talk::new();
    assert_eq!(hex(talk.0.message()), "");
    assert_eq!(talk.step(), Said::Finished);
    assert_eq!(talk.step(), Said::Finished);
    talk.works();
}

#[test]
fn a_request_is_sent_and_its_ack_finishes_it() {
    let mut talk = Talk::new();
    talk.0.queue(FAMILY, 0x40, b"body!").unwrap();
    assert_eq!(talk.step(), Said::Send);
    let sent = talk.1.clone();
    let expected = [
        &21u32.to_ne_bytes()[..],
        &FAMILY.to_ne_bytes(),
        &(0x40 | REQUEST | ACK).to_ne_bytes(),
        &sequence(&sent).to_ne_bytes(),
        &[0; 4],
        b"body!\0\0\0",
    ]
    .concat();
    assert_eq!(hex(&sent), hex(&expected));
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(hex(talk.0.outgoing()), "");
    assert_eq!(talk.step(), Said::Receive, "asking again changes nothing");
    assert_eq!(talk.hear(&answer(&sent, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn data_may_stand_before_the_ack_in_one_datagram_or_in_its_own() {
    let mut talk = Talk::new();
    let sent = talk.request(b"get");
    let data = message(FAMILY, 0, sequence(&sent), b"value");
    assert_eq!(talk.hear(&data), [got(0, b"value"), Said::Receive]);
    assert_eq!(talk.hear(&answer(&sent, 0)), [Said::Finished]);

    let sent = talk.request(b"get");
    let data = message(FAMILY, 0, sequence(&sent), b"value");
    assert_eq!(talk.hear(&[data, answer(&sent, 0)].concat()), [got(0, b"value"), Said::Finished]);
    talk.works();
}

#[test]
fn a_refused_request_is_finished() {
    let mut talk = Talk::new();
    let sent = talk.request(b"add");
    assert_eq!(talk.hear(&answer(&sent, EEXIST)), [refused(0, EEXIST), Said::Finished]);
    talk.works();
}

#[test]
fn a_refused_request_can_be_looked_at_if_the_kernel_repeats_it() {
    let mut talk = Talk::new();
    for (flags, expected) in [(0, &b"which"[..]), (CAPPED, b"")] {
        let sent = talk.request(b"which");
        assert_eq!(talk.hear(&answer_with(&sent, EEXIST, flags, &[])), [refused(0, EEXIST), Said::Finished]);
        assert_eq!(hex(talk.0.message()), hex(expected), "flags {flags:#x}");
    }
    // A length of the request that cannot be.
    for length in [0, 15, 45, u32::MAX] {
        let sent = talk.request(b"which");
        let mut answer = answer_with(&sent, EEXIST, 0, &[]);
        answer[20..24].copy_from_slice(&u32::to_ne_bytes(length));
        assert_eq!(talk.hear(&answer), [refused(0, EEXIST), Said::Finished]);
        assert_eq!(hex(talk.0.message()), "", "length {length}");
    }
    talk.works();
}

#[test]
fn the_kernels_words_are_read_behind_a_capped_and_a_repeated_request() {
    let words = attribute(1, b"no such thing\0");
    let offset = attribute(2, &260u32.to_ne_bytes());
    let unknown = [attribute(3, &[9; 7]), attribute(4, &[8; 12]), attribute(900, b"new")].concat();
    let everything = [&unknown[..], &offset, &unknown, &words].concat();
    let mut talk = Talk::new();
    for (flags, attributes, message, offset) in [
        (ACK_TLVS | CAPPED, &everything, Some("no such thing"), Some(260)),
        (ACK_TLVS, &everything, Some("no such thing"), Some(260)),
        (ACK_TLVS | CAPPED, &words, Some("no such thing"), None),
        (ACK_TLVS, &offset, None, Some(260)),
        (ACK_TLVS, &unknown, None, None),
        (ACK_TLVS | CAPPED, &unknown, None, None),
        // Without the flag, what stands there is not attributes.
        (0, &everything, None, None),
        (CAPPED, &everything, None, None),
        (!ACK_TLVS, &everything, None, None),
    ] {
        // A body that needs padding, and one that looks like an attribute.
        for body in [&b"12345"[..], &attribute(1, b"not this\0")] {
            let sent = talk.request(body);
            let expected = Said::Refused { request: 0, errno: EINVAL, message: message.map(Into::into), offset };
            let heard = talk.hear(&answer_with(&sent, EINVAL, flags, attributes));
            assert_eq!(heard, [expected, Said::Finished], "flags {flags:#x}, {}", hex(attributes));
        }
    }
    talk.works();
}

#[test]
fn an_ack_with_words_is_still_an_ack() {
    let mut talk = Talk::new();
    let sent = talk.request(b"add");
    let ack = answer_with(&sent, 0, CAPPED | ACK_TLVS, &attribute(1, b"a warning\0"));
    assert_eq!(talk.hear(&ack), [Said::Finished]);
    talk.works();
}

#[test]
fn broken_words_are_an_error_and_the_next_request_works() {
    let mut talk = Talk::new();
    for attributes in [&[3, 0, 1, 0][..], &attribute(2, &[1, 2])] {
        let sent = talk.request(b"add");
        let heard = talk.hear(&answer_with(&sent, EINVAL, CAPPED | ACK_TLVS, attributes));
        assert!(matches!(&heard[..], [Said::Failed(_)]), "{}: {heard:?}", hex(attributes));
        talk.works();
    }
    // The repeated request claims to be longer than the message.
    let sent = talk.request(b"add");
    let mut answer = answer_with(&sent, EINVAL, ACK_TLVS, &[]);
    answer[20..24].copy_from_slice(&900u32.to_ne_bytes());
    assert!(matches!(&talk.hear(&answer)[..], [Said::Failed(_)]));
    talk.works();
}

#[test]
fn odd_words_do_not_hide_the_refusal() {
    let mut talk = Talk::new();
    for (words, text) in [(&b"no end"[..], "no end"), (b"od\xffd\0", "od\u{fffd}d"), (b"", "")] {
        let sent = talk.request(b"add");
        let heard = talk.hear(&answer_with(&sent, EEXIST, CAPPED | ACK_TLVS, &attribute(1, words)));
        let told = Said::Refused { request: 0, errno: EEXIST, message: Some(text.into()), offset: None };
        assert_eq!(heard, [told, Said::Finished]);
    }
    talk.works();
}

#[test]
fn a_refusal_that_does_not_repeat_the_request_is_one() {
    let mut talk = Talk::new();
    for flags in [0, CAPPED, ACK_TLVS] {
        let sent = talk.request(b"add");
        let bare = message(ERROR, flags, sequence(&sent), &(-EEXIST).to_ne_bytes());
        assert_eq!(talk.hear(&bare), [refused(0, EEXIST), Said::Finished], "flags {flags:#x}");
    }
    talk.works();
}

#[test]
fn errors_at_the_edges_of_their_type_are_distinguished() {
    let mut talk = Talk::new();
    for (code, expected) in [(i32::MIN, Some(i32::MAX)), (-4095, Some(4095)), (-1, Some(1)), (0, None), (1, Some(-1))] {
        let sent = talk.request(b"add");
        let mut answer = answer(&sent, 0);
        answer[16..20].copy_from_slice(&code.to_ne_bytes());
        let heard = talk.hear(&answer);
        let expected = expected.map(|errno| refused(0, errno)).into_iter().chain([Said::Finished]).collect::<Vec<_>>();
        assert_eq!(heard, expected, "{code}");
    }
    talk.works();
}

#[test]
fn a_body_may_be_longer_than_an_attribute() {
    let mut talk = Talk::new();
    let body = vec![7; 200_000];
    let sent = talk.request(&body);
    assert_eq!(u32_at(&sent, 0), 200_016);
    assert_eq!(hex(&sent[16..]), hex(&body));
    assert_eq!(talk.hear(&answer(&sent, 0)), [Said::Finished]);
    talk.works();
}
