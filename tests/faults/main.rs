//! Everything that can go wrong between a client and the kernel, at every datagram of every operation.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod conntrack;
mod deadline;
mod errors;
mod everywhere;
mod ipset;
mod ipvs;
mod items;
mod kernel;
mod keys;
mod listing;
mod panics;
mod vips;
