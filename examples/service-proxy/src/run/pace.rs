//! The times of applies.

use std::time::{Duration, Instant};

/// The times of applies.
///
/// A change is applied at once, but not before the shortest time since the last apply is over; further changes until then are part of
/// it. Without changes an apply is due when a drain may be over, and after the longest time. A failed apply is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    shortest: Duration,
    longest: Duration,
    changed: Option<Instant>,
    last: Option<Instant>,
    again: Option<Instant>,
    /// Time between a failed apply and the next attempt.
    retry: Duration,
}

/// Time between the first failed apply and the next attempt.
const RETRY: Duration = Duration::from_secs(1);

impl Pace {
    /// Applies at least `shortest` and at most `longest` apart.
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, changed: None, last: None, again: None, retry: RETRY }
    }

    /// The time of the next apply.
    pub fn due(&self) -> Option<Instant> {
        let Some(last) = self.last else { return self.changed };
        let changed = self.changed.and_then(|changed| Some(changed.max(last.checked_add(self.shortest)?)));
        let idle = last.checked_add(self.longest);
        [changed, self.again, idle].into_iter().flatten().min()
    }

    /// Time of the last change that is not applied.
    pub fn changed_at(&self) -> Option<Instant> {
        self.changed
    }

    /// Something changed.
    pub fn changed(&mut self, now: Instant) {
        self.changed = Some(now);
    }

    /// An apply succeeded that began at this time.
    pub fn done(&mut self, now: Instant, again: Option<Instant>) {
        (self.changed, self.last, self.again, self.retry) = (None, Some(now), again, RETRY);
    }

    /// An apply failed that began at this time.
    pub fn failed(&mut self, now: Instant) {
        (self.changed, self.last, self.again) = (None, Some(now), now.checked_add(self.retry));
        self.retry = (self.retry * 2).min(self.longest);
    }
}
