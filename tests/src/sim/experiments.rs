//! The experiments that say how close swarms come to what is possible, and what cheating pays: scenario, measure and marks of each.
//!
//! Each yields [`Row`]s: a measure, the mark that it must reach, and its value for every seed. `docs/swarm.md` says what they mean and
//! where the marks come from.

mod arrivals;
mod classes;
mod crowd;
mod departures;
mod endgame;
mod free_riders;
mod joiner;
mod large_view;
pub mod measure;
mod overhead;
mod overlay;
mod plots;
mod poison;
mod seed_attack;
mod slow_seed;
mod strategies;

use std::fmt::Write as _;

pub use overlay::ENOUGH;
pub use plots::plots;

use super::report::{Outcome, Report, median};
use super::run_all;
use super::scenario::Scenario;

/// How an experiment is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many seeds, from 1.
    pub seeds: u64,
    /// Smaller swarms and files, for a quick look: the marks stay.
    pub small: bool,
    /// Runs at a time.
    pub jobs: usize,
}

/// An experiment of the table.
pub struct Experiment {
    /// Its number there.
    pub number: u32,
    /// What it is about.
    pub title: &'static str,
    /// Runs it.
    pub run: fn(&Setup) -> Vec<Row>,
}

/// All experiments, in order.
pub const ALL: [Experiment; 15] = [
    Experiment { number: 1, title: "flash crowd, equal uplinks", run: crowd::run },
    Experiment { number: 2, title: "three classes of uplinks", run: classes::run },
    Experiment { number: 3, title: "slow seed", run: slow_seed::run },
    Experiment { number: 4, title: "free riders", run: free_riders::run },
    Experiment { number: 5, title: "large view", run: large_view::run },
    Experiment { number: 6, title: "strategic clients", run: strategies::run },
    Experiment { number: 7, title: "attack on the seed's choker", run: seed_attack::run },
    Experiment { number: 8, title: "poison", run: poison::run },
    Experiment { number: 9, title: "the seed leaves", run: departures::run },
    Experiment { number: 10, title: "endgame", run: endgame::run },
    Experiment { number: 11, title: "a newcomer in a steady swarm", run: joiner::run },
    Experiment { number: 12, title: "arrivals one by one", run: arrivals::run },
    Experiment { number: 13, title: "the tracker's graph", run: overlay::run_tracker },
    Experiment { number: 14, title: "PEX after the tracker's death", run: overlay::run_pex },
    Experiment { number: 16, title: "overhead", run: overhead::run },
];

/// Which way is good, and what is good enough.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mark {
    /// At least the first; the second is the aim.
    AtLeast(f64, f64),
    /// At most the first; the second is the aim.
    AtMost(f64, f64),
    /// Only reported.
    None,
}

/// A measure over all seeds.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// What was measured.
    pub metric: String,
    /// What it must come to.
    pub mark: Mark,
    /// One value a seed; not a number: it could not be measured there, which is a failure.
    pub values: Vec<f64>,
}

/// How a row stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// The median misses the mark.
    Fails,
    /// The median reaches it, the worst seed does not.
    Mostly,
    /// Every seed reaches it.
    Passes,
    /// Every seed reaches the aim.
    Excels,
    /// Nothing to reach.
    Reported,
}

impl Row {
    /// A measure of each of these runs.
    pub fn of<'a>(
        metric: impl Into<String>,
        mark: Mark,
        runs: impl IntoIterator<Item = &'a Report>,
        value: impl Fn(&Report) -> f64,
    ) -> Self {
        Self { metric: metric.into(), mark, values: runs.into_iter().map(value).collect() }
    }

    /// The middle value; a value that could not be measured is worse than any.
    pub fn median(&self) -> f64 {
        median(self.ranked()).unwrap_or(f64::NAN)
    }

    /// The worst value.
    pub fn worst(&self) -> f64 {
        self.ranked().last().copied().unwrap_or(f64::NAN)
    }

    /// From the best to the worst.
    fn ranked(&self) -> Vec<f64> {
        let mut values = self.values.clone();
        let key = |value: &f64| match self.mark {
            _ if value.is_nan() => f64::INFINITY,
            Mark::AtLeast(..) => -value,
            Mark::AtMost(..) | Mark::None => *value,
        };
        values.sort_by(|a, b| key(a).total_cmp(&key(b)));
        values
    }

    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        let reaches = |value: f64, aim: bool| match self.mark {
            Mark::AtLeast(pass, stretch) => value >= if aim { stretch } else { pass },
            Mark::AtMost(pass, stretch) => value <= if aim { stretch } else { pass },
            Mark::None => true,
        };
        let ranked = self.ranked();
        let middle = ranked.get(ranked.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
        match self.mark {
            Mark::None => Verdict::Reported,
            _ if !reaches(middle, false) => Verdict::Fails,
            _ if !reaches(self.worst(), false) => Verdict::Mostly,
            _ if !reaches(self.worst(), true) => Verdict::Passes,
            _ => Verdict::Excels,
        }
    }
}

