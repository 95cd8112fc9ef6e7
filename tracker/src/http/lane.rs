//! The fast lane: requests of the kind that nearly all are, read and answered without hyper.
//!
//! A GET of `/announce` or `/scrape` without a body is parsed by httparse, which hyper uses too, in a buffer that all connections of
//! a thread share, and answered from another one: a connection that is idle has no buffers at all. Whatever else comes,
//! malformed or only uncommon, goes to hyper with the bytes that were read, and so does the rest of its connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::task::{Poll, ready};
use std::time::SystemTime;

use httparse::{Header, Request, Status};
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
    /// Nothing has come yet, or it has been answered; so many bytes of a head wait for the rest of it.
    GoesOn,
    /// The last answer was the last one.
    Closes,
    Unusual,
}

/// Reads and answers until something unusual comes, or the end.
pub(super) async fn serve(stream: &TcpStream, service: &Service) -> Left {
    // The beginning of a head that has not come whole, and the end of an answer that has not gone.
    let (mut begun, mut unsent) = (Vec::new(), Vec::new());
    loop {
        if !wait(service, begun.is_empty(), |cx| stream.poll_read_ready(cx)).await {
            return Left::Ended;
        }
        let round =
            SCRATCH.with_borrow_mut(|scratch| scratch.round(stream, service, &mut begun, &mut unsent));
        while !unsent.is_empty() {
            if !wait(service, false, |cx| stream.poll_write_ready(cx)).await {
                return Left::Ended;
            }
            match stream.try_write(&unsent) {
                Ok(length) => drop(unsent.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Left::Ended,
            }
        }
        match round {
            Ok(Round::GoesOn) => {}
            Ok(Round::Unusual) => return Left::Unusual(begun),
            Ok(Round::Closes) | Err(_) => return Left::Ended,
        }
    }
}

/// Waits until the stream is ready; `false`: the connection is not to go on. `may_close`: nothing is lost if it ends here.
async fn wait(
    service: &Service,
    may_close: bool,
    mut ready: impl FnMut(&mut std::task::Context<'_>) -> Poll<io::Result<()>>,
) -> bool {
    poll_fn(|cx| match service.front.watch.fate(&service.life, cx) {
        Fate::Overdue => Poll::Ready(false),
        Fate::Closing if may_close => Poll::Ready(false),
        Fate::Closing | Fate::Lives => Poll::Ready(ready!(ready(cx)).is_ok()),
    })
    .await
}

impl Scratch {
    /// Reads what there is and answers what is whole.
    fn round(
        &mut self,
        stream: &TcpStream,
        service: &Service,
        begun: &mut Vec<u8>,
        unsent: &mut Vec<u8>,
    ) -> io::Result<Round> {
        let Self { input, output, date } = self;
        let kept = begun.len();
        input.resize(READ + MAX_HEAD, 0);
        input[..kept].copy_from_slice(begun);
        let length = match stream.try_read(&mut input[kept..kept + READ]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => kept + length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Round::GoesOn),
            Err(error) => return Err(error),
        };
        output.clear();
        let mut rest = &input[..length];
        let mut round = Round::GoesOn;
        while !rest.is_empty() {
            match answer(service, rest, date, output) {
                Answer::Given { length, close } => {
                    rest = &rest[length..];
                    if close {
                        rest = &[];
                        round = Round::Closes;
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
                Err(error) => return Err(error),
            };
            unsent.extend_from_slice(&output[sent..]);
        }
        Ok(round)
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
fn answer(service: &Service, bytes: &[u8], date: &mut Date, output: &mut Vec<u8>) -> Answer {
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
    let (body, counter) = service.ask(question, query.as_bytes(), forwarded.map(|header| header.value));
    counter.inc();
    let close = service.front.watch.note_answer(&service.life) || !keep;

    output.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n");
    match (close, version) {
        (true, _) => output.extend_from_slice(b"connection: close\r\n"),
        (false, 0) => output.extend_from_slice(b"connection: keep-alive\r\n"),
        (false, _) => {}
    }
    output.extend_from_slice(b"content-length: ");
    output.extend_from_slice(body.len().to_string().as_bytes());
    output.extend_from_slice(b"\r\ndate: ");
    output.extend_from_slice(date.now(service).as_bytes());
    output.extend_from_slice(b"\r\n\r\n");
    output.extend_from_slice(&body);
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
    fn now(&mut self, service: &Service) -> &str {
        let clock = service.front.site.tracker.clock;
        let epoch = clock.epoch(clock.now());
        if self.second != epoch.as_secs() || self.text.is_empty() {
            self.second = epoch.as_secs();
            self.text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + epoch);
        }
        &self.text
    }
}
