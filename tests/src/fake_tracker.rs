//! An HTTP tracker that says what a test wants, and remembers what it heard.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::bencode::Value;
use crate::wait::Deadline;

/// A query as it came.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Before the question mark.
    pub path: String,
    /// Percent-decoded; of doubled keys the last.
    pub parameters: BTreeMap<String, Vec<u8>>,
}

/// What to answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Status 200 and these bytes as `text/plain`.
    Body(Vec<u8>),
    /// These bytes, status line and all.
    Raw(Vec<u8>),
    /// Nothing, with the connection left open until the asker closes it.
    Silence,
    /// Nothing, with the connection closed.
    Close,
}

/// A tracker on a loopback port. It listens until the test process ends.
#[derive(Clone, Debug)]
pub struct FakeTracker {
    addr: SocketAddr,
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    queries: Mutex<Vec<Query>>,
    changed: Condvar,
}

impl Query {
    /// A parameter as text; empty if it is not there.
    pub fn text(&self, key: &str) -> String {
        self.parameters.get(key).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }
}

impl Answer {
    /// A good announce reply with these peers, compact (BEP 23, BEP 7).
    pub fn peers(interval: u32, peers: &[SocketAddr]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for peer in peers {
            match peer.ip() {
                IpAddr::V4(ip) => {
                    v4.extend(ip.octets());
                    v4.extend(peer.port().to_be_bytes());
                }
                IpAddr::V6(ip) => {
                    v6.extend(ip.octets());
                    v6.extend(peer.port().to_be_bytes());
                }
            }
        }
        Self::bencoded(&Value::dict([
            ("interval", Value::Int(interval.into())),
            ("peers", Value::Bytes(v4)),
            ("peers6", Value::Bytes(v6)),
        ]))
    }

    /// Any bencoded value.
    pub fn bencoded(value: &Value) -> Self {
        Self::Body(value.encode())
    }
}

impl FakeTracker {
    /// Listens on 127.0.0.1; `answer` is asked for every query.
    ///
    /// # Panics
    /// If there is no port.
    pub fn start(answer: impl Fn(&Query) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let addr = listener.local_addr().expect("it is bound");
        let heard = Arc::new(Heard::default());
        let (answer, shared) = (Arc::new(answer), Arc::clone(&heard));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let (answer, heard) = (Arc::clone(&answer), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &heard, &*answer));
            }
        });
        Self { addr, heard }
    }

    /// The announce URL.
    pub fn url(&self) -> String {
        format!("http://{}/announce", self.addr)
    }

    /// What it heard so far.
    pub fn queries(&self) -> Vec<Query> {
        self.heard.queries.lock().expect("no server thread panics").clone()
    }

    /// Waits until `probe`, which is shown all queries so far whenever there is a new one, gives something.
    ///
    /// # Panics
    /// If it does not within `limit`.
    #[track_caller]
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut(&[Query]) -> Option<T>,
    ) -> T {
        let deadline = Deadline::after(limit);
        let mut queries = self.heard.queries.lock().expect("no server thread panics");
        loop {
            if let Some(found) = probe(&queries) {
                return found;
            }
            let Some(left) = deadline.remaining() else {
                let heard = queries.clone();
                drop(queries);
                panic!("the fake tracker: {what}: not within {limit:?}; it heard {heard:#?}");
            };
            queries = self.heard.changed.wait_timeout(queries, left).expect("no server thread panics").0;
        }
    }
}

/// One connection, with one query after another.
fn serve(mut stream: TcpStream, heard: &Heard, answer: &(dyn Fn(&Query) -> Answer + Send + Sync)) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading).lines();
    while let Some(Ok(request)) = lines.next() {
        let mut last = false;
        for header in lines.by_ref() {
            match header {
                Ok(line) if line.is_empty() => break,
                Ok(line) => last |= line.eq_ignore_ascii_case("connection: close"),
                Err(_) => return,
            }
        }
        let query = parse(&request);
        let answer = answer(&query);
        heard.queries.lock().expect("no test panics with it").push(query);
        heard.changed.notify_all();
        let written = match answer {
            Answer::Body(body) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(&[head.as_bytes(), &body].concat())
            }
            // Without a length that we know, only the end of the connection ends the reply.
            Answer::Raw(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Answer::Silence => {
                // Ends when the asker gives up and closes.
                let _ = lines.next();
                return;
            }
            Answer::Close => return,
        };
        if written.is_err() || last {
            return;
        }
    }
}

fn parse(request: &str) -> Query {
    let target = request.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    Query {
        path: path.to_owned(),
        parameters: parameters.map(|(key, value)| (key.to_owned(), percent_decode(value))).collect(),
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let escaped = (byte == b'%').then(|| {
            let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
            u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'?')
        });
        out.push(escaped.unwrap_or(byte));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_heard_and_answered() {
        let tracker = FakeTracker::start(|_| Answer::peers(60, &["1.2.3.4:258".parse().unwrap()]));
        let addr = tracker.addr;
        let reply = crate::http::get(addr, "/announce?info_hash=%00a%ff&event=started").unwrap();
        assert_eq!(reply.body, b"d8:intervali60e5:peers6:\x01\x02\x03\x04\x01\x026:peers60:e");
        let query = tracker.wait_for("a query", crate::wait::SOON, |queries| queries.first().cloned());
        assert_eq!((query.path.as_str(), query.text("event").as_str()), ("/announce", "started"));
        assert_eq!(query.parameters["info_hash"], b"\0a\xff");
    }
}
