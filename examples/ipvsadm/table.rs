//! The commands and options: how they are written, what they are called in messages, and which goes with which.

use lvs::Protocol;

use self::Item::*;
use crate::command::Mistake;
use crate::syntax::{Form, Forms, Takes};

/// Meaning of an option on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Word {
    Verb(Verb),
    /// `service-address`, by address.
    Address(Protocol),
    /// `service-address`, by firewall mark.
    Mark,
    Ipv6,
    /// `forwarding-method`.
    Method(Method),
    Item(Item),
    /// Has no effect, however often it is given.
    Sort,
}

/// A command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    AddService,
    EditService,
    DeleteService,
    Flush,
    List,
    AddServer,
    EditServer,
    DeleteServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
    Help,
    Version,
}

/// How packets get to a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Gatewaying,
    Ipip,
    Masquerading,
}

/// How packets are encapsulated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TunnelType {
    Ipip,
    Gue,
    Gre,
}

/// An option that can be given once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    Numeric,
    Connection,
    ServiceAddress,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    ForwardingMethod,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    Ops,
    Engine,
    SchedFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
}

/// Rule of a command or a type of tunnel for an option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rule {
    Needed,
    Allowed,
    Illegal,
    /// At most one of those that have this rule.
    OneOf,
}

/// A set of options.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Items(u64);

impl Items {
    const fn of(items: &[Item]) -> Self {
        match items {
            [] => Self(0),
            [first, rest @ ..] => Self(first.bit() | Self::of(rest).0),
        }
    }

    pub(crate) fn contains(self, item: Item) -> bool {
        self.0 & item.bit() != 0
    }

    /// Adds an option; returns whether it was absent.
    pub(crate) fn insert(&mut self, item: Item) -> bool {
        let is_new = !self.contains(item);
        self.0 |= item.bit();
        is_new
    }
}

/// Rules of a command or a type of tunnel. An option in none of the sets is illegal.
pub(crate) struct Rules {
    needed: Items,
    allowed: Items,
    one_of: Items,
}

impl Rules {
    /// Returns the rule for an option.
    pub(crate) fn of(&self, item: Item) -> Rule {
        match item {
            _ if self.needed.contains(item) => Rule::Needed,
            _ if self.allowed.contains(item) => Rule::Allowed,
            _ if self.one_of.contains(item) => Rule::OneOf,
            _ => Rule::Illegal,
        }
    }
}

/// Every option with its name in messages, in the order in which they are checked.
const ITEMS: &[(Item, &str)] = &[
    (Item::Numeric, "numeric"),
    (Item::Connection, "connection"),
    (Item::ServiceAddress, "service-address"),
    (Item::Scheduler, "scheduler"),
    (Item::Persistent, "persistent"),
    (Item::Netmask, "netmask"),
    (Item::RealServer, "real-server"),
    (Item::ForwardingMethod, "forwarding-method"),
    (Item::Weight, "weight"),
    (Item::UpperThreshold, "u-threshold"),
    (Item::LowerThreshold, "l-threshold"),
    (Item::McastInterface, "mcast-interface"),
    (Item::Timeout, "timeout"),
    (Item::Daemon, "daemon"),
    (Item::Stats, "stats"),
    (Item::Rate, "rate"),
    (Item::Thresholds, "thresholds"),
    (Item::PersistentConn, "persistent-conn"),
    (Item::NoSort, "nosort"),
    (Item::SyncId, "syncid"),
    (Item::Exact, "exact"),
    (Item::Ops, "ops"),
    (Item::Engine, "pe"),
    (Item::SchedFlags, "sched-flags"),
    (Item::McastGroup, "mcast-group"),
    (Item::McastPort, "mcast-port"),
    (Item::McastTtl, "mcast-ttl"),
    (Item::SyncMaxlen, "sync-maxlen"),
    (Item::TunInfo, "tun-info"),
    (Item::TunType, "tun-type"),
    (Item::TunPort, "tun-port"),
    (Item::TunNocsum, "tun-nocsum"),
    (Item::TunCsum, "tun-csum"),
    (Item::TunRemcsum, "tun-remcsum"),
];

