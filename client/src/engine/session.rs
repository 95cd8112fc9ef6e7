#![expect(clippy::disallowed_methods, reason = "where a run gets its name and its seeds")]
//! Several torrents behind one listening port, one budget of memory and one pair of rate limits.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use torrent_format::{Info, InfoHash, InfoHashes, PeerId};

use super::announce::Announcer;
use super::buffer::BufferPool;
use super::datagrams::{Datagrams, Receiving};
use super::dht::{self, DhtConfig};
use super::handshake::{Manner, Shaken};
use super::limit::Limiter;
use super::listen::{self, Listening};
use super::lsd;
use super::net::{Outside, OutsideError, Via};
use super::port_map::PortMap;
use super::storage::{Access, Allocate, Check, CheckProgress, StorageError};
use super::task::{self, Job, News, Purpose};
use crate::torrent::{
    Ablation, Encryption, Event, InfoFault, PeerSource, PeerStats, Stats, Stay, Transports,
};
use crate::wire::mse::Proof;

/// What torrents share.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// `--port`: `None`: the first free of 6881–6889, else any; `Some(0)`: any.
    pub port: Option<u16>,
    /// Where packets may leave and come in.
    pub via: Via,
    /// Which connections are hidden.
    pub encryption: Encryption,
    /// What carries connections.
    pub transports: Transports,
    /// Bytes a second for all torrents together.
    pub upload_limit: Option<u64>,
    /// Bytes a second for all torrents together.
    pub download_limit: Option<u64>,
    /// Bytes for all buffers (`--memory`).
    pub memory: usize,
    /// Connections a torrent.
    pub max_peers: usize,
    /// Exchange peers with peers (BEP 11).
    pub pex: bool,
    /// Look for peers on our own network (BEP 14).
    pub lsd: bool,
    /// The node of the DHT; `None`: none.
    pub dht: Option<DhtConfig>,
    /// Have a router let peers in.
    pub port_mapping: bool,
    /// Where records are kept.
    pub state_dir: PathBuf,
}

/// Why a session can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Exit code 10.
    #[error("can't listen on {addr}: {source}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Exit code 10.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// Exit code 1.
    #[error("can't set up HTTP: {0}")]
    Http(String),
}

/// A torrent to be added.
#[derive(Clone, Debug)]
pub struct AddTorrent {
    /// Which: as much as is known.
    pub hashes: InfoHashes,
    /// Its info; `None`: from peers (BEP 9).
    pub info: Option<Info>,
    /// Trackers in tiers.
    pub trackers: Vec<Vec<String>>,
    /// Peers to dial, `host:port`.
    pub peers: Vec<String>,
    /// Nodes of the DHT that it names, `host:port`.
    pub nodes: Vec<String>,
    /// The directory that holds (or will hold) the torrent's named file or directory.
    pub dir: PathBuf,
    /// Download or seed.
    pub access: Access,
    /// What to check.
    pub check: Check,
    /// How to reserve room.
    pub allocate: Allocate,
    /// Which files; asked once the info is known. One flag a file; empty: all.
    pub select: Select,
    /// After completion.
    pub stay: Stay,
    /// In order.
    pub sequential: bool,
    /// Seeding, name each peer one piece at a time until all of it is elsewhere (BEP 16).
    pub super_seed: bool,
    /// Experiments.
    pub ablation: Ablation,
}

/// Which files of a torrent are wanted.
#[derive(Clone)]
pub struct Select(pub Arc<Selector>);

/// One flag a file, or why that can't be; empty: all.
pub type Selector = dyn Fn(&Info) -> Result<Vec<bool>, String> + Send + Sync;

impl Select {
    /// Every file.
    pub fn all() -> Self {
        Self(Arc::new(|_| Ok(Vec::new())))
    }
}

impl std::fmt::Debug for Select {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Select")
    }
}

/// What a torrent is doing.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Phase {
    /// Looking for the info.
    #[default]
    FetchingInfo,
    /// Hashing what is there.
    Checking,
    /// Downloading or seeding.
    Running,
    /// Saying goodbye.
    Stopping,
    /// Over.
    Stopped,
}

