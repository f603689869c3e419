//! Reading attributes: borrowed, checked, skipping what is not known.

use std::marker::PhantomData;

use super::{Kind, padding};
use crate::error::DecodeError;

/// The length of an attribute's own header.
const HEADER: usize = 4;
/// The bits of an attribute's number that are not flags (`NLA_TYPE_MASK`).
const NUMBER: u16 = 0x3fff;

/// The attributes of a list, in their order. Those the list does not know (from a newer kernel) are skipped.
///
/// After an error the iterator is at its end.
#[derive(Clone, Debug)]
pub(crate) struct Attrs<'a, K> {
    rest: &'a [u8],
    kind: PhantomData<K>,
}

impl<'a, K: Kind> Attrs<'a, K> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, kind: PhantomData }
    }

    /// The next attribute, known or not, as its number and payload.
    #[inline]
    fn split(&mut self) -> Result<(u16, &'a [u8]), DecodeError> {
        let framing = |rest: &[u8]| DecodeError::Framing { list: K::LIST, left: rest.len() };
        let (Some(length), Some(number)) =
            (self.rest.first_chunk::<2>(), self.rest.get(2..HEADER).and_then(<[u8]>::first_chunk::<2>))
        else {
            return Err(framing(self.rest));
        };
        let length = usize::from(u16::from_ne_bytes(*length));
        let Some(payload) = self.rest.get(HEADER..length) else {
            return Err(framing(self.rest));
        };
        let end = length + padding(length);
        self.rest = self.rest.get(end..).unwrap_or_default();
        Ok((u16::from_ne_bytes(*number) & NUMBER, payload))
    }
}

impl<'a, K: Kind> Attrs<'a, K> {
    /// Takes all attributes: as iterating, in half the instructions.
    #[inline]
    pub(crate) fn each(
        mut self,
        mut take: impl FnMut(Attr<'a, K>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        while !self.rest.is_empty() {
            let (number, payload) = self.split()?;
            if let Some(kind) = K::from_number(number) {
                take(Attr { kind, payload })?;
            }
        }
        Ok(())
    }
}

impl<'a, K: Kind> Iterator for Attrs<'a, K> {
    type Item = Result<Attr<'a, K>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.split() {
                Ok((number, payload)) => {
                    if let Some(kind) = K::from_number(number) {
                        return Some(Ok(Attr { kind, payload }));
                    }
                }
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// One attribute. Its getters say the width and the byte order in their name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attr<'a, K> {
    pub(crate) kind: K,
    payload: &'a [u8],
}

impl<'a, K: Kind> Attr<'a, K> {
    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.payload
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.payload.try_into().map_err(|_| self.wrong_length(N))
    }

    #[inline]
    pub(crate) fn u8(&self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_ne_bytes)
    }

    #[inline]
    pub(crate) fn u16_ne(&self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_ne_bytes)
    }

    #[inline]
    pub(crate) fn u16_be(&self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32_ne(&self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_ne_bytes)
    }

    #[inline]
    pub(crate) fn u32_be(&self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64_be(&self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64_ne(&self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_ne_bytes)
    }

    /// Text up to the zero byte that must end it.
    pub(crate) fn text(&self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.text_bytes()?).map_err(|_| self.wrong_text())
    }

    /// Text that need not be UTF-8, without its zero byte.
    pub(crate) fn text_bytes(&self) -> Result<&'a [u8], DecodeError> {
        let text = std::ffi::CStr::from_bytes_until_nul(self.payload).map_err(|_| self.wrong_text())?;
        Ok(text.to_bytes())
    }

    /// The attributes inside this one.
    pub(crate) fn nested<Inner: Kind>(&self) -> Attrs<'a, Inner> {
        Attrs::new(self.payload)
    }

    /// The error for a payload that should have been `wanted` bytes long.
    pub(crate) fn wrong_length(&self, wanted: usize) -> DecodeError {
        DecodeError::Length { attribute: self.kind.name(), wanted, got: self.payload.len() }
    }

    /// The error for text that this attribute cannot hold.
    pub(crate) fn wrong_text(&self) -> DecodeError {
        DecodeError::Text { attribute: self.kind.name() }
    }

    /// The error for a number that this attribute cannot hold.
    pub(crate) fn wrong_value(&self, value: impl Into<u64>) -> DecodeError {
        DecodeError::Value { attribute: self.kind.name(), value: value.into() }
    }
}

