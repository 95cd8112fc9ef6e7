//! The flags of `sprat tracker`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use tracker::config::{MAX_CONNECTIONS, SAVE_EVERY};
use tracker::directory::Address;
use tracker::store::SYNC_EVERY;
use tracker::swarm::{DEFAULT_NUMWANT, MAX_NUMWANT, Settings};

use super::super::value::{Size, duration};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TrackerArgs {
    #[command(subcommand)]
    pub(crate) command: Option<TrackerCommand>,
    /// Where to listen for HTTP; may be repeated [default: HTTP and UDP on port 6969 of every address]
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Listening")]
    pub(crate) http: Vec<SocketAddr>,
    /// Where to listen for UDP; may be repeated
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Listening")]
    pub(crate) udp: Vec<SocketAddr>,
    /// Proxies (an address or a network) whose X-Forwarded-For is believed; may be repeated
    #[arg(long, value_name = "CIDR", value_parser = network, help_heading = "Listening")]
    pub(crate) trust_proxy: Vec<ipnet::IpNet>,
    /// HTTP connections at a time
    #[arg(long, value_name = "N", default_value_t = MAX_CONNECTIONS, help_heading = "Listening")]
    pub(crate) max_connections: usize,
    /// Threads for each protocol [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = threads, help_heading = "Listening")]
    pub(crate) threads: Option<usize>,
    /// How often peers announce, give or take a tenth
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = interval, help_heading = "Swarms")]
    pub(crate) interval: Duration,
    /// Peers in an answer if the client does not say how many it wants
    #[arg(long, value_name = "N", default_value_t = DEFAULT_NUMWANT, help_heading = "Swarms")]
    pub(crate) numwant: usize,
    /// Most peers in an answer
    #[arg(long, value_name = "N", default_value_t = MAX_NUMWANT, value_parser = max_numwant, help_heading = "Swarms")]
    pub(crate) max_numwant: usize,
    /// Peers that are remembered, all torrents together
    #[arg(long, value_name = "N", default_value_t = Settings::default().max_peers, help_heading = "Swarms")]
    pub(crate) max_peers: usize,
    /// Torrents that are remembered
    #[arg(long, value_name = "N", default_value_t = Settings::default().max_swarms, help_heading = "Swarms")]
    pub(crate) max_torrents: usize,
    /// Peers of one public address (IPv6: of one /64) in one torrent
    #[arg(long, value_name = "N", default_value_t = Settings::default().max_peers_per_host, help_heading = "Swarms")]
    pub(crate) max_peers_per_ip: usize,
    /// Memory of peers and torrents; the emptiest make room [default: half of this machine's]
    #[arg(long, value_name = "SIZE", help_heading = "Swarms")]
    pub(crate) max_memory: Option<Size>,
    /// Track only the torrents in this file: an info hash a line; SIGHUP reads it again
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Access")]
    pub(crate) allow: Option<PathBuf>,
    /// Don't track the torrents in this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Access")]
    pub(crate) deny: Option<PathBuf>,
    /// Refuse clients whose peer ids begin so (-XL0012); may be repeated
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true, help_heading = "Access")]
    pub(crate) deny_client: Vec<String>,
    /// Serve only those who have a key in the URL: /KEY/announce (see `sprat tracker key`)
    #[arg(long, help_heading = "Access")]
    pub(crate) private: bool,
    /// Where counts, keys, lists and swarms outlive a restart [default: nothing is kept]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Operation")]
    pub(crate) state: Option<PathBuf>,
    /// How often the swarms are saved there
    #[arg(long, value_name = "DURATION", default_value_t = Every(SAVE_EVERY), help_heading = "Operation")]
    pub(crate) save_every: Every,
    /// Where the admin API is, if there is --state; its token is in DIR/admin.token
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0", help_heading = "Operation")]
    pub(crate) admin: SocketAddr,
    /// Where Prometheus finds /metrics; /stats and /health are there too
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Operation")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Where swarms are kept: memory, or redis://HOST[:PORT][/DB] to share them with other nodes
    #[arg(long, value_name = "STORE", default_value = "memory", value_parser = store, help_heading = "Operation")]
    pub(crate) store: Store,
    /// How often nodes tell each other
    #[arg(long, value_name = "DURATION", default_value_t = Every(SYNC_EVERY), help_heading = "Operation")]
    pub(crate) sync_every: Every,
    /// Serve a searchable directory of torrents at the HTTP address, too; needs --state
    #[arg(long, help_heading = "Directory")]
    pub(crate) directory: bool,
    /// Where the directory is kept: sqlite:FILE, or postgres://USER@HOST/DATABASE [default: directory.sqlite in --state]
    #[arg(long, value_name = "URL", help_heading = "Directory")]
    pub(crate) directory_db: Option<Address>,
    /// Let everybody publish there without a token: on a network where everybody may
    #[arg(long, help_heading = "Directory")]
    pub(crate) open_publish: bool,
    /// Where others reach this tracker, for links and announce URLs: https://tracker.example
    #[arg(long, value_name = "URL", value_parser = public_url, help_heading = "Directory")]
    pub(crate) public_url: Option<String>,
    /// Print the settings in force as a settings file, and exit
    #[arg(long, help_heading = "Operation")]
    pub(crate) print_config: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum TrackerCommand {
    /// Make, list and revoke the keys of a private tracker
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make, list and revoke the tokens of a directory
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Subcommand, Debug)]
pub(crate) enum TokenCommand {
    /// Make a token and print it: it is not kept, and can't be shown again
    Create {
        /// What its bearer may do
        #[arg(long, value_name = "SCOPE", default_value = "publish")]
        scope: TokenScope,
        /// How long it is good for [default: for good]
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<Duration>,
        /// Whom it is for, say
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        #[command(flatten)]
        place: KeyPlace,
    },
    /// Print what is known of all tokens
    List {
        #[command(flatten)]
        place: KeyPlace,
    },
    /// Take a token back: it is no good from now on
    Revoke {
        /// Its id, as `list` prints it
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        place: KeyPlace,
    },
}

