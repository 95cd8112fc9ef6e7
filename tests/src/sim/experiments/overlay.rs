//! Experiment 13: whether the graph that a tracker's answers make is near to a random one. Experiment 14: what PEX does for newcomers who
//! know one peer when the tracker is dead, also among peers that tell lies.

use std::time::Duration;

use super::super::graph::Graph;
use super::super::report::Report;
use super::super::scenario::{Leaving, NodeSpec, Scenario};
use super::measure::quantile;
use super::{Mark, Row, Setup};

/// Uplinks so slow, and a torrent so large, that nobody finishes: only who is connected to whom is of interest.
const RATE: u64 = 1_000;
const SEED_RATE: u64 = 20_000;
const PIECES: u32 = 4_096;

/// How long a crowd takes to come, one after the other.
const ARRIVAL: Duration = Duration::from_secs(200);

/// And how long it has then to settle.
const SETTLING: Duration = Duration::from_secs(300);

/// When the tracker dies; newcomers come a while later, within a minute.
const DEATH: Duration = Duration::from_secs(60);
const NEWCOMERS: Duration = Duration::from_secs(90);

/// One in so many goes without a word within this time of the tracker's death, one after the other.
const LEAVERS: usize = 3;
const LEAVING: Duration = Duration::from_secs(400);

/// Neighbours that are enough to live on.
pub const ENOUGH: usize = 30;

/// A seed and `peers` downloaders that nobody waits for.
fn idle_swarm(seed: u64, peers: usize, deadline: Duration) -> Scenario {
    let mut nodes = vec![NodeSpec::seed(SEED_RATE)];
    nodes.extend((0..peers).map(|_| NodeSpec::leecher(RATE)));
    let mut scenario = Scenario::new(seed, PIECES, 256 << 10, nodes);
    scenario.checked = false;
    scenario.deadline = deadline;
    scenario
}

/// All at once, or one after the other; every third can't be dialled, if `nat`.
pub(super) fn tracked(seed: u64, peers: usize, burst: bool, nat: bool) -> Scenario {
    let mut scenario = idle_swarm(seed, peers, if burst { SETTLING } else { ARRIVAL + SETTLING });
    let mut rng = fastrand::Rng::with_seed(seed);
    for (number, node) in scenario.nodes.iter_mut().enumerate().skip(1) {
        let span = if burst { Duration::from_secs(1) } else { ARRIVAL };
        node.join = span.mul_f64(number as f64 / peers as f64);
        node.reachable = !(nat && rng.f64() < 0.3);
    }
    scenario
}

/// How far apart peers may be, and are on the average, at most: a random graph has a mean path of ln N / ln 55.
struct Distances {
    diameter: f64,
    path: Mark,
}

pub(super) fn run_tracker(setup: &Setup) -> Vec<Row> {
    let peers = setup.size(1_000, 200);
    let near = Distances { diameter: 3.0, path: Mark::AtMost(2.2, 2.0) };
    let mut rows = Vec::new();
    for (name, burst, nat) in
        [("sequential", false, false), ("burst", true, false), ("sequential, 30 % behind NAT", false, true)]
    {
        let runs = setup.runs(|seed| tracked(seed, peers, burst, nat));
        rows.extend(graph_rows(name, &runs, &near));
        if !burst {
            rows.push(age_row(name, &runs));
        }
    }
    if !setup.small {
        let name = "10,000, sequential";
        let far = Distances { diameter: 4.0, path: Mark::AtMost(2.9, 2.7) };
        let runs = Setup { seeds: 1, ..*setup }.runs(|seed| tracked(seed, 10_000, false, false));
        rows.extend(graph_rows(name, &runs, &far));
        rows.push(age_row(name, &runs));
    }
    rows
}

fn graph_rows(name: &str, runs: &[Report], distances: &Distances) -> [Row; 6] {
    let row = |metric: &str, mark, value: &dyn Fn(&Graph) -> f64| {
        Row::of(format!("{name}: {metric}"), mark, runs, |run| value(&run.graph))
    };
    let diameter = Mark::AtMost(distances.diameter, distances.diameter);
    [
        row("parts", Mark::AtMost(1.0, 1.0), &|graph| graph.components().len() as f64),
        row("diameter", diameter, &|graph| f64::from(graph.paths().0)),
        row("mean path", distances.path, &|graph| graph.paths().1),
        row("clustering / (k / N)", Mark::AtMost(2.0, 1.5), &|graph| {
            graph.clustering() / (graph.mean_degree() / graph.len() as f64)
        }),
        row("mean degree k", Mark::None, &Graph::mean_degree),
        row("connected after half are gone", Mark::AtLeast(0.999, 1.0), &|graph| {
            graph.connected_after_loss(0.5, &mut fastrand::Rng::with_seed(1))
        }),
    ]
}

