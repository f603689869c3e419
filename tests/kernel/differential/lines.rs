//! The command lines: written ones and generated ones.

use std::collections::HashSet;

use super::bench::{Around, Case, Start};
use crate::random::Random;

/// Those that somebody thought of.
pub(crate) fn written() -> Vec<Case> {
    let lines = include_str!("lines.txt").lines().filter(|line| !line.starts_with('#'));
    let restores = RESTORES.iter().map(|input| Case { input: (*input).into(), ..Case::new(vec![b"-R".to_vec()]) });
    let around = AROUND.iter().map(|(around, line)| Case { around: *around, ..read(line) });
    lines.map(read).chain(restores).chain(around).collect()
}

/// Those that start sync daemons.
pub(crate) fn daemons() -> Vec<Case> {
    let case = |input: &&'static [u8]| Case {
        input: (*input).into(),
        only: Some(Start::Empty),
        ..Case::new(vec![b"-R".to_vec()])
    };
    DAEMONS.iter().map(case).collect()
}

/// A line of the file.
fn read(line: &str) -> Case {
    let tables = [("odd: ", Start::Odd), ("alien: ", Start::Alien)];
    let start = tables.into_iter().find_map(|(name, start)| Some((line.strip_prefix(name)?, start)));
    let (line, only) = start.map_or((line, None), |(line, start)| (line, Some(start)));
    Case { only, ..Case::new(words(line)) }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None, false);
    let mut bytes = line.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' => {
                quoted = !quoted;
                word.get_or_insert_with(Vec::new);
            }
            b' ' if !quoted => words.extend(word.take()),
            b'\\' => word.get_or_insert_with(Vec::new).push(match bytes.next().unwrap() {
                b'n' => b'\n',
                b't' => b'\t',
                b'x' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            }),
            byte => word.get_or_insert_with(Vec::new).push(byte),
        }
    }
    words.extend(word);
    words
}

/// A name of a scheduler that `ipvsadm` splits.
const LONG_WORD: &[u8] = &{
    let (mut line, start) = ([b'x'; 5000], b"-A -t 10.7.0.1:80 -s ");
    let mut at = 0;
    while at < start.len() {
        line[at] = start[at];
        at += 1;
    }
    line
};

