//! A member of the demo's swarm: a session of its own, as if it were a process of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use torrent_format::{Metainfo, PeerId};

use super::LOOPBACK;
use crate::cli::error::CliError;
use crate::cli::progress::{Row, percent};
use crate::engine::session::{
    AddTorrent, Phase, Select, Session, SessionConfig, Snapshot, TorrentEvent, TorrentHandle,
};
use crate::engine::storage::{Access, Allocate, Check};
use crate::torrent::{Ablation, Encryption, Event, Stats, Stay, Transports};

/// All buffers of a node, in bytes; there are several in one process.
const MEMORY: usize = 16 << 20;

/// Nobody meets more peers here.
const MAX_PEERS: usize = 20;

/// What a node does in the play.
#[derive(Debug)]
pub(super) enum Role {
    /// It has everything.
    Seeder {
        /// What holds the original.
        dir: PathBuf,
        /// Bytes a second that it may send.
        upload: u64,
    },
    /// It has nothing.
    Downloader,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    dir: PathBuf,
    downloads: bool,
    peer_id: PeerId,
    handle: TorrentHandle,
    complete: bool,
    stopped: bool,
    /// Listens as long as it lives.
    _session: Session,
}

impl Node {
    /// Starts number `number`, whose files are below `scratch`.
    pub(super) async fn start(
        scratch: &Path,
        number: usize,
        metainfo: &Metainfo,
        role: Role,
    ) -> Result<Self, CliError> {
        let downloads = matches!(role, Role::Downloader);
        let (dir, upload_limit, access, check) = match role {
            Role::Seeder { dir, upload } => (dir, Some(upload), Access::Seed, Check::Trust),
            Role::Downloader => {
                let dir = scratch.join(format!("downloader-{number}"));
                (dir, None, Access::Download { force: false }, Check::Needed)
            }
        };
        let session = Session::start(SessionConfig {
            port: Some(0),
            via: LOOPBACK.into(),
            encryption: Encryption::default(),
            transports: Transports::default(),
            upload_limit,
            download_limit: None,
            memory: MEMORY,
            max_peers: MAX_PEERS,
            // The tracker is to be seen at work.
            pex: false,
            lsd: false,
            dht: None,
            port_mapping: false,
            state_dir: scratch.join(format!("state-{number}")),
        })
        .await?;
        let handle = session.add(AddTorrent {
            hashes: metainfo.info.hashes(),
            info: Some(metainfo.info.clone()),
            trackers: metainfo.trackers.clone(),
            peers: Vec::new(),
            nodes: Vec::new(),
            dir: dir.clone(),
            access,
            check,
            allocate: Allocate::default(),
            select: Select::all(),
            // Whoever is done first helps the others.
            stay: Stay::Seed { ratio: None, time: None },
            sequential: false,
            super_seed: false,
            ablation: Ablation::default(),
        });
        let name = if downloads { format!("downloader {number}") } else { "seeder".into() };
        let complete = !downloads;
        let peer_id = session.peer_id();
        Ok(Self { name, dir, downloads, peer_id, handle, complete, stopped: false, _session: session })
    }

    /// Waits until its tracker has answered.
    pub(super) async fn announced(&mut self, limit: Duration) -> Result<(), CliError> {
        let answered = async {
            while let Some(event) = self.handle.events.recv().await {
                match event {
                    TorrentEvent::Core(Event::TrackerReplied { .. }) => return Ok(()),
                    other => self.handle_event(other)?,
                };
            }
            Err(CliError::Unfinished(self.name.clone()))
        };
        let late = || CliError::TimedOut { what: "the demo's tracker".into(), problem: "no answer".into() };
        tokio::time::timeout(limit, answered).await.unwrap_or_else(|_| Err(late()))
    }

    /// Takes in what has happened; says whether it has just become complete.
    pub(super) fn take_news(&mut self) -> Result<bool, CliError> {
        let before = self.complete;
        while let Ok(event) = self.handle.events.try_recv() {
            self.handle_event(event)?;
        }
        Ok(self.complete && !before)
    }

    fn handle_event(&mut self, event: TorrentEvent) -> Result<(), CliError> {
        match event {
            TorrentEvent::Durable => self.complete = true,
            TorrentEvent::Stopped => self.stopped = true,
            TorrentEvent::Failed(failure) => {
                return Err(CliError::Torrenting { name: self.name.clone(), failure });
            }
            _ => {}
        }
        Ok(())
    }

    /// What it is called in the play.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where its copy lies.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it calls itself to its peers.
    pub(super) fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Whether it began with nothing.
    pub(super) fn is_downloader(&self) -> bool {
        self.downloads
    }

    /// Whether it has everything on disk.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Its latest figures.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.handle.snapshot()
    }

    /// Its latest figures, but for those of each peer.
    pub(super) fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// As a line of figures.
    pub(super) fn row(&self) -> Row {
        let snapshot = self.handle.snapshot();
        let stats = &snapshot.stats;
        let doing = match snapshot.phase {
            Phase::Running if self.downloads => Some(traded(&snapshot).into()),
            Phase::Running | Phase::Stopping | Phase::Stopped => None,
            Phase::FetchingInfo | Phase::Checking => Some("starting".into()),
        };
        Row {
            name: self.name.clone(),
            doing,
            phase: None,
            done: stats.bytes_done,
            total: stats.bytes_total,
            download_rate: stats.download_rate,
            upload_rate: stats.upload_rate,
            uploaded: stats.uploaded,
            peers: stats.peers,
            complete: self.complete,
        }
    }
}

/// How much of what has come so far is from fellow downloaders.
fn traded(snapshot: &Snapshot) -> String {
    let sum = |leechers: bool| -> u64 {
        snapshot.peers.iter().filter(|peer| peer.was_leecher || !leechers).map(|peer| peer.downloaded).sum()
    };
    let (from_others, all) = (sum(true), sum(false));
    format!("{}% from one another", if all == 0 { 0 } else { percent(from_others, all) })
}

/// Stops all of them, at once. Those that have stopped stay so.
pub(super) async fn stop_all(nodes: &mut [Node], limit: Duration) {
    nodes.iter().for_each(|node| node.handle.stop(limit));
    let all = async {
        for node in nodes.iter_mut().filter(|node| !node.stopped) {
            while node.handle.events.recv().await.is_some_and(|event| !matches!(event, TorrentEvent::Stopped))
            {
            }
            node.stopped = true;
        }
    };
    // They end with this process in any case.
    let _ = tokio::time::timeout(limit * 2, all).await;
}
