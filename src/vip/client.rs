//! The client: binding, listing, and what stands in the way.

use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use super::binder::Way;
use super::link::{DUMMY, Link, LinkRequest, read_link};
use super::message::{self, Route, Target};
use super::work::{Change, Work, distinct};
use super::{BatchError, Binder, Tally, Vip};
use crate::address::Family;
use crate::connection::Connection;
use crate::connection::Options;
use crate::error::{Cause, DecodeError, Error, Reason, Refusal, Refused, Result};
use crate::name::Interface;
use crate::outcome::Outcome;
use crate::wire::Writer;

/// How often a list is read before giving up, when it changes each time.
const LISTINGS: usize = 10;

/// How long a route is waited for that the kernel makes by itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// Virtual IPs of a network namespace: that of the thread that connects, for as long as the client lives.
///
/// Changes need `CAP_NET_ADMIN` in the user namespace that owns the network namespace;
/// [`is_permission_denied`](Error::is_permission_denied) says so. Reading needs nothing, nor does finding out that there is
/// nothing to change; a client does not keep the privilege of the one who opened it. Each operation can fail for
/// reasons that are not repeated below: no permission, a time-out ([`Options::timeout`]), lost replies
/// ([`Cause::Overrun`]), and [`is_already_exists`](Error::is_already_exists) when the interface of
/// [`Binder::dummy`] exists and is of another kind.
#[derive(Debug)]
pub struct Vips {
    pub(super) connection: Connection,
}

impl Vips {
    /// Opens a socket.
    ///
    /// # Errors
    /// When the system has no room for another socket.
    pub fn connect() -> Result<Self> {
        Self::connect_with(&Options::default())
    }

    /// As [`Vips::connect`], with other buffers or another time-out.
    ///
    /// # Errors
    /// As [`Vips::connect`].
    pub fn connect_with(options: &Options) -> Result<Self> {
        let connection = Connection::open(NETLINK_ROUTE, options);
        connection.map(Self::over).map_err(|cause| Error::new("connect to rtnetlink", cause))
    }

    pub(crate) fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// Binds a virtual IP (`RTM_NEWADDR`, `RTM_NEWROUTE`). Its packets reach IPVS from then on.
    ///
    /// # Errors
    /// [`is_conflict`](Error::is_conflict) when it is local already and not by this binder;
    /// [`is_not_found`](Error::is_not_found) when the interface of a [label](Binder::label) is not there;
    /// [`is_unavailable`](Error::is_unavailable) when the kernel has no dummy interfaces;
    /// [`is_invalid_input`](Error::is_invalid_input) when no host can have the address, or the binder cannot bind a prefix.
    #[doc(alias = "RTM_NEWADDR")]
    pub fn bind(&mut self, binder: &Binder, vip: impl Into<Vip>) -> Result<Outcome> {
        let vip = vip.into();
        let tally = self.bind_all(binder, [vip]);
        let tally = tally.map_err(|error| error.single().during(Change::Bind.of(vip, binder)))?;
        Ok(Outcome::of_adding(tally.bound > 0))
    }

    /// Unbinds a virtual IP (`RTM_DELADDR`, `RTM_DELROUTE`). What the binder does not own stays.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when the interface of a [label](Binder::label) is not there.
    #[doc(alias = "RTM_DELADDR")]
    pub fn unbind(&mut self, binder: &Binder, vip: impl Into<Vip>) -> Result<Outcome> {
        let vip = vip.into();
        let tally = self.unbind_all(binder, [vip]);
        let tally = tally.map_err(|error| error.single().during(Change::Unbind.of(vip, binder)))?;
        Ok(Outcome::of_deleting(tally.unbound > 0))
    }

    /// Binds any number of virtual IPs, many with each system call. One that cannot be bound does not stop the others; see
    /// [`Vips::check`] for all or nothing.
    ///
    /// # Errors
    /// [`BatchError`]; each failure is one of [`Vips::bind`].
    pub fn bind_all(
        &mut self,
        binder: &Binder,
        vips: impl IntoIterator<Item = impl Into<Vip>>,
    ) -> Result<Tally, BatchError> {
        let mut work = Work::new(self, binder);
        let ended = work.bind(distinct(vips), None);
        work.finish(ended, "bind virtual IPs to")
    }

