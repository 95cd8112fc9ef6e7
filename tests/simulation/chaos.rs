//! Swarms that nobody would design: see `Scenario::chaos`. To look at one: `cargo run -p tests --bin sim -- chaos --seed N`.

use harness::sim::{Report, Scenario, run_all};

#[test]
fn whatever_happens_everybody_finishes_and_no_rule_is_broken() {
    let scenarios: Vec<_> = (0..200).map(Scenario::chaos).collect();
    let runs = run_all(&scenarios, 2);
    runs.iter().for_each(Report::assert_sound);
    // Or the scenarios have become too tame to mean anything.
    assert!(runs.iter().any(|run| run.wasted > 0) && runs.iter().any(|run| !run.bans.is_empty()));
}

#[test]
fn nor_in_v2_swarms() {
    let in_v2 = |seed| {
        let scenario = Scenario::chaos(seed);
        Scenario { v2: true, piece_length: scenario.piece_length.next_power_of_two(), ..scenario }
    };
    let scenarios: Vec<_> = (0..100).map(in_v2).collect();
    let runs = run_all(&scenarios, 2);
    runs.iter().for_each(Report::assert_sound);
    assert!(runs.iter().any(|run| !run.bans.is_empty()));
}
