//! The client: binding, listing and conflicts.

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use super::batch::Work;
use super::binder::Way;
use super::link::LinkRequest;
use super::message::Target;
use super::plan::distinct;
use super::refusal::explain;
use super::request::{Change, Message};
use super::{BatchError, Binder, IntoVip, Tally, Vip};
use crate::connection::{Connection, Options};
use crate::error::{Cause, Error, Reason, Refused, Result};
use crate::name::Interface;
use crate::net::Family;
use crate::outcome::Outcome;

/// Client of the virtual IPs of one network namespace: that of the thread that connects.
///
/// It holds one netlink socket. Changes need `CAP_NET_ADMIN` in the user namespace that owns the network namespace;
/// [`is_permission_denied`](Error::is_permission_denied) reports a lack of it. Reading needs no privilege, and neither
/// does a call that finds nothing to change. The kernel checks the sender of each request: a client does not carry the
/// privilege of the process that opened it.
///
/// [`Vips::bind`] and [`Vips::unbind`] behave as `put_…` and `remove_…` of [`Ipvs`](crate::ipvs::Ipvs).
///
/// Each operation can fail for reasons that are not repeated below: no permission, a timeout ([`Options::timeout`]),
/// lost replies ([`Cause::Overrun`]). With [`Binder::dummy`] it fails with
/// [`is_already_exists`](Error::is_already_exists) when the interface exists and is of another kind.
#[derive(Debug)]
pub struct Vips {
    pub(super) connection: Connection,
    /// Numbers of IPv4 and of IPv6 routes in the table `local` when it was dumped for conflicts last.
    local_routes: (usize, usize),
}

impl Vips {
    /// Opens a socket.
    ///
    /// # Errors
    /// If no socket can be opened.
    pub fn connect() -> Result<Self> {
        Self::connect_with(&Options::default())
    }

    /// Connects as [`Vips::connect`], with other buffers or another timeout.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// use lvs::vip::Vips;
    /// let client = Vips::connect_with(&lvs::Options::default().timeout(Duration::from_secs(1)))?;
    /// # Ok::<(), lvs::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Vips::connect`].
    pub fn connect_with(options: &Options) -> Result<Self> {
        let connection = Connection::open(NETLINK_ROUTE, options);
        connection.map(Self::over).map_err(|cause| Error::new("connect to rtnetlink", cause))
    }

    pub(crate) fn over(connection: Connection) -> Self {
        Self { connection, local_routes: (0, 0) }
    }

    /// Number of routes of the family in the table `local` when it was dumped for conflicts last.
    pub(super) fn table_size(&mut self, family: Family) -> &mut usize {
        match family {
            Family::Inet => &mut self.local_routes.0,
            Family::Inet6 => &mut self.local_routes.1,
        }
    }

    /// Binds a virtual IP (`RTM_NEWADDR`, `RTM_NEWROUTE`). Its packets reach IPVS from then on.
    ///
    /// # Errors
    /// - [`is_conflict`](Error::is_conflict) when anything but this binder makes it local;
    /// - [`is_not_found`](Error::is_not_found) when the interface of a [label](Binder::label) does not exist;
    /// - [`is_unavailable`](Error::is_unavailable) when the kernel has no dummy interfaces;
    /// - [`Reason::Other`] when the address exists on the interface and is not local, since another route or rule
    ///   precedes its local route;
    /// - [`is_invalid_input`](Error::is_invalid_input) when no host can have the address, or the binder cannot bind a
    ///   prefix.
    #[doc(alias = "RTM_NEWADDR")]
    pub fn bind(&mut self, binder: &Binder, vip: impl IntoVip) -> Result<Outcome> {
        let vip = vip.into_vip();
        let tally = self.bind_all(binder, [vip]);
        let tally = tally.map_err(|error| error.single().during(Change::Bind(*binder, vip)))?;
        Ok(Outcome::of_adding(tally.bound > 0))
    }

    /// Unbinds a virtual IP (`RTM_DELADDR`, `RTM_DELROUTE`). Addresses of other owners stay.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when the interface of a [label](Binder::label) does not exist.
    #[doc(alias = "RTM_DELADDR")]
    pub fn unbind(&mut self, binder: &Binder, vip: impl IntoVip) -> Result<Outcome> {
        let vip = vip.into_vip();
        let tally = self.unbind_all(binder, [vip]);
        let tally = tally.map_err(|error| error.single().during(Change::Unbind(*binder, vip)))?;
        Ok(Outcome::of_deleting(tally.unbound > 0))
    }

