//! The client: operations on the connection tracker.

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::flow::Flow;
use super::request::Change;
use crate::connection::{Connection, Options};
use crate::error::{Error, Result};
use crate::outcome::Outcome;

/// Client of the connection tracker of one network namespace: that of the thread that connects.
///
/// It holds one netlink socket. Every operation except connecting needs `CAP_NET_ADMIN` in the user namespace that owns
/// the network namespace, also listing; [`is_permission_denied`](Error::is_permission_denied) reports a lack of it. The
/// kernel checks the sender of each request: a client does not carry the privilege of the process that opened it.
///
/// The first request loads the module `nf_conntrack_netlink`, and with it `nf_conntrack`. If the kernel has neither,
/// operations fail with [`is_unavailable`](Error::is_unavailable). A loaded module does not track by itself: without a
/// rule or a service that needs it, listings are empty. Each operation can also fail for reasons that are not repeated
/// below: a timeout ([`Options::timeout`]), lost replies ([`Cause::Overrun`](crate::Cause::Overrun)).
#[derive(Debug)]
#[doc(alias("nf_conntrack", "ctnetlink", "conntrack"))]
pub struct Conntrack {
    pub(super) connection: Connection,
}

impl Conntrack {
    /// Opens a socket.
    ///
    /// # Errors
    /// If no socket can be opened.
    pub fn connect() -> Result<Self> {
        Self::connect_with(&Options::default())
    }

    /// Connects as [`Conntrack::connect`], with other buffers or another timeout.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// use lvs::conntrack::Conntrack;
    /// let client = Conntrack::connect_with(&lvs::Options::default().timeout(Duration::from_secs(1)))?;
    /// # Ok::<(), lvs::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Conntrack::connect`].
    pub fn connect_with(options: &Options) -> Result<Self> {
        let connection = Connection::open(NETLINK_NETFILTER, options);
        connection.map(Self::over).map_err(|cause| Error::new("connect to the connection tracker", cause))
    }

    pub(crate) fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// Deletes a flow (`IPCTNL_MSG_CT_DELETE`). Its next packet begins a new flow with a new translation.
    ///
    /// The kernel looks the flow up by its reply tuple and zone, and compares the number of the entry. A later flow of
    /// the same client is deleted instead only if it has the same reply tuple and the same place in the kernel's
    /// memory.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when the flow has ended; [`is_in_use`](Error::is_in_use) before Linux 6.4
    /// when it is offloaded to a flow table.
    #[doc(alias = "IPCTNL_MSG_CT_DELETE")]
    pub fn delete(&mut self, flow: &Flow) -> Result<()> {
        self.change(Change::Delete(*flow))
    }

    /// Deletes a flow if it has not ended.
    ///
    /// # Errors
    /// As [`Conntrack::delete`], except for a flow that has ended.
    pub fn remove(&mut self, flow: &Flow) -> Result<Outcome> {
        match self.delete(flow) {
            Err(error) if error.is_not_found() => Ok(Outcome::Unchanged),
            done => done.map(|()| Outcome::Deleted),
        }
    }

    /// Makes one change.
    ///
    /// # Errors
    /// As the method named like the change.
    pub fn change(&mut self, change: Change) -> Result<()> {
        self.connection.run(&change, |_, _| Ok(()))
    }
}
