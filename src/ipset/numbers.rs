//! The numbers of the kernel's ipset interface (`include/uapi/linux/netfilter/ipset/ip_set.h`, Linux 6.1 to 7.3).

use crate::wire::kinds;

/// ipset among netfilter's subsystems (`NFNL_SUBSYS_IPSET`).
pub(crate) const SUBSYSTEM: u8 = 6;
/// The version of the protocol that is spoken here (`IPSET_PROTOCOL`); since Linux 4.20.
pub(crate) const PROTOCOL: u8 = 7;
/// Longest name, type or comment with its zero byte (`IPSET_MAXNAMELEN`).
pub(crate) const MAX_NAME: usize = 31;
/// The longest name of an interface in an entry, without its zero byte (`IFNAMSIZ`).
pub(crate) const MAX_INTERFACE: usize = 15;
/// The longest comment in bytes, without its zero byte (`IPSET_MAX_COMMENT_SIZE`).
pub(crate) const MAX_COMMENT: usize = 255;
/// The longest timeout in seconds: the kernel counts milliseconds in 31 bits.
pub(crate) const MAX_TIMEOUT: u32 = i32::MAX as u32 / 1000;

/// Families of sets (`NFPROTO_*`).
pub(crate) mod family {
    pub(crate) const UNSPECIFIED: u8 = 0;
    pub(crate) const INET: u8 = 2;
    pub(crate) const INET6: u8 = 10;
}

/// `IPSET_CMD_*`.
pub(crate) mod command {
    pub(crate) const PROTOCOL: u8 = 1;
    pub(crate) const CREATE: u8 = 2;
    pub(crate) const DESTROY: u8 = 3;
    pub(crate) const FLUSH: u8 = 4;
    pub(crate) const RENAME: u8 = 5;
    pub(crate) const SWAP: u8 = 6;
    pub(crate) const LIST: u8 = 7;
    pub(crate) const ADD: u8 = 9;
    pub(crate) const DEL: u8 = 10;
    pub(crate) const TEST: u8 = 11;
    pub(crate) const HEADER: u8 = 12;
    pub(crate) const TYPE: u8 = 13;
    pub(crate) const GET_BYNAME: u8 = 14;
    pub(crate) const GET_BYINDEX: u8 = 15;
}

/// Parts of a listing (`enum ipset_cmd_flags`, `IPSET_FLAG_LIST_*`).
pub(crate) mod list_flag {
    pub(crate) const LIST_SETNAME: u32 = 2;
    pub(crate) const LIST_HEADER: u32 = 4;
}

kinds! {
    /// Attributes of a command.
    Command "IPSET_ATTR" {
        Protocol = 1 "IPSET_ATTR_PROTOCOL",
        SetName = 2 "IPSET_ATTR_SETNAME",
        // The other name of RENAME and SWAP has this number, too (IPSET_ATTR_SETNAME2).
        TypeName = 3 "IPSET_ATTR_TYPENAME",
        Revision = 4 "IPSET_ATTR_REVISION",
        Family = 5 "IPSET_ATTR_FAMILY",
        Flags = 6 "IPSET_ATTR_FLAGS",
        Data = 7 "IPSET_ATTR_DATA",
        Entries = 8 "IPSET_ATTR_ADT",
        Line = 9 "IPSET_ATTR_LINENO",
        // The lowest version in the reply to PROTOCOL has this number, too (IPSET_ATTR_PROTOCOL_MIN).
        LowestRevision = 10 "IPSET_ATTR_REVISION_MIN",
        Index = 11 "IPSET_ATTR_INDEX",
    }
}

/// Flags of sets and entries (`enum ipset_cadt_flags`, `IPSET_FLAG_*`).
pub(crate) mod flag {
    pub(crate) const BEFORE: u32 = 1;
    pub(crate) const PHYSDEV: u32 = 2;
    pub(crate) const NOMATCH: u32 = 4;
    pub(crate) const WITH_COUNTERS: u32 = 8;
    pub(crate) const WITH_COMMENT: u32 = 16;
    pub(crate) const WITH_FORCEADD: u32 = 32;
    pub(crate) const WITH_SKBINFO: u32 = 64;
    pub(crate) const IFACE_WILDCARD: u32 = 128;
}

