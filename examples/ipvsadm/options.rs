//! Parser of the command line: turns words into a [`Command`] or a [`Mistake`]. It resolves names, and does nothing else.
//!
//! The order of the checks is:
//!
//! 1. the command's word;
//! 2. each further option from left to right, with its value;
//! 3. leftover words;
//! 4. the scheduler's flags;
//! 5. the options that the command allows;
//! 6. combinations of options.

use std::borrow::Cow;
use std::iter::Peekable;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::time::Duration;

use lvs::ipvs::{
    Change, Destination, Forwarding, Netmask, Persistence, PersistenceEngine, Scheduler, Service, ServiceFlags,
    ServiceKey, SyncDaemon, SyncState, Thresholds, Timeouts, Tunnel, TunnelFlags,
};
use lvs::{Family, Interface, Protocol};

use crate::command::{Command, Listing, Mistake, Mode};
use crate::names::Names;
use crate::syntax::Scanner;
use crate::table::{FORMS, Item, Items, Method, TunnelType, Verb, Word, check};
use crate::text;
use crate::values::{self, WrongFlag, WrongMask};

/// Reads a command line, without the program's name.
pub(crate) fn parse<'a>(mut words: Peekable<impl Iterator<Item = &'a str>>, names: &Names) -> Result<Command, Mistake> {
    if words.peek().is_none() {
        return Ok(Command::List(Given::new(Verb::List).listing()));
    }
    let mut scanner = Scanner::new(&FORMS, words);
    let (verb, value) = match scanner.option() {
        Ok(Some((Word::Verb(verb), value))) => (verb, value),
        _ => return Err(Mistake::NoCommand),
    };
    let state = match value {
        Some("master") => Some(SyncState::Master),
        Some("backup") => Some(SyncState::Backup),
        _ => None,
    };
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        Verb::StartDaemon if state.is_none() => return refused("illegal start-daemon parameter specified"),
        Verb::StopDaemon if state.is_none() => return refused("illegal start_daemon specified"),
        _ => {}
    }
    let mut given = Given::new(verb);
    given.state = state.unwrap_or(SyncState::Master);
    loop {
        match scanner.option() {
            Ok(Some((Word::Verb(_), _))) => return refused(format!("invalid option `{}'", scanner.last())),
            Ok(Some((word, value))) => given.take(word, value, names)?,
            Ok(None) => break,
            Err(misuse) => return Err(Mistake::Syntax(format!("{}: {misuse}", scanner.last()))),
        }
    }
    let leftovers = scanner.leftovers();
    let leftovers = if verb == Verb::Set { given.timeouts(&leftovers)? } else { &leftovers };
    if let Some(word) = leftovers.first() {
        return refused(format!("unexpected argument {word}"));
    }
    given.command()
}

/// Options of a command line so far.
struct Given<'a> {
    verb: Verb,
    items: Items,
    key: Option<ServiceKey>,
    scheduler: Scheduler,
    timeout: u32,
    netmask: Netmask,
    engine: Option<PersistenceEngine>,
    flags: &'a str,
    server: Option<SocketAddr>,
    method: Method,
    weight: u32,
    upper: u32,
    lower: u32,
    tunnel: TunnelType,
    tunnel_port: u16,
    timeouts: Timeouts,
    state: SyncState,
    interface: Cow<'a, [u8]>,
    sync_id: u8,
    max_length: u16,
    group: Option<IpAddr>,
    port: u16,
    ttl: u8,
}

impl<'a> Given<'a> {
    fn new(verb: Verb) -> Self {
        Self {
            verb,
            items: Items::default(),
            key: None,
            scheduler: Scheduler::WLC,
            timeout: 360,
            netmask: Netmask::HOST,
            engine: None,
            flags: "",
            server: None,
            method: Method::Gatewaying,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel: TunnelType::Ipip,
            tunnel_port: 0,
            timeouts: Timeouts::default(),
            state: SyncState::Master,
            interface: Cow::Borrowed(b"eth0"),
            sync_id: 0,
            max_length: 0,
            group: None,
            port: 0,
            ttl: 0,
        }
    }

