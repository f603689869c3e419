//! Loading of kernel modules.

use std::process::Command;

use super::modules::{self, Modules};
use super::probe;
use super::report::{Part, Presence};
use crate::error::{Cause, Error, Reason, Result};
use crate::ipset::Ipset;
use crate::ipvs::{self, Ipvs, Scheduler};
use crate::vip::Vips;

/// Makes the kernel load a part. Succeeds if the part is already present.
///
/// The request is the one that the first user of the part would send. Schedulers are an exception: this function runs
/// the kernel's own helper program (`/proc/sys/kernel/modprobe`) for them. On Linux 6.1, adding a service with the
/// scheduler `lblc` or `lblcr` while a network namespace ends can deadlock: IPVS and the namespace code take their
/// locks in opposite order. Load these two schedulers before a service names them.
///
/// Loading the module `dummy` creates an interface `dummy0` in the initial network namespace, unless the module
/// parameter `numdummies` is 0.
///
/// # Errors
/// - [`is_unavailable`](Error::is_unavailable) when the part cannot be loaded.
/// - [`is_permission_denied`](Error::is_permission_denied) without `CAP_NET_ADMIN`, where the kernel requires it, and for
///   a scheduler without `CAP_SYS_MODULE` in the initial user namespace.
pub fn load(part: Part) -> Result<()> {
    let loaded = match part {
        Part::Ipvs => Ipvs::connect().map(drop),
        Part::Scheduler(scheduler) => load_scheduler(scheduler),
        Part::Ipset => Ipset::connect().and_then(|mut ipset| ipset.version()).map(drop),
        Part::SetType(kind) => Ipset::connect().and_then(|mut ipset| ipset.revisions(kind)).map(drop),
        Part::Dummy => Vips::connect().and_then(|mut vips| vips.probe_dummy()),
    };
    loaded.map_err(|error| error.during(format_args!("load {part}")))
}

fn load_scheduler(scheduler: Scheduler) -> Result<()> {
    let module = modules::of_scheduler(scheduler);
    let presence = Modules::of_this_kernel(&modules::release()).presence(&module, Some(ipvs::MODULE));
    if presence == Presence::Present {
        return Ok(());
    }
    let helper = modules::read("/proc/sys/kernel/modprobe");
    let problem = match Command::new(&helper).args(["-q", "--", &module]).status() {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    // The helper program reports no more than a failure.
    let privileged = probe::has_initial(&modules::read("/proc/thread-self/status"), probe::CAP_SYS_MODULE);
    let cause = if presence == Presence::Absent || privileged {
        Cause::NotOnThisKernel { what: format!("the module {module} ({helper}: {problem})").into(), since: None }
    } else {
        let text =
            format!("the module {module} needs CAP_SYS_MODULE in the initial user namespace ({helper}: {problem})");
        Cause::precondition(Reason::PermissionDenied, text)
    };
    Err(Error::new("load", cause))
}
