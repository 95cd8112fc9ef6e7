//! libtorrent (rasterbar), through Debian's Python binding and a small script.

use std::path::Path;
use std::process::Command;

use crate::netns::Host;
use crate::process::{self, Process};
use crate::require::require_libtorrent;
use crate::wait::{LONG, SOON};

const SCRIPT: &str = include_str!("../../data/libtorrent_peer.py");

/// The Python for which Debian packages its modules; others in the PATH don't have them.
const PYTHON: &str = "/usr/bin/python3";

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

impl Libtorrent {
    /// See [`super::Client::start`].
    #[track_caller]
    pub fn start(host: &Host, torrent: &Path, data: &Path) -> Self {
        std::fs::create_dir_all(data).expect("a test directory can be made");
        let mut python = host.command(PYTHON);
        python
            .args(["-c", SCRIPT, "peer"])
            .arg(torrent)
            .arg(data)
            .arg(host.address().to_string())
            .arg("6881");
        Self { process: Process::spawn("libtorrent", &mut python), _host: host.clone() }
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
