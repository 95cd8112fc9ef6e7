//! HTTP on a connection that is kept.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use harness::directory::Reply;

/// Bytes read at once.
const READ: usize = 64 * 1024;

pub(crate) struct Client {
    addr: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self { addr, stream, buffer: vec![0; READ] }
    }

    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr).as_bytes())
    }

    pub(crate) fn post(&mut self, body: &[u8]) -> Reply {
        self.post_to("/api/v1/torrents", body)
    }

    pub(crate) fn post_to(&mut self, target: &str, body: &[u8]) -> Reply {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.addr,
            body.len()
        );
        self.ask(&[head.as_bytes(), body].concat())
    }

    /// The server ends a connection after two minutes: then there is another one.
    fn ask(&mut self, request: &[u8]) -> Reply {
        if let Some(reply) = self.try_ask(request) {
            return reply;
        }
        *self = Self::connect(self.addr);
        self.try_ask(request).expect("an answer")
    }

    fn try_ask(&mut self, request: &[u8]) -> Option<Reply> {
        self.stream.write_all(request).ok()?;
        let mut bytes = Vec::new();
        loop {
            let length = self.stream.read(&mut self.buffer).ok().filter(|&length| length > 0)?;
            bytes.extend_from_slice(&self.buffer[..length]);
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
            let status = head.split(' ').nth(1)?.parse().ok()?;
            let reply = Reply { status, head, body: Vec::new() };
            let body: usize = reply.header("content-length").and_then(|it| it.parse().ok())?;
            while bytes.len() < end + 4 + body {
                let length = self.stream.read(&mut self.buffer).ok().filter(|&length| length > 0)?;
                bytes.extend_from_slice(&self.buffer[..length]);
            }
            return Some(Reply { body: bytes.split_off(end + 4), ..reply });
        }
    }
}
