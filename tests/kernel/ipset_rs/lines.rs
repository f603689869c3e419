//! The command lines: written ones, and those that are made up.

use lvs::ipset::{Kind, Method};

use super::bench::Case;

/// Lines that were chosen: each command, option and type, right and wrong.
pub(crate) fn written() -> Vec<Case> {
    let clear = [Case::new(&["flush"]), Case::new(&["destroy"])];
    let sequences = include_str!("lines.txt").split("===\n").map(|lines| lines.lines().map(words).chain(clear.clone()));
    sequences.flatten().collect()
}

/// The words of a line; single quotes group them.
fn words(line: &str) -> Case {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    Case { words, input: String::new() }
}

/// Files to be restored.
pub(crate) fn files() -> impl Iterator<Item = Case> {
    let long = [
        format!("create a hash:ip comment initval 1\nadd a 1.1.1.1 comment \"{}\"\n", "x".repeat(1100)),
        format!("create a hash:ip initval 1\nadd a 1.1.1.1{}\nadd a 1.1.1.2\n", " ".repeat(1100)),
        format!("create a hash:ip initval 1\nadd a 1.1.1.1{}\nadd a 1.1.1.2\nadd a x", " ".repeat(1011)),
        "create a hash:ip initval 1\nadd a 1.1.1.1\0foo bar\nadd a 1.1.1.2\r\nadd a 1.1.1.3".into(),
        "create a hash:ip initval 1\nadd a 1.1.1.3\x0b\n".into(),
        "create a hash:ip initval 1\nCOMMIT".into(),
        format!("create a hash:ip initval 1\nadd a {}\n", "1".repeat(1012)),
        format!("flush{}\n", " x".repeat(29)),
        format!("flush{} \n", " x".repeat(29)),
        format!("flush{}\n", " x".repeat(30)),
    ];
    let written = include_str!("files.txt").split("===\n").map(str::to_owned);
    written.chain(long).map(|input| Case { input, ..Case::new(&["restore"]) })
}

/// Commands of programs that use `ipset`: lines with a dollar sign are commands, those with a bar what the command reads.
pub(crate) fn scripts() -> Vec<Vec<Case>> {
    let script = |text: &str| {
        let mut cases: Vec<Case> = Vec::new();
        for line in text.lines().skip(1) {
            match (line.split_once(' '), cases.last_mut()) {
                (Some(("$", line)), _) => cases.push(words(line)),
                (Some(("|", line)), Some(case)) => case.input.push_str(&format!("{line}\n")),
                _ => panic!("{line}"),
            }
        }
        cases
    };
    include_str!("scripts.txt").split("=== ").skip(1).map(script).collect()
}

/// Makes up sequences of lines about a type; the same for the same seed.
pub(crate) struct Random {
    state: u64,
    kind: Kind,
    family6: bool,
}

const SETS: [&str; 4] = ["a", "b", "c-d", "nosuch"];

impl Random {
    pub(crate) fn new(seed: u64, kind: Kind) -> Self {
        let salt = kind.name().bytes().fold(seed, |salt, byte| salt.wrapping_mul(131).wrapping_add(byte.into()));
        Self { state: salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, kind, family6: false }
    }

    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    /// Some sets, and what is done with them.
    pub(crate) fn sequence(&mut self) -> Vec<Case> {
        self.family6 = self.kind.has_family() && self.one_in(3);
        let mut cases = Vec::new();
        if self.kind == Kind::ListSet {
            for name in ["x", "y", "z"] {
                cases.push(Case::new(&["create", name, "hash:ip", "initval", "1"]));
            }
        }
        for name in &SETS[..2] {
            cases.push(Case { words: self.create(name, true), input: String::new() });
        }
        for _ in 0..30 {
            let words = match self.below(20) {
                0 => self.create_any(),
                1 => vec!["flush".into(), self.pick(&SETS).into()],
                2 if self.one_in(2) => vec!["destroy".into(), self.pick(&SETS).into()],
                2 => vec![self.pick(&["rename", "swap"]).into(), self.pick(&SETS).into(), self.pick(&SETS).into()],
                3..=5 => self.list(),
                6 => {
                    cases.push(self.restore());
                    continue;
                }
                7..=9 => self.entry_line("del"),
                10..=12 => self.entry_line("test"),
                _ => self.entry_line("add"),
            };
            cases.push(Case { words: self.with_settings(words), input: String::new() });
        }
        cases.extend([Case::new(&["list", "-s"]), Case::new(&["save"])]);
        cases
    }

    fn with_settings(&mut self, mut words: Vec<String>) -> Vec<String> {
        for option in ["-exist", "-!", "-q"] {
            if self.one_in(15) {
                let at = self.below(words.len() + 1);
                words.insert(at, option.into());
            }
        }
        words
    }

    fn list(&mut self) -> Vec<String> {
        let mut words = vec![self.pick(&["list", "list", "save", "l"]).to_owned()];
        if self.one_in(2) {
            words.push(self.pick(&SETS).into());
        }
        if self.one_in(2) {
            words.extend(["-o".into(), self.pick(&["plain", "save", "xml", "json", "foo"]).into()]);
        }
        for option in ["-s", "-t", "-n"] {
            if self.one_in(4) {
                words.push(option.into());
            }
        }
        words
    }

