//! Runs a command line by both programs, each on a table that was set up anew.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lvs::ipvs::{
    Change, Destination, Forwarding, Ipvs, Netmask, Persistence, PersistenceEngine, Scheduler, Service, ServiceFlags,
    ServiceKey, SyncDaemon, Thresholds, Timeouts, Tunnel, TunnelFlags,
};
use lvs::{Family, Protocol};
use nix::sys::personality::{self, Persona};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::address;

/// A command line, and what there is around it.
pub(crate) struct Case {
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) input: Cow<'static, [u8]>,
    pub(crate) around: Around,
    /// The table that it is meant for; none: those that all lines run on.
    pub(crate) only: Option<Start>,
}

/// Input of a line that restores the output of the last save.
pub(crate) const SAVED: &[u8] = b"<saved>";

/// Objects that exist when a program starts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Around {
    Nothing,
    /// A variable of the environment.
    Variable(&'static str, &'static str),
    /// No privilege.
    User,
    /// Standard output leads to a disk that is full.
    FullDisk,
    /// A name that a shell gives it.
    Name(&'static str),
}

/// The table at the start.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Start {
    Empty,
    /// Something of everything that `ipvsadm` can set.
    Filled,
    /// Values that only other programs set, and names that a listing must escape.
    Odd,
    /// A tunnel that `ipvsadm` does not know.
    Alien,
}

/// Outcome of a run.
#[derive(PartialEq)]
pub(crate) struct Outcome {
    /// Whether the table, or anything else in the kernel, became another one.
    pub(crate) changed: bool,
    pub(crate) status: ExitStatus,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
    pub(crate) state: State,
}

/// State of the kernel.
#[derive(Clone, PartialEq)]
pub(crate) struct State {
    /// By key and address.
    pub(crate) table: Vec<(Service, Vec<Destination>)>,
    pub(crate) timeouts: Timeouts,
    pub(crate) daemons: Vec<SyncDaemon>,
}

pub(crate) struct Bench {
    ipvs: Ipvs,
    programs: [PathBuf; 2],
    /// Before anything was done.
    timeouts: Timeouts,
    filling: Vec<(Service, Vec<Destination>)>,
    now: State,
}

impl Bench {
    /// Creates a bench. It must be created and used inside the lab.
    pub(crate) fn new() -> Self {
        // An emulated machine starts a program in half the time where the last one was.
        personality::set(personality::get().unwrap() | Persona::ADDR_NO_RANDOMIZE).unwrap();
        let mut ipvs = Ipvs::connect().unwrap();
        let now = State::read(&mut ipvs);
        let programs = ["ipvsadm", "ipvsadm-rs"].map(path_of);
        let mut bench = Self { ipvs, programs, timeouts: now.timeouts, filling: filling(), now };
        // Kernel 7.3 reports a connection table of size 0 until the first service exists.
        bench.set_up(Start::Filled);
        bench
    }

    /// Returns the outcomes with `ipvsadm` and with ours.
    pub(crate) fn run(&mut self, case: &Case, start: Start) -> [Outcome; 2] {
        [0, 1].map(|which| {
            self.set_up(start);
            self.outcome(which, case)
        })
    }

    /// Outcomes of each line with `ipvsadm`, and with ours: all lines act on one table.
    pub(crate) fn sequence(&mut self, cases: &[Case], start: Start) -> [Vec<Outcome>; 2] {
        [0, 1].map(|which| {
            self.set_up(start);
            let mut saved = Vec::new();
            let mut one = |case: &Case| {
                let outcome = if case.input == SAVED {
                    let restore = Case { input: saved.clone().into(), ..Case::new(case.words.clone()) };
                    self.outcome(which, &restore)
                } else {
                    self.outcome(which, case)
                };
                if case.text() == ["-Sn"] {
                    saved.clone_from(&outcome.output);
                }
                outcome
            };
            cases.iter().map(&mut one).collect()
        })
    }

