//! Torrents that are written from raw values, so that any of them can be made wrong.

use std::collections::BTreeMap;

use super::*;
use crate::merkle::{Hash, root};

/// A dictionary.
#[derive(Clone)]
pub(super) struct Dict(BTreeMap<Vec<u8>, Vec<u8>>);

impl Dict {
    pub(super) fn with(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.0.insert(key.as_ref().to_vec(), value.as_ref().to_vec());
        self
    }

    pub(super) fn without(mut self, key: &str) -> Self {
        self.0.remove(key.as_bytes());
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = b"d".to_vec();
        for (key, value) in &self.0 {
            push_entry(&mut out, key, value);
        }
        out.push(b'e');
        out
    }

    /// For those that are text.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    pub(super) fn info(&self) -> Result<Info, MetainfoError> {
        Info::from_bytes(&self.bytes())
    }

    /// As the outer dictionary, around [`single`].
    pub(super) fn torrent(&self) -> Metainfo {
        self.around(&single()).unwrap()
    }

    /// As the outer dictionary.
    pub(super) fn around(&self, info: &Dict) -> Result<Metainfo, MetainfoError> {
        Metainfo::from_bytes(&self.clone().with("info", info.bytes()).bytes())
    }
}

pub(super) fn dict() -> Dict {
    Dict(BTreeMap::new())
}

pub(super) fn string(text: &str) -> String {
    format!("{}:{text}", text.len())
}

pub(super) fn blob(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_string(&mut out, bytes);
    out
}

pub(super) fn int(value: i64) -> String {
    format!("i{value}e")
}

/// A list of strings.
pub(super) fn strings(items: &[&str]) -> String {
    format!("l{}e", items.iter().map(|item| string(item)).collect::<String>())
}

/// A list of dictionaries.
pub(super) fn list(items: &[Dict]) -> String {
    format!("l{}e", items.iter().map(Dict::text).collect::<String>())
}

pub(super) fn hashes(count: usize) -> String {
    string(&"h".repeat(20 * count))
}

/// A file of 40,000 bytes in 3 pieces, v1.
pub(super) fn single() -> Dict {
    dict()
        .with("length", "i40000e")
        .with("name", "1:f")
        .with("piece length", "i16384e")
        .with("pieces", hashes(3))
}

/// A directory `t` of these files, each with its path as a bencoded list, v1.
pub(super) fn multi(files: &[(i64, &str)]) -> Dict {
    let entries: Vec<_> = files.iter().map(|(length, path)| entry(*length, path)).collect();
    let total: i64 = files.iter().fold(0_i64, |total, (length, _)| total.saturating_add(*length)).max(0);
    let pieces = (total as usize).div_ceil(16384).min(1000);
    single()
        .without("length")
        .with("name", "1:t")
        .with("pieces", hashes(pieces))
        .with("files", list(&entries))
}

/// An entry of `files`.
pub(super) fn entry(length: i64, path: &str) -> Dict {
    dict().with("length", int(length)).with("path", path)
}

/// What a tree has for a file of this length, in which `root` stands 32 times.
pub(super) fn leaf(length: i64, root: char) -> Dict {
    let file = dict().with("length", int(length));
    match length {
        0 => file,
        _ => file.with("pieces root", string(&root.to_string().repeat(32))),
    }
}

/// A directory of a tree: names, and what they hold. A file is wrapped.
pub(super) fn tree(entries: &[(&str, Dict)]) -> Dict {
    entries.iter().fold(dict(), |tree, (name, file)| tree.with(name, dict().with("", file.bytes()).bytes()))
}

/// A directory `t` of `a` (20,000 bytes, 2 pieces), `b` (10 bytes) and `empty`, v2.
pub(super) fn v2() -> Dict {
    dict()
        .with(
            "file tree",
            tree(&[("a", leaf(20_000, 'a')), ("b", leaf(10, 'b')), ("empty", leaf(0, '-'))]).bytes(),
        )
        .with("meta version", "i2e")
        .with("name", "1:t")
        .with("piece length", "i16384e")
}

/// [`v2`] and these files, v1.
pub(super) fn hybrid_of(files: &[Dict], pieces: usize) -> Dict {
    v2().with("files", list(files)).with("pieces", hashes(pieces))
}

/// [`v2`] as a hybrid.
pub(super) fn hybrid() -> Dict {
    hybrid_of(&hybrid_files(), 3)
}

pub(super) fn hybrid_files() -> Vec<Dict> {
    vec![entry(20_000, "l1:ae"), pad(12_768), entry(10, "l1:be"), entry(0, "l5:emptye")]
}

pub(super) fn pad(length: i64) -> Dict {
    let path = strings(&[".pad", &length.to_string()]);
    entry(length, &path).with("attr", "1:p")
}

/// A file of two pieces of 16 KiB with a piece layer that is right: its root, and the layer.
pub(super) fn layer(fill: u8) -> (Hash, Vec<Hash>) {
    let layer = vec![[fill; 32], [fill + 1; 32]];
    (root(&layer, 0, 1), layer)
}

/// [`v2`] with a root in place of that of `a`.
pub(super) fn with_root(info: &Dict, root: &Hash) -> Dict {
    let mut bytes = info.bytes();
    let at = bytes.windows(32).position(|window| window == [b'a'; 32]).unwrap();
    bytes[at..at + 32].copy_from_slice(root);
    let scan = bencode::scan(&bytes, &Limits::INFO).unwrap();
    Dict(scan.root().as_dict().unwrap().iter().map(|(k, v)| (k.to_vec(), v.bytes().to_vec())).collect())
}
