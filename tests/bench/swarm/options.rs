//! The command line of the benchmark.

use std::path::{Path, PathBuf};

use harness::bench::{self, size};
use harness::foreign::libtorrent;

use crate::clients::Client;
use crate::scenario::{self, Scenario};

pub(crate) const USAGE: &str = "\
usage: cargo bench -p tests --bench swarm -- [OPTION VALUE]...       (as root: it makes network namespaces)

  --scenario NAME,...       what to run, or `all`                                [orientation]
       orientation          8 leechers of 10 Mbit/s up and 40 down, a seeder of 20
       flash                20 leechers and a seeder of 4 Mbit/s
       b0                   the same with sprat alone, to be held against the simulator
       classes-stay         10 leechers each of 1, 3 and 10 Mbit/s, a seeder of 10; who has all of it goes on seeding
       classes-leave        the same; who has all of it leaves
       riders               as flash, but a quarter of the leechers uploads nothing
       seed-leaves          as flash; the seeder leaves once it has sent about one copy, the others once they have all of it
       slow-source          as flash, but the seeder has 8 Mbit/s, and slows down to 1 % of it at 98 %
       mixed                as flash, half of the leechers and the seeder sprat, the others libtorrent or transmission
  --only CLIENT,...         of sprat, libtorrent, transmission, aria2, rqbit     [all of them]
                            and sprat-utp: sprat over uTP alone
  --runs N                  runs of each client; they take turns                 [5]
  --size SIZE               bytes of the payload                                 [64MiB]
  --copies X                how many copies the seeder of seed-leaves sends      [1.05]
  --congestion NAME         the congestion control of TCP                        [cubic]
  --libtorrent PYTHON       a Python that has libtorrent, such as one in a venv  [/usr/bin/python3]
  --rqbit PROGRAM           rqbit                                                [rqbit]
  --dir DIR                 where payload and copies go                          [/dev/shm, else the temporary directory]
  --out FILE                the tables go there too, after every run
  --trace FILE              for every run, what every peer sent and had, a line a second
  --keep DIR                what every process said, a file each

transmission-daemon and aria2c are those of the PATH. What is not installed is left out, and said so.
";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// Their names.
    scenarios: Vec<String>,
    /// Which clients; `None`: all.
    only: Option<Vec<Client>>,
    /// Runs of each contender in each scenario.
    pub(crate) runs: usize,
    /// Of the payload, in bytes.
    pub(crate) size: u64,
    /// After how many copies the seeder of `seed-leaves` goes.
    pub(crate) copies: f64,
    /// For the hosts' TCP.
    pub(crate) congestion: String,
    /// A Python that may have libtorrent.
    pub(crate) libtorrent: PathBuf,
    /// rqbit's program.
    pub(crate) rqbit: PathBuf,
    /// Where data goes.
    pub(crate) dir: PathBuf,
    /// Where the tables go.
    pub(crate) out: Option<PathBuf>,
    /// Where traces go.
    pub(crate) trace: Option<PathBuf>,
    /// Where logs go.
    pub(crate) keep: Option<PathBuf>,
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
        let shm = Path::new("/dev/shm");
        let mut options = Self {
            scenarios: vec!["orientation".into()],
            only: None,
            runs: 5,
            size: 64 << 20,
            copies: 1.05,
            congestion: "cubic".into(),
            libtorrent: libtorrent::PYTHON.into(),
            rqbit: "rqbit".into(),
            dir: if shm.is_dir() { shm.into() } else { std::env::temp_dir() },
            out: None,
            trace: None,
            keep: None,
            given,
        };
        for pair in options.given.clone().chunks(2) {
            let [option, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let bad = || format!("{option}: {value} won't do");
            match option.as_str() {
                "--scenario" if value == "all" => {
                    options.scenarios = scenario::NAMES.map(Into::into).to_vec();
                }
                "--scenario" => options.scenarios = value.split(',').map(Into::into).collect(),
                "--only" => {
                    let clients = value.split(',').map(Client::parse).collect::<Option<_>>();
                    options.only = Some(clients.ok_or_else(bad)?);
                }
                "--runs" => {
                    options.runs = value.parse().ok().filter(|&runs| runs > 0).ok_or_else(bad)?;
                }
                "--size" => options.size = size(value).ok_or_else(bad)?,
                "--copies" => {
                    options.copies = value.parse().ok().filter(|&copies| copies > 0.0).ok_or_else(bad)?;
                }
                "--congestion" => options.congestion.clone_from(value),
                "--libtorrent" => options.libtorrent = value.into(),
                "--rqbit" => options.rqbit = value.into(),
                "--dir" => options.dir = value.into(),
                "--out" => options.out = Some(value.into()),
                "--trace" => options.trace = Some(value.into()),
                "--keep" => options.keep = Some(value.into()),
                _ => return Err(format!("no such option: {option}")),
            }
        }
        for name in &options.scenarios {
            options.scenario(name).ok_or_else(|| format!("no such scenario: {name}"))?;
        }
        Ok(Some(options))
    }

    /// What to run.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        self.scenarios.iter().filter_map(|name| self.scenario(name)).collect()
    }

    fn scenario(&self, name: &str) -> Option<Scenario> {
        Scenario::named(name, self.size, self.copies)
    }

    /// Whether this client takes part.
    pub(crate) fn wants(&self, client: Client) -> bool {
        match &self.only {
            Some(only) => only.contains(&client),
            None => client != Client::SpratUtp,
        }
    }

    /// The command line that does this again, but for where things lie.
    pub(crate) fn command(&self) -> String {
        bench::command(
            "swarm",
            &self.given,
            &["--dir", "--out", "--trace", "--keep", "--libtorrent", "--rqbit"],
        )
    }
}
