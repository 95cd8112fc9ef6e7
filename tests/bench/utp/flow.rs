//! What goes over the line: [`Flow`].

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use harness::foreign::{Libtorrent, Options};
use harness::netns::Host;
use harness::process::{Line, Process, Stream};
use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::{LONG, SOON};
use serde_json::Value;

/// More than any transfer has time for.
const SIZE: u64 = 128 << 20;

const PIECE: u32 = 256 * 1024;

/// The first seed's port.
const PORT: usize = 7000;

/// Where libtorrent listens.
const LIBTORRENT_PORT: usize = 6881;

/// Where the kernel's TCP listens.
const TCP_PORT: u16 = 8000;

/// How often the kernel's TCP looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);

/// Which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `sprat get` from `sprat seed`.
    Utp,
    /// `sprat get` from libtorrent.
    Libtorrent,
    /// Zeros without end, by the kernel: a transfer that nothing limits but TCP.
    Tcp,
}

/// One of them, prepared or begun. Dropped, it is over.
pub(crate) enum Flow {
    Utp { number: usize, port: usize, _seed: Seed, get: Option<Process> },
    Tcp { over: Arc<AtomicBool>, received: Arc<AtomicU64> },
}

/// Who sends over uTP, for as long as this lives.
#[expect(dead_code, reason = "killed when dropped")]
pub(crate) enum Seed {
    Sprat(Process),
    Libtorrent(Libtorrent),
}

/// What is transferred, made.
pub(crate) fn torrent(sandbox: &Sandbox) -> PathBuf {
    tree::write_large(&sandbox.path("payload.bin"), 1, SIZE);
    sandbox.create(sandbox.path("payload.bin"), [], PIECE)
}

impl Flow {
    /// Ready to begin; of uTP, its seed.
    pub(crate) fn prepare(
        kind: Kind,
        sandbox: &Sandbox,
        torrent: &Path,
        sender: &Host,
        number: usize,
    ) -> Self {
        let (port, seed) = match kind {
            Kind::Tcp => return Self::Tcp { over: Arc::default(), received: Arc::default() },
            Kind::Utp => {
                let port = PORT + number;
                (port, Seed::Sprat(sprat_seed(sandbox, torrent, sender, number, port)))
            }
            Kind::Libtorrent => {
                let options = Options { utp: true, ..Options::default() };
                let seed = Libtorrent::start_as(sender, torrent, sandbox.root(), options);
                seed.wait_seeding();
                (LIBTORRENT_PORT, Seed::Libtorrent(seed))
            }
        };
        Self::Utp { number, port, _seed: seed, get: None }
    }

    /// Begins, to `host`.
    pub(crate) fn begin(&mut self, sandbox: &Sandbox, torrent: &Path, sender: &Host, host: &Host) {
        match self {
            Self::Utp { number, port, get, .. } => {
                let peer = format!("{}:{port}", sender.address());
                let output = sandbox.path(format!("get{number}"));
                let command = sandbox.sprat_on(Some(host), "get").arg(torrent).arg("-o").arg(output);
                let command = command.args(["--json", "--no-pex", "--transport", "utp", "--peer", &peer]);
                let state = sandbox.path(format!("get-state{number}"));
                *get = Some(command.arg("--state").arg(state).spawn());
            }
            Self::Tcp { over, received } => {
                let addr = SocketAddr::new(host.address(), TCP_PORT);
                let listener = host.run(|| TcpListener::bind(addr)).expect("the port is free");
                let (ended, received) = (Arc::clone(over), Arc::clone(received));
                std::thread::spawn(move || take(&listener, &received, &ended));
                let stream = sender.run(|| TcpStream::connect_timeout(&addr, SOON));
                let (ended, stream) = (Arc::clone(over), stream.expect("the other host listens"));
                std::thread::spawn(move || give(stream, &ended));
            }
        }
    }

    /// Bytes of payload that have come.
    pub(crate) fn had(&self) -> u64 {
        match self {
            Self::Utp { get, .. } => get.as_ref().and_then(|get| get.look(had)).unwrap_or(0),
            Self::Tcp { received, .. } => received.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Self::Tcp { over, .. } = self {
            over.store(true, Ordering::Relaxed);
        }
    }
}

fn sprat_seed(sandbox: &Sandbox, torrent: &Path, sender: &Host, number: usize, port: usize) -> Process {
    let seed = sandbox.sprat_on(Some(sender), "seed").arg(torrent).arg("--data").arg(sandbox.root());
    let (port, state) = (port.to_string(), sandbox.path(format!("state{number}")));
    let seed = seed.args(["--json", "--no-pex", "--port", &port, "--state"]).arg(state).spawn();
    seed.wait_for("a seed that has looked at its data", LONG, |lines| {
        (had(lines) == Some(SIZE)).then_some(())
    });
    seed
}

/// What a sprat said last of the bytes that it has.
fn had(lines: &[Line]) -> Option<u64> {
    lines.iter().rev().filter(|line| line.stream == Stream::Out).find_map(|line| {
        let event: Value = serde_json::from_str(&line.text).ok()?;
        event["bytes_done"].as_u64()
    })
}

fn take(listener: &TcpListener, received: &AtomicU64, over: &AtomicBool) {
    let Ok((mut stream, _)) = listener.accept() else { return };
    let mut buffer = vec![0; 64 << 10];
    stream.set_read_timeout(Some(LOOK)).expect("a socket takes a timeout");
    while !over.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => _ = received.fetch_add(count as u64, Ordering::Relaxed),
            Err(error) if is_timeout(error.kind()) => {}
            _ => return,
        }
    }
}

fn give(mut stream: TcpStream, over: &AtomicBool) {
    stream.set_write_timeout(Some(LOOK)).expect("a socket takes a timeout");
    let zeros = vec![0; 16 << 10];
    while !over.load(Ordering::Relaxed) {
        match stream.write(&zeros) {
            Err(error) if !is_timeout(error.kind()) => return,
            _ => {}
        }
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
