//! Bytes to attributes and back, as every netlink protocol uses them.
//!
//! Nothing here knows a socket or a kernel subsystem. The rules, from `netlink(7)` and the kernel's `netlink.h`:
//!
//! - A message is a 16-byte header and a body; an attribute a 4-byte header and a payload. Both start on 4-byte
//!   boundaries, and their length excludes the padding after them, which the last one may lack.
//! - Numbers are in the machine's byte order unless a method says `be`.
//! - Attributes nest; the two top bits of an attribute's number are flags.
//! - An attribute's length has 16 bits, a message's 32.
//!
//! Each list of attributes is an `enum` made by `kinds!`. Reading is a `match` that the compiler keeps complete.
//! Writing cannot name an attribute of another list, and errors have the kernel's own name of the attribute.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod genl;
pub(crate) mod message;
pub(crate) mod nfnetlink;
pub(crate) mod reader;
pub(crate) mod writer;

pub(crate) use reader::{Attr, Attrs, ByNumber, Laid, Layout, Table};
pub(crate) use writer::Writer;

/// An attribute number of one list, with the kernel's name for it.
pub(crate) trait Kind: Copy + 'static {
    /// The kernel's name of the list, for errors about the list itself.
    const LIST: &'static str;
    /// Length of a [`Table`] of its attributes.
    const TABLE: usize;
    /// The attribute with this number, if this list has it.
    fn from_number(number: u16) -> Option<Self>;
    /// Its number.
    fn number(self) -> u16;
    /// The kernel's name for it.
    fn name(self) -> &'static str;
}

/// Declares the attributes of one list: `kinds! { List "KERNEL_LIST" { Variant = 1 "KERNEL_NAME", ... } }`.
macro_rules! kinds {
    ($(#[$doc:meta])* $list:ident $list_name:literal { $($variant:ident = $number:literal $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum $list { $($variant = $number,)+ }

        impl $crate::wire::Kind for $list {
            const LIST: &'static str = $list_name;
            const TABLE: usize = {
                let mut largest = 0;
                $(if $number > largest { largest = $number; })+
                largest + 1
            };
            fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }
            fn number(self) -> u16 {
                self as u16
            }
            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}
pub(crate) use kinds;

/// Messages and attributes start on multiples of this.
const ALIGNMENT: usize = 4;

/// Number of bytes of padding after `length` bytes.
const fn padding(length: usize) -> usize {
    length.wrapping_neg() % ALIGNMENT
}
