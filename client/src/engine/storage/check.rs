//! Hashing what is on disk, on all cores.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use torrent_format::merkle::Hash;
use torrent_format::metainfo::{PieceCheck, PieceHashes};
use torrent_format::{Info, PieceIndex};

use super::files::{Files, Place};
use super::hashing::{hash_piece, hash_piece_for_layer};
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
    on_all_cores(info, pieces, progress, |piece, over| is_right(files, info, piece, over))
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
    let hash = |piece, over: &AtomicBool| hash_or_give_up(files, info, piece, over, true);
    let mut hashed = pieces.iter().copied().zip(on_all_cores(info, &pieces, progress, hash)?);
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

/// Does this `work` for every piece; the answers are in the same order. The work's second argument says that nobody wants its answer any
/// more.
fn on_all_cores<T: Send>(
    info: &Info,
    pieces: &[PieceIndex],
    progress: &mut dyn FnMut(CheckProgress) -> ControlFlow<()>,
    work: impl Fn(PieceIndex, &AtomicBool) -> Result<T, StorageError> + Sync,
) -> Result<Vec<T>, StorageError> {
    let mut report = CheckProgress {
        done: 0,
        total: pieces.iter().map(|&piece| u64::from(info.layout().piece_payload(piece))).sum(),
    };
    if progress(report).is_break() {
        return Err(StorageError::CalledOff);
    }
    let mut answers_in_order: Vec<Option<T>> = pieces.iter().map(|_| None).collect();
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let (answer, answers) = mpsc::channel();
        for _ in 0..cores.min(MAX_THREADS).min(pieces.len()) {
            let (answer, next, over, work) = (answer.clone(), &next, &over, &work);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed)
                    && let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(&piece) = pieces.get(number)
                {
                    let _ = answer.send((number, work(piece, over)));
                }
            });
        }
        drop(answer);
        let outcome = loop {
            match answers.recv_timeout(ASK_INTERVAL) {
                Ok((number, Ok(done))) => {
                    answers_in_order[number] = Some(done);
                    report.done += u64::from(info.layout().piece_payload(pieces[number]));
                }
                Ok((_, Err(error))) => break Err(error),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            if progress(report).is_break() {
                break Err(StorageError::CalledOff);
            }
        };
        over.store(true, Ordering::Relaxed);
        outcome.map(|()| answers_in_order.into_iter().flatten().collect())
    })
}

fn read_all(
    files: &Files,
    info: &Info,
    piece: PieceIndex,
    begin: u32,
    out: &mut [u8],
) -> Result<(), StorageError> {
    let start = info.layout().piece_range(piece).start + u64::from(begin);
    let mut rest = out;
    for span in info.layout().spans(start..start + rest.len() as u64) {
        let (here, after) = rest.split_at_mut(span.length as usize);
        files.read(span, here)?;
        rest = after;
    }
    Ok(())
}

fn is_right(files: &Files, info: &Info, piece: PieceIndex, over: &AtomicBool) -> Result<bool, StorageError> {
    let Some(hashes) = hash_or_give_up(files, info, piece, over, false)? else { return Ok(false) };
    match info.check_piece(piece, &hashes) {
        PieceCheck::Good => Ok(true),
        PieceCheck::Bad | PieceCheck::Unknown => Ok(false),
        PieceCheck::Conflict => Err(conflict(info, files, piece)),
    }
}

/// `None`: its file is short, gone or another one; or it is `over`, and nobody wants the answer any more.
fn hash_or_give_up(
    files: &Files,
    info: &Info,
    piece: PieceIndex,
    over: &AtomicBool,
    for_layer: bool,
) -> Result<Option<PieceHashes>, StorageError> {
    let read = |begin, out: &mut [u8]| {
        if over.load(Ordering::Relaxed) {
            return Err(None);
        }
        read_all(files, info, piece, begin, out).map_err(|error| match error {
            StorageError::Mismatch { .. } => None,
            error => Some(error),
        })
    };
    let hashed =
        if for_layer { hash_piece_for_layer(info, piece, read) } else { hash_piece(info, piece, read) };
    match hashed {
        Ok(hashes) => Ok(Some(hashes)),
        Err(None) => Ok(None),
        Err(Some(error)) => Err(error),
    }
}
