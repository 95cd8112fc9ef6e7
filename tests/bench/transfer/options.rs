//! The command line of the benchmark.

use std::path::{Path, PathBuf};

use harness::bench::{self, size};
use harness::foreign::libtorrent;

use crate::clients::Client;

pub(crate) const USAGE: &str = "\
usage: cargo bench -p tests --bench transfer -- [OPTION VALUE]...

  --case CASE,...       what to measure                                             [one-file]
       one-file         one seeder, one downloader, one file
       tree             the same with many files
       delay            the same over a path of 100 ms there and back, and 100 Mbit/s
       peers            200 peers at one seeder, 50 of them active
       start            how long a seeder takes to start with what it has checked before
       idle             what a seeder of 2^17 pieces holds
  --only PAIR,...       of sprat, old, libtorrent, rqbit, aria2, transmission, floor (at both ends), or SEEDER/DOWNLOADER; `same`: all
                        that are the same at both ends; `cross`: each with libtorrent at the other end      [same,cross]
  --size SIZE           bytes of the payload                                        [one-file 4GiB, tree and peers 1GiB, delay 256MiB,
                                                                                     start 100GiB, idle 1024GiB]
  --files N             files of the tree                                           [20000]
  --runs N              runs of each contender; they take turns, the median counts  [3]
  --dir DIR             where payload and copies go                                 [/dev/shm, else the temporary directory]
  --payload FILE        what one-file moves; it must lie on the file system of DIR  [random bytes, made anew]
  --sprat PROGRAM       sprat                                                       [built for it]
  --old PROGRAM         another sprat, to compare with
  --libtorrent PYTHON   a Python that has libtorrent, such as one in a venv         [/usr/bin/python3]
  --rqbit PROGRAM       rqbit                                                       [rqbit]
  --out FILE            the tables go there too, after every case

transmission-daemon, transmission-remote and aria2c are those of the PATH. What is not installed is left out, and said so.
";

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Case {
    OneFile,
    Tree,
    Delay,
    Peers,
    Start,
    Idle,
}

/// Who gives, and who takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    pub(crate) seeder: Client,
    pub(crate) downloader: Client,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) cases: Vec<Case>,
    /// In this order.
    pub(crate) pairs: Vec<Pair>,
    size: Option<u64>,
    /// Of the tree.
    pub(crate) files: u32,
    /// Runs of each contender.
    pub(crate) runs: usize,
    /// Where data goes.
    pub(crate) dir: PathBuf,
    /// What to move instead of random bytes.
    pub(crate) payload: Option<PathBuf>,
    /// sprat's program.
    pub(crate) sprat: Option<PathBuf>,
    /// Another sprat's.
    pub(crate) old: Option<PathBuf>,
    /// A Python that may have libtorrent.
    pub(crate) libtorrent: PathBuf,
    /// rqbit's program.
    pub(crate) rqbit: PathBuf,
    out: Option<PathBuf>,
    given: Vec<String>,
}

impl Case {
    fn parse(name: &str) -> Option<Self> {
        let all = [Self::OneFile, Self::Tree, Self::Delay, Self::Peers, Self::Start, Self::Idle];
        all.into_iter().find(|case| case.name() == name)
    }

    /// As the command line calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneFile => "one-file",
            Self::Tree => "tree",
            Self::Delay => "delay",
            Self::Peers => "peers",
            Self::Start => "start",
            Self::Idle => "idle",
        }
    }
}

impl Pair {
    fn same(client: Client) -> Self {
        Self { seeder: client, downloader: client }
    }

    /// Whether both ends are the same client of other people.
    pub(crate) fn is_of_others(self) -> bool {
        let ours = matches!(self.seeder, Client::Sprat | Client::Old | Client::Floor);
        self.seeder == self.downloader && !ours
    }

