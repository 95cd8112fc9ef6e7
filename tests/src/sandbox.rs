//! A place on disk for one test, and sprat's commands run in it.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use torrent_format::{InfoHash, Metainfo};

use crate::http;
use crate::netns::Host;
use crate::process::{self, Finished, Process};
use crate::wait::{self, LONG, SOON};

/// A directory that goes with the test, with a home and a state of its own for sprat.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
}

/// A sprat command line that is being put together.
#[derive(Debug)]
pub struct Sprat {
    command: Command,
    name: String,
}

/// A running `sprat tracker`.
#[derive(Debug)]
pub struct Tracker {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub addr: SocketAddr,
    host: Option<Host>,
}

/// A running `sprat seed` or `sprat get`.
#[derive(Debug)]
pub struct Running {
    /// Its process, with JSON lines on standard output.
    pub process: Process,
    /// Where it takes peers.
    pub addr: SocketAddr,
}

impl Sandbox {
    /// A fresh one.
    ///
    /// # Panics
    /// If no directory can be made.
    #[expect(clippy::new_without_default, reason = "it makes something on disk")]
    pub fn new() -> Self {
        // Open to other users: some tests run sprat, and Debian runs opentracker, as one who may do nothing.
        let everyone_reads = Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new().prefix("sprat-test-").permissions(everyone_reads).tempdir();
        Self { dir: dir.expect("a temporary directory") }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Something in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `sprat COMMAND …`, run in this directory.
    pub fn sprat(&self, command: &str) -> Sprat {
        self.prepare(Command::new(crate::binary::sprat()), command)
    }

    /// The same with another copy of the binary.
    pub fn program(&self, binary: &Path, command: &str) -> Sprat {
        self.prepare(Command::new(binary), command)
    }

    /// The same on a host of a test's own network, or here.
    pub fn sprat_on(&self, host: Option<&Host>, command: &str) -> Sprat {
        match host {
            Some(host) => self.prepare(host.command(crate::binary::sprat()), command),
            None => self.sprat(command),
        }
    }

    fn prepare(&self, mut program: Command, command: &str) -> Sprat {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_ascii_uppercase();
            if text.starts_with("SPRAT_") || text.ends_with("_PROXY") || text == "RUST_LOG" {
                program.env_remove(&name);
            }
        }
        // A test is about the peers that it names: none looks for more. Tests that run at a time often share the same made-up files, so the
        // same torrents.
        for command in ["GET", "SEED", "SHARE", "MAGNET"] {
            program.env(format!("SPRAT_{command}_NO_DHT"), "1");
            program.env(format!("SPRAT_{command}_NO_LSD"), "1");
            program.env(format!("SPRAT_{command}_NO_UPNP"), "1");
        }
        program.env("HOME", self.path("home")).env("XDG_STATE_HOME", self.path("home/state"));
        program
            .env("XDG_CONFIG_HOME", self.path("home/config"))
            .env("XDG_CACHE_HOME", self.path("home/cache"));
        program
            .env("NO_COLOR", "1")
            .env("TERM", "dumb")
            .env("COLUMNS", "200")
            .current_dir(self.root())
            .arg(command);
        Sprat { command: program, name: format!("sprat {command}") }
    }

