//! Reading entries of sets of each type.

use std::net::IpAddr;

use lvs::ipset::{
    Addresses, AnyType, Entry, InterfaceMatch, InterfaceName, Kind, ListMember, Member, Network, Place, Ports,
    ProtocolPorts, Set, SetName,
};
use lvs::{Family, Protocol};

use crate::failure::number::INVALID_PROTOCOL;
use crate::failure::{Failure, complain, refused};
use crate::names::{ICMP, ICMPV6, Names, icmp, inet};
use crate::options::{Carried, entry_options, number_of_bits, set_name};
use crate::output::{Ip, push_port};
use crate::syntax::{Command, Word};
use crate::values::{self, bits, mac, small, split};

/// A reader of values that need names.
pub(crate) struct Reader<'a> {
    pub(crate) names: &'a Names,
    pub(crate) quiet: bool,
}

/// An entry as it was typed.
pub(crate) struct Typed {
    pub(crate) member: Member<AnyType>,
    parts: Parts,
}

/// The parts of an entry, as they are told again after a test.
#[derive(Default)]
struct Parts {
    first: Option<Typo>,
    second: Option<Typo>,
    misfit: Option<Misfit>,
    /// A range of ports, also one of a single port.
    port_range: bool,
}

/// An address as it was typed: with the bits that a network has not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Typo {
    from: IpAddr,
    to: Option<IpAddr>,
    prefix: Option<u8>,
}

impl Typo {
    fn bits(&self) -> u8 {
        if self.from.is_ipv4() { 32 } else { 128 }
    }

    fn addresses(&self) -> Addresses {
        // The kernel looks at the host bits: not every network of a null address is refused as null.
        match (self.from, self.to, self.prefix.and_then(|prefix| Network::of_host(self.from, prefix))) {
            (IpAddr::V4(from), Some(IpAddr::V4(to)), _) => Addresses::Range(from, to),
            (_, _, Some(network)) => network.into(),
            (from, _, None) => Addresses::One(from),
        }
    }

    fn text(&self, with_range: bool) -> String {
        match (self.to, self.prefix) {
            (Some(to), _) if with_range => format!("{}-{}", Ip(self.from), Ip(to)),
            (None, Some(prefix)) if prefix < self.bits() => format!("{}/{prefix}", Ip(self.from)),
            _ => Ip(self.from).to_string(),
        }
    }
}

/// ICMP of the other family than the set's. It is told together with what else is wrong, and what stands behind it is
/// read as if the set were of IPv4.
#[derive(Clone, Copy)]
struct Misfit(&'static str);

impl Misfit {
    /// Tells it together with another failure.
    fn with(self, failure: Failure) -> Failure {
        match failure {
            Failure::Refused(text) => Failure::syntax(self.0).and(text),
            other => other,
        }
    }

    /// Tells it where nothing else is wrong.
    fn alone(self, kind: Kind, command: Command) -> Failure {
        if entry_options(kind, command).is_empty() {
            let text = "There are missing mandatory flags but can't check them. It's a bug, please report the problem.";
            return Failure::Unplaced(text.to_owned());
        }
        self.with(Failure::refused(format!("Invalid {} command: missing setname", command.name())))
    }
}

/// The kinds of text that stand in place of an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// One address.
    Plain,
    /// With IPv4, also networks and ranges; with IPv6, one address.
    Addresses,
    /// With IPv4, also ranges.
    Networks,
}

