//! Writing attributes into one reused buffer.

use super::{Kind, padding};

/// What an attribute's number says of its payload: attributes, or a number in network byte order.
const NESTED: u16 = 1 << 15;
const NET_BYTEORDER: u16 = 1 << 14;

/// The length of an attribute's own header.
const HEADER: usize = 4;
/// The longest payload of a length that is known when this crate is compiled: an IPv6 address.
const LONGEST_FIXED: usize = 16;

/// Names are shorter, with the zero byte that ends them.
const SHORT_TEXT: usize = 32;

/// Fills a buffer up to where the next message or attribute may start.
#[inline]
pub(crate) fn pad(out: &mut Vec<u8>, length: usize) {
    match padding(length) {
        // What is made of whole attributes.
        0 => {}
        1 => out.push(0),
        2 => out.extend_from_slice(&[0; 2]),
        _ => out.extend_from_slice(&[0; 3]),
    }
}

/// Appends attributes to a buffer.
///
/// An attribute that does not fit in its 16-bit length is remembered, not cut: see [`Writer::finish`].
pub(crate) struct Writer<'b> {
    out: &'b mut Vec<u8>,
    too_long: Option<&'static str>,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(out: &'b mut Vec<u8>) -> Self {
        Self { out, too_long: None }
    }

    /// Raw bytes that are not an attribute: a protocol's own header.
    #[inline]
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    #[cfg(test)]
    pub(crate) fn bytes<K: Kind>(&mut self, kind: K, payload: &[u8]) {
        self.attribute(kind, 0, |inner| inner.raw(payload));
    }

    #[inline]
    pub(crate) fn u8(&mut self, kind: impl Kind, value: u8) {
        self.array(kind, &[value]);
    }

    #[inline]
    pub(crate) fn u16_ne(&mut self, kind: impl Kind, value: u16) {
        self.array(kind, &value.to_ne_bytes());
    }

    #[inline]
    pub(crate) fn u16_be(&mut self, kind: impl Kind, value: u16) {
        self.array(kind, &value.to_be_bytes());
    }

    #[inline]
    pub(crate) fn u32_ne(&mut self, kind: impl Kind, value: u32) {
        self.array(kind, &value.to_ne_bytes());
    }

    #[inline]
    pub(crate) fn u64_ne(&mut self, kind: impl Kind, value: u64) {
        self.array(kind, &value.to_ne_bytes());
    }

    /// In network byte order, and marked so (`NLA_F_NET_BYTEORDER`).
    #[inline]
    pub(crate) fn u16_net(&mut self, kind: impl Kind, value: u16) {
        self.array_net(kind, &value.to_be_bytes());
    }

    /// As [`Writer::u16_net`].
    #[inline]
    pub(crate) fn u32_net(&mut self, kind: impl Kind, value: u32) {
        self.array_net(kind, &value.to_be_bytes());
    }

    /// As [`Writer::u16_net`].
    #[inline]
    pub(crate) fn u64_net(&mut self, kind: impl Kind, value: u64) {
        self.array_net(kind, &value.to_be_bytes());
    }

    /// Bytes whose number is known when this crate is compiled.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, kind: impl Kind, payload: &[u8; N]) {
        self.fixed(kind.number(), payload);
    }

    /// Likewise, in network byte order, and marked so.
    #[inline]
    pub(crate) fn array_net<const N: usize>(&mut self, kind: impl Kind, payload: &[u8; N]) {
        self.fixed(kind.number() | NET_BYTEORDER, payload);
    }

    /// Such bytes as the only attribute inside of another one, which says so.
    #[inline]
    pub(crate) fn nested_array_net<const N: usize>(&mut self, outer: impl Kind, inner: impl Kind, payload: &[u8; N]) {
        let [n0, n1] = (outer.number() | NESTED).to_ne_bytes();
        #[expect(clippy::cast_possible_truncation, reason = "at most LONGEST_FIXED")]
        let [l0, l1] = const { ((2 * HEADER + N + padding(N)) as u16).to_ne_bytes() };
        self.raw(&[l0, l1, n0, n1]);
        self.array_net(inner, payload);
    }

    /// Text and the zero byte that ends it.
    #[inline]
    pub(crate) fn text(&mut self, kind: impl Kind, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let mut attribute = [0; HEADER + SHORT_TEXT];
        let length = HEADER + text.len() + 1;
        match (attribute.get_mut(HEADER..length - 1), u16::try_from(length)) {
            // In one piece: most are short.
            (Some(room), Ok(number)) if length < HEADER + SHORT_TEXT => {
                room.copy_from_slice(text);
                let ([l0, l1], [n0, n1]) = (number.to_ne_bytes(), kind.number().to_ne_bytes());
                if let Some(header) = attribute.first_chunk_mut() {
                    *header = [l0, l1, n0, n1];
                }
                self.raw(attribute.get(..length + padding(length)).unwrap_or_default());
            }
            _ => self.attribute(kind, 0, |inner| {
                inner.raw(text);
                inner.raw(&[0]);
            }),
        }
    }

    /// An attribute that holds what `fill` writes.
    #[inline]
    pub(crate) fn nest(&mut self, kind: impl Kind, fill: impl FnOnce(&mut Self)) {
        self.attribute(kind, 0, fill);
    }

    /// An attribute that holds the attributes which `fill` writes, and says so (`NLA_F_NESTED`).
    #[inline]
    pub(crate) fn marked_nest(&mut self, kind: impl Kind, fill: impl FnOnce(&mut Self)) {
        self.attribute(kind, NESTED, fill);
    }

    /// How many bytes are in the buffer.
    pub(crate) fn length(&self) -> usize {
        self.out.len()
    }

    /// Header, payload and padding in one piece of a length that the compiler knows: a dozen instructions, where one
    /// step for each takes ten times as many.
    #[inline]
    fn fixed<const N: usize>(&mut self, number: u16, payload: &[u8; N]) {
        const { assert!(N <= LONGEST_FIXED) };
        let mut attribute = [0; HEADER + LONGEST_FIXED];
        let [n0, n1] = number.to_ne_bytes();
        #[expect(clippy::cast_possible_truncation, reason = "at most LONGEST_FIXED")]
        let [l0, l1] = const { ((HEADER + N) as u16).to_ne_bytes() };
        if let Some((header, rest)) = attribute.split_first_chunk_mut::<HEADER>() {
            *header = [l0, l1, n0, n1];
            if let Some(room) = rest.first_chunk_mut::<N>() {
                *room = *payload;
            }
        }
        self.raw(attribute.get(..HEADER + N + padding(N)).unwrap_or_default());
    }

    #[inline]
    fn attribute<K: Kind>(&mut self, kind: K, mark: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        let [n0, n1] = (kind.number() | mark).to_ne_bytes();
        self.raw(&[0, 0, n0, n1]);
        fill(self);
        let length = self.out.len() - start;
        match (u16::try_from(length), self.out.get_mut(start..start + 2)) {
            (Ok(length), Some(field)) => field.copy_from_slice(&length.to_ne_bytes()),
            _ => self.too_long = self.too_long.or(Some(kind.name())),
        }
        pad(self.out, length);
    }

    /// The name of the first attribute that was too long, if one was: then what was written must not be sent.
    pub(crate) fn finish(self) -> Option<&'static str> {
        self.too_long
    }
}

