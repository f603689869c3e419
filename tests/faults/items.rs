//! An item of a dump that cannot be decoded costs that item.

use lvs::ipset::{Entry, HashIp, Ipset, Kind, Listed, NewSet, SetName};
use lvs::testing::{Kernel, Reply};
use lvs::{Cause, Error};

/// An attribute with its padding.
fn attr(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + payload.len()).unwrap();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), payload].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

const NESTED: u16 = 0x8000;

fn message(request: &[u8], kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), request.get(8..12).unwrap(), &[0; 4], body]
        .concat()
}

fn ip(last: u8) -> Vec<u8> {
    attr(7 | NESTED, &attr(1 | NESTED, &attr(1 | 0x4000, &[192, 0, 2, last])))
}

/// A message of a listing; without a type, one that continues the set before.
fn part(request: &[u8], name: &[u8], kind: Option<&[u8]>, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut body = [&[2, 0, 0, 0][..], &attr(1, &[7]), &attr(2, name)].concat();
    if let Some(kind) = kind {
        body.extend([attr(3, kind), attr(5, &[2]), attr(4, &[6]), attr(7 | NESTED, &[])].concat());
    }
    body.extend(attr(8 | NESTED, &entries.concat()));
    message(request, 0x0607, 2, &body)
}

fn listing(parts: fn(&[u8]) -> Vec<Vec<u8>>) -> Ipset {
    let kernel = Kernel::script(move |request| {
        let done = message(request, 3, 2, &[0; 4]);
        parts(request).into_iter().chain([done]).map(|bytes| Reply::Datagram(0, bytes)).collect()
    });
    kernel.ipset()
}

fn told(item: Result<Listed, Error>) -> String {
    match item {
        Ok(Listed::Set(info)) => info.set.name().to_string(),
        Ok(Listed::Member(member)) => member.entry.to_string(),
        Err(error) if matches!(error.cause(), Cause::Decode(_)) => format!("! {}", error.operation()),
        Err(error) => panic!("{error}"),
    }
}

fn several(request: &[u8]) -> Vec<Vec<u8>> {
    let bad = attr(7 | NESTED, &attr(1 | NESTED, &attr(1 | 0x4000, &[1, 2])));
    vec![
        part(request, b"one\0", Some(b"hash:ip\0"), &[ip(1), bad.clone(), ip(2)]),
        part(request, b"one\0", None, &[bad, ip(3)]),
        part(request, b"two\0", Some(b"hash:later\0"), &[ip(4)]),
        part(request, b"two\0", None, &[ip(5)]),
        part(request, &[b'x'; 40], Some(b"hash:ip\0"), &[ip(6)]),
        part(request, b"three\0", Some(b"hash:ip\0"), &[ip(7)]),
    ]
}

#[test]
fn of_all_sets() {
    let mut ipset = listing(several);
    let items: Vec<_> = ipset.stream_contents(None).unwrap().map(told).collect();
    let wanted = [
        "one",
        "192.0.2.1",
        "! list set one",
        "192.0.2.2",
        "! list set one",
        "192.0.2.3",
        "! list set two",
        "! list all sets",
        "three",
        "192.0.2.7",
    ];
    assert_eq!(items, wanted);
    let headers: Vec<_> = ipset.stream_sets().unwrap().collect();
    assert_eq!(headers.iter().filter(|header| header.is_ok()).count(), 2);
    assert!(matches!(ipset.sets().unwrap_err().cause(), Cause::Decode(_)));
}

#[test]
fn of_one_set() {
    let mut ipset = listing(several);
    let set = listing(|request| {
        let mut body = part(request, b"one\0", Some(b"hash:ip\0"), &[]);
        body[4..6].copy_from_slice(&0x060cu16.to_ne_bytes());
        vec![body, message(request, 2, 0, &[&[0; 4][..], &request[..16]].concat())]
    })
    .open::<HashIp>(SetName::new("one").unwrap())
    .unwrap();
    let members: Vec<_> = ipset.stream_members(&set).unwrap().take(5).collect();
    let good: Vec<_> =
        members.iter().map(|member| member.as_ref().ok().map(|member| Entry::from(member.entry))).collect();
    assert_eq!(good.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, false, true]);
}

/// The attribute's length reaches over the end of the message.
#[test]
fn broken_framing_ends_a_listing() {
    let mut ipset = listing(|request| {
        let mut broken = part(request, b"one\0", Some(b"hash:ip\0"), &[ip(1), ip(2)]);
        let at = broken.len() - 16;
        broken[at..at + 2].copy_from_slice(&400u16.to_ne_bytes());
        vec![broken, part(request, b"two\0", Some(b"hash:ip\0"), &[ip(3)])]
    });
    let items: Vec<_> = ipset.stream_contents(None).unwrap().map(told).collect();
    assert_eq!(items, ["one", "192.0.2.1", "! list all sets"]);
}

/// The lowest revision, or version, is above the highest.
#[test]
fn revisions_out_of_order_are_a_decode_error() {
    let mut ipset = Kernel::script(|request| {
        let kind = u16::from_ne_bytes([request[4], request[5]]);
        let body =
            [&[2, 0, 0, 0][..], &attr(1, &[7]), &attr(3, b"hash:ip\0"), &attr(4, &[5]), &attr(10, &[200])].concat();
        let ack = message(request, 2, 0, &[&[0; 4][..], &request[..16]].concat());
        [message(request, kind, 0, &body), ack].map(|bytes| Reply::Datagram(0, bytes)).into()
    })
    .ipset();
    let errors = [
        ipset.create(SetName::new("x").unwrap(), &NewSet::<HashIp>::ipv4()).unwrap_err(),
        ipset.revisions(Kind::HashIp).unwrap_err(),
        ipset.version().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error.cause(), Cause::Decode(_)), "{error}");
    }
}
