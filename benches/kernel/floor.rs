//! The floor: bytes that are ready are sent, and what comes back is read. No types, no encoding, no decoding.

use lvs::exchange::{Exchange, Limits};
use lvs::ipvs::{Change, Message, Query};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmsg};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read};
use std::os::fd::AsRawFd;

const CONTROLLER: u16 = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;

/// A socket as the library has it.
pub(crate) struct Floor {
    socket: Socket,
    inbox: Vec<u8>,
}

impl Floor {
    pub(crate) fn open(protocol: isize) -> Self {
        Self::with_inbox(protocol, 64 << 10)
    }

    /// The kernel takes memory for the parts of a list as large as the largest inbox that a socket was read into, and
    /// fills all of it with zeros.
    fn with_inbox(protocol: isize, inbox: usize) -> Self {
        let mut socket = Socket::new(protocol).unwrap();
        socket.bind_auto().unwrap();
        socket.connect(&SocketAddr::new(0, 0)).unwrap();
        socket.set_ext_ack(true).unwrap();
        socket.set_cap_ack(true).unwrap();
        socket.set_rx_buf_sz(1 << 20).unwrap();
        Self { socket, inbox: vec![0; inbox] }
    }

    /// Sends a datagram and reads until its acknowledgement or the end of its list.
    pub(crate) fn exchange(&mut self, datagram: &[u8]) {
        self.socket.send(datagram, 0).unwrap();
        loop {
            let length = self.socket.recv(&mut &mut self.inbox[..], 0).unwrap();
            let mut rest = &self.inbox[..length];
            while rest.len() >= 16 {
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                match u16::from_ne_bytes([rest[4], rest[5]]) {
                    ERROR => {
                        let errno = i32::from_ne_bytes([rest[16], rest[17], rest[18], rest[19]]);
                        assert_eq!(errno, 0, "the kernel refused what the floor sent");
                        return;
                    }
                    DONE => return,
                    _ => rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default(),
                }
            }
        }
    }

    pub(crate) fn exchange_all(&mut self, datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            self.exchange(datagram);
        }
    }

    /// Sends all datagrams before it reads their acknowledgements.
    pub(crate) fn ahead(&mut self, datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            self.socket.send(datagram, 0).unwrap();
        }
        for _ in datagrams {
            self.socket.recv(&mut &mut self.inbox[..], 0).unwrap();
        }
    }

    /// Sends a datagram from a buffer for each of its messages.
    pub(crate) fn exchange_gathered(&mut self, datagrams: &[Vec<Vec<u8>>]) {
        for datagram in datagrams {
            let buffers: Vec<_> = datagram.iter().map(|message| IoSlice::new(message)).collect();
            sendmsg::<()>(self.socket.as_raw_fd(), &buffers, &[], MsgFlags::empty(), None).unwrap();
            self.socket.recv(&mut &mut self.inbox[..], 0).unwrap();
        }
    }

    /// Lists, each in one part, with a system call for the part and the end that follows.
    pub(crate) fn exchange_by_twos(&mut self, datagrams: &[Vec<u8>]) {
        let mut end = [0; 64];
        let mut headers = MultiHeaders::<()>::preallocate(2, None);
        for datagram in datagrams {
            self.socket.send(datagram, 0).unwrap();
            let mut buffers = [[IoSliceMut::new(&mut self.inbox)], [IoSliceMut::new(&mut end)]];
            let flags = MsgFlags::empty();
            let received = recvmmsg(self.socket.as_raw_fd(), &mut headers, &mut buffers, flags, None).unwrap();
            assert_eq!(received.count(), 2);
            assert_eq!(end[4], 3, "not the end of the list");
        }
    }

    /// Dumps on several sockets at once, each of one datagram.
    pub(crate) fn exchange_side_by_side(sockets: &mut [Self], datagrams: &[Vec<u8>]) {
        for datagrams in datagrams.chunks(sockets.len()) {
            for (socket, datagram) in sockets.iter().zip(datagrams) {
                socket.socket.send(datagram, 0).unwrap();
            }
            for socket in sockets.iter_mut().take(datagrams.len()) {
                for _ in 0..2 {
                    socket.socket.recv(&mut &mut socket.inbox[..], 0).unwrap();
                }
                assert_eq!(socket.inbox[4], 3, "not the end of the list");
            }
        }
    }

    /// The number of the IPVS family.
    pub(crate) fn family(&mut self) -> u16 {
        let mut body = vec![3, 1, 0, 0];
        body.extend(attribute(2, b"IPVS\0"));
        self.socket.send(&message(CONTROLLER, REQUEST, &body), 0).unwrap();
        let length = self.socket.recv(&mut &mut self.inbox[..], 0).unwrap();
        let mut rest = &self.inbox[20..length];
        loop {
            let number = |at: usize| u16::from_ne_bytes([rest[at], rest[at + 1]]);
            if number(2) == 1 {
                return number(4);
            }
            rest = &rest[usize::from(number(0)).next_multiple_of(4)..];
        }
    }
}

