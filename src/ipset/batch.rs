//! Batches of entries and of changes.

use std::fmt;
use std::iter::Peekable;

use super::client::Ipset;
use super::entry::Member;
use super::kind::{AnyType, Kind, SetType};
use super::numbers::Command;
use super::request::{Change, Verb, write_start};
use super::set::{Parts, Set};
use crate::batch;
use crate::error::{Cause, Error, Refusal};
use crate::trace::Span;
use crate::wire::nfnetlink;

/// Bytes of entries that make a message full. The kernel repeats the whole message when it refuses an entry, and
/// that must fit the longest datagram that can be received ([`Limits::inbox`](crate::exchange::Limits)).
const FULL: usize = 60 * 1024;

/// One of many changes failed: see [`batch::BatchError`]. The changes before it were made, those after it were not
/// tried.
///
/// The change of a refused entry is read from the message that the kernel repeats. Where the kernel does not name the
/// entry, the refusal is the interruption, and the entries of the message are [`unknown`](batch::BatchError::unknown).
#[doc(alias = "IPSET_ATTR_LINENO")]
pub type BatchError = batch::BatchError<Change>;

/// A change that was not made: see [`batch::Failure`].
pub type Failure = batch::Failure<Change>;

/// The error of the change at this position.
fn failed_at(operation: impl fmt::Display, position: usize, change: Change, error: Error) -> BatchError {
    BatchError::new(operation, vec![Failure::new(change, error.at(position))], position)
}

/// Adds or deletes entries of one set, as many with each message as fit. Returns their number.
pub(super) fn fill<T: SetType>(
    ipset: &mut Ipset,
    verb: Verb,
    set: &Set<T>,
    members: &mut impl Iterator<Item = Member<T>>,
) -> Result<usize, BatchError> {
    fill_from(ipset, verb, set, members, 0)
}

/// A member, and its position in the caller's order, if it has one.
pub(super) type Placed<T> = (Option<usize>, Member<T>);

/// As [`fill`], for members in another order than the caller's. The error has the caller's positions, and no unknown
/// ones.
pub(super) fn fill_placed<T: SetType>(
    ipset: &mut Ipset,
    verb: Verb,
    set: &Set<T>,
    members: Vec<Placed<T>>,
) -> Result<usize, BatchError> {
    let mut positions = Vec::with_capacity(members.len());
    let mut members = members.into_iter().map(|(position, member)| {
        positions.push(position);
        member
    });
    let filled = fill(ipset, verb, set, &mut members);
    filled.map_err(|mut error| {
        let placed = |Failure { change, error }: Failure| {
            let position = error.position().and_then(|sent| positions.get(sent).copied().flatten());
            Failure::new(
                change,
                match position {
                    Some(position) => error.at(position),
                    None => error.alone(),
                },
            )
        };
        error.failures = error.failures.into_iter().map(placed).collect();
        error.unknown = 0..0;
        error
    })
}

/// As [`fill`], counting positions from `start`.
fn fill_from<T: SetType>(
    ipset: &mut Ipset,
    verb: Verb,
    set: &Set<T>,
    members: &mut impl Iterator<Item = Member<T>>,
    start: usize,
) -> Result<usize, BatchError> {
    let operation = || {
        let (verb, preposition) = verb.words();
        format!("{verb} entries {preposition} set {set}")
    };
    let span = Span::new(&format_args!("{} entries of set {set}", verb.words().0));
    let _entered = span.enter();
    let failed = |position, member: Member<AnyType>, cause: Cause| {
        let change = verb.of(set.any(), member);
        let error = Error::new(&change, cause);
        failed_at(operation(), position, change, error)
    };
    let mut sent = start;
    loop {
        let before = sent;
        let mut wrong = None;
        let queued = queue(ipset, verb, set, members, &mut sent, &mut wrong);
        let interrupted = |cause| {
            let operation = operation();
            let error = BatchError::new(&operation, Vec::new(), before);
            error.interrupted(Some(Error::new(operation, cause)), before..sent)
        };
        queued.map_err(interrupted)?;
        if sent == before {
            // Nothing to send.
            ipset.connection.abandon();
        } else if let Some((refusal, named)) = take_refusal(ipset, set.kind()).map_err(interrupted)? {
            let refused = verb.refused(set.kind(), refusal).into();
            return Err(match named {
                Some((line, member)) if line < sent - before => failed(before + line, member, refused),
                _ => interrupted(refused),
            });
        }
        if let Some((member, cause)) = wrong {
            return Err(failed(sent, member.any(), cause));
        }
        if sent == before {
            return Ok(sent - start);
        }
    }
}