/// Input of `-R`.
const RESTORES: &[&[u8]] = &[
    LONG_WORD,
    b"",
    b"\n",
    b"\n\n \t \r\n",
    b"-A -t 10.0.0.3:80 -s rr\n-a -t 10.0.0.3:80 -r 10.9.0.1 -m\n",
    b"-A -t 10.0.0.3:80 -s rr",
    b"-A\t-t\t10.0.0.3:80 \t -s  rr\r\n-a -t 10.0.0.3:80 -r 10.9.0.1\r\n",
    b"ipvsadm -A -t 10.0.0.3:80 ipvsadm -s rr ipvsadm\nipvsadm\n",
    b"/sbin/ipvsadm -A -t 10.0.0.3:80\n",
    b"ipvsadm-rs -A -t 10.0.0.3:80\n",
    b"  -A -t 10.0.0.3:80\n",
    b"-A -t 10.0.0.3:80\n# comment\n-A -t 10.0.0.4:80\n",
    b"# comment\n",
    b"-A -t 10.0.0.3:80 # comment\n",
    b"-A -t 10.0.0.3:80\n-A -t bad:80x\n-A -t 10.0.0.4:80\n",
    b"-A -t 10.0.0.3:80\n--bogus\n-A -t 10.0.0.4:80\n",
    b"-A -t 10.0.0.3:80\n-A --bogus\n-A -t 10.0.0.4:80\n",
    b"-A -t 10.0.0.3:80\njunk\n",
    b"-A -t 10.0.0.3:80\n-A -t 10.0.0.3:80\n-A -t 10.0.0.4:80\n",
    b"-A -t 10.0.0.3:80\n-A -t 10.0.0.4:80\n-A -t 10.0.0.3:80\n",
    b"-D -t 10.0.0.99:80\n",
    b"-L -t 10.0.0.99:80\n",
    b"-L -t 10.0.0.99:80\n-C\n",
    b"-A -t 10.0.0.3:80\n-R\n-A -t 10.0.0.4:80\n",
    b"-A -t 10.0.0.3:80\n-h\n-A -t 10.0.0.4:80\n",
    b"-A -t 10.0.0.3:80\n-v\n-A -t 10.0.0.4:80\n",
    b"-v\n",
    b"-A -t 10.0.0.3:80\n-L -n\n-S\n-S -n\n-L -n -t 10.0.0.3:80\n",
    b"-L -n\n-L --timeout\n-L --daemon\n-Z\n-C\n-L\n",
    b"--set 1 2 3\n-L --timeout\n",
    b"-C\n-S -n\n",
    b"-A -t '10.0.0.3:80'\n",
    b"-A -t \"10.0.0.3:80\"\n",
    b"-A -t 10.0.0.3:80\\\n -s rr\n",
    b"-A -t 10.0.0.3:80 -s \xff\n",
    b"-A -t \xff\n",
    b"\xff\n",
    b"-A -t 10.0.0.3:80 \xff\n",
    b"-A -t 10.0.0.3:80\0 -s rr\n-A -t 10.0.0.4:80\n",
    b"-A -t 10.0.0.3:80\n\0\n-A -t 10.0.0.4:80\n",
    b"-A -t 10.0.0.3:80\x0b-s rr\n",
    b"-A -t 10.0.0.3:80\x0c-s rr\n",
    b"-A -t 10.0.0.3:80 -s rr -- \n",
    b"-A -t 10.0.0.3:80 -s sh -b flag-3\n-A -f 9 -s mh -b flag-3\n-L -n\n-S -n\n",
    b"-A -f 4000000000 -s rr\n-A -f 2147483648 -s rr\n-A -f 2147483647\n-A -f 1 -6\n-L -n\n-S -n\n",
    b"-A -t 192.168.0.1:80\n-A -t 10.0.0.3:80\n-A -t [2001:db8::1]:80\n-A -t [fd00::3]:80\n-L -n\n-S -n\n",
    b"-A -t caf\xc3\xa9:80\n-a -t caf\xc3\xa9:80 -r caf\xc3\xa9:80\n-L\n-L --stats\n-L --rate\n-L --thresholds\n-S\n",
    b"-n -L\n",
    b"-Ln\n",
    b"-A -t 10.0.0.3:80 -b ,\n",
    b"--\n",
    b"-\n",
    b"-A -t 10.0.0.3:80 -p\n-E -t 10.0.0.3:80\n-a -t 10.0.0.3:80 -r 10.9.0.1 -y 5\n",
    b"-a -t 10.0.0.1:80 -r 224.0.0.1\n-a -t 10.0.0.77:80 -r 224.0.0.1\n-a -t 10.0.0.77:80 -r 10.9.0.1 -y 5\n",
];

/// Input of `-R` where an interface `near` exists. No line stops a daemon: `ipvsadm` hangs when it stops one that has
/// not begun.
const DAEMONS: &[&[u8]] = &[
    b"--start-daemon master --mcast-interface near --syncid 5\n-L --daemon\n-Ln --daemon\n",
    b"--start-daemon backup --mcast-interface near --sync-maxlen 65507 --mcast-group ff05::99\n-L --daemon\n",
    b"--start-daemon=master --mcast-interface=near --mcast-group=239.1.2.3 --sync-maxlen 1400\n-L --daemon\n",
    b"--start-daemon backup --mcast-interface near --mcast-group ff02::77 --mcast-port 99 --mcast-ttl 3 --syncid=255\n\
      -L --daemon\n",
    b"--start-daemon backup --mcast-interface near\n--start-daemon backup --mcast-interface near\n-L --daemon\n",
    b"--start-daemon master --mcast-interface near\n--start-daemon backup --mcast-interface near\n-L --daemon\n",
    b"--stop-daemon master\n--stop-daemon backup --syncid 3\n",
];

