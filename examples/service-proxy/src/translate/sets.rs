//! The sets of the packet filter: seven for each family.

use std::net::{IpAddr, SocketAddr};

use lvs::director::{Desired, InvalidDesired, Role};
use lvs::ipset::{
    HashIp, HashIpPort, HashIpPortIp, HashIpPortNet, IntoEntry, Member, Network, NewSet, OfFamily, ProtocolPorts,
    SetName,
};
use lvs::{Family, InvalidName, Protocol};

/// Most members of a set. The kernel reserves nothing for it.
const MOST: u32 = 1 << 20;

/// The sets that a key of a service can be in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Access {
    /// A cluster IP.
    Cluster,
    /// An address outside of the cluster, for all endpoints.
    External,
    /// An address outside of the cluster, for the endpoints of the node.
    Local,
}

/// The members of all sets.
#[derive(Debug, Default)]
pub(super) struct Sets {
    cluster: Vec<Service>,
    external: Vec<Service>,
    local: Vec<Service>,
    firewall: Vec<Key>,
    loopback: Vec<Key>,
    source: Vec<(Key, Network)>,
}

/// Destination of a packet, in the order in which the members of sets are.
type Key = (IpAddr, Protocol, u16);

/// Key of a service, and whether its address is a virtual IP that is bound.
type Service = (Key, bool);

fn key_of((address, protocol): (SocketAddr, Protocol)) -> Key {
    (address.ip(), protocol, address.port())
}

impl Sets {
    /// Returns empty sets, with memory for the cluster IPs of so many Services.
    pub(super) fn of(services: usize) -> Self {
        Self { cluster: Vec::with_capacity(services), ..Self::default() }
    }

    /// Adds the key of a service, whose address is bound or not.
    pub(super) fn key(&mut self, key: (SocketAddr, Protocol), access: Access, bound: bool) {
        let set = match access {
            Access::Cluster => &mut self.cluster,
            Access::External => &mut self.external,
            Access::Local => &mut self.local,
        };
        set.push((key_of(key), bound));
    }

    /// Adds an endpoint of the node.
    pub(super) fn loopback(&mut self, endpoint: (SocketAddr, Protocol)) {
        self.loopback.push(key_of(endpoint));
    }

    /// Restricts the sources of a key.
    pub(super) fn firewall(&mut self, key: (SocketAddr, Protocol), sources: &[Network]) {
        let key = key_of(key);
        self.firewall.push(key);
        self.source.extend(sources.iter().map(|source| (key, *source)));
    }

    /// Adds all sets to the desired state.
    pub(super) fn add_to(mut self, desired: &mut Desired) -> Result<(), SetError> {
        for keys in [&mut self.loopback, &mut self.firewall] {
            keys.sort_unstable();
            keys.dedup();
        }
        // Each key is claimed once.
        for services in [&mut self.cluster, &mut self.external, &mut self.local] {
            services.sort_unstable();
        }
        self.source.sort_unstable();
        self.source.dedup();
        let services = self.cluster.iter().chain(&self.external).chain(&self.local);
        let mut vips: Vec<_> = services.filter(|(_, bound)| *bound).map(|(key, _)| key.0).collect();
        // Three sorted runs: a stable sort merges them.
        vips.sort();
        vips.dedup();
        for family in [Family::Inet, Family::Inet6] {
            let keys = |services| {
                part(services, family, |(key, _): &Service| key.0).iter().map(|(key, _)| (key.0, ports(key)))
            };
            add::<HashIpPort, _>(desired, family, "cluster", keys(&self.cluster), Role::Allow)?;
            add::<HashIpPort, _>(desired, family, "external", keys(&self.external), Role::Allow)?;
            add::<HashIpPort, _>(desired, family, "local", keys(&self.local), Role::Allow)?;
            let looped = part(&self.loopback, family, |key| key.0).iter().map(|key| (key.0, ports(key), key.0));
            add::<HashIpPortIp, _>(desired, family, "loopback", looped, Role::Allow)?;
            let source = part(&self.source, family, |(key, _)| key.0).iter();
            let source = source.map(|(key, network)| (key.0, ports(key), *network));
            add::<HashIpPortNet, _>(desired, family, "source", source, Role::Allow)?;
            let firewall = part(&self.firewall, family, |key| key.0).iter().map(|key| (key.0, ports(key)));
            add::<HashIpPort, _>(desired, family, "firewall", firewall, Role::Guard)?;
            let vips = part(&vips, family, |vip| *vip).iter().copied();
            add::<HashIp, _>(desired, family, "vips", vips, Role::Guard)?;
        }
        Ok(())
    }
}

/// The part of a sorted list whose addresses are of a family: those of IPv4 are first.
fn part<T>(sorted: &[T], family: Family, address: impl Fn(&T) -> IpAddr) -> &[T] {
    let (inet, inet6) = sorted.split_at(sorted.partition_point(|item| address(item).is_ipv4()));
    if family == Family::Inet { inet } else { inet6 }
}

fn ports(key: &Key) -> ProtocolPorts {
    ProtocolPorts::of(key.1, key.2)
}

fn add<T: OfFamily, E: IntoEntry<T::Entry>>(
    desired: &mut Desired,
    family: Family,
    name: &str,
    members: impl IntoIterator<Item = E>,
    role: Role,
) -> Result<(), SetError> {
    let number = if family == Family::Inet { 4 } else { 6 };
    let name = SetName::new(format!("lvs{number}-{name}"))?;
    let new = NewSet::<T>::of_family(family).maxelem(MOST);
    desired.set(name, &new, members.into_iter().map(Member::new))?.role = role;
    Ok(())
}

/// A set that cannot be desired.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetError {
    #[error(transparent)]
    Invalid(#[from] InvalidDesired),
    #[error(transparent)]
    Name(#[from] InvalidName),
}
