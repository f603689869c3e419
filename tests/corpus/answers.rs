//! Answers that fit a request, as a kernel with one set, one dummy interface and an empty IPVS table gives them.

use super::super::exchange::talk::{self, MULTI};

/// Subsystem of ipset in the type of a message.
const IPSET: u16 = 6;
/// `NLMSG_MIN_TYPE`: lower types are control messages, then those of rtnetlink.
const ROUTES: std::ops::Range<u16> = 16..0x100;
const GET_LINK: u16 = 18;

/// The datagrams that answer the last message of `requests`; `body` is the entry or the value for IPVS.
pub(crate) fn fitting(requests: &[u8], body: &[u8]) -> Vec<Vec<u8>> {
    let Some(&request) = talk::messages(requests).last() else { return Vec::new() };
    let (kind, sequence) = (talk::u16_at(request, 4), talk::sequence(request));
    let dump = talk::flags(request) & talk::DUMP == talk::DUMP;
    let of_set = kind >> 8 == IPSET;
    // Several requests in one datagram are changes.
    let reply = match talk::messages(requests).len() {
        1 if of_set => set(request).map(|body| (kind, body)),
        1 if ROUTES.contains(&kind) => (kind == GET_LINK).then(|| (kind - 2, link(request))),
        1 if !body.is_empty() && is_question(request) => Some((kind, body.to_vec())),
        _ => None,
    };
    let flags = if dump { MULTI } else { 0 };
    let mut datagrams: Vec<_> =
        reply.map(|(kind, body)| talk::message(kind, flags, sequence, &body)).into_iter().collect();
    datagrams.push(if dump { talk::done(sequence, 0) } else { talk::answer(request, 0) });
    datagrams
}

/// Whether a request of IPVS has one of the `IPVS_CMD_GET` commands.
fn is_question(request: &[u8]) -> bool {
    matches!(request.get(16), Some(4 | 8 | 11 | 13 | 15))
}

/// The request's own attributes, and those of a `hash:ip` that it lacks, for the commands that return a set or a type.
fn set(request: &[u8]) -> Option<Vec<u8>> {
    if !matches!(request[4], 1 | 7 | 12..=15) {
        return None;
    }
    let mut body = request.get(16..)?.to_vec();
    let numbers = attributes(body.get(4..)?);
    let own: [(u16, &[u8]); 7] =
        [(1, &[7]), (2, b"tried\0"), (3, b"hash:ip\0"), (4, &[6]), (5, &[2]), (10, &[0]), (11, &[0, 7])];
    for (number, payload) in own.into_iter().filter(|(number, _)| !numbers.contains(number)) {
        body.extend(talk::attribute(number, payload));
    }
    Some(body)
}

fn attributes(mut bytes: &[u8]) -> Vec<u16> {
    let mut numbers = Vec::new();
    while bytes.len() >= 4 {
        numbers.push(talk::u16_at(bytes, 2) & 0x3fff);
        let length = usize::from(talk::u16_at(bytes, 0)).max(4).next_multiple_of(4);
        bytes = &bytes[length.min(bytes.len())..];
    }
    numbers
}

/// A dummy interface with index 7 and the name in the request.
fn link(request: &[u8]) -> Vec<u8> {
    let name: &[u8] = if request.windows(4).any(|bytes| bytes == b"eth0") { b"eth0\0" } else { b"vip0\0" };
    let mut body = vec![0, 0, 1, 0];
    body.extend(7u32.to_ne_bytes());
    body.extend(0x83u32.to_ne_bytes());
    body.extend([0; 4]);
    body.extend(talk::attribute(3, name));
    body.extend(talk::attribute(18, &talk::attribute(1, b"dummy\0")));
    body
}
