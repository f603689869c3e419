//! A kernel in memory, for the tests of programs that use this crate: no root, no module, no network namespace (feature
//! `testing`).
//!
//! [`Kernel`] makes clients of the ordinary types, so what is tested is the program as it is. Its clients all see
//! the same tables; a test looks at what became of them with a client of its own. And it can be told to misbehave
//! ([`Fault`]), to show that the program says what happened and makes up for it the next time:
//!
//! ```
//! use lvs::ipvs::{Ipvs, Scheduler, Service};
//! use lvs::testing::{Fault, Kernel};
//!
//! /// Makes the services that there are those that are wanted.
//! fn reconcile(ipvs: &mut Ipvs, wanted: &[Service]) -> lvs::Result<()> {
//!     let there = ipvs.services()?;
//!     for info in there.iter().filter(|info| wanted.iter().all(|service| service.key != info.key())) {
//!         ipvs.delete_service(info.key())?;
//!     }
//!     for service in wanted {
//!         match there.iter().find(|info| info.key() == service.key) {
//!             None => ipvs.add_service(service)?,
//!             Some(info) if info.service != *service => ipvs.set_service(service)?,
//!             Some(_) => {}
//!         }
//!     }
//!     Ok(())
//! }
//!
//! let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
//! let dns = Service::udp("10.96.0.53:53".parse()?, Scheduler::RR);
//!
//! // It does what it is for.
//! let kernel = Kernel::new();
//! let mut ipvs = kernel.ipvs()?;
//! ipvs.add_service(dns)?;
//! reconcile(&mut ipvs, &[web])?;
//! let there: Vec<_> = kernel.ipvs()?.services()?.iter().map(|info| info.service).collect();
//! assert_eq!(there, [web]);
//!
//! // It says that it may not.
//! const EPERM: i32 = 1;
//! kernel.disturb(0, Fault::Refused(EPERM));
//! assert!(reconcile(&mut ipvs, &[]).unwrap_err().is_permission_denied());
//!
//! // Whichever answer does not come, the next run makes up for it.
//! for position in 0.. {
//!     let kernel = Kernel::new();
//!     let mut ipvs = kernel.ipvs()?;
//!     ipvs.add_service(dns)?;
//!     kernel.disturb(position, Fault::Lost);
//!     let done = reconcile(&mut ipvs, &[web]);
//!     if kernel.faults_left() > 0 {
//!         break; // There are not so many answers.
//!     }
//!     assert!(done.unwrap_err().is_timed_out());
//!     reconcile(&mut ipvs, &[web])?;
//!     assert_eq!(ipvs.services()?.len(), 1);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is, and what not
//!
//! [`Kernel::new`] is a small model of what the real kernel's netlink interface does, compared with the real ones in this
//! crate's own tests. No time passes in it, nor do packets: counters stay 0, timeouts are kept and do not run
//! down, a time-out of a client is reported at once. Its clock moves by script ([`Fault::Slow`], [`Reply::Delay`]).
//!
//! - **IPVS**: services, destinations, timeouts, sync daemons; every operation of [`Ipvs`] with the errors that the kernel
//!   has for what is there or not there. Schedulers and persistence engines are those that Linux has, others are refused.
//!   Not modelled: interfaces (a daemon runs on any), which addresses are the machine's own, how many destinations `mh` can
//!   take, the longest timeout.
//! - **ipset**: all `hash:` types, with every extension; every operation of [`Ipset`]. Refused with the kernel's words
//!   "not modelled" (`EOPNOTSUPP`) are ranges of networks, entries that stand for more than 65536, and masks of addresses;
//!   `bitmap:` types and `list:set` are like types that the kernel lacks. Lists come in the order in which things were
//!   added. No set is ever in use, grows, or takes memory; an address of zero is one like others.
//! - **Virtual IPs**: every operation of [`Vips`], with all binders. The loopback interface is up; [`Kernel::add_interface`]
//!   adds others. IPv6 addresses are local at once. Not modelled: routes of other tables than `local`, secondary addresses,
//!   limits of memory.
//!
//! [`Kernel::script`] is whatever a closure says, byte by byte.

mod ipset;
mod ipvs;
mod vip;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::libc::{EAGAIN, EBUSY, EINVAL, ENOBUFS, ENOENT, EOPNOTSUPP, EPERM};

use crate::connection::{self, Connection, Options};
use crate::error::{DecodeError, Result};
use crate::exchange::Limits;
use crate::ipset::Ipset;
use crate::ipvs::{FAMILY, Ipvs};
use crate::vip::Vips;
use crate::wire::genl;
use crate::wire::message::{self, Content, ExtendedAck};