/// How everything is written.
pub(crate) static FORMS: Forms<Word> = Forms::new(&[
    verb(Some('A'), "add-service", Verb::AddService),
    verb(Some('E'), "edit-service", Verb::EditService),
    verb(Some('D'), "delete-service", Verb::DeleteService),
    verb(Some('C'), "clear", Verb::Flush),
    verb(Some('L'), "list", Verb::List),
    verb(Some('l'), "", Verb::List),
    verb(Some('a'), "add-server", Verb::AddServer),
    verb(Some('e'), "edit-server", Verb::EditServer),
    verb(Some('d'), "delete-server", Verb::DeleteServer),
    verb(None, "set", Verb::Set),
    form(None, "start-daemon", Takes::Value, Word::Verb(Verb::StartDaemon)),
    form(None, "stop-daemon", Takes::Value, Word::Verb(Verb::StopDaemon)),
    verb(Some('R'), "restore", Verb::Restore),
    verb(Some('S'), "save", Verb::Save),
    verb(Some('Z'), "zero", Verb::Zero),
    verb(Some('h'), "help", Verb::Help),
    verb(Some('v'), "version", Verb::Version),
    form(Some('t'), "tcp-service", Takes::Value, Word::Address(Protocol::TCP)),
    form(Some('u'), "udp-service", Takes::Value, Word::Address(Protocol::UDP)),
    form(None, "sctp-service", Takes::Value, Word::Address(Protocol::SCTP)),
    form(Some('f'), "fwmark-service", Takes::Value, Word::Mark),
    form(Some('6'), "ipv6", Takes::Nothing, Word::Ipv6),
    form(Some('g'), "gatewaying", Takes::Nothing, Word::Method(Method::Gatewaying)),
    form(Some('i'), "ipip", Takes::Nothing, Word::Method(Method::Ipip)),
    form(Some('m'), "masquerading", Takes::Nothing, Word::Method(Method::Masquerading)),
    form(None, "sort", Takes::Nothing, Word::Sort),
    item(Some('n'), "numeric", Takes::Nothing, Item::Numeric),
    item(Some('c'), "connection", Takes::Nothing, Item::Connection),
    item(Some('s'), "scheduler", Takes::Value, Item::Scheduler),
    item(Some('p'), "persistent", Takes::MaybeValue, Item::Persistent),
    item(Some('M'), "netmask", Takes::Value, Item::Netmask),
    item(Some('r'), "real-server", Takes::Value, Item::RealServer),
    item(Some('w'), "weight", Takes::Value, Item::Weight),
    item(Some('x'), "u-threshold", Takes::Value, Item::UpperThreshold),
    item(Some('y'), "l-threshold", Takes::Value, Item::LowerThreshold),
    item(None, "mcast-interface", Takes::Value, Item::McastInterface),
    item(None, "timeout", Takes::Nothing, Item::Timeout),
    item(None, "daemon", Takes::Nothing, Item::Daemon),
    item(None, "stats", Takes::Nothing, Item::Stats),
    item(None, "rate", Takes::Nothing, Item::Rate),
    item(None, "thresholds", Takes::Nothing, Item::Thresholds),
    item(None, "persistent-conn", Takes::Nothing, Item::PersistentConn),
    item(None, "nosort", Takes::Nothing, Item::NoSort),
    item(None, "syncid", Takes::Value, Item::SyncId),
    item(Some('X'), "exact", Takes::Nothing, Item::Exact),
    item(Some('o'), "ops", Takes::Nothing, Item::Ops),
    item(None, "pe", Takes::Value, Item::Engine),
    item(Some('b'), "sched-flags", Takes::Value, Item::SchedFlags),
    item(None, "mcast-group", Takes::Value, Item::McastGroup),
    item(None, "mcast-port", Takes::Value, Item::McastPort),
    item(None, "mcast-ttl", Takes::Value, Item::McastTtl),
    item(None, "sync-maxlen", Takes::Value, Item::SyncMaxlen),
    item(None, "tun-info", Takes::Nothing, Item::TunInfo),
    item(None, "tun-type", Takes::Value, Item::TunType),
    item(None, "tun-port", Takes::Value, Item::TunPort),
    item(None, "tun-nocsum", Takes::Nothing, Item::TunNocsum),
    item(None, "tun-csum", Takes::Nothing, Item::TunCsum),
    item(None, "tun-remcsum", Takes::Nothing, Item::TunRemcsum),
]);

