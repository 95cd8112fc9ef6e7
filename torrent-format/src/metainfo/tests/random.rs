//! Random trees: what is written is what is read, in each form; and what is changed afterwards is noticed or means the same.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;
use crate::merkle::{Hash, Tree, root};
use crate::{BLOCK_LENGTH, Layout};

/// A file as it was meant.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Meant {
    length: u64,
    root: Option<Hash>,
    layer: Option<Vec<Hash>>,
    attr: &'static str,
}

/// A torrent as it was meant: its files by their names, which is the order of a tree.
struct Torrent {
    piece_length: u32,
    files: BTreeMap<Vec<String>, Meant>,
}

/// What a tree holds.
enum Node {
    File(Meant),
    Dir(BTreeMap<String, Node>),
}

fn random_node(rng: &mut Rng, depth: usize, piece_length: u32) -> Node {
    if depth > 0 && rng.u8(..3) == 0 || depth > 6 {
        let length = match rng.u8(..6) {
            0 => 0,
            1 => rng.u64(1..100),
            2 => u64::from(piece_length),
            3 => u64::from(piece_length) + 1,
            _ => rng.u64(1..20 * u64::from(BLOCK_LENGTH)),
        };
        let mut file =
            Meant { length, root: None, layer: None, attr: rng.choice(["", "x", "h", "xh"]).unwrap() };
        if length > 0 {
            let shape = Tree::new([0; 32], length, piece_length);
            let leaves: Vec<Hash> =
                (0..shape.leaves()).map(|_| std::array::from_fn(|_| rng.u8(..))).collect();
            file.root = Some(root(&leaves, 0, shape.height()));
            let pieces = leaves.chunks((piece_length / BLOCK_LENGTH) as usize);
            file.layer =
                shape.has_piece_layer().then(|| pieces.map(|piece| shape.root_of_leaves(piece)).collect());
        }
        return Node::File(file);
    }
    let names = (0..rng.usize(1..6)).map(|_| {
        let length = if rng.u8(..20) == 0 { rng.usize(1..60) } else { rng.usize(1..4) };
        (0..length)
            .map(|_| *rng.choice(&['a', 'B', '.', 'z', ' ', '-', 'é', '\u{1f30a}']).unwrap())
            .collect::<String>()
    });
    let names: Vec<String> = names.filter(|name| !matches!(&**name, "." | "..")).collect();
    Node::Dir(names.into_iter().map(|name| (name, random_node(rng, depth + 1, piece_length))).collect())
}

/// The value of a tree's node in bencode.
fn encode_node(node: &Node) -> Dict {
    match node {
        Node::Dir(entries) => {
            entries.iter().fold(dict(), |dict, (name, node)| dict.with(name, encode_node(node).bytes()))
        }
        Node::File(file) => {
            let mut inside = dict().with("length", int(file.length as i64));
            if let Some(root) = &file.root {
                inside = inside.with("pieces root", blob(root));
            }
            if !file.attr.is_empty() {
                inside = inside.with("attr", string(file.attr));
            }
            dict().with("", inside.bytes())
        }
    }
}

fn flatten(node: Node, names: &mut Vec<String>, files: &mut BTreeMap<Vec<String>, Meant>) {
    match node {
        Node::File(file) => {
            files.insert(names.clone(), file);
        }
        Node::Dir(entries) => {
            for (name, node) in entries {
                names.push(name);
                flatten(node, names, files);
                names.pop();
            }
        }
    }
}

/// A torrent, and its info as v2.
fn random_torrent(rng: &mut Rng) -> Option<(Torrent, Dict)> {
    let piece_length = BLOCK_LENGTH << rng.u32(..4);
    let node = random_node(rng, 0, piece_length);
    let tree = encode_node(&node);
    let mut files = BTreeMap::new();
    flatten(node, &mut Vec::new(), &mut files);
    let info = dict()
        .with("file tree", tree.bytes())
        .with("meta version", "i2e")
        .with("name", "4:name")
        .with("piece length", int(piece_length.into()));
    (!files.is_empty()).then_some((Torrent { piece_length, files }, info))
}