    fn create_any(&mut self) -> Vec<String> {
        let name = self.pick(&SETS);
        self.create(name, false)
    }

    fn create(&mut self, name: &str, right: bool) -> Vec<String> {
        let mut words = vec!["create".to_owned(), name.to_owned(), self.kind.name().to_owned()];
        match self.kind {
            Kind::BitmapIp | Kind::BitmapIpMac => {
                let ranges = ["10.0.0.0/24", "10.0.0.0-10.0.0.255", "10.0.1.9-10.0.0.0"];
                let wrong = ["10.0.0.0", "10.0.0.0/32", "10.0.0.0/0", "x", "10.0.0.0/33", "10.0.0.0/8"];
                let range = if right || !self.one_in(3) { self.pick(&ranges) } else { self.pick(&wrong) };
                words.extend(["range".into(), range.into()]);
            }
            Kind::BitmapPort => {
                let range = if right {
                    "0-1024"
                } else {
                    self.pick(&["0-100", "5", "http-https", "tcp:1-9", "9-1", "1-65536", "esp:0"])
                };
                words.extend(["range".into(), range.into()]);
            }
            kind if kind.has_family() && self.family6 => words.extend(["family".into(), "inet6".into()]),
            _ => {}
        }
        if self.kind.method() == Method::Hash {
            words.extend(["initval".into(), self.pick(&["1", "2", "0x7"]).into()]);
        }
        for (name, values) in [
            ("timeout", &["0", "1000", "2147483", "2147484", "x", "-1"][..]),
            ("hashsize", &["64", "1000", "0", "x"]),
            ("maxelem", &["65536", "3", "0", "4294967296"]),
            ("bucketsize", &["2", "7", "12", "0", "255", "256"]),
            ("netmask", &["24", "8", "0", "33", "64", "x"]),
            ("bitmask", &["255.0.255.0", "ffff::ff", "0.0.0.0", "::", "x"]),
            ("markmask", &["0xff", "0xffffffff", "0", "x"]),
            ("size", &["8", "0", "20", "x"]),
            ("family", &["inet", "inet6", "ipv4", "any", "x"]),
        ] {
            let is_likely = !right || self.has_option(name);
            if is_likely && self.one_in(if right { 4 } else { 9 }) {
                let value = if right { values[self.below(2)] } else { self.pick(values) };
                let is_right = !right || !(name == "family" || name == "netmask" || name == "bitmask");
                if is_right {
                    words.extend([name.to_owned(), value.to_owned()]);
                }
            }
        }
        for name in ["counters", "comment", "skbinfo", "forceadd"] {
            let is_there = name != "forceadd" || self.kind.method() == Method::Hash;
            if (is_there && self.one_in(if name == "forceadd" { 12 } else { 2 })) || (!right && self.one_in(20)) {
                words.push(name.into());
            }
        }
        if !right && self.one_in(6) {
            words.push(self.pick(&["foo", "-4", "-6", "timeout", "--counters", "range", "gc", "probes"]).into());
        }
        words
    }

    fn has_option(&self, name: &str) -> bool {
        let hash = self.kind.method() == Method::Hash;
        match name {
            "timeout" => true,
            "hashsize" | "maxelem" | "bucketsize" => hash,
            "markmask" => self.kind == Kind::HashIpMark,
            "size" => self.kind == Kind::ListSet,
            _ => false,
        }
    }

    /// A line that adds, deletes or tests an entry.
    fn entry_line(&mut self, command: &str) -> Vec<String> {
        let set = if self.one_in(12) { self.pick(&SETS) } else { SETS[self.below(2)] };
        let mut words = vec![command.to_owned(), set.to_owned(), self.entry()];
        for (name, values) in [
            ("timeout", &["0", "1000", "0x400", "2147484", "x"][..]),
            ("packets", &["5", "18446744073709551614", "18446744073709551615"]),
            ("bytes", &["7", "0", "-1"]),
            ("comment", &["c", "two words", "a<b>&c", "back\\slash", "", "qu\"ote"]),
            ("skbmark", &["0x5", "0x5/0xff", "0x0/0x0", "5"]),
            ("skbprio", &["1:2", "a:ff", "1"]),
            ("skbqueue", &["3", "65536"]),
            ("before", &["x", "y", "z", "nosuch"]),
            ("after", &["x", "y"]),
        ] {
            let list_only = matches!(name, "before" | "after");
            let chance = match (command, list_only) {
                (_, true) if self.kind == Kind::ListSet => 4,
                ("add", false) => 6,
                _ => 60,
            };
            if self.one_in(chance) {
                let wrong = self.one_in(5);
                let value = if wrong { self.pick(values) } else { values[self.below(2)] };
                words.extend([name.to_owned(), value.to_owned()]);
            }
        }
        let chance = if self.kind.has_networks() { 5 } else { 40 };
        if self.one_in(chance) {
            words.push("nomatch".into());
        }
        let chance = if self.kind == Kind::HashNetIface { 5 } else { 80 };
        if self.one_in(chance) {
            words.push("wildcard".into());
        }
        if self.one_in(30) {
            words.push(self.pick(&["foo", "timeout", "-4", "--timeout"]).into());
        }
        words
    }

