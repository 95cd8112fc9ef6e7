//! What is done beside answering: lists are read again, silent peers forgotten, state is kept. [`Keeper`].

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use torrent_format::InfoHash;

use crate::access::{List, Lists, parse_list};
use crate::config::{Config, ServeError};
use crate::core::Tracker;
use crate::directory::Directory;
use crate::keys::{Key, Keys};
use crate::state::{AddedLists, StateDir, StateError};
use crate::tokens::{Token, Tokens};

/// How often something is looked after.
const ROUND: Duration = Duration::from_millis(100);

/// How often counts of completions are written down.
const JOURNAL_EVERY: Duration = Duration::from_secs(1);

/// Peers and torrents looked at with one shard locked: some 20 µs, and at worst, when all of them go, a few hundred.
const SWEEP_STEP: usize = 1000;

/// How long it takes to look at all of them.
const SWEEP: Duration = Duration::from_secs(60);

/// Looks after what a tracker keeps.
pub(crate) struct Keeper {
    pub(crate) tracker: Arc<Tracker>,
    dir: Option<StateDir>,
    directory: Option<Arc<Directory>>,
    allow: Option<PathBuf>,
    deny: Option<PathBuf>,
    /// One change of keys or lists at a time, and one save.
    edits: Mutex<()>,
    saves: Mutex<()>,
}

/// Which list is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Allow,
    Deny,
}

/// What comes of a change to a list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    #[error("there is no list of allowed torrents: start the tracker with --allow FILE")]
    NoAllowList,
    #[error("it stands in the file {}: take it out there, and reload", .0.display())]
    InFile(PathBuf),
    #[error("it is not listed")]
    NotListed,
    #[error("there is no such key")]
    NoKey,
    #[error("this tracker has no directory: start it with --directory")]
    NoDirectory,
    #[error("there is no such token")]
    NoToken,
    #[error("there are as many tokens as there can be")]
    TooManyTokens,
    #[error("there are as many keys as there can be")]
    TooManyKeys,
    #[error("nothing is kept here: start the tracker with --state DIR")]
    NoState,
    #[error(transparent)]
    State(#[from] StateError),
}

/// Reads the lists of the configuration.
pub(crate) fn read_lists(config: &Config, added: AddedLists) -> Result<Lists, ServeError> {
    let read = |path: &Option<PathBuf>| match path {
        Some(path) => read_list(path).map_err(ServeError::Configuration),
        None => Ok(HashSet::new()),
    };
    let allow = match config.allow.is_some() {
        true => Some(List { file: read(&config.allow)?, added: added.allow }),
        false => None,
    };
    Ok(Lists { allow, deny: List { file: read(&config.deny)?, added: added.deny } })
}

fn read_list(path: &Path) -> Result<HashSet<InfoHash>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse_list(&text).map_err(|error| format!("{}: {error}", path.display()))
}

impl Keeper {
    pub(crate) fn new(tracker: Arc<Tracker>, config: &Config, dir: Option<StateDir>) -> Self {
        let (allow, deny) = (config.allow.clone(), config.deny.clone());
        Self { tracker, dir, directory: None, allow, deny, edits: Mutex::default(), saves: Mutex::default() }
    }

