//! Whether announces wait while very many peers expire.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use harness::http::get;
use harness::wait::Stopwatch;

use crate::contenders::{Kind, Setup, Tools, Wire};
use crate::options::Options;
use crate::population::Population;
use crate::tally::Tally;
use crate::udp::{Generator, LARGEST_BURST, Load, Until};

/// What peers are told, so that they are forgotten after twice that and a minute.
const INTERVAL: &str = "10s";

/// A stretch of the probe, for which one line of the table stands.
const STRETCH: Duration = Duration::from_secs(5);

/// By when all peers must have expired, after the last of them came.
const LIMIT: Duration = Duration::from_secs(130);

/// Announces a second of the probe.
const RATE: f64 = 5_000.0;

/// Fills sprat, and asks it steadily until nearly all peers are gone; gives the table, and whether they did go.
pub(crate) fn table(tools: &Tools, options: &Options, work: &Path) -> (String, bool) {
    let many = Population::even(options.memory_torrents, options.memory_peers, options.sources);
    let few = Population::zipf(1000, 2000, 256);
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let metrics = metrics.expect("a port is free");
    let extra = ["--interval", INTERVAL, "--metrics", &metrics.to_string()].map(str::to_owned);
    let setup =
        Setup { work, core: options.tracker_core, numwant: options.numwant, hashes: &[], extra: &extra };
    let mut text = String::from("### Expiry\n\n");
    let probed = probe(tools, &setup, metrics, [&many, &few]);
    let right = match probed {
        Ok(stretches) => {
            text.push_str(
                "| seconds | peers in the end | announces | p50 µs | p99.9 µs | longest µs | lost |\n",
            );
            text.push_str("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
            for Stretch { from, peers, tally } in &stretches {
                let micros =
                    |share| tally.quantile(share).map_or("–".into(), |value| format!("{value:.0}"));
                let _ = writeln!(
                    text,
                    "| {from:.0} | {peers} | {} | {} | {} | {} | {} |",
                    tally.answered,
                    micros(0.5),
                    micros(0.999),
                    micros(1.0),
                    tally.lost
                );
            }
            stretches.last().is_some_and(|last| last.peers <= few.len())
        }
        Err(problem) => {
            let _ = writeln!(text, "It failed: {problem}");
            false
        }
    };
    let _ = writeln!(text, "\n{} peers; {RATE:.0} announces/s of others meanwhile.", options.memory_peers);
    (text, right)
}

struct Stretch {
    /// Seconds since the last of the many peers came.
    from: f64,
    peers: u64,
    tally: Tally,
}

fn probe(
    tools: &Tools,
    setup: &Setup<'_>,
    metrics: SocketAddr,
    [many, few]: [&Population; 2],
) -> Result<Vec<Stretch>, String> {
    let running = tools.start(Kind::Sprat, Wire::Udp, setup)?;
    let mut generator = Generator::new(running.address, many).map_err(|error| error.to_string())?;
    generator.connect()?;
    let load = Load { numwant: 1, window: 64, burst: LARGEST_BURST, connect_each: false };
    let filled = generator.saturate(&load, Until::All);
    if filled.lost + filled.bad > 0 {
        return Err(format!("{} announces were not answered", filled.lost + filled.bad));
    }
    let since = Stopwatch::start();
    let mut generator = Generator::new(running.address, few).map_err(|error| error.to_string())?;
    let load = Load { numwant: setup.numwant, ..load };
    let mut stretches: Vec<Stretch> = Vec::new();
    while stretches.last().is_none_or(|last| last.peers > few.len()) && since.elapsed() < LIMIT {
        generator.connect()?;
        let from = since.elapsed().as_secs_f64();
        let tally = generator.pace(&load, RATE, STRETCH);
        let stats = get(metrics, "/stats").ok_or("no answer to /stats")?;
        let stats: serde_json::Value =
            serde_json::from_slice(&stats.body).map_err(|error| error.to_string())?;
        let peers = stats["peers"].as_u64().ok_or("/stats tells no peers")?;
        stretches.push(Stretch { from, peers, tally });
    }
    Ok(stretches)
}