impl Reader<'_> {
    /// One address, by its number or its name; brackets hide its dashes.
    pub(crate) fn address(&self, text: &str, family: Family) -> Result<IpAddr, Failure> {
        let host = match text.strip_prefix('[') {
            None => text,
            Some(inner) => inner.strip_suffix(']').ok_or_else(|| no_end(text))?,
        };
        let (address, others) = self.names.address(host, family)?;
        if others && !self.quiet {
            let which = "using only the first one returned by the resolver.";
            complain(&values::bytes(&format!("Warning: {host} resolves to multiple addresses: {which}\n")));
        }
        Ok(address)
    }

    /// `ADDRESS/PREFIX`.
    pub(crate) fn with_prefix(&self, text: &str, family: Family) -> Result<(IpAddr, Option<u8>), Failure> {
        match split(text, b'/') {
            None => Ok((self.address(text, family)?, None)),
            Some((address, prefix)) => {
                let prefix = number_of_bits(prefix, 0, bits(family))?;
                Ok((self.address(address, family)?, Some(prefix)))
            }
        }
    }

    /// `FROM-TO`.
    pub(crate) fn address_range(&self, text: &str, family: Family) -> Result<(IpAddr, Option<IpAddr>), Failure> {
        match dash(text)? {
            None => Ok((self.address(text, family)?, None)),
            Some((from, to)) => Ok((self.address(from, family)?, Some(self.address(to, family)?))),
        }
    }

    /// Whether there is a range; behind a bracket stands a prefix length, a range or nothing.
    fn has_range(&self, text: &str, family: Family) -> Result<bool, Failure> {
        if split(text, b'/').is_some() {
            let rest = text.strip_prefix('[').and_then(|text| text.split_once(']'));
            return Ok(rest.map_or_else(|| split(text, b'-').is_some(), |(_, rest)| rest.contains('-')));
        }
        match dash(text)? {
            Some((_, "")) => self.address("", family).map(|_| true),
            range => Ok(range.is_some()),
        }
    }

    fn addresses(&self, text: &str, family: Family, form: Form) -> Result<Typo, Failure> {
        // Without these it is one address in every form. Most lines of a restore have none: its bar.
        if !text.bytes().any(|byte| matches!(byte, b'-' | b'/' | b'[')) {
            return Ok(Typo { from: self.address(text, family)?, to: None, prefix: None });
        }
        self.addresses_in_form(text, family, form)
    }

    fn addresses_in_form(&self, text: &str, family: Family, form: Form) -> Result<Typo, Failure> {
        let form = if family == Family::Inet6 && form == Form::Addresses { Form::Plain } else { form };
        let is_range = || split(text, b'/').is_none() && split(text, b'-').is_some();
        match form {
            Form::Plain => {
                let plain = || Failure::syntax(format_args!("plain IP address must be supplied: {text}"));
                let host = if family == Family::Inet { "32" } else { "128" };
                match split(text, b'/') {
                    Some((_, prefix)) if prefix != host => return Err(plain()),
                    None if self.has_range(text, family)? => return Err(plain()),
                    _ => {}
                }
                let (from, prefix) = self.with_prefix(text, family)?;
                Ok(Typo { from, to: None, prefix })
            }
            Form::Networks if family == Family::Inet6 => {
                if self.has_range(text, family)? {
                    return Err(Failure::syntax(format_args!("IP address or IP/cidr must be specified: {text}")));
                }
                let (from, prefix) = self.with_prefix(text, family)?;
                Ok(Typo { from, to: None, prefix })
            }
            _ if is_range() => {
                let (from, to) = self.address_range(text, family)?;
                Ok(Typo { from, to, prefix: None })
            }
            _ => {
                self.has_range(text, family)?;
                let (from, prefix) = self.with_prefix(text, family)?;
                Ok(Typo { from, to: None, prefix })
            }
        }
    }

    /// A port by its number, or by its name for a protocol.
    pub(crate) fn port(&self, text: &str, protocol: &str) -> Result<u16, Failure> {
        let wrong = || format!("cannot parse '{text}' as a {protocol} port");
        let invalid = match small(text, u16::MAX.into()) {
            Ok(port) => return Ok(port),
            Err(_) if text.starts_with('[') && !text.ends_with(']') => {
                return Err(no_end(text).and(wrong()).unplaced());
            }
            Err(failure) => failure,
        };
        let service = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let number: Result<u8, Failure> = small(protocol, u8::MAX.into());
        let (failure, name) = match number {
            Ok(number) => (invalid, self.names.protocol_name(number)),
            Err(Failure::Refused(text)) => (invalid.and(text), protocol.into()),
            Err(other) => (other, "".into()),
        };
        self.names.port(service, &name).ok_or_else(|| failure.and(wrong()).unplaced())
    }

    /// A port or a range of them.
    fn ports(&self, text: &str, protocol: &str) -> Result<(u16, Option<u16>), Failure> {
        match dash(text)? {
            None => Ok((self.port(text, protocol)?, None)),
            Some((first, last)) => {
                let last = self.port(last, protocol)?;
                Ok((self.port(first, protocol)?, Some(last)))
            }
        }
    }

    /// A protocol by its name or its number.
    fn protocol(&self, text: &str) -> Result<u8, Failure> {
        let unknown = |_| Failure::syntax(format_args!("cannot parse '{text}' as a protocol"));
        match self.names.protocol(text) {
            Some(0) => Err(Failure::syntax(format_args!("Unsupported protocol '{text}'"))),
            Some(number) => Ok(number),
            None => small(text, u8::MAX.into()).map_err(unknown),
        }
    }

    /// `PROTOCOL:PORT`; of TCP without a protocol.
    fn protocol_and_ports(&self, text: &str) -> Result<(u8, u16, Option<u16>), Failure> {
        let Some((protocol, port)) = split(text, b':') else {
            let (first, last) = self.ports(text, "tcp")?;
            return Ok((6, first, last));
        };
        let number = self.protocol(protocol)?;
        match number {
            6 | 17 | 132 | 136 => {
                let (first, last) = self.ports(port, protocol)?;
                Ok((number, first, last))
            }
            ICMP | ICMPV6 => Ok((number, icmp_port(number, port)?, None)),
            _ if port == "0" => Ok((number, 0, None)),
            _ => Err(Failure::syntax(format_args!("Protocol {protocol} can be used with pseudo port value 0 only."))),
        }
    }

    /// Reads the ports of a `bitmap:port`. The protocol only serves to find the name of a port.
    pub(crate) fn tcp_or_udp_ports(&self, text: &str) -> Result<(u16, Option<u16>), Failure> {
        match self.protocol_and_ports(text)? {
            (6 | 17, first, last) => Ok((first, last)),
            _ => Err(Failure::syntax("Only protocols TCP and UDP are valid")),
        }
    }

    fn protocol_ports(&self, text: &str, family: Family, parts: &mut Parts) -> Result<ProtocolPorts, Failure> {
        let misfit = match split(text, b':').and_then(|(protocol, _)| self.protocol(protocol).ok()) {
            Some(ICMP) if family == Family::Inet6 => Misfit("Protocol ICMP can be used with family inet only"),
            Some(ICMPV6) if family == Family::Inet => Misfit("Protocol ICMPv6 can be used with family inet6 only"),
            _ => {
                let (protocol, first, last) = self.protocol_and_ports(text)?;
                let ports = Ports { first, last: last.unwrap_or(first) };
                parts.port_range = last.is_some();
                return Ok(ProtocolPorts::of(Protocol(protocol.into()), ports));
            }
        };
        parts.misfit = Some(misfit);
        Ok(ProtocolPorts::protocol(0))
    }

    /// Reads an entry and what it carries.
    pub(crate) fn entry(
        &self,
        command: Command,
        set: &Set<AnyType>,
        text: &str,
        words: &[Word<'_>],
    ) -> Result<Typed, Failure> {
        let mut parts = Parts::default();
        let family = set.family().unwrap_or(Family::Inet);
        let read = self.element(set.kind(), family, text, &mut parts).and_then(|mut entry| {
            let placed = matches!(entry, Entry::Set(ListMember { place: Some(_), .. }));
            let carried = Carried::read(set.kind(), command, placed, words)?;
            parts.check(set, command)?;
            carried.place(&mut entry);
            let mut member = Member::new(entry);
            carried.give(&mut member);
            Ok(member)
        });
        let member = match (read, parts.misfit) {
            (Ok(member), None) => member,
            (Ok(_), Some(misfit)) => return Err(misfit.alone(set.kind(), command)),
            (Err(failure), Some(misfit)) => return Err(misfit.with(failure)),
            (Err(failure), None) => return Err(failure),
        };
        // The library refuses it before the kernel does.
        if let (Entry::IpPort(_, ports) | Entry::IpPortIp(_, ports, _), Command::Add | Command::Del) =
            (&member.entry, command)
        {
            if ports.protocol == Protocol(0) {
                return Err(refused(command.name(), Some(set.kind()), INVALID_PROTOCOL));
            }
        }
        let mut typed = Typed { member, parts };
        if command == Command::Test {
            typed.only_first(set.kind());
        }
        Ok(typed)
    }

    fn element(&self, kind: Kind, family: Family, text: &str, parts: &mut Parts) -> Result<Entry, Failure> {
        // The number of an address has no parts. For the bar of `ipset-rs restore`.
        if let (Kind::BitmapIp | Kind::HashIp | Kind::HashNet, Family::Inet) = (kind, family) {
            if let Some(address) = inet(text) {
                let address = Typo { from: address.into(), to: None, prefix: None };
                parts.first = Some(address);
                return Ok(Entry::Ip(address.addresses()));
            }
        }
        self.element_of_parts(kind, family, text, parts)
    }

    fn element_of_parts(&self, kind: Kind, family: Family, text: &str, parts: &mut Parts) -> Result<Entry, Failure> {
        let [first, second, third] = pieces(kind, text)?;
        let piece = |at: usize| [first, second, third].get(at).copied().flatten().unwrap_or_default();
        let form = match kind {
            Kind::BitmapIpMac => Form::Plain,
            Kind::HashNet | Kind::HashNetIface | Kind::HashNetNet | Kind::HashNetPort | Kind::HashNetPortNet => {
                Form::Networks
            }
            _ => Form::Addresses,
        };
        let mut ip = |at, family, form| -> Result<Addresses, Failure> {
            let typo = self.addresses(piece(at), family, form)?;
            if at == 0 {
                parts.first = Some(typo)
            } else {
                parts.second = Some(typo)
            }
            Ok(typo.addresses())
        };
        Ok(match kind {
            Kind::BitmapIp | Kind::HashIp | Kind::HashNet => Entry::Ip(ip(0, family, form)?),
            Kind::BitmapIpMac => {
                let first = ip(0, family, form)?.first();
                Entry::IpMac(first, second.map(mac).transpose()?)
            }
            Kind::HashIpMac => Entry::IpMac(ip(0, family, form)?.first(), Some(mac(piece(1))?)),
            Kind::HashIpMark => Entry::IpMark(ip(0, family, form)?, small(piece(1), u32::MAX.into())?),
            Kind::HashIpPort | Kind::HashNetPort => {
                let first = ip(0, family, form)?;
                Entry::IpPort(first, self.protocol_ports(piece(1), family, parts)?)
            }
            Kind::HashIpPortIp | Kind::HashIpPortNet | Kind::HashNetPortNet => {
                let first = ip(0, family, form)?;
                let ports = self.protocol_ports(piece(1), family, parts)?;
                let family = parts.misfit.map_or(family, |_| Family::Inet);
                let form = if kind == Kind::HashIpPortIp { Form::Plain } else { Form::Networks };
                let second = self.addresses(piece(2), family, form)?;
                parts.second = Some(second);
                Entry::IpPortIp(first, ports, second.addresses())
            }
            Kind::HashNetNet => Entry::IpIp(ip(0, family, form)?, ip(1, family, form)?),
            Kind::HashNetIface => Entry::IpInterface(ip(0, family, form)?, interface(piece(1))?),
            Kind::BitmapPort => {
                let (first, last) = self.tcp_or_udp_ports(text)?;
                parts.port_range = last.is_some();
                Entry::Port(Ports { first, last: last.unwrap_or(first) })
            }
            Kind::HashMac => Entry::Mac(mac(text)?),
            _ => Entry::Set(list_member(text)?),
        })
    }
}

