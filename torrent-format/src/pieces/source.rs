//! Where the bytes of the files come from: read at any place, by several threads, each byte once.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Payload, cold};
use crate::FileSpan;

/// Where the bytes of a file come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// From here.
    Disk(PathBuf),
    /// It is a pad file: zeros.
    Zeros,
}

/// Why a piece could not be read.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Which file.
    pub(crate) file: usize,
    /// [`ErrorKind::UnexpectedEof`] if the file is too short.
    pub(crate) error: io::Error,
}

impl Payload for [Source] {
    type Fault = Fault;

    fn is_padding(&self, file: usize) -> bool {
        matches!(self[file], Source::Zeros)
    }

    fn reader(&self, open_files: usize) -> impl FnMut(FileSpan, &mut [u8]) -> Result<(), Fault> {
        let mut files = Files { most: open_files.max(1), open: VecDeque::new() };
        move |span, buffer| {
            let Source::Disk(path) = &self[span.file] else {
                buffer.fill(0);
                return Ok(());
            };
            files.read(path, span, buffer).map_err(|error| Fault { file: span.file, error })
        }
    }
}

/// The files that one thread has open.
struct Files {
    /// The most of them. Above it the one that was opened first is closed.
    most: usize,
    open: VecDeque<(usize, File)>,
}

impl Files {
    /// Fills `buffer` with the first bytes of the span.
    fn read(&mut self, path: &Path, span: FileSpan, buffer: &mut [u8]) -> io::Result<()> {
        if let Some((_, file)) = self.open.iter().find(|(number, _)| *number == span.file) {
            return fill(file, span.offset, buffer);
        }
        let file = open(path)?;
        fill(&file, span.offset, buffer)?;
        // A small file is done with.
        if (buffer.len() as u64) < span.length {
            self.open.truncate(self.most - 1);
            self.open.push_front((span.file, file));
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a FIFO would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(path)
}

fn fill(file: &File, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match cold::read(file, offset, buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
