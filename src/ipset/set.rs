//! Sets: what one is made with, a handle to one, and what is read of one.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::check::seconds;
use super::entry::{read_address, set_name, write_address};
use super::kind::{AddressBitmap, AnyType, HashType, Kind, Method, OfFamily, SetType, WithBitmask, WithNetmask};
use super::kind::{BitmapPort, HashIpMark, HashMac, ListSet};
use super::numbers::{Command, SetAttr, family, flag};
use super::parts::{Ports, SetName};
use crate::address::Family;
use crate::error::{Cause, DecodeError};
use crate::wire::reader::required;
use crate::wire::{Attr, Attrs, Kind as Attribute, Writer};

/// What a bitmap is a map of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum BitmapRange {
    /// All addresses from the first to the second.
    Addresses(Ipv4Addr, Ipv4Addr),
    /// All ports from the first to the second.
    Ports(Ports),
}

impl fmt::Display for BitmapRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(first, last) => write!(f, "{first}-{last}"),
            Self::Ports(Ports { first, last }) => write!(f, "{first}-{last}"),
        }
    }
}

/// The options of a set of any type (`ipset(8)`, "GENERIC CREATE AND ADD OPTIONS" and the types').
///
/// To make a set, [`NewSet`] has those of its type only. What is not said is the kernel's default; what is read is what
/// the kernel says, and it leaves out some of its defaults.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct SetOptions {
    /// The family of the addresses; of hash types but `hash:mac`.
    pub family: Option<Family>,
    /// What it is a map of; of bitmaps. At most 65536 elements. The kernel swaps reversed ends, and widens a range of
    /// addresses to whole networks of the `netmask`.
    pub range: Option<BitmapRange>,
    /// The size of the hash table: a power of two, or rounded up to one, at least 64; 1024 by default. It grows by
    /// itself, and is read as it is now.
    pub hashsize: Option<u32>,
    /// How many elements it may have; 65536 by default, and none with 0. Of hash types.
    pub maxelem: Option<u32>,
    /// The size of the hash table's buckets: even, 2 to 12; 12 by default. Since Linux 5.11. Read from the newest
    /// revision only.
    pub bucketsize: Option<u8>,
    /// The start value of the hash function; random by default. Since Linux 5.11. Read from the newest revision only.
    pub initval: Option<u32>,
    /// Addresses are cut to networks of this prefix length. A full length, such as 32, reads back as `None`.
    ///
    /// Add single addresses or networks to such sets, and no ranges. In `hash:ip,port` the kernel cuts only the first address of a
    /// range or network and stores the others uncut; in `hash:net,net` an entry with a range is stored uncut. In `bitmap:ip` a
    /// range counts from its first address in steps of the network, and may miss the network of its last address.
    pub netmask: Option<u8>,
    /// Addresses are cut by this mask. A mask of ones only reads back as `None`. Add single addresses to such a set: of a range or
    /// network, the kernel cuts the first address only, and adds every address from there to the last. Since Linux 6.2.
    pub bitmask: Option<IpAddr>,
    /// Which bits of marks count; all by default. Of `hash:ip,mark`.
    pub markmask: Option<u32>,
    /// The size of a `list:set`; 8 by default. The kernel stores 0 to 3 as 4, and lets the set grow beyond its size.
    pub size: Option<u32>,
    /// Entries leave the set by themselves, after this time in whole seconds (up to 2147483) if they do not bring
    /// their own; zero is never.
    pub timeout: Option<Duration>,
    /// Entries count what matches them.
    pub counters: bool,
    /// Entries may have comments.
    pub comment: bool,
    /// Entries may have what the `SET` target of iptables puts on packets.
    pub skbinfo: bool,
    /// A full set drops some other entry for a new one. Of hash types.
    pub forceadd: bool,
}

/// A set to be made: its type, and the options that sets of this type have.
///
/// ```
/// # use lvs::ipset::{HashIp, NewSet};
/// # use std::time::Duration;
/// let blocked = NewSet::<HashIp>::ipv4().timeout(Duration::from_secs(600)).counters().maxelem(1_000_000);
/// ```
///
/// ```compile_fail
/// # use lvs::ipset::{HashIp, NewSet};
/// // Marks are of hash:ip,mark only.
/// let marked = NewSet::<HashIp>::ipv4().markmask(0xff);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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

    /// What it is made with.
    pub fn options(&self) -> &SetOptions {
        &self.options
    }

    /// Entries leave the set by themselves: see [`SetOptions::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        self.change(|options| options.timeout = Some(timeout))
    }

    /// Entries count what matches them.
    pub fn counters(self) -> Self {
        self.change(|options| options.counters = true)
    }

    /// Entries may have comments.
    pub fn comment(self) -> Self {
        self.change(|options| options.comment = true)
    }

    /// Entries may have what the `SET` target of iptables puts on packets.
    pub fn skbinfo(self) -> Self {
        self.change(|options| options.skbinfo = true)
    }

    /// The same as a set of whatever type.
    pub fn any(self) -> NewSet<AnyType> {
        NewSet::with(self.kind, self.options)
    }
}

