//! Errors: the operation, its object, and the cause.

mod cause;
mod decode;
mod refusal;

use std::fmt;
use std::io;

pub(crate) use cause::BatchText;
pub use cause::Cause;
pub use decode::DecodeError;
pub use refusal::{Reason, Refusal, Refused};

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of an operation: the operation, its object and the [`Cause`].
///
/// Query it by its predicates, such as [`is_already_exists`](Error::is_already_exists). The kernel uses the same error
/// number for different failures of different operations; a predicate takes the operation into account.
///
/// A batch error of any module converts to an error with [`Cause::Batch`]. A predicate of this error is true if it is
/// true of the [interruption](Error::interruption). Without an interruption, it must be true of every
/// [failure](Error::failures) that does not [follow](Error::follows) from another one.
///
/// It converts to an [`io::Error`]. It is not `Clone`, since [`io::Error`] is not.
///
/// ```
/// use lvs::Error;
///
/// fn remedy(error: &Error) -> &'static str {
///     match error {
///         _ if error.is_permission_denied() => "run as root",
///         _ if error.is_unavailable() => "load the kernel's module",
///         _ if error.is_not_found() || error.is_already_exists() => "read the table and decide again",
///         _ if error.is_conflict() => "take another address",
///         _ if error.is_in_use() => "remove the rule first",
///         _ if error.is_full() => "make room",
///         _ if error.is_interrupted() || error.is_timed_out() => "try again",
///         _ if error.is_invalid_input() => "correct the configuration",
///         _ => "report it",
///     }
/// }
///
/// fn describe(error: &Error) -> String {
///     let (errno, reason, kernel) = (error.errno(), error.reason(), error.kernel_message());
///     format!("{}: {} ({errno:?}, {reason:?}, {kernel:?})", error.operation(), error.cause())
/// }
/// # let error = lvs::netns::Namespace::open("/nonexistent").unwrap_err();
/// # assert_eq!(remedy(&error), "report it");
/// # assert!(describe(&error).starts_with("open network namespace /nonexistent: No such file"));
/// ```
///
/// ```
/// # use lvs::ipvs::{Ipvs, Scheduler, Service};
/// # fn ensure(ipvs: &mut Ipvs, web: &Service) -> lvs::Result<()> {
/// match ipvs.add_service(web) {
///     Err(error) if error.is_already_exists() => ipvs.set_service(web),
///     other => other,
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    operation: String,
    cause: Cause,
    /// Place in the batch, for failures of a batch only.
    place: Option<Place>,
}

/// The place of a failure in its batch.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: usize,
    follows: Option<usize>,
}

impl Error {
    /// Returns an error of `operation`, whose text has the attempted operation and its object.
    pub(crate) fn new(operation: impl fmt::Display, cause: impl Into<Cause>) -> Self {
        Self(Box::new(Inner { operation: operation.to_string(), cause: cause.into(), place: None }))
    }

    /// Returns the error as a failure of the change at this position of a batch.
    pub(crate) fn at(mut self, position: usize) -> Self {
        self.0.place = Some(Place { position, follows: None });
        self
    }

    /// Returns the error as that of a single operation.
    pub(crate) fn alone(mut self) -> Self {
        self.0.place = None;
        self
    }

    /// Records that the failure follows from that of the change at an earlier position.
    pub(crate) fn follow(&mut self, earlier: usize) {
        if let Some(place) = &mut self.0.place {
            place.follows = Some(earlier);
        }
    }

    /// Returns the error as one of the larger operation that it ended.
    pub(crate) fn during(mut self, operation: impl fmt::Display) -> Self {
        self.0.operation = operation.to_string();
        self
    }

    /// Names the larger operation before the one that failed.
    pub(crate) fn prefix(&mut self, operation: impl fmt::Display) {
        self.0.operation = format!("{operation}: {}", self.0.operation);
    }

    /// Whether the text begins with this larger operation.
    fn is_during(&self, operation: &str) -> bool {
        self.0.operation.strip_prefix(operation).is_some_and(|rest| rest.starts_with(": "))
    }

