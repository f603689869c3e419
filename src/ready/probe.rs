//! The probes: queries without side effects, and the table that judges their answers.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;

use netlink_sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;

use super::modules::{self, Modules};
use super::report::{Finding, Level, Presence, Report, best, by_presence, text};
use super::settings;
use crate::connection::{Connection, Options};
use crate::error::{Cause, Error, Result};
use crate::ipset::{self, Ipset, Kind};
use crate::ipvs::{self, Ipvs, Scheduler};
use crate::vip::Vips;
use crate::wire::genl;

/// Inode number of the initial user namespace (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;
/// Bits in a set of capabilities.
const CAP_NET_ADMIN: u32 = 12;
pub(super) const CAP_SYS_MODULE: u32 = 16;

/// Reports on the kernel and its settings, in the calling thread's network namespace, without changing or loading
/// anything.
///
/// It requires no privilege. Without privileges some answers are [`Presence::Unknown`].
///
/// # Errors
/// When a socket cannot be opened, or the kernel does not answer.
pub fn check() -> Result<Report> {
    let operation = "report on the kernel";
    let release = modules::release();
    let modules = Modules::of_this_kernel(&release);
    let mut vips = Vips::connect().map_err(|error| error.during(operation))?;
    let may_change_network = vips.may_change().map_err(|error| error.during(operation))?;
    let ipvs = probe_ipvs(&modules).map_err(|error| error.during(operation))?;
    let (may_use_ipvs, ipvs_version) = probe_ipvs_access(ipvs)?;
    let (ipset, ipset_protocol, set_types) = probe_ipset(&modules)?;
    Ok(Report {
        ipvs,
        ipvs_version,
        schedulers: probe_schedulers(&modules, ipvs),
        ipset,
        ipset_protocol,
        set_types,
        dummy: probe_dummy(&modules, &mut vips),
        may_use_ipvs,
        may_change_network,
        settings: settings::check(first_two_numbers(&release)),
        release,
    })
}

/// One row of the report.
struct Probe {
    name: &'static str,
    /// First Linux release with the feature, in the form that this crate uses; `None` for every release.
    since: Option<&'static str>,
    answer: fn(&Report) -> Answer,
    found: fn(&Report) -> String,
    advised: &'static str,
    why: &'static str,
    /// Level if the answer is `Absent`.
    without: Level,
}

/// Answer of a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    Present,
    Absent,
    Unknown,
}

const PROBES: [Probe; 7] = [
    Probe {
        name: "privilege for IPVS",
        since: None,
        answer: |report| report.may_use_ipvs.into(),
        found: |report| privilege(report.may_use_ipvs),
        advised: "present",
        why: "IPVS requires CAP_NET_ADMIN in the initial user namespace",
        without: Level::Missing,
    },
    Probe {
        name: "privilege for virtual IPs",
        since: None,
        answer: |report| report.may_change_network.into(),
        found: |report| privilege(report.may_change_network),
        advised: "present",
        why: "addresses, routes and sets require CAP_NET_ADMIN in the user namespace that owns the network namespace",
        without: Level::Missing,
    },
    Probe {
        name: "IPVS",
        since: Some("2.6.28"),
        answer: |report| report.ipvs.into(),
        found: |report| match report.ipvs_version {
            Some((major, minor, patch)) => format!("{}, version {major}.{minor}.{patch}", text(report.ipvs)),
            None => text(report.ipvs).to_owned(),
        },
        advised: "present",
        why: "the load balancer itself, module ip_vs",
        without: Level::Missing,
    },
    Probe {
        name: "schedulers",
        since: Some("2.6.28"),
        answer: |report| best(report.schedulers.iter().map(|(_, presence)| *presence)).into(),
        found: |report| by_presence(report.schedulers.iter().map(|(name, presence)| (name.to_string(), *presence))),
        advised: "those that services use",
        why: "each service has one; the kernel loads its module with the first service",
        without: Level::Missing,
    },
    Probe {
        name: "ipset",
        since: Some("2.6.39"),
        answer: |report| report.ipset.into(),
        found: |report| match &report.ipset_protocol {
            Some(all) => format!("{}, protocol {} to {}", text(report.ipset), all.start(), all.end()),
            None => text(report.ipset).to_owned(),
        },
        advised: "present, if rules match sets",
        why: "sets for packet filters, module ip_set",
        without: Level::Depends,
    },
    Probe {
        name: "set types",
        since: Some("2.6.39"),
        answer: |report| best(report.set_types.iter().map(|(_, presence, _)| *presence)).into(),
        found: |report| by_presence(report.set_types.iter().map(set_type)),
        advised: "those of the sets to be created",
        why: "each is a module; its revision determines its options",
        without: Level::Depends,
    },
    Probe {
        name: "dummy interfaces",
        since: None,
        answer: |report| report.dummy.into(),
        found: |report| text(report.dummy).to_owned(),
        advised: "present, or another binder for virtual IPs",
        why: "the usual place of virtual IPs; local routes and labels work without",
        without: Level::Advice,
    },
];

