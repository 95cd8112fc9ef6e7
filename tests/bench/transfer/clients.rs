//! The programs, each set up for speed on one machine as its documentation advises: plain TCP, no encryption, no limits, no discovery;
//! [`Client::settings`] says what else.

mod aria2;
mod libtorrent;
mod rqbit;
mod sprat;
mod transmission;

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::bench::version;
use harness::process::Process;
use harness::require::find;
use harness::wait;

use crate::floor;
use crate::measure::Cpu;
use crate::options::Options;

/// A seeder that has to read all of its data first is given so long.
const READY: Duration = Duration::from_secs(120);

/// A program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Client {
    Sprat,
    /// Another build of it.
    Old,
    Libtorrent,
    Rqbit,
    Aria2,
    Transmission,
    /// Two bare processes: see [`floor`].
    Floor,
}

/// What a peer is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// It has all of it.
    Seeder,
    /// It has nothing, and gets it from there.
    Downloader(SocketAddr),
}

/// A peer to be started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) role: Role,
    /// Without a tracker; but those that take no peers from the command line download by one that has.
    pub(crate) torrent: &'a Path,
    /// The directory that the payload lies in, or will.
    pub(crate) data: &'a Path,
    /// A directory of its own.
    pub(crate) work: &'a Path,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// For its remote control, if it has one.
    pub(crate) control: u16,
    /// For sprat: options of the case.
    pub(crate) more: &'a [&'a str],
}

/// A running peer.
#[derive(Debug)]
pub(crate) struct Peer {
    client: Client,
    pub(crate) process: Process,
    control: u16,
    work: PathBuf,
    addr: SocketAddr,
    before: Cpu,
}

/// What is installed.
#[derive(Debug)]
pub(crate) struct Tools {
    found: Vec<(Client, PathBuf, String)>,
    absent: Vec<Client>,
}

impl Client {
    pub(crate) const ALL: [Self; 7] =
        [Self::Sprat, Self::Old, Self::Libtorrent, Self::Rqbit, Self::Aria2, Self::Transmission, Self::Floor];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.to_string() == name)
    }

    /// Whether it is also to be seen with libtorrent at the other end.
    pub(crate) fn crosses(self) -> bool {
        !matches!(self, Self::Libtorrent | Self::Floor | Self::Old)
    }

    /// Whether it learns of peers from a tracker alone.
    pub(crate) fn needs_tracker(self) -> bool {
        matches!(self, Self::Aria2 | Self::Transmission)
    }

    /// What is set, beside what all have: see the module.
    pub(crate) fn settings(self) -> Option<&'static str> {
        match self {
            Self::Sprat => Some("as it comes; done means verified, written and synced"),
            Self::Libtorrent => Some(libtorrent::SETTINGS),
            Self::Rqbit => Some("as it comes"),
            Self::Aria2 => Some(aria2::SETTINGS),
            Self::Transmission => Some(transmission::SETTINGS),
            Self::Floor => Some(floor::SETTINGS),
            Self::Old => None,
        }
    }

    /// Where its peers live. Transmission takes no peer on 127.0.0.1: an address of this machine's own, which loops back all the same.
    pub(crate) fn address(self) -> Ipv4Addr {
        if self != Self::Transmission {
            return Ipv4Addr::LOCALHOST;
        }
        // Nothing is sent: connecting only looks up which address would be the sender's.
        let probe = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        match probe {
            Ok(SocketAddr::V4(addr)) => *addr.ip(),
            _ => Ipv4Addr::LOCALHOST,
        }
    }

    /// Starts a peer; a seeder is ready when this returns, and so is a program that takes long to load: it waits for [`Peer::begin`].
    pub(crate) fn start(self, tools: &Tools, job: &Job<'_>) -> Peer {
        let process = Process::spawn(&self.to_string(), &mut self.command(tools, job));
        let mut peer = Peer {
            client: self,
            process,
            control: job.control,
            work: job.work.to_owned(),
            addr: job.addr,
            before: Cpu::default(),
        };
        match (job.role, self) {
            (Role::Seeder, _) => peer.wait_seeding(job.torrent),
            (Role::Downloader(_), Self::Libtorrent) => {
                peer.process.wait_line("ready", READY);
                peer.begin_counting();
            }
            (Role::Downloader(_), _) => {}
        }
        peer
    }

    /// How a peer is started. Its directories are made.
    pub(crate) fn command(self, tools: &Tools, job: &Job<'_>) -> Command {
        for dir in [job.work, job.data] {
            fs::create_dir_all(dir).expect("a directory can be made");
        }
        let program = tools.program(self);
        let mut command = match self {
            Self::Sprat | Self::Old => sprat::command(program, job),
            Self::Libtorrent => libtorrent::command(program, job),
            Self::Rqbit => rqbit::command(program, job),
            Self::Aria2 => aria2::command(program, job),
            Self::Transmission => transmission::command(program, job),
            Self::Floor => floor::command(program, job),
        };
        command.current_dir(job.work);
        command
    }

    /// Whether it is started and loaded first, and begins later.
    pub(crate) fn waits(self) -> bool {
        self == Self::Libtorrent
    }
}

impl Peer {
    /// Tells one that waits to begin.
    pub(crate) fn begin(&self, torrent: &Path) {
        let go = go(&self.work);
        // Whole at once, for those who watch.
        let part = go.with_extension("part");
        fs::copy(torrent, &part).and_then(|_| fs::rename(&part, &go)).expect("a file can be made");
    }

    /// What it used until now does not count.
    pub(crate) fn begin_counting(&mut self) {
        self.before = Cpu::of(self.process.pid());
        // Resets VmHWM (proc(5)). Where that is not allowed, the peak is that of its whole life.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.process.pid()), "5");
    }

