//! A line of output, written into bytes: the bar of `ipvsadm-rs -Ln` leaves no room for `core::fmt`.

use std::fmt;
use std::io::{self, Write};
use std::net::Ipv4Addr;

use crate::decimal::{push_ipv4, push_number};

/// A line that is not finished, behind finished ones that are not written yet.
#[derive(Default)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    /// Place where the line starts.
    start: usize,
}

/// Finished lines of this length are written.
const MANY: usize = 16 << 10;

impl Line {
    /// Number of bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    #[inline]
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends bytes that need not be text.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a number in decimal.
    #[inline]
    pub(crate) fn number(&mut self, number: impl Into<u64>) {
        push_number(&mut self.bytes, number.into());
    }

    /// Appends a number in decimal, with blanks before it up to a width.
    pub(crate) fn right(&mut self, number: impl Into<u64>, width: usize) {
        let number = number.into();
        let digits = number.checked_ilog10().and_then(|log| usize::try_from(log).ok()).unwrap_or(0) + 1;
        self.pad_to(self.len() + width.saturating_sub(digits));
        self.number(number);
    }

    /// Appends a number in decimal, with blanks behind it up to a width.
    #[inline]
    pub(crate) fn left(&mut self, number: impl Into<u64>, width: usize) {
        let column = self.len() + width;
        self.number(number);
        self.pad_to(column);
    }

    /// Appends an IPv4 address.
    #[inline]
    pub(crate) fn ipv4(&mut self, address: Ipv4Addr) {
        push_ipv4(&mut self.bytes, address);
    }

    /// Appends blanks up to a number of bytes, which C's printf counts. Rust's formats count letters.
    #[inline]
    pub(crate) fn pad_to(&mut self, column: usize) {
        if column > self.len() {
            self.bytes.resize(self.start + column, b' ');
        }
    }

    /// Keeps the first bytes, or fewer where that would split a letter.
    #[inline]
    pub(crate) fn cut_to(&mut self, column: usize) {
        if self.len() > column {
            let starts_letter = |end: &usize| self.bytes.get(*end).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
            let column = self.start + column;
            self.bytes.truncate((self.start..=column).rev().find(starts_letter).unwrap_or(self.start));
        }
    }

    /// Appends a value with `core::fmt`, outside the bar.
    pub(crate) fn display(&mut self, value: impl fmt::Display) {
        // Writing into memory cannot fail.
        let _ = write!(self.bytes, "{value}");
    }

    /// Finishes the line and starts the next one.
    #[inline]
    pub(crate) fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.bytes.push(b'\n');
        self.start = self.bytes.len();
        if self.start < MANY { Ok(()) } else { self.write_to(out) }
    }

    /// Writes the finished lines.
    pub(crate) fn write_to(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.bytes.get(..self.start).unwrap_or_default())?;
        self.bytes.drain(..self.start);
        self.start = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Line {
        pub(crate) fn into_text(self) -> String {
            String::from_utf8(self.bytes).unwrap()
        }
    }

    fn text(append: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::default();
        append(&mut line);
        line.into_text()
    }

    #[test]
    fn numbers_and_addresses_are_as_formats_write_them() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        for number in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
            assert_eq!(text(|line| line.number(number)), number.to_string());
            assert_eq!(text(|line| line.left(number, 10)), format!("{number:<10}"));
            for width in [8, 9] {
                assert_eq!(text(|line| line.right(number, width)), format!("{number:>width$}"));
            }
        }
        for octet in 0..=u8::MAX {
            let address = Ipv4Addr::new(octet, 255 - octet, 0, octet);
            assert_eq!(text(|line| line.ipv4(address)), address.to_string());
        }
    }

    #[test]
    fn columns_are_as_wide_as_c_makes_them() {
        let padded = |column| {
            text(|line| {
                line.text("café:80");
                line.pad_to(column);
            })
        };
        assert_eq!(padded(10), "café:80  ");
        assert_eq!(padded(3), "café:80");
    }

    #[test]
    fn a_cut_splits_no_letter() {
        let cut = |column| {
            text(|line| {
                line.text("aé€b");
                line.cut_to(column);
            })
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7, 8].map(cut), ["", "a", "a", "aé", "aé", "aé", "aé€", "aé€b", "aé€b"]);
    }
}
