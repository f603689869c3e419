//! The figures of a running proxy, for `/metrics` and `/healthz`.

use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lvs::director::{Change, End, Report};
use tokio::sync::watch::{Receiver, Sender};

use crate::model::EndpointSlice;
use crate::translate::{HealthPort, Translation};

/// The figures of a running proxy, shared with its HTTP servers.
#[derive(Debug)]
pub struct Status {
    figures: Mutex<Figures>,
    health_ports: Sender<Vec<HealthPort>>,
    /// Time of the start: changes before it are not those of this proxy.
    started: Timestamp,
    /// Time for which a change may wait.
    patience: Duration,
}

#[derive(Debug)]
struct Figures {
    /// Duration of applies.
    durations: Histogram,
    /// Time between the change of an endpoint and its apply.
    programming: Histogram,
    last_sync: Option<Timestamp>,
    last_queued: Option<Timestamp>,
    /// Time of the first change that is not applied.
    waiting: Option<Instant>,
    /// Time at which the source ended.
    ended: Option<Instant>,
    endpoint_changes: Changes,
    service_changes: Changes,
    /// Times of the changes of endpoints that are not applied.
    triggers: Vec<Timestamp>,
    without_local: [usize; 2],
    failures: u64,
    done: u64,
    flows: u64,
    node_eligible: bool,
    draining: usize,
    conflicts: usize,
    foreign: usize,
    /// Answers by path and whether they were good.
    answers: [[u64; 2]; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Changes {
    pending: u64,
    total: u64,
}

/// A path that reports health.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// `/healthz`
    Health,
    /// `/livez`
    Live,
}

/// The state of health.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// Whether applies keep up with the changes.
    pub good: bool,
    /// Whether the node may get new connections of load balancers: it is not about to be deleted.
    pub node_eligible: bool,
    /// Time of the last apply; now if nothing waits.
    pub last_updated: Option<Timestamp>,
    /// The present time.
    pub now: Timestamp,
}

