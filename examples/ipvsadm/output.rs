//! Values to text: the formats of a list and of a save. Blanks at the ends of lines belong to the formats.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use lvs::ipvs::{
    DestinationInfo, Forwarding, Netmask, Service, ServiceFlags, ServiceInfo, ServiceKey, Stats, SyncDaemon, Timeouts,
    Tunnel, TunnelFlags, Version,
};
use lvs::{Family, Protocol};

use crate::command::{Listing, Mode};
use crate::line::Line;
use crate::names::Names;
use crate::values::flag_names;

/// Services with their destinations.
pub(crate) type Table = Vec<(ServiceInfo, Vec<DestinationInfo>)>;

/// Orders services by mark, family, protocol, address and port; destinations by address and port.
pub(crate) fn sort(table: &mut Table) {
    table.sort_by_cached_key(|(info, _)| {
        let six = u64::from(info.key().family() == Family::Inet6) << 16;
        match info.key() {
            ServiceKey::Address { protocol, address } => (six | u64::from(protocol.0), place(address)),
            ServiceKey::FirewallMark { mark, .. } => (u64::from(mark.get()) << 17 | six, (0, 0, 0)),
        }
    });
    for (_, destinations) in table {
        // The kernel lists the newest first: reversed, most lists are sorted already.
        destinations.reverse();
        destinations.sort_by_key(|info| (info.address().is_ipv6(), place(info.address())));
    }
}

/// Returns numbers in the order of the addresses of a family and their ports, for the bar of `ipvsadm-rs -Ln`: 64-bit ones,
/// which are the cheapest to move and compare.
fn place(address: SocketAddr) -> (u64, u64, u16) {
    let (high, low) = match address.ip() {
        IpAddr::V4(v4) => (0, v4.to_bits().into()),
        IpAddr::V6(v6) => {
            let [h0, h1, h2, h3, h4, h5, h6, h7, l0, l1, l2, l3, l4, l5, l6, l7] = v6.octets();
            let number = |bytes| u64::from_be_bytes(bytes);
            (number([h0, h1, h2, h3, h4, h5, h6, h7]), number([l0, l1, l2, l3, l4, l5, l6, l7]))
        }
    };
    (high, low, address.port())
}

/// Writes the first line of a list of everything.
pub(crate) fn version(out: &mut impl Write, info: &Version) -> io::Result<()> {
    let (major, minor, patch) = info.release;
    let size = info.connection_table_size;
    writeln!(out, "IP Virtual Server version {major}.{minor}.{patch} (size={size})")
}

/// Writes how long connections are remembered.
pub(crate) fn timeouts(out: &mut impl Write, timeouts: &Timeouts) -> io::Result<()> {
    let seconds = |timeout: Option<Duration>| timeout.unwrap_or_default().as_secs();
    let (tcp, tcp_fin, udp) = (seconds(timeouts.tcp), seconds(timeouts.tcp_fin), seconds(timeouts.udp));
    writeln!(out, "Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}")
}

/// Writes the sync daemons that run.
pub(crate) fn daemons(out: &mut impl Write, daemons: &[SyncDaemon]) -> io::Result<()> {
    for daemon in daemons {
        write!(out, "{} sync daemon (mcast=", daemon.state)?;
        out.write_all(daemon.interface.as_bytes())?;
        write!(out, ", syncid={}", daemon.sync_id)?;
        if let Some(length) = daemon.max_length {
            write!(out, ", maxlen={length}")?;
        }
        if let Some(group) = daemon.group {
            write!(out, ", group={group}")?;
        }
        if let Some(port) = daemon.port {
            write!(out, ", port={port}")?;
        }
        if let Some(ttl) = daemon.ttl {
            write!(out, ", ttl={ttl}")?;
        }
        writeln!(out, ")")?;
    }
    Ok(())
}

