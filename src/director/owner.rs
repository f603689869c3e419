//! Ownership: the services, sets and virtual IPs that a director may change.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use crate::ipset::{
    Addresses, AnyType, Entry, HashIpMark, HashIpPort, Member, Network, NewSet, ProtocolPorts, Set, SetName,
};
use crate::ipvs::ServiceKey;
use crate::name::InvalidName;
use crate::net::{Family, Protocol};

/// The services and sets that a [`Director`](super::Director) owns. All others are foreign: never changed, never
/// deleted.
///
/// A desired service that exists and is foreign is a [conflict](super::Conflict): it is not changed until it is
/// [adopted](super::Director::adopt) or deleted. A desired set whose name has none of the owner's
/// [prefixes](Owner::sets) is a conflict, too, whether it exists or not. Virtual IPs belong to the director's [`Binder`](crate::vip::Binder).
/// Destinations belong to their service, also those that another program added.
///
/// Two directors on one table need different owners, binders and prefixes of sets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    pub(super) services: Services,
    /// Further services, by their addresses.
    pub(super) ranges: Option<Ranges>,
    /// Beginnings of the names of its sets.
    sets: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Services {
    Nothing,
    Registered(Registry),
    Bound,
    Everything,
}

/// Addresses, ports and firewall marks of services.
///
/// ```
/// # use lvs::director::{Owner, Ranges};
/// let cluster = Ranges::networks(["10.96.0.0/16".parse()?]).ports(1..=32767).marks(0x100..=0x1ff);
/// let owner = Owner::ranges(cluster);
/// # Ok::<(), lvs::InvalidText>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ranges {
    networks: Vec<Network>,
    ports: RangeInclusive<u16>,
    marks: Option<RangeInclusive<u32>>,
}

impl Ranges {
    /// Returns the services with an address in these networks, with every port; no firewall marks.
    pub fn networks(networks: impl IntoIterator<Item = Network>) -> Self {
        Self { networks: networks.into_iter().collect(), ports: 0..=u16::MAX, marks: None }
    }

    /// Returns a copy with these ports only.
    #[must_use]
    pub fn ports(self, ports: RangeInclusive<u16>) -> Self {
        Self { ports, ..self }
    }

    /// Returns a copy with the services of these firewall marks, too.
    #[must_use]
    pub fn marks(self, marks: RangeInclusive<u32>) -> Self {
        Self { marks: Some(marks), ..self }
    }

    pub(super) fn have(&self, key: ServiceKey) -> bool {
        match key {
            ServiceKey::Address { address, .. } => {
                let contains = |network: &Network| {
                    Network::new(address.ip(), network.prefix()).is_some_and(|of| of.address() == network.address())
                };
                self.ports.contains(&address.port()) && self.networks.iter().any(contains)
            }
            ServiceKey::FirewallMark { mark, .. } => {
                self.marks.as_ref().is_some_and(|marks| marks.contains(&mark.get()))
            }
        }
    }
}

impl Owner {
    fn of(services: Services) -> Self {
        Self { services, ranges: None, sets: Vec::new() }
    }

    /// Owns no service and no set.
    ///
    /// ```
    /// # use lvs::director::Owner;
    /// assert_eq!(Owner::nothing().to_string(), "no services");
    /// assert_eq!(Owner::bound().to_string(), "the services with bound addresses");
    /// assert_eq!(Owner::everything().to_string(), "every service");
    /// ```
    pub fn nothing() -> Self {
        Self::of(Services::Nothing)
    }

    /// Owns the services whose keys are in the registry sets: the ipset sets `NAME-4`, `NAME-6` and `NAME-mark`.
    ///
    /// The key is added before the service, and deleted after it, so that each service of this owner has its key there
    /// at every moment. After a kill, the next director finds its services again. Keys of TCP, UDP, SCTP and firewall
    /// marks can be registered.
    ///
    /// A foreign service counts as owned in one case. Another program adds a service with the same key just after it
    /// was registered, and this process is killed at that moment.
    ///
    /// # Errors
    /// If a set cannot have such a name. It has at most 26 bytes.
    pub fn registered(name: impl AsRef<str>) -> Result<Self, InvalidName> {
        Ok(Self::of(Services::Registered(Registry::new(name.as_ref())?)))
    }

    /// Owns the services whose address the director's binder has bound.
    ///
    /// It needs no sets in the kernel. It cannot own services by firewall mark, or services that are not
    /// [bound](super::WantedService::bind). If the director is killed after it added a service and before it bound the
    /// address, the service is a conflict. [`Owner::registered`] avoids that.
    pub fn bound() -> Self {
        Self::of(Services::Bound)
    }

    /// Owns the services in these ranges, also those of other programs.
    pub fn ranges(ranges: Ranges) -> Self {
        Self::nothing().or_ranges(ranges)
    }

    /// Owns every service of the network namespace. Services that are not desired are deleted, also those of other
    /// programs.
    pub fn everything() -> Self {
        Self::of(Services::Everything)
    }

