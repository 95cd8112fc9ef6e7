//! Data on disk against a torrent: [`verify`] for all of it, [`piece_matches`] for one piece in memory.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sha1::{Digest as _, Sha1};

use crate::pieces::{Fault, Source, hash_pieces};
use crate::{Bitfield, Info, PieceIndex};

/// What [`verify`] found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file or directory that was checked.
    pub base: PathBuf,
    /// What became of each file, in the order of [`Info::files`].
    pub files: Vec<FileStatus>,
    /// The pieces that are there and right.
    pub good: Bitfield,
    /// The others, in order.
    pub bad: Vec<PieceIndex>,
}

impl Report {
    /// Whether every byte is there and right, and no file is longer than it should be.
    pub fn is_ok(&self) -> bool {
        self.bad.is_empty() && self.files.iter().all(|status| *status == FileStatus::Ok)
    }
}

/// What became of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileStatus {
    /// It is there, and nothing suggests that it is wrong.
    Ok,
    /// It is not there.
    Missing,
    /// Something else has its name.
    NotAFile,
    /// It is too short or too long.
    WrongLength {
        /// Bytes.
        found: u64,
    },
    /// Some of its pieces are wrong. A wrong piece that it shares with files that are known to be bad does not count against it.
    BadPieces {
        /// How many.
        count: u32,
    },
    /// The operating system refuses to read it.
    Unreadable {
        /// Why.
        kind: ErrorKind,
    },
}

/// Checks all data of a torrent, on `threads` threads (0: one for each core). Nothing is written.
///
/// `root` is as for [`locate`]. `progress` is told how many bytes have been looked at, from any of the threads.
pub fn verify(info: &Info, root: &Path, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Report {
    let base = locate(info, root);
    let layout = info.layout();
    let sources: Vec<Source> = info
        .files()
        .iter()
        .map(|file| if file.pad { Source::Zeros } else { Source::Disk(path_below(&base, file)) })
        .collect();
    let mut files: Vec<FileStatus> =
        sources.iter().zip(info.files()).map(|(source, file)| stat(source, file.length)).collect();

    let done = AtomicU64::new(0);
    let bad = Mutex::new(Vec::new());
    hash_pieces(layout, &sources, threads, &|piece, hash| {
        let fault = match hash {
            Ok(hash) if Some(&hash) == info.piece_hash(piece) => None,
            Ok(_) => Some((piece, None)),
            Err(fault) => Some((piece, Some(fault))),
        };
        if let (Some(fault), Ok(mut bad)) = (fault, bad.lock()) {
            bad.push(fault);
        }
        let size = u64::from(layout.piece_size(piece));
        progress(done.fetch_add(size, Ordering::Relaxed) + size);
        ControlFlow::Continue(())
    });

    let mut bad = bad.into_inner().unwrap_or_default();
    bad.sort_by_key(|(piece, _)| *piece);
    blame(info, &bad, &mut files);
    let mut good = Bitfield::all(layout.piece_count());
    for (piece, _) in &bad {
        good.clear(*piece);
    }
    Report { base, files, good, bad: bad.into_iter().map(|(piece, _)| piece).collect() }
}

/// Whether these bytes are this piece.
pub fn piece_matches(info: &Info, piece: PieceIndex, data: &[u8]) -> bool {
    data.len() == info.layout().piece_size(piece) as usize
        && info.piece_hash(piece).is_some_and(|hash| Sha1::digest(data).as_slice() == hash)
}

/// Where the data of a torrent lies: below the directory `root` by the torrent's name, or `root` itself, whichever holds any of its
/// files; if neither does, where it would lie by name.
pub fn locate(info: &Info, root: &Path) -> PathBuf {
    let name = info.files().first().and_then(|file| file.path.elements().next());
    let by_name = name.map_or_else(|| root.to_owned(), |name| root.join(name));
    let holds_any =
        |base: &Path| info.files().iter().any(|file| !file.pad && path_below(base, file).is_file());
    if !holds_any(&by_name) && holds_any(root) { root.to_owned() } else { by_name }
}

/// Where a file lies, given where the torrent's named file or directory does.
fn path_below(base: &Path, file: &crate::metainfo::File) -> PathBuf {
    match file.path.below_first() {
        Some(path) => base.join(path),
        None => base.to_owned(),
    }
}

fn stat(source: &Source, length: u64) -> FileStatus {
    let Source::Disk(path) = source else { return FileStatus::Ok };
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => FileStatus::NotAFile,
        Ok(found) if found.len() != length => FileStatus::WrongLength { found: found.len() },
        Ok(_) => FileStatus::Ok,
        Err(error) => read_error(&error),
    }
}

fn read_error(error: &std::io::Error) -> FileStatus {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => FileStatus::Missing,
        kind => FileStatus::Unreadable { kind },
    }
}

/// Finds who is to blame for bad pieces. One that a single file fills is that file's; one that several files share is theirs that
/// are bad anyway, and everybody's only if none is.
fn blame(info: &Info, bad: &[(PieceIndex, Option<Fault>)], files: &mut [FileStatus]) {
    let mut shared = Vec::new();
    let mut counts = vec![0_u32; files.len()];
    for (piece, fault) in bad {
        if let Some(fault) = fault {
            if files[fault.file] == FileStatus::Ok {
                files[fault.file] = read_error(&fault.error);
            }
            continue;
        }
        let spans = info.layout().spans(info.layout().piece_range(*piece));
        let holders: Vec<usize> =
            spans.map(|span| span.file).filter(|&file| !info.files()[file].pad).collect();
        match holders[..] {
            [file] => counts[file] += 1,
            _ => shared.push(holders),
        }
    }
    let guilty: Vec<bool> =
        files.iter().zip(&counts).map(|(status, &count)| *status != FileStatus::Ok || count > 0).collect();
    for holders in shared {
        let any_guilty = holders.iter().any(|&file| guilty[file]);
        for file in holders.into_iter().filter(|&file| guilty[file] || !any_guilty) {
            counts[file] += 1;
        }
    }
    for (status, count) in files.iter_mut().zip(counts) {
        if *status == FileStatus::Ok && count > 0 {
            *status = FileStatus::BadPieces { count };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::{Builder, PieceLength};

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
        let builder = Builder { piece_length: PieceLength::Exactly(10), ..Builder::new(&root) };
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
        assert_eq!(
            spoilt(&[("a", 0), ("a", 24)]),
            (vec![BadPieces { count: 2 }, Fine, Fine, Fine], vec![0, 2])
        );
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
}
