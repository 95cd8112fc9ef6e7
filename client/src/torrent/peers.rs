//! The table of connections: [`Peers`], with keys that are never used twice.

use super::peer::Peer;

/// A connection. Never used twice, so that news of a connection that is gone can't be taken for another's. The default is nobody's.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerKey {
    slot: u32,
    generation: u32,
}

impl PeerKey {
    /// Its place in the table: a small number that one connection at a time has.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

#[cfg(test)]
impl PeerKey {
    /// A key that no table gave out, for tests of parts that only compare keys.
    pub(super) fn for_test(number: u32) -> Self {
        Self { slot: number, generation: 0 }
    }
}

/// All connections of a torrent, in an order that depends only on what happened.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: slab::Slab<(u32, Peer)>,
    generation: u32,
}

impl Peers {
    pub(super) fn insert(&mut self, peer: Peer) -> PeerKey {
        self.generation += 1;
        let slot = self.slots.insert((self.generation, peer));
        PeerKey { slot: slot as u32, generation: self.generation }
    }

    pub(super) fn remove(&mut self, key: PeerKey) -> Option<Peer> {
        self.get(key)?;
        Some(self.slots.remove(key.slot as usize).1)
    }

    pub(super) fn get(&self, key: PeerKey) -> Option<&Peer> {
        self.slots
            .get(key.slot as usize)
            .filter(|(generation, _)| *generation == key.generation)
            .map(|(_, peer)| peer)
    }

    pub(super) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.slots
            .get_mut(key.slot as usize)
            .filter(|(generation, _)| *generation == key.generation)
            .map(|(_, peer)| peer)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerKey, &Peer)> {
        self.slots
            .iter()
            .map(|(slot, (generation, peer))| (PeerKey { slot: slot as u32, generation: *generation }, peer))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PeerKey, &mut Peer)> {
        self.slots
            .iter_mut()
            .map(|(slot, (generation, peer))| (PeerKey { slot: slot as u32, generation: *generation }, peer))
    }

    pub(super) fn keys(&self) -> Vec<PeerKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// Those that have been connected longest first.
    pub(super) fn by_age(&self) -> Vec<PeerKey> {
        let mut keys = self.keys();
        keys.sort_unstable_by_key(|key| key.generation);
        keys
    }
}
