//! `ipvsadm-rs`: the command lines, output and exit statuses of `ipvsadm` 1.31, on the `lvs` crate.
//!
//! ```text
//! ipvsadm-rs -A -t 10.0.0.1:80 -s wrr
//! ipvsadm-rs -a -t 10.0.0.1:80 -r 10.9.1.1:8080 -m -w 2
//! ipvsadm-rs -Ln --stats
//! ```
//!
//! Output, with the blanks at the ends of lines, the texts of errors and the exit statuses equal those of `ipvsadm` byte
//! for byte. Weights are those of Debian's `ipvsadm`, up to 2,147,483,647.
//!
//! # Deviations from `ipvsadm`
//!
//! - `-h` and `-v` need neither privilege nor IPVS in the kernel. The text of `-h` differs.
//! - A list is ordered by number. (`ipvsadm` compares numbers that are far apart the wrong way.) `--nosort` is the
//!   kernel's order, as in `ipvsadm`.
//! - Firewall marks are never negative, so that a save can be restored.
//! - Counters of destinations are shown whole, in 64 bits.
//! - A list of scheduler flags that has only commas is refused. (`ipvsadm` crashes.)
//! - `-R` skips lines that begin with `#`. It reads and checks all of its input before it changes anything, and names
//!   the line of each error. A line that fails does not stop the others; the exit status tells that there was one. The
//!   input is kept in memory, once, until its end or its first mistake. (`ipvsadm` keeps a line at a time.)
//! - A word of the input has any length. (`ipvsadm -R` splits it after 4,096 bytes, so that a longer name of a scheduler
//!   is an `unexpected argument`. Here it is cut to what the kernel holds, as on the command line.)
//! - The text is `-6 used before -f`, as in Debian 12. (Newer packages of 1.31 have `-6 must follow -f`.)
//! - A service that vanishes while it is listed is left out.
//! - Output that cannot be written (a full disk), and input that cannot be read, is an error, with exit status 1.
//! - A value with `!#:+` is taken literally. (popt, the library of `ipvsadm`'s command line, inserts the next word.)
//! - Each name is resolved once in a run, up to 65,536 names. (`ipvsadm` resolves it again for each line.) Names of SCTP
//!   ports are looked up in `/etc/services` only.
//! - After a look-up that found no name in 2 seconds, other addresses are printed as numbers.
//! - A name that is not UTF-8 is ignored, and so is the name of a port with more than 31 bytes. A name that is too long for
//!   its column is cut between two letters, not within one.
#![cfg_attr(fuzzing, no_main)]

mod command;
mod connections;
#[path = "../ipset/decimal.rs"]
mod decimal;
mod errno;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod hosts;
mod kernel;
mod line;
#[cfg(test)]
mod man;
mod names;
mod options;
mod output;
mod restore;
mod syntax;
mod table;
mod text;
mod values;

use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use lvs::Error;
use lvs::ipvs::{BestEffort, Connections, Ipvs, Version};

use crate::command::{Command, Listing};
use crate::names::Names;
use crate::output::Table;
use crate::text::complain;

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| text::read(word.as_bytes()).into_owned());
    let program = words.next().unwrap_or_default();
    let mut out = BufWriter::new(io::stdout().lock());
    let status = run(&program, &words.collect::<Vec<_>>(), &mut out);
    let status = status.and_then(|status| out.flush().map(|()| status));
    ExitCode::from(status.unwrap_or_else(|error| {
        // The program that closed the pipe needs no message. The status is that of a program that was killed by SIGPIPE.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return 141;
        }
        complain(format_args!("cannot write: {error}"));
        1
    }))
}

/// Carries out a command line; the exit status.
fn run(program: &str, words: &[String], out: &mut impl Write) -> io::Result<u8> {
    let names = &Names::of_system();
    let command = options::parse(words.iter().map(String::as_str).peekable(), names);
    // These need neither privilege nor IPVS; all else, even a mistake, is told after both have been found.
    match command {
        Ok(Command::Help) => return help(out).map(|()| 0),
        Ok(Command::Version) => return version(out).map(|()| 0),
        _ => {}
    }
    let (ipvs, info) = match kernel::open() {
        Ok(opened) => opened,
        Err(reason) => {
            complain(format_args!("Can't initialize ipvs: {reason}"));
            complain(format_args!("Are you sure that IP Virtual Server is built in the kernel or as module?"));
            return Ok(2);
        }
    };
    if info.release < (1, 1, 4) {
        let (major, minor, patch) = info.release;
        complain(format_args!("Warning: IPVS version mismatch: "));
        complain(format_args!("  this program is for IPVS 1.1.4 and later,"));
        complain(format_args!("  the kernel has IPVS {major}.{minor}.{patch}:"));
        complain(format_args!("  some things may not work."));
    }
    let mut session = Session { ipvs, info, names, program };
    match command {
        Ok(Command::Restore) => restore::run(&mut session, io::stdin().lock(), out),
        Ok(command) => session.perform(command, "", out),
        Err(mistake) => {
            complain(format_args!("{}", mistake.text(program)));
            Ok(mistake.status())
        }
    }
}

