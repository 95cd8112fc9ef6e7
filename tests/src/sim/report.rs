//! What a run came to, and tables of many.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use torrent_format::{Bitfield, Info};

use super::behaviour::Behaviour;
use super::check::{Checker, Violation};
use super::event::{Log, NodeId};
use super::graph::Graph;
use super::idle::Share;
use super::limits::{self, Peer};
use super::link::{Link, Side};
use super::node::{Node, Traffic};
use super::scenario::{Holding, Scenario};
use super::world::{Gifts, Probe, SLICE, Tally};

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Every node that stayed has everything.
    Finished,
    /// Every piece is there, and still nobody gains any.
    Stalled {
        /// Who lacks how many pieces.
        lacking: Vec<(NodeId, u32)>,
    },
    /// Pieces are gone with those who had them.
    Starved {
        /// How many pieces there are.
        held: u32,
        /// Who lacks how many pieces.
        lacking: Vec<(NodeId, u32)>,
    },
    /// The scenario's deadline passed.
    Deadline,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario's seed.
    pub seed: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Hash over all events.
    pub log: String,
    /// How many there were.
    pub events: u64,
    /// When the last node finished, since the start, poisoners apart. `None` if somebody did not.
    pub last: Option<Duration>,
    /// Mean time from joining to finishing, of those who finished.
    pub mean: Option<Duration>,
    /// T_F and T_G of [`limits`]; `None` without a seed that had everything, or without anybody to download.
    pub limits: Option<(Duration, Duration)>,
    /// What the first seeds sent, in copies of the payload.
    pub seed_copies: f64,
    /// The like, when every piece was first had by somebody who began without it.
    pub first_copy: Option<f64>,
    /// Payload that came and was kept to the end, in bytes.
    pub useful: u64,
    /// Payload that came for nothing.
    pub wasted: u64,
    /// Bytes sent over the bytes that all uplinks could have sent, between 10 % and 90 % of the run.
    pub utilisation: f64,
    /// What became of the rest of it from the start to the last finish.
    pub idle: Share,
    /// What regular looks at all nodes found.
    pub probe: Probe,
    /// The like in each twentieth of the run: use, and the rest.
    pub timeline: Vec<(f64, Share)>,
    /// By second: what free riders had got by then.
    pub gifts: Vec<Gifts>,
    /// `choke` messages a minute and node.
    pub chokes: f64,
    /// Bytes of messages over bytes of payload.
    pub overhead: f64,
    /// By second: slots that downloaders gave to their own class, and slots that they gave.
    pub friends: Vec<[u32; 2]>,
    /// By second: downloaders, and the largest number of them that lacked one piece only, and the same.
    pub clubs: Vec<[u32; 2]>,
    /// When the first seed went: how many others had the rarest piece.
    pub rarest_at_departure: Option<u32>,
    /// For each pair of nodes: payload, in bytes, that the first sent to the second while it lacked something itself and before anything
    /// had come back. Only where the second is an outlaw.
    pub unrequited: Vec<(NodeId, NodeId, u64)>,
    /// Who banned whom, in order.
    pub bans: Vec<(NodeId, NodeId)>,
    /// The first broken rules.
    pub violations: Vec<Violation>,
    /// How many there were.
    pub violation_count: u64,
    /// Of all that stands of what nodes told each other of their neighbours: the share that is about nodes that are gone.
    pub stale: f64,
    /// Who is connected to whom, of those who are still there.
    pub graph: Graph,
    /// Each node.
    pub nodes: Vec<NodeReport>,
}

/// A node, in the end.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// Its class.
    pub class: u8,
    /// Its uplink, bytes a second.
    pub up: u64,
    /// Whether it began with everything.
    pub seed: bool,
    /// Whether it cheats.
    pub outlaw: bool,
    /// When it joined.
    pub joined: Option<Duration>,
    /// When it had its first piece, since the start.
    pub first_piece: Option<Duration>,
    /// When it was first unchoked by somebody to whom it had given something.
    pub first_return: Option<Duration>,
    /// When it first had as many neighbours as are enough.
    pub enough: Option<Duration>,
    /// When it had kept all but a hundredth of what it lacked.
    pub nearly: Option<Duration>,
    /// What it sent to free riders while it lacked something itself, in bytes.
    pub leaked: u64,
    /// Payload sent and received by each second of the run.
    pub series: Vec<[u64; 2]>,
    /// When it finished, since the start, if it began without everything.
    pub finished: Option<Duration>,
    /// When it went.
    pub gone: Option<Duration>,
    /// What it holds.
    pub verified: Bitfield,
    /// What passed through it.
    pub traffic: Traffic,
}

/// What is left of a run, for its report.
pub(super) struct Remains<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) info: &'a Info,
    pub(super) nodes: &'a [Node],
    pub(super) links: &'a [Link],
    pub(super) tally: &'a Tally,
    pub(super) checker: &'a Checker,
    pub(super) log: &'a Log,
}

