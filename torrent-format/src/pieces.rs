//! A payload read once and hashed piece by piece, on all cores: SHA-1 and SHA-256 from the same buffer, while it is in the CPU's cache.
//! Torrents are made and checked so.
//!
//! Each thread has up to sixteen pieces in flight, as many as the widest lanes of [`hash`](crate::hash) take, and a window for each
//! that is filled, hashed and filled again. Whoever is through with a piece takes the next, so that the threads end together and the
//! disk is read in order, more or less. Padding is never in a window: [`zeros_each`] hashes it for many pieces at a time.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::hash::{Sha1State, finish_each, sha256_each, update_each, zeros_each};
use crate::metainfo::{PieceHashes, Version};
use crate::{BLOCK_LENGTH, FileSpan, Layout, PieceIndex};

mod cold;
mod leaves;
mod source;
#[cfg(test)]
mod tests;

pub use cold::read as read_ahead;
use leaves::Leaves;
pub(crate) use source::{Fault, Source};

/// Pieces in flight per thread.
const LANES: usize = 16;

/// A window at its longest, in bytes: two leaves. All windows of a thread hold 32 then, as many as the widest lanes take, and stay in
/// the second-level cache of a CPU of today while they are hashed.
const WINDOW: usize = 2 * BLOCK_LENGTH as usize;

/// What lies between two windows, in bytes: without it, all lanes would ask for lines of the same set of the first-level cache.
const GAP: usize = 64;

/// The most threads: their windows take 48 MiB then, and no memory is fast enough for more of them.
const MAX_THREADS: usize = 96;

/// The most files that are open at a time, of all threads: well below what systems allow a process.
const OPEN_FILES: usize = 256;

/// The most pieces that wait for others to end with, so that their padding goes through the lanes together.
const ENDING: usize = 4 * LANES;

/// Where the bytes come from.
pub trait Payload: Sync {
    /// Why some can't be had.
    type Fault: Send;

    /// Whether the file is padding (BEP 47): zeros, which are not read.
    fn is_padding(&self, file: usize) -> bool;

    /// One for each thread, which should keep no more than `open_files` open: it fills its second argument with the first bytes of a part of a
    /// file, or of what is left of one.
    fn reader(&self, open_files: usize) -> impl FnMut(FileSpan, &mut [u8]) -> Result<(), Self::Fault>;
}

/// Hashes these pieces, on `threads` threads (0: one for each core), in no particular order. `on_piece` may end it early.
///
/// `which` hashes are made: those of v2 only if the layout is aligned. `on_bytes` is told how many bytes more have been looked at: together
/// those of all pieces ([`Layout::piece_payload`]), unless it ends early.
pub fn hash_pieces<P: Payload + ?Sized>(
    layout: &Layout,
    pieces: &[PieceIndex],
    payload: &P,
    which: Version,
    threads: usize,
    on_bytes: &(dyn Fn(u64) + Sync),
    on_piece: &(dyn Fn(PieceIndex, Result<PieceHashes, P::Fault>) -> ControlFlow<()> + Sync),
) {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores() } else { threads };
    let threads = threads.min(MAX_THREADS).min(pieces.len()).max(1);
    let lanes = pieces.len().div_ceil(threads).clamp(1, LANES);
    let job = Job {
        layout,
        pieces,
        payload,
        has_v1: which.has_v1(),
        has_v2: which.has_v2() && layout.is_aligned(),
        lanes,
        window: WINDOW * (LANES / lanes),
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        on_bytes,
        on_piece,
    };
    let work = || Worker::new(&job, payload.reader(OPEN_FILES / threads)).work();
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // One that can't be started is missed by nobody: the others do its work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

