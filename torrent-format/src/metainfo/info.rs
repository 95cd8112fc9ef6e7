//! The info dictionary: [`Info`], and what it is made of.

use std::fmt;
use std::sync::Arc;

use super::layers::Layers;
use super::{InfoChanges, MetainfoError, bad_value, edit, read};
use crate::bencode::{self, Dict, Limits, Raw};
use crate::merkle::{Hash, HashRange, Tree, WrongHashes};
use crate::{InfoHash, InfoHashes, Layout, PieceIndex, SafePath};

/// One file of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Where it lies below the download directory; begins with the torrent's name.
    pub path: SafePath,
    /// Bytes.
    pub length: u64,
    /// A pad file (BEP 47): zeros that never touch a disk. A symbolic link, which is not made, counts as one of length 0. Two
    /// pad files may have the same path. A torrent of v2 alone has none but links.
    pub pad: bool,
    /// The root of its hash tree (BEP 52); `None` in a v1 torrent, and for a file of length 0.
    pub root: Option<Hash>,
    /// It is a program (BEP 47). Nothing here sets that bit on a disk.
    pub executable: bool,
    /// It is not to be seen at first (BEP 47).
    pub hidden: bool,
    /// It is a symbolic link (BEP 47), and this is where it leads, as it is written: elements joined by `/`, from the directory of the
    /// torrent. May hold anything: print it through [`crate::safe_path::printable`].
    pub symlink: Option<Box<str>>,
}

/// Which of the two forms of BitTorrent an info dictionary is written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Version {
    /// BEP 3.
    V1,
    /// BEP 52.
    V2,
    /// BEP 3 and BEP 52 together: the same pieces, with hashes of both kinds.
    Hybrid,
}

impl Version {
    /// Whether it has what BEP 3 needs.
    pub fn has_v1(self) -> bool {
        self != Self::V2
    }

    /// Whether it has what BEP 52 needs.
    pub fn has_v2(self) -> bool {
        self != Self::V1
    }
}

/// The hashes of one piece: of its bytes as they came, or of none of a kind that the torrent does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PieceHashes {
    /// SHA-1 of the piece, its padding included.
    pub v1: Option<[u8; 20]>,
    /// The root over the leaves of the file's bytes in the piece (see [`Tree::root_of_leaves`]).
    pub v2: Option<Hash>,
}

/// What the hashes of a piece say of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PieceCheck {
    /// It is right.
    Good,
    /// It is wrong.
    Bad,
    /// Right by one version and wrong by the other: whoever made this hybrid torrent made it of different data.
    Conflict,
    /// The torrent is v2, and the file's piece layer is not known yet.
    Unknown,
}

/// The hashes are not the file's piece layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the hashes are not the file's piece layer")]
pub struct WrongLayer;

/// The `info` dictionary: its raw bytes, and what they say. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) raw: Vec<u8>,
    pub(super) hashes: InfoHashes,
    pub(super) version: Version,
    pub(super) name: String,
    pub(super) files: Vec<File>,
    pub(super) layout: Arc<Layout>,
    /// Where in `raw` the v1 piece hashes begin, if it has them. Invariant: `20 × layout.piece_count()` bytes follow.
    pub(super) hashes_at: Option<usize>,
    pub(super) layers: Layers,
    pub(super) private: bool,
    pub(super) source: Option<String>,
    pub(super) single_file: bool,
    pub(super) warnings: Vec<String>,
}

impl Info {
    /// Reads an info dictionary, whether from a .torrent or from peers (BEP 9): the same checks. Whoever got it from a peer
    /// compares [`Info::info_hash`] with the one that was asked for.
    ///
    /// # Errors
    /// If it is no info dictionary, or can't be used.
    pub fn from_bytes(raw: &[u8]) -> Result<Self, MetainfoError> {
        let scan = bencode::scan(raw, &Limits::INFO)?;
        read::read(scan.root())
    }

    /// This info with a few values changed: another torrent, since it has another hash. Every other byte stays as it is, and so do
    /// the piece layers that are known.
    ///
    /// # Errors
    /// If the new values can't be used.
    pub fn edited(&self, changes: &InfoChanges) -> Result<Self, MetainfoError> {
        let edited = Self::from_bytes(&edit::edit(self, changes))?;
        if edited.is_single_file() != self.is_single_file() {
            // A tree of v2 can't tell the file `a` from a directory `a` that holds nothing but a file `a`.
            return Err(bad_value("name", "is that of its only file, which would make it a single file"));
        }
        self.inner.layers.carry_over(&edited.inner.layers);
        Ok(edited)
    }

    /// The raw bytes, as they were read.
    pub fn raw(&self) -> &[u8] {
        &self.inner.raw
    }

    /// The hashes of the raw bytes: of the versions that it is written for.
    pub fn hashes(&self) -> InfoHashes {
        self.inner.hashes
    }

    /// The one name of the torrent where only one can be: see [`InfoHashes::primary`].
    pub fn info_hash(&self) -> InfoHash {
        self.inner.hashes.primary()
    }

    /// Which form it is written for.
    pub fn version(&self) -> Version {
        self.inner.version
    }

    /// The name as written; may hold anything: print it through [`crate::safe_path::printable`].
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The files in order; `layout` counts them in the same order.
    pub fn files(&self) -> &[File] {
        &self.inner.files
    }