fn age_row(name: &str, runs: &[Report]) -> Row {
    let metric = format!("{name}: degree of the oldest fifth / of the newest");
    Row::of(metric, Mark::AtMost(1.5, 1.2), runs, |run| age_ratio(&run.graph))
}

fn age_ratio(graph: &Graph) -> f64 {
    let degrees: Vec<usize> = graph.degrees().collect();
    let fifth = (degrees.len() / 5).max(1);
    let mean = |part: &[usize]| part.iter().sum::<usize>() as f64 / part.len() as f64;
    mean(&degrees[..fifth]) / mean(&degrees[degrees.len() - fifth..])
}

/// A swarm by tracker, which then dies, and one newcomer to ten that know one peer each, who is honest and stays. One peer in `liars` tells
/// by PEX of nobody who is there; 0: none does.
pub(super) fn orphaned(seed: u64, peers: usize, liars: usize, settling: Duration) -> Scenario {
    let newcomers = peers / 10;
    let mut scenario = idle_swarm(seed, peers + newcomers, NEWCOMERS + Duration::from_secs(60) + settling);
    scenario.tracker_until = Some(DEATH);
    let mut rng = fastrand::Rng::with_seed(seed);
    let lies = |number: usize| liars > 0 && number > 0 && number <= peers && number.is_multiple_of(liars);
    let leaves = |number: usize| number > 0 && number <= peers && number % LEAVERS == 1;
    let known: Vec<_> = (0..=peers).filter(|&number| !lies(number) && !leaves(number)).collect();
    for (number, node) in scenario.nodes.iter_mut().enumerate() {
        node.pex = true;
        node.behaviour.lies_by_pex = lies(number);
        if number > peers {
            node.class = 1;
            node.join = NEWCOMERS + Duration::from_secs(60).mul_f64(rng.f64());
            node.knows = vec![known[rng.usize(..known.len())]];
        } else if number > 0 {
            node.join = Duration::from_secs(30).mul_f64(rng.f64());
        }
        if leaves(number) {
            node.leaving = Leaving::CrashAt(DEATH + LEAVING.mul_f64(rng.f64()));
        }
    }
    scenario
}

pub(super) fn run_pex(setup: &Setup) -> Vec<Row> {
    let (peers, settling) = setup.size((1_000, SETTLING), (150, SETTLING / 5));
    let honest = setup.runs(|seed| orphaned(seed, peers, 0, settling));
    let poisoned = setup.runs(|seed| orphaned(seed, peers, 5, settling));
    let graph = |metric: &str, mark, value: &dyn Fn(&Graph) -> f64| {
        Row::of(metric, mark, &honest, |run| value(&run.graph))
    };
    let mut rows = vec![
        Row::of("to 30 neighbours, p95, s", Mark::AtMost(150.0, 60.0), &honest, |run| {
            quantile(waits(run), 0.95)
        }),
        graph("parts", Mark::AtMost(1.0, 1.0), &|graph| graph.components().len() as f64),
        graph("diameter", Mark::AtMost(5.0, 4.0), &|graph| f64::from(graph.paths().0)),
        graph("mean degree", Mark::None, &Graph::mean_degree),
        Row::of("told of, and gone, %", Mark::AtMost(10.0, 5.0), &honest, |run| run.stale * 100.0),
    ];
    let pairs = honest.iter().zip(&poisoned);
    rows.push(Row {
        metric: "a fifth tells lies: to 30 neighbours, p95, over that without".into(),
        mark: Mark::AtMost(1.2, 1.0),
        values: pairs
            .map(|(honest, poisoned)| quantile(waits(poisoned), 0.95) / quantile(waits(honest), 0.95))
            .collect(),
    });
    rows
}

/// Seconds from joining to enough neighbours, for each newcomer; for ever if it never had them.
fn waits(run: &Report) -> Vec<f64> {
    let newcomers = run.nodes.iter().filter(|node| node.class == 1);
    newcomers
        .map(|node| match (node.joined, node.enough) {
            (Some(joined), Some(at)) => at.saturating_sub(joined).as_secs_f64(),
            _ => f64::INFINITY,
        })
        .collect()
}
