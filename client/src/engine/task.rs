//! A torrent's task, from its place in the session to its last news: opens the data if the info is known, then lets the driver drive.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::driver::{Driver, Inputs, STOP_LIMIT};
use super::handshake::Shaken;
use super::open::{Opened, Opener, Source};
use super::session::{AddTorrent, Phase, Place, Shared, Snapshot, TorrentEvent, TorrentFailure};

/// News of peers that may wait for the driver. Blocks among them hold memory of the pool, so this is no second limit on bytes, only
/// one on small messages.
const MAX_PEER_EVENTS: usize = 1024;

/// All that a torrent's task starts with.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) torrent: AddTorrent,
    /// For all that the core chooses at random.
    pub(super) seed: u64,
    pub(super) place: Place,
    pub(super) incoming: mpsc::Receiver<Shaken>,
    /// Within which time to stop. Closed: the handle was dropped.
    pub(super) stop: mpsc::Receiver<Duration>,
    pub(super) news: News,
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
    let Job { shared, torrent, seed, place, incoming, mut stop, news } = job;
    let (disk_sender, disk_events) = mpsc::unbounded_channel();
    let opener = Opener::new(torrent, shared, disk_sender, news.clone());
    let outcome = match begin(&opener, &mut stop).await {
        Ok(Begun::Ready(opened)) => {
            let (peer_sender, peer_events) = mpsc::channel(MAX_PEER_EVENTS);
            let inputs = Inputs { peer_events, disk_events, incoming, stop };
            Driver::new(opener, opened.map(|opened| *opened), seed, peer_sender).run(inputs).await;
            Ok(())
        }
        Ok(Begun::Stopped) => Ok(()),
        Err(failure) => Err(failure),
    };
    // Whoever hears that it is over may add it again.
    drop(place);
    news.over(outcome);
}

/// How a torrent begins.
enum Begun {
    /// With its data, open and looked at, or with nothing but a hash.
    Ready(Option<Box<Opened>>),
    /// It was stopped meanwhile.
    Stopped,
}

async fn begin(opener: &Opener, stop: &mut mpsc::Receiver<Duration>) -> Result<Begun, TorrentFailure> {
    let Some(info) = opener.torrent.info.clone() else { return Ok(Begun::Ready(None)) };
    let opening = opener.open(Source::Known(info));
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
