//! Lists while other processes change the listed objects.
//!
//! An object that exists all the time is listed exactly once, or the listing is an error. Each listed object is as one
//! process wrote it. Linux 7.x does not lock IPVS for a listing: there, each value of an entry is as one process wrote it.
//!
//! `LVS_SEED` chooses other changes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::process::{Child, ChildStdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::Error;
use lvs::ipset::{Comment, HashIp, Ipset, Kind, Listed, Member, NewSet, Set, SetName};
use lvs::ipvs::{
    Change, Destination, DestinationInfo, Forwarding, Ipvs, Netmask, Persistence, Scheduler, Service, ServiceFlags,
    ServiceKey, Thresholds,
};

use crate::lab::{self, Lab, Need, release, start_child, tests};
use crate::random::Random;

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs];
        services_and_destinations_that_others_change,
        values_of_an_entry_that_another_changes,
    );
    all.extend(tests!(&[Need::Ipvs, Need::Program("ipvsadm"), Need::Program("ipvsadm-rs")];
        a_program_lists_a_table_that_never_rests,
    ));
    all.extend(tests!(&[Need::Ipset(Kind::HashIp)]; sets_and_members_that_others_change, a_set_that_another_replaces,));
    all
}

/// A process that changes things until its standard input ends.
struct Writer {
    child: Child,
    goes_on: ChildStdin,
}

impl Writer {
    fn start(lab: &Lab, what: &str, number: u64) -> Self {
        let mut child = start_child(lab, &format!("concurrency {what} {number}"));
        let goes_on = child.stdin.take().unwrap();
        Self { child, goes_on }
    }

    /// Ends it; returns how many changes it made.
    fn end(self) -> usize {
        drop(self.goes_on);
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{:?}", output.status);
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }
}

/// Runs a writer, in a process of its own.
pub(crate) fn child(job: &str) {
    let (what, number) = job.split_once(' ').unwrap();
    let number: u64 = number.parse().unwrap();
    let mut random = Random(lab::number("LVS_SEED", 1) * 100 + number);
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        seen.store(true, Ordering::Relaxed);
    });
    let mut step: Box<dyn FnMut(&mut Random)> = match what {
        "ipvs" => ipvs_writer(number),
        "restless" => return restless(number, &over),
        "edit" => return edit(&over),
        "ipset" => ipset_writer(number),
        "grow" => grower(),
        "replace" => replacer(),
        _ => panic!("{what}"),
    };
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        step(&mut random);
        count += 1;
        // Some lists are to be disturbed, others not.
        let pause = if random.percent(2) { 300 } else { random.below(3) };
        thread::sleep(Duration::from_millis(pause as u64));
    }
    println!("{count}");
}

/// Lists that came, and that were given up since something changed each time.
#[derive(Debug, Default)]
struct Count {
    whole: usize,
    interrupted: usize,
}

impl Count {
    fn take<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                self.whole += 1;
                Some(value)
            }
            Err(error) if error.is_interrupted() => {
                self.interrupted += 1;
                None
            }
            Err(error) => panic!("{error}"),
        }
    }
}

// IPVS.

const VARIANTS: u16 = 4;
/// More than one datagram has room for.
const STABLE: u16 = 250;

/// A service of which all that is set follows from one number.
fn service(host: u8, port: u16, variant: u16) -> Service {
    let [_, low] = variant.to_be_bytes();
    let mut service = Service::tcp(SocketAddr::from(([10, 96, 0, host], port)), Scheduler::RR);
    let persistence = Persistence::new(Duration::from_secs(100 + u64::from(variant)));
    service.persistence = Some(persistence.netmask(Netmask::inet(Ipv4Addr::new(255, 255, 255, 0x80 >> low << low))));
    service.flags = ServiceFlags::from_bits_retain(u32::from(variant) << 3);
    service
}

fn destination(host: u8, port: u16, variant: u16) -> Destination {
    let number = |number: u16| NonZeroU32::new(number.into()).unwrap();
    let address = SocketAddr::from(([10, 244, 0, host], port));
    let mut destination = Destination::new(address).weight(1000 + u32::from(variant));
    destination.thresholds = Some(Thresholds { upper: number(200 + variant), lower: Some(number(100 + variant)) });
    destination.forwarding = if variant % 2 == 0 { Forwarding::Masquerade } else { Forwarding::Local };
    destination
}

/// The service with the stable destinations.
fn busy() -> Service {
    Service::udp(SocketAddr::from(([10, 97, 0, 1], 53)), Scheduler::RR)
}

