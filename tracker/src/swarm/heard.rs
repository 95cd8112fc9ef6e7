//! What one tracker tells another of an announce: [`Heard`]. Pure.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use torrent_format::InfoHash;
use torrent_format::announce::{AnnounceEvent, AnnounceRequest, compact_v4, compact_v6};

use super::entry::{Mark, Role, TICKS, V4, V6, socket_addr};
use super::list::Found;
use super::{Shards, Swarms, find_v6, hash, is_public, role, shift, whole_seconds};

/// An announce that another node of this tracker has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    info_hash: InfoHash,
    peer: SocketAddr,
    /// Role, completed or not, stopped or not.
    bits: u8,
    identity: u32,
    /// When it came, in seconds since 1970.
    at: u32,
}

const ROLE: u8 = 0b11;
const COMPLETED: u8 = 0b100;
const STOPPED: u8 = 0b1000;
const IPV6: u8 = 0b1_0000;

/// Bytes beside those of the address.
const FIXED: usize = 1 + 20 + 4 + 4;

impl Heard {
    /// What others are told of this announce, which came `at` (since 1970) and `completed` a download.
    pub fn of(at: Duration, peer: SocketAddr, request: &AnnounceRequest, completed: bool) -> Self {
        let stopped = request.event == AnnounceEvent::Stopped;
        Self {
            info_hash: request.info_hash,
            peer,
            bits: role(request) as u8 | flag(COMPLETED, completed) | flag(STOPPED, stopped),
            identity: hash::identity(request.key, &request.peer_id),
            at: whole_seconds(at),
        }
    }

    /// Which torrent.
    pub fn info_hash(&self) -> &InfoHash {
        &self.info_hash
    }

    /// The torrent that was completed, if one was.
    pub fn completed(&self) -> Option<InfoHash> {
        (self.bits & COMPLETED != 0).then_some(self.info_hash)
    }

    /// Whether the peer left.
    pub fn is_stopped(&self) -> bool {
        self.bits & STOPPED != 0
    }

    /// Who announced.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the peer, having left with `departure`, is there again by this: it is later by more than clocks may disagree.
    pub fn outlives(&self, departure: &Self) -> bool {
        i64::from(self.at) - i64::from(departure.at) >= i64::from(CLOCKS_AGREE)
    }

    /// Appends it, in 35 bytes or 47.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.bits | flag(IPV6, self.peer.is_ipv6()));
        out.extend_from_slice(self.info_hash.as_bytes());
        out.extend_from_slice(&self.identity.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        match self.peer {
            SocketAddr::V4(peer) => out.extend_from_slice(&compact_v4(peer)),
            SocketAddr::V6(peer) => out.extend_from_slice(&compact_v6(peer)),
        }
    }

    /// Reads one that was written, and gives the bytes behind it. `None`: there is no whole one.
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (fixed, bytes) = bytes.split_first_chunk::<FIXED>()?;
        let number = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let bits = fixed[0];
        let mut info_hash = [0; 20];
        info_hash.copy_from_slice(&fixed[1..21]);
        let (peer, bytes) = if bits & IPV6 == 0 {
            let (addr, bytes) = bytes.split_first_chunk::<V4>()?;
            (socket_addr(addr), bytes)
        } else {
            let (addr, bytes) = bytes.split_first_chunk::<V6>()?;
            (socket_addr(addr), bytes)
        };
        let heard = Self {
            info_hash: InfoHash(info_hash),
            peer,
            bits: bits & !IPV6,
            identity: number(21),
            at: number(25),
        };
        Some((heard, bytes))
    }
}

/// Seconds by which the clocks of nodes, and the rounding of times, may disagree.
const CLOCKS_AGREE: i32 = 2;

/// How much later `at` is than `seen`, in ticks that go round.
fn since(at: u32, seen: u32) -> i32 {
    let later = at.wrapping_sub(seen) % TICKS;
    if later < TICKS / 2 { later.cast_signed() } else { later.cast_signed() - TICKS.cast_signed() }
}

/// Whether what is heard of a peer is newer than what is known. Of two that came at about the same time, the one that has more
/// of the torrent does.
fn is_news(at: u32, role: Role, known: Mark) -> bool {
    match since(at, known.seen) {
        later if later >= CLOCKS_AGREE => true,
        later => later > -CLOCKS_AGREE && role as u8 >= known.role as u8,
    }
}

fn flag(bit: u8, is_set: bool) -> u8 {
    if is_set { bit } else { 0 }
}

impl Shards {
    /// Takes in what another node was told. `epoch`: since 1970, `now`: since this tracker's start. `counts`: a completion is
    /// counted.
    pub fn hear(&self, now: Duration, epoch: Duration, heard: &Heard, counts: bool) {
        let age = whole_seconds(epoch).saturating_sub(heard.at);
        let hash = self.keys.hash_torrent(&heard.info_hash);
        self.of(hash).hear(whole_seconds(now), age, heard, hash, counts);
    }
}