impl Report {
    /// Whether a load balancer can run: no finding is [`Level::Missing`].
    pub fn is_ready(&self) -> bool {
        self.findings().all(|finding| finding.level != Level::Missing)
    }

    /// Returns one finding for each feature and each sysctl.
    pub fn findings(&self) -> impl Iterator<Item = Finding> + '_ {
        PROBES.iter().map(|probe| probe.finding(self)).chain(self.settings.iter().cloned())
    }
}

impl Probe {
    fn finding(&self, report: &Report) -> Finding {
        let answer = (self.answer)(report);
        let level = match answer {
            Answer::Present => Level::Good,
            Answer::Absent => self.without,
            Answer::Unknown => self.without.min(Level::Depends),
        };
        let why = match self.since {
            Some(since) if answer == Answer::Absent && is_older(&report.release, since) => {
                format!("{}; Linux has it since {since}", self.why).into()
            }
            _ => self.why.into(),
        };
        Finding { what: self.name.into(), found: (self.found)(report), advised: self.advised.into(), why, level }
    }
}

impl From<Presence> for Answer {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Present | Presence::Loadable => Self::Present,
            Presence::Absent => Self::Absent,
            Presence::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Answer {
    fn from(has: bool) -> Self {
        if has { Self::Present } else { Self::Absent }
    }
}

fn privilege(has: bool) -> String {
    if has { "present".to_owned() } else { "missing".to_owned() }
}

type SetType = (Kind, Presence, Option<RangeInclusive<u8>>);

fn set_type((kind, presence, revisions): &SetType) -> (String, Presence) {
    let name = match revisions {
        Some(revisions) => format!("{kind} ({} to {})", revisions.start(), revisions.end()),
        None => kind.to_string(),
    };
    (name, *presence)
}

fn probe_ipvs(modules: &Modules) -> Result<Presence> {
    if has_ipvs_family()? {
        return Ok(Presence::Present);
    }
    if !modules.can_be_loaded() {
        return Ok(Presence::Absent);
    }
    Ok(match modules.presence(ipvs::MODULE, None) {
        // Without its family, IPVS cannot be used.
        Presence::Present => Presence::Absent,
        presence => presence,
    })
}

fn has_ipvs_family() -> Result<bool> {
    let (mut found, mut refused) = (false, None);
    let listed = Connection::open(NETLINK_GENERIC, &Options::default()).and_then(|mut connection| {
        connection.exchange.queue_dump_with(genl::CONTROLLER, genl::write_families_request)?;
        connection.settle(
            |_, _, body| {
                found |= genl::family_name(body)? == ipvs::FAMILY;
                Ok(())
            },
            |_, refusal, _| refused = Some(refusal),
        )?;
        refused.map_or(Ok(found), |refusal| Err(Cause::Io(io::Error::from_raw_os_error(refusal.errno))))
    });
    listed.map_err(|cause| Error::new("list the generic netlink families", cause))
}

type IpvsAccess = (bool, Option<(u8, u8, u8)>);

/// Returns the caller's privilege for IPVS, and the version of IPVS.
fn probe_ipvs_access(ipvs: Presence) -> Result<IpvsAccess> {
    if ipvs != Presence::Present {
        return Ok((has_initial(&modules::read("/proc/thread-self/status"), CAP_NET_ADMIN), None));
    }
    match Ipvs::connect().and_then(|mut ipvs| ipvs.version()) {
        Ok(info) => Ok((true, Some(info.release))),
        Err(error) if error.is_permission_denied() => {
            Ok((false, version_in_table(&modules::read("/proc/thread-self/net/ip_vs"))))
        }
        Err(error) => Err(error),
    }
}

fn probe_schedulers(modules: &Modules, ipvs: Presence) -> Vec<(Scheduler, Presence)> {
    let presence = |scheduler| match ipvs {
        Presence::Absent => Presence::Absent,
        _ => modules.presence(&modules::of_scheduler(scheduler), Some(ipvs::MODULE)),
    };
    Scheduler::ALL.iter().map(|scheduler| (*scheduler, presence(*scheduler))).collect()
}

fn probe_dummy(modules: &Modules, vips: &mut Vips) -> Presence {
    match modules.presence("dummy", None) {
        Presence::Unknown if !modules.can_be_loaded() => match vips.probe_dummy() {
            Ok(()) => Presence::Present,
            Err(error) if error.is_unavailable() => Presence::Absent,
            Err(_) => Presence::Unknown,
        },
        presence => presence,
    }
}

type IpsetFound = (Presence, Option<RangeInclusive<u8>>, Vec<SetType>);

/// Queries ipset for present parts only, or on a kernel without module support.
fn probe_ipset(modules: &Modules) -> Result<IpsetFound> {
    let of_module = |kind: Kind| modules.presence(&kind.module(), Some(ipset::MODULE));
    let each =
        |presence: &dyn Fn(Kind) -> Presence| Kind::ALL.iter().map(|kind| (*kind, presence(*kind), None)).collect();
    let absent = || (Presence::Absent, None, each(&|_| Presence::Absent));
    let listed = match modules.presence(ipset::MODULE, None) {
        // The module has a parameter, and so a folder even if it is built in.
        Presence::Unknown if fs::exists("/sys/module/ip_set").unwrap_or(false) => Presence::Present,
        presence => presence,
    };
    if listed != Presence::Present && modules.can_be_loaded() {
        return Ok(if listed == Presence::Absent { absent() } else { (listed, None, each(&of_module)) });
    }
    let mut ipset = match Ipset::connect() {
        Ok(ipset) => ipset,
        // The kernel lacks netfilter's part of netlink.
        Err(error) if error.errno() == Some(Errno::EPROTONOSUPPORT as i32) => return Ok(absent()),
        Err(error) => return Err(error),
    };
    let protocol = match ipset.version() {
        Ok(protocol) => protocol,
        Err(error) if !is_refused(&error) => return Err(error),
        Err(error) if error.is_permission_denied() || listed == Presence::Present => {
            return Ok((listed, None, each(&of_module)));
        }
        Err(_) => return Ok(absent()),
    };
    let kinds = Kind::ALL.iter().map(|kind| match of_module(*kind) {
        presence if presence != Presence::Present && modules.can_be_loaded() => Ok((*kind, presence, None)),
        presence => match ipset.revisions(*kind) {
            Ok(revisions) => Ok((*kind, Presence::Present, Some(revisions))),
            Err(error) if error.is_unavailable() => Ok((*kind, Presence::Absent, None)),
            Err(error) if is_refused(&error) => Ok((*kind, presence, None)),
            Err(error) => Err(error),
        },
    });
    let kinds = kinds.collect::<Result<_>>()?;
    Ok((Presence::Present, Some(protocol), kinds))
}

fn is_refused(error: &Error) -> bool {
    matches!(error.cause(), Cause::Refused(_))
}

/// Whether the calling thread, with this `/proc/thread-self/status`, has a capability in the initial user namespace.
pub(super) fn has_initial(status: &str, capability: u32) -> bool {
    let initial = fs::metadata("/proc/thread-self/ns/user").is_ok_and(|user| user.ino() == INITIAL_USER_NAMESPACE);
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    initial && capabilities.is_some_and(|all| all & (1 << capability) != 0)
}

/// Reads the first line of `/proc/net/ip_vs`: `IP Virtual Server version 1.2.1 (size=4096)`.
fn version_in_table(table: &str) -> Option<(u8, u8, u8)> {
    let mut numbers = table.strip_prefix("IP Virtual Server version ")?.split(' ').next()?.split('.').map(str::parse);
    match (numbers.next()?, numbers.next()?, numbers.next()?) {
        (Ok(major), Ok(minor), Ok(patch)) => Some((major, minor, patch)),
        _ => None,
    }
}

/// Returns the numbers at the start of a release: 6, 12 and 117 of `6.12.117+deb13-amd64`.
fn numbers(release: &str) -> impl Iterator<Item = u32> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or_default())
        .chain([0, 0, 0])
        .take(3)
}