/// `--scope`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenScope {
    /// Publish, and remove what was published with it
    Publish,
    /// Remove what others published, too
    Admin,
}

#[derive(Subcommand, Debug)]
pub(crate) enum KeyCommand {
    /// Make a key and print it
    Create {
        /// How long it is good for [default: for good]
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<Duration>,
        /// Whom it is for, say
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        #[command(flatten)]
        place: KeyPlace,
    },
    /// Print all keys
    List {
        #[command(flatten)]
        place: KeyPlace,
    },
    /// Take a key back: it opens nothing from now on
    Revoke {
        /// The key
        #[arg(value_name = "KEY")]
        key: String,
        #[command(flatten)]
        place: KeyPlace,
    },
}

/// Which tracker's keys.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyPlace {
    /// The tracker's state directory [default: that of the settings of `tracker`]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
    /// The tracker's admin API [default: what the state directory says]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) admin: Option<SocketAddr>,
}

/// `--store`
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Store {
    Memory,
    Redis(String),
}

/// A time between two rounds of something; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Every(pub(crate) Duration);

impl std::str::FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match duration(text)? {
            Duration::ZERO => Err("more than 0s".into()),
            every => Ok(Self(every)),
        }
    }
}

impl std::fmt::Display for Every {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_secs() {
            seconds if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

fn store(text: &str) -> Result<Store, String> {
    match text {
        "memory" => Ok(Store::Memory),
        url if ["redis://", "rediss://", "unix://", "redis+unix://", "valkey://"]
            .iter()
            .any(|s| url.starts_with(s)) =>
        {
            Ok(Store::Redis(url.to_owned()))
        }
        _ => Err("memory, or redis://HOST[:PORT][/DB]".into()),
    }
}

/// Where links lead: no path, so that every page can be named by it.
fn public_url(text: &str) -> Result<String, String> {
    let url =
        url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let is_root = |url: &url::Url| {
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty()
    };
    match url.filter(is_root) {
        Some(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        None => Err("https://HOST or http://HOST:PORT, with nothing after it".into()),
    }
}

/// A network, or one address of it.
fn network(text: &str) -> Result<ipnet::IpNet, String> {
    let one = || text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from);
    text.parse().ok().or_else(one).ok_or_else(|| "a network is an address, or 10.0.0.0/8, or fd00::/8".into())
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("between 1 and 1024".into()),
    }
}

fn max_numwant(text: &str) -> Result<usize, String> {
    // 10,000 IPv6 peers are 180 KB, more than any client takes.
    match text.parse() {
        Ok(peers @ 1..=10_000) => Ok(peers),
        _ => Err("between 1 and 10000".into()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    // The field is a 32-bit number of seconds in BEP 15, and zero would make peers announce without a pause.
    if (1..=u64::from(u32::MAX / 4)).contains(&interval.as_secs()) {
        Ok(interval)
    } else {
        Err("at least 1s".into())
    }
}
