//! What was typed: the flags of every command, as clap reads them. What they mean is each command's own business.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use globset::Glob;
use torrent_format::create;
use torrent_format::layout::MAX_PIECE_LENGTH;
use torrent_format::lint::Lint;

use super::date::Date;
use super::endpoint::{Host, HostPort, Tier, WebSeed};
use super::examples;
use super::value::{FileNumbers, Rate, Size, duration, ratio};
use crate::engine::proxy::Proxy;
use crate::engine::storage;
use crate::torrent;

mod directory;
mod tracker;
pub(crate) use directory::{DirectoryPlace, PublishArgs, SearchArgs};
pub(crate) use tracker::{
    Every, KeyCommand, KeyPlace, Store, TokenCommand, TokenScope, TrackerArgs, TrackerCommand,
};

/// BitTorrent in the terminal: create, track, download and seed torrents.
#[derive(Parser, Debug)]
#[command(name = "sprat", version, arg_required_else_help = true, after_long_help = examples::SPRAT)]
#[command(propagate_version = false, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that mean the same in every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global")]
pub(crate) struct Global {
    /// Print results and errors only (-qq: nothing at all)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "verbose")]
    pub(crate) quiet: u8,
    /// Log what happens (-vv: in detail; RUST_LOG overrides)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print JSON: a document, or an event a line for commands that take time
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Settings: a table a command, keys as the long flags [default: $XDG_CONFIG_HOME/sprat/config.toml]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Show no progress
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
}

/// `--color`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Color {
    /// Where it is a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a .torrent of a file or directory
    #[command(after_long_help = examples::CREATE)]
    Create(Box<CreateArgs>),
    /// Show what a torrent or magnet says
    #[command(after_long_help = examples::SHOW)]
    Show(ShowArgs),
    /// Check local data against a torrent
    #[command(after_long_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Change trackers, comment and more of .torrent files, without another info hash
    #[command(after_long_help = examples::EDIT)]
    Edit(Box<EditArgs>),
    /// Print the magnet URI of a torrent, or fetch the torrent of a magnet
    #[command(after_long_help = examples::MAGNET)]
    Magnet(Box<MagnetArgs>),
    /// Download, verify, exit
    #[command(after_long_help = examples::GET)]
    Get(Box<GetArgs>),
    /// Serve data that is here
    #[command(after_long_help = examples::SEED)]
    Seed(Box<SeedArgs>),
    /// Give a file or directory to somebody: create, track and seed in one
    #[command(after_long_help = examples::SHARE)]
    Share(Box<ShareArgs>),
    /// Run a tracker
    #[command(after_long_help = examples::TRACKER)]
    Tracker(Box<TrackerArgs>),
    /// Search a directory of torrents
    #[command(after_long_help = examples::SEARCH)]
    Search(SearchArgs),
    /// Put a torrent into a directory, or take it out
    #[command(after_long_help = examples::PUBLISH)]
    Publish(Box<PublishArgs>),
    /// Show a whole swarm at work on this machine, and check its result
    #[command(after_long_help = examples::DEMO)]
    Demo(DemoArgs),
    /// Print what a shell needs to complete flags and commands
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write that of each command
    #[command(after_long_help = examples::MAN)]
    Man(ManArgs),
}

impl Command {
    /// The flags of those that speak to peers.
    pub(crate) fn network(&self) -> Option<&NetworkArgs> {
        match self {
            Self::Magnet(args) => Some(&args.network),
            Self::Get(args) => Some(&args.network),
            Self::Seed(args) => Some(&args.network),
            Self::Share(args) => Some(&args.network),
            _ => None,
        }
    }

