//! The clients, whatever the kernel answers: what they say fits what was asked, and their next call works.
//!
//! An input is a byte that says what is asked, then datagrams: a byte that says more of it, two for its length
//! (little-endian), and its bytes.

#[path = "answers.rs"]
mod answers;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lvs::ipset::{self, AnyType, HashIp, HashNet, HashNetIface, Ipset, Kind, ListSet, Member, NewSet, SetName};
use lvs::ipvs::{Change, Destination, Ipvs, Scheduler, Service, SyncDaemon, SyncState, Timeouts};
use lvs::testing::{Kernel, Reply};
use lvs::vip::{Binder, Vip, Vips};
use lvs::{Error, Interface, Options};

/// Number of operations of [`of_ipvs`], [`of_ipset`] and [`of_vips`].
pub(crate) const OPERATIONS: [u8; 3] = [35, 45, 15 * 3];
/// Most requests that one input may cause.
const MOST_REQUESTS: usize = 20_000;
/// Most items that are taken from a streamed listing.
const MOST_ITEMS: usize = 200;
/// Number of items of a long batch: more than one datagram of requests holds.
const MANY: usize = 3000;

/// The next reply answers the same datagram of requests.
pub(crate) const MORE: u8 = 1;
/// It is not the kernel's.
pub(crate) const STRANGERS: u8 = 2;
/// It is no datagram: receiving fails with an error number.
pub(crate) const FAILURE: u8 = 4;
/// Mask of the kinds of replies. Every value without a constant is a datagram.
const REPLY: u8 = 0xf0;
/// The clock advances by the seconds in the first two bytes.
pub(crate) const DELAY: u8 = 0x80;
/// The datagram repeats without end, once a second.
pub(crate) const ENDLESS: u8 = 0x90;
/// The datagram is longer than every receive buffer.
pub(crate) const OVERLONG: u8 = 0xc0;
/// An acknowledgement of the last request; the bytes are unused.
pub(crate) const ACKNOWLEDGED: u8 = 0x40;
/// The answer that fits the last request; the bytes are the body for IPVS.
pub(crate) const FITTING: u8 = 0x50;

pub(crate) fn run(data: &[u8]) {
    let Some((&asked, mut rest)) = data.split_first() else { return };
    let mut records: Vec<_> =
        std::iter::from_fn(|| super::exchange::next(&mut rest).map(|(how, bytes)| (how, bytes.to_vec()))).collect();
    records.reverse();
    // The next call receives the replies that are left. It cannot recognise a broken one as an old answer.
    let left = Replies::of(&records);
    let records = Mutex::new(records);
    let good = Arc::new(AtomicBool::new(false));
    let acknowledges = Arc::clone(&good);
    let mut options = Options::default();
    options.largest_listing = 1 << 20;
    let mut asked_times = 0;
    let kernel = Kernel::script(move |requests| {
        asked_times += 1;
        assert!(asked_times < MOST_REQUESTS, "the client asks without end");
        if acknowledges.load(Ordering::Relaxed) {
            return vec![Reply::Datagram(0, acknowledgement(requests))];
        }
        answer(&mut records.lock().unwrap_or_else(PoisonError::into_inner), requests)
    })
    .with_options(&options);
    // An unanswered request times out immediately, so that nothing here takes time.
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
            works(left, || ipset.clear_all());
        }
        _ => {
            let mut vips = kernel.vips();
            of_vips(&mut vips, asked / 4);
            good.store(true, Ordering::Relaxed);
            works(left, || vips.unbind(&Binder::local_routes(77), vip("10.96.0.1")));
        }
    }
}

/// The next call works when the replies of earlier ones are used up, which an endless one never is.
fn works<T>(replies: Replies, mut call: impl FnMut() -> Result<T, Error>) {
    let mut last = call();
    for _ in 0..replies.calls {
        if last.is_err() {
            last = call();
        }
    }
    if !replies.endless {
        last.unwrap();
    }
}

