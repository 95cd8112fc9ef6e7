//! 12. Peers that arrive one by one and leave when they are done: does the swarm scale, and is it stable?

use std::time::Duration;

use client::torrent::Stay;

use super::super::report::Report;
use super::super::scenario::{Holding, MBIT, NodeSpec, Scenario};
use super::measure::{mean, took};
use super::{Mark, Row, Setup};

const RATE: u64 = 4 * MBIT;
const PIECE: u32 = 256 << 10;

/// The rate at which the seed can put out pieces: with more arrivals a second than this, a swarm whose members leave at once piles up
/// for want of one piece (Hajek and Zhu).
const SEED_PIECES: f64 = RATE as f64 / PIECE as f64;

/// Poisson arrivals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    /// Peers a second.
    pub(super) lambda: f64,
    /// Pieces.
    pub(super) pieces: u32,
    /// How long they come.
    pub(super) span: Duration,
    /// Whether who has finished gives a little more before it goes.
    pub(super) linger: bool,
}

/// A seed that stays, and peers that arrive.
pub(super) fn arrivals(seed: u64, arrivals: Arrivals) -> Scenario {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut nodes = vec![NodeSpec::seed(RATE)];
    let mut now = 0.0;
    loop {
        now += -(1.0 - rng.f64()).ln() / arrivals.lambda;
        if now >= arrivals.span.as_secs_f64() {
            break;
        }
        nodes.push(NodeSpec {
            join: Duration::from_secs_f64(now),
            latency: Duration::from_micros(rng.u64(7_500..17_500)),
            stay: Stay::Leave { linger: arrivals.linger },
            ..NodeSpec::leecher(RATE)
        });
    }
    let mut scenario = Scenario::new(seed, arrivals.pieces, PIECE, nodes);
    scenario.deadline = arrivals.span;
    scenario.checked = false;
    scenario
}

/// The swarm that Hajek and Zhu fear: all that are there lack the same piece and no other, more come than the seed can give it to, and
/// who has it may leave at once.
fn one_club(seed: u64, linger: bool) -> Scenario {
    // So many that newcomers, who take the rare piece first and pass it on while they fetch the others, hardly count.
    let members = 1_000;
    let lambda = 2.0 * SEED_PIECES;
    let span = Duration::from_secs(61);
    let mut scenario = arrivals(seed, Arrivals { lambda, pieces: 32, span, linger });
    for number in 0..members {
        let join = Duration::from_millis(number as u64 * 1_000 / members as u64);
        let mut member = NodeSpec { join, holding: Holding::Pieces(1..32), ..scenario.nodes[1].clone() };
        member.stay = Stay::Leave { linger };
        scenario.nodes.push(member);
    }
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let pieces = setup.size(256, 64);
    let ideal = f64::from(pieces) * f64::from(PIECE) / RATE as f64;
    let span = Duration::from_secs_f64(ideal * 6.0);
    let run = |lambda, linger| setup.runs(|seed| arrivals(seed, Arrivals { lambda, pieces, span, linger }));
    let lambdas = setup.size([0.075, 0.3, 0.75, 1.5], [0.15, 0.3, 0.75, 1.5]);
    let mut rows = Vec::new();
    let mut means: Vec<Vec<f64>> = Vec::new();
    for lambda in lambdas {
        let runs = run(lambda, false);
        rows.push(Row::of(
            format!("λ = {lambda}, leave: mean T over F/u = {ideal:.0} s"),
            Mark::AtMost(1.15, 1.08),
            &runs,
            |run| mean_time(run) / ideal,
        ));
        rows.extend(stability(&format!("λ = {lambda}, leave"), &runs));
        means.push(runs.iter().map(mean_time).collect());
    }
    // Up to four fifths of what the seed can put out the time must not depend on the rate of arrivals.
    let spread = |seed: usize| {
        let times = || means.iter().map(|times| times[seed]);
        let middle = mean(times());
        times().map(|time| (time / middle - 1.0).abs()).fold(0.0, f64::max)
    };
    rows.push(Row {
        metric: format!("mean T for λ from {} to {}: farthest from their mean, %", lambdas[0], lambdas[3]),
        mark: Mark::AtMost(10.0, 5.0),
        values: (0..setup.seeds as usize).map(|seed| 100.0 * spread(seed)).collect(),
    });
    for linger in [true, false] {
        let runs = setup.runs(|seed| one_club(seed, linger));
        let (name, mark) = if linger {
            ("linger", Mark::AtMost(0.5, 0.3))
        } else {
            // Ablation: it must not get better.
            ("ablation: no linger", Mark::AtLeast(0.9, 1.0))
        };
        rows.push(Row::of(
            format!("one-club at the start, λ = {:.1}, {name}: backlog after 60 s", 2.0 * SEED_PIECES),
            mark,
            &runs,
            |run| {
                let backlog = |second: usize| f64::from(run.clubs[second.min(run.clubs.len() - 1)][0]);
                backlog(60) / backlog(2)
            },
        ));
        if linger {
            rows.push(Row::of(
                "one-club at the start, linger: its share after 60 s",
                Mark::AtMost(0.20, 0.10),
                &runs,
                |run| run.clubs.last().map_or(f64::NAN, |club| f64::from(club[1]) / f64::from(club[0])),
            ));
        }
    }
    rows
}

fn stability(name: &str, runs: &[Report]) -> Vec<Row> {
    vec![
        Row::of(
            format!("{name}: backlog of the last third over the middle third"),
            Mark::AtMost(1.3, 1.1),
            runs,
            growth,
        ),
        Row::of(format!("{name}: one-club, share of downloaders"), Mark::AtMost(0.20, 0.10), runs, club),
    ]
}

/// Of those who came in the middle third of the run, which had the time to finish.
fn mean_time(run: &Report) -> f64 {
    let end = run.clubs.len() as f64;
    let middle = run.nodes.iter().filter(|node| {
        !node.seed && node.joined.is_some_and(|at| (end / 3.0..end * 2.0 / 3.0).contains(&at.as_secs_f64()))
    });
    mean(middle.map(|node| {
        if node.finished.is_some() { took(node) } else { end - node.joined.unwrap_or_default().as_secs_f64() }
    }))
}

fn growth(run: &Report) -> f64 {
    let third = run.clubs.len() / 3;
    let backlog = |from| mean(run.clubs[from..from + third].iter().map(|club| f64::from(club[0])));
    backlog(2 * third) / backlog(third)
}

fn club(run: &Report) -> f64 {
    let late = run.clubs.iter().skip(run.clubs.len() / 3).filter(|club| club[0] > 0);
    mean(late.map(|club| f64::from(club[1]) / f64::from(club[0])))
}
