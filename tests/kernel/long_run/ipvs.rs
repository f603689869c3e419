//! The table of IPVS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use lvs::ipvs::{
    Change, Destination, Forwarding, Ipvs, Netmask, Persistence, PersistenceEngine, Scheduler, Service, ServiceFlags,
    ServiceKey, Thresholds, Timeouts, Tunnel, TunnelFlags,
};
use lvs::{Family, Protocol, Reason};

use super::{Outcome, Tally};
use crate::lab::Lab;
use crate::random::Random;
use crate::saved;

pub(super) struct Run {
    ipvs: Ipvs,
    model: Model,
    pub(super) tally: Tally,
}

#[derive(Debug)]
struct Model {
    services: BTreeMap<ServiceKey, (Service, BTreeMap<SocketAddr, Destination>)>,
    timeouts: Timeouts,
}

impl Model {
    fn apply(&mut self, change: &Change) -> Outcome {
        use Change::{
            AddDestination, AddService, Clear, DeleteDestination, DeleteService, SetDestination, SetService,
            SetTimeouts, Zero, ZeroAll,
        };
        if is_wrong(change) {
            return Outcome::Invalid;
        }
        let refused = Outcome::Refused;
        match *change {
            AddService(service) if self.services.contains_key(&service.key) => refused(Reason::AlreadyExists),
            SetService(Service { key, .. })
            | DeleteService(key)
            | AddDestination(key, _)
            | SetDestination(key, _)
            | DeleteDestination(key, _)
            | Zero(key)
                if !self.services.contains_key(&key) =>
            {
                refused(Reason::ServiceNotFound)
            }
            AddService(service) | SetService(service) if service.scheduler.as_bytes() == NO_SCHEDULER.as_bytes() => {
                refused(Reason::Unavailable)
            }
            AddService(service) => {
                self.services.insert(service.key, (service, BTreeMap::new()));
                Outcome::Done
            }
            SetService(service) => {
                self.services.get_mut(&service.key).unwrap().0 = service;
                Outcome::Done
            }
            DeleteService(key) => {
                self.services.remove(&key);
                Outcome::Done
            }
            AddDestination(key, destination) => {
                let there = &mut self.services.get_mut(&key).unwrap().1;
                if there.contains_key(&destination.address) {
                    return refused(Reason::AlreadyExists);
                }
                there.insert(destination.address, destination);
                Outcome::Done
            }
            SetDestination(key, destination) => {
                match self.services.get_mut(&key).unwrap().1.get_mut(&destination.address) {
                    Some(there) => *there = destination,
                    None => return refused(Reason::DestinationNotFound),
                }
                Outcome::Done
            }
            DeleteDestination(key, address) => match self.services.get_mut(&key).unwrap().1.remove(&address) {
                Some(_) => Outcome::Done,
                None => refused(Reason::DestinationNotFound),
            },
            Clear => {
                self.services.clear();
                Outcome::Done
            }
            SetTimeouts(Timeouts { tcp, tcp_fin, udp, .. }) => {
                let now = &mut self.timeouts;
                now.tcp = tcp.or(now.tcp);
                now.tcp_fin = tcp_fin.or(now.tcp_fin);
                now.udp = udp.or(now.udp);
                Outcome::Done
            }
            Zero(_) | ZeroAll => Outcome::Done,
            _ => panic!("{change}"),
        }
    }

    /// As `ipvsadm -Sn` writes it, but for the order.
    fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for (key, (service, destinations)) in &self.services {
            lines.insert(format!("-A {}", saved::service(service).unwrap()));
            let destinations = destinations.values();
            lines.extend(destinations.map(|to| format!("-a {}", saved::destination(*key, to).unwrap())));
        }
        lines
    }
}

const NO_SCHEDULER: &str = "nosuch";

