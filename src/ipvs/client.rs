//! The client: operations on the kernel's table.

use std::net::SocketAddr;

use netlink_sys::protocols::NETLINK_GENERIC;
use nix::libc::ENOENT;

use super::destination;
use super::listing::SHORT_LIST;
use super::message::{Answer, Change, Info, Query};
use super::numbers::{FAMILY, MODULE};
use super::{BatchError, Destination, Service, ServiceInfo, ServiceKey, SyncDaemon, SyncState, Timeouts, batch};
use crate::error::{Cause, Error, Reason, Refusal, Refused, Result};
use crate::exchange::Limits;
use crate::transport::Options;
use crate::transport::blocking::{Connection, Reply};
use crate::wire::genl;

/// The IPVS table of a network namespace: that of the thread that connects, for as long as the client lives.
///
/// Two sockets serve all operations: lists of destinations have one of their own. Reading and changing the table both need
/// `CAP_NET_ADMIN` in the initial user namespace; [`is_permission_denied`](Error::is_permission_denied) says so. Only
/// connecting does not. A client does not keep the privilege of the one who opened it: the kernel looks at who sends each
/// request, too.
///
/// After `fork`, only one of the two processes may use the client: both would receive from one socket, and an answer that
/// the other process took is a time-out.
///
/// Each operation can fail for reasons that are not repeated below: no permission, a time-out
/// ([`Options::timeout`]), lost replies ([`Cause::Overrun`]).
#[derive(Debug)]
pub struct Ipvs {
    pub(super) connection: Connection,
    /// For the lists of destinations, of which there are many short ones.
    pub(super) short_lists: Connection,
    /// The last one was not short. The next one may be like it, and be taken for long first.
    pub(super) long_lists: bool,
    /// The family's number, which is another one after each loading of the module.
    family: u16,
    /// Room for the changes of a batch; empty in between.
    pub(super) on_their_way: Vec<(usize, Change)>,
}

impl Ipvs {
    /// Opens a socket and finds the kernel's IPVS, which the kernel loads if it can.
    ///
    /// # Errors
    /// [`is_unavailable`](Error::is_unavailable) when the kernel has no IPVS.
    pub fn connect() -> Result<Self> {
        Self::connect_with(&Options::default())
    }

    /// As [`Ipvs::connect`], with other buffers or another time-out.
    ///
    /// # Errors
    /// As [`Ipvs::connect`].
    pub fn connect_with(options: &Options) -> Result<Self> {
        Self::over(|inbox| Connection::with_inbox(NETLINK_GENERIC, options, inbox))
    }

    pub(crate) fn over(open: impl Fn(usize) -> Result<Connection, Cause>) -> Result<Self> {
        let failed = |cause| Error::new("connect to IPVS", cause);
        let mut connection = open(Limits::default().inbox).map_err(failed)?;
        let short_lists = open(SHORT_LIST).map_err(failed)?;
        let family = find_family(&mut connection).map_err(failed)?;
        Ok(Self { connection, short_lists, long_lists: false, family, on_their_way: Vec::new() })
    }

    /// The version of the kernel's IPVS, and the size of its connection table (`IPVS_CMD_GET_INFO`).
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn info(&mut self) -> Result<Info> {
        match self.ask(Query::Info)? {
            Answer::Info(info) => Ok(info),
            _ => Err(Error::new(Query::Info, Cause::NoAnswer)),
        }
    }

    /// One virtual service (`IPVS_CMD_GET_SERVICE`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when there is no such service.
    pub fn service(&mut self, key: ServiceKey) -> Result<ServiceInfo> {
        let query = Query::Service(key);
        match self.ask(query)? {
            Answer::Service(info) => Ok(info),
            _ => Err(Error::new(query, Cause::NoAnswer)),
        }
    }