/// Lines with something else than usual around them.
const AROUND: &[(Around, &str)] = &[
    (Around::Variable("POSIXLY_CORRECT", "1"), "-L -n"),
    (Around::Variable("POSIXLY_CORRECT", "1"), "-L junk -n"),
    (Around::Variable("POSIXLY_CORRECT", "1"), "--set 1 2 3 -n"),
    (Around::Variable("POSIXLY_CORRECT", "1"), "junk -L"),
    (Around::Variable("POSIXLY_CORRECT", "1"), "-L junk -A"),
    (Around::Variable("POSIXLY_CORRECT", ""), "-L junk -A"),
    (Around::Variable("POSIX_ME_HARDER", "1"), "-L junk -A"),
    (Around::Variable("LC_ALL", "C.UTF-8"), "-L --bogus"),
    (Around::Variable("LC_ALL", "de_DE.UTF-8"), "-L --bogus"),
    (Around::Variable("LANG", "de_DE.UTF-8"), "--start-daemon master --mcast-interface nosuch"),
    (Around::Variable("COLUMNS", "20"), "-L -n"),
    (Around::User, "-L"),
    (Around::User, ""),
    (Around::User, "-A -t bad"),
    (Around::User, "--bogus"),
    (Around::User, "-v"),
    (Around::User, "-h"),
    (Around::User, "-R"),
    (Around::FullDisk, "-L -n"),
    (Around::FullDisk, "-S -n"),
    (Around::FullDisk, "-C"),
    (Around::FullDisk, "-v"),
    (Around::FullDisk, "-L --timeout"),
    (Around::Name(""), "junk"),
    (Around::Name("/sbin/ipvsadm"), "junk"),
    (Around::Name("a b"), "junk"),
    (Around::Name("/sbin/ipvsadm"), "-A -t 10.0.0.3:80 --bogus"),
    (Around::Name("-L"), ""),
];

/// About so many lines that stand in no list. Half of them are out of: every command with every option, every option
/// with every value. The others are put together at random.
pub(crate) fn generated(seed: u64, count: usize) -> Vec<Case> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    for verb in VERBS {
        for option in OPTIONS {
            let all: [&[&str]; 3] = match verb[0] {
                "-a" | "-e" | "-d" => [&[], SERVER, &["-f", "5", "-r", "10.9.0.9:8080", "-i"]],
                _ => [&[], &["-t", "10.0.0.1:80"], &["-f", "6", "-6"]],
            };
            for before in all {
                lines.push(concat(&[verb, before, &[option.short], option.values.get(..1).unwrap_or_default()]));
            }
        }
    }
    for option in OPTIONS {
        let values = option.values.iter().chain(VALUES);
        for (index, value) in values.enumerate().filter(|_| !option.values.is_empty()) {
            let mut line = concat(&[option.context]);
            line.extend(option.words(value, index % 5));
            lines.push(line);
        }
        for form in 0..5 {
            let mut line = concat(&[option.context]);
            line.extend(option.words(option.values.first().unwrap_or(&"x"), form));
            lines.push(line);
        }
    }
    let flags = ["-n", "-c", "--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info", "-X", "--nosort"];
    for one in flags {
        for other in flags {
            lines.push(concat(&[&["-L", one, other]]));
            lines.push(concat(&[&["-Ln", "-t", "10.0.0.1:80", one, other]]));
        }
    }
    let mut random = Random(seed);
    random.shuffle(&mut lines);
    lines.truncate(count / 2);
    lines.extend(std::iter::repeat_with(|| random.line()).take(count - lines.len()));
    let mut seen = HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    let case = |line: Vec<String>| {
        let only = Some(if random.percent(70) { Start::Filled } else { Start::Empty });
        Case { only, ..Case::new(line.into_iter().map(String::into_bytes).collect()) }
    };
    lines.into_iter().map(case).collect()
}

fn concat(parts: &[&[&str]]) -> Vec<String> {
    parts.concat().into_iter().map(str::to_owned).collect()
}

const VERBS: &[&[&str]] = &[
    &["-A"],
    &["-E"],
    &["-D"],
    &["-a"],
    &["-e"],
    &["-d"],
    &["-C"],
    &["-L"],
    &["-l"],
    &["-S"],
    &["-R"],
    &["-Z"],
    &["--set", "1", "2", "3"],
    &["--start-daemon", "master"],
    &["--stop-daemon", "backup"],
];

struct Choice {
    /// With one dash if there is such a form.
    short: &'static str,
    long: &'static str,
    /// The first one is legal. None: it takes no value.
    values: &'static [&'static str],
    /// A line that it can be added to.
    context: &'static [&'static str],
}

const SERVICE: &[&str] = &["-A", "-t", "10.0.0.9:99"];
const SERVER: &[&str] = &["-a", "-t", "10.0.0.1:80", "-r", "10.9.0.77:8080", "-m"];
const TUNNEL: &[&str] = &["-a", "-t", "10.0.0.1:80", "-r", "10.9.0.77:80", "-i", "--tun-type", "gue"];
/// There is no such interface, so that no daemon starts.
const DAEMON: &[&str] = &["--start-daemon", "master", "--mcast-interface", "nosuch"];
const LIST: &[&str] = &["-L"];

