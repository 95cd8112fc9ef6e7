//! Hashing what is on disk, on all cores.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use torrent_format::merkle::Hash;
use torrent_format::metainfo::{PieceCheck, PieceHashes};
use torrent_format::pieces::{self, Payload};
use torrent_format::{FileSpan, Info, PieceIndex};

use super::files::{Files, Place, Recent, failure};
use super::shared::conflict;
use super::{CheckProgress, StorageError};

/// Threads, at most: more would only make a disk seek.
const MAX_THREADS: usize = 16;

/// How long the caller is not asked whether to go on, at most: a single piece may take a slow disk seconds.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Hashes these pieces; says of each, in the same order, whether it is right. A piece whose file is short, gone or another one
/// is wrong.
///
/// # Errors
/// If a file can't be read; [`StorageError::Conflict`]; [`StorageError::CalledOff`] if `progress` says so.
pub(super) fn hash_pieces(
    files: &Files,
    info: &Info,
    pieces: &[PieceIndex],
    progress: &mut dyn FnMut(CheckProgress) -> ControlFlow<()>,
) -> Result<Vec<bool>, StorageError> {
    on_all_cores(files, info, pieces, progress, |piece, hashes| {
        match hashes.map(|hashes| info.check_piece(piece, &hashes)) {
            Some(PieceCheck::Good) => Ok(true),
            Some(PieceCheck::Bad | PieceCheck::Unknown) | None => Ok(false),
            Some(PieceCheck::Conflict) => Err(conflict(info, files, piece)),
        }
    })
}

/// Works out piece layers that the torrent lacks from the data of these files, which are there. A file that is not what the torrent says
/// leaves its layer unknown. Returns the pieces that are right by every hash that is known then; of a file without a layer, none.
///
/// # Errors
/// As [`hash_pieces`]. It is a conflict if all of a hybrid's file is right by v1, and its layer is not what the root says.
pub(super) fn find_layers(
    files: &Files,
    info: &Info,
    missing: &[usize],
    progress: &mut dyn FnMut(CheckProgress) -> ControlFlow<()>,
) -> Result<Vec<PieceIndex>, StorageError> {
    let layout = info.layout();
    let pieces: Vec<PieceIndex> = missing.iter().flat_map(|&file| pieces_of(info, file)).collect();
    let hashed = on_all_cores(files, info, &pieces, progress, |_, hashes| Ok(hashes))?;
    let mut hashed = pieces.iter().copied().zip(hashed);
    let mut right = Vec::new();
    for &file in missing {
        let found: Vec<(PieceIndex, Option<PieceHashes>)> =
            hashed.by_ref().take(layout.file_pieces(file).len()).collect();
        let layer = found.iter().map(|(_, hashes)| hashes.as_ref()?.v2).collect::<Option<Vec<Hash>>>();
        let is_layer = layer.is_some_and(|layer| info.set_layer(file, layer).is_ok());
        let is_right_by_v1 = |(piece, hashes): &(PieceIndex, Option<PieceHashes>)| {
            let expected = info.piece_hash(*piece);
            expected.is_some() && expected == hashes.as_ref().and_then(|hashes| hashes.v1.as_ref())
        };
        if !is_layer && found.iter().all(is_right_by_v1) {
            return Err(StorageError::Conflict { path: files.path(file, Place::Own) });
        }
        // Peers may have told it meanwhile.
        if info.layer(file).is_none() {
            tracing::debug!(file, "a file is not what the torrent says");
            continue;
        }
        for (piece, hashes) in found {
            match hashes.map(|hashes| info.check_piece(piece, &hashes)) {
                Some(PieceCheck::Good) => right.push(piece),
                Some(PieceCheck::Conflict) => return Err(conflict(info, files, piece)),
                Some(PieceCheck::Bad | PieceCheck::Unknown) | None => {}
            }
        }
    }
    Ok(right)
}

/// The pieces of a file.
pub(super) fn pieces_of(info: &Info, file: usize) -> impl Iterator<Item = PieceIndex> + '_ {
    info.layout().file_pieces(file).filter_map(|index| info.layout().piece(index))
}

/// Hashes every piece, and gives what `judge` makes of the hashes, in the same order. A piece whose file is short, gone or another one has none.
fn on_all_cores<T: Send>(
    files: &Files,
    info: &Info,
    pieces: &[PieceIndex],
    progress: &mut dyn FnMut(CheckProgress) -> ControlFlow<()>,
    judge: impl Fn(PieceIndex, Option<PieceHashes>) -> Result<T, StorageError> + Sync,
) -> Result<Vec<T>, StorageError> {
    let layout = info.layout();
    let total = pieces.iter().map(|&piece| u64::from(layout.piece_payload(piece))).sum();
    if progress(CheckProgress { done: 0, total }).is_break() {
        return Err(StorageError::CalledOff);
    }
    let mut judged: Vec<Option<T>> = (0..layout.piece_count()).map(|_| None).collect();
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let on_disk = OnDisk { files, info, over: &over };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let (answer, answers) = mpsc::channel();
    let on_bytes = |bytes| {
        done.fetch_add(bytes, Ordering::Relaxed);
    };
    let on_piece = |piece, hashes: Result<PieceHashes, Option<StorageError>>| {
        let judged = match hashes {
            Ok(hashes) => judge(piece, Some(hashes)),
            Err(None) => judge(piece, None),
            Err(Some(error)) => Err(error),
        };
        // Nobody listens any more once it is over.
        match answer.send((piece, judged)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    let version = info.version();
    let work = || pieces::hash_pieces(layout, pieces, &on_disk, version, threads, &on_bytes, &on_piece);
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("check".into()).spawn_scoped(scope, work);
        let root = || files.root().full(Path::new(""));
        let worker = worker.map_err(|error| failure("can't start a thread for", root())(error))?;
        let mut left = pieces.len();
        let outcome = loop {
            if left == 0 {
                break Ok(());
            }
            let was_finished = worker.is_finished();
            match answers.recv_timeout(ASK_INTERVAL) {
                Ok((piece, Ok(found))) => {
                    judged[piece.as_usize()] = Some(found);
                    left -= 1;
                }
                Ok((_, Err(error))) => break Err(error),
                // It panicked, and so will this at the scope's end.
                Err(_) if was_finished => break Ok(()),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if progress(CheckProgress { done: done.load(Ordering::Relaxed), total }).is_break() {
                break Err(StorageError::CalledOff);
            }
        };
        over.store(true, Ordering::Relaxed);
        drop(answers);
        outcome
    })?;
    Ok(pieces.iter().filter_map(|piece| judged[piece.as_usize()].take()).collect())
}

/// The torrent's files where they lie.
struct OnDisk<'a> {
    files: &'a Files,
    info: &'a Info,
    /// Nobody wants the answers any more.
    over: &'a AtomicBool,
}

impl Payload for OnDisk<'_> {
    /// `None`: the file is short, gone or another one; or it is over.
    type Fault = Option<StorageError>;

    fn is_padding(&self, file: usize) -> bool {
        self.info.files()[file].pad
    }

    fn reader(&self, open_files: usize) -> impl FnMut(FileSpan, &mut [u8]) -> Result<(), Self::Fault> {
        let mut recent = Recent::new(open_files);
        move |span, out| {
            if self.over.load(Ordering::Relaxed) {
                return Err(None);
            }
            self.files.read_ahead(span, out, &mut recent).map_err(|error| match error {
                StorageError::Mismatch { .. } => None,
                error => Some(error),
            })
        }
    }
}
