//! The client: operations on the kernel's table.

use std::borrow::Cow;
use std::net::SocketAddr;

use netlink_sys::protocols::NETLINK_GENERIC;
use nix::libc::ENOENT;

use super::destination;
use super::listing::SHORT_LIST;
use super::message::{Answer, Version, answer};
use super::numbers::{FAMILY, MODULE};
use super::request::{Change, FindFamily, Query, ToFamily};
use super::{BatchError, Destination, IntoServiceKey, Service, ServiceInfo, SyncDaemon, SyncState, Timeouts, batch};
use crate::connection::{Connection, Options, Request};
use crate::error::{Cause, Error, Reason, Refusal, Refused, Result};
use crate::exchange::Limits;
use crate::outcome::Outcome;
use crate::trace;
use crate::wire::genl;

/// Client of the IPVS table of one network namespace: that of the thread that connects.
///
/// It holds two netlink sockets: listings of destinations have one of their own. Reading and changing the table both
/// need `CAP_NET_ADMIN` in the initial user namespace. Without it they fail with
/// [`is_permission_denied`](Error::is_permission_denied). The kernel checks both the process that opened the socket and
/// the sender of each request: dropping the capability disables an open client. Connecting needs no privilege, also if
/// the module is not loaded: the kernel loads it for any caller.
///
/// After `fork`, only one of the two processes may use the client. Otherwise an answer to one of them may be received
/// by the other.
///
/// The verb of a method determines its behaviour for an object that exists and for one that is absent:
///
/// | method | the object exists | the object is absent |
/// |---|---|---|
/// | `add_…` | fails with [`is_already_exists`](Error::is_already_exists) | adds it |
/// | `put_…` | sets all of its values: [`Outcome::Updated`] | adds it: [`Outcome::Added`] |
/// | `set_…` | sets all of its values | fails with [`is_not_found`](Error::is_not_found) |
/// | `update_…` | passes its values to a closure, and sets them | fails with [`is_not_found`](Error::is_not_found) |
/// | `delete_…` | deletes it | fails with [`is_not_found`](Error::is_not_found) |
/// | `remove_…` | deletes it: [`Outcome::Deleted`] | [`Outcome::Unchanged`] |
///
/// Each operation can fail for reasons that are not repeated below: no permission, a timeout
/// ([`Options::timeout`]), lost replies ([`Cause::Overrun`]).
#[derive(Debug)]
pub struct Ipvs {
    pub(super) connection: Connection,
    /// Socket for short dumps, such as the destinations of a service, and for another reading of a long one.
    pub(super) short_lists: Connection,
    /// Whether the last listing of destinations was long. The next one is then first read as a long one.
    pub(super) long_lists: bool,
    /// The family's number, which is another one after each loading of the module.
    family: u16,
    /// Allocation for the changes of a batch; empty between batches.
    pub(super) in_flight: Vec<(usize, Change)>,
}

impl Ipvs {
    /// Opens the sockets and looks up the IPVS family. The kernel loads the module `ip_vs` if it can.
    ///
    /// # Errors
    /// [`is_unavailable`](Error::is_unavailable) when the kernel has no IPVS.
    pub fn connect() -> Result<Self> {
        Self::connect_with(&Options::default())
    }

    /// Connects as [`Ipvs::connect`], with other buffers or another timeout.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// use lvs::ipvs::Ipvs;
    /// let client = Ipvs::connect_with(&lvs::Options::default().timeout(Duration::from_secs(1)))?;
    /// # Ok::<(), lvs::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Ipvs::connect`].
    pub fn connect_with(options: &Options) -> Result<Self> {
        Self::over(|inbox| Connection::with_inbox(NETLINK_GENERIC, options, inbox))
    }

    pub(crate) fn over(open: impl Fn(usize) -> Result<Connection, Cause>) -> Result<Self> {
        let operation = "connect to IPVS";
        let failed = |cause| Error::new(operation, cause);
        let mut connection = open(Limits::default().inbox).map_err(failed)?;
        let short_lists = open(SHORT_LIST).map_err(failed)?;
        let family = find_family(&mut connection).map_err(|error| error.during(operation))?;
        Ok(Self { connection, short_lists, long_lists: false, family, in_flight: Vec::new() })
    }

    /// Returns the version of the kernel's IPVS, and the size of its connection table (`IPVS_CMD_GET_INFO`).
    ///
    /// # Errors
    /// See [`Ipvs`].
    #[doc(alias = "IPVS_CMD_GET_INFO")]
    pub fn version(&mut self) -> Result<Version> {
        self.ask(Query::Version, |answer| match answer {
            Answer::Version(version) => Some(version),
            _ => None,
        })
    }

