//! Reading interfaces, addresses and routes.

use std::collections::HashMap;
use std::time::Duration;

use nix::errno::Errno;

use super::binder::{Binder, Vip, Way};
use super::client::Vips;
use super::link::{DUMMY, Link, LinkRequest, read_link};
use super::message::{self, Route, Target};
use super::plan::{Observed, distinct, set_of};
use super::refusal::explain;
use super::request::Message;
use crate::connection::Request;
use crate::error::{Cause, Error, Reason, Refusal, Refused, Result};
use crate::hash::{KeySet, Keyed};
use crate::net::Family;
use crate::trace;

/// Readings of a dump, at most, when the table changes during each.
const LISTINGS: usize = 10;

/// Number of addresses of a family from which one dump of the table `local` may replace a look-up for each.
const MANY: usize = 256;

/// Number of routes in a dump that take as long as one look-up.
const PER_LOOKUP: usize = 8;

/// Longest wait for the route of an address that another process has just added.
pub(super) const IN_CREATION: Duration = Duration::from_millis(20);

impl Vips {
    /// Reads the state that affects virtual IPs which are to be bound: the interface, conflicting routes, and the routes
    /// of addresses that are bound already.
    ///
    /// It also reads the binder's listing if `listing` is set or the binder needs it.
    pub(super) fn observe(&mut self, binder: &Binder, wanted: &[Vip], listing: bool) -> Result<Observed> {
        let mut observed = Observed { target: self.target(binder)?, ..Observed::default() };
        // Only a listing shows whether an address of the interface has the label and the protocol.
        let listing = listing || matches!(binder.0, Way::Label { .. });
        if let Some(target) = observed.target.filter(|_| listing) {
            observed.owned = self.owned(target)?;
        }
        let owned = set_of(&observed.owned);
        (observed.bound, observed.missing) = wanted.iter().partition(|vip| owned.contains(vip));
        let (prefixes, mut addresses): (Vec<_>, Vec<_>) = observed.missing.iter().copied().partition(Vip::is_prefix);
        if observed.is_checked() {
            addresses.extend(&observed.bound);
        }
        observed.routes = self.routes_of(addresses, &owned)?;
        if !prefixes.is_empty() {
            let mut families: Vec<_> = prefixes.iter().map(Vip::family).collect();
            families.sort_unstable();
            families.dedup();
            for family in families {
                observed.table.extend(self.routes(Message::RoutesOfTable(family))?);
            }
        }
        Ok(observed)
    }

    /// Interface that the binder uses; `None` for a dummy interface that does not exist.
    pub(super) fn target(&mut self, binder: &Binder) -> Result<Option<Target>> {
        let failed = |cause| Error::new("look up the interface", cause);
        binder.check_protocol().map_err(failed)?;
        let way = binder.0;
        let link = match way {
            Way::Routes(_) => return Ok(Some(Target { way, index: message::LOOPBACK, is_checked: false })),
            Way::Dummy(name) => match self.link(LinkRequest::Get(name.as_bytes()))? {
                Some(link) if link.kind.as_deref() != Some(DUMMY) => return Err(failed(of_another_kind(link))),
                link => link,
            },
            Way::Label { interface, .. } => match self.link(LinkRequest::Get(interface.as_bytes()))? {
                None => return Err(failed(Cause::precondition(Reason::InterfaceNotFound, "no such interface"))),
                link => link,
            },
        };
        Ok(link.map(|link| Target { way, index: link.index, is_checked: !link.is_in_vrf }))
    }

    /// Looks up an interface.
    pub(super) fn link(&mut self, request: LinkRequest<'_>) -> Result<Option<Link>> {
        let mut link = None;
        let message = Message::Link(request);
        let refused = self.connection.attempt(&message, |kind, body| {
            link = read_link(kind, body)?.or(link.take());
            Ok(())
        })?;
        match refused {
            None => Ok(link),
            Some(refusal) if refusal.errno == Errno::ENODEV as i32 => Ok(None),
            Some(refusal) => Err(Error::new(message, explain(refusal))),
        }
    }

    /// Whether an interface has anything that no binder adds.
    pub(super) fn is_used(&mut self, target: Target) -> Result<bool> {
        let linked = retry_if_interrupted(|| {
            let mut used = false;
            self.connection.run(&Message::Link(LinkRequest::All), |kind, body| {
                let link = read_link(kind, body)?;
                used |= link.is_some_and(|link| match link.index == target.index {
                    true => link.is_up || link.has_master,
                    false => link.lower == Some(target.index),
                });
                Ok(())
            })?;
            Ok(used)
        })?;
        if linked {
            return Ok(true);
        }
        retry_if_interrupted(|| {
            let mut used = false;
            self.connection.run(&Message::Addresses(target.index), |kind, body| {
                used |= message::is_foreign_address(kind, body, target)?;
                Ok(())
            })?;
            Ok(used)
        })
    }

