//! Text and JSON of `plan` and `apply`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lvs::director::{End, Plan, Report};
use serde::Serialize;

use crate::translate::{HealthPort, Note, Translation};

/// The changes that are planned, and the findings of the translation.
#[derive(Debug, Serialize)]
pub struct Planned<'a> {
    /// The changes.
    pub plan: &'a Plan,
    /// The findings.
    #[serde(flatten)]
    pub findings: Findings<'a>,
}

/// The changes that were made, and the findings of the translation.
#[derive(Debug, Serialize)]
pub struct Applied<'a> {
    /// The changes.
    pub report: &'a Report,
    /// Number of steps by their end.
    pub counts: Counts,
    /// Duration of reading, translating and applying in seconds.
    pub seconds: f64,
    /// The drains that wait.
    pub draining: Vec<String>,
    /// The findings.
    #[serde(flatten)]
    pub findings: Findings<'a>,
}

/// Number of steps by their end.
#[derive(Debug, Serialize)]
pub struct Counts {
    /// Carried out.
    pub done: usize,
    /// Superseded by another program.
    pub overtaken: usize,
    /// Not tried.
    pub withheld: usize,
    /// Failed.
    pub failed: usize,
}

/// The findings of the translation.
#[derive(Debug, Serialize)]
pub struct Findings<'a> {
    /// The health checks that the node must answer.
    pub health: &'a [HealthPort],
    /// The parts that are not served as asked.
    pub notes: &'a [Note],
    /// Number of ignored objects by reason.
    pub ignored: &'a BTreeMap<String, usize>,
    /// Number of Services with an external or internal policy `Local` and no endpoint on this node.
    pub without_local: [usize; 2],
}

impl<'a> Planned<'a> {
    /// A plan for this translation.
    pub fn new(plan: &'a Plan, translation: &'a Translation) -> Self {
        Self { plan, findings: Findings::new(translation) }
    }
}

impl<'a> Applied<'a> {
    /// The result for this translation.
    pub fn new(report: &'a Report, translation: &'a Translation, duration: Duration) -> Self {
        let [done, overtaken, withheld, failed] =
            [End::Done, End::Overtaken, End::Withheld, End::Failed].map(|end| report.count(end));
        Self {
            report,
            counts: Counts { done, overtaken, withheld, failed },
            seconds: duration.as_secs_f64(),
            draining: report.draining.iter().map(ToString::to_string).collect(),
            findings: Findings::new(translation),
        }
    }
}

impl<'a> Findings<'a> {
    fn new(translation: &'a Translation) -> Self {
        let Translation { health, notes, ignored, without_local, .. } = translation;
        Self { health, notes, ignored, without_local: *without_local }
    }
}

impl fmt::Display for Planned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.plan, self.findings)
    }
}

impl fmt::Display for Applied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, end) in self.report.steps() {
            match end {
                End::Done => writeln!(f, "{step}")?,
                end => writeln!(f, "{step} ({end:?})")?,
            }
        }
        self.report.conflicts.iter().try_for_each(|conflict| writeln!(f, "! {conflict}"))?;
        self.draining.iter().try_for_each(|drain| writeln!(f, "  {drain}"))?;
        writeln!(f, "{}{}", self.findings, self.report)
    }
}

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes.iter().try_for_each(|note| writeln!(f, "! {note}"))?;
        self.health.iter().try_for_each(|health| writeln!(f, "  {health}"))?;
        self.ignored.iter().try_for_each(|(reason, count)| writeln!(f, "  ignored {reason}: {count}"))
    }
}