/// The client and options of a run.
struct Session<'a> {
    ipvs: Ipvs,
    info: Version,
    names: &'a Names,
    program: &'a str,
}

impl Session<'_> {
    /// Carries out a command; the exit status. `place` says where the command stands and begins each line on standard
    /// error.
    fn perform(&mut self, command: Command, place: &str, out: &mut impl Write) -> io::Result<u8> {
        let (text, status) = match command {
            Command::Help => return help(out).map(|()| 0),
            Command::Version => return version(out).map(|()| 0),
            Command::Restore => return Ok(0),
            Command::List(listing) => match self.list(&listing, out)? {
                Ok(errors) => match unread(&errors) {
                    None => return Ok(0),
                    Some(text) => (text, 1),
                },
                Err(error) => (kernel::explain_query(&error), 1),
            },
            // Both lists fail without a word.
            Command::ListTimeouts => match self.ipvs.timeouts() {
                Ok(timeouts) => return output::timeouts(out, &timeouts).map(|()| 0),
                Err(_) => return Ok(1),
            },
            Command::ListDaemons => match self.ipvs.daemons() {
                Ok(daemons) => return output::daemons(out, &daemons).map(|()| 0),
                Err(_) => return Ok(1),
            },
            Command::Save { numeric } => match self.ipvs.table_best_effort() {
                Ok(BestEffort { items: mut table, errors, .. }) => {
                    output::sort(&mut table);
                    output::save(out, &table, numeric, self.names)?;
                    match unread(&errors) {
                        None => return Ok(0),
                        Some(text) => (text, 1),
                    }
                }
                Err(error) => (kernel::explain_query(&error), 1),
            },
            Command::Change(change) => match kernel::apply(&mut self.ipvs, &[change]).texts.pop() {
                None => return Ok(0),
                Some((_, text)) => (text, 255),
            },
            Command::OutOfRange(service) => (kernel::out_of_range(&mut self.ipvs, service), 255),
            Command::ListConnections { numeric, engines } => {
                let file = "/proc/net/ip_vs_conn";
                match Connections::open() {
                    Ok(opened) => match connections::list(out, opened, engines, (!numeric).then_some(self.names))? {
                        Ok(()) => return Ok(0),
                        Err(_) => (format!("unexpected input from {file}"), 1),
                    },
                    Err(_) => (format!("cannot open file {file}"), 1),
                }
            }
        };
        // Earlier output is written before the error.
        out.flush()?;
        complain(format_args!("{place}{text}"));
        Ok(status)
    }

    /// Writes a listing; returns the errors of items that could not be read. The outer result is that of writing.
    fn list(&mut self, listing: &Listing, out: &mut impl Write) -> io::Result<Result<Vec<Error>, Error>> {
        let (mut table, errors) = match self.read(listing) {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        if listing.sorted {
            output::sort(&mut table);
        }
        if listing.service.is_none() {
            output::version(out, &self.info)?;
        }
        output::list(out, listing, &table, self.names).map(|()| Ok(errors))
    }

    /// Other processes may change the table meanwhile.
    fn read(&mut self, listing: &Listing) -> Result<(Table, Vec<Error>), Error> {
        match listing.service {
            None => self.ipvs.table_best_effort().map(|table| (table.items, table.errors)),
            Some(key) => {
                let service = self.ipvs.service(key)?;
                let destinations = self.ipvs.destinations_best_effort(key)?;
                Ok((vec![(service, destinations.items)], destinations.errors))
            }
        }
    }
}

/// A line for each item that could not be read; `None` if there is none.
fn unread(errors: &[Error]) -> Option<String> {
    let lines: Vec<_> = errors.iter().map(Error::to_string).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn version(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)")
}

fn help(out: &mut impl Write) -> io::Result<()> {
    version(out)?;
    out.write_all(include_bytes!("help.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the standard output and the exit status.
    fn output(word: &str) -> (String, u8) {
        let mut out = Vec::new();
        let status = run("ipvsadm", &[word.to_owned()], &mut out).unwrap();
        (String::from_utf8(out).unwrap(), status)
    }

    #[test]
    fn help_and_version_need_neither_privilege_nor_ipvs() {
        let (version, status) = output("-v");
        assert_eq!((version.as_str(), status), ("ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n", 0));
        let (help, status) = output("--help");
        assert!(help.starts_with(&format!("{version}Usage:\n")), "{help}");
        assert_eq!(status, 0);
    }

    #[test]
    fn help_has_every_option() {
        let help = include_str!("help.txt");
        for form in table::FORMS.all() {
            // The one without effect.
            assert!(form.name == "sort" || help.contains(&format!("--{}", form.name)), "{}", form.name);
        }
    }
}