    /// Reports what prevents these virtual IPs from being bound, and changes nothing: conflicts, wrong input, and a missing or
    /// unsuitable interface. It does not check the privilege. Another process may change the result before the next call.
    ///
    /// ```no_run
    /// # use lvs::vip::{BatchError, Binder, Vip, Vips};
    /// /// Binds all or none.
    /// fn bind_all_or_none(vips: &mut Vips, binder: &Binder, wanted: &[Vip]) -> Result<(), BatchError> {
    ///     vips.check(binder, wanted.iter().copied())?;
    ///     vips.bind_all(binder, wanted.iter().copied()).map(drop)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`BatchError`]; each failure is one of [`Vips::bind`].
    pub fn check(&mut self, binder: &Binder, vips: impl IntoIterator<Item = impl Into<Vip>>) -> Result<(), BatchError> {
        let mut work = Work::new(self, binder);
        let ended = work.check(distinct(vips));
        work.finish(ended, "check virtual IPs for").map(drop)
    }

    /// Unbinds any number of virtual IPs, many with each system call.
    ///
    /// # Errors
    /// [`BatchError`]; each failure is one of [`Vips::unbind`].
    pub fn unbind_all(
        &mut self,
        binder: &Binder,
        vips: impl IntoIterator<Item = impl Into<Vip>>,
    ) -> Result<Tally, BatchError> {
        let mut work = Work::new(self, binder);
        let ended = work.unbind(distinct(vips));
        work.finish(ended, "unbind virtual IPs from")
    }

    /// Makes the virtual IPs of this binder those that are desired: binds the missing ones, then unbinds the surplus. The next
    /// call completes an interrupted one.
    ///
    /// A desired virtual IP that cannot be bound stops neither: the others are bound, and the surplus is unbound. Only what
    /// overlaps with a failed prefix, or has a failed address in it, stays bound.
    ///
    /// # Errors
    /// [`BatchError`]; each failure is one of [`Vips::bind`] or [`Vips::unbind`].
    pub fn sync(
        &mut self,
        binder: &Binder,
        desired: impl IntoIterator<Item = impl Into<Vip>>,
    ) -> Result<Tally, BatchError> {
        let mut work = Work::new(self, binder);
        let ended = work.sync(distinct(desired));
        work.finish(ended, "synchronise the virtual IPs of")
    }

    /// The virtual IPs that the binder owns (`RTM_GETADDR` of its interface, `RTM_GETROUTE` of its protocol), in the
    /// kernel's order; none if the interface of [`Binder::dummy`] is not there.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when the interface of a [label](Binder::label) is not there;
    /// [`is_interrupted`](Error::is_interrupted) when the list changed each time while it was read.
    pub fn list(&mut self, binder: &Binder) -> Result<Vec<Vip>> {
        let owned = self.target(binder).and_then(|target| match target {
            Some(target) => self.owned(target),
            None => Ok(Vec::new()),
        });
        owned.map_err(|cause| Error::new(format_args!("list the virtual IPs of {binder}"), cause))
    }

    /// Unbinds everything that the binder owns. The interface of [`Binder::dummy`] is deleted (`RTM_DELLINK`) if nothing else
    /// uses it: for thousands of IPv6 addresses that takes a small part of the time of [`Vips::unbind_all`].
    ///
    /// The interface stays if it is up, is part of a bridge or another interface, has interfaces on top of it (VLANs, macvlans),
    /// or has an address that the binder does not own. The outcome is the same; `ip link show` shows it.
    ///
    /// # Errors
    /// As [`Vips::list`]; failures of [`Vips::unbind`] as [`Cause::Batch`].
    pub fn clear(&mut self, binder: &Binder) -> Result<Outcome> {
        if let Way::Dummy(_) = binder.0 {
            let deleted = self.delete_unused(binder);
            let deleted =
                deleted.map_err(|cause| Error::new(format_args!("delete dummy interface {binder}"), cause))?;
            if let Some(outcome) = deleted {
                return Ok(outcome);
            }
        }
        let owned = self.list(binder)?;
        let tally = self.unbind_all(binder, owned)?;
        Ok(Outcome::of_deleting(tally.unbound > 0))
    }

    // What can be done at all.

