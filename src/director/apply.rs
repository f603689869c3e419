//! Execution of a plan.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::client::Director;
use super::drain::Draining;
use super::owner::Owner;
use super::plan::{Conflict, Plan};
use super::step::{Change, Phase, Step};
use super::unmet::Unmet;
use crate::batch;
use crate::conntrack::Flow;
use crate::error::{Error, Result};
use crate::ipset;
use crate::ipvs::{self, ServiceKey};
use crate::net::Family;
use crate::outcome::Outcome;
use crate::vip;

/// The error of a plan of which some steps failed: see [`batch::BatchError`]. Steps that depend on a failed one are
/// withheld, and all others were carried out: see [`Report::steps`].
///
/// Another call of [`Director::sync`] carries out the missing steps.
pub type BatchError = batch::BatchError<Step, Box<Report>>;

/// A step that failed: see [`batch::Failure`].
pub type Failure = batch::Failure<Step>;

/// Result of a plan, or of both plans of a call that was [overtaken](End::Overtaken).
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::plan::as_text"))]
    steps: Vec<Step>,
    ends: Vec<End>,
    /// Desired objects that are foreign, or that the owner cannot have. They are not changed.
    pub conflicts: Vec<Conflict>,
    /// Destinations that are quiesced and wait to be deleted.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub draining: Vec<Draining>,
    /// Number of foreign services.
    pub foreign: usize,
    /// The time at which the next call is due: when a drain may be over. `None` if nothing drains, or if the clock can
    /// represent neither the next check nor a deadline.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub again_at: Option<Instant>,
    /// Time that each phase with steps took, for each plan.
    pub durations: Vec<(Phase, Duration)>,
}

/// Result of a step.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum End {
    /// Carried out.
    Done,
    /// Another program changed the same object after it was read: the object to add existed, or the object to change or
    /// delete was gone. [`Director::sync`] reads again.
    Overtaken,
    /// Not tried: a step that it depends on failed or was overtaken, or the plan was interrupted.
    Withheld,
    /// Failed, with the error in the [`BatchError`].
    Failed,
}

impl Report {
    /// Returns the steps of the plan, each with its result.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = (&Step, End)> {
        self.steps.iter().zip(self.ends.iter().copied())
    }

    /// Returns the number of steps with this result.
    pub fn count(&self, end: End) -> usize {
        self.ends.iter().filter(|ended| **ended == end).count()
    }

    /// Whether nothing was changed or tried.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the report of two plans: the steps of both, and the state after the second one.
    pub(super) fn after(self, first: Self) -> Self {
        let Self { mut steps, mut ends, mut durations, .. } = first;
        steps.extend(self.steps);
        ends.extend(self.ends);
        durations.extend(self.durations);
        Self { steps, ends, durations, ..self }
    }
}

impl fmt::Display for Report {
    /// `12 steps: 11 done, 0 overtaken, 1 withheld, 0 failed; 0 conflicts, 3 draining`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [done, overtaken, withheld, failed] =
            [End::Done, End::Overtaken, End::Withheld, End::Failed].map(|end| self.count(end));
        let (steps, conflicts, draining) = (self.steps.len(), self.conflicts.len(), self.draining.len());
        write!(f, "{steps} steps: {done} done, {overtaken} overtaken, {withheld} withheld, {failed} failed; ")?;
        write!(f, "{conflicts} conflicts, {draining} draining")
    }
}

/// Returns the error of a second plan with the report of both. After an error of reading, the report is the first one.
pub(super) fn error_after(mut error: BatchError, first: Report) -> BatchError {
    let moved = |Failure { change, error }: Failure| {
        let position = first.steps.len() + error.position().unwrap_or_default();
        Failure::new(change, error.at(position))
    };
    error.failures = error.failures.into_iter().map(moved).collect();
    let second = std::mem::take(&mut *error.done);
    *error.done = if second.is_empty() { first } else { second.after(first) };
    error
}

