//! Virtual IPs: making an address local to this machine, so that its packets reach IPVS.
//!
//! IPVS takes packets on their way to a local process. So the address of a virtual service must be local, though no
//! process need listen there. The usual way is an interface of kind `dummy` that holds the addresses and is never
//! brought up: an address on it is local all the same, and nothing else comes with it.
//!
//! ```no_run
//! use lvs::vip::Vips;
//!
//! let mut vips = Vips::connect()?;
//! let dummy = vips.ensure_dummy("lvs0")?;
//! vips.bind(&dummy, "10.96.0.10".parse()?)?;
//! vips.bind(&dummy, "fd00:96::10".parse()?)?;
//! assert_eq!(vips.addresses(&dummy)?.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each further address on one interface takes the kernel longer; thousands of them take seconds.

mod client;
mod message;

pub use client::{Dummy, Outcome, Vips};
