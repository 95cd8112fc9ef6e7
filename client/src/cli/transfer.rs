//! One torrent at work, as its user sees it: what its news mean, in words, JSON and figures. `watch` holds several.

#![expect(clippy::disallowed_methods, reason = "progress and patience are measured in real time")]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use torrent_format::{Info, Magnet};

use super::error::CliError;
use super::exit::Exit;
use super::output::printable;
use super::progress::{Row, percent};
use super::value::{Rate, Size, plural, show_duration};
use super::{Context, list};
use crate::engine::session::{Phase, Snapshot, TorrentEvent, TorrentHandle};
use crate::torrent::{Event, NEVER, Why, why};

/// What a torrent may take to say goodbye to its trackers.
pub(crate) const STOP_LIMIT: Duration = Duration::from_millis(2_300);

/// What the session may take to end, after its torrents.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_millis(300);

/// Trackers whose failures are remembered, so that each is reported once; a torrent that names more is not a torrent to report on.
const MAX_FAILING: usize = 100;

/// What a torrent is here for.
#[derive(Debug)]
pub(crate) enum Goal {
    /// To be completed; then its path is printed.
    Get,
    /// To be served; its magnet is printed once its data has been looked at.
    Serve {
        /// Name and length are filled in if they are missing.
        magnet: Box<Magnet>,
        /// Say what to type on the other machine.
        paste: bool,
    },
}

/// A torrent at work.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// The torrent itself.
    pub(crate) handle: TorrentHandle,
    label: String,
    dir: PathBuf,
    goal: Goal,
    info: Option<Info>,
    durable: bool,
    fulfilled: bool,
    stopped: bool,
    waits_for_room: bool,
    failure: Option<Exit>,
    started: Instant,
    failing_trackers: BTreeSet<String>,
    /// What was logged last of why it is not faster.
    last_why: Option<Why>,
    /// `--max-download-limit`
    download_limit: Option<u64>,
    last_progress: (Mark, Instant),
}

/// What changes whenever there is progress of any kind.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Mark {
    phase: Phase,
    has_info: bool,
    checked: u64,
    done: u64,
    received: u64,
}

/// A torrent that has just become whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finished {
    /// Its file or directory.
    pub(crate) path: PathBuf,
    /// Its name, fit for a terminal.
    pub(crate) name: String,
    /// Its info hash; v1 if it has one, else v2 cut to 40 digits.
    pub(crate) info_hash: String,
    /// Its v2 info hash, if it has one.
    pub(crate) info_hash_v2: Option<String>,
}

impl Transfer {
    /// Watches this torrent. `dir` is what its paths are printed below.
    pub(crate) fn new(handle: TorrentHandle, label: String, dir: PathBuf, goal: Goal) -> Self {
        let now = Instant::now();
        Self {
            handle,
            label,
            dir,
            goal,
            info: None,
            durable: false,
            fulfilled: false,
            stopped: false,
            waits_for_room: false,
            failure: None,
            started: now,
            failing_trackers: BTreeSet::new(),
            last_why: None,
            download_limit: None,
            last_progress: (Mark::default(), now),
        }
    }

    /// It does not download faster than that.
    pub(crate) fn limited(self, download_limit: Option<u64>) -> Self {
        Self { download_limit, ..self }
    }

    /// What people call it, fit for a terminal.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Nothing is owed to the user any more.
    pub(crate) fn is_done(&self) -> bool {
        self.failure.is_none() && (self.durable || matches!(self.goal, Goal::Serve { .. }))
    }

    /// It is over, well or badly.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// How it failed, if it did.
    pub(crate) fn failure(&self) -> Option<Exit> {
        self.failure
    }

    /// Takes in news. `None` is the end of all news. Says when the torrent has just become whole.
    pub(crate) fn handle_event(&mut self, cx: &Context, event: Option<TorrentEvent>) -> Option<Finished> {
        match event {
            Some(TorrentEvent::Info(info)) => self.handle_info(info),
            Some(TorrentEvent::Checked { bytes_done }) => self.handle_checked(cx, bytes_done),
            Some(TorrentEvent::Core(event)) => self.handle_core(cx, event),
            Some(TorrentEvent::FileDone(path)) => tracing::info!("{} is whole", path.display()),
            Some(TorrentEvent::NoRoom(reason)) => self.handle_no_room(cx, Some(reason.to_string())),
            Some(TorrentEvent::Room) => self.handle_no_room(cx, None),
            Some(TorrentEvent::Durable) => return self.handle_durable(cx),
            Some(TorrentEvent::Failed(failure)) => {
                self.fail(cx, CliError::Torrenting { name: self.label.clone(), failure });
            }
            Some(TorrentEvent::Stopped) | None if !self.stopped => {
                self.stopped = true;
                self.emit(cx, "stopped", json!({}));
            }
            Some(TorrentEvent::Stopped) | None => {}
        }
        None
    }