    /// `sprat create --format v1` of `payload`, announced at these trackers; gives the .torrent's path.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn create<'a>(
        &self,
        payload: impl AsRef<Path>,
        trackers: impl IntoIterator<Item = &'a str>,
        piece_length: u32,
    ) -> PathBuf {
        let payload = payload.as_ref();
        let mut torrent = payload.file_name().expect("a payload has a name").to_owned();
        torrent.push(".torrent");
        let torrent = self.path(torrent);
        let mut create = self.sprat("create").arg(payload).args(["--format", "v1"]).arg("-o").arg(&torrent);
        create = create.arg("-l").arg(piece_length.to_string());
        for tracker in trackers {
            create = create.args(["-t", tracker]);
        }
        create.run(LONG).expect(0);
        torrent
    }

    /// `sprat tracker` on a port of its own, on `host` or on loopback, ready to be asked.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn tracker(&self, host: Option<&Host>) -> Tracker {
        let ip = host.map_or(IpAddr::from([127, 0, 0, 1]), Host::address);
        let addr = SocketAddr::new(ip, if host.is_some() { 6969 } else { free_port() });
        self.tracker_at(addr, host)
    }

    /// `sprat tracker` at this address.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn tracker_at(&self, addr: SocketAddr, host: Option<&Host>) -> Tracker {
        let tracker = self.sprat_on(host, "tracker").arg("--http").arg(addr.to_string());
        let mut process = tracker.spawn();
        let connects = || TcpStream::connect(addr).is_ok();
        wait::until("a listening tracker", SOON, || {
            let listening = match host {
                Some(host) => host.run(connects),
                None => connects(),
            };
            assert!(listening || process.is_running(), "the tracker ended: {:#?}", process.lines());
            listening.then_some(())
        });
        Tracker { process, addr, host: host.cloned() }
    }

    /// `sprat seed --json SOURCE --data DIR` with more arguments, on a port of its own.
    ///
    /// # Panics
    /// If it can't be started.
    #[track_caller]
    pub fn seed<S: AsRef<OsStr>>(
        &self,
        source: impl AsRef<OsStr>,
        data: impl AsRef<Path>,
        more: impl IntoIterator<Item = S>,
    ) -> Running {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let seed = self.sprat("seed").arg(source).arg("--data").arg(data.as_ref());
        let process = seed.args(["--json", "--port"]).arg(addr.port().to_string()).args(more).spawn();
        Running { process, addr }
    }

    /// `sprat get --json SOURCE -o DIR` with more arguments, on a port of its own.
    ///
    /// # Panics
    /// If it can't be started.
    #[track_caller]
    pub fn get<S: AsRef<OsStr>>(
        &self,
        source: impl AsRef<OsStr>,
        output: impl AsRef<Path>,
        more: impl IntoIterator<Item = S>,
    ) -> Running {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let get = self.sprat("get").arg(source).arg("-o").arg(output.as_ref());
        let process = get.args(["--json", "--port"]).arg(addr.port().to_string()).args(more).spawn();
        Running { process, addr }
    }
}

impl Sprat {
    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// With a node of the DHT that begins with these.
    #[must_use]
    pub fn dht(mut self, routers: &[SocketAddr]) -> Self {
        for command in ["GET", "SEED", "SHARE", "MAGNET"] {
            self.command.env_remove(format!("SPRAT_{command}_NO_DHT"));
        }
        if routers.is_empty() {
            return self.args(["--dht-router", "none"]);
        }
        routers.iter().fold(self, |this, router| this.arg("--dht-router").arg(router.to_string()))
    }

    /// Lets it ask a router to let peers in.
    #[must_use]
    pub fn port_mapping(mut self) -> Self {
        for command in ["GET", "SEED", "SHARE", "MAGNET"] {
            self.command.env_remove(format!("SPRAT_{command}_NO_UPNP"));
        }
        self
    }

    /// Runs it in another directory.
    #[must_use]
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it under another program, which is given sprat's command line after `arguments`, such as `setpriv`.
    #[must_use]
    pub fn under(self, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(crate::require::find(program).unwrap_or_else(|| program.into()));
        command.args(arguments).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        Self { command, name: self.name }
    }

    /// Starts it.
    #[track_caller]
    pub fn spawn(mut self) -> Process {
        Process::spawn(&self.name, &mut self.command)
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(mut self, limit: Duration) -> Finished {
        process::run(&self.name, &mut self.command, limit)
    }

    /// Runs it to its end with `input` on standard input.
    #[track_caller]
    pub fn run_with_input(mut self, input: &[u8], limit: Duration) -> Finished {
        Process::spawn_with_input(&self.name, &mut self.command, input).wait_exit(limit)
    }

    /// The arguments after the program, for a failure's message.
    pub fn arguments(&self) -> Vec<OsString> {
        self.command.get_args().map(OsStr::to_owned).collect()
    }
}

impl Tracker {
    /// The announce URL.
    pub fn url(&self) -> String {
        format!("http://{}/announce", self.addr)
    }

