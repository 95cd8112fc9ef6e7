//! The results as Markdown.

use std::fmt::Write as _;

use crate::figures::quantile;
use crate::scenario::{Contender, Incident, Kind, Scenario};
use crate::swarm::Run;

/// A run on a machine that was busier is marked.
const BUSY: f64 = 0.6;

/// A figure: its name, the digits after its point, and how a run gives it.
type Column<'a> = (String, usize, Box<dyn Fn(&Run) -> Option<f64> + 'a>);

/// A table of one scenario. `None` among the runs: it failed.
pub(crate) fn table(
    scenario: &Scenario,
    played: &[(Contender, Vec<Option<Run>>)],
    efficiency: f64,
) -> String {
    let bounds = scenario.bounds();
    let mut text = format!("### {}\n\n{}.\n\n", scenario.name, scenario.describe());
    let _ = writeln!(
        text,
        "T_F {:.1} s, T_G {:.1} s; over this wire (η {efficiency:.3}) {:.1} s and {:.1} s.\n",
        bounds.fluid,
        bounds.granular,
        bounds.fluid / efficiency,
        bounds.granular / efficiency,
    );
    let columns = columns(scenario, efficiency);
    let heads: Vec<_> = columns.iter().map(|(head, ..)| head.as_str()).collect();
    let _ = writeln!(text, "| client | runs | {} | machine busy |", heads.join(" | "));
    let _ = writeln!(text, "| --- | ---: |{} ---: |", " ---: |".repeat(columns.len()));
    for (contender, runs) in played {
        let done: Vec<&Run> = runs.iter().flatten().collect();
        let _ = write!(text, "| {contender} | {} |", count(runs));
        for (_, digits, value) in &columns {
            let values = done.iter().map(|run| value(run));
            let _ = write!(text, " {} |", summary(values, *digits, 1.0));
        }
        let busy = summary(done.iter().map(|run| Some(run.load)), 0, 100.0);
        let mark = if done.iter().any(|run| run.load > BUSY) { " (!)" } else { "" };
        let _ = writeln!(text, " {busy} %{mark} |");
    }
    for (contender, runs) in played {
        let damaged: usize = runs.iter().flatten().map(|run| run.damaged).sum();
        if damaged > 0 {
            let _ = writeln!(text, "\n**{contender}: {damaged} copies differ from the payload.**");
        }
        let refused = runs.iter().flatten().filter(|run| run.neighbours_refused > 0).count();
        if refused > 0 {
            let _ = writeln!(
                text,
                "\n**{contender}: in {refused} runs the kernel's table of neighbours was full (net.ipv4.neigh.default.gc_thresh3).**"
            );
        }
    }
    text
}