fn first_two_numbers(release: &str) -> (u32, u32) {
    let mut numbers = numbers(release);
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

/// Whether a release is older than a version such as `2.6.39`.
fn is_older(release: &str, version: &str) -> bool {
    numbers(release).lt(numbers(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version_in_table("IP Virtual Server version 1.2.1 (size=4096)\nProt"), Some((1, 2, 1)));
        assert_eq!(version_in_table(""), None);
        assert_eq!(version_in_table("IP Virtual Server version 1.2"), None);
        assert_eq!(first_two_numbers("6.12.117+deb13-amd64"), (6, 12));
        assert_eq!(first_two_numbers(""), (0, 0));
        assert!(is_older("2.6.38-rc8", "2.6.39") && is_older("2.6", "2.6.28") && is_older("3.19.1", "4.0"));
        assert!(!is_older("2.6.39", "2.6.39") && !is_older("6.1.0-50-amd64", "2.6.39") && !is_older("7.3.2", "7.3"));
    }

    fn report(release: &str, presence: Presence, privileged: bool) -> Report {
        Report {
            release: release.to_owned(),
            ipvs: presence,
            ipvs_version: None,
            schedulers: vec![(Scheduler::RR, presence), (Scheduler::WRR, Presence::Absent)],
            ipset: presence,
            ipset_protocol: None,
            set_types: vec![(Kind::HashIp, presence, None)],
            dummy: presence,
            may_use_ipvs: privileged,
            may_change_network: privileged,
            settings: Vec::new(),
        }
    }

    /// An unknown answer is never more than a matter of the machine's role, and an absence is as bad as the row says.
    #[test]
    fn each_answer_has_its_level() {
        for probe in &PROBES {
            let is_privilege = probe.name.starts_with("privilege");
            let level = |presence, privileged| probe.finding(&report("6.12", presence, privileged)).level;
            assert_eq!(level(Presence::Present, true), Level::Good, "{}", probe.name);
            assert_eq!(level(Presence::Loadable, true), Level::Good, "{}", probe.name);
            assert_eq!(level(Presence::Absent, false), probe.without, "{}", probe.name);
            if !is_privilege {
                assert_eq!(level(Presence::Unknown, false), Level::Depends, "{}", probe.name);
            }
        }
        assert!(report("6.12", Presence::Loadable, true).is_ready());
        assert!(report("6.12", Presence::Unknown, true).is_ready());
        assert!(!report("6.12", Presence::Present, false).is_ready());
        assert!(!report("6.12", Presence::Absent, true).is_ready());
    }

    #[test]
    fn the_first_kernel_is_named_where_an_older_one_lacks_a_feature() {
        let why = |release| {
            let findings: Vec<_> = report(release, Presence::Absent, true).findings().collect();
            findings.into_iter().find(|finding| finding.what == "ipset").unwrap().why
        };
        assert_eq!(why("2.6.38"), "sets for packet filters, module ip_set; Linux has it since 2.6.39");
        assert_eq!(why("6.1.0-50-amd64"), "sets for packet filters, module ip_set");
    }
}
