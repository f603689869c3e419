//! Dumps.

use crate::talk::*;

#[test]
fn a_dump_over_many_datagrams_gives_every_entry_in_order() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    for datagram in 0..10u8 {
        let entries = (0..=datagram).map(|i| entry(dump, &[datagram, i, 0xee])).collect::<Vec<_>>();
        let mut expected = (0..=datagram).map(|i| got(0, &[datagram, i, 0xee])).collect::<Vec<_>>();
        expected.push(Said::Receive);
        assert_eq!(talk.hear(&entries.concat()), expected);
    }
    assert_eq!(talk.hear(&done(dump, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn the_end_of_a_dump_may_share_a_datagram_or_be_empty() {
    let mut talk = Talk::new();
    for end in [0i32.to_ne_bytes().to_vec(), vec![], 3i32.to_ne_bytes().to_vec(), vec![0; 12]] {
        let dump = talk.dump();
        let datagram = [entry(dump, b"one"), message(DONE, MULTI, dump, &end)].concat();
        assert_eq!(talk.hear(&datagram), [got(0, b"one"), Said::Finished], "{}", hex(&end));
        let dump = talk.dump();
        assert_eq!(talk.hear(&message(DONE, MULTI, dump, &end)), [Said::Finished], "{}", hex(&end));
    }
    talk.works();
}

#[test]
fn the_last_message_of_a_datagram_may_lack_its_padding() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    let datagram = [entry(dump, b"one"), entry(dump, b"two++")].concat();
    let expected = [got(0, b"one"), got(0, b"two++"), Said::Receive];
    assert_eq!(talk.hear(&datagram[..datagram.len() - 3]), expected);
    assert_eq!(talk.hear(&done(dump, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn entries_may_fill_the_whole_inbox() {
    let mut limits = Limits::default();
    limits.inbox = 4096;
    let mut talk = Talk::within(limits);
    let dump = talk.dump();
    let bodies = [vec![1; 2000], vec![2; 4096 - 2016 - 16]];
    let datagram = bodies.iter().map(|body| entry(dump, body)).collect::<Vec<_>>().concat();
    assert_eq!(datagram.len(), 4096);
    let expected = [got(0, &bodies[0]), got(0, &bodies[1]), Said::Receive];
    assert_eq!(talk.hear(&datagram), expected);
    let one = vec![3; 4096 - 16];
    assert_eq!(talk.hear(&entry(dump, &one)), [got(0, &one), Said::Receive]);
    assert_eq!(talk.hear(&done(dump, 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn an_empty_datagram_and_messages_that_say_nothing_are_passed_over() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    assert_eq!(talk.hear(&[]), [Said::Receive]);
    let noop = message(1, 0, dump, b"");
    let overrun = message(4, 0, dump, b"");
    assert_eq!(talk.hear(&[&noop[..], &overrun, &noop].concat()), [Said::Receive]);
    assert_eq!(talk.hear(&[noop, entry(dump, b"one"), done(dump, 0)].concat()), [got(0, b"one"), Said::Finished]);
    talk.works();
}

#[test]
fn a_refused_dump_is_finished() {
    let mut talk = Talk::new();
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    let sent = talk.send();
    assert_eq!(talk.hear(&answer(&sent, EBUSY)), [refused(0, EBUSY), Said::Finished]);
    talk.works();
}

#[test]
fn an_error_in_the_middle_of_a_dump_ends_it() {
    let mut talk = Talk::new();
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    let sent = talk.send();
    let first = entry(sequence(&sent), b"one");
    assert_eq!(talk.hear(&first), [got(0, b"one"), Said::Receive]);
    assert_eq!(talk.hear(&answer(&sent, EINVAL)), [refused(0, EINVAL), Said::Finished]);
    talk.works();
}

#[test]
fn an_error_in_the_end_of_a_dump_is_reported() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    let datagram = [entry(dump, b"one"), done(dump, -EINTR)].concat();
    assert_eq!(talk.hear(&datagram), [got(0, b"one"), refused(0, EINTR), Said::Finished]);
    talk.works();
    // With words: they stand right behind the number.
    let dump = talk.dump();
    let body = [&(-EINVAL).to_ne_bytes()[..], &attribute(1, b"too old\0"), &attribute(2, &8u32.to_ne_bytes())].concat();
    let expected = Said::Refused { request: 0, errno: EINVAL, message: Some("too old".to_owned()), offset: Some(8) };
    assert_eq!(talk.hear(&message(DONE, MULTI | ACK_TLVS, dump, &body)), [expected, Said::Finished]);
    talk.works();
}

#[test]
fn an_interrupted_dump_gives_its_entries_and_fails_at_its_end() {
    for marked in 0..3 {
        let mut talk = Talk::new();
        let dump = talk.dump();
        let flags = |at| MULTI | if at == marked { INTERRUPTED } else { 0 };
        let first = message(FAMILY, flags(0), dump, b"one");
        assert_eq!(talk.hear(&first), [got(0, b"one"), Said::Receive]);
        let last = [message(FAMILY, flags(1), dump, b"two"), message(DONE, flags(2), dump, &[0; 4])].concat();
        assert_eq!(talk.hear(&last), [got(0, b"two"), interrupted()], "marked at {marked}");
        assert_eq!(talk.step(), Said::Finished);
        talk.works();
    }
}

#[test]
fn no_other_flag_is_an_interruption() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    let datagram = [message(FAMILY, !INTERRUPTED, dump, b"one"), message(DONE, !INTERRUPTED, dump, &[0; 4])].concat();
    assert_eq!(talk.hear(&datagram), [got(0, b"one"), Said::Finished]);
    talk.works();
}

#[test]
fn only_a_dump_is_interrupted() {
    let mut talk = Talk::new();
    let sent = talk.request(b"get");
    let datagram = [message(FAMILY, INTERRUPTED, sequence(&sent), b"one"), answer(&sent, 0)].concat();
    assert_eq!(talk.hear(&datagram), [got(0, b"one"), Said::Finished]);
    talk.works();
}

#[test]
fn a_dump_both_interrupted_and_refused_was_refused() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    let end = message(DONE, MULTI | INTERRUPTED, dump, &(-EINVAL).to_ne_bytes());
    assert_eq!(talk.hear(&end), [refused(0, EINVAL), Said::Finished]);
    talk.works();
}

#[test]
fn an_interruption_of_another_dump_is_not_this_ones() {
    let mut talk = Talk::new();
    let old = talk.dump();
    talk.0.abandon();
    let request = talk.request(b"get");
    let stale = message(FAMILY, MULTI | INTERRUPTED, old, b"old");
    assert_eq!(talk.hear(&[stale, answer(&request, 0)].concat()), [Said::Finished]);
    let dump_end = message(DONE, MULTI | INTERRUPTED, old, &[0; 4]);
    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&dump_end), [Said::Send]);
    let dump = sequence(&talk.1);
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&done(dump, 0)), [Said::Finished]);
    talk.works();
}
