//! Virtual services: added to, changed in and deleted from tables of all sizes, and listed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use lvs::ipvs::{Change, Destination, Ipvs, Persistence, Query, Scheduler, Service};

use crate::floor::{Floor, IpvsFloor};
use crate::results::{Contestant, Plan, Results};
use crate::{ours, peers};

/// Numbers of lines for one process, and of commands with a process each.
const LINES: usize = 2_000;
const PROCESSES: usize = 20;
/// Number of services in the table to which the programs add.
const FEW: u32 = 1_000;

/// The address of the service with this number, from 0.
pub(crate) fn vip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + number)
}

pub(crate) fn service(number: u32) -> Service {
    Service::tcp((vip(number), 80).into(), Scheduler::RR)
}

/// With another scheduler the kernel would wait for an RCU grace period, and there would be nothing else to see.
fn persistent(mut service: Service) -> Service {
    service.persistence = Some(Persistence::new(Duration::from_secs(600)));
    service
}

/// Port of all endpoints.
pub(crate) const PORT: u16 = 8080;

/// Address and port of an endpoint of that service.
pub(crate) fn endpoint(service: u32, number: u32) -> SocketAddr {
    let [.., middle, low] = service.to_be_bytes();
    let number = u8::try_from(number).unwrap();
    SocketAddr::from(([10, 160 + number, middle, low], PORT))
}

/// A destination of that service.
fn destination(service: u32, number: u32) -> Destination {
    Destination::new(endpoint(service, number))
}

/// A service, then its destinations, for each.
pub(crate) fn table(services: u32, destinations: u32) -> Vec<Change> {
    let mut changes = Vec::new();
    for i in 0..services {
        let service = service(i);
        changes.push(Change::AddService(service));
        changes.extend((0..destinations).map(|j| Change::AddDestination(service.key, destination(i, j))));
    }
    changes
}

/// The three works on services of these numbers.
struct Changes {
    add: Vec<Change>,
    update: Vec<Change>,
    delete: Vec<Change>,
}

impl Changes {
    fn of(first: u32, count: u32) -> Self {
        let services = || (first..first + count).map(service);
        Self {
            add: services().map(Change::AddService).collect(),
            update: services().map(persistent).map(Change::SetService).collect(),
            delete: services().map(|service| Change::DeleteService(service.key)).collect(),
        }
    }

    fn first(&self, count: usize) -> Self {
        let cut = |changes: &[Change]| changes[..count.min(changes.len())].to_vec();
        Self { add: cut(&self.add), update: cut(&self.update), delete: cut(&self.delete) }
    }
}

/// A program that makes changes: its name, the maximum number of changes, and a function that returns the time.
type Changer<'a> = (&'a str, usize, Box<dyn FnMut(&[Change]) -> Duration + 'a>);

/// Runs all programs in turn: each adds, updates and deletes, so that the table keeps its size.
fn cycle<'a>(results: &mut Results, remark: &str, size: u32, changes: &Changes, contestants: &mut [Changer<'a>]) {
    let mut times = vec![[const { Vec::new() }; 3]; contestants.len()];
    for _ in 0..=results.rounds() {
        for ((_, most, run), times) in contestants.iter_mut().zip(&mut times) {
            let changes = changes.first(*most);
            for (changes, times) in [&changes.add, &changes.update, &changes.delete].into_iter().zip(times) {
                // Memory of deleted services is freed later.
                settle();
                times.push(run(changes));
            }
        }
    }
    for (at, work) in ["add services", "update services", "delete services"].into_iter().enumerate() {
        for ((by, most, _), times) in contestants.iter().zip(&times) {
            let count = changes.add.len().min(*most);
            results.put(&format!("{work}{remark}"), size, by, u32::try_from(count).unwrap(), &times[at]);
        }
    }
}

/// Fills the table from so many services to so many.
fn fill(ipvs: &mut Ipvs, from: u32, to: u32) {
    ipvs.batch((from..to).map(|i| Change::AddService(service(i)))).unwrap();
    settle();
}

