//! What a restart believes: one append-only [`Journal`] per info hash and target directory, in the state directory.
//!
//! A record is `kind, length, payload, checksum`. A reader stops at the first record that is torn or altered and keeps what came
//! before it. That is safe because records only ever add trust: nothing that is written later takes a claim back. Where claims
//! have to be taken back (a file was found altered), a whole new journal replaces the old one by a rename.
//!
//! Order on disk: payload is synced before its `durable` record is written, and the journal is created and synced before any
//! payload file exists.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use torrent_format::{Bitfield, Info, InfoHash, Layout, PieceIndex};

use super::beneath::{Identity, Stamp};

/// Raised by every change that old readers would misread. A journal of another version is not read.
const VERSION: u16 = 1;
const MAGIC: [u8; 6] = *b"sprat\n";

/// The largest journal that is read. A torrent of 2^21 pieces, each written and made durable one at a time, stays far below it.
const MAX_JOURNAL: u64 = 256 * 1024 * 1024;

/// The longest beginning of a journal up to its header's end, in bytes: the longest path that the kernel takes (`PATH_MAX`), and less than
/// 100 bytes around it.
const MAX_HEADER: u64 = 4096 + 100;

/// Bytes in a header before the target directory.
const HEADER_NUMBERS: usize = 2 + 20 + 4 + 4;

const HEADER: u8 = 1;
const SELECTED: u8 = 2;
const WRITTEN: u8 = 3;
const DURABLE: u8 = 4;
const DURABLE_MAP: u8 = 5;
const FILE: u8 = 6;
const TOUCHED: u8 = 7;

/// What a journal is about; one that is about anything else is not believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Subject {
    pub(super) info_hash: InfoHash,
    pub(super) layout: Arc<Layout>,
    /// The target directory, with all links resolved.
    pub(super) dir: PathBuf,
}

impl Subject {
    pub(super) fn new(info: &Info, dir: PathBuf) -> Self {
        Self { info_hash: info.info_hash(), layout: Arc::clone(info.layout()), dir }
    }

    fn pieces(&self) -> u32 {
        self.layout.piece_count()
    }

    fn files(&self) -> usize {
        self.layout.file_count()
    }
}

/// What a journal says. File number `files` (one past the last) is the spill file, see [`super::files`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// Verified, and synced to disk.
    pub(super) durable: Bitfield,
    /// Verified and handed to the operating system: right unless the machine stopped.
    pub(super) written: Bitfield,
    /// One flag a file: whether its bytes go to a file of their own.
    pub(super) selected: Vec<bool>,
    /// One entry a file.
    pub(super) files: Vec<Option<FileRecord>>,
}

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileRecord {
    pub(super) stamp: Stamp,
    /// We have written to it since the stamp was taken: only its identity and that it did not shrink are still known.
    pub(super) touched: bool,
}

/// What was found at the journal's place.
#[derive(Debug)]
pub(super) enum Loaded {
    Nothing,
    /// A journal, but none that can be believed: empty, torn at its head, of another version or about something else.
    Unusable,
    Record(Record),
}

impl Record {
    pub(super) fn new(subject: &Subject) -> Self {
        Self {
            durable: Bitfield::none(subject.pieces()),
            written: Bitfield::none(subject.pieces()),
            selected: vec![false; subject.files()],
            files: vec![None; subject.files() + 1],
        }
    }
}

/// Reads a journal.
///
/// # Errors
/// Only if the operating system refuses to read it.
pub(super) fn load(path: &Path, subject: &Subject) -> io::Result<Loaded> {
    let file = match OpenOptions::new().read(true).custom_flags(no_follow()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Nothing),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_JOURNAL + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_JOURNAL {
        return Ok(Loaded::Unusable);
    }
    Ok(parse(&bytes, subject).map_or(Loaded::Unusable, Loaded::Record))
}

/// The target directory that a journal is about; `None` if it is none that can be read.
///
/// # Errors
/// Only if the operating system refuses to read it.
pub(super) fn target_directory(path: &Path) -> io::Result<Option<PathBuf>> {
    let file = OpenOptions::new().read(true).custom_flags(no_follow()).open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_HEADER).read_to_end(&mut bytes)?;
    let header = bytes.strip_prefix(&MAGIC).and_then(|mut rest| next_record(&mut rest));
    let header =
        header.filter(|(kind, header)| *kind == HEADER && header.starts_with(&VERSION.to_le_bytes()));
    let dir = header.and_then(|(_, header)| header.get(HEADER_NUMBERS..));
    Ok(dir.map(|dir| PathBuf::from(OsStr::from_bytes(dir))))
}

