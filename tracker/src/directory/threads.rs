//! The threads of a directory: some that read, one that writes, one that looks after it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use torrent_format::InfoHash;

use super::DirectoryConfig;
use super::catalogue::{Directory, Inserted, Read, Upload, Write};
use super::facts::{Facts, Id};
use super::history::{HOURS, hour_of};
use super::pulse::Meter;
use super::store::{Address, Hold, Store, StoreError};
use crate::config::ServeError;
use crate::core::Tracker;
use crate::tokens::Tokens;

/// Searches that wait. At a millisecond each, the last one waits a quarter of a second; the next is told to come again.
const MAX_READS: usize = 256;

/// Uploads that wait: at 10 MiB, which nearly none has, 640 MiB.
const MAX_WRITES: usize = 64;

/// Most that is written and synced in one go: whoever publishes alone waits for one sync, and so do many at once.
const BATCH: usize = 64;

/// Samples written in one go: a few milliseconds, so that nobody who publishes waits for a whole hour's.
const SAMPLES: usize = 2000;

/// How soon a thread sees that all come to their end.
const LOOK: Duration = Duration::from_millis(100);

/// How often what announces have changed is taken in when nobody searches, so that it does not pile up.
const REFRESH: Duration = Duration::from_millis(250);

/// Fewest threads that read: one slow search does not keep the others waiting.
const MIN_READERS: usize = 2;

/// What a thread does until the flag is set.
pub(crate) type Work = Box<dyn FnOnce(Arc<AtomicBool>) + Send>;

