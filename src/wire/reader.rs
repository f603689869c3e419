//! Reader of attributes: borrowed, checked, skipping unknown ones.

use std::marker::PhantomData;
use std::ops::Range;

use super::writer::{NESTED, NET_BYTEORDER};
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
    bytes: &'a [u8],
    /// Start of the next one: behind the end, if the last one lacks its padding.
    next: usize,
    kind: PhantomData<K>,
}

impl<'a, K: Kind> Attrs<'a, K> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, next: 0, kind: PhantomData }
    }

    /// The next attribute, known or not, as its number (with its flags) and payload.
    #[inline]
    fn split(&mut self) -> Result<(u16, &'a [u8]), DecodeError> {
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        let framing = || DecodeError::Framing { list: K::LIST, left: rest.len() };
        let (Some(length), Some(number)) =
            (rest.first_chunk::<2>(), rest.get(2..HEADER).and_then(<[u8]>::first_chunk::<2>))
        else {
            return Err(framing());
        };
        let length = usize::from(u16::from_ne_bytes(*length));
        let Some(payload) = rest.get(HEADER..length) else {
            return Err(framing());
        };
        self.next += length + padding(length);
        Ok((u16::from_ne_bytes(*number), payload))
    }

    /// Returns the attributes inside of `kind`, if it is the only attribute and has no flags. It is faster than an
    /// iteration, for the bar of listings.
    #[inline]
    pub(crate) fn only<Inner: Kind>(&self, kind: K) -> Option<Attrs<'a, Inner>> {
        let (&[l0, l1, n0, n1], payload) = self.bytes.split_first_chunk::<HEADER>()?;
        let is_only = usize::from(u16::from_ne_bytes([l0, l1])) == self.bytes.len();
        (is_only && u16::from_ne_bytes([n0, n1]) == kind.number()).then(|| Attrs::new(payload))
    }

    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        self.next >= self.bytes.len()
    }

    /// Returns the range of the bytes behind those taken so far.
    #[inline]
    pub(crate) fn rest(&self) -> Range<usize> {
        self.next.min(self.bytes.len())..self.bytes.len()
    }

    /// Returns the range of the payload of `attr`, which must be the attribute taken last.
    pub(crate) fn range_of(&self, attr: &Attr<'a, K>) -> Range<usize> {
        let length = attr.payload.len();
        let end = self.next.saturating_sub(padding(length));
        end.saturating_sub(length)..end
    }

    /// Takes the payload of the next attribute if it has this number, no flags, and this length. Takes nothing otherwise. Serves
    /// the bar of listed members, as the next two do.
    #[inline]
    pub(crate) fn usual<const N: usize>(&mut self, kind: K) -> Option<[u8; N]> {
        self.usual_headed(header_of(kind.number(), N))
    }

    /// As [`Attrs::usual`], marked as in network byte order.
    #[inline]
    pub(crate) fn usual_net<const N: usize>(&mut self, kind: K) -> Option<[u8; N]> {
        self.usual_headed(header_of(kind.number() | NET_BYTEORDER, N))
    }

    /// As [`Attrs::usual`], alone in an attribute that is marked as nested.
    #[inline]
    pub(crate) fn usual_nested<const N: usize>(&mut self, outer: K, inner: impl Kind) -> Option<[u8; N]> {
        let start = self.next;
        let (header, _) = self.bytes.get(start..)?.split_first_chunk::<HEADER>()?;
        if u32::from_ne_bytes(*header) != header_of(outer.number() | NESTED, HEADER + N) {
            return None;
        }
        self.next = start + HEADER;
        let payload = self.usual_headed(header_of(inner.number(), N));
        if payload.is_none() {
            self.next = start;
        }
        payload
    }

    #[inline]
    fn usual_headed<const N: usize>(&mut self, wanted: u32) -> Option<[u8; N]> {
        let (header, rest) = self.bytes.get(self.next..)?.split_first_chunk::<HEADER>()?;
        let payload = rest.first_chunk::<N>()?;
        (u32::from_ne_bytes(*header) == wanted).then(|| {
            self.next += HEADER + N + padding(N);
            *payload
        })
    }
}

/// The attributes of a list by their number, up to `N`; the last of a repeated one. It is faster than an iteration, for
/// the bar of listings.
#[derive(Clone, Debug)]
pub(crate) struct Table<'a, K, const N: usize> {
    payloads: [Option<&'a [u8]>; N],
    kind: PhantomData<K>,
}

impl<'a, K: Kind, const N: usize> Table<'a, K, N> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { payloads: [None; N], kind: PhantomData }
    }

    /// Returns the attributes of one list.
    pub(crate) fn of(attrs: Attrs<'a, K>) -> Result<Self, DecodeError> {
        let mut table = Self::new();
        table.fill(attrs)?;
        Ok(table)
    }

    /// Takes all attributes of a list.
    #[inline]
    pub(crate) fn fill(&mut self, mut attrs: Attrs<'a, K>) -> Result<(), DecodeError> {
        while !attrs.is_at_end() {
            let (number, payload) = attrs.split()?;
            match self.payloads.get_mut(usize::from(number)) {
                Some(place) => *place = Some(payload),
                // Unknown, or with flags.
                None => {
                    if let Some(place) = self.payloads.get_mut(usize::from(number & NUMBER)) {
                        *place = Some(payload);
                    }
                }
            }
        }
        Ok(())
    }
}

