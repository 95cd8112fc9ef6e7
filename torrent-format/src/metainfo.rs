//! What a .torrent says (BEP 3, BEP 5, BEP 12, BEP 19, BEP 27, BEP 47).
//!
//! [`Metainfo`] is the whole file, [`Info`] the part of it that is hashed, and the only part that peers can give (BEP 9). What is
//! wrong in the info makes a torrent unusable, and is a [`MetainfoError`]; what is odd around it is left out, with a warning.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_bytes::Bytes;

use crate::bencode::{self, BencodeError, BencodeErrorKind, Limits};
use crate::layout::LayoutError;
use crate::merkle::{Hash, Tree};
use crate::safe_path::PathError;
use crate::{InfoHash, InfoHashes, Layout, PieceIndex, SafePath};

mod info;
mod outer;
pub(crate) mod urls;

pub(crate) use outer::is_host;

/// The longest .torrent and the longest info dictionary that are read, in bytes. 10 MiB hold half a million files, or as many
/// piece hashes; it is a bound that other clients have too.
pub const MAX_TORRENT_LENGTH: u32 = 10 * 1024 * 1024;

/// The most trackers that are kept of one torrent. More are spam, and each costs an announce.
pub const MAX_TRACKERS: usize = 200;

/// The most web seeds that are kept of one torrent.
pub const MAX_WEB_SEEDS: usize = 200;

/// The most DHT nodes that are kept of one torrent.
pub const MAX_NODES: usize = 200;

/// A whole .torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metainfo {
    /// The part that is hashed.
    pub info: Info,
    /// Trackers in tiers (BEP 12); `announce` alone is one tier of one. URLs that can't be used were left out, with a warning.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// DHT nodes (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// What was left out or looks odd, one line each, fit for a terminal; those of [`Info::warnings`] included.
    pub warnings: Vec<String>,
}

/// One file of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Where it lies below the download directory; begins with the torrent's name.
    pub path: SafePath,
    /// Bytes.
    pub length: u64,
    /// A pad file (BEP 47): zeros that never touch a disk. A symbolic link, which is not made, counts as one of length 0. Two
    /// pad files may have the same path.
    pub pad: bool,
    /// The root of its hash tree (BEP 52); `None` in a v1 torrent, and for a file of length 0.
    pub root: Option<Hash>,
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
    inner: Arc<Inner>,
}

#[derive(PartialEq, Eq)]
struct Inner {
    raw: Vec<u8>,
    hashes: InfoHashes,
    version: Version,
    name: String,
    files: Vec<File>,
    layout: Arc<Layout>,
    /// Where in `raw` the v1 piece hashes begin, if it has them. Invariant: `20 × layout.piece_count()` bytes follow.
    hashes_at: Option<usize>,
    /// One entry a file: its piece layer, once it is known. Invariant: it hashes to the file's root.
    layers: Vec<OnceLock<Vec<Hash>>>,
    private: bool,
    source: Option<String>,
    single_file: bool,
    warnings: Vec<String>,
}

