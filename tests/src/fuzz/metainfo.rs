//! Torrents and info dictionaries: what is read stays below the download directory, adds up, and is written so that it reads back
//! equal, with the very same info bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use torrent_format::bencode::{Limits, scan_first};
use torrent_format::merkle::Hash;
use torrent_format::metainfo::{InfoChanges, MAX_NODES, MAX_TRACKERS, MAX_WEB_SEEDS, WrongLayer};
use torrent_format::{Info, InfoHash, InfoHashV2, Magnet, Metainfo};

use super::within_memory;

/// How many are looked at of pieces and of a piece's blocks, from the first and from the last.
const EDGE: u32 = 50;

pub(super) fn check(input: &[u8]) -> bool {
    match within_memory(input.len(), || Metainfo::from_bytes(input)) {
        Ok(metainfo) => {
            let root = scan_first(input, &Limits::TORRENT).expect("a torrent is bencode").root();
            let info = root.as_dict().and_then(|torrent| torrent.get("info")).expect("and has an info");
            assert_eq!(info.bytes(), metainfo.info.raw(), "the raw bytes, not another encoding of them");
            let alone = within_memory(info.bytes().len(), || Info::from_bytes(info.bytes()));
            let alone = alone.expect("from peers it is the same");
            check_info(&alone);
            check_info(&metainfo.info);
            check_late_layers(alone, &metainfo.info);
            check_metainfo(&metainfo);
            check_edit(&metainfo.info);
            true
        }
        Err(error) => {
            assert_one_line(&error.to_string());
            false
        }
    }
}

fn check_metainfo(metainfo: &Metainfo) {
    assert!(metainfo.trackers.iter().map(Vec::len).sum::<usize>() <= MAX_TRACKERS);
    assert!(metainfo.trackers.iter().all(|tier| !tier.is_empty()));
    assert!(metainfo.web_seeds.len() <= MAX_WEB_SEEDS && metainfo.nodes.len() <= MAX_NODES);
    let urls = metainfo.trackers.iter().flatten().chain(&metainfo.web_seeds);
    urls.for_each(|url| assert_one_line(url));
    metainfo.warnings.iter().for_each(|warning| assert_one_line(warning));
    for lint in torrent_format::lint::lint(metainfo) {
        assert_one_line(&lint.to_string());
    }

    let written = metainfo.to_bytes();
    let read = Metainfo::from_bytes(&written).expect("what is written can be read");
    assert_eq!(read.info.raw(), metainfo.info.raw());
    assert_eq!(read.to_bytes(), written);
    // What was left out is not written, and not warned of again.
    let warnings = Vec::new();
    assert_eq!(Metainfo { warnings: warnings.clone(), ..read }, Metainfo { warnings, ..metainfo.clone() });

    let magnet = Magnet::from_metainfo(metainfo);
    assert_eq!(magnet.hashes, metainfo.info.hashes());
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
}

/// Piece layers that come later make the same torrent; others are refused.
fn check_late_layers(late: Info, whole: &Info) {
    for number in 0..whole.files().len() {
        let Some(layer) = whole.layer(number) else { continue };
        let mut wrong = layer.to_vec();
        wrong[number % layer.len()][31] ^= 1;
        assert_eq!(late.set_layer(number, wrong), Err(WrongLayer));
        assert_eq!(late.set_layer(number, layer.to_vec()), Ok(()));
    }
    assert_eq!(late, *whole);
}

/// What is changed is another torrent of the same files.
fn check_edit(info: &Info) {
    let changes = InfoChanges { name: Some("other".to_owned()), private: Some(true), source: Some(None) };
    let Ok(edited) = info.edited(&changes) else { return };
    check_info(&edited);
    assert_eq!((edited.name(), edited.is_private(), edited.source()), ("other", true, None));
    assert_eq!((edited.version(), edited.layout()), (info.version(), info.layout()));
    let content = |info: &Info| -> Vec<_> {
        info.files().iter().map(|file| (file.length, file.pad, file.root)).collect()
    };
    assert_eq!(content(&edited), content(info));
    assert!((0..info.files().len()).all(|file| edited.layer(file) == info.layer(file)));
}

