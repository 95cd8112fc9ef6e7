//! The torrent's files as one run of bytes: [`Files`] knows where each lies, keeps a few of them open, reads and writes spans.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sha1::{Digest, Sha1};
use torrent_format::pieces::read_ahead;
use torrent_format::{FileSpan, Info};

use super::StorageError;
use super::beneath::{Beneath, Identity, Nearby, Open, Seen, Stamp};
use super::direct::is_on_memory;

/// Files open at a time: enough for every thread and the files that peers ask for just now, few enough for many torrents under
/// the usual limit of 1,024 descriptors.
const OPEN_FILES: usize = 64;

/// The longest file name that file systems take, in bytes.
const NAME_MAX: usize = 255;

/// Slices handed to the kernel at once (`IOV_MAX` on Linux and macOS).
const SLICES_AT_ONCE: usize = 1024;

/// Where a file's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Nowhere yet.
    Nowhere,
    /// Under its own name: whole, never written to.
    Own,
    /// As `NAME.part`.
    Part,
    /// In the spill file: the file is not selected, but shares a piece with one that is.
    Spill,
    /// Padding (BEP 47): zeros, never on a disk.
    Pad,
}

/// The spill file holds the bytes of unselected files that pieces of selected ones need, at their place in the payload, in the
/// state directory. It is counted as one more file, after the torrent's own.
#[derive(Debug)]
pub(super) struct Files {
    root: Beneath,
    entries: Vec<Entry>,
    spill: PathBuf,
    states: Mutex<Vec<State>>,
    open: Mutex<OpenFiles>,
    /// One a file, held while it is written to. The kernel lets only one thread at a time write to a file, and whoever waits for that
    /// there keeps a core busy with waiting.
    writing: Vec<Mutex<()>>,
}

#[derive(Debug)]
struct Entry {
    own: PathBuf,
    part: PathBuf,
    /// Where it begins in the payload.
    start: u64,
    length: u64,
}

#[derive(Clone, Copy, Debug)]
struct State {
    place: Place,
    /// The file that was looked at; another one in its place is not read. `None`: not made yet.
    identity: Option<Identity>,
    /// For a whole file: how it looked when it was last known to be right.
    whole: Option<Stamp>,
}

impl Files {
    pub(super) fn new(root: Beneath, info: &Info, spill: PathBuf) -> Self {
        let paths: Vec<&Path> = info.files().iter().map(|file| file.path.as_path()).collect();
        let entries = paths
            .iter()
            .zip(part_names(&paths))
            .enumerate()
            .map(|(file, (own, part))| {
                let range = info.layout().file_range(file);
                Entry { own: own.to_path_buf(), part, start: range.start, length: range.end - range.start }
            })
            .collect::<Vec<_>>();
        let state = State { place: Place::Nowhere, identity: None, whole: None };
        let mut states = vec![state; entries.len()];
        states.push(State { place: Place::Spill, ..state });
        let writing = states.iter().map(|_| Mutex::default()).collect();
        Self { root, entries, spill, states: Mutex::new(states), open: Mutex::default(), writing }
    }

    pub(super) fn root(&self) -> &Beneath {
        &self.root
    }

