//! Addresses that users type: trackers in tiers, web seeds, peers.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use url::Url;

/// Trackers of one tier (BEP 12): URLs with commas between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tier(pub(crate) Vec<String>);

/// `host:port`, an IPv6 address in brackets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HostPort {
    /// A name or address, without brackets.
    pub(crate) host: String,
    /// Never 0.
    pub(crate) port: u16,
}

/// A name or address without a port; the brackets of an IPv6 address may be there, and are not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Host(pub(crate) String);

/// The URL of a web seed (BEP 19).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WebSeed(pub(crate) String);

/// What a tracker may speak.
const TRACKER_SCHEMES: [&str; 5] = ["http", "https", "udp", "ws", "wss"];

/// What a web seed may speak.
const WEB_SEED_SCHEMES: [&str; 3] = ["http", "https", "ftp"];

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(|part| checked_url(part.trim(), &TRACKER_SCHEMES))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for WebSeed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        checked_url(text.trim(), &WEB_SEED_SCHEMES).map(Self)
    }
}

/// The text as it was typed if it is such a URL: what is published is not rewritten.
fn checked_url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    if !schemes.contains(&url.scheme()) {
        return Err(format!("`{text}` begins with none of {}", schemes.join(", ")));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("`{text}` names no host"));
    }
    Ok(text.to_owned())
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || format!("`{text}` is not HOST:PORT (an IPv6 address stands in brackets: [::1]:6881)");
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(error)?;
        // Without brackets it could not be told where the address ends.
        let host: Host =
            host.parse().ok().filter(|_| !host.contains(':') || host.starts_with('[')).ok_or_else(error)?;
        Ok(Self { host: host.0, port })
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || format!("`{text}` is no host: it takes a name or an address, without a port");
        if let Some(bracketed) = text.strip_prefix('[') {
            let address = bracketed.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return address.map(|address| Self(address.to_string())).ok_or_else(error);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_string()));
        }
        let plain = |c: char| c.is_alphanumeric() || "-._".contains(c);
        if text.is_empty() || !text.chars().all(plain) {
            return Err(error());
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", url_host(&self.host), self.port)
    }
}

/// A name or address as it stands in a URL: IPv6 in brackets.
pub(crate) fn url_host(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_makes_a_tier() {
        let tier: Tier = "http://a.example/announce,udp://b.example:80".parse().unwrap();
        assert_eq!(tier.0, ["http://a.example/announce", "udp://b.example:80"]);
    }

    #[test]
    fn what_is_no_tracker_is_refused_by_name() {
        for text in ["", "tracker.example", "file:///announce", "http://", "http://a/announce,", "mailto:a@b"]
        {
            assert!(text.parse::<Tier>().is_err(), "{text}");
        }
        let error = "gopher://a/".parse::<Tier>().unwrap_err();
        assert_eq!(error, "`gopher://a/` begins with none of http, https, udp, ws, wss");
    }

    #[test]
    fn peers_have_a_host_and_a_port() {
        for text in ["192.0.2.7:6881", "[2001:db8::1]:1", "host.example:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for text in ["", "host", "host:0", "host:65536", ":1", "2001:db8::1:1", "[::1]", "[host]:1", "a b:1"]
        {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_has_no_port() {
        for (text, host) in
            [("host.example", "host.example"), ("192.0.2.7", "192.0.2.7"), ("::1", "::1"), ("[::1]", "::1")]
        {
            assert_eq!(text.parse(), Ok(Host(host.to_owned())), "{text}");
        }
        for text in ["", "bad host", "h:80", "http://h", "a/b", "[h]", "[::1", "[::1]:80"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
