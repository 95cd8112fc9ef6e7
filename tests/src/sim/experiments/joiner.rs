//! 11. One newcomer after another into a steady swarm: how soon it has something to trade, and trades.

use std::time::Duration;

use super::super::report::{NodeReport, Report};
use super::super::scenario::{Holding, MBIT, NodeSpec, Scenario};
use super::measure::quantile;
use super::{Mark, Row, Setup};

const RATE: u64 = 2 * MBIT;
const JOINERS: usize = 10;

/// How long the swarm trades before the first newcomer, and the time from one to the next: one at a time in the swarm's eyes.
const WARM_UP: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_secs(15);

/// Fifty peers that have a random half each and so much to go that nobody finishes meanwhile, a seed, and the newcomers.
pub(super) fn steady(seed: u64, peers: usize) -> Scenario {
    let pieces = 512;
    let mut scenario = Scenario::flash_crowd(seed, peers + JOINERS, pieces, 256 << 10, RATE);
    let mut rng = fastrand::Rng::with_seed(seed);
    let (old, new) = scenario.nodes[1..].split_at_mut(peers);
    for node in old {
        let start = rng.u32(..pieces / 2);
        node.holding = Holding::Pieces(start..start + pieces / 2);
    }
    for (number, node) in new.iter_mut().enumerate() {
        *node = NodeSpec { class: 1, join: WARM_UP + PAUSE * number as u32, ..node.clone() };
    }
    scenario.deadline = WARM_UP + PAUSE * JOINERS as u32 + Duration::from_secs(60);
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let runs = setup.runs(|seed| steady(seed, setup.size(50, 30)));
    let row = |title: &str, mark, share, moment: fn(&NodeReport) -> Option<Duration>| {
        Row::of(title, mark, &runs, |run| quantile(waits(run, moment), share))
    };
    vec![
        row("first verified piece, p50, s", Mark::AtMost(5.0, 3.0), 0.5, |node| node.first_piece),
        row("first verified piece, p95, s", Mark::AtMost(15.0, 10.0), 0.95, |node| node.first_piece),
        row("first reciprocated unchoke, p50, s", Mark::AtMost(20.0, 10.0), 0.5, |node| node.first_return),
        row("first reciprocated unchoke, p95, s", Mark::AtMost(45.0, 30.0), 0.95, |node| node.first_return),
    ]
}

/// Seconds from joining to this moment, for each newcomer; for ever if it never came.
fn waits(run: &Report, moment: fn(&NodeReport) -> Option<Duration>) -> Vec<f64> {
    let newcomers = run.nodes.iter().filter(|node| node.class == 1);
    newcomers
        .map(|node| match (node.joined, moment(node)) {
            (Some(joined), Some(at)) => at.saturating_sub(joined).as_secs_f64(),
            _ => f64::INFINITY,
        })
        .collect()
}
