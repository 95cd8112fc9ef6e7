//! What to believe of what is there. Pure: what was found and what the record says go in; what is had, and what must be hashed, comes out.

use torrent_format::{Bitfield, Layout, PieceIndex};

use super::journal::Record;

/// What vouches for the bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// It is not there.
    Missing,
    /// Nothing: only hashing tells.
    Nothing,
    /// The record of its pieces: the file is the one that was recorded and nobody else changed it.
    Record,
    /// All of it is right: padding, or a file that the user told us to believe.
    All,
}

/// What is known of a file before anything is hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Evidence {
    pub(super) trust: Trust,
    /// Bytes that are there.
    pub(super) present: u64,
}

/// What is known of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It is there and durable.
    Had,
    /// It may be there.
    ToHash,
    /// It can't be there.
    Lacking,
}

/// Judges one piece by its files and the record.
pub(super) fn judge(layout: &Layout, piece: PieceIndex, files: &[Evidence], record: &Record) -> Standing {
    let mut least = Trust::All;
    for span in layout.spans(layout.piece_range(piece)) {
        let file = files[span.file];
        if file.trust == Trust::Missing || file.present < span.offset + span.length {
            return Standing::Lacking;
        }
        least = match (least, file.trust) {
            (Trust::Nothing, _) | (_, Trust::Nothing) => Trust::Nothing,
            (Trust::Record, _) | (_, Trust::Record) => Trust::Record,
            _ => Trust::All,
        };
    }
    match least {
        Trust::All => Standing::Had,
        Trust::Record if record.durable.has(piece) => Standing::Had,
        // Verified, but the machine may have stopped before it reached the disk.
        Trust::Record if record.written.has(piece) => Standing::ToHash,
        Trust::Record => Standing::Lacking,
        Trust::Nothing | Trust::Missing => Standing::ToHash,
    }
}

/// The pieces that hold a byte of a selected file.
pub(super) fn wanted(layout: &Layout, selected: &[bool]) -> Bitfield {
    let mut wanted = Bitfield::none(layout.piece_count());
    let files = (0..layout.file_count()).filter(|&file| selected[file]);
    for piece in files.flat_map(|file| layout.file_pieces(file)).filter_map(|index| layout.piece(index)) {
        wanted.set(piece);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use torrent_format::InfoHash;

    use super::super::journal::Subject;
    use super::*;

    /// Two files of 15 and 25 bytes in pieces of 10; pieces 0 and 1 are durable, 2 is written.
    fn case(first: Evidence, second: Evidence) -> [Standing; 4] {
        let layout = Arc::new(Layout::new(10, [15, 25]).unwrap());
        let info_hash = InfoHash::of_info(b"");
        let subject = Subject { info_hash, layout: Arc::clone(&layout), dir: "/".into() };
        let mut record = Record::new(&subject);
        record.durable = Bitfield::from_wire(&[0xc0], 4).unwrap();
        record.written = Bitfield::from_wire(&[0x20], 4).unwrap();
        [0, 1, 2, 3].map(|index| judge(&layout, layout.piece(index).unwrap(), &[first, second], &record))
    }

    #[test]
    fn a_piece_is_believed_as_far_as_its_least_trusted_file() {
        use Standing::{Had, Lacking, ToHash};
        let file = |trust, present| Evidence { trust, present };
        let known = |present| file(Trust::Record, present);
        assert_eq!(case(known(15), known(25)), [Had, Had, ToHash, Lacking]);
        assert_eq!(case(known(15), known(14)), [Had, Had, Lacking, Lacking]);
        assert_eq!(case(known(14), known(25)), [Had, Lacking, ToHash, Lacking]);
        assert_eq!(case(file(Trust::Missing, 0), known(25)), [Lacking, Lacking, ToHash, Lacking]);
        assert_eq!(case(known(15), file(Trust::Nothing, 25)), [Had, ToHash, ToHash, ToHash]);
        assert_eq!(case(file(Trust::Nothing, 15), known(25)), [ToHash, ToHash, ToHash, Lacking]);
        assert_eq!(case(file(Trust::All, 15), file(Trust::All, 25)), [Had; 4]);
        assert_eq!(case(file(Trust::All, 15), known(25)), [Had, Had, ToHash, Lacking]);
    }

    #[test]
    fn pieces_that_only_unselected_files_need_are_not_wanted() {
        let layout = Layout::new(10, [15, 10, 15]).unwrap();
        assert_eq!(wanted(&layout, &[true, false, false]).as_wire(), [0b1100_0000]);
        assert_eq!(wanted(&layout, &[false, true, false]).as_wire(), [0b0110_0000]);
        assert_eq!(wanted(&layout, &[false, false, true]).as_wire(), [0b0011_0000]);
    }
}