/// The number of the family `IPVS`: some other than the controller's.
const IPVS: u16 = 32;
/// One message of several (`NLM_F_MULTI`).
const MULTI: u16 = 0x2;
/// Maximal length of a dump datagram. Real ones are longer; so even short lists come in parts.
const PART: usize = 1024;
/// The port of another process.
const STRANGER: u32 = 4711;

/// A kernel for tests: see the [module](self). Clones are the same kernel.
#[derive(Clone)]
pub struct Kernel(Arc<Mutex<State>>);

struct State {
    peer: Peer,
    faults: Vec<(usize, Fault)>,
    /// Options of the clients.
    options: Options,
    /// Start of its clock, and the time that has passed: it moves while a client waits.
    began: Instant,
    passed: Duration,
}

impl State {
    fn pass(&mut self, time: Duration) {
        // A clock can show no later time than this.
        self.passed = self.passed.saturating_add(time).min(Duration::from_secs(u32::MAX.into()));
    }
}

enum Peer {
    Model(Box<Model>),
    Script(Script),
}

type Script = Box<dyn FnMut(&[u8]) -> Vec<Reply> + Send>;

struct Model {
    ipvs: ipvs::Model,
    ipset: ipset::Model,
    vip: vip::Model,
}

/// Result of receiving.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// A datagram, from the socket with this port number: the kernel's is 0.
    Datagram(u32, Vec<u8>),
    /// Receiving fails with this error number.
    Failure(i32),
    /// This long passes on the kernel's clock before the next one arrives. No real time passes.
    Delay(Duration),
    /// The datagram arrives from the kernel again and again without end, each after so long on the kernel's clock.
    Endless(Duration, Vec<u8>),
}

impl Reply {
    fn sequence(&self) -> Option<u32> {
        match self {
            Self::Datagram(_, bytes) | Self::Endless(_, bytes) => message::sequence(bytes),
            Self::Failure(_) | Self::Delay(_) => None,
        }
    }

    /// Whether it is a part of a list before its end.
    fn is_part(&self) -> bool {
        match self {
            Self::Datagram(_, bytes) | Self::Endless(_, bytes) => {
                message::read(bytes, 0).is_ok_and(|first| first.flags & MULTI != 0 && first.kind != message::DONE)
            }
            Self::Failure(_) | Self::Delay(_) => false,
        }
    }
}

/// A fault that is injected: see [`Kernel::disturb`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The kernel refuses a request with this error number and does nothing. A [script](Kernel::script) is not
    /// disturbed in this way.
    Refused(i32),
    /// Sending a datagram with requests fails with this error number, and the kernel does not get it.
    Unsent(i32),
    /// It never comes, nor does what follows on the same datagram of requests: the client times out. What was asked for is
    /// done.
    Lost,
    /// As [`Fault::Lost`], but it comes before the answer to the next request.
    Late,
    /// It comes twice.
    Twice,
    /// It changes places with the next one; if there is none, it is late. Netlink keeps the order, and clients rely on it:
    /// what comes behind the end of a list, or behind the acknowledgement of a batch, is lost without a word.
    Swapped,
    /// It is longer than the client has room for.
    Truncated,
    /// Only so many of its bytes come.
    Cut(usize),
    /// The byte at this place, if there is one, is another.
    Altered(usize, u8),
    /// Before it comes a refusal of the same request (`EPERM`), forged by another process.
    Forged,
    /// Before it comes a refusal (`EPERM`) of a request that the client did not make.
    Stray,
    /// The datagram reports that the table changed during the dump (`NLM_F_DUMP_INTR`).
    Interrupted,
    /// In its place, and in place of what else belongs to the same request, comes this error number.
    Ended(i32),
    /// Before it, receiving fails with this error number: `ENOBUFS` if the receive buffer was full, `EINTR` if there was a
    /// signal, `EBADF` if something has closed the descriptor.
    Failing(i32),
    /// It arrives after this long on the kernel's clock. No real time passes: a client times out at once if it may not wait
    /// so long.
    Slow(Duration),
    /// It arrives again and again without end, each after so long on the kernel's clock, as a part of an endless dump.
    Endless(Duration),
}

/// Events by which a fault is counted.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Event {
    Request,
    Sending,
    Answer,
}

impl Fault {
    fn event(self) -> Event {
        match self {
            Self::Refused(_) => Event::Request,
            Self::Unsent(_) => Event::Sending,
            _ => Event::Answer,
        }
    }
}

