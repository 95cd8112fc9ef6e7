//! 4. Downloaders that give nothing, among those who do.

use client::torrent::{Ablation, Stay};

use super::super::Behaviour;
use super::super::report::Report;
use super::super::scenario::{MBIT, Scenario};
use super::super::world::Way;
use super::measure::{honest, leech_phase, mean, middle, outlaws, slots, took, traffic_by};
use super::{Mark, Row, Setup};

const PEERS: usize = 40;
const RATE: u64 = 4 * MBIT;

/// `percent` of forty downloaders are free riders.
pub(super) fn free_riders(
    seed: u64,
    percent: usize,
    pieces: u32,
    stay: bool,
    ablation: Ablation,
) -> Scenario {
    let mut scenario = Scenario::flash_crowd(seed, PEERS, pieces, 256 << 10, RATE);
    let cheats = PEERS * percent / 100;
    for (number, node) in scenario.nodes[1..].iter_mut().enumerate() {
        node.ablation = ablation;
        if !stay {
            node.stay = Stay::Leave { linger: true };
        }
        // Spread over those who join early and late.
        if (number + 1) * cheats / PEERS > number * cheats / PEERS {
            node.behaviour = Behaviour::free_rider();
            node.class = 1;
        }
    }
    scenario.waits_for_all = true;
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    // 134 s: a dozen rounds of the choker, or the free first tastes are all there is to see.
    let pieces = 256;
    let run = |percent, stay, ablation| setup.runs(|seed| free_riders(seed, percent, pieces, stay, ablation));
    let mut rows = Vec::new();
    for stay in [false, true] {
        let alone = run(0, stay, Ablation::default());
        for &percent in setup.size(&[10, 20, 30, 50][..], &[20]) {
            let runs = run(percent, stay, Ablation::default());
            let name = format!("{percent} %, {}", if stay { "stay" } else { "leave" });
            rows.extend(self::rows(&name, &runs, &alone));
        }
    }
    let off = run(20, false, Ablation { no_choker: true, ..Ablation::default() });
    rows.push(Row::of(
        "ablation: 20 %, choker off, R in the leech phase",
        Mark::AtMost(2.0, 1.2),
        &off,
        advantage,
    ));
    rows
}

fn rows(name: &str, runs: &[Report], alone: &[Report]) -> Vec<Row> {
    let mut rows = vec![
        Row::of(format!("{name}: R in the leech phase"), Mark::AtLeast(4.0, 8.0), runs, advantage),
        Row::of(format!("{name}: R by finishing times"), Mark::None, runs, |run| {
            mean(outlaws(run).map(took)) / middle(honest(run).map(took))
        }),
        Row::of(
            format!("{name}: contributors over F / (u + u_s / N_c)"),
            Mark::AtMost(1.12, 1.08),
            runs,
            |run| {
                let contributors = honest(run).count() as f64;
                let ideal = total(run) / (RATE as f64 * (1.0 + 1.0 / contributors));
                middle(honest(run).map(took)) / ideal
            },
        ),
        Row::of(format!("{name}: the last contributor over their median"), Mark::None, runs, |run| {
            honest(run).map(took).fold(0.0, f64::max) / middle(honest(run).map(took))
        }),
        Row {
            metric: format!("{name}: contributors, slower than without them by"),
            mark: Mark::None,
            values: (runs.iter().zip(alone))
                .map(|(with, without)| middle(honest(with).map(took)) / middle(honest(without).map(took)))
                .collect(),
        },
        Row::of(format!("{name}: slots that downloaders give to cheats, %"), Mark::None, runs, |run| {
            let until = leech_phase(run);
            let [own, all] = run
                .friends
                .iter()
                .take(until)
                .fold([0.0; 2], |sum, slots| [0, 1].map(|kind| sum[kind] + f64::from(slots[kind])));
            100.0 * (1.0 - own / all)
        }),
        Row::of(format!("{name}: slots that a node gives"), Mark::None, runs, slots),
        Row::of(format!("{name}: leaked, % of contributors' uplink"), Mark::AtMost(12.0, 6.0), runs, leaked),
    ];
    // Together these come to what a cheat has, which over what a contributor has is 1 / R.
    rows.extend(Way::ALL.map(|way| {
        let share = |run: &Report| 100.0 * gift(run, way) / total(run);
        Row::of(
            format!("{name}: a cheat has from {}, % of the payload", way.title()),
            Mark::None,
            runs,
            share,
        )
    }));
    rows
}

/// Bytes that a cheat has by this way when the leech phase ends.
fn gift(run: &Report, way: Way) -> f64 {
    let by_then = run.gifts.get(leech_phase(run)).or(run.gifts.last());
    by_then.map_or(0.0, |gifts| gifts[way as usize] as f64) / outlaws(run).count() as f64
}

/// What a run's downloaders have to get, in bytes.
fn total(run: &Report) -> f64 {
    honest(run).next().map_or(f64::NAN, |node| node.traffic.received as f64 - node.traffic.discarded as f64)
}

/// How many times as much the median contributor has as the mean cheat when the leech phase ends.
pub(super) fn advantage(run: &Report) -> f64 {
    let end = leech_phase(run);
    let received = |node| traffic_by(node, end)[1];
    middle(honest(run).map(received)) / mean(outlaws(run).map(received)).max(1.0)
}

/// Of the uplink of those who still lack something, what goes to cheats, in percent.
fn leaked(run: &Report) -> f64 {
    let could: f64 = honest(run).map(|node| node.up as f64 * took(node)).sum();
    100.0 * honest(run).map(|node| node.leaked as f64).sum::<f64>() / could
}
