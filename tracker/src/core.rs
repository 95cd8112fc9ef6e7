//! What all listeners of a tracker share: [`Tracker`].
#![expect(clippy::disallowed_methods, reason = "the tracker's clock")]

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use torrent_format::announce::http::ScrapeEntry;
use torrent_format::announce::{AnnounceEvent, AnnounceReply, AnnounceRequest};
use torrent_format::{InfoHash, PeerId};

use crate::OwnSeeder;
use crate::access::{Clients, Lists};
use crate::directory::facts::Facts;
use crate::keys::Keys;
use crate::store::Outbox;
use crate::swarm::{Answer, Picked, Shards};

/// What the listeners share.
pub(crate) struct Tracker {
    pub(crate) shards: Shards,
    pub(crate) own_seeder: Option<OwnSeeder>,
    pub(crate) clients: Clients,
    pub(crate) private: bool,
    pub(crate) clock: Clock,
    lists: ArcSwap<Lists>,
    /// Most trackers list nothing, and need not look.
    has_lists: AtomicBool,
    keys: ArcSwap<Keys>,
    /// Torrents whose counts have changed and are not on disk yet; [`None`] if nothing is kept.
    completed: Option<Mutex<Vec<(InfoHash, u32)>>>,
    /// What the other nodes have to hear.
    pub(crate) outbox: Option<Outbox>,
    /// What is listed there is allowed.
    directory: OnceLock<Arc<RwLock<Facts>>>,
}

/// Time since the start, and what it was then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    epoch: Duration,
}

/// Why a request is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this torrent is not tracked here")]
    Torrent,
    #[error("this client is not served here")]
    Client,
    /// None, unknown, expired, revoked: that which of them it is, is nobody's business.
    #[error("this tracker is private: its URL needs a valid key")]
    Key,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), epoch }
    }

    /// Since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Since 1970, as it was at the start and has gone on since; a clock that is set does not disturb it.
    pub(crate) fn epoch(&self, now: Duration) -> Duration {
        self.epoch.saturating_add(now)
    }
}

impl Tracker {
    pub(crate) fn new(
        shards: Shards,
        clock: Clock,
        config: &crate::Config,
        lists: Lists,
        keys: Keys,
        outbox: Option<Outbox>,
    ) -> Self {
        Self {
            shards,
            own_seeder: config.own_seeder,
            clients: Clients::refusing(config.deny_clients.iter().cloned()),
            private: config.private,
            clock,
            has_lists: AtomicBool::new(!lists.permit_all()),
            lists: ArcSwap::from_pointee(lists),
            keys: ArcSwap::from_pointee(keys),
            completed: config.state.is_some().then(Mutex::default),
            outbox,
            directory: OnceLock::new(),
        }
    }

    /// From now on what is listed in a directory is allowed.
    pub(crate) fn set_directory(&self, facts: Arc<RwLock<Facts>>) {
        // There is one, and it is set once.
        let _ = self.directory.set(facts);
    }

