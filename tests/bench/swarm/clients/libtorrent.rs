//! libtorrent, through its Python binding and a small script. It has the last piece when the script says so upon
//! `torrent_finished_alert`. With other settings it is the free rider of all swarms: a full client that never uploads.

use std::path::Path;
use std::process::Command;

use harness::process::Line;

use super::{Job, Role, data, go};

const SCRIPT: &str = include_str!("libtorrent.py");

/// Asks a Python for its libtorrent.
pub(super) const VERSION: &[&str] = &["-c", "import libtorrent; print(libtorrent.__version__)"];

/// What it says when it could begin.
pub(super) const READY: &str = "ready";

pub(super) fn command(program: &Path, job: &Job<'_>) -> Command {
    let go = go(job.work);
    std::fs::create_dir_all(go.parent().expect("it is in a directory")).expect("a directory can be made");
    let role = if job.role == Role::Rider { "rider" } else { "peer" };
    let mut command = job.host.command(program);
    command.args(["-c", SCRIPT, role]).arg(go).arg(data(job.work)).arg(job.host.address().to_string());
    command
}

pub(super) fn finished(line: &Line) -> bool {
    line.text == "finished"
}

/// Bytes that it has.
pub(super) fn had(line: &Line) -> Option<u64> {
    line.text.strip_prefix("had ")?.parse().ok()
}