    /// The arithmetic.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.inner.layout
    }

    /// SHA-1 of this piece; `None` if the torrent has only v2.
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<&[u8; 20]> {
        let hashes = &self.inner.raw[self.inner.hashes_at?..];
        let (hashes, _) = hashes.as_chunks::<20>();
        hashes.get(piece.as_usize())
    }

    /// The v2 hash of this piece; `None` if the torrent has only v1, or the piece layer is not known.
    pub fn piece_root(&self, piece: PieceIndex) -> Option<Hash> {
        let (file, number) = self.file_piece(piece)?;
        let tree = self.tree(file)?;
        match tree.has_piece_layer() {
            true => self.layer(file)?.get(number as usize).copied(),
            false => Some(tree.root),
        }
    }

    /// Whether these are the hashes of this piece. Those of a version that the torrent lacks, or that is not known yet, don't count.
    pub fn check_piece(&self, piece: PieceIndex, hashes: &PieceHashes) -> PieceCheck {
        let v1 = self.piece_hash(piece).zip(hashes.v1.as_ref()).map(|(expected, found)| expected == found);
        let v2 = self.piece_root(piece).zip(hashes.v2).map(|(expected, found)| expected == found);
        match (v1, v2) {
            (None, None) => PieceCheck::Unknown,
            (Some(true), Some(false)) | (Some(false), Some(true)) => PieceCheck::Conflict,
            (v1, v2) if v1 != Some(false) && v2 != Some(false) => PieceCheck::Good,
            _ => PieceCheck::Bad,
        }
    }

    /// The hash tree of a file; `None` in a v1 torrent, and for a file without bytes of its own.
    pub fn tree(&self, file: usize) -> Option<Tree> {
        let entry = self.inner.files.get(file)?;
        Some(Tree::new(entry.root?, entry.length, self.inner.layout.piece_length()))
    }

    /// The file that this piece belongs to in a v2 or hybrid torrent, and the piece's number within it.
    pub fn file_piece(&self, piece: PieceIndex) -> Option<(usize, u32)> {
        let file = self.inner.layout.file_of(piece)?;
        self.inner.files[file].root?;
        Some((file, piece.get() - self.inner.layout.file_pieces(file).start))
    }

    /// The file whose `pieces root` this is; the first, if several have the same bytes.
    pub fn file_by_root(&self, root: &Hash) -> Option<usize> {
        self.files_by_root(root).next()
    }

    /// All files whose `pieces root` this is; those with the most blocks first, and of the same bytes the first.
    pub fn files_by_root<'a>(&'a self, root: &'a Hash) -> impl Iterator<Item = usize> + 'a {
        self.inner.layers.files_by_root(&self.inner.files, root)
    }

    /// The piece layer of a file, if it has one and it is known.
    pub fn layer(&self, file: usize) -> Option<&[Hash]> {
        Some(self.inner.layers.get(file)?.pieces())
    }

    /// The files whose piece layers are not known yet; of several with the same bytes only the first.
    pub fn missing_layers(&self) -> impl Iterator<Item = usize> + '_ {
        self.inner.layers.missing()
    }

    /// Takes in the piece layer of a file, wherever it is from; it is also that of every other file with the same bytes. Every clone
    /// of this info knows it then: it is proven by the root, so that nobody can be told two different ones.
    ///
    /// # Errors
    /// If the file has none, or these are not it.
    pub fn set_layer(&self, file: usize, hashes: Vec<Hash>) -> Result<(), WrongLayer> {
        let tree = self.tree(file).ok_or(WrongLayer)?;
        self.inner.layers.set(file, &tree, hashes).then_some(()).ok_or(WrongLayer)
    }

    /// What answers a hash request (BEP 52) for nodes of this file: see [`Tree::answer`]. `leaves` are those of [`Tree::leaves_for`].
    /// `None` if something is not known.
    pub fn answer_hashes(&self, file: usize, range: &HashRange, leaves: &[Hash]) -> Option<Vec<Hash>> {
        self.tree(file)?.answer(range, self.inner.layers.get(file), leaves)
    }

    /// Checks what a peer answered: see [`Tree::check`].
    ///
    /// # Errors
    /// [`WrongHashes`]
    pub fn check_hashes<'a>(
        &self,
        file: usize,
        range: &HashRange,
        hashes: &'a [Hash],
    ) -> Result<&'a [Hash], WrongHashes> {
        let tree = self.tree(file).ok_or(WrongHashes::Unprovable)?;
        tree.check(range, hashes, self.inner.layers.get(file))
    }

    /// As the value of `piece layers` in a .torrent.
    pub(super) fn encode_layers(&self) -> Option<Vec<u8>> {
        if !self.inner.version.has_v2() {
            return None;
        }
        self.inner.layers.encode(&self.inner.files)
    }

    /// Only peers from its trackers may be used (BEP 27).
    pub fn is_private(&self) -> bool {
        self.inner.private
    }

    /// The `source` key.
    pub fn source(&self) -> Option<&str> {
        self.inner.source.as_deref()
    }

    /// Whether it is one file, rather than a directory of files.
    pub fn is_single_file(&self) -> bool {
        self.inner.single_file
    }

    /// What looks odd in it, one line each, fit for a terminal.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// The dictionary.
    pub(super) fn dict(&self) -> Option<Dict<'_>> {
        Raw::checked(&self.inner.raw).as_dict()
    }
}

impl PartialEq for Inner {
    /// The rest follows from the raw bytes.
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw && self.layers == other.layers
    }
}

impl Eq for Inner {}

impl fmt::Debug for Inner {
    /// Without the raw bytes, which nobody wants to see in a failed test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("hashes", &self.hashes)
            .field("name", &self.name)
            .field("files", &self.files.len())
            .field("piece_length", &self.layout.piece_length())
            .finish_non_exhaustive()
    }
}
