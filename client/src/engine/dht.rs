#![expect(clippy::disallowed_methods, reason = "the node's time is this task's clock")]
//! The session's node of the DHT: a task that owns a [`crate::dht::Dht`], hands it what comes by the session's UDP port and what torrents
//! want of it, and sends what it says. No rule is here.
//!
//! Until a torrent wants something of it, it says nothing to anybody: a session of private torrents is not to be seen in the DHT.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use torrent_format::InfoHash;

use super::datagrams::{Datagram, Datagrams};
use super::net::Outside;
use crate::dht::{Action, Config, Dht, K, Saved, SearchId};
use crate::torrent::Time;

/// Where nodes are to be had that know others, for who knows none.
pub const ROUTERS: [&str; 4] = [
    "dht.libtorrent.org:25401",
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "router.utorrent.com:6881",
];

/// What the session's node is told.
#[derive(Clone, Debug)]
pub struct DhtConfig {
    /// `host:port` of nodes to begin with.
    pub routers: Vec<String>,
    /// They serve the whole world ([`ROUTERS`]): they are asked for other nodes, and for nothing else.
    pub routers_spared: bool,
    /// Only ask, never answer (BEP 43).
    pub read_only: bool,
    /// The directory in which the nodes that are known are kept for the next run.
    pub state_dir: PathBuf,
}

/// The node, as torrents see it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Node {
    commands: mpsc::Sender<Command>,
}

/// Peers that were found.
#[derive(Debug)]
pub(super) struct Heard {
    /// Who named them is at a loopback or private address.
    pub(super) local: bool,
    pub(super) peers: Vec<SocketAddr>,
}

#[derive(Debug)]
enum Command {
    Search {
        name: InfoHash,
        port: u16,
        found: mpsc::Sender<Heard>,
    },
    AddNode(SocketAddr),
    /// Answered once what is known is written down.
    Save(oneshot::Sender<()>),
}

/// Wishes that may wait for the node.
const MAX_COMMANDS: usize = 64;

/// Lists of peers that may wait for a torrent; more are lost, for it has enough.
const MAX_FOUND: usize = 64;

/// How long the name of a router may take to be found.
const NAME_TIMEOUT: Duration = Duration::from_secs(10);

/// The wait before the routers' names are looked up again, if none was found: we may be offline. It doubles.
const FIRST_RETRY: Duration = Duration::from_secs(15);

/// The longest such wait.
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);

/// When what is known is written down first.
const FIRST_SAVE: Duration = Duration::from_secs(60);

/// And how often then. It is also at the end.
const SAVE_INTERVAL: Duration = Duration::from_secs(10 * 60);

impl Node {
    /// Starts it, if it can send and receive. What is known of other nodes is read, and kept, in the background.
    pub(super) fn start(
        config: DhtConfig,
        datagrams: Datagrams,
        outside: Outside,
    ) -> Option<(Self, AbortHandle)> {
        // Without a socket, as with a proxy, there is none.
        [v4(), v6()].into_iter().find(|any| datagrams.reaches(*any))?;
        let packets = datagrams.take_dht()?;
        let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
        let task = tokio::spawn(run(config, datagrams, outside, packets, receiver)).abort_handle();
        Some((Self { commands }, task))
    }

    /// Looks for peers of a torrent by this name, and announces that one is at `port`. It is over when the receiver ends; dropped, it is called
    /// off.
    pub(super) async fn search(&self, name: InfoHash, port: u16) -> mpsc::Receiver<Heard> {
        let (found, receiver) = mpsc::channel(MAX_FOUND);
        // A node that is gone ends every search.
        let _ = self.commands.send(Command::Search { name, port, found }).await;
        receiver
    }

    /// There is a node at this address.
    pub(super) fn add_node(&self, addr: SocketAddr) {
        // One too many at a time is none that is missed.
        let _ = self.commands.try_send(Command::AddNode(addr));
    }

    /// Writes down what is known.
    pub(super) async fn save(&self) {
        let (done, saved) = oneshot::channel();
        if self.commands.send(Command::Save(done)).await.is_ok() {
            let _ = saved.await;
        }
    }
}

/// Any address of IPv4.
fn v4() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, 0).into()
}

/// Any address of IPv6.
fn v6() -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, 0).into()
}

