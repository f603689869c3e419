//! The times of applies.

use std::time::{Duration, Instant};

/// The times of applies.
///
/// A change is applied at once, but not before the shortest time since the last apply is over; further changes until then are part of
/// it. Without changes an apply is due when a drain may be over, and after the longest time, but not before [`PAUSE`] is over. A failed
/// apply is repeated.
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

/// Shortest time between two applies without a change in between.
pub const PAUSE: Duration = Duration::from_millis(100);

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
        let after = |pause, time: Instant| Some(time.max(last.checked_add(pause)?));
        let changed = self.changed.and_then(|changed| after(self.shortest, changed));
        let unchanged = [self.again, last.checked_add(self.longest)].into_iter().flatten().min();
        // The loop would spin if this time were always over.
        let unchanged = unchanged.and_then(|time| after(PAUSE, time));
        [changed, unchanged].into_iter().flatten().min()
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
        self.retry = self.retry.saturating_mul(2).min(self.longest);
    }
}
