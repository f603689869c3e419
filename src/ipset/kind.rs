//! The types of sets, as values and as Rust types.

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

/// A type of sets as a Rust type: what its entries are is known when a program is compiled.
///
/// ```compile_fail
/// # use lvs::ipset::{HashIp, Mac, Member};
/// // A hash:ip has no room for the address of an Ethernet card.
/// let member = Member::<HashIp>::new(Mac::new([2, 0, 0, 0, 0, 1]));
/// ```
pub trait SetType: sealed::Sealed + Copy + fmt::Debug + Hash + Ord + 'static {
    /// Type of the entries of such a set.
    type Entry: Copy + fmt::Debug + Hash + Ord + IntoEntry<Self::Entry> + TryFrom<Entry, Error: Into<Cause>>;
    /// The type as a value; `None` where only a set's header has it ([`AnyType`]).
    const KIND: Option<Kind>;
    /// The entry as one of a set of whatever type.
    fn any(entry: Self::Entry) -> Entry;
}

/// Types that are known when a program is compiled: all but [`AnyType`].
pub trait Known: SetType {
    /// The type as a value.
    const OF: Kind;
}

/// A set of whatever type: its entries are [`Entry`] values.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AnyType {}
impl sealed::Sealed for AnyType {}
impl SetType for AnyType {
    type Entry = Entry;
    const KIND: Option<Kind> = None;
    fn any(entry: Entry) -> Entry {
        entry
    }
}

/// Hash types.
pub trait HashType: SetType {}
/// Hash types that are made for one family of addresses.
pub trait OfFamily: HashType {}
/// Types whose entries are made of networks: they have exceptions (`nomatch`).
pub trait Networks: SetType {}
/// Types that can cut the addresses of their entries to networks of one size (`netmask`).
pub trait WithNetmask: SetType {}
/// Types that can do so by any mask (`bitmask`).
pub trait WithBitmask: WithNetmask {}
/// Types that are a map of a range of IPv4 addresses.
pub trait AddressBitmap: SetType {}

/// `Name "kernel's name" = highest revision known here, method: entry, "what it holds"; properties`
macro_rules! types {
    ($($type:ident $name:literal = $revision:literal $method:ident: $entry:ty, $doc:literal; $($property:ident),*;)+) => {
        /// A type of sets (`ipset(8)`, "SET TYPES"). The kernel has all of them since long before Linux 6.1.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[doc(alias = "IPSET_ATTR_TYPENAME")]
        pub enum Kind {
            $(
                #[doc = concat!("`", $name, "`: ", $doc)]
                $type,
            )+
        }

        impl Kind {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$type),+];

            /// The kernel's name of it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$type => $name,)+
                }
            }

            /// The newest revision that is known here.
            pub fn revision(self) -> u8 {
                match self {
                    $(Self::$type => $revision,)+
                }
            }

            /// Method by which such a set is kept.
            pub fn method(self) -> Method {
                match self {
                    $(Self::$type => Method::$method,)+
                }
            }
        }

        $(
            #[doc = concat!("`", $name, "`: ", $doc)]
            #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
            pub enum $type {}
            impl Known for $type {
                const OF: Kind = Kind::$type;
            }
            impl sealed::Sealed for $type {}
            impl SetType for $type {
                type Entry = $entry;
                const KIND: Option<Kind> = Some(Kind::$type);
                #[inline]
                fn any(entry: $entry) -> Entry {
                    entry.into()
                }
            }
            $(impl $property for $type {})*
        )+
    };
}

types! {
    BitmapIp "bitmap:ip" = 3 Bitmap: Addresses, "IPv4 addresses of one range"; AddressBitmap, WithNetmask;
    BitmapIpMac "bitmap:ip,mac" = 3 Bitmap: (IpAddr, Option<Mac>),
        "IPv4 addresses of one range, each with its Ethernet address; one added without it takes that of its first packet";
        AddressBitmap;
    BitmapPort "bitmap:port" = 3 Bitmap: Ports, "ports of one range, of whatever protocol"; ;
    HashIp "hash:ip" = 6 Hash: Addresses, "addresses"; HashType, OfFamily, WithNetmask, WithBitmask;
    HashIpMac "hash:ip,mac" = 1 Hash: (IpAddr, Mac), "addresses, each with an Ethernet address"; HashType, OfFamily;
    HashIpMark "hash:ip,mark" = 3 Hash: (Addresses, u32), "addresses, each with a packet mark"; HashType, OfFamily;
    HashIpPort "hash:ip,port" = 7 Hash: (Addresses, ProtocolPorts), "addresses, each with a port";
        HashType, OfFamily, WithNetmask, WithBitmask;
    HashIpPortIp "hash:ip,port,ip" = 6 Hash: (Addresses, ProtocolPorts, IpAddr),
        "addresses, each with a port and another address"; HashType, OfFamily;
    HashIpPortNet "hash:ip,port,net" = 8 Hash: (Addresses, ProtocolPorts, Addresses),
        "addresses, each with a port and a network"; HashType, OfFamily, Networks;
    HashMac "hash:mac" = 1 Hash: Mac, "Ethernet addresses"; HashType;
    HashNet "hash:net" = 7 Hash: Addresses, "networks"; HashType, OfFamily, Networks;
    HashNetIface "hash:net,iface" = 8 Hash: (Addresses, InterfaceMatch), "networks, each with an interface";
        HashType, OfFamily, Networks;
    HashNetNet "hash:net,net" = 4 Hash: (Addresses, Addresses), "pairs of networks";
        HashType, OfFamily, Networks, WithNetmask, WithBitmask;
    HashNetPort "hash:net,port" = 8 Hash: (Addresses, ProtocolPorts), "networks, each with a port";
        HashType, OfFamily, Networks;
    HashNetPortNet "hash:net,port,net" = 3 Hash: (Addresses, ProtocolPorts, Addresses), "pairs of networks with a port";
        HashType, OfFamily, Networks;
    ListSet "list:set" = 3 List: ListMember, "other sets, in an order"; ;
}

/// Method by which a set is kept.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Method {
    /// As bits, one for each element of a range.
    Bitmap,
    /// In a hash table.
    Hash,
    /// As a list.
    List,
}

impl Kind {
    /// Returns the name of the type's kernel module: `ip_set_hash_ipport` for `hash:ip,port`.
    pub(crate) fn module(self) -> String {
        format!("{MODULE}_{}", self.name().replace(':', "_").replace(',', ""))
    }

    /// Whether a set of this type is made for one family of addresses.
    pub fn has_family(self) -> bool {
        self.method() == Method::Hash && self != Self::HashMac
    }

    /// Whether entries are networks, at least in a part, so that exceptions are possible (`nomatch`).
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

/// No type of sets has this name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no type of sets is called {0:?}")]
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
