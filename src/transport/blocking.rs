//! A socket that waits.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr};
use nix::libc::{ENOBUFS, MSG_DONTWAIT, MSG_TRUNC};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::Options;
use super::budget::Budget;
use crate::error::{Cause, DecodeError, Refusal};
use crate::exchange::{Exchange, Limits, Listed, Step};
#[cfg(feature = "testing")]
use crate::testing::Port;
use crate::wire::Writer;

/// A datagram of a dump and an acknowledgement always fit in this many bytes.
const SMALLEST_BUFFER: usize = 128 << 10;
/// The kernel's own port.
const KERNEL: u32 = 0;
/// The kernel takes the size for a signed number.
const LARGEST_BUFFER: usize = i32::MAX as usize;

/// One netlink socket for the life of a client, and the exchange it carries.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: Peer,
    exchange: Exchange,
    budget: Budget,
}

/// Who is at the other end.
#[derive(Debug)]
enum Peer {
    Kernel(Socket),
    #[cfg(feature = "testing")]
    Script(Port),
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A message in reply to the request with this number, counted from 0, and its type: its body is
    /// [`Connection::message`].
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

    /// As [`Connection::open`], for datagrams up to this length. The kernel makes the parts of a list as long as the
    /// largest inbox that it saw: see the [module](super).
    pub(crate) fn with_inbox(protocol: isize, options: &Options, inbox: usize) -> Result<Self, Cause> {
        let socket = Socket::new(protocol).map_err(Cause::Io)?;
        // To a connected socket the kernel lets nobody else send (`ECONNREFUSED`): what comes from now on is its own. The
        // socket is bound with it, so that nobody knows its port before.
        socket.connect(&SocketAddr::new(0, 0)).map_err(Cause::Io)?;
        socket.set_ext_ack(true).map_err(Cause::Io)?;
        socket.set_cap_ack(true).map_err(Cause::Io)?;
        let receive = options.receive_buffer.clamp(SMALLEST_BUFFER, LARGEST_BUFFER);
        let forced = setsockopt(&socket, sockopt::RcvBufForce, &receive);
        forced.or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &receive)).map_err(errno)?;
        let receive = socket.get_rx_buf_sz().map_err(Cause::Io)?;
        let send = getsockopt(&socket, sockopt::SndBuf).map_err(errno)?;
        time_value(options.timeout)?;
        time_value(options.deadline)?;
        let exchange = Exchange::new(Limits { inbox, ..Limits::for_buffers(receive, send) });
        let mut connection = Self { peer: Peer::Kernel(socket), exchange, budget: Budget::new(options) };
        // Who guessed the port may have sent something in between.
        connection.empty();
        Ok(connection)
    }

    /// Talks with a scripted kernel.
    #[cfg(feature = "testing")]
    pub(crate) fn scripted(port: Port, options: &Options) -> Self {
        // The sizes of a real socket's buffers, as Linux makes them when `Options` are left alone.
        let exchange = Exchange::new(Limits::for_buffers(2 << 20, 208 << 10));
        Self { peer: Peer::Script(port), exchange, budget: Budget::new(options) }
    }

    /// Asks for dumps of what their request names, not of everything (`NETLINK_GET_STRICT_CHK`).
    pub(crate) fn check_strictly(&self) -> Result<(), Cause> {
        match &self.peer {
            Peer::Kernel(socket) => socket.set_netlink_get_strict_chk(true).map_err(Cause::Io),
            #[cfg(feature = "testing")]
            Peer::Script(_) => Ok(()),
        }
    }

    /// Starts the next operation of those that [`Options::deadline`] counts. A request that is sent is one by itself.
    #[inline]
    pub(crate) fn renew_deadline(&mut self) {
        self.budget.renew();
    }

    /// Starts an operation of several requests, at this moment if it is known; ends with [`Connection::release_deadline`].
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
    pub(crate) fn now(&self) -> Instant {
        self.peer.now()
    }

    /// Waits on the peer's clock.
    pub(crate) fn pause(&self, time: Duration) {
        self.peer.pause(time);
    }

    /// As [`Exchange::queue`].
    pub(crate) fn queue(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Writer<'_>)) -> Result<(), Cause> {
        self.exchange.queue_with(kind, flags, body)
    }

    /// As [`Exchange::queue_dump`].
    pub(crate) fn queue_dump(&mut self, kind: u16, body: impl FnOnce(&mut Writer<'_>)) -> Result<(), Cause> {
        self.budget.renew();
        self.exchange.queue_dump_with(kind, body)
    }

    /// As [`Exchange::is_full`].
    pub(crate) fn is_full(&self) -> bool {
        self.exchange.is_full()
    }

    /// How many requests travel at once at most.
    pub(crate) fn most_requests(&self) -> usize {
        self.exchange.limits().requests
    }

    /// As [`Exchange::next_of_list`].
    #[inline]
    pub(crate) fn next_of_list(&mut self) -> Option<Listed> {
        self.exchange.next_of_list()
    }

    /// As [`Exchange::message`].
    pub(crate) fn message(&self) -> &[u8] {
        self.exchange.message()
    }

    /// As [`Exchange::datagram`].
    pub(crate) fn datagram(&self) -> (u64, usize) {
        self.exchange.datagram()
    }

    /// The next reply to what is queued. After an error the queued requests are given up, and the next ones are not
    /// affected.
    #[inline]
    pub(crate) fn reply(&mut self) -> Result<Reply, Cause> {
        loop {
            let step = match self.exchange.step() {
                Ok(step) => step,
                Err(cause) => {
                    self.budget.renew();
                    return Err(cause);
                }
            };
            let done = match step {
                // What comes next is known.
                Step::Send => self.send().and_then(|()| self.receive()),
                // Nothing is sent yet: this is to read a list to its end that was given up.
                Step::Receive if !self.exchange.outgoing().is_empty() => self.skip(),
                Step::Receive => self.receive(),
                Step::Message { request, kind } => return Ok(Reply::Message(request, kind)),
                Step::Refused { request, refusal } => return Ok(Reply::Refused(request, refusal)),
                Step::Finished => return Ok(Reply::Finished),
            };
            done.inspect_err(|_| self.abandon())?;
        }
    }

    /// Sends what is queued and takes all replies. Each message (the number of the request that it answers, its type, its
    /// body) goes to `message`, each refusal to `refused`.
    pub(crate) fn settle(
        &mut self,
        mut message: impl FnMut(usize, u16, &[u8]) -> Result<(), DecodeError>,
        mut refused: impl FnMut(usize, Refusal),
    ) -> Result<(), Cause> {
        if self.succeeds_at_once()? {
            return Ok(());
        }
        loop {
            match self.reply()? {
                Reply::Finished => return Ok(()),
                Reply::Refused(request, refusal) => refused(request, refusal),
                Reply::Message(request, kind) => {
                    message(request, kind, self.message()).inspect_err(|_| self.abandon())?;
                }
            }
        }
    }

    /// Sends what is queued, if nothing else is to be done first, and receives once; says whether that was all. It is for most
    /// requests, and takes half the instructions of [`Connection::reply`].
    #[inline]
    fn succeeds_at_once(&mut self) -> Result<bool, Cause> {
        if !self.exchange.may_send() {
            return Ok(false);
        }
        self.send().and_then(|()| self.receive()).inspect_err(|_| self.abandon())?;
        Ok(self.exchange.is_finished())
    }

    /// Gives up what is queued or on its way: see [`Exchange::abandon`].
    pub(crate) fn abandon(&mut self) {
        self.budget.renew();
        self.exchange.abandon();
    }

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
        Ok(())
    }

    /// Receives a datagram: netlink answers while it takes the request, so that there is nothing to wait for.
    #[inline]
    fn receive(&mut self) -> Result<(), Cause> {
        match self.peer.receive(self.exchange.inbox()) {
            Ok((length, sender)) => self.received(length, sender),
            Err(error) => self.wait(error),
        }
    }

    #[inline]
    fn received(&mut self, length: usize, sender: u32) -> Result<(), Cause> {
        self.exchange.received(length, sender);
        if self.budget.count(length) { self.budget.check(self.peer.now()) } else { Ok(()) }
    }

    /// Receives a datagram after an attempt that failed with `error`.
    #[cold]
    fn wait(&mut self, mut error: io::Error) -> Result<(), Cause> {
        let since = self.peer.now();
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
            let left = self.budget.left(self.peer.now(), since)?;
            waited = true;
            match self.peer.wait(self.exchange.inbox(), left) {
                Ok((length, sender)) => return self.received(length, sender),
                Err(next) => error = next,
            }
        }
    }

    /// Receives a datagram of an abandoned dump. Its next one exists as soon as the one before is received; otherwise the
    /// dump's end has arrived, was lost or could not be read.
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

    /// Counts a datagram of which nothing is kept.
    fn bound(&mut self, length: usize) -> Result<(), Cause> {
        let due = self.budget.count(length);
        self.budget.forget_bytes();
        if due { self.budget.check(self.peer.now()) } else { Ok(()) }
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

impl Peer {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        match self {
            Self::Kernel(socket) => socket.send(datagram, 0),
            #[cfg(feature = "testing")]
            Self::Script(port) => port.send(datagram),
        }
    }

    /// Receives a datagram that has arrived; returns its whole length, even if it did not fit, and its sender.
    #[inline]
    fn receive(&mut self, mut inbox: &mut [u8]) -> io::Result<(usize, u32)> {
        match self {
            // Asking who sent it would cost a hundredth of a request.
            Self::Kernel(socket) => Ok((socket.recv(&mut inbox, MSG_DONTWAIT | MSG_TRUNC)?, KERNEL)),
            #[cfg(feature = "testing")]
            Self::Script(port) => port.receive(inbox),
        }
    }

    /// As [`Peer::receive`], waiting this long at most; `None`: without end.
    fn wait(&mut self, mut inbox: &mut [u8], limit: Option<Duration>) -> io::Result<(usize, u32)> {
        match self {
            Self::Kernel(socket) => {
                let limit = time_value(limit.unwrap_or_default()).unwrap_or(TimeVal::microseconds(0));
                setsockopt(&*socket, sockopt::ReceiveTimeout, &limit)?;
                Ok((socket.recv(&mut inbox, MSG_TRUNC)?, KERNEL))
            }
            #[cfg(feature = "testing")]
            Self::Script(port) => port.wait(inbox, limit),
        }
    }

    fn pause(&self, time: Duration) {
        match self {
            Self::Kernel(_) => thread::sleep(time),
            #[cfg(feature = "testing")]
            Self::Script(port) => port.pause(time),
        }
    }

    fn now(&self) -> Instant {
        match self {
            Self::Kernel(_) => Instant::now(),
            #[cfg(feature = "testing")]
            Self::Script(port) => port.now(),
        }
    }
}

