//! Blocks in, pieces and files out.

use super::super::worker::block_digest;
use super::*;

const K: usize = 1024;

#[tokio::test]
async fn any_layout_comes_out_as_it_went_in_whatever_the_order() {
    let cases: [(usize, &[(&str, usize)]); 6] = [
        (16 * K, &[("a", 1)]),
        (16 * K, &[("a", 16 * K), ("b", 16 * K)]),
        (32 * K, &[("a", 10 * K), ("d/b", 0), ("d/e/c", 100 * K), ("d/f", 1), ("g", 1), ("h", 70 * K + 5)]),
        (64 * K, &[("empty", 0), ("tiny", 3), ("z", 200 * K - 1)]),
        (10_000, &[("odd", 12_345), ("odder", 54_321)]),
        (1, &[("bytes", 9)]),
    ];
    let in_v2 = |piece_length: usize| piece_length.is_power_of_two() && piece_length >= 16 * K;
    let all = cases.iter().flat_map(|case| sample::VERSIONS.map(|version| (version, case)));
    let all = all.filter(|(version, (piece_length, _))| *version == Version::V1 || in_v2(*piece_length));
    for (seed, (version, &(piece_length, files))) in (0..).zip(all) {
        let case = Case::of(version, piece_length, files);
        let mut order = fastrand::Rng::with_seed(seed);
        let mut opened = open(case.options()).unwrap();
        assert_eq!(opened.had(), Vec::<u32>::new());
        let mut blocks: Vec<Block> = case
            .info
            .layout()
            .pieces()
            .flat_map(|piece| case.info.layout().blocks(piece).collect::<Vec<_>>())
            .collect();
        order.shuffle(&mut blocks);
        let mut missing: Vec<u32> =
            case.info.layout().pieces().map(|p| case.info.layout().block_count(p)).collect();
        for block in blocks {
            let bytes = &case.bytes(block.piece)[block.begin as usize..][..block.length as usize];
            opened.write(block, bytes).await;
            missing[block.piece.as_usize()] -= 1;
            if missing[block.piece.as_usize()] == 0 {
                opened.storage.verify(block.piece, false);
            }
        }
        let mut verified = Bitfield::none(case.info.layout().piece_count());
        let mut done = Vec::new();
        while !verified.is_all() {
            match opened.event().await {
                StorageEvent::Verified(piece, Verification::Good(None)) => assert!(verified.set(piece)),
                StorageEvent::FileDone { file, path } => done.push((file, path)),
                other => panic!("{other:?}"),
            }
        }
        opened.have = verified;
        opened.assert_honest(&case);
        patiently(opened.storage.flush()).await.unwrap();
        while done.len() < files.len() {
            match opened.event().await {
                StorageEvent::FileDone { file, path } => done.push((file, path)),
                other => panic!("{other:?}"),
            }
        }
        done.sort();
        let expected: Vec<_> = case.files().into_iter().map(|file| (file, case.path(file))).collect();
        assert_eq!(done, expected, "{version:?}");
        assert!(case.files().into_iter().all(|file| opened.storage.is_whole(file)));
        assert_eq!(case.tree(), case.whole_tree());
        opened.assert_honest(&case);
        patiently(opened.storage.remove_record()).await.unwrap();
        opened.kill().await;
        assert_eq!(case.records(), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn parts_of_pieces_are_read_across_file_borders() {
    let case = Case::new(32 * K, &[("a", 10), ("b", 0), ("c", 20), ("d", 60 * K)]);
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0]).await;
    for (begin, length) in [(0, 30), (5, 10), (9, 2), (29, 2), (10, 20), (31 * K as u32, K as u32)] {
        let right = &case.payload[begin as usize..][..length as usize];
        assert_eq!(opened.read(0, begin, length).unwrap(), right, "{begin} {length}");
    }
    for (index, begin, length) in [(1, 0, 1), (0, 0, 32 * K as u32 + 1), (0, 32 * K as u32, 1), (9, 0, 1)] {
        opened.read(index, begin, length).unwrap_err();
    }
    opened.kill().await;
}

#[tokio::test]
async fn a_file_gets_its_name_when_its_last_piece_is_durable() {
    let case = Case::new(16 * K, &[("a", 20 * K), ("b", 12 * K), ("c", 16 * K)]);
    let mut opened = open(case.options()).unwrap();
    let parts = ["t/a.part", "t/b.part", "t/c.part"];
    assert_eq!(case.tree().into_keys().collect::<Vec<_>>(), parts);
    opened.feed(&case, &[1]).await;
    patiently(opened.storage.flush()).await.unwrap();
    assert_eq!(case.tree().into_keys().collect::<Vec<_>>(), ["t/a.part", "t/b", "t/c.part"]);
    assert_eq!([0, 1, 2].map(|file| opened.storage.is_whole(file)), [false, true, false]);
    let StorageEvent::FileDone { file: 1, path } = opened.event().await else { panic!() };
    assert_eq!((path, opened.storage.path_of(1)), (case.path(1), case.path(1)));
    opened.feed(&case, &[2, 0]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn what_is_verified_becomes_durable_without_being_asked() {
    let case = Case::new(16 * K, &[("a", 16 * K)]);
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0]).await;
    assert!(matches!(opened.event().await, StorageEvent::FileDone { file: 0, .. }));
    opened.kill().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_bad_piece_names_its_bad_blocks_and_keeps_those_that_are_not_thrown_away() {
    let case = Case::new(64 * K, &[("a", 128 * K)]);
    let mut opened = open(case.options()).unwrap();
    let right = case.bytes(case.piece(1)).to_vec();
    let mut wrong = right.clone();
    wrong[40 * K] ^= 1;
    let digests = |bytes: &[u8]| bytes.chunks(16 * K).map(block_digest).collect::<Vec<_>>();
    let verdict = opened.feed_bytes(&case, 1, &wrong, false).await;
    assert_eq!(verdict, Verification::Doubtful(digests(&wrong)));
    let differ: Vec<_> =
        digests(&wrong).iter().zip(digests(&right)).map(|(wrong, right)| *wrong != right).collect();
    assert_eq!(differ, [false, false, true, false]);
    opened.read(1, 0, 1).unwrap_err();
    opened.storage.drop_blocks(case.piece(1), &[2]);
    for (number, bytes) in [(1, &[7; 16 * K][..]), (2, &right[32 * K..48 * K])] {
        opened.write(case.info.layout().block(case.piece(1), number), bytes).await;
    }
    opened.storage.verify(case.piece(1), true);
    let StorageEvent::Verified(_, verdict) = opened.event().await else { panic!() };
    assert_eq!(verdict, Verification::Good(Some(digests(&right))), "what was kept is not replaced");
    opened.feed(&case, &[0]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_piece_that_lacks_blocks_is_nobodys_fault_and_can_still_become_good() {
    let case = Case::new(64 * K, &[("a", 64 * K)]);
    let mut opened = open(case.options()).unwrap();
    opened.storage.verify(case.piece(0), false);
    let StorageEvent::Verified(_, verdict) = opened.event().await else { panic!() };
    assert_eq!(verdict, Verification::Lost);
    opened.feed(&case, &[0]).await;
    opened.kill().await;
}

#[tokio::test]
async fn blocks_that_come_twice_or_late_change_nothing() {
    let case = Case::new(32 * K, &[("a", 32 * K)]);
    let mut opened = open(case.options()).unwrap();
    let [first, second] = [0, 1].map(|number| case.info.layout().block(case.piece(0), number));
    opened.write(first, &case.payload[..16 * K]).await;
    opened.write(first, &[7; 16 * K]).await;
    opened.write(second, &case.payload[16 * K..]).await;
    opened.storage.verify(case.piece(0), false);
    let StorageEvent::Verified(_, Verification::Good(None)) = opened.event().await else { panic!() };
    opened.write(second, &[7; 16 * K]).await;
    assert_eq!(opened.pool.available(), opened.pool.capacity(), "nothing is held");
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_pool_far_smaller_than_a_piece_is_enough() {
    let case = Case::new(512 * K, &[("a", 700 * K), ("b", 800 * K), ("c", 36 * K)]);
    let pool = BufferPool::new(128 * K);
    let mut opened = open(OpenStorage { pool, ..case.options() }).unwrap();
    let mut blocks: Vec<Block> = case
        .info
        .layout()
        .pieces()
        .flat_map(|piece| case.info.layout().blocks(piece).collect::<Vec<_>>())
        .collect();
    // From the back: every block comes before its turn.
    blocks.reverse();
    for round in 0..2 {
        for &block in &blocks {
            let mut bytes = case.bytes(block.piece)[block.begin as usize..][..block.length as usize].to_vec();
            if round == 0 {
                bytes[0] ^= 1;
            }
            opened.write(block, &bytes).await;
        }
        for &index in &case.pieces() {
            opened.storage.verify(case.piece(index), false);
            let StorageEvent::Verified(_, verdict) = opened.event().await else { panic!() };
            assert_eq!(matches!(verdict, Verification::Good(_)), round == 1, "{verdict:?}");
            if round == 0 {
                let all: Vec<u32> = (0..case.info.layout().block_count(case.piece(index))).collect();
                opened.storage.drop_blocks(case.piece(index), &all);
            }
        }
    }
    let stats = opened.storage.stats();
    assert!(stats.evicted > 0 && stats.read_back > 0, "{stats:?}");
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn blocks_in_order_leave_memory_early_without_being_read_back() {
    let case = Case::new(1024 * K, &[("a", 1024 * K)]);
    let pool = BufferPool::new(256 * K);
    let mut opened = open(OpenStorage { pool, ..case.options() }).unwrap();
    opened.feed(&case, &[0]).await;
    let stats = opened.storage.stats();
    assert!(stats.evicted > 0, "{stats:?}");
    assert_eq!(stats.read_back, 0);
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn what_a_peer_says_of_a_whole_file_is_held_against_nobody_else_before_its_hash_is_right() {
    let case = Case::new(256 * K, &[("a", 384 * K), ("b", 384 * K)]);
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0, 1, 2]).await;
    opened.finish().await;
    std::fs::remove_file(case.path(1)).unwrap();
    let pool = BufferPool::new(128 * K);
    let mut opened = open(OpenStorage { pool, ..case.options() }).unwrap();
    assert_eq!(opened.had(), [0]);
    let mut lie = case.bytes(case.piece(1)).to_vec();
    lie[100] ^= 1;
    let verdict = opened.feed_bytes(&case, 1, &lie, false).await;
    assert!(matches!(verdict, Verification::Bad(_)), "{verdict:?}");
    assert!(opened.storage.stats().evicted > 0);
    // The lies about the whole file come before their turn to be hashed.
    let mut blocks: Vec<Block> = case.info.layout().blocks(case.piece(1)).collect();
    blocks.reverse();
    for block in blocks {
        opened.write(block, &lie[block.begin as usize..][..block.length as usize]).await;
    }
    opened.storage.verify(case.piece(1), false);
    let StorageEvent::Verified(_, Verification::Bad(_)) = opened.event().await else { panic!() };
    opened.feed(&case, &[1, 2]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_whole_file_that_was_altered_is_noticed_though_its_blocks_left_memory() {
    let case = Case::new(256 * K, &[("a", 384 * K), ("b", 384 * K)]);
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0, 1, 2]).await;
    opened.finish().await;
    std::fs::remove_file(case.path(1)).unwrap();
    let pool = BufferPool::new(128 * K);
    let mut opened = open(OpenStorage { pool, ..case.options() }).unwrap();
    let mut altered = case.file_bytes(0).to_vec();
    altered[300 * K] ^= 1;
    case.place_bytes(0, &altered);
    for block in case.info.layout().blocks(case.piece(1)) {
        opened.write(block, &case.bytes(block.piece)[block.begin as usize..][..block.length as usize]).await;
    }
    opened.storage.verify(case.piece(1), false);
    let StorageEvent::Failed(error) = opened.event().await else { panic!() };
    assert!(error.to_string().ends_with(&format!(": {}", case.path(0).display())), "{error}");
    assert!(opened.storage.stats().evicted > 0);
    opened.kill().await;
    assert_eq!(std::fs::read(case.path(0)).unwrap(), altered);
}

#[tokio::test]
async fn an_idle_torrent_gives_up_memory_that_another_needs() {
    let pool = BufferPool::new(128 * K);
    let (idle, busy) = (Case::new(512 * K, &[("a", 512 * K)]), Case::new(256 * K, &[("b", 512 * K)]));
    let idler = open(OpenStorage { pool: pool.clone(), ..idle.options() }).unwrap();
    for number in 0..6 {
        let block = idle.info.layout().block(idle.piece(0), 2 * number);
        idler.write(block, &idle.payload[block.begin as usize..][..16 * K]).await;
    }
    let mut worker = open(OpenStorage { pool, ..busy.options() }).unwrap();
    worker.feed(&busy, &[0, 1]).await;
    worker.finish().await;
    idler.kill().await;
    assert_eq!(busy.tree(), busy.whole_tree());
}

#[tokio::test]
async fn unselected_files_are_never_made_and_their_borders_still_served() {
    let case = Case::new(32 * K, &[("a", 20 * K), ("b", 30 * K), ("c", 50 * K), ("d", 0), ("e", 0)]);
    let selected = vec![false, true, false, true, false];
    let options = OpenStorage { selected, ..case.options() };
    let mut opened = open(options.clone()).unwrap();
    opened.feed(&case, &[0, 1]).await;
    patiently(opened.storage.flush()).await.unwrap();
    assert_eq!(case.tree().into_keys().collect::<Vec<_>>(), ["t/b", "t/d"]);
    assert_eq!(std::fs::read(case.path(1)).unwrap(), case.file_bytes(1));
    opened.have = Bitfield::from_wire(&[0b1100_0000], case.info.layout().piece_count()).unwrap();
    opened.assert_honest(&case);
    assert_eq!([0, 1, 2, 3, 4].map(|file| opened.storage.is_whole(file)), [false, true, false, true, false]);
    opened.kill().await;
    // And after a restart, without hashing.
    let opened = open(options).unwrap();
    assert_eq!((opened.had(), opened.hashed), (vec![0, 1], 0));
    opened.assert_honest(&case);
    patiently(opened.storage.remove_record()).await.unwrap();
    opened.kill().await;
    assert_eq!(case.records(), [] as [&str; 0]);
}

#[tokio::test]
async fn room_is_reserved_as_asked() {
    use std::os::unix::fs::MetadataExt;
    for (allocate, length, reserved) in
        [(Allocate::None, 0, false), (Allocate::Sparse, 300 * K, false), (Allocate::Full, 300 * K, true)]
    {
        let case = Case::new(64 * K, &[("a", 300 * K)]);
        let mut opened = open(OpenStorage { allocate, ..case.options() }).unwrap();
        let meta = std::fs::metadata(case.part(0)).unwrap();
        assert_eq!(
            (meta.len(), meta.blocks() * 512 >= 300 * K as u64),
            (length as u64, reserved),
            "{allocate:?}"
        );
        opened.feed(&case, &[4, 0, 3, 2, 1]).await;
        opened.finish().await;
        assert_eq!(case.tree(), case.whole_tree());
    }
}

#[tokio::test]
async fn more_files_than_are_kept_open() {
    let names: Vec<String> = (0..300).map(|n| format!("d{}/f{n}", n % 7)).collect();
    let files: Vec<(&str, usize)> =
        names.iter().enumerate().map(|(n, name)| (name.as_str(), 100 + n)).collect();
    let case = Case::new(16 * K, &files);
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &case.pieces()).await;
    opened.have = Bitfield::all(case.info.layout().piece_count());
    opened.assert_honest(&case);
    patiently(opened.storage.flush()).await.unwrap();
    opened.assert_honest(&case);
    opened.kill().await;
    assert_eq!(case.tree(), case.whole_tree());
}
