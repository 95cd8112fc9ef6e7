//! 9. The seed leaves when every piece is out, or after as many bytes as there are, downloaders when they are done, some without warning.

use std::time::Duration;

use client::torrent::Stay;

use super::super::report::Outcome;
use super::super::run_all;
use super::super::scenario::{Leaving, MBIT, Scenario};
use super::{Mark, Row, Setup};

/// Twenty downloaders, `percent` of which crash somewhere on the way.
pub(super) fn departing(seed: u64, pieces: u32, percent: usize, leaving: Leaving) -> Scenario {
    let peers = 20;
    let mut scenario = Scenario::flash_crowd(seed, peers, pieces, 256 << 10, 4 * MBIT);
    let ideal = scenario.total / (4 * MBIT);
    scenario.nodes[0].leaving = leaving;
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut downloaders: Vec<usize> = (1..=peers).collect();
    rng.shuffle(&mut downloaders);
    for (number, id) in downloaders.into_iter().enumerate() {
        let node = &mut scenario.nodes[id];
        node.stay = Stay::Leave { linger: true };
        if number < peers * percent / 100 {
            node.leaving = Leaving::CrashAt(Duration::from_millis(rng.u64(1_000..ideal * 1_000)));
        }
    }
    scenario
}

pub(super) fn run(setup: &Setup) -> Vec<Row> {
    let pieces = setup.size(256, 64);
    let seeds = setup.size(setup.seeds * 10, setup.seeds * 3);
    let mut rows = Vec::new();
    let bytes = Leaving::AfterUploading(u64::from(pieces) * (256 << 10));
    let cases = [
        (0, Leaving::OnceSpread, false, "every piece is out"),
        (0, bytes, false, "exactly F bytes are out"),
        (0, bytes, true, "super-seeding, exactly F bytes are out"),
        (10, Leaving::OnceTwofold, false, "two have every piece"),
        (30, Leaving::OnceTwofold, false, "two have every piece"),
    ];
    for (percent, leaving, super_seed, when) in cases {
        let scenario = |seed| {
            let mut scenario = departing(seed, pieces, percent, leaving);
            scenario.nodes[0].super_seed = super_seed;
            scenario
        };
        let scenarios: Vec<_> = (1..=seeds).map(scenario).collect();
        let runs = run_all(&scenarios, setup.jobs);
        for run in &runs {
            assert!(run.violation_count == 0, "seed {}: {:?}", run.seed, run.violations);
        }
        let finished = runs.iter().filter(|run| run.outcome == Outcome::Finished).count();
        let mark = match percent {
            0 => Mark::AtLeast(1.0, 1.0),
            10 => Mark::AtLeast(0.95, 1.0),
            _ => Mark::None,
        };
        let name = format!("{when}, {percent} % crash");
        rows.push(Row {
            metric: format!("{name}: swarms that finish (of {})", runs.len()),
            mark,
            values: vec![finished as f64 / runs.len() as f64],
        });
        rows.push(Row {
            metric: format!("{name}: holders of the rarest piece when the seed leaves"),
            mark: Mark::None,
            values: runs.iter().map(|run| run.rarest_at_departure.map_or(f64::NAN, f64::from)).collect(),
        });
        let lost = runs.iter().map(|run| match &run.outcome {
            Outcome::Starved { held, .. } => f64::from(pieces - held),
            _ => 0.0,
        });
        rows.push(Row { metric: format!("{name}: pieces lost"), mark: Mark::None, values: lost.collect() });
    }
    rows
}