    /// Reads the lists again. If one can't be read, both stay as they are.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let _edit = lock(&self.edits);
        let mut lists = Lists::clone(&self.tracker.lists());
        if let (Some(path), Some(allow)) = (&self.allow, &mut lists.allow) {
            allow.file = read_list(path)?;
        }
        if let Some(path) = &self.deny {
            lists.deny.file = read_list(path)?;
        }
        self.tracker.set_lists(lists);
        Ok(())
    }

    /// Lists a torrent.
    pub(crate) fn list(&self, which: Which, info_hash: InfoHash) -> Result<(), EditError> {
        self.edit_list(which, |list, _| {
            list.added.insert(info_hash);
            Ok(())
        })
    }

    /// Takes a torrent off a list.
    pub(crate) fn unlist(&self, which: Which, info_hash: InfoHash) -> Result<(), EditError> {
        self.edit_list(which, |list, file| match (list.added.remove(&info_hash), file) {
            (_, Some(file)) if list.file.contains(&info_hash) => Err(EditError::InFile(file.clone())),
            (true, _) => Ok(()),
            (false, _) => Err(EditError::NotListed),
        })
    }

    fn edit_list(
        &self,
        which: Which,
        edit: impl FnOnce(&mut List, Option<&PathBuf>) -> Result<(), EditError>,
    ) -> Result<(), EditError> {
        let _edit = lock(&self.edits);
        let mut lists = Lists::clone(&self.tracker.lists());
        match which {
            Which::Allow => {
                edit(lists.allow.as_mut().ok_or(EditError::NoAllowList)?, self.allow.as_ref())?;
            }
            Which::Deny => edit(&mut lists.deny, self.deny.as_ref())?,
        }
        let added = AddedLists {
            allow: lists.allow.as_ref().map(|allow| allow.added.clone()).unwrap_or_default(),
            deny: lists.deny.added.clone(),
        };
        self.dir()?.set_lists(&added)?;
        self.tracker.set_lists(lists);
        Ok(())
    }

    /// Looks after the tokens of this directory, too.
    pub(crate) fn with_directory(mut self, directory: Option<Arc<Directory>>) -> Self {
        self.directory = directory;
        self
    }

    /// The directory's tokens.
    pub(crate) fn tokens(&self) -> Result<Arc<Tokens>, EditError> {
        Ok(self.directory()?.tokens())
    }

    /// Adds a token.
    pub(crate) fn add_token(&self, token: Token) -> Result<(), EditError> {
        self.edit_tokens(|tokens| tokens.add(token).then_some(()).ok_or(EditError::TooManyTokens))
    }

    /// Takes a token out.
    pub(crate) fn revoke_token(&self, id: &str) -> Result<(), EditError> {
        self.edit_tokens(|tokens| tokens.revoke(id).then_some(()).ok_or(EditError::NoToken))
    }

    fn edit_tokens(&self, edit: impl FnOnce(&mut Tokens) -> Result<(), EditError>) -> Result<(), EditError> {
        let _edit = lock(&self.edits);
        let directory = self.directory()?;
        let mut tokens = Tokens::clone(&directory.tokens());
        edit(&mut tokens)?;
        self.dir()?.set_tokens(&tokens)?;
        directory.set_tokens(tokens);
        Ok(())
    }

    fn directory(&self) -> Result<&Directory, EditError> {
        self.directory.as_deref().ok_or(EditError::NoDirectory)
    }

    /// Adds a passkey.
    pub(crate) fn add_key(&self, key: Key) -> Result<(), EditError> {
        self.edit_keys(|keys| keys.add(key).then_some(()).ok_or(EditError::TooManyKeys))
    }

    /// Takes a passkey out.
    pub(crate) fn revoke_key(&self, key: &str) -> Result<(), EditError> {
        self.edit_keys(|keys| keys.revoke(key).then_some(()).ok_or(EditError::NoKey))
    }

    fn edit_keys(&self, edit: impl FnOnce(&mut Keys) -> Result<(), EditError>) -> Result<(), EditError> {
        let _edit = lock(&self.edits);
        let mut keys = Keys::clone(&self.tracker.keys());
        edit(&mut keys)?;
        self.dir()?.set_keys(&keys)?;
        self.tracker.set_keys(keys);
        Ok(())
    }

    /// Saves the swarms, if anything is kept.
    pub(crate) fn save(&self) -> Result<(), StateError> {
        let _save = lock(&self.saves);
        let Some(dir) = &self.dir else { return Ok(()) };
        self.journal(dir)?;
        let now = self.tracker.clock.now();
        dir.save_swarms(&self.tracker.shards, now, self.tracker.clock.epoch(now))
    }

    fn journal(&self, dir: &StateDir) -> Result<(), StateError> {
        let counts = self.tracker.take_completed();
        if counts.is_empty() { Ok(()) } else { dir.journal(&counts) }
    }

    fn dir(&self) -> Result<&StateDir, EditError> {
        self.dir.as_ref().ok_or(EditError::NoState)
    }

    /// Looks after everything until it is stopped, and saves a last time.
    pub(crate) fn run(&self, save_every: Duration, stopped: &AtomicBool) {
        let (mut saved, mut journaled) = (self.tracker.clock.now(), Duration::ZERO);
        let mut sweep = Sweep::default();
        while !stopped.load(Relaxed) {
            thread::park_timeout(ROUND);
            let now = self.tracker.clock.now();
            sweep.advance(&self.tracker, now);
            if let Some(dir) = self.dir.as_ref().filter(|_| now >= journaled + JOURNAL_EVERY) {
                journaled = now;
                let _save = lock(&self.saves);
                report(self.journal(dir));
            }
            if now >= saved + save_every {
                saved = now;
                report(self.save());
            }
        }
        report(self.save());
    }
}

/// A tracker whose disk is full goes on without.
fn report(result: Result<(), StateError>) {
    if let Err(error) = result {
        tracing::error!(%error, "can't save");
    }
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Goes through the shards, some of them each time.
#[derive(Default)]
struct Sweep {
    shard: usize,
    /// Peers and torrents still to be looked at in this round.
    due: f64,
    last: Duration,
}

impl Sweep {
    /// Looks at as many peers and torrents as it takes to see all in a minute.
    fn advance(&mut self, tracker: &Tracker, now: Duration) {
        let figures = tracker.shards.figures();
        let all = figures.peers + figures.torrents + tracker.shards.count();
        let passed = now.saturating_sub(self.last).min(SWEEP);
        self.last = now;
        self.due = (self.due + all as f64 * passed.as_secs_f64() / SWEEP.as_secs_f64()).min(all as f64);
        while self.due > 0.0 {
            self.due -= SWEEP_STEP.min(all / tracker.shards.count() + 1) as f64;
            let done = tracker.shards.shard(self.shard).expire_some(now, SWEEP_STEP);
            if done {
                self.shard = (self.shard + 1) % tracker.shards.count();
            }
            // Those who wait for the lock come first.
            thread::yield_now();
        }
    }
}
