//! Where the record of one info hash and target directory lies, and the [`Lock`] that keeps a second process away from both.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use torrent_format::InfoHash;

/// The files that are kept for a torrent in a directory.
#[derive(Clone, Debug)]
pub(super) struct RecordPaths {
    pub(super) journal: PathBuf,
    pub(super) spill: PathBuf,
    lock: PathBuf,
}

impl RecordPaths {
    /// `dir`: the target directory with all links resolved.
    pub(super) fn new(state_dir: &Path, info_hash: InfoHash, dir: &Path) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let place = Sha1::digest(dir.as_os_str().as_bytes());
        let stem = format!("{}-{}", hex(info_hash.as_bytes()), hex(&place[..8]));
        Self::of_journal(&directory(state_dir).join(format!("{stem}.journal")))
    }

    /// The files beside a journal.
    pub(super) fn of_journal(journal: &Path) -> Self {
        Self {
            journal: journal.to_path_buf(),
            spill: journal.with_extension("spill"),
            lock: journal.with_extension("lock"),
        }
    }

    /// Takes the lock; `None` if another process has it.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        if let Some(parent) = self.lock.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
                .open(&self.lock)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever had it before may have removed the file between our opening and our locking it: then what we locked has no
            // name any more, and the next process would lock another one.
            let ours = file.metadata()?;
            match std::fs::metadata(&self.lock) {
                Ok(there) if (there.ino(), there.dev()) == (ours.ino(), ours.dev()) => {
                    return Ok(Some(Lock { _file: file, path: self.lock.clone() }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Where all records lie below the state directory.
fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("records")
}

/// Held as long as it lives. The kernel lets go of it however the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the file is closed: only the holder may take the name away.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_nothing_left_behind() {
        let state = tempfile::tempdir().unwrap();
        let paths = RecordPaths::new(state.path(), InfoHash::of_info(b"x"), Path::new("/data"));
        let held = paths.lock().unwrap().expect("it is free");
        assert!(paths.lock().unwrap().is_none());
        let other = RecordPaths::new(state.path(), InfoHash::of_info(b"x"), Path::new("/elsewhere"));
        drop(other.lock().unwrap().expect("another directory, another lock"));
        drop(held);
        assert_eq!(std::fs::read_dir(state.path().join("records")).unwrap().count(), 0);
        assert!(paths.lock().unwrap().is_some());
    }
}
