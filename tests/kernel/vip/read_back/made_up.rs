//! Random virtual IPs, names, labels and prefixes, valid and invalid ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs::vip::Vip;

use super::seen::Prefix;
use crate::random::Random;

/// Usual virtual IPs and others. The conflicts are with `foreign`, with the loopback interface and with subnets.
const SPECIAL: &str = "\
    10.96.0.0 10.96.0.255 192.0.2.0 192.0.2.1 192.0.2.77 192.0.2.99 192.0.2.255 198.51.100.20 198.51.100.33 \
    127.0.0.1 127.9.9.9 127.255.255.254 127.255.255.255 0.0.0.0 0.0.0.1 169.254.1.1 224.0.0.1 239.255.255.255 \
    240.0.0.1 255.255.255.254 255.255.255.255 10.0.0.0/8 10.96.0.2/31 128.0.0.0/1 192.0.0.0/2 127.0.0.0/8 \
    224.0.0.0/4 0.0.0.0/8 0.0.0.0/1 0.0.0.0/31 198.51.100.32/28 :: ::1 ::2 ::a00:1 ::ffff:10.0.0.1 2001:db8:: \
    2001:db8:9:: 2001:db8:9::1 2001:db8:9::77 2001:db8:a::1 fe80::1 fec0::1 fd00::1 ff02::1 ff0e::1234 \
    ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8::/32 fd00::/127 ::ffff:0:0/96 ff00::/8 ::/64";

/// Names of interfaces.
const NAMES: &[u8] =
    b"|.|..|...|a/b|a:b|a b|a\tb|a\xa0b|a\x85b|a\0b|sixteen-letters-|fifteen-letters|vip%d|a%|%%|%s|all|default|type\
    |-4|caf\xc3\xa9|\x01|\xff";

/// Labels.
const LABELS: &[u8] =
    b"|:|:1|eth0|eth0:|eth0:1|eth0::|lo:1|eth7:1|eth0:sixteen-let|all:1|eth0:a\0b|eth1:fifteen-le|a b:1\
    |thirteenbytes:12";

/// Prefixes, all of them impossible.
const PREFIXES: &str = "0.0.0.0/0 10.96.0.0/0 10.96.0.1/31 10.96.0.0/33 10.96.0.0/255 0.0.0.1/31 ::/0 2001:db8::1/64 2001:db8::1/0 \
    2001:db8::/129";

/// All of [`SPECIAL`].
pub(super) fn special() -> Vec<Vip> {
    SPECIAL.split_whitespace().map(|text| text.parse().unwrap()).collect()
}

fn address(random: &mut Random) -> IpAddr {
    let low = u32::try_from(random.below(1 << 16)).unwrap();
    let bits = u128::from(low) << random.below(80);
    match random.below(8) {
        0..4 => Ipv4Addr::from_bits(0x0a60_0000 + low).into(),
        4 => Ipv4Addr::from_bits(low << 16 | low).into(),
        5 => Ipv6Addr::from_bits(bits << 48).into(),
        _ => Ipv6Addr::from_bits(0x2001_0db8 << 96 | bits).into(),
    }
}

/// Returns an address or a prefix.
pub(super) fn vip(random: &mut Random) -> Vip {
    let address = address(random);
    let bits = Vip::from(address).length();
    let length = if random.percent(60) { bits } else { u8::try_from(1 + random.below(bits.into())).unwrap() };
    let cut = match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & u32::MAX << (32 - length)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & u128::MAX << (128 - length)).into(),
    };
    Vip::prefix(cut, length).unwrap()
}

fn bytes(random: &mut Random, length: usize) -> Vec<u8> {
    let any = |random: &mut Random| u8::try_from(1 + random.below(255)).unwrap();
    let plain = b"abc019-_.%";
    // The output of `ip` has one line for each address.
    let byte = |random: &mut Random| if random.percent(50) { *random.one(plain) } else { any(random) };
    (0..length).map(|_| byte(random)).map(|byte| if byte == b'\n' { b'\r' } else { byte }).collect()
}

/// Returns all of a list and some random ones.
fn with_random<T: Ord>(fixed: impl Iterator<Item = T>, count: u64, one: impl FnMut(u64) -> T) -> Vec<T> {
    let mut all: Vec<_> = fixed.chain((0..count).map(one)).collect();
    all.sort();
    all.dedup();
    all
}

fn split(list: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    list.split(|byte| *byte == b'|').map(<[u8]>::to_vec)
}

/// Returns names of interfaces, and this many random ones.
pub(super) fn names(random: &mut Random, count: u64) -> Vec<Vec<u8>> {
    with_random(split(NAMES), count, |_| {
        let length = random.below(18);
        bytes(random, length)
    })
}

/// Returns labels, and this many random ones.
pub(super) fn labels(random: &mut Random, count: u64) -> Vec<Vec<u8>> {
    with_random(split(LABELS), count, |_| {
        let interface = *random.one(&[&b"eth0"[..], b"eth1", b"lo", b"caf\xe9", b"thirteenbytes", b"absent"]);
        let colon = if random.percent(90) { &b":"[..] } else { b"" };
        let length = random.below(12);
        [interface, colon, &bytes(random, length)].concat()
    })
}

/// Returns prefixes, and this many random ones.
pub(super) fn prefixes(random: &mut Random, count: u64) -> Vec<Prefix> {
    let fixed = PREFIXES.split_whitespace().map(|text| {
        let (address, length) = text.split_once('/').unwrap();
        (address.parse().unwrap(), length.parse().unwrap())
    });
    with_random(fixed, count, |_| (address(random), u8::try_from(random.below(140)).unwrap()))
}
