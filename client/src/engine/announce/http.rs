//! Trackers over HTTP, by reqwest: [`Http`].
//!
//! Here are the connection, its time limit, and the redirects: a tracker in the open network can't send us into our own, nor from https
//! down to http.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, header, redirect};
use torrent_format::InfoHash;
use torrent_format::announce::http::{
    ReplyError, RetryIn, ScrapeEntry, announce_url, decode_reply, decode_scrape, scrape_url,
};
use torrent_format::announce::{AnnounceReply, AnnounceRequest};

use super::super::net::Outside;
use super::{Announced, failure, in_words, is_local, trouble};
use crate::torrent::{AnnounceFailure, NEVER};

/// How long a tracker may take, redirects and all.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The same for a scrape, for which a user waits.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(15);

/// Times that a tracker may send us on to another URL.
const MAX_REDIRECTS: usize = 3;

/// The longest reply that is read, in bytes. A thousand peers are 18 KiB.
const MAX_REPLY: usize = 1024 * 1024;

/// Idle connections are kept for the next torrent's announce, not for the next one of this torrent.
const IDLE: Duration = Duration::from_secs(20);

/// Asks HTTP trackers. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Http {
    /// Goes wherever a URL of the user's leads.
    anywhere: Client,
    /// Resolves names to public addresses only: for redirects from a public address. The address that is checked is the one that is
    /// dialled, so a name that changes in between changes nothing.
    outside: Client,
    proxied: bool,
}

impl Http {
    /// See [`super::Announcer::new`].
    pub(super) fn new(way: &Outside) -> Result<Self, String> {
        let public_only = |builder: ClientBuilder| builder.dns_resolver(Arc::new(PublicOnly(way.clone())));
        let proxied = way.via().proxy.is_some();
        Ok(Self { anywhere: client(way, |builder| builder)?, outside: client(way, public_only)?, proxied })
    }

    /// See [`super::Announcer::announce`].
    pub(super) async fn announce(&self, url: &str, request: &AnnounceRequest) -> Announced {
        let mut local = false;
        let asking = async { decode(self.get(&announce_url(url, request), &mut local).await?).await };
        let reply = tokio::time::timeout(TIMEOUT, asking).await.unwrap_or_else(|_| Err(too_late(TIMEOUT)));
        Announced { local, reply }
    }

    /// See [`super::Announcer::scrape`].
    pub(super) async fn scrape(
        &self,
        url: &str,
        info_hashes: &[InfoHash],
    ) -> Result<Vec<(InfoHash, ScrapeEntry)>, AnnounceFailure> {
        let url = scrape_url(url, info_hashes)
            .ok_or_else(|| failure("its URL has no form that could be asked (BEP 48)"))?;
        let asking = async {
            let response = self.get(&url, &mut false).await?;
            let status = response.status();
            match decode_scrape(&read(response).await?) {
                Err(error) if status.is_success() => Err(failure(error.to_string())),
                Err(_) => Err(failure(format!("HTTP {status}"))),
                Ok(entries) => Ok(entries),
            }
        };
        let in_time = tokio::time::timeout(SCRAPE_TIMEOUT, asking).await;
        in_time.unwrap_or_else(|_| Err(too_late(SCRAPE_TIMEOUT)))
    }

    /// What is there, redirects and all. `local` becomes whether it was at a loopback or private address.
    async fn get(&self, url: &str, local: &mut bool) -> Result<Response, AnnounceFailure> {
        let mut client = &self.anywhere;
        let mut url = Url::parse(url).map_err(|error| failure(error.to_string()))?;
        for _ in 0..=MAX_REDIRECTS {
            check_scheme(&url)?;
            let response = client.get(url.clone()).send().await.map_err(|error| failure(in_short(error)))?;
            *local = match self.proxied {
                // The other end of the socket is the proxy: only an address says where the tracker is.
                true => literal(&url).is_some_and(is_local),
                false => response.remote_addr().is_some_and(|addr| is_local(addr.ip())),
            };
            let Some(next) = redirected(&url, &response)? else { return Ok(response) };
            if !*local {
                client = &self.outside;
            }
            // A literal address is not resolved, so the client would not look at it.
            if std::ptr::eq(client, &self.outside) && literal(&next).is_some_and(is_local) {
                return Err(failure(INWARDS));
            }
            url = next;
        }
        Err(failure(format!("redirected more than {MAX_REDIRECTS} times")))
    }
}