/// `files` and `pieces` for it as well.
fn as_hybrid(rng: &mut Rng, torrent: &Torrent, info: &Dict) -> Dict {
    let mut listed = Vec::new();
    let mut end = 0;
    for (names, file) in &torrent.files {
        let gap = (end as u64).next_multiple_of(torrent.piece_length.into()) as i64 - end;
        if gap > 0 && file.length > 0 {
            listed.push(pad(gap));
            end += gap;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        listed.push(entry(file.length as i64, &strings(&names)).with("attr", string(file.attr)));
        end += file.length as i64;
    }
    let gap = (end as u64).next_multiple_of(torrent.piece_length.into()) as i64 - end;
    if gap > 0 && rng.bool() {
        listed.push(pad(gap));
        end += gap;
    }
    let pieces = (end as u64).div_ceil(torrent.piece_length.into()) as usize;
    info.clone().with("files", list(&listed)).with("pieces", hashes(pieces))
}

fn outer(torrent: &Torrent, info: &Dict) -> Dict {
    let mut layers = dict();
    for file in torrent.files.values() {
        if let Some((root, layer)) = file.root.as_ref().zip(file.layer.as_ref()) {
            layers = layers.with(root, blob(layer.as_flattened()));
        }
    }
    dict().with("info", info.bytes()).with("piece layers", layers.bytes())
}

fn check(torrent: &Torrent, read: &Metainfo) {
    let info = &read.info;
    let real: Vec<_> = info.files().iter().enumerate().filter(|(_, file)| !file.pad).collect();
    assert_eq!(real.len(), torrent.files.len());
    let lengths: Vec<_> = torrent.files.values().map(|file| file.length).collect();
    let v2 = Layout::of_files(
        torrent.piece_length.into(),
        crate::Alignment::Pieces,
        lengths.iter().map(|&l| (l, false)),
    );
    let v2 = v2.unwrap();
    for (i, ((names, meant), (at, file))) in torrent.files.iter().zip(real).enumerate() {
        assert_eq!(file.path.as_str(), format!("name/{}", names.join("/")));
        assert_eq!((file.length, file.root), (meant.length, meant.root));
        assert_eq!(file.executable, meant.attr.contains('x'));
        assert_eq!(file.hidden, meant.attr.contains('h'));
        assert_eq!(info.layer(at), meant.layer.as_deref());
        assert_eq!(info.layout().file_pieces(at), v2.file_pieces(i));
        if let Some(root) = &meant.root {
            assert_eq!(info.files()[info.file_by_root(root).unwrap()].root, meant.root);
        }
    }
    assert_eq!(info.missing_layers().count(), 0);
    assert!(info.layout().is_aligned());
    assert_eq!(info.layout().total(), lengths.iter().sum::<u64>());
}

#[test]
fn what_is_written_is_read() {
    let mut rng = Rng::with_seed(0x5eed);
    let mut torrents = 0;
    while torrents < 200 {
        let Some((torrent, info)) = random_torrent(&mut rng) else { continue };
        torrents += 1;
        let v2 = outer(&torrent, &info);
        let read = Metainfo::from_bytes(&v2.bytes()).unwrap();
        assert_eq!(read.info.version(), Version::V2);
        check(&torrent, &read);
        assert_eq!(read.to_bytes(), v2.bytes());

        let info = as_hybrid(&mut rng, &torrent, &info);
        let hybrid = outer(&torrent, &info);
        let read = Metainfo::from_bytes(&hybrid.bytes()).unwrap();
        assert_eq!(read.info.version(), Version::Hybrid);
        check(&torrent, &read);
        assert_eq!(read.to_bytes(), hybrid.bytes());

        // The same without the v2 part has the same files and pads in the same places.
        let v1 = info.without("file tree").without("meta version").info().unwrap();
        let places = |info: &Info| -> Vec<_> {
            let files = info.files().iter().enumerate();
            files.map(|(i, file)| (file.path.clone(), file.pad, info.layout().file_range(i))).collect()
        };
        assert_eq!(places(&v1), places(&read.info));
    }
}

#[test]
fn what_is_damaged_is_refused_or_read_as_written() {
    let mut rng = Rng::with_seed(7);
    let (mut refused, mut read) = (0, 0);
    for _ in 0..40 {
        let Some((torrent, info)) = random_torrent(&mut rng) else { continue };
        let info = if rng.bool() { as_hybrid(&mut rng, &torrent, &info) } else { info };
        let whole = outer(&torrent, &info).bytes();
        for _ in 0..100 {
            let mut bytes = whole.clone();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bytes.len());
                match rng.u8(..4) {
                    0 => bytes[at] = rng.u8(..),
                    1 => bytes[at] = *rng.choice(b"ilde0123456789:-/.").unwrap(),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, *rng.choice(b"ilde0123456789:").unwrap()),
                }
            }
            match Metainfo::from_bytes(&bytes) {
                Err(_) => refused += 1,
                Ok(damaged) => {
                    read += 1;
                    let again = Metainfo::from_bytes(&damaged.to_bytes()).unwrap();
                    assert_eq!((&again.info, &again.extra), (&damaged.info, &damaged.extra));
                    // Files beyond their root and length are nobody's to trust.
                    for (i, file) in damaged.info.files().iter().enumerate() {
                        if let Some((tree, layer)) = damaged.info.tree(i).zip(damaged.info.layer(i)) {
                            assert_eq!(Some(tree.root_of_pieces(layer)), file.root);
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 500 && read > 100, "{refused} {read}");
}