impl Kernel {
    /// A kernel with empty tables.
    pub fn new() -> Self {
        let model = Model { ipvs: ipvs::Model::new(), ipset: ipset::Model::default(), vip: vip::Model::new() };
        Self::with(Peer::Model(Box::new(model)))
    }

    /// A kernel that answers each datagram of requests with `answer`. When nothing is left of it and the client goes
    /// on receiving, the client times out. The closure must not use this kernel itself.
    ///
    /// The bytes are those of `netlink(7)`; a refusal repeats the sequence number of its request. [`Ipvs`] asks for the
    /// number of its family before anything else.
    ///
    /// ```
    /// use lvs::testing::Kernel;
    ///
    /// let silent = Kernel::script(|_| Vec::new());
    /// assert!(silent.ipvs().unwrap_err().is_timed_out());
    /// ```
    pub fn script(answer: impl FnMut(&[u8]) -> Vec<Reply> + Send + 'static) -> Self {
        Self::with(Peer::Script(Box::new(answer)))
    }

    fn with(peer: Peer) -> Self {
        let (options, began) = (Options::default(), Instant::now());
        Self(Arc::new(Mutex::new(State { peer, faults: Vec::new(), options, began, passed: Duration::ZERO })))
    }

    /// The same kernel, whose clients are opened with these options from now on. Of them, [`Options::timeout`],
    /// [`Options::deadline`] and [`Options::largest_listing`] have an effect.
    #[must_use]
    pub fn with_options(self, options: &Options) -> Self {
        self.state().options = options.clone();
        self
    }

    /// Time that the kernel's clock has run: only [`Reply::Delay`], [`Reply::Endless`] and the faults of their kind move it.
    pub fn elapsed(&self) -> Duration {
        self.state().passed
    }

    /// A client of IPVS.
    ///
    /// # Errors
    /// As [`Ipvs::connect`]: a script, or a fault, may make it fail.
    pub fn ipvs(&self) -> Result<Ipvs> {
        Ipvs::over(|_| Ok(self.connection(NETLINK_GENERIC)))
    }

    /// A client of ipset.
    pub fn ipset(&self) -> Ipset {
        Ipset::over(self.connection(NETLINK_NETFILTER))
    }

    /// A client of virtual IPs.
    pub fn vips(&self) -> Vips {
        Vips::over(self.connection(NETLINK_ROUTE))
    }

    /// Adds an interface that is up, with addresses and their prefix lengths that belong to no binder. A second call with the
    /// same name adds addresses. A [script](Kernel::script) stays as it is.
    ///
    /// ```
    /// use lvs::testing::Kernel;
    /// use lvs::vip::{Binder, Outcome};
    ///
    /// let kernel = Kernel::new();
    /// kernel.add_interface("eth0", [("192.0.2.1".parse()?, 24)]);
    /// let (mut vips, binder) = (kernel.vips(), Binder::label("eth0:1", 77)?);
    /// assert_eq!(vips.bind(&binder, "192.0.2.10".parse::<std::net::IpAddr>()?)?, Outcome::Added);
    /// assert!(vips.bind(&binder, "192.0.2.1".parse::<std::net::IpAddr>()?).unwrap_err().is_conflict());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_interface(&self, name: &str, addresses: impl IntoIterator<Item = (IpAddr, u8)>) {
        if let Peer::Model(model) = &mut self.state().peer {
            let index = model.vip.add_link(name.as_bytes(), false);
            for (address, length) in addresses {
                model.vip.add_address(index, address, length);
            }
        }
    }

    fn connection(&self, protocol: isize) -> Connection {
        let (kernel, options) = (self.clone(), self.state().options.clone());
        let port = Port { kernel, protocol, queue: VecDeque::new(), late: Vec::new(), congested: false };
        // The sizes of a real socket's buffers, as Linux makes them when `Options` are left alone.
        Connection::over(Box::new(port), Limits::for_buffers(2 << 20, 208 << 10), &options)
    }

    /// Lets one thing go wrong, once, after `skip` of its kind went well: the first datagram of an answer from now
    /// on has the position 0, whichever client gets it. Each datagram counts: an acknowledgement, a part of a list, the end
    /// of a list. [`Fault::Refused`] and [`Fault::Unsent`] count requests instead.
    ///
    /// Any number of faults may be on their way; each has its own count.
    pub fn disturb(&self, skip: usize, fault: Fault) {
        self.state().faults.push((skip, fault));
    }

    /// Number of faults that did not happen yet: a test that disturbs one position after the other is done when the last one was
    /// not reached.
    pub fn faults_left(&self) -> usize {
        self.state().faults.len()
    }

    /// A client that panicked has left nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("faults", &self.state().faults).finish_non_exhaustive()
    }
}

