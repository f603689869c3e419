//! The director beside the bare batches and listings that it is made of.

use std::time::{Duration, Instant};

use lvs::director::{Desired, Director, Drains, Owner, Pace, plan};
use lvs::ipset::{Addresses, HashIpPort, Member, NewSet, ProtocolPorts, SetName};
use lvs::ipvs::{Change, Destination, Ipvs, Scheduler, Service};
use lvs::netns::Namespace;
use lvs::vip::{Binder, Vips};

use crate::results::{Contestant, Plan, Results};
use crate::services::{settle, table, vip};

const PROTOCOL: u8 = 77;

fn desired(services: u32, destinations: u32) -> Desired {
    let mut desired = Desired::default();
    let (mut service, mut to): (Option<Service>, Vec<Destination>) = (None, Vec::new());
    let mut put = |service: Option<Service>, to: &mut Vec<Destination>| {
        if let Some(service) = service {
            desired.service(service, to.drain(..)).unwrap();
        }
    };
    for change in table(services, destinations) {
        match change {
            Change::AddService(next) => put(service.replace(next), &mut to),
            Change::AddDestination(_, destination) => to.push(destination),
            _ => {}
        }
    }
    put(service, &mut to);
    desired
}

fn director() -> Director {
    Director::connect(Owner::registered("bench").unwrap(), Binder::local_routes(PROTOCOL)).unwrap()
}

/// Runs in a namespace of its own, in which nothing was deleted before: deleted destinations make new ones dearer.
fn anew(work: impl FnOnce() -> Duration + Send) -> Duration {
    let namespace = Namespace::create().unwrap();
    let time = namespace.run(|| {
        assert!(std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        let time = work();
        Ipvs::connect().unwrap().clear().unwrap();
        time
    });
    drop(namespace);
    settle();
    time.unwrap()
}

/// The requests of a first call, without a director.
fn batches(services: u32, destinations: u32) -> Duration {
    let name: SetName = "bench-4".parse().unwrap();
    let (mut ipvs, mut ipset, mut vips) =
        (Ipvs::connect().unwrap(), lvs::ipset::Ipset::connect().unwrap(), Vips::connect().unwrap());
    let changes = table(services, destinations);
    let (adds, others): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| matches!(change, Change::AddService(_)));
    let started = Instant::now();
    let set = ipset.create(name, &NewSet::<HashIpPort>::ipv4().maxelem(1 << 20)).unwrap();
    let key = |number| Member::new((Addresses::One(vip(number).into()), ProtocolPorts::tcp(80)));
    ipset.put_all(&set, (0..services).map(key)).unwrap();
    ipvs.batch(adds).unwrap();
    ipvs.batch(others).unwrap();
    vips.bind_all(&Binder::local_routes(PROTOCOL), (0..services).map(vip)).unwrap();
    started.elapsed()
}

/// A first call, calls with nothing to do, and calls with one change.
pub(crate) fn director_and_parts(bench: &Plan, results: &mut Results) {
    for &(services, destinations) in bench.directors {
        let desired = desired(services, destinations);
        results.compare(
            "first apply",
            services,
            &mut [
                ("batches", Box::new(|| (anew(|| batches(services, destinations)), services))),
                (
                    "director",
                    Box::new(|| {
                        let first = anew(|| {
                            let mut director = director();
                            let started = Instant::now();
                            director.sync(&desired).unwrap();
                            started.elapsed()
                        });
                        (first, services)
                    }),
                ),
            ],
        );
        idle(services, &desired, results);
    }
}

fn idle(services: u32, desired: &Desired, results: &mut Results) {
    let mut reading = director().pace(Pace::default().full_audit(Duration::ZERO));
    let mut remembering = director();
    remembering.sync(desired).unwrap();
    settle();
    let snapshot = reading.snapshot().unwrap();
    let mut ipvs = Ipvs::connect().unwrap();
    let timed = |work: &mut dyn FnMut()| {
        let started = Instant::now();
        work();
        (started.elapsed(), services)
    };
    let mut changed = desired.clone();
    let one = Service::tcp((vip(services / 2), 80).into(), Scheduler::RR);
    let more = changed.get(one.key).unwrap().destinations().to_vec();
    let contestants: &mut [Contestant<'_>] = &mut [
        ("table", Box::new(|| timed(&mut || assert_eq!(ipvs.table().unwrap().len(), services as usize)))),
        ("director, reading", Box::new(|| timed(&mut || assert!(reading.sync(desired).unwrap().is_empty())))),
        (
            "plan",
            Box::new(|| {
                timed(&mut || assert!(plan(desired, &snapshot, &Drains::default(), Instant::now()).is_empty()))
            }),
        ),
        ("director, remembering", Box::new(|| timed(&mut || assert!(remembering.sync(desired).unwrap().is_empty())))),
    ];
    results.compare("find nothing to do", services, contestants);

    // One destination is raised and lowered by turns.
    let mut remembering = director();
    remembering.sync(desired).unwrap();
    let mut weight = 1;
    let mut change = || {
        weight += 1;
        let to = more.iter().enumerate().map(|(at, to)| if at == 0 { to.weight(weight) } else { *to });
        changed.service(one, to.collect::<Vec<_>>()).unwrap();
        let started = Instant::now();
        assert_eq!(remembering.sync(&changed).unwrap().steps().len(), 1);
        (started.elapsed(), 1)
    };
    results.compare("change one endpoint", services, &mut [("director, remembering", Box::new(&mut change))]);
    Ipvs::connect().unwrap().clear().unwrap();
    settle();
}
