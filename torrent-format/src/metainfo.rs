//! What a .torrent says (BEP 3, BEP 5, BEP 12, BEP 19, BEP 27, BEP 38, BEP 39, BEP 47, BEP 52).
//!
//! [`Metainfo`] is the whole file, [`Info`] the part of it that is hashed, and the only part that peers can give (BEP 9). What is
//! wrong in the info makes a torrent unusable, and is a [`MetainfoError`]; what is odd around it is left out, with a warning. Keys
//! around the info that mean nothing here are kept: [`Extra`].

use std::collections::BTreeMap;
use std::str::Utf8Chunk;

use serde::Serialize;

use crate::InfoHash;
use crate::bencode::{self, BencodeError, BencodeErrorKind, Limits};
use crate::layout::LayoutError;
use crate::safe_path::PathError;

mod edit;
mod entry;
mod extra;
mod hybrid;
mod info;
mod layers;
mod outer;
mod read;
pub(crate) mod urls;

pub use edit::InfoChanges;
pub(crate) use entry::Entry;
pub use extra::Extra;
pub use info::{File, Info, PieceCheck, PieceHashes, Version, WrongLayer};
pub(crate) use outer::is_host;

/// The longest info dictionary that is read, in bytes, and the most that stands around it without the piece layers. 10 MiB hold
/// half a million files, or as many piece hashes; it is a bound that other clients have too.
pub const MAX_INFO_LENGTH: u32 = 10 * 1024 * 1024;

/// The longest .torrent that is read, in bytes: [`MAX_INFO_LENGTH`], and the piece layers of as many pieces as there may be (2^21
/// hashes of 32 bytes, and as much again as an eighth of them for roots and lengths).
pub const MAX_TORRENT_LENGTH: u32 = MAX_INFO_LENGTH + 72 * 1024 * 1024;

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
    /// Every other key, as it was read.
    pub extra: Extra,
    /// What was left out or looks odd, one line each, fit for a terminal; those of [`Info::warnings`] included.
    pub warnings: Vec<String>,
}

/// Not a torrent, or not one that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// Longer than [`MAX_TORRENT_LENGTH`], or than [`MAX_INFO_LENGTH`] without the piece layers.
    #[error("longer than {} MiB without piece layers, the most that is read of a .torrent", MAX_INFO_LENGTH >> 20)]
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
    /// A hybrid torrent whose two forms are not of the same files.
    #[error("bad torrent: its v1 and v2 forms differ: {file} {problem}")]
    Inconsistent {
        /// The path of the first file at which they do, fit for a terminal.
        file: String,
        /// "has another length", …
        problem: &'static str,
    },
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
            extra: Extra::default(),
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
        outer::read(scan.root())
    }

    /// Torrents that share files with it, as it says inside or outside of the info (BEP 38).
    pub fn similar(&self) -> Vec<InfoHash> {
        self.dicts().flat_map(extra::similar).collect()
    }

    /// The collections that it counts itself among, inside or outside of the info (BEP 38).
    pub fn collections(&self) -> Vec<String> {
        self.dicts().flat_map(extra::collections).collect()
    }

    /// The info, and what else there is.
    fn dicts(&self) -> impl Iterator<Item = bencode::Dict<'_>> {
        self.info.dict().into_iter().chain(self.extra.dict())
    }

    /// Encodes it; the info bytes are the very ones that were read. `piece layers` holds those that are known.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut values: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
        let mut put = |key: &'static str, value: Option<Vec<u8>>| {
            values.extend(value.map(|value| (key.as_bytes(), value)));
        };
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
        put("piece layers", self.info.encode_layers());
        put("url-list", (!self.web_seeds.is_empty()).then(|| encode(&self.web_seeds)));

        let mut out = vec![b'd'];
        let mut extra = self.extra.iter().filter(|(key, _)| !values.contains_key(key)).peekable();
        for (key, value) in &values {
            while let Some((key, value)) = extra.next_if(|(extra, _)| extra < key) {
                push_entry(&mut out, key, value.bytes());
            }
            push_entry(&mut out, key, value);
        }
        for (key, value) in extra {
            push_entry(&mut out, key, value.bytes());
        }
        out.push(b'e');
        out
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

/// Text as it is kept: what is not UTF-8 becomes U+FFFD. Takes no more room than that needs, unlike `from_utf8_lossy`.
fn lossy(bytes: &[u8]) -> String {
    lossy_joined(std::iter::once(bytes))
}

/// Texts as they are kept, with `/` between them.
fn lossy_joined<'a>(texts: impl Iterator<Item = &'a [u8]> + Clone) -> String {
    let invalid = |chunk: &Utf8Chunk<'_>| if chunk.invalid().is_empty() { "" } else { "\u{fffd}" };
    let length = |bytes: &[u8]| -> usize {
        bytes.utf8_chunks().map(|chunk| chunk.valid().len() + invalid(&chunk).len()).sum()
    };
    let slashes = texts.clone().skip(1).count();
    let mut text = String::with_capacity(texts.clone().map(length).sum::<usize>() + slashes);
    for (i, bytes) in texts.enumerate() {
        text.push_str(if i > 0 { "/" } else { "" });
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.push_str(invalid(&chunk));
        }
    }
    text
}

/// A key and its raw value.
fn push_entry(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    push_string(out, key);
    out.extend_from_slice(value);
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(text);
}

pub(crate) fn wrong_type(key: impl Into<String>, expected: &'static str) -> MetainfoError {
    MetainfoError::WrongType { key: key.into(), expected }
}

pub(crate) fn bad_value(key: impl Into<String>, problem: &'static str) -> MetainfoError {
    MetainfoError::BadValue { key: key.into(), problem }
}

/// Encodes a value of our own, which serde_bencode always can: it holds strings, integers and lists of them.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_bencode::to_bytes(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
