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

/// A fault to inject: see [`Kernel::disturb`](super::Kernel::disturb). "The datagram" is the datagram of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The kernel refuses a request with this error number and does nothing. It has no effect on a
    /// [script](super::Kernel::script).
    Refused(i32),
    /// Sending a datagram with requests fails with this error number, and the kernel does not get it.
    Unsent(i32),
    /// The datagram is lost, with all later answers to the same datagram of requests: the client times out. The kernel
    /// carries out the request.
    Lost,
    /// As [`Fault::Lost`], but the datagram arrives before the answer to the next request.
    Late,
    /// The datagram arrives twice.
    Twice,
    /// The datagram is swapped with the next one; without a next one, it is late. Netlink never reorders, and clients
    /// rely on it: an answer after the end of a listing, or after the acknowledgement of a batch, is lost without an
    /// error.
    Swapped,
    /// The datagram is longer than the client's inbox ([`Limits::inbox`]).
    Truncated,
    /// The datagram is shortened: only this number of its bytes arrives. Unlike [`Kernel::cut`](super::Kernel::cut), it
    /// affects one datagram.
    Cut(usize),
    /// The byte at this offset, if it exists, is replaced by this one.
    Altered(usize, u8),
    /// A refusal of the same request (`EPERM`), forged by another process, arrives before the datagram.
    Forged,
    /// A refusal (`EPERM`) of a request that the client did not send arrives before the datagram.
    Stray,
    /// The datagram reports that the table changed during the dump (`NLM_F_DUMP_INTR`).
    Interrupted,
    /// This error number replaces the datagram, and all other answers to the same request.
    Ended(i32),
    /// Receiving fails once with this error number, before the datagram: `ENOBUFS` for a full socket receive buffer,
    /// `EINTR` for a signal, `EBADF` for a closed descriptor.
    Failing(i32),
    /// The datagram arrives after this time on the kernel's clock. No real time passes: a client whose timeout is
    /// shorter times out immediately.
    Slow(Duration),
    /// The datagram arrives again and again at this interval of the kernel's clock, as in an endless dump.
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

/// Returns the fault that is due now, if any, and counts down the others of its kind.
pub(super) fn due(faults: &mut Vec<(usize, Fault)>, event: Event) -> Option<Fault> {
    let place = faults.iter().position(|(skip, fault)| *skip == 0 && fault.event() == event);
    let due = place.map(|place| faults.remove(place).1);
    for (skip, _) in faults.iter_mut().filter(|(_, fault)| fault.event() == event) {
        *skip = skip.saturating_sub(1);
    }
    due
}

/// Queues a reply as changed by a fault. `rest` are the replies after it.
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
    let first = message::read(bytes);
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
    while let Ok(incoming) = message::read(datagram.get(at..).unwrap_or_default()) {
        let marked = incoming.flags | message::DUMP_INTERRUPTED;
        let next = datagram.len() - incoming.rest.len();
        if let Some(field) = datagram.get_mut(at + 6..at + 8) {
            field.copy_from_slice(&marked.to_ne_bytes());
        }
        at = next;
    }
}
