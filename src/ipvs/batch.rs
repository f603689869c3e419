//! Batches of changes.

use std::collections::HashMap;
use std::net::SocketAddr;

use nix::libc::ENOENT;

use super::{Change, Ipvs, ServiceKey};
use crate::batch;
use crate::connection::Request;
use crate::error::{Cause, Error, Reason, Refusal, Result};
use crate::trace::Span;

/// Some changes of a batch were not made: see [`batch::BatchError`].
pub type BatchError = batch::BatchError<Change>;

/// A change that was not made: see [`batch::Failure`].
pub type Failure = batch::Failure<Change>;

/// Makes the changes, in their order, many with each system call.
pub(super) fn run(ipvs: &mut Ipvs, changes: impl Iterator<Item = Change>) -> Result<(), BatchError> {
    let span = Span::new(&"make changes in a batch");
    let _entered = span.enter();
    // The allocation is kept for the next batch: new memory, or a move, costs a third of writing a change.
    let mut in_flight = std::mem::take(&mut ipvs.in_flight);
    in_flight.reserve(changes.size_hint().0.min(ipvs.connection.exchange.limits().requests));
    let mut batch =
        Batch { ipvs, in_flight, answered: 0, failures: Vec::new(), classified: 0, missing: Missing::default() };
    let interruption = batch.run(changes).err();
    let (answered, failures) = (batch.answered, std::mem::take(&mut batch.failures));
    if interruption.is_none() && failures.is_empty() {
        return Ok(());
    }
    let end = batch.in_flight.last().map_or(answered, |(index, _)| index + 1);
    let error = BatchError::new("make changes in a batch", failures, answered);
    Err(error.interrupted(interruption, answered..end))
}

/// A batch in flight.
struct Batch<'a> {
    ipvs: &'a mut Ipvs,
    /// The changes of the datagram in flight, with their positions.
    in_flight: Vec<(usize, Change)>,
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
        self.in_flight.clear();
        self.ipvs.in_flight = std::mem::take(&mut self.in_flight);
    }
}

impl Batch<'_> {
    fn run(&mut self, changes: impl Iterator<Item = Change>) -> Result<()> {
        let mut given = 0;
        for (index, change) in changes.enumerate() {
            given = index + 1;
            if let Err(cause) = self.queue(index, change) {
                self.failures.push(Failure::new(change, Error::new(change, cause).at(index)));
            }
            if self.ipvs.connection.exchange.is_full() {
                self.send(given)?;
            }
        }
        self.send(given)
    }

    fn queue(&mut self, index: usize, change: Change) -> Result<(), Cause> {
        let request = self.ipvs.addressed(change);
        request.check()?;
        let messages = request.queue(&mut self.ipvs.connection.exchange)?;
        for _ in 0..messages {
            self.in_flight.push((index, change));
        }
        Ok(())
    }

    /// Sends the queued changes and receives the answers. Then each of the first `given` changes has an answer.
    fn send(&mut self, given: usize) -> Result<()> {
        let mut refused = Vec::new();
        let mut ended = self.take_refusals(&mut refused);
        if ended.is_ok() {
            ended = self.send_again_after_reload(&mut refused);
        }
        self.failures.extend(refused.into_iter().map(|(index, change, refusal)| {
            Failure::new(change, Error::new(change, change.refused(refusal)).at(index))
        }));
        self.classify();
        if ended.is_ok() {
            self.in_flight.clear();
            self.answered = given;
        }
        ended
    }

    /// Puts the new failures in order, and finds which of them follow from an earlier one.
    fn classify(&mut self) {
        let new = self.failures.get_mut(self.classified..).unwrap_or_default();
        if new.is_empty() && self.missing.is_empty() {
            return;
        }
        // Those refused before sending stand before those that travelled with them.
        new.sort_by_key(Failure::position);
        let mut sent = self.in_flight.iter().peekable();
        for failure in new {
            let place = failure.position().unwrap_or_default();
            while let Some((_, change)) = sent.next_if(|(index, _)| *index < place) {
                self.missing.made(change);
            }
            sent.next_if(|(index, _)| *index == place);
            if let Some(earlier) = self.missing.failed(failure, place) {
                failure.error.follow(earlier);
            }
        }
        sent.for_each(|(_, change)| self.missing.made(change));
        self.classified = self.failures.len();
    }

    fn take_refusals(&mut self, refused: &mut Vec<(usize, Change, Refusal)>) -> Result<()> {
        let in_flight = &self.in_flight;
        let taken = self.ipvs.connection.settle(
            |_, _, _| Ok(()),
            |position, refusal, _| {
                refused.extend(in_flight.get(position).map(|&(index, change)| (index, change, refusal)));
            },
        );
        taken.map_err(|cause| Error::new(self.operation(), cause))
    }

    /// A reloaded module answers to another number: requests to the old number are sent again, once.
    fn send_again_after_reload(&mut self, refused: &mut Vec<(usize, Change, Refusal)>) -> Result<()> {
        let Some((.., refusal)) = refused.iter().find(|(.., refusal)| refusal.errno == ENOENT) else {
            return Ok(());
        };
        match self.ipvs.module_was_reloaded(refusal) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                // They were not refused: their family does not exist any more.
                refused.retain(|(.., refusal)| refusal.errno != ENOENT);
                return Err(error.during(self.operation()));
            }
        }
        self.in_flight.clear();
        let all = std::mem::take(refused).into_iter();
        let (again, others): (Vec<_>, Vec<_>) = all.partition(|(.., refusal)| refusal.errno == ENOENT);
        *refused = others;
        for (index, change, _) in again {
            self.queue(index, change).map_err(|cause| Error::new(change, cause))?;
        }
        self.take_refusals(refused)
    }

    /// Text of the changes in flight: one change, or some of a batch by their positions.
    fn operation(&self) -> String {
        match (self.in_flight.first(), self.in_flight.last()) {
            (Some((first, change)), Some((last, _))) if first == last => change.to_string(),
            (Some((first, _)), Some((last, _))) => format!("make changes {first} to {last}"),
            _ => "make changes".to_owned(),
        }
    }
}

/// The services and destinations that do not exist because a change of the batch failed, and the position of that
/// change.
#[derive(Default)]
struct Missing {
    services: HashMap<ServiceKey, usize>,
    destinations: HashMap<(ServiceKey, SocketAddr), usize>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.services.is_empty() && self.destinations.is_empty()
    }

    /// Takes note of a change that was made.
    fn made(&mut self, change: &Change) {
        match change {
            Change::AddService(service) => _ = self.services.remove(&service.key),
            Change::DeleteService(key) => {
                self.services.remove(key);
                self.destinations.retain(|(service, _), _| service != key);
            }
            Change::AddDestination(key, destination) => _ = self.destinations.remove(&(*key, destination.address)),
            Change::DeleteDestination(key, address) => _ = self.destinations.remove(&(*key, *address)),
            Change::Clear => *self = Self::default(),
            _ => {}
        }
    }

    /// Takes note of a failure, and returns the position of the one that it follows from.
    fn failed(&mut self, failure: &Failure, index: usize) -> Option<usize> {
        let reason = failure.error.reason();
        let (key, address) = match &failure.change {
            Change::AddService(service) => {
                if reason != Some(Reason::AlreadyExists) {
                    self.services.entry(service.key).or_insert(index);
                }
                return None;
            }
            Change::SetService(service) => (service.key, None),
            Change::DeleteService(key) | Change::Zero(key) => (*key, None),
            Change::AddDestination(key, destination) | Change::SetDestination(key, destination) => {
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
