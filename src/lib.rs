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
//! | [`conntrack`] | UDP flows of the connection tracker: delete flows that bypass a service |
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
//! use std::net::IpAddr;
//!
//! use lvs::ipvs::{Destination, Ipvs, Scheduler, Service};
//! use lvs::vip::{Binder, Vips};
//!
//! // The virtual IP must be local: on a dummy interface of its own.
//! let mut vips = Vips::connect()?;
//! vips.bind(&Binder::dummy("vip0")?, "10.96.0.10".parse::<IpAddr>()?)?;
//!
//! // Connections to it go to two real servers, two of three to the first.
//! let mut ipvs = Ipvs::connect()?;
//! let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
//! ipvs.add_service(web)?;
//! ipvs.add_destination(web, Destination::new("10.244.1.7:6443".parse()?).weight(2))?;
//! ipvs.add_destination(web, Destination::new("10.244.1.8:6443".parse()?))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The key of a service converts to the entry of a set that matches its packets, and back. The set is of the type
//! `hash:ip,port`, [`ipset::HashIpPort`]:
//!
//! ```
//! use lvs::ipset::{HashIpPort, Member};
//! use lvs::ipvs::ServiceKey;
//!
//! fn member(service: ServiceKey) -> Option<Member<HashIpPort>> {
//!     Some(Member::new((service.address()?, service.protocol()?)))
//! }
//!
//! fn service(member: &Member<HashIpPort>) -> Option<ServiceKey> {
//!     let (address, protocol) = member.endpoint()?;
//!     Some(ServiceKey::Address { protocol, address })
//! }
//!
//! let web: ServiceKey = "10.96.0.10:443/tcp".parse()?;
//! let entry = member(web).unwrap();
//! assert_eq!(entry.to_string(), "10.96.0.10,tcp:443");
//! assert_eq!(service(&entry), Some(web));
//! # Ok::<(), lvs::InvalidText>(())
//! ```
//!
//! # Requirements
//!
//! Linux 6.1 or later. IPVS needs `CAP_NET_ADMIN` in the initial user namespace. ipset and virtual IPs need it in the
//! user namespace that owns the network namespace. The kernel loads its modules at the first use. [`ready::check`]
//! reports missing modules, privileges and unsuitable settings, and changes nothing.
//!
//! # Features
//!
//! All features are off by default.
//!
//! | feature | adds |
//! |---|---|
//! | `testing` | the module `testing` |
//! | `serde` | the traits of `serde` for specifications, keys, changes, statistics, and the desired state of a director |
//! | `interop` | the traits of the rust-netlink crates for [`ipvs::Message`] |
//!
//! # Failures of batches
//!
//! | batch | after a failed change | after a time-out or another interruption |
//! |---|---|---|
//! | [`Ipvs::batch`](ipvs::Ipvs::batch) | continues | ends; the changes in flight are unknown |
//! | [`Vips::bind_all`](vip::Vips::bind_all), [`sync`](vip::Vips::sync) | continues | ends; repeat the call |
//! | [`Ipset::batch`](ipset::Ipset::batch), [`add_all`](ipset::Ipset::add_all) | ends; later changes are not sent | ends; the changes in flight are unknown |
//! | [`Ipset::replace`](ipset::Ipset::replace) | ends; the set is unchanged | ends; the set has all old or all new members |
//! | [`Director::sync`](director::Director::sync) | continues; withholds the steps that depend on it | ends; the next call completes it |
//!
//! # Clients and threads
//!
//! [`ipvs::Ipvs`] holds two netlink sockets; [`ipset::Ipset`], [`vip::Vips`] and [`conntrack::Conntrack`] hold one
//! each. A socket belongs to the network namespace of the thread that opened it. All operations take `&mut self`: use a
//! client for each thread, or share one in a `Mutex` or a [`Worker`]. Clients start no threads and write no log. They cache only the
//! number of the IPVS family and the revisions of set types. All descriptors are close-on-exec, so that no child
//! process inherits one. After `fork`, only one of the two processes may use a client.
//!
//! # Tracing
//!
//! With the feature `tracing`, each operation is a span of the crate `tracing`: level `DEBUG`, target `lvs`, its text in the field
//! `text`. A batch is one span, whatever its length. Each refusal of the kernel is an event `refused`, and each repetition of an
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
//! acknowledgement. Requests to ipset and rtnetlink have no types in these crates' terms.
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
#![forbid(unsafe_code)]

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