/// Writes a list: the titles of its columns, then the table.
pub(crate) fn list(out: &mut impl Write, listing: &Listing, table: &Table, names: &Names) -> io::Result<()> {
    let names = (!listing.numeric).then_some(names);
    let mut writer = Writer { line: Line::default(), names, mode: listing.mode, exact: listing.exact };
    titles(out, listing.mode)?;
    for (info, destinations) in table {
        writer.service(info);
        writer.line.end(out)?;
        for destination in destinations {
            writer.destination(info.key(), destination);
            writer.line.end(out)?;
        }
    }
    writer.line.write_to(out)
}

/// Writes the table as command lines that make it.
pub(crate) fn save(out: &mut impl Write, table: &Table, numeric: bool, names: &Names) -> io::Result<()> {
    let names = (!numeric).then_some(names);
    let line = &mut Line::default();
    for (info, destinations) in table {
        line.text("-A ");
        kind(line, names, info.key());
        service_options(line, &info.service);
        line.end(out)?;
        for DestinationInfo { destination, .. } in destinations {
            line.text("-a ");
            kind(line, names, info.key());
            line.text(" -r ");
            endpoint(line, names, destination.address, protocol(info.key()));
            line.text(" ");
            line.text(forwarding_option(destination.forwarding));
            line.text(" -w ");
            line.number(destination.weight);
            tunnel_options(line, destination.forwarding);
            line.end(out)?;
        }
    }
    line.write_to(out)
}

fn titles(out: &mut impl Write, mode: Mode) -> io::Result<()> {
    let local = "Prot LocalAddress:Port";
    let remote = "  -> RemoteAddress:Port";
    match mode {
        Mode::Settings => {
            writeln!(out, "{local} Scheduler Flags")?;
            writeln!(out, "{remote}           Forward Weight ActiveConn InActConn")
        }
        Mode::Tunnels => {
            writeln!(out, "{local} Scheduler Flags")?;
            writeln!(out, "{remote}           Forward TunnelInfo    Weight ActiveConn InActConn")
        }
        Mode::Thresholds => {
            let [upper, lower, active, inactive] = ["Uthreshold", "Lthreshold", "ActiveConn", "InActConn"];
            writeln!(out, "{local:<33} {upper:<10} {lower:<10} {active:<10} {inactive:<10}\n{remote}")
        }
        Mode::PersistentConnections => {
            let [weight, persistent, active, inactive] = ["Weight", "PersistConn", "ActiveConn", "InActConn"];
            writeln!(out, "{local:<33} {weight:<9} {persistent:<11} {active:<10} {inactive:<10}\n{remote}")
        }
        Mode::Stats | Mode::Rates => {
            write!(out, "{local:<33}")?;
            for title in match mode {
                Mode::Stats => ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"],
                _ => ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"],
            } {
                write!(out, " {title:>8}")?;
            }
            writeln!(out, "\n{remote}")
        }
    }
}

/// A line and its format.
struct Writer<'a> {
    line: Line,
    /// `None`: numbers instead of names.
    names: Option<&'a Names>,
    mode: Mode,
    exact: bool,
}