fn ipvs_writer(number: u64) -> Box<dyn FnMut(&mut Random)> {
    let mut ipvs = Ipvs::connect().unwrap();
    let host = 10 + u8::try_from(number).unwrap();
    Box::new(move |random| {
        let port = |random: &mut Random, of: u16| 1 + u16::try_from(random.below(of.into())).unwrap();
        let changes: Vec<_> = (0..1 + random.below(4))
            .map(|_| {
                let variant = u16::try_from(random.below(VARIANTS.into())).unwrap();
                match random.below(8) {
                    0 | 1 => Change::AddService(service(host, port(random, 60), variant)),
                    2 | 3 => Change::DeleteService(service(host, port(random, 60), 0).key),
                    // Those that everybody changes, and nobody deletes.
                    4 => Change::SetService(service(1, port(random, STABLE), variant)),
                    5 => Change::AddDestination(busy().key, destination(host, port(random, 60), variant)),
                    6 => Change::DeleteDestination(busy().key, destination(host, port(random, 60), 0).address),
                    _ => Change::SetDestination(busy().key, destination(1, port(random, STABLE), variant)),
                }
            })
            .collect();
        if let Err(error) = ipvs.batch(changes) {
            let known = |error: &Error| error.is_already_exists() || error.is_not_found();
            assert!(error.interruption.is_none(), "{error}");
            assert!(error.failures.iter().all(|failure| known(&failure.error)), "{error}");
        }
    })
}

/// Changes the values of a destination and of a service without a pause.
fn edit(over: &AtomicBool) {
    let mut ipvs = Ipvs::connect().unwrap();
    let mut count = 0_u64;
    while !over.load(Ordering::Relaxed) {
        let variant = u16::try_from(count % u64::from(VARIANTS)).unwrap();
        ipvs.set_destination(busy().key, destination(1, 1, variant)).unwrap();
        ipvs.set_service(service(1, 1, variant)).unwrap();
        count += 1;
    }
    println!("{count}");
}

/// Adds and deletes a service without a pause.
fn restless(number: u64, over: &AtomicBool) {
    let mut ipvs = Ipvs::connect().unwrap();
    let service = service(10 + u8::try_from(number).unwrap(), 1, 0);
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        ipvs.add_service(service).unwrap();
        ipvs.delete_service(service.key).unwrap();
        count += 2;
    }
    println!("{count}");
}

/// The programs and the best-effort listing succeed where a strict listing may not.
fn a_program_lists_a_table_that_never_rests(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.batch((1..=STABLE).map(|port| Change::AddService(service(1, port, 0)))).unwrap();
    let writers = [1, 2].map(|number| Writer::start(lab, "restless", number));
    let mut changing = 0;
    for _ in 0..4 {
        let listed = ipvs.services_best_effort().unwrap();
        assert!(listed.errors.is_empty(), "{listed:?}");
        assert_services(&listed.items.iter().map(|info| info.service).chain([busy()]).collect::<Vec<_>>());
        changing += usize::from(listed.changing);
        for (program, options) in [("ipvsadm", "-Sn"), ("ipvsadm-rs", "-Sn"), ("ipvsadm-rs", "-Ln")] {
            // A status other than 0 fails the test.
            let text = lab.tool(&format!("{program} {options}"));
            let stable = |line: &&str| line.contains("10.96.0.1:");
            let lines: Vec<_> = text.lines().filter(stable).collect();
            let distinct: BTreeSet<_> = lines.iter().collect();
            if program == "ipvsadm-rs" {
                assert_eq!((lines.len(), distinct.len()), (STABLE.into(), STABLE.into()), "{program} {options}");
            }
        }
    }
    let changes = writers.map(Writer::end);
    println!("{changing} of 4 listings of a changing table, {changes:?} changes");
}

/// Whether the kernel reads IPVS without the lock that writers hold, so that a listed entry can mix two versions.
fn reads_without_lock() -> bool {
    release() >= (7, 0)
}

/// Whether all values of an entry are those of one version; or each of any, where a listing mixes versions. `equal` says
/// which values are those of a version.
fn is_written<const N: usize>(equal: impl Fn(u16) -> [bool; N]) -> bool {
    let versions: Vec<_> = (0..VARIANTS).map(equal).collect();
    if reads_without_lock() {
        (0..N).all(|value| versions.iter().any(|equal| equal[value]))
    } else {
        versions.contains(&[true; N])
    }
}

