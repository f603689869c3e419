//! Causes of errors, and their text.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::IpAddr;

use super::{DecodeError, Error, Reason, Refused};
use crate::name::Interface;

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
    pub(super) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused(Refused { reason, .. }) | Self::Precondition { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    /// Whether the kernel may have carried out the request.
    pub(crate) fn leaves_unknown(&self) -> bool {
        matches!(
            self,
            Self::Io(_) | Self::TimedOut | Self::Overrun | Self::Truncated { .. } | Self::Decode(_) | Self::NoAnswer
        )
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
