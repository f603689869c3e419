//! The files of IPVS in `/proc/net`.
//!
//! Only these files have the connections, the counters of each CPU and the load of the tables. Files of mode 0444 need
//! no privilege, unlike netlink. `ip_vs_status` can be read by root only.
//!
//! | file | type | mode |
//! |---|---|---|
//! | `ip_vs` | [`Overview`] | 0444 |
//! | `ip_vs_conn`, `ip_vs_conn_sync` | [`Connections`] | 0444 |
//! | `ip_vs_stats_percpu` | [`CpuStats`] | 0444 |
//! | `ip_vs_status` (Linux 7.1) | [`Status`] | 0440 |
//!
//! Two files have no reader: `ip_vs_stats` has the last lines of `ip_vs_stats_percpu`, and `ip_vs_app` lists helper
//! modules such as `ip_vs_ftp`.
//!
//! They are opened through `/proc/thread-self`, since `/proc/net` shows the namespace of the process's *first* thread.

mod connections;
mod cpu_stats;
mod overview;
mod status;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

pub use connections::{Connection, ConnectionState, Connections, EngineData, Origin};
pub use cpu_stats::{CpuCounters, CpuStats};
pub use overview::{DestinationOverview, ForwardingName, Overview, OverviewAddress, ServiceOverview};
pub use status::{Status, TableStatus};

use super::numbers::{FAMILY, MODULE};
use crate::error::{Cause, DecodeError, Error, Result};
use crate::net::Protocol;

/// The files of the calling thread's network namespace.
const FOLDER: &str = "/proc/thread-self/net";

/// Longer than any line of these files: the longest is a connection over IPv6 with a persistence engine's data, of some
/// 440 bytes.
const LONGEST_LINE: usize = 4096;

/// Name of the file, for errors.
#[derive(Clone, Copy, Debug)]
struct Source {
    operation: &'static str,
    file: &'static str,
    /// The first Linux release that has it, if a supported release lacks it.
    since: Option<&'static str>,
}

impl Source {
    fn open(self) -> Result<BufReader<File>> {
        let path = |file: &str| -> PathBuf { Path::new(FOLDER).join(file) };
        File::open(path(self.file)).map(BufReader::new).map_err(|error| {
            if error.kind() != io::ErrorKind::NotFound || !path("").exists() {
                return self.error(Cause::Io(error));
            }
            // IPVS creates all of its files, or none.
            self.error(match self.since {
                Some(_) if path(connections::FILE).exists() => {
                    Cause::NotOnThisKernel { what: path(self.file).display().to_string().into(), since: self.since }
                }
                _ => Cause::FamilyNotFound { family: FAMILY, module: MODULE },
            })
        })
    }

    fn error(self, cause: impl Into<Cause>) -> Error {
        Error::new(self.operation, cause)
    }
}

/// The lines of a file, read into one buffer.
#[derive(Debug)]
struct Lines<R> {
    reader: R,
    source: Source,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R, source: Source) -> Self {
        Self { reader, source, buffer: Vec::new(), number: 0 }
    }

    /// Reads the next line; false at the end of the file. After an error the reader must not be used.
    fn advance(&mut self) -> Result<bool> {
        self.buffer.clear();
        self.number += 1;
        let limit = LONGEST_LINE as u64;
        let length = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
        match length.map_err(|error| self.source.error(Cause::Io(error)))? {
            0 => return Ok(false),
            LONGEST_LINE if self.buffer.last() != Some(&b'\n') => return Err(self.wrong("length")),
            _ => {}
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        }
        Ok(true)
    }

    /// The line that was read last, without its end.
    fn line(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads the next line, which is mandatory: it has `what`.
    fn required(&mut self, what: &'static str) -> Result<&[u8]> {
        if self.advance()? { Ok(&self.buffer) } else { Err(self.wrong(what)) }
    }

    /// Returns the error of a wrong part of the last line.
    fn wrong(&self, what: &'static str) -> Error {
        let start = self.buffer.get(..200).unwrap_or(&self.buffer);
        let line = String::from_utf8_lossy(start).into_owned();
        self.source.error(DecodeError::Line { file: self.source.file, number: self.number, what, line })
    }
}

/// The words of a line that are left.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| *byte != b' ')?;
        let rest = self.0.get(start..)?;
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, rest) = rest.split_at_checked(end)?;
        self.0 = rest;
        Some(word)
    }
}

/// A number without sign, of nothing but digits.
fn number<T: TryFrom<u64>>(text: &[u8], radix: u32) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let value = text.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        value.checked_mul(radix.into())?.checked_add(digit.into())
    });
    value?.try_into().ok()
}

/// Name that the kernel prints for the protocol of a firewall mark.
const OF_MARK: Protocol = Protocol(0);

/// The kernel's names of protocols (`ip_vs_proto_name`).
fn protocol(name: &[u8]) -> Option<Protocol> {
    Some(match name {
        b"TCP" => Protocol::TCP,
        b"UDP" => Protocol::UDP,
        b"SCTP" => Protocol::SCTP,
        b"IP" => OF_MARK,
        b"ICMP" => Protocol(1),
        b"ICMPv6" => Protocol(58),
        other => Protocol(number(other.strip_prefix(b"IP_")?, 10)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_only_and_fit() {
        assert_eq!(number::<u16>(b"FFff", 16), Some(0xffff));
        assert_eq!(number::<u64>(b"18446744073709551615", 10), Some(u64::MAX));
        for text in ["", "+1", "-1", " 1", "1 ", "0x1", "\u{661}", "18446744073709551616"] {
            assert_eq!(number::<u64>(text.as_bytes(), 10), None, "{text:?}");
        }
        assert_eq!(number::<u16>(b"10000", 16), None);
    }

    #[test]
    fn a_line_without_end_is_an_error_in_bounded_memory() {
        let source = Source { operation: "try", file: "endless", since: None };
        let mut lines = Lines::new(BufReader::new(io::repeat(b'x')), source);
        let error = lines.advance().unwrap_err().to_string();
        assert!(
            error.starts_with("try: the kernel's reply could not be decoded: endless, line 1: wrong length in \"xxx")
        );
        assert!(lines.buffer.capacity() <= 4 * LONGEST_LINE && error.len() < 400);
    }
}
