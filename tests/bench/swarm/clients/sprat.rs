//! sprat. It has the last piece when the JSON event `complete` comes: verified and safe on disk.

use std::path::Path;
use std::process::Command;

use harness::process::{Line, Stream};
use serde_json::Value;

use super::{Job, Role, data};

pub(super) fn command(program: &Path, job: &Job<'_>) -> Command {
    let mut command = job.host.command(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text.starts_with("SPRAT_") || text.ends_with("_PROXY") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.env("HOME", job.work).env("XDG_STATE_HOME", job.work.join("state"));
    command.env("XDG_CONFIG_HOME", job.work.join("config"));
    match job.role {
        Role::Seeder => command.arg("seed").arg(job.torrent).arg("--data"),
        Role::Leecher { .. } | Role::Rider => command.arg("get").arg(job.torrent).arg("--output"),
    };
    // Peers come from the tracker, as with the others.
    command.arg(data(job.work)).args(["--json", "--port", "6881", "--no-pex", "--no-lsd"]);
    if job.role == (Role::Leecher { leaves: false }) {
        command.arg("--seed");
    }
    command
}

/// The same over uTP alone.
pub(super) fn over_utp(program: &Path, job: &Job<'_>) -> Command {
    let mut command = command(program, job);
    command.args(["--transport", "utp"]);
    command
}

pub(super) fn finished(line: &Line) -> bool {
    event(line, "complete").is_some()
}

/// Bytes that it has.
pub(super) fn had(line: &Line) -> Option<u64> {
    event(line, "progress")?["bytes_done"].as_u64()
}

fn event(line: &Line, kind: &str) -> Option<Value> {
    if line.stream == Stream::Err || !line.text.contains(kind) {
        return None;
    }
    let event: Value = serde_json::from_str(&line.text).ok()?;
    (event["event"] == kind).then_some(event)
}
