//! Processes killed at a random moment: what they had an answer for is there, nothing is there by half, and a second run
//! ends in what is desired.
//!
//! `LVS_SEED` chooses other moments, `LVS_KILLS` how many in all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipset::{Comment, HashIp, Ipset, Kind, Member, NewSet, Set, SetName};
use lvs::ipvs::{Change, Destination, Ipvs, Scheduler, Service, ServiceKey};
use lvs::vip::{Vip, Vips};

use crate::lab::{Lab, Need, number, start_child, tests};
use crate::random::Random;
use crate::vip::{BINDERS, real_interface};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs]; a_killed_batch,);
    all.extend(tests!(&[Need::Ipset(Kind::HashIp)]; a_killed_filling, a_killed_replacement,));
    all.extend(tests!(&[Need::Dummy]; a_killed_sync,));
    all
}

/// How often each test kills.
fn times() -> u64 {
    number("LVS_KILLS", 200).div_ceil(4)
}

fn random(salt: u64) -> Random {
    let seed = number("LVS_SEED", 1);
    println!("seed {seed}, {} kills", times());
    Random(seed * 10 + salt)
}

/// Starts a child and kills it when it has said so many things, and a moment later. Returns how many it has said by then.
fn killed(lab: &Lab, job: &str, random: &mut Random, lines: usize, longest: Duration) -> usize {
    let mut child = start_child(lab, &format!("kill {job}"));
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut count = 0;
    while count < lines && said.next().is_some_and(|line| line.is_ok()) {
        count += 1;
    }
    // Short times are as likely as long ones, since this machine may be fast or slow.
    let longest = 1 + (usize::try_from(longest.as_micros()).unwrap() >> random.below(8));
    thread::sleep(Duration::from_micros(random.below(longest) as u64));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.code().is_none_or(|code| code == 0), "{status}");
    count + said.map_while(Result::ok).count()
}

/// Reports a completed change. The parent reads it even if this process is killed afterwards.
fn acknowledge() {
    let mut out = std::io::stdout();
    out.write_all(b"done\n").unwrap();
    out.flush().unwrap();
}

/// Runs a child's job.
pub(crate) fn child(job: &str) {
    let (what, state) = job.split_once(' ').unwrap();
    let state = state.parse().unwrap();
    match what {
        "batch" => {
            let mut ipvs = Ipvs::connect().unwrap();
            let there = read(&mut ipvs);
            converge(&mut ipvs, &changes(&there, &table(state)), acknowledge);
        }
        "fill" => fill(&mut Ipset::connect().unwrap(), acknowledge),
        "replace" => {
            let mut ipset = Ipset::connect().unwrap();
            for version in state.. {
                ipset.replace(name("live"), &new_set(), members(version)).unwrap();
                acknowledge();
            }
        }
        "list" => {
            let mut ipset = Ipset::connect().unwrap();
            let live = ipset.open::<HashIp>(name("live")).unwrap();
            loop {
                acknowledge();
                for member in ipset.stream_members(&live).unwrap() {
                    member.unwrap();
                }
            }
        }
        _ => {
            let (mut vips, binder) = (Vips::connect().unwrap(), BINDERS[what.parse::<usize>().unwrap()]());
            acknowledge();
            vips.sync(&binder, addresses(state)).unwrap();
            acknowledge();
        }
    }
}

// Batches.

type Table = BTreeMap<ServiceKey, (Service, BTreeMap<SocketAddr, Destination>)>;

/// One of the tables that are desired, each quite unlike the others.
fn table(state: usize) -> Table {
    let services = (0..18u16).filter(|i| (usize::from(*i) + state) % 3 > 0).map(|i| {
        let mut service = Service::tcp(SocketAddr::from(([10, 96, 0, 1], 1 + i)), Scheduler::RR);
        if state % 2 > 0 {
            service = service.persistent(Duration::from_secs(100 + state as u64));
        }
        let servers = (1..=1 + u8::try_from((usize::from(i) + state) % 4).unwrap()).map(|host| {
            let address = SocketAddr::from(([10, 244, 0, host], 80));
            (address, Destination::new(address).weight(u32::try_from(state).unwrap()))
        });
        (service.key, (service, servers.collect()))
    });
    services.collect()
}

fn read(ipvs: &mut Ipvs) -> Table {
    let table = ipvs.table().unwrap().into_iter().map(|(info, destinations)| {
        let destinations = destinations.into_iter().map(|info| (info.address(), info.destination));
        (info.key(), (info.service, destinations.collect()))
    });
    table.collect()
}

