//! `sprat tracker`: runs the tracker until it is stopped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use tracker::{Config, ServeError, Server, serve};

use super::args::TrackerArgs;
use super::error::CliError;
use super::signals::Signals;
use super::{Context, net};

/// What most trackers use, and what peers guess.
const DEFAULT_PORT: u16 = 6969;

/// What requests that are being answered may take at the end.
const STOP_LIMIT: Duration = Duration::from_secs(2);

pub(crate) async fn run(cx: &Context, args: TrackerArgs) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let server = listen(args).await?;
    let urls = announce_urls(server.local_addrs());
    if cx.out.is_json() {
        cx.out.json(json!({"event": "started", "announce": urls}));
    } else {
        urls.iter().for_each(|url| cx.out.data(url));
        cx.out.note("tracking until stopped");
    }
    let signal = signals.next().await;
    cx.out.note(format_args!("{signal}: stopping"));
    signals.exit_at_next(true);
    server.stop(STOP_LIMIT).await;
    if cx.out.is_json() {
        cx.out.json(json!({"event": "stopped"}));
    }
    Ok(())
}

async fn listen(args: TrackerArgs) -> Result<Server, CliError> {
    let config = |http| Config { http, interval: args.interval, own_seeder: None };
    if !args.http.is_empty() {
        return Ok(serve(config(args.http)).await?);
    }
    match serve(config(net::everywhere(DEFAULT_PORT))).await {
        // A machine without IPv6 has IPv4 all the same.
        Err(ServeError::Listen { addr, source })
            if addr.is_ipv6() && source.kind() != std::io::ErrorKind::AddrInUse =>
        {
            Ok(serve(config(vec![(Ipv4Addr::UNSPECIFIED, DEFAULT_PORT).into()])).await?)
        }
        result => Ok(result?),
    }
}

/// Where it is reached: at the addresses that it was told, or at those that others reach this machine by; then at loopback.
fn announce_urls(bound: &[SocketAddr]) -> Vec<String> {
    let (mut urls, mut own) = (Vec::new(), Vec::new());
    for addr in bound {
        let url = |ip: IpAddr| net::announce_url(&ip.to_string(), addr.port());
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
        assert_eq!(announce_urls(&addrs(&["192.0.2.7:80"])), ["http://192.0.2.7:80/announce"]);
        let everywhere = announce_urls(&addrs(&["[::]:80", "0.0.0.0:80"]));
        assert!(
            everywhere.ends_with(&["http://[::1]:80/announce".into(), "http://127.0.0.1:80/announce".into()]),
            "{everywhere:?}"
        );
        let others = &everywhere[..everywhere.len() - 2];
        assert!(others.iter().all(|url| !url.contains("127.0.0.1")), "{everywhere:?}");
    }
}
