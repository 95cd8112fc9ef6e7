use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64};

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::*;
use crate::Alignment;
use crate::merkle::{Hash, parent};

type Found = Result<PieceHashes, (usize, ErrorKind)>;

/// The hashes of all pieces in order, and how many bytes were told of.
fn hash_all(layout: &Layout, sources: &[Source], which: Version, threads: usize) -> (Vec<Found>, u64) {
    let (found, told) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let on_bytes = |bytes| {
        told.fetch_add(bytes, Ordering::Relaxed);
    };
    let pieces: Vec<PieceIndex> = layout.pieces().collect();
    hash_pieces(layout, &pieces, sources, which, threads, &on_bytes, &|piece, hashes| {
        found.lock().unwrap().push((piece, hashes.map_err(|fault| (fault.file, fault.error.kind()))));
        ControlFlow::Continue(())
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(piece, _)| *piece);
    assert!(found.iter().map(|(piece, _)| *piece).eq(layout.pieces()), "each piece once");
    (found.into_iter().map(|(_, hashes)| hashes).collect(), told.into_inner())
}

/// Files of these lengths with random content, and some pad files, in a directory.
struct Files {
    dir: tempfile::TempDir,
    /// Content, and whether it is a pad file.
    files: Vec<(Vec<u8>, bool)>,
}

impl Files {
    fn new(files: &[(usize, bool)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut content = |(i, &(length, pad)): (usize, &(usize, bool))| {
            let mut content = vec![0; length];
            if !pad {
                rng.fill(&mut content);
                std::fs::write(dir.path().join(i.to_string()), &content).unwrap();
            }
            (content, pad)
        };
        let files = files.iter().enumerate().map(&mut content).collect();
        Self { dir, files }
    }

    /// Without pad files.
    fn of(lengths: &[usize]) -> Self {
        Self::new(&lengths.iter().map(|&length| (length, false)).collect::<Vec<_>>())
    }

    /// Padded to whole pieces, but for the last.
    fn padded(piece_length: usize, lengths: &[usize]) -> Self {
        let pad = |length: usize| length.next_multiple_of(piece_length) - length;
        let mut files: Vec<_> =
            lengths.iter().flat_map(|&length| [(length, false), (pad(length), true)]).collect();
        files.pop();
        Self::new(&files)
    }

    fn layout(&self, piece_length: u64, alignment: Alignment) -> Layout {
        let files = self.files.iter().map(|(content, pad)| (content.len() as u64, *pad));
        Layout::of_files(piece_length, alignment, files).unwrap()
    }

    fn sources(&self) -> Vec<Source> {
        let source = |(i, (_, pad)): (usize, &(Vec<u8>, bool))| match pad {
            true => Source::Zeros,
            false => Source::Disk(self.dir.path().join(i.to_string())),
        };
        self.files.iter().enumerate().map(source).collect()
    }

    /// SHA-1 of everything end to end, cut into pieces.
    fn v1(&self, piece_length: usize) -> Vec<[u8; 20]> {
        let payload: Vec<u8> = self.files.iter().flat_map(|(content, _)| content).copied().collect();
        payload.chunks(piece_length).map(|piece| Sha1::digest(piece).into()).collect()
    }

    /// The piece layers (of a file no longer than a piece: its root), one after the other.
    fn v2(&self, piece_length: usize) -> Vec<Hash> {
        let of_file = |content: &Vec<u8>| {
            let whole = piece_length / BLOCK_LENGTH as usize;
            let leaves = content.len().div_ceil(BLOCK_LENGTH as usize).next_power_of_two().min(whole);
            content.chunks(piece_length).map(|piece| root(piece, leaves)).collect::<Vec<_>>()
        };
        self.files.iter().filter(|(_, pad)| !pad).flat_map(|(content, _)| of_file(content)).collect()
    }

    fn check(&self, which: Version, alignment: Alignment, piece_length: usize) {
        let layout = self.layout(piece_length as u64, alignment);
        let v1 = which.has_v1().then(|| self.v1(piece_length));
        let v2 = which.has_v2().then(|| self.v2(piece_length));
        let expected = |i: usize| {
            Ok(PieceHashes {
                v1: v1.as_ref().map(|hashes| hashes[i]),
                v2: v2.as_ref().map(|hashes| hashes[i]),
            })
        };
        let expected: Vec<Found> = (0..layout.piece_count() as usize).map(expected).collect();
        for threads in [0, 1, 3] {
            let (found, told) = hash_all(&layout, &self.sources(), which, threads);
            assert_eq!(found, expected, "{which:?} {piece_length} {threads}");
            assert_eq!(told, layout.total(), "{which:?} {piece_length} {threads}");
        }
    }
}

/// The root over the leaves of one piece, by the letter of BEP 52.
fn root(piece: &[u8], leaves: usize) -> Hash {
    let mut nodes: Vec<Hash> =
        piece.chunks(BLOCK_LENGTH as usize).map(|leaf| Sha256::digest(leaf).into()).collect();
    nodes.resize(leaves, [0; 32]);
    while nodes.len() > 1 {
        nodes = nodes.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
    }
    nodes[0]
}

const K: usize = 1024;
/// Around the lengths where something changes: a leaf, a window, a piece.
const LENGTHS: &[usize] = &[
    0,
    1,
    16 * K - 1,
    16 * K,
    16 * K + 1,
    0,
    32 * K,
    48 * K + 7,
    64 * K,
    64 * K + 1,
    128 * K,
    600_000,
    0,
    3_000_000,
    5,
    0,
];

#[test]
fn every_piece_is_hashed_whatever_the_cuts_and_the_threads() {
    for (piece_length, lengths) in [
        (1_000, &[0, 1, 999, 0, 1_000, 2_500, 7][..]),
        (16 * K, &[5_000_000, 3, 0, 2_000_000]),
        (4 << 20, &[9_000_000]),
        (99_991, LENGTHS),
        (1 << 20, LENGTHS),
    ] {
        Files::of(lengths).check(Version::V1, Alignment::EndToEnd, piece_length);
    }
}

#[test]
fn zeros_anywhere_in_a_piece_are_hashed_as_if_they_were_read() {
    let files = [
        (10_000, true),
        (10, false),
        (3, true),
        (300_000, true),
        (70_000, false),
        (0, true),
        (100, false),
        (1, true),
        (20, false),
        (2_000_000, true),
    ];
    for piece_length in [64, 1_000, 16 * K, 200_000, 4 << 20] {
        Files::new(&files).check(Version::V1, Alignment::EndToEnd, piece_length);
    }
}

#[test]
fn hybrid_pieces_have_hashes_of_both_kinds() {
    for piece_length in [16 * K, 32 * K, 128 * K, 1 << 20, 4 << 20] {
        Files::padded(piece_length, LENGTHS).check(Version::Hybrid, Alignment::EndToEnd, piece_length);
    }
}

#[test]
fn pieces_of_v2_end_with_their_files() {
    for piece_length in [16 * K, 32 * K, 128 * K, 1 << 20, 4 << 20] {
        Files::of(LENGTHS).check(Version::V2, Alignment::Pieces, piece_length);
    }
}

#[test]
fn many_small_files_end_together() {
    let lengths: Vec<_> = (0..200).map(|i| i * 977 % 70_000).collect();
    Files::padded(64 * K, &lengths).check(Version::Hybrid, Alignment::EndToEnd, 64 * K);
    Files::of(&lengths).check(Version::V2, Alignment::Pieces, 64 * K);
    Files::of(&lengths).check(Version::V1, Alignment::EndToEnd, 64 * K);
}

#[test]
fn a_file_that_can_not_be_read_spoils_only_its_own_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| Source::Disk(dir.path().join(name));
    std::fs::write(dir.path().join("short"), [1; 15]).unwrap();
    std::fs::write(dir.path().join("whole"), [1; 10]).unwrap();
    std::fs::create_dir(dir.path().join("dir")).unwrap();
    let layout = Layout::new(10, [20, 15, 10, 5]).unwrap();
    let sources = [path("short"), path("missing"), path("whole"), path("dir")];
    let one = PieceHashes { v1: Some(Sha1::digest([1; 10]).into()), v2: None };
    let expected = [
        Ok(one),
        Err((0, ErrorKind::UnexpectedEof)),
        Err((1, ErrorKind::NotFound)),
        Err((1, ErrorKind::NotFound)),
        Err((3, ErrorKind::InvalidInput)),
    ];
    assert_eq!(hash_all(&layout, &sources, Version::V1, 1), (expected.to_vec(), 50));

    let layout =
        Layout::of_files(16_384, Alignment::Pieces, [(20_000, false), (5, false), (10, false)]).unwrap();
    let sources = [path("short"), path("missing"), path("whole")];
    let one = PieceHashes { v1: None, v2: Some(Sha256::digest([1; 10]).into()) };
    let expected = [
        Err((0, ErrorKind::UnexpectedEof)),
        Err((0, ErrorKind::UnexpectedEof)),
        Err((1, ErrorKind::NotFound)),
        Ok(one),
    ];
    assert_eq!(hash_all(&layout, &sources, Version::V2, 2), (expected.to_vec(), 20_015));
}

#[test]
fn a_file_that_ends_early_spoils_the_pieces_behind_its_end() {
    let files = Files::of(&[500_000, 100_000]);
    let path = files.dir.path().join("0");
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(300_000).unwrap();
    let layout = files.layout(64 * K as u64, Alignment::EndToEnd);
    let (found, told) = hash_all(&layout, &files.sources(), Version::V1, 2);
    let good = |hash| Ok(PieceHashes { v1: Some(hash), v2: None });
    let mut expected: Vec<Found> = files.v1(64 * K).into_iter().map(good).collect();
    expected[4..=7].fill(Err((0, ErrorKind::UnexpectedEof)));
    assert_eq!((found, told), (expected, 600_000));
}

#[test]
fn it_can_be_ended_early() {
    let layout = Layout::new(1 << 20, [1 << 30]).unwrap();
    let seen = AtomicU32::new(0);
    let pieces: Vec<PieceIndex> = layout.pieces().collect();
    hash_pieces(&layout, &pieces, &[Source::Zeros][..], Version::V1, 1, &|_| {}, &|_, _| {
        seen.fetch_add(1, Ordering::Relaxed);
        ControlFlow::Break(())
    });
    assert_eq!(seen.into_inner(), 1);
}

#[test]
fn nothing_to_hash_is_no_work() {
    let layout = Layout::new(1 << 20, [0, 0]).unwrap();
    let sources = [Source::Disk("missing".into()), Source::Zeros];
    assert_eq!(hash_all(&layout, &sources, Version::Hybrid, 0), (vec![], 0));
}