impl Writer<'_> {
    /// Appends the line of a service.
    fn service(&mut self, info: &ServiceInfo) {
        service_name(&mut self.line, self.names, info.key());
        let Stats { connections, packets_in, packets_out, bytes_in, bytes_out, rates, .. } = info.stats;
        match self.mode {
            Mode::Stats => {
                self.line.pad_to(33);
                self.numbers([connections, packets_in, packets_out, bytes_in, bytes_out]);
            }
            Mode::Rates => {
                self.line.pad_to(33);
                self.numbers([rates.connections, rates.packets_in, rates.packets_out, rates.bytes_in, rates.bytes_out]);
            }
            _ => description(&mut self.line, &info.service),
        }
    }

    /// Appends the line of a destination.
    fn destination(&mut self, service: ServiceKey, info: &DestinationInfo) {
        let DestinationInfo { destination, stats, .. } = info;
        let line = &mut self.line;
        line.text("  -> ");
        let start = line.len();
        endpoint(line, self.names, info.address(), protocol(service));
        if info.address().is_ipv4() {
            line.cut_to(start + 28);
        }
        line.pad_to(start + 28);
        if !matches!(self.mode, Mode::Stats | Mode::Rates) {
            line.text(" ");
        }
        match self.mode {
            Mode::Settings => {
                forwarding_word(line, destination.forwarding);
                line.left(destination.weight, 6);
            }
            Mode::Tunnels => {
                forwarding_word(line, destination.forwarding);
                let column = line.len() + 13;
                tunnel_word(line, destination.forwarding);
                line.pad_to(column);
                line.text(" ");
                line.left(destination.weight, 6);
            }
            Mode::Thresholds => {
                let upper = destination.thresholds.map_or(0, |thresholds| thresholds.upper.get());
                let lower = destination.thresholds.and_then(|thresholds| thresholds.lower);
                line.left(upper, 10);
                line.text(" ");
                line.left(lower.map_or(0, NonZeroU32::get), 10);
            }
            Mode::PersistentConnections => {
                line.left(destination.weight, 9);
                line.text(" ");
                line.left(info.persistent_connections, 11);
            }
            Mode::Stats => {
                let Stats { connections, packets_in, packets_out, bytes_in, bytes_out, .. } = *stats;
                return self.numbers([connections, packets_in, packets_out, bytes_in, bytes_out]);
            }
            Mode::Rates => {
                let rates = stats.rates;
                // These three are never scaled.
                for number in [rates.connections, rates.packets_in, rates.packets_out] {
                    line.text(" ");
                    line.right(number, 8);
                }
                return self.numbers([rates.bytes_in, rates.bytes_out]);
            }
        }
        line.text(" ");
        line.left(info.active_connections, 10);
        line.text(" ");
        line.left(info.inactive_connections, 10);
    }

    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        for number in numbers {
            if self.exact {
                self.line.text(" ");
                self.line.right(number, 8);
            } else {
                scaled(&mut self.line, number);
            }
        }
    }
}

fn service_name(line: &mut Line, names: Option<&Names>, key: ServiceKey) {
    match key {
        ServiceKey::Address { protocol, address } => {
            line.text(match protocol {
                Protocol::TCP => "TCP  ",
                Protocol::UDP => "UDP  ",
                Protocol::SCTP => "SCTP ",
                _ => "?    ",
            });
            endpoint(line, names, address, Some(protocol));
            if address.is_ipv4() {
                line.cut_to(33);
            }
        }
        ServiceKey::FirewallMark { mark, family } => {
            line.text("FWM  ");
            line.number(mark.get());
            if family == Family::Inet6 {
                line.text(" IPv6");
            }
        }
    }
}

/// Appends the option that names a service on the command line.
fn kind(line: &mut Line, names: Option<&Names>, key: ServiceKey) {
    match key {
        ServiceKey::Address { protocol, address } => {
            line.text(match protocol {
                Protocol::TCP => "-t ",
                Protocol::UDP => "-u ",
                Protocol::SCTP => "--sctp-service ",
                _ => "--xxx-service ",
            });
            endpoint(line, names, address, Some(protocol));
        }
        ServiceKey::FirewallMark { mark, family } => {
            line.text("-f ");
            line.number(mark.get());
            if family == Family::Inet6 {
                line.text(" -6");
            }
        }
    }
}

/// Appends an address and port, or, if names are given, the names of them. The whole has at most 59 bytes.
pub(crate) fn endpoint(line: &mut Line, names: Option<&Names>, address: SocketAddr, protocol: Option<Protocol>) {
    let (ip, port) = (address.ip(), address.port());
    let start = line.len();
    if ip.is_ipv6() {
        line.text("[");
    }
    match names.and_then(|names| names.host(ip)) {
        Some(name) => line.text(&name),
        None => push_ip(line, ip),
    }
    if ip.is_ipv6() {
        line.text("]");
    }
    line.text(":");
    match names.zip(protocol).and_then(|(names, protocol)| names.service(port, protocol)) {
        Some(name) => line.text(&name),
        None => line.number(port),
    }
    line.cut_to(start + 59);
}

