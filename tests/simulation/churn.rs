//! Those who leave.

use std::time::Duration;

use client::torrent::Stay;
use harness::sim::{Leaving, Outcome, Scenario, World, run_all};

#[test]
fn the_seed_may_leave_after_one_copy() {
    for seed in 1..=5 {
        let mut scenario = Scenario::flash_crowd(seed, 12, 64, 64 << 10, 512 << 10);
        scenario.nodes[0].leaving = Leaving::OnceSpread;
        let report = World::new(scenario).run();
        report.assert_sound();
        let gone = report.nodes[0].gone.expect("the seed has left");
        // It leaves once it can have heard, and says goodbye to the tracker: three messages.
        let heard = |finished| finished + Duration::from_millis(100) > gone;
        assert!(
            report.nodes[1..].iter().all(|node| node.finished.is_some_and(heard)),
            "seed {seed}: it left too late"
        );
    }
}

#[test]
fn a_swarm_whose_members_leave_when_they_are_done_still_serves_the_last() {
    let mut scenario = Scenario::flash_crowd(3, 12, 64, 64 << 10, 512 << 10);
    for node in &mut scenario.nodes[1..] {
        node.stay = Stay::Leave { linger: true };
    }
    scenario.tail = Duration::from_secs(60);
    let report = World::new(scenario).run();
    report.assert_sound();
    assert!(report.nodes[1..].iter().all(|node| node.verified.is_all() && node.gone.is_some()));
}

#[test]
fn crashes_delay_nobody_for_long() {
    let calm = Scenario::flash_crowd(5, 12, 64, 64 << 10, 512 << 10);
    let mut stormy = calm.clone();
    for (id, seconds) in [(2, 3), (5, 5), (7, 6), (11, 7)] {
        stormy.nodes[id].leaving = Leaving::CrashAt(Duration::from_secs(seconds));
    }
    let runs = run_all(&[calm, stormy], 2);
    runs[0].assert_sound();
    assert_eq!(
        (&runs[1].outcome, runs[1].violation_count),
        (&Outcome::Finished, 0),
        "{:?}",
        runs[1].violations
    );
    let last = |run: &harness::sim::Report| {
        run.nodes.iter().filter_map(|node| node.finished).max().unwrap_or_default()
    };
    assert!(
        last(&runs[1]) < last(&runs[0]) * 3 / 2,
        "{:?}, with crashes {:?}",
        last(&runs[0]),
        last(&runs[1])
    );
}

#[test]
fn a_late_joiner_is_served() {
    let mut scenario = Scenario::flash_crowd(9, 8, 64, 64 << 10, 512 << 10);
    scenario.nodes[3].join = Duration::from_secs(100);
    let report = World::new(scenario).run();
    report.assert_sound();
    let took = report.nodes[3].finished.expect("it finished") - Duration::from_secs(100);
    // 4 MiB from eight uplinks of 512 KiB/s; a choke round may pass before the first unchoke.
    assert!(took < Duration::from_secs(12), "{took:?}");
}
