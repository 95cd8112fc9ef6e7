//! The hash trees of BEP 52. A file's leaves are the SHA-256 of its 16 KiB blocks (the last may be short); a node is the SHA-256 of
//! its two children; leaves beyond the file's end are 32 zero bytes. The root is the file's `pieces root`; the layer whose nodes
//! cover a piece each is its piece layer.

use sha2::{Digest as _, Sha256};

use crate::BLOCK_LENGTH;

/// A leaf or a node.
pub type Hash = [u8; 32];

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
    let mut nodes: Vec<Hash> = nodes.iter().copied().take(1 << height.min(40)).collect();
    let mut padding = pad(layer);
    if nodes.is_empty() {
        return (0..height).fold(padding, |below, _| parent(&below, &below));
    }
    for _ in 0..height {
        nodes = nodes.chunks(2).map(|pair| parent(&pair[0], pair.get(1).unwrap_or(&padding))).collect();
        padding = parent(&padding, &padding);
    }
    nodes[0]
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
