//! Serving what is there, and writing nothing.

use super::*;

const K: usize = 1024;

fn case() -> Case {
    let case = Case::new(16 * K, &[("a", 56 * K), ("e", 0), ("b", 72 * K)]);
    case.place_all();
    case
}

#[track_caller]
fn assert_mismatch(outcome: Result<Opened, StorageError>, path: &Path, problem: &str) {
    let error = outcome.unwrap_err();
    assert_eq!(error.to_string(), format!("{problem}: {}", path.display()));
    assert!(matches!(error, StorageError::Mismatch { .. }));
}

#[tokio::test]
async fn everything_is_hashed_once_and_then_known() {
    let case = case();
    let opened = open(case.seed()).unwrap();
    assert!(opened.have.is_all());
    assert_eq!(opened.hashed, case.payload.len() as u64);
    opened.assert_honest(&case);
    opened.kill().await;
    let opened = open(case.seed()).unwrap();
    assert_eq!((opened.have.is_all(), opened.hashed), (true, 0));
    opened.kill().await;
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn what_is_missing_short_long_or_wrong_is_named() {
    let case = case();
    open(case.seed()).unwrap().kill().await;
    let path = case.path(2);
    let right = case.file_bytes(2);
    std::fs::write(&path, &right[..right.len() - 1]).unwrap();
    assert_mismatch(open(case.seed()), &path, "is 73727 bytes long, not 73728");
    std::fs::write(&path, [right, b"!"].concat()).unwrap();
    assert_mismatch(open(case.seed()), &path, "is 73729 bytes long, not 73728");
    std::fs::remove_file(&path).unwrap();
    assert_mismatch(open(case.seed()), &path, "no such file");
    let mut wrong = right.to_vec();
    wrong[0] ^= 1;
    wrong[60 * K] ^= 1;
    std::fs::write(&path, wrong).unwrap();
    // Piece 3 holds the end of the file before as well, which is named first.
    assert_mismatch(open(case.seed()), &case.path(0), "1 of 4 pieces are wrong");
    case.place(2);
    open(case.seed()).unwrap().kill().await;
    let gone = OpenStorage { dir: case.dir.path().join("gone"), ..case.seed() };
    assert_mismatch(open(gone.clone()), &gone.dir, "no such directory");
    assert!(!gone.dir.exists());
}

#[tokio::test]
async fn no_check_looks_at_lengths_only() {
    let case = case();
    std::fs::write(case.path(2), [0; 72 * K]).unwrap();
    let trust = OpenStorage { check: Check::Trust, ..case.seed() };
    let opened = open(trust.clone()).unwrap();
    assert_eq!((opened.have.is_all(), opened.hashed), (true, 0));
    opened.kill().await;
    // What was only believed is not remembered as right.
    assert_mismatch(open(case.seed()), &case.path(0), "1 of 4 pieces are wrong");
    std::fs::write(case.path(2), [0; 71 * K]).unwrap();
    assert_mismatch(open(trust), &case.path(2), "is 72704 bytes long, not 73728");
}

#[tokio::test]
async fn a_missing_empty_file_is_no_loss() {
    let case = case();
    std::fs::remove_file(case.path(1)).unwrap();
    let opened = open(case.seed()).unwrap();
    assert!(opened.have.is_all());
    opened.kill().await;
    assert!(!case.path(1).exists(), "nothing is made");
}

#[tokio::test]
async fn without_a_state_directory_it_goes_on_without_records() {
    let case = case();
    let file = case.dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let options = OpenStorage { state_dir: file.clone(), ..case.seed() };
    let opened = open(options).unwrap();
    assert!(opened.have.is_all());
    patiently(opened.storage.flush()).await.unwrap();
    patiently(opened.storage.remove_record()).await.unwrap();
    opened.kill().await;
    let download = open(OpenStorage { state_dir: file.clone(), ..case.options() }).unwrap_err();
    let said = download.to_string();
    assert!(said.starts_with(&format!("can't write {}: ", file.display())), "{said}");
}

#[tokio::test]
async fn part_of_a_torrent_can_be_served_if_its_pieces_are_there() {
    let case = case();
    std::fs::remove_file(case.path(0)).unwrap();
    let opened = open(OpenStorage { selected: vec![false, false, true], ..case.seed() }).unwrap();
    assert_eq!(opened.had(), [4, 5, 6, 7]);
    opened.assert_honest(&case);
    opened.kill().await;
    case.place(0);
    let opened = open(OpenStorage { selected: vec![false, false, true], ..case.seed() }).unwrap();
    assert_eq!(opened.had(), [3, 4, 5, 6, 7]);
    opened.assert_honest(&case);
    opened.kill().await;
}

#[tokio::test]
async fn a_finished_download_is_seeded_without_hashing() {
    let case = Case::new(16 * K, &[("a", 56 * K), ("b", 72 * K)]);
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &case.pieces()).await;
    opened.finish().await;
    let opened = open(case.seed()).unwrap();
    assert_eq!((opened.have.is_all(), opened.hashed), (true, 0));
    opened.kill().await;
}

