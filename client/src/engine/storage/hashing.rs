//! The hashes of a piece, v1 and v2 from the same bytes: of blocks as they come ([`PieceHasher`]), or read in order ([`hash_piece`]).

use torrent_format::hash::{Sha1State, leaf_hashes, sha256_each, update_each, zeros_each};
use torrent_format::merkle::Hash;
use torrent_format::metainfo::PieceHashes;
use torrent_format::{BLOCK_LENGTH, Info, PieceIndex};

/// Bytes read at once while a piece is hashed: large enough for a disk to stream, small enough to be hashed out of the cache.
pub(super) const READ_SIZE: u32 = 16 * BLOCK_LENGTH;

/// How far the hashes of a piece have come whose blocks arrive one by one.
#[derive(Debug)]
pub(super) struct PieceHasher {
    /// Of the blocks so far, which came in order. `None`: the torrent has no v1 hashes.
    v1: Option<Sha1State>,
    /// One a block, of the file's bytes in it. Empty: no v2 hash of the piece is known, or needed.
    leaves: Vec<Option<Hash>>,
    /// Bytes of the piece that are no padding at its end.
    payload: u32,
    /// Bytes of padding behind the last block, which are not fetched.
    zeros: u32,
}

impl PieceHasher {
    pub(super) fn new(info: &Info, piece: PieceIndex) -> Self {
        let layout = info.layout();
        let (blocks, size, payload) =
            (layout.block_count(piece), layout.piece_size(piece), layout.piece_payload(piece));
        let leaves = if needs_leaves(info, piece) { vec![None; blocks as usize] } else { Vec::new() };
        let v1 = info.version().has_v1().then(Sha1State::new);
        Self { v1, leaves, payload, zeros: size.saturating_sub(blocks * BLOCK_LENGTH) }
    }

    /// Whether blocks have to come in order.
    pub(super) fn in_order(&self) -> bool {
        self.v1.is_some()
    }

    /// Takes on these blocks, by their numbers. [`Self::in_order`]: they follow what was hashed before.
    #[cfg(test)]
    pub(super) fn update(&mut self, blocks: &[(u32, &[u8])]) {
        Self::update_each(vec![(self, blocks)]);
    }

    /// Takes on blocks of several pieces, by their numbers, side by side. [`Self::in_order`]: they follow what was hashed before.
    pub(super) fn update_each<B: AsRef<[u8]>>(mut pieces: Vec<(&mut Self, &[(u32, B)])>) {
        let most = pieces.iter().map(|(_, blocks)| blocks.len()).max().unwrap_or(0);
        for turn in 0..most {
            let (mut states, mut parts) =
                (Vec::with_capacity(pieces.len()), Vec::with_capacity(pieces.len()));
            for (hasher, blocks) in &mut pieces {
                if let (Some(v1), Some((_, bytes))) = (&mut hasher.v1, blocks.get(turn)) {
                    states.push(std::mem::take(v1));
                    parts.push(bytes.as_ref());
                }
            }
            update_each(&mut states, &parts);
            let mut states = states.into_iter();
            for (hasher, _) in pieces.iter_mut().filter(|(_, blocks)| turn < blocks.len()) {
                if let Some(v1) = &mut hasher.v1 {
                    *v1 = states.next().expect("as many as were taken");
                }
            }
        }
        let (mut at, mut parts) = (Vec::new(), Vec::new());
        for (index, (hasher, blocks)) in pieces.iter().enumerate() {
            for (number, bytes) in *blocks {
                let (number, bytes) = (*number, bytes.as_ref());
                if hasher.leaves.get(number as usize) == Some(&None) {
                    at.push((index, number as usize));
                    parts.push(&bytes[..bytes.len().min(hasher.payload_from(number))]);
                }
            }
        }
        let mut leaves = Vec::with_capacity(parts.len());
        sha256_each(&parts, &mut leaves);
        for ((index, number), leaf) in at.into_iter().zip(leaves) {
            pieces[index].0.leaves[number] = Some(leaf);
        }
    }

    /// Bytes of the piece from this block on that are no padding.
    fn payload_from(&self, number: u32) -> usize {
        self.payload.saturating_sub(number * BLOCK_LENGTH) as usize
    }

    /// Forgets blocks that are thrown away. v1 begins anew, and v2 with it: a block may be read back for it that was in memory before, and
    /// if the disk gives other bytes, both must be of those.
    pub(super) fn forget(&mut self, numbers: &[u32]) {
        if let Some(v1) = &mut self.v1 {
            *v1 = Sha1State::new();
            self.leaves.fill(None);
        }
        for &number in numbers {
            if let Some(leaf) = self.leaves.get_mut(number as usize) {
                *leaf = None;
            }
        }
    }

    /// The leaf of every block; empty if they were not needed.
    pub(super) fn leaves(&self) -> Vec<Hash> {
        self.leaves.iter().copied().flatten().collect()
    }

    /// The hashes of the piece, all of whose blocks were taken on.
    pub(super) fn hashes(&self, info: &Info, piece: PieceIndex) -> PieceHashes {
        let v1 = self.v1.clone().map(|v1| with_zeros(v1, self.zeros));
        PieceHashes { v1, v2: root(info, piece, &self.leaves()) }
    }
}

/// The hashes of a piece that is read in order: `read` fills its second argument with the bytes from its first on.
pub(super) fn hash_piece<E>(
    info: &Info,
    piece: PieceIndex,
    mut read: impl FnMut(u32, &mut [u8]) -> Result<(), E>,
) -> Result<PieceHashes, E> {
    let (size, payload) = (info.layout().piece_size(piece), info.layout().piece_payload(piece));
    let mut v1 = info.version().has_v1().then(Sha1State::new);
    let needs_leaves = needs_leaves(info, piece);
    let mut leaves = Vec::new();
    let mut buffer = vec![0; READ_SIZE.min(payload) as usize];
    for begin in (0..payload).step_by(READ_SIZE as usize) {
        let chunk = &mut buffer[..READ_SIZE.min(payload - begin) as usize];
        read(begin, chunk)?;
        if let Some(v1) = &mut v1 {
            v1.update(chunk);
        }
        if needs_leaves {
            leaf_hashes(chunk, &mut leaves);
        }
    }
    let v1 = v1.map(|v1| with_zeros(v1, size - payload));
    Ok(PieceHashes { v1, v2: root(info, piece, &leaves) })
}

/// A v1 hash alone will do for a piece whose v2 hash is not known.
fn needs_leaves(info: &Info, piece: PieceIndex) -> bool {
    info.piece_root(piece).is_some() || !info.version().has_v1()
}

fn root(info: &Info, piece: PieceIndex, leaves: &[Hash]) -> Option<Hash> {
    let tree = info.file_piece(piece).and_then(|(file, _)| info.tree(file))?;
    (!leaves.is_empty()).then(|| tree.root_of_leaves(leaves))
}

fn with_zeros(mut v1: Sha1State, zeros: u32) -> [u8; 20] {
    zeros_each(std::slice::from_mut(&mut v1), &[zeros.into()]);
    v1.finish()
}
