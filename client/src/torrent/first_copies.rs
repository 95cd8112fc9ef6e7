//! Who passes on what a seed gives: [`FirstCopies`], the pieces that only the one peer has that a seed gave them to.
//!
//! Until every piece is elsewhere too, each first copy is worth more than anything else in the swarm: others wait for it. One that goes
//! to somebody who keeps it is lost, and what is worse, it looks as if it were there. A seed gets nothing back by which to tell, but it
//! hears who has what: a piece that a second peer has was passed on by the first. So whoever sits on its first copies waits behind those
//! who do not. The idea is super-seeding's (BEP 16), without its pretence to have less.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use torrent_format::PieceIndex;

use super::peers::PeerKey;

#[derive(Debug, Default)]
pub(super) struct FirstCopies {
    /// Who got a piece first, until somebody else has it.
    holders: BTreeMap<PieceIndex, PeerKey>,
    /// How many each of them holds.
    counts: BTreeMap<PeerKey, u32>,
    /// Those that have passed one on.
    proven: BTreeSet<PeerKey>,
}

impl FirstCopies {
    /// A piece that nobody else has goes to this peer.
    pub(super) fn given(&mut self, piece: PieceIndex, key: PeerKey) {
        if let Entry::Vacant(vacant) = self.holders.entry(piece) {
            vacant.insert(key);
            *self.counts.entry(key).or_default() += 1;
        }
    }

    /// A peer has this piece.
    pub(super) fn seen(&mut self, piece: PieceIndex, key: PeerKey) {
        if let Some(&holder) = self.holders.get(&piece).filter(|&&holder| holder != key) {
            self.holders.remove(&piece);
            if let Some(count) = self.counts.get_mut(&holder) {
                *count -= 1;
            }
            self.proven.insert(holder);
        }
    }

    /// How many this peer sits on, `at_hand` not among them, of which it has only a part. One is nothing to somebody who has passed others on,
    /// for that one may be on its way; to somebody who has not it counts double.
    pub(super) fn kept(&self, key: PeerKey, at_hand: Option<PieceIndex>) -> u32 {
        let in_part = at_hand.is_some_and(|piece| self.holders.get(&piece) == Some(&key));
        match self.counts.get(&key).copied().unwrap_or_default() - u32::from(in_part) {
            kept if self.proven.contains(&key) => kept.saturating_sub(1),
            0 => 0,
            kept => kept + 1,
        }
    }

    /// Whether this peer has something that only it was given.
    pub(super) fn holds(&self, key: PeerKey) -> bool {
        self.counts.get(&key).is_some_and(|&count| count > 0)
    }

    /// A peer is gone, and with it these pieces.
    pub(super) fn lost(&mut self, key: PeerKey) -> Vec<PieceIndex> {
        self.proven.remove(&key);
        self.counts.remove(&key);
        let lost: Vec<_> =
            self.holders.iter().filter(|&(_, &holder)| holder == key).map(|(&piece, _)| piece).collect();
        self.holders.retain(|_, &mut holder| holder != key);
        lost
    }
}

#[cfg(test)]
mod tests {
    use torrent_format::Layout;

    use super::*;

    #[test]
    fn who_passes_a_piece_on_sits_on_nothing_and_who_does_not_waits() {
        let layout = Layout::new(16_384, [16_384 * 10]).unwrap();
        let pieces: Vec<_> = layout.pieces().collect();
        let [generous, stingy] = [1, 2].map(PeerKey::for_test);
        let mut copies = FirstCopies::default();
        copies.given(pieces[0], generous);
        copies.given(pieces[1], stingy);
        assert_eq!(copies.kept(generous, Some(pieces[0])), 0, "it has only a part of it");
        assert_eq!([generous, stingy].map(|key| copies.kept(key, None)), [2, 2]);
        copies.seen(pieces[0], generous);
        copies.seen(pieces[0], stingy);
        copies.given(pieces[2], generous);
        copies.given(pieces[3], stingy);
        assert_eq!([generous, stingy].map(|key| copies.kept(key, None)), [0, 3]);
        assert_eq!(copies.lost(stingy), [pieces[1], pieces[3]]);
        assert_eq!(copies.kept(stingy, None), 0);
        assert!(copies.holds(generous) && !copies.holds(stingy));
    }
}
