//! Whose request a reverse proxy passes on: [`client_behind`]. Pure.
//!
//! Each proxy appends the address that it was spoken to from, so a list is true from its right end as far as those who wrote it
//! are trusted; what stands further left is what somebody claims.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// A proxy that is trusted says something that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy's X-Forwarded-For names no address")]
pub(crate) struct BadForwarded;

/// The client behind a connection from `remote`: itself unless it is trusted, else the right-most address in the values of
/// `X-Forwarded-For` that is not a trusted proxy's.
///
/// # Errors
/// If what has to be read on the way there is no address.
pub(crate) fn client_behind<'a>(
    remote: IpAddr,
    trusted: &[IpNet],
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> Result<IpAddr, BadForwarded> {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    let mut client = remote;
    if !is_trusted(client) {
        return Ok(client);
    }
    for value in forwarded.rev() {
        for entry in value.rsplit(|&byte| byte == b',') {
            client = std::str::from_utf8(entry).ok().and_then(address).ok_or(BadForwarded)?;
            if !is_trusted(client) {
                return Ok(client);
            }
        }
    }
    Ok(client)
}

/// An address, with or without a port and brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let ip = bare.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))?;
    Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(remote: &str, forwarded: &[&str]) -> Result<String, BadForwarded> {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        let values = forwarded.iter().map(|value| value.as_bytes());
        client_behind(remote.parse().unwrap(), &trusted, values).map(|ip| ip.to_string())
    }

    #[test]
    fn trap_20_the_list_is_walked_from_the_right_and_only_if_a_proxy_wrote_it() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(client("192.0.2.9", &["203.0.113.1"]), ok("192.0.2.9"), "from anybody");
        assert_eq!(client("10.0.0.1", &["203.0.113.1"]), ok("203.0.113.1"));
        assert_eq!(client("10.0.0.1", &["198.51.100.1, 203.0.113.1"]), ok("203.0.113.1"), "claimed");
        assert_eq!(client("10.0.0.1", &["203.0.113.1, 10.0.0.2,10.0.0.3"]), ok("203.0.113.1"), "a chain");
        assert_eq!(client("10.0.0.1", &["198.51.100.1", "203.0.113.1", "10.0.0.2"]), ok("203.0.113.1"));
        assert_eq!(client("fd00::1", &["[2001:db8::1]:4711"]), ok("2001:db8::1"));
        assert_eq!(client("10.0.0.1", &["203.0.113.1:4711"]), ok("203.0.113.1"));
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]"]), ok("2001:db8::1"));
        assert_eq!(client("10.0.0.1", &["::ffff:203.0.113.1"]), ok("203.0.113.1"));
        assert_eq!(client("10.0.0.1", &["nonsense, 203.0.113.1"]), ok("203.0.113.1"), "not looked at");
        assert_eq!(client("10.0.0.1", &["10.0.0.7"]), ok("10.0.0.7"), "nobody but proxies");
        assert_eq!(client("10.0.0.1", &[]), ok("10.0.0.1"), "a check by the proxy itself");
    }

    #[test]
    fn trap_20_garbage_from_a_proxy_refuses_this_request() {
        for garbage in
            ["", "unknown", "203.0.113.1, ", "203.0.113", "1.2.3.4:99999", "[::1", "0.0.0.0", "\u{fffd}"]
        {
            assert_eq!(client("10.0.0.1", &[garbage]), Err(BadForwarded), "{garbage}");
        }
    }
}
