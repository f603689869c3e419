//! Refusals of the kernel, and their meaning.

use std::borrow::Cow;
use std::fmt;

use nix::errno::Errno;

use super::Cause;

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
