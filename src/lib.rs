//! Programs the load balancer of the Linux kernel (IPVS), its address sets (ipset) and virtual IPs over netlink.
//!
//! A *virtual service* is an address and a port to which clients connect. IPVS forwards each connection to one of the
//! service's *destinations*, the real servers. A *virtual IP* is the address of such a service, made local to this
//! machine. A *set* is a table of addresses in the kernel, which rules of a packet filter match.
//!
//! | module | purpose |
//! |---|---|
//! | [`ipvs`] | virtual services, their destinations, the schedulers, as with `ipvsadm` |
//! | [`ipset`] | sets of addresses, networks and ports for packet filters, as with `ipset` |
//! | [`vip`] | virtual IPs: make an address local to this machine, so that IPVS receives its packets |
//! | [`director`] | declarative layer: a desired state of services, virtual IPs and sets, with drains and ownership |
//! | [`conntrack`] | UDP flows of the connection tracker: delete stale flows, whose replies are not translated |
//! | [`ready`] | check the kernel's modules, features and settings |
//! | [`netns`] | work in another network namespace without moving the calling thread |
//! | [`Worker`] | a client on a thread of its own, for asynchronous programs |
//! | [`exchange`] | the netlink state machine without I/O, for programs with their own sockets |
//! | `testing` | an in-memory kernel with fault injection, for the tests of programs (feature `testing`) |
//!
//! An [`Error`] has the operation, its object, the kernel's error number and its meaning. Predicates such as
//! [`is_already_exists`](Error::is_already_exists) distinguish errors.
//!
//! ```no_run
//! use lvs::ipvs::{Destination, Ipvs, Scheduler, Service};
//! use lvs::vip::{Binder, Vip, Vips};
//!
//! // Connections to the service go to two real servers, two of three to the first.
//! let mut ipvs = Ipvs::connect()?;
//! let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
//! ipvs.add_service(web)?;
//! ipvs.add_destination(web, Destination::new("10.244.1.7:6443".parse()?).weight(2))?;
//! ipvs.add_destination(web, Destination::new("10.244.1.8:6443".parse()?))?;
//!
//! // The virtual IP becomes local, on a dummy interface of its own. Bind it last: until the service exists, packets to
//! // the local address are refused.
//! Vips::connect()?.bind(&Binder::dummy("vip0")?, "10.96.0.10".parse::<Vip>()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Requirements
//!
//! Linux 6.1 or later. The kernel loads its modules at the first use. [`ready::check`] reports missing modules,
//! privileges and unsuitable settings, and changes nothing.
//!
//! | operation | privilege |
//! |---|---|
//! | IPVS | `CAP_NET_ADMIN` in the initial user namespace |
//! | ipset, changing virtual IPs, the connection tracker | `CAP_NET_ADMIN` in the user namespace that owns the network namespace |
//! | [`Setting::set`](ipvs::settings::Setting::set) | the same; some settings need it in the initial user namespace |
//! | creating or entering a network namespace ([`netns`]) | `CAP_SYS_ADMIN` |
//! | [`ready::load`] of a scheduler | `CAP_SYS_MODULE` |
//! | connecting, listing virtual IPs, reading settings, [`ready::check`], the files of `/proc` except [`Status`](ipvs::Status) | none |
//!
//! # Features
//!
//! All features are off by default.
//!
//! | feature | adds |
//! |---|---|
//! | `testing` | the module `testing` |
//! | `serde` | the traits of `serde` for specifications, keys, changes, statistics, reports, and the desired state of a director |
//! | `tracing` | [spans and events](#tracing) of the crate `tracing` |
//! | `interop` | the traits of the rust-netlink crates for [`ipvs::Message`] |
//!
//! # Failures of batches
//!
//! A `BatchError` has the failures, the interruption, and in `unknown` the positions of the changes in flight: the kernel
//! may have carried them out.
//!
//! | batch | after a failed change | after a timeout or another interruption |
//! |---|---|---|
//! | [`Ipvs::batch`](ipvs::Ipvs::batch) | continues | ends; changes in flight are `unknown` |
//! | [`Vips::bind_all`](vip::Vips::bind_all), [`sync`](vip::Vips::sync) | continues | ends; repeat the call |
//! | [`Ipset::batch`](ipset::Ipset::batch), [`add_all`](ipset::Ipset::add_all) | ends; later changes are not made | ends; changes in flight are `unknown` |
//! | [`Ipset::replace`](ipset::Ipset::replace) | ends; the set is unchanged | ends; the set has all old or all new members |
//! | [`Director::sync`](director::Director::sync) | continues; withholds the steps that depend on it | ends; the next call completes it |
//!
//! # Clients and threads
//!
//! [`ipvs::Ipvs`] holds two netlink sockets; [`ipset::Ipset`], [`vip::Vips`] and [`conntrack::Conntrack`] hold one
//! each. A socket belongs to the network namespace of the thread that opened it. All operations take `&mut self`: use a
//! client for each thread, or share one in a `Mutex` or a [`Worker`]. Clients start no threads and write no log. They cache no
//! objects of the kernel, only the generic netlink id of the family `IPVS`, the revisions of set types and the size of the
//! last dump. A [`Director`](director::Director) has such clients, and also remembers the state that it read. All
//! descriptors are close-on-exec, so that no child process inherits one. After `fork`, only one of the two processes may
//! use a client.
//!
//! # Tracing
//!
//! With the feature `tracing`, each operation is a span of the crate `tracing`: level `DEBUG`, target `lvs`. Its field `text` has the
//! operation and its object, as [`Error::operation`] has. A batch is one span, whatever its length. Each refusal of the kernel is an event `refused`, and each repetition of an
//! operation is an event `retry` with its `reason`. Work on a [`Worker`] is in the span of its caller.
//!
//! # Asynchronous programs
//!
//! An asynchronous program uses a [`Worker`]: a client on a thread of its own, awaited under any executor. An asynchronous socket
//! would not help. The kernel carries out a request to IPVS, ipset or rtnetlink inside of `sendmsg`, in the context of the sender:
//! the answer is in the socket when `sendmsg` returns. The kernel creates the rest of a dump inside of `recvmsg`. A non-blocking
//! socket therefore never waits, and both system calls block the executor as long as a blocking client does. `docs/performance.md`
//! has the cost of a call to a worker.
//!
//! A program with its own transport sends a [`Prepared`] request through an [`exchange`]: the example `own_transport` does so over
//! tokio. With the feature `interop`, single requests to IPVS travel over the crates `genetlink` and `netlink-proto`, too. Batches do
//! not: these crates expect an acknowledgement of each request, while an [`Exchange`](exchange::Exchange) sends many requests with one
//! acknowledgement. The feature covers IPVS only, not ipset and rtnetlink.
//!
//! ```no_run
//! use lvs::{Worker, ipvs::Ipvs};
//!
//! # async fn example() -> lvs::Result<()> {
//! let worker = Worker::start(Ipvs::connect).await?;
//! for (service, destinations) in worker.call(|ipvs| ipvs.table()).await? {
//!     println!("{}: {} destinations", service.key(), destinations.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Recipes
//!
//! **Drain a server.** A weight of 0 *quiesces* it: it keeps its connections and gets no new ones. It is deleted when its
//! connections have ended. A [`Drain`](director::Drain) of a director does both. Flows of UDP count in
//! `inactive_connections`, never in `active_connections`.
//!
//! ```
//! use lvs::ipvs::{Ipvs, ServiceKey};
//! use std::net::SocketAddr;
//!
//! fn drain(ipvs: &mut Ipvs, service: ServiceKey, server: SocketAddr) -> lvs::Result<bool> {
//!     ipvs.update_destination(service, server, |destination| destination.weight = 0)?;
//!     let servers = ipvs.destinations(service)?;
//!     let idle = servers.iter().any(|info| info.address() == server && info.active_connections == 0);
//!     if idle {
//!         ipvs.delete_destination(service, server)?;
//!     }
//!     // If false: repeat after some seconds.
//!     Ok(idle)
//! }
//! ```
//!
//! **Fail over a virtual IP.** The standby machine has the same services, and receives copies of the connections from the master's sync
//! daemon ([`Ipvs::start_daemon`](ipvs::Ipvs::start_daemon)). It binds the address when it becomes active. The other machine unbinds it.
//!
//! ```no_run
//! use lvs::vip::{Binder, Vip, Vips};
//!
//! let mut vips = Vips::connect()?;
//! vips.bind(&Binder::label("eth0:web", 77)?, "192.0.2.10".parse::<Vip>()?)?;
//! // Binding announces nothing: send a gratuitous ARP or an unsolicited neighbour advertisement, such as with `arping -U`.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Export metrics.** [`table_best_effort`](ipvs::Ipvs::table_best_effort) also succeeds while other programs keep changing the
//! table. [`ServiceInfo::stats`](ipvs::ServiceInfo) has counters and rates; the kernel updates these copies every 2 seconds. The example
//! `exporter` prints them for Prometheus.
//!
//! **Change a scheduler without downtime.** [`update_service`](ipvs::Ipvs::update_service) keeps destinations, counters and
//! connections. It fails if the module of the new scheduler cannot be loaded. [`ready::load`] loads it beforehand, runs
//! `modprobe` for that, and needs `CAP_SYS_MODULE`.
//!
//! ```
//! use lvs::ipvs::{Ipvs, Scheduler, ServiceKey};
//!
//! fn to_maglev(ipvs: &mut Ipvs, web: ServiceKey) -> lvs::Result<()> {
//!     ipvs.update_service(web, |service| service.scheduler = Scheduler::MH)
//! }
//! ```
//!
//! **Handle an error.**
//!
//! | predicate | reaction |
//! |---|---|
//! | [`is_already_exists`](Error::is_already_exists), [`is_not_found`](Error::is_not_found) | another program was faster: use `put_…` or `remove_…`, or read again |
//! | [`is_permission_denied`](Error::is_permission_denied) | grant `CAP_NET_ADMIN`, in the user namespace that the text names |
//! | [`is_unavailable`](Error::is_unavailable) | load the module that the text names |
//! | [`is_invalid_input`](Error::is_invalid_input) | correct the value; nothing was sent |
//! | [`is_conflict`](Error::is_conflict), [`is_in_use`](Error::is_in_use) | another object has the address, or refers to the set: the text names it |
//! | [`is_full`](Error::is_full) | enlarge the set with [`maxelem`](ipset::NewSet::maxelem) and [`replace`](ipset::Ipset::replace) |
//! | [`is_interrupted`](Error::is_interrupted) | the table changed during each reading: repeat, or use `…_best_effort` |
//! | [`is_timed_out`](Error::is_timed_out) | read the object before repeating the change: the kernel may have carried it out |
//!
//! # Versions
//!
//! The crate follows semantic versioning from 0.1.0 on. Before 1.0, a breaking change or a higher minimum Rust version raises
//! the second number. The texts of `Display` that `FromStr` or `serde` reads are stable: keys, specifications, entries,
//! members, virtual IPs and binders. The texts of errors and plans are not.
#![forbid(unsafe_code)]
// docs.rs names the feature that an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