/// Returns the changes that turn one table into the other.
fn changes(there: &Table, desired: &Table) -> Vec<Change> {
    let mut changes = Vec::new();
    let nothing = BTreeMap::new();
    for (key, (service, destinations)) in desired {
        let old = match there.get(key) {
            Some((old, destinations)) => {
                if old != service {
                    changes.push(Change::SetService(*service));
                }
                destinations
            }
            None => {
                changes.push(Change::AddService(*service));
                &nothing
            }
        };
        for (address, destination) in destinations {
            match old.get(address) {
                None => changes.push(Change::AddDestination(*key, *destination)),
                Some(old) if old != destination => changes.push(Change::SetDestination(*key, *destination)),
                Some(_) => {}
            }
        }
        let surplus = old.keys().filter(|address| !destinations.contains_key(*address));
        changes.extend(surplus.map(|address| Change::DeleteDestination(*key, *address)));
    }
    changes.extend(there.keys().filter(|key| !desired.contains_key(*key)).map(|key| Change::DeleteService(*key)));
    changes
}

fn apply(table: &mut Table, change: &Change) {
    match *change {
        Change::AddService(service) => _ = table.insert(service.key, (service, BTreeMap::new())),
        Change::SetService(service) => table.get_mut(&service.key).unwrap().0 = service,
        Change::DeleteService(key) => _ = table.remove(&key),
        Change::AddDestination(key, destination) | Change::SetDestination(key, destination) => {
            table.get_mut(&key).unwrap().1.insert(destination.address, destination);
        }
        Change::DeleteDestination(key, address) => _ = table.get_mut(&key).unwrap().1.remove(&address),
        _ => unreachable!(),
    }
}

/// How many changes there are in a batch.
const BATCH: usize = 10;

fn converge(ipvs: &mut Ipvs, changes: &[Change], acknowledged: fn()) {
    for batch in changes.chunks(BATCH) {
        ipvs.batch(batch.iter().copied()).unwrap();
        acknowledged();
    }
}

fn a_killed_batch(lab: &Lab) {
    let mut random = random(1);
    let mut ipvs = lab.ipvs();
    let mut cut_short = 0;
    for _ in 0..times() {
        let state = random.below(6);
        let mut there = read(&mut ipvs);
        let changes = changes(&there, &table(state));
        let batches = changes.len().div_ceil(BATCH);
        let lines = random.below(batches + 1);
        let done = killed(lab, &format!("batch {state}"), &mut random, lines, Duration::from_millis(2));
        cut_short += usize::from(done < batches);
        // As after some number of whole changes, and at least those that were acknowledged.
        let left = read(&mut ipvs);
        let (acknowledged, others) = changes.split_at(changes.len().min(done * BATCH));
        acknowledged.iter().for_each(|change| apply(&mut there, change));
        let as_after_some = there == left
            || others.iter().take(BATCH).any(|change| {
                apply(&mut there, change);
                there == left
            });
        assert!(as_after_some, "{done} of {batches}: {left:#?}");
        let missing = self::changes(&left, &table(state));
        converge(&mut ipvs, &missing, || {});
        assert_eq!(read(&mut ipvs), table(state));
    }
    println!("{cut_short} before they were done");
    assert!(cut_short > 0);
}

// Sets.

fn name(text: &str) -> SetName {
    text.parse().unwrap()
}

fn new_set() -> NewSet<HashIp> {
    NewSet::ipv4().comment()
}

fn host(i: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0001 + i).into()
}

/// The members of a version of the set, which say of which they are.
fn members(version: usize) -> impl Iterator<Item = Member<HashIp>> {
    let count = u32::try_from(300 + version % 50).unwrap();
    (0..count).map(move |i| Member::new(host(i)).comment(Comment::new(&version.to_string()).unwrap()))
}

const MEMBERS: u32 = 2000;
const PART: u32 = 200;

fn fill(ipset: &mut Ipset, acknowledged: fn()) {
    let (set, _) = ipset.put_set(name("filled"), &NewSet::<HashIp>::ipv4()).unwrap();
    for from in (0..MEMBERS).step_by(PART as usize) {
        ipset.put_all(&set, (from..from + PART).map(|i| Member::new(host(i)))).unwrap();
        acknowledged();
    }
}

fn a_killed_filling(lab: &Lab) {
    let mut random = random(2);
    let mut ipset = lab.ipset();
    let mut cut_short = 0;
    for _ in 0..times() {
        let parts = MEMBERS / PART;
        let lines = random.below(parts as usize + 1);
        let done = killed(lab, "fill 0", &mut random, lines, Duration::from_millis(10));
        let done = u32::try_from(done).unwrap();
        cut_short += usize::from(done < parts);
        let there = hosts(&mut ipset);
        // The first so many, and at least those that were acknowledged.
        let count = u32::try_from(there.len()).unwrap();
        assert_eq!(there, (0..count).map(host).collect());
        assert!((done * PART..=(done + 1) * PART).contains(&count), "{done} {count}");
        fill(&mut ipset, || {});
        assert_eq!(hosts(&mut ipset), (0..MEMBERS).map(host).collect());
        ipset.destroy(name("filled")).unwrap();
    }
    println!("{cut_short} before they were done");
    assert!(cut_short > 0);
}

