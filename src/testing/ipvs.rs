//! A small model of the kernel's table: see [`testing`](crate::testing).

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use nix::libc::{EEXIST, EINVAL, ENOENT, EOPNOTSUPP, ESRCH};

use crate::ipvs::{
    Answer, Change, Destination, DestinationInfo, Forwarding, Message, PersistenceEngine, Query, Scheduler, Service,
    ServiceInfo, ServiceKey, SyncDaemon, SyncState, Timeouts, Version,
};

/// The table, in the order in which it was filled.
#[derive(Debug)]
pub(crate) struct Model {
    services: Vec<(Service, Vec<DestinationInfo>)>,
    timeouts: Timeouts,
    daemons: Vec<SyncDaemon>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let timeouts = Timeouts { tcp: seconds(900), tcp_fin: seconds(120), udp: seconds(300) };
        Self { services: Vec::new(), timeouts, daemons: Vec::new() }
    }

    /// The bodies of the answers to a request with this body, or the error number that refuses it.
    pub(crate) fn answer(&mut self, body: &[u8], dump: bool) -> Result<Vec<Vec<u8>>, i32> {
        let answers = match Message::decode(body).map_err(|_| EINVAL)? {
            Message::Query(query) if query.is_dump() == dump => self.answer_query(query)?,
            Message::Change(change) if !dump => self.make(change).map(|()| Vec::new())?,
            // These two requests have the bytes of answers.
            Message::Answer(Answer::Timeouts(timeouts)) => {
                self.make(Change::SetTimeouts(timeouts)).map(|()| Vec::new())?
            }
            Message::Answer(Answer::Daemon(daemon)) => self.make(Change::StartDaemon(daemon)).map(|()| Vec::new())?,
            _ => return Err(EOPNOTSUPP),
        };
        Ok(answers.into_iter().map(|answer| Message::from(answer).encode()).collect())
    }

    fn find(&mut self, key: ServiceKey) -> Result<&mut (Service, Vec<DestinationInfo>), i32> {
        self.services.iter_mut().find(|(service, _)| service.key == key).ok_or(ESRCH)
    }

    /// Sets the active, inactive and persistent connections of a destination, if it exists.
    pub(crate) fn set_connections(&mut self, service: ServiceKey, destination: SocketAddr, numbers: [u32; 3]) -> bool {
        let destinations = self.find(service).into_iter().flat_map(|(_, destinations)| destinations);
        let Some(found) = destinations.into_iter().find(|there| there.address() == destination) else { return false };
        [found.active_connections, found.inactive_connections, found.persistent_connections] = numbers;
        true
    }

    fn answer_query(&mut self, query: Query) -> Result<Vec<Answer>, i32> {
        let service = |service: &Service| Answer::Service(ServiceInfo::new(*service));
        Ok(match query {
            Query::Service(key) => vec![service(&self.find(key)?.0)],
            Query::Services => self.services.iter().map(|(of, _)| service(of)).collect(),
            Query::Destinations(key) => {
                // The newest is first. A service that does not exist has none.
                let destinations = self.find(key).map(|(_, destinations)| destinations.clone()).unwrap_or_default();
                let newest = destinations.into_iter().rev();
                newest.map(Answer::Destination).collect()
            }
            Query::Version => vec![Answer::Version(Version { release: (1, 2, 1), connection_table_size: 4096 })],
            Query::Timeouts => vec![Answer::Timeouts(self.timeouts)],
            Query::Daemons => self.daemons.iter().copied().map(Answer::Daemon).collect(),
        })
    }

    fn start(&mut self, daemon: SyncDaemon) -> Result<(), i32> {
        if self.services.iter().any(|(service, to)| to.iter().any(|to| differ(service.key, &to.destination))) {
            return Err(EINVAL);
        }
        if self.daemons.iter().any(|there| there.state == daemon.state) {
            return Err(EEXIST);
        }
        // The payload of an Ethernet frame.
        let payload = if daemon.group.is_some_and(|group| group.is_ipv6()) { 1452 } else { 1472 };
        let asked = daemon.max_length.map_or(payload, NonZeroU16::get);
        let least = if daemon.state == SyncState::Backup { 1024 } else { 1 };
        self.daemons.push(SyncDaemon {
            max_length: NonZeroU16::new(asked.max(least)),
            group: daemon.group.or(Some(IpAddr::from([224, 0, 0, 81]))),
            port: daemon.port.or(NonZeroU16::new(8848)),
            ttl: daemon.ttl.or(NonZeroU8::new(1)),
            ..daemon
        });
        self.daemons.sort_by_key(|daemon| daemon.state == SyncState::Backup);
        Ok(())
    }

    fn make(&mut self, change: Change) -> Result<(), i32> {
        match change {
            Change::AddService(service) => {
                if self.find(service.key).is_ok() {
                    return Err(EEXIST);
                }
                check_modules(&service)?;
                self.services.push((service, Vec::new()));
            }
            Change::SetService(service) => {
                let found = self.find(service.key)?;
                check_modules(&service)?;
                found.0 = service;
            }
            Change::DeleteService(key) => {
                self.find(key)?;
                self.services.retain(|(service, _)| service.key != key);
            }
            Change::AddDestination(key, new) => {
                self.check_families(key, &new)?;
                let (_, destinations) = self.find(key)?;
                if destinations.iter().any(|there| there.address() == new.address) {
                    return Err(EEXIST);
                }
                destinations.push(DestinationInfo::new(new));
            }
            Change::SetDestination(key, new) => {
                self.check_families(key, &new)?;
                let (_, destinations) = self.find(key)?;
                let found = destinations.iter_mut().find(|there| there.address() == new.address);
                found.ok_or(ENOENT)?.destination = new;
            }
            Change::DeleteDestination(key, address) => {
                let (_, destinations) = self.find(key)?;
                let place = destinations.iter().position(|there| there.address() == address).ok_or(ENOENT)?;
                destinations.remove(place);
            }
            Change::Zero(key) => self.find(key).map(drop)?,
            Change::ZeroAll => {}
            Change::Clear => self.services.clear(),
            Change::SetTimeouts(Timeouts { tcp, tcp_fin, udp }) => {
                let old = self.timeouts;
                self.timeouts =
                    Timeouts { tcp: tcp.or(old.tcp), tcp_fin: tcp_fin.or(old.tcp_fin), udp: udp.or(old.udp) };
            }
            Change::StartDaemon(daemon) => self.start(daemon)?,
            Change::StopDaemon(state) => {
                let place = self.daemons.iter().position(|daemon| daemon.state == state).ok_or(ESRCH)?;
                self.daemons.remove(place);
            }
        }
        Ok(())
    }

    fn check_families(&mut self, key: ServiceKey, destination: &Destination) -> Result<(), i32> {
        self.find(key)?;
        let tunnel = matches!(destination.forwarding, Forwarding::Tunnel(_));
        if differ(key, destination) && (!tunnel || !self.daemons.is_empty()) { Err(EINVAL) } else { Ok(()) }
    }
}

fn differ(key: ServiceKey, destination: &Destination) -> bool {
    key.family() != ServiceKey::tcp(destination.address).family()
}

/// The kernel has the modules that Linux has.
fn check_modules(service: &Service) -> Result<(), i32> {
    let scheduler = service.scheduler == Scheduler::NONE || Scheduler::ALL.contains(&service.scheduler);
    let engine = service.engine.is_none_or(|engine| engine == PersistenceEngine::SIP);
    if scheduler && engine { Ok(()) } else { Err(ENOENT) }
}
