//! Malformed replies.

use crate::talk::*;

#[test]
fn a_truncated_datagram_is_an_error_with_its_length() {
    let mut limits = Limits::default();
    limits.inbox = 64;
    let mut talk = Talk::within(limits);
    let sent = talk.request(b"get");
    let long = [answer(&sent, 0), message(FAMILY, 0, sequence(&sent), &[1; 60])].concat();
    let cause = Cause::Truncated { length: long.len(), buffer: 64 }.to_string();
    assert_eq!(talk.hear(&long), [Said::Failed(cause)]);
    assert_eq!(talk.step(), Said::Finished);
    talk.works();
    // As long as the inbox is not too long.
    let sent = talk.request(b"get");
    assert_eq!(talk.hear(&message(FAMILY, 0, sequence(&sent), &[1; 48])), [got(0, &[1; 48]), Said::Receive]);
    assert_eq!(talk.hear(&answer(&sent, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn a_dump_truncated_in_the_middle_is_given_up() {
    let mut limits = Limits::default();
    limits.inbox = 64;
    let mut talk = Talk::within(limits);
    let dump = talk.dump();
    let heard = talk.hear(&entry(dump, &[1; 80]));
    assert_eq!(heard, [Said::Failed(Cause::Truncated { length: 96, buffer: 64 }.to_string())]);
    // Its end is still to come.
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&done(dump, 0)), [Said::Send]);
    let new = sequence(&talk.1);
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&done(new, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn a_broken_length_is_an_error_and_the_next_request_works() {
    for length in [0u32, 1, 15, 41, 64, 0x8000_0000, u32::MAX - 3, u32::MAX] {
        let mut talk = Talk::new();
        let sent = talk.request(b"get");
        let good = message(FAMILY, 0, sequence(&sent), b"good");
        let mut broken = message(FAMILY, 0, sequence(&sent), &[5; 24]);
        assert_eq!(broken.len(), 40);
        broken[..4].copy_from_slice(&length.to_ne_bytes());
        let heard = talk.hear(&[good, broken].concat());
        assert!(
            matches!(&heard[..], [Said::Message { .. }, Said::Failed(text)] if text.contains("nlmsghdr")),
            "{length}: {heard:?}"
        );
        assert_eq!(talk.step(), Said::Finished);
        talk.works();
    }
}

#[test]
fn a_datagram_shorter_than_a_header_is_an_error() {
    for length in 1..16 {
        let mut talk = Talk::new();
        let sent = talk.request(b"get");
        let heard = talk.hear(&answer(&sent, 0)[..length]);
        assert!(matches!(&heard[..], [Said::Failed(_)]), "{length}: {heard:?}");
        talk.works();
        // Behind a whole message it is, too.
        let sent = talk.request(b"get");
        let data = message(FAMILY, 0, sequence(&sent), b"good");
        let heard = talk.hear(&[&data[..], &answer(&sent, 0)[..length]].concat());
        assert!(matches!(&heard[..], [Said::Message { .. }, Said::Failed(_)]), "{length}: {heard:?}");
        talk.works();
    }
}

#[test]
fn an_answer_without_its_number_is_an_error() {
    let mut talk = Talk::new();
    for length in 0..4 {
        let sent = talk.request(b"get");
        let heard = talk.hear(&message(ERROR, 0, sequence(&sent), &[0; 4][..length]));
        let expected = format!("nlmsgerr: wanted 4 bytes, got {length}");
        assert!(matches!(&heard[..], [Said::Failed(text)] if text.ends_with(&expected)), "{length}: {heard:?}");
        talk.works();
    }
}

#[test]
fn a_dump_broken_in_the_middle_is_waited_for_before_the_next_one() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    let mut broken = entry(dump, b"one");
    broken[0] = 3;
    assert!(matches!(&talk.hear(&broken)[..], [Said::Failed(_)]));
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&[entry(dump, b"two"), done(dump, 0)].concat()), [Said::Send]);
    let new = sequence(&talk.1);
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&done(new, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn a_dump_whose_end_was_lost_does_not_hold_up_the_next_one() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    talk.0.abandon();
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    assert!(!talk.0.outgoing().is_empty());
    talk.0.drained();
    assert_eq!(talk.step(), Said::Send);
    let new = sequence(&talk.1);
    assert_eq!(talk.step(), Said::Receive);
    // If it comes all the same, it is not this one's.
    assert_eq!(talk.hear(&[entry(dump, b"old"), done(dump, 0)].concat()), [Said::Receive]);
    assert_eq!(talk.hear(&[entry(new, b"new"), done(new, 0)].concat()), [got(0, b"new"), Said::Finished]);
    talk.works();
}

#[test]
fn a_reset_discards_an_open_dump_and_received_data() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    talk.receive_from(0, &[entry(dump, b"one"), entry(dump, b"two")].concat());
    assert_eq!(talk.step(), got(0, b"one"));
    talk.0.reset();
    assert_eq!(talk.step(), Said::Finished);
    talk.works();
    // A part that is not read yet may be malformed.
    let sent = talk.request(b"get");
    talk.receive_from(0, &[&message(FAMILY, 0, sequence(&sent), b"one")[..], &[3, 0, 0, 0, 0]].concat());
    assert_eq!(talk.step(), got(0, b"one"));
    talk.0.reset();
    assert_eq!(talk.step(), Said::Finished);
    // Also when the next dump waits for it already.
    talk.dump();
    talk.0.abandon();
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    talk.0.reset();
    assert_eq!(talk.step(), Said::Finished);
    talk.works();
}

#[test]
fn a_reset_forgets_a_truncated_datagram() {
    let mut talk = Talk::new();
    talk.request(b"get");
    talk.0.received(1 << 20, 0);
    talk.0.reset();
    assert_eq!(talk.step(), Said::Finished);
    talk.works();
}

#[test]
fn giving_up_forgets_a_truncated_datagram() {
    let mut talk = Talk::new();
    talk.request(b"get");
    talk.0.received(1 << 20, 0);
    talk.0.abandon();
    assert_eq!(talk.step(), Said::Finished);
    talk.works();
}

#[test]
fn a_truncated_datagram_of_an_abandoned_request_is_skipped() {
    let mut limits = Limits::default();
    limits.inbox = 64;
    let mut talk = Talk::within(limits);
    let dump = talk.dump();
    talk.0.abandon();
    let sent = talk.request(b"get");
    assert_eq!(talk.hear(&entry(dump, &[1; 80])), [Said::Receive]);
    assert_eq!(talk.hear(&answer(&sent, 0)), [Said::Finished]);
}

#[test]
fn giving_up_in_the_middle_of_a_broken_datagram_does_not_spoil_the_next_request() {
    let mut talk = Talk::new();
    let old = talk.request(b"old");
    talk.receive_from(0, &[&message(FAMILY, 0, sequence(&old), b"one")[..], &[3, 0, 0, 0, 0]].concat());
    assert_eq!(talk.step(), got(0, b"one"));
    talk.0.abandon();
    talk.works();
}
