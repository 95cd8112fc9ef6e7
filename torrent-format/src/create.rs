//! Torrents made from files: a [`Builder`] says what is wanted, [`Builder::plan`] looks at what is there, [`Plan::hash`] reads it.
//!
//! The same input makes the same info hash everywhere: files are in bytewise order of their joined paths (as mktorrent's), and
//! nothing that depends on time or machine goes into the info dictionary. A single file makes a torrent with `length`; a
//! directory one with `files`, even if it holds only one. Where there is not a byte to share, no torrent is made: others refuse it.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde::Serialize;
use serde_bytes::Bytes;

use crate::layout::LayoutError;
use crate::lint::{self, Lint};
use crate::metainfo::urls::{TRACKER_SCHEMES, WEB_SEED_SCHEMES, check_url};
use crate::metainfo::{MetainfoError, encode, is_host};
use crate::pieces::{Source, hash_pieces};
use crate::{Info, Layout, Metainfo, SafePath};

mod walk;

pub use walk::{Patterns, SkipReason, Skipped, Symlinks, Walk};

/// The shortest piece length that is chosen, in bytes.
pub const MIN_AUTO_PIECE_LENGTH: u32 = 16 * 1024;

/// The longest piece length that is chosen, in bytes.
pub const MAX_AUTO_PIECE_LENGTH: u32 = 16 * 1024 * 1024;

/// The most pieces that the chosen piece length makes, as long as it is not [`MAX_AUTO_PIECE_LENGTH`].
const AUTO_PIECES: u64 = 2048;

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
#[non_exhaustive]
pub enum Format {
    /// BEP 3.
    #[default]
    V1,
}

/// How long a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PieceLength {
    /// By the rule of [`auto_piece_length`].
    #[default]
    Auto,
    /// This many bytes.
    Exactly(u32),
}

/// What is to be hashed.
#[derive(Clone, Debug)]
pub struct Plan {
    builder: Builder,
    name: String,
    single_file: bool,
    files: Vec<PlannedFile>,
    layout: Layout,
    skipped: Vec<Skipped>,
}

/// A file that is to be hashed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedFile {
    /// Where it is.
    pub source: PathBuf,
    /// Its path in the torrent, which begins with the torrent's name.
    pub path: SafePath,
    /// Bytes.
    pub length: u64,
    modified: Option<SystemTime>,
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

