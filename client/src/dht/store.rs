//! Who announced which torrent to us.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::id::Id;
use crate::torrent::{Time, is_local};

/// How long an announce counts: clients announce every 15 minutes, so one may be lost.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Torrents that are remembered; those farthest from our id make room, since others keep them.
const MAX_TORRENTS: usize = 1000;

/// Peers of one torrent that are remembered, in each version of IP: more than an answer holds.
const MAX_PEERS: usize = 100;

/// Peers of one torrent that one public address may be.
const MAX_PER_ADDRESS: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PeerStore {
    torrents: BTreeMap<Id, BTreeMap<SocketAddr, Time>>,
}

impl PeerStore {
    /// Takes an announce. `own`: our id.
    pub(super) fn add(&mut self, now: Time, own: Id, info_hash: Id, peer: SocketAddr) {
        if !self.torrents.contains_key(&info_hash) && self.torrents.len() >= MAX_TORRENTS {
            let Some(farthest) = self.torrents.keys().copied().max_by_key(|hash| own.distance(hash)) else {
                return;
            };
            if own.distance(&farthest) < own.distance(&info_hash) {
                return;
            }
            self.torrents.remove(&farthest);
        }
        let peers = self.torrents.entry(info_hash).or_default();
        if !peers.contains_key(&peer) {
            let of_address = peers.keys().filter(|other| other.ip() == peer.ip()).count();
            if of_address >= MAX_PER_ADDRESS && !is_local(peer.ip()) {
                return;
            }
            let family = |other: &SocketAddr| other.is_ipv4() == peer.is_ipv4();
            if peers.keys().filter(|other| family(other)).count() >= MAX_PEERS {
                let oldest = peers.iter().filter(|(other, _)| family(other)).min_by_key(|(_, time)| **time);
                if let Some(oldest) = oldest.map(|(addr, _)| *addr) {
                    peers.remove(&oldest);
                }
            }
        }
        peers.insert(peer, now + LIFETIME);
    }

    /// Peers of a torrent for somebody who asks by this version of IP, in any order. Those at home are told only to those at home.
    pub(super) fn peers(
        &self,
        now: Time,
        info_hash: Id,
        asks: SocketAddr,
        count: usize,
        rng: &mut fastrand::Rng,
    ) -> Vec<SocketAddr> {
        let at_home = is_local(asks.ip());
        let peers = self.torrents.get(&info_hash).into_iter().flatten();
        let fit = peers.filter(|(peer, until)| {
            peer.is_ipv4() == asks.is_ipv4() && **until > now && (at_home || !is_local(peer.ip()))
        });
        rng.choose_multiple(fit.map(|(peer, _)| *peer), count)
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Time) {
        self.torrents.retain(|_, peers| {
            peers.retain(|_, until| *until > now);
            !peers.is_empty()
        });
    }

    /// How many torrents are known.
    pub(super) fn len(&self) -> usize {
        self.torrents.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Id = Id([1; 20]);
    const OWN: Id = Id([0; 20]);

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn told(store: &PeerStore, now: Time, asks: &str) -> Vec<SocketAddr> {
        let mut told = store.peers(now, HASH, addr(asks), 1000, &mut fastrand::Rng::with_seed(1));
        told.sort();
        told
    }

    #[test]
    fn who_asks_is_told_of_its_own_version_of_ip_and_of_home_only_at_home() {
        let mut store = PeerStore::default();
        let all = ["10.0.0.1:1", "198.51.100.1:1", "[2001:db8::1]:1"].map(addr);
        all.iter().for_each(|peer| store.add(Time::default(), OWN, HASH, *peer));
        assert_eq!(told(&store, Time::default(), "198.51.100.9:1"), [all[1]]);
        assert_eq!(told(&store, Time::default(), "127.0.0.1:1"), [all[0], all[1]]);
        assert_eq!(told(&store, Time::default(), "[2001:db8::9]:1"), [all[2]]);
        assert!(told(&store, Time(LIFETIME), "127.0.0.1:1").is_empty());
        store.expire(Time(LIFETIME));
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn one_address_is_few_peers_and_one_torrent_is_bounded() {
        let mut store = PeerStore::default();
        for port in 1..=1000 {
            store.add(Time::default(), OWN, HASH, SocketAddr::from(([198, 51, 100, 1], port)));
        }
        assert_eq!(told(&store, Time::default(), "127.0.0.1:1").len(), MAX_PER_ADDRESS);
        for n in 0..1000_u16 {
            let [a, b] = n.to_be_bytes();
            store.add(Time::default(), OWN, HASH, SocketAddr::from(([203, 0, a, b], 1)));
        }
        assert_eq!(told(&store, Time::default(), "127.0.0.1:1").len(), MAX_PEERS);
    }

    #[test]
    fn the_torrents_close_to_us_stay() {
        let mut store = PeerStore::default();
        let near = Id([0; 20]);
        store.add(Time::default(), OWN, near, addr("198.51.100.1:1"));
        for n in 0..2000_u16 {
            let mut hash = [0xff; 20];
            hash[..2].copy_from_slice(&(0x8000 | n).to_be_bytes());
            store.add(Time::default(), OWN, Id(hash), addr("198.51.100.1:1"));
        }
        assert_eq!(store.len(), MAX_TORRENTS);
        assert!(store.torrents.contains_key(&near));
    }
}
