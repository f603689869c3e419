//! Meanings of the kernel's error numbers for the connection tracker.

use nix::errno::Errno;

use crate::error::{Reason, Refusal, Refused};

/// The meaning of a refusal.
pub(super) fn explain(refusal: Refusal) -> Refused {
    let (reason, text) = match Errno::from_raw(refusal.errno) {
        Errno::ENOENT => {
            (Reason::FlowNotFound, "no such flow: it expired, was deleted, or another one has its addresses")
        }
        Errno::EPERM => (
            Reason::PermissionDenied,
            "the connection tracker needs CAP_NET_ADMIN in the user namespace that owns the network namespace: run as root",
        ),
        // Netfilter's answer for a subsystem that is absent. The requests themselves are valid.
        Errno::EINVAL => (
            Reason::Unavailable,
            "this kernel has no netlink interface of the connection tracker: load its module with `modprobe nf_conntrack_netlink` (as root)",
        ),
        Errno::EBUSY => (Reason::Busy, "the flow is offloaded to a flow table (deletable since Linux 6.4)"),
        _ => return Refused::unexplained(refusal),
    };
    Refused::new(reason, text, refusal)
}
