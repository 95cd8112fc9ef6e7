#![expect(clippy::disallowed_methods, reason = "how old a record is, only the clock tells")]
//! Records of directories that are gone for good.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::journal;
use super::lock::RecordPaths;

/// How long a record is kept after its directory was last worked on, if the directory is gone. A disk that is not plugged in looks gone too.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// Entries of the state directory that are looked at in one go.
const LOOK_AT: usize = 1_000;

/// Removes old records whose target directory is not there any more. Best effort: what can't be removed now is met again.
pub(super) fn remove_old_records(records: &Path) {
    if let Some(limit) = SystemTime::now().checked_sub(KEEP)
        && let Err(error) = remove_older(records, limit)
    {
        tracing::debug!("can't look for old records in {}: {error}", records.display());
    }
}

fn remove_older(records: &Path, limit: SystemTime) -> io::Result<()> {
    for entry in std::fs::read_dir(records)?.take(LOOK_AT) {
        let entry = entry?;
        let path = entry.path();
        let is_old = || entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|time| time < limit);
        if path.extension().is_some_and(|it| it == "journal") && is_old() && is_gone(&path) {
            let paths = RecordPaths::of_journal(&path);
            // Whoever works on it will want it.
            let Ok(Some(_lock)) = paths.lock() else { continue };
            tracing::debug!("{} speaks of a directory that is gone: it is removed", path.display());
            std::fs::remove_file(&paths.journal)?;
            let _ = std::fs::remove_file(&paths.spill);
        }
    }
    Ok(())
}

/// Whether the directory that a journal is about is not there. Not if anything else is wrong with it, or with the journal.
fn is_gone(journal: &Path) -> bool {
    let dir = journal::target_directory(journal);
    let Ok(Some(dir)) = dir else { return false };
    std::fs::symlink_metadata(dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use torrent_format::{InfoHash, Layout};

    use super::super::journal::{Journal, Record, Subject};
    use super::*;

    #[test]
    fn only_old_records_of_directories_that_are_gone_are_removed() {
        let (state, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let gone = there.path().join("gone");
        let layout = Arc::new(Layout::new(10, [15]).unwrap());
        let make = |name: &[u8], dir: &Path| {
            let info_hash = InfoHash::of_info(name);
            let subject = Subject { info_hash, layout: Arc::clone(&layout), dir: dir.to_owned() };
            let paths = RecordPaths::new(state.path(), info_hash, dir);
            drop(paths.lock().unwrap());
            Journal::create(&paths.journal, &subject, &Record::new(&subject)).unwrap();
            std::fs::write(&paths.spill, b"x").unwrap();
            paths
        };
        let [kept, stale, new, held] = [(b"1", there.path()), (b"2", &gone), (b"3", &gone), (b"4", &gone)]
            .map(|(name, dir)| make(name, dir));
        let records = kept.journal.parent().unwrap();
        let damaged = records.join("damaged.journal");
        std::fs::write(&damaged, b"sprat\nand then nothing of sense").unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        for journal in [&kept.journal, &stale.journal, &held.journal, &damaged] {
            File::options().write(true).open(journal).unwrap().set_modified(long_ago).unwrap();
        }
        let lock = held.lock().unwrap();
        remove_old_records(records);
        assert!(!stale.journal.exists() && !stale.spill.exists());
        for left in
            [&kept.journal, &kept.spill, &new.journal, &new.spill, &held.journal, &held.spill, &damaged]
        {
            assert!(left.exists(), "{}", left.display());
        }
        drop(lock);
        remove_old_records(records);
        assert!(!held.journal.exists());
    }
}