    /// As it is typed.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Show(_) => "show",
            Self::Verify(_) => "verify",
            Self::Edit(_) => "edit",
            Self::Magnet(_) => "magnet",
            Self::Get(_) => "get",
            Self::Seed(_) => "seed",
            Self::Share(_) => "share",
            Self::Tracker(_) => "tracker",
            Self::Search(_) => "search",
            Self::Publish(_) => "publish",
            Self::Demo(_) => "demo",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Where to write the pages: sprat.1, sprat-get.1 and so on, over those that are there [default: the first to standard output]
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// The file or directory
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// Where to write the .torrent (-: standard output) [default: NAME.torrent here]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite the .torrent if it exists
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Hash and report, but write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// The torrent's version
    #[arg(long, value_name = "VERSION", default_value = "hybrid")]
    pub(crate) format: Format,
    /// Bytes a piece, a power of two; auto: the least from 16 KiB to 16 MiB that makes at most 2048 pieces
    #[arg(short = 'l', long, value_name = "auto|SIZE", default_value = "auto", value_parser = piece_length)]
    pub(crate) piece_length: PieceLength,
    /// Announce URL (comma: the same tier; repeat: the next tier)
    #[arg(short, long, value_name = "URL[,URL]")]
    pub(crate) tracker: Vec<Tier>,
    /// HTTP address of the same data
    #[arg(short, long, value_name = "URL")]
    pub(crate) web_seed: Vec<WebSeed>,
    /// DHT node to start from
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) node: Vec<HostPort>,
    /// Let clients use no peers but those of the trackers
    #[arg(short, long)]
    pub(crate) private: bool,
    /// A tag inside the info, which gives the torrent an info hash of its own
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) source: Option<String>,
    /// Free text
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// The torrent's name [default: the name of PATH]
    #[arg(short = 'N', long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// The program named as its maker (none: nobody) [default: sprat and its version]
    #[arg(long, value_name = "TEXT|none")]
    pub(crate) created_by: Option<String>,
    /// Creation date (SOURCE_DATE_EPOCH is honoured) [default: none]
    #[arg(long, value_name = "RFC3339|EPOCH|none")]
    pub(crate) date: Option<Date>,
    #[command(flatten)]
    pub(crate) globs: Globs,
    /// Leave out what .gitignore files name
    #[arg(long)]
    pub(crate) gitignore: bool,
    /// Take hidden files too
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Take system litter too: .DS_Store, Thumbs.db, desktop.ini …
    #[arg(long)]
    pub(crate) junk: bool,
    /// What to do with symbolic links
    #[arg(long, value_name = "HOW", default_value = "skip")]
    pub(crate) symlinks: Symlinks,
    /// Threads that hash [default: one a processor]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
    /// Go ahead in spite of this lint
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Lint::NAMES))]
    pub(crate) allow_lint: Vec<String>,
    /// What to print on standard output
    #[arg(long, value_name = "WHAT", default_value = "path")]
    pub(crate) print: Print,
}

/// Which files of a directory or torrent.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Globs {
    /// Only what matches: GLOB without a slash is for the names of files and directories, with one for whole paths
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    pub(crate) include: Vec<String>,
    /// Nothing that matches
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    pub(crate) exclude: Vec<String>,
}

/// `--format`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Both in one: every client can use it
    Hybrid,
    /// BEP 3, for old clients only
    V1,
    /// BEP 52, for new clients only
    V2,
}

/// `--piece-length`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PieceLength {
    Auto,
    Bytes(u32),
}

/// `--symlinks`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Symlinks {
    /// Leave them out
    Skip,
    /// Take what they point to
    Follow,
    /// Keep them as links (BEP 47), if they point to something within PATH
    Store,
}

/// `--print`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Print {
    /// Where the .torrent is
    Path,
    /// The info hash; of a hybrid v1 and v2, a line each
    InfoHash,
    /// The magnet URI
    Magnet,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// Path, - (standard input), URL, magnet or info hash
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<OsString>,
    /// List the files, numbered as --select-file wants them
    #[arg(long)]
    pub(crate) files: bool,
    /// Show the files as a tree
    #[arg(long, conflicts_with = "files")]
    pub(crate) tree: bool,
    /// Print only this key of the JSON, bare
    #[arg(long, value_name = "NAME", conflicts_with_all = ["files", "tree", "lint", "dump"])]
    pub(crate) field: Option<String>,
    /// Print what is odd; exit 1 if anything is
    #[arg(long, conflicts_with_all = ["files", "tree", "dump"])]
    pub(crate) lint: bool,
    /// Print the whole bencode as JSON
    #[arg(long, conflicts_with_all = ["files", "tree"])]
    pub(crate) dump: bool,
    /// Print how OTHER differs from SOURCE; exit 1 if it does
    #[arg(long, value_name = "OTHER", conflicts_with_all = ["files", "tree", "field", "lint", "dump", "scrape"])]
    pub(crate) diff: Option<OsString>,
    /// Ask the trackers how many peers they know
    #[arg(long)]
    pub(crate) scrape: bool,
}

