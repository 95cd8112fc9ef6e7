//! Hash requests and their answers (BEP 52, "hash request", "hashes"): which nodes, and the proof that they belong to the tree.
//!
//! An answer holds `length` nodes of the base layer, then the uncle hashes from the bottom up. Where the nodes of the base layer are
//! enough to compute a layer, its uncle is left out: of `proof_layers` layers the first `log2(length) - 1` have none.

use std::ops::Range;

use super::{Hash, PieceLayer, Tree, pad, parent, root};

/// The most hashes of the base layer that one request may ask for (BEP 52: "SHOULD NOT be greater than 512").
pub const MAX_HASHES: u32 = 512;

/// What a hash request asks for, without saying of which file. It is known to lie inside the file's tree: only [`Tree`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HashRange {
    /// The layer of the nodes: 0 for leaves, or the piece layer.
    pub base_layer: u32,
    /// The first node.
    pub index: u32,
    /// How many nodes; those beyond the file's end are padding.
    pub length: u32,
    /// How many layers above the base layer are to be proven.
    pub proof_layers: u32,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WrongHashes {
    /// Too few or too many hashes.
    #[error("{found} hashes, where {expected} were asked for")]
    Count {
        /// [`HashRange::count`]
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A node that stands for nothing but leaves beyond the file's end is another than it must be.
    #[error("a hash beyond the file's end is not that of padding")]
    Padding,
    /// They don't lead to the node that is known.
    #[error("the hashes do not belong to the file")]
    Proof,
    /// They lead to a node that is not known here. Nobody's fault but the asker's.
    #[error("the hashes lead to a node that is not known")]
    Unprovable,
}

impl HashRange {
    /// How many hashes the proof holds.
    pub fn uncles(&self) -> u32 {
        (self.proof_layers + 1).saturating_sub(self.subtree())
    }

    /// How many hashes the answer holds.
    pub fn count(&self) -> usize {
        (self.length + self.uncles()) as usize
    }

    /// The height of the tree over the nodes of the base layer.
    fn subtree(&self) -> u32 {
        self.length.next_power_of_two().ilog2()
    }

    /// The node that all hashes together lead to: its layer, and its number there.
    fn top(&self) -> (u32, u64) {
        let up = self.subtree().max(self.proof_layers + 1);
        (self.base_layer + up, u64::from(self.index) >> up)
    }

    /// The nodes of the proof, from the bottom up: layer and number of each.
    fn siblings(&self) -> impl Iterator<Item = (u32, u64)> {
        let (base, index, subtree) = (self.base_layer, u64::from(self.index), self.subtree());
        (subtree..subtree + self.uncles()).map(move |up| (base + up, (index >> up) ^ 1))
    }
}

impl Tree {
    /// What these four numbers from the wire ask for, if it may be asked of this tree: leaves or the piece layer; a power of two of
    /// them, 2 to [`MAX_HASHES`], or as many as there are up to the file's end; from a multiple of that; proven no further than the
    /// root.
    pub fn check_range(
        &self,
        base_layer: u32,
        index: u32,
        length: u32,
        proof_layers: u32,
    ) -> Option<HashRange> {
        let height = self.height();
        let served = base_layer == 0 || base_layer == self.piece_layer;
        if !served || base_layer >= height || proof_layers >= height - base_layer {
            return None;
        }
        if length == 0 || length > MAX_HASHES || !index.is_multiple_of(length.next_power_of_two()) {
            return None;
        }
        let end = u64::from(index) + u64::from(length);
        // libtorrent asks for the rest of a piece layer even if that is a single node.
        let whole = length >= 2 && length.is_power_of_two() && end <= 1 << (height - base_layer);
        let rest = end == self.layer_length(base_layer);
        (whole || rest).then_some(HashRange { base_layer, index, length, proof_layers })
    }

    /// What to ask for to get the whole piece layer, each part proven up to the root. Number `i` begins at node `i * MAX_HASHES`.
    /// Nothing if the file is no longer than a piece.
    pub fn piece_layer_ranges(&self) -> impl Iterator<Item = HashRange> + use<> {
        let (base_layer, up) = (self.piece_layer, self.height().saturating_sub(self.piece_layer));
        let end = if up > 0 { self.layer_length(base_layer) as u32 } else { 0 };
        (0..end).step_by(MAX_HASHES as usize).map(move |index| HashRange {
            base_layer,
            index,
            length: (end - index).next_power_of_two().clamp(2, MAX_HASHES),
            proof_layers: up - 1,
        })
    }

    /// What to ask for to get the leaves of this piece of the file, counted from its first, proven up to the piece's hash. Nothing if
    /// a piece is a single leaf.
    pub fn leaf_ranges(&self, piece: u32) -> impl Iterator<Item = HashRange> + use<> {
        let up = self.piece_layer.min(self.height());
        let first = u64::from(piece) << up;
        let end = (first + (1 << up)).min(self.leaves).min(u32::MAX.into());
        let end = if up > 0 { end } else { first };
        let length = MAX_HASHES.min(1 << up);
        (first..end).step_by(length as usize).map(move |index| HashRange {
            base_layer: 0,
            index: index as u32,
            length,
            proof_layers: up - 1,
        })
    }

    /// The leaves that [`Tree::answer`] needs: those of the pieces that the range touches. None if the piece layer is enough.
    pub fn leaves_for(&self, range: &HashRange) -> Range<u64> {
        if self.has_piece_layer() && range.base_layer >= self.piece_layer {
            return 0..0;
        }
        let piece = 1 << self.piece_layer;
        let start = u64::from(range.index) / piece * piece;
        let end = (u64::from(range.index) + u64::from(range.length)).next_multiple_of(piece);
        start.min(self.leaves)..end.min(self.leaves)
    }

    /// The nodes that are asked for, and their proof. `layer` is the file's piece layer, `leaves` those of [`Tree::leaves_for`].
    /// `None` if something of this is not known.
    pub fn answer(
        &self,
        range: &HashRange,
        layer: Option<&PieceLayer>,
        leaves: &[Hash],
    ) -> Option<Vec<Hash>> {
        let known = self.leaves_for(range);
        let leaves = leaves.get(..(known.end - known.start) as usize)?;
        let node = |layer_number: u32, index: u64| {
            if index >= self.layer_length(layer_number) {
                return Some(pad(layer_number));
            }
            if self.has_piece_layer() && layer_number >= self.piece_layer {
                return Some(layer?.node(self, layer_number, index));
            }
            let start = ((index << layer_number).checked_sub(known.start)?) as usize;
            let end = (start + (1 << layer_number)).min(leaves.len());
            Some(root(leaves.get(start..end)?, 0, layer_number))
        };
        let first = u64::from(range.index);
        let base = (first..first + u64::from(range.length)).map(|index| (range.base_layer, index));
        base.chain(range.siblings()).map(|(layer, index)| node(layer, index)).collect()
    }

    /// Checks an answer; `layer` is the file's piece layer, if it is known. Gives those hashes of the base layer that stand for bytes
    /// of the file.
    ///
    /// # Errors
    /// [`WrongHashes`]
    pub fn check<'a>(
        &self,
        range: &HashRange,
        hashes: &'a [Hash],
        layer: Option<&PieceLayer>,
    ) -> Result<&'a [Hash], WrongHashes> {
        if hashes.len() != range.count() {
            return Err(WrongHashes::Count { expected: range.count(), found: hashes.len() });
        }
        let (top, number) = range.top();
        let expected = match layer {
            _ if top >= self.height() => self.root,
            Some(_) if number >= self.layer_length(top) => pad(top),
            Some(layer) if top >= self.piece_layer => layer.node(self, top, number),
            _ => return Err(WrongHashes::Unprovable),
        };

        let (base, uncles) = hashes.split_at(range.length as usize);
        let real = self.layer_length(range.base_layer).saturating_sub(range.index.into());
        let (real, beyond) = base.split_at(base.len().min(real as usize));
        let padding = pad(range.base_layer);
        if beyond.iter().any(|hash| *hash != padding) {
            return Err(WrongHashes::Padding);
        }
        let mut node = root(base, range.base_layer, range.subtree());
        for ((layer, sibling), uncle) in range.siblings().zip(uncles) {
            if sibling >= self.layer_length(layer) && *uncle != pad(layer) {
                return Err(WrongHashes::Padding);
            }
            node = if sibling % 2 == 1 { parent(&node, uncle) } else { parent(uncle, &node) };
        }
        if node != expected {
            return Err(WrongHashes::Proof);
        }
        Ok(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOCK_LENGTH;

    /// A file of so many blocks, with leaves of our own making.
    struct Case {
        tree: Tree,
        leaves: Vec<Hash>,
        layer: Option<PieceLayer>,
    }

    fn case(blocks: u32, piece_layer: u32) -> Case {
        let leaf = |n: u32| {
            let mut leaf = [7; 32];
            leaf[..4].copy_from_slice(&n.to_be_bytes());
            leaf
        };
        let leaves: Vec<Hash> = (0..blocks).map(leaf).collect();
        let length = u64::from(blocks) * u64::from(BLOCK_LENGTH);
        let mut tree = Tree::new([0; 32], length, BLOCK_LENGTH << piece_layer);
        tree.root = root(&leaves, 0, tree.height());
        let pieces = leaves.chunks(1 << piece_layer).map(|piece| root(piece, 0, piece_layer)).collect();
        Case { tree, layer: tree.piece_layer_of(pieces), leaves }
    }

    impl Case {
        fn answer(&self, range: &HashRange) -> Vec<Hash> {
            let leaves = self.tree.leaves_for(range);
            let leaves = &self.leaves[leaves.start as usize..leaves.end as usize];
            self.tree.answer(range, self.layer.as_ref(), leaves).unwrap()
        }

        fn check<'a>(&self, range: &HashRange, hashes: &'a [Hash]) -> Result<&'a [Hash], WrongHashes> {
            self.tree.check(range, hashes, self.layer.as_ref())
        }
    }

    #[test]
    fn what_does_not_lie_in_the_tree_may_not_be_asked() {
        // 20 blocks in pieces of 4: 32 leaves, 8 nodes in the piece layer, of which 5 stand for bytes; height 5.
        let tree = case(20, 2).tree;
        let allowed = |(base, index, length, proof)| tree.check_range(base, index, length, proof).is_some();
        for request in [
            (0, 0, 2, 0),
            (0, 0, 32, 4),
            (0, 28, 4, 4),
            (0, 16, 4, 1),
            (2, 0, 8, 2),
            (2, 4, 2, 2),
            // The rest of a layer may be of any length.
            (2, 4, 1, 2),
            (0, 16, 4, 4),
        ] {
            assert!(allowed(request), "{request:?}");
        }
        for (id, request) in [
            ("V2", (1, 0, 2, 0)),
            ("V2", (3, 0, 2, 0)),
            ("V2", (5, 0, 2, 0)),
            ("V2", (u32::MAX, 0, 2, 0)),
            ("V3", (2, 1, 2, 0)),
            ("V3", (0, 2, 4, 0)),
            ("V3", (0, 17, 3, 0)),
            ("V4", (0, 0, 0, 0)),
            ("V4", (0, 0, 1, 0)),
            ("V4", (2, 3, 1, 0)),
            ("V4", (0, 0, 3, 0)),
            ("V4", (0, 0, 64, 0)),
            ("V4", (0, 0, 1024, 0)),
            ("V4", (0, 0, 1 << 31, 0)),
            ("V4", (0, 0, u32::MAX, 0)),
            ("V5", (0, 0, 2, 5)),
            ("V5", (2, 0, 2, 3)),
            ("V5", (2, 0, 2, u32::MAX)),
            ("V6", (0, 32, 2, 0)),
            ("V6", (2, 8, 8, 0)),
            ("V6", (0, u32::MAX - 1, 2, 0)),
            ("V6", (0, 1 << 31, 1 << 9, 0)),
        ] {
            assert!(!allowed(request), "{id} {request:?}");
        }
        assert_eq!(case(2000, 2).tree.check_range(0, 0, 1024, 0), None, "V4");
        assert!(case(2000, 2).tree.check_range(0, 0, 512, 0).is_some());
        assert_eq!(case(1, 2).tree.check_range(0, 0, 2, 0), None, "V18");
        assert_eq!(case(1, 0).tree.check_range(0, 0, 1, 0), None, "V18");
        assert_eq!(case(4, 2).tree.check_range(2, 0, 2, 0), None, "a file of one piece has no piece layer");
    }

    #[test]
    fn every_answer_is_right_and_no_hash_of_it_may_be_another() {
        let mut answers = 0;
        for (blocks, piece_layer) in (1..=20).flat_map(|blocks| (0..4).map(move |layer| (blocks, layer))) {
            let case = case(blocks, piece_layer);
            for numbers in 0..2 * 32 * 8 * 5_u32 {
                let base = if numbers % 2 == 1 { piece_layer } else { 0 };
                let (index, length, proof) = (numbers / 2 % 32, 1 + numbers / 64 % 8, numbers / 512);
                let Some(range) = case.tree.check_range(base, index, length, proof) else { continue };
                let answer = case.answer(&range);
                let real = (case.tree.layer_length(base).saturating_sub(index.into())).min(length.into());
                match case.check(&range, &answer) {
                    Ok(hashes) => assert_eq!(hashes, &answer[..real as usize], "{range:?}"),
                    Err(error) => {
                        assert_eq!(error, WrongHashes::Unprovable, "{range:?}");
                        let (top, _) = range.top();
                        assert!(top < case.tree.height());
                        continue;
                    }
                }
                answers += 1;
                // V10
                for found in [answer.len() - 1, answer.len() + 1] {
                    let mut other = answer.clone();
                    other.resize(found, [0; 32]);
                    let error = WrongHashes::Count { expected: answer.len(), found };
                    assert_eq!(case.check(&range, &other), Err(error));
                }
                // V11, V12, V14
                for at in 0..answer.len() {
                    let mut other = answer.clone();
                    other[at][31] ^= 1;
                    let error = case.check(&range, &other).unwrap_err();
                    assert!(matches!(error, WrongHashes::Padding | WrongHashes::Proof), "{range:?} {at}");
                }
            }
        }
        assert!(answers > 5_000, "{answers}");
    }

    #[test]
    fn answers_are_those_of_libtorrent() {
        // Asked of libtorrent 2.0.8, over a file of 300,000 bytes, of which byte `i` is `i % 251`, in pieces of 32 KiB; given as the
        // number of hashes and the SHA-256 of all of them.
        use sha2::{Digest as _, Sha256};
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let content: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let leaves: Vec<Hash> =
            content.chunks(BLOCK_LENGTH as usize).map(|block| Sha256::digest(block).into()).collect();
        let mut tree = Tree::new([0; 32], 300_000, 32 * 1024);
        tree.root = root(&leaves, 0, tree.height());
        assert_eq!(hex(&tree.root), "1c5fb49bf57e0e945d9428a1798ddc8acc5dc57e19aa0c9bb1ed90e9b7885ee1");
        let layer = tree.piece_layer_of(leaves.chunks(2).map(|piece| root(piece, 0, 1)).collect());
        let case = Case { tree, leaves, layer };
        for ((base, index, length, proof), count, digest) in [
            ((1, 0, 16, 3), 16, "2cf07f02530a875454f48dc3da0269336a460a73fac5f1e24e363c41b5e7b27f"),
            ((1, 0, 16, 0), 16, "2cf07f02530a875454f48dc3da0269336a460a73fac5f1e24e363c41b5e7b27f"),
            ((1, 0, 2, 3), 5, "4f3c64a4b7dd3193ba20fc9f92822a4dfcdf581c91a2fba9c8ed9f4d5188d64b"),
            ((1, 0, 2, 0), 2, "2d6b546231225a7132a38ab354f03e9132e4b9141da89f1784b71ab2fb34fae3"),
            ((1, 4, 4, 3), 6, "2223a082c983f957c15495ee9aa6a069d424ede2b32b9ff04461fb0b2ad9e8e8"),
            ((1, 8, 2, 3), 5, "4e3700061288f7002d3902b9ce4d2e7202cfc96d3be44b999633d34c8be4aefb"),
            ((1, 8, 2, 1), 3, "13c2faaeca674e59f31b9ee6dc6b9420e59090d99ad5ae82fd055cb4d4849f5c"),
            ((1, 8, 8, 3), 9, "1c4d7fb74b0301dc4b52238570bc682ead6a67772f566ef303580b6357297b40"),
            ((1, 12, 4, 3), 6, "8c12520d51d5930764873014b9cb24667ce1704f40914f45af98000675564901"),
            ((0, 0, 2, 4), 6, "40621456ddf34b46428e0519e2fde77feec676860d9da7b5b406ac9f6399d2e3"),
            ((0, 0, 32, 4), 32, "2fb975263ab5d8124d2fb441cb7bfeffe643a00cb488d04ba46c1610c9a8c186"),
            ((0, 2, 2, 0), 2, "e28097eaaa55956702cf8195d1a551dbabb63e3d679b294cf33d506a6b5ef479"),
            ((0, 4, 4, 4), 7, "0879efc19e1378a5586dfa449ab2732d48c25493a3d6e0e814aa8673b0646661"),
            ((0, 16, 4, 4), 7, "546a2d32c7c893718bedb7562cc770488401423af83df98c5c56523ad7fd8489"),
            ((0, 16, 2, 2), 4, "a1df97f348007eefaaac876333ebae1b543b966d7182ec844a44a4e30faf44fb"),
            ((0, 18, 2, 4), 6, "28cd05971ff10fedd508f77836a10eb13c46b6669a2c11e427d44e0932f54ba4"),
        ] {
            let range = case.tree.check_range(base, index, length, proof).unwrap();
            let answer = case.answer(&range);
            let found = (answer.len(), hex(&Sha256::digest(answer.as_flattened())));
            assert_eq!(found, (count, digest.to_owned()), "{range:?}");
        }
    }

    #[test]
    fn padding_is_what_padding_is_even_where_the_root_says_otherwise() {
        // V14: the root itself was made over a leaf beyond the file's end.
        let mut case = case(3, 0);
        let leaves = [case.leaves.clone(), vec![[9; 32]]].concat();
        case.tree.root = root(&leaves, 0, 2);
        let range = case.tree.check_range(0, 0, 4, 1).unwrap();
        assert_eq!(case.tree.check(&range, &leaves, None), Err(WrongHashes::Padding));
        let range = case.tree.check_range(0, 2, 1, 1).unwrap();
        let hashes = [leaves[2], leaves[3], parent(&leaves[0], &leaves[1])];
        assert_eq!(case.tree.check(&range, &hashes, None), Err(WrongHashes::Padding));
    }

    #[test]
    fn the_parts_of_a_piece_layer_are_asked_for_one_by_one() {
        let parts = |blocks, piece_layer| -> Vec<_> {
            let ranges = case(blocks, piece_layer).tree.piece_layer_ranges();
            ranges.map(|range| (range.base_layer, range.index, range.length, range.proof_layers)).collect()
        };
        assert_eq!(parts(4, 2), []);
        assert_eq!(parts(5, 2), [(2, 0, 2, 0)]);
        assert_eq!(parts(13, 0), [(0, 0, 16, 3)]);
        assert_eq!(parts(1026, 1), [(1, 0, 512, 9), (1, 512, 2, 9)]);
        assert_eq!(parts(1100, 0), [(0, 0, 512, 10), (0, 512, 512, 10), (0, 1024, 128, 10)]);

        for (blocks, piece_layer) in [(5, 2), (13, 0), (1026, 1), (1100, 0), (5000, 0)] {
            let case = case(blocks, piece_layer);
            let mut pieces = Vec::new();
            for range in case.tree.piece_layer_ranges() {
                assert_eq!(pieces.len() as u32, range.index);
                // The one who asks does not know the layer yet.
                pieces.extend_from_slice(case.tree.check(&range, &case.answer(&range), None).unwrap());
            }
            assert_eq!(case.tree.piece_layer_of(pieces), case.layer, "{blocks} {piece_layer}");
        }
    }

    #[test]
    fn the_leaves_of_a_piece_are_proven_by_its_hash() {
        for (blocks, piece_layer) in [(1, 2), (3, 2), (4, 2), (5, 2), (20, 2), (1030, 10), (2100, 10), (7, 0)]
        {
            let case = case(blocks, piece_layer);
            for (piece, leaves) in case.leaves.chunks(1 << piece_layer).enumerate() {
                let mut found = Vec::new();
                for range in case.tree.leaf_ranges(piece as u32) {
                    let checked = case.tree.check_range(0, range.index, range.length, range.proof_layers);
                    assert_eq!(checked, Some(range));
                    found.extend_from_slice(case.check(&range, &case.answer(&range)).unwrap());
                }
                let single = piece_layer == 0 || blocks == 1;
                assert_eq!(found, if single { &[] } else { leaves }, "{blocks} {piece_layer} {piece}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_not_answered() {
        // V7
        let case = case(20, 2);
        let layer = case.layer.as_ref();
        let pieces = case.tree.check_range(2, 0, 8, 2).unwrap();
        assert_eq!(case.tree.answer(&pieces, None, &case.leaves), None);
        assert!(case.tree.answer(&pieces, layer, &[]).is_some());
        let leaves = case.tree.check_range(0, 4, 4, 4).unwrap();
        assert_eq!(case.tree.leaves_for(&leaves), 4..8);
        assert_eq!(case.tree.answer(&leaves, layer, &case.leaves[4..7]), None);
        assert_eq!(case.tree.answer(&leaves, None, &case.leaves[4..8]), None);
        assert!(case.tree.answer(&leaves, layer, &case.leaves[4..8]).is_some());
        let inside = case.tree.check_range(0, 18, 2, 1).unwrap();
        assert_eq!(case.tree.leaves_for(&inside), 16..20);
    }
}