impl Parts {
    /// Refuses an entry that cannot be tested, though it can be added.
    fn check(&self, set: &Set<AnyType>, command: Command) -> Result<(), Failure> {
        let (kind, family) = (set.kind(), set.family());
        let test = command == Command::Test;
        let has_mac = matches!(kind, Kind::BitmapIpMac | Kind::HashIpMac);
        let is_port = matches!(kind, Kind::HashIpPort | Kind::HashIpPortIp | Kind::HashIpPortNet);
        let refused = |what: &str| {
            let family = match family {
                // A bitmap of addresses knows its family, but not by an option.
                None if kind == Kind::BitmapPort => "unspec".to_owned(),
                None => "inet".to_owned(),
                Some(family) => family.to_string(),
            };
            let command = command.name();
            Err(Failure::Unplaced(format!(
                "{what} range is not allowed in command {command} with set type {kind} and family {family}"
            )))
        };
        if self.misfit.is_some() {
            // Where there are no options, what is missing is noticed first.
            return if entry_options(kind, command).is_empty() { Ok(()) } else { self.check_second(kind, command) };
        }
        let first = self.first;
        let range = first.is_some_and(|first| first.to.is_some());
        let prefix = first.is_some_and(|first| first.prefix.is_some());
        if range && (has_mac || (test && !matches!(kind, Kind::HashIp | Kind::HashIpMark))) {
            return refused("FROM-TO IP");
        }
        if prefix && (has_mac || (test && (is_port || kind == Kind::BitmapIp))) {
            return refused("IP/CIDR");
        }
        if test && self.port_range {
            return refused("FROM-TO port");
        }
        self.check_second(kind, command)
    }

