//! What went wrong: which operation, on which object, and why.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not succeed.
///
/// It says what was attempted, on which object, and the [`Cause`]. Ask it with its predicates, such as
/// [`is_already_exists`](Error::is_already_exists), rather than matching numbers: the same number of the kernel means
/// different things for different operations.
///
/// ```
/// # use lvs::ipvs::{Ipvs, Scheduler, Service};
/// # fn ensure(ipvs: &mut Ipvs, web: &Service) -> lvs::Result<()> {
/// match ipvs.add_service(web) {
///     Err(error) if error.is_already_exists() => ipvs.replace_service(web),
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
}

impl Error {
    /// An error of `operation`, which names what was attempted and on which object.
    pub(crate) fn new(operation: impl fmt::Display, cause: impl Into<Cause>) -> Self {
        Self(Box::new(Inner { operation: operation.to_string(), cause: cause.into() }))
    }

    /// The same, as an error of the larger operation that it ended.
    pub(crate) fn during(mut self, operation: impl fmt::Display) -> Self {
        self.0.operation = operation.to_string();
        self
    }

    /// What was attempted, and on which object: `add service 10.0.0.1:80/tcp`.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// Why it did not succeed.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The kernel's error number, if the kernel refused the operation or a system call failed.
    pub fn errno(&self) -> Option<i32> {
        match self.cause() {
            Cause::Refused(Refused { refusal, .. }) => Some(refusal.errno),
            Cause::Io(error) => error.raw_os_error(),
            _ => None,
        }
    }

    /// What the kernel itself said, for kernels and subsystems that say something (an extended acknowledgement).
    pub fn kernel_message(&self) -> Option<&str> {
        match self.cause() {
            Cause::Refused(Refused { refusal, .. }) => refusal.message.as_deref(),
            _ => None,
        }
    }

    fn reason(&self) -> Option<Reason> {
        match self.cause() {
            Cause::Refused(refused) => Some(refused.reason),
            _ => None,
        }
    }

    /// The object to be added is there already.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some(Reason::AlreadyExists)
    }

    /// The object that was named (the service, the destination, the daemon, the interface, the set, the entry) is not there. [`Cause::Refused`] has
    /// which, in [`Refused::reason`].
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.reason(),
            Some(
                Reason::ServiceNotFound
                    | Reason::DestinationNotFound
                    | Reason::DaemonNotFound
                    | Reason::InterfaceNotFound
                    | Reason::SetNotFound
                    | Reason::EntryNotFound
            )
        )
    }

    /// The caller lacks the capability that the operation needs.
    pub fn is_permission_denied(&self) -> bool {
        match self.cause() {
            Cause::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
            _ => self.reason() == Some(Reason::PermissionDenied),
        }
    }

    /// The kernel lacks what was asked for, or its module could not be loaded: the IPVS family, a scheduler, a kind
    /// of interface, a setting that came with a later kernel.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.cause(), Cause::FamilyNotFound { .. } | Cause::NotOnThisKernel { .. })
            || self.reason() == Some(Reason::Unavailable)
    }

    /// There is no room for more: the set has as many entries as it may have.
    pub fn is_full(&self) -> bool {
        self.reason() == Some(Reason::Full)
    }

    /// Something else has the address that was to be bound: another interface, or a route.
    pub fn is_conflict(&self) -> bool {
        matches!(self.cause(), Cause::Conflict { .. })
    }

    /// Something else is using the object, such as a rule of a packet filter.
    pub fn is_in_use(&self) -> bool {
        self.reason() == Some(Reason::Busy)
    }

    /// The request was wrong in itself, and was not sent.
    pub fn is_invalid_input(&self) -> bool {
        matches!(self.cause(), Cause::InvalidInput(_))
    }

    /// The table changed while it was read: read it again.
    pub fn is_interrupted(&self) -> bool {
        matches!(self.cause(), Cause::Interrupted)
    }

    /// The kernel did not answer in time. Whether it did what was asked is not known.
    pub fn is_timed_out(&self) -> bool {
        matches!(self.cause(), Cause::TimedOut)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.cause)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The cause stands in the text already; what is behind it may add to that.
        std::error::Error::source(&self.0.cause)
    }
}

