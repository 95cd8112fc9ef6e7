//! Announces over HTTP, by reqwest: [`Announcer`].
//!
//! What an announce says and when is the core's; what it looks like is `torrent_format::announce::http`'s. Here are the connection, its
//! time limit, and the redirects: a tracker in the open network can't send us into our own, nor from https down to http.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, header, redirect};
use torrent_format::announce::http::{ReplyError, RetryIn, announce_url, decode_reply};
use torrent_format::announce::{AnnounceEvent, AnnounceReply, AnnounceRequest};

use super::net::Outside;
use crate::torrent::AnnounceFailure;

/// How long a tracker may take, redirects and all.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long it may take to hear that we leave: nobody likes to wait for a goodbye.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Times that a tracker may send us on to another URL.
const MAX_REDIRECTS: usize = 3;

/// The longest reply that is read, in bytes. A thousand peers are 18 KiB.
const MAX_REPLY: usize = 1024 * 1024;

/// The most characters of a reason that a user is shown.
const MAX_MESSAGE: usize = 256;

/// "Never" (BEP 31), as a time: longer than a torrent runs, short enough to be added to any moment.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Idle connections are kept for the next torrent's announce, not for the next one of this torrent.
const IDLE: Duration = Duration::from_secs(20);

/// Asks HTTP trackers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Announcer {
    /// Goes wherever a URL of the user's leads.
    anywhere: Client,
    /// Resolves names to public addresses only: for redirects from a public address. The address that is checked is the one that is
    /// dialled, so a name that changes in between changes nothing.
    outside: Client,
}

/// How an announce ended.
#[derive(Debug)]
pub struct Announced {
    /// The tracker is at a loopback or private address.
    pub local: bool,
    /// What it said.
    pub reply: Result<AnnounceReply, AnnounceFailure>,
}

impl Announcer {
    /// Asks trackers that way.
    ///
    /// # Errors
    /// If HTTP can't be set up; one line.
    pub fn new(way: &Outside) -> Result<Self, String> {
        let public_only = |builder: ClientBuilder| builder.dns_resolver(Arc::new(PublicOnly(way.clone())));
        Ok(Self { anywhere: client(way, |builder| builder)?, outside: client(way, public_only)? })
    }

    /// Tells the tracker at `url` what `request` says.
    pub async fn announce(&self, url: &str, request: &AnnounceRequest) -> Announced {
        let limit = if request.event == AnnounceEvent::Stopped { STOP_TIMEOUT } else { TIMEOUT };
        let mut local = false;
        let reply = match tokio::time::timeout(limit, self.ask(url, request, &mut local)).await {
            Ok(reply) => reply,
            Err(_) => Err(failure(format!("no answer within {} s", limit.as_secs()))),
        };
        Announced { local, reply }
    }

