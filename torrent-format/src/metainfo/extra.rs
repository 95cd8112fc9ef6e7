//! Keys of a .torrent that mean nothing to us, kept for those to whom they do.

use crate::InfoHash;
use crate::bencode::{Dict, Raw, RawEntry};

use super::lossy;

/// The keys around the info that [`super::Metainfo`] has no field for, with their raw values. As large as they were in the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Extra {
    /// Invariant: a dictionary in bencode, its keys sorted.
    bytes: Vec<u8>,
}

impl Extra {
    /// Those entries of a dictionary that `keep` takes.
    pub(super) fn of(dict: Dict<'_>, keep: impl Fn(&[u8]) -> bool) -> Self {
        let kept = || dict.raw_entries().filter(|entry| keep(entry.key()));
        let length: usize = kept().map(|entry| entry.bytes().len()).sum();
        let mut bytes = Vec::with_capacity(2 + length);
        bytes.push(b'd');
        if kept().is_sorted_by_key(|entry| entry.key()) {
            kept().for_each(|entry| bytes.extend_from_slice(entry.bytes()));
        } else {
            let mut entries = Vec::with_capacity(kept().count());
            entries.extend(kept());
            entries.sort_unstable_by_key(RawEntry::key);
            entries.iter().for_each(|entry| bytes.extend_from_slice(entry.bytes()));
        }
        bytes.push(b'e');
        Self { bytes }
    }

    /// Whether there is no such key.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// All of them, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Raw<'_>)> {
        self.dict().into_iter().flatten()
    }

    /// The value of this key.
    pub fn get(&self, key: &str) -> Option<Raw<'_>> {
        self.dict()?.get(key)
    }

    /// Removes this key. Whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(dict) = self.dict() else { return false };
        let left = Self::of(dict, |other| other != key.as_bytes());
        let found = left != *self;
        *self = left;
        found
    }

    /// Web seeds of the older kind (BEP 17): read, not used.
    pub fn http_seeds(&self) -> Vec<String> {
        self.get("httpseeds").map(strings).unwrap_or_default()
    }

    /// Where a newer form of the torrent is to be had (BEP 39).
    pub fn update_url(&self) -> Option<String> {
        self.get("update-url")?.as_bytes().map(lossy)
    }

    pub(super) fn dict(&self) -> Option<Dict<'_>> {
        Raw::checked(&self.bytes).as_dict()
    }
}

/// What a dictionary says of torrents like this one (BEP 38): those that share files with it.
pub(super) fn similar(dict: Dict<'_>) -> Vec<InfoHash> {
    let hashes = dict.get("similar").and_then(Raw::as_list).into_iter().flatten();
    hashes.filter_map(|hash| Some(InfoHash(hash.as_bytes()?.try_into().ok()?))).collect()
}

/// The collections that a dictionary counts the torrent among (BEP 38).
pub(super) fn collections(dict: Dict<'_>) -> Vec<String> {
    dict.get("collections").map(strings).unwrap_or_default()
}

/// A string, or those of a list; what else is in it is left out.
fn strings(value: Raw<'_>) -> Vec<String> {
    match value.as_list() {
        Some(list) => list.iter().filter_map(Raw::as_bytes).map(lossy).collect(),
        None => value.as_bytes().map(lossy).into_iter().collect(),
    }
}

impl Default for Extra {
    fn default() -> Self {
        Self { bytes: b"de".to_vec() }
    }
}

impl std::fmt::Debug for Extra {
    /// The keys only: a value may be as long as the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(|(key, _)| String::from_utf8_lossy(key))).finish()
    }
}
