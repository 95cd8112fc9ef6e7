//! Who is active in which swarm: [`Swarms`]. Pure: time and randomness are arguments.
//!
//! A peer is an address and a port, and nothing else: a peer id can be anyone's, so it can't evict or stand in for another.
//! IPv4 and IPv6 peers are kept apart. Two peers of one address with different ports are two peers.

mod peers;
#[cfg(test)]
mod tests;

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use indexmap::IndexMap;
use torrent_format::InfoHash;
use torrent_format::announce::http::ScrapeEntry;
use torrent_format::announce::{AnnounceEvent, AnnounceReply, AnnounceRequest, canonical};

use peers::{Peer, PeerList, Role};

/// Peers in a reply if the asker does not say how many it wants.
pub const DEFAULT_NUMWANT: usize = 50;

/// Most peers in a reply: 1.2 KB of IPv4 or 3.6 KB of IPv6 addresses.
pub const MAX_NUMWANT: usize = 200;

/// Added to twice the interval before a silent peer is forgotten: time for a retry or two after a lost announce.
const EXPIRY_GRACE: Duration = Duration::from_secs(60);

/// How long a swarm without peers is remembered if its torrent was completed here, so that the count survives a quiet night.
const IDLE_SWARM: u32 = 24 * 60 * 60;

/// Longest `min interval` we ask for; it only has to keep a client from announcing in a loop.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// Swarms looked at to find one to give up: enough for the emptiest of them to be among the emptiest of all.
const EVICTION_SAMPLE: usize = 16;

/// Swarms given up at most to make room for one peer.
const EVICTION_TRIES: usize = 4;

/// What a tracker asks of its peers, and how much it remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often peers announce. What a peer is told varies by a tenth, so that those that came at the same moment (after a
    /// restart, say) do not stay together.
    pub interval: Duration,
    /// Most swarms: about 200 bytes each.
    pub max_swarms: usize,
    /// Most peers in all swarms: about 40 bytes each (IPv4) or 60 (IPv6) in large swarms.
    pub max_peers: usize,
    /// Most peers of one public address (IPv6: of one /64 network) in one swarm, so that nobody fills a swarm with himself.
    /// Loopback and private addresses may have any number: a whole swarm on one machine is a normal use.
    pub max_peers_per_host: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30 * 60),
            max_swarms: 1 << 20,
            max_peers: 1 << 22,
            // As many as may share an address behind one NAT and still be counted on fingers and toes.
            max_peers_per_host: 32,
        }
    }
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Torrents with a peer, or completed of late.
    pub swarms: usize,
    /// Peers that have everything.
    pub seeds: usize,
    /// Peers that have not.
    pub leechers: usize,
    /// How many of both are reached by IPv4.
    pub ipv4: usize,
    /// How many of both are reached by IPv6.
    pub ipv6: usize,
}

/// All swarms of a tracker.
///
/// - Announces and scrapes: [`announce`](Self::announce), [`scrape`](Self::scrape).
/// - Time: [`expire`](Self::expire), or piece by piece [`expire_some`](Self::expire_some); one of them is called now and then.
/// - Figures: [`stats`](Self::stats).
///
/// What is done depends on the calls and the seed alone, so it can be replayed.
#[derive(Debug)]
pub struct Swarms {
    /// Ordered by insertion and removal; the hashes are keyed at random against floods, and nothing depends on them.
    swarms: IndexMap<InfoHash, Swarm>,
    /// Sum of the lengths of all swarms.
    peers: usize,
    /// Swarms at and after this position have been swept in this round of [`expire_some`](Self::expire_some).
    swept: usize,
    settings: Settings,
    rng: fastrand::Rng,
}

/// One torrent's peers.
#[derive(Debug, Default)]
struct Swarm {
    v4: PeerList<Ipv4Addr>,
    v6: PeerList<Ipv6Addr>,
    /// Leechers of this swarm that became seeds.
    downloaded: u32,
    /// Last announce, in seconds since the start.
    touched: u32,
}