    /// The number of the spill file.
    pub(super) fn spill(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn length(&self, file: usize) -> u64 {
        self.entries[file].length
    }

    pub(super) fn place(&self, file: usize) -> Place {
        self.lock(file).place
    }

    /// What is known of the file changes: where it is, which one it is, and, if it is whole, how it looks.
    pub(super) fn set(&self, file: usize, place: Place, identity: Option<Identity>, whole: Option<Stamp>) {
        self.states.lock().unwrap()[file] = State { place, identity, whole };
        self.open.lock().unwrap().forget(file);
    }

    /// A file is whole: it gets its length and its name, if it hasn't got them, and is not written to from here on. `nearby` is of [`Self::root`].
    ///
    /// # Errors
    /// [`StorageError::Exists`] if the name is taken, unless `replace`.
    pub(super) fn finish(
        &self,
        file: usize,
        replace: bool,
        nearby: &mut Nearby<'_>,
    ) -> Result<Stamp, StorageError> {
        let state = self.lock(file);
        let own = self.path(file, Place::Own);
        let Entry { own: to, part: from, length, .. } = &self.entries[file];
        if state.place == Place::Part {
            let part = || self.path(file, Place::Part);
            let found = nearby.glance(from).map_err(|error| failure("can't read", part())(error))?;
            if found.map(|seen| seen.stamp.identity) != state.identity {
                return Err(mismatch("replaced by another file", part()));
            }
            if found.is_some_and(|seen| seen.stamp.size != *length) {
                // Data that was here before us may have been longer.
                let (open, _) = self.handle(file)?;
                let cut = open.set_len(*length).and_then(|()| open.sync_all());
                cut.map_err(|error| failure("can't write", part())(error))?;
            }
            nearby.rename(from, to, replace).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => StorageError::Exists { path: own.clone() },
                _ => failure("can't rename a file to", own.clone())(error),
            })?;
        }
        let found = nearby.glance(to).map_err(failure("can't read", own.clone()))?;
        let Some(stamp) = found.map(|seen| seen.stamp) else { return Err(mismatch("no such file", own)) };
        self.set(file, Place::Own, Some(stamp.identity), Some(stamp));
        Ok(stamp)
    }

    /// The path of a file below the root, by place.
    pub(super) fn relative(&self, file: usize, place: Place) -> &Path {
        if place == Place::Part { &self.entries[file].part } else { &self.entries[file].own }
    }

    /// For people: where the file is, or will be.
    /// Takes no lock.
    pub(super) fn path(&self, file: usize, place: Place) -> PathBuf {
        if file == self.spill() || place == Place::Spill {
            return self.spill.clone();
        }
        self.root.full(self.relative(file, place))
    }

    /// The file that really holds this file's bytes.
    pub(super) fn holder(&self, file: usize) -> usize {
        if self.place(file) == Place::Spill { self.spill() } else { file }
    }

    /// Reads a span whole.
    ///
    /// # Errors
    /// [`StorageError::Mismatch`] if the file is not the one that was looked at, is too short, or, being whole, has changed since.
    pub(super) fn read(&self, span: FileSpan, out: &mut [u8]) -> Result<(), StorageError> {
        match self.read_even_if_changed(span, out)? {
            None => Ok(()),
            Some(_) => Err(mismatch("changed since it was verified", self.path(span.file, Place::Own))),
        }
    }

    /// Reads the first bytes of a span, for one of several threads that read all of many pieces.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn read_ahead(
        &self,
        span: FileSpan,
        out: &mut [u8],
        recent: &mut Recent,
    ) -> Result<(), StorageError> {
        let state = self.lock(span.file);
        let holder = self.holder(span.file);
        let path = || self.path(span.file, state.place);
        let file = match recent.find(holder) {
            Some(file) => file,
            None => recent.keep(holder, self.handle(holder)?.0),
        };
        let mut offset = self.offset(span, holder);
        let mut rest = &mut *out;
        while !rest.is_empty() {
            match read_ahead(&file, offset, rest) {
                Ok(0) => return Err(mismatch("shorter than it was", path())),
                Ok(read) => {
                    rest = &mut rest[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure("can't read", path())(error)),
            }
        }
        let Some(whole) = state.whole else { return Ok(()) };
        let now = Stamp::of(&file).map_err(failure("can't read", path()))?;
        if (now.size, now.modified) == (whole.size, whole.modified) {
            return Ok(());
        }
        Err(mismatch("changed since it was verified", path()))
    }

    /// Reads a span whole. If it is of a whole file that has changed since it was verified, says how it looks now.
    pub(super) fn read_even_if_changed(
        &self,
        span: FileSpan,
        out: &mut [u8],
    ) -> Result<Option<Stamp>, StorageError> {
        let state = self.lock(span.file);
        if state.place == Place::Pad {
            out.fill(0);
            return Ok(None);
        }
        let (file, holder) = self.handle(span.file)?;
        let path = || self.path(span.file, state.place);
        file.read_exact_at(out, self.offset(span, holder)).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => mismatch("shorter than it was", path()),
            _ => failure("can't read", path())(error),
        })?;
        let Some(whole) = state.whole else { return Ok(None) };
        // After the read, not before: whoever changed these bytes before they were read also changed the stamp before this.
        let now = Stamp::of(&file).map_err(failure("can't read", path()))?;
        Ok(((now.size, now.modified) != (whole.size, whole.modified)).then_some(now))
    }

    /// The file that holds a span, if it is the one that was verified, and where in it the span begins. `None` also if a disk might have to be
    /// waited for. Never blocks.
    pub(super) fn unchanged(&self, span: FileSpan) -> Option<(OpenFile, u64)> {
        let (open, holder) = self.at_hand(span.file)?;
        self.is_unchanged(span.file, &open).then(|| (open, self.offset(span, holder)))
    }

    /// Reads a span whole, if the kernel has it in memory and its file is the one that was verified. Never blocks.
    pub(super) fn read_at_hand(&self, span: FileSpan, out: &mut [u8]) -> bool {
        if self.place(span.file) == Place::Pad {
            out.fill(0);
            return true;
        }
        let Some((open, holder)) = self.at_hand(span.file) else { return false };
        // As in `read_even_if_changed`, the look comes after the read.
        open.read_at_hand(out, self.offset(span, holder)) && self.is_unchanged(span.file, &open)
    }

    /// The file that holds this one's bytes, open, and its number. `None` if a disk might have to be waited for.
    fn at_hand(&self, file: usize) -> Option<(OpenFile, usize)> {
        let holder = self.holder(file);
        if let Some(open) = self.open.lock().unwrap().find(holder) {
            return Some((open, holder));
        }
        let state = self.lock(holder);
        if state.place != Place::Own {
            return None;
        }
        let (opened, seen) = self.root.file_at_hand(self.relative(holder, Place::Own))?;
        let opened = (state.identity == Some(seen.stamp.identity)).then(|| Arc::new(opened))?;
        Some((self.open.lock().unwrap().keep(holder, &opened, seen.device), holder))
    }

    /// Whether a file, if it is whole, looks as it did when it was verified.
    fn is_unchanged(&self, file: usize, open: &OpenFile) -> bool {
        let Some(whole) = self.lock(file).whole else { return true };
        let Ok(now) = rustix::fs::fstat(&open.file) else { return false };
        // What they are called and how wide they are differs between platforms.
        #[allow(clippy::unnecessary_cast)]
        let now = (now.st_size as u64, (now.st_mtime as i64, now.st_mtime_nsec as i64));
        now == (whole.size, whole.modified)
    }

    /// Writes a run of bytes into a file that is not whole. Padding goes nowhere.
    pub(super) fn write(&self, span: FileSpan, slices: &mut [IoSlice<'_>]) -> Result<(), StorageError> {
        if self.place(span.file) == Place::Pad {
            return Ok(());
        }
        let (file, holder) = self.handle(span.file)?;
        let _writing = self.writing[holder].lock().unwrap();
        write_all(&file, slices, self.offset(span, holder))
            .map_err(|error| failure("can't write", self.path(span.file, self.place(span.file)))(error))
    }

    /// The file, open, and its number, which for an unselected file is the spill file's. The spill file is made if need be.
    ///
    /// # Errors
    /// [`StorageError::Mismatch`] if it is gone or is another one.
    pub(super) fn handle(&self, file: usize) -> Result<(Arc<File>, usize), StorageError> {
        let holder = self.holder(file);
        if let Some(open) = self.open.lock().unwrap().find(holder) {
            return Ok((open.file, holder));
        }
        let state = self.lock(holder);
        let path = self.path(holder, state.place);
        let opened = match self.try_open(holder, state.place) {
            // Too many open files: ours that nobody uses just now are the first to go.
            Err(error) if matches!(error.raw_os_error(), Some(code) if is_fd_shortage(code)) => {
                self.open.lock().unwrap().files.clear();
                self.try_open(holder, state.place)
            }
            // We may have renamed it since the look at its place. That it is the same file is seen below.
            Err(error) if error.kind() == io::ErrorKind::NotFound && state.place == Place::Part => {
                self.try_open(holder, Place::Own)
            }
            opened => opened,
        };
        let opened = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => mismatch("no such file", path.clone()),
            _ => failure("can't open", path.clone())(error),
        })?;
        let (opened, seen) = opened;
        if state.identity.is_some_and(|known| known != seen.stamp.identity) {
            return Err(mismatch("replaced by another file", path));
        }
        let opened = Arc::new(opened);
        self.open.lock().unwrap().keep(holder, &opened, seen.device);
        Ok((opened, holder))
    }

    fn try_open(&self, file: usize, place: Place) -> io::Result<(File, Seen)> {
        match place {
            Place::Nowhere | Place::Pad => Err(io::ErrorKind::NotFound.into()),
            Place::Own => self.root.file(self.relative(file, place), Open::Read),
            Place::Part => self.root.file(self.relative(file, place), Open::Write),
            Place::Spill => {
                let opened = std::fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
                    .open(&self.spill)?;
                let seen = Seen::of(&opened)?;
                Ok((opened, seen))
            }
        }
    }

    fn offset(&self, span: FileSpan, holder: usize) -> u64 {
        if holder == span.file { span.offset } else { self.entries[span.file].start + span.offset }
    }

    fn lock(&self, file: usize) -> State {
        self.states.lock().unwrap()[file]
    }
}

