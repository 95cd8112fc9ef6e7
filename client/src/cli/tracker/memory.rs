//! How much memory there is.

use std::fs;

/// Half of what this machine has, or this container may have, in bytes. `None`: the system does not say.
pub(super) fn half_of_all() -> Option<usize> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let container =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let all = machine.into_iter().chain(container).min()?;
    Some(all / 2)
}

/// What `/proc/meminfo` says of all memory.
fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        let text = "MemTotal:       24530464 kB\nMemFree:        1 kB\n";
        assert_eq!(total(text), Some(24_530_464 * 1024));
        assert_eq!(total("MemFree: 1 kB"), None);
    }
}
