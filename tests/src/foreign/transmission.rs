//! transmission-daemon, asked through transmission-remote on its host's loopback.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Encryption, Options};
use crate::netns::Host;
use crate::process::{self, Process};
use crate::require::{require_peer, require_version};
use crate::wait::{self, LONG, SOON};

/// A running daemon with one torrent.
#[derive(Debug)]
pub struct Transmission {
    host: Host,
    // Killed when dropped.
    _daemon: Process,
}

/// Whether its programs are installed.
pub fn require() -> bool {
    ["transmission-daemon", "transmission-remote"].into_iter().all(require_peer)
}

/// Whether it is installed and can read hybrids: before 4.0 it refused every .torrent with an empty key, which each file of v2 has
/// (transmission/transmission#1339). Debian 12 has 3.00.
pub fn require_hybrids() -> bool {
    require() && require_version("transmission-daemon", [4, 0], "hybrids")
}

/// The info hash that transmission-show reads from a .torrent, in hexadecimal.
///
/// # Panics
/// If it can't be run, or refuses the torrent.
#[track_caller]
pub fn show_info_hash(torrent: &Path) -> String {
    let shown = process::run("transmission-show", Command::new("transmission-show").arg(torrent), SOON)
        .expect(0)
        .stdout();
    // 4.0 says which version's it is.
    let keys = ["Hash: ", "Hash v1: "];
    let hash = shown.lines().find_map(|line| keys.iter().find_map(|key| line.trim().strip_prefix(key)));
    hash.unwrap_or_else(|| panic!("transmission-show says no hash:\n{shown}")).trim().to_owned()
}

/// Whether its creator is installed.
pub fn require_create() -> bool {
    require_peer("transmission-create")
}

/// Makes a .torrent of `payload` at `output`. It leaves out empty files, and before 4.0 writes `private` = 0 into
/// `info`.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn create(payload: &Path, output: &Path, piece_length: u32) {
    let mut create = Command::new("transmission-create");
    create.args(["-s", &(piece_length >> 10).to_string(), "-o"]).arg(output).arg(payload);
    process::run("transmission-create", &mut create, LONG).expect(0);
}

impl Transmission {
    /// See [`super::Client::start`].
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start(host: &Host, work: &Path, torrent: &Path, data: &Path) -> Self {
        Self::start_with(host, work, torrent, data, Options::default())
    }

    /// Like [`Self::start`], with other options.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[track_caller]
    pub fn start_with(host: &Host, work: &Path, torrent: &Path, data: &Path, options: Options) -> Self {
        let encryption = match options.encryption {
            Encryption::Off => 0,
            Encryption::Allowed => 1,
            Encryption::Required => 2,
        };
        let settings = json!({
            "dht-enabled": false, "lpd-enabled": false, "pex-enabled": options.pex, "utp-enabled": options.utp,
            "port-forwarding-enabled": false, "encryption": encryption, "ratio-limit-enabled": false,
            "bind-address-ipv4": host.address().to_string(), "peer-port": 51413,
            "rpc-enabled": true, "rpc-bind-address": "127.0.0.1", "rpc-port": 9091, "rpc-whitelist": "127.0.0.1",
            "download-dir": data, "incomplete-dir-enabled": false, "start-added-torrents": true, "download-queue-enabled": false,
        });
        std::fs::create_dir_all(work).expect("a test directory can be made");
        std::fs::write(work.join("settings.json"), settings.to_string()).expect("a test file can be written");
        let mut daemon = host.command("transmission-daemon");
        daemon.args(["--foreground", "--log-info", "--config-dir"]).arg(work);
        let daemon = Process::spawn("transmission-daemon", &mut daemon);
        let this = Self { host: host.clone(), _daemon: daemon };
        let torrent = torrent.to_str().expect("test paths are UTF-8");
        wait::until("transmission-daemon's RPC", SOON, || this.remote(&["--add", torrent]));
        this
    }

    /// See [`super::Peer::wait_seeding`].
    #[track_caller]
    pub fn wait_seeding(&self) {
        self.wait_state("whole and seeding");
    }

    /// See [`super::Peer::verify`].
    #[track_caller]
    pub fn verify(self) {
        self.remote(&["--torrent", "1", "--verify"]).expect("the daemon answers");
        self.wait_state("whole after its own check");
    }

    #[track_caller]
    fn wait_state(&self, what: &str) {
        let mut last = String::new();
        let reached = wait::try_until(LONG, || {
            last = self.remote(&["--torrent", "1", "--info"])?;
            let says = |key: &str, values: &[&str]| {
                last.lines()
                    .filter_map(|line| line.trim().strip_prefix(key))
                    .any(|value| values.contains(&value.trim()))
            };
            (says("Percent Done:", &["100%"]) && says("State:", &["Seeding", "Idle"])).then_some(())
        });
        assert!(reached.is_some(), "transmission-daemon: never {what}; last\n{last}");
    }

    /// What transmission-remote answers; `None` if it fails.
    fn remote(&self, args: &[&str]) -> Option<String> {
        let mut remote = self.host.command("transmission-remote");
        let finished = process::run("transmission-remote", remote.arg("127.0.0.1:9091").args(args), SOON);
        (finished.code == Some(0)).then(|| finished.stdout())
    }
}