/// Why an operation did not succeed, without saying which operation it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel refused it.
    #[error("{0}")]
    Refused(Refused),
    /// The request was wrong in itself; nothing was sent.
    #[error("{0}")]
    InvalidInput(Cow<'static, str>),
    /// The kernel has no such generic netlink family.
    #[error("this kernel has no netlink family {family}: load its module with `modprobe {module}` (as root)")]
    FamilyNotFound {
        /// The family's name.
        family: &'static str,
        /// The kernel module that brings it.
        module: &'static str,
    },
    /// The kernel has IPVS, but not this part of it.
    #[error("{what} is not on this kernel{}", in_brackets(*since))]
    NotOnThisKernel {
        /// What is missing.
        what: Cow<'static, str>,
        /// The kernel that first had it, if that says more than the name.
        since: Option<&'static str>,
    },
    /// A system call failed.
    #[error("{0}")]
    Io(io::Error),
    /// The kernel did not answer in time. Whether it did what was asked is not known.
    #[error("the kernel did not answer in time")]
    TimedOut,
    /// The socket's receive buffer was full and replies were lost (`ENOBUFS`). Whether the kernel did what was asked
    /// is not known: read the table.
    #[error("the socket's receive buffer overran and replies were lost")]
    Overrun,
    /// A reply was longer than the receive buffer, and its end was lost.
    #[error("a reply of {length} bytes was cut to {room}")]
    Truncated {
        /// The reply's length in bytes.
        length: usize,
        /// The buffer's length in bytes.
        room: usize,
    },
    /// The kernel's table changed while it was read (`NLM_F_DUMP_INTR`): the list may lack or repeat entries.
    #[error("the table changed while it was read")]
    Interrupted,
    /// An attribute to be sent is longer than its format allows; nothing was sent.
    #[error("{what} is too long to be sent")]
    TooLong {
        /// The kernel's name of the attribute.
        what: &'static str,
    },
    /// A reply could not be understood.
    #[error("the kernel's reply could not be read: {0}")]
    Decode(#[from] DecodeError),
    /// Something else has the address, or one of the prefix, that was to be bound. Nothing was changed.
    #[error("{}", conflict(*.address, *.length, .interface, *.protocol))]
    Conflict {
        /// The address that it has, or the first of its prefix.
        address: IpAddr,
        /// The length of its prefix in bits: 32 or 128 for one address.
        length: u8,
        /// The interface that it is on.
        interface: String,
        /// The protocol number of the route that makes it local (`RTPROT_*`); `None` if it is an interface's address.
        protocol: Option<u8>,
    },
    /// Some of many changes were not made: an [`ipvs::BatchError`](crate::ipvs::BatchError) or a
    /// [`vip::BatchError`](crate::vip::BatchError), got out by `downcast_ref`.
    #[error("{0}")]
    Batch(Box<dyn std::error::Error + Send + Sync>),
    /// The kernel acknowledged a question without answering it.
    #[error("the kernel acknowledged the request but sent no answer")]
    NoAnswer,
}

fn in_brackets(release: Option<&str>) -> String {
    release.map(|release| format!(" (since Linux {release})")).unwrap_or_default()
}

fn conflict(address: IpAddr, length: u8, interface: &str, protocol: Option<u8>) -> String {
    let address = match (address, length) {
        (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => address.to_string(),
        _ => format!("{address}/{length}"),
    };
    match protocol {
        None => format!("{address} is an address of {interface} already"),
        Some(protocol) => format!("a route of protocol {protocol} makes {address} local already, on {interface}"),
    }
}

/// The kernel refused an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refused {
    /// What that means for this operation.
    pub reason: Reason,
    /// The same in words, with what usually helps.
    pub explanation: Cow<'static, str>,
    /// What the kernel sent.
    pub refusal: Refusal,
}

impl Refused {
    pub(crate) fn new(reason: Reason, explanation: impl Into<Cow<'static, str>>, refusal: Refusal) -> Self {
        Self { reason, explanation: explanation.into(), refusal }
    }

    /// What an error number means whatever the operation was.
    pub(crate) fn unexplained(refusal: Refusal) -> Self {
        let errno = Errno::from_raw(refusal.errno);
        match errno {
            Errno::EPERM | Errno::EACCES => Self::new(Reason::PermissionDenied, "permission denied", refusal),
            Errno::ENOMEM => Self::new(Reason::OutOfMemory, "the kernel is out of memory", refusal),
            Errno::EOPNOTSUPP => Self::new(Reason::Unsupported, "this kernel does not support it", refusal),
            Errno::EBUSY => Self::new(Reason::Busy, "busy", refusal),
            _ => Self::new(Reason::Other, errno.desc(), refusal),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.explanation, self.refusal)
    }
}

impl From<Refused> for Cause {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// What a refusal means for the operation that was refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The object to be added is there already.
    AlreadyExists,
    /// There is no such virtual service.
    ServiceNotFound,
    /// The virtual service has no such destination.
    DestinationNotFound,
    /// No such sync daemon runs.
    DaemonNotFound,
    /// There is no such network interface.
    InterfaceNotFound,
    /// There is no such set.
    SetNotFound,
    /// The set has no such entry.
    EntryNotFound,
    /// There is no room for more: the set has as many entries as it may have, or the kernel as many sets.
    Full,
    /// The sets are of types that cannot stand for each other.
    TypeMismatch,
    /// The set was made without what its entry is to carry (timeouts, counters, comments, skbinfo).
    NotEnabled,
    /// The module that the request needs (a scheduler, a persistence engine, a kind of interface) is not there.
    Unavailable,
    /// The caller lacks a capability.
    PermissionDenied,
    /// The kernel holds the request for wrong.
    Invalid,
    /// The kernel does not know this operation, or not for this address family.
    Unsupported,
    /// Something else is using the object, or the table.
    Busy,
    /// The kernel could not get memory.
    OutOfMemory,
    /// Anything else: see the error number.
    Other,
}

/// What the kernel sends with a refused request.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The error number. ipset has some of its own, from 4096 on. It is positive, unless the kernel made a mistake: a few of ipset's
    /// come with the wrong sign.
    pub errno: i32,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), if it said any.
    pub message: Option<String>,
    /// Where in the request the offending attribute stands, in bytes (`NLMSGERR_ATTR_OFFS`), if the kernel said so.
    pub offset: Option<u32>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_raw(self.errno) {
            Errno::UnknownErrno => write!(f, "error {}", self.errno)?,
            errno => write!(f, "{errno:?}")?,
        }
        if let Some(message) = &self.message {
            write!(f, "; the kernel says: {message}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, "; at byte {offset} of the request")?;
        }
        Ok(())
    }
}