/// The value, or the error that says which attribute is missing.
pub(crate) fn required<T, K: Kind>(value: Option<T>, kind: K) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Missing { attribute: kind.name() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kinds;

    kinds! { Test "TEST" { One = 1 "TEST_ONE", Two = 2 "TEST_TWO", } }

    fn read(bytes: &[u8]) -> Vec<Result<(Test, Vec<u8>), DecodeError>> {
        Attrs::<Test>::new(bytes).map(|attr| attr.map(|attr| (attr.kind, attr.bytes().to_vec()))).collect()
    }

    fn attr(length: u16, number: u16, payload: &[u8]) -> Vec<u8> {
        [&length.to_ne_bytes(), &number.to_ne_bytes(), payload].concat()
    }

    #[test]
    fn an_empty_list_has_no_attributes() {
        assert_eq!(read(&[]), []);
    }

    #[test]
    fn the_last_attribute_may_lack_its_padding() {
        let bytes = [attr(5, 1, &[7, 0, 0, 0]), attr(6, 2, &[8, 9])].concat();
        assert_eq!(read(&bytes), [Ok((Test::One, vec![7])), Ok((Test::Two, vec![8, 9]))]);
    }

    #[test]
    fn unknown_attributes_are_skipped_and_flags_ignored() {
        let bytes = [attr(8, 99, &[1; 4]), attr(8, 0x8000 | 1, &[2; 4]), attr(4, 0, &[])].concat();
        assert_eq!(read(&bytes), [Ok((Test::One, vec![2; 4]))]);
    }

    #[test]
    fn a_repeated_attribute_comes_twice() {
        let bytes = [attr(4, 1, &[]), attr(4, 1, &[])].concat();
        assert_eq!(read(&bytes).len(), 2);
    }

    #[test]
    fn a_broken_length_is_an_error_that_names_the_list_and_ends_it() {
        for bytes in [
            attr(0, 1, &[]),
            attr(3, 1, &[]),
            attr(9, 1, &[0; 4]),
            attr(u16::MAX, 1, &[0; 4]),
            vec![1],
            vec![4, 0, 1],
            [attr(5, 1, &[7, 0, 0, 0]), vec![0, 0]].concat(),
        ] {
            let got = read(&bytes);
            let last = got.last().unwrap();
            assert!(matches!(last, Err(DecodeError::Framing { list: "TEST", .. })), "{bytes:?}: {got:?}");
        }
    }

    #[test]
    fn getters_refuse_every_other_length() {
        for length in 0..20usize {
            let attr = Attr { kind: Test::One, payload: &[1; 20][..length] };
            assert_eq!(attr.u8().is_ok(), length == 1);
            assert_eq!(attr.u16_ne().is_ok(), length == 2);
            assert_eq!(attr.u16_be().is_ok(), length == 2);
            assert_eq!(attr.u32_ne().is_ok(), length == 4);
            assert_eq!(attr.u32_be().is_ok(), length == 4);
            assert_eq!(attr.u64_ne().is_ok(), length == 8);
            assert_eq!(attr.u64_be().is_ok(), length == 8);
            assert_eq!(attr.array::<16>().is_ok(), length == 16);
        }
        let short = Attr { kind: Test::Two, payload: &[1] }.u32_ne().unwrap_err();
        assert_eq!(short.to_string(), "TEST_TWO: wanted 4 bytes, got 1");
    }

    #[test]
    fn text_needs_its_zero_byte() {
        let text = |payload| Attr { kind: Test::One, payload }.text().ok();
        assert_eq!(text(b"rr\0"), Some("rr"));
        assert_eq!(text(b"rr\0\0x"), Some("rr"));
        assert_eq!(text(b"\0"), Some(""));
        assert_eq!(text(b"rr"), None);
        assert_eq!(text(b""), None);
        assert_eq!(text(b"\xff\0"), None);
    }
}
