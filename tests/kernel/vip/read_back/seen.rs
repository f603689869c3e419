//! The addresses and routes of a namespace, as `ip` shows them and as rtnetlink lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NlaBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::lab::Lab;

/// An address, or a prefix, with its length.
pub(super) type Prefix = (IpAddr, u8);

/// `RTN_LOCAL`, `RTN_BROADCAST` and `RTN_ANYCAST`.
pub(super) const LOCAL: u8 = 2;
pub(super) const BROADCAST: u8 = 3;
pub(super) const ANYCAST: u8 = 4;

/// Runs `ip`; returns its output, each byte as one character, or `None` if it fails.
pub(super) fn ip<T: AsRef<[u8]>>(lab: &Lab, arguments: &[T]) -> Option<String> {
    let arguments: Vec<_> = arguments.iter().map(|argument| OsStr::from_bytes(argument.as_ref())).collect();
    // A zero byte cannot be passed.
    let output = lab.run(|| Command::new("ip").args(&arguments).output()).ok()?;
    output.status.success().then(|| text(&output.stdout))
}

/// Has `ip` add or delete a dummy interface; returns whether it did.
pub(super) fn dummy(lab: &Lab, command: &str, name: &[u8]) -> bool {
    ip(lab, &[&b"link"[..], command.as_bytes(), b"dev", name, b"type", b"dummy"]).is_some()
}

/// Returns bytes as text, each as the character of its number.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Returns all addresses and routes, each as the line that `ip` shows.
pub(super) fn state(lab: &Lab) -> BTreeSet<String> {
    let show = |command: &str| ip(lab, &command.split(' ').collect::<Vec<_>>()).unwrap();
    let lines = ["-o -N address show", "-d -N route show table all", "-d -N -6 route show table all"].map(show);
    lines.iter().flat_map(|lines| lines.lines().map(str::to_owned)).collect()
}

/// Names of all interfaces.
pub(super) fn interfaces(lab: &Lab) -> BTreeSet<Vec<u8>> {
    let entries = lab.run(|| std::fs::read_dir("/proc/sys/net/ipv4/conf")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().as_bytes().to_vec()).collect()
}

/// An address or a route.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Shown {
    Address {
        interface: String,
        address: Prefix,
        scope: u8,
        /// Flags and label.
        rest: String,
    },
    Route {
        class: u8,
        destination: Prefix,
        interface: String,
        table: u8,
        protocol: u8,
        scope: u8,
    },
}

impl Shown {
    /// Reads a line of [`state`].
    pub(super) fn read(line: &str) -> Self {
        match line.split_once(": ") {
            Some((number, address)) if number.parse::<u32>().is_ok() => Self::address(address),
            _ => Self::route(line),
        }
    }

    fn address(line: &str) -> Self {
        let (interface, rest) = line.split_once(' ').unwrap();
        let words: Vec<_> = rest.trim_start_matches(' ').splitn(5, ' ').collect();
        let [family, address, "scope", scope, rest] = words[..] else { panic!("{line}") };
        let (rest, _) = rest.split_once("\\       valid_lft forever").unwrap();
        let address = prefix(address, family == "inet6");
        Self::Address { interface: interface.into(), address, scope: scope.parse().unwrap(), rest: rest.into() }
    }

    fn route(line: &str) -> Self {
        let words: Vec<_> = line.split(' ').collect();
        let value = |key: &str| words.iter().position(|word| *word == key).map(|at| words[at + 1]);
        let number = |key: &str| value(key).unwrap().parse().unwrap();
        Self::Route {
            class: words[0].parse().unwrap(),
            destination: prefix(words[1], line.contains(" metric ")),
            interface: value("dev").unwrap().into(),
            table: number("table"),
            protocol: number("proto"),
            scope: number("scope"),
        }
    }
}

/// Reads a prefix as `ip` writes it.
fn prefix(text: &str, is_v6: bool) -> Prefix {
    let text = match text {
        "default" if is_v6 => "::/0",
        "default" => "0.0.0.0/0",
        text => text,
    };
    let (address, length) = text.split_once('/').unwrap_or((text, if is_v6 { "128" } else { "32" }));
    (address.parse().unwrap(), length.parse().unwrap())
}

/// Returns whether the table `local` has a local route for exactly this prefix.
pub(super) fn is_local(state: &BTreeSet<String>, wanted: Prefix) -> bool {
    has_route(state, wanted, &[LOCAL])
}

/// Returns whether the table `local` has a route of one of these types (`RTN_*`) for exactly this prefix.
pub(super) fn has_route(state: &BTreeSet<String>, wanted: Prefix, types: &[u8]) -> bool {
    state.iter().any(|line| match Shown::read(line) {
        Shown::Route { class, destination, table, .. } => {
            types.contains(&class) && (destination, table) == (wanted, 255)
        }
        Shown::Address { .. } => false,
    })
}

/// Returns whether packets to this address stay on the machine as those of a host's address.
pub(super) fn is_delivered(lab: &Lab, address: IpAddr) -> bool {
    let route = ip(lab, &["route", "get", "fibmatch", &address.to_string()]);
    route.is_some_and(|route| route.starts_with("local "))
}

/// Returns label and protocol number of each address; `ip` shows the number since version 6.3 only.
pub(super) fn labels_and_protocols(lab: &Lab) -> BTreeMap<IpAddr, (Vec<u8>, u8)> {
    const DONE: u16 = 3;
    const HEADERS: usize = 16 + 8;
    let socket = lab.run(|| Socket::new(NETLINK_ROUTE)).unwrap();
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).unwrap();
    let mut all = BTreeMap::new();
    loop {
        let datagram = socket.recv_from_full().unwrap().0;
        let mut rest = &datagram[..];
        while rest.len() >= 16 {
            let length = usize::try_from(u32::from_ne_bytes(rest[..4].try_into().unwrap())).unwrap();
            if u16::from_ne_bytes(rest[4..6].try_into().unwrap()) == DONE {
                return all;
            }
            let attributes: Vec<_> = NlasIterator::new(&rest[HEADERS..length]).map(Result::unwrap).collect();
            let value = |kind: u16| {
                let of_kind = |nla: &&NlaBuffer<&[u8]>| nla.kind() == kind;
                attributes.iter().find(of_kind).map(|nla| nla.value().to_vec())
            };
            let address = value(1).unwrap();
            let address = match <[u8; 4]>::try_from(&address[..]) {
                Ok(octets) => IpAddr::from(octets),
                Err(_) => <[u8; 16]>::try_from(&address[..]).unwrap().into(),
            };
            let mut label = value(3).unwrap_or_default();
            assert_eq!(label.pop().unwrap_or(0), 0);
            all.insert(address, (label, value(11).map_or(0, |protocol| protocol[0])));
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
}
