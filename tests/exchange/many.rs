//! Many requests at once.

use lvs::Cause;

use crate::talk::*;

#[test]
fn only_the_last_request_of_a_batch_asks_for_an_ack() {
    let mut talk = Talk::new();
    for count in [1, 2, 7, 50] {
        let sent = batch(&mut talk, count);
        for (i, message) in sent.iter().enumerate() {
            let wanted = if i + 1 == sent.len() { REQUEST | ACK } else { REQUEST };
            assert_eq!(flags(message), wanted, "{i}: {}", hex(message));
            assert_eq!(hex(&message[16..]), hex(&vec![u8::try_from(i).unwrap(); i]));
            assert_eq!(sequence(message), sequence(&sent[0]) + u32::try_from(i).unwrap());
        }
        assert_eq!(talk.hear(&answer(&sent[sent.len() - 1], 0)), [Said::Finished]);
    }
    talk.works();
}

#[test]
fn refusals_of_a_batch_have_their_position() {
    let mut talk = Talk::new();
    let sent = batch(&mut talk, 6);
    let datagram = [answer(&sent[1], EEXIST), answer(&sent[3], EINVAL)].concat();
    assert_eq!(talk.hear(&datagram), [refused(1, EEXIST), refused(3, EINVAL), Said::Receive]);
    assert_eq!(talk.hear(&answer(&sent[4], EEXIST)), [refused(4, EEXIST), Said::Receive]);
    assert_eq!(talk.hear(&answer(&sent[5], 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn a_repeated_refusal_is_reported_once() {
    let mut talk = Talk::new();
    let sent = batch(&mut talk, 4);
    let (second, first) = (answer(&sent[2], EEXIST), answer(&sent[0], EINVAL));
    let expected = [refused(2, EEXIST), refused(0, EINVAL), Said::Receive];
    assert_eq!(talk.hear(&[&second[..], &first, &second, &first].concat()), expected);
    assert_eq!(talk.hear(&answer(&sent[3], 0)), [Said::Finished]);
    // The next batch has refusals of its own.
    let sent = batch(&mut talk, 4);
    assert_eq!(talk.hear(&answer(&sent[2], EEXIST)), [refused(2, EEXIST), Said::Receive]);
    assert_eq!(talk.hear(&answer(&sent[3], 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn a_batch_may_fail_as_a_whole() {
    let mut talk = Talk::new();
    let sent = batch(&mut talk, 5);
    let datagrams = sent.iter().map(|message| answer(message, EEXIST)).collect::<Vec<_>>();
    let expected = (0..5).map(|i| refused(i, EEXIST)).chain([Said::Finished]).collect::<Vec<_>>();
    assert_eq!(talk.hear(&datagrams.concat()), expected);
    // Each in a datagram of its own, as the kernel sends them.
    let sent = batch(&mut talk, 5);
    for (i, message) in sent.iter().enumerate() {
        let then = if i == 4 { Said::Finished } else { Said::Receive };
        assert_eq!(talk.hear(&answer(message, EEXIST)), [refused(i, EEXIST), then]);
    }
    talk.works();
}

#[test]
fn the_refusal_of_the_last_request_ends_a_batch() {
    let mut talk = Talk::new();
    let sent = batch(&mut talk, 3);
    assert_eq!(talk.hear(&answer(&sent[2], EEXIST)), [refused(2, EEXIST), Said::Finished]);
    talk.works();
}

#[test]
fn an_ack_that_was_not_asked_for_ends_nothing() {
    let mut talk = Talk::new();
    let sent = batch(&mut talk, 3);
    assert_eq!(talk.hear(&[answer(&sent[0], 0), answer(&sent[1], 0)].concat()), [Said::Receive]);
    assert_eq!(talk.hear(&answer(&sent[2], 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn data_of_a_batch_has_its_position() {
    let mut talk = Talk::new();
    let sent = batch(&mut talk, 3);
    let datagram = sent.iter().map(|request| message(FAMILY, 0, sequence(request), &request[16..]));
    let datagram = datagram.chain([answer(&sent[2], 0)]).collect::<Vec<_>>().concat();
    let expected = [got(0, &[]), got(1, &[1]), got(2, &[2, 2]), Said::Finished];
    assert_eq!(talk.hear(&datagram), expected);
    talk.works();
}

#[test]
fn the_end_of_a_dump_does_not_end_a_batch() {
    let mut talk = Talk::new();
    let sent = batch(&mut talk, 2);
    let ends = [done(sequence(&sent[0]), 0), done(sequence(&sent[1]), 0)].concat();
    assert_eq!(talk.hear(&ends), [Said::Receive]);
    assert_eq!(talk.hear(&answer(&sent[1], 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn replies_of_an_abandoned_batch_are_skipped() {
    let mut talk = Talk::new();
    let old = batch(&mut talk, 4);
    assert_eq!(talk.hear(&answer(&old[0], EEXIST)), [refused(0, EEXIST), Said::Receive]);
    talk.0.abandon();
    let new = batch(&mut talk, 4);
    let stale = old.iter().map(|message| answer(message, EINVAL)).collect::<Vec<_>>().concat();
    let datagram = [stale, answer(&new[2], EEXIST), answer(&new[3], 0)].concat();
    assert_eq!(talk.hear(&datagram), [refused(2, EEXIST), Said::Finished]);
    talk.works();
}

#[test]
fn nothing_is_queued_while_requests_are_in_flight() {
    let mut talk = Talk::new();
    let sent = batch(&mut talk, 2);
    assert!(matches!(talk.0.queue(FAMILY, 0, b"new"), Err(Cause::InvalidInput(_))));
    assert!(matches!(talk.0.queue_dump(FAMILY, b"all!"), Err(Cause::InvalidInput(_))));
    let datagram = [answer(&sent[0], EEXIST), answer(&sent[1], 0)].concat();
    assert_eq!(talk.hear(&datagram), [refused(0, EEXIST), Said::Finished]);
    talk.works();
    // Abandoned ones are no longer in flight.
    let old = batch(&mut talk, 2);
    talk.0.abandon();
    let new = talk.request(b"new");
    assert_eq!(messages(&new).len(), 1);
    assert_eq!(talk.hear(&[answer(&old[1], 0), answer(&new, 0)].concat()), [Said::Finished]);
    talk.works();
}

#[test]
fn unsent_requests_are_offered_again() {
    let mut exchange = Exchange::new(Limits::default());
    exchange.queue(FAMILY, 0, b"one").unwrap();
    assert!(matches!(exchange.step(), Ok(Step::Send)));
    exchange.queue(FAMILY, 0, b"two").unwrap();
    assert!(matches!(exchange.step(), Ok(Step::Send)));
    assert_eq!(messages(exchange.outgoing()).len(), 2);
    // A dump that was not sent is not open.
    exchange.abandon();
    exchange.queue_dump(FAMILY, b"all!").unwrap();
    assert!(matches!(exchange.step(), Ok(Step::Send)));
    exchange.abandon();
    exchange.queue_dump(FAMILY, b"all!").unwrap();
    assert!(matches!(exchange.step(), Ok(Step::Send)));
}

#[test]
fn many_requests_wait_for_the_end_of_an_abandoned_dump_and_one_does_not() {
    let mut talk = Talk::new();
    let dump = talk.dump();
    talk.0.abandon();
    let one = talk.request(b"one");
    assert_eq!(talk.hear(&[entry(dump, b"stale"), answer(&one, 0)].concat()), [Said::Finished]);
    // Their refusals need the room that the dump goes on filling.
    talk.0.queue(FAMILY, 0, b"one").unwrap();
    talk.0.queue(FAMILY, 0, b"two").unwrap();
    assert_eq!(talk.step(), Said::Receive);
    assert_eq!(talk.hear(&entry(dump, b"stale")), [Said::Receive]);
    assert_eq!(talk.hear(&done(dump, 0)), [Said::Send]);
    let two = messages(&talk.1);
    assert_eq!(two.len(), 2);
    assert_eq!(talk.hear(&answer(two[1], 0)), [Said::Finished]);
    talk.works();
}

#[test]
fn a_dump_travels_alone_and_no_queued_request_is_lost() {
    let refused = |queued| matches!(queued, Err(Cause::InvalidInput(_)));
    let mut talk = Talk::new();
    talk.0.queue(FAMILY, 0, b"before").unwrap();
    assert!(refused(talk.0.queue_dump(FAMILY, b"all!")));
    let sent = talk.send();
    assert_eq!(hex(&sent[16..22]), hex(b"before"));
    assert_eq!(talk.hear(&answer(&sent, 0)), [Said::Finished]);

    talk.0.queue_dump(FAMILY, b"all!").unwrap();
    assert!(refused(talk.0.queue(FAMILY, 0, b"after")) && refused(talk.0.queue_dump(FAMILY, b"all!")));
    let sent = talk.send();
    assert_eq!(messages(&sent).len(), 1, "{}", hex(&sent));
    assert_eq!(talk.hear(&done(sequence(&sent), 0)), [Said::Finished]);
    talk.works();
}
