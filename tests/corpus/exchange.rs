//! Datagrams into the exchange: whatever comes, and whatever its driver does, it says nothing about requests that there
//! are not, comes to rest, and works after a reset.
//!
//! An input is a list of deeds: a byte that says which, two for a length (little-endian), and so many bytes.

#[path = "../exchange/talk.rs"]
#[expect(dead_code, reason = "the tests of the exchange use the rest")]
pub(crate) mod talk;

use talk::*;

/// A datagram of the captures fits, and one of a few thousand bytes does not.
const INBOX: usize = 4096;

pub(crate) fn run(mut data: &[u8]) {
    let mut limits = Limits::default();
    limits.inbox = INBOX;
    limits.requests = 4;
    let mut talk = Talk::within(limits);
    // Refused requests among those in flight.
    let mut refused = Vec::new();
    // The number of the newest request.
    let mut newest = 0u32;
    while let Some((deed, bytes)) = next(&mut data) {
        match deed {
            0 if !talk.0.is_full() => {
                if talk.0.queue(FAMILY, 0, bytes).is_err() {
                    talk.0.abandon();
                    talk.0.queue(FAMILY, 0, bytes).unwrap();
                }
                newest += 1;
            }
            1 => {
                if talk.0.queue_dump(FAMILY, bytes).is_err() {
                    talk.0.abandon();
                    talk.0.queue_dump(FAMILY, bytes).unwrap();
                }
                newest += 1;
            }
            2 => {
                settle(&mut talk, &mut refused);
            }
            3 => {
                check(&mut talk, &mut refused);
            }
            4 if settle(&mut talk, &mut refused) == Said::Receive => {
                // A stranger's datagram is as if it had not come.
                talk.receive_from(1, &in_reply(bytes, newest));
                assert_eq!(talk.step(), Said::Receive);
            }
            5 => talk.0.abandon(),
            6 => talk.0.reset(),
            7 if settle(&mut talk, &mut refused) == Said::Receive => {
                // One that was cut.
                let mut long = in_reply(bytes, newest);
                long.resize(INBOX + 1 + bytes.len(), 0);
                talk.receive_from(0, &long);
            }
            _ if settle(&mut talk, &mut refused) == Said::Receive => talk.receive_from(0, &in_reply(bytes, newest)),
            _ => {}
        }
    }
    settle(&mut talk, &mut refused);
    talk.0.reset();
    talk.works();
}

pub(crate) fn next<'a>(data: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[deed, low, high], rest) = data.split_first_chunk()?;
    let (bytes, rest) = rest.split_at(usize::from(u16::from_le_bytes([low, high])).min(rest.len()));
    *data = rest;
    Some((deed, bytes))
}

/// Sequence numbers below 16 count back from the newest request, so that an input can answer requests; others are none
/// that was, or soon will be, in use.
pub(crate) fn in_reply(datagram: &[u8], newest: u32) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    let mut start = 0;
    while let Some(&[l0, l1, l2, l3, _, _, _, _, s0, s1, s2, s3]) = datagram.get(start..).and_then(<[u8]>::first_chunk)
    {
        let back = u32::from_ne_bytes([s0, s1, s2, s3]);
        let number = if back < 16 { newest.wrapping_sub(back) } else { back | 1 << 31 };
        datagram[start + 8..start + 12].copy_from_slice(&number.to_ne_bytes());
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap();
        start = start.saturating_add(length.max(1).next_multiple_of(4));
    }
    datagram
}

/// Steps until there is something to receive or nothing to do.
fn settle(talk: &mut Talk, refused: &mut Vec<usize>) -> Said {
    // Each message takes at least its header, there may be one of each error, and something to send.
    for _ in 0..INBOX / 16 + 4 {
        let said = check(talk, refused);
        if matches!(said, Said::Receive | Said::Finished) {
            return said;
        }
    }
    panic!("it does not come to rest");
}

/// A step, and what holds for what it says.
fn check(talk: &mut Talk, refused: &mut Vec<usize>) -> Said {
    let said = talk.step();
    assert!(talk.0.message().len() <= INBOX);
    match said {
        Said::Send => refused.clear(),
        Said::Refused { request, .. } => {
            assert!(!refused.contains(&request), "{request} was refused already");
            refused.push(request);
        }
        _ => {}
    }
    if let Said::Message { request, .. } | Said::Refused { request, .. } = said {
        assert!(request < messages(&talk.1).len(), "there is no request {request}");
    }
    said
}
