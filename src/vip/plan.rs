//! Difference between the desired and the bound virtual IPs, without I/O.

use std::collections::{HashMap, HashSet};

use super::batch::Failure;
use super::binder::{Binder, IntoVip, Vip, Way};
use super::message::{RTPROT_KERNEL, Route, Target};
use crate::error::Error;
use crate::hash::{KeySet, Keyed};

/// The part of the kernel's state that matters to some virtual IPs.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Interface of the binder; `None` for a dummy interface that does not exist.
    pub(super) target: Option<Target>,
    /// The binder's listing, if it was read.
    pub(super) owned: Vec<Vip>,
    /// The wanted virtual IPs in the listing.
    pub(super) bound: Vec<Vip>,
    /// The other wanted virtual IPs.
    pub(super) missing: Vec<Vip>,
    /// The route of each address that is local, broadcast or anycast.
    pub(super) routes: HashMap<Vip, Route, Keyed>,
    /// All local, broadcast and anycast routes, if a prefix is to be bound.
    pub(super) table: Vec<Route>,
}

/// The changes that end in the desired virtual IPs.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) bind: Vec<Vip>,
    /// Addresses of the binder that have lost their local routes.
    pub(super) lost: Vec<Vip>,
    pub(super) unchanged: usize,
    /// Virtual IPs that another owner makes local, completely or in part, by this route.
    pub(super) conflicts: Vec<(Vip, Route)>,
}

impl Plan {
    /// Plans to bind the missing virtual IPs, each of which this binder can bind, and those that are not local.
    pub(super) fn to_bind(binder: &Binder, observed: &Observed) -> Self {
        let mut plan = Self::default();
        for vip in &observed.bound {
            match observed.routes.get(vip).filter(|_| observed.is_checked()) {
                Some(route) if !route.is_local => plan.conflicts.push((*vip, *route)),
                None if observed.is_checked() => plan.lost.push(*vip),
                _ => plan.unchanged += 1,
            }
        }
        for vip in &observed.missing {
            match observed.obstacle(binder, *vip) {
                Ok(true) => plan.unchanged += 1,
                Ok(false) => plan.bind.push(*vip),
                Err(route) => plan.conflicts.push((*vip, route)),
            }
        }
        plan
    }
}

impl Observed {
    /// Whether the routes of the binder's addresses were looked up.
    pub(super) fn is_checked(&self) -> bool {
        self.target.is_some_and(|target| target.is_checked)
    }

    /// Whether the binder has bound a virtual IP that its listing does not show.
    ///
    /// # Errors
    /// The conflicting route of another owner.
    fn obstacle(&self, binder: &Binder, vip: Vip) -> Result<bool, Route> {
        let own = |route: &Route| match binder.0 {
            Way::Routes(protocol) => route.protocol == protocol,
            // The kernel reports such an address as bound.
            Way::Dummy(_) => route.protocol == RTPROT_KERNEL && self.target.is_some_and(|t| t.index == route.index),
            Way::Label { .. } => false,
        };
        if !vip.is_prefix() {
            return match self.routes.get(&vip) {
                Some(route) if !route.is_local || !own(route) => Err(*route),
                found => Ok(found.is_some() && matches!(binder.0, Way::Routes(_))),
            };
        }
        if self.table.iter().any(|route| route.vip == vip && own(route)) {
            return Ok(true);
        }
        let inside = self.table.iter().find(|route| vip.contains(route.vip) && !own(route));
        inside.map_or(Ok(false), |route| Err(*route))
    }

    /// The bound virtual IPs that are not desired.
    pub(super) fn surplus(&self, desired: &[Vip]) -> Vec<Vip> {
        let desired = set_of(desired);
        self.owned.iter().copied().filter(|vip| !desired.contains(vip)).collect()
    }
}

/// Returns the set of these virtual IPs, allocated once.
pub(super) fn set_of(vips: &[Vip]) -> KeySet<Vip> {
    let mut set = KeySet::with_capacity_and_hasher(vips.len(), Keyed::default());
    set.extend(vips);
    set
}

/// Returns the virtual IPs in their order, without repetitions.
pub(super) fn distinct(vips: impl IntoIterator<Item = impl IntoVip>) -> Vec<Vip> {
    let vips = vips.into_iter();
    let mut seen = KeySet::with_capacity_and_hasher(vips.size_hint().0, Keyed::default());
    vips.map(IntoVip::into_vip).filter(|vip| seen.insert(*vip)).collect()
}

/// Returns the bound virtual IPs that make addresses local which are desired and could not be bound.
pub(super) fn needed(failures: &[Failure], bound: &[Vip]) -> HashSet<Vip> {
    let prefixes: Vec<_> = failures.iter().map(|failure| failure.change.vip()).filter(Vip::is_prefix).collect();
    // An address with a conflict stays local by its other owner; an invalid one never was local.
    let needs = |error: &Error| !error.is_conflict() && !error.is_invalid_input();
    let is_needed = |vip: &Vip| {
        prefixes.iter().any(|prefix| prefix.contains(*vip))
            || vip.is_prefix()
                && failures.iter().any(|failure| needs(&failure.error) && vip.contains(failure.change.vip()))
    };
    bound.iter().copied().filter(is_needed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Cause, Reason};
    use crate::vip::Change;

    fn vip(text: &str) -> Vip {
        text.parse().unwrap()
    }

    #[test]
    fn surplus_that_overlaps_with_a_failure_is_needed() {
        let conflict = || Cause::Conflict {
            address: vip("10.0.0.9").address(),
            length: 32,
            interface: None,
            index: 7,
            protocol: None,
            of_subnet: false,
        };
        let wrong = || Cause::InvalidInput("wrong".into());
        let full = || Cause::precondition(Reason::OutOfMemory, "full");
        let bound = ["10.0.0.1", "10.0.1.1", "10.0.0.0/16", "2001:db8::1"].map(vip);
        for (failed, cause, expected) in [
            ("10.0.0.9", conflict(), &[][..]),
            ("10.0.0.9", wrong(), &[]),
            ("10.0.0.9", full(), &["10.0.0.0/16"]),
            ("10.0.0.0/24", conflict(), &["10.0.0.1"]),
            ("10.0.0.0/24", wrong(), &["10.0.0.1"]),
            ("10.0.0.0/24", full(), &["10.0.0.1", "10.0.0.0/16"]),
            ("10.0.0.0/8", conflict(), &["10.0.0.1", "10.0.1.1", "10.0.0.0/16"]),
            ("2001:db8::/64", full(), &["2001:db8::1"]),
        ] {
            let failures =
                [Failure::new(Change::Bind(Binder::local_routes(77), vip(failed)), Error::new("bind", cause))];
            let expected: HashSet<_> = expected.iter().map(|text| vip(text)).collect();
            assert_eq!(needed(&failures, &bound), expected, "{:?}", failures);
        }
    }
}
