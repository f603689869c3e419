//! One netlink conversation: a [`Peer`] at the other end, and the [`exchange`](crate::exchange) that it carries.
//!
//! - A datagram has many requests, as long as their refusals fit the receive buffer. Only the last one is acknowledged.
//! - The kernel allocates each datagram of a dump as large as the largest receive buffer that the socket was ever read
//!   into, up to 32 KiB. Stock kernels fill it with zeros first. Short dumps use a socket of their own, which is only
//!   read into a page.
//! - The success path reads no clock and queries no sender address. Netlink answers during `sendmsg`, so that the
//!   answer is received with `MSG_DONTWAIT`, and only the kernel can send to a connected socket.
//!
//! `docs/performance.md` has the figures.

mod budget;
mod options;
mod prepared;
mod socket;

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use nix::libc::ENOBUFS;

use crate::error::{Cause, DecodeError, Error, Refusal, Refused, Result};
pub(crate) use crate::exchange::Exchange;
use crate::exchange::{Limits, Listed, Step};
use crate::trace::{self, Span};
use budget::Budget;
pub use options::Options;
pub use prepared::Prepared;
pub(crate) use socket::Notifications;
use socket::Socket;

/// The other end of a connection: a netlink socket, or a script in tests.
pub(crate) trait Peer: fmt::Debug + Send + Sync {
    /// Sends a datagram; returns the number of bytes sent.
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize>;

    /// Receives a datagram that has arrived; returns its whole length, even if it did not fit, and the port of its
    /// sender.
    fn receive(&mut self, inbox: &mut [u8]) -> io::Result<(usize, u32)>;

    /// As [`Peer::receive`], waiting this long at most; `None` waits without end.
    fn wait(&mut self, inbox: &mut [u8], limit: Option<Duration>) -> io::Result<(usize, u32)>;

    /// The clock that [`Peer::pause`] and [`Peer::wait`] advance.
    fn now(&self) -> Instant;

    /// Waits.
    fn pause(&self, time: Duration);
}

/// One operation on the kernel, as a value: its text, its bytes, its faults and the meaning of its refusal.
pub(crate) trait Request: fmt::Display {
    /// Refuses an invalid request before it is sent.
    fn check(&self) -> Result<(), Cause>;

    /// Queues the messages of the request; returns their number.
    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause>;

    /// The meaning of the kernel's refusal.
    fn refused(&self, refusal: Refusal) -> Refused;

    /// Whether a [`Prepared`] request asks for a dump.
    fn is_dump(&self) -> bool {
        false
    }
}

impl<R: Request> Request for &R {
    fn check(&self) -> Result<(), Cause> {
        (**self).check()
    }

    fn queue(&self, exchange: &mut Exchange) -> Result<usize, Cause> {
        (**self).queue(exchange)
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        (**self).refused(refusal)
    }

    fn is_dump(&self) -> bool {
        (**self).is_dump()
    }
}

/// A peer, for the life of a client, and the exchange with it.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: End,
    /// Requests are queued and answers are read here. Only the connection sends, receives and abandons.
    pub(crate) exchange: Exchange,
    budget: Budget,
    /// The dump in flight.
    dump: Span,
}

/// The peer of a connection. A socket is called directly: the bar of lists.
#[derive(Debug)]
enum End {
    Socket(Socket),
    #[cfg(feature = "testing")]
    Other(Box<dyn Peer>),
}

impl End {
    fn peer(&mut self) -> &mut dyn Peer {
        match self {
            Self::Socket(socket) => socket,
            #[cfg(feature = "testing")]
            Self::Other(peer) => &mut **peer,
        }
    }

    #[inline]
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.send(datagram),
            #[cfg(feature = "testing")]
            Self::Other(peer) => peer.send(datagram),
        }
    }

    #[inline]
    fn receive(&mut self, inbox: &mut [u8]) -> io::Result<(usize, u32)> {
        match self {
            Self::Socket(socket) => socket.receive(inbox),
            #[cfg(feature = "testing")]
            Self::Other(peer) => peer.receive(inbox),
        }
    }
}

