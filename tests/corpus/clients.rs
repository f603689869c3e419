//! The clients, whatever the kernel answers: what they say fits what was asked, and their next call works.
//!
//! An input is a byte that says what is asked, then datagrams: a byte that says more of it, two for its length
//! (little-endian), and its bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lvs::Error;
use lvs::ipset::{self, Any, Exist, HashIp, HashNet, Ipset, Kind, Member, NewSet, SetName};
use lvs::ipvs::{Change, Destination, Ipvs, Scheduler, Service};
use lvs::testing::{Kernel, Reply};
use lvs::vip::{Binder, Vip, Vips};

/// What comes next belongs to the same datagram of requests, too.
const MORE: u8 = 1;
/// It is not the kernel's.
const STRANGERS: u8 = 2;
/// It is no datagram: receiving fails with an error number.
const FAILURE: u8 = 4;

pub(crate) fn run(data: &[u8]) {
    let Some((&asked, mut rest)) = data.split_first() else { return };
    let mut records: Vec<_> =
        std::iter::from_fn(|| super::exchange::next(&mut rest).map(|(how, bytes)| (how, bytes.to_vec()))).collect();
    records.reverse();
    // What nobody has received meets the next call; what is broken in it cannot be known for an old answer.
    let left = records.len();
    let records = Mutex::new(records);
    let good = Arc::new(AtomicBool::new(false));
    let acknowledges = Arc::clone(&good);
    let kernel = Kernel::script(move |requests| {
        if acknowledges.load(Ordering::Relaxed) {
            return vec![Reply::Datagram(0, acknowledgement(requests))];
        }
        answer(&mut records.lock().unwrap_or_else(PoisonError::into_inner), newest(requests))
    });
    // To give up is told by a time-out at once, so that nothing here takes time.
    match asked % 4 {
        0 => {
            let Ok(mut ipvs) = kernel.ipvs() else { return };
            told(of_ipvs(&mut ipvs, asked / 4));
            good.store(true, Ordering::Relaxed);
            works(left, || ipvs.zero_all());
        }
        1 | 2 => {
            let mut ipset = kernel.ipset();
            told(of_ipset(&mut ipset, asked / 4, asked % 4 == 2));
            good.store(true, Ordering::Relaxed);
            works(left, || ipset.flush_all());
        }
        _ => {
            let mut vips = kernel.vips();
            of_vips(&mut vips, asked / 4);
            good.store(true, Ordering::Relaxed);
            works(left, || vips.unbind(&Binder::local_routes(77), vip("10.96.0.1")));
        }
    }
}

fn works<T>(left: usize, mut call: impl FnMut() -> Result<T, Error>) {
    let mut last = call();
    for _ in 0..left {
        if last.is_err() {
            last = call();
        }
    }
    last.unwrap();
}

fn told(result: Result<(), Error>) {
    if let Err(error) = result {
        assert!(!error.to_string().is_empty());
    }
}

/// The number of the last request in a datagram.
fn newest(requests: &[u8]) -> u32 {
    super::exchange::talk::messages(requests).last().map_or(0, |last| super::exchange::talk::sequence(last))
}

fn answer(records: &mut Vec<(u8, Vec<u8>)>, newest: u32) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some((how, bytes)) = records.pop() {
        replies.push(if how & FAILURE != 0 {
            Reply::Failure(bytes.first().map_or(1, |errno| i32::from(*errno).max(1)))
        } else {
            let port = u32::from(how & STRANGERS != 0);
            Reply::Datagram(port, super::exchange::in_reply(&bytes, newest))
        });
        if how & MORE == 0 {
            break;
        }
    }
    replies
}

fn acknowledgement(requests: &[u8]) -> Vec<u8> {
    let last = super::exchange::talk::messages(requests).pop().unwrap_or_default();
    super::exchange::talk::answer(last, 0)
}

fn of_ipvs(ipvs: &mut Ipvs, what: u8) -> Result<(), Error> {
    let web = Service::tcp("10.96.0.10:443".parse().unwrap(), Scheduler::WRR);
    let server = Destination::new("10.244.1.7:6443".parse().unwrap());
    match what % 9 {
        0 => ipvs.table().map(drop),
        1 => ipvs.services().map(drop),
        2 => ipvs.service(web.key).map(drop),
        3 => ipvs.destinations(web.key).map(drop),
        4 => ipvs.info().map(drop),
        5 => ipvs.timeouts().map(drop),
        6 => ipvs.daemons().map(drop),
        7 => ipvs.update_service(web.key, |service| service.scheduler = Scheduler::RR),
        _ => {
            let changes = [Change::AddService(web), Change::AddDestination(web.key, server), Change::Zero(web.key)];
            ipvs.batch(changes).map_err(|error| {
                assert!(error.failures.iter().all(|failure| changes.get(failure.index) == Some(&failure.change)));
                assert!(error.answered <= changes.len() && error.unknown.end <= changes.len());
                error.into()
            })
        }
    }
}

