//! `sprat tracker`: runs the tracker until it is stopped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracker::swarm::Settings;
use tracker::{Config, DirectoryConfig, RedisConfig, ServeError, Server, serve};

use super::args::{Store, TrackerArgs, TrackerCommand};
use super::endpoint::url_host;
use super::error::CliError;
use super::signals::{Signal, Signals};
use super::{Context, net};

mod admin;
mod key;
mod memory;
mod print;
mod token;

/// What most trackers use, and what peers guess.
const DEFAULT_PORT: u16 = 6969;

/// What requests that are being answered may take at the end.
const STOP_LIMIT: Duration = Duration::from_secs(2);

pub(crate) async fn run(cx: &Context, mut args: TrackerArgs) -> Result<(), CliError> {
    match args.command.take() {
        Some(TrackerCommand::Key(command)) => return key::run(cx, command, args.state).await,
        Some(TrackerCommand::Token(command)) => return token::run(cx, command, args.state).await,
        None => {}
    }
    if args.print_config {
        cx.out.data(print::settings(&args).trim_end());
        return Ok(());
    }
    let mut signals = Signals::listen()?;
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|source| CliError::System { action: "can't listen for signals", source })?;
    if !args.directory && (args.directory_db.is_some() || args.open_publish) {
        return Err(CliError::Usage(
            "--directory-db and --open-publish are for a tracker with --directory".into(),
        ));
    }
    let server = listen(&args).await?;
    announce_start(cx, &server, args.directory);
    let signal = loop {
        tokio::select! {
            // It is meant for the lists, and does not end a tracker.
            _ = hangups.recv() => reload(cx, &server),
            signal = signals.next() => if signal != Signal::Hangup { break signal },
        }
    };
    cx.out.note(format_args!("{signal}: stopping"));
    signals.exit_at_next(true);
    server.stop(STOP_LIMIT).await;
    if cx.out.is_json() {
        cx.out.json(json!({"event": "stopped"}));
    }
    Ok(())
}

fn announce_start(cx: &Context, server: &Server, has_directory: bool) {
    let mut urls = announce_urls("http", server.local_addrs());
    let pages = urls.iter().map(|url| url.trim_end_matches("announce").to_owned());
    let directory: Vec<String> = pages.filter(|_| has_directory).collect();
    urls.extend(announce_urls("udp", server.udp_addrs()));
    if cx.out.is_json() {
        cx.out.json(json!({
            "event": "started",
            "announce": urls,
            "http": server.local_addrs(),
            "udp": server.udp_addrs(),
            "metrics": server.metrics_addr(),
            "admin": server.admin_addr(),
            "directory": directory,
        }));
        return;
    }
    urls.iter().for_each(|url| cx.out.data(url));
    if let Some(url) = directory.first() {
        cx.out.note(format_args!("directory at {url}"));
    }
    if let Some(addr) = server.metrics_addr() {
        cx.out.note(format_args!("metrics at http://{addr}/metrics"));
    }
    if let Some(addr) = server.admin_addr() {
        cx.out.note(format_args!("admin API at http://{addr}"));
    }
    cx.out.note("tracking until stopped");
}

fn reload(cx: &Context, server: &Server) {
    match server.reload() {
        Ok(()) => cx.out.note("lists read again"),
        Err(problem) => cx.out.warn(format_args!("the lists stay as they are: {problem}")),
    }
}

async fn listen(args: &TrackerArgs) -> Result<Server, CliError> {
    let config = config(args);
    if !(args.http.is_empty() && args.udp.is_empty()) {
        return serve(config).await.map_err(failed);
    }
    let everywhere = net::everywhere(DEFAULT_PORT);
    match serve(Config { http: everywhere.clone(), udp: everywhere, ..config.clone() }).await {
        // A machine without IPv6 has IPv4 all the same.
        Err(ServeError::Listen { addr, source })
            if addr.is_ipv6() && source.kind() != std::io::ErrorKind::AddrInUse =>
        {
            let ipv4 = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT))];
            serve(Config { http: ipv4.clone(), udp: ipv4, ..config }).await.map_err(failed)
        }
        result => result.map_err(failed),
    }
}

fn failed(error: ServeError) -> CliError {
    match error {
        ServeError::Configuration(problem) => CliError::Configuration(problem),
        error => CliError::Tracker(error),
    }
}

fn config(args: &TrackerArgs) -> Config {
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let max_memory = args.max_memory.map_or_else(memory::half_of_all, |size| usize::try_from(size.0).ok());
    Config {
        http: args.http.clone(),
        udp: args.udp.clone(),
        metrics: args.metrics,
        admin: args.admin,
        threads: args.threads.unwrap_or_else(cores),
        settings: Settings {
            interval: args.interval,
            numwant: args.numwant,
            max_numwant: args.max_numwant,
            max_swarms: args.max_torrents,
            max_peers: args.max_peers,
            max_bytes: max_memory.unwrap_or(usize::MAX),
            max_peers_per_host: args.max_peers_per_ip,
            ..Settings::default()
        },
        max_connections: args.max_connections,
        own_seeder: None,
        allow: args.allow.clone(),
        deny: args.deny.clone(),
        deny_clients: args.deny_client.clone(),
        trusted_proxies: args.trust_proxy.clone(),
        private: args.private,
        state: args.state.clone(),
        save_every: args.save_every.0,
        redis: match &args.store {
            Store::Memory => None,
            Store::Redis(url) => Some(RedisConfig { url: url.clone(), sync_every: args.sync_every.0 }),
        },
        directory: args.directory.then(|| DirectoryConfig {
            store: args.directory_db.clone(),
            open_publish: args.open_publish,
            public_url: args.public_url.clone(),
        }),
    }
}

/// Where it is reached: at the addresses that it was told, or at those that others reach this machine by; then at loopback.
fn announce_urls(scheme: &str, bound: &[SocketAddr]) -> Vec<String> {
    let (mut urls, mut own) = (Vec::new(), Vec::new());
    for addr in bound {
        let url = |ip: IpAddr| format!("{scheme}://{}:{}/announce", url_host(&ip.to_string()), addr.port());
        if !addr.ip().is_unspecified() {
            urls.push(url(addr.ip()));
            continue;
        }
        let reachable = net::reachable_addresses(None).into_iter();
        urls.extend(reachable.filter(|ip| ip.is_ipv4() == addr.is_ipv4() && !ip.is_loopback()).map(url));
        own.push(url(if addr.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }));
    }
    urls.extend(own);
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_is_where_it_was_told_to_be_or_at_loopback_at_last() {
        let addrs = |text: &[&str]| text.iter().map(|addr| addr.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(announce_urls("udp", &addrs(&["192.0.2.7:80"])), ["udp://192.0.2.7:80/announce"]);
        let everywhere = announce_urls("http", &addrs(&["[::]:80", "0.0.0.0:80"]));
        assert!(
            everywhere.ends_with(&["http://[::1]:80/announce".into(), "http://127.0.0.1:80/announce".into()]),
            "{everywhere:?}"
        );
        let others = &everywhere[..everywhere.len() - 2];
        assert!(others.iter().all(|url| !url.contains("127.0.0.1")), "{everywhere:?}");
    }
}
