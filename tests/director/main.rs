//! The director on the model kernel, in random worlds: it converges, keeps what is foreign, and holds its promises between any two
//! messages, after any cut, and with every fault.
//!
//! `LVS_SEED` gives other worlds, `LVS_WORLDS` more of them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod converge;
mod cuts;
mod drains;
mod failures;
mod lab;
mod order;
mod prefixes;
#[path = "../kernel/random.rs"]
mod random;
mod rules;
mod run;
mod world;
