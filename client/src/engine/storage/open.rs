//! Opening: lock, look, judge, hash, decide, and only then touch anything.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock, mpsc as std_mpsc};

use tokio::sync::{mpsc, watch};
use torrent_format::{Bitfield, Info, Layout};

use super::barrier;
use super::beneath::Beneath;
use super::check::{find_layers, pieces_of};
use super::decide::{Decision, Made};
use super::files::{Files, Place, failure, mismatch};
use super::journal::{self, Journal, Loaded, Record, Subject};
use super::ledger::Ledger;
use super::lock::{Lock, RecordPaths};
use super::queue::Queue;
use super::room::Room;
use super::shared::{Records, Shared};
use super::survey::Survey;
use super::{
    Access, Allocate, Check, CheckProgress, Handle, OpenStorage, StorageError, StorageEvent, prune, worker,
};
use crate::engine::buffer::BufferPool;

/// Threads that hash and write, at most: one core hashes about as fast as a disk writes.
const MAX_WORKERS: usize = 4;

/// Threads that hash and write, at least: while one waits for the disk another hashes.
const MIN_WORKERS: usize = 2;

/// A torrent about to be opened.
pub(super) struct Opening<'a> {
    pub(super) info: &'a Info,
    pub(super) layout: &'a Layout,
    pub(super) access: Access,
    pub(super) check: Check,
    pub(super) allocate: Allocate,
    /// One flag a file; never set for padding.
    pub(super) selected: Vec<bool>,
    pub(super) files: Files,
    pub(super) subject: Subject,
    pub(super) paths: RecordPaths,
    pub(super) loaded: Loaded,
}

pub(super) fn open(
    options: OpenStorage,
    events: mpsc::UnboundedSender<StorageEvent>,
    progress: &mut dyn FnMut(CheckProgress) -> ControlFlow<()>,
) -> Result<(Handle, Bitfield), StorageError> {
    let (opening, lock) = Opening::prepare(&options)?;
    let (found, evidence) = opening.look_at_all()?;
    let mut proven = Vec::new();
    if options.access == Access::Seed {
        opening.require_lengths(&found)?;
        proven = find_layers(&opening.files, &options.info, &opening.files_to_prove(), progress)?;
    }
    // Before anything is hashed: layers may come from peers meanwhile.
    let half_proven = opening.files_to_prove();
    let survey = opening.survey(found, evidence, &proven, progress)?;
    if options.access == Access::Seed {
        opening.require_right_pieces(&survey)?;
    }
    let decisions = opening.decide(&survey)?;
    opening.require_room(&survey, &decisions)?;

    let fresh = options.access != Access::Seed && !matches!(opening.loaded, Loaded::Record(_));
    if fresh {
        // Before the first file: if the machine stops now, the next start knows that what lies there is ours.
        opening.create_journal(&Record::new(&opening.subject))?;
    }
    let mut made = Made { files: Vec::new(), one_file_system: true, unfinished: HashMap::new() };
    if let Err(error) = opening.carry_out(&survey, &decisions, &mut made) {
        if fresh && made.files.is_empty() && matches!(opening.loaded, Loaded::Nothing) {
            let _ = std::fs::remove_file(&opening.paths.journal);
        }
        return Err(error);
    }
    let record = opening.record(&survey, &made)?;
    let journal = if options.access == Access::Seed {
        opening.record_seed(&record);
        None
    } else {
        Some(opening.create_journal(&record)?)
    };
    if let Some(records) = opening.paths.journal.parent() {
        prune::remove_old_records(records);
    }
    let have = survey.have.clone();
    let rest = Rest { pool: options.pool.clone(), events, lock, journal, made, half_proven };
    let handle = opening.start(rest, survey, &decisions)?;
    let shared = &handle.shared;
    if options.access != Access::Seed {
        let is_new = |decision: &Decision| *decision == Decision::Empty { exists: false };
        let empty: Vec<usize> = (0..decisions.len()).filter(|&file| is_new(&decisions[file])).collect();
        if !empty.is_empty() {
            shared.sync_new_names()?;
        }
        for file in empty {
            let path = shared.files.path(file, Place::Own);
            let _ = shared.events.send(StorageEvent::FileDone { file, path });
        }
        shared.barrier(false)?;
    }
    Ok((handle, have))
}

