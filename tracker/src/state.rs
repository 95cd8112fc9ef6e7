//! What outlives the process: [`StateDir`]. Whole files only, each written beside its place, synced and renamed, so that it is
//! whole whenever the process is killed; and a journal of records that are whole or ignored.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use torrent_format::InfoHash;

use crate::access::parse_list;
use crate::keys::Keys;
use crate::swarm::Shards;
use crate::tokens::Tokens;

const LOCK: &str = "lock";
const TOKEN: &str = "admin.token";
const ADDRESS: &str = "admin.address";
const KEYS: &str = "keys.json";
const TOKENS: &str = "tokens.json";
const DIRECTORY: &str = "directory.sqlite";
const LISTS: &str = "lists.json";
const SNAPSHOT: &str = "swarms.snapshot";
const JOURNAL: &str = "completed.journal";

/// What a snapshot begins with; another layout has another number.
const MAGIC: &[u8] = b"sprat swarms 1\n";

/// Bytes of a record in the journal: an info hash, and how often the torrent was completed by then.
const RECORD: usize = 24;

/// A directory that one tracker keeps its state in.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Held as long as this lives.
    _lock: File,
}

/// Why a state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process uses it.
    #[error("{}: another tracker keeps its state here", .0.display())]
    InUse(PathBuf),
    /// Can't be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not what a tracker wrote.
    #[error("{}: {problem}", .path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// The torrents that were listed while the tracker ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddedLists {
    /// To be served.
    pub allow: BTreeSet<InfoHash>,
    /// Not to be served.
    pub deny: BTreeSet<InfoHash>,
}

#[derive(Serialize, Deserialize)]
struct ListsFile {
    schema: u32,
    allow: Vec<String>,
    deny: Vec<String>,
}

impl StateDir {
    /// Opens the directory, which is made if it is not there, for this process alone.
    ///
    /// # Errors
    /// If it can't be made or written, or another process has it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = File::create(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The token of the admin API, made by `random` if there is none yet.
    ///
    /// # Errors
    /// If it can't be read or written.
    pub fn token(&self, random: [u8; 32]) -> Result<String, StateError> {
        if let Some(token) = read_text(&self.path.join(TOKEN))? {
            return Ok(token.trim().to_owned());
        }
        let token = HEXLOWER.encode(&random);
        self.write(TOKEN, |file| writeln!(file, "{token}"))?;
        Ok(token)
    }

