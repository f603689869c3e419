//! Lists of sets: plain, as commands, as XML and as JSON.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr};

use lvs::ipset::{Addresses, AnyType, Entry, InterfaceMatch, Kind, Listed, Member, ProtocolPorts, SetInfo, SetName};
use lvs::{Family, Protocol};

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

/// A port of a protocol: `tcp:80`, `icmp:echo-request`, `esp:0`.
pub(crate) struct Port<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    pub(crate) names: &'a Names,
}

impl fmt::Display for Port<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = u8::try_from(self.protocol.0).unwrap_or_default();
        write!(f, "{}:", self.names.protocol_name(protocol))?;
        if !matches!(protocol, ICMP | ICMPV6) {
            return self.port.fmt(f);
        }
        let [kind, code] = self.port.to_be_bytes();
        match icmp_name(protocol, kind, code) {
            Some(name) => f.write_str(name),
            None => write!(f, "{kind}/{code}"),
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

/// Writes lists; what is written of a list stands in `line` first.
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
    /// Members that are to be sorted: each with the length of its entry.
    unsorted: Vec<(Vec<u8>, std::ops::Range<usize>)>,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(crate) fn new(out: W, mode: Mode, settings: &'a Settings, names: &'a Names) -> Self {
        Self { out, mode, settings, names, sets: 0, set: None, members: 0, unsorted: Vec::new() }
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
        let Some(info) = self.set else { return Ok(()) };
        let mut line = Vec::new();
        match self.mode {
            Mode::Plain => {}
            Mode::Save => line.extend([b"add ", info.set.name().as_bytes(), b" "].concat()),
            Mode::Xml => write!(line, "<member><elem>")?,
            Mode::Json => write!(line, "      {{\n        \"elem\" : \"")?,
        }
        let start = line.len();
        self.entry(&mut line, &member.entry)?;
        let elem = start..line.len();
        self.carried(&mut line, member)?;
        match self.mode {
            Mode::Xml => writeln!(line, "</member>")?,
            // The end of the line depends on whether another member follows.
            Mode::Json => write!(line, "\n      }}")?,
            Mode::Plain | Mode::Save => writeln!(line)?,
        }
        if self.settings.sorted && info.set.kind().name().starts_with("hash:") {
            self.unsorted.push((line, elem));
            return Ok(());
        }
        self.write_member(&line)
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
            None => write!(line, "{}", Ip(address)),
        }
    }

    fn addresses(&self, line: &mut Vec<u8>, addresses: Addresses) -> io::Result<()> {
        self.ip(line, addresses.first())?;
        match addresses {
            Addresses::Network(network) => write!(line, "/{}", network.prefix()),
            _ => Ok(()),
        }
    }

    fn port(&self, line: &mut Vec<u8>, ports: ProtocolPorts) -> io::Result<()> {
        write!(line, ",{}", Port { protocol: ports.protocol, port: ports.ports.first, names: self.names })
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
                self.port(line, port)
            }
            Entry::IpPortIp(ip, port, other) => {
                self.addresses(line, ip)?;
                self.port(line, port)?;
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
                let physdev = if physdev { "physdev:" } else { "" };
                write!(line, ",{physdev}")?;
                self.text(line, name.as_bytes())
            }
            Entry::Port(ports) => write!(line, "{}", ports.first),
            Entry::Mac(mac) => write!(line, "{mac}"),
            Entry::Set(set) => self.text(line, set.set.as_bytes()),
        }
    }

    /// A name, which may have any byte in it. XML and JSON are text: there U+FFFD replaces bytes that are not UTF-8.
    fn text(&self, line: &mut Vec<u8>, name: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(name);
        match self.mode {
            Mode::Xml => write!(line, "{}", Xml(&text)),
            Mode::Json => write!(line, "{}", Escaped(&text)),
            Mode::Plain | Mode::Save => line.write_all(name),
        }
    }

    fn carried(&self, line: &mut Vec<u8>, member: &Member<AnyType>) -> io::Result<()> {
        let mode = self.mode;
        write!(
            line,
            "{}",
            match mode {
                Mode::Xml => "</elem>",
                Mode::Json => "\"",
                Mode::Plain | Mode::Save => "",
            }
        )?;
        let put = |line: &mut Vec<u8>, name: &str, value: fmt::Arguments<'_>| match mode {
            Mode::Xml => write!(line, "<{name}>{value}</{name}>"),
            Mode::Json => write!(line, ",\n        \"{name}\" : \"{value}\""),
            Mode::Plain | Mode::Save => write!(line, " {name} {value}"),
        };
        let flag = |line: &mut Vec<u8>, name: &str, is_set: bool| match mode {
            _ if !is_set => Ok(()),
            Mode::Xml => write!(line, "<{name}/>"),
            Mode::Json => write!(line, ",\n        \"{name}\" : true"),
            Mode::Plain | Mode::Save => write!(line, " {name}"),
        };
        if let Some(timeout) = member.timeout {
            put(line, "timeout", format_args!("{}", timeout.as_secs()))?;
        }
        flag(line, "nomatch", member.nomatch)?;
        flag(line, "wildcard", matches!(&member.entry, Entry::IpInterface(_, interface) if interface.wildcard))?;
        if let Some(packets) = member.counters.packets {
            put(line, "packets", format_args!("{packets}"))?;
        }
        if let Some(bytes) = member.counters.bytes {
            put(line, "bytes", format_args!("{bytes}"))?;
        }
        if let Some(comment) = &member.comment {
            match mode {
                Mode::Xml => put(line, "comment", format_args!("\"{}\"", Xml(&comment.to_string())))?,
                Mode::Json => put(line, "comment", format_args!("{}", Escaped(&comment.to_string())))?,
                Mode::Plain | Mode::Save => {
                    line.extend_from_slice(b" comment \"");
                    line.extend_from_slice(comment.as_bytes());
                    line.push(b'"');
                }
            }
        }
        match member.skb.mark {
            Some((mark, u32::MAX)) => put(line, "skbmark", format_args!("0x{mark:x}"))?,
            Some((mark, mask)) => put(line, "skbmark", format_args!("0x{mark:x}/0x{mask:x}"))?,
            None => {}
        }
        if let Some((major, minor)) = member.skb.priority {
            put(line, "skbprio", format_args!("{major:x}:{minor:x}"))?;
        }
        member.skb.queue.map_or(Ok(()), |queue| put(line, "skbqueue", format_args!("{queue}")))
    }
}

