//! Where the directory's torrents are kept: [`Store`], a narrow interface, and its two kinds, SQLite and PostgreSQL.
//!
//! A store keeps records, the uploaded bytes, an index of words and a history of numbers. It neither ranks nor filters.

mod postgres;
mod sqlite;

use std::path::PathBuf;
use std::time::Duration;

use torrent_format::{InfoHash, InfoHashV2, InfoHashes};

use super::facts::Id;
use super::history::Sample;
use super::query::{Scope, Text};
use super::record::{Indexed, Record, Tag};

/// How long a search may take. A hundred times as long as the slowest should: whatever takes longer only keeps others waiting.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);

/// Why a store does not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the search took too long: use fewer or longer words")]
    TooSlow,
    #[error("{0}: another tracker has this directory")]
    InUse(String),
    #[error("{0}: it was made by a newer version of this program")]
    TooNew(String),
    #[error("the directory's database: {0}")]
    Sqlite(rusqlite::Error),
    // Its own message says no more than that something failed.
    #[error("the directory's database: {}", reason(.0))]
    Postgres(::postgres::Error),
    #[error("{0}")]
    Address(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => Self::TooSlow,
            _ => Self::Sqlite(error),
        }
    }
}

impl From<::postgres::Error> for StoreError {
    fn from(error: ::postgres::Error) -> Self {
        match error.code() {
            Some(code) if *code == ::postgres::error::SqlState::QUERY_CANCELED => Self::TooSlow,
            _ => Self::Postgres(error),
        }
    }
}

fn reason(error: &::postgres::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Which torrents match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    All,
    /// All but these, in order.
    AllBut(Vec<Id>),
    /// These, in order.
    These(Vec<Id>),
}

/// What the memory of a directory needs of a torrent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    pub(crate) id: Id,
    pub(crate) hashes: InfoHashes,
    pub(crate) size: u64,
    pub(crate) published: u64,
    pub(crate) title_words: u8,
}

/// One connection to where torrents are kept. What is written between [`begin`](Self::begin) and [`commit`](Self::commit) is durable
/// once that has returned, or is not there.
pub(crate) trait Store: Send {
    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StoreError>;
    fn matching(&mut self, text: &Text, scope: Scope, tags: &[Tag]) -> Result<Found, StoreError>;
    /// In the order of the ids; those that are not there are left out.
    fn records(&mut self, ids: &[Id]) -> Result<Vec<(Id, Record)>, StoreError>;
    /// The bytes that were uploaded.
    fn upload(&mut self, id: Id) -> Result<Option<Vec<u8>>, StoreError>;
    /// From this hour on, in order.
    fn history(&mut self, id: Id, since: u32) -> Result<Vec<Sample>, StoreError>;

    fn begin(&mut self) -> Result<(), StoreError>;
    fn commit(&mut self) -> Result<(), StoreError>;
    fn rollback(&mut self);
    fn insert(&mut self, record: &Record, indexed: &Indexed, upload: &[u8]) -> Result<Id, StoreError>;
    fn remove(&mut self, id: Id) -> Result<(), StoreError>;
    fn sample(&mut self, samples: &[(Id, Sample)]) -> Result<(), StoreError>;
    /// Forgets what is older than this hour, a part of it at a time; says whether there may be more.
    fn forget_samples(&mut self, before: u32) -> Result<bool, StoreError>;
}

/// Which store: `--directory-db`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A file of SQLite's.
    Sqlite(PathBuf),
    /// A PostgreSQL database, as its clients write it: `postgres://USER:PASSWORD@HOST/DATABASE`.
    Postgres(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(url),
        }
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return match text.parse::<::postgres::Config>() {
                Ok(_) => Ok(Self::Postgres(text.to_owned())),
                Err(error) => Err(reason(&error)),
            };
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => {
                Ok(Self::Sqlite(path.strip_prefix("//").unwrap_or(path).into()))
            }
            _ => Err("postgres://USER@HOST/DATABASE, or sqlite:FILE".into()),
        }
    }
}

/// What is held while a directory is ours: nobody else is let in.
#[expect(dead_code, reason = "it is held, and not looked at")]
pub(crate) enum Hold {
    File(std::fs::File),
    Session(Box<::postgres::Client>),
}

impl Address {
    /// Makes or brings up to date what is kept there.
    pub(crate) fn prepare(&self) -> Result<Hold, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => Hold::File(sqlite::prepare(path)?),
            Self::Postgres(url) => Hold::Session(Box::new(postgres::prepare(url)?)),
        })
    }

    pub(crate) fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(sqlite::Sqlite::connect(path)?),
            Self::Postgres(url) => Box::new(postgres::Postgres::connect(url)?),
        })
    }
}

/// Of what a database has.
fn hashes(v1: Option<&[u8]>, v2: Option<&[u8]>) -> Option<InfoHashes> {
    let v1 = v1.and_then(|bytes| bytes.try_into().ok()).map(InfoHash);
    let v2 = v2.and_then(|bytes| bytes.try_into().ok()).map(InfoHashV2);
    InfoHashes::new(v1, v2)
}

fn join_tags(tags: &[Tag]) -> String {
    tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
