//! Files below one directory and nowhere else: [`Beneath`] walks every path from an open directory and follows no symbolic link, so that
//! a link planted on the way, even while we run, leads nowhere. The kernel does so in one call where it knows how (openat2), else it is
//! done step by step.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};

/// What tells whether a file is still the one that was looked at: which one it is, how long, and when it was last changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Stamp {
    pub(super) identity: Identity,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    /// Seconds and nanoseconds of the change of anything about the file (`ctime`), which can't be set back, unlike the time of
    /// modification.
    pub(super) changed: (i64, i64),
}

/// Which file it is. The inode alone does not tell: the number of a deleted file is soon given to a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Identity {
    pub(super) inode: u64,
    /// When it was made, seconds and nanoseconds; zero where the file system does not say.
    pub(super) born: (i64, i64),
}

/// A regular file that is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) stamp: Stamp,
    /// Bytes that it occupies.
    pub(super) allocated: u64,
    /// Its file system.
    pub(super) device: u64,
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Seen::of(file)?.stamp)
    }
}

impl Seen {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }
}

impl From<&Metadata> for Seen {
    fn from(meta: &Metadata) -> Self {
        let born = meta.created().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let born = born.map_or((0, 0), |since| (since.as_secs() as i64, i64::from(since.subsec_nanos())));
        let stamp = Stamp {
            identity: Identity { inode: meta.ino(), born },
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        };
        Self { stamp, allocated: meta.blocks().saturating_mul(512), device: meta.dev() }
    }
}

/// How a file that is there is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Open {
    Read,
    Write,
}

/// An open directory. Paths given to it are relative and made of plain names.
#[derive(Debug)]
pub(super) struct Beneath {
    directory: OwnedFd,
    path: PathBuf,
}