    /// Returns a copy that also owns the services in these ranges, including those of other programs.
    ///
    /// ```
    /// # use lvs::director::{Owner, Ranges};
    /// // All cluster IPs, and the services at other addresses that this owner added.
    /// let owner = Owner::registered("web")?.or_ranges(Ranges::networks(["10.96.0.0/16".parse()?]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn or_ranges(self, ranges: Ranges) -> Self {
        Self { ranges: Some(ranges), ..self }
    }

    /// Returns a copy that also owns the sets whose names begin with this prefix. Sets that are not desired are
    /// destroyed, also those of other programs. It may be called for several prefixes.
    ///
    /// ```
    /// # use lvs::director::Owner;
    /// let owner = Owner::registered("web")?.sets("web4-").sets("web6-");
    /// # Ok::<(), lvs::InvalidName>(())
    /// ```
    #[must_use]
    pub fn sets(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.sets.push(prefix.as_ref().to_vec());
        self
    }

    /// Whether a set of this name belongs to the owner and can be desired. Registry sets cannot be desired.
    pub(super) fn owns_set(&self, name: SetName) -> bool {
        let registry = self.registry().is_some_and(|registry| registry.has(name));
        !registry && self.sets.iter().any(|prefix| name.as_bytes().starts_with(prefix))
    }

    pub(super) fn has_sets(&self) -> bool {
        !self.sets.is_empty()
    }

    pub(super) fn registry(&self) -> Option<&Registry> {
        match &self.services {
            Services::Registered(registry) => Some(registry),
            _ => None,
        }
    }
}

/// The registry sets: sets with the keys of services.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Registry([SetName; 3]);

/// Address that represents a family in the set of firewall marks. A service by firewall mark has no address.
const MARKS: [(Family, Ipv4Addr); 2] =
    [(Family::Inet, Ipv4Addr::new(127, 0, 0, 4)), (Family::Inet6, Ipv4Addr::new(127, 0, 0, 6))];

/// Most keys in a set.
const KEYS: u32 = 1 << 20;

impl Registry {
    fn new(name: &str) -> Result<Self, InvalidName> {
        let set = |suffix| format!("{name}-{suffix}").parse();
        Ok(Self([set("4")?, set("6")?, set("mark")?]))
    }

    pub(super) fn has(&self, name: SetName) -> bool {
        self.0.contains(&name)
    }

    /// Returns the sets and their options.
    pub(super) fn sets(&self) -> [(SetName, NewSet<AnyType>); 3] {
        [0, 1, 2].map(|place| self.set(place))
    }

    fn set(&self, place: usize) -> (SetName, NewSet<AnyType>) {
        let Self([inet, inet6, mark]) = *self;
        match place {
            0 => (inet, NewSet::<HashIpPort>::ipv4().maxelem(KEYS).any()),
            1 => (inet6, NewSet::<HashIpPort>::ipv6().maxelem(KEYS).any()),
            _ => (mark, NewSet::<HashIpMark>::ipv4().maxelem(KEYS).any()),
        }
    }

    /// Whether the key can be registered.
    pub(super) fn takes(key: ServiceKey) -> bool {
        key.protocol().is_none_or(|protocol| [Protocol::TCP, Protocol::UDP, Protocol::SCTP].contains(&protocol))
    }

    /// The name of the set that has the key; `None` for a protocol that cannot be registered.
    pub(super) fn name(&self, key: ServiceKey) -> Option<SetName> {
        let Self([inet, inet6, mark]) = *self;
        let name = key.address().map_or(mark, |address| if address.is_ipv4() { inet } else { inet6 });
        Self::takes(key).then_some(name)
    }

    /// The set that has the key, and the entry in it; `None` for a protocol that cannot be registered.
    pub(super) fn entry(&self, key: ServiceKey) -> Option<(Set<AnyType>, Member<AnyType>)> {
        let ((name, new), entry) = match key {
            ServiceKey::Address { protocol, address } => {
                if !Self::takes(key) {
                    return None;
                }
                let ports = ProtocolPorts::of(protocol, address.port());
                (self.set(address.is_ipv6().into()), Entry::IpPort(address.ip().into(), ports))
            }
            ServiceKey::FirewallMark { mark: number, family } => {
                let (_, address) = MARKS.into_iter().find(|(known, _)| *known == family)?;
                (self.set(2), Entry::IpMark(address.into(), number.get()))
            }
        };
        Some((new.named(name), Member::new(entry)))
    }

    /// The key of an entry; `None` for one that no director has added.
    pub(super) fn key(entry: Entry) -> Option<ServiceKey> {
        match entry {
            Entry::IpPort(Addresses::One(ip), ProtocolPorts { protocol, ports }) if ports.first == ports.last => {
                let address = (ip, ports.first).into();
                Some(ServiceKey::Address { protocol, address })
            }
            Entry::IpMark(Addresses::One(IpAddr::V4(address)), mark) => {
                let (family, _) = MARKS.into_iter().find(|(_, known)| *known == address)?;
                Some(ServiceKey::FirewallMark { mark: NonZeroU32::new(mark)?, family })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.services {
            Services::Nothing if self.ranges.is_some() => return f.write_str("the services of some ranges"),
            Services::Nothing => f.write_str("no services"),
            Services::Registered(Registry([inet, ..])) => write!(f, "the services registered in {inet}, …"),
            Services::Bound => f.write_str("the services with bound addresses"),
            Services::Everything => f.write_str("every service"),
        }?;
        f.write_str(if self.ranges.is_some() { " and those of some ranges" } else { "" })
    }
}
