//! Swarms side by side, each part behind a lock of its own: [`Shards`].

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use torrent_format::InfoHash;
use torrent_format::announce::AnnounceRequest;
use torrent_format::announce::http::ScrapeEntry;

use super::hash::Keys;
use super::usage::Usage;
use super::{Answer, Picked, Settings, Stats, Swarms};

/// How many parts there are. Many, so that workers seldom meet at one, and so that the work that has to be done with one
/// locked (a snapshot, a table that grows) is short.
const SHARDS: usize = 256;

/// All swarms of a tracker that has several workers. A swarm's shard follows from a keyed hash of its info hash.
#[derive(Debug)]
pub struct Shards {
    shards: Box<[Mutex<Swarms>]>,
    pub(super) keys: Keys,
    usage: Arc<Usage>,
}

/// What has happened since the start, and what is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Torrents remembered.
    pub torrents: usize,
    /// Entries of peers.
    pub peers: usize,
    /// Bytes that both take.
    pub bytes: usize,
    /// Leechers that became seeds, those of earlier runs included.
    pub completed: u64,
    /// Torrents given up to make room.
    pub evicted: u64,
    /// Peers that were silent for too long.
    pub expired: u64,
}

impl Shards {
    /// No swarms yet. What is random follows from `seed`.
    pub fn new(seed: u64, settings: &Settings) -> Self {
        let keys = Keys::new(seed);
        let usage: Arc<Usage> = Arc::default();
        let shard = |number: usize| {
            let seed = keys.hash_numbers(number as u64, u64::MAX);
            Mutex::new(Swarms::shard(seed, keys, settings.clone(), usage.clone()))
        };
        Self { shards: (0..SHARDS).map(shard).collect(), keys, usage }
    }

    /// See [`Swarms::announce_into`].
    pub fn announce_into(
        &self,
        now: Duration,
        peer: SocketAddr,
        request: &AnnounceRequest,
        picked: Picked<'_>,
    ) -> Answer {
        let hash = self.keys.hash_torrent(&request.info_hash);
        self.of(hash).announce_hashed(now, peer, request, picked, hash)
    }

    /// See [`Swarms::scrape`].
    pub fn scrape(&self, info_hash: &InfoHash) -> ScrapeEntry {
        let hash = self.keys.hash_torrent(info_hash);
        self.of(hash).scrape_hashed(info_hash, hash)
    }

    /// The part that this torrent is in, locked.
    pub fn shard_of(&self, info_hash: &InfoHash) -> MutexGuard<'_, Swarms> {
        self.of(self.keys.hash_torrent(info_hash))
    }

    /// How many parts there are.
    pub fn count(&self) -> usize {
        self.shards.len()
    }

    /// The part of this number, locked.
    pub fn shard(&self, number: usize) -> MutexGuard<'_, Swarms> {
        // Should an announce ever panic, the others go on: at worst one count is off until its swarm is empty.
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the torrents that are not to be kept, with their peers; locks one part after the other.
    pub fn retain(&self, mut keep: impl FnMut(&InfoHash) -> bool) {
        (0..self.count()).for_each(|number| self.shard(number).retain(&mut keep));
    }

    /// Appends the torrents whose counts have changed since the last call, if [`Settings::notes_changes`]. `false`: there were
    /// more than are remembered, so that any may have changed.
    pub fn take_changes(&self, changed: &mut Vec<InfoHash>) -> bool {
        let mut all = true;
        for number in 0..self.count() {
            all &= self.shard(number).changes.take(changed);
        }
        all
    }

    /// How many swarms and peers there are. Looks at each swarm, one part after the other.
    pub fn stats(&self) -> Stats {
        (0..self.count()).fold(Stats::default(), |sum, number| sum + self.shard(number).stats())
    }

    /// What has happened and what is used; looks at nothing.
    pub fn figures(&self) -> Figures {
        Figures {
            torrents: self.usage.torrents.load(Relaxed),
            peers: self.usage.peers.load(Relaxed),
            bytes: self.usage.bytes.load(Relaxed),
            completed: self.usage.completed.load(Relaxed),
            evicted: self.usage.evicted.load(Relaxed),
            expired: self.usage.expired.load(Relaxed),
        }
    }

    pub(super) fn of(&self, hash: u64) -> MutexGuard<'_, Swarms> {
        // Neither the lowest nor the highest bits: the tables of the shards use those.
        self.shard((hash >> 40) as usize % SHARDS)
    }
}
