//! What a directory does: [`Directory`].

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use torrent_format::{InfoHashes, Metainfo};

use super::facts::{Cursor, Facts, Filter, Id, Live, Matches, Sort, Window};
use super::history::{HOURS, Sample, hour_of};
use super::pulse::Pulses;
use super::query::{Scope as Words, Text};
use super::record::{Indexed, MAX_UPLOAD, Record, RecordError, Remarks, Tag};
use super::store::{Found, Store, StoreError};
use crate::core::Tracker;
use crate::tokens::{Scope, Token, Tokens};

/// What is asked of the threads that read.
pub(super) type Read = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// What is asked of the thread that writes.
pub(super) enum Write {
    Insert(Box<Upload>, oneshot::Sender<Result<Inserted, DirectoryError>>),
    Remove(Id, InfoHashes, oneshot::Sender<Result<(), DirectoryError>>),
    Sample(Vec<(Id, Sample)>),
    Forget(u32),
}

/// Why the directory does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("the directory is busy: try again in a moment")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("no such torrent is listed here")]
    Unknown,
}

/// A torrent that is to be listed.
pub(crate) struct Upload {
    pub(super) record: Record,
    pub(super) indexed: Indexed,
    pub(super) bytes: Vec<u8>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inserted {
    pub(crate) id: Id,
    /// It was there already, and stays as it was.
    pub(crate) is_duplicate: bool,
}

/// A search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) text: Text,
    pub(crate) tags: Vec<Tag>,
    pub(crate) sort: Sort,
    pub(crate) filter: Filter,
    pub(crate) window: Window,
}

/// A torrent in a list.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) id: Id,
    pub(crate) record: Record,
    pub(crate) live: Live,
    /// How often it was completed.
    pub(crate) completed: u32,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    pub(crate) listings: Vec<Listing>,
    pub(crate) total: usize,
    pub(crate) next: Option<Cursor>,
}

/// All of a torrent.
pub(crate) struct Whole {
    pub(crate) listing: Listing,
    /// What was uploaded.
    pub(crate) bytes: Vec<u8>,
    pub(crate) metainfo: Metainfo,
}

/// The directory of a tracker.
pub(crate) struct Directory {
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) open_publish: bool,
    pub(crate) public_url: Option<String>,
    pub(crate) pulses: Pulses,
    facts: Arc<RwLock<Facts>>,
    tokens: ArcSwap<Tokens>,
    pub(super) reads: SyncSender<Read>,
    pub(super) writes: SyncSender<Write>,
    /// What was last written of each torrent's history, of those that are or were alive.
    sampled: Mutex<HashMap<Id, Sample>>,
}

impl Directory {
    pub(super) fn new(
        tracker: Arc<Tracker>,
        config: &super::DirectoryConfig,
        facts: Arc<RwLock<Facts>>,
        tokens: Tokens,
        reads: SyncSender<Read>,
        writes: SyncSender<Write>,
    ) -> Self {
        let directory = Self {
            tracker,
            open_publish: config.open_publish,
            public_url: config.public_url.clone(),
            pulses: Pulses::default(),
            facts,
            tokens: ArcSwap::from_pointee(tokens),
            reads,
            writes,
            sampled: Mutex::default(),
        };
        directory.refresh_all();
        directory
    }

    pub(crate) fn facts(&self) -> RwLockReadGuard<'_, Facts> {
        self.facts.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn facts_mut(&self) -> RwLockWriteGuard<'_, Facts> {
        self.facts.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tokens(&self) -> Arc<Tokens> {
        self.tokens.load_full()
    }

    pub(crate) fn set_tokens(&self, tokens: Tokens) {
        self.tokens.store(Arc::new(tokens));
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let clock = self.tracker.clock;
        clock.epoch(clock.now()).as_secs()
    }

