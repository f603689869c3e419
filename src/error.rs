//! Errors: the operation, its object, and the cause.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

use crate::name::Interface;

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
    /// // Changes to send again: those that failed by themselves, and those after an interruption.
    /// assert!(error.interruption().is_none());
    /// error.failures().iter().filter(|failure| failure.follows().is_none()).filter_map(lvs::Error::position).collect()
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

/// The cause of an error, without the operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel refused the operation.
    #[error("{0}")]
    Refused(Refused),
    /// The request was invalid; nothing was sent.
    #[error("{0}")]
    InvalidInput(Cow<'static, str>),
    /// The kernel has no such generic netlink family.
    #[error("this kernel has no netlink family {family}: load its module with `modprobe {module}` (as root)")]
    FamilyNotFound {
        /// The family's name.
        family: &'static str,
        /// The kernel module of the family.
        module: &'static str,
    },
    /// The kernel has IPVS, but lacks this part of it.
    #[error("{what} is missing on this kernel{}", in_brackets(*since))]
    NotOnThisKernel {
        /// The missing part.
        what: Cow<'static, str>,
        /// The first kernel that has it, if known.
        since: Option<&'static str>,
    },
    /// A system call failed.
    #[error("{0}")]
    Io(io::Error),
    /// The kernel did not answer in time. It may have carried out the request.
    #[error("the kernel did not answer in time")]
    TimedOut,
    /// The socket's receive buffer was full and replies were lost (`ENOBUFS`). The kernel may have carried out the
    /// request: read the table.
    #[error("the socket's receive buffer overran and replies were lost")]
    Overrun,
    /// A reply was longer than the receive buffer and was truncated.
    #[error("a reply of {length} bytes was truncated to {buffer}")]
    Truncated {
        /// The reply's length in bytes.
        length: usize,
        /// The buffer's length in bytes.
        buffer: usize,
    },
    /// A collected listing was longer than [`Options::largest_listing`](crate::Options::largest_listing) allows.
    #[error("the listing is longer than {limit} bytes, the limit of the client's options")]
    ListingTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The kernel's table changed while it was read (`NLM_F_DUMP_INTR`): the listing may lack or repeat entries.
    #[error("the table changed while it was read")]
    Interrupted,
    /// An attribute to be sent is longer than its format allows; nothing was sent.
    #[error("{what} is too long to be sent")]
    TooLong {
        /// The kernel's name of the attribute.
        what: &'static str,
    },
    /// A reply could not be decoded.
    #[error("the kernel's reply could not be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// Another interface or route has the address, or an address of the prefix, that was to be bound.
    #[error("{}", conflict(*.address, *.length, *.interface, *.index, *.protocol, *.of_subnet))]
    Conflict {
        /// The address of the conflicting object, or the first of its prefix.
        address: IpAddr,
        /// The length of its prefix in bits: 32 or 128 for one address.
        length: u8,
        /// Its interface; `None` if the interface does not exist any more.
        interface: Option<Interface>,
        /// The index of that interface; 0 for a route with none or several.
        index: u32,
        /// The protocol number of the conflicting route (`RTPROT_*`); `None` for the address of an interface.
        protocol: Option<u8>,
        /// Whether it is the broadcast address (IPv4) or the anycast address (IPv6) of a subnet.
        of_subnet: bool,
    },
    /// The state of the kernel does not allow the operation. The state was read before, and the change was not sent.
    #[error("{explanation}")]
    Precondition {
        /// The meaning for this operation.
        reason: Reason,
        /// The meaning as text.
        explanation: Cow<'static, str>,
    },
    /// Some changes of a batch were not made. The batch errors of [`ipvs`](crate::ipvs::BatchError),
    /// [`ipset`](crate::ipset::BatchError), [`vip`](crate::vip::BatchError) and
    /// [`director`](crate::director::BatchError) convert to it.
    #[error("{}", BatchText { failures, interruption: interruption.as_ref() })]
    Batch {
        /// The changes that were not made, in their order: [`Error::failures`].
        failures: Vec<Error>,
        /// The error that ended the batch early: [`Error::interruption`].
        interruption: Option<Error>,
    },
    /// The kernel acknowledged a query without an answer.
    #[error("the kernel acknowledged the request but sent no answer")]
    NoAnswer,
}

impl Cause {
    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused(Refused { reason, .. }) | Self::Precondition { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    pub(crate) fn precondition(reason: Reason, explanation: impl Into<Cow<'static, str>>) -> Self {
        Self::Precondition { reason, explanation: explanation.into() }
    }
}

/// The text of a batch error, for all modules.
pub(crate) struct BatchText<'a, F> {
    pub(crate) failures: &'a [F],
    pub(crate) interruption: Option<&'a Error>,
}

