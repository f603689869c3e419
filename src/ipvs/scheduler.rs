//! Schedulers and persistence engines: the parts of IPVS that are modules of their own.

use super::numbers::{ENGINE_LENGTH, SCHEDULER_LENGTH};
use crate::name::{Name, named};
use crate::wire::{Kind, Writer};

named! {
    /// A scheduler, which chooses the destination of a new connection.
    ///
    /// The kernel loads the module `ip_vs_NAME` when a service first names it. The constants are the schedulers of
    /// Linux 6.1 to 7.3 ([`Kconfig` of
    /// IPVS](https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/Kconfig)). [`Scheduler::new`] takes any
    /// other name.
    #[doc(alias = "IPVS_SVC_ATTR_SCHED_NAME")]
    Scheduler SCHEDULER_LENGTH, "scheduler name", |_| None
}

impl Scheduler {
    /// All schedulers of Linux 6.1 to 7.3, without [`Scheduler::NONE`].
    pub const ALL: &'static [Self] = &[
        Self::RR,
        Self::WRR,
        Self::LC,
        Self::WLC,
        Self::LBLC,
        Self::LBLCR,
        Self::DH,
        Self::SH,
        Self::SED,
        Self::NQ,
        Self::FO,
        Self::OVF,
        Self::MH,
        Self::TWOS,
    ];

    /// Round robin: each in turn.
    pub const RR: Self = Self(Name::literal("rr"));
    /// Weighted round robin: each in turn, by weight.
    pub const WRR: Self = Self(Name::literal("wrr"));
    /// Least connections.
    pub const LC: Self = Self(Name::literal("lc"));
    /// Weighted least connections, the default of `ipvsadm`.
    pub const WLC: Self = Self(Name::literal("wlc"));
    /// Locality-based least connections: by destination address, for caches.
    ///
    /// Load its module before it is needed ([`ready::load`](crate::ready::load)). On Linux 6.1, loading it on demand
    /// while a network namespace ends can deadlock IPVS until a reboot.
    pub const LBLC: Self = Self(Name::literal("lblc"));
    /// Locality-based least connections with replication. Load its module early, as that of [`Scheduler::LBLC`].
    pub const LBLCR: Self = Self(Name::literal("lblcr"));
    /// Destination hashing.
    pub const DH: Self = Self(Name::literal("dh"));
    /// Source hashing. Its flags: [`ServiceFlags::FALLBACK`](super::ServiceFlags::FALLBACK) and
    /// [`PORT`](super::ServiceFlags::PORT).
    pub const SH: Self = Self(Name::literal("sh"));
    /// Shortest expected delay.
    pub const SED: Self = Self(Name::literal("sed"));
    /// Never queue.
    pub const NQ: Self = Self(Name::literal("nq"));
    /// Weighted failover: all to the available one of the highest weight (Linux 3.18).
    pub const FO: Self = Self(Name::literal("fo"));
    /// Weighted overflow: all to the one of the highest weight until its active connections exceed its weight, then to
    /// the next (Linux 4.3).
    pub const OVF: Self = Self(Name::literal("ovf"));
    /// Maglev hashing (Linux 4.18). Its flags are those of [`Scheduler::SH`].
    pub const MH: Self = Self(Name::literal("mh"));
    /// Weighted random choice of two, the less loaded wins (Linux 5.12; not in Debian's kernel 6.1).
    pub const TWOS: Self = Self(Name::literal("twos"));
    /// No scheduler: the service takes no new connections.
    pub const NONE: Self = Self(Name::literal("none"));

    #[inline]
    pub(super) fn write(&self, out: &mut Writer<'_>, kind: impl Kind) {
        let (length, bytes) = self.0.padded();
        out.short_text(kind, bytes, length);
    }
}

named! {
    /// A persistence engine, by which a persistent service recognises a client by more than its address.
    ///
    /// The kernel loads the module `ip_vs_pe_NAME` when a service first names it.
    #[doc(alias = "IPVS_SVC_ATTR_PE_NAME")]
    PersistenceEngine ENGINE_LENGTH, "persistence engine name", |_| None
}

impl PersistenceEngine {
    /// By the Call-ID of the Session Initiation Protocol, over UDP. A new client's datagram without one is dropped.
    pub const SIP: Self = Self(Name::literal("sip"));
}
