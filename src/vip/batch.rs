//! Batches of virtual IPs: observation, requests and failures.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use nix::errno::Errno;

use super::binder::{Binder, Vip, Way};
use super::client::Vips;
use super::link::LinkRequest;
use super::listing::IN_CREATION;
use super::message::{RTPROT_KERNEL, Route, Target};
use super::plan::{Observed, Plan, needed, set_of};
use super::refusal::explain;
use super::request::{Change, Message};
use crate::batch;
use crate::connection::Request;
use crate::error::{Cause, Error, Reason, Result};
use crate::trace::Span;

/// Numbers of virtual IPs that were bound, unbound, or neither.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Tally {
    /// Number of virtual IPs that were bound.
    pub bound: usize,
    /// Number of virtual IPs that were unbound.
    pub unbound: usize,
    /// Number of virtual IPs that were as requested.
    pub unchanged: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bound, unbound, unchanged } = self;
        write!(f, "{bound} bound, {unbound} unbound, {unchanged} unchanged")
    }
}

/// Some of many virtual IPs could not be bound or unbound: see [`batch::BatchError`].
///
/// All other changes were made, unless an interruption ended the call. An error of [`Vips::check`](super::Vips::check)
/// means no change. Repeating a call is always safe: virtual IPs that are bound or unbound already count as unchanged.
pub type BatchError = batch::BatchError<Change, Tally>;

/// A virtual IP that could not be bound or unbound: see [`batch::Failure`].
pub type Failure = batch::Failure<Change>;

/// Longest wait for a route that the kernel creates by itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// Number of addresses that are deleted and added again together.
const TOGETHER: usize = 64;

/// Purpose of a message that binds or unbinds.
#[derive(Clone, Copy, Debug)]
enum Step {
    Bind,
    Unbind,
    /// Deletes an address that has lost its local route.
    Withdraw,
    /// Adds a deleted address again.
    Restore,
}

/// A change of many virtual IPs, and its failures so far.
pub(super) struct Work<'a> {
    vips: &'a mut Vips,
    binder: &'a Binder,
    done: Tally,
    failures: Vec<Failure>,
}

impl<'a> Work<'a> {
    pub(super) fn new(vips: &'a mut Vips, binder: &'a Binder) -> Self {
        Self { vips, binder, done: Tally::default(), failures: Vec::new() }
    }

    pub(super) fn finish(self, ended: Result<()>, operation: &str) -> Result<Tally, BatchError> {
        let Self { binder, done, failures, .. } = self;
        let operation = format!("{operation} {binder}");
        let interruption = ended.err().map(|error| error.during(&operation));
        if interruption.is_none() && failures.is_empty() {
            return Ok(done);
        }
        Err(BatchError::new(operation, failures, done).interrupted(interruption, 0..0))
    }

    /// Binds the missing ones of the desired virtual IPs, and unbinds the others.
    pub(super) fn sync(&mut self, desired: &[Vip]) -> Result<()> {
        let wanted = self.possible(desired);
        let observed = self.vips.observe(self.binder, &wanted, true)?;
        self.bind_missing(&observed)?;
        let mut surplus = observed.surplus(desired);
        let needed = needed(&self.failures, &surplus);
        surplus.retain(|vip| !needed.contains(vip));
        match observed.target {
            Some(target) => self.send(Step::Unbind, target, &surplus).map(drop),
            None => Ok(()),
        }
    }

    /// Finds invalid input and conflicts among virtual IPs that are to be bound, and changes nothing.
    pub(super) fn check(&mut self, wanted: &[Vip]) -> Result<()> {
        let wanted = self.possible(wanted);
        if wanted.is_empty() {
            return Ok(());
        }
        let observed = self.vips.observe(self.binder, &wanted, false)?;
        self.fail_conflicts(Plan::to_bind(self.binder, &observed).conflicts)
    }

