//! Why no torrent is made.

use std::io;
use std::path::PathBuf;

use super::{Format, MIN_V2_PIECE_LENGTH};
use crate::layout::{LayoutError, MAX_PIECE_LENGTH};
use crate::metainfo::MetainfoError;

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
    /// A piece length that only v1 could have (BEP 52, "piece length").
    #[error(
        "a {format} torrent can't have pieces of {length} bytes: only of a power of two between \
         {MIN_V2_PIECE_LENGTH} and {MAX_PIECE_LENGTH}"
    )]
    PieceLength {
        /// The one asked for, in bytes.
        length: u32,
        /// The form asked for.
        format: Format,
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
