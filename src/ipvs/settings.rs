//! The `net.ipv4.vs` settings (sysctls) as typed constants, each with its unit, its range and the first kernel that has
//! it.
//!
//! A setting belongs to a network namespace. [`get`](Setting::get) and [`set`](Setting::set) use the namespace of the
//! calling thread; [`Namespace::run`](crate::netns::Namespace::run) reaches another one. Reading needs no privilege.
//! Setting needs `CAP_NET_ADMIN` in the user namespace that owns the network namespace: see [`Setting::set`].
//!
//! ```no_run
//! use lvs::ipvs::settings::{CONNTRACK, EXPIRE_NODEST_CONN, SYNC_REFRESH_PERIOD};
//! use lvs::netns::Namespace;
//!
//! CONNTRACK.set(true)?;
//! let period: std::time::Duration = SYNC_REFRESH_PERIOD.get()?;
//! Namespace::of_process(4711)?.run(|| EXPIRE_NODEST_CONN.set(true))??;
//! # Ok::<(), lvs::Error>(())
//! ```
//!
//! The settings exist while the module `ip_vs` is loaded. [`Ipvs::connect`](super::Ipvs::connect) loads it; this module
//! does not. A setting that the kernel lacks is [`Cause::NotOnThisKernel`]; a kernel without IPVS is
//! [`Cause::FamilyNotFound`]. [`ALL`] has the names of all settings.
//!
//! # Settings for a load balancer
//!
//! A new network namespace starts with the kernel's defaults, except for [`CONN_MAX`], which it inherits.
//!
//! - [`CONNTRACK`]: `true` if netfilter rules must match the packets of services. The usual case is source NAT by rules
//!   (target `MASQUERADE`, not the forwarding method of IPVS) towards real servers whose answers would not pass this
//!   machine otherwise. When off, IPVS hides its packets from connection tracking, and such rules never match. When on,
//!   each connection has a conntrack entry.
//! - [`CONN_REUSE_MODE`]: the default, from Linux 5.9 on. Clients with few ports reuse a port while the old connection
//!   is still remembered, two minutes after its end. By default such a connection is scheduled again. With no flag set
//!   it goes to the server of the old one, even to a quiesced server. Before 5.9, together with `conntrack`,
//!   rescheduling dropped the first packet, and the client sent it again after a second: that is why many programs
//!   still write 0. With 0, and `expire_nodest_conn` off, a busy client can keep a quiesced server busy for ever.
//! - [`EXPIRE_NODEST_CONN`]: `true` if servers are deleted for good. By default the packets of a connection to a
//!   deleted destination are dropped without an answer, and the connection continues if the destination is added again.
//!   Clients hang until they time out, and UDP clients that keep sending hang for ever. When on, IPVS forgets the
//!   connection: soon after the deletion from 5.9 on, at its next packet before. Later packets of a TCP connection reach
//!   the host, which answers with a reset if the virtual IP is local. A reused connection to a destination of
//!   weight 0 is then scheduled again, from 5.16 on with any `conn_reuse_mode`.
//! - [`EXPIRE_QUIESCENT_TEMPLATE`]: `true` with persistent services. By default a persistent client stays at its
//!   destination after the weight was set to 0, so that a server with persistent clients never becomes idle.
//! - [`RUN_ESTIMATION`]: before Linux 6.2, counting for tens of thousands of services delays packets every two seconds.
//!   Switching it off freezes all counters and rates ([`Stats`](super::Stats)). From 6.2 on, kernel threads count;
//!   [`EST_CPULIST`] and [`EST_NICE`] keep them off busy CPUs.
//! - [`SYNC_REFRESH_PERIOD`], [`SYNC_THRESHOLD`] and [`SYNC_PERSIST_MODE`]: for a master that sends too many messages.
//!   [`SYNC_QLEN_MAX`] and [`SYNC_SOCK_SIZE`]: if messages are lost. [`SYNC_PORTS`]: equal on master and backup, before
//!   the daemons start. [`SLOPPY_TCP`] and [`SLOPPY_SCTP`]: for a backup that continues connections whose beginning it
//!   never saw.
//! - [`CONN_MAX`]: a limit for a namespace that must not use all memory.
//!
//! Sources: the kernel's `Documentation/networking/ipvs-sysctl.rst` and `net/netfilter/ipvs/ip_vs_ctl.c`; defaults and
//! ranges are those of Linux 6.1, 6.12 and 7.3.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::errno::Errno;

