//! What commands that speak to peers have in common: the session's settings, HTTP, and this machine's addresses.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use super::args::{NetworkArgs, Router};
use super::endpoint::{HostPort, url_host};
use super::error::CliError;
use crate::engine::announce::can_ask;
use crate::engine::dht::{DhtConfig, ROUTERS};
use crate::engine::net::{Outside, Via};
use crate::engine::session::{SessionConfig, SessionError};

/// All buffers of a command that has no `--memory`, in bytes.
pub(crate) const DEFAULT_MEMORY: usize = 64 << 20;

/// Redirects that are followed for a .torrent; the number that browsers and curl's users are used to.
const MAX_REDIRECTS: usize = 10;

/// The session that the network flags describe.
pub(crate) fn session_config(
    cx: &Context,
    args: &NetworkArgs,
    memory: usize,
) -> Result<SessionConfig, CliError> {
    let state_dir = match &args.state {
        Some(dir) => dir.clone(),
        None => default_state_dir(cx)?,
    };
    Ok(SessionConfig {
        port: args.port,
        via: cx.via.clone(),
        encryption: args.encryption.into(),
        transports: args.transport.into(),
        upload_limit: args.max_upload_limit.limit(),
        download_limit: args.max_download_limit.limit(),
        memory,
        max_peers: args.max_peers.into(),
        pex: !args.no_pex,
        lsd: !args.no_lsd,
        port_mapping: !args.no_upnp,
        dht: (!args.no_dht).then(|| DhtConfig {
            routers: routers(args),
            routers_spared: args.dht_router.is_empty(),
            read_only: args.dht_read_only,
            state_dir: state_dir.clone(),
        }),
        state_dir,
    })
}

/// The nodes to begin with. From a loopback address none of the usual ones is to be reached.
fn routers(args: &NetworkArgs) -> Vec<String> {
    let named = args.dht_router.iter().filter_map(|router| match router {
        Router::At(at) => Some(at.to_string()),
        Router::None => None,
    });
    let usual = args.dht_router.is_empty() && !args.bind.is_some_and(|ip| ip.is_loopback());
    let usual = ROUTERS.iter().filter(|_| usual).map(ToString::to_string);
    named.chain(usual).collect()
}

/// The way that the network flags leave open.
pub(crate) fn via(args: &NetworkArgs) -> Via {
    Via { bind: args.bind, interface: args.interface.clone(), proxy: args.proxy.clone() }
}

/// `$XDG_STATE_HOME/sprat`, by default `~/.local/state/sprat` (XDG Base Directory Specification).
fn default_state_dir(cx: &Context) -> Result<PathBuf, CliError> {
    let base = super::base_directory(|name| cx.var(name), "XDG_STATE_HOME", ".local/state");
    base.map(|base| base.join("sprat")).ok_or_else(|| {
        CliError::Configuration(
            "neither HOME nor XDG_STATE_HOME is set: name a directory with --state".into(),
        )
    })
}

/// The flags' trackers, tier by tier; only what can be announced to.
pub(crate) fn added_trackers(args: &NetworkArgs) -> Result<Vec<Vec<String>>, CliError> {
    let tiers: Vec<Vec<String>> = args.tracker.iter().map(|tier| tier.0.clone()).collect();
    match tiers.iter().flatten().find(|url| !can_ask(url)) {
        Some(url) => {
            Err(CliError::Usage(format!("--tracker {url}: sprat announces to http, https and udp trackers")))
        }
        None => Ok(tiers),
    }
}

/// The flags' peers, as the session wants them.
pub(crate) fn added_peers(args: &NetworkArgs) -> Vec<String> {
    args.peer.iter().map(HostPort::to_string).collect()
}

/// Whether this is an address of the web.
pub(crate) fn is_http(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// A client for a few requests of the user's own.
pub(crate) fn http_client(cx: &Context, timeout: Duration) -> Result<reqwest::Client, CliError> {
    let outside = Outside::new(cx.via.clone()).map_err(SessionError::from)?;
    outside
        .http()
        .connect_timeout(timeout)
        .read_timeout(timeout)
        .redirect(reqwest::redirect::Policy::limited(MAX_REDIRECTS))
        .build()
        .map_err(|error| CliError::Network { what: "HTTP".into(), problem: error.to_string() })
}

/// Addresses that others can reach this machine by, the most promising first: global and private IPv4, then IPv6; loopback only if
/// there is nothing else. `bind` leaves only itself.
pub(crate) fn reachable_addresses(bind: Option<IpAddr>) -> Vec<IpAddr> {
    if let Some(address) = bind.filter(|address| !address.is_unspecified()) {
        return vec![address];
    }
    // Without a list of interfaces there is still the machine itself to talk to.
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    // Bridges of containers and virtual machines are up, but nobody outside gets through them.
    let candidates = interfaces.iter().filter(|interface| interface.is_oper_up());
    let mut ranked: Vec<_> = candidates.map(|it| (rank(it.ip(), &it.name), it.ip())).collect();
    ranked.retain(|(rank, address)| *rank > 0 && bind.is_none_or(|any| any.is_ipv6() || address.is_ipv4()));
    ranked.sort_by_key(|(rank, address)| (Reverse(*rank), *address));
    ranked.dedup();
    let addresses: Vec<IpAddr> = ranked.into_iter().map(|(_, address)| address).collect();
    if addresses.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { addresses }
}

/// How likely another machine is to reach this address; 0: not at all.
fn rank(address: IpAddr, interface: &str) -> u8 {
    let bridge =
        ["docker", "br-", "virbr", "veth", "cni", "podman"].iter().any(|name| interface.starts_with(name));
    match address {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() => 0,
        IpAddr::V4(_) if bridge => 2,
        IpAddr::V4(v4) if v4.is_private() => 5,
        IpAddr::V4(_) => 6,
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() => 0,
        IpAddr::V6(_) if bridge => 1,
        IpAddr::V6(v6) if is_unique_local(v6) => 3,
        IpAddr::V6(_) => 4,
    }
}

fn is_unique_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xfe00 == 0xfc00
}

/// Where a tracker on `port` is reached at `host`.
pub(crate) fn announce_url(host: &str, port: u16) -> String {
    format!("http://{}:{port}/announce", url_host(host))
}

/// Every address family of this machine on one port.
pub(crate) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_reach_ranks_first() {
        let order = ["198.51.100.7", "192.168.1.2", "2001:db8::1", "fd00::1"];
        let ranks: Vec<u8> = order.iter().map(|text| rank(text.parse().unwrap(), "eth0")).collect();
        assert!(ranks.is_sorted_by(|a, b| a > b), "{ranks:?}");
        assert!(rank("172.17.0.1".parse().unwrap(), "docker0") < rank("fd00::1".parse().unwrap(), "eth0"));
        for unreachable in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0", "::"] {
            assert_eq!(rank(unreachable.parse().unwrap(), "eth0"), 0, "{unreachable}");
        }
    }

    #[test]
    fn a_bound_address_is_the_only_one() {
        let bound = "192.0.2.7".parse().unwrap();
        assert_eq!(reachable_addresses(Some(bound)), [bound]);
    }

    #[test]
    fn ipv6_is_bracketed_in_urls() {
        assert_eq!(announce_url("2001:db8::1", 80), "http://[2001:db8::1]:80/announce");
        assert_eq!(announce_url("host.example", 80), "http://host.example:80/announce");
    }
}
