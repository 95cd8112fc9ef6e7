//! The results as Markdown.

use std::fmt::{self, Write as _};

use harness::bench::median;

use crate::clients::Client;
use crate::measure::Run;
use crate::options::{Case, Pair};
use crate::payload::Payload;
use crate::relay;

const GIB: f64 = (1u64 << 30) as f64;

/// A run as a line, to watch.
pub(crate) fn line(run: &Run) -> String {
    let (down, up) = (run.downloader, run.seeder);
    format!(
        "{:.2} s (+ {:.2} s sync), CPU {:.2}+{:.2} down, {:.2}+{:.2} up, peak {} and {} MiB{}",
        run.seconds,
        run.sync,
        down.cpu.user,
        down.cpu.system,
        up.cpu.user,
        up.cpu.system,
        down.peak >> 10,
        up.peak >> 10,
        if run.sound { "" } else { ", DAMAGED" },
    )
}

/// A table of the long path.
pub(crate) fn delay(payload: &Payload, played: &[(Pair, Vec<Option<Run>>)]) -> String {
    let ideal = 8.0 * payload.size as f64 / relay::RATE;
    let mut text = format!(
        "### delay: {payload} over {} Mbit/s, {} ms there and back\n\n",
        relay::RATE / 1e6,
        relay::ROUND_TRIP.as_millis()
    );
    text.push_str(
        "| seeder → downloader | seconds | range | % of the link |\n| --- | ---: | ---: | ---: |\n",
    );
    for (pair, runs) in played {
        let mut times: Vec<f64> = runs.iter().flatten().map(|run| run.seconds).collect();
        times.sort_by(f64::total_cmp);
        let Some(time) = median(times.iter().copied()) else {
            let _ = writeln!(text, "| {pair} | failed | | |");
            continue;
        };
        let (least, most) = (times[0], times[times.len() - 1]);
        let _ =
            writeln!(text, "| {pair} | {time:.1} | {least:.1}..{most:.1} | {:.1} |", 100.0 * ideal / time);
    }
    let _ = writeln!(
        text,
        "\nFrom the downloader's start, connecting and asking included; the link alone takes {ideal:.1} s. *floor* is plain TCP. Over a \
         relay in user space, which delays and limits; it loses nothing."
    );
    text
}

/// The tables of one case: speed, and what it costs. `None` among the runs: it failed.
pub(crate) fn table(case: Case, payload: &Payload, played: &[(Pair, Vec<Option<Run>>)]) -> String {
    let gib = payload.size as f64 / GIB;
    let seconds = |run: &Run| run.seconds;
    let synced = |run: &Run| run.seconds + run.sync;
    let both = |run: &Run| (run.seeder.cpu.sum() + run.downloader.cpu.sum()) / gib;
    let seeder = |run: &Run| run.seeder.cpu.sum() / gib;
    let mut text = format!("### {}: {payload}\n\n", case.name());
    text.push_str(
        "| seeder → downloader | seconds | range | GiB/s | × best other | % of floor | seconds, synced | × best other | % of floor |\n",
    );
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (pair, runs) in played {
        let failed = runs.iter().filter(|run| run.is_none()).count();
        let note = if failed > 0 { format!(" ({failed} failed)") } else { String::new() };
        let Some(time) = of(runs, seconds) else {
            let _ = writeln!(text, "| {pair}{note} | | | | | | | | |");
            continue;
        };
        let faster = |figure: fn(&Run) -> f64| {
            let mine = of(runs, figure).unwrap_or(f64::NAN);
            let times = best(played, figure).map_or_else(String::new, |best| format!("{:.2}", best / mine));
            let percent = floor(played, figure)
                .map_or_else(String::new, |floor| format!("{:.0}", 100.0 * floor / mine));
            (times, percent)
        };
        let (reported, safe) = (faster(|run| run.seconds), faster(|run| run.seconds + run.sync));
        let least = runs.iter().flatten().map(seconds).fold(f64::INFINITY, f64::min);
        let most = runs.iter().flatten().map(seconds).fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "| {pair}{note} | {time:.2} | {least:.2}..{most:.2} | {:.2} | {} | {} | {:.2} | {} | {} |",
            gib / time,
            reported.0,
            reported.1,
            of(runs, synced).unwrap_or(f64::NAN),
            safe.0,
            safe.1,
        );
    }
    text.push_str(
        "\n| seeder → downloader | CPU s/GiB, both | × best other | the seeder's | × best other | downloader: user + system, s | seeder | \
         downloader: peak MiB | seeder |\n",
    );
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (pair, runs) in played.iter().filter(|(_, runs)| runs.iter().flatten().next().is_some()) {
        let value = |figure: &dyn Fn(&Run) -> f64| of(runs, figure).unwrap_or(f64::NAN);
        let against = |mine: f64, other: Option<f64>| {
            other.map_or_else(String::new, |other| format!("{:.2}", mine / other))
        };
        let _ = writeln!(
            text,
            "| {pair} | {:.2} | {} | {:.2} | {} | {:.2} + {:.2} | {:.2} + {:.2} | {:.0} | {:.0} |",
            value(&both),
            against(value(&both), best(played, both)),
            value(&seeder),
            against(value(&seeder), best(played, seeder)),
            value(&|run| run.downloader.cpu.user),
            value(&|run| run.downloader.cpu.system),
            value(&|run| run.seeder.cpu.user),
            value(&|run| run.seeder.cpu.system),
            value(&|run| run.downloader.peak as f64 / 1024.0),
            value(&|run| run.seeder.peak as f64 / 1024.0),
        );
    }
    let runs = played.iter().map(|(_, runs)| runs.len()).max().unwrap_or(0);
    let _ = writeln!(
        text,
        "\nMedians of {runs} runs each, in turn. *Synced*: with what it takes to write a cache of the client's own and to sync the copy. The \
         best other is the best pair of one client other than sprat. What is set, beside no encryption, no limits and no discovery:\n"
    );
    for client in Client::ALL {
        let plays = played.iter().any(|(pair, _)| pair.seeder == client || pair.downloader == client);
        if let Some(settings) = client.settings().filter(|_| plays) {
            let _ = writeln!(text, "- {client}: {settings}.");
        }
    }
    text
}

/// The median of a figure.
fn of(runs: &[Option<Run>], figure: impl Fn(&Run) -> f64) -> Option<f64> {
    median(runs.iter().flatten().map(figure))
}

/// The least of a figure among the pairs of other people's clients that are the same at both ends.
fn best(played: &[(Pair, Vec<Option<Run>>)], figure: impl Fn(&Run) -> f64) -> Option<f64> {
    let others = played.iter().filter(|(pair, _)| pair.is_of_others());
    others.filter_map(|(_, runs)| of(runs, &figure)).reduce(f64::min)
}

fn floor(played: &[(Pair, Vec<Option<Run>>)], figure: impl Fn(&Run) -> f64) -> Option<f64> {
    let floor = played.iter().find(|(pair, _)| pair.downloader == Client::Floor);
    floor.and_then(|(_, runs)| of(runs, figure))
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seeder == self.downloader {
            return write!(f, "{}", self.seeder);
        }
        write!(f, "{} → {}", self.seeder, self.downloader)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.size >> 20;
        let size = if mib.is_multiple_of(1024) { format!("{} GiB", mib >> 10) } else { format!("{mib} MiB") };
        match self.files {
            None => write!(f, "a file of {size}"),
            Some(files) => write!(f, "{files} files, {size}"),
        }
    }
}
