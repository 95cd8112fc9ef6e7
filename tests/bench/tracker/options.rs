//! The command line of the benchmark.

use std::path::PathBuf;
use std::time::Duration;

use harness::bench;

use crate::contenders::Kind;
use crate::scenario::Scenario;
use crate::udp::LARGEST_BURST;

pub(crate) const USAGE: &str = "\
usage: cargo bench -p tests --bench tracker -- [OPTION VALUE]...

  --scenario NAME,...       what to run, or `all`                                [udp,udp-connect,http,http-close]
       udp                  announces over UDP, connection ids used again
       udp-connect          the same, with a connect before each announce
       http                 announces over HTTP, on connections that are kept
       http-close           the same, a connection for each
       memory               what 5 million peers over 500,000 torrents take, over IPv4
       memory6              the same, over IPv6
       expiry               the longest wait of an announce while 5 million peers expire; sprat alone
  --only TRACKER,...        of floor, sprat, opentracker, aquatic, torrust, bittorrent-tracker     [all of them]
  --runs N                  timed runs of each tracker; they take turns, and the median counts     [5]
  --seconds N               how long a run lasts, at what the tracker takes      [3]
  --torrents N              of the announces, by Zipf's law                      [100000]
  --peers N                 of all torrents                                      [200000]
  --numwant N               peers asked for                                      [50]
  --window N                announces under way over UDP                         [64]
  --burst N                 announces in a row from one source over UDP, 1 to 32 [4]
  --sources N               addresses and ports over UDP                         [1024]
  --connections N           over HTTP, each from an address of its own           [64]
  --rate N                  announces a second for the latencies; 0: none        [20000 over UDP, 4000 over HTTP]
  --memory-peers N          of memory and expiry                                 [5000000]
  --memory-torrents N       of memory and expiry                                 [500000]
  --tracker-core N          the core that the tracker is pinned to               [1]
  --load-core N             the core that the load is pinned to                  [0]
  --aquatic-udp PROGRAM     from crates.io                                       [aquatic_udp]
  --aquatic-http PROGRAM    from crates.io                                       [aquatic_http]
  --torrust PROGRAM         from crates.io                                       [torrust-tracker]
  --npm DIR                 a directory in which bittorrent-tracker was installed by npm   [.]
  --out FILE                the tables go there too, after every scenario

SPRAT_BIN names the sprat to measure. What is not installed is left out, and said so.
";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    only: Option<Vec<Kind>>,
    pub(crate) runs: usize,
    pub(crate) time: Duration,
    pub(crate) torrents: u32,
    pub(crate) peers: u32,
    pub(crate) numwant: i32,
    pub(crate) window: usize,
    pub(crate) burst: usize,
    pub(crate) sources: u32,
    pub(crate) connections: u32,
    rate: Option<f64>,
    pub(crate) memory_peers: u32,
    pub(crate) memory_torrents: u32,
    pub(crate) tracker_core: usize,
    pub(crate) load_core: usize,
    pub(crate) aquatic_udp: PathBuf,
    pub(crate) aquatic_http: PathBuf,
    pub(crate) torrust: PathBuf,
    pub(crate) npm: PathBuf,
    pub(crate) out: Option<PathBuf>,
    given: Vec<String>,
}

impl Options {
    /// Reads the arguments; `None`: help was asked for.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        // `cargo bench` adds --bench.
        let given: Vec<String> = arguments.filter(|argument| argument != "--bench").collect();
        if given.iter().any(|argument| argument == "--help" || argument == "-h") {
            return Ok(None);
        }
        let mut options = Self {
            scenarios: vec![Scenario::Udp, Scenario::UdpConnect, Scenario::Http, Scenario::HttpClose],
            only: None,
            runs: 5,
            time: Duration::from_secs(3),
            torrents: 100_000,
            peers: 200_000,
            numwant: 50,
            window: 64,
            burst: 4,
            sources: 1024,
            connections: 64,
            rate: None,
            memory_peers: 5_000_000,
            memory_torrents: 500_000,
            tracker_core: 1,
            load_core: 0,
            aquatic_udp: "aquatic_udp".into(),
            aquatic_http: "aquatic_http".into(),
            torrust: "torrust-tracker".into(),
            npm: ".".into(),
            out: None,
            given,
        };
        for pair in options.given.clone().chunks(2) {
            let [option, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let bad = || format!("{option}: {value} won't do");
            let count = || value.parse::<u32>().ok().filter(|&count| count > 0).ok_or_else(bad);
            let core = || value.parse::<usize>().map_err(|_| bad());
            match option.as_str() {
                "--scenario" if value == "all" => options.scenarios = Scenario::ALL.to_vec(),
                "--scenario" => {
                    let scenarios = value.split(',').map(Scenario::parse).collect::<Option<_>>();
                    options.scenarios = scenarios.ok_or_else(bad)?;
                }
                "--only" => {
                    options.only =
                        Some(value.split(',').map(Kind::parse).collect::<Option<_>>().ok_or_else(bad)?);
                }
                "--runs" => options.runs = count()? as usize,
                "--seconds" => options.time = Duration::from_secs(count()?.into()),
                "--torrents" => options.torrents = count()?,
                "--peers" => options.peers = count()?,
                "--numwant" => options.numwant = value.parse().map_err(|_| bad())?,
                "--window" => options.window = count()? as usize,
                "--burst" => options.burst = count()? as usize,
                "--sources" => options.sources = count()?,
                "--connections" => options.connections = count()?,
                "--rate" => {
                    options.rate = Some(value.parse().ok().filter(|&rate| rate >= 0.0).ok_or_else(bad)?);
                }
                "--memory-peers" => options.memory_peers = count()?,
                "--memory-torrents" => options.memory_torrents = count()?,
                "--tracker-core" => options.tracker_core = core()?,
                "--load-core" => options.load_core = core()?,
                "--aquatic-udp" => options.aquatic_udp = value.into(),
                "--aquatic-http" => options.aquatic_http = value.into(),
                "--torrust" => options.torrust = value.into(),
                "--npm" => options.npm = value.into(),
                "--out" => options.out = Some(value.into()),
                _ => return Err(format!("no such option: {option}")),
            }
        }
        if options.burst > LARGEST_BURST || options.burst > options.window {
            return Err(format!("--burst: at most {LARGEST_BURST}, and the window"));
        }
        Ok(Some(options))
    }

    /// Whether this tracker takes part.
    pub(crate) fn wants(&self, kind: Kind) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&kind))
    }

    /// Announces a second for the latencies; `None`: they are not asked for.
    pub(crate) fn rate(&self, scenario: Scenario) -> Option<f64> {
        let default = if scenario.is_udp() { 20_000.0 } else { 4_000.0 };
        Some(self.rate.unwrap_or(default)).filter(|&rate| rate > 0.0)
    }

    /// The command line that does this again, but for where things lie.
    pub(crate) fn command(&self) -> String {
        let places = ["--aquatic-udp", "--aquatic-http", "--torrust", "--npm", "--out"];
        bench::command("tracker", &self.given, &places)
    }
}
