//! The thread that makes what is verified durable: payload synced, then the journal says so, then whole files get their names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::beneath::Stamp;
use super::files::{Place, failure};
use super::journal::{FileRecord, Journal, Record};
use super::ledger::Batch;
use super::shared::Shared;
use super::worker::relieve_if_short;
use super::{StorageError, StorageEvent};

/// Between two barriers. Short enough that with a slow sync after it, what is verified is durable within five seconds; long enough
/// that a barrier covers many pieces.
const SYNC_INTERVAL: Duration = Duration::from_millis(1500);

/// Bytes that call for a barrier before its time: the more there is to sync, the longer it takes.
pub(super) const SYNC_BYTES: u64 = 256 * 1024 * 1024;

/// Above this many files or directories, the file system is synced as a whole: one wait for the disk instead of one for each.
const SYNC_EACH: usize = 8;

/// Something for the barrier thread to do before its time.
#[derive(Debug)]
pub(super) enum Request {
    /// [`SYNC_BYTES`] are waiting.
    Urgent,
    /// Make everything durable, and say when it is.
    Flush(oneshot::Sender<Result<(), StorageError>>),
    /// Remove the record.
    Forget(oneshot::Sender<Result<(), StorageError>>),
    /// The storage is closed.
    Stop,
}

/// Works until the storage is closed.
pub(super) fn run(shared: &Shared, requests: &Receiver<Request>) {
    loop {
        match requests.recv_timeout(SYNC_INTERVAL) {
            Ok(Request::Flush(answer)) => {
                let done = shared.barrier(true);
                if let Err(error) = &done {
                    shared.fail(error.again());
                }
                let _ = answer.send(done);
            }
            Ok(Request::Forget(answer)) => {
                let _ = answer.send(shared.forget());
            }
            Ok(Request::Urgent) | Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = shared.barrier(false) {
                    shared.fail(error);
                }
                // Another torrent may need what an idle one holds.
                relieve_if_short(shared);
            }
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Shared {
    /// Makes what is verified durable, recorded, and, where a file is whole by that, named. With `stamps`, also records how the
    /// files look, so that a later start knows whether anyone else changed them.
    ///
    /// # Errors
    /// After a failed sync nobody knows what is on the disk, and a second sync would lie: the batch is recorded as lost.
    pub(super) fn barrier(&self, stamps: bool) -> Result<(), StorageError> {
        let mut broken = self.broken.lock().unwrap();
        if let Some(error) = &*broken {
            return Err(error.again());
        }
        self.try_barrier(stamps).inspect_err(|error| *broken = Some(error.again()))
    }

    fn try_barrier(&self, stamps: bool) -> Result<(), StorageError> {
        let batch = self.ledger.lock().unwrap().take_unsynced();
        let mut finished = Vec::new();
        if stamps || !batch.pieces.is_empty() {
            self.sync_new_names()?;
        }
        if !batch.pieces.is_empty() {
            if let Err(error) = self.sync_files(&batch) {
                self.lose_unsynced();
                return Err(error);
            }
            self.records.lock().unwrap().note(|journal| journal.durable(&batch.pieces))?;
            self.sync_journal()?;
        }
        let whole = {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.synced(self.info.layout(), &batch);
            ledger.take_whole()
        };
        let mut nearby = self.files.root().nearby();
        for file in whole {
            finished.push((file, self.files.finish(file, self.replace[file], &mut nearby)?));
        }
        self.sync_directories(finished.iter().map(|&(file, _)| file))?;
        let mut records = self.records.lock().unwrap();
        if !finished.is_empty() {
            records.note(|journal| journal.stamps(&finished))?;
            for &(file, _) in &finished {
                records.touched[file] = false;
            }
        }
        drop(records);
        if stamps {
            self.stamp()?;
        }
        if stamps || !finished.is_empty() {
            self.sync_journal()?;
        }
        for (file, _) in finished {
            self.whole.lock().unwrap()[file] = true;
            let path = self.files.path(file, Place::Own);
            let _ = self.events.send(StorageEvent::FileDone { file, path });
        }
        Ok(())
    }

    /// Makes the names that opening gave durable.
    pub(super) fn sync_new_names(&self) -> Result<(), StorageError> {
        let files = std::mem::take(&mut *self.new_names.lock().unwrap());
        self.sync_directories(files.into_iter())
    }

    /// Makes the names of files durable: the directories that hold them, and those above, down from the target directory.
    fn sync_directories(&self, files: impl Iterator<Item = usize>) -> Result<(), StorageError> {
        let directories: BTreeSet<&Path> =
            files.flat_map(|file| self.files.relative(file, Place::Own).ancestors().skip(1)).collect();
        if directories.len() > SYNC_EACH && self.sync_file_system()? {
            return Ok(());
        }
        for directory in directories {
            let root = self.files.root();
            root.sync_directory(directory).map_err(failure("can't sync", root.full(directory)))?;
        }
        Ok(())
    }

    /// Syncs the target directory's file system, if that covers every file; says whether it has.
    fn sync_file_system(&self) -> Result<bool, StorageError> {
        let root = self.files.root();
        // Elsewhere there is no such call.
        #[cfg(target_os = "linux")]
        if self.one_file_system {
            return root
                .sync_file_system()
                .map_err(failure("can't sync", root.full(Path::new(""))))
                .map(|()| true);
        }
        let _ = root;
        Ok(false)
    }

    fn sync_journal(&self) -> Result<(), StorageError> {
        let journal =
            self.records.lock().unwrap().journal.as_ref().map(|it| (it.file(), it.path().to_path_buf()));
        // Without the lock: workers append meanwhile.
        journal.map_or(Ok(()), |(file, path)| file.sync_data().map_err(failure("can't sync", path)))
    }

    fn sync_files(&self, batch: &Batch) -> Result<(), StorageError> {
        let holders: BTreeSet<usize> = batch.files.iter().map(|&file| self.files.holder(file)).collect();
        let one_by_one = |file: usize| -> Result<(), StorageError> {
            if self.files.place(file) == Place::Pad {
                return Ok(());
            }
            let (open, _) = self.files.handle(file)?;
            open.sync_data().map_err(failure("can't sync", self.files.path(file, self.files.place(file))))
        };
        if holders.len() > SYNC_EACH && self.sync_file_system()? {
            // The state directory may lie on another one.
            return holders.into_iter().filter(|&file| file == self.files.spill()).try_for_each(one_by_one);
        }
        holders.into_iter().try_for_each(one_by_one)
    }

    /// Records how every file that we wrote to looks now.
    fn stamp(&self) -> Result<(), StorageError> {
        // No piece is half written while we look.
        let _quiet = self.writing.write().unwrap();
        let mut records = self.records.lock().unwrap();
        let touched: Vec<usize> = (0..records.touched.len()).filter(|&file| records.touched[file]).collect();
        let mut stamps = Vec::with_capacity(touched.len());
        for &file in &touched {
            let (open, _) = self.files.handle(file)?;
            let path = self.files.path(file, self.files.place(file));
            stamps.push((file, Stamp::of(&open).map_err(failure("can't read", path))?));
        }
        records.note(|journal| journal.stamps(&stamps))?;
        for file in touched {
            records.touched[file] = false;
        }
        Ok(())
    }

    /// After a sync that failed: a new journal that claims only what was durable before. Best effort: the old one claims no more
    /// than that the pieces were written, and they are hashed before they are believed.
    fn lose_unsynced(&self) {
        let mut records = self.records.lock().unwrap();
        let mut record = Record::new(&records.subject);
        record.durable = self.ledger.lock().unwrap().durable().clone();
        for piece in self.info.layout().pieces().filter(|&piece| records.believed.has(piece)) {
            record.durable.clear(piece);
        }
        record.selected.clone_from(&records.selected);
        for file in 0..records.touched.len() {
            let there = match self.files.place(file) {
                Place::Own | Place::Part => true,
                Place::Spill => file == self.files.spill() && records.touched[file],
                Place::Nowhere | Place::Pad => false,
            };
            if there
                && let Ok((open, _)) = self.files.handle(file)
                && let Ok(stamp) = Stamp::of(&open)
            {
                record.files[file] = Some(FileRecord { stamp, touched: records.touched[file] });
            }
        }
        if let Some(journal) = &records.journal
            && let Ok(new) = Journal::create(journal.path(), &records.subject, &record)
        {
            records.journal = Some(new);
        }
    }

    fn forget(&self) -> Result<(), StorageError> {
        let mut records = self.records.lock().unwrap();
        let Some(journal) = records.journal.take() else { return Ok(()) };
        let remove = |path: PathBuf| match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failure("can't remove", path)(error))
            }
            _ => Ok(()),
        };
        remove(journal.path().to_path_buf())?;
        remove(records.spill.clone())
    }
}
