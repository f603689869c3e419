//! Meanings of the kernel's error numbers for interfaces, addresses and routes.

use nix::errno::Errno;

use crate::error::{Reason, Refusal, Refused};

/// The meaning of a refusal.
pub(super) fn explain(refusal: Refusal) -> Refused {
    match Errno::from_raw(refusal.errno) {
        Errno::ENODEV => Refused::new(Reason::InterfaceNotFound, "no such interface", refusal),
        Errno::EACCES => Refused::new(Reason::Unsupported, "IPv6 is disabled on the interface", refusal),
        Errno::EEXIST => {
            let text = "another program has made the address local meanwhile, or is about to";
            Refused::new(Reason::AlreadyExists, text, refusal)
        }
        Errno::ENETDOWN => {
            let text = "a local route for IPv6 needs the loopback interface to be up: `ip link set lo up`";
            Refused::new(Reason::Other, text, refusal)
        }
        Errno::EPERM => {
            let text = "this needs CAP_NET_ADMIN in the user namespace that owns the network namespace";
            Refused::new(Reason::PermissionDenied, text, refusal)
        }
        _ => Refused::unexplained(refusal),
    }
}
