//! The client: operations on the kernel's table.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Instant;

use netlink_sys::protocols::NETLINK_GENERIC;
use nix::libc::ENOENT;

use super::destination;
use super::message::{self, Answer, Change, Info, Query};
use super::numbers::{FAMILY, MODULE};
use super::{
    BatchError, Destination, DestinationInfo, Service, ServiceInfo, ServiceKey, SyncDaemon, SyncState, Timeouts, batch,
};
use crate::error::{Cause, DecodeError, Error, Reason, Refusal, Refused, Result};
use crate::exchange::{Limits, Listed};
use crate::transport::Options;
use crate::transport::blocking::{Connection, Reply};
use crate::wire::genl;
use crate::wire::message::HEADER;

/// The length of a part of a list of destinations: the kernel fills all of it with zeros first. This is the least that it can
/// do with: a page, or 8 KiB where pages are larger (`NLMSG_GOODSIZE`).
const SHORT_LIST: usize = if cfg!(any(target_arch = "x86", target_arch = "x86_64")) { 4096 } else { 8192 };

/// How often a list is read before giving up, when the table changes each time.
const LISTINGS: usize = 10;

/// A datagram of this length at most was not full: even where memory is short the kernel takes a page for it (4 KiB, with
/// some 300 bytes of its own), and no entry is longer than 400 bytes.
const NOT_FULL: usize = 3 << 10;

/// Nor was one of this length at most that is longer than [`SHORT_LIST`]: then the kernel took the most that it takes, 32 KiB.
const LONG_NOT_FULL: usize = 31 << 10;

fn is_not_full(length: usize) -> bool {
    length <= NOT_FULL || (SHORT_LIST < length && length <= LONG_NOT_FULL)
}

/// The object that an answer holds, if it has such a one.
type Read<T> = Result<Option<T>, DecodeError>;

/// A list that was read once.
struct Reading<T> {
    items: Vec<T>,
    /// It is of one moment.
    at_once: bool,
}

/// The IPVS table of a network namespace: that of the thread that connects, for as long as the client lives.
///
/// Two sockets serve all operations: lists of destinations have one of their own. Reading and changing the table both need
/// `CAP_NET_ADMIN` in the initial user namespace; [`is_permission_denied`](Error::is_permission_denied) says so. Only
/// connecting does not. A client does not keep the privilege of the one who opened it: the kernel looks at who sends each
/// request, too.
///
/// Each operation can fail for reasons that are not repeated below: no permission, a time-out
/// ([`Options::timeout`]), lost replies ([`Cause::Overrun`]).
#[derive(Debug)]
pub struct Ipvs {
    pub(super) connection: Connection,
    /// For the lists of destinations, of which there are many short ones.
    short_lists: Connection,
    /// The last one was not short. The next one may be like it, and be taken for long first.
    long_lists: bool,
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

    /// All virtual services (`IPVS_CMD_GET_SERVICE`), in the kernel's order.
    ///
    /// What others change meanwhile is listed or not, but each service that was there all the time is listed, and none
    /// twice: see the [module](super#lists-while-others-change-the-table), also for what that costs. To go through a large
    /// table once, without holding it in memory, use [`Ipvs::stream_services`].
    ///
    /// # Errors
    /// [`is_interrupted`](Error::is_interrupted) when the table changed each time while it was read.
    pub fn services(&mut self) -> Result<Vec<ServiceInfo>> {
        self.within_deadline(None, |ipvs| {
            ipvs.list(Query::Services, message::service, message::service_key, ServiceInfo::key)
        })
    }

    /// All virtual services (`IPVS_CMD_GET_SERVICE`), one after the other as they come from the kernel.
    ///
    /// Memory stays the same whatever the size of the table. When the table changes meanwhile, some may be missing or
    /// come twice: see the [module](super#lists-while-others-change-the-table). Ending early is fine.
    ///
    /// # Errors
    /// See [`Ipvs`]; later ones come as items.
    pub fn stream_services(&mut self) -> Result<Services<'_>> {
        self.queue_query(Query::Services).map_err(|cause| Error::new(Query::Services, cause))?;
        Ok(Services { ipvs: self, ended: false })
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

