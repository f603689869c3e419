//! Buffers and time limits of a client.

use std::time::Duration;

/// Buffers and time limits of a client. The defaults suit a table of any size.
///
/// ```
/// # use std::time::Duration;
/// let options = lvs::Options::default().timeout(Duration::from_secs(5)).deadline(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Longest wait for each datagram of an answer, after which the operation fails with
    /// [`is_timed_out`](crate::Error::is_timed_out). 30 seconds by default; [`Duration::ZERO`] waits without end.
    pub timeout: Duration,
    /// Longest duration of an operation, after which it fails with [`is_timed_out`](crate::Error::is_timed_out). A batch, and
    /// every other operation of several requests, has this time for each datagram that it sends. 5 minutes by default;
    /// [`Duration::ZERO`] means none.
    ///
    /// A collected listing is one operation with all of its readings. A streamed listing is one operation for each
    /// item, without the time between two items; dropping it is another one. The duration is counted from the first
    /// wait, or from the 64th datagram of the operation: the success path reads no clock.
    ///
    /// The client can be used after a listing that was ended by its deadline. The next operation first reads the rest
    /// of the unfinished dump, within its own deadline, since the kernel allows one dump at a time on a socket.
    pub deadline: Duration,
    /// Maximum number of bytes that a collected listing may receive in one reading, after which it fails with
    /// [`Cause::ListingTooLong`](crate::Cause::ListingTooLong). 1 GiB by default, enough for some 2,500,000 services; at
    /// least 64 KiB.
    ///
    /// It bounds the memory of a client whose peer never ends a listing. Streamed listings use constant memory.
    pub largest_listing: usize,
    /// The requested receive buffer in bytes (`SO_RCVBUFFORCE`, or as much as `net.core.rmem_max` allows without the
    /// privilege). It limits the number of requests in a datagram of a batch. 1 MiB by default, at least 128 KiB.
    pub receive_buffer: usize,
}

impl Options {
    /// See [`Options::timeout`](field@Options::timeout).
    #[must_use = "the changed value is returned"]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// See [`Options::deadline`](field@Options::deadline).
    #[must_use = "the changed value is returned"]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// See [`Options::largest_listing`](field@Options::largest_listing).
    #[must_use = "the changed value is returned"]
    pub fn largest_listing(self, bytes: usize) -> Self {
        Self { largest_listing: bytes, ..self }
    }

    /// See [`Options::receive_buffer`](field@Options::receive_buffer).
    #[must_use = "the changed value is returned"]
    pub fn receive_buffer(self, bytes: usize) -> Self {
        Self { receive_buffer: bytes, ..self }
    }
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
