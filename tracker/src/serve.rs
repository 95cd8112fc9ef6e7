//! A tracker on the network: [`serve`] and [`Server`].
//!
//! Each worker is a thread of its own with sockets of its own; the system deals connections and packets out among them. Beside
//! them there are a thread that looks after things and one that answers operators.

use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::config::{Config, ServeError};
use crate::connection_id::ConnectionIds;
use crate::core::{Clock, Tracker};
use crate::directory::{self, Address, Directory, DirectoryConfig};
use crate::http::{self, Front, Listener, Site, accept, bind};
use crate::keeper::{Keeper, read_lists};
use crate::keys::Keys;
use crate::metrics::{self, Metrics};
use crate::state::{AddedLists, StateDir, StateError};
use crate::store::{self, Link, Outbox};
use crate::swarm::Shards;
use crate::udp::{Bound, Worker};
use crate::{admin, random};

/// What threads may take that are told to end at once.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running tracker. Dropped, it ends at once.
pub struct Server {
    http: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    keeper: Arc<Keeper>,
    stop: Stop,
    /// The end of each thread, that of the keeper last.
    ends: Vec<oneshot::Receiver<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("http", &self.http).field("udp", &self.udp).finish_non_exhaustive()
    }
}

impl Server {
    /// Where it listens for HTTP, ports filled in.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where it listens for UDP, ports filled in.
    pub fn udp_addrs(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Where metrics are to be had.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Where the admin API is.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Reads the lists of torrents again.
    ///
    /// # Errors
    /// If one can't be read, with what is wrong; then they stay as they are.
    pub fn reload(&self) -> Result<(), String> {
        self.keeper.reload()
    }

    /// Takes no more connections, answers what was asked, saves, and ends: within `limit` and a little more, but for a save that
    /// takes longer.
    pub async fn stop(mut self, limit: Duration) {
        self.stop.all();
        let keeper = self.ends.pop();
        if tokio::time::timeout(limit, all_of(&mut self.ends)).await.is_err() {
            tracing::debug!("connections were cut off");
            self.stop.now();
            // A store that is away is not waited for.
            let _ = tokio::time::timeout(LAST_WORDS, all_of(&mut self.ends)).await;
        }
        if let Some(keeper) = keeper {
            let _ = keeper.await;
        }
    }
}

/// Waits for the end of all these threads.
async fn all_of(ends: &mut [oneshot::Receiver<()>]) {
    for end in ends {
        // Polled to its end once, it is not asked again.
        if !end.is_terminated() {
            let _ = end.await;
        }
    }
}

/// Tells the threads to end, at the latest when it is dropped.
struct Stop {
    threads: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
    /// Connections come to their end.
    tasks: watch::Sender<bool>,
    /// Connections are cut off.
    cut: watch::Sender<bool>,
}

impl Stop {
    fn all(&self) {
        self.threads.store(true, Relaxed);
        self.tasks.send_replace(true);
        self.handles.iter().for_each(|handle| handle.thread().unpark());
    }