#[derive(Args, Debug)]
pub(crate) struct EditArgs {
    /// The .torrent files (-: standard input)
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Write each file back to its place
    #[arg(long, conflicts_with = "output")]
    pub(crate) in_place: bool,
    /// Where to write it (-: standard output); a directory for several
    #[arg(short, long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite what is at --output
    #[arg(short, long, requires = "output")]
    pub(crate) force: bool,
    /// Say what would change, but write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Announce URL to add, in a tier after the others (comma: the same tier; repeat: the next tier)
    #[arg(short = 't', long, value_name = "URL[,URL]")]
    pub(crate) add_tracker: Vec<Tier>,
    /// Announce URL to remove
    #[arg(long, value_name = "URL")]
    pub(crate) remove_tracker: Vec<String>,
    /// Announce URL to put in another's place
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    pub(crate) replace_tracker: Vec<String>,
    /// Remove every tracker, before any is added
    #[arg(long, conflicts_with_all = ["remove_tracker", "replace_tracker"])]
    pub(crate) clear_trackers: bool,
    /// HTTP address of the same data, to add
    #[arg(short, long, value_name = "URL")]
    pub(crate) web_seed: Vec<WebSeed>,
    /// Web seed to remove
    #[arg(long, value_name = "URL")]
    pub(crate) remove_web_seed: Vec<String>,
    /// Free text ('': none)
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// The program named as its maker
    #[arg(long, value_name = "TEXT|none")]
    pub(crate) created_by: Option<String>,
    /// Creation date
    #[arg(long, value_name = "RFC3339|EPOCH|none")]
    pub(crate) date: Option<Date>,
    /// Allow changes that make it another torrent, with another info hash: --private, --source, --name
    #[arg(long)]
    pub(crate) new_info_hash: bool,
    /// Let clients use no peers but those of the trackers
    #[arg(long, value_name = "on|off", value_parser = switch)]
    pub(crate) private: Option<bool>,
    /// A tag inside the info ('': none)
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) source: Option<String>,
    /// The torrent's name
    #[arg(short = 'N', long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Path, - (standard input) or URL of a .torrent
    pub(crate) source: OsString,
    /// The data: the torrent's file or directory, or the directory that holds it [default: here]
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: Option<PathBuf>,
    /// Name the bad pieces too
    #[arg(long)]
    pub(crate) pieces: bool,
    /// Threads that hash [default: one a processor]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
}

#[derive(Args, Debug)]
pub(crate) struct MagnetArgs {
    /// Path, - (standard input), URL, magnet or info hash
    pub(crate) source: OsString,
    /// Name it by its v1 info hash only [default: by all that it has]
    #[arg(long, conflicts_with = "resolve")]
    pub(crate) v1: bool,
    /// Name it by its v2 info hash only
    #[arg(long, conflicts_with = "resolve")]
    pub(crate) v2: bool,
    /// Leave the trackers out
    #[arg(long, conflicts_with = "resolve")]
    pub(crate) no_trackers: bool,
    /// Name only these files, numbered from 1
    #[arg(long, value_name = "1,3-5", conflicts_with = "resolve")]
    pub(crate) select_file: Option<FileNumbers>,
    /// Fetch the torrent from the swarm and write a .torrent
    #[arg(long)]
    pub(crate) resolve: bool,
    /// Where to write the .torrent (-: standard output) [default: NAME.torrent here]
    #[arg(short, long, value_name = "FILE", requires = "resolve", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite the .torrent if it exists
    #[arg(short, long, requires = "resolve")]
    pub(crate) force: bool,
    /// Give up if the torrent has not come after this long
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "resolve")]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// Path, - (standard input) or URL of a .torrent; magnet; info hash
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<OsString>,
    /// The directory to download to
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    /// Only these files, numbered from 1 (one torrent only)
    #[arg(long, value_name = "1,3-5")]
    pub(crate) select_file: Option<FileNumbers>,
    #[command(flatten)]
    pub(crate) globs: Globs,
    /// List the files, numbered, and exit
    #[arg(short = 'S', long)]
    pub(crate) show_files: bool,
    /// Fetch pieces in order (slower for everybody)
    #[arg(long)]
    pub(crate) sequential: bool,
    /// Go on seeding after completion, until stopped
    #[arg(long)]
    pub(crate) seed: bool,
    #[command(flatten)]
    pub(crate) goal: SeedGoal,
    /// Hash what is there, whatever the records say
    #[arg(long, conflicts_with = "no_check")]
    pub(crate) check: bool,
    /// Believe files of the right length unhashed
    #[arg(long)]
    pub(crate) no_check: bool,
    /// Overwrite files that are not this torrent's
    #[arg(short, long)]
    pub(crate) force: bool,
    /// How to reserve room on the disk
    #[arg(long, value_name = "HOW", default_value = "sparse")]
    pub(crate) allocate: Allocate,
    /// All buffers together
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = memory)]
    pub(crate) memory: Size,
    /// Leave at once when complete, without giving a little back
    #[arg(long, conflicts_with = "seed")]
    pub(crate) no_linger: bool,
    /// Run this in a shell for each finished torrent (SPRAT_PATH, SPRAT_NAME, SPRAT_INFO_HASH and, if there is one, SPRAT_INFO_HASH_V2 are set)
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub(crate) on_done: Option<String>,
    /// Give up after this long without progress
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// When seeding ends.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct SeedGoal {
    /// Seed until this much of the size has been uploaded
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub(crate) seed_ratio: Option<f64>,
    /// Seed for this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) seed_time: Option<Duration>,
}

