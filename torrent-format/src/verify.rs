//! Data on disk against a torrent: [`verify`] for all of it, [`piece_matches`] for one piece in memory.

use std::io::ErrorKind;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::hash::{Sha1State, leaf_hashes};
use crate::metainfo::{PieceCheck, PieceHashes};
use crate::pieces::{Fault, Source, hash_pieces};
use crate::{Bitfield, Info, PieceIndex};

#[cfg(test)]
mod tests;

/// What [`verify`] found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file or directory that was checked.
    pub base: PathBuf,
    /// What became of each file, in the order of [`Info::files`].
    pub files: Vec<FileStatus>,
    /// The pieces that are there and right.
    pub good: Bitfield,
    /// Those that are not there or wrong, in order.
    pub bad: Vec<PieceIndex>,
    /// Those of [`Self::bad`] that are right by one version of a hybrid torrent and wrong by the other, in order: it is the torrent
    /// that is wrong.
    pub conflicts: Vec<PieceIndex>,
    /// Those that are there and that nothing is known of, in order: the torrent is v2, and the piece layer of their file is missing.
    pub unknown: Vec<PieceIndex>,
}

impl Report {
    /// Whether every byte is there and known to be right, and no file is longer than it should be.
    pub fn is_ok(&self) -> bool {
        self.bad.is_empty()
            && self.unknown.is_empty()
            && self.files.iter().all(|status| *status == FileStatus::Ok)
    }

    /// Which bytes of this file lie in bad pieces: offsets in the file, in order, neighbours joined. What is wrong is somewhere within
    /// them, if it is this file's fault: empty if its status is [`FileStatus::Ok`].
    pub fn bad_ranges(&self, info: &Info, file: usize) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        if self.files.get(file).is_none_or(|status| *status == FileStatus::Ok) {
            return ranges;
        }
        let pieces = info.layout().file_pieces(file);
        let first = self.bad.partition_point(|piece| piece.get() < pieces.start);
        let bad = self.bad[first..].iter().take_while(|piece| piece.get() < pieces.end);
        let spans = bad.flat_map(|piece| info.layout().spans(info.layout().piece_range(*piece)));
        for span in spans.filter(|span| span.file == file) {
            let end = span.offset + span.length;
            match ranges.last_mut().filter(|last| last.end == span.offset) {
                Some(last) => last.end = end,
                None => ranges.push(span.offset..end),
            }
        }
        ranges
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
    let found = Mutex::new(Found::default());
    let on_bytes = |bytes| progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
    let pieces: Vec<PieceIndex> = layout.pieces().collect();
    hash_pieces(layout, &pieces, &sources[..], info.version(), threads, &on_bytes, &|piece, hashes| {
        let Ok(mut found) = found.lock() else { return ControlFlow::Break(()) };
        match hashes.map(|hashes| info.check_piece(piece, &hashes)) {
            Ok(PieceCheck::Good) => {}
            Ok(PieceCheck::Bad) => found.bad.push((piece, None)),
            Ok(PieceCheck::Conflict) => {
                found.bad.push((piece, None));
                found.conflicts.push(piece);
            }
            Ok(PieceCheck::Unknown) => found.unknown.push(piece),
            Err(fault) => found.bad.push((piece, Some(fault))),
        }
        ControlFlow::Continue(())
    });

    let Found { mut bad, mut conflicts, mut unknown } =
        found.into_inner().unwrap_or_else(PoisonError::into_inner);
    bad.sort_by_key(|(piece, _)| *piece);
    conflicts.sort();
    unknown.sort();
    blame(info, &bad, &mut files);
    let bad: Vec<PieceIndex> = bad.into_iter().map(|(piece, _)| piece).collect();
    let mut good = Bitfield::all(layout.piece_count());
    for piece in bad.iter().chain(&unknown) {
        good.clear(*piece);
    }
    Report { base, files, good, bad, conflicts, unknown }
}

/// The pieces that are not good, as they come.
#[derive(Default)]
struct Found {
    bad: Vec<(PieceIndex, Option<Fault>)>,
    conflicts: Vec<PieceIndex>,
    unknown: Vec<PieceIndex>,
}

/// Whether these bytes, padding included, are this piece, by the hashes of every version that are known.
pub fn piece_matches(info: &Info, piece: PieceIndex, data: &[u8]) -> bool {
    let layout = info.layout();
    if data.len() != layout.piece_size(piece) as usize {
        return false;
    }
    let root = |(file, _)| {
        let mut leaves = Vec::new();
        leaf_hashes(&data[..layout.piece_payload(piece) as usize], &mut leaves);
        Some(info.tree(file)?.root_of_leaves(&leaves))
    };
    let v1 = info.version().has_v1().then(|| Sha1State::new().with(data).finish());
    let v2 = info.file_piece(piece).and_then(root);
    info.check_piece(piece, &PieceHashes { v1, v2 }) == PieceCheck::Good
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