/// Operations and replies for the calls after the first one.
#[derive(Clone, Copy)]
struct Replies {
    calls: usize,
    endless: bool,
}

impl Replies {
    /// A delay can outlast as many calls as it has half minutes.
    fn of(records: &[(u8, Vec<u8>)]) -> Self {
        let calls = records.iter().map(|(how, bytes)| match how & REPLY {
            DELAY => 1 + usize::try_from(delay(bytes).as_secs() / 30).unwrap(),
            _ => 1,
        });
        let endless = records.iter().any(|(how, _)| how & REPLY == ENDLESS);
        Self { calls: if endless { 1 } else { calls.sum() }, endless }
    }
}

fn delay(bytes: &[u8]) -> Duration {
    let seconds = bytes.first_chunk().map_or(1, |bytes| u16::from_le_bytes(*bytes));
    Duration::from_secs(u64::from(seconds % 400))
}

fn told(result: Result<(), Error>) {
    if let Err(error) = result {
        assert!(!error.to_string().is_empty());
        shown(&error);
    }
}

/// Every value can be formatted.
fn shown(value: &impl Debug) {
    assert!(!format!("{value:?}").is_empty());
}

/// Payload of a panic in the caller's iterator or closure.
struct Stop;

fn stop() -> ! {
    // Unlike `panic!`, without the hook that prints.
    resume_unwind(Box::new(Stop))
}

/// Yields the items, then panics.
fn stopping<T>(items: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    items.into_iter().chain(std::iter::once_with(|| stop()))
}

/// Makes a call whose iterator or closure may panic. A call that failed earlier returns.
fn unwinding<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<(), Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(done) => done.map(drop),
        Err(payload) if payload.is::<Stop>() => Ok(()),
        Err(payload) => resume_unwind(payload),
    }
}

/// Takes items of a listing that may have no end.
fn taken<T: Debug>(listing: impl Iterator<Item = Result<T, Error>>, most: usize) -> Result<(), Error> {
    let mut last = Ok(());
    for item in listing.take(most) {
        last = item.map(|item| shown(&item));
        if let Err(error) = &last {
            shown(error);
        }
    }
    last
}

/// The number of the last request in a datagram.
fn newest(requests: &[u8]) -> u32 {
    super::exchange::talk::messages(requests).last().map_or(0, |last| super::exchange::talk::sequence(last))
}

