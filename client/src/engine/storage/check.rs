//! Hashing what is on disk, on all cores.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use sha1::{Digest, Sha1};
use torrent_format::{FileSpan, Info, PieceIndex};

use super::files::Files;
use super::{CheckProgress, StorageError};

/// Bytes read at once: large enough for a disk to stream, small enough to be hashed out of the cache.
const READ_SIZE: usize = 256 * 1024;

/// Threads, at most: more would only make a disk seek.
const MAX_THREADS: usize = 16;

/// How long the caller is not asked whether to go on, at most: a single piece may take a slow disk seconds.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Hashes these pieces; says of each, in the same order, whether it is right. A piece whose file is short, gone or another one
/// is wrong.
///
/// # Errors
/// If a file can't be read; [`StorageError::CalledOff`] if `progress` says so.
pub(super) fn hash_pieces(
    files: &Files,
    info: &Info,
    pieces: &[PieceIndex],
    progress: &mut dyn FnMut(CheckProgress) -> ControlFlow<()>,
) -> Result<Vec<bool>, StorageError> {
    let mut report = CheckProgress {
        done: 0,
        total: pieces.iter().map(|&piece| u64::from(info.layout().piece_size(piece))).sum(),
    };
    if progress(report).is_break() {
        return Err(StorageError::CalledOff);
    }
    let mut good = vec![false; pieces.len()];
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let (answer, answers) = mpsc::channel();
        for _ in 0..cores.min(MAX_THREADS).min(pieces.len()) {
            let (answer, next, over) = (answer.clone(), &next, &over);
            scope.spawn(move || {
                let mut buffer = vec![0; READ_SIZE];
                while !over.load(Ordering::Relaxed)
                    && let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(&piece) = pieces.get(number)
                {
                    let outcome = is_right(files, info, piece, &mut buffer, over);
                    let _ = answer.send((number, outcome));
                }
            });
        }
        drop(answer);
        let outcome = loop {
            match answers.recv_timeout(ASK_INTERVAL) {
                Ok((number, Ok(right))) => {
                    good[number] = right;
                    report.done += u64::from(info.layout().piece_size(pieces[number]));
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
        outcome.map(|()| good)
    })
}

/// Gives up once it is `over`: nobody wants the answer any more.
fn is_right(
    files: &Files,
    info: &Info,
    piece: PieceIndex,
    buffer: &mut [u8],
    over: &AtomicBool,
) -> Result<bool, StorageError> {
    let layout = info.layout();
    let mut hasher = Sha1::new();
    let hashed = layout.spans(layout.piece_range(piece)).try_for_each(|span| {
        chunks(span, buffer.len() as u64).try_for_each(|chunk| {
            if over.load(Ordering::Relaxed) {
                return ControlFlow::Break(Ok(false));
            }
            let bytes = &mut buffer[..chunk.length as usize];
            match files.read(chunk, bytes) {
                Ok(()) => {
                    hasher.update(bytes);
                    ControlFlow::Continue(())
                }
                Err(StorageError::Mismatch { .. }) => ControlFlow::Break(Ok(false)),
                Err(error) => ControlFlow::Break(Err(error)),
            }
        })
    });
    match hashed {
        ControlFlow::Continue(()) => {
            let digest: [u8; 20] = hasher.finalize().into();
            Ok(Some(&digest) == info.piece_hash(piece))
        }
        ControlFlow::Break(outcome) => outcome,
    }
}

fn chunks(span: FileSpan, size: u64) -> impl Iterator<Item = FileSpan> {
    (0..span.length.div_ceil(size)).map(move |number| FileSpan {
        file: span.file,
        offset: span.offset + number * size,
        length: size.min(span.length - number * size),
    })
}
