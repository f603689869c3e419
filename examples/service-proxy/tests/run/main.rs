//! The command `run`: sources that fail in every way, the pace of applies, the HTTP servers.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod cluster;
mod faults;
mod follow;
mod http;
#[expect(dead_code, reason = "shared with the rows")]
#[path = "../rows/lab.rs"]
mod lab;
mod pace;
mod proxy;
mod restart;
mod server;
