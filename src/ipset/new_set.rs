//! Options of sets that are to be created.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use super::check::seconds;
use super::entry::write_address;
use super::kind::{AddressBitmap, AnyType, HashType, Kind, Method, OfFamily, SetType, WithBitmask, WithNetmask};
use super::kind::{BitmapPort, HashIpMark, HashMac, ListSet};
use super::options::{BitmapRange, FLAGS, SetOptions};
use super::parts::SetName;
use super::ports::Ports;
use super::set::Set;
use crate::error::Cause;
use crate::net::{Family, InvalidText};
use crate::wire::{Writer, kinds};

/// A set that is to be created: its type and its options.
///
/// ```
/// # use lvs::ipset::{HashIp, NewSet};
/// # use std::time::Duration;
/// let blocked = NewSet::<HashIp>::ipv4().timeout(Duration::from_secs(600)).counters().maxelem(1_000_000);
/// ```
///
/// ```compile_fail
/// # use lvs::ipset::{HashIp, NewSet};
/// // Does not compile: only a `NewSet<HashIpMark>` has `markmask`.
/// let marked = NewSet::<HashIp>::ipv4().markmask(0xff);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NewSet<T: SetType> {
    pub(super) kind: Kind,
    pub(super) options: SetOptions,
    of: PhantomData<T>,
}

impl<T: SetType> NewSet<T> {
    fn with(kind: Kind, options: SetOptions) -> Self {
        Self { kind, options, of: PhantomData }
    }

    fn change(mut self, change: impl FnOnce(&mut SetOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Returns the type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns a handle of the set that [`Ipset::create`](super::Ipset::create) creates of it under this name.
    ///
    /// It sends no request. Use it for changes of a batch that creates the set.
    ///
    /// ```
    /// # use lvs::ipset::{HashIp, NewSet};
    /// assert_eq!(NewSet::<HashIp>::ipv4().named("clients".parse()?).to_string(), "clients");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn named(&self, name: SetName) -> Set<T> {
        Set::new(name, self.kind, self.family())
    }

    /// Returns the options.
    pub fn options(&self) -> &SetOptions {
        &self.options
    }

    /// Returns a copy whose entries expire: see [`SetOptions::timeout`].
    #[must_use = "the changed value is returned"]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.change(|options| options.timeout = Some(timeout))
    }

    /// Returns a copy whose entries count matching packets.
    #[must_use = "the changed value is returned"]
    pub fn counters(self) -> Self {
        self.change(|options| options.counters = true)
    }

    /// Returns a copy whose entries may have comments.
    #[must_use = "the changed value is returned"]
    pub fn comment(self) -> Self {
        self.change(|options| options.comment = true)
    }

    /// Returns a copy whose entries may have values for the `SET` target of iptables.
    #[must_use = "the changed value is returned"]
    pub fn skbinfo(self) -> Self {
        self.change(|options| options.skbinfo = true)
    }

    /// Returns the handle of a set of this name that was created with these options.
    /// [`Ipset::open`](super::Ipset::open) also checks that such a set exists.
    pub fn handle(&self, name: SetName) -> Set<T> {
        Set::new(name, self.kind, self.family())
    }

    /// Returns the type-erased set.
    #[must_use = "the changed value is returned"]
    pub fn any(self) -> NewSet<AnyType> {
        NewSet::with(self.kind, self.options)
    }
}

impl NewSet<AnyType> {
    /// Returns a set of this type with these options. [`Ipset::create`](super::Ipset::create) checks that the type has
    /// them.
    pub fn new(kind: Kind, options: SetOptions) -> Self {
        Self::with(kind, options)
    }
}

impl<T: SetType> fmt::Display for NewSet<T> {
    /// Writes the arguments of `ipset create`: `hash:ip family inet maxelem 1000 timeout 600 counters`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if self.options == SetOptions::default() { Ok(()) } else { write!(f, " {}", self.options) }
    }
}

impl<T: SetType> FromStr for NewSet<T> {
    type Err = InvalidText;

