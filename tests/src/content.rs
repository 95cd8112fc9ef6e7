//! A torrent with its payload in memory, for scripted peers that serve it, or lie about it.

use std::path::Path;

use client::wire::{BlockRequest, HashRequest};
use torrent_format::hash::leaf_hashes;
use torrent_format::merkle::Hash;
use torrent_format::{Info, InfoHash, Metainfo};

use crate::tree::Tree;

/// What a scripted peer has.
#[derive(Clone, Debug)]
pub struct Content {
    /// The torrent's info.
    pub info: Info,
    /// All files, one after another.
    pub bytes: Vec<u8>,
}

impl Content {
    /// Reads the .torrent at `torrent`, with the payload `tree` (paths below the torrent's name; for a single file, its name).
    ///
    /// # Panics
    /// If it is no torrent, or the tree is not its payload.
    pub fn new(torrent: &Path, tree: &Tree) -> Self {
        let file = std::fs::read(torrent).expect("the .torrent can be read");
        let info = Metainfo::from_bytes(&file).expect("it is a torrent").info;
        let bytes: Vec<u8> = tree.values().flatten().copied().collect();
        assert_eq!(info.layout().total(), bytes.len() as u64, "the payload of {}", torrent.display());
        Self { info, bytes }
    }

    /// The torrent's name on the wire.
    pub fn info_hash(&self) -> InfoHash {
        self.info.info_hash()
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> u32 {
        self.info.layout().piece_count()
    }

    /// Bytes of a piece, but perhaps the last.
    pub fn piece_length(&self) -> u32 {
        self.info.layout().piece_length()
    }

    /// What answers a request for hashes of the one file of a v2 torrent.
    ///
    /// # Panics
    /// If there are no such hashes.
    pub fn hashes(&self, request: &HashRequest) -> Vec<Hash> {
        let &HashRequest { base_layer, index, length, proof_layers, .. } = request;
        let tree = self.info.tree(0).expect("a v2 torrent");
        let range = tree.check_range(base_layer, index, length, proof_layers).expect("hashes of the file");
        let mut all = Vec::new();
        leaf_hashes(&self.bytes, &mut all);
        let wanted = tree.leaves_for(&range);
        let leaf = |number: u64| all.get(number as usize).copied().unwrap_or_default();
        let leaves: Vec<Hash> = wanted.map(leaf).collect();
        self.info.answer_hashes(0, &range, &leaves).expect("all of it is known")
    }

    /// The bytes that a request is for; `None` if there is no such part.
    pub fn block(&self, request: BlockRequest) -> Option<&[u8]> {
        let start = u64::from(request.index) * u64::from(self.piece_length()) + u64::from(request.begin);
        let start = usize::try_from(start).ok()?;
        self.bytes.get(start..start.checked_add(request.length as usize)?)
    }
}
