//! An in-memory kernel for the tests of programs that use this crate: no root, no module, no network namespace (feature
//! `testing`).
//!
//! [`Kernel`] opens clients of the ordinary types, so that a test runs the program's own code. All its clients have the same tables; a
//! test examines the result with a client of its own. A [`Fault`] disturbs one answer or request, to show that the program reports the
//! error and that its next run completes the work:
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
//!         break; // It sends fewer datagrams.
//!     }
//!     assert!(ended.is_err());
//!     director(&kernel)?.sync(&desired)?;
//!     assert_eq!(kernel.ipvs()?.destinations(web)?.len(), 1);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is, and what not
//!
//! [`Kernel::new`] is a small model of the real kernel's netlink interface, compared with the real ones in this
//! crate's own tests. No time passes in it, nor do packets: counters stay 0, timeouts are kept and do not run
//! down, a time-out of a client is reported at once. Its clock moves by script ([`Fault::Slow`], [`Reply::Delay`]).
//!
//! - **IPVS**: services, destinations, timeouts, sync daemons; every operation of [`Ipvs`](crate::ipvs::Ipvs) with the errors
//!   that the kernel has for objects that exist or are missing. Schedulers and persistence engines are those that Linux has,
//!   others are refused. Connections are those of [`Kernel::set_connections`].
//!   Not modelled: interfaces (a daemon runs on any), which addresses are the machine's own, how many destinations `mh` can
//!   take, the longest timeout.
//! - **ipset**: all types, with every extension; every operation of [`Ipset`](crate::ipset::Ipset). Refused with the kernel's
//!   words "not modelled" (`EOPNOTSUPP`) are ranges of networks, entries that stand for more than 65536, and masks of
//!   addresses. Listings of `hash:` types come in the order in which entries were added. No set grows or takes memory; only
//!   a `list:set` uses other sets. An address of zero is one like others.
//! - **Virtual IPs**: every operation of [`Vips`](crate::vip::Vips), with all binders. The loopback interface is up;
//!   [`Kernel::add_interface`] adds others. IPv6 addresses are local at once. Not modelled: routes of other tables than
//!   `local`, secondary addresses, limits of memory.
//! - **Connection tracker**: the flows of [`Kernel::add_flow`], listed and deleted. They do not expire.
//!
//! Beside faults, a test has a record of the requests ([`Kernel::sent`]), so that "the second run changes nothing" is an assertion,
//! and a death of the program after any datagram ([`Kernel::cut`]).
//!
//! [`Kernel::script`] is a kernel of the test's own, byte by byte.

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