    /// A second address that is no network cannot have a prefix length.
    fn check_second(&self, kind: Kind, command: Command) -> Result<(), Failure> {
        if kind == Kind::HashIpPortIp && self.second.is_some_and(|second| second.prefix.is_some()) {
            let none = entry_options(kind, command).is_empty();
            let why = if none { "option list is empty" } else { "can't resolve them" };
            return Err(Failure::Unplaced(format!(
                "There are not allowed options (28) but {why}. It's a bug, please report the problem."
            )));
        }
        Ok(())
    }
}

impl Typed {
    /// Keeps the first address of a range where the original tests that one: in sets of addresses, and of a second range.
    fn only_first(&mut self, kind: Kind) {
        let Some(Typo { from, .. }) = self.parts.first else { return };
        match (&mut self.member.entry, kind) {
            (Entry::Ip(ip), Kind::HashIp) | (Entry::IpMark(ip, _), _) => {
                *ip = Addresses::One(from);
            }
            (Entry::IpIp(_, other) | Entry::IpPortIp(_, _, other), _) => {
                if let Addresses::Range(first, _) = *other {
                    *other = Addresses::One(first.into());
                }
            }
            _ => {}
        }
    }

    /// How it is told whether it is in a set.
    pub(crate) fn text(&self, kind: Kind, names: &Names) -> String {
        let first = self.parts.first.map(|typo| typo.text(matches!(kind, Kind::HashIp | Kind::HashIpMark)));
        let mut text = first.unwrap_or_default();
        match &self.member.entry {
            Entry::IpMac(_, Some(mac)) => text.push_str(&format!(",{mac}")),
            Entry::IpMark(_, mark) => text.push_str(&format!(",0x{mark:08x}")),
            Entry::IpPort(_, ports) | Entry::IpPortIp(_, ports, _) => {
                let mut port = vec![b','];
                push_port(&mut port, *ports, names);
                text.push_str(&values::text(&port));
            }
            Entry::IpInterface(_, interface) => text.push_str(&format!(",{}", values::text(interface.name.as_bytes()))),
            Entry::Port(ports) => text.push_str(&ports.first.to_string()),
            Entry::Mac(mac) => text.push_str(&mac.to_string()),
            Entry::Set(ListMember { set, place }) => {
                text.push_str(&values::text(set.as_bytes()));
                // Whichever it is.
                if let Some(Place::Before(other) | Place::After(other)) = place {
                    text.push_str(&format!(" after {}", values::text(other.as_bytes())));
                }
            }
            _ => {}
        }
        if let Some(second) = self.parts.second {
            text.push(',');
            text.push_str(&second.text(false));
        }
        text
    }
}

