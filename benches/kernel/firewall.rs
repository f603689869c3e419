//! IPVS beside iptables, as kube-proxy programs both: what one more service costs, and the first connection through the
//! first and through the last of many.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use lvs::ipvs::{Change, Destination, Ipvs, Service};

use crate::peers;
use crate::results::{Contestant, Plan, Results};
use crate::services::{service, settle, timed, vip};

/// Where all services end.
pub(crate) const SERVER: ([u8; 4], u16) = ([10, 0, 0, 1], 8080);
/// Up to so many services, iptables writes all of them more than once.
const WHOLE: u32 = 1_000;
/// Fewer services take less memory than comes and goes.
pub(crate) const MANY: u32 = 1_000;
/// Connections for one time.
const CONNECTIONS: u32 = 20;
/// Number of datagrams sent through one table.
const PIECES: u32 = 64;
const PIECE: usize = 16 << 10;

/// The programs of the same rules, each by its name, that of restoring and the plain one: of nftables and the old ones.
const FIREWALLS: [(&str, &str, &str); 2] = [
    ("iptables-nft", "iptables-nft-restore", "iptables-nft"),
    ("iptables-legacy", "iptables-legacy-restore", "iptables-legacy"),
];

/// The chains that services jump to, from `first` on, and the rules in them.
fn rules(first: u32, count: u32) -> String {
    let (mut chains, mut rules) = (String::new(), String::new());
    for i in first..first + count {
        let name = format!("default/service-{i}:http");
        writeln!(chains, ":KUBE-SVC-{i:016X} - [0:0]\n:KUBE-SEP-{i:016X} - [0:0]").unwrap();
        writeln!(
            rules,
            "-A KUBE-SERVICES -m comment --comment \"{name} cluster IP\" -m tcp -p tcp -d {vip}/32 --dport 80 -j KUBE-SVC-{i:016X}\n\
             -A KUBE-SVC-{i:016X} -m comment --comment {name} -j KUBE-SEP-{i:016X}\n\
             -A KUBE-SEP-{i:016X} -m comment --comment {name} -m tcp -p tcp -j DNAT --to-destination {server}",
            vip = vip(i),
            server = SocketAddr::from(SERVER),
        )
        .unwrap();
    }
    format!("*nat\n{chains}{rules}COMMIT\n")
}

/// All rules of so many services.
fn all_rules(count: u32) -> String {
    let rules = rules(0, count);
    let rules = rules.strip_prefix("*nat\n").unwrap();
    format!("*nat\n:KUBE-SERVICES - [0:0]\n-A OUTPUT -j KUBE-SERVICES\n{rules}")
}

/// A service and its one destination.
fn pair(service: Service) -> [Change; 2] {
    let destination = Change::AddDestination(service.key, Destination::new(SERVER.into()));
    [Change::AddService(service), destination]
}

/// Bytes of memory that the kernel has in use for dynamic objects. The free memory is a worse measure: pages in a
/// processor's own lists are counted late.
pub(crate) fn memory_in_use() -> u64 {
    // Longer than the kernel takes to give back what is no longer needed.
    std::thread::sleep(Duration::from_secs(3));
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    of("Slab") + of("Percpu") + of("VmallocUsed")
}

/// Memory that the kernel uses for services, compared with none. It is measured first, because the kernel keeps memory
/// that was once in use.
pub(crate) fn memory(plan: &Plan, results: &mut Results) {
    let sizes = || plan.firewalls.iter().copied().filter(|size| *size >= MANY);
    let mut put = |size: u32, by: &str, before: u64| {
        let taken = Duration::from_nanos(memory_in_use().saturating_sub(before));
        results.put("memory of all services", size, by, size, &[taken; 2]);
    };
    crate::in_a_namespace(|| {
        let mut ipvs = Ipvs::connect().unwrap();
        let before = memory_in_use();
        for size in sizes() {
            ipvs.clear().unwrap();
            settle();
            fill(&mut ipvs, size);
            put(size, "IPVS", before);
        }
        ipvs.clear().unwrap();
    });
    for (name, restore, _) in FIREWALLS {
        crate::in_a_namespace(|| {
            peers::feed(restore, &all_rules(0));
            let before = memory_in_use();
            for size in sizes() {
                peers::feed(restore, &all_rules(size));
                put(size, name, before);
            }
        });
    }
}

fn fill(ipvs: &mut Ipvs, count: u32) {
    ipvs.batch((0..count).flat_map(|i| pair(service(i)))).unwrap();
    settle();
}

