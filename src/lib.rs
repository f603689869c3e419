//! Linux load balancing in the kernel: IPVS, ipset and virtual IPs over netlink, typed.
//!
//! | module | purpose |
//! |---|---|
//! | [`ipvs`] | virtual services, their destinations, the schedulers: what `ipvsadm` does |
//! | [`ipset`] | sets of addresses, networks and ports for packet filters: what `ipset` does |
//! | [`vip`] | virtual IPs: making an address local to this machine, so that IPVS gets its packets |
//! | [`conntrack`] | UDP flows of the connection tracker: deleting those that an added service cannot reach |
//! | [`ready`] | the kernel's modules, features and settings for all of it |
//! | [`netns`] | working in another network namespace without moving the calling thread |
//! | [`exchange`] | the netlink state machine without a socket, for programs with their own |
//! | `testing` | an in-memory kernel with fault injection, for the tests of programs (feature `testing`) |
//!
//! [`Error`] has the operation, its object, the kernel's answer and its usual meaning; its predicates
//! ([`is_already_exists`](Error::is_already_exists), …) distinguish errors.
//!
//! ```no_run
//! use std::net::IpAddr;
//!
//! use lvs::ipvs::{Destination, Ipvs, Scheduler, Service};
//! use lvs::vip::{Binder, Vips};
//!
//! // The virtual IP must be local: on an interface that exists for nothing else.
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
//! A service, and the entry of a `hash:ip,port` that matches its packets, convert into each other by address and protocol:
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
//! Each client holds one netlink socket (that of IPVS two), in the network namespace of the thread that opened it, and takes
//! `&mut self`. Nothing runs in the background, nothing is cached but the number of the IPVS family, nothing is written to a
//! log. Threads have a client each, or share one in a `Mutex`. All descriptors are close-on-exec: no child process inherits
//! one. After `fork`, only one of the two processes may use a client.
#![forbid(unsafe_code)]

/// Makes values of these types the text of their `Display` for `serde`. A value that its text does not read back as is an error.
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
pub mod vip;
mod wire;

pub use batch::{BatchError, Failure};
pub use connection::Options;
pub use error::{Cause, DecodeError, Error, Reason, Refusal, Refused, Result};
pub use name::{Interface, InvalidName};
pub use net::{Family, InvalidText, Protocol};
pub use outcome::Outcome;

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
};

/// The README's examples compile, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