    /// Returns a virtual service (`IPVS_CMD_GET_SERVICE`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no such service exists.
    #[doc(alias = "IPVS_CMD_GET_SERVICE")]
    pub fn service(&mut self, key: impl IntoServiceKey) -> Result<ServiceInfo> {
        self.ask(Query::Service(key.into_service_key()), |answer| match answer {
            Answer::Service(info) => Some(info),
            _ => None,
        })
    }

    /// Adds a virtual service (`IPVS_CMD_NEW_SERVICE`).
    ///
    /// # Errors
    /// - [`is_already_exists`](Error::is_already_exists) when a service with this key exists;
    /// - [`is_unavailable`](Error::is_unavailable) when the module of the scheduler or the persistence engine cannot be
    ///   loaded;
    /// - [`is_invalid_input`](Error::is_invalid_input), before anything is sent, for a service that the kernel would
    ///   refuse or store otherwise.
    #[doc(alias = "IPVS_CMD_NEW_SERVICE")]
    pub fn add_service(&mut self, service: impl Into<Service>) -> Result<()> {
        self.change(Change::AddService(service.into()))
    }

    /// Adds a virtual service, or sets the existing one.
    ///
    /// # Errors
    /// As [`Ipvs::set_service`].
    pub fn put_service(&mut self, service: impl Into<Service>) -> Result<Outcome> {
        let service = service.into();
        self.put(Change::AddService(service), Change::SetService(service))
    }

    /// Sets everything of a virtual service but its key (`IPVS_CMD_SET_SERVICE`). Connections and destinations stay.
    /// [`Ipvs::update_service`] changes one property and keeps the others.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no such service exists; otherwise as [`Ipvs::add_service`]. After
    /// a refusal the service is as it was.
    #[doc(alias = "IPVS_CMD_SET_SERVICE")]
    pub fn set_service(&mut self, service: impl Into<Service>) -> Result<()> {
        self.change(Change::SetService(service.into()))
    }

    /// Changes a virtual service: reads it, calls `edit` on it, and sets it. Everything that `edit` leaves stays as it
    /// was, unless another process changes the service in between.
    ///
    /// # Errors
    /// As [`Ipvs::set_service`]; [`is_invalid_input`](Error::is_invalid_input) when `edit` changes the key.
    pub fn update_service(&mut self, key: impl IntoServiceKey, edit: impl FnOnce(&mut Service)) -> Result<()> {
        let key = key.into_service_key();
        let operation = || format!("update service {key}");
        let before = self.service(key).map_err(|error| error.during(operation()))?.service;
        let mut service = before;
        edit(&mut service);
        if service.key != key {
            let cause = Cause::InvalidInput("an update cannot change the key of the service".into());
            return Err(Error::new(operation(), cause));
        }
        self.set_edited(Change::SetService(service), service.edited_problem(&before))
            .map_err(|error| error.during(operation()))
    }

    /// Deletes a virtual service and its destinations (`IPVS_CMD_DEL_SERVICE`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no such service exists.
    #[doc(alias = "IPVS_CMD_DEL_SERVICE")]
    pub fn delete_service(&mut self, key: impl IntoServiceKey) -> Result<()> {
        self.change(Change::DeleteService(key.into_service_key()))
    }

    /// Deletes a virtual service and its destinations, if the service exists.
    ///
    /// ```no_run
    /// # use lvs::ipvs::{Ipvs, ServiceKey};
    /// let removed = Ipvs::connect()?.remove_service(ServiceKey::udp("10.96.0.10:53".parse()?))?;
    /// println!("{removed:?}"); // Deleted, or Unchanged
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn remove_service(&mut self, key: impl IntoServiceKey) -> Result<Outcome> {
        self.remove(Change::DeleteService(key.into_service_key()))
    }

    /// Adds a destination to a service (`IPVS_CMD_NEW_DEST`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no such service exists;
    /// [`is_already_exists`](Error::is_already_exists) when it has this destination;
    /// [`is_invalid_input`](Error::is_invalid_input) before anything is sent, for a destination that the kernel would
    /// refuse or misunderstand.
    #[doc(alias = "IPVS_CMD_NEW_DEST")]
    pub fn add_destination(&mut self, service: impl IntoServiceKey, destination: impl Into<Destination>) -> Result<()> {
        self.change(Change::AddDestination(service.into_service_key(), destination.into()))
    }

