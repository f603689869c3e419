//! Numbers and addresses appended to a line, without `core::fmt`, for the bars of `ipset-rs list` and `ipvsadm-rs -Ln`.

use std::net::Ipv4Addr;

/// Appends a number in decimal.
pub(crate) fn push_number(line: &mut Vec<u8>, number: u64) {
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
    let [first, rest @ ..] = address.octets();
    push_octet(line, first);
    for octet in rest {
        line.push(b'.');
        push_octet(line, octet);
    }
}

fn push_octet(line: &mut Vec<u8>, octet: u8) {
    if octet >= 100 {
        line.push(b'0' + octet / 100);
    }
    if octet >= 10 {
        line.push(b'0' + octet / 10 % 10);
    }
    line.push(b'0' + octet % 10);
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