/// Files that one thread has open, so that it need not ask for each part of one. The first that was opened is the first to go.
#[derive(Debug)]
pub(super) struct Recent {
    most: usize,
    open: VecDeque<(usize, Arc<File>)>,
}

impl Recent {
    pub(super) fn new(most: usize) -> Self {
        // A quarter of what it may be: all threads together keep no more than [`OPEN_FILES`], beside those that are open anyway.
        Self { most: (most / 4).max(1), open: VecDeque::new() }
    }

    fn find(&self, file: usize) -> Option<Arc<File>> {
        self.open.iter().find(|(number, _)| *number == file).map(|(_, open)| Arc::clone(open))
    }

    fn keep(&mut self, file: usize, open: Arc<File>) -> Arc<File> {
        self.open.truncate(self.most - 1);
        self.open.push_front((file, Arc::clone(&open)));
        open
    }
}

/// Open files, least recently used first to go.
#[derive(Debug, Default)]
struct OpenFiles {
    files: Vec<(usize, u64, OpenFile)>,
    uses: u64,
    /// File systems that were asked whether they have everything in memory, by device.
    on_memory: HashMap<u64, bool>,
}

#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    pub(super) file: Arc<File>,
    /// On a file system that has everything in memory.
    pub(super) on_memory: bool,
}

