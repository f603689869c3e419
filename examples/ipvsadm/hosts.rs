//! Names of hosts: those of the C library, and with musl those of files first. The resolver of musl does not read
//! `/etc/nsswitch.conf`, distinguishes cases, and skips a last line without an end.

use std::cell::Cell;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use dns_lookup::getnameinfo;
use nix::libc::{NI_NAMEREQD, NI_NUMERICSERV};

/// Whether the name of an address that DNS has is printed. Anyone who answers for the address chooses it: it must not be
/// read as another word, option or address. The resolver of glibc refuses such names itself.
fn is_valid(name: &str) -> bool {
    cfg!(not(target_env = "musl")) || is_plain(name)
}

fn is_plain(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) || part.starts_with("0x");
    name.bytes().all(is_allowed) && !name.starts_with('-') && !name.split('.').all(is_number)
}

/// Time of a look-up after which no further address is asked for, if it finds no name: no server answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// Names of hosts, in files and those of the C library.
pub(crate) struct Hosts {
    lines: Vec<(IpAddr, Vec<String>)>,
    asks_dns: bool,
    /// Whether a look-up of a name failed after [`PATIENCE`].
    given_up: Cell<bool>,
}

impl Hosts {
    /// The names in the system's files. With glibc there are none.
    pub(crate) fn of_system() -> Self {
        if cfg!(not(target_env = "musl")) {
            return Self { lines: Vec::new(), asks_dns: true, given_up: Cell::new(false) };
        }
        let read = |path| fs::read(path).unwrap_or_default();
        Self::read(&read("/etc/hosts"), &read("/etc/nsswitch.conf"))
    }

    fn read(hosts: &[u8], switch: &[u8]) -> Self {
        let words = |line: &[u8]| {
            // The part before the comment, which may be in any encoding.
            let entry = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let words = std::str::from_utf8(entry).ok()?.split_whitespace().map(str::to_owned);
            Some(words.collect::<Vec<_>>())
        };
        let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').filter_map(words).collect::<Vec<_>>();
        let host = |line: Vec<String>| {
            let (address, names) = line.split_first()?;
            Some((address.parse().ok()?, names.to_vec()))
        };
        let asked = lines(switch).into_iter().find(|line| line.first().is_some_and(|first| first == "hosts:"));
        Self {
            lines: lines(hosts).into_iter().filter_map(host).collect(),
            asks_dns: asked.is_none_or(|line| line.iter().any(|source| source == "dns")),
            given_up: Cell::new(false),
        }
    }

    /// Whether names that are in no file are asked for.
    pub(crate) fn asks_dns(&self) -> bool {
        self.asks_dns
    }

    /// The addresses of a host. The name of `::1` is also one of 127.0.0.1.
    pub(crate) fn addresses<'a>(&'a self, host: &'a str) -> impl Iterator<Item = IpAddr> + 'a {
        let of_host = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(host));
        let lines = self.lines.iter().filter(move |(_, names)| of_host(names));
        lines.flat_map(|(address, _)| {
            let also = (*address == Ipv6Addr::LOCALHOST).then_some(Ipv4Addr::LOCALHOST.into());
            std::iter::once(*address).chain(also)
        })
    }

    /// The name of the host that has this address.
    pub(crate) fn name(&self, address: IpAddr) -> Option<String> {
        if let Some(name) = self.name_in_files(address) {
            return Some(name);
        }
        if self.given_up.get() || !self.asks_dns {
            return None;
        }
        let began = Instant::now();
        let found = getnameinfo(&SocketAddr::new(address, 0), NI_NAMEREQD | NI_NUMERICSERV);
        self.given_up.set(found.is_err() && began.elapsed() >= PATIENCE);
        found.ok().map(|(name, _)| name).filter(|name| is_valid(name))
    }

    fn name_in_files(&self, address: IpAddr) -> Option<String> {
        self.lines.iter().find(|(of, _)| *of == address).and_then(|(_, names)| names.first().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_reads_as_something_else_is_not_plain() {
        for name in ["", "-C", "a\nflush b", "a b", "a\"b", "<a>", "a\x1b[2J", "1.2.3.4", "0x7f", "é", "a#b", "a:b"] {
            assert!(!is_plain(name), "{name}");
        }
        assert!(is_plain("web-1.example_com") && is_plain("1.example.com"));
    }

    #[test]
    fn names_are_read_as_glibc_reads_them() {
        let text =
            b"127.0.0.1 localhost\n10.0.0.1 vip.example.com vip Mixed # comment\n::1 six\n# 10.0.0.2 no\n10.0.0.9 last";
        let hosts = Hosts::read(text, b"hosts: files mdns\n");
        let addresses = |host: &str| hosts.addresses(host).map(|ip| ip.to_string()).collect::<Vec<_>>().join(" ");
        for (host, found) in [
            ("vip", "10.0.0.1"),
            ("VIP", "10.0.0.1"),
            ("mixed", "10.0.0.1"),
            ("vip.EXAMPLE.com", "10.0.0.1"),
            ("last", "10.0.0.9"),
            ("six", "::1 127.0.0.1"),
            ("no", ""),
            ("vip.example.com vip", ""),
        ] {
            assert_eq!(addresses(host), found, "{host}");
        }
        assert_eq!(hosts.name_in_files([10, 0, 0, 1].into()).as_deref(), Some("vip.example.com"));
        assert_eq!(hosts.name_in_files([10, 0, 0, 2].into()), None);
        assert!(!hosts.asks_dns());
        assert!(Hosts::read(b"", b"hosts: files dns\n").asks_dns() && Hosts::read(b"", b"").asks_dns());
    }
}
