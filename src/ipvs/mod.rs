//! IPVS: virtual services, their destinations, and the kernel's table of them.
//!
//! - [`Ipvs`] is the client: one socket, every operation.
//! - A [`Service`] is identified by its [`ServiceKey`] and says how connections are spread; a [`Destination`] (real
//!   server) is identified, within its service, by its address and port. [`ServiceInfo`] and [`DestinationInfo`] are
//!   what is read back: the same and the counters.
//! - [`Timeouts`] and [`SyncDaemon`] are what else IPVS can be told.
//! - A [`Change`] is one change of the table as a value, [`Ipvs::batch`] carries out any number of them.
//! - [`settings`] has the `net.ipv4.vs` sysctls, [`kernels`] which part of the kernel's interface is where in this crate.
//! - [`Connections`], [`CpuStats`] and [`Status`] are what netlink does not have, [`Overview`] is the table at a glance: read
//!   from files of `/proc`.
//! - A [`Message`] is what travels, for those who bring their own transport.
//!
//! ```no_run
//! use lvs::ipvs::{Destination, Ipvs, Scheduler, Service};
//!
//! let mut ipvs = Ipvs::connect()?;
//! let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
//! ipvs.add_service(web)?;
//! ipvs.add_destination(web, Destination::new("10.244.1.7:6443".parse()?).weight(2))?;
//! for (service, destinations) in ipvs.table()? {
//!     println!("{} {}: {} destinations", service.key(), service.scheduler(), destinations.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Lists while others change the table
//!
//! The kernel sends a long list in parts of up to 32 KiB (some hundred entries). Each part is of one moment, but starts where
//! the one before ended *by count*, and nothing says that the table changed in between: when an entry was added, another
//! comes twice; when one was deleted, another is left out. On Linux 6.1 and 6.12 it is the same when the table of
//! another network namespace changes, and Linux 7.x changes the order by itself some time after many services were added.
//!
//! Therefore [`Ipvs::services`], [`Ipvs::destinations`] and [`Ipvs::table`] read a list that came in parts until it comes twice
//! in a row with the same entries in the same order, and give up with [`is_interrupted`](crate::Error::is_interrupted) after
//! ten times. The parts of a list of up to 512 entries are of another length each time. (What certainly came in one part is
//! read once: the destinations of a service, up to some eighty.) Then
//!
//! - no entry is listed twice;
//! - an entry that was there during the whole call is listed. (One could still hide where a part of each of the last two
//!   readings ends near the same place, if entries before it are deleted at that moment of both, and added again in between.)
//! - each entry is as it was set by one change, never half of it.
//!
//! [`Ipvs::services_best_effort`] and its siblings succeed also while the table keeps changing: they merge a few readings by
//! key, take the newest value of each, and report the change ([`BestEffort::changing`]). A service that only an older reading
//! has is looked up by its key. [`Ipvs::stream_services`] reads once.
//!
//! # What the kernel does not promise
//!
//! - Counters and rates are copies that the kernel renews every 2 seconds ([`Stats`]).
//! - There are no notifications: what others change is seen by reading.

mod address;
mod batch;
mod client;
mod daemon;
mod destination;
mod flags;
mod forwarding;
#[doc = include_str!("kernels.md")]
pub mod kernels {}
mod key;
mod listing;
mod message;
mod numbers;
mod persistence;
mod procfs;
mod refusal;
mod request;
mod scheduler;
mod service;
pub mod settings;
mod stats;
mod timeouts;

pub use batch::{BatchError, Failure};
pub use client::Ipvs;
pub use daemon::{SyncDaemon, SyncState};
pub use destination::{Destination, DestinationInfo, Thresholds};
pub use flags::ServiceFlags;
pub use forwarding::{Forwarding, Tunnel, TunnelFlags};
pub use key::{IntoServiceKey, ServiceKey};
pub use listing::{BestEffort, Services};
pub use message::{Answer, Message, Version};
#[cfg(feature = "interop")]
pub(crate) use numbers::VERSION;
pub(crate) use numbers::{FAMILY, MODULE};
pub use persistence::{InvalidPrefix, Netmask, Persistence};
pub use procfs::{
    Connection, ConnectionState, Connections, CpuCounters, CpuStats, DestinationOverview, EngineData, ForwardingName,
    Origin, Overview, OverviewAddress, ServiceOverview, Status, TableStatus,
};
pub use request::{Change, Query};
pub use scheduler::{PersistenceEngine, Scheduler};
pub use service::{Service, ServiceInfo};
pub use stats::{Rates, Stats};
pub use timeouts::Timeouts;