#[derive(Args, Debug)]
pub(crate) struct SeedArgs {
    /// A torrent (path, -, URL, magnet, info hash), or a file or directory to make one of
    #[arg(required = true, value_name = "SOURCE|PATH")]
    pub(crate) sources: Vec<OsString>,
    /// The directory that holds the torrents' files and directories
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
    /// Believe files of the right length unhashed
    #[arg(long)]
    pub(crate) no_check: bool,
    /// Send each piece once if it can be: for the first seed, on a slow line
    ///
    /// Says that it has nothing, then names each peer one piece at a time, and the next once others have that one too (super-seeding, BEP
    /// 16). Once every piece is elsewhere it seeds like any other.
    #[arg(long)]
    pub(crate) super_seed: bool,
    #[command(flatten)]
    pub(crate) goal: SeedGoal,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ShareArgs {
    /// The file or directory
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// Where the tracker listens [default: a free port of every address]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) http: Option<SocketAddr>,
    /// The name or address that the other end reaches this machine by
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<Host>,
    /// Write the .torrent too
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite the .torrent if it exists
    #[arg(short, long, requires = "output")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Share this instead of random files
    #[arg(value_hint = ValueHint::AnyPath, conflicts_with = "size")]
    pub(crate) path: Option<PathBuf>,
    /// How much to make up
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = demo_size)]
    pub(crate) size: Size,
}

/// Flags of whatever speaks to peers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// The port to listen on (0: any) [default: the first free of 6881–6889, else any]
    #[arg(long, value_name = "P")]
    pub(crate) port: Option<u16>,
    /// The only address to listen on and to send from, for peers, trackers and names alike [default: all, IPv4 and IPv6]
    #[arg(long, value_name = "IP")]
    pub(crate) bind: Option<IpAddr>,
    /// The only network interface to use, for peers, trackers and names alike; while it is down, nothing leaves
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Another tracker (comma: the same tier; repeat: the next tier)
    #[arg(short, long, value_name = "URL[,URL]")]
    pub(crate) tracker: Vec<Tier>,
    /// Another peer
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) peer: Vec<HostPort>,
    /// Neither find peers in the DHT nor be found there
    #[arg(long)]
    pub(crate) no_dht: bool,
    /// A node of the DHT to begin with (repeatable; none: only those that are known from before, and what torrents and peers name)
    #[arg(long, value_name = "HOST:PORT|none", value_parser = router)]
    pub(crate) dht_router: Vec<Router>,
    /// Only ask in the DHT, never answer: for who pays by the packet, or is not to be reached
    #[arg(long, conflicts_with = "no_dht")]
    pub(crate) dht_read_only: bool,
    /// Don't have a router let peers in (by UPnP, PCP or NAT-PMP; with --interface it is not done anyway)
    #[arg(long)]
    pub(crate) no_upnp: bool,
    /// Connections a torrent; a quarter of them is left to peers that dial us
    #[arg(long, value_name = "N", default_value = "55", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) max_peers: u16,
    /// Bytes a second to send, all torrents together (500K, 2M; 0: no limit)
    #[arg(short = 'u', long, value_name = "RATE", default_value = "0", hide_default_value = true)]
    pub(crate) max_upload_limit: Rate,
    /// Bytes a second to receive, all torrents together
    #[arg(long, value_name = "RATE", default_value = "0", hide_default_value = true)]
    pub(crate) max_download_limit: Rate,
    /// Who makes all connections; what it can't carry is off (incoming connections, UDP, names of peers)
    #[arg(long, value_name = "socks5://[USER:PASSWORD@]HOST:PORT|http://…")]
    pub(crate) proxy: Option<Proxy>,
    /// Whether connections are hidden from those on the way
    #[arg(long, value_name = "WHEN", default_value = "prefer")]
    pub(crate) encryption: Encryption,
    /// What carries connections
    #[arg(long, value_name = "WHICH", default_value = "both")]
    pub(crate) transport: Transport,
    /// Neither tell peers of each other nor hear of more from them (PEX)
    #[arg(long)]
    pub(crate) no_pex: bool,
    /// Don't look for peers on this machine's own network (LSD)
    #[arg(long)]
    pub(crate) no_lsd: bool,
    /// Where records of unfinished downloads are kept [default: $XDG_STATE_HOME/sprat]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
}

