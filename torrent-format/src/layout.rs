//! All arithmetic of pieces, blocks and files, in one value: [`Layout`].
//!
//! A v1 torrent's payload is its files laid end to end, cut into pieces of one length (the last may be shorter), each piece into
//! blocks of 16 KiB (the last may be shorter). In a v2 torrent (BEP 52) every file begins a piece, and the last piece of each file
//! may be shorter: between them lie gaps that are nobody's. In a hybrid pad files fill those gaps: a piece that ends in padding has
//! its full size for v1 hashes, but blocks that hold nothing else are never asked for. What a peer says about pieces and blocks is checked here once and becomes
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
///
/// Offsets are in piece space: piece `i` begins at `i * piece_length`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    piece_length: u32,
    piece_count: u32,
    /// `files[i]` is where file `i` lies in piece space: ascending, disjoint. Without gaps but in a v2 torrent, where each file that is
    /// not empty begins a piece.
    files: Vec<Range<u64>>,
    /// Pieces that end in padding, ascending, and how many bytes of it. A piece that is nothing but padding is not among them.
    tails: Vec<(u32, u32)>,
    alignment: Alignment,
    /// No piece holds bytes of two files.
    aligned: bool,
    total: u64,
}

/// How files follow each other in piece space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alignment {
    /// End to end (BEP 3). Pad files, if there are any, are files.
    EndToEnd,
    /// Each at the start of a piece (BEP 52).
    Pieces,
}

impl Layout {
    /// Lays out files of these lengths end to end, in this order, none of them a pad file.
    ///
    /// # Errors
    /// If a size is out of bounds, or there are too many pieces.
    pub fn new(piece_length: u64, file_lengths: impl IntoIterator<Item = u64>) -> Result<Self, LayoutError> {
        let files = file_lengths.into_iter().map(|length| (length, false));
        Self::of_files(piece_length, Alignment::EndToEnd, files)
    }

    /// Lays out files in this order: the length of each, and whether it is a pad file (BEP 47).
    ///
    /// # Errors
    /// If a size is out of bounds, or there are too many pieces.
    pub fn of_files(
        piece_length: u64,
        alignment: Alignment,
        files: impl IntoIterator<Item = (u64, bool)>,
    ) -> Result<Self, LayoutError> {
        if piece_length == 0 || piece_length > u64::from(MAX_PIECE_LENGTH) {
            return Err(LayoutError::PieceLength(piece_length));
        }
        let mut ranges = Vec::new();
        let mut padding = Padding::default();
        let (mut end, mut gaps) = (0_u64, 0_u64);
        for (length, pad) in files {
            let start = match alignment {
                Alignment::Pieces if length > 0 => end.next_multiple_of(piece_length),
                _ => end,
            };
            gaps += start - end;
            end = start.checked_add(length).filter(|&end| end <= MAX_TOTAL).ok_or(LayoutError::TooLong)?;
            padding.add(start..end, pad);
            ranges.push(start..end);
        }
        let pieces = end.div_ceil(piece_length);
        let piece_count = u32::try_from(pieces)
            .ok()
            .filter(|&count| count <= MAX_PIECES)
            .ok_or(LayoutError::TooManyPieces(pieces))?;
        let tails = padding.tails(piece_length, end);
        let padded: u64 = tails.iter().map(|&(_, bytes)| u64::from(bytes)).sum();
        let piece_length = piece_length as u32;
        let aligned = alignment == Alignment::Pieces || is_aligned(piece_length, &ranges, &padding.ranges);
        let total = end - gaps - padded;
        Ok(Self { piece_length, piece_count, files: ranges, tails, alignment, aligned, total })
    }

    /// Length of every piece but perhaps the last, in bytes.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// How many pieces there are. 0 if every file is empty.
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// Length of the payload, in bytes, without the padding that ends pieces: the sum of every piece's [`Self::piece_payload`].
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Where piece space ends, in bytes; the last file ends there.
    pub fn end(&self) -> u64 {
        self.files.last().map_or(0, |file| file.end)
    }

    /// How many files there are, those of length 0 and pad files included.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Whether no piece holds bytes of two files, but for padding: so in every v2 and hybrid torrent.
    pub fn is_aligned(&self) -> bool {
        self.aligned
    }

