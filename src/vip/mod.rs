//! Virtual IPs: making an address local to this machine, so that its packets reach IPVS.
//!
//! IPVS takes packets that are delivered to this machine. The address of a virtual service must therefore be local, though no
//! process needs to listen there. [`Vips`] makes it local, in the way of a [`Binder`]:
//!
//! ```no_run
//! use std::net::IpAddr;
//!
//! use lvs::vip::{Binder, Vip, Vips};
//!
//! let mut vips = Vips::connect()?;
//! let vip0 = Binder::dummy("vip0")?;
//! vips.bind(&vip0, "10.96.0.10".parse::<IpAddr>()?)?;
//! vips.sync(&vip0, ["10.96.0.10".parse::<IpAddr>()?, "fd00:96::10".parse()?])?;
//! assert_eq!(vips.virtual_ips(&vip0)?.len(), 2);
//!
//! // One route for all addresses that there may ever be.
//! vips.bind(&Binder::local_routes(77), "10.100.0.0/16".parse::<Vip>()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which binder
//!
//! | | [`dummy`](Binder::dummy) | [`local_routes`](Binder::local_routes) | [`label`](Binder::label) |
//! |---|---|---|---|
//! | what it makes | addresses on an interface of its own | routes of type `local` | addresses on an interface that has others |
//! | for | up to some thousand addresses; real servers of direct routing | any number of addresses, and prefixes | the director's few addresses in its own subnet |
//! | owns | the host addresses of that interface | the routes of its protocol number | the addresses with its protocol number (and label) |
//! | others see it | `ip address`, node address lists | `ip route show table local` | `ip address` |
//! | a process can listen on it | yes | IPv4 yes, IPv6 no (`EADDRNOTAVAIL`) | yes |
//! | answers ARP on the machine's other interfaces | unless `arp_ignore` is 1 | unless `arp_ignore` is 1 | on its interface always |
//! | answers neighbour discovery (IPv6) | no | no | on its interface |
//! | goes when | the dummy goes down (IPv6 only; it is never up) | `lo` goes down (IPv6 only) | the interface goes down (IPv6 only) |
//!
//! When in doubt: a dummy interface up to a thousand addresses, local routes above, one prefix if all addresses
//! come from it. Where clients are on the same Ethernet and must learn the address from this machine over IPv6, a label.
//!
//! # What it costs
//!
//! Microseconds for one virtual IP when so many are bound already, a hundred with each call; in brackets the same for a loop
//! that sends the same messages prebuilt, and looks at nothing before. Linux 6.18, two cores, by `cargo run --release
//! --example vip_cost`:
//!
//! | | first | 10,000th | 20,000th | unbind one of 20,000 | list 20,000 | clear 20,000 |
//! |---|---|---|---|---|---|---|
//! | address with a label, IPv4 | 3.2 (1.9) | 131 (139) | 669 (575) | 724 | 9 ms | 3.4 s |
//! | address with a label, IPv6 | 5.5 (2.6) | 799 (1137) | 2029 (1562) | 4985 | 29 ms | 45 s |
//! | local route, IPv4 | 2.3 (1.3) | 1.7 (0.7) | 1.9 (0.8) | 0.6 | 4 ms | 43 ms |
//! | local route, IPv6 | 2.2 (1.1) | 2.5 (1.2) | 2.8 (1.7) | 1.4 | 8 ms | 29 ms |
//!
//! The same for a dummy interface in the emulated machine of the tests, where everything takes many times as long: Linux 6.12,
//! by `cargo xtask vm --kernel 6.12 -- vip_cost dummy`:
//!
//! | | first | 10,000th | 20,000th | unbind one of 20,000 | list 20,000 | clear 20,000 |
//! |---|---|---|---|---|---|---|
//! | address on a dummy, IPv4 | 111 (62) | 508 (421) | 1418 (1300) | 964 | 300 ms | 255 ms |
//! | address on a dummy, IPv6 | 128 (22) | 1112 (1207) | 2266 (2517) | 7970 | 266 ms | 238 ms |
//!
//! The kernel keeps the addresses of an interface in a list that it walks for each change, so many of them cost it
//! quadratic time, all the while holding a lock that every other change of the network waits for; the look-up for conflicts
//! is a microsecond of it. Thousands of IPv6 addresses come and go in a moment only with their dummy interface
//! ([`Vips::clear`]). Binders with a label also read the list of their interface with each call. Local routes take the
//! same time however many there are, and one route for a prefix does for all of them.
//!
//! # Direct routing and tunnels
//!
//! The real servers have the virtual IP, too, but must keep silent about it: bind it to a dummy interface there, after setting
//! `net.ipv4.conf.all.arp_ignore` to 1 and `arp_announce` to 2 ([`ready`](crate::ready) says how they are; IPv6 needs nothing).
//! The director must answer for it: a label on the interface that the clients are on, or anything else with `arp_ignore`
//! at 0. Over IPv6 only a label answers.
//!
//! To bind an address is announced to nobody: after a fail-over neighbours go on sending to the old machine until they ask
//! again, unless somebody sends them a gratuitous ARP packet.
//!
//! # What it takes care of
//!
//! - If anything but this binder already makes an address local, binding it fails with a conflict
//!   ([`is_conflict`](crate::Error::is_conflict)): an address of another interface, a route of another protocol, an address
//!   inside of a prefix. The broadcast and anycast addresses of the machine's subnets are conflicts, too. The other
//!   addresses of [`Vips::bind_all`] and [`Vips::sync`] are bound all the same. For all or nothing, [`Vips::check`] reports
//!   conflicts beforehand.
//!   Each address is looked up in the routing table by itself (`RTM_GETROUTE` with `RTM_F_FIB_MATCH`); the addresses of
//!   the machine are never listed. An IPv6 address that another program has made a moment ago, or that is
//!   still being checked for duplicates, has no route yet and is not seen (but refused as existing if it is on the same
//!   interface). Between the look-up and the change somebody else may be faster.
//! - Only what the binder owns is listed or removed. Ownership is in the kernel, not in this process, so it survives a
//!   restart. Addresses with a label carry a protocol number (`IFA_PROTO`, since Linux 5.18), because a label can be taken by
//!   anybody, and IPv6 has none. An IPv6 address that a dummy interface has with another prefix length counts as bound,
//!   though it is neither listed nor unbound.
//! - To bind what is bound and to unbind what is gone are [outcomes](crate::Outcome), not errors. [`Vips::sync`] binds first and
//!   then unbinds; killed at whatever moment, the next one ends in what is desired.
//! - IPv6 addresses are made without looking for duplicates, so that they can be used at once: their routes, which the kernel
//!   makes in the background all the same, are waited for, up to a second. They are made without a second route beside the local
//!   one, and as deprecated (never preferred): the machine does not take them for its own connections.
//! - A dummy interface is made with the first address and left down; one of another kind with its name is refused.

mod batch;
mod binder;
mod client;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod link;
mod listing;
pub(crate) mod message;
mod plan;
mod refusal;
mod request;
mod watch;

pub use batch::{BatchError, Failure, Tally};
pub use binder::{Binder, IntoVip, InvalidVip, Vip};
pub use client::Vips;
pub use request::Change;
pub use watch::Watch;