    /// The destinations of a service (`IPVS_CMD_GET_DEST`), the newest first. What others change meanwhile is as with
    /// [`Ipvs::services`].
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when there is no such service; [`is_interrupted`](Error::is_interrupted)
    /// when the list changed each time while it was read.
    pub fn destinations(&mut self, service: ServiceKey) -> Result<Vec<DestinationInfo>> {
        self.within_deadline(None, |ipvs| ipvs.destinations_of(service))
    }

    fn destinations_of(&mut self, service: ServiceKey) -> Result<Vec<DestinationInfo>> {
        let query = Query::Destinations(service);
        let (read, address) = (message::destination, message::destination_address);
        let destinations = self.list(query, read, address, DestinationInfo::address)?;
        if destinations.is_empty() {
            // The kernel lists nothing for a service that is not there, too.
            self.service(service).map_err(|error| error.during(query))?;
        }
        Ok(destinations)
    }

    /// All virtual services, each with its destinations. A service that is deleted meanwhile is left out.
    ///
    /// It is as [`Ipvs::services`] and then [`Ipvs::destinations`] of each: not all of one moment.
    ///
    /// # Errors
    /// As [`Ipvs::services`].
    pub fn table(&mut self) -> Result<Vec<(ServiceInfo, Vec<DestinationInfo>)>> {
        let now = self.connection.now();
        self.within_deadline(Some(now), Self::table_now)
    }

    fn table_now(&mut self) -> Result<Vec<(ServiceInfo, Vec<DestinationInfo>)>> {
        let row = |body: &[u8]| Ok(message::service(body)?.map(|info| (info, Vec::new())));
        let mut table = self.list(Query::Services, row, message::service_key, |(info, _)| info.key())?;
        let (mut failed, mut bytes) = (None, 0usize);
        let limit = self.connection.largest_listing();
        table.retain_mut(|(info, destinations)| {
            if failed.is_none() {
                match self.destinations_of(info.key()) {
                    Ok(found) => {
                        bytes = bytes.saturating_add(size_of_val(&found[..]));
                        if bytes > limit {
                            failed = Some(Error::new(Query::Services, Cause::ListingTooLong { limit }));
                        }
                        *destinations = found;
                    }
                    Err(error) if error.is_not_found() => return false,
                    Err(error) => failed = Some(error),
                }
            }
            true
        });
        failed.map_or(Ok(table), Err)
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
        // What another program has set, and the kernel holds, is not the caller's doing.
        let check = if before.check().is_ok() { Change::check } else { |_: &Change| Ok(()) };
        self.make(after, check)
    }

    pub(super) fn queue(&mut self, change: &Change) -> Result<(), Cause> {
        self.connection.queue(self.family, 0, |out| change.write(out))
    }

