//! What libtorrent 2.0.8 made of `a` and `sub/c` (100,000 bytes each, byte `i` is `i % 251`), `sub/b` (`0123456789`, executable),
//! `empty`, and `link` to `a`, in pieces of 32 KiB, as v2 and as hybrid.

use sha2::{Digest as _, Sha256};

use super::*;
use crate::merkle::Hash;
use crate::{BLOCK_LENGTH, InfoHashV2};

const V2: &[u8] = include_bytes!("libtorrent-v2.torrent");
const HYBRID: &[u8] = include_bytes!("libtorrent-hybrid.torrent");

/// The leaves of `a`.
fn leaves() -> Vec<Hash> {
    let content: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    content.chunks(BLOCK_LENGTH as usize).map(|block| Sha256::digest(block).into()).collect()
}

#[test]
fn its_v2_torrent_is_read() {
    let read = Metainfo::from_bytes(V2).unwrap();
    let info = &read.info;
    assert_eq!(read.warnings, ["`t/link` is a symbolic link, which is not made"]);
    assert_eq!(info.version(), Version::V2);
    assert_eq!(info.hashes().to_string(), "b14cb568326b048ac4e3f07ed19fb83586eb8a61f65fa4c04501b6353db746ec");
    assert_eq!(info.hashes().v1(), None);
    assert!(!info.is_single_file());
    let files: Vec<_> = info.files().iter().map(|file| (file.path.as_str(), file.length, file.pad)).collect();
    let expected = [
        ("t/a", 100_000, false),
        ("t/empty", 0, false),
        ("t/link", 0, true),
        ("t/sub/b", 10, false),
        ("t/sub/c", 100_000, false),
    ];
    assert_eq!(files, expected);
    let [a, _, link, b, c] = info.files() else { panic!() };
    assert_eq!((link.symlink.as_deref(), link.executable, link.root), (Some("a"), true, None));
    assert_eq!((b.symlink.as_deref(), b.executable, b.hidden), (None, true, false));
    assert_eq!(b.root, Some(Sha256::digest(b"0123456789").into()));
    assert_eq!(a.root, c.root);

    let layout = info.layout();
    assert_eq!((layout.piece_count(), layout.total(), layout.is_aligned()), (9, 200_010, true));
    assert_eq!(info.file_piece(layout.piece(4).unwrap()), Some((3, 0)));
    assert_eq!(info.file_piece(layout.piece(8).unwrap()), Some((4, 3)));
    assert_eq!(info.piece_hash(layout.piece(0).unwrap()), None);
    assert_eq!(read.to_bytes(), V2);
}

#[test]
fn its_hybrid_torrent_is_read() {
    let read = Metainfo::from_bytes(HYBRID).unwrap();
    let info = &read.info;
    assert_eq!(info.version(), Version::Hybrid);
    assert_eq!(info.hashes().v1().unwrap().to_string(), "30b7a4e5ca9242f99a87b0c9dceb8162e1077a01");
    assert_eq!(
        info.hashes().v2().unwrap().to_string(),
        "fa963d9bba991b1acd66161623410d6e18102c65766a545f78f3df8061ca6e2d"
    );
    assert_eq!(info.hashes().v2(), Some(InfoHashV2::of_info(info.raw())));
    let files: Vec<_> = info.files().iter().map(|file| (file.path.as_str(), file.length, file.pad)).collect();
    let expected = [
        ("t/a", 100_000, false),
        ("t/.pad/31072", 31_072, true),
        ("t/empty", 0, false),
        ("t/link", 0, true),
        ("t/sub/b", 10, false),
        ("t/.pad/32758", 32_758, true),
        ("t/sub/c", 100_000, false),
        ("t/.pad/31072", 31_072, true),
    ];
    assert_eq!(files, expected);
    let v2 = Metainfo::from_bytes(V2).unwrap().info;
    let roots = |info: &Info| -> Vec<_> { info.files().iter().filter_map(|file| file.root).collect() };
    assert_eq!(roots(info), roots(&v2));
    assert_eq!(
        (info.layout().piece_count(), info.layout().total(), info.layout().is_aligned()),
        (9, 200_010, true)
    );
    assert!(info.layout().pieces().all(|piece| info.file_piece(piece)
        == v2.file_piece(piece).map(
            // Between the files of one are pad files of the other.
            |(file, number)| ([0, 2, 3, 4, 6][file], number)
        )));
    assert_eq!(read.to_bytes(), HYBRID);
}

