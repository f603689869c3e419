//! The numbers of the kernel's IPVS interface (`include/uapi/linux/ip_vs.h`, the same from Linux 6.1 to 7.3).

use crate::wire::kinds;

/// The generic netlink family, and the module that brings it.
pub(crate) const FAMILY: &str = "IPVS";
pub(crate) const MODULE: &str = "ip_vs";
/// The version of the family's interface; the kernel does not look at it.
pub(crate) const VERSION: u8 = 1;

/// `IPVS_CMD_*`.
pub(crate) mod command {
    pub(crate) const NEW_SERVICE: u8 = 1;
    pub(crate) const SET_SERVICE: u8 = 2;
    pub(crate) const DEL_SERVICE: u8 = 3;
    pub(crate) const GET_SERVICE: u8 = 4;
    pub(crate) const NEW_DEST: u8 = 5;
    pub(crate) const SET_DEST: u8 = 6;
    pub(crate) const DEL_DEST: u8 = 7;
    pub(crate) const GET_DEST: u8 = 8;
    pub(crate) const NEW_DAEMON: u8 = 9;
    pub(crate) const DEL_DAEMON: u8 = 10;
    pub(crate) const GET_DAEMON: u8 = 11;
    pub(crate) const SET_CONFIG: u8 = 12;
    pub(crate) const GET_CONFIG: u8 = 13;
    pub(crate) const SET_INFO: u8 = 14;
    pub(crate) const GET_INFO: u8 = 15;
    pub(crate) const ZERO: u8 = 16;
    pub(crate) const FLUSH: u8 = 17;
}

kinds! {
    /// Attributes of a command.
    Command "IPVS_CMD_ATTR" {
        Service = 1 "IPVS_CMD_ATTR_SERVICE",
        Destination = 2 "IPVS_CMD_ATTR_DEST",
        Daemon = 3 "IPVS_CMD_ATTR_DAEMON",
        TimeoutTcp = 4 "IPVS_CMD_ATTR_TIMEOUT_TCP",
        TimeoutTcpFin = 5 "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN",
        TimeoutUdp = 6 "IPVS_CMD_ATTR_TIMEOUT_UDP",
    }
}

kinds! {
    /// Attributes of a virtual service.
    ServiceAttr "IPVS_CMD_ATTR_SERVICE" {
        Family = 1 "IPVS_SVC_ATTR_AF",
        Protocol = 2 "IPVS_SVC_ATTR_PROTOCOL",
        Address = 3 "IPVS_SVC_ATTR_ADDR",
        Port = 4 "IPVS_SVC_ATTR_PORT",
        FirewallMark = 5 "IPVS_SVC_ATTR_FWMARK",
        Scheduler = 6 "IPVS_SVC_ATTR_SCHED_NAME",
        Flags = 7 "IPVS_SVC_ATTR_FLAGS",
        Timeout = 8 "IPVS_SVC_ATTR_TIMEOUT",
        Netmask = 9 "IPVS_SVC_ATTR_NETMASK",
        Stats = 10 "IPVS_SVC_ATTR_STATS",
        Engine = 11 "IPVS_SVC_ATTR_PE_NAME",
        Stats64 = 12 "IPVS_SVC_ATTR_STATS64",
    }
}

kinds! {
    /// Attributes of a destination.
    DestinationAttr "IPVS_CMD_ATTR_DEST" {
        Address = 1 "IPVS_DEST_ATTR_ADDR",
        Port = 2 "IPVS_DEST_ATTR_PORT",
        Forwarding = 3 "IPVS_DEST_ATTR_FWD_METHOD",
        Weight = 4 "IPVS_DEST_ATTR_WEIGHT",
        UpperThreshold = 5 "IPVS_DEST_ATTR_U_THRESH",
        LowerThreshold = 6 "IPVS_DEST_ATTR_L_THRESH",
        ActiveConnections = 7 "IPVS_DEST_ATTR_ACTIVE_CONNS",
        InactiveConnections = 8 "IPVS_DEST_ATTR_INACT_CONNS",
        PersistentConnections = 9 "IPVS_DEST_ATTR_PERSIST_CONNS",
        Stats = 10 "IPVS_DEST_ATTR_STATS",
        Family = 11 "IPVS_DEST_ATTR_ADDR_FAMILY",
        Stats64 = 12 "IPVS_DEST_ATTR_STATS64",
        TunnelKind = 13 "IPVS_DEST_ATTR_TUN_TYPE",
        TunnelPort = 14 "IPVS_DEST_ATTR_TUN_PORT",
        TunnelFlags = 15 "IPVS_DEST_ATTR_TUN_FLAGS",
    }
}

