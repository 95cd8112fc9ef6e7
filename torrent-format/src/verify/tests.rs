use super::*;
use crate::create::{Builder, Format, PieceLength};

struct Fixture {
    dir: tempfile::TempDir,
    info: Info,
}

/// `t` holds `a` (25 bytes), `b/c` (10), `d` (0), `e` (30), in pieces of 10 bytes.
fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("t");
    std::fs::create_dir_all(root.join("b")).unwrap();
    for (name, length) in [("a", 25), ("b/c", 10), ("d", 0), ("e", 30)] {
        let content: Vec<u8> = (0..length).map(|i| i ^ name.as_bytes()[0]).collect();
        std::fs::write(root.join(name), content).unwrap();
    }
    let piece_length = PieceLength::Exactly(10);
    let builder = Builder { format: Format::V1, piece_length, ..Builder::new(&root) };
    let info = builder.build(&|_| {}).unwrap().metainfo.info;
    Fixture { dir, info }
}

impl Fixture {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("t").join(name)
    }

    fn check(&self) -> (Vec<FileStatus>, Vec<u32>) {
        let report = verify(&self.info, self.dir.path(), 2, &|_| {});
        assert_eq!(report.good.count() as usize + report.bad.len(), 7);
        assert!(report.bad.iter().all(|&piece| !report.good.has(piece)));
        assert_eq!(report.is_ok(), report.files.iter().all(|status| *status == FileStatus::Ok));
        (report.files, report.bad.iter().map(|piece| piece.get()).collect())
    }

    fn spoil(&self, name: &str, at: usize) {
        let mut content = std::fs::read(self.path(name)).unwrap();
        content[at] ^= 0xff;
        std::fs::write(self.path(name), content).unwrap();
    }
}

use FileStatus::{BadPieces, Missing, NotAFile, Ok as Fine, WrongLength};

#[test]
fn data_that_is_right_is_found_by_name_or_by_path() {
    let fixture = fixture();
    assert_eq!(fixture.check(), (vec![Fine, Fine, Fine, Fine], vec![]));
    let seen = AtomicU64::new(0);
    let report = verify(&fixture.info, &fixture.path(""), 0, &|done| {
        seen.fetch_max(done, Ordering::Relaxed);
    });
    assert!(report.is_ok());
    assert_eq!((report.base, seen.into_inner()), (fixture.path(""), 65));
}

#[test]
fn a_missing_file_is_not_its_neighbours_fault() {
    let fixture = fixture();
    std::fs::remove_file(fixture.path("b/c")).unwrap();
    assert_eq!(fixture.check(), (vec![Fine, Missing, Fine, Fine], vec![2, 3]));
    std::fs::remove_dir(fixture.path("b")).unwrap();
    std::fs::write(fixture.path("b"), "").unwrap();
    assert_eq!(fixture.check(), (vec![Fine, Missing, Fine, Fine], vec![2, 3]));
    std::fs::remove_file(fixture.path("d")).unwrap();
    assert_eq!(fixture.check().0, [Fine, Missing, Missing, Fine]);
}

#[test]
fn a_bad_piece_is_blamed_on_those_that_are_bad_anyway() {
    let spoilt = |places: &[(&str, usize)]| {
        let fixture = fixture();
        places.iter().for_each(|(name, at)| fixture.spoil(name, *at));
        fixture.check()
    };
    let one = BadPieces { count: 1 };
    assert_eq!(spoilt(&[("a", 0)]), (vec![one.clone(), Fine, Fine, Fine], vec![0]));
    assert_eq!(spoilt(&[("a", 24)]), (vec![one.clone(), one.clone(), Fine, Fine], vec![2]));
    assert_eq!(spoilt(&[("a", 0), ("a", 24)]), (vec![BadPieces { count: 2 }, Fine, Fine, Fine], vec![0, 2]));
    assert_eq!(spoilt(&[("e", 29)]), (vec![Fine, Fine, Fine, one], vec![6]));
}