fn answer(records: &mut Vec<(u8, Vec<u8>)>, requests: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some((how, bytes)) = records.pop() {
        replies.push(if how & FAILURE != 0 {
            Reply::Failure(bytes.first().map_or(1, |errno| i32::from(*errno).max(1)))
        } else if how & REPLY == FITTING {
            replies.extend(answers::fitting(requests, &bytes).into_iter().map(|datagram| Reply::Datagram(0, datagram)));
            if how & MORE == 0 {
                break;
            }
            continue;
        } else {
            let port = u32::from(how & STRANGERS != 0);
            let mut datagram = super::exchange::in_reply(&bytes, newest(requests));
            match how & REPLY {
                DELAY => Reply::Delay(delay(&bytes)),
                ENDLESS => Reply::Endless(Duration::from_secs(1), datagram),
                ACKNOWLEDGED => Reply::Datagram(port, acknowledgement(requests)),
                OVERLONG => {
                    datagram.resize(1 << 17, 0);
                    Reply::Datagram(port, datagram)
                }
                _ => Reply::Datagram(port, datagram),
            }
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
    let changes = [Change::AddService(web), Change::AddDestination(web.key, server), Change::Zero(web.key)];
    match what % OPERATIONS[0] {
        0 => ipvs.table().map(|table| shown(&table)),
        1 => ipvs.services().map(|services| shown(&services)),
        2 => ipvs.service(web.key).map(|service| shown(&service)),
        3 => ipvs.destinations(web.key).map(|destinations| shown(&destinations)),
        4 => ipvs.version().map(|info| shown(&info)),
        5 => ipvs.timeouts().map(|timeouts| shown(&timeouts)),
        6 => ipvs.daemons().map(|daemons| shown(&daemons)),
        7 => ipvs.update_service(web.key, |service| service.scheduler = Scheduler::RR),
        8 => batch_of_ipvs(ipvs, &changes),
        9 => taken(ipvs.stream_services()?, MOST_ITEMS),
        10 => taken(ipvs.stream_services()?, 1),
        11 => ipvs.services_best_effort().map(|listing| shown(&listing)),
        12 => ipvs.table_best_effort().map(|listing| shown(&listing)),
        13 => ipvs.destinations_best_effort(web.key).map(|listing| shown(&listing)),
        14 => ipvs.update_destination(web.key, server.address, |server| server.weight = 7),
        15 => ipvs.add_service(web),
        16 => ipvs.set_service(web),
        17 => ipvs.delete_service(web.key),
        18 => ipvs.add_destination(web.key, server),
        19 => ipvs.set_destination(web.key, server),
        20 => ipvs.delete_destination(web.key, server.address),
        21 => unwinding(|| Ok(ipvs.batch(stopping(changes))?)),
        22 => ipvs.zero(web.key),
        23 => ipvs.zero_all(),
        24 => ipvs.set_timeouts(&Timeouts { tcp: Some(Duration::from_secs(900)), ..Timeouts::default() }),
        25 => ipvs.start_daemon(&SyncDaemon::new(SyncState::Master, Interface::new("eth0").unwrap(), 7)),
        26 => ipvs.stop_daemon(SyncState::Backup),
        27 => ipvs.clear(),
        28 => batch_of_ipvs(ipvs, &changes.repeat(MANY / 3)),
        29 => unwinding(|| ipvs.update_service(web.key, |_| stop())),
        30 => ipvs.put_service(web).map(drop),
        31 => ipvs.remove_service(web).map(drop),
        32 => ipvs.put_destination(web, server).map(drop),
        33 => ipvs.remove_destination(web, server.address).map(drop),
        _ => unwinding(|| Ok(ipvs.batch(stopping(changes.repeat(MANY / 3)))?)),
    }
}

fn batch_of_ipvs(ipvs: &mut Ipvs, changes: &[Change]) -> Result<(), Error> {
    ipvs.batch(changes.iter().copied()).map_err(|error| {
        assert!(
            error
                .failures
                .iter()
                .all(|failure| failure.position().and_then(|position| changes.get(position)) == Some(&failure.change))
        );
        assert!(error.done <= changes.len() && error.unknown.end <= changes.len());
        error.into()
    })
}

fn of_ipset(ipset: &mut Ipset, what: u8, other: bool) -> Result<(), Error> {
    let name: SetName = "tried".parse().unwrap();
    let new = NewSet::<HashIp>::ipv4();
    let members = || (1..=3).map(|last| Member::new(std::net::IpAddr::from([192, 0, 2, last])));
    match what % OPERATIONS[1] {
        0 => ipset.names().map(|names| shown(&names)),
        1 => ipset.sets().map(|sets| shown(&sets)),
        2 => ipset.set(name).map(|info| shown(&info)),
        3 => taken(ipset.stream_contents(other.then_some(name))?, MOST_ITEMS),
        4 => {
            // A list that is given up.
            let first = ipset.stream_contents(None)?.next();
            first.map_or(Ok(()), |listed| listed.map(drop))
        }
        5 => {
            let set = ipset.open::<HashNet>(name)?;
            taken(ipset.stream_members(&set)?, MOST_ITEMS)
        }
        6 => {
            let set = ipset.header(name)?;
            listed_is_taken(ipset, &set)
        }
        7 => ipset.version().map(|versions| shown(&versions)),
        8 => ipset.revisions(Kind::HashIp).map(|revisions| shown(&revisions)),
        9 if other => ipset.put_set(name, &new).map(drop),
        9 => ipset.create(name, &new).map(drop),
        10 => {
            let set = ipset.open::<HashIp>(name)?;
            ipset.test(&set, &members().next().unwrap()).map(drop)
        }
        11 => {
            let set = ipset.open::<HashIp>(name)?;
            let done = if other { ipset.delete_all(&set, members()) } else { ipset.add_all(&set, members()) };
            in_batch(done, 3)
        }
        12 => in_batch(ipset.replace(name, &new, members()).map(drop), 3),
        13 => in_batch(ipset.batch([ipset::Change::Clear(name), ipset::Change::RemoveSet(name)]), 2),
        14 => ipset.index(name).map(drop),
        15 => ipset.name_of(7).map(|name| shown(&name)),
        more => more_of_ipset(ipset, more, other),
    }
}

fn more_of_ipset(ipset: &mut Ipset, what: u8, other: bool) -> Result<(), Error> {
    let name: SetName = "tried".parse().unwrap();
    let another: SetName = "another".parse().unwrap();
    match what {
        16 if other => ipset.remove_set(name).map(drop),
        16 => ipset.destroy(name),
        17 => ipset.destroy_all(),
        18 => ipset.clear(name),
        19 => ipset.clear_all(),
        20 => ipset.rename(name, another),
        21 => ipset.swap(name, another),
        22 => {
            let set = ipset.open::<HashIp>(name)?;
            if other { ipset.put(&set, &member(1)).map(drop) } else { ipset.add(&set, &member(1)) }
        }
        23 => {
            let set = ipset.open::<HashIp>(name)?;
            if other { ipset.remove(&set, &member(1)).map(drop) } else { ipset.delete(&set, &member(1)) }
        }
        24 => taken(ipset.stream_sets()?, 1),
        25 => taken(ipset.stream_sets()?, MOST_ITEMS),
        26 => taken(ipset.stream_contents(other.then_some(name))?, 1),
        27 => {
            let set = ipset.header(name)?;
            taken(ipset.stream_members(&set)?, 1)
        }
        28 => {
            let set = ipset.open::<ListSet>(name)?;
            taken(ipset.stream_members(&set)?, MOST_ITEMS)
        }
        29 => {
            let set = ipset.open::<HashNetIface>(name)?;
            taken(ipset.stream_members(&set)?, MOST_ITEMS)
        }
        30 => Kind::ALL.iter().try_for_each(|kind| ipset.revisions(*kind).map(drop)),
        31 => Kind::ALL.iter().try_for_each(|kind| {
            let new = NewSet::<AnyType>::new(*kind, ipset::SetOptions::default());
            if other { ipset.put_set(name, &new).map(drop) } else { ipset.create(name, &new).map(drop) }
        }),
        _ => batches_of_ipset(ipset, what, other),
    }
}

fn member(number: u16) -> Member<HashIp> {
    let [high, low] = number.to_be_bytes();
    Member::new(std::net::IpAddr::from([198, 18, high, low]))
}

fn batches_of_ipset(ipset: &mut Ipset, what: u8, other: bool) -> Result<(), Error> {
    let name: SetName = "tried".parse().unwrap();
    let staged: SetName = "staged".parse().unwrap();
    let new = NewSet::<HashIp>::ipv4();
    let count = if other { MANY } else { 3 };
    let members = || (1..=u16::try_from(count).unwrap()).map(member);
    match what {
        32 => in_batch(ipset.replace_through(name, staged, &new, members()).map(drop), count),
        33 => unwinding(|| Ok(ipset.replace_through(name, staged, &new, stopping(members()))?)),
        34 => unwinding(|| Ok(ipset.replace(name, &new, stopping(members()))?)),
        35 => in_batch(ipset.replace(name, &new, members()).map(drop), count),
        36 => {
            let set = ipset.open::<HashIp>(name)?;
            unwinding(|| Ok(ipset.put_all(&set, stopping(members()))?))
        }
        37 => {
            let set = ipset.open::<HashIp>(name)?;
            unwinding(|| Ok(ipset.remove_all(&set, stopping(members()))?))
        }
        38 => {
            let set = ipset.open::<HashIp>(name)?;
            in_batch(ipset.add_all(&set, members()), count)
        }
        39 => {
            let set = ipset.open::<HashIp>(name)?;
            in_batch(ipset.remove_all(&set, members()), count)
        }
        42 => {
            let set = ipset.open::<HashIp>(name)?;
            ipset.sync(&set, members()).map(drop).map_err(Error::from)
        }
        43 => {
            let set = ipset.open::<HashIp>(name)?;
            unwinding(|| Ok(ipset.sync(&set, stopping(members()))?))
        }
        44 => {
            let set = ipset.header(name)?;
            ipset.members(&set).map(|members| shown(&members))
        }
        _ => {
            let set = ipset.header(name)?;
            let mut changes = vec![
                ipset::Change::PutSet(staged, new.any()),
                ipset::Change::Rename(name, staged),
                ipset::Change::Swap(name, staged),
                ipset::Change::ClearAll,
                ipset::Change::DestroyAll,
            ];
            changes.extend(members().map(|member| ipset::Change::Add(set, member.any())));
            changes.extend(members().map(|member| ipset::Change::Remove(set, member.any())));
            let count = changes.len();
            match what {
                40 => in_batch(ipset.batch(changes), count),
                _ => unwinding(|| Ok(ipset.batch(stopping(changes))?)),
            }
        }
    }
}

/// Asserts that an entry as the kernel lists it can be added.
fn listed_is_taken(ipset: &mut Ipset, set: &ipset::Set<AnyType>) -> Result<(), Error> {
    for member in ipset.members(set)? {
        ipset.put(set, &member)?;
    }
    Ok(())
}

fn in_batch<T>(done: Result<T, ipset::BatchError>, count: usize) -> Result<(), Error> {
    done.map(drop).map_err(|error| {
        assert!(
            error.done <= count && error.unknown.start <= error.unknown.end && error.unknown.end <= count,
            "{error:?}"
        );
        assert!(error.failures.iter().all(|failure| failure.position() == Some(error.done)), "{error:?}");
        error.into()
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
    let operation = what / 3 % (OPERATIONS[2] / 3);
    let many = || (0..u16::try_from(MANY).unwrap()).map(|number| vip(&format!("fd00:97::{number:x}")));
    let done = match operation {
        0 => vips.bind_all(binder, wanted),
        1 => vips.unbind_all(binder, wanted),
        2 => vips.sync(binder, wanted),
        3 => return told(vips.virtual_ips(binder).map(|vips| shown(&vips))),
        4 => return told(vips.clear(binder).map(drop)),
        5 => return told(vips.bind(binder, wanted[0]).map(drop)),
        6 => return told(vips.check(binder, wanted).map_err(Error::from)),
        7 => return told(vips.unbind(binder, wanted[0]).map(drop)),
        8 => return told(vips.bind(binder, vip("10.100.0.0/16")).map(drop)),
        9 => return told(unwinding(|| Ok(vips.bind_all(binder, stopping(wanted))?))),
        10 => return told(unwinding(|| Ok(vips.unbind_all(binder, stopping(wanted))?))),
        11 => return told(unwinding(|| Ok(vips.sync(binder, stopping(wanted))?))),
        12 => return told(unwinding(|| Ok(vips.check(binder, stopping(wanted))?))),
        13 => return told(vips.bind_all(binder, many()).map(drop).map_err(Error::from)),
        _ => return told(vips.sync(binder, many()).map(drop).map_err(Error::from)),
    };
    match done {
        // A sync may unbind what nobody wanted, as much as there is.
        Ok(tally) if operation == 2 => assert_eq!(tally.bound + tally.unchanged, count),
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
