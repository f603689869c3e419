//! Listings of services and destinations: read until two readings agree, merged from several, or streamed.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Instant;

use super::message;
use super::request::{Query, ToFamily};
use super::{DestinationInfo, IntoServiceKey, Ipvs, ServiceInfo, ServiceKey};
use crate::connection::Connection;
use crate::error::{Cause, DecodeError, Error, Result};
use crate::hash::KeySet;
use crate::trace;
use crate::wire::message::HEADER;

/// Length of a dump datagram with destinations, which the kernel fills with zeros first. The kernel needs at least a
/// page, or 8 KiB where pages are larger (`NLMSG_GOODSIZE`).
pub(super) const SHORT_LIST: usize = if cfg!(any(target_arch = "x86", target_arch = "x86_64")) { 4096 } else { 8192 };

/// Readings of a dump, at most, when the table changes during each.
const LISTINGS: usize = 10;

/// Readings that a best-effort listing merges after the first two.
const MERGED: usize = 4;

/// Length up to which a datagram was certainly not full. The kernel allocates at least a page of 4 KiB for it, even if
/// memory is scarce. It needs some 300 bytes of it, and no entry is longer than 400 bytes.
const NOT_FULL: usize = 3 << 10;

/// Nor was one of this length at most that is longer than [`SHORT_LIST`]: then the kernel took its maximum, 32 KiB.
const LONG_NOT_FULL: usize = 31 << 10;

fn is_not_full(length: usize) -> bool {
    length <= NOT_FULL || (SHORT_LIST < length && length <= LONG_NOT_FULL)
}

/// Length of the datagrams of a dump: that of the buffer of the socket that reads it.
#[derive(Clone, Copy)]
enum Parts {
    /// Up to 32 KiB.
    Long,
    /// Up to [`SHORT_LIST`].
    Short,
}

impl Parts {
    /// Returns the length for the reading after one of this many items. Before each datagram the kernel counts the
    /// items of all earlier ones, so that short datagrams of long dumps would be slow.
    fn others(self, items: usize) -> Self {
        if matches!(self, Self::Long) && items <= 512 { Self::Short } else { Self::Long }
    }
}

/// Whether an answer could be read, and its object was appended if it has one of the kind.
type Read = Result<(), DecodeError>;

fn read_service_key(body: &[u8], keys: &mut Vec<ServiceKey>) -> Read {
    message::service_key(body, |key| keys.push(key))
}

fn read_destination(body: &[u8], infos: &mut Vec<DestinationInfo>) -> Read {
    message::destination(body, |info| infos.push(info))
}

fn read_address(body: &[u8], addresses: &mut Vec<SocketAddr>) -> Read {
    message::destination_address(body, |address| addresses.push(address))
}

/// A service and its destinations.
type Row = (ServiceInfo, Vec<DestinationInfo>);

/// One reading of a dump.
struct Reading<T> {
    items: Vec<T>,
    /// Items that could not be decoded.
    errors: Vec<Error>,
    /// All of it arrived in one datagram.
    at_once: bool,
    /// The kernel reported a change of its table during the dump.
    interrupted: bool,
}

/// A listing that may have been read while other processes changed the table: [`Ipvs::table_best_effort`].
///
/// ```no_run
/// let table = lvs::ipvs::Ipvs::connect()?.table_best_effort()?;
/// for (service, destinations) in &table.items {
///     println!("{}: {} destinations", service.key(), destinations.len());
/// }
/// if table.changing || !table.errors.is_empty() {
///     eprintln!("the table kept changing, or has items that cannot be read: {:?}", table.errors);
/// }
/// # Ok::<(), lvs::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct BestEffort<T> {
    /// Each object once, as the newest reading has it.
    pub items: Vec<T>,
    /// Items that could not be decoded, and the error that ended further readings.
    pub errors: Vec<Error>,
    /// The table changed during every reading: an object that was added or deleted meanwhile may be listed or not, and
    /// no two readings confirm that nothing is missing.
    pub changing: bool,
}

