//! Hybrid torrents whose piece layers were not known: what was checked by v1 alone is checked by v2 once that can be done.

use std::ops::ControlFlow;

use torrent_format::PieceIndex;

use super::check::{find_layers, hash_pieces, pieces_of};
use super::shared::Shared;
use super::{CheckProgress, StorageError};

impl Shared {
    /// See [`super::Storage::prove_blocking`].
    pub(super) fn prove(&self, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        // Whoever comes second waits for what the first finds.
        let _proving = self.proving.lock().unwrap();
        let (files, pieces) = self.provable();
        if files.is_empty() && pieces.is_empty() {
            return Ok(());
        }
        let mut progress =
            |_: CheckProgress| if go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        let mut proven = find_layers(&self.files, &self.info, &files, &mut progress)?;
        let right = hash_pieces(&self.files, &self.info, &pieces, &mut progress)?;
        proven.extend(pieces.iter().zip(right).filter(|(_, right)| *right).map(|(&piece, _)| piece));
        let mut half_proven = self.half_proven.lock().unwrap();
        for piece in proven {
            half_proven.clear(piece);
        }
        Ok(())
    }

    /// Files that are whole, and whose layers are not known; and pieces of other files, whose layers have become known.
    fn provable(&self) -> (Vec<usize>, Vec<PieceIndex>) {
        let half_proven = self.half_proven.lock().unwrap().clone();
        let (mut files, mut pieces) = (Vec::new(), Vec::new());
        if half_proven.is_none() {
            return (files, pieces);
        }
        for file in (0..self.info.layout().file_count()).filter(|&file| self.info.tree(file).is_some()) {
            let known = self.info.layer(file).is_some();
            let half = || pieces_of(&self.info, file).filter(|&piece| half_proven.has(piece));
            if known {
                pieces.extend(half());
            } else if half().next().is_some() && pieces_of(&self.info, file).all(|piece| self.has(piece)) {
                files.push(file);
            }
        }
        (files, pieces)
    }
}