fn time_value(duration: Duration) -> Result<TimeVal, Cause> {
    let seconds = i32::try_from(duration.as_secs());
    let seconds = seconds.map_err(|_| Cause::InvalidInput("the timeout is too long for the kernel".into()))?;
    // Zero means for ever: less than a microsecond must not become that.
    let micros = match duration.subsec_micros() {
        0 if duration.subsec_nanos() > 0 => 1,
        micros => micros,
    };
    Ok(TimeVal::microseconds(i64::from(seconds) * 1_000_000 + i64::from(micros)))
}

fn errno(errno: nix::errno::Errno) -> Cause {
    Cause::Io(errno.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use netlink_sys::protocols::NETLINK_ROUTE;
    use nix::sys::pthread::{pthread_kill, pthread_self};
    use nix::sys::signal::Signal::SIGUSR1;

    // As a dump it asks for no acknowledgement, and nothing comes back.
    use crate::wire::message::NOOP;

    use super::*;

    /// A request of this type is refused.
    const UNKNOWN: u16 = 0xffff;

    fn connection(timeout: Duration) -> Connection {
        Connection::open(NETLINK_ROUTE, &Options { timeout, ..Options::default() }).unwrap()
    }

    fn works(connection: &mut Connection) {
        connection.queue(NOOP, 0, |_| {}).unwrap();
        assert!(matches!(connection.reply(), Ok(Reply::Finished)));
    }

    #[test]
    fn a_kernel_that_does_not_answer_is_not_waited_for_for_ever() {
        let mut connection = connection(Duration::from_millis(20));
        for _ in 0..2 {
            connection.queue_dump(NOOP, |_| {}).unwrap();
            assert!(matches!(connection.reply(), Err(Cause::TimedOut)));
            works(&mut connection);
        }
    }

    #[test]
    fn signals_neither_end_the_waiting_nor_prolong_it_for_ever() {
        let signalled = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGUSR1 as i32, Arc::clone(&signalled)).unwrap();
        let (waiting, done) = (pthread_self(), Arc::new(AtomicBool::new(false)));
        let signals = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                while !done.load(Ordering::Relaxed) {
                    pthread_kill(waiting, SIGUSR1).unwrap();
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let mut connection = connection(Duration::from_millis(50));
        // On a busy machine no signal may come in time.
        let interrupted = (0..100).any(|_| {
            signalled.store(false, Ordering::Relaxed);
            connection.queue_dump(NOOP, |_| {}).unwrap();
            let reply = connection.reply();
            assert!(matches!(reply, Err(Cause::TimedOut)), "{reply:?}");
            signalled.load(Ordering::Relaxed)
        });
        done.store(true, Ordering::Relaxed);
        signals.join().unwrap();
        assert!(interrupted);
        works(&mut connection);
    }

    #[test]
    fn an_overrun_is_reported_and_the_next_request_works() {
        let mut connection = connection(Duration::from_secs(10));
        #[cfg_attr(not(feature = "testing"), expect(irrefutable_let_patterns, reason = "there is no other peer"))]
        if let Peer::Kernel(socket) = &connection.peer {
            setsockopt(socket, sockopt::RcvBuf, &0).unwrap();
        }
        connection.exchange = Exchange::new(Limits { requests: usize::MAX, ..Limits::default() });
        for _ in 0..1000 {
            connection.queue(UNKNOWN, 0, |_| {}).unwrap();
        }
        let cause = loop {
            match connection.reply() {
                Ok(Reply::Refused(..)) => {}
                other => break other,
            }
        };
        assert!(matches!(cause, Err(Cause::Overrun)), "{cause:?}");
        works(&mut connection);
    }

    #[test]
    fn as_many_refusals_as_the_limits_allow_fit_the_receive_buffer() {
        for receive_buffer in [0, 4096, 100_000, 1 << 20] {
            let options = Options { receive_buffer, ..Options::default() };
            let mut connection = Connection::open(NETLINK_ROUTE, &options).unwrap();
            let mut queued = 0;
            while !connection.is_full() {
                connection.queue(UNKNOWN, 0, |_| {}).unwrap();
                queued += 1;
            }
            for position in 0..queued {
                let reply = connection.reply().unwrap();
                assert!(matches!(reply, Reply::Refused(at, _) if at == position), "{position}: {reply:?}");
            }
            assert!(matches!(connection.reply(), Ok(Reply::Finished)));
        }
    }

    #[test]
    fn a_time_limit_is_never_taken_for_none() {
        assert_eq!(time_value(Duration::ZERO).unwrap(), TimeVal::new(0, 0));
        assert_eq!(time_value(Duration::from_nanos(1)).unwrap(), TimeVal::new(0, 1));
        assert_eq!(time_value(Duration::from_micros(2_500_000)).unwrap(), TimeVal::new(2, 500_000));
        assert!(time_value(Duration::MAX).is_err());
    }
}