async fn run(
    config: DhtConfig,
    datagrams: Datagrams,
    outside: Outside,
    mut packets: mpsc::Receiver<Datagram>,
    mut commands: mpsc::Receiver<Command>,
) {
    let first = loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Save(done)) => drop(done),
                Some(command) => break command,
            },
            // Nobody is here yet.
            Some(_) = packets.recv() => {}
        }
    };
    let state_dir = config.state_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&state_dir)).await;
    let Ok((store, saved)) = opened else { return };
    let mut running = Running::new(config, datagrams, outside, store, saved);
    running.look_up_routers();
    running.command(first).await;
    running.act().await;
    loop {
        let wake = running.epoch + running.dht.poll_timeout().0;
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => running.command(command).await,
                None => return,
            },
            Some((packet, from)) = packets.recv() => {
                let now = running.now();
                running.dht.handle_packet(now, from, &packet);
            }
            Some(found) = running.names.join_next() => running.router_found(found.unwrap_or_default()),
            () = sleep_until(wake) => {
                let now = running.now();
                running.dht.handle_timeout(now);
            }
            () = sleep_until(running.retry) => running.look_up_routers(),
            () = sleep_until(running.next_save) => running.save().await,
        }
        running.act().await;
    }
}

#[derive(Debug)]
struct Running {
    dht: Dht,
    /// The node's time zero.
    epoch: Instant,
    config: DhtConfig,
    datagrams: Datagrams,
    outside: Outside,
    store: Option<Store>,
    searches: HashMap<SearchId, mpsc::Sender<Heard>>,
    next_search: u64,
    /// Names of routers that are being looked up.
    names: JoinSet<Vec<SocketAddr>>,
    routers: Vec<SocketAddr>,
    retry: Instant,
    retry_wait: Duration,
    next_save: Instant,
    answers: bool,
}

impl Running {
    fn new(
        config: DhtConfig,
        datagrams: Datagrams,
        outside: Outside,
        store: Option<Store>,
        saved: Saved,
    ) -> Self {
        let mut secret = [0; 32];
        let mut seed = [0; 8];
        getrandom::fill(&mut secret)
            .and_then(|()| getrandom::fill(&mut seed))
            .expect("the system has random bytes");
        let dht = Dht::new(Config {
            seed: u64::from_le_bytes(seed),
            secret,
            v4: datagrams.reaches(v4()),
            v6: datagrams.reaches(v6()),
            read_only: config.read_only,
            saved,
        });
        let now = Instant::now();
        Self {
            dht,
            epoch: now,
            config,
            datagrams,
            outside,
            store,
            searches: HashMap::new(),
            next_search: 0,
            names: JoinSet::new(),
            routers: Vec::new(),
            retry: now + LONGEST_RETRY,
            retry_wait: FIRST_RETRY,
            next_save: now + FIRST_SAVE,
            answers: false,
        }
    }

    fn now(&self) -> Time {
        Time(self.epoch.elapsed())
    }

