//! Names of the kernel's things, held in place: what has them is copied, never allocated.

use std::fmt;

/// A name of at most `N` bytes, `N` below 256.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Name<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Name<N> {
    /// For names that are known when this crate is compiled; must not be longer than `N`.
    pub(crate) const fn literal(text: &'static str) -> Self {
        assert!(text.len() <= N && N < 256);
        let mut bytes = [0; N];
        let mut rest = text.as_bytes();
        let mut i = 0;
        while let [first, tail @ ..] = rest {
            #[expect(clippy::indexing_slicing, reason = "i counts the bytes of text, at most N")]
            {
                bytes[i] = *first;
            }
            rest = tail;
            i += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most N, which is below 256")]
        let length = text.len() as u8;
        Self { bytes, length }
    }

    pub(crate) fn new(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() { Err(InvalidName::new(text, "is empty")) } else { Self::or_empty(text) }
    }

    /// For the kernel's things that need not have a name.
    pub(crate) fn or_empty(text: &str) -> Result<Self, InvalidName> {
        let invalid = |problem| InvalidName::new(text, problem);
        if text.contains('\0') {
            return Err(invalid("has a zero byte"));
        }
        let mut bytes = [0; N];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(text.as_bytes());
                Ok(Self { bytes, length })
            }
            _ => Err(invalid("is too long")),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// For writing: its length, and its bytes with zero bytes behind them.
    #[inline]
    pub(crate) fn padded(&self) -> (u8, &[u8; N]) {
        (self.length, &self.bytes)
    }
}

impl<const N: usize> fmt::Debug for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A name that the kernel cannot hold.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the name {name:?} {problem}")]
pub struct InvalidName {
    name: String,
    problem: &'static str,
}

impl InvalidName {
    pub(crate) fn new(name: &str, problem: &'static str) -> Self {
        Self { name: name.to_owned(), problem }
    }
}

/// Makes a public type of a [`Name`].
///
/// `check` refuses what only this type of name cannot be.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident $length:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $type($crate::name::Name<{ $length }>);

        impl $type {
            /// The one with this name.
            ///
            /// # Errors
            /// When the name is empty, longer than the kernel takes, or has something in it that the kernel refuses.
            pub fn new(name: &str) -> Result<Self, $crate::name::InvalidName> {
                $crate::name::Name::new(name).and_then($check).map(Self)
            }

            /// Its name.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::name::InvalidName;
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::new(name)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:?})", stringify!($type), self.as_str())
            }
        }
    };
}
pub(crate) use named;

named! {
    /// The name of a network interface: at most 15 bytes, without slashes, colons and blanks, and neither `.` nor `..`
    /// (`dev_valid_name` in the kernel).
    Interface 15, |name: Name<15>| match name.as_str() {
        text @ ("." | "..") => Err(InvalidName::new(text, "cannot be an interface's")),
        text if text.contains(|c: char| matches!(c, '/' | ':' | '\x0b') || c.is_ascii_whitespace()) => {
            Err(InvalidName::new(text, "has a slash, a colon or a blank"))
        }
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_up_to_the_length_are_held_and_others_refused() {
        assert_eq!(Name::<3>::new("wrr").unwrap().as_str(), "wrr");
        assert_eq!(Name::<3>::literal("rr"), Name::new("rr").unwrap());
        for (name, problem) in [("wlcx", "is too long"), ("", "is empty"), ("r\0", "has a zero byte")] {
            assert_eq!(Name::<3>::new(name).unwrap_err().problem, problem);
        }
    }
}
