//! One Service: its keys, their endpoints and their sets.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs::director::InvalidDesired;
use lvs::ipset::Network;
use lvs::ipvs::{Destination, Persistence, Scheduler, Service as Virtual, ServiceFlags, ServiceKey};
use lvs::{Family, Protocol};

use super::endpoints::{Choice, Endpoints, family_of};
use super::sets::Access;
use super::{HealthPort, Level, Translator};
use crate::model::{
    EndpointSlice, IpMode, ObjectName, Protocol as PortProtocol, Service, ServicePort, ServiceType, SessionAffinity,
    TrafficPolicy,
};
use crate::node::contains;
use crate::objects::Slices;

/// The API's default of `timeoutSeconds`.
const AFFINITY: Duration = Duration::from_secs(10800);

/// Properties that all keys of a Service have in common.
struct Common<'a> {
    name: &'a ObjectName,
    service: &'a Service,
    scheduler: Scheduler,
    persistence: Option<Persistence>,
    /// Whether only endpoints of the node take traffic: at cluster IPs, and at other addresses.
    local: [bool; 2],
    /// Whether the Service can be reached from outside of the cluster.
    outside: bool,
    slices: Vec<&'a EndpointSlice>,
    /// Addresses of ready endpoints of the node.
    ready: BTreeSet<IpAddr>,
    /// Whether traffic for endpoints of the node finds none: at other addresses, and at cluster IPs.
    without_local: [bool; 2],
}

/// A port of a Service in one family.
struct Port<'a> {
    family: Family,
    port: &'a ServicePort,
    protocol: Protocol,
    endpoints: Endpoints<'a>,
    /// The endpoints of cluster IPs, and of other addresses.
    inner: Choice,
    outer: Choice,
}

impl<'a> Translator<'a> {
    /// Adds a Service.
    pub(super) fn service(&mut self, name: &'a ObjectName, service: &'a Service, slices: Slices<'a>) {
        let mut common = self.common(name, service, slices);
        let cluster_ips = self.cluster_ips(name, service);
        let mut outer = Vec::new();
        for text in service.spec.external_ips.iter().filter(|_| self.node.external_ips) {
            match text.parse() {
                Ok(address) => outer.push(address),
                Err(_) => self.conflict(name, format_args!("external IP {text:?} is not an address")),
            }
        }
        let balanced = self.balanced(name, service);
        for family in [Family::Inet, Family::Inet6] {
            let Some(cluster_ip) = cluster_ips.iter().copied().find(|address| Family::of(*address) == family) else {
                continue;
            };
            let sources = self.sources(name, service, family, &balanced);
            for port in &service.spec.ports {
                let Some(port) = self.port(&mut common, family, port) else { continue };
                self.claim(&common, &port, (cluster_ip, port.port.port).into(), Access::Cluster, true);
                for address in of_family(&outer, family) {
                    self.claim(&common, &port, (address, port.port.port).into(), common.access(), true);
                }
                for address in of_family(&balanced, family) {
                    let address = (address, port.port.port).into();
                    if self.claim(&common, &port, address, common.access(), true) {
                        self.firewall(&port, address, sources.as_deref());
                    }
                }
                self.node_port(&common, &port);
            }
        }
        self.health(&common);
        for (count, without) in self.result.without_local.iter_mut().zip(common.without_local) {
            *count += usize::from(without);
        }
    }

