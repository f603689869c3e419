//! Changes of virtual IPs as values, and the messages to rtnetlink.

use std::fmt;

use super::binder::{Binder, Vip, Way};
use super::link::LinkRequest;
use super::message::{self, Target};
use super::refusal::explain;
use crate::connection::{Exchange, Prepared, Request};
use crate::error::{Cause, Refusal, Refused, Result};
use crate::net::Family;
use crate::wire::message::{CREATE, EXCLUSIVE};

/// One change of virtual IPs, as a value.
///
/// Its text names the operation and the object: `bind 10.96.0.10 to vip0`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Change {
    /// Binds a virtual IP (`RTM_NEWADDR`, `RTM_NEWROUTE`).
    #[doc(alias = "RTM_NEWADDR")]
    #[doc(alias = "RTM_NEWROUTE")]
    #[cfg_attr(feature = "serde", serde(with = "by_name"))]
    Bind(Binder, Vip),
    /// Unbinds a virtual IP (`RTM_DELADDR`, `RTM_DELROUTE`).
    #[doc(alias = "RTM_DELADDR")]
    #[doc(alias = "RTM_DELROUTE")]
    #[cfg_attr(feature = "serde", serde(with = "by_name"))]
    Unbind(Binder, Vip),
}

impl Change {
    /// Returns the virtual IP.
    pub fn vip(&self) -> Vip {
        match *self {
            Self::Bind(_, vip) | Self::Unbind(_, vip) => vip,
        }
    }

    /// Checks the change for a program with its own transport. `interface` is the index of the binder's interface, which must
    /// exist: a dummy interface is not created. Binders of local routes use the loopback interface instead.
    ///
    /// Unlike [`Vips`](super::Vips), the request does not look for conflicts first.
    ///
    /// # Errors
    /// [`is_invalid_input`](crate::Error::is_invalid_input), as of [`Vips::bind`](super::Vips::bind).
    pub fn prepare(self, interface: u32) -> Result<Prepared<'static>> {
        Prepared::new(Sent { change: self, interface })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(binder, vip) => write!(f, "bind {vip} to {binder}"),
            Self::Unbind(binder, vip) => write!(f, "unbind {vip} from {binder}"),
        }
    }
}

/// Serialised form of a binder and a virtual IP.
#[cfg(feature = "serde")]
mod by_name {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Binder, Vip};

    #[derive(Deserialize, Serialize)]
    struct ByName {
        binder: Binder,
        vip: Vip,
    }

    pub(super) fn serialize<S: Serializer>(binder: &Binder, vip: &Vip, serializer: S) -> Result<S::Ok, S::Error> {
        ByName { binder: *binder, vip: *vip }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(Binder, Vip), D::Error> {
        ByName::deserialize(deserializer).map(|ByName { binder, vip }| (binder, vip))
    }
}

/// A message to rtnetlink.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message<'a> {
    /// Binds an address or a prefix.
    Bind(Target, Vip),
    /// Unbinds an address or a prefix.
    Unbind(Target, Vip),
    /// Deletes an address from an interface that does not exist: shows whether the caller has the privilege.
    DeleteNothing,
    /// Lists the addresses of the interface with this index.
    Addresses(u32),
    /// Looks up the route that packets to an address take.
    RouteTo(Vip),
    /// Lists the routes of one protocol that make addresses local.
    LocalRoutes(Family, u8),
    /// Lists all routes of the table `local`.
    RoutesOfTable(Family),
    /// A request about an interface.
    Link(LinkRequest<'a>),
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(_, vip) => write!(f, "bind {vip}"),
            Self::Unbind(_, vip) => write!(f, "unbind {vip}"),
            Self::DeleteNothing => f.write_str("delete no address"),
            Self::Addresses(index) => write!(f, "list the addresses of interface {index}"),
            Self::RouteTo(vip) => write!(f, "look up the route to {vip}"),
            Self::LocalRoutes(family, _) => write!(f, "list the local routes of the family {family}"),
            Self::RoutesOfTable(family) => write!(f, "list the routes of the table local, family {family}"),
            Self::Link(LinkRequest::All) => f.write_str("list interfaces"),
            Self::Link(LinkRequest::Get(_) | LinkRequest::GetIndex(_)) => f.write_str("look up an interface"),
            Self::Link(LinkRequest::NewDummy(_) | LinkRequest::ImpossibleDummy) => {
                f.write_str("create a dummy interface")
            }
            Self::Link(LinkRequest::Delete(index)) => write!(f, "delete interface {index}"),
        }
    }
}

impl Request for Message<'_> {
    fn check(&self) -> Result<(), Cause> {
        Ok(())
    }

    // Inlined for the bar of binding virtual IPs.
    #[inline]
    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        const NEW: u16 = CREATE | EXCLUSIVE;
        match *self {
            Self::Bind(target, vip) => {
                let kind = if target.is_route() { message::NEW_ROUTE } else { message::NEW_ADDRESS };
                exchange.queue_with(kind, NEW, |out| message::write_bind(out, target, vip))?;
            }
            Self::Unbind(target, vip) => {
                let kind = if target.is_route() { message::DELETE_ROUTE } else { message::DELETE_ADDRESS };
                exchange.queue_with(kind, 0, |out| message::write_unbind(out, target, vip))?;
            }
            Self::DeleteNothing => exchange.queue_with(message::DELETE_ADDRESS, 0, message::write_impossible_delete)?,
            Self::Addresses(index) => {
                exchange.queue_dump_with(message::GET_ADDRESS, |out| message::write_get_addresses(out, index))?;
            }
            Self::RouteTo(vip) => {
                exchange.queue_with(message::GET_ROUTE, 0, |out| message::write_get_route(out, vip))?
            }
            Self::LocalRoutes(family, protocol) => {
                exchange.queue_dump_with(message::GET_ROUTE, |out| message::write_get_routes(out, family, protocol))?;
            }
            Self::RoutesOfTable(family) => {
                exchange.queue_dump_with(message::GET_ROUTE, |out| message::write_get_table(out, family))?;
            }
            Self::Link(link @ LinkRequest::All) => exchange.queue_dump_with(link.kind(), |out| link.write(out))?,
            Self::Link(link @ (LinkRequest::NewDummy(_) | LinkRequest::ImpossibleDummy)) => {
                exchange.queue_with(link.kind(), NEW, |out| link.write(out))?;
            }
            Self::Link(link) => exchange.queue_with(link.kind(), 0, |out| link.write(out))?,
        }
        Ok(1)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        explain(refusal)
    }
}

/// A change as a program with its own transport sends it.
struct Sent {
    change: Change,
    interface: u32,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.change.fmt(f)
    }
}

impl Request for Sent {
    fn check(&self) -> Result<(), Cause> {
        let (Change::Bind(binder, vip) | Change::Unbind(binder, vip)) = self.change;
        binder.check(vip)
    }

    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        let (Change::Bind(binder, _) | Change::Unbind(binder, _)) = self.change;
        let index = if let Way::Routes(_) = binder.0 { message::LOOPBACK } else { self.interface };
        let target = Target { way: binder.0, index, is_checked: false };
        match self.change {
            Change::Bind(_, vip) => Message::Bind(target, vip).queue(exchange),
            Change::Unbind(_, vip) => Message::Unbind(target, vip).queue(exchange),
        }
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        explain(refusal)
    }
}

impl Target {
    /// Whether a route is bound, not an address of an interface.
    pub(super) fn is_route(self) -> bool {
        matches!(self.way, Way::Routes(_))
    }
}
