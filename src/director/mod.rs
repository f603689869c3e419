//! The declarative layer: a program describes the desired services, virtual IPs and sets, and the director makes the
//! kernel's state equal to them. In LVS literature, a director is the load-balancing machine; here it is the client that
//! programs this machine.
//!
//! A director needs `CAP_NET_ADMIN` in the initial user namespace. The kernel loads the modules `ip_vs`, `ip_set` and
//! `nf_conntrack_netlink` at the first use.
//!
//! - [`Desired`] is the desired state. It is checked when it is built, and can be read with `serde`.
//! - [`Owner`] decides which services and sets the director may change. All others are foreign and stay as they are.
//!   [`Owner::registered`] records the keys of its services in ipset sets, the registry sets. A desired service that
//!   another program added is in [`Report::conflicts`], until [`Director::adopt`] records it.
//! - [`Director`] is the client. [`Director::sync`] reads, plans and applies; [`Director::plan`] changes nothing.
//! - [`plan`](plan()) is a pure function of [`Desired`], a [`Snapshot`] of the kernel and the times of [`Drains`]. It
//!   returns a [`Plan`]: ordered [`Step`]s.
//! - [`Report`] is the result: every step with its [`End`], the [conflicts](Conflict), and the destinations that
//!   [drain](Draining).
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lvs::director::{Desired, Director, Drain, Owner};
//! use lvs::ipvs::{Destination, Scheduler, Service};
//! use lvs::vip::Binder;
//!
//! let mut director = Director::connect(Owner::registered("web")?, Binder::dummy("vip0")?)?;
//! let mut desired = Desired::default();
//! let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
//! let endpoints = ["10.244.1.7:6443".parse()?, "10.244.1.8:6443".parse()?].map(Destination::new);
//! desired.service(web, endpoints)?.drain = Drain::within(Duration::from_secs(60));
//! print!("{}", director.plan(&desired)?);
//! let report = director.sync(&desired)?;
//! // The time of the next check of a drain; `None` if nothing drains.
//! let wait = report.again_at.map(|time| time.saturating_duration_since(std::time::Instant::now()));
//! println!("next call in {wait:?}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program calls [`Director::sync`] in a loop: when the desired state changes, at [`Report::again_at`], when
//! [`Director::watched`] becomes readable, and otherwise at regular intervals, such as every minute. The example
//! `reconcile` calls it every second; the package `service-proxy` also waits for `watched`.
//!
//! # Order
//!
//! Rules of a packet filter accept or mark packets that match a set of [`Role::Allow`], and block packets that match one
//! of [`Role::Guard`]. A plan has these [phases](Phase), in this order:
//!
//! | phase | steps |
//! |---|---|
//! | `fill` | create and fill sets of [`Role::Allow`], register the keys of services |
//! | `add` | add and change services |
//! | `grow` | add destinations, increase weights |
//! | `guard` | create and fill sets of [`Role::Guard`] |
//! | `bind` | bind virtual IPs |
//! | `shrink` | decrease weights; weight 0 begins a drain |
//! | `reap` | delete destinations whose drain is over |
//! | `track` | delete stale UDP flows |
//! | `unbind` | unbind virtual IPs, except with [`Owner::bound`] |
//! | `delete` | delete services |
//! | `clean` | delete keys and members, destroy sets; with [`Owner::bound`] unbind virtual IPs |
//!
//! Their order guarantees at every moment:
//!
//! - A service that exists before and after has a destination with a weight above 0 the whole time, unless none is
//!   desired. Existing objects are set, never deleted and added again: connections survive.
//! - A virtual IP is bound after a service of its address is complete, and unbound before the last one is deleted.
//!   [`Owner::bound`] identifies services by it, and unbinds it after the last one is deleted. Packets to a virtual IP
//!   without a service reach the processes of the host, or are refused.
//! - With [`Owner::registered`] each service of the owner has its key in a registry set while the service exists.
//!
//! # Failures
//!
//! A step that fails withholds only the steps that depend on it, and all other steps are carried out. For example, a
//! virtual IP is not bound if its service could not be added. The last destination does not drain if its successors could
//! not be added. The key of a service that could not be deleted stays registered, and its members stay in their sets.
//!
//! A step whose object another program added or deleted meanwhile is [overtaken](End::Overtaken), not failed;
//! [`Director::sync`] then reads and plans once more, and reports the steps of both plans. No step needs memory of an
//! earlier call: after a kill at any moment, the next call reaches the same state.
//!
//! # Draining
//!
//! A destination that is no longer desired gets weight 0, so that it gets no new connections. It is deleted when it has
//! no established connection or when its deadline has passed: see [`Drain`]. Destinations of UDP and SCTP services are
//! deleted immediately, unless [`Drain::datagrams`](field@Drain::datagrams) is set. A destination that is desired again before
//! that gets its weight back, and its connections survive. A service that is no longer desired keeps its virtual IP
//! and its members of sets until its last destination is deleted.
//!
//! Weight 0 is stored in the kernel, the deadline in the [`Director`]. A new director restarts the deadline of a drain,
//! so that a restart prolongs a drain by at most one deadline. A test passes times to [`Director::sync_at`].
//!
//! # UDP and the connection tracker
//!
//! The connection tracker translates all packets of a UDP flow as the first one. A flow that began before its service
//! existed or its virtual IP was bound gets no replies for as long as it lasts. The director deletes such flows: see
//! [`conntrack`](crate::conntrack). It does so after a UDP service is added, its address becomes local, or it loses a
//! destination. A [full audit](Pace::full_audit) also finds flows that an earlier director left, or could not delete.
//!
//! # Memory
//!
//! IPVS and ipset do not report changes. A director remembers what it read and changed, and reads everything again only
//! after [`Pace::full_audit`], and after a call in which a step was not carried out. Calls in between read the draining
//! services and [`Pace::audited`] others, in turn. They read the virtual IPs if the kernel reported a loss
//! ([`Director::watched`]). If nothing is to be changed, a call between two full audits sends only these reads.
//!
//! A service that another program changed is repaired when its turn comes, or by the next full audit. By default that
//! is one service with each call, and everything after 10 minutes. `Pace::default().full_audit(Duration::ZERO)` reads
//! everything with each call.

mod apply;
mod client;
mod desired;
mod drain;
mod found;
mod owner;
mod plan;
mod snapshot;
mod step;
mod unmet;

pub use apply::{BatchError, End, Failure, Report};
pub use client::{Director, Pace};
pub use desired::{Desired, InvalidDesired, Mistake, Role, WantedService, WantedSet};
pub use drain::{Connections, Drain, Draining, Drains, Until};
pub use found::{FoundService, FoundSet};
pub use owner::{Owner, Ranges};
pub use plan::{Conflict, Plan, plan};
pub use snapshot::{Event, Snapshot};
pub use step::{Before, Change, Phase, Step};
