#![expect(clippy::disallowed_methods, reason = "the core's time is this driver's clock")]
//! One torrent: a task that owns its [`Torrent`], hands it what happens, and does what it says. No rule is here.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at};
use torrent_format::announce::{AnnounceEvent, AnnounceRequest};
use torrent_format::hash::Sha256State;
use torrent_format::merkle::Hash;
use torrent_format::{Info, InfoHash};

use super::announce::Announced;
use super::buffer::Buffer;
use super::connection::{Connection, Link, PeerEvent};
use super::dht::Heard;
use super::handshake::{HandshakeFailure, Names, Shaken, dial};
use super::net::Outside;
use super::open::{Opened, Opener};
use super::outbox::Overflow;
use super::port_map::PortMap;
use super::session::{Found, Phase, Place, TorrentEvent, TorrentFailure};
use super::storage::{Access, Storage, StorageError, StorageEvent};
use super::task::Purpose;
use crate::torrent::{
    Action, Config, Event, PeerKey, PeerSource, Start, Swarm, Time, Torrent, TrackerId, Transports, Verdict,
};
use crate::wire::{BlockRequest, HashRequest};

/// Time between two snapshots.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(250);

/// News of peers that are handled between two looks at everything else.
const PEER_BATCH: usize = 256;

/// How long a torrent may take to stop if nobody says.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Nodes of the DHT that a torrent may name.
const MAX_NODES: usize = 20;

/// How long a goodbye to a tracker waits for the answer to what was said to it before.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What wakes the driver, but for its tasks and its clock.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) peer_events: mpsc::Receiver<(PeerKey, PeerEvent)>,
    pub(super) disk_events: mpsc::UnboundedReceiver<StorageEvent>,
    /// Connections that came in.
    pub(super) incoming: mpsc::Receiver<Shaken>,
    /// Peers that were found otherwise than by the torrent's own doing.
    pub(super) found: mpsc::Receiver<Found>,
    /// Within which time to stop. Closed: the handle was dropped.
    pub(super) stop: mpsc::Receiver<Duration>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Driver {
    torrent: Torrent,
    /// The core's time zero.
    epoch: Instant,
    opener: Opener,
    purpose: Purpose,
    /// Where connections that come in find it. Free once it has ended.
    place: Place,
    /// What every connection gets; holds the data once it is open.
    link: Link,
    connections: HashMap<PeerKey, Connection>,
    /// Those that something was put into, and that have not heard of it.
    unflushed: Vec<PeerKey>,
    /// Connections by a name that may be the torrent's v2 name: its info will tell.
    unproven: HashMap<PeerKey, InfoHash>,
    /// Connections by the v1 name, made when the v2 name was not known, of peers that speak v2.
    upgradable: HashSet<PeerKey>,
    /// The info may add a v2 name.
    names_open: bool,
    /// The end of the latest announce to a tracker: one at a time, in order. A `stopped` that overtakes a `completed` would leave us in
    /// the swarm.
    turns: HashMap<TrackerId, oneshot::Receiver<()>>,
    /// Dials, announces and whatever else takes its time. Ends with the driver.
    tasks: JoinSet<Done>,
    phase: Phase,
    /// The disk is being looked at, after the info has come from peers.
    opening: bool,
    saving: Saving,
    /// It has to stop in limited time: nothing is hashed any more.
    hurried: Arc<AtomicBool>,
    failed: bool,
    stopping: Option<Stopping>,
}

/// How a task of the driver's ended.
#[derive(Debug)]
enum Done {
    Dialled(SocketAddr, Result<Shaken, HandshakeFailure>),
    Resolved(Vec<SocketAddr>),
    Announced {
        tracker: TrackerId,
        goodbye: bool,
        announced: Announced,
    },
    /// Somewhere in the DHT somebody knows peers; more may come. `None`: none will.
    Found {
        swarm: Swarm,
        name: InfoHash,
        found: Option<Heard>,
        more: mpsc::Receiver<Heard>,
    },
    /// The addresses of a node of the DHT.
    Nodes(Vec<SocketAddr>),
    Leaves(PeerKey, HashRequest, Option<Vec<Hash>>),
    Opened(Result<Box<Opened>, TorrentFailure>),
    /// What was checked by v1 alone was checked by v2.
    Proven(Result<(), StorageError>),
    Saved {
        whole: bool,
        outcome: Result<(), StorageError>,
    },
}

