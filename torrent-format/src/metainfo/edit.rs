//! Changes inside an info dictionary that leave every other byte as it is.

use std::borrow::Cow;

use super::{Info, push_entry, push_string};
use crate::bencode::Raw;

/// What is to be changed by [`Info::edited`]; `None`: nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InfoChanges {
    /// The torrent's name.
    pub name: Option<String>,
    /// Whether only peers from its trackers may be used (BEP 27).
    pub private: Option<bool>,
    /// The `source` key; `Some(None)` removes it.
    pub source: Option<Option<String>>,
}

/// The raw bytes of the changed dictionary. They are yet to be checked.
pub(super) fn edit(info: &Info, changes: &InfoChanges) -> Vec<u8> {
    let dict = Raw::checked(info.raw()).as_dict();
    let mut entries: Vec<_> =
        dict.into_iter().flatten().map(|(key, value)| (key, Cow::Borrowed(value.bytes()))).collect();

    if let Some(name) = &changes.name {
        for key in ["name", "name.utf-8"] {
            if let Some((_, value)) = entries.iter_mut().find(|(found, _)| *found == key.as_bytes()) {
                *value = string(name).into();
            }
        }
        // A single file's name stands in the tree as well.
        let tree = entries.iter_mut().find(|(key, _)| *key == b"file tree").filter(|_| info.is_single_file());
        let only = dict.and_then(|dict| dict.get("file tree")?.as_dict()?.iter().next());
        if let Some(((_, tree), (_, file))) = tree.zip(only) {
            let mut renamed = b"d".to_vec();
            push_entry(&mut renamed, name.as_bytes(), file.bytes());
            renamed.push(b'e');
            *tree = renamed.into();
        }
    }
    if let Some(private) = changes.private {
        put(&mut entries, b"private", private.then(|| b"i1e".to_vec()));
    }
    if let Some(source) = &changes.source {
        put(&mut entries, b"source", source.as_deref().map(string));
    }

    let mut out = vec![b'd'];
    for (key, value) in entries {
        push_entry(&mut out, key, &value);
    }
    out.push(b'e');
    out
}

/// Sets, adds (before the first greater key) or removes a key.
fn put(entries: &mut Vec<(&[u8], Cow<'_, [u8]>)>, key: &'static [u8], value: Option<Vec<u8>>) {
    let found = entries.iter().position(|(found, _)| *found == key);
    match (found, value) {
        (Some(at), Some(value)) => entries[at].1 = value.into(),
        (Some(at), None) => {
            entries.remove(at);
        }
        (None, Some(value)) => {
            let at = entries.iter().position(|(found, _)| *found > key).unwrap_or(entries.len());
            entries.insert(at, (key, value.into()));
        }
        (None, None) => {}
    }
}

fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_string(&mut out, text.as_bytes());
    out
}
