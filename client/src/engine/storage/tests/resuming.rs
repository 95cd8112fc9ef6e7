//! What is believed after a stop, however it came about.

use std::os::unix::fs::FileExt;

use super::*;

const K: usize = 1024;

/// Two files in eight pieces, one of them across the border.
fn case() -> Case {
    Case::new(16 * K, &[("a", 56 * K), ("b", 72 * K)])
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_verified() {
    let case = case();
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0, 3, 5]).await;
    opened.kill().await;
    let mut opened = open(case.options()).unwrap();
    assert_eq!(opened.had(), [0, 3, 5]);
    assert!(opened.hashed <= 3 * 16 * K as u64, "only what was not durable is hashed");
    opened.assert_honest(&case);
    opened.feed(&case, &[1, 2, 4, 6, 7]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn what_was_durable_is_not_hashed_again() {
    let case = case();
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0, 3, 5]).await;
    opened.finish().await;
    for _ in 0..3 {
        let opened = open(case.options()).unwrap();
        assert_eq!((opened.had(), opened.hashed), (vec![0, 3, 5], 0));
        opened.kill().await;
    }
    let opened = open(OpenStorage { check: Check::Full, ..case.options() }).unwrap();
    assert_eq!((opened.had(), opened.hashed), (vec![0, 3, 5], case.payload.len() as u64));
    opened.kill().await;
}

#[tokio::test]
async fn a_kill_after_the_last_piece_still_ends_in_whole_files() {
    let case = case();
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &case.pieces()).await;
    opened.kill().await;
    let mut opened = open(case.options()).unwrap();
    assert!(opened.have.is_all());
    assert_eq!(case.tree(), case.whole_tree());
    for _ in 0..2 {
        assert!(matches!(opened.event().await, StorageEvent::FileDone { .. }));
    }
    opened.kill().await;
}

#[tokio::test]
async fn what_was_written_but_lost_with_the_power_is_not_believed() {
    let case = case();
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0]).await;
    patiently(opened.storage.flush()).await.unwrap();
    opened.feed(&case, &[1, 5]).await;
    opened.kill().await;
    // The machine stopped before piece 1 reached the disk; the journal's record of it did.
    let file = std::fs::OpenOptions::new().write(true).open(case.part(0)).unwrap();
    file.write_all_at(&[0; 16 * K], 16 * K as u64).unwrap();
    let opened = open(case.options()).unwrap();
    assert_eq!(opened.had(), [0, 5]);
    opened.assert_honest(&case);
    opened.kill().await;
}

/// Pieces 0, 4 and 7 durable, 2 and 6 written; 6 has been lost. Returns the journal.
async fn half_done(case: &Case) -> Vec<u8> {
    let mut opened = open(case.options()).unwrap();
    opened.feed(case, &[0, 4, 7]).await;
    patiently(opened.storage.flush()).await.unwrap();
    opened.feed(case, &[2, 6]).await;
    let journal = std::fs::read(case.journal()).unwrap();
    opened.kill().await;
    let file = std::fs::OpenOptions::new().write(true).open(case.part(1)).unwrap();
    file.write_all_at(&[0; 16 * K], (6 * 16 - 56) * K as u64).unwrap();
    journal
}

/// Opens with this journal: what is had must be right. Leaves the files as they were.
async fn assert_honest_with(case: &Case, journal: &[u8], what: &str) -> Vec<u32> {
    std::fs::write(case.journal(), journal).unwrap();
    let opened = open(case.options()).unwrap_or_else(|error| panic!("{what}: {error}"));
    opened.assert_honest(case);
    let had = opened.had();
    assert!(had.iter().all(|index| [0, 2, 4, 7].contains(index)), "{what}: {had:?}");
    opened.kill().await;
    had
}

#[tokio::test]
async fn a_journal_cut_anywhere_is_never_believed_too_much() {
    let case = case();
    let journal = half_done(&case).await;
    assert_eq!(assert_honest_with(&case, &journal, "whole").await, [0, 2, 4, 7]);
    for length in 0..journal.len() {
        assert_honest_with(&case, &journal[..length], &format!("cut at {length}")).await;
        // The shape that file systems leave behind: the length is there, the data isn't.
        let mut zeros = journal[..length].to_vec();
        zeros.resize(journal.len() + 100, 0);
        assert_honest_with(&case, &zeros, &format!("zeros from {length}")).await;
    }
}

#[tokio::test]
async fn a_journal_with_any_byte_altered_is_never_believed_too_much() {
    let case = case();
    let journal = half_done(&case).await;
    for position in 0..journal.len() {
        let mut altered = journal.clone();
        altered[position] ^= 1 << (position % 8);
        assert_honest_with(&case, &altered, &format!("byte {position}")).await;
    }
}

#[tokio::test]
async fn without_a_believable_journal_everything_there_is_hashed() {
    let case = case();
    for journal in [&b""[..], b"sprat\n", b"no journal", &[0; 5000]] {
        half_done(&case).await;
        assert_eq!(assert_honest_with(&case, journal, "bad").await, [0, 2, 4, 7]);
        std::fs::remove_dir_all(case.dir.path().join("t")).unwrap();
    }
}

#[tokio::test]
async fn the_journal_of_another_torrent_or_place_is_not_believed() {
    let (ours, other) = (case(), Case::new(16 * K, &[("a", 56 * K), ("b", 72 * K), ("c", 1)]));
    half_done(&ours).await;
    let mut opened = open(other.options()).unwrap();
    opened.feed(&other, &other.pieces()).await;
    patiently(opened.storage.flush()).await.unwrap();
    let journal = std::fs::read(other.journal()).unwrap();
    opened.kill().await;
    assert_eq!(assert_honest_with(&ours, &journal, "another torrent's").await, [0, 2, 4, 7]);
    let elsewhere = Case { dir: tempfile::tempdir().unwrap(), ..case() };
    let journal = half_done(&elsewhere).await;
    half_done_again(&ours).await;
    assert_eq!(assert_honest_with(&ours, &journal, "another place's").await, [0, 2, 4, 7]);
}