/// Queues a message with as many members as fit, and counts them in `sent`; stops before an invalid one.
fn queue<T: SetType>(
    ipset: &mut Ipset,
    verb: Verb,
    set: &Set<T>,
    members: &mut impl Iterator<Item = Member<T>>,
    sent: &mut usize,
    wrong: &mut Option<(Member<T>, Cause)>,
) -> Result<(), Cause> {
    let (kind, flags) = verb.header();
    ipset.connection.exchange.queue_with(kind, flags, |out| {
        write_start(out);
        out.text(Command::SetName, set.name().as_bytes());
        // Mandatory. The kernel writes the number of a refused entry here.
        out.u32_ne(Command::Line, 0);
        out.marked_nest(Command::Entries, |out| {
            let (start, before) = (out.length(), *sent);
            while out.length() - start < FULL {
                let Some(member) = members.next() else { break };
                let member = if verb.is_bare() { member.bare() } else { member };
                if let Err(cause) = member.check(set.kind(), set.family()) {
                    *wrong = Some((member, cause));
                    break;
                }
                *sent += 1;
                let line = u32::try_from(*sent - before).ok();
                out.marked_nest(Command::Data, |out| member.write(out, line));
            }
        });
    })
}

/// A refusal, and the entry that was refused, if the kernel names it.
type RefusedEntry = (Refusal, Option<(usize, Member<AnyType>)>);

/// The refusal of the message in flight, if it is refused.
fn take_refusal(ipset: &mut Ipset, kind: Kind) -> Result<Option<RefusedEntry>, Cause> {
    let mut refused = None;
    ipset
        .connection
        .settle(|_, _, _| Ok(()), |_, refusal, request| refused = Some((refusal, refused_entry(request, kind))))?;
    Ok(refused)
}

/// Number and content of the refused entry, read from the request that the kernel repeats.
fn refused_entry(request: &[u8], kind: Kind) -> Option<(usize, Member<AnyType>)> {
    let parts = Parts::read(nfnetlink::attributes(request).ok()?).ok()?;
    let line = usize::try_from(parts.line?).ok()?.checked_sub(1)?;
    let attributes = parts.entries?.nth(line)?.ok()?;
    Some((line, Member::read(kind, attributes.nested()).ok()?))
}

/// Makes changes. Neighbouring entries of one set share messages. Returns the number of changes.
pub(super) fn run(ipset: &mut Ipset, changes: impl Iterator<Item = Change>) -> Result<usize, BatchError> {
    let mut changes = changes.peekable();
    let mut position = 0;
    while let Some(change) = changes.peek() {
        if let Some((verb, set)) = of_entry(change) {
            let mut members = std::iter::from_fn(|| next_member(&mut changes, verb, set));
            position += fill_from(ipset, verb, &set, &mut members, position)?;
        } else if let Some(change) = changes.next() {
            let operation = "make changes in a batch";
            match ipset.carry_out(&change) {
                Ok(()) => position += 1,
                Err(error) if error.cause().leaves_unknown() => {
                    let unknown = position..position + 1;
                    return Err(BatchError::new(operation, Vec::new(), position).interrupted(Some(error), unknown));
                }
                Err(error) => return Err(failed_at(operation, position, change, error)),
            }
        }
    }
    Ok(position)
}

fn of_entry(change: &Change) -> Option<(Verb, Set<AnyType>)> {
    change.of_entry().map(|request| (request.verb, *request.set))
}

/// The next change's member, if the change is one of these.
fn next_member(
    changes: &mut Peekable<impl Iterator<Item = Change>>,
    verb: Verb,
    set: Set<AnyType>,
) -> Option<Member<AnyType>> {
    match changes.next_if(|change| of_entry(change) == Some((verb, set)))? {
        Change::Add(_, member) | Change::Put(_, member) | Change::Delete(_, member) | Change::Remove(_, member) => {
            Some(member)
        }
        _ => None,
    }
}
