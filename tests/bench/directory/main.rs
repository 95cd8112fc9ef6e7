//! How long a search takes in a directory of half a million torrents, and what one core does of searching and publishing together:
//!
//! ```text
//! cargo bench -p tests --bench directory -- [--torrents 500000] [--queries 1000] [--seconds 20]
//! ```
//!
//! Everything goes through the API of a running `sprat tracker --directory`: torrents are published, peers announce, searches are
//! asked on one connection, one after the other. Titles, files and queries follow from a seed ([`corpus`]), so a run can be
//! repeated. It prints Markdown tables, and asserts no time; it fails if anything is answered with an error.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod client;
mod corpus;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use harness::bench::{machine, usage};
use harness::directory::Directory;
use harness::sandbox::Sandbox;

use client::Client;
use corpus::Corpus;

/// Connections that publish at a time: as many as are written in one go.
const PUBLISHERS: usize = 64;

/// One in so many torrents has a swarm.
const ALIVE: usize = 5;

/// What is asked in turn with each query.
const ORDERS: [&str; 4] = ["relevance", "seeders", "size", "date"];
const FILTERS: [(&str, &str); 6] = [
    ("none", ""),
    ("min_seeders", "&min_seeders=1"),
    ("alive", "&alive=1"),
    ("size", "&min_size=10K&max_size=1M"),
    ("date", "&since=2020-01-01&until=2090-01-01"),
    ("tags", "&tags=linux"),
];

/// How often the paced load searches and publishes, a second.
const SEARCHES: u32 = 500;
const PUBLISHES: u32 = 50;

/// The paced load runs on a directory of so many torrents.
const PACED_TORRENTS: usize = 20_000;

struct Options {
    torrents: usize,
    queries: usize,
    seconds: u32,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("directory: --torrents N, --queries N, --seconds N");
        return ExitCode::from(2);
    };
    println!("{}\n", machine::describe());
    paced(&options);
    searched(&options);
    ExitCode::SUCCESS
}

fn options() -> Option<Options> {
    let mut options = Options { torrents: 500_000, queries: 1000, seconds: 20 };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let number: usize = arguments.next()?.parse().ok().filter(|&number| number > 0)?;
        match name.as_str() {
            "--torrents" => options.torrents = number,
            "--queries" => options.queries = number,
            "--seconds" => options.seconds = u32::try_from(number).ok()?,
            _ => return None,
        }
    }
    Some(options)
}

/// Searching and publishing at a steady rate, with one core for the tracker.
fn paced(options: &Options) {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish", "--threads", "1"]);
    fill(&directory, PACED_TORRENTS);
    let pid = directory.tracker.process.pid();
    // All its threads, and those that it may start.
    harness::process::run(
        "taskset",
        std::process::Command::new("taskset").args(["-a", "-c", "-p", "0", &pid.to_string()]),
        Duration::from_secs(10),
    )
    .expect(0);
    let corpus = Corpus::new(PACED_TORRENTS);
    let (addr, seconds) = (directory.addr(), options.seconds);
    let before = usage::cpu_seconds(pid);
    let started = Instant::now();
    let (searches, publishes) = thread::scope(|scope| {
        let searcher = |number: u32| {
            let corpus = &corpus;
            scope.spawn(move || {
                at_rate(addr, SEARCHES / 4, seconds, |client, turn| {
                    let query = corpus.query((turn * 4 + number) as usize);
                    client.get(&format!("/api/v1/torrents?q={}", corpus::escape(&query))).expect(200);
                })
            })
        };
        let searchers: Vec<_> = (0..4).map(searcher).collect();
        let publisher = scope.spawn(|| {
            at_rate(addr, PUBLISHES, seconds, |client, turn| {
                client.post(&corpus.torrent(PACED_TORRENTS + turn as usize).bytes).expect(201);
            })
        });
        let searches: Vec<Duration> =
            searchers.into_iter().flat_map(|it| it.join().expect("no panic")).collect();
        (searches, publisher.join().expect("no panic"))
    });
    let wall = started.elapsed();
    println!("## {SEARCHES} searches and {PUBLISHES} publishes a second, the tracker on one core\n");
    println!("{PACED_TORRENTS} torrents to begin with; no error.\n");
    println!("| what | asked | p50 | p99 | longest |\n| --- | --- | --- | --- | --- |");
    row("search", &searches);
    row("publish, durable", &publishes);
    let busy = usage::cpu_seconds(pid) - before;
    println!(
        "\nThe core was busy for {:.0} % of {:.0} s.",
        100.0 * busy / wall.as_secs_f64(),
        wall.as_secs_f64()
    );
    println!();
}

