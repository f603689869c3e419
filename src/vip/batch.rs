//! What many changes came to.

use std::fmt;

use super::Vip;
use crate::error::{BatchText, Cause, Error};

/// How many virtual IPs were bound, unbound, or neither.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tally {
    /// Bound, and not bound before.
    pub bound: usize,
    /// Unbound, and bound before.
    pub unbound: usize,
    /// As asked for already.
    pub unchanged: usize,
}

/// Some of many virtual IPs could not be bound or unbound.
///
/// Everything else was done, unless something [interrupted](BatchError::interruption) it; [`Vips::check`](super::Vips::check)
/// changes nothing. Calling again is always safe: virtual IPs that are bound or unbound already count as unchanged.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchError {
    /// Those that could not, and why.
    pub failures: Vec<Failure>,
    /// What was done.
    pub done: Tally,
    /// What ended it early, if something did: some of what is not counted in `done` may be done, too.
    pub interruption: Option<Error>,
    /// What was attempted.
    pub(super) operation: String,
}

/// A virtual IP that could not be bound or unbound.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The virtual IP.
    pub vip: Vip,
    /// Why.
    pub error: Error,
}

impl BatchError {
    /// The error of the only change that was asked for.
    pub(super) fn single(mut self) -> Error {
        match self.failures.pop() {
            Some(failure) => failure.error,
            None => self.interruption.take().unwrap_or_else(|| self.into()),
        }
    }
}

impl AsRef<Error> for Failure {
    fn as_ref(&self) -> &Error {
        &self.error
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", BatchText { failures: &self.failures, interruption: self.interruption.as_ref() })
    }
}

impl std::error::Error for BatchError {}

/// See [`Cause::Batch`].
impl From<BatchError> for Error {
    fn from(BatchError { failures, interruption, operation, .. }: BatchError) -> Self {
        let failures = failures.into_iter().map(|failure| failure.error).collect();
        Self::new(operation, Cause::Batch { failures, interruption })
    }
}
