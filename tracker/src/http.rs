//! The HTTP side: an axum router, and what a running tracker is.
//!
//! Every peer is taken to be at the address that its connection came from. `ip=` in a query and `X-Forwarded-For` are ignored:
//! anyone could be named there.
#![expect(clippy::disallowed_methods, reason = "the clock and the seed of the swarms come in here")]

mod connection;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use torrent_format::InfoHash;
use torrent_format::announce::http::{self as wire, ScrapeEntry};
use torrent_format::announce::{AnnounceReply, AnnounceRequest};

use crate::swarm::{Settings, Swarms};
use connection::Endpoints;

pub use crate::own_seeder::OwnSeeder;

/// How often a part of the swarms is searched for silent peers.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Peers looked at each time: about a millisecond, during which announces wait; a million peers take under a minute.
const SWEEP_BUDGET: usize = 20_000;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen: one or several.
    pub http: Vec<SocketAddr>,
    /// How often peers announce.
    pub interval: Duration,
    /// A seeder that the tracker lists at the address that the asker connected to, on this port: how an embedded tracker lists
    /// its own seeder (`sprat share`, `sprat demo`).
    pub own_seeder: Option<OwnSeeder>,
}

/// Can't serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("can't listen on {addr}: {source}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// There is no randomness to be had for whom to hand out.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// A running tracker. Dropped, it ends at once.
#[derive(Debug)]
pub struct Server {
    addrs: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Where it listens, ports filled in.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Takes no more connections, answers what was asked, ends within `limit`.
    pub async fn stop(mut self, limit: Duration) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::debug!("connections were cut off");
        }
    }
}

/// Listens and serves in the background, on the current tokio runtime.
///
/// # Errors
/// If one of the addresses can't be listened on; then none is.
pub async fn serve(config: Config) -> Result<Server, ServeError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(ServeError::Random)?;
    let settings = Settings { interval: config.interval, ..Settings::default() };
    let tracker = Arc::new(Tracker {
        swarms: Mutex::new(Swarms::with_settings(u64::from_ne_bytes(seed), settings)),
        own_seeder: config.own_seeder,
        started: Instant::now(),
    });

    let mut listeners = Vec::new();
    let mut addrs = Vec::new();
    for &addr in &config.http {
        let failed = |source| ServeError::Listen { addr, source };
        let listener = connection::listen(addr).map_err(failed)?;
        addrs.push(listener.local_addr().map_err(failed)?);
        listeners.push(listener);
    }

    let (stop, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(connection::MAX_CONNECTIONS));
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(connection::accept(listener, router(tracker.clone()), slots.clone(), stopped.clone()));
    }
    tasks.spawn(sweep(tracker, stopped));
    Ok(Server { addrs, stop, tasks })
}

/// What the handlers share.
struct Tracker {
    swarms: Mutex<Swarms>,
    own_seeder: Option<OwnSeeder>,
    started: Instant,
}

impl Tracker {
    fn announce(&self, endpoints: Endpoints, request: &AnnounceRequest) -> AnnounceReply {
        let asker = SocketAddr::new(endpoints.remote.ip(), request.port);
        let now = self.started.elapsed();
        let mut swarms = self.swarms();
        match self.own_seeder {
            Some(own) => own.announce(&mut swarms, now, asker, endpoints.local.ip(), request),
            None => swarms.announce(now, asker, request),
        }
    }

    fn scrape(&self, info_hashes: Vec<InfoHash>) -> Vec<(InfoHash, ScrapeEntry)> {
        let swarms = self.swarms();
        let scrape = |info_hash: &InfoHash| match self.own_seeder {
            Some(own) => own.scrape(&swarms, info_hash),
            None => swarms.scrape(info_hash),
        };
        info_hashes.into_iter().map(|info_hash| (info_hash, scrape(&info_hash))).collect()
    }

    fn swarms(&self) -> MutexGuard<'_, Swarms> {
        // Should an announce ever panic, the others go on: at worst one count is off until its swarm is empty.
        self.swarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that can be asked. Paths are read by hand: what trackers have been called for twenty years takes more than one route.
fn router(tracker: Arc<Tracker>) -> Router {
    Router::new().route("/health", get(health)).fallback(ask).with_state(tracker)
}

/// What a path asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Question {
    Announce,
    Scrape,
    /// Meant for a tracker, but not as this one is called: a client gets a reason that it can show.
    Misspelt,
    /// Not meant for a tracker.
    Other,
}

impl Question {
    /// Slashes that are repeated count once: many clients join a base that ends in one with a path that begins with one.
    fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            ["announce" | "announce.php"] if !path.ends_with('/') => Self::Announce,
            ["scrape" | "scrape.php"] if !path.ends_with('/') => Self::Scrape,
            [first, ..] if first.starts_with("announce") || first.starts_with("scrape") => Self::Misspelt,
            _ => Self::Other,
        }
    }
}

async fn ask(
    State(tracker): State<Arc<Tracker>>,
    Extension(endpoints): Extension<Endpoints>,
    method: Method,
    uri: Uri,
) -> Response {
    match (Question::of(uri.path()), method) {
        (Question::Announce, Method::GET) => announce(&tracker, endpoints, &uri),
        (Question::Scrape, Method::GET) => scrape(&tracker, &uri),
        // HEAD asks what a GET would be answered, and changes nothing: no announce is made.
        (Question::Announce | Question::Scrape, Method::HEAD) => bencoded(Vec::new()),
        (Question::Announce | Question::Scrape, method) => failure(&format!("{method} is not GET")),
        (Question::Misspelt, _) => failure("this tracker is asked at /announce and /scrape"),
        (Question::Other, _) => not_found().into_response(),
    }
}

fn announce(tracker: &Tracker, endpoints: Endpoints, uri: &Uri) -> Response {
    match wire::parse_announce(raw_query(uri)) {
        Ok(request) => bencoded(wire::encode_reply(&tracker.announce(endpoints, &request))),
        Err(error) => failure(&error.to_string()),
    }
}

fn scrape(tracker: &Tracker, uri: &Uri) -> Response {
    match wire::parse_scrape(raw_query(uri)) {
        Ok(info_hashes) => bencoded(wire::encode_scrape(tracker.scrape(info_hashes))),
        Err(error) => failure(&error.to_string()),
    }
}

fn failure(reason: &str) -> Response {
    bencoded(wire::encode_failure(reason, None))
}

async fn health() -> &'static str {
    "ok\n"
}

fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "This is a BitTorrent tracker. It is asked at /announce and /scrape.\n")
}

fn raw_query(uri: &Uri) -> &[u8] {
    uri.query().unwrap_or_default().as_bytes()
}

/// Failures too have status 200: clients read the reason only then.
fn bencoded(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))], body).into_response()
}

/// Forgets silent peers, a part of the swarms at a time, until `stopped`.
async fn sweep(tracker: Arc<Tracker>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|&stopped| stopped) => return,
            _ = ticks.tick() => tracker.swarms().expire_some(tracker.started.elapsed(), SWEEP_BUDGET),
        }
    }
}
