//! Who is active in which swarm: [`Swarms`], and many of them side by side: [`Shards`]. Pure: time and randomness are arguments.
//!
//! A peer is an address and a port, and nothing else: a peer id can be anyone's, so it can't evict or stand in for another.
//! IPv4 and IPv6 peers are kept apart. Two peers of one address with different ports are two peers. Key and peer id only tell
//! which peers of the two families are one client, for the counts (BEP 7).

mod changes;
mod entry;
mod hash;
mod heard;
mod list;
mod settings;
mod shards;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod torrent;
mod usage;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use torrent_format::InfoHash;
use torrent_format::announce::http::ScrapeEntry;
use torrent_format::announce::{
    AnnounceEvent, AnnounceReply, AnnounceRequest, canonical, compact_v4, compact_v6, parse_compact_v4,
    parse_compact_v6,
};

use changes::Changes;
use entry::{Mark, Role, TICKS};
use hash::Keys;
use list::{Asker, Counts, Found};
use table::Table;
use torrent::{Torrent, Upserted};
use usage::{Usage, shift};

pub use heard::Heard;
pub use settings::{DEFAULT_NUMWANT, MAX_NUMWANT, Settings, Stats};
pub use shards::{Figures, Shards};
pub use snapshot::SnapshotError;

/// How long a swarm without peers is remembered if its torrent was completed here and no state is kept elsewhere, so that the
/// count survives a quiet night.
const IDLE_SWARM: u32 = 24 * 60 * 60;

/// Swarms looked at to find one to give up: enough for the emptiest of them to be among the emptiest of all.
const EVICTION_SAMPLE: usize = 16;

/// Swarms given up at most to make room for one peer.
const EVICTION_TRIES: usize = 4;

/// Bytes of a torrent beside its peers: itself, and its slot in a table that is half full.
const TORRENT_BYTES: usize = size_of::<Torrent>() + 10;

/// All swarms of a tracker, or one shard of them.
///
/// - Announces and scrapes: [`announce`](Self::announce) and, for servers, [`announce_into`](Self::announce_into);
///   [`scrape`](Self::scrape).
/// - Time: [`expire`](Self::expire), or piece by piece [`expire_some`](Self::expire_some); one of them is called now and then.
/// - Figures: [`stats`](Self::stats).
/// - Across restarts: [`save`](Self::save), [`restore`](Self::restore).
///
/// What is done depends on the calls and the seed alone, so it can be replayed.
#[derive(Debug)]
pub struct Swarms {
    table: Table,
    usage: Arc<Usage>,
    /// What the next part of a sweep begins with.
    sweep: Sweep,
    settings: Settings,
    /// Length of a tick in seconds: the ages of peers are told from 20 bits of them.
    tick: u32,
    keys: Keys,
    rng: fastrand::Rng,
    /// Swarms whose counts have changed.
    changes: Changes,
}

/// How far a sweep has come: torrents at and after this position are done, and of the one before it, the peers at and after
/// these positions.
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    torrent: usize,
    v4: usize,
    v6: usize,
}

/// Where the peers of a reply are put, in compact form.
#[derive(Debug)]
pub struct Picked<'a> {
    /// Receives IPv4 peers, 6 bytes each; [`None`]: they can't be sent.
    pub v4: Option<&'a mut Vec<u8>>,
    /// Receives IPv6 peers, 18 bytes each; [`None`]: they can't be sent.
    pub v6: Option<&'a mut Vec<u8>>,
    /// Most peers that fit into the reply.
    pub limit: usize,
}

/// What an announce is answered beside peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// When to come back, in seconds.
    pub interval: u32,
    /// Not before, in seconds.
    pub min_interval: u32,
    /// The swarm, the asker included.
    pub counts: ScrapeEntry,
    /// The asker is one of those that completed the torrent, and has just become it.
    pub completed: bool,
}

