//! Numbers and addresses appended to a line, without `core::fmt`, for the bars of `ipset-rs list` and `ipvsadm-rs -Ln`.

use std::net::Ipv4Addr;

/// A dot and the digits of each octet, with their number.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut octet = 0_u8;
    let mut rest: &mut [_] = &mut octets;
    while let Some((place, others)) = rest.split_first_mut() {
        let [hundreds, tens, ones] = [b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10];
        *place = match octet {
            0..10 => ([b'.', ones, 0, 0], 2),
            10..100 => ([b'.', tens, ones, 0], 3),
            100.. => ([b'.', hundreds, tens, ones], 4),
        };
        octet = octet.wrapping_add(1);
        rest = others;
    }
    octets
};

/// Appends a number in decimal.
#[inline]
pub(crate) fn push_number(line: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        Ok(digit @ 0..10) => line.push(b'0' + digit),
        _ => push_digits(line, number),
    }
}

fn push_digits(line: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut rest = number;
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        start -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends an IPv4 address.
pub(crate) fn push_ipv4(line: &mut Vec<u8>, address: Ipv4Addr) {
    let (mut text, mut end) = ([0; 16], 0);
    for octet in address.octets() {
        let (octet, length) = OCTETS.get(usize::from(octet)).copied().unwrap_or_default();
        if let Some(place) = text.get_mut(end..end + octet.len()) {
            place.copy_from_slice(&octet);
        }
        end += usize::from(length);
    }
    // Without the first dot.
    line.extend_from_slice(text.get(1..end).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        push(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn numbers_and_addresses_are_as_display_writes_them() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        for number in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
            assert_eq!(text(|line| push_number(line, number)), number.to_string());
        }
        for octet in 0..=u8::MAX {
            let address = Ipv4Addr::new(octet, 255 - octet, 0, octet);
            assert_eq!(text(|line| push_ipv4(line, address)), address.to_string());
        }
    }
}
