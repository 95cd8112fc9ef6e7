//! The payload on disk, read once and hashed piece by piece, on several threads.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom, Take};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sha1::{Digest as _, Sha1};

use crate::{FileSpan, Layout, PieceIndex};

/// The most bytes that are read at a time; there is one such buffer a thread.
const READ_LENGTH: u64 = 1 << 20;

/// About the most bytes that a thread takes on at a time: long enough for a disk to read ahead, short enough that all threads end at
/// about the same time.
const SHARE_LENGTH: u64 = 16 << 20;

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

/// Hashes every piece, on `threads` threads (0: one for each core), in no particular order. `on_piece` may end it early.
///
/// `sources` has an entry for each file of the layout.
pub(crate) fn hash_pieces(
    layout: &Layout,
    sources: &[Source],
    threads: usize,
    on_piece: &(dyn Fn(PieceIndex, Result<[u8; 20], Fault>) -> ControlFlow<()> + Sync),
) {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores() } else { threads } as u64;
    let share = (layout.total() / (threads * 8)).clamp(READ_LENGTH, SHARE_LENGTH);
    let pieces_a_share = (share / u64::from(layout.piece_length())).max(1) as u32;
    let shares = layout.piece_count().div_ceil(pieces_a_share);

    let next = AtomicU32::new(0);
    let stop = AtomicBool::new(false);
    let work = || {
        loop {
            let share = next.fetch_add(1, Ordering::Relaxed);
            if share >= shares {
                return;
            }
            let first = share * pieces_a_share;
            let last = first.saturating_add(pieces_a_share).min(layout.piece_count());
            let mut reader = Reader::new(layout, sources, first..last);
            for piece in (first..last).filter_map(|index| layout.piece(index)) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if on_piece(piece, reader.hash(piece)).is_break() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(u64::from(shares)) {
            scope.spawn(work);
        }
        work();
    });
}

/// Reads a run of pieces in order, each byte once.
struct Reader<'a> {
    layout: &'a Layout,
    sources: &'a [Source],
    /// Where the run ends in the payload: nothing behind it is read.
    end: u64,
    open: Option<Open>,
}

struct Open {
    file: usize,
    position: u64,
    data: BufReader<Take<File>>,
}

impl<'a> Reader<'a> {
    fn new(layout: &'a Layout, sources: &'a [Source], run: Range<u32>) -> Self {
        let end = layout.total().min(u64::from(run.end) * u64::from(layout.piece_length()));
        Self { layout, sources, end, open: None }
    }

    fn hash(&mut self, piece: PieceIndex) -> Result<[u8; 20], Fault> {
        let mut hasher = Sha1::new();
        for span in self.layout.spans(self.layout.piece_range(piece)) {
            self.feed(span, &mut hasher).map_err(|error| Fault { file: span.file, error })?;
        }
        Ok(hasher.finalize().into())
    }

    fn feed(&mut self, span: FileSpan, hasher: &mut Sha1) -> io::Result<()> {
        let Source::Disk(path) = &self.sources[span.file] else {
            feed_zeros(span.length, hasher);
            return Ok(());
        };
        let fits = |open: &Open| open.file == span.file && open.position == span.offset;
        let open = match self.open.take() {
            Some(open) if fits(&open) => open,
            _ => {
                let end = self.layout.file_range(span.file).end.min(self.end)
                    - self.layout.file_range(span.file).start;
                Open { file: span.file, position: span.offset, data: open_file(path, span.offset..end)? }
            }
        };
        let open = self.open.insert(open);
        let mut left = span.length;
        while left > 0 {
            let data = match open.data.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                data => data?,
            };
            if data.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let data = &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            hasher.update(data);
            let length = data.len();
            open.data.consume(length);
            open.position += length as u64;
            left -= length as u64;
        }
        Ok(())
    }
}

fn open_file(path: &PathBuf, range: Range<u64>) -> io::Result<BufReader<Take<File>>> {
    // Opening a FIFO would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(range.start))?;
    let length = range.end - range.start;
    Ok(BufReader::with_capacity(length.min(READ_LENGTH) as usize, file.take(length)))
}

fn feed_zeros(length: u64, hasher: &mut Sha1) {
    const ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
    let mut left = length;
    while left > 0 {
        let part = left.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..part as usize]);
        left -= part;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn hash_all(
        layout: &Layout,
        sources: &[Source],
        threads: usize,
    ) -> Vec<Result<[u8; 20], (usize, ErrorKind)>> {
        let found = Mutex::new(Vec::new());
        hash_pieces(layout, sources, threads, &|piece, hash| {
            found.lock().unwrap().push((piece, hash.map_err(|fault| (fault.file, fault.error.kind()))));
            ControlFlow::Continue(())
        });
        let mut found = found.into_inner().unwrap();
        found.sort_by_key(|(piece, _)| *piece);
        found.into_iter().map(|(_, hash)| hash).collect()
    }

    #[test]
    fn every_piece_is_hashed_whatever_the_cuts_and_the_threads() {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = fastrand::Rng::with_seed(7);
        for (piece_length, lengths) in [
            (1_000, vec![0, 1, 999, 0, 1_000, 2_500, 7]),
            (16_384, vec![5_000_000, 3, 0, 2_000_000]),
            (4 << 20, vec![9_000_000]),
        ] {
            let mut payload = Vec::new();
            let mut sources = Vec::new();
            for (i, &length) in lengths.iter().enumerate() {
                let mut content = vec![0; length as usize];
                if i == 2 {
                    sources.push(Source::Zeros);
                } else {
                    rng.fill(&mut content);
                    sources.push(Source::Disk(dir.path().join(i.to_string())));
                    std::fs::write(dir.path().join(i.to_string()), &content).unwrap();
                }
                payload.extend(content);
            }
            let layout = Layout::new(piece_length, lengths).unwrap();
            let expected: Vec<_> =
                payload.chunks(piece_length as usize).map(|piece| Ok(Sha1::digest(piece).into())).collect();
            for threads in [0, 1, 3] {
                assert_eq!(hash_all(&layout, &sources, threads), expected, "{piece_length} {threads}");
            }
        }
    }

    #[test]
    fn a_file_that_can_not_be_read_spoils_only_its_own_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| Source::Disk(dir.path().join(name));
        std::fs::write(dir.path().join("short"), [1; 15]).unwrap();
        std::fs::write(dir.path().join("whole"), [1; 10]).unwrap();
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        let layout = Layout::new(10, [20, 15, 10, 5]).unwrap();
        let sources = [path("short"), path("missing"), path("whole"), path("dir")];
        let one: [u8; 20] = Sha1::digest([1; 10]).into();
        let expected = [
            Ok(one),
            Err((0, ErrorKind::UnexpectedEof)),
            Err((1, ErrorKind::NotFound)),
            Err((1, ErrorKind::NotFound)),
            Err((3, ErrorKind::InvalidInput)),
        ];
        assert_eq!(hash_all(&layout, &sources, 1), expected);
    }

    #[test]
    fn it_can_be_ended_early() {
        let layout = Layout::new(1 << 20, [1 << 30]).unwrap();
        let seen = AtomicU32::new(0);
        hash_pieces(&layout, &[Source::Zeros], 1, &|_, _| {
            seen.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Break(())
        });
        assert_eq!(seen.into_inner(), 1);
    }
}