const fn choice(
    short: &'static str,
    long: &'static str,
    values: &'static [&'static str],
    context: &'static [&'static str],
) -> Choice {
    Choice { short, long, values, context }
}

const OPTIONS: &[Choice] = &[
    choice("-t", "--tcp-service", ADDRESSES, &["-A", "-p"]),
    choice("-u", "--udp-service", ADDRESSES, &["-A"]),
    choice("--sctp-service", "--sctp-service", ADDRESSES, &["-A"]),
    choice("-f", "--fwmark-service", &["5", "6", "4294967295", "4294967296", "2147483647", "2147483648"], &["-A"]),
    choice("-s", "--scheduler", SCHEDULERS, &["-A", "-t", "10.0.0.9:99"]),
    choice("-p", "--persistent", &["360", "2678400", "2678401"], SERVICE),
    choice("-M", "--netmask", MASKS, &["-A", "-t", "10.0.0.9:99", "-p"]),
    choice("-M", "--netmask", MASKS, &["-A", "-t", "[fd00::9]:99", "-p"]),
    choice("-r", "--real-server", SERVERS, &["-a", "-t", "10.0.0.1:80", "-m"]),
    choice("-r", "--real-server", SERVERS, &["-d", "-t", "10.0.0.1:80"]),
    choice("-r", "--real-server", SERVERS, &["-a", "-f", "6", "-6", "-i"]),
    choice("-w", "--weight", &["2", "65535", "65536", "2147483647", "2147483648"], SERVER),
    choice("-x", "--u-threshold", &["3", "2147483647", "2147483648"], SERVER),
    choice("-y", "--l-threshold", &["4", "2147483647", "2147483648"], SERVER),
    choice("--mcast-interface", "--mcast-interface", INTERFACES, &["--start-daemon", "backup"]),
    choice("--syncid", "--syncid", &["1", "255", "256"], DAEMON),
    choice(
        "--pe",
        "--pe",
        &["sip", "nosuch", "averyveryverylongname", "sipsipsipsipsipsi"],
        &["-A", "-u", "10.0.0.9:99", "-p"],
    ),
    choice("-b", "--sched-flags", FLAGS, &["-A", "-t", "10.0.0.9:99", "-s", "sh"]),
    choice("-b", "--sched-flags", FLAGS, &["-A", "-t", "10.0.0.9:99", "-s", "mh"]),
    choice("-b", "--sched-flags", FLAGS, SERVICE),
    choice("--mcast-group", "--mcast-group", &["224.0.0.5", "ff02::1", "1.2.3.4", "::1", "224.0.0.256"], DAEMON),
    choice("--mcast-port", "--mcast-port", &["5", "65535", "65536"], DAEMON),
    choice("--mcast-ttl", "--mcast-ttl", &["5", "255", "256"], DAEMON),
    choice("--sync-maxlen", "--sync-maxlen", &["500", "65507", "65508"], DAEMON),
    choice(
        "--tun-type",
        "--tun-type",
        &["gue", "gre", "ipip", "GUE", "gr", "greg"],
        &["-a", "-t", "10.0.0.1:80", "-r", "10.9.0.77", "-i"],
    ),
    choice("--tun-port", "--tun-port", &["9", "65535", "65536"], TUNNEL),
    choice("-n", "--numeric", &[], LIST),
    choice("-c", "--connection", &[], &["-L", "--stats"]),
    choice("-g", "--gatewaying", &[], &["-a", "-t", "10.0.0.1:80", "-r", "10.9.0.77:8080"]),
    choice("-i", "--ipip", &[], &["-a", "-t", "10.0.0.1:80", "-r", "10.9.0.77:8080"]),
    choice("-m", "--masquerading", &[], &["-a", "-t", "10.0.0.1:80", "-r", "10.9.0.77:8080"]),
    choice("--timeout", "--timeout", &[], LIST),
    choice("--daemon", "--daemon", &[], LIST),
    choice("--stats", "--stats", &[], LIST),
    choice("--rate", "--rate", &[], LIST),
    choice("--thresholds", "--thresholds", &[], LIST),
    choice("--persistent-conn", "--persistent-conn", &[], LIST),
    choice("--nosort", "--nosort", &[], LIST),
    choice("--sort", "--sort", &[], LIST),
    choice("-X", "--exact", &[], LIST),
    choice("-o", "--ops", &[], &["-A", "-u", "10.0.0.9:99"]),
    choice("--tun-info", "--tun-info", &[], LIST),
    choice("--tun-nocsum", "--tun-nocsum", &[], TUNNEL),
    choice("--tun-csum", "--tun-csum", &[], TUNNEL),
    choice("--tun-remcsum", "--tun-remcsum", &[], TUNNEL),
    choice("-6", "--ipv6", &[], &["-A", "-f", "9"]),
    choice("--bogus", "--bogus", &[], LIST),
    choice("-A", "--add-service", &[], LIST),
    choice("junk", "junk", &[], LIST),
];

