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
