//! Set types, as values and as Rust types.

use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::str::FromStr;

use super::addresses::Addresses;
use super::entry::{Entry, WrongEntry};
use super::into_entry::IntoEntry;
use super::parts::{InterfaceMatch, ListMember, Mac};
use super::ports::{Ports, ProtocolPorts};
use crate::error::{Cause, DecodeError};

/// Kernel module of ipset itself.
pub(crate) const MODULE: &str = "ip_set";

mod sealed {
    pub trait Sealed {}
}

/// A set type as a Rust type, which fixes the type of its entries at compile time.
///
/// ```compile_fail
/// # use lvs::ipset::{HashIp, Mac, Member};
/// // Does not compile: "`lvs::ipset::Mac` is not an entry of a set whose entries are `lvs::ipset::Addresses`".
/// let member = Member::<HashIp>::new(Mac::new([2, 0, 0, 0, 0, 1]));
/// ```
pub trait SetType: sealed::Sealed + Copy + fmt::Debug + Hash + Ord + 'static {
    /// Type of the entries of such a set.
    type Entry: Copy
        + fmt::Debug
        + Hash
        + Ord
        + IntoEntry<Self::Entry>
        + Into<Entry>
        + TryFrom<Entry, Error: Into<Cause>>;
    /// The type as a value; `None` for [`AnyType`], whose sets have it in their headers.
    const KIND: Option<Kind>;
}

/// Types that are known at compile time: all except [`AnyType`].
pub trait Known: SetType {
    /// The type as a value.
    const OF: Kind;
}

/// A set type that is only known at run time. Its entries are [`Entry`] values.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AnyType {}
impl sealed::Sealed for AnyType {}
impl SetType for AnyType {
    type Entry = Entry;
    const KIND: Option<Kind> = None;
}

/// Hash types.
pub trait HashType: SetType {}
/// Hash types with one family of addresses.
pub trait OfFamily: HashType {}
/// Types whose entries have networks, and thus exceptions (`nomatch`).
pub trait Networks: SetType {}
/// Types that can mask the addresses of their entries by a prefix length (`netmask`).
pub trait WithNetmask: SetType {}
/// Types that can mask the addresses of their entries by any mask (`bitmask`).
pub trait WithBitmask: WithNetmask {}
/// Types that are a bitmap of a range of IPv4 addresses.
pub trait AddressBitmap: SetType {}

/// Options that the types of a trait have, for their pages.
macro_rules! options_of {
    (HashType) => {
        "\n- [`maxelem`](super::NewSet::maxelem), [`hashsize`](super::NewSet::hashsize), [`forceadd`](super::NewSet::forceadd), \
         [`bucketsize`](super::NewSet::bucketsize), [`initval`](super::NewSet::initval)"
    };
    (OfFamily) => {
        "\n- The family, which is given first: [`NewSet::ipv4`](super::NewSet::ipv4), [`NewSet::ipv6`](super::NewSet::ipv6) or \
         [`NewSet::of_family`](super::NewSet::of_family)"
    };
    (Networks) => {
        "\n- Members can be exceptions: [`nomatch`](super::Member::nomatch)"
    };
    (WithNetmask) => {
        "\n- [`netmask`](super::NewSet::netmask)"
    };
    (WithBitmask) => {
        "\n- [`bitmask`](super::NewSet::bitmask), since Linux 6.2"
    };
    (AddressBitmap) => {
        "\n- The range of IPv4 addresses, which is given first: [`NewSet::range`](super::NewSet::range)"
    };
}

