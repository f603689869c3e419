//! Many changes at once.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

use nix::libc::ENOENT;

use super::{Change, Ipvs, ServiceKey};
use crate::error::{BatchText, Cause, Error, Reason, Refusal, Result};
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

/// A change that was not made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Its position in the batch, counted from 0.
    pub index: usize,
    /// The change.
    pub change: Change,
    /// Why. [`Error::follows`] tells the failed change that it follows from, if it does.
    pub error: Error,
}

impl BatchError {
    /// The failures that do not follow from another one. With a misspelt scheduler and 200 endpoints, one of 201.
    pub fn independent(&self) -> impl Iterator<Item = &Failure> {
        self.failures.iter().filter(|failure| failure.error.follows().is_none())
    }
}

impl AsRef<Error> for Failure {
    fn as_ref(&self) -> &Error {
        &self.error
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", BatchText { failures: &self.failures, interruption: self.interruption.as_ref() })
    }
}

impl std::error::Error for BatchError {}

/// See [`Cause::Batch`].
impl From<BatchError> for Error {
    fn from(BatchError { failures, interruption, .. }: BatchError) -> Self {
        let failures = failures.into_iter().map(|failure| failure.error).collect();
        Self::new("make changes in a batch", Cause::Batch { failures, interruption })
    }
}

/// Says before sending what is wrong with a change.
pub(super) type Check = fn(&Change) -> Result<()>;

/// Makes the changes, in their order, many with each system call.
pub(super) fn run(ipvs: &mut Ipvs, changes: impl Iterator<Item = Change>, check: Check) -> Result<(), BatchError> {
    // As long as it will get, and kept for the next batch: memory that is new, or moves, costs a third of writing a change.
    let mut on_their_way = std::mem::take(&mut ipvs.on_their_way);
    on_their_way.reserve(changes.size_hint().0.min(ipvs.connection.most_requests()));
    let mut batch =
        Batch { ipvs, on_their_way, answered: 0, failures: Vec::new(), classified: 0, missing: Missing::default() };
    let interruption = batch.run(changes, check).err();
    let (answered, failures) = (batch.answered, std::mem::take(&mut batch.failures));
    if interruption.is_none() && failures.is_empty() {
        return Ok(());
    }
    let end = batch.on_their_way.last().map_or(answered, |(index, _)| index + 1);
    let unknown = answered..end;
    Err(BatchError { failures, answered, interruption, unknown })
}

/// A batch on its way.
struct Batch<'a> {
    ipvs: &'a mut Ipvs,
    /// The changes that travel together, with their positions.
    on_their_way: Vec<(usize, Change)>,
    answered: usize,
    failures: Vec<Failure>,
    /// Number of failures in order and with what they follow from.
    classified: usize,
    missing: Missing,
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
                self.failures.push(Failure { index, change, error: error.at(index) });
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
            let error = Error::new(change, change.refused(refusal)).at(index);
            Failure { index, change, error }
        }));
        self.classify();
        if ended.is_ok() {
            self.on_their_way.clear();
            self.answered = given;
        }
        ended
    }

    /// Puts the new failures in order, and finds which of them follow from an earlier one.
    fn classify(&mut self) {
        let new = self.failures.get_mut(self.classified..).unwrap_or_default();
        // Those refused before sending stand before those that travelled with them.
        new.sort_by_key(|failure| failure.index);
        let mut sent = self.on_their_way.iter().peekable();
        for failure in new {
            while let Some((_, change)) = sent.next_if(|(index, _)| *index < failure.index) {
                self.missing.made(change);
            }
            sent.next_if(|(index, _)| *index == failure.index);
            if let Some(earlier) = self.missing.failed(failure) {
                failure.error.follow(earlier);
            }
        }
        sent.for_each(|(_, change)| self.missing.made(change));
        self.classified = self.failures.len();
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

/// The services and destinations that do not exist because a change of the batch failed, and the position of that change.
#[derive(Default)]
struct Missing {
    services: HashMap<ServiceKey, usize>,
    destinations: HashMap<(ServiceKey, SocketAddr), usize>,
}

impl Missing {
    /// Takes note of a change that was made.
    fn made(&mut self, change: &Change) {
        if self.services.is_empty() && self.destinations.is_empty() {
            return;
        }
        match change {
            Change::AddService(service) => _ = self.services.remove(&service.key),
            Change::DeleteService(key) => {
                self.services.remove(key);
                self.destinations.retain(|(service, _), _| service != key);
            }
            Change::AddDestination(key, destination) => _ = self.destinations.remove(&(*key, destination.address)),
            Change::DeleteDestination(key, address) => _ = self.destinations.remove(&(*key, *address)),
            Change::Flush => *self = Self::default(),
            _ => {}
        }
    }

    /// Takes note of a failure, and returns the position of the one that it follows from.
    fn failed(&mut self, failure: &Failure) -> Option<usize> {
        let (reason, index) = (failure.error.reason(), failure.index);
        let (key, address) = match &failure.change {
            Change::AddService(service) => {
                if reason != Some(Reason::AlreadyExists) {
                    self.services.entry(service.key).or_insert(index);
                }
                return None;
            }
            Change::ReplaceService(service) => (service.key, None),
            Change::DeleteService(key) | Change::Zero(key) => (*key, None),
            Change::AddDestination(key, destination) | Change::ReplaceDestination(key, destination) => {
                (*key, Some(destination.address))
            }
            Change::DeleteDestination(key, address) => (*key, Some(*address)),
            _ => return None,
        };
        let follows = match (reason, address) {
            (Some(Reason::ServiceNotFound), _) => self.services.get(&key).copied(),
            (Some(Reason::DestinationNotFound), Some(address)) => self.destinations.get(&(key, address)).copied(),
            _ => None,
        };
        if let (Change::AddDestination(..), Some(address), None) = (&failure.change, address, follows) {
            if reason != Some(Reason::AlreadyExists) {
                self.destinations.entry((key, address)).or_insert(index);
            }
        }
        follows
    }
}