use super::numbers::{FAMILY, MODULE};
use crate::error::{Cause, DecodeError, Error, Reason, Refusal, Refused, Result};

/// `/proc/sys/net` shows the network namespace of the reading thread.
const DIRECTORY: &str = "/proc/sys/net/ipv4/vs";
/// The longest timeout that every kernel accepts: an `int` of ticks, at most 1000 a second.
const LONGEST: Duration = Duration::from_secs(2_147_483);

/// A setting of IPVS whose values are of type `T`: one of the constants of [this module](self).
pub struct Setting<T> {
    entry: Entry,
    /// Parses the kernel's text; `None` if it is invalid.
    parse: fn(&str) -> Option<T>,
    /// Returns the text to write, or the fault of the value.
    print: fn(&T) -> Result<String, Cow<'static, str>>,
}

/// The name of a setting and the kernels that have it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name below `net.ipv4.vs`, such as `conntrack`.
    pub name: &'static str,
    /// The first kernel that has it; `None` if kernels of ten years ago have it.
    pub since: Option<&'static str>,
    /// Requirement besides IPVS itself: the module or the build option without which any kernel lacks it.
    pub needs: Option<&'static str>,
}

impl Entry {
    const fn new(name: &'static str, since: Option<&'static str>) -> Self {
        Self { name, since, needs: None }
    }

    const fn needs(self, what: &'static str) -> Self {
        Self { needs: Some(what), ..self }
    }

    fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(self.name)
    }

    /// Returns the value as the kernel prints it, without the line break.
    ///
    /// # Errors
    /// As [`Setting::get`].
    pub fn text(&self) -> Result<String> {
        match fs::read_to_string(self.path()) {
            Ok(text) => Ok(text.trim_end().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::new(format_args!("read {self}"), self.absent()))
            }
            Err(error) => Err(Error::new(format_args!("read {self}"), Cause::Io(error))),
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        // The file is never created. The value is one write, since the kernel treats each write as a value of its own.
        OpenOptions::new().write(true).open(self.path())?.write_all(format!("{text}\n").as_bytes())
    }

    fn cause(&self, error: io::Error) -> Cause {
        let errno = error.raw_os_error().unwrap_or_default();
        let refused = |reason, explanation: &'static str| {
            Refused::new(reason, explanation, Refusal { errno, message: None, offset: None }).into()
        };
        match Errno::from_raw(errno) {
            Errno::ENOENT => self.absent(),
            Errno::EACCES | Errno::EPERM => refused(
                Reason::PermissionDenied,
                "a setting is changed with CAP_NET_ADMIN in the user namespace that owns the network namespace, some only \
                 with that in the initial one",
            ),
            Errno::EINVAL => refused(Reason::Invalid, "the kernel refuses this value"),
            Errno::ERANGE | Errno::EOVERFLOW => refused(Reason::Invalid, "this machine cannot have such a CPU"),
            _ => Cause::Io(error),
        }
    }

    fn absent(&self) -> Cause {
        match fs::read_dir(DIRECTORY).map(|mut settings| settings.next().is_some()) {
            Ok(true) => {
                let what = match self.needs {
                    None => self.to_string(),
                    Some(needs) => format!("{self} (which needs {needs})"),
                };
                Cause::NotOnThisKernel { what: what.into(), since: self.since }
            }
            // A child user namespace has no settings up to Linux 6.9.
            Ok(false) => {
                let what = format!("{self} in a network namespace of a child user namespace");
                Cause::NotOnThisKernel { what: what.into(), since: Some("6.10") }
            }
            Err(_) => Cause::FamilyNotFound { family: FAMILY, module: MODULE },
        }
    }
}