/// Does this so often a second for so long on one connection; how long each took from when it was due.
fn at_rate(
    addr: SocketAddr,
    rate: u32,
    seconds: u32,
    mut one: impl FnMut(&mut Client, u32),
) -> Vec<Duration> {
    let mut client = Client::connect(addr);
    let started = Instant::now();
    (0..rate * seconds)
        .map(|turn| {
            let due = Duration::from_secs(1) * turn / rate;
            thread::sleep(due.saturating_sub(started.elapsed()));
            one(&mut client, turn);
            started.elapsed() - due
        })
        .collect()
}

/// Searches in a large directory, one after the other.
fn searched(options: &Options) {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    let started = Instant::now();
    fill(&directory, options.torrents);
    let filled = started.elapsed();
    let corpus = Corpus::new(options.torrents);
    announce(&directory, &corpus, options.torrents);
    let size = std::fs::metadata(sandbox.path("state/directory.sqlite")).map_or(0, |it| it.len());
    println!("## {} searches among {} torrents\n", options.queries, options.torrents);
    println!(
        "Published in {:.0} s ({:.0} a second, each synced); the database has {} MiB. One in {ALIVE} has a swarm.\n",
        filled.as_secs_f64(),
        options.torrents as f64 / filled.as_secs_f64(),
        size >> 20
    );
    let mut client = Client::connect(directory.addr());
    let (mut all, mut many) = (Vec::new(), 0);
    let mut by_order = vec![Vec::new(); ORDERS.len()];
    let mut by_filter = vec![Vec::new(); FILTERS.len()];
    for number in 0..options.queries {
        let query = corpus::escape(&corpus.query(number));
        let unfiltered = client.get(&format!("/api/v1/torrents?q={query}&limit=1")).expect(200).json();
        many += usize::from(unfiltered["total"].as_u64().is_some_and(|total| total > 10_000));
        // Each order and filter with frequent words and with rare ones, which take turns.
        let (order, filter) = (number / 2 % ORDERS.len(), number / 2 / ORDERS.len() % FILTERS.len());
        let target = format!("/api/v1/torrents?q={query}&sort={}{}", ORDERS[order], FILTERS[filter].1);
        let started = Instant::now();
        client.get(&target).expect(200);
        let took = started.elapsed();
        all.push(took);
        by_order[order].push(took);
        by_filter[filter].push(took);
    }
    println!("{many} of {} match more than 10,000 torrents.\n", options.queries);
    println!("| what | asked | p50 | p99 | longest |\n| --- | --- | --- | --- | --- |");
    row("all", &all);
    ORDERS.iter().zip(&by_order).for_each(|(name, times)| row(&format!("sort={name}"), times));
    FILTERS.iter().zip(&by_filter).for_each(|((name, _), times)| row(&format!("filter {name}"), times));
    println!("\nThe tracker has {} MiB resident.", usage::resident(directory.tracker.process.pid()) >> 20);
}

fn row(name: &str, times: &[Duration]) {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at =
        |part: f64| sorted.get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1)));
    let show = |time: Option<&Duration>| {
        time.map_or("–".into(), |time| format!("{:.1} ms", time.as_secs_f64() * 1000.0))
    };
    println!(
        "| {name} | {} | {} | {} | {} |",
        sorted.len(),
        show(at(0.5)),
        show(at(0.99)),
        show(sorted.last())
    );
}

/// Publishes so many torrents.
fn fill(directory: &Directory, torrents: usize) {
    let (addr, next) = (directory.addr(), AtomicUsize::new(0));
    let corpus = Corpus::new(torrents);
    thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(|| {
                let mut client = Client::connect(addr);
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= torrents {
                        return;
                    }
                    let torrent = corpus.torrent(number);
                    let target = format!("/api/v1/torrents?tags={}", torrent.tags);
                    // A queue that is full says so, and is tried again.
                    while client.post_to(&target, &torrent.bytes).status == 503 {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
    });
}

/// One in [`ALIVE`] gets a seeder, some get more.
fn announce(directory: &Directory, corpus: &Corpus, torrents: usize) {
    let mut client = Client::connect(directory.addr());
    for number in (0..torrents).step_by(ALIVE) {
        let hash = corpus.torrent(number).info_hash();
        for port in 1..=1 + (number / ALIVE % 20).saturating_sub(16) {
            client
                .get(&format!(
                    "/announce?{}",
                    harness::tracker::http::query(&hash, 1000 + port as u16, "left=0")
                ))
                .expect(200);
        }
    }
}
