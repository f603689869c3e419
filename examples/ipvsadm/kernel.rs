//! The table in the kernel: opening it, changing it, and saying what it refused in the words that `ipvsadm` has.

use std::process::Command as Process;

use lvs::ipvs::{BatchError, Change, Destination, Ipvs, ServiceKey, Version};
use lvs::{Cause, Error};
use nix::errno::Errno;
use nix::libc::{
    EAFNOSUPPORT, EEXIST, EINVAL, EMSGSIZE, ENOENT, ENOMEM, ENOPROTOOPT, EOPNOTSUPP, EPERM, ERANGE, ESRCH,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::errno;

/// Opens the kernel's table; if that fails, once more after trying to load the module.
pub(crate) fn open() -> Result<(Ipvs, Version), String> {
    let connect = || {
        let mut ipvs = Ipvs::connect()?;
        // Only this needs the privilege.
        let info = ipvs.version()?;
        Ok((ipvs, info))
    };
    connect()
        .or_else(|_: Error| {
            // If it fails, the second attempt reports the error.
            let _ = Process::new("/sbin/modprobe").args(["--", "ip_vs"]).status();
            connect()
        })
        .map_err(|error| match error.cause() {
            // Only root can have the module loaded. `ipvsadm` asks for a raw socket where the family does not exist.
            Cause::FamilyNotFound { .. } if is_denied_raw_socket() => of_any(EPERM),
            _ => common(&error),
        })
}

fn is_denied_raw_socket() -> bool {
    let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw);
    socket.is_err_and(|errno| errno == Errno::EPERM)
}

/// Outcome of changes.
#[derive(Default)]
pub(crate) struct Applied {
    /// Message text of each failure, with the position of the change.
    pub(crate) texts: Vec<(usize, String)>,
    /// The conversation with the kernel broke off: nothing is known of the changes that follow the last failure.
    pub(crate) is_interrupted: bool,
}

/// Makes changes, in their order.
pub(crate) fn apply(ipvs: &mut Ipvs, changes: &[Change]) -> Applied {
    let Err(BatchError { failures, done: answered, interruption, .. }) = ipvs.batch(changes.iter().copied()) else {
        return Applied::default();
    };
    let is_interrupted = interruption.is_some();
    let mut texts = Vec::with_capacity(failures.len());
    for failure in failures {
        let text = match refusal_of(ipvs, &failure.change, &failure.error) {
            Ok(errno) => explain(&failure.change, errno),
            Err(error) => common(&error),
        };
        texts.push((failure.position().unwrap_or_default(), text));
    }
    texts.extend(interruption.map(|error| (answered, common(&error))));
    Applied { texts, is_interrupted }
}

/// Returns the kernel's error for a destination of this service whose lower threshold is above the upper one.
pub(crate) fn out_of_range(ipvs: &mut Ipvs, service: ServiceKey) -> String {
    match ipvs.service(service) {
        Ok(_) => errno::text(ERANGE),
        Err(error) if error.is_not_found() => "Service not defined".to_owned(),
        Err(error) => common(&error),
    }
}

/// Returns the text of a failed query.
pub(crate) fn explain_query(error: &Error) -> String {
    if error.is_not_found() { "No such service".to_owned() } else { common(error) }
}

/// The error number with which the kernel refused a change, or would have if the library had sent it.
fn refusal_of(ipvs: &mut Ipvs, change: &Change, error: &Error) -> Result<i32, Error> {
    if let Some(errno) = error.errno() {
        return Ok(errno);
    }
    let (Change::AddDestination(service, destination) | Change::SetDestination(service, destination)) = change else {
        return Ok(EINVAL);
    };
    match ipvs.service(*service) {
        Err(error) if error.is_not_found() => return Ok(ESRCH),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let is_out_of_range = |destination: &Destination| {
        destination.thresholds.is_some_and(|thresholds| thresholds.lower.is_some_and(|lower| lower > thresholds.upper))
    };
    Ok(match change {
        _ if is_out_of_range(destination) => ERANGE,
        // An address that cannot be a destination's is not found among them.
        Change::SetDestination(..) => ENOENT,
        _ => EINVAL,
    })
}

/// Returns the text of a change that the kernel refused.
fn explain(change: &Change, errno: i32) -> String {
    let text = match (change, errno) {
        (Change::AddService(_), EEXIST) => "Service already exists",
        (Change::AddService(_) | Change::SetService(_), ENOENT) => "Scheduler or persistence engine not found",
        (Change::SetService(_) | Change::DeleteService(_) | Change::Zero(_), ESRCH) => "No such service",
        (Change::AddDestination(..) | Change::SetDestination(..) | Change::DeleteDestination(..), ESRCH) => {
            "Service not defined"
        }
        (Change::AddDestination(..), EEXIST) => "Destination already exists",
        (Change::SetDestination(..) | Change::DeleteDestination(..), ENOENT) => "No such destination",
        (Change::StartDaemon(_), EEXIST) => "Daemon has already run",
        (Change::StopDaemon(_), ESRCH) => "No daemon is running",
        _ => return of_any(errno),
    };
    text.to_owned()
}

/// Returns the text of an error that does not depend on the operation.
fn common(error: &Error) -> String {
    match (error.errno(), error.cause()) {
        (Some(errno), _) => of_any(errno),
        (None, Cause::FamilyNotFound { .. }) => of_any(ENOPROTOOPT),
        _ => error.to_string(),
    }
}

fn of_any(errno: i32) -> String {
    let text = match errno {
        EPERM => "Permission denied (you must be root)",
        EINVAL => "Invalid operation.  Possibly wrong module version, address not unicast, ...",
        ENOPROTOOPT => "Protocol not available",
        ENOMEM => "Memory allocation problem",
        EOPNOTSUPP => "Operation not supported with IPv6",
        EAFNOSUPPORT => "Operation not supported with specified address family",
        EMSGSIZE => "Module is wrong version",
        _ => return errno::text(errno),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs::ipvs::{Scheduler, Service};

    #[test]
    fn the_same_number_has_other_words_for_other_changes() {
        let service = Service::tcp("10.0.0.1:80".parse().unwrap(), Scheduler::RR);
        let destination = Destination::new("10.9.1.1:80".parse().unwrap());
        let change = Change::AddDestination(service.key, destination);
        for (change, errno, text) in [
            (Change::AddService(service), EEXIST, "Service already exists"),
            (Change::AddService(service), ENOENT, "Scheduler or persistence engine not found"),
            (Change::SetService(service), ESRCH, "No such service"),
            (Change::Zero(service.key), ESRCH, "No such service"),
            (change, ESRCH, "Service not defined"),
            (change, EEXIST, "Destination already exists"),
            (change, ERANGE, "Numerical result out of range"),
            (change, EPERM, "Permission denied (you must be root)"),
            (Change::SetDestination(service.key, destination), ENOENT, "No such destination"),
            (Change::Clear, EINVAL, "Invalid operation.  Possibly wrong module version, address not unicast, ..."),
        ] {
            assert_eq!(explain(&change, errno), text, "{change}: {errno}");
        }
    }
}
