//! Connection tracker (`nf_conntrack`): lists UDP flows, and deletes stale ones.
//!
//! - [`Conntrack`] is the client, with a method for every operation.
//! - A flow is the traffic between two sockets, and the tracker has an entry for each. A [`Flow`] is this entry as it was
//!   read, with the [`Tuple`] of each direction. [`Flow::is_stale`] is the rule for services.
//! - A [`Change`] is one change as a value, a [`Query`] one query.
//!
//! The tracker translates all packets of a flow as the first one, and each packet prolongs the entry. So a UDP flow
//! that began before its virtual IP was bound, or before its service existed, is never masqueraded: it gets no replies,
//! although IPVS schedules it. The same happens to a flow with a packet that arrives while its service is deleted and
//! added again. Deleting the entry repairs the flow: the next packet creates a new entry. Only machines with
//! `net.ipv4.vs.conntrack` at 1 and rules of source NAT are affected.
//!
//! ```no_run
//! use std::net::SocketAddr;
//!
//! use lvs::conntrack::Conntrack;
//! use lvs::{Family, Result};
//!
//! /// Deletes the stale flows to a UDP service, after the service was added or its address was bound.
//! fn mend(conntrack: &mut Conntrack, service: SocketAddr, endpoints: &[SocketAddr]) -> Result<()> {
//!     let mut stale = Vec::new();
//!     for flow in conntrack.stream_flows(Family::of(service.ip()))? {
//!         let flow = flow?;
//!         if flow.is_stale(service, endpoints.iter().copied()) {
//!             stale.push(flow);
//!         }
//!     }
//!     for flow in stale {
//!         conntrack.remove(&flow)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Flows of other protocols are neither listed nor deleted. Flows belong to one network namespace: see
//! [`netns`](crate::netns).

mod client;
pub(crate) mod flow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod listing;
mod refusal;
pub(crate) mod request;
#[cfg(test)]
mod tests;

pub use client::Conntrack;
pub use flow::{Flow, Tuple};
pub use listing::Flows;
pub use request::{Change, Query};
