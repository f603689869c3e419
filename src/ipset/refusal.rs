//! Meanings of the kernel's error numbers for each operation and each set type.

use std::borrow::Cow;

use nix::errno::Errno;

use super::kind::{Kind, Method};
use super::numbers::error;
use super::request::{Change, Query, Verb};
use crate::error::{Reason, Refusal, Refused};

const PERMISSION: &str = "ipset needs CAP_NET_ADMIN in the user namespace that owns the network namespace: run as root";

/// Operations for which the kernel's error numbers have meanings of their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operation {
    Create,
    Destroy,
    Rename,
    Swap,
    Add,
    Delete,
    Test,
    Ask,
}

impl Change {
    /// The meaning of the kernel's refusal.
    pub(super) fn refused(&self, refusal: Refusal) -> Refused {
        let (operation, kind) = match self {
            Self::Create(_, new) | Self::PutSet(_, new) => (Operation::Create, Some(new.kind)),
            Self::Destroy(_) | Self::RemoveSet(_) | Self::DestroyAll => (Operation::Destroy, None),
            Self::Clear(_) | Self::ClearAll => (Operation::Ask, None),
            Self::Rename(..) => (Operation::Rename, None),
            Self::Swap(..) => (Operation::Swap, None),
            Self::Add(set, _) | Self::Put(set, _) => return Verb::Add.refused(set.kind(), refusal),
            Self::Delete(set, _) | Self::Remove(set, _) => return Verb::Delete.refused(set.kind(), refusal),
        };
        explain(operation, kind, refusal)
    }
}

impl Verb {
    /// The meaning of the kernel's refusal of entries of a set of this type.
    pub(super) fn refused(self, kind: Kind, refusal: Refusal) -> Refused {
        let operation = match self {
            Self::Add | Self::Put => Operation::Add,
            Self::Delete | Self::Remove => Operation::Delete,
            Self::Test => Operation::Test,
        };
        explain(operation, Some(kind), refusal)
    }
}

impl Query {
    /// The meaning of the kernel's refusal.
    pub(super) fn meaning(&self, refusal: Refusal) -> Refused {
        match self {
            Self::Revisions(kind) => explain(Operation::Ask, Some(*kind), refusal),
            Self::Test(set, _) => Verb::Test.refused(set.kind(), refusal),
            _ => explain(Operation::Ask, None, refusal),
        }
    }
}

/// The meaning of a refusal of an operation on a set of this type, if the type is known.
fn explain(operation: Operation, kind: Option<Kind>, refusal: Refusal) -> Refused {
    match refusal.errno {
        error::OF_METHOD.. => of_method(operation, kind, refusal),
        error::PROTOCOL.. => general(operation, kind, refusal),
        _ => of_errno(operation, kind, refusal),
    }
}

fn general(operation: Operation, kind: Option<Kind>, refusal: Refusal) -> Refused {
    use Operation::{Add, Create, Delete, Destroy, Rename, Swap, Test};
    let (reason, explanation): (_, Cow<'static, str>) = match (refusal.errno, operation) {
        (error::PROTOCOL, Create | Add | Delete | Test) => (
            Reason::Invalid,
            "this kernel does not support such an option or entry for sets of this type, or an address is of the wrong family"
                .into(),
        ),
        (error::PROTOCOL, _) => (Reason::Unsupported, "this kernel speaks another version of ipset's protocol".into()),
        (error::FIND_TYPE, _) => {
            (Reason::Unavailable, kind.map_or_else(|| "no such set type".into(), missing_module))
        }
        (error::MAX_SETS, _) => (Reason::Full, "the kernel has its maximum number of sets".into()),
        (error::BUSY, Destroy) => {
            (Reason::Busy, "the set is used by a rule, is in a list:set, or is being listed".into())
        }
        (error::EXIST_SETNAME2, Rename) => (Reason::AlreadyExists, "a set of the new name exists".into()),
        (error::EXIST_SETNAME2, _) => (Reason::SetNotFound, "no set has the second name".into()),
        (error::TYPE_MISMATCH, Swap) => {
            (Reason::TypeMismatch, "the sets differ in the parts of their entries or in their family".into())
        }
        (error::EXIST, Add) => (Reason::AlreadyExists, "the entry is in the set already".into()),
        (error::EXIST, _) => (Reason::EntryNotFound, "the entry is not in the set".into()),
        (error::INVALID_CIDR, _) => (Reason::Invalid, "the prefix length is refused for sets of this type: two networks of prefix length 1 have all addresses".into()),
        (error::INVALID_NETMASK, _) => (Reason::Invalid, "the netmask or bitmask is refused for sets of this type".into()),
        (error::INVALID_FAMILY, _) => (Reason::Invalid, "sets of this type do not have this family".into()),
        (error::TIMEOUT, _) => (Reason::NotEnabled, "the set was created without timeouts".into()),
        (error::REFERENCED, _) => {
            (Reason::Busy, "the set is used by a rule, is in a list:set, or is being listed".into())
        }
        (error::IPADDR_IPV4, _) => (Reason::Invalid, "an IPv4 address is needed".into()),
        (error::IPADDR_IPV6, _) => (Reason::Invalid, "an IPv6 address is needed".into()),
        (error::COUNTER, _) => (Reason::NotEnabled, "the set was created without counters".into()),
        (error::COMMENT, _) => (Reason::NotEnabled, "the set was created without comments".into()),
        (error::INVALID_MARKMASK, _) => (Reason::Invalid, "the mask of marks is zero".into()),
        (error::SKBINFO, _) => (Reason::NotEnabled, "the set was created without skbinfo".into()),
        (error::BITMASK_NETMASK_EXCL, _) => (Reason::Invalid, "a netmask and a bitmask exclude each other".into()),
        _ => return Refused::unexplained(refusal),
    };
    Refused::new(reason, explanation, refusal)
}

