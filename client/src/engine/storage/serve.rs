//! Reading what was verified, for peers: never a byte that is not the torrent's.

use torrent_format::layout::MAX_PIECE_LENGTH;
use torrent_format::merkle::Hash;
use torrent_format::metainfo::PieceCheck;
use torrent_format::{BLOCK_LENGTH, PieceIndex};

use super::StorageError;
use super::beneath::Stamp;
use super::files::{Place, mismatch};
use super::hashing::{READ_SIZE, hash_piece};
use super::shared::Shared;
use crate::wire::BlockRequest;
use torrent_format::hash::leaf_hashes;

/// Leaves that are hashed for one request: those of the longest piece. Peers ask for 512 at most, the core for whole pieces.
const MAX_LEAVES: u32 = MAX_PIECE_LENGTH / BLOCK_LENGTH;

impl Shared {
    /// Reads a part of a piece that is had.
    ///
    /// A whole file that looks different from when it was verified (perhaps it was only touched) is believed again piece by piece,
    /// once the piece that is asked for has been hashed again.
    pub(super) fn serve(&self, part: BlockRequest, out: &mut Vec<u8>) -> Result<(), StorageError> {
        let BlockRequest { index, begin, length } = part;
        out.clear();
        let piece = self.info.layout().check_request(index, begin, length).ok_or_else(|| self.not_there())?;
        out.resize(length as usize, 0);
        // What lies in the gap behind a piece stays zeros.
        let inside = length.min(self.info.layout().piece_size(piece).saturating_sub(begin));
        self.serve_part(piece, begin, &mut out[..inside as usize])
    }

    /// The same if the kernel has all of it in memory and its files are as they were verified; else false. Never blocks.
    pub(super) fn serve_at_hand(&self, part: BlockRequest, out: &mut Vec<u8>) -> bool {
        let BlockRequest { index, begin, length } = part;
        let Some(piece) = self.info.layout().check_request(index, begin, length) else { return false };
        let end = self.info.layout().piece_size(piece).min(begin.saturating_add(length));
        if begin >= end || !self.has(piece) {
            return false;
        }
        out.clear();
        out.resize(length as usize, 0);
        let mut rest = &mut out[..];
        self.spans(piece, begin..end).all(|span| {
            let (here, after) = std::mem::take(&mut rest).split_at_mut(span.length as usize);
            rest = after;
            self.files.read_at_hand(span, here)
        })
    }

    /// The leaves of `count` blocks of a file (BEP 52), whose pieces are had; see [`super::Storage::leaves_blocking`].
    pub(super) fn leaves(&self, file: usize, first: u64, count: u32) -> Result<Vec<Hash>, StorageError> {
        let layout = self.info.layout();
        let (length, piece_length) = (self.files.length(file), u64::from(layout.piece_length()));
        if self.info.tree(file).is_none() || count > MAX_LEAVES {
            return Err(self.not_there());
        }
        let count = count as usize;
        let mut leaves = Vec::with_capacity(count);
        let mut buffer = Vec::new();
        let mut at = first.saturating_mul(u64::from(BLOCK_LENGTH));
        while leaves.len() < count && at < length {
            let number = layout.file_pieces(file).start + (at / piece_length) as u32;
            let piece = layout.piece(number).ok_or_else(|| self.not_there())?;
            let begin = (at % piece_length) as u32;
            let wanted = READ_SIZE.min((count - leaves.len()) as u32 * BLOCK_LENGTH);
            buffer.resize(wanted.min(layout.piece_payload(piece) - begin) as usize, 0);
            self.serve_part(piece, begin, &mut buffer)?;
            leaf_hashes(&buffer, &mut leaves);
            at += buffer.len() as u64;
        }
        leaves.resize(count, [0; 32]);
        Ok(leaves)
    }

    fn serve_part(&self, piece: PieceIndex, begin: u32, out: &mut [u8]) -> Result<(), StorageError> {
        if !self.has(piece) {
            return Err(self.not_there());
        }
        if out.is_empty() {
            return Ok(());
        }
        let changed = self.read_even_if_changed(piece, begin, out)?;
        if changed.is_empty() || self.is_rechecked(piece, &changed) {
            return Ok(());
        }
        self.recheck(piece)?;
        // Again: what was read first may be what was there before it was put right.
        let changed = self.read_even_if_changed(piece, begin, out)?;
        match changed.iter().find(|it| !self.is_rechecked(piece, &[**it])) {
            None => Ok(()),
            Some(&(file, _)) => Err(self.changed(file)),
        }
    }

    /// Hashes a piece of files that have changed; if it is right, it may be served as long as they stay as they are.
    fn recheck(&self, piece: PieceIndex) -> Result<(), StorageError> {
        let mut seen: Vec<(usize, Stamp)> = Vec::new();
        let hashes = hash_piece(&self.info, piece, |begin, out| {
            for (file, stamp) in self.read_even_if_changed(piece, begin, out)? {
                match seen.iter().find(|(known, _)| *known == file) {
                    None => seen.push((file, stamp)),
                    Some(&(_, before)) if before == stamp => {}
                    // It changes while we read.
                    Some(_) => return Err(self.changed(file)),
                }
            }
            Ok(())
        })?;
        let mut rechecked = self.rechecked.lock().unwrap();
        match self.info.check_piece(piece, &hashes) {
            PieceCheck::Good => {
                rechecked.insert(piece, seen);
                return Ok(());
            }
            PieceCheck::Conflict => return Err(self.conflict(piece)),
            PieceCheck::Bad | PieceCheck::Unknown => {}
        }
        rechecked.remove(&piece);
        // If nothing looks changed any more, it is the disk that is at fault.
        let file = seen.first().map(|&(file, _)| file);
        let file = file.or_else(|| self.info.layout().file_of(piece)).unwrap_or_default();
        Err(self.changed(file))
    }

    fn is_rechecked(&self, piece: PieceIndex, changed: &[(usize, Stamp)]) -> bool {
        let rechecked = self.rechecked.lock().unwrap();
        rechecked.get(&piece).is_some_and(|known| changed.iter().all(|it| known.contains(it)))
    }

    /// Fills `out` from a piece; returns the whole files that look different from when they were verified.
    fn read_even_if_changed(
        &self,
        piece: PieceIndex,
        begin: u32,
        out: &mut [u8],
    ) -> Result<Vec<(usize, Stamp)>, StorageError> {
        let mut changed = Vec::new();
        let mut rest = &mut *out;
        let end = begin + rest.len() as u32;
        for span in self.spans(piece, begin..end) {
            let (here, after) = rest.split_at_mut(span.length as usize);
            if let Some(stamp) = self.files.read_even_if_changed(span, here)? {
                changed.push((span.file, stamp));
            }
            rest = after;
        }
        Ok(changed)
    }

    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        self.ledger.lock().unwrap().have().has(piece)
    }

    fn not_there(&self) -> StorageError {
        mismatch("the piece asked for is not there", self.files.root().full(self.info.name().as_ref()))
    }

    fn changed(&self, file: usize) -> StorageError {
        mismatch("changed since it was verified", self.files.path(file, Place::Own))
    }
}