impl<F: AsRef<Error>> fmt::Display for BatchText<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interruption) = self.interruption {
            write!(f, "interrupted: {interruption}")?;
        }
        let Some(first) = self.failures.first() else {
            return Ok(());
        };
        f.write_str(if self.interruption.is_some() { "; before that, " } else { "" })?;
        let count = self.failures.len();
        let following = self.failures.iter().filter(|failure| failure.as_ref().follows().is_some()).count();
        match (count, following) {
            (1, _) => write!(f, "{}", first.as_ref()),
            (_, 0) => write!(f, "{count} changes failed; the first: {}", first.as_ref()),
            _ => {
                let own = count - following;
                let s = if own == 1 { "" } else { "s" };
                write!(f, "{own} change{s} failed, and {following} that follow; the first: {}", first.as_ref())
            }
        }
    }
}

impl AsRef<Error> for Error {
    fn as_ref(&self) -> &Error {
        self
    }
}

fn in_brackets(release: Option<&str>) -> String {
    release.map(|release| format!(" (since Linux {release})")).unwrap_or_default()
}

fn conflict(
    address: IpAddr,
    length: u8,
    interface: Option<Interface>,
    index: u32,
    protocol: Option<u8>,
    of_subnet: bool,
) -> String {
    let interface = interface.map_or_else(|| format!("interface {index}"), |name| name.to_string());
    let address = match (address, length) {
        (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => address.to_string(),
        _ => format!("{address}/{length}"),
    };
    let kind = if address.contains(':') { "anycast" } else { "broadcast" };
    match protocol {
        _ if of_subnet => format!("{address} is the {kind} address of a subnet of {interface}"),
        None => format!("{address} is an address of {interface} already"),
        Some(protocol) => format!("a route of protocol {protocol} makes {address} local already, on {interface}"),
    }
}

/// The kernel refused an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refused {
    /// The meaning for this operation.
    pub reason: Reason,
    /// The meaning as text, with the usual remedy.
    pub explanation: Cow<'static, str>,
    /// The kernel's reply.
    pub refusal: Refusal,
    /// The kernel's name of the error number, where the number alone does not determine it.
    name: Option<&'static str>,
}

impl Refused {
    pub(crate) fn new(reason: Reason, explanation: impl Into<Cow<'static, str>>, refusal: Refusal) -> Self {
        Self { reason, explanation: explanation.into(), refusal, name: None }
    }

    /// Sets the kernel's name of the error number.
    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    /// The meaning of an error number for any operation.
    pub(crate) fn unexplained(refusal: Refusal) -> Self {
        let errno = Errno::from_raw(refusal.errno);
        match errno {
            Errno::EPERM | Errno::EACCES => Self::new(Reason::PermissionDenied, "permission denied", refusal),
            Errno::ENOMEM => Self::new(Reason::OutOfMemory, "the kernel is out of memory", refusal),
            Errno::EOPNOTSUPP => Self::new(Reason::Unsupported, "this kernel does not support the operation", refusal),
            Errno::EBUSY => Self::new(Reason::Busy, "busy", refusal),
            _ => Self::new(Reason::Other, errno.desc(), refusal),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.explanation)?;
        self.refusal.write(self.name, f)?;
        f.write_str(")")
    }
}

impl From<Refused> for Cause {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Meaning of a refusal for the operation that was refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The object to be added exists already.
    AlreadyExists,
    /// No such virtual service exists.
    ServiceNotFound,
    /// The virtual service has no such destination.
    DestinationNotFound,
    /// No such sync daemon runs.
    DaemonNotFound,
    /// No such network interface exists.
    InterfaceNotFound,
    /// No such set exists.
    SetNotFound,
    /// The set has no such entry.
    EntryNotFound,
    /// The connection tracker has no such flow.
    FlowNotFound,
    /// The set has its maximum number of entries, or the kernel its maximum number of sets.
    Full,
    /// The sets are of incompatible types.
    TypeMismatch,
    /// The set was created without the values of its entry (timeouts, counters, comments, skbinfo).
    NotEnabled,
    /// The kernel lacks the module of the request: a scheduler, a persistence engine, a kind of interface.
    Unavailable,
    /// The caller lacks a capability.
    PermissionDenied,
    /// The kernel rejects the request as invalid.
    Invalid,
    /// The kernel does not support this operation, or not for this address family.
    Unsupported,
    /// Another process or object uses the object, or the table.
    Busy,
    /// The kernel could not allocate memory.
    OutOfMemory,
    /// Another meaning: see the error number.
    Other,
}

