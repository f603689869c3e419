//! The endpoints of a Service's port, and those of them that a node uses.

use std::net::SocketAddr;

use lvs::Family;
use lvs::ipvs::Destination;

use crate::model::{AddressType, Endpoint, EndpointSlice, Hint, Hints, Protocol, ServicePort};
use crate::node::Node;

/// The endpoints of a port.
#[derive(Debug)]
pub(super) struct Endpoints<'a> {
    candidates: Vec<Candidate<'a>>,
    /// Traits that some candidate has.
    traits: u8,
}

#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    address: SocketAddr,
    traits: u8,
    hints: Option<&'a Hints>,
}

/// Takes new connections.
const READY: u8 = 1;
/// Serves, and is about to end.
const ENDING: u8 = 2;
/// Runs on the node.
const LOCAL: u8 = 4;
/// Is for the node, by its hints.
const MEANT: u8 = 8;
/// Is about to end.
const TERMINATING: u8 = 16;

/// A choice among the endpoints of a port: those with all of these traits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Choice(u8);

impl Choice {
    /// All endpoints of the node, whatever their condition.
    pub(super) const OWN: Self = Self(LOCAL);
    /// The ready endpoints of the node.
    pub(super) const OWN_READY: Self = Self(LOCAL | READY);
}

impl<'a> Endpoints<'a> {
    /// Finds the endpoints of a port among the slices of its Service.
    pub(super) fn of(slices: &[&'a EndpointSlice], family: Family, port: &ServicePort, node: &Node) -> Self {
        let mut candidates = candidates(slices, family, port, node);
        choose_by_hints(&mut candidates, node);
        let traits = candidates.iter().fold(0, |traits, candidate| traits | candidate.traits);
        Self { candidates, traits }
    }

    /// The endpoints for traffic that any of them may take: ready ones, else those that are about to end.
    pub(super) fn cluster(&self) -> Choice {
        if self.has(Choice(READY | MEANT)) { Choice(READY | MEANT) } else { Choice(ENDING) }
    }

    /// The endpoints for traffic that only those of the node may take.
    pub(super) fn local(&self) -> Choice {
        if self.has(Choice::OWN_READY) { Choice::OWN_READY } else { Choice(LOCAL | ENDING) }
    }

    /// Whether an endpoint is chosen.
    pub(super) fn has(&self, choice: Choice) -> bool {
        self.addresses(choice).next().is_some()
    }

    /// The chosen endpoints as destinations.
    pub(super) fn destinations(&self, choice: Choice) -> Vec<Destination> {
        let mut destinations = Vec::with_capacity(self.candidates.len());
        destinations.extend(self.addresses(choice).map(Destination::new));
        destinations
    }

    /// The addresses of the chosen endpoints.
    pub(super) fn addresses(&self, Choice(traits): Choice) -> impl Iterator<Item = SocketAddr> {
        let candidates = if self.traits & traits == traits { &*self.candidates } else { &[] };
        let chosen = candidates.iter().filter(move |candidate| candidate.traits & traits == traits);
        chosen.map(|candidate| candidate.address)
    }
}

/// One candidate for each address: an endpoint can be in two slices while it moves.
fn candidates<'a>(slices: &[&'a EndpointSlice], family: Family, port: &ServicePort, node: &Node) -> Vec<Candidate<'a>> {
    let (mut candidates, mut parts) = (Vec::new(), 0);
    for slice in slices.iter().filter(|slice| family_of(slice) == Some(family)) {
        // Named ports of pods have another number in each slice.
        let numbers = slice.ports.iter().filter(|of| {
            let protocol = of.protocol.as_ref().unwrap_or(&Protocol::Tcp);
            of.name.as_ref() == Some(&port.name) && protocol == port.protocol.as_ref().unwrap_or(&Protocol::Tcp)
        });
        for number in numbers.filter_map(|of| of.port).filter(|number| *number != 0) {
            parts += 1;
            candidates.reserve(slice.endpoints.len());
            for endpoint in &slice.endpoints {
                let Some(address) = endpoint.address.filter(|address| Family::of(*address) == family) else { continue };
                let (traits, hints) = (traits(endpoint, node), endpoint.hints.as_deref());
                candidates.push(Candidate { address: (address, number).into(), traits, hints });
            }
        }
    }
    // One slice has no address twice.
    if parts > 1 {
        let lacks = |of: &Candidate<'_>, traits| of.traits & traits == 0;
        candidates.sort_unstable_by_key(|of| (of.address, !lacks(of, TERMINATING), lacks(of, READY), lacks(of, LOCAL)));
        candidates.dedup_by_key(|candidate| candidate.address);
    }
    candidates
}

fn traits(endpoint: &Endpoint, node: &Node) -> u8 {
    let mut traits = MEANT;
    if endpoint.is_ready() {
        traits |= READY;
    }
    if endpoint.is_terminating() {
        traits |= if endpoint.is_serving() { TERMINATING | ENDING } else { TERMINATING };
    }
    if endpoint.node_name.as_deref() == Some(&*node.name) {
        traits |= LOCAL;
    }
    traits
}

/// One kind of hints.
type Named = fn(&Hints) -> &[Hint];

/// Hints count if every ready endpoint has one, and one of them names this node, or else its zone.
fn choose_by_hints(candidates: &mut [Candidate<'_>], node: &Node) {
    if candidates.iter().any(|candidate| candidate.traits & READY != 0 && candidate.hints.is_none()) {
        return;
    }
    let zone = node.zone.as_deref().unwrap_or_default();
    let of_nodes: Named = |hints| &hints.for_nodes;
    let of_zones: Named = |hints| &hints.for_zones;
    for (of, name) in [(of_nodes, &*node.name), (of_zones, zone)].into_iter().filter(|(_, name)| !name.is_empty()) {
        let names = |candidate: &Candidate<'_>| {
            candidate.hints.is_some_and(|hints| of(hints).iter().any(|hint| &*hint.name == name))
        };
        let ready = || candidates.iter().filter(|candidate| candidate.traits & READY != 0);
        let all = ready().all(|candidate| candidate.hints.is_some_and(|hints| !of(hints).is_empty()));
        if all && ready().any(names) {
            for candidate in candidates.iter_mut().filter(|candidate| !names(candidate)) {
                candidate.traits &= !MEANT;
            }
            return;
        }
    }
}

/// The family of the addresses of a slice; none for names and unknown types.
pub(super) fn family_of(slice: &EndpointSlice) -> Option<Family> {
    match slice.address_type {
        Some(AddressType::Ipv4) => Some(Family::Inet),
        Some(AddressType::Ipv6) => Some(Family::Inet6),
        _ => None,
    }
}
