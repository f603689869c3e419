//! Report on the running kernel: features and settings that a load balancer needs.
//!
//! [`check`] examines everything at once, without changing or loading anything. Its [`Report`] has fields for programs
//! and [`findings`](Report::findings) for people, each with the state found, the state advised and the reason. [`load`]
//! makes the kernel load a part that is [`Loadable`](Presence::Loadable). For a scheduler it runs `modprobe` and needs
//! `CAP_SYS_MODULE`. Loading the module `dummy` creates an interface `dummy0`.
//!
//! A finding of [`Level::Missing`] prevents the work of a load balancer. With [`Level::Advice`] it works, but another
//! state is advised. [`Level::Depends`] depends on the machine's role.
//!
//! Routes are not examined. The replies of masqueraded real servers must return through this machine, and the clients
//! need a route to the virtual IP.
//!
//! ```no_run
//! use lvs::ready::{self, Level, Part, Presence};
//!
//! let report = ready::check()?;
//! for finding in report.findings().filter(|finding| finding.level != Level::Good) {
//!     eprintln!("{}: {} (advised: {}), {}", finding.what, finding.found, finding.advised, finding.why);
//! }
//! // Loads the module `ip_vs` by connecting to IPVS, without another process.
//! if report.presence(Part::Ipvs) == Presence::Loadable {
//!     ready::load(Part::Ipvs)?;
//! }
//! # Ok::<(), lvs::Error>(())
//! ```
//!
//! # Probes without side effects
//!
//! The usual queries for a kernel feature make the kernel load its module. This module uses others:
//!
//! | feature | probe |
//! |---|---|
//! | IPVS | dump of all generic netlink families (`CTRL_CMD_GETFAMILY`); a query by name would load the module |
//! | version of IPVS | `IPVS_CMD_GET_INFO`, or without the privilege `/proc/net/ip_vs` |
//! | schedulers, ipset, set types, dummy interfaces | `/proc/modules`, and `modules.builtin` and `modules.dep` in `/lib/modules/RELEASE` |
//! | protocol and revisions of ipset | a query to ipset, for present parts only; a query for an absent type would load it |
//! | schedulers, ipset, set types on a kernel without module support | a query, since nothing can be loaded |
//! | dummy interfaces on such a kernel | creation of one with an impossible number of queues, which a kernel without them refuses with another error |
//! | privilege for IPVS | `IPVS_CMD_GET_INFO`; without IPVS, `CAP_NET_ADMIN` in the initial user namespace |
//! | privilege for virtual IPs and ipset | deletion of an address from the invalid interface 0, refused with `EPERM` or another error |
//! | settings | files in `/proc/sys` |
//!
//! A feature that these probes cannot determine is [`Presence::Unknown`].

mod load;
mod modules;
mod probe;
mod report;
mod settings;

pub use load::load;
pub use probe::check;
pub use report::{Finding, Level, Part, Presence, Report};