/// What all threads know.
struct Job<'a, P: Payload + ?Sized> {
    layout: &'a Layout,
    pieces: &'a [PieceIndex],
    payload: &'a P,
    has_v1: bool,
    has_v2: bool,
    /// Pieces in flight per thread: fewer than [`LANES`] only if there are not enough.
    lanes: usize,
    /// Length of each lane's window: longer than [`WINDOW`] if there are few. A multiple of a leaf, so that no leaf is cut in two.
    window: usize,
    /// The next of the pieces that nobody has taken.
    next: AtomicUsize,
    stop: AtomicBool,
    on_bytes: &'a (dyn Fn(u64) + Sync),
    on_piece: &'a (dyn Fn(PieceIndex, Result<PieceHashes, P::Fault>) -> ControlFlow<()> + Sync),
}

impl<P: Payload + ?Sized> Job<'_, P> {
    fn take(&self) -> Option<PieceIndex> {
        self.pieces.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn tell(&self, piece: PieceIndex, hashes: Result<PieceHashes, P::Fault>) {
        if !self.is_stopped() && (self.on_piece)(piece, hashes).is_break() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// One thread.
struct Worker<'a, P: Payload + ?Sized, R> {
    job: &'a Job<'a, P>,
    read: R,
    /// The window of lane `i` begins at `i * (window + GAP)`.
    windows: Vec<u8>,
    lanes: Vec<Lane>,
    /// SHA-1 of each lane's piece so far.
    states: Vec<Sha1State>,
    ending: Ending,
}

/// A piece in flight.
struct Lane {
    piece: PieceIndex,
    /// Where it goes on in piece space, and where it ends.
    position: u64,
    end: u64,
    /// Bytes of it that [`Job::on_bytes`] has yet to be told of.
    untold: u64,
    leaves: Leaves,
    /// How much of the window is filled.
    filled: usize,
    /// Zeros that follow what is in the window.
    zeros: u64,
}

/// Pieces of which nothing is left to read.
#[derive(Default)]
struct Ending {
    pieces: Vec<(PieceIndex, Option<[u8; 32]>)>,
    states: Vec<Sha1State>,
    zeros: Vec<u64>,
}

impl<'a, P, R> Worker<'a, P, R>
where
    P: Payload + ?Sized,
    R: FnMut(FileSpan, &mut [u8]) -> Result<(), P::Fault>,
{
    fn new(job: &'a Job<'a, P>, read: R) -> Self {
        let windows = vec![0; (job.window + GAP) * job.lanes];
        Self { job, read, windows, lanes: Vec::new(), states: Vec::new(), ending: Ending::default() }
    }

    fn work(mut self) {
        while !self.job.is_stopped() {
            while self.lanes.len() < self.job.lanes
                && let Some(piece) = self.job.take()
            {
                self.lanes.push(Lane::new(self.job.layout, piece));
                self.states.push(Sha1State::new());
            }
            if self.lanes.is_empty() {
                self.end_pieces();
                return;
            }
            self.fill_windows();
            self.hash_windows();
            self.retire_lanes();
        }
    }

    /// Fills the window of every lane. Pieces that can't be read leave their lanes.
    fn fill_windows(&mut self) {
        let mut lane = 0;
        let mut told = 0;
        while lane < self.lanes.len() {
            let window = &mut self.windows[lane * (self.job.window + GAP)..][..self.job.window];
            let filled = self.lanes[lane].fill(self.job, &mut self.read, window);
            told += self.lanes[lane].tell(filled.is_err());
            match filled {
                Ok(()) => lane += 1,
                Err(fault) => {
                    let piece = self.remove(lane).0.piece;
                    self.job.tell(piece, Err(fault));
                }
            }
        }
        if told > 0 {
            (self.job.on_bytes)(told);
        }
    }

    fn hash_windows(&mut self) {
        let windows = self.windows.chunks(self.job.window + GAP).zip(&self.lanes);
        let windows: Vec<&[u8]> = windows.map(|(window, lane)| &window[..lane.filled]).collect();
        if self.job.has_v1 {
            update_each(&mut self.states, &windows);
            // Zeros at the end of a piece are left to its end; these are followed by another file.
            let zeros = |lane: &Lane| if lane.is_read() { 0 } else { lane.zeros };
            let zeros: Vec<_> = self.lanes.iter().map(zeros).collect();
            zeros_each(&mut self.states, &zeros);
        }
        if self.job.has_v2 {
            let parts = windows.iter().flat_map(|window| window.chunks(BLOCK_LENGTH as usize));
            let mut leaves = Vec::new();
            sha256_each(&parts.collect::<Vec<_>>(), &mut leaves);
            let mut leaves = &leaves[..];
            for lane in &mut self.lanes {
                let (own, others) = leaves.split_at(lane.filled.div_ceil(BLOCK_LENGTH as usize));
                lane.leaves.extend(own);
                leaves = others;
            }
        }
    }

    /// Frees the lanes whose pieces have been read to the end.
    fn retire_lanes(&mut self) {
        let mut lane = 0;
        while lane < self.lanes.len() {
            if !self.lanes[lane].is_read() {
                lane += 1;
                continue;
            }
            let (done, state) = self.remove(lane);
            let root = if self.job.has_v2 { done.leaves.root(self.job.layout, done.piece) } else { None };
            self.ending.pieces.push((done.piece, root));
            self.ending.states.push(state);
            self.ending.zeros.push(done.zeros);
        }
        let padded = self.job.has_v1 && self.ending.zeros.iter().any(|&zeros| zeros > 0);
        if !padded || self.ending.pieces.len() >= ENDING {
            self.end_pieces();
        }
    }

    fn end_pieces(&mut self) {
        let mut ending = std::mem::take(&mut self.ending);
        let mut digests = Vec::new();
        if self.job.has_v1 {
            zeros_each(&mut ending.states, &ending.zeros);
            finish_each(&ending.states, &mut digests);
        }
        for (i, (piece, v2)) in ending.pieces.into_iter().enumerate() {
            self.job.tell(piece, Ok(PieceHashes { v1: digests.get(i).copied(), v2 }));
        }
    }

    fn remove(&mut self, lane: usize) -> (Lane, Sha1State) {
        // The lanes behind it move to other windows. Theirs have not been filled yet, or have been hashed.
        (self.lanes.remove(lane), self.states.remove(lane))
    }
}

impl Lane {
    fn new(layout: &Layout, piece: PieceIndex) -> Self {
        let range = layout.piece_range(piece);
        Self {
            piece,
            position: range.start,
            end: range.end,
            untold: u64::from(layout.piece_payload(piece)),
            leaves: Leaves::default(),
            filled: 0,
            zeros: 0,
        }
    }

    fn is_read(&self) -> bool {
        self.position >= self.end
    }

    /// Reads on, until the window is full, zeros follow, or the piece ends.
    fn fill<P: Payload + ?Sized>(
        &mut self,
        job: &Job<'_, P>,
        read: &mut impl FnMut(FileSpan, &mut [u8]) -> Result<(), P::Fault>,
        window: &mut [u8],
    ) -> Result<(), P::Fault> {
        (self.filled, self.zeros) = (0, 0);
        for span in job.layout.spans(self.position..self.end) {
            if job.payload.is_padding(span.file) {
                self.zeros += span.length;
                self.position += span.length;
                continue;
            }
            if self.zeros > 0 || self.filled == window.len() {
                break;
            }
            let window = &mut window[self.filled..];
            let length = window.len().min(usize::try_from(span.length).unwrap_or(usize::MAX));
            read(span, &mut window[..length])?;
            self.filled += length;
            self.position += length as u64;
            if (length as u64) < span.length {
                break;
            }
        }
        Ok(())
    }

    /// How many bytes have been looked at since this was last asked; all that are left, if it is the last time.
    fn tell(&mut self, last: bool) -> u64 {
        let all = self.untold;
        let told = if last { all } else { all.min(self.filled as u64 + self.zeros) };
        self.untold -= told;
        told
    }
}