    /// The virtual IPs that the binder owns.
    ///
    /// A listing in which something is repeated was disturbed by a change that the kernel does not report (seen on
    /// Linux 6.1), and may lack something: it is read again.
    pub(super) fn owned(&mut self, target: Target) -> Result<Vec<Vip>> {
        let mut before = Vec::new();
        for _ in 0..LISTINGS {
            let listed = self.list_once(target)?;
            let once = distinct(listed.iter().copied());
            // Repeated in two equal listings, it exists twice: a route can have several metrics.
            if once.len() == listed.len() || listed == before {
                return Ok(once);
            }
            before = listed;
            trace::retry("the listing repeats an entry");
        }
        Err(Error::new("list virtual IPs", Cause::Interrupted))
    }

    fn list_once(&mut self, target: Target) -> Result<Vec<Vip>> {
        if let Way::Routes(protocol) = target.way {
            let mut owned = Vec::new();
            for family in [Family::Inet, Family::Inet6] {
                let routes = self.routes(Message::LocalRoutes(family, protocol))?;
                // A peer without strict checks ignores the filter.
                let is_owned =
                    |route: &Route| route.is_local && route.protocol == protocol && route.vip.family() == family;
                owned.extend(routes.into_iter().filter(is_owned).map(|route| route.vip));
            }
            return Ok(owned);
        }
        retry_if_interrupted(|| {
            let mut owned = Vec::new();
            self.connection.run(&Message::Addresses(target.index), |kind, body| {
                owned.extend(message::read_owned_address(kind, body, target)?);
                Ok(())
            })?;
            Ok(owned)
        })
    }

