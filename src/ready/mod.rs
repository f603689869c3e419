//! What this kernel, in this network namespace, has of what a load balancer needs.
//!
//! [`check`] looks at everything at once, and neither changes nor loads anything. Its [`Report`] has fields for programs and
//! [`findings`](Report::findings) for people, each with what was found, what is advised, and why. [`load`] is the way to
//! have the kernel load what is only [`Loadable`](Presence::Loadable).
//!
//! ```no_run
//! use lvs::ready::{self, Level, Part, Presence};
//!
//! let report = ready::check()?;
//! for finding in report.findings().filter(|finding| finding.level != Level::Good) {
//!     eprintln!("{}: {} (advised: {}), {}", finding.what, finding.found, finding.advised, finding.why);
//! }
//! if report.presence(Part::Ipvs) == Presence::Loadable {
//!     ready::load(Part::Ipvs)?;
//! }
//! # Ok::<(), lvs::Error>(())
//! ```
//!
//! # How it knows without a trace
//!
//! The usual ways to ask whether the kernel has something make it load it. So:
//!
//! | what | is found out by |
//! |---|---|
//! | IPVS | the list of all generic netlink families (`CTRL_CMD_GETFAMILY` as a dump); to ask for the family by its name would load it |
//! | its version | `IPVS_CMD_GET_INFO`, or without the privilege `/proc/net/ip_vs` |
//! | schedulers, ipset, types of sets, dummy interfaces | `/proc/modules` (loaded), `modules.builtin` and `modules.dep` in `/lib/modules/RELEASE` (built in, could be loaded) |
//! | protocol and revisions of ipset | asking ipset, for what is there already; to ask for a type that is not would load it |
//! | the same on a kernel without support for modules | asking: there is nothing that could be loaded; a dummy interface with an impossible number of queues is refused differently from one of an unknown kind |
//! | privilege for IPVS | `IPVS_CMD_GET_INFO`; without IPVS, `CAP_NET_ADMIN` in the initial user namespace |
//! | privilege for virtual IPs and ipset | deleting an address from interface 0, which there is not: refused as not permitted, or as nonsense |
//! | settings | the files in `/proc/sys` |
//!
//! What cannot be known in these ways is [`Presence::Unknown`], never a guess.

mod modules;
mod settings;

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use netlink_sys::protocols::NETLINK_GENERIC;

use crate::error::{Cause, Error, Result};
use crate::ipset::{Ipset, Kind};
use crate::ipvs::{self, Ipvs, Scheduler};
use crate::transport::Options;
use crate::transport::blocking::Connection;
use crate::vip::Vips;
use crate::wire::genl;
use modules::Modules;
pub use modules::Presence;

/// The number of the initial user namespace (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;
/// The bit of `CAP_NET_ADMIN`.
const NET_ADMIN: u32 = 12;

/// Something that the kernel may have, and can [`load`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// IPVS itself.
    Ipvs,
    /// A scheduler of it.
    Scheduler(Scheduler),
    /// ipset itself.
    Ipset,
    /// A type of sets.
    SetType(Kind),
    /// Interfaces of kind dummy.
    Dummy,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipvs => f.write_str("IPVS"),
            Self::Scheduler(scheduler) => write!(f, "scheduler {scheduler}"),
            Self::Ipset => f.write_str("ipset"),
            Self::SetType(kind) => write!(f, "set type {kind}"),
            Self::Dummy => f.write_str("dummy interfaces"),
        }
    }
}

