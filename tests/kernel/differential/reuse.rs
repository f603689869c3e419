//! Command lines about services, servers and daemons that exist, most of them right: most lines succeed.

use super::bench::{Case, SAVED, Start};
use crate::random::Random;

/// Generates sequences of lines about one table; the same for the same seed.
pub(crate) struct Reuse {
    random: Random,
    services: Vec<Known>,
    /// Role of each daemon that runs, and the number of lines since its start.
    daemons: Vec<(&'static str, usize)>,
}

/// A service, according to the lines so far.
#[derive(Clone)]
struct Known {
    /// The option and its value, and `-6` for a mark of IPv6.
    key: Vec<String>,
    family6: bool,
    has_port: bool,
    servers: Vec<Server>,
}

#[derive(Clone)]
struct Server {
    address: String,
    /// The options of its forwarding.
    forwarding: Vec<String>,
}

/// The services of [`Start::Filled`].
const FILLING: &[(&str, &[(&str, &str)])] = &[
    (
        "-t 10.0.0.1:80",
        &[
            ("10.9.0.9:8080", "-m"),
            ("10.9.0.8", "-m"),
            ("10.9.0.3", "-g"),
            ("10.9.0.4", "-i --tun-type gue --tun-port 99 --tun-csum"),
            ("10.9.0.5", "-i --tun-type gue --tun-port 65535 --tun-remcsum"),
            ("10.9.0.6", "-i"),
            ("10.9.0.7", "-i --tun-type gre --tun-csum"),
            ("2001:db8::99", "-i --tun-type gre"),
        ],
    ),
    ("-u 10.0.0.1:53", &[("10.9.0.1", "-m")]),
    ("-t [fd00::1]:80", &[("fd00::99", "-m"), ("[fd00:1111:2222:3333:4444:5555:6666:7777]:8080", "-m")]),
    ("--sctp-service 10.0.0.6:3868", &[]),
    ("-t 10.0.0.7:0", &[("10.9.0.1", "-g")]),
    ("-f 5", &[("10.9.0.9:8080", "-m")]),
    ("-f 6 -6", &[("fd00::7", "-m")]),
];

/// Short options and their other names.
const NAMES: &[(&str, &str)] = &[
    ("-A", "--add-service"),
    ("-E", "--edit-service"),
    ("-D", "--delete-service"),
    ("-a", "--add-server"),
    ("-e", "--edit-server"),
    ("-d", "--delete-server"),
    ("-Z", "--zero"),
    ("-C", "--clear"),
    ("-L", "--list"),
    ("-S", "--save"),
    ("-t", "--tcp-service"),
    ("-u", "--udp-service"),
    ("-f", "--fwmark-service"),
    ("-r", "--real-server"),
    ("-s", "--scheduler"),
    ("-w", "--weight"),
    ("-m", "--masquerading"),
    ("-g", "--gatewaying"),
    ("-i", "--ipip"),
    ("-n", "--numeric"),
    ("-6", "--ipv6"),
    ("-x", "--u-threshold"),
    ("-y", "--l-threshold"),
    ("-M", "--netmask"),
    ("-o", "--ops"),
    ("-b", "--sched-flags"),
];

impl Reuse {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random(seed), services: Vec::new(), daemons: Vec::new() }
    }

    /// A table, and the lines that act on it.
    pub(crate) fn sequence(&mut self) -> (Start, Vec<Case>) {
        self.services.clear();
        self.daemons.clear();
        let start = if self.random.percent(50) { Start::Filled } else { Start::Empty };
        let mut cases = Vec::new();
        if start == Start::Filled {
            self.services.extend(FILLING.iter().map(|(key, servers)| Known {
                key: split(key),
                family6: key.contains("fd00") || key.ends_with("-6"),
                has_port: !key.starts_with("-f") && !key.ends_with(":0"),
                servers: servers.iter().map(|(address, forwarding)| Server::new(address, forwarding)).collect(),
            }));
        }
        while cases.len() < 40 {
            match self.random.below(40) {
                0..=4 => cases.push(self.list()),
                5..=7 => cases.push(self.restore()),
                8 => cases.extend(self.save_and_restore()),
                9 | 10 => cases.push(self.daemon()),
                11 => cases.push(self.timeouts()),
                12 => cases.extend(self.like_kube_proxy()),
                13 => cases.extend(self.like_keepalived()),
                _ => {
                    let words = self.change();
                    cases.push(self.case(words));
                }
            }
            for (_, age) in &mut self.daemons {
                *age += 1;
            }
        }
        cases.extend([line("-Ln"), line("-L --daemon"), line("-Sn")]);
        (start, cases)
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.random.below(of.len())]
    }

    /// A line, with some options by their other names.
    fn case(&mut self, mut words: Vec<String>) -> Case {
        if self.random.percent(20) {
            for word in &mut words {
                if let Some((_, name)) = NAMES.iter().find(|(short, _)| short == word) {
                    (*name).clone_into(word);
                }
            }
        }
        case(words)
    }

    /// A line that changes a service, a server or counters.
    fn change(&mut self) -> Vec<String> {
        if self.services.len() < 2 {
            return self.add_service();
        }
        match self.random.below(60) {
            0..=5 => self.add_service(),
            6..=10 => self.edit_service(),
            11..=13 => {
                let at = self.random.below(self.services.len());
                let gone = self.services.swap_remove(at);
                joined("-D", &gone.key)
            }
            14..=34 => self.add_server(),
            35..=44 => self.edit_server(),
            45..=51 => self.delete_server(),
            52 | 53 => self.service_line("-Z"),
            54 => split("-Z"),
            55 if self.random.percent(30) => {
                self.services.clear();
                split("-C")
            }
            // Something that exists already, or is gone.
            56 => {
                let at = self.random.below(self.services.len());
                let Known { key, family6, .. } = self.services[at].clone();
                [joined("-A", &key), self.service_options(&key, family6)].concat()
            }
            57 => split("-D -t 10.0.0.99:99"),
            58 => {
                let mut words = self.service_line("-d");
                words.extend(split("-r 10.8.8.8:88"));
                words
            }
            _ => {
                let at = self.random.below(self.services.len());
                let Known { key, servers, .. } = self.services[at].clone();
                match servers.first() {
                    Some(server) => [joined("-a", &key), server.words(), server.forwarding.clone()].concat(),
                    None => self.edit_service(),
                }
            }
        }
    }

    /// A command about one of the services.
    fn service_line(&mut self, command: &str) -> Vec<String> {
        let at = self.random.below(self.services.len());
        joined(command, &self.services[at].key)
    }

    fn add_service(&mut self) -> Vec<String> {
        let family6 = self.random.percent(30);
        let number = 1 + self.random.below(60);
        let port = *self.random.one(&[80, 443, 53, 5060, 0]);
        let (key, has_port) = match self.random.below(8) {
            0 | 1 => (format!("-f {number}{}", if family6 { " -6" } else { "" }), false),
            other => {
                let option = ["-t", "-u", "--sctp-service"][[0, 0, 0, 1, 1, 2][other - 2]];
                let address = match family6 {
                    true => format!("[fd00::{number:x}]:{port}"),
                    false => format!("10.0.1.{number}:{port}"),
                };
                (format!("{option} {address}"), port != 0)
            }
        };
        let key = split(&key);
        if self.services.iter().all(|service| service.key != key) {
            self.services.push(Known { key: key.clone(), family6, has_port, servers: Vec::new() });
        }
        let options = self.service_options(&key, family6);
        [joined("-A", &key), options].concat()
    }

    fn edit_service(&mut self) -> Vec<String> {
        let at = self.random.below(self.services.len());
        let Known { key, family6, .. } = self.services[at].clone();
        [joined("-E", &key), self.service_options(&key, family6)].concat()
    }

    fn service_options(&mut self, key: &[String], family6: bool) -> Vec<String> {
        let mut words = Vec::new();
        match self.random.below(5) {
            0 => {}
            1 => words.extend(split(self.pick(&[
                "-s sh -b sh-port",
                "-s sh -b sh-fallback,sh-port",
                "-s mh -b mh-port",
                "-s mh -b mh-fallback,mh-port",
                "-s rr -b flag-1,flag-3",
            ]))),
            _ => {
                let all = ["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "sed", "nq", "fo", "ovf", "lblc", "lblcr"];
                words.extend(["-s".into(), self.pick(&all).into()]);
            }
        }
        // A service of all ports must be persistent.
        if key[1].ends_with(":0") || self.random.percent(30) {
            words.extend(split(self.pick(&["-p 360", "-p 1", "-p 2678400"])));
            if self.random.percent(40) {
                let masks =
                    if family6 { ["64", "128", "48"] } else { ["255.255.255.0", "255.0.0.0", "255.255.255.255"] };
                words.extend(["-M".into(), self.pick(&masks).into()]);
            }
        }
        words
    }

    fn add_server(&mut self) -> Vec<String> {
        let at = self.random.below(self.services.len());
        let Known { key, family6, has_port, .. } = self.services[at].clone();
        let number = 1 + self.random.below(60);
        let forwarding = self.pick(&[
            "-m",
            "-m",
            "-m",
            "-m",
            "-g",
            "",
            "-i",
            "-i --tun-type gue --tun-port 6080",
            "-i --tun-type gue --tun-port 6080 --tun-nocsum",
            "-i --tun-type gue --tun-port 6080 --tun-csum",
            "-i --tun-type gue --tun-port 6080 --tun-remcsum",
            "-i --tun-type gre",
            "-i --tun-type gre --tun-csum",
            "-i --tun-type ipip",
        ]);
        // The server of a tunnel may be of the other family.
        let family6 = if forwarding.starts_with("-i") && self.random.percent(20) { !family6 } else { family6 };
        let port = forwarding == "-m" && has_port && self.random.percent(50);
        let address = match (family6, port) {
            (false, false) => format!("10.9.1.{number}"),
            (false, true) => format!("10.9.1.{number}:{}", 8000 + number),
            (true, false) => format!("fd00:9::{number:x}"),
            (true, true) => format!("[fd00:9::{number:x}]:{}", 8000 + number),
        };
        let server = Server::new(&address, forwarding);
        if self.services[at].servers.iter().all(|known| known.address != address) {
            self.services[at].servers.push(server.clone());
        }
        [joined("-a", &key), server.words(), server.forwarding, self.server_options()].concat()
    }

    fn server_options(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        if self.random.percent(60) {
            words.extend(["-w".into(), self.pick(&["0", "1", "2", "100", "65535", "2147483647"]).into()]);
        }
        if self.random.percent(20) {
            words.extend(split(self.pick(&["-x 10", "-x 10 -y 5", "-x 2147483647 -y 1", "-x 0", "-x 5 -y 5"])));
        }
        words
    }

    fn edit_server(&mut self) -> Vec<String> {
        let Some((at, place)) = self.server() else { return self.add_server() };
        let Known { key, servers, .. } = self.services[at].clone();
        let Server { forwarding, .. } = &servers[place];
        [joined("-e", &key), servers[place].words(), forwarding.clone(), self.server_options()].concat()
    }

    fn delete_server(&mut self) -> Vec<String> {
        let Some((at, place)) = self.server() else { return self.add_server() };
        let gone = self.services[at].servers.swap_remove(place);
        [joined("-d", &self.services[at].key), gone.words()].concat()
    }

    /// Indexes of a service and a server of it.
    fn server(&mut self) -> Option<(usize, usize)> {
        let with: Vec<_> = (0..self.services.len()).filter(|at| !self.services[*at].servers.is_empty()).collect();
        let at = *with.get(self.random.below(with.len().max(1)))?;
        Some((at, self.random.below(self.services[at].servers.len())))
    }

    fn list(&mut self) -> Case {
        let mut words = split(self.pick(&["-L -n", "-L -n", "-Ln", "-L", "-S -n", "-Sn", "-S", "-ln"]));
        let is_save = words[0].starts_with("-S");
        if !is_save && self.random.percent(25) {
            words.extend(split(self.pick(&["-c", "--timeout", "--daemon"])));
            return self.case(words);
        }
        if is_save {
            return self.case(words);
        }
        let mut options = vec!["--exact"];
        if !self.services.is_empty() && self.random.percent(40) {
            words.extend(self.service_line("").split_off(1));
            // Only servers: the kernel's order of services is another one in each table with the same services.
            options.push("--nosort");
        }
        let kinds = ["--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info"];
        words.extend(self.random.percent(60).then(|| self.pick(&kinds).to_owned()));
        for option in options {
            words.extend(self.random.percent(20).then(|| option.to_owned()));
        }
        self.case(words)
    }

    /// Several lines at once.
    fn restore(&mut self) -> Case {
        let mut input = String::new();
        for _ in 0..1 + self.random.below(12) {
            let words = match self.random.below(20) {
                0 => split(self.pick(&["-Ln", "-Sn", "-Ln --stats", "-Ln --rate"])),
                _ => self.change(),
            };
            input.push_str(&words.join(" "));
            input.push('\n');
        }
        Case { input: input.into_bytes().into(), ..line(self.pick(&["-R", "-R", "--restore"])) }
    }

    /// A save, and its restore into a table that is empty or not.
    fn save_and_restore(&mut self) -> Vec<Case> {
        let mut cases = vec![line("-Sn")];
        if self.random.percent(75) {
            cases.push(line("-C"));
        }
        cases.push(Case { input: SAVED.into(), ..line("-R") });
        cases.push(line("-Ln"));
        cases
    }

    /// Starts a daemon, or stops one that has had time to begin.
    fn daemon(&mut self) -> Case {
        if let Some(at) = self.daemons.iter().position(|(_, age)| *age >= 3) {
            if self.random.percent(60) {
                let (role, _) = self.daemons.swap_remove(at);
                return line(&format!("--stop-daemon {role}"));
            }
        }
        let role = if self.random.percent(50) { "master" } else { "backup" };
        if self.daemons.iter().any(|(known, _)| *known == role) {
            return line("-L --daemon");
        }
        self.daemons.push((role, 0));
        let options = self.pick(&[
            "",
            " --syncid 7",
            " --syncid 255 --sync-maxlen 1400",
            " --mcast-group 239.1.2.3 --mcast-port 9000 --mcast-ttl 3",
            " --mcast-group ff02::77 --syncid 9",
        ]);
        line(&format!("--start-daemon {role} --mcast-interface near{options}"))
    }

    fn timeouts(&mut self) -> Case {
        line(self.pick(&["--set 900 120 300", "--set 0 60 0", "--set 10 0 0", "--set 0 0 0", "--set 1 2 3"]))
    }

    /// A service with all its endpoints, one of which is drained and deleted.
    fn like_kube_proxy(&mut self) -> Vec<Case> {
        let number = 1 + self.random.below(200);
        let at = format!("10.96.0.{number}:443");
        let key = split(&format!("-t {at}"));
        if self.services.iter().any(|service| service.key == key) {
            return vec![line(&format!("-Ln -t {at}"))];
        }
        let affinity = if self.random.percent(30) { " -p 10800 -M 255.255.255.255" } else { "" };
        let mut cases = vec![line("-Ln"), line(&format!("-A -t {at} -s rr{affinity}"))];
        let endpoints: Vec<_> =
            (1..=2 + self.random.below(3)).map(|pod| format!("10.244.{number}.{pod}:6443")).collect();
        cases.extend(endpoints.iter().map(|pod| line(&format!("-a -t {at} -r {pod} -m -w 1"))));
        cases.push(line(&format!("-e -t {at} -r {} -m -w 0", endpoints[0])));
        cases.push(line("-Ln -c"));
        cases.push(line(&format!("-d -t {at} -r {}", endpoints[0])));
        cases.push(line("-Ln --stats"));
        let servers = endpoints[1..].iter().map(|pod| Server::new(pod, "-m")).collect();
        self.services.push(Known { key, family6: false, has_port: true, servers });
        cases
    }

    /// Checks that fail and recover: a weight of zero or an absent server, a server for that time, and a sync daemon.
    fn like_keepalived(&mut self) -> Vec<Case> {
        let Some((at, place)) = self.server() else { return vec![line("-Ln")] };
        let Known { key, family6, servers, .. } = self.services[at].clone();
        let server = &servers[place];
        let about = |command: &str, server: &Server, options: &str| {
            case([joined(command, &key), server.words(), server.forwarding.clone(), split(options)].concat())
        };
        let sorry = Server::new(if family6 { "fd00:9::ffff" } else { "10.9.9.9" }, "-g");
        let mut cases = match self.random.percent(50) {
            true => vec![about("-e", server, "-w 0")],
            false => vec![case([joined("-d", &key), server.words()].concat())],
        };
        let is_gone = !cases[0].text().contains(&"-w");
        cases.push(about("-a", &sorry, "-w 1"));
        cases.push(line("-Ln --rate"));
        cases.push(about(if is_gone { "-a" } else { "-e" }, server, "-w 1"));
        cases.push(case([joined("-d", &key), sorry.words()].concat()));
        cases.push(line("-Ln"));
        cases
    }
}

impl Server {
    fn new(address: &str, forwarding: &str) -> Self {
        Self { address: address.to_owned(), forwarding: split(forwarding) }
    }

    fn words(&self) -> Vec<String> {
        vec!["-r".into(), self.address.clone()]
    }
}

fn joined(command: &str, rest: &[String]) -> Vec<String> {
    [&[command.to_owned()], rest].concat()
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn line(text: &str) -> Case {
    case(split(text))
}

fn case(words: Vec<String>) -> Case {
    Case::new(words.into_iter().map(String::into_bytes).collect())
}
