//! The leaves of one piece, as they come.

use crate::merkle::{self, Hash, Tree};
use crate::{Layout, PieceIndex};

/// Leaves are joined when there are so many: what waits of a piece of 128 MiB is 4 KiB then, rather than 256.
const JOINED: usize = 1 << JOINED_HEIGHT;
const JOINED_HEIGHT: u32 = 6;

/// The leaves of one piece, from the first on.
#[derive(Default)]
pub(super) struct Leaves {
    /// Nodes over [`JOINED`] leaves each.
    nodes: Vec<Hash>,
    /// Those after them: fewer than that.
    rest: Vec<Hash>,
}

impl Leaves {
    /// Takes in those that follow.
    pub(super) fn extend(&mut self, leaves: &[Hash]) {
        for leaf in leaves {
            self.rest.push(*leaf);
            if self.rest.len() == JOINED {
                self.join();
            }
        }
    }

    /// The root over them in the tree of the file that this piece belongs to; `None` if it is no file's.
    pub(super) fn root(mut self, layout: &Layout, piece: PieceIndex) -> Option<Hash> {
        if self.nodes.is_empty() && self.rest.is_empty() {
            return None;
        }
        let file = layout.file_range(layout.file_of(piece)?);
        let tree = Tree::new([0; 32], file.end - file.start, layout.piece_length());
        if self.nodes.is_empty() {
            return Some(tree.root_of_leaves(&self.rest));
        }
        if !self.rest.is_empty() {
            self.join();
        }
        let height = tree.height().min(tree.piece_layer());
        Some(merkle::root(&self.nodes, JOINED_HEIGHT, height.saturating_sub(JOINED_HEIGHT)))
    }

    fn join(&mut self) {
        self.nodes.push(merkle::root(&self.rest, 0, JOINED_HEIGHT));
        self.rest.clear();
    }
}