/// Error numbers of ipset (`enum ipset_errno`), the general ones.
pub(crate) mod error {
    pub(crate) const PROTOCOL: i32 = 4097;
    pub(crate) const FIND_TYPE: i32 = 4098;
    pub(crate) const MAX_SETS: i32 = 4099;
    pub(crate) const BUSY: i32 = 4100;
    pub(crate) const EXIST_SETNAME2: i32 = 4101;
    pub(crate) const TYPE_MISMATCH: i32 = 4102;
    pub(crate) const EXIST: i32 = 4103;
    pub(crate) const INVALID_CIDR: i32 = 4104;
    pub(crate) const INVALID_NETMASK: i32 = 4105;
    pub(crate) const INVALID_FAMILY: i32 = 4106;
    pub(crate) const TIMEOUT: i32 = 4107;
    pub(crate) const REFERENCED: i32 = 4108;
    pub(crate) const IPADDR_IPV4: i32 = 4109;
    pub(crate) const IPADDR_IPV6: i32 = 4110;
    pub(crate) const COUNTER: i32 = 4111;
    pub(crate) const COMMENT: i32 = 4112;
    pub(crate) const INVALID_MARKMASK: i32 = 4113;
    pub(crate) const SKBINFO: i32 = 4114;
    pub(crate) const BITMASK_NETMASK_EXCL: i32 = 4115;
    /// The first of those that mean another thing for each method (bitmap, hash, list).
    pub(crate) const OF_METHOD: i32 = 4352;
    /// The range of a bitmap is too large.
    #[cfg(feature = "testing")]
    pub(crate) const RANGE_SIZE: i32 = 4353;
    /// A list of sets in a list of sets.
    #[cfg(feature = "testing")]
    pub(crate) const LOOP: i32 = 4353;
    /// The set of a place in a list of sets does not exist.
    #[cfg(feature = "testing")]
    pub(crate) const NAMEREF: i32 = 4355;
    /// The set of a place in a list of sets is not in the list.
    #[cfg(feature = "testing")]
    pub(crate) const REF_EXIST: i32 = 4357;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Each file that has a list of numbers or a public item.
    const SOURCES: [&str; 13] = [
        include_str!("addresses.rs"),
        include_str!("batch.rs"),
        include_str!("client.rs"),
        include_str!("entry.rs"),
        include_str!("kind.rs"),
        include_str!("listing.rs"),
        include_str!("new_set.rs"),
        include_str!("numbers.rs"),
        include_str!("options.rs"),
        include_str!("parts.rs"),
        include_str!("ports.rs"),
        include_str!("request.rs"),
        include_str!("set.rs"),
    ];

    /// Containers of flags: each flag has a public item.
    const WITHOUT_ITEM: [&str; 2] = ["IPSET_ATTR_CADT_FLAGS", "IPSET_ATTR_FLAGS"];

    /// Names of the constants of a module of this file, as the kernel has them.
    fn constants(module: &str, prefix: &str) -> BTreeSet<String> {
        let (_, rest) = include_str!("numbers.rs").split_once(&format!("mod {module} {{")).unwrap();
        let (body, _) = rest.split_once("\n}").unwrap();
        let names = body.split("const ").skip(1).filter_map(|text| text.split_once(':'));
        names.map(|(name, _)| format!("{prefix}{name}")).collect()
    }

    /// The quoted names of the kernel in the lines that `wanted` selects.
    fn quoted(wanted: fn(&str) -> bool) -> BTreeSet<String> {
        let lines = SOURCES.iter().flat_map(|source| source.lines()).map(str::trim).filter(|line| wanted(line));
        let names = lines.flat_map(|line| line.split('"')).filter(|name| name.starts_with("IPSET_"));
        names.map(str::to_owned).collect()
    }

    #[test]
    fn each_number_of_the_kernel_is_an_alias_of_a_public_item() {
        let attributes = quoted(|line| line.contains(" = ") && line.ends_with("\",") && !line.starts_with('#'));
        let commands = constants("command", "IPSET_CMD_");
        let flags = &constants("flag", "IPSET_FLAG_") | &constants("list_flag", "IPSET_FLAG_");
        assert!(attributes.len() >= 46 && commands.len() >= 14 && flags.len() >= 10, "{attributes:?}");
        let aliases = quoted(|line| line.starts_with("#[doc(alias"));
        let all = &(&attributes | &commands) | &flags;
        let missing = all.difference(&aliases).map(String::as_str).collect::<Vec<_>>();
        assert_eq!(missing, WITHOUT_ITEM);
    }
}
