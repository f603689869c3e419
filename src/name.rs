//! Fixed-size kernel names: bytes, `Copy`, without allocation.

use std::borrow::Cow;
use std::fmt;

/// A name of at most `N` bytes, `N` below 256.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Name<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Name<N> {
    /// Returns a name that is known at compile time. It must not be longer than `N`.
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

    pub(crate) fn new(what: &'static str, name: &[u8]) -> Result<Self, InvalidName> {
        if name.is_empty() { Err(InvalidName::new(what, name, "is empty")) } else { Self::or_empty(what, name) }
    }

    /// Returns a name that may be empty.
    pub(crate) fn or_empty(what: &'static str, name: &[u8]) -> Result<Self, InvalidName> {
        if name.contains(&0) {
            return Err(InvalidName::new(what, name, "has a zero byte"));
        }
        let mut bytes = [0; N];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(name);
                Ok(Self { bytes, length })
            }
            _ => Err(InvalidName::new(what, name, format!("has {} bytes; the kernel allows {N}", name.len()))),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Returns the name as text, with U+FFFD for bytes that are not UTF-8.
    pub(crate) fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Returns its length, and its bytes followed by zero bytes.
    #[inline]
    pub(crate) fn padded(&self) -> (u8, &[u8; N]) {
        (self.length, &self.bytes)
    }
}

impl<const N: usize> fmt::Debug for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// A name or a comment that the kernel cannot hold.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the {what} \"{}\" {problem}", name.escape_ascii())]
pub struct InvalidName {
    what: &'static str,
    name: Vec<u8>,
    problem: Cow<'static, str>,
}

impl InvalidName {
    pub(crate) fn new(what: &'static str, name: &[u8], problem: impl Into<Cow<'static, str>>) -> Self {
        Self { what, name: name.to_vec(), problem: problem.into() }
    }
}

/// Declares a public type of a [`Name`], with the term `$what` in errors.
///
/// `$problem` returns the reason why only this type refuses a name.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident $length:expr, $what:literal, $problem:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $type($crate::name::Name<{ $length }>);

        impl $type {
            /// Returns the value with this name. A name is a sequence of bytes, and need not be UTF-8.
            ///
            /// # Errors
            /// When the name is empty, longer than the kernel allows, or has a byte that the kernel refuses.
            pub fn new(name: impl AsRef<[u8]>) -> Result<Self, $crate::name::InvalidName> {
                let name = name.as_ref();
                let problem: fn(&[u8]) -> Option<&'static str> = $problem;
                match problem(name) {
                    Some(problem) => Err($crate::name::InvalidName::new($what, name, problem)),
                    None => $crate::name::Name::new($what, name).map(Self),
                }
            }

            /// Returns the bytes of the name.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// Returns the name as text; `None` if it is not UTF-8.
            pub fn to_str(&self) -> Option<&str> {
                std::str::from_utf8(self.as_bytes()).ok()
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::name::InvalidName;
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::new(name)
            }
        }

        serde_text!($type);

        impl std::fmt::Display for $type {
            /// Bytes that are not UTF-8 are shown as U+FFFD.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0.lossy())
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:?})", stringify!($type), self.0)
            }
        }
    };
}
pub(crate) use named;

named! {
    /// The name of a network interface: at most 15 bytes, without slashes, colons and blanks, and neither `.` nor `..`
    /// (`dev_valid_name` in the kernel).
    ///
    /// Alternative names (`ip link property add dev DEV altname NAME`) may have any byte: see [`Interface::any`].
    Interface 15, "interface name", |name| match name {
        b"." | b".." => Some("is reserved by the kernel"),
        _ if name.iter().any(|byte| is_refused(*byte)) => Some("has a slash, a colon or a blank"),
        _ => None,
    }
}

impl Interface {
    /// Returns the interface with this name or alternative name, which can have any byte but zero.
    ///
    /// # Errors
    /// When the name is longer than 15 bytes, or has a zero byte.
    pub fn any(name: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
        Name::or_empty("interface name", name.as_ref()).map(Self)
    }
}

/// The kernel's `isspace` includes the no-break space of Latin-1.
fn is_refused(byte: u8) -> bool {
    matches!(byte, b'/' | b':' | b'\t'..=b'\r' | b' ' | 0xa0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_up_to_the_length_are_held_and_others_refused() {
        assert_eq!(Name::<3>::new("name", b"wrr").unwrap().as_bytes(), b"wrr");
        assert_eq!(Name::<3>::literal("rr"), Name::new("name", b"rr").unwrap());
        for (name, problem) in
            [("wlcx", "has 4 bytes; the kernel allows 3"), ("", "is empty"), ("r\0", "has a zero byte")]
        {
            assert_eq!(Name::<3>::new("name", name.as_bytes()).unwrap_err().problem, problem);
        }
        let error = Interface::new(b"caf\xe9 au lait tiede").unwrap_err().to_string();
        assert_eq!(error, r#"the interface name "caf\xe9 au lait tiede" has a slash, a colon or a blank"#);
        let error = Interface::any(b"caf\xe9 au lait tiede").unwrap_err().to_string();
        assert_eq!(error, r#"the interface name "caf\xe9 au lait tiede" has 18 bytes; the kernel allows 15"#);
    }

    #[test]
    fn names_are_bytes_and_shown_as_text() {
        let name = Interface::new(b"caf\xe9").unwrap();
        assert_eq!((name.as_bytes(), name.to_str()), (&b"caf\xe9"[..], None));
        assert_eq!(
            (name.to_string().as_str(), format!("{name:?}").as_str()),
            ("caf\u{fffd}", r#"Interface("caf\xe9")"#)
        );
        assert_ne!(name, Interface::new(b"caf\xe8").unwrap());
        assert_eq!("caf\u{e9}".parse::<Interface>().unwrap().to_str(), Some("caf\u{e9}"));
        for name in [&b"a/b"[..], b"a:b", b"a b", b"a\x0bb", b"a\xa0b", b".", b"..", b"", b"0123456789abcdef"] {
            assert!(Interface::new(name).is_err(), "{name:?}");
        }
    }
}
