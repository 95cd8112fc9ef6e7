//! libtorrent, through its Python binding and a small script. It has the last piece when the script says so upon
//! `torrent_finished_alert`.

use std::path::Path;
use std::process::Command;

use super::{Job, Role, go};

const SCRIPT: &str = include_str!("libtorrent.py");

/// Asks a Python for its libtorrent.
pub(super) const VERSION: &[&str] = &["-c", "import libtorrent; print(libtorrent.__version__)"];

/// See the script.
pub(super) const SETTINGS: &str = "4 disk threads with a queue of 32 MiB, 1,500 requests out, the send watermarks of its preset `high_performance_seed`, all \
                                   slots open; its time begins when Python has loaded it";

pub(super) fn command(program: &Path, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    command.args(["-c", SCRIPT]).arg(go(job.work)).arg(job.data).arg(job.addr.to_string());
    if let Role::Downloader(seeder) = job.role {
        command.arg(seeder.to_string());
    }
    command
}