#[test]
fn its_trees_are_ours() {
    let info = Metainfo::from_bytes(V2).unwrap().info;
    let tree = info.tree(0).unwrap();
    assert_eq!(crate::merkle::root(&leaves(), 0, 3), tree.root);
    let layer: Vec<Hash> = leaves().chunks(2).map(|piece| tree.root_of_leaves(piece)).collect();
    // M84: files with the same bytes share a layer, whichever it is told of.
    assert_eq!(info.layer(0), Some(&layer[..]));
    assert_eq!(info.layer(4), Some(&layer[..]));
    assert_eq!((info.layer(1), info.layer(3)), (None, None));
    assert_eq!(info.file_by_root(&tree.root), Some(0));
    assert_eq!(info.file_by_root(&info.files()[3].root.unwrap()), Some(3));
    assert_eq!(info.file_by_root(&[1; 32]), None);

    for piece in info.layout().pieces() {
        let (file, number) = info.file_piece(piece).unwrap();
        let expected = if file == 3 { info.files()[3].root.unwrap() } else { layer[number as usize] };
        assert_eq!(info.piece_root(piece), Some(expected));
        let good = PieceHashes { v1: None, v2: Some(expected) };
        assert_eq!(info.check_piece(piece, &good), PieceCheck::Good);
        let bad = PieceHashes { v1: None, v2: Some([1; 32]) };
        assert_eq!(info.check_piece(piece, &bad), PieceCheck::Bad);
    }
}

#[test]
fn layers_come_later_where_the_torrent_has_none() {
    // M72: as after a magnet.
    let whole = Metainfo::from_bytes(V2).unwrap().info;
    let info = Info::from_bytes(whole.raw()).unwrap();
    let clone = info.clone();
    let tree = info.tree(4).unwrap();
    assert_eq!(info.missing_layers().collect::<Vec<_>>(), [0]);
    let first = info.layout().piece(0).unwrap();
    let hashes = PieceHashes { v1: None, v2: whole.piece_root(first) };
    assert_eq!(info.check_piece(first, &hashes), PieceCheck::Unknown);
    assert_eq!(Metainfo::new(info.clone()).to_bytes(), [b"d4:info", info.raw(), b"e"].concat());

    let layer = whole.layer(0).unwrap();
    let others = [vec![], layer[..3].to_vec(), [layer, layer].concat(), vec![[7; 32]; 4]];
    for other in others {
        assert_eq!(info.set_layer(4, other), Err(WrongLayer));
    }
    assert_eq!(info.set_layer(3, vec![info.files()[3].root.unwrap()]), Err(WrongLayer), "it needs none");
    assert_eq!(info.set_layer(1, vec![]), Err(WrongLayer));
    assert_eq!(info.set_layer(99, vec![]), Err(WrongLayer));
    assert_eq!(info.missing_layers().count(), 1);

    let range = tree.piece_layer_ranges().next().unwrap();
    let answer = whole.answer_hashes(0, &range, &[]).unwrap();
    assert_eq!(info.answer_hashes(0, &range, &[]), None);
    let found = info.check_hashes(0, &range, &answer).unwrap().to_vec();
    assert_eq!(info.set_layer(4, found), Ok(()));
    assert_eq!(info.missing_layers().count(), 0);
    assert_eq!(clone, whole);
    assert_eq!(clone.check_piece(first, &hashes), PieceCheck::Good);
    assert_eq!(Metainfo::new(clone).to_bytes(), V2);
}

#[test]
fn a_hybrid_of_other_data_shows_at_its_first_piece() {
    // M91, M105
    let info = Metainfo::from_bytes(HYBRID).unwrap().info;
    let piece = info.layout().piece(0).unwrap();
    let (v1, v2) = (info.piece_hash(piece).copied(), info.piece_root(piece));
    let check = |v1, v2| info.check_piece(piece, &PieceHashes { v1, v2 });
    assert_eq!(check(v1, v2), PieceCheck::Good);
    assert_eq!(check(v1, Some([1; 32])), PieceCheck::Conflict);
    assert_eq!(check(Some([1; 20]), v2), PieceCheck::Conflict);
    assert_eq!(check(Some([1; 20]), Some([1; 32])), PieceCheck::Bad);
    assert_eq!(check(v1, None), PieceCheck::Good);
    assert_eq!(check(None, None), PieceCheck::Unknown);
}