impl<'a> Opening<'a> {
    fn prepare(options: &'a OpenStorage) -> Result<(Self, Option<Lock>), StorageError> {
        let OpenStorage { info, dir, state_dir, access, check, selected, allocate, .. } = options;
        if *access != Access::Seed {
            create_directory(dir).map_err(failure("can't create", dir.clone()))?;
        }
        let missing = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => mismatch("no such directory", dir.clone()),
            _ => failure("can't open", dir.clone())(error),
        };
        let root = Beneath::open(dir).map_err(missing)?;
        let subject = Subject::new(info, dir.canonicalize().map_err(failure("can't open", dir.clone()))?);
        let paths = RecordPaths::new(state_dir, subject.info_hash, &subject.dir);
        let lock = if *access == Access::Seed {
            None
        } else {
            let lock = paths.lock().map_err(failure("can't write", state_dir.clone()))?;
            Some(lock.ok_or_else(|| StorageError::Busy { path: subject.dir.clone() })?)
        };
        let loaded = match journal::load(&paths.journal, &subject) {
            Err(error) if *access != Access::Seed => {
                return Err(failure("can't read", paths.journal.clone())(error));
            }
            loaded => loaded.unwrap_or(Loaded::Nothing),
        };
        let selected = info
            .files()
            .iter()
            .enumerate()
            .map(|(file, entry)| !entry.pad && (selected.is_empty() || selected.get(file) == Some(&true)))
            .collect();
        let files = Files::new(root, info, paths.spill.clone());
        let opening = Self {
            info,
            layout: info.layout(),
            access: *access,
            check: *check,
            allocate: *allocate,
            selected,
            files,
            subject,
            paths,
            loaded,
        };
        Ok((opening, lock))
    }

    pub(super) fn force(&self) -> bool {
        self.access == Access::Download { force: true }
    }

    pub(super) fn old_record(&self) -> Option<&Record> {
        if let Loaded::Record(record) = &self.loaded { Some(record) } else { None }
    }

    /// Selected files whose piece layers are missing and can be worked out. Not if a look at the data is not wanted, and not needed to check
    /// anything.
    fn files_to_prove(&self) -> Vec<usize> {
        if self.check == Check::Trust && self.info.version().has_v1() {
            return Vec::new();
        }
        self.info.missing_layers().filter(|&file| self.selected[file]).collect()
    }

    fn create_journal(&self, record: &Record) -> Result<Journal, StorageError> {
        let path = &self.paths.journal;
        Journal::create(path, &self.subject, record).map_err(failure("can't write", path.clone()))
    }

    /// A seeder writes down what it found, and no more after that: it needs the lock, which keeps others away, only for so long.
    fn record_seed(&self, record: &Record) {
        // Made in memory just now, or believed without a look: nothing that a later start could rely on.
        if self.check == Check::Trust {
            return;
        }
        let recorded = match self.paths.lock() {
            Ok(Some(_lock)) => self.create_journal(record).map(drop),
            Ok(None) => {
                tracing::debug!(
                    "no record is kept: another sprat is working on {}",
                    self.subject.dir.display()
                );
                Ok(())
            }
            Err(error) => Err(failure("can't write", self.paths.journal.clone())(error)),
        };
        if let Err(error) = recorded {
            tracing::warn!("no record is kept: {error}");
        }
    }

    fn start(self, rest: Rest, survey: Survey, decisions: &[Decision]) -> Result<Handle, StorageError> {
        let seeding = self.access == Access::Seed;
        let unfinished: Vec<bool> =
            decisions.iter().map(|it| matches!(it, Decision::Adopt | Decision::Complete)).collect();
        let durable = if seeding { survey.have.clone() } else { survey.durable };
        let whole = |file: usize| match decisions[file] {
            Decision::Whole | Decision::Empty { .. } => true,
            Decision::Leave => seeding && self.selected[file],
            Decision::Adopt | Decision::Complete => false,
        };
        let root = self.files.root().full(Path::new(""));
        let mut half_proven = Bitfield::none(self.layout.piece_count());
        let half = rest.half_proven.iter().flat_map(|&file| pieces_of(self.info, file));
        for piece in half.filter(|&piece| survey.have.has(piece)) {
            half_proven.set(piece);
        }
        let replace = survey.found.iter().map(|found| self.force() && found.is_some()).collect();
        let records = Records {
            journal: rest.journal,
            selected: self.selected.clone(),
            believed: survey.believed,
            touched: vec![false; self.layout.file_count() + 1],
            spill: self.paths.spill.clone(),
            subject: self.subject,
        };
        let (requests, from_handle) = std_mpsc::channel();
        let (running, ended) = watch::channel(());
        let company = worker::company(self.info, &rest.pool);
        let shared = Arc::new(Shared {
            whole: Mutex::new((0..decisions.len()).map(whole).collect()),
            ledger: Mutex::new(Ledger::new(self.layout, &survey.have, durable, &unfinished)),
            info: self.info.clone(),
            files: self.files,
            seeding,
            pool: rest.pool,
            queue: Queue::new(company),
            room: Room::default(),
            writing: RwLock::new(()),
            pieces: Mutex::default(),
            records: Mutex::new(records),
            replace,
            one_file_system: rest.made.one_file_system,
            new_names: Mutex::new(rest.made.files),
            rechecked: Mutex::default(),
            half_proven: Mutex::new(half_proven),
            proving: Mutex::default(),
            requests,
            events: rest.events,
            failed: AtomicBool::new(false),
            broken: Mutex::default(),
            evicted: AtomicU64::new(0),
            read_back: AtomicU64::new(0),
            _lock: rest.lock,
            _running: running,
        });
        let handle = Handle { shared: Arc::clone(&shared), ended };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if seeding { 0 } else { cores.clamp(MIN_WORKERS, MAX_WORKERS) };
        // If one can't be started, the handle's end is the end of those that were.
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map(drop).map_err(failure("can't start a thread for", root.clone()))
        };
        for _ in 0..workers {
            let shared = Arc::clone(&shared);
            spawn("storage", Box::new(move || worker::run(&shared)))?;
        }
        spawn("storage-sync", Box::new(move || barrier::run(&shared, &from_handle)))?;
        Ok(handle)
    }
}

/// What goes into the running storage as it is.
struct Rest {
    pool: BufferPool,
    events: mpsc::UnboundedSender<StorageEvent>,
    lock: Option<Lock>,
    journal: Option<Journal>,
    made: Made,
    /// Files whose pieces were checked by v1 alone.
    half_proven: Vec<usize>,
}

/// Makes a directory and those above it, durably.
pub(super) fn create_directory(path: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
    std::fs::create_dir_all(path)?;
    for made in missing {
        let parent = made.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}
