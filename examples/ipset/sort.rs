//! The order of sorted lists.

use std::cmp::Ordering;
use std::ops::Range;

/// Sorts lines, each with where its entry stands.
pub(crate) fn sort(lines: &mut [(Vec<u8>, Range<usize>)], bytewise: bool) {
    let entry = |line: &(Vec<u8>, Range<usize>)| line.0.get(line.1.clone()).unwrap_or_default().to_vec();
    if bytewise {
        lines.sort_by_cached_key(entry);
    } else {
        lines.sort_by(|one, other| {
            compare(one.0.get(one.1.clone()).unwrap_or_default(), other.0.get(other.1.clone()).unwrap_or_default())
        });
    }
}

fn number(text: &[u8]) -> (u128, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let value = digits.iter().fold(0_u128, |value, digit| {
        let digit = char::from(*digit).to_digit(16).unwrap_or_default();
        value.saturating_mul(16).saturating_add(digit.into())
    });
    (value, rest)
}

fn compare(mut one: &[u8], mut other: &[u8]) -> Ordering {
    if one.starts_with(b"::") && other.starts_with(b"::") {
        return one.cmp(other);
    }
    match (one.starts_with(b"::"), other.starts_with(b"::")) {
        (true, false) => return Ordering::Less,
        (false, true) => return Ordering::Greater,
        _ => {}
    }
    loop {
        match (one.first(), other.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                let ((a, rest_one), (b, rest_other)) = (number(one), number(other));
                if a != b {
                    return a.cmp(&b);
                }
                (one, other) = (rest_one, rest_other);
            }
            (Some(b'/'), Some(b'/')) => {
                let ((a, rest_one), (b, rest_other)) =
                    (number(one.get(1..).unwrap_or_default()), number(other.get(1..).unwrap_or_default()));
                if a != b {
                    return b.cmp(&a);
                }
                (one, other) = (rest_one, rest_other);
            }
            (Some(b'/'), Some(_)) => return Ordering::Greater,
            (Some(_), Some(b'/')) => return Ordering::Less,
            (Some(b':' | b'.' | b','), Some(b':' | b'.' | b',')) => {
                if one.starts_with(b"::") != other.starts_with(b"::") {
                    return if one.starts_with(b"::") { Ordering::Less } else { Ordering::Greater };
                }
                (one, other) = (one.get(1..).unwrap_or_default(), other.get(1..).unwrap_or_default());
            }
            _ => {
                let name = |text: &[u8]| text.iter().position(|byte| matches!(byte, b':' | b',')).unwrap_or(text.len());
                let (a, b) = (one.split_at(name(one)), other.split_at(name(other)));
                let order = a.0.len().cmp(&b.0.len()).then_with(|| a.0.cmp(b.0));
                if order != Ordering::Equal {
                    return order;
                }
                (one, other) = (a.1, b.1);
            }
        }
    }
}