/// The fault that happens now, if one does; the others of its kind come nearer.
fn due(faults: &mut Vec<(usize, Fault)>, event: Event) -> Option<Fault> {
    let place = faults.iter().position(|(skip, fault)| *skip == 0 && fault.event() == event);
    let due = place.map(|place| faults.remove(place).1);
    for (skip, _) in faults.iter_mut().filter(|(_, fault)| fault.event() == event) {
        *skip = skip.saturating_sub(1);
    }
    due
}

impl State {
    /// The answers to a datagram of requests. While the parts of a list wait to be received, there is no other one.
    fn answer(&mut self, protocol: isize, datagram: &[u8], listing: bool) -> Vec<Reply> {
        let model = match &mut self.peer {
            Peer::Script(script) => return script(datagram),
            Peer::Model(model) => model,
        };
        let mut replies = Vec::new();
        let mut at = 0;
        while let Ok(incoming) = message::read(datagram, at) {
            let request = datagram.get(at..).unwrap_or_default();
            at = incoming.end;
            let answer = match incoming.content(datagram) {
                Ok(Content::Data) => match due(&mut self.faults, Event::Request) {
                    Some(Fault::Refused(errno)) => Err(errno.into()),
                    _ if listing && is_dump(incoming.flags) => Err(EBUSY.into()),
                    _ => {
                        let body = datagram.get(incoming.body).unwrap_or_default();
                        model.answer(protocol, incoming.kind, incoming.flags, body)
                    }
                },
                // Messages below the protocols' own are acknowledged, no more.
                _ => Ok((message::NOOP, Vec::new())),
            };
            replies.extend(told(request, incoming.flags, incoming.sequence, answer));
        }
        replies.into_iter().map(|datagram| Reply::Datagram(0, datagram)).collect()
    }
}

/// The type of the messages of an answer, and their bodies.
type Answer = Result<(u16, Vec<Vec<u8>>), Denial>;

impl Model {
    fn answer(&mut self, protocol: isize, kind: u16, flags: u16, body: &[u8]) -> Answer {
        let dump = is_dump(flags);
        match (protocol, kind) {
            (NETLINK_GENERIC, genl::CONTROLLER) if genl::family_name(body)? == FAMILY => {
                Ok((kind, vec![genl::family_reply_of(FAMILY, IPVS)]))
            }
            (NETLINK_GENERIC, IPVS) => Ok((kind, self.ipvs.answer(body, dump)?)),
            (NETLINK_GENERIC, _) => Err(ENOENT.into()),
            (NETLINK_NETFILTER, _) => Ok((kind, self.ipset.answer(kind, flags, body)?)),
            _ => self.vip.answer(kind, body, dump),
        }
    }
}

/// Refusal of a request by a model.
#[derive(Debug)]
pub(crate) struct Denial {
    pub(crate) errno: i32,
    pub(crate) words: Option<String>,
    /// The body of the request, where the kernel repeats it.
    pub(crate) repeated: Option<Vec<u8>>,
}

impl Denial {
    pub(crate) fn not_modelled(what: &str) -> Self {
        Self { errno: EOPNOTSUPP, words: Some(format!("not modelled: {what}")), repeated: None }
    }
}

impl From<i32> for Denial {
    fn from(errno: i32) -> Self {
        Self { errno, words: None, repeated: None }
    }
}

impl From<DecodeError> for Denial {
    fn from(_: DecodeError) -> Self {
        EINVAL.into()
    }
}

fn is_dump(flags: u16) -> bool {
    flags & message::DUMP == message::DUMP
}

/// The datagrams of the answer to a request.
fn told(request: &[u8], flags: u16, sequence: u32, answer: Answer) -> Vec<Vec<u8>> {
    let (kind, bodies) = match answer {
        Ok(answer) => answer,
        Err(denial) => return vec![error(request, sequence, &denial)],
    };
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    let marked = if is_dump(flags) { MULTI } else { 0 };
    for body in bodies {
        let message = written(kind, marked, sequence, &body);
        match datagrams.last_mut() {
            Some(last) if is_dump(flags) && last.len() + message.len() <= PART => last.extend(message),
            _ => datagrams.push(message),
        }
    }
    if is_dump(flags) {
        datagrams.push(written(message::DONE, MULTI, sequence, &[0; 4]));
    } else if flags & message::ACK != 0 {
        datagrams.push(error(request, sequence, &0.into()));
    }
    datagrams
}

