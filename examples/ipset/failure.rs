//! What goes wrong, in `ipset`'s words, and the exit status.

use std::io::{self, Write};

use lvs::Error;
use lvs::ipset::{Kind, Method};

use crate::syntax::Command;
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
            (Self::Usage(text), _) => bytes(&format!("{text}\nTry `ipset help' for more information.")),
            (Self::Refused(text), None) | (Self::Unplaced(text), _) => cut(bytes(text)),
            // The last of its lines stands for all.
            (Self::Refused(text), Some(line)) => {
                let last = text.lines().next_back().unwrap_or_default();
                cut(bytes(&format!("Error in line {line}: {last}")))
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

/// What `ipset` has room for.
fn cut(mut text: Vec<u8>) -> Vec<u8> {
    text.truncate(1022);
    text
}

/// The name and the version that scripts look for.
pub(crate) const NAME: &str = "ipset v7.24";

/// The kernel's own numbers of errors, as far as they are needed by name (`enum ipset_errno`).
pub(crate) mod number {
    pub(crate) const INVALID_CIDR: i32 = 4104;
    pub(crate) const INVALID_NETMASK: i32 = 4105;
    pub(crate) const INVALID_FAMILY: i32 = 4106;
    pub(crate) const INVALID_MARKMASK: i32 = 4113;
    pub(crate) const HASH_NULL: i32 = 4353;
}

/// Why the kernel, or the library in its place, did not do it.
pub(crate) fn explain(command: Command, kind: Option<Kind>, error: &Error) -> Failure {
    match error.errno() {
        Some(number) => refused(command, kind, number),
        None => Failure::refused(format!("Kernel error received: {}", error.cause())),
    }
}

/// What a number of the kernel means.
pub(crate) fn refused(command: Command, kind: Option<Kind>, number: i32) -> Failure {
    use Command::{Create, Del, Destroy, Rename, Swap};
    let text = match (number, command) {
        (2, _) => "The set with the given name does not exist",
        (17, Create) => "Set cannot be created: set with the same name already exists",
        (4097, _) => "Kernel error received: ipset protocol error",
        (4098, _) => "Kernel error received: set type not supported",
        (4099, _) => "Kernel error received: there are as many sets as there can be",
        (4100, _) => "Set cannot be destroyed: it is in use by a kernel component",
        (4101, Swap) => "Sets cannot be swapped: the second set does not exist",
        (4101, _) => "Set cannot be renamed: a set with the new name already exists",
        (4102, _) => "The sets cannot be swapped: their type does not match",
        (4103, Del) => "Element cannot be deleted from the set: it's not added",
        (4103, _) => "Element cannot be added to the set: it's already added",
        (4104, _) => "The value of the CIDR parameter of the IP address is invalid",
        (4105, _) => "The value of the netmask parameter is invalid",
        (4106, _) => "Protocol family not supported by the set type",
        (4107, _) => "Timeout cannot be used: set was created without timeout support",
        (4108, Rename | Destroy | Swap) => "Set cannot be renamed: it is in use by another system",
        (4109, _) => "An address of IPv4 is needed",
        (4110, _) => "An address of IPv6 is needed",
        (4111, _) => "Packet/byte counters cannot be used: set was created without counter support",
        (4112, _) => "Comment cannot be used: set was created without comment support",
        (4113, _) => "The value of the markmask parameter is invalid",
        (4114, _) => "Skbinfo mapping cannot be used: set was created without skbinfo support",
        (4115, _) => "Netmask and bitmask exclude each other",
        (4352.., _) => match (kind.map(Kind::method), number - 4352) {
            (Some(Method::Bitmap), 0) => "Element is out of the range of the set",
            (Some(Method::Bitmap), 1) => "The range you specified exceeds the size limit of the set type",
            (Some(Method::Hash), 0) => "Hash is full, cannot add more elements",
            (Some(Method::Hash), 1) => "Null-valued element, cannot be stored in a hash type of set",
            (Some(Method::Hash), 2) => "Invalid protocol specified",
            (Some(Method::Hash), 3) => "Protocol missing, but must be specified",
            (Some(Method::Hash), 4) => "Range is not supported in the address",
            (Some(Method::Hash), 5) => "Invalid range, covers the whole address space",
            (Some(Method::List), 0) => "Set to be added/deleted/tested as element does not exist.",
            (Some(Method::List), 1) => "Sets with list:set type cannot be added to the set.",
            (Some(Method::List), 2) => "No reference set specified.",
            (Some(Method::List), 3) => "The set to which you referred with 'before' or 'after' does not exist.",
            (Some(Method::List), 4) => "The set is full, more elements cannot be added.",
            (Some(Method::List), 5) => {
                "The set to which you referred with 'before' or 'after' is not added to the set."
            }
            _ => return kernel(number),
        },
        _ => return kernel(number),
    };
    Failure::refused(text)
}

/// What the C library says.
fn kernel(number: i32) -> Failure {
    let text = io::Error::from_raw_os_error(number).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    Failure::refused(format!("Kernel error received: {text}"))
}
