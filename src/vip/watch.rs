//! Notifications of lost addresses.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;

use super::link::DELETE_LINK;
use super::message::{ANYCAST, BROADCAST, DELETE_ADDRESS, DELETE_ROUTE, LOCAL, MULTICAST, NEW_ROUTE, TABLE};
use crate::connection::Notifications;
use crate::error::{Cause, Error, Result};
use crate::wire::message::{self, REPLACE};

/// Groups of interfaces, addresses and routes of both families (`RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, …).
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];

/// Longest notification that is read whole; the beginning of a longer one is enough.
const INBOX: usize = 32 << 10;

/// Receiver of the kernel's notifications about lost local addresses, in the network namespace of the thread that
/// connects.
///
/// A virtual IP is lost when another program deletes its address, local route or interface, or replaces its local
/// route. The descriptor becomes readable then, and also at other changes of interfaces, addresses and routes; [`Watch::lost`] distinguishes them. It
/// needs no privilege.
///
/// ```no_run
/// use lvs::vip::{Binder, Vip, Vips, Watch};
///
/// // Connected before the virtual IPs are bound, it misses nothing.
/// let mut watch = Watch::connect()?;
/// let mut vips = Vips::connect()?;
/// let (binder, desired) = (Binder::dummy("vip0")?, ["10.96.0.10".parse::<Vip>()?]);
/// vips.sync(&binder, desired)?;
/// // Later, when `watch` is readable:
/// if watch.lost()? {
///     vips.sync(&binder, desired)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[doc(alias("RTNLGRP_LINK", "RTNLGRP_IPV4_IFADDR", "RTNLGRP_IPV4_ROUTE", "RTNLGRP_IPV6_IFADDR", "RTNLGRP_IPV6_ROUTE"))]
pub struct Watch {
    notifications: Notifications,
    inbox: Vec<u8>,
}

impl Watch {
    /// Opens a socket and subscribes to the notifications.
    ///
    /// # Errors
    /// If no socket can be opened.
    pub fn connect() -> Result<Self> {
        let notifications = Notifications::subscribe(NETLINK_ROUTE, &GROUPS);
        let notifications = notifications.map_err(|cause| Error::new("watch virtual IPs", cause))?;
        Ok(Self { notifications, inbox: vec![0; INBOX] })
    }

    /// Returns true if an address, an interface or a route of the table `local` was deleted since the last call, by any
    /// program. A route that was replaced, or that refuses packets (`unreachable`, `blackhole`), counts, too, and so do
    /// notifications that the kernel dropped because too many arrived. Does not block.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub fn lost(&mut self) -> Result<bool> {
        let mut lost = false;
        loop {
            match self.notifications.receive(&mut self.inbox) {
                Ok(None) => return Ok(lost),
                Ok(Some(datagram)) => lost |= has_loss(datagram),
                Err(Cause::Overrun) => lost = true,
                Err(cause) => return Err(Error::new("watch virtual IPs", cause)),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notifications.as_fd()
    }
}

/// Whether a notification reports the deletion or replacement of an object that can make an address local. A malformed
/// one counts.
fn has_loss(mut datagram: &[u8]) -> bool {
    while !datagram.is_empty() {
        let Ok(incoming) = message::read(datagram) else { return true };
        datagram = incoming.rest;
        let loss = match incoming.kind {
            DELETE_ADDRESS | DELETE_LINK => true,
            DELETE_ROUTE => table_and_class(incoming.body).is_none_or(|(table, _)| table == TABLE),
            // The kernel does not report the deletion of a route that another one replaces.
            NEW_ROUTE => table_and_class(incoming.body).is_none_or(|(table, class)| {
                let is_usual = [LOCAL, BROADCAST, ANYCAST, MULTICAST].contains(&class);
                table == TABLE && (incoming.flags & REPLACE != 0 || !is_usual)
            }),
            _ => false,
        };
        if loss {
            return true;
        }
    }
    false
}

/// Returns the table and the type of a route: the fifth and the eighth byte of `struct rtmsg`.
fn table_and_class(body: &[u8]) -> Option<(u8, u8)> {
    Some((*body.get(4)?, *body.get(7)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(kind: u16, body: &[u8]) -> Vec<u8> {
        with_flags(kind, 0, body)
    }

    fn with_flags(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], body].concat()
    }

    #[test]
    fn replaced_local_routes_are_losses() {
        let body = |table, class| [2, 32, 0, 0, table, 77, 0, class, 0, 0, 0, 0];
        for class in [LOCAL, BROADCAST, ANYCAST, MULTICAST] {
            assert!(!has_loss(&notification(NEW_ROUTE, &body(TABLE, class))), "{class}");
            assert!(has_loss(&with_flags(NEW_ROUTE, REPLACE, &body(TABLE, class))), "{class}");
        }
        // `unicast`, `blackhole`, `unreachable`, `prohibit`, `throw`: the flag may be absent.
        for class in [1, 6, 7, 8, 9] {
            assert!(has_loss(&notification(NEW_ROUTE, &body(TABLE, class))), "{class}");
            assert!(!has_loss(&with_flags(NEW_ROUTE, REPLACE, &body(254, class))), "{class}");
        }
        assert!(has_loss(&notification(NEW_ROUTE, &[2, 32])));
    }

    #[test]
    fn deleted_addresses_local_routes_and_interfaces_are_losses() {
        let route = |table| notification(DELETE_ROUTE, &[2, 32, 0, 0, table, 2, 254, 2, 0, 0, 0, 0]);
        let new = notification(20, &[2, 32, 0, 0, 1, 0, 0, 0]);
        assert!(!has_loss(&new));
        assert!(!has_loss(&route(254)));
        assert!(has_loss(&route(TABLE)));
        assert!(has_loss(&notification(DELETE_LINK, &[0; 16])));
        assert!(has_loss(&[new, notification(DELETE_ADDRESS, &[2, 32, 0, 0, 1, 0, 0, 0])].concat()));
        assert!(has_loss(&notification(DELETE_ROUTE, &[])));
        assert!(has_loss(b"short"));
        assert!(!has_loss(b""));
    }
}
