//! What can go wrong on the command line: [`CliError`] names the input and the cause, knows its exit code, and the way out.

use std::io;
use std::path::PathBuf;

use torrent_format::create::CreateError;
use torrent_format::lint::Lint;
use torrent_format::metainfo::MetainfoError;

use super::exit::Exit;
use super::signals::Signal;
use crate::engine::session::{SessionError, TorrentFailure};
use crate::engine::storage::StorageError;

/// Why a command failed. Its text is one line; [`CliError::hint`] may add the command to try.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Flags that make no sense together or for this input.
    #[error("{0}")]
    Usage(String),
    /// A setting outside the command line.
    #[error("{0}")]
    Configuration(String),
    /// An input that can't be read at all.
    #[error("can't read {input}: {source}")]
    Read {
        /// A path, or "standard input".
        input: String,
        /// Why.
        source: io::Error,
    },
    /// A .torrent that is none.
    #[error("{input}: {source}")]
    Torrent {
        /// A path, a URL or "standard input".
        input: String,
        /// Why.
        source: MetainfoError,
    },
    /// A link, hash or answer that can't be used.
    #[error("{input}: {problem}")]
    Input {
        /// What was given.
        input: String,
        /// Why not.
        problem: String,
        /// The way out.
        hint: Option<String>,
    },
    /// A torrent can't be made of this.
    #[error("can't make a torrent: {0}")]
    Create(#[from] CreateError),
    /// An oddity that makes the torrent useless to many.
    #[error("{0}")]
    Lint(Lint),
    /// A file can't be written.
    #[error("can't write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It would overwrite something.
    #[error("{} exists", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// The data is not the torrent's.
    #[error("{0}")]
    Mismatch(String),
    /// Stopped by a signal with work left.
    #[error("stopped by {signal} before completion")]
    Stopped {
        /// Which.
        signal: Signal,
        /// Some of several torrents are complete.
        partly: bool,
    },
    /// Stopped by a signal, with nothing kept.
    #[error("stopped by {0}")]
    Interrupted(Signal),
    /// A torrent ended by itself, and is not complete.
    #[error("{0}: ended before it was complete")]
    Unfinished(String),
    /// What should have worked did not.
    #[error("{0}")]
    Failed(String),
    /// Printed already, in better words than could be found here.
    #[error("failed")]
    Reported(Exit),
    /// `--timeout`
    #[error("{what}: {problem}")]
    TimedOut {
        /// Which torrent.
        what: String,
        /// What did not happen, and for how long.
        problem: String,
    },
    /// Network, tracker.
    #[error("{what}: {problem}")]
    Network {
        /// A URL or address.
        what: String,
        /// Why.
        problem: String,
    },
    /// The listening socket, or HTTP.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A tracker can't serve.
    #[error(transparent)]
    Tracker(#[from] tracker::ServeError),
    /// A torrent can't go on.
    #[error("{name}: {failure}")]
    Torrenting {
        /// Which torrent.
        name: String,
        /// Why.
        failure: TorrentFailure,
    },
    /// `--on-done` ended badly.
    #[error("{name}: the --on-done command failed: {problem}")]
    Hook {
        /// For which torrent.
        name: String,
        /// How.
        problem: String,
    },
    /// What the operating system should have done and did not.
    #[error("{action}: {source}")]
    System {
        /// "can't start the runtime", …
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl CliError {
    /// A magnet does not hold what a command needs of a torrent; `problem` says what.
    pub(crate) fn magnet_lacks(magnet: String, problem: &str) -> Self {
        Self::Input {
            input: magnet,
            problem: problem.to_owned(),
            hint: Some("`sprat magnet --resolve -o FILE` fetches the torrent from the swarm".into()),
        }
    }

    /// What the shell is told.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Configuration(_) => Exit::Configuration,
            Self::Read { .. } | Self::Torrent { .. } | Self::Input { .. } | Self::Lint(_) => Exit::Input,
            Self::Create(error) => create_exit(error),
            Self::Reported(exit) => *exit,
            Self::Write { source, .. } => write_exit(source),
            Self::Exists { .. } => Exit::Exists,
            Self::Mismatch(_) => Exit::Mismatch,
            Self::Stopped { signal: Signal::Interrupt, partly: false }
            | Self::Interrupted(Signal::Interrupt) => Exit::Interrupted,
            Self::Stopped { .. } | Self::Interrupted(_) | Self::Unfinished(_) => Exit::Unfinished,
            Self::TimedOut { .. } => Exit::TimedOut,
            Self::Network { .. } | Self::Tracker(_) => Exit::Network,
            Self::Session(SessionError::Listen { .. } | SessionError::Outside(_)) => Exit::Network,
            Self::Session(_) | Self::Failed(_) | Self::Hook { .. } | Self::System { .. } => Exit::Failure,
            Self::Torrenting { failure, .. } => failure_exit(failure),
        }
    }

    /// The command to try, where one helps.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Input { hint, .. } => hint.clone(),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
                Some("`sprat create PATH` makes a torrent of a directory".into())
            }
            Self::Create(error) => create_hint(error),
            Self::Lint(lint) => Some(format!("--allow-lint {} goes ahead all the same", lint.name())),
            Self::Exists { .. } => Some("--force overwrites it; --output names another place".into()),
            Self::Stopped { .. } => Some("the same command again goes on where it stopped".into()),
            Self::Session(SessionError::Listen { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                Some("--port 0 takes any free port".into())
            }
            Self::Tracker(tracker::ServeError::Listen { .. }) => {
                Some("--http ADDR:PORT (--udp …) names another place; port 0 takes any that is free".into())
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or name another disk with --output".into())
            }
            Self::Torrenting { failure, .. } => failure_hint(failure),
            _ => None,
        }
    }
}

