//! Generated services, destinations, daemons and timeouts, valid and invalid ones. Each that the library accepts reads back
//! as asked, but for the [`NORMALISATIONS`]. Each that the library refuses before sending is sent unchecked: the kernel or
//! `ipvsadm` refuses it, too, or stores something else, but for the [`EXCEPTIONS`].
//!
//! `LVS_SEED` and `LVS_ROUNDS` choose other and more objects: `LVS_SEED=7 LVS_ROUNDS=500 cargo xtask test --timeout 3600
//! read_back`.

mod made_up;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU16};
use std::process::Command;

use libtest_mimic::Trial;
use lvs::ipvs::{Change, Destination, Ipvs, Scheduler, Service, ServiceKey, SyncState, Thresholds, Timeouts};
use lvs::ready::{Part, load};
use lvs::{Cause, Error, Family};

use crate::lab::{Lab, Need, address, number, tests};
use crate::random::Random;
use crate::saved;
use crate::unchecked::Unchecked;

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs, Need::Program("ipvsadm")];
        services_and_destinations,
        daemons,
        timeouts,
    )
}

/// A documented difference between an accepted change and the kernel's object.
struct Normalisation {
    #[expect(dead_code, reason = "for the reader")]
    documented: &'static str,
    /// Turns the change that was asked into the one that is expected.
    apply: fn(asked: &mut Change, read: &Change),
}

const NORMALISATIONS: &[Normalisation] = &[
    Normalisation {
        documented: "SyncDaemon::max_length: on a backup at least 1024",
        apply: |asked, _| {
            if let Change::StartDaemon(daemon) = asked {
                let least = NonZeroU16::new(1024).filter(|_| daemon.state == SyncState::Backup);
                daemon.max_length = daemon.max_length.map(|length| least.map_or(length, |least| length.max(least)));
            }
        },
    },
    Normalisation {
        documented: "SyncDaemon: the kernel's value for each `None`",
        apply: |asked, read| {
            if let (Change::StartDaemon(daemon), Change::StartDaemon(read)) = (asked, read) {
                daemon.max_length = daemon.max_length.or(read.max_length);
                daemon.group = daemon.group.or(Some(IpAddr::from([224, 0, 0, 81])));
                daemon.port = daemon.port.or(NonZeroU16::new(8848));
                daemon.ttl = daemon.ttl.or(NonZeroU8::new(1));
            }
        },
    },
    Normalisation {
        documented: "Timeouts: `None` leaves a timeout as it is",
        apply: |asked, _| {
            if let Change::SetTimeouts(timeouts) = asked {
                timeouts.tcp = timeouts.tcp.or(USUAL.tcp);
                timeouts.tcp_fin = timeouts.tcp_fin.or(USUAL.tcp_fin);
                timeouts.udp = timeouts.udp.or(USUAL.udp);
            }
        },
    },
];

/// Timeouts of a new namespace.
const USUAL: Timeouts = {
    use std::time::Duration;
    Timeouts {
        tcp: Some(Duration::from_secs(900)),
        tcp_fin: Some(Duration::from_secs(120)),
        udp: Some(Duration::from_secs(300)),
    }
};

/// A refusal of the library for objects that the kernel stores as asked and `ipvsadm` has no option for.
struct Exception {
    /// Beginning of the library's explanation.
    problem: &'static str,
    #[expect(dead_code, reason = "for the reader")]
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[Exception {
    problem: "forwarding method",
    reason: "the kernel keeps 5 to 7, and passes no packet on by them; `ipvsadm` has no option for them",
}];

/// Outcomes of the changes with one problem, sent unchecked.
#[derive(Debug, Default)]
struct Refusals {
    /// By error number.
    by_kernel: BTreeMap<i32, usize>,
    stored_otherwise: usize,
    stored_as_asked: usize,
    by_ipvsadm: usize,
    otherwise_by_ipvsadm: usize,
    as_asked_by_ipvsadm: Vec<String>,
}

/// Number of times that `ipvsadm` is run for each problem.
const TRIES: usize = 3;

struct Bench<'a> {
    lab: &'a Lab,
    ipvs: Ipvs,
    unchecked: Unchecked,
    accepted: usize,
    /// Changes refused by the kernel, by the reason.
    refused: BTreeMap<String, usize>,
    /// Changes refused before sending, by the problem.
    problems: BTreeMap<String, Refusals>,
    faults: Vec<String>,
}