/// Whether the crate refuses a random change before it sends anything.
fn is_wrong(change: &Change) -> bool {
    match change {
        Change::AddService(Service { key: ServiceKey::Address { protocol, .. }, flags, .. })
        | Change::SetService(Service { key: ServiceKey::Address { protocol, .. }, flags, .. }) => {
            flags.contains(ServiceFlags::ONE_PACKET) && *protocol != Protocol::UDP
        }
        Change::AddDestination(key, destination) | Change::SetDestination(key, destination) => {
            let other_port = match key {
                ServiceKey::Address { address, .. } => address.port() != destination.address.port(),
                ServiceKey::FirewallMark { .. } => false,
            };
            let other_family = (key.family() == Family::Inet) != destination.address.is_ipv4();
            destination.weight > 0x7fff_ffff
                || match destination.forwarding {
                    Forwarding::Masquerade => other_family,
                    Forwarding::DirectRoute => other_family || other_port,
                    _ => other_port,
                }
        }
        Change::SetTimeouts(timeouts) => [timeouts.tcp, timeouts.tcp_fin, timeouts.udp].contains(&Some(Duration::ZERO)),
        _ => false,
    }
}

// Random operations.

fn key(random: &mut Random) -> ServiceKey {
    if random.percent(20) {
        let mark = NonZeroU32::new(1 + u32::try_from(random.below(3)).unwrap()).unwrap();
        return ServiceKey::FirewallMark { mark, family: *random.one(&[Family::Inet, Family::Inet6]) };
    }
    let ip = random.one(&["10.96.0.10", "10.96.0.11", "10.97.3.2", "2001:db8::a", "2001:db8:1::b"]).parse().unwrap();
    let address = SocketAddr::new(ip, *random.one(&[53, 80, 443]));
    ServiceKey::Address { protocol: *random.one(&[Protocol::TCP, Protocol::UDP, Protocol::SCTP]), address }
}

fn persistence(random: &mut Random, family: Family) -> Persistence {
    let persistence = Persistence::new(Duration::from_secs(1 + random.below(5000) as u64));
    match (random.percent(50), family) {
        (false, _) => persistence,
        (true, Family::Inet6) => persistence.netmask(Netmask::inet6(*random.one(&[1, 48, 64, 127])).unwrap()),
        (true, _) => persistence.netmask(Netmask::inet([255, 255, *random.one(&[0, 240, 255]), 0].into())),
    }
}

fn service(random: &mut Random) -> Service {
    let key = key(random);
    let schedulers = [
        Scheduler::RR,
        Scheduler::WRR,
        Scheduler::LC,
        Scheduler::WLC,
        Scheduler::SED,
        Scheduler::NQ,
        Scheduler::SH,
        Scheduler::MH,
    ];
    let mut service = Service::new(key, *random.one(&schedulers));
    if random.percent(40) {
        service.persistence = Some(persistence(random, key.family()));
    }
    if [Scheduler::SH, Scheduler::MH].contains(&service.scheduler) {
        let flags = [ServiceFlags::empty(), ServiceFlags::FALLBACK, ServiceFlags::PORT];
        service.flags = *random.one(&flags) | *random.one(&flags);
    }
    match key {
        ServiceKey::Address { protocol: Protocol::UDP, .. } => {
            if random.percent(20) && service.persistence.is_some() {
                service.engine = Some(PersistenceEngine::SIP);
            } else if random.percent(20) {
                service.flags |= ServiceFlags::ONE_PACKET;
            }
        }
        ServiceKey::Address { .. } if random.percent(5) => service.flags |= ServiceFlags::ONE_PACKET,
        // Each makes the kernel start a program that looks for the module.
        _ if random.below(300) == 0 => service.scheduler = Scheduler::new(NO_SCHEDULER).unwrap(),
        _ => {}
    }
    service
}

fn server(random: &mut Random, key: ServiceKey) -> SocketAddr {
    let six = (key.family() == Family::Inet6) != random.percent(10);
    let host = 1 + u8::try_from(random.below(8)).unwrap();
    let ip = if six { format!("2001:db8:244::{host}") } else { format!("10.244.0.{host}") }.parse().unwrap();
    let own_port = match key {
        ServiceKey::Address { address, .. } => address.port(),
        ServiceKey::FirewallMark { .. } => 0,
    };
    SocketAddr::new(ip, if random.percent(60) { own_port } else { 8080 })
}

