//! The endpoints of a Service's port, and those of them that a node uses.

use std::net::SocketAddr;

use lvs::Family;

use crate::model::{AddressType, Endpoint, EndpointSlice, Hint, Protocol, ServicePort};
use crate::node::Node;

/// The endpoints of a port, in the order of their addresses.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    /// For traffic that any endpoint may take.
    pub(super) cluster: Vec<SocketAddr>,
    /// For traffic that only endpoints of the node may take.
    pub(super) local: Vec<SocketAddr>,
    /// All endpoints of the node, whatever their condition.
    pub(super) own: Vec<SocketAddr>,
    /// The ready endpoints of the node.
    pub(super) own_ready: Vec<SocketAddr>,
}

struct Candidate<'a> {
    address: SocketAddr,
    endpoint: &'a Endpoint,
    local: bool,
}

/// The endpoints that a node uses if some are not for everyone.
enum Topology<'a> {
    All,
    Node(&'a str),
    Zone(&'a str),
}

impl Endpoints {
    /// Finds the endpoints of a port among the slices of its Service.
    pub(super) fn of<'a>(
        slices: impl Iterator<Item = &'a EndpointSlice>,
        family: Family,
        port: &ServicePort,
        node: &Node,
    ) -> Self {
        let candidates = candidates(slices, family, port, node);
        let topology = Topology::of(&candidates, node);
        let ready = |candidate: &Candidate<'_>| candidate.endpoint.is_ready();
        let ending = |candidate: &Candidate<'_>| candidate.endpoint.is_serving() && candidate.endpoint.is_terminating();
        let choose = |of: &dyn Fn(&Candidate<'_>) -> bool| -> Vec<_> {
            candidates.iter().filter(|candidate| of(candidate)).map(|candidate| candidate.address).collect()
        };
        let else_ending = |chosen: Vec<SocketAddr>, scope: &dyn Fn(&Candidate<'_>) -> bool| {
            if chosen.is_empty() { choose(&|candidate| ending(candidate) && scope(candidate)) } else { chosen }
        };
        let own_ready = choose(&|candidate| candidate.local && ready(candidate));
        Self {
            cluster: else_ending(choose(&|candidate| ready(candidate) && topology.allows(candidate)), &|_| true),
            local: else_ending(own_ready.clone(), &|candidate| candidate.local),
            own: choose(&|candidate| candidate.local),
            own_ready,
        }
    }
}

/// One candidate for each address: an endpoint can be in two slices while it moves.
fn candidates<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    family: Family,
    port: &ServicePort,
    node: &Node,
) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for slice in slices.filter(|slice| family_of(slice) == Some(family)) {
        // Named ports of pods have another number in each slice.
        let numbers = slice.ports.iter().filter(|of| {
            let protocol = of.protocol.as_ref().unwrap_or(&Protocol::Tcp);
            of.name.as_ref() == Some(&port.name) && protocol == port.protocol.as_ref().unwrap_or(&Protocol::Tcp)
        });
        for number in numbers.filter_map(|of| of.port).filter(|number| *number != 0) {
            candidates.reserve(slice.endpoints.len());
            candidates.extend(slice.endpoints.iter().filter_map(|endpoint| {
                let address = endpoint.address.filter(|address| Family::of(*address) == family)?;
                let local = endpoint.node_name.as_deref() == Some(&*node.name);
                Some(Candidate { address: (address, number).into(), endpoint, local })
            }));
        }
    }
    let order = |of: &Candidate<'_>| (of.address, of.endpoint.is_terminating(), !of.endpoint.is_ready(), !of.local);
    candidates.sort_unstable_by_key(order);
    candidates.dedup_by_key(|candidate| candidate.address);
    candidates
}

/// The family of the addresses of a slice; none for names and unknown types.
pub(super) fn family_of(slice: &EndpointSlice) -> Option<Family> {
    match slice.address_type {
        Some(AddressType::Ipv4) => Some(Family::Inet),
        Some(AddressType::Ipv6) => Some(Family::Inet6),
        _ => None,
    }
}

impl<'a> Topology<'a> {
    /// Hints count if every ready endpoint has one, and one of them names this node or its zone.
    fn of(candidates: &[Candidate<'_>], node: &'a Node) -> Self {
        let (mut all, mut any) = ([true; 2], [false; 2]);
        let zone = node.zone.as_deref().unwrap_or_default();
        for candidate in candidates.iter().filter(|candidate| candidate.endpoint.is_ready()) {
            let Some(hints) = &candidate.endpoint.hints else { return Self::All };
            for (place, (hints, name)) in
                [(&hints.for_nodes, &*node.name), (&hints.for_zones, zone)].into_iter().enumerate()
            {
                if let (Some(all), Some(any)) = (all.get_mut(place), any.get_mut(place)) {
                    *all &= !hints.is_empty();
                    *any |= has(hints, name);
                }
            }
        }
        match (all, any) {
            ([true, _], [true, _]) => Self::Node(&node.name),
            ([_, true], [_, true]) if !zone.is_empty() => Self::Zone(zone),
            _ => Self::All,
        }
    }

    fn allows(&self, candidate: &Candidate<'_>) -> bool {
        let hints = candidate.endpoint.hints.as_ref();
        match self {
            Self::All => true,
            Self::Node(name) => hints.is_some_and(|hints| has(&hints.for_nodes, name)),
            Self::Zone(name) => hints.is_some_and(|hints| has(&hints.for_zones, name)),
        }
    }
}

fn has(hints: &[Hint], name: &str) -> bool {
    hints.iter().any(|hint| &*hint.name == name)
}