impl<'a> Bench<'a> {
    fn new(lab: &'a Lab) -> Self {
        Self {
            lab,
            ipvs: lab.ipvs(),
            unchecked: Unchecked::connect(lab),
            accepted: 0,
            refused: BTreeMap::new(),
            problems: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// Makes a change, judges the outcome, and returns whether the library made it. `undo` reverts a change that the
    /// library refuses.
    fn judge(&mut self, change: Change, undo: Change) -> bool {
        match self.ipvs.change(change) {
            Ok(()) => {
                self.accepted += 1;
                if let Err(read) = self.reads_as(&change) {
                    self.faults.push(format!("accepted, but\nread  {read:?}\nasked {change:?}"));
                }
                return true;
            }
            Err(error) if error.is_invalid_input() => self.refused_unsent(change, undo, &error),
            Err(error) => {
                *self.refused.entry(format!("{:?}", error.reason())).or_default() += 1;
                if self.is_there(&change) {
                    self.faults.push(format!("refused with {error}, but present: {change:?}"));
                }
            }
        }
        false
    }

    /// Sends the change without the check.
    fn refused_unsent(&mut self, change: Change, undo: Change, error: &Error) {
        let Cause::InvalidInput(problem) = error.cause() else { panic!("{error}") };
        let problem = problem.chars().filter(|c| c.is_alphabetic() || *c == ' ').collect::<String>();
        let sent = self.unchecked.change(change);
        let mut refusals = self.problems.remove(&problem).unwrap_or_default();
        match sent {
            Err(errno) => *refusals.by_kernel.entry(errno).or_default() += 1,
            Ok(()) => {
                let as_asked = self.reads_as(&change).is_ok();
                self.ipvs.change(undo).unwrap();
                if as_asked {
                    refusals.stored_as_asked += 1;
                    self.ask_ipvsadm(change, undo, &mut refusals);
                } else {
                    refusals.stored_otherwise += 1;
                }
            }
        }
        self.problems.insert(problem, refusals);
    }

    fn ask_ipvsadm(&mut self, change: Change, undo: Change, refusals: &mut Refusals) {
        let tries = refusals.by_ipvsadm + refusals.otherwise_by_ipvsadm + refusals.as_asked_by_ipvsadm.len();
        let Some(line) = command(&change).filter(|_| tries < TRIES) else { return };
        let run = || Command::new("ipvsadm").args(line.split_whitespace()).output().unwrap();
        if !self.lab.run(run).status.success() {
            refusals.by_ipvsadm += 1;
            return;
        }
        if self.reads_as(&change).is_ok() {
            refusals.as_asked_by_ipvsadm.push(line);
        } else {
            refusals.otherwise_by_ipvsadm += 1;
        }
        match (self.ipvs.change(undo), undo) {
            (Ok(()), _) => {}
            // `ipvsadm` replaces the port of a destination by the service's.
            (Err(error), Change::DeleteDestination(key @ ServiceKey::Address { address, .. }, mut to)) => {
                assert!(error.is_not_found(), "{error}");
                to.set_port(address.port());
                self.ipvs.delete_destination(key, to).unwrap();
            }
            (Err(error), _) => panic!("{error}"),
        }
    }

    /// Compares the kernel's object with the change; returns the object if it differs.
    fn reads_as(&mut self, change: &Change) -> Result<(), Option<Change>> {
        let Some(read) = self.read(change) else { return Err(None) };
        let mut asked = *change;
        for normalisation in NORMALISATIONS {
            (normalisation.apply)(&mut asked, &read);
        }
        if asked == read { Ok(()) } else { Err(Some(read)) }
    }

    /// Reads the object of a change, as the change that asks for exactly this object.
    fn read(&mut self, change: &Change) -> Option<Change> {
        match *change {
            Change::AddService(Service { key, .. }) => self.service(key).map(Change::AddService),
            Change::SetService(Service { key, .. }) => self.service(key).map(Change::SetService),
            Change::AddDestination(key, to) => {
                self.destination(key, to.address).map(|to| Change::AddDestination(key, to))
            }
            Change::SetDestination(key, to) => {
                self.destination(key, to.address).map(|to| Change::SetDestination(key, to))
            }
            Change::StartDaemon(daemon) => {
                let running = self.ipvs.daemons().unwrap();
                running.into_iter().find(|running| running.state == daemon.state).map(Change::StartDaemon)
            }
            Change::SetTimeouts(_) => Some(Change::SetTimeouts(self.ipvs.timeouts().unwrap())),
            _ => panic!("{change:?}"),
        }
    }

    fn service(&mut self, key: ServiceKey) -> Option<Service> {
        match self.ipvs.service(sent_key(key)) {
            Ok(info) => Some(info.service),
            Err(error) if error.is_not_found() => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn destination(&mut self, key: ServiceKey, address: SocketAddr) -> Option<Destination> {
        let listed = self.ipvs.destinations(sent_key(key)).unwrap();
        listed.into_iter().map(|info| info.destination).find(|listed| listed.address == sent(address))
    }

    /// Returns whether a refused change left an object.
    fn is_there(&mut self, change: &Change) -> bool {
        match change {
            Change::AddService(_) | Change::AddDestination(..) | Change::StartDaemon(_) => self.read(change).is_some(),
            _ => false,
        }
    }

    fn finish(mut self, what: &str) {
        println!("{what}: {} accepted; refused by the kernel: {:?}", self.accepted, self.refused);
        for (problem, refusals) in &self.problems {
            println!("{problem}: {refusals:?}");
            let is_excepted = EXCEPTIONS.iter().any(|row| problem.starts_with(row.problem));
            let disputed = refusals.stored_as_asked > 0 && refusals.by_ipvsadm + refusals.otherwise_by_ipvsadm == 0;
            if !is_excepted && (disputed || !refusals.as_asked_by_ipvsadm.is_empty()) {
                self.faults.push(format!("refused for no reason: {problem}: {refusals:?}"));
            }
        }
        let problems = &self.problems;
        let unseen = |row: &&Exception| {
            !problems.iter().any(|(problem, refusals)| problem.starts_with(row.problem) && refusals.stored_as_asked > 0)
        };
        if what == "services and destinations" {
            let unseen: Vec<_> = EXCEPTIONS.iter().filter(unseen).map(|row| row.problem).collect();
            assert!(unseen.is_empty(), "exceptions that no change shows: {unseen:?}");
        }
        assert!(self.faults.is_empty(), "{} faults: {:#?}", self.faults.len(), self.faults);
    }
}

/// Returns the parts of an address that reach the kernel.
fn sent(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn sent_key(key: ServiceKey) -> ServiceKey {
    match key {
        ServiceKey::Address { protocol, address } => ServiceKey::Address { protocol, address: sent(address) },
        ServiceKey::FirewallMark { .. } => key,
    }
}

/// Arguments of `ipvsadm` for a change; `None` if it has no option for a part of it.
fn command(change: &Change) -> Option<String> {
    match change {
        Change::AddService(service) | Change::SetService(service) => {
            let command = if matches!(change, Change::AddService(_)) { "-A" } else { "-E" };
            Some(format!("{command} {}", saved::service(service)?))
        }
        Change::AddDestination(key, to) | Change::SetDestination(key, to) => {
            let command = if matches!(change, Change::AddDestination(..)) { "-a" } else { "-e" };
            let mut line = format!("{command} {}", saved::destination(*key, to)?);
            if let Some(Thresholds { upper, lower }) = to.thresholds {
                line += &format!(" -x {upper}");
                line += &lower.map_or(String::new(), |lower| format!(" -y {lower}"));
            }
            Some(line)
        }
        Change::StartDaemon(daemon) => {
            let mut line = format!(
                "--start-daemon {} --mcast-interface {} --syncid {}",
                daemon.state, daemon.interface, daemon.sync_id
            );
            line += &daemon.max_length.map_or(String::new(), |length| format!(" --sync-maxlen {length}"));
            line += &daemon.group.map_or(String::new(), |group| format!(" --mcast-group {group}"));
            line += &daemon.port.map_or(String::new(), |port| format!(" --mcast-port {port}"));
            line += &daemon.ttl.map_or(String::new(), |ttl| format!(" --mcast-ttl {ttl}"));
            Some(line)
        }
        _ => None,
    }
}

/// The services that the destinations of a round belong to.
fn with_destinations() -> Vec<Service> {
    let mark = |family| Service::firewall_mark(99.try_into().unwrap(), family, Scheduler::RR);
    vec![
        Service::tcp(address("10.96.0.1:443"), Scheduler::WRR),
        Service::udp(address("[2001:db8:1::1]:53"), Scheduler::MH),
        Service::sctp(address("10.96.0.1:0"), Scheduler::WLC).persistent(std::time::Duration::from_secs(60)),
        mark(Family::Inet),
        mark(Family::Inet6),
    ]
}

const SERVICES: usize = 40;
const DESTINATIONS: usize = 60;
const REPLACED: usize = 30;

fn services_and_destinations(lab: &Lab) {
    let (mut random, rounds) = (Random(number("LVS_SEED", 1)), number("LVS_ROUNDS", 8));
    // Not by naming them first, while the namespace of an earlier test ends: see there.
    for scheduler in [Scheduler::LBLC, Scheduler::LBLCR] {
        load(Part::Scheduler(scheduler)).unwrap();
    }
    lab.add_interface();
    let mut bench = Bench::new(lab);
    for _ in 0..rounds {
        bench.ipvs.clear().unwrap();
        round(&mut bench, &mut random);
    }
    bench.finish("services and destinations");
}

fn round(bench: &mut Bench<'_>, random: &mut Random) {
    let mut services: BTreeMap<ServiceKey, Service> = BTreeMap::new();
    let mut destinations: BTreeMap<(ServiceKey, SocketAddr), Destination> = BTreeMap::new();
    let parents = with_destinations();
    let mut keys: HashSet<_> = parents.iter().map(|service| service.key).collect();
    for parent in &parents {
        assert!(bench.judge(Change::AddService(*parent), Change::DeleteService(parent.key)));
        services.insert(parent.key, *parent);
    }
    for _ in 0..SERVICES {
        let key = made_up::key(random);
        let service = made_up::service(random, key);
        let key = sent_key(service.key);
        if keys.insert(key) && bench.judge(Change::AddService(service), Change::DeleteService(key)) {
            services.insert(key, service);
        }
    }
    let mut addresses = HashSet::new();
    for _ in 0..DESTINATIONS {
        let key = random.one(&parents).key;
        let address = made_up::destination_address(random, key);
        let destination = made_up::destination(random, address);
        let address = sent(destination.address);
        let undo = Change::DeleteDestination(key, address);
        if addresses.insert((key, address)) && bench.judge(Change::AddDestination(key, destination), undo) {
            destinations.insert((key, address), destination);
        }
    }
    for _ in 0..REPLACED {
        let old = services[random.one(&services.keys().copied().collect::<Vec<_>>())];
        let new = made_up::service(random, old.key);
        if bench.judge(Change::SetService(new), Change::SetService(old)) {
            services.insert(new.key, new);
        }
        let Some(place) = destinations.keys().nth(random.below(destinations.len().max(1))).copied() else { continue };
        let (old, new) = (destinations[&place], made_up::destination(random, place.1));
        let undo = Change::SetDestination(place.0, old);
        if bench.judge(Change::SetDestination(place.0, new), undo) {
            destinations.insert(place, new);
        }
    }
    compare(bench, &services, &destinations);
}

/// Compares the whole table, as the library and `ipvsadm` list it.
fn compare(
    bench: &mut Bench<'_>,
    services: &BTreeMap<ServiceKey, Service>,
    destinations: &BTreeMap<(ServiceKey, SocketAddr), Destination>,
) {
    let table = bench.ipvs.table().unwrap();
    let read: BTreeMap<_, _> = table.iter().map(|(info, _)| (info.key(), info.service)).collect();
    assert_eq!(read, *services);
    let read = table.iter().flat_map(|(info, to)| to.iter().map(|to| ((info.key(), to.address()), to.destination)));
    assert_eq!(read.collect::<BTreeMap<_, _>>(), *destinations);
    // `ipvsadm` crashes at tunnel flags without an option.
    let (told, untold): (Vec<_>, Vec<_>) =
        destinations.iter().partition(|((key, _), to)| saved::destination(*key, to).is_some());
    for ((key, address), _) in untold {
        bench.ipvs.delete_destination(*key, *address).unwrap();
    }
    let listed: BTreeSet<_> = bench.lab.tool("ipvsadm -Sn").lines().map(|line| line.trim_end().to_owned()).collect();
    assert_eq!(listed.len(), services.len() + told.len());
    let services = services.values().filter_map(|service| Some(format!("-A {}", saved::service(service)?)));
    let destinations =
        told.into_iter().filter_map(|((key, _), to)| Some(format!("-a {}", saved::destination(*key, to)?)));
    let missing: Vec<_> = services.chain(destinations).filter(|line| !listed.contains(line)).collect();
    assert!(missing.is_empty(), "{missing:#?} {listed:#?}");
}

fn daemons(lab: &Lab) {
    let (mut random, rounds) = (Random(number("LVS_SEED", 1)), number("LVS_ROUNDS", 8));
    lab.add_interface();
    lab.tool("ip link set far up");
    lab.tool("ip address add 2001:db8:9::1/64 dev near nodad");
    let mut bench = Bench::new(lab);
    for _ in 0..20 * rounds {
        let daemon = made_up::daemon(&mut random);
        let stop = Change::StopDaemon(daemon.state);
        if bench.judge(Change::StartDaemon(daemon), stop) {
            bench.ipvs.change(stop).unwrap();
        }
    }
    bench.finish("daemons");
}

fn timeouts(lab: &Lab) {
    let (mut random, rounds) = (Random(number("LVS_SEED", 1)), number("LVS_ROUNDS", 8));
    let mut bench = Bench::new(lab);
    assert_eq!(bench.ipvs.timeouts().unwrap(), USUAL);
    let undo = Change::SetTimeouts(USUAL);
    for _ in 0..50 * rounds {
        if bench.judge(Change::SetTimeouts(made_up::timeouts(&mut random)), undo) {
            bench.ipvs.change(undo).unwrap();
        }
    }
    bench.finish("timeouts");
}
