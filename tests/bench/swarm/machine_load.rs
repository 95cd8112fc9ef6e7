//! How busy the machine is, with whatever anybody runs on it.

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
