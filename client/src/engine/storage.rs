//! One torrent's data on disk: opened, checked, written, hashed, synced, recorded, renamed. Threads of its own; nothing here blocks a
//! network thread.

mod barrier;
mod beneath;
mod check;
mod decide;
mod direct;
mod files;
mod hashing;
mod journal;
mod ledger;
mod lock;
mod open;
mod pieces;
mod plan;
mod prove;
mod prune;
mod queue;
mod room;
mod serve;
mod shared;
mod survey;
#[cfg(test)]
mod tests;
mod worker;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot, watch};
use torrent_format::merkle::Hash;
use torrent_format::{Bitfield, Block, Info, PieceIndex};

use self::barrier::Request;
pub use self::direct::{Cork, Direct, SendError};
use self::files::Place;
use self::shared::Shared;
use super::buffer::{Buffer, BufferPool};
use crate::torrent::Verification;
use crate::wire::BlockRequest;

/// How to open a torrent's data.
#[derive(Clone, Debug)]
pub struct OpenStorage {
    /// The torrent.
    pub info: Info,
    /// The directory that holds (or will hold) the torrent's named file or directory.
    pub dir: PathBuf,
    /// Where records are kept (`$XDG_STATE_HOME/sprat`).
    pub state_dir: PathBuf,
    /// Read and write, or only read.
    pub access: Access,
    /// What to check at the start.
    pub check: Check,
    /// One flag a file; a file that is not selected is not created. Empty: all.
    pub selected: Vec<bool>,
    /// How to reserve room.
    pub allocate: Allocate,
    /// The budget that write buffers come from; storage writes early when it runs low.
    pub pool: BufferPool,
}

/// Download, or only seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Complete what is there; create what is missing. `force`: overwrite files that hold none of the torrent's pieces.
    Download {
        /// `--force`
        force: bool,
    },
    /// Every selected byte must be there; nothing is ever written below `dir`. Any number of seeders may work on one directory, also beside
    /// a download: the lock is only held while what was found is recorded, and there is no record if somebody else holds it.
    Seed,
}

/// What to hash when opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Check {
    /// What no record vouches for.
    #[default]
    Needed,
    /// Everything (`--check`).
    Full,
    /// Nothing (`--no-check`): believe files of the right length. A seeder then keeps no record.
    Trust,
}

/// `--allocate`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Allocate {
    /// Files grow as they are written.
    None,
    /// Files have their length from the start, with holes.
    #[default]
    Sparse,
    /// Room is reserved for every byte.
    Full,
}

/// What can go wrong with data on disk. Each names the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Something is there that is not this torrent's (exit code 13).
    #[error("{} exists and holds none of this torrent's data", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// Seeding: data is missing (exit code 6).
    #[error("{problem}: {}", path.display())]
    Mismatch {
        /// Which file.
        path: PathBuf,
        /// "no such file", "12 of 40 pieces are wrong", …
        problem: String,
    },
    /// No room (exit code 9).
    #[error("disk full: {}{}", path.display(), shortage.map(|it| it.to_string()).unwrap_or_default())]
    Full {
        /// Which file or directory.
        path: PathBuf,
        /// Known before anything is written; not for a disk that fills up meanwhile.
        shortage: Option<Shortage>,
    },
    /// Another process downloads this torrent to this directory (exit code 1).
    #[error("another sprat is working on {}", path.display())]
    Busy {
        /// Which directory or file.
        path: PathBuf,
    },
    /// What is right by the torrent's v1 hashes is wrong by its v2 hashes, or the other way round: whoever made this hybrid torrent made it
    /// of different data (exit code 4).
    #[error("bad torrent: its v1 and v2 hashes disagree about {}", path.display())]
    Conflict {
        /// Which file.
        path: PathBuf,
    },
    /// Checking at the start was called off by the caller (exit code 1).
    #[error("stopped before all was checked")]
    CalledOff,
    /// Anything else the operating system refuses (exit code 5).
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// "can't create", "can't write", …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How far what is to be written exceeds what is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortage {
    /// Bytes still to be written.
    pub needed: u64,
    /// Bytes free to us.
    pub free: u64,
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, " ({} bytes are still to be written, {} are free)", self.needed, self.free)
    }
}