/// What is on its way to being durable.
#[derive(Debug, Default)]
struct Saving {
    under_way: bool,
    /// Every wanted piece is verified.
    whole: bool,
    /// And durable.
    durable: bool,
}

#[derive(Debug)]
struct Stopping {
    /// Whatever is unfinished then stays so.
    deadline: Option<Instant>,
    /// What [`AddTorrent::stay`] asks for has come about, rather than that the user or a failure stops it.
    fulfilled: bool,
}

impl Driver {
    /// `opened`: `None` if the info, or a part of its hashes, has to come from peers.
    pub(super) fn new(
        opener: Opener,
        purpose: Purpose,
        place: Place,
        opened: Option<Opened>,
        seed: u64,
        peer_events: mpsc::Sender<(PeerKey, PeerEvent)>,
    ) -> Self {
        let (shared, torrent) = (&opener.shared, &opener.torrent);
        let config = Config {
            hashes: torrent.hashes,
            peer_id: shared.peer_id,
            listen_port: shared.port,
            public_port: shared.public_port(),
            seed,
            max_peers: shared.config.max_peers,
            upload_limit: shared.config.upload_limit,
            trackers: torrent.trackers.clone(),
            stay: torrent.stay,
            sequential: torrent.sequential,
            super_seed: torrent.super_seed,
            pex: shared.config.pex,
            dht: shared.dht.is_some(),
            utp: shared.manner.utp.is_some(),
            ablation: torrent.ablation,
        };
        let names_open = torrent.info.is_none() && torrent.hashes.v2().is_none();
        let storage = OnceLock::new();
        let (phase, start) = match opened {
            None => (Phase::FetchingInfo, Start::Magnet { info: torrent.info.clone() }),
            Some(opened) => {
                storage.get_or_init(|| opened.storage);
                let Opened { info, have, wanted, .. } = opened;
                (Phase::Running, Start::Known { info, have, wanted })
            }
        };
        let link = Link {
            events: peer_events,
            storage: Arc::new(storage),
            pool: shared.pool.clone(),
            upload_memory: Arc::clone(&shared.upload_memory),
            upload: shared.upload.clone(),
            download: shared.download.clone(),
        };
        let mut tasks: JoinSet<Done> =
            torrent.peers.iter().map(|peer| resolve(shared.outside.clone(), peer.clone())).collect();
        if shared.dht.is_some() && !torrent.info.as_ref().is_some_and(Info::is_private) {
            for node in torrent.nodes.iter().take(MAX_NODES) {
                tasks.spawn(resolve_node(shared.outside.clone(), node.clone()));
            }
        }
        Self {
            torrent: Torrent::new(Time::default(), config, start),
            epoch: Instant::now(),
            opener,
            purpose,
            place,
            link,
            connections: HashMap::new(),
            unflushed: Vec::new(),
            unproven: HashMap::new(),
            upgradable: HashSet::new(),
            names_open,
            turns: HashMap::new(),
            tasks,
            phase,
            opening: false,
            saving: Saving::default(),
            hurried: Arc::default(),
            failed: false,
            stopping: None,
        }
    }

