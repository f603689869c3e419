//! `ipset-rs`: the command lines, output and exit statuses of `ipset` 7, on the `lvs` crate.
//!
//! ```text
//! ipset-rs create blocked hash:net timeout 600 comment
//! ipset-rs add blocked 192.0.2.0/24 comment "for documentation"
//! ipset-rs save | ipset-rs -exist restore
//! ```
//!
//! Listings in every mode, the texts of errors and warnings, and the exit statuses equal those of `ipset` 7.24 byte for
//! byte. `ipset` 7.17 differs in JSON only, which came with 7.18.
//!
//! # Deviations from `ipset`
//!
//! - The texts of `help` and `help TYPE` differ, except for the table of types at the end of `help`. `version` does not ask
//!   the kernel, and succeeds without the module.
//! - Headers have `forceadd`, so that a save restores the set as it was. (`ipset` leaves it out.)
//! - Names and comments are escaped in XML and JSON, and the markmask of a `hash:ip,mark` is a string in JSON. Each list
//!   of a run is JSON of its own. In XML, U+FFFD replaces control characters. (The output of `ipset` cannot be parsed.)
//! - A restore continues with the next line after `test` of an entry that exists, and after the warning that an option is
//!   ignored. `quit` sends the entries before it. (`ipset` ends with status 0 and
//!   loses the rest.) `-exist` inside of a line holds from that line on. (`ipset` begins with the next batch.)
//! - After `create -exist` of a set that exists with the other family, later lines of an interactive session read addresses of the
//!   existing family. (`ipset` reads those of the family that was typed.)
//! - `icmp:` in a `bitmap:port` is an error with status 1. (`ipset` crashes.)
//! - Output that cannot be written (a full disk) and input that cannot be read (a directory) are errors, with exit
//!   status 1. The commands of a restore are carried out all the same. A message that cannot be written is lost; a
//!   closed pipe for messages does not end the program.
//! - A `list` inside of `restore -f FILE` writes to standard output. (`ipset` writes nothing.) With `-f FILE` in a line, all
//!   lists from that line on are in the file. (`ipset` writes only the first.)
//! - In the interactive mode, a `list` works after an error. (`ipset` reports an internal error.)
//! - In XML and JSON, U+FFFD replaces bytes of names and comments that are not UTF-8. (`ipset` writes the bytes.)
//! - A restore that fails keeps all entries before the line that is wrong. (`ipset` drops those that it has not sent yet.)
//!   If the kernel refuses one of them, the error is that of its line.
//! - A sorted list has the same order in all formats: names and IPv6 addresses are compared by themselves, the second part
//!   of an entry as the first. (In `ipset` the order depends on the text after them, and JSON has an order of its own. It
//!   sorts the second networks of a `hash:net,net` and the prefixes of an IPv6 address in reverse.) No entry loses its port
//!   at the end of a page.
//! - A save of names (`save -n -o plain`) has each name once, and a terse save in JSON has no entries.
//! - Names of services and protocols are those of `/etc/services` and `/etc/protocols`, and of nowhere else. `tcp`, `udp`,
//!   `icmp` and `icmpv6` are known without these files. A protocol above 255 is unknown. (`ipset` stores its lowest byte.)
//! - An Ethernet address is six numbers of one or two hexadecimal digits. (`ipset` also reads empty ones, and signs.)
//! - A host name from DNS is printed if it has only letters, digits, `.`, `-` and `_`. After a look-up that found no name
//!   in 2 seconds, other addresses are not looked up.
#![cfg_attr(fuzzing, no_main)]

mod database;
mod decimal;
mod entry;
#[path = "../ipvsadm/errno.rs"]
mod errno;
mod escape;
mod failure;
#[cfg(any(all(test, feature = "testing"), fuzzing))]
mod fuzz;
mod help;
#[path = "../ipvsadm/hosts.rs"]
mod hosts;
#[cfg(test)]
mod man;
mod names;
mod options;
mod output;
mod restore;
mod session;
mod sort;
mod syntax;
mod texts;
mod values;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::session::{Session, written};
use crate::syntax::{Command, Line, Settings, Word, parse};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(|word| values::text(word.as_bytes())).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut quiet = false;
    let done = run(words, &mut quiet, &mut out);
    let flushed = out.flush().map_err(|error| (written(&error), None));
    match done.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err((failure, line)) => {
            if !quiet {
                failure.tell(line);
            }
            failure.status().into()
        }
    }
}

/// Carries out a command line. A failure comes with the line of the input that it is in.
fn run(words: Vec<Word<'_>>, quiet: &mut bool, out: &mut impl Write) -> Result<(), (Failure, Option<usize>)> {
    let mut settings = Settings::default();
    let line = parse(words, &mut settings);
    *quiet = settings.quiet;
    let here = |failure| (failure, None);
    let (command, words) = match line.map_err(here)? {
        Line::Interactive => {
            let mut session = Session::new(settings);
            return restore::interactive(&mut session, io::stdin().lock(), out);
        }
        Line::Command(command, words) => (command, words),
    };
    let file = settings.file.clone();
    let mut session = Session::new(settings);
    let done = match (command, file) {
        (Command::Restore, None) => restore::restore(&mut session, io::stdin().lock(), out),
        (Command::Restore, Some(path)) => {
            let file = File::open(values::path(&path)).map_err(|_| here(Failure::Silent(255)))?;
            session.settings.file = None;
            restore::restore(&mut session, BufReader::new(file), out)
        }
        (command, _) => session.perform(command, &words, out).map_err(here),
    };
    *quiet = session.settings.quiet;
    // The listing is written before the error.
    let flushed = out.flush().map_err(|error| here(written(&error)));
    done.and(flushed)
}
