//! What a peer takes of memory.

use std::fmt::Write as _;
use std::path::Path;

use harness::bench::usage::resident;

use crate::contenders::{Kind, Setup, Tools, Wire};
use crate::options::Options;
use crate::population::Population;
use crate::scenario::Scenario;
use crate::udp::{Generator, LARGEST_BURST, Load, Until};

/// Fills each tracker once; gives the table, and whether sprat took all peers.
pub(crate) fn table(scenario: Scenario, tools: &Tools, options: &Options, work: &Path) -> (String, bool) {
    let wire = if scenario == Scenario::Memory6 { Wire::Udp6 } else { Wire::Udp };
    let population = Population::even(options.memory_torrents, options.memory_peers, options.sources);
    let setup = Setup {
        work,
        core: options.tracker_core,
        numwant: options.numwant,
        hashes: population.hashes(),
        extra: &[],
    };
    let mut text = format!("### {}\n\n", scenario.title());
    text.push_str("| tracker | idle MiB | full MiB | bytes a peer beyond idle | peers | lost |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: |\n");
    let mut right = true;
    for kind in tools.kinds(wire).into_iter().filter(|&kind| options.wants(kind) && kind != Kind::Floor) {
        eprintln!("{scenario}: {kind}");
        let filled = fill(kind, wire, tools, &setup, &population);
        right &= kind != Kind::Sprat || filled.as_ref().is_ok_and(|filled| filled.lost == 0);
        match filled {
            Ok(Filled { idle, full, peers, lost }) => {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                let each = full.saturating_sub(idle) as f64 / peers.max(1) as f64;
                let _ = writeln!(
                    text,
                    "| {kind} | {:.1} | {:.1} | {each:.1} | {peers} | {lost} |",
                    mib(idle),
                    mib(full)
                );
            }
            Err(problem) => {
                let _ = writeln!(text, "| {kind} | left out: {problem} | | | | |");
            }
        }
    }
    let _ = writeln!(text, "\n{} torrents of the same size.", options.memory_torrents);
    (text, right)
}

struct Filled {
    idle: u64,
    full: u64,
    peers: u64,
    lost: u64,
}

fn fill(
    kind: Kind,
    wire: Wire,
    tools: &Tools,
    setup: &Setup<'_>,
    population: &Population,
) -> Result<Filled, String> {
    let running = tools.start(kind, wire, setup)?;
    let pid = running.process.pid();
    let idle = resident(pid);
    let mut generator = Generator::new(running.address, population).map_err(|error| error.to_string())?;
    generator.connect()?;
    let load = Load { numwant: 1, window: 64, burst: LARGEST_BURST, connect_each: false };
    let tally = generator.saturate(&load, Until::All);
    Ok(Filled { idle, full: resident(pid), peers: tally.answered, lost: tally.lost + tally.bad })
}