#[test]
fn wrong_lengths_are_told() {
    let fixture = fixture();
    let mut content = std::fs::read(fixture.path("e")).unwrap();
    content.push(0);
    std::fs::write(fixture.path("e"), &content).unwrap();
    assert_eq!(fixture.check(), (vec![Fine, Fine, Fine, WrongLength { found: 31 }], vec![]));
    std::fs::write(fixture.path("e"), &content[..16]).unwrap();
    assert_eq!(fixture.check(), (vec![Fine, Fine, Fine, WrongLength { found: 16 }], vec![5, 6]));
    std::fs::remove_file(fixture.path("e")).unwrap();
    std::fs::create_dir(fixture.path("e")).unwrap();
    assert_eq!(fixture.check(), (vec![Fine, Fine, Fine, NotAFile], vec![3, 4, 5, 6]));
}

#[test]
fn nothing_there_at_all_is_looked_for_by_name() {
    let fixture = fixture();
    let empty = tempfile::tempdir().unwrap();
    let report = verify(&fixture.info, empty.path(), 1, &|_| {});
    assert_eq!((report.base, report.good.is_none()), (empty.path().join("t"), true));
    assert_eq!(report.files, vec![Missing; 4]);
}

#[test]
fn one_piece_is_checked_in_memory() {
    let fixture = fixture();
    let content = std::fs::read(fixture.path("a")).unwrap();
    let piece = fixture.info.layout().piece(1).unwrap();
    assert!(piece_matches(&fixture.info, piece, &content[10..20]));
    assert!(!piece_matches(&fixture.info, piece, &content[10..21]));
    assert!(!piece_matches(&fixture.info, piece, &content[..10]));
}

const K: u64 = 1024;

/// `t` holds `a` (100,000 bytes), `b/c` (16 KiB), `d` (0) and `e` (32 KiB and a byte), in pieces of 32 KiB.
fn larger_fixture(format: Format) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("t");
    std::fs::create_dir_all(root.join("b")).unwrap();
    let mut rng = fastrand::Rng::with_seed(3);
    for (name, length) in [("a", 100_000), ("b/c", 16 * K), ("d", 0), ("e", 32 * K + 1)] {
        let mut content = vec![0; length as usize];
        rng.fill(&mut content);
        std::fs::write(root.join(name), content).unwrap();
    }
    let builder = Builder { format, piece_length: PieceLength::Exactly(32 * 1024), ..Builder::new(&root) };
    let info = builder.build(&|_| {}).unwrap().metainfo.info;
    Fixture { dir, info }
}

/// What became of each file that is on disk, with the ranges of its bad pieces.
fn check_files(fixture: &Fixture) -> Vec<(FileStatus, Vec<(u64, u64)>)> {
    let report = verify(&fixture.info, fixture.dir.path(), 2, &|_| {});
    assert!(report.conflicts.is_empty() && report.unknown.is_empty());
    let on_disk = (0..report.files.len()).filter(|&file| !fixture.info.files()[file].pad);
    let ranges = |file| report.bad_ranges(&fixture.info, file).iter().map(|it| (it.start, it.end)).collect();
    on_disk.map(|file| (report.files[file].clone(), ranges(file))).collect()
}