/// The parts of an entry, which commas separate.
fn pieces(kind: Kind, text: &str) -> Result<[Option<&str>; 3], Failure> {
    let wrong = |what: std::fmt::Arguments<'_>| Err(Failure::syntax(what));
    if kind == Kind::ListSet {
        return Ok([Some(text), None, None]);
    }
    let mut pieces = [None; 3];
    let mut rest = Some(text);
    for piece in &mut pieces {
        (*piece, rest) = match rest.and_then(|rest| split(rest, b',')) {
            Some((first, rest)) => (Some(first), Some(rest)),
            None => (rest, None),
        };
    }
    let found = pieces.iter().flatten().count() + usize::from(rest.is_some());
    let dimensions = 1 + kind.name().bytes().filter(|byte| *byte == b',').count();
    match (found, dimensions) {
        (2.., 1) => wrong(format_args!("Elem separator in {text}, but settype {kind} supports none.")),
        (3.., 2) => wrong(format_args!("Two elem separators in {text}, but settype {kind} supports one.")),
        (4.., 3) => wrong(format_args!("Three elem separators in {text}, but settype {kind} supports two.")),
        (1, 2) if kind == Kind::BitmapIpMac => Ok(pieces),
        (1, 2..) => wrong(format_args!("Second element is missing from {text}.")),
        (2, 3) => wrong(format_args!("Third element is missing from {text}.")),
        _ => Ok(pieces),
    }
}

