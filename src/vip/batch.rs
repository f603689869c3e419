//! What many changes came to.

use std::fmt;

use super::Vip;
use crate::error::{Cause, Error};

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
/// With a conflict ([`Error::is_conflict`]) or wrong input ([`Error::is_invalid_input`]) among the failures, nothing was
/// changed. Otherwise everything else was done, unless something [interrupted](BatchError::interruption) it. To call again
/// is always right: what was done already counts as unchanged.
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

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = match &self.failures[..] {
            [] => String::new(),
            [first, ..] => format!("{} failed; the first: {}", self.failures.len(), first.error),
        };
        match &self.interruption {
            None => f.write_str(&failed),
            Some(error) if failed.is_empty() => write!(f, "{error}"),
            Some(error) => write!(f, "{error}; before that {failed}"),
        }
    }
}

impl std::error::Error for BatchError {}

impl From<BatchError> for Error {
    /// The one error if there is one, or the whole of it as [`Cause::Batch`].
    fn from(mut error: BatchError) -> Self {
        match (error.failures.len(), error.interruption.take()) {
            (1, None) => error.failures.remove(0).error,
            (0, Some(interruption)) if error.done == Tally::default() => interruption,
            (_, interruption) => {
                error.interruption = interruption;
                Self::new(error.operation.clone(), Cause::Batch(Box::new(error)))
            }
        }
    }
}
