//! Steps of a plan.

use std::fmt;
use std::net::SocketAddr;

use crate::ipset::{self, AnyType, Member, NewSet, SetName};
use crate::ipvs::{self, Destination, Netmask, Persistence, Service, ServiceKey};
use crate::vip;

/// One change of a plan, with its phase and the values that it changes.
///
/// Its text begins with `+` for an added object, `~` for a changed one, and `-` for a deleted one:
/// `~ destination 10.244.1.7:6443 of service 10.96.0.10:443/tcp: weight 1 -> 0`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The phase in which it is carried out.
    pub phase: Phase,
    /// The change.
    pub change: Change,
    /// The values that it changes; `None` if it changes none.
    pub before: Option<Box<Before>>,
    /// Services of which at least one must be complete, with a destination if it has any. Otherwise the step is
    /// withheld. Empty if the step needs no service.
    pub needs: Vec<ServiceKey>,
}

/// The phases in which a plan is carried out, in this order.
///
/// A virtual IP without its service refuses connections, and so does a service without a destination of weight above 0.
/// Therefore a service is complete before its address is bound, and objects are added before others are deleted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Phase {
    /// Sets of [`Role::Allow`](super::Role::Allow) are created and filled, keys are registered.
    Fill,
    /// Services are added and changed. Their destinations are added in a later phase, since another program may have
    /// added a service with the same key.
    Add,
    /// Destinations are added, weights are increased.
    Grow,
    /// Sets of [`Role::Guard`](super::Role::Guard) are created and filled.
    Guard,
    /// Virtual IPs of complete services are bound.
    Bind,
    /// Weights are decreased; weight 0 begins a drain.
    Shrink,
    /// Destinations whose drain is over are deleted.
    Reap,
    /// Stale flows are deleted from the connection tracker: those that it translates to no destination of their UDP
    /// service. See [`conntrack`](crate::conntrack).
    Track,
    /// Virtual IPs that no service needs are unbound. With [`Owner::bound`](super::Owner::bound) this is part of
    /// [`Phase::Clean`].
    Unbind,
    /// Services that are no longer desired are deleted.
    Delete,
    /// Keys and members of deleted services are deleted, sets are destroyed. [`Owner::bound`](super::Owner::bound)
    /// identifies services by their virtual IPs, and unbinds them here.
    Clean,
}

/// The steps of each phase.
#[derive(Default)]
pub(super) struct Phases {
    pub(super) fill: Vec<Step>,
    pub(super) add: Vec<Step>,
    pub(super) grow: Vec<Step>,
    pub(super) guard: Vec<Step>,
    pub(super) bind: Vec<Step>,
    pub(super) shrink: Vec<Step>,
    pub(super) reap: Vec<Step>,
    pub(super) track: Vec<Step>,
    pub(super) unbind: Vec<Step>,
    pub(super) delete: Vec<Step>,
    pub(super) clean: Vec<Step>,
}

impl Phases {
    pub(super) fn of(&mut self, phase: Phase) -> &mut Vec<Step> {
        match phase {
            Phase::Fill => &mut self.fill,
            Phase::Add => &mut self.add,
            Phase::Grow => &mut self.grow,
            Phase::Guard => &mut self.guard,
            Phase::Bind => &mut self.bind,
            Phase::Shrink => &mut self.shrink,
            Phase::Reap => &mut self.reap,
            Phase::Track => &mut self.track,
            Phase::Unbind => &mut self.unbind,
            Phase::Delete => &mut self.delete,
            Phase::Clean => &mut self.clean,
        }
    }

    pub(super) fn in_order(self) -> [Vec<Step>; 11] {
        let Self { fill, add, grow, guard, bind, shrink, reap, track, unbind, delete, clean } = self;
        [fill, add, grow, guard, bind, shrink, reap, track, unbind, delete, clean]
    }
}

/// A change of IPVS, of a set, or of a virtual IP.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Adds the key of a service to the sets of [`Owner::registered`](super::Owner::registered).
    Register(ServiceKey),
    /// Deletes the key from those sets.
    Unregister(ServiceKey),
    /// Changes a service or a destination.
    Ipvs(ipvs::Change),
    /// Binds or unbinds a virtual IP.
    Vip(vip::Change),
    /// Changes a set or a member.
    Ipset(Box<ipset::Change>),
    /// Deletes the UDP flows to this service address whose replies come from an address outside of the list.
    DeleteFlows(SocketAddr, Vec<SocketAddr>),
    /// Replaces the set with this name by another one: see [`Ipset::replace`](ipset::Ipset::replace).
    ReplaceSet(SetName, Box<NewSet<AnyType>>, Vec<Member<AnyType>>),
}

/// Values before a change.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Before {
    /// The service.
    Service(Service),
    /// The destination.
    Destination(Destination),
}

