//! The connection tracker (`nf_conntrack`): listing UDP flows, and deleting a stale one.
//!
//! - [`Conntrack`] is the client: one socket, every operation.
//! - A [`Flow`] is an entry of the tracker, with the [`Tuple`] of each direction. [`Flow::is_stale`] is the rule for services.
//! - A [`Change`] is one change as a value, a [`Query`] one question.
//!
//! The tracker translates the addresses of a flow as it did for the first packet, and every further datagram renews the entry. A
//! UDP flow that began before its virtual IP was bound, or before its service existed, is thus not masqueraded for as long as
//! it lasts: it gets no replies, although IPVS schedules it. The same happens to a flow of which a datagram arrives
//! while its service is deleted and added again. Deleting the entry mends the flow: the next datagram begins a new one.
//! Only a director with `net.ipv4.vs.conntrack` at 1 and rules of source NAT is affected.
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
//! Flows of other protocols are neither listed nor deleted. Flows are of one network namespace: see [`netns`](crate::netns).

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