    /// What is listed there, locked: before any shard is, and by nobody who has it already.
    fn listed(&self) -> Option<RwLockReadGuard<'_, Facts>> {
        self.directory.get().map(|facts| facts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Drops the swarms of these torrents, unless they are served.
    pub(crate) fn drop_refused(&self, torrents: &[InfoHash]) {
        if self.has_lists.load(Relaxed) {
            let (lists, listed) = (self.lists.load(), self.listed());
            for torrent in torrents {
                let keep = |info_hash: &InfoHash| permit(&lists, listed.as_deref(), info_hash);
                self.shards.shard_of(torrent).retain(keep);
            }
        }
    }

    /// Drops all swarms that are not served.
    pub(crate) fn drop_all_refused(&self) {
        let lists = self.lists.load();
        if !lists.permit_all() {
            let listed = self.listed();
            self.shards.retain(|info_hash| permit(&lists, listed.as_deref(), info_hash));
        }
    }

    /// Whether this torrent may be announced by this client.
    pub(crate) fn admit(&self, info_hash: &InfoHash, peer_id: &PeerId) -> Result<(), Refusal> {
        if !self.clients.permit(peer_id) {
            return Err(Refusal::Client);
        }
        if self.is_refused(info_hash) {
            return Err(Refusal::Torrent);
        }
        Ok(())
    }

    fn is_refused(&self, info_hash: &InfoHash) -> bool {
        self.has_lists.load(Relaxed) && {
            let lists = self.lists.load();
            // Most of what is asked for stands in the file.
            !lists.permit(info_hash) && !permit(&lists, self.listed().as_deref(), info_hash)
        }
    }

    /// Whether this key, if any, opens the tracker.
    pub(crate) fn admit_key(&self, key: Option<&str>) -> Result<(), Refusal> {
        if !self.private {
            return Ok(());
        }
        let now = self.clock.epoch(self.clock.now()).as_secs();
        key.filter(|key| self.keys.load().permit(key, now)).map(drop).ok_or(Refusal::Key)
    }

    /// Answers an announce that is admitted. `peer` is in canonical form.
    pub(crate) fn announce(
        &self,
        now: Duration,
        peer: SocketAddr,
        request: &AnnounceRequest,
        picked: Picked<'_>,
    ) -> Answer {
        let answer = self.shards.announce_into(now, peer, request, picked);
        self.note(now, peer, request, answer.completed, answer.counts.downloaded);
        answer
    }

    /// As [`announce`](Self::announce), with the seeder that lives in this process among the peers.
    pub(crate) fn announce_beside(
        &self,
        own: OwnSeeder,
        peer: SocketAddr,
        local: IpAddr,
        request: &AnnounceRequest,
    ) -> AnnounceReply {
        let now = self.clock.now();
        own.announce(&mut self.shards.shard_of(&request.info_hash), now, peer, local, request)
    }

    /// How a swarm is doing; one that is not served does nothing.
    pub(crate) fn scrape(&self, info_hash: &InfoHash) -> ScrapeEntry {
        if self.is_refused(info_hash) {
            return ScrapeEntry { downloaders: Some(0), ..ScrapeEntry::default() };
        }
        match self.own_seeder {
            Some(own) => own.scrape(&self.shards.shard_of(info_hash), info_hash),
            None => self.shards.scrape(info_hash),
        }
    }

    /// How a swarm is doing that is listed in the directory.
    pub(crate) fn scrape_listed(&self, info_hash: &InfoHash) -> ScrapeEntry {
        if self.has_lists.load(Relaxed) && self.lists.load().deny.contains(info_hash) {
            return ScrapeEntry::default();
        }
        self.shards.scrape(info_hash)
    }

    /// Lets others know what an announce has changed: the disk, and the other nodes.
    fn note(&self, now: Duration, peer: SocketAddr, request: &AnnounceRequest, completed: bool, count: u32) {
        if completed && let Some(counts) = &self.completed {
            counts.lock().unwrap_or_else(PoisonError::into_inner).push((request.info_hash, count));
        }
        if let Some(outbox) = &self.outbox
            && (peer.port() != 0 || request.event == AnnounceEvent::Stopped)
        {
            outbox.push(self.clock.epoch(now), peer, request, completed);
        }
    }

    /// The counts that have changed since the last call.
    pub(crate) fn take_completed(&self) -> Vec<(InfoHash, u32)> {
        let counts = self.completed.as_ref();
        counts
            .map(|counts| std::mem::take(&mut *counts.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }

    pub(crate) fn lists(&self) -> Arc<Lists> {
        self.lists.load_full()
    }

    /// From now on these lists hold; swarms that they do not permit are dropped.
    pub(crate) fn set_lists(&self, lists: Lists) {
        let lists = Arc::new(lists);
        self.lists.store(lists.clone());
        self.has_lists.store(!lists.permit_all(), Relaxed);
        self.drop_all_refused();
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    pub(crate) fn set_keys(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }
}

/// Whether this torrent is served: by the lists, or, if it is not denied, because it is listed in the directory.
fn permit(lists: &Lists, listed: Option<&Facts>, info_hash: &InfoHash) -> bool {
    lists.permit(info_hash)
        || !lists.deny.contains(info_hash) && listed.is_some_and(|facts| facts.find(info_hash).is_some())
}
