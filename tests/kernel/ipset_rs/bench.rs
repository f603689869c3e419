//! Runs a command line by both programs.

use std::fmt::{self, Display};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lvs::ipset::{Ipset, Kind, Listed};
use lvs::netns::Namespace;

use crate::lab::Lab;

/// A command line, and what its program reads.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) words: Vec<String>,
    pub(crate) input: String,
}

/// Outcome of a run, without the version.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) errors: String,
    /// Seconds by which the same timeout may differ in the outcomes of the two programs.
    leeway: u64,
}

/// Two namespaces: `ipset`'s and ours.
pub(crate) struct Bench<'a> {
    lab: &'a Lab,
    other: Namespace,
    clients: [Ipset; 2],
    /// The longest time that the two runs of a line took.
    longest: Duration,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(lab: &'a Lab) -> Self {
        let other = Namespace::create().unwrap();
        let clients = [lab.ipset(), other.run(Ipset::connect).unwrap().unwrap()];
        Self { lab, other, clients, longest: Duration::ZERO }
    }

    pub(crate) fn run(&mut self, case: &Case) -> [Outcome; 2] {
        let started = Instant::now();
        let mut outcomes = [self.lab.run(|| run("ipset", case)), self.other.run(|| run("ipset-rs", case)).unwrap()];
        // Neither when an entry was added nor when it was listed were the two runs further apart.
        self.longest = self.longest.max(started.elapsed());
        for outcome in &mut outcomes {
            outcome.leeway += self.longest.as_secs();
        }
        outcomes
    }

    pub(crate) fn clear(&mut self) {
        for client in &mut self.clients {
            client.clear_all().unwrap();
            client.destroy_all().unwrap();
        }
    }

    /// The sets of both, as far as they do not change by themselves.
    pub(crate) fn states(&mut self) -> [String; 2] {
        self.clients.each_mut().map(|client| {
            let mut sets: Vec<(String, Vec<String>, bool)> = Vec::new();
            for listed in client.stream_contents(None).unwrap() {
                match listed.unwrap() {
                    Listed::Set(info) => {
                        let text = format!("{:?} {:?}", info.set, known(info.options));
                        sets.push((text, Vec::new(), info.set.kind() != Kind::ListSet));
                    }
                    Listed::Member(mut member) => {
                        member.timeout = member.timeout.filter(|left| left.is_zero());
                        sets.last_mut().unwrap().1.push(format!("\n  {member:?}"));
                    }
                }
            }
            let one = |(set, mut members, any_order): (String, Vec<String>, bool)| {
                if any_order {
                    members.sort();
                }
                format!("{set}{}\n", members.concat())
            };
            sets.into_iter().map(one).collect()
        })
    }
}

/// Removes the options whose values are random.
fn known(mut options: lvs::ipset::SetOptions) -> lvs::ipset::SetOptions {
    options.initval = options.initval.filter(|value| *value < 16);
    options
}

fn run(program: &str, case: &Case) -> Outcome {
    let mut command = Command::new(program);
    command.arg0("ipset").args(&case.words).env("LC_ALL", "C");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Dropped at once: the program sees the end of its input. One that does not read may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(case.input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| without_chance(&String::from_utf8_lossy(bytes));
    Outcome { status: output.status, output: text(&output.stdout), errors: text(&output.stderr), leeway: 3 }
}

/// Without the version, and without the start value of hashes where it is a random one.
fn without_chance(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("ipset v7.").into_iter().chain(rest.find("0x")).min() {
        let (before, behind) = rest.split_at(at);
        result.push_str(before);
        let hex = behind.starts_with("0x");
        let start = if hex { 2 } else { "ipset v7.".len() };
        let end = behind[start..].find(|c: char| !c.is_ascii_hexdigit()).map_or(behind.len(), |end| start + end);
        let is_chance = hex && end == 10 && before.ends_with(['l', '>', '"', ' ']) && before.contains("initval");
        let is_start_value = is_chance && before.trim_end_matches(['>', ' ', '"', ':']).ends_with("initval");
        match hex {
            false => result.push_str("ipset v7"),
            true if is_start_value && !behind.starts_with("0x0000000") => result.push_str("random"),
            true => result.push_str(&behind[..end]),
        }
        rest = &behind[end..];
    }
    result + rest
}

impl Case {
    pub(crate) fn new(words: &[&str]) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), input: String::new() }
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word) || self.input.split_whitespace().any(|known| known == word)
    }
}

impl Outcome {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_same = |one, another| self.is_same_text(one, another);
        self.status == other.status && is_same(&self.errors, &other.errors) && is_same(&self.output, &other.output)
    }

    /// Whether two texts of the outcomes of a line are the same, but for the seconds that may have passed.
    pub(crate) fn is_same_text(&self, one: &str, other: &str) -> bool {
        if one == other {
            return true;
        }
        let separators = [' ', '\n', '<', '>', '"'];
        // How entries share buckets, and so the memory, is by chance where the start value of the hash is.
        // A list of sets gives the memory of its comments back some time later.
        let by_chance = one.contains("random") || one.contains("list:set");
        let (one, other): (Vec<_>, Vec<_>) = (one.split(separators).collect(), other.split(separators).collect());
        let differ = |at: usize| {
            let before = &one[at.saturating_sub(6)..at];
            let (Ok(a), Ok(b)) = (one[at].parse::<u64>(), other[at].parse::<u64>()) else { return true };
            let is_time = a.abs_diff(b) <= self.leeway && before.contains(&"timeout");
            let is_size = by_chance && (before.ends_with(&["memory:"]) || before.contains(&"memsize"));
            !is_time && !is_size
        };
        one.len() == other.len() && (0..one.len()).all(|at| one[at] == other[at] || !differ(at))
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ipset")?;
        for word in &self.words {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-,.:/!_[]".contains(c);
            match !word.is_empty() && word.chars().all(is_plain) {
                true => write!(f, " {word}")?,
                false => write!(f, " '{}'", word.escape_default())?,
            }
        }
        if !self.input.is_empty() {
            write!(f, " <<\n{}", self.input)?;
        }
        Ok(())
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => writeln!(f, "exit status {code}")?,
            (None, signal) => writeln!(f, "signal {signal:?}")?,
        }
        for (sign, text) in [("1", &self.output), ("2", &self.errors)] {
            for line in text.lines() {
                writeln!(f, "  {sign}> {line}")?;
            }
        }
        Ok(())
    }
}
