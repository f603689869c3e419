//! How much travels at once.

use crate::talk::*;

#[test]
fn it_is_full_with_so_many_requests_or_bytes() {
    let mut limits = Limits::default();
    limits.requests = 3;
    limits.bytes = 100;
    let mut talk = Talk::within(limits);
    assert!(!talk.0.is_full());
    for full in [false, false, true] {
        talk.0.queue(FAMILY, 0, b"").unwrap();
        assert_eq!(talk.0.is_full(), full);
    }
    let datagram = talk.send();
    let last = messages(&datagram)[2].to_vec();
    assert_eq!(talk.hear(&answer(&last, 0)), [Said::Finished]);
    assert!(!talk.0.is_full(), "what is answered does not count");

    talk.0.queue(FAMILY, 0, &[1; 68]).unwrap();
    assert!(!talk.0.is_full());
    talk.0.queue(FAMILY, 0, b"").unwrap();
    assert!(talk.0.is_full(), "84 and 16 bytes are 100");
    talk.0.abandon();
    assert!(!talk.0.is_full(), "what is given up does not count");
    talk.works();

    limits.requests = 1;
    let mut talk = Talk::within(limits);
    assert!(!talk.0.is_full(), "there is room for one");
    talk.0.queue(FAMILY, 0, b"").unwrap();
    assert!(talk.0.is_full());
}

#[test]
fn limits_follow_the_buffers() {
    const DEFAULT: usize = 212_992;
    let requests = |receive| Limits::for_buffers(receive, DEFAULT).requests;
    // As many refusals as this fit the buffer that kernels make by default: 237 of them were measured to.
    assert_eq!(requests(DEFAULT), 104);
    assert_eq!(requests(0), 1);
    assert_eq!(requests(4095), 1);
    assert_eq!(requests(4096), 2);
    assert_eq!(requests(2 << 20), 1024);
    assert_eq!(requests(usize::MAX), 1024);
    let bytes = |send| Limits::for_buffers(DEFAULT, send).bytes;
    assert_eq!(bytes(4608), 2304);
    assert_eq!(bytes(DEFAULT), Limits::default().bytes);
    assert_eq!(bytes(usize::MAX), Limits::default().bytes);
    assert_eq!(Limits::for_buffers(DEFAULT, DEFAULT), Limits::default());
    // A datagram of requests must fit the default send buffer, with a last one of any attribute, and one of a dump
    // the inbox.
    assert_eq!(Limits::default().bytes, 98_304);
    assert!(Limits::default().bytes + 65_536 < DEFAULT - 32);
    assert_eq!(Limits::default().inbox, 65_536);
    let mut exchange = Exchange::new(Limits::default());
    assert_eq!(exchange.inbox().len(), Limits::default().inbox);
}

#[test]
fn limits_of_any_size_make_an_exchange() {
    for size in [0, 1, 1 << 16, usize::MAX - 1, usize::MAX] {
        let mut limits = Limits::default();
        (limits.requests, limits.bytes, limits.inbox) = (size, size, size);
        let mut exchange = Exchange::new(limits);
        exchange.queue(33, 0, b"body").unwrap();
        assert_eq!(exchange.is_full(), size <= 1, "{size}");
        assert!(matches!(exchange.step(), Ok(Step::Send)));
        exchange.sent();
        for length in [0, 1, usize::MAX] {
            exchange.received(length, 0);
            _ = exchange.step();
        }
        _ = Limits::for_buffers(size, size);
    }
}
