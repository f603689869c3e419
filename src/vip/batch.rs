//! The result of many changes.

use super::Vip;
use crate::batch;

/// How many virtual IPs were bound, unbound, or neither.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tally {
    /// Bound, and not bound before.
    pub bound: usize,
    /// Unbound, and bound before.
    pub unbound: usize,
    /// As asked for already.
    pub unchanged: usize,
}

/// Some of many virtual IPs could not be bound or unbound: see [`batch::BatchError`].
///
/// Everything else was done, unless something interrupted it; [`Vips::check`](super::Vips::check) changes nothing. Calling again is
/// always safe: virtual IPs that are bound or unbound already count as unchanged.
pub type BatchError = batch::BatchError<Vip, Tally>;

/// A virtual IP that could not be bound or unbound: see [`batch::Failure`].
pub type Failure = batch::Failure<Vip>;