/// Serialises values of these types as the text of their `Display`. A value that does not read back from its text is an
/// error.
macro_rules! serde_text {
    (@ [$($generic:tt)*] $type:ty) => {
        #[cfg(feature = "serde")]
        impl<$($generic)*> serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let text = format!("{self:#}");
                if text.parse::<Self>().as_ref() != Ok(self) {
                    return Err(serde::ser::Error::custom(format_args!("{text:?} does not read back as the same value")));
                }
                serializer.serialize_str(&text)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de, $($generic)*> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
    ($($type:ty),+ $(,)?) => {
        $(serde_text!(@ [] $type);)+
    };
}

mod batch;
mod connection;
pub mod conntrack;
pub mod director;
mod error;
pub mod exchange;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod hash;
#[cfg(feature = "interop")]
mod interop;
pub mod ipset;
pub mod ipvs;
mod name;
mod net;
pub mod netns;
mod outcome;
pub mod ready;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
pub mod vip;
mod wire;
mod worker;

pub use batch::{BatchError, Failure};
pub use connection::{Options, Prepared};
pub use error::{Cause, DecodeError, Error, Reason, Refusal, Refused, Result};
pub use name::{Interface, InvalidName};
pub use net::{Family, InvalidText, Protocol};
pub use outcome::Outcome;
pub use worker::{Call, Items, Worker};

// Clients move between threads, errors anywhere.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync + 'static>() {}
    is_send_and_sync::<ipvs::Ipvs>();
    is_send_and_sync::<ipvs::BatchError>();
    is_send_and_sync::<ipvs::Connections>();
    is_send_and_sync::<vip::Vips>();
    is_send_and_sync::<vip::BatchError>();
    is_send_and_sync::<conntrack::Conntrack>();
    is_send_and_sync::<netns::Namespace>();
    is_send_and_sync::<exchange::Exchange>();
    #[cfg(feature = "testing")]
    is_send_and_sync::<testing::Kernel>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Worker<ipvs::Ipvs>>();
    is_send_and_sync::<Call<Error>>();
    is_send_and_sync::<Items<Error>>();
};

/// The README's examples compile, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