const fn verb(letter: Option<char>, name: &'static str, verb: Verb) -> Form<Word> {
    form(letter, name, Takes::Nothing, Word::Verb(verb))
}

const fn item(letter: Option<char>, name: &'static str, takes: Takes, item: Item) -> Form<Word> {
    form(letter, name, takes, Word::Item(item))
}

const fn form(letter: Option<char>, name: &'static str, takes: Takes, means: Word) -> Form<Word> {
    Form { letter, name, takes, means }
}

impl Verb {
    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            // The one whose name differs from how it is written.
            Self::Flush => "flush",
            _ => FORMS.all().iter().find(|form| form.means == Word::Verb(self)).map_or("", |form| form.name),
        }
    }

    /// Returns the options that go with it.
    pub(crate) fn rules(self) -> &'static Rules {
        match self {
            Self::AddService | Self::EditService => {
                const {
                    let allowed = &[Scheduler, Persistent, Netmask, Ops, Engine, SchedFlags];
                    &rules(&[ServiceAddress], allowed, &[])
                }
            }
            Self::DeleteService => const { &rules(&[ServiceAddress], &[], &[]) },
            Self::AddServer | Self::EditServer => {
                const {
                    let allowed = &[
                        ForwardingMethod,
                        Weight,
                        UpperThreshold,
                        LowerThreshold,
                        TunType,
                        TunPort,
                        TunNocsum,
                        TunCsum,
                        TunRemcsum,
                    ];
                    &rules(&[ServiceAddress, RealServer], allowed, &[])
                }
            }
            Self::DeleteServer => const { &rules(&[ServiceAddress, RealServer], &[], &[]) },
            Self::List => {
                const {
                    let allowed = &[Numeric, Stats, Rate, Thresholds, PersistentConn, NoSort, Exact, TunInfo, SyncId];
                    &rules(&[], allowed, &[Connection, ServiceAddress, Timeout, Daemon])
                }
            }
            Self::Save => const { &rules(&[], &[Numeric], &[]) },
            Self::Zero => const { &rules(&[], &[ServiceAddress], &[]) },
            Self::StartDaemon => {
                const { &rules(&[], &[McastInterface, SyncId, McastGroup, McastPort, McastTtl, SyncMaxlen], &[]) }
            }
            Self::StopDaemon => const { &rules(&[], &[SyncId], &[]) },
            Self::Flush | Self::Set | Self::Restore | Self::Help | Self::Version => const { &rules(&[], &[], &[]) },
        }
    }
}

impl TunnelType {
    /// Its name, on the command line and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::Gre => "gre",
        }
    }

    /// Returns the options of servers that go with it.
    pub(crate) fn rules(self) -> &'static Rules {
        match self {
            Self::Ipip => const { &rules(&[], OF_SERVERS, &[]) },
            Self::Gue => const { &rules(&[TunPort], OF_SERVERS, &[TunNocsum, TunCsum, TunRemcsum]) },
            Self::Gre => const { &rules(&[], OF_SERVERS, &[TunNocsum, TunCsum]) },
        }
    }
}

/// Options that go with every type of tunnel.
const OF_SERVERS: &[Item] =
    &[ServiceAddress, RealServer, ForwardingMethod, Weight, UpperThreshold, LowerThreshold, TunType];

const fn rules(needed: &[Item], allowed: &[Item], one_of: &[Item]) -> Rules {
    Rules { needed: Items::of(needed), allowed: Items::of(allowed), one_of: Items::of(one_of) }
}

impl Item {
    const fn bit(self) -> u64 {
        1 << self as u32
    }

    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        ITEMS.iter().find(|(item, _)| *item == self).map_or("", |(_, name)| name)
    }
}