/// `/// page; Name "kernel's name" = highest revision known here, method: entry, "its content"; traits; "options of its own";`
macro_rules! types {
    ($(
        $(#[$page:meta])+
        $type:ident $name:literal = $revision:literal $method:ident: $entry:ty, $doc:literal; $($property:ident),*; $own:literal;
    )+) => {
        /// A set type as a value (`ipset(8)`, "SET TYPES"). Linux 6.1 has all of them.
        ///
        /// The Rust type of the same name describes its entries and options.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[doc(alias = "IPSET_ATTR_TYPENAME")]
        pub enum Kind {
            $(
                #[doc = concat!("`", $name, "`: ", $doc, ". See the type [`", stringify!($type), "`](super::", stringify!($type), ").")]
                $type,
            )+
        }

        impl Kind {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$type),+];

            /// Returns the kernel's name of the type.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$type => $name,)+
                }
            }

            /// Returns the newest revision that this crate knows.
            pub fn revision(self) -> u8 {
                match self {
                    $(Self::$type => $revision,)+
                }
            }

            /// Returns the data structure of such a set.
            pub fn method(self) -> Method {
                match self {
                    $(Self::$type => Method::$method,)+
                }
            }
        }

        $(
            #[doc = concat!("`", $name, "`: ", $doc, ".")]
            ///
            $(#[$page])+
            ///
            /// # Options
            #[doc = concat!("\n", $own, $(options_of!($property),)*)]
            /// - [`timeout`](super::NewSet::timeout), [`counters`](super::NewSet::counters),
            ///   [`comment`](super::NewSet::comment), [`skbinfo`](super::NewSet::skbinfo)
            #[doc(alias = $name)]
            #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
            pub enum $type {}
            impl Known for $type {
                const OF: Kind = Kind::$type;
            }
            impl sealed::Sealed for $type {}
            impl SetType for $type {
                type Entry = $entry;
                const KIND: Option<Kind> = Some(Kind::$type);
            }
            $(impl $property for $type {})*
        )+
    };
}