    /// Says where the admin API is.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn set_address(&self, addr: std::net::SocketAddr) -> Result<(), StateError> {
        self.write(ADDRESS, |file| writeln!(file, "{addr}"))
    }

    /// The passkeys.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn keys(&self) -> Result<Keys, StateError> {
        let path = self.path.join(KEYS);
        let Some(text) = read_text(&path)? else { return Ok(Keys::default()) };
        Keys::from_json(text.as_bytes())
            .map_err(|error| StateError::Content { path, problem: error.to_string() })
    }

    /// Keeps the passkeys.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn set_keys(&self, keys: &Keys) -> Result<(), StateError> {
        self.write(KEYS, |file| file.write_all(&keys.to_json()))
    }

    /// The directory's tokens.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn tokens(&self) -> Result<Tokens, StateError> {
        let path = self.path.join(TOKENS);
        let Some(text) = read_text(&path)? else { return Ok(Tokens::default()) };
        Tokens::from_json(text.as_bytes())
            .map_err(|error| StateError::Content { path, problem: error.to_string() })
    }

    /// Keeps the directory's tokens.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn set_tokens(&self, tokens: &Tokens) -> Result<(), StateError> {
        self.write(TOKENS, |file| file.write_all(&tokens.to_json()))
    }

    /// Where the directory is kept unless something else is said.
    pub(crate) fn directory(&self) -> PathBuf {
        self.path.join(DIRECTORY)
    }

    /// What was listed while the tracker ran.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn lists(&self) -> Result<AddedLists, StateError> {
        let path = self.path.join(LISTS);
        let Some(text) = read_text(&path)? else { return Ok(AddedLists::default()) };
        let content = |problem: String| StateError::Content { path: path.clone(), problem };
        let file: ListsFile = serde_json::from_str(&text).map_err(|error| content(error.to_string()))?;
        let list = |hashes: Vec<String>| match parse_list(&hashes.join("\n")) {
            Ok(list) => Ok(list.into_iter().collect()),
            Err(error) => Err(content(error.to_string())),
        };
        Ok(AddedLists { allow: list(file.allow)?, deny: list(file.deny)? })
    }

    /// Keeps what was listed.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn set_lists(&self, lists: &AddedLists) -> Result<(), StateError> {
        let text = |list: &BTreeSet<InfoHash>| list.iter().map(ToString::to_string).collect();
        let file = ListsFile { schema: 1, allow: text(&lists.allow), deny: text(&lists.deny) };
        self.write(LISTS, |out| Ok(serde_json::to_writer_pretty(out, &file)?))
    }

    /// Saves all swarms, and all counts beside them: the journal is begun anew with those.
    ///
    /// # Errors
    /// If they can't be written; the journal is kept then.
    pub(crate) fn save_swarms(
        &self,
        shards: &Shards,
        now: Duration,
        epoch: Duration,
    ) -> Result<(), StateError> {
        self.write(SNAPSHOT, |file| {
            file.write_all(MAGIC)?;
            file.write_all(&epoch.as_secs().to_le_bytes())?;
            let mut bytes = Vec::new();
            for number in 0..shards.count() {
                bytes.clear();
                // Locked while it is copied, and not while it is written.
                shards.shard(number).save(now, &mut bytes);
                file.write_all(&bytes)?;
            }
            Ok(())
        })?;
        self.write(JOURNAL, |file| {
            for number in 0..shards.count() {
                let mut counts = Vec::new();
                shards.shard(number).counts(|info_hash, count| counts.push((*info_hash, count)));
                file.write_all(&records(&counts))?;
            }
            Ok(())
        })
    }

    /// Takes in the saved swarms, and the counts of the journal. Swarms that are damaged are no reason not to start: clients
    /// come back by themselves.
    ///
    /// # Errors
    /// If the files can't be read.
    pub(crate) fn load_swarms(
        &self,
        shards: &Shards,
        now: Duration,
        epoch: Duration,
    ) -> Result<(), StateError> {
        let path = self.path.join(SNAPSHOT);
        if let Some(bytes) = read(&path)? {
            let rest = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<8>());
            let restored = rest.is_some_and(|(saved_at, swarms)| {
                let since = epoch.saturating_sub(Duration::from_secs(u64::from_le_bytes(*saved_at)));
                shards.restore(now, since, swarms).is_ok()
            });
            if !restored {
                tracing::warn!(path = %path.display(), "the snapshot of the swarms is damaged: it is read as far as it goes");
            }
        }
        for record in read(&self.path.join(JOURNAL))?.unwrap_or_default().as_chunks::<RECORD>().0 {
            let (mut info_hash, mut count) = ([0; 20], [0; 4]);
            info_hash.copy_from_slice(&record[..20]);
            count.copy_from_slice(&record[20..]);
            shards.restore_completed(now, InfoHash(info_hash), u32::from_le_bytes(count));
        }
        Ok(())
    }

    /// Adds to the journal how often these torrents were completed by now.
    ///
    /// # Errors
    /// If it can't be written.
    pub(crate) fn journal(&self, counts: &[(InfoHash, u32)]) -> Result<(), StateError> {
        let path = self.path.join(JOURNAL);
        let append = || {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
            file.write_all(&records(counts))?;
            file.sync_data()
        };
        append().map_err(|source| StateError::Io { path: path.clone(), source })
    }

    /// Writes a whole file in the place of another.
    fn write(
        &self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), StateError> {
        let (path, temporary) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let write = || {
            let file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            let mut file = BufWriter::with_capacity(1 << 16, file);
            content(&mut file)?;
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| StateError::Io { path: path.clone(), source })
    }
}

/// The token of the tracker that keeps its state here, and where its admin API is, if one has ever been.
///
/// # Errors
/// If they are there and can't be read.
pub fn admin_of(state: &Path) -> Result<Option<(String, std::net::SocketAddr)>, StateError> {
    let (token, addr) = (read_text(&state.join(TOKEN))?, read_text(&state.join(ADDRESS))?);
    Ok(token
        .zip(addr.and_then(|addr| addr.trim().parse().ok()))
        .map(|(token, addr)| (token.trim().to_owned(), addr)))
}

/// What the journal says of these counts.
fn records(counts: &[(InfoHash, u32)]) -> Vec<u8> {
    let bytes = |(info_hash, count): &(InfoHash, u32)| {
        info_hash.as_bytes().iter().copied().chain(count.to_le_bytes()).collect::<Vec<_>>()
    };
    counts.iter().flat_map(bytes).collect()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Io { path: path.to_owned(), source }),
    }
}

fn read_text(path: &Path) -> Result<Option<String>, StateError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    let problem = |_| StateError::Content { path: path.to_owned(), problem: "it is not text".into() };
    String::from_utf8(bytes).map(Some).map_err(problem)
}