impl fmt::Display for Entry {
    /// `net.ipv4.vs.conntrack`, as `sysctl(8)` names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net.ipv4.vs.{}", self.name)
    }
}

impl<T> Setting<T> {
    /// Returns its name and the kernels that have it.
    pub const fn entry(&self) -> Entry {
        self.entry
    }

    /// Returns its value in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`is_unavailable`](Error::is_unavailable) if it does not exist: [`Cause::NotOnThisKernel`] if only this setting
    /// or its module is missing, [`Cause::FamilyNotFound`] if IPVS is. [`Cause::Decode`] for an invalid value that
    /// another program has written and the kernel stored, such as a negative period.
    pub fn get(&self) -> Result<T> {
        let text = self.entry.text()?;
        (self.parse)(&text).ok_or_else(|| {
            let error = DecodeError::Setting { name: self.entry.name, text };
            Error::new(format_args!("read {}", self.entry), Cause::Decode(error))
        })
    }

    /// Sets it in the calling thread's network namespace.
    ///
    /// A network namespace of a child user namespace, such as a rootless container, has no settings up to Linux 6.9.
    /// From 6.10 on root of the child can change all except `sync_qlen_max`, `sync_sock_size`, `run_estimation`,
    /// `est_cpulist`, `est_nice`, `conn_lfactor` and `svc_lfactor`.
    ///
    /// # Errors
    /// [`is_invalid_input`](Error::is_invalid_input), before anything is written, for a value out of range;
    /// [`is_permission_denied`](Error::is_permission_denied); [`is_unavailable`](Error::is_unavailable) as
    /// [`Setting::get`]. [`Reason::Invalid`] for a value that only this kernel refuses.
    pub fn set(&self, value: T) -> Result<()> {
        let text = match (self.print)(&value) {
            Ok(text) => text,
            Err(problem) => {
                return Err(Error::new(format_args!("set {}", self.entry), Cause::InvalidInput(problem)));
            }
        };
        self.entry.write(&text).map_err(|error| {
            let shown = if text.is_empty() { "none" } else { &text };
            Error::new(format_args!("set {} to {shown}", self.entry), self.entry.cause(error))
        })
    }
}

impl<T> fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setting({})", self.entry)
    }
}

// Readers and writers of each kind of value. A range is the kernel's own, without values that it stores but cannot use.

const fn boolean(entry: Entry) -> Setting<bool> {
    Setting {
        entry,
        // Every number except 0 is true, as in the kernel.
        parse: |text| text.parse::<i32>().ok().map(|number| number != 0),
        print: |value| Ok(u8::from(*value).to_string()),
    }
}

const fn number<T, const MIN: i64, const MAX: i64>(entry: Entry) -> Setting<T>
where
    T: Copy + FromStr + fmt::Display + Into<i64>,
{
    Setting {
        entry,
        parse: |text| text.parse().ok(),
        print: |value| {
            if (MIN..=MAX).contains(&(*value).into()) {
                Ok(value.to_string())
            } else {
                Err(format!("{value} is not between {MIN} and {MAX}").into())
            }
        },
    }
}

const fn seconds(entry: Entry) -> Setting<Duration> {
    Setting {
        entry,
        parse: |text| text.parse().ok().map(Duration::from_secs),
        print: |value| {
            if value.subsec_nanos() != 0 {
                return Err(format!("{value:?} is not in whole seconds").into());
            }
            if *value > LONGEST {
                return Err(format!("{value:?} is above {LONGEST:?}").into());
            }
            Ok(value.as_secs().to_string())
        },
    }
}

const fn defense(entry: Entry) -> Setting<Defense> {
    Setting {
        entry,
        parse: |text| match text {
            "0" => Some(Defense::Off),
            "1" => Some(Defense::Automatic),
            "2" => Some(Defense::AutomaticActive),
            "3" => Some(Defense::Always),
            _ => None,
        },
        print: |value| Ok((*value as u8).to_string()),
    }
}

