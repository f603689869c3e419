//! The client: reads, plans and carries out.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::apply::{BatchError, End, Report, Work, error_after};
use super::desired::{Desired, Edition};
use super::drain::Drains;
use super::found::{FoundService, FoundServices, FoundSet};
use super::owner::{Owner, Registry};
use super::plan::{Plan, plan};
use super::snapshot::Snapshot;
use super::step::Change;
use crate::conntrack::{Conntrack, Flow};
use crate::error::{Cause, Error, Reason, Result};
use crate::hash::KeySet;
use crate::ipset::{self, AnyType, Ipset, Kind, NewSet, Set};
use crate::ipvs::{self, Ipvs, ServiceKey};
use crate::net::Family;
use crate::ready::{self, Part, Presence};
use crate::vip::{Binder, Vips, Watch};

/// Client that makes the kernel's state the [desired](Desired) one, and does not change foreign objects.
#[derive(Debug)]
pub struct Director {
    pub(super) ipvs: Ipvs,
    pub(super) ipset: Ipset,
    pub(super) vips: Vips,
    pub(super) conntrack: Option<Conntrack>,
    watch: Option<Watch>,
    pub(super) owner: Owner,
    pub(super) binder: Binder,
    drains: Drains,
    pace: Pace,
    memory: Option<Memory>,
    /// Keys of services that were adopted, of an owner without sets for them.
    adopted: Vec<ServiceKey>,
}

/// Intervals at which a director reads the kernel's state again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Pace {
    /// Time after which everything is read again; zero reads everything with each call. 10 minutes by default.
    pub full_audit: Duration,
    /// Number of services that are read with each call in between. 1 by default.
    pub audited: usize,
    /// Time between two checks of drains: see [`Report::again_at`]. One second by default.
    pub drains: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { full_audit: Duration::from_secs(600), audited: 1, drains: Duration::from_secs(1) }
    }
}

impl Pace {
    /// Returns a copy with this time between two full audits.
    #[must_use]
    pub fn full_audit(self, full_audit: Duration) -> Self {
        Self { full_audit, ..self }
    }

    /// Returns a copy with this number of services that are read with each call.
    #[must_use]
    pub fn audited(self, audited: usize) -> Self {
        Self { audited, ..self }
    }

    /// Returns a copy with this time between two checks of drains.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lvs::director::Pace;
    /// let pace = Pace::default().drains(Duration::from_secs(5)).audited(4);
    /// assert_eq!((pace.drains.as_secs(), pace.audited), (5, 4));
    /// ```
    #[must_use]
    pub fn drains(self, drains: Duration) -> Self {
        Self { drains, ..self }
    }
}

/// A snapshot, with the changes that were made since.
#[derive(Debug)]
struct Memory {
    snapshot: Snapshot,
    read_at: Instant,
    /// The service that was audited last.
    audited: Option<ServiceKey>,
    /// The desired state to which the snapshot had no difference, and the number of foreign services then.
    settled: Option<(Edition, usize)>,
}

impl Director {
    /// Opens the clients, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// As [`Ipvs::connect`], [`Ipset::connect`], [`Vips::connect`], [`Conntrack::connect`] and [`Watch::connect`].
    pub fn connect(owner: Owner, binder: Binder) -> Result<Self> {
        let director = Self::over(Ipvs::connect()?, Ipset::connect()?, Vips::connect()?, owner, binder);
        Ok(director.conntrack(Conntrack::connect()?).watch(Watch::connect()?))
    }

    /// Returns a director with these clients, such as clients of another namespace or of a kernel for tests. It does
    /// not delete flows of the connection tracker: see [`Director::conntrack`].
    pub fn over(ipvs: Ipvs, ipset: Ipset, vips: Vips, owner: Owner, binder: Binder) -> Self {
        let (drains, pace) = (Drains::default(), Pace::default());
        Self {
            ipvs,
            ipset,
            vips,
            conntrack: None,
            watch: None,
            owner,
            binder,
            drains,
            pace,
            memory: None,
            adopted: Vec::new(),
        }
    }

