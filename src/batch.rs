//! The error of a batch, for all modules.

use std::fmt;
use std::ops::Range;

use crate::error::{BatchText, Cause, Error};

/// The error of a batch of which some changes were not made.
///
/// Each module has it under a name: [`ipvs::BatchError`](crate::ipvs::BatchError),
/// [`ipset::BatchError`](crate::ipset::BatchError), [`vip::BatchError`](crate::vip::BatchError) and
/// [`director::BatchError`](crate::director::BatchError).
///
/// - The changes of [`failures`](BatchError::failures) were not made, each for the reason of its error.
/// - The changes of [`unknown`](BatchError::unknown) may have been made: an [`interruption`](BatchError::interruption),
///   such as a timeout, ended the batch while they were in flight.
/// - The changes after the unknown ones were not made. In `ipset`, neither were the changes after a failure.
/// - Every change in none of these groups was made. [`done`](BatchError::done) counts the answered changes.
/// - In `vip` and `director`, `unknown` is empty: after an interruption any other change may be missing. Repeat the call.
/// - [`Ipset::sync`](crate::ipset::Ipset::sync) sends the difference in an order of its own: `unknown` is empty, and any
///   other change may be missing. Repeat the call.
///
/// It converts to an [`Error`] with [`Cause::Batch`].
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchError<C, D = usize> {
    /// The changes that were not made, in their order.
    pub failures: Vec<Failure<C>>,
    /// The result so far: the number of answered changes, counted from the first. For virtual IPs it is a
    /// [`Tally`](crate::vip::Tally), for a director its [`Report`](crate::director::Report).
    pub done: D,
    /// The error that ended the batch early, if one did.
    pub interruption: Option<Error>,
    /// Positions of the changes that were in flight when the batch ended. Each of them may have been made, unless it is
    /// among the failures. The changes after them were not sent. Empty in `vip`, `director` and `Ipset::sync`.
    pub unknown: Range<usize>,
    /// The attempted operation; `None` if the interruption is the error of no single change.
    operation: Option<String>,
}

/// A change that was not made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<C> {
    /// The change.
    pub change: C,
    /// The reason. [`Error::follows`] returns the position of the failed change that caused it.
    pub error: Error,
}

impl<C, D> BatchError<C, D> {
    pub(crate) fn new(operation: impl fmt::Display, failures: Vec<Failure<C>>, done: D) -> Self {
        Self { failures, done, interruption: None, unknown: 0..0, operation: Some(operation.to_string()) }
    }

    /// Returns the error of the batch itself, before or after all changes.
    pub(crate) fn aside(error: Error, done: D) -> Self {
        Self { failures: Vec::new(), done, interruption: Some(error), unknown: 0..0, operation: None }
    }

    /// Returns the error of a batch that an error ended early, while these changes were in flight.
    pub(crate) fn interrupted(self, interruption: Option<Error>, unknown: Range<usize>) -> Self {
        Self { interruption, unknown, ..self }
    }

    /// Returns the error as one of the larger operation that it ended.
    pub(crate) fn during(mut self, operation: impl fmt::Display) -> Self {
        for failure in &mut self.failures {
            failure.error.prefix(&operation);
        }
        self.interruption = self.interruption.map(|error| error.during(&operation));
        self.operation = Some(operation.to_string());
        self
    }

    /// Returns the failures that do not follow from another one. A service with a misspelt scheduler and 200
    /// destinations causes 201 failures; one of them is independent.
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

    /// Returns the error of the only change.
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

/// Converts to [`Cause::Batch`]. The error of no single change stays as it is.
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