    /// Takes an option with its value.
    fn take(&mut self, word: Word, given: Option<&'a str>, names: &Names) -> Result<(), Mistake> {
        let value = given.unwrap_or_default();
        match word {
            Word::Verb(_) | Word::Sort => {}
            Word::Address(protocol) => {
                self.once(Item::ServiceAddress)?;
                let Some((ip, port)) = values::address(value, Some(protocol), names) else {
                    return refused("illegal virtual server address[:port] specified");
                };
                if ip.is_ipv6() {
                    self.netmask = Netmask::HOST;
                }
                let address = SocketAddr::new(ip, port.unwrap_or(0));
                self.key = Some(ServiceKey::Address { protocol, address });
            }
            Word::Mark => {
                self.once(Item::ServiceAddress)?;
                let Some(mark) = values::number(value, 1..=u32::MAX).and_then(NonZeroU32::new) else {
                    return refused(format!("invalid fwmark value `{value}' specified"));
                };
                self.key = Some(ServiceKey::FirewallMark { mark, family: Family::Inet });
            }
            Word::Ipv6 => match &mut self.key {
                Some(ServiceKey::FirewallMark { family, .. }) => {
                    *family = Family::Inet6;
                    self.netmask = Netmask::HOST;
                }
                // With an empty line after it.
                _ => return refused("-6 used before -f\n"),
            },
            Word::Method(method) => {
                self.once(Item::ForwardingMethod)?;
                self.method = method;
            }
            Word::Item(item) => {
                self.once(item)?;
                // The only one that can be without its value.
                if item != Item::Persistent || given.is_some() {
                    self.item(item, value, names)?;
                }
            }
        }
        Ok(())
    }

    fn once(&mut self, item: Item) -> Result<(), Mistake> {
        if self.items.insert(item) { Ok(()) } else { refused(format!("multiple '{}' options specified", item.name())) }
    }

    fn item(&mut self, item: Item, value: &'a str, names: &Names) -> Result<(), Mistake> {
        let illegal = |what: &str| Mistake::Refused(format!("illegal {what} specified"));
        let number = |range, what| values::number(value, range).ok_or_else(|| illegal(what));
        let port = |what| number(1..=65535, what).map(|port| u16::try_from(port).unwrap_or(u16::MAX));
        match item {
            // A name that is too long is cut to what the kernel holds, an empty one is none. `ipvsadm` cuts flags, too.
            Item::Scheduler => self.scheduler = Scheduler::new(name(value, 15)).unwrap_or(Scheduler::WLC),
            Item::Engine => self.engine = PersistenceEngine::new(name(value, 16)).ok(),
            Item::SchedFlags => self.flags = cut(value, 127),
            Item::Persistent => {
                let wrong = || Mistake::Refused(format!("invalid timeout value `{value}' specified"));
                self.timeout = values::number(value, 1..=LONGEST_TIMEOUT).ok_or_else(wrong)?;
            }
            Item::Netmask => {
                let family = self.key.map_or(Family::Inet, |key| key.family());
                self.netmask = values::netmask(value, family, names).map_err(|wrong| match wrong {
                    WrongMask::Inet => illegal("virtual server persistent mask"),
                    WrongMask::Inet6 => illegal("ipv6 netmask"),
                })?;
            }
            Item::RealServer => {
                // A port is copied from the service and its name looked up with the service's protocol, if the
                // service stands before.
                let (port, protocol) = match self.key {
                    Some(ServiceKey::Address { protocol, address }) => (address.port(), Some(protocol)),
                    Some(ServiceKey::FirewallMark { .. }) => (0, Some(Protocol::TCP)),
                    None => (0, None),
                };
                let server = values::address(value, protocol, names);
                let (ip, own_port) = server.ok_or_else(|| illegal("real server address[:port]"))?;
                self.server = Some(SocketAddr::new(ip, own_port.unwrap_or(port)));
            }
            Item::Weight => self.weight = number(0..=INT_MAX, "weight")?,
            Item::UpperThreshold => self.upper = number(0..=INT_MAX, "u_threshold")?,
            Item::LowerThreshold => self.lower = number(0..=INT_MAX, "l_threshold")?,
            Item::TunPort => self.tunnel_port = port("tunnel port")?,
            Item::TunType => {
                let types = [TunnelType::Ipip, TunnelType::Gue, TunnelType::Gre];
                let named = types.into_iter().find(|kind| kind.name() == value);
                self.tunnel = named.ok_or_else(|| illegal("tunnel type"))?;
            }
            Item::McastInterface => self.interface = name(value, 15),
            Item::SyncId => self.sync_id = number(0..=255, "syncid")?.try_into().unwrap_or(u8::MAX),
            Item::McastPort => self.port = port("mcast-port")?,
            Item::McastTtl => self.ttl = number(1..=255, "mcast-ttl")?.try_into().unwrap_or(u8::MAX),
            Item::SyncMaxlen => self.max_length = number(1..=65507, "sync-maxlen")?.try_into().unwrap_or(u16::MAX),
            Item::McastGroup => match value.parse::<IpAddr>() {
                Ok(group) if group.is_multicast() => self.group = Some(group),
                _ => {
                    let version = if value.contains(':') { 6 } else { 4 };
                    return refused(format!("invalid IPv{version} mcast-group `{value}'"));
                }
            },
            _ => {}
        }
        Ok(())
    }

