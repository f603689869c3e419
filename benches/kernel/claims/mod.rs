//! Figures for the claims of 2017 to 2020 about kube-proxy's modes: see `docs/claims.md`.

mod replay;
mod rules;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lvs::ipset::{Addresses, HashIpPort, Ipset, Member, NewSet, ProtocolPorts};
use lvs::ipvs::{Change, Destination, Ipvs};

pub(crate) use replay::replay;

use crate::results::{Plan, Results};
use crate::services::{self, service, settle, table, timed, vip};
use crate::{firewall, peers};

/// Endpoints of each service in the claims.
const ENDPOINTS: u32 = 20;
/// Short connections for one time, to services spread over the whole table.
const CONNECTIONS: u32 = 40;
/// Sizes of a request and its answer.
const REQUEST: usize = 64;
const ANSWER: usize = 256;
/// Most services that are loaded more than once.
const WHOLE: u32 = 1_000;

/// Returns the one endpoint that all services share.
fn one(_: u32) -> Vec<SocketAddr> {
    vec![SocketAddr::from(firewall::SERVER)]
}

/// Returns the endpoints of a service, each with an address of its own.
fn many(number: u32) -> Vec<SocketAddr> {
    (0..ENDPOINTS).map(|j| services::endpoint(number, j)).collect()
}

/// Makes all addresses local; connections to services start from the address of a pod.
fn site() {
    for command in [
        "address add 10.0.0.1/32 dev lo",
        "address add 10.244.0.5/32 dev lo",
        "route add local 10.160.0.0/11 dev lo",
        "route add local 10.96.0.0/12 dev lo src 10.244.0.5",
    ] {
        assert!(Command::new("ip").args(command.split(' ')).status().unwrap().success());
    }
}

