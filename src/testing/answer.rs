//! The datagrams of the kernel's answers.

use nix::libc::{EINVAL, EOPNOTSUPP};

use crate::error::DecodeError;
use crate::wire::message::{self, ExtendedAck};

/// One message of several (`NLM_F_MULTI`).
pub(super) const MULTI: u16 = 0x2;
/// Maximum length of a dump datagram. Real ones are longer; here even short listings have several datagrams.
const PART: usize = 1024;

/// The type of the messages of an answer, and their bodies.
pub(super) type Answer = Result<(u16, Vec<Vec<u8>>), Denial>;

/// Refusal of a request by a model.
#[derive(Debug)]
pub(crate) struct Denial {
    pub(crate) errno: i32,
    pub(crate) words: Option<String>,
    /// The body of the request, where the kernel repeats it.
    pub(crate) repeated: Option<Vec<u8>>,
}

impl Denial {
    pub(crate) fn not_modelled(what: &str) -> Self {
        Self { errno: EOPNOTSUPP, words: Some(format!("not modelled: {what}")), repeated: None }
    }
}

impl From<i32> for Denial {
    fn from(errno: i32) -> Self {
        Self { errno, words: None, repeated: None }
    }
}

impl From<DecodeError> for Denial {
    fn from(_: DecodeError) -> Self {
        EINVAL.into()
    }
}

pub(super) fn is_dump(flags: u16) -> bool {
    flags & message::DUMP == message::DUMP
}

/// The datagrams of the answer to a request.
pub(super) fn reply_datagrams(request: &[u8], flags: u16, sequence: u32, answer: Answer) -> Vec<Vec<u8>> {
    let (kind, bodies) = match answer {
        Ok(answer) => answer,
        Err(denial) => return vec![error(request, sequence, &denial)],
    };
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    let marked = if is_dump(flags) { MULTI } else { 0 };
    for body in bodies {
        let message = written(kind, marked, sequence, &body);
        match datagrams.last_mut() {
            Some(last) if is_dump(flags) && last.len() + message.len() <= PART => last.extend(message),
            _ => datagrams.push(message),
        }
    }
    if is_dump(flags) {
        datagrams.push(written(message::DONE, MULTI, sequence, &[0; 4]));
    } else if flags & message::ACK != 0 {
        datagrams.push(error(request, sequence, &0.into()));
    }
    datagrams
}

pub(super) fn written(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Raw bytes are no attribute that could be too long.
    _ = message::write(&mut bytes, kind, flags, sequence, |out| out.raw(body));
    bytes
}

/// The refusal of a request, or its acknowledgement if the error number is 0.
pub(super) fn error(request: &[u8], sequence: u32, denial: &Denial) -> Vec<u8> {
    let header = request.get(..message::HEADER).unwrap_or(&[0; message::HEADER]);
    let capped = if denial.repeated.is_none() { message::CAPPED } else { 0 };
    let with_words = if denial.words.is_some() { message::ACK_ATTRIBUTES } else { 0 };
    let mut bytes = Vec::new();
    _ = message::write(&mut bytes, message::ERROR, capped | with_words, sequence, |out| {
        out.raw(&denial.errno.wrapping_neg().to_ne_bytes());
        match &denial.repeated {
            None => out.raw(header),
            Some(body) => {
                let field = |range| header.get::<std::ops::Range<usize>>(range).and_then(|field| field.try_into().ok());
                let [kind, flags] = [4..6, 6..8].map(|range| field(range).map_or(0, u16::from_ne_bytes));
                out.raw(&written(kind, flags, sequence, body));
            }
        }
        if let Some(words) = &denial.words {
            out.text(ExtendedAck::Message, words);
        }
    });
    bytes
}
