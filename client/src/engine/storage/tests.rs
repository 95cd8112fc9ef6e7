//! Storage as its driver sees it, on real files.

mod adopting;
mod direct;
mod faults;
mod resuming;
mod seeding;
mod stress;
mod versions;
mod writing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use torrent_format::metainfo::Version;
use torrent_format::{Bitfield, Info, PieceIndex};

use super::*;
use crate::engine::sample;

/// How long a thing may take that normally takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A torrent, its right payload, and directories of its own.
struct Case {
    info: Info,
    payload: Vec<u8>,
    dir: tempfile::TempDir,
    state: tempfile::TempDir,
}

/// An open storage, and what it says.
#[derive(Debug)]
struct Opened {
    storage: Storage,
    have: Bitfield,
    events: mpsc::UnboundedReceiver<StorageEvent>,
    pool: BufferPool,
    /// Bytes that were hashed at the start.
    hashed: u64,
}

impl Case {
    /// A v1 torrent named `t` with these files, below `t/`, full of noise.
    fn new(piece_length: usize, files: &[(&str, usize)]) -> Self {
        Self::of(Version::V1, piece_length, files)
    }

    fn of(version: Version, piece_length: usize, files: &[(&str, usize)]) -> Self {
        let mut noise = fastrand::Rng::with_seed(piece_length as u64);
        let files: Vec<(&str, Vec<u8>)> = files
            .iter()
            .map(|&(path, length)| (path, std::iter::repeat_with(|| noise.u8(..)).take(length).collect()))
            .collect();
        let info = sample::info(version, piece_length, &files);
        let payload = sample::payload(&info, &files);
        Self { info, payload, dir: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap() }
    }

    /// The torrent's own files.
    fn files(&self) -> Vec<usize> {
        (0..self.info.files().len()).filter(|&file| !self.info.files()[file].pad).collect()
    }

    fn options(&self) -> OpenStorage {
        OpenStorage {
            info: self.info.clone(),
            dir: self.dir.path().to_path_buf(),
            state_dir: self.state.path().to_path_buf(),
            access: Access::Download { force: false },
            check: Check::Needed,
            selected: Vec::new(),
            allocate: Allocate::Sparse,
            pool: BufferPool::new(4 << 20),
        }
    }

    fn seed(&self) -> OpenStorage {
        OpenStorage { access: Access::Seed, ..self.options() }
    }

    fn piece(&self, index: u32) -> PieceIndex {
        self.info.layout().piece(index).expect("a piece of the torrent")
    }

    fn pieces(&self) -> Vec<u32> {
        (0..self.info.layout().piece_count()).collect()
    }

    /// The right bytes of a piece.
    fn bytes(&self, piece: PieceIndex) -> &[u8] {
        let range = self.info.layout().piece_range(piece);
        &self.payload[range.start as usize..range.end as usize]
    }

    /// The right bytes of a file.
    fn file_bytes(&self, file: usize) -> &[u8] {
        let range = self.info.layout().file_range(file);
        &self.payload[range.start as usize..range.end as usize]
    }

    fn path(&self, file: usize) -> PathBuf {
        self.dir.path().join(self.info.files()[file].path.as_path())
    }

    fn part(&self, file: usize) -> PathBuf {
        let path = self.path(file);
        path.with_file_name(format!("{}.part", path.file_name().unwrap().to_str().unwrap()))
    }

    /// Puts a file's right bytes where it belongs.
    fn place(&self, file: usize) {
        self.place_bytes(file, self.file_bytes(file));
    }

    fn place_bytes(&self, file: usize, bytes: &[u8]) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn place_all(&self) {
        self.files().into_iter().for_each(|file| self.place(file));
    }

    fn journal(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.state.path().join("records")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|it| it == "journal")).expect("a journal")
    }

    /// Every file below the target directory and its content.
    fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        tree(self.dir.path())
    }

    /// The tree of a finished download.
    fn whole_tree(&self) -> BTreeMap<String, Vec<u8>> {
        let name = |file: usize| self.info.files()[file].path.as_path().to_str().unwrap().to_owned();
        self.files().into_iter().map(|file| (name(file), self.file_bytes(file).to_vec())).collect()
    }

    fn records(&self) -> Vec<String> {
        tree(&self.state.path().join("records")).into_keys().collect()
    }
}

fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(entry.path()).unwrap_or_default());
            }
        }
    }
    found
}

fn open(options: OpenStorage) -> Result<Opened, StorageError> {
    let (news, events) = mpsc::unbounded_channel();
    let pool = options.pool.clone();
    let mut hashed = 0;
    let (storage, have) = Storage::open(options, news, |progress| {
        hashed = progress.total;
        ControlFlow::Continue(())
    })?;
    Ok(Opened { storage, have, events, pool, hashed })
}

async fn patiently<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes far too long")
}

impl Opened {
    async fn event(&mut self) -> StorageEvent {
        patiently(self.events.recv()).await.expect("an event")
    }

    async fn write(&self, block: Block, bytes: &[u8]) {
        let mut buffer = patiently(self.pool.take(block.length)).await;
        buffer.bytes_mut().copy_from_slice(bytes);
        self.storage.write(block, buffer);
    }

    /// Writes and verifies a piece whose bytes are given; returns the verdict. News of files is dropped.
    async fn feed_bytes(&mut self, case: &Case, index: u32, bytes: &[u8], digests: bool) -> Verification {
        let piece = case.piece(index);
        for block in case.info.layout().blocks(piece) {
            self.write(block, &bytes[block.begin as usize..][..block.length as usize]).await;
        }
        self.storage.verify(piece, digests);
        loop {
            match self.event().await {
                StorageEvent::Verified(which, verdict) => {
                    assert_eq!(which, piece);
                    return verdict;
                }
                StorageEvent::FileDone { .. } | StorageEvent::NoRoom(_) | StorageEvent::Room => {}
                StorageEvent::Failed(error) => panic!("{error}"),
            }
        }
    }

    async fn feed(&mut self, case: &Case, indices: &[u32]) {
        for &index in indices {
            let verdict = self.feed_bytes(case, index, case.bytes(case.piece(index)), false).await;
            assert_eq!(verdict, Verification::Good(None), "piece {index}");
        }
    }

    /// Flushes and ends.
    async fn finish(self) {
        patiently(self.storage.flush()).await.unwrap();
        self.kill().await;
    }

    /// Ends without flushing, as a killed process does.
    async fn kill(self) {
        patiently(self.storage.close()).await;
    }

    fn had(&self) -> Vec<u32> {
        had(&self.have)
    }

    fn read(&self, index: u32, begin: u32, length: u32) -> Result<Vec<u8>, StorageError> {
        let mut out = Vec::new();
        self.storage.read_blocking(BlockRequest { index, begin, length }, &mut out).map(|()| out)
    }

    /// Every piece that it says it has reads back right.
    fn assert_honest(&self, case: &Case) {
        for index in self.had() {
            let right = case.bytes(case.piece(index));
            assert!(
                self.read(index, 0, right.len() as u32).unwrap() == right,
                "piece {index} reads back wrong"
            );
        }
    }
}

fn had(have: &Bitfield) -> Vec<u32> {
    (0..have.length())
        .filter(|index| have.as_wire()[*index as usize / 8] & (0x80 >> (index % 8)) != 0)
        .collect()
}