/// Ways to balance: a name, the most services that load within two minutes, and the function that loads them.
type Way = (&'static str, u32, fn(u32));

const WAYS: [Way; 5] = [
    ("IPVS", u32::MAX, ipvs),
    ("IPVS with the constant rules", u32::MAX, ipvs_with_rules),
    ("iptables-nft", 1_000, |count| load("iptables-nft-restore", &rules::iptables(count, &many))),
    ("iptables-legacy", 2_000, |count| load("iptables-legacy-restore", &rules::iptables(count, &many))),
    ("nftables maps", 1_000, |count| load("nft -f -", &rules::nftables(count, &many))),
];

fn load(program: &str, text: &str) {
    peers::feed(program, text);
}

fn ipvs(count: u32) {
    Ipvs::connect().unwrap().batch(table(count, ENDPOINTS)).unwrap();
    settle();
}

fn ipvs_with_rules(count: u32) {
    ipvs(count);
    std::fs::write("/proc/sys/net/ipv4/vs/conntrack", "1").unwrap();
    for (name, kind) in rules::SETS {
        peers::run(&format!("ipset create {name} {kind} maxelem 1048576"), None);
    }
    let key = |number| Member::new((Addresses::One(vip(number).into()), ProtocolPorts::tcp(80)));
    let set = NewSet::<HashIpPort>::ipv4().named("lvs4-cluster".parse().unwrap());
    Ipset::connect().unwrap().put_all(&set, (0..count).map(key)).unwrap();
    load("iptables-nft-restore", rules::CONSTANT);
}

/// Empties the table, which the end of the namespace would do more slowly.
fn unload() {
    Ipvs::connect().unwrap().clear().unwrap();
}

/// Opens short connections at all sizes, by all ways.
pub(crate) fn short_connections(plan: &Plan, results: &mut Results) {
    for &size in plan.clusters {
        for (name, _, load) in WAYS.into_iter().filter(|(_, most, _)| size <= *most) {
            crate::in_a_namespace(|| {
                site();
                let loading = timed(|| load(size));
                results.put("load services with 20 endpoints", size, name, size, &[loading; 2]);
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, services::PORT)).unwrap();
                let times: Vec<_> = (0..=results.rounds()).map(|_| spread(&listener, size)).collect();
                results.put("short connection", size, name, CONNECTIONS, &times);
                unload();
            });
            // A namespace ends in the background.
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// Returns the time of short connections to services spread evenly over the table.
fn spread(listener: &TcpListener, size: u32) -> Duration {
    let number = |i: u32| (2 * i + 1) * size / (2 * CONNECTIONS);
    timed(|| (0..CONNECTIONS).for_each(|i| short(listener, SocketAddr::from((vip(number(i)), 80)))))
}

/// Opens a connection, sends a request, reads the answer, and closes the connection.
fn short(listener: &TcpListener, to: SocketAddr) {
    let mut client = TcpStream::connect(to).unwrap();
    let mut server = listener.accept().unwrap().0;
    let (mut request, mut answer) = ([1; REQUEST], [2; ANSWER]);
    client.write_all(&request).unwrap();
    server.read_exact(&mut request).unwrap();
    server.write_all(&answer).unwrap();
    client.read_exact(&mut answer).unwrap();
}

/// Measures memory, additions and first connections of nftables maps, as `firewall` does for the other ways.
pub(crate) fn nftables(plan: &Plan, results: &mut Results) {
    for &size in plan.maps {
        crate::in_a_namespace(|| {
            firewall::addresses();
            let all = rules::nftables(size, &one);
            load("nft -f -", &rules::nftables(1, &one));
            peers::run("nft flush ruleset", None);
            let before = firewall::memory_in_use();
            let loading = peers::feed("nft -f -", &all);
            if size >= firewall::MANY {
                let taken = Duration::from_nanos(firewall::memory_in_use().saturating_sub(before));
                results.put("memory of all services", size, "nftables maps", size, &[taken; 2]);
            }
            if size <= WHOLE {
                let mut again = || {
                    peers::run("nft flush ruleset", None);
                    (peers::feed("nft -f -", &all), size)
                };
                results.compare("all services", size, &mut [("nft -f", Box::new(&mut again))]);
            } else {
                results.put("all services", size, "nft -f", size, &[loading; 2]);
            }
            firewall::connect(results, size, "nftables maps");
            let next = Cell::new(size);
            let mut more = || {
                next.set(next.get() + 1);
                (peers::feed("nft -f -", &rules::nftables_addition(next.get(), &one)), 1)
            };
            results.compare("one more service", size, &mut [("nft -f", Box::new(&mut more))]);
        });
    }
}

/// Measures the longest short connection to the first service during a change of the table.
pub(crate) fn refreshes(plan: &Plan, results: &mut Results) {
    let size = plan.refreshed;
    crate::in_a_namespace(|| {
        site();
        let mut ipvs = Ipvs::connect().unwrap();
        let pair =
            |i| [Change::AddService(service(i)), Change::AddDestination(service(i).key, Destination::new(one(i)[0]))];
        ipvs.batch((0..size).flat_map(pair)).unwrap();
        settle();
        let next = Cell::new(size);
        let mut change = || {
            next.set(next.get() + 1);
            ipvs.batch(pair(next.get())).unwrap();
        };
        refresh(results, size, "IPVS, no change", &mut || std::thread::sleep(Duration::from_millis(20)));
        refresh(results, size, "IPVS, one service added", &mut change);
        unload();
    });
    for (name, restore) in [("iptables-nft", "iptables-nft-restore"), ("iptables-legacy", "iptables-legacy-restore")] {
        crate::in_a_namespace(|| {
            site();
            load(restore, &rules::iptables(size, &one));
            let same = "*nat\n-A KUBE-MARK-MASQ -m comment --comment more\nCOMMIT\n";
            let noflush = format!("{restore} --noflush");
            refresh(results, size, &format!("{name}, one rule added"), &mut || load(&noflush, same));
        });
    }
    crate::in_a_namespace(|| {
        site();
        load("nft -f -", &rules::nftables(size, &one));
        let next = Cell::new(size);
        let mut change = || {
            next.set(next.get() + 1);
            load("nft -f -", &rules::nftables_addition(next.get(), &one));
        };
        refresh(results, size, "nftables maps, one service added", &mut change);
    });
}

fn refresh(results: &mut Results, size: u32, by: &str, change: &mut dyn FnMut()) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, services::PORT)).unwrap();
    let to = SocketAddr::from((vip(0), 80));
    let (mut longest, mut changes) = (Vec::new(), Vec::new());
    for _ in 0..=results.rounds() {
        let (started, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let (most, took) = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut most = Duration::ZERO;
                while !ended.load(Ordering::SeqCst) {
                    most = most.max(timed(|| short(&listener, to)));
                    started.store(true, Ordering::SeqCst);
                }
                most
            });
            while !started.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            let begin = Instant::now();
            change();
            let took = begin.elapsed();
            ended.store(true, Ordering::SeqCst);
            (client.join().unwrap(), took)
        });
        longest.push(most);
        changes.push(took);
    }
    results.put("longest short connection during a change", size, by, 1, &longest);
    results.put("the change meanwhile", size, by, 1, &changes);
}