impl Status {
    /// The figures of a proxy that begins. A change that waits longer than twice the `longest` time between applies is unhealthy.
    pub fn new(longest: Duration) -> Self {
        let (figures, health_ports) = (Mutex::new(Figures::new()), Sender::new(Vec::new()));
        Self { figures, health_ports, started: Timestamp::now(), patience: longest.saturating_mul(2) }
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change waits.
    pub(super) fn queued(&self) {
        let mut figures = self.figures();
        figures.last_queued = Some(Timestamp::now());
        figures.waiting.get_or_insert_with(Instant::now);
    }

    /// The source ended: no change is read.
    pub(super) fn source_ended(&self) {
        self.figures().ended = Some(Instant::now());
    }

    /// A Service changed.
    pub(super) fn service_changed(&self) {
        self.figures().service_changes.add();
    }

    /// A slice changed.
    pub(super) fn slice_changed(&self, slice: &EndpointSlice) {
        let mut figures = self.figures();
        figures.endpoint_changes.add();
        let trigger = slice.metadata.annotations.last_change.as_ref().and_then(|time| time.parse::<Timestamp>().ok());
        figures.triggers.extend(trigger.filter(|time| *time >= self.started));
    }

    /// The objects were translated.
    pub(super) fn translated(&self, translation: &Translation) {
        self.figures().without_local = translation.without_local;
        self.health_ports.send_if_modified(|ports| {
            let changed = *ports != translation.health;
            ports.clone_from(&translation.health);
            changed
        });
    }

    /// The Node object was read.
    pub(super) fn node_eligible(&self, eligible: bool) {
        self.figures().node_eligible = eligible;
    }

    /// A plan was carried out, with failures or without.
    pub(super) fn applied(&self, report: &Report) {
        let mut figures = self.figures();
        figures.done += count(report.count(End::Done));
        let flows =
            report.steps().filter(|(step, end)| *end == End::Done && matches!(step.change, Change::DeleteFlows(..)));
        figures.flows += count(flows.count());
        (figures.draining, figures.conflicts, figures.foreign) =
            (report.draining.len(), report.conflicts.len(), report.foreign);
    }

    /// An apply succeeded.
    pub(super) fn synced(&self, duration: Duration) {
        let now = Timestamp::now();
        let mut figures = self.figures();
        figures.durations.observe(duration.as_secs_f64());
        for trigger in std::mem::take(&mut figures.triggers) {
            figures.programming.observe(now.duration_since(trigger).as_secs_f64());
        }
        (figures.last_sync, figures.waiting) = (Some(now), None);
        (figures.endpoint_changes.pending, figures.service_changes.pending) = (0, 0);
    }

    /// An apply failed.
    pub(super) fn failed(&self, duration: Duration) {
        let mut figures = self.figures();
        figures.durations.observe(duration.as_secs_f64());
        figures.failures += 1;
    }

    /// The state of health. Nothing is good before the first apply.
    pub fn health(&self) -> Health {
        let (figures, now) = (self.figures(), Timestamp::now());
        // Without a source, changes wait until the program is started again.
        let late = |since: Option<Instant>| since.is_some_and(|since| since.elapsed() >= self.patience);
        let good = figures.last_sync.is_some() && !late(figures.waiting) && !late(figures.ended);
        let node_eligible = figures.node_eligible;
        let last_updated = if good && figures.waiting.is_none() { Some(now) } else { figures.last_sync };
        Health { good, node_eligible, last_updated, now }
    }

    /// Answers a probe, and counts the answer: the state of health, and whether it is good.
    pub fn probe(&self, probe: Probe) -> (Health, bool) {
        let health = self.health();
        let passed = health.good && (probe == Probe::Live || health.node_eligible);
        if let Some([good, bad]) = self.figures().answers.get_mut(probe as usize) {
            *(if passed { good } else { bad }) += 1;
        }
        (health, passed)
    }

    /// The health checks of load balancers, and their changes.
    pub fn health_ports(&self) -> Receiver<Vec<HealthPort>> {
        self.health_ports.subscribe()
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// None: the text is written to memory.
    pub fn metrics(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let figures = self.figures();
        figures.kube_proxy(&mut out)?;
        figures.own(&mut out)?;
        Ok(out)
    }
}

impl Figures {
    fn new() -> Self {
        Self {
            durations: Histogram::new(sync_bounds()),
            programming: Histogram::new(programming_bounds()),
            last_sync: None,
            last_queued: None,
            waiting: None,
            ended: None,
            endpoint_changes: Changes::default(),
            service_changes: Changes::default(),
            triggers: Vec::new(),
            without_local: [0; 2],
            failures: 0,
            done: 0,
            flows: 0,
            node_eligible: true,
            draining: 0,
            conflicts: 0,
            foreign: 0,
            answers: [[0; 2]; 2],
        }
    }

    /// The metrics that kube-proxy has, with its names.
    fn kube_proxy(&self, out: &mut String) -> fmt::Result {
        let sync = "kubeproxy_sync_proxy_rules";
        self.durations.write(out, &format!("{sync}_duration_seconds"), "Duration of an apply.")?;
        let seconds = |time: Option<Timestamp>| time.map_or(0.0, |time| time.as_duration().as_secs_f64());
        let mut gauge = |name: &str, about: &str, value: f64| {
            let name = format!("{sync}_{name}");
            header(out, &name, "gauge", about)?;
            writeln!(out, "{name} {value}")
        };
        gauge("last_timestamp_seconds", "Time of the last successful apply.", seconds(self.last_sync))?;
        gauge("last_queued_timestamp_seconds", "Time of the last change.", seconds(self.last_queued))?;
        for (what, changes) in [("endpoint", self.endpoint_changes), ("service", self.service_changes)] {
            let [pending, total] = ["pending", "total"].map(|kind| format!("{sync}_{what}_changes_{kind}"));
            header(out, &pending, "gauge", &format!("Number of {what} changes that are not applied."))?;
            writeln!(out, "{pending} {}", changes.pending)?;
            header(out, &total, "counter", &format!("Number of {what} changes."))?;
            writeln!(out, "{total} {}", changes.total)?;
        }
        let name = format!("{sync}_no_local_endpoints_total");
        header(out, &name, "gauge", "Number of Services with a traffic policy Local and no endpoint on this node.")?;
        for (policy, number) in ["external", "internal"].iter().zip(self.without_local) {
            writeln!(out, "{name}{{traffic_policy=\"{policy}\"}} {number}")?;
        }
        let name = "kubeproxy_network_programming_duration_seconds";
        let about = "Time between the change of an endpoint and its apply.";
        self.programming.write(out, name, about)?;
        for (path, [good, bad]) in ["healthz", "livez"].iter().zip(self.answers) {
            let name = format!("kubeproxy_proxy_{path}_total");
            header(out, &name, "counter", &format!("Number of answers of /{path}."))?;
            writeln!(out, "{name}{{code=\"200\"}} {good}\n{name}{{code=\"503\"}} {bad}")?;
        }
        Ok(())
    }

    /// The metrics that only this proxy has.
    fn own(&self, out: &mut String) -> fmt::Result {
        let counters = [
            ("apply_failures_total", "Number of failed applies.", self.failures),
            ("steps_total", "Number of changes that were made.", self.done),
            ("flow_deletions_total", "Number of deletions of stale UDP flows.", self.flows),
        ];
        for (name, about, value) in counters {
            header(out, &format!("service_proxy_{name}"), "counter", about)?;
            writeln!(out, "service_proxy_{name} {value}")?;
        }
        let gauges = [
            (
                "draining_destinations",
                "Number of destinations that wait for the end of their connections.",
                self.draining,
            ),
            ("conflicts", "Number of desired objects that belong to another program.", self.conflicts),
            ("foreign_services", "Number of services of other programs.", self.foreign),
        ];
        for (name, about, value) in gauges {
            header(out, &format!("service_proxy_{name}"), "gauge", about)?;
            writeln!(out, "service_proxy_{name} {value}")?;
        }
        Ok(())
    }
}

impl Changes {
    fn add(&mut self) {
        self.pending += 1;
        self.total += 1;
    }
}

/// Observed values, counted by upper bounds.
#[derive(Debug)]
struct Histogram {
    /// Each bound, with the number of values up to it and above the bound before.
    buckets: Vec<(f64, u64)>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn new(bounds: impl IntoIterator<Item = f64>) -> Self {
        Self { buckets: bounds.into_iter().map(|bound| (bound, 0)).collect(), sum: 0.0, count: 0 }
    }

    fn observe(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
        if let Some((_, count)) = self.buckets.iter_mut().find(|(bound, _)| value <= *bound) {
            *count += 1;
        }
    }

    fn write(&self, out: &mut String, name: &str, about: &str) -> fmt::Result {
        header(out, name, "histogram", about)?;
        let mut below = 0;
        for (bound, count) in &self.buckets {
            below += count;
            writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {below}")?;
        }
        let Self { sum, count, .. } = self;
        writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}")
    }
}

/// The bounds of kube-proxy for its applies.
fn sync_bounds() -> impl Iterator<Item = f64> {
    (0..15).map(|power| 0.001 * f64::from(1 << power))
}

/// The bounds of kube-proxy for the time from a change to its apply.
fn programming_bounds() -> impl Iterator<Item = f64> {
    let steps = [0.25, 0.5].into_iter().chain((1..60).map(f64::from));
    steps.chain((0..12).map(|step| f64::from(60 + 5 * step))).chain((0..7).map(|step| f64::from(120 + 30 * step)))
}

fn header(out: &mut String, name: &str, kind: &str, about: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {about}\n# TYPE {name} {kind}")
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
