//! What the figures were taken on.

use std::fs;

/// Processor, cores, memory, kernel and its congestion control of TCP, as Markdown.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpuinfo, meminfo) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let model = value(&cpuinfo, "model name").unwrap_or_else(|| "unknown processor".into());
    let flags = value(&cpuinfo, "flags").or_else(|| value(&cpuinfo, "Features")).unwrap_or_default();
    let told = ["sha_ni", "avx2", "avx512bw", "avx512vl", "sha1", "sha2"];
    let features: Vec<_> =
        told.into_iter().filter(|told| flags.split(' ').any(|flag| flag == *told)).collect();
    let memory = value(&meminfo, "MemTotal").and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok());
    format!(
        "{model} ({}), {} cores, {} GiB, Linux {}, TCP {}\n",
        features.join(", "),
        cores(),
        memory.unwrap_or(0).div_ceil(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
    )
}

/// Processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
