//! Flash crowds: how near the limits a swarm comes.

use client::torrent::Ablation;
use harness::sim::report::{median, table};
use harness::sim::scenario::MBIT;
use harness::sim::{NodeSpec, Scenario, World, run_all};

/// Runs at a time: the machines that this is made for have two cores.
const JOBS: usize = 2;

#[test]
fn ten_peers_finish() {
    let report = World::new(Scenario::flash_crowd(7, 10, 64, 64 << 10, 512 << 10)).run();
    report.assert_sound();
    assert!(report.nodes.iter().all(|node| node.verified.is_all()));
    assert!(report.seed_copies < 3.0, "the seed sent {} copies", report.seed_copies);
}

/// swarm.md, experiment 1, with the numbers: 50 equal peers and an equal seed, 4 Mbit/s, 25 ms, 64 MiB in 256 pieces.
#[test]
fn fifty_equal_peers_finish_near_the_limit() {
    let scenarios: Vec<_> =
        (1..=3).map(|seed| Scenario::flash_crowd(seed, 50, 256, 256 << 10, 4 * MBIT)).collect();
    let runs = run_all(&scenarios, JOBS);
    runs.iter().for_each(harness::sim::Report::assert_sound);
    let table = table(&runs);
    let middle = |value: fn(&harness::sim::Report) -> f64| median(runs.iter().map(value)).unwrap_or(0.0);
    assert!(middle(|run| run.granular_efficiency().unwrap_or(0.0)) >= 0.85, "E_G\n{table}");
    assert!(middle(|run| run.utilisation) >= 0.90, "uplink use\n{table}");
    assert!(middle(|run| run.overhead) <= 0.01, "overhead\n{table}");
    assert!(middle(|run| run.wasted as f64 / run.useful as f64) <= 0.005, "waste\n{table}");
}

/// A fast line to forty slow ones: three slots would leave nine tenths of it unused.
#[test]
fn a_fast_seed_finds_out_how_many_slow_peers_it_takes_to_fill_its_uplink() {
    let slow = NodeSpec { down: Some(MBIT), ..NodeSpec::leecher(MBIT / 20) };
    let nodes = std::iter::once(NodeSpec::seed(40 * MBIT)).chain(std::iter::repeat_n(slow, 40)).collect();
    let report = World::new(Scenario::new(1, 256, 128 << 10, nodes)).run();
    report.assert_sound();
    assert!(report.fluid_efficiency() >= Some(0.6), "E_F = {:?}", report.fluid_efficiency());
}

/// Who picks at random finds the same pieces at the seed again and again.
#[test]
fn random_picking_costs_a_tenth_and_more() {
    let scenario = |seed, random_picker| {
        let mut scenario = Scenario::flash_crowd(seed, 50, 64, 256 << 10, 4 * MBIT);
        for node in &mut scenario.nodes {
            node.ablation = Ablation { random_picker, ..Ablation::default() };
        }
        scenario
    };
    let last = |random_picker| {
        let scenarios: Vec<_> = (1..=3).map(|seed| scenario(seed, random_picker)).collect();
        let runs = run_all(&scenarios, JOBS);
        runs.iter().for_each(harness::sim::Report::assert_sound);
        median(runs.iter().filter_map(|run| Some(run.last?.as_secs_f64()))).unwrap_or(0.0)
    };
    let (rarest, random) = (last(false), last(true));
    assert!(random >= 1.10 * rarest, "rarest first {rarest:.1} s, random {random:.1} s");
}
