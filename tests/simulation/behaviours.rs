//! Those who do not play by the rules: whatever they do, the others finish, break no rule, and punish nobody who only takes.

use std::time::Duration;

use client::torrent::Stay;
use harness::sim::behaviour::{Claims, Rejoins, Strategy};
use harness::sim::experiments::measure::{honest, middle, took};
use harness::sim::scenario::MBIT;
use harness::sim::{Behaviour, Report, Scenario, World};

/// Twelve downloaders, of which two behave like this.
fn with_two(seed: u64, behaviour: Behaviour) -> Scenario {
    let mut scenario = Scenario::flash_crowd(seed, 12, 64, 64 << 10, 512 << 10);
    for id in [4, 9] {
        scenario.nodes[id].behaviour = behaviour;
    }
    scenario
}

fn run(scenario: Scenario) -> Report {
    let report = World::new(scenario).run();
    report.assert_sound();
    assert!(report.bans.is_empty(), "{:?}", report.bans);
    report
}

/// Who falls behind among riders has nothing that others lack, and nothing to pay with: seeds are all it has, and there it must not wait behind those
/// who never gave, whether it is the first seed that is left or everybody who is done.
#[test]
fn nobody_who_gives_is_left_behind_among_riders() {
    for (seed, peers, one_in, stay) in
        [(6, 40, 2, Stay::Leave { linger: true }), (3, 20, 4, Stay::Seed { ratio: None, time: None })]
    {
        let mut scenario = Scenario::flash_crowd(seed, peers, 256, 256 << 10, 4 * MBIT);
        for (number, node) in scenario.nodes[1..].iter_mut().enumerate() {
            node.stay = stay;
            if number % one_in == one_in - 1 {
                node.behaviour = Behaviour::free_rider();
            }
        }
        scenario.waits_for_all = true;
        let report = World::new(scenario).run();
        report.assert_sound();
        let times: Vec<f64> = honest(&report).map(took).collect();
        let (last, median) = (times.iter().copied().fold(0.0, f64::max), middle(times));
        assert!(last < 1.2 * median, "one in {one_in} rides: {last} s where others took {median} s");
    }
}

#[test]
fn free_riders_send_nothing_and_are_not_banned_for_it() {
    let report = run(with_two(1, Behaviour::free_rider()));
    assert_eq!([4, 9].map(|id: usize| report.nodes[id].traffic.sent), [0, 0]);
    assert!(report.nodes.iter().filter(|node| !node.outlaw).all(|node| node.verified.is_all()));
}

#[test]
fn whoever_lies_about_what_it_has_or_comes_again_and_again_stops_nobody() {
    let every = Duration::from_secs(3);
    for (seed, claims, forgets) in [
        (1, Claims::Nothing, false),
        (2, Claims::Half, false),
        (3, Claims::Nothing, true),
        (4, Claims::True, false),
    ] {
        let rejoins = Some(Rejoins { every, forgets });
        let report = run(with_two(seed, Behaviour { claims, rejoins, ..Behaviour::free_rider() }));
        assert!(report.nodes.iter().filter(|node| !node.outlaw).all(|node| node.verified.is_all()));
    }
}

#[test]
fn the_silent_get_nothing() {
    let report = run(with_two(1, Behaviour { silent: true, ..Behaviour::default() }));
    assert_eq!([4, 9].map(|id: usize| report.nodes[id].traffic.received), [0, 0]);
}

#[test]
fn strategists_trade_and_finish() {
    for strategy in [Strategy::Tyrant, Strategy::Proportional] {
        let mut scenario = with_two(1, Behaviour { strategy, ..Behaviour::default() });
        scenario.waits_for_all = true;
        let report = run(scenario);
        for id in [4, 9] {
            let node = &report.nodes[id];
            assert!(node.verified.is_all() && node.traffic.sent > 0, "{strategy:?}: {:?}", node.traffic);
        }
    }
}

#[test]
fn cheats_replay_bit_for_bit() {
    let rejoins = Some(Rejoins { every: Duration::from_secs(2), forgets: true });
    for behaviour in [
        Behaviour { rejoins, claims: Claims::Half, ..Behaviour::free_rider() },
        Behaviour { strategy: Strategy::Tyrant, ..Behaviour::default() },
        Behaviour { strategy: Strategy::Proportional, ..Behaviour::default() },
    ] {
        let log = || World::new(with_two(7, behaviour)).run().log;
        assert_eq!(log(), log());
    }
}
