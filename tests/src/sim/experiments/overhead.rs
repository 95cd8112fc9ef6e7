//! 16. What the protocol itself costs.

use super::crowd::crowd;
use super::measure::slots;
use super::{Mark, Row, Setup};

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let runs = setup.runs(|seed| crowd(seed, 50, setup.size(256, 128)));
    vec![
        Row::of("messages over payload, %", Mark::AtMost(1.0, 0.5), &runs, |run| run.overhead * 100.0),
        // What a peer hears of one neighbour: that is what would be fibrillation (BEP 3).
        Row::of("chokes a connection and minute", Mark::AtMost(3.0, 2.0), &runs, |run| run.chokes / 50.0),
        Row::of("chokes a node and minute", Mark::None, &runs, |run| run.chokes),
        Row::of("slots that a node gives", Mark::None, &runs, slots),
        Row::of("chokes a slot and minute", Mark::None, &runs, |run| run.chokes / slots(run)),
    ]
}