impl Ipvs {
    /// Returns all virtual services (`IPVS_CMD_GET_SERVICE`), in the kernel's order.
    ///
    /// A service that exists during the whole call is listed, apart from one case, and no service is listed twice: see
    /// [the module](super#listings-while-others-change-the-table). [`Ipvs::stream_services`] reads a large table once, in
    /// constant memory. [`Ipvs::services_best_effort`] also succeeds while other processes change the table.
    ///
    /// # Errors
    /// [`is_interrupted`](Error::is_interrupted) when the table changed during every reading.
    pub fn services(&mut self) -> Result<Vec<ServiceInfo>> {
        self.within_deadline(None, |ipvs| {
            let read = |body: &[u8], infos: &mut Vec<_>| message::service(body, |info| infos.push(info));
            ipvs.list(Query::Services, read, read_service_key, ServiceInfo::key)
        })
    }

    /// Returns all virtual services, also if other processes keep changing the table or a service cannot be decoded.
    ///
    /// The result of an undisturbed table is that of [`Ipvs::services`]. Otherwise several readings are merged, and the
    /// result reports the disturbance.
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn services_best_effort(&mut self) -> Result<BestEffort<ServiceInfo>> {
        self.within_deadline(None, |ipvs| ipvs.services_merged(|info| info, |info| info))
    }

