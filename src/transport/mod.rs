//! The sockets that carry an [`exchange`](crate::exchange) to the kernel and back.
//!
//! # What makes it quick
//!
//! Instructions of the kernel and a bare loop that sends ready bytes, on Linux 6.1 (`cargo xtask bench datagrams inboxes`):
//!
//! | requests in a datagram, one acknowledgement | 2 | 8 | 32 | 128 | 512 | 1024 |
//! |---|---|---|---|---|---|---|
//! | add a service | 7900 | 5800 | 5250 | 5190 | 5100 | 5100 |
//! | delete one (8300 alone) | 5430 | 3280 | 2750 | 2690 | 2600 | 2600 |
//!
//! | inbox | 4 KiB | 8 KiB | 16 KiB | 32 KiB | 64 KiB |
//! |---|---|---|---|---|---|
//! | list the 2 destinations of a service | 21,700 | 25,300 | 29,700 | 29,700 | 29,700 |
//! | list 20 destinations | 99,400 | 96,000 | 100,400 | 100,400 | 100,400 |
//! | list services, for each of 2000 | 4720 | 4120 | 3820 | 3660 | 3630 |
//!
//! - Hence many requests in a datagram, up to what the receive buffer can take of refusals, and only the last one is
//!   acknowledged. More than some hundreds are no better.
//! - The kernel takes memory for each part of a list, also for the one that only says that it ended, as large as the
//!   largest inbox that the socket was ever read into (up to 32 KiB), and stock kernels fill it with zeros first. So short
//!   lists go through a socket of their own that is only read into a page.
//! - The clock is not read while all goes well. To ask who sent a datagram costs as much (some 150 instructions), but is what
//!   makes certain that it was the kernel.
//!
//! What does not help: to send eight datagrams before reading the acknowledgements (5195 for 5190 a service). What was not
//! tried: `recvmmsg`, because the kernel makes the next part of a list while the one before is received, so that it would
//! spare no more than a system call (some hundred instructions) for a hundred services; `sendmsg` with several buffers,
//! because requests are written into one from the start; several sockets for lists of destinations, because the kernel
//! makes them under one lock.

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