/// A plan that is being carried out.
pub(super) struct Work<'a> {
    director: &'a mut Director,
    steps: Vec<Step>,
    ends: Vec<End>,
    failures: Vec<Failure>,
    unmet: Unmet,
}

impl<'a> Work<'a> {
    pub(super) fn new(director: &'a mut Director) -> Self {
        Self { director, steps: Vec::new(), ends: Vec::new(), failures: Vec::new(), unmet: Unmet::default() }
    }

    pub(super) fn run(mut self, plan: Plan) -> Result<Report, BatchError> {
        let Plan { steps, conflicts, draining, foreign, serving, .. } = plan;
        self.ends = vec![End::Withheld; steps.len()];
        self.steps = steps;
        let mut durations = Vec::new();
        let mut interruption = None;
        let mut at = 0;
        while let (Some(phase), None) = (self.steps.get(at).map(|step| step.phase), &interruption) {
            let rest = self.steps.get(at..).unwrap_or_default();
            let end = at + rest.iter().take_while(|step| step.phase == phase).count();
            let began = Instant::now();
            interruption = self.phase(at, end, &serving).err();
            self.note(at..end);
            durations.push((phase, began.elapsed()));
            at = end;
        }
        let Self { steps, ends, failures, .. } = self;
        let report = Report { steps, ends, conflicts, draining, foreign, again_at: None, durations };
        if failures.is_empty() && interruption.is_none() {
            return Ok(report);
        }
        Err(BatchError::new("carry out a plan", failures, Box::new(report)).interrupted(interruption, 0..0))
    }

