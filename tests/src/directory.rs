//! A tracker with a directory, as its users and their programs see it.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::Value;

use crate::process::Finished;
use crate::sandbox::Sandbox;
use crate::tracker::Tracker;
use crate::wait::{LONG, SOON};

/// A running tracker with a directory.
#[derive(Debug)]
pub struct Directory {
    /// The tracker.
    pub tracker: Tracker,
    /// What it was started with.
    arguments: Vec<String>,
    state: PathBuf,
    tokens: RefCell<u32>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (said, value) = line.split_once(':')?;
            said.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.head, String::from_utf8_lossy(&self.body)))
    }

    /// Fails if the status is another one.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, String::from_utf8_lossy(&self.body));
        self
    }
}

impl Directory {
    /// On loopback, with a state directory in the sandbox and more arguments.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start(sandbox: &Sandbox, more: &[&str]) -> Self {
        let state = sandbox.path("state");
        let own = ["--directory", "--state", state.to_str().expect("UTF-8")];
        let arguments: Vec<String> = own.iter().chain(more).map(|&arg| arg.to_owned()).collect();
        let tracker = start(sandbox, &arguments);
        Self { tracker, arguments, state, tokens: RefCell::new(0) }
    }

    /// Ends it by SIGKILL, and starts it anew, elsewhere.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn kill_and_start(self, sandbox: &Sandbox) -> Self {
        self.tracker.process.kill();
        Self { tracker: start(sandbox, &self.arguments), ..self }
    }

    /// What it was started with, beside addresses.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.tracker.http[0]
    }

    /// As users write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// A new token, and the file that it is in.
    ///
    /// # Panics
    /// If none can be made.
    #[track_caller]
    pub fn token(&self, sandbox: &Sandbox, scope: &str) -> (String, PathBuf) {
        let make =
            sandbox.sprat("tracker").args(["token", "create", "--scope", scope, "--state"]).arg(&self.state);
        let token = make.run(SOON).expect(0).stdout().trim().to_owned();
        let number = self.tokens.replace_with(|&mut number| number + 1);
        let file = sandbox.path(format!("token{number}"));
        std::fs::write(&file, format!("{token}\n")).expect("a file");
        (token, file)
    }

    /// `sprat search` with these arguments.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn search(&self, sandbox: &Sandbox, arguments: &[&str]) -> Finished {
        sandbox.sprat("search").env("SPRAT_DIRECTORY_URL", self.url()).args(arguments).run(SOON)
    }

    /// The titles that a query of the API finds, in order.
    ///
    /// # Panics
    /// If it is not answered.
    #[track_caller]
    pub fn titles(&self, query: &str) -> Vec<String> {
        let found = self.get(&format!("/api/v1/torrents?{query}")).expect(200).json();
        let torrents = found["torrents"].as_array().expect("a list").iter();
        torrents.map(|torrent| torrent["title"].as_str().expect("a title").to_owned()).collect()
    }

    /// GETs this.
    #[track_caller]
    pub fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[], &[])
    }

    /// Publishes these bytes with this token, `remarks` as a query; gives the answer.
    #[track_caller]
    pub fn publish(&self, token: &str, torrent: &[u8], remarks: &str) -> Reply {
        let headers =
            [format!("Authorization: Bearer {token}"), "Content-Type: application/x-bittorrent".to_owned()];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        self.ask("POST", &format!("/api/v1/torrents?{remarks}"), &headers, torrent)
    }

    /// Asks for this with these header lines.
    #[track_caller]
    pub fn ask(&self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Reply {
        ask(self.addr(), method, target, headers, body)
    }
}

fn start(sandbox: &Sandbox, arguments: &[String]) -> Tracker {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Tracker::start(sandbox, &arguments)
}

/// One request on a connection of its own. A `Host` among the headers stands for the address.
///
/// # Panics
/// If it is not answered in HTTP.
#[track_caller]
pub fn ask(addr: SocketAddr, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Reply {
    try_ask(addr, method, target, headers, body).expect("an answer")
}

/// As [`ask`]; `None` if nobody answers.
pub fn try_ask(addr: SocketAddr, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&addr, SOON).ok()?;
    stream.set_read_timeout(Some(LONG)).ok()?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        head += &format!("Host: {addr}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for header in headers {
        head += &format!("{header}\r\n");
    }
    // A server that has heard enough may have closed its end: what it said is still there.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body));
    let mut bytes = Vec::new();
    // Not to the end of the connection: not everybody closes it.
    while !is_whole(&bytes) {
        let mut part = [0; 16 * 1024];
        match stream.read(&mut part) {
            Ok(length) if length > 0 => bytes.extend_from_slice(&part[..length]),
            _ => break,
        }
    }
    let end = head_length(&bytes)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = bytes.split_off(end);
    let body =
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { dechunk(&body) } else { body };
    Some(Reply { status, head, body })
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Whether a reply has as many bytes as it said it would.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = head_length(bytes) else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= end + length)
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let length =
            std::str::from_utf8(&bytes[..end]).ok().and_then(|it| usize::from_str_radix(it.trim(), 16).ok());
        let Some(length) = length.filter(|&length| length > 0) else { break };
        body.extend_from_slice(&bytes[end + 2..end + 2 + length]);
        bytes = &bytes[end + 4 + length..];
    }
    body
}

/// A .torrent of one file that nobody has: this name, this many bytes, and for its only piece a hash that begins with `seed`.
pub fn torrent(name: &str, length: u64, seed: u32) -> Vec<u8> {
    let piece_length = length.next_power_of_two().max(16_384);
    let mut bytes = format!(
        "d4:infod6:lengthi{length}e4:name{}:{name}12:piece lengthi{piece_length}e6:pieces20:",
        name.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&seed.to_be_bytes());
    bytes.extend_from_slice(&[b'h'; 16]);
    bytes.extend_from_slice(b"ee");
    bytes
}
