//! The numbers of the kernel's IPVS interface (`include/uapi/linux/ip_vs.h`, the same from Linux 6.1 to 7.3).

use crate::wire::kinds;

/// The generic netlink family, and the module that brings it.
pub(crate) const FAMILY: &str = "IPVS";
pub(crate) const MODULE: &str = "ip_vs";
/// The version of the family's interface; the kernel does not look at it.
pub(crate) const VERSION: u8 = 1;

/// Declares the commands, and lists them for the comparison with the documentation.
macro_rules! commands {
    ($($command:ident = $number:literal,)+) => {
        /// `IPVS_CMD_*`.
        pub(crate) mod command {
            $(pub(crate) const $command: u8 = $number;)+
            #[cfg(test)]
            pub(super) const ALL: &[(&str, u8)] = &[$((stringify!($command), $number)),+];
        }
    };
}

commands! {
    NEW_SERVICE = 1,
    SET_SERVICE = 2,
    DEL_SERVICE = 3,
    GET_SERVICE = 4,
    NEW_DEST = 5,
    SET_DEST = 6,
    DEL_DEST = 7,
    GET_DEST = 8,
    NEW_DAEMON = 9,
    DEL_DAEMON = 10,
    GET_DAEMON = 11,
    SET_CONFIG = 12,
    GET_CONFIG = 13,
    SET_INFO = 14,
    GET_INFO = 15,
    ZERO = 16,
    FLUSH = 17,
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

/// `AF_INET` and `AF_INET6`.
pub(crate) const INET: u16 = 2;
pub(crate) const INET6: u16 = 10;

/// `IP_VS_SVC_F_PERSISTENT`: set by [`Persistence`](super::Persistence).
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

#[cfg(test)]
mod tests {
    //! The tables in the documentation have every number, and no other.

    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::super::daemon::DaemonAttr;
    use super::super::destination::DestinationAttr;
    use super::super::message::InfoAttr;
    use super::super::service::ServiceAttr;
    use super::super::stats::StatsAttr;
    use super::super::{ServiceFlags, TunnelFlags, settings};
    use super::*;
    use crate::wire::Kind;

    /// The rows whose first column starts with this: first column and second.
    fn rows(prefix: &str) -> BTreeSet<(String, String)> {
        let lines = include_str!("kernels.md").lines();
        let columns = lines.filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let rows = columns.filter(|(name, _)| name.starts_with(prefix));
        rows.map(|(name, rest)| (name.to_owned(), rest.split('|').next().unwrap().trim().to_owned())).collect()
    }

    fn kinds<K: Kind>(prefix: &str) {
        let here = (0..=u16::MAX).filter_map(K::from_number);
        let here: BTreeSet<_> = here.map(|kind| (kind.name().to_owned(), kind.number().to_string())).collect();
        // Omitted rows have no number.
        let documented = rows(prefix).into_iter().filter(|(_, number)| number.parse::<u16>().is_ok()).collect();
        assert_eq!(here, documented);
    }

    #[test]
    fn every_command_has_its_row() {
        let here = command::ALL.iter().map(|(name, number)| (format!("IPVS_CMD_{name}"), number.to_string()));
        let documented = rows("IPVS_CMD_").into_iter().filter(|(name, _)| !name.starts_with("IPVS_CMD_ATTR_"));
        assert_eq!(here.collect::<BTreeSet<_>>(), documented.collect());
    }

    #[test]
    fn every_attribute_has_its_row() {
        kinds::<Command>("IPVS_CMD_ATTR_");
        kinds::<ServiceAttr>("IPVS_SVC_ATTR_");
        kinds::<DestinationAttr>("IPVS_DEST_ATTR_");
        kinds::<DaemonAttr>("IPVS_DAEMON_ATTR_");
        kinds::<StatsAttr>("IPVS_STATS_ATTR_");
        kinds::<InfoAttr>("IPVS_INFO_ATTR_");
    }

    #[test]
    fn every_value_has_its_row() {
        let value = |(name, number): (&str, u32)| (name.to_owned(), number.to_string());
        let bits = |(name, bits): (&str, u32)| (name.to_owned(), format!("{bits:#x}"));
        let methods = [
            ("IP_VS_CONN_F_MASQ", forwarding::MASQUERADE),
            ("IP_VS_CONN_F_LOCALNODE", forwarding::LOCAL),
            ("IP_VS_CONN_F_TUNNEL", forwarding::TUNNEL),
            ("IP_VS_CONN_F_DROUTE", forwarding::DIRECT_ROUTE),
            ("IP_VS_CONN_F_BYPASS", forwarding::BYPASS),
            ("IP_VS_CONN_F_TUNNEL_TYPE_IPIP", tunnel::IPIP.into()),
            ("IP_VS_CONN_F_TUNNEL_TYPE_GUE", tunnel::GUE.into()),
            ("IP_VS_CONN_F_TUNNEL_TYPE_GRE", tunnel::GRE.into()),
        ];
        assert_eq!(
            rows("IP_VS_CONN_F_").into_iter().filter(|(name, _)| !name.contains('*')).collect::<BTreeSet<_>>(),
            methods.map(value).into()
        );
        let states = [("NONE", 0), ("MASTER", daemon::MASTER), ("BACKUP", daemon::BACKUP)];
        assert_eq!(
            rows("IP_VS_STATE_"),
            states.map(|(name, number)| bits((&format!("IP_VS_STATE_{name}"), number))).into()
        );
        let flags = [
            ("IP_VS_SVC_F_PERSISTENT", PERSISTENT),
            ("IP_VS_SVC_F_HASHED", HASHED),
            ("IP_VS_SVC_F_ONEPACKET", ServiceFlags::ONE_PACKET.bits()),
            ("IP_VS_SVC_F_SCHED1", ServiceFlags::SCHEDULER_1.bits()),
            ("IP_VS_SVC_F_SCHED2", ServiceFlags::SCHEDULER_2.bits()),
            ("IP_VS_SVC_F_SCHED3", ServiceFlags::SCHEDULER_3.bits()),
        ];
        assert_eq!(rows("IP_VS_SVC_F_"), flags.map(bits).into());
        let mut encapsulation = BTreeSet::from([value(("IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM", 0))]);
        encapsulation.extend([
            bits(("IP_VS_TUNNEL_ENCAP_FLAG_CSUM", TunnelFlags::CHECKSUM.bits().into())),
            bits(("IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM", TunnelFlags::REMOTE_CHECKSUM.bits().into())),
        ]);
        assert_eq!(rows("IP_VS_TUNNEL_ENCAP_FLAG_"), encapsulation);
    }

    /// The kernel's names by which a search in the documentation finds an item.
    fn aliases() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let folders = ["ipvs", "ipvs/procfs"].map(|folder| fs::read_dir(root.join(folder)).unwrap());
        let files = folders.into_iter().flatten().map(|entry| entry.unwrap().path()).chain([root.join("net.rs")]);
        let sources = files.filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
        let names = |source: String| {
            let attributes = source.split("doc(alias").skip(1).filter_map(|rest| rest.split(")]").next());
            attributes.flat_map(|text| text.split('"').skip(1).step_by(2)).map(str::to_owned).collect::<Vec<_>>()
        };
        sources.flat_map(|file| names(fs::read_to_string(file).unwrap())).collect()
    }

    #[test]
    fn every_name_of_the_kernel_that_has_an_item_is_its_alias() {
        let lines = include_str!("kernels.md").lines().filter(|line| line.starts_with("| `IP"));
        let with_item = lines.filter(|line| line.rsplit('|').nth(1).is_some_and(|here| here.contains("[`")));
        let names = with_item.filter_map(|line| line.split('`').nth(1)).collect::<BTreeSet<_>>();
        let aliases = aliases();
        assert!(names.len() >= 89);
        assert_eq!(names.into_iter().filter(|name| !aliases.contains(*name)).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn every_setting_has_its_row() {
        let here = settings::ALL.iter().map(|entry| (entry.to_string(), entry.since.unwrap_or_default().to_owned()));
        assert_eq!(here.collect::<BTreeSet<_>>(), rows("net.ipv4.vs."));
    }
}
