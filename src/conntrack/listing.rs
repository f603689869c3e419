//! Listing flows.

use super::client::Conntrack;
use super::flow::Flow;
use super::request::{Query, is_entry};
use crate::error::{Error, Result};
use crate::net::Family;
use crate::wire::nfnetlink;

impl Conntrack {
    /// Returns the UDP flows of a family (`IPCTNL_MSG_CT_GET`): as [`Conntrack::stream_flows`].
    ///
    /// # Errors
    /// See [`Conntrack`]; also when a flow cannot be decoded: [`Conntrack::stream_flows`] has the others.
    pub fn flows(&mut self, family: Family) -> Result<Vec<Flow>> {
        self.stream_flows(family)?.collected()
    }

    /// Streams the UDP flows of a family (`IPCTNL_MSG_CT_GET`), as they arrive from the kernel.
    ///
    /// Uses constant memory, and may be dropped early. Since Linux 5.8 the kernel omits other protocols (`CTA_FILTER`);
    /// before, they are read and skipped. The kernel walks the whole tracker in either case.
    ///
    /// Flows that begin or end meanwhile may be listed or not. If the kernel resizes its table meanwhile, a flow may be
    /// missing or listed twice; the kernel does not report that.
    ///
    /// A flow that cannot be decoded is an item that is an error; the next item is the next flow. Any other error is
    /// the last item.
    ///
    /// # Errors
    /// See [`Conntrack`]; later ones are items.
    #[doc(alias("IPCTNL_MSG_CT_GET", "CTA_FILTER"))]
    pub fn stream_flows(&mut self, family: Family) -> Result<Flows<'_>> {
        let query = Query::Flows(family);
        self.connection.start(&query)?;
        Ok(Flows { conntrack: self, query, ended: false })
    }
}

/// Flows as they arrive from the kernel: see [`Conntrack::stream_flows`].
#[derive(Debug)]
pub struct Flows<'a> {
    conntrack: &'a mut Conntrack,
    query: Query,
    ended: bool,
}

impl Iterator for Flows<'_> {
    type Item = Result<Flow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.conntrack.connection.renew_deadline();
        self.advance()
    }
}

impl Flows<'_> {
    /// Reads the whole dump as one operation, which the deadline and the largest listing bound.
    fn collected(mut self) -> Result<Vec<Flow>> {
        std::iter::from_fn(|| self.advance()).collect()
    }

    /// Returns the next flow within the operation that has started.
    fn advance(&mut self) -> Option<Result<Flow>> {
        while !self.ended {
            match self.conntrack.connection.next_item(&self.query) {
                Ok(Some(kind)) if is_entry(kind) => {}
                Ok(Some(_)) => continue,
                Ok(None) => break,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
            let flow = nfnetlink::attributes(self.conntrack.connection.exchange.message()).and_then(Flow::read);
            match flow {
                Ok(None) => {}
                Ok(Some(flow)) => return Some(Ok(flow)),
                Err(fault) => return Some(Err(Error::new(self.query, fault))),
            }
        }
        self.ended = true;
        None
    }
}

impl Drop for Flows<'_> {
    fn drop(&mut self) {
        self.conntrack.connection.abandon();
    }
}
