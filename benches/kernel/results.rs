//! How often something is measured, and where the times go.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

/// How large the tables are.
pub(crate) struct Plan {
    /// Services in a table to which some are added.
    pub(crate) tables: &'static [u32],
    /// How many are added, changed, deleted.
    pub(crate) changes: u32,
    /// Services, and destinations of each, of tables that are listed.
    pub(crate) lists: &'static [(u32, u32)],
    /// Members of a set for which all programs are compared.
    pub(crate) members: u32,
    /// Members of the largest set.
    pub(crate) largest_set: u32,
    pub(crate) vips: u32,
    /// Services, and destinations of each, of a director.
    pub(crate) directors: &'static [(u32, u32)],
    /// Services of a firewall.
    pub(crate) firewalls: &'static [u32],
    /// Services in the maps of nftables.
    pub(crate) maps: &'static [u32],
    /// Services with 20 endpoints each that short connections are opened to.
    pub(crate) clusters: &'static [u32],
    /// Services of a table that changes while connections are opened.
    pub(crate) refreshed: u32,
    /// Services, and endpoints of each, of the table for which kube-proxy's way is replayed.
    pub(crate) replayed: &'static [(u32, u32)],
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        tables: &[1, 1_000, 5_000, 20_000, 50_000, 100_000],
        changes: 2_000,
        lists: &[(5_000, 2), (20_000, 2), (4_000, 20)],
        members: 20_000,
        largest_set: 1_000_000,
        vips: 20_000,
        directors: &[(100, 4), (2_000, 4), (20_000, 4)],
        firewalls: &[1, 100, 1_000, 5_000, 20_000],
        maps: &[1, 1_000, 5_000],
        clusters: &[100, 500, 1_000, 2_000, 4_000],
        refreshed: 1_000,
        replayed: &[(4_000, 20)],
    };
    pub(crate) const QUICK: Self = Self {
        tables: &[1, 1_000, 5_000],
        changes: 500,
        lists: &[(2_000, 2), (200, 20)],
        members: 5_000,
        largest_set: 50_000,
        vips: 2_000,
        directors: &[(100, 4), (1_000, 4)],
        firewalls: &[1, 100, 500],
        maps: &[1, 100, 500],
        clusters: &[100, 500],
        refreshed: 500,
        replayed: &[(400, 20)],
    };
}

/// Takes the times and writes them for the host, a line of JSON each.
pub(crate) struct Results {
    to: File,
    rounds: usize,
}

/// A program that does the work: its name, and a function that returns the time and the number of objects.
pub(crate) type Contestant<'a> = (&'a str, Box<dyn FnMut() -> (Duration, u32) + 'a>);

impl Results {
    pub(crate) fn create(path: &str, rounds: usize) -> Self {
        Self { to: File::options().write(true).open(path).unwrap(), rounds }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// Writes the times of all rounds but the first, in which everything is used for the first time.
    pub(crate) fn put(&mut self, work: &str, size: u32, by: &str, count: u32, times: &[Duration]) {
        let times: Vec<_> = times.iter().skip(1).map(|time| time.as_nanos().to_string()).collect();
        let line = format!(
            "{{\"work\":\"{work}\",\"size\":{size},\"by\":\"{by}\",\"count\":{count},\"nanoseconds\":[{}]}}\n",
            times.join(",")
        );
        self.to.write_all(line.as_bytes()).unwrap();
        eprintln!("  {}", line.trim_end());
    }

    /// Lets all do the work by turns.
    pub(crate) fn compare(&mut self, work: &str, size: u32, contestants: &mut [Contestant<'_>]) {
        let mut times = vec![(0, Vec::new()); contestants.len()];
        for _ in 0..=self.rounds {
            for ((_, run), (of, times)) in contestants.iter_mut().zip(&mut times) {
                let (time, count) = run();
                *of = count;
                times.push(time);
            }
        }
        for ((by, _), (count, times)) in contestants.iter().zip(times) {
            self.put(work, size, by, count, &times);
        }
    }
}