    fn parse(text: &str) -> Option<Vec<Self>> {
        match text {
            "same" => Some(Client::ALL.map(Self::same).to_vec()),
            "cross" => {
                let others = Client::ALL.into_iter().filter(|client| client.crosses());
                let both = |client| {
                    [
                        Self { seeder: client, downloader: Client::Libtorrent },
                        Self { seeder: Client::Libtorrent, downloader: client },
                    ]
                };
                Some(others.flat_map(both).collect())
            }
            _ => match text.split_once('/') {
                Some((seeder, downloader)) => {
                    let (seeder, downloader) = (Client::parse(seeder)?, Client::parse(downloader)?);
                    let speaks = |client| client == Client::Floor;
                    (speaks(seeder) == speaks(downloader)).then(|| vec![Self { seeder, downloader }])
                }
                None => Some(vec![Self::same(Client::parse(text)?)]),
            },
        }
    }
}

impl Options {
    /// Reads the arguments; `None`: help was asked for.
    pub(crate) fn read(arguments: Vec<String>) -> Result<Option<Self>, String> {
        // `cargo bench` adds --bench.
        let given: Vec<String> = arguments.into_iter().filter(|argument| argument != "--bench").collect();
        if given.iter().any(|argument| argument == "--help" || argument == "-h") {
            return Ok(None);
        }
        let pairs = |value: &str| {
            let pairs: Option<Vec<_>> = value.split(',').map(Pair::parse).collect();
            pairs.map(|pairs| pairs.concat())
        };
        let shm = Path::new("/dev/shm");
        let mut options = Self {
            cases: vec![Case::OneFile],
            pairs: pairs("same,cross").unwrap_or_default(),
            size: None,
            files: 20_000,
            runs: 3,
            dir: if shm.is_dir() { shm.into() } else { std::env::temp_dir() },
            payload: None,
            sprat: None,
            old: None,
            libtorrent: libtorrent::PYTHON.into(),
            rqbit: "rqbit".into(),
            out: None,
            given,
        };
        for pair in options.given.clone().chunks(2) {
            let [option, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let bad = || format!("{option}: {value} won't do");
            match option.as_str() {
                "--case" => {
                    let cases = value.split(',').map(Case::parse).collect::<Option<_>>();
                    options.cases = cases.ok_or_else(bad)?;
                }
                "--only" => options.pairs = pairs(value).ok_or_else(bad)?,
                "--size" => options.size = Some(size(value).ok_or_else(bad)?),
                "--files" => {
                    options.files = value.parse().ok().filter(|&files| files > 0).ok_or_else(bad)?;
                }
                "--runs" => {
                    options.runs = value.parse().ok().filter(|&runs| runs > 0).ok_or_else(bad)?;
                }
                "--dir" => options.dir = value.into(),
                "--payload" => options.payload = Some(value.into()),
                "--sprat" => options.sprat = Some(value.into()),
                "--old" => options.old = Some(value.into()),
                "--libtorrent" => options.libtorrent = value.into(),
                "--rqbit" => options.rqbit = value.into(),
                "--out" => options.out = Some(value.into()),
                _ => return Err(format!("no such option: {option}")),
            }
        }
        Ok(Some(options))
    }

    /// Whether this client is to be seen in the cases that know seeders alone.
    pub(crate) fn wants(&self, seeder: Client) -> bool {
        self.pairs.contains(&Pair::same(seeder))
    }

    /// Bytes to move, where it is not said: `default`.
    pub(crate) fn size(&self, default: u64) -> u64 {
        self.size.unwrap_or(default)
    }

    /// Writes the tables to where they were wanted.
    pub(crate) fn save(&self, text: &str) {
        if let Some(path) = &self.out {
            std::fs::write(path, text).expect("--out can be written");
        }
    }

    /// The command line that does this again, but for where things lie.
    pub(crate) fn command(&self) -> String {
        let places = ["--dir", "--payload", "--sprat", "--old", "--libtorrent", "--rqbit", "--out"];
        bench::command("transfer", &self.given, &places)
    }
}
