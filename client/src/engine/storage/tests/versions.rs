//! v2 and hybrid torrents: gaps, padding, leaves, and wrong pieces that are mended block by block.

use std::io::Write as _;

use torrent_format::BLOCK_LENGTH;

use super::*;

const K: usize = 1024;
const V2: [Version; 2] = [Version::V2, Version::Hybrid];

/// A file of a piece and a half, one of a few bytes, one of exactly two pieces.
fn case(version: Version) -> Case {
    Case::of(version, 64 * K, &[("a", 100 * K), ("b", 5), ("c", 128 * K)])
}

/// The same bytes with the first byte of these blocks changed.
fn with_lies(right: &[u8], numbers: &[u32]) -> Vec<u8> {
    let mut lies = right.to_vec();
    numbers.iter().for_each(|number| lies[(number * BLOCK_LENGTH) as usize] ^= 1);
    lies
}

/// Which leaves of a piece are wrong.
fn wrong(case: &Case, piece: PieceIndex, verdict: Verification) -> Vec<u32> {
    let Verification::Wrong(found) = verdict else { panic!("{verdict:?}") };
    let right = sample::leaves(&case.bytes(piece)[..case.info.layout().piece_payload(piece) as usize]);
    assert_eq!(found.len(), right.len());
    (0..).zip(found.iter().zip(&right)).filter(|(_, (found, right))| found != right).map(|(n, _)| n).collect()
}

async fn verdict(opened: &mut Opened, piece: PieceIndex) -> Verification {
    opened.storage.verify(piece, false);
    let StorageEvent::Verified(which, verdict) = opened.event().await else {
        panic!("a verdict was asked for")
    };
    assert_eq!(which, piece);
    verdict
}

#[tokio::test]
async fn only_the_blocks_of_a_wrong_piece_that_are_wrong_are_fetched_again() {
    for version in V2 {
        let case = case(version);
        let mut opened = open(case.options()).unwrap();
        let (piece, layout) = (case.piece(1), case.info.layout());
        let right = case.bytes(piece);
        let first = opened.feed_bytes(&case, 1, &with_lies(right, &[0, 2]), false).await;
        assert_eq!(wrong(&case, piece, first), [0, 2]);
        opened.read(1, 0, 1).unwrap_err();
        opened.storage.drop_blocks(piece, &[0, 2]);
        assert_eq!(verdict(&mut opened, piece).await, Verification::Lost, "two blocks are missing");
        for (number, bytes) in [(0, right), (1, &with_lies(right, &[1])), (2, &with_lies(right, &[2]))] {
            let block = layout.block(piece, number);
            opened.write(block, &bytes[block.begin as usize..][..block.length as usize]).await;
        }
        let second = verdict(&mut opened, piece).await;
        assert_eq!(wrong(&case, piece, second), [2], "the block that was right is not replaced");
        opened.storage.drop_blocks(piece, &[2]);
        let block = layout.block(piece, 2);
        opened.write(block, &right[block.begin as usize..][..block.length as usize]).await;
        assert_eq!(verdict(&mut opened, piece).await, Verification::Good(None));
        opened.feed(&case, &[0, 2, 3, 4]).await;
        opened.finish().await;
        assert_eq!(case.tree(), case.whole_tree());
    }
}

#[tokio::test]
async fn a_wrong_piece_waits_outside_of_memory() {
    for version in V2 {
        let case = Case::of(version, 512 * K, &[("a", 700 * K), ("b", 300 * K)]);
        let pool = BufferPool::new(128 * K);
        let mut opened = open(OpenStorage { pool, ..case.options() }).unwrap();
        for index in [0, 2] {
            let piece = case.piece(index);
            let lies = with_lies(case.bytes(piece), &[3, 11]);
            let verdict = opened.feed_bytes(&case, index, &lies, false).await;
            assert_eq!(wrong(&case, piece, verdict), [3, 11]);
        }
        // Another one goes through the little memory that there is.
        opened.feed(&case, &[1]).await;
        assert!(opened.storage.stats().evicted > 0);
        for index in [0, 2] {
            let piece = case.piece(index);
            opened.storage.drop_blocks(piece, &[3, 11]);
            for block in [3, 11].map(|number| case.info.layout().block(piece, number)) {
                opened
                    .write(block, &case.bytes(piece)[block.begin as usize..][..block.length as usize])
                    .await;
            }
            assert_eq!(verdict(&mut opened, piece).await, Verification::Good(None));
        }
        opened.finish().await;
        assert_eq!(case.tree(), case.whole_tree());
    }
}

