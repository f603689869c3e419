//! Writing attributes into one reused buffer.

use super::{Kind, padding};

/// Flags in an attribute's number about its payload: attributes, or a number in network byte order.
pub(super) const NESTED: u16 = 1 << 15;
pub(super) const NET_BYTEORDER: u16 = 1 << 14;

/// The length of an attribute's own header.
const HEADER: usize = 4;
/// The longest payload of a length that is known at compile time: an IPv6 address.
const LONGEST_FIXED: usize = 16;

/// Capacity of [`Writer::together`] in bytes.
const MOST_TOGETHER: usize = 64;

/// Fills a buffer up to where the next message or attribute may start.
#[inline]
pub(crate) fn pad(out: &mut Vec<u8>, length: usize) {
    // Whole attributes need no padding.
    if padding(length) != 0 {
        out.resize(out.len() + padding(length), 0);
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

    /// Bytes whose number is known at compile time.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, kind: impl Kind, payload: &[u8; N]) {
        self.fixed(kind.number(), payload);
    }

    /// Likewise, in network byte order, and marked so.
    #[inline]
    pub(crate) fn array_net<const N: usize>(&mut self, kind: impl Kind, payload: &[u8; N]) {
        self.fixed(kind.number() | NET_BYTEORDER, payload);
    }

    /// Several attributes of lengths that the compiler knows, in one piece.
    #[inline]
    pub(crate) fn together(&mut self, fill: impl FnOnce(&mut Together)) {
        let mut together = Together { bytes: [0; MOST_TOGETHER], length: 0 };
        fill(&mut together);
        self.raw(together.bytes.get(..together.length).unwrap_or_default());
    }

    /// Writes such bytes as the only attribute inside of another one, which is marked as nested.
    #[inline]
    pub(crate) fn nested_array_net<const N: usize>(&mut self, outer: impl Kind, inner: impl Kind, payload: &[u8; N]) {
        let [n0, n1] = (outer.number() | NESTED).to_ne_bytes();
        let [l0, l1] = u16::from(const { small(HEADER + size(N)) }).to_ne_bytes();
        self.raw(&[l0, l1, n0, n1]);
        self.array_net(inner, payload);
    }

    /// Text and the zero byte that ends it.
    pub(crate) fn text(&mut self, kind: impl Kind, text: impl AsRef<[u8]>) {
        self.attribute(kind, 0, |inner| {
            inner.raw(text.as_ref());
            inner.raw(&[0]);
        });
    }

    /// Writes the first `length` of these bytes as text, with its zero byte; all others must be zero. It is faster than
    /// [`Writer::text`], for the bar of adds.
    #[inline]
    pub(crate) fn short_text<const N: usize>(&mut self, kind: impl Kind, bytes: &[u8; N], length: u8) {
        const { assert!(padding(N) == 1, "the zero byte that ends the longest is where the padding would be") };
        let text = length.min(const { small(N) }) + 1;
        let end = self.out.len() + size(text.into());
        self.raw(whole(text, kind.number(), bytes).get(..size(N)).unwrap_or_default());
        self.out.truncate(end);
    }

    /// Writes an attribute with the attributes of `fill`.
    #[inline]
    pub(crate) fn nest(&mut self, kind: impl Kind, fill: impl FnOnce(&mut Self)) {
        self.attribute(kind, 0, fill);
    }

    /// Writes an attribute with the attributes of `fill`, marked as nested (`NLA_F_NESTED`).
    #[inline]
    pub(crate) fn marked_nest(&mut self, kind: impl Kind, fill: impl FnOnce(&mut Self)) {
        self.attribute(kind, NESTED, fill);
    }

    /// Number of bytes in the buffer.
    pub(crate) fn length(&self) -> usize {
        self.out.len()
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, number: u16, payload: &[u8; N]) {
        self.raw(whole(const { small(N) }, number, payload).get(..size(N)).unwrap_or_default());
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

    /// Returns the name of the first attribute that was too long, if any: then the message must not be sent.
    pub(crate) fn finish(self) -> Option<&'static str> {
        self.too_long
    }
}

/// Part that [`Writer::together`] writes.
pub(crate) struct Together {
    bytes: [u8; MOST_TOGETHER],
    length: usize,
}

impl Together {
    /// As [`Writer::array`].
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, kind: impl Kind, payload: &[u8; N]) {
        let attribute = whole(const { small(N) }, kind.number(), payload);
        let end = self.length + size(N);
        debug_assert!(end <= MOST_TOGETHER, "that is too much together");
        if let (Some(room), Some(attribute)) = (self.bytes.get_mut(self.length..end), attribute.get(..size(N))) {
            room.copy_from_slice(attribute);
        }
        self.length = end;
    }
}

/// Number of bytes of an attribute with its header and padding.
const fn size(payload: usize) -> usize {
    HEADER + payload + padding(payload)
}

/// The same length as a smaller number.
const fn small(length: usize) -> u8 {
    assert!(length <= u8::MAX as usize);
    #[expect(clippy::cast_possible_truncation, reason = "compared above")]
    {
        length as u8
    }
}

/// Returns a whole attribute, followed by zeros, with a payload of `length` bytes. All offsets are known at compile
/// time, for the bar of adds.
#[inline]
fn whole<const N: usize>(length: u8, number: u16, payload: &[u8; N]) -> [u8; HEADER + LONGEST_FIXED] {
    const { assert!(N <= LONGEST_FIXED) };
    let mut attribute = [0; HEADER + LONGEST_FIXED];
    let [l0, l1] = u16::from(length + const { small(HEADER) }).to_ne_bytes();
    let [n0, n1] = number.to_ne_bytes();
    if let Some((header, rest)) = attribute.split_first_chunk_mut::<HEADER>() {
        *header = [l0, l1, n0, n1];
        if let Some(room) = rest.first_chunk_mut::<N>() {
            *room = *payload;
        }
    }
    attribute
}

/// The bytes that `fill` writes, for tests.
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
    fn byte_orders_are_those_of_the_names() {
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
    fn shortcuts_write_the_same() {
        for name in ["", "rr", "wrr", "lblc", "lblcr", "fourteen chars", "fifteen charact"] {
            let mut bytes = [0; 15];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            let short = written(|w| w.short_text(Test::One, &bytes, name.len().try_into().unwrap()));
            assert_eq!(short, written(|w| w.text(Test::One, name)));
        }
        let together = written(|w| {
            w.together(|w| {
                w.array(Test::One, &[1, 2]);
                w.array(Test::Two, &[3; 16]);
            });
        });
        let apart = written(|w| {
            w.array(Test::One, &[1, 2]);
            w.array(Test::Two, &[3; 16]);
        });
        assert_eq!(together, apart);
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
