//! Meanings of the kernel's error numbers for each operation.

use nix::errno::Errno;

use super::{Change, Query, Service};
use crate::error::{Reason, Refusal, Refused};
use crate::net::Family;

const PERMISSION: &str = "IPVS needs CAP_NET_ADMIN in the initial user namespace: run as root, outside of a container \
                          that has its own users";

impl Change {
    /// The meaning of the kernel's refusal.
    pub(super) fn refused(&self, refusal: Refusal) -> Refused {
        use Errno::{EADDRINUSE, EEXIST, EINVAL, ENETUNREACH, ENODEV, ENOENT, ERANGE, ESRCH};
        let (reason, explanation) = match (self, Errno::from_raw(refusal.errno)) {
            (Self::AddService(_), EEXIST) => (Reason::AlreadyExists, "the service exists".into()),
            (Self::AddService(service) | Self::SetService(service), ENOENT) => {
                (Reason::Unavailable, missing_module(service).into())
            }
            (Self::AddService(_) | Self::SetService(_), EINVAL) => (
                Reason::Invalid,
                "the kernel rejects the service as invalid (with mh: more destinations than its table?)".into(),
            ),
            (Self::AddDestination(..), EEXIST) => (Reason::AlreadyExists, "the destination exists".into()),
            (Self::SetDestination(..) | Self::DeleteDestination(..), ENOENT) => {
                (Reason::DestinationNotFound, "no such destination".into())
            }
            (Self::AddDestination(key, destination) | Self::SetDestination(key, destination), EINVAL) => {
                (Reason::Invalid, wrong_destination(key.family(), Family::of(destination.address.ip())).into())
            }
            (Self::AddDestination(..) | Self::SetDestination(..), ERANGE) => {
                (Reason::Invalid, "the weight or the thresholds are out of range".into())
            }
            (Self::StartDaemon(_), EEXIST) => (Reason::AlreadyExists, "such a daemon runs already".into()),
            (Self::StartDaemon(_), ENETUNREACH) => {
                (Reason::Invalid, "the interface is down or has no address to send from".into())
            }
            (Self::StartDaemon(_), EADDRINUSE) => (Reason::Busy, "another program has the daemon's UDP port".into()),
            (Self::StartDaemon(_), ENODEV) => (Reason::InterfaceNotFound, "no such interface".into()),
            (Self::StartDaemon(_), EINVAL) => (
                Reason::Invalid,
                "a service has a destination of another family, which synchronisation does not support".into(),
            ),
            (Self::StopDaemon(_), ESRCH) => (Reason::DaemonNotFound, "no such daemon runs".into()),
            (Self::SetTimeouts(_), EINVAL) => (Reason::Invalid, "a timeout is longer than the kernel can count".into()),
            (_, ESRCH) => (Reason::ServiceNotFound, "no such service".into()),
            _ => return refused(refusal),
        };
        let explanation: std::borrow::Cow<'static, str> = explanation;
        Refused::new(reason, explanation, refusal)
    }
}

impl Query {
    /// The meaning of the kernel's refusal.
    pub(super) fn refused(&self, refusal: Refusal) -> Refused {
        match Errno::from_raw(refusal.errno) {
            Errno::ESRCH => Refused::new(Reason::ServiceNotFound, "no such service", refusal),
            _ => refused(refusal),
        }
    }
}

fn refused(refusal: Refusal) -> Refused {
    match Errno::from_raw(refusal.errno) {
        Errno::EPERM => Refused::new(Reason::PermissionDenied, PERMISSION, refusal),
        Errno::EAFNOSUPPORT => {
            Refused::new(Reason::Unsupported, "this kernel's IPVS has no support for the address family", refusal)
        }
        Errno::ENOPROTOOPT | Errno::EPROTONOSUPPORT => {
            Refused::new(Reason::Unavailable, "the module ip_vs is being unloaded", refusal)
        }
        _ => Refused::unexplained(refusal),
    }
}

/// Why a destination that passes [`Change::check`] is invalid to the kernel.
fn wrong_destination(service: Family, destination: Family) -> &'static str {
    match destination {
        _ if destination != service => {
            "a sync daemon runs, and synchronisation does not support destinations of another family than their service's; or \
             the address is not a unicast address in this network namespace"
        }
        Family::Inet => {
            "the address is not a unicast address in this network namespace; or the namespace has no address of its own yet (bring up lo)"
        }
        Family::Inet6 => {
            "the address is not a unicast address in this network namespace, or is link-local and not this machine's own"
        }
    }
}

fn missing_module(service: &Service) -> String {
    let scheduler = service.scheduler;
    let hint = format!("no scheduler {scheduler}: the module ip_vs_{scheduler} is not loaded and could not be loaded");
    match service.engine {
        None => hint,
        Some(engine) => format!("{hint}; or no persistence engine {engine} (module ip_vs_pe_{engine})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::ServiceKey;

    /// Error numbers that the kernels of the tests do not send.
    #[test]
    fn an_absent_family_or_module_is_reported_for_changes_and_queries() {
        let key = ServiceKey::tcp("[2001:db8::a]:443".parse().unwrap());
        for (errno, reason, text) in [
            (Errno::EAFNOSUPPORT, Reason::Unsupported, "this kernel's IPVS has no support for the address family"),
            (Errno::ENOPROTOOPT, Reason::Unavailable, "the module ip_vs is being unloaded"),
            (Errno::EPROTONOSUPPORT, Reason::Unavailable, "the module ip_vs is being unloaded"),
        ] {
            let refusal = || Refusal { errno: errno as i32, message: None, offset: None };
            for refused in [Change::DeleteService(key).refused(refusal()), Query::Service(key).refused(refusal())] {
                assert_eq!((refused.reason, &refused.explanation[..]), (reason, text));
            }
        }
    }
}
