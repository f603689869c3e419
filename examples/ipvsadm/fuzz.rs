//! Fuzzed code: command lines, input of `-R`, and tables of connections, with any bytes.
//!
//! The table that a restore has made is saved so that it restores as the same.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use lvs::Protocol;
use lvs::ipvs::{Change, Connections, Destination, DestinationInfo, Scheduler, Service, ServiceFlags, ServiceInfo};

use crate::command::{Command, Listing, Mistake, Mode};
use crate::names::{Names, Source};
use crate::output::Table;
use crate::{connections, options, output, restore, text};

/// An input is the text of a restore, a command line with a word in each line, and a table of connections.
pub(crate) fn run(data: &[u8]) {
    let input = text::read(data);
    let names = Names::of(Known);
    match options::parse(input.split('\n').peekable(), &names) {
        Ok(command) => check(command),
        Err(mistake) => assert!(!mistake.text("ipvsadm").is_empty()),
    }
    if let Ok(commands) = commands(data, &names) {
        commands.iter().copied().for_each(check);
        save_restores(&table(&commands), &names);
    }
    for engines in [false, true] {
        let _ = connections::list(&mut io::sink(), Connections::from_reader(data), engines, Some(&names));
    }
}

/// The commands of a restore, or its first mistake.
fn commands(input: &[u8], names: &Names) -> Result<Vec<Command>, Mistake> {
    input.split(|byte| *byte == b'\n').filter_map(|line| restore::read(line, names)).collect()
}

fn check(command: Command) {
    if let Command::Change(change) = command {
        assert!(!change.to_string().is_empty());
        let _ = change.check();
    }
}

/// The services and destinations that these commands add, as far as the kernel could take them.
fn table(commands: &[Command]) -> Table {
    let mut table: Table = Vec::new();
    for command in commands {
        match command {
            Command::Change(change) if change.check().is_err() => {}
            // A save of `ipvsadm` leaves out the flag that these have no name for, and so does this one.
            Command::Change(Change::AddService(service))
                if service.flags.contains(ServiceFlags::SCHEDULER_3)
                    && [Scheduler::SH, Scheduler::MH].contains(&service.scheduler) => {}
            Command::Change(Change::AddService(service)) => table.push((ServiceInfo::new(*service), Vec::new())),
            Command::Change(Change::AddDestination(key, destination)) => {
                if let Some((_, destinations)) = table.last_mut().filter(|(info, _)| info.key() == *key) {
                    destinations.push(DestinationInfo::new(*destination));
                }
            }
            _ => {}
        }
    }
    table
}

fn save_restores(table: &Table, names: &Names) {
    for mode in [Mode::Settings, Mode::Tunnels, Mode::Thresholds, Mode::PersistentConnections, Mode::Stats, Mode::Rates]
    {
        for numeric in [false, true] {
            let listing = Listing { service: None, mode, numeric, exact: numeric, sorted: false };
            let written = output::list(&mut io::sink(), &listing, table, names);
            assert!(written.is_ok());
        }
    }
    let mut saved = Vec::new();
    assert!(output::save(&mut saved, table, true, names).is_ok());
    let commands = commands(&saved, names).unwrap_or_else(|mistake| {
        unreachable!("{}: {mistake:?}", String::from_utf8_lossy(&saved));
    });
    assert_eq!(parts(&self::table(&commands)), parts(table), "{}", String::from_utf8_lossy(&saved));
}

/// Returns the services as a save has them, without the thresholds.
fn parts(table: &Table) -> Vec<(Service, Vec<Destination>)> {
    let without = |info: &DestinationInfo| {
        let mut destination = info.destination;
        destination.thresholds = None;
        destination
    };
    table.iter().map(|(info, destinations)| (info.service, destinations.iter().map(without).collect())).collect()
}

/// Names that ask nobody.
struct Known;

impl Source for Known {
    fn port(&self, name: &str, _: Protocol) -> Option<u16> {
        (name == "www").then_some(80)
    }

    fn service(&self, port: u16, _: Protocol) -> Option<String> {
        (port == 80).then(|| "www".to_owned())
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        (host == "vip").then_some(Ipv4Addr::new(10, 0, 0, 1))
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        (address == Ipv4Addr::new(10, 0, 0, 1)).then(|| "vip".to_owned())
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));

#[cfg(test)]
#[path = "../../tests/corpus/files.rs"]
mod files;

#[cfg(test)]
#[test]
fn the_kept_inputs_pass() {
    files::each("ipvsadm", run);
}