    /// What it used since.
    pub(crate) fn cpu(&self) -> Cpu {
        Cpu::of(self.process.pid()) - self.before
    }

    /// Waits until it has its last piece.
    pub(crate) fn wait_finished(&mut self, limit: Duration) {
        match self.client {
            Client::Sprat | Client::Old => {
                self.process.wait_for("complete", limit, |lines| lines.iter().find_map(sprat::finished));
            }
            Client::Libtorrent | Client::Floor => {
                let finished = |line: &harness::process::Line| line.text == "finished";
                self.process.wait_for("finished", limit, |lines| lines.iter().any(finished).then_some(()));
            }
            Client::Rqbit => {
                self.poll("done", limit, |peer| rqbit::finished(peer.control));
            }
            Client::Aria2 | Client::Transmission => {
                // Made by a script that they run as soon as they have it.
                self.poll("done", limit, |peer| done(&peer.work).exists().then_some(()));
            }
        }
    }

    /// Waits until all of it has left a cache that it says to have.
    pub(crate) fn wait_written(&self, limit: Duration) {
        if self.client == Client::Libtorrent {
            self.process.wait_for("written", limit, |lines| {
                lines.iter().any(|line| line.text == "written").then_some(())
            });
        }
    }

    /// Looks again and again, as long as it runs.
    fn poll(&mut self, what: &str, limit: Duration, probe: impl Fn(&Self) -> Option<()>) {
        let client = self.client;
        wait::until(&format!("{client} {what}"), limit, || {
            let found = probe(self);
            assert!(found.is_some() || self.process.is_running(), "{client} has ended");
            found
        });
    }

    fn wait_seeding(&mut self, torrent: &Path) {
        match self.client {
            Client::Sprat | Client::Old => {
                self.process.wait_line("seeding ", READY);
            }
            Client::Libtorrent => {
                self.begin(torrent);
                self.process.wait_line("seeding", READY);
            }
            Client::Floor => {
                self.process.wait_line("listening", READY);
            }
            Client::Rqbit => {
                self.poll("checked", READY, |peer| rqbit::finished(peer.control));
            }
            Client::Aria2 => {
                self.poll("listening", READY, |peer| TcpStream::connect(peer.addr).ok().map(drop));
            }
            Client::Transmission => {
                self.poll("checked", READY, |peer| transmission::is_seeding(peer.control));
            }
        }
    }
}

impl Tools {
    /// Looks for all.
    pub(crate) fn find(options: &Options) -> Self {
        let mut tools = Self { found: Vec::new(), absent: Vec::new() };
        let this = std::env::current_exe().expect("this is a program");
        let (sprat, old) = (options.sprat.as_deref(), options.old.clone());
        tools.found.push((Client::Floor, this, torrent_format::hash::kernel().to_string()));
        for client in Client::ALL {
            let (program, arguments): (PathBuf, &[&str]) = match client {
                Client::Sprat => (sprat.unwrap_or_else(|| harness::binary::sprat()).into(), &["--version"]),
                Client::Old => match &old {
                    Some(old) => (old.clone(), &["--version"]),
                    None => continue,
                },
                Client::Libtorrent => (options.libtorrent.clone(), libtorrent::VERSION),
                Client::Transmission => ("transmission-daemon".into(), &["--version"]),
                Client::Aria2 => ("aria2c".into(), &["--version"]),
                Client::Rqbit => (options.rqbit.clone(), &["--version"]),
                Client::Floor => continue,
            };
            let program = program.to_str().and_then(find).unwrap_or(program);
            match version(Command::new(&program).args(arguments)) {
                Some(version) => {
                    // The peers work in directories of their own.
                    let program = std::path::absolute(&program).unwrap_or(program);
                    tools.found.push((client, program, version));
                }
                None => tools.absent.push(client),
            }
        }
        tools
    }

    /// Whether it is installed.
    pub(crate) fn has(&self, client: Client) -> bool {
        self.found.iter().any(|(found, ..)| *found == client)
    }

    pub(crate) fn program(&self, client: Client) -> &Path {
        let found = self.found.iter().find(|(found, ..)| *found == client);
        found.map(|(_, program, _)| program.as_path()).expect("only what is installed is started")
    }

    /// Names and versions, as Markdown.
    pub(crate) fn describe(&self) -> String {
        let programs = self.found.iter().filter(|(client, ..)| *client != Client::Floor);
        let found: Vec<_> = programs.map(|(client, _, version)| format!("{client} {version}")).collect();
        let mut text = found.join("; ");
        if !self.absent.is_empty() {
            let absent: Vec<_> = self.absent.iter().map(ToString::to_string).collect();
            text.push_str(&format!("; not installed, and so left out: {}", absent.join(", ")));
        }
        text
    }
}

/// The .torrent that one that waits begins with.
fn go(work: &Path) -> PathBuf {
    work.join("go.torrent")
}

/// What [`done_script`] makes.
fn done(work: &Path) -> PathBuf {
    work.join("done")
}

/// A script that says that the download is done.
fn done_script(work: &Path) -> PathBuf {
    let script = work.join("done.sh");
    fs::write(&script, format!("#!/bin/sh\n: >'{}'\n", done(work).display()))
        .and_then(|()| fs::set_permissions(&script, PermissionsExt::from_mode(0o755)))
        .expect("a script can be written");
    script
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sprat => "sprat",
            Self::Old => "old",
            Self::Libtorrent => "libtorrent",
            Self::Rqbit => "rqbit",
            Self::Aria2 => "aria2",
            Self::Transmission => "transmission",
            Self::Floor => "floor",
        })
    }
}
