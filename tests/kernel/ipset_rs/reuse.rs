//! Command lines about sets and entries that exist, most of them right: most lines change the table.

use lvs::ipset::{Kind, Method};

use super::bench::Case;
use crate::random::Random;

/// Makes up sequences of lines about sets of a type; the same for the same seed.
pub(crate) struct Reuse {
    random: Random,
    kind: Kind,
    sets: Vec<Known>,
    /// Numbers the names of sets.
    named: usize,
}

/// A set, as far as the lines so far say.
#[derive(Clone)]
struct Known {
    name: String,
    family6: bool,
    timeout: bool,
    counters: bool,
    comment: bool,
    skbinfo: bool,
    entries: Vec<String>,
}

/// Sets that a `list:set` holds.
const MEMBERS: [&str; 6] = ["m1", "m2", "m3", "m4", "m5", "m6"];

impl Reuse {
    pub(crate) fn new(seed: u64, kind: Kind) -> Self {
        let salt = kind.name().bytes().fold(seed, |salt, byte| salt.wrapping_mul(131).wrapping_add(byte.into()));
        Self { random: Random(salt), kind, sets: Vec::new(), named: 0 }
    }

    /// Some sets, and what is done with them.
    pub(crate) fn sequence(&mut self) -> Vec<Case> {
        self.sets.clear();
        let mut cases = Vec::new();
        if self.kind == Kind::ListSet {
            for (at, name) in MEMBERS.iter().enumerate() {
                let family = if at % 2 == 0 { "inet" } else { "inet6" };
                cases.push(Case::new(&["create", name, "hash:ip", "family", family, "initval", "1"]));
            }
        }
        for _ in 0..2 {
            cases.push(case(self.create(), ""));
            cases.push(self.restore());
        }
        for _ in 0..40 {
            let next = match self.random.below(20) {
                0..=2 => self.restore(),
                3..=5 => self.list(),
                6 => self.save_and_restore(),
                _ => {
                    let words = self.change();
                    case(self.with_settings(words), "")
                }
            };
            cases.push(next);
        }
        cases.extend([Case::new(&["list", "-s"]), Case::new(&["save"])]);
        cases
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.random.below(of.len())]
    }

    fn with_settings(&mut self, mut words: Vec<String>) -> Vec<String> {
        for option in ["-exist", "-!", "-q", "-quiet", "--exist"] {
            if self.random.percent(6) {
                let at = self.random.below(words.len() + 1);
                words.insert(at, option.into());
            }
        }
        words
    }

    fn set(&mut self) -> usize {
        self.random.below(self.sets.len())
    }

    /// A line that changes something, or tests an entry.
    fn change(&mut self) -> Vec<String> {
        if self.sets.len() < 2 {
            return self.create();
        }
        match self.random.below(24) {
            0 => self.create(),
            1 => {
                let at = self.set();
                self.sets[at].entries.clear();
                vec!["flush".into(), self.sets[at].name.clone()]
            }
            2 => {
                let gone = self.sets.swap_remove(self.random.below(self.sets.len()));
                vec!["destroy".into(), gone.name]
            }
            3 => {
                let at = self.set();
                self.named += 1;
                let name = format!("s{}", self.named);
                let old = std::mem::replace(&mut self.sets[at].name, name.clone());
                vec!["rename".into(), old, name]
            }
            4 => self.swap(),
            5..=9 => self.known("del"),
            10..=12 => self.known("test"),
            13 => {
                let at = self.set();
                vec!["test".into(), self.sets[at].name.clone(), self.entry(at)]
            }
            14 => {
                let mut words = self.known("add");
                words.insert(0, "-exist".into());
                words
            }
            _ => self.add(),
        }
    }

    /// Exchanges sets, which must be of one family.
    fn swap(&mut self) -> Vec<String> {
        let one = self.set();
        let family = self.sets[one].family6;
        let others: Vec<_> = (0..self.sets.len()).filter(|at| self.sets[*at].family6 == family).collect();
        let other = *self.random.one(&others);
        let words = vec!["swap".to_owned(), self.sets[one].name.clone(), self.sets[other].name.clone()];
        if one != other {
            self.sets.swap(one, other);
            let name = std::mem::take(&mut self.sets[one].name);
            let name = std::mem::replace(&mut self.sets[other].name, name);
            self.sets[one].name = name;
        }
        words
    }

    /// A line about an entry that was added.
    fn known(&mut self, command: &str) -> Vec<String> {
        let at = self.set();
        let set = &mut self.sets[at];
        if set.entries.is_empty() {
            return self.add();
        }
        let place = self.random.below(set.entries.len());
        let entry = if command == "del" { set.entries.swap_remove(place) } else { set.entries[place].clone() };
        vec![command.into(), set.name.clone(), entry]
    }

    fn add(&mut self) -> Vec<String> {
        let at = self.set();
        let entry = self.entry(at);
        let set = self.sets[at].clone();
        self.sets[at].entries.push(entry.clone());
        let mut words = vec!["add".to_owned(), set.name, entry];
        for (has, options) in [
            (set.timeout, &[("timeout", &["1000", "0", "0x400"][..])][..]),
            (set.counters, &[("packets", &["5", "0"]), ("bytes", &["7", "18446744073709551614"])]),
            (set.comment, &[("comment", &["c", "two words", "back\\slash", "a<b>&c", ""])]),
            (set.skbinfo, &[("skbmark", &["0x5", "0x5/0xff"]), ("skbprio", &["1:2", "a:ff"]), ("skbqueue", &["3"])]),
        ] {
            for (name, values) in options {
                if has && self.random.percent(40) {
                    words.extend([(*name).to_owned(), self.pick(values).to_owned()]);
                }
            }
        }
        if self.kind.has_networks() && self.random.percent(15) {
            words.push("nomatch".into());
        }
        if self.kind == Kind::HashNetIface && self.random.percent(20) {
            words.push("wildcard".into());
        }
        words
    }

    fn create(&mut self) -> Vec<String> {
        self.named += 1;
        let name = format!("s{}", self.named);
        let mut words = vec!["create".to_owned(), name.clone(), self.kind.name().to_owned()];
        let family6 = self.kind.has_family() && self.random.percent(35);
        match self.kind {
            Kind::BitmapIp | Kind::BitmapIpMac => words.extend(["range".into(), "10.0.0.0/22".into()]),
            Kind::BitmapPort => words.extend(["range".into(), "0-1024".into()]),
            _ if family6 => words.push("-6".into()),
            _ => {}
        }
        if self.kind.method() == Method::Hash {
            words.extend(["initval".into(), self.pick(&["1", "2", "0x7"]).into()]);
            if self.random.percent(20) {
                words.extend(["hashsize".into(), self.pick(&["64", "1000", "4096"]).into()]);
            }
            if self.random.percent(20) {
                words.extend(["maxelem".into(), self.pick(&["65536", "200"]).into()]);
            }
        }
        if self.kind == Kind::HashIp && self.random.percent(15) {
            words.extend(["netmask".into(), if family6 { "64" } else { "24" }.into()]);
        }
        if self.kind == Kind::HashIpMark && self.random.percent(30) {
            words.extend(["markmask".into(), "0xff".into()]);
        }
        let mut flag = |name: &str| {
            let is_set = self.random.percent(40);
            words.extend(is_set.then(|| name.to_owned()));
            is_set
        };
        let (counters, comment, skbinfo) = (flag("counters"), flag("comment"), flag("skbinfo"));
        let timeout = self.random.percent(40);
        if timeout {
            words.extend(["timeout".into(), self.pick(&["0", "2000"]).into()]);
        }
        self.sets.push(Known { name, family6, timeout, counters, comment, skbinfo, entries: Vec::new() });
        words
    }

    /// Lists that can be compared: the memory of a set depends on the order of its changes in no way that matters here.
    fn list(&mut self) -> Case {
        let mut words = vec![self.pick(&["list", "list", "save", "l", "-L", "-S"]).to_owned()];
        if self.random.percent(60) && !self.sets.is_empty() {
            let at = self.set();
            words.push(self.sets[at].name.clone());
        }
        if self.random.percent(60) {
            words.extend(["-o".into(), self.pick(&["plain", "save", "xml", "json"]).into()]);
        }
        for (option, percent) in [("-s", 30), ("-t", 15), ("-n", 15), ("-r", 10), ("-q", 5)] {
            if self.random.percent(percent) {
                let at = self.random.below(words.len() + 1);
                // Not between an option and its value.
                let at = if at > 0 && words[at - 1] == "-o" { at + 1 } else { at };
                words.insert(at, option.into());
            }
        }
        if self.random.percent(8) {
            words.extend(["-f".into(), "/dev/stdout".into()]);
        }
        case(words, "")
    }

    /// Many lines at once.
    fn restore(&mut self) -> Case {
        let mut input = String::new();
        for _ in 0..1 + self.random.below(15) {
            let words = match self.random.below(30) {
                0 => vec!["COMMIT".to_owned()],
                1 => vec!["# comment".to_owned()],
                2 => vec![self.pick(&["save", "list"]).to_owned()],
                _ => match self.change() {
                    // A test ends what `ipset` restores.
                    words if words[0] == "test" => self.add(),
                    // An option inside of a line holds from the next batch only, there.
                    words if words[0] == "-exist" => words[1..].to_vec(),
                    words => words,
                },
            };
            let quote = |word: &String| {
                let plain = !word.is_empty() && !word.contains(' ') || word.starts_with('#');
                if plain { word.clone() } else { format!("\"{word}\"") }
            };
            input.push_str(&words.iter().map(quote).collect::<Vec<_>>().join(" "));
            input.push('\n');
        }
        let mut words = vec!["restore".to_owned()];
        if self.random.percent(60) {
            words.push(self.pick(&["-exist", "-!"]).into());
        }
        if self.random.percent(15) {
            words.extend(["-f".into(), "/dev/stdin".into()]);
            // `ipset` lists nothing in a restore from a file.
            input = input
                .lines()
                .filter(|line| !matches!(*line, "save" | "list"))
                .map(|line| format!("{line}\n"))
                .collect();
        }
        case(words, &input)
    }

    /// Restores what there is already, or the sets under other names.
    fn save_and_restore(&mut self) -> Case {
        let mut input = String::new();
        for at in 0..self.sets.len() {
            let words = match self.random.below(3) {
                0 => vec!["flush".to_owned(), self.sets[at].name.clone()],
                _ => self.add(),
            };
            if words.iter().all(|word| !word.is_empty() && !word.contains(' ')) {
                input.push_str(&words.join(" "));
                input.push('\n');
            }
        }
        case(vec!["-exist".into(), "restore".into()], &input)
    }

    /// An entry that such a set can hold.
    fn entry(&mut self, at: usize) -> String {
        let family6 = self.sets[at].family6;
        let bitmap = self.kind.method() == Method::Bitmap;
        let (_, parts) = self.kind.name().split_once(':').unwrap();
        let mut text = Vec::new();
        for (place, part) in parts.split(',').enumerate() {
            let many = place == 0 && !matches!(self.kind, Kind::HashIpMac | Kind::BitmapIpMac);
            text.push(match part {
                "ip" => self.address(family6, many),
                "net" => self.network(family6),
                "port" if bitmap && self.random.percent(80) => self.random.below(1025).to_string(),
                "port" if bitmap => self.pick(&["http", "5-9", "tcp:22", "udp:ntp", "90-81"]).into(),
                "port" => self.port(family6),
                "mac" => format!("2:0:0:0:0:{:x}", 1 + self.random.below(20)),
                "mark" => format!("{:#x}", 1 + self.random.below(0x200)),
                "iface" => self.pick(&["eth0", "eth1", "lo", "physdev:eth0", "veth", "eth0:1"]).into(),
                _ => self.pick(&MEMBERS).into(),
            });
        }
        text.join(",")
    }

    fn address(&mut self, family6: bool, many: bool) -> String {
        let (high, low) = (self.random.below(4), 1 + self.random.below(40));
        if family6 {
            return format!("2001:db8::{high:x}:{low:x}");
        }
        match self.random.below(12) {
            0 if many => format!("10.0.{high}.{low}/{}", 29 + self.random.below(4)),
            1 if many => format!("10.0.{high}.{low}-10.0.{high}.{}", low + self.random.below(6)),
            _ => format!("10.0.{high}.{low}"),
        }
    }

    fn network(&mut self, family6: bool) -> String {
        let (high, low) = (self.random.below(4), 1 + self.random.below(40));
        let length = self.random.below(9);
        match (family6, self.random.below(3)) {
            (true, 0) => format!("2001:db8:{high:x}::{low:x}"),
            (true, _) => format!("2001:db8:{high:x}:{low:x}::/{}", 64 + length * 8),
            (false, 0) => format!("10.{high}.0.{low}"),
            (false, _) => format!("10.{high}.{low}.0/{}", 24 + length),
        }
    }

    fn port(&mut self, family6: bool) -> String {
        let icmp = if family6 { ["icmpv6:ping", "icmpv6:1/2"] } else { ["icmp:ping", "icmp:host-unreachable"] };
        let ports = [
            "80",
            "tcp:443",
            "udp:53",
            "udp:53-56",
            "http",
            "sctp:9",
            "udplite:9",
            "esp:0",
            "47:0",
            "80-82",
            "tcp:9-7",
        ];
        if self.random.percent(15) { self.pick(&icmp).into() } else { self.pick(&ports).into() }
    }
}

fn case(words: Vec<String>, input: &str) -> Case {
    Case { words, input: input.to_owned() }
}
