//! The sockets that carry an [`exchange`](crate::exchange) to the kernel and back.
//!
//! # What makes it quick
//!
//! Instructions of the kernel and a bare loop that sends ready bytes, on Linux 6.1 (`cargo xtask bench datagrams inboxes`):
//!
//! | requests in a datagram, one acknowledgement | 1 | 2 | 8 | 32 | 128 | 512 | 1024 |
//! |---|---|---|---|---|---|---|---|
//! | change a service | 8590 | 5790 | 3640 | 3090 | 3040 | 2950 | 2940 |
//! | delete one | 8300 | 5810 | 3320 | 2790 | 2730 | 2640 | 2620 |
//! | add one (5000 or 13,000, as the kernel finds room for the counters of each processor) | | 15,700 | 13,550 | 13,010 | 12,950 | 12,860 | 12,850 |
//!
//! | inbox | 4 KiB | 8 KiB | 16 KiB | 32 KiB | 64 KiB |
//! |---|---|---|---|---|---|
//! | list the 2 destinations of a service | 21,600 | 25,300 | 29,700 | 29,700 | 29,700 |
//! | list 20 destinations | 99,400 | 96,000 | 100,400 | 100,400 | 100,400 |
//! | list services, for each of 1000 | 4440 | 3990 | 3760 | 3630 | 3630 |
//!
//! - Hence many requests in a datagram, up to what the receive buffer can take of refusals, and only the last one is
//!   acknowledged. More than some hundreds are no better.
//! - The kernel takes memory for each part of a list, also for the one that only says that it ended, as large as the
//!   largest inbox that the socket was ever read into (up to 32 KiB), and stock kernels fill it with zeros first. So short
//!   lists go through a socket of their own that is only read into a page. Long ones go through the other: what comes in
//!   one part need not be read twice.
//! - The success path reads no clock and queries no sender address (150 instructions each): netlink answers while it takes
//!   the request, so that the answer is received with `MSG_DONTWAIT`, and only the kernel can send to a connected socket.
//!
//! What does not help:
//!
//! - To send eight datagrams before reading the acknowledgements: 12,953 for 12,952 an added service.
//! - `sendmsg` with a buffer for each request: 13,046. (The kernel copies them into one.)
//! - `recvmmsg` for a list's only part and its end: 22,070 for 21,640. The kernel makes the second while the first is
//!   received, so that a system call is all that it spares, and it costs more than that.
//! - Several sockets: 21,730 for 21,640 with eight lists of destinations under way at once. By its source the kernel makes
//!   them under one lock, so that more processors should not help either.

pub(crate) mod blocking;
mod budget;

use std::time::Duration;

/// How a client talks to the kernel. The defaults suit a table of any size.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Longest wait for each datagram of an answer, after which the operation fails with
    /// [`is_timed_out`](crate::Error::is_timed_out). 30 seconds by default; [`Duration::ZERO`] waits without end.
    pub timeout: Duration,
    /// Longest duration of a whole operation, after which it fails with
    /// [`is_timed_out`](crate::Error::is_timed_out). 5 minutes by default; [`Duration::ZERO`] means none.
    ///
    /// A listing that is collected is one operation with all of its repetitions. A listing that is streamed is one operation
    /// for each item, so that the caller may take its time between two items; dropping it is another one. A batch, and
    /// every operation of several requests other than a listing, has this long for each datagram of requests. The duration is
    /// counted from the first wait, or from the 64th datagram of the operation: the success path reads no clock.
    ///
    /// After a listing that was ended by its deadline the client can be used: the next operation reads the rest of the
    /// unfinished dump, within its own deadline. The kernel allows one dump at a time on a socket.
    pub deadline: Duration,
    /// Most bytes that a collected listing may receive in one reading, after which it fails with
    /// [`Cause::ListingTooLong`](crate::Cause::ListingTooLong). 1 GiB by default, enough for some 2,500,000 services.
    ///
    /// It bounds the memory of a client whose peer never ends a listing. Streamed listings use constant memory.
    pub largest_listing: usize,
    /// The receive buffer to ask for, in bytes (`SO_RCVBUFFORCE`, or as much as `net.core.rmem_max` allows without the
    /// privilege). It decides how many requests of a batch travel at once. 1 MiB by default; less than 128 KiB is taken
    /// for 128 KiB.
    pub receive_buffer: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(300),
            largest_listing: 1 << 30,
            receive_buffer: 1 << 20,
        }
    }
}
