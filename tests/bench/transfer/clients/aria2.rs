//! aria2c. It has the last piece when it runs the script for that occasion.

use std::path::Path;
use std::process::Command;

use super::{Job, Role, done_script};

pub(super) const SETTINGS: &str = "--disk-cache=64M --file-allocation=none; its seeder trusts its data";

pub(super) fn command(program: &Path, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", job.work);
    command.args([
        "--no-conf",
        "--enable-color=false",
        "--summary-interval=0",
        "--show-console-readout=false",
    ]);
    command.args(["--enable-dht=false", "--enable-dht6=false", "--disable-ipv6=true"]);
    command.args(["--bt-enable-lpd=false", "--enable-peer-exchange=false"]);
    command.args(["--file-allocation=none", "--allow-overwrite=true", "--disk-cache=64M"]);
    // A ratio of 0 is no limit: it seeds until it is killed.
    command.args(["--seed-ratio=0.0", "--follow-torrent=mem"]);
    if job.role == Role::Seeder {
        command.arg("--bt-seed-unverified=true");
    }
    command.arg(format!("--listen-port={}", job.addr.port()));
    command.arg(format!("--interface={}", job.addr.ip()));
    command.arg(format!("--on-bt-download-complete={}", done_script(job.work).display()));
    command.arg(format!("--dir={}", job.data.display()));
    command.arg(format!("--torrent-file={}", job.torrent.display()));
    command
}