/// Result of a request.
#[derive(Debug)]
enum Reply {
    /// A message in reply to the request with this number, counted from 0, and its type: its body is
    /// [`Exchange::message`].
    Message(usize, u16),
    /// The kernel refused the request with this number, counted from 0.
    Refused(usize, Refusal),
    /// Every request is answered.
    Finished,
}

impl Connection {
    /// Opens a socket of this netlink protocol in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize, options: &Options) -> Result<Self, Cause> {
        Self::with_inbox(protocol, options, Limits::default().inbox)
    }

    /// As [`Connection::open`], for datagrams up to this length.
    pub(crate) fn with_inbox(protocol: isize, options: &Options, inbox: usize) -> Result<Self, Cause> {
        let (socket, limits) = Socket::open(protocol, options)?;
        let mut connection = Self::with(End::Socket(socket), Limits { inbox, ..limits }, options);
        // A process that guessed the port may have sent something before the socket was connected.
        connection.empty();
        Ok(connection)
    }

    /// Talks with any peer.
    #[cfg(feature = "testing")]
    pub(crate) fn over(peer: Box<dyn Peer>, limits: Limits, options: &Options) -> Self {
        Self::with(End::Other(peer), limits, options)
    }

    fn with(peer: End, limits: Limits, options: &Options) -> Self {
        Self { peer, exchange: Exchange::new(limits), budget: Budget::new(options), dump: Span::none() }
    }

    /// Starts the next operation of those that [`Options::deadline`] counts. A request that is sent is one by itself.
    #[inline]
    pub(crate) fn renew_deadline(&mut self) {
        self.budget.renew();
    }

    /// Starts an operation of several requests, at this moment if it is known; ends with
    /// [`Connection::release_deadline`].
    pub(crate) fn hold_deadline(&mut self, started: Option<Instant>) {
        self.budget.hold(started);
    }

    /// Ends the operation of [`Connection::hold_deadline`].
    pub(crate) fn release_deadline(&mut self) {
        self.budget.release();
    }

    /// As [`Options::largest_listing`].
    pub(crate) fn largest_listing(&self) -> usize {
        self.budget.largest()
    }

    /// The peer's clock.
    pub(crate) fn now(&mut self) -> Instant {
        self.peer.peer().now()
    }

    /// Waits on the peer's clock.
    pub(crate) fn pause(&mut self, time: Duration) {
        self.peer.peer().pause(time);
    }

    /// Checks and starts a dump, whose messages [`Connection::next_item`] returns.
    #[inline]
    pub(crate) fn start(&mut self, request: &impl Request) -> Result<()> {
        self.budget.renew();
        self.dump = Span::new(request);
        let mut started = request.check().and_then(|()| request.queue(&mut self.exchange)).map(drop);
        if started.is_ok() && self.exchange.may_send() {
            started = self.send();
        }
        started.inspect_err(|_| self.abandon()).map_err(|cause| Error::new(request, cause))
    }

    /// Reads the dump that was started by `request` to its end: `each` gets the bodies of its messages, and the number of
    /// bytes behind in the datagram. Returns the number of datagrams with messages, and the length of the longest.
    pub(crate) fn read_dump(
        &mut self,
        request: &impl Request,
        mut each: impl FnMut(&[u8], usize),
    ) -> Result<(usize, usize)> {
        let (mut datagrams, mut longest) = (0, 0);
        while self.next_item(request)?.is_some() {
            let (length, behind) = self.exchange.datagram();
            each(self.exchange.message(), behind);
            self.exchange.other_items(&mut each);
            datagrams += 1;
            longest = longest.max(length);
        }
        Ok((datagrams, longest))
    }

    /// Type of the next message of the dump that was started by `request`, whose body is [`Exchange::message`]; `None`
    /// at the end.
    #[inline(always)]
    pub(crate) fn next_item(&mut self, request: &impl Request) -> Result<Option<u16>> {
        // The bar of lists: most need no more than this.
        loop {
            match self.exchange.next_of_list() {
                Some(Listed::Message { kind }) => return Ok(Some(kind)),
                Some(Listed::End) => {
                    self.dump = Span::none();
                    return Ok(None);
                }
                None => {}
            }
            if !self.exchange.may_receive() {
                break;
            }
            self.receive().inspect_err(|_| self.abandon()).map_err(|cause| Error::new(request, cause))?;
        }
        let ended = match self.reply() {
            Ok(Reply::Message(_, kind)) => return Ok(Some(kind)),
            Ok(Reply::Finished) => Ok(None),
            Ok(Reply::Refused(_, refusal)) => {
                let _entered = self.dump.enter();
                trace::refused(0, &refusal);
                Err(Error::new(request, request.refused(refusal)))
            }
            Err(cause) => Err(Error::new(request, cause)),
        };
        self.dump = Span::none();
        ended
    }

    /// Returns the next reply to the queued requests. After an error the queued requests are abandoned, and later ones
    /// are not affected.
    #[inline]
    fn reply(&mut self) -> Result<Reply, Cause> {
        loop {
            let step = match self.exchange.step() {
                Ok(step) => step,
                Err(cause) => {
                    self.budget.renew();
                    return Err(cause);
                }
            };
            let done = match step {
                Step::Send => self.send(),
                // The request is not sent yet: this step reads an abandoned dump to its end.
                Step::Receive if !self.exchange.outgoing().is_empty() => self.skip(),
                Step::Receive => self.receive(),
                Step::Message { request, kind } => return Ok(Reply::Message(request, kind)),
                Step::Refused { request, refusal } => return Ok(Reply::Refused(request, refusal)),
                Step::Finished => return Ok(Reply::Finished),
            };
            done.inspect_err(|_| self.abandon())?;
        }
    }

    /// Carries out one request: checks it, sends it, gives each answer (its type and its body) to `read`, and explains
    /// a refusal.
    pub(crate) fn run(
        &mut self,
        request: &impl Request,
        read: impl FnMut(u16, &[u8]) -> Result<(), DecodeError>,
    ) -> Result<()> {
        match self.attempt(request, read)? {
            None => Ok(()),
            Some(refusal) => Err(Error::new(request, request.refused(refusal))),
        }
    }

    /// As [`Connection::run`]; returns a refusal without explaining it.
    pub(crate) fn attempt(
        &mut self,
        request: &impl Request,
        mut read: impl FnMut(u16, &[u8]) -> Result<(), DecodeError>,
    ) -> Result<Option<Refusal>> {
        let span = Span::new(request);
        let _entered = span.enter();
        let mut refused = None;
        let done = request
            .check()
            .and_then(|()| request.queue(&mut self.exchange))
            .and_then(|_| self.settle(|_, kind, body| read(kind, body), |_, refusal, _| refused = Some(refusal)));
        done.map(|()| refused).map_err(|cause| Error::new(request, cause))
    }

    /// Sends the queued requests and receives all replies.
    ///
    /// Calls `message` with the number of the request, the type and the body of each message. Calls `refused` with the
    /// number of the request, the refusal, and the body of the request if the kernel repeats it.
    pub(crate) fn settle(
        &mut self,
        mut message: impl FnMut(usize, u16, &[u8]) -> Result<(), DecodeError>,
        mut refused: impl FnMut(usize, Refusal, &[u8]),
    ) -> Result<(), Cause> {
        // The bar of single adds: most requests need no more than this.
        if self.exchange.may_send() {
            self.send().inspect_err(|_| self.abandon())?;
            if self.exchange.is_finished() {
                return Ok(());
            }
        }
        loop {
            match self.reply()? {
                Reply::Finished => return Ok(()),
                Reply::Refused(request, refusal) => {
                    trace::refused(request, &refusal);
                    refused(request, refusal, self.exchange.message());
                }
                Reply::Message(request, kind) => {
                    message(request, kind, self.exchange.message()).inspect_err(|_| self.abandon())?;
                }
            }
        }
    }

    /// Abandons the requests that are queued or in flight: see [`Exchange::abandon`].
    pub(crate) fn abandon(&mut self) {
        self.budget.renew();
        self.dump = Span::none();
        self.exchange.abandon();
    }

    /// Sends the queued requests and receives the first datagram of the answer.
    #[inline]
    fn send(&mut self) -> Result<(), Cause> {
        let datagram = self.exchange.outgoing();
        loop {
            match self.peer.send(datagram) {
                Ok(sent) if sent == datagram.len() => break,
                Ok(_) => return Err(Cause::Io(ErrorKind::WriteZero.into())),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Cause::Io(error)),
            }
        }
        self.budget.renew();
        self.exchange.sent();
        self.receive()
    }

    /// Receives a datagram: netlink answers while it takes the request, so that no wait is needed.
    #[inline]
    fn receive(&mut self) -> Result<(), Cause> {
        let (length, sender) = match self.peer.receive(self.exchange.inbox()) {
            Ok(received) => received,
            Err(error) => self.wait(error)?,
        };
        let bytes = if self.exchange.reads_dump() { length } else { 0 };
        self.exchange.received(length, sender);
        if self.budget.count(bytes) { self.budget.check(self.peer.peer().now()) } else { Ok(()) }
    }

    /// Receives a datagram after an attempt that failed with `error`; returns its length and its sender.
    #[cold]
    fn wait(&mut self, mut error: io::Error) -> Result<(usize, u32), Cause> {
        let since = self.peer.peer().now();
        let mut waited = false;
        loop {
            match error.kind() {
                // A signal starts the system call anew, and with it its own time limit.
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock if !waited => {}
                ErrorKind::WouldBlock => return Err(Cause::TimedOut),
                _ if error.raw_os_error() == Some(ENOBUFS) => {
                    self.empty();
                    return Err(Cause::Overrun);
                }
                _ => return Err(Cause::Io(error)),
            }
            let left = self.budget.left(self.peer.peer().now(), since)?;
            waited = true;
            match self.peer.peer().wait(self.exchange.inbox(), left) {
                Ok(received) => return Ok(received),
                Err(next) => error = next,
            }
        }
    }

    /// Receives a datagram of an abandoned dump. Its next one exists as soon as the one before is received; otherwise
    /// the dump's end has arrived, was lost or could not be read.
    fn skip(&mut self) -> Result<(), Cause> {
        match self.peer.receive(self.exchange.inbox()) {
            Ok((length, sender)) => {
                self.exchange.received(length, sender);
                return self.bound(length);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.exchange.drained(),
            Err(error) if error.kind() == ErrorKind::Interrupted || error.raw_os_error() == Some(ENOBUFS) => {
                return self.bound(0);
            }
            Err(error) => return Err(Cause::Io(error)),
        }
        Ok(())
    }

    /// Counts a discarded datagram.
    fn bound(&mut self, length: usize) -> Result<(), Cause> {
        let due = self.budget.count(length);
        self.budget.forget_bytes();
        if due { self.budget.check(self.peer.peer().now()) } else { Ok(()) }
    }

    /// Discards received datagrams, until the deadline: after an overrun the kernel drops every further reply until the
    /// buffer is empty.
    fn empty(&mut self) {
        loop {
            let length = match self.peer.receive(self.exchange.inbox()) {
                Ok((length, _)) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => 0,
                Err(_) => return,
            };
            if self.bound(length).is_err() {
                return;
            }
        }
    }
}