    /// Reads the text that [`Display`](fmt::Display) writes, of a set of the type `T`.
    ///
    /// ```
    /// # use lvs::ipset::{AnyType, HashIp, NewSet};
    /// let set: NewSet<AnyType> = "hash:ip family inet maxelem 1000 counters".parse()?;
    /// assert_eq!(set, NewSet::<HashIp>::ipv4().maxelem(1000).counters().any());
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let (kind, options) = text.split_once(' ').unwrap_or((text, ""));
        match (kind.parse(), options.parse()) {
            (Ok(kind), Ok(options)) if T::KIND.is_none_or(|wanted| wanted == kind) => Ok(Self::with(kind, options)),
            _ => Err(InvalidText::new(text, "a set of the type, such as hash:ip family inet timeout 600")),
        }
    }
}

/// The value of a type that is known.
fn kind_of<T: SetType>() -> Kind {
    // Only `AnyType` has none, and no function of this file is called for it.
    T::KIND.unwrap_or(Kind::HashIp)
}

impl<T: OfFamily> NewSet<T> {
    /// Returns a set of this family.
    pub fn of_family(family: Family) -> Self {
        Self::with(kind_of::<T>(), SetOptions { family: Some(family), ..SetOptions::default() })
    }

    /// Returns a set of IPv4 addresses.
    pub fn ipv4() -> Self {
        Self::of_family(Family::Inet)
    }

    /// Returns a set of IPv6 addresses.
    pub fn ipv6() -> Self {
        Self::of_family(Family::Inet6)
    }
}

impl NewSet<HashMac> {
    /// Returns a set of Ethernet addresses.
    pub fn new() -> Self {
        Self::with(Kind::HashMac, SetOptions::default())
    }
}

impl Default for NewSet<HashMac> {
    fn default() -> Self {
        Self::new()
    }
}

impl NewSet<ListSet> {
    /// Returns a list of sets.
    pub fn new() -> Self {
        Self::with(Kind::ListSet, SetOptions::default())
    }

    /// Returns a copy of this size: see [`SetOptions::size`].
    #[must_use = "the changed value is returned"]
    pub fn size(self, size: u32) -> Self {
        self.change(|options| options.size = Some(size))
    }
}

impl Default for NewSet<ListSet> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: AddressBitmap> NewSet<T> {
    /// Returns a bitmap of all addresses from the first to the second.
    pub fn range(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        let range = Some(BitmapRange::Addresses(first, last));
        Self::with(kind_of::<T>(), SetOptions { range, ..SetOptions::default() })
    }
}

impl NewSet<BitmapPort> {
    /// Returns a bitmap of these ports.
    pub fn range(ports: impl Into<Ports>) -> Self {
        let range = Some(BitmapRange::Ports(ports.into()));
        Self::with(Kind::BitmapPort, SetOptions { range, ..SetOptions::default() })
    }
}

impl<T: HashType> NewSet<T> {
    /// Returns a copy with this size of the hash table: see [`SetOptions::hashsize`].
    #[must_use = "the changed value is returned"]
    pub fn hashsize(self, size: u32) -> Self {
        self.change(|options| options.hashsize = Some(size))
    }

    /// Returns a copy with this maximum number of elements; 65536 by default.
    #[must_use = "the changed value is returned"]
    pub fn maxelem(self, count: u32) -> Self {
        self.change(|options| options.maxelem = Some(count))
    }

    /// Returns a copy with this size of the hash table's buckets: see [`SetOptions::bucketsize`].
    #[must_use = "the changed value is returned"]
    pub fn bucketsize(self, size: u8) -> Self {
        self.change(|options| options.bucketsize = Some(size))
    }

    /// Returns a copy with this initial value of the hash function: see [`SetOptions::initval`].
    #[must_use = "the changed value is returned"]
    pub fn initval(self, value: u32) -> Self {
        self.change(|options| options.initval = Some(value))
    }

    /// Returns a copy that replaces an entry when it is full.
    #[must_use = "the changed value is returned"]
    pub fn forceadd(self) -> Self {
        self.change(|options| options.forceadd = true)
    }
}

