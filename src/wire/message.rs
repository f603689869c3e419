//! Netlink messages: their header, the messages of a datagram, and the kernel's acknowledgements.

use std::ops::Range;

use super::writer::pad;
use super::{Attrs, Writer, kinds, padding};
use crate::error::{DecodeError, Refusal};

/// This message is a request (`NLM_F_REQUEST`).
pub(crate) const REQUEST: u16 = 0x1;
/// An acknowledgement is wanted (`NLM_F_ACK`).
pub(crate) const ACK: u16 = 0x4;
/// A list of all objects is wanted (`NLM_F_DUMP`).
pub(crate) const DUMP: u16 = 0x300;
/// A new object is created if none exists (`NLM_F_CREATE`).
pub(crate) const CREATE: u16 = 0x400;
/// An existing object is replaced (`NLM_F_REPLACE`).
pub(crate) const REPLACE: u16 = 0x100;
/// An object that exists, or is absent, is an error (`NLM_F_EXCL`).
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// The dump saw the table change (`NLM_F_DUMP_INTR`).
pub(crate) const DUMP_INTERRUPTED: u16 = 0x10;
/// The acknowledgement does not repeat the request (`NLM_F_CAPPED`).
pub(crate) const CAPPED: u16 = 0x100;
/// The acknowledgement carries attributes (`NLM_F_ACK_TLVS`).
pub(crate) const ACK_ATTRIBUTES: u16 = 0x200;

/// A message that does nothing but to be acknowledged (`NLMSG_NOOP`).
pub(crate) const NOOP: u16 = 1;
pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;
const OVERRUN: u16 = 4;

/// The length of a message's header.
pub(crate) const HEADER: usize = 16;

kinds! {
    /// Attributes of an acknowledgement (`enum nlmsgerr_attrs` in `linux/netlink.h`).
    ExtendedAck "NLMSGERR_ATTR" {
        Message = 1 "NLMSGERR_ATTR_MSG",
        Offset = 2 "NLMSGERR_ATTR_OFFS",
    }
}

/// Appends one message to `out`; returns the name of an attribute that was too long, if one was.
///
/// The sender's port is left 0: the kernel fills in the socket's.
#[inline]
pub(crate) fn write(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    body: impl FnOnce(&mut Writer<'_>),
) -> Result<(), &'static str> {
    let message = Unfinished { start: out.len(), out, finished: false };
    let ([k0, k1], [f0, f1]) = (kind.to_ne_bytes(), flags.to_ne_bytes());
    let [s0, s1, s2, s3] = sequence.to_ne_bytes();
    message.out.extend_from_slice(&[0, 0, 0, 0, k0, k1, f0, f1, s0, s1, s2, s3, 0, 0, 0, 0]);
    let mut writer = Writer::new(message.out);
    body(&mut writer);
    let too_long = writer.finish();
    message.finish(too_long)
}

/// A message that is being written. Dropped before its end, also by a panic in the caller's iterator, it leaves
/// nothing in the buffer.
struct Unfinished<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    finished: bool,
}

impl Unfinished<'_> {
    #[inline]
    fn finish(mut self, mut too_long: Option<&'static str>) -> Result<(), &'static str> {
        let length = self.out.len() - self.start;
        match (u32::try_from(length), self.out.get_mut(self.start..self.start + 4)) {
            (Ok(length), Some(field)) => field.copy_from_slice(&length.to_ne_bytes()),
            _ => too_long = too_long.or(Some("the message")),
        }
        pad(self.out, length);
        self.finished = too_long.is_none();
        too_long.map_or(Ok(()), Err)
    }
}

impl Drop for Unfinished<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

/// Asks for an acknowledgement of the message that starts at `start`.
pub(crate) fn ask_for_ack(out: &mut [u8], start: usize) {
    if let Some(field) = out.get_mut(start + 6..start + 8) {
        field.iter_mut().zip(ACK.to_ne_bytes()).for_each(|(old, new)| *old |= new);
    }
}

/// A received message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Incoming<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
    /// The next messages of the datagram.
    pub(crate) rest: &'a [u8],
}