impl Swarms {
    /// No swarms yet; default settings. What is random follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with_settings(seed, Settings::default())
    }

    /// No swarms yet. What is random follows from `seed`.
    pub fn with_settings(seed: u64, settings: Settings) -> Self {
        Self::shard(seed, Keys::new(seed), settings, Arc::default())
    }

    fn shard(seed: u64, keys: Keys, settings: Settings, usage: Arc<Usage>) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        // So coarse that a peer is forgotten well before the clock of ticks comes round, and no coarser than a second otherwise.
        let tick = whole_seconds(settings.expiry()) / (TICKS / 16) + 1;
        let changes = Changes::new(settings.notes_changes);
        Self { table: Table::default(), usage, sweep: Sweep::default(), settings, tick, keys, rng, changes }
    }

    /// Takes in one announce from `peer` (the address it was seen at, with the port it announced) and answers it.
    /// `now` is a duration since the tracker's start.
    ///
    /// The counts in the reply include the asker, its peers do not. A seed is given no seeds. Most peers are of the asker's
    /// address family; up to a quarter may be of the other one if the swarm has some, since most hosts with IPv6 have IPv4 too
    /// and would not meet otherwise (BEP 7). A peer at a loopback address is given to loopback askers only.
    ///
    /// `stopped` removes the peer and is answered without peers. A peer with port 0 is answered, but not remembered.
    pub fn announce(&mut self, now: Duration, peer: SocketAddr, request: &AnnounceRequest) -> AnnounceReply {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let peer = canonical(peer);
        let picked = Picked { v4: Some(&mut v4), v6: Some(&mut v6), limit: usize::MAX };
        let answer = self.announce_into(now, peer, request, picked);
        let peers =
            parse_compact_v4(&v4).into_iter().flatten().chain(parse_compact_v6(&v6).into_iter().flatten());
        AnnounceReply {
            interval: Duration::from_secs(answer.interval.into()),
            min_interval: Some(Duration::from_secs(answer.min_interval.into())),
            complete: Some(answer.counts.complete),
            incomplete: Some(answer.counts.incomplete),
            downloaded: Some(answer.counts.downloaded),
            peers: peers.collect(),
            external_ip: external_ip(peer.ip()),
            ..AnnounceReply::default()
        }
    }

    /// As [`announce`](Self::announce), with the peers written where they are sent from. `peer` is in canonical form.
    pub fn announce_into(
        &mut self,
        now: Duration,
        peer: SocketAddr,
        request: &AnnounceRequest,
        picked: Picked<'_>,
    ) -> Answer {
        self.announce_hashed(now, peer, request, picked, self.keys.hash_torrent(&request.info_hash))
    }

    fn announce_hashed(
        &mut self,
        now: Duration,
        peer: SocketAddr,
        request: &AnnounceRequest,
        picked: Picked<'_>,
        hash: u64,
    ) -> Answer {
        let now = whole_seconds(now);
        let mut answer = self.answer();
        if request.event == AnnounceEvent::Stopped {
            answer.counts = self.stop(now, peer, &request.info_hash, hash);
            return answer;
        }
        let (position, upserted) = self.upsert(now, peer, request, hash);
        answer.completed = upserted.completed;
        if let Some(position) = position {
            let torrent = self.table.at(position);
            answer.counts = torrent.scrape();
            let wanted = request.numwant.map_or(self.settings.numwant, |numwant| numwant as usize);
            let wanted = wanted.min(self.settings.max_numwant).min(picked.limit);
            pick(&mut self.rng, torrent, peer, upserted.position, role(request), wanted, picked);
        }
        answer
    }

    /// How this swarm is doing. An unknown torrent has nothing of anything: that it is unknown is not told.
    pub fn scrape(&self, info_hash: &InfoHash) -> ScrapeEntry {
        self.scrape_hashed(info_hash, self.keys.hash_torrent(info_hash))
    }

    fn scrape_hashed(&self, info_hash: &InfoHash, hash: u64) -> ScrapeEntry {
        let position = self.table.find(hash, info_hash);
        position.map_or(no_counts(), |position| self.table.at(position).scrape())
    }

    /// Forgets peers that have not announced for too long.
    pub fn expire(&mut self, now: Duration) {
        self.sweep = Sweep::default();
        self.expire_some(now, usize::MAX);
    }

    /// Does a part of [`expire`](Self::expire): looks at about `budget` peers and swarms, from where the last call ended, and
    /// from the start again once it is through. For a server that must not let announces wait for a sweep of millions. Says
    /// whether it is through.
    pub fn expire_some(&mut self, now: Duration, budget: usize) -> bool {
        let now = whole_seconds(now);
        let time = (self.tick_of(now), whole_seconds(self.settings.expiry()) / self.tick);
        let mut left = budget;
        // Swarms may have been dropped since.
        if self.sweep.torrent == 0 || self.sweep.torrent > self.table.len() {
            self.begin_with(self.table.len());
        }
        while self.sweep.torrent > 0 && left > 0 {
            // Backwards: what a removal moves into the gap comes from further back and was swept already.
            let position = self.sweep.torrent - 1;
            let torrent = self.table.at_mut(position);
            let (peers, bytes) = (torrent.len(), torrent.heap_bytes());
            let (from_v4, from_v6) =
                (self.sweep.v4.min(torrent.v4.len()), self.sweep.v6.min(torrent.v6_len()));
            self.sweep.v4 = torrent.expire_v4(&self.keys, time, (from_v4, left));
            left -= (from_v4 - self.sweep.v4).min(left);
            self.sweep.v6 = torrent.expire_v6(&self.keys, time, (from_v6, left));
            left -= (1 + from_v6 - self.sweep.v6).min(left);
            let is_forgettable = is_forgettable(torrent, now, self.settings.keeps_counts);
            let (peers_now, bytes_now) = (torrent.len(), torrent.heap_bytes());
            if peers_now != peers {
                self.changes.note(&torrent.info_hash);
            }
            shift(&self.usage.peers, peers, peers_now);
            shift(&self.usage.bytes, bytes, bytes_now);
            self.usage.expired.fetch_add((peers - peers_now) as u64, Relaxed);
            if self.sweep.v4 == 0 && self.sweep.v6 == 0 {
                if is_forgettable {
                    self.drop_torrent(position);
                }
                self.begin_with(position);
            }
        }
        self.sweep.torrent == 0
    }

    fn begin_with(&mut self, torrent: usize) {
        self.sweep = Sweep { torrent, v4: usize::MAX, v6: usize::MAX };
    }

    /// Forgets the torrents that are not to be kept, with their peers.
    pub fn retain(&mut self, mut keep: impl FnMut(&InfoHash) -> bool) {
        for position in (0..self.table.len()).rev() {
            if !keep(&self.table.at(position).info_hash) {
                self.drop_torrent(position);
            }
        }
    }

    /// How many swarms and peers there are. Looks at each swarm.
    pub fn stats(&self) -> Stats {
        self.table.iter().fold(Stats::default(), |mut stats, torrent| {
            let clients = torrent.clients();
            stats.swarms += 1;
            stats.seeds += clients.seeds;
            stats.leechers += clients.leechers;
            stats.ipv4 += torrent.v4.len();
            stats.ipv6 += torrent.v6_len();
            stats.dual_stack += torrent.paired();
            stats
        })
    }

    /// The interval give or take a tenth, in whole seconds as it is told, at least one.
    fn answer(&mut self) -> Answer {
        let interval = whole_seconds(self.settings.interval).max(1);
        let jitter = interval / 10;
        let interval = (interval - jitter).saturating_add(self.rng.u32(..=2 * jitter));
        let min_interval = interval.min(whole_seconds(self.settings.min_interval));
        Answer { interval, min_interval, counts: no_counts(), completed: false }
    }

    /// Takes the peer out; says what is left.
    fn stop(&mut self, now: u32, peer: SocketAddr, info_hash: &InfoHash, hash: u64) -> ScrapeEntry {
        let Some(position) = self.table.find(hash, info_hash) else { return no_counts() };
        let torrent = self.table.at_mut(position);
        let (peers, bytes) = (torrent.len(), torrent.heap_bytes());
        match peer {
            SocketAddr::V4(peer) => {
                if let Found::At(at) = torrent.v4.find(&self.keys, &compact_v4(peer)) {
                    torrent.remove_v4(&self.keys, at);
                }
            }
            SocketAddr::V6(peer) => {
                if let Found::At(at) = find_v6(torrent, &self.keys, &compact_v6(peer)) {
                    torrent.remove_v6(&self.keys, at);
                }
            }
        }
        if torrent.len() != peers {
            self.changes.note(info_hash);
        }
        shift(&self.usage.peers, peers, torrent.len());
        shift(&self.usage.bytes, bytes, torrent.heap_bytes());
        let counts = torrent.scrape();
        if is_forgettable(torrent, now, self.settings.keeps_counts) {
            self.drop_torrent(position);
        }
        counts
    }

    /// Takes the peer in if there is room: where its torrent is, which may not be remembered, and what was done.
    fn upsert(
        &mut self,
        now: u32,
        peer: SocketAddr,
        request: &AnnounceRequest,
        hash: u64,
    ) -> (Option<usize>, Upserted) {
        let known = self.table.find(hash, &request.info_hash);
        if peer.port() == 0 {
            return (known, Upserted::default());
        }
        if self.is_full(known.is_none()) {
            return self.upsert_when_full(now, peer, request, hash);
        }
        let position = known.unwrap_or_else(|| self.add_torrent(request.info_hash, hash));
        (Some(position), self.upsert_at(position, now, peer, request))
    }

    /// A peer that is known needs no room; for another one, other swarms have to go.
    fn upsert_when_full(
        &mut self,
        now: u32,
        peer: SocketAddr,
        request: &AnnounceRequest,
        hash: u64,
    ) -> (Option<usize>, Upserted) {
        let known = self.table.find(hash, &request.info_hash);
        let is_known = known.is_some_and(|position| {
            let torrent = self.table.at(position);
            let found = match peer {
                SocketAddr::V4(peer) => torrent.v4.find(&self.keys, &compact_v4(peer)),
                SocketAddr::V6(peer) => find_v6(torrent, &self.keys, &compact_v6(peer)),
            };
            matches!(found, Found::At(_))
        });
        let has_room = is_known || self.make_room(&request.info_hash, known.is_none());
        // What was evicted may have moved it.
        let known = self.table.find(hash, &request.info_hash);
        if !has_room {
            return (known, Upserted::default());
        }
        let position = known.unwrap_or_else(|| self.add_torrent(request.info_hash, hash));
        (Some(position), self.upsert_at(position, now, peer, request))
    }

    fn upsert_at(
        &mut self,
        position: usize,
        now: u32,
        peer: SocketAddr,
        request: &AnnounceRequest,
    ) -> Upserted {
        let mark = Mark {
            role: role(request),
            counted: false,
            paired: false,
            seen: self.tick_of(now),
            identity: hash::identity(request.key, &request.peer_id),
        };
        let completes = request.event == AnnounceEvent::Completed && request.left == 0;
        let max = if is_public(peer.ip()) { self.settings.max_peers_per_host } else { usize::MAX };
        let torrent = self.table.at_mut(position);
        let bytes = torrent.heap_bytes();
        let before = self.changes.are_noted().then(|| torrent.scrape());
        let upserted = match peer {
            SocketAddr::V4(peer) => {
                let addr = compact_v4(peer);
                let found = torrent.v4.find(&self.keys, &addr);
                torrent.upsert_v4(&self.keys, addr, found, mark, completes, max)
            }
            SocketAddr::V6(peer) => {
                let addr = compact_v6(peer);
                let found = find_v6(torrent, &self.keys, &addr);
                torrent.upsert_v6(&self.keys, addr, found, mark, completes, max)
            }
        };
        if upserted.position.is_some() {
            torrent.touched = now;
        }
        if before.is_some_and(|before| before != torrent.scrape()) {
            self.changes.note(&torrent.info_hash);
        }
        if upserted.completed {
            torrent.downloaded = torrent.downloaded.saturating_add(1);
            self.usage.completed.fetch_add(1, Relaxed);
        }
        if upserted.is_new {
            self.usage.peers.fetch_add(1, Relaxed);
        }
        // A known peer with a new key may make an index grow.
        shift(&self.usage.bytes, bytes, torrent.heap_bytes());
        upserted
    }

    fn add_torrent(&mut self, info_hash: InfoHash, hash: u64) -> usize {
        self.usage.torrents.fetch_add(1, Relaxed);
        self.usage.bytes.fetch_add(TORRENT_BYTES, Relaxed);
        self.table.insert(&self.keys, hash, Torrent::new(info_hash))
    }

    fn drop_torrent(&mut self, position: usize) -> usize {
        let torrent = self.table.remove(&self.keys, position);
        let peers = torrent.len();
        if peers > 0 {
            self.changes.note(&torrent.info_hash);
        }
        self.usage.torrents.fetch_sub(1, Relaxed);
        self.usage.peers.fetch_sub(peers, Relaxed);
        self.usage.bytes.fetch_sub(TORRENT_BYTES + torrent.heap_bytes(), Relaxed);
        peers
    }

    /// Makes room for one more peer of this torrent, which may be new, at the cost of others. `false` if there is none to be
    /// had.
    fn make_room(&mut self, info_hash: &InfoHash, is_new: bool) -> bool {
        for tries in 0..=EVICTION_TRIES {
            if !self.is_full(is_new) {
                return true;
            }
            // An empty swarm is given up first and frees no peer: a few tries.
            if tries < EVICTION_TRIES {
                self.evict(info_hash);
            }
        }
        false
    }

    /// Whether there is no room for one more peer, of a torrent that `is_new` or not.
    fn is_full(&self, is_new: bool) -> bool {
        self.usage.peers.load(Relaxed) >= self.settings.max_peers
            || self.usage.bytes.load(Relaxed) >= self.settings.max_bytes
            || is_new && self.usage.torrents.load(Relaxed) >= self.settings.max_swarms
    }

    /// Gives up the emptiest, then the one longest silent, of some swarms chosen at random, never the one that is `needed`. A
    /// flood of made-up torrents evicts its own.
    fn evict(&mut self, needed: &InfoHash) {
        let length = self.table.len();
        let victim = (0..EVICTION_SAMPLE)
            .filter(|_| length > 0)
            .map(|_| self.rng.usize(..length))
            .filter(|&position| self.table.at(position).info_hash != *needed)
            .min_by_key(|&position| (self.table.at(position).len(), self.table.at(position).touched));
        if let Some(victim) = victim {
            self.drop_torrent(victim);
            self.usage.evicted.fetch_add(1, Relaxed);
        }
    }

    fn tick_of(&self, now: u32) -> u32 {
        now / self.tick % TICKS
    }
}

