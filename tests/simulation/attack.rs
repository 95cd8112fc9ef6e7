//! Those who send bad data.

use harness::sim::{Outcome, Scenario, World};

#[test]
fn a_poisoner_is_banned_and_nobody_else() {
    for (seed, share) in [(1, 1.0), (2, 0.5), (3, 0.05)] {
        let mut scenario = Scenario::flash_crowd(seed, 10, 64, 128 << 10, 512 << 10);
        scenario.nodes[4].poison = share;
        let report = World::new(scenario).run();
        report.assert_sound();
        assert!(!report.bans.is_empty(), "{share}: nobody banned it");
        assert!(report.bans.iter().all(|&(_, banned)| banned == 4), "{share}: {:?}", report.bans);
        assert!(report.wasted < report.useful / 5, "{share}: wasted {} of {}", report.wasted, report.useful);
    }
}

#[test]
fn in_a_v2_swarm_a_poisoner_wastes_a_block_of_each_that_it_lies_to() {
    let block = u64::from(torrent_format::BLOCK_LENGTH);
    // Who lies seldom has proved itself before, and may spoil two blocks of a piece.
    for (seed, share, most) in [(1, 1.0, 1), (2, 0.5, 1), (3, 0.05, 2), (4, 0.01, 2)] {
        let mut scenario = Scenario::flash_crowd(seed, 10, 64, 256 << 10, 512 << 10);
        scenario.v2 = true;
        scenario.nodes[4].poison = share;
        let report = World::new(scenario).run();
        report.assert_sound();
        assert!(!report.bans.is_empty(), "{share}: nobody banned it");
        assert!(report.bans.iter().all(|&(_, banned)| banned == 4), "{share}: {:?}", report.bans);
        let spoilt: u64 = report.nodes.iter().map(|node| node.traffic.spoilt).sum();
        let wasted = spoilt.div_ceil(block);
        assert!(wasted <= most * report.bans.len() as u64, "{share}: wasted {wasted} blocks");
    }
}

#[test]
fn a_swarm_with_nothing_but_a_poisoned_copy_takes_no_piece_of_it() {
    let mut scenario = Scenario::flash_crowd(1, 3, 16, 64 << 10, 512 << 10);
    scenario.nodes[0].poison = 1.0;
    let report = World::new(scenario).run();
    assert_eq!(report.outcome, Outcome::Stalled { lacking: vec![(1, 16), (2, 16), (3, 16)] });
    assert_eq!(report.violation_count, 0, "{:?}", report.violations);
    assert_eq!(report.bans.len(), 3);
}
