//! What the benchmarks share: how they read sizes and versions, what they say of the machine, and what a process has used.

pub mod machine;
pub mod usage;

use std::process::Command;

/// Bytes, as in `4GiB`, `512KiB`, `1MiB`, `1000`. Never 0.
pub fn size(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|&bytes| bytes > 0)
}

/// The first word of what a program says that looks like a version; `None`: it can't be run, or has none.
pub fn version(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // A Python without the module.
    if said.contains("Traceback") {
        return None;
    }
    let mut words = said.split_whitespace().map(|word| word.trim_start_matches('v'));
    words.find(|word| word.starts_with(|first: char| first.is_ascii_digit())).map(str::to_owned)
}

/// The middle of these values, or the mean of the two in the middle; `None` of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The given arguments without those whose option is a `place`, where things lie, which says nothing of what was measured.
pub fn command(bench: &str, given: &[String], places: &[&str]) -> String {
    let mut command = format!("cargo bench -p tests --bench {bench}");
    let kept: Vec<_> = given.chunks(2).filter(|pair| !places.contains(&pair[0].as_str())).flatten().collect();
    if !kept.is_empty() {
        command.push_str(" --");
    }
    for argument in kept {
        command.push(' ');
        command.push_str(argument);
    }
    command
}