    /// Binds any number of virtual IPs, many with each system call. A virtual IP that cannot be bound does not stop the
    /// others. [`Vips::check`] beforehand makes it all or nothing.
    ///
    /// # Errors
    /// [`BatchError`]; each failure is one of [`Vips::bind`].
    #[doc(alias("RTM_NEWADDR", "RTM_NEWROUTE"))]
    pub fn bind_all(
        &mut self,
        binder: &Binder,
        vips: impl IntoIterator<Item = impl IntoVip>,
    ) -> Result<Tally, BatchError> {
        let mut work = Work::new(self, binder);
        let ended = work.bind(&distinct(vips));
        work.finish(ended, "bind virtual IPs to")
    }

    /// Reports what prevents these virtual IPs from being bound, and changes nothing: conflicts, wrong input, and a
    /// missing or unsuitable interface. It does not check the privilege. Another process may change the result before
    /// the next call.
    ///
    /// ```no_run
    /// # use lvs::vip::{BatchError, Binder, Vip, Vips};
    /// /// Binds all or none.
    /// fn bind_all_or_none(vips: &mut Vips, binder: &Binder, wanted: &[Vip]) -> Result<(), BatchError> {
    ///     vips.check(binder, wanted)?;
    ///     vips.bind_all(binder, wanted).map(drop)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`BatchError`]; each failure is one of [`Vips::bind`].
    pub fn check(&mut self, binder: &Binder, vips: impl IntoIterator<Item = impl IntoVip>) -> Result<(), BatchError> {
        let mut work = Work::new(self, binder);
        let ended = work.check(&distinct(vips));
        work.finish(ended, "check virtual IPs for").map(drop)
    }

    /// Unbinds any number of virtual IPs, many with each system call.
    ///
    /// # Errors
    /// [`BatchError`]; each failure is as documented at [`Vips::unbind`].
    #[doc(alias("RTM_DELADDR", "RTM_DELROUTE"))]
    pub fn unbind_all(
        &mut self,
        binder: &Binder,
        vips: impl IntoIterator<Item = impl IntoVip>,
    ) -> Result<Tally, BatchError> {
        let mut work = Work::new(self, binder);
        let ended = work.unbind(distinct(vips));
        work.finish(ended, "unbind virtual IPs from")
    }

    /// Makes the virtual IPs of this binder the desired ones: binds the missing ones, then unbinds the surplus. The
    /// next call completes an interrupted one.
    ///
    /// A desired virtual IP that cannot be bound does not stop the others, and the surplus is unbound. A surplus
    /// virtual IP that overlaps with a failed one stays bound.
    ///
    /// # Errors
    /// [`BatchError`]; each failure is as documented at [`Vips::bind`] or [`Vips::unbind`].
    pub fn sync(
        &mut self,
        binder: &Binder,
        desired: impl IntoIterator<Item = impl IntoVip>,
    ) -> Result<Tally, BatchError> {
        let mut work = Work::new(self, binder);
        let ended = work.sync(&distinct(desired));
        work.finish(ended, "synchronise the virtual IPs of")
    }

    /// Returns the virtual IPs that the binder owns (`RTM_GETADDR` of its interface, `RTM_GETROUTE` of its protocol),
    /// in the kernel's order; none if the interface of [`Binder::dummy`] does not exist. An address that has lost its
    /// local route is listed, too.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when the interface of a [label](Binder::label) does not exist;
    /// [`is_interrupted`](Error::is_interrupted) when the addresses or routes changed during every reading.
    #[doc(alias("RTM_GETADDR", "RTM_GETROUTE"))]
    pub fn virtual_ips(&mut self, binder: &Binder) -> Result<Vec<Vip>> {
        let owned = self.target(binder).and_then(|target| match target {
            Some(target) => self.owned(target),
            None => Ok(Vec::new()),
        });
        owned.map_err(|error| error.during(format_args!("list the virtual IPs of {binder}")))
    }

