//! Options of sets and entries of each type, and their parser.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lvs::Family;
use lvs::ipset::{
    AnyType, BitmapRange, Comment, Counters, Entry, Kind, Member, Method, Place, Ports, SetName, SetOptions,
};

use crate::entry::{Reader, dash};
use crate::failure::{Failure, number};
use crate::syntax::{Command, Word};
use crate::values::{bits, bytes, mark_and_mask, number as parse_number, priority, small, split};

/// The longest time in seconds.
const MAX_TIMEOUT: u64 = 2_147_483;

/// The longest name of a type that the kernel could know (`IPSET_MAXNAMELEN` without the zero byte).
const MAX_TYPE_NAME: usize = 31;

/// The type that a name means; each has a second name, in the manner of those from before version 5.
pub(crate) fn kind(name: &str) -> Result<Kind, Failure> {
    let name_of_today = match name {
        "ipmap" => "bitmap:ip",
        "macipmap" => "bitmap:ip,mac",
        "portmap" => "bitmap:port",
        "iphash" => "hash:ip",
        "ipporthash" => "hash:ip,port",
        "ipportiphash" => "hash:ip,port,ip",
        "ipportnethash" => "hash:ip,port,net",
        "nethash" => "hash:net",
        "netporthash" => "hash:net,port",
        "netifacehash" => "hash:net,iface",
        "netnethash" => "hash:net,net",
        "netportnethash" => "hash:net,port,net",
        "ipmarkhash" => "hash:ip,mark",
        "ipmachash" => "hash:ip,mac",
        "machash" => "hash:mac",
        "setlist" => "list:set",
        other => other,
    };
    let wrong = if name.len() > MAX_TYPE_NAME { "longer than 31 characters" } else { "unknown" };
    name_of_today.parse().map_err(|_| Failure::syntax(format_args!("typename '{name}' is {wrong}")))
}

/// An option of a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Create {
    Family,
    /// `-4`, `-6`.
    ThisFamily(Family),
    Range,
    From,
    To,
    Network,
    HashSize,
    MaxElem,
    Netmask,
    Bitmask,
    MarkMask,
    BucketSize,
    InitVal,
    Size,
    Timeout,
    Counters,
    Comment,
    SkbInfo,
    ForceAdd,
    /// An option of old versions: its position in the warning, and its name there.
    Ignored(u8, &'static str),
}

impl Create {
    fn takes_value(self) -> bool {
        !matches!(self, Self::ThisFamily(_) | Self::Counters | Self::Comment | Self::SkbInfo | Self::ForceAdd)
    }

    /// The option that a word names, of sets of this type and revision.
    fn find(word: &str, kind: Kind, revision: u8) -> Option<Self> {
        let hash = kind.method() == Method::Hash;
        let bitmap = kind.method() == Method::Bitmap;
        let newest = revision >= kind.revision();
        let of_ports = matches!(kind, Kind::HashIpPort | Kind::HashIpPortIp | Kind::HashIpPortNet | Kind::HashIpMark);
        let (option, is_there) = match word.strip_prefix("--").unwrap_or(word) {
            "family" => (Self::Family, kind.has_family()),
            "-4" => (Self::ThisFamily(Family::Inet), kind.has_family()),
            "-6" => (Self::ThisFamily(Family::Inet6), kind.has_family()),
            "range" => (Self::Range, bitmap),
            "from" if of_ports => (Self::Ignored(0, "from"), true),
            "network" if of_ports => (Self::Ignored(0, "from"), true),
            "to" if of_ports => (Self::Ignored(1, "to"), true),
            "from" => (Self::From, bitmap),
            "to" => (Self::To, bitmap),
            "network" => (Self::Network, bitmap && kind != Kind::BitmapPort),
            "hashsize" => (Self::HashSize, hash),
            "maxelem" => (Self::MaxElem, hash),
            "netmask" => match kind {
                Kind::BitmapIp | Kind::HashIp => (Self::Netmask, true),
                _ => (Self::Netmask, newest && matches!(kind, Kind::HashIpPort | Kind::HashNetNet)),
            },
            "bitmask" => (Self::Bitmask, newest && matches!(kind, Kind::HashIp | Kind::HashIpPort | Kind::HashNetNet)),
            "markmask" => (Self::MarkMask, kind == Kind::HashIpMark),
            "bucketsize" => (Self::BucketSize, hash),
            "initval" => (Self::InitVal, hash),
            "size" => (Self::Size, kind == Kind::ListSet),
            "timeout" => (Self::Timeout, true),
            "counters" => (Self::Counters, true),
            "comment" => (Self::Comment, true),
            "skbinfo" => (Self::SkbInfo, true),
            "forceadd" => (Self::ForceAdd, hash),
            "probes" => (Self::Ignored(2, "probes"), of_ports || matches!(kind, Kind::HashIp | Kind::HashNet)),
            "resize" => (Self::Ignored(3, "resize"), of_ports || matches!(kind, Kind::HashIp | Kind::HashNet)),
            "gc" => (Self::Ignored(4, "gc"), kind == Kind::HashIp),
            _ => return None,
        };
        is_there.then_some(option)
    }
}

