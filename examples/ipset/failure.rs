//! Failures, with the message text of `ipset`, and the exit status.

use std::io::{self, Write};

use lvs::Error;
use lvs::ipset::Kind;

use self::number::PRIVATE;
use crate::errno;
use crate::texts::{TEXTS, Text};
use crate::values::bytes;

/// A command was not carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// A value, or the kernel, is against it.
    Refused(String),
    /// The same, told without the line where it is.
    Unplaced(String),
    /// The same, said already, or not to be said.
    Silent(u8),
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    /// A value cannot be understood.
    pub(crate) fn syntax(text: impl std::fmt::Display) -> Self {
        Self::Refused(format!("Syntax error: {text}"))
    }

    /// The same with another line.
    pub(crate) fn and(self, line: impl std::fmt::Display) -> Self {
        match self {
            Self::Refused(text) => Self::Refused(format!("{text}\n{line}")),
            other => other,
        }
    }

    /// The same without the line where it is.
    pub(crate) fn unplaced(self) -> Self {
        match self {
            Self::Refused(text) => Self::Unplaced(text),
            other => other,
        }
    }

    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(_) | Self::Unplaced(_) => 1,
            Self::Silent(status) => *status,
        }
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Usage(text) | Self::Refused(text) | Self::Unplaced(text) => text,
            Self::Silent(_) => "",
        }
    }

    /// Tells it on standard error, with the number of the line where it is.
    pub(crate) fn tell(&self, line: Option<usize>) {
        let mut told = match (self, line) {
            (Self::Usage(text), _) => bytes(&format!("{text}\nTry `ipset help' for more information.")).into_owned(),
            (Self::Refused(text), None) | (Self::Unplaced(text), _) => cut(&bytes(text)),
            // The last of its lines stands for all.
            (Self::Refused(text), Some(line)) => {
                let last = text.lines().next_back().unwrap_or_default();
                cut(&bytes(&format!("Error in line {line}: {last}")))
            }
            (Self::Silent(_), _) => return,
        };
        told.splice(..0, format!("{NAME}: ").into_bytes());
        told.push(b'\n');
        complain(&told);
    }
}

/// Writes to standard error. A message that cannot be written is lost: no channel remains to report the loss, and the
/// exit status still has the result.
pub(crate) fn complain(text: &[u8]) {
    let _ = io::stderr().write_all(text);
}

/// Truncates a text to the size of `ipset`'s buffer.
fn cut(text: &[u8]) -> Vec<u8> {
    text.get(..1022).unwrap_or(text).to_vec()
}

/// The name and the version that scripts look for.
pub(crate) const NAME: &str = "ipset v7.24";

/// The kernel's own numbers of errors, as far as they are needed by name (`enum ipset_errno`).
pub(crate) mod number {
    /// The first that is not one of the system.
    pub(crate) const PRIVATE: i32 = 4096;
    pub(crate) const INVALID_CIDR: i32 = 4104;
    pub(crate) const INVALID_NETMASK: i32 = 4105;
    pub(crate) const INVALID_FAMILY: i32 = 4106;
    pub(crate) const INVALID_MARKMASK: i32 = 4113;
    /// `IPSET_ERR_INVALID_PROTO` of hash types.
    pub(crate) const INVALID_PROTOCOL: i32 = 4354;
}

/// Why the kernel, or the library in its place, refused a request: one of a command, or for a `type` or a `header`.
pub(crate) fn explain(request: &str, kind: Option<Kind>, error: &Error) -> Failure {
    match error.errno() {
        Some(number) => refused(request, kind, number),
        None => Failure::refused(format!("Kernel error received: {}", error.cause())),
    }
}

/// Meaning of an error number of the kernel.
pub(crate) fn refused(request: &str, kind: Option<Kind>, number: i32) -> Failure {
    let method = kind.and_then(|kind| kind.name().split(':').next()).unwrap_or_default();
    let is_meant = |text: &&Text| {
        let (of_number, of_method, requests, _) = **text;
        number == of_number
            && (of_method.is_empty() || of_method == method)
            && (requests.is_empty() || requests.contains(&request))
    };
    match TEXTS.iter().find(is_meant) {
        Some((.., text)) => Failure::refused(*text),
        None if number >= PRIVATE => Failure::refused(format!("Undecoded error {number} received from kernel")),
        None => kernel(number),
    }
}

/// Returns the text of the C library for an error number.
fn kernel(number: i32) -> Failure {
    Failure::refused(format!("Kernel error received: {}", errno::text(number)))
}
