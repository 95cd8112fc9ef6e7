//! 8. Peers that send bad blocks.

use super::super::report::{Outcome, Report};
use super::super::scenario::{MBIT, Scenario};
use super::measure::{honest, middle, took};
use super::{Mark, Row, Setup};

/// One in `one_in` of forty downloaders corrupts this share of what it sends.
pub(super) fn poisoned(seed: u64, pieces: u32, one_in: usize, share: f64, v2: bool) -> Scenario {
    let mut scenario = Scenario::flash_crowd(seed, 40, pieces, 256 << 10, 4 * MBIT);
    scenario.v2 = v2;
    for (id, node) in scenario.nodes.iter_mut().enumerate() {
        if id % one_in == 1 {
            node.poison = share;
        }
    }
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let pieces = setup.size(256, 128);
    let calm = setup.runs(|seed| poisoned(seed, pieces, usize::MAX, 0.0, false));
    let mut rows = Vec::new();
    let all = [
        (false, 10, 0.1),
        (true, 10, 0.1),
        (false, 20, 1.0),
        (false, 10, 0.01),
        (false, 10, 1.0),
        (false, 5, 0.1),
        (true, 10, 1.0),
    ];
    for &(v2, one_in, share) in setup.size(&all[..], &all[..2]) {
        let runs = setup.runs(|seed| poisoned(seed, pieces, one_in, share, v2));
        let version = if v2 { "v2" } else { "v1" };
        let name = format!("{version}, {} % of peers corrupt {} %", 100 / one_in, share * 100.0);
        let (unit, length) = if v2 { ("blocks", 16 << 10) } else { ("pieces", 256 << 10) };
        rows.push(Row::of(
            format!("{name}: {unit} lost for each ban"),
            if v2 { Mark::AtMost(1.0, 1.0) } else { Mark::AtMost(2.0, 1.0) },
            &runs,
            |run| {
                let spoilt: u64 = honest(run).map(|node| node.traffic.spoilt).sum();
                let bans = run.bans.iter().filter(|&&(by, _)| !run.nodes[by].outlaw).count();
                spoilt as f64 / f64::from(length) / bans.max(1) as f64
            },
        ));
        // More liars are met by each, and each costs a piece.
        let mark = if one_in < 10 { Mark::None } else { Mark::AtMost(2.0, 1.0) };
        rows.push(Row::of(format!("{name}: waste, % of F"), mark, &runs, |run| {
            let wasted: u64 = honest(run).map(|node| node.traffic.discarded + node.traffic.spoilt).sum();
            100.0 * wasted as f64 / run.useful as f64
        }));
        rows.push(Row::of(format!("{name}: of that, what came twice, % of F"), Mark::None, &runs, |run| {
            let twice: u64 = honest(run).map(|node| node.traffic.discarded).sum();
            100.0 * twice as f64 / run.useful as f64
        }));
        rows.push(Row::of(format!("{name}: honest peers banned"), Mark::AtMost(0.0, 0.0), &runs, false_bans));
        rows.push(Row {
            metric: format!("{name}: honest peers, slower by"),
            mark: Mark::AtMost(1.15, 1.08),
            values: (runs.iter().zip(&calm))
                .map(|(with, without)| middle(honest(with).map(took)) / middle(honest(without).map(took)))
                .collect(),
        });
        rows.push(Row::of(
            format!("{name}: swarms with all files correct"),
            Mark::AtLeast(1.0, 1.0),
            &runs,
            |run| f64::from(u8::from(run.outcome == Outcome::Finished)),
        ));
    }
    rows
}

fn false_bans(run: &Report) -> f64 {
    run.bans.iter().filter(|&&(_, banned)| !run.nodes[banned].outlaw).count() as f64
}