    /// Adds a destination to a service, or sets the existing one.
    ///
    /// ```no_run
    /// # use lvs::ipvs::{Destination, Ipvs, ServiceKey};
    /// let mut ipvs = Ipvs::connect()?;
    /// let (web, server) = (ServiceKey::tcp("10.96.0.10:80".parse()?), "10.244.1.7:8080".parse()?);
    /// // Adds the destination, or sets all values of the existing one.
    /// ipvs.put_destination(web, Destination::new(server).weight(3))?;
    /// assert_eq!(ipvs.remove_destination(web, server)?, lvs::Outcome::Deleted);
    /// assert_eq!(ipvs.remove_destination(web, server)?, lvs::Outcome::Unchanged);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Ipvs::add_destination`], except for an existing destination.
    pub fn put_destination(
        &mut self,
        service: impl IntoServiceKey,
        destination: impl Into<Destination>,
    ) -> Result<Outcome> {
        let (service, destination) = (service.into_service_key(), destination.into());
        self.put(Change::AddDestination(service, destination), Change::SetDestination(service, destination))
    }

    /// Sets everything of a destination but its address (`IPVS_CMD_SET_DEST`). Its connections stay.
    /// [`Ipvs::update_destination`] changes one property and keeps the others.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no such service or destination exists; otherwise as
    /// [`Ipvs::add_destination`].
    #[doc(alias = "IPVS_CMD_SET_DEST")]
    pub fn set_destination(&mut self, service: impl IntoServiceKey, destination: impl Into<Destination>) -> Result<()> {
        self.change(Change::SetDestination(service.into_service_key(), destination.into()))
    }

    /// Changes a destination: reads it, calls `edit` on it, and sets it. Everything that `edit` leaves stays as it was,
    /// unless another process changes the destination in between.
    ///
    /// Quiescing a server, for example, keeps its forwarding method and its thresholds:
    /// `ipvs.update_destination(key, address, |server| server.weight = 0)`.
    ///
    /// # Errors
    /// As [`Ipvs::set_destination`] and [`Ipvs::destinations`]; [`is_invalid_input`](Error::is_invalid_input) when `edit`
    /// changes the address.
    pub fn update_destination(
        &mut self,
        service: impl IntoServiceKey,
        address: SocketAddr,
        edit: impl FnOnce(&mut Destination),
    ) -> Result<()> {
        let service = service.into_service_key();
        let operation = || format!("update destination {address} of service {service}");
        if let Some(problem) = destination::address_problem(address) {
            return Err(Error::new(operation(), Cause::InvalidInput(problem)));
        }
        let found = self.destinations(service).map_err(|error| error.during(operation()))?;
        let Some(before) = found.into_iter().map(|info| info.destination).find(|found| found.address == address) else {
            let cause = Cause::precondition(Reason::DestinationNotFound, "no such destination");
            return Err(Error::new(operation(), cause));
        };
        let mut destination = before;
        edit(&mut destination);
        if destination.address != address {
            let cause = Cause::InvalidInput("an update cannot change the address of the destination".into());
            return Err(Error::new(operation(), cause));
        }
        let problem = destination.edited_problem(&before, &service);
        self.set_edited(Change::SetDestination(service, destination), problem)
            .map_err(|error| error.during(operation()))
    }

    /// Deletes a destination of a service (`IPVS_CMD_DEL_DEST`). Packets of its connections are dropped. With the sysctl
    /// [`expire_nodest_conn`](super::settings::EXPIRE_NODEST_CONN) at 1 the kernel forgets the connections instead.
    ///
    /// Draining avoids both: set the weight to 0, and delete the destination when it has no connections.
    ///
    /// ```no_run
    /// # use lvs::ipvs::{Ipvs, ServiceKey};
    /// let mut ipvs = Ipvs::connect()?;
    /// let web = ServiceKey::tcp("10.96.0.10:80".parse()?);
    /// for idle in ipvs.destinations(web)?.iter().filter(|info| info.destination.weight == 0 && info.active_connections == 0) {
    ///     ipvs.delete_destination(web, idle.address())?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no such service or destination exists.
    #[doc(alias = "IPVS_CMD_DEL_DEST")]
    pub fn delete_destination(&mut self, service: impl IntoServiceKey, address: SocketAddr) -> Result<()> {
        self.change(Change::DeleteDestination(service.into_service_key(), address))
    }

    /// Deletes a destination of a service, if the service and the destination exist.
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn remove_destination(&mut self, service: impl IntoServiceKey, address: SocketAddr) -> Result<Outcome> {
        self.remove(Change::DeleteDestination(service.into_service_key(), address))
    }