impl OpenFiles {
    fn find(&mut self, file: usize) -> Option<OpenFile> {
        self.uses += 1;
        let (_, last_use, open) = self.files.iter_mut().find(|(number, ..)| *number == file)?;
        *last_use = self.uses;
        Some(open.clone())
    }

    fn keep(&mut self, file: usize, open: &Arc<File>, device: u64) -> OpenFile {
        self.forget(file);
        if self.files.len() >= OPEN_FILES
            && let Some(oldest) = (0..self.files.len()).min_by_key(|&index| self.files[index].1)
        {
            self.files.swap_remove(oldest);
        }
        self.uses += 1;
        let on_memory = *self.on_memory.entry(device).or_insert_with(|| is_on_memory(open));
        let open = OpenFile { file: Arc::clone(open), on_memory };
        self.files.push((file, self.uses, open.clone()));
        open
    }

    fn forget(&mut self, file: usize) {
        self.files.retain(|(number, ..)| *number != file);
    }
}

fn write_all(file: &File, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    while !slices.is_empty() {
        let at_once = slices.len().min(SLICES_AT_ONCE);
        let wrote = match rustix::io::pwritev(file, &slices[..at_once], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(wrote) => wrote,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        offset += wrote as u64;
        IoSlice::advance_slices(&mut slices, wrote);
    }
    Ok(())
}

fn is_fd_shortage(code: i32) -> bool {
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].iter().any(|errno| errno.raw_os_error() == code)
}

