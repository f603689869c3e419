//! The desired state of a node for the objects of a cluster.
//!
//! [`translate`] is a pure function: equal arguments give equal results.

mod endpoints;
mod service;
mod sets;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

use lvs::director::Desired;
use lvs::ipvs::ServiceKey;
use serde::Serialize;

use crate::model::{AddressType, ObjectName, Service, ServiceType};
use crate::node::Node;
use crate::objects::{Objects, Slices};
use sets::Sets;

/// The result of [`translate`].
#[derive(Debug, Default)]
pub struct Translation {
    /// The desired state.
    pub desired: Desired,
    /// The health checks of load balancers that the node must answer, in the order of their Services.
    pub health: Vec<HealthPort>,
    /// Parts of Services that are not served as asked, in the order of the Services.
    pub notes: Vec<Note>,
    /// Ignored objects: the reason, and their number.
    pub ignored: BTreeMap<String, usize>,
    /// Number of Services with a traffic policy `Local` and no endpoint on this node: external, then internal policies.
    pub without_local: [usize; 2],
}

/// A health check of a load balancer.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct HealthPort {
    /// `healthCheckNodePort`.
    pub port: u16,
    /// The Service.
    pub service: ObjectName,
    /// Number of ready endpoints on this node; of a Service with two families, of the one with more.
    pub local: usize,
}

/// A part of a Service that is not served as asked.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Note {
    /// The Service.
    pub service: ObjectName,
    /// Its importance.
    pub level: Level,
    /// The reason.
    pub text: String,
}

/// Importance of a [`Note`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A part is not served.
    Conflict,
    /// A part is served, with a consequence that the user may not expect.
    Warning,
}

impl fmt::Display for HealthPort {
    /// `health 32000 shop/web: 2 local`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "health {} {}: {} local", self.port, self.service, self.local)
    }
}

impl fmt::Display for Note {
    /// `conflict shop/web: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Conflict => "conflict",
            Level::Warning => "warning",
        };
        write!(f, "{level} {}: {}", self.service, self.text)
    }
}

/// Finds the desired state of a node.
pub fn translate(objects: &Objects, node: &Node) -> Translation {
    let mut work = Translator {
        objects,
        node,
        result: Translation::default(),
        sets: Sets::of(objects.services().len()),
        claims: HashMap::with_capacity(objects.services().len()),
        used: 0,
        noted_local: BTreeSet::new(),
    };
    work.result.desired.drain = node.drain;
    for (name, service, slices) in by_age(objects) {
        match skipped(service) {
            Some(reason) => work.ignore(reason, 1),
            None => work.service(name, service, slices),
        }
    }
    work.slices();
    work.finish()
}

/// The Services from the oldest to the youngest: the older one of two has a key that both want.
fn by_age(objects: &Objects) -> Vec<(&ObjectName, &Service, Slices<'_>)> {
    let mut services: Vec<_> = objects.services_with_slices().collect();
    // A Service without a time is the youngest.
    services.sort_by_key(|(_, service, _)| {
        let time = service.metadata.creation_timestamp;
        (time.is_none(), time)
    });
    services
}

/// The reason for which a Service needs nothing.
fn skipped(service: &Service) -> Option<&'static str> {
    let labels = &service.metadata.labels;
    let no_address = matches!(service.spec.cluster_ip.as_deref(), None | Some("" | "None"));
    match () {
        () if labels.other_proxy => Some("Services of another proxy"),
        () if labels.headless => Some("headless Services"),
        () if service.spec.kind == Some(ServiceType::ExternalName) => Some("Services of type ExternalName"),
        () if no_address => Some("headless Services"),
        () => None,
    }
}

/// A translation in progress.
struct Translator<'a> {
    objects: &'a Objects,
    node: &'a Node,
    result: Translation,
    sets: Sets,
    /// The Service that has each key.
    claims: HashMap<ServiceKey, &'a ObjectName>,
    /// Number of slices of all Services.
    used: usize,
    /// Addresses that are not bound, each noted once.
    noted_local: BTreeSet<(&'a ObjectName, IpAddr)>,
}

impl<'a> Translator<'a> {
    fn note(&mut self, service: &ObjectName, level: Level, text: impl fmt::Display) {
        self.result.notes.push(Note { service: service.clone(), level, text: text.to_string() });
    }

    fn conflict(&mut self, service: &ObjectName, text: impl fmt::Display) {
        self.note(service, Level::Conflict, text);
    }

    fn ignore(&mut self, reason: impl Into<String>, count: usize) {
        *self.result.ignored.entry(reason.into()).or_default() += count;
    }

    /// Counts the slices that no Service uses.
    fn slices(&mut self) {
        let all_used = self.used == self.objects.slice_count();
        for (service, slice) in self.objects.slices().filter(|_| !all_used) {
            let labels = &slice.metadata.labels;
            let reason = match &slice.address_type {
                _ if service.name.is_empty() => "slices without a Service",
                _ if labels.headless => "slices of headless Services",
                _ if labels.other_proxy => "slices of another proxy",
                Some(AddressType::Fqdn) => "slices of domain names",
                Some(AddressType::Ipv4 | AddressType::Ipv6) if self.objects.service(service).is_some() => continue,
                Some(AddressType::Ipv4 | AddressType::Ipv6) => "slices of absent Services",
                None | Some(AddressType::Unknown(_)) => "slices of unknown address types",
            };
            self.ignore(reason, 1);
        }
        for (kind, count) in self.objects.ignored() {
            self.ignore(format!("objects of kind {kind}"), count);
        }
    }

    fn finish(self) -> Translation {
        let Self { mut result, sets, .. } = self;
        if let Err(error) = sets.add_to(&mut result.desired) {
            let text = format!("a set cannot be filled: {error}");
            result.notes.push(Note { service: ObjectName::default(), level: Level::Conflict, text });
        }
        result.notes.sort();
        result.notes.dedup();
        result.health.sort_by(|one, other| (&one.service, one.port).cmp(&(&other.service, other.port)));
        result
    }
}