    /// All pieces in order.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.piece_count).map(PieceIndex)
    }

    /// The piece of this number, if there is one.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.piece_count).then_some(PieceIndex(index))
    }

    /// Length of this piece, in bytes: what its v1 hash covers, and what may be asked of it. Padding included; in a v2 torrent a
    /// piece ends with its file.
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        let range = self.piece_range(piece);
        (range.end - range.start) as u32
    }

    /// Bytes of this piece that are no padding at its end.
    pub fn piece_payload(&self, piece: PieceIndex) -> u32 {
        self.piece_size(piece) - self.piece_padding(piece)
    }

    /// Bytes of padding at the end of this piece. 0 also for a piece that is nothing else.
    fn piece_padding(&self, piece: PieceIndex) -> u32 {
        self.tails.binary_search_by_key(&piece.0, |&(piece, _)| piece).map_or(0, |at| self.tails[at].1)
    }

    /// Where this piece lies in piece space.
    pub fn piece_range(&self, piece: PieceIndex) -> Range<u64> {
        let start = u64::from(piece.0) * u64::from(self.piece_length);
        let end = start + u64::from(self.piece_length);
        // The last file that begins before the piece ends: its end is the piece's, if nothing else reaches further.
        let files = self.files.partition_point(|file| file.start < end);
        start..self.files[..files].last().map_or(start, |file| file.end.min(end))
    }

    /// How many blocks of this piece are fetched: those that hold anything but padding at its end. Together they may be shorter than the
    /// piece; what is missing is zeros.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_payload(piece).div_ceil(BLOCK_LENGTH)
    }

    /// Block `number` of this piece.
    ///
    /// # Panics
    /// If the piece has no such block.
    pub fn block(&self, piece: PieceIndex, number: u32) -> Block {
        let begin = number * BLOCK_LENGTH;
        let size = self.piece_size(piece);
        assert!(number < self.block_count(piece), "piece {} has no block {number}", piece.0);
        Block { piece, begin, length: (size - begin).min(BLOCK_LENGTH) }
    }

    /// The blocks of this piece in order.
    pub fn blocks(&self, piece: PieceIndex) -> impl Iterator<Item = Block> + '_ {
        (0..self.block_count(piece)).map(move |number| self.block(piece, number))
    }

    /// The block that these three numbers from the wire name, if they name exactly one of ours.
    pub fn check_block(&self, index: u32, begin: u32, length: u32) -> Option<Block> {
        let piece = self.piece(index)?;
        if !begin.is_multiple_of(BLOCK_LENGTH) || begin / BLOCK_LENGTH >= self.block_count(piece) {
            return None;
        }
        Some(self.block(piece, begin / BLOCK_LENGTH)).filter(|block| block.length == length)
    }

    /// The piece that these three numbers from the wire ask a part of, if the part lies within the piece. Others may ask for
    /// parts that are not our blocks. In a v2 torrent the part may reach into the gap behind the piece, which is zeros: libtorrent asks
    /// for blocks of full length there.
    pub fn check_request(&self, index: u32, begin: u32, length: u32) -> Option<PieceIndex> {
        let piece = self.piece(index)?;
        let end = begin.checked_add(length)?;
        let limit = match self.alignment {
            Alignment::EndToEnd => self.piece_size(piece),
            Alignment::Pieces => self.piece_length,
        };
        (length > 0 && end <= limit).then_some(piece)
    }

    /// Where file `file` lies in piece space.
    pub fn file_range(&self, file: usize) -> Range<u64> {
        self.files[file].clone()
    }

    /// The file that holds the first byte of this piece.
    pub fn file_of(&self, piece: PieceIndex) -> Option<usize> {
        let start = u64::from(piece.0) * u64::from(self.piece_length);
        let after = self.files.partition_point(|file| file.end <= start);
        self.files.get(after).filter(|file| file.start <= start).map(|_| after)
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

    /// Cuts a range of piece space at file borders. Files of length 0 and gaps do not appear.
    ///
    /// # Panics
    /// If the range leaves piece space.
    pub fn spans(&self, range: Range<u64>) -> impl Iterator<Item = FileSpan> + '_ {
        assert!(range.end <= self.end(), "the range leaves the payload");
        let mut file = self.files.partition_point(|file| file.end <= range.start);
        let mut position = range.start;
        std::iter::from_fn(move || {
            while position < range.end {
                let here = self.files.get(file)?;
                position = position.max(here.start);
                if position < here.end.min(range.end) {
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

/// Collects where pad files lie.
#[derive(Default)]
struct Padding {
    /// Ascending, and apart from each other.
    ranges: Vec<Range<u64>>,
}

impl Padding {
    fn add(&mut self, range: Range<u64>, pad: bool) {
        if !pad || range.is_empty() {
            return;
        }
        match self.ranges.last_mut().filter(|last| last.end == range.start) {
            Some(last) => last.end = range.end,
            None => self.ranges.push(range),
        }
    }

    /// A piece ends in padding if a range that begins within it reaches its end.
    fn tails(&self, piece_length: u64, end: u64) -> Vec<(u32, u32)> {
        let tail = |range: &Range<u64>| {
            let piece_end = (range.start.next_multiple_of(piece_length)).min(end);
            let inside = !range.start.is_multiple_of(piece_length) && range.end >= piece_end;
            inside.then(|| ((range.start / piece_length) as u32, (piece_end - range.start) as u32))
        };
        self.ranges.iter().filter_map(tail).collect()
    }
}

/// Whether every file that is neither empty nor padding begins a piece.
fn is_aligned(piece_length: u32, files: &[Range<u64>], padding: &[Range<u64>]) -> bool {
    let is_pad = |file: &Range<u64>| {
        let after = padding.partition_point(|pad| pad.end <= file.start);
        padding.get(after).is_some_and(|pad| pad.start <= file.start)
    };
    files
        .iter()
        .filter(|file| !file.is_empty() && !file.start.is_multiple_of(u64::from(piece_length)))
        .all(is_pad)
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
    fn in_a_v2_torrent_every_file_begins_a_piece_and_ends_its_last() {
        let layout =
            Layout::of_files(40_000, Alignment::Pieces, [(50_000, false), (0, false), (1, false)]).unwrap();
        assert_eq!((layout.piece_count(), layout.total(), layout.end()), (3, 50_001, 80_001));
        let pieces: Vec<_> = layout
            .pieces()
            .map(|piece| (layout.piece_size(piece), layout.block_count(piece), layout.file_of(piece)))
            .collect();
        assert_eq!(pieces, [(40_000, 3, Some(0)), (10_000, 1, Some(0)), (1, 1, Some(2))]);
        let spans: Vec<_> = layout.spans(0..80_001).map(|s| (s.file, s.offset, s.length)).collect();
        assert_eq!(spans, [(0, 0, 50_000), (2, 0, 1)]);
        assert_eq!(layout.file_pieces(2), 2..3);
        assert!(layout.check_block(1, 0, 10_000).is_some() && layout.check_block(1, 0, 16_384).is_none());
        assert!(layout.check_request(1, 0, 16_384).is_some(), "zeros follow, and somebody may ask for them");
        assert!(layout.check_request(1, 0, 40_001).is_none() && layout.check_request(2, 39_999, 1).is_some());
        assert!(layout.is_aligned());
    }

    #[test]
    fn blocks_of_nothing_but_padding_are_not_fetched() {
        let files = [(20_000, false), (20_000, true), (40_000, false), (5, false), (39_995, true)];
        let layout = Layout::of_files(40_000, Alignment::EndToEnd, files).unwrap();
        assert_eq!((layout.piece_count(), layout.total(), layout.end()), (3, 60_005, 120_000));
        let pieces: Vec<_> = layout
            .pieces()
            .map(|piece| {
                let blocks: Vec<_> = layout.blocks(piece).map(|block| block.length).collect();
                (layout.piece_size(piece), layout.piece_payload(piece), blocks)
            })
            .collect();
        assert_eq!(pieces[0], (40_000, 20_000, vec![16_384, 16_384]));
        assert_eq!(pieces[1], (40_000, 40_000, vec![16_384, 16_384, 7_232]));
        assert_eq!(pieces[2], (40_000, 5, vec![16_384]));
        assert!(layout.is_aligned());
        assert_eq!(layout.check_block(0, 32_768, 7_232), None);
        assert!(layout.check_request(0, 32_768, 7_232).is_some(), "others may ask");
    }

    #[test]
    fn a_piece_of_nothing_but_padding_is_fetched_like_any_other() {
        let layout = Layout::of_files(10, Alignment::EndToEnd, [(5, false), (20, true), (5, false)]).unwrap();
        let payloads: Vec<_> = layout.pieces().map(|piece| layout.piece_payload(piece)).collect();
        assert_eq!((payloads, layout.total()), (vec![5, 10, 10], 25));
        assert!(!layout.is_aligned());
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
