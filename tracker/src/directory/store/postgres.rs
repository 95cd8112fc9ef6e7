//! The store for those who outgrow a file: PostgreSQL, with its own full-text index.
//!
//! The client blocks: the directory has threads of its own, and none of them runs tasks.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, NoTls, Row, Statement};
use torrent_format::{InfoHash, InfoHashV2};

use super::{Found, Loaded, SEARCH_LIMIT, Store, StoreError, hashes, join_tags};
use crate::directory::facts::Id;
use crate::directory::history::Sample;
use crate::directory::query::{Scope, Text};
use crate::directory::record::{Indexed, Record, Tag, parse_tags};

/// What to do to a database that has so many of them behind it.
const MIGRATIONS: &[&str] = &[include_str!("postgres.sql")];

/// The advisory lock of a directory: any number that nobody else is likely to use ("sprat" in ASCII).
const LOCK: i64 = 0x73_70_72_61_74;

/// A server takes a moment to see that a tracker that was killed is gone: two seconds are waited for that.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Samples forgotten at a time.
const FORGET: i64 = 5000;

/// One connection, made again if it is lost.
pub(super) struct Postgres {
    url: String,
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

/// Makes the tables, or brings them up to date; they are this process's as long as the answer is held.
pub(super) fn prepare(url: &str) -> Result<Client, StoreError> {
    let mut client = Client::connect(url, NoTls)?;
    let mut tries = 0;
    while !client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])?.get::<_, bool>(0) {
        tries += 1;
        if tries == TRIES {
            return Err(StoreError::InUse("the database".into()));
        }
        thread::sleep(PAUSE);
    }
    let mut transaction = client.transaction()?;
    transaction.batch_execute("CREATE TABLE IF NOT EXISTS migrations (done bigint NOT NULL)")?;
    let done: i64 = transaction.query_one("SELECT coalesce(max(done), 0) FROM migrations", &[])?.get(0);
    let Some(rest) = usize::try_from(done).ok().and_then(|done| MIGRATIONS.get(done..)) else {
        return Err(StoreError::TooNew("the database".into()));
    };
    for migration in rest {
        transaction.batch_execute(migration)?;
    }
    if !rest.is_empty() {
        transaction.execute("INSERT INTO migrations VALUES ($1)", &[&(MIGRATIONS.len() as i64)])?;
    }
    transaction.commit()?;
    Ok(client)
}

fn connect(url: &str) -> Result<Client, StoreError> {
    let mut client = Client::connect(url, NoTls)?;
    // What is acknowledged is durable, whatever the server's default is.
    client.batch_execute(&format!(
        "SET statement_timeout = {}; SET synchronous_commit = on",
        SEARCH_LIMIT.as_millis()
    ))?;
    Ok(client)
}

impl Postgres {
    pub(super) fn connect(url: &str) -> Result<Self, StoreError> {
        Ok(Self { url: url.to_owned(), client: connect(url)?, statements: HashMap::new() })
    }

