//! The kernel: its models, its clock and its pending faults.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::libc::{EBUSY, ECONNREFUSED, ENOENT};

use super::answer::{Answer, is_dump, reply_datagrams};
use super::fault::{Event, Fault, due};
use super::port::{Port, Reply};
use super::record::Sent;
use super::{conntrack, ipset, ipvs, vip};
use crate::connection::{Connection, Options};
use crate::conntrack::request::is_of_tracker;
use crate::conntrack::{Conntrack, Flow, Tuple};
use crate::error::{DecodeError, Result};
use crate::exchange::Limits;
use crate::ipset::Ipset;
use crate::ipvs::{FAMILY, Ipvs, ServiceKey};
use crate::vip::Vips;
use crate::wire::genl;
use crate::wire::message::{self, Content};

/// The number of the family `IPVS`: some other than the controller's.
const IPVS: u16 = 32;

/// A kernel for tests: see [the module](super). Clones share one kernel.
#[derive(Clone)]
pub struct Kernel(Arc<Mutex<State>>);

pub(super) struct State {
    peer: Peer,
    pub(super) faults: Vec<(usize, Fault)>,
    cut: Option<Cut>,
    sent: Sent,
    /// Options of the clients.
    options: Options,
    /// Start of its clock, and the time that has passed: it moves while a client waits.
    pub(super) began: Instant,
    pub(super) passed: Duration,
}

/// The end of what clients can send.
#[derive(Clone, Copy)]
struct Cut {
    /// Datagrams that are still received.
    left: usize,
    /// Whether a datagram was not received.
    reached: bool,
}

impl State {
    pub(super) fn pass(&mut self, time: Duration) {
        // The clock cannot represent a later time.
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
    conntrack: conntrack::Model,
}

impl Kernel {
    /// Returns a kernel with empty tables.
    pub fn new() -> Self {
        let model = Model {
            ipvs: ipvs::Model::new(),
            ipset: ipset::Model::default(),
            vip: vip::Model::new(),
            conntrack: conntrack::Model::default(),
        };
        Self::with(Peer::Model(Box::new(model)))
    }

    /// Returns a kernel that answers each datagram of requests with `answer`. If the client receives more datagrams
    /// than these, it times out. The closure must not use this kernel itself.
    ///
    /// The bytes are those of `netlink(7)`; a refusal repeats the sequence number of its request. The first request of
    /// [`Ipvs`] is for the number of its family.
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
        let state = State {
            peer,
            faults: Vec::new(),
            cut: None,
            sent: Sent::default(),
            options: Options::default(),
            began: Instant::now(),
            passed: Duration::ZERO,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Returns the kernel with these options for clients that are opened from now on. Only [`Options::timeout`],
    /// [`Options::deadline`] and [`Options::largest_listing`] have an effect.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lvs::testing::{Fault, Kernel};
    /// let kernel = Kernel::new().with_options(&lvs::Options::default().timeout(Duration::from_millis(10)));
    /// let mut ipvs = kernel.ipvs()?;
    /// kernel.disturb(0, Fault::Lost);
    /// assert!(ipvs.version().unwrap_err().is_timed_out());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_options(self, options: &Options) -> Self {
        self.state().options = options.clone();
        self
    }

    /// Returns the time that has passed on the kernel's clock: only [`Reply::Delay`], [`Reply::Endless`] and faults of
    /// their kind move it.
    pub fn elapsed(&self) -> Duration {
        self.state().passed
    }

    /// Opens a client of IPVS.
    ///
    /// # Errors
    /// As [`Ipvs::connect`], if a script or a fault causes one.
    pub fn ipvs(&self) -> Result<Ipvs> {
        Ipvs::over(|_| Ok(self.connection(NETLINK_GENERIC)))
    }

    /// Opens a client of ipset.
    pub fn ipset(&self) -> Ipset {
        Ipset::over(self.connection(NETLINK_NETFILTER))
    }

    /// Opens a client of virtual IPs.
    pub fn vips(&self) -> Vips {
        Vips::over(self.connection(NETLINK_ROUTE))
    }

    /// Opens a client of the connection tracker.
    pub fn conntrack(&self) -> Conntrack {
        Conntrack::over(self.connection(NETLINK_NETFILTER))
    }

    /// Adds a UDP flow to the connection tracker. Returns `None`, without effect, for a [script](Kernel::script).
    ///
    /// ```
    /// use lvs::Family;
    /// use lvs::conntrack::Tuple;
    /// use lvs::testing::Kernel;
    ///
    /// let kernel = Kernel::new();
    /// let (client, dns) = ("192.0.2.1:4000".parse()?, "10.96.0.10:53".parse()?);
    /// let original = Tuple { source: client, destination: dns, zone: 0 };
    /// let reply = Tuple { source: dns, destination: client, zone: 0 };
    /// kernel.add_flow(original, reply);
    /// let mut conntrack = kernel.conntrack();
    /// let flow = conntrack.flows(Family::Inet)?[0];
    /// assert!(flow.is_stale(dns, ["10.244.1.7:53".parse()?]));
    /// conntrack.delete(&flow)?;
    /// assert!(conntrack.delete(&flow).unwrap_err().is_not_found());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_flow(&self, original: Tuple, reply: Tuple) -> Option<Flow> {
        match &mut self.state().peer {
            Peer::Model(model) => Some(model.conntrack.add(original, reply)),
            Peer::Script(_) => None,
        }
    }

