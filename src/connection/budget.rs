//! The bounds of one operation: its deadline and the bytes that it may receive.

use std::time::{Duration, Instant};

use super::Options;
use crate::error::Cause;

/// Number of datagrams between two readings of the clock.
const STRIDE: u32 = 64;

/// The smallest limit of a listing in bytes: a datagram of a dump has 32 KiB at most.
const SMALLEST_LISTING: usize = 64 << 10;

/// Use of the bounds by one operation.
///
/// The success path reads no clock: an operation starts to count when it first has to wait, or at its 64th datagram.
#[derive(Debug)]
pub(super) struct Budget {
    /// [`Options::timeout`]; zero means none.
    timeout: Duration,
    /// [`Options::deadline`]; zero means none.
    deadline: Duration,
    /// [`Options::largest_listing`].
    largest: usize,
    started: Option<Instant>,
    datagrams: u32,
    bytes: usize,
    /// A larger operation keeps its own start for all of its requests.
    held: bool,
}

impl Budget {
    pub(super) fn new(options: &Options) -> Self {
        let Options { timeout, deadline, largest_listing, .. } = *options;
        let largest = largest_listing.max(SMALLEST_LISTING);
        Self { timeout, deadline, largest, started: None, datagrams: 0, bytes: 0, held: false }
    }

    pub(super) fn largest(&self) -> usize {
        self.largest
    }

    /// Starts the next operation, unless a larger one holds the budget.
    #[inline]
    pub(super) fn renew(&mut self) {
        self.bytes = 0;
        if !self.held {
            (self.started, self.datagrams) = (None, 0);
        }
    }

    /// Starts an operation of several requests, which ends with [`Budget::release`].
    pub(super) fn hold(&mut self, started: Option<Instant>) {
        self.renew();
        (self.held, self.started) = (true, started);
    }

    pub(super) fn release(&mut self) {
        self.held = false;
        self.renew();
    }

    /// Counts a datagram, and its bytes if it is one of a dump; returns whether [`Budget::check`] is due.
    #[inline]
    pub(super) fn count(&mut self, length: usize) -> bool {
        self.datagrams = self.datagrams.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(length);
        self.datagrams % STRIDE == 0 || self.bytes > self.largest
    }

    /// Counts no bytes that were discarded.
    pub(super) fn forget_bytes(&mut self) {
        self.bytes = 0;
    }

    /// # Errors
    /// [`Cause::TimedOut`] after the deadline, [`Cause::ListingTooLong`] above the largest listing.
    #[cold]
    pub(super) fn check(&mut self, now: Instant) -> Result<(), Cause> {
        if self.bytes > self.largest {
            return Err(Cause::ListingTooLong { limit: self.largest });
        }
        self.left(now, now).map(drop)
    }

    /// Returns the time that is left for the next datagram, awaited since `since`; `None`: without end.
    ///
    /// # Errors
    /// [`Cause::TimedOut`] when it is too late.
    pub(super) fn left(&mut self, now: Instant, since: Instant) -> Result<Option<Duration>, Cause> {
        let started = *self.started.get_or_insert(now);
        let left = |limit: Duration, since: Instant| {
            (!limit.is_zero()).then(|| limit.saturating_sub(now.saturating_duration_since(since)))
        };
        let left = [left(self.timeout, since), left(self.deadline, started)].into_iter().flatten().min();
        if left == Some(Duration::ZERO) { Err(Cause::TimedOut) } else { Ok(left) }
    }
}
