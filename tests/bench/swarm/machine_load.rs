//! How busy the machine is, with whatever anybody runs on it, and whether its kernel had room for all these hosts.

use std::fs;

/// A measurement that goes on.
#[derive(Debug)]
pub(crate) struct Load {
    idle: u64,
    all: u64,
}

impl Load {
    pub(crate) fn start() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        // The first line, of all processors together: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
        let first = stat.lines().next().unwrap_or_default();
        let times: Vec<u64> =
            first.split_whitespace().skip(1).take(8).filter_map(|time| time.parse().ok()).collect();
        Self { idle: times.iter().skip(3).take(2).sum(), all: times.iter().sum() }
    }

    /// The share of all processors' time since then that was not idle.
    pub(crate) fn share(&self) -> f64 {
        let now = Self::start();
        1.0 - (now.idle - self.idle) as f64 / ((now.all - self.all) as f64).max(1.0)
    }
}

/// How often since the start of the machine the kernel had no room for one more neighbour's hardware address. Its table, of
/// `net.ipv4.neigh.default.gc_thresh3` entries, is one for all namespaces: swarms of 32 and 22 hosts at a time fill one of 1,024, and then
/// peers do not reach each other or the tracker for minutes.
pub(crate) fn neighbours_refused() -> u64 {
    let table = fs::read_to_string("/proc/net/stat/arp_cache").unwrap_or_default();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let column = lines.next().and_then(|names| names.iter().position(|name| *name == "table_fulls"));
    // One line for each processor.
    let counts = lines.filter_map(|line| u64::from_str_radix(line.get(column?)?, 16).ok());
    counts.sum()
}