    fn outcome(&mut self, which: usize, case: &Case) -> Outcome {
        let Output { status, stdout, stderr } = run(&self.programs[which], case);
        let before = std::mem::replace(&mut self.now, State::read(&mut self.ipvs));
        let changed = self.now != before;
        Outcome { changed, status, output: stdout, errors: stderr, state: self.now.clone() }
    }

    fn set_up(&mut self, start: Start) {
        let table = match start {
            Start::Empty => Vec::new(),
            Start::Filled => self.filling.clone(),
            Start::Odd => odd(),
            Start::Alien => alien(),
        };
        let wanted = State { table, timeouts: self.timeouts, daemons: Vec::new() };
        if self.now == wanted {
            return;
        }
        let stops = self.now.daemons.iter().map(|daemon| Change::StopDaemon(daemon.state));
        let mut changes: Vec<_> = stops.chain([Change::Clear, Change::SetTimeouts(self.timeouts)]).collect();
        for (service, destinations) in &wanted.table {
            changes.push(Change::AddService(*service));
            changes.extend(destinations.iter().map(|destination| Change::AddDestination(service.key, *destination)));
        }
        self.ipvs.batch(changes).unwrap();
        self.now = State::read(&mut self.ipvs);
        assert!(self.now == wanted, "the table is not what it was set to");
    }
}

impl State {
    fn read(ipvs: &mut Ipvs) -> Self {
        let table = ipvs.table().unwrap().into_iter().map(|(info, destinations)| {
            (info.service, destinations.into_iter().map(|info| info.destination).collect())
        });
        Self { table: sorted(table.collect()), timeouts: ipvs.timeouts().unwrap(), daemons: ipvs.daemons().unwrap() }
    }
}

fn sorted(mut table: Vec<(Service, Vec<Destination>)>) -> Vec<(Service, Vec<Destination>)> {
    table.sort_by_key(|(service, _)| service.key);
    for (_, destinations) in &mut table {
        destinations.sort_by_key(|destination| destination.address);
    }
    table
}

/// Every kind of service and destination.
fn filling() -> Vec<(Service, Vec<Destination>)> {
    let seconds = |seconds| Persistence::new(Duration::from_secs(seconds));
    let to = |text: &str| Destination::new(address(text));
    let tunnel = |text: &str, tunnel| to(text).weight(0).forwarding(Forwarding::Tunnel(tunnel));
    let gue = |port: u16, flags| Tunnel::Gue { port: port.try_into().unwrap(), flags };
    let mark = |mark: u32, family| Service::firewall_mark(mark.try_into().unwrap(), family, Scheduler::WRR);
    let limits =
        |upper: u32, lower: u32| Some(Thresholds { upper: upper.try_into().unwrap(), lower: lower.try_into().ok() });

    let web = Service::tcp(address("10.0.0.1:80"), Scheduler::RR);
    let mut limited = to("10.9.0.9:8080").weight(3);
    limited.thresholds = limits(9, 4);
    let mut full = to("10.9.0.8:80").weight(2_147_483_647);
    full.thresholds = limits(2_147_483_647, 0);
    let mut dns = Service::udp(address("10.0.0.1:53"), Scheduler::SH);
    dns.flags = ServiceFlags::ONE_PACKET | ServiceFlags::PORT;
    let mut six = Service::tcp(address("[fd00::1]:80"), Scheduler::MH);
    six.flags = ServiceFlags::FALLBACK | ServiceFlags::PORT;
    six.persistence = Some(seconds(50).netmask(Netmask::inet6(64).unwrap()));
    let mut sctp = Service::sctp(address("10.0.0.6:3868"), Scheduler::LC);
    sctp.persistence = Some(seconds(360));
    sctp.engine = Some(PersistenceEngine::SIP);
    let mut any_port = Service::tcp(address("10.0.0.7:0"), Scheduler::WLC);
    any_port.persistence = Some(seconds(2_678_400).netmask(Netmask::inet([255, 0, 255, 0].into())));
    let mut five = mark(5, Family::Inet);
    five.persistence = Some(seconds(300).netmask(Netmask::inet([255, 0, 0, 0].into())));
    let mut six_mark = mark(6, Family::Inet6);
    six_mark.flags = ServiceFlags::SCHEDULER_1 | ServiceFlags::SCHEDULER_3;

    sorted(vec![
        (
            web,
            vec![
                limited,
                full,
                to("10.9.0.3:80").forwarding(Forwarding::DirectRoute),
                tunnel("10.9.0.4:80", gue(99, TunnelFlags::CHECKSUM)),
                tunnel("10.9.0.5:80", gue(65535, TunnelFlags::REMOTE_CHECKSUM)),
                tunnel("10.9.0.6:80", Tunnel::Ipip),
                tunnel("10.9.0.7:80", Tunnel::Gre { flags: TunnelFlags::CHECKSUM }),
                tunnel("[2001:db8::99]:80", Tunnel::Gre { flags: TunnelFlags::empty() }),
            ],
        ),
        (dns, vec![to("10.9.0.1:53")]),
        (six, vec![to("[fd00::99]:80"), to("[fd00:1111:2222:3333:4444:5555:6666:7777]:8080")]),
        (sctp, vec![]),
        (any_port, vec![to("10.9.0.1:0").forwarding(Forwarding::DirectRoute)]),
        (five, vec![to("10.9.0.9:8080").weight(65536)]),
        (six_mark, vec![to("[fd00::7]:0")]),
    ])
}

