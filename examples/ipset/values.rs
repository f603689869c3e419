//! Values: numbers, marks, Ethernet addresses, and what separates parts of a value.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use lvs::Family;
use lvs::ipset::Mac;

use crate::failure::Failure;

/// A number as C reads it: decimal, `0x…` or with a leading zero octal; a minus wraps around.
pub(crate) fn number(text: &str, min: u64, max: u64) -> Result<u64, Failure> {
    let invalid = || Failure::syntax(format_args!("'{text}' is invalid as number"));
    let out_of_range = || Failure::syntax(format_args!("'{text}' is out of range {min}-{max}"));
    let trimmed = text.trim_start_matches(is_space);
    let (negative, digits) = match trimmed.strip_prefix(['-', '+']) {
        Some(digits) => (trimmed.starts_with('-'), digits),
        None => (false, trimmed),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, hex),
        _ if digits.starts_with('0') => (8, digits),
        _ => (10, digits),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return Err(invalid());
    }
    // A number that is too large is out of range, whatever text follows it.
    let value = u64::from_str_radix(digits, radix).map_err(|_| out_of_range())?;
    if !rest.is_empty() {
        return Err(invalid());
    }
    let value = if negative { value.wrapping_neg() } else { value };
    if (min..=max).contains(&value) { Ok(value) } else { Err(out_of_range()) }
}

/// As [`number`], for a type of this size.
pub(crate) fn small<N: TryFrom<u64>>(text: &str, max: u64) -> Result<N, Failure> {
    // The range is within the type's.
    N::try_from(number(text, 0, max)?).map_err(|_| Failure::syntax(format_args!("'{text}' is invalid as number")))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// A hexadecimal number at the start of a text, as `scanf` reads it, and what is behind it.
fn hex(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start_matches(is_space);
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).unwrap_or(digits);
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let value = u64::from_str_radix(digits, 16);
    Some((value.map_or(u64::MAX, |value| if negative { value.wrapping_neg() } else { value }), rest))
}

/// `0xMARK/0xMASK`, or a mark alone, of which all bits count.
pub(crate) fn mark_and_mask(text: &str) -> Result<(u32, u32), Failure> {
    let wrong = || Failure::syntax("Invalid skbmark format, it should be:  MARK/MASK or MARK (see manpage)");
    let (mark, rest) = text.strip_prefix("0x").and_then(hex).ok_or_else(wrong)?;
    let mask = rest.strip_prefix("/0x").and_then(hex).map_or(u64::MAX, |(mask, _)| mask);
    Ok((lower(mark), lower(mask)))
}

/// `MAJOR:MINOR`, in hexadecimal.
pub(crate) fn priority(text: &str) -> Result<(u16, u16), Failure> {
    let wrong = || Failure::syntax("Invalid skbprio format, it should be:MAJOR:MINOR (see manpage)");
    let (major, rest) = hex(text).ok_or_else(wrong)?;
    let (minor, _) = rest.strip_prefix(':').and_then(hex).ok_or_else(wrong)?;
    Ok((lowest(major), lowest(minor)))
}

fn lower(value: u64) -> u32 {
    let [.., a, b, c, d] = value.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn lowest(value: u64) -> u16 {
    let [.., a, b] = value.to_be_bytes();
    u16::from_be_bytes([a, b])
}

pub(crate) fn mac(text: &str) -> Result<Mac, Failure> {
    text.parse().map_err(|_| Failure::syntax(format_args!("cannot parse '{text}' as ethernet address")))
}

/// How many bits an address of a family has.
pub(crate) fn bits(family: Family) -> u8 {
    if family == Family::Inet { 32 } else { 128 }
}

/// Parts a text where the separator is first; not when it begins or ends with one.
pub(crate) fn split(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == separator)?;
    let (first, rest) = (text.get(..at)?, text.get(at + 1..)?);
    let at_an_end = first.is_empty() || text.as_bytes().ends_with(&[separator]);
    (!at_an_end).then_some((first, rest))
}

/// Where bytes that are no text are kept in one: in the last private area of Unicode.
const NO_TEXT: u32 = 0x0010_FF00;