/// Bytes that are not what the kernel's format says they should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A length points outside of what there is.
    #[error("{list}: a broken length, {left} bytes before the end")]
    Framing {
        /// The kernel's name of the message or list.
        list: &'static str,
        /// How many bytes were left where the broken part starts.
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
    #[error("{attribute}: {value} is not a value it can have")]
    Value {
        /// The kernel's name of the attribute.
        attribute: &'static str,
        /// The value that was found.
        value: u64,
    },
    /// Text without its end, or not UTF-8.
    #[error("{attribute}: not text ended by a zero byte")]
    Text {
        /// The kernel's name of the attribute.
        attribute: &'static str,
    },
    /// An attribute that is always there is not.
    #[error("{attribute} is missing")]
    Missing {
        /// The kernel's name of the attribute.
        attribute: &'static str,
    },
    /// A setting has a value that makes no sense.
    #[error("net.ipv4.vs.{name}: {text:?} is not a value it can have")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// The value that was found.
        text: String,
    },
    /// A line of a file that is not in the file's format.
    #[error("{file}, line {number}: wrong {what} in {line:?}")]
    Line {
        /// The file's name.
        file: &'static str,
        /// The line's number, from 1 on.
        number: u64,
        /// Which part of it.
        what: &'static str,
        /// Its beginning, with what is not UTF-8 replaced.
        line: String,
    },
    /// A message about interfaces or addresses that could not be read.
    #[error("{0}")]
    Route(String),
}

/// Text that is written only if it is needed (`std::fmt::from_fn`, which is younger than Rust 1.85).
pub(crate) fn from_fn<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result + Copy>(write: F) -> impl fmt::Display + Copy {
    #[derive(Clone, Copy)]
    struct FromFn<F>(F);

    impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for FromFn<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (self.0)(f)
        }
    }

    FromFn(write)
}