    /// Binds the virtual IPs that are not bound yet.
    pub(super) fn bind(&mut self, wanted: &[Vip]) -> Result<()> {
        let wanted = self.possible(wanted);
        if wanted.is_empty() {
            return Ok(());
        }
        let observed = self.vips.observe(self.binder, &wanted, false)?;
        self.bind_missing(&observed)
    }

    /// Returns the virtual IPs that this binder can bind; the others are failures.
    fn possible(&mut self, wanted: &[Vip]) -> Vec<Vip> {
        let mut possible = Vec::with_capacity(wanted.len());
        for vip in wanted {
            match self.binder.check(*vip) {
                Ok(()) => possible.push(*vip),
                Err(cause) => self.fail(Change::Bind(*self.binder, *vip), cause),
            }
        }
        possible
    }

    fn bind_missing(&mut self, observed: &Observed) -> Result<()> {
        let Plan { bind: mut missing, mut lost, unchanged, conflicts } = Plan::to_bind(self.binder, observed);
        self.done.unchanged += unchanged;
        self.fail_conflicts(conflicts)?;
        if missing.is_empty() && lost.is_empty() {
            return Ok(());
        }
        let target = match (observed.target, self.binder.0) {
            (None, Way::Dummy(name)) => self.vips.create_interface(self.binder, name)?,
            (Some(target), _) => target,
            (None, _) => return Ok(()),
        };
        let existing: HashSet<_> = self.send(Step::Bind, target, &missing)?.into_iter().collect();
        if !target.is_checked {
            self.done.unchanged += existing.len();
            return Ok(());
        }
        let known = |vip: &&Vip| observed.routes.contains_key(*vip);
        self.done.unchanged += existing.iter().filter(known).count();
        lost.extend(existing.iter().filter(|vip| !known(vip)));
        missing.retain(|vip| !existing.contains(vip));
        self.confirm(target, missing, &HashSet::new())?;
        self.repair(target, lost)
    }

    /// Deletes addresses that have lost their local routes and adds them again: the kernel creates such a route only
    /// together with its address.
    fn repair(&mut self, target: Target, lost: Vec<Vip>) -> Result<()> {
        let before = lost.len();
        let lost = self.vips.wait_until_local(lost, IN_CREATION)?;
        self.done.unchanged += before - lost.len();
        let mut existing = HashSet::new();
        for some in lost.chunks(TOGETHER) {
            self.send(Step::Withdraw, target, some)?;
            existing.extend(self.send(Step::Restore, target, some)?);
        }
        self.done.unchanged += existing.len();
        self.confirm(target, lost, &existing)
    }

    /// Reports the bound addresses, and the `existing` ones among them, that have no local route.
    fn confirm(&mut self, target: Target, mut vips: Vec<Vip>, existing: &HashSet<Vip>) -> Result<()> {
        let failed: HashSet<_> = self.failures.iter().map(|failure| failure.change.vip()).collect();
        vips.retain(|vip| !failed.contains(vip));
        let absent = self.vips.wait_until_local(vips, PATIENCE)?;
        if absent.is_empty() {
            return Ok(());
        }
        // Another process may have deleted the others, or the interface, meanwhile.
        let owned = match self.vips.owned(target) {
            Err(error) if error.is_not_found() => Vec::new(),
            owned => owned?,
        };
        let owned = set_of(&owned);
        for vip in absent.into_iter().filter(|vip| owned.contains(vip) || existing.contains(vip)) {
            let counted = if existing.contains(&vip) { &mut self.done.unchanged } else { &mut self.done.bound };
            *counted -= 1;
            let text =
                "the address exists, but another route or rule precedes its local route, or it has no local route";
            self.fail(Change::Bind(*self.binder, vip), Cause::precondition(Reason::Other, text));
        }
        Ok(())
    }