impl Swarms {
    /// No swarms yet; default settings. What is random follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with_settings(seed, Settings::default())
    }

    /// No swarms yet. What is random follows from `seed`.
    pub fn with_settings(seed: u64, settings: Settings) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { swarms: IndexMap::new(), peers: 0, swept: 0, settings, rng }
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
        let peer = canonical(peer);
        let now = whole_seconds(now);
        // The asker is taken out first, so that it is not picked for itself.
        let before = self.remove(&request.info_hash, peer);
        let mut peers = Vec::new();
        if request.event != AnnounceEvent::Stopped {
            peers = self.pick(peer, request);
            let completed = before.is_some_and(|before| completes(before, request));
            let counted = completed || before.is_some_and(|before| before.counted);
            let stored =
                self.insert(&request.info_hash, peer, Peer { last_seen: now, role: role(request), counted });
            if let Some(swarm) = stored {
                swarm.touched = now;
                swarm.downloaded = swarm.downloaded.saturating_add(u32::from(completed));
            }
        }
        self.drop_if_forgettable(&request.info_hash, now);

        let counts = self.scrape(&request.info_hash);
        let interval = self.jittered_interval();
        AnnounceReply {
            interval,
            min_interval: Some(interval.min(MIN_INTERVAL)),
            complete: Some(counts.complete),
            incomplete: Some(counts.incomplete),
            downloaded: Some(counts.downloaded),
            peers,
            external_ip: Some(peer.ip()).filter(|&ip| is_public(ip)),
            ..AnnounceReply::default()
        }
    }

    /// How this swarm is doing. An unknown torrent has nothing of anything: that it is unknown is not told.
    pub fn scrape(&self, info_hash: &InfoHash) -> ScrapeEntry {
        let Some(swarm) = self.swarms.get(info_hash) else {
            return ScrapeEntry { downloaders: Some(0), ..ScrapeEntry::default() };
        };
        let partial_seeds = swarm.v4.partial_seeds() + swarm.v6.partial_seeds();
        ScrapeEntry {
            complete: swarm.seeds() as u32,
            downloaded: swarm.downloaded,
            downloaders: Some((swarm.leechers() - partial_seeds) as u32),
            incomplete: swarm.leechers() as u32,
        }
    }

    /// Forgets peers that have not announced for too long.
    pub fn expire(&mut self, now: Duration) {
        self.swept = self.swarms.len();
        self.expire_some(now, usize::MAX);
    }

    /// Does a part of [`expire`](Self::expire): looks at about `budget` peers and swarms, from where the last call ended, and
    /// from the start again once it is through. For a server that must not let announces wait for a sweep of millions.
    pub fn expire_some(&mut self, now: Duration, budget: usize) {
        let deadline = whole_seconds(now.saturating_sub(self.expiry()));
        let now = whole_seconds(now);
        let mut looked_at = 0;
        // Swarms may have been dropped since.
        self.swept = self.swept.min(self.swarms.len());
        if self.swept == 0 {
            self.swept = self.swarms.len();
        }
        while self.swept > 0 && looked_at < budget {
            // Backwards: what a removal moves into the gap comes from further back and was swept already.
            self.swept -= 1;
            let swarm = &mut self.swarms[self.swept];
            let length = swarm.len();
            looked_at += 1 + length;
            swarm.v4.expire(deadline);
            swarm.v6.expire(deadline);
            self.peers -= length - swarm.len();
            if swarm.is_forgettable(now) {
                self.swarms.swap_remove_index(self.swept);
            }
        }
    }

    /// How many swarms and peers there are. Looks at each swarm.
    pub fn stats(&self) -> Stats {
        self.swarms.values().fold(Stats { swarms: self.swarms.len(), ..Stats::default() }, |sum, swarm| {
            Stats {
                seeds: sum.seeds + swarm.seeds(),
                leechers: sum.leechers + swarm.leechers(),
                ipv4: sum.ipv4 + swarm.v4.len(),
                ipv6: sum.ipv6 + swarm.v6.len(),
                ..sum
            }
        })
    }

    /// How long a peer may be silent. More than one and a half of the longest interval that is told, so that a peer whose
    /// announce was lost once is still there.
    fn expiry(&self) -> Duration {
        self.settings.interval.saturating_mul(2).saturating_add(EXPIRY_GRACE)
    }

    /// The interval give or take a tenth, in whole seconds as it is told, at least one.
    fn jittered_interval(&mut self) -> Duration {
        let interval = self.settings.interval.as_secs().max(1);
        let jitter = interval / 10;
        Duration::from_secs((interval - jitter).saturating_add(self.rng.u64(..=2 * jitter)))
    }

    fn remove(&mut self, info_hash: &InfoHash, peer: SocketAddr) -> Option<Peer> {
        let swarm = self.swarms.get_mut(info_hash)?;
        let removed = match peer {
            SocketAddr::V4(peer) => swarm.v4.remove(&(*peer.ip(), peer.port())),
            SocketAddr::V6(peer) => swarm.v6.remove(&(*peer.ip(), peer.port())),
        };
        self.peers -= usize::from(removed.is_some());
        removed
    }

    /// Remembers a peer that is not there, if it may be: [`None`] if not.
    fn insert(&mut self, info_hash: &InfoHash, address: SocketAddr, peer: Peer) -> Option<&mut Swarm> {
        if address.port() == 0 || !self.make_room(info_hash) {
            return None;
        }
        let per_host = if is_public(address.ip()) { self.settings.max_peers_per_host } else { usize::MAX };
        let swarm = self.swarms.entry(*info_hash).or_default();
        let inserted = match address {
            SocketAddr::V4(address) => {
                insert_up_to(&mut swarm.v4, per_host, (*address.ip(), address.port()), peer)
            }
            SocketAddr::V6(address) => {
                insert_up_to(&mut swarm.v6, per_host, (*address.ip(), address.port()), peer)
            }
        };
        self.peers += usize::from(inserted);
        inserted.then_some(swarm)
    }

    /// Peers for the asker, which is not in the swarm at the moment.
    fn pick(&mut self, asker: SocketAddr, request: &AnnounceRequest) -> Vec<SocketAddr> {
        let wanted = request.numwant.map_or(DEFAULT_NUMWANT, |numwant| MAX_NUMWANT.min(numwant as usize));
        let Some(swarm) = self.swarms.get(&request.info_hash) else {
            return Vec::new();
        };
        let for_seed = role(request) == Role::Seed;
        let available = |seeds: usize, leechers: usize| if for_seed { leechers } else { seeds + leechers };
        let v4 = available(swarm.v4.seeds(), swarm.v4.leechers());
        let v6 = available(swarm.v6.seeds(), swarm.v6.leechers());
        let (own, other) = if asker.is_ipv4() { (v4, v6) } else { (v6, v4) };
        // A quarter for the other family, more only where there are not enough of the own.
        let other = other.min((wanted / 4).max(wanted.saturating_sub(own)));
        let own = wanted - other;
        let (v4, v6) = if asker.is_ipv4() { (own, other) } else { (other, own) };

        let admits = |ip: IpAddr| !ip.is_loopback() || asker.ip().is_loopback();
        let mut picked = Vec::with_capacity(wanted.min(swarm.len()));
        swarm.v4.pick(&mut self.rng, for_seed, v4, admits, &mut picked);
        swarm.v6.pick(&mut self.rng, for_seed, v6, admits, &mut picked);
        picked
    }

    /// Makes room for one more peer in this swarm, which may be new, at the cost of others. `false` if there is none to be had.
    fn make_room(&mut self, info_hash: &InfoHash) -> bool {
        if self.swarms.len() >= self.settings.max_swarms && !self.swarms.contains_key(info_hash) {
            self.evict(info_hash);
        }
        // An empty swarm is given up first and frees no peer: a few tries.
        for _ in 0..EVICTION_TRIES {
            if self.peers >= self.settings.max_peers {
                self.evict(info_hash);
            }
        }
        self.peers < self.settings.max_peers
            && (self.swarms.len() < self.settings.max_swarms || self.swarms.contains_key(info_hash))
    }

    /// Gives up the emptiest, then the one longest silent, of some swarms chosen at random, never the one that is `needed`. A
    /// flood of made-up torrents evicts its own.
    fn evict(&mut self, needed: &InfoHash) {
        let length = self.swarms.len();
        let victim = (0..EVICTION_SAMPLE)
            .filter(|_| length > 0)
            .map(|_| self.rng.usize(..length))
            .filter(|&position| {
                self.swarms.get_index(position).is_some_and(|(info_hash, _)| info_hash != needed)
            })
            .min_by_key(|&position| (self.swarms[position].len(), self.swarms[position].touched));
        if let Some(victim) = victim
            && let Some((_, swarm)) = self.swarms.swap_remove_index(victim)
        {
            self.peers -= swarm.len();
        }
    }

    fn drop_if_forgettable(&mut self, info_hash: &InfoHash, now: u32) {
        if self.swarms.get(info_hash).is_some_and(|swarm| swarm.is_forgettable(now)) {
            self.swarms.swap_remove(info_hash);
        }
    }
}

