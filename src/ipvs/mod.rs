//! IPVS: virtual services, their destinations, and the kernel's table of them.
//!
//! - [`Ipvs`] is the client: one socket, every operation.
//! - A [`Service`] is identified by its [`ServiceKey`] and says how connections are spread; a [`Destination`] (real
//!   server) is identified, within its service, by its address and port. [`ServiceInfo`] and [`DestinationInfo`] are
//!   what is read back: the same and the counters.
//! - [`Timeouts`] and [`SyncDaemon`] are what else IPVS can be told.
//! - A [`Change`] is one change of the table as a value, [`Ipvs::batch`] carries out any number of them.
//! - [`settings`] has the `net.ipv4.vs` sysctls, [`kernels`] which part of the kernel's interface is where in this crate.
//! - [`Connections`], [`CpuStats`] and [`Status`] are what netlink does not have: read from files of `/proc`.
//! - A [`Message`] is what travels, for those who bring their own transport.
//!
//! ```no_run
//! use lvs::ipvs::{Destination, Ipvs, Scheduler, Service};
//!
//! let mut ipvs = Ipvs::connect()?;
//! let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
//! ipvs.add_service(&web)?;
//! ipvs.add_destination(web.key, &Destination::new("10.244.1.7:6443".parse()?).weight(2))?;
//! for (service, destinations) in ipvs.table()? {
//!     println!("{} {}: {} destinations", service.key(), service.scheduler(), destinations.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the kernel does not promise
//!
//! - A list of more than some hundred entries is read in parts, and each part starts where the one before ended *by
//!   count*; the kernel does not say that the table changed meanwhile. When another process adds entries, or Linux 7.x
//!   resizes its table some time after many were added, entries come twice and as many are missing.
//!   [`Ipvs::services`], [`Ipvs::destinations`] and [`Ipvs::table`] see that and read again; those who use
//!   [`Ipvs::stream_services`] must. When another process *deletes* entries, some may be missing without a sign, on
//!   Linux 6.1 and 6.12 even if they are deleted in another network namespace. Who needs certainty lists twice, or is
//!   the only one who writes.
//! - Counters and rates are copies that the kernel renews every 2 seconds ([`Stats`]).
//! - There are no notifications: what others change is seen by reading.

mod address;
mod batch;
mod client;
mod daemon;
mod destination;
#[doc = include_str!("kernels.md")]
pub mod kernels {}
mod message;
#[cfg(feature = "testing")]
pub(crate) mod model;
mod numbers;
mod procfs;
mod refusal;
mod scheduler;
mod service;
pub mod settings;
mod stats;
mod timeouts;

pub use crate::address::Family;
pub use batch::{BatchError, Failure};
pub use client::{Ipvs, Services};
pub use daemon::{SyncDaemon, SyncState};
pub use destination::{Destination, DestinationInfo, Forwarding, Thresholds, Tunnel, TunnelFlags};
pub use message::{Answer, Change, Info, Message, Query};
pub(crate) use numbers::{FAMILY, MODULE, VERSION};
pub use procfs::{
    Connection, ConnectionState, Connections, CpuCounters, CpuStats, EngineData, Origin, Status, TableStatus,
};
pub use scheduler::{PersistenceEngine, Scheduler};
pub use service::{InvalidPrefix, Netmask, Persistence, Protocol, Service, ServiceFlags, ServiceInfo, ServiceKey};
pub use stats::{Rates, Stats};
pub use timeouts::Timeouts;