    /// Gives up if nothing has moved for `limit`.
    pub(crate) fn give_up_after(&mut self, cx: &Context, limit: Duration) {
        let mark = self.mark();
        if mark != self.last_progress.0 {
            self.last_progress = (mark, Instant::now());
        }
        if self.durable || self.stopped || self.failure.is_some() || self.last_progress.1.elapsed() < limit {
            return;
        }
        let (has_info, peers) = (self.info.is_some(), self.handle.stats().peers);
        let missing = match (has_info, peers) {
            _ if self.waits_for_room => "no room on the disk",
            (_, 0) => "no peers",
            (false, _) => "no metadata",
            (true, _) => "no progress",
        };
        let why = self.why(&self.handle.snapshot()).filter(|_| !self.waits_for_room);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let problem = format!("{missing} for {}{why}", show_duration(limit));
        self.fail(cx, CliError::TimedOut { what: self.label.clone(), problem });
        self.handle.stop(STOP_LIMIT);
    }

    /// As a line of figures.
    pub(crate) fn row(&self) -> Row {
        let snapshot = self.handle.snapshot();
        let stats = &snapshot.stats;
        let checking = snapshot.phase == Phase::Checking;
        Row {
            name: self.label.clone(),
            doing: self.shown(&snapshot),
            phase: match snapshot.phase {
                Phase::Stopping | Phase::Stopped => None,
                // That it is complete or seeds is told by a line of its own.
                _ if self.failure.is_some() || stats.complete && !checking => None,
                _ => self.doing(&snapshot).or(Some("downloading")),
            },
            done: if checking { snapshot.check.done } else { stats.bytes_done },
            total: if checking { snapshot.check.total } else { stats.bytes_total },
            download_rate: stats.download_rate,
            upload_rate: stats.upload_rate,
            uploaded: stats.uploaded,
            peers: stats.peers,
            complete: stats.complete && !checking,
        }
    }

    /// The `progress` event.
    pub(crate) fn print_progress(&self, cx: &Context) {
        let row = self.row();
        let snapshot = self.handle.snapshot();
        let (stats, why) = (snapshot.stats, self.why(&snapshot));
        let details = json!({
            "bytes_done": stats.bytes_done,
            "bytes_total": stats.bytes_total,
            "download_rate": stats.download_rate,
            "upload_rate": stats.upload_rate,
            "downloaded": stats.downloaded,
            "uploaded": stats.uploaded,
            "peers": stats.peers,
            "seeds": stats.seeds,
            "eta_s": row.eta().map(|eta| eta.as_secs()),
            "why": why.map(|why| json!({"code": why.code(), "text": why.to_string()})),
        });
        self.emit(cx, "progress", details);
    }

    /// The `started` event of a download: at once, with what is known by then.
    pub(crate) fn print_started(&self, cx: &Context, info: Option<&Info>) {
        let magnet = match &self.goal {
            Goal::Serve { magnet, .. } => Some(magnet.to_string()),
            Goal::Get => None,
        };
        let details = json!({
            "name": info.map_or(self.label.as_str(), Info::name),
            "file_count": info.map(list::count),
            "total_size": info.map(|info| info.layout().total()),
            "dir": self.dir.display().to_string(),
            "magnet": magnet,
        });
        self.emit(cx, "started", details);
    }

    fn handle_info(&mut self, info: Info) {
        self.label = printable(info.name()).into_owned();
        let (files, total) = (list::count(&info), info.layout().total());
        tracing::info!("{}: {files} files, {}", self.label, Size(total));
        if let Goal::Serve { magnet, .. } = &mut self.goal {
            magnet.name.get_or_insert_with(|| self.label.clone());
            magnet.length.get_or_insert(total);
        }
        self.info = Some(info);
    }

    fn handle_no_room(&mut self, cx: &Context, reason: Option<String>) {
        match &reason {
            Some(reason) => {
                cx.out.warn(format_args!("{}: paused, {reason}; goes on once there is room", self.label));
            }
            None => cx.out.note(format_args!("{}: there is room again", self.label)),
        }
        self.emit(cx, if reason.is_some() { "paused" } else { "resumed" }, json!({ "reason": reason }));
        self.waits_for_room = reason.is_some();
    }

