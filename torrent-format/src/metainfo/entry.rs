//! A file as a torrent writes it: in `files` of BEP 3 or in the `file tree` of BEP 52, with the attributes of BEP 47.

use std::iter::Once;

use super::{MetainfoError, bad_value, lossy_joined, wrong_type};
use crate::bencode::{Dict, Items, List, Raw};
use crate::file_tree::Walk;
use crate::merkle::Hash;
use crate::safe_path::{MAX_PATH_DEPTH, PathError};

/// A file, without its names: [`Names`] has those, in the same order.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Bytes.
    pub(crate) length: u64,
    pub(crate) attributes: Attributes,
    /// Where a symbolic link leads.
    pub(crate) target: Option<List<'a>>,
    /// `pieces root`
    pub(crate) root: Option<&'a Hash>,
}

/// `attr` (BEP 47). Letters that are not known mean nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Attributes {
    pub(crate) pad: bool,
    pub(crate) executable: bool,
    pub(crate) hidden: bool,
    pub(crate) link: bool,
}

/// The names of all files, outermost first; the torrent's own comes before them if it is a directory. They are read anew each time: a
/// tree shares names between files, so that all of them together may be far longer than what they were read from.
#[derive(Clone)]
pub(crate) enum Names<'a> {
    /// One file that bears the torrent's name.
    Single(Once<&'a [u8]>),
    /// `files`, of which every entry is known to have a usable path.
    List(Items<'a>),
    /// `file tree`, which is known to be one.
    Tree(Walk<'a>),
}

impl<'a> Entry<'a> {
    /// Reads all but the root; `key` names a value of the entry, `needs_length` says whether even a link has one.
    pub(crate) fn read(
        entry: Dict<'a>,
        needs_length: bool,
        key: &dyn Fn(&str) -> String,
    ) -> Result<Self, MetainfoError> {
        let attributes = entry.get("attr").and_then(Raw::as_bytes).map(Attributes::read).unwrap_or_default();
        let length = match entry.get("length") {
            None if attributes.link && !needs_length => 0,
            None => return Err(bad_value(key("length"), "is missing")),
            Some(length) => {
                let length = length.as_int().ok_or_else(|| wrong_type(key("length"), "an integer"))?;
                u64::try_from(length).map_err(|_| bad_value(key("length"), "is negative"))?
            }
        };
        if attributes.link && length > 0 {
            return Err(bad_value(key("length"), "is not 0, although the file is a symbolic link"));
        }
        let target = entry.get("symlink path").filter(|_| attributes.link).and_then(Raw::as_list);
        Ok(Self { length, attributes, target, root: None })
    }

    /// Whether it has a place on disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        !self.attributes.pad && !self.attributes.link
    }

    /// Where it leads if it is a symbolic link, fit for [`super::File::symlink`].
    pub(crate) fn symlink(&self) -> Option<Box<str>> {
        if !self.attributes.link {
            return None;
        }
        let names = self.target.into_iter().flatten().filter_map(Raw::as_bytes);
        Some(lossy_joined(names).into_boxed_str())
    }
}

impl Attributes {
    fn read(letters: &[u8]) -> Self {
        let has = |letter| letters.contains(&letter);
        Self { pad: has(b'p'), executable: has(b'x'), hidden: has(b'h'), link: has(b'l') }
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = Vec<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Single(once) => once.next().map(|name| vec![name]),
            Self::List(files) => list_names(files.next()?.as_dict()?).ok()?,
            Self::Tree(walk) => Some(walk.next()?.ok()?.names),
        }
    }
}

/// The names of an entry of `files`; `None` if it has no list of strings. `path.utf-8` is what older tools write beside names in the
/// encoding of their own machine.
pub(crate) fn list_names(file: Dict<'_>) -> Result<Option<Vec<&[u8]>>, PathError> {
    let Some(path) = file.get("path").and_then(Raw::as_list) else { return Ok(None) };
    let path = read_path(path)?;
    let utf8 = file.get("path.utf-8").and_then(Raw::as_list).and_then(|path| read_path(path).ok().flatten());
    Ok(path.map(|path| utf8.filter(|path| is_usable_utf8(path)).unwrap_or(path)))
}

/// Counted before it is collected: an empty name takes two bytes in a torrent and sixteen in a list.
fn read_path(path: List<'_>) -> Result<Option<Vec<&[u8]>>, PathError> {
    let depth = path.iter().count();
    if depth > MAX_PATH_DEPTH {
        return Err(PathError::TooDeep(1 + depth));
    }
    Ok(path.iter().map(Raw::as_bytes).collect())
}

fn is_usable_utf8(path: &[&[u8]]) -> bool {
    !path.is_empty() && path.iter().all(|name| !name.is_empty() && str::from_utf8(name).is_ok())
}