impl<'a, K: Kind, const N: usize> ByNumber<'a, K> for Table<'a, K, N> {
    #[inline]
    fn get(&self, kind: K) -> Option<Attr<'a, K>> {
        let payload = self.payloads.get(usize::from(kind.number())).copied().flatten()?;
        Some(Attr { kind, payload })
    }
}

/// The places of `U` attributes that the kernel always sends in this order and with these lengths, `LENGTH` bytes in all.
/// `N` is the length of a [`Table`] of them. It is faster than a table, for the bar of listings.
#[derive(Debug)]
pub(crate) struct Layout<const U: usize, const N: usize, const LENGTH: usize> {
    /// Place and value of each header.
    headers: [(usize, u32); U],
    /// Place and length of the payloads by number, with the length 0 for none.
    payloads: [(usize, usize); N],
}

impl<const U: usize, const N: usize, const LENGTH: usize> Layout<U, N, LENGTH> {
    /// Returns the layout of attributes with these numbers and lengths of payload, which has `LENGTH` bytes.
    #[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
    pub(crate) const fn new(attributes: &[(u16, usize); U]) -> Self {
        let mut layout = Self { headers: [(0, 0); U], payloads: [(0, 0); N] };
        let (mut at, mut next) = (0, 0);
        while at < U {
            let (number, length) = attributes[at];
            layout.headers[at] = (next, header_of(number, length));
            layout.payloads[number as usize] = (next + HEADER, length);
            next += HEADER + length + padding(length);
            at += 1;
        }
        assert!(next == LENGTH, "the attributes have another length");
        layout
    }

    /// Returns the attributes of a list that has this layout.
    #[inline(always)]
    pub(crate) fn of<'a, K: Kind>(&'static self, attrs: &Attrs<'a, K>) -> Option<Laid<'a, N, LENGTH>> {
        self.read(attrs.bytes.try_into().ok()?)
    }

    /// Returns the attributes of a list that begins with this layout, and those behind.
    #[inline(always)]
    pub(crate) fn first_of<'a, K: Kind>(
        &'static self,
        attrs: &Attrs<'a, K>,
    ) -> Option<(Laid<'a, N, LENGTH>, Attrs<'a, K>)> {
        let (first, rest) = attrs.bytes.split_first_chunk()?;
        Some((self.read(first)?, Attrs::new(rest)))
    }

    /// Returns the attributes of a list that ends with this layout, and those before: if they can be read, none of them
    /// extends into the layout.
    #[inline(always)]
    pub(crate) fn last_of<'a, K: Kind>(
        &'static self,
        attrs: &Attrs<'a, K>,
    ) -> Option<(Attrs<'a, K>, Laid<'a, N, LENGTH>)> {
        let (rest, last) = attrs.bytes.split_last_chunk()?;
        Some((Attrs::new(rest), self.read(last)?))
    }

    #[inline(always)]
    fn read<'a>(&'static self, bytes: &'a [u8; LENGTH]) -> Option<Laid<'a, N, LENGTH>> {
        for &(place, wanted) in &self.headers {
            if u32::from_ne_bytes(*bytes.get(place..)?.first_chunk()?) != wanted {
                return None;
            }
        }
        Some(Laid { bytes, payloads: &self.payloads })
    }
}

/// The attributes of a list that has a [`Layout`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Laid<'a, const N: usize, const LENGTH: usize> {
    bytes: &'a [u8; LENGTH],
    payloads: &'static [(usize, usize); N],
}

impl<'a, K: Kind, const N: usize, const LENGTH: usize> ByNumber<'a, K> for Laid<'a, N, LENGTH> {
    #[inline(always)]
    fn get(&self, kind: K) -> Option<Attr<'a, K>> {
        let &(place, length) = self.payloads.get(usize::from(kind.number()))?;
        let payload = self.bytes.get(place..place + length)?;
        (length > 0).then_some(Attr { kind, payload })
    }
}

/// The attributes of a list by their number.
pub(crate) trait ByNumber<'a, K: Kind> {
    fn get(&self, kind: K) -> Option<Attr<'a, K>>;

    /// Reads an optional attribute.
    #[inline]
    fn read<T>(
        &self,
        kind: K,
        read: impl FnOnce(&Attr<'a, K>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        self.get(kind).map(|attr| read(&attr)).transpose()
    }

    /// A mandatory attribute.
    #[inline]
    fn need(&self, kind: K) -> Result<Attr<'a, K>, DecodeError> {
        required(self.get(kind), kind)
    }
}

impl<'a, K: Kind> Iterator for Attrs<'a, K> {
    type Item = Result<Attr<'a, K>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_at_end() {
            match self.split() {
                Ok((number, payload)) => {
                    if let Some(kind) = K::from_number(number & NUMBER) {
                        return Some(Ok(Attr { kind, payload }));
                    }
                }
                Err(error) => {
                    self.next = self.bytes.len();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// The header of an attribute with this number and its flags, whose payload has so many bytes.
#[inline]
const fn header_of(number: u16, payload: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "an address is the longest")]
    let ([l0, l1], [n0, n1]) = (((HEADER + payload) as u16).to_ne_bytes(), number.to_ne_bytes());
    u32::from_ne_bytes([l0, l1, n0, n1])
}

/// One attribute. The names of its getters have the width and the byte order.
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

/// The value, or the error that names the missing attribute.
#[inline]
pub(crate) fn required<T, K: Kind>(value: Option<T>, kind: K) -> Result<T, DecodeError> {
    value.ok_or_else(|| DecodeError::Missing { attribute: kind.name() })
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
    fn a_repeated_attribute_is_returned_twice() {
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
