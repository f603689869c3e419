//! Linux load balancing in the kernel: IPVS and virtual IPs over netlink, typed.
#![forbid(unsafe_code)]

mod error;
pub mod exchange;
mod interop;
pub mod ipvs;
pub mod netns;
mod transport;
pub mod vip;
mod wire;

pub use error::{Cause, DecodeError, Error, Reason, Refusal, Refused, Result};
pub use transport::Options;