/// Measures the rules of one more service in a table of this size, and of all services.
pub(crate) fn rules_of_ipvs(results: &mut Results, size: u32) {
    let mut ipvs = Ipvs::connect().unwrap();
    fill(&mut ipvs, size);
    let added = service(size);
    let lines = peers::ipvsadm_lines(&pair(added));
    let deleted = |time| {
        Ipvs::connect().unwrap().delete_service(added.key).unwrap();
        (time, 1)
    };
    results.compare(
        "one more service",
        size,
        &mut [
            ("lvs", Box::new(|| deleted(timed(|| ipvs.batch(pair(added)).unwrap())))),
            ("ipvsadm", Box::new(|| deleted(peers::each("ipvsadm", &lines)))),
        ],
    );
    let mut ipvs = Ipvs::connect().unwrap();
    let mut other = Ipvs::connect().unwrap();
    let mut from_nothing = || {
        ipvs.clear().unwrap();
        settle();
        timed(|| other.batch((0..size).flat_map(|i| pair(service(i)))).unwrap())
    };
    results.compare("all services", size, &mut [("lvs", Box::new(|| (from_nothing(), size)))]);
    ipvs.clear().unwrap();
}

fn rules_of_iptables(results: &mut Results, size: u32, (name, restore, plain): (&str, &str, &str)) {
    let all = all_rules(size);
    let whole = || peers::feed(restore, &all);
    if size <= WHOLE {
        let mut whole: [Contestant<'_>; 1] = [(restore, Box::new(|| (whole(), size)))];
        results.compare("all services", size, &mut whole);
    } else {
        whole();
    }
    let noflush = format!("{restore} --noflush");
    // Removing the rule again would cost more than all the rest. So the last rounds have a few more rules.
    let next = Cell::new(size);
    let one = || {
        next.set(next.get() + 1);
        rules(next.get(), 1)
    };
    results.compare(
        "one more service",
        size,
        &mut [
            (&noflush, Box::new(|| (peers::feed(&noflush, &one()), 1))),
            (name, Box::new(|| (peers::each(plain, &commands(&one())), 1))),
        ],
    );
}

/// The arguments of a process for each chain and rule, without comments.
fn commands(rules: &str) -> String {
    let mut commands = String::new();
    for line in rules.lines() {
        if let Some(chain) = line.strip_prefix(':') {
            writeln!(commands, "-t nat -N {}", chain.split(' ').next().unwrap()).unwrap();
        } else if line.starts_with("-A") {
            let line = line.replace('"', "").replace(" cluster IP", "");
            writeln!(commands, "-t nat {line}").unwrap();
        }
    }
    commands
}

pub(crate) fn rules_of_all(plan: &Plan, results: &mut Results) {
    for &size in plan.firewalls {
        crate::in_a_namespace(|| rules_of_ipvs(results, size));
        for firewall in FIREWALLS {
            crate::in_a_namespace(|| rules_of_iptables(results, size, firewall));
        }
    }
}

pub(crate) fn connections(plan: &Plan, results: &mut Results) {
    for &size in plan.firewalls {
        crate::in_a_namespace(|| {
            addresses();
            let mut ipvs = Ipvs::connect().unwrap();
            fill(&mut ipvs, size);
            connect(results, size, "IPVS");
            ipvs.clear().unwrap();
        });
        for (name, restore, _) in FIREWALLS {
            crate::in_a_namespace(|| {
                addresses();
                peers::feed(restore, &all_rules(size));
                connect(results, size, name);
            });
        }
    }
}

/// The server's address and those of all services are local.
pub(crate) fn addresses() {
    for command in ["address add 10.0.0.1/32 dev lo", "route add local 10.96.0.0/12 dev lo"] {
        assert!(Command::new("ip").args(command.split(' ')).status().unwrap().success());
    }
}

pub(crate) fn connect(results: &mut Results, size: u32, by: &str) {
    let listener = TcpListener::bind(SocketAddr::from(SERVER)).unwrap();
    for (place, number) in [("first", 0), ("last", size - 1)] {
        let to = SocketAddr::from((vip(number), 80));
        let times: Vec<_> = (0..=results.rounds()).map(|_| connection(&listener, to)).collect();
        let (connecting, sending): (Vec<_>, Vec<_>) = times.into_iter().unzip();
        let by = format!("{by}, {place} service");
        results.put("first connection", size, &by, CONNECTIONS, &connecting);
        results.put("send 1 MiB", size, &by, 1, &sending);
    }
}

/// The time for some connections, and for what is sent through the last one.
fn connection(listener: &TcpListener, to: SocketAddr) -> (Duration, Duration) {
    let mut connecting = Duration::ZERO;
    let mut sending = Duration::ZERO;
    for i in 1..=CONNECTIONS {
        let mut ours = None;
        connecting += timed(|| ours = Some(TcpStream::connect(to).unwrap()));
        let (mut ours, mut theirs) = (ours.unwrap(), listener.accept().unwrap().0);
        if i == CONNECTIONS {
            let (piece, mut buffer) = (vec![1; PIECE], vec![0; PIECE]);
            sending = timed(|| {
                for _ in 0..PIECES {
                    ours.write_all(&piece).unwrap();
                    theirs.read_exact(&mut buffer).unwrap();
                }
            });
        }
    }
    (connecting, sending)
}
