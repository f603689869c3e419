//! Errors of decoding.

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