fn destination(random: &mut Random, key: ServiceKey) -> Destination {
    let mut destination = Destination::new(server(random, key)).weight(*random.one(&[0, 1, 2, 100, 65535]));
    if random.percent(3) {
        destination.weight = 1 << 31;
    }
    destination.forwarding = match random.below(10) {
        0..=4 => Forwarding::Masquerade,
        5..=6 => Forwarding::DirectRoute,
        7 => Forwarding::Tunnel(Tunnel::Ipip),
        8 => Forwarding::Tunnel(Tunnel::Gre { flags: TunnelFlags::CHECKSUM }),
        _ => Forwarding::Tunnel(Tunnel::Gue { port: 6080.try_into().unwrap(), flags: TunnelFlags::empty() }),
    };
    if random.percent(30) {
        let (one, other) = (1 + random.below(1000), 1 + random.below(1000));
        let number = |number: usize| NonZeroU32::new(number.try_into().unwrap()).unwrap();
        let lower = random.percent(50).then(|| number(one.min(other)));
        destination.thresholds = Some(Thresholds { upper: number(one.max(other)), lower });
    }
    destination
}

fn change(random: &mut Random) -> Change {
    match random.below(100) {
        0..=24 => Change::AddService(service(random)),
        25..=34 => Change::SetService(service(random)),
        35..=44 => Change::DeleteService(key(random)),
        45..=97 => {
            let key = key(random);
            match random.below(10) {
                0..=5 => Change::AddDestination(key, destination(random, key)),
                6..=7 => Change::SetDestination(key, destination(random, key)),
                8 => Change::DeleteDestination(key, server(random, key)),
                _ => Change::Zero(key),
            }
        }
        98 => Change::SetTimeouts(timeouts(random)),
        _ => Change::ZeroAll,
    }
}

fn timeouts(random: &mut Random) -> Timeouts {
    let mut one = || random.percent(50).then(|| Duration::from_secs(random.below(9) as u64));
    Timeouts { tcp: one(), tcp_fin: one(), udp: one() }
}

impl Run {
    pub(super) fn start(lab: &Lab) -> Self {
        let mut ipvs = lab.ipvs();
        let timeouts = ipvs.timeouts().unwrap();
        Self { ipvs, model: Model { services: BTreeMap::new(), timeouts }, tally: Tally::default() }
    }

    pub(super) fn step(&mut self, random: &mut Random) {
        match random.below(1000) {
            0..=599 => {
                let change = change(random);
                let outcome = Outcome::of(self.ipvs.change(change));
                self.judge(&change, outcome);
            }
            600..=699 => self.batch(random),
            700..=749 => self.update_service(random),
            750..=799 => self.update_destination(random),
            800..=849 => self.read_service(random),
            850..=929 => self.read_destinations(random),
            930..=959 => self.read_some(random),
            960..=979 => assert_eq!(self.ipvs.timeouts().unwrap(), self.model.timeouts),
            980..=994 => self.read_all(),
            995..=997 => self.many(random),
            _ => {
                self.ipvs.clear().unwrap();
                self.model.apply(&Change::Clear);
            }
        }
    }

    fn judge(&mut self, change: &Change, outcome: Outcome) {
        assert_eq!(outcome, self.model.apply(change), "{change}");
        self.tally.count(outcome);
    }

    fn batch(&mut self, random: &mut Random) {
        let changes: Vec<_> = (0..random.below(100)).map(|_| change(random)).collect();
        let mut failures = match self.ipvs.batch(changes.iter().copied()) {
            Ok(()) => Vec::new(),
            Err(error) => {
                assert!(error.interruption.is_none() && error.done == changes.len(), "{error}");
                error.failures
            }
        }
        .into_iter()
        .peekable();
        for (index, change) in changes.iter().enumerate() {
            let failure = failures.next_if(|failure| failure.position().unwrap() == index);
            self.judge(change, failure.map_or(Outcome::Done, |failure| Outcome::of_error(&failure.error)));
        }
        assert!(failures.next().is_none());
    }