/// These numbers have another name and meaning for each method.
fn of_method(operation: Operation, kind: Option<Kind>, refusal: Refusal) -> Refused {
    let Some(kind) = kind else {
        return Refused::unexplained(refusal);
    };
    let number = refusal.errno - error::OF_METHOD;
    let (reason, name, explanation): (_, _, &str) = match (kind.method(), number) {
        (Method::Bitmap, 0) => (Reason::Invalid, "IPSET_ERR_BITMAP_RANGE", "the entry is outside of the set's range"),
        (Method::Bitmap, 1) if operation == Operation::Create => {
            (Reason::Invalid, "IPSET_ERR_BITMAP_RANGE_SIZE", "the range has more than 65536 elements")
        }
        (Method::Hash, 0) => {
            let text = "the set is full (maxelem), or a network has 64 interfaces";
            (Reason::Full, "IPSET_ERR_HASH_FULL", text)
        }
        (Method::Hash, 1) => {
            (Reason::Invalid, "IPSET_ERR_HASH_ELEM", "the address, the mark or the Ethernet address is zero")
        }
        (Method::Hash, 2) => (Reason::Invalid, "IPSET_ERR_INVALID_PROTO", "the protocol is 0"),
        (Method::Hash, 3) => (Reason::Invalid, "IPSET_ERR_MISSING_PROTO", "the protocol is missing"),
        (Method::Hash, 4) => {
            let text = "sets of this type and family have no ranges";
            (Reason::Invalid, "IPSET_ERR_HASH_RANGE_UNSUPPORTED", text)
        }
        (Method::Hash, 5) => (Reason::Invalid, "IPSET_ERR_HASH_RANGE", "the range has too many addresses"),
        (Method::List, 0) => (Reason::SetNotFound, "IPSET_ERR_NAME", "no set has the name of the member"),
        (Method::List, 1) => (Reason::Invalid, "IPSET_ERR_LOOP", "a list:set cannot be in a list:set"),
        (Method::List, 2) => (Reason::Invalid, "IPSET_ERR_BEFORE", "the member to be before is missing"),
        (Method::List, 3) => (Reason::SetNotFound, "IPSET_ERR_NAMEREF", "no set has the name of the place"),
        (Method::List, 4) => (Reason::Full, "IPSET_ERR_LIST_FULL", "the list is full"),
        (Method::List, 5) => (Reason::EntryNotFound, "IPSET_ERR_REF_EXIST", "the set of the place is not in the list"),
        _ => return Refused::unexplained(refusal),
    };
    Refused::new(reason, explanation, refusal).named(name)
}

fn of_errno(operation: Operation, kind: Option<Kind>, refusal: Refusal) -> Refused {
    let (reason, explanation): (_, &str) = match (Errno::from_raw(refusal.errno), operation) {
        (Errno::EPERM, _) => (Reason::PermissionDenied, PERMISSION),
        (Errno::ENOENT, _) => (Reason::SetNotFound, "no such set"),
        (Errno::EEXIST, Operation::Create) => (Reason::AlreadyExists, "a set of this name exists"),
        (Errno::EBUSY, Operation::Swap) => (Reason::Busy, "one of the sets is being listed"),
        (Errno::EINVAL, Operation::Add | Operation::Delete) => {
            (Reason::Invalid, "the kernel rejects the entry as invalid (since Linux 6.2, an address of zero)")
        }
        (Errno::ENOMEM, Operation::Create) => (Reason::OutOfMemory, "the set would be larger than the kernel can hold"),
        // Some checks of hash:ip,mac forget the sign of their number.
        _ if refusal.errno < 0 && kind == Some(Kind::HashIpMac) => {
            (Reason::Invalid, "the address is of the wrong family, or the set was created without the entry's values")
        }
        _ => return Refused::unexplained(refusal),
    };
    Refused::new(reason, explanation, refusal)
}

fn missing_module(kind: Kind) -> Cow<'static, str> {
    format!("no type {kind}: the module {} is not loaded and could not be loaded", kind.module()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every error number has a name in the text, whatever the operation and the type.
    #[test]
    fn error_numbers_are_shown_by_name() {
        let refusal = |errno| Refusal { errno, message: None, offset: None };
        for kind in Kind::ALL {
            for errno in (error::PROTOCOL..=error::BITMASK_NETMASK_EXCL).chain(error::OF_METHOD..error::OF_METHOD + 6) {
                for errno in [errno, -errno] {
                    let text = Verb::Add.refused(*kind, refusal(errno)).to_string();
                    assert!(text.contains("IPSET_ERR_") && !text.contains(&errno.to_string()), "{text}");
                }
            }
        }
        let text = |verb: Verb, kind, errno| verb.refused(kind, refusal(errno)).to_string();
        let full = text(Verb::Add, Kind::HashIp, 4352);
        assert_eq!(full, "the set is full (maxelem), or a network has 64 interfaces (IPSET_ERR_HASH_FULL)");
        assert!(text(Verb::Add, Kind::ListSet, 4356).ends_with("the list is full (IPSET_ERR_LIST_FULL)"));
        assert!(text(Verb::Add, Kind::HashIp, 4360).ends_with("(IPSET_ERR_TYPE_SPECIFIC + 8)"));
    }
}