/// The kernel's reply to a refused request.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The error number. `ipset` has numbers of its own, from 4096 on. It is positive, except for a few of
    /// `hash:ip,mac`, which the kernel sends with the wrong sign.
    pub errno: i32,
    /// The kernel's message text (`NLMSGERR_ATTR_MSG`), if it sent one.
    pub message: Option<String>,
    /// Offset of the offending attribute in the request, in bytes (`NLMSGERR_ATTR_OFFS`), if the kernel reports it.
    pub offset: Option<u32>,
}

impl Refusal {
    /// Writes the reply, with this name of the error number or the usual one.
    fn write(&self, name: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.errno.saturating_abs();
        if self.errno < 0 {
            f.write_str("-")?;
        }
        match (name.or_else(|| ipset_name(number)), Errno::from_raw(number)) {
            (Some(name), _) => f.write_str(name)?,
            (None, Errno::UnknownErrno) if number >= TYPE_SPECIFIC => {
                write!(f, "IPSET_ERR_TYPE_SPECIFIC + {}", number - TYPE_SPECIFIC)?;
            }
            (None, Errno::UnknownErrno) => write!(f, "unknown error number {number}")?,
            (None, errno) => write!(f, "{errno:?}")?,
        }
        if let Some(message) = &self.message {
            write!(f, "; message of the kernel: {message}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, "; at byte {offset} of the request")?;
        }
        Ok(())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(None, f)
    }
}

/// The first error number of ipset that has another name for each kind of set (`IPSET_ERR_TYPE_SPECIFIC`).
const TYPE_SPECIFIC: i32 = 4352;

/// The kernel's name of an error number of ipset (`enum ipset_errno`).
fn ipset_name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        4097 => "IPSET_ERR_PROTOCOL",
        4098 => "IPSET_ERR_FIND_TYPE",
        4099 => "IPSET_ERR_MAX_SETS",
        4100 => "IPSET_ERR_BUSY",
        4101 => "IPSET_ERR_EXIST_SETNAME2",
        4102 => "IPSET_ERR_TYPE_MISMATCH",
        4103 => "IPSET_ERR_EXIST",
        4104 => "IPSET_ERR_INVALID_CIDR",
        4105 => "IPSET_ERR_INVALID_NETMASK",
        4106 => "IPSET_ERR_INVALID_FAMILY",
        4107 => "IPSET_ERR_TIMEOUT",
        4108 => "IPSET_ERR_REFERENCED",
        4109 => "IPSET_ERR_IPADDR_IPV4",
        4110 => "IPSET_ERR_IPADDR_IPV6",
        4111 => "IPSET_ERR_COUNTER",
        4112 => "IPSET_ERR_COMMENT",
        4113 => "IPSET_ERR_INVALID_MARKMASK",
        4114 => "IPSET_ERR_SKBINFO",
        4115 => "IPSET_ERR_BITMASK_NETMASK_EXCL",
        _ => return None,
    })
}

/// A malformed message or file from the kernel.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A length exceeds the message.
    #[error("{list}: an invalid length, {left} bytes before the end")]
    Framing {
        /// The kernel's name of the message or list.
        list: &'static str,
        /// Number of bytes left at the invalid part.
        left: usize,
    },
    /// A value has another length than its type.
    #[error("{attribute}: wanted {wanted} bytes, got {got}")]
    Length {
        /// The kernel's name of the attribute.
        attribute: &'static str,
        /// The length of the type.
        wanted: usize,
        /// The length that was found.
        got: usize,
    },
    /// A value that this attribute cannot have.
    #[error("{attribute}: {value} is not a valid value")]
    Value {
        /// The kernel's name of the attribute.
        attribute: &'static str,
        /// The value that was found.
        value: u64,
    },
    /// Text without its zero byte, or not UTF-8.
    #[error("{attribute}: not text ended by a zero byte")]
    Text {
        /// The kernel's name of the attribute.
        attribute: &'static str,
    },
    /// A mandatory attribute is absent.
    #[error("{attribute} is missing")]
    Missing {
        /// The kernel's name of the attribute.
        attribute: &'static str,
    },
    /// A setting has an invalid value.
    #[error("net.ipv4.vs.{name}: {text:?} is not a valid value")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// The value that was found.
        text: String,
    },
    /// A line of a file has another format.
    #[error("{file}, line {number}: wrong {what} in {line:?}")]
    Line {
        /// The file's name.
        file: &'static str,
        /// The line's number, from 1 on.
        number: u64,
        /// The wrong part of the line.
        what: &'static str,
        /// The beginning of the line, with U+FFFD for bytes that are not UTF-8.
        line: String,
    },
}
