//! A tracker on loopback, and the simplest of clients.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use torrent_format::announce::http::{ReplyError, decode_reply, decode_scrape};
use torrent_format::announce::udp::{self, Reply};
use torrent_format::announce::{AnnounceEvent, AnnounceReply, AnnounceRequest};
use torrent_format::{InfoHash, PeerId};
use tracker::{Config, Server};

/// How long to wait for an answer before the test fails. Never waited for when things work.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a client listens for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(150);

pub(crate) const HASH: InfoHash = InfoHash([b'a'; 20]);

/// A running tracker; ends with the test.
pub(crate) struct Tracker {
    pub(crate) server: Server,
    runtime: Runtime,
}

/// Both protocols at free ports of 127.0.0.1.
pub(crate) fn both() -> Config {
    let any = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    Config { http: any.clone(), udp: any, ..Config::default() }
}

pub(crate) fn leech(port: u16) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: HASH,
        peer_id: PeerId(*b"-XX0000-bbbbbbbbbbbb"),
        port,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: AnnounceEvent::Regular,
        numwant: None,
        key: None,
        tracker_id: None,
    }
}

impl Tracker {
    pub(crate) fn start(config: Config) -> Self {
        Self::try_start(config).unwrap()
    }

    pub(crate) fn try_start(config: Config) -> Result<Self, tracker::ServeError> {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(tracker::serve(config))?;
        Ok(Self { server, runtime })
    }

    pub(crate) fn stop(self) {
        self.runtime.block_on(self.server.stop(PATIENCE));
    }

    pub(crate) fn udp(&self) -> UdpClient {
        UdpClient::connect(self.server.udp_addrs()[0])
    }

    /// Announces over HTTP to `/announce`, or `/KEY/announce`.
    pub(crate) fn announce(&self, key: &str, request: &AnnounceRequest) -> Result<AnnounceReply, ReplyError> {
        self.announce_with(key, request, "")
    }

    pub(crate) fn announce_with(
        &self,
        key: &str,
        request: &AnnounceRequest,
        headers: &str,
    ) -> Result<AnnounceReply, ReplyError> {
        let url = torrent_format::announce::http::announce_url(&format!("{key}/announce"), request);
        let (status, body) = http(self.server.local_addrs()[0], "GET", &url, headers, "");
        assert_eq!(status, 200);
        decode_reply(&body)
    }

    /// Seeds, leechers and completions.
    pub(crate) fn scrape(&self, hash: InfoHash) -> (u32, u32, u32) {
        let url = torrent_format::announce::http::scrape_url("/announce", &[hash]).unwrap();
        let (_, body) = http(self.server.local_addrs()[0], "GET", &url, "", "");
        let entry = decode_scrape(&body).unwrap()[0].1;
        (entry.complete, entry.incomplete, entry.downloaded)
    }

    /// Status and answer of the admin API.
    pub(crate) fn admin(
        &self,
        state: &std::path::Path,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, Value) {
        let token = std::fs::read_to_string(state.join("admin.token")).unwrap();
        let header = format!("Authorization: Bearer {}\r\n", token.trim());
        let (status, body) = http(self.server.admin_addr().unwrap(), method, path, &header, body);
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

/// Status and body.
pub(crate) fn http(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer[end..].to_vec())
}

/// A client with a connection id.
pub(crate) struct UdpClient {
    pub(crate) socket: UdpSocket,
    pub(crate) id: u64,
}

impl UdpClient {
    pub(crate) fn connect(tracker: SocketAddr) -> Self {
        let any = if tracker.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        // From now on only answers from just this address come in.
        socket.connect(tracker).unwrap();
        let mut client = Self { socket, id: 0 };
        match client.ask(&udp::connect(7)) {
            Reply::Connect(id) => client.id = id,
            other => panic!("{other:?}"),
        }
        client
    }

    /// The answer to this packet.
    pub(crate) fn ask(&self, packet: &[u8]) -> Reply {
        self.socket.send(packet).unwrap();
        let bytes = self.receive(PATIENCE).expect("an answer");
        udp::parse_reply(&bytes, self.socket.local_addr().unwrap().is_ipv6()).expect("that is one").1
    }

    pub(crate) fn announce(&self, request: &AnnounceRequest) -> Reply {
        self.ask(&udp::announce(self.id, 9, request, ""))
    }

    pub(crate) fn peers(&self, request: &AnnounceRequest) -> Vec<SocketAddr> {
        match self.announce(request) {
            Reply::Announce(reply) => reply.peers,
            other => panic!("{other:?}"),
        }
    }

    /// Fails if this is answered.
    pub(crate) fn assert_silence(&self, packet: &[u8]) {
        self.socket.send(packet).unwrap();
        assert_eq!(self.receive(SILENCE), None);
    }

    fn receive(&self, patience: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        self.socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
    }
}
