//! The info dictionary of a torrent to be: what is in it, and its bytes (BEP 3, BEP 47, BEP 52).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_bytes::Bytes;

use super::plan::Slot;
use super::{Plan, PlannedFile};
use crate::merkle::Hash;
use crate::metainfo::encode;

/// The bytes of the info dictionary. `pieces` are the v1 hashes of all pieces, `roots` has an entry for each of the plan's files; what
/// the torrent's form has no use for is ignored.
pub(super) fn info_bytes(plan: &Plan, pieces: &[[u8; 20]], roots: &[Option<Hash>]) -> Vec<u8> {
    let version = plan.format().version();
    let mut info =
        BTreeMap::from([("name", encode(&plan.name)), ("piece length", encode(&plan.layout.piece_length()))]);
    if version.has_v1() {
        match plan.single_file {
            true => info.insert("length", encode(&plan.total())),
            false => info.insert("files", encode(&file_list(plan))),
        };
        info.insert("pieces", encode(&Bytes::new(pieces.as_flattened())));
    }
    if version.has_v2() {
        info.insert("file tree", file_tree(plan, roots));
        info.insert("meta version", encode(&2));
    }
    if plan.builder.private {
        info.insert("private", encode(&1));
    }
    if let Some(source) = &plan.builder.source {
        info.insert("source", encode(source));
    }

    let mut out = vec![b'd'];
    for (key, value) in info {
        push_string(&mut out, key);
        out.extend(value);
    }
    out.push(b'e');
    out
}

/// An entry of `files`. serde_bencode sorts the keys and leaves out what is `None`.
#[derive(Serialize)]
struct ListEntry<'a> {
    attr: Option<&'static str>,
    length: u64,
    path: Vec<&'a str>,
    #[serde(rename = "symlink path")]
    symlink_path: Option<Vec<&'a str>>,
}

fn file_list(plan: &Plan) -> Vec<ListEntry<'_>> {
    let entries = plan.slots.iter().map(|slot| match slot {
        Slot::File(number) => {
            let file = &plan.files[*number];
            ListEntry {
                attr: file.attr(),
                length: file.length,
                path: file.path.elements().skip(1).collect(),
                symlink_path: file.link_path(),
            }
        }
        Slot::Pad { length, name } => {
            ListEntry { attr: Some("p"), length: *length, path: vec![".pad", name], symlink_path: None }
        }
    });
    entries.collect()
}

/// What `file tree` says of a file.
#[derive(Serialize)]
struct TreeEntry<'a> {
    attr: Option<&'static str>,
    /// `None` for a symbolic link, as libtorrent has it: BEP 52 doesn't say.
    length: Option<u64>,
    #[serde(rename = "pieces root")]
    pieces_root: Option<&'a Bytes>,
    #[serde(rename = "symlink path")]
    symlink_path: Option<Vec<&'a str>>,
}

/// The files are in the tree's own order, so that it is written as they come.
fn file_tree(plan: &Plan, roots: &[Option<Hash>]) -> Vec<u8> {
    let mut out = vec![b'd'];
    let mut open: Vec<&str> = Vec::new();
    for (file, root) in plan.files.iter().zip(roots) {
        let names = file.path.elements().skip(usize::from(!plan.single_file));
        let names: Vec<&str> = names.collect();
        let Some((name, dirs)) = names.split_last() else { continue };
        let shared = open.iter().zip(dirs).take_while(|(open, dir)| open == dir).count();
        out.extend(open.drain(shared..).map(|_| b'e'));
        for dir in &dirs[shared..] {
            push_string(&mut out, dir);
            out.push(b'd');
            open.push(dir);
        }
        push_string(&mut out, name);
        out.extend(b"d0:");
        out.extend(encode(&TreeEntry {
            attr: file.attr(),
            length: file.link.is_none().then_some(file.length),
            pieces_root: root.as_ref().map(|root| Bytes::new(root)),
            symlink_path: file.link_path(),
        }));
        out.push(b'e');
    }
    out.extend(open.iter().map(|_| b'e'));
    out.push(b'e');
    out
}

impl PlannedFile {
    /// The executable bit is not among them: the same files make the same torrent wherever they lie.
    fn attr(&self) -> Option<&'static str> {
        self.link.is_some().then_some("l")
    }

    fn link_path(&self) -> Option<Vec<&str>> {
        self.link.as_ref().map(|target| target.split('/').collect())
    }
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    out.extend(encode(&text));
}