/// Which figures matter.
fn columns(scenario: &Scenario, efficiency: f64) -> Vec<Column<'_>> {
    let bounds = scenario.bounds();
    let mut columns: Vec<Column<'_>> = vec![
        ("last, s".into(), 1, Box::new(|run: &Run| run.finished(1.0))),
        ("T_F / last".into(), 2, Box::new(move |run: &Run| Some(bounds.fluid / run.finished(1.0)?))),
        ("E_F".into(), 3, Box::new(move |run: &Run| Some(bounds.fluid / efficiency / run.finished(1.0)?))),
        ("E_G".into(), 3, Box::new(move |run: &Run| Some(bounds.granular / efficiency / run.finished(1.0)?))),
        ("median, s".into(), 1, Box::new(|run: &Run| run.finished(0.5))),
        ("first, s".into(), 1, Box::new(|run: &Run| run.finished(0.0))),
    ];
    let classes = classes(scenario, efficiency);
    if let [_, .., (fastest, _)] = classes[..] {
        for (up, reference) in classes.iter().rev().copied() {
            let median = move |run: &Run| Some(run.median_of(|outcome| outcome.up == up)? / reference);
            let head = format!("{} Mbit/s / tit-for-tat's {reference:.1} s", up / 1_000_000);
            columns.push((head, 2, Box::new(median)));
        }
        columns.push(("rho of give and take".into(), 2, Box::new(Run::give_and_take)));
        let ratio = move |run: &Run| run.sent_for_received(fastest);
        columns.push(("up / down of the fastest".into(), 2, Box::new(ratio)));
    } else {
        columns.push(("CoV".into(), 3, Box::new(Run::variation)));
    }
    if !scenario.leave {
        let share = |run: &Run| run.use_of_uplinks(scenario.seed_up);
        columns.push(("uplinks used, 10–90 %".into(), 3, Box::new(share)));
    }
    if scenario.has_riders() {
        let in_leech_phase = |run: &Run| run.riders_in_leech_phase(scenario.size);
        columns.push(("riders / contributors, leech phase".into(), 1, Box::new(in_leech_phase)));
        columns.push(("the same in the end".into(), 2, Box::new(Run::riders_in_the_end)));
    }
    match scenario.incident {
        Some(Incident::Leaves { .. }) => {
            let copies = |run: &Run| run.seed_copies(scenario.size, None);
            columns.push(("copies sent by the seeder".into(), 2, Box::new(copies)));
            let done =
                |run: &Run| Some(run.leechers.iter().filter(|one| one.finished.is_some()).count() as f64);
            columns.push(("leechers done".into(), 0, Box::new(done)));
        }
        Some(Incident::Slows { .. }) => {
            let after = |run: &Run| Some(run.finished(1.0)? - run.incident?);
            columns.push(("last after the seeder slowed, s".into(), 1, Box::new(after)));
            let percent = |share| move |run: &Run| Some(100.0 * run.last_hundredth(share)?);
            columns.push(("last 1 % of the bytes, % of the time".into(), 1, Box::new(percent(0.5))));
            columns.push(("worst of it".into(), 1, Box::new(percent(1.0))));
        }
        None => {
            let copies = |run: &Run| run.seed_copies(scenario.size, run.finished(1.0));
            columns.push(("copies sent by the seeder".into(), 2, Box::new(copies)));
        }
    }
    if scenario.mixed {
        for (kind, whose) in [(Kind::Contender, "sprat's"), (Kind::Other, "the others'")] {
            let median = move |run: &Run| run.median_of(|outcome| outcome.kind == kind);
            columns.push((format!("{whose} median, s"), 1, Box::new(median)));
            let last = move |run: &Run| run.last_of(|outcome| outcome.kind == kind);
            columns.push((format!("{whose} last, s"), 1, Box::new(last)));
        }
    }
    columns
}

/// The uplinks that there are, slowest first, each with when its class is done in an ideal tit-for-tat over this wire.
fn classes(scenario: &Scenario, efficiency: f64) -> Vec<(u64, f64)> {
    let contributors = scenario.leechers.iter().filter(|leecher| leecher.kind != Kind::Rider);
    let mut classes: Vec<_> = contributors
        .zip(scenario.tit_for_tat())
        .map(|(leecher, time)| (leecher.up, time / efficiency))
        .collect();
    classes.sort_by_key(|(up, _)| *up);
    classes.dedup_by_key(|(up, _)| *up);
    classes
}

fn count(runs: &[Option<Run>]) -> String {
    let failed = runs.iter().filter(|run| run.is_none()).count();
    if failed == 0 { runs.len().to_string() } else { format!("{}, {failed} failed", runs.len()) }
}

/// Median and range; a run that does not give the figure counts as the worst.
fn summary(values: impl Iterator<Item = Option<f64>>, digits: usize, factor: f64) -> String {
    let mut values: Vec<f64> =
        values.map(|value| value.map_or(f64::INFINITY, |value| value * factor)).collect();
    let show = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.digits$}"));
    let median = show(quantile(&mut values, 0.5));
    match (values.first(), values.last()) {
        (Some(least), Some(most)) if least != most => {
            let finite = |value: f64| value.is_finite().then_some(value);
            format!("{median} ({}..{})", show(finite(*least)), show(finite(*most)))
        }
        _ => median,
    }
}
