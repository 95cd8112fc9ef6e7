//! libtorrent (rasterbar), through Debian's Python binding and a small script.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{Encryption, Options};
use crate::netns::Host;
use crate::process::{self, Process};
use crate::require::require_libtorrent;
use crate::wait::{LONG, SOON};

const SCRIPT: &str = include_str!("../../data/libtorrent_peer.py");

/// A script that creates and checks torrents: what it takes is said in its beginning.
pub const CREATE_SCRIPT: &str = include_str!("../../data/libtorrent_create.py");

/// The Python for which Debian packages its modules; others in the PATH don't have them.
pub const PYTHON: &str = "/usr/bin/python3";

/// A running libtorrent with one torrent.
#[derive(Debug)]
pub struct Libtorrent {
    process: Process,
    // Keeps its network as long as it runs.
    _host: Host,
}

/// Whether it is installed.
pub fn require() -> bool {
    require_libtorrent()
}

/// The info hash that libtorrent reads from a .torrent, in hexadecimal.
///
/// # Panics
/// If it can't be run, or refuses the torrent.
#[track_caller]
pub fn show_info_hash(torrent: &Path) -> String {
    let mut python = Command::new(PYTHON);
    let shown =
        process::run("libtorrent", python.args(["-c", SCRIPT, "show"]).arg(torrent), SOON).expect(0).stdout();
    let hash = shown.lines().find_map(|line| line.strip_prefix("info hash "));
    hash.unwrap_or_else(|| panic!("libtorrent says no hash:\n{shown}")).to_owned()
}

/// What libtorrent says of a torrent that it made or checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashes {
    /// The v1 info hash in hexadecimal; `None`: the torrent has only v2.
    pub v1: Option<String>,
    /// The v2 info hash in hexadecimal; `None`: the torrent has only v1.
    pub v2: Option<String>,
}

/// One torrent to make.
#[derive(Clone, Debug)]
pub struct Job {
    /// `v1`, `v2` or `hybrid`
    pub format: &'static str,
    /// In bytes.
    pub piece_length: u32,
    /// A file or directory.
    pub payload: PathBuf,
    /// Where the .torrent goes.
    pub output: PathBuf,
}

/// Makes all of them, in one process.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn create(jobs: &[Job]) -> Vec<Hashes> {
    let mut python = Command::new(PYTHON);
    python.args(["-c", CREATE_SCRIPT, "create"]);
    for job in jobs {
        python.args([job.format, &job.piece_length.to_string()]).arg(&job.payload).arg(&job.output);
    }
    let said = process::run("libtorrent create", &mut python, LONG).expect(0).stdout();
    let hashes: Vec<_> = said.lines().map(|line| Hashes::read(&mut line.split(' '))).collect();
    assert_eq!(hashes.len(), jobs.len(), "a line a torrent:\n{said}");
    hashes
}

/// Has it hash the data of each torrent, in the directory that holds its named file or directory. Nothing is downloaded.
///
/// # Panics
/// If it refuses a torrent, or does not find all data whole.
#[track_caller]
pub fn check(torrents: &[(PathBuf, PathBuf)]) -> Vec<Hashes> {
    let mut python = Command::new(PYTHON);
    python.args(["-c", CREATE_SCRIPT, "check"]);
    python.args(torrents.iter().flat_map(|(torrent, data)| [torrent, data]));
    let said = process::run("libtorrent check", &mut python, LONG).expect(0).stdout();
    let mut found = Vec::new();
    for ((torrent, _), line) in torrents.iter().zip(said.lines()) {
        let mut words = line.split(' ');
        found.push(Hashes::read(&mut words));
        assert_eq!(words.next(), Some("1.000000"), "how much is whole of {}", torrent.display());
    }
    assert_eq!(found.len(), torrents.len(), "a line a torrent:\n{said}");
    found
}

impl Hashes {
    fn read<'a>(words: &mut impl Iterator<Item = &'a str>) -> Self {
        let mut hash = || words.next().filter(|&word| word != "-").map(str::to_owned);
        Self { v1: hash(), v2: hash() }
    }
}

impl Libtorrent {
    /// See [`super::Client::start`]; `source` is the path of a .torrent, or a magnet.
    #[track_caller]
    pub fn start(host: &Host, source: impl AsRef<OsStr>, data: &Path) -> Self {
        Self::start_with(host, source, data, &[])
    }