/// Forwarding that `ipvsadm` cannot set, keys that are far apart, and a flag that its scheduler has no name for.
fn odd() -> Vec<(Service, Vec<Destination>)> {
    let to = |text: &str| Destination::new(address(text));
    let mark = |mark: u32, family| Service::firewall_mark(mark.try_into().unwrap(), family, Scheduler::RR);
    let mut unnamed = mark(7, Family::Inet);
    (unnamed.scheduler, unnamed.flags) = (Scheduler::SH, ServiceFlags::SCHEDULER_3);
    let mut engine = Service::udp(address("10.0.0.1:5060"), Scheduler::RR);
    engine.engine = Some(PersistenceEngine::SIP);
    let other = ServiceKey::Address { protocol: Protocol(47), address: address("10.0.0.1:1") };
    sorted(vec![
        (
            Service::tcp(address("10.0.0.1:80"), Scheduler::RR),
            vec![
                to("10.9.0.1:8080").forwarding(Forwarding::Local),
                to("10.9.0.2:80").forwarding(Forwarding::Bypass),
                to("10.9.0.3:0").forwarding(Forwarding::DirectRoute),
                to("10.9.0.4:0").forwarding(Forwarding::Tunnel(Tunnel::Ipip)),
                to("192.168.0.1:80"),
                to("[2001:db8::1]:80").forwarding(Forwarding::Tunnel(Tunnel::Ipip)),
                to("[fd00::1]:80").forwarding(Forwarding::Tunnel(Tunnel::Ipip)),
            ],
        ),
        (Service::tcp(address("192.168.0.1:80"), Scheduler::RR), vec![]),
        (Service::tcp(address("[2001:db8::1]:80"), Scheduler::RR), vec![to("[::1.2.3.4]:80"), to("[fd00::1]:80")]),
        (Service::tcp(address("[fd00::1]:80"), Scheduler::RR), vec![]),
        (Service::tcp(address("[fd00:1111:2222:3333:4444:5555:6666:7777]:65535"), Scheduler::RR), vec![]),
        (engine, vec![]),
        (Service::new(other, Scheduler::RR), vec![to("10.9.0.1:1")]),
        (unnamed, vec![]),
        (mark(4_000_000_000, Family::Inet), vec![]),
        (mark(2_147_483_648, Family::Inet6), vec![to("[fd00::1]:80")]),
        (mark(1, Family::Inet6), vec![]),
        (mark(1, Family::Inet), vec![]),
    ])
}