/// The names of the options of sets of this type.
pub(crate) fn set_options(kind: Kind) -> Vec<&'static str> {
    const NAMES: [&str; 19] = [
        "range",
        "from",
        "to",
        "network",
        "family",
        "-4",
        "-6",
        "markmask",
        "hashsize",
        "maxelem",
        "size",
        "netmask",
        "bitmask",
        "timeout",
        "counters",
        "comment",
        "forceadd",
        "skbinfo",
        "bucketsize",
    ];
    let is_there =
        |name: &&str| Create::find(name, kind, u8::MAX).is_some_and(|option| !matches!(option, Create::Ignored(..)));
    NAMES.into_iter().chain(["initval"]).filter(is_there).collect()
}

/// The names of the options of entries of this type in a command.
pub(crate) fn entry_options(kind: Kind, command: Command) -> Vec<&'static str> {
    const NAMES: [&str; 11] = [
        "timeout", "nomatch", "wildcard", "before", "after", "packets", "bytes", "comment", "skbmark", "skbprio",
        "skbqueue",
    ];
    NAMES.into_iter().filter(|name| is_entry_option(name, kind, command)).collect()
}

fn is_entry_option(name: &str, kind: Kind, command: Command) -> bool {
    let add = command == Command::Add;
    match name {
        "nomatch" => kind.has_networks() && command != Command::Del,
        "wildcard" => kind == Kind::HashNetIface && add,
        "before" | "after" => kind == Kind::ListSet,
        "timeout" | "packets" | "bytes" | "comment" | "skbmark" | "skbprio" | "skbqueue" => add,
        _ => false,
    }
}

/// A set to be made.
pub(crate) struct New {
    pub(crate) options: SetOptions,
    /// Error of the kernel for an entry that this crate would not send.
    pub(crate) refusal: Option<i32>,
    pub(crate) warnings: Vec<String>,
}

/// Reads the options of a set to be made.
pub(crate) fn create(kind: Kind, revision: u8, words: &[Word<'_>], reader: &Reader<'_>) -> Result<New, Failure> {
    // First what there is, then what it means: the family may stand behind what it is needed for.
    let mut given: Vec<(Create, &str, &str)> = Vec::new();
    let mut family: Option<Option<Family>> = None;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let name = word.strip_prefix("--").unwrap_or(word);
        let unknown = || {
            Failure::usage(match Create::find(word, kind, kind.revision()) {
                None => format!("Unknown argument: `{word}'"),
                Some(_) => format!(
                    "Argument `{name}' is supported in the kernel module of the set type {kind} starting from the \
                     revision {} and you have installed revision {revision} only. Your kernel is behind your ipset \
                     utility.",
                    kind.revision()
                ),
            })
        };
        let option = Create::find(word, kind, revision).ok_or_else(unknown)?;
        let value = if option.takes_value() {
            let missing = || Failure::usage(format!("Missing mandatory argument of option `{name}'"));
            rest.next().ok_or_else(missing)?
        } else {
            ""
        };
        if family.is_some() && matches!(option, Create::Family | Create::ThisFamily(_)) {
            return Err(already(name));
        }
        let this_family = match option {
            Create::ThisFamily(family) => Some(family),
            Create::Family => match value {
                "inet" | "ipv4" => Some(Family::Inet),
                "inet6" | "ipv6" => Some(Family::Inet6),
                "any" | "unspec" => None,
                other => return Err(Failure::syntax(format_args!("unknown inet family {other}"))),
            },
            _ => {
                given.push((option, name, value));
                continue;
            }
        };
        family = Some(this_family);
    }
    let mut new = Creation::new(kind, family, reader);
    for (option, name, value) in given {
        new.take(option, name, value)?;
    }
    new.finish()
}