/// Given to every option that takes a value.
const VALUES: &[&str] =
    &["", "0", "1", "-1", "+7", " 8", "9 ", "x", "007", "0x10", "99999999999999999999", "-", "--", "=3"];
const ADDRESSES: &[&str] = &[
    "10.0.0.1:80",
    "10.0.0.2:443",
    "10.0.0.1",
    "10.0.0.1:0",
    "10.0.0.1:",
    "10.0.0.1:65535",
    "10.0.0.1:65536",
    "10.0.0.1:http",
    "10.0.0.1:tftp",
    "10.0.0.1:syslog",
    "10.0.0.1:HTTP",
    "10.0.0.1:0x50",
    "10.0.0.1:80:80",
    "[fd00::1]:80",
    "[fd00::2]:http",
    "fd00::1",
    "[fd00::1]",
    "[fd00::1]80",
    "[10.0.0.1]:80",
    "FD00::A",
    "[::]:0",
    "fe80::1%lo",
    "localhost:80",
    "vip:80",
    "vip",
    "VIP:80",
    "vip6:80",
    "nosuch.invalid:80",
    "1.2.3:80",
    "1:80",
    "0x7f000001:80",
    "010.0.0.1:80",
    "1.2.3.4.5:80",
    "256.0.0.1:80",
    "224.0.0.1:80",
    "0.0.0.0:0",
    "255.255.255.255:80",
    "127.0.0.1:25",
    ":80",
    "10.0.0.1 :80",
    "10.0.0.1\t:80",
    "1.1.1.1:+5",
    "1.1.1.1:-0",
];
const SERVERS: &[&str] = &[
    "10.9.0.1",
    "10.9.0.9:8080",
    "10.9.0.1:0",
    "10.9.0.1:http",
    "10.9.0.1:65536",
    "[fd00::99]:80",
    "fd00::99",
    "[fd00::99]",
    "rs1",
    "rs1:80",
    "localhost",
    "224.0.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "240.0.0.1",
    "255.255.255.255",
    "127.0.0.1",
    "::",
    "::1",
    "ff02::1",
    "fe80::1",
    "::ffff:10.9.0.1",
    "10.0.0.1",
    "1234:80",
    "10.9.1",
];
const MASKS: &[&str] = &[
    "255.255.255.0",
    "64",
    "128",
    "129",
    "0.0.0.0",
    "255.255.255.255",
    "255.0.255.0",
    "24",
    "fd00::",
    "rs1",
    "64x",
    "4294967360",
    "localhost",
];
const SCHEDULERS: &[&str] = &[
    "rr",
    "wrr",
    "lc",
    "wlc",
    "sh",
    "mh",
    "dh",
    "sed",
    "nq",
    "fo",
    "ovf",
    "lblc",
    "lblcr",
    "none",
    "nosuch",
    "RR",
    "averyveryverylongname",
    "wlcwlcwlcwlcwlcw",
    "rr,wrr",
];
const FLAGS: &[&str] = &[
    "flag-1",
    "flag-2,flag-3",
    "sh-port",
    "sh-fallback,sh-port",
    "mh-port",
    "mh-fallback",
    "flag-3",
    "foo",
    "flag-1,,flag-2",
    ",flag-1",
    "flag-1,foo",
    "flag-1,flag-1",
    "FLAG-1",
    "flag-1 ,flag-2",
    "sh-port,mh-port",
];
const INTERFACES: &[&str] = &["nosuch", "averyveryverylongname", "a/b", ".", "a b", "lo:1"];