impl Swarms {
    /// Appends all peers, as others are told of an announce.
    pub fn tell_all(&self, now: Duration, epoch: Duration, mut tell: impl FnMut(Heard)) {
        let (now, epoch) = (self.tick_of(whole_seconds(now)), whole_seconds(epoch));
        for torrent in self.table.iter() {
            let heard = |peer: SocketAddr, mark: Mark, age: u32| Heard {
                info_hash: torrent.info_hash,
                peer,
                bits: mark.role as u8,
                identity: mark.identity,
                at: epoch.saturating_sub(age * self.tick),
            };
            for entry in torrent.v4.entries() {
                tell(heard(socket_addr(&entry.addr), entry.mark(), entry.age(now)));
            }
            for entry in torrent.v6.iter().flat_map(|v6| v6.list.entries()) {
                tell(heard(socket_addr(&entry.addr), entry.mark(), entry.age(now)));
            }
        }
    }

    /// How often each torrent was completed, of those that were.
    pub fn counts(&self, mut each: impl FnMut(&InfoHash, u32)) {
        let completed = self.table.iter().filter(|torrent| torrent.downloaded > 0);
        completed.for_each(|torrent| each(&torrent.info_hash, torrent.downloaded));
    }

    /// What is known of this peer.
    fn known(&self, heard: &Heard, hash: u64) -> Option<Mark> {
        let torrent = self.table.at(self.table.find(hash, &heard.info_hash)?);
        match heard.peer {
            SocketAddr::V4(peer) => match torrent.v4.find(&self.keys, &compact_v4(peer)) {
                Found::At(at) => Some(torrent.v4.entry(at).mark()),
                Found::Not { .. } => None,
            },
            SocketAddr::V6(peer) => match find_v6(torrent, &self.keys, &compact_v6(peer)) {
                Found::At(at) => torrent.v6.as_ref().map(|v6| v6.list.entry(at).mark()),
                Found::Not { .. } => None,
            },
        }
    }

    fn hear(&mut self, now: u32, age: u32, heard: &Heard, hash: u64, counts: bool) {
        let at = self.tick_of(now).wrapping_sub(age / self.tick) % TICKS;
        if heard.bits & STOPPED != 0 {
            let known = self.known(heard, hash);
            if known.is_some_and(|known| since(at, known.seen) > -CLOCKS_AGREE) {
                self.stop(now, heard.peer, &heard.info_hash, hash);
            }
            return;
        }
        let role = [Role::Leecher, Role::PartialSeed, Role::Seed, Role::Seed][usize::from(heard.bits & ROLE)];
        let known = self.known(heard, hash);
        if age > whole_seconds(self.settings.expiry())
            || heard.peer.port() == 0
            || known.is_some_and(|known| !is_news(at, role, known))
        {
            return;
        }
        let position = match self.table.find(hash, &heard.info_hash) {
            Some(position) => position,
            None if self.is_full(true) => return,
            None => self.add_torrent(heard.info_hash, hash),
        };
        let mark = Mark { role, counted: false, paired: false, seen: at, identity: heard.identity };
        let max = if is_public(heard.peer.ip()) { self.settings.max_peers_per_host } else { usize::MAX };
        // Peers that are known are kept up; more come in as long as there is room.
        let is_full = self.is_full(false);
        let completes = heard.bits & COMPLETED != 0;
        let torrent = self.table.at_mut(position);
        let (peers, bytes) = (torrent.len(), torrent.heap_bytes());
        match heard.peer {
            SocketAddr::V4(peer) => {
                let addr = compact_v4(peer);
                let found = torrent.v4.find(&self.keys, &addr);
                if !is_full || matches!(found, Found::At(_)) {
                    torrent.upsert_v4(&self.keys, addr, found, mark, completes, max);
                }
            }
            SocketAddr::V6(peer) => {
                let addr = compact_v6(peer);
                let found = find_v6(torrent, &self.keys, &addr);
                if !is_full || matches!(found, Found::At(_)) {
                    torrent.upsert_v6(&self.keys, addr, found, mark, completes, max);
                }
            }
        }
        torrent.touched = torrent.touched.max(now.saturating_sub(age));
        self.changes.note(&heard.info_hash);
        // The node that was told has seen to it that it counts.
        if completes && counts {
            torrent.downloaded = torrent.downloaded.saturating_add(1);
            self.usage.completed.fetch_add(1, Relaxed);
        }
        shift(&self.usage.peers, peers, torrent.len());
        shift(&self.usage.bytes, bytes, torrent.heap_bytes());
        if torrent.len() == 0 && torrent.downloaded == 0 {
            self.drop_torrent(position);
        }
    }
}