/// Published a few times a second.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What it is doing.
    pub phase: Phase,
    /// Figures.
    pub stats: Stats,
    /// While checking.
    pub check: CheckProgress,
    /// The info, once known.
    pub info: Option<Info>,
    /// One entry a peer met in this run, also those that are gone.
    pub peers: Vec<PeerStats>,
}

/// News of a torrent, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum TorrentEvent {
    /// The info is known: at once for a .torrent, later for a magnet.
    Info(Info),
    /// What is there has been looked at: bytes of wanted pieces that are there.
    Checked {
        /// Bytes.
        bytes_done: u64,
    },
    /// From the core.
    Core(Event),
    /// A file is whole, durable, and bears its own name.
    FileDone(PathBuf),
    /// Every wanted piece is verified and durable, and every wanted file bears its own name. Follows the `FileDone`s.
    Durable,
    /// The disk is full: it waits until there is room. Stopped meanwhile, it fails with this.
    NoRoom(StorageError),
    /// There is room again.
    Room,
    /// The torrent can't go on; `Stopped` follows.
    Failed(TorrentFailure),
    /// The last one.
    Stopped,
}

/// Why a torrent can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorrentFailure {
    /// Disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The info that peers gave can't be used (exit code 4).
    #[error("the torrent's metadata can't be used: {0}")]
    Info(#[from] InfoFault),
    /// The selection does not fit the torrent (exit code 2).
    #[error("{0}")]
    Select(String),
    /// The session has this torrent already (exit code 2).
    #[error("the torrent {0} was given twice")]
    Twice(InfoHash),
}

/// A running torrent. Dropped, the torrent stops.
#[derive(Debug)]
pub struct TorrentHandle {
    /// Which.
    pub info_hash: InfoHash,
    /// All its info hashes that were known at the start; [`Snapshot::info`] may know more.
    pub hashes: InfoHashes,
    /// The latest figures.
    snapshot: watch::Receiver<Snapshot>,
    /// News.
    pub events: mpsc::UnboundedReceiver<TorrentEvent>,
    stop: mpsc::Sender<Duration>,
}

/// See the module. Dropped, it does not listen any more; its torrents go on until their handles are dropped.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    /// What goes on while it lives.
    tasks: Vec<AbortHandle>,
    _receiving: Receiving,
}

/// What a session's torrents have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: SessionConfig,
    pub(super) port: u16,
    /// Makes every socket, finds every name.
    pub(super) outside: Outside,
    /// What goes by UDP from the port that we listen on.
    pub(super) datagrams: Datagrams,
    /// Our node of the DHT.
    pub(super) dht: Option<dht::Node>,
    /// The port as the router has it.
    pub(super) port_map: Option<PortMap>,
    pub(super) peer_id: PeerId,
    /// How hands are shaken.
    pub(super) manner: Manner,
    /// For payload on its way to the disk.
    pub(super) pool: BufferPool,
    /// For payload on its way to peers, in bytes.
    pub(super) upload_memory: Arc<Semaphore>,
    pub(super) upload: Limiter,
    pub(super) download: Limiter,
    pub(super) announcer: Announcer,
    /// One permit for each dial under way.
    pub(super) half_open: Semaphore,
    /// Where connections that come in belong: each torrent by every name that is known of it.
    torrents: Mutex<HashMap<InfoHash, Entry>>,
}

/// A torrent that waits for peers.
#[derive(Clone, Debug)]
struct Entry {
    hashes: InfoHashes,
    incoming: mpsc::Sender<Shaken>,
    found: mpsc::Sender<Found>,
    /// Peers come from its trackers only (BEP 27).
    private: bool,
}

/// Peers that were found for one of the session's torrents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// How.
    pub(super) source: PeerSource,
    /// By which of the torrent's names.
    pub(super) name: InfoHash,
    pub(super) peers: Vec<SocketAddr>,
}

/// The least memory that a session can work with, in bytes: some of the longest blocks in either direction.
const MIN_MEMORY: usize = 4 * 1024 * 1024;

/// The part of the memory that is kept for uploads.
const UPLOAD_SHARE: usize = 4;

/// Dials under way at once, for all torrents. Home routers lose connections beyond some dozens.
const MAX_HALF_OPEN: usize = 50;

