//! The threads that hash and write. A piece is hashed as its blocks come and written once its hash is right; only when memory
//! runs short do blocks go to their files before that.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha1::{Digest, Sha1};
use torrent_format::hash::{Kernel, Sha256State, kernel};
use torrent_format::metainfo::{PieceCheck, PieceHashes};
use torrent_format::{BLOCK_LENGTH, Info, PieceIndex};

use super::barrier::{Request, SYNC_BYTES};
use super::hashing::{PieceHasher, hash_piece};
use super::pieces::{Content, Evict, Finished, Step};
use super::queue::Job;
use super::shared::Shared;
use super::{StorageError, StorageEvent};
use crate::engine::buffer::{Buffer, BufferPool};
use crate::torrent::{Verification, leaf_digest};

/// The share of the pool that is kept free, as a divisor: below it, blocks are pushed out until twice as much is free.
const KEEP_FREE: usize = 4;

/// The run that is worth a write of its own, in bytes: shorter ones cost a spinning disk more in seeks than in writing.
const GOOD_RUN: usize = 512 * 1024;

/// Fewer pieces than these are not worth waiting for where vectors hash them: the CPU's own instructions hash them as fast one by one.
const MIN_COMPANY: usize = 6;

/// Blocks of a piece that go through the hasher together, so that their leaves are hashed side by side; few enough to stay in the CPU's cache, and
/// to be read back into memory that the pool does not count.
const HASH_AT_ONCE: usize = 16;

/// Works until the storage is closed.
pub(super) fn run(shared: &Shared) {
    while let Some(job) = shared.queue.next() {
        let (done, look_again) = match job {
            // What it held while relief was given may be the very thing that could be pushed out now.
            Job::Advance(pieces) => (advance(shared, pieces), true),
            Job::Relieve => (relieve(shared), shared.queue.relieved()),
        };
        if let Err(error) = done {
            shared.fail(error);
        }
        if look_again {
            relieve_if_short(shared);
        }
    }
}

/// How many pieces of a torrent are best hashed together: as many as the CPU takes at a time, as long as they fill no more than half of
/// the pool while they wait for each other. v2 alone hashes the blocks of one piece together.
pub(super) fn company(info: &Info, pool: &BufferPool) -> usize {
    let (least, most) = match kernel() {
        Kernel::Avx512 => (MIN_COMPANY, 16),
        Kernel::Avx2 => (MIN_COMPANY, 8),
        Kernel::ShaNi => (2, 2),
        Kernel::Portable => (1, 1),
    };
    let room = pool.capacity() / 2 / info.layout().piece_length() as usize;
    if info.version().has_v1() && room >= least { most.min(room) } else { 1 }
}

/// Asks for relief if the pool runs low and there is something to push out.
pub(super) fn relieve_if_short(shared: &Shared) {
    if shared.pool.available() < shared.pool.capacity() / KEEP_FREE {
        shared.queue.hurry();
        if shortfall(shared) > 0 {
            shared.queue.relieve();
        }
    }
}

/// Bytes to push out.
fn shortfall(shared: &Shared) -> usize {
    let pieces = shared.pieces.lock().unwrap();
    if !pieces.has_waiting() {
        return 0;
    }
    (2 * shared.pool.capacity() / KEEP_FREE).saturating_sub(shared.pool.available() + pieces.leaving())
}

fn advance(shared: &Shared, mut pieces: Vec<PieceIndex>) -> Result<(), StorageError> {
    while !pieces.is_empty() {
        let steps: Vec<Step> = {
            let mut table = shared.pieces.lock().unwrap();
            pieces.iter().map(|&piece| table.step(piece)).collect()
        };
        let mut unhashed = Vec::new();
        for (piece, step) in pieces.drain(..).zip(steps) {
            match step {
                Step::Hash(hasher, blocks) => unhashed.push((piece, hasher, blocks)),
                Step::Finish(finished) => finish(shared, piece, finished)?,
                Step::Idle => {}
            }
        }
        pieces.extend(unhashed.iter().map(|(piece, ..)| *piece));
        hash(shared, unhashed)?;
    }
    Ok(())
}

/// Blocks of a piece, and what hashes them.
type Unhashed = (PieceIndex, PieceHasher, Vec<(u32, Content)>);