fn write_option(out: &mut impl Write, name: &str, value: &Shown) -> io::Result<()> {
    match value {
        Shown::Flag => write!(out, " {name}"),
        Shown::Number(number) => write!(out, " {name} {number}"),
        Shown::Text(text) => write!(out, " {name} {text}"),
    }
}

/// Text inside of XML. A character that XML 1.0 cannot hold is replaced by U+FFFD.
struct Xml<'a>(&'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // A parser would make blanks or line feeds of them.
                '\t' | '\n' | '\r' => write!(f, "&#{};", u32::from(c))?,
                '\0'..'\x20' | '\u{fffe}' | '\u{ffff}' => fmt::Write::write_char(f, char::REPLACEMENT_CHARACTER)?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

/// Text inside of a string of JSON.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

/// A string of JSON.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Escaped(self.0))
    }
}

#[cfg(test)]
mod tests {
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
    fn text_cannot_end_what_it_stands_in() {
        assert_eq!(Xml("a<b>&\"c\"").to_string(), "a&lt;b&gt;&amp;&quot;c&quot;");
        assert_eq!(
            Xml("a\u{1}b\u{1f}\t\r\n\u{ffff}\u{7f}\u{fffd}").to_string(),
            "a\u{fffd}b\u{fffd}&#9;&#13;&#10;\u{fffd}\u{7f}\u{fffd}"
        );
        assert_eq!(Json("a\\b\"\nü").to_string(), "\"a\\\\b\\\"\\u000aü\"");
    }

    #[test]
    fn ports_have_names() {
        let names = Names::default();
        let port = |protocol, port| Port { protocol: Protocol(protocol), port, names: &names }.to_string();
        assert!(port(1, 0x0800).ends_with(":echo-request"));
        assert!(port(1, 0x2104).ends_with(":33/4"));
        assert!(port(6, 80).ends_with(":80"));
    }
}