fn check_info(info: &Info) {
    let hashes = info.hashes();
    assert!(hashes.match_info(info.raw()));
    assert_eq!(hashes.v1().is_some(), info.version().has_v1());
    assert_eq!(hashes.v2().is_some(), info.version().has_v2());
    assert!(hashes.v1().is_none_or(|v1| v1 == InfoHash::of_info(info.raw())));
    assert!(hashes.v2().is_none_or(|v2| v2 == InfoHashV2::of_info(info.raw())));
    info.warnings().iter().for_each(|warning| assert_one_line(warning));
    check_paths(info);
    check_layout(info);
    check_trees(info);
}

/// Every file lies below the download directory, and nowhere else; no two in one place.
fn check_paths(info: &Info) {
    let mut files = BTreeSet::new();
    let mut directories = BTreeSet::new();
    for file in info.files() {
        let path = file.path.as_path();
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
        let text = file.path.as_str();
        assert!(!text.contains(char::is_control) && !text.contains("//") && !text.ends_with('/'), "{text:?}");
        assert!(text.split('/').all(|element| (1..=255).contains(&element.len())), "{text:?}");
        if !file.pad {
            assert!(files.insert(path), "two files at {path:?}");
            directories.extend(path.ancestors().skip(1).filter(|above| *above != Path::new("")));
        }
    }
    let both = files.intersection(&directories).next();
    assert!(both.is_none(), "{both:?} is a file and a directory");
}

/// Pieces, blocks and files cover each other.
fn check_layout(info: &Info) {
    let layout = info.layout();
    assert_eq!(layout.file_count(), info.files().len());
    let count = layout.piece_count();
    let mut payload = 0;
    for number in ends(count) {
        let piece = layout.piece(number).expect("a piece below the count");
        assert_eq!(piece.get(), number);
        let size = layout.piece_size(piece);
        assert!((1..=layout.piece_length()).contains(&size));
        let mut length = 0;
        for span in layout.spans(layout.piece_range(piece)) {
            let file = &info.files()[span.file];
            assert!(span.length > 0 && span.offset + span.length <= file.length, "{span:?}");
            length += span.length;
        }
        assert_eq!(length, u64::from(size), "piece {number}");
        for block in ends(layout.block_count(piece)) {
            let block = layout.block(piece, block);
            assert_eq!(layout.check_block(number, block.begin, block.length), Some(block));
            assert!(block.begin < layout.piece_payload(piece), "a block of padding");
        }
        payload += u64::from(layout.piece_payload(piece));
        assert_eq!(info.piece_hash(piece).is_some(), info.version().has_v1());
    }
    assert_eq!(layout.piece(count), None);
    assert!(payload <= layout.total() && (count > 2 * EDGE || payload == layout.total()));
}

/// The first and the last of so many: a few bytes of torrent can say that there are millions of pieces.
fn ends(count: u32) -> impl Iterator<Item = u32> {
    (0..count.min(EDGE)).chain(count.saturating_sub(EDGE).max(EDGE)..count)
}

/// Hash trees belong to files, and piece layers to their roots.
fn check_trees(info: &Info) {
    // Of several files with the same tree the first speaks for all.
    let mut speakers = BTreeMap::new();
    let mut missing = BTreeSet::new();
    for (number, file) in info.files().iter().enumerate() {
        let tree = info.tree(number);
        assert_eq!(tree.is_some(), file.root.is_some());
        assert_eq!(tree.is_some(), info.version().has_v2() && !file.pad && file.length > 0);
        let Some(tree) = tree else {
            assert!(info.layer(number).is_none());
            continue;
        };
        match info.layer(number) {
            Some(layer) => {
                assert_eq!(layer.len() as u64, tree.layer_length(tree.piece_layer()));
                assert_eq!(tree.root_of_pieces(layer), tree.root);
                let mut fetched: Vec<Hash> = Vec::new();
                for range in tree.piece_layer_ranges() {
                    let answer = info.answer_hashes(number, &range, &[]).expect("it is known");
                    fetched.extend(info.check_hashes(number, &range, &answer).expect("it is right"));
                }
                assert_eq!(fetched, layer);
            }
            None if tree.has_piece_layer() => {
                let mut ranges = tree.piece_layer_ranges().take(10);
                assert!(ranges.all(|range| info.answer_hashes(number, &range, &[]).is_none()));
                missing.insert(*speakers.entry((tree.root, tree.leaves())).or_insert(number));
            }
            None => {}
        }
    }
    assert_eq!(info.missing_layers().collect::<BTreeSet<_>>(), missing);
}

/// Fit for a terminal.
fn assert_one_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}