    /// Whether the caller has the privilege to change anything here.
    pub(crate) fn may_change(&mut self) -> Result<bool> {
        let mut refused = None;
        let asked = self.connection.queue(message::DELETE_ADDRESS, 0, message::write_impossible_delete);
        let asked = asked.and_then(|()| self.connection.settle(|_, _, _| Ok(()), |_, refusal| refused = Some(refusal)));
        asked.map_err(|cause| Error::new("delete no address", cause))?;
        Ok(refused.is_none_or(|refusal| refusal.errno != Errno::EPERM as i32))
    }

    /// Asks for a dummy interface that cannot be made, which is fine if there are others. The kernel loads the module for
    /// that if it can.
    pub(crate) fn probe_dummy(&mut self) -> Result<()> {
        let probed = self.make_dummy(LinkRequest::ImpossibleDummy, Errno::EINVAL);
        probed.map_err(|cause| Error::new("ask for dummy interfaces", cause))
    }

    // Interfaces.

    /// Deletes the dummy interface of a binder; `None` if something else uses it.
    fn delete_unused(&mut self, binder: &Binder) -> Result<Option<Outcome>, Cause> {
        let Some(target) = self.target(binder)? else { return Ok(Some(Outcome::Unchanged)) };
        if self.is_used(target)? {
            return Ok(None);
        }
        self.tell(LinkRequest::Delete(target.index), 0, Errno::ENODEV)
            .map(|deleted| Some(Outcome::of_deleting(deleted)))
    }

    /// Whether an interface carries anything that no binder puts there.
    fn is_used(&mut self, target: Target) -> Result<bool, Cause> {
        let links = again_if_interrupted(|| {
            let mut used = false;
            self.dump(
                LinkRequest::All.kind(),
                |out| LinkRequest::All.write(out),
                |kind, body| {
                    let link = read_link(kind, body)?;
                    used |= link.is_some_and(|link| match link.index == target.index {
                        true => link.is_up || link.has_master,
                        false => link.lower == Some(target.index),
                    });
                    Ok(())
                },
            )?;
            Ok(used)
        })?;
        if links {
            return Ok(true);
        }
        again_if_interrupted(|| {
            let mut used = false;
            self.dump(
                message::GET_ADDRESS,
                |out| message::write_get_addresses(out, target.index),
                |kind, body| {
                    used |= message::is_foreign_address(kind, body, target)?;
                    Ok(())
                },
            )?;
            Ok(used)
        })
    }