/// Peers for the asker, which is at this position of its family's list, if it is.
fn pick(
    rng: &mut fastrand::Rng,
    torrent: &Torrent,
    asker: SocketAddr,
    position: Option<usize>,
    role: Role,
    wanted: usize,
    picked: Picked<'_>,
) {
    let for_seed = role != Role::Leecher;
    let available = |counts: Counts| if for_seed { counts.leechers } else { counts.seeds + counts.leechers };
    let itself = usize::from(position.is_some() && role != Role::Seed);
    let v4 = picked.v4.map(|bytes| (available(torrent.v4.counts()), bytes));
    let v6 = picked.v6.map(|bytes| (available(torrent.v6_counts()), bytes));
    let of = |side: &Option<(usize, &mut Vec<u8>)>| side.as_ref().map_or(0, |(available, _)| *available);
    let (own, other) = if asker.is_ipv4() { (of(&v4), of(&v6)) } else { (of(&v6), of(&v4)) };
    // A quarter for the other family, more only where there are not enough of the own.
    let other = other.min((wanted / 4).max(wanted.saturating_sub(own.saturating_sub(itself))));
    let own = wanted - other;
    let (wanted_v4, wanted_v6) = if asker.is_ipv4() { (own, other) } else { (other, own) };

    let asker_at = |ipv4: bool| Asker {
        position: position.filter(|_| asker.is_ipv4() == ipv4),
        for_seed,
        is_loopback: asker.ip().is_loopback(),
    };
    if let Some((_, bytes)) = v4 {
        torrent.v4.pick(rng, asker_at(true), wanted_v4, bytes);
    }
    if let (Some((_, bytes)), Some(side)) = (v6, &torrent.v6) {
        side.list.pick(rng, asker_at(false), wanted_v6, bytes);
    }
}