impl NewSet<AnyType> {
    /// A set of this type with these options. That the type has them is checked before it is made.
    pub fn new(kind: Kind, options: SetOptions) -> Self {
        Self::with(kind, options)
    }
}

/// The value of a type that is known.
fn kind_of<T: SetType>() -> Kind {
    // Only `AnyType` has none, and nothing here is made of it.
    T::KIND.unwrap_or(Kind::HashIp)
}

impl<T: OfFamily> NewSet<T> {
    /// A set of this family.
    pub fn of_family(family: Family) -> Self {
        Self::with(kind_of::<T>(), SetOptions { family: Some(family), ..SetOptions::default() })
    }

    /// A set of IPv4 addresses.
    pub fn ipv4() -> Self {
        Self::of_family(Family::Inet)
    }

    /// A set of IPv6 addresses.
    pub fn ipv6() -> Self {
        Self::of_family(Family::Inet6)
    }
}

impl NewSet<HashMac> {
    /// A set of Ethernet addresses.
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
    /// A list of sets.
    pub fn new() -> Self {
        Self::with(Kind::ListSet, SetOptions::default())
    }

    /// Its size: see [`SetOptions::size`].
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
    /// A map of all addresses from the first to the second.
    pub fn range(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        let range = Some(BitmapRange::Addresses(first, last));
        Self::with(kind_of::<T>(), SetOptions { range, ..SetOptions::default() })
    }
}

impl NewSet<BitmapPort> {
    /// A map of these ports.
    pub fn range(ports: impl Into<Ports>) -> Self {
        let range = Some(BitmapRange::Ports(ports.into()));
        Self::with(Kind::BitmapPort, SetOptions { range, ..SetOptions::default() })
    }
}

impl<T: HashType> NewSet<T> {
    /// The size of the hash table: see [`SetOptions::hashsize`].
    pub fn hashsize(self, size: u32) -> Self {
        self.change(|options| options.hashsize = Some(size))
    }

    /// How many elements it may have; 65536 by default.
    pub fn maxelem(self, count: u32) -> Self {
        self.change(|options| options.maxelem = Some(count))
    }

    /// The size of the hash table's buckets: see [`SetOptions::bucketsize`].
    pub fn bucketsize(self, size: u8) -> Self {
        self.change(|options| options.bucketsize = Some(size))
    }

    /// The start value of the hash function: see [`SetOptions::initval`].
    pub fn initval(self, value: u32) -> Self {
        self.change(|options| options.initval = Some(value))
    }

    /// A full set drops some other entry for a new one.
    pub fn forceadd(self) -> Self {
        self.change(|options| options.forceadd = true)
    }
}

impl<T: WithNetmask> NewSet<T> {
    /// Addresses are cut to networks of this prefix length.
    pub fn netmask(self, prefix: u8) -> Self {
        self.change(|options| options.netmask = Some(prefix))
    }
}

impl<T: WithBitmask> NewSet<T> {
    /// Addresses are cut by this mask. Since Linux 6.2; not together with a netmask.
    pub fn bitmask(self, mask: IpAddr) -> Self {
        self.change(|options| options.bitmask = Some(mask))
    }
}

impl NewSet<HashIpMark> {
    /// Which bits of marks count; all by default.
    pub fn markmask(self, mask: u32) -> Self {
        self.change(|options| options.markmask = Some(mask))
    }
}

// What is wrong with it.

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
            _ => return wrong(format!("a {kind} needs a range of what it is a map of")),
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

    /// The lowest revision that has what was asked for, and since when kernels have it.
    pub(super) fn needs(&self) -> (u8, &'static str) {
        if self.options.bitmask.is_some()
            || (self.options.netmask.is_some() && self.kind != Kind::BitmapIp && self.kind != Kind::HashIp)
        {
            return (self.kind.revision(), "6.2");
        }
        (0, "2.6.39")
    }
}

