//! Which pieces a seed suggests (BEP 6, "Suggest Piece"): [`Suggestions`], those that have never left it.
//!
//! Until every piece is elsewhere too, no swarm can finish, and whatever the seed sends twice before that is lost time for all. Downloaders
//! pick the rarest piece, but each knows only its own neighbours: in a large swarm most of what looks as if only the seed had it is
//! somewhere already. The seed knows what it sent.

use std::collections::VecDeque;

use torrent_format::{Bitfield, PieceIndex};

#[derive(Debug)]
pub(super) struct Suggestions {
    /// Pieces that have not been suggested in this round, in random order.
    fresh: VecDeque<PieceIndex>,
    /// Pieces of which something has left.
    sent: Bitfield,
    rng: fastrand::Rng,
    done: bool,
}

impl Suggestions {
    /// For a torrent of so many pieces. `seeding`: all of them are here from the start; otherwise nothing is suggested, for there are
    /// others who have them.
    pub(super) fn new(pieces: u32, seeding: bool, seed: u64) -> Self {
        Self {
            fresh: VecDeque::new(),
            sent: Bitfield::none(pieces),
            rng: fastrand::Rng::with_seed(seed),
            done: !seeding,
        }
    }

    /// Something of this piece leaves.
    pub(super) fn sent(&mut self, piece: PieceIndex) {
        self.sent.set(piece);
    }

    /// What was sent of this piece is gone.
    pub(super) fn lost(&mut self, piece: PieceIndex) {
        self.done &= !self.sent.clear(piece);
    }

    /// Whether there is a piece of which nothing has left.
    pub(super) fn has_more(&self) -> bool {
        !self.sent.is_all()
    }

    /// Whether something of this piece has left.
    pub(super) fn is_sent(&self, piece: PieceIndex) -> bool {
        self.sent.has(piece)
    }

    /// A piece to suggest. `is_worth(piece)`: we have it, and nobody else whom we know. Each is suggested once before any is suggested again: not
    /// everybody does as is suggested.
    pub(super) fn next(
        &mut self,
        pieces: impl Iterator<Item = PieceIndex>,
        is_worth: impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        if self.done {
            return None;
        }
        while let Some(piece) = self.fresh.pop_front() {
            if !self.sent.has(piece) && is_worth(piece) {
                return Some(piece);
            }
        }
        self.fresh = pieces.filter(|&piece| !self.sent.has(piece) && is_worth(piece)).collect();
        self.rng.shuffle(self.fresh.make_contiguous());
        self.done = self.fresh.is_empty();
        self.fresh.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use torrent_format::Layout;

    use super::*;

    #[test]
    fn every_piece_is_suggested_once_a_round_until_all_have_left() {
        let layout = Layout::new(16_384, [16_384 * 10]).unwrap();
        let mut suggestions = Suggestions::new(10, true, 1);
        let known = layout.piece(3).unwrap();
        for _ in 0..2 {
            let next = |_| suggestions.next(layout.pieces(), |piece| piece != known);
            let round: BTreeSet<_> = (0..9).filter_map(next).collect();
            assert_eq!(round.len(), 9, "each but the one that others have");
        }
        for piece in layout.pieces().filter(|&piece| piece != known) {
            suggestions.sent(piece);
        }
        assert_eq!(suggestions.next(layout.pieces(), |piece| piece != known), None);
    }

    #[test]
    fn who_came_by_the_pieces_in_the_swarm_suggests_none() {
        let layout = Layout::new(16_384, [16_384 * 10]).unwrap();
        assert_eq!(Suggestions::new(10, false, 1).next(layout.pieces(), |_| true), None);
    }
}
