//! Torrents by info hash: [`Table`].

use hashbrown::HashTable;
use torrent_format::InfoHash;

use super::hash::Keys;
use super::torrent::Torrent;

/// Torrents by info hash, each at a position that changes only when one is removed.
///
/// Positions are hashed and torrents lie in one array: a table's slots are half empty on average, and empty ones should cost
/// five bytes and not eighty.
#[derive(Debug, Default)]
pub(super) struct Table {
    positions: HashTable<u32>,
    torrents: Vec<Torrent>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.torrents.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Torrent> {
        self.torrents.iter()
    }

    /// `hash`: of this info hash, by the keys of this table.
    pub(super) fn find(&self, hash: u64, info_hash: &InfoHash) -> Option<usize> {
        let found = self.positions.find(hash, |&at| self.torrents[at as usize].info_hash == *info_hash);
        found.map(|&position| position as usize)
    }

    pub(super) fn at(&self, position: usize) -> &Torrent {
        &self.torrents[position]
    }

    pub(super) fn at_mut(&mut self, position: usize) -> &mut Torrent {
        &mut self.torrents[position]
    }

    /// Adds one that is not there.
    pub(super) fn insert(&mut self, keys: &Keys, hash: u64, torrent: Torrent) -> usize {
        let position = self.torrents.len();
        self.torrents.push(torrent);
        let torrents = &self.torrents;
        let rehash = |&at: &u32| keys.hash_torrent(&torrents[at as usize].info_hash);
        self.positions.insert_unique(hash, position as u32, rehash);
        position
    }

    /// Takes one out; the last one moves into the gap.
    pub(super) fn remove(&mut self, keys: &Keys, position: usize) -> Torrent {
        let hash = keys.hash_torrent(&self.torrents[position].info_hash);
        if let Ok(slot) = self.positions.find_entry(hash, |&at| at as usize == position) {
            slot.remove();
        }
        let last = self.torrents.len() - 1;
        if position != last {
            let hash = keys.hash_torrent(&self.torrents[last].info_hash);
            if let Some(at) = self.positions.find_mut(hash, |&at| at as usize == last) {
                *at = position as u32;
            }
        }
        let removed = self.torrents.swap_remove(position);
        self.shrink(keys);
        removed
    }

    fn shrink(&mut self, keys: &Keys) {
        let length = self.torrents.len();
        if self.torrents.capacity() > 64 && self.torrents.capacity() > 4 * length {
            self.torrents.shrink_to(2 * length);
            let Self { positions, torrents } = self;
            positions.shrink_to(2 * length, |&at| keys.hash_torrent(&torrents[at as usize].info_hash));
        }
    }
}
