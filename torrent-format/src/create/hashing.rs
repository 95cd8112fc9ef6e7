//! The files of a [`Plan`] hashed, and what v2 makes of the hashes of their pieces.

use std::io;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::plan::Slot;
use super::{CreateError, Plan, PlannedFile};
use crate::PieceIndex;
use crate::merkle::{Hash, Tree};
use crate::metainfo::PieceHashes;
use crate::pieces::{Fault, Source, hash_pieces};

/// The hashes of all pieces, in order; none of a version that the torrent does not have.
pub(super) struct Hashes {
    pub(super) v1: Vec<[u8; 20]>,
    pub(super) v2: Vec<Hash>,
}

impl Hashes {
    /// Zeros, as many as the plan has pieces.
    pub(super) fn room_for(plan: &Plan) -> Self {
        let (version, pieces) = (plan.format().version(), plan.layout.piece_count() as usize);
        let count = |has: bool| if has { pieces } else { 0 };
        Self { v1: vec![[0; 20]; count(version.has_v1())], v2: vec![[0; 32]; count(version.has_v2())] }
    }

    fn put(&mut self, piece: PieceIndex, hashes: PieceHashes) {
        if let Some((room, hash)) = self.v1.get_mut(piece.as_usize()).zip(hashes.v1) {
            *room = hash;
        }
        if let Some((room, hash)) = self.v2.get_mut(piece.as_usize()).zip(hashes.v2) {
            *room = hash;
        }
    }
}

impl Plan {
    /// The hashes of every piece. Reads every byte, once.
    pub(super) fn hash_files(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<Hashes, CreateError> {
        let source = |slot: &Slot| match slot {
            Slot::File(file) if self.files[*file].link.is_none() => {
                Source::Disk(self.files[*file].source.clone())
            }
            _ => Source::Zeros,
        };
        let sources: Vec<_> = self.slots.iter().map(source).collect();
        let done = AtomicU64::new(0);
        let on_bytes = |bytes| progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
        let result = Mutex::new(Ok(Hashes::room_for(self)));
        let on_piece = |piece, hashes: Result<_, Fault>| {
            let Ok(mut result) = result.lock() else { return ControlFlow::Break(()) };
            match (&mut *result, hashes) {
                (Ok(all), Ok(hashes)) => {
                    all.put(piece, hashes);
                    return ControlFlow::Continue(());
                }
                (Ok(_), Err(fault)) => *result = Err(self.error_of(fault)),
                (Err(_), _) => {}
            }
            ControlFlow::Break(())
        };
        let (version, threads) = (self.format().version(), self.builder.threads);
        let pieces: Vec<PieceIndex> = self.layout.pieces().collect();
        hash_pieces(&self.layout, &pieces, &sources[..], version, threads, &on_bytes, &on_piece);
        let hashes = result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)?;
        // A file that grew, or was written to in place, hashed without an error.
        match self.files.iter().find(|file| file.has_changed()) {
            Some(file) => Err(CreateError::Changed { path: file.source.clone() }),
            None => Ok(hashes),
        }
    }

    /// The `pieces root` of each of [`Self::files`], from the v2 hashes of all pieces.
    pub(super) fn roots(&self, hashes: &[Hash]) -> Vec<Option<Hash>> {
        let root = |(number, file): (usize, &PlannedFile)| match self.hashes_of(number, hashes) {
            [] => None,
            [root] => Some(*root),
            layer => {
                let tree = Tree::new([0; 32], file.length, self.layout.piece_length());
                Some(tree.root_of_pieces(layer))
            }
        };
        self.numbered().map(root).collect()
    }

    /// The piece layers of the files that have any, with the files' numbers in the layout.
    pub(super) fn layers<'a>(&'a self, hashes: &'a [Hash]) -> impl Iterator<Item = (usize, &'a [Hash])> {
        self.numbered()
            .map(|(number, _)| (number, self.hashes_of(number, hashes)))
            .filter(|(_, layer)| layer.len() > 1)
    }

    fn hashes_of<'a>(&self, number: usize, hashes: &'a [Hash]) -> &'a [Hash] {
        let pieces = self.layout.file_pieces(number);
        hashes.get(pieces.start as usize..pieces.end as usize).unwrap_or_default()
    }

    fn error_of(&self, fault: Fault) -> CreateError {
        let path = match self.slots[fault.file] {
            Slot::File(file) => self.files[file].source.clone(),
            Slot::Pad { .. } => self.builder.path.clone(),
        };
        match fault.error.kind() {
            io::ErrorKind::UnexpectedEof => CreateError::Changed { path },
            _ => CreateError::Io { path, source: fault.error },
        }
    }
}
