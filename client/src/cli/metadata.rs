//! The info of a magnet, from its swarm (BEP 9), and nothing else: no payload, nothing on disk.

#![expect(clippy::disallowed_methods, reason = "patience is measured in real time")]

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use torrent_format::Info;

use super::args::NetworkArgs;
use super::error::CliError;
use super::output::printable;
use super::progress::{Board, Row};
use super::signals::Signals;
use super::source::Source;
use super::transfer::STOP_LIMIT;
use super::value::show_duration;
use super::{Context, get, net};
use crate::engine::session::{AddTorrent, Select, Session, TorrentEvent, TorrentHandle};

/// How often the line that says so is redrawn.
const REDRAW: Duration = Duration::from_millis(250);

/// Trackers whose failure is told, once each.
const MAX_REPORTED: usize = 20;

/// Asks the swarm.
pub(crate) async fn fetch(
    cx: &Context,
    source: &Source,
    network: &NetworkArgs,
    timeout: Option<Duration>,
    signals: &mut Signals,
) -> Result<Info, CliError> {
    let state = tempfile::tempdir()
        .map_err(|source| CliError::System { action: "can't make a temporary directory", source })?;
    let mut config = net::session_config(cx, network, net::DEFAULT_MEMORY)?;
    config.state_dir = state.path().to_owned();
    let session = Session::start(config).await?;
    get::warn_if_nobody_to_ask(cx, source, network);
    let (select, found) = only_look();
    let torrent = AddTorrent { dir: state.path().to_owned(), select, ..get::torrent_of(source, network) };
    let mut handle = session.add(torrent);
    let result = wait(cx, source, &mut handle, &found, timeout, signals).await;
    // Whether or not it was found, the trackers are told that we leave.
    handle.stop(STOP_LIMIT);
    let stopped =
        async { while handle.events.recv().await.is_some_and(|it| !matches!(it, TorrentEvent::Stopped)) {} };
    // A tracker that does not answer in time has lost its chance.
    let _ = tokio::time::timeout(STOP_LIMIT, stopped).await;
    result
}

/// A selection that takes the info and refuses every file, so that storage is never opened.
fn only_look() -> (Select, Arc<OnceLock<Info>>) {
    let found = Arc::new(OnceLock::new());
    let slot = Arc::clone(&found);
    let select = Select(Arc::new(move |info| {
        // A second look at the same torrent finds the same info.
        let _ = slot.set(info.clone());
        Err("only the metadata was wanted".to_owned())
    }));
    (select, found)
}

async fn wait(
    cx: &Context,
    source: &Source,
    handle: &mut TorrentHandle,
    found: &OnceLock<Info>,
    timeout: Option<Duration>,
    signals: &mut Signals,
) -> Result<Info, CliError> {
    let started = Instant::now();
    let mut board = Board::new(&cx.out, 1);
    let mut redraw = tokio::time::interval(REDRAW);
    let mut reported = BTreeSet::new();
    let name = source.label();
    loop {
        tokio::select! {
            event = handle.events.recv() => match event {
                Some(TorrentEvent::Info(info)) => return Ok(info),
                Some(TorrentEvent::Failed(failure)) => {
                    let failed = CliError::Torrenting { name, failure };
                    return found.get().cloned().ok_or(failed);
                }
                Some(TorrentEvent::Core(crate::torrent::Event::TrackerFailed { url, message, .. })) => {
                    if reported.len() < MAX_REPORTED && reported.insert(Arc::clone(&url)) {
                        cx.out.warn(format_args!("tracker {}: {}", printable(&url), printable(&message)));
                    }
                }
                Some(TorrentEvent::Stopped) | None => return Err(CliError::Unfinished(name)),
                Some(_) => {}
            },
            _ = redraw.tick() => {
                let peers = handle.snapshot.borrow().stats.peers;
                let phase = "looking for metadata";
                board.show(&[Row {
                    name: name.clone(), doing: Some(phase.into()), phase: Some(phase), peers, ..Row::default()
                }]);
                if let Some(limit) = timeout.filter(|limit| started.elapsed() >= *limit) {
                    let missing = if peers == 0 { "no peers" } else { "no metadata" };
                    let problem = format!("{missing} for {}", show_duration(limit));
                    return Err(CliError::TimedOut { what: name, problem });
                }
            }
            signal = signals.next() => {
                cx.out.note("stopping, telling the trackers");
                return Err(CliError::Interrupted(signal));
            }
        }
    }
}
