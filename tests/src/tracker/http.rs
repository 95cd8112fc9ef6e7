//! A client of the HTTP protocol (BEP 3, 7, 23, 48).

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

use crate::bencode::Value;
use crate::wait::SOON;

/// What asks, a connection a question unless it is told to keep it.
#[derive(Clone, Debug)]
pub struct Client {
    tracker: SocketAddr,
    source: Option<IpAddr>,
    headers: String,
    prefix: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What a scrape says of one torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Seeds.
    pub complete: i128,
    /// Finished downloads.
    pub downloaded: i128,
    /// Those who lack something.
    pub incomplete: i128,
    /// Those of them that still download (BEP 21).
    pub downloaders: Option<i128>,
}

/// Escapes every byte.
pub fn escape(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02x}");
        text
    })
}

/// A query that is fine: 20 bytes of hash, a peer id that tells the port, and what `more` says.
pub fn query(hash: &[u8], port: u16, more: &str) -> String {
    format!(
        "info_hash={}&peer_id=-XX0001-0000000{port:05}&port={port}&uploaded=0&downloaded=0&{more}",
        escape(hash)
    )
}

impl Client {
    /// Of the tracker at this address.
    pub fn new(tracker: SocketAddr) -> Self {
        Self { tracker, source: None, headers: String::new(), prefix: String::new() }
    }

    /// The same from an address of this machine, such as any of 127.0.0.0/8.
    #[must_use]
    pub fn from(mut self, source: impl Into<IpAddr>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, line: &str) -> Self {
        self.headers += line;
        self.headers += "\r\n";
        self
    }

    /// The same with a path before `/announce` and `/scrape`, such as `/KEY`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// A connection of its own.
    ///
    /// # Panics
    /// If there is none.
    pub fn stream(&self) -> TcpStream {
        self.try_stream().expect("the tracker takes connections")
    }

    fn try_stream(&self) -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.tracker), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&self.tracker.into(), SOON)?;
        socket.set_read_timeout(Some(SOON))?;
        socket.set_write_timeout(Some(SOON))?;
        Ok(socket.into())
    }

    /// Sends these bytes on a connection of its own and reads one reply.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn raw(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.stream();
        stream.write_all(request.as_ref()).expect("the tracker reads");
        read(&mut stream, false).expect("a reply")
    }

    /// GETs this; a path and query as they stand.
    ///
    /// # Panics
    /// If no reply comes.
    #[track_caller]
    pub fn get(&self, target: &str) -> Reply {
        self.method("GET", target)
    }

    /// The same; `None` if no whole reply comes.
    pub fn try_get(&self, target: &str) -> Option<Reply> {
        let mut stream = self.try_stream().ok()?;
        stream.write_all(self.request("GET", target).as_bytes()).ok()?;
        read(&mut stream, false)
    }

    /// The same with another method.
    ///
    /// # Panics
    /// If no reply comes.
    #[track_caller]
    pub fn method(&self, method: &str, target: &str) -> Reply {
        let mut stream = self.stream();
        stream.write_all(self.request(method, target).as_bytes()).expect("the tracker reads");
        read(&mut stream, method == "HEAD").expect("a reply")
    }

    fn request(&self, method: &str, target: &str) -> String {
        let (tracker, headers) = (self.tracker, &self.headers);
        format!("{method} {target} HTTP/1.1\r\nHost: {tracker}\r\n{headers}Connection: close\r\n\r\n")
    }

    /// Announces with this query, and gives the dictionary that comes back.
    ///
    /// # Panics
    /// If it is no dictionary, or its status is not 200.
    #[track_caller]
    pub fn announce(&self, query: &str) -> Value {
        self.get(&format!("{}/announce?{query}", self.prefix)).dictionary()
    }

    /// A peer of `hash` on this port announces; see [`query`].
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn join(&self, hash: &[u8], port: u16, more: &str) -> Value {
        let reply = self.announce(&query(hash, port, more));
        assert_eq!(failure(&reply), None, "the announce of port {port}, {more}");
        reply
    }

    /// Scrapes one torrent.
    ///
    /// # Panics
    /// If it is refused, or tells of another torrent.
    #[track_caller]
    pub fn scrape(&self, hash: &[u8]) -> Counts {
        let reply = self.get(&format!("{}/scrape?info_hash={}", self.prefix, escape(hash))).dictionary();
        let files = files(&reply);
        assert_eq!(files.len(), 1, "one torrent was asked for: {reply:?}");
        assert_eq!(files[0].0, hash);
        files[0].1
    }
}

impl Reply {
    /// The body as a dictionary, canonical bencode.
    ///
    /// # Panics
    /// If it is none, or the status is not 200.
    #[track_caller]
    pub fn dictionary(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        match Value::decode(&self.body) {
            Ok(value @ Value::Dict(_)) => value,
            other => panic!("{other:?}: {:?}", String::from_utf8_lossy(&self.body)),
        }
    }
}

/// Reads one reply; `None` if the connection ends before its end. `bare`: it has no body, whatever its length says.
pub fn read(stream: &mut TcpStream, bare: bool) -> Option<Reply> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length =
        head.split_once("content-length: ").and_then(|(_, rest)| rest.split_once("\r\n")?.0.parse().ok());
    let mut body = vec![0; if bare { 0 } else { length.unwrap_or(0) }];
    stream.read_exact(&mut body).ok()?;
    Some(Reply { status, head, body })
}

/// Why an announce or scrape was refused; `None`: it was not.
pub fn failure(reply: &Value) -> Option<String> {
    reply.string("failure reason").map(|reason| String::from_utf8_lossy(reason).into_owned())
}

/// The peers of an announce's reply, compact.
///
/// # Panics
/// If `peers` is not there, or a list's length is no whole number of peers.
#[track_caller]
pub fn peers(reply: &Value) -> Vec<SocketAddr> {
    let v4 = reply.string("peers").expect("`peers` is always there");
    let v6 = reply.string("peers6").unwrap_or_default();
    assert!(v4.len().is_multiple_of(6) && v6.len().is_multiple_of(18), "{reply:?}");
    let v4 = v4.chunks(6).map(|peer| {
        let ip = Ipv4Addr::new(peer[0], peer[1], peer[2], peer[3]);
        SocketAddr::from((ip, u16::from_be_bytes([peer[4], peer[5]])))
    });
    let v6 = v6.chunks(18).map(|peer| {
        let ip: [u8; 16] = peer[..16].try_into().expect("16");
        SocketAddr::from((Ipv6Addr::from(ip), u16::from_be_bytes([peer[16], peer[17]])))
    });
    v4.chain(v6).collect()
}

/// The ports of these peers, sorted.
pub fn ports(peers: &[SocketAddr]) -> Vec<u16> {
    let mut ports: Vec<_> = peers.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports
}

/// What a scrape's reply says, in its order.
///
/// # Panics
/// If it says nothing.
#[track_caller]
pub fn files(reply: &Value) -> Vec<(Vec<u8>, Counts)> {
    let Some(Value::Dict(entries)) = reply.get("files") else { panic!("no files: {reply:?}") };
    entries
        .iter()
        .map(|(hash, counts)| {
            let int = |key| counts.int(key);
            let counts = Counts {
                complete: int("complete").expect("`complete`"),
                downloaded: int("downloaded").expect("`downloaded`"),
                incomplete: int("incomplete").expect("`incomplete`"),
                downloaders: int("downloaders"),
            };
            (hash.clone(), counts)
        })
        .collect()
}
