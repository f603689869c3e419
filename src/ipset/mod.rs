//! ipset: sets of addresses, networks, ports and interfaces in the kernel, which rules of packet filters match.
//!
//! `iptables -m set --match-set blocked src` matches packets whose source is in the set `blocked`. `ip6tables` and `tc`
//! (`ematch ipset`) match these sets, too. Rules of `nft` cannot: the sets of nftables are other objects of the kernel.
//!
//! - [`Ipset`] is the client, with a method for every operation.
//! - A set has a type, such as [`HashIp`] or [`HashNetPort`]. A [`NewSet`] has the options of a new set. A [`Set`] is
//!   the handle of an existing one. A [`Member`] is an entry with its timeout, counters and comment. All three have the
//!   set's type as a type parameter, so that a wrong entry or option does not compile.
//! - [`AnyType`] is the type parameter of sets whose type is only known at run time. Their entries are [`Entry`]
//!   values.
//! - [`Ipset::add_all`], [`put_all`](Ipset::put_all), [`delete_all`](Ipset::delete_all) and
//!   [`remove_all`](Ipset::remove_all) change many members in one call. [`Ipset::sync`] sends the difference to desired
//!   members. [`Ipset::replace`] swaps all members atomically.
//! - A [`Change`] is one change as a value. [`Ipset::batch`] makes any number of them.
//!
//! ```no_run
//! use lvs::ipset::{HashIp, HashNetPort, Ipset, Member, NewSet};
//! use std::time::Duration;
//!
//! let mut ipset = Ipset::connect()?;
//! let new = NewSet::<HashIp>::ipv4().timeout(Duration::from_secs(600)).counters();
//! let (blocked, _) = ipset.put_set("blocked".parse()?, &new)?;
//! ipset.put(&blocked, &Member::parse("192.0.2.1")?)?;
//! for member in ipset.members(&blocked)? {
//!     println!("{member}");
//! }
//!
//! // Unlike `put_set`, `create` fails if the set exists.
//! let web = ipset.create("web".parse()?, &NewSet::<HashNetPort>::ipv6())?;
//! ipset.add(&web, &Member::parse("2001:db8::/32,tcp:80-443")?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An entry or an option that a set type cannot have does not compile. For example, only sets of networks have
//! exceptions (`nomatch`): smaller networks that do not match. For a `hash:ip` the compiler reports the unsatisfied
//! trait bound `HashIp: Networks`:
//!
//! ```compile_fail
//! # use lvs::ipset::{HashIp, Member};
//! let member = Member::<HashIp>::new(std::net::Ipv4Addr::LOCALHOST).nomatch();
//! ```
//!
//! A bitmap has no maximum number of entries (`maxelem`). The unsatisfied trait bound is `BitmapPort: HashType`:
//!
//! ```compile_fail
//! # use lvs::ipset::{BitmapPort, NewSet};
//! let ports = NewSet::<BitmapPort>::range(1..=1000).maxelem(500);
//! ```
//!
//! The entry of another set type does not compile, either. The compiler reports: "`lvs::ipset::ListMember` is not an entry
//! of a set whose entries are `lvs::ipset::Addresses`". `Addresses` are addresses, ranges and networks.
//!
//! ```compile_fail
//! # use lvs::ipset::{HashNet, Ipset, ListMember, Member, Set};
//! # fn add(ipset: &mut Ipset, networks: &Set<HashNet>, other: ListMember) {
//! ipset.add(networks, &Member::new(other));
//! # }
//! ```
//!
//! Sets belong to one network namespace: see [`netns`](crate::netns). The client uses protocol 7, which every kernel
//! has since Linux 4.20 (`include/uapi/linux/netfilter/ipset/ip_set.h`, `ipset(8)`).

mod addresses;
mod batch;
mod check;
mod client;
#[cfg(feature = "serde")]
mod data;
pub(crate) mod entry;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod into_entry;
mod kind;
mod listing;
pub(crate) mod new_set;
pub(crate) mod numbers;
mod options;
mod order;
mod parts;
mod ports;
#[cfg(test)]
mod properties;
mod refusal;
mod replace;
pub(crate) mod request;
pub(crate) mod set;
mod sync;
mod text;
mod usual;

pub use addresses::{Addresses, Network};
pub use batch::{BatchError, Failure};
pub use client::Ipset;
pub use entry::{Counters, Entry, Member, SkbInfo, WrongEntry};
pub use into_entry::IntoEntry;
pub(crate) use kind::MODULE;
pub use kind::{
    AddressBitmap, AnyType, BitmapIp, BitmapIpMac, BitmapPort, HashIp, HashIpMac, HashIpMark, HashIpPort, HashIpPortIp,
    HashIpPortNet, HashMac, HashNet, HashNetIface, HashNetNet, HashNetPort, HashNetPortNet, HashType, Kind, Known,
    ListSet, Method, Networks, OfFamily, SetType, UnknownKind, WithBitmask, WithNetmask,
};
pub use listing::{Contents, Listed, Members, Sets};
pub use new_set::NewSet;
pub use options::{BitmapRange, SetOptions};
pub use parts::{Comment, InterfaceMatch, InterfaceName, ListMember, Mac, Place, SetName};
pub use ports::{Ports, ProtocolPorts};
pub use request::{Change, Query};
pub use set::{Set, SetInfo};
pub use sync::Tally;