/// Parts a range at its dash; brackets around the first part hide those in it.
pub(crate) fn dash(text: &str) -> Result<Option<(&str, &str)>, Failure> {
    if !text.starts_with('[') {
        return Ok(split(text, b'-'));
    }
    let end = text.find(']').ok_or_else(|| no_end(text))? + 1;
    let (first, rest) = text.split_at(end);
    match rest.strip_prefix('-') {
        Some(last) => Ok(Some((first, last))),
        None if rest.is_empty() => Ok(None),
        None => Err(Failure::syntax(format_args!("range separator expected after '{first}'"))),
    }
}

fn no_end(text: &str) -> Failure {
    Failure::syntax(format_args!("cannot find closing escape character ']' in {text}"))
}

/// The type and the code of ICMP or ICMPv6, by a name or by their numbers, as a port.
fn icmp_port(protocol: u8, text: &str) -> Result<u16, Failure> {
    if let Some((kind, code)) = icmp(protocol, text) {
        return Ok(u16::from_be_bytes([kind, code]));
    }
    let name = if protocol == ICMP { "ICMP" } else { "ICMPv6" };
    let unknown = || Failure::refused(format!("Cannot parse {text} as an {name} type/code."));
    let (kind, code) = split(text, b'/').ok_or_else(unknown)?;
    Ok(u16::from_be_bytes([small(kind, u8::MAX.into())?, small(code, u8::MAX.into())?]))
}

fn interface(text: &str) -> Result<InterfaceMatch, Failure> {
    let (name, physdev) = match text.strip_prefix("physdev:") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let too_long = |_| Failure::syntax(format_args!("interface name '{name}' is longer than 15 characters"));
    let interface = InterfaceMatch::new(InterfaceName::any(values::bytes(name)).map_err(too_long)?);
    Ok(InterfaceMatch { physdev, ..interface })
}

/// A set in a list; where in it may be said as in versions before 5: `name,before,other`.
fn list_member(text: &str) -> Result<ListMember, Failure> {
    let Some((name, rest)) = split(text, b',') else { return Ok(ListMember::new(set_name(text)?)) };
    let wrong = || Failure::refused("you must specify elements as setname,[before|after],setname");
    let (place, other) = rest.split_once(',').ok_or_else(wrong)?;
    let member = ListMember::new(set_name(name)?);
    let place: fn(SetName) -> Place = match place {
        "before" => Place::Before,
        "after" => Place::After,
        _ => return Err(wrong()),
    };
    Ok(ListMember { place: Some(place(set_name(other)?)), ..member })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_addresses_are_read_as_other_elements() {
        let reader = Reader { names: &Names::default(), quiet: true };
        for text in
            ["10.0.0.1", "0.0.0.0", "10.1", "010.0.0.8", "4294967295", "256.1", "1.1.1.1.1", "", "::", "1.1.1.1,2"]
        {
            for kind in Kind::ALL.iter().copied() {
                for family in [Family::Inet, Family::Inet6] {
                    let [mut quick, mut plain] = [Parts::default(), Parts::default()];
                    let element = reader.element(kind, family, text, &mut quick);
                    assert_eq!(
                        element,
                        reader.element_of_parts(kind, family, text, &mut plain),
                        "{text} {kind} {family}"
                    );
                    let [quick, plain] = [quick, plain].map(|parts| (parts.first, parts.second, parts.port_range));
                    assert_eq!(quick, plain, "{text} {kind} {family}");
                }
            }
        }
    }

    #[test]
    fn single_addresses_are_the_same_in_every_form() {
        let reader = Reader { names: &Names::default(), quiet: true };
        for text in ["10.0.0.1", "10.1", "", " ", "1.1.1.1.1", "::1", "::", "2001:db8::1", ":", "10.0.0.1]", "0x1.1"] {
            for family in [Family::Inet, Family::Inet6] {
                for form in [Form::Plain, Form::Addresses, Form::Networks] {
                    let [quick, plain] =
                        [reader.addresses(text, family, form), reader.addresses_in_form(text, family, form)];
                    assert_eq!(quick, plain, "{text} {family} {form:?}");
                }
            }
        }
    }
}
