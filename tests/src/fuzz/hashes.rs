//! Frames from a peer, and the hash messages of BEP 52 among them against the hash tree of a file: nothing is asked for, served or
//! taken that is not in the tree.
//!
//! An input is a byte that chooses the file, then frames. The hashes of a `hashes` message are differences to the honest answer, so
//! that a fuzzer, which can't make SHA-256 fit, reaches both sides: zeros are right, anything else must be refused.

use std::sync::LazyLock;

use client::wire::frame::MAX_FRAME_LENGTH;
use client::wire::message::block_header;
use client::wire::{BlockRequest, Frame, FrameDecoder, HashRequest, Message};
use torrent_format::BLOCK_LENGTH;
use torrent_format::merkle::{Hash, HashRange, MAX_HASHES, PieceLayer, Tree, WrongHashes, root};

use super::within_memory;

/// Files: blocks, and the layer of the pieces. What matters is the border of a piece, of 512 hashes, and of a power of two.
const SHAPES: [(u32, u32); 16] = [
    (1, 0),
    (1, 2),
    (2, 0),
    (3, 0),
    (3, 2),
    (4, 2),
    (5, 2),
    (8, 1),
    (20, 2),
    (33, 3),
    (512, 0),
    (513, 0),
    (700, 5),
    (1023, 0),
    (1025, 0),
    (1025, 9),
];

/// A file with leaves of our own making.
struct Case {
    tree: Tree,
    leaves: Vec<Hash>,
    layer: Option<PieceLayer>,
}

static CASES: LazyLock<Vec<Case>> =
    LazyLock::new(|| SHAPES.iter().map(|&(blocks, piece_layer)| case(blocks, piece_layer)).collect());

fn case(blocks: u32, piece_layer: u32) -> Case {
    let leaf = |number: u32| std::array::from_fn(|i| number.to_be_bytes()[i % 4] ^ 0xa5);
    let leaves: Vec<Hash> = (0..blocks).map(leaf).collect();
    let length = u64::from(blocks) * u64::from(BLOCK_LENGTH);
    let mut tree = Tree::new([0; 32], length, BLOCK_LENGTH << piece_layer);
    tree.root = root(&leaves, 0, tree.height());
    let pieces = leaves.chunks(1 << piece_layer).map(|piece| root(piece, 0, piece_layer)).collect();
    Case { tree, layer: tree.piece_layer_of(pieces), leaves }
}