kinds! {
    /// Attributes of a sync daemon.
    DaemonAttr "IPVS_CMD_ATTR_DAEMON" {
        State = 1 "IPVS_DAEMON_ATTR_STATE",
        Interface = 2 "IPVS_DAEMON_ATTR_MCAST_IFN",
        SyncId = 3 "IPVS_DAEMON_ATTR_SYNC_ID",
        MaxLength = 4 "IPVS_DAEMON_ATTR_SYNC_MAXLEN",
        Group = 5 "IPVS_DAEMON_ATTR_MCAST_GROUP",
        Group6 = 6 "IPVS_DAEMON_ATTR_MCAST_GROUP6",
        Port = 7 "IPVS_DAEMON_ATTR_MCAST_PORT",
        Ttl = 8 "IPVS_DAEMON_ATTR_MCAST_TTL",
    }
}

kinds! {
    /// Attributes of statistics, in 32 bits (but for the bytes) or in 64.
    StatsAttr "IPVS_STATS_ATTR" {
        Connections = 1 "IPVS_STATS_ATTR_CONNS",
        PacketsIn = 2 "IPVS_STATS_ATTR_INPKTS",
        PacketsOut = 3 "IPVS_STATS_ATTR_OUTPKTS",
        BytesIn = 4 "IPVS_STATS_ATTR_INBYTES",
        BytesOut = 5 "IPVS_STATS_ATTR_OUTBYTES",
        ConnectionRate = 6 "IPVS_STATS_ATTR_CPS",
        PacketRateIn = 7 "IPVS_STATS_ATTR_INPPS",
        PacketRateOut = 8 "IPVS_STATS_ATTR_OUTPPS",
        ByteRateIn = 9 "IPVS_STATS_ATTR_INBPS",
        ByteRateOut = 10 "IPVS_STATS_ATTR_OUTBPS",
    }
}

kinds! {
    /// Attributes of the answer to `IPVS_CMD_GET_INFO`.
    InfoAttr "IPVS_INFO_ATTR" {
        Version = 1 "IPVS_INFO_ATTR_VERSION",
        ConnectionTableSize = 2 "IPVS_INFO_ATTR_CONN_TAB_SIZE",
    }
}

/// `AF_INET` and `AF_INET6`.
pub(crate) const INET: u16 = 2;
pub(crate) const INET6: u16 = 10;

/// `IP_VS_SVC_F_PERSISTENT`: said by [`Persistence`](super::Persistence).
pub(crate) const PERSISTENT: u32 = 0x1;
/// `IP_VS_SVC_F_HASHED`: the kernel's own.
pub(crate) const HASHED: u32 = 0x2;

/// `IP_VS_CONN_F_*`, the forwarding methods.
pub(crate) mod forwarding {
    pub(crate) const MASQUERADE: u32 = 0;
    pub(crate) const LOCAL: u32 = 1;
    pub(crate) const TUNNEL: u32 = 2;
    pub(crate) const DIRECT_ROUTE: u32 = 3;
    pub(crate) const BYPASS: u32 = 4;
    /// `IP_VS_CONN_F_FWD_MASK`.
    pub(crate) const MASK: u32 = 7;
}

/// `IP_VS_CONN_F_TUNNEL_TYPE_*`.
pub(crate) mod tunnel {
    pub(crate) const IPIP: u8 = 0;
    pub(crate) const GUE: u8 = 1;
    pub(crate) const GRE: u8 = 2;
}

/// `IP_VS_STATE_*`.
pub(crate) mod daemon {
    pub(crate) const MASTER: u32 = 1;
    pub(crate) const BACKUP: u32 = 2;
}

/// The longest scheduler name (`IP_VS_SCHEDNAME_MAXLEN` without the zero byte).
pub(crate) const SCHEDULER_LENGTH: usize = 15;
/// The longest name of a persistence engine (`IP_VS_PENAME_MAXLEN`; the kernel takes the zero byte on top).
pub(crate) const ENGINE_LENGTH: usize = 16;
/// The largest value of the kernel's `int`.
pub(crate) const INT_MAX: u32 = i32::MAX as u32;