    fn update_service(&mut self, random: &mut Random) {
        let (key, scheduler) = (key(random), *random.one(&[Scheduler::RR, Scheduler::WLC]));
        let edited = Outcome::of(self.ipvs.update_service(key, |service| service.scheduler = scheduler));
        let there = self.model.services.get_mut(&key);
        assert_eq!(edited, there.as_ref().map_or(Outcome::Refused(Reason::ServiceNotFound), |_| Outcome::Done));
        if let Some((service, _)) = there {
            service.scheduler = scheduler;
        }
    }

    fn update_destination(&mut self, random: &mut Random) {
        let key = key(random);
        let (address, weight) = (server(random, key), u32::try_from(random.below(100)).unwrap());
        let edited = self.ipvs.update_destination(key, address, |destination| destination.weight = weight);
        let expected = match self.model.services.get_mut(&key).map(|(_, all)| all.get_mut(&address)) {
            None => Outcome::Refused(Reason::ServiceNotFound),
            Some(None) => Outcome::Refused(Reason::DestinationNotFound),
            Some(Some(there)) => {
                there.weight = weight;
                Outcome::Done
            }
        };
        assert_eq!(Outcome::of(edited), expected);
    }

    fn read_service(&mut self, random: &mut Random) {
        let key = key(random);
        match (self.ipvs.service(key), self.model.services.get(&key)) {
            (Ok(info), Some((service, _))) => assert_eq!(info.service, *service),
            (Err(error), None) => assert!(error.is_not_found(), "{error}"),
            (read, there) => panic!("{read:?} {there:?}"),
        }
    }

    fn read_destinations(&mut self, random: &mut Random) {
        let key = key(random);
        match (self.ipvs.destinations(key), self.model.services.get(&key)) {
            (Ok(listed), Some((_, there))) => {
                let listed = listed.into_iter().map(|info| (info.address(), info.destination));
                assert_eq!(listed.collect::<BTreeMap<_, _>>(), *there);
            }
            (Err(error), None) => assert!(error.is_not_found(), "{error}"),
            (read, there) => panic!("{read:?} {there:?}"),
        }
    }

    fn read_some(&mut self, random: &mut Random) {
        let wanted = random.below(20);
        let mut read = 0;
        for info in self.ipvs.stream_services().unwrap().take(wanted) {
            let service = info.unwrap().service;
            assert_eq!(self.model.services[&service.key].0, service);
            read += 1;
        }
        assert_eq!(read, wanted.min(self.model.services.len()));
    }

    fn read_all(&mut self) {
        let table = self.ipvs.table().unwrap();
        assert_eq!(table.len(), self.model.services.len());
        let table: BTreeMap<_, _> = table
            .into_iter()
            .map(|(info, destinations)| {
                let destinations = destinations.into_iter().map(|info| (info.address(), info.destination));
                (info.key(), (info.service, destinations.collect::<BTreeMap<_, _>>()))
            })
            .collect();
        assert_eq!(table, self.model.services);
    }

    /// So many that they come in several datagrams.
    pub(super) fn many(&mut self, random: &mut Random) {
        let count = 500 + u16::try_from(random.below(1500)).unwrap();
        let mut services: Vec<_> = crate::scale::many(count).collect();
        self.ipvs.batch(services.iter().map(|service| Change::AddService(*service))).unwrap();
        let listed = self.ipvs.services().unwrap();
        assert_eq!(listed.len(), services.len() + self.model.services.len());
        random.shuffle(&mut services);
        self.ipvs.batch(services.iter().map(|service| Change::DeleteService(service.key))).unwrap();
    }

    pub(super) fn compare_with_ipvsadm(&mut self, lab: &Lab) {
        self.read_all();
        let listed: BTreeSet<_> = lab.tool("ipvsadm -Sn").lines().map(|line| line.trim_end().to_owned()).collect();
        let expected = self.model.lines();
        let differences: Vec<_> = listed.symmetric_difference(&expected).collect();
        assert!(differences.is_empty(), "{differences:#?}");
    }
}
