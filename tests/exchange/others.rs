//! Replies to abandoned requests and messages from other processes.

use crate::talk::*;

#[test]
fn replies_with_other_sequence_numbers_are_skipped() {
    let mut talk = Talk::new();
    let old = talk.request(b"old");
    talk.0.abandon();
    let sent = talk.request(b"get");
    let now = sequence(&sent);
    let mut stale = vec![message(FAMILY, 0, sequence(&old), b"old"), answer(&old, EEXIST)];
    for other in [0, now.wrapping_sub(2), now.wrapping_add(1), u32::MAX, now ^ 0x0100_0000] {
        stale.push(message(FAMILY, 0, other, b"other"));
        stale.push(done(other, -EINVAL));
        stale.push(answer(&message(FAMILY, 0, other, b""), EINVAL));
    }
    assert_eq!(talk.hear(&stale.concat()), [Said::Receive]);
    let mine = [&stale.concat()[..], &message(FAMILY, 0, now, b"mine"), &stale.concat(), &answer(&sent, 0)].concat();
    assert_eq!(talk.hear(&mine), [got(0, b"mine"), Said::Finished]);
    talk.works();
}

#[test]
fn unsolicited_messages_are_skipped() {
    let mut talk = Talk::new();
    assert_eq!(talk.hear(&[entry(1, b"one"), done(1, 0), entry(0, b"zero")].concat()), [Said::Finished]);
    talk.works();
    // After the end of a request, too, even with its own number and in the same datagram.
    let sent = talk.request(b"get");
    let late = message(FAMILY, 0, sequence(&sent), b"late");
    assert_eq!(talk.hear(&[answer(&sent, 0), late.clone(), answer(&sent, EINVAL)].concat()), [Said::Finished]);
    assert_eq!(talk.hear(&late), [Said::Finished]);
    talk.works();
}

#[test]
fn replies_that_came_before_the_request_was_sent_are_skipped() {
    let mut talk = Talk::new();
    talk.0.queue(FAMILY, 0, b"get").unwrap();
    // The next number is easy to guess.
    talk.receive_from(0, &message(ERROR, CAPPED, 1, &[0; 20]));
    let sent = talk.send();
    assert_eq!(sequence(&sent), 1, "the test guessed wrong");
    assert_eq!(talk.hear(&answer(&sent, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn replies_of_an_abandoned_request_are_skipped() {
    let mut talk = Talk::new();
    let old = talk.request(b"old");
    talk.0.abandon();
    assert_eq!(talk.step(), Said::Finished);
    let new = talk.request(b"new");
    assert_ne!(sequence(&old), sequence(&new));
    let stale = [message(FAMILY, 0, sequence(&old), b"stale"), answer(&old, EEXIST)].concat();
    assert_eq!(talk.hear(&stale), [Said::Receive]);
    assert_eq!(talk.hear(&answer(&new, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn giving_up_in_the_middle_of_a_datagram_skips_the_rest_of_it() {
    let mut talk = Talk::new();
    let old = talk.request(b"old");
    let data = message(FAMILY, 0, sequence(&old), b"stale");
    talk.receive_from(0, &[&data[..], &data, &answer(&old, EINVAL)].concat());
    assert_eq!(talk.step(), got(0, b"stale"));
    talk.0.abandon();
    talk.works();
}

#[test]
fn a_dump_waits_for_the_end_of_an_abandoned_one() {
    let mut talk = Talk::new();
    let old = talk.dump();
    assert_eq!(talk.hear(&entry(old, b"one")), [got(0, b"one"), Said::Receive]);
    talk.0.abandon();
    // Other requests do not wait.
    let request = talk.request(b"get");
    assert_eq!(talk.hear(&entry(old, b"two")), [Said::Receive]);
    assert_eq!(talk.hear(&answer(&request, 0)), [Said::Finished]);
    // The next dump does: the kernel would refuse it.
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&entry(old, b"three")), [Said::Receive]);
    assert_eq!(talk.hear(&[entry(old, b"four"), done(old, 0)].concat()), [Said::Send]);
    let new = sequence(&talk.1);
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&[entry(new, b"one"), done(new, 0)].concat()), [got(0, b"one"), Said::Finished]);
    talk.works();
}

#[test]
fn a_dump_given_up_twice_is_still_waited_for() {
    let mut talk = Talk::new();
    let old = talk.dump();
    talk.0.abandon();
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    talk.0.abandon();
    talk.0.abandon();
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&done(old, -EINTR)), [Said::Send]);
    let new = sequence(&talk.1);
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&done(new, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn a_refusal_is_the_end_of_an_abandoned_dump_too() {
    let mut talk = Talk::new();
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    let old = talk.send();
    talk.0.abandon();
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&answer(&old, EINVAL)), [Said::Send]);
    let new = sequence(&talk.1);
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&done(new, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn a_dump_that_was_not_sent_is_not_waited_for() {
    let mut talk = Talk::new();
    // Never given out.
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    talk.0.abandon();
    talk.works();
    // Given out, and the sending failed: the driver gives up instead of going on.
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert!(matches!(talk.0.step(), Ok(Step::Send)));
    talk.0.abandon();
    assert_eq!(hex(talk.0.outgoing()), "");
    talk.works();
}

#[test]
fn a_forged_datagram_is_ignored() {
    let mut talk = Talk::new();
    let sent = talk.request(b"get");
    for port in [1, 77, u32::MAX] {
        talk.receive_from(port, &answer(&sent, 0));
        assert_eq!(talk.step(), Said::Receive);
        talk.receive_from(port, &[0xff; 40]);
        assert_eq!(talk.step(), Said::Receive);
    }
    // One that does not fit is no truncation of ours.
    talk.0.received(1 << 20, 77);
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&answer(&sent, EINVAL)), [refused(0, EINVAL), Said::Finished]);
    talk.works();
}

#[test]
fn a_forged_datagram_in_the_middle_of_a_dump_is_ignored() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    assert_eq!(talk.hear(&entry(dump, b"one")), [got(0, b"one"), Said::Receive]);
    talk.receive_from(77, &[entry(dump, b"forged"), done(dump, 0)].concat());
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&[entry(dump, b"two"), done(dump, 0)].concat()), [got(0, b"two"), Said::Finished]);
    talk.works();
}