fn hash(shared: &Shared, unhashed: Vec<Unhashed>) -> Result<(), StorageError> {
    let most = unhashed.iter().map(|(.., blocks)| blocks.len()).max().unwrap_or(0);
    let (mut hashers, mut rest) = (Vec::with_capacity(unhashed.len()), Vec::with_capacity(unhashed.len()));
    for (piece, hasher, blocks) in unhashed {
        hashers.push(hasher);
        rest.push((piece, blocks));
    }
    for start in (0..most).step_by(HASH_AT_ONCE) {
        let mut bytes = Vec::with_capacity(rest.len());
        for (piece, blocks) in &rest {
            bytes.push(bytes_of_each(shared, *piece, blocks.iter().skip(start).take(HASH_AT_ONCE))?);
        }
        PieceHasher::update_each(hashers.iter_mut().zip(bytes.iter().map(Vec::as_slice)).collect());
    }
    let mut table = shared.pieces.lock().unwrap();
    for ((piece, blocks), hasher) in rest.into_iter().zip(hashers) {
        table.hashed(piece, hasher, &blocks);
    }
    Ok(())
}

fn finish(shared: &Shared, piece: PieceIndex, finished: Finished) -> Result<(), StorageError> {
    let hashes = finished.hasher.hashes(&shared.info, piece);
    match shared.info.check_piece(piece, &hashes) {
        PieceCheck::Good => keep(shared, piece, finished, &hashes),
        PieceCheck::Bad => refuse(shared, piece, finished, &hashes),
        PieceCheck::Conflict => Err(shared.conflict(piece)),
        // Nothing to hold against whoever sent it.
        PieceCheck::Unknown => {
            drop(finished);
            shared.pieces.lock().unwrap().left(piece);
            let _ = shared.events.send(StorageEvent::Verified(piece, Verification::Lost));
            Ok(())
        }
    }
}

/// A piece that is right.
fn keep(
    shared: &Shared,
    piece: PieceIndex,
    finished: Finished,
    hashes: &PieceHashes,
) -> Result<(), StorageError> {
    let digests = finished.digests.then(|| block_digests(shared, piece, &finished)).transpose()?;
    let _writing = shared.writing.read().unwrap();
    let evicted = finished.blocks.iter().any(|block| matches!(block, Content::Written));
    for (first, run) in held_runs(finished.blocks) {
        shared.write(piece, first * BLOCK_LENGTH, &run, true)?;
    }
    // What was evicted of a whole file was dropped without a look at it.
    if let Some(file) = shared.whole_file(piece).filter(|_| evicted) {
        let read = |begin, out: &mut [u8]| shared.read(piece, begin..begin + out.len() as u32, out);
        if hash_piece(&shared.info, piece, read)? != *hashes {
            return Err(shared.other_data(file));
        }
    }
    shared.records.lock().unwrap().note(|journal| journal.written(piece))?;
    if hashes.v2.is_none() && shared.info.file_piece(piece).is_some() {
        shared.half_proven.lock().unwrap().set(piece);
    }
    // Told under the lock: a barrier that makes the piece durable, and the news of it, come after this.
    let mut ledger = shared.ledger.lock().unwrap();
    let waiting = ledger.verified(shared.info.layout(), piece);
    if waiting >= SYNC_BYTES && waiting - u64::from(shared.info.layout().piece_payload(piece)) < SYNC_BYTES {
        let _ = shared.requests.send(Request::Urgent);
    }
    let _ = shared.events.send(StorageEvent::Verified(piece, Verification::Good(digests)));
    drop(ledger);
    shared.pieces.lock().unwrap().left(piece);
    Ok(())
}

/// A piece that is wrong: its blocks are kept until it is known, or guessed, which of them are.
fn refuse(
    shared: &Shared,
    piece: PieceIndex,
    mut finished: Finished,
    hashes: &PieceHashes,
) -> Result<(), StorageError> {
    // Blocks of a whole file can't be kept in it.
    if shared.whole_file(piece).is_none() {
        let verdict = if hashes.v2.is_some() && shared.info.piece_root(piece).is_some() {
            Verification::Wrong(finished.hasher.leaves())
        } else {
            Verification::Doubtful(block_digests(shared, piece, &finished)?)
        };
        let Some(given_back) = shared.pieces.lock().unwrap().reject(piece, finished) else {
            let _ = shared.events.send(StorageEvent::Verified(piece, verdict));
            return Ok(());
        };
        finished = given_back;
    }
    let digests = block_digests(shared, piece, &finished)?;
    drop(finished);
    // Before anyone hears of it: its blocks will come anew.
    shared.pieces.lock().unwrap().left(piece);
    let _ = shared.events.send(StorageEvent::Verified(piece, Verification::Bad(digests)));
    Ok(())
}

