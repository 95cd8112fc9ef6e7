//! The hash trees of BEP 52. A file's leaves are the SHA-256 of its 16 KiB blocks (the last may be short); a node is the SHA-256 of
//! its two children; leaves beyond the file's end are 32 zero bytes. The root is the file's `pieces root`; the layer whose nodes
//! cover a piece each is its piece layer.
//!
//! [`Tree`] is the shape of one file's tree, and knows what a hash request may ask ([`Tree::check_range`]), what answers it
//! ([`Tree::answer`]) and whether an answer is right ([`Tree::check`]).

use sha2::{Digest as _, Sha256};

use crate::BLOCK_LENGTH;
use crate::hash::parent_hashes;

mod range;

pub use range::{HashRange, MAX_HASHES, WrongHashes};

/// A leaf or a node.
pub type Hash = [u8; 32];

/// How many layers above the piece layer nodes are kept: one for 512 pieces, so that a proof from the longest piece layer (2^21
/// pieces) costs a few thousand hashes and not millions.
const KEPT_ABOVE: u32 = 9;

/// The shape of one file's tree. Layer 0 is the leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tree {
    /// `pieces root`
    pub root: Hash,
    /// How many leaves stand for bytes of the file; at least one.
    leaves: u64,
    /// The layer whose nodes cover a piece each.
    piece_layer: u32,
}

/// The piece layer of a file: only [`Tree::piece_layer_of`] makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct PieceLayer {
    /// Invariant: it hashes to the root of its tree.
    pieces: Vec<Hash>,
    /// The nodes [`KEPT_ABOVE`] it; none if the root is no higher than that.
    above: Vec<Hash>,
}

impl Tree {
    /// The tree of a file of this length, in bytes, that is not 0. `piece_length` is a power of two and at least 16 KiB.
    pub fn new(root: Hash, length: u64, piece_length: u32) -> Self {
        let leaves = length.div_ceil(u64::from(BLOCK_LENGTH)).max(1);
        Self { root, leaves, piece_layer: (piece_length / BLOCK_LENGTH).max(1).ilog2() }
    }

    /// How many leaves stand for bytes of the file.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The layer of the root.
    pub fn height(&self) -> u32 {
        self.leaves.next_power_of_two().ilog2()
    }

    /// The layer whose nodes cover a piece each. Above the root if the file is shorter than a piece.
    pub fn piece_layer(&self) -> u32 {
        self.piece_layer
    }

    /// Whether the file is longer than a piece, so that its piece layer says more than its root.
    pub fn has_piece_layer(&self) -> bool {
        self.height() > self.piece_layer
    }

    /// How many nodes of a layer stand for bytes of the file.
    pub fn layer_length(&self, layer: u32) -> u64 {
        self.leaves.div_ceil(1 << layer.min(63))
    }

    /// The root over this piece layer.
    pub fn root_of_pieces(&self, pieces: &[Hash]) -> Hash {
        root(pieces, self.piece_layer, self.height().saturating_sub(self.piece_layer))
    }

    /// The root over these leaves of one piece: the node of the piece layer, or the file's root if the file is no longer than a piece.
    pub fn root_of_leaves(&self, leaves: &[Hash]) -> Hash {
        root(leaves, 0, self.piece_layer.min(self.height()))
    }

    /// These hashes as the piece layer of this tree, if they are it.
    pub fn piece_layer_of(&self, pieces: Vec<Hash>) -> Option<PieceLayer> {
        if !self.has_piece_layer() || pieces.len() as u64 != self.layer_length(self.piece_layer) {
            return None;
        }
        let height = self.height() - self.piece_layer;
        let (above, found) = match height.checked_sub(KEPT_ABOVE) {
            None | Some(0) => (Vec::new(), root(&pieces, self.piece_layer, height)),
            Some(rest) => {
                let chunks = pieces.chunks(1 << KEPT_ABOVE);
                let above: Vec<Hash> =
                    chunks.map(|chunk| root(chunk, self.piece_layer, KEPT_ABOVE)).collect();
                let found = root(&above, self.piece_layer + KEPT_ABOVE, rest);
                (above, found)
            }
        };
        (found == self.root).then_some(PieceLayer { pieces, above })
    }
}

