//! 2. Three classes of uplinks, 1 : 3 : 10.

use client::torrent::Stay;

use super::super::limits::{self, Peer};
use super::super::report::Report;
use super::super::scenario::{MBIT, NodeSpec, Scenario};
use super::measure::{honest, mean, middle, slots, spearman, took, traffic_by};
use super::{Mark, Row, Setup};

/// Uplinks of the classes, Mbit/s.
pub(super) const RATES: [u64; 3] = [1, 3, 10];
const SEED: u64 = 10;
const NAMES: [&str; 3] = ["slow", "middle", "fast"];

/// Equal parts of each class, and a seed as fast as the fastest.
pub(super) fn classes(seed: u64, each: usize, pieces: u32, stay: bool) -> Scenario {
    let crowd = Scenario::flash_crowd(seed, each * RATES.len(), pieces, 256 << 10, MBIT);
    let mut scenario = crowd;
    scenario.nodes[0].up = SEED * MBIT;
    for (number, node) in scenario.nodes[1..].iter_mut().enumerate() {
        // Of each class as many join early as late.
        let class = number % RATES.len();
        *node = NodeSpec { class: class as u8 + 1, up: RATES[class] * MBIT, ..node.clone() };
        if !stay {
            node.stay = Stay::Leave { linger: true };
        }
    }
    scenario.checked = each <= 50;
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    // Not smaller: a limit of 107 s is a dozen rounds of the choker.
    let (each, pieces) = (10, 256);
    let mut rows = Vec::new();
    for stay in [true, false] {
        let runs = setup.runs(|seed| classes(seed, each, pieces, stay));
        let name = format!("3 x {each}, K = {pieces}, {}", if stay { "stay" } else { "leave" });
        rows.extend(self::rows(&name, &runs, &classes(1, each, pieces, stay), stay));
    }
    if !setup.small {
        let seeds = Setup { seeds: setup.seeds.min(2), ..*setup };
        let runs = seeds.runs(|seed| classes(seed, 300, pieces, true));
        rows.extend(self::rows(
            &format!("3 x 300, K = {pieces}, stay"),
            &runs,
            &classes(1, 300, pieces, true),
            true,
        ));
    }
    rows
}

fn rows(name: &str, runs: &[Report], scenario: &Scenario, stay: bool) -> Vec<Row> {
    let peers: Vec<_> =
        scenario.nodes[1..].iter().map(|node| Peer { up: node.up, down: node.down }).collect();
    let ideal = limits::tit_for_tat(scenario.total, scenario.nodes[0].up, &peers, stay);
    let mut rows = Vec::new();
    for class in [3, 2, 1] {
        let of_class = || scenario.nodes[1..].iter().zip(&ideal).filter(|(node, _)| node.class == class);
        let ideal = mean(of_class().map(|(_, time)| time.as_secs_f64()));
        let title = NAMES[usize::from(class) - 1];
        rows.push(Row::of(
            format!("{name}: {title} class, median over TFT-fluid {ideal:.1} s"),
            Mark::AtMost(1.15, 1.08),
            runs,
            |run| middle(honest(run).filter(|node| node.class == class).map(took)) / ideal,
        ));
    }
    if stay {
        rows.push(Row::of(format!("{name}: T_last / T_F"), Mark::AtMost(1.10, 1.05), runs, |run| {
            1.0 / run.fluid_efficiency().unwrap_or(f64::NAN)
        }));
    }
    rows.push(Row::of(
        format!("{name}: rank correlation, up and down"),
        Mark::AtLeast(0.90, 0.97),
        runs,
        correlation,
    ));
    rows.push(Row::of(
        format!("{name}: slots given to the own class"),
        Mark::AtLeast(0.60, 0.70),
        runs,
        own_class,
    ));
    rows.push(Row::of(
        format!("{name}: fast class, up / down at its finish"),
        Mark::AtMost(1.3, 1.15),
        runs,
        |run| {
            middle(honest(run).filter(|node| node.class == 3).map(|node| {
                let [sent, received] = traffic_by(node, took(node) as usize);
                sent / received
            }))
        },
    ));
    rows.push(Row::of(format!("{name}: slots that a node gives"), Mark::None, runs, slots));
    rows.push(Row::of(format!("{name}: uplink use, 10–90 %"), Mark::None, runs, |run| run.utilisation));
    rows
}

/// When the fast class begins to finish: until then all leech.
fn all_leech(run: &Report) -> usize {
    honest(run).filter_map(|node| node.finished).min().unwrap_or_default().as_secs() as usize
}

fn correlation(run: &Report) -> f64 {
    let until = all_leech(run);
    let rates: Vec<_> =
        honest(run).map(|node| traffic_by(node, until)).map(|[up, down]| (up, down)).collect();
    spearman(&rates)
}

/// From a fifth of that time on, when there is something to choose by.
fn own_class(run: &Report) -> f64 {
    let until = all_leech(run);
    let slots = run.friends.iter().take(until).skip(until / 5);
    let [own, all] = slots.fold([0.0; 2], |sum, slots| [0, 1].map(|kind| sum[kind] + f64::from(slots[kind])));
    own / all
}