    /// Does this on a thread that may wait for a disk.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Self, &mut dyn Store) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let (answer, answered) = oneshot::channel();
        let directory = self.clone();
        let job: Read = Box::new(move |store| {
            // Whoever asked may have gone.
            if !answer.is_closed() {
                let _ = answer.send(job(&directory, store));
            }
        });
        match self.reads.try_send(job) {
            Ok(()) => answered.await.unwrap_or(Err(DirectoryError::Busy)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(DirectoryError::Busy),
        }
    }

    /// Lists a torrent. Once this has returned, it is durable.
    pub(crate) async fn insert(&self, upload: Upload) -> Result<Inserted, DirectoryError> {
        self.write(|answer| Write::Insert(Box::new(upload), answer)).await
    }

    /// Takes a torrent off the list.
    pub(crate) async fn remove(&self, id: Id, hashes: InfoHashes) -> Result<(), DirectoryError> {
        self.write(|answer| Write::Remove(id, hashes, answer)).await
    }

    async fn write<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, DirectoryError>>) -> Write,
    ) -> Result<T, DirectoryError> {
        let (answer, answered) = oneshot::channel();
        match self.writes.try_send(job(answer)) {
            Ok(()) => answered.await.unwrap_or(Err(DirectoryError::Busy)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(DirectoryError::Busy),
        }
    }

    /// What a search finds.
    pub(crate) fn search(&self, store: &mut dyn Store, search: &Search) -> Result<Results, DirectoryError> {
        self.refresh();
        if search.text.is_senseless {
            return Ok(Results::default());
        }
        if let Some(hashes) = search.text.hash {
            let id = self.facts().find_any(hashes);
            return self.page(store, search, &Found::These(id.into_iter().collect()), &[], search.sort);
        }
        let found = store.matching(&search.text, Words::All, &search.tags)?;
        // Without words nothing is more relevant than anything else: the newest are.
        let sort = match search.sort {
            Sort::Relevance if search.text.is_empty() => Sort::Date,
            sort => sort,
        };
        let by_title = match (&found, sort) {
            (Found::These(_), Sort::Relevance) => store.matching(&search.text, Words::Title, &search.tags)?,
            _ => Found::All,
        };
        let by_title = if let Found::These(ids) = by_title { ids } else { Vec::new() };
        self.page(store, search, &found, &by_title, sort)
    }

    fn page(
        &self,
        store: &mut dyn Store,
        search: &Search,
        found: &Found,
        by_title: &[Id],
        sort: Sort,
    ) -> Result<Results, DirectoryError> {
        let matches = match found {
            Found::All => Matches::All,
            Found::AllBut(ids) => Matches::AllBut(ids),
            Found::These(ids) => Matches::These { ids, by_title },
        };
        let page = self.facts().select(matches, sort, search.filter, search.window);
        let records = store.records(&page.ids)?;
        let listings = records.into_iter().map(|(id, record)| self.listing(id, record)).collect();
        Ok(Results { listings, total: page.total, next: page.next })
    }

    /// With how it is doing now.
    fn listing(&self, id: Id, record: Record) -> Listing {
        let (live, completed) = self.live(record.hashes);
        Listing { id, record, live, completed }
    }

    /// How it is doing, and how often it was completed. Clients of both versions are in both swarms of a hybrid: the larger one counts.
    pub(crate) fn live(&self, hashes: InfoHashes) -> (Live, u32) {
        let entries = hashes.swarms().map(|swarm| self.tracker.scrape_listed(&swarm));
        entries.fold((Live::default(), 0), |(live, completed), entry| {
            let of_this = Live { seeders: entry.complete, leechers: entry.incomplete };
            let larger = |live: Live| (u64::from(live.seeders) + u64::from(live.leechers), live.seeders);
            let live = if larger(of_this) > larger(live) { of_this } else { live };
            (live, completed.max(entry.downloaded))
        })
    }

    /// The torrent of these hashes.
    pub(crate) fn find(&self, store: &mut dyn Store, hashes: InfoHashes) -> Result<Listing, DirectoryError> {
        let id = self.facts().find_any(hashes).ok_or(DirectoryError::Unknown)?;
        self.listing_of(store, id)
    }

    pub(crate) fn listing_of(&self, store: &mut dyn Store, id: Id) -> Result<Listing, DirectoryError> {
        let record = store.records(&[id])?.pop();
        record.map(|(id, record)| self.listing(id, record)).ok_or(DirectoryError::Unknown)
    }

    /// The torrent of these hashes, with what was uploaded.
    pub(crate) fn whole(&self, store: &mut dyn Store, hashes: InfoHashes) -> Result<Whole, DirectoryError> {
        let listing = self.find(store, hashes)?;
        let bytes = store.upload(listing.id)?.ok_or(DirectoryError::Unknown)?;
        let metainfo = parse(&bytes)?;
        Ok(Whole { listing, bytes, metainfo })
    }

    /// How the torrent has been doing, up to now.
    pub(crate) fn history(
        &self,
        store: &mut dyn Store,
        listing: &Listing,
    ) -> Result<Vec<Sample>, DirectoryError> {
        let hour = hour_of(self.now());
        let mut samples = store.history(listing.id, hour.saturating_sub(HOURS))?;
        samples.push(Sample::new(hour, listing.live, listing.completed));
        Ok(samples)
    }

    /// What is listed of an upload.
    pub(crate) fn prepare(
        &self,
        bytes: Vec<u8>,
        remarks: &Remarks,
        owner: Option<&Token>,
    ) -> Result<Upload, DirectoryError> {
        let metainfo = parse(&bytes)?;
        let record = Record::new(&metainfo, remarks, self.now(), owner.map(|token| token.id.clone()))?;
        let indexed = record.indexed(&metainfo.info);
        Ok(Upload { record, indexed, bytes })
    }

    /// Whether the bearer of this token may remove it.
    pub(crate) fn may_remove(record: &Record, token: &Token) -> bool {
        token.scope == Scope::Admin || record.owner.as_ref() == Some(&token.id)
    }

    /// Takes in what announces have changed since the last time.
    pub(super) fn refresh(&self) {
        let mut changed = Vec::new();
        if !self.tracker.shards.take_changes(&mut changed) {
            return self.refresh_all();
        }
        if changed.is_empty() {
            return;
        }
        let facts = self.facts();
        for swarm in changed {
            if let Some(id) = facts.find(&swarm) {
                self.refresh_one(&facts, id);
            }
        }
    }

    fn refresh_all(&self) {
        let facts = self.facts();
        facts.swarms().for_each(|(_, id)| self.refresh_one(&facts, id));
    }

    fn refresh_one(&self, facts: &Facts, id: Id) {
        if let Some(hashes) = facts.hashes(id) {
            facts.set_live(id, self.live(hashes).0);
        }
    }

    /// What is to be written of the hour that has just begun.
    pub(super) fn sample(&self, hour: u32) -> Vec<(Id, Sample)> {
        self.refresh();
        let mut sampled = lock(&self.sampled);
        let facts = self.facts();
        let mut ids = facts.alive();
        // Those that are not alive any more.
        ids.extend(sampled.keys().filter(|&&id| facts.live(id) == Live::default()));
        let mut samples = Vec::new();
        for id in ids {
            let Some(hashes) = facts.hashes(id) else {
                sampled.remove(&id);
                continue;
            };
            let (live, completed) = self.live(hashes);
            let sample = Sample::new(hour, live, completed);
            if !sampled.get(&id).is_some_and(|before| sample.repeats(before)) {
                samples.push((id, sample));
            }
            if live == Live::default() {
                sampled.remove(&id)
            } else {
                sampled.insert(id, sample)
            };
        }
        samples
    }
}

fn parse(bytes: &[u8]) -> Result<Metainfo, RecordError> {
    if bytes.len() > MAX_UPLOAD {
        return Err(RecordError::Torrent(format!("a .torrent has at most {} MiB here", MAX_UPLOAD >> 20)));
    }
    Metainfo::from_bytes(bytes).map_err(|error| RecordError::Torrent(error.to_string()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
