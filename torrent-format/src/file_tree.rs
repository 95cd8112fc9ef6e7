//! The `file tree` of BEP 52 as a flat list: directories within each other, each a dictionary from names to what they hold; a file is
//! the dictionary under an empty name. The order of the list is that of the tree, which is that of its keys.

use crate::bencode::{Entries, Raw};
use crate::merkle::Hash;
use crate::metainfo::{Entry, MetainfoError, bad_value, wrong_type};
use crate::safe_path::excerpt;

/// The files of a tree, in its order. Does not recurse, and remembers only where it is.
#[derive(Clone)]
pub(crate) struct Walk<'a> {
    /// The directories that it is in, outermost first, each with its name and what is left of it. As deep as the bencode, which was
    /// scanned within limits.
    open: Vec<(&'a [u8], Entries<'a>)>,
}

/// A file of a tree.
pub(crate) struct TreeFile<'a> {
    /// Outermost first; none is empty.
    pub(crate) names: Vec<&'a [u8]>,
    /// What the tree says of it.
    value: Raw<'a>,
}

/// What a tree says of its files, in its order. Its keys are known to be sorted.
pub(crate) fn read(tree: Raw<'_>) -> Result<Vec<Entry<'_>>, MetainfoError> {
    let mut files = Vec::new();
    for file in Walk::new(tree)? {
        files.push(file?.entry()?);
    }
    if files.is_empty() {
        return Err(bad_value("file tree", "is empty"));
    }
    Ok(files)
}

impl<'a> Walk<'a> {
    pub(crate) fn new(tree: Raw<'a>) -> Result<Self, MetainfoError> {
        let tree = tree.as_dict().ok_or_else(|| wrong_type("file tree", "a dictionary"))?;
        Ok(Self { open: vec![(b"", tree.iter())] })
    }

    /// The names of the open directories, and this one.
    fn names(&self, name: &'a [u8]) -> Vec<&'a [u8]> {
        self.open.iter().skip(1).map(|&(name, _)| name).chain([name]).collect()
    }

    /// Goes on to the next file.
    fn step(&mut self) -> Result<Option<TreeFile<'a>>, MetainfoError> {
        while let Some((_, entries)) = self.open.last_mut() {
            let Some((name, value)) = entries.next() else {
                self.open.pop();
                continue;
            };
            if name.is_empty() {
                return Err(bad_value(key(&self.names(name), ""), "has an empty name"));
            }
            let Some(inside) = value.as_dict() else {
                return Err(wrong_type(key(&self.names(name), ""), "a dictionary"));
            };
            let mut first = inside.iter();
            match first.next() {
                Some((b"", _)) if first.next().is_some() => {
                    return Err(bad_value(key(&self.names(name), ""), "is both a file and a directory"));
                }
                Some((b"", value)) => return Ok(Some(TreeFile { names: self.names(name), value })),
                _ => self.open.push((name, inside.iter())),
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<TreeFile<'a>, MetainfoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step();
        if next.is_err() {
            self.open.clear();
        }
        next.transpose()
    }
}

impl<'a> TreeFile<'a> {
    fn entry(&self) -> Result<Entry<'a>, MetainfoError> {
        let key = |value: &str| key(&self.names, value);
        let file = self.value.as_dict().ok_or_else(|| wrong_type(key(""), "a dictionary"))?;
        // libtorrent writes no length for a link.
        let mut entry = Entry::read(file, false, &key)?;
        if entry.attributes.pad {
            return Err(bad_value(key("attr"), "makes it a pad file, which has no place in a tree"));
        }
        let root = file.get("pieces root");
        if entry.length == 0 {
            return match root {
                Some(_) => Err(bad_value(key("pieces root"), "is there, although the file is empty")),
                None => Ok(entry),
            };
        }
        let root = root.ok_or_else(|| bad_value(key("pieces root"), "is missing"))?;
        let root = root.as_bytes().ok_or_else(|| wrong_type(key("pieces root"), "a string"))?;
        let root: &Hash =
            root.try_into().map_err(|_| bad_value(key("pieces root"), "is not 32 bytes long"))?;
        if *root == [0; 32] {
            return Err(bad_value(key("pieces root"), "is zero"));
        }
        entry.root = Some(root);
        Ok(entry)
    }
}

/// How an error names a value of a tree.
fn key(names: &[&[u8]], value: &str) -> String {
    let path = names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join("/");
    let dot = if value.is_empty() { "" } else { "." };
    format!("file tree[{}]{dot}{value}", excerpt(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::{Limits, scan};

    #[test]
    fn a_tree_is_walked_in_its_own_order() {
        let file = "d0:d6:lengthi0eee";
        // `a/b` comes before `a-b`, as the keys do, although it sorts after it as a joined path.
        let tree = format!("d1:ad1:b{file}1:cd1:d{file}e5:emptydee3:a-b{file}1:z{file}e");
        let scanned = scan(tree.as_bytes(), &Limits::INFO.strict()).unwrap();
        let walk = Walk::new(scanned.root()).unwrap();
        let names = |walk: Walk<'_>| -> Vec<_> {
            let names = walk.map(|file| file.unwrap().names.join(&b'/'));
            names.map(|name| String::from_utf8(name).unwrap()).collect()
        };
        let all = ["a/b", "a/c/d", "a-b", "z"];
        assert_eq!(names(walk.clone()), all);
        let mut rest = walk;
        rest.next().unwrap().unwrap();
        assert_eq!(names(rest.clone()), all[1..], "a walk goes on from where it was cloned");
        assert_eq!(names(rest), all[1..]);
        assert_eq!(read(scanned.root()).unwrap().len(), 4);
    }

    #[test]
    fn a_walk_ends_with_what_is_wrong() {
        let scanned = scan(b"d1:ad0:d6:lengthi0eee1:bi1e1:cd0:d6:lengthi0eeee", &Limits::INFO).unwrap();
        let mut walk = Walk::new(scanned.root()).unwrap();
        assert!(walk.next().unwrap().is_ok());
        assert_eq!(walk.next().unwrap().err(), Some(wrong_type("file tree[b]", "a dictionary")));
        assert!(walk.next().is_none());
    }
}