types! {
    /// # Entry
    /// [`Addresses`](super::Addresses): `10.0.0.1`. A network or a range, `10.0.0.0/28` or `10.0.0.1-10.0.0.9`, stands
    /// for each of its addresses. The set is a map of at most 65536 elements; an address outside of its range is
    /// refused.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{BitmapIp, Member, NewSet};
    /// use std::net::Ipv4Addr;
    ///
    /// let lan = NewSet::<BitmapIp>::range(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 255, 255));
    /// assert_eq!(lan.to_string(), "bitmap:ip range 10.0.0.0-10.0.255.255");
    ///
    /// let host = Member::<BitmapIp>::new(Ipv4Addr::new(10, 0, 0, 1));
    /// assert_eq!(host, Member::parse("10.0.0.1")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    BitmapIp "bitmap:ip" = 3 Bitmap: Addresses, "IPv4 addresses of one range"; AddressBitmap, WithNetmask; "";

    /// # Entry
    /// An IPv4 address and an optional [`Mac`](super::Mac): `10.0.0.1,02:00:00:00:00:01` or `10.0.0.1`. The kernel
    /// completes an entry without a [`Mac`](super::Mac) by the Ethernet address of the first packet that matches, and
    /// starts its timeout then.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{BitmapIpMac, Mac, Member, NewSet};
    /// use std::net::Ipv4Addr;
    ///
    /// let lan = NewSet::<BitmapIpMac>::range(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 0, 255));
    /// assert_eq!(lan.to_string(), "bitmap:ip,mac range 10.0.0.0-10.0.0.255");
    ///
    /// let known = Member::<BitmapIpMac>::new((Ipv4Addr::new(10, 0, 0, 1), Mac::new([2, 0, 0, 0, 0, 1])));
    /// assert_eq!(known, Member::parse("10.0.0.1,02:00:00:00:00:01")?);
    /// let learning = Member::<BitmapIpMac>::new((Ipv4Addr::new(10, 0, 0, 2), None));
    /// assert_eq!(learning, Member::parse("10.0.0.2")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    BitmapIpMac "bitmap:ip,mac" = 3 Bitmap: (IpAddr, Option<Mac>), "IPv4 addresses of one range, each with an Ethernet address";
        AddressBitmap; "";

    /// # Entry
    /// [`Ports`](super::Ports): `80`, or `1000-2000` for each port of a range. A rule compares them with the port of
    /// any protocol.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{BitmapPort, Member, NewSet};
    ///
    /// let ports = NewSet::<BitmapPort>::range(0..=1023);
    /// assert_eq!(ports.to_string(), "bitmap:port range 0-1023");
    ///
    /// let web = Member::<BitmapPort>::new(80);
    /// assert_eq!(web, Member::parse("80")?);
    /// let many = Member::<BitmapPort>::new(100..=200);
    /// assert_eq!(many, Member::parse("100-200")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    BitmapPort "bitmap:port" = 3 Bitmap: Ports, "ports of one range, of any protocol"; ;
        "\n- The range of ports, which is given first: `NewSet::<BitmapPort>::range`";

    /// # Entry
    /// [`Addresses`](super::Addresses): `10.0.0.1` or `2001:db8::1`. An IPv4 network or range, `10.0.0.0/28` or
    /// `10.0.0.1-10.0.0.9`, stands for each of its addresses. The kernel refuses the address zero.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashIp, Member, NewSet};
    /// use std::{net::Ipv4Addr, time::Duration};
    ///
    /// let blocked = NewSet::<HashIp>::ipv4().maxelem(1_000_000).timeout(Duration::from_secs(600));
    /// assert_eq!(blocked.to_string(), "hash:ip family inet maxelem 1000000 timeout 600");
    ///
    /// let host = Member::<HashIp>::new(Ipv4Addr::new(192, 0, 2, 1)).timeout(Duration::from_secs(60));
    /// assert_eq!(host, Member::parse("192.0.2.1 timeout 60")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashIp "hash:ip" = 6 Hash: Addresses, "addresses"; OfFamily, HashType, WithNetmask, WithBitmask; "";

    /// # Entry
    /// An address and a [`Mac`](super::Mac): `10.0.0.1,02:00:00:00:00:01`. The kernel refuses the Ethernet address
    /// zero.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashIpMac, Mac, Member, NewSet};
    /// use std::net::Ipv4Addr;
    ///
    /// let hosts = NewSet::<HashIpMac>::ipv4();
    /// assert_eq!(hosts.to_string(), "hash:ip,mac family inet");
    ///
    /// let host = Member::<HashIpMac>::new((Ipv4Addr::new(10, 0, 0, 1), Mac::new([2, 0, 0, 0, 0, 1])));
    /// assert_eq!(host, Member::parse("10.0.0.1,02:00:00:00:00:01")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashIpMac "hash:ip,mac" = 1 Hash: (IpAddr, Mac), "addresses, each with an Ethernet address"; OfFamily, HashType; "";

    /// # Entry
    /// [`Addresses`](super::Addresses) and a packet mark (`u32`): `10.0.0.1,0x0000002a`. An IPv4 network or range
    /// stands for each of its addresses.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashIpMark, Member, NewSet};
    /// use std::net::Ipv4Addr;
    ///
    /// let marked = NewSet::<HashIpMark>::ipv4().markmask(0xff);
    /// assert_eq!(marked.to_string(), "hash:ip,mark family inet markmask 0x000000ff");
    ///
    /// let host = Member::<HashIpMark>::new((Ipv4Addr::new(10, 0, 0, 1), 42));
    /// assert_eq!(host, Member::parse("10.0.0.1,0x2a")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashIpMark "hash:ip,mark" = 3 Hash: (Addresses, u32), "addresses, each with a packet mark"; OfFamily, HashType;
        "\n- [`markmask`](super::NewSet::markmask)";

    /// # Entry
    /// [`Addresses`](super::Addresses) and [`ProtocolPorts`](super::ProtocolPorts): `10.0.0.1,tcp:80`. An IPv4 network
    /// or range, and a range of ports, stands for each of its elements. Since Linux 6.2 the kernel refuses the address
    /// zero.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashIpPort, Member, NewSet, ProtocolPorts};
    /// use std::net::Ipv4Addr;
    ///
    /// let services = NewSet::<HashIpPort>::ipv4().counters();
    /// assert_eq!(services.to_string(), "hash:ip,port family inet counters");
    ///
    /// let web = Member::<HashIpPort>::new((Ipv4Addr::new(10, 0, 0, 1), ProtocolPorts::tcp(80)));
    /// assert_eq!(web, Member::parse("10.0.0.1,tcp:80")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    ///
    /// [`Member::endpoint`](super::Member::endpoint) returns the address and protocol of an entry. So an entry and the
    /// key of an IPVS service convert to each other:
    ///
    /// ```
    /// use lvs::ipset::{HashIpPort, Member};
    /// use lvs::ipvs::ServiceKey;
    ///
    /// fn member(service: ServiceKey) -> Option<Member<HashIpPort>> {
    ///     Some(Member::new((service.address()?, service.protocol()?)))
    /// }
    ///
    /// fn service(member: &Member<HashIpPort>) -> Option<ServiceKey> {
    ///     let (address, protocol) = member.endpoint()?;
    ///     Some(ServiceKey::Address { protocol, address })
    /// }
    ///
    /// let web: ServiceKey = "10.96.0.10:443/tcp".parse()?;
    /// let entry = member(web).unwrap();
    /// assert_eq!(entry.to_string(), "10.96.0.10,tcp:443");
    /// assert_eq!(service(&entry), Some(web));
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashIpPort "hash:ip,port" = 7 Hash: (Addresses, ProtocolPorts), "addresses, each with a port";
        OfFamily, HashType, WithNetmask, WithBitmask; "\n- Linux 6.1 refuses a netmask of this type";

    /// # Entry
    /// [`Addresses`](super::Addresses), [`ProtocolPorts`](super::ProtocolPorts) and one address:
    /// `10.0.0.1,tcp:80,10.0.0.2`. An IPv4 network or range in the first place, and a range of ports, stands for each
    /// of its elements.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashIpPortIp, Member, NewSet, ProtocolPorts};
    /// use std::net::Ipv4Addr;
    ///
    /// let flows = NewSet::<HashIpPortIp>::ipv4();
    /// assert_eq!(flows.to_string(), "hash:ip,port,ip family inet");
    ///
    /// let flow = (Ipv4Addr::new(10, 0, 0, 1), ProtocolPorts::tcp(80), Ipv4Addr::new(10, 0, 0, 2));
    /// assert_eq!(Member::<HashIpPortIp>::new(flow), Member::parse("10.0.0.1,tcp:80,10.0.0.2")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashIpPortIp "hash:ip,port,ip" = 6 Hash: (Addresses, ProtocolPorts, IpAddr),
        "addresses, each with a port and another address"; OfFamily, HashType; "";

    /// # Entry
    /// [`Addresses`](super::Addresses), [`ProtocolPorts`](super::ProtocolPorts) and a network as
    /// [`Addresses`](super::Addresses): `10.0.0.1,tcp:80,192.168.0.0/16`. An IPv4 network or range in the first place,
    /// and a range of ports, stands for each of its elements. A range in the last place is split into networks. The
    /// kernel refuses a network of prefix length 0.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashIpPortNet, Member, Network, NewSet, ProtocolPorts};
    /// use std::net::Ipv4Addr;
    ///
    /// let clients = NewSet::<HashIpPortNet>::ipv4();
    /// assert_eq!(clients.to_string(), "hash:ip,port,net family inet");
    ///
    /// let network: Network = "192.168.0.0/16".parse()?;
    /// let allowed = Member::<HashIpPortNet>::new((Ipv4Addr::new(10, 0, 0, 1), ProtocolPorts::tcp(80), network));
    /// assert_eq!(allowed, Member::parse("10.0.0.1,tcp:80,192.168.0.0/16")?);
    /// let except = Member::<HashIpPortNet>::parse("10.0.0.1,tcp:80,192.168.7.0/24 nomatch")?;
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashIpPortNet "hash:ip,port,net" = 8 Hash: (Addresses, ProtocolPorts, Addresses),
        "addresses, each with a port and a network"; OfFamily, HashType, Networks; "";

    /// # Entry
    /// [`Mac`](super::Mac): `02:00:00:00:00:01`. The kernel refuses the Ethernet address zero.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashMac, Mac, Member, NewSet};
    ///
    /// let cards = NewSet::<HashMac>::new().comment();
    /// assert_eq!(cards.to_string(), "hash:mac comment");
    ///
    /// let card = Member::<HashMac>::new(Mac::new([2, 0, 0, 0, 0, 1])).comment("printer".parse()?);
    /// assert_eq!(card, Member::parse("02:00:00:00:00:01 comment \"printer\"")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    HashMac "hash:mac" = 1 Hash: Mac, "Ethernet addresses"; HashType; "\n- Created by `NewSet::<HashMac>::new`, without a family";

    /// # Entry
    /// [`Addresses`](super::Addresses): a network such as `10.0.0.0/8`. An address is the network of one host. An IPv4
    /// range is split into networks. The most specific network of an address decides whether the set contains it:
    /// networks inside of a larger one can be exceptions ([`nomatch`](super::Member::nomatch)). The kernel refuses a
    /// network of prefix length 0.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashNet, Member, Network, NewSet};
    ///
    /// let private = NewSet::<HashNet>::ipv4();
    /// assert_eq!(private.to_string(), "hash:net family inet");
    ///
    /// let network: Network = "10.0.0.0/8".parse()?;
    /// assert_eq!(Member::<HashNet>::new(network), Member::parse("10.0.0.0/8")?);
    /// let except: Network = "10.9.0.0/16".parse()?;
    /// assert_eq!(Member::<HashNet>::new(except).nomatch(), Member::parse("10.9.0.0/16 nomatch")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashNet "hash:net" = 7 Hash: Addresses, "networks"; OfFamily, HashType, Networks; "";

    /// # Entry
    /// A network as [`Addresses`](super::Addresses) and an [`InterfaceMatch`](super::InterfaceMatch):
    /// `10.0.0.0/8,eth0`, `10.0.0.0/8,physdev:eth0` for a port of a bridge, or `10.0.0.0/8,eth wildcard` for all names
    /// with this start. A network of prefix length 0 is possible. The kernel takes at most 64 interfaces for one
    /// network.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashNetIface, InterfaceMatch, Member, Network, NewSet};
    ///
    /// let sources = NewSet::<HashNetIface>::ipv4();
    /// assert_eq!(sources.to_string(), "hash:net,iface family inet");
    ///
    /// let network: Network = "10.0.0.0/8".parse()?;
    /// let inside = Member::<HashNetIface>::new((network, InterfaceMatch::new("eth0".parse()?)));
    /// assert_eq!(inside, Member::parse("10.0.0.0/8,eth0")?);
    /// let bridge = Member::<HashNetIface>::new((network, InterfaceMatch::new("veth".parse()?).wildcard()));
    /// assert_eq!(bridge, Member::parse("10.0.0.0/8,veth wildcard")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    HashNetIface "hash:net,iface" = 8 Hash: (Addresses, InterfaceMatch), "networks, each with an interface";
        OfFamily, HashType, Networks; "";

    /// # Entry
    /// Two networks as [`Addresses`](super::Addresses): `10.0.0.0/8,192.168.0.0/16`. An IPv4 range is split into
    /// networks. The first network has precedence: a more specific first one decides before an exception with a less
    /// specific one. The kernel refuses a network of prefix length 0 in either place.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashNetNet, Member, Network, NewSet};
    ///
    /// let pairs = NewSet::<HashNetNet>::ipv4();
    /// assert_eq!(pairs.to_string(), "hash:net,net family inet");
    ///
    /// let (from, to): (Network, Network) = ("10.0.0.0/8".parse()?, "192.168.0.0/16".parse()?);
    /// assert_eq!(Member::<HashNetNet>::new((from, to)), Member::parse("10.0.0.0/8,192.168.0.0/16")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashNetNet "hash:net,net" = 4 Hash: (Addresses, Addresses), "pairs of networks";
        OfFamily, HashType, Networks, WithNetmask, WithBitmask; "\n- Linux 6.1 refuses a netmask of this type";

    /// # Entry
    /// A network as [`Addresses`](super::Addresses) and [`ProtocolPorts`](super::ProtocolPorts): `10.0.0.0/8,tcp:80`.
    /// An IPv4 range is split into networks, a range of ports stands for each port. The kernel refuses a network of
    /// prefix length 0.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashNetPort, Member, Network, NewSet, ProtocolPorts};
    ///
    /// let open = NewSet::<HashNetPort>::ipv6();
    /// assert_eq!(open.to_string(), "hash:net,port family inet6");
    ///
    /// let network: Network = "2001:db8::/32".parse()?;
    /// let web = Member::<HashNetPort>::new((network, ProtocolPorts::tcp(80..=443)));
    /// assert_eq!(web, Member::parse("2001:db8::/32,tcp:80-443")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashNetPort "hash:net,port" = 8 Hash: (Addresses, ProtocolPorts), "networks, each with a port";
        OfFamily, HashType, Networks; "";

    /// # Entry
    /// A network as [`Addresses`](super::Addresses), [`ProtocolPorts`](super::ProtocolPorts) and another network:
    /// `10.0.0.0/8,tcp:80,192.168.0.0/16`. An IPv4 range is split into networks, a range of ports stands for each port.
    /// Networks of prefix length 0 are possible. The first network has precedence, as in
    /// [`HashNetNet`](super::HashNetNet).
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{HashNetPortNet, Member, Network, NewSet, ProtocolPorts};
    ///
    /// let flows = NewSet::<HashNetPortNet>::ipv4();
    /// assert_eq!(flows.to_string(), "hash:net,port,net family inet");
    ///
    /// let (from, to): (Network, Network) = ("10.0.0.0/8".parse()?, "192.168.0.0/16".parse()?);
    /// let web = Member::<HashNetPortNet>::new((from, ProtocolPorts::tcp(80), to));
    /// assert_eq!(web, Member::parse("10.0.0.0/8,tcp:80,192.168.0.0/16")?);
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    HashNetPortNet "hash:net,port,net" = 3 Hash: (Addresses, ProtocolPorts, Addresses), "pairs of networks with a port";
        OfFamily, HashType, Networks; "";

    /// # Entry
    /// [`ListMember`](super::ListMember): the name of another set, `web`, or with its place in the list,
    /// `web before dns` or `web after dns`. A packet matches the list if it matches one of its sets. A `list:set`
    /// cannot hold a `list:set`.
    ///
    /// # Example
    /// ```
    /// use lvs::ipset::{ListMember, ListSet, Member, NewSet, SetName};
    ///
    /// let both = NewSet::<ListSet>::new().size(16);
    /// assert_eq!(both.to_string(), "list:set size 16");
    ///
    /// let (web, dns): (SetName, SetName) = ("web".parse()?, "dns".parse()?);
    /// assert_eq!(Member::<ListSet>::new(dns), Member::parse("dns")?);
    /// assert_eq!(Member::<ListSet>::new(ListMember::new(web).before(dns)), Member::parse("web before dns")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ListSet "list:set" = 3 List: ListMember, "other sets, in an order"; ;
        "\n- Created by `NewSet::<ListSet>::new`, with a [`size`](super::NewSet::size)";
}