    /// Adds an interface that is up, with addresses and their prefix lengths that belong to no binder. A second call
    /// with the same name adds addresses. It has no effect on a [script](Kernel::script).
    ///
    /// ```
    /// use lvs::testing::Kernel;
    /// use lvs::Outcome;
    /// use lvs::vip::Binder;
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

    /// Deletes the local route of an address, as another program or an interface that goes down can. The address is kept.
    /// Returns whether the route existed.
    ///
    /// ```
    /// use lvs::testing::Kernel;
    /// use lvs::Outcome;
    /// use lvs::vip::Binder;
    ///
    /// let kernel = Kernel::new();
    /// let (mut vips, binder) = (kernel.vips(), Binder::dummy("vip0")?);
    /// let vip: std::net::IpAddr = "10.96.0.10".parse()?;
    /// assert_eq!(vips.bind(&binder, vip)?, Outcome::Added);
    /// assert_eq!(vips.bind(&binder, vip)?, Outcome::Unchanged);
    /// assert!(kernel.delete_local_route(vip));
    /// assert_eq!(vips.bind(&binder, vip)?, Outcome::Added);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_local_route(&self, address: IpAddr) -> bool {
        match &mut self.state().peer {
            Peer::Model(model) => model.vip.delete_local_route(address),
            Peer::Script(_) => false,
        }
    }

    /// Sets the numbers of connections of a destination in listings, until the destination is deleted. Returns whether
    /// the destination exists.
    ///
    /// ```
    /// use lvs::ipvs::{Destination, Scheduler, Service};
    /// use lvs::testing::Kernel;
    ///
    /// let kernel = Kernel::new();
    /// let mut ipvs = kernel.ipvs()?;
    /// let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
    /// let server = "10.244.1.1:443".parse()?;
    /// ipvs.add_service(web)?;
    /// ipvs.add_destination(web, Destination::new(server))?;
    /// let (active, inactive, persistent) = (3, 40, 1);
    /// assert!(kernel.set_connections(web, server, active, inactive, persistent));
    /// assert_eq!(ipvs.destinations(web)?[0].active_connections, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_connections(
        &self,
        service: impl Into<ServiceKey>,
        destination: SocketAddr,
        active: u32,
        inactive: u32,
        persistent: u32,
    ) -> bool {
        match &mut self.state().peer {
            Peer::Model(model) => {
                model.ipvs.set_connections(service.into(), destination, [active, inactive, persistent])
            }
            Peer::Script(_) => false,
        }
    }

    /// Takes the record of the requests that the kernel received since the last call, from all clients. It keeps at
    /// least the last 65,536 changes and as many queries. A [script](Kernel::script) has no record.
    ///
    /// ```
    /// use lvs::ipvs::{Scheduler, Service};
    /// use lvs::testing::Kernel;
    ///
    /// let kernel = Kernel::new();
    /// let mut ipvs = kernel.ipvs()?;
    /// let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
    /// ipvs.put_service(web)?;
    /// assert_eq!(kernel.sent().changes, ["add service 10.96.0.10:443/tcp"]);
    /// ipvs.services()?;
    /// assert!(kernel.sent().changes.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sent(&self) -> Sent {
        std::mem::take(&mut self.state().sent)
    }

    fn connection(&self, protocol: isize) -> Connection {
        let (kernel, options) = (self.clone(), self.state().options.clone());
        let port = Port::new(kernel, protocol);
        // The sizes of a real socket's buffers, as Linux makes them when `Options` are left alone.
        Connection::over(Box::new(port), Limits::for_buffers(2 << 20, 208 << 10), &options)
    }

    /// Injects `fault` once, after `skip` events of its kind.
    ///
    /// An event is a datagram of an answer to any client: an acknowledgement, a dump datagram, the end of a dump.
    /// [`Fault::Refused`] and [`Fault::Unsent`] count requests instead.
    ///
    /// Any number of faults may be pending; each has its own count.
    pub fn disturb(&self, skip: usize, fault: Fault) {
        self.state().faults.push((skip, fault));
    }

    /// Returns the number of pending faults. A test that disturbs one position after the other is done when a fault is
    /// still pending at its end.
    ///
    /// ```
    /// # use lvs::testing::{Fault, Kernel};
    /// let kernel = Kernel::new();
    /// let mut ipvs = kernel.ipvs()?;
    /// kernel.disturb(0, Fault::Lost);
    /// assert!(ipvs.version().unwrap_err().is_timed_out());
    /// assert_eq!(kernel.faults_left(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn faults_left(&self) -> usize {
        self.state().faults.len()
    }

    /// Simulates the death of the program under test after this number of further datagrams of requests. The kernel
    /// receives no later ones, from any client, and sending fails with `ECONNREFUSED`, until [`Kernel::mend`].
    ///
    /// ```
    /// use lvs::ipvs::{Scheduler, Service};
    /// use lvs::testing::Kernel;
    ///
    /// fn set_up(kernel: &Kernel) -> lvs::Result<()> {
    ///     let mut ipvs = kernel.ipvs()?;
    ///     for port in [80, 443] {
    ///         ipvs.put_service(Service::tcp(([10, 96, 0, 10], port).into(), Scheduler::WRR))?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// for datagrams in 0.. {
    ///     let kernel = Kernel::new();
    ///     kernel.cut(datagrams);
    ///     let done = set_up(&kernel);
    ///     if !kernel.mend() {
    ///         break; // The run was complete before the cut: every datagram was tested.
    ///     }
    ///     assert!(done.is_err());
    ///     set_up(&kernel)?;
    ///     assert_eq!(kernel.ipvs()?.services()?.len(), 2);
    /// }
    /// # Ok::<(), lvs::Error>(())
    /// ```
    pub fn cut(&self, datagrams: usize) {
        self.state().cut = Some(Cut { left: datagrams, reached: false });
    }

    /// Ends a [cut](Kernel::cut): the kernel receives everything from now on. Returns whether the cut lost a datagram.
    pub fn mend(&self) -> bool {
        self.state().cut.take().is_some_and(|cut| cut.reached)
    }

    /// A client that panicked has left no change in part.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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