fn hosts(ipset: &mut Ipset) -> BTreeSet<IpAddr> {
    let set: Set<HashIp> = match ipset.open(name("filled")) {
        Err(error) if error.is_not_found() => return BTreeSet::new(),
        set => set.unwrap(),
    };
    let listed: Vec<_> = ipset.stream_members(&set).unwrap().map(|member| member.unwrap().entry.first()).collect();
    let all: BTreeSet<_> = listed.iter().copied().collect();
    assert_eq!(all.len(), listed.len());
    all
}

/// Returns the version of the set, which must be complete.
fn version(ipset: &mut Ipset) -> usize {
    let live: Set<HashIp> = ipset.open(name("live")).unwrap();
    let listed: Vec<_> = ipset.stream_members(&live).unwrap().map(Result::unwrap).collect();
    let version = listed[0].comment.as_ref().unwrap().to_string().parse().unwrap();
    let by_host = |members: Vec<Member<HashIp>>| -> BTreeMap<IpAddr, Member<HashIp>> {
        members.into_iter().map(|member| (member.entry.first(), member)).collect()
    };
    assert_eq!(by_host(listed), by_host(members(version).collect()));
    version
}

fn a_killed_replacement(lab: &Lab) {
    let mut random = random(3);
    let mut ipset = lab.ipset();
    ipset.replace(name("live"), &new_set(), members(1)).unwrap();
    let (mut next, mut left_over) = (2, 0);
    for _ in 0..times() {
        // Another program's list, cut off, must not be in the way for good.
        let lines = random.below(3);
        if random.percent(20) {
            killed(lab, "list 0", &mut random, 1 + lines, Duration::from_millis(10));
        }
        let done = killed(lab, &format!("replace {next}"), &mut random, lines, Duration::from_millis(60));
        let there = version(&mut ipset);
        assert!([next + done - 1, next + done].contains(&there), "{there} {next} {done}");
        let mut names = ipset.names().unwrap();
        names.retain(|other| *other != name("live"));
        left_over += names.len();
        assert!(names.iter().all(|name| name.to_string().starts_with("lvs-")), "{names:?}");
        next = there + 1;
        ipset.replace(name("live"), &new_set(), members(next)).unwrap();
        assert_eq!((version(&mut ipset), ipset.names().unwrap()), (next, vec![name("live")]));
        next += 1;
    }
    println!("{left_over} with something left over");
    assert!(left_over > 0);
}

// Virtual IPs.

/// Some of both families, of which half stay from one state to the next.
fn addresses(state: usize) -> BTreeSet<Vip> {
    let numbers = 0..u8::try_from(40 + state % 3).unwrap();
    let of = |i: u8| -> [IpAddr; 2] {
        let i = if i % 2 == 0 { i } else { i + 100 * u8::try_from(state % 2).unwrap() };
        [[10, 96, 0, i].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(i)].into()]
    };
    numbers.flat_map(|i| of(i + 1)).map(Vip::from).collect()
}

fn a_killed_sync(lab: &Lab) {
    real_interface(lab);
    let mut random = random(4);
    let mut client = lab.vips();
    let (mut number, mut cut_short) = (0, 0);
    for _ in 0..times() {
        let state = random.below(6);
        if random.percent(30) {
            // The next one may want the same addresses.
            client.clear(&BINDERS[number]()).unwrap();
            number = random.below(BINDERS.len());
        }
        let binder = BINDERS[number]();
        let owned = |client: &mut Vips| -> BTreeSet<Vip> { client.virtual_ips(&binder).unwrap().into_iter().collect() };
        let (before, desired) = (owned(&mut client), addresses(state));
        let done = killed(lab, &format!("{number} {state}"), &mut random, 1, Duration::from_millis(15));
        let left = owned(&mut client);
        match done {
            2 => assert_eq!(left, desired),
            _ => {
                cut_short += usize::from(left != desired);
                assert!(left.iter().all(|vip| before.contains(vip) || desired.contains(vip)));
                // Surplus members are deleted last.
                assert!(left.is_superset(&before) || left.is_superset(&desired), "{left:?}");
            }
        }
        client.sync(&binder, desired.iter().copied()).unwrap();
        assert_eq!(owned(&mut client), desired);
    }
    println!("{cut_short} before they were done");
    assert!(cut_short > 0);
}