impl StorageError {
    /// The same once more, for a second listener.
    fn again(&self) -> Self {
        match self {
            Self::Exists { path } => Self::Exists { path: path.clone() },
            Self::Mismatch { path, problem } => {
                Self::Mismatch { path: path.clone(), problem: problem.clone() }
            }
            Self::Full { path, shortage } => Self::Full { path: path.clone(), shortage: *shortage },
            Self::Busy { path } => Self::Busy { path: path.clone() },
            Self::Conflict { path } => Self::Conflict { path: path.clone() },
            Self::CalledOff => Self::CalledOff,
            Self::Io { action, path, source } => {
                let code = source.raw_os_error().map(std::io::Error::from_raw_os_error);
                let source = code.unwrap_or_else(|| std::io::Error::new(source.kind(), source.to_string()));
                Self::Io { action, path: path.clone(), source }
            }
        }
    }
}

/// What storage tells its torrent's driver.
#[derive(Debug)]
pub enum StorageEvent {
    /// The answer to [`Storage::verify`].
    Verified(PieceIndex, Verification),
    /// A file is whole, durable, and bears its own name.
    FileDone {
        /// Which file of the torrent.
        file: usize,
        /// Its path.
        path: PathBuf,
    },
    /// The disk is full. It waits until there is room ([`Self::Room`]), and fails with this if it is told not to.
    NoRoom(StorageError),
    /// There is room again.
    Room,
    /// Writing failed: the torrent can't go on.
    Failed(StorageError),
}

/// How far checking at the start has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckProgress {
    /// Bytes looked at.
    pub done: u64,
    /// Bytes to look at.
    pub total: u64,
}

/// What memory pressure has cost, counted since the opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StorageStats {
    /// Blocks that were written before their piece was verified.
    pub evicted: u64,
    /// Blocks that were read back from their file, to be hashed.
    pub read_back: u64,
}

/// An open torrent's data. Cheap to clone; the last clone dropped ends its threads, without flushing.
#[derive(Clone, Debug)]
pub struct Storage {
    inner: Arc<Handle>,
}

/// The end of it that the driver holds; the threads hold only what is shared.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    /// Closed once the last thread has ended and the lock is free.
    ended: watch::Receiver<()>,
}

impl Storage {
    /// Opens, locks, looks at what is there. Blocks for as long as hashing takes: call it from a thread that may. Returns what is there,
    /// verified (or trusted). `progress` is asked several times a second while it hashes; [`ControlFlow::Break`] calls it off.
    ///
    /// # Errors
    /// Before anything is changed: [`StorageError::Exists`], [`StorageError::Busy`], [`StorageError::Full`], [`StorageError::CalledOff`]
    /// and, for seeding, [`StorageError::Mismatch`]. Anything that the operating system refuses.
    pub fn open(
        options: OpenStorage,
        events: mpsc::UnboundedSender<StorageEvent>,
        mut progress: impl FnMut(CheckProgress) -> ControlFlow<()>,
    ) -> Result<(Self, Bitfield), StorageError> {
        let (handle, have) = open::open(options, events, &mut progress)?;
        Ok((Self { inner: Arc::new(handle) }, have))
    }

    /// Takes a block that is to be kept. Never blocks: the buffer's share of the pool is the limit.
    pub fn write(&self, block: Block, mut data: Buffer) {
        let shared = &self.inner.shared;
        if shared.seeding || data.len() != block.length as usize || shared.has(block.piece) {
            return;
        }
        // Padding is zeros, whatever a peer says: bytes that go nowhere must not make a v1 hash wrong that goes with a right v2 hash.
        let payload = shared.info.layout().piece_payload(block.piece).saturating_sub(block.begin) as usize;
        if let Some(padding) = data.bytes_mut().get_mut(payload..) {
            padding.fill(0);
        }
        let wake = {
            let mut pieces = shared.pieces.lock().unwrap();
            let early = !shared.queue.wants_company();
            !shared.has_failed() && pieces.insert(&shared.info, block.piece, block.number(), data, early)
        };
        if wake {
            shared.queue.advance(block.piece);
        }
        worker::relieve_if_short(shared);
    }

    /// Hashes a piece whose blocks have all been written; [`StorageEvent::Verified`] follows. A bad piece's data is thrown away, but kept
    /// until [`Self::drop_blocks`] if it is [`Verification::Wrong`] or [`Verification::Doubtful`]. If blocks of it are not here, it is
    /// [`Verification::Lost`].
    pub fn verify(&self, piece: PieceIndex, digests: bool) {
        let shared = &self.inner.shared;
        let wake = shared.pieces.lock().unwrap().verify(piece, digests);
        match wake {
            Some(true) => shared.queue.advance(piece),
            Some(false) => {}
            // Failed already, and said so.
            None if shared.has_failed() => {}
            // Whoever sent them did nothing wrong.
            None => {
                let _ = shared.events.send(StorageEvent::Verified(piece, Verification::Lost));
            }
        }
    }