fn of_ipset(ipset: &mut Ipset, what: u8, other: bool) -> Result<(), Error> {
    let name: SetName = "tried".parse().unwrap();
    let new = NewSet::<HashIp>::ipv4();
    let members = || (1..=3).map(|last| Member::new(std::net::IpAddr::from([192, 0, 2, last])));
    match what % 16 {
        0 => ipset.names().map(drop),
        1 => ipset.sets().map(drop),
        2 => ipset.info(name).map(drop),
        3 => ipset.list(other.then_some(name))?.try_for_each(|listed| listed.map(drop)),
        4 => {
            // A list that is given up.
            let first = ipset.list(None)?.next();
            first.map_or(Ok(()), |listed| listed.map(drop))
        }
        5 => {
            let set = ipset.open::<HashNet>(name)?;
            ipset.members(&set)?.try_for_each(|member| member.map(drop))
        }
        6 => {
            let set = ipset.header(name)?;
            listed_is_taken(ipset, &set)
        }
        7 => ipset.protocol().map(drop),
        8 => ipset.revisions(Kind::HashIp).map(drop),
        9 => ipset.create(name, &new, if other { Exist::Fine } else { Exist::Error }).map(drop),
        10 => {
            let set = ipset.open::<HashIp>(name)?;
            ipset.test(&set, &members().next().unwrap()).map(drop)
        }
        11 => {
            let set = ipset.open::<HashIp>(name)?;
            let done = if other {
                ipset.delete_all(&set, members(), Exist::Error)
            } else {
                ipset.add_all(&set, members(), Exist::Error)
            };
            in_batch(done, 3)
        }
        12 => in_batch(ipset.replace(name, &new, members()).map(drop), 3),
        13 => in_batch(ipset.batch([ipset::Change::Flush(name), ipset::Change::Destroy(name, Exist::Fine)]), 2),
        14 => ipset.index(name).map(drop),
        _ => ipset.name_of(7).map(drop),
    }
}

/// What the kernel lists can be added.
fn listed_is_taken(ipset: &mut Ipset, set: &ipset::Set<Any>) -> Result<(), Error> {
    let members: Vec<_> = ipset.members(set)?.collect::<Result<_, _>>()?;
    for member in members {
        ipset.add(set, &member, Exist::Fine)?;
    }
    Ok(())
}

fn in_batch(done: Result<(), ipset::BatchError>, count: usize) -> Result<(), Error> {
    done.map_err(|error| {
        assert!(error.position.start <= error.position.end && error.position.end <= count, "{error:?}");
        error.error
    })
}

fn of_vips(vips: &mut Vips, what: u8) {
    let binders = [Binder::dummy("vip0").unwrap(), Binder::local_routes(77), Binder::label("eth0:1", 78).unwrap()];
    let binder = &binders[usize::from(what) % binders.len()];
    let mut wanted = vec![vip("10.96.0.1"), vip("10.96.0.2"), vip("fd00:96::1")];
    if *binder == binders[1] {
        wanted.push(vip("10.100.0.0/16"));
    }
    let count = wanted.len();
    let done = match what / 3 % 6 {
        0 => vips.bind_all(binder, wanted),
        1 => vips.unbind_all(binder, wanted),
        2 => vips.sync(binder, wanted),
        3 => return told(vips.list(binder).map(drop)),
        4 => return told(vips.clear(binder).map(drop)),
        _ => return told(vips.bind(binder, wanted[0]).map(drop)),
    };
    match done {
        // A sync may unbind what nobody wanted, as much as there is.
        Ok(tally) if what / 3 % 6 == 2 => assert_eq!(tally.bound + tally.unchanged, count),
        Ok(tally) => assert_eq!(tally.bound + tally.unbound + tally.unchanged, count),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            told(Err(error.into()));
        }
    }
}

fn vip(text: &str) -> Vip {
    text.parse().unwrap()
}
