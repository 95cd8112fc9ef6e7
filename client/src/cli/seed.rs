//! `sprat seed`: serves data that is here.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use torrent_format::Magnet;

use super::args::SeedArgs;
use super::error::CliError;
use super::signals::Signals;
use super::source::{self, Source};
use super::transfer::{CLOSE_LIMIT, Goal, Transfer};
use super::watch::{Options, watch};
use super::{Context, get, make, net};
use crate::engine::session::{AddTorrent, Session};
use crate::engine::storage::{Access, Check};

/// Addresses of ours in a magnet that names no tracker; more would make the link unwieldy.
const MAX_OWN_PEERS: usize = 4;

/// Something to serve, and where its data lies.
struct Served {
    source: Source,
    dir: PathBuf,
    check: Check,
}

pub(crate) async fn run(cx: &Context, args: SeedArgs) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let added = net::added_trackers(&args.network)?;
    let config = net::session_config(cx, &args.network, net::DEFAULT_MEMORY)?;
    let mut served = Vec::new();
    for typed in &args.sources {
        tokio::select! {
            one = find(cx, typed, &args, &added) => served.push(one?),
            signal = signals.next() => return Err(CliError::Interrupted(signal)),
        }
    }
    get::refuse_twice(served.iter().map(|one| &one.source))?;
    let (bind, proxied) = (config.via.bind, config.via.proxy.is_some());
    let session = Session::start(config).await?;
    let transfers = served
        .iter()
        .map(|one| {
            let torrent = AddTorrent {
                dir: one.dir.clone(),
                access: Access::Seed,
                check: one.check,
                super_seed: args.super_seed,
                stay: get::seed_until(args.goal),
                ..get::torrent_of(&one.source, &args.network)
            };
            let mut magnet = Box::new(magnet_of(&one.source, &added));
            if torrent.trackers.is_empty() && !proxied {
                // Nobody else can tell where we are.
                magnet.peers = own_peers(bind, session.port());
            }
            let goal = Goal::Serve { magnet, paste: false };
            Transfer::new(session.add(torrent), one.source.label(), one.dir.clone(), goal)
        })
        .collect();
    let result = watch(cx, signals, transfers, Options::default()).await;
    session.close(CLOSE_LIMIT).await;
    result
}

/// A torrent is what it is; a plain path becomes one, and needs no second look at its data.
async fn find(
    cx: &Context,
    typed: &OsStr,
    args: &SeedArgs,
    added: &[Vec<String>],
) -> Result<Served, CliError> {
    let path = Path::new(typed);
    if path.exists() && !source::is_torrent_file(path) {
        let made = make::torrent(cx, path, added).await?;
        let source = Source::Torrent(Box::new(made.metainfo));
        return Ok(Served { source, dir: made.dir, check: Check::Trust });
    }
    let source = source::resolve(cx, typed).await?;
    get::warn_about(cx, &source);
    let check = if args.no_check { Check::Trust } else { Check::Needed };
    Ok(Served { source, dir: args.data.clone(), check })
}

/// The magnet that leads others here, by its own trackers and those of the flags.
fn magnet_of(source: &Source, added: &[Vec<String>]) -> Magnet {
    let mut magnet = source.to_magnet();
    for url in added.iter().flatten() {
        if !magnet.trackers.contains(url) {
            magnet.trackers.push(url.clone());
        }
    }
    magnet
}

/// This machine's addresses as a magnet names peers.
pub(crate) fn own_peers(bind: Option<std::net::IpAddr>, port: u16) -> Vec<String> {
    let addresses = net::reachable_addresses(bind).into_iter().take(MAX_OWN_PEERS);
    addresses.map(|address| SocketAddr::new(address, port).to_string()).collect()
}