    /// Sets the counters of a service and its destinations to zero (`IPVS_CMD_ZERO`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no such service exists.
    #[doc(alias = "IPVS_CMD_ZERO")]
    pub fn zero(&mut self, service: impl IntoServiceKey) -> Result<()> {
        self.change(Change::Zero(service.into_service_key()))
    }

    /// Sets all counters to zero (`IPVS_CMD_ZERO`).
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn zero_all(&mut self) -> Result<()> {
        self.change(Change::ZeroAll)
    }

    /// Deletes all services and destinations (`IPVS_CMD_FLUSH`), also those of other programs.
    ///
    /// # Errors
    /// See [`Ipvs`].
    #[doc(alias = "flush")]
    #[doc(alias = "IPVS_CMD_FLUSH")]
    pub fn clear(&mut self) -> Result<()> {
        self.change(Change::Clear)
    }

    /// Returns the three timeouts of connections (`IPVS_CMD_GET_CONFIG`).
    ///
    /// # Errors
    /// See [`Ipvs`].
    #[doc(alias = "IPVS_CMD_GET_CONFIG")]
    pub fn timeouts(&mut self) -> Result<Timeouts> {
        self.ask(Query::Timeouts, |answer| match answer {
            Answer::Timeouts(timeouts) => Some(timeouts),
            _ => None,
        })
    }

    /// Sets the timeouts of connections (`IPVS_CMD_SET_CONFIG`); `None` leaves one as it is.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use lvs::ipvs::{Ipvs, Timeouts};
    /// let udp = Timeouts { udp: Some(Duration::from_secs(60)), ..Timeouts::default() };
    /// Ipvs::connect()?.set_timeouts(&udp)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input) for a timeout that is not a number of whole seconds, from 1 up.
    #[doc(alias = "IPVS_CMD_SET_CONFIG")]
    pub fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<()> {
        self.change(Change::SetTimeouts(*timeouts))
    }

    /// Returns the running sync daemons (`IPVS_CMD_GET_DAEMON`): none (`IP_VS_STATE_NONE`), one or both, the master
    /// first.
    ///
    /// # Errors
    /// See [`Ipvs`].
    #[doc(alias("IPVS_CMD_GET_DAEMON", "IP_VS_STATE_NONE"))]
    pub fn daemons(&mut self) -> Result<Vec<SyncDaemon>> {
        let mut daemons = Vec::new();
        self.run(self.addressed(Query::Daemons), |answer| {
            if let Answer::Daemon(daemon) = answer {
                daemons.push(daemon);
            }
        })?;
        Ok(daemons)
    }

    /// Starts a sync daemon (`IPVS_CMD_NEW_DAEMON`).
    ///
    /// ```no_run
    /// # use std::num::NonZeroU16;
    /// # use lvs::ipvs::{Ipvs, SyncDaemon, SyncState};
    /// let mut ipvs = Ipvs::connect()?;
    /// let daemon = SyncDaemon::new(SyncState::Master, "eth0".parse()?, 7).group("239.0.0.81".parse()?);
    /// ipvs.start_daemon(&daemon.max_length(NonZeroU16::new(1400).ok_or("zero")?))?;
    /// ipvs.stop_daemon(SyncState::Master)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`is_already_exists`](Error::is_already_exists) when a daemon of this state runs;
    /// - [`is_not_found`](Error::is_not_found) when no such interface exists;
    /// - [`is_invalid_input`](Error::is_invalid_input) for a group that is not a multicast address;
    /// - [`Reason::Busy`] when another program has bound the port of a backup.
    #[doc(alias = "IPVS_CMD_NEW_DAEMON")]
    pub fn start_daemon(&mut self, daemon: &SyncDaemon) -> Result<()> {
        self.change(Change::StartDaemon(*daemon))
    }

    /// Stops a sync daemon (`IPVS_CMD_DEL_DAEMON`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no daemon of this state runs.
    #[doc(alias = "IPVS_CMD_DEL_DAEMON")]
    pub fn stop_daemon(&mut self, state: SyncState) -> Result<()> {
        self.change(Change::StopDaemon(state))
    }

    /// Makes one change.
    ///
    /// # Errors
    /// As the method named like the change.
    pub fn change(&mut self, change: Change) -> Result<()> {
        self.run(self.addressed(change), |_| {})
    }

