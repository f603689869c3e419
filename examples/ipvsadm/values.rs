//! The values of options: numbers, addresses, masks, flags.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use lvs::ipvs::{Netmask, Scheduler, ServiceFlags};
use lvs::{Family, Protocol};

use crate::names::Names;

/// White space in C.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// A decimal number as C's `strtol` reads it: blanks before it and a sign are fine, nothing may follow it.
pub(crate) fn number(text: &str, range: RangeInclusive<u32>) -> Option<u32> {
    let text = text.trim_start_matches(BLANKS);
    // Rust takes the signs that C takes.
    let number: i64 = text.parse().ok()?;
    u32::try_from(number).ok().filter(|number| range.contains(number))
}

/// An address and, if it has one, its port: `host`, `host:port`, `[ipv6]:port` or a bare IPv6 address.
pub(crate) fn address(text: &str, protocol: Option<Protocol>, names: &Names) -> Option<(IpAddr, Option<u16>)> {
    plain(text).or_else(|| any_address(text, protocol, names))
}

/// Four numbers and, if it has one, the number of a port: nearly every address of a save, for the bar of
/// `ipvsadm-rs -R`.
fn plain(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let mut octets = [0; 4];
    let (number, mut rest) = digits(text.as_bytes())?;
    let [first, others @ ..] = &mut octets;
    *first = number.try_into().ok()?;
    for octet in others {
        let (number, after) = digits(rest.strip_prefix(b".")?)?;
        *octet = number.try_into().ok()?;
        rest = after;
    }
    let port = match rest {
        [] => None,
        [b':', port @ ..] => match digits(port)? {
            (number, []) => Some(number),
            _ => return None,
        },
        _ => return None,
    };
    Some((octets.into(), port))
}

/// A number of 16 bits without zeros before it, and the rest of the text.
fn digits(text: &[u8]) -> Option<(u16, &[u8])> {
    let (mut number, mut rest) = match text {
        [digit @ b'0'..=b'9', rest @ ..] => (u16::from(digit - b'0'), rest),
        _ => return None,
    };
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        if number == 0 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u16::from(digit - b'0'))?;
        rest = after;
    }
    Some((number, rest))
}

fn any_address(text: &str, protocol: Option<Protocol>, names: &Names) -> Option<(IpAddr, Option<u16>)> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port = |text: &str| {
        number(text, 0..=65535)
            .and_then(|number| u16::try_from(number).ok())
            .or_else(|| protocol.and_then(|protocol| names.port(text, protocol)))
    };
    let mut inner = text;
    if let Some((bracketed, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        if let Some(after) = after.strip_prefix(':') {
            if let Ok(v6) = bracketed.parse::<Ipv6Addr>() {
                return Some((v6.into(), Some(port(after)?)));
            }
            // An IPv4 host in brackets keeps only the port inside of them.
            inner = bracketed;
        }
    } else if let Ok(v6) = text.parse::<Ipv6Addr>() {
        return Some((v6.into(), None));
    }
    match inner.rsplit_once(':') {
        // The port first: a host may have to be asked for far away.
        Some((host, after)) => port(after).and_then(|port| Some((ipv4(host, names)?.into(), Some(port)))),
        None => Some((ipv4(inner, names)?.into(), None)),
    }
}

/// An IPv4 address, or the first one of the host that has this name.
fn ipv4(host: &str, names: &Names) -> Option<Ipv4Addr> {
    dotted(host).or_else(|| names.address(host))
}

/// Reads an IPv4 address as C's `inet_aton` does.
///
/// It has one to four parts, each decimal, octal (`0...`) or hexadecimal (`0x...`). The last part fills the remaining bytes.
/// Text after a blank is ignored.
fn dotted(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(BLANKS).next()?;
    let parts: Vec<u32> = text.split('.').map(part).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    let bits_left = 32u32.checked_sub(8 * u32::try_from(leading.len()).ok()?).filter(|bits| *bits > 0)?;
    if leading.iter().any(|part| *part > 255) || u64::from(*last) >= 1 << bits_left {
        return None;
    }
    let high = leading.iter().fold(0u64, |address, part| address << 8 | u64::from(*part)) << bits_left;
    u32::try_from(high | u64::from(*last)).ok().map(Ipv4Addr::from_bits)
}

fn part(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, if text.starts_with('0') { 8 } else { 10 }),
    };
    // A sign is no digit, whatever Rust thinks.
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}

/// Fault of a persistence netmask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WrongMask {
    Inet,
    Inet6,
}

/// A persistence netmask of this family: an IPv4 mask is written like an address, an IPv6 one as its length.
pub(crate) fn netmask(text: &str, family: Family, names: &Names) -> Result<Netmask, WrongMask> {
    match family {
        Family::Inet => ipv4(text, names).map(Netmask::inet).ok_or(WrongMask::Inet),
        Family::Inet6 => {
            let length = u8::try_from(atoi(text)).ok();
            length.and_then(|length| Netmask::inet6(length).ok()).ok_or(WrongMask::Inet6)
        }
    }
}