/// A Markdown table of an experiment's rows, with its heading.
pub fn table(experiment: &Experiment, rows: &[Row]) -> String {
    let seeds = rows.iter().map(|row| row.values.len()).max().unwrap_or(0);
    let mut text = format!("### {}. {} ({seeds} seeds)\n\n", experiment.number, experiment.title);
    text.push_str("| metric | pass | stretch | median | worst | verdict |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let (pass, stretch) = match row.mark {
            Mark::AtLeast(pass, stretch) => (format!("≥ {}", number(pass)), format!("≥ {}", number(stretch))),
            Mark::AtMost(pass, stretch) => (format!("≤ {}", number(pass)), format!("≤ {}", number(stretch))),
            Mark::None => ("".into(), "".into()),
        };
        let verdict = match row.verdict() {
            Verdict::Fails => "**fails**",
            Verdict::Mostly => "passes, worst does not",
            Verdict::Passes => "passes",
            Verdict::Excels => "stretch",
            Verdict::Reported => "",
        };
        let (median, worst) = (number(row.median()), number(row.worst()));
        let _ = writeln!(text, "| {} | {pass} | {stretch} | {median} | {worst} | {verdict} |", row.metric);
    }
    text.push('\n');
    text
}

/// Three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "–".into(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

impl Setup {
    /// Runs this scenario with every seed. What a run must never do ends it: see [`sound`].
    fn runs(&self, scenario: impl Fn(u64) -> Scenario) -> Vec<Report> {
        let scenarios: Vec<_> = (1..=self.seeds).map(scenario).collect();
        let runs = run_all(&scenarios, self.jobs);
        runs.iter().for_each(sound);
        runs
    }

    /// One of two sizes.
    fn size<T>(&self, full: T, small: T) -> T {
        if self.small { small } else { full }
    }
}

/// Numbers from a run in which a rule was broken, or that stalled, mean nothing.
///
/// # Panics
/// See above.
fn sound(run: &Report) {
    let violations: Vec<_> = run.violations.iter().map(ToString::to_string).collect();
    assert!(run.violation_count == 0, "seed {}: {}", run.seed, violations.join("\n"));
    assert!(!matches!(run.outcome, Outcome::Stalled { .. }), "seed {}: {:?}", run.seed, run.outcome);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(mark: Mark, values: &[f64]) -> Verdict {
        Row { metric: String::new(), mark, values: values.to_vec() }.verdict()
    }

    #[test]
    fn a_row_is_judged_by_its_median_and_its_worst_value() {
        let mark = Mark::AtLeast(0.9, 0.95);
        assert_eq!(verdict(mark, &[0.96, 0.97, 0.99]), Verdict::Excels);
        assert_eq!(verdict(mark, &[0.91, 0.97, 0.99]), Verdict::Passes);
        assert_eq!(verdict(mark, &[0.89, 0.97, 0.99]), Verdict::Mostly);
        assert_eq!(verdict(mark, &[0.89, 0.89, 0.99]), Verdict::Fails);
        assert_eq!(verdict(mark, &[0.97, f64::NAN, f64::NAN]), Verdict::Fails);
        assert_eq!(verdict(Mark::AtMost(2.0, 1.0), &[0.5, 0.9, 1.5]), Verdict::Passes);
        assert_eq!(verdict(Mark::None, &[1.0]), Verdict::Reported);
    }
}