#[tokio::test]
async fn blocks_that_the_disk_gives_back_wrong_are_wrong_by_both_versions() {
    let case = Case::of(Version::Hybrid, 512 * K, &[("a", 512 * K), ("b", 512 * K)]);
    let mut opened = open(OpenStorage { pool: BufferPool::new(128 * K), ..case.options() }).unwrap();
    let (piece, right) = (case.piece(0), case.bytes(case.piece(0)));
    let lies = with_lies(right, &[31]);
    let verdict_of_lies = opened.feed_bytes(&case, 0, &lies, false).await;
    assert_eq!(wrong(&case, piece, verdict_of_lies), [31]);
    opened.feed(&case, &[1]).await;
    assert!(opened.storage.stats().evicted > 0);
    let damaged = with_lies(&lies, &[0, 1, 2, 3]);
    std::fs::File::options().write(true).open(case.part(0)).unwrap().write_all(&damaged).unwrap();
    opened.storage.drop_blocks(piece, &[31]);
    let block = case.info.layout().block(piece, 31);
    opened.write(block, &right[block.begin as usize..]).await;
    let verdict_of_disk = verdict(&mut opened, piece).await;
    assert_eq!(wrong(&case, piece, verdict_of_disk), [0, 1, 2, 3]);
    opened.kill().await;
}

