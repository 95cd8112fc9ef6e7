//! Files below one directory and nowhere else: [`Beneath`] walks every path from an open directory and follows no symbolic link, so that
//! a link planted on the way, even while we run, leads nowhere. The kernel does so in one call where it knows how (openat2), else it is
//! done step by step.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
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

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Open {
    Read,
    Write,
    /// For writing, and it must not exist yet; directories on the way are made.
    Create,
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

    pub(super) fn file(&self, path: &Path, how: Open) -> io::Result<File> {
        // Without NONBLOCK, opening a FIFO that somebody put there would wait for its other end.
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let (flags, mode) = match how {
            Open::Read => (flags | OFlags::RDONLY, Mode::empty()),
            Open::Write => (flags | OFlags::RDWR, Mode::empty()),
            Open::Create => {
                (flags | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o666))
            }
        };
        let file = match self.open_below(path, flags, mode) {
            Err(error) if how == Open::Create && error.kind() == io::ErrorKind::NotFound => {
                drop(self.walk(path.parent().unwrap_or(Path::new("")), true)?);
                self.open_below(path, flags, mode)?
            }
            opened => opened?,
        };
        let file = File::from(file);
        if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
    }

    /// What is there, and can be read; `None` if nothing is.
    ///
    /// # Errors
    /// Also if something other than a regular file is there.
    pub(super) fn look(&self, path: &Path) -> io::Result<Option<Seen>> {
        // Before it is opened: opening a device may do things.
        match self.glance(path)? {
            None => Ok(None),
            Some(_) => Ok(Some(Seen::of(&self.file(path, Open::Read)?)?)),
        }
    }

    /// What is there, whether it can be read or not; `None` if nothing is.
    ///
    /// # Errors
    /// Also if something other than a regular file is there.
    pub(super) fn glance(&self, path: &Path) -> io::Result<Option<Seen>> {
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            _ => Err(error),
        };
        #[cfg(target_os = "linux")]
        {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = match self.open_below(path, flags, Mode::empty()) {
                Ok(found) => File::from(found),
                Err(error) => return missing(error),
            };
            let meta = file.metadata()?;
            if meta.is_file() { Ok(Some(Seen::from(&meta))) } else { Err(not_regular()) }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let (parent, name) = match self.parent(path, false) {
                Ok(found) => found,
                Err(error) => return missing(error),
            };
            match rustix::fs::statat(parent.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                    Seen::of(&self.file(path, Open::Read)?).map(Some)
                }
                Ok(_) => Err(not_regular()),
                Err(error) => missing(error.into()),
            }
        }
    }

    /// Renames within one directory. Unless `replace`, it is an error if the new name is taken.
    pub(super) fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        let (parent, old) = self.parent(from, false)?;
        let new = to.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        debug_assert_eq!(from.parent(), to.parent());
        if !replace {
            match rename_into_nothing(parent.fd(), old, new) {
                // Not every file system knows how.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                    if rustix::fs::statat(parent.fd(), new, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                }
                done => return Ok(done?),
            }
        }
        Ok(rustix::fs::renameat(parent.fd(), old, parent.fd(), new)?)
    }

    /// Makes durable which names the directory `path` (empty: the directory itself) holds.
    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let within = self.walk(path, false)?;
        // A descriptor of its own: syncing may need one that was opened for reading, which this is.
        Ok(rustix::fs::fsync(within.fd())?)
    }

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
        use rustix::fs::ResolveFlags;
        use rustix::io::Errno;
        if path.components().any(|component| !matches!(component, Component::Normal(_))) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.directory, path, flags, mode, resolve) {
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

    fn parent<'a>(&self, path: &'a Path, create: bool) -> io::Result<(Step<'_>, &'a std::ffi::OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.walk(path.parent().unwrap_or(Path::new("")), create)?, name))
    }

    fn walk(&self, path: &Path, create: bool) -> io::Result<Step<'_>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
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

enum Step<'a> {
    Root(&'a OwnedFd),
    Below(OwnedFd),
}

impl Step<'_> {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Root(fd) => fd.as_fd(),
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_into_nothing(
    parent: std::os::fd::BorrowedFd<'_>,
    old: &std::ffi::OsStr,
    new: &std::ffi::OsStr,
) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(parent, old, parent, new, RenameFlags::NOREPLACE)
}

/// Says what stands in the way where the plain error ("not a directory", "too many levels of symbolic links") would puzzle.
fn explain(
    error: rustix::io::Errno,
    parent: std::os::fd::BorrowedFd<'_>,
    name: &std::ffi::OsStr,
) -> io::Error {
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
        beneath.file(Path::new("a/b/c"), Open::Create).unwrap();
        assert!(dir.path().join("a/b/c").is_file());
        let again = beneath.file(Path::new("a/b/c"), Open::Create).unwrap_err();
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
            for how in [Open::Read, Open::Write, Open::Create] {
                beneath.file(Path::new(path), how).unwrap_err();
            }
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
        beneath.file(Path::new("a/b"), Open::Create).unwrap().set_len(5).unwrap();
        let path = Path::new("a/b");
        let (glance, look) = (beneath.glance(path).unwrap().unwrap(), beneath.look(path).unwrap().unwrap());
        assert_eq!((glance.stamp, glance.device, glance.stamp.size), (look.stamp, look.device, 5));
        for absent in ["a/c", "c/b"] {
            assert!(beneath.glance(Path::new(absent)).unwrap().is_none());
        }
        symlink("b", dir.path().join("a/link")).unwrap();
        symlink("a", dir.path().join("d")).unwrap();
        for linked in ["a/link", "d/b", "a/b/c"] {
            beneath.glance(Path::new(linked)).unwrap_err();
        }
    }

    #[test]
    fn names_that_climb_are_refused() {
        let (_dir, beneath) = beneath();
        for path in ["../x", "a/../../x", "/etc/passwd", "", ".."] {
            assert!(beneath.file(Path::new(path), Open::Create).is_err(), "{path}");
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
        let taken = beneath.rename(Path::new("old"), Path::new("new"), false).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        beneath.rename(Path::new("old"), Path::new("new"), true).unwrap();
        assert_eq!(std::fs::read(dir.path().join("new")).unwrap(), b"1");
    }
}