    /// Sends a request for a listing and reads the answers.
    fn dump(
        &mut self,
        kind: u16,
        body: impl FnOnce(&mut Writer<'_>),
        mut read: impl FnMut(u16, &[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), Cause> {
        let mut refused = None;
        self.connection.queue_dump(kind, body)?;
        self.connection.settle(|_, kind, body| read(kind, body), |_, refusal| refused = Some(refusal))?;
        refused.map_or(Ok(()), |refusal| Err(explain(refusal).into()))
    }

    /// Where the binder binds to; `None` for a dummy interface that is not there.
    pub(super) fn target(&mut self, binder: &Binder) -> Result<Option<Target>, Cause> {
        binder.check_protocol()?;
        let way = binder.0;
        let index = match way {
            Way::Routes(_) => Some(message::LOOPBACK),
            Way::Dummy(name) => match self.link(LinkRequest::Get(name.as_bytes()))? {
                Some(Link { index, kind: Some(kind), .. }) if kind == DUMMY => Some(index),
                Some(link) => return Err(of_another_kind(link)),
                None => None,
            },
            Way::Label { interface, .. } => match self.link(LinkRequest::Get(interface.as_bytes()))? {
                Some(link) => Some(link.index),
                None => return Err(Cause::precondition(Reason::InterfaceNotFound, "no such interface")),
            },
        };
        Ok(index.map(|index| Target { way, index }))
    }

    /// Makes the dummy interface, or finds it if it is there by then.
    pub(super) fn make(&mut self, binder: &Binder, name: Interface) -> Result<Target, Cause> {
        // Loading the module makes a dummy0, which may be the one.
        self.make_dummy(LinkRequest::NewDummy(name.as_bytes()), Errno::EEXIST)?;
        let gone = "another process deleted the interface right after it was created";
        self.target(binder)?.ok_or_else(|| Cause::precondition(Reason::InterfaceNotFound, gone))
    }

    /// To be refused with `fine` is fine.
    fn make_dummy(&mut self, request: LinkRequest<'_>, fine: Errno) -> Result<(), Cause> {
        self.tell(request, NLM_F_CREATE | NLM_F_EXCL, fine).map(drop).map_err(|cause| match cause {
            Cause::Refused(refused) if refused.refusal.errno == Errno::EOPNOTSUPP as i32 => {
                let text = "this kernel has no dummy interfaces: the module dummy could not be loaded";
                Refused::new(Reason::Unavailable, text, refused.refusal).into()
            }
            cause => cause,
        })
    }

    pub(super) fn link(&mut self, request: LinkRequest<'_>) -> Result<Option<Link>, Cause> {
        let (mut link, mut refused) = (None, None);
        self.queue(request, 0)?;
        self.connection.settle(
            |_, kind, body| {
                link = read_link(kind, body)?.or(link.take());
                Ok(())
            },
            |_, refusal| refused = Some(refusal),
        )?;
        match refused {
            None => Ok(link),
            Some(refusal) if refusal.errno == Errno::ENODEV as i32 => Ok(None),
            Some(refusal) => Err(explain(refusal).into()),
        }
    }

    /// Sends a change; to be refused with `unchanged` means that there was nothing to do. Returns whether there was.
    fn tell(&mut self, request: LinkRequest<'_>, flags: u16, unchanged: Errno) -> Result<bool, Cause> {
        let mut refused = None;
        self.queue(request, flags)?;
        self.connection.settle(|_, _, _| Ok(()), |_, refusal| refused = Some(refusal))?;
        match refused {
            None => Ok(true),
            Some(refusal) if refusal.errno == unchanged as i32 => Ok(false),
            Some(refusal) => Err(explain(refusal).into()),
        }
    }

    fn queue(&mut self, request: LinkRequest<'_>, flags: u16) -> Result<(), Cause> {
        self.connection.queue(request.kind(), flags, |out| request.write(out))
    }

    // Addresses and routes.

    /// What the binder owns.
    ///
    /// A list in which something comes twice was disturbed by a change without the kernel's saying so (seen on Linux 6.1),
    /// and may lack something: it is read again.
    pub(super) fn owned(&mut self, target: Target) -> Result<Vec<Vip>, Cause> {
        let mut before = Vec::new();
        for _ in 0..LISTINGS {
            let listed = self.list_once(target)?;
            let once = distinct(listed.iter().copied());
            // Repeated in two equal listings, it exists twice: a route can have several metrics.
            if once.len() == listed.len() || listed == before {
                return Ok(once);
            }
            before = listed;
        }
        Err(Cause::Interrupted)
    }

    fn list_once(&mut self, target: Target) -> Result<Vec<Vip>, Cause> {
        if let Way::Routes(protocol) = target.way {
            let routes = self.local_routes(&[Family::Inet, Family::Inet6], Some(protocol))?;
            return Ok(routes.into_iter().map(|route| route.vip).collect());
        }
        again_if_interrupted(|| {
            let mut owned = Vec::new();
            self.dump(
                message::GET_ADDRESS,
                |out| message::write_get_addresses(out, target.index),
                |kind, body| {
                    owned.extend(message::read_owned_address(kind, body, target)?);
                    Ok(())
                },
            )?;
            Ok(owned)
        })
    }

    /// The routes that make addresses local, or those of one protocol.
    pub(super) fn local_routes(&mut self, families: &[Family], protocol: Option<u8>) -> Result<Vec<Route>, Cause> {
        let mut all = Vec::new();
        for family in families {
            let routes = again_if_interrupted(|| {
                let (mut routes, mut refused) = (Vec::new(), None);
                let kind = message::GET_ROUTE;
                self.connection.queue_dump(kind, |out| message::write_get_routes(out, *family, protocol))?;
                self.connection.settle(
                    |_, kind, body| {
                        let route = message::read_route(kind, body)?;
                        routes.extend(route.filter(|route| {
                            route.vip.family() == *family && protocol.is_none_or(|protocol| route.protocol == protocol)
                        }));
                        Ok(())
                    },
                    |_, refusal| refused = Some(refusal),
                )?;
                match refused {
                    // No table, or no such protocol on this machine: nothing in it.
                    Some(refusal)
                        if routes.is_empty()
                            && [Errno::ENOENT as i32, Errno::EOPNOTSUPP as i32].contains(&refusal.errno) =>
                    {
                        Ok(routes)
                    }
                    Some(refusal) => Err(explain(refusal).into()),
                    None => Ok(routes),
                }
            })?;
            all.extend(routes);
        }
        Ok(all)
    }

    /// Waits for the routes of IPv6 addresses that were made: the kernel makes those in the background, when it has the time,
    /// even without looking for duplicates. It does not say when; not all interfaces may get one.
    pub(super) fn wait_until_local(&mut self, mut addresses: Vec<Vip>) -> Result<(), Cause> {
        let started = self.connection.now();
        let mut pause = Duration::from_micros(10);
        while !addresses.is_empty() && self.connection.now().saturating_duration_since(started) < PATIENCE {
            let mut routes = self.routes_to(&addresses)?.into_iter();
            addresses.retain(|vip| routes.next().flatten().is_none_or(|route| route.vip != *vip));
            if !addresses.is_empty() {
                self.connection.pause(pause);
                pause *= 2;
            }
        }
        Ok(())
    }

    /// For each address the local route that its packets take, if they do.
    pub(super) fn routes_to(&mut self, vips: &[Vip]) -> Result<Vec<Option<Route>>, Cause> {
        let mut found = vec![None; vips.len()];
        let mut rest = (vips, &mut found[..]);
        while !rest.0.is_empty() {
            let mut queued = 0;
            for vip in rest.0 {
                self.connection.queue(message::GET_ROUTE, 0, |out| message::write_get_route(out, *vip))?;
                queued += 1;
                if self.connection.is_full() {
                    break;
                }
            }
            let (asked, places) = rest;
            let (now, later) = places.split_at_mut(queued.min(places.len()));
            let mut failed = None;
            self.connection.settle(
                |request, kind, body| {
                    if let Some(place) = now.get_mut(request) {
                        *place = message::read_route(kind, body)?;
                    }
                    Ok(())
                },
                // No route at all, or one that is not local; unless the kernel could not look.
                |_, refusal| {
                    if [Errno::ENOMEM as i32, Errno::ENOBUFS as i32].contains(&refusal.errno) {
                        failed = Some(refusal);
                    }
                },
            )?;
            if let Some(refusal) = failed {
                return Err(explain(refusal).into());
            }
            rest = (asked.get(queued..).unwrap_or_default(), later);
        }
        Ok(found)
    }
}

fn again_if_interrupted<T>(mut read: impl FnMut() -> Result<T, Cause>) -> Result<T, Cause> {
    let mut last = read();
    for _ in 1..LISTINGS {
        if !matches!(last, Err(Cause::Interrupted)) {
            break;
        }
        last = read();
    }
    last
}

fn of_another_kind(link: Link) -> Cause {
    let kind = link.kind.map_or("no kind of its own (hardware or loopback)".to_owned(), |kind| format!("kind {kind}"));
    let explanation = format!("an interface of this name exists and has {kind}");
    Cause::precondition(Reason::AlreadyExists, explanation)
}

/// What an error number means for interfaces, addresses and routes.
pub(super) fn explain(refusal: Refusal) -> Refused {
    match Errno::from_raw(refusal.errno) {
        Errno::ENODEV => Refused::new(Reason::InterfaceNotFound, "no such interface", refusal),
        Errno::EACCES => Refused::new(Reason::Unsupported, "IPv6 is disabled on the interface", refusal),
        Errno::EEXIST => {
            let text = "something else has made it local in the meantime, or is about to";
            Refused::new(Reason::AlreadyExists, text, refusal)
        }
        Errno::ENETDOWN => {
            let text = "a local route for IPv6 needs the loopback interface to be up: `ip link set lo up`";
            Refused::new(Reason::Other, text, refusal)
        }
        Errno::EPERM => {
            let text = "this needs CAP_NET_ADMIN in the user namespace that owns the network namespace";
            Refused::new(Reason::PermissionDenied, text, refusal)
        }
        _ => Refused::unexplained(refusal),
    }
}