fn parse(bytes: &[u8], subject: &Subject) -> Option<Record> {
    let mut rest = bytes.strip_prefix(&MAGIC)?;
    if next_record(&mut rest)? != (HEADER, header(subject).as_slice()) {
        return None;
    }
    let mut record = Record::new(subject);
    while let Some((kind, payload)) = next_record(&mut rest) {
        if apply(&mut record, subject, kind, payload).is_none() {
            break;
        }
    }
    Some(record)
}

/// The next whole, unaltered record.
fn next_record<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (head, tail) = rest.split_first_chunk::<5>()?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let payload = tail.get(..length)?;
    let (sum, tail) = tail[length..].split_first_chunk::<4>()?;
    if checksum(head, payload) != *sum {
        return None;
    }
    *rest = tail;
    Some((head[0], payload))
}

fn apply(record: &mut Record, subject: &Subject, kind: u8, payload: &[u8]) -> Option<()> {
    match kind {
        SELECTED => {
            let flags = Bitfield::from_wire(payload, subject.files() as u32)?;
            record.selected = (0..subject.files()).map(|file| bit(flags.as_wire(), file)).collect();
        }
        WRITTEN | DURABLE => {
            let (pieces, []) = payload.as_chunks::<4>() else { return None };
            for piece in pieces {
                let piece = subject.layout.piece(u32::from_le_bytes(*piece))?;
                if kind == WRITTEN { &mut record.written } else { &mut record.durable }.set(piece);
            }
        }
        DURABLE_MAP => record.durable = Bitfield::from_wire(payload, subject.pieces())?,
        FILE => {
            let (file, stamp) = payload.split_first_chunk::<4>()?;
            let slot = record.files.get_mut(u32::from_le_bytes(*file) as usize)?;
            *slot = Some(FileRecord { stamp: decode_stamp(stamp)?, touched: false });
        }
        TOUCHED => {
            let index = u32::from_le_bytes(payload.try_into().ok()?);
            if let Some(file) = record.files.get_mut(index as usize)? {
                file.touched = true;
            }
        }
        _ => return None,
    }
    Some(())
}

fn bit(bytes: &[u8], index: usize) -> bool {
    bytes[index / 8] & (0x80 >> (index % 8)) != 0
}

/// A journal open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    file: Arc<File>,
    path: PathBuf,
}

impl Journal {
    /// Writes a new journal that says just this, durable, in place of an old one.
    pub(super) fn create(path: &Path, subject: &Subject, record: &Record) -> io::Result<Self> {
        let new = path.with_extension("new");
        let mut bytes = MAGIC.to_vec();
        encode(&mut bytes, HEADER, &header(subject));
        let mut flags = vec![0_u8; subject.files().div_ceil(8)];
        for (file, _) in record.selected.iter().enumerate().filter(|(_, selected)| **selected) {
            flags[file / 8] |= 0x80 >> (file % 8);
        }
        encode(&mut bytes, SELECTED, &flags);
        for (file, known) in record.files.iter().enumerate() {
            if let Some(known) = known {
                encode_file(&mut bytes, file, known.stamp);
                if known.touched {
                    encode(&mut bytes, TOUCHED, &(file as u32).to_le_bytes());
                }
            }
        }
        encode(&mut bytes, DURABLE_MAP, record.durable.as_wire());
        let written = subject.layout.pieces().filter(|&piece| record.written.has(piece));
        encode(&mut bytes, WRITTEN, &numbers(written));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(no_follow())
            .open(&new)?;
        let finished = file.write_all(&bytes).and_then(|()| file.sync_all());
        if let Err(error) = finished.and_then(|()| std::fs::rename(&new, path)) {
            let _ = std::fs::remove_file(&new);
            return Err(error);
        }
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { file: Arc::new(file), path: path.to_path_buf() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The piece is verified and handed to the operating system.
    pub(super) fn written(&mut self, piece: PieceIndex) -> io::Result<()> {
        self.append(WRITTEN, &piece.get().to_le_bytes())
    }

    /// These pieces are on the disk. Sync the file before anyone relies on this record.
    pub(super) fn durable(&mut self, pieces: &[PieceIndex]) -> io::Result<()> {
        self.append(DURABLE, &numbers(pieces.iter().copied()))
    }

    /// The file looks like this, and is not written to from here on unless [`Journal::touched`] says so.
    pub(super) fn stamps(&mut self, stamps: &[(usize, Stamp)]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for &(file, stamp) in stamps {
            encode_file(&mut bytes, file, stamp);
        }
        self.file.as_ref().write_all(&bytes)
    }

    /// These files are about to be written to.
    pub(super) fn touched(&mut self, files: &[usize]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for &file in files {
            encode(&mut bytes, TOUCHED, &(file as u32).to_le_bytes());
        }
        self.file.as_ref().write_all(&bytes)
    }

    /// For syncing while others append.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    fn append(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 9);
        encode(&mut bytes, kind, payload);
        self.file.as_ref().write_all(&bytes)
    }
}

fn header(subject: &Subject) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    bytes.extend_from_slice(subject.info_hash.as_bytes());
    bytes.extend_from_slice(&subject.pieces().to_le_bytes());
    bytes.extend_from_slice(&(subject.files() as u32).to_le_bytes());
    bytes.extend_from_slice(subject.dir.as_os_str().as_bytes());
    bytes
}

