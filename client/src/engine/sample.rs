//! Torrents for tests, of every version, made from the bytes of their files.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};
use torrent_format::hash::leaf_hashes;
use torrent_format::merkle::{Hash, Tree};
use torrent_format::metainfo::Version;
use torrent_format::{BLOCK_LENGTH, Info};

pub(super) const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::Hybrid];

/// A torrent named `t` with these files, whose paths stand in the order of a file tree. In a hybrid each file is padded to whole pieces.
pub(super) fn info<B: AsRef<[u8]>>(version: Version, piece_length: usize, files: &[(&str, B)]) -> Info {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (*path, bytes.as_ref())).collect();
    of_two(version, piece_length, &files, &files)
}

/// A torrent whose v1 hashes are of other bytes than its v2 hashes.
pub(super) fn of_two(
    version: Version,
    piece_length: usize,
    v1: &[(&str, &[u8])],
    v2: &[(&str, &[u8])],
) -> Info {
    let (list, pieces) = v1_keys(version, piece_length, v1);
    let mut tree = Dir::default();
    for (path, bytes) in v2.iter().filter(|_| version.has_v2()) {
        path.split('/').fold(&mut tree, |dir, name| dir.entries.entry(name).or_default()).file =
            Some((bytes.len(), root(bytes, piece_length)));
    }
    let (v1_files, v1_pieces) = match version.has_v1() {
        true => (
            [b"5:filesl", &list[..], b"e"].concat(),
            [format!("6:pieces{}:", pieces.len()).as_bytes(), &pieces].concat(),
        ),
        false => Default::default(),
    };
    let (v2_tree, v2_version) = match version.has_v2() {
        true => ([b"9:file tree", &tree.encode()[..]].concat(), &b"12:meta versioni2e"[..]),
        false => Default::default(),
    };
    let rest = format!("4:name1:t12:piece lengthi{piece_length}e");
    let raw = [b"d", &v2_tree[..], &v1_files, v2_version, rest.as_bytes(), &v1_pieces, b"e"].concat();
    let info = Info::from_bytes(&raw).expect("a good torrent");
    for file in info.missing_layers().collect::<Vec<_>>() {
        let path = info.files()[file].path.as_str().strip_prefix("t/").unwrap();
        let (_, bytes) = v2.iter().find(|(name, _)| *name == path).unwrap();
        info.set_layer(file, layer(bytes, piece_length)).expect("the right layer");
    }
    info
}

/// The same torrent, with none of its piece layers known.
pub(super) fn without_layers(info: &Info) -> Info {
    Info::from_bytes(info.raw()).unwrap()
}

/// The leaves of a file.
pub(super) fn leaves(bytes: &[u8]) -> Vec<Hash> {
    let mut leaves = Vec::new();
    leaf_hashes(bytes, &mut leaves);
    leaves
}

/// The payload in piece space: gaps and padding are zeros.
pub(super) fn payload<B: AsRef<[u8]>>(info: &Info, files: &[(&str, B)]) -> Vec<u8> {
    let mut payload = vec![0; info.layout().end() as usize];
    for (number, file) in info.files().iter().enumerate().filter(|(_, file)| !file.pad) {
        let path = file.path.as_str().strip_prefix("t/").unwrap();
        let (_, bytes) = files.iter().find(|(name, _)| *name == path).unwrap();
        let range = info.layout().file_range(number);
        payload[range.start as usize..range.end as usize].copy_from_slice(bytes.as_ref());
    }
    payload
}

/// The entries of `files`, and the hashes of `pieces`.
fn v1_keys(version: Version, piece_length: usize, files: &[(&str, &[u8])]) -> (Vec<u8>, Vec<u8>) {
    let (mut list, mut payload) = (Vec::new(), Vec::new());
    for (path, bytes) in files {
        let names: String = path.split('/').map(|name| format!("{}:{name}", name.len())).collect();
        list.extend_from_slice(format!("d6:lengthi{}e4:pathl{names}ee", bytes.len()).as_bytes());
        payload.extend_from_slice(bytes);
        let padding = payload.len().next_multiple_of(piece_length) - payload.len();
        if version == Version::Hybrid && padding > 0 {
            let name = format!("{}:{padding}", padding.to_string().len());
            list.extend_from_slice(format!("d4:attr1:p6:lengthi{padding}e4:pathl4:.pad{name}ee").as_bytes());
            payload.resize(payload.len() + padding, 0);
        }
    }
    (list, payload.chunks(piece_length).flat_map(|piece| <[u8; 20]>::from(Sha1::digest(piece))).collect())
}

fn layer(bytes: &[u8], piece_length: usize) -> Vec<Hash> {
    let tree = Tree::new([0; 32], bytes.len() as u64, piece_length as u32);
    leaves(bytes)
        .chunks(piece_length / BLOCK_LENGTH as usize)
        .map(|piece| tree.root_of_leaves(piece))
        .collect()
}

fn root(bytes: &[u8], piece_length: usize) -> Hash {
    if bytes.is_empty() {
        return [0; 32];
    }
    let tree = Tree::new([0; 32], bytes.len() as u64, piece_length as u32);
    match tree.has_piece_layer() {
        true => tree.root_of_pieces(&layer(bytes, piece_length)),
        false => tree.root_of_leaves(&leaves(bytes)),
    }
}

/// A directory of a file tree, or a file.
#[derive(Default)]
struct Dir<'a> {
    entries: BTreeMap<&'a str, Dir<'a>>,
    file: Option<(usize, Hash)>,
}

impl Dir<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut out = b"d".to_vec();
        match &self.file {
            Some((0, _)) => out.extend_from_slice(b"0:d6:lengthi0ee"),
            Some((length, root)) => {
                out.extend_from_slice(format!("0:d6:lengthi{length}e11:pieces root32:").as_bytes());
                out.extend_from_slice(root);
                out.push(b'e');
            }
            None => {
                for (name, entry) in &self.entries {
                    out.extend_from_slice(format!("{}:{name}", name.len()).as_bytes());
                    out.extend_from_slice(&entry.encode());
                }
            }
        }
        out.push(b'e');
        out
    }
}