/// Conditions for a defence against floods.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Defense {
    /// Never.
    Off = 0,
    /// Active while memory is low ([`AMEMTHRESH`]); not active now.
    Automatic = 1,
    /// Active while memory is low; active now. The kernel switches between the two automatic values, so both set the
    /// same.
    AutomaticActive = 2,
    /// Always active.
    Always = 3,
}

bitflags::bitflags! {
    /// Treatment of a new connection (TCP with SYN, SCTP with INIT) from the address and port of one that is still
    /// remembered. No flag: it goes to the destination of the old one.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub struct ConnReuse: i32 {
        /// Schedule it again if the old one has ended: TCP in `TIME_WAIT` or `CLOSE`, SCTP closed.
        const RESCHEDULE = 1;
        /// Also if it is in `FIN_WAIT` and its answers do not pass this machine (direct routing, tunnels): such a
        /// connection reaches no later state here. It includes [`RESCHEDULE`](Self::RESCHEDULE).
        const FIN_WAIT = 2;
    }
}

/// Time at which a master sends a connection to its backups again, counted in packets from the client.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SyncThreshold {
    /// Number of packets before the first time.
    pub threshold: u32,
    /// Sent again whenever the count modulo this number is `threshold`, which must be smaller. 0: sent again only at a
    /// change of state or after [`SYNC_REFRESH_PERIOD`].
    pub period: u32,
}

