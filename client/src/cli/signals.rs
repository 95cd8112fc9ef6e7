//! Ctrl-C, SIGTERM and SIGHUP: the first asks a command to stop, the second ends the process at once.

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::error::CliError;
use super::exit::Exit;

/// What asked for the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// `kill`, systemd, container runtimes.
    Terminate,
    /// The terminal is gone.
    Hangup,
}

/// Listens for signals. While it lives, none of them ends the process by itself.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    hangup: Stream,
}

impl Signals {
    /// Begins to listen. Needs a tokio runtime.
    pub(crate) fn listen() -> Result<Self, CliError> {
        let stream = |kind| {
            signal(kind)
                .map_err(|source: io::Error| CliError::System { action: "can't listen for signals", source })
        };
        Ok(Self {
            interrupt: stream(SignalKind::interrupt())?,
            terminate: stream(SignalKind::terminate())?,
            hangup: stream(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }

    /// From now on a signal ends the process at once. `done`: nothing was left to do when the first came.
    pub(crate) fn exit_at_next(mut self, done: bool) {
        tokio::spawn(async move {
            let exit = match (self.next().await, done) {
                (_, true) => Exit::Ok,
                (Signal::Interrupt, false) => Exit::Interrupted,
                (Signal::Terminate | Signal::Hangup, false) => Exit::Unfinished,
            };
            std::process::exit(exit.code().into());
        });
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        })
    }
}