/// What [`check`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The kernel's release, such as `6.12.117+deb13-amd64`.
    pub release: String,
    /// Whether there is IPVS.
    pub ipvs: Presence,
    /// The version of IPVS, if it is there.
    pub ipvs_version: Option<(u8, u8, u8)>,
    /// The schedulers that are known here.
    pub schedulers: Vec<(Scheduler, Presence)>,
    /// Whether there is ipset.
    pub ipset: Presence,
    /// The versions of the protocol that ipset speaks, if it is there and may be asked.
    pub ipset_protocol: Option<RangeInclusive<u8>>,
    /// The types of sets that are known here, with their revisions if they are there and may be asked.
    pub set_types: Vec<(Kind, Presence, Option<RangeInclusive<u8>>)>,
    /// Whether there are dummy interfaces.
    pub dummy: Presence,
    /// Whether the caller may use IPVS: it needs `CAP_NET_ADMIN` in the initial user namespace.
    pub may_use_ipvs: bool,
    /// Whether the caller may bind virtual IPs and use ipset: that needs `CAP_NET_ADMIN` in the user namespace that owns
    /// the network namespace.
    pub may_change_network: bool,
    /// The settings that load balancers depend on.
    pub settings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is, such as `net.ipv4.ip_forward`.
    pub what: Cow<'static, str>,
    /// How it is.
    pub found: String,
    /// How it should be.
    pub advised: Cow<'static, str>,
    /// Why it should be so.
    pub why: Cow<'static, str>,
    /// How much it matters.
    pub level: Level,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// As it should be.
    Good,
    /// Right or wrong depending on what the machine is for.
    Depends,
    /// It works, but should be otherwise.
    Advice,
    /// Without it IPVS cannot be used.
    Missing,
}

/// Looks at what the kernel has and how it is set, in the calling thread's network namespace, without changing or loading
/// anything. It needs no privilege; with less there is more that it cannot know.
///
/// # Errors
/// When the system has no room for another socket, or the kernel does not answer.
pub fn check() -> Result<Report> {
    let operation = "look at what the kernel has";
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease").trim_end().to_owned();
    let modules = Modules::of_this_kernel(&release);
    let mut vips = Vips::connect().map_err(|error| error.during(operation))?;
    let may_change_network = vips.may_change().map_err(|error| error.during(operation))?;

    let ipvs = match has_ipvs().map_err(|error| error.during(operation))? {
        true => Presence::Present,
        false if modules.can_be_loaded() => match modules.presence(ipvs::MODULE, None) {
            // A family that is not listed is not there.
            Presence::Present => Presence::Absent,
            presence => presence,
        },
        false => Presence::Absent,
    };
    let (may_use_ipvs, ipvs_version) = match ipvs {
        Presence::Present => match Ipvs::connect().and_then(|mut ipvs| ipvs.info()) {
            Ok(info) => (true, Some(info.version)),
            Err(_) => (false, version_for_all(&read("/proc/thread-self/net/ip_vs"))),
        },
        _ => (is_admin_of_all(&read("/proc/thread-self/status")), None),
    };
    let scheduler = |scheduler: &Scheduler| {
        let presence = match ipvs {
            Presence::Absent => Presence::Absent,
            _ => modules.presence(&format!("ip_vs_{scheduler}"), Some(ipvs::MODULE)),
        };
        (*scheduler, presence)
    };
    let (ipset, ipset_protocol, set_types) = check_ipset(&modules);
    let dummy = match modules.presence("dummy", None) {
        Presence::Unknown if !modules.can_be_loaded() => match vips.probe_dummy() {
            Ok(()) => Presence::Present,
            Err(error) if error.is_unavailable() => Presence::Absent,
            Err(_) => Presence::Unknown,
        },
        presence => presence,
    };
    Ok(Report {
        ipvs,
        ipvs_version,
        schedulers: Scheduler::ALL.iter().map(scheduler).collect(),
        ipset,
        ipset_protocol,
        set_types,
        dummy,
        may_use_ipvs,
        may_change_network,
        settings: settings::check(version(&release)),
        release,
    })
}

