//! 1. One seed, many equal downloaders, all at once.

use client::torrent::Ablation;

use super::super::report::Report;
use super::super::scenario::Scenario;
use super::measure::{honest, middle, slots, took, variation};
use super::{Mark, Row, Setup};

const RATE: u64 = 512 << 10;
const PIECE: u32 = 256 << 10;

/// The swarm of this experiment, of any size.
pub(super) fn crowd(seed: u64, peers: usize, pieces: u32) -> Scenario {
    let mut scenario = Scenario::flash_crowd(seed, peers, pieces, PIECE, RATE);
    // The checker costs as much as everything else when it no longer fits into the caches.
    scenario.checked = peers <= 200;
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let (peers, pieces) = setup.size((1_000, 128), (100, 64));
    let runs = setup.runs(|seed| crowd(seed, peers, pieces));
    let mut rows = rows(&format!("N = {peers}, K = {pieces}"), &runs);
    if !setup.small {
        let huge = Setup { seeds: setup.seeds.min(1), ..*setup }.runs(|seed| crowd(seed, 10_000, pieces));
        rows.extend(self::rows(&format!("N = 10,000, K = {pieces}"), &huge));
        let ratio = |(huge, large): (&Report, &Report)| {
            huge.last.unwrap_or_default().as_secs_f64() / large.last.unwrap_or_default().as_secs_f64()
        };
        rows.push(Row {
            metric: "T(10,000) / T(1,000)".into(),
            mark: Mark::AtMost(1.06, 1.029),
            values: huge.iter().zip(&runs).map(ratio).collect(),
        });
    }
    // What the policies are worth here: a random picker must cost time.
    let random = setup.runs(|seed| {
        let mut scenario = crowd(seed, setup.size(200, 50), pieces);
        for node in &mut scenario.nodes {
            node.ablation = Ablation { random_picker: true, ..Ablation::default() };
        }
        scenario
    });
    let rarest = setup.runs(|seed| crowd(seed, setup.size(200, 50), pieces));
    let last = |run: &Report| run.last.unwrap_or_default().as_secs_f64();
    rows.push(Row {
        metric: "ablation: T with random picks / with rarest first".into(),
        mark: Mark::None,
        values: random.iter().zip(&rarest).map(|(a, b)| last(a) / last(b)).collect(),
    });
    rows
}

fn rows(name: &str, runs: &[Report]) -> Vec<Row> {
    let percent = |share: f64| share * 100.0;
    vec![
        Row::of(format!("{name}: E_G of the last"), Mark::AtLeast(0.92, 0.96), runs, |run| {
            run.granular_efficiency().unwrap_or(f64::NAN)
        }),
        Row::of(format!("{name}: E_G of the median"), Mark::None, runs, |run| {
            let limit = run.limits.map_or(f64::NAN, |limits| limits.1.as_secs_f64());
            limit / middle(honest(run).map(took))
        }),
        Row::of(format!("{name}: uplink use, 10–90 %"), Mark::AtLeast(0.93, 0.97), runs, |run| {
            run.utilisation
        }),
        Row::of(format!("{name}: CoV of finish"), Mark::AtMost(0.05, 0.05), runs, |run| {
            variation(honest(run).map(took))
        }),
        Row::of(format!("{name}: idle uplink, nobody wants anything, %"), Mark::None, runs, |run| {
            percent(run.idle.unwanted)
        }),
        Row::of(format!("{name}: idle uplink, all choked, %"), Mark::None, runs, |run| {
            percent(run.idle.choking)
        }),
        Row::of(format!("{name}: idle uplink, nothing asked, %"), Mark::None, runs, |run| {
            percent(run.idle.unasked)
        }),
        Row::of(format!("{name}: copies sent by the seed"), Mark::None, runs, |run| run.seed_copies),
        Row::of(format!("{name}: duplicates and waste, % of payload"), Mark::None, runs, |run| {
            percent(run.wasted as f64 / run.useful as f64)
        }),
        Row::of(format!("{name}: slots that a node gives"), Mark::None, runs, slots),
        Row::of(format!("{name}: chokes a node and minute"), Mark::None, runs, |run| run.chokes),
    ]
}
