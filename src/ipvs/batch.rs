//! Many changes at once.

use std::fmt;

use super::Change;
use crate::error::Error;

/// Some changes of a batch were not made.
///
/// Every change that is not among the [`failures`](BatchError::failures) was made, as far as the batch came: see
/// [`interruption`](BatchError::interruption).
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchError {
    /// The changes that were refused, in their order.
    pub failures: Vec<Failure>,
    /// How many changes, from the first on, have an answer.
    pub answered: usize,
    /// What ended the batch early, if something did. Whether the changes from `answered` on were made is not known for
    /// those that travelled at that moment (at most some hundred); those after them were not sent.
    pub interruption: Option<Error>,
}

/// A change that was refused.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Its position in the batch, counted from 0.
    pub index: usize,
    /// The change.
    pub change: Change,
    /// Why.
    pub error: Error,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interruption {
            Some(error) => write!(f, "the batch ended after {} changes: {error}", self.answered)?,
            None => write!(f, "{} of {} changes failed", self.failures.len(), self.answered)?,
        }
        match self.failures.first() {
            Some(Failure { index, error, .. }) => write!(f, "; the first, at {index}: {error}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BatchError {}