fn written(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Raw bytes are no attribute that could be too long.
    _ = message::write(&mut bytes, kind, flags, sequence, |out| out.raw(body));
    bytes
}

/// The refusal of a request, or its acknowledgement if the error number is 0.
fn error(request: &[u8], sequence: u32, denial: &Denial) -> Vec<u8> {
    let header = request.get(..message::HEADER).unwrap_or(&[0; message::HEADER]);
    let capped = if denial.repeated.is_none() { message::CAPPED } else { 0 };
    let with_words = if denial.words.is_some() { message::ACK_ATTRIBUTES } else { 0 };
    let mut bytes = Vec::new();
    _ = message::write(&mut bytes, message::ERROR, capped | with_words, sequence, |out| {
        out.raw(&denial.errno.wrapping_neg().to_ne_bytes());
        match &denial.repeated {
            None => out.raw(header),
            Some(body) => {
                let field = |range| header.get::<std::ops::Range<usize>>(range).and_then(|field| field.try_into().ok());
                let [kind, flags] = [4..6, 6..8].map(|range| field(range).map_or(0, u16::from_ne_bytes));
                out.raw(&written(kind, flags, sequence, body));
            }
        }
        if let Some(words) = &denial.words {
            out.text(ExtendedAck::Message, words);
        }
    });
    bytes
}

/// The end of a client's socket that the client holds.
#[derive(Debug)]
struct Port {
    kernel: Kernel,
    protocol: isize,
    queue: VecDeque<Reply>,
    late: Vec<Reply>,
    /// There was an overrun, and what had come by then is not all received: till then every answer is lost.
    congested: bool,
}

impl connection::Peer for Port {
    /// As the real one does, the kernel answers while it takes the datagram.
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let mut state = self.kernel.state();
        if let Some(Fault::Unsent(errno)) = due(&mut state.faults, Event::Sending) {
            return Err(io::Error::from_raw_os_error(errno));
        }
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

    /// As `receive`, for a client that waits at most so long.
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

/// Queues what becomes of a reply, which is followed by `rest`.
fn disturb(
    fault: Fault,
    mut reply: Reply,
    rest: &mut VecDeque<Reply>,
    queue: &mut VecDeque<Reply>,
    late: &mut Vec<Reply>,
) {
    let Reply::Datagram(_, bytes) = &mut reply else {
        return queue.push_back(reply);
    };
    let first = message::read(bytes, 0);
    let (sequence, flags) = first.map_or((0, 0), |first| (first.sequence, first.flags));
    match fault {
        Fault::Refused(_) | Fault::Unsent(_) => {}
        Fault::Lost => return rest.clear(),
        Fault::Late => return late.extend(std::iter::once(reply).chain(rest.drain(..))),
        Fault::Twice => queue.push_back(reply.clone()),
        Fault::Swapped => match rest.pop_front() {
            Some(next) => queue.push_back(next),
            None => return late.push(reply),
        },
        Fault::Truncated => bytes.resize(Limits::default().inbox.max(bytes.len()) + 1, 0),
        Fault::Cut(length) => bytes.truncate(length),
        Fault::Altered(place, byte) => bytes.get_mut(place).into_iter().for_each(|old| *old = byte),
        Fault::Forged => queue.push_back(Reply::Datagram(STRANGER, error(&[], sequence, &EPERM.into()))),
        Fault::Stray => queue.push_back(Reply::Datagram(0, error(&[], sequence.wrapping_sub(1 << 20), &EPERM.into()))),
        Fault::Interrupted => interrupt(bytes),
        Fault::Ended(errno) => {
            while rest.front().is_some_and(|next| next.sequence() == Some(sequence)) {
                rest.pop_front();
            }
            *bytes = if flags & MULTI == 0 {
                error(&[], sequence, &errno.into())
            } else {
                written(message::DONE, MULTI, sequence, &errno.wrapping_neg().to_ne_bytes())
            };
        }
        Fault::Failing(errno) => queue.push_back(Reply::Failure(errno)),
        Fault::Slow(delay) => queue.push_back(Reply::Delay(delay)),
        Fault::Endless(every) => return queue.push_back(Reply::Endless(every, std::mem::take(bytes))),
    }
    queue.push_back(reply);
}

/// Marks all messages of a datagram.
fn interrupt(datagram: &mut [u8]) {
    let mut at = 0;
    while let Ok(incoming) = message::read(datagram, at) {
        let marked = incoming.flags | message::DUMP_INTERRUPTED;
        if let Some(field) = datagram.get_mut(at + 6..at + 8) {
            field.copy_from_slice(&marked.to_ne_bytes());
        }
        at = incoming.end;
    }
}