    /// Streams all virtual services (`IPVS_CMD_GET_SERVICE`) as they arrive from the kernel. The request is sent at once.
    ///
    /// Uses constant memory, and may be dropped early. When the table changes meanwhile, some services may be missing
    /// or listed twice: see [the module](super#listings-while-others-change-the-table). A service that cannot be
    /// decoded is an item that is an error; the next item is the next service. Any other error is the last item.
    ///
    /// The stream borrows the client: connect a second client for other operations meanwhile. [`Ipvs::table`] also
    /// reads the destinations.
    ///
    /// # Errors
    /// See [`Ipvs`]; later ones are items.
    pub fn stream_services(&mut self) -> Result<Services<'_>> {
        let request = self.start(Query::Services, Parts::Long)?;
        Ok(Services { ipvs: self, request, ended: false })
    }

    /// Returns the destinations of a service (`IPVS_CMD_GET_DEST`), the newest first. Changes meanwhile are treated as
    /// by [`Ipvs::services`].
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no such service exists; [`is_interrupted`](Error::is_interrupted)
    /// when the destinations changed during every reading.
    pub fn destinations(&mut self, service: impl IntoServiceKey) -> Result<Vec<DestinationInfo>> {
        let service = service.into_service_key();
        self.within_deadline(None, |ipvs| ipvs.destinations_of(service))
    }

    /// Returns the destinations of a service, also if other processes keep changing them or one cannot be decoded: see
    /// [`Ipvs::services_best_effort`].
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when no such service exists.
    pub fn destinations_best_effort(&mut self, service: impl IntoServiceKey) -> Result<BestEffort<DestinationInfo>> {
        let service = service.into_service_key();
        self.within_deadline(None, |ipvs| ipvs.destinations_merged(service))
    }

    /// Returns all virtual services, each with its destinations. A service that is deleted meanwhile is left out.
    ///
    /// It calls [`Ipvs::services`], then [`Ipvs::destinations`] for each, so that the result is no snapshot.
    ///
    /// # Errors
    /// As [`Ipvs::services`].
    pub fn table(&mut self) -> Result<Vec<(ServiceInfo, Vec<DestinationInfo>)>> {
        let now = self.connection.now();
        self.within_deadline(Some(now), |ipvs| {
            let read = |body: &[u8], rows: &mut Vec<_>| message::service(body, |info| rows.push((info, Vec::new())));
            let table = ipvs.list(Query::Services, read, read_service_key, |(info, _): &Row| info.key())?;
            ipvs.fill(table, Self::destinations_of)
        })
    }

    /// Returns all virtual services, each with its destinations, also if other processes keep changing them: see
    /// [`Ipvs::services_best_effort`]. A service that is deleted meanwhile is left out.
    ///
    /// # Errors
    /// See [`Ipvs`].
    pub fn table_best_effort(&mut self) -> Result<BestEffort<(ServiceInfo, Vec<DestinationInfo>)>> {
        let now = self.connection.now();
        self.within_deadline(Some(now), |ipvs| {
            let row = |info| (info, Vec::new());
            let BestEffort { items, mut errors, mut changing } = ipvs.services_merged(row, |(info, _)| info)?;
            let items = ipvs.fill(items, |ipvs, key| {
                let found = ipvs.destinations_merged(key)?;
                errors.extend(found.errors);
                changing |= found.changing;
                Ok(found.items)
            })?;
            Ok(BestEffort { items, errors, changing })
        })
    }

    /// Reads the destinations of each service, and drops the services that are gone.
    fn fill(
        &mut self,
        mut table: Vec<Row>,
        mut read: impl FnMut(&mut Self, ServiceKey) -> Result<Vec<DestinationInfo>>,
    ) -> Result<Vec<Row>> {
        let (mut failed, mut bytes) = (None, 0usize);
        let limit = self.connection.largest_listing();
        table.retain_mut(|(info, destinations)| {
            if failed.is_none() {
                match read(self, info.key()) {
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

    fn destinations_of(&mut self, service: ServiceKey) -> Result<Vec<DestinationInfo>> {
        let query = Query::Destinations(service);
        let destinations = self.list(query, read_destination, read_address, DestinationInfo::address)?;
        self.unless_missing(service, destinations.is_empty())?;
        Ok(destinations)
    }

    fn destinations_merged(&mut self, service: ServiceKey) -> Result<BestEffort<DestinationInfo>> {
        let query = Query::Destinations(service);
        let merged = self.merge(query, read_destination, read_address, DestinationInfo::address)?;
        self.unless_missing(service, merged.listing.items.is_empty())?;
        Ok(merged.listing)
    }

    /// The kernel lists nothing also for a service that does not exist.
    fn unless_missing(&mut self, service: ServiceKey, listed_nothing: bool) -> Result<()> {
        if listed_nothing {
            self.service(service).map_err(|error| error.during(Query::Destinations(service)))?;
        }
        Ok(())
    }

    /// Reads all services as items: `new` makes an item, and `info` is its service.
    fn services_merged<T>(
        &mut self,
        new: impl Fn(ServiceInfo) -> T,
        info: impl Fn(&T) -> &ServiceInfo,
    ) -> Result<BestEffort<T>> {
        let read = |body: &[u8], items: &mut Vec<_>| message::service(body, |info| items.push(new(info)));
        let key = |item: &T| info(item).key();
        let Merged { mut listing, newest } = self.merge(Query::Services, read, read_service_key, key)?;
        if listing.changing {
            // A service that only an older reading has may be deleted by now.
            let mut ended = None;
            listing.items.retain_mut(|item| {
                if ended.is_some() || newest.contains(&key(item)) {
                    return true;
                }
                match self.service(key(item)) {
                    Ok(found) => *item = new(found),
                    Err(error) if error.is_not_found() => return false,
                    Err(error) => ended = Some(error),
                }
                true
            });
            listing.errors.extend(ended);
        }
        Ok(listing)
    }

    /// Reads a dump until two readings agree: `read` takes an item out of an answer, `read_key` only its identity, and
    /// `key` is the identity of an item.
    ///
    /// A datagram is of one moment, but after a full one the kernel continues by position. If an entry in front of that
    /// position was added meanwhile, an item arrives again; if one was deleted, an item is left out without a sign. Two
    /// readings of a short list that follow each other have parts of different lengths: they do not leave out the same
    /// item.
    fn list<T, K: Eq + Hash>(
        &mut self,
        query: Query,
        read: impl Fn(&[u8], &mut Vec<T>) -> Read,
        read_key: impl Fn(&[u8], &mut Vec<K>) -> Read,
        key: impl Fn(&T) -> K,
    ) -> Result<Vec<T>> {
        let mut keys = None;
        for reading in 0..LISTINGS / 2 {
            if reading > 0 {
                trace::retry("two readings of the table differ");
            }
            let parts = self.parts_of(query);
            let mut reading = Reading::empty();
            self.read_once(query, parts, &read, &mut reading)?;
            reading.decoded()?;
            if reading.interrupted {
                keys = None;
                continue;
            }
            if reading.at_once || agree(keys.as_deref(), &reading.items, &key) {
                return Ok(reading.items);
            }
            let mut again = Reading::empty();
            self.read_once(query, parts.others(reading.items.len()), &read_key, &mut again)?;
            again.decoded()?;
            keys = (!again.interrupted).then_some(again.items);
            if agree(keys.as_deref(), &reading.items, &key) {
                return Ok(reading.items);
            }
        }
        Err(Error::new(query, Cause::Interrupted))
    }

    /// Reads a dump as [`Ipvs::list`] does, or merges a few readings by identity if the table keeps changing.
    fn merge<T, K: Copy + Eq + Hash>(
        &mut self,
        query: Query,
        read: impl Fn(&[u8], &mut Vec<T>) -> Read,
        read_key: impl Fn(&[u8], &mut Vec<K>) -> Read,
        key: impl Fn(&T) -> K,
    ) -> Result<Merged<T, K>> {
        let parts = self.parts_of(query);
        let mut first = Reading::empty();
        self.read_once(query, parts, &read, &mut first)?;
        let others = parts.others(first.items.len());
        if first.at_once && !first.interrupted {
            return Ok(Merged::of(first));
        }
        let (mut ended, mut before, mut readings) = (None, None, 0);
        let mut again = Reading::empty();
        match self.read_once(query, others, &read_key, &mut again) {
            Ok(()) => before = (!again.interrupted).then_some(again.items),
            Err(error) => ended = Some(error),
        }
        if !first.interrupted && agree(before.as_deref(), &first.items, &key) {
            return Ok(Merged::of(first));
        }
        let mut places = HashMap::new();
        let mut merged = Merged { listing: BestEffort::empty(), newest: HashSet::new() };
        merged.add(first, &mut places, &key);
        while ended.is_none() && readings < MERGED {
            readings += 1;
            let parts = if readings % 2 == 1 { parts } else { others };
            let mut reading = Reading::empty();
            if let Err(error) = self.read_once(query, parts, &read, &mut reading) {
                ended = Some(error);
                break;
            }
            if !reading.interrupted && (reading.at_once || agree(before.as_deref(), &reading.items, &key)) {
                return Ok(Merged::of(reading));
            }
            before = (!reading.interrupted).then(|| reading.items.iter().map(&key).collect());
            merged.add(reading, &mut places, &key);
        }
        merged.listing.errors.extend(ended);
        Ok(merged)
    }

    /// The parts in which a list is read first.
    fn parts_of(&self, query: Query) -> Parts {
        match query {
            Query::Destinations(_) if !self.long_lists => Parts::Short,
            _ => Parts::Long,
        }
    }

    fn reader(&mut self, parts: Parts) -> &mut Connection {
        match parts {
            Parts::Long => &mut self.connection,
            Parts::Short => &mut self.short_lists,
        }
    }

    /// Reads a dump once, into an empty reading.
    fn read_once<T>(
        &mut self,
        query: Query,
        parts: Parts,
        read: &impl Fn(&[u8], &mut Vec<T>) -> Read,
        reading: &mut Reading<T>,
    ) -> Result<()> {
        let mut request = self.addressed(query);
        self.reader(parts).start(&request)?;
        let mut retried = false;
        loop {
            let done = self.reader(parts).read_dump(&request, |body, behind| {
                if reading.items.capacity() == 0 {
                    // The other messages are as long as the first. Memory that is not reserved need not be filled with
                    // zeros.
                    reading.items = Vec::with_capacity(1 + behind / (HEADER + body.len()));
                }
                if let Err(error) = read(body, &mut reading.items) {
                    reading.errors.push(Error::new(request, error));
                }
            });
            match done {
                Ok((datagrams, longest)) => {
                    reading.at_once = datagrams < 2 && is_not_full(longest);
                    if let Query::Destinations(_) = query {
                        self.long_lists = longest > NOT_FULL;
                    }
                    return Ok(());
                }
                Err(error) if error.is_interrupted() => {
                    reading.interrupted = true;
                    return Ok(());
                }
                Err(error) if retried => return Err(error),
                Err(error) => self.start_again(&mut request, parts, error)?,
            }
            retried = true;
        }
    }

    /// Queues a dump.
    fn start(&mut self, query: Query, parts: Parts) -> Result<ToFamily<Query>> {
        let request = self.addressed(query);
        self.reader(parts).start(&request)?;
        Ok(request)
    }

    /// Queues a dump again, if the module was loaded anew since the last request.
    #[cold]
    fn start_again(&mut self, request: &mut ToFamily<Query>, parts: Parts, error: Error) -> Result<()> {
        let reloaded = match error.cause() {
            Cause::Refused(refused) => self.module_was_reloaded(&refused.refusal),
            _ => Ok(false),
        };
        if !reloaded.map_err(|error| error.during(request.request))? {
            return Err(error);
        }
        *request = self.start(request.request, parts)?;
        Ok(())
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
}

impl<T> Reading<T> {
    fn empty() -> Self {
        Self { items: Vec::new(), errors: Vec::new(), at_once: false, interrupted: false }
    }

    /// # Errors
    /// The first item that could not be decoded.
    fn decoded(&mut self) -> Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors.swap_remove(0)) }
    }
}

/// Whether a reading has the same identities in the same order as the one before, each once.
fn agree<T, K: Eq + Hash>(keys: Option<&[K]>, items: &[T], key: impl Fn(&T) -> K) -> bool {
    keys.is_some_and(|keys| {
        keys.len() == items.len()
            && keys.iter().zip(items).all(|(one, other)| *one == key(other))
            && keys.iter().collect::<KeySet<_>>().len() == keys.len()
    })
}

/// Several readings of a changing table.
struct Merged<T, K> {
    listing: BestEffort<T>,
    /// The identities that the newest reading has.
    newest: HashSet<K>,
}

impl<T> BestEffort<T> {
    fn empty() -> Self {
        Self { items: Vec::new(), errors: Vec::new(), changing: true }
    }
}

impl<T, K: Copy + Eq + Hash> Merged<T, K> {
    /// A reading that needs no other.
    fn of(Reading { items, errors, .. }: Reading<T>) -> Self {
        Self { listing: BestEffort { items, errors, changing: false }, newest: HashSet::new() }
    }

    /// Adds a newer reading; `places` has the place of each identity.
    fn add(&mut self, reading: Reading<T>, places: &mut HashMap<K, usize>, key: &impl Fn(&T) -> K) {
        self.listing.errors = reading.errors;
        self.newest.clear();
        for item in reading.items {
            let identity = key(&item);
            self.newest.insert(identity);
            match places.get(&identity).and_then(|place| self.listing.items.get_mut(*place)) {
                Some(older) => *older = item,
                None => {
                    places.insert(identity, self.listing.items.len());
                    self.listing.items.push(item);
                }
            }
        }
    }
}

/// A stream of virtual services: [`Ipvs::stream_services`].
#[derive(Debug)]
pub struct Services<'a> {
    ipvs: &'a mut Ipvs,
    request: ToFamily<Query>,
    ended: bool,
}

impl Iterator for Services<'_> {
    type Item = Result<ServiceInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.ipvs.connection.renew_deadline();
        let mut retried = false;
        loop {
            let connection = &mut self.ipvs.connection;
            let failed = match connection.next_item(&self.request) {
                Ok(None) => break,
                Ok(Some(_)) => {
                    let mut next = None;
                    match message::service(connection.exchange.message(), |info| next = Some(info)) {
                        Ok(()) if next.is_none() => continue,
                        Ok(()) => return next.map(Ok),
                        Err(error) => return Some(Err(Error::new(self.request, error))),
                    }
                }
                Err(error) if retried => Err(error),
                Err(error) => self.ipvs.start_again(&mut self.request, Parts::Long, error),
            };
            if let Err(error) = failed {
                self.ended = true;
                return Some(Err(error));
            }
            retried = true;
        }
        self.ended = true;
        None
    }
}

impl Drop for Services<'_> {
    fn drop(&mut self) {
        self.ipvs.connection.abandon();
    }
}
