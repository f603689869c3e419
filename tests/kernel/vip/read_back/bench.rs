//! Binders, and the comparison of the library with `ip`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lvs::Outcome::{Added, Deleted, Unchanged};
use lvs::vip::{Binder, Change, Vip, Vips};
use lvs::{Cause, Error, InvalidName, Reason};

use super::EXCEPTIONS;
use super::seen::{
    ANYCAST, BROADCAST, LOCAL, Prefix, Shown, dummy, has_route, interfaces, ip, is_delivered, is_local,
    labels_and_protocols, state, text,
};
use crate::lab::Lab;
use crate::peers::until;
use crate::random::Random;
use crate::vip::{listed, real_interface};

/// A binder, valid or not.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Dummy(Vec<u8>),
    Routes(u8),
    Label(Vec<u8>, u8),
}

impl Asked {
    pub(super) fn binder(&self) -> Result<Binder, InvalidName> {
        match self {
            Self::Dummy(name) => Binder::dummy(name),
            Self::Routes(protocol) => Ok(Binder::local_routes(*protocol)),
            Self::Label(label, protocol) => Binder::label(label, *protocol),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Dummy(_) => "dummy",
            Self::Routes(_) => "local_routes",
            Self::Label(..) => "label",
        }
    }

    pub(super) fn interface(&self) -> &[u8] {
        match self {
            Self::Dummy(name) => name,
            Self::Routes(_) => b"lo",
            Self::Label(label, _) => label.split(|byte| *byte == b':').next().unwrap(),
        }
    }

    /// Returns label and protocol number that an address of this binder has.
    pub(super) fn label_and_protocol(&self, vip: Vip) -> (Vec<u8>, u8) {
        let (label, protocol) = match self {
            Self::Dummy(name) => (&name[..], 0),
            Self::Routes(_) => (&b""[..], 0),
            Self::Label(label, protocol) => (&label[..], *protocol),
        };
        (if vip.address().is_ipv4() { label.to_vec() } else { Vec::new() }, protocol)
    }

    /// Runs `ip` to add or delete the same; returns `None` if it fails.
    fn by_ip(&self, lab: &Lab, command: &str, (address, length): Prefix) -> Option<String> {
        let prefix = format!("{address}/{length}");
        let interface = self.interface();
        match self {
            Self::Dummy(_) => ip(lab, &[&b"address"[..], command.as_bytes(), prefix.as_bytes(), b"dev", interface]),
            Self::Routes(protocol) => {
                let words = format!("route {command} local {prefix} dev lo table local proto {protocol}");
                ip(lab, &words.split(' ').collect::<Vec<_>>())
            }
            // `ip` takes the protocol number of an address since version 6.3 only.
            Self::Label(label, _) => {
                let mut words = vec![&b"address"[..], command.as_bytes(), prefix.as_bytes(), b"dev", interface];
                if address.is_ipv4() && command == "add" {
                    words.extend([&b"label"[..], &label[..]]);
                }
                ip(lab, &words)
            }
        }
    }
}

/// Sums of outcomes.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) accepted: usize,
    pub(super) conflicts: usize,
    /// Refused by the library before sending.
    pub(super) refused: usize,
    /// Numbers of those that `ip` refuses, stores otherwise, and stores as asked.
    pub(super) refused_by_ip: usize,
    pub(super) otherwise_by_ip: usize,
    pub(super) excepted: usize,
}

pub(super) struct Bench<'a> {
    lab: &'a Lab,
    pub(super) vips: Vips,
    /// Addresses, routes and interfaces without any virtual IP.
    pub(super) before: BTreeSet<String>,
    pub(super) interfaces: BTreeSet<Vec<u8>>,
    counts: BTreeMap<&'static str, Count>,
    /// Problems of the exceptions that were needed.
    needed: BTreeSet<&'static str>,
    faults: Vec<String>,
}