    /// Everything has been taken: checks what only the whole shows, and says what is to be done.
    fn command(self) -> Result<Command, Mistake> {
        let flags = values::flags(self.flags, self.scheduler).map_err(|wrong| {
            Mistake::Refused(match wrong {
                WrongFlag::Unknown(flag) => format!("invalid scheduler flag `{flag}'"),
                WrongFlag::Incompatible(flag) => format!("incompatible scheduler flag `{flag}'"),
            })
        })?;
        check(self.items, self.verb.rules(), || format!("'{}' command", self.verb.name()))?;
        // The table sees to it that what a command needs is there.
        let key = || self.key.ok_or(Mistake::NoCommand);
        let server = || self.server.ok_or(Mistake::NoCommand);
        let change = match self.verb {
            Verb::AddService => Change::AddService(self.service(key()?, flags)?),
            Verb::EditService => Change::SetService(self.service(key()?, flags)?),
            Verb::DeleteService => Change::DeleteService(key()?),
            Verb::AddServer | Verb::EditServer => return self.server(key()?, server()?),
            Verb::DeleteServer => Change::DeleteDestination(key()?, server()?),
            Verb::Flush => Change::Clear,
            Verb::Zero => match self.key {
                None => Change::ZeroAll,
                Some(ServiceKey::Address { address, .. }) if address.ip().is_unspecified() && address.port() == 0 => {
                    Change::ZeroAll
                }
                Some(key) => Change::Zero(key),
            },
            Verb::List => return self.list(),
            Verb::Save => return Ok(Command::Save { numeric: self.has(Item::Numeric) }),
            Verb::Restore => return Ok(Command::Restore),
            Verb::Set => Change::SetTimeouts(self.timeouts),
            Verb::StartDaemon => self.daemon()?,
            Verb::StopDaemon => Change::StopDaemon(self.state),
            Verb::Help => return Ok(Command::Help),
            Verb::Version => return Ok(Command::Version),
        };
        Ok(Command::Change(change))
    }

