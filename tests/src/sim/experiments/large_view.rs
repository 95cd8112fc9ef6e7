//! 5. Free riders that connect to everybody: a taste from each neighbour must not add up to a meal.

use std::time::Duration;

use super::super::Behaviour;
use super::super::behaviour::{Claims, Rejoins};
use super::super::report::Report;
use super::super::scenario::{MBIT, Scenario};
use super::free_riders::advantage;
use super::{Mark, Row, Setup};

const DEGREE: usize = 50;
const RATE: u64 = 4 * MBIT;

/// One in `one_in` downloaders connects to all others and behaves like this.
pub(super) fn large_view(
    seed: u64,
    peers: usize,
    pieces: u32,
    one_in: usize,
    behaviour: Behaviour,
) -> Scenario {
    let mut scenario = Scenario::flash_crowd(seed, peers, pieces, 256 << 10, RATE);
    let everybody: Vec<usize> = (0..=peers).collect();
    for (id, node) in scenario.nodes.iter_mut().enumerate() {
        node.max_peers = DEGREE;
        if id > 0 && id % one_in == 0 {
            node.behaviour = behaviour;
            // It would dial up to a part of its places only.
            node.max_peers = 2 * peers;
            node.knows = everybody.iter().copied().filter(|&other| other != id).collect();
        }
    }
    scenario.checked = peers <= 200;
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let (peers, pieces) = setup.size((300, 256), (60, 256));
    let base = Behaviour::free_rider();
    let rejoins = Some(Rejoins { every: Duration::from_secs(30), forgets: false });
    let variants = [
        ("plain", base, 5),
        ("plain", base, 100.min(peers / 2)),
        ("plain, 40 %", base, 0),
        ("hides haves", Behaviour { claims: Claims::Nothing, ..base }, 5),
        ("fakes haves", Behaviour { claims: Claims::Half, ..base }, 5),
        ("rejoins", Behaviour { claims: Claims::Nothing, rejoins, ..base }, 5),
    ];
    let mut rows = Vec::new();
    for (name, behaviour, one_in) in variants {
        // Two in five: every second, and then some are honest again.
        let runs = setup.runs(|seed| {
            let mut scenario = large_view(seed, peers, pieces, one_in.max(2), behaviour);
            if one_in == 0 {
                for node in scenario.nodes.iter_mut().step_by(10) {
                    node.behaviour = Behaviour::default();
                }
            }
            scenario
        });
        let name = format!("{name}, 1 in {one_in}");
        rows.push(Row::of(
            format!("{name}: rate over the contributors' median"),
            Mark::AtMost(0.5, 0.3),
            &runs,
            |run| 1.0 / advantage(run),
        ));
        rows.push(Row::of(
            format!("{name}: most blocks from one peer for nothing"),
            Mark::AtMost(4.0, 4.0),
            &runs,
            most,
        ));
        rows.push(Row::of(
            format!("{name}: mean blocks from a peer that gave any"),
            Mark::None,
            &runs,
            |run| blocks(run).sum::<f64>() / blocks(run).count() as f64,
        ));
    }
    rows
}

fn blocks(run: &Report) -> impl Iterator<Item = f64> {
    run.unrequited.iter().map(|(_, _, bytes)| *bytes as f64 / f64::from(torrent_format::BLOCK_LENGTH))
}

fn most(run: &Report) -> f64 {
    blocks(run).fold(0.0, f64::max)
}