impl<'a> Bench<'a> {
    /// Prepares a network; `others` adds addresses and routes of other programs.
    pub(super) fn new(lab: &'a Lab, others: fn(&Lab)) -> Self {
        // Each subnet has an anycast address then.
        lab.run(|| std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")).unwrap();
        real_interface(lab);
        others(lab);
        for name in [&b"caf\xe9"[..], b"thirteenbytes"] {
            assert!(dummy(lab, "add", name));
        }
        // The kernel gives interfaces addresses and routes by itself, a second later; this one is the last.
        for name in ["eth0", "eth1"] {
            until("the interface has its own addresses", || {
                lab.tool("ip -6 route show table local type anycast").contains(&format!("fe80:: dev {name}"))
            });
        }
        Self {
            lab,
            vips: lab.vips(),
            before: state(lab),
            interfaces: interfaces(lab),
            counts: BTreeMap::new(),
            needed: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, kind: &'static str) -> &mut Count {
        self.counts.entry(kind).or_default()
    }

    pub(super) fn check(&mut self, is_right: bool, fault: impl FnOnce() -> String) {
        if !is_right {
            self.faults.push(fault());
        }
    }

    /// Binds a virtual IP, judges the outcome and unbinds it; returns whether it was bound.
    pub(super) fn judge(&mut self, asked: &Asked, binder: &Binder, vip: Vip) -> bool {
        match self.vips.bind(binder, vip) {
            Ok(outcome) => {
                self.count(asked.kind()).accepted += 1;
                self.check(outcome == Added, || format!("{asked:?}: {vip} was bound already"));
                self.accepted(asked, binder, vip);
                return true;
            }
            Err(error) if error.is_invalid_input() => self.refused_unsent(asked, vip, &error),
            Err(error) if error.is_conflict() => {
                let Cause::Conflict { address, length, .. } = error.cause() else { panic!("{error}") };
                let is_true = has_route(&self.before, (*address, *length), &[LOCAL, BROADCAST, ANYCAST]);
                self.check(is_true, || format!("{asked:?}: no such conflict: {error}"));
                self.count(asked.kind()).conflicts += 1;
            }
            Err(error) => self.faults.push(format!("{asked:?}: {error}")),
        }
        self.check_state(&format!("{asked:?} refused {vip}"));
        false
    }

    /// Reads back what was bound, and unbinds it.
    fn accepted(&mut self, asked: &Asked, binder: &Binder, vip: Vip) {
        let bound = state(self.lab);
        let added: BTreeSet<_> = bound.difference(&self.before).map(|line| Shown::read(line)).collect();
        let context = format!("{asked:?}: {vip} reads back as {added:?}");
        self.check(bound.is_superset(&self.before), || format!("{context}: something is lost"));
        self.check(added == expected(asked, vip), || context.clone());
        if !matches!(asked, Asked::Routes(_)) {
            let read = labels_and_protocols(self.lab).remove(&vip.address());
            self.check(read == Some(asked.label_and_protocol(vip)), || format!("{context}: {read:?}"));
        }
        let is_delivered = vip.is_prefix() || is_delivered(self.lab, vip.address());
        self.check(is_delivered, || format!("{context}: it is not local"));
        let list = self.vips.virtual_ips(binder).unwrap();
        self.check(list == [vip], || format!("{context}: {list:?}"));
        let outcomes = [
            self.vips.bind(binder, vip).unwrap(),
            self.vips.unbind(binder, vip).unwrap(),
            self.vips.unbind(binder, vip).unwrap(),
        ];
        self.check(outcomes == [Unchanged, Deleted, Unchanged], || format!("{context}: {outcomes:?}"));
        let list = self.vips.virtual_ips(binder).unwrap();
        self.check(list.is_empty(), || format!("{context}: unbinding leaves {list:?}"));
        self.check_state(&context);
    }

    /// Compares addresses and routes with those before the test.
    pub(super) fn check_state(&mut self, context: &str) {
        let now = state(self.lab);
        if now != self.before {
            let changed: Vec<_> = now.symmetric_difference(&self.before).collect();
            panic!("{context}: it leaves {changed:?}; before that {:#?}", self.faults);
        }
    }

    /// Adds with `ip` a virtual IP that the library refuses.
    fn refused_unsent(&mut self, asked: &Asked, vip: Vip, error: &Error) {
        let Cause::InvalidInput(problem) = error.cause() else { panic!("{error}") };
        if let Asked::Dummy(name) = asked {
            dummy(self.lab, "add", name);
        }
        self.try_ip(asked, (vip.address(), vip.length()), problem);
        if let Asked::Dummy(name) = asked {
            assert!(dummy(self.lab, "delete", name));
        }
    }

    /// Adds with `ip` an address or route that the library refuses for this problem, and judges the outcome.
    pub(super) fn try_ip(&mut self, asked: &Asked, prefix: Prefix, problem: &str) {
        let done = asked.by_ip(self.lab, "add", prefix).is_some();
        let added: BTreeSet<_> = state(self.lab).difference(&self.before).cloned().collect();
        // 0.0.0.0/0 stands for all addresses, of which the first is none.
        let is_as_asked = is_local(&added, prefix) && (prefix.1 == 0 || is_delivered(self.lab, prefix.0));
        if done {
            asked.by_ip(self.lab, "delete", prefix);
            until("the state is as before", || state(self.lab) == self.before);
        }
        self.judge_refusal(asked.kind(), problem, done, is_as_asked);
    }

    /// Judges a refusal of the library by the outcome of `ip`.
    fn judge_refusal(&mut self, kind: &'static str, problem: &str, done: bool, is_as_asked: bool) {
        let row = EXCEPTIONS.iter().find(|row| problem.contains(row.problem));
        let count = self.count(kind);
        count.refused += 1;
        match (done, is_as_asked) {
            (false, _) => count.refused_by_ip += 1,
            (true, false) => count.otherwise_by_ip += 1,
            (true, true) => {
                count.excepted += 1;
                self.needed.extend(row.map(|row| row.problem));
                self.check(row.is_some(), || format!("{kind}: refused for no reason: {problem}"));
            }
        }
    }

    /// Adds with `ip` a dummy interface that the library refuses.
    pub(super) fn refused_interface(&mut self, name: &[u8], error: &InvalidName) {
        let done = dummy(self.lab, "add", name);
        let added: Vec<_> = interfaces(self.lab).difference(&self.interfaces).cloned().collect();
        for name in &added {
            assert!(dummy(self.lab, "delete", name));
        }
        self.judge_refusal("dummy", &error.to_string(), done, added == [name]);
    }

    /// Adds with `ip` an address with a label that the library refuses.
    pub(super) fn refused_label(&mut self, asked: &Asked, vip: Vip, error: &InvalidName) {
        let prefix = (vip.address(), vip.length());
        let done = asked.by_ip(self.lab, "add", prefix).is_some();
        let read = labels_and_protocols(self.lab).remove(&vip.address());
        if done {
            asked.by_ip(self.lab, "delete", prefix).unwrap();
        }
        self.check_state(&format!("{asked:?} refused"));
        let is_as_asked = read.is_some_and(|(label, _)| label == asked.label_and_protocol(vip).0);
        self.judge_refusal("label", &error.to_string(), done, is_as_asked);
    }

    /// Binds to an interface that is absent.
    pub(super) fn without_interface(&mut self, asked: &Asked, binder: &Binder, vip: Vip) {
        let error = self.vips.bind(binder, vip).unwrap_err();
        self.check(error.reason() == Some(Reason::InterfaceNotFound), || format!("{asked:?}: {error}"));
        let done = asked.by_ip(self.lab, "add", (vip.address(), vip.length())).is_some();
        self.check(!done, || format!("{asked:?}: ip finds the interface"));
    }

    /// Synchronises the binder with random sets of these virtual IPs.
    pub(super) fn sync(&mut self, binder: &Binder, accepted: &[Vip], random: &mut Random) {
        let conflict: Vip = "192.0.2.1".parse().unwrap();
        for _ in 0..3 {
            let desired: BTreeSet<_> = accepted.iter().copied().filter(|_| random.percent(50)).collect();
            let had = listed(&mut self.vips, binder);
            let with_conflict = random.percent(50);
            let synced = self.vips.sync(binder, desired.iter().copied().chain(with_conflict.then_some(conflict)));
            let tally = match synced {
                Ok(tally) if !with_conflict => tally,
                Err(error) if with_conflict && error.interruption.is_none() => {
                    let failed: Vec<_> = error.failures.iter().map(|failure| failure.change).collect();
                    self.check(failed == [Change::Bind(*binder, conflict)], || format!("{binder}: {error}"));
                    error.done
                }
                other => panic!("{binder} {desired:?}: {other:?}"),
            };
            let expected = (desired.difference(&had).count(), had.difference(&desired).count());
            self.check((tally.bound, tally.unbound) == expected, || format!("{binder}: {tally:?}, not {expected:?}"));
            let read = listed(&mut self.vips, binder);
            self.check(read == desired, || format!("{binder}: sync of {desired:?} ends in {read:?}"));
            let now = state(self.lab);
            self.check(now.is_superset(&self.before), || format!("{binder}: sync removes something of others"));
            let mut missing = desired.iter().filter(|vip| !is_local(&now, (vip.address(), vip.length())));
            let missing = missing.next();
            self.check(missing.is_none(), || format!("{binder}: {missing:?} is not local"));
        }
        self.vips.clear(binder).unwrap();
        self.check_state(&format!("{binder} was cleared"));
        let left = interfaces(self.lab);
        self.check(left == self.interfaces, || format!("{binder} leaves {left:?}"));
    }

    pub(super) fn finish(mut self, what: &str) {
        for (kind, count) in &self.counts {
            println!("{what}, {kind}: {count:?}");
        }
        let rows = EXCEPTIONS.iter().filter(|row| row.shown_by == what).map(|row| row.problem);
        let not_needed: Vec<_> = rows.filter(|problem| !self.needed.contains(problem)).collect();
        self.check(not_needed.is_empty(), || format!("exceptions that nothing shows: {not_needed:?}"));
        assert!(self.faults.is_empty(), "{} faults: {:#?}", self.faults.len(), self.faults);
    }
}

/// Returns the address and the route that binding adds, as `ip` shows them.
pub(super) fn expected(asked: &Asked, vip: Vip) -> BTreeSet<Shown> {
    let (prefix, interface) = ((vip.address(), vip.length()), text(asked.interface()));
    let is_v4 = vip.address().is_ipv4();
    let route = |protocol| Shown::Route {
        class: LOCAL,
        destination: prefix,
        interface: interface.clone(),
        table: 255,
        protocol,
        scope: if is_v4 { 254 } else { 0 },
    };
    let label = match asked {
        Asked::Routes(protocol) => return [route(*protocol)].into(),
        Asked::Dummy(name) => name,
        Asked::Label(label, _) => label,
    };
    let (scope, rest) = match vip.address() {
        IpAddr::V4(_) => (0, text(label)),
        // As the kernel computes it: link, site, global.
        IpAddr::V6(address) => {
            let scope = match address.segments()[0] & 0xffc0 {
                0xfe80 => 253,
                0xfec0 => 200,
                _ => 0,
            };
            (scope, "nodad deprecated noprefixroute ".into())
        }
    };
    [Shown::Address { interface: interface.clone(), address: prefix, scope, rest }, route(2)].into()
}
