//! What a running process has used of processor and memory (proc(5)).

use std::fs;

/// The unit of times in /proc, whatever the kernel's own tick (Linux, `USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

/// Processor seconds of a process, user and system, of all its threads, in hundredths; 0 if it is gone.
pub fn cpu_seconds(pid: u32) -> f64 {
    times(&format!("/proc/{pid}/stat"), [13, 14])
}

/// Processor seconds of this process itself.
pub fn cpu_of_self() -> f64 {
    times("/proc/self/stat", [13, 14])
}

/// Processor seconds of all children that have ended and were waited for.
pub fn cpu_of_children() -> f64 {
    times("/proc/self/stat", [15, 16])
}

/// What is resident of a process, in bytes; 0 if it is gone.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    1024 * kib(&status, "VmRSS:")
}

/// A figure of /proc/PID/status, in KiB.
pub fn kib(status: &str, key: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(key));
    value.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

fn times(path: &str, fields: [usize; 2]) -> f64 {
    let stat = fs::read_to_string(path).unwrap_or_default();
    // Two fields before: the pid, and a name that may hold anything but ends with the last parenthesis.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let values: Vec<&str> = rest.split_whitespace().collect();
    let ticks =
        |field: usize| values.get(field - 2).and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
    fields.into_iter().map(ticks).sum::<f64>() / TICKS_A_SECOND
}
