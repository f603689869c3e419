//! The end of a client's socket that the client holds.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use nix::libc::{EAGAIN, ENOBUFS};

use super::answer::MULTI;
use super::fault::{Event, disturb, due};
use super::kernel::Kernel;
use crate::connection;
use crate::wire::message;

/// Result of receiving.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// A datagram, from the socket with this port number: the kernel's is 0.
    Datagram(u32, Vec<u8>),
    /// Receiving fails with this error number.
    Failure(i32),
    /// This time passes on the kernel's clock before the next reply arrives. No real time passes.
    Delay(Duration),
    /// The datagram arrives from the kernel repeatedly without end, each time after this time on the kernel's clock.
    Endless(Duration, Vec<u8>),
}

impl Reply {
    pub(super) fn sequence(&self) -> Option<u32> {
        match self {
            Self::Datagram(_, bytes) | Self::Endless(_, bytes) => message::sequence(bytes),
            Self::Failure(_) | Self::Delay(_) => None,
        }
    }

    /// Whether it is a dump datagram before the end of its dump.
    fn is_part(&self) -> bool {
        match self {
            Self::Datagram(_, bytes) | Self::Endless(_, bytes) => {
                message::read(bytes).is_ok_and(|first| first.flags & MULTI != 0 && first.kind != message::DONE)
            }
            Self::Failure(_) | Self::Delay(_) => false,
        }
    }
}

/// The end of a client's socket that the client holds.
#[derive(Debug)]
pub(super) struct Port {
    kernel: Kernel,
    protocol: isize,
    queue: VecDeque<Reply>,
    late: Vec<Reply>,
    /// Whether an overrun happened and earlier datagrams are still to be received: every further answer is lost.
    congested: bool,
}

impl Port {
    pub(super) fn new(kernel: Kernel, protocol: isize) -> Self {
        Self { kernel, protocol, queue: VecDeque::new(), late: Vec::new(), congested: false }
    }
}

impl connection::Peer for Port {
    /// As the real one does, the kernel answers while it takes the datagram.
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let mut state = self.kernel.state();
        state.pass_to_kernel()?;
        // The last part has the end behind it.
        let listing = self.queue.iter().rev().skip(1).any(Reply::is_part);
        let mut replies = VecDeque::from(state.answer(self.protocol, datagram, listing));
        if self.congested && !self.queue.is_empty() {
            return Ok(datagram.len());
        }
        self.queue.extend(self.late.drain(..));
        while let Some(reply) = replies.pop_front() {
            match due(&mut state.faults, Event::Answer) {
                None => self.queue.push_back(reply),
                Some(fault) => disturb(fault, reply, &mut replies, &mut self.queue, &mut self.late),
            }
        }
        Ok(datagram.len())
    }

    /// The kernel's clock.
    fn now(&self) -> Instant {
        let state = self.kernel.state();
        state.began.checked_add(state.passed).unwrap_or(state.began)
    }

    /// Advances the kernel's clock.
    fn pause(&self, time: Duration) {
        self.kernel.state().pass(time);
    }

    /// Receives what has arrived: the whole length of a datagram and its sender; would block when none has arrived.
    fn receive(&mut self, inbox: &mut [u8]) -> io::Result<(usize, u32)> {
        let (sender, bytes) = match self.queue.pop_front() {
            None => {
                self.congested = false;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // These are seen by a client that waits.
            Some(reply @ (Reply::Delay(_) | Reply::Failure(EAGAIN))) => {
                self.queue.push_front(reply);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Some(Reply::Failure(errno)) => {
                self.congested |= errno == ENOBUFS;
                return Err(io::Error::from_raw_os_error(errno));
            }
            Some(Reply::Endless(every, bytes)) => {
                self.kernel.state().pass(every);
                self.queue.push_front(Reply::Endless(every, bytes.clone()));
                (0, bytes)
            }
            Some(Reply::Datagram(sender, bytes)) => (sender, bytes),
        };
        inbox.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
        Ok((bytes.len(), sender))
    }

    /// As `receive`, for a client that waits at most this long.
    fn wait(&mut self, inbox: &mut [u8], limit: Option<Duration>) -> io::Result<(usize, u32)> {
        while let Some(Reply::Delay(delay)) = self.queue.front_mut() {
            let waited = limit.map_or(*delay, |limit| limit.min(*delay));
            *delay -= waited;
            let over = delay.is_zero();
            self.kernel.state().pass(waited);
            if !over {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.queue.pop_front();
        }
        if let Some(Reply::Failure(EAGAIN)) = self.queue.front() {
            self.queue.pop_front();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.receive(inbox)
    }
}