    async fn command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Search { name, port, found } => {
                let search = SearchId(self.next_search);
                self.next_search += 1;
                self.searches.insert(search, found);
                self.dht.search(now, search, name.into(), Some(port));
            }
            Command::AddNode(addr) => self.dht.add_node(now, addr),
            Command::Save(done) => {
                self.save().await;
                let _ = done.send(());
            }
        }
    }

    /// Does what the node says.
    async fn act(&mut self) {
        while let Some(action) = self.dht.poll_action() {
            match action {
                Action::Send(to, packet) => {
                    if let Err(error) = self.datagrams.send_to(&packet, to).await {
                        tracing::trace!(%to, "can't send: {error}");
                    }
                }
                Action::Found { search, local, peers } => {
                    let gone = self.searches.get(&search).is_some_and(|found| {
                        let sent = found.try_send(Heard { local, peers });
                        matches!(sent, Err(mpsc::error::TrySendError::Closed(_)))
                    });
                    if gone {
                        self.searches.remove(&search);
                        self.dht.cancel(search);
                    }
                }
                Action::Finished { search, outcome } => {
                    tracing::debug!(?search, ?outcome, "searched the DHT");
                }
                Action::Forgotten(search) => {
                    self.searches.remove(&search);
                }
            }
        }
        let stats = self.dht.stats(self.now());
        if !self.answers && stats.good >= K {
            self.answers = true;
            tracing::info!("the DHT answers: {} nodes", stats.nodes);
        }
    }

    fn look_up_routers(&mut self) {
        self.retry = Instant::now() + self.retry_wait;
        self.retry_wait = (self.retry_wait * 2).min(LONGEST_RETRY);
        if !self.routers.is_empty() || !self.names.is_empty() {
            return;
        }
        for router in self.config.routers.clone() {
            let outside = self.outside.clone();
            self.names.spawn(async move {
                let found = timeout(NAME_TIMEOUT, outside.find(&router)).await;
                let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                found
                    .inspect_err(|error| tracing::debug!("can't find the DHT router {router}: {error}"))
                    .unwrap_or_default()
            });
        }
    }

    fn router_found(&mut self, addrs: Vec<SocketAddr>) {
        if !addrs.is_empty() {
            self.routers.extend(addrs);
            let now = self.now();
            self.dht.set_routers(now, self.routers.clone(), self.config.routers_spared);
        }
    }

    async fn save(&mut self) {
        self.next_save = Instant::now() + SAVE_INTERVAL;
        let (Some(store), true) = (&self.store, self.dht.stats(self.now()).nodes > 0) else { return };
        let (path, bytes) = (store.path.clone(), self.dht.save().encode());
        let written = tokio::task::spawn_blocking(move || write(&path, &bytes)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!("can't keep the DHT's nodes for the next run: {error}");
        }
    }
}

/// Where what is known is kept. One run at a time has it, and our id with it: two nodes of one id would be in each other's way.
#[derive(Debug)]
struct Store {
    path: PathBuf,
    // Held for as long as it is open.
    _lock: File,
}

/// The file's name in the state directory.
const FILE: &str = "dht";

impl Store {
    /// With what an earlier run knew. Without the store, if another run has it: then the nodes are taken, but not the ids.
    fn open(dir: &Path) -> (Option<Self>, Saved) {
        let path = dir.join(FILE);
        let locked = std::fs::create_dir_all(dir).and_then(|()| {
            let lock = File::options().create(true).append(true).open(path.with_extension("lock"))?;
            lock.try_lock()?;
            Ok(lock)
        });
        let mut saved = match std::fs::read(&path) {
            Ok(bytes) => Saved::decode(&bytes).unwrap_or_else(|error| {
                tracing::warn!("{}: {error}; it is begun anew", path.display());
                Saved::default()
            }),
            Err(_) => Saved::default(),
        };
        let Ok(lock) = locked else {
            let mut seed = [0; 8];
            getrandom::fill(&mut seed).expect("the system has random bytes");
            let mut rng = fastrand::Rng::with_seed(u64::from_le_bytes(seed));
            [&mut saved.v4, &mut saved.v6].into_iter().flatten().for_each(|table| table.rename(&mut rng));
            return (None, saved);
        };
        (Some(Self { path, _lock: lock }), saved)
    }
}

/// In one go: whoever reads it finds all of it, old or new.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::{Contact, Id, SavedTable};

    fn saved() -> Saved {
        let node = Contact { id: Id([2; 20]), addr: "198.51.100.1:6881".parse().unwrap() };
        Saved { v4: Some(SavedTable { id: Id([1; 20]), nodes: vec![node] }), v6: None }
    }

    #[test]
    fn what_is_kept_is_found_by_the_next_run_and_damage_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let (store, nothing) = Store::open(dir.path());
        assert_eq!(nothing, Saved::default());
        let store = store.unwrap();
        write(&store.path, &saved().encode()).unwrap();
        drop(store);
        assert_eq!(Store::open(dir.path()).1, saved());
        std::fs::write(dir.path().join(FILE), b"d2:v4").unwrap();
        assert_eq!(Store::open(dir.path()).1, Saved::default());
    }

    #[test]
    fn a_second_run_at_a_time_has_an_id_of_its_own_and_the_nodes() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join(FILE), &saved().encode()).unwrap();
        let (first, known) = Store::open(dir.path());
        let (second, known_too) = Store::open(dir.path());
        assert!(first.is_some() && second.is_none());
        let (known, known_too) = (known.v4.unwrap(), known_too.v4.unwrap());
        assert_eq!(known.nodes, known_too.nodes);
        assert_ne!(known.id, known_too.id);
    }
}