/// A set that is there: its name, its type, and the family of its addresses.
///
/// It names a set, and does not hold it: when another one takes its name, it means that one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Set<T: SetType> {
    name: SetName,
    kind: Kind,
    family: Option<Family>,
    of: PhantomData<T>,
}

impl<T: SetType> Set<T> {
    pub(crate) fn new(name: SetName, kind: Kind, family: Option<Family>) -> Self {
        Self { name, kind, family, of: PhantomData }
    }

    /// Its name.
    pub fn name(&self) -> SetName {
        self.name
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The family of its addresses, if its type has one.
    pub fn family(&self) -> Option<Family> {
        self.family
    }

    /// The same as a set of whatever type.
    pub fn any(&self) -> Set<AnyType> {
        Set::new(self.name, self.kind, self.family)
    }
}

impl<T: SetType> fmt::Display for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// A set as the kernel lists it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SetInfo {
    /// The set.
    pub set: Set<AnyType>,
    /// The revision of its type that it was made with.
    pub revision: u8,
    /// The number that rules of packet filters hold; `None` from kernels before Linux 4.20.
    pub index: Option<u16>,
    /// What it was made with, and how large it has grown.
    pub options: SetOptions,
    /// How many rules and lists refer to it.
    pub references: u32,
    /// The memory that it takes, in bytes.
    pub memory: u32,
    /// How many entries it has.
    pub entries: u32,
}

// The bytes.

pub(crate) fn family_number(family: Option<Family>) -> u8 {
    match family {
        None => family::UNSPECIFIED,
        Some(Family::Inet) => family::INET,
        Some(Family::Inet6) => family::INET6,
    }
}

impl<T: SetType> NewSet<T> {
    /// The family that the kernel wants to hear; bitmaps of addresses are of IPv4 without being asked.
    pub(super) fn family(&self) -> Option<Family> {
        match self.kind {
            Kind::BitmapIp | Kind::BitmapIpMac => Some(Family::Inet),
            kind if kind.has_family() => self.options.family.or(Some(Family::Inet)),
            _ => None,
        }
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

type Get = fn(&SetOptions) -> bool;

const FLAGS: [(Get, u32); 4] = [
    (|options| options.counters, flag::COUNTERS),
    (|options| options.comment, flag::COMMENT),
    (|options| options.skbinfo, flag::SKBINFO),
    (|options| options.forceadd, flag::FORCEADD),
];

/// What stands in a message about a set, as far as it does.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    pub(crate) name: Option<SetName>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) revision: Option<u8>,
    pub(crate) lowest_revision: Option<u8>,
    pub(crate) family: Option<u8>,
    pub(crate) index: Option<u16>,
    pub(crate) protocol: Option<u8>,
    pub(crate) line: Option<u32>,
    /// What the set was made with.
    pub(crate) data: Option<Attrs<'a, SetAttr>>,
    pub(crate) entries: Option<Attrs<'a, Command>>,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(attributes: &'a [u8]) -> Result<Self, DecodeError> {
        let (parts, fault) = Self::read_all(attributes)?;
        fault.map_or(Ok(parts), Err)
    }

    /// Reads all attributes that can be read, with the fault of the first that cannot.
    ///
    /// # Errors
    /// When the bounds of an attribute are wrong, so that the ones behind it cannot be found.
    pub(crate) fn read_all(attributes: &'a [u8]) -> Result<(Self, Option<DecodeError>), DecodeError> {
        let (mut parts, mut fault) = (Self::default(), None);
        for attr in Attrs::<Command>::new(attributes) {
            if let Err(error) = parts.take(&attr?) {
                fault = fault.or(Some(error));
            }
        }
        Ok((parts, fault))
    }

    #[inline]
    fn take(&mut self, attr: &Attr<'a, Command>) -> Result<(), DecodeError> {
        match attr.kind {
            Command::Protocol => self.protocol = Some(attr.u8()?),
            Command::SetName => self.name = Some(set_name(attr.text_bytes()?, Command::SetName)?),
            Command::TypeName => self.kind = Some(attr.text()?),
            Command::Revision => self.revision = Some(attr.u8()?),
            Command::Family => self.family = Some(attr.u8()?),
            Command::Flags => {}
            Command::Data => self.data = Some(attr.nested()),
            Command::Entries => self.entries = Some(attr.nested()),
            // In whatever byte order the request had it.
            Command::Line => self.line = Some(attr.u32_ne()?),
            Command::LowestRevision => self.lowest_revision = Some(attr.u8()?),
            Command::Index => self.index = Some(attr.u16_be()?),
        }
        Ok(())
    }