/// Checks the options that were given against the rules of `whose`, such as `'list' command`.
pub(crate) fn check(given: Items, rules: &Rules, whose: impl Fn() -> String) -> Result<(), Mistake> {
    if is_fine(given, rules) { Ok(()) } else { Err(Mistake::Refused(first_mistake(given, rules, &whose()))) }
}

/// The bar of `ipvsadm-rs -R` leaves no room to look at each option of each line.
fn is_fine(Items(given): Items, rules: &Rules) -> bool {
    let Rules { needed: Items(needed), allowed: Items(allowed), one_of: Items(one_of) } = rules;
    let has_needed = given & needed == *needed;
    has_needed && given & !(needed | allowed | one_of) == 0 && (given & one_of).count_ones() <= 1
}

/// Returns the text of the first mistake in the order of [`ITEMS`]; empty if there is none.
fn first_mistake(given: Items, rules: &Rules, whose: &str) -> String {
    let mut chosen = None;
    for &(item, name) in ITEMS {
        match (rules.of(item), given.contains(item)) {
            (Rule::Needed, false) => return format!("You need to supply the '{name}' option for the {whose}"),
            (Rule::Illegal, true) => return format!("Illegal '{name}' option with the {whose}"),
            (Rule::OneOf, true) => match chosen {
                None => chosen = Some(name),
                Some(earlier) => {
                    return format!("The option '{name}' conflicts with the '{earlier}' option in the {whose}");
                }
            },
            _ => {}
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(given: &[Item], verb: Verb) -> String {
        check(Items::of(given), verb.rules(), || format!("'{}' command", verb.name()))
            .err()
            .map(|mistake| mistake.text("").into_owned())
            .unwrap_or_default()
    }

    #[test]
    fn the_first_in_the_order_of_the_table_is_named() {
        assert_eq!(
            text(&[Item::Weight, Item::RealServer], Verb::AddServer),
            "You need to supply the 'service-address' option for the 'add-server' command"
        );
        assert_eq!(
            text(&[Item::Exact, Item::Numeric], Verb::Flush),
            "Illegal 'numeric' option with the 'flush' command"
        );
        assert_eq!(
            text(&[Item::Timeout, Item::ServiceAddress, Item::Exact], Verb::List),
            "The option 'timeout' conflicts with the 'service-address' option in the 'list' command"
        );
        assert_eq!(text(&[Item::SyncId], Verb::List), "");
    }

    #[test]
    fn options_are_fine_where_no_mistake_is_found_among_them() {
        let verbs = FORMS.all().iter().filter_map(|form| match form.means {
            Word::Verb(verb) => Some(verb.rules()),
            _ => None,
        });
        let tunnels = [TunnelType::Ipip, TunnelType::Gue, TunnelType::Gre].map(TunnelType::rules);
        let items: Vec<_> = ITEMS.iter().map(|(item, _)| *item).collect();
        for rules in verbs.chain(tunnels) {
            // Any two options, with and without the needed ones.
            for start in [Items::default(), rules.needed, Items::of(&[Item::ServiceAddress])] {
                for first in &items {
                    for second in &items {
                        let mut given = start;
                        given.insert(*first);
                        for given in [start, given] {
                            let mut given = given;
                            given.insert(*second);
                            let text = first_mistake(given, rules, "command");
                            assert_eq!(is_fine(given, rules), text.is_empty(), "{given:?}: {text}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn no_name_or_letter_stands_for_two() {
        for (index, form) in FORMS.all().iter().enumerate() {
            for other in FORMS.all().iter().skip(index + 1) {
                assert!(form.letter.is_none() || form.letter != other.letter, "{:?}", form.letter);
                assert!(form.name.is_empty() || form.name != other.name, "{}", form.name);
            }
        }
    }

    #[test]
    fn every_option_has_its_place_in_the_order() {
        for form in FORMS.all() {
            if let Word::Item(item) = form.means {
                assert_eq!(item.name(), form.name);
            }
        }
    }
}
