//! Memory: however much is programmed or listed, it stays the same, and no message takes any of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use dhat::{HeapStats, Profiler};
use libtest_mimic::Trial;
use lvs::ipset::{HashIp, Ipset, Kind, Member, NewSet};
use lvs::ipvs::{Change, Destination, Ipvs, Scheduler, Service};

use crate::lab::{Lab, Need, successful_child, tests};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs]; a_hundred_thousand_services_take_no_memory,);
    all.extend(tests!(&[Need::Ipset(Kind::HashIp)]; a_million_members_take_no_memory,));
    all
}

/// Limit of a client's memory: its buffers, and the requests of one datagram.
const MOST: usize = 2 << 20;
const SERVICES: usize = 100_000;
const MEMBERS: usize = 1_000_000;

/// Other tests must not be counted.
fn a_hundred_thousand_services_take_no_memory(lab: &Lab) {
    successful_child(lab, "memory of services");
}

fn a_million_members_take_no_memory(lab: &Lab) {
    successful_child(lab, "memory of members");
}

pub(crate) fn run(what: &str) -> ExitCode {
    if what == "services" {
        services()
    } else {
        members()
    }
    ExitCode::SUCCESS
}

fn services() {
    let key = |n| Service::tcp(SocketAddr::new(address(n), 80), Scheduler::RR);
    let destination = Destination::new("192.0.2.1:80".parse().unwrap());
    frugal("add in a batch", SERVICES, |passed| {
        let changes = (0..SERVICES).inspect(|n| passed(*n)).map(|n| Change::AddService(key(n)));
        Ipvs::connect().unwrap().batch(changes).unwrap();
    });
    frugal("add one by one", SERVICES / 10, |passed| {
        let mut ipvs = Ipvs::connect().unwrap();
        for n in (0..SERVICES / 10).inspect(|n| passed(*n)) {
            ipvs.add_destination(key(n).key, destination).unwrap();
        }
    });
    frugal("list", SERVICES, |passed| {
        let mut ipvs = Ipvs::connect().unwrap();
        let listed = ipvs.stream_services().unwrap().enumerate().inspect(|(n, _)| passed(*n));
        assert_eq!(listed.filter(|(_, service)| service.is_ok()).count(), SERVICES);
    });
    Ipvs::connect().unwrap().clear().unwrap();
}

fn members() {
    let new = NewSet::<HashIp>::ipv4().maxelem(2_000_000).hashsize(1 << 18);
    let set = Ipset::connect().unwrap().create("million".parse().unwrap(), &new).unwrap();
    let member = |n| Member::new(address(n));
    frugal("add to a set", MEMBERS, |passed| {
        let members = (0..MEMBERS).inspect(|n| passed(*n)).map(member);
        Ipset::connect().unwrap().add_all(&set, members).unwrap();
    });
    frugal("add to a set one by one", 10_000, |passed| {
        let mut ipset = Ipset::connect().unwrap();
        for n in (0..10_000).inspect(|n| passed(*n)) {
            ipset.put(&set, &member(n)).unwrap();
        }
    });
    frugal("list a set", MEMBERS, |passed| {
        let mut ipset = Ipset::connect().unwrap();
        let listed = ipset.stream_members(&set).unwrap().enumerate().inspect(|(n, _)| passed(*n));
        assert_eq!(listed.filter(|(_, member)| member.is_ok()).count(), MEMBERS);
    });
}

fn address(n: usize) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap()).into()
}

/// Measures the heap during some work, which reports the number of each of `count` objects.
///
/// Memory that is allocated in the second half counts as leaked.
fn frugal(what: &str, count: usize, work: impl FnOnce(&mut dyn FnMut(usize))) {
    let _profiler = Profiler::builder().testing().build();
    let mut at_half = None;
    work(&mut |n| {
        if n == count / 2 {
            at_half = Some(HeapStats::get());
        }
        if n == count - 1 {
            let (half, now) = (at_half.as_ref().unwrap(), HeapStats::get());
            assert_eq!(now.total_blocks - half.total_blocks, 0, "{what}: allocations in its second half");
        }
    });
    let most = HeapStats::get().max_bytes;
    assert!(most < MOST, "{what}: {most} bytes at a time");
    println!("{what}: {count} objects, at most {most} bytes on the heap");
}
