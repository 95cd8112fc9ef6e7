//! transmission-daemon. It gets its torrent through a directory that it watches, and has the last piece when it runs the script for that
//! occasion.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Job, data, done_script, go};

/// What it says when it could begin.
pub(super) const READY: &str = "Watching";

pub(super) fn command(program: &Path, job: &Job<'_>) -> Command {
    let watched = go(job.work).parent().expect("it is in a directory").to_owned();
    std::fs::create_dir_all(&watched).expect("a directory can be made");
    let settings = json!({
        "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "port-forwarding-enabled": false,
        "utp-enabled": false, "preferred_transport": "tcp", "encryption": 0,
        "bind-address-ipv4": job.host.address().to_string(), "peer-port": 6881, "rpc-enabled": false,
        "download-dir": data(job.work), "incomplete-dir-enabled": false, "start-added-torrents": true,
        "watch-dir": watched, "watch-dir-enabled": true, "torrent-added-verify-mode": "full",
        "ratio-limit-enabled": false, "idle-seeding-limit-enabled": false,
        // "Info" of version 4, everything of version 3: the flag for it is another one in each.
        "message-level": 4,
        "script-torrent-done-enabled": true, "script-torrent-done-filename": done_script(job.work),
    });
    std::fs::write(job.work.join("settings.json"), settings.to_string()).expect("a file can be written");
    let mut command = job.host.command(program);
    command.args(["--foreground", "--config-dir"]).arg(job.work);
    command
}