/// The first byte of each character in that area.
const NO_TEXT_LEAD: u8 = 0xf4;

/// Bytes as text that [`bytes`] makes the same bytes of.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() || !bytes.contains(&NO_TEXT_LEAD) => Cow::Borrowed(text),
        _ => {
            let mut text = String::new();
            for chunk in bytes.utf8_chunks() {
                for c in chunk.valid().chars() {
                    match u32::from(c) {
                        NO_TEXT.. => {
                            text.extend(c.encode_utf8(&mut [0; 4]).bytes().filter_map(stand_in));
                        }
                        _ => text.push(c),
                    }
                }
                text.extend(chunk.invalid().iter().copied().filter_map(stand_in));
            }
            Cow::Owned(text)
        }
    }
}

fn stand_in(byte: u8) -> Option<char> {
    char::from_u32(NO_TEXT + u32::from(byte))
}

/// Returns the bytes of which [`text`] was made.
pub(crate) fn bytes(text: &str) -> Cow<'_, [u8]> {
    if text.is_ascii() || !text.as_bytes().contains(&NO_TEXT_LEAD) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(NO_TEXT).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// The path that a [`text`] names.
pub(crate) fn path(text: &str) -> PathBuf {
    OsString::from_vec(bytes(text).into_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        let read = |text| number(text, 0, 255).map_err(|failure| failure.text().to_owned());
        for (text, value) in [("0", 0), ("010", 8), ("0x10", 16), (" +7", 7), ("-0", 0), ("-18446744073709551615", 1)] {
            assert_eq!(read(text), Ok(value), "{text}");
        }
        for text in ["", "x", "08", "0x", "5x", "5 ", "-", "1e3"] {
            assert_eq!(read(text), Err(format!("Syntax error: '{text}' is invalid as number")));
        }
        for text in ["256", "-1", "99999999999999999999999", "99999999999999999999999x"] {
            assert_eq!(read(text), Err(format!("Syntax error: '{text}' is out of range 0-255")));
        }
    }

    #[test]
    fn bytes_are_kept() {
        for bytes in [
            &b"plain"[..],
            "gr\u{fc}n".as_bytes(),
            b"gr\xfcn \xff\x80",
            b"\xe2\x82",
            b"\xf4\x8f\xbf\xa9",
            b"\xf4\x8f\xbb\xbf\xe9",
        ] {
            assert_eq!(*super::bytes(&text(bytes)), *bytes);
        }
    }

    #[test]
    fn marks_have_masks() {
        let all = u32::MAX;
        for (text, value) in [
            ("0x5", (5, all)),
            ("0x5/0x7", (5, 7)),
            ("0x5/7", (5, all)),
            ("0x4/0x1ffffffff", (4, all)),
            ("0x-1", (all, all)),
            ("0x0x5", (5, all)),
            ("0x 5", (5, all)),
            ("0x5 /0x7", (5, all)),
            ("0x5/0x", (5, all)),
            ("0x4/0x100000000", (4, 0)),
        ] {
            assert_eq!(mark_and_mask(text), Ok(value), "{text}");
        }
        for text in ["5", "0x", "0X5", " 0x5", "0xg", ""] {
            assert!(mark_and_mask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn priorities_have_two_numbers() {
        for (text, value) in
            [("1:a", (1, 10)), ("0x1:0xff", (1, 255)), ("10000:1", (0, 1)), (" 1: 2", (1, 2)), ("1:2x", (1, 2))]
        {
            assert_eq!(priority(text), Ok(value), "{text}");
        }
        for text in ["", "1", "1:", ":1", "1 :2", "g:1"] {
            assert!(priority(text).is_err(), "{text}");
        }
    }

    #[test]
    fn separators_at_the_ends_are_none() {
        assert_eq!(split("a,b,c", b','), Some(("a", "b,c")));
        assert_eq!(split("a,,b", b','), Some(("a", ",b")));
        for text in ["a", ",a,b", "a,b,", ",", ""] {
            assert_eq!(split(text, b','), None, "{text}");
        }
    }
}