    /// Carries out the steps of one phase, those of one module together.
    fn phase(&mut self, from: usize, end: usize, serving: &HashMap<ServiceKey, usize>) -> Result<()> {
        let (mut of_ipvs, mut of_sets, mut vips) = (Vec::new(), Vec::new(), Vec::new());
        let (mut replaced, mut tracked, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for (index, step) in self.steps.iter().enumerate().take(end).skip(from) {
            match &step.change {
                Change::Ipvs(change) if self.unmet.holds_ipvs(change, serving) => held.push(index),
                Change::Ipvs(_) => of_ipvs.push(index),
                Change::Vip(change) => vips.push((index, *change)),
                Change::ReplaceSet(..) => replaced.push(index),
                Change::DeleteFlows(..) => tracked.push(index),
                Change::Ipset(_) | Change::Register(_) | Change::Unregister(_) => of_sets.push(index),
            }
        }
        held.into_iter().for_each(|index| self.withhold(index));
        for index in replaced {
            self.replace_set(index)?;
        }
        // The members that guard a virtual IP end after it.
        self.vips(vips)?;
        self.ipset(&of_sets)?;
        self.ipvs(&of_ipvs)?;
        self.flows(tracked)
    }

    /// Remembers the steps that were carried out.
    fn note(&mut self, phase: Range<usize>) {
        let steps = self.steps.get(phase.clone()).unwrap_or_default();
        let done = steps.iter().zip(self.ends.get(phase).unwrap_or_default());
        let done = done.filter(|(_, end)| **end == End::Done).map(|(step, _)| &step.change);
        if let Some(memory) = self.director.memory() {
            memory.note_all(done);
        }
    }

    fn end(&mut self, index: usize, end: End) {
        if let Some(place) = self.ends.get_mut(index) {
            *place = end;
        }
    }

    fn fail(&mut self, index: usize, error: Error) {
        self.end(index, End::Failed);
        let Some(step) = self.steps.get(index).cloned() else { return };
        self.unmet.note(&step.change);
        if error.is_full() {
            self.unmet.full(&step.change, &self.director.owner);
        }
        self.failures.push(Failure::new(step, error.at(index)));
    }

    fn replace_set(&mut self, index: usize) -> Result<()> {
        let Some(Change::ReplaceSet(name, new, members)) = self.steps.get(index).map(|step| step.change.clone()) else {
            return Ok(());
        };
        match self.director.ipset.replace(name, &new, members) {
            Ok(_) => self.end(index, End::Done),
            Err(error) => {
                let error = Error::from(error);
                if interrupts(&error) {
                    return Err(error);
                }
                self.fail(index, error);
            }
        }
        Ok(())
    }

    /// Changes sets and members. The kernel stops at the first failure, and the rest is sent again.
    fn ipset(&mut self, mut rest: &[usize]) -> Result<()> {
        while !rest.is_empty() {
            let mut sent = Vec::new();
            let Self { director, steps, unmet, .. } = self;
            let Director { ipset, owner, .. } = &mut **director;
            // The batch takes the changes of one message at a time: a failure repeats only these.
            let changes = rest.iter().zip(1..).filter_map(|(index, next)| {
                let change = &steps.get(*index)?.change;
                if unmet.holds_set(change, owner) {
                    unmet.note(change);
                    return None;
                }
                let change = set_change(change, owner)?;
                sent.push((*index, next));
                Some(change)
            });
            let (done, error) = match ipset.batch(changes) {
                Ok(done) => (done, None),
                Err(error) => (error.done, Some(error)),
            };
            for (index, _) in sent.iter().take(done) {
                self.end(*index, End::Done);
            }
            let Some(mut error) = error else { break };
            let Some(failure) = error.failures.pop() else { return Err(error.into()) };
            let Some((index, next)) = sent.get(done) else { return Err(failure.error) };
            self.fail(*index, failure.error.alone());
            rest = rest.get(*next..).unwrap_or_default();
        }
        Ok(())
    }

    fn withhold(&mut self, index: usize) {
        if let Some(step) = self.steps.get(index) {
            self.unmet.note(&step.change);
        }
    }

    fn ipvs(&mut self, sent: &[usize]) -> Result<()> {
        let Self { director, steps, .. } = self;
        let changes = sent.iter().filter_map(|index| match steps.get(*index)?.change {
            Change::Ipvs(change) => Some(change),
            _ => None,
        });
        let (failures, interruption, known) = match director.ipvs.batch(changes) {
            Ok(()) => (Vec::new(), None, sent.len()),
            Err(error) => (error.failures, error.interruption, error.done),
        };
        let mut failures = failures.into_iter().peekable();
        for (position, index) in sent.iter().enumerate().take(known) {
            match failures.next_if(|failure| failure.position() == Some(position)) {
                None => self.end(*index, End::Done),
                Some(failure) => self.ipvs_failed(*index, failure.change, failure.error),
            }
        }
        interruption.map_or(Ok(()), Err)
    }

    fn ipvs_failed(&mut self, index: usize, change: ipvs::Change, error: Error) {
        use ipvs::Change::{AddDestination, AddService, DeleteDestination, DeleteService, SetDestination, SetService};
        if error.follows().is_some() {
            return self.withhold(index);
        }
        let overtaken = match change {
            AddService(_) => error.is_already_exists(),
            AddDestination(..) => error.is_already_exists() || error.is_not_found(),
            SetService(_) | SetDestination(..) | DeleteService(_) | DeleteDestination(..) => error.is_not_found(),
            _ => false,
        };
        if !overtaken {
            return self.fail(index, error.alone());
        }
        if let AddService(service) = change {
            // Another program was faster: the key is not ours.
            self.unmet.note(&Change::Ipvs(change));
            if let Err(error) = self.director.disown(service.key) {
                return self.fail(index, error);
            }
        }
        self.end(index, End::Overtaken);
    }

    fn vips(&mut self, steps: Vec<(usize, vip::Change)>) -> Result<()> {
        let added = self.unmet.added(&self.steps);
        let (mut bind, mut unbind) = (Vec::new(), Vec::new());
        for (index, change) in steps {
            let served = |step| self.unmet.is_served(step, &added);
            match change {
                vip::Change::Bind(_, vip) if self.steps.get(index).is_some_and(served) => {
                    if self.unmet.holds_bind(vip) { self.withhold(index) } else { bind.push((index, vip)) }
                }
                vip::Change::Unbind(_, vip) if !self.unmet.holds_unbind(vip) => unbind.push((index, vip)),
                _ => {}
            }
        }
        let Director { vips, binder, .. } = &mut *self.director;
        let mut error = None;
        if !bind.is_empty() {
            error = vips.bind_all(binder, bind.iter().map(|(_, vip)| *vip)).err();
        }
        if !unbind.is_empty() && error.is_none() {
            error = vips.unbind_all(binder, unbind.iter().map(|(_, vip)| *vip)).err();
        }
        let (failures, interruption) = match error {
            None => (Vec::new(), None),
            Some(error) => (error.failures, error.interruption),
        };
        let mut failed: HashMap<_, _> =
            failures.into_iter().map(|failure| (failure.change.vip(), failure.error)).collect();
        for (index, vip) in bind.into_iter().chain(unbind) {
            match failed.remove(&vip) {
                Some(error) => self.fail(index, error),
                // The result of the changes in flight is unknown: everything is read again.
                None if interruption.is_some() => {}
                None => self.end(index, End::Done),
            }
        }
        interruption.map_or(Ok(()), Err)
    }

    /// Reads the flows of each family once, and deletes the stale ones.
    fn flows(&mut self, steps: Vec<usize>) -> Result<()> {
        let mut services: HashMap<SocketAddr, (usize, Vec<SocketAddr>)> = HashMap::new();
        for index in steps {
            if let Some(Change::DeleteFlows(service, endpoints)) = self.steps.get(index).map(|step| &step.change) {
                services.insert(*service, (index, endpoints.clone()));
            }
        }
        let stale = match self.stale_flows(&services) {
            Ok(stale) => stale,
            // Nothing is translated.
            Err(error) if error.is_unavailable() => Vec::new(),
            Err(error) => {
                if let Some(first) = services.values().map(|(index, _)| *index).min() {
                    self.fail(first, error);
                }
                return Ok(());
            }
        };
        let mut failed = HashMap::new();
        for (index, flow) in stale {
            let removed = self.director.conntrack.as_mut().map_or(Ok(Outcome::Unchanged), |track| track.remove(&flow));
            if let Err(error) = removed {
                failed.insert(index, error);
            }
        }
        for (index, _) in services.into_values() {
            match failed.remove(&index) {
                Some(error) => self.fail(index, error),
                None => self.end(index, End::Done),
            }
        }
        Ok(())
    }

    fn stale_flows(&mut self, services: &HashMap<SocketAddr, (usize, Vec<SocketAddr>)>) -> Result<Vec<(usize, Flow)>> {
        let mut stale = Vec::new();
        let Some(conntrack) = &mut self.director.conntrack else { return Ok(stale) };
        for family in [Family::Inet, Family::Inet6] {
            if services.keys().all(|service| Family::of(service.ip()) != family) {
                continue;
            }
            for flow in conntrack.stream_flows(family)? {
                let flow = flow?;
                let of = services.get(&flow.original.destination);
                let of = of.filter(|(_, to)| flow.is_stale(flow.original.destination, to.iter().copied()));
                stale.extend(of.map(|(index, _)| (*index, flow)));
            }
        }
        Ok(stale)
    }
}

/// The change of a set that a step makes.
fn set_change(change: &Change, owner: &Owner) -> Option<ipset::Change> {
    let entry = |key: &ServiceKey| owner.registry()?.entry(*key);
    match change {
        Change::Register(key) => entry(key).map(|(set, member)| ipset::Change::Put(set, member)),
        Change::Unregister(key) => entry(key).map(|(set, member)| ipset::Change::Remove(set, member)),
        Change::Ipset(change) => Some((**change).clone()),
        _ => None,
    }
}

/// Whether an error ends the plan: the result of the changes in flight is unknown, or no change is possible.
fn interrupts(error: &Error) -> bool {
    error.interruption().is_some()
}
