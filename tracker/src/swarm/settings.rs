//! What a tracker asks of its peers, how much it remembers, and how many there are.

use std::time::Duration;

/// Peers in a reply if the asker does not say how many it wants.
pub const DEFAULT_NUMWANT: usize = 50;

/// Most peers in a reply: 1.2 KB of IPv4 or 3.6 KB of IPv6 addresses.
pub const MAX_NUMWANT: usize = 200;

/// Added to twice the interval before a silent peer is forgotten: time for a retry or two after a lost announce.
pub(super) const EXPIRY_GRACE: Duration = Duration::from_secs(60);

/// What a tracker asks of its peers, and how much it remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often peers announce. What a peer is told varies by a tenth, so that those that came at the same moment (after a
    /// restart, say) do not stay together.
    pub interval: Duration,
    /// What is asked of clients as the shortest time between two announces; it only has to keep one from announcing in a loop.
    /// Never more than the interval. Who comes sooner is answered all the same.
    pub min_interval: Duration,
    /// Peers in a reply if the asker does not say how many it wants.
    pub numwant: usize,
    /// Most peers in a reply.
    pub max_numwant: usize,
    /// Most swarms: about 80 bytes each without their peers.
    pub max_swarms: usize,
    /// Most peers in all swarms: about 22 bytes each (IPv4) or 40 (IPv6).
    pub max_peers: usize,
    /// Most bytes that swarms and peers may take.
    pub max_bytes: usize,
    /// Most peers of one public address (IPv6: of one /64 network) in one swarm, so that nobody fills a swarm with himself.
    /// Loopback and private addresses may have any number: a whole swarm on one machine is a normal use.
    pub max_peers_per_host: usize,
    /// Torrents that were completed are remembered without peers for good, and not for a day only: their counts are saved.
    pub keeps_counts: bool,
    /// Which swarms have changed is noted for [`Shards::take_changes`](super::Shards::take_changes).
    pub notes_changes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30 * 60),
            min_interval: Duration::from_secs(60),
            numwant: DEFAULT_NUMWANT,
            max_numwant: MAX_NUMWANT,
            max_swarms: 10_000_000,
            max_peers: 20_000_000,
            max_bytes: usize::MAX,
            // As many as may share an address behind one NAT and still be counted on fingers and toes.
            max_peers_per_host: 32,
            keeps_counts: false,
            notes_changes: false,
        }
    }
}

impl Settings {
    /// How long a peer may be silent. More than one and a half of the longest interval that is told, so that a peer whose
    /// announce was lost once is still there.
    pub fn expiry(&self) -> Duration {
        self.interval.saturating_mul(2).saturating_add(EXPIRY_GRACE)
    }
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Torrents with a peer, or completed of late.
    pub swarms: usize,
    /// Clients that have everything.
    pub seeds: usize,
    /// Clients that have not.
    pub leechers: usize,
    /// Peers that are reached by IPv4.
    pub ipv4: usize,
    /// Peers that are reached by IPv6.
    pub ipv6: usize,
    /// How many clients are reached by both, and are counted once as seed or leecher.
    pub dual_stack: usize,
}

impl std::ops::Add for Stats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            swarms: self.swarms + other.swarms,
            seeds: self.seeds + other.seeds,
            leechers: self.leechers + other.leechers,
            ipv4: self.ipv4 + other.ipv4,
            ipv6: self.ipv6 + other.ipv6,
            dual_stack: self.dual_stack + other.dual_stack,
        }
    }
}