    /// Like [`Self::start`], with other options.
    #[track_caller]
    pub fn start_as(host: &Host, source: impl AsRef<OsStr>, data: &Path, options: Options) -> Self {
        // libtorrent's `enc_policy` and `enc_level`.
        let (policy, level) = match options.encryption {
            Encryption::Off => (2, 3),
            Encryption::Allowed => (1, 3),
            Encryption::Required => (0, 2),
        };
        let utp = options.utp;
        let settings = json!({
            "out_enc_policy": policy, "in_enc_policy": policy, "allowed_enc_level": level,
            "enable_outgoing_utp": utp, "enable_incoming_utp": utp,
            "enable_outgoing_tcp": !utp, "enable_incoming_tcp": !utp,
        });
        let settings = format!("settings={settings}");
        let words = ["pex", &settings];
        Self::start_with(host, source, data, &words[usize::from(!options.pex)..])
    }

    /// With more ways to find peers: `lsd`, `pex`, `peer=ADDRESS:PORT`.
    #[track_caller]
    pub fn start_with(host: &Host, source: impl AsRef<OsStr>, data: &Path, words: &[&str]) -> Self {
        std::fs::create_dir_all(data).expect("a test directory can be made");
        let mut python = host.command(PYTHON);
        python.args(["-c", SCRIPT, "peer"]).arg(source).arg(data).arg(host.address().to_string()).arg("6881");
        python.args(words);
        Self { process: Process::spawn("libtorrent", &mut python), _host: host.clone() }
    }

    /// Waits until it can be dialled.
    #[track_caller]
    pub fn wait_listening(&self) {
        self.process.wait_line("successfully listening on [TCP]", LONG);
    }

    /// See [`super::Peer::wait_seeding`].
    #[track_caller]
    pub fn wait_seeding(&self) {
        self.process.wait_for("libtorrent seeding", LONG, |lines| {
            lines.iter().any(|line| line.text == "seeding").then_some(())
        });
    }

    /// See [`super::Peer::verify`]. It hashes once more by itself after a download.
    #[track_caller]
    pub fn verify(self) {
        let line = self.process.wait_line("rechecked", LONG);
        assert_eq!(line, "rechecked 1.0000");
    }
}

const DHT_SCRIPT: &str = include_str!("../../data/libtorrent_dht.py");

/// Nodes of the DHT on loopback, all of them libtorrent's.
#[derive(Debug)]
pub struct DhtNodes {
    process: Process,
    /// The first, with which the others began.
    pub router: SocketAddr,
}

impl DhtNodes {
    /// Starts so many; the last one seeds these torrents, whose data is in `data`.
    ///
    /// # Panics
    /// If they don't start.
    #[track_caller]
    pub fn start(count: usize, data: &Path, torrents: &[PathBuf]) -> Self {
        let mut python = Command::new(PYTHON);
        python.args(["-c", DHT_SCRIPT, &count.to_string()]).arg(data).args(torrents);
        let process = Process::spawn("libtorrent's DHT nodes", &mut python);
        let nodes = process.wait_for("every node", SOON, |lines| {
            let ports: Vec<u16> = numbers(lines, "node ").map(|numbers| numbers[0]).collect();
            (ports.len() == count).then_some(ports)
        });
        Self { process, router: SocketAddr::from(([127, 0, 0, 1], nodes[0])) }
    }

    /// Waits until half of them know so many others.
    ///
    /// # Panics
    /// If they never do.
    #[track_caller]
    pub fn wait_known(&self, nodes: u16) {
        self.process.wait_for("nodes that know each other", LONG, |lines| {
            let mut latest = BTreeMap::new();
            latest.extend(numbers(lines, "known ").map(|numbers| (numbers[0], numbers[1])));
            (latest.values().filter(|&&known| known >= nodes).count() * 2 >= latest.len().max(1))
                .then_some(())
        });
    }
}

/// The numbers of each line that begins so.
fn numbers<'a>(lines: &'a [process::Line], start: &'a str) -> impl Iterator<Item = Vec<u16>> + 'a {
    let lines = lines.iter().filter_map(move |line| line.text.strip_prefix(start));
    lines.map(|rest| rest.split(' ').map(|number| number.parse().expect("a number")).collect())
}