    /// Returns the virtual IPs that the binder owns and that are not local: another program has deleted their local
    /// routes, or the interface went down. [`Vips::bind_all`] and [`Vips::sync`] bind them again.
    ///
    /// None for local routes, and for an interface of a VRF.
    ///
    /// # Errors
    /// As [`Vips::virtual_ips`].
    #[doc(alias = "RTM_GETROUTE")]
    pub fn virtual_ips_without_route(&mut self, binder: &Binder) -> Result<Vec<Vip>> {
        let found = self.target(binder).and_then(|target| match target.filter(|target| target.is_checked) {
            Some(target) => self.owned(target).and_then(|owned| self.without_route(owned)),
            None => Ok(Vec::new()),
        });
        found.map_err(|error| error.during(format_args!("check the routes of {binder}")))
    }

    /// Unbinds all virtual IPs of the binder. The interface of [`Binder::dummy`] is deleted (`RTM_DELLINK`) if nothing
    /// else uses it. For thousands of IPv6 addresses that is much faster than [`Vips::unbind_all`].
    ///
    /// Otherwise the interface is kept: if it is up, is part of another interface (a bridge), has interfaces on top of
    /// it (VLANs, macvlans), or has a foreign address. The outcome does not report that.
    ///
    /// # Errors
    /// As [`Vips::virtual_ips`]; failures of [`Vips::unbind`] as [`Cause::Batch`].
    #[doc(alias("RTM_DELLINK", "flush"))]
    pub fn clear(&mut self, binder: &Binder) -> Result<Outcome> {
        if let Way::Dummy(_) = binder.0 {
            let deleted = self.delete_unused(binder);
            let deleted = deleted.map_err(|error| error.during(format_args!("delete dummy interface {binder}")))?;
            if let Some(outcome) = deleted {
                return Ok(outcome);
            }
        }
        let owned = self.virtual_ips(binder)?;
        let tally = self.unbind_all(binder, owned)?;
        Ok(Outcome::of_deleting(tally.unbound > 0))
    }

    // Probes of privileges and features.

    /// Whether the caller has the privilege to change anything here.
    pub(crate) fn may_change(&mut self) -> Result<bool> {
        let refused = self.connection.attempt(&Message::DeleteNothing, |_, _| Ok(()))?;
        Ok(refused.is_none_or(|refusal| refusal.errno != Errno::EPERM as i32))
    }

    /// Requests a dummy interface that cannot be created. A kernel with dummy interfaces refuses it as invalid, and
    /// loads the module first if it can.
    pub(crate) fn probe_dummy(&mut self) -> Result<()> {
        let probed = self.create_dummy(LinkRequest::ImpossibleDummy, Errno::EINVAL);
        probed.map_err(|error| error.during("ask for dummy interfaces"))
    }

    // Dummy interfaces.

    /// Creates the dummy interface, or finds it if another process has created it meanwhile.
    pub(super) fn create_interface(&mut self, binder: &Binder, name: Interface) -> Result<Target> {
        // Loading the module creates a dummy0, which may be the requested one.
        self.create_dummy(LinkRequest::NewDummy(name.as_bytes()), Errno::EEXIST)?;
        let gone = "another process deleted the interface right after it was created";
        let gone = || Error::new("create a dummy interface", Cause::precondition(Reason::InterfaceNotFound, gone));
        self.target(binder)?.ok_or_else(gone)
    }

    /// Sends the request. A refusal with `fine` is a success.
    fn create_dummy(&mut self, request: LinkRequest<'_>, fine: Errno) -> Result<()> {
        let message = Message::Link(request);
        let Some(refusal) = self.connection.attempt(&message, |_, _| Ok(()))? else { return Ok(()) };
        let refused = match Errno::from_raw(refusal.errno) {
            errno if errno == fine => return Ok(()),
            Errno::EOPNOTSUPP => {
                let text = "this kernel has no dummy interfaces: the module dummy could not be loaded";
                Refused::new(Reason::Unavailable, text, refusal)
            }
            _ => explain(refusal),
        };
        Err(Error::new(message, refused))
    }

    /// Deletes the dummy interface of a binder; `None` if something else uses it.
    fn delete_unused(&mut self, binder: &Binder) -> Result<Option<Outcome>> {
        let Some(target) = self.target(binder)? else { return Ok(Some(Outcome::Unchanged)) };
        if self.is_used(target)? {
            return Ok(None);
        }
        let message = Message::Link(LinkRequest::Delete(target.index));
        match self.connection.attempt(&message, |_, _| Ok(()))? {
            None => Ok(Some(Outcome::Deleted)),
            Some(refusal) if refusal.errno == Errno::ENODEV as i32 => Ok(Some(Outcome::Unchanged)),
            Some(refusal) => Err(Error::new(message, explain(refusal))),
        }
    }
}