/// A number as C's `atoi` reads it: what follows the digits is not looked at, nor what does not fit in 32 bits.
fn atoi(text: &str) -> i32 {
    let text = text.trim_start_matches(BLANKS);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.chars().map_while(|c| c.to_digit(10)).map(i64::from);
    let number = digits.fold(0, |number: i64, digit| number.saturating_mul(10).saturating_add(sign * digit));
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// Fault of a scheduler's flags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WrongFlag<'a> {
    Unknown(&'a str),
    /// Known, but not to this scheduler.
    Incompatible(&'a str),
}

/// The flags of a comma-separated list. Empty names in it are skipped, but it cannot be only commas.
pub(crate) fn flags(list: &str, scheduler: Scheduler) -> Result<ServiceFlags, WrongFlag<'_>> {
    let mut flags = ServiceFlags::empty();
    if list.is_empty() {
        return Ok(flags);
    }
    let mut names = list.split(',').filter(|name| !name.is_empty()).peekable();
    if names.peek().is_none() {
        return Err(WrongFlag::Unknown(list));
    }
    for name in names {
        let (only, _, flag) = FLAGS.iter().find(|(_, known, _)| *known == name).ok_or(WrongFlag::Unknown(name))?;
        if only.is_some_and(|only| only != scheduler) {
            return Err(WrongFlag::Incompatible(name));
        }
        flags |= *flag;
    }
    Ok(flags)
}

/// The names of the flags that are set, as the scheduler calls them, with commas between; `None` if none is set. The
/// text is empty when the scheduler has a name for others only.
pub(crate) fn flag_names(flags: ServiceFlags, scheduler: Scheduler) -> Option<String> {
    if !flags.intersects(ServiceFlags::SCHEDULER_1 | ServiceFlags::SCHEDULER_2 | ServiceFlags::SCHEDULER_3) {
        return None;
    }
    let owner = [Scheduler::SH, Scheduler::MH].into_iter().find(|owner| *owner == scheduler);
    let names = FLAGS.iter().filter(|(only, _, flag)| *only == owner && flags.contains(*flag));
    Some(names.map(|(_, name, _)| *name).collect::<Vec<_>>().join(","))
}

/// The scheduler that alone has the flag, if there is one; its name; the flag.
const FLAGS: &[(Option<Scheduler>, &str, ServiceFlags)] = &[
    (Some(Scheduler::SH), "sh-fallback", ServiceFlags::FALLBACK),
    (Some(Scheduler::SH), "sh-port", ServiceFlags::PORT),
    (Some(Scheduler::MH), "mh-fallback", ServiceFlags::FALLBACK),
    (Some(Scheduler::MH), "mh-port", ServiceFlags::PORT),
    (None, "flag-1", ServiceFlags::SCHEDULER_1),
    (None, "flag-2", ServiceFlags::SCHEDULER_2),
    (None, "flag-3", ServiceFlags::SCHEDULER_3),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::some_names;

    #[test]
    fn numbers_are_whole_decimal_words() {
        for (text, value) in [("5", 5), (" 5", 5), ("\t+5", 5), ("-0", 0), ("007", 7), ("65535", 65535)] {
            assert_eq!(number(text, 0..=65535), Some(value), "{text:?}");
        }
        for text in ["", "5 ", "5x", "0x5", "-5", "65536", "99999999999999999999", "+-5", " ", "+"] {
            assert_eq!(number(text, 0..=65535), None, "{text:?}");
        }
    }

    #[test]
    fn dotted_addresses_are_those_of_c() {
        for (text, address) in [
            ("10.0.0.1", "10.0.0.1"),
            ("1.2.3", "1.2.0.3"),
            ("1.16777215", "1.255.255.255"),
            ("0x7f000001", "127.0.0.1"),
            ("010.0.0.1", "8.0.0.1"),
            ("0x1.0X2.3.4", "1.2.3.4"),
            ("4294967295", "255.255.255.255"),
            ("10.0.0.1 x", "10.0.0.1"),
        ] {
            assert_eq!(dotted(text).unwrap().to_string(), address, "{text:?}");
        }
        for text in [
            "",
            " 1.2.3.4",
            "1.2.3.4.5",
            "1.2.3.",
            "1..3",
            "256.1",
            "1.16777216",
            "08.1",
            "0x.1",
            "1.2.3.4x",
            "+1.2",
            "4294967296",
        ] {
            assert_eq!(dotted(text), None, "{text:?}");
        }
    }

    #[test]
    fn addresses_have_ports_after_the_last_colon_or_the_bracket() {
        let names = some_names();
        let read = |text| match address(text, Some(Protocol::TCP), &names) {
            Some((ip, Some(port))) => format!("{ip} {port}"),
            Some((ip, None)) => ip.to_string(),
            None => "illegal".to_owned(),
        };
        let plain_is_as_any = |text| {
            let any = any_address(text, Some(Protocol::TCP), &names);
            plain(text).is_none_or(|plain| any == Some(plain))
        };
        for (text, expected) in [
            ("10.0.0.1:80", "10.0.0.1 80"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1:http", "10.0.0.1 80"),
            ("10.0.0.1: +080", "10.0.0.1 80"),
            ("[2001:db8::80]:80", "2001:db8::80 80"),
            ("[2001:db8::80]:www", "2001:db8::80 80"),
            ("2001:db8::1:80", "2001:db8::1:80"),
            ("::1.2.3.4", "::102:304"),
            ("1234:80", "0.0.4.210 80"),
            ("[10.0.0.1]:80", "10.0.0.1"),
            ("[10.0.0.1:90]:80", "10.0.0.1 90"),
            ("10.0.0.010:080", "10.0.0.8 80"),
            ("0.0.0.0:0", "0.0.0.0 0"),
            ("255.255.255.255:65535", "255.255.255.255 65535"),
            ("10.0.256:80", "10.0.1.0 80"),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
            assert!(plain_is_as_any(text), "{text:?}");
        }
        for text in [
            "",
            "1234",
            ":80",
            "10.0.0.1:",
            "10.0.0.1:0x50",
            "10.0.0.1:65536",
            "10.0.0.1:80:90",
            "10.0.0.256:80",
            "10.0.0.1.:80",
            "10..0.1:80",
            "10.0.0.1:HTTP",
            "10.0.0.1:nosuch",
            "[fd00::1]",
            "[fd00::1]:",
            "[fd00::1]80",
            "[fd00::1]:80:90",
            "[]:80",
            "[[fd00::1]:80",
            "fd00::1%lo",
        ] {
            assert_eq!(read(text), "illegal", "{text:?}");
            assert!(plain_is_as_any(text), "{text:?}");
        }
        assert!(plain("10.0.0.1:80").is_some() && plain("10.0.0.1").is_some());
        assert_eq!(address("10.0.0.1:http", None, &names), None);
        assert_eq!(address("10.0.0.1:http", Some(Protocol::UDP), &names), None);
    }

    #[test]
    fn masks_are_addresses_or_lengths() {
        let names = some_names();
        let inet = |text| netmask(text, Family::Inet, &names);
        assert_eq!(inet("255.255.255.0").unwrap().as_inet().unwrap().to_string(), "255.255.255.0");
        assert_eq!(inet("24").unwrap().as_inet().unwrap().to_string(), "0.0.0.24");
        assert_eq!(inet(""), Err(WrongMask::Inet));
        let inet6 = |text| netmask(text, Family::Inet6, &names);
        for (text, length) in [("64", 64), (" +64x", 64), ("1", 1), ("128", 128), ("4294967360", 64)] {
            assert_eq!(inet6(text).unwrap().as_inet6(), Some(length), "{text:?}");
        }
        for text in ["0", "129", "", "x", "-1", "255.0.0.0", "99999999999999999999"] {
            assert_eq!(inet6(text), Err(WrongMask::Inet6), "{text:?}");
        }
    }

    #[test]
    fn flags_belong_to_schedulers() {
        let both = ServiceFlags::FALLBACK | ServiceFlags::PORT;
        assert_eq!(flags("sh-fallback,sh-port", Scheduler::SH), Ok(both));
        assert_eq!(flags(",flag-1,,flag-2,", Scheduler::SH), Ok(both));
        assert_eq!(flags("", Scheduler::SH), Ok(ServiceFlags::empty()));
        assert_eq!(flags("mh-port", Scheduler::SH), Err(WrongFlag::Incompatible("mh-port")));
        assert_eq!(flags("flag-1,FLAG-2", Scheduler::RR), Err(WrongFlag::Unknown("FLAG-2")));
    }

    #[test]
    fn a_list_of_commas_is_no_list_of_flags() {
        assert_eq!(flags(",", Scheduler::RR), Err(WrongFlag::Unknown(",")));
    }

    #[test]
    fn flags_are_named_as_their_scheduler_names_them() {
        let all = ServiceFlags::SCHEDULER_1 | ServiceFlags::SCHEDULER_2 | ServiceFlags::SCHEDULER_3;
        let name = |flags, scheduler| flag_names(flags, scheduler).unwrap_or_else(|| "none".into());
        assert_eq!(name(all, Scheduler::SH), "sh-fallback,sh-port");
        assert_eq!(name(all, Scheduler::MH), "mh-fallback,mh-port");
        assert_eq!(name(all, Scheduler::RR), "flag-1,flag-2,flag-3");
        assert_eq!(name(ServiceFlags::SCHEDULER_3, Scheduler::SH), "");
        assert_eq!(name(ServiceFlags::ONE_PACKET, Scheduler::RR), "none");
    }
}