    /// Adds a virtual service (`IPVS_CMD_NEW_SERVICE`).
    ///
    /// # Errors
    /// [`is_already_exists`](Error::is_already_exists) when a service with this key is there;
    /// [`is_unavailable`](Error::is_unavailable) when the scheduler's or the persistence engine's module cannot be
    /// loaded; [`is_invalid_input`](Error::is_invalid_input) before anything is sent, for what the kernel would refuse
    /// or misunderstand.
    pub fn add_service(&mut self, service: &Service) -> Result<()> {
        self.change(Change::AddService(*service))
    }

    /// Replaces everything that is set of a virtual service but its key (`IPVS_CMD_SET_SERVICE`). Connections and
    /// destinations stay. To change one thing and keep the others, use [`Ipvs::update_service`].
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when there is no such service; otherwise as [`Ipvs::add_service`]. After
    /// a refusal the service is as it was.
    pub fn replace_service(&mut self, service: &Service) -> Result<()> {
        self.change(Change::ReplaceService(*service))
    }

    /// Changes a virtual service: reads it, lets `edit` change it, and replaces it. What `edit` leaves alone stays as
    /// it was, unless another process changes the service between the reading and the replacing.
    ///
    /// # Errors
    /// As [`Ipvs::replace_service`]; [`is_invalid_input`](Error::is_invalid_input) when `edit` changes the key.
    pub fn update_service(&mut self, key: ServiceKey, edit: impl FnOnce(&mut Service)) -> Result<()> {
        let operation = || format!("update service {key}");
        let before = self.service(key).map_err(|error| error.during(operation()))?.service;
        let mut service = before;
        edit(&mut service);
        if service.key != key {
            let cause = Cause::InvalidInput("an update cannot change what identifies the service".into());
            return Err(Error::new(operation(), cause));
        }
        self.make_edited(Change::ReplaceService(before), Change::ReplaceService(service))
            .map_err(|error| error.during(operation()))
    }

    /// Deletes a virtual service and its destinations (`IPVS_CMD_DEL_SERVICE`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when there is no such service.
    pub fn delete_service(&mut self, key: ServiceKey) -> Result<()> {
        self.change(Change::DeleteService(key))
    }

    /// Adds a destination to a service (`IPVS_CMD_NEW_DEST`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when there is no such service;
    /// [`is_already_exists`](Error::is_already_exists) when it has this destination;
    /// [`is_invalid_input`](Error::is_invalid_input) before anything is sent, for what the kernel would refuse or
    /// misunderstand.
    pub fn add_destination(&mut self, service: ServiceKey, destination: &Destination) -> Result<()> {
        self.change(Change::AddDestination(service, *destination))
    }

    /// Replaces everything that is set of a destination but its address (`IPVS_CMD_SET_DEST`). Its connections stay.
    /// To change one thing and keep the others, use [`Ipvs::update_destination`].
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when there is no such service or destination; otherwise as
    /// [`Ipvs::add_destination`].
    pub fn replace_destination(&mut self, service: ServiceKey, destination: &Destination) -> Result<()> {
        self.change(Change::ReplaceDestination(service, *destination))
    }

