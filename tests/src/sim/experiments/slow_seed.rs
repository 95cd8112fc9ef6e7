//! 3. A seed with a quarter of everybody's uplink: what it sends twice is lost.

use client::torrent::Ablation;

use super::super::report::Report;
use super::super::scenario::{MBIT, Scenario};
use super::{Mark, Row, Setup};

/// The swarm of this experiment.
pub(super) fn slow_seed(seed: u64, peers: usize, ablation: Ablation) -> Scenario {
    let mut scenario = Scenario::flash_crowd(seed, peers, 64, 256 << 10, 4 * MBIT);
    scenario.nodes[0].up = MBIT;
    for node in &mut scenario.nodes {
        node.ablation = ablation;
    }
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let normal = setup.runs(|seed| slow_seed(seed, 30, Ablation::default()));
    let random = Ablation { random_picker: true, ..Ablation::default() };
    let random = setup.runs(|seed| slow_seed(seed, 30, random));
    let last = |run: &Report| run.last.unwrap_or_default().as_secs_f64();
    vec![
        Row::of("C1, normal seed", Mark::AtMost(1.10, 1.05), &normal, |run| {
            run.first_copy.unwrap_or(f64::NAN)
        }),
        Row::of("T_last / T_F", Mark::AtMost(1.10, 1.05), &normal, |run| {
            1.0 / run.fluid_efficiency().unwrap_or(f64::NAN)
        }),
        Row {
            metric: "ablation: T with random picks / with rarest first".into(),
            mark: Mark::AtLeast(1.10, 1.10),
            values: random.iter().zip(&normal).map(|(a, b)| last(a) / last(b)).collect(),
        },
    ]
}