#[tokio::test]
async fn blocks_of_a_v2_torrent_are_hashed_as_they_come_and_never_read_back() {
    let case = Case::of(Version::V2, 1024 * K, &[("a", 1024 * K)]);
    let pool = BufferPool::new(256 * K);
    let mut opened = open(OpenStorage { pool, ..case.options() }).unwrap();
    let mut blocks: Vec<Block> = case.info.layout().blocks(case.piece(0)).collect();
    blocks.reverse();
    for block in blocks {
        opened.write(block, &case.payload[block.begin as usize..][..block.length as usize]).await;
    }
    assert_eq!(verdict(&mut opened, case.piece(0)).await, Verification::Good(None));
    let stats = opened.storage.stats();
    assert!(stats.evicted > 0, "{stats:?}");
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn what_a_peer_says_of_padding_does_not_count() {
    let case = case(Version::Hybrid);
    let mut opened = open(case.options()).unwrap();
    // The file's 36 KiB of this piece, then padding.
    let mut bytes = case.bytes(case.piece(1)).to_vec();
    bytes[36 * K..48 * K].fill(7);
    assert_eq!(opened.feed_bytes(&case, 1, &bytes, false).await, Verification::Good(None));
    assert_eq!(opened.read(1, 30 * K as u32, 34 * K as u32).unwrap(), case.bytes(case.piece(1))[30 * K..]);
    opened.kill().await;
}

#[tokio::test]
async fn a_piece_ends_with_its_file_in_v2_and_with_padding_in_a_hybrid() {
    for (version, length) in [(Version::V2, 36 * K), (Version::Hybrid, 64 * K)] {
        let case = case(version);
        case.place_all();
        let opened = open(case.seed()).unwrap();
        assert_eq!((opened.had(), opened.hashed), (vec![0, 1, 2, 3, 4], (228 * K + 5) as u64));
        assert_eq!(opened.hashed, case.info.layout().total());
        opened.assert_honest(&case);
        let piece = case.piece(1);
        assert_eq!(case.info.layout().piece_size(piece), length as u32);
        // What follows is zeros in either, and libtorrent asks for it.
        let whole = [&case.file_bytes(0)[64 * K..], &[0; 28 * K]].concat();
        assert_eq!(opened.read(1, 0, 64 * K as u32).unwrap(), whole);
        opened.read(1, 0, 64 * K as u32 + 1).unwrap_err();
        assert_eq!(opened.read(2, 4, 3).unwrap(), [case.file_bytes(case.files()[1])[4], 0, 0]);
        assert_eq!(opened.read(2, 5, 16).unwrap(), [0; 16]);
        opened.kill().await;
        assert_eq!(case.tree(), case.whole_tree());
    }
}

#[tokio::test]
async fn the_gap_behind_the_last_piece_of_a_v2_torrent_reads_as_zeros() {
    let case = Case::of(Version::V2, 64 * K, &[("a", 5)]);
    case.place_all();
    let opened = open(case.seed()).unwrap();
    let whole = [case.file_bytes(0), &[0; 64 * K - 5]].concat();
    assert_eq!(opened.read(0, 0, 64 * K as u32).unwrap(), whole);
    assert_eq!(opened.read(0, 60 * K as u32, 4 * K as u32).unwrap(), [0; 4 * K]);
    opened.read(0, 60 * K as u32, 4 * K as u32 + 1).unwrap_err();
    opened.kill().await;
}

#[tokio::test]
async fn a_download_goes_on_where_it_was() {
    for version in V2 {
        let case = case(version);
        let mut opened = open(case.options()).unwrap();
        opened.feed(&case, &[1, 4]).await;
        patiently(opened.storage.flush()).await.unwrap();
        opened.feed(&case, &[2]).await;
        opened.kill().await;
        let mut opened = open(case.options()).unwrap();
        assert_eq!(opened.had(), [1, 2, 4]);
        assert!(opened.hashed <= 5, "what is durable is not hashed again: {}", opened.hashed);
        opened.assert_honest(&case);
        opened.feed(&case, &[0, 3]).await;
        opened.finish().await;
        assert_eq!(case.tree(), case.whole_tree());
        let opened = open(OpenStorage { check: Check::Full, ..case.seed() }).unwrap();
        assert!(opened.have.is_all());
        opened.kill().await;
    }
}

#[tokio::test]
async fn a_wrong_byte_on_the_disk_is_found_by_either_version() {
    for version in V2 {
        let case = case(version);
        case.place_all();
        let mut bytes = case.file_bytes(0).to_vec();
        bytes[99 * K] ^= 1;
        case.place_bytes(0, &bytes);
        let error = open(case.seed()).unwrap_err();
        assert_eq!(error.to_string(), format!("1 of 2 pieces are wrong: {}", case.path(0).display()));
        let opened = open(case.options()).unwrap();
        assert_eq!(opened.had(), [0, 2, 3, 4]);
        opened.kill().await;
    }
}

#[tokio::test]
async fn a_hybrid_whose_versions_disagree_is_never_served() {
    let (one, other) = (vec![1; 100 * K], vec![2; 100 * K]);
    let info = sample::of_two(Version::Hybrid, 64 * K, &[("a", &one)], &[("a", &other)]);
    for bytes in [one, other] {
        let files = [("a", &bytes)];
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let case = Case { payload: sample::payload(&info, &files), info: info.clone(), dir, state };
        let expected = format!("bad torrent: its v1 and v2 hashes disagree about {}", case.path(0).display());
        let mut opened = open(case.options()).unwrap();
        for block in info.layout().blocks(case.piece(1)) {
            let bytes = &case.bytes(block.piece)[block.begin as usize..][..block.length as usize];
            opened.write(block, bytes).await;
        }
        opened.storage.verify(case.piece(1), false);
        let StorageEvent::Failed(error) = opened.event().await else { panic!("it can't be right") };
        assert_eq!(error.to_string(), expected);
        assert!(opened.storage.flush().await.is_ok());
        opened.kill().await;
        std::fs::remove_file(case.part(0)).unwrap();
        case.place_all();
        for options in [case.seed(), case.options()] {
            assert_eq!(open(options).unwrap_err().to_string(), expected);
        }
    }
}

#[tokio::test]
async fn a_hybrid_is_checked_by_v1_as_long_as_a_layer_is_not_known() {
    let mut case = case(Version::Hybrid);
    case.info = sample::without_layers(&case.info);
    let mut opened = open(case.options()).unwrap();
    let verdict = opened.feed_bytes(&case, 0, &with_lies(case.bytes(case.piece(0)), &[1]), false).await;
    let Verification::Doubtful(digests) = verdict else { panic!("{verdict:?}") };
    let right = sample::leaves(case.bytes(case.piece(0)));
    let right: Vec<u64> = right.iter().map(crate::torrent::leaf_digest).collect();
    let differ: Vec<bool> = digests.iter().zip(&right).map(|(found, right)| found != right).collect();
    assert_eq!(
        differ,
        [false, true, false, false],
        "told apart by leaves, as they will be once the layer is known"
    );
    opened.storage.drop_blocks(case.piece(0), &[0, 1, 2, 3]);
    let verdict = opened.feed_bytes(&case, 0, case.bytes(case.piece(0)), true).await;
    assert_eq!(verdict, Verification::Good(Some(right)));
    // This file's tree has no layer but its root.
    let verdict = opened.feed_bytes(&case, 2, &with_lies(case.bytes(case.piece(2)), &[0]), false).await;
    assert_eq!(wrong(&case, case.piece(2), verdict), [0]);
    opened.kill().await;
}

#[tokio::test]
async fn layers_are_worked_out_from_files_that_are_there_in_one_reading() {
    for version in V2 {
        let mut case = case(version);
        case.place_all();
        for check in [Check::Needed, Check::Full] {
            case.info = sample::without_layers(&case.info);
            let (events, _events) = mpsc::unbounded_channel();
            let mut read = 0;
            let (storage, have) = Storage::open(OpenStorage { check, ..case.seed() }, events, |progress| {
                read += if progress.done == 0 { progress.total } else { 0 };
                ControlFlow::Continue(())
            })
            .unwrap();
            assert!(have.is_all());
            assert_eq!(case.info.missing_layers().count(), 0, "{version:?} {check:?}");
            assert!(read >= (228 * K) as u64 && read <= (228 * K + 5) as u64, "{read}");
            patiently(storage.close()).await;
        }
    }
}

#[tokio::test]
async fn a_finished_hybrid_knows_its_layers_from_its_data() {
    let mut case = case(Version::Hybrid);
    case.info = sample::without_layers(&case.info);
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0, 1, 2, 3]).await;
    assert!(matches!(opened.storage.prove_blocking(|| false), Err(StorageError::CalledOff)));
    opened.storage.prove_blocking(|| true).unwrap();
    assert_eq!(case.info.missing_layers().collect::<Vec<_>>(), [case.files()[2]], "it is not whole");
    opened.feed(&case, &[4]).await;
    opened.storage.prove_blocking(|| true).unwrap();
    assert_eq!(case.info.missing_layers().count(), 0);
    opened.storage.prove_blocking(|| false).unwrap();
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_hybrid_that_passed_by_v1_alone_is_not_served_once_v2_disagrees() {
    let (one, other) = (vec![1; 100 * K], vec![2; 100 * K]);
    let whole = sample::of_two(Version::Hybrid, 64 * K, &[("a", &one)], &[("a", &other)]);
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let payload = sample::payload(&whole, &[("a", &one)]);
    let mut case = Case { payload, info: sample::without_layers(&whole), dir, state };
    let conflict = format!("bad torrent: its v1 and v2 hashes disagree about {}", case.path(0).display());
    // The layer comes late.
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[1]).await;
    opened.storage.prove_blocking(|| true).unwrap();
    case.info.set_layer(0, whole.layer(0).unwrap().to_vec()).unwrap();
    let error = opened.storage.prove_blocking(|| true).unwrap_err();
    assert_eq!(error.to_string(), conflict);
    opened.kill().await;
    std::fs::remove_file(case.part(0)).unwrap();
    // It never comes.
    case.info = sample::without_layers(&whole);
    let mut opened = open(OpenStorage { check: Check::Full, ..case.options() }).unwrap();
    opened.feed(&case, &[0, 1]).await;
    let error = opened.storage.prove_blocking(|| true).unwrap_err();
    assert_eq!(error.to_string(), conflict);
    opened.finish().await;
    // And the file was there.
    let opened = open(case.options()).unwrap();
    assert_eq!(opened.had(), [0, 1]);
    assert_eq!(opened.storage.prove_blocking(|| true).unwrap_err().to_string(), conflict);
    opened.kill().await;
    assert_eq!(open(case.seed()).unwrap_err().to_string(), conflict);
}