    /// Until the torrent has stopped.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let mut public_port = self.opener.shared.port_map.as_ref().map(PortMap::public);
        self.set_public_port(public_port.as_mut());
        let mut batch = Vec::with_capacity(PEER_BATCH);
        let mut publish = interval(PUBLISH_INTERVAL);
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut abandoned = false;
        self.act();
        self.flush();
        while !self.is_over() {
            let wake = self.wake();
            tokio::select! {
                _ = inputs.peer_events.recv_many(&mut batch, PEER_BATCH) => {
                    for (key, event) in batch.drain(..) {
                        self.handle_peer(key, event);
                        self.act();
                    }
                }
                Some(event) = inputs.disk_events.recv() => self.handle_storage(event),
                Some(done) = self.tasks.join_next() => self.handle_done(done, &mut inputs.disk_events),
                Some(shaken) = inputs.incoming.recv() => self.handle_shaken(shaken),
                Some(Found { source, name, peers }) = inputs.found.recv() => {
                    self.torrent.add_peers_of(self.now(), source, name, peers);
                }
                limit = inputs.stop.recv(), if !abandoned => {
                    abandoned = limit.is_none();
                    self.stop(Some(limit.unwrap_or(STOP_LIMIT)));
                }
                () = changed(&mut public_port) => self.set_public_port(public_port.as_mut()),
                () = sleep_until(wake) => self.torrent.handle_timeout(self.now()),
                _ = publish.tick() => self.publish(),
            }
            self.act();
            self.flush();
        }
        self.publish();
        self.end().await;
    }

    /// Lets go of everything, the lock on the data last.
    async fn end(self) {
        let Self { link, connections, mut tasks, stopping, saving, opener, place: _place, .. } = self;
        drop(connections);
        tasks.shutdown().await;
        let Some(storage) = link.storage.get().cloned() else { return };
        drop(link);
        let Some(Stopping { deadline, fulfilled }) = stopping else { return };
        let ending = async {
            // A download that is whole and will not go on needs no record any more.
            let over =
                fulfilled && saving.durable && matches!(opener.torrent.access, Access::Download { .. });
            if over && let Err(error) = storage.remove_record().await {
                tracing::warn!("can't remove the record of a finished download: {error}");
            }
            storage.close().await;
        };
        let deadline = deadline.unwrap_or_else(|| Instant::now() + STOP_LIMIT);
        if timeout_at(deadline, ending).await.is_err() {
            tracing::debug!("the disk is busy still");
        }
    }

    /// Does what the core says.
    fn act(&mut self) {
        while let Some(action) = self.torrent.poll_action() {
            match action {
                Action::Connect(addr, swarm) => self.dial(addr, swarm, self.opener.shared.manner.transports),
                Action::Punch(addr, swarm) => self.dial(addr, swarm, Transports::Utp),
                Action::Disconnect(key, reason) => {
                    self.forget(key);
                    if self.connections.remove(&key).is_some() {
                        tracing::debug!(?key, "we disconnect: {reason}");
                    }
                }
                Action::Send(key, message) => self.send(key, |connection| connection.send(&message)),
                Action::SendBlock(key, block) => self.send(key, |connection| connection.send_block(block)),
                Action::DropBlock(key, block) => {
                    if self.connections.get(&key).is_some_and(|connection| connection.drop_block(block)) {
                        self.torrent.handle_block_dropped(self.now(), key, block);
                    }
                }
                Action::Verify { piece, digests } => {
                    if let Some(storage) = self.link.storage.get() {
                        storage.verify(piece, digests);
                    }
                }
                Action::DropBlocks { piece, blocks } => {
                    if let Some(storage) = self.link.storage.get() {
                        storage.drop_blocks(piece, &blocks);
                    }
                }
                Action::ReadLeaves { peer, request, file, first, count } => {
                    self.read_leaves(peer, request, move |storage| {
                        storage.leaves_blocking(file, first, count)
                    });
                }
                Action::Search { swarm, name, port } => self.search(swarm, name, port),
                Action::AddNode(addr) => self.add_nodes([addr]),
                Action::Announce { tracker, url, request } => self.announce(tracker, url, request),
                Action::Info(info) => self.handle_info(info),
                Action::BadInfo(fault) => self.fail(fault.into()),
                Action::Notify(event) => self.notify(event),
            }
        }
    }

    // -- what happens

    fn handle_peer(&mut self, key: PeerKey, event: PeerEvent) {
        if !self.connections.contains_key(&key) {
            return; // It was on its way when we disconnected.
        }
        // Not once for a batch: what is done about one of its events tells the core a later time.
        let now = self.now();
        match event {
            PeerEvent::Message(message) => self.torrent.handle_message(now, key, message),
            PeerEvent::Block(block, payload) => {
                let leaf = |length| Sha256State::new().with(&payload[..length as usize]).finish();
                if self.torrent.handle_block(now, key, block, leaf) == Verdict::Keep {
                    self.keep(block, payload);
                }
            }
            PeerEvent::BlockSent(block) => self.torrent.handle_block_sent(now, key, block),
            PeerEvent::ReadFailed(block, error) => {
                self.torrent.handle_read_failed(now, key, block);
                self.lose_piece(error);
            }
            PeerEvent::Closed => self.lose(key),
        }
    }

    /// A piece that was verified can't be read. A seeder serves the others. A download does not go on: nobody but the user knows why the
    /// file is not what it was, it may be theirs by now, and a whole file is not written to. The next start looks at what is there.
    fn lose_piece(&mut self, error: StorageError) {
        let downloading = matches!(self.opener.torrent.access, Access::Download { .. }) && !self.saving.whole;
        if downloading && self.stopping.is_none() {
            self.fail(error.into());
        }
    }

    fn handle_storage(&mut self, event: StorageEvent) {
        match event {
            StorageEvent::Verified(piece, outcome) => {
                self.torrent.handle_verified(self.now(), piece, outcome);
            }
            StorageEvent::FileDone { path, .. } => self.opener.news.tell(TorrentEvent::FileDone(path)),
            StorageEvent::NoRoom(error) => self.opener.news.tell(TorrentEvent::NoRoom(error)),
            StorageEvent::Room => self.opener.news.tell(TorrentEvent::Room),
            StorageEvent::Failed(error) => self.fail(error.into()),
        }
    }

    fn handle_shaken(&mut self, shaken: Shaken) {
        let (peer, name, upgradable) = (shaken.peer, shaken.name, shaken.upgradable);
        match self.torrent.handle_connected(self.now(), peer) {
            Ok(key) => {
                if !self.is_known(name) {
                    self.unproven.insert(key, name);
                }
                self.connections.insert(key, Connection::start(key, shaken, self.link.clone()));
                if upgradable && self.torrent.hashes().v2().is_some() {
                    // The info has come meanwhile.
                    self.torrent.upgrade(self.now(), key);
                } else if upgradable && self.names_open {
                    self.upgradable.insert(key);
                }
            }
            Err(reason) => tracing::debug!(addr = %peer.addr, "refused: {reason}"),
        }
    }

    fn handle_done(
        &mut self,
        done: Result<Done, JoinError>,
        disk_events: &mut mpsc::UnboundedReceiver<StorageEvent>,
    ) {
        let done = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let now = self.now();
        match done {
            Done::Dialled(_, Ok(shaken)) if self.names_open || self.is_known(shaken.name) => {
                self.handle_shaken(shaken);
            }
            // The info has come meanwhile.
            Done::Dialled(addr, Ok(_)) => self.torrent.handle_connect_failed(now, addr),
            Done::Dialled(addr, Err(error)) => {
                tracing::debug!(%addr, "can't connect: {error}");
                self.torrent.handle_connect_failed(now, addr);
            }
            Done::Resolved(addrs) => self.torrent.add_peers(now, PeerSource::Given, addrs),
            // Once we say goodbye, only the answers to that count.
            Done::Announced { goodbye: false, .. } if self.stopping.is_some() => {}
            Done::Announced { tracker, announced: Announced { local, reply }, .. } => {
                self.torrent.handle_announce_reply(now, tracker, local, reply);
            }
            Done::Found { swarm, name, found: Some(Heard { local, peers }), more } => {
                self.torrent.add_peers_of(now, PeerSource::Dht { local }, name, peers);
                self.tasks.spawn(next_found(swarm, name, more));
            }
            Done::Found { swarm, found: None, .. } => self.torrent.handle_searched(now, swarm),
            Done::Nodes(addrs) => self.add_nodes(addrs),
            Done::Leaves(peer, request, leaves) => self.torrent.handle_leaves(now, peer, request, leaves),
            Done::Opened(Ok(opened)) => {
                self.opening = false;
                let Opened { info, storage, have, wanted } = *opened;
                self.link.storage.get_or_init(|| storage);
                self.phase = if self.stopping.is_some() { Phase::Stopping } else { Phase::Running };
                if info.missing_layers().next().is_none() {
                    // Layers may have come meanwhile.
                    self.prove();
                }
                self.torrent.handle_info(now, info, have, wanted);
            }
            // As we wished.
            Done::Opened(Err(TorrentFailure::Storage(StorageError::CalledOff))) => self.opening = false,
            Done::Opened(Err(failure)) => {
                self.opening = false;
                self.fail(failure);
            }
            Done::Proven(Ok(())) => {}
            Done::Proven(Err(error)) => self.fail(error.into()),
            Done::Saved { whole, outcome } => {
                self.saving.under_way = false;
                // What storage said before it was done comes first: files, then the whole.
                while let Ok(event) = disk_events.try_recv() {
                    self.handle_storage(event);
                }
                match outcome {
                    Ok(()) => self.saved(whole),
                    Err(error) => self.fail(error.into()),
                }
            }
        }
    }

    fn notify(&mut self, event: Event) {
        self.opener.news.tell(TorrentEvent::Core(event.clone()));
        match event {
            Event::Complete => {
                self.saving.whole = true;
                self.save();
            }
            Event::Fulfilled => {
                self.stop(None);
            }
            Event::LayersComplete => self.prove(),
            _ => {}
        }
    }

    fn set_public_port(&mut self, public: Option<&mut watch::Receiver<Option<u16>>>) {
        if let Some(port) = public.and_then(|public| *public.borrow_and_update()) {
            self.torrent.set_public_port(self.now(), port);
        }
    }

    // -- what is done about it

    /// Off the network threads: the disk may take its time.
    fn read_leaves(
        &mut self,
        peer: PeerKey,
        request: HashRequest,
        read: impl FnOnce(Storage) -> Result<Vec<Hash>, StorageError> + Send + 'static,
    ) {
        let Some(storage) = self.link.storage.get().cloned() else { return };
        self.tasks.spawn(async move {
            let read = tokio::task::spawn_blocking(move || read(storage)).await;
            let leaves = read.ok().and_then(|outcome| {
                outcome
                    .inspect_err(|error| tracing::warn!("can't hash what was verified before: {error}"))
                    .ok()
            });
            Done::Leaves(peer, request, leaves)
        });
    }

    fn dial(&mut self, addr: SocketAddr, swarm: InfoHash, transports: Transports) {
        let shared = Arc::clone(&self.opener.shared);
        let names = Names { hashes: self.torrent.hashes(), open: self.names_open };
        self.tasks.spawn(async move {
            shared.outside.ready().await;
            let _permit = shared.half_open.acquire().await;
            Done::Dialled(addr, dial(addr, &shared.manner, transports, names, swarm).await)
        });
    }

    /// In the DHT. The search ends with the driver.
    fn search(&mut self, swarm: Swarm, name: InfoHash, port: u16) {
        let Some(dht) = self.opener.shared.dht.clone() else { return };
        self.tasks.spawn(async move { next_found(swarm, name, dht.search(name, port).await).await });
    }

    fn add_nodes(&self, addrs: impl IntoIterator<Item = SocketAddr>) {
        // Those of a torrent that is private by now are not for us (BEP 27).
        if let Some(dht) = self.opener.shared.dht.as_ref().filter(|_| self.torrent.uses_dht()) {
            addrs.into_iter().for_each(|addr| dht.add_node(addr));
        }
    }

    fn announce(&mut self, tracker: TrackerId, url: Arc<str>, request: Box<AnnounceRequest>) {
        let (announcer, way) = (self.opener.shared.announcer.clone(), self.opener.shared.outside.clone());
        // A queue of our own making: tasks that are started in order may run in any, and a lock would serve who came first.
        let (over, next) = oneshot::channel::<()>();
        let before = self.turns.insert(tracker, next);
        let goodbye = request.event == AnnounceEvent::Stopped;
        self.tasks.spawn(async move {
            if let Some(before) = before {
                // It never sends: it is dropped when that announce is over.
                let patience = if goodbye { LAST_WORD } else { Duration::MAX };
                let _ = timeout(patience, before).await;
            }
            if !goodbye {
                way.ready().await;
            }
            let announced = announcer.announce(&url, &request).await;
            drop(over);
            Done::Announced { tracker, goodbye, announced }
        });
    }

    fn send(&mut self, key: PeerKey, put: impl FnOnce(&Connection) -> Result<(), Overflow>) {
        match self.connections.get(&key).map(put) {
            Some(Ok(())) if self.unflushed.last() != Some(&key) => self.unflushed.push(key),
            Some(Ok(())) | None => {}
            Some(Err(overflow)) => {
                tracing::debug!(?key, "we disconnect: {overflow}");
                self.lose(key);
            }
        }
    }

    /// Wakes each connection once for all that was put into it: it leaves together, by few system calls.
    fn flush(&mut self) {
        self.unflushed.sort_unstable();
        self.unflushed.dedup();
        for key in self.unflushed.drain(..) {
            if let Some(connection) = self.connections.get(&key) {
                connection.flush();
            }
        }
    }

    fn is_known(&self, name: InfoHash) -> bool {
        self.torrent.hashes().swarms().any(|known| known == name)
    }

    fn forget(&mut self, key: PeerKey) {
        self.unproven.remove(&key);
        self.upgradable.remove(&key);
    }

    fn lose(&mut self, key: PeerKey) {
        self.forget(key);
        self.connections.remove(&key);
        self.torrent.handle_disconnected(self.now(), key);
    }

    fn keep(&self, block: BlockRequest, payload: Buffer) {
        let BlockRequest { index, begin, length } = block;
        let block = self.torrent.info().and_then(|info| info.layout().check_block(index, begin, length));
        match (self.link.storage.get(), block) {
            (Some(storage), Some(block)) => storage.write(block, payload),
            _ => debug_assert!(false, "the core keeps only what it asked for"),
        }
    }

    /// The info is known, and the payload can be checked by it.
    fn handle_info(&mut self, info: Info) {
        // The same torrent may be here twice, by one of its names each: one is enough.
        if let Err(taken) = self.place.learn(self.torrent.hashes()) {
            return self.fail(TorrentFailure::Twice(taken));
        }
        if info.is_private() {
            self.place.set_private();
        }
        self.close_names(&info);
        match self.purpose {
            Purpose::Payload => self.open(info),
            Purpose::Info => self.opener.tell_info(&info),
        }
    }

    /// Every name of the torrent is known. Who turns out to speak of another torrent is left; piece layers come only by the v2 name, so that
    /// who can give them is dialled anew by that.
    fn close_names(&mut self, info: &Info) {
        self.names_open = false;
        for (key, name) in std::mem::take(&mut self.unproven) {
            if !self.is_known(name) {
                tracing::debug!(?key, "we disconnect: it speaks of another torrent, {name}");
                self.lose(key);
            }
        }
        if info.version().has_v2() {
            for key in std::mem::take(&mut self.upgradable) {
                self.torrent.upgrade(self.now(), key);
            }
        }
    }

    fn open(&mut self, info: Info) {
        self.phase = Phase::Checking;
        self.opening = true;
        let opening = self.opener.open(info);
        self.tasks.spawn(async move { Done::Opened(opening.await.map(Box::new)) });
    }

    /// Checks by v2 what was checked by v1 alone: a torrent whose versions disagree must not be given to others.
    fn prove(&mut self) {
        let Some(storage) = self.link.storage.get().cloned() else { return };
        let hurried = Arc::clone(&self.hurried);
        self.tasks.spawn(async move { Done::Proven(prove(storage, hurried).await) });
    }

    /// Makes durable what is verified by now; of a whole torrent, proves what was not proven.
    fn save(&mut self) {
        if let (Some(storage), false) = (self.link.storage.get().cloned(), self.saving.under_way) {
            self.saving.under_way = true;
            let whole = self.saving.whole;
            let hurried = Arc::clone(&self.hurried);
            self.tasks.spawn(async move {
                let mut outcome = storage.flush().await;
                if whole && outcome.is_ok() {
                    outcome = prove(storage, hurried).await;
                }
                Done::Saved { whole, outcome }
            });
        }
    }

    fn saved(&mut self, whole: bool) {
        if whole && !self.saving.durable {
            self.saving.durable = true;
            self.publish();
            self.opener.news.tell(TorrentEvent::Durable);
        } else if self.saving.whole && !self.saving.durable {
            // The last piece came after that one had begun.
            self.save();
        }
    }

    fn fail(&mut self, failure: TorrentFailure) {
        tracing::debug!("the torrent can't go on: {failure}");
        // The first failure is the cause of the others.
        if !std::mem::replace(&mut self.failed, true) {
            self.opener.news.tell(TorrentEvent::Failed(failure));
        }
        self.stop(Some(STOP_LIMIT));
    }

    /// `None`: because it has done what was asked for; then it takes the time that it needs.
    fn stop(&mut self, limit: Option<Duration>) {
        let deadline = limit.map(|limit| Instant::now() + limit);
        if deadline.is_some() {
            self.hurried.store(true, Ordering::Relaxed);
        }
        if let Some(stopping) = &mut self.stopping {
            stopping.deadline = [stopping.deadline, deadline].into_iter().flatten().min();
            return;
        }
        self.stopping = Some(Stopping { deadline, fulfilled: limit.is_none() });
        self.opener.call_off();
        if let Some(storage) = self.link.storage.get() {
            storage.stop_waiting();
        }
        self.phase = Phase::Stopping;
        self.publish();
        self.torrent.stop(self.now());
        self.save();
    }

    fn is_over(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| {
            let finished = self.torrent.is_stopped() && !self.saving.under_way && !self.opening;
            finished || stopping.deadline.is_some_and(|deadline| deadline <= Instant::now())
        })
    }

    fn publish(&self) {
        let now = self.now();
        self.opener.news.snapshot.send_modify(|snapshot| {
            snapshot.phase = self.phase;
            snapshot.stats = self.torrent.stats(now);
            snapshot.peers = self.torrent.peer_stats();
        });
    }

    fn now(&self) -> Time {
        Time(self.epoch.elapsed())
    }

    fn wake(&self) -> Instant {
        let timeout = self.torrent.poll_timeout().map(|time| self.epoch + time.0);
        let deadline = self.stopping.as_ref().and_then(|stopping| stopping.deadline);
        // Publishing wakes it long before an hour has passed.
        [timeout, deadline]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }
}

