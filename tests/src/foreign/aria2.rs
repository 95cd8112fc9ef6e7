//! aria2c.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Encryption, Options};
use crate::netns::Host;
use crate::process::{self, Process};
use crate::require::{require_peer, require_version};
use crate::wait::{LONG, SOON};

/// A running aria2c with one torrent.
#[derive(Debug)]
pub struct Aria2 {
    host: Host,
    torrent: PathBuf,
    data: PathBuf,
    process: Process,
}

/// Whether it is installed.
pub fn require() -> bool {
    require_peer("aria2c")
}

/// Whether it is installed and can read hybrids: before 1.37 it lost the empty key of each file of v2, and so had another info hash
/// than everybody else (aria2/aria2#1903). Debian 12 has 1.36.
pub fn require_hybrids() -> bool {
    require() && require_version("aria2c", [1, 37], "hybrids")
}

/// The info hash that aria2c reads from a .torrent, in hexadecimal.
///
/// # Panics
/// If it can't be run, or refuses the torrent.
#[track_caller]
pub fn show_info_hash(torrent: &Path) -> String {
    let mut show = Command::new("aria2c");
    let shown = process::run("aria2c", show.args(["--no-conf", "--show-files"]).arg(torrent), SOON)
        .expect(0)
        .stdout();
    let hash = shown.lines().find_map(|line| line.trim().strip_prefix("Info Hash: "));
    hash.unwrap_or_else(|| panic!("aria2c says no hash:\n{shown}")).trim().to_owned()
}

impl Aria2 {
    /// See [`super::Client::start`].
    #[track_caller]
    pub fn start(host: &Host, work: &Path, torrent: &Path, data: &Path) -> Self {
        Self::start_with(host, work, torrent, data, Options::default())
    }

    /// Like [`Self::start`], with other options.
    #[track_caller]
    pub fn start_with(host: &Host, work: &Path, torrent: &Path, data: &Path, options: Options) -> Self {
        std::fs::create_dir_all(work).expect("a test directory can be made");
        std::fs::create_dir_all(data).expect("a test directory can be made");
        let mut command = command(host, torrent, data);
        // A ratio of 0 is no limit: it seeds until it is killed.
        command.args(["--seed-ratio=0.0", "--file-allocation=none", "--listen-port=6881"]);
        if options.encryption == Encryption::Required {
            command.args(["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"]);
        }
        let process = Process::spawn("aria2c", command.current_dir(work));
        Self { host: host.clone(), torrent: torrent.to_owned(), data: data.to_owned(), process }
    }

    /// See [`super::Peer::wait_seeding`].
    #[track_caller]
    pub fn wait_seeding(&self) {
        self.process.wait_for("aria2c seeding", LONG, |lines| {
            let seeds = |text: &str| {
                text.contains("Seeding is over") || text.contains("[SEED") || text.contains("SEED(")
            };
            let complete = |text: &str| {
                text.contains("Download") && text.contains("complete") && text.contains("[NOTICE]")
            };
            lines.iter().any(|line| seeds(&line.text) || complete(&line.text)).then_some(())
        });
    }

    /// See [`super::Peer::verify`].
    #[track_caller]
    pub fn verify(self) {
        self.process.kill();
        let mut check = command(&self.host, &self.torrent, &self.data);
        process::run("aria2c", check.args(["--hash-check-only=true", "--seed-time=0"]), LONG).expect(0);
    }
}

fn command(host: &Host, torrent: &Path, data: &Path) -> Command {
    let mut command = host.command("aria2c");
    command.args([
        "--no-conf",
        "--check-integrity=true",
        "--console-log-level=notice",
        "--summary-interval=1",
    ]);
    command.args([
        "--enable-dht=false",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
    ]);
    command.args([
        "--disable-ipv6=true",
        "--allow-overwrite=true",
        "--enable-color=false",
        "--follow-torrent=mem",
    ]);
    command.arg(format!("--interface={}", host.address())).arg(format!("--dir={}", data.display()));
    command.arg(format!("--torrent-file={}", torrent.display()));
    command
}