/// Has the kernel load a part that it does not have yet; it is fine if it has.
///
/// The kernel is asked as its first user would ask, but for schedulers: these are loaded by the program that the kernel
/// itself would run (`/proc/sys/kernel/modprobe`). To ask for `lblc` or `lblcr` by a service, while a network namespace ends,
/// can bring all networking to a halt (seen on Linux 6.1: one holds the lock of IPVS and waits for that of the namespaces, the
/// other the other way round); so these two are best loaded before a service names them.
///
/// The module `dummy` makes an interface `dummy0` in the initial network namespace when it is loaded, unless it is told
/// otherwise (`numdummies=0`).
///
/// # Errors
/// [`is_unavailable`](Error::is_unavailable) when it cannot be loaded;
/// [`is_permission_denied`](Error::is_permission_denied) without `CAP_NET_ADMIN` where that is needed to ask. Loading a
/// scheduler needs `CAP_SYS_MODULE`.
pub fn load(part: Part) -> Result<()> {
    let loaded = match part {
        Part::Ipvs => Ipvs::connect().map(drop),
        Part::Scheduler(scheduler) => load_scheduler(scheduler),
        Part::Ipset => Ipset::connect().and_then(|mut ipset| ipset.protocol()).map(drop),
        Part::SetType(kind) => Ipset::connect().and_then(|mut ipset| ipset.revisions(kind)).map(drop),
        Part::Dummy => Vips::connect().and_then(|mut vips| vips.probe_dummy()),
    };
    loaded.map_err(|error| error.during(format_args!("load {part}")))
}

fn load_scheduler(scheduler: Scheduler) -> Result<()> {
    let module = format!("ip_vs_{scheduler}");
    let read = |path| fs::read_to_string(path).unwrap_or_default().trim_end().to_owned();
    let modules = Modules::of_this_kernel(&read("/proc/sys/kernel/osrelease"));
    if modules.presence(&module, Some(ipvs::MODULE)) == Presence::Present {
        return Ok(());
    }
    let loader = read("/proc/sys/kernel/modprobe");
    let problem = match Command::new(&loader).args(["-q", "--", &module]).status() {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let what = format!("the module {module} ({loader}: {problem})").into();
    Err(Error::new("load", Cause::NotOnThisKernel { what, since: None }))
}

impl Report {
    /// Whether the kernel has this.
    pub fn presence(&self, part: Part) -> Presence {
        let found = match part {
            Part::Ipvs => Some(self.ipvs),
            Part::Ipset => Some(self.ipset),
            Part::Dummy => Some(self.dummy),
            Part::Scheduler(wanted) => {
                self.schedulers.iter().find(|(known, _)| *known == wanted).map(|(_, found)| *found)
            }
            Part::SetType(wanted) => {
                self.set_types.iter().find(|(known, ..)| *known == wanted).map(|(_, found, _)| *found)
            }
        };
        found.unwrap_or(Presence::Unknown)
    }

    /// Whether something is missing without which IPVS cannot be used.
    pub fn is_ready(&self) -> bool {
        self.findings().all(|finding| finding.level != Level::Missing)
    }

    /// Everything that was looked at.
    pub fn findings(&self) -> impl Iterator<Item = Finding> + '_ {
        let finding = |what: &'static str, found: String, advised: &'static str, why: &'static str, level| Finding {
            what: what.into(),
            found,
            advised: advised.into(),
            why: why.into(),
            level,
        };
        let level = |presence: Presence, without| match presence {
            Presence::Present | Presence::Loadable => Level::Good,
            Presence::Absent => without,
            Presence::Unknown => without.min(Level::Depends),
        };
        let privilege = |has: bool| match has {
            true => ("there".to_owned(), Level::Good),
            false => ("missing".to_owned(), Level::Missing),
        };
        let ((ipvs_found, ipvs_level), (network_found, network_level)) =
            (privilege(self.may_use_ipvs), privilege(self.may_change_network));
        let best = |presences: &mut dyn Iterator<Item = Presence>| {
            let all: Vec<_> = presences.collect();
            let order = [Presence::Present, Presence::Loadable, Presence::Unknown];
            order.into_iter().find(|presence| all.contains(presence)).unwrap_or(Presence::Absent)
        };
        let schedulers = best(&mut self.schedulers.iter().map(|(_, presence)| *presence));
        let set_types = best(&mut self.set_types.iter().map(|(_, presence, _)| *presence));
        let version = match self.ipvs_version {
            Some((major, minor, patch)) => format!(", version {major}.{minor}.{patch}"),
            None => String::new(),
        };
        let protocol = match &self.ipset_protocol {
            Some(versions) => format!(", protocol {} to {}", versions.start(), versions.end()),
            None => String::new(),
        };
        let kinds = self.set_types.iter().map(|(kind, presence, revisions)| {
            let revisions = match revisions {
                Some(revisions) => format!(" ({} to {})", revisions.start(), revisions.end()),
                None => String::new(),
            };
            (format!("{kind}{revisions}"), *presence)
        });
        let named = self.schedulers.iter().map(|(scheduler, presence)| (scheduler.to_string(), *presence));
        let own = [
            finding(
                "privilege for IPVS",
                ipvs_found,
                "there",
                "IPVS obeys CAP_NET_ADMIN in the initial user namespace only",
                ipvs_level,
            ),
            finding(
                "privilege for virtual IPs",
                network_found,
                "there",
                "addresses, routes and sets need CAP_NET_ADMIN in the user namespace that owns the network namespace",
                network_level,
            ),
            finding(
                "IPVS",
                format!("{}{version}", words(self.ipvs)),
                "there",
                "the load balancer itself: the module ip_vs",
                level(self.ipvs, Level::Missing),
            ),
            finding(
                "schedulers",
                by_presence(named),
                "those that services name",
                "a service needs one, and the kernel loads its module with the first that names it",
                level(schedulers, Level::Missing),
            ),
            finding(
                "ipset",
                format!("{}{protocol}", words(self.ipset)),
                "there, if rules are to look at sets",
                "the module ip_set",
                level(self.ipset, Level::Depends),
            ),
            finding(
                "set types",
                by_presence(kinds),
                "those that sets are made of",
                "each is a module; its revisions say which options it knows",
                level(set_types, Level::Depends),
            ),
            finding(
                "dummy interfaces",
                words(self.dummy).to_owned(),
                "there, or another binder for virtual IPs",
                "the usual place of virtual IPs; local routes and labels do without",
                level(self.dummy, Level::Advice),
            ),
        ];
        own.into_iter().chain(self.settings.iter().cloned())
    }
}

