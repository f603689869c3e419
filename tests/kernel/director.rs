//! The director on a real kernel: random worlds beside the original programs, kills, two directors, live traffic.
//!
//! `LVS_SEED` gives other worlds and moments, `LVS_WORLDS` and `LVS_KILLS` more of them.

#[path = "../director/run.rs"]
mod run;
#[path = "../director/world.rs"]
pub(crate) mod world;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use lvs::director::{Conflict, Desired, Director, Drain, Owner};
use lvs::ipset::{Ipset, Kind};
use lvs::ipvs::settings::{self, ConnReuse};
use lvs::ipvs::{Destination, Ipvs, Scheduler, Service, ServiceKey, Timeouts};
use lvs::ready::{self, Level};
use lvs::vip::{Binder, Vips};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::lab::{Lab, Need, start_child, tests};
use crate::peers::{Client, Server, Transport, until};
use crate::random::Random;
use world::{DEADLINE, KINDS, State, World, desired, director, entry, number, owner, populate, state, without_keys};

const NEEDS: &[Need] = &[
    Need::Ipvs,
    Need::Dummy,
    Need::Ipset(Kind::HashIpPort),
    Need::Ipset(Kind::HashIpMark),
    Need::Ipset(Kind::HashNet),
    Need::Program("ipvsadm"),
    Need::Program("ipset"),
];

pub(crate) fn tests() -> Vec<Trial> {
    tests!(NEEDS;
        random_worlds_are_as_the_original_programs_print_them,
        a_killed_director_is_made_up_for_by_the_next,
        two_directors_leave_each_other_alone,
        a_rolling_update_fails_no_connection,
        a_delete_before_an_add_fails_connections,
        a_virtual_ip_before_its_service_refuses_connections,
        a_destination_drains_until_its_connection_ends,
        a_destination_of_datagrams_drains_until_its_flow_is_forgotten,
        a_lost_virtual_ip_is_reported_and_bound_again,
        clients_that_reuse_their_ports_leave_a_drained_server_with_the_advised_settings,
    )
}

impl World for Lab {
    fn ipvs(&self) -> Ipvs {
        Lab::ipvs(self)
    }

    fn ipset(&self) -> Ipset {
        Lab::ipset(self)
    }

    fn vips(&self) -> Vips {
        Lab::vips(self)
    }
}

// Random worlds.

fn random_worlds_are_as_the_original_programs_print_them(lab: &Lab) {
    let first = number("LVS_SEED", 1);
    for seed in first..first + number("LVS_WORLDS", 6) {
        for kind in KINDS {
            run::run(lab, seed, kind, |there, binder, place| assert_is_printed(lab, there, binder, place));
            let binder = [Binder::dummy("vip0").unwrap(), Binder::local_routes(77)];
            binder.iter().for_each(|binder| _ = lab.vips().clear(binder).unwrap());
            lab.ipvs().clear().unwrap();
            lab.ipset().destroy_all().unwrap();
        }
    }
}

/// `ipvsadm -Sn`, `ipset save` and `ip` print what was read.
fn assert_is_printed(lab: &Lab, there: &State, binder: &Binder, place: &str) {
    let mut wanted = BTreeSet::new();
    for (key, (service, to)) in &there.services {
        // The original prints marks of both families alike.
        let of = match (key.address(), key.fwmark()) {
            (Some(address), _) if key.protocol() == Some(lvs::Protocol::UDP) => format!("-u {address}"),
            (Some(address), _) => format!("-t {address}"),
            (_, Some(mark)) if key.family() == lvs::Family::Inet6 => format!("-f {mark} -6"),
            (_, mark) => format!("-f {}", mark.unwrap()),
        };
        let persistent = service.persistence.map(|_| " -p 300").unwrap_or_default();
        let line = format!("-A {of} -s {}{persistent}", service.scheduler);
        wanted.insert(line.replace(" -6 -s", " -s").replacen("-f", if of.ends_with("-6") { "-6 -f" } else { "-f" }, 1));
        let of = of.trim_end_matches(" -6");
        wanted.extend(to.values().map(|to| format!("-a {of} -r {} -m -w {}", to.address, to.weight)));
    }
    let plain = |line: &str| line.replace("-6 ", "").trim().to_owned();
    let printed: BTreeSet<_> = lab.tool("ipvsadm -Sn").lines().map(plain).collect();
    let wanted: BTreeSet<_> = wanted.iter().map(|line| plain(line)).collect();
    assert_eq!(printed, wanted, "{place}");

    let saved = lab.tool("ipset save");
    let mut lines = BTreeSet::new();
    for (name, (kind, members)) in &there.sets {
        assert!(saved.contains(&format!("create {name} {kind} ")), "{place}: {name} of {saved}");
        lines.extend(members.iter().map(|member| format!("add {name} {member}")));
    }
    let added = saved.lines().filter(|line| line.starts_with("add ")).map(|line| line.trim().to_owned());
    assert_eq!(added.collect::<BTreeSet<_>>(), lines, "{place}");

    let printed = match binder.to_string().as_str() {
        "vip0" => lab.tool("ip -o address"),
        _ => lab.tool("ip route show table local") + &lab.tool("ip -6 route show table local"),
    };
    for vip in &there.vips {
        assert!(printed.contains(vip.as_str()), "{place}: {vip} in {printed}");
    }
}