    fn fail_conflicts(&mut self, conflicts: Vec<(Vip, Route)>) -> Result<()> {
        let mut names = HashMap::new();
        for (vip, route) in conflicts {
            let index = route.index;
            let interface = match names.get(&index) {
                Some(name) => *name,
                None => {
                    let name = match self.vips.link(LinkRequest::GetIndex(index)) {
                        Ok(link) => link.and_then(|link| link.name),
                        // The conflict is the error that matters.
                        Err(error) if matches!(error.cause(), Cause::Refused(_) | Cause::Decode(_)) => None,
                        Err(error) => return Err(error),
                    };
                    *names.entry(index).or_insert(name)
                }
            };
            let protocol = (route.protocol != RTPROT_KERNEL).then_some(route.protocol);
            let (address, length) = (route.vip.address(), route.vip.length());
            let of_subnet = !route.is_local;
            let conflict = Cause::Conflict { address, length, interface, index, protocol, of_subnet };
            self.fail(Change::Bind(*self.binder, vip), conflict);
        }
        Ok(())
    }

    /// Unbinds those of the virtual IPs that the binder owns.
    pub(super) fn unbind(&mut self, mut unwanted: Vec<Vip>) -> Result<()> {
        let Some(target) = self.vips.target(self.binder)? else {
            self.done.unchanged += unwanted.len();
            return Ok(());
        };
        let before = unwanted.len();
        match target.way {
            Way::Routes(_) => {}
            Way::Dummy(_) => unwanted.retain(|vip| !vip.is_prefix()),
            // The kernel would delete another's address on the same interface.
            Way::Label { .. } => {
                let owned: HashSet<_> = self.vips.owned(target)?.into_iter().collect();
                unwanted.retain(|vip| owned.contains(vip));
            }
        }
        self.done.unchanged += before - unwanted.len();
        self.send(Step::Unbind, target, &unwanted).map(drop)
    }

    /// Sends the changes, many with each system call. Returns the addresses that exist already.
    fn send(&mut self, step: Step, target: Target, mut vips: &[Vip]) -> Result<Vec<Vip>> {
        let binder = *self.binder;
        let binds = matches!(step, Step::Bind | Step::Restore);
        let span = Span::new(&format_args!("{} virtual IPs, with {binder}", if binds { "bind" } else { "unbind" }));
        let _entered = span.enter();
        let mut existing = Vec::new();
        while !vips.is_empty() {
            let mut queued = 0;
            for vip in vips {
                let message = if binds { Message::Bind(target, *vip) } else { Message::Unbind(target, *vip) };
                message.queue(&mut self.vips.connection.exchange).map_err(|cause| Error::new(message, cause))?;
                queued += 1;
                if self.vips.connection.exchange.is_full() {
                    break;
                }
            }
            let mut refused = Vec::new();
            let settled =
                self.vips.connection.settle(|_, _, _| Ok(()), |request, refusal, _| refused.push((request, refusal)));
            if settled.is_ok() {
                match step {
                    Step::Bind | Step::Restore => self.done.bound += queued - refused.len(),
                    Step::Unbind => self.done.unbound += queued - refused.len(),
                    Step::Withdraw => {}
                }
            }
            for (request, refusal) in refused {
                let Some(vip) = vips.get(request) else { continue };
                match (Errno::from_raw(refusal.errno), step) {
                    // The interface belongs to the binder: the existing address is the requested one.
                    (Errno::EEXIST, Step::Bind) if matches!(target.way, Way::Dummy(_)) => existing.push(*vip),
                    (Errno::EEXIST, Step::Restore) => existing.push(*vip),
                    (Errno::EADDRNOTAVAIL | Errno::ESRCH, Step::Unbind) => self.done.unchanged += 1,
                    // The address cannot be added again then, which is reported.
                    (_, Step::Withdraw) => {}
                    (_, Step::Unbind) => self.fail(Change::Unbind(binder, *vip), explain(refusal).into()),
                    (_, Step::Bind | Step::Restore) => self.fail(Change::Bind(binder, *vip), explain(refusal).into()),
                }
            }
            settled.map_err(|cause| Error::new("change virtual IPs", cause))?;
            vips = vips.get(queued..).unwrap_or_default();
        }
        Ok(existing)
    }

    fn fail(&mut self, change: Change, cause: Cause) {
        self.failures.push(Failure::new(change, Error::new(change, cause)));
    }
}