fn is_written_service(listed: &Service) -> bool {
    let ServiceKey::Address { address, .. } = listed.key else { panic!("{listed:?}") };
    let IpAddr::V4(ip) = address.ip() else { panic!("{listed:?}") };
    // While the scheduler is changed, and while the service is deleted.
    let without = reads_without_lock() && listed.scheduler == Scheduler::NONE;
    let persistence = listed.persistence.unwrap_or_else(|| panic!("{listed:?}"));
    is_written(|variant| {
        let written = service(ip.octets()[3], address.port(), variant);
        let Persistence { timeout, netmask, .. } = written.persistence.unwrap();
        [
            (listed.key, listed.engine) == (written.key, written.engine),
            listed.scheduler == written.scheduler || without,
            listed.flags == written.flags,
            persistence.timeout == timeout,
            persistence.netmask == netmask,
        ]
    })
}

fn is_written_destination(listed: &Destination) -> bool {
    let IpAddr::V4(ip) = listed.address.ip() else { panic!("{listed:?}") };
    is_written(|variant| {
        let written = destination(ip.octets()[3], listed.address.port(), variant);
        let limits = |of: &Destination| (of.thresholds.map(|it| it.upper), of.thresholds.map(|it| it.lower));
        [
            listed.address == written.address,
            listed.weight == written.weight,
            listed.forwarding == written.forwarding,
            limits(listed).0 == limits(&written).0,
            limits(listed).1 == limits(&written).1,
        ]
    })
}