/// `--dht-router`
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Router {
    /// `none`
    None,
    /// A node.
    At(HostPort),
}

fn router(text: &str) -> Result<Router, String> {
    if text == "none" { Ok(Router::None) } else { text.parse().map(Router::At) }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it is on or off".into()),
    }
}

fn demo_size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if size.0 == 0 { Err("at least 1 B: there is nothing to share".into()) } else { Ok(size) }
}

impl From<Format> for create::Format {
    fn from(typed: Format) -> Self {
        match typed {
            Format::Hybrid => Self::Hybrid,
            Format::V1 => Self::V1,
            Format::V2 => Self::V2,
        }
    }
}

impl From<Symlinks> for create::Symlinks {
    fn from(typed: Symlinks) -> Self {
        match typed {
            Symlinks::Skip => Self::Skip,
            Symlinks::Follow => Self::Follow,
            Symlinks::Store => Self::Store,
        }
    }
}

/// `--transport`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    /// TCP, and uTP where TCP does not come about
    Both,
    /// TCP alone
    Tcp,
    /// uTP alone
    Utp,
}

impl From<Transport> for torrent::Transports {
    fn from(typed: Transport) -> Self {
        match typed {
            Transport::Both => Self::Both,
            Transport::Tcp => Self::Tcp,
            Transport::Utp => Self::Utp,
        }
    }
}

/// `--encryption`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encryption {
    /// Nothing goes plain; peers that don't encrypt are not spoken to
    Require,
    /// Connections begin encrypted where the peer can do that
    Prefer,
    /// Nothing is encrypted
    Off,
}

impl From<Encryption> for torrent::Encryption {
    fn from(typed: Encryption) -> Self {
        match typed {
            Encryption::Require => Self::Require,
            Encryption::Prefer => Self::Prefer,
            Encryption::Off => Self::Off,
        }
    }
}

/// `--allocate`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Allocate {
    /// Files grow as they are written
    None,
    /// Files have their length at once, with holes
    Sparse,
    /// Room is reserved for every byte
    Full,
}

impl From<Allocate> for storage::Allocate {
    fn from(typed: Allocate) -> Self {
        match typed {
            Allocate::None => Self::None,
            Allocate::Sparse => Self::Sparse,
            Allocate::Full => Self::Full,
        }
    }
}

/// The least memory that leaves every connection of a small swarm a block to read into.
const MIN_MEMORY: u64 = 4 << 20;

fn memory(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if size.0 < MIN_MEMORY || usize::try_from(size.0).is_err() {
        return Err(format!("at least {}", Size(MIN_MEMORY)));
    }
    Ok(size)
}

fn piece_length(text: &str) -> Result<PieceLength, String> {
    if text == "auto" {
        return Ok(PieceLength::Auto);
    }
    let Size(bytes) = text.parse()?;
    match u32::try_from(bytes) {
        Ok(bytes @ 1..=MAX_PIECE_LENGTH) => Ok(PieceLength::Bytes(bytes)),
        _ => Err(format!("between 1 B and {}", Size(MAX_PIECE_LENGTH.into()))),
    }
}

fn glob(text: &str) -> Result<String, String> {
    Glob::new(text).map(|_| text.to_owned()).map_err(|error| error.kind().to_string())
}
