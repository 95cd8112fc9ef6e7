//! All arithmetic of pieces, blocks and files, in one value: [`Layout`].
//!
//! A torrent's payload is its files laid end to end, cut into pieces of one length (the last may be shorter), each piece into
//! blocks of 16 KiB (the last may be shorter). What a peer says about pieces and blocks is checked here once and becomes
//! [`PieceIndex`] or [`Block`]; from then on it is known to lie inside the torrent.

use std::ops::Range;

/// The block that clients request from each other, in bytes (BEP 3: "all current implementations use 2^14").
pub const BLOCK_LENGTH: u32 = 16 * 1024;

/// The most pieces that a torrent may have; the same bound as libtorrent's. It bounds bitfields at 256 KiB.
pub const MAX_PIECES: u32 = 1 << 21;

/// The longest piece, in bytes. Above this one piece would be more than the memory given to all buffers.
pub const MAX_PIECE_LENGTH: u32 = 128 * 1024 * 1024;

/// The largest payload, in bytes: offsets stay far below where their sums could overflow.
pub const MAX_TOTAL: u64 = 1 << 48;

/// A piece that exists: only [`Layout`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The number on the wire.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// For tables indexed by piece.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A block that exists: it lies within one piece, begins at a multiple of [`BLOCK_LENGTH`] and is as long as the piece allows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Block {
    /// The piece it belongs to.
    pub piece: PieceIndex,
    /// Bytes from the start of the piece.
    pub begin: u32,
    /// Bytes; 1 to [`BLOCK_LENGTH`].
    pub length: u32,
}

impl Block {
    /// The number of this block within its piece, from 0.
    pub const fn number(self) -> u32 {
        self.begin / BLOCK_LENGTH
    }
}

/// A run of bytes within one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileSpan {
    /// Which file, by its position in the torrent's list.
    pub file: usize,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes; never 0.
    pub length: u64,
}

/// Sizes that can't be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The piece length is 0 or above [`MAX_PIECE_LENGTH`].
    #[error("piece length {0} is not between 1 and {MAX_PIECE_LENGTH}")]
    PieceLength(u64),
    /// The files are together longer than [`MAX_TOTAL`].
    #[error("the files are together longer than {MAX_TOTAL} bytes")]
    TooLong,
    /// More than [`MAX_PIECES`] pieces.
    #[error("{0} pieces; at most {MAX_PIECES} are allowed")]
    TooManyPieces(u64),
}

/// How a torrent's bytes map to pieces, blocks and files. Cheap to share, never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    piece_length: u32,
    piece_count: u32,
    /// `file_starts[i]` is the offset of file `i` in the payload; the last entry is the payload's length. Never empty,
    /// ascending; equal neighbours are a file of length 0.
    file_starts: Vec<u64>,
}

impl Layout {
    /// Lays out files of these lengths, in this order.
    ///
    /// # Errors
    /// If a size is out of bounds, or there are too many pieces.
    pub fn new(piece_length: u64, file_lengths: impl IntoIterator<Item = u64>) -> Result<Self, LayoutError> {
        if piece_length == 0 || piece_length > u64::from(MAX_PIECE_LENGTH) {
            return Err(LayoutError::PieceLength(piece_length));
        }
        let mut file_starts = vec![0_u64];
        let mut total = 0_u64;
        for length in file_lengths {
            total =
                total.checked_add(length).filter(|&total| total <= MAX_TOTAL).ok_or(LayoutError::TooLong)?;
            file_starts.push(total);
        }
        let pieces = total.div_ceil(piece_length);
        let piece_count = u32::try_from(pieces)
            .ok()
            .filter(|&count| count <= MAX_PIECES)
            .ok_or(LayoutError::TooManyPieces(pieces))?;
        Ok(Self { piece_length: piece_length as u32, piece_count, file_starts })
    }

    /// Length of every piece but perhaps the last, in bytes.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// How many pieces there are. 0 if every file is empty.
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// Length of the payload, in bytes.
    pub fn total(&self) -> u64 {
        self.file_starts[self.file_starts.len() - 1]
    }

    /// How many files there are, those of length 0 included.
    pub fn file_count(&self) -> usize {
        self.file_starts.len() - 1
    }