fn words(presence: Presence) -> &'static str {
    match presence {
        Presence::Present => "there",
        Presence::Loadable => "not loaded, could be",
        Presence::Absent => "absent",
        Presence::Unknown => "unknown",
    }
}

/// `there: rr, wrr; not loaded, could be: lc`.
fn by_presence(all: impl Iterator<Item = (String, Presence)> + Clone) -> String {
    let order = [Presence::Present, Presence::Loadable, Presence::Absent, Presence::Unknown];
    let groups = order.iter().filter_map(|presence| {
        let names: Vec<_> = all.clone().filter(|(_, found)| found == presence).map(|(name, _)| name).collect();
        (!names.is_empty()).then(|| format!("{}: {}", words(*presence), names.join(", ")))
    });
    groups.collect::<Vec<_>>().join("; ")
}

fn has_ipvs() -> Result<bool> {
    let mut found = false;
    let asked = Connection::open(NETLINK_GENERIC, &Options::default()).and_then(|mut connection| {
        connection.queue_dump(genl::CONTROLLER, genl::write_families_request)?;
        connection.settle(
            |_, _, body| {
                found |= genl::family_name(body)? == ipvs::FAMILY;
                Ok(())
            },
            |_, _| {},
        )
    });
    asked.map(|()| found).map_err(|cause| Error::new("list the generic netlink families", cause))
}

type IpsetFound = (Presence, Option<RangeInclusive<u8>>, Vec<(Kind, Presence, Option<RangeInclusive<u8>>)>);

