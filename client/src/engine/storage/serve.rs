//! Reading what was verified, for peers: never a byte that is not the torrent's.

use sha1::{Digest, Sha1};
use torrent_format::PieceIndex;

use super::StorageError;
use super::beneath::Stamp;
use super::files::{Place, mismatch};
use super::shared::Shared;
use crate::wire::BlockRequest;

/// Bytes read at once while a piece is hashed again.
const READ_SIZE: u32 = 256 * 1024;

impl Shared {
    /// Reads a part of a piece that is had.
    ///
    /// A whole file that looks different from when it was verified (perhaps it was only touched) is believed again piece by piece,
    /// once the piece that is asked for has been hashed again.
    pub(super) fn serve(&self, part: BlockRequest, out: &mut Vec<u8>) -> Result<(), StorageError> {
        let BlockRequest { index, begin, length } = part;
        out.clear();
        let layout = self.info.layout();
        let piece = layout.check_request(index, begin, length).filter(|&piece| self.has(piece));
        let Some(piece) = piece else {
            return Err(mismatch(
                "the piece asked for is not there",
                self.files.root().full(self.info.name().as_ref()),
            ));
        };
        out.resize(length as usize, 0);
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
        let size = self.info.layout().piece_size(piece);
        let mut hasher = Sha1::new();
        let mut seen: Vec<(usize, Stamp)> = Vec::new();
        let mut buffer = vec![0; READ_SIZE.min(size) as usize];
        for begin in (0..size).step_by(READ_SIZE as usize) {
            let chunk = &mut buffer[..READ_SIZE.min(size - begin) as usize];
            for (file, stamp) in self.read_even_if_changed(piece, begin, chunk)? {
                match seen.iter().find(|(known, _)| *known == file) {
                    None => seen.push((file, stamp)),
                    Some(&(_, before)) if before == stamp => {}
                    // It changes while we read.
                    Some(_) => return Err(self.changed(file)),
                }
            }
            hasher.update(chunk);
        }
        let digest: [u8; 20] = hasher.finalize().into();
        let mut rechecked = self.rechecked.lock().unwrap();
        if Some(&digest) == self.info.piece_hash(piece) {
            rechecked.insert(piece, seen);
            return Ok(());
        }
        rechecked.remove(&piece);
        // If nothing looks changed any more, it is the disk that is at fault.
        let file = seen.first().map(|&(file, _)| file);
        let file =
            file.or_else(|| self.spans(piece, 0..size).next().map(|span| span.file)).unwrap_or_default();
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

    fn changed(&self, file: usize) -> StorageError {
        mismatch("changed since it was verified", self.files.path(file, Place::Own))
    }
}