impl Report {
    pub(super) fn new(outcome: Outcome, remains: &Remains<'_>) -> Self {
        let Remains { scenario, info, nodes, links, tally, checker, log } = *remains;
        let sum = |count: fn(&Node) -> u64| nodes.iter().map(count).sum::<u64>();
        let began_without =
            || nodes.iter().filter(|node| node.spec.holding != Holding::Everything && !node.is_outlaw());
        let times: Vec<_> = began_without()
            .filter_map(|node| Some((node.joined?, node.finished?)))
            .map(|(a, b)| b - a)
            .collect();
        let all_finished = began_without().all(|node| node.finished.is_some());
        let last = began_without()
            .filter_map(|node| node.finished)
            .max()
            .filter(|_| all_finished)
            .map(|time| time.0);
        let copies = |bytes: u64| bytes as f64 / info.layout().total() as f64;
        let seeds = nodes.iter().filter(|node| node.spec.holding == Holding::Everything);
        let span = last.unwrap_or(SLICE * tally.slices.len() as u32);
        let minutes = nodes.iter().map(|node| online(node, Duration::ZERO, span)).sum::<f64>() / 60.0;
        Self {
            seed: scenario.seed,
            outcome,
            log: log.digest(),
            events: log.events(),
            last,
            mean: times.iter().sum::<Duration>().checked_div(times.len() as u32),
            limits: limits_of(scenario),
            seed_copies: copies(seeds.map(|node| node.traffic.sent).sum()),
            first_copy: tally.sent_for_first_copy.map(copies),
            useful: nodes.iter().map(|node| node.books.gained(info)).sum(),
            wasted: sum(|node| node.traffic.discarded + node.traffic.spoilt),
            utilisation: uplink_use(nodes, tally, span / 10, span * 9 / 10),
            idle: tally.idle.shares(Duration::ZERO, span),
            probe: tally.probe,
            timeline: (0..20)
                .map(|part| (span * part / 20, span * (part + 1) / 20))
                .map(|(from, to)| (uplink_use(nodes, tally, from, to), tally.idle.shares(from, to)))
                .collect(),
            gifts: tally.gift_series.clone(),
            chokes: sum(|node| node.traffic.chokes) as f64 / minutes,
            overhead: sum(|node| node.traffic.control) as f64 / tally.sent as f64,
            friends: tally.friends.clone(),
            clubs: tally.clubs.clone(),
            rarest_at_departure: tally.rarest_at_departure,
            unrequited: unrequited(nodes, links),
            bans: tally.bans.clone(),
            violations: checker.violations().to_vec(),
            violation_count: checker.count(),
            stale: stale(nodes, links),
            graph: Graph::new(&nodes.iter().map(neighbours).collect::<Vec<_>>()),
            nodes: nodes.iter().map(NodeReport::new).collect(),
        }
    }

    /// E_F = T_F / T_last.
    pub fn fluid_efficiency(&self) -> Option<f64> {
        Some(self.limits?.0.as_secs_f64() / self.last?.as_secs_f64())
    }

    /// E_G = T_G / T_last.
    pub fn granular_efficiency(&self) -> Option<f64> {
        Some(self.limits?.1.as_secs_f64() / self.last?.as_secs_f64())
    }

    /// Ends the test, with all that is known, unless the run finished and no rule was broken.
    ///
    /// # Panics
    /// See above.
    #[track_caller]
    pub fn assert_sound(&self) {
        let violations: Vec<_> = self.violations.iter().map(ToString::to_string).collect();
        assert!(
            self.outcome == Outcome::Finished && self.violation_count == 0,
            "seed {}: {:?}, {} violations:\n{}",
            self.seed,
            self.outcome,
            self.violation_count,
            violations.join("\n")
        );
    }
}

impl NodeReport {
    fn new(node: &Node) -> Self {
        Self {
            class: node.spec.class,
            up: node.spec.up,
            seed: node.spec.holding == Holding::Everything,
            outlaw: node.is_outlaw(),
            joined: node.joined.map(|time| time.0),
            first_piece: node.first_piece.map(|time| time.0),
            first_return: node.first_return.map(|time| time.0),
            enough: node.enough.map(|time| time.0),
            nearly: node.nearly.map(|time| time.0),
            leaked: node.leaked,
            series: node.series.clone(),
            finished: node.finished.map(|time| time.0),
            gone: node.gone.map(|time| time.0),
            verified: node.books.verified().clone(),
            traffic: node.traffic,
        }
    }
}

fn neighbours(node: &Node) -> Option<Vec<NodeId>> {
    node.torrent.as_ref()?;
    Some(node.connections.iter().map(|connection| connection.other).collect())
}

/// See [`Report::stale`].
fn stale(nodes: &[Node], links: &[Link]) -> f64 {
    let ends = links.iter().flat_map(|link| [Side::Dialler, Side::Acceptor].map(|side| link.end(side)));
    let (mut told, mut gone) = (0_u64, 0_u64);
    for &node in ends.flat_map(|end| &end.told) {
        told += 1;
        gone += u64::from(nodes[node].torrent.is_none());
    }
    gone as f64 / told.max(1) as f64
}

