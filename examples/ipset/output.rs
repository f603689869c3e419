//! Lists of sets: plain, as commands, as XML and as JSON.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use lvs::Family;
use lvs::ipset::{
    Addresses, AnyType, Comment, Entry, InterfaceMatch, Kind, Listed, Member, Method, ProtocolPorts, SetInfo, SetName,
};

use crate::decimal::{push_ipv4, push_number};
use crate::escape::{Escaped, Json, Xml};
use crate::names::{ICMP, ICMPV6, Names, icmp_name};
use crate::sort;
use crate::syntax::{Mode, Settings};

/// An address as the C library writes it.
pub(crate) struct Ip(pub(crate) IpAddr);

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(v6) => match v6.octets() {
                // It shows the addresses that were once called IPv4-compatible with dots.
                [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] if (a, b) != (0, 0) => write!(f, "::{a}.{b}.{c}.{d}"),
                _ => Ipv6Addr::fmt(&v6, f),
            },
            IpAddr::V4(v4) => v4.fmt(f),
        }
    }
}

/// Appends the first port of a protocol: `tcp:80`, `icmp:echo-request`, `esp:0`.
pub(crate) fn push_port(line: &mut Vec<u8>, ports: ProtocolPorts, names: &Names) {
    let protocol = u8::try_from(ports.protocol.0).unwrap_or_default();
    line.extend_from_slice(names.protocol_name(protocol).as_bytes());
    line.push(b':');
    let port = ports.ports.first;
    if !matches!(protocol, ICMP | ICMPV6) {
        return push_number(line, port.into());
    }
    let [kind, code] = port.to_be_bytes();
    match icmp_name(protocol, kind, code) {
        Some(name) => line.extend_from_slice(name.as_bytes()),
        None => {
            push_number(line, kind.into());
            line.push(b'/');
            push_number(line, code.into());
        }
    }
}

/// A value of an option.
enum Shown {
    Flag,
    Number(u64),
    Text(String),
}

/// Returns the options of a set, in the order of its type.
fn header(info: &SetInfo) -> Vec<(&'static str, Shown)> {
    let (kind, options) = (info.set.kind(), &info.options);
    let number = |name, value: Option<u32>| value.map(|value| (name, Shown::Number(value.into())));
    let flag = |name, is_set: bool| is_set.then_some((name, Shown::Flag));
    let netmask = number("netmask", options.netmask.map(u32::from));
    let bitmask = options.bitmask.map(|mask| ("bitmask", Shown::Text(Ip(mask).to_string())));
    let mask = netmask.or(bitmask);
    let (early_mask, late_mask) = match kind {
        Kind::HashIpPort | Kind::HashNetNet => (None, mask),
        _ => (mask, None),
    };
    let family = options.family.map(|family| {
        let name = if family == Family::Inet6 { "inet6" } else { "inet" };
        ("family", Shown::Text(name.into()))
    });
    let all = [
        options.range.map(|range| ("range", Shown::Text(range.to_string()))),
        family,
        options.markmask.map(|mask| ("markmask", Shown::Text(format!("0x{mask:08x}")))),
        number("hashsize", options.hashsize),
        number("maxelem", options.maxelem),
        number("size", options.size),
        early_mask,
        options.timeout.map(|timeout| ("timeout", Shown::Number(timeout.as_secs()))),
        flag("counters", options.counters),
        flag("comment", options.comment),
        flag("forceadd", options.forceadd),
        flag("skbinfo", options.skbinfo),
        number("bucketsize", options.bucketsize.map(u32::from)),
        options.initval.map(|value| ("initval", Shown::Text(format!("0x{value:08x}")))),
        late_mask,
    ];
    all.into_iter().flatten().collect()
}