    /// Returns the local, broadcast and anycast routes of just one of these addresses: a prefix around it is no obstacle. Others
    /// may be among them.
    fn routes_of(&mut self, addresses: Vec<Vip>, owned: &KeySet<Vip>) -> Result<HashMap<Vip, Route, Keyed>> {
        let (mut four, mut six): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|vip| vip.family() == Family::Inet);
        let mut routes = HashMap::default();
        if self.is_dump_cheaper(Family::Inet, four.len()) {
            routes = self.single_routes(Family::Inet)?;
            four.clear();
        }
        // A dump of IPv6 may lack a route. Thus conflicts are looked up, and so is each owned address that it lacks.
        let owned_six = six.iter().filter(|vip| owned.contains(vip)).count();
        if self.is_dump_cheaper(Family::Inet6, owned_six) {
            let listed = self.single_routes(Family::Inet6)?;
            six.retain(|vip| match listed.get(vip).filter(|_| owned.contains(vip)) {
                Some(route) => {
                    routes.insert(*vip, *route);
                    false
                }
                None => true,
            });
        }
        six.extend(four);
        let found = self.routes_to(&six)?;
        let found = six.into_iter().zip(found).filter_map(|(vip, route)| Some((vip, route?)));
        routes.extend(found.filter(|(vip, route)| route.vip == *vip));
        Ok(routes)
    }

    /// Whether a dump of the table `local` replaces these look-ups. In a large table, the few addresses of each call are
    /// looked up.
    fn is_dump_cheaper(&mut self, family: Family, lookups: usize) -> bool {
        lookups >= MANY.max(*self.table_size(family) / PER_LOOKUP)
    }

    /// Reads the routes of the table `local` to single addresses. The first of several to one address has precedence.
    /// It serves fast binding of many virtual IPs: `cargo bench --bench vips` measures it.
    ///
    /// A dump of IPv4 continues by address, so that changes meanwhile leave out no other route. One of IPv6 continues by
    /// position.
    fn single_routes(&mut self, family: Family) -> Result<HashMap<Vip, Route, Keyed>> {
        retry_if_interrupted(|| {
            let (mut routes, mut listed) = (HashMap::default(), 0);
            let message = Message::RoutesOfTable(family);
            let refused = self.connection.attempt(&message, |kind, body| {
                listed += 1;
                // Packets without a type of service take no route for one.
                let route = message::read_route(kind, body)?.filter(|_| body.get(3) == Some(&0));
                if let Some(route) = route.filter(|route| !route.vip.is_prefix()) {
                    routes.entry(route.vip).or_insert(route);
                }
                Ok(())
            })?;
            unless_absent(refused, routes.is_empty()).map_err(|refused| Error::new(message, refused))?;
            *self.table_size(family) = listed;
            Ok(routes)
        })
    }

    /// Reads a dump of routes: the local, broadcast and anycast ones.
    fn routes(&mut self, message: Message<'_>) -> Result<Vec<Route>> {
        retry_if_interrupted(|| {
            let mut routes = Vec::new();
            let refused = self.connection.attempt(&message, |kind, body| {
                routes.extend(message::read_route(kind, body)?);
                Ok(())
            })?;
            unless_absent(refused, routes.is_empty()).map_err(|refused| Error::new(message, refused))?;
            Ok(routes)
        })
    }

    /// Returns those of the binder's addresses that have no local route.
    pub(super) fn without_route(&mut self, mut owned: Vec<Vip>) -> Result<Vec<Vip>> {
        let routes = self.routes_of(owned.clone(), &set_of(&owned))?;
        owned.retain(|vip| routes.get(vip).is_none_or(|route| !route.is_local));
        self.wait_until_local(owned, IN_CREATION)
    }

    /// Waits for the local routes of these addresses; returns those that have none. The kernel creates the routes of IPv6
    /// addresses in the background, and does not report when.
    pub(super) fn wait_until_local(&mut self, mut addresses: Vec<Vip>, patience: Duration) -> Result<Vec<Vip>> {
        let started = self.connection.now();
        let mut pause = Duration::from_micros(10);
        while !addresses.is_empty() && self.connection.now().saturating_duration_since(started) < patience {
            let mut routes = self.routes_to(&addresses)?.into_iter();
            addresses.retain(|vip| routes.next().flatten().is_none_or(|route| route.vip != *vip || !route.is_local));
            if !addresses.is_empty() {
                self.connection.pause(pause);
                pause *= 2;
            }
        }
        Ok(addresses)
    }

    /// Returns for each address the local, broadcast or anycast route that its packets take, if any.
    pub(super) fn routes_to(&mut self, vips: &[Vip]) -> Result<Vec<Option<Route>>> {
        let failed = |cause| Error::new("look up routes", cause);
        let mut found = vec![None; vips.len()];
        let mut rest = (vips, &mut found[..]);
        while !rest.0.is_empty() {
            let mut queued = 0;
            for vip in rest.0 {
                Message::RouteTo(*vip).queue(&mut self.connection.exchange).map_err(failed)?;
                queued += 1;
                if self.connection.exchange.is_full() {
                    break;
                }
            }
            let (asked, places) = rest;
            let (now, later) = places.split_at_mut(queued.min(places.len()));
            let mut refused = None;
            let settled = self.connection.settle(
                |request, kind, body| {
                    if let Some(place) = now.get_mut(request) {
                        *place = message::read_route(kind, body)?;
                    }
                    Ok(())
                },
                // No route exists, or it is not local; unless the look-up itself failed.
                |_, refusal, _| {
                    if [Errno::ENOMEM as i32, Errno::ENOBUFS as i32].contains(&refusal.errno) {
                        refused = Some(refusal);
                    }
                },
            );
            settled.map_err(failed)?;
            if let Some(refusal) = refused {
                return Err(failed(explain(refusal).into()));
            }
            rest = (asked.get(queued..).unwrap_or_default(), later);
        }
        Ok(found)
    }
}

/// Explains the refusal of a dump of routes, of which `nothing` or something arrived.
fn unless_absent(refused: Option<Refusal>, nothing: bool) -> Result<(), Refused> {
    match refused {
        // The machine has no such table or protocol, and thus no routes in it.
        Some(Refusal { errno, .. }) if nothing && [Errno::ENOENT as i32, Errno::EOPNOTSUPP as i32].contains(&errno) => {
            Ok(())
        }
        Some(refusal) => Err(explain(refusal)),
        None => Ok(()),
    }
}

fn retry_if_interrupted<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
    let mut last = read();
    for _ in 1..LISTINGS {
        if !last.as_ref().is_err_and(Error::is_interrupted) {
            break;
        }
        trace::retry("the table changed while it was read");
        last = read();
    }
    last
}

fn of_another_kind(link: Link) -> Cause {
    let kind = link.kind.map_or("no kind of its own (hardware or loopback)".to_owned(), |kind| format!("kind {kind}"));
    let explanation = format!("an interface of this name exists and has {kind}");
    Cause::precondition(Reason::AlreadyExists, explanation)
}
