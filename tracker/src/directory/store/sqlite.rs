//! The store that needs nothing else: a file of SQLite's, with its full-text index FTS5.
#![expect(clippy::disallowed_methods, reason = "a search has a time limit")]

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};
use torrent_format::{InfoHash, InfoHashV2};

use super::{Found, Loaded, SEARCH_LIMIT, Store, StoreError, hashes, join_tags};
use crate::directory::facts::Id;
use crate::directory::history::Sample;
use crate::directory::query::{Scope, Text};
use crate::directory::record::{Indexed, Record, Tag, parse_tags};

/// What to do to a database that has so many of them behind it.
const MIGRATIONS: &[&str] = &[include_str!("sqlite.sql")];

/// How long a connection waits for another one's writing.
const BUSY: Duration = Duration::from_secs(10);

/// SQLite's instructions between two looks at the clock: some tens of microseconds.
const LOOK: i32 = 1000;

/// Samples forgotten at a time: a few milliseconds.
const FORGET: u32 = 5000;

/// One connection.
pub(super) struct Sqlite(Connection);

/// `collect(id)`: all ids in one value, four bytes each. A search that matches a hundred thousand spends half of its time on handing over one row
/// after the other.
struct Collect;

impl Aggregate<Vec<u8>, Vec<u8>> for Collect {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn step(&self, context: &mut Context<'_>, ids: &mut Vec<u8>) -> rusqlite::Result<()> {
        ids.extend_from_slice(&context.get::<Id>(0)?.to_ne_bytes());
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, ids: Option<Vec<u8>>) -> rusqlite::Result<Vec<u8>> {
        Ok(ids.unwrap_or_default())
    }
}