/// Why no torrent is made. Each names the path or text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The operating system refuses.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither a file nor a directory.
    #[error("{} is neither a file nor a directory", path.display())]
    NotAFile {
        /// What.
        path: PathBuf,
    },
    /// No file, or none that is not hidden or excluded.
    #[error("{} holds no file that could go into a torrent", path.display())]
    NoFiles {
        /// Which directory.
        path: PathBuf,
    },
    /// Not a byte.
    #[error("{} is empty: there is nothing to share", path.display())]
    Empty {
        /// Which file or directory.
        path: PathBuf,
    },
    /// A name that others could not save as it is.
    #[error("the name of {} can't go into a torrent: {problem}", path.display())]
    Name {
        /// Which file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// A pattern that can't be read.
    #[error("bad pattern `{pattern}`: {problem}")]
    Pattern {
        /// Which.
        pattern: String,
        /// Why.
        problem: String,
    },
    /// A tracker or web seed that nobody could use.
    #[error("`{url}` {problem}")]
    Url {
        /// Which.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A DHT node that nobody could use.
    #[error("`{host}:{port}` is no DHT node: it takes a host and a port")]
    Node {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// Sizes out of bounds.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// A file was written to meanwhile.
    #[error("{} changed while it was being hashed", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The result is not one that we would read ourselves: too many files or pieces.
    #[error("the torrent could not be read again: {0}")]
    Unreadable(#[from] MetainfoError),
}

/// The piece length for a payload of `total` bytes: the smallest power of two that makes at most 2,048 pieces (so 1,025 to 2,048),
/// but no less than 16 KiB and no more than 16 MiB.
pub fn auto_piece_length(total: u64) -> u32 {
    let least = total.div_ceil(AUTO_PIECES).min(u64::from(MAX_AUTO_PIECE_LENGTH)) as u32;
    least.next_power_of_two().max(MIN_AUTO_PIECE_LENGTH)
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
            (vec![walk::Found { source: self.path.clone(), relative: PathBuf::new() }], Vec::new())
        } else {
            return Err(CreateError::NotAFile { path: self.path });
        };
        let name = self.torrent_name()?;
        if found.is_empty() {
            return Err(CreateError::NoFiles { path: self.path });
        }
        let mut files = found.into_iter().map(|found| found.plan(&name)).collect::<Result<Vec<_>, _>>()?;
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));

        let total = files
            .iter()
            .try_fold(0_u64, |total, file| total.checked_add(file.length))
            .ok_or(LayoutError::TooLong)?;
        if total == 0 {
            return Err(CreateError::Empty { path: self.path });
        }
        let piece_length = match self.piece_length {
            PieceLength::Auto => auto_piece_length(total),
            PieceLength::Exactly(length) => length,
        };
        let layout = Layout::new(u64::from(piece_length), files.iter().map(|file| file.length))?;
        Ok(Plan { builder: self, name, single_file: metadata.is_file(), files, layout, skipped })
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

impl Plan {
    /// The torrent's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files in their order.
    pub fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    /// What is there and is not taken.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// How the files divide into pieces.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What is odd about the torrent to be.
    pub fn lints(&self) -> Vec<Lint> {
        let has_tracker = self.builder.trackers.iter().any(|tier| !tier.is_empty());
        let paths = self.files.iter().map(|file| file.path.as_str());
        lint::check(self.builder.private, has_tracker, self.layout.piece_length(), paths)
    }

    /// Reads every byte, once. `progress` is told how many bytes have been hashed, from any of the threads.
    ///
    /// # Errors
    /// If a file can't be read or is not what it was when planned, or the torrent is larger than one that we would read.
    pub fn hash(self, progress: &(dyn Fn(u64) + Sync)) -> Result<Created, CreateError> {
        let hashes = self.hash_files(progress)?;
        let info = Info::from_bytes(&self.info_bytes(&hashes))?;
        let Builder { trackers, web_seeds, nodes, comment, created_by, creation_date, .. } = self.builder;
        let trackers = trackers.into_iter().filter(|tier| !tier.is_empty()).collect();
        let metainfo = Metainfo {
            trackers,
            web_seeds,
            nodes,
            comment,
            created_by,
            creation_date,
            ..Metainfo::new(info)
        };
        let bytes = metainfo.to_bytes();
        Metainfo::from_bytes(&bytes)?;
        Ok(Created { metainfo, bytes, skipped: self.skipped })
    }

    /// The SHA-1 of every piece, end to end.
    fn hash_files(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<u8>, CreateError> {
        let sources: Vec<_> = self.files.iter().map(|file| Source::Disk(file.source.clone())).collect();
        let done = AtomicU64::new(0);
        let result = Mutex::new(Ok(vec![[0; 20]; self.layout.piece_count() as usize]));
        hash_pieces(&self.layout, &sources, self.builder.threads, &|piece, hash| {
            let Ok(mut result) = result.lock() else { return ControlFlow::Break(()) };
            match (&mut *result, hash) {
                (Ok(hashes), Ok(hash)) => hashes[piece.as_usize()] = hash,
                (Ok(_), Err(fault)) => {
                    let path = self.files[fault.file].source.clone();
                    *result = Err(match fault.error.kind() {
                        io::ErrorKind::UnexpectedEof => CreateError::Changed { path },
                        _ => CreateError::Io { path, source: fault.error },
                    });
                    return ControlFlow::Break(());
                }
                (Err(_), _) => return ControlFlow::Break(()),
            }
            drop(result);
            let size = u64::from(self.layout.piece_size(piece));
            progress(done.fetch_add(size, Ordering::Relaxed) + size);
            ControlFlow::Continue(())
        });
        let hashes = result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)?;
        // A file that grew, or was written to in place, hashed without an error.
        match self.files.iter().find(|file| file.has_changed()) {
            Some(file) => Err(CreateError::Changed { path: file.source.clone() }),
            None => Ok(hashes.into_flattened()),
        }
    }

    fn info_bytes(&self, hashes: &[u8]) -> Vec<u8> {
        let entry = |file: &PlannedFile| FileEntry {
            length: file.length,
            path: file.path.elements().skip(1).map(str::to_owned).collect(),
        };
        encode(&InfoEntry {
            files: (!self.single_file).then(|| self.files.iter().map(entry).collect()),
            length: self.single_file.then(|| self.layout.total()),
            name: &self.name,
            piece_length: self.layout.piece_length(),
            pieces: Bytes::new(hashes),
            private: self.builder.private.then_some(1),
            source: self.builder.source.as_deref(),
        })
    }
}

impl PlannedFile {
    fn has_changed(&self) -> bool {
        std::fs::metadata(&self.source)
            .map_or(true, |now| now.len() != self.length || now.modified().ok() != self.modified)
    }
}

impl walk::Found {
    fn plan(self, name: &str) -> Result<PlannedFile, CreateError> {
        let names = self.relative.iter().map(|name| {
            name.to_str().ok_or_else(|| CreateError::Name {
                path: self.source.clone(),
                problem: "it is not UTF-8".to_owned(),
            })
        });
        let names = std::iter::once(Ok(name)).chain(names).collect::<Result<Vec<_>, _>>()?;
        let path = walk::check_names(&self.source, &names)?;
        let metadata = std::fs::metadata(&self.source)
            .map_err(|source| CreateError::Io { path: self.source.clone(), source })?;
        Ok(PlannedFile {
            source: self.source,
            path,
            length: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

/// The info dictionary; serde_bencode sorts the keys and leaves out what is `None`.
#[derive(Serialize)]
struct InfoEntry<'a> {
    files: Option<Vec<FileEntry>>,
    length: Option<u64>,
    name: &'a str,
    #[serde(rename = "piece length")]
    piece_length: u32,
    pieces: &'a Bytes,
    private: Option<u8>,
    source: Option<&'a str>,
}

#[derive(Serialize)]
struct FileEntry {
    length: u64,
    path: Vec<String>,
}

#[cfg(test)]
mod tests;