/// Declares each setting, and lists them all.
macro_rules! settings {
    ($($(#[$doc:meta])* $setting:ident: $type:ty = $value:expr;)+) => {
        $($(#[$doc])* pub const $setting: Setting<$type> = $value;)+

        /// All settings, in the order of their names.
        pub const ALL: &[Entry] = &[$($setting.entry),+];
    };
}

settings! {
    /// `am_droprate`: with [`DROP_PACKET`] at [`Always`](Defense::Always), one packet of this many is dropped; 1 drops
    /// every packet, 0 none. 0 to 2,147,483,647; 10 unless changed.
    AM_DROPRATE: i32 = number::<_, 0, { i32::MAX as i64 }>(Entry::new("am_droprate", None));

    /// `amemthresh`: number of free pages of memory below which the automatic defences are active. 0 to 2,147,483,647;
    /// 1024 unless changed.
    AMEMTHRESH: i32 = number::<_, 0, { i32::MAX as i64 }>(Entry::new("amemthresh", None));

    /// `backup_only`: ignore all packets while a backup sync daemon runs, so that two load balancers that are each
    /// other's real servers do not send packets in circles. Off unless changed. Since Linux 3.9.
    BACKUP_ONLY: bool = boolean(Entry::new("backup_only", Some("3.9")));

    /// `cache_bypass`: if a firewall-mark service has no destination available, forward packets to the address of the
    /// client's packet, for transparent caches. Off unless changed.
    CACHE_BYPASS: bool = boolean(Entry::new("cache_bypass", None));

    /// `conn_lfactor`: load of the connection table above which it grows, as a power of two of connections to buckets:
    /// -4 is one in
    /// 16. -8 (large and fast) to 8 (small and slow); unless changed -4 in the initial network namespace, -2 in others.
    ///     Since Linux 7.1.
    CONN_LFACTOR: i8 = number::<_, -8, 8>(Entry::new("conn_lfactor", Some("7.1")));

    /// `conn_max`: the maximum number of connections; packets of more are dropped. 0 to 1,073,741,824 (16,777,216 on
    /// 32-bit machines), which is also the default. A new network namespace inherits the value of the initial one. A
    /// higher value needs `CAP_NET_ADMIN` in the initial user namespace ([`Reason::Invalid`]). Since Linux 7.2.
    CONN_MAX: u32 = number::<_, 0, 0x4000_0000>(Entry::new("conn_max", Some("7.2")));

    /// `conn_reuse_mode`: whether a new connection from a port that is still remembered is scheduled again.
    /// [`RESCHEDULE`](ConnReuse::RESCHEDULE) unless changed, as it should stay from Linux 5.9 on: see
    /// [above](self#settings-for-a-load-balancer). Since Linux 4.1.
    CONN_REUSE_MODE: ConnReuse = Setting {
        entry: Entry::new("conn_reuse_mode", Some("4.1")),
        parse: |text| text.parse().ok().map(ConnReuse::from_bits_retain),
        print: |value| match ConnReuse::from_bits(value.bits()) {
            Some(mode) => Ok(mode.bits().to_string()),
            None => Err(format!("{} has bits besides 1 and 2", value.bits()).into()),
        },
    };

    /// `conntrack`: keep an entry of netfilter's connection tracking for each connection, so that rules which look at
    /// these (masquerading, stateful filters) work for the packets of services. Off unless changed; see
    /// [above](self#settings-for-a-load-balancer). Since Linux 2.6.37, if built with `CONFIG_IP_VS_NFCT`.
    CONNTRACK: bool = boolean(Entry::new("conntrack", Some("2.6.37")).needs("CONFIG_IP_VS_NFCT"));

    /// `debug_level`: amount of messages in the kernel's log, from 0 (the default) to 12 (the path of each packet). 0
    /// to 2,147,483,647. The same in all network namespaces. Only in kernels built with `CONFIG_IP_VS_DEBUG`; Debian's
    /// are built without it.
    DEBUG_LEVEL: i32 = number::<_, 0, { i32::MAX as i64 }>(Entry::new("debug_level", None).needs("CONFIG_IP_VS_DEBUG"));

    /// `drop_entry`: forget connections at random that are only half open, a part of the table each second. Off unless
    /// changed.
    DROP_ENTRY: Defense = defense(Entry::new("drop_entry", None));

    /// `drop_packet`: drop packets at random before they reach destinations. The rate is [`AM_DROPRATE`], or depends on
    /// the free memory when automatic. Off unless changed.
    DROP_PACKET: Defense = defense(Entry::new("drop_packet", None));

    /// `est_cpulist`: the CPUs of the kernel threads that update counters and rates. An empty set stops them, and
    /// freezes all counters. Unless changed, the CPUs that the system leaves to kernel threads. Since Linux 6.2.
    EST_CPULIST: BTreeSet<u16> = Setting {
        entry: Entry::new("est_cpulist", Some("6.2")),
        parse: parse_cpus,
        print: |cpus| Ok(print_cpus(cpus)),
    };

    /// `est_nice`: the niceness of these threads. -20 to 19; 0 unless changed. Since Linux 6.2.
    EST_NICE: i8 = number::<_, -20, 19>(Entry::new("est_nice", Some("6.2")));

    /// `expire_nodest_conn`: forget connections whose destination was deleted, instead of dropping their packets. Off
    /// unless changed; see [above](self#settings-for-a-load-balancer).
    EXPIRE_NODEST_CONN: bool = boolean(Entry::new("expire_nodest_conn", None));

    /// `expire_quiescent_template`: end the persistence of clients when the weight of their destination becomes 0. Off
    /// unless changed; see [above](self#settings-for-a-load-balancer).
    EXPIRE_QUIESCENT_TEMPLATE: bool = boolean(Entry::new("expire_quiescent_template", None));

    /// `ignore_tunneled`: never schedule packets of a protocol that IPVS does not know, such as packets in the tunnel
    /// of another load balancer. It prevents loops. Off unless changed. Since Linux 4.4.
    IGNORE_TUNNELED: bool = boolean(Entry::new("ignore_tunneled", Some("4.4")));

    /// `lblc_expiration`: time after its last use at which the scheduler [`LBLC`](super::Scheduler::LBLC) forgets the
    /// destination of an address. Whole seconds, up to 2,147,483; a day unless changed. Exists while `ip_vs_lblc` is
    /// loaded.
    LBLC_EXPIRATION: Duration = seconds(Entry::new("lblc_expiration", None).needs("the module ip_vs_lblc"));

    /// `lblcr_expiration`: the same time for [`LBLCR`](super::Scheduler::LBLCR), which also removes a destination from
    /// the set of an address. Exists while `ip_vs_lblcr` is loaded.
    LBLCR_EXPIRATION: Duration = seconds(Entry::new("lblcr_expiration", None).needs("the module ip_vs_lblcr"));

    /// `nat_icmp_send`: answer with an ICMP error if a masqueraded destination sends packets of a forgotten connection.
    /// Off unless changed.
    NAT_ICMP_SEND: bool = boolean(Entry::new("nat_icmp_send", None));

    /// `pmtu_disc`: inform clients when packets that must not be fragmented are too long. When off, tunnelled packets
    /// are fragmented. On unless changed. Since Linux 3.7.
    PMTU_DISC: bool = boolean(Entry::new("pmtu_disc", Some("3.7")));

    /// `run_estimation`: update the counters and rates of services and destinations. When off, both are frozen; see
    /// [above](self#settings-for-a-load-balancer). On unless changed. Since Linux 5.16.
    RUN_ESTIMATION: bool = boolean(Entry::new("run_estimation", Some("5.16")));

    /// `schedule_icmp`: schedule ICMP errors that belong to no connection, by the packet inside. Off unless changed.
    /// Since Linux 4.4.
    SCHEDULE_ICMP: bool = boolean(Entry::new("schedule_icmp", Some("4.4")));

    /// `secure_tcp`: follow TCP's states by a stricter table; with masquerading a connection then counts as established
    /// only after the whole handshake. Off unless changed.
    SECURE_TCP: Defense = defense(Entry::new("secure_tcp", None));

    /// `sloppy_sctp`: schedule SCTP connections whose beginning was not seen. Off unless changed. Since Linux 3.11.
    SLOPPY_SCTP: bool = boolean(Entry::new("sloppy_sctp", Some("3.11")));

    /// `sloppy_tcp`: schedule TCP connections whose beginning was not seen. Off unless changed. Since Linux 3.11.
    SLOPPY_TCP: bool = boolean(Entry::new("sloppy_tcp", Some("3.11")));

    /// `snat_reroute`: route the answers of masqueraded destinations again after their source address was restored, as
    /// packets of this machine. It affects routing by source address. On unless changed. Since Linux 2.6.37.
    SNAT_REROUTE: bool = boolean(Entry::new("snat_reroute", Some("2.6.37")));

    /// `svc_lfactor`: as [`CONN_LFACTOR`], for services. Unless changed -3 in the initial network namespace, -2 in
    /// others. A higher value makes listing many services faster. Since Linux 7.1.
    SVC_LFACTOR: i8 = number::<_, -8, 8>(Entry::new("svc_lfactor", Some("7.1")));

    /// `sync_persist_mode`: send backups only the templates of persistent services, not each connection. A backup
    /// then needs [`SLOPPY_TCP`] and [`SLOPPY_SCTP`]. Off unless changed. Since Linux 3.11.
    SYNC_PERSIST_MODE: bool = boolean(Entry::new("sync_persist_mode", Some("3.11")));

    /// `sync_ports`: number of threads of a sync daemon that is started from now on. Each thread has a UDP port of its
    /// own, from the daemon's port up. A power of two, 1 to 64 (the kernel stores a higher one, and uses 64); 1 unless
    /// changed. Since Linux 3.5.
    SYNC_PORTS: u32 = Setting {
        entry: Entry::new("sync_ports", Some("3.5")),
        parse: |text| text.parse().ok(),
        print: |value| {
            if value.is_power_of_two() && *value <= 64 {
                Ok(value.to_string())
            } else {
                Err(format!("{value} is not a power of two between 1 and 64").into())
            }
        },
    };

    /// `sync_qlen_max`: maximum number of queued messages of the master; more are lost. Any number that the kernel's
    /// `unsigned long` can store; unless changed one for every 32 pages of memory. Since Linux 3.5.
    SYNC_QLEN_MAX: u64 = Setting {
        entry: Entry::new("sync_qlen_max", Some("3.5")),
        parse: |text| text.parse().ok(),
        print: |value| Ok(value.to_string()),
    };

    /// `sync_refresh_period`: minimum time between two messages about a connection without a change of state. Half of
    /// the connection's timeout is used if that is less. Whole seconds, up to 2,147,483; unless changed 0:
    /// [`SYNC_THRESHOLD`] alone decides. Since Linux 3.5.
    SYNC_REFRESH_PERIOD: Duration = seconds(Entry::new("sync_refresh_period", Some("3.5")));

    /// `sync_retries`: number of repetitions of a message against loss, each after an eighth of
    /// [`SYNC_REFRESH_PERIOD`]. 0 to 3; 0 unless changed. Since Linux 3.5.
    SYNC_RETRIES: u8 = number::<_, 0, 3>(Entry::new("sync_retries", Some("3.5")));

    /// `sync_sock_size`: size of the daemons' socket buffers in bytes: the send buffer of a master, the receive buffer
    /// of a backup. 0 to 2,147,483,647; unless changed 0: the default of the system. Since Linux 3.5.
    SYNC_SOCK_SIZE: i32 = number::<_, 0, { i32::MAX as i64 }>(Entry::new("sync_sock_size", Some("3.5")));

    /// `sync_threshold`: number of packets after which the master sends a connection to its backups. Each up to
    /// 2,147,483,647; after 3 and then every 50 unless changed.
    SYNC_THRESHOLD: SyncThreshold = Setting {
        entry: Entry::new("sync_threshold", None),
        parse: |text| {
            // The kernel prints a tab, and accepts any blank.
            let (threshold, period) = text.split_once(['\t', ' '])?;
            Some(SyncThreshold { threshold: threshold.parse().ok()?, period: period.parse().ok()? })
        },
        print: |&SyncThreshold { threshold, period }| {
            if threshold.max(period) > i32::MAX as u32 {
                return Err(format!("{} is above {}", threshold.max(period), i32::MAX).into());
            }
            if period != 0 && threshold >= period {
                return Err(format!("the threshold {threshold} is not below the period {period}").into());
            }
            Ok(format!("{threshold} {period}"))
        },
    };

    /// `sync_version`: the version of the messages that the master sends. 1 unless changed; 0 is for backups before
    /// Linux 2.6.39, without IPv6 and firewall marks. Since Linux 2.6.39.
    SYNC_VERSION: u8 = number::<_, 0, 1>(Entry::new("sync_version", Some("2.6.39")));
}

/// Reads the kernel's text: `0-3,8`, or nothing.
fn parse_cpus(text: &str) -> Option<BTreeSet<u16>> {
    let mut cpus = BTreeSet::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<u16>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

fn print_cpus(cpus: &BTreeSet<u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(cpu) => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let words = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip<T: PartialEq + fmt::Debug>(setting: &Setting<T>, value: &T) {
        let text = (setting.print)(value).unwrap();
        assert_eq!((setting.parse)(&text).as_ref(), Some(value), "{setting:?} {text}");
    }

    fn refused<T>(setting: &Setting<T>, value: T) -> String {
        // The value is checked first, so that the file need not exist.
        let error = setting.set(value).unwrap_err();
        assert!(error.is_invalid_input(), "{error}");
        error.to_string()
    }

    #[test]
    fn names_are_in_order_and_each_stands_once() {
        assert!(ALL.is_sorted_by(|one, next| one.name < next.name));
    }

    #[test]
    fn values_are_read_as_the_kernel_prints_them() {
        assert_eq!((CONNTRACK.parse)("-1"), Some(true));
        assert_eq!((CONN_REUSE_MODE.parse)("1"), Some(ConnReuse::RESCHEDULE));
        assert_eq!((SYNC_THRESHOLD.parse)("3\t50"), Some(SyncThreshold { threshold: 3, period: 50 }));
        assert_eq!((EST_CPULIST.parse)("0-3,8"), Some(BTreeSet::from([0, 1, 2, 3, 8])));
        assert_eq!((EST_CPULIST.parse)(""), Some(BTreeSet::new()));
        assert_eq!((EST_CPULIST.print)(&BTreeSet::from([0, 1, 2, 3, 8, u16::MAX])).unwrap(), "0-3,8,65535");
        assert_eq!((LBLC_EXPIRATION.parse)("86400"), Some(Duration::from_secs(86400)));
        assert_eq!((AM_DROPRATE.parse)("-1"), Some(-1));
    }

    #[test]
    fn invalid_values_are_not_read() {
        assert_eq!((SYNC_REFRESH_PERIOD.parse)("-1"), None);
        assert_eq!((DROP_ENTRY.parse)("4"), None);
        assert_eq!((SYNC_THRESHOLD.parse)("3"), None);
        for text in ["0-", "-1", "1,,2", "x", "65536", "0-4294967295", "0-9:1/2"] {
            assert_eq!((EST_CPULIST.parse)(text), None, "{text}");
        }
    }

    #[test]
    fn invalid_values_are_refused_with_the_setting_and_its_range() {
        assert_eq!(refused(&SYNC_RETRIES, 4), "set net.ipv4.vs.sync_retries: 4 is not between 0 and 3");
        assert_eq!(refused(&EST_NICE, -21), "set net.ipv4.vs.est_nice: -21 is not between -20 and 19");
        assert_eq!(refused(&SYNC_PORTS, 3), "set net.ipv4.vs.sync_ports: 3 is not a power of two between 1 and 64");
        let threshold = SyncThreshold { threshold: 50, period: 50 };
        assert!(refused(&SYNC_THRESHOLD, threshold).ends_with("the threshold 50 is not below the period 50"));
        for problem in [
            refused(&AM_DROPRATE, -1),
            refused(&CONN_MAX, (1 << 30) + 1),
            refused(&CONN_LFACTOR, 9),
            refused(&CONN_REUSE_MODE, ConnReuse::from_bits_retain(4)),
            refused(&SYNC_PORTS, 0),
            refused(&SYNC_PORTS, 128),
            refused(&SYNC_REFRESH_PERIOD, Duration::from_millis(1500)),
            refused(&LBLC_EXPIRATION, LONGEST + Duration::from_secs(1)),
            refused(&SYNC_THRESHOLD, SyncThreshold { threshold: 0, period: 1 << 31 }),
            refused(&SYNC_VERSION, 2),
        ] {
            assert!(problem.starts_with("set net.ipv4.vs."), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn written_values_read_back(
            flag: bool,
            number in 0..=i32::MAX,
            small in -8..=8i8,
            queue: u64,
            power in 0..=6u32,
            cpus in proptest::collection::btree_set(any::<u16>(), 0..20),
            seconds in 0..=LONGEST.as_secs(),
            (period, threshold) in (1..=i32::MAX as u32).prop_flat_map(|period| (Just(period), 0..period)),
            bits in 0..=3,
        ) {
            round_trip(&CONNTRACK, &flag);
            round_trip(&SYNC_SOCK_SIZE, &number);
            round_trip(&SVC_LFACTOR, &small);
            round_trip(&SYNC_QLEN_MAX, &queue);
            round_trip(&SYNC_PORTS, &(1 << power));
            round_trip(&EST_CPULIST, &cpus);
            round_trip(&SYNC_REFRESH_PERIOD, &Duration::from_secs(seconds));
            round_trip(&SYNC_THRESHOLD, &SyncThreshold { threshold, period });
            round_trip(&CONN_REUSE_MODE, &ConnReuse::from_bits_retain(bits));
            for mode in [Defense::Off, Defense::Automatic, Defense::AutomaticActive, Defense::Always] {
                round_trip(&DROP_PACKET, &mode);
            }
        }

        #[test]
        fn nothing_that_is_read_panics(text: String) {
            let _ = (EST_CPULIST.parse)(&text);
            let _ = (SYNC_THRESHOLD.parse)(&text);
        }
    }
}