    fn queue_query(&mut self, query: Query) -> Result<(), Cause> {
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

    fn connection_for(&mut self, query: Query) -> &mut Connection {
        let short = matches!(query, Query::Destinations(_)) && !self.long_lists;
        if short { &mut self.short_lists } else { &mut self.connection }
    }

    /// Runs one operation of several requests with one deadline for all.
    fn within_deadline<T>(&mut self, started: Option<Instant>, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.connection.hold_deadline(started);
        self.short_lists.hold_deadline(started);
        let result = run(self);
        self.connection.release_deadline();
        self.short_lists.release_deadline();
        result
    }

    /// Asks for one object.
    fn ask(&mut self, query: Query) -> Result<Answer> {
        let mut found = None;
        self.exchange(query, |answer| found = Some(answer))?;
        found.ok_or_else(|| Error::new(query, Cause::NoAnswer))
    }

    /// Reads a list until what came in parts comes twice just the same: `read` takes an item out of an answer, `read_key`
    /// only what identifies one, and `key` is that of an item.
    ///
    /// A datagram is of one moment, but when it is full the kernel goes on behind it by position. If something in front of
    /// that was added meanwhile, an item comes again; if something was deleted, one is left out without a sign.
    fn list<T, K: Eq + Hash>(
        &mut self,
        query: Query,
        read: impl Fn(&[u8]) -> Read<T>,
        read_key: impl Fn(&[u8]) -> Read<K>,
        key: impl Fn(&T) -> K,
    ) -> Result<Vec<T>> {
        let mut keys = None;
        for _ in 0..LISTINGS / 2 {
            let items = match self.read_once(query, &read)? {
                Some(Reading { items, at_once: true }) => return Ok(items),
                Some(reading) => reading.items,
                None => {
                    keys = None;
                    continue;
                }
            };
            let same = |keys: &Option<Vec<K>>| {
                keys.as_ref().is_some_and(|keys| {
                    keys.len() == items.len()
                        && keys.iter().zip(&items).all(|(one, other)| *one == key(other))
                        && keys.iter().collect::<HashSet<_>>().len() == keys.len()
                })
            };
            if same(&keys) {
                return Ok(items);
            }
            keys = self.read_once(query, &read_key)?.map(|reading| reading.items);
            if same(&keys) {
                return Ok(items);
            }
        }
        Err(Error::new(query, Cause::Interrupted))
    }

    /// Reads a list; `None` when the kernel says that it changed meanwhile.
    fn read_once<T>(&mut self, query: Query, read: &impl Fn(&[u8]) -> Read<T>) -> Result<Option<Reading<T>>> {
        let mut items = Vec::new();
        let (mut first, mut at_once, mut long) = (None, true, false);
        self.queue_query(query).map_err(|cause| Error::new(query, cause))?;
        loop {
            let item = match self.answer(query, read) {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error) if error.is_interrupted() => return Ok(None),
                Err(error) => return Err(error),
            };
            let connection = self.connection_for(query);
            let (number, length) = connection.datagram();
            if items.is_empty() {
                // The others are as long as the first: memory that is not taken need not be filled with zeros.
                items.reserve_exact(length / (HEADER + connection.message().len()));
            }
            items.push(item);
            at_once &= *first.get_or_insert(number) == number && is_not_full(length);
            long |= length > NOT_FULL;
        }
        if let Query::Destinations(_) = query {
            self.long_lists = long;
        }
        Ok(Some(Reading { items, at_once }))
    }

    /// Asks, and gives every answer to `each`.
    fn exchange(&mut self, query: Query, mut each: impl FnMut(Answer)) -> Result<()> {
        self.queue_query(query).map_err(|cause| Error::new(query, cause))?;
        while let Some(answer) = self.answer(query, message::answer)? {
            each(answer);
        }
        Ok(())
    }

    /// The next answer to a query that is on its way of which `read` makes something; `None` when there are no more.
    #[inline]
    fn answer<T>(&mut self, query: Query, read: impl Fn(&[u8]) -> Read<T>) -> Result<Option<T>> {
        let mut retried = false;
        loop {
            let failed = |cause| Error::new(query, cause);
            let connection = self.connection_for(query);
            match connection.next_of_list() {
                Some(Listed::Message { .. }) => {}
                Some(Listed::End) => return Ok(None),
                None => match connection.reply().map_err(failed)? {
                    Reply::Finished => return Ok(None),
                    Reply::Message(..) => {}
                    Reply::Refused(_, refusal) => {
                        if retried || !self.module_was_reloaded(&refusal).map_err(failed)? {
                            return Err(failed(query.refused(refusal).into()));
                        }
                        retried = true;
                        self.queue_query(query).map_err(failed)?;
                        continue;
                    }
                },
            }
            match read(connection.message()) {
                Ok(None) => {}
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    connection.abandon();
                    return Err(failed(error.into()));
                }
            }
        }
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

/// The virtual services of a table, one after the other: [`Ipvs::stream_services`].
#[derive(Debug)]
pub struct Services<'a> {
    ipvs: &'a mut Ipvs,
    ended: bool,
}

impl Iterator for Services<'_> {
    type Item = Result<ServiceInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.ipvs.connection.renew_deadline();
        let next = self.ipvs.answer(Query::Services, message::service).transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Drop for Services<'_> {
    fn drop(&mut self) {
        self.ipvs.connection.abandon();
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
