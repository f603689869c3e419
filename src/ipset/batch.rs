//! Many entries, and many changes, at once.

use std::fmt;
use std::iter::Peekable;
use std::ops::Range;

use super::client::{Exist, Ipset};
use super::entry::{Entry, Member};
use super::kind::{Any, Kind, SetType};
use super::numbers::{Command, command};
use super::parts::SetName;
use super::refusal::{Operation, explain};
use super::set::{NewSet, Parts, Set};
use crate::connection::Reply;
use crate::error::{Cause, Error, Refusal};
use crate::wire::nfnetlink;

/// How many bytes of entries make a message full. The kernel repeats the whole message when it refuses an entry, and
/// that must fit the longest datagram that can be received ([`Limits::inbox`](crate::exchange::Limits)).
const FULL: usize = 60 * 1024;

/// A change of the kernel's sets, as a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Make a set: [`Ipset::create`].
    Create(SetName, NewSet<Any>, Exist),
    /// Remove a set: [`Ipset::destroy`].
    Destroy(SetName, Exist),
    /// Remove all sets: [`Ipset::destroy_all`].
    DestroyAll,
    /// Remove all entries of a set: [`Ipset::clear`].
    Clear(SetName),
    /// Remove all entries of all sets: [`Ipset::clear_all`].
    ClearAll,
    /// Give the first set the second name: [`Ipset::rename`].
    Rename(SetName, SetName),
    /// Exchange the contents of two sets: [`Ipset::swap`].
    Swap(SetName, SetName),
    /// Add an entry: [`Ipset::add`].
    Add(Set<Any>, Member<Any>, Exist),
    /// Remove an entry: [`Ipset::delete`].
    Delete(Set<Any>, Member<Any>, Exist),
}

/// One of many entries or changes failed. Those before it are made, those behind it were not tried.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchError {
    /// Its position, counted from 0. More than one where the kernel does not say which of them it was, or did not
    /// answer: then some of them may be made. None where it was not an entry that failed.
    pub position: Range<usize>,
    /// Why.
    pub error: Error,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position.len() {
            0 => self.error.fmt(f),
            1 => write!(f, "at {}: {}", self.position.start, self.error),
            _ => write!(f, "at {} to {}: {}", self.position.start, self.position.end - 1, self.error),
        }
    }
}

impl std::error::Error for BatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// See [`Cause::Batch`]: one failure, or an interruption if the kernel did not answer for the change. An error that is of no
/// change stays as it is.
impl From<BatchError> for Error {
    fn from(BatchError { position, mut error }: BatchError) -> Self {
        if position.is_empty() {
            return error;
        }
        if position.len() == 1 {
            error = error.at(position.start);
        }
        let answered = matches!(
            error.cause(),
            Cause::Refused(_)
                | Cause::InvalidInput(_)
                | Cause::TooLong { .. }
                | Cause::Precondition { .. }
                | Cause::NotOnThisKernel { .. }
        );
        let (failures, interruption) = if answered { (vec![error], None) } else { (Vec::new(), Some(error)) };
        Self::new("make changes in a batch", Cause::Batch { failures, interruption })
    }
}

/// Adds or deletes entries of one set, as many with each message as it takes.
pub(super) fn fill<T: SetType>(
    ipset: &mut Ipset,
    command: u8,
    set: &Set<T>,
    members: &mut impl Iterator<Item = Member<T>>,
    exist: Exist,
) -> Result<(), BatchError> {
    let mut sent = 0;
    loop {
        let before = sent;
        let mut wrong = None;
        let queued = ipset.queue(command, exist.flags(), |out| {
            out.text(Command::SetName, set.name().as_bytes());
            // Must be there; the kernel puts the number of the entry that it refuses here.
            out.u32_ne(Command::Line, 0);
            out.marked_nest(Command::Entries, |out| {
                let start = out.length();
                while out.length() - start < FULL {
                    let Some(member) = members.next() else { break };
                    let member = if command == command::ADD { member } else { member.bare() };
                    if let Err(cause) = member.check(set.kind(), set.family()) {
                        wrong = Some((T::any(member.entry), cause));
                        break;
                    }
                    sent += 1;
                    let line = u32::try_from(sent - before).ok();
                    out.marked_nest(Command::Data, |out| member.write(out, line));
                }
            });
        });
        let failed = |position, entry: Option<Entry>, cause| {
            let verb = if command == command::ADD { ("add", "to") } else { ("delete", "from") };
            let entry = entry.map_or_else(|| "entries".to_owned(), |entry| entry.to_string());
            BatchError { position, error: Error::new(format_args!("{} {entry} {} set {set}", verb.0, verb.1), cause) }
        };
        queued.map_err(|cause| failed(before..sent, None, cause))?;
        if sent == before {
            // Nothing to send.
            ipset.connection.abandon();
        } else {
            let refused = take_refusal(ipset, set.kind()).map_err(|cause| failed(before..sent, None, cause))?;
            if let Some((refusal, line, entry)) = refused {
                let what = if command == command::ADD { Operation::Add } else { Operation::Delete };
                let position = match line.checked_sub(1).map(|line| before + line) {
                    Some(position) if position < sent => position..position + 1,
                    _ => before..sent,
                };
                return Err(failed(position, entry, explain(what, Some(set.kind()), refusal).into()));
            }
        }
        if let Some((entry, cause)) = wrong {
            return Err(failed(sent..sent + 1, Some(entry), cause));
        }
        if sent == before {
            return Ok(());
        }
    }
}