/// Makes the file, or brings it up to date; it is this process's as long as the answer is held.
pub(super) fn prepare(path: &Path) -> Result<File, StoreError> {
    let named =
        |problem: &dyn std::fmt::Display| StoreError::Address(format!("{}: {problem}", path.display()));
    let lock_path = path.with_added_extension("lock");
    let lock = File::create(&lock_path).map_err(|error| named(&error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(StoreError::InUse(path.display().to_string())),
        Err(fs::TryLockError::Error(error)) => return Err(named(&error)),
    }
    let mut connection = connect(path)?;
    // Readers go on while something is written.
    connection.pragma_update(None, "journal_mode", "wal")?;
    let transaction = connection.transaction()?;
    let done: usize =
        transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? as usize;
    let Some(rest) = MIGRATIONS.get(done..) else {
        return Err(StoreError::TooNew(path.display().to_string()));
    };
    for migration in rest {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()?;
    Ok(lock)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    // Whatever is committed has been synced: what was acknowledged survives the machine.
    connection.pragma_update(None, "synchronous", "full")?;
    // 64 MiB of pages: the index of half a million torrents fits, and the rest is left to the system's cache.
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.create_aggregate_function("collect", 1, FunctionFlags::SQLITE_DIRECTONLY, Collect)?;
    Ok(connection)
}

impl Sqlite {
    pub(super) fn connect(path: &Path) -> Result<Self, StoreError> {
        connect(path).map(Self)
    }

    /// The torrents that this FTS5 query matches, in order.
    fn matches(&mut self, query: &str) -> Result<Vec<Id>, StoreError> {
        let limit = Instant::now() + SEARCH_LIMIT;
        self.0.progress_handler(LOOK, Some(move || Instant::now() > limit))?;
        let found = (|| {
            let mut statement =
                self.0.prepare_cached("SELECT collect(rowid) FROM words WHERE words MATCH ?")?;
            statement.query_row([query], |row| {
                let (ids, _) = row.get_ref(0)?.as_blob()?.as_chunks();
                Ok(ids.iter().map(|&id| Id::from_ne_bytes(id)).collect::<Vec<_>>())
            })
        })();
        self.0.progress_handler(0, None::<fn() -> bool>)?;
        let mut found = found?;
        // The index gives them in order, though nothing promises it.
        if !found.is_sorted() {
            found.sort_unstable();
        }
        Ok(found)
    }
}

impl Store for Sqlite {
    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StoreError> {
        let mut statement =
            self.0.prepare("SELECT id, v1, v2, size, published, title_words FROM torrents ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let bytes = |at| row.get_ref(at).map(|value| value.as_blob().ok());
            let Some(hashes) = hashes(bytes(1)?, bytes(2)?) else { continue };
            each(Loaded {
                id: row.get(0)?,
                hashes,
                size: row.get::<_, i64>(3)?.cast_unsigned(),
                published: row.get::<_, i64>(4)?.cast_unsigned(),
                title_words: row.get(5)?,
            });
        }
        Ok(())
    }

    fn matching(&mut self, text: &Text, scope: Scope, tags: &[Tag]) -> Result<Found, StoreError> {
        Ok(match (text.fts5(scope, tags), text.negative_fts5()) {
            (Some(query), _) => Found::These(self.matches(&query)?),
            (None, Some(negative)) => Found::AllBut(self.matches(&negative)?),
            (None, None) => Found::All,
        })
    }

    fn records(&mut self, ids: &[Id]) -> Result<Vec<(Id, Record)>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT v1, v2, title, name, description, tags, size, files, published, owner FROM torrents WHERE id = ?",
        )?;
        let mut records = Vec::with_capacity(ids.len());
        for &id in ids {
            if let Some(record) = statement.query_row([id], record).optional()?.flatten() {
                records.push((id, record));
            }
        }
        Ok(records)
    }

    fn upload(&mut self, id: Id) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self.0.prepare_cached("SELECT bytes FROM uploads WHERE id = ?")?;
        Ok(statement.query_row([id], |row| row.get(0)).optional()?)
    }

    fn history(&mut self, id: Id, since: u32) -> Result<Vec<Sample>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT hour, seeders, leechers, completed FROM history WHERE id = ? AND hour >= ? ORDER BY hour",
        )?;
        let samples = statement.query_map([id, since], |row| {
            Ok(Sample {
                hour: row.get(0)?,
                seeders: row.get(1)?,
                leechers: row.get(2)?,
                completed: row.get(3)?,
            })
        })?;
        Ok(samples.collect::<Result<_, _>>()?)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        Ok(self.0.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        Ok(self.0.execute_batch("COMMIT")?)
    }

    fn rollback(&mut self) {
        // It fails if there is nothing left to be undone.
        let _ = self.0.execute_batch("ROLLBACK");
    }

    fn insert(&mut self, record: &Record, indexed: &Indexed, upload: &[u8]) -> Result<Id, StoreError> {
        self.0
            .prepare_cached(
                "INSERT INTO torrents
                 (v1, v2, title, name, description, tags, size, files, title_words, published, owner)
                 VALUES (:v1, :v2, :title, :name, :description, :tags, :size, :files, :words, :published, :owner)",
            )?
            .execute(named_params! {
                ":v1": record.hashes.v1().map(|InfoHash(bytes)| bytes),
                ":v2": record.hashes.v2().map(|InfoHashV2(bytes)| bytes),
                ":title": record.title,
                ":name": record.name,
                ":description": record.description,
                ":tags": join_tags(&record.tags),
                ":size": record.size.cast_signed(),
                ":files": record.files,
                ":words": indexed.title_words,
                ":published": record.published.cast_signed(),
                ":owner": record.owner,
            })?;
        let id = Id::try_from(self.0.last_insert_rowid())
            .map_err(|_| StoreError::Address("the directory is full".into()))?;
        self.0
            .prepare_cached("INSERT INTO uploads (id, bytes) VALUES (?, ?)")?
            .execute(params![id, upload])?;
        self.0
            .prepare_cached("INSERT INTO words (rowid, title, files, tags) VALUES (?, ?, ?, ?)")?
            .execute(params![id, indexed.title.join(" "), indexed.files.join(" "), indexed.tags.join(" ")])?;
        Ok(id)
    }

    fn remove(&mut self, id: Id) -> Result<(), StoreError> {
        for table in ["torrents WHERE id", "uploads WHERE id", "words WHERE rowid", "history WHERE id"] {
            self.0.prepare_cached(&format!("DELETE FROM {table} = ?"))?.execute([id])?;
        }
        Ok(())
    }

    fn sample(&mut self, samples: &[(Id, Sample)]) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(
            "INSERT OR REPLACE INTO history (id, hour, seeders, leechers, completed) VALUES (?, ?, ?, ?, ?)",
        )?;
        for (id, sample) in samples {
            statement.execute(params![id, sample.hour, sample.seeders, sample.leechers, sample.completed])?;
        }
        Ok(())
    }

    fn forget_samples(&mut self, before: u32) -> Result<bool, StoreError> {
        let mut statement = self.0.prepare_cached(
            "DELETE FROM history WHERE (id, hour) IN (SELECT id, hour FROM history WHERE hour < ? LIMIT ?)",
        )?;
        Ok(statement.execute([before, FORGET])? == FORGET as usize)
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Option<Record>> {
    let bytes = |at| row.get_ref(at).map(|value| value.as_blob().ok());
    let Some(hashes) = hashes(bytes(0)?, bytes(1)?) else { return Ok(None) };
    Ok(Some(Record {
        hashes,
        title: row.get(2)?,
        name: row.get(3)?,
        description: row.get(4)?,
        tags: parse_tags(&row.get::<_, String>(5)?).unwrap_or_default(),
        size: row.get::<_, i64>(6)?.cast_unsigned(),
        files: row.get(7)?,
        published: row.get::<_, i64>(8)?.cast_unsigned(),
        owner: row.get(9)?,
    }))
}