/// Writes lists.
pub(crate) struct Printer<'a, W: Write> {
    out: W,
    mode: Mode,
    settings: &'a Settings,
    names: &'a Names,
    /// How many sets were written.
    sets: usize,
    /// The set whose members come.
    set: Option<SetInfo>,
    /// How many of its members were written.
    members: usize,
    /// The member that is being written, or the last one.
    line: Vec<u8>,
    /// Members to be sorted, each with the range of its entry.
    unsorted: Vec<(Vec<u8>, Range<usize>)>,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(crate) fn new(out: W, mode: Mode, settings: &'a Settings, names: &'a Names) -> Self {
        Self { out, mode, settings, names, sets: 0, set: None, members: 0, line: Vec::new(), unsorted: Vec::new() }
    }

    /// Writes the text before a set.
    fn start_set(&mut self) -> io::Result<()> {
        let first = self.sets == 0;
        self.sets += 1;
        match (self.mode, first) {
            (Mode::Xml, true) => writeln!(self.out, "<ipsets>"),
            (Mode::Json, true) => writeln!(self.out, "["),
            (Mode::Json, false) => writeln!(self.out, ","),
            (Mode::Plain, false) if !self.settings.names_only => writeln!(self.out),
            _ => Ok(()),
        }
    }

    /// A set of which only the name is shown.
    pub(crate) fn name(&mut self, name: SetName) -> io::Result<()> {
        self.start_set()?;
        match self.mode {
            Mode::Xml => writeln!(self.out, "<ipset name=\"{}\"/>", Xml(&name.to_string())),
            Mode::Json => write!(self.out, "  {{ \"name\" : {} }}", Json(&name.to_string())),
            _ => self.out.write_all(name.as_bytes()).and_then(|()| writeln!(self.out)),
        }
    }

    /// A line of a list.
    pub(crate) fn line(&mut self, listed: &Listed) -> io::Result<()> {
        match listed {
            Listed::Set(info) => self.set(info),
            Listed::Member(member) => self.member(member),
        }
    }

    /// A set; its members follow.
    pub(crate) fn set(&mut self, info: &SetInfo) -> io::Result<()> {
        self.end_set()?;
        self.start_set()?;
        let (set, out) = (&info.set, &mut self.out);
        match self.mode {
            Mode::Plain => {
                write!(out, "Name: ")?;
                out.write_all(set.name().as_bytes())?;
                write!(out, "\nType: {}\nRevision: {}\nHeader:", set.kind(), info.revision)?;
                for (name, value) in header(info) {
                    write_option(out, name, &value)?;
                }
                write!(out, "\nSize in memory: {}\nReferences: {}\n", info.memory, info.references)?;
                writeln!(out, "Number of entries: {}", info.entries)?;
                if !self.settings.terse {
                    writeln!(out, "Members:")?;
                }
            }
            Mode::Save => {
                write!(out, "create ")?;
                out.write_all(set.name().as_bytes())?;
                write!(out, " {}", set.kind())?;
                for (name, value) in header(info) {
                    write_option(out, name, &value)?;
                }
                writeln!(out)?;
            }
            Mode::Xml => {
                writeln!(out, "<ipset name=\"{}\">", Xml(&set.name().to_string()))?;
                write!(out, "<type>{}</type>\n<revision>{}</revision>\n<header>", set.kind(), info.revision)?;
                for (name, value) in header(info) {
                    match value {
                        Shown::Flag => write!(out, "<{name}/>")?,
                        Shown::Number(number) => write!(out, "<{name}>{number}</{name}>")?,
                        Shown::Text(text) => write!(out, "<{name}>{text}</{name}>")?,
                    }
                }
                let SetInfo { memory, references, entries, .. } = info;
                writeln!(out, "\n<memsize>{memory}</memsize>\n<references>{references}</references>")?;
                writeln!(out, "<numentries>{entries}</numentries>\n</header>")?;
                if !self.settings.terse {
                    writeln!(out, "<members>")?;
                }
            }
            Mode::Json => {
                write!(out, "  {{\n    \"name\" : {},\n", Json(&set.name().to_string()))?;
                write!(out, "    \"type\" : \"{}\",\n    \"revision\" : {},\n", set.kind(), info.revision)?;
                writeln!(out, "    \"header\" : {{")?;
                for (name, value) in header(info) {
                    match value {
                        Shown::Flag => writeln!(out, "      \"{name}\" : true,")?,
                        Shown::Number(number) => writeln!(out, "      \"{name}\" : {number},")?,
                        Shown::Text(text) => writeln!(out, "      \"{name}\" : \"{text}\",")?,
                    }
                }
                let SetInfo { memory, references, entries, .. } = info;
                write!(out, "      \"memsize\" : {memory},\n      \"references\" : {references},\n")?;
                write!(out, "      \"numentries\" : {entries}\n    }}")?;
                write!(out, "{}", if self.settings.terse { "\n" } else { ",\n    \"members\" : [\n" })?;
            }
        }
        self.set = Some(*info);
        Ok(())
    }

    fn member(&mut self, member: &Member<AnyType>) -> io::Result<()> {
        let Some(info) = &self.set else { return Ok(()) };
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        match self.mode {
            Mode::Plain => {}
            Mode::Save => {
                line.extend_from_slice(b"add ");
                line.extend_from_slice(info.set.name().as_bytes());
                line.push(b' ');
            }
            Mode::Xml => line.extend_from_slice(b"<member><elem>"),
            Mode::Json => line.extend_from_slice(b"      {\n        \"elem\" : \""),
        }
        let start = line.len();
        self.entry(&mut line, &member.entry)?;
        let elem = start..line.len();
        self.carried(&mut line, member)?;
        let end: &[u8] = match self.mode {
            Mode::Xml => b"</member>\n",
            // The end of the line depends on whether another member follows.
            Mode::Json => b"\n      }",
            Mode::Plain | Mode::Save => b"\n",
        };
        line.extend_from_slice(end);
        if self.settings.sorted && info.set.kind().method() == Method::Hash {
            self.unsorted.push((line, elem));
            return Ok(());
        }
        self.write_member(&line)?;
        self.line = line;
        Ok(())
    }

    fn write_member(&mut self, line: &[u8]) -> io::Result<()> {
        if self.mode == Mode::Json && self.members > 0 {
            writeln!(self.out, ",")?;
        }
        self.members += 1;
        self.out.write_all(line)
    }

    /// Writes the text after the last member of a set.
    fn end_set(&mut self) -> io::Result<()> {
        if self.set.take().is_none() {
            return Ok(());
        }
        let mut lines = std::mem::take(&mut self.unsorted);
        sort::sort(&mut lines, self.settings.resolve);
        for (line, _) in lines {
            self.write_member(&line)?;
        }
        let members = std::mem::take(&mut self.members);
        match self.mode {
            Mode::Plain | Mode::Save => Ok(()),
            Mode::Xml if self.settings.terse => writeln!(self.out, "</ipset>"),
            Mode::Xml => writeln!(self.out, "</members>\n</ipset>"),
            Mode::Json => {
                if members > 0 {
                    writeln!(self.out)?;
                }
                if !self.settings.terse {
                    writeln!(self.out, "    ]")?;
                }
                write!(self.out, "  }}")
            }
        }
    }

    /// Writes the text after the last set.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.end_set()?;
        match (self.mode, self.sets) {
            (Mode::Xml, 0) => writeln!(self.out, "<ipsets>\n</ipsets>")?,
            (Mode::Xml, _) => writeln!(self.out, "</ipsets>")?,
            (Mode::Json, 0) => write!(self.out, "[\n\n]\n")?,
            (Mode::Json, _) => write!(self.out, "\n]\n")?,
            _ => {}
        }
        self.out.flush()
    }

    fn ip(&self, line: &mut Vec<u8>, address: IpAddr) -> io::Result<()> {
        match self.settings.resolve.then(|| self.names.host(address)).flatten() {
            // A dash would be read as that of a range.
            Some(name) if name.contains('-') => write!(line, "[{name}]"),
            Some(name) => line.write_all(name.as_bytes()),
            None => push_ip(line, address),
        }
    }

    fn addresses(&self, line: &mut Vec<u8>, addresses: Addresses) -> io::Result<()> {
        self.ip(line, addresses.first())?;
        if let Addresses::Network(network) = addresses {
            line.push(b'/');
            push_number(line, network.prefix().into());
        }
        Ok(())
    }

    fn port(&self, line: &mut Vec<u8>, ports: ProtocolPorts) {
        line.push(b',');
        push_port(line, ports, self.names);
    }

    fn entry(&self, line: &mut Vec<u8>, entry: &Entry) -> io::Result<()> {
        match *entry {
            Entry::Ip(ip) => self.addresses(line, ip),
            Entry::IpMac(ip, mac) => {
                self.ip(line, ip)?;
                mac.map_or(Ok(()), |mac| write!(line, ",{mac}"))
            }
            Entry::IpMark(ip, mark) => {
                self.addresses(line, ip)?;
                write!(line, ",0x{mark:08x}")
            }
            Entry::IpPort(ip, port) => {
                self.addresses(line, ip)?;
                self.port(line, port);
                Ok(())
            }
            Entry::IpPortIp(ip, port, other) => {
                self.addresses(line, ip)?;
                self.port(line, port);
                line.push(b',');
                self.addresses(line, other)
            }
            Entry::IpIp(ip, other) => {
                self.addresses(line, ip)?;
                line.push(b',');
                self.addresses(line, other)
            }
            Entry::IpInterface(ip, InterfaceMatch { name, physdev, .. }) => {
                self.addresses(line, ip)?;
                line.extend_from_slice(if physdev { b",physdev:" } else { b"," });
                self.text(line, name.as_bytes())
            }
            Entry::Port(ports) => {
                push_number(line, ports.first.into());
                Ok(())
            }
            Entry::Mac(mac) => write!(line, "{mac}"),
            Entry::Set(set) => self.text(line, set.set.as_bytes()),
        }
    }

    /// A name, which may have any byte in it. XML and JSON are text: there U+FFFD replaces bytes that are not UTF-8.
    fn text(&self, line: &mut Vec<u8>, name: &[u8]) -> io::Result<()> {
        let text = || String::from_utf8_lossy(name);
        match self.mode {
            Mode::Xml => write!(line, "{}", Xml(&text())),
            Mode::Json => write!(line, "{}", Escaped(&text())),
            Mode::Plain | Mode::Save => line.write_all(name),
        }
    }

    /// Writes the end of the entry and what the member carries.
    fn carried(&self, line: &mut Vec<u8>, member: &Member<AnyType>) -> io::Result<()> {
        match self.mode {
            Mode::Xml => line.extend_from_slice(b"</elem>"),
            Mode::Json => line.push(b'"'),
            Mode::Plain | Mode::Save => {}
        }
        let Member { entry, timeout, counters, comment, skb, nomatch, .. } = member;
        if let Some(timeout) = timeout {
            self.number(line, "timeout", timeout.as_secs())?;
        }
        self.flag(line, "nomatch", *nomatch);
        self.flag(line, "wildcard", matches!(entry, Entry::IpInterface(_, interface) if interface.wildcard));
        if let Some(packets) = counters.packets {
            self.number(line, "packets", packets)?;
        }
        if let Some(bytes) = counters.bytes {
            self.number(line, "bytes", bytes)?;
        }
        if let Some(comment) = comment {
            self.option(line, "comment", |line| self.comment(line, comment))?;
        }
        match skb.mark {
            Some((mark, u32::MAX)) => self.option(line, "skbmark", |line| write!(line, "0x{mark:x}"))?,
            Some((mark, mask)) => self.option(line, "skbmark", |line| write!(line, "0x{mark:x}/0x{mask:x}"))?,
            None => {}
        }
        if let Some((major, minor)) = skb.priority {
            self.option(line, "skbprio", |line| write!(line, "{major:x}:{minor:x}"))?;
        }
        skb.queue.map_or(Ok(()), |queue| self.number(line, "skbqueue", queue.into()))
    }

    /// Writes an option, whose value `write` appends.
    fn option(
        &self,
        line: &mut Vec<u8>,
        name: &str,
        write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (before, between) = match self.mode {
            Mode::Xml => ("<", ">"),
            Mode::Json => (",\n        \"", "\" : \""),
            Mode::Plain | Mode::Save => (" ", " "),
        };
        for part in [before, name, between] {
            line.extend_from_slice(part.as_bytes());
        }
        write(line)?;
        match self.mode {
            Mode::Xml => write!(line, "</{name}>"),
            Mode::Json => write!(line, "\""),
            Mode::Plain | Mode::Save => Ok(()),
        }
    }

    fn number(&self, line: &mut Vec<u8>, name: &str, value: u64) -> io::Result<()> {
        self.option(line, name, |line| {
            push_number(line, value);
            Ok(())
        })
    }

    fn flag(&self, line: &mut Vec<u8>, name: &str, is_set: bool) {
        let (before, behind) = match self.mode {
            _ if !is_set => return,
            Mode::Xml => ("<", "/>"),
            Mode::Json => (",\n        \"", "\" : true"),
            Mode::Plain | Mode::Save => (" ", ""),
        };
        for part in [before, name, behind] {
            line.extend_from_slice(part.as_bytes());
        }
    }

    /// A comment, in quotes but for JSON.
    fn comment(&self, line: &mut Vec<u8>, comment: &Comment) -> io::Result<()> {
        if self.mode == Mode::Json {
            return self.text(line, comment.as_bytes());
        }
        line.push(b'"');
        self.text(line, comment.as_bytes())?;
        line.push(b'"');
        Ok(())
    }
}