impl Beneath {
    /// Opens a directory that exists. The path to it is the user's own: links in it are followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { directory: rustix::fs::open(path, flags, Mode::empty())?, path: path.to_path_buf() })
    }

    /// Where `path` lies, for people.
    pub(super) fn full(&self, path: &Path) -> PathBuf {
        // Joining nothing would add a slash.
        if path == Path::new("") { self.path.clone() } else { self.path.join(path) }
    }

    /// Which file system the directory is on.
    pub(super) fn device(&self) -> io::Result<u64> {
        // What it is called differs between platforms, and so does its type.
        #[allow(clippy::unnecessary_cast)]
        Ok(rustix::fs::fstat(&self.directory)?.st_dev as u64)
    }

    /// How much room there is on it.
    pub(super) fn statvfs(&self) -> io::Result<rustix::fs::StatVfs> {
        Ok(rustix::fs::fstatvfs(&self.directory)?)
    }

    /// Asks the file system that holds the directory to make everything durable.
    #[cfg(target_os = "linux")]
    pub(super) fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.directory)?)
    }

    /// A regular file that is there, and what it looks like.
    pub(super) fn file(&self, path: &Path, how: Open) -> io::Result<(File, Seen)> {
        regular(self.open_below(path, how.flags(), Mode::empty())?)
    }

    /// The same if the kernel knows the way to it without asking a disk; `None` also if anything is wrong with it.
    #[cfg(target_os = "linux")]
    pub(super) fn file_at_hand(&self, path: &Path) -> Option<(File, Seen)> {
        if !is_plain(path) {
            return None;
        }
        let resolve = Self::RESOLVE | rustix::fs::ResolveFlags::CACHED;
        let opened =
            rustix::fs::openat2(&self.directory, path, Open::Read.flags(), Mode::empty(), resolve).ok()?;
        regular(opened).ok()
    }

    /// Not on this system.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn file_at_hand(&self, _path: &Path) -> Option<(File, Seen)> {
        None
    }

    /// A new file, to be written to; directories on the way are made. An error if something is there.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        let flags = Open::Write.flags() | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::from_raw_mode(0o666);
        let created = match self.open_below(path, flags, mode) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                drop(self.walk(path.parent().unwrap_or(Path::new("")), true)?);
                self.open_below(path, flags, mode)
            }
            created => created,
        };
        created.map(File::from)
    }

    /// For looks at many files, and their renaming.
    pub(super) fn nearby(&self) -> Nearby<'_> {
        Nearby { root: self, last: None }
    }

    /// What is there, and can be read; `None` if nothing is.
    ///
    /// # Errors
    /// Also if something other than a regular file is there.
    pub(super) fn look(&self, path: &Path) -> io::Result<Option<Seen>> {
        self.nearby().look(path)
    }

    /// Makes durable which names the directory `path` (empty: the directory itself) holds.
    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let within = self.walk(path, false)?;
        // Syncing needs a descriptor that was opened for reading.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::fsync(rustix::fs::openat(within.fd(), ".", flags, Mode::empty())?)?)
    }

    /// What the way to a file may not do.
    #[cfg(target_os = "linux")]
    const RESOLVE: rustix::fs::ResolveFlags = rustix::fs::ResolveFlags::BENEATH
        .union(rustix::fs::ResolveFlags::NO_SYMLINKS)
        .union(rustix::fs::ResolveFlags::NO_MAGICLINKS);

    /// Opens what is there. Where the system can be told to follow no link, by one call.
    fn open_below(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        match self.open_at_once(path, flags, mode)? {
            Some(opened) => Ok(opened),
            None => {
                let (parent, name) = self.parent(path, false)?;
                rustix::fs::openat(parent.fd(), name, flags, mode)
                    .map_err(|error| explain(error, parent.fd(), name))
            }
        }
    }

    /// `None`: it has to be tried step by step, if only to say what stands in the way.
    #[cfg(target_os = "linux")]
    fn open_at_once(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<Option<OwnedFd>> {
        use rustix::io::Errno;
        if !is_plain(path) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match rustix::fs::openat2(&self.directory, path, flags, mode, Self::RESOLVE) {
            Ok(opened) => Ok(Some(opened)),
            // A kernel before 5.6, or a sandbox that does not know the call; something on the way that is no directory.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn open_at_once(&self, _path: &Path, _flags: OFlags, _mode: Mode) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    fn parent<'a>(&self, path: &'a Path, create: bool) -> io::Result<(Step<'_>, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.walk(path.parent().unwrap_or(Path::new("")), create)?, name))
    }

    fn walk(&self, path: &Path, create: bool) -> io::Result<Step<'_>> {
        let flags = STEP | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = Step::Root(&self.directory);
        if path == Path::new("") {
            return Ok(at);
        }
        if !create && let Some(opened) = self.open_at_once(path, flags, Mode::empty())? {
            return Ok(Step::Below(opened));
        }
        for component in path.components() {
            let Component::Normal(name) = component else { return Err(io::ErrorKind::InvalidInput.into()) };
            let mut next = rustix::fs::openat(at.fd(), name, flags, Mode::empty());
            if create && matches!(next, Err(rustix::io::Errno::NOENT)) {
                match rustix::fs::mkdirat(at.fd(), name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                next = rustix::fs::openat(at.fd(), name, flags, Mode::empty());
            }
            at = Step::Below(next.map_err(|error| explain(error, at.fd(), name))?);
        }
        Ok(at)
    }
}

/// Looks at files below a directory, and renames them. It keeps the directory of the last one open, since the next is mostly beside it; so it is
/// for one round through many files, not to be kept.
#[derive(Debug)]
pub(super) struct Nearby<'a> {
    root: &'a Beneath,
    /// Its path; `None`: it is not there.
    last: Option<(PathBuf, Option<Step<'a>>)>,
}

impl<'a> Nearby<'a> {
    /// See [`Beneath::look`].
    pub(super) fn look(&mut self, path: &Path) -> io::Result<Option<Seen>> {
        // Before it is opened: opening a device may do things.
        match self.glance(path)? {
            None => Ok(None),
            Some(_) => self.root.file(path, Open::Read).map(|(_, seen)| Some(seen)),
        }
    }

    /// What is there, whether it can be read or not; `None` if nothing is.
    ///
    /// # Errors
    /// Also if something other than a regular file is there.
    pub(super) fn glance(&mut self, path: &Path) -> io::Result<Option<Seen>> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let Some(directory) = self.directory(path)? else { return Ok(None) };
        match glance_at(directory.fd(), name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            seen => seen.map(Some),
        }
    }

    /// Renames within one directory. Unless `replace`, it is an error if the new name is taken.
    pub(super) fn rename(&mut self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        debug_assert_eq!(from.parent(), to.parent());
        let (old, new) = from.file_name().zip(to.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
        let directory = self.directory(from)?.ok_or(io::ErrorKind::NotFound)?.fd();
        if !replace {
            match rename_into_nothing(directory, old, new) {
                // Not every file system knows how.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                    if rustix::fs::statat(directory, new, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                }
                done => return Ok(done?),
            }
        }
        Ok(rustix::fs::renameat(directory, old, directory, new)?)
    }

    /// The directory that holds `path`.
    fn directory(&mut self, path: &Path) -> io::Result<Option<&Step<'a>>> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let found = match self.root.walk(parent, false) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                found => Some(found?),
            };
            self.last = Some((parent.to_path_buf(), found));
        }
        Ok(self.last.as_ref().and_then(|(_, found)| found.as_ref()))
    }
}

