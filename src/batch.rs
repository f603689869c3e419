//! The error of many changes at once: one for all modules.

use std::fmt;
use std::ops::Range;

use crate::error::{BatchText, Cause, Error};

/// Some changes of a batch were not made: [`ipvs::BatchError`](crate::ipvs::BatchError),
/// [`ipset::BatchError`](crate::ipset::BatchError) or [`vip::BatchError`](crate::vip::BatchError).
///
/// Every change that is neither among the [`failures`](BatchError::failures) nor in [`unknown`](BatchError::unknown) was made, as
/// far as the batch was [`done`](BatchError::done). It converts to an [`Error`] with [`Cause::Batch`].
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchError<C, D = usize> {
    /// The changes that were not made, in their order.
    pub failures: Vec<Failure<C>>,
    /// Result so far: the number of changes, from the first on, that have an answer. For virtual IPs a
    /// [`Tally`](crate::vip::Tally).
    pub done: D,
    /// The error that ended the batch early, if one did.
    pub interruption: Option<Error>,
    /// Positions of the changes that were in flight when the batch ended: each of them may be made, unless it is among the
    /// failures. The changes behind them were not sent.
    pub unknown: Range<usize>,
    /// The attempted operation; `None` if the interruption is an error of no change.
    operation: Option<String>,
}

/// A change that was not made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<C> {
    /// The change.
    pub change: C,
    /// The reason. [`Error::follows`] has the failed change that it follows from.
    pub error: Error,
}

impl<C, D> BatchError<C, D> {
    pub(crate) fn new(operation: impl fmt::Display, failures: Vec<Failure<C>>, done: D) -> Self {
        Self { failures, done, interruption: None, unknown: 0..0, operation: Some(operation.to_string()) }
    }

    /// An error that is of no change, before or after all of them.
    pub(crate) fn aside(error: Error, done: D) -> Self {
        Self { failures: Vec::new(), done, interruption: Some(error), unknown: 0..0, operation: None }
    }

    /// The same, ended early by an error while these changes were in flight.
    pub(crate) fn interrupted(self, interruption: Option<Error>, unknown: Range<usize>) -> Self {
        Self { interruption, unknown, ..self }
    }

    /// The same, as the error of the larger operation that it ended.
    pub(crate) fn during(mut self, operation: impl fmt::Display) -> Self {
        for failure in &mut self.failures {
            failure.error.prefix(&operation);
        }
        self.interruption = self.interruption.map(|error| error.during(&operation));
        self.operation = Some(operation.to_string());
        self
    }

    /// The failures that do not follow from another one. With a misspelt scheduler and 200 endpoints, one of 201.
    ///
    /// ```
    /// # use lvs::ipvs::{Change, Destination, Scheduler, Service};
    /// let mut ipvs = lvs::testing::Kernel::new().ipvs()?;
    /// let web = Service::tcp("10.96.0.10:80".parse()?, Scheduler::new("misspelt")?);
    /// let to = Change::AddDestination(web.key, Destination::new("10.244.1.7:80".parse()?));
    /// let error = ipvs.batch([Change::AddService(web), to]).unwrap_err();
    /// assert_eq!((error.failures.len(), error.independent().count()), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn independent(&self) -> impl Iterator<Item = &Failure<C>> {
        self.failures.iter().filter(|failure| failure.error.follows().is_none())
    }

    /// The error of the only change that was asked for.
    pub(crate) fn single(mut self) -> Error {
        match self.failures.pop() {
            Some(failure) => failure.error.alone(),
            None => self.interruption.take().unwrap_or_else(|| self.into()),
        }
    }
}

impl<C> Failure<C> {
    pub(crate) fn new(change: C, error: Error) -> Self {
        Self { change, error }
    }

    /// Position of the change in the batch, counted from 0; `None` if the change has none: see [`Error::position`].
    pub fn position(&self) -> Option<usize> {
        self.error.position()
    }
}

impl<C> AsRef<Error> for Failure<C> {
    fn as_ref(&self) -> &Error {
        &self.error
    }
}

impl<C, D> fmt::Display for BatchError<C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", BatchText { failures: &self.failures, interruption: self.interruption.as_ref() })
    }
}

impl<C: fmt::Debug, D: fmt::Debug> std::error::Error for BatchError<C, D> {}

/// See [`Cause::Batch`]. An error that is of no change stays as it is.
impl<C, D> From<BatchError<C, D>> for Error {
    fn from(BatchError { failures, interruption, operation, .. }: BatchError<C, D>) -> Self {
        let (operation, interruption) = match (operation, interruption) {
            (None, Some(error)) => return error,
            (operation, interruption) => (operation.unwrap_or_default(), interruption),
        };
        let failures = failures.into_iter().map(|failure| failure.error).collect();
        Self::new(operation, Cause::Batch { failures, interruption })
    }
}
