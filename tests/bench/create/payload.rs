//! What torrents are made of: one large file, or a tree of many small ones. Seeded, so that every run has the same.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use harness::tree;

/// A payload, not yet written.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// Bytes of all files.
    pub(crate) size: u64,
    /// How many files; `None`: it is one file, not a tree.
    files: Option<u32>,
    /// With which all torrents of it are made.
    pub(crate) piece_length: u32,
}

impl Payload {
    pub(crate) fn file(size: u64, piece_length: u32) -> Self {
        Self { size, files: None, piece_length }
    }

    pub(crate) fn tree(size: u64, files: u32, piece_length: u32) -> Self {
        Self { size, files: Some(files), piece_length }
    }

    /// Where it is, or will be, below `work`.
    pub(crate) fn path(&self, work: &Path) -> PathBuf {
        work.join(if self.files.is_some() { "tree" } else { "file" })
    }

    /// Whether it is one file.
    pub(crate) fn is_file(&self) -> bool {
        self.files.is_none()
    }

    /// Writes it.
    pub(crate) fn write(&self, work: &Path) {
        let root = self.path(work);
        let Some(files) = self.files else {
            return tree::write_large(&root, 1, self.size);
        };
        tree::write_many(&root, 2, self.size, files);
    }

    /// Reads it all, so that it is in the page cache, if that is large enough.
    pub(crate) fn warm(&self, work: &Path) {
        let root = self.path(work);
        let mut buffer = vec![0; 1 << 20];
        for (name, length) in tree::listing(&root) {
            if length.is_none() {
                continue;
            }
            let path = if name.as_os_str().is_empty() { root.clone() } else { root.join(name) };
            let mut file = File::open(path).expect("it was just written");
            while file.read(&mut buffer).expect("it can be read") > 0 {}
        }
    }

    /// Takes it away.
    pub(crate) fn remove(&self, work: &Path) {
        let root = self.path(work);
        let removed = if self.is_file() { fs::remove_file(root) } else { fs::remove_dir_all(root) };
        removed.expect("what was written can be removed");
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, pieces) = (Size(self.size), Size(self.piece_length.into()));
        match self.files {
            None => write!(f, "a file of {size}, pieces of {pieces}"),
            Some(files) => write!(f, "a tree of {files} files, {size}, pieces of {pieces}"),
        }
    }
}

struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % (1 << 30) == 0 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}
