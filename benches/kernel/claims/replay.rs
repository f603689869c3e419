//! The way of kube-proxy's IPVS mode: its processes and its exchanges with the kernel, replayed with the same programs.
//!
//! kube-proxy makes the exchanges itself, one at a time. The replay makes them with this crate, which costs at most as much.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use lvs::ipset::{Addresses, HashIp, HashIpPort, Ipset, Member, NewSet, ProtocolPorts};
use lvs::ipvs::{Change, Ipvs};
use lvs::vip::{Binder, Vips};

use super::ENDPOINTS;
use crate::results::{Plan, Results};
use crate::services::{service, settle, table, timed, vip};
use crate::{director, peers};

const CHAINS: [(&str, &str); 11] = [
    ("nat", "KUBE-SERVICES"),
    ("nat", "KUBE-POSTROUTING"),
    ("nat", "KUBE-NODE-PORT"),
    ("nat", "KUBE-LOAD-BALANCER"),
    ("nat", "KUBE-MARK-MASQ"),
    ("filter", "KUBE-FORWARD"),
    ("filter", "KUBE-NODE-PORT"),
    ("filter", "KUBE-PROXY-FIREWALL"),
    ("filter", "KUBE-SOURCE-RANGES-FIREWALL"),
    ("filter", "KUBE-IPVS-FILTER"),
    ("filter", "KUBE-IPVS-OUT-FILTER"),
];

const JUMPS: [(&str, &str, &str); 9] = [
    ("nat", "PREROUTING", "KUBE-SERVICES"),
    ("nat", "OUTPUT", "KUBE-SERVICES"),
    ("nat", "POSTROUTING", "KUBE-POSTROUTING"),
    ("filter", "INPUT", "KUBE-NODE-PORT"),
    ("filter", "INPUT", "KUBE-PROXY-FIREWALL"),
    ("filter", "INPUT", "KUBE-IPVS-FILTER"),
    ("filter", "FORWARD", "KUBE-FORWARD"),
    ("filter", "FORWARD", "KUBE-PROXY-FIREWALL"),
    ("filter", "OUTPUT", "KUBE-IPVS-OUT-FILTER"),
];

/// Sets that have a member for each service, or one for each endpoint on this node.
const CLUSTER: &str = "KUBE-CLUSTER-IP";
const ADDRESSES: &str = "KUBE-IPVS-IPS";

const SETS: [(&str, &str); 17] = [
    (CLUSTER, "hash:ip,port"),
    (ADDRESSES, "hash:ip"),
    ("KUBE-LOOP-BACK", "hash:ip,port,ip"),
    ("KUBE-EXTERNAL-IP", "hash:ip,port"),
    ("KUBE-EXTERNAL-IP-LOCAL", "hash:ip,port"),
    ("KUBE-LOAD-BALANCER", "hash:ip,port"),
    ("KUBE-LOAD-BALANCER-LOCAL", "hash:ip,port"),
    ("KUBE-LOAD-BALANCER-FW", "hash:ip,port"),
    ("KUBE-LOAD-BALANCER-SOURCE-IP", "hash:ip,port,ip"),
    ("KUBE-LOAD-BALANCER-SOURCE-CIDR", "hash:ip,port,net"),
    ("KUBE-NODE-PORT-TCP", "bitmap:port"),
    ("KUBE-NODE-PORT-LOCAL-TCP", "bitmap:port"),
    ("KUBE-NODE-PORT-UDP", "bitmap:port"),
    ("KUBE-NODE-PORT-LOCAL-UDP", "bitmap:port"),
    ("KUBE-NODE-PORT-SCTP-HASH", "hash:ip,port"),
    ("KUBE-NODE-PORT-LOCAL-SCTP-HASH", "hash:ip,port"),
    ("KUBE-HEALTH-CHECK-NODE-PORT", "bitmap:port"),
];

/// `ipset add` processes that are measured; the first run of kube-proxy starts one for each member.
const MEMBERS: u32 = 200;

/// Returns the rules that each run restores, without those of empty sets.
fn restored() -> String {
    let mut text = String::from("*nat\n");
    for (_, chain) in CHAINS.iter().filter(|(table, _)| *table == "nat") {
        writeln!(text, ":{chain} - [0:0]").unwrap();
    }
    text.push_str(
        "-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN\n\
         -A KUBE-SERVICES ! -s 10.244.0.0/16 -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ\n\
         -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT\n\
         -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n\
         -A KUBE-POSTROUTING -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n\
         -A KUBE-POSTROUTING -j MASQUERADE --random-fully\nCOMMIT\n*filter\n",
    );
    for (_, chain) in CHAINS.iter().filter(|(table, _)| *table == "filter") {
        writeln!(text, ":{chain} - [0:0]").unwrap();
    }
    text.push_str(
        "-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN\n\
         -A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT\n\
         -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n\
         -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n",
    );
    text
}

/// Runs a program that may fail, and returns whether it succeeded.
fn attempt(command: &str) -> bool {
    let mut words = command.split(' ');
    let mut program = Command::new(words.next().unwrap());
    let quiet = program.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().unwrap().success()
}