    fn handle_checked(&mut self, cx: &Context, bytes_done: u64) {
        // Of the wanted files, as soon as the figures know them.
        let wanted = self.handle.stats().bytes_total;
        let total = self.info.as_ref().map_or(0, |info| info.layout().total());
        let total = if wanted > 0 { wanted } else { total };
        match &self.goal {
            Goal::Get if bytes_done > 0 => {
                let percent = percent(bytes_done, total);
                cx.out.note(format_args!(
                    "{}: {} ({percent}%) are there already",
                    self.label,
                    Size(bytes_done)
                ));
            }
            Goal::Get => {}
            Goal::Serve { magnet, paste } => {
                let magnet = magnet.to_string();
                if *paste {
                    cx.out.note("On the other machine:\n");
                    cx.out.note(format_args!("    sprat get '{}'\n", magnet.replace('\'', "%27")));
                    cx.out.note("Sharing until Ctrl-C.");
                } else {
                    cx.out.note(format_args!("seeding {}, {}", self.label, Size(total)));
                }
                if cx.out.is_json() {
                    self.print_started(cx, self.info.as_ref());
                } else {
                    cx.out.data(magnet);
                }
            }
        }
    }

    fn handle_durable(&mut self, cx: &Context) -> Option<Finished> {
        if self.durable {
            return None;
        }
        self.durable = true;
        let stats = self.handle.stats();
        let path = self.path();
        let finished = Finished {
            path: path.clone(),
            name: self.label.clone(),
            info_hash: self.handle.info_hash.to_string(),
            info_hash_v2: self.info.as_ref().and_then(|info| info.hashes().v2()).map(|hash| hash.to_string()),
        };
        if matches!(self.goal, Goal::Get) {
            cx.out.note(format_args!(
                "{}: complete; {}",
                self.label,
                received(stats.downloaded, self.started.elapsed())
            ));
            self.print_progress(cx);
            if cx.out.is_json() {
                let (bytes_total, received) = (stats.bytes_total, stats.downloaded);
                let path = path.display().to_string();
                let details = json!({"path": path, "bytes_total": bytes_total, "downloaded": received});
                self.emit(cx, "complete", details);
            } else {
                cx.out.path(&path);
            }
        }
        self.leave_if_fulfilled();
        matches!(self.goal, Goal::Get).then_some(finished)
    }

    fn handle_core(&mut self, cx: &Context, event: Event) {
        match event {
            Event::PeerConnected(addr) => self.emit_peer(cx, addr, "connected", None),
            Event::PeerDisconnected(addr, reason) => {
                self.emit_peer(cx, addr, "disconnected", reason.map(|reason| reason.to_string()));
            }
            Event::PeerBanned(addr) => {
                cx.out
                    .warn(format_args!("{}: {addr} sent bad data and is not spoken to any more", self.label));
                self.emit_peer(cx, addr, "banned", None);
            }
            Event::PieceVerified(piece) => tracing::trace!("{}: piece {} is good", self.label, piece.get()),
            Event::LayersComplete => tracing::debug!("{}: all piece layers are known", self.label),
            Event::PieceFailed { piece, blocks } => {
                let (label, piece) = (&self.label, piece.get());
                let what = match blocks.len() as u64 {
                    0 => format!("piece {piece}"),
                    count => format!("{} of piece {piece}", plural(count, "block")),
                };
                cx.out.warn(format_args!("{label}: {what} came damaged, to be fetched again"));
                self.emit(cx, "piece_failed", json!({"piece": piece, "blocks": blocks}));
            }
            Event::TrackerReplied { url, peers, seeds, leechers, warning, external_ip } => {
                if self.failing_trackers.remove(&*url) {
                    cx.out.note(format_args!("{}: tracker {} answers again", self.label, printable(&url)));
                }
                if let Some(warning) = &warning {
                    cx.out.warn(format_args!("tracker {}: {}", printable(&url), printable(warning)));
                }
                tracing::info!(
                    "{}: tracker {} knows {}",
                    self.label,
                    printable(&url),
                    plural(peers as u64, "peer")
                );
                let details = json!({
                    "url": &*url, "peers": peers, "seeds": seeds, "leechers": leechers, "warning": warning,
                    "external_ip": external_ip,
                });
                self.emit(cx, "tracker", details);
            }
            Event::TrackerFailed { url, message, retry_in } => {
                let known =
                    self.failing_trackers.contains(&*url) || self.failing_trackers.len() >= MAX_FAILING;
                if !known {
                    self.failing_trackers.insert(url.to_string());
                    let (url, message) = (printable(&url), printable(&message));
                    let again = match retry_in {
                        wait if wait >= NEVER => "not asked again, as it wishes".into(),
                        wait => format!("asked again in {}", show_duration(wait)),
                    };
                    cx.out.warn(format_args!("{}: tracker {url}: {message}; {again}", self.label));
                }
                let details = json!({"url": &*url, "error": message, "retry_in_s": retry_in.as_secs()});
                self.emit(cx, "tracker", details);
            }
            Event::Complete => tracing::info!("{}: every piece is verified", self.label),
            Event::Fulfilled => {
                self.fulfilled = true;
                self.leave_if_fulfilled();
            }
        }
    }

