//! What the kernel's error numbers mean for each operation.

use nix::errno::Errno;

use super::{Change, Query, Service};
use crate::error::{Reason, Refusal, Refused};

const PERMISSION: &str = "IPVS needs CAP_NET_ADMIN in the initial user namespace: run as root, outside of a container \
                          that has its own users";

impl Change {
    /// What it means that the kernel refused this.
    pub(super) fn refused(&self, refusal: Refusal) -> Refused {
        use Errno::{EAFNOSUPPORT, EEXIST, EINVAL, ENETUNREACH, ENODEV, ENOENT, ERANGE, ESRCH};
        let (reason, explanation) = match (self, Errno::from_raw(refusal.errno)) {
            (_, EAFNOSUPPORT) => {
                (Reason::Unsupported, "this kernel's IPVS has no support for the address family".into())
            }
            (Self::AddService(_), EEXIST) => (Reason::AlreadyExists, "the service exists".into()),
            (Self::AddService(service) | Self::ReplaceService(service), ENOENT) => {
                (Reason::Unavailable, missing_module(service).into())
            }
            (Self::AddService(_) | Self::ReplaceService(_), EINVAL) => (
                Reason::Invalid,
                "the kernel holds the service for wrong (with mh: more destinations than its table?)".into(),
            ),
            (Self::AddDestination(..), EEXIST) => (Reason::AlreadyExists, "the destination exists".into()),
            (Self::ReplaceDestination(..) | Self::DeleteDestination(..), ENOENT) => {
                (Reason::DestinationNotFound, "no such destination".into())
            }
            (Self::AddDestination(..) | Self::ReplaceDestination(..), EINVAL) => (
                Reason::Invalid,
                "the destination's address is not that of one host here; or this network namespace has no address of its \
                 own yet (bring up lo); or the families of service and destination differ while a sync daemon runs"
                    .into(),
            ),
            (Self::AddDestination(..) | Self::ReplaceDestination(..), ERANGE) => {
                (Reason::Invalid, "the weight or the thresholds are out of range".into())
            }
            (Self::StartDaemon(_), EEXIST) => (Reason::AlreadyExists, "such a daemon runs already".into()),
            (Self::StartDaemon(_), ENETUNREACH) => {
                (Reason::Invalid, "the interface is down or has no address to send from".into())
            }
            (Self::StartDaemon(_), ENODEV) => (Reason::InterfaceNotFound, "no such interface".into()),
            (Self::StartDaemon(_), EINVAL) => (
                Reason::Invalid,
                "a service has a destination of another family, which synchronisation does not know".into(),
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
    /// What it means that the kernel refused this.
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
        _ => Refused::unexplained(refusal),
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