/// Appends an address as [`Ip`] writes it.
fn push_ip(line: &mut Vec<u8>, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(v4) => {
            push_ipv4(line, v4);
            Ok(())
        }
        IpAddr::V6(_) => write!(line, "{}", Ip(address)),
    }
}

fn write_option(out: &mut impl Write, name: &str, value: &Shown) -> io::Result<()> {
    match value {
        Shown::Flag => write!(out, " {name}"),
        Shown::Number(number) => write!(out, " {name} {number}"),
        Shown::Text(text) => write!(out, " {name} {text}"),
    }
}

#[cfg(test)]
mod tests {
    use lvs::Protocol;

    use super::*;

    #[test]
    fn addresses_are_written_as_by_the_c_library() {
        for text in [
            "10.0.0.1",
            "::",
            "::1",
            "::ff",
            "::1.2.3.4",
            "::ffff:1.2.3.4",
            "1::2:0:0:0",
            "1:2:3:4:5:6:7:0",
            "2001:db8::1",
        ] {
            assert_eq!(Ip(text.parse().unwrap()).to_string(), text);
        }
    }

    #[test]
    fn ports_have_names() {
        let names = Names::default();
        let port = |protocol, port: u16| {
            let mut line = Vec::new();
            push_port(&mut line, ProtocolPorts::of(Protocol(protocol), port), &names);
            String::from_utf8(line).unwrap()
        };
        assert!(port(1, 0x0800).ends_with(":echo-request"));
        assert!(port(1, 0x2104).ends_with(":33/4"));
        assert!(port(6, 80).ends_with(":80"));
    }
}
