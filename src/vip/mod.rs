//! Virtual IPs: making an address local to this machine, so that its packets reach IPVS.
//!
//! IPVS handles packets that are delivered to this machine. The address of a virtual service must therefore be local,
//! though no process needs to listen on it. [`Vips`] is the client that makes it local. A [`Binder`] is one of three
//! ways to do so, and identifies the addresses that belong to a program:
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
//! // One route makes all addresses of a prefix local. Choose a protocol number from 5 to 255 that no other program uses.
//! vips.bind(&Binder::local_routes(77), "10.100.0.0/16".parse::<Vip>()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which binder
//!
//! | | [`dummy`](Binder::dummy) | [`local_routes`](Binder::local_routes) | [`label`](Binder::label) |
//! |---|---|---|---|
//! | creates | addresses on an interface of its own | routes of type `local` | addresses on an interface that has others |
//! | for | up to a thousand addresses; real servers of direct routing | any number of addresses, and prefixes | few addresses in the load balancer's own subnet |
//! | owns | the host addresses (`/32`, `/128`) of that interface | the routes of its protocol number (`RTPROT_*`) | the addresses with its protocol number (and label) |
//! | listed by | `ip address`, programs that list the machine's addresses | `ip route show table local` | `ip address` |
//! | a process can listen on it | yes | IPv4 yes, IPv6 no (`EADDRNOTAVAIL`) | yes |
//! | answers ARP on the machine's other interfaces | unless `arp_ignore` is 1 | unless `arp_ignore` is 1 | on its interface always |
//! | answers neighbour discovery (IPv6) | no | no | on its interface |
//! | removed when | another program sets the interface up and down again (IPv6 only) | `lo` goes down (IPv6 only) | the interface goes down (IPv6 only) |
//! | with `keep_addr_on_down` | only the local route is removed | no difference | only the local route is removed |
//!
//! Choose a dummy interface for up to a thousand addresses and local routes for more, or one prefix if it contains all
//! addresses. Choose a label if clients are on the same Ethernet and use IPv6: only a label answers neighbour
//! discovery.
//!
//! # Cost
//!
//! Binding a local route costs the same at any number of routes, and one route is enough for a prefix. The kernel keeps
//! the addresses of an interface in a list, and walks it at each change under a lock of the whole network
//! configuration: the total time is quadratic. Above a thousand addresses, use local routes. [`Vips::clear`] removes
//! thousands of IPv6 addresses quickly, by deleting their dummy interface. Binders with a label also list their
//! interface at each call. `docs/performance.md` has the figures.
//!
//! # Direct routing and tunnels
//!
//! The real servers have the virtual IP, too, but must not answer ARP for it. Bind it to a dummy interface there, after
//! setting `net.ipv4.conf.all.arp_ignore` to 1 and `arp_announce` to 2; [`ready`](crate::ready) reports both. IPv6
//! needs no setting. The load balancer must answer: with a label on the clients' interface, or with any binder and
//! `arp_ignore` at 0. With IPv6 only a label answers.
//!
//! Packets arrive at the real server unchanged, so that it listens on the virtual IP and the port of the service:
//!
//! ```no_run
//! use lvs::ipvs::{Destination, Forwarding, Ipvs, Scheduler, Service};
//! use lvs::vip::{Binder, Vip, Vips};
//!
//! // On the load balancer:
//! let web = Service::tcp("192.0.2.10:80".parse()?, Scheduler::WRR);
//! let server = Destination::new("192.0.2.21:80".parse()?).forwarding(Forwarding::DirectRoute);
//! let mut ipvs = Ipvs::connect()?;
//! ipvs.put_service(web)?;
//! ipvs.put_destination(web, server)?;
//! Vips::connect()?.bind(&Binder::label("eth0:1", 77)?, "192.0.2.10".parse::<Vip>()?)?;
//!
//! // On each real server, after setting `arp_ignore` and `arp_announce`:
//! Vips::connect()?.bind(&Binder::dummy("vip0")?, "192.0.2.10".parse::<Vip>()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Binding does not announce the address: no gratuitous ARP is sent. After a fail-over, neighbours send to the old
//! machine until their ARP entries expire, unless another program announces the address (`arping -U`).
//!
//! # Guarantees
//!
//! - If anything but this binder already makes an address local, binding fails with a conflict
//!   ([`is_conflict`](crate::Error::is_conflict)) and changes nothing. A conflict is an address of another interface, a
//!   route of another protocol, or an address inside of a prefix. The broadcast and anycast addresses of the machine's
//!   subnets are conflicts, too, alone and inside of a prefix. [`Vips::bind_all`] and [`Vips::sync`] bind the other addresses; [`Vips::check`]
//!   reports conflicts beforehand.
//! - Conflicts are found by a look-up of each address in the routing table (`RTM_GETROUTE` with `RTM_F_FIB_MATCH`). An
//!   IPv6 address that another program has just added, or that is still checked for duplicates, has no route yet. Such an
//!   address is not found as a conflict, unless it is on the binder's own interface. Another program may also add the
//!   address between the look-up and the change.
//! - A bound virtual IP is local. An address of the binder may have lost its local route, for example because its
//!   interface went down while the sysctl `net.ipv6.conf.*.keep_addr_on_down` was set. Binding deletes such an address
//!   and adds it again, and counts it as bound. Binding fails if the address is not local even then, since another route
//!   or rule precedes the local route. [`Vips::virtual_ips_without_route`] lists such addresses.
//! - The routes of addresses on an interface of a VRF are not checked: the kernel stores them in the table of the VRF.
//! - Only addresses of the binder are listed or removed. The kernel stores the ownership, so that it survives a
//!   restart. Addresses with a label also have a protocol number (`IFA_PROTO`, since Linux 5.18), because other
//!   programs may use the same label, and IPv6 has no labels.
//! - An IPv6 address that another program added to the dummy interface with a prefix length below 128 counts as bound.
//!   It is not listed, and remains after unbinding.
//! - Binding an address that is bound, and unbinding one that is not, are [outcomes](crate::Outcome) without an error.
//!   [`Vips::sync`] binds first and then unbinds. After a kill at any moment, the next call completes it.
//! - IPv6 addresses are usable immediately: they are added without duplicate address detection (`nodad`), and the call
//!   waits up to a second for their routes. They also have `noprefixroute` and a preferred lifetime of 0, so that the
//!   machine does not choose them as source addresses. `ip address` shows such addresses as `deprecated`.
//! - A dummy interface is created with the first address and stays down. An interface of another kind with its name is
//!   an error.

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