impl<T: WithNetmask> NewSet<T> {
    /// Returns a copy that masks addresses by this prefix length: see [`SetOptions::netmask`].
    #[must_use = "the changed value is returned"]
    pub fn netmask(self, prefix: u8) -> Self {
        self.change(|options| options.netmask = Some(prefix))
    }
}

impl<T: WithBitmask> NewSet<T> {
    /// Returns a copy that masks addresses by this mask. Since Linux 6.2; not together with a netmask.
    ///
    /// ```
    /// # use lvs::ipset::{HashIp, NewSet};
    /// let set = NewSet::<HashIp>::ipv4().bitmask("255.255.0.255".parse()?);
    /// assert_eq!(set.to_string(), "hash:ip family inet bitmask 255.255.0.255");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the changed value is returned"]
    pub fn bitmask(self, mask: IpAddr) -> Self {
        self.change(|options| options.bitmask = Some(mask))
    }
}

impl NewSet<HashIpMark> {
    /// Returns a copy with this mask of packet marks; all bits by default.
    #[must_use = "the changed value is returned"]
    pub fn markmask(self, mask: u32) -> Self {
        self.change(|options| options.markmask = Some(mask))
    }
}

// Faults of a set.

impl<T: SetType> NewSet<T> {
    pub(super) fn check(&self) -> Result<(), Cause> {
        let (kind, options) = (self.kind, &self.options);
        let wrong = |why: String| Err(Cause::InvalidInput(why.into()));
        let hash = kind.method() == Method::Hash;
        let netmask = matches!(kind, Kind::BitmapIp | Kind::HashIp | Kind::HashIpPort | Kind::HashNetNet);
        for (given, of_kind, name) in [
            (options.family.is_some(), kind.has_family(), "family"),
            (options.range.is_some(), kind.method() == Method::Bitmap, "range"),
            (options.hashsize.is_some(), hash, "hashsize"),
            (options.maxelem.is_some(), hash, "maxelem"),
            (options.bucketsize.is_some(), hash, "bucketsize"),
            (options.initval.is_some(), hash, "initval"),
            (options.netmask.is_some(), netmask, "netmask"),
            (options.bitmask.is_some(), netmask && hash, "bitmask"),
            (options.markmask.is_some(), kind == Kind::HashIpMark, "markmask"),
            (options.size.is_some(), kind == Kind::ListSet, "size"),
            (options.forceadd, hash, "forceadd"),
        ] {
            if given && !of_kind {
                return wrong(format!("a {kind} has no option {name}"));
            }
        }
        match (kind.method() == Method::Bitmap, options.range, kind) {
            (false, None, _)
            | (true, Some(BitmapRange::Ports(_)), Kind::BitmapPort)
            | (true, Some(BitmapRange::Addresses(..)), Kind::BitmapIp | Kind::BitmapIpMac) => {}
            _ => return wrong(format!("a {kind} needs the range of its elements")),
        }
        let family = options.family.unwrap_or(Family::Inet);
        if options.netmask.is_some_and(|prefix| prefix == 0 || prefix > family.bits()) {
            return wrong(format!("a netmask is 1 to {}", family.bits()));
        }
        if options.netmask.is_some() && options.bitmask.is_some() {
            return wrong("a netmask and a bitmask exclude each other".into());
        }
        if options.bitmask.is_some_and(|mask| Family::of(mask) != family || mask.is_unspecified()) {
            return wrong(format!("a bitmask is an address of the family {family}, and not zero"));
        }
        if options.markmask == Some(0) {
            return wrong("a mask of marks is not zero".into());
        }
        if options.bucketsize.is_some_and(|size| !(2..=12).contains(&size) || size % 2 == 1) {
            return wrong("a size of buckets is even, 2 to 12".into());
        }
        options.timeout.map_or(Ok(()), |timeout| seconds(timeout).map(drop))
    }

    /// Returns the lowest revision that has the requested options, and the first kernel that has it.
    pub(super) fn needs(&self) -> (u8, &'static str) {
        if self.options.bitmask.is_some()
            || (self.options.netmask.is_some() && self.kind != Kind::BitmapIp && self.kind != Kind::HashIp)
        {
            return (self.kind.revision(), "6.2");
        }
        (0, "2.6.39")
    }
}