fn numbers(pieces: impl Iterator<Item = PieceIndex>) -> Vec<u8> {
    pieces.flat_map(|piece| piece.get().to_le_bytes()).collect()
}

fn encode_file(bytes: &mut Vec<u8>, file: usize, stamp: Stamp) {
    let mut payload = (file as u32).to_le_bytes().to_vec();
    payload.extend_from_slice(&stamp.identity.inode.to_le_bytes());
    payload.extend_from_slice(&stamp.size.to_le_bytes());
    for (seconds, nanos) in [stamp.identity.born, stamp.modified, stamp.changed] {
        payload.extend_from_slice(&seconds.to_le_bytes());
        payload.extend_from_slice(&nanos.to_le_bytes());
    }
    encode(bytes, FILE, &payload);
}

fn decode_stamp(bytes: &[u8]) -> Option<Stamp> {
    let (&[inode, size, ref times @ ..], []) = bytes.as_chunks::<8>() else { return None };
    let &[b, b_nanos, m, m_nanos, c, c_nanos] = times else { return None };
    let time = |seconds, nanos| (i64::from_le_bytes(seconds), i64::from_le_bytes(nanos));
    Some(Stamp {
        identity: Identity { inode: u64::from_le_bytes(inode), born: time(b, b_nanos) },
        size: u64::from_le_bytes(size),
        modified: time(m, m_nanos),
        changed: time(c, c_nanos),
    })
}

fn encode(bytes: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    let head = [kind, length[0], length[1], length[2], length[3]];
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&checksum(&head, payload));
}

fn checksum(head: &[u8], payload: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(payload);
    sum.finalize().to_le_bytes()
}

