//! Reader of the load of the kernel's tables.

use std::collections::HashMap;
use std::io::BufRead;

use super::{Lines, Source};
use crate::error::{DecodeError, Result};

const SOURCE: Source = Source { operation: "read the status", file: "ip_vs_status", since: Some("7.1") };

/// The state of IPVS in a network namespace (`ip_vs_status`, since Linux 7.1).
///
/// Unknown lines, as later kernels may have, are ignored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
#[doc(alias = "ip_vs_status")]
pub struct Status {
    /// Connections and templates (`Conns`).
    pub connections: u64,
    /// The table of connections (`Conn buckets`).
    pub connection_table: TableStatus,
    /// Virtual services (`Services`).
    pub services: u64,
    /// The table of services (`Service buckets`).
    pub service_table: TableStatus,
    /// Number of threads that may update counters and rates (`Stats thread slots`).
    pub estimator_threads: u64,
    /// Limit of that number (`max`); 0 before the first service.
    pub estimator_threads_max: u64,
    /// Services and destinations that are updated in one step (`Stats chain max len`); 0 before the kernel has measured
    /// its speed.
    pub estimator_chain_max: u64,
    /// Services and destinations of one thread, at most (`Stats thread ests`).
    pub estimators_per_thread: u64,
}

/// Load of a hash table.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct TableStatus {
    /// Number of buckets; 0 before the first service.
    pub buckets: u64,
    /// Base-2 logarithm of that number (`bits`).
    pub bits: u32,
    /// Load factor (`lfactor`): the table is sized for the number of buckets times 2 to this power. The sysctls
    /// `net.ipv4.vs.conn_lfactor` and `svc_lfactor` set it.
    pub load_factor: i32,
    /// Numbers of buckets with 0, 1, 2, … entries; the last is for seven and more. All are 0 if the table is empty or
    /// changed too often while the kernel counted. The sum is above `buckets` while the table grows or shrinks.
    ///
    /// A connection of masquerading has two entries in its table.
    pub lengths: [u64; 8],
}

impl Status {
    /// Reads the state of the calling thread's network namespace. `namespace.run(Status::read)` reads that of another
    /// namespace ([`Namespace::run`](crate::netns::Namespace::run)). The kernel walks all of its tables for it.
    ///
    /// # Errors
    /// [`is_unavailable`](crate::Error::is_unavailable) up to Linux 7.0
    /// ([`Cause::NotOnThisKernel`](crate::Cause::NotOnThisKernel)), and when the module `ip_vs` is not loaded;
    /// [`is_permission_denied`](crate::Error::is_permission_denied) without root (mode 0440).
    pub fn read() -> Result<Self> {
        Self::from_reader(SOURCE.open()?)
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// [`Cause::Decode`](crate::Cause::Decode) when the text has another format.
    pub fn from_reader(reader: impl BufRead) -> Result<Self> {
        let mut lines = Lines::new(reader, SOURCE);
        let mut values = Values::default();
        while lines.advance()? {
            let line = std::str::from_utf8(lines.line()).ok();
            let (key, value) = line.and_then(|line| line.split_once(":\t")).ok_or_else(|| lines.wrong("form"))?;
            values.0.insert(key.to_owned(), numbers(value));
        }
        values.status().map_err(|error| SOURCE.error(error))
    }
}

/// The numbers of each line, by the text before the colon.
#[derive(Default)]
struct Values(HashMap<String, Vec<i64>>);

impl Values {
    fn status(&self) -> Result<Status, DecodeError> {
        Ok(Status {
            connections: self.get("Conns", 0)?,
            connection_table: self.table("Conn buckets")?,
            services: self.get("Services", 0)?,
            service_table: self.table("Service buckets")?,
            estimator_threads: self.get("Stats thread slots", 0)?,
            estimator_threads_max: self.get("Stats thread slots", 1)?,
            estimator_chain_max: self.get("Stats chain max len", 0)?,
            estimators_per_thread: self.get("Stats thread ests", 0)?,
        })
    }

    fn table(&self, key: &'static str) -> Result<TableStatus, DecodeError> {
        let mut lengths = [0; 8];
        for (length, buckets) in lengths.iter_mut().enumerate() {
            let key = if length == 0 { format!("{key} empty") } else { format!("{key} len-{length}") };
            // A length without buckets has no line.
            let counted = self.0.get(&key).and_then(|numbers| numbers.first());
            *buckets = counted.and_then(|count| u64::try_from(*count).ok()).unwrap_or(0);
        }
        Ok(TableStatus { buckets: self.get(key, 0)?, bits: self.get(key, 1)?, load_factor: self.get(key, 2)?, lengths })
    }

    /// Returns a number of a mandatory line.
    fn get<T: TryFrom<i64>>(&self, key: &'static str, index: usize) -> Result<T, DecodeError> {
        let number = self.0.get(key).and_then(|numbers| numbers.get(index));
        number.and_then(|number| T::try_from(*number).ok()).ok_or(DecodeError::Missing { attribute: key })
    }
}

/// The numbers in `512 (9 bits, lfactor -4)`.
fn numbers(value: &str) -> Vec<i64> {
    value.split([' ', '(', ')', ',', '%']).filter_map(|word| word.parse().ok()).collect()
}