    fn common(&mut self, name: &'a ObjectName, service: &'a Service, slices: Slices<'a>) -> Common<'a> {
        let spec = &service.spec;
        if let Some(ServiceType::Unknown(text)) = &spec.kind {
            self.conflict(name, format_args!("type {text:?} is unknown: served as ClusterIP"));
        }
        let mut is_local = |policy: &Option<TrafficPolicy>, what: &str| match policy {
            Some(TrafficPolicy::Unknown(text)) => {
                self.conflict(name, format_args!("{what}TrafficPolicy {text:?} is unknown: served as Cluster"));
                false
            }
            policy => *policy == Some(TrafficPolicy::Local),
        };
        let inner = is_local(&spec.internal_traffic_policy, "internal");
        let outer = is_local(&spec.external_traffic_policy, "external");
        let outside = match &spec.kind {
            Some(ServiceType::NodePort | ServiceType::LoadBalancer) => true,
            _ => !spec.external_ips.is_empty(),
        };
        // Slices of headless Services have the same label.
        let usable = |slice: &&EndpointSlice| !slice.metadata.labels.headless && !slice.metadata.labels.other_proxy;
        let slices: Vec<_> = slices.iter().filter(usable).collect();
        self.used += slices.iter().filter(|slice| family_of(slice).is_some()).count();
        self.check_addresses(name, &slices);
        Common {
            name,
            service,
            scheduler: self.scheduler(name, service),
            persistence: self.persistence(name, service),
            local: [inner, outer && outside],
            outside,
            slices,
            ready: BTreeSet::new(),
            without_local: [false; 2],
        }
    }

    fn check_addresses(&mut self, name: &ObjectName, slices: &[&EndpointSlice]) {
        for slice in slices {
            let Some(family) = family_of(slice) else { continue };
            let wrong = slice.endpoints.iter().filter(|of| of.address.map(Family::of) != Some(family)).count();
            if wrong > 0 {
                let slice = slice.metadata.object_name();
                self.conflict(name, format_args!("slice {slice}: {wrong} endpoints without an address of its type"));
            }
        }
    }

    fn scheduler(&mut self, name: &ObjectName, service: &Service) -> Scheduler {
        let otherwise = self.node.scheduler;
        let Some(text) = &service.metadata.annotations.scheduler else { return otherwise };
        let known = Scheduler::new(text.trim()).ok().filter(|scheduler| Scheduler::ALL.contains(scheduler));
        known.unwrap_or_else(|| {
            self.conflict(name, format_args!("scheduler {text:?} is unknown: {otherwise} is used"));
            otherwise
        })
    }

    fn persistence(&mut self, name: &ObjectName, service: &Service) -> Option<Persistence> {
        match &service.spec.session_affinity {
            Some(SessionAffinity::ClientIp) => {
                let seconds = service.spec.session_affinity_config.client_ip.timeout_seconds.map(u64::from);
                let timeout = seconds.map_or(AFFINITY, Duration::from_secs);
                Some(Persistence::new(timeout.clamp(Duration::from_secs(1), Persistence::LONGEST)))
            }
            Some(SessionAffinity::Unknown(text)) => {
                self.conflict(name, format_args!("sessionAffinity {text:?} is unknown: served as None"));
                None
            }
            Some(SessionAffinity::None) | None => None,
        }
    }

    /// The addresses in the cluster; a single one where the plural is absent.
    fn cluster_ips(&mut self, name: &ObjectName, service: &Service) -> Vec<IpAddr> {
        let spec = &service.spec;
        let texts = if spec.cluster_ips.is_empty() { spec.cluster_ip.as_slice() } else { &spec.cluster_ips };
        let mut addresses = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.conflict(name, format_args!("cluster IP {text:?} is not an address")),
            }
        }
        addresses
    }

    /// The addresses of load balancers whose packets arrive with them.
    fn balanced(&mut self, name: &ObjectName, service: &Service) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for ingress in &service.status.load_balancer.ingress {
            match (&ingress.ip_mode, &ingress.ip) {
                (Some(IpMode::Unknown(mode)), Some(ip)) => {
                    self.conflict(name, format_args!("ipMode {mode:?} of {ip} is unknown: the address is not served"));
                }
                (None | Some(IpMode::Vip), Some(ip)) => match ip.parse() {
                    Ok(address) => addresses.push(address),
                    Err(_) => self.conflict(name, format_args!("load balancer {ip:?} is not an address")),
                },
                (Some(IpMode::Proxy), _) | (_, None) => {}
            }
        }
        addresses
    }

    /// The networks that may reach the addresses of load balancers; none if everyone may.
    fn sources(
        &mut self,
        name: &ObjectName,
        service: &Service,
        family: Family,
        balanced: &[IpAddr],
    ) -> Option<Vec<Network>> {
        let ranges = &service.spec.load_balancer_source_ranges;
        if ranges.is_empty() || of_family(balanced, family).next().is_none() {
            return None;
        }
        let (mut sources, mut invalid) = (Vec::new(), false);
        for text in ranges {
            match text.trim().parse::<Network>() {
                Ok(network) if Family::of(network.address()) == family => sources.push(network),
                Ok(_) => {}
                Err(_) => {
                    invalid = true;
                    self.conflict(name, format_args!("source range {text:?} is not a network: it allows nothing"));
                }
            }
        }
        if sources.is_empty() && !invalid {
            let family = if family == Family::Inet { "IPv4" } else { "IPv6" };
            let text = format_args!("no source range is of {family}: its load balancer addresses are open to all");
            self.note(name, Level::Warning, text);
            return None;
        }
        let open = sources.iter().any(|network| network.prefix() == 0);
        (!open).then_some(sources)
    }

    fn port(&mut self, common: &mut Common<'a>, family: Family, port: &'a ServicePort) -> Option<Port<'a>> {
        let protocol = match &port.protocol {
            None | Some(PortProtocol::Tcp) => Protocol::TCP,
            Some(PortProtocol::Udp) => Protocol::UDP,
            Some(PortProtocol::Sctp) => Protocol::SCTP,
            Some(PortProtocol::Unknown(text)) => {
                self.conflict(common.name, format_args!("port {}: protocol {text:?} is unknown", port.port));
                return None;
            }
        };
        if port.port == 0 {
            self.conflict(common.name, format_args!("port {:?} has no number", port.name));
            return None;
        }
        let endpoints = Endpoints::of(&common.slices, family, port, self.node);
        for address in endpoints.addresses(Choice::OWN) {
            self.sets.loopback((address, protocol));
        }
        common.ready.extend(endpoints.addresses(Choice::OWN_READY).map(|address| address.ip()));
        let (cluster, own) = (endpoints.cluster(), endpoints.local());
        let [inner, outer] = common.local;
        if (inner || outer) && !endpoints.has(own) && endpoints.has(cluster) {
            common.without_local[0] |= outer;
            common.without_local[1] |= inner;
        }
        // As kube-proxy in IPVS mode: all endpoints replace the missing ones of the node.
        let fallback = self.node.local_fallback && common.outside && !endpoints.has(own);
        let [inner, outer] = common.local.map(|local| if local && !fallback { own } else { cluster });
        Some(Port { family, port, protocol, endpoints, inner, outer })
    }

    /// Adds a key of the Service unless another one has it, and binds its address if it is a virtual IP. Returns whether the key is
    /// one of the Service.
    fn claim(&mut self, common: &Common<'a>, port: &Port<'_>, address: SocketAddr, access: Access, bind: bool) -> bool {
        let key = ServiceKey::Address { protocol: port.protocol, address };
        if let Some(owner) = self.claims.insert(key, common.name) {
            if owner != common.name {
                self.claims.insert(key, owner);
                self.conflict(common.name, format_args!("{key} belongs to the older Service {owner}"));
            }
            return owner == common.name;
        }
        let choice = if access == Access::Cluster { port.inner } else { port.outer };
        let local = self.node.is_local(address.ip());
        let bound = bind && !local;
        let mut service = Virtual::new(key, common.scheduler);
        if common.scheduler == Scheduler::MH {
            // As kube-proxy: otherwise all connections of a client go to one endpoint.
            service.flags |= ServiceFlags::PORT;
        }
        service.persistence = common.persistence;
        if let Err(error) = self.desire(service, || port.endpoints.destinations(choice), bound) {
            for mistake in error.mistakes() {
                self.conflict(common.name, mistake);
            }
            self.claims.remove(&key);
            return false;
        }
        if bind && local && self.noted_local.insert((common.name, address.ip())) {
            let ip = address.ip();
            self.conflict(common.name, format_args!("{ip} is an address of another interface: it is not bound"));
        }
        self.sets.key((address, port.protocol), access, bound);
        true
    }

    /// Adds a service to the desired state, without the destinations that the kernel would refuse.
    fn desire(
        &mut self,
        service: Virtual,
        destinations: impl Fn() -> Vec<Destination>,
        bind: bool,
    ) -> Result<(), InvalidDesired> {
        let desired = &mut self.result.desired;
        if desired.service(service, destinations()).map(|wanted| wanted.bind = bind).is_ok() {
            return Ok(());
        }
        let mut to = destinations();
        to.sort_unstable_by_key(|to| to.address);
        to.dedup_by_key(|to| to.address);
        to.retain(|to| to.check(&service.key).is_ok());
        desired.service(service, to).map(|wanted| wanted.bind = bind)
    }

    fn firewall(&mut self, port: &Port<'_>, address: SocketAddr, sources: Option<&[Network]>) {
        let Some(sources) = sources else { return };
        let mut sources = sources.to_vec();
        // A node that is allowed reaches the address from the address itself.
        let mut own = self.node.addresses_of(port.family);
        if own.any(|own| sources.iter().any(|network| contains(*network, own))) {
            sources.extend(Network::new(address.ip(), if address.is_ipv4() { 32 } else { 128 }));
        }
        self.sets.firewall((address, port.protocol), &sources);
    }

    fn node_port(&mut self, common: &Common<'a>, port: &Port<'_>) {
        let Some(number) = port.port.node_port.filter(|number| *number != 0) else { return };
        if self.node.addresses.is_empty() {
            let text = format_args!("node port {number} is not served: no address of the node is known");
            self.note(common.name, Level::Warning, text);
        }
        let addresses: Vec<_> = self.node.addresses_of(port.family).collect();
        for address in addresses {
            self.claim(common, port, (address, number).into(), common.access(), false);
        }
    }

    fn health(&mut self, common: &Common<'_>) {
        let spec = &common.service.spec;
        let balanced = spec.kind == Some(ServiceType::LoadBalancer) && common.local[1];
        if let Some(port) = spec.health_check_node_port.filter(|port| balanced && *port != 0) {
            let [inet, inet6] = [Family::Inet, Family::Inet6]
                .map(|family| common.ready.iter().filter(|address| Family::of(**address) == family).count());
            self.result.health.push(HealthPort { port, service: common.name.clone(), local: inet.max(inet6) });
        }
    }
}

impl Common<'_> {
    /// The set of the keys outside of the cluster.
    fn access(&self) -> Access {
        if self.local[1] { Access::Local } else { Access::External }
    }
}

fn of_family(addresses: &[IpAddr], family: Family) -> impl Iterator<Item = IpAddr> {
    addresses.iter().copied().filter(move |address| Family::of(*address) == family)
}