    /// The lowest and the highest of an answer's revisions or versions.
    pub(crate) fn lowest_to(&self, highest: u8) -> Result<(u8, u8), DecodeError> {
        match self.lowest_revision.unwrap_or(highest) {
            lowest if lowest <= highest => Ok((lowest, highest)),
            lowest => Err(DecodeError::Value { attribute: Command::LowestRevision.name(), value: lowest.into() }),
        }
    }

    pub(crate) fn set(&self) -> Result<Set<AnyType>, DecodeError> {
        let name = required(self.name, Command::SetName)?;
        let kind = required(self.kind, Command::TypeName)?;
        let kind = kind.parse::<Kind>().map_err(|_| DecodeError::Text { attribute: Command::TypeName.name() })?;
        let family = match required(self.family, Command::Family)? {
            // A type without a family repeats whatever it was made with.
            _ if !kind.has_family() && kind.method() != Method::Bitmap => None,
            family::INET if kind != Kind::BitmapPort => Some(Family::Inet),
            family::INET6 if kind.has_family() => Some(Family::Inet6),
            _ if kind == Kind::BitmapPort => None,
            other => {
                return Err(DecodeError::Value { attribute: Command::Family.name(), value: other.into() });
            }
        };
        Ok(Set::new(name, kind, family))
    }

    /// A set as it stands in a list.
    pub(crate) fn info(&self) -> Result<SetInfo, DecodeError> {
        let set = self.set()?;
        let mut header = Header::default();
        for attr in required(self.data.clone(), Command::Data)? {
            header.read(&attr?)?;
        }
        header.options.family = set.family.filter(|_| set.kind.has_family());
        header.options.range = match (header.from, header.to, header.ports) {
            (Some(IpAddr::V4(first)), Some(IpAddr::V4(last)), _) => Some(BitmapRange::Addresses(first, last)),
            (_, _, (Some(first), Some(last))) => Some(BitmapRange::Ports(Ports { first, last })),
            _ => None,
        };
        Ok(SetInfo {
            set,
            revision: required(self.revision, Command::Revision)?,
            index: self.index,
            options: header.options,
            references: header.references,
            memory: header.memory,
            entries: header.entries,
        })
    }
}

#[derive(Default)]
struct Header {
    options: SetOptions,
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    ports: (Option<u16>, Option<u16>),
    references: u32,
    memory: u32,
    entries: u32,
}

impl Header {
    fn read(&mut self, attr: &Attr<'_, SetAttr>) -> Result<(), DecodeError> {
        let options = &mut self.options;
        match attr.kind {
            SetAttr::Ip => self.from = Some(read_address(attr)?),
            SetAttr::IpTo => self.to = Some(read_address(attr)?),
            // Only requests have it; kernels say both ends.
            SetAttr::Cidr => {}
            SetAttr::Port => self.ports.0 = Some(attr.u16_be()?),
            SetAttr::PortTo => self.ports.1 = Some(attr.u16_be()?),
            SetAttr::Timeout => options.timeout = Some(Duration::from_secs(attr.u32_be()?.into())),
            SetAttr::Flags => {
                let flags = attr.u32_be()?;
                options.counters = flags & flag::COUNTERS != 0;
                options.comment = flags & flag::COMMENT != 0;
                options.skbinfo = flags & flag::SKBINFO != 0;
                options.forceadd = flags & flag::FORCEADD != 0;
            }
            // The one number that the kernel sends in its own byte order.
            SetAttr::MarkMask => options.markmask = Some(attr.u32_ne()?),
            SetAttr::Bitmask => options.bitmask = Some(read_address(attr)?),
            SetAttr::InitVal => options.initval = Some(attr.u32_be()?),
            SetAttr::HashSize => options.hashsize = Some(attr.u32_be()?),
            SetAttr::MaxElem => options.maxelem = Some(attr.u32_be()?),
            SetAttr::Netmask => options.netmask = Some(attr.u8()?),
            SetAttr::BucketSize => options.bucketsize = Some(attr.u8()?),
            SetAttr::Size => options.size = Some(attr.u32_be()?),
            SetAttr::Elements => self.entries = attr.u32_be()?,
            SetAttr::References => self.references = attr.u32_be()?,
            SetAttr::MemSize => self.memory = attr.u32_be()?,
        }
        Ok(())
    }
}