fn too_late(limit: Duration) -> AnnounceFailure {
    failure(format!("no answer within {} s", limit.as_secs()))
}

const INWARDS: &str = "redirected from a public address into a private network";

fn client(way: &Outside, adapt: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Client, String> {
    let builder = || {
        // Peers are not dialled through a proxy of the environment's, so the tracker must not see its address.
        adapt(way.http_alone().redirect(redirect::Policy::none()).pool_idle_timeout(IDLE))
    };
    // A machine without root certificates can still speak to http trackers.
    let client = builder().build().or_else(|error| {
        tracing::warn!("https trackers will fail: {}", in_short(error));
        builder().tls_certs_only([]).build()
    });
    client.map_err(in_short)
}

/// Knows no addresses of our own network.
struct PublicOnly(Outside);

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let outside = self.0.clone();
        if outside.via().proxy.is_some() {
            // The one name that is asked for here is the proxy's own; where others lead is its network's business.
            return Resolve::resolve(&outside, name);
        }
        Box::pin(async move {
            let mut addrs: Vec<SocketAddr> = outside.resolve(name.as_str(), 0).await?;
            addrs.retain(|addr| !is_local(addr.ip()));
            if addrs.is_empty() {
                return Err(INWARDS.into());
            }
            Ok(Box::new(addrs.into_iter()) as Addrs)
        })
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(ip) => Some(ip.into()),
        url::Host::Ipv6(ip) => Some(ip.into()),
        url::Host::Domain(_) => None,
    }
}

fn check_scheme(url: &Url) -> Result<(), AnnounceFailure> {
    match url.scheme() {
        "http" | "https" => Ok(()),
        other => Err(failure(format!("{other} is no protocol of trackers"))),
    }
}

/// Where `response` sends us, if it does.
fn redirected(from: &Url, response: &Response) -> Result<Option<Url>, AnnounceFailure> {
    use StatusCode as S;
    let moved = [S::MOVED_PERMANENTLY, S::FOUND, S::SEE_OTHER, S::TEMPORARY_REDIRECT, S::PERMANENT_REDIRECT];
    if !moved.contains(&response.status()) {
        return Ok(None);
    }
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    leads_to(from, location).map(Some)
}

fn leads_to(from: &Url, location: Option<&str>) -> Result<Url, AnnounceFailure> {
    let next = location.and_then(|location| from.join(location).ok());
    let next = next.ok_or_else(|| failure("redirected to nowhere"))?;
    if from.scheme() == "https" && next.scheme() != "https" {
        return Err(failure("redirected from https to http"));
    }
    Ok(next)
}

async fn read(mut response: Response) -> Result<Vec<u8>, AnnounceFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(in_short(error)))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REPLY {
            return Err(failure("its answer is longer than 1 MiB"));
        }
    }
    Ok(body)
}

async fn decode(response: Response) -> Result<AnnounceReply, AnnounceFailure> {
    let status = response.status();
    match decode_reply(&read(response).await?) {
        Ok(reply) if status.is_success() => Ok(reply),
        // Some trackers put their reason below a status that says the same.
        Err(ReplyError::Failure { reason, retry_in }) => {
            let retry_after = retry_in.map(|retry_in| match retry_in {
                RetryIn::After(time) => time,
                RetryIn::Never => NEVER,
            });
            Err(AnnounceFailure { retry_after, ..failure(reason) })
        }
        Err(error) if status.is_success() => Err(failure(error.to_string())),
        _ => Err(failure(format!("HTTP {status}"))),
    }
}

