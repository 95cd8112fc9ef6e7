#![expect(clippy::disallowed_methods, reason = "the clock is what a benchmark is about")]
//! What the decisions cost: one downloader's rules, as users run them, between peers that answer at once. No socket, no disk: the time is that
//! of `client::torrent` alone.
//!
//! `cargo bench -p tests --bench core [-- --runs N]`

mod crowd;

use std::time::Duration;

use harness::bench::{machine, median};

use crowd::{Costs, Crowd};

/// Pieces and peers of each row.
const SIZES: [(u32, u8); 4] = [(1_000, 50), (10_000, 50), (10_000, 200), (100_000, 200)];

/// Blocks that are fetched in a row, at most.
const BLOCKS: u32 = 200_000;

const RUNS: usize = 5;

fn main() {
    let mut given = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let runs = match (given.next().as_deref(), given.next().and_then(|number| number.parse().ok())) {
        (None, _) => RUNS,
        (Some("--runs"), Some(runs)) if runs > 0 => runs,
        _ => {
            eprintln!("usage: cargo bench -p tests --bench core [-- --runs N]");
            std::process::exit(2);
        }
    };
    println!("{}\n", machine::describe());
    println!("Every peer has a random half of the pieces. Medians of {runs} runs, in microseconds.\n");
    println!(
        "| pieces | peers | a peer comes, with its bitfield | a block: taken, and the next asked for | a have |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: |");
    for (pieces, peers) in SIZES {
        let costs: Vec<Costs> =
            (0..runs as u64).map(|seed| Crowd::new(seed, pieces, peers).run(BLOCKS)).collect();
        let middle = |of: fn(&Costs) -> Duration| {
            median(costs.iter().map(|costs| of(costs).as_secs_f64() * 1e6)).unwrap_or(f64::NAN)
        };
        let [peer, block, have] = [middle(|c| c.peer), middle(|c| c.block), middle(|c| c.have)];
        println!("| {pieces} | {peers} | {peer:.0} | {block:.2} | {have:.2} |");
    }
}
