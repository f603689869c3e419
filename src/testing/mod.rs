//! An in-memory kernel for the tests of programs that use this crate (feature `testing`). Tests need no root, kernel
//! module or network namespace.
//!
//! [`Kernel`] opens clients of the ordinary types, so that a test runs the program's own code. All clients of a kernel
//! share its tables, and a test examines the result with a client of its own:
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use lvs::ipvs::{Destination, Ipvs, Scheduler, Service, ServiceKey};
//! use lvs::testing::Kernel;
//!
//! /// The function under test.
//! fn quiesce(ipvs: &mut Ipvs, service: ServiceKey, server: SocketAddr) -> lvs::Result<()> {
//!     ipvs.update_destination(service, server, |destination| destination.weight = 0)
//! }
//!
//! let mut ipvs = Kernel::new().ipvs()?;
//! let web = Service::tcp("10.96.0.10:80".parse()?, Scheduler::WRR);
//! let server = "10.0.1.1:8080".parse()?;
//! ipvs.add_service(web)?;
//! ipvs.add_destination(web, Destination::new(server))?;
//! quiesce(&mut ipvs, web.key, server)?;
//! assert_eq!(ipvs.destinations(web)?[0].destination.weight, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The feature is needed by tests only:
//!
//! ```toml
//! [dev-dependencies]
//! lvs = { path = "../lvs", features = ["testing"] }
//! ```
//!
//! # Faults
//!
//! With a [`Fault`], a test shows that the program reports an error and that its next run completes the work.
//! [`Kernel::disturb`] injects a fault after a number of answers. After [`Kernel::cut`] the kernel receives a number of
//! datagrams and loses all later ones, as if the program was killed. [`Kernel::mend`] ends the loss, and returns whether a
//! datagram was lost.
//!
//! ```
//! use lvs::director::{Desired, Director, Owner};
//! use lvs::ipvs::{Destination, Scheduler, Service};
//! use lvs::testing::{Fault, Kernel};
//! use lvs::vip::Binder;
//!
//! /// The program under test: a director on the clients of a kernel.
//! fn director(kernel: &Kernel) -> Result<Director, Box<dyn std::error::Error>> {
//!     let (owner, binder) = (Owner::registered("web")?, Binder::dummy("vip0")?);
//!     Ok(Director::over(kernel.ipvs()?, kernel.ipset(), kernel.vips(), owner, binder))
//! }
//!
//! let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
//! let foreign = Service::udp("10.96.0.53:53".parse()?, Scheduler::RR);
//! let mut desired = Desired::default();
//! desired.service(web, [Destination::new("10.244.1.7:6443".parse()?)])?;
//!
//! // The first run adds the service, and keeps the foreign one. The second run sends no change.
//! let kernel = Kernel::new();
//! kernel.ipvs()?.add_service(foreign)?;
//! director(&kernel)?.sync(&desired)?;
//! let services: Vec<_> = kernel.ipvs()?.services()?.iter().map(|info| info.service).collect();
//! assert_eq!(services, [foreign, web]);
//! kernel.sent();
//! director(&kernel)?.sync(&desired)?;
//! assert!(kernel.sent().changes.is_empty());
//!
//! // A refusal is reported.
//! const EPERM: i32 = 1;
//! let mut refused = director(&kernel)?;
//! kernel.disturb(0, Fault::Refused(EPERM));
//! let error = lvs::Error::from(refused.sync(&Desired::default()).unwrap_err());
//! assert!(error.is_permission_denied());
//!
//! // Killed after any datagram, the next run reaches the same state.
//! for datagrams in 0.. {
//!     let kernel = Kernel::new();
//!     let mut killed = director(&kernel)?;
//!     kernel.cut(datagrams);
//!     let ended = killed.sync(&desired);
//!     if !kernel.mend() {
//!         break; // The run was complete before the cut: every datagram was tested.
//!     }
//!     assert!(ended.is_err());
//!     director(&kernel)?.sync(&desired)?;
//!     assert_eq!(kernel.ipvs()?.destinations(web)?.len(), 1);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Model
//!
//! [`Kernel::new`] is a small model of the real kernel's netlink interface. Tests of this crate compare it with real
//! kernels. It has no traffic: counters stay 0. Its clock moves by [`Fault::Slow`], [`Fault::Endless`],
//! [`Reply::Delay`] and [`Reply::Endless`] only. Entries do not expire, and a client whose answer is lost times out without
//! a wait. The deadlines of drains use the real clock:
//! [`Director::sync_at`](crate::director::Director::sync_at) takes another time.
//!
//! - **IPVS**: services, destinations, timeouts, sync daemons. Every operation of [`Ipvs`](crate::ipvs::Ipvs) has the
//!   kernel's errors for objects that exist or are missing. Schedulers and persistence engines are those of Linux;
//!   others are refused. Numbers of connections are set by [`Kernel::set_connections`]. Not modelled: interfaces (a
//!   daemon runs on any), the machine's own addresses, the maximum number of destinations of `mh`, the longest timeout.
//! - **ipset**: all types, with every extension, and every operation of [`Ipset`](crate::ipset::Ipset). Ranges of
//!   networks, members of more than 65536 entries, and masks of addresses are refused with the message text "not
//!   modelled" (`EOPNOTSUPP`). Listings of `hash:` types have the order in which entries were added. Not modelled:
//!   resizing, the reported memory size, references by rules of packet filters, the refusal of the address zero. With
//!   `forceadd` the oldest entry always makes room; a kernel needs one in the same bucket of its hash table.
//! - **Virtual IPs**: every operation of [`Vips`](crate::vip::Vips), with all binders. The loopback interface is up;
//!   [`Kernel::add_interface`] adds others. IPv6 addresses are local immediately. Not modelled: routes of other tables
//!   than `local`, secondary addresses, limits of memory.
//! - **Connection tracker**: the flows of [`Kernel::add_flow`], listed and deleted. They do not expire.
//!
//! [`Kernel::sent`] returns the requests, so that a test can assert that a second run changes nothing. [`Kernel::script`]
//! returns a kernel that answers with datagrams written by the test.

mod answer;
mod conntrack;
mod entries;
mod fault;
mod ipset;
mod ipvs;
mod kernel;
mod members;
mod port;
mod record;
mod vip;

pub use fault::Fault;
pub use kernel::Kernel;
pub use port::Reply;
pub use record::Sent;

use answer::Denial;
