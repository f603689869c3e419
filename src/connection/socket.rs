//! The netlink socket of a client.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc::{ENOBUFS, MSG_DONTWAIT, MSG_TRUNC};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::{Options, Peer};
use crate::error::Cause;
use crate::exchange::Limits;

/// A datagram of a dump and an acknowledgement always fit in this many bytes.
const SMALLEST_BUFFER: usize = 128 << 10;
/// The kernel reads the size as a signed number.
const LARGEST_BUFFER: usize = i32::MAX as usize;
/// The kernel's own port.
const KERNEL: u32 = 0;

/// A socket that is connected to the kernel.
#[derive(Debug)]
pub(super) struct Socket(netlink_sys::Socket);

impl Socket {
    /// Opens a socket; returns the limits that its buffers allow, too.
    pub(super) fn open(protocol: isize, options: &Options) -> Result<(Self, Limits), Cause> {
        let socket = netlink_sys::Socket::new(protocol).map_err(Cause::Io)?;
        // Only the kernel can send to a connected socket; others get `ECONNREFUSED`. Connecting binds the socket, so
        // that no other process knows its port before.
        socket.connect(&SocketAddr::new(0, 0)).map_err(Cause::Io)?;
        socket.set_ext_ack(true).map_err(Cause::Io)?;
        socket.set_cap_ack(true).map_err(Cause::Io)?;
        if protocol == NETLINK_ROUTE {
            // Without it the kernel lists the addresses of all interfaces instead of the requested one.
            socket.set_netlink_get_strict_chk(true).map_err(Cause::Io)?;
        }
        let receive = options.receive_buffer.clamp(SMALLEST_BUFFER, LARGEST_BUFFER);
        let forced = setsockopt(&socket, sockopt::RcvBufForce, &receive);
        forced.or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &receive)).map_err(errno)?;
        let receive = socket.get_rx_buf_sz().map_err(Cause::Io)?;
        let send = getsockopt(&socket, sockopt::SndBuf).map_err(errno)?;
        time_value(options.timeout)?;
        time_value(options.deadline)?;
        Ok((Self(socket), Limits::for_buffers(receive, send)))
    }
}

impl Peer for Socket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.0.send(datagram, 0)
    }

    fn receive(&mut self, mut inbox: &mut [u8]) -> io::Result<(usize, u32)> {
        Ok((self.0.recv(&mut inbox, MSG_DONTWAIT | MSG_TRUNC)?, KERNEL))
    }

    fn wait(&mut self, mut inbox: &mut [u8], limit: Option<Duration>) -> io::Result<(usize, u32)> {
        let limit = time_value(limit.unwrap_or_default()).unwrap_or(TimeVal::microseconds(0));
        setsockopt(&self.0, sockopt::ReceiveTimeout, &limit)?;
        Ok((self.0.recv(&mut inbox, MSG_TRUNC)?, KERNEL))
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }
}

/// A socket that receives notifications of the kernel.
#[derive(Debug)]
pub(crate) struct Notifications(netlink_sys::Socket);

impl Notifications {
    /// Subscribes to multicast groups.
    pub(crate) fn subscribe(protocol: isize, groups: &[u32]) -> Result<Self, Cause> {
        let mut socket = netlink_sys::Socket::new(protocol).map_err(Cause::Io)?;
        socket.bind_auto().map_err(Cause::Io)?;
        for group in groups {
            socket.add_membership(*group).map_err(Cause::Io)?;
        }
        Ok(Self(socket))
    }

    /// Receives a datagram without waiting. `None` if the queue is empty; an overrun is [`Cause::Overrun`].
    pub(crate) fn receive<'a>(&mut self, inbox: &'a mut [u8]) -> Result<Option<&'a [u8]>, Cause> {
        let mut free = &mut *inbox;
        let length = match self.0.recv(&mut free, MSG_DONTWAIT) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => return Err(Cause::Overrun),
            Err(error) => return Err(Cause::Io(error)),
        };
        Ok(inbox.get(..length))
    }
}

impl AsFd for Notifications {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn time_value(duration: Duration) -> Result<TimeVal, Cause> {
    let seconds = i32::try_from(duration.as_secs());
    let seconds = seconds.map_err(|_| Cause::InvalidInput("the timeout is too long for the kernel".into()))?;
    // Zero means without end: less than a microsecond must not become zero.
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

    use nix::sys::pthread::{pthread_kill, pthread_self};
    use nix::sys::signal::Signal::SIGUSR1;

    // As a dump it asks for no acknowledgement, and nothing comes back.
    use crate::connection::{Connection, End, Reply};
    use crate::wire::message::NOOP;

    use super::*;

    /// A request of this type is refused.
    const UNKNOWN: u16 = 0xffff;

    fn connection(timeout: Duration) -> Connection {
        Connection::open(NETLINK_ROUTE, &Options { timeout, ..Options::default() }).unwrap()
    }

    fn works(connection: &mut Connection) {
        connection.exchange.queue_with(NOOP, 0, |_| {}).unwrap();
        assert!(matches!(connection.reply(), Ok(Reply::Finished)));
    }

    #[test]
    fn a_kernel_that_does_not_answer_is_not_waited_for_for_ever() {
        let mut connection = connection(Duration::from_millis(20));
        for _ in 0..2 {
            connection.exchange.queue_dump_with(NOOP, |_| {}).unwrap();
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
            connection.exchange.queue_dump_with(NOOP, |_| {}).unwrap();
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
        let (socket, limits) = Socket::open(NETLINK_ROUTE, &Options::default()).unwrap();
        setsockopt(&socket.0, sockopt::RcvBuf, &0).unwrap();
        let limits = Limits { requests: usize::MAX, ..limits };
        let mut connection = Connection::with(End::Socket(socket), limits, &Options::default());
        for _ in 0..1000 {
            connection.exchange.queue_with(UNKNOWN, 0, |_| {}).unwrap();
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
            while !connection.exchange.is_full() {
                connection.exchange.queue_with(UNKNOWN, 0, |_| {}).unwrap();
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
