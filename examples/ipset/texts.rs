//! The texts of `ipset` for the kernel's error numbers. Programs compare with them, so they are equal to the last byte.

/// A number, the method of the types that it belongs to (none: it means the same for all), the commands that it belongs
/// to (none: all), and its text.
pub(crate) type Text = (i32, &'static str, &'static [&'static str], &'static str);

const CHANGES: &[&str] = &["create", "add", "del", "test"];

/// `type` is the request for the revisions of a type.
pub(crate) const TEXTS: &[Text] = &[
    (2, "", &[], "The set with the given name does not exist"),
    (17, "", &["create"], "Set cannot be created: set with the same name already exists"),
    (17, "", &["type"], "Kernel error received: set type does not supported"),
    (34, "", &[], "The specified range is too large, split it up into smaller ranges"),
    (90, "", &[], "Kernel error received: message could not be created"),
    (4097, "", &[], "Kernel error received: ipset protocol error"),
    (4098, "", &[], "Kernel error received: set type not supported"),
    (4099, "", &[], "Kernel error received: maximal number of sets reached, cannot create more."),
    (4100, "", &["destroy"], "Set cannot be destroyed: it is in use by a kernel component"),
    (4101, "", &["swap"], "Sets cannot be swapped: the second set does not exist"),
    (4101, "", &["rename"], "Set cannot be renamed: a set with the new name already exists"),
    (4102, "", &["swap"], "The sets cannot be swapped: their type does not match"),
    (4103, "", &["del"], "Element cannot be deleted from the set: it's not added"),
    (4103, "", &["add"], "Element cannot be added to the set: it's already added"),
    (4104, "", &[], "The value of the CIDR parameter of the IP address is invalid"),
    (4105, "", &[], "The value of the netmask parameter is invalid"),
    (4106, "", &[], "Protocol family not supported by the set type"),
    (4107, "", &[], "Timeout cannot be used: set was created without timeout support"),
    (4108, "", &["rename"], "Set cannot be renamed: it is in use by another system"),
    (4109, "", &[], "An IPv4 address is expected, but not received"),
    (4110, "", &[], "An IPv6 address is expected, but not received"),
    (4111, "", &[], "Packet/byte counters cannot be used: set was created without counter support"),
    (4112, "", &[], "Comment cannot be used: set was created without comment support"),
    (4113, "", &[], "The value of the markmask parameter is invalid"),
    (4114, "", &[], "Skbinfo mapping cannot be used: set was created without skbinfo support"),
    (4115, "", &[], "netmask and bitmask options are mutually exclusive, provide only one"),
    (4352, "bitmap", CHANGES, "Element is out of the range of the set"),
    (4353, "bitmap", &["create"], "The range you specified exceeds the size limit of the set type"),
    (4352, "hash", CHANGES, "Hash is full, cannot add more elements"),
    (4353, "hash", CHANGES, "Null-valued element, cannot be stored in a hash type of set"),
    (4354, "hash", CHANGES, "Invalid protocol specified"),
    (4355, "hash", CHANGES, "Protocol missing, but must be specified"),
    (4356, "hash", CHANGES, "Range is not supported in the \"net\" component of the element"),
    (4357, "hash", CHANGES, "Invalid range, covers the whole address space"),
    (4352, "list", CHANGES, "Set to be added/deleted/tested as element does not exist."),
    (4353, "list", CHANGES, "Sets with list:set type cannot be added to the set."),
    (4354, "list", CHANGES, "No reference set specified."),
    (4355, "list", CHANGES, "The set to which you referred with 'before' or 'after' does not exist."),
    (4356, "list", CHANGES, "The set is full, more elements cannot be added."),
    (4357, "list", CHANGES, "The set to which you referred with 'before' or 'after' is not added to the set."),
];

/// No netfilter netlink, or no socket for it.
pub(crate) const NO_SESSION: &str = "Cannot open session to kernel.";

/// The line of `help` behind which [`TYPES`] stand.
pub(crate) const SUPPORTED: &str = "Supported set types:";

/// The set types in the order of `help`: the name, the first revision, and what each revision brought.
pub(crate) const TYPES: &[(&str, usize, &[&str])] = &[
    ("list:set", 0, &[INITIAL, COUNTERS, COMMENT, SKBINFO]),
    ("hash:mac", 0, &[INITIAL, BUCKETSIZE]),
    ("hash:ip,mac", 0, &[INITIAL, BUCKETSIZE]),
    (
        "hash:net,iface",
        0,
        &[
            INITIAL,
            NOMATCH,
            "/0 network support",
            COUNTERS,
            COMMENT,
            FORCEADD,
            SKBINFO,
            "skbinfo and wildcard support",
            BUCKETSIZE,
        ],
    ),
    ("hash:net,port", 1, &[SCTP, RANGE, NOMATCH, COUNTERS, COMMENT, FORCEADD, SKBINFO, BUCKETSIZE]),
    ("hash:net,port,net", 0, &[FIRST, FORCEADD, SKBINFO, BUCKETSIZE]),
    ("hash:net,net", 0, &[FIRST, FORCEADD, SKBINFO, BUCKETSIZE, MASKS]),
    ("hash:net", 0, &[INITIAL, RANGE, NOMATCH, COUNTERS, COMMENT, FORCEADD, SKBINFO, BUCKETSIZE]),
    ("hash:ip,port,net", 1, &[SCTP, RANGE, NOMATCH, COUNTERS, COMMENT, FORCEADD, SKBINFO, BUCKETSIZE]),
    ("hash:ip,port,ip", 1, &[SCTP, COUNTERS, COMMENT, FORCEADD, SKBINFO, BUCKETSIZE]),
    ("hash:ip,mark", 0, &[FIRST, FORCEADD, SKBINFO, BUCKETSIZE]),
    ("hash:ip,port", 1, &[SCTP, COUNTERS, COMMENT, FORCEADD, SKBINFO, BUCKETSIZE, MASKS]),
    ("hash:ip", 0, &[INITIAL, COUNTERS, COMMENT, FORCEADD, SKBINFO, BUCKETSIZE, "bitmask support"]),
    ("bitmap:port", 0, &[INITIAL, COUNTERS, COMMENT, SKBINFO]),
    ("bitmap:ip,mac", 0, &[INITIAL, COUNTERS, COMMENT, SKBINFO]),
    ("bitmap:ip", 0, &[INITIAL, COUNTERS, COMMENT, SKBINFO]),
];

const INITIAL: &str = "Initial revision";
const FIRST: &str = "initial revision";
const SCTP: &str = "SCTP and UDPLITE support";
const RANGE: &str = "Add/del range support";
const NOMATCH: &str = "nomatch flag support";
const COUNTERS: &str = "counters support";
const COMMENT: &str = "comment support";
const FORCEADD: &str = "forceadd support";
const SKBINFO: &str = "skbinfo support";
const BUCKETSIZE: &str = "bucketsize, initval support";
const MASKS: &str = "netmask and bitmask support";
