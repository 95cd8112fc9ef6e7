//! What the threads of one torrent's storage share, and how bytes of a piece are read and written through the files.

use std::collections::HashMap;
use std::io::IoSlice;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::{mpsc, watch};
use torrent_format::{Bitfield, Block, FileSpan, Info, PieceIndex};

use super::barrier::Request;
use super::beneath::Stamp;
use super::files::{Files, Place, failure, mismatch};
use super::journal::{Journal, Subject};
use super::ledger::Ledger;
use super::lock::Lock;
use super::pieces::Pieces;
use super::queue::Queue;
use super::room::Room;
use super::{StorageError, StorageEvent};
use crate::engine::buffer::{Buffer, BufferPool};

/// Locks are taken in the order of the fields, where more than one is held.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) info: Info,
    pub(super) files: Files,
    /// Only to be read: blocks are not taken.
    pub(super) seeding: bool,
    pub(super) pool: BufferPool,
    pub(super) queue: Queue,
    pub(super) room: Room,
    /// Held for reading while a piece is written, for writing while stamps are taken: a stamp must not miss a write.
    pub(super) writing: RwLock<()>,
    pub(super) pieces: Mutex<Pieces>,
    pub(super) records: Mutex<Records>,
    pub(super) ledger: Mutex<Ledger>,
    /// One flag a file: it is whole and bears its own name.
    pub(super) whole: Mutex<Vec<bool>>,
    /// Per file: a file of that name may be replaced when this one is finished.
    pub(super) replace: Vec<bool>,
    /// Every file lies on the target directory's file system.
    pub(super) one_file_system: bool,
    /// Files whose names were made at the opening and may not be durable yet.
    pub(super) new_names: Mutex<Vec<usize>>,
    /// Pieces of files that have changed since they were verified, and were found right nevertheless.
    pub(super) rechecked: Mutex<HashMap<PieceIndex, Vec<(usize, Stamp)>>>,
    /// Pieces that were checked by v1 alone, since the layer of their file was not known.
    pub(super) half_proven: Mutex<Bitfield>,
    /// Held while they are checked by v2.
    pub(super) proving: Mutex<()>,
    /// To the barrier thread.
    pub(super) requests: std::sync::mpsc::Sender<Request>,
    pub(super) events: mpsc::UnboundedSender<StorageEvent>,
    pub(super) failed: AtomicBool,
    /// Why a barrier failed: what came after it can't be told from what was lost, so that no other is tried.
    pub(super) broken: Mutex<Option<StorageError>>,
    pub(super) evicted: AtomicU64,
    pub(super) read_back: AtomicU64,
    // Dropped in this order: first the lock is free, then waiters hear that all is over.
    pub(super) _lock: Option<Lock>,
    pub(super) _running: watch::Sender<()>,
}

/// The journal, and which files it must hear of before they are written to.
#[derive(Debug)]
pub(super) struct Records {
    /// `None`: seeding, or it was removed.
    pub(super) journal: Option<Journal>,
    pub(super) subject: Subject,
    pub(super) selected: Vec<bool>,
    /// Pieces that only the user vouches for: no record may.
    pub(super) believed: Bitfield,
    /// One flag a file and one for the spill file: the journal knows that it is being written to.
    pub(super) touched: Vec<bool>,
    /// What else is removed with the journal.
    pub(super) spill: PathBuf,
}

impl Records {
    /// Writes to the journal, if there is one; its errors name it.
    pub(super) fn note(
        &mut self,
        what: impl FnOnce(&mut Journal) -> std::io::Result<()>,
    ) -> Result<(), StorageError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        what(journal).map_err(|error| failure("can't write", journal.path().to_path_buf())(error))
    }
}

impl Shared {
    /// Reports the first failure and lets go of everything that waits: the torrent can't go on.
    pub(super) fn fail(&self, error: StorageError) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            self.pieces.lock().unwrap().clear();
            let _ = self.events.send(StorageEvent::Failed(error));
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Reads part of a piece across file borders.
    pub(super) fn read(
        &self,
        piece: PieceIndex,
        within: Range<u32>,
        out: &mut [u8],
    ) -> Result<(), StorageError> {
        let mut rest = out;
        for span in self.spans(piece, within) {
            let (here, after) = rest.split_at_mut(span.length as usize);
            self.files.read(span, here)?;
            rest = after;
        }
        Ok(())
    }