#[derive(Debug)]
enum Step<'a> {
    Root(&'a OwnedFd),
    Below(OwnedFd),
}

impl Step<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => fd.as_fd(),
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

/// How a directory is opened on the way to something in it: to be let through is enough.
#[cfg(target_os = "linux")]
const STEP: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const STEP: OFlags = OFlags::RDONLY;

/// Nothing but names.
#[cfg(target_os = "linux")]
fn is_plain(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_)))
}

impl Open {
    fn flags(self) -> OFlags {
        // Without NONBLOCK, opening a FIFO that somebody put there would wait for its other end.
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags
            | match self {
                Self::Read => OFlags::RDONLY,
                Self::Write => OFlags::RDWR,
            }
    }
}

fn regular(opened: OwnedFd) -> io::Result<(File, Seen)> {
    let file = File::from(opened);
    let meta = file.metadata()?;
    if meta.is_file() { Ok((file, Seen::from(&meta))) } else { Err(not_regular()) }
}

/// What bears this name in this directory.
#[cfg(target_os = "linux")]
fn glance_at(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Seen> {
    use rustix::fs::StatxFlags;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let found = rustix::fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    if FileType::from_raw_mode(found.stx_mode.into()) != FileType::RegularFile {
        return Err(not_regular());
    }
    let time = |time: rustix::fs::StatxTimestamp| (time.tv_sec, i64::from(time.tv_nsec));
    let born = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    let stamp = Stamp {
        identity: Identity { inode: found.stx_ino, born: if born { time(found.stx_btime) } else { (0, 0) } },
        size: found.stx_size,
        modified: time(found.stx_mtime),
        changed: time(found.stx_ctime),
    };
    let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
    Ok(Seen { stamp, allocated: found.stx_blocks.saturating_mul(512), device })
}

/// What bears this name in this directory. Only an open file says when it was made.
#[cfg(not(target_os = "linux"))]
fn glance_at(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Seen> {
    let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(not_regular());
    }
    let opened = rustix::fs::openat(directory, name, Open::Read.flags(), Mode::empty())?;
    regular(opened).map(|(_, seen)| seen)
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_into_nothing(parent: BorrowedFd<'_>, old: &OsStr, new: &OsStr) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(parent, old, parent, new, RenameFlags::NOREPLACE)
}

/// Says what stands in the way where the plain error ("not a directory", "too many levels of symbolic links") would puzzle.
fn explain(error: rustix::io::Errno, parent: BorrowedFd<'_>, name: &OsStr) -> io::Error {
    if !matches!(error, rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) {
        return error.into();
    }
    let kind = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .map(|stat| FileType::from_raw_mode(stat.st_mode));
    let name = name.to_string_lossy();
    match kind {
        Ok(FileType::Symlink) => {
            io::Error::other(format!("{name:?} is a symbolic link, which is not followed"))
        }
        Ok(_) => io::Error::new(io::ErrorKind::NotADirectory, format!("{name:?} is not a directory")),
        Err(_) => error.into(),
    }
}

fn not_regular() -> io::Error {
    io::Error::other("what is there is not a regular file")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn beneath() -> (tempfile::TempDir, Beneath) {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        (dir, beneath)
    }

    #[test]
    fn directories_are_made_on_the_way_to_a_new_file() {
        let (dir, beneath) = beneath();
        beneath.create(Path::new("a/b/c")).unwrap();
        assert!(dir.path().join("a/b/c").is_file());
        let again = beneath.create(Path::new("a/b/c")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        beneath.sync_directory(Path::new("a/b")).unwrap();
        beneath.sync_directory(Path::new("")).unwrap();
    }

    #[test]
    fn no_link_is_followed_anywhere_on_the_way() {
        let (dir, beneath) = beneath();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("f"), b"theirs").unwrap();
        symlink(outside.path(), dir.path().join("d")).unwrap();
        symlink(outside.path().join("f"), dir.path().join("f")).unwrap();
        for path in ["d/f", "d/new", "f"] {
            for how in [Open::Read, Open::Write] {
                beneath.file(Path::new(path), how).unwrap_err();
            }
            beneath.create(Path::new(path)).unwrap_err();
            assert!(beneath.file_at_hand(Path::new(path)).is_none());
            beneath.look(Path::new(path)).unwrap_err();
        }
        let said = beneath.file(Path::new("d/f"), Open::Read).unwrap_err().to_string();
        assert_eq!(said, "\"d\" is a symbolic link, which is not followed");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_glance_needs_no_leave_to_read_and_sees_what_a_look_sees() {
        let (dir, beneath) = beneath();
        beneath.create(Path::new("a/b")).unwrap().set_len(5).unwrap();
        let path = Path::new("a/b");
        let mut nearby = beneath.nearby();
        let (glance, look) = (nearby.glance(path).unwrap().unwrap(), nearby.look(path).unwrap().unwrap());
        assert_eq!((glance.stamp, glance.device), (look.stamp, look.device));
        assert_eq!((glance.allocated, glance.stamp.size), (look.allocated, 5));
        for absent in ["a/c", "c/b"] {
            assert!(nearby.glance(Path::new(absent)).unwrap().is_none());
        }
        symlink("b", dir.path().join("a/link")).unwrap();
        symlink("a", dir.path().join("d")).unwrap();
        for linked in ["a/link", "d/b", "a/b/c"] {
            nearby.glance(Path::new(linked)).unwrap_err();
        }
    }

    #[test]
    fn names_that_climb_are_refused() {
        let (_dir, beneath) = beneath();
        for path in ["../x", "a/../../x", "/etc/passwd", "", ".."] {
            assert!(beneath.create(Path::new(path)).is_err(), "{path}");
            assert!(beneath.file_at_hand(Path::new(path)).is_none(), "{path}");
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let (dir, beneath) = beneath();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("p"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        for path in ["d", "p"] {
            beneath.file(Path::new(path), Open::Read).unwrap_err();
            let said = beneath.look(Path::new(path)).unwrap_err().to_string();
            assert_eq!(said, "what is there is not a regular file");
        }
    }

    #[test]
    fn a_taken_name_is_replaced_only_on_demand() {
        let (dir, beneath) = beneath();
        std::fs::write(dir.path().join("old"), b"1").unwrap();
        std::fs::write(dir.path().join("new"), b"2").unwrap();
        let mut nearby = beneath.nearby();
        let taken = nearby.rename(Path::new("old"), Path::new("new"), false).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        nearby.rename(Path::new("old"), Path::new("new"), true).unwrap();
        assert_eq!(std::fs::read(dir.path().join("new")).unwrap(), b"1");
    }
}