fn already(name: &str) -> Failure {
    Failure::syntax(format_args!("{name} already specified"))
}

/// The part of a new set that has been read.
struct Creation<'a> {
    kind: Kind,
    family: Family,
    reader: &'a Reader<'a>,
    options: SetOptions,
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    prefix: Option<u8>,
    ports: (Option<u16>, Option<u16>),
    refusal: Option<i32>,
    ignored: Vec<(u8, String)>,
    seen: Vec<Create>,
}

impl<'a> Creation<'a> {
    fn new(kind: Kind, family: Option<Option<Family>>, reader: &'a Reader<'a>) -> Self {
        let options = SetOptions::default();
        let refusal = (family == Some(None)).then_some(number::INVALID_FAMILY);
        let family = family.flatten().unwrap_or(Family::Inet);
        Self {
            kind,
            family,
            reader,
            options,
            from: None,
            to: None,
            prefix: None,
            ports: (None, None),
            refusal,
            ignored: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn take(&mut self, option: Create, name: &str, value: &str) -> Result<(), Failure> {
        if let Create::Ignored(place, shown) = option {
            if !self.ignored.iter().any(|(known, _)| *known == place) {
                self.ignored
                    .push((place, format!("Option '--{shown} {value}' is ignored. Please upgrade your syntax.")));
            }
            return Ok(());
        }
        let same = match option {
            Create::From | Create::Network => Create::Range,
            other => other,
        };
        if option.takes_value() && self.seen.contains(&same) {
            return Err(already(name));
        }
        let options = &mut self.options;
        match option {
            Create::Range | Create::From | Create::To | Create::Network => self.take_range(option, value)?,
            Create::HashSize => options.hashsize = Some(small(value, u32::MAX.into())?),
            Create::MaxElem => options.maxelem = Some(small(value, u32::MAX.into())?),
            Create::InitVal => options.initval = Some(small(value, u32::MAX.into())?),
            Create::Size => options.size = Some(small(value, u32::MAX.into())?),
            Create::MarkMask => {
                options.markmask = Some(small(value, u32::MAX.into())?);
                if options.markmask == Some(0) {
                    self.refusal = self.refusal.or(Some(number::INVALID_MARKMASK));
                }
            }
            Create::BucketSize => {
                let size: u8 = small(value, u8::MAX.into())?;
                // As the kernel does it.
                options.bucketsize = Some(size.clamp(2, 12).next_multiple_of(2));
            }
            Create::Netmask => self.take_netmask(value)?,
            Create::Bitmask => self.take_bitmask(value)?,
            Create::Timeout => options.timeout = Some(seconds(value)?),
            Create::Counters => options.counters = true,
            Create::Comment => options.comment = true,
            Create::SkbInfo => options.skbinfo = true,
            Create::ForceAdd => options.forceadd = true,
            Create::Family | Create::ThisFamily(_) | Create::Ignored(..) => {}
        }
        self.seen.push(same);
        Ok(())
    }

    fn take_netmask(&mut self, value: &str) -> Result<(), Failure> {
        if self.options.bitmask.is_some() {
            return Err(exclusive());
        }
        let bits = bits(self.family);
        let prefix = number_of_bits(value, 1, bits).map_err(|failure| {
            failure.and(format_args!("Syntax error: netmask is out of the inclusive range of 1-{bits}"))
        })?;
        self.options.netmask = Some(prefix);
        self.choose_family();
        Ok(())
    }

    fn take_bitmask(&mut self, value: &str) -> Result<(), Failure> {
        if self.options.netmask.is_some() {
            return Err(exclusive());
        }
        let wrong = format!("Syntax error: bitmask is not valid for family = {}", self.family);
        let mask = self.reader.address(value, self.family).map_err(|failure| failure.and(wrong))?;
        self.choose_family();
        if mask.is_unspecified() {
            self.refusal = self.refusal.or(Some(number::INVALID_NETMASK));
        }
        self.options.bitmask = Some(mask);
        Ok(())
    }

    /// A mask is one of a family: `any` is that family then.
    fn choose_family(&mut self) {
        self.refusal = self.refusal.filter(|number| *number != number::INVALID_FAMILY);
    }

    fn take_range(&mut self, option: Create, value: &str) -> Result<(), Failure> {
        if self.kind == Kind::BitmapPort {
            return self.take_ports(option, value);
        }
        let plain = || Failure::syntax(format_args!("plain IP address must be supplied: {value}"));
        match option {
            Create::From | Create::To => {
                if split(value, b'/').is_some() || split(value, b'-').is_some() {
                    return Err(plain());
                }
                let address = Some(self.reader.address(value, Family::Inet)?);
                if option == Create::From { self.from = address } else { self.to = address }
            }
            _ if split(value, b'/').is_some() => {
                let (address, prefix) = self.reader.with_prefix(value, Family::Inet)?;
                self.from = Some(address);
                self.prefix = prefix;
            }
            Create::Network => return Err(Failure::syntax(format_args!("IP/netblock must be supplied: {value}"))),
            _ => {
                let wanted = || Failure::syntax(format_args!("IP/cidr or IP-IP range must be specified: {value}"));
                split(value, b'-').ok_or_else(wanted)?;
                dash(value)?.ok_or_else(wanted)?;
                let (from, to) = self.reader.address_range(value, Family::Inet)?;
                self.from = Some(from);
                self.to = Some(to.ok_or_else(wanted)?);
                self.seen.push(Create::To);
            }
        }
        Ok(())
    }

    fn take_ports(&mut self, option: Create, value: &str) -> Result<(), Failure> {
        match option {
            Create::From => self.ports.0 = Some(self.reader.port(value, "tcp")?),
            Create::To => self.ports.1 = Some(self.reader.port(value, "tcp")?),
            _ => {
                let (first, last) = self.reader.tcp_or_udp_ports(value)?;
                self.ports.0 = Some(first);
                if last.is_some() {
                    self.ports.1 = last;
                    self.seen.push(Create::To);
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<New, Failure> {
        if self.kind.has_family() {
            self.options.family = Some(self.family);
        }
        if self.kind.method() == Method::Bitmap {
            self.options.range = Some(self.range()?);
        }
        self.ignored.sort_by_key(|(place, _)| *place);
        let warnings = self.ignored.into_iter().map(|(_, text)| text).collect();
        Ok(New { options: self.options, refusal: self.refusal, warnings })
    }

    fn range(&mut self) -> Result<BitmapRange, Failure> {
        let missing = |name: &str| Failure::usage(format!("Mandatory option `{name}' is missing"));
        if self.kind == Kind::BitmapPort {
            let first = self.ports.0.ok_or_else(|| missing("range"))?;
            let last = self.ports.1.ok_or_else(|| missing("to"))?;
            return Ok(BitmapRange::Ports(Ports { first, last }));
        }
        let Some(IpAddr::V4(from)) = self.from else { return Err(missing("range")) };
        match (self.to, self.prefix) {
            (Some(IpAddr::V4(to)), _) => Ok(BitmapRange::Addresses(from, to)),
            (_, Some(prefix)) => {
                if prefix == 32 {
                    self.refusal = Some(number::INVALID_CIDR);
                }
                let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                let first = from.to_bits() & !host;
                Ok(BitmapRange::Addresses(Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(first | host)))
            }
            _ => Err(missing("to")),
        }
    }
}

fn exclusive() -> Failure {
    Failure::syntax("bitmask and netmask are mutually exclusive, provide only one")
}

/// A prefix length.
pub(crate) fn number_of_bits(text: &str, min: u8, max: u8) -> Result<u8, Failure> {
    let value: u8 = small(text, u8::MAX.into())?;
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Failure::syntax(format_args!("'{text}' is out of range {min}-{max}")))
    }
}

fn seconds(text: &str) -> Result<Duration, Failure> {
    parse_number(text, 0, MAX_TIMEOUT).map(Duration::from_secs)
}

/// Options of an entry, and the position of a set in a list.
#[derive(Default)]
pub(crate) struct Carried {
    timeout: Option<Duration>,
    counters: Counters,
    comment: Option<Comment>,
    mark: Option<(u32, u32)>,
    priority: Option<(u16, u16)>,
    queue: Option<u16>,
    nomatch: bool,
    wildcard: bool,
    before: Option<SetName>,
    after: Option<SetName>,
    /// Whether it was said where it stands.
    placed: bool,
}

impl Carried {
    /// Reads the options of an entry, which may say already where it stands in a list.
    pub(crate) fn read(kind: Kind, command: Command, placed: bool, words: &[Word<'_>]) -> Result<Self, Failure> {
        let mut carried = Self { placed, ..Self::default() };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let name = word.strip_prefix("--").unwrap_or(word);
            if !is_entry_option(name, kind, command) {
                return Err(Failure::usage(format!("Unknown argument: `{word}'")));
            }
            match name {
                "nomatch" => carried.nomatch = true,
                "wildcard" => carried.wildcard = true,
                _ => {
                    let missing = || Failure::usage(format!("Missing mandatory argument of option `{name}'"));
                    carried.take(name, rest.next().ok_or_else(missing)?)?;
                }
            }
        }
        Ok(carried)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        // No count of packets is as large as this, which the kernel takes for none.
        const MAX_COUNT: u64 = u64::MAX - 1;
        let known = match name {
            "timeout" => self.timeout.is_some(),
            "packets" => self.counters.packets.is_some(),
            "bytes" => self.counters.bytes.is_some(),
            "comment" => self.comment.is_some(),
            "skbmark" => self.mark.is_some(),
            "skbprio" => self.priority.is_some(),
            "skbqueue" => self.queue.is_some(),
            _ => self.placed,
        };
        if known {
            return Err(already(name));
        }
        match name {
            "timeout" => self.timeout = Some(seconds(value)?),
            "packets" => self.counters.packets = Some(parse_number(value, 0, MAX_COUNT)?),
            "bytes" => self.counters.bytes = Some(parse_number(value, 0, MAX_COUNT)?),
            "comment" => self.comment = Some(comment(value)?),
            "skbmark" => self.mark = Some(mark_and_mask(value)?),
            "skbprio" => self.priority = Some(priority(value)?),
            "skbqueue" => self.queue = Some(small(value, u16::MAX.into())?),
            "before" => (self.before, self.placed) = (Some(set_name(value)?), true),
            _ => (self.after, self.placed) = (Some(set_name(value)?), true),
        }
        Ok(())
    }

    /// Completes an entry.
    pub(crate) fn place(&self, entry: &mut Entry) {
        match (entry, self.before, self.after) {
            (Entry::IpInterface(_, interface), ..) => interface.wildcard = self.wildcard,
            (Entry::Set(member), Some(other), _) => member.place = Some(Place::Before(other)),
            (Entry::Set(member), None, Some(other)) => member.place = Some(Place::After(other)),
            _ => {}
        }
    }

    /// Gives it to an entry.
    pub(crate) fn give(self, member: &mut Member<AnyType>) {
        member.timeout = self.timeout;
        member.counters = self.counters;
        member.comment = self.comment;
        member.skb.mark = self.mark;
        member.skb.priority = self.priority;
        member.skb.queue = self.queue;
        member.nomatch = self.nomatch;
    }
}

fn comment(text: &str) -> Result<Comment, Failure> {
    if text.contains('"') {
        return Err(Failure::syntax("\" character is not permitted in comments"));
    }
    let too_long = |_| Failure::syntax("Comment is longer than the maximum allowed 255 characters");
    Comment::any(bytes(text)).map_err(too_long)
}

/// The name of a set.
pub(crate) fn set_name(text: &str) -> Result<SetName, Failure> {
    let too_long = |_| Failure::syntax(format_args!("setname '{text}' is longer than 31 characters"));
    SetName::any(bytes(text)).map_err(too_long)
}