/// The error for what the operating system said about a path.
pub(super) fn failure(action: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> StorageError {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StorageError::Full { path, shortage: None }
        }
        _ => StorageError::Io { action, path, source },
    }
}

pub(super) fn mismatch(problem: &str, path: PathBuf) -> StorageError {
    StorageError::Mismatch { path, problem: problem.to_owned() }
}

/// For each file the path of its unfinished form: `NAME.part` beside it; another name where that is too long, or taken by a file
/// or directory of the torrent itself.
fn part_names(paths: &[&Path]) -> Vec<PathBuf> {
    // Lower case: on a file system that ignores case, `A.PART` is taken by `a.part`.
    let fold = |path: &Path| path.as_os_str().as_bytes().to_ascii_lowercase();
    let mut taken: HashSet<Vec<u8>> = paths
        .iter()
        .flat_map(|path| path.ancestors())
        .filter(|path| *path != Path::new(""))
        .map(fold)
        .collect();
    let unfinished = |own: &Path| {
        (0_u32..)
            .map(|attempt| own.with_file_name(part_name(own, attempt)))
            .find(|part| taken.insert(fold(part)))
            .expect("there are more numbers than files")
    };
    paths.iter().copied().map(unfinished).collect()
}

/// Further attempts have a digest of the path in them, so that a torrent made to be tiresome can't make many files fight for few names.
fn part_name(own: &Path, attempt: u32) -> OsString {
    let mut suffix = String::from(".part");
    if attempt > 0 {
        let digest = Sha1::new()
            .chain_update(own.as_os_str().as_bytes())
            .chain_update(attempt.to_le_bytes())
            .finalize();
        suffix = digest[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .fold(String::from("."), |text, hex| text + &hex)
            + ".part";
    }
    let mut bytes = own.file_name().unwrap_or_default().as_bytes().to_vec();
    if bytes.len() + suffix.len() > NAME_MAX {
        let mut end = NAME_MAX - suffix.len();
        // Not through the middle of a character.
        while end > 0 && bytes[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        bytes.truncate(end);
    }
    bytes.extend_from_slice(suffix.as_bytes());
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
        part_names(&paths).into_iter().map(|path| path.into_os_string().into_string().unwrap()).collect()
    }

    #[test]
    fn an_unfinished_file_never_takes_the_place_of_another() {
        assert_eq!(names(&["t/a", "t/b"]), ["t/a.part", "t/b.part"]);
        for paths in [&["t/a", "t/a.part"][..], &["t/a", "t/A.PART/x"]] {
            let parts = names(paths);
            assert!(parts[0].starts_with("t/a.") && parts[0].ends_with(".part") && parts[0] != "t/a.part");
            assert_eq!(parts[1], format!("{}.part", paths[1]));
            assert_eq!(names(paths), parts, "the same every time");
        }
    }

    #[test]
    fn long_names_are_shortened_at_a_character_and_stay_apart() {
        let long = "ü".repeat(127);
        let parts = names(&[&format!("t/{long}1"), &format!("t/{long}2")]);
        assert_eq!(parts[0], format!("t/{}.part", "ü".repeat(125)));
        assert!(parts[1].starts_with(&format!("t/{}.", "ü".repeat(118))), "{}", parts[1]);
        assert!(parts.iter().all(|part| part.len() <= "t/".len() + NAME_MAX));
    }

    #[test]
    fn the_least_recently_used_file_is_closed_first() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut open = OpenFiles::default();
        for number in 0..OPEN_FILES {
            open.keep(number, &file, 0);
        }
        assert!(open.find(0).is_some());
        open.keep(OPEN_FILES, &file, 0);
        assert_eq!(open.files.len(), OPEN_FILES);
        assert!(open.find(0).is_some() && open.find(1).is_none());
    }
}