/// What `fill` writes, for tests.
#[cfg(any(test, fuzzing))]
pub(crate) fn written(fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    fill(&mut writer);
    assert_eq!(writer.finish(), None);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Attrs, kinds};

    kinds! { Test "TEST" { One = 1 "TEST_ONE", Two = 2 "TEST_TWO", } }

    #[test]
    fn lengths_exclude_the_padding() {
        let bytes = written(|w| w.u8(Test::One, 7));
        assert_eq!(bytes, [&5u16.to_ne_bytes()[..], &1u16.to_ne_bytes(), &[7, 0, 0, 0]].concat());
    }

    #[test]
    fn byte_orders_are_what_the_names_say() {
        let bytes = written(|w| {
            w.u16_be(Test::One, 0x0102);
            w.u32_ne(Test::Two, 0x0102_0304);
        });
        let payloads: Vec<_> = Attrs::<Test>::new(&bytes).map(|attr| attr.unwrap().bytes().to_vec()).collect();
        assert_eq!(payloads, [vec![1, 2], 0x0102_0304u32.to_ne_bytes().to_vec()]);
    }

    #[test]
    fn nests_read_back() {
        let bytes = written(|w| {
            w.nest(Test::Two, |w| {
                w.text(Test::One, "wrr");
                w.u16_ne(Test::Two, 258);
            });
        });
        let outer = Attrs::<Test>::new(&bytes).next().unwrap().unwrap();
        let inner: Vec<_> = outer.nested::<Test>().map(Result::unwrap).collect();
        assert_eq!(inner[0].text(), Ok("wrr"));
        assert_eq!(inner[1].u16_ne(), Ok(258));
    }

    #[test]
    fn marks_are_in_the_number() {
        let bytes = written(|w| w.marked_nest(Test::One, |w| w.u16_net(Test::Two, 0x0102)));
        assert_eq!(bytes[2..4], 0x8001u16.to_ne_bytes());
        assert_eq!(bytes[6..8], 0x4002u16.to_ne_bytes());
        assert_eq!(bytes[8..10], [1, 2]);
    }

    #[test]
    fn an_attribute_over_16_bits_is_reported_not_cut() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.bytes(Test::One, &[0; 65_531]);
        assert_eq!(writer.too_long, None);
        writer.bytes(Test::Two, &[0; 65_532]);
        writer.bytes(Test::One, &[0; 65_532]);
        assert_eq!(writer.finish(), Some("TEST_TWO"));
    }
}