impl Incoming<'_> {
    /// Whether the kernel's table changed during the dump of this message.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.flags & DUMP_INTERRUPTED != 0
    }

    /// Whether it is a message of netlink itself, not of a protocol.
    pub(crate) fn is_control(&self) -> bool {
        matches!(self.kind, NOOP | ERROR | DONE | OVERRUN)
    }

    /// Whether it only reports that a request was carried out, or that a dump has ended: the usual result of
    /// [`Incoming::content`].
    #[inline]
    pub(crate) fn is_plain_success(&self) -> bool {
        matches!(self.kind, ERROR | DONE) && self.body.starts_with(&[0; 4])
    }

    /// Its subject.
    #[inline]
    pub(crate) fn content(&self) -> Result<Content, DecodeError> {
        Ok(match self.kind {
            ERROR => Content::Answer(answer(self.body, self.flags, true)?, repeated(self.body, self.flags)),
            DONE => Content::Done(answer(self.body, self.flags, false)?),
            NOOP | OVERRUN => Content::Nothing,
            _ => Content::Data,
        })
    }
}

/// Subject of an incoming message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// A message of the protocol.
    Data,
    /// The answer to a request: carried out, or refused, with the range of the refused request's body in its own, if it
    /// is repeated.
    Answer(Result<(), Refusal>, Range<usize>),
    /// The end of a dump.
    Done(Result<(), Refusal>),
    /// A message to skip.
    Nothing,
}

/// The sequence number of a datagram's first message.
pub(crate) fn sequence(datagram: &[u8]) -> Option<u32> {
    datagram.get(8..12)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Reads the first message of these bytes.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Result<Incoming<'_>, DecodeError> {
    split(bytes).ok_or(DecodeError::Framing { list: "nlmsghdr", left: bytes.len() })
}

#[inline]
fn split(bytes: &[u8]) -> Option<Incoming<'_>> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let (&[_, _, _, _, k0, k1, f0, f1, s0, s1, s2, s3, _, _, _, _], body) =
        bytes.get(..length)?.split_first_chunk::<HEADER>()?;
    Some(Incoming {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        body,
        rest: bytes.get(length + padding(length)..).unwrap_or_default(),
    })
}

/// Reads an error message (which `repeats_request`) or the end of a dump.
fn answer(body: &[u8], flags: u16, repeats_request: bool) -> Result<Result<(), Refusal>, DecodeError> {
    let name = if repeats_request { "nlmsgerr" } else { "NLMSG_DONE" };
    let Some((code, mut rest)) = body.split_first_chunk::<4>() else {
        // Some dumps end with an empty message.
        return if repeats_request {
            Err(DecodeError::Length { attribute: name, wanted: 4, got: body.len() })
        } else {
            Ok(Ok(()))
        };
    };
    let errno = i32::from_ne_bytes(*code).saturating_neg();
    // A dump may end with a positive count. An error may be positive by mistake (as some of hash:ip,mac are).
    if errno == 0 || (errno < 0 && !repeats_request) {
        return Ok(Ok(()));
    }
    let mut refusal = Refusal { errno, message: None, offset: None };
    if flags & ACK_ATTRIBUTES != 0 {
        if repeats_request {
            let request = rest.first_chunk::<4>().map_or(0, |length| u32::from_ne_bytes(*length));
            let request = if flags & CAPPED != 0 { HEADER } else { usize::try_from(request).unwrap_or(usize::MAX) };
            let end = request.checked_add(padding(request)).and_then(|end| rest.get(end..));
            rest = end.ok_or(DecodeError::Length { attribute: name, wanted: request, got: rest.len() })?;
        }
        for attr in Attrs::<ExtendedAck>::new(rest) {
            let attr = attr?;
            match attr.kind {
                // A malformed message text must not hide the refusal.
                ExtendedAck::Message => refusal.message = Some(words(attr.bytes())),
                ExtendedAck::Offset => refusal.offset = Some(attr.u32_ne()?),
            }
        }
    }
    Ok(Err(refusal))
}

/// Returns the range of the repeated request's body in the body of an error message.
fn repeated(body: &[u8], flags: u16) -> Range<usize> {
    let begin = 4 + HEADER;
    let length = body.get(4..8).and_then(|field| field.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(4));
    match end {
        Some(end) if flags & CAPPED == 0 && (begin..=body.len()).contains(&end) => begin..end,
        _ => begin..begin,
    }
}