impl Change {
    /// `+`, `~` or `-`.
    fn sign(&self) -> char {
        use ipset::Change as Set;
        use ipvs::Change as Ipvs;
        match self {
            Self::Unregister(_)
            | Self::DeleteFlows(..)
            | Self::Vip(vip::Change::Unbind(..))
            | Self::Ipvs(Ipvs::DeleteService(_) | Ipvs::DeleteDestination(..) | Ipvs::Clear) => '-',
            Self::Ipset(change) => match **change {
                Set::Destroy(_)
                | Set::RemoveSet(_)
                | Set::DestroyAll
                | Set::Clear(_)
                | Set::ClearAll
                | Set::Delete(..)
                | Set::Remove(..) => '-',
                _ => '+',
            },
            Self::Ipvs(Ipvs::SetService(_) | Ipvs::SetDestination(..)) | Self::ReplaceSet(..) => '~',
            _ => '+',
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(key) => write!(f, "register service {key}"),
            Self::Unregister(key) => write!(f, "unregister service {key}"),
            Self::Ipvs(change) => change.fmt(f),
            Self::Vip(change) => change.fmt(f),
            Self::Ipset(change) => change.fmt(f),
            Self::DeleteFlows(service, _) => write!(f, "delete stale UDP flows to {service}"),
            Self::ReplaceSet(name, new, members) => {
                write!(f, "replace set {name} by {new} with {} members", members.len())
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.change.sign())?;
        match &self.change {
            Change::Register(key) => write!(f, "key {key}"),
            Change::Unregister(key) => write!(f, "key {key}"),
            Change::Ipvs(ipvs::Change::AddService(service)) => write!(f, "service {service}"),
            Change::Ipvs(ipvs::Change::SetService(service)) => {
                write!(f, "service {}:", service.key)?;
                match self.before.as_deref() {
                    Some(Before::Service(before)) => differences(f, &service_values(before), &service_values(service)),
                    _ => write!(f, " {service}"),
                }
            }
            Change::Ipvs(ipvs::Change::DeleteService(key)) => write!(f, "service {key}"),
            Change::Ipvs(ipvs::Change::AddDestination(key, destination)) => {
                write!(f, "destination {destination} of service {key}")
            }
            Change::Ipvs(ipvs::Change::SetDestination(key, destination)) => {
                write!(f, "destination {} of service {key}:", destination.address)?;
                match self.before.as_deref() {
                    Some(Before::Destination(before)) => {
                        differences(f, &destination_values(before), &destination_values(destination))
                    }
                    _ => write!(f, " {destination}"),
                }
            }
            Change::Ipvs(ipvs::Change::DeleteDestination(key, address)) => {
                write!(f, "destination {address} of service {key}")
            }
            Change::Vip(vip::Change::Bind(binder, vip)) => write!(f, "virtual IP {vip} on {binder}"),
            Change::Vip(vip::Change::Unbind(binder, vip)) => write!(f, "virtual IP {vip} on {binder}"),
            Change::Ipset(change) => match &**change {
                ipset::Change::Create(name, new) | ipset::Change::PutSet(name, new) => write!(f, "set {name} {new}"),
                ipset::Change::Destroy(name) | ipset::Change::RemoveSet(name) => write!(f, "set {name}"),
                ipset::Change::Put(set, member) | ipset::Change::Remove(set, member) => {
                    write!(f, "member {member} of set {set}")
                }
                change => change.fmt(f),
            },
            Change::DeleteFlows(service, _) => write!(f, "stale UDP flows to {service}"),
            Change::ReplaceSet(name, new, members) => {
                write!(f, "set {name}: replaced by {new} with {} members", members.len())
            }
            Change::Ipvs(change) => change.fmt(f),
        }
    }
}

type Value = (&'static str, String);

fn service_values(service: &Service) -> [Value; 4] {
    let persistence = service.persistence.map_or("none".to_owned(), |Persistence { timeout, netmask }| {
        let timeout = timeout.as_secs();
        if netmask == Netmask::HOST { timeout.to_string() } else { format!("{timeout} mask {netmask}") }
    });
    let engine = service.engine.map_or("none".to_owned(), |engine| engine.to_string());
    let flags = if service.flags.is_empty() { "none".to_owned() } else { service.flags.to_string() };
    [("scheduler", service.scheduler.to_string()), ("persistent", persistence), ("pe", engine), ("flags", flags)]
}

fn destination_values(destination: &Destination) -> [Value; 3] {
    let thresholds = destination.thresholds.map_or("none".to_owned(), |thresholds| match thresholds.lower {
        Some(lower) => format!("upper {} lower {lower}", thresholds.upper),
        None => format!("upper {}", thresholds.upper),
    });
    [
        ("weight", destination.weight.to_string()),
        ("forwarding", destination.forwarding.to_string()),
        ("thresholds", thresholds),
    ]
}

fn differences(f: &mut fmt::Formatter<'_>, before: &[Value], after: &[Value]) -> fmt::Result {
    let changed = before.iter().zip(after).filter(|(before, after)| before != after);
    for (index, ((name, before), (_, after))) in changed.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(f, "{comma} {name} {before} -> {after}")?;
    }
    Ok(())
}

#[cfg(feature = "serde")]
impl serde::Serialize for Step {
    /// The phase and the text.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut step = serializer.serialize_struct("Step", 2)?;
        step.serialize_field("phase", &self.phase)?;
        step.serialize_field("text", &self.to_string())?;
        step.end()
    }
}
