//! 7. Three that keep a seed busy (Adamsky et al. 2014): fast, hungry for ever, and new every few seconds.

use std::time::Duration;

use super::super::Behaviour;
use super::super::behaviour::{Claims, Rejoins};
use super::super::scenario::{MBIT, Scenario};
use super::measure::{honest, middle, took};
use super::{Mark, Row, Setup};

/// A swarm of 32 with a seed, in which the last `attackers` attack.
pub(super) fn attacked(seed: u64, attackers: usize, pieces: u32, every: Duration) -> Scenario {
    let mut scenario = Scenario::flash_crowd(seed, 31, pieces, 256 << 10, 4 * MBIT);
    let everybody: Vec<usize> = (0..scenario.nodes.len()).collect();
    let first = scenario.nodes.len() - 3;
    if attackers == 0 {
        scenario.nodes.truncate(first);
        return scenario;
    }
    for node in &mut scenario.nodes[first..] {
        let rejoins = Some(Rejoins { every, forgets: true });
        node.behaviour = Behaviour { claims: Claims::Nothing, rejoins, ..Behaviour::free_rider() };
        node.knows = everybody[..first].to_vec();
    }
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let pieces = 256;
    let calm = setup.runs(|seed| attacked(seed, 0, pieces, Duration::from_secs(10)));
    let mut rows = Vec::new();
    for &every in setup.size(&[10, 60][..], &[10]) {
        let runs = setup.runs(|seed| attacked(seed, 3, pieces, Duration::from_secs(every)));
        rows.push(Row {
            metric: format!("new every {every} s: honest peers, slower by"),
            mark: Mark::AtMost(1.25, 1.10),
            values: (runs.iter().zip(&calm))
                .map(|(with, without)| middle(honest(with).map(took)) / middle(honest(without).map(took)))
                .collect(),
        });
    }
    rows
}