    async fn ask(
        &self,
        url: &str,
        request: &AnnounceRequest,
        local: &mut bool,
    ) -> Result<AnnounceReply, AnnounceFailure> {
        let mut client = &self.anywhere;
        let mut url = Url::parse(&announce_url(url, request)).map_err(|error| failure(error.to_string()))?;
        for _ in 0..=MAX_REDIRECTS {
            check_scheme(&url)?;
            let response = client.get(url.clone()).send().await.map_err(|error| failure(in_short(error)))?;
            *local = response.remote_addr().is_some_and(|addr| is_local(addr.ip()));
            let Some(next) = redirected(&url, &response)? else { return read(response).await };
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

const INWARDS: &str = "redirected from a public address into a private network";

fn client(way: &Outside, adapt: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Client, String> {
    let builder = || {
        // Peers are not dialled through a proxy of the environment's, so the tracker must not see its address.
        adapt(way.http().no_proxy().redirect(redirect::Policy::none()).pool_idle_timeout(IDLE))
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
        Box::pin(async move {
            let addrs = outside.resolve(name.as_str(), 0).await?;
            let addrs: Vec<SocketAddr> = addrs.into_iter().filter(|addr| !is_local(addr.ip())).collect();
            if addrs.is_empty() {
                return Err(INWARDS.into());
            }
            Ok(Box::new(addrs.into_iter()) as Addrs)
        })
    }
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
        "udp" => Err(failure("UDP trackers are not supported yet")),
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
    let next = location.and_then(|location| from.join(location).ok());
    let next = next.ok_or_else(|| failure("redirected to nowhere"))?;
    if from.scheme() == "https" && next.scheme() != "https" {
        return Err(failure("redirected from https to http"));
    }
    Ok(Some(next))
}

async fn read(mut response: Response) -> Result<AnnounceReply, AnnounceFailure> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(in_short(error)))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REPLY {
            return Err(failure("its answer is longer than 1 MiB"));
        }
    }
    match decode_reply(&body) {
        Ok(reply) if status.is_success() => Ok(reply),
        // Some trackers put their reason below a status that says the same.
        Err(ReplyError::Failure { reason, retry_in }) => {
            let retry_after = retry_in.map(|retry_in| match retry_in {
                RetryIn::After(time) => time,
                RetryIn::Never => NEVER,
            });
            Err(AnnounceFailure { retry_after, ..failure(reason) })
        }
        _ if !status.is_success() => Err(failure(format!("HTTP {status}"))),
        Err(error) => Err(failure(error.to_string())),
        Ok(_) => unreachable!("covered by the status"),
    }
}

fn failure(message: impl Into<String>) -> AnnounceFailure {
    let message: String = message.into();
    let fit = |c: char| if c.is_control() { ' ' } else { c };
    AnnounceFailure { message: message.chars().take(MAX_MESSAGE).map(fit).collect(), retry_after: None }
}

/// reqwest's errors wrap others, the outermost saying the least: the innermost, in a few words.
fn in_short(error: reqwest::Error) -> String {
    let connecting = error.is_connect();
    let error = error.without_url();
    let mut innermost: &(dyn Error + 'static) = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if let Some(kind) = innermost.downcast_ref::<io::Error>().map(io::Error::kind) {
        match kind {
            io::ErrorKind::ConnectionRefused => return "connection refused".to_owned(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                return "connection lost".to_owned();
            }
            io::ErrorKind::TimedOut => return "connection timed out".to_owned(),
            io::ErrorKind::HostUnreachable => return "host unreachable".to_owned(),
            io::ErrorKind::NetworkUnreachable => return "network unreachable".to_owned(),
            _ => {}
        }
    }
    let text = innermost.to_string();
    match text.strip_prefix("failed to lookup address information: ") {
        Some(reason) => format!("can't find its address: {reason}"),
        None if connecting => format!("can't connect: {text}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use torrent_format::{InfoHash, PeerId};

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
        let announcer = Announcer::new(&Outside::default()).unwrap();
        let announced =
            announcer.announce(&format!("http://{addr}/announce"), &request(AnnounceEvent::Started)).await;
        announced.reply.map_err(|failure| failure.message)
    }

    #[tokio::test]
    async fn a_tracker_near_by_is_asked_and_known_as_local() {
        let (addr, server) = server(vec![ok("d8:intervali900e5:peers6:\x01\x02\x03\x04\x1a\x1be")]).await;
        let announcer = Announcer::new(&Outside::default()).unwrap();
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
        let announcer = Announcer::new(&Outside::default()).unwrap();
        let (addr, _server) = server(vec![ok("d8:intervali900e5:peers0:e")]).await;
        let by_name = announcer.outside.get(format!("http://localhost:{}/", addr.port())).send().await;
        assert!(in_short(by_name.unwrap_err()).ends_with(INWARDS));
        let from = |url| Url::parse(url).unwrap();
        for local in [
            "http://127.0.0.1/",
            "http://10.0.0.1/",
            "http://169.254.169.254/",
            "http://[::1]/",
            "http://[fd00::1]/",
        ] {
            assert!(literal(&from(local)).is_some_and(is_local), "{local}");
        }
        for public in ["http://198.51.100.1/", "http://[2001:db8::1]/"] {
            assert!(!literal(&from(public)).is_some_and(is_local), "{public}");
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
        let announcer = Announcer::new(&Outside::default()).unwrap();
        for (url, message) in [
            (format!("http://{addr}/announce"), "connection refused"),
            ("udp://127.0.0.1:1/announce".to_owned(), "UDP trackers are not supported yet"),
            ("gopher://127.0.0.1/".to_owned(), "gopher is no protocol of trackers"),
        ] {
            let announced = announcer.announce(&url, &request(AnnounceEvent::Stopped)).await;
            assert_eq!(announced.reply.unwrap_err().message, message);
        }
    }
}