/// Waits for what the kernel does in the background after a table has changed. Where time is counted in instructions,
/// waiting costs none.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Adds, updates, deletes and lists at tables of all sizes.
pub(crate) fn tables(plan: &Plan, results: &mut Results) {
    let mut filled = 0;
    for &size in plan.tables {
        let (mut floor, mut ipvs) = (IpvsFloor::open(), Ipvs::connect().unwrap());
        fill(&mut ipvs, filled, size);
        filled = size;
        // The number of changes is limited by the size of the table, so that a small table stays small.
        let changes = Changes::of(size, plan.changes.min(size.max(100)));
        let mut second = IpvsFloor::open();
        let mut again = Ipvs::connect().unwrap();
        cycle(
            results,
            "",
            size,
            &changes,
            &mut [
                ("floor, one at a time", usize::MAX, Box::new(|changes| floor_of(&mut floor, changes, Some(1)))),
                ("lvs, one at a time", usize::MAX, Box::new(|changes| ours::one_at_a_time(&mut ipvs, changes))),
                ("floor, batched", usize::MAX, Box::new(|changes| floor_of(&mut second, changes, None))),
                ("lvs, batched", usize::MAX, Box::new(|changes| ours::batched(&mut again, changes))),
            ],
        );
        list_services(results, size);
    }
    Ipvs::connect().unwrap().clear().unwrap();
}

fn floor_of(floor: &mut IpvsFloor, changes: &[Change], many: Option<usize>) -> Duration {
    let datagrams = many.map_or_else(|| floor.full_datagrams(changes), |many| floor.datagrams(changes, many));
    let started = Instant::now();
    floor.floor.exchange_all(&datagrams);
    started.elapsed()
}

fn list_services(results: &mut Results, size: u32) {
    let mut floor = IpvsFloor::open();
    let request = floor.list(Query::Services);
    let (mut ipvs, mut other) = (Ipvs::connect().unwrap(), Ipvs::connect().unwrap());
    results.compare(
        "list services",
        size,
        &mut [
            ("floor", Box::new(|| (timed(|| floor.floor.exchange(&request)), size))),
            ("lvs", Box::new(|| (timed(|| assert_eq!(ipvs.services().unwrap().len(), size as usize)), size))),
            (
                "lvs, streamed",
                Box::new(|| {
                    (
                        timed(|| {
                            assert!(other.stream_services().unwrap().filter(Result::is_ok).count() >= size as usize)
                        }),
                        size,
                    )
                }),
            ),
        ],
    );
}

