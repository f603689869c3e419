//! Messages of a kernel, and a driver that sends and receives.

pub(crate) use lvs::Cause;
pub(crate) use lvs::exchange::{Exchange, Limits, Step};

pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const MULTI: u16 = 0x2;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const INTERRUPTED: u16 = 0x10;
pub(crate) const CAPPED: u16 = 0x100;
pub(crate) const ACK_TLVS: u16 = 0x200;
pub(crate) const DUMP: u16 = 0x300;

pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;
pub(crate) const FAMILY: u16 = 33;

pub(crate) const EINTR: i32 = 4;
pub(crate) const EBUSY: i32 = 16;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const EINVAL: i32 = 22;

// Messages of the kernel.

/// A message as it stands in a datagram, padding included.
pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(77u32.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An entry of a dump.
pub(crate) fn entry(sequence: u32, body: &[u8]) -> Vec<u8> {
    message(FAMILY, MULTI, sequence, body)
}

/// The end of a dump.
pub(crate) fn done(sequence: u32, code: i32) -> Vec<u8> {
    message(DONE, MULTI, sequence, &code.to_ne_bytes())
}

/// Returns the kernel's reply to one sent message, without a message text. An `errno` of 0 acknowledges it.
pub(crate) fn answer(request: &[u8], errno: i32) -> Vec<u8> {
    answer_with(request, errno, CAPPED, &[])
}

/// The same with other flags and with attributes. Only a capped one leaves the request's body out.
pub(crate) fn answer_with(request: &[u8], errno: i32, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let repeated = if flags & CAPPED == 0 { request.len().next_multiple_of(4) } else { 16 };
    let mut repeated = request[..repeated.min(request.len())].to_vec();
    repeated.resize(repeated.len().next_multiple_of(4), 0);
    let body = [&(-errno).to_ne_bytes()[..], &repeated, attributes].concat();
    message(ERROR, flags, sequence(request), &body)
}

pub(crate) fn attribute(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + payload.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(number.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

// Sent messages.

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn sequence(message: &[u8]) -> u32 {
    u32_at(message, 8)
}

pub(crate) fn flags(message: &[u8]) -> u16 {
    u16_at(message, 6)
}

/// The messages of a datagram.
pub(crate) fn messages(mut datagram: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let length = usize::try_from(u32_at(datagram, 0)).unwrap();
        messages.push(&datagram[..length]);
        datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
    }
    messages
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

// The driver.

/// An event of an exchange.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Send,
    Receive,
    Message { request: usize, kind: u16, body: String },
    Refused { request: usize, errno: i32, message: Option<String>, offset: Option<u32> },
    Finished,
    Failed(String),
}

pub(crate) fn got(request: usize, body: &[u8]) -> Said {
    Said::Message { request, kind: FAMILY, body: hex(body) }
}

pub(crate) fn refused(request: usize, errno: i32) -> Said {
    Said::Refused { request, errno, message: None, offset: None }
}

pub(crate) fn interrupted() -> Said {
    Said::Failed(Cause::Interrupted.to_string())
}

/// An exchange and what a driver does with it, and the datagram that it sent last.
pub(crate) struct Talk(pub(crate) Exchange, pub(crate) Vec<u8>);

impl Talk {
    pub(crate) fn new() -> Self {
        Self::within(Limits::default())
    }

    pub(crate) fn within(limits: Limits) -> Self {
        Self(Exchange::new(limits), Vec::new())
    }

    /// One step, sending what there is to send.
    pub(crate) fn step(&mut self) -> Said {
        match self.0.step() {
            Ok(Step::Send) => {
                self.1 = self.0.outgoing().to_vec();
                self.0.sent();
                Said::Send
            }
            Ok(Step::Receive) => Said::Receive,
            Ok(Step::Message { request, kind }) => Said::Message { request, kind, body: hex(self.0.message()) },
            Ok(Step::Refused { request, refusal }) => {
                Said::Refused { request, errno: refusal.errno, message: refusal.message, offset: refusal.offset }
            }
            Ok(Step::Finished) => Said::Finished,
            Ok(other) => panic!("a step this test does not know: {other:?}"),
            Err(cause) => Said::Failed(cause.to_string()),
        }
    }

    /// Sends what there is to send, and gives it.
    #[track_caller]
    pub(crate) fn send(&mut self) -> Vec<u8> {
        assert_eq!(self.step(), Said::Send);
        assert_eq!(self.step(), Said::Receive);
        self.1.clone()
    }

    /// Queues a request and sends it.
    #[track_caller]
    pub(crate) fn request(&mut self, body: &[u8]) -> Vec<u8> {
        self.0.queue(FAMILY, 0, body).unwrap();
        self.send()
    }

    /// Queues a dump and sends it; gives its sequence number.
    #[track_caller]
    pub(crate) fn dump(&mut self) -> u32 {
        self.0.queue_dump(FAMILY, b"all!").unwrap();
        let sent = self.send();
        assert_eq!(flags(&sent), DUMP | REQUEST, "{}", hex(&sent));
        sequence(&sent)
    }

    pub(crate) fn receive_from(&mut self, port: u32, datagram: &[u8]) {
        let inbox = self.0.inbox();
        let length = datagram.len().min(inbox.len());
        inbox[..length].copy_from_slice(&datagram[..length]);
        self.0.received(datagram.len(), port);
    }

    /// Receives a datagram of the kernel, and steps until something other than a message or a refusal is said.
    pub(crate) fn hear(&mut self, datagram: &[u8]) -> Vec<Said> {
        self.receive_from(0, datagram);
        // Every message takes at least its header: what says more than that would never end.
        let most = datagram.len() / 16 + 1;
        let mut said = Vec::new();
        loop {
            said.push(self.step());
            match said.last() {
                Some(Said::Message { .. } | Said::Refused { .. }) => {}
                _ => return said,
            }
            assert!(said.len() <= most, "no end of {} with {said:?}", hex(datagram));
        }
    }

    /// After whatever was: a plain request and a dump get their own answers.
    #[track_caller]
    pub(crate) fn works(&mut self) {
        let request = self.request(b"ping");
        let datagram = [message(FAMILY, 0, sequence(&request), b"pong"), answer(&request, 0)].concat();
        assert_eq!(self.hear(&datagram), [got(0, b"pong"), Said::Finished]);
        let dump = self.dump();
        assert_eq!(self.hear(&[entry(dump, b"item"), done(dump, 0)].concat()), [got(0, b"item"), Said::Finished]);
        assert_eq!(self.step(), Said::Finished);
    }
}

/// Queues `count` requests and sends them; gives their messages.
#[track_caller]
pub(crate) fn batch(talk: &mut Talk, count: u8) -> Vec<Vec<u8>> {
    for i in 0..count {
        talk.0.queue(FAMILY, 0, &vec![i; usize::from(i)]).unwrap();
    }
    let datagram = talk.send();
    let sent = messages(&datagram).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(sent.len(), usize::from(count), "{}", hex(&datagram));
    sent
}
