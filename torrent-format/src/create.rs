//! Torrents made from files: a [`Builder`] says what is wanted, [`Builder::plan`] looks at what is there, [`Plan::hash`] reads it.
//!
//! The same input makes the same info hash everywhere: v1 files are in bytewise order of their joined paths (as mktorrent's), v2 and
//! hybrid ones in the order of the file tree (BEP 52, as libtorrent's), and nothing that depends on time or machine goes into the info
//! dictionary. A single file makes a torrent with `length`; a directory one with `files`, even if it holds only one. Where there is
//! not a byte to share, no torrent is made: others refuse it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::Metainfo;
use crate::metainfo::urls::{TRACKER_SCHEMES, WEB_SEED_SCHEMES, check_url};
use crate::metainfo::{Version, is_host};

mod error;
mod hashing;
mod info;
mod links;
mod piece_length;
mod plan;
mod walk;

pub use error::CreateError;
pub use piece_length::{
    MAX_AUTO_PIECE_LENGTH, MIN_AUTO_PIECE_LENGTH, MIN_V2_PIECE_LENGTH, PieceLength, auto_piece_length,
};
pub use plan::{Plan, PlannedFile};
pub use walk::{Patterns, SkipReason, Skipped, Symlinks, Walk};

/// What a torrent is to be made of, and with.
#[derive(Clone, Debug)]
pub struct Builder {
    /// The file or directory.
    pub path: PathBuf,
    /// Which form the torrent has.
    pub format: Format,
    /// How long a piece is.
    pub piece_length: PieceLength,
    /// Trackers in tiers.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds.
    pub web_seeds: Vec<String>,
    /// DHT nodes.
    pub nodes: Vec<(String, u16)>,
    /// Only peers from the trackers may be used (BEP 27).
    pub private: bool,
    /// Goes into the info dictionary, so that the same files make another torrent.
    pub source: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The torrent's name, if not that of the file or directory.
    pub name: Option<String>,
    /// The program that makes it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// Which files of a directory are taken.
    pub walk: Walk,
    /// How many threads hash; 0: one for each core.
    pub threads: usize,
}

/// Which form a torrent has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// BEP 3: for every client.
    V1,
    /// BEP 52: for clients that know it.
    V2,
    /// Both: the files are padded (BEP 47) so that they have the same pieces in both.
    #[default]
    Hybrid,
}

/// A torrent that has been made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The torrent.
    pub metainfo: Metainfo,
    /// The .torrent.
    pub bytes: Vec<u8>,
    /// What was there and was not taken.
    pub skipped: Vec<Skipped>,
}

impl Builder {
    /// A torrent of this file or directory, with nothing but what is needed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: Format::default(),
            piece_length: PieceLength::default(),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            private: false,
            source: None,
            comment: None,
            name: None,
            created_by: None,
            creation_date: None,
            walk: Walk::default(),
            threads: 0,
        }
    }

    /// Plans and hashes.
    ///
    /// # Errors
    /// As [`Builder::plan`] and [`Plan::hash`].
    pub fn build(self, progress: &(dyn Fn(u64) + Sync)) -> Result<Created, CreateError> {
        self.plan()?.hash(progress)
    }

    /// Finds the files and chooses the piece length. Reads no file.
    ///
    /// # Errors
    /// If there is nothing to share, or anything asked for can't be.
    pub fn plan(self) -> Result<Plan, CreateError> {
        self.check_addresses()?;
        let metadata = std::fs::metadata(&self.path).map_err(|source| self.io_error(source))?;
        let (found, skipped) = if metadata.is_dir() {
            walk::walk(&self.path, &self.walk)?
        } else if metadata.is_file() {
            (
                vec![walk::Found { source: self.path.clone(), relative: PathBuf::new(), link: None }],
                Vec::new(),
            )
        } else {
            return Err(CreateError::NotAFile { path: self.path });
        };
        let name = self.torrent_name()?;
        if found.is_empty() {
            return Err(CreateError::NoFiles { path: self.path });
        }
        let files = found.into_iter().map(|found| found.plan(&name)).collect::<Result<Vec<_>, _>>()?;
        Plan::new(self, name, metadata.is_file(), files, skipped)
    }

    fn torrent_name(&self) -> Result<String, CreateError> {
        let error =
            |problem: &str| CreateError::Name { path: self.path.clone(), problem: problem.to_owned() };
        let name = match (&self.name, self.path.file_name()) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) => name.to_str().ok_or_else(|| error("it is not UTF-8"))?.to_owned(),
            // `.` or `..`: by its real name.
            (None, None) => {
                let path = self.path.canonicalize().map_err(|source| self.io_error(source))?;
                let name = path.file_name().ok_or_else(|| error("it has none"))?;
                name.to_str().ok_or_else(|| error("it is not UTF-8"))?.to_owned()
            }
        };
        walk::check_names(&self.path, &[&name])?;
        Ok(name)
    }

    fn check_addresses(&self) -> Result<(), CreateError> {
        let trackers = self.trackers.iter().flatten().map(|url| (url, TRACKER_SCHEMES));
        let web_seeds = self.web_seeds.iter().map(|url| (url, WEB_SEED_SCHEMES));
        for (url, schemes) in trackers.chain(web_seeds) {
            check_url(url.as_bytes(), schemes)
                .map_err(|problem| CreateError::Url { url: url.clone(), problem })?;
        }
        match self.nodes.iter().find(|(host, port)| !is_host(host) || *port == 0) {
            Some((host, port)) => Err(CreateError::Node { host: host.clone(), port: *port }),
            None => Ok(()),
        }
    }

    fn io_error(&self, source: io::Error) -> CreateError {
        CreateError::Io { path: self.path.clone(), source }
    }
}

impl Format {
    /// As it is written in a torrent.
    pub fn version(self) -> Version {
        match self {
            Self::V1 => Version::V1,
            Self::V2 => Version::V2,
            Self::Hybrid => Version::Hybrid,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        })
    }
}

#[cfg(test)]
mod tests;