    fn now(&self) {
        self.all();
        self.cut.send_replace(true);
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.now();
    }
}

/// Listens and serves in the background.
///
/// # Errors
/// If one of the addresses can't be listened on, or something in the configuration can't be used; then nothing is served.
pub async fn serve(config: Config) -> Result<Server, ServeError> {
    let (start, started) = oneshot::channel();
    // What is read and bound here may take a while: a snapshot of millions of peers does.
    thread::Builder::new()
        .name("tracker-start".into())
        .spawn(move || drop(start.send(begin(&config))))
        .map_err(ServeError::Thread)?;
    started.await.unwrap_or_else(|_| Err(ServeError::Configuration("the tracker did not start".into())))
}

fn begin(config: &Config) -> Result<Server, ServeError> {
    let dir = config.state.as_deref().map(StateDir::open).transpose().map_err(unusable)?;
    if config.private && dir.is_none() {
        return Err(ServeError::Configuration(
            "a private tracker keeps its keys in a directory: --state DIR".into(),
        ));
    }
    if config.private && config.directory.is_some() {
        return Err(ServeError::Configuration(
            "a directory shows its torrents to everybody, and a private tracker to nobody: --directory or --private".into(),
        ));
    }
    let client = config.redis.as_ref().map(store::start).transpose()?;
    let (added, keys) = match &dir {
        Some(dir) => (dir.lists().map_err(unusable)?, dir.keys().map_err(unusable)?),
        None => (AddedLists::default(), Keys::default()),
    };
    let lists = read_lists(config, added)?;
    let mut seed = [0; 8];
    random(&mut seed).map_err(ServeError::Random)?;
    let mut settings = config.settings.clone();
    settings.keeps_counts = dir.is_some() || client.is_some();
    settings.notes_changes = config.directory.is_some();
    let shards = Shards::new(u64::from_ne_bytes(seed), &settings);
    let clock = Clock::start();
    if let Some(dir) = &dir {
        let now = clock.now();
        dir.load_swarms(&shards, now, clock.epoch(now)).map_err(unusable)?;
    }
    let outbox = client.is_some().then(Outbox::default);
    let tracker = Arc::new(Tracker::new(shards, clock, config, lists, keys, outbox));

    let mut starting = Starting::new(config.threads.max(1));
    let metrics = Metrics::default();
    starting.udp(config, &tracker, &metrics, client.as_ref())?;
    let http = starting.bind_http(config)?;
    let directory = match &config.directory {
        Some(wanted) => Some(starting.directory(wanted, &tracker, &metrics, &http, dir.as_ref())?),
        None => None,
    };
    // Only now is it known what is listed there, and so allowed.
    tracker.drop_all_refused();
    let router = match &directory {
        Some(directory) => {
            http::router().merge(directory::web::router(directory.clone(), starting.udp_port()))
        }
        None => http::bare_router(),
    };
    starting.http(config, http, router, &tracker, &metrics);
    let token = match &dir {
        Some(dir) => Some(dir.token(random_bytes()?).map_err(unusable)?),
        None => None,
    };
    let admin = token.as_ref().map(|_| listen(config.admin)).transpose()?;
    let metrics_listener = config.metrics.map(listen).transpose()?;
    let addr = |listener: &Option<(TcpListener, SocketAddr)>| listener.as_ref().map(|(_, addr)| *addr);
    let (admin_addr, metrics_addr) = (addr(&admin), addr(&metrics_listener));
    if let (Some(dir), Some(addr)) = (&dir, admin_addr) {
        dir.set_address(addr).map_err(unusable)?;
    }

    let keeper = Arc::new(Keeper::new(tracker.clone(), config, dir).with_directory(directory));
    if let Some((listener, _)) = metrics_listener {
        let router = metrics::router(tracker.clone(), &metrics, client.is_some());
        starting.operators("tracker-metrics", listener, router);
    }
    if let (Some((listener, _)), Some(token)) = (admin, token) {
        starting.operators("tracker-admin", listener, admin::router(keeper.clone(), token));
    }
    if let (Some(config_of_store), Some(client)) = (&config.redis, client) {
        let link = Arc::new(Link {
            tracker,
            metrics,
            config: config_of_store.clone(),
            client,
            node: u64::from_ne_bytes(random_bytes()?),
            expiry: settings.expiry(),
            stopped: starting.threads_stopped.clone(),
        });
        let reader = link.clone();
        starting.plan("tracker-write", move || link.write());
        starting.plan("tracker-read", move || reader.read());
    }
    let (kept, every, stopped) = (keeper.clone(), config.save_every, starting.threads_stopped.clone());
    starting.plan("tracker-keeper", move || kept.run(every, &stopped));
    starting.start(keeper, metrics_addr, admin_addr)
}

fn unusable(error: StateError) -> ServeError {
    ServeError::Configuration(error.to_string())
}

fn random_bytes<const N: usize>() -> Result<[u8; N], ServeError> {
    let mut bytes = [0; N];
    random(&mut bytes).map_err(ServeError::Random)?;
    Ok(bytes)
}

fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { addr, source };
    let listener = bind(addr, false).map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

/// The sockets of one address.
type Bindings = (Vec<TcpListener>, SocketAddr);

/// What a thread does.
type Work = Box<dyn FnOnce() + Send>;

/// Sockets that are bound, and threads that are to be started once all are.
struct Starting {
    workers: usize,
    planned: Vec<(&'static str, Work)>,
    http: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
    threads_stopped: Arc<AtomicBool>,
    tasks: (watch::Sender<bool>, watch::Receiver<bool>),
    cut: (watch::Sender<bool>, watch::Receiver<bool>),
}

impl Starting {
    fn new(workers: usize) -> Self {
        Self {
            workers,
            planned: Vec::new(),
            http: Vec::new(),
            udp: Vec::new(),
            threads_stopped: Arc::default(),
            tasks: watch::channel(false),
            cut: watch::channel(false),
        }
    }

    fn plan(&mut self, name: &'static str, run: impl FnOnce() + Send + 'static) {
        self.planned.push((name, Box::new(run)));
    }

    /// A thread that runs this on a runtime of its own, until it is done or cut off.
    fn plan_task(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let mut cut = self.cut.1.clone();
        self.plan(name, move || {
            // As many blocking threads as are ever needed: one saves.
            match Builder::new_current_thread().enable_all().max_blocking_threads(2).build() {
                Ok(runtime) => runtime.block_on(async {
                    tokio::select! {
                        () = task => {}
                        _ = cut.wait_for(|&cut| cut) => {}
                    }
                }),
                Err(error) => tracing::error!(%error, "can't start a runtime"),
            }
        });
    }

    fn bind_http(&mut self, config: &Config) -> Result<Vec<Bindings>, ServeError> {
        let mut sockets = Vec::new();
        for &addr in &config.http {
            let bound = share(addr, self.workers, bind, TcpListener::local_addr)?;
            self.http.push(bound.1);
            sockets.push(bound);
        }
        Ok(sockets)
    }

