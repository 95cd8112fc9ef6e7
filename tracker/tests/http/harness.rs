//! A tracker on loopback, and clients that say exactly the bytes they are told.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::runtime::Runtime;
use torrent_format::announce::AnnounceReply;
use torrent_format::announce::http::{ReplyError, ScrapeEntry, decode_reply, decode_scrape};
use tracker::{Config, OwnSeeder, Server};

/// Twenty bytes that stand for themselves in a query.
pub(crate) const HASH: &str = "aaaaaaaaaaaaaaaaaaaa";

/// How long to wait for an answer before the test fails. Never waited for when things work.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running tracker; ends with the test.
pub(crate) struct Tracker {
    pub(crate) addr: SocketAddr,
    pub(crate) server: Server,
    pub(crate) runtime: Runtime,
}

pub(crate) fn config(http: &[&str]) -> Config {
    let http = http.iter().map(|addr| addr.parse().unwrap()).collect();
    Config::embedded(http, Duration::from_secs(1800))
}

impl Tracker {
    pub(crate) fn start() -> Self {
        Self::with(config(&["127.0.0.1:0"]))
    }

    pub(crate) fn with_own_seeder(http: &[&str], port: u16) -> Self {
        let own_seeder = Some(OwnSeeder {
            hashes: torrent_format::InfoHash(HASH.as_bytes().try_into().unwrap()).into(),
            port,
        });
        Self::with(Config { own_seeder, ..config(http) })
    }

    pub(crate) fn with(config: Config) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(tracker::serve(config)).unwrap();
        Self { addr: server.local_addrs()[0], server, runtime }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Status and body of the answer to a GET.
    pub(crate) fn get(&self, target: &str) -> (u16, Vec<u8>) {
        self.connect().get(target)
    }

    /// The answer to an announce that is fine but for what `more` says.
    pub(crate) fn announce(&self, port: u16, more: &str) -> Result<AnnounceReply, ReplyError> {
        self.connect().announce(port, more)
    }

    pub(crate) fn scrape(&self, hash: &str) -> ScrapeEntry {
        let (status, body) = self.get(&format!("/scrape?info_hash={hash}"));
        assert_eq!(status, 200);
        let entries = decode_scrape(&body).unwrap();
        assert_eq!(entries.len(), 1);
        entries[0].1
    }

    /// Fails if the tracker does not answer as ever.
    pub(crate) fn assert_alive(&self) {
        assert_eq!(self.get("/health"), (200, b"ok\n".to_vec()));
    }
}

/// One connection.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn get(&mut self, target: &str) -> (u16, Vec<u8>) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: tracker\r\n\r\n"));
        self.response().expect("an answer")
    }

    pub(crate) fn announce(&mut self, port: u16, more: &str) -> Result<AnnounceReply, ReplyError> {
        let target = format!("/announce?info_hash={HASH}&peer_id=-XX0000-bbbbbbbbbbbb&port={port}&{more}");
        let (status, body) = self.get(&target);
        assert_eq!(status, 200);
        decode_reply(&body)
    }

    /// Status and body of the next answer; `None` if the connection was closed instead.
    pub(crate) fn response(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(0) => return None,
                Ok(_) => head.push(byte[0]),
                Err(error) if is_timeout(&error) => panic!("no answer in {PATIENCE:?}"),
                Err(_) => return None,
            }
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.split_once("\r\n").unwrap().0.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Some((status, body))
    }

    /// Waits until the other side has closed, and says what came before that.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return bytes,
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
                Err(error) if is_timeout(&error) => panic!("still open after {PATIENCE:?}"),
                Err(_) => return bytes, // A reset is an end, too.
            }
        }
    }
}

pub(crate) fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
