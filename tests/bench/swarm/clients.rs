//! The programs, each set up as a good citizen of its kind: plain TCP, no encryption, no limits of its own, peers from the tracker
//! alone, everything else as its authors ship it.

mod aria2;
mod libtorrent;
mod rqbit;
mod sprat;
mod transmission;

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::bench::version;
use harness::netns::Host;
use harness::process::{Line, Process};
use harness::require::find;

use crate::options::Options;

/// A program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Client {
    Sprat,
    /// Over uTP alone.
    SpratUtp,
    Libtorrent,
    Transmission,
    Aria2,
    Rqbit,
}

/// What a peer is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// It has all of it.
    Seeder,
    /// It has nothing; and with all of it, does it leave?
    Leecher { leaves: bool },
    /// It has nothing, and gives nothing.
    Rider,
}

/// A peer to be started.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) host: &'a Host,
    pub(crate) role: Role,
    pub(crate) torrent: &'a Path,
    /// A directory of its own.
    pub(crate) work: &'a Path,
}

/// A running peer.
#[derive(Debug)]
pub(crate) struct Peer {
    client: Client,
    pub(crate) process: Process,
    host: Host,
    work: PathBuf,
    /// Bytes that it was last known to have.
    pub(crate) had: u64,
    seen: usize,
}

/// What is installed.
#[derive(Debug)]
pub(crate) struct Tools {
    found: Vec<(Client, PathBuf, String)>,
    absent: Vec<Client>,
}

impl Client {
    pub(crate) const ALL: [Self; 6] =
        [Self::Sprat, Self::SpratUtp, Self::Libtorrent, Self::Transmission, Self::Aria2, Self::Rqbit];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.to_string() == name)
    }

    /// Whether it runs already when the swarm starts, and gets its torrent then: a daemon, or a program that takes long to load.
    pub(crate) fn waits(self) -> bool {
        matches!(self, Self::Libtorrent | Self::Transmission)
    }

    /// Starts a peer. One that [waits](Self::waits) does so until [`Peer::go`].
    pub(crate) fn start(self, tools: &Tools, job: &Job<'_>) -> Peer {
        for dir in [job.work.to_owned(), data(job.work)] {
            std::fs::create_dir_all(dir).expect("a directory can be made");
        }
        let program = tools.program(self);
        let mut command = match self {
            Self::Sprat => sprat::command(program, job),
            Self::SpratUtp => sprat::over_utp(program, job),
            Self::Libtorrent => libtorrent::command(program, job),
            Self::Transmission => transmission::command(program, job),
            Self::Aria2 => aria2::command(program, job),
            Self::Rqbit => rqbit::command(program, job),
        };
        let process = Process::spawn(&self.to_string(), command.current_dir(job.work));
        let peer = Peer {
            client: self,
            process,
            host: job.host.clone(),
            work: job.work.to_owned(),
            had: 0,
            seen: 0,
        };
        let ready = match self {
            Self::Libtorrent => libtorrent::READY,
            Self::Transmission => transmission::READY,
            Self::Sprat | Self::SpratUtp | Self::Aria2 | Self::Rqbit => return peer,
        };
        peer.process.wait_line(ready, Duration::from_secs(60));
        peer
    }
}

impl Peer {
    /// Tells one that waits to begin.
    pub(crate) fn go(&self, torrent: &Path) {
        if self.client.waits() {
            let go = go(&self.work);
            // Whole at once, for those who watch.
            let part = go.with_extension("part");
            std::fs::copy(torrent, &part)
                .and_then(|_| std::fs::rename(&part, &go))
                .expect("a file can be made");
        }
    }

    /// How long ago it had the last piece, if it has: at most a fifth of a second wrong. Call it that often.
    pub(crate) fn finished_ago(&mut self) -> Option<Duration> {
        match self.client {
            Client::Sprat | Client::SpratUtp => self.finished_line(sprat::finished, sprat::had),
            Client::Libtorrent => self.finished_line(libtorrent::finished, libtorrent::had),
            // A script that they run as soon as they have it.
            Client::Transmission | Client::Aria2 => done(&self.work).exists().then_some(Duration::ZERO),
            Client::Rqbit => rqbit::finished(&self.host).then_some(Duration::ZERO),
        }
    }

    fn finished_line(
        &mut self,
        finished: impl Fn(&Line) -> bool,
        had: impl Fn(&Line) -> Option<u64>,
    ) -> Option<Duration> {
        let seen = self.seen;
        let (count, had, at) = self.process.look(|lines| {
            let new = &lines[seen..];
            let at = new.iter().find(|line| finished(line)).map(|line| line.at);
            (lines.len(), new.iter().rev().find_map(had), at)
        });
        (self.seen, self.had) = (count, had.unwrap_or(self.had));
        at.map(|at| self.process.elapsed().saturating_sub(at))
    }

    /// Where its copy is.
    pub(crate) fn data(&self) -> PathBuf {
        data(&self.work)
    }
}

impl Tools {
    /// Looks for all that are wanted.
    pub(crate) fn find(options: &Options) -> Self {
        let mut tools = Self { found: Vec::new(), absent: Vec::new() };
        for client in Client::ALL {
            let (program, arguments): (PathBuf, &[&str]) = match client {
                Client::Sprat | Client::SpratUtp => (harness::binary::sprat().into(), &["--version"]),
                Client::Libtorrent => (options.libtorrent.clone(), libtorrent::VERSION),
                Client::Transmission => ("transmission-daemon".into(), &["--version"]),
                Client::Aria2 => ("aria2c".into(), &["--version"]),
                Client::Rqbit => (options.rqbit.clone(), &["--version"]),
            };
            let program = program.to_str().and_then(find).unwrap_or(program);
            match version(Command::new(&program).args(arguments)) {
                Some(version) => tools.found.push((client, program, version)),
                None => tools.absent.push(client),
            }
        }
        tools
    }

    /// What is there.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.found.iter().map(|(client, ..)| *client).collect()
    }

    fn program(&self, client: Client) -> &Path {
        let found = self.found.iter().find(|(found, ..)| *found == client);
        found.map(|(_, program, _)| program.as_path()).expect("only what is installed is started")
    }

    /// Names and versions, as Markdown.
    pub(crate) fn describe(&self) -> String {
        let found: Vec<_> =
            self.found.iter().map(|(client, _, version)| format!("{client} {version}")).collect();
        let mut text = found.join("; ");
        if !self.absent.is_empty() {
            let absent: Vec<_> = self.absent.iter().map(ToString::to_string).collect();
            text.push_str(&format!("; not installed, and so left out: {}", absent.join(", ")));
        }
        text
    }
}

/// Where a peer's copy is, below its own directory.
fn data(work: &Path) -> PathBuf {
    work.join("data")
}

/// The .torrent that one that waits begins with, alone in a directory that it watches.
fn go(work: &Path) -> PathBuf {
    work.join("watched/swarm.torrent")
}

/// What [`done_script`] makes.
fn done(work: &Path) -> PathBuf {
    work.join("done")
}

/// A script that says that the download is done.
fn done_script(work: &Path) -> PathBuf {
    let script = work.join("done.sh");
    std::fs::write(&script, format!("#!/bin/sh\n: >'{}'\n", done(work).display()))
        .and_then(|()| std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)))
        .expect("a script can be written");
    script
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sprat => "sprat",
            Self::SpratUtp => "sprat-utp",
            Self::Libtorrent => "libtorrent",
            Self::Transmission => "transmission",
            Self::Aria2 => "aria2",
            Self::Rqbit => "rqbit",
        })
    }
}