/// A refusal, the number of the entry that was refused, if the kernel says so, and the entry.
type RefusedEntry = (Refusal, usize, Option<Entry>);

/// The refusal of the message on its way, if it is refused.
fn take_refusal(ipset: &mut Ipset, kind: Kind) -> Result<Option<RefusedEntry>, Cause> {
    let mut refused = None;
    loop {
        match ipset.connection.reply()? {
            Reply::Finished => return Ok(refused),
            Reply::Message(..) => {}
            Reply::Refused(_, refusal) => {
                let (line, entry) = refused_entry(ipset.connection.message(), kind).unwrap_or_default();
                refused = Some((refusal, line, entry));
            }
        }
    }
}

/// Which entry of a request is refused, says the request as the kernel repeats it.
fn refused_entry(request: &[u8], kind: Kind) -> Option<(usize, Option<Entry>)> {
    let parts = Parts::read(nfnetlink::attributes(request).ok()?).ok()?;
    let line = parts.line.filter(|line| *line > 0)?;
    let line = usize::try_from(line).ok()?;
    let attributes = parts.entries?.nth(line - 1)?.ok()?;
    let member = Member::read(kind, attributes.nested()).ok();
    Some((line, member.map(|member| member.entry)))
}

/// Makes changes, neighbouring entries of one set together.
pub(super) fn run(ipset: &mut Ipset, changes: impl Iterator<Item = Change>) -> Result<(), BatchError> {
    let mut changes = changes.peekable();
    let mut position = 0;
    loop {
        let (command, set, exist) = match changes.peek() {
            None => return Ok(()),
            Some(Change::Add(set, _, exist)) => (command::ADD, *set, *exist),
            Some(Change::Delete(set, _, exist)) => (command::DEL, *set, *exist),
            Some(_) => {
                if let Some(change) = changes.next() {
                    other(ipset, &change).map_err(|error| BatchError { position: position..position + 1, error })?;
                    position += 1;
                }
                continue;
            }
        };
        let mut taken = 0;
        let mut members = std::iter::from_fn(|| {
            let member = next_member(&mut changes, command, set, exist)?;
            taken += 1;
            Some(member)
        });
        let filled = fill(ipset, command, &set, &mut members, exist);
        filled.map_err(|BatchError { position: at, error }| BatchError {
            position: position + at.start..position + at.end,
            error,
        })?;
        position += taken;
    }
}

/// The next change's member, if the change is one of these.
fn next_member(
    changes: &mut Peekable<impl Iterator<Item = Change>>,
    command: u8,
    set: Set<Any>,
    exist: Exist,
) -> Option<Member<Any>> {
    let change = changes.next_if(|change| match change {
        Change::Add(other, _, other_exist) => (command::ADD, set, exist) == (command, *other, *other_exist),
        Change::Delete(other, _, other_exist) => (command::DEL, set, exist) == (command, *other, *other_exist),
        _ => false,
    })?;
    match change {
        Change::Add(_, member, _) | Change::Delete(_, member, _) => Some(member),
        _ => None,
    }
}

/// A change that is not one of entries.
fn other(ipset: &mut Ipset, change: &Change) -> Result<(), Error> {
    match change {
        Change::Create(name, new, exist) => ipset.create(*name, new, *exist).map(drop),
        Change::Destroy(name, exist) => ipset.destroy(*name, *exist),
        Change::DestroyAll => ipset.destroy_all(),
        Change::Clear(name) => ipset.clear(*name),
        Change::ClearAll => ipset.clear_all(),
        Change::Rename(from, to) => ipset.rename(*from, *to),
        Change::Swap(one, other) => ipset.swap(*one, *other),
        Change::Add(set, member, exist) => ipset.add(set, member, *exist),
        Change::Delete(set, member, exist) => ipset.delete(set, member, *exist),
    }
}