    /// Writes a run of neighbouring blocks across file borders, in as few calls as there are files. Only what is `verified` can show that a
    /// whole file holds something else; other bytes of it are dropped.
    pub(super) fn write(
        &self,
        piece: PieceIndex,
        begin: u32,
        run: &[Arc<Buffer>],
        verified: bool,
    ) -> Result<(), StorageError> {
        let length: usize = run.iter().map(|block| block.len()).sum();
        let within = begin..begin + length as u32;
        self.touch(piece, within.clone())?;
        let mut blocks = Cursor { blocks: run, skip: 0 };
        for span in self.spans(piece, within) {
            let slices = blocks.take(span.length as usize);
            if self.files.place(span.file) == Place::Own {
                if verified {
                    self.compare(span, &slices)?;
                }
            } else {
                self.write_span(span, &slices)?;
            }
        }
        Ok(())
    }

    /// As soon as there is room.
    fn write_span(&self, span: FileSpan, slices: &[IoSlice<'_>]) -> Result<(), StorageError> {
        loop {
            match self.files.write(span, &mut slices.to_vec()) {
                Err(error @ StorageError::Full { .. }) => self.room.wait(error, &self.events)?,
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        self.room.found(&self.events);
        Ok(())
    }

    /// A whole file is not written to. That a piece of it comes again means that a neighbour was lost; what came must be what is there.
    fn compare(&self, span: FileSpan, slices: &[IoSlice<'_>]) -> Result<(), StorageError> {
        let mut there = vec![0; span.length as usize];
        self.files.read(span, &mut there)?;
        if slices.iter().flat_map(|slice| slice.iter()).eq(there.iter()) {
            return Ok(());
        }
        Err(self.other_data(span.file))
    }

    /// The first whole file that holds a part of the piece.
    pub(super) fn whole_file(&self, piece: PieceIndex) -> Option<usize> {
        let size = self.info.layout().piece_size(piece);
        self.spans(piece, 0..size).map(|span| span.file).find(|&file| self.files.place(file) == Place::Own)
    }

    /// The blocks that hold a byte of a whole file. They can't be read back to be hashed, since they are not written: a peer may have sent
    /// something else.
    pub(super) fn blocks_in_whole_files(&self, piece: PieceIndex) -> Vec<u32> {
        let in_whole_file = |block: &Block| {
            let mut spans = self.spans(piece, block.begin..block.begin + block.length);
            spans.any(|span| self.files.place(span.file) == Place::Own)
        };
        let blocks = self.info.layout().blocks(piece).filter(in_whole_file);
        blocks.map(Block::number).collect()
    }

    pub(super) fn other_data(&self, file: usize) -> StorageError {
        mismatch("holds other data than the torrent", self.files.path(file, Place::Own))
    }

    /// What makes a piece right by one version makes it wrong by the other.
    pub(super) fn conflict(&self, piece: PieceIndex) -> StorageError {
        conflict(&self.info, &self.files, piece)
    }

    /// Says in the journal which files are about to be written to, if it does not know.
    fn touch(&self, piece: PieceIndex, within: Range<u32>) -> Result<(), StorageError> {
        let mut records = self.records.lock().unwrap();
        let written_to = |file: &usize| !matches!(self.files.place(*file), Place::Own | Place::Pad);
        let files = self.spans(piece, within).map(|span| span.file).filter(written_to);
        let news: Vec<usize> =
            files.map(|file| self.files.holder(file)).filter(|&holder| !records.touched[holder]).collect();
        if !news.is_empty() {
            records.note(|journal| journal.touched(&news))?;
        }
        for holder in news {
            records.touched[holder] = true;
        }
        Ok(())
    }

    pub(super) fn spans(&self, piece: PieceIndex, within: Range<u32>) -> impl Iterator<Item = FileSpan> + '_ {
        let start = self.info.layout().piece_range(piece).start;
        self.info.layout().spans(start + u64::from(within.start)..start + u64::from(within.end))
    }
}

/// See [`StorageError::Conflict`].
pub(super) fn conflict(info: &Info, files: &Files, piece: PieceIndex) -> StorageError {
    let file = info.layout().file_of(piece).unwrap_or_default();
    StorageError::Conflict { path: files.path(file, Place::Own) }
}

/// Hands out neighbouring blocks as slices, a given number of bytes at a time.
struct Cursor<'a> {
    blocks: &'a [Arc<Buffer>],
    /// Bytes of the first block that were handed out.
    skip: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, mut length: usize) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::new();
        while length > 0
            && let [first, after @ ..] = self.blocks
        {
            let rest = &first[self.skip..];
            let here = rest.len().min(length);
            if here > 0 {
                slices.push(IoSlice::new(&rest[..here]));
            }
            length -= here;
            self.skip += here;
            if self.skip == first.len() {
                (self.blocks, self.skip) = (after, 0);
            }
        }
        slices
    }
}