/// Connections that came in and wait for their torrent's driver, or for its data to be checked.
const MAX_WAITING: usize = 32;

/// Lists of peers that wait for their torrent's driver.
const MAX_FOUND: usize = 32;

impl Session {
    /// Listens.
    ///
    /// # Errors
    /// If a port that was asked for by number is taken, or none is free.
    pub async fn start(config: SessionConfig) -> Result<Self, SessionError> {
        let outside = Outside::new(config.via.clone())?;
        let Listening { port, tcp, udp } = listen::listen(config.port, &outside)
            .map_err(|(addr, source)| SessionError::Listen { addr, source })?;
        let tcp = if config.transports.has_tcp() { tcp } else { Vec::new() };
        // Before anything that takes its time: most routers answer before the first torrent announces itself.
        let port_map = config.port_mapping.then(|| PortMap::start(port, outside.via())).flatten();
        let way = outside.clone();
        // Reads the system's certificates: many small files.
        let announcer = tokio::task::spawn_blocking(move || Announcer::new(&way)).await;
        let announcer = announcer.map_err(|error| SessionError::Http(error.to_string()))?;
        let (datagrams, receiving) = Datagrams::start(udp);
        let dht =
            config.dht.clone().and_then(|dht| dht::Node::start(dht, datagrams.clone(), outside.clone()));
        let (dht, dht_task) = dht.unzip();
        let peer_id = peer_id();
        let manner = Manner::new(outside.clone(), peer_id, config.encryption);
        let mut manner = manner.over(config.transports, &datagrams);
        manner.dht = dht.is_some();
        let memory = config.memory.max(MIN_MEMORY);
        let shared = Arc::new(Shared {
            port,
            manner,
            outside,
            datagrams,
            dht,
            port_map,
            peer_id,
            pool: BufferPool::new(memory - memory / UPLOAD_SHARE),
            upload_memory: Arc::new(Semaphore::new(memory / UPLOAD_SHARE)),
            upload: Limiter::new(config.upload_limit),
            download: Limiter::new(config.download_limit),
            announcer: announcer.map_err(SessionError::Http)?,
            half_open: Semaphore::new(MAX_HALF_OPEN),
            torrents: Mutex::default(),
            config,
        });
        let udp: Vec<_> = shared.datagrams.local_addrs().collect();
        tracing::debug!(port, ?udp, peer_id = %shared.peer_id, "listening");
        let mut tasks = vec![tokio::spawn(listen::serve(tcp, Arc::clone(&shared))).abort_handle()];
        tasks.extend(dht_task);
        if shared.config.lsd {
            tasks.push(tokio::spawn(lsd::serve(Arc::clone(&shared))).abort_handle());
        }
        Ok(Self { shared, tasks, _receiving: receiving })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// What it calls itself.
    pub fn peer_id(&self) -> PeerId {
        self.shared.peer_id
    }

    /// Starts a torrent. Its storage is opened in the background: failures come as [`TorrentEvent::Failed`].
    pub fn add(&self, torrent: AddTorrent) -> TorrentHandle {
        self.begin(torrent, Purpose::Payload)
    }

    /// Only fetches the info of a torrent (BEP 9) and its piece layers (BEP 52), for as long as the handle lives: nothing is opened on disk.
    /// [`TorrentEvent::Info`] comes with all layers for a torrent that has only v2; for a hybrid, they come until
    /// [`Event::LayersComplete`].
    pub fn look(&self, torrent: AddTorrent) -> TorrentHandle {
        self.begin(torrent, Purpose::Info)
    }

    /// Keeps what the next session should know, has the router forget our port, and ends, all within `limit`.
    pub async fn close(self, limit: Duration) {
        let save = async {
            if let Some(dht) = &self.shared.dht {
                dht.save().await;
            }
        };
        let unmap = async {
            if let Some(port_map) = &self.shared.port_map {
                port_map.remove().await;
            }
        };
        let closing = async { tokio::join!(save, unmap) };
        if tokio::time::timeout(limit, closing).await.is_err() {
            tracing::debug!("the session ends before all of it is kept");
        }
    }

    fn begin(&self, mut torrent: AddTorrent, purpose: Purpose) -> TorrentHandle {
        if let Some(info) = &torrent.info {
            torrent.hashes = info.hashes();
        }
        let hashes = torrent.hashes;
        let (events, event_receiver) = mpsc::unbounded_channel();
        let (snapshot, snapshot_receiver) = watch::channel(Snapshot::default());
        let (stop, stop_receiver) = mpsc::channel(4);
        let news = News { events, snapshot };
        match self.shared.register(hashes) {
            Ok(Registered { place, incoming, found }) => {
                let (shared, stop, seed) = (Arc::clone(&self.shared), stop_receiver, random_seed());
                let job = Job { shared, torrent, purpose, seed, place, incoming, found, stop, news };
                tokio::spawn(task::run(job));
            }
            Err(taken) => news.over(Err(TorrentFailure::Twice(taken))),
        }
        let info_hash = hashes.primary();
        TorrentHandle { info_hash, hashes, snapshot: snapshot_receiver, events: event_receiver, stop }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl TorrentHandle {
    /// The latest figures. Copies: whoever held the figures themselves would keep the driver from writing new ones, and if he looked a second
    /// time while it waits, they would wait for each other for ever.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Of the latest figures the numbers alone.
    pub fn stats(&self) -> Stats {
        self.snapshot.borrow().stats
    }

    /// Asks it to stop: it saves, tells its trackers, and sends [`TorrentEvent::Stopped`] within `limit`.
    pub fn stop(&self, limit: Duration) {
        // A full queue says it already.
        let _ = self.stop.try_send(limit);
    }
}

impl Shared {
    /// Where others reach us, as far as is known.
    pub(super) fn public_port(&self) -> u16 {
        self.port_map.as_ref().and_then(|map| *map.public().borrow()).unwrap_or(self.port)
    }

    /// Makes connections for this torrent arrive at the receiver, until the place is dropped.
    ///
    /// # Errors
    /// The name by which they arrive elsewhere.
    fn register(self: &Arc<Self>, hashes: InfoHashes) -> Result<Registered, InfoHash> {
        let (incoming, incoming_receiver) = mpsc::channel(MAX_WAITING);
        let (found, found_receiver) = mpsc::channel(MAX_FOUND);
        let shared = Arc::clone(self);
        let mut place = Place { shared, names: Vec::new(), incoming, found, private: false };
        place.learn(hashes)?;
        Ok(Registered { place, incoming: incoming_receiver, found: found_receiver })
    }

    /// Hands peers that were found to their torrent, if it is here.
    pub(super) fn found(&self, found: Found) {
        let torrents = self.torrents();
        // One that has not yet looked at the last ones has enough of them.
        if let Some(entry) = torrents.get(&found.name).filter(|entry| !entry.private) {
            let _ = entry.found.try_send(found);
        }
    }

    /// The names of the torrents that may be announced on our own network.
    pub(super) fn lsd_torrents(&self) -> Vec<InfoHash> {
        let torrents = self.torrents();
        let public = torrents.iter().filter(|(_, entry)| !entry.private);
        public.map(|(name, _)| *name).collect()
    }

    /// All names of the torrent of this session that waits for peers by this one.
    pub(super) fn hashes_of(&self, info_hash: &InfoHash) -> Option<InfoHashes> {
        self.torrents().get(info_hash).map(|entry| entry.hashes)
    }

    /// The name, of a torrent of this session, that a peer has proven to know.
    pub(super) fn name_of(&self, proof: &Proof) -> Option<InfoHash> {
        self.torrents().keys().find(|name| proof.is(**name)).copied()
    }

    /// Hands a connection that came in to its torrent, if that has room.
    pub(super) fn deliver(&self, info_hash: &InfoHash, shaken: Shaken) {
        let torrents = self.torrents();
        if torrents.get(info_hash).is_some_and(|entry| entry.incoming.try_send(shaken).is_err()) {
            tracing::debug!(%info_hash, "too many connections come in at once");
        }
    }

    fn torrents(&self) -> MutexGuard<'_, HashMap<InfoHash, Entry>> {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A torrent that has a place, and what comes to it there.
#[derive(Debug)]
struct Registered {
    place: Place,
    incoming: mpsc::Receiver<Shaken>,
    found: mpsc::Receiver<Found>,
}

/// A torrent's place in its session, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    names: Vec<InfoHash>,
    incoming: mpsc::Sender<Shaken>,
    found: mpsc::Sender<Found>,
    private: bool,
}

impl Place {
    /// More is known of the torrent's names: it is found by each of them from here on.
    ///
    /// # Errors
    /// The name that another torrent of the session has: both are one, and this one gives way: it has no name any more.
    pub(super) fn learn(&mut self, hashes: InfoHashes) -> Result<(), InfoHash> {
        let mut torrents = self.shared.torrents();
        let taken = |name: &InfoHash| torrents.contains_key(name) && !self.names.contains(name);
        if let Some(name) = hashes.swarms().find(taken) {
            for name in self.names.drain(..) {
                torrents.remove(&name);
            }
            return Err(name);
        }
        let new = hashes.swarms().collect();
        for name in std::mem::replace(&mut self.names, new) {
            torrents.remove(&name);
        }
        for &name in &self.names {
            let (incoming, found) = (self.incoming.clone(), self.found.clone());
            torrents.insert(name, Entry { hashes, incoming, found, private: self.private });
        }
        Ok(())
    }

    /// Nobody is told of it but its trackers from here on (BEP 27).
    pub(super) fn set_private(&mut self) {
        self.private = true;
        let mut torrents = self.shared.torrents();
        for name in &self.names {
            if let Some(entry) = torrents.get_mut(name) {
                entry.private = true;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut torrents = self.shared.torrents();
        for name in &self.names {
            torrents.remove(name);
        }
    }
}

/// `-SR`, a digit each of major and minor version and patch, 0, `-`, then chance (BEP 20).
fn peer_id() -> PeerId {
    let digit = |part: &str| part.bytes().last().unwrap_or(b'0');
    let version = [
        digit(env!("CARGO_PKG_VERSION_MAJOR")),
        digit(env!("CARGO_PKG_VERSION_MINOR")),
        digit(env!("CARGO_PKG_VERSION_PATCH")),
    ];
    let mut random = [0; 12];
    fill_random(&mut random);
    PeerId::azureus([b'S', b'R', version[0], version[1], version[2], b'0'], random)
}

fn random_seed() -> u64 {
    let mut seed = [0; 8];
    fill_random(&mut seed);
    u64::from_le_bytes(seed)
}

fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has random bytes");
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use torrent_format::InfoHashV2;

    use super::*;

    #[tokio::test]
    async fn a_name_that_a_torrent_has_no_more_is_free() {
        let state = tempfile::tempdir().unwrap();
        let config = SessionConfig {
            port: Some(0),
            via: IpAddr::from(Ipv4Addr::LOCALHOST).into(),
            encryption: Encryption::default(),
            transports: Transports::default(),
            upload_limit: None,
            download_limit: None,
            memory: 0,
            max_peers: 1,
            pex: false,
            lsd: false,
            dht: None,
            port_mapping: false,
            state_dir: state.path().to_owned(),
        };
        let session = Session::start(config).await.unwrap();
        let (v1, v2) = (InfoHash([1; 20]), InfoHashV2([2; 32]));
        let mut registered = session.shared.register(v1.into()).unwrap();
        let place = &mut registered.place;
        place.learn(v2.into()).unwrap();
        assert_eq!(session.shared.hashes_of(&v1), None);
        assert_eq!(session.shared.hashes_of(&v2.truncated()), Some(v2.into()));
        let found = |peers| Found { source: PeerSource::Lsd, name: v2.truncated(), peers };
        session.shared.found(found(vec![([192, 0, 2, 1], 1).into()]));
        assert_eq!(session.shared.lsd_torrents(), [v2.truncated()]);
        place.set_private();
        assert_eq!(session.shared.lsd_torrents(), []);
        session.shared.found(found(vec![]));
        assert_eq!(registered.found.try_recv(), Ok(found(vec![([192, 0, 2, 1], 1).into()])));
        assert!(registered.found.try_recv().is_err());
        drop(registered);
        let places = [v1.into(), v2.into()].map(|hashes| session.shared.register(hashes));
        assert!(places.iter().all(Result::is_ok));
        drop(places);
        assert!(session.shared.torrents().is_empty());
    }
}
