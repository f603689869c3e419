//! The loop of `run`: takes the updates of a source, and makes the kernel's state equal to them.

mod held;
pub mod io;
pub mod pace;
pub mod status;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use lvs::director::{BatchError, Conflict, Desired, Director, Report};

use crate::model::ObjectName;
use crate::node::Node;
use crate::objects::{Kind, Object, Objects};
use crate::options::NodeOptions;
use crate::source::Update;
use crate::translate::{Translation, translate};
use held::{Held, Unread};
use pace::Pace;
use status::Status;

/// A proxy: the objects that are known, and the director that serves them.
pub struct Proxy<W> {
    director: Director,
    options: NodeOptions,
    objects: Objects,
    /// Kinds whose complete list is still awaited before the first apply.
    awaited: BTreeSet<Kind>,
    /// Whether services of other programs are taken over at the next apply.
    adopts: bool,
    /// Whether the first list may also end by silence: a stream of events without a mark.
    settles: bool,
    /// Whether an apply has begun.
    begun: bool,
    /// Malformed objects whose last state an earlier run had, and the state that may be theirs.
    unread: Unread,
    held: Option<Held>,
    pace: Pace,
    node: Option<Node>,
    translation: Translation,
    /// Whether the objects changed since the translation.
    stale: bool,
    status: Arc<Status>,
    out: W,
    notes: BTreeSet<String>,
    failed: Option<String>,
}

/// Time without an event after which a stream counts as complete.
const SILENCE: Duration = Duration::from_secs(1);

/// Whether the loop continues.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// It continues.
    Continue,
    /// The program ends, and leaves everything in place.
    Stop,
}

impl<W: Write> Proxy<W> {
    /// A proxy without objects. Lines go to `out`.
    pub fn new(director: Director, options: NodeOptions, pace: Pace, status: Arc<Status>, out: W) -> Self {
        Self {
            director,
            options,
            objects: Objects::default(),
            awaited: BTreeSet::from([Kind::Service, Kind::Slice]),
            adopts: false,
            settles: false,
            begun: false,
            unread: Unread::new(),
            held: None,
            pace,
            node: None,
            translation: Translation::default(),
            stale: true,
            status,
            out,
            notes: BTreeSet::new(),
            failed: None,
        }
    }

    /// The same, waiting for the Node object too.
    #[must_use]
    pub fn awaiting_node(mut self) -> Self {
        self.awaited.insert(Kind::Node);
        self
    }

    /// The same, taking over wanted services of other programs at the first apply.
    #[must_use]
    pub fn adopting(self) -> Self {
        Self { adopts: true, ..self }
    }

    /// The same for a stream, which counts as complete when both kinds are known and a second passes without an event.
    #[must_use]
    pub fn settling(self) -> Self {
        Self { settles: true, ..self }
    }