    fn http(
        &mut self,
        config: &Config,
        sockets: Vec<Bindings>,
        router: Router,
        tracker: &Arc<Tracker>,
        metrics: &Metrics,
    ) {
        let site = Arc::new(Site {
            tracker: tracker.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            has_directory: config.directory.is_some(),
            router,
        });
        let slots = Arc::new(Semaphore::new(config.max_connections));
        for (sockets, addr) in sockets {
            for socket in sockets {
                let listener = Listener {
                    socket,
                    slots: slots.clone(),
                    connections: metrics.connections.clone(),
                    front: Front::new(site.clone(), metrics.listener("http", addr), addr),
                    stopped: self.tasks.1.clone(),
                };
                self.plan_task("tracker-http", accept(listener));
            }
        }
    }

    /// Opens the directory, and plans its threads.
    fn directory(
        &mut self,
        wanted: &DirectoryConfig,
        tracker: &Arc<Tracker>,
        metrics: &Metrics,
        http: &[Bindings],
        dir: Option<&StateDir>,
    ) -> Result<Arc<Directory>, ServeError> {
        let Some(dir) = dir else {
            return Err(ServeError::Configuration("the directory needs one of its own: --state DIR".into()));
        };
        if http.is_empty() {
            return Err(ServeError::Configuration(
                "the directory is served over HTTP: --http ADDR:PORT".into(),
            ));
        }
        let address = wanted.store.clone().unwrap_or_else(|| Address::Sqlite(dir.directory()));
        let tokens = dir.tokens().map_err(unusable)?;
        let listeners =
            http.iter().map(|(_, addr)| ("http", addr)).chain(self.udp.iter().map(|addr| ("udp", addr)));
        let announces =
            listeners.map(|(protocol, addr)| metrics.listener(protocol, *addr).announce).collect();
        let meter = directory::Meter(announces);
        let (directory, work) =
            directory::plan(tracker.clone(), wanted, &address, tokens, self.workers, meter)?;
        for (name, run) in work {
            let stopped = self.threads_stopped.clone();
            self.plan(name, move || run(stopped));
        }
        Ok(directory)
    }

    fn udp_port(&self) -> Option<u16> {
        self.udp.first().map(SocketAddr::port)
    }

    fn udp(
        &mut self,
        config: &Config,
        tracker: &Arc<Tracker>,
        metrics: &Metrics,
        store: Option<&redis::Client>,
    ) -> Result<(), ServeError> {
        if config.udp.is_empty() {
            return Ok(());
        }
        let ours = random_bytes()?;
        let key = store.and_then(|client| store::connection_key(client, ours)).unwrap_or(ours);
        for &addr in &config.udp {
            let local = |bound: &Bound| Ok(bound.local_addr());
            let (sockets, addr) = share(addr, self.workers, Bound::listen, local)?;
            self.udp.push(addr);
            for bound in sockets {
                let worker = Worker {
                    tracker: tracker.clone(),
                    ids: ConnectionIds::new(key),
                    metrics: metrics.listener("udp", addr),
                    bound,
                    stopped: self.threads_stopped.clone(),
                };
                self.plan("tracker-udp", move || worker.run());
            }
        }
        Ok(())
    }

    fn operators(&mut self, name: &'static str, listener: TcpListener, router: Router) {
        let mut stopped = self.tasks.1.clone();
        self.plan_task(name, async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "can't listen"),
            };
            let until = async move { drop(stopped.wait_for(|&stopped| stopped).await) };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(until).await {
                tracing::error!(%error, "can't serve");
            }
        });
    }

    fn start(
        self,
        keeper: Arc<Keeper>,
        metrics: Option<SocketAddr>,
        admin: Option<SocketAddr>,
    ) -> Result<Server, ServeError> {
        let mut stop =
            Stop { threads: self.threads_stopped, handles: Vec::new(), tasks: self.tasks.0, cut: self.cut.0 };
        let mut ends = Vec::new();
        for (name, run) in self.planned {
            let (end, ended) = oneshot::channel();
            let run = move || {
                run();
                // Nobody waits for it any more, or somebody does.
                let _ = end.send(());
            };
            stop.handles
                .push(thread::Builder::new().name(name.into()).spawn(run).map_err(ServeError::Thread)?);
            ends.push(ended);
        }
        Ok(Server { http: self.http, udp: self.udp, metrics, admin, keeper, stop, ends })
    }
}

/// As many sockets at one address as there are workers.
///
/// Sockets that share an address share it with everyone who asks to, another tracker of the same user included. So the address
/// is taken by one alone first, which fails if it is in use.
fn share<S>(
    addr: SocketAddr,
    workers: usize,
    bind: impl Fn(SocketAddr, bool) -> std::io::Result<S>,
    local_addr: impl Fn(&S) -> std::io::Result<SocketAddr>,
) -> Result<(Vec<S>, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { addr, source };
    let alone = bind(addr, false).map_err(failed)?;
    let bound = local_addr(&alone).map_err(failed)?;
    if workers == 1 {
        return Ok((vec![alone], bound));
    }
    drop(alone);
    let sockets = (0..workers).map(|_| bind(bound, true)).collect::<Result<_, _>>().map_err(failed)?;
    Ok((sockets, bound))
}