fn alien() -> Vec<(Service, Vec<Destination>)> {
    let to = |kind| {
        let tunnel = Tunnel::Other { kind, port: 9, flags: TunnelFlags::CHECKSUM };
        Destination::new(([10, 9, 0, kind], 80).into()).forwarding(Forwarding::Tunnel(tunnel))
    };
    sorted(vec![(Service::tcp(address("10.0.0.1:80"), Scheduler::RR), [3, 4, 5, 9, 127, 255].map(to).into())])
}

/// The program of this name on the path.
fn path_of(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists()).unwrap()
}

/// Runs a program by the name of `ipvsadm`, for not longer than a minute.
fn run(program: &PathBuf, case: &Case) -> Output {
    let mut command = Command::new(program);
    command.arg0("ipvsadm").args(case.words.iter().map(|word| OsStr::from_bytes(word)));
    match case.around {
        Around::Nothing => {}
        Around::Variable(name, value) => drop(command.env(name, value)),
        Around::User => drop(command.uid(1000).gid(1000)),
        Around::Name(name) => drop(command.arg0(name)),
        Around::FullDisk => {}
    }
    command.stdin(input(&case.input)).stdout(Stdio::piped()).stderr(Stdio::piped());
    if case.around == Around::FullDisk {
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
    }
    let child = command.spawn().unwrap();
    let id = Pid::from_raw(child.id().try_into().unwrap());
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait_with_output()));
    match end.recv_timeout(Duration::from_secs(60)) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            kill(id, Signal::SIGKILL).unwrap();
            panic!("{} does not end: {case}", program.display());
        }
    }
}

/// Input that ends.
fn input(bytes: &[u8]) -> Stdio {
    if bytes.is_empty() {
        return Stdio::null();
    }
    let path = std::env::temp_dir().join(format!("differential-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.into()
}

impl Case {
    pub(crate) fn new(words: Vec<Vec<u8>>) -> Self {
        Self { words, input: Cow::Borrowed(b""), around: Around::Nothing, only: None }
    }

    /// Its words, where all of them are text.
    pub(crate) fn text(&self) -> Vec<&str> {
        self.words.iter().filter_map(|word| std::str::from_utf8(word).ok()).collect()
    }
}

impl Outcome {
    /// Whether a program refused the line for what it says, without a look at the table.
    pub(crate) fn is_refused_unseen(&self) -> bool {
        self.status.code() == Some(2)
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ipvsadm")?;
        for word in &self.words {
            let plain = !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
            match plain {
                true => write!(f, " {}", word.escape_ascii())?,
                false => write!(f, " '{}'", word.escape_ascii())?,
            }
        }
        if !self.input.is_empty() {
            write!(f, " < '{}'", self.input.escape_ascii())?;
        }
        match self.around {
            Around::Nothing => Ok(()),
            Around::Variable(name, value) => write!(f, " ({name}={value})"),
            Around::User => f.write_str(" (without privilege)"),
            Around::FullDisk => f.write_str(" (to a full disk)"),
            Around::Name(name) => write!(f, " (as {name:?})"),
        }
    }
}

impl Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Filled => "filled",
            Self::Odd => "odd",
            Self::Alien => "alien",
        })
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => writeln!(f, "exit status {code}")?,
            (None, signal) => writeln!(f, "signal {signal:?}")?,
        }
        for (sign, text) in [("1", &self.output), ("2", &self.errors)] {
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                writeln!(f, "  {sign}> {}", line.escape_ascii())?;
            }
        }
        write!(f, "{}", self.state)
    }
}

impl Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filling = filling();
        for row in &self.table {
            if !filling.contains(row) {
                writeln!(f, "  {row:?}")?;
            }
        }
        for (service, _) in filling.iter().filter(|(service, _)| self.table.iter().all(|row| row.0.key != service.key))
        {
            writeln!(f, "  without {}", service.key)?;
        }
        writeln!(f, "  {} {:?}", self.timeouts, self.daemons)
    }
}
