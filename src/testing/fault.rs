//! Faults, and the answers that they change.

use std::collections::VecDeque;
use std::time::Duration;

use nix::libc::EPERM;

use super::answer::{MULTI, error, written};
use super::port::Reply;
use crate::exchange::Limits;
use crate::wire::message;

/// The port of another process.
const STRANGER: u32 = 4711;

/// A fault that is injected: see [`Kernel::disturb`](super::Kernel::disturb).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The kernel refuses a request with this error number and does nothing. A [script](super::Kernel::script) is not
    /// disturbed in this way.
    Refused(i32),
    /// Sending a datagram with requests fails with this error number, and the kernel does not get it.
    Unsent(i32),
    /// It never comes, nor does what follows on the same datagram of requests: the client times out. The kernel carries
    /// out the request.
    Lost,
    /// As [`Fault::Lost`], but it comes before the answer to the next request.
    Late,
    /// It comes twice.
    Twice,
    /// It changes places with the next one; if there is none, it is late. Netlink keeps the order, and clients rely on it:
    /// what comes behind the end of a list, or behind the acknowledgement of a batch, is lost without a word.
    Swapped,
    /// It is longer than the client has room for.
    Truncated,
    /// Only so many of its bytes come.
    Cut(usize),
    /// The byte at this place, if there is one, is another.
    Altered(usize, u8),
    /// Before it comes a refusal of the same request (`EPERM`), forged by another process.
    Forged,
    /// Before it comes a refusal (`EPERM`) of a request that the client did not make.
    Stray,
    /// The datagram reports that the table changed during the dump (`NLM_F_DUMP_INTR`).
    Interrupted,
    /// In its place, and in place of what else belongs to the same request, comes this error number.
    Ended(i32),
    /// Before it, receiving fails with this error number: `ENOBUFS` if the receive buffer was full, `EINTR` if there was a
    /// signal, `EBADF` if something has closed the descriptor.
    Failing(i32),
    /// It arrives after this long on the kernel's clock. No real time passes: a client times out at once if it may not wait
    /// so long.
    Slow(Duration),
    /// It arrives again and again without end, each after so long on the kernel's clock, as a part of an endless dump.
    Endless(Duration),
}

/// Events by which a fault is counted.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Event {
    Request,
    Sending,
    Answer,
}

impl Fault {
    pub(super) fn event(self) -> Event {
        match self {
            Self::Refused(_) => Event::Request,
            Self::Unsent(_) => Event::Sending,
            _ => Event::Answer,
        }
    }
}

/// The fault that happens now, if one does; the others of its kind come nearer.
pub(super) fn due(faults: &mut Vec<(usize, Fault)>, event: Event) -> Option<Fault> {
    let place = faults.iter().position(|(skip, fault)| *skip == 0 && fault.event() == event);
    let due = place.map(|place| faults.remove(place).1);
    for (skip, _) in faults.iter_mut().filter(|(_, fault)| fault.event() == event) {
        *skip = skip.saturating_sub(1);
    }
    due
}

/// Queues what becomes of a reply, which is followed by `rest`.
pub(super) fn disturb(
    fault: Fault,
    mut reply: Reply,
    rest: &mut VecDeque<Reply>,
    queue: &mut VecDeque<Reply>,
    late: &mut Vec<Reply>,
) {
    let Reply::Datagram(_, bytes) = &mut reply else {
        return queue.push_back(reply);
    };
    let first = message::read(bytes, 0);
    let (sequence, flags) = first.map_or((0, 0), |first| (first.sequence, first.flags));
    match fault {
        Fault::Refused(_) | Fault::Unsent(_) => {}
        Fault::Lost => return rest.clear(),
        Fault::Late => return late.extend(std::iter::once(reply).chain(rest.drain(..))),
        Fault::Twice => queue.push_back(reply.clone()),
        Fault::Swapped => match rest.pop_front() {
            Some(next) => queue.push_back(next),
            None => return late.push(reply),
        },
        Fault::Truncated => bytes.resize(Limits::default().inbox.max(bytes.len()) + 1, 0),
        Fault::Cut(length) => bytes.truncate(length),
        Fault::Altered(place, byte) => bytes.get_mut(place).into_iter().for_each(|old| *old = byte),
        Fault::Forged => queue.push_back(Reply::Datagram(STRANGER, error(&[], sequence, &EPERM.into()))),
        Fault::Stray => queue.push_back(Reply::Datagram(0, error(&[], sequence.wrapping_sub(1 << 20), &EPERM.into()))),
        Fault::Interrupted => interrupt(bytes),
        Fault::Ended(errno) => {
            while rest.front().is_some_and(|next| next.sequence() == Some(sequence)) {
                rest.pop_front();
            }
            *bytes = if flags & MULTI == 0 {
                error(&[], sequence, &errno.into())
            } else {
                written(message::DONE, MULTI, sequence, &errno.wrapping_neg().to_ne_bytes())
            };
        }
        Fault::Failing(errno) => queue.push_back(Reply::Failure(errno)),
        Fault::Slow(delay) => queue.push_back(Reply::Delay(delay)),
        Fault::Endless(every) => return queue.push_back(Reply::Endless(every, std::mem::take(bytes))),
    }
    queue.push_back(reply);
}

/// Marks all messages of a datagram.
fn interrupt(datagram: &mut [u8]) {
    let mut at = 0;
    while let Ok(incoming) = message::read(datagram, at) {
        let marked = incoming.flags | message::DUMP_INTERRUPTED;
        if let Some(field) = datagram.get_mut(at + 6..at + 8) {
            field.copy_from_slice(&marked.to_ne_bytes());
        }
        at = incoming.end;
    }
}
