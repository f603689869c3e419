//! Changes and queries of the connection tracker, as values.

use std::fmt;

use super::flow::{Flow, write_filter};
use super::refusal::explain;
use crate::connection::{Exchange, Request};
use crate::error::{Cause, Error, Refusal, Refused, Result};
use crate::net::Family;
use crate::wire::{Writer, nfnetlink};

/// One change of the connection tracker, as a value. [`Conntrack::change`](super::Conntrack::change) carries it out.
///
/// Its text names the operation and the object: `delete flow 10.0.0.2:4000 -> 10.96.0.10:53/udp`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Deletes a flow (`IPCTNL_MSG_CT_DELETE`).
    #[doc(alias = "IPCTNL_MSG_CT_DELETE")]
    Delete(Flow),
}

impl Change {
    /// Checks, without the kernel, that the kernel accepts the change. [`Conntrack`](super::Conntrack) checks every
    /// change before sending it.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input), with the fault.
    pub fn check(&self) -> Result<()> {
        Request::check(self).map_err(|cause| Error::new(self, cause))
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Delete(flow) => {
                nfnetlink::write_header(out, family_number(flow.family()));
                flow.write_key(out);
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete(flow) if f.alternate() => write!(f, "delete flow {flow:#}"),
            Self::Delete(flow) => write!(f, "delete flow {flow}"),
        }
    }
}

impl Request for Change {
    fn check(&self) -> Result<(), Cause> {
        match self {
            Self::Delete(flow) => flow.check(),
        }
    }

    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        match self {
            Self::Delete(_) => exchange.queue_with(DELETE, 0, |out| self.write(out))?,
        }
        Ok(1)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        explain(refusal)
    }
}

/// One query of the connection tracker, as a value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Query {
    /// The UDP flows of a family (`IPCTNL_MSG_CT_GET`).
    #[doc(alias = "IPCTNL_MSG_CT_GET")]
    Flows(Family),
}

impl Query {
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Flows(family) => {
                nfnetlink::write_header(out, family_number(*family));
                write_filter(out);
            }
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flows(family) => write!(f, "list the UDP flows of the family {family}"),
        }
    }
}

impl Request for Query {
    fn check(&self) -> Result<(), Cause> {
        Ok(())
    }

    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        match self {
            Self::Flows(_) => exchange.queue_dump_with(GET, |out| self.write(out))?,
        }
        Ok(1)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        explain(refusal)
    }
}

/// The type of a message with an entry.
pub(super) fn is_entry(kind: u16) -> bool {
    kind == NEW
}

pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => INET,
        Family::Inet6 => INET6,
    }
}

/// The family of this number.
#[cfg(feature = "testing")]
pub(crate) fn family(number: u8) -> Option<Family> {
    [Family::Inet, Family::Inet6].into_iter().find(|family| family_number(*family) == number)
}

/// Whether a message is one of the connection tracker.
#[cfg(feature = "testing")]
pub(crate) fn is_of_tracker(kind: u16) -> bool {
    kind.to_be_bytes().first() == Some(&SUBSYSTEM)
}

/// The connection tracker among netfilter's subsystems (`NFNL_SUBSYS_CTNETLINK`).
const SUBSYSTEM: u8 = 1;

/// Types of messages (`enum cntl_msg_types`).
pub(crate) const NEW: u16 = nfnetlink::message_type(SUBSYSTEM, 0);
pub(crate) const GET: u16 = nfnetlink::message_type(SUBSYSTEM, 1);
pub(crate) const DELETE: u16 = nfnetlink::message_type(SUBSYSTEM, 2);

/// Families (`NFPROTO_*`).
const INET: u8 = 2;
const INET6: u8 = 10;
