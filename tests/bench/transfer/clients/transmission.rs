//! transmission-daemon. It gets its torrent through a directory that it watches, and has the last piece when it runs the script for that
//! occasion.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Job, done_script};

pub(super) const SETTINGS: &str = "cache-size-mb 64, preallocation off; over an address of the machine's own, as it takes no peers on 127.0.0.1";

pub(super) fn command(program: &Path, job: &Job<'_>) -> Command {
    let watched = job.work.join("watched");
    fs::create_dir_all(&watched)
        .and_then(|()| fs::copy(job.torrent, watched.join("it.torrent")))
        .expect("a file can be copied");
    let settings = json!({
        "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "port-forwarding-enabled": false,
        "utp-enabled": false, "preferred_transport": "tcp", "encryption": 0, "cache-size-mb": 64, "preallocation": 0,
        "bind-address-ipv4": job.addr.ip().to_string(), "peer-port": job.addr.port(), "peer-limit-per-torrent": 300,
        "peer-limit-global": 400, "upload-slots-per-torrent": 300,
        "rpc-enabled": true, "rpc-port": job.control, "rpc-bind-address": "127.0.0.1", "rpc-whitelist-enabled": false,
        "download-dir": job.data, "incomplete-dir-enabled": false, "start-added-torrents": true,
        "watch-dir": watched, "watch-dir-enabled": true, "torrent-added-verify-mode": "full",
        "ratio-limit-enabled": false, "idle-seeding-limit-enabled": false,
        "script-torrent-done-enabled": true, "script-torrent-done-filename": done_script(job.work),
    });
    fs::write(job.work.join("settings.json"), settings.to_string()).expect("a file can be written");
    let mut command = Command::new(program);
    command.args(["--foreground", "--config-dir"]).arg(job.work);
    command
}

/// Whether its one torrent is whole and checked.
pub(super) fn is_seeding(control: u16) -> Option<()> {
    let remote =
        Command::new("transmission-remote").arg(format!("127.0.0.1:{control}")).arg("-l").output().ok()?;
    let said = String::from_utf8_lossy(&remote.stdout);
    said.lines()
        .any(|line| line.contains("100%") && (line.contains("Idle") || line.contains("Seeding")))
        .then_some(())
}