/// What the core tells blocks apart by.
fn block_digests(shared: &Shared, piece: PieceIndex, finished: &Finished) -> Result<Vec<u64>, StorageError> {
    let known = finished.hasher.leaves();
    if !known.is_empty() {
        return Ok(known.iter().map(leaf_digest).collect());
    }
    let payload = shared.info.layout().piece_payload(piece);
    let digest = |(number, content): (u32, &Content)| {
        let bytes = bytes_of(shared, piece, number, content)?;
        if shared.info.version().has_v2() {
            let own = bytes.len().min((payload - number * BLOCK_LENGTH) as usize);
            return Ok(leaf_digest(&Sha256State::new().with(&bytes[..own]).finish()));
        }
        Ok(block_digest(&bytes))
    };
    (0..).zip(&finished.blocks).map(digest).collect()
}

/// The first eight bytes of a block's SHA-1: enough that nobody makes two blocks that look alike.
pub(super) fn block_digest(bytes: &[u8]) -> u64 {
    let digest: [u8; 20] = Sha1::digest(bytes).into();
    u64::from_be_bytes(*digest.first_chunk().expect("20 is more than 8"))
}

/// A block's number and its bytes.
type Numbered<'a> = (u32, Cow<'a, [u8]>);

fn bytes_of_each<'a>(
    shared: &Shared,
    piece: PieceIndex,
    blocks: impl Iterator<Item = &'a (u32, Content)>,
) -> Result<Vec<Numbered<'a>>, StorageError> {
    blocks.map(|(number, content)| Ok((*number, bytes_of(shared, piece, *number, content)?))).collect()
}

fn bytes_of<'a>(
    shared: &Shared,
    piece: PieceIndex,
    number: u32,
    content: &'a Content,
) -> Result<Cow<'a, [u8]>, StorageError> {
    match content {
        Content::Held(buffer) => Ok(Cow::Borrowed(buffer)),
        Content::Written => {
            shared.read_back.fetch_add(1, Ordering::Relaxed);
            let block = shared.info.layout().block(piece, number);
            let mut bytes = vec![0; block.length as usize];
            shared.read(piece, block.begin..block.begin + block.length, &mut bytes)?;
            Ok(Cow::Owned(bytes))
        }
    }
}

/// Neighbouring blocks that are in memory, with the number of each run's first.
fn held_runs(blocks: Vec<Content>) -> Vec<(u32, Vec<Arc<Buffer>>)> {
    let mut runs: Vec<(u32, Vec<Arc<Buffer>>)> = Vec::new();
    for (number, content) in (0_u32..).zip(blocks) {
        let Content::Held(buffer) = content else { continue };
        match runs.last_mut() {
            Some((first, run)) if *first + run.len() as u32 == number => run.push(buffer),
            _ => runs.push((number, vec![buffer])),
        }
    }
    runs
}

/// Pushes blocks of unfinished pieces out to their files until enough memory is free: long hashed runs first, then any hashed
/// ones, then those that will have to be read back; the oldest pieces first.
fn relieve(shared: &Shared) -> Result<(), StorageError> {
    let mut wanted = shortfall(shared);
    for which in [Evict::Hashed(GOOD_RUN), Evict::Hashed(0), Evict::Any] {
        let candidates = shared.pieces.lock().unwrap().waiting();
        for piece in candidates {
            if wanted == 0 || shared.has_failed() {
                return Ok(());
            }
            if shared.pieces.lock().unwrap().claim_idle(piece) {
                let freed = push_out(shared, piece, which, wanted);
                if shared.pieces.lock().unwrap().release(piece) {
                    shared.queue.advance(piece);
                }
                wanted = wanted.saturating_sub(freed?);
            }
        }
    }
    Ok(())
}

/// Pushes out blocks of a claimed piece; returns the bytes.
fn push_out(shared: &Shared, piece: PieceIndex, which: Evict, wanted: usize) -> Result<usize, StorageError> {
    loop {
        let step = shared.pieces.lock().unwrap().hash_step(piece);
        let Some(Step::Hash(hasher, blocks)) = step else { break };
        hash(shared, vec![(piece, hasher, blocks)])?;
    }
    let _writing = shared.writing.read().unwrap();
    let pinned = shared.blocks_in_whole_files(piece);
    let mut freed = 0;
    while freed < wanted {
        let run = shared.pieces.lock().unwrap().evictable(piece, which, &pinned);
        let Some((first, run)) = run else { break };
        shared.write(piece, first * BLOCK_LENGTH, &run, false)?;
        freed += run.iter().map(|block| block.len()).sum::<usize>();
        shared.evicted.fetch_add(run.len() as u64, Ordering::Relaxed);
        shared.pieces.lock().unwrap().evicted(piece, first, &run);
    }
    Ok(freed)
}
