//! 3. A seed with a quarter of everybody's uplink: what it sends twice is lost.
//!
//! And the same seed saying that it has less (BEP 16).

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
    let super_seed = |mut scenario: Scenario| {
        scenario.nodes[0].super_seed = true;
        scenario
    };
    let shy = setup.runs(|seed| super_seed(slow_seed(seed, 30, Ablation::default())));
    // Where the seed is no bottleneck, saying less must cost nothing.
    let fast = |seed| {
        let mut scenario = slow_seed(seed, 30, Ablation::default());
        scenario.nodes[0].up = 16 * MBIT;
        scenario
    };
    let (fast_normal, fast_shy) = (setup.runs(fast), setup.runs(|seed| super_seed(fast(seed))));
    let last = |run: &Report| run.last.unwrap_or_default().as_secs_f64();
    vec![
        Row::of("C1, normal seed", Mark::AtMost(1.10, 1.05), &normal, |run| {
            run.first_copy.unwrap_or(f64::NAN)
        }),
        Row::of("T_last / T_F", Mark::AtMost(1.10, 1.05), &normal, |run| {
            1.0 / run.fluid_efficiency().unwrap_or(f64::NAN)
        }),
        Row::of("C1, super-seeding", Mark::AtMost(1.03, 1.01), &shy, |run| {
            run.first_copy.unwrap_or(f64::NAN)
        }),
        Row::of("T_last / T_F, super-seeding", Mark::AtMost(1.10, 1.05), &shy, |run| {
            1.0 / run.fluid_efficiency().unwrap_or(f64::NAN)
        }),
        Row {
            metric: "seed 4 times as fast as a peer: T super-seeding / normal".into(),
            mark: Mark::AtMost(1.03, 1.0),
            values: fast_shy.iter().zip(&fast_normal).map(|(a, b)| last(a) / last(b)).collect(),
        },
        Row {
            metric: "ablation: T with random picks / with rarest first".into(),
            mark: Mark::AtLeast(1.10, 1.10),
            values: random.iter().zip(&normal).map(|(a, b)| last(a) / last(b)).collect(),
        },
    ]
}