fn limits_of(scenario: &Scenario) -> Option<(Duration, Duration)> {
    let seed_up: u64 =
        (scenario.nodes.iter()).filter(|node| node.holding == Holding::Everything).map(|node| node.up).sum();
    let peers: Vec<_> = (scenario.nodes.iter())
        .filter(|node| node.holding != Holding::Everything)
        .filter(|node| node.poison == 0.0 && node.behaviour == Behaviour::default())
        .map(|node| Peer { up: node.up, down: node.down })
        .collect();
    if seed_up == 0 || peers.is_empty() {
        return None;
    }
    let granular = limits::granular(scenario.total, scenario.piece_length, seed_up, &peers);
    Some((limits::fluid(scenario.total, seed_up, &peers), granular))
}

/// What was given to outlaws for nothing, over all connections of each pair.
fn unrequited(nodes: &[Node], links: &[Link]) -> Vec<(NodeId, NodeId, u64)> {
    let mut pairs = BTreeMap::new();
    for link in links {
        for side in [Side::Dialler, Side::Acceptor] {
            let (end, other) = (link.end(side), link.end(side.other()).node);
            if nodes[other].is_outlaw() && end.unrequited > 0 {
                *pairs.entry((end.node, other)).or_insert(0) += end.unrequited;
            }
        }
    }
    pairs.into_iter().map(|((from, to), bytes)| (from, to, bytes)).collect()
}

/// Seconds between `from` and `to` at which the node took part.
fn online(node: &Node, from: Duration, to: Duration) -> f64 {
    let Some(joined) = node.joined else { return 0.0 };
    let until = node.gone.map_or(to, |gone| gone.0.min(to));
    until.saturating_sub(joined.0.max(from)).as_secs_f64()
}

/// Bytes sent over the bytes that all uplinks could have sent, from one moment to another.
fn uplink_use(nodes: &[Node], tally: &Tally, from: Duration, to: Duration) -> f64 {
    let slice = |time: Duration| (time.as_nanos() / SLICE.as_nanos()) as u32;
    let (from, to) = (slice(from), slice(to));
    let end = (to as usize).min(tally.slices.len());
    let sent: u64 = tally.slices[(from as usize).min(end)..end].iter().sum();
    let could: f64 =
        nodes.iter().map(|node| node.spec.up as f64 * online(node, SLICE * from, SLICE * to)).sum();
    sent as f64 / could
}

/// The middle of these values, the lower of two; `None` if there are none.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// A column: its heading, its digits after the point, its value.
type Column = (&'static str, usize, fn(&Report) -> Option<f64>);

const MIB: f64 = 1_048_576.0;

const COLUMNS: [Column; 14] = [
    ("last s", 1, |run| Some(run.last?.as_secs_f64())),
    ("mean s", 1, |run| Some(run.mean?.as_secs_f64())),
    ("E_F", 3, Report::fluid_efficiency),
    ("E_G", 3, Report::granular_efficiency),
    ("copies", 3, |run| Some(run.seed_copies)),
    ("first copy", 3, |run| run.first_copy),
    ("useful MiB", 1, |run| Some(run.useful as f64 / MIB)),
    ("wasted MiB", 2, |run| Some(run.wasted as f64 / MIB)),
    ("uplink %", 1, |run| Some(run.utilisation * 100.0)),
    ("unwanted %", 1, |run| Some(run.idle.unwanted * 100.0)),
    ("choking %", 1, |run| Some(run.idle.choking * 100.0)),
    ("unasked %", 1, |run| Some(run.idle.unasked * 100.0)),
    ("chokes/min", 2, |run| Some(run.chokes)),
    ("overhead %", 2, |run| Some(run.overhead * 100.0)),
];

/// One line a run, then the medians.
pub fn table(runs: &[Report]) -> String {
    let mut text = format!("{:>8}", "seed");
    for (heading, _, _) in COLUMNS {
        let _ = write!(text, " {heading:>10}");
    }
    text.push_str("  outcome, broken rules, events, log\n");
    for run in runs {
        let values = COLUMNS.iter().map(|(_, digits, value)| (*digits, value(run)));
        line(&mut text, &run.seed.to_string(), values);
        let outcome = match &run.outcome {
            Outcome::Finished => "finished".into(),
            Outcome::Stalled { lacking } => format!("STALLED, {} lack pieces", lacking.len()),
            Outcome::Starved { held, lacking } => {
                format!("starved, {held} pieces left, {} lack some", lacking.len())
            }
            Outcome::Deadline => "DEADLINE".into(),
        };
        let _ = writeln!(text, "  {outcome}, {}, {}, {}", run.violation_count, run.events, run.log);
    }
    let medians = COLUMNS.iter().map(|(_, digits, value)| (*digits, median(runs.iter().filter_map(value))));
    line(&mut text, "median", medians);
    text.push('\n');
    text
}

fn line(text: &mut String, name: &str, values: impl Iterator<Item = (usize, Option<f64>)>) {
    let _ = write!(text, "{name:>8}");
    for (digits, value) in values {
        let _ = match value {
            Some(value) => write!(text, " {value:>10.digits$}"),
            None => write!(text, " {:>10}", "-"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_lower_of_two() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), Some(2.0));
    }
}