/// One socket of IPVS, and what makes messages for it.
pub(crate) struct IpvsFloor {
    pub(crate) floor: Floor,
    family: u16,
}

impl IpvsFloor {
    pub(crate) fn open() -> Self {
        Self::with_inbox(64 << 10)
    }

    pub(crate) fn with_inbox(inbox: usize) -> Self {
        let mut floor = Floor::with_inbox(NETLINK_GENERIC, inbox);
        let family = floor.family();
        Self { floor, family }
    }

    /// The datagrams of some changes, so many in each; the last of each asks for an acknowledgement.
    pub(crate) fn datagrams(&self, changes: &[Change], many: usize) -> Vec<Vec<u8>> {
        self.gathered(changes, many).into_iter().map(|messages| messages.concat()).collect()
    }

    /// The same, with a buffer for each change.
    pub(crate) fn gathered(&self, changes: &[Change], many: usize) -> Vec<Vec<Vec<u8>>> {
        let split = |changes: &[Change]| {
            let (last, before) = changes.split_last().unwrap();
            let message = |flags, change: &Change| message(self.family, flags, &body((*change).into()));
            let mut messages: Vec<_> = before.iter().map(|change| message(REQUEST, change)).collect();
            messages.push(message(REQUEST | ACK, last));
            messages
        };
        changes.chunks(many).map(split).collect()
    }

    /// As the library fills them.
    pub(crate) fn full_datagrams(&self, changes: &[Change]) -> Vec<Vec<u8>> {
        // The receive buffer of a socket that asks for 1 MiB.
        let mut exchange = Exchange::new(Limits::for_buffers(2 << 20, 212_992));
        let mut many = 0;
        while !exchange.is_full() {
            exchange.queue(self.family, 0, &body(changes[0].into())).unwrap();
            many += 1;
        }
        self.datagrams(changes, many)
    }

    /// The request for a list.
    pub(crate) fn list(&self, query: Query) -> Vec<u8> {
        message(self.family, REQUEST | DUMP, &body(query.into()))
    }
}

/// Reads what the kernel prints of its table, and looks at nothing of it.
pub(crate) fn read_overview() {
    let mut file = File::open("/proc/thread-self/net/ip_vs").unwrap();
    let mut buffer = [0; 8 << 10];
    while file.read(&mut buffer).unwrap() > 0 {}
}

fn body(message: Message) -> Vec<u8> {
    message.encode()
}

/// A message, padded.
pub(crate) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
    message.extend([kind, flags].iter().flat_map(|number| number.to_ne_bytes()));
    message.extend([0; 8]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// The request for a list of this type.
pub(crate) fn list(kind: u16, body: &[u8]) -> Vec<u8> {
    message(kind, REQUEST | DUMP, body)
}

/// The requests for these changes in one datagram; the last asks for an acknowledgement.
pub(crate) fn datagram(kind: u16, flags: u16, bodies: &[Vec<u8>]) -> Vec<u8> {
    let last = bodies.len() - 1;
    let asked = |at| flags | REQUEST | if at == last { ACK } else { 0 };
    bodies.iter().enumerate().flat_map(|(at, body)| message(kind, asked(at), body)).collect()
}

/// An attribute, padded.
pub(crate) fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut attribute = u16::try_from(4 + payload.len()).unwrap().to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(payload);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}