    /// Returns the attempted operation and its object: `add service 10.0.0.1:80/tcp`.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// Returns the cause of the failure.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// Returns the failures of a batch, in the order of its changes; empty for any other error.
    ///
    /// ```
    /// # use lvs::ipvs::{Change, Ipvs};
    /// # fn apply(ipvs: &mut Ipvs, changes: Vec<Change>) -> lvs::Result<()> {
    /// let applied: lvs::Result<()> = ipvs.batch(changes).map_err(lvs::Error::from);
    /// if let Err(error) = &applied {
    ///     for failure in error.failures().iter().filter(|failure| failure.follows().is_none()) {
    ///         eprintln!("{failure}");
    ///     }
    /// }
    /// # applied
    /// # }
    /// ```
    pub fn failures(&self) -> &[Error] {
        match self.cause() {
            Cause::Batch { failures, .. } => failures,
            _ => &[],
        }
    }

    /// Returns the error that ended a batch early; `None` if the batch was not interrupted, and for any other error.
    ///
    /// ```
    /// # fn retry(error: &lvs::Error) -> Vec<usize> {
    /// // Changes of a completed batch to send again: all failures, also those that follow from another one.
    /// assert!(error.interruption().is_none());
    /// error.failures().iter().filter_map(lvs::Error::position).collect()
    /// # }
    /// ```
    pub fn interruption(&self) -> Option<&Error> {
        match self.cause() {
            Cause::Batch { interruption, .. } => interruption.as_ref(),
            _ => None,
        }
    }

    /// Returns the position of the failed change in its batch, counted from 0; `None` for any other error.
    pub fn position(&self) -> Option<usize> {
        self.0.place.map(|place| place.position)
    }

    /// Returns the position of the failed change of the same batch that caused this failure: a destination cannot be
    /// added if its service could not be added. `None` if the failure does not follow from another one.
    pub fn follows(&self) -> Option<usize> {
        self.0.place.and_then(|place| place.follows)
    }

    /// Returns the errors to which predicates apply: the interruption of a batch, the independent failures of any other
    /// batch, or the error itself.
    fn decisive(&self) -> impl Iterator<Item = &Error> {
        let (interruption, failures) = match self.cause() {
            Cause::Batch { interruption: Some(interruption), .. } => (Some(interruption), &[][..]),
            Cause::Batch { interruption: None, failures } => (None, &failures[..]),
            _ => (Some(self), &[][..]),
        };
        interruption.into_iter().chain(failures.iter().filter(|failure| failure.follows().is_none()))
    }

    /// Returns the value that all decisive errors have in common.
    fn common<'a, T: PartialEq>(&'a self, of: impl Fn(&'a Cause) -> Option<T>) -> Option<T> {
        let mut values = self.decisive().map(|error| of(error.cause()));
        let first = values.next().flatten()?;
        values.all(|value| value.as_ref() == Some(&first)).then_some(first)
    }

    /// Returns the error number, if the kernel refused the operation or a system call failed.
    ///
    /// For a batch: the number of its interruption, or the number that all of its independent failures have. `None` if
    /// they differ.
    pub fn errno(&self) -> Option<i32> {
        self.common(|cause| match cause {
            Cause::Refused(Refused { refusal, .. }) => Some(refusal.errno),
            Cause::Io(error) => error.raw_os_error(),
            _ => None,
        })
    }

    /// Returns the message text of the kernel (`NLMSGERR_ATTR_MSG`), if it sent one. For a batch: as
    /// [`errno`](Error::errno).
    pub fn kernel_message(&self) -> Option<&str> {
        self.common(|cause| match cause {
            Cause::Refused(Refused { refusal, .. }) => refusal.message.as_deref(),
            _ => None,
        })
    }

    /// Returns the meaning of the refusal, if the kernel refused the operation or its state does not allow it. For a
    /// batch: as [`errno`](Error::errno).
    pub fn reason(&self) -> Option<Reason> {
        self.common(Cause::reason)
    }

    /// Whether a predicate is true of all decisive errors.
    fn is(&self, predicate: impl Fn(&Cause) -> bool) -> bool {
        let mut decisive = self.decisive().peekable();
        decisive.peek().is_some() && decisive.all(|error| predicate(error.cause()))
    }