    fn statement(&mut self, sql: &'static str) -> Result<Statement, StoreError> {
        if self.client.is_closed() {
            self.client = connect(&self.url)?;
            self.statements.clear();
        }
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    fn query(&mut self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let statement = self.statement(sql)?;
        Ok(self.client.query(&statement, values)?)
    }

    fn execute(&mut self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, StoreError> {
        let statement = self.statement(sql)?;
        Ok(self.client.execute(&statement, values)?)
    }
}

impl Store for Postgres {
    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StoreError> {
        let rows =
            self.query("SELECT id, v1, v2, size, published, title_words FROM torrents ORDER BY id", &[])?;
        for row in rows {
            let Some(hashes) = hashes(row.get(1), row.get(2)) else { continue };
            each(Loaded {
                id: row.get::<_, i32>(0).cast_unsigned(),
                hashes,
                size: row.get::<_, i64>(3).cast_unsigned(),
                published: row.get::<_, i64>(4).cast_unsigned(),
                title_words: u8::try_from(row.get::<_, i16>(5)).unwrap_or(u8::MAX),
            });
        }
        Ok(())
    }

    fn matching(&mut self, text: &Text, scope: Scope, tags: &[Tag]) -> Result<Found, StoreError> {
        let Some(query) = text.tsquery(scope, tags) else { return Ok(Found::All) };
        let rows = self.query("SELECT id FROM words WHERE words.words @@ $1::text::tsquery", &[&query])?;
        let mut ids: Vec<Id> = rows.iter().map(|row| row.get::<_, i32>(0).cast_unsigned()).collect();
        ids.sort_unstable();
        Ok(Found::These(ids))
    }

    fn records(&mut self, ids: &[Id]) -> Result<Vec<(Id, Record)>, StoreError> {
        let wanted: Vec<i32> = ids.iter().map(|id| id.cast_signed()).collect();
        let rows = self.query(
            "SELECT v1, v2, title, name, description, tags, size, files, published, owner, id
             FROM torrents WHERE id = ANY($1) ORDER BY array_position($1, id)",
            &[&wanted],
        )?;
        let records = rows.iter().filter_map(|row| {
            let record = Record {
                hashes: hashes(row.get(0), row.get(1))?,
                title: row.get(2),
                name: row.get(3),
                description: row.get(4),
                tags: parse_tags(row.get(5)).unwrap_or_default(),
                size: row.get::<_, i64>(6).cast_unsigned(),
                files: small(row.get(7)),
                published: row.get::<_, i64>(8).cast_unsigned(),
                owner: row.get(9),
            };
            Some((row.get::<_, i32>(10).cast_unsigned(), record))
        });
        Ok(records.collect())
    }

    fn upload(&mut self, id: Id) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.query("SELECT bytes FROM uploads WHERE id = $1", &[&id.cast_signed()])?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn history(&mut self, id: Id, since: u32) -> Result<Vec<Sample>, StoreError> {
        let rows = self.query(
            "SELECT hour, seeders, leechers, completed FROM history WHERE id = $1 AND hour >= $2 ORDER BY hour",
            &[&id.cast_signed(), &i64::from(since)],
        )?;
        let sample = |row: &Row| Sample {
            hour: small(row.get(0)),
            seeders: small(row.get(1)),
            leechers: small(row.get(2)),
            completed: small(row.get(3)),
        };
        Ok(rows.iter().map(sample).collect())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if self.client.is_closed() {
            self.client = connect(&self.url)?;
            self.statements.clear();
        }
        Ok(self.client.batch_execute("BEGIN")?)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        Ok(self.client.batch_execute("COMMIT")?)
    }

    fn rollback(&mut self) {
        // A connection that is lost has undone it.
        let _ = self.client.batch_execute("ROLLBACK");
    }

    fn insert(&mut self, record: &Record, indexed: &Indexed, upload: &[u8]) -> Result<Id, StoreError> {
        let v1 = record.hashes.v1().map(|InfoHash(bytes)| bytes.to_vec());
        let v2 = record.hashes.v2().map(|InfoHashV2(bytes)| bytes.to_vec());
        let rows = self.query(
            "INSERT INTO torrents (v1, v2, title, name, description, tags, size, files, title_words, published, owner)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
            &[
                &v1,
                &v2,
                &record.title,
                &record.name,
                &record.description,
                &join_tags(&record.tags),
                &record.size.cast_signed(),
                &i64::from(record.files),
                &i16::from(indexed.title_words),
                &record.published.cast_signed(),
                &record.owner,
            ],
        )?;
        let id: i32 = rows.first().map_or(0, |row| row.get(0));
        self.execute("INSERT INTO uploads (id, bytes) VALUES ($1, $2)", &[&id, &upload])?;
        self.execute(
            "INSERT INTO words (id, words) VALUES ($1, $2::text::tsvector)",
            &[&id, &tsvector(indexed)],
        )?;
        Ok(id.cast_unsigned())
    }

    fn remove(&mut self, id: Id) -> Result<(), StoreError> {
        self.execute("DELETE FROM torrents WHERE id = $1", &[&id.cast_signed()]).map(drop)
    }

    fn sample(&mut self, samples: &[(Id, Sample)]) -> Result<(), StoreError> {
        let column = |value: fn(&Sample) -> u32| {
            samples.iter().map(|(_, it)| i64::from(value(it))).collect::<Vec<_>>()
        };
        let ids: Vec<i32> = samples.iter().map(|(id, _)| id.cast_signed()).collect();
        // A torrent may have been removed meanwhile.
        self.execute(
            "INSERT INTO history (id, hour, seeders, leechers, completed)
             SELECT new.* FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
                 AS new (id, hour, seeders, leechers, completed) JOIN torrents USING (id)
             ON CONFLICT (id, hour) DO UPDATE SET
                 seeders = excluded.seeders, leechers = excluded.leechers, completed = excluded.completed",
            &[
                &ids,
                &column(|it| it.hour),
                &column(|it| it.seeders),
                &column(|it| it.leechers),
                &column(|it| it.completed),
            ],
        )
        .map(drop)
    }

    fn forget_samples(&mut self, before: u32) -> Result<bool, StoreError> {
        let done = self.execute(
            "DELETE FROM history WHERE ctid IN (SELECT ctid FROM history WHERE hour < $1 LIMIT $2)",
            &[&i64::from(before), &FORGET],
        )?;
        Ok(done == FORGET.cast_unsigned())
    }
}

/// Numbers are kept as wide as it takes to have no sign.
fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// The words with their places and weights, as PostgreSQL reads them. They are letters and digits, and tags' have an underscore:
/// nothing in them needs to be escaped.
fn tsvector(indexed: &Indexed) -> String {
    let weighted = [(&indexed.title, "A"), (&indexed.tags, "B"), (&indexed.files, "D")];
    let words = weighted.into_iter().flat_map(|(words, weight)| words.iter().map(move |word| (word, weight)));
    let mut text = String::new();
    for (place, (word, weight)) in words.enumerate() {
        // What is further back than PostgreSQL counts is where it stops counting.
        text += &format!("'{word}':{}{weight} ", (place + 1).min(16_383));
    }
    text
}
