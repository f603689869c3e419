//! Many changes at once.

use std::fmt;
use std::ops::Range;

use nix::libc::ENOENT;

use super::{Change, Ipvs};
use crate::error::{Cause, Error, Refusal, Result};
use crate::wire::message::NOOP;

/// Some changes of a batch were not made.
///
/// Every change that is not among the [`failures`](BatchError::failures) was made, as far as the batch came: see
/// [`interruption`](BatchError::interruption).
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchError {
    /// The changes that were refused, in their order.
    pub failures: Vec<Failure>,
    /// How many changes, from the first on, have an answer.
    pub answered: usize,
    /// What ended the batch early, if something did.
    pub interruption: Option<Error>,
    /// The changes that travelled when the batch was interrupted: it is not known whether those that are not among the
    /// failures were made. What comes after them was not sent.
    pub unknown: Range<usize>,
}

/// A change that was refused.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Its position in the batch, counted from 0.
    pub index: usize,
    /// The change.
    pub change: Change,
    /// Why.
    pub error: Error,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interruption {
            Some(error) => write!(f, "the batch ended after {} changes: {error}", self.answered)?,
            None => write!(f, "{} of {} changes failed", self.failures.len(), self.answered)?,
        }
        match self.failures.first() {
            Some(Failure { index, error, .. }) => write!(f, "; the first, at {index}: {error}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BatchError {}

/// The whole of it is the error's cause: [`Cause::Batch`].
impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        Self::new("make changes in a batch", Cause::Batch(Box::new(error)))
    }
}

/// Says before sending what is wrong with a change.
pub(super) type Check = fn(&Change) -> Result<()>;

/// Makes the changes, in their order, many with each system call.
pub(super) fn run(ipvs: &mut Ipvs, changes: impl Iterator<Item = Change>, check: Check) -> Result<(), BatchError> {
    // As long as it will get, and kept for the next batch: memory that is new, or moves, costs a third of writing a change.
    let mut on_their_way = std::mem::take(&mut ipvs.on_their_way);
    on_their_way.reserve(changes.size_hint().0.min(ipvs.connection.most_requests()));
    let mut batch = Batch { ipvs, on_their_way, answered: 0, failures: Vec::new() };
    let interruption = batch.run(changes, check).err();
    let (answered, mut failures) = (batch.answered, std::mem::take(&mut batch.failures));
    if interruption.is_none() && failures.is_empty() {
        return Ok(());
    }
    let end = batch.on_their_way.last().map_or(answered, |(index, _)| index + 1);
    let unknown = answered..end;
    // What was refused before sending stands before what travelled with it.
    failures.sort_by_key(|failure| failure.index);
    Err(BatchError { failures, answered, interruption, unknown })
}

/// A batch on its way.
struct Batch<'a> {
    ipvs: &'a mut Ipvs,
    /// The changes that travel together, with their positions.
    on_their_way: Vec<(usize, Change)>,
    answered: usize,
    failures: Vec<Failure>,
}

impl Drop for Batch<'_> {
    /// An iterator that panics must not leave its changes queued for the next operation.
    fn drop(&mut self) {
        self.ipvs.connection.abandon();
        self.on_their_way.clear();
        self.ipvs.on_their_way = std::mem::take(&mut self.on_their_way);
    }
}

impl Batch<'_> {
    fn run(&mut self, changes: impl Iterator<Item = Change>, check: Check) -> Result<()> {
        let mut given = 0;
        for (index, change) in changes.enumerate() {
            given = index + 1;
            if let Err(error) = check(&change).and_then(|()| self.queue(index, change)) {
                self.failures.push(Failure { index, change, error });
            }
            if self.ipvs.connection.is_full() {
                self.send(given)?;
            }
        }
        self.send(given)
    }

    fn queue(&mut self, index: usize, change: Change) -> Result<()> {
        let failed = |cause| Error::new(change, cause);
        self.ipvs.queue(&change).map_err(failed)?;
        self.on_their_way.push((index, change));
        if matches!(change, Change::StopDaemon(_)) {
            // A daemon that is stopped before it has begun ends with EINTR, and netlink is silent about that one error.
            // What comes behind it is answered.
            self.ipvs.connection.queue(NOOP, 0, |_| {}).map_err(failed)?;
            self.on_their_way.push((index, change));
        }
        Ok(())
    }

    /// Sends what is queued and takes the answers; then all of the first `given` changes have one.
    fn send(&mut self, given: usize) -> Result<()> {
        let mut refused = Vec::new();
        let mut ended = self.take_refusals(&mut refused);
        if ended.is_ok() {
            ended = self.send_again_after_reload(&mut refused);
        }
        self.failures.extend(refused.into_iter().map(|(index, change, refusal)| {
            let error = Error::new(change, change.refused(refusal));
            Failure { index, change, error }
        }));
        if ended.is_ok() {
            self.on_their_way.clear();
            self.answered = given;
        }
        ended
    }

    fn take_refusals(&mut self, refused: &mut Vec<(usize, Change, Refusal)>) -> Result<()> {
        let on_their_way = &self.on_their_way;
        let taken = self.ipvs.connection.settle(
            |_, _, _| Ok(()),
            |position, refusal| {
                refused.extend(on_their_way.get(position).map(|&(index, change)| (index, change, refusal)));
            },
        );
        taken.map_err(|cause| self.interrupted(cause))
    }

    /// A reloaded module answers to another number: what the old number was told is told again, once.
    fn send_again_after_reload(&mut self, refused: &mut Vec<(usize, Change, Refusal)>) -> Result<()> {
        let Some((.., refusal)) = refused.iter().find(|(.., refusal)| refusal.errno == ENOENT) else {
            return Ok(());
        };
        match self.ipvs.module_was_reloaded(refusal) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(cause) => {
                // They were not refused: there is nobody left to refuse them.
                refused.retain(|(.., refusal)| refusal.errno != ENOENT);
                return Err(self.interrupted(cause));
            }
        }
        self.on_their_way.clear();
        let all = std::mem::take(refused).into_iter();
        let (again, others): (Vec<_>, Vec<_>) = all.partition(|(.., refusal)| refusal.errno == ENOENT);
        *refused = others;
        for (index, change, _) in again {
            self.queue(index, change)?;
        }
        self.take_refusals(refused)
    }

    /// An error of what is on its way: one change, or some of a batch by their positions.
    fn interrupted(&self, cause: Cause) -> Error {
        match (self.on_their_way.first(), self.on_their_way.last()) {
            (Some((first, change)), Some((last, _))) if first == last => Error::new(change, cause),
            (Some((first, _)), Some((last, _))) => Error::new(format_args!("make changes {first} to {last}"), cause),
            _ => Error::new("make changes", cause),
        }
    }
}
