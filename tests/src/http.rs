//! As much HTTP as a test asks for: one GET, its status and body.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::wait::SOON;

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// What a tracker says about one torrent (BEP 48).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scrape {
    /// Seeds.
    pub complete: u64,
    /// Downloads that were finished.
    pub downloaded: u64,
    /// Leechers.
    pub incomplete: u64,
}

/// GETs `path_and_query` from `addr`; `None` if nobody answers, or not in HTTP.
pub fn get(addr: SocketAddr, path_and_query: &str) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&addr, SOON).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    write!(stream, "GET {path_and_query} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let head_length = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_length]);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body: bytes.split_off(head_length) })
}

/// Asks an HTTP tracker at `addr` about a torrent; `None` if it does not answer or does not know it.
pub fn scrape(addr: SocketAddr, info_hash: &[u8; 20]) -> Option<Scrape> {
    let hash: String = info_hash.iter().map(|byte| format!("%{byte:02x}")).collect();
    let body = get(addr, &format!("/scrape?info_hash={hash}"))?.body;
    // `files` is keyed by the raw hash; behind it stands a dictionary of integers.
    let at = body.windows(20).position(|window| window == info_hash)?;
    let number = |key: &str| {
        let key = format!("{}:{key}i", key.len());
        let from =
            body[at..].windows(key.len()).position(|window| window == key.as_bytes())? + at + key.len();
        let digits = body[from..].split(|&byte| byte == b'e').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    Some(Scrape {
        complete: number("complete")?,
        downloaded: number("downloaded").unwrap_or(0),
        incomplete: number("incomplete")?,
    })
}
