//! What is moved: one file of random bytes, or a tree of many small ones.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::fake_tracker::{Answer, FakeTracker};
use harness::{process, tree, wait};
use torrent_format::Metainfo;

use crate::clients::{Client, Tools};

/// Of all torrents: a size that all clients cope with, and that a file of 4 GiB would have.
pub(crate) const PIECE_LENGTH: u32 = 2 << 20;

/// A payload, on the disk.
#[derive(Debug)]
pub(crate) struct Payload {
    /// The directory that it lies in.
    pub(crate) data: PathBuf,
    /// Of its file or directory.
    pub(crate) name: String,
    /// In bytes.
    pub(crate) size: u64,
    /// How many files; `None`: it is one, not a tree.
    pub(crate) files: Option<u32>,
    /// Its torrent, of v1, which all clients know.
    pub(crate) torrent: PathBuf,
}

impl Payload {
    /// One file: `given`, or as many random bytes as `size` says.
    pub(crate) fn file(work: &Path, size: u64, given: Option<&Path>, tools: &Tools) -> Self {
        let data = work.join("payload");
        fs::create_dir_all(&data).expect("a directory can be made");
        let path = data.join("payload.bin");
        match given {
            // Nothing is written to it, but some put a file of their own beside it.
            Some(given) => fs::hard_link(given, &path).expect("--payload is on the file system of --dir"),
            None => tree::write_large(&path, 1, size),
        }
        Self::with_torrent(data, &path, None, tools)
    }

    /// Writes as much beside it, and takes that away again: memory that the kernel, or whoever the machine belongs to, gives out for the
    /// first time would cost the first run more than the others.
    pub(crate) fn warm(&self) {
        let path = self.data.join("warm");
        let chunk = vec![0; 1 << 20];
        let mut file = File::create(&path).expect("a file can be made");
        for _ in 0..self.size >> 20 {
            file.write_all(&chunk).expect("a file can be written");
        }
        fs::remove_file(path).expect("what was written can be removed");
        // Nothing of it is left for a run to sync.
        let _ = File::open(&self.data).map(rustix::fs::syncfs);
    }

    /// So many files that add up to `size`.
    pub(crate) fn tree(work: &Path, size: u64, files: u32, tools: &Tools) -> Self {
        let data = work.join("payload");
        let root = data.join("tree");
        tree::write_many(&root, 2, size, files);
        Self::with_torrent(data, &root, Some(files), tools)
    }

    fn with_torrent(data: PathBuf, path: &Path, files: Option<u32>, tools: &Tools) -> Self {
        let torrent = data.with_extension("torrent");
        let mut create = Command::new(tools.program(Client::Sprat));
        create.args(["create", "--format", "v1", "--quiet", "-l", &PIECE_LENGTH.to_string()]);
        create.arg("-o").arg(&torrent).arg(path);
        process::run("sprat create", &mut create, wait::LONG).expect(0);
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        let size = read(&torrent).info.layout().total();
        Self { data, name, size, files, torrent }
    }

    /// Whether it is one file.
    pub(crate) fn is_file(&self) -> bool {
        self.files.is_none()
    }

    /// The same torrent with a tracker that knows one peer.
    pub(crate) fn tracked(&self, seeder: SocketAddr) -> PathBuf {
        let tracker = FakeTracker::start(move |_| Answer::peers(1800, &[seeder]));
        let mut torrent = read(&self.torrent);
        torrent.trackers = vec![vec![tracker.url()]];
        let path = self.torrent.with_extension("tracked.torrent");
        fs::write(&path, torrent.to_bytes()).expect("a .torrent can be written");
        path
    }

    /// Whether `copy` has the same names and bytes. Empty files don't count: not all clients make them.
    pub(crate) fn is_same(&self, copy: &Path) -> bool {
        let original = self.data.join(&self.name);
        catch_unwind(|| tree::assert_same_bytes(&original, copy)).is_ok()
    }
}

fn read(torrent: &Path) -> Metainfo {
    let bytes = fs::read(torrent).expect("the .torrent can be read");
    Metainfo::from_bytes(&bytes).expect("it is a torrent")
}