/// Threads, with their names.
pub(crate) type Plan = Vec<(&'static str, Work)>;

/// Opens the directory, and says what its threads have to do.
pub(crate) fn plan(
    tracker: Arc<Tracker>,
    config: &DirectoryConfig,
    store: &Address,
    tokens: Tokens,
    readers: usize,
    meter: Meter,
) -> Result<(Arc<Directory>, Plan), ServeError> {
    let failed = |error: StoreError| ServeError::Configuration(error.to_string());
    let hold = store.prepare().map_err(failed)?;
    let mut writer = store.connect().map_err(failed)?;
    let mut facts = Facts::default();
    writer
        .load(&mut |it| facts.insert(it.id, it.hashes, it.size, it.published, it.title_words))
        .map_err(failed)?;
    let facts = Arc::new(RwLock::new(facts));
    tracker.set_directory(facts.clone());

    let (reads, reads_received) = sync_channel(MAX_READS);
    let (writes, writes_received) = sync_channel(MAX_WRITES);
    let directory = Arc::new(Directory::new(tracker, config, facts, tokens, reads, writes));
    let reads_received = Arc::new(Mutex::new(reads_received));
    let mut work: Plan = Vec::new();
    for _ in 0..readers.max(MIN_READERS) {
        let (reads, mut store) = (reads_received.clone(), store.connect().map_err(failed)?);
        work.push(("tracker-search", Box::new(move |stopped| read(&reads, &mut *store, &stopped))));
    }
    let of_writer = directory.clone();
    work.push((
        "tracker-publish",
        Box::new(move |stopped| write(&of_writer, &writes_received, writer, hold, &stopped)),
    ));
    let of_keeper = directory.clone();
    work.push(("tracker-pulse", Box::new(move |stopped| look_after(&of_keeper, &meter, &stopped))));
    Ok((directory, work))
}

fn read(reads: &Mutex<Receiver<Read>>, store: &mut dyn Store, stopped: &AtomicBool) {
    loop {
        let job = reads.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LOOK);
        match job {
            Ok(job) => job(store),
            Err(RecvTimeoutError::Timeout) if !stopped.load(Relaxed) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// `_hold` ends with it.
fn write(
    directory: &Directory,
    writes: &Receiver<Write>,
    mut store: Box<dyn Store>,
    _hold: Hold,
    stopped: &AtomicBool,
) {
    loop {
        match writes.recv_timeout(LOOK) {
            Ok(first) => write_batch(directory, &mut *store, gather(first, writes)),
            Err(RecvTimeoutError::Timeout) if !stopped.load(Relaxed) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What is written in one go. A removal ends it: whoever publishes the same torrent after it must not be told that it is there already.
fn gather(first: Write, writes: &Receiver<Write>) -> Vec<Write> {
    let mut batch = vec![first];
    while batch.len() < BATCH
        && !matches!(batch.last(), Some(Write::Remove(..)))
        && let Ok(next) = writes.try_recv()
    {
        batch.push(next);
    }
    batch
}

/// What is told once all is durable.
type Tell = Box<dyn FnOnce()>;

/// Writes all of this in one transaction; if that fails, one after the other.
fn write_batch(directory: &Directory, store: &mut dyn Store, mut batch: Vec<Write>) {
    while !batch.is_empty() {
        // Whoever fails is told why, and the others are tried again without it.
        let Err((at, error)) = write_all(directory, store, &mut batch) else { return };
        store.rollback();
        tracing::debug!(%error, "can't write to the directory");
        match batch.remove(at) {
            Write::Insert(_, answer) => drop(answer.send(Err(error.into()))),
            Write::Remove(_, _, answer) => drop(answer.send(Err(error.into()))),
            Write::Sample(_) | Write::Forget(_) => tracing::warn!(%error, "an hour of history is not kept"),
        }
    }
}

/// Writes all; an error says at which of them.
fn write_all(
    directory: &Directory,
    store: &mut dyn Store,
    batch: &mut Vec<Write>,
) -> Result<(), (usize, StoreError)> {
    let mut fresh: HashMap<InfoHash, Id> = HashMap::new();
    let mut ids = vec![None; batch.len()];
    store.begin().map_err(|error| (0, error))?;
    for (at, job) in batch.iter().enumerate() {
        let done = match job {
            Write::Insert(upload, _) => {
                insert(directory, store, upload, &mut fresh).map(|inserted| ids[at] = Some(inserted))
            }
            Write::Remove(id, ..) => store.remove(*id),
            Write::Sample(samples) => store.sample(samples),
            Write::Forget(before) => store.forget_samples(*before).map(drop),
        };
        done.map_err(|error| (at, error))?;
    }
    store.commit().map_err(|error| (batch.len() - 1, error))?;

    let mut facts = directory.facts_mut();
    let mut removed = Vec::new();
    let mut tell: Vec<Tell> = Vec::new();
    for (job, inserted) in batch.drain(..).zip(ids) {
        match (job, inserted) {
            (Write::Insert(upload, answer), Some(inserted)) => {
                if !inserted.is_duplicate {
                    let (record, words) = (&upload.record, upload.indexed.title_words);
                    facts.insert(inserted.id, record.hashes, record.size, record.published, words);
                    // It may have had a swarm before.
                    facts.set_live(inserted.id, directory.live(record.hashes).0);
                }
                tell.push(Box::new(move || drop(answer.send(Ok(inserted)))));
            }
            (Write::Remove(id, hashes, answer), _) => {
                facts.remove(id, hashes);
                tell.push(Box::new(move || drop(answer.send(Ok(())))));
                removed.extend(hashes.swarms());
            }
            _ => {}
        }
    }
    drop(facts);
    directory.tracker.drop_refused(&removed);
    tell.into_iter().for_each(|tell| tell());
    Ok(())
}

fn insert(
    directory: &Directory,
    store: &mut dyn Store,
    upload: &Upload,
    fresh: &mut HashMap<InfoHash, Id>,
) -> Result<Inserted, StoreError> {
    let hashes = upload.record.hashes;
    let known = directory.facts().find_any(hashes);
    if let Some(id) = known.or_else(|| hashes.swarms().find_map(|hash| fresh.get(&hash).copied())) {
        return Ok(Inserted { id, is_duplicate: true });
    }
    let id = store.insert(&upload.record, &upload.indexed, &upload.bytes)?;
    fresh.extend(hashes.swarms().map(|hash| (hash, id)));
    Ok(Inserted { id, is_duplicate: false })
}

/// Takes in what announces change, writes the hours down, and measures the tracker.
fn look_after(directory: &Directory, meter: &Meter, stopped: &AtomicBool) {
    let mut hour = hour_of(directory.now());
    while !stopped.load(Relaxed) {
        thread::park_timeout(REFRESH);
        directory.refresh();
        directory.pulses.beat(directory.tracker.clock.now(), meter, &directory.tracker);
        let now = hour_of(directory.now());
        if now > hour {
            hour = now;
            write_hour(directory, now);
        }
    }
}

pub(super) fn write_hour(directory: &Directory, hour: u32) {
    // The writer takes its time, and so may this.
    for samples in directory.sample(hour).chunks(SAMPLES) {
        if directory.writes.send(Write::Sample(samples.to_vec())).is_err() {
            return;
        }
    }
    let _ = directory.writes.send(Write::Forget(hour.saturating_sub(HOURS)));
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use torrent_format::InfoHashes;

    use super::*;

    #[test]
    fn nothing_that_follows_a_removal_is_written_with_it() {
        let (writes, received) = sync_channel(MAX_WRITES);
        let remove = || Write::Remove(1, InfoHashes::from(InfoHash([1; 20])), oneshot::channel().0);
        for job in [Write::Forget(2), remove(), Write::Forget(3), Write::Forget(4)] {
            writes.send(job).unwrap();
        }
        assert_eq!(gather(Write::Forget(1), &received).len(), 3);
        assert_eq!(gather(received.recv().unwrap(), &received).len(), 2);
    }
}