fn find_v6(torrent: &Torrent, keys: &Keys, addr: &[u8; entry::V6]) -> Found {
    torrent.v6.as_ref().map_or(Found::Not { of_host: 0 }, |v6| v6.list.find(keys, addr))
}

fn is_forgettable(torrent: &Torrent, now: u32, keeps_counts: bool) -> bool {
    let is_idle = !keeps_counts && now.saturating_sub(torrent.touched) > IDLE_SWARM;
    torrent.len() == 0 && (torrent.downloaded == 0 || is_idle)
}

fn role(request: &AnnounceRequest) -> Role {
    match (request.left, request.event) {
        (0, _) => Role::Seed,
        (_, AnnounceEvent::Paused) => Role::PartialSeed,
        _ => Role::Leecher,
    }
}

fn no_counts() -> ScrapeEntry {
    ScrapeEntry { downloaders: Some(0), ..ScrapeEntry::default() }
}

/// What an asker is told as its address (BEP 24): nothing if it is of a private network, where that is no use to anyone.
pub fn external_ip(ip: IpAddr) -> Option<IpAddr> {
    Some(ip).filter(|&ip| is_public(ip))
}

/// Neither of this machine nor of a private network.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && b & 0xc0 == 64; // RFC 6598
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || is_shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified())
        }
    }
}

/// Times are kept in 32 bits: 136 years.
fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