    /// All pieces in order.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.piece_count).map(PieceIndex)
    }

    /// The piece of this number, if there is one.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.piece_count).then_some(PieceIndex(index))
    }

    /// Length of this piece, in bytes.
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        let range = self.piece_range(piece);
        (range.end - range.start) as u32
    }

    /// Where this piece lies in the payload.
    pub fn piece_range(&self, piece: PieceIndex) -> Range<u64> {
        let start = u64::from(piece.0) * u64::from(self.piece_length);
        start..(start + u64::from(self.piece_length)).min(self.total())
    }

    /// How many blocks this piece has.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_size(piece).div_ceil(BLOCK_LENGTH)
    }

    /// Block `number` of this piece.
    ///
    /// # Panics
    /// If the piece has no such block.
    pub fn block(&self, piece: PieceIndex, number: u32) -> Block {
        let begin = number * BLOCK_LENGTH;
        let size = self.piece_size(piece);
        assert!(begin < size, "piece {} has no block {number}", piece.0);
        Block { piece, begin, length: (size - begin).min(BLOCK_LENGTH) }
    }

    /// The blocks of this piece in order.
    pub fn blocks(&self, piece: PieceIndex) -> impl Iterator<Item = Block> + '_ {
        (0..self.block_count(piece)).map(move |number| self.block(piece, number))
    }

    /// The block that these three numbers from the wire name, if they name exactly one of ours.
    pub fn check_block(&self, index: u32, begin: u32, length: u32) -> Option<Block> {
        let piece = self.piece(index)?;
        if !begin.is_multiple_of(BLOCK_LENGTH) || begin >= self.piece_size(piece) {
            return None;
        }
        Some(self.block(piece, begin / BLOCK_LENGTH)).filter(|block| block.length == length)
    }

    /// The piece that these three numbers from the wire ask a part of, if the part lies within the piece. Others may ask for
    /// parts that are not our blocks.
    pub fn check_request(&self, index: u32, begin: u32, length: u32) -> Option<PieceIndex> {
        let piece = self.piece(index)?;
        let end = begin.checked_add(length)?;
        (length > 0 && end <= self.piece_size(piece)).then_some(piece)
    }

    /// Where file `file` lies in the payload.
    pub fn file_range(&self, file: usize) -> Range<u64> {
        self.file_starts[file]..self.file_starts[file + 1]
    }

    /// The pieces that hold any byte of file `file`; empty for a file of length 0.
    pub fn file_pieces(&self, file: usize) -> Range<u32> {
        let range = self.file_range(file);
        if range.is_empty() {
            return 0..0;
        }
        let length = u64::from(self.piece_length);
        (range.start / length) as u32..range.end.div_ceil(length) as u32
    }

    /// Cuts a range of the payload at file borders. Files of length 0 do not appear.
    ///
    /// # Panics
    /// If the range leaves the payload.
    pub fn spans(&self, range: Range<u64>) -> impl Iterator<Item = FileSpan> + '_ {
        assert!(range.end <= self.total(), "the range leaves the payload");
        let mut file = self.file_starts.partition_point(|&start| start <= range.start).saturating_sub(1);
        let mut position = range.start;
        std::iter::from_fn(move || {
            while position < range.end {
                let here = self.file_range(file);
                if position < here.end {
                    let length = here.end.min(range.end) - position;
                    let span = FileSpan { file, offset: position - here.start, length };
                    position += length;
                    return Some(span);
                }
                file += 1;
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_and_the_last_block_are_short() {
        let layout = Layout::new(40_000, [100_001]).unwrap();
        assert_eq!(layout.piece_count(), 3);
        let sizes: Vec<_> = layout.pieces().map(|piece| layout.piece_size(piece)).collect();
        assert_eq!(sizes, [40_000, 40_000, 20_001]);
        let last = layout.piece(2).unwrap();
        let blocks: Vec<_> = layout.blocks(last).map(|block| (block.begin, block.length)).collect();
        assert_eq!(blocks, [(0, 16_384), (16_384, 3_617)]);
        assert_eq!(layout.piece(3), None);
    }

    #[test]
    fn only_whole_blocks_pass_the_border() {
        let layout = Layout::new(40_000, [100_001]).unwrap();
        assert!(layout.check_block(0, 0, 16_384).is_some());
        assert!(layout.check_block(0, 32_768, 7_232).is_some());
        assert!(layout.check_block(2, 16_384, 3_617).is_some());
        for (index, begin, length) in [
            (3, 0, 16_384),
            (0, 1, 16_384),
            (0, 32_768, 16_384),
            (0, 0, 0),
            (0, 0, 16_383),
            (2, 32_768, 1),
            (u32::MAX, 0, 16_384),
            (0, u32::MAX, 1),
        ] {
            assert_eq!(layout.check_block(index, begin, length), None, "{index} {begin} {length}");
        }
    }

    #[test]
    fn requests_may_be_any_part_of_a_piece_but_no_more() {
        let layout = Layout::new(40_000, [100_001]).unwrap();
        assert!(layout.check_request(0, 1, 39_999).is_some());
        for (index, begin, length) in [(0, 1, 40_000), (0, 0, 0), (0, u32::MAX, 2), (2, 20_000, 2), (3, 0, 1)]
        {
            assert_eq!(layout.check_request(index, begin, length), None, "{index} {begin} {length}");
        }
    }

    #[test]
    fn spans_skip_empty_files_and_meet_at_borders() {
        let layout = Layout::new(10, [0, 4, 0, 0, 9, 1, 0]).unwrap();
        let spans = |range| layout.spans(range).map(|s| (s.file, s.offset, s.length)).collect::<Vec<_>>();
        assert_eq!(spans(0..14), [(1, 0, 4), (4, 0, 9), (5, 0, 1)]);
        assert_eq!(spans(4..5), [(4, 0, 1)]);
        assert_eq!(spans(3..13), [(1, 3, 1), (4, 0, 9)]);
        assert_eq!(spans(14..14), []);
        assert_eq!(layout.file_pieces(4), 0..2);
        assert_eq!(layout.file_pieces(5), 1..2);
        assert_eq!(layout.file_pieces(6), 0..0);
    }

    #[test]
    fn nothing_at_all_is_a_torrent_without_pieces() {
        let layout = Layout::new(16_384, [0, 0]).unwrap();
        assert_eq!((layout.piece_count(), layout.total(), layout.file_count()), (0, 0, 2));
        assert_eq!(layout.spans(0..0).count(), 0);
    }

    #[test]
    fn sizes_out_of_bounds_are_refused_without_overflow() {
        assert_eq!(Layout::new(0, [1]), Err(LayoutError::PieceLength(0)));
        assert_eq!(Layout::new(u64::MAX, [1]), Err(LayoutError::PieceLength(u64::MAX)));
        assert_eq!(Layout::new(16_384, [u64::MAX, u64::MAX]), Err(LayoutError::TooLong));
        assert!(matches!(Layout::new(1, [u64::from(MAX_PIECES) + 1]), Err(LayoutError::TooManyPieces(_))));
    }
}
