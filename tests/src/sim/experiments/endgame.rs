//! 10. The last percent, with all well and with a source that goes bad just then.

use client::torrent::Ablation;

use super::super::report::{NodeReport, Report};
use super::super::scenario::{Fault, MBIT, NodeSpec, Scenario, Trouble};
use super::measure::{honest, mean};
use super::{Mark, Row, Setup};

/// Twenty equal downloaders and two seeds, the second of which goes bad, if at all, when 98 % of all bytes are there.
pub(super) fn ending(seed: u64, pieces: u32, trouble: Option<Trouble>, ablation: Ablation) -> Scenario {
    let mut scenario = Scenario::flash_crowd(seed, 20, pieces, 256 << 10, 4 * MBIT);
    scenario.nodes.push(NodeSpec::seed(4 * MBIT));
    for node in &mut scenario.nodes {
        node.ablation = ablation;
    }
    let node = scenario.nodes.len() - 1;
    scenario.fault = trouble.map(|trouble| Fault { node, at: 0.98, trouble });
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let pieces = setup.size(256, 128);
    let run = |trouble, ablation| setup.runs(|seed| ending(seed, pieces, trouble, ablation));
    let calm = run(None, Ablation::default());
    let mut rows = vec![
        Row::of("all well: time for the last 1 % of bytes, %", Mark::AtMost(2.0, 1.5), &calm, last_percent),
        Row::of("all well: duplicates, % of F", Mark::AtMost(0.5, 0.2), &calm, duplicates),
    ];
    for (name, trouble) in
        [("source at 1 %", Trouble::Throttled(0.01)), ("source silent", Trouble::BlackHole)]
    {
        let runs = run(Some(trouble), Ablation::default());
        rows.push(Row::of(
            format!("{name}: time for the last 1 % of bytes, %"),
            Mark::AtMost(5.0, 3.0),
            &runs,
            last_percent,
        ));
        rows.push(Row::of(format!("{name}: duplicates, % of F"), Mark::AtMost(0.5, 0.2), &runs, duplicates));
        rows.push(delay(format!("{name}: last finish later by, s"), Mark::AtMost(5.0, 2.0), &runs, &calm));
        let off =
            run(Some(trouble), Ablation { no_endgame: true, no_take_over: true, ..Ablation::default() });
        rows.push(delay(
            format!("ablation: {name}, no endgame: last finish later by, s"),
            Mark::None,
            &off,
            &calm,
        ));
    }
    rows
}

fn delay(metric: String, mark: Mark, runs: &[Report], calm: &[Report]) -> Row {
    let last = |run: &Report| run.last.map_or(f64::NAN, |last| last.as_secs_f64());
    Row { metric, mark, values: runs.iter().zip(calm).map(|(bad, good)| last(bad) - last(good)).collect() }
}

/// Of a downloader's time, the share in which its last hundredth came, on average.
fn last_percent(run: &Report) -> f64 {
    let share = |node: &NodeReport| {
        let (joined, nearly) = (node.joined?, node.nearly?);
        let finished = node.finished?;
        Some(100.0 * (finished - nearly).as_secs_f64() / (finished - joined).as_secs_f64())
    };
    mean(honest(run).map(|node| share(node).unwrap_or(f64::NAN)))
}

fn duplicates(run: &Report) -> f64 {
    100.0 * run.nodes.iter().map(|node| node.traffic.discarded).sum::<u64>() as f64 / run.useful as f64
}