/// Appends an address as the C library writes it. Rust has another form for those that are zero but for the last 32
/// bits.
fn push_ip(line: &mut Line, ip: IpAddr) {
    match ip {
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                line.text("::");
                line.ipv4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
            }
            _ => line.display(v6),
        },
        IpAddr::V4(v4) => line.ipv4(v4),
    }
}

/// The protocol whose names the ports of a service's destinations have.
fn protocol(key: ServiceKey) -> Option<Protocol> {
    match key {
        ServiceKey::Address { protocol, .. } => Some(protocol),
        ServiceKey::FirewallMark { .. } => None,
    }
}

/// Appends a service's scheduler, flags and persistence, as a list has them, each with a blank before it.
fn description(line: &mut Line, service: &Service) {
    line.text(" ");
    line.bytes(service.scheduler.as_bytes());
    if let Some(flags) = flag_names(service.flags, service.scheduler) {
        line.text(" (");
        line.text(&flags);
        line.text(")");
    }
    if let Some(persistence) = service.persistence {
        line.text(" persistent ");
        line.number(persistence.timeout.as_secs());
        mask(line, " mask ", persistence.netmask);
        if let Some(engine) = service.engine {
            line.text(" pe ");
            line.bytes(engine.as_bytes());
        }
    }
    if service.flags.contains(ServiceFlags::ONE_PACKET) {
        line.text(" ops");
    }
}

/// Appends them as options. A flag that the scheduler has no name for goes by its number, to be restored.
fn service_options(line: &mut Line, service: &Service) {
    line.text(" -s ");
    line.bytes(service.scheduler.as_bytes());
    if let Some(persistence) = service.persistence {
        line.text(" -p ");
        line.number(persistence.timeout.as_secs());
        mask(line, " -M ", persistence.netmask);
    }
    if let Some(engine) = service.engine {
        line.text(" --pe ");
        line.bytes(engine.as_bytes());
    }
    if service.flags.contains(ServiceFlags::ONE_PACKET) {
        line.text(" -o");
    }
    if let Some(flags) = flag_names(service.flags, service.scheduler) {
        line.text(" -b ");
        line.text(&flags);
    }
}

/// Appends a netmask, unless it takes each address by itself.
fn mask(line: &mut Line, option: &str, netmask: Netmask) {
    if netmask == Netmask::HOST {
        return;
    }
    if let Some(mask) = netmask.as_inet() {
        line.text(option);
        line.ipv4(mask);
    } else if let Some(length) = netmask.as_inet6() {
        line.text(option);
        line.number(length);
    }
}

/// Appends the column of the forwarding method and a blank.
fn forwarding_word(line: &mut Line, forwarding: Forwarding) {
    line.text(match forwarding {
        Forwarding::Masquerade => "Masq    ",
        Forwarding::Local => "Local   ",
        Forwarding::Tunnel(_) => "Tunnel  ",
        Forwarding::DirectRoute => "Route   ",
        // The output of C's printf for a null pointer, which scripts may compare.
        _ => "(null)  ",
    });
}

fn forwarding_option(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Masquerade => "-m",
        Forwarding::Tunnel(_) => "-i",
        Forwarding::DirectRoute | Forwarding::Local => "-g",
        // Not to be restored as something else.
        _ => "(null)",
    }
}

fn tunnel_word(line: &mut Line, forwarding: Forwarding) {
    let checksums = |flags: TunnelFlags| {
        if flags.contains(TunnelFlags::REMOTE_CHECKSUM) {
            "r+c"
        } else if flags.contains(TunnelFlags::CHECKSUM) {
            "+c"
        } else {
            "-c"
        }
    };
    match forwarding {
        Forwarding::Tunnel(Tunnel::Ipip) => line.text("ipip"),
        Forwarding::Tunnel(Tunnel::Gue { port, flags }) => {
            line.display(format_args!("gue:{port}:{}", checksums(flags)));
        }
        Forwarding::Tunnel(Tunnel::Gre { flags }) => line.display(format_args!("gre:{}", checksums(flags))),
        _ => line.text("n/a"),
    }
}