/// Data structure of a set.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Method {
    /// A bitmap, with one bit for each element of a range.
    Bitmap,
    /// A hash table.
    Hash,
    /// A list.
    List,
}

impl Kind {
    /// Returns the name of the type's kernel module: `ip_set_hash_ipport` for `hash:ip,port`.
    pub(crate) fn module(self) -> String {
        format!("{MODULE}_{}", self.name().replace(':', "_").replace(',', ""))
    }

    /// Whether a set of this type has one family of addresses.
    pub fn has_family(self) -> bool {
        self.method() == Method::Hash && self != Self::HashMac
    }

    /// Whether entries have networks, so that exceptions are possible (`nomatch`).
    pub fn has_networks(self) -> bool {
        matches!(
            self,
            Self::HashNet
                | Self::HashNetNet
                | Self::HashNetPort
                | Self::HashNetPortNet
                | Self::HashNetIface
                | Self::HashIpPortNet
        )
    }

    /// Whether the first address of an entry is a network rather than one address.
    pub(crate) fn starts_with_network(self) -> bool {
        self.has_networks() && self != Self::HashIpPortNet
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error of an unknown name of a set type.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no set type is called {0:?}")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| UnknownKind(name.to_owned()))
    }
}

impl From<Infallible> for Cause {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<WrongEntry> for Cause {
    /// The kernel sent an entry that sets of this type do not have.
    fn from(WrongEntry: WrongEntry) -> Self {
        Self::Decode(DecodeError::Missing { attribute: "IPSET_ATTR_DATA" })
    }
}

serde_text!(Kind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
        assert!("hash:nothing".parse::<Kind>().is_err());
    }

    #[test]
    fn names_of_modules_have_no_punctuation() {
        assert_eq!(Kind::HashIpPort.module(), "ip_set_hash_ipport");
        assert_eq!(Kind::ListSet.module(), "ip_set_list_set");
    }

    #[test]
    fn the_method_is_in_the_name() {
        for kind in Kind::ALL {
            let method = match kind.method() {
                Method::Bitmap => "bitmap:",
                Method::Hash => "hash:",
                Method::List => "list:",
            };
            assert!(kind.name().starts_with(method), "{kind}");
            assert_eq!(kind.has_networks(), kind.name().contains("net"), "{kind}");
        }
    }
}
