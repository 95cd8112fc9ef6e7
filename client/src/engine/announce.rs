//! What we say to trackers: [`Announcer`], over [`http`] and [`udp`].
//!
//! What an announce says and when is the core's; what it looks like is `torrent_format::announce`'s. Here are the connections and their time
//! limits.

mod http;
mod udp;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use torrent_format::InfoHash;
use torrent_format::announce::http::ScrapeEntry;
use torrent_format::announce::{AnnounceEvent, AnnounceReply, AnnounceRequest};
use url::Url;

use super::net::Outside;
use crate::torrent::AnnounceFailure;
use http::Http;
use udp::Udp;

/// How long it may take to hear that we leave: nobody likes to wait for a goodbye.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// The most characters of a reason that a user is shown.
const MAX_MESSAGE: usize = 256;

/// Asks trackers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Announcer {
    http: Http,
    udp: Udp,
}

/// How an announce ended.
#[derive(Debug)]
pub struct Announced {
    /// The tracker is at a loopback or private address.
    pub local: bool,
    /// What it said.
    pub reply: Result<AnnounceReply, AnnounceFailure>,
}

/// Whether trackers at such a URL can be asked.
pub fn can_ask(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "udp"))
}

impl Announcer {
    /// Asks trackers that way.
    ///
    /// # Errors
    /// If HTTP can't be set up; one line.
    pub fn new(way: &Outside) -> Result<Self, String> {
        Ok(Self { http: Http::new(way)?, udp: Udp::new(way.clone()) })
    }

    /// Tells the tracker at `url` what `request` says.
    pub async fn announce(&self, url: &str, request: &AnnounceRequest) -> Announced {
        let asking = async {
            match is_udp(url) {
                true => self.udp.announce(url, request).await,
                false => self.http.announce(url, request).await,
            }
        };
        if request.event != AnnounceEvent::Stopped {
            return asking.await;
        }
        let late = failure(format!("no answer within {} s", STOP_TIMEOUT.as_secs()));
        let in_time = tokio::time::timeout(STOP_TIMEOUT, asking).await;
        in_time.unwrap_or(Announced { local: false, reply: Err(late) })
    }

    /// Asks the tracker at `url` how these torrents are doing (BEP 48); what it does not know is left out, over UDP it is zeros.
    ///
    /// # Errors
    /// Why it does not say; one line.
    pub async fn scrape(
        &self,
        url: &str,
        info_hashes: &[InfoHash],
    ) -> Result<Vec<(InfoHash, ScrapeEntry)>, String> {
        let answer = match is_udp(url) {
            true => self.udp.scrape(url, info_hashes).await,
            false => self.http.scrape(url, info_hashes).await,
        };
        answer.map_err(|failure| failure.message)
    }
}

fn is_udp(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "udp")
}

/// Loopback, private or otherwise only reachable from near by.
fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
        }
    }
}

fn failure(message: impl Into<String>) -> AnnounceFailure {
    let message: String = message.into();
    let fit = |c: char| if c.is_control() { ' ' } else { c };
    AnnounceFailure { message: message.chars().take(MAX_MESSAGE).map(fit).collect(), retry_after: None }
}

/// The usual troubles of connections, in two words.
fn trouble(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => "connection lost",
        io::ErrorKind::TimedOut => "connection timed out",
        io::ErrorKind::HostUnreachable => "host unreachable",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        _ => return None,
    })
}

/// The text of an error of the resolver or the network, without the part that says nothing.
fn in_words(text: &str) -> String {
    match text.strip_prefix("failed to lookup address information: ") {
        Some(reason) => format!("can't find its address: {reason}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn these_can_be_asked() {
        for url in ["http://a/announce", "https://a/announce", "udp://a:80", "UDP://[::1]:80/announce"] {
            assert!(can_ask(url), "{url}");
        }
        for url in ["ws://a/announce", "wss://a", "gopher://a/", "a", ""] {
            assert!(!can_ask(url), "{url}");
        }
    }

    #[test]
    fn near_by_and_far() {
        for local in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for public in ["198.51.100.1", "2001:db8::1"] {
            assert!(!is_local(public.parse().unwrap()), "{public}");
        }
    }
}