impl PieceLayer {
    /// The hashes, one a piece of the file.
    pub fn pieces(&self) -> &[Hash] {
        &self.pieces
    }

    /// A node of `tree`, whose piece layer this is, at that layer or above. It stands for bytes of the file.
    fn node(&self, tree: &Tree, layer: u32, index: u64) -> Hash {
        let up = layer - tree.piece_layer;
        match up.checked_sub(KEPT_ABOVE) {
            Some(up) if !self.above.is_empty() => {
                root(under(&self.above, index, up), tree.piece_layer + KEPT_ABOVE, up)
            }
            _ => root(under(&self.pieces, index, up), tree.piece_layer, up),
        }
    }
}

impl std::fmt::Debug for PieceLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PieceLayer({} pieces)", self.pieces.len())
    }
}

/// The part of a layer that lies under node `index` of the layer `up` above it; short or empty at the end.
fn under(nodes: &[Hash], index: u64, up: u32) -> &[Hash] {
    let end = nodes.len() as u64;
    let at = |index: u64| (u128::from(index) << up).min(end.into()) as usize;
    &nodes[at(index)..at(index + 1)]
}

/// The node that stands for nothing but leaves beyond the file's end.
pub fn pad(layer: u32) -> Hash {
    (0..layer).fold([0; 32], |below, _| parent(&below, &below))
}

/// The node over two others.
pub fn parent(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// The root of a subtree whose nodes at `layer` are these, filled up with padding to `2^height` of them. More nodes than that are
/// the caller's mistake; what is too much is ignored.
pub fn root(nodes: &[Hash], layer: u32, height: u32) -> Hash {
    let mut nodes = nodes[..nodes.len().min(1 << height.min(40))].to_vec();
    let mut padding = pad(layer);
    for _ in 0..height {
        if !nodes.len().is_multiple_of(2) {
            nodes.push(padding);
        }
        let mut parents = Vec::with_capacity(nodes.len() / 2);
        parent_hashes(&nodes, &mut parents);
        nodes = parents;
        padding = parent(&padding, &padding);
    }
    nodes.first().copied().unwrap_or(padding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_as_high_as_its_leaves_need() {
        const B: u64 = BLOCK_LENGTH as u64;
        for (length, leaves, height, pieces) in [
            (1, 1, 0, false),
            (B, 1, 0, false),
            (B + 1, 2, 1, false),
            (4 * B, 4, 2, false),
            (4 * B + 1, 5, 3, true),
        ] {
            let tree = Tree::new([0; 32], length, 4 * BLOCK_LENGTH);
            assert_eq!(
                (tree.leaves(), tree.height(), tree.has_piece_layer()),
                (leaves, height, pieces),
                "{length}"
            );
        }
    }

    #[test]
    fn missing_leaves_are_zeros_and_a_layer_gives_the_same_root() {
        let leaves: Vec<Hash> = (1..=5).map(|n| [n; 32]).collect();
        let tree = Tree::new([0; 32], 5 * u64::from(BLOCK_LENGTH), 2 * BLOCK_LENGTH);
        let pieces: Vec<Hash> = leaves.chunks(2).map(|piece| tree.root_of_leaves(piece)).collect();
        assert_eq!(pieces[2], parent(&[5; 32], &[0; 32]));
        let mut all = leaves.clone();
        all.resize(8, [0; 32]);
        assert_eq!(tree.root_of_pieces(&pieces), root(&all, 0, 3));
        assert_eq!(root(&leaves, 0, 3), root(&all, 0, 3));
        assert_eq!(root(&[], 0, 2), pad(2));
    }
}
