//! Changes of many virtual IPs: what is in the way, what is sent, and what failed.

use std::collections::{HashMap, HashSet};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;

use super::binder::Way;
use super::client::explain;
use super::link::LinkRequest;
use super::message::{self, Route, Target};
use super::{BatchError, Binder, Failure, Tally, Vip, Vips};
use crate::address::Family;
use crate::error::{Cause, Error};

/// A change of many virtual IPs, and its failures so far.
pub(super) struct Work<'a> {
    vips: &'a mut Vips,
    binder: &'a Binder,
    done: Tally,
    failures: Vec<Failure>,
}

/// Direction of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Bind,
    Unbind,
}

impl Change {
    pub(super) fn of(self, vip: Vip, binder: &Binder) -> String {
        match self {
            Self::Bind => format!("bind {vip} to {binder}"),
            Self::Unbind => format!("unbind {vip} from {binder}"),
        }
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(vips: &'a mut Vips, binder: &'a Binder) -> Self {
        Self { vips, binder, done: Tally::default(), failures: Vec::new() }
    }

    pub(super) fn finish(self, ended: Result<(), Cause>, operation: &str) -> Result<Tally, BatchError> {
        let Self { binder, done, failures, .. } = self;
        let operation = format!("{operation} {binder}");
        let interruption = ended.err().map(|cause| Error::new(&operation, cause));
        if interruption.is_none() && failures.is_empty() {
            return Ok(done);
        }
        Err(BatchError::new(operation, failures, done).interrupted(interruption, 0..0))
    }

    pub(super) fn sync(&mut self, desired: Vec<Vip>) -> Result<(), Cause> {
        let target = self.vips.target(self.binder)?;
        let owned = target.map_or(Ok(Vec::new()), |target| self.vips.owned(target))?;
        let mut surplus = {
            let desired: HashSet<_> = desired.iter().collect();
            owned.iter().copied().filter(|vip| !desired.contains(vip)).collect::<Vec<_>>()
        };
        self.bind(desired, Some(owned))?;
        let needed = needed(&self.failures, &surplus);
        surplus.retain(|vip| !needed.contains(vip));
        match target {
            Some(target) => self.make(Change::Unbind, target, &surplus),
            None => Ok(()),
        }
    }

    /// Finds wrong input and conflicts among virtual IPs that are to be bound, and changes nothing.
    pub(super) fn check(&mut self, wanted: Vec<Vip>) -> Result<(), Cause> {
        let checked = self.missing(wanted, None).map(drop);
        self.done = Tally::default();
        checked
    }

    /// Binds the virtual IPs that are not bound yet. `owned` is the binder's listing, if that was read.
    pub(super) fn bind(&mut self, wanted: Vec<Vip>, owned: Option<Vec<Vip>>) -> Result<(), Cause> {
        let (target, mut missing) = self.missing(wanted, owned)?;
        if missing.is_empty() {
            return Ok(());
        }
        let target = match (target, self.binder.0) {
            (None, Way::Dummy(name)) => self.vips.make(self.binder, name)?,
            (Some(target), _) => target,
            (None, _) => return Ok(()),
        };
        self.make(Change::Bind, target, &missing)?;
        if !matches!(target.way, Way::Routes(_)) {
            let failed: HashSet<_> = self.failures.iter().map(|failure| failure.change).collect();
            missing.retain(|vip| vip.family() == Family::Inet6 && !failed.contains(vip));
            self.vips.wait_until_local(missing)?;
        }
        Ok(())
    }

    /// Returns the virtual IPs that are to be bound and nothing prevents from it. The others are failures, or unchanged.
    fn missing(&mut self, wanted: Vec<Vip>, owned: Option<Vec<Vip>>) -> Result<(Option<Target>, Vec<Vip>), Cause> {
        let mut missing = Vec::with_capacity(wanted.len());
        for vip in wanted {
            match self.binder.check(vip) {
                Ok(()) => missing.push(vip),
                Err(cause) => self.fail(Change::Bind, vip, cause),
            }
        }
        if missing.is_empty() {
            return Ok((None, missing));
        }
        let target = self.vips.target(self.binder)?;
        let owned = match (owned, target) {
            (Some(owned), _) => owned,
            // Only a listing shows whether an address of the interface has the label and the protocol.
            (None, Some(target @ Target { way: Way::Label { .. }, .. })) => self.vips.owned(target)?,
            (None, _) => Vec::new(),
        };
        let owned: HashSet<_> = owned.into_iter().collect();
        let before = missing.len();
        missing.retain(|vip| !owned.contains(vip));
        self.done.unchanged += before - missing.len();
        self.split_off_local(target, &mut missing)?;
        Ok((target, missing))
    }

    /// Removes from `missing` the addresses that are local: as unchanged if the binder made them so, as conflicts otherwise.
    fn split_off_local(&mut self, target: Option<Target>, missing: &mut Vec<Vip>) -> Result<(), Cause> {
        let (prefixes, addresses): (Vec<_>, Vec<_>) = missing.iter().partition(|vip| vip.is_prefix());
        let own = |route: &Route| match self.binder.0 {
            Way::Routes(protocol) => route.protocol == protocol,
            // Which the kernel then calls bound.
            Way::Dummy(_) => route.protocol == message::OF_AN_ADDRESS && target.is_some_and(|t| t.index == route.index),
            Way::Label { .. } => false,
        };
        let mut bound = HashSet::new();
        let mut conflicts = Vec::new();
        for (vip, route) in addresses.iter().zip(self.vips.routes_to(&addresses)?) {
            // A prefix around it is no obstacle.
            match route.filter(|route| route.vip == *vip) {
                Some(route) if !own(&route) => conflicts.push((*vip, route)),
                Some(_) if matches!(self.binder.0, Way::Routes(_)) => _ = bound.insert(*vip),
                _ => {}
            }
        }
        if !prefixes.is_empty() {
            let mut families: Vec<_> = prefixes.iter().map(Vip::family).collect();
            families.sort_unstable();
            families.dedup();
            let routes = self.vips.local_routes(&families, None)?;
            for vip in prefixes {
                if routes.iter().any(|route| route.vip == vip && own(route)) {
                    bound.insert(vip);
                    continue;
                }
                let inside = routes.iter().find(|route| vip.contains(route.vip) && !own(route));
                conflicts.extend(inside.map(|route| (vip, *route)));
            }
        }
        self.done.unchanged += bound.len();
        missing.retain(|vip| !bound.contains(vip));
        let failed: HashSet<_> = conflicts.iter().map(|(vip, _)| *vip).collect();
        missing.retain(|vip| !failed.contains(vip));
        self.fail_conflicts(conflicts)
    }

    fn fail_conflicts(&mut self, conflicts: Vec<(Vip, Route)>) -> Result<(), Cause> {
        let mut names = HashMap::new();
        for (vip, route) in conflicts {
            let index = route.index;
            let interface = match names.get(&index) {
                Some(name) => *name,
                None => {
                    let name = match self.vips.link(LinkRequest::GetIndex(index)) {
                        Ok(link) => link.and_then(|link| link.name),
                        // The conflict is the error that matters.
                        Err(Cause::Refused(_) | Cause::Decode(_)) => None,
                        Err(cause) => return Err(cause),
                    };
                    *names.entry(index).or_insert(name)
                }
            };
            let protocol = (route.protocol != message::OF_AN_ADDRESS).then_some(route.protocol);
            let (address, length) = (route.vip.address(), route.vip.length());
            self.fail(Change::Bind, vip, Cause::Conflict { address, length, interface, index, protocol });
        }
        Ok(())
    }

    pub(super) fn unbind(&mut self, mut unwanted: Vec<Vip>) -> Result<(), Cause> {
        let Some(target) = self.vips.target(self.binder)? else {
            self.done.unchanged += unwanted.len();
            return Ok(());
        };
        let before = unwanted.len();
        match target.way {
            Way::Routes(_) => {}
            Way::Dummy(_) => unwanted.retain(|vip| !vip.is_prefix()),
            // The kernel would delete another's address on the same interface.
            Way::Label { .. } => {
                let owned: HashSet<_> = self.vips.owned(target)?.into_iter().collect();
                unwanted.retain(|vip| owned.contains(vip));
            }
        }
        self.done.unchanged += before - unwanted.len();
        self.make(Change::Unbind, target, &unwanted)
    }

    /// Sends the changes, many at once.
    fn make(&mut self, change: Change, target: Target, vips: &[Vip]) -> Result<(), Cause> {
        let route = matches!(target.way, Way::Routes(_));
        let (kind, flags) = match (change, route) {
            (Change::Bind, true) => (message::NEW_ROUTE, NLM_F_CREATE | NLM_F_EXCL),
            (Change::Bind, false) => (message::NEW_ADDRESS, NLM_F_CREATE | NLM_F_EXCL),
            (Change::Unbind, true) => (message::DELETE_ROUTE, 0),
            (Change::Unbind, false) => (message::DELETE_ADDRESS, 0),
        };
        let mut rest = vips;
        while !rest.is_empty() {
            let mut queued = 0;
            for vip in rest {
                self.vips.connection.queue(kind, flags, |out| match change {
                    Change::Bind => message::write_bind(out, target, *vip),
                    Change::Unbind => message::write_unbind(out, target, *vip),
                })?;
                queued += 1;
                if self.vips.connection.is_full() {
                    break;
                }
            }
            let mut refused = Vec::new();
            self.vips.connection.settle(|_, _, _| Ok(()), |request, refusal| refused.push((request, refusal)))?;
            let mut changed = queued;
            for (request, refusal) in refused {
                changed -= 1;
                match (Errno::from_raw(refusal.errno), rest.get(request)) {
                    (_, None) => {}
                    // On an interface of its own, that is what was asked for.
                    (Errno::EEXIST, _) if change == Change::Bind && matches!(target.way, Way::Dummy(_)) => {
                        self.done.unchanged += 1;
                    }
                    (Errno::EADDRNOTAVAIL | Errno::ESRCH, _) if change == Change::Unbind => self.done.unchanged += 1,
                    (_, Some(vip)) => self.fail(change, *vip, explain(refusal).into()),
                }
            }
            match change {
                Change::Bind => self.done.bound += changed,
                Change::Unbind => self.done.unbound += changed,
            }
            rest = rest.get(queued..).unwrap_or_default();
        }
        Ok(())
    }

    fn fail(&mut self, change: Change, vip: Vip, cause: Cause) {
        let error = Error::new(change.of(vip, self.binder), cause);
        self.failures.push(Failure::new(vip, error));
    }
}

/// Returns the virtual IPs in their order, without repetitions.
pub(super) fn distinct(vips: impl IntoIterator<Item = impl Into<Vip>>) -> Vec<Vip> {
    let mut seen = HashSet::new();
    vips.into_iter().map(Into::into).filter(|vip| seen.insert(*vip)).collect()
}

/// Returns the bound virtual IPs that make addresses local which are desired and could not be bound.
fn needed(failures: &[Failure], bound: &[Vip]) -> HashSet<Vip> {
    let prefixes: Vec<_> = failures.iter().map(|failure| failure.change).filter(Vip::is_prefix).collect();
    // With a conflict, an address stays local by its other owner; a wrong one never was.
    let needs = |error: &Error| !error.is_conflict() && !error.is_invalid_input();
    let is_needed = |vip: &Vip| {
        prefixes.iter().any(|prefix| prefix.contains(*vip))
            || vip.is_prefix() && failures.iter().any(|failure| needs(&failure.error) && vip.contains(failure.change))
    };
    bound.iter().copied().filter(is_needed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

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
            let failures = [Failure::new(vip(failed), Error::new("bind", cause))];
            let expected: HashSet<_> = expected.iter().map(|text| vip(text)).collect();
            assert_eq!(needed(&failures, &bound), expected, "{:?}", failures);
        }
    }
}