    /// Takes updates and applies them until [`Update::Stop`], or until no sender is left.
    pub fn run(&mut self, updates: &Receiver<Update>) {
        loop {
            let wait = self.due().map(|due| due.saturating_duration_since(Instant::now()));
            let received = match wait {
                Some(wait) => updates.recv_timeout(wait),
                None => updates.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let stop = match received {
                Ok(update) => {
                    let now = Instant::now();
                    // Those that wait are one change.
                    let mut waiting = std::iter::once(update).chain(updates.try_iter());
                    waiting.any(|update| self.take(update, now) == Next::Stop)
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if stop {
                return;
            }
            let now = Instant::now();
            if self.due().is_some_and(|due| due <= now) {
                self.sync(now);
            }
        }
    }

    /// The time of the next apply; none before the lists are complete.
    pub fn due(&self) -> Option<Instant> {
        if self.awaited.is_empty() {
            return self.pace.due();
        }
        let seen = self.objects.services().len() > 0 && self.objects.slice_count() > 0;
        let settled = self.pace.changed_at().filter(|_| self.settles && seen && !self.awaited.contains(&Kind::Node));
        settled.and_then(|changed| changed.checked_add(SILENCE))
    }

    /// Takes an update that arrives at this time.
    pub fn take(&mut self, update: Update, now: Instant) -> Next {
        match update {
            Update::Put(object) => {
                self.count(&object);
                if !self.unread.is_empty() {
                    self.unread.remove(&(object.kind(), object.name()));
                }
                self.objects.put(object);
            }
            Update::Malformed(kind, name) => {
                self.malformed(kind, name);
                return Next::Continue;
            }
            Update::Delete(kind, name) => {
                if let Some(object) = self.objects.remove(kind, &name) {
                    self.count(&object);
                }
                self.unread.remove(&(kind, name));
            }
            Update::List { kind, objects, kept } => {
                objects.iter().for_each(|object| self.count(object));
                self.unread.retain(|(of, name)| *of != kind || kept.contains(name));
                kept.iter().for_each(|name| self.malformed(kind, name.clone()));
                self.objects.replace(kind, objects, &kept);
                self.awaited.remove(&kind);
            }
            Update::Complete(kind) => _ = self.awaited.remove(&kind),
            Update::All(objects) => {
                self.objects = objects;
                self.unread.clear();
                self.awaited.clear();
            }
            Update::End(complete) => self.source_ended(&complete),
            Update::Lost => {
                self.pace.changed(now);
                return Next::Continue;
            }
            Update::Gap => {
                if std::mem::take(&mut self.settles) && !self.awaited.is_empty() {
                    self.line("a value was refused: the first apply waits for a list of each kind");
                }
                return Next::Continue;
            }
            Update::Line(text) => {
                self.line(&text);
                return Next::Continue;
            }
            Update::Stop => return Next::Stop,
        }
        if self.unread.is_empty() && self.held.take().is_some() {
            self.line("all objects can be read: nothing of an earlier run is kept for them any more");
        }
        self.stale = true;
        self.pace.changed(now);
        self.status.queued();
        Next::Continue
    }

    /// Notes a malformed object. Without a last state in memory, its state is that of an earlier run.
    fn malformed(&mut self, kind: Kind, name: ObjectName) {
        if !self.begun && !self.objects.contains(kind, &name) {
            self.unread.insert((kind, name));
        }
    }

    /// Reports the end of the source: the state is kept, and no change is read before a restart.
    fn source_ended(&mut self, complete: &[Kind]) {
        self.settles = false;
        complete.iter().for_each(|kind| _ = self.awaited.remove(kind));
        self.status.source_ended();
        let text = match self.awaited.first() {
            None => "the input ended: its last state is kept, and changes are not read until a restart".to_owned(),
            Some(kind) => format!("the input ended before all {kind}s were read: nothing was changed"),
        };
        self.line(&text);
    }

    /// Makes the kernel's state equal to the objects.
    pub fn sync(&mut self, now: Instant) {
        self.awaited.clear();
        let began = Instant::now();
        match self.apply(now) {
            Ok(again_at) => {
                self.pace.done(now, again_at);
                self.status.synced(began.elapsed());
                if self.failed.take().is_some() {
                    self.line("the kernel's state is the desired one again");
                }
            }
            Err(text) => {
                self.pace.failed(now);
                self.status.failed(began.elapsed());
                if self.failed.as_ref() != Some(&text) {
                    self.line(&text);
                    self.failed = Some(text);
                }
            }
        }
    }

    /// Returns the time of the next apply that drains need.
    fn apply(&mut self, now: Instant) -> Result<Option<Instant>, String> {
        self.begin().map_err(|error| error.to_string())?;
        self.translate().map_err(|error| format!("read the properties of the node: {error}"))?;
        let desired = &self.translation.desired;
        if self.adopts {
            adopt(&mut self.director, desired).map_err(|error| error.to_string())?;
            self.adopts = false;
        }
        let result = self.director.sync_at(desired, now);
        self.report(result)
    }

    /// Holds the state of an earlier run before the first apply, if an object cannot be read.
    fn begin(&mut self) -> lvs::Result<()> {
        if self.begun {
            return Ok(());
        }
        if !self.unread.is_empty() {
            self.held = Held::new(&self.director.snapshot()?);
        }
        self.begun = true;
        if self.held.is_some() {
            let unread: Vec<_> = self.unread.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
            let about = "services and endpoints of an earlier run are kept while an object cannot be read";
            self.line(&format!("{about}: {}", unread.join(", ")));
        }
        Ok(())
    }

    /// Translates again if the objects, or the addresses of the node, are others.
    fn translate(&mut self) -> std::io::Result<()> {
        let node = self.options.node(&self.objects)?;
        if self.stale || self.node.as_ref() != Some(&node) {
            self.translation = translate(&self.objects, &node);
            if let Some(held) = &mut self.held {
                held.add_to(&mut self.translation.desired, &self.unread);
            }
            self.node = Some(node);
            self.stale = false;
            let notes: BTreeSet<_> = self.translation.notes.iter().map(ToString::to_string).collect();
            for note in &notes - &self.notes {
                self.line(&note);
            }
            self.notes = notes;
            self.status.translated(&self.translation);
        }
        let own = self.node.as_ref().and_then(|node| self.objects.node(&node.name));
        self.status.node_eligible(own.is_none_or(|node| !node.leaves()));
        Ok(())
    }

    /// Reports an apply that changed something, and returns the time of the next one that drains need.
    fn report(&mut self, result: Result<Report, BatchError>) -> Result<Option<Instant>, String> {
        let report = match &result {
            Ok(report) => report,
            Err(error) => &error.done,
        };
        self.status.applied(report);
        if !report.is_empty() {
            self.line(&report.to_string());
        }
        for conflict in report.conflicts.iter().map(ToString::to_string) {
            if self.notes.insert(conflict.clone()) {
                self.line(&conflict);
            }
        }
        result.map(|report| report.again_at).map_err(|error| error.to_string())
    }

    fn count(&self, object: &Object) {
        match object {
            Object::Service(_) => self.status.service_changed(),
            Object::Slice(slice) => self.status.slice_changed(slice),
            Object::Node(_) => {}
        }
    }

    fn line(&mut self, text: &str) {
        // The work continues where standard error is lost.
        let _ = writeln!(self.out, "{text}");
    }
}

/// Takes over the wanted services that belong to other programs.
///
/// # Errors
/// When the kernel's state cannot be read, or a key cannot be registered.
pub fn adopt(director: &mut Director, desired: &Desired) -> lvs::Result<()> {
    for conflict in director.plan(desired)?.conflicts {
        if let Conflict::Foreign(key) = conflict {
            director.adopt(key)?;
        }
    }
    Ok(())
}