pub(super) fn check(input: &[u8]) -> bool {
    let Some((&shape, mut bytes)) = input.split_first() else { return false };
    let case = &CASES[usize::from(shape) % CASES.len()];
    let mut asked = false;
    loop {
        let decoded = within_memory(bytes.len(), || FrameDecoder.decode(bytes));
        let wanted = FrameDecoder::wanted(bytes);
        assert!(wanted <= 4 + MAX_FRAME_LENGTH as usize);
        let Ok(decoded) = decoded else { return false };
        let Some((frame, length)) = decoded else {
            assert!(wanted > bytes.len(), "it waits for bytes that are there");
            return asked && bytes.is_empty();
        };
        assert_eq!(wanted, length);
        for cut in [0, 1, 4, 5, length / 2, length - 1].into_iter().filter(|cut| *cut < length) {
            assert_eq!(FrameDecoder.decode(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let (taken, mut rest) = bytes.split_at(length);
        match frame {
            Frame::Message(message) => {
                check_encoding(&message, taken);
                match message {
                    Message::HashRequest(request) => asked |= case.check_request(&request),
                    Message::Hashes(request, hashes) => asked |= case.check_hashes(&request, &hashes),
                    _ => {}
                }
            }
            Frame::Block(block) => {
                check_block(block, taken);
                rest = rest.split_at_checked(block.length as usize).map_or(&[], |(_, rest)| rest);
            }
        }
        bytes = rest;
    }
}

fn check_encoding(message: &Message, bytes: &[u8]) {
    let mut encoded = Vec::new();
    message.encode(&mut encoded);
    match message {
        // What it says is gone.
        Message::Unknown(id) => assert_eq!(encoded, [0, 0, 0, 1, *id]),
        _ => assert_eq!(encoded, bytes),
    }
}

fn check_block(block: BlockRequest, bytes: &[u8]) {
    assert!(block.length <= BLOCK_LENGTH);
    let mut encoded = Vec::new();
    encoded.extend_from_slice(&block_header(block));
    assert_eq!(encoded, bytes);
}

impl Case {
    /// A request is refused, or answered so that the asker takes the answer.
    fn check_request(&self, request: &HashRequest) -> bool {
        let Some(range) = self.range(request) else { return false };
        let answer = self.answer(&range);
        assert_eq!(answer.len(), range.count());
        match self.tree.check(&range, &answer, self.layer.as_ref()) {
            Ok(real) => assert_eq!(real, self.truth(&range)),
            Err(error) => assert!(error == WrongHashes::Unprovable && range.base_layer == 0, "{error}"),
        }
        let message = Message::Hashes(*request, answer);
        let mut encoded = Vec::new();
        message.encode(&mut encoded);
        let length = encoded.len();
        assert_eq!(FrameDecoder.decode(&encoded), Ok(Some((Frame::Message(message), length))));
        true
    }

    /// Hashes are taken if they are the tree's, and never otherwise.
    fn check_hashes(&self, request: &HashRequest, differences: &[Hash]) -> bool {
        let Some(range) = self.range(request) else { return false };
        let mut hashes = self.answer(&range);
        let count = hashes.len();
        for (hash, difference) in hashes.iter_mut().zip(differences) {
            *hash = std::array::from_fn(|i| hash[i] ^ difference[i]);
        }
        hashes.resize(differences.len(), [0; 32]);
        let honest = differences.iter().all(|difference| *difference == [0; 32]);
        match self.tree.check(&range, &hashes, self.layer.as_ref()) {
            Ok(real) => {
                assert!(honest && differences.len() == count, "{range:?}: a lie is taken");
                assert_eq!(real, self.truth(&range));
            }
            Err(WrongHashes::Count { expected, found }) => {
                assert!(expected == count && found == differences.len() && expected != found);
            }
            Err(WrongHashes::Padding | WrongHashes::Proof) => {
                assert!(!honest, "{range:?}: the truth is refused");
            }
            Err(WrongHashes::Unprovable) => assert_eq!(range.base_layer, 0),
        }
        true
    }

    fn range(&self, request: &HashRequest) -> Option<HashRange> {
        let HashRequest { base_layer, index, length, proof_layers, .. } = *request;
        let range = self.tree.check_range(base_layer, index, length, proof_layers)?;
        assert_eq!(range, HashRange { base_layer, index, length, proof_layers });
        assert!(length <= MAX_HASHES && range.count() <= (MAX_HASHES + self.tree.height()) as usize);
        let leaves = self.tree.leaves_for(&range);
        assert!(leaves.start <= leaves.end && leaves.end <= self.tree.leaves());
        Some(range)
    }

    fn answer(&self, range: &HashRange) -> Vec<Hash> {
        let leaves = self.tree.leaves_for(range);
        let leaves = &self.leaves[leaves.start as usize..leaves.end as usize];
        let answer = self.tree.answer(range, self.layer.as_ref(), leaves);
        answer.expect("what may be asked can be answered by whoever has all")
    }

    /// The nodes of the base layer that stand for bytes of the file, made from the leaves alone.
    fn truth(&self, range: &HashRange) -> Vec<Hash> {
        let nodes = self.leaves.chunks(1 << range.base_layer);
        let nodes = nodes.skip(range.index as usize).take(range.length as usize);
        nodes.map(|leaves| root(leaves, 0, range.base_layer)).collect()
    }
}