    /// What it says about a torrent now; zeros if it does not know it.
    pub fn scrape(&self, info_hash: InfoHash) -> http::Scrape {
        let ask = || http::scrape(self.addr, info_hash.as_bytes()).unwrap_or_default();
        match &self.host {
            Some(host) => host.run(ask),
            None => ask(),
        }
    }

    /// Waits until it says so about a torrent.
    ///
    /// # Panics
    /// If it never does.
    #[track_caller]
    pub fn wait_scrape(&self, info_hash: InfoHash, what: &str, probe: impl Fn(http::Scrape) -> bool) {
        let mut last = http::Scrape::default();
        let reached = wait::try_until(SOON, || {
            last = self.scrape(info_hash);
            probe(last).then_some(())
        });
        assert!(reached.is_some(), "the tracker never had {what}; last {last:?}");
    }

    /// Waits until this many seeds have announced themselves.
    ///
    /// # Panics
    /// If they never do.
    #[track_caller]
    pub fn wait_seeds(&self, info_hash: InfoHash, seeds: u64) {
        self.wait_scrape(info_hash, &format!("{seeds} seeds"), |scrape| scrape.complete >= seeds);
    }
}

impl Running {
    /// Waits until it takes peers.
    ///
    /// # Panics
    /// If it never does.
    #[track_caller]
    pub fn wait_listening(&mut self) -> &mut Self {
        wait::until("a listening peer", SOON, || {
            let listening = TcpStream::connect(self.addr).is_ok();
            assert!(listening || self.process.is_running(), "it ended: {:#?}", self.process.lines());
            listening.then_some(())
        });
        self
    }

    /// All its JSON events so far.
    pub fn events(&self) -> Vec<Value> {
        events(&self.process.lines())
    }

    /// Waits for an event of this kind that `probe` takes.
    ///
    /// # Panics
    /// If it never comes.
    #[track_caller]
    pub fn wait_event<T>(
        &self,
        kind: &str,
        limit: Duration,
        mut probe: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        self.process.wait_for(&format!("a JSON event {kind:?}"), limit, |lines| {
            events(lines).iter().filter(|event| event["event"] == kind).find_map(&mut probe)
        })
    }

    /// Bytes of payload that it has sent so far, as its latest event says.
    pub fn uploaded(&self) -> u64 {
        last_number(&self.events(), "uploaded").unwrap_or(0)
    }
}

/// The JSON events among these lines.
///
/// # Panics
/// If standard output has a line that is no JSON object: with `--json` it must not.
pub fn events(lines: &[process::Line]) -> Vec<Value> {
    let out = lines.iter().filter(|line| line.stream == process::Stream::Out);
    out.map(|line| match serde_json::from_str(&line.text) {
        Ok(event @ Value::Object(_)) => event,
        other => panic!("standard output has {:?}, which is no JSON object: {other:?}", line.text),
    })
    .collect()
}

/// The number that the last event with this key gives.
pub fn last_number(events: &[Value], key: &str) -> Option<u64> {
    events.iter().rev().find_map(|event| event[key].as_u64())
}

/// The info hash of a .torrent.
///
/// # Panics
/// If it is none.
pub fn info_hash(torrent: &Path) -> InfoHash {
    let bytes = std::fs::read(torrent).expect("the .torrent can be read");
    Metainfo::from_bytes(&bytes).expect("it is a torrent").info.info_hash()
}

/// A loopback port that is free now, and that no other caller in this process was given. Below the range from which the kernel
/// takes ports for outgoing connections, so that none of those comes between.
///
/// # Panics
/// If none is free.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at a time begin at different places.
    let start = (std::process::id() % u32::from(COUNT / 50)) as u16 * 50;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
