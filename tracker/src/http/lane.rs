//! The fast lane: requests of the kind that nearly all are, read and answered without hyper.
//!
//! A GET of `/announce` or `/scrape` without a body is parsed by httparse, which hyper uses too, in a buffer that all connections of
//! a thread share, and answered from another one: a connection that is idle has no buffers at all. Whatever else comes,
//! malformed or only uncommon, goes to hyper with the bytes that were read, and so does the rest of its connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use httparse::{Header, Request, Status};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::Service;
use super::connection::{MAX_HEAD, MAX_HEADERS};
use super::paths::Question;
use super::watch::Fate;

/// Bytes read at once: a few pipelined requests.
const READ: usize = 2 * MAX_HEAD;

/// Why the lane was left.
pub(super) enum Left {
    /// The connection is at its end.
    Ended,
    /// This has been read, and is hyper's.
    Unusual(Vec<u8>),
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// What all connections of a thread use in turn.
#[derive(Default)]
struct Scratch {
    input: Vec<u8>,
    output: Vec<u8>,
    /// The body of the answer that is being written.
    body: Vec<u8>,
    date: Date,
}

/// The value of the header `Date`, which changes once a second.
#[derive(Default)]
struct Date {
    second: u64,
    text: String,
}

/// What came of what has been read.
enum Round {
    /// It has been answered as far as it is whole.
    GoesOn,
    /// The last answer was the last one, or nobody is there to take it.
    Ended,
    Unusual,
}

/// Reads and answers until something unusual comes, or the end.
pub(super) async fn serve(stream: &mut TcpStream, service: &Service) -> Left {
    // The beginning of a head that has not come whole, and the end of an answer that has not gone.
    let (mut begun, mut unsent) = (Vec::new(), Vec::new());
    loop {
        let round = poll_fn(|cx| {
            match service.front.watch.fate(&service.life, cx) {
                Fate::Overdue => return Poll::Ready(Round::Ended),
                // Nothing is lost if it ends here.
                Fate::Closing if begun.is_empty() => return Poll::Ready(Round::Ended),
                Fate::Closing | Fate::Lives => {}
            }
            SCRATCH
                .with_borrow_mut(|scratch| scratch.poll_round(cx, stream, service, &mut begun, &mut unsent))
        })
        .await;
        if !(unsent.is_empty() || send(stream, service, &mut unsent).await) {
            return Left::Ended;
        }
        match round {
            Round::GoesOn => {}
            Round::Unusual => return Left::Unusual(begun),
            Round::Ended => return Left::Ended,
        }
    }
}

/// Sends what the kernel would not take at once; `false`: it never will.
async fn send(stream: &TcpStream, service: &Service, unsent: &mut Vec<u8>) -> bool {
    while !unsent.is_empty() {
        let is_ready = poll_fn(|cx| match service.front.watch.fate(&service.life, cx) {
            Fate::Overdue => Poll::Ready(false),
            Fate::Closing | Fate::Lives => Poll::Ready(ready!(stream.poll_write_ready(cx)).is_ok()),
        });
        if !is_ready.await {
            return false;
        }
        match stream.try_write(unsent) {
            Ok(length) => drop(unsent.drain(..length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}

impl Scratch {
    /// Reads what there is, or waits for it, and answers what is whole.
    fn poll_round(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        service: &Service,
        begun: &mut Vec<u8>,
        unsent: &mut Vec<u8>,
    ) -> Poll<Round> {
        let kept = begun.len();
        self.input.resize(READ + MAX_HEAD, 0);
        self.input[..kept].copy_from_slice(begun);
        // Not `try_read`: that asks the kernel once more whether there is anything left.
        let mut buffer = ReadBuf::new(&mut self.input[kept..kept + READ]);
        match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {}
            _ => return Poll::Ready(Round::Ended),
        }
        let length = kept + buffer.filled().len();
        Poll::Ready(self.round(length, stream, service, begun, unsent))
    }

    /// Answers what is whole among the first `length` bytes that have been read.
    fn round(
        &mut self,
        length: usize,
        stream: &TcpStream,
        service: &Service,
        begun: &mut Vec<u8>,
        unsent: &mut Vec<u8>,
    ) -> Round {
        let Self { input, output, body, date } = self;
        output.clear();
        let mut rest = &input[..length];
        let mut round = Round::GoesOn;
        while !rest.is_empty() {
            match answer(service, rest, date, body, output) {
                Answer::Given { length, close } => {
                    rest = &rest[length..];
                    if close {
                        rest = &[];
                        round = Round::Ended;
                    }
                }
                Answer::Incomplete if rest.len() < MAX_HEAD => break,
                Answer::Incomplete | Answer::Unusual => {
                    round = Round::Unusual;
                    break;
                }
            }
        }
        begun.clear();
        begun.extend_from_slice(rest);
        if !output.is_empty() {
            let sent = match stream.try_write(output) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return Round::Ended,
            };
            unsent.extend_from_slice(&output[sent..]);
        }
        round
    }
}

enum Answer {
    /// To a request of this length.
    Given {
        length: usize,
        close: bool,
    },
    Incomplete,
    Unusual,
}

/// Answers the request at the start of these bytes.
fn answer(
    service: &Service,
    bytes: &[u8],
    date: &mut Date,
    body: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Answer {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(Status::Partial) => return Answer::Incomplete,
        _ => return Answer::Unusual,
    };
    let (Some("GET"), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Answer::Unusual;
    };
    // What a URL may not hold, hyper refuses.
    let is_plain = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let question = Question::of(path);
    let is_ours = matches!(question, Question::Announce(_) | Question::Scrape(_));
    let (Some(keep), true, true) = (keep_alive(version, request.headers), is_plain, is_ours) else {
        return Answer::Unusual;
    };
    service.front.metrics.received.inc();
    let forwarded = request.headers.iter().filter(|header| is(header, "x-forwarded-for"));
    let now = service.front.site.tracker.clock.now();
    body.clear();
    let counter = service.ask(now, question, query.as_bytes(), forwarded.map(|header| header.value), body);
    counter.inc();
    let close = service.front.watch.note_answer(&service.life) || !keep;

    output.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n");
    match (close, version) {
        (true, _) => output.extend_from_slice(b"connection: close\r\n"),
        (false, 0) => output.extend_from_slice(b"connection: keep-alive\r\n"),
        (false, _) => {}
    }
    output.extend_from_slice(b"content-length: ");
    // A vector takes everything.
    let _ = write!(output, "{}", body.len());
    output.extend_from_slice(b"\r\ndate: ");
    output.extend_from_slice(date.at(service.front.site.tracker.clock.epoch(now)).as_bytes());
    output.extend_from_slice(b"\r\n\r\n");
    output.extend_from_slice(body);
    Answer::Given { length, close }
}

/// Whether the connection is to be kept; `None`: these headers want more than that looked at.
fn keep_alive(version: u8, headers: &[Header<'_>]) -> Option<bool> {
    let mut keep = version == 1;
    for header in headers {
        if is(header, "connection") {
            keep = match header.value {
                value if value.eq_ignore_ascii_case(b"close") => false,
                value if value.eq_ignore_ascii_case(b"keep-alive") => true,
                _ => return None,
            };
        } else if ["content-length", "transfer-encoding", "expect", "upgrade"]
            .iter()
            .any(|name| is(header, name))
        {
            return None;
        }
    }
    Some(keep)
}

fn is(header: &Header<'_>, name: &str) -> bool {
    header.name.eq_ignore_ascii_case(name)
}

impl Date {
    /// `epoch`: since 1970.
    fn at(&mut self, epoch: Duration) -> &str {
        if self.second != epoch.as_secs() || self.text.is_empty() {
            self.second = epoch.as_secs();
            self.text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + epoch);
        }
        &self.text
    }
}