    /// Changes a destination: reads it, lets `edit` change it, and replaces it. What `edit` leaves alone stays as it
    /// was, unless another process changes the destination between the reading and the replacing.
    ///
    /// Draining a server, for example, keeps its forwarding method and its thresholds:
    /// `ipvs.update_destination(key, address, |server| server.weight = 0)`.
    ///
    /// # Errors
    /// As [`Ipvs::replace_destination`]; [`is_invalid_input`](Error::is_invalid_input) when `edit` changes the address.
    pub fn update_destination(
        &mut self,
        service: ServiceKey,
        address: SocketAddr,
        edit: impl FnOnce(&mut Destination),
    ) -> Result<()> {
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
            let cause = Cause::InvalidInput("an update cannot change what identifies the destination".into());
            return Err(Error::new(operation(), cause));
        }
        self.make_edited(Change::ReplaceDestination(service, before), Change::ReplaceDestination(service, destination))
            .map_err(|error| error.during(operation()))
    }

    /// Deletes a destination of a service (`IPVS_CMD_DEL_DEST`). Its connections are cut off: to let them end, set
    /// its weight to 0 first and delete it when it has none.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when there is no such service or destination.
    pub fn delete_destination(&mut self, service: ServiceKey, address: SocketAddr) -> Result<()> {
        self.change(Change::DeleteDestination(service, address))
    }

    /// Sets the counters of a service and its destinations to zero (`IPVS_CMD_ZERO`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when there is no such service.
    pub fn zero(&mut self, service: ServiceKey) -> Result<()> {
        self.change(Change::Zero(service))
    }

    /// Sets all counters to zero (`IPVS_CMD_ZERO`).
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn zero_all(&mut self) -> Result<()> {
        self.change(Change::ZeroAll)
    }

    /// Deletes all services and destinations (`IPVS_CMD_FLUSH`), also those that others made.
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn flush(&mut self) -> Result<()> {
        self.change(Change::Flush)
    }

    /// How long connections are remembered (`IPVS_CMD_GET_CONFIG`): all three.
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn timeouts(&mut self) -> Result<Timeouts> {
        match self.ask(Query::Timeouts)? {
            Answer::Timeouts(timeouts) => Ok(timeouts),
            _ => Err(Error::new(Query::Timeouts, Cause::NoAnswer)),
        }
    }

    /// Sets how long connections are remembered (`IPVS_CMD_SET_CONFIG`); what is `None` stays as it is.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input) for what is not a number of whole seconds from 1 up.
    pub fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<()> {
        self.change(Change::SetTimeouts(*timeouts))
    }

    /// The sync daemons that run (`IPVS_CMD_GET_DAEMON`): none, one or both, the master first.
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn daemons(&mut self) -> Result<Vec<SyncDaemon>> {
        let mut daemons = Vec::new();
        self.exchange(Query::Daemons, |answer| {
            if let Answer::Daemon(daemon) = answer {
                daemons.push(daemon);
            }
        })?;
        Ok(daemons)
    }

    /// Starts a sync daemon (`IPVS_CMD_NEW_DAEMON`).
    ///
    /// # Errors
    /// [`is_already_exists`](Error::is_already_exists) when one of its side runs; [`is_not_found`](Error::is_not_found)
    /// when there is no such interface; [`is_invalid_input`](Error::is_invalid_input) for a group that is none;
    /// [`Reason::Busy`] when another program has a backup's port.
    pub fn start_daemon(&mut self, daemon: &SyncDaemon) -> Result<()> {
        self.change(Change::StartDaemon(*daemon))
    }

    /// Stops a sync daemon (`IPVS_CMD_DEL_DAEMON`).
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when none of its side runs.
    pub fn stop_daemon(&mut self, state: SyncState) -> Result<()> {
        self.change(Change::StopDaemon(state))
    }

    /// Makes one change.
    ///
    /// # Errors
    /// As the method named like the change.
    pub fn change(&mut self, change: Change) -> Result<()> {
        self.make(change, Change::check)
    }

    /// Makes many changes, in their order, many with each system call. One that is refused does not stop the others.
    ///
    /// The changes are taken one by one and sent as they come, so an iterator of any length runs in constant memory, but
    /// for the failures that it leads to. When the process is killed on the way, the
    /// first changes are made, none by half, and the rest is not.
    ///
    /// ```no_run
    /// use lvs::ipvs::{Change, Ipvs, Scheduler, Service};
    ///
    /// let mut ipvs = Ipvs::connect()?;
    /// let services = (1..=20_000u16).map(|port| Service::tcp(([10, 0, 0, 1], port).into(), Scheduler::RR));
    /// if let Err(error) = ipvs.batch(services.map(Change::AddService)) {
    ///     for failure in error.failures.iter().filter(|failure| !failure.error.is_already_exists()) {
    ///         eprintln!("{}: {}", failure.index, failure.error);
    ///     }
    /// }
    /// # Ok::<(), lvs::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`BatchError`] has every change that was not made, with its position and its error; each is the one of the
    /// method named like the change.
    pub fn batch(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<(), BatchError> {
        batch::run(self, changes.into_iter(), Change::check)
    }

    fn make(&mut self, change: Change, check: batch::Check) -> Result<()> {
        if let Change::StopDaemon(_) = change {
            // A batch knows how to see whether it was stopped.
            let stopped = batch::run(self, std::iter::once(change), check);
            return stopped.map_err(|mut error| match error.failures.pop() {
                Some(failure) => failure.error.alone(),
                None => error.interruption.unwrap_or_else(|| Error::new(change, Cause::NoAnswer)),
            });
        }
        check(&change)?;
        let failed = |cause| Error::new(change, cause);
        let mut retried = false;
        loop {
            self.queue(&change).map_err(failed)?;
            let mut refused = None;
            self.connection.settle(|_, _, _| Ok(()), |_, refusal| refused = Some(refusal)).map_err(failed)?;
            let Some(refusal) = refused else { return Ok(()) };
            if retried || !self.module_was_reloaded(&refusal).map_err(failed)? {
                return Err(Error::new(change, change.refused(refusal)));
            }
            retried = true;
        }
    }

    /// Makes a change of what was read as `before`.
    fn make_edited(&mut self, before: Change, after: Change) -> Result<()> {
        // Another program may have set a value that this crate would reject; do not validate it again.
        let is_old = before.problem().is_some_and(|problem| after.problem() == Some(problem));
        let check = if is_old { |_: &Change| Ok(()) } else { Change::check };
        self.make(after, check)
    }

    pub(super) fn queue(&mut self, change: &Change) -> Result<(), Cause> {
        self.connection.queue(self.family, 0, |out| change.write(out))
    }

    pub(super) fn queue_query(&mut self, query: Query) -> Result<(), Cause> {
        if let Some(problem) = query.problem() {
            return Err(Cause::InvalidInput(problem));
        }
        let family = self.family;
        let connection = self.connection_for(query);
        if query.is_dump() {
            connection.queue_dump(family, |out| query.write(out))
        } else {
            connection.queue(family, 0, |out| query.write(out))
        }
    }

    pub(super) fn connection_for(&mut self, query: Query) -> &mut Connection {
        let short = matches!(query, Query::Destinations(_)) && !self.long_lists;
        if short { &mut self.short_lists } else { &mut self.connection }
    }

    /// Asks for one object.
    fn ask(&mut self, query: Query) -> Result<Answer> {
        let mut found = None;
        self.exchange(query, |answer| found = Some(answer))?;
        found.ok_or_else(|| Error::new(query, Cause::NoAnswer))
    }

    /// Whether the kernel refused a request because IPVS was unloaded and loaded again since the last one: then the
    /// family has a new number, which is taken over.
    pub(super) fn module_was_reloaded(&mut self, refusal: &Refusal) -> Result<bool, Cause> {
        if refusal.errno != ENOENT {
            return Ok(false);
        }
        let before = self.family;
        self.family = find_family(&mut self.connection)?;
        Ok(self.family != before)
    }
}

fn find_family(connection: &mut Connection) -> Result<u16, Cause> {
    connection.queue(genl::CONTROLLER, 0, |out| out.raw(&genl::family_request(FAMILY)))?;
    let mut family = None;
    loop {
        match connection.reply()? {
            Reply::Finished => return family.ok_or(Cause::NoAnswer),
            Reply::Message(..) => match genl::family_reply(connection.message()) {
                Ok(number) => family = Some(number),
                Err(error) => {
                    connection.abandon();
                    return Err(error.into());
                }
            },
            Reply::Refused(_, refusal) if refusal.errno == ENOENT => {
                return Err(Cause::FamilyNotFound { family: FAMILY, module: MODULE });
            }
            Reply::Refused(_, refusal) => return Err(Refused::unexplained(refusal).into()),
        }
    }
}