    fn leave_if_fulfilled(&self) {
        // A torrent that is served needs nothing to become durable.
        if self.fulfilled && self.is_done() {
            self.handle.stop(STOP_LIMIT);
        }
    }

    fn fail(&mut self, cx: &Context, error: CliError) {
        self.failure.get_or_insert(error.exit());
        cx.out.error_about(Some(self.handle.info_hash), &error);
    }

    /// Where the torrent's file or directory lies.
    fn path(&self) -> PathBuf {
        // `./photos` says no more than `photos`.
        let dir = if self.dir.as_os_str() == "." { PathBuf::new() } else { self.dir.clone() };
        let first = self.info.as_ref().and_then(|info| info.files().first());
        match first.and_then(|file| file.path.as_path().components().next()) {
            Some(top) => dir.join(top),
            None => self.dir.clone(),
        }
    }

    /// Why it does not go faster, while it downloads.
    fn why(&self, snapshot: &Snapshot) -> Option<Why> {
        let downloads =
            matches!(snapshot.phase, Phase::FetchingInfo | Phase::Running) && self.failure.is_none();
        let downloads = downloads && matches!(self.goal, Goal::Get);
        downloads.then(|| why(&snapshot.stats, self.download_limit)).flatten()
    }

    /// Logs why it does not go faster, whenever that is something else than before.
    pub(crate) fn log_why(&mut self) {
        let why = self.why(&self.handle.snapshot());
        if why.map(Why::code) == self.last_why.map(Why::code) {
            return;
        }
        self.last_why = why;
        let Some(why) = why else { return };
        let stats = self.handle.stats();
        let dialled = if stats.was_dialled { "" } else { "; nobody has dialled us: is the port open?" };
        tracing::info!(
            "{}: {why} ({} of {} known, {} of {} trackers fail){dialled}",
            self.label,
            plural(stats.peers as u64, "peer"),
            stats.known_peers,
            stats.failing_trackers,
            stats.trackers
        );
    }

    /// The same with the reason why it takes its time.
    fn shown(&self, snapshot: &Snapshot) -> Option<Cow<'static, str>> {
        let doing = self.doing(snapshot);
        let plain = matches!(doing, None | Some("looking for metadata" | "looking for peers"));
        match self.why(snapshot).filter(|_| plain && !self.waits_for_room) {
            Some(why) => Some(doing.map_or(why.to_string(), |doing| format!("{doing}: {why}")).into()),
            None => doing.map(Into::into),
        }
    }

    fn doing(&self, snapshot: &Snapshot) -> Option<&'static str> {
        match snapshot.phase {
            _ if self.failure.is_some() => Some("failed"),
            Phase::FetchingInfo => Some("looking for metadata"),
            Phase::Checking => Some("checking"),
            Phase::Running if self.waits_for_room => Some("disk full"),
            Phase::Running if snapshot.stats.complete => Some("seeding"),
            Phase::Running if snapshot.stats.peers == 0 => Some("looking for peers"),
            Phase::Running => None,
            Phase::Stopping => Some("saying goodbye"),
            Phase::Stopped => Some("done"),
        }
    }

    fn mark(&self) -> Mark {
        let snapshot = self.handle.snapshot();
        Mark {
            phase: snapshot.phase,
            has_info: self.info.is_some(),
            checked: snapshot.check.done,
            done: snapshot.stats.bytes_done,
            received: snapshot.stats.downloaded,
        }
    }

    fn emit_peer(&self, cx: &Context, addr: std::net::SocketAddr, state: &str, reason: Option<String>) {
        tracing::debug!("{}: {addr} {state}", self.label);
        self.emit(cx, "peer", json!({"addr": addr.to_string(), "state": state, "reason": reason}));
    }

    /// An event of the JSON stream.
    fn emit(&self, cx: &Context, event: &str, mut details: Value) {
        if cx.out.is_json() {
            details["event"] = event.into();
            details["info_hash"] = self.handle.info_hash.to_string().into();
            cx.out.json(details);
        }
    }
}

/// What came, how fast.
fn received(bytes: u64, time: Duration) -> String {
    if bytes == 0 {
        return "nothing had to be fetched".into();
    }
    let rate = Rate((bytes as f64 / time.as_secs_f64().max(0.001)) as u64);
    format!("{} received in {} ({rate})", Size(bytes), show_duration(time))
}