fn write_exit(source: &io::Error) -> Exit {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::DiskFull,
        _ => Exit::Write,
    }
}

fn create_exit(error: &CreateError) -> Exit {
    match error {
        CreateError::Pattern { .. }
        | CreateError::Url { .. }
        | CreateError::Node { .. }
        | CreateError::PieceLength { .. }
        | CreateError::Layout(_) => Exit::Usage,
        CreateError::Changed { .. } => Exit::Failure,
        _ => Exit::Input,
    }
}

fn create_hint(error: &CreateError) -> Option<String> {
    let hint = match error {
        CreateError::NoFiles { .. } => {
            "--hidden takes hidden files too, --symlinks follow what links point to"
        }
        CreateError::Layout(_) => "--piece-length auto chooses one that fits",
        CreateError::PieceLength { .. } => "--piece-length auto chooses one that fits; --format v1 takes any",
        CreateError::Changed { .. } => "try again when nothing writes to it any more",
        CreateError::Name { .. } => "rename it, or leave it out with --exclude",
        _ => return None,
    };
    Some(hint.into())
}

fn failure_exit(failure: &TorrentFailure) -> Exit {
    match failure {
        TorrentFailure::Info(_) => Exit::Input,
        TorrentFailure::Select(_) | TorrentFailure::Twice(_) => Exit::Usage,
        TorrentFailure::Storage(error) => match error {
            StorageError::Exists { .. } => Exit::Exists,
            StorageError::Mismatch { .. } => Exit::Mismatch,
            StorageError::Conflict { .. } => Exit::Input,
            StorageError::Full { .. } => Exit::DiskFull,
            StorageError::Io { source, .. } => write_exit(source),
            StorageError::Busy { .. } | StorageError::CalledOff => Exit::Failure,
        },
    }
}

fn failure_hint(failure: &TorrentFailure) -> Option<String> {
    let TorrentFailure::Storage(error) = failure else { return None };
    let hint = match error {
        StorageError::Exists { .. } => "--force overwrites it; --output names another directory",
        StorageError::Mismatch { .. } => {
            "--data DIR names the directory that holds the data; `sprat verify` lists what is wrong; `sprat get` mends it"
        }
        StorageError::Full { .. } => {
            "free some space and run the same command again: it goes on where it stopped"
        }
        StorageError::Busy { .. } => "wait for it to end, or stop it",
        StorageError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "--output names another directory, --state another place for the records"
        }
        StorageError::Io { .. } | StorageError::Conflict { .. } | StorageError::CalledOff => return None,
    };
    Some(hint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_is_130_only_if_nothing_was_finished() {
        let exit = |signal, partly| CliError::Stopped { signal, partly }.exit();
        assert_eq!(exit(Signal::Interrupt, false), Exit::Interrupted);
        assert_eq!(exit(Signal::Interrupt, true), Exit::Unfinished);
        assert_eq!(exit(Signal::Terminate, false), Exit::Unfinished);
        assert_eq!(exit(Signal::Hangup, false), Exit::Unfinished);
    }

    #[test]
    fn a_full_disk_is_told_from_a_forbidden_one() {
        let error = |kind| CliError::Write { path: "x".into(), source: io::Error::from(kind) }.exit();
        assert_eq!(error(io::ErrorKind::StorageFull), Exit::DiskFull);
        assert_eq!(error(io::ErrorKind::PermissionDenied), Exit::Write);
    }
}