/// reqwest's errors wrap others, the outermost saying the least: the innermost, in a few words.
fn in_short(error: reqwest::Error) -> String {
    let connecting = error.is_connect();
    let error = error.without_url();
    let mut innermost: &(dyn Error + 'static) = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let io = innermost.downcast_ref::<io::Error>().map(io::Error::kind);
    if let Some(trouble) = io.and_then(trouble) {
        return trouble.to_owned();
    }
    let text = innermost.to_string();
    let words = in_words(&text);
    if connecting && words == text { format!("can't connect: {text}") } else { words }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use torrent_format::PeerId;
    use torrent_format::announce::AnnounceEvent;

    use super::*;

    fn request(event: AnnounceEvent) -> AnnounceRequest {
        AnnounceRequest {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            port: 6881,
            uploaded: 0,
            downloaded: 0,
            left: 0,
            event,
            numwant: None,
            key: None,
            tracker_id: None,
        }
    }

    /// A server that answers each connection with the next of `answers`, word for word. `{}` stands for its own address.
    async fn server(answers: Vec<String>) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
                asked.push(String::from_utf8_lossy(&request).into_owned());
                stream.write_all(answer.replace("{}", &addr.to_string()).as_bytes()).await.unwrap();
            }
            asked
        });
        (addr, task)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    fn redirect(location: &str) -> String {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    }

    /// The outcome of one announce to a server with these answers.
    async fn outcome(answers: Vec<String>) -> Result<AnnounceReply, String> {
        let (addr, _server) = server(answers).await;
        let announcer = Http::new(&Outside::default()).unwrap();
        let announced =
            announcer.announce(&format!("http://{addr}/announce"), &request(AnnounceEvent::Started)).await;
        announced.reply.map_err(|failure| failure.message)
    }

    #[tokio::test]
    async fn a_tracker_near_by_is_asked_and_known_as_local() {
        let (addr, server) = server(vec![ok("d8:intervali900e5:peers6:\x01\x02\x03\x04\x1a\x1be")]).await;
        let announcer = Http::new(&Outside::default()).unwrap();
        let announced =
            announcer.announce(&format!("http://{addr}/announce"), &request(AnnounceEvent::Started)).await;
        let reply = announced.reply.unwrap();
        assert_eq!((announced.local, reply.interval.as_secs()), (true, 900));
        assert_eq!(reply.peers, ["1.2.3.4:6683".parse().unwrap()]);
        let asked = server.await.unwrap();
        assert!(asked[0].starts_with("GET /announce?info_hash=%01%01"), "{asked:?}");
        assert!(asked[0].contains("&event=started"), "{asked:?}");
        assert!(asked[0].to_lowercase().contains("user-agent: sprat/"), "{asked:?}");
    }

    #[tokio::test]
    async fn redirects_are_followed_three_times() {
        let hop = redirect("http://{}/next");
        let reply = ok("d8:intervali900e5:peers0:e");
        assert!(outcome(vec![hop.clone(), hop.clone(), hop.clone(), reply]).await.is_ok());
        let over = outcome(vec![hop.clone(), hop.clone(), hop.clone(), hop]).await;
        assert_eq!(over.unwrap_err(), "redirected more than 3 times");
        assert_eq!(
            outcome(vec![redirect("file:///etc/passwd")]).await.unwrap_err(),
            "file is no protocol of trackers"
        );
    }

    #[tokio::test]
    async fn a_public_tracker_leads_to_public_addresses_only() {
        let announcer = Http::new(&Outside::default()).unwrap();
        let (addr, _server) = server(vec![ok("d8:intervali900e5:peers0:e")]).await;
        let by_name = announcer.outside.get(format!("http://localhost:{}/", addr.port())).send().await;
        assert!(in_short(by_name.unwrap_err()).ends_with(INWARDS));
        for (url, expected) in [
            ("http://127.0.0.1/", true),
            ("http://169.254.169.254/", true),
            ("http://[fd00::1]/", true),
            ("http://198.51.100.1/", false),
            ("http://[2001:db8::1]/", false),
        ] {
            let literal = literal(&Url::parse(url).unwrap());
            assert_eq!(literal.is_some_and(is_local), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn failures_are_one_line_each() {
        let status = |status: &str, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        };
        let long = "x".repeat(MAX_REPLY + 1);
        for (answer, message) in [
            (status("404 Not Found", "<html>no</html>"), "HTTP 404 Not Found"),
            (status("400 Bad Request", "d14:failure reason7:go awaye"), "go away"),
            (ok("d14:failure reason7:go awaye"), "go away"),
            (
                ok("<html>login</html>"),
                "the tracker answered with a web page: check its URL, and whether the network asks for a login",
            ),
            (ok(""), "the tracker sent an empty reply"),
            (ok(&long), "its answer is longer than 1 MiB"),
            ("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_owned(), "redirected to nowhere"),
        ] {
            assert_eq!(outcome(vec![answer]).await.unwrap_err(), message);
        }
    }

    #[tokio::test]
    async fn a_tracker_that_is_not_there_refuses() {
        let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let announcer = Http::new(&Outside::default()).unwrap();
        for (url, message) in [
            (format!("http://{addr}/announce"), "connection refused"),
            ("gopher://127.0.0.1/".to_owned(), "gopher is no protocol of trackers"),
        ] {
            let announced = announcer.announce(&url, &request(AnnounceEvent::Stopped)).await;
            assert_eq!(announced.reply.unwrap_err().message, message);
        }
    }

    #[tokio::test]
    async fn r06_r07_r08_replies_that_lie_about_themselves_are_failures() {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
        let good = "d8:intervali900e5:peers0:e";
        for (what, rest) in [
            ("a length that is too great", format!("Content-Length: 1000\r\n\r\n{good}")),
            ("one that is too small", format!("Content-Length: 5\r\n\r\n{good}")),
            ("none that is a number", format!("Content-Length: -1\r\n\r\n{good}")),
            ("two that differ", format!("Content-Length: 26\r\nContent-Length: 5\r\n\r\n{good}")),
            ("chunks of no number", format!("Transfer-Encoding: chunked\r\n\r\nzz\r\n{good}\r\n0\r\n\r\n")),
            (
                "chunks beyond all bounds",
                format!("Transfer-Encoding: chunked\r\n\r\n{}\r\n{good}", "f".repeat(17)),
            ),
            ("chunks below zero", format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n{good}")),
            ("chunks that end too soon", format!("Transfer-Encoding: chunked\r\n\r\n1a\r\n{}", &good[..9])),
            // It is not unpacked: we asked for nothing packed.
            ("packed", "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x08xx".to_owned()),
        ] {
            let failed = outcome(vec![format!("{head}{rest}")]).await;
            assert!(failed.is_err(), "{what}: {failed:?}");
        }
    }

    #[tokio::test]
    async fn r21_r22_r24_no_way_leads_inwards_down_or_past_a_certificate() {
        let inwards = |location: &str| {
            let next = Url::parse(location).unwrap();
            literal(&next).is_some_and(is_local)
        };
        assert!(inwards("http://127.0.0.1:9/") && inwards("http://[::1]/") && !inwards("http://192.0.2.1/"));
        let from = |location| leads_to(&Url::parse("https://tracker.example/announce").unwrap(), location);
        assert_eq!(
            from(Some("http://tracker.example/")).unwrap_err().message,
            "redirected from https to http"
        );
        assert_eq!(from(Some("/other")).unwrap().as_str(), "https://tracker.example/other");
        assert_eq!(from(None).unwrap_err().message, "redirected to nowhere");
        // No certificate at all.
        let (addr, _server) = server(vec!["HTTP/1.1 200 OK\r\n\r\n".into()]).await;
        let announced = Http::new(&Outside::default()).unwrap();
        let announced =
            announced.announce(&format!("https://{addr}/announce"), &request(AnnounceEvent::Started)).await;
        assert!(announced.reply.is_err());
    }

    #[tokio::test]
    async fn a_scrape_is_asked_where_the_announce_url_says() {
        let body =
            format!("d5:filesd20:{}d8:completei3e10:downloadedi5e10:incompletei4eeee", "\x01".repeat(20));
        let html = "<html>no</html>";
        let (addr, server) = server(vec![ok(&body), ok(html), ok("d5:filesdee")]).await;
        let http = Http::new(&Outside::default()).unwrap();
        let url = format!("http://{addr}/announce?key=1");
        let entries = http.scrape(&url, &[InfoHash([1; 20])]).await.unwrap();
        let entry = ScrapeEntry { complete: 3, downloaded: 5, downloaders: None, incomplete: 4 };
        assert_eq!(entries, [(InfoHash([1; 20]), entry)]);
        assert!(http.scrape(&url, &[InfoHash([1; 20])]).await.unwrap_err().message.contains("web page"));
        assert_eq!(http.scrape(&url, &[InfoHash([1; 20])]).await.unwrap(), []);
        assert!(http.scrape(&format!("http://{addr}/x"), &[]).await.unwrap_err().message.contains("BEP 48"));
        assert!(server.await.unwrap()[0].starts_with("GET /scrape?key=1&info_hash=%01%01"));
    }
}