/// Text up to its zero byte, if it has one.
fn words(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, kind, flags, 0x0102_0304, |w| w.raw(body)).unwrap();
        out
    }

    fn content(datagram: &[u8]) -> Result<Content, DecodeError> {
        read(datagram)?.content()
    }

    #[test]
    fn a_message_reads_back() {
        let bytes = message(33, 0, &[1, 2, 3]);
        assert_eq!(bytes.len(), 20);
        let got = read(&bytes).unwrap();
        assert_eq!(got.sequence, 0x0102_0304);
        assert_eq!(got.content(), Ok(Content::Data));
        assert_eq!((got.kind, got.body, got.rest), (33, &[1, 2, 3][..], &[][..]));
        let two = [&bytes[..], &bytes].concat();
        assert_eq!(read(&two).unwrap().rest, bytes);
    }

    #[test]
    fn the_last_message_may_lack_its_padding() {
        let bytes = message(33, 0, &[1, 2, 3]);
        assert!(read(&bytes[..19]).is_ok());
        assert!(read(&bytes[..18]).is_err());
    }

    #[test]
    fn every_prefix_of_every_kind_is_read_or_refused() {
        let tlv = [&9u16.to_ne_bytes()[..], &1u16.to_ne_bytes(), b"oops\0", &[0; 3]].concat();
        let error = [&(-17i32).to_ne_bytes()[..], &message(33, 0, &[])[..], &tlv].concat();
        for kind in 0..6 {
            for flags in [0, CAPPED, ACK_ATTRIBUTES, CAPPED | ACK_ATTRIBUTES] {
                let bytes = message(kind, flags, &error);
                for end in 0..=bytes.len() {
                    let _ = content(&bytes[..end]);
                }
                let mut short = bytes.clone();
                for length in 0..=u32::try_from(bytes.len()).unwrap() + 1 {
                    short[..4].copy_from_slice(&length.to_ne_bytes());
                    let _ = content(&short);
                }
            }
        }
    }

    #[test]
    fn an_extended_ack_is_read_behind_a_capped_and_a_whole_request() {
        let tlv = [&9u16.to_ne_bytes()[..], &1u16.to_ne_bytes(), b"oops\0", &[0; 3]].concat();
        let offset = [&8u16.to_ne_bytes()[..], &2u16.to_ne_bytes(), &260u32.to_ne_bytes()].concat();
        for (flags, request) in [(ACK_ATTRIBUTES | CAPPED, 0), (ACK_ATTRIBUTES, 6)] {
            let mut echoed = message(33, 0, &vec![9; request]);
            if flags & CAPPED != 0 {
                // The kernel leaves the request's own length as it was.
                echoed[..4].copy_from_slice(&200u32.to_ne_bytes());
            }
            let body = [&(-17i32).to_ne_bytes()[..], &echoed, &tlv, &offset].concat();
            let got = content(&message(ERROR, flags, &body)).unwrap();
            let refusal = Refusal { errno: 17, message: Some("oops".into()), offset: Some(260) };
            let repeated = 20..20 + request;
            assert_eq!(got, Content::Answer(Err(refusal), repeated));
        }
    }

    #[test]
    fn an_ack_is_no_refusal_and_the_end_of_a_dump_may_be_one() {
        let ok = content(&message(ERROR, 0, &[0; 20])).unwrap();
        assert!(matches!(ok, Content::Answer(Ok(()), _)));
        let odd = content(&message(ERROR, 0, &[1i32.to_ne_bytes(), [0; 4], [0; 4], [0; 4], [0; 4]].concat())).unwrap();
        assert!(matches!(odd, Content::Answer(Err(Refusal { errno: -1, .. }), _)));
        for body in [&[][..], &[0; 4], &7i32.to_ne_bytes()] {
            assert_eq!(content(&message(DONE, 0, body)), Ok(Content::Done(Ok(()))));
        }
        let failed = content(&message(DONE, 0, &(-4i32).to_ne_bytes())).unwrap();
        assert!(matches!(failed, Content::Done(Err(Refusal { errno: 4, .. }))));
    }

    #[test]
    fn an_ack_can_be_asked_for_later() {
        let mut bytes = message(33, 0x300 | REQUEST, &[]);
        ask_for_ack(&mut bytes, 0);
        assert_eq!(bytes[6..8], (0x300u16 | REQUEST | ACK).to_ne_bytes());
    }

    #[test]
    fn a_message_with_too_long_an_attribute_leaves_the_earlier_ones() {
        let mut out = message(33, 0, &[1, 2, 3]);
        let before = out.clone();
        let written = write(&mut out, 33, 0, 1, |w| w.bytes(ExtendedAck::Message, &[0; 70_000]));
        assert_eq!(written, Err("NLMSGERR_ATTR_MSG"));
        assert_eq!(out, before);
    }
}
