//! IPVS: virtual services, their destinations, and the kernel's table of them.
//!
//! - [`Ipvs`] is the client, with a method for every operation.
//! - A [`Service`] is a virtual service: a [`ServiceKey`], such as an address, a port and a protocol, and the scheduler
//!   that spreads its connections. A [`Destination`] is a real server of a service, identified by its address and port.
//! - [`ServiceInfo`] and [`DestinationInfo`] are the same objects as read from the kernel, with their counters.
//! - [`Timeouts`] are the timeouts of connections. A [`SyncDaemon`] sends connections to another machine, or receives
//!   them.
//! - A [`Change`] is one change of the table as a value. [`Ipvs::batch`] carries out any number of them. A refused
//!   change does not stop the others, and [`BatchError`] reports every change that was not made.
//! - [`settings`] has the `net.ipv4.vs` sysctls. [`kernels`] maps the kernel's interface to the items of this crate.
//! - [`Connections`], [`CpuStats`], [`Status`] and [`Overview`] read files of `/proc`: the connection table, the
//!   counters of each CPU, the load of the kernel's tables, and a summary of the services. Only `Status` needs root.
//! - A [`Message`] is a request or an answer, for programs with their own transport.
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
//! # Listings while others change the table
//!
//! | need | method |
//! |---|---|
//! | an exact listing | [`Ipvs::services`], [`Ipvs::destinations`], [`Ipvs::table`]; they read up to ten times, and fail with [`is_interrupted`](crate::Error::is_interrupted) if no two consecutive readings agree |
//! | a listing in any case, such as for metrics | [`Ipvs::services_best_effort`], [`Ipvs::destinations_best_effort`], [`Ipvs::table_best_effort`]; they report that the table kept changing ([`BestEffort::changing`]) |
//! | constant memory | [`Ipvs::stream_services`], which may repeat or omit services while the table changes |
//!
//! An exact listing has each entry once. It has every entry that exists during the whole call, with one exception. Above
//! 512 entries, an entry is missed if an earlier entry is deleted in both readings, each time just before the datagram
//! that would begin with the missed one.
//!
//! The kernel is the reason. It sends a long listing in datagrams of up to 32 KiB, with 80 to 100 entries. The next
//! datagram continues at the number of entries already sent, and the kernel does not report that the table changed in
//! between. If an entry was added, another entry is listed twice. If an entry was deleted, another entry is missing. On
//! Linux 6.1 and 6.12 a change in another network namespace has the same effect. Linux 7.x reorders its table by itself
//! some time after many services were added.
//!
//! Therefore a listing of several datagrams is read until two consecutive readings have the same entries in the same
//! order. Up to 512 entries, the two use datagrams of different lengths, so that they do not miss the same entry. A
//! listing that certainly arrived in one datagram is read once. That holds for up to 8 destinations. After a long listing
//! of destinations the next one is read into a larger buffer, and it holds for about 80.
//!
//! On Linux 6.1 and 6.12 all values of an entry are of one point in time. Linux 7.x reads an entry while another program
//! changes it: some values may be those before the change, and some those after it. A service that is being deleted,
//! or whose scheduler is being changed, may have [`Scheduler::NONE`] there. The next listing has the final values.
//!
//! The best-effort methods merge a few readings by key and take the newest value of each. A service that only an older
//! reading has is looked up by its key.
//!
//! # Limits of the kernel
//!
//! - Counters and rates are copies that the kernel updates every 2 seconds ([`Stats`]).
//! - IPVS sends no notifications. A change by another program is found by reading again.

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
