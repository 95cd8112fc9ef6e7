//! How to serve: [`Config`]; and why not: [`ServeError`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::OwnSeeder;
use crate::directory::DirectoryConfig;
use crate::store::RedisConfig;
use crate::swarm::Settings;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen for HTTP.
    pub http: Vec<SocketAddr>,
    /// Where to listen for UDP.
    pub udp: Vec<SocketAddr>,
    /// Where metrics are to be had.
    pub metrics: Option<SocketAddr>,
    /// Where the admin API is, if `state` has a directory for its token.
    pub admin: SocketAddr,
    /// Threads for each protocol.
    pub threads: usize,
    /// What is asked of peers, and how much is remembered.
    pub settings: Settings,
    /// Most HTTP connections at a time.
    pub max_connections: usize,
    /// A seeder that the tracker lists at the address that the asker connected to, on this port: how an embedded tracker lists
    /// its own seeder (`sprat share`, `sprat demo`).
    pub own_seeder: Option<OwnSeeder>,
    /// A file of the torrents that are served; none: all.
    pub allow: Option<PathBuf>,
    /// A file of the torrents that are not served.
    pub deny: Option<PathBuf>,
    /// Clients whose peer ids begin so are refused.
    pub deny_clients: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Serves those only who have a passkey. Needs `state`.
    pub private: bool,
    /// The directory of what outlives the process.
    pub state: Option<PathBuf>,
    /// How often the swarms are saved there.
    pub save_every: Duration,
    /// The Redis server that several trackers share their swarms by.
    pub redis: Option<RedisConfig>,
    /// Serves a directory of torrents too. Needs `state`.
    pub directory: Option<DirectoryConfig>,
}

/// Most HTTP connections at a time: at 8 KiB of buffer each, some 40 MB.
pub const MAX_CONNECTIONS: usize = 4096;

/// How often the swarms are saved unless something else is said.
pub const SAVE_EVERY: Duration = Duration::from_secs(60);

impl Default for Config {
    /// Listens nowhere; one thread for each protocol; nothing is kept.
    fn default() -> Self {
        Self {
            http: Vec::new(),
            udp: Vec::new(),
            metrics: None,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            threads: 1,
            settings: Settings::default(),
            max_connections: MAX_CONNECTIONS,
            own_seeder: None,
            allow: None,
            deny: None,
            deny_clients: Vec::new(),
            trusted_proxies: Vec::new(),
            private: false,
            state: None,
            save_every: SAVE_EVERY,
            redis: None,
            directory: None,
        }
    }
}

impl Config {
    /// A tracker within another program: HTTP, one thread, nothing kept.
    pub fn embedded(http: Vec<SocketAddr>, interval: Duration) -> Self {
        let settings = Settings { interval, ..Settings::default() };
        Self { http, settings, ..Self::default() }
    }
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
    /// The system starts no thread.
    #[error("can't start a thread: {0}")]
    Thread(std::io::Error),
    /// Something in the configuration, a list, or the state directory.
    #[error("{0}")]
    Configuration(String),
    /// The store can't be used at all; one that is away for the moment is waited for.
    #[error("can't use the store: {0}")]
    Store(String),
}