impl Choice {
    /// The option with this value, in one of the five ways to write it.
    fn words(&self, value: &str, form: usize) -> Vec<String> {
        let Self { short, long, .. } = self;
        match form {
            0 => vec![(*short).to_owned(), value.to_owned()],
            1 if short.len() == 2 => vec![format!("{short}{value}")],
            2 if short.len() == 2 => vec![format!("{short}={value}")],
            3 => vec![(*long).to_owned(), value.to_owned()],
            _ => vec![format!("{long}={value}")],
        }
    }
}

impl Random {
    /// A line that is more often legal than not.
    fn line(&mut self) -> Vec<String> {
        let (verb, fitting) = *self.one(FITTING);
        let mut options = Vec::new();
        if matches!(verb, "-A" | "-E" | "-D" | "-a" | "-e" | "-d") || self.percent(30) {
            let known: &[&[&str]] = &[
                &["-t", "10.0.0.1:80"],
                &["-t", "10.0.0.9:99"],
                &["-t", "[fd00::1]:80"],
                &["-f", "5"],
                &["-f", "6", "-6"],
                &["-f", "6"],
                &["-u", "10.0.0.1:53"],
                &["--sctp-service", "10.0.0.6:3868"],
            ];
            options.push(match self.percent(75) {
                true => concat(&[*self.one(known)]),
                false => self.option(&["-t", "-u", "-f", "--sctp-service"]),
            });
        }
        if matches!(verb, "-a" | "-e" | "-d") && self.percent(97) {
            let known = ["10.9.0.1", "10.9.0.9:8080", "[fd00::99]:80", "10.9.0.4:80"];
            options.push(match self.percent(50) {
                true => concat(&[&["-r", *self.one(&known)]]),
                false => self.option(&["-r"]),
            });
        }
        for _ in 0..self.below(5) {
            if !fitting.is_empty() {
                options.push(self.option(fitting));
            }
        }
        if self.percent(7) {
            let choice = self.one(OPTIONS);
            options.push(self.option(&[choice.short]));
        }
        if self.percent(20) {
            self.shuffle(&mut options);
        }
        let mut line = concat(&[&[verb]]);
        line.extend(options.into_iter().flatten());
        // A bundle.
        if self.percent(10) && line.len() > 1 && line[1].starts_with('-') && !line[1].starts_with("--") {
            let second = line.remove(1);
            line[0].push_str(&second[1..]);
        }
        line
    }

    /// One of these options, in any form, with a value if it takes one.
    fn option(&mut self, shorts: &[&str]) -> Vec<String> {
        let short = *self.one(shorts);
        let choices: Vec<_> = OPTIONS.iter().filter(|choice| choice.short == short).collect();
        let choice = *self.one(&choices);
        if choice.values.is_empty() || (short == "-p" && self.percent(50)) {
            return concat(&[&[*self.one(&[choice.short, choice.short, choice.short, choice.long])]]);
        }
        let values = if self.percent(80) { choice.values } else { VALUES };
        let value = *self.one(values);
        let form = if self.percent(60) { 0 } else { self.below(5) };
        choice.words(value, form)
    }
}

/// Commands, the frequent ones more than once, and options that go with them.
const FITTING: &[(&str, &[&str])] = &[
    ("-A", SERVICE_OPTIONS),
    ("-A", SERVICE_OPTIONS),
    ("-E", SERVICE_OPTIONS),
    ("-a", SERVER_OPTIONS),
    ("-a", SERVER_OPTIONS),
    ("-e", SERVER_OPTIONS),
    ("-d", &[]),
    ("-D", &[]),
    ("-Z", &[]),
    ("-L", LIST_OPTIONS),
    ("-L", LIST_OPTIONS),
    ("-S", &["-n"]),
    ("-C", &[]),
];
const SERVICE_OPTIONS: &[&str] = &["-s", "-p", "-M", "-o", "--pe", "-b"];
const SERVER_OPTIONS: &[&str] = &[
    "-w",
    "-x",
    "-y",
    "-i",
    "-i",
    "-m",
    "-m",
    "-g",
    "--tun-type",
    "--tun-port",
    "--tun-nocsum",
    "--tun-csum",
    "--tun-remcsum",
];
const LIST_OPTIONS: &[&str] =
    &["-n", "--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info", "--nosort", "-X", "--sort"];