impl Swarm {
    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    fn seeds(&self) -> usize {
        self.v4.seeds() + self.v6.seeds()
    }

    fn leechers(&self) -> usize {
        self.v4.leechers() + self.v6.leechers()
    }

    fn is_forgettable(&self, now: u32) -> bool {
        self.len() == 0 && (self.downloaded == 0 || now.saturating_sub(self.touched) > IDLE_SWARM)
    }
}

fn role(request: &AnnounceRequest) -> Role {
    match (request.left, request.event) {
        (0, _) => Role::Seed,
        (_, AnnounceEvent::Paused) => Role::PartialSeed,
        _ => Role::Leecher,
    }
}

/// Whether this announce is the one by which a leecher that we know became a seed. Sent again, sent by a peer that we never
/// saw without the torrent, or with bytes left, `completed` means nothing.
fn completes(before: Peer, request: &AnnounceRequest) -> bool {
    request.event == AnnounceEvent::Completed
        && request.left == 0
        && before.role != Role::Seed
        && !before.counted
}

fn insert_up_to<I: Copy + Eq + Hash + Into<IpAddr>>(
    list: &mut PeerList<I>,
    per_host: usize,
    key: peers::Key<I>,
    peer: Peer,
) -> bool {
    let room = list.of_host(key.0) < per_host;
    if room {
        list.insert(key, peer);
    }
    room
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
