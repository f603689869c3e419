//! The report's types and its text.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use crate::ipset::Kind;
use crate::ipvs::Scheduler;

/// A kernel feature that a load balancer needs and that can be [loaded](super::load).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Part {
    /// IPVS itself.
    Ipvs,
    /// An IPVS scheduler.
    Scheduler(Scheduler),
    /// ipset itself.
    Ipset,
    /// A set type of ipset.
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

/// Availability of a [`Part`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Presence {
    /// Built into the kernel, or a loaded module.
    Present,
    /// A module that is not loaded. The kernel loads it on first use, or on [`load`](super::load), unless `modprobe.d`
    /// forbids it.
    Loadable,
    /// Neither in the kernel nor a module that can be loaded.
    Absent,
    /// Cannot be determined without side effects. The file system lacks the lists of modules, as in a container, or the
    /// caller lacks the privilege to query the kernel.
    Unknown,
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(text(*self))
    }
}

/// Result of [`check`](super::check).
///
/// Its fields are for programs. [`findings`](Self::findings) describes the same for people.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// Release of the kernel, such as `6.12.117+deb13-amd64`.
    pub release: String,
    /// Presence of IPVS.
    pub ipvs: Presence,
    /// Version of IPVS; `None` unless IPVS is present.
    pub ipvs_version: Option<(u8, u8, u8)>,
    /// Each scheduler of [`Scheduler::ALL`].
    pub schedulers: Vec<(Scheduler, Presence)>,
    /// Presence of ipset.
    pub ipset: Presence,
    /// Protocol versions of ipset; `None` unless ipset is present and may be queried.
    pub ipset_protocol: Option<RangeInclusive<u8>>,
    /// Each set type of [`Kind::ALL`], with its revisions if it is present and may be queried.
    pub set_types: Vec<(Kind, Presence, Option<RangeInclusive<u8>>)>,
    /// Presence of dummy interfaces.
    pub dummy: Presence,
    /// Whether the caller may use IPVS, which requires `CAP_NET_ADMIN` in the initial user namespace.
    pub may_use_ipvs: bool,
    /// Whether the caller may bind virtual IPs and use ipset, which requires `CAP_NET_ADMIN` in the user namespace that
    /// owns the network namespace.
    pub may_change_network: bool,
    /// The sysctls that load balancers depend on.
    pub settings: Vec<Finding>,
}

impl Report {
    /// Returns the presence of one part; `Unknown` for a scheduler outside of [`Scheduler::ALL`].
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
}

/// One line of a [`Report`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// Name of the feature or sysctl, such as `net.ipv4.ip_forward`.
    pub what: Cow<'static, str>,
    /// State found.
    pub found: String,
    /// State advised.
    pub advised: Cow<'static, str>,
    /// Reason for the advice.
    pub why: Cow<'static, str>,
    /// Importance of the difference between the two states.
    pub level: Level,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, found, advised, why, level } = self;
        match level {
            Level::Good => write!(f, "{what}: {found}"),
            _ => write!(f, "{what}: {found}, advised {advised}: {why}"),
        }
    }
}

/// Importance of a [`Finding`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Level {
    /// As advised.
    Good,
    /// Suitable or not, depending on the role of the machine.
    Depends,
    /// Works, but another state is advised.
    Advice,
    /// Prevents the work of a load balancer.
    Missing,
}

/// Returns the message text for a presence.
pub(super) fn text(presence: Presence) -> &'static str {
    match presence {
        Presence::Present => "present",
        Presence::Loadable => "loadable",
        Presence::Absent => "absent",
        Presence::Unknown => "unknown",
    }
}

/// Returns the best presence of several parts; `Absent` for none.
pub(super) fn best(all: impl Iterator<Item = Presence> + Clone) -> Presence {
    let order = [Presence::Present, Presence::Loadable, Presence::Unknown];
    order.into_iter().find(|wanted| all.clone().any(|found| found == *wanted)).unwrap_or(Presence::Absent)
}

/// Joins names by presence: `present: rr, wrr; loadable: lc`.
pub(super) fn by_presence(all: impl Iterator<Item = (String, Presence)> + Clone) -> String {
    let order = [Presence::Present, Presence::Loadable, Presence::Absent, Presence::Unknown];
    let groups = order.iter().filter_map(|presence| {
        let names: Vec<_> = all.clone().filter(|(_, found)| found == presence).map(|(name, _)| name).collect();
        (!names.is_empty()).then(|| format!("{}: {}", text(*presence), names.join(", ")))
    });
    groups.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_grouped() {
        let all = [("rr", Presence::Loadable), ("wrr", Presence::Present), ("lc", Presence::Loadable)];
        let text = by_presence(all.iter().map(|(name, presence)| ((*name).to_owned(), *presence)));
        assert_eq!(text, "present: wrr; loadable: rr, lc");
    }

    #[test]
    fn the_best_presence_is_that_of_one_part() {
        use Presence::{Absent, Loadable, Present, Unknown};
        assert_eq!(best([Absent, Loadable, Present].into_iter()), Present);
        assert_eq!(best([Absent, Unknown, Loadable].into_iter()), Loadable);
        assert_eq!(best([Absent, Unknown].into_iter()), Unknown);
        assert_eq!(best([].into_iter()), Absent);
    }
}
