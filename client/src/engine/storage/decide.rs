//! What becomes of each file: decided for all of them before the first is touched.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::beneath::{Identity, Open, Seen, Stamp};
use super::files::{Place, failure};
use super::journal::{FileRecord, Loaded, Record};
use super::open::Opening;
use super::plan::Trust;
use super::survey::Survey;
use super::{Access, Allocate, Shortage, StorageError};

/// What becomes of a selected file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// It is whole where it is.
    Whole,
    /// It holds some of the torrent under its own name: it becomes `NAME.part` and is completed.
    Adopt,
    /// `NAME.part` is completed; made if it is not there.
    Complete,
    /// It has no bytes, and is made at once.
    Empty { exists: bool },
    /// Not ours to make: not selected, or padding.
    Leave,
}

/// What was made on disk.
pub(super) struct Made {
    /// Files with new names.
    pub(super) files: Vec<usize>,
    /// Every unfinished file lies on the target directory's file system.
    pub(super) one_file_system: bool,
    /// How each file that is unfinished looks, before anything of it is written.
    pub(super) unfinished: HashMap<usize, Stamp>,
}

/// What became of a file that is to be completed.
struct Begun {
    /// Its name was made or changed.
    is_new_name: bool,
    /// How it looks.
    outcome: Result<Seen, StorageError>,
}

/// Files that are not worth a thread of their own.
const LEAST_SHARE: usize = 256;

