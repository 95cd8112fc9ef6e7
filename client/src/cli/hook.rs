//! `--on-done`: a command of the user's for each finished torrent.

use std::process::{Command, ExitStatus, Stdio};

use tokio::task::JoinSet;

use super::error::CliError;
use super::transfer::Finished;

/// The commands that run.
#[derive(Debug)]
pub(crate) struct Hooks {
    command: Option<String>,
    running: JoinSet<(String, std::io::Result<ExitStatus>)>,
}

impl Hooks {
    /// Will run `command`, if there is one.
    pub(crate) fn new(command: Option<String>) -> Self {
        Self { command, running: JoinSet::new() }
    }

    /// Runs it for this torrent, beside whatever else goes on.
    pub(crate) fn start(&mut self, finished: &Finished) {
        let Some(command) = &self.command else { return };
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .env("SPRAT_PATH", &finished.path)
            .env("SPRAT_NAME", &finished.name)
            .env("SPRAT_INFO_HASH", &finished.info_hash)
            .envs(finished.info_hash_v2.as_ref().map(|hash| ("SPRAT_INFO_HASH_V2", hash)))
            .stdin(Stdio::null())
            // Standard output belongs to our own data.
            .stdout(std::io::stderr());
        let name = finished.name.clone();
        self.running.spawn_blocking(move || (name, shell.status()));
    }

    /// The failure of the next that fails. `None`: none is running any more.
    pub(crate) async fn next_failure(&mut self) -> Option<CliError> {
        while let Some(joined) = self.running.join_next().await {
            let (name, problem) = match joined {
                Ok((_, Ok(status))) if status.success() => continue,
                Ok((name, Ok(status))) => (name, status.to_string()),
                Ok((name, Err(error))) => (name, error.to_string()),
                Err(error) => ("a thread".to_owned(), error.to_string()),
            };
            return Some(CliError::Hook { name, problem });
        }
        None
    }
}
