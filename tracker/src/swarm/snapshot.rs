//! Swarms as bytes, for a restart: written shard by shard, read whatever the number of shards is then.
//!
//! A torrent is its info hash, its count of completions, the seconds since its last announce, the numbers of its IPv4 and IPv6
//! peers, and these; a peer is its address and port as they are sent, its role, identity and the seconds since it was seen.
//! Numbers are little-endian.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use torrent_format::InfoHash;

use super::entry::{Entry, Mark, Role, TICKS, V4, V6};
use super::list::Found;
use super::{Shards, Swarms, find_v6, shift, whole_seconds};

const IDENTITY_SHIFT: u32 = 8;
const COUNTED: u32 = 0b100;

/// Longest age that is told apart from longer ones; the clock of ticks tells no more.
const MAX_AGE: u32 = TICKS / 2;

/// These bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot of swarms ends within a torrent")]
pub struct SnapshotError;

impl Swarms {
    /// Appends all torrents and peers to `out`.
    pub fn save(&self, now: Duration, out: &mut Vec<u8>) {
        let now = whole_seconds(now);
        for torrent in self.table.iter() {
            out.extend_from_slice(torrent.info_hash.as_bytes());
            let v6 = torrent.v6.as_ref().map_or(&[][..], |v6| v6.list.entries());
            let v4 = torrent.v4.entries();
            let idle = now.saturating_sub(torrent.touched);
            for number in [torrent.downloaded, idle, v4.len() as u32, v6.len() as u32] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            v4.iter().for_each(|entry| self.save_peer(entry, now, out));
            v6.iter().for_each(|entry| self.save_peer(entry, now, out));
        }
    }

    fn save_peer<const N: usize>(&self, entry: &Entry<N>, now: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&entry.addr);
        let mark = entry.mark();
        let bits =
            mark.role as u32 | if mark.counted { COUNTED } else { 0 } | mark.identity << IDENTITY_SHIFT;
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(&(entry.age(self.tick_of(now)) * self.tick).to_le_bytes());
    }

    /// Takes in one torrent as it was this much longer ago; of its peers those that are not too old by now.
    fn restore(&mut self, now: u32, since: u32, saved: &Saved<'_>, hash: u64) {
        let position = match self.table.find(hash, &saved.info_hash) {
            Some(position) => position,
            None => self.add_torrent(saved.info_hash, hash),
        };
        let keys = self.keys;
        let (expiry, tick) = (whole_seconds(self.settings.expiry()), self.tick);
        let mark = |bits: u32, age: u32| Mark {
            role: [Role::Leecher, Role::PartialSeed, Role::Seed, Role::Seed][bits as usize & 3],
            counted: bits & COUNTED != 0,
            paired: false,
            seen: (now / tick).wrapping_sub(age.saturating_add(since).min(MAX_AGE) / tick) % TICKS,
            identity: bits >> IDENTITY_SHIFT,
        };
        let is_alive = |age: u32| age.saturating_add(since) <= expiry;
        let torrent = self.table.at_mut(position);
        let (peers, bytes) = (torrent.len(), torrent.heap_bytes());
        let more = saved.downloaded.saturating_sub(torrent.downloaded);
        torrent.downloaded += more;
        self.usage.completed.fetch_add(more.into(), Relaxed);
        // An idle torrent's time begins anew with the clock, which is no older.
        torrent.touched = torrent.touched.max(now.saturating_sub(saved.idle.saturating_add(since)));
        for (addr, bits, age) in saved.peers::<V4>(saved.v4).filter(|&(_, _, age)| is_alive(age)) {
            let found = torrent.v4.find(&keys, &addr);
            if matches!(found, Found::Not { .. }) {
                torrent.upsert_v4(&keys, addr, found, mark(bits, age), false, usize::MAX);
            }
        }
        for (addr, bits, age) in saved.peers::<V6>(saved.v6).filter(|&(_, _, age)| is_alive(age)) {
            let found = find_v6(torrent, &keys, &addr);
            if matches!(found, Found::Not { .. }) {
                torrent.upsert_v6(&keys, addr, found, mark(bits, age), false, usize::MAX);
            }
        }
        let (peers_now, bytes_now) = (torrent.len(), torrent.heap_bytes());
        let is_empty = torrent.len() == 0 && torrent.downloaded == 0;
        shift(&self.usage.peers, peers, peers_now);
        shift(&self.usage.bytes, bytes, bytes_now);
        if is_empty {
            self.drop_torrent(position);
        }
    }
}

impl Shards {
    /// Takes in what [`Swarms::save`] wrote `since` ago. What is known already is newer, and stays.
    ///
    /// # Errors
    /// If the bytes end within a torrent; what stands before is taken in.
    pub fn restore(&self, now: Duration, since: Duration, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        let (now, since) = (whole_seconds(now), whole_seconds(since));
        while !bytes.is_empty() {
            let saved;
            (saved, bytes) = Saved::read(bytes).ok_or(SnapshotError)?;
            let hash = self.keys.hash_torrent(&saved.info_hash);
            self.of(hash).restore(now, since, &saved, hash);
        }
        Ok(())
    }

    /// Remembers that a torrent was completed so often, at least.
    pub fn restore_completed(&self, now: Duration, info_hash: InfoHash, downloaded: u32) {
        let hash = self.keys.hash_torrent(&info_hash);
        let saved = Saved { info_hash, downloaded, idle: 0, v4: &[], v6: &[] };
        self.of(hash).restore(whole_seconds(now), 0, &saved, hash);
    }
}

/// One torrent as it was written.
struct Saved<'a> {
    info_hash: InfoHash,
    downloaded: u32,
    idle: u32,
    v4: &'a [u8],
    v6: &'a [u8],
}

/// Bytes of a peer behind its address.
const MARK: usize = 8;

impl<'a> Saved<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (info_hash, bytes) = bytes.split_first_chunk::<20>()?;
        let (numbers, bytes) = bytes.split_first_chunk::<16>()?;
        let [downloaded, idle, v4, v6] = [0, 4, 8, 12].map(|at| number(&numbers[at..]));
        let (v4, bytes) = bytes.split_at_checked((v4 as usize).checked_mul(V4 + MARK)?)?;
        let (v6, bytes) = bytes.split_at_checked((v6 as usize).checked_mul(V6 + MARK)?)?;
        Some((Self { info_hash: InfoHash(*info_hash), downloaded, idle, v4, v6 }, bytes))
    }

    /// Address, bits and age of each peer.
    fn peers<const N: usize>(
        &self,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = ([u8; N], u32, u32)> + use<'a, N> {
        bytes.chunks_exact(N + MARK).map(|peer| {
            let mut addr = [0; N];
            addr.copy_from_slice(&peer[..N]);
            (addr, number(&peer[N..]), number(&peer[N + 4..]))
        })
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