/// Other system calls for the lists of 2 destinations.
fn other_ways(results: &mut Results) {
    let mut floor = IpvsFloor::with_inbox(4 << 10);
    let lists: Vec<_> = (0..FEW).map(|i| floor.list(Query::Destinations(service(i).key))).collect();
    let mut several: Vec<_> = (0..8).map(|_| IpvsFloor::with_inbox(4 << 10).floor).collect();
    let mut ipvs = Ipvs::connect().unwrap();
    // Each is short, and so consistent in one reading.
    let mut listed = || (0..FEW).for_each(|i| assert_eq!(ipvs.destinations(service(i).key).unwrap().len(), 2));
    let contestants: &mut [Contestant<'_>] = &mut [
        ("lvs", Box::new(|| (timed(&mut listed), FEW))),
        ("floor, both parts with recvmmsg", Box::new(|| (timed(|| floor.floor.exchange_by_twos(&lists)), FEW))),
        ("floor, 8 sockets", Box::new(|| (timed(|| Floor::exchange_side_by_side(&mut several, &lists)), FEW))),
    ];
    results.compare("list 2 destinations", FEW, contestants);
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// How many requests travel together, and what else could make the floor lower.
pub(crate) fn datagrams(plan: &Plan, results: &mut Results) {
    let mut ipvs = Ipvs::connect().unwrap();
    fill(&mut ipvs, 0, FEW);
    let changes = Changes::of(FEW, plan.changes);
    let mut floors: Vec<_> = (0..9).map(|_| IpvsFloor::open()).collect();
    let many = [2, 8, 32, 128, 256, 512, 1024];
    let names = many.map(|many| format!("floor, {many} in a datagram"));
    let mut contestants: Vec<Changer<'_>> = Vec::new();
    let mut floors = floors.iter_mut();
    for (many, name) in many.into_iter().zip(&names) {
        let floor = floors.next().unwrap();
        contestants.push((name, usize::MAX, Box::new(move |changes| floor_of(floor, changes, Some(many)))));
    }
    let floor = floors.next().unwrap();
    contestants.push((
        "floor, 128 in a datagram, 8 sent ahead",
        usize::MAX,
        Box::new(move |changes| {
            let datagrams = floor.datagrams(changes, 128);
            timed(|| datagrams.chunks(8).for_each(|datagrams| floor.floor.ahead(datagrams)))
        }),
    ));
    let floor = floors.next().unwrap();
    contestants.push((
        "floor, 128 in a datagram, a buffer for each",
        usize::MAX,
        Box::new(move |changes| {
            let datagrams = floor.gathered(changes, 128);
            timed(|| floor.floor.exchange_gathered(&datagrams))
        }),
    ));
    cycle(results, " (datagrams)", FEW, &changes, &mut contestants);
    drop(contestants);
    ipvs.clear().unwrap();
}

/// Measures each length of dump datagrams: for short listings, and for a long one.
pub(crate) fn inboxes(_: &Plan, results: &mut Results) {
    let mut ipvs = Ipvs::connect().unwrap();
    for destinations in [2, 20] {
        ipvs.batch(table(FEW, destinations)).unwrap();
        settle();
        for inbox in [4, 8, 16, 32, 64] {
            let mut floor = IpvsFloor::with_inbox(inbox << 10);
            let lists: Vec<_> = (0..FEW).map(|i| floor.list(Query::Destinations(service(i).key))).collect();
            let long = floor.list(Query::Services);
            let by = format!("floor, inbox of {inbox} KiB");
            let mut exchange = || (timed(|| floor.floor.exchange_all(&lists)), FEW);
            results.compare(&format!("list {destinations} destinations"), FEW, &mut [(&by, Box::new(&mut exchange))]);
            let mut exchange = || (timed(|| floor.floor.exchange(&long)), FEW);
            results.compare("list services (inboxes)", FEW, &mut [(&by, Box::new(&mut exchange))]);
        }
        if destinations == 2 {
            other_ways(results);
        }
        ipvs.clear().unwrap();
    }
}

/// The same changes by programs.
pub(crate) fn programs(_: &Plan, results: &mut Results) {
    let mut ipvs = Ipvs::connect().unwrap();
    fill(&mut ipvs, 0, FEW);
    let (mut floor, mut second) = (IpvsFloor::open(), IpvsFloor::open());
    cycle(
        results,
        " (programs)",
        FEW,
        &Changes::of(FEW, u32::try_from(LINES).unwrap()),
        &mut [
            ("floor, one at a time", LINES, Box::new(|changes| floor_of(&mut floor, changes, Some(1)))),
            ("floor, batched", LINES, Box::new(|changes| floor_of(&mut second, changes, None))),
            ("lvs, batched", LINES, Box::new(|changes| ours::batched(&mut ipvs, changes))),
            ("ipvsadm-rs -R", LINES, Box::new(|changes| peers::feed("ipvsadm-rs -R", &peers::ipvsadm_lines(changes)))),
            ("ipvsadm -R", LINES, Box::new(|changes| peers::feed("ipvsadm -R", &peers::ipvsadm_lines(changes)))),
            ("ipvsadm-rs", PROCESSES, Box::new(|changes| peers::each("ipvsadm-rs", &peers::ipvsadm_lines(changes)))),
            ("ipvsadm", PROCESSES, Box::new(|changes| peers::each("ipvsadm", &peers::ipvsadm_lines(changes)))),
        ],
    );
    Ipvs::connect().unwrap().clear().unwrap();
}

/// Tables with destinations: filled and listed.
pub(crate) fn lists(plan: &Plan, results: &mut Results) {
    for &(services, destinations) in plan.lists {
        crate::in_a_namespace(|| list(results, services, destinations));
    }
}

fn list(results: &mut Results, services: u32, destinations: u32) {
    let (mut floor, mut ipvs) = (IpvsFloor::open(), Ipvs::connect().unwrap());
    ipvs.batch(table(services, destinations)).unwrap();
    settle();
    let requests: Vec<_> = std::iter::once(Query::Services)
        .chain((0..services).map(|i| Query::Destinations(service(i).key)))
        .map(|query| floor.list(query))
        .collect();
    let work = format!("list services with {destinations} destinations");
    // Short lists are cheaper with a small inbox, long ones need it large: see `inboxes`.
    let (mut short, mut long) = (IpvsFloor::with_inbox(4 << 10), IpvsFloor::open());
    let lists = if destinations < 8 { &mut short.floor } else { &mut long.floor };
    let mut exchange = |times| {
        (0..times).for_each(|_| floor.floor.exchange(&requests[0]));
        lists.exchange_all(&requests[1..]);
    };
    let exchange = std::cell::RefCell::new(&mut exchange);
    let all = services as usize;
    let mut other = Ipvs::connect().unwrap();
    let mut contestants: Vec<Contestant<'_>> = vec![
        ("floor", Box::new(|| (timed(|| exchange.borrow_mut()(1)), services))),
        // A list in parts is of one moment only if it comes twice the same.
        ("floor, services twice", Box::new(|| (timed(|| exchange.borrow_mut()(2)), services))),
        ("lvs", Box::new(|| (timed(|| assert_eq!(ipvs.table().unwrap().len(), all)), services))),
        ("lvs, services once", Box::new(|| (timed(|| assert_eq!(ours::streamed(&mut other), all)), services))),
        ("floor, overview", Box::new(|| (timed(crate::floor::read_overview), services))),
        ("lvs, overview", Box::new(|| (timed(|| assert_eq!(ours::overview(), all)), services))),
    ];
    // The programs are slow: one of the tables shows how slow.
    if destinations == 2 {
        contestants.push(("ipvsadm-rs -Ln", Box::new(|| (peers::run("ipvsadm-rs -Ln", None), services))));
        contestants.push(("ipvsadm -Ln", Box::new(|| (peers::run("ipvsadm -Ln", None), services))));
    }
    results.compare(&work, services, &mut contestants);
    drop(contestants);
    ipvs.clear().unwrap();
}

/// Destinations: a few services that get many, in a namespace of its own each time, since the kernel remembers those
/// that were deleted and searches them.
pub(crate) fn destinations(plan: &Plan, results: &mut Results) {
    let &(services, destinations) = plan.lists.last().unwrap();
    let changes = table(services, destinations);
    let count = u32::try_from(changes.len()).unwrap();
    let work = format!("add services with {destinations} destinations");
    fn fresh(work: impl FnOnce() -> Duration + Send) -> Duration {
        let mut time = Duration::ZERO;
        crate::in_a_namespace(|| {
            time = work();
            Ipvs::connect().unwrap().clear().unwrap();
        });
        // The kernel takes its time to end a namespace.
        std::thread::sleep(Duration::from_secs(1));
        time
    }
    let changes = &changes;
    let mut contestants: Vec<Contestant<'_>> = vec![
        ("floor, batched", Box::new(|| (fresh(|| floor_of(&mut IpvsFloor::open(), changes, None)), count))),
        ("lvs, batched", Box::new(|| (fresh(|| ours::batched(&mut Ipvs::connect().unwrap(), changes)), count))),
    ];
    results.compare(&work, services, &mut contestants);
}
