//! Counters of each CPU.

use std::io::BufRead;

use super::{Lines, Source, Words, number};
use crate::error::Result;
use crate::ipvs::{Rates, Stats};

const SOURCE: Source = Source { operation: "read the counters of each CPU", file: "ip_vs_stats_percpu", since: None };

/// Traffic through all services of a network namespace, for each CPU and in total (`ip_vs_stats_percpu`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
#[doc(alias("ip_vs_stats_percpu", "ip_vs_stats"))]
pub struct CpuStats {
    /// Counters of each possible CPU of the machine, also of offline ones.
    ///
    /// These are the counters themselves, without the delay of all other [`Stats`]. They count from the creation of the
    /// namespace, and [`Ipvs::zero_all`](crate::ipvs::Ipvs::zero_all) does not reset them.
    pub cpus: Vec<CpuCounters>,
    /// The sum since the last [`zero_all`](crate::ipvs::Ipvs::zero_all), and its rates, at their last update.
    pub total: Stats,
}

/// Traffic that one CPU has counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct CpuCounters {
    /// The CPU's number.
    pub cpu: u32,
    /// Connections scheduled.
    #[cfg_attr(feature = "serde", serde(rename = "conns"))]
    pub connections: u64,
    /// Packets from clients.
    #[cfg_attr(feature = "serde", serde(rename = "inpkts"))]
    pub packets_in: u64,
    /// Packets to clients that pass this machine.
    #[cfg_attr(feature = "serde", serde(rename = "outpkts"))]
    pub packets_out: u64,
    /// Bytes from clients.
    #[cfg_attr(feature = "serde", serde(rename = "inbytes"))]
    pub bytes_in: u64,
    /// Bytes to clients that pass this machine.
    #[cfg_attr(feature = "serde", serde(rename = "outbytes"))]
    pub bytes_out: u64,
}

impl CpuStats {
    /// Reads the counters of the calling thread's network namespace. `namespace.run(CpuStats::read)` reads those of
    /// another namespace ([`Namespace::run`](crate::netns::Namespace::run)). Reading needs no privilege (mode 0444).
    ///
    /// # Errors
    /// [`is_unavailable`](crate::Error::is_unavailable) when the module `ip_vs` is not loaded.
    pub fn read() -> Result<Self> {
        Self::from_reader(SOURCE.open()?)
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// [`Cause::Decode`](crate::Cause::Decode) when the text has another format.
    pub fn from_reader(reader: impl BufRead) -> Result<Self> {
        let mut lines = Lines::new(reader, SOURCE);
        let mut stats = Self::default();
        for _ in 0..2 {
            lines.required("title")?;
        }
        loop {
            let mut words = Words(lines.required("counters")?);
            let cpu = words.next().unwrap_or_default();
            let (is_total, counters) = (cpu == b"~", numbers(words));
            let cpu = if is_total { Some(0) } else { number(cpu, 16) };
            let (Some(cpu), Some(counters)) = (cpu, counters) else { return Err(lines.wrong("counters")) };
            let [connections, packets_in, packets_out, bytes_in, bytes_out] = counters;
            if is_total {
                let rates = Rates::default();
                stats.total = Stats { connections, packets_in, packets_out, bytes_in, bytes_out, rates };
                break;
            }
            stats.cpus.push(CpuCounters { cpu, connections, packets_in, packets_out, bytes_in, bytes_out });
        }
        for _ in 0..2 {
            lines.required("title")?;
        }
        let rates = numbers(Words(lines.required("rates")?));
        let [connections, packets_in, packets_out, bytes_in, bytes_out] = rates.ok_or_else(|| lines.wrong("rates"))?;
        stats.total.rates = Rates { connections, packets_in, packets_out, bytes_in, bytes_out };
        Ok(stats)
    }
}

/// Exactly five numbers.
fn numbers(mut words: Words<'_>) -> Option<[u64; 5]> {
    let mut numbers = [0; 5];
    for place in &mut numbers {
        *place = number(words.next()?, 16)?;
    }
    words.next().is_none().then_some(numbers)
}