    /// Takes the three words of `--set`, where 0 leaves a timeout as it is; gives what stands behind them.
    fn timeouts<'b>(&mut self, words: &'b [&'a str]) -> Result<&'b [&'a str], Mistake> {
        let Some((&[tcp, tcp_fin, udp], rest)) = words.split_first_chunk::<3>() else {
            return refused("--set option requires 3 timeout values");
        };
        let timeout = |word| match values::number(word, 0..=LONGEST_TIMEOUT) {
            None => refused(format!("invalid timeout value `{word}' specified")),
            Some(0) => Ok(None),
            Some(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
        };
        self.timeouts = Timeouts { tcp: timeout(tcp)?, tcp_fin: timeout(tcp_fin)?, udp: timeout(udp)? };
        Ok(rest)
    }

    fn daemon(&self) -> Result<Change, Mistake> {
        // An argument has no zero byte, and the name was cut.
        let interface = Interface::any(&self.interface).map_err(|error| Mistake::Refused(error.to_string()))?;
        let mut daemon = SyncDaemon::new(self.state, interface, self.sync_id);
        daemon.group = self.group;
        // The kernel shortens the longest ones to the same.
        let most = if self.group.is_some_and(|group| group.is_ipv6()) { 65487 } else { u16::MAX };
        daemon.max_length = NonZeroU16::new(self.max_length.min(most));
        daemon.port = NonZeroU16::new(self.port);
        daemon.ttl = NonZeroU8::new(self.ttl);
        Ok(Change::StartDaemon(daemon))
    }

    fn has(&self, item: Item) -> bool {
        self.items.contains(item)
    }

    fn service(&self, key: ServiceKey, flags: ServiceFlags) -> Result<Service, Mistake> {
        let is_persistent = self.has(Item::Persistent);
        if let ServiceKey::Address { protocol, address } = key {
            if address.port() == 0 && !is_persistent {
                return refused("Zero port specified for non-persistent service");
            }
            if self.has(Item::Ops) && protocol != Protocol::UDP {
                return refused("One-Packet Scheduling is only for UDP virtual services");
            }
        }
        let mut service = Service::new(key, self.scheduler);
        if is_persistent {
            let persistence = Persistence::new(Duration::from_secs(self.timeout.into()));
            service.persistence = Some(persistence.netmask(self.netmask));
        }
        service.engine = self.engine;
        service.flags = flags;
        service.flags.set(ServiceFlags::ONE_PACKET, self.has(Item::Ops));
        Ok(service)
    }

    fn server(&self, key: ServiceKey, mut address: SocketAddr) -> Result<Command, Mistake> {
        if let (ServiceKey::Address { address: service, .. }, Method::Gatewaying | Method::Ipip) = (key, self.method) {
            address.set_port(service.port());
        }
        let family = Family::of(address.ip());
        if family != key.family() && self.method != Method::Ipip {
            return refused("Different address family is allowed only for tunneling servers");
        }
        let tunnel = [Item::TunType, Item::TunPort, Item::TunNocsum, Item::TunCsum, Item::TunRemcsum];
        if tunnel.into_iter().any(|item| self.has(item)) && self.method != Method::Ipip {
            return refused("Tunnel options conflict with forward method");
        }
        let forwarding = match self.method {
            Method::Gatewaying => Forwarding::DirectRoute,
            Method::Masquerading => Forwarding::Masquerade,
            Method::Ipip => Forwarding::Tunnel(self.tunnel()?),
        };
        let mut destination = Destination::new(address).weight(self.weight).forwarding(forwarding);
        let lower = NonZeroU32::new(self.lower);
        match (NonZeroU32::new(self.upper), lower) {
            (Some(upper), lower) => destination.thresholds = Some(Thresholds { upper, lower }),
            (None, None) => {}
            (None, Some(_)) => return Ok(Command::OutOfRange(key)),
        }
        Ok(Command::Change(match self.verb {
            Verb::AddServer => Change::AddDestination(key, destination),
            _ => Change::SetDestination(key, destination),
        }))
    }

    fn tunnel(&self) -> Result<Tunnel, Mistake> {
        check(self.items, self.tunnel.rules(), || format!("'{}' tunnel type", self.tunnel.name()))?;
        let mut flags = TunnelFlags::empty();
        flags.set(TunnelFlags::CHECKSUM, self.has(Item::TunCsum));
        flags.set(TunnelFlags::REMOTE_CHECKSUM, self.has(Item::TunRemcsum));
        match (self.tunnel, self.tunnel_port.try_into()) {
            (TunnelType::Gue, Ok(port)) => Ok(Tunnel::Gue { port, flags }),
            (TunnelType::Gre, _) => Ok(Tunnel::Gre { flags }),
            // The table sees to it that the port is there.
            (TunnelType::Ipip | TunnelType::Gue, _) => Ok(Tunnel::Ipip),
        }
    }

    fn list(&self) -> Result<Command, Mistake> {
        let any = |items: &[Item]| items.iter().any(|item| self.has(*item));
        if any(&[Item::Connection, Item::Timeout, Item::Daemon]) && any(&[Item::Stats, Item::Rate, Item::Thresholds])
            || any(&[Item::Timeout, Item::Daemon]) && self.has(Item::PersistentConn)
        {
            return refused("options conflicts in the list command");
        }
        Ok(match () {
            () if self.has(Item::Connection) => {
                Command::ListConnections { numeric: self.has(Item::Numeric), engines: self.has(Item::PersistentConn) }
            }
            () if self.has(Item::Timeout) => Command::ListTimeouts,
            () if self.has(Item::Daemon) => Command::ListDaemons,
            () => Command::List(self.listing()),
        })
    }

    fn listing(&self) -> Listing {
        let modes = [
            (Item::Stats, Mode::Stats),
            (Item::Rate, Mode::Rates),
            (Item::Thresholds, Mode::Thresholds),
            (Item::PersistentConn, Mode::PersistentConnections),
            (Item::TunInfo, Mode::Tunnels),
        ];
        let mode = modes.into_iter().find(|(item, _)| self.has(*item)).map_or(Mode::Settings, |(_, mode)| mode);
        Listing {
            service: self.key,
            mode,
            numeric: self.has(Item::Numeric),
            exact: self.has(Item::Exact),
            sorted: !self.has(Item::NoSort),
        }
    }
}

fn refused<T>(text: impl Into<String>) -> Result<T, Mistake> {
    Err(Mistake::Refused(text.into()))
}

/// The first bytes of a name, as they were typed: at most `length`.
fn name(text: &str, length: usize) -> Cow<'_, [u8]> {
    match text::bytes(text) {
        Cow::Borrowed(bytes) => bytes.get(..length).unwrap_or(bytes).into(),
        Cow::Owned(mut bytes) => {
            bytes.truncate(length);
            bytes.into()
        }
    }
}

/// The longest prefix of at most `length` bytes.
fn cut(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

const INT_MAX: u32 = 0x7fff_ffff;
/// A month of 31 days, in seconds.
const LONGEST_TIMEOUT: u32 = 2_678_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::some_names;

    fn read(line: &str) -> Result<Command, Mistake> {
        parse(line.split_whitespace().peekable(), &some_names())
    }

    /// Returns the text for a line, and the exit status.
    fn mistake(line: &str) -> (String, u8) {
        let mistake = read(line).expect_err(line);
        (mistake.text("ipvsadm").into_owned(), mistake.status())
    }

    fn destination(line: &str) -> Destination {
        match read(line) {
            Ok(Command::Change(Change::AddDestination(_, destination) | Change::SetDestination(_, destination))) => {
                destination
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn services_have_the_defaults_of_ipvsadm() {
        let web = Service::tcp("10.0.0.1:80".parse().unwrap(), Scheduler::WLC);
        assert_eq!(read("-A -t 10.0.0.1:80"), Ok(Command::Change(Change::AddService(web))));
        assert_eq!(read("-E -t 10.0.0.1:http"), Ok(Command::Change(Change::SetService(web))));
        let sticky = web.persistent(Duration::from_secs(360));
        assert_eq!(read("-At 10.0.0.1:80 -p"), Ok(Command::Change(Change::AddService(sticky))));
        // An empty name of a scheduler is none.
        assert_eq!(read("-A -t 10.0.0.1:80 -s="), Ok(Command::Change(Change::AddService(web))));
    }

    #[test]
    fn a_netmask_is_forgotten_when_an_ipv6_service_follows_it() {
        let mask = |line| match read(line) {
            Ok(Command::Change(Change::AddService(service))) => service.persistence.unwrap().netmask,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(mask("-A -t [2001:db8::80]:80 -p -M 64"), Netmask::inet6(64).unwrap());
        assert_eq!(mask("-A -M 64 -t [2001:db8::80]:80 -p"), Netmask::HOST);
        assert_eq!(mask("-A -f 8 -p -M 255.0.0.0 -6"), Netmask::HOST);
        assert_eq!(mask("-A -f 8 -6 -p -M 64"), Netmask::inet6(64).unwrap());
        assert_eq!(mask("-A -M 255.0.0.0 -t 10.0.0.1:80 -p"), Netmask::inet("255.0.0.0".parse().unwrap()));
    }

    #[test]
    fn servers_have_the_defaults_of_ipvsadm() {
        let server = destination("-a -t 10.0.0.1:80 -r 10.9.1.1");
        assert_eq!(server.address, "10.9.1.1:80".parse().unwrap());
        assert_eq!(server.forwarding, Forwarding::DirectRoute);
        assert_eq!((server.weight, server.thresholds), (1, None));
    }

    #[test]
    fn only_masquerading_and_marks_keep_another_port() {
        let port = |line| destination(line).address.port();
        assert_eq!(port("-a -t 10.0.0.1:80 -r 10.9.1.1:99 -g"), 80);
        assert_eq!(port("-a -t 10.0.0.1:80 -r 10.9.1.1:99 -i"), 80);
        assert_eq!(port("-a -t 10.0.0.1:80 -r 10.9.1.1:99 -m"), 99);
        assert_eq!(port("-a -f 5 -r 10.9.1.1:99 -g"), 99);
        // Words after the server do not count.
        assert_eq!(port("-a -r 10.9.1.1 -t 10.0.0.1:80 -m"), 0);
        let address = SocketAddr::from(([10, 9, 1, 1], 99));
        let key = ServiceKey::tcp("10.0.0.1:80".parse().unwrap());
        let delete = Command::Change(Change::DeleteDestination(key, address));
        assert_eq!(read("-d -t 10.0.0.1:80 -r 10.9.1.1:99"), Ok(delete));
    }

    #[test]
    fn weights_are_those_of_debian() {
        assert_eq!(destination("-e -t 10.0.0.1:80 -r 10.9.1.1 -w 2147483647").weight, 2_147_483_647);
        let refused = mistake("-e -t 10.0.0.1:80 -r 10.9.1.1 -w 2147483648");
        assert_eq!(refused, ("illegal weight specified".to_owned(), 2));
    }

    #[test]
    fn zero_of_no_address_is_zero_of_all() {
        for line in ["-Z", "-Z -t 0.0.0.0:0", "-Z -u [::]:0", "-Z -u ::"] {
            assert_eq!(read(line), Ok(Command::Change(Change::ZeroAll)), "{line}");
        }
        let mark = ServiceKey::FirewallMark { mark: NonZeroU32::MIN, family: Family::Inet };
        assert_eq!(read("-Z -f 1"), Ok(Command::Change(Change::Zero(mark))));
    }

    #[test]
    fn firewall_marks_have_all_32_bits() {
        let mark = NonZeroU32::new(4_000_000_000).unwrap();
        let service = Service::firewall_mark(mark, Family::Inet6, Scheduler::WLC);
        assert_eq!(read("-A -f 4000000000 -6"), Ok(Command::Change(Change::AddService(service))));
        assert_eq!(mistake("-A -f 4294967296").0, "invalid fwmark value `4294967296' specified");
        assert_eq!(mistake("-A -f 0").0, "invalid fwmark value `0' specified");
    }

    #[test]
    fn a_lower_threshold_alone_is_out_of_range() {
        let key = ServiceKey::tcp("10.0.0.1:80".parse().unwrap());
        assert_eq!(read("-a -t 10.0.0.1:80 -r 10.9.1.1 -y 5"), Ok(Command::OutOfRange(key)));
        let thresholds = destination("-a -t 10.0.0.1:80 -r 10.9.1.1 -x 9").thresholds;
        assert_eq!(thresholds, Some(Thresholds { upper: NonZeroU32::new(9).unwrap(), lower: None }));
    }

    #[test]
    fn no_words_are_a_list() {
        let listing = Listing { service: None, mode: Mode::Settings, numeric: false, exact: false, sorted: true };
        assert_eq!(read(""), Ok(Command::List(listing)));
        assert_eq!(read("-l --sort --sort"), Ok(Command::List(listing)));
        let stats = Listing { mode: Mode::Stats, numeric: true, exact: true, sorted: false, ..listing };
        assert_eq!(read("-LnX --rate --stats --nosort"), Ok(Command::List(stats)));
    }

    #[test]
    fn timeouts_and_daemons_are_what_the_words_say() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let timeouts = Timeouts { tcp: seconds(258), tcp_fin: None, udp: seconds(2_678_400) };
        assert_eq!(read("--set 258 0 2678400"), Ok(Command::Change(Change::SetTimeouts(timeouts))));
        let mut daemon = SyncDaemon::new(SyncState::Master, Interface::new("eth0").unwrap(), 5);
        assert_eq!(read("--start-daemon=master --syncid 5"), Ok(Command::Change(Change::StartDaemon(daemon))));
        daemon.state = SyncState::Backup;
        daemon.interface = Interface::new("br0").unwrap();
        daemon.max_length = NonZeroU16::new(1400);
        daemon.group = "ff05::258".parse().ok();
        daemon.port = NonZeroU16::new(258);
        daemon.ttl = NonZeroU8::new(7);
        let line = "--start-daemon backup --mcast-interface br0 --syncid 5 --sync-maxlen 1400 --mcast-group ff05::258 \
                    --mcast-port 258 --mcast-ttl 7";
        assert_eq!(read(line), Ok(Command::Change(Change::StartDaemon(daemon))));
        assert_eq!(read("--stop-daemon backup --syncid 1"), Ok(Command::Change(Change::StopDaemon(SyncState::Backup))));
        assert_eq!(read("-L --timeout"), Ok(Command::ListTimeouts));
        assert_eq!(read("-Ln --daemon"), Ok(Command::ListDaemons));
    }

    #[test]
    fn connections_are_listed_with_or_without_names_and_engines() {
        let list = |numeric, engines| Ok(Command::ListConnections { numeric, engines });
        assert_eq!(read("-Lc"), list(false, false));
        assert_eq!(read("-Lnc --nosort --exact --tun-info"), list(true, false));
        assert_eq!(read("-l --connection --persistent-conn"), list(false, true));
    }

    #[test]
    fn lists_timeouts_and_daemons_are_checked() {
        for (line, text) in [
            ("--set 1 2", "--set option requires 3 timeout values"),
            ("--set 1 x 3", "invalid timeout value `x' specified"),
            ("--set 1 2 3 4", "unexpected argument 4"),
            ("--start-daemon bad --syncid x", "illegal start-daemon parameter specified"),
            ("--stop-daemon bad", "illegal start_daemon specified"),
            ("--start-daemon master --mcast-group 1.2.3.4", "invalid IPv4 mcast-group `1.2.3.4'"),
            ("--start-daemon master --mcast-group fe80::1", "invalid IPv6 mcast-group `fe80::1'"),
            ("--start-daemon master --sync-maxlen 65508", "illegal sync-maxlen specified"),
            ("-L --stats -c", "options conflicts in the list command"),
            (
                "-Lc -t 10.0.0.1:80",
                "The option 'service-address' conflicts with the 'connection' option in the 'list' command",
            ),
            ("-Lc --timeout", "The option 'timeout' conflicts with the 'connection' option in the 'list' command"),
            ("-Lc --daemon", "The option 'daemon' conflicts with the 'connection' option in the 'list' command"),
        ] {
            assert_eq!(mistake(line), (text.to_owned(), 2), "{line}");
        }
    }

    #[test]
    fn the_first_option_is_the_command() {
        let text = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.".to_owned();
        for line in ["junk", "-n -L", "-nL", "-- -L", "--help=1", "--lis", "-L=5", "--start-daemon"] {
            assert_eq!(mistake(line), (text.clone(), 255), "{line}");
        }
        assert_eq!(mistake("junk -L").0, "unexpected argument junk");
        assert_eq!(mistake("-L -A"), ("invalid option `-A'".to_owned(), 2));
        assert_eq!(mistake("-L --start-daemon master").0, "invalid option `master'");
        assert_eq!(read("-hx"), Ok(Command::Help));
        assert_eq!(read("-v junk"), Ok(Command::Version));
    }

    #[test]
    fn a_misused_option_ends_with_255_and_an_illegal_value_with_2() {
        for (line, text, status) in [
            ("-L --bogus junk", "--bogus: unknown option", 255),
            ("-Lnx", "-Lnx: missing argument", 255),
            ("-A --numeric=1", "--numeric=1: option does not take an argument", 255),
            ("-L -n -n", "multiple 'numeric' options specified", 2),
            ("-A -t 10.0.0.1:80 -f 5", "multiple 'service-address' options specified", 2),
            ("-a -g -m", "multiple 'forwarding-method' options specified", 2),
            ("-A -t bad:x", "illegal virtual server address[:port] specified", 2),
            ("-a -r 5", "illegal real server address[:port] specified", 2),
            ("-A -t 10.0.0.1:80 -6", "-6 used before -f\n", 2),
            ("-A -t [::1]:80 -M 129", "illegal ipv6 netmask specified", 2),
            ("-A -t 10.0.0.1:80 -p=0", "invalid timeout value `0' specified", 2),
            ("-a --tun-type GRE", "illegal tunnel type specified", 2),
            ("-A -b foo", "invalid scheduler flag `foo'", 2),
            ("-A -b mh-port -s sh", "incompatible scheduler flag `mh-port'", 2),
            ("-A junk -b foo", "unexpected argument junk", 2),
            ("-A -t 10.0.0.1", "Zero port specified for non-persistent service", 2),
            ("-A -t 10.0.0.1:80 -o", "One-Packet Scheduling is only for UDP virtual services", 2),
            ("-a -f 5 -r fd00::1", "Different address family is allowed only for tunneling servers", 2),
            ("-a -f 5 -r 10.9.1.1 --tun-csum", "Tunnel options conflict with forward method", 2),
            (
                "-a -f 5 -r 10.9.1.1 -i --tun-type gue",
                "You need to supply the 'tun-port' option for the 'gue' tunnel type",
                2,
            ),
            (
                "-a -f 5 -r 10.9.1.1 -i --tun-type gre --tun-csum --tun-nocsum",
                "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type",
                2,
            ),
            ("-a -f 5 -r 10.9.1.1 -i --tun-port 5", "Illegal 'tun-port' option with the 'ipip' tunnel type", 2),
        ] {
            assert_eq!(mistake(line), (text.to_owned(), status), "{line}");
        }
    }

    #[test]
    fn what_is_no_name_of_an_interface_is_no_mistake_yet() {
        for name in ["a/b", "lo:1", "."] {
            let daemon = SyncDaemon::new(SyncState::Master, Interface::any(name).unwrap(), 0);
            let line = format!("--start-daemon master --mcast-interface {name}");
            assert_eq!(read(&line), Ok(Command::Change(Change::StartDaemon(daemon))), "it can be an alternative name");
        }
    }

    #[test]
    fn a_list_of_flags_is_cut_as_by_ipvsadm() {
        let line = |repeated: usize| format!("-A -f 1 -b {}flag-2", "flag-1,".repeat(repeated));
        assert!(read(&line(17)).is_ok());
        // 127 bytes end behind the next list's first letter.
        assert_eq!(mistake(&line(18)).0, "invalid scheduler flag `f'");
    }

    #[test]
    fn long_names_are_cut_to_what_the_kernel_holds() {
        assert_eq!(cut("wlcwlcwlcwlcwlcw", 15), "wlcwlcwlcwlcwlc");
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("wlc", 15), "wlc");
        assert_eq!(*name(&text::read(b"wlcwlcwlcwlcwl\xe9c"), 15), *b"wlcwlcwlcwlcwl\xe9");
    }
}