/// A record is ours: a link in its place is somebody else's doing.
fn no_follow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        let layout = Arc::new(Layout::new(10, [15, 100]).unwrap());
        Subject { info_hash: InfoHash::of_info(b"x"), layout, dir: "/data".into() }
    }

    fn stamp(number: i64) -> Stamp {
        let identity = Identity { inode: number as u64, born: (number, 1) };
        Stamp { identity, size: 100, modified: (number, 2), changed: (number, 3) }
    }

    /// A journal with a record of every kind, and what it says.
    fn written() -> (tempfile::TempDir, PathBuf, Record) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.journal");
        let subject = subject();
        let piece = |index| subject.layout.piece(index).unwrap();
        let mut record = Record::new(&subject);
        record.selected = vec![true, false];
        record.durable.set(piece(0));
        record.written.set(piece(1));
        record.files = vec![Some(FileRecord { stamp: stamp(1), touched: false }), None, None];
        let mut journal = Journal::create(&path, &subject, &record).unwrap();
        journal.touched(&[0]).unwrap();
        journal.written(piece(4)).unwrap();
        journal.durable(&[piece(1), piece(4)]).unwrap();
        journal.stamps(&[(0, stamp(2)), (2, stamp(3))]).unwrap();
        journal.touched(&[2]).unwrap();
        journal.written(piece(11)).unwrap();
        for index in [1, 4] {
            record.durable.set(piece(index));
        }
        for index in [4, 11] {
            record.written.set(piece(index));
        }
        record.files[0] = Some(FileRecord { stamp: stamp(2), touched: false });
        record.files[2] = Some(FileRecord { stamp: stamp(3), touched: true });
        (dir, path, record)
    }

    #[test]
    fn what_was_written_is_read() {
        let (_dir, path, record) = written();
        let Loaded::Record(read) = load(&path, &subject()).unwrap() else { panic!() };
        assert_eq!(read, record);
        assert_eq!(target_directory(&path).unwrap(), Some(PathBuf::from("/data")));
        assert!(matches!(load(&path.with_extension("other"), &subject()).unwrap(), Loaded::Nothing));
    }

    /// Every piece that `less` trusts, `more` trusts at least as much.
    fn claims_no_more(less: &Record, more: &Record) -> bool {
        subject().layout.pieces().all(|piece| {
            (!less.durable.has(piece) || more.durable.has(piece))
                && (!less.written.has(piece) || more.written.has(piece))
        })
    }

    #[test]
    fn no_cut_and_no_flipped_bit_adds_a_claim() {
        let (_dir, path, whole) = written();
        let bytes = std::fs::read(path).unwrap();
        for length in 0..bytes.len() {
            if let Some(read) = parse(&bytes[..length], &subject()) {
                assert!(claims_no_more(&read, &whole), "cut at {length}");
            }
        }
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let Some(read) = parse(&altered, &subject()) else { continue };
            assert!(claims_no_more(&read, &whole), "bit {bit}");
            // What follows the altered record is not read either: it may speak of what was altered.
            assert_ne!(read, whole, "bit {bit} is noticed");
        }
    }

    #[test]
    fn only_a_journal_about_the_same_thing_is_read() {
        let (_dir, path, _) = written();
        let right = subject();
        let layout = |length, files: &[u64]| Arc::new(Layout::new(length, files.iter().copied()).unwrap());
        for wrong in [
            Subject { info_hash: InfoHash::of_info(b"y"), ..right.clone() },
            Subject { dir: "/data2".into(), ..right.clone() },
            Subject { layout: layout(10, &[15, 110]), ..right.clone() },
            Subject { layout: layout(10, &[115]), ..right.clone() },
        ] {
            assert!(matches!(load(&path, &wrong).unwrap(), Loaded::Unusable), "{wrong:?}");
        }
    }

    #[test]
    fn a_version_from_the_future_is_not_read() {
        let mut bytes = MAGIC.to_vec();
        let mut newer = header(&subject());
        newer[0] += 1;
        encode(&mut bytes, HEADER, &newer);
        assert_eq!(parse(&bytes, &subject()), None);
    }

    #[test]
    fn numbers_beyond_the_torrent_end_the_reading() {
        let mut good = MAGIC.to_vec();
        encode(&mut good, HEADER, &header(&subject()));
        for (kind, payload) in [
            (WRITTEN, 12_u32.to_le_bytes().to_vec()),
            (DURABLE, vec![0; 5]),
            (DURABLE_MAP, vec![0xff; 2]),
            (SELECTED, vec![0xff]),
            (TOUCHED, 3_u32.to_le_bytes().to_vec()),
            (FILE, vec![0; 30]),
            (0, Vec::new()),
            (99, Vec::new()),
        ] {
            let mut bytes = good.clone();
            encode(&mut bytes, kind, &payload);
            encode(&mut bytes, WRITTEN, &1_u32.to_le_bytes());
            assert_eq!(parse(&bytes, &subject()), Some(Record::new(&subject())), "kind {kind}");
        }
        // A length that leads far beyond the end.
        let mut bytes = good.clone();
        bytes.extend_from_slice(&[WRITTEN, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        assert_eq!(parse(&bytes, &subject()), Some(Record::new(&subject())));
    }

    #[test]
    fn a_new_journal_replaces_the_old_one_whole() {
        let (_dir, path, record) = written();
        let mut less = record.clone();
        less.durable = Bitfield::none(12);
        Journal::create(&path, &subject(), &less).unwrap();
        let Loaded::Record(read) = load(&path, &subject()).unwrap() else { panic!() };
        assert_eq!(read, less);
        assert!(!path.with_extension("new").exists());
    }
}
