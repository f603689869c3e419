//! Sets: filled and listed.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use lvs::ipset::{HashIp, Ipset, Member, NewSet, Set, SetName};
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::floor::{self, Floor, attribute};
use crate::peers;
use crate::results::{Contestant, Plan, Results};
use crate::services::{settle, timed};

const ADD: u16 = 0x0609;
const LIST: u16 = 0x0607;
const NESTED: u16 = 0x8000;
const NET_BYTEORDER: u16 = 0x4000;
const SET: &str = "members";
/// Commands that get a process each.
const PROCESSES: u32 = 20;
/// How many bytes of entries a message has, as in the library.
const FULL: usize = 60 * 1024;

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number)
}

fn members(count: u32) -> impl Iterator<Item = Member<HashIp>> {
    (0..count).map(|i| Member::new(address(i)))
}

/// The beginning of every message.
fn start() -> Vec<u8> {
    [&[2, 0, 0, 0][..], &attribute(1, &[7]), &attribute(2, &[SET.as_bytes(), &[0]].concat())].concat()
}

/// The messages that add the members, each with as many as the library puts in.
fn messages(count: u32) -> Vec<Vec<u8>> {
    let entry = |i: u32, line: u32| {
        let address = attribute(1 | NET_BYTEORDER, &address(i).octets());
        let parts = [attribute(1 | NESTED, &address), attribute(9, &line.to_ne_bytes())].concat();
        attribute(7 | NESTED, &parts)
    };
    let most = u32::try_from(FULL.div_ceil(entry(0, 1).len())).unwrap();
    let message = |first: u32| {
        let entries: Vec<u8> = (first..count.min(first + most)).zip(1..).flat_map(|(i, line)| entry(i, line)).collect();
        let body = [start(), attribute(9, &[0; 4]), attribute(8 | NESTED, &entries)].concat();
        floor::datagram(ADD, 0x200, &[body])
    };
    (0..count).step_by(most as usize).map(message).collect()
}

/// The lines that `ipset restore` reads.
fn lines(count: u32) -> String {
    let mut lines = String::new();
    for i in 0..count {
        writeln!(lines, "add {SET} {}", address(i)).unwrap();
    }
    lines
}

pub(crate) fn fill_and_list(plan: &Plan, results: &mut Results) {
    let mut ipset = Ipset::connect().unwrap();
    let name = SetName::new(SET).unwrap();
    let new = NewSet::<HashIp>::ipv4().maxelem(2 * plan.largest_set);
    let set = ipset.create(name, &new).unwrap();
    // The set grows in the first round, which does not count, and stays as large as it got.
    let emptied = |work: &dyn Fn() -> Duration| {
        let time = work();
        Ipset::connect().unwrap().clear(name).unwrap();
        // The memory is free later.
        settle();
        time
    };
    for size in [plan.members, plan.largest_set] {
        let messages = messages(size);
        let input = lines(if size == plan.members { size } else { 0 });
        let few = lines(PROCESSES);
        let ours = || {
            let mut ipset = Ipset::connect().unwrap();
            timed(|| _ = ipset.add_all(&set, members(size)).unwrap())
        };
        let raw = || {
            let mut floor = Floor::open(NETLINK_NETFILTER);
            timed(|| floor.exchange_all(&messages))
        };
        let mut contestants: Vec<Contestant<'_>> =
            vec![("floor", Box::new(|| (emptied(&raw), size))), ("lvs", Box::new(|| (emptied(&ours), size)))];
        if size == plan.members {
            let programs: [(&str, &str, &str, u32); 4] = [
                ("ipset-rs restore", "", &input, size),
                ("ipset restore", "", &input, size),
                ("ipset-rs", "each", &few, PROCESSES),
                ("ipset", "each", &few, PROCESSES),
            ];
            for (program, each, input, count) in programs {
                let work =
                    move || if each.is_empty() { peers::feed(program, input) } else { peers::each(program, input) };
                contestants.push((program, Box::new(move || (emptied(&work), count))));
            }
        }
        results.compare("fill set", size, &mut contestants);
        drop(contestants);

        ipset.add_all(&set, members(size)).unwrap();
        let request = floor::list(LIST, &start());
        let mut floor = Floor::open(NETLINK_NETFILTER);
        let mut contestants: Vec<Contestant<'_>> = vec![
            ("floor", Box::new(|| (timed(|| floor.exchange(&request)), size))),
            (
                "lvs",
                Box::new(|| {
                    (
                        timed(|| {
                            assert_eq!(ipset.stream_members(&set).unwrap().filter(Result::is_ok).count(), size as usize)
                        }),
                        size,
                    )
                }),
            ),
        ];
        if size == plan.members {
            contestants.push(("ipset-rs list", Box::new(|| (peers::run("ipset-rs list", None), size))));
            contestants.push(("ipset list", Box::new(|| (peers::run("ipset list", None), size))));
        }
        results.compare("list set", size, &mut contestants);
        drop(contestants);
        ipset.clear(name).unwrap();
    }
    ipset.destroy(name).unwrap();
}

/// Restores a file with the set that it creates, and lists a set of ports.
pub(crate) fn restore_and_list(plan: &Plan, results: &mut Results) {
    let size = plan.members;
    let name = SetName::new(SET).unwrap();
    // When the set grows depends on the start value of its hash.
    let new = NewSet::<HashIp>::ipv4().maxelem(2 * size).initval(1);
    let messages = messages(size);
    let file = format!("create {SET} hash:ip maxelem {} initval 1\n{}", 2 * size, lines(size));
    let destroyed = |work: &dyn Fn() -> Duration| {
        let time = work();
        Ipset::connect().unwrap().destroy(name).unwrap();
        // The memory is free later.
        settle();
        (time, size)
    };
    let created = |work: &dyn Fn(&mut Ipset, &Set<HashIp>) -> Duration| {
        destroyed(&|| {
            let mut ipset = Ipset::connect().unwrap();
            let set = ipset.create(name, &new).unwrap();
            work(&mut ipset, &set)
        })
    };
    let raw = |_: &mut Ipset, _: &Set<HashIp>| {
        let mut floor = Floor::open(NETLINK_NETFILTER);
        timed(|| floor.exchange_all(&messages))
    };
    let ours = |ipset: &mut Ipset, set: &Set<HashIp>| timed(|| _ = ipset.add_all(set, members(size)).unwrap());
    let program = |program: &str| destroyed(&|| peers::feed(program, &file));
    let mut contestants: Vec<Contestant<'_>> = vec![
        ("floor", Box::new(|| created(&raw))),
        ("lvs", Box::new(|| created(&ours))),
        ("ipset-rs restore", Box::new(|| program("ipset-rs restore"))),
        ("ipset restore", Box::new(|| program("ipset restore"))),
    ];
    results.compare("restore set", size, &mut contestants);
    drop(contestants);

    let lines = lines(size).replace('\n', ",tcp:80\n");
    peers::feed("ipset-rs restore", &format!("create {SET} hash:ip,port maxelem {}\n{lines}", 2 * size));
    let request = floor::list(LIST, &start());
    let mut floor = Floor::open(NETLINK_NETFILTER);
    let mut contestants: Vec<Contestant<'_>> = vec![("floor", Box::new(|| (timed(|| floor.exchange(&request)), size)))];
    for program in ["ipset-rs list", "ipset list", "ipset-rs save", "ipset save"] {
        contestants.push((program, Box::new(move || (peers::run(program, None), size))));
    }
    results.compare("list ports", size, &mut contestants);
    drop(contestants);
    Ipset::connect().unwrap().destroy(name).unwrap();
}