impl Opening<'_> {
    /// # Errors
    /// [`StorageError::Exists`] if something is there that is not this torrent's.
    pub(super) fn decide(&self, survey: &Survey) -> Result<Vec<Decision>, StorageError> {
        (0..self.layout.file_count()).map(|file| self.decide_one(survey, file)).collect()
    }

    fn decide_one(&self, survey: &Survey, file: usize) -> Result<Decision, StorageError> {
        if !self.selected[file] || self.access == Access::Seed {
            return Ok(Decision::Leave);
        }
        let length = self.files.length(file);
        let exists = |place| Err(StorageError::Exists { path: self.files.path(file, place) });
        let Some(found) = survey.found[file] else {
            return Ok(if length == 0 { Decision::Empty { exists: false } } else { Decision::Complete });
        };
        let size = found.seen.stamp.size;
        if length == 0 {
            return if size > 0 && !self.force() {
                exists(Place::Own)
            } else {
                Ok(Decision::Empty { exists: size == 0 })
            };
        }
        if found.place == Place::Part {
            let strange = survey.valid[file] == 0 && size > 0 && matches!(self.loaded, Loaded::Nothing);
            return match self.force() {
                false if found.both => exists(Place::Own),
                false if strange => exists(Place::Part),
                _ => Ok(Decision::Complete),
            };
        }
        let vouched = matches!(survey.evidence[file].trust, Trust::Record | Trust::All);
        if size == length && (vouched || survey.valid[file] as usize == self.layout.file_pieces(file).len()) {
            return Ok(Decision::Whole);
        }
        // A small file may share all its pieces with neighbours that are not there, so that nothing can be said of it. If others
        // of the torrent's files are right, and its length is, it is taken for one of them.
        let plausible = size == length && survey.wrong[file] == 0 && !survey.have.is_none();
        match self.force() {
            false if found.both => exists(Place::Own),
            _ if survey.valid[file] > 0 || size == 0 || plausible => Ok(Decision::Adopt),
            false => exists(Place::Own),
            true => Ok(Decision::Complete),
        }
    }

    /// # Errors
    /// [`StorageError::Full`] if what is still to be written can't fit.
    pub(super) fn require_room(&self, survey: &Survey, decisions: &[Decision]) -> Result<(), StorageError> {
        let needed =
            decisions.iter().enumerate().map(|(file, decision)| match (decision, survey.found[file]) {
                (Decision::Complete, Some(found)) if found.place == Place::Own => self.files.length(file),
                (Decision::Complete | Decision::Adopt, Some(found)) => {
                    self.files.length(file).saturating_sub(found.seen.allocated)
                }
                (Decision::Complete, None) => self.files.length(file),
                _ => 0,
            });
        let needed: u64 = needed.sum();
        if needed == 0 {
            return Ok(());
        }
        let path = self.files.root().full(Path::new(""));
        let room =
            self.files.root().statvfs().map_err(failure("can't look at the file system of", path.clone()))?;
        // Some file systems don't tell.
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if room.f_blocks > 0 && needed > free {
            return Err(StorageError::Full { path, shortage: Some(Shortage { needed, free }) });
        }
        Ok(())
    }

    pub(super) fn carry_out(
        &self,
        survey: &Survey,
        decisions: &[Decision],
        made: &mut Made,
    ) -> Result<(), StorageError> {
        let root = self.files.root();
        let device = root.device().map_err(failure("can't open", root.full(Path::new(""))))?;
        let mut unfinished: HashSet<(u64, Identity)> = HashSet::new();
        let mut begun = self.begin_all(decisions).into_iter();
        for (file, decision) in decisions.iter().enumerate() {
            match decision {
                Decision::Leave => {
                    if let Some(found) = survey.found[file] {
                        let stamp = found.seen.stamp;
                        self.files.set(file, Place::Own, Some(stamp.identity), Some(stamp));
                    }
                }
                Decision::Whole => {
                    let stamp = survey.found[file].map(|found| found.seen.stamp);
                    self.files.set(file, Place::Own, stamp.map(|stamp| stamp.identity), stamp);
                }
                Decision::Empty { exists: true } => self.files.set(file, Place::Own, None, None),
                Decision::Empty { exists: false } => {
                    let own = self.files.relative(file, Place::Own);
                    let made_empty = match root.create(own) {
                        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                            root.file(own, Open::Write).and_then(|(file, _)| file.set_len(0))
                        }
                        outcome => outcome.map(drop),
                    };
                    made_empty.map_err(failure("can't create", self.files.path(file, Place::Own)))?;
                    self.files.set(file, Place::Own, None, None);
                    made.files.push(file);
                }
                Decision::Adopt | Decision::Complete => {
                    let Begun { is_new_name, outcome } = begun.next().expect("one for each of these");
                    if is_new_name {
                        made.files.push(file);
                    }
                    let seen = outcome?;
                    made.one_file_system &= seen.device == device;
                    if !unfinished.insert((seen.device, seen.stamp.identity)) {
                        // A file system that takes two names for one, or a hard link.
                        let problem =
                            std::io::Error::other("it is the same file as another one of the torrent");
                        return Err(failure("can't write", self.files.path(file, Place::Part))(problem));
                    }
                    self.files.set(file, Place::Part, Some(seen.stamp.identity), None);
                    made.unfinished.insert(file, seen.stamp);
                }
            }
        }
        Ok(())
    }

    /// Opens or makes every file that is to be completed, in order. Many of them on several threads: nothing is downloaded until they are there.
    fn begin_all(&self, decisions: &[Decision]) -> Vec<Begun> {
        let is_unfinished = |file: &usize| matches!(decisions[*file], Decision::Adopt | Decision::Complete);
        let files: Vec<usize> = (0..decisions.len()).filter(is_unfinished).collect();
        let begin = |files: &[usize]| -> Vec<Begun> {
            files.iter().map(|&file| self.begin(file, decisions[file] == Decision::Adopt)).collect()
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = files.len().div_ceil(cores).max(LEAST_SHARE);
        let mut shares = files.chunks(share);
        let first = shares.next().unwrap_or_default();
        std::thread::scope(|scope| {
            let begin = &begin;
            let spawn = |share| std::thread::Builder::new().spawn_scoped(scope, move || begin(share));
            let others: Vec<_> = shares.map(|share| (share, spawn(share))).collect();
            let mut begun = begin(first);
            for (share, other) in others {
                begun.extend(match other {
                    Ok(other) => other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                    // The system has no thread to give.
                    Err(_) => begin(share),
                });
            }
            begun
        })
    }

    /// A file that is to be completed is there, as `NAME.part`, with its length. `adopt`: so far it bears its own name.
    fn begin(&self, file: usize, adopt: bool) -> Begun {
        let root = self.files.root();
        let part = self.files.relative(file, Place::Part);
        let at = |action, place| failure(action, self.files.path(file, place));
        let mut is_new_name = false;
        let mut begin = || {
            if adopt {
                let own = self.files.relative(file, Place::Own);
                let renamed = root.nearby().rename(own, part, self.force());
                renamed.map_err(at("can't rename", Place::Own))?;
                is_new_name = true;
            }
            let open = match root.create(part) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    root.file(part, Open::Write).map(|(open, seen)| (open, seen.stamp.size))
                }
                created => created.map(|open| (open, 0)).inspect(|_| is_new_name = true),
            };
            let (open, size) = open.map_err(at("can't create", Place::Part))?;
            self.reserve(file, &open, size).map_err(at("can't reserve room for", Place::Part))
        };
        let outcome = begin();
        Begun { is_new_name, outcome }
    }

    /// `size`: its length so far.
    fn reserve(&self, file: usize, open: &std::fs::File, size: u64) -> std::io::Result<Seen> {
        let length = self.files.length(file);
        if self.allocate == Allocate::Full {
            match rustix::fs::fallocate(open, rustix::fs::FallocateFlags::empty(), 0, length) {
                // The file system can't: the length is all that we can give.
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.allocate != Allocate::None && size < length {
            open.set_len(length)?;
        }
        Seen::of(open)
    }

    /// What the new journal starts with.
    pub(super) fn record(&self, survey: &Survey, made: &Made) -> Result<Record, StorageError> {
        let mut record = Record::new(&self.subject);
        for piece in self.layout.pieces().filter(|&p| survey.have.has(p) && !survey.believed.has(p)) {
            // What is seeded nobody wrote just now: it has been there.
            if survey.durable.has(piece) || self.access == Access::Seed {
                record.durable.set(piece);
            } else {
                record.written.set(piece);
            }
        }
        record.selected.clone_from(&self.selected);
        let known = |stamp| Some(FileRecord { stamp, touched: false });
        for file in 0..self.layout.file_count() {
            let place = self.files.place(file);
            record.files[file] = match (place, survey.found[file]) {
                // As it looked before it was hashed: whoever changed it since will be noticed.
                (Place::Own, Some(found)) => known(found.seen.stamp),
                (Place::Part, _) => made.unfinished.get(&file).copied().and_then(known),
                _ => None,
            };
        }
        // A seed has unselected files in their own places, not in the spill file.
        if self.access != Access::Seed {
            record.files[self.files.spill()] = self.look_at_spill()?.and_then(known);
        }
        Ok(record)
    }
}