/// Appends the options of a tunnel, each with a blank before it.
fn tunnel_options(line: &mut Line, forwarding: Forwarding) {
    let checksums = |flags: TunnelFlags| {
        if flags.contains(TunnelFlags::REMOTE_CHECKSUM) {
            "--tun-remcsum"
        } else if flags.contains(TunnelFlags::CHECKSUM) {
            "--tun-csum"
        } else {
            "--tun-nocsum"
        }
    };
    match forwarding {
        Forwarding::Tunnel(Tunnel::Ipip) => line.text(" --tun-type ipip"),
        Forwarding::Tunnel(Tunnel::Gue { port, flags }) => {
            line.display(format_args!(" --tun-type gue --tun-port {port} {}", checksums(flags)));
        }
        Forwarding::Tunnel(Tunnel::Gre { flags }) => {
            line.display(format_args!(" --tun-type gre {}", checksums(flags)));
        }
        // A tunnel of another kind is restored as `ipip`: there is no word for it.
        _ => {}
    }
}

/// Appends a number in nine columns, cut to thousands, millions, ... when it is long.
fn scaled(line: &mut Line, number: u64) {
    const K: u64 = 1000;
    const M: u64 = 1000 * K;
    const G: u64 = 1000 * M;
    const T: u64 = 1000 * G;
    let (unit, letter) = match number {
        0..100_000_000 => return line.right(number, 9),
        100_000_000..G => (K, "K"),
        G..100_000_000_000 => (M, "M"),
        100_000_000_000..100_000_000_000_000 => (G, "G"),
        _ => (T, "T"),
    };
    line.right(number / unit, 8);
    line.text(letter);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::names::tests::some_names;
    use crate::options::parse;
    use lvs::ipvs::{Change, Rates};

    /// The table that these command lines make, the newest destination first.
    fn table(lines: &[&str]) -> Table {
        let mut table = Table::new();
        for line in lines {
            match parse(line.split_whitespace().peekable(), &some_names()) {
                Ok(Command::Change(Change::AddService(service))) => table.push((ServiceInfo::new(service), Vec::new())),
                Ok(Command::Change(Change::AddDestination(_, destination))) => {
                    table.last_mut().unwrap().1.insert(0, DestinationInfo::new(destination));
                }
                other => panic!("{line}: {other:?}"),
            }
        }
        table
    }

    const PLAIN: Listing = Listing { service: None, mode: Mode::Settings, numeric: true, exact: false, sorted: true };

    fn listed(listing: Listing, mut table: Table) -> String {
        if listing.sorted {
            sort(&mut table);
        }
        let mut out = Vec::new();
        list(&mut out, &listing, &table, &some_names()).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn saved(table: &Table, numeric: bool) -> String {
        let mut out = Vec::new();
        save(&mut out, table, numeric, &some_names()).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// A table with something of everything.
    fn samples() -> Table {
        table(&[
            "-A -f 8 -6 -s rr -p 100",
            "-a -f 8 -6 -r [fd00::7]:0 -w 0",
            "-A -t [2001:db8::80]:80 -s mh -p 120 -M 64 -b mh-port",
            "-a -t [2001:db8::80]:80 -r [2001:db8:1111:2222:3333:4444:5555:7777]:8080 -m",
            "-A --sctp-service 10.0.0.6:3868 -s lc -b flag-1,flag-3",
            "-A -u 10.0.0.5:53 -s rr -o",
            "-A -u 10.0.0.4:5060 -s sh -p 300 --pe sip -b sh-fallback,sh-port",
            "-a -u 10.0.0.4:5060 -r 10.9.1.20 -m -w 0",
            "-A -t 10.0.0.3:443 -s wrr -p 600 -M 255.255.255.0",
            "-A -t 10.0.0.2:80 -p",
            "-A -t 10.0.0.1:80 -s rr",
            "-a -t 10.0.0.1:80 -r [fd00::99]:80 -i",
            "-a -t 10.0.0.1:80 -r 10.9.1.1:8080 -m -w 5",
            "-A -f 4000000000 -s rr",
        ])
    }

    #[test]
    fn a_list_is_that_of_ipvsadm() {
        let expected = "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 rr
  -> 10.9.1.1:8080                Masq    5      0          0\x20\x20\x20\x20\x20\x20\x20\x20\x20
  -> [fd00::99]:80                Tunnel  1      0          0\x20\x20\x20\x20\x20\x20\x20\x20\x20
TCP  10.0.0.2:80 wlc persistent 360
TCP  10.0.0.3:443 wrr persistent 600 mask 255.255.255.0
UDP  10.0.0.4:5060 sh (sh-fallback,sh-port) persistent 300 pe sip
  -> 10.9.1.20:5060               Masq    0      0          0\x20\x20\x20\x20\x20\x20\x20\x20\x20
UDP  10.0.0.5:53 rr ops
SCTP 10.0.0.6:3868 lc (flag-1,flag-3)
TCP  [2001:db8::80]:80 mh (mh-port) persistent 120 mask 64
  -> [2001:db8:1111:2222:3333:4444:5555:7777]:8080 Masq    1      0          0\x20\x20\x20\x20\x20\x20\x20\x20\x20
FWM  8 IPv6 rr persistent 100
  -> [fd00::7]:0                  Route   0      0          0\x20\x20\x20\x20\x20\x20\x20\x20\x20
FWM  4000000000 rr
";
        assert_eq!(listed(PLAIN, samples()), expected);
    }

    #[test]
    fn a_save_is_that_of_ipvsadm_and_reads_back_as_the_same() {
        let mut table = samples();
        sort(&mut table);
        let expected = "\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.9.1.1:8080 -m -w 5
-a -t 10.0.0.1:80 -r [fd00::99]:80 -i -w 1 --tun-type ipip
-A -t 10.0.0.2:80 -s wlc -p 360
-A -t 10.0.0.3:443 -s wrr -p 600 -M 255.255.255.0
-A -u 10.0.0.4:5060 -s sh -p 300 --pe sip -b sh-fallback,sh-port
-a -u 10.0.0.4:5060 -r 10.9.1.20:5060 -m -w 0
-A -u 10.0.0.5:53 -s rr -o
-A --sctp-service 10.0.0.6:3868 -s lc -b flag-1,flag-3
-A -t [2001:db8::80]:80 -s mh -p 120 -M 64 -b mh-port
-a -t [2001:db8::80]:80 -r [2001:db8:1111:2222:3333:4444:5555:7777]:8080 -m -w 1
-A -f 8 -6 -s rr -p 100
-a -f 8 -6 -r [fd00::7]:0 -g -w 0
-A -f 4000000000 -s rr
";
        let text = saved(&table, true);
        assert_eq!(text, expected);
        let mut again = self::table(&text.lines().collect::<Vec<_>>());
        sort(&mut again);
        assert_eq!(again, table);
    }

    #[test]
    fn a_flag_that_the_scheduler_has_no_name_for_is_listed_and_saved_empty() {
        let table = table(&["-A -f 1 -s sh -b flag-3"]);
        assert!(listed(PLAIN, table.clone()).ends_with("FWM  1 sh ()\n"));
        assert_eq!(saved(&table, true), "-A -f 1 -s sh -b \n");
    }

    #[test]
    fn the_order_is_numeric_however_far_apart_the_numbers_are() {
        let table = table(&[
            "-A -f 4000000000",
            "-A -f 1 -6",
            "-A -f 1",
            "-A -t [fd00::1]:80",
            "-A -t [2001:db8::1]:80",
            "-A -u 10.0.0.1:53",
            "-A -t 192.168.0.1:80",
            "-A -t 10.0.0.1:443",
            "-A -t 10.0.0.1:80",
            "-a -t 10.0.0.1:80 -r 10.9.1.1:80 -m",
            "-a -t 10.0.0.1:80 -r 192.168.1.1:80 -m",
            "-a -t 10.0.0.1:80 -r 10.9.1.1:79 -m",
        ]);
        let first_words = |listing| -> String {
            let text = listed(listing, table.clone());
            text.lines().skip(2).filter_map(|line| line.split_whitespace().nth(1)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            first_words(PLAIN),
            "10.0.0.1:80 10.9.1.1:79 10.9.1.1:80 192.168.1.1:80 10.0.0.1:443 192.168.0.1:80 10.0.0.1:53 \
             [2001:db8::1]:80 [fd00::1]:80 1 1 4000000000"
        );
        assert!(first_words(Listing { sorted: false, ..PLAIN }).starts_with("4000000000 1 1 [fd00::1]:80"));
    }

    #[test]
    fn places_are_ordered_as_addresses_are() {
        let texts = ["0.0.0.0:1", "10.0.0.1:80", "10.0.0.1:443", "255.0.0.1:1", "[::]:0", "[::1]:80", "[fd00::1]:79"];
        let addresses: Vec<SocketAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        for one in &addresses {
            for other in &addresses {
                let key = |address: &SocketAddr| (address.is_ipv6(), place(*address));
                assert_eq!(key(one).cmp(&key(other)), one.cmp(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn tunnels_are_listed_and_saved_with_their_settings() {
        let service = "-A -t 10.0.0.1:80";
        for (options, word, saved_as) in [
            ("-i", "Tunnel  ipip          1      0          0         ", "-i -w 1 --tun-type ipip"),
            (
                "-i --tun-type gue --tun-port 65535 --tun-remcsum",
                "Tunnel  gue:65535:r+c 1      0          0         ",
                "-i -w 1 --tun-type gue --tun-port 65535 --tun-remcsum",
            ),
            (
                "-i --tun-type gre",
                "Tunnel  gre:-c        1      0          0         ",
                "-i -w 1 --tun-type gre --tun-nocsum",
            ),
            (
                "-i --tun-type gre --tun-csum",
                "Tunnel  gre:+c        1      0          0         ",
                "-i -w 1 --tun-type gre --tun-csum",
            ),
            ("-m", "Masq    n/a           1      0          0         ", "-m -w 1"),
        ] {
            let table = table(&[service, &format!("-a -t 10.0.0.1:80 -r 10.9.1.4 {options}")]);
            assert!(saved(&table, true).ends_with(&format!("-r 10.9.1.4:80 {saved_as}\n")), "{options}");
            let text = listed(Listing { mode: Mode::Tunnels, ..PLAIN }, table);
            assert!(text.ends_with(&format!("  -> 10.9.1.4:80                  {word}\n")), "{options}");
            assert!(text.contains("           Forward TunnelInfo    Weight ActiveConn InActConn\n"));
        }
    }

    #[test]
    fn what_cannot_be_said_is_listed_and_saved_as_by_ipvsadm() {
        let mut table = table(&["-A -t 10.0.0.1:80", "-a -t 10.0.0.1:80 -r 10.9.1.4 -i"]);
        let unknown = Tunnel::Other { kind: 9, port: 0, flags: TunnelFlags::empty() };
        table[0].1[0].destination.forwarding = Forwarding::Tunnel(unknown);
        assert!(listed(Listing { mode: Mode::Tunnels, ..PLAIN }, table.clone()).contains("Tunnel  n/a           1"));
        assert!(saved(&table, true).ends_with("-i -w 1\n"));
        table[0].1[0].destination.forwarding = Forwarding::Bypass;
        assert!(listed(PLAIN, table.clone()).contains("(null)  1 "));
        assert!(saved(&table, true).ends_with("-r 10.9.1.4:80 (null) -w 1\n"));
    }

    #[test]
    fn thresholds_and_remembered_clients_have_lists_of_their_own() {
        let mut table = table(&["-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.9.1.1:8080 -m -x 100 -y 50"]);
        assert_eq!(
            listed(Listing { mode: Mode::Thresholds, ..PLAIN }, table.clone()),
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  -> RemoteAddress:Port\n\
             TCP  10.0.0.1:80 rr\n  -> 10.9.1.1:8080                100        50         0          0         \n"
        );
        let info = &mut table[0].1[0];
        (info.persistent_connections, info.active_connections, info.inactive_connections) = (1, 2, 3);
        assert_eq!(
            listed(Listing { mode: Mode::PersistentConnections, ..PLAIN }, table),
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  -> RemoteAddress:Port\n\
             TCP  10.0.0.1:80 rr\n  -> 10.9.1.1:8080                1         1           2          3         \n"
        );
    }

    #[test]
    fn counters_and_rates_have_nine_columns_each() {
        let mut table = table(&["-A -t 10.0.0.1:80", "-a -t 10.0.0.1:80 -r 10.9.1.1"]);
        let mut rates = Rates::default();
        (rates.connections, rates.packets_in, rates.packets_out) = (5_000_000_000, 1, 2);
        (rates.bytes_in, rates.bytes_out) = (450, 100_000_000);
        let mut stats = Stats::default();
        (stats.connections, stats.packets_in, stats.packets_out) = (2, 8, 7);
        (stats.bytes_in, stats.bytes_out, stats.rates) = (450, 5_000_000_000, rates);
        (table[0].0.stats, table[0].1[0].stats) = (stats, stats);
        assert_eq!(
            listed(Listing { mode: Mode::Stats, ..PLAIN }, table.clone()),
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n\
             TCP  10.0.0.1:80                         2        8        7      450    5000M\n\
             \x20 -> 10.9.1.1:80                         2        8        7      450    5000M\n"
        );
        assert_eq!(
            listed(Listing { mode: Mode::Rates, ..PLAIN }, table.clone()),
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  -> RemoteAddress:Port\n\
             TCP  10.0.0.1:80                     5000M        1        2      450  100000K\n\
             \x20 -> 10.9.1.1:80                  5000000000        1        2      450  100000K\n"
        );
        assert!(listed(Listing { mode: Mode::Stats, exact: true, ..PLAIN }, table).ends_with("      450 5000000000\n"));
    }

    #[test]
    fn numbers_are_cut_to_their_unit() {
        for (number, text) in [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (100_000_000, "  100000K"),
            (999_999_999, "  999999K"),
            (1_000_000_000, "    1000M"),
            (99_999_999_999, "   99999M"),
            (100_000_000_000, "     100G"),
            (99_999_999_999_999, "   99999G"),
            (100_000_000_000_000, "     100T"),
            (u64::MAX, "18446744T"),
        ] {
            let mut line = Line::default();
            scaled(&mut line, number);
            assert_eq!(line.into_text(), text);
        }
    }

    #[test]
    fn addresses_are_written_as_the_c_library_does() {
        for text in ["::", "::1", "::102", "::1.2.3.4", "::ffff:1.2.3.4", "1::", "2001:db8:0:1:1:1:1:1", "1:0:0:2::3"] {
            let mut line = Line::default();
            push_ip(&mut line, text.parse().unwrap());
            assert_eq!(line.into_text(), text);
        }
    }

    #[test]
    fn names_are_cut_to_their_columns() {
        let named = Listing { numeric: false, ..PLAIN };
        let lines = ["-A -t 10.0.0.1:80", "-A -t [fd00::1]:80", "-A -u 10.0.0.1:514", "-A -f 1"];
        let text = listed(named, table(&lines));
        let services: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            services,
            ["TCP  vip.example.com:http wlc", "UDP  vip.example.com:syslog wlc", "TCP  [six]:http wlc", "FWM  1 wlc"]
        );
        // A mark has no protocol, so ports of its destinations have no names.
        let text = listed(named, table(&["-A -f 1", "-a -f 1 -r 10.0.0.1:80"]));
        assert!(text.contains("  -> vip.example.com:80           Route"));
    }
}