#[tokio::test]
async fn a_v2_piece_that_cannot_be_checked_is_held_against_nobody() {
    let mut case = case(Version::V2);
    case.info = sample::without_layers(&case.info);
    let mut opened = open(case.options()).unwrap();
    let verdict = opened.feed_bytes(&case, 0, case.bytes(case.piece(0)), false).await;
    assert_eq!(verdict, Verification::Lost);
    assert_eq!(opened.pool.available(), opened.pool.capacity(), "nothing is held");
    opened.kill().await;
}

#[tokio::test]
async fn leaves_are_read_from_what_is_there_and_are_zeros_beyond_the_end() {
    for version in V2 {
        let case = case(version);
        let mut opened = open(case.options()).unwrap();
        opened.feed(&case, &[0, 1, 3]).await;
        let file = case.files()[2];
        let leaves = |file, first, count| opened.storage.leaves_blocking(file, first, count);
        let right = [sample::leaves(case.file_bytes(0)), vec![[0; 32]; 5]].concat();
        for (first, count) in [(0, 8), (4, 4), (3, 2), (6, 1), (7, 4), (8, 0), (11, 1)] {
            let expected = &right[first..first + count];
            assert_eq!(leaves(0, first as u64, count as u32).unwrap(), expected, "{first} {count}");
        }
        assert_eq!(leaves(file, 0, 4).unwrap(), sample::leaves(&case.file_bytes(file)[..64 * K]));
        assert_eq!(leaves(0, u64::MAX, 1).unwrap(), [[0; 32]]);
        for (file, first, count) in [(file, 0, 5), (file, 4, 1), (0, 0, u32::MAX)] {
            let error = leaves(file, first, count).unwrap_err();
            assert!(error.to_string().starts_with("the piece asked for is not there"), "{error}");
        }
        opened.feed(&case, &[2, 4]).await;
        patiently(opened.storage.flush()).await.unwrap();
        let mut changed = case.file_bytes(0).to_vec();
        changed[99 * K] ^= 1;
        case.place_bytes(0, &changed);
        let error = opened.storage.leaves_blocking(0, 4, 4).unwrap_err();
        assert_eq!(error.to_string(), format!("changed since it was verified: {}", case.path(0).display()));
        opened.kill().await;
    }
}

#[tokio::test]
async fn padding_takes_no_room() {
    let case = Case::of(Version::Hybrid, 1024 * K, &[("a", 1), ("b", 2), ("c", 0)]);
    let mut opened = open(OpenStorage { allocate: Allocate::Full, ..case.options() }).unwrap();
    let lengths: Vec<(String, usize)> =
        case.tree().into_iter().map(|(name, bytes)| (name, bytes.len())).collect();
    let expected =
        [("t/a.part", 1), ("t/b.part", 2), ("t/c", 0)].map(|(name, length)| (name.to_owned(), length));
    assert_eq!(lengths, expected);
    opened.feed(&case, &[0, 1]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}
