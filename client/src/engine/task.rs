//! A torrent's task, from its place in the session to its last news: opens the data if the info is known, then lets the driver drive.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use torrent_format::Info;

use super::driver::{Driver, Inputs, STOP_LIMIT};
use super::handshake::Shaken;
use super::open::{Opened, Opener};
use super::session::{AddTorrent, Found, Phase, Place, Shared, Snapshot, TorrentEvent, TorrentFailure};
use super::storage::Access;

/// News of peers that may wait for the driver. Blocks among them hold memory of the pool, so this is no second limit on bytes, only
/// one on small messages.
const MAX_PEER_EVENTS: usize = 1024;

/// All that a torrent's task starts with.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) torrent: AddTorrent,
    pub(super) purpose: Purpose,
    /// For all that the core chooses at random.
    pub(super) seed: u64,
    pub(super) place: Place,
    pub(super) incoming: mpsc::Receiver<Shaken>,
    pub(super) found: mpsc::Receiver<Found>,
    /// Within which time to stop. Closed: the handle was dropped.
    pub(super) stop: mpsc::Receiver<Duration>,
    pub(super) news: News,
}

/// What a torrent is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To be downloaded or seeded.
    Payload,
    /// To be looked at.
    Info,
}

/// Where a torrent's user listens, or does not.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) events: mpsc::UnboundedSender<TorrentEvent>,
    pub(super) snapshot: watch::Sender<Snapshot>,
}

impl News {
    pub(super) fn tell(&self, event: TorrentEvent) {
        let _ = self.events.send(event);
    }

    /// The last news.
    pub(super) fn over(&self, outcome: Result<(), TorrentFailure>) {
        if let Err(failure) = outcome {
            self.tell(TorrentEvent::Failed(failure));
        }
        self.snapshot.send_modify(|snapshot| snapshot.phase = Phase::Stopped);
        self.tell(TorrentEvent::Stopped);
    }
}

/// A torrent from its beginning to its end.
pub(super) async fn run(job: Job) {
    let Job { shared, torrent, purpose, seed, mut place, incoming, found, mut stop, news } = job;
    if torrent.info.as_ref().is_some_and(Info::is_private) {
        place.set_private();
    }
    let (disk_sender, disk_events) = mpsc::unbounded_channel();
    let opener = Opener::new(torrent, shared, disk_sender, news.clone());
    match begin(&opener, purpose, &mut stop).await {
        Ok(Begun::Ready(opened)) => {
            let (peer_sender, peer_events) = mpsc::channel(MAX_PEER_EVENTS);
            let inputs = Inputs { peer_events, disk_events, incoming, found, stop };
            let opened = opened.map(|opened| *opened);
            Driver::new(opener, purpose, place, opened, seed, peer_sender).run(inputs).await;
        }
        Ok(Begun::Stopped) => drop(place),
        Err(failure) => {
            drop(place);
            return news.over(Err(failure));
        }
    }
    // Whoever hears that it is over may add it again: its place is free.
    news.over(Ok(()));
}

/// How a torrent begins.
enum Begun {
    /// With its data, open and looked at; or without, because something is missing that peers have.
    Ready(Option<Box<Opened>>),
    /// It was stopped meanwhile.
    Stopped,
}

async fn begin(
    opener: &Opener,
    purpose: Purpose,
    stop: &mut mpsc::Receiver<Duration>,
) -> Result<Begun, TorrentFailure> {
    let may_open = |info: &Info| {
        // Whoever has the data works out from it what hashes are missing.
        purpose == Purpose::Payload && (can_check(info) || opener.torrent.access == Access::Seed)
    };
    let info = opener.torrent.info.clone().filter(may_open);
    let Some(info) = info else { return Ok(Begun::Ready(None)) };
    let opening = opener.open(info);
    tokio::pin!(opening);
    let limit = tokio::select! {
        opened = &mut opening => return Ok(Begun::Ready(Some(Box::new(opened?)))),
        limit = stop.recv() => limit.unwrap_or(STOP_LIMIT),
    };
    opener.news.snapshot.send_modify(|snapshot| snapshot.phase = Phase::Stopping);
    opener.call_off();
    // A disk that does not answer is not waited for any longer.
    if let Ok(Ok(opened)) = timeout(limit, opening).await {
        opened.storage.close().await;
    }
    Ok(Begun::Stopped)
}

/// Whether every piece has a hash that is known: in a v2 torrent that takes all piece layers.
fn can_check(info: &Info) -> bool {
    info.version().has_v1() || info.missing_layers().next().is_none()
}