    fn restore(&mut self) -> Case {
        let mut input = String::new();
        let count = 1 + self.below(12);
        for _ in 0..count {
            let command = self.pick(&["add", "add", "add", "add", "del"]);
            let words = match self.below(15) {
                0 => vec![self.pick(&["COMMIT", "# comment", "", "flush", "save", "list"]).to_owned()],
                1 => self.create_any(),
                _ => self.entry_line(command),
            };
            let quoted = words.iter().map(|word| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() });
            input.push_str(&quoted.collect::<Vec<_>>().join(" "));
            input.push('\n');
        }
        let words: &[&str] = if self.one_in(2) { &["restore", "-exist"] } else { &["restore"] };
        Case { input, ..Case::new(words) }
    }

    fn entry(&mut self) -> String {
        if self.one_in(40) {
            return self
                .pick(&["", ",", "-", "x,y,z", "1.1.1.1,80,1.1.1.1", "::1", "10.0.0.1", "a b", "[10.0.0.1"])
                .into();
        }
        let mut parts: Vec<String> = Vec::new();
        let (_, dimensions) = self.kind.name().split_once(':').unwrap();
        let bitmap = self.kind.method() == Method::Bitmap;
        for part in dimensions.split(',') {
            parts.push(match part {
                "ip" if bitmap => {
                    self.pick(&["10.0.0.1", "10.0.0.2", "10.0.0.0/30", "10.0.0.5-10.0.0.7", "10.9.0.1"]).into()
                }
                "ip" | "net" => self.address(part == "net"),
                "port" if bitmap => self
                    .pick(&["80", "http", "5-9", "tcp:22", "udp:ntp", "1025", "x", "9-5", "icmp:ping", "esp:0"])
                    .into(),
                "port" => self.port(),
                "mac" => self.pick(&["01:02:03:04:05:06", "1:2:3:a:B:c", "0:0:0:0:0:0", "1:2", "x"]).into(),
                "mark" => self.pick(&["0x5", "7", "0xffffffff", "0", "4294967296", "x"]).into(),
                "iface" => {
                    self.pick(&["eth0", "eth1", "lo", "physdev:eth0", "veth", "1234567890123456", "eth0:1", ""]).into()
                }
                _ => self.pick(&["x", "y", "z", "a", "nosuch", "x,before,y", "y,foo,x", "z,after,x"]).into(),
            });
        }
        if bitmap && parts.len() == 2 && self.one_in(3) {
            parts.pop();
        }
        parts.join(",")
    }

    fn address(&mut self, net: bool) -> String {
        let v4 =
            ["10.0.0.1", "10.0.0.2", "10.0.0.9", "192.168.1.1", "0.0.0.0", "255.255.255.255", "10.0.0.1", "9.9.9.9"];
        let v6 =
            ["2001:db8::1", "2001:db8::2", "2001:db8:1::", "::", "::1", "fe80::1:2:3", "::1.2.3.4", "1:2:3:4:5:6:7:8"];
        let mut text = if self.family6 != self.one_in(50) { self.pick(&v6) } else { self.pick(&v4) }.to_owned();
        let chance = if net { 2 } else { 6 };
        if self.one_in(chance) {
            let lengths: &[&str] = if self.family6 {
                &["64", "128", "32", "112", "0", "129"]
            } else {
                &["24", "32", "30", "28", "0", "33"]
            };
            text.push('/');
            text.push_str(if self.one_in(8) { self.pick(lengths) } else { lengths[self.below(4)] });
        } else if self.one_in(10) {
            text = self
                .pick(&["10.0.0.1-10.0.0.4", "10.0.0.9-10.0.0.7", "10.1.0.0-10.1.0.30", "2001:db8::1-2001:db8::3"])
                .to_owned();
        }
        text
    }

    fn port(&mut self) -> String {
        let ports = [
            "80",
            "tcp:80",
            "tcp:443",
            "udp:53",
            "udp:53-56",
            "http",
            "sctp:9",
            "udplite:9",
            "esp:0",
            "47:0",
            "253:0",
            "6:22",
            "icmp:ping",
            "icmp:3/1",
            "icmp:host-unreachable",
            "icmp:99/7",
            "icmpv6:ping",
            "icmpv6:1/2",
            "icmpv6:neigh",
            "80-82",
            "tcp:9-7",
        ];
        let wrong = [
            "0:0",
            "ip:0",
            "esp:5",
            "foo:1",
            "tcp:foo",
            "65536",
            "tcp:",
            ":80",
            "icmp:x",
            "icmp:256/0",
            "icmpv6:1",
            "udp:http",
            "80-",
            "x-y",
        ];
        if self.one_in(10) { self.pick(&wrong).into() } else { self.pick(&ports).into() }
    }
}
