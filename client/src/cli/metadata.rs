//! The info of a magnet, from its swarm (BEP 9), with the piece layers of a v2 torrent (BEP 52), and nothing else: no payload, nothing on
//! disk.

#![expect(clippy::disallowed_methods, reason = "patience is measured in real time")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use torrent_format::Info;

use super::args::NetworkArgs;
use super::error::CliError;
use super::output::printable;
use super::progress::{Board, Row};
use super::signals::Signals;
use super::source::Source;
use super::transfer::{CLOSE_LIMIT, STOP_LIMIT};
use super::value::show_duration;
use super::{Context, get, net};
use crate::engine::session::{Session, TorrentEvent, TorrentHandle};
use crate::torrent::why;

/// How often the line that says so is redrawn.
const REDRAW: Duration = Duration::from_millis(250);

/// How long the piece layers of a hybrid torrent are waited for. Peers that know only v1 can't give them; without them it is a v1 torrent
/// to all purposes.
const LAYERS_WAIT: Duration = Duration::from_secs(10);

/// Trackers whose failure is told, once each.
const MAX_REPORTED: usize = 20;

/// What is wanted of the swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// The info, to know which files there are.
    Info,
    /// The piece layers too, to write a .torrent.
    Layers,
}

/// Asks the swarm.
pub(crate) async fn fetch(
    cx: &Context,
    source: &Source,
    want: Want,
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
    let mut handle = session.look(get::torrent_of(source, network));
    let result = wait(cx, source, want, &mut handle, timeout, signals).await;
    // Whether or not it was found, the trackers are told that we leave.
    handle.stop(STOP_LIMIT);
    let stopped =
        async { while handle.events.recv().await.is_some_and(|it| !matches!(it, TorrentEvent::Stopped)) {} };
    // A tracker that does not answer in time has lost its chance.
    let _ = tokio::time::timeout(STOP_LIMIT, stopped).await;
    session.close(CLOSE_LIMIT).await;
    result
}

async fn wait(
    cx: &Context,
    source: &Source,
    want: Want,
    handle: &mut TorrentHandle,
    timeout: Option<Duration>,
    signals: &mut Signals,
) -> Result<Info, CliError> {
    let started = Instant::now();
    let mut board = Board::new(&cx.out, 1);
    let mut redraw = tokio::time::interval(REDRAW);
    let mut reported = BTreeSet::new();
    let name = source.label();
    // The info, once it is known, and since when its layers are waited for.
    let mut found: Option<(Info, Instant)> = None;
    loop {
        if let Some((info, since)) = &found {
            let enough = want == Want::Info || info.missing_layers().next().is_none();
            if enough || since.elapsed() >= LAYERS_WAIT {
                return Ok(info.clone());
            }
        }
        tokio::select! {
            event = handle.events.recv() => match event {
                Some(TorrentEvent::Info(info)) => found = Some((info, Instant::now())),
                Some(TorrentEvent::Failed(failure)) => return Err(CliError::Torrenting { name, failure }),
                Some(TorrentEvent::Core(crate::torrent::Event::TrackerFailed { url, message, .. })) => {
                    if reported.len() < MAX_REPORTED && reported.insert(Arc::clone(&url)) {
                        cx.out.warn(format_args!("tracker {}: {}", printable(&url), printable(&message)));
                    }
                }
                Some(TorrentEvent::Stopped) | None => return Err(CliError::Unfinished(name)),
                Some(_) => {}
            },
            _ = redraw.tick() => {
                let stats = handle.stats();
                let (peers, phase) = (stats.peers, "looking for metadata");
                let why = why(&stats, None).map(|why| format!(": {why}")).unwrap_or_default();
                let doing = Some(format!("{phase}{why}").into());
                board.show(&[Row { name: name.clone(), doing, phase: Some(phase), peers, ..Row::default() }]);
                if let Some(limit) = timeout.filter(|limit| started.elapsed() >= *limit) {
                    if let Some((info, _)) = found {
                        return Ok(info);
                    }
                    let missing = if peers == 0 { "no peers" } else { "no metadata" };
                    let problem = format!("{missing} for {}{why}", show_duration(limit));
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