    /// Makes many changes in their order, with many changes in each system call. A refused change does not stop the
    /// others.
    ///
    /// The iterator is consumed while changes are sent. Memory is constant for any number of changes, except for their
    /// failures. If the process is killed meanwhile, the first changes are made and the others are not; no change is
    /// made in part.
    ///
    /// ```no_run
    /// use lvs::ipvs::{Change, Ipvs, Scheduler, Service};
    ///
    /// let mut ipvs = Ipvs::connect()?;
    /// let services = (1..=20_000u16).map(|port| Service::tcp(([10, 0, 0, 1], port).into(), Scheduler::RR));
    /// if let Err(error) = ipvs.batch(services.map(Change::AddService)) {
    ///     for failure in error.failures.iter().filter(|failure| !failure.error.is_already_exists()) {
    ///         eprintln!("{}", failure.error);
    ///     }
    /// }
    /// # Ok::<(), lvs::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`BatchError`] has every change that was not made, with its position and its error. Each error is as documented
    /// at the method named like the change.
    pub fn batch(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<(), BatchError> {
        batch::run(self, changes.into_iter())
    }

    /// Sets values that were read and edited, unless an edited one has a problem.
    fn set_edited(&mut self, change: Change, problem: Option<Cow<'static, str>>) -> Result<()> {
        match problem {
            Some(problem) => Err(Error::new(change, Cause::InvalidInput(problem))),
            None => self.run(ToFamily { trusted: true, ..self.addressed(change) }, |_| {}),
        }
    }

    fn put(&mut self, add: Change, set: Change) -> Result<Outcome> {
        match self.change(add) {
            Err(error) if error.is_already_exists() => self.change(set).map(|()| Outcome::Updated),
            added => added.map(|()| Outcome::Added),
        }
    }

    fn remove(&mut self, delete: Change) -> Result<Outcome> {
        match self.change(delete) {
            Err(error) if error.is_not_found() => Ok(Outcome::Unchanged),
            deleted => deleted.map(|()| Outcome::Deleted),
        }
    }

    /// The request as it is sent: to the family's present number, and checked.
    pub(super) fn addressed<R>(&self, request: R) -> ToFamily<R> {
        ToFamily { family: self.family, request, trusted: false }
    }

    /// Asks for one object.
    fn ask<T>(&mut self, query: Query, read: impl Fn(Answer) -> Option<T>) -> Result<T> {
        let mut found = None;
        self.run(self.addressed(query), |answer| found = read(answer).or(found.take()))?;
        found.ok_or_else(|| Error::new(query, Cause::NoAnswer))
    }

    /// Carries out one request, and calls `each` with each answer. Sends it again if the module was reloaded since the
    /// last one.
    fn run<R: Copy>(&mut self, mut request: ToFamily<R>, mut each: impl FnMut(Answer)) -> Result<()>
    where
        ToFamily<R>: Request,
    {
        let mut read = |_, body: &[u8]| {
            answer(body)?.into_iter().for_each(&mut each);
            Ok(())
        };
        let Some(mut refusal) = self.connection.attempt(&request, &mut read)? else { return Ok(()) };
        if self.module_was_reloaded(&refusal).map_err(|error| error.during(request))? {
            request.family = self.family;
            match self.connection.attempt(&request, read)? {
                Some(again) => refusal = again,
                None => return Ok(()),
            }
        }
        Err(Error::new(request, request.refused(refusal)))
    }

    /// Whether the kernel refused a request because IPVS was reloaded since the last one. Then the family has a new
    /// number, which is used from now on.
    pub(super) fn module_was_reloaded(&mut self, refusal: &Refusal) -> Result<bool> {
        if refusal.errno != ENOENT {
            return Ok(false);
        }
        let before = self.family;
        self.family = find_family(&mut self.connection)?;
        let reloaded = self.family != before;
        if reloaded {
            trace::retry("the module was reloaded");
        }
        Ok(reloaded)
    }
}

/// Looks up the number of the family.
fn find_family(connection: &mut Connection) -> Result<u16> {
    let mut family = None;
    let refused = connection.attempt(&FindFamily, |_, body| {
        family = Some(genl::family_reply(body)?);
        Ok(())
    })?;
    let cause = match (refused, family) {
        (None, Some(family)) => return Ok(family),
        (None, None) => Cause::NoAnswer,
        (Some(refusal), _) if refusal.errno == ENOENT => Cause::FamilyNotFound { family: FAMILY, module: MODULE },
        (Some(refusal), _) => Refused::unexplained(refusal).into(),
    };
    Err(Error::new(FindFamily, cause))
}