    /// Returns the director with a client of the connection tracker, by which it deletes stale flows to UDP services.
    /// [`Director::connect`] includes one.
    #[must_use]
    pub fn conntrack(self, conntrack: Conntrack) -> Self {
        Self { conntrack: Some(conntrack), ..self }
    }

    /// Returns the director with a watch. It reads its virtual IPs again when the watch reports a loss.
    /// [`Director::connect`] includes one.
    #[must_use]
    pub fn watch(self, watch: Watch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Returns a descriptor that becomes readable when a virtual IP may be lost. The next call of [`Director::sync`]
    /// binds the address again. `None` without a [`Watch`].
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(Watch::as_fd)
    }

    /// Returns the director with other intervals.
    #[must_use]
    pub fn pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Reads the kernel's state.
    ///
    /// # Errors
    /// As [`Ipvs::table`], [`Vips::virtual_ips`], [`Ipset::members`]. A set with the name of a registry
    /// set and another set type or family is an error. If the flows of the connection tracker cannot be read, each UDP service is treated as one with stale flows.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::empty(self.owner.clone(), self.binder);
        let table = self.ipvs.table()?.into_iter();
        snapshot.services = FoundServices::new(table.map(|(info, to)| FoundService::new(info.service, to)).collect());
        self.read_vips(&mut snapshot)?;
        self.read_sets(&mut snapshot)?;
        snapshot.keys.extend(self.adopted.iter().copied());
        snapshot.mark_registered();
        self.read_flows(&mut snapshot);
        Ok(snapshot)
    }

    fn read_vips(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        snapshot.vips = self.vips.virtual_ips(&self.binder)?.into_iter().collect();
        snapshot.lost = self.vips.virtual_ips_without_route(&self.binder)?.into_iter().collect();
        Ok(())
    }

    /// Finds the UDP services that have stale flows, such as those that a killed director left.
    fn read_flows(&mut self, snapshot: &mut Snapshot) {
        let Some(conntrack) = &mut self.conntrack else { return };
        snapshot.tracked = true;
        for family in [Family::Inet, Family::Inet6] {
            let services: Vec<_> = snapshot.udp_services(family).collect();
            if services.is_empty() {
                continue;
            }
            let stale = conntrack.stream_flows(family).and_then(|mut flows| {
                let service = |flow: Flow| Some(snapshot.service_of(&flow)?.service.key);
                flows.try_fold(KeySet::default(), |mut stale, flow| {
                    stale.extend(service(flow?));
                    Ok(stale)
                })
            });
            match stale {
                Ok(stale) => snapshot.stale.extend(stale),
                // Nothing is translated.
                Err(error) if error.is_unavailable() => {}
                // The step that deletes them reads again, and reports a persistent error.
                Err(_) => snapshot.stale.extend(services),
            }
        }
    }

    fn read_sets(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        let registries = self.owner.registry().map(Registry::sets);
        for (name, new) in registries.into_iter().flatten() {
            let set = match self.ipset.header(name) {
                Err(error) if error.is_not_found() => continue,
                set => set?,
            };
            registry_is_right(&set, &new)?;
            snapshot.registries.insert(name);
            for member in self.ipset.stream_members(&set)? {
                snapshot.keys.extend(Registry::key(member?.entry));
            }
        }
        if !self.owner.has_sets() {
            return Ok(());
        }
        for name in self.ipset.names()?.into_iter().filter(|name| self.owner.owns_set(*name)) {
            let info = self.ipset.set(name)?;
            let members = self.ipset.members(&info.set)?;
            snapshot.sets.insert(name, FoundSet::new(info.set.kind(), info.options, members));
        }
        Ok(())
    }

    /// Returns the plan without changing anything. Reads everything, and checks for the schedulers and set types
    /// that it needs.
    ///
    /// # Errors
    /// As [`Director::snapshot`].
    pub fn plan(&mut self, desired: &Desired) -> Result<Plan> {
        let snapshot = self.snapshot()?;
        let mut plan = plan(desired, &snapshot, &self.drains, Instant::now());
        let report = ready::check()?;
        plan.missing = needed(&plan).into_iter().filter(|part| report.presence(*part) == Presence::Absent).collect();
        Ok(plan)
    }

    /// Carries out a plan. A step that depends on a failed one is withheld; all others are carried out.
    ///
    /// # Errors
    /// [`BatchError`], with the steps that failed and the report of all.
    pub fn apply(&mut self, plan: Plan) -> Result<Report, BatchError> {
        self.apply_at(plan, Instant::now())
    }

    fn apply_at(&mut self, plan: Plan, now: Instant) -> Result<Report, BatchError> {
        self.drains.set(&plan.draining);
        let soon = now.checked_add(self.pace.drains).filter(|_| !plan.draining.is_empty());
        let again_at = plan.draining.iter().filter_map(|drain| drain.deadline).chain(soon).min();
        let mut result = Work::new(self).run(plan);
        let report = match &mut result {
            Ok(report) => report,
            Err(error) => &mut error.done,
        };
        report.again_at = again_at;
        if report.count(End::Done) < report.steps().len() {
            self.memory = None;
        }
        result
    }

    /// Makes the kernel's state the desired one.
    ///
    /// The first call reads everything. Later calls rely on the director's memory, and read only some services
    /// ([`Pace`]) and those that drain. After a failure, and after [`Pace::full_audit`], everything is read again.
    ///
    /// After an [overtaken](End::Overtaken) step the call reads everything, and carries out a second plan. The report
    /// then has the steps of both.
    ///
    /// # Errors
    /// [`BatchError`]. An error of reading is its interruption; the report then has no steps, or those of the first plan.
    pub fn sync(&mut self, desired: &Desired) -> Result<Report, BatchError> {
        self.sync_at(desired, Instant::now())
    }

    /// Makes the kernel's state the desired one, as [`Director::sync`], with the present time as an argument. For
    /// tests, and programs with a clock of their own.
    ///
    /// # Errors
    /// As [`Director::sync`].
    pub fn sync_at(&mut self, desired: &Desired, now: Instant) -> Result<Report, BatchError> {
        let first = self.sync_once(desired, now)?;
        if first.count(End::Overtaken) == 0 {
            return Ok(first);
        }
        // Another program was faster.
        match self.sync_once(desired, now) {
            Ok(second) => Ok(second.after(first)),
            Err(error) => Err(error_after(error, first)),
        }
    }

    fn sync_once(&mut self, desired: &Desired, now: Instant) -> Result<Report, BatchError> {
        let mut memory = self.look(now).map_err(|error| BatchError::aside(error, Box::default()))?;
        if let Some((_, foreign)) = memory.settled.filter(|(edition, _)| *edition == desired.edition()) {
            self.memory = Some(memory);
            let mut report = Report::default();
            report.foreign = foreign;
            return Ok(report);
        }
        let plan = plan(desired, &memory.snapshot, &self.drains, now);
        let settled = plan.is_empty() && plan.conflicts.is_empty() && plan.draining.is_empty();
        memory.settled = settled.then_some((desired.edition(), plan.foreign));
        self.memory = Some(memory);
        self.apply_at(plan, now)
    }

    /// Returns the memory, brought up to date.
    fn look(&mut self, now: Instant) -> Result<Memory> {
        let fresh = |memory: &Memory| now.saturating_duration_since(memory.read_at) < self.pace.full_audit;
        let Some(mut memory) = self.memory.take().filter(fresh) else {
            if let Some(watch) = &mut self.watch {
                watch.lost()?;
            }
            return Ok(Memory { snapshot: self.snapshot()?, read_at: now, audited: None, settled: None });
        };
        if self.watch.as_mut().map_or(Ok(false), Watch::lost)? {
            self.read_vips(&mut memory.snapshot)?;
            memory.settled = None;
        }
        for service in self.drains.services() {
            self.read_service(&mut memory, service)?;
        }
        for _ in 0..self.pace.audited.min(memory.snapshot.services.len()) {
            let Some(next) = memory.snapshot.services.behind(memory.audited) else { break };
            let key = next.service.key;
            self.read_service(&mut memory, key)?;
            memory.audited = Some(key);
        }
        Ok(memory)
    }

    fn read_service(&mut self, memory: &mut Memory, key: ServiceKey) -> Result<()> {
        let Memory { snapshot, settled, .. } = memory;
        let found = match self.ipvs.service(key).and_then(|info| Ok((info.service, self.ipvs.destinations(key)?))) {
            Ok((service, destinations)) => {
                let registered = snapshot.keys.contains(&key);
                Some(FoundService { registered, ..FoundService::new(service, destinations) })
            }
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let same = match (&found, snapshot.service(key)) {
            (Some(found), Some(known)) => found.is_like(known),
            (found, known) => found.is_none() && known.is_none(),
        };
        *settled = settled.filter(|_| same);
        match found {
            Some(found) => snapshot.services.put(found),
            None => snapshot.services.remove(key),
        }
        Ok(())
    }

    /// Makes a foreign service the owner's, so that the next call changes it, and later ones may delete it.
    ///
    /// With [`Owner::registered`] its key is registered; with another owner this director remembers it for as long as
    /// it lives.
    ///
    /// # Errors
    /// As [`Ipset::put`]; [`is_invalid_input`](crate::Error::is_invalid_input) for a key that cannot be registered.
    pub fn adopt(&mut self, key: impl Into<ServiceKey>) -> Result<()> {
        let key = key.into();
        match self.owner.registry() {
            None => self.adopted.push(key),
            Some(registry) => {
                let (set, member) = registry.entry(key).ok_or_else(|| cannot_register(key))?;
                let new = registry.sets().into_iter().find(|(name, _)| *name == set.name());
                if let Some((name, new)) = new {
                    self.ipset.put_set(name, &new)?;
                }
                self.ipset.put(&set, &member)?;
            }
        }
        if let Some(memory) = self.memory() {
            memory.note_all([Change::Register(key)].iter());
        }
        Ok(())
    }

    /// Deletes a registered key whose service was added by another program.
    pub(super) fn disown(&mut self, key: ServiceKey) -> Result<()> {
        match self.owner.registry().and_then(|registry| registry.entry(key)) {
            Some((set, member)) => self.ipset.remove(&set, &member).map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn memory(&mut self) -> Option<&mut Snapshot> {
        self.memory.as_mut().map(|memory| {
            memory.settled = None;
            &mut memory.snapshot
        })
    }
}

fn registry_is_right(set: &Set<AnyType>, new: &NewSet<AnyType>) -> Result<()> {
    if set.kind() == new.kind() && set.family() == new.named(set.name()).family() {
        return Ok(());
    }
    let text = format!("the set exists and is a {}, not a {}", set.kind(), new.kind());
    let cause = Cause::precondition(Reason::TypeMismatch, text);
    Err(Error::new(format_args!("read the keys in set {set}"), cause))
}

fn cannot_register(key: ServiceKey) -> Error {
    let cause = Cause::InvalidInput("keys of TCP, UDP, SCTP and firewall marks can be registered".into());
    Error::new(format_args!("adopt service {key}"), cause)
}

/// Returns the schedulers and set types that the steps of a plan need.
fn needed(plan: &Plan) -> Vec<Part> {
    let mut parts = Vec::new();
    for step in &plan.steps {
        let part = match &step.change {
            Change::Ipvs(ipvs::Change::AddService(service) | ipvs::Change::SetService(service)) => {
                Part::Scheduler(service.scheduler)
            }
            Change::Ipset(change) => match &**change {
                ipset::Change::PutSet(_, new) => Part::SetType(new.kind()),
                _ => continue,
            },
            Change::ReplaceSet(_, new, _) => Part::SetType(new.kind()),
            Change::Register(ServiceKey::Address { .. }) => Part::SetType(Kind::HashIpPort),
            Change::Register(ServiceKey::FirewallMark { .. }) => Part::SetType(Kind::HashIpMark),
            _ => continue,
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts
}
