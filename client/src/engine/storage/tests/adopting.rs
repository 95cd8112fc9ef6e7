//! Data that is there without our record.

use super::*;

const K: usize = 1024;

fn case() -> Case {
    Case::new(16 * K, &[("a", 64 * K), ("b", 64 * K)])
}

fn force(case: &Case) -> OpenStorage {
    OpenStorage { access: Access::Download { force: true }, ..case.options() }
}

#[tokio::test]
async fn complete_data_is_served_from_where_it_is() {
    let case = Case::new(16 * K, &[("a", 20 * K), ("b", 0), ("d/c", 50 * K)]);
    case.place_all();
    let mut opened = open(case.options()).unwrap();
    assert!(opened.have.is_all());
    assert_eq!(opened.hashed, case.payload.len() as u64);
    assert!([0, 1, 2].iter().all(|&file| opened.storage.is_whole(file)));
    opened.assert_honest(&case);
    patiently(opened.storage.flush()).await.unwrap();
    assert!(opened.events.try_recv().is_err(), "nothing is newly finished");
    opened.kill().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_file_with_any_right_piece_is_completed() {
    let case = case();
    let mut partly = vec![0; 64 * K];
    partly[16 * K..32 * K].copy_from_slice(&case.payload[16 * K..32 * K]);
    case.place_bytes(0, &partly);
    case.place_bytes(1, &[case.file_bytes(1), b"and more"].concat());
    let mut opened = open(case.options()).unwrap();
    assert_eq!(opened.had(), [1, 4, 5, 6, 7]);
    // The second one was whole but for its length, and has been cut already.
    assert_eq!(case.tree().into_keys().collect::<Vec<_>>(), ["t/a.part", "t/b"]);
    opened.feed(&case, &[0, 2, 3]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_foreign_file_is_left_alone_unless_forced() {
    for (name, length) in [("a", 64 * K), ("a", 7), ("a", 100 * K), ("a.part", 5000)] {
        let case = case();
        case.place(1);
        std::fs::write(case.dir.path().join("t").join(name), vec![3; length]).unwrap();
        let before = case.tree();
        let error = open(case.options()).unwrap_err();
        let path = case.dir.path().join("t").join(name);
        assert_eq!(
            error.to_string(),
            format!("{} exists and holds none of this torrent's data", path.display())
        );
        assert_eq!(case.tree(), before);
        assert_eq!(case.records(), [] as [&str; 0]);
        let mut opened = open(force(&case)).unwrap();
        assert_eq!(opened.had(), [4, 5, 6, 7]);
        if name == "a" {
            assert_eq!(case.tree()["t/a"], vec![3; length], "kept until there is something better");
        }
        opened.feed(&case, &[0, 1, 2, 3]).await;
        opened.finish().await;
        assert_eq!(case.tree(), case.whole_tree());
    }
}

#[tokio::test]
async fn empty_files_hold_nothing_to_lose() {
    let case = Case::new(16 * K, &[("a", 16 * K), ("b", 0)]);
    case.place_bytes(0, b"");
    case.place_bytes(1, b"");
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());

    case.place_bytes(1, b"something");
    let error = open(case.options()).unwrap_err();
    assert!(matches!(&error, StorageError::Exists { path } if *path == case.path(1)), "{error}");
    open(force(&case)).unwrap().finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn an_unfinished_file_whose_name_is_taken_waits_for_a_word() {
    let case = case();
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0]).await;
    opened.finish().await;
    std::fs::write(case.path(0), b"somebody else's").unwrap();
    let error = open(case.options()).unwrap_err();
    assert!(matches!(&error, StorageError::Exists { path } if *path == case.path(0)), "{error}");
    let mut opened = open(force(&case)).unwrap();
    assert_eq!(opened.had(), [0]);
    opened.feed(&case, &[1, 2, 3, 4, 5, 6, 7]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn a_name_taken_while_we_work_is_not_overwritten() {
    let case = case();
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0, 1, 2]).await;
    std::fs::write(case.path(0), b"somebody else's").unwrap();
    opened.feed(&case, &[3]).await;
    let error = patiently(opened.storage.flush()).await.unwrap_err();
    let said = loop {
        if let StorageEvent::Failed(said) = opened.event().await {
            break said;
        }
    };
    assert_eq!(error.to_string(), said.to_string());
    assert!(matches!(&error, StorageError::Exists { path } if *path == case.path(0)), "{error}");
    opened.kill().await;
    assert_eq!(std::fs::read(case.path(0)).unwrap(), b"somebody else's");
    // Once the name is free, it goes on from there.
    std::fs::remove_file(case.path(0)).unwrap();
    let opened = open(case.options()).unwrap();
    assert_eq!(opened.had(), [0, 1, 2, 3]);
    opened.kill().await;
    assert_eq!(std::fs::read(case.path(0)).unwrap(), case.file_bytes(0));
}

#[tokio::test]
async fn small_files_beside_a_missing_one_are_adopted_with_the_rest() {
    // One piece holds the end of the big file, and all of two small ones.
    let case = Case::new(16 * K, &[("big", 40 * K), ("small", 3), ("tiny", 1)]);
    case.place_all();
    std::fs::remove_file(case.path(2)).unwrap();
    let mut opened = open(case.options()).unwrap();
    assert_eq!(opened.had(), [0, 1]);
    opened.feed(&case, &[2]).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
    // But one that was edited is somebody's work.
    case.place_bytes(1, b"me!");
    let error =
        open(OpenStorage { state_dir: tempfile::tempdir().unwrap().path().to_path_buf(), ..case.options() });
    assert!(matches!(error.unwrap_err(), StorageError::Exists { path } if path == case.path(1)));
}

#[tokio::test]
async fn no_check_believes_whole_files_by_their_length_and_hashes_the_rest() {
    let case = case();
    case.place_bytes(0, &[9; 64 * K]);
    let options = OpenStorage { check: Check::Trust, ..case.options() };
    let mut opened = open(options.clone()).unwrap();
    assert_eq!((opened.had(), opened.hashed), (vec![0, 1, 2, 3], 0));
    opened.feed(&case, &[5]).await;
    opened.kill().await;
    // An unfinished file has its full length from the start: that says nothing.
    let opened = open(options).unwrap();
    assert_eq!(opened.had(), [0, 1, 2, 3, 5]);
    opened.kill().await;
    let error = open(OpenStorage { check: Check::Full, ..case.options() }).unwrap_err();
    assert!(matches!(error, StorageError::Exists { path } if path == case.path(0)));
}

/// So many files that several threads make them.
#[tokio::test]
async fn many_files_are_all_begun_and_finished() {
    let names: Vec<String> = (0..700).map(|number| format!("d{}/f{number}", number / 100)).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), K)).collect();
    let case = Case::new(256 * K, &files);
    let mut opened = open(case.options()).unwrap();
    assert_eq!(case.tree().len(), 700);
    assert!(case.tree().values().all(|bytes| bytes.len() == K), "each has its length");
    opened.feed(&case, &case.pieces()).await;
    opened.finish().await;
    assert_eq!(case.tree(), case.whole_tree());
}
