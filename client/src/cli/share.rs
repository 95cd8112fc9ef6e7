//! `sprat share`: for somebody who has nothing but a terminal. Creates a torrent in memory, runs a tracker for it, seeds, and prints the
//! line for the other end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use torrent_format::{InfoHashes, Magnet};
use tracker::{Config, OwnSeeder, ServeError, Server, serve};

use super::args::ShareArgs;
use super::endpoint::url_host;
use super::error::CliError;
use super::signals::Signals;
use super::source::Source;
use super::transfer::{CLOSE_LIMIT, Goal, Transfer};
use super::watch::{Options, watch};
use super::{Context, get, make, net, seed, write};
use crate::engine::session::{AddTorrent, Session};
use crate::engine::storage::{Access, Check};
use crate::torrent::Stay;

/// How often peers of a share announce: often, since they are few, and want to find each other soon.
const INTERVAL: Duration = Duration::from_secs(60);

/// Addresses in the line for the other end: each is a tracker that is tried in turn.
const MAX_ADDRESSES: usize = 3;

/// What the tracker may take to end, beside what the torrent takes: together below the 3 s that were promised.
const STOP_LIMIT: Duration = Duration::from_millis(300);

/// How often a port is looked for that is free for IPv4 and IPv6 alike, before giving up.
const PORT_ATTEMPTS: usize = 20;

pub(crate) async fn run(cx: &Context, args: ShareArgs) -> Result<(), CliError> {
    if args.network.proxy.is_some() {
        return Err(CliError::Usage(
            "--proxy: nobody can come in through a proxy, so nothing can be shared".into(),
        ));
    }
    let mut signals = Signals::listen()?;
    let added = net::added_trackers(&args.network)?;
    let config = net::session_config(cx, &args.network, net::DEFAULT_MEMORY)?;
    if let Some(output) = &args.output {
        if output.as_os_str() == "-" {
            return Err(CliError::Usage(
                "--output -: the magnet goes to standard output; --output FILE names a file".into(),
            ));
        }
        write::refuse_inside(output, &args.path, &[])?;
        write::refuse_existing(output, args.force)?;
    }
    let mut made = tokio::select! {
        made = make::torrent(cx, &args.path, &added) => made?,
        signal = signals.next() => return Err(CliError::Interrupted(signal)),
    };
    let bind = config.via.bind;
    let session = Session::start(config).await?;
    let hashes = made.metainfo.info.hashes();
    let server = listen(args.http, bind, hashes, session.port()).await?;

    let hosts = hosts(&args, &server);
    let own_trackers: Vec<String> =
        hosts.iter().map(|host| net::announce_url(host, port_of(&server))).collect();
    // What is in the magnet: our tracker at each of its addresses, then those of the flags.
    made.metainfo.trackers.splice(0..0, own_trackers.into_iter().map(|url| vec![url]));
    if let Some(output) = &args.output {
        write::whole(cx, output, &made.metainfo.to_bytes(), args.force)?;
    }
    let mut magnet = Magnet::from_metainfo(&made.metainfo);
    magnet.peers = match &args.advertise {
        Some(host) => vec![format!("{}:{}", url_host(&host.0), session.port())],
        None => seed::own_peers(bind, session.port()),
    };
    // Our own tracker lists us without being told.
    made.metainfo.trackers = added;
    let source = Source::Torrent(Box::new(made.metainfo));
    let torrent = AddTorrent {
        dir: made.dir.clone(),
        access: Access::Seed,
        check: Check::Trust,
        stay: Stay::Seed { ratio: None, time: None },
        // The flags' trackers are among the torrent's already.
        trackers: source.trackers(),
        ..get::torrent_of(&source, &args.network)
    };
    let goal = Goal::Serve { magnet: Box::new(magnet), paste: true };
    let transfer = Transfer::new(session.add(torrent), source.label(), made.dir, goal);
    let result = watch(cx, signals, vec![transfer], Options::default()).await;
    tokio::join!(server.stop(STOP_LIMIT), session.close(CLOSE_LIMIT));
    result
}

/// Names and addresses that the other end may reach the tracker by.
fn hosts(args: &ShareArgs, server: &Server) -> Vec<String> {
    if let Some(host) = &args.advertise {
        return vec![host.0.clone()];
    }
    let bound = server.local_addrs();
    let specific = bound.iter().map(SocketAddr::ip).find(|ip| !ip.is_unspecified());
    let listens = |family: IpAddr| bound.iter().any(|addr| addr.is_ipv6() == family.is_ipv6());
    let addresses = net::reachable_addresses(specific.or(args.network.bind)).into_iter();
    addresses
        .filter(|address| listens(*address))
        .take(MAX_ADDRESSES)
        .map(|address| address.to_string())
        .collect()
}

fn port_of(server: &Server) -> u16 {
    server.local_addrs().first().map_or(0, SocketAddr::port)
}

/// Starts the tracker: where `--http` says, else on one free port of every address (or of the one that `--bind` names).
async fn listen(
    http: Option<SocketAddr>,
    bind: Option<IpAddr>,
    hashes: InfoHashes,
    seeder_port: u16,
) -> Result<Server, CliError> {
    let own_seeder = Some(OwnSeeder { hashes, port: seeder_port });
    let config = |http| Config { own_seeder, ..Config::embedded(http, INTERVAL) };
    if let Some(addr) = http.or_else(|| bind.map(|ip| SocketAddr::new(ip, 0))) {
        return Ok(serve(config(vec![addr])).await?);
    }
    for _ in 0..PORT_ATTEMPTS {
        let Some(port) = free_port() else { break };
        match serve(config(net::everywhere(port))).await {
            // Somebody was faster, or has the other family's.
            Err(ServeError::Listen { source, .. }) if source.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(_) => break,
            Ok(server) => return Ok(server),
        }
    }
    // No IPv6 on this machine.
    Ok(serve(config(vec![(Ipv4Addr::UNSPECIFIED, 0).into()])).await?)
}

/// A port that nobody listens on at this moment.
fn free_port() -> Option<u16> {
    let listener = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
    listener.local_addr().ok().map(|addr| addr.port())
}