async fn half_done_again(case: &Case) {
    std::fs::remove_dir_all(case.dir.path().join("t")).unwrap();
    half_done(case).await;
}

/// Everything is had and durable but piece 7, so that both files are unfinished or the first is whole.
async fn nearly_done(case: &Case) {
    let mut opened = open(case.options()).unwrap();
    opened.feed(case, &[0, 1, 2, 3, 4, 5, 6]).await;
    opened.finish().await;
    assert_eq!(case.tree().into_keys().collect::<Vec<_>>(), ["t/a", "t/b.part"]);
}

#[tokio::test]
async fn a_file_that_is_gone_takes_only_its_pieces_with_it() {
    let case = case();
    nearly_done(&case).await;
    std::fs::remove_file(case.part(1)).unwrap();
    let mut opened = open(case.options()).unwrap();
    assert_eq!((opened.had(), opened.hashed), (vec![0, 1, 2], 0));
    // Piece 3 comes again; its first half lies in a file that is whole.
    opened.feed(&case, &[3, 4, 5, 6, 7]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_whole_file_that_is_gone_is_fetched_again() {
    let case = case();
    nearly_done(&case).await;
    std::fs::remove_file(case.path(0)).unwrap();
    let mut opened = open(case.options()).unwrap();
    assert_eq!((opened.had(), opened.hashed), (vec![4, 5, 6], 0));
    opened.feed(&case, &[0, 1, 2, 3, 7]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_file_cut_short_keeps_what_is_left_of_it() {
    let case = case();
    nearly_done(&case).await;
    std::fs::OpenOptions::new().write(true).open(case.part(1)).unwrap().set_len(30 * K as u64).unwrap();
    let opened = open(case.options()).unwrap();
    assert_eq!(opened.had(), [0, 1, 2, 3, 4]);
    opened.assert_honest(&case);
    opened.kill().await;
}

#[tokio::test]
async fn a_file_changed_between_runs_is_hashed_again_even_if_its_time_was_set_back() {
    for (file, set_back) in [(0, false), (0, true), (1, false), (1, true)] {
        let case = case();
        nearly_done(&case).await;
        let path = if file == 0 { case.path(0) } else { case.part(1) };
        let changed = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let before = changed.metadata().unwrap().modified().unwrap();
        changed.write_all_at(b"!", 20 * K as u64).unwrap();
        if set_back {
            changed.set_modified(before).unwrap();
        }
        let mut opened = open(case.options()).unwrap();
        // Byte 20 Ki of file 0 lies in piece 1, of file 1 in piece 4.
        let lost = if file == 0 { 1 } else { 4 };
        let expected: Vec<u32> = (0..7).filter(|&index| index != lost).collect();
        assert_eq!(opened.had(), expected, "{path:?} {set_back}");
        opened.assert_honest(&case);
        opened.feed(&case, &[lost, 7]).await;
        opened.finish().await;
        assert_eq!(case.tree(), case.whole_tree());
    }
}

#[tokio::test]
async fn a_file_replaced_between_runs_is_hashed_again() {
    let case = case();
    nearly_done(&case).await;
    let mut other = std::fs::read(case.part(1)).unwrap();
    other[0] ^= 1;
    let new = case.dir.path().join("new");
    std::fs::write(&new, other).unwrap();
    std::fs::rename(new, case.part(1)).unwrap();
    let opened = open(case.options()).unwrap();
    assert_eq!(opened.had(), [0, 1, 2, 4, 5, 6]);
    opened.kill().await;
}

#[tokio::test]
async fn a_whole_file_filled_with_something_else_is_not_overwritten() {
    let case = case();
    nearly_done(&case).await;
    std::fs::write(case.path(0), [1; 56 * K]).unwrap();
    let error = open(case.options()).unwrap_err();
    assert!(matches!(&error, StorageError::Exists { path } if *path == case.path(0)), "{error}");
    assert_eq!(std::fs::read(case.path(0)).unwrap(), [1; 56 * K]);
}

#[tokio::test]
async fn a_piece_downloaded_under_another_selection_is_believed_only_where_its_bytes_are() {
    let case = case();
    let select = |selected: [bool; 2]| OpenStorage { selected: selected.to_vec(), ..case.options() };
    // Both files exist, piece 3 is not there.
    let mut opened = open(select([true, true])).unwrap();
    opened.feed(&case, &[0, 7]).await;
    opened.finish().await;
    // Piece 3 comes while the second file is not selected: its second half goes elsewhere.
    let mut opened = open(select([true, false])).unwrap();
    assert_eq!(opened.had(), [0]);
    opened.feed(&case, &[3]).await;
    opened.finish().await;
    // In the second file there is a hole where it would be.
    let mut opened = open(select([true, true])).unwrap();
    opened.assert_honest(&case);
    assert_eq!(opened.had(), [0, 7]);
    opened.feed(&case, &[1, 2, 3, 4, 5, 6]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn only_one_at_a_time() {
    let case = case();
    let opened = open(case.options()).unwrap();
    assert!(matches!(open(case.options()).unwrap_err(), StorageError::Busy { .. }));
    let elsewhere = tempfile::tempdir().unwrap();
    open(OpenStorage { dir: elsewhere.path().to_path_buf(), ..case.options() }).unwrap().kill().await;
    opened.kill().await;
    open(case.options()).unwrap().kill().await;
}
