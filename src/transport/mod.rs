//! The sockets that carry an [`exchange`](crate::exchange) to the kernel and back.

pub(crate) mod blocking;

use std::time::Duration;

/// How a client talks to the kernel. The defaults suit a table of any size.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// How long to wait for each datagram of an answer before giving up with
    /// [`is_timed_out`](crate::Error::is_timed_out). 30 seconds by default; [`Duration::ZERO`] waits for ever.
    pub timeout: Duration,
    /// The receive buffer to ask for, in bytes (`SO_RCVBUFFORCE`, or as much as `net.core.rmem_max` allows without the
    /// privilege). It decides how many requests of a batch travel at once. 1 MiB by default; less than 128 KiB is taken
    /// for 128 KiB.
    pub receive_buffer: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), receive_buffer: 1 << 20 }
    }
}
