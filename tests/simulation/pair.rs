//! Two parties.

use std::time::Duration;

use harness::sim::{Holding, NodeSpec, Outcome, Report, Scenario, World};

const RATE: u64 = 512 << 10;

/// 64 pieces of 64 KiB and a last one of 10,000 bytes, two nodes, no tracker: the second knows the first.
fn pair(first: Holding, second: Holding) -> Scenario {
    let node = NodeSpec::leecher(RATE);
    let nodes = vec![
        NodeSpec { holding: first, ..node.clone() },
        NodeSpec { holding: second, knows: vec![0], ..node },
    ];
    let mut scenario = Scenario::new(1, 64, 64 << 10, nodes);
    scenario.total += 10_000;
    scenario.tracker = false;
    scenario.tail = Duration::from_secs(300);
    scenario
}

fn run(scenario: Scenario) -> Report {
    let report = World::new(scenario).run();
    report.assert_sound();
    report
}

#[test]
fn a_seed_gives_all_and_no_byte_twice() {
    let scenario = pair(Holding::Everything, Holding::Nothing);
    let total = scenario.total;
    let report = run(scenario);
    assert!(report.nodes[1].verified.is_all());
    assert_eq!((report.nodes[0].traffic.sent, report.nodes[1].traffic.received), (total, total));
    assert_eq!((report.wasted, report.nodes[1].traffic.sent), (0, 0));
    assert!(report.fluid_efficiency() > Some(0.85), "E_F = {:?}", report.fluid_efficiency());
}

#[test]
fn two_halves_make_two_wholes() {
    let scenario = pair(Holding::Pieces(0..32), Holding::Pieces(32..65));
    let total = scenario.total;
    let half = 32 * u64::from(scenario.piece_length);
    let report = run(scenario);
    assert!(report.nodes.iter().all(|node| node.verified.is_all()));
    assert_eq!((report.nodes[0].traffic.sent, report.nodes[1].traffic.sent), (half, total - half));
    assert_eq!(report.wasted, 0);
}

#[test]
fn it_works_without_the_fast_extension() {
    for (first, second) in
        [(Holding::Everything, Holding::Nothing), (Holding::Pieces(0..40), Holding::Pieces(30..65))]
    {
        let mut scenario = pair(first, second);
        scenario.fast = false;
        assert_eq!(run(scenario).wasted, 0);
    }
}

#[test]
fn a_slow_downlink_is_filled_and_not_flooded() {
    let mut scenario = pair(Holding::Everything, Holding::Nothing);
    scenario.nodes[1].down = Some(RATE / 8);
    let report = run(scenario);
    assert!(report.fluid_efficiency() > Some(0.85), "E_F = {:?}", report.fluid_efficiency());
    assert_eq!(report.wasted, 0);
}

#[test]
fn a_long_path_is_filled() {
    let mut scenario = pair(Holding::Everything, Holding::Nothing);
    for node in &mut scenario.nodes {
        node.latency = Duration::from_millis(150);
        node.up = 4 << 20;
    }
    scenario.total *= 16;
    let report = run(scenario);
    // 64 MiB over 4 MiB/s and a round trip of 600 ms: 154 blocks under way.
    assert!(report.fluid_efficiency() > Some(0.7), "E_F = {:?}", report.fluid_efficiency());
}

#[test]
fn a_magnet_becomes_a_copy() {
    let node = NodeSpec::leecher(RATE);
    let nodes = vec![
        NodeSpec { holding: Holding::Everything, ..node.clone() },
        NodeSpec { holding: Holding::Pieces(0..1000), ..node.clone() },
        NodeSpec { holding: Holding::Magnet, knows: vec![0, 1], ..node },
    ];
    // An info dictionary of 40 KB: three parts. In v2 a piece layer of 62 KB: four.
    let mut scenario = Scenario::new(1, 2000, 16 << 10, nodes);
    scenario.tracker = false;
    for v2 in [false, true] {
        let report = run(Scenario { v2, ..scenario.clone() });
        assert!(report.nodes[2].verified.is_all());
    }
}

#[test]
fn what_nobody_has_is_reported_and_not_waited_for() {
    let report = World::new(pair(Holding::Pieces(0..40), Holding::Pieces(10..50))).run();
    assert_eq!(report.outcome, Outcome::Starved { held: 50, lacking: vec![(0, 15), (1, 15)] });
    assert_eq!(report.violation_count, 0, "{:?}", report.violations);
    assert!(report.nodes.iter().all(|node| node.verified.count() == 50));
}

#[test]
fn parties_that_never_meet_are_a_stall() {
    let mut scenario = pair(Holding::Everything, Holding::Nothing);
    scenario.nodes[1].knows.clear();
    let report = World::new(scenario).run();
    assert_eq!(report.outcome, Outcome::Stalled { lacking: vec![(1, 65)] });
}