/// Ensures chains, jumps and sets, lists the sets, and restores the rules: 55 processes if everything exists.
fn processes() {
    for (table, chain) in CHAINS {
        attempt(&format!("iptables -w 5 -W 100000 -N {chain} -t {table}"));
    }
    for (table, from, to) in JUMPS {
        if !attempt(&format!("iptables -w 5 -W 100000 -C {from} -t {table} -j {to}")) {
            peers::run(&format!("iptables -w 5 -W 100000 -I {from} -t {table} -j {to}"), None);
        }
    }
    for (name, kind) in SETS {
        let options = if kind == "bitmap:port" { "range 0-65535" } else { "family inet hashsize 1024 maxelem 65536" };
        peers::run(&format!("ipset create {name} {kind} {options} -exist"), None);
    }
    for (name, _) in SETS {
        peers::run(&format!("ipset list {name}"), None);
    }
    peers::feed("iptables-restore -w 5 -W 100000 --noflush --counters", &restored());
}

/// Reads every service twice and its destinations, then all services once more; and the addresses of the device.
fn exchanges(ipvs: &mut Ipvs, vips: &mut Vips, device: &Binder, services: u32) {
    assert_eq!(vips.virtual_ips(device).unwrap().len(), services as usize);
    for i in 0..services {
        let key = service(i).key;
        ipvs.service(key).unwrap();
        ipvs.service(key).unwrap();
        assert_eq!(ipvs.destinations(key).unwrap().len(), ENDPOINTS as usize);
    }
    assert_eq!(ipvs.services().unwrap().len(), services as usize);
}

/// Adds each service, its address and its endpoints with a request each.
fn additions(ipvs: &mut Ipvs, vips: &mut Vips, device: &Binder, services: u32) -> [Duration; 2] {
    let changes = table(services, ENDPOINTS);
    let tables = timed(|| {
        for change in &changes {
            if let Change::AddService(service) = change {
                ipvs.service(service.key).unwrap_err();
            }
            ipvs.change(*change).unwrap();
            if let Change::AddService(service) = change {
                ipvs.service(service.key).unwrap();
                ipvs.destinations(service.key).unwrap();
            }
        }
    });
    let addresses = timed(|| {
        for i in 0..services {
            vips.bind(device, IpAddr::from(vip(i))).unwrap();
        }
    });
    [tables, addresses]
}

/// Fills the two large sets, and returns the time of the members that get a process each.
fn members(services: u32) -> Duration {
    let added = MEMBERS.min(services);
    let processes = timed(|| {
        for i in 0..added {
            peers::run(&format!("ipset add {CLUSTER} {},tcp:80 -exist", vip(i)), None);
        }
    });
    let mut ipset = Ipset::connect().unwrap();
    let cluster = NewSet::<HashIpPort>::ipv4().named(CLUSTER.parse().unwrap());
    let addresses = NewSet::<HashIp>::ipv4().named(ADDRESSES.parse().unwrap());
    let key = |number| Member::new((Addresses::One(vip(number).into()), ProtocolPorts::tcp(80)));
    ipset.put_all(&cluster, (0..services).map(key)).unwrap();
    ipset.put_all(&addresses, (0..services).map(|i| Member::new(vip(i)))).unwrap();
    processes
}

/// Measures a first run and idle runs, of kube-proxy's way and of a director.
pub(crate) fn replay(plan: &Plan, results: &mut Results) {
    let &(services, endpoints) = plan.replayed.first().unwrap();
    assert_eq!(endpoints, ENDPOINTS);
    crate::in_a_namespace(|| {
        let (mut ipvs, mut vips) = (Ipvs::connect().unwrap(), Vips::connect().unwrap());
        peers::run("ip link add kube-ipvs0 type dummy", None);
        let device = Binder::dummy("kube-ipvs0").unwrap();
        let mut put = |work: &str, by: &str, count, times: &[Duration]| results.put(work, services, by, count, times);

        put("first sync", "kube-proxy's way, processes without ipset add", 1, &[timed(processes); 2]);
        put("first sync", "kube-proxy's way, one ipset add", MEMBERS.min(services), &[members(services); 2]);
        let [tables, addresses] = additions(&mut ipvs, &mut vips, &device, services);
        put("first sync", "kube-proxy's way, requests to IPVS", 1, &[tables; 2]);
        put("first sync", "kube-proxy's way, addresses of the device", 1, &[addresses; 2]);
        settle();
        let idle: Vec<_> = (0..=2).map(|_| timed(processes)).collect();
        put("idle sync", "kube-proxy's way, 55 processes", 1, &idle);
        let idle: Vec<_> = (0..=2).map(|_| timed(|| exchanges(&mut ipvs, &mut vips, &device, services))).collect();
        put("idle sync", "kube-proxy's way, requests", 1, &idle);
        ipvs.clear().unwrap();
    });
    std::thread::sleep(Duration::from_secs(1));
    director::director_and_parts(&Plan { directors: plan.replayed, ..*plan }, results);
}