#[test]
fn in_v2_and_hybrid_torrents_a_bad_piece_is_one_files_and_its_range_is_told() {
    for format in [Format::V2, Format::Hybrid] {
        let fixture = larger_fixture(format);
        let fine = (Fine, vec![]);
        assert_eq!(check_files(&fixture), vec![fine.clone(); 4], "{format:?}");

        fixture.spoil("a", 40_000);
        fixture.spoil("a", 99_999);
        fixture.spoil("b/c", 0);
        fixture.spoil("e", 32 * 1024);
        let bad = |count, ranges: &[(u64, u64)]| (BadPieces { count }, ranges.to_vec());
        let expected = [
            bad(2, &[(32 * K, 64 * K), (96 * K, 100_000)]),
            bad(1, &[(0, 16 * K)]),
            fine.clone(),
            bad(1, &[(32 * K, 32 * K + 1)]),
        ];
        assert_eq!(check_files(&fixture), expected, "{format:?}");

        fixture.spoil("a", 70_000);
        std::fs::remove_file(fixture.path("e")).unwrap();
        std::fs::write(fixture.path("b/c"), [0; 16]).unwrap();
        let expected = [
            bad(3, &[(32 * K, 100_000)]),
            (WrongLength { found: 16 }, vec![(0, 16 * K)]),
            fine,
            (Missing, vec![(0, 32 * K + 1)]),
        ];
        assert_eq!(check_files(&fixture), expected, "{format:?}");
    }
}

#[test]
fn a_torrent_that_contradicts_itself_is_told_from_bad_data() {
    let fixture = larger_fixture(Format::Hybrid);
    let mut raw = fixture.info.raw().to_vec();
    let hash = fixture.info.piece_hash(fixture.info.layout().piece(1).unwrap()).unwrap().to_vec();
    let at = raw.windows(20).position(|bytes| bytes == hash).unwrap();
    raw[at] ^= 1;
    let info = Info::from_bytes(&raw).unwrap();
    for file in 0..info.files().len() {
        if let Some(layer) = fixture.info.layer(file) {
            info.set_layer(file, layer.to_vec()).unwrap();
        }
    }
    let report = verify(&info, fixture.dir.path(), 1, &|_| {});
    let numbers = |pieces: &[PieceIndex]| pieces.iter().map(|piece| piece.get()).collect::<Vec<_>>();
    assert_eq!((numbers(&report.bad), numbers(&report.conflicts)), (vec![1], vec![1]));
    assert!(!report.is_ok());
    fixture.spoil("a", 40_000);
    let report = verify(&info, fixture.dir.path(), 1, &|_| {});
    assert_eq!((numbers(&report.bad), numbers(&report.conflicts)), (vec![1], vec![]));
}

#[test]
fn without_its_piece_layer_a_file_is_neither_right_nor_wrong() {
    let v2 = larger_fixture(Format::V2);
    let bare = Info::from_bytes(v2.info.raw()).unwrap();
    let report = verify(&bare, v2.dir.path(), 1, &|_| {});
    let unknown: Vec<_> = report.unknown.iter().map(|piece| piece.get()).collect();
    // Those of `a` and of `e`; `b/c` is no longer than a piece: its root will do.
    assert_eq!((unknown, report.good.count(), report.is_ok()), (vec![0, 1, 2, 3, 5, 6], 1, false));

    let hybrid = larger_fixture(Format::Hybrid);
    let bare = Info::from_bytes(hybrid.info.raw()).unwrap();
    assert!(verify(&bare, hybrid.dir.path(), 1, &|_| {}).is_ok(), "the hashes of v1 will do");
}

#[test]
fn one_piece_of_any_version_is_checked_in_memory() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let fixture = larger_fixture(format);
        let info = &fixture.info;
        for piece in info.layout().pieces() {
            let mut data = Vec::new();
            for span in info.layout().spans(info.layout().piece_range(piece)) {
                let file = &info.files()[span.file];
                let range = span.offset as usize..(span.offset + span.length) as usize;
                match file.pad {
                    true => data.resize(data.len() + range.len(), 0),
                    false => {
                        let path = path_below(&fixture.path(""), file);
                        data.extend_from_slice(&std::fs::read(path).unwrap()[range]);
                    }
                }
            }
            assert!(piece_matches(info, piece, &data), "{format:?} {piece:?}");
            assert!(!piece_matches(info, piece, &data[1..]), "{format:?} {piece:?}");
            data[0] ^= 1;
            assert!(!piece_matches(info, piece, &data), "{format:?} {piece:?}");
        }
    }
}