/// Not a torrent, or not one that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// Longer than [`MAX_TORRENT_LENGTH`].
    #[error("longer than {} MiB, the most that is read of a .torrent", MAX_TORRENT_LENGTH >> 20)]
    TooLong,
    /// No bencode.
    #[error("not a torrent: {0}")]
    Bencode(BencodeError),
    /// Bencode, but not a dictionary.
    #[error("not a torrent: it is no dictionary")]
    NotADictionary,
    /// A key that must be there is not.
    #[error("not a torrent: `{0}` is missing")]
    Missing(&'static str),
    /// A key's value is of the wrong type.
    #[error("bad torrent: `{key}` is not {expected}")]
    WrongType {
        /// Which key, with the file's number if it is one of a file's.
        key: String,
        /// "a string", "an integer", …
        expected: &'static str,
    },
    /// A key's value is out of bounds.
    #[error("bad torrent: `{key}` {problem}")]
    BadValue {
        /// Which key, with the file's number if it is one of a file's.
        key: String,
        /// "is negative", "is empty", …
        problem: &'static str,
    },
    /// `length` and `files` are both there.
    #[error("bad torrent: it has both `length` and `files`")]
    Ambiguous,
    /// There are not as many piece hashes as pieces.
    #[error("bad torrent: `pieces` holds {found} hashes, but the files make {expected} pieces")]
    PieceCount {
        /// By the files' lengths.
        expected: u32,
        /// By the length of `pieces`.
        found: usize,
    },
    /// Sizes out of bounds.
    #[error("bad torrent: {0}")]
    Layout(#[from] LayoutError),
    /// A name that can't be a path.
    #[error("bad torrent: file {file}: {error}")]
    Path {
        /// Which file, from 1.
        file: usize,
        /// Why not.
        error: PathError,
    },
    /// A torrent without the keys of version 1.
    #[error("v2-only torrents are not supported yet")]
    V2Only,
    /// A version that did not exist when this was written.
    #[error("the torrent is too new: its `meta version` is {0}")]
    TooNew(i64),
}

impl Metainfo {
    /// A .torrent with nothing but its info.
    pub fn new(info: Info) -> Self {
        Self {
            info,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            warnings: Vec::new(),
        }
    }

    /// Reads a .torrent. White space after it is ignored.
    ///
    /// # Errors
    /// If it is no torrent, or its info can't be used.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MetainfoError> {
        if bytes.len() > MAX_TORRENT_LENGTH as usize {
            return Err(MetainfoError::TooLong);
        }
        let scan = bencode::scan_first(bytes, &Limits::TORRENT)?;
        let end = scan.root().bytes().len();
        // Some tools, and everyone's editor, end a file with a line feed.
        if !bytes[end..].trim_ascii().is_empty() {
            return Err(MetainfoError::Bencode(BencodeError {
                kind: BencodeErrorKind::TrailingBytes,
                offset: end,
            }));
        }
        outer::read(scan.root().as_dict().ok_or(MetainfoError::NotADictionary)?)
    }

    /// Encodes it; the info bytes are the very ones that were read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut values = BTreeMap::new();
        let mut put =
            |key: &'static str, value: Option<Vec<u8>>| values.extend(value.map(|value| (key, value)));
        let tiers: Vec<_> = self.trackers.iter().filter(|tier| !tier.is_empty()).collect();
        put("announce", tiers.first().map(|tier| encode(&tier[0])));
        put(
            "announce-list",
            (tiers.len() > 1 || tiers.iter().any(|tier| tier.len() > 1)).then(|| encode(&tiers)),
        );
        put("comment", self.comment.as_ref().map(encode));
        put("created by", self.created_by.as_ref().map(encode));
        put("creation date", self.creation_date.as_ref().map(encode));
        put("info", Some(self.info.raw().to_vec()));
        put("nodes", (!self.nodes.is_empty()).then(|| encode(&self.nodes)));
        put("url-list", (!self.web_seeds.is_empty()).then(|| encode(&self.web_seeds)));

        let mut out = vec![b'd'];
        for (key, value) in values {
            out.extend(encode(&Bytes::new(key.as_bytes())));
            out.extend(value);
        }
        out.push(b'e');
        out
    }
}

impl Info {
    /// Reads an info dictionary, whether from a .torrent or from peers (BEP 9): the same checks. Whoever got it from a peer
    /// compares [`Info::info_hash`] with the one that was asked for.
    ///
    /// # Errors
    /// If it is no info dictionary, or can't be used.
    pub fn from_bytes(raw: &[u8]) -> Result<Self, MetainfoError> {
        let scan = bencode::scan(raw, &Limits::TORRENT)?;
        info::read(scan.root())
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
        self.inner.files.iter().position(|file| file.root.as_ref() == Some(root))
    }

    /// The piece layer of a file, if it has one and it is known.
    pub fn layer(&self, file: usize) -> Option<&[Hash]> {
        self.inner.layers.get(file)?.get().map(Vec::as_slice)
    }

    /// The files whose piece layers are not known yet.
    pub fn missing_layers(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.inner.files.len()).filter(|&file| {
            self.layer(file).is_none() && self.tree(file).is_some_and(|tree| tree.has_piece_layer())
        })
    }

    /// Takes in the piece layer of a file, wherever it is from. Every clone of this info knows it then: it is proven by the root,
    /// so that nobody can be told two different ones.
    ///
    /// # Errors
    /// If the file has none, or these are not it.
    pub fn set_layer(&self, file: usize, hashes: Vec<Hash>) -> Result<(), WrongLayer> {
        let tree = self.tree(file).filter(Tree::has_piece_layer).ok_or(WrongLayer)?;
        let right = hashes.len() as u64 == tree.layer_length(tree.piece_layer())
            && tree.root_of_pieces(&hashes) == tree.root;
        if !right {
            return Err(WrongLayer);
        }
        let _ = self.inner.layers[file].set(hashes);
        Ok(())
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
}

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

impl From<BencodeError> for MetainfoError {
    fn from(error: BencodeError) -> Self {
        match error.kind {
            BencodeErrorKind::Length => Self::TooLong,
            _ => Self::Bencode(error),
        }
    }
}

/// Warnings, of which a torrent full of rubbish makes no more than fit a screen.
#[derive(Default)]
struct Warnings {
    lines: Vec<String>,
    more: usize,
}

impl Warnings {
    /// How many are told in full.
    const LIMIT: usize = 20;

    fn push(&mut self, line: impl FnOnce() -> String) {
        if self.lines.len() < Self::LIMIT {
            self.lines.push(line());
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("{} more like these", self.more));
        }
        self.lines
    }
}

/// Encodes a value of our own, which serde_bencode always can: it holds strings, integers and lists of them.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_bencode::to_bytes(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
