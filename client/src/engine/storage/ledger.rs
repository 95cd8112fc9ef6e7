//! Which pieces are there, which of them are durable, and which files that makes whole. No I/O.

use std::collections::BTreeSet;

use torrent_format::{Bitfield, Layout, PieceIndex};

/// The books of one torrent.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Verified and handed to the operating system; may be read.
    have: Bitfield,
    /// On the disk for good; a subset of `have`.
    durable: Bitfield,
    unsynced: Batch,
    /// Per file, the pieces that touch it and are not durable yet; 0 once it is whole. Files that are not ours to finish have
    /// [`Ledger::NEVER`].
    left: Vec<u32>,
}

/// What was verified since the last barrier.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) pieces: Vec<PieceIndex>,
    pub(super) bytes: u64,
    /// The files that hold them.
    pub(super) files: BTreeSet<usize>,
}

impl Ledger {
    const NEVER: u32 = u32::MAX;

    /// `have` of which `durable` needs no syncing; `unfinished`: a flag a file: it is to be finished once its pieces are there.
    pub(super) fn new(layout: &Layout, have: &Bitfield, durable: Bitfield, unfinished: &[bool]) -> Self {
        let left = unfinished
            .iter()
            .enumerate()
            .map(|(file, unfinished)| match unfinished {
                true => layout
                    .file_pieces(file)
                    .filter_map(|index| layout.piece(index))
                    .filter(|&p| !durable.has(p))
                    .count() as u32,
                false => Self::NEVER,
            })
            .collect();
        let mut ledger =
            Self { have: Bitfield::none(layout.piece_count()), durable, unsynced: Batch::default(), left };
        for piece in layout.pieces().filter(|&piece| have.has(piece)) {
            if ledger.durable.has(piece) {
                ledger.have.set(piece);
            } else {
                ledger.verified(layout, piece);
            }
        }
        ledger
    }

    pub(super) fn have(&self) -> &Bitfield {
        &self.have
    }

    pub(super) fn durable(&self) -> &Bitfield {
        &self.durable
    }

    /// A piece was verified and written. Returns how many bytes now wait for the next barrier.
    pub(super) fn verified(&mut self, layout: &Layout, piece: PieceIndex) -> u64 {
        if self.have.set(piece) {
            self.unsynced.pieces.push(piece);
            self.unsynced.bytes += u64::from(layout.piece_payload(piece));
            self.unsynced.files.extend(layout.spans(layout.piece_range(piece)).map(|span| span.file));
        }
        self.unsynced.bytes
    }

    /// What the next barrier has to sync.
    pub(super) fn take_unsynced(&mut self) -> Batch {
        std::mem::take(&mut self.unsynced)
    }

    /// These pieces are on the disk.
    pub(super) fn synced(&mut self, layout: &Layout, batch: &Batch) {
        for &piece in batch.pieces.iter().filter(|&&piece| self.durable.set(piece)) {
            // A file may appear in one piece only once, as one span.
            for span in layout.spans(layout.piece_range(piece)) {
                let left = &mut self.left[span.file];
                if *left != Self::NEVER {
                    *left -= 1;
                }
            }
        }
    }

    /// The files that are whole now and were not finished before; each is given out once.
    pub(super) fn take_whole(&mut self) -> Vec<usize> {
        let whole: Vec<usize> = (0..self.left.len()).filter(|&file| self.left[file] == 0).collect();
        for &file in &whole {
            self.left[file] = Self::NEVER;
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_once_every_piece_that_touches_it_is_durable() {
        let layout = Layout::new(10, [15, 0, 5, 20]).unwrap();
        let [p0, p1, p2, p3] = [0, 1, 2, 3].map(|index| layout.piece(index).unwrap());
        let none = Bitfield::none(4);
        let mut ledger = Ledger::new(&layout, &none, none.clone(), &[true, false, true, false]);
        assert_eq!(ledger.verified(&layout, p1), 10);
        let batch = ledger.take_unsynced();
        assert_eq!((&batch.pieces, &batch.files), (&vec![p1], &BTreeSet::from([0, 2])));
        assert!(ledger.have().has(p1) && !ledger.durable().has(p1));
        ledger.synced(&layout, &batch);
        assert_eq!(ledger.take_whole(), [2]);
        assert_eq!(ledger.take_whole(), [] as [usize; 0]);
        for piece in [p0, p2, p3] {
            ledger.verified(&layout, piece);
        }
        let batch = ledger.take_unsynced();
        ledger.synced(&layout, &batch);
        assert_eq!(ledger.take_whole(), [0]);
        assert!(ledger.durable().is_all());
    }

    #[test]
    fn what_was_found_but_is_not_known_durable_waits_for_the_first_barrier() {
        let layout = Layout::new(10, [20]).unwrap();
        let p0 = layout.piece(0).unwrap();
        let mut durable = Bitfield::none(2);
        durable.set(p0);
        let mut ledger = Ledger::new(&layout, &Bitfield::all(2), durable, &[true]);
        assert!(ledger.have().is_all());
        let batch = ledger.take_unsynced();
        assert_eq!(batch.pieces, [layout.piece(1).unwrap()]);
        ledger.synced(&layout, &batch);
        assert_eq!(ledger.take_whole(), [0]);
    }
}