impl State {
    /// Counts a datagram of requests.
    ///
    /// # Errors
    /// When it does not reach the kernel.
    pub(super) fn pass_to_kernel(&mut self) -> io::Result<()> {
        if let Some(cut) = &mut self.cut {
            match cut.left.checked_sub(1) {
                Some(left) => cut.left = left,
                None => {
                    cut.reached = true;
                    return Err(io::Error::from_raw_os_error(ECONNREFUSED));
                }
            }
        }
        match due(&mut self.faults, Event::Sending) {
            Some(Fault::Unsent(errno)) => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }

    /// The answers to a datagram of requests. While the parts of a list wait to be received, there is no other one.
    pub(super) fn answer(&mut self, protocol: isize, datagram: &[u8], listing: bool) -> Vec<Reply> {
        let model = match &mut self.peer {
            Peer::Script(script) => return script(datagram),
            Peer::Model(model) => model,
        };
        let mut replies = Vec::new();
        let mut request = datagram;
        while let Ok(incoming) = message::read(request) {
            let answer = match incoming.content() {
                Ok(Content::Data) => {
                    let (kind, flags, body) = (incoming.kind, incoming.flags, incoming.body);
                    // A request that cannot be read is refused below.
                    _ = model.record(&mut self.sent, protocol, kind, flags, body);
                    match due(&mut self.faults, Event::Request) {
                        Some(Fault::Refused(errno)) => Err(errno.into()),
                        _ if listing && is_dump(flags) => Err(EBUSY.into()),
                        _ => model.answer(protocol, kind, flags, body),
                    }
                }
                // Messages below the protocols' own are acknowledged, no more.
                _ => Ok((message::NOOP, Vec::new())),
            };
            replies.extend(reply_datagrams(request, incoming.flags, incoming.sequence, answer));
            request = incoming.rest;
        }
        replies.into_iter().map(|datagram| Reply::Datagram(0, datagram)).collect()
    }
}

impl Model {
    fn record(&self, sent: &mut Sent, protocol: isize, kind: u16, flags: u16, body: &[u8]) -> Result<(), DecodeError> {
        match (protocol, kind) {
            (NETLINK_GENERIC, IPVS) => sent.ipvs(body),
            (NETLINK_GENERIC, _) => Ok(()),
            (NETLINK_NETFILTER, _) if is_of_tracker(kind) => sent.conntrack(&self.conntrack, kind, body),
            (NETLINK_NETFILTER, _) => sent.ipset(&self.ipset, kind, flags, body),
            _ => sent.vip(&self.vip, kind, body, is_dump(flags)),
        }
    }

    fn answer(&mut self, protocol: isize, kind: u16, flags: u16, body: &[u8]) -> Answer {
        let dump = is_dump(flags);
        match (protocol, kind) {
            (NETLINK_GENERIC, genl::CONTROLLER) if genl::family_name(body)? == FAMILY => {
                Ok((kind, vec![genl::family_reply_of(FAMILY, IPVS)]))
            }
            (NETLINK_GENERIC, IPVS) => Ok((kind, self.ipvs.answer(body, dump)?)),
            (NETLINK_GENERIC, _) => Err(ENOENT.into()),
            (NETLINK_NETFILTER, _) if is_of_tracker(kind) => self.conntrack.answer(kind, body, dump),
            (NETLINK_NETFILTER, _) => Ok((kind, self.ipset.answer(kind, flags, body)?)),
            _ => self.vip.answer(kind, body, dump),
        }
    }
}