#[tokio::test]
async fn files_that_change_while_they_are_served_are_noticed_before_a_byte_leaves() {
    let case = case();
    let opened = open(case.seed()).unwrap();
    opened.read(0, 0, 100).unwrap();
    let mut changed = case.file_bytes(0).to_vec();
    changed[5] ^= 1;
    std::fs::write(case.path(0), changed).unwrap();
    let error = opened.read(0, 0, 100).unwrap_err();
    assert_eq!(error.to_string(), format!("changed since it was verified: {}", case.path(0).display()));
    assert_eq!(opened.read(1, 0, 100).unwrap(), case.payload[16 * K..][..100], "this piece is as it was");
    opened.read(5, 0, 100).expect("the other file is as it was");
    // Put right again.
    case.place(0);
    assert_eq!(opened.read(0, 0, 100).unwrap(), case.payload[..100]);
    std::fs::OpenOptions::new().write(true).open(case.path(2)).unwrap().set_len(10).unwrap();
    let error = opened.read(5, 0, 100).unwrap_err();
    assert_eq!(error.to_string(), format!("shorter than it was: {}", case.path(2).display()));
    opened.kill().await;
}

#[tokio::test]
async fn a_file_that_was_only_touched_is_served_on() {
    let case = case();
    let opened = open(case.seed()).unwrap();
    for seconds in [1, 2] {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(case.path(0)).unwrap().set_modified(time).unwrap();
        opened.assert_honest(&case);
    }
    opened.kill().await;
}

#[tokio::test]
async fn a_file_moved_over_while_it_is_served_is_not_read() {
    let case = case();
    let opened = open(case.seed()).unwrap();
    let other = case.dir.path().join("other");
    std::fs::write(&other, vec![0; 56 * K]).unwrap();
    std::fs::rename(&other, case.path(0)).unwrap();
    match opened.read(0, 0, 100) {
        Ok(bytes) => assert_eq!(bytes, case.payload[..100], "still the old file, held open"),
        Err(error) => {
            assert_eq!(error.to_string(), format!("replaced by another file: {}", case.path(0).display()));
        }
    }
    opened.kill().await;
}

#[tokio::test]
async fn several_serve_one_directory_also_beside_a_download() {
    let case = case();
    let first = open(case.seed()).unwrap();
    let second = open(case.seed()).unwrap();
    assert_eq!((second.have.is_all(), second.hashed), (true, 0));
    let downloader = open(case.options()).unwrap();
    let third = open(case.seed()).unwrap();
    let downloads = open(case.options()).unwrap_err();
    assert!(
        matches!(&downloads, StorageError::Busy { path } if *path == case.dir.path().canonicalize().unwrap()),
        "{downloads}"
    );
    for opened in [first, second, third, downloader] {
        opened.assert_honest(&case);
        opened.kill().await;
    }
    assert_eq!(case.tree(), case.whole_tree());
}

#[tokio::test]
async fn what_is_only_believed_leaves_no_record() {
    let case = case();
    open(OpenStorage { check: Check::Trust, ..case.seed() }).unwrap().kill().await;
    assert!(!case.state.path().join("records").exists());
}

#[tokio::test]
async fn a_check_that_is_called_off_ends_and_leaves_all_as_it_was() {
    let case = case();
    for options in [case.seed(), case.options()] {
        for after in [0, 16 * K as u64] {
            let (news, _events) = mpsc::unbounded_channel();
            let mut done = 0;
            let error = Storage::open(options.clone(), news, |progress| {
                done = progress.done;
                if done >= after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap_err();
            assert!(matches!(error, StorageError::CalledOff), "{error}");
            assert!(done >= after && (after > 0 || done == 0), "{done}");
        }
    }
    assert_eq!((case.tree(), case.records()), (case.whole_tree(), vec![]));
    open(case.options()).unwrap().kill().await;
}