    /// Whether the object to be added exists.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some(Reason::AlreadyExists)
    }

    /// Whether the named object does not exist: a service, a destination, a daemon, an interface, a set, an entry or a
    /// flow. [`reason`](Error::reason) distinguishes them.
    pub fn is_not_found(&self) -> bool {
        self.is(|cause| {
            matches!(
                cause.reason(),
                Some(
                    Reason::ServiceNotFound
                        | Reason::DestinationNotFound
                        | Reason::DaemonNotFound
                        | Reason::InterfaceNotFound
                        | Reason::SetNotFound
                        | Reason::EntryNotFound
                        | Reason::FlowNotFound
                )
            )
        })
    }

    /// Whether the caller lacks the capability that the operation needs.
    pub fn is_permission_denied(&self) -> bool {
        self.is(|cause| match cause {
            Cause::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
            _ => cause.reason() == Some(Reason::PermissionDenied),
        })
    }

    /// Whether the kernel lacks the requested feature, or its module could not be loaded: the IPVS family, a scheduler,
    /// a kind of interface, a setting of a later kernel.
    pub fn is_unavailable(&self) -> bool {
        self.is(|cause| match cause {
            Cause::FamilyNotFound { .. } | Cause::NotOnThisKernel { .. } => true,
            _ => cause.reason() == Some(Reason::Unavailable),
        })
    }

    /// Whether the set has its maximum number of entries, or the kernel its maximum number of sets.
    pub fn is_full(&self) -> bool {
        self.reason() == Some(Reason::Full)
    }

    /// Whether another interface or route has the address that was to be bound.
    pub fn is_conflict(&self) -> bool {
        self.is(|cause| matches!(cause, Cause::Conflict { .. }))
    }

    /// Whether the object is in use, for instance by a rule of a packet filter.
    pub fn is_in_use(&self) -> bool {
        self.reason() == Some(Reason::Busy)
    }

    /// Whether the request was invalid, and was not sent.
    pub fn is_invalid_input(&self) -> bool {
        self.is(|cause| matches!(cause, Cause::InvalidInput(_)))
    }

    /// Whether the table changed while it was read. Reading it again may succeed.
    pub fn is_interrupted(&self) -> bool {
        self.is(|cause| matches!(cause, Cause::Interrupted))
    }

    /// Whether the kernel did not answer in time. It may have carried out the request.
    pub fn is_timed_out(&self) -> bool {
        self.is(|cause| matches!(cause, Cause::TimedOut))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.cause, self.interruption()) {
            // One operation is named once.
            (Cause::Batch { failures, .. }, Some(interruption))
                if failures.is_empty() && interruption.operation() == self.operation() =>
            {
                write!(f, "{interruption}")?;
            }
            (Cause::Batch { failures, .. }, None) if matches!(&failures[..], [only] if only.is_during(&self.0.operation)) =>
            {
                write!(f, "{}", self.0.cause)?;
            }
            (cause, _) => write!(f, "{}: {cause}", self.0.operation)?,
        }
        match self.0.place {
            Some(Place { position, follows: Some(earlier) }) => {
                write!(f, " (change {position}, after change {earlier})")
            }
            Some(Place { position, follows: None }) => write!(f, " (change {position})"),
            None => Ok(()),
        }
    }
}

impl AsRef<Error> for Error {
    fn as_ref(&self) -> &Error {
        self
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The text has the cause already. Only the source of the cause may add to it.
        std::error::Error::source(&self.0.cause)
    }
}

/// Converts the error for functions that return [`io::Result`]. [`io::Error::get_ref`] returns the original.
///
/// ```
/// # use std::io;
/// fn version() -> io::Result<lvs::ipvs::Version> {
///     Ok(lvs::ipvs::Ipvs::connect()?.version()?)
/// }
/// ```
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.cause() {
            Cause::Io(error) => error.kind(),
            _ if error.is_permission_denied() => io::ErrorKind::PermissionDenied,
            _ if error.is_not_found() => io::ErrorKind::NotFound,
            _ if error.is_already_exists() => io::ErrorKind::AlreadyExists,
            _ if error.is_invalid_input() => io::ErrorKind::InvalidInput,
            _ if error.is_timed_out() => io::ErrorKind::TimedOut,
            _ if error.is_in_use() => io::ErrorKind::ResourceBusy,
            _ if error.is_unavailable() => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
