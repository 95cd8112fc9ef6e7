//! The results as Markdown.

use std::fmt::Write as _;

use crate::contenders::{Contender, Format, Kind};
use crate::measure::Measured;
use crate::payload::Payload;

/// A table of one payload.
pub(crate) fn table(
    payload: &Payload,
    contenders: &[Contender],
    measured: &[Option<Measured>],
    runs: usize,
) -> String {
    let rows: Vec<_> = contenders
        .iter()
        .zip(measured)
        .filter_map(|(contender, measured)| measured.as_ref().map(|measured| (contender, measured)))
        .collect();
    // GiB a second, of the fastest of a kind.
    let best = |kind: Kind, format: Format| {
        let rates = rows.iter().filter(|(contender, _)| contender.kind == kind && contender.format == format);
        rates.map(|(_, measured)| rate(payload, measured)).reduce(f64::max)
    };
    let mut text = format!("### {payload}\n\n");
    text.push_str("| format | what | seconds | GiB/s | × best other | % of floor | CPU seconds | anonymous MiB | resident MiB |\n");
    text.push_str("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (contender, measured) in &rows {
        let rate = rate(payload, measured);
        let against = |kind, unit: f64, digits: usize| match best(kind, contender.format) {
            Some(best) if contender.kind != Kind::Floor => format!("{:.digits$}", unit * rate / best),
            _ => String::new(),
        };
        let mib = |kib: u64| format!("{:.1}", kib as f64 / 1024.0);
        let memory = measured.memory.map(|memory| (mib(memory.anonymous), mib(memory.resident)));
        let (anonymous, resident) = memory.unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {rate:.2} | {} | {} | {:.1} | {anonymous} | {resident} |",
            contender.format,
            contender.name,
            measured.median(|run| run.seconds),
            against(Kind::Other, 1.0, 2),
            against(Kind::Floor, 100.0, 0),
            measured.median(|run| run.cpu),
        );
    }
    let _ = writeln!(text, "\nMedians of {runs} runs each, in turn; the payload is in the page cache.");
    text
}

fn rate(payload: &Payload, measured: &Measured) -> f64 {
    payload.size as f64 / measured.median(|run| run.seconds) / (1u64 << 30) as f64
}
