//! Requests for programs with their own transport.

use std::fmt;

use super::{Cause, Error, Exchange, Refusal, Request, Result};

/// A request for a program with its own transport: its messages, and the meaning of the kernel's reply.
///
/// It is created by `prepare` of the changes and queries, such as [`ipvs::Change::prepare`](crate::ipvs::Change::prepare), and
/// travels through an [`Exchange`]. The example `own_transport` sends requests over an asynchronous socket.
pub struct Prepared<'a>(Box<dyn Request + Send + Sync + 'a>);

impl<'a> Prepared<'a> {
    /// Checks a request.
    pub(crate) fn new(request: impl Request + Send + Sync + 'a) -> Result<Self> {
        match request.check() {
            Ok(()) => Ok(Self(Box::new(request))),
            Err(cause) => Err(Error::new(request, cause)),
        }
    }

    /// Queues the messages of the request: one, or two where the kernel answers only the second.
    ///
    /// # Errors
    /// As [`Exchange::queue`], or [`Exchange::queue_dump`] if it is a dump. Then nothing was queued.
    pub fn queue(&self, exchange: &mut Exchange) -> Result<()> {
        let queued = exchange.check_queue(self.is_dump()).and_then(|()| self.0.queue(exchange));
        queued.map(drop).map_err(|cause| self.failed(cause))
    }

    /// Whether the request asks for a dump (`NLM_F_DUMP`), which must be alone in its datagram.
    pub fn is_dump(&self) -> bool {
        self.0.is_dump()
    }

    /// Returns the error of a refused request, with the meaning of the refusal.
    pub fn refused(&self, refusal: Refusal) -> Error {
        self.failed(self.0.refused(refusal).into())
    }

    /// Returns the error of a request that failed for another cause, such as an error of the socket.
    pub fn failed(&self, cause: Cause) -> Error {
        Error::new(self, cause)
    }
}

impl fmt::Display for Prepared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({self})")
    }
}