/// Asks ipset only for what is there, or where nothing can be loaded.
fn check_ipset(modules: &Modules) -> IpsetFound {
    const MODULE: &str = "ip_set";
    let all_of = |presence| Kind::ALL.iter().map(|kind| (*kind, presence, None)).collect();
    let listed = match modules.presence(MODULE, None) {
        // It has a parameter, and so a folder even when it is built in.
        Presence::Unknown if fs::exists("/sys/module/ip_set").unwrap_or(false) => Presence::Present,
        presence => presence,
    };
    if listed != Presence::Present && modules.can_be_loaded() {
        let kinds = Kind::ALL.iter().map(|kind| match listed {
            Presence::Absent => (*kind, Presence::Absent, None),
            _ => (*kind, modules.presence(&module_of(*kind), Some(MODULE)), None),
        });
        return (listed, None, kinds.collect());
    }
    let mut ipset = match Ipset::connect() {
        Ok(ipset) => ipset,
        // Not even netfilter's part of netlink.
        Err(_) => return (Presence::Absent, None, all_of(Presence::Absent)),
    };
    let protocol = match ipset.protocol() {
        Ok(protocol) => protocol,
        Err(error) if error.is_permission_denied() || listed == Presence::Present => {
            let kinds = Kind::ALL.iter().map(|kind| (*kind, modules.presence(&module_of(*kind), Some(MODULE)), None));
            return (listed, None, kinds.collect());
        }
        Err(_) => return (Presence::Absent, None, all_of(Presence::Absent)),
    };
    let kinds = Kind::ALL.iter().map(|kind| {
        let presence = modules.presence(&module_of(*kind), Some(MODULE));
        if presence != Presence::Present && modules.can_be_loaded() {
            return (*kind, presence, None);
        }
        match ipset.revisions(*kind) {
            Ok(revisions) => (*kind, Presence::Present, Some(revisions)),
            Err(error) if error.is_unavailable() => (*kind, Presence::Absent, None),
            Err(_) => (*kind, presence, None),
        }
    });
    let kinds = kinds.collect();
    (Presence::Present, Some(protocol), kinds)
}

/// `ip_set_hash_ipport` for `hash:ip,port`.
fn module_of(kind: Kind) -> String {
    format!("ip_set_{}", kind.name().replace(':', "_").replace(',', ""))
}

/// Whether the calling thread has `CAP_NET_ADMIN` in the initial user namespace.
fn is_admin_of_all(status: &str) -> bool {
    let initial = fs::metadata("/proc/thread-self/ns/user").is_ok_and(|user| user.ino() == INITIAL_USER_NAMESPACE);
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    initial && capabilities.is_some_and(|all| all & (1 << NET_ADMIN) != 0)
}

/// From the first line of `/proc/net/ip_vs`, `IP Virtual Server version 1.2.1 (size=4096)`.
fn version_for_all(table: &str) -> Option<(u8, u8, u8)> {
    let mut numbers = table.strip_prefix("IP Virtual Server version ")?.split(' ').next()?.split('.').map(str::parse);
    match (numbers.next()?, numbers.next()?, numbers.next()?) {
        (Ok(major), Ok(minor), Ok(patch)) => Some((major, minor, patch)),
        _ => None,
    }
}

/// The first two numbers of a release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version_for_all("IP Virtual Server version 1.2.1 (size=4096)\nProt"), Some((1, 2, 1)));
        assert_eq!(version_for_all(""), None);
        assert_eq!(version_for_all("IP Virtual Server version 1.2"), None);
        assert_eq!(version("6.12.117+deb13-amd64"), (6, 12));
        assert_eq!(version(""), (0, 0));
    }

    #[test]
    fn modules_of_set_types_have_no_commas() {
        assert_eq!(module_of(Kind::HashIpPort), "ip_set_hash_ipport");
        assert_eq!(module_of(Kind::ListSet), "ip_set_list_set");
    }

    #[test]
    fn parts_are_grouped() {
        let all = [("rr", Presence::Loadable), ("wrr", Presence::Present), ("lc", Presence::Loadable)];
        let text = by_presence(all.iter().map(|(name, presence)| ((*name).to_owned(), *presence)));
        assert_eq!(text, "there: wrr; not loaded, could be: rr, lc");
    }
}
