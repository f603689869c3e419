//! Virtual IPs: making an address local to this machine, so that its packets reach IPVS.
mod batch;
mod binder;
mod client;
mod message;

pub use batch::{BatchError, Failure, Tally};
pub use binder::{Binder, InvalidVip, Vip};
pub use client::{Outcome, Vips};