// Kills.

fn a_killed_director_is_made_up_for_by_the_next(lab: &Lab) {
    let seed = number("LVS_SEED", 1);
    let kind = world::Kind::Registered;
    let mut random = Random(seed);
    populate(lab, &mut random, kind);
    let binder = Binder::dummy("vip0").unwrap();
    let foreign: BTreeSet<_> = state(lab, &binder).services.into_keys().collect();
    let before = state(lab, &binder).only(&foreign);
    let mut cut_short = 0;
    // The three kernels of a complete run share them.
    for round in 0..number("LVS_KILLS", 200).div_ceil(3) {
        let place = format!("seed {seed}, round {round}");
        let state_of = round + 1000 * seed;
        let mut child = start_child(lab, &format!("director {state_of}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        let longest = 1 + (20_000 >> random.below(8));
        thread::sleep(Duration::from_micros(random.below(longest) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        cut_short += usize::from(lines.next().is_none());

        let there = state(lab, &binder);
        assert_eq!(there.only(&foreign), before, "{place}");
        let registered = there.registered();
        for key in there.services.keys().filter(|key| !foreign.contains(key)) {
            assert!(registered.contains(&entry(*key)), "{place}: {key} is not registered");
        }
        for vip in &there.vips {
            // One that was desired without a service, up to the last round that was completed.
            let explicit =
                (0..=3).any(|back| desired_of(state_of - back).vips().any(|wanted| wanted.to_string() == *vip));
            let of = |key: &ServiceKey| key.address().is_some_and(|address| address.ip().to_string() == *vip);
            assert!(explicit || there.services.keys().any(of), "{place}: {vip} has no service");
        }
        // The next run ends in what is desired: those of every third round, so that kills meet kills.
        if round % 3 == 0 {
            let desired = desired_of(state_of);
            let mut next = director(lab, &owner(kind), binder);
            let now = Instant::now();
            next.sync_at(&desired, now).unwrap();
            next.sync_at(&desired, now + DEADLINE).unwrap();
            next.sync_at(&desired, now + 3 * DEADLINE).unwrap();
            let conflicts = desired.services().filter(|wanted| foreign.contains(&wanted.service().key));
            let conflicts: BTreeSet<_> =
                conflicts.filter_map(|wanted| Some(wanted.service().key.address()?.ip().to_string())).collect();
            let before = state(lab, &binder);
            let wanted = world::expected(&before, &foreign, &desired, kind);
            let mut there = without_keys(before);
            there.vips.retain(|vip| wanted.vips.contains(vip) || !conflicts.contains(vip));
            there.assert_is(&wanted, &place);
        }
    }
    println!("{cut_short} were killed before they had finished");
    assert!(cut_short > 0);
}

fn desired_of(state: u64) -> Desired {
    desired(&mut Random(state), world::Kind::Registered)
}

/// A child's job: to say that it begins, and to end in what is desired.
pub(crate) fn child(job: &str) {
    let state = job.parse().unwrap();
    let owner = owner(world::Kind::Registered);
    let mut director = Director::connect(owner, Binder::dummy("vip0").unwrap()).unwrap();
    println!("begins");
    director.sync(&desired_of(state)).unwrap();
    println!("done");
}

// Two directors.

fn two_directors_leave_each_other_alone(lab: &Lab) {
    let own = |name: &str| {
        let number = if name == "one" { 1 } else { 2 };
        (0..8u16).map(|port| ServiceKey::tcp(SocketAddr::from(([10, 96, number, 1], 1 + port)))).collect::<Vec<_>>()
    };
    let contested: Vec<_> =
        (0..4u16).map(|port| ServiceKey::tcp(SocketAddr::from(([10, 96, 3, 1], 1 + port)))).collect();
    let work = |name: &'static str| {
        let (own, contested) = (own(name), contested.clone());
        let owner = Owner::registered(name).unwrap();
        let binder = Binder::dummy(format!("{name}0")).unwrap();
        let mut director = Director::over(lab.ipvs(), lab.ipset(), lab.vips(), owner, binder);
        move || {
            let mut random = Random(number("LVS_SEED", 1) + name.len() as u64 + u64::from(name == "two") * 7);
            let mut desired = Desired::default();
            for _ in 0..40 {
                desired = Desired::default();
                desired.drain = Drain::NONE;
                for key in own.iter().chain(&contested) {
                    if random.percent(40) {
                        continue;
                    }
                    let pods =
                        (1..4).filter(|_| random.percent(60)).map(|pod| SocketAddr::from(([10, 244, 0, pod], 80)));
                    let pods: Vec<_> = pods.map(Destination::new).collect();
                    let wanted = desired.service(Service::new(*key, Scheduler::RR), pods).unwrap();
                    // Only one of two interfaces can have an address.
                    wanted.bind = own.contains(key);
                    wanted.drain = Drain::NONE;
                }
                director.sync(&desired).unwrap();
            }
            // With the other one at rest, its own are all as desired.
            (director, desired)
        }
    };
    let ends =
        thread::scope(|scope| ["one", "two"].map(|name| scope.spawn(work(name))).map(|work| work.join().unwrap()));
    let mut owned = Vec::new();
    for (name, (mut director, desired)) in ["one", "two"].into_iter().zip(ends) {
        let report = director.sync(&desired).unwrap();
        let mut table = lab.ipvs();
        for wanted in desired.services() {
            let key = wanted.service().key;
            if report.conflicts.contains(&Conflict::Foreign(key)) {
                assert!(contested.contains(&key), "{name}: {key} is foreign");
                continue;
            }
            let found = table.destinations(key).unwrap();
            let mut found: Vec<_> = found.iter().map(|info| info.destination).collect();
            found.sort();
            assert_eq!(found, wanted.destinations(), "{name}: {key}");
            owned.push(key);
        }
    }
    owned.sort();
    let mut there: Vec<_> = lab.ipvs().services().unwrap().iter().map(|info| info.key()).collect();
    there.sort();
    assert_eq!(owned, there, "each service belongs to exactly one");
}

// Live traffic.

const VIP: [u8; 4] = [10, 96, 0, 10];

fn web() -> Service {
    Service::tcp(SocketAddr::from((VIP, 80)), Scheduler::RR)
}

fn pod(letter: char) -> SocketAddr {
    SocketAddr::from(([10, 244, 1, 1 + letter as u8 - b'a'], 8080))
}

/// A director of a service whose servers are in the same namespace.
struct Site<'a> {
    lab: &'a Lab,
    director: Director,
    _servers: Vec<Server>,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab) -> Self {
        // Few ports, so that each is used again within seconds.
        for (name, value) in [("ip_local_port_range", "40000 40029"), ("tcp_tw_reuse", "1")] {
            lab.run(|| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value)).unwrap();
        }
        let pods = "abcd".chars().map(pod);
        lab.vips().bind_all(&Binder::dummy("pods0").unwrap(), pods.map(|pod| pod.ip())).unwrap();
        let servers = "abcd"
            .chars()
            .map(|letter| Server::start(lab.namespace(), Transport::Tcp, pod(letter), &letter.to_string()));
        let servers = servers.collect();
        let owner = Owner::registered("web").unwrap();
        let director = Director::over(lab.ipvs(), lab.ipset(), lab.vips(), owner, Binder::dummy("vip0").unwrap());
        Self { lab, director, _servers: servers }
    }

    fn sync(&mut self, letters: &str) -> lvs::director::Report {
        let mut desired = Desired::default();
        let wanted = desired.service(web(), letters.chars().map(pod)).unwrap();
        wanted.drain = Drain::within(Duration::from_secs(3600));
        self.director.sync(&desired).unwrap()
    }

    fn client(&self) -> Client<'a> {
        Client::new(self.lab.namespace(), Transport::Tcp)
    }

    /// Connections that are made all the time while `during` runs. Returns how many failed, and of how many.
    fn under_load(&mut self, during: impl FnOnce(&mut Self, &dyn Fn(usize))) -> (usize, usize) {
        let (over, made, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let client = self.client();
        let work = || {
            while !over.load(Ordering::Relaxed) {
                match client.ask(SocketAddr::from((VIP, 80))) {
                    Ok(_) => _ = made.fetch_add(1, Ordering::Relaxed),
                    // Every port is in use or rests: no connection was tried.
                    Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                        thread::sleep(Duration::from_millis(20));
                    }
                    Err(error) => {
                        println!("failed: {error}");
                        failed.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            }
        };
        let wait = |more: usize| {
            let enough = made.load(Ordering::Relaxed) + failed.load(Ordering::Relaxed) + more;
            until("connections to be made", || made.load(Ordering::Relaxed) + failed.load(Ordering::Relaxed) >= enough);
        };
        thread::scope(|scope| {
            scope.spawn(work);
            scope.spawn(work);
            wait(20);
            during(self, &wait);
            wait(20);
            over.store(true, Ordering::Relaxed);
        });
        (failed.into_inner(), made.into_inner())
    }
}

fn a_rolling_update_fails_no_connection(lab: &Lab) {
    let mut site = Site::new(lab);
    site.sync("ab");
    let mut held = site.client().connect(SocketAddr::from((VIP, 80))).unwrap();
    let server = held.ask().unwrap();
    let (failed, made) = site.under_load(|site, wait| {
        for letters in ["bc", "cd", "d", "da", "ab", "cd"] {
            site.sync(letters);
            wait(15);
        }
        // All that drains is deleted in the end, but for the server of the held connection.
        until("the others to drain", || site.sync("cd").draining.len() == 1);
    });
    assert_eq!(failed, 0, "of {made}");
    assert_eq!(held.ask().unwrap(), server);
    drop(held);
    until("the last one to drain", || site.sync("cd").draining.is_empty());
    let there = lab.ipvs().destinations(web()).unwrap();
    let there: BTreeSet<_> = there.iter().map(|info| info.address()).collect();
    assert_eq!(there, "cd".chars().map(pod).collect());
    println!("{made} connections");
}

/// The negative control of the test before: without the order, connections fail.
fn a_delete_before_an_add_fails_connections(lab: &Lab) {
    let mut site = Site::new(lab);
    site.sync("ab");
    let (failed, _) = site.under_load(|site, wait| {
        let mut ipvs = site.lab.ipvs();
        for letter in ['a', 'b'] {
            ipvs.delete_destination(web(), pod(letter)).unwrap();
        }
        wait(5);
        for letter in ['c', 'd'] {
            ipvs.add_destination(web(), pod(letter)).unwrap();
        }
    });
    assert!(failed > 0);
}

/// The negative control of the order of virtual IPs.
fn a_virtual_ip_before_its_service_refuses_connections(lab: &Lab) {
    let mut site = Site::new(lab);
    let binder = Binder::dummy("vip0").unwrap();
    lab.vips().bind(&binder, IpAddr::from(VIP)).unwrap();
    let error = site.client().ask(SocketAddr::from((VIP, 80))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    site.sync("a");
    assert_eq!(site.client().ask(SocketAddr::from((VIP, 80))).unwrap(), "a");
}

fn a_destination_drains_until_its_connection_ends(lab: &Lab) {
    let mut site = Site::new(lab);
    site.sync("a");
    let mut held = site.client().connect(SocketAddr::from((VIP, 80))).unwrap();
    assert_eq!(held.ask().unwrap(), "a");
    let report = site.sync("b");
    assert_eq!(report.draining.len(), 1);
    until("the connection to be counted", || {
        let draining = site.sync("b").draining;
        draining.len() == 1 && draining[0].connections.active == 1
    });
    // A new director finds it draining.
    let owner = Owner::registered("web").unwrap();
    site.director = Director::over(lab.ipvs(), lab.ipset(), lab.vips(), owner, Binder::dummy("vip0").unwrap());
    assert_eq!(site.sync("b").draining.len(), 1);
    assert_eq!(held.ask().unwrap(), "a");
    // Desired again, it keeps its connection.
    assert!(site.sync("ab").draining.is_empty());
    assert_eq!(held.ask().unwrap(), "a");
    assert_eq!(site.sync("b").draining.len(), 1);
    drop(held);
    until("it to be deleted", || site.sync("b").draining.is_empty());
    assert_eq!(lab.ipvs().destinations(web()).unwrap().len(), 1);
}

fn a_destination_of_datagrams_drains_until_its_flow_is_forgotten(lab: &Lab) {
    let service = Service::udp(SocketAddr::from((VIP, 53)), Scheduler::RR);
    lab.vips().bind_all(&Binder::dummy("pods0").unwrap(), [pod('a').ip(), pod('b').ip()]).unwrap();
    let _servers =
        ['a', 'b'].map(|letter| Server::start(lab.namespace(), Transport::Udp, pod(letter), &letter.to_string()));
    let owner = Owner::registered("dns").unwrap();
    let mut director = Director::over(lab.ipvs(), lab.ipset(), lab.vips(), owner, Binder::dummy("vip0").unwrap());
    let mut sync = |letter: char| {
        let mut desired = Desired::default();
        desired.service(service, [pod(letter)]).unwrap().drain =
            Drain::within(Duration::from_secs(3600)).datagrams(true);
        director.sync(&desired).unwrap().draining
    };
    sync('a');
    let mut held = Client::new(lab.namespace(), Transport::Udp).connect(SocketAddr::from((VIP, 53))).unwrap();
    assert_eq!(held.ask().unwrap(), "a");
    for _ in 0..3 {
        let [draining] = sync('b')[..] else { panic!("it does not drain") };
        assert_eq!((draining.connections.active, draining.connections.inactive), (0, 1));
    }
    // Its next packet gives the flow a second.
    lab.ipvs().set_timeouts(&Timeouts { udp: Some(Duration::from_secs(1)), ..Timeouts::default() }).unwrap();
    assert_eq!(held.ask().unwrap(), "a");
    until("it to be deleted", || sync('b').is_empty());
    assert_eq!(lab.ipvs().destinations(service).unwrap().len(), 1);
}

fn a_lost_virtual_ip_is_reported_and_bound_again(lab: &Lab) {
    let mut site = Site::new(lab);
    site.director =
        lab.run(|| Director::connect(Owner::registered("web").unwrap(), Binder::dummy("vip0").unwrap())).unwrap();
    site.sync("a");
    let readable = |director: &Director| {
        let mut polled = [PollFd::new(director.watched().unwrap(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::from(10_000u16)).unwrap() > 0
    };
    let client = site.client();
    for lose in ["ip address delete 10.96.0.10/32 dev vip0", "ip link delete vip0"] {
        // Its own changes are behind it.
        site.sync("a");
        assert!(site.sync("a").is_empty(), "{lose}");
        assert_eq!(client.ask(SocketAddr::from((VIP, 80))).unwrap(), "a");
        lab.tool(lose);
        assert!(readable(&site.director), "{lose}");
        let report = site.sync("a");
        let steps: Vec<_> = report.steps().map(|(step, _)| step.to_string()).collect();
        assert_eq!(steps, ["+ virtual IP 10.96.0.10 on vip0"], "{lose}");
        assert_eq!(client.ask(SocketAddr::from((VIP, 80))).unwrap(), "a");
    }
}

/// kubernetes/kubernetes#81775: with both settings at 0, connections from a remembered port stay at the drained server.
fn clients_that_reuse_their_ports_leave_a_drained_server_with_the_advised_settings(lab: &Lab) {
    let mut site = Site::new(lab);
    lab.run(|| settings::CONN_REUSE_MODE.set(ConnReuse::empty())).unwrap();
    lab.run(|| settings::EXPIRE_NODEST_CONN.set(false)).unwrap();
    let findings = || lab.run(ready::check).unwrap().findings().collect::<Vec<_>>();
    let of = |name: &str| findings().into_iter().find(|finding| finding.what.ends_with(name)).unwrap();
    let advised = [of("conn_reuse_mode"), of("expire_nodest_conn")];
    assert!(advised.iter().all(|finding| finding.level == Level::Advice), "{advised:?}");

    let at_drained = |site: &mut Site<'_>, letters: &str| {
        let (mut drained, mut all) = (0, 0);
        let client = site.client();
        // Every port is used, and then used again.
        until("all ports to be used twice", || {
            match client.ask(SocketAddr::from((VIP, 80))) {
                Ok(server) => {
                    drained += usize::from(!letters.contains(&server));
                    all += 1;
                }
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {}
                Err(error) => panic!("{error}"),
            }
            all > 60
        });
        drained
    };
    site.sync("a");
    assert_eq!(at_drained(&mut site, "a"), 0);
    site.sync("b");
    let stay = at_drained(&mut site, "b");
    println!("{stay} of 61 connections stay at the drained server");
    assert!(stay > 0);

    // As advised.
    lab.run(|| settings::CONN_REUSE_MODE.set(ConnReuse::RESCHEDULE)).unwrap();
    lab.run(|| settings::EXPIRE_NODEST_CONN.set(true)).unwrap();
    assert_eq!(of("conn_reuse_mode").level, Level::Good);
    assert_eq!(at_drained(&mut site, "b"), 0);
}
