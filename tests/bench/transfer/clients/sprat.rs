//! sprat. It has the last piece when the JSON event `complete` comes: verified and safe on disk.

use std::path::Path;
use std::process::Command;

use harness::process::{Line, Stream};
use serde_json::Value;

use super::{Job, Role};

pub(super) fn command(program: &Path, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text.starts_with("SPRAT_") && text != "SPRAT_HASH_KERNEL"
            || text.ends_with("_PROXY")
            || text == "RUST_LOG"
        {
            command.env_remove(&name);
        }
    }
    command.env("HOME", job.work).env("XDG_CONFIG_HOME", job.work.join("config"));
    match job.role {
        Role::Seeder => {
            command.arg("seed").arg(job.torrent).arg("--data").arg(job.data);
        }
        Role::Downloader(seeder) => {
            command.arg("get").arg(job.torrent).arg("--output").arg(job.data).arg("--seed");
            command.arg("--peer").arg(seeder.to_string());
        }
    }
    command.arg("--state").arg(job.work.join("state")).arg("--json");
    command.arg("--bind").arg(job.addr.ip().to_string()).arg("--port").arg(job.addr.port().to_string());
    command.args(["--no-pex", "--no-lsd"]).args(job.more);
    command
}

pub(super) fn finished(line: &Line) -> Option<()> {
    if line.stream == Stream::Err || !line.text.contains("complete") {
        return None;
    }
    let event: Value = serde_json::from_str(&line.text).ok()?;
    (event["event"] == "complete").then_some(())
}