impl NewSet<AnyType> {
    /// Describes the differences of an existing set, as `hash:ip maxelem 65536, wanted hash:ip,port maxelem 1000`;
    /// `None` if the kernel treats the sets as equal.
    pub(super) fn difference(&self, kind: Kind, options: &SetOptions) -> Option<String> {
        let (mut held, mut wanted) = (options.compared(kind), self.options.compared(self.kind));
        if (kind, held) == (self.kind, wanted) {
            return None;
        }
        held.keep_different(&mut wanted);
        Some(format!("{}, wanted {}", Self::new(kind, held), Self::new(self.kind, wanted)))
    }
}

serde_text!(@ [T: SetType] NewSet<T>);

// The bytes.

kinds! {
    /// Attributes of a set.
    SetAttr "IPSET_ATTR_DATA" {
        Ip = 1 "IPSET_ATTR_IP",
        IpTo = 2 "IPSET_ATTR_IP_TO",
        Cidr = 3 "IPSET_ATTR_CIDR",
        Port = 4 "IPSET_ATTR_PORT",
        PortTo = 5 "IPSET_ATTR_PORT_TO",
        Timeout = 6 "IPSET_ATTR_TIMEOUT",
        Flags = 8 "IPSET_ATTR_CADT_FLAGS",
        MarkMask = 11 "IPSET_ATTR_MARKMASK",
        Bitmask = 12 "IPSET_ATTR_BITMASK",
        InitVal = 17 "IPSET_ATTR_INITVAL",
        HashSize = 18 "IPSET_ATTR_HASHSIZE",
        MaxElem = 19 "IPSET_ATTR_MAXELEM",
        Netmask = 20 "IPSET_ATTR_NETMASK",
        BucketSize = 21 "IPSET_ATTR_BUCKETSIZE",
        Size = 23 "IPSET_ATTR_SIZE",
        Elements = 24 "IPSET_ATTR_ELEMENTS",
        References = 25 "IPSET_ATTR_REFERENCES",
        MemSize = 26 "IPSET_ATTR_MEMSIZE",
    }
}

/// Family of a set of this type for which this family is asked. Bitmaps of addresses are always of IPv4.
pub(super) fn family_of(kind: Kind, asked: Option<Family>) -> Option<Family> {
    match kind {
        Kind::BitmapIp | Kind::BitmapIpMac => Some(Family::Inet),
        kind if kind.has_family() => asked.or(Some(Family::Inet)),
        _ => None,
    }
}

impl<T: SetType> NewSet<T> {
    /// The family of the set, as requests have it.
    pub(super) fn family(&self) -> Option<Family> {
        family_of(self.kind, self.options.family)
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        let options = &self.options;
        match options.range {
            None => {}
            Some(BitmapRange::Addresses(first, last)) => {
                write_address(out, SetAttr::Ip, first.into());
                write_address(out, SetAttr::IpTo, last.into());
            }
            Some(BitmapRange::Ports(ports)) => {
                out.u16_net(SetAttr::Port, ports.first);
                out.u16_net(SetAttr::PortTo, ports.last);
            }
        }
        for (attr, value) in [
            (SetAttr::HashSize, options.hashsize),
            (SetAttr::MaxElem, options.maxelem),
            (SetAttr::InitVal, options.initval),
            (SetAttr::MarkMask, options.markmask),
            (SetAttr::Size, options.size),
            (SetAttr::Timeout, options.timeout.and_then(|timeout| seconds(timeout).ok())),
        ] {
            if let Some(value) = value {
                out.u32_net(attr, value);
            }
        }
        if let Some(size) = options.bucketsize {
            out.u8(SetAttr::BucketSize, size);
        }
        if let Some(prefix) = options.netmask {
            out.u8(SetAttr::Netmask, prefix);
        }
        if let Some(mask) = options.bitmask {
            write_address(out, SetAttr::Bitmask, mask);
        }
        let flags = FLAGS.iter().filter(|(get, _)| get(options)).fold(0, |flags, (_, bit)| flags | bit);
        if flags != 0 {
            out.u32_net(SetAttr::Flags, flags);
        }
    }
}
