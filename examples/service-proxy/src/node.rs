//! The node that the program runs on, and how it translates Services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lvs::director::{Drain, Owner, Ranges};
use lvs::ipset::{Network, SetName};
use lvs::ipvs::Scheduler;
use lvs::vip::{Binder, Vip};
use lvs::{Family, InvalidName};

use crate::model;

/// Name of the sets with the keys of this program's services: `lvs-keys-4`, `lvs-keys-6`.
const REGISTRY: &str = "lvs-keys";

/// The node, and the choices of its administrator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Name of the Node object: endpoints with this name are local.
    pub name: String,
    /// Zone of the node, for topology hints.
    pub zone: Option<String>,
    /// Addresses at which node ports are served.
    pub addresses: Vec<IpAddr>,
    /// Networks of cluster IPs: every service in them belongs to this program.
    pub vip_networks: Vec<Network>,
    /// Networks of the pods of this node, whose packets to cluster IPs keep their source.
    pub pod_networks: Vec<Network>,
    /// Addresses of other interfaces: never bound, and not guarded.
    pub local: BTreeSet<IpAddr>,
    /// Name of the dummy interface of virtual IPs.
    pub device: String,
    /// Whether `spec.externalIPs` of Services is served.
    pub external_ips: bool,
    /// Whether a traffic policy `Local` without local endpoints means all endpoints, as it does for kube-proxy in IPVS mode.
    pub local_fallback: bool,
    /// The scheduler of Services without an annotation.
    pub scheduler: Scheduler,
    /// How endpoints end.
    pub drain: Drain,
}

impl Node {
    /// A node of this name, with the default choices and without addresses.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            zone: None,
            addresses: Vec::new(),
            vip_networks: Vec::new(),
            pod_networks: Vec::new(),
            local: BTreeSet::new(),
            device: "lvs-proxy0".to_owned(),
            external_ips: true,
            local_fallback: false,
            scheduler: Scheduler::RR,
            drain: Drain::default(),
        }
    }

    /// Takes zone, addresses and pod networks from the Node object where none were given.
    pub fn fill(&mut self, object: &model::Node) {
        if self.zone.is_none() {
            self.zone = object.metadata.labels.zone.as_deref().map(str::to_owned);
        }
        if self.addresses.is_empty() {
            let internal = object.status.addresses.iter().filter(|address| &*address.kind == "InternalIP");
            self.addresses = internal.filter_map(|address| address.address.parse().ok()).collect();
        }
        if self.pod_networks.is_empty() {
            self.pod_networks = object.spec.pod_cidrs.iter().filter_map(|text| text.parse().ok()).collect();
        }
    }

    /// Returns the owner of this program's services and sets.
    ///
    /// The registry sets of the director are sets of their own. The sets of the packet filter also have the key of each
    /// service, and are not used as the register: emptying such a set by hand would lose the services.
    ///
    /// # Errors
    /// None for this name.
    pub fn owner(&self) -> Result<Owner, InvalidName> {
        let networks = Ranges::networks(self.vip_networks.iter().copied());
        Ok(Owner::registered(REGISTRY)?.or_ranges(networks).sets("lvs4-").sets("lvs6-"))
    }

    /// The interface of virtual IPs.
    ///
    /// # Errors
    /// When an interface cannot have this name.
    pub fn binder(&self) -> Result<Binder, InvalidName> {
        Binder::dummy(&self.device)
    }

    /// Whether the address is one of the node's own, and so is not to be bound.
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.local.contains(&address)
    }

    /// The addresses of a family at which node ports are served.
    pub fn addresses_of(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied().filter(move |address| Family::of(*address) == family)
    }
}

/// Names of the sets with the keys of this program's services.
pub fn registry_sets() -> impl Iterator<Item = Result<SetName, InvalidName>> {
    ["4", "6", "mark"].into_iter().map(|suffix| SetName::new(format!("{REGISTRY}-{suffix}")))
}

/// Whether the address is in the network.
pub(crate) fn contains(network: Network, address: IpAddr) -> bool {
    Vip::prefix(network.address(), network.prefix()).is_ok_and(|prefix| prefix.contains(address.into()))
}