fn assert_services(listed: &[Service]) {
    let keys: HashSet<_> = listed.iter().map(|service| service.key).collect();
    assert_eq!(keys.len(), listed.len());
    for listed in listed {
        assert!(*listed == busy() || is_written_service(listed), "{listed:?}");
    }
    let missing: Vec<_> = (1..=STABLE).filter(|port| !keys.contains(&service(1, *port, 0).key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn assert_destinations(infos: &[DestinationInfo]) {
    let addresses: HashSet<_> = infos.iter().map(DestinationInfo::address).collect();
    assert_eq!(addresses.len(), infos.len());
    for listed in infos.iter().map(|info| info.destination) {
        assert!(is_written_destination(&listed), "{listed:?}");
    }
    let missing: Vec<_> = (1..=STABLE).filter(|port| !addresses.contains(&destination(1, *port, 0).address)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn values_of_an_entry_that_another_changes(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.batch([service(1, 1, 0), busy()].map(Change::AddService)).unwrap();
    ipvs.add_destination(busy().key, destination(1, 1, 0)).unwrap();
    let writer = Writer::start(lab, "edit", 0);
    let mut mixed = 0;
    for _ in 0..2000 {
        let listed = ipvs.destinations(busy().key).unwrap().remove(0).destination;
        assert!(is_written_destination(&listed), "{listed:?}");
        mixed += usize::from((0..VARIANTS).all(|variant| listed != destination(1, 1, variant)));
        let listed = ipvs.service(service(1, 1, 0).key).unwrap().service;
        assert!(is_written_service(&listed), "{listed:?}");
        mixed += usize::from((0..VARIANTS).all(|variant| listed != service(1, 1, variant)));
    }
    println!("{mixed} of 4000 entries mix versions, {} changes", writer.end());
}

fn services_and_destinations_that_others_change(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.batch((1..=STABLE).map(|port| Change::AddService(service(1, port, 0)))).unwrap();
    ipvs.add_service(busy()).unwrap();
    let changes = (1..=STABLE).map(|port| Change::AddDestination(busy().key, destination(1, port, 0)));
    ipvs.batch(changes).unwrap();
    let writers = [1, 2].map(|number| Writer::start(lab, "ipvs", number));
    let (mut services, mut destinations, mut tables) = (Count::default(), Count::default(), Count::default());
    for round in 0..25 {
        if let Some(listed) = services.take(ipvs.services()) {
            assert_services(&listed.into_iter().map(|info| info.service).collect::<Vec<_>>());
        }
        if let Some(listed) = destinations.take(ipvs.destinations(busy().key)) {
            assert_destinations(&listed);
        }
        // It asks for the destinations of each service, which takes its time.
        if round % 8 == 0 {
            if let Some(table) = tables.take(ipvs.table()) {
                assert_services(&table.iter().map(|(info, _)| info.service).collect::<Vec<_>>());
                let of_busy = table.iter().find(|(info, _)| info.service == busy()).unwrap();
                assert_destinations(&of_busy.1);
            }
        }
    }
    let changes = writers.map(Writer::end);
    println!("services {services:?}, destinations {destinations:?}, tables {tables:?}, {changes:?} batches of changes");
    // Nobody changes anything any more: there is no reason to give up.
    assert_services(&ipvs.services().unwrap().into_iter().map(|info| info.service).collect::<Vec<_>>());
    assert_destinations(&ipvs.destinations(busy().key).unwrap());
}

// Sets.

const MEMBERS: u32 = 4000;
const SETS: u32 = 50;

fn name(text: &str) -> SetName {
    text.parse().unwrap()
}

/// A member whose comment says which it is, and which variant.
fn member(host: u32, variant: usize) -> Member<HashIp> {
    let address = Ipv4Addr::from_bits(0x0a00_0000 + host);
    Member::new(address).comment(Comment::new(&format!("{variant} of {address}")).unwrap())
}

fn commented() -> NewSet<HashIp> {
    // Large enough not to grow: of a set that does, the kernel goes on listing the old table, with comments that may have
    // been freed.
    NewSet::ipv4().comment().hashsize(1 << 14)
}

fn assert_whole(member: &Member<HashIp>) {
    let comment = member.comment.as_ref().unwrap().to_string();
    let (variant, address) = comment.split_once(" of ").unwrap();
    assert!(variant.parse::<usize>().is_ok() && address == member.entry.first().to_string(), "{member:?}");
}

/// A member without a comment.
fn bare(host: u32) -> Member<HashIp> {
    Member::new(member(host, 0).entry)
}

/// Makes a set grow again and again.
fn grower() -> Box<dyn FnMut(&mut Random)> {
    let mut ipset = Ipset::connect().unwrap();
    let grown = ipset.open::<HashIp>(name("grown")).unwrap();
    let mut hosts = MEMBERS + 1..30_000;
    Box::new(move |_| _ = ipset.add_all(&grown, hosts.by_ref().take(100).map(bare)).unwrap())
}

fn ipset_writer(number: u64) -> Box<dyn FnMut(&mut Random)> {
    let mut ipset = Ipset::connect().unwrap();
    let own = u32::try_from(number).unwrap() << 16;
    let live = ipset.open::<HashIp>(name("live")).unwrap();
    Box::new(move |random| {
        let other = name(&format!("other-{number}-{}", random.below(5)));
        let from = own + u32::try_from(random.below(6)).unwrap() * 500;
        match random.below(6) {
            0 | 1 => {
                let variant = random.below(4);
                ipset.put_all(&live, (from..from + 500).map(|host| member(host, variant))).unwrap();
            }
            2 => _ = ipset.remove_all(&live, (from..from + 500).map(|host| member(host, 0))).unwrap(),
            // Those that nobody deletes.
            3 => {
                let members: Vec<_> = (0..50)
                    .map(|_| member(1 + u32::try_from(random.below(MEMBERS as usize)).unwrap(), random.below(4)))
                    .collect();
                ipset.put_all(&live, members).unwrap();
            }
            4 => {
                let (set, _) = ipset.put_set(other, &NewSet::<HashIp>::ipv4().hashsize(64)).unwrap();
                ipset.put_all(&set, (0..300).map(|host| bare(from + host))).unwrap();
            }
            _ => {
                let destroyed = ipset.remove_set(other);
                // It may just be listed.
                assert!(destroyed.as_ref().is_err_and(Error::is_in_use) || destroyed.is_ok(), "{destroyed:?}");
            }
        }
    })
}

fn sets_and_members_that_others_change(lab: &Lab) {
    let mut ipset = lab.ipset();
    let live = ipset.create(name("live"), &commented()).unwrap();
    ipset.add_all(&live, (1..=MEMBERS).map(|host| member(host, 0))).unwrap();
    let stable: BTreeSet<_> = (0..SETS).map(|i| name(&format!("set-{i}"))).chain([name("live")]).collect();
    for name in &stable {
        ipset.put_set(*name, &commented()).unwrap();
    }
    let nobody = BTreeSet::new();
    let hosts: BTreeSet<IpAddr> = (1..=MEMBERS).map(|host| member(host, 0).entry.first()).collect();
    let grown = ipset.create(name("grown"), &NewSet::<HashIp>::ipv4().hashsize(64)).unwrap();
    ipset.add_all(&grown, (1..=MEMBERS).map(bare)).unwrap();
    let writers = [("ipset", 1), ("ipset", 2), ("grow", 3)].map(|(what, number)| Writer::start(lab, what, number));
    let (mut lists, mut seen) = (0, 0);
    for _ in 0..4 {
        let listed: Vec<_> = ipset.stream_members(&live).unwrap().map(Result::unwrap).collect();
        assert_members(&listed, &hosts);
        assert_members(&ipset.stream_members(&grown).unwrap().map(Result::unwrap).collect::<Vec<_>>(), &hosts);
        seen += listed.len();
        assert_each_once(&ipset.names().unwrap(), &stable);
        let infos = ipset.sets().unwrap();
        assert_each_once(&infos.iter().map(|info| info.set.name()).collect::<Vec<_>>(), &stable);
        let mut all: BTreeMap<SetName, Vec<Member<HashIp>>> = BTreeMap::new();
        let mut current = None;
        for listed in ipset.stream_contents(None).unwrap() {
            match listed.unwrap() {
                Listed::Set(info) => {
                    current = Some(info.set.name());
                    all.insert(info.set.name(), Vec::new());
                }
                Listed::Member(member) => all.get_mut(&current.unwrap()).unwrap().push(member.of_type().unwrap()),
            }
        }
        assert!(all.keys().copied().collect::<BTreeSet<_>>().is_superset(&stable));
        for (set, members) in &all {
            assert_members(members, if [live.name(), grown.name()].contains(set) { &hosts } else { &nobody });
        }
        lists += 1;
    }
    let changes = writers.map(Writer::end);
    println!("{lists} lists of everything, {seen} members of one set, {changes:?} changes");
}

/// Asserts that each entry which stays is listed once, with values that a writer gave it.
///
/// An entry that is deleted while it is listed may have any values.
fn assert_members(listed: &[Member<HashIp>], stable: &BTreeSet<IpAddr>) {
    let (stay, go): (Vec<_>, Vec<_>) = listed.iter().partition(|member| stable.contains(&member.entry.first()));
    let found: BTreeSet<_> = stay.iter().map(|member| member.entry.first()).collect();
    assert_eq!(found.len(), stay.len());
    let missing: Vec<_> = stable.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:?}");
    stay.into_iter().filter(|member| member.comment.is_some()).for_each(assert_whole);
    assert!(go.iter().all(|member| member.entry.to_string().starts_with("10.")), "{go:?}");
}

/// Asserts that each set which stays is listed once.
fn assert_each_once(listed: &[SetName], stable: &BTreeSet<SetName>) {
    for name in stable {
        assert_eq!(listed.iter().filter(|listed| *listed == name).count(), 1, "{name} in {listed:?}");
    }
}

fn replacer() -> Box<dyn FnMut(&mut Random)> {
    let mut ipset = Ipset::connect().unwrap();
    let mut version = 0;
    Box::new(move |_| {
        version += 1;
        // Another size each time.
        let hosts = 1..=u32::try_from(600 + 10 * version).unwrap();
        let members = hosts.map(|host| member(host, version));
        if let Err(error) = ipset.replace(name("live"), &commented(), members) {
            // On a busy machine one list may follow the other for longer than it waits.
            assert!(lvs::Error::from(error).is_in_use());
        }
    })
}

fn a_set_that_another_replaces(lab: &Lab) {
    let mut ipset = lab.ipset();
    let live: Set<HashIp> = ipset.create(name("live"), &commented()).unwrap();
    let writer = Writer::start(lab, "replace", 1);
    let (mut lists, mut versions) = (0, BTreeSet::new());
    while versions.len() < 5 {
        assert!(lists < 100_000, "{versions:?}");
        let listed: Vec<_> = ipset.stream_members(&live).unwrap().map(Result::unwrap).collect();
        listed.iter().for_each(assert_whole);
        let seen: BTreeSet<usize> = listed
            .iter()
            .map(|member| member.comment.as_ref().unwrap().to_string().split_once(' ').unwrap().0.parse().unwrap())
            .collect();
        assert!(seen.len() <= 1, "{seen:?}");
        if let Some(version) = seen.first() {
            assert_eq!(listed.len(), 600 + 10 * version, "{version}");
        }
        versions.extend(seen);
        lists += 1;
    }
    let replaced = writer.end();
    println!("{lists} lists, {} of {replaced} versions seen", versions.len());
    ipset.replace(name("live"), &commented(), [member(1, 0)]).unwrap();
    assert_eq!(ipset.names().unwrap(), [name("live")]);
}
