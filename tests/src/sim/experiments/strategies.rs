//! 6. Clients that deal out their uplink for their own good: what one gains, and what it does to a swarm if all do it.

use super::super::behaviour::{Behaviour, Strategy};
use super::super::report::Report;
use super::super::scenario::Scenario;
use super::classes::classes;
use super::measure::{mean, middle, took};
use super::{Mark, Row, Setup};

/// Three classes, 1 : 3 : 10; of each class `each` have this strategy, or all.
fn strategic(seed: u64, strategy: Strategy, one_of: Option<u8>) -> Scenario {
    let mut scenario = classes(seed, 10, 256, true);
    let mut left = if one_of.is_some() { 1 } else { usize::MAX };
    for node in scenario.nodes[1..].iter_mut().rev() {
        if left > 0 && one_of.is_none_or(|class| node.class == class) {
            node.behaviour = Behaviour { strategy, ..Behaviour::default() };
            left -= 1;
        }
    }
    scenario.waits_for_all = true;
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let mut rows = Vec::new();
    let honest = setup.runs(|seed| strategic(seed, Strategy::Core, None));
    for (name, strategy) in [("BitTyrant", Strategy::Tyrant), ("PropShare", Strategy::Proportional)] {
        for (class, title) in [(3, "fast"), (2, "middle")] {
            let runs = setup.runs(|seed| strategic(seed, strategy, Some(class)));
            rows.push(Row::of(
                format!("one {name} in the {title} class: times as fast as its honest like"),
                Mark::AtMost(1.10, 1.03),
                &runs,
                |run| {
                    let of_class = |outlaw| {
                        run.nodes.iter().filter(move |node| node.class == class && node.outlaw == outlaw)
                    };
                    middle(of_class(false).map(took)) / middle(of_class(true).map(took))
                },
            ));
        }
        let runs = setup.runs(|seed| strategic(seed, strategy, None));
        rows.push(Row {
            metric: format!("all {name}: mean time over that of an honest swarm"),
            mark: if strategy == Strategy::Tyrant { Mark::AtMost(1.10, 1.05) } else { Mark::None },
            values: runs
                .iter()
                .zip(&honest)
                .map(|(with, without)| mean_time(with) / mean_time(without))
                .collect(),
        });
    }
    rows
}

fn mean_time(run: &Report) -> f64 {
    mean(run.nodes.iter().filter(|node| !node.seed).map(took))
}
