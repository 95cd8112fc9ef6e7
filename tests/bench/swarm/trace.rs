//! What happened in a run, a line a second.

use std::fmt::Write as _;

use crate::clients::Client;
use crate::scenario::Kind;
use crate::swarm::{Run, Sample};

/// Seconds between two lines of the groups.
const GROUP_STEP: f64 = 5.0;

/// For every second and every peer: kilobytes that it sent within it, and pieces that it has. Where a client does not say what it has,
/// it has 0 until it has all.
pub(crate) fn trace(run: &Run, piece_length: u32) -> String {
    let mut text = String::from("second | seeder sent | all sent, kB | each leecher: sent kB/pieces had\n");
    for (earlier, sample) in steps(&run.samples, 1.0) {
        let sent = sent(earlier, sample);
        let seeder = rate(earlier, sample, earlier.seeder.sent, sample.seeder.sent);
        let all = seeder + sent.iter().sum::<f64>();
        let _ = write!(text, "{:6.1} | {seeder:5.0} | {all:6.0} |", sample.at);
        for (sent, had) in sent.iter().zip(&sample.had) {
            let _ = write!(text, " {sent:5.0}/{:<4}", had / u64::from(piece_length));
        }
        text.push('\n');
    }
    for (number, outcome) in run.leechers.iter().enumerate() {
        let finished = outcome.finished.map_or("never".into(), |time| format!("{time:.2} s"));
        let mbit = outcome.up / 1_000_000;
        let _ = writeln!(text, "leecher {number}: {} of {mbit} Mbit/s: {finished}", outcome.client);
    }
    if let Some(incident) = run.incident {
        let _ = writeln!(text, "incident: {incident:.1} s");
    }
    text + &groups(run, piece_length)
}

/// The means of those who are alike, if not all are.
fn groups(run: &Run, piece_length: u32) -> String {
    let mut groups: Vec<((Client, Kind, u64), Vec<usize>)> = Vec::new();
    for (number, outcome) in run.leechers.iter().enumerate() {
        let key = (outcome.client, outcome.kind, outcome.up);
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, numbers)) => numbers.push(number),
            None => groups.push((key, vec![number])),
        }
    }
    if groups.len() == 1 {
        return String::new();
    }
    let mut text = String::from("second | means of a group: sent kB/pieces had\n");
    for (earlier, sample) in steps(&run.samples, GROUP_STEP) {
        let sent = sent(earlier, sample);
        let _ = write!(text, "{:6.1} |", sample.at);
        for ((client, kind, up), numbers) in &groups {
            let mean = |of: &dyn Fn(usize) -> f64| {
                numbers.iter().map(|number| of(*number)).sum::<f64>() / numbers.len() as f64
            };
            let (sent, had) = (mean(&|number| sent[number]), mean(&|number| sample.had[number] as f64));
            let who = if *kind == Kind::Rider { "riders".into() } else { client.to_string() };
            let pieces = had / f64::from(piece_length);
            let _ = write!(text, " {who} of {} Mbit/s {sent:5.0}/{pieces:<5.1} |", up / 1_000_000);
        }
        text.push('\n');
    }
    text
}

/// Pairs of samples so many seconds apart.
fn steps(samples: &[Sample], seconds: f64) -> Vec<(&Sample, &Sample)> {
    let mut steps = Vec::new();
    let Some(mut earlier) = samples.first() else { return steps };
    for sample in samples {
        // Samples come a little late, never early.
        if sample.at - earlier.at > seconds - 0.1 {
            steps.push((earlier, sample));
            earlier = sample;
        }
    }
    steps
}

/// What every leecher sent from one to the other, in kilobytes a second.
fn sent(earlier: &Sample, sample: &Sample) -> Vec<f64> {
    let leechers = earlier.leechers.iter().zip(&sample.leechers);
    leechers.map(|(then, now)| rate(earlier, sample, then.sent, now.sent)).collect()
}

fn rate(earlier: &Sample, sample: &Sample, then: u64, now: u64) -> f64 {
    (now - then) as f64 / 1000.0 / (sample.at - earlier.at)
}