    /// Throws away these blocks (numbers, ascending) of a piece that was [`Verification::Wrong`] or [`Verification::Doubtful`]; the others
    /// stay for the next [`Self::verify`].
    pub fn drop_blocks(&self, piece: PieceIndex, blocks: &[u32]) {
        self.inner.shared.pieces.lock().unwrap().drop_blocks(piece, blocks);
    }

    /// The leaves (BEP 52) of `count` blocks of a file from block `first`; those beyond the file's end are zeros. Blocks on the disk:
    /// call it where that is allowed.
    ///
    /// # Errors
    /// As [`Self::read_blocking`].
    pub fn leaves_blocking(&self, file: usize, first: u64, count: u32) -> Result<Vec<Hash>, StorageError> {
        self.inner.shared.leaves(file, first, count)
    }

    /// Checks by v2 what was checked by v1 alone, since piece layers were missing: by the layers that are known by now; and those of whole
    /// files are worked out from their data, and known from here on. Blocks for as long as hashing takes, unless `go_on`, which is asked
    /// several times a second, calls it off.
    ///
    /// # Errors
    /// [`StorageError::Conflict`], [`StorageError::CalledOff`], and whatever can go wrong with reading.
    pub fn prove_blocking(&self, go_on: impl Fn() -> bool) -> Result<(), StorageError> {
        self.inner.shared.prove(&go_on)
    }

    /// Reads a part of a piece that was verified, into `out` (cleared first). Blocks on the disk: call it where that is allowed.
    ///
    /// # Errors
    /// If the piece is not there, or its file was changed, cut short, replaced or removed since, or can't be read.
    pub fn read_blocking(&self, part: BlockRequest, out: &mut Vec<u8>) -> Result<(), StorageError> {
        self.inner.shared.serve(part, out)
    }

    /// The same if it can be had without waiting for a disk; else false. Never blocks.
    pub fn read_at_hand(&self, part: BlockRequest, out: &mut Vec<u8>) -> bool {
        self.inner.shared.serve_at_hand(part, out)
    }

    /// Where the kernel can send parts of a piece from, without a copy and without waiting for a disk: the first of these and those behind
    /// it, as long as each follows the one before. `None` if the first has to be read ([`Self::read_blocking`]). Never blocks.
    pub fn direct(&self, parts: &[BlockRequest]) -> Option<Direct> {
        self.inner.shared.direct(parts)
    }

    /// The torrent is to stop: a full disk is not waited for any more.
    pub fn stop_waiting(&self) {
        self.inner.shared.room.give_up();
    }

    /// Everything verified so far is durable, recorded, and whole files have their names, when this returns.
    ///
    /// # Errors
    /// If something can't be synced, recorded or renamed.
    pub async fn flush(&self) -> Result<(), StorageError> {
        self.ask(Request::Flush).await
    }

    /// Where file `file` of the torrent lies or will lie.
    pub fn path_of(&self, file: usize) -> PathBuf {
        self.inner.shared.files.path(file, Place::Own)
    }

    /// Whether file `file` was selected, is whole, and bears its own name.
    pub fn is_whole(&self, file: usize) -> bool {
        self.inner.shared.whole.lock().unwrap()[file]
    }

    /// What memory pressure has cost.
    pub fn stats(&self) -> StorageStats {
        let shared = &self.inner.shared;
        StorageStats {
            evicted: shared.evicted.load(Ordering::Relaxed),
            read_back: shared.read_back.load(Ordering::Relaxed),
        }
    }

    /// Forgets the record: the download is complete and no longer needs one.
    ///
    /// # Errors
    /// If it can't be removed.
    pub async fn remove_record(&self) -> Result<(), StorageError> {
        self.ask(Request::Forget).await
    }

    /// Ends the threads without flushing, and waits until they have ended and the lock is free. Other clones delay it.
    pub async fn close(self) {
        let mut ended = self.inner.ended.clone();
        drop(self);
        while ended.changed().await.is_ok() {}
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), StorageError>>) -> Request,
    ) -> Result<(), StorageError> {
        let (answer, answered) = oneshot::channel();
        // Its thread lives as long as we do.
        let _ = self.inner.shared.requests.send(request(answer));
        answered.await.unwrap_or(Ok(()))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.shared.room.give_up();
        let _ = self.shared.requests.send(Request::Stop);
    }
}