/// Off the network threads: it reads as much as there is to prove.
async fn prove(storage: Storage, hurried: Arc<AtomicBool>) -> Result<(), StorageError> {
    let proving = tokio::task::spawn_blocking(move || {
        match storage.prove_blocking(|| !hurried.load(Ordering::Relaxed)) {
            // As we wished.
            Err(StorageError::CalledOff) => Ok(()),
            outcome => outcome,
        }
    });
    proving.await.expect("proving does not panic")
}

/// Until the router has something new to say.
async fn changed(public: &mut Option<watch::Receiver<Option<u16>>>) {
    let changed = match public {
        Some(public) => public.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending::<()>().await;
    }
}

async fn next_found(swarm: Swarm, name: InfoHash, mut more: mpsc::Receiver<Heard>) -> Done {
    let found = more.recv().await;
    Done::Found { swarm, name, found, more }
}

async fn resolve_node(outside: Outside, node: String) -> Done {
    let found = outside.find(&node).await;
    Done::Nodes(
        found
            .inspect_err(|error| tracing::debug!("can't find the DHT node {node}: {error}"))
            .unwrap_or_default(),
    )
}

async fn resolve(outside: Outside, peer: String) -> Done {
    match outside.find(&peer).await {
        Ok(addrs) => Done::Resolved(addrs),
        Err(error) => {
            tracing::warn!("can't find the peer {peer}: {error}");
            Done::Resolved(Vec::new())
        }
    }
}
