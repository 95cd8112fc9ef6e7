//! Torrents of every version, as `sprat create` makes them.

use std::path::{Path, PathBuf};

use harness::sandbox::Sandbox;
use harness::wait::LONG;
use serde_json::Value;
use torrent_format::{InfoHash, Metainfo};

/// What `--format` takes.
pub(crate) const FORMATS: [&str; 3] = ["v1", "v2", "hybrid"];

/// A .torrent and what `sprat create` says of it.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) path: PathBuf,
    /// In hexadecimal, if it has one.
    pub(crate) v1: Option<String>,
    /// In hexadecimal, if it has one.
    pub(crate) v2: Option<String>,
}

/// `sprat create --format FORMAT` of `payload`, to a name of its own; announced at these trackers.
#[track_caller]
pub(crate) fn create(
    sandbox: &Sandbox,
    payload: &Path,
    format: &str,
    piece_length: u32,
    trackers: &[&str],
) -> Made {
    let mut name = payload.file_name().expect("a payload has a name").to_owned();
    name.push(format!(".{format}.torrent"));
    let path = sandbox.path(name);
    let mut create = sandbox.sprat("create").arg(payload).args(["--json", "--format", format]);
    create = create.args(["-l", &piece_length.to_string(), "-o"]).arg(&path);
    for tracker in trackers {
        create = create.args(["-t", tracker]);
    }
    let said = create.run(LONG).expect(0).stdout();
    let said: Value = serde_json::from_str(&said).expect("one JSON document");
    let hash = |key: &str| said[key].as_str().map(str::to_owned);
    Made { path, v1: hash("info_hash_v1"), v2: hash("info_hash_v2") }
}

impl Made {
    /// The names of its swarms: of v1, then of v2.
    pub(crate) fn swarms(&self) -> Vec<InfoHash> {
        let bytes = std::fs::read(&self.path).expect("the .torrent can be read");
        Metainfo::from_bytes(&bytes).expect("it is a torrent").info.hashes().swarms().collect()
    }

    /// Its magnet; with `flags` as `sprat magnet` takes them.
    #[track_caller]
    pub(crate) fn magnet(&self, sandbox: &Sandbox, flags: &[&str]) -> String {
        sandbox.sprat("magnet").arg(&self.path).args(flags).run(LONG).expect(0).stdout().trim().to_owned()
    }

    /// A copy without `piece layers`, as it comes from whoever had only a magnet.
    pub(crate) fn without_layers(&self) -> PathBuf {
        const KEY: &[u8] = b"12:piece layersd";
        let bytes = std::fs::read(&self.path).expect("the .torrent can be read");
        let at = bytes.windows(KEY.len()).rposition(|window| window == KEY);
        // The last key of those that `sprat create` writes without web seeds.
        let stripped = [&bytes[..at.expect("it has piece layers")], b"e"].concat();
        let path = self.path.with_extension("stripped.torrent");
        std::fs::write(&path, stripped).expect("a test file can be written");
        path
    }
}

/// The v1 info hash of a .torrent without the `private` = 0 that transmission-create put in its `info` before 4.0.
pub(crate) fn hash_without_private(torrent: &Path) -> String {
    const PRIVATE: &[u8] = b"7:privatei0ee";
    let bytes = std::fs::read(torrent).expect("the .torrent can be read");
    let info = Metainfo::from_bytes(&bytes).expect("it is a torrent").info;
    match info.raw().strip_suffix(PRIVATE) {
        Some(kept) => InfoHash::of_info(&[kept, b"e"].concat()).to_string(),
        None => InfoHash::of_info(info.raw()).to_string(),
    }
}
