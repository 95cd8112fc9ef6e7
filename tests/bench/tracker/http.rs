//! The load over HTTP: connections that each ask one thing at a time, kept or made anew for every announce. It spins, as over UDP.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use harness::wait::Stopwatch;
use socket2::{Domain, Protocol, Socket, Type};

use crate::population::{self, Event, Member, Population};
use crate::tally::Tally;
use crate::udp::Until;

/// How long an answer may be under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at a connection between two looks at the clock.
const SPINS: u32 = 1 << 10;

/// Bytes of a reply, more than any tracker's for 50 peers.
const REPLY: usize = 8192;

/// How it loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Peers asked for.
    pub(crate) numwant: i32,
    /// Whether a connection serves one announce only.
    pub(crate) close: bool,
}

/// A client of a tracker, with all its connections: one a source.
#[derive(Debug)]
pub(crate) struct Generator<'a> {
    tracker: SocketAddr,
    population: &'a Population,
    /// Each torrent's hash, as it stands in a query.
    hashes: Vec<String>,
    connections: Vec<Connection>,
    load: Load,
    request: String,
}

#[derive(Debug)]
struct Connection {
    stream: Option<TcpStream>,
    buffer: Box<[u8; REPLY]>,
    filled: usize,
    member: usize,
    turn: u32,
}

/// How far a connection's answer is.
enum Progress {
    Nothing,
    Some,
    /// With the number of peers, or what was wrong.
    Done(Result<u32, Fault>),
}

#[derive(Debug)]
enum Fault {
    Closed,
    Wrong,
}

impl<'a> Generator<'a> {
    /// No connection is made yet.
    pub(crate) fn new(tracker: SocketAddr, population: &'a Population, load: Load) -> Self {
        let connection =
            || Connection { stream: None, buffer: Box::new([0; REPLY]), filled: 0, member: 0, turn: 0 };
        Self {
            tracker,
            hashes: population.hashes().iter().map(escape).collect(),
            connections: (0..population.sources().len()).map(|_| connection()).collect(),
            population,
            load,
            request: String::new(),
        }
    }

    /// As much as the tracker takes.
    pub(crate) fn saturate(&mut self, until: Until) -> Tally {
        self.run(until, None)
    }

    /// So many announces a second, whatever the tracker does, each timed. No more are under way than there are connections.
    pub(crate) fn pace(&mut self, rate: f64, time: Duration) -> Tally {
        self.run(Until::After(time), Some(rate))
    }

    fn run(&mut self, until: Until, rate: Option<f64>) -> Tally {
        // Those of the last run may have been idle for longer than the tracker keeps them.
        self.connections.iter_mut().for_each(|connection| connection.stream = None);
        let stopwatch = Stopwatch::start();
        let mut tally = Tally::default();
        let mut idle: VecDeque<usize> = (0..self.connections.len()).collect();
        let mut busy: VecDeque<(usize, u64)> = VecDeque::new();
        let (mut spins, mut sent) = (0u32, 0u64);
        let mut over = false;
        let mut quiet_since: Option<Duration> = None;
        loop {
            spins += 1;
            let timed = rate.is_some() || spins.is_multiple_of(SPINS);
            let now = if timed { stopwatch.elapsed() } else { Duration::ZERO };
            over |= matches!(until, Until::After(time) if now >= time);
            while !over && !idle.is_empty() {
                let due = rate.map(|rate| (sent as f64 * 1e9 / rate) as u64);
                if due.is_some_and(|due| due > now.as_nanos() as u64) {
                    break;
                }
                let number = idle.pop_front().expect("one is idle");
                if matches!(until, Until::All) && self.connections[number].turn > 0 {
                    // All of its peers have announced themselves.
                    over = idle.is_empty() && busy.is_empty();
                    continue;
                }
                sent += 1;
                match self.ask(number) {
                    Ok(()) => busy.push_back((number, due.unwrap_or(0))),
                    Err(_) => {
                        tally.lost += 1;
                        self.connections[number].stream = None;
                        idle.push_back(number);
                    }
                }
            }
            let Some(&(number, due)) = busy.front() else {
                if over || (idle.is_empty() && matches!(until, Until::All)) {
                    break;
                }
                continue;
            };
            match self.connections[number].progress(self.load.close) {
                Progress::Nothing => {
                    if !timed || now.saturating_sub(*quiet_since.get_or_insert(now)) < PATIENCE {
                        continue;
                    }
                    tally.lost += 1;
                    self.connections[number].stream = None;
                }
                Progress::Some => {
                    quiet_since = None;
                    continue;
                }
                Progress::Done(Ok(peers)) => {
                    tally.answer(peers);
                    if rate.is_some() {
                        let taken = stopwatch.elapsed().as_nanos() as u64;
                        tally.latencies.push(taken.saturating_sub(due));
                    }
                }
                Progress::Done(Err(fault)) => {
                    match fault {
                        Fault::Closed => tally.lost += 1,
                        Fault::Wrong => tally.bad += 1,
                    }
                    self.connections[number].stream = None;
                }
            }
            quiet_since = None;
            busy.pop_front();
            if self.load.close {
                self.connections[number].stream = None;
            }
            idle.push_back(number);
        }
        tally.elapsed = stopwatch.elapsed();
        tally
    }

    fn ask(&mut self, number: usize) -> io::Result<()> {
        let members = &self.population.sources()[number];
        let connection = &mut self.connections[number];
        let (member, turn) = connection.next(members);
        let event = if turn == 0 { Event::None } else { member.event(turn) };
        write_request(&mut self.request, &self.hashes[member.torrent as usize], member, event, self.load);
        let stream = match &mut connection.stream {
            Some(stream) => stream,
            none => none.insert(connect(number, self.tracker, self.load.close)?),
        };
        connection.filled = 0;
        stream.write_all(self.request.as_bytes())
    }
}

impl Connection {
    fn next(&mut self, members: &[Member]) -> (Member, u32) {
        let (member, turn) = (members[self.member], self.turn);
        self.member += 1;
        if self.member == members.len() {
            self.member = 0;
            self.turn += 1;
        }
        (member, turn)
    }

    fn progress(&mut self, close: bool) -> Progress {
        let Some(stream) = &mut self.stream else { return Progress::Done(Err(Fault::Closed)) };
        match stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) if close && self.filled > 0 => {
                let reply = &self.buffer[..self.filled];
                Progress::Done(body(reply).and_then(|(from, _)| peers(reply, from)).ok_or(Fault::Wrong))
            }
            Ok(0) => Progress::Done(Err(if self.filled == 0 { Fault::Closed } else { Fault::Wrong })),
            Ok(length) => {
                self.filled += length;
                let reply = &self.buffer[..self.filled];
                match body(reply) {
                    Some((from, length))
                        if !close && length.is_some_and(|length| reply.len() >= from + length) =>
                    {
                        Progress::Done(peers(reply, from).ok_or(Fault::Wrong))
                    }
                    _ => Progress::Some,
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::Nothing,
            Err(_) => Progress::Done(Err(Fault::Closed)),
        }
    }
}

/// A kept connection comes from an address of its own; of those that are not kept, the handshake is made before this returns, as
/// the kernel does over loopback.
fn connect(number: usize, tracker: SocketAddr, close: bool) -> io::Result<TcpStream> {
    if close {
        let stream = TcpStream::connect(tracker)?;
        stream.set_nonblocking(true)?;
        return Ok(stream);
    }
    let socket = Socket::new(Domain::for_address(tracker), Type::STREAM, Some(Protocol::TCP))?;
    if tracker.is_ipv4() {
        socket.bind(&SocketAddr::new(population::address(number), 0).into())?;
    }
    socket.connect(&tracker.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn write_request(request: &mut String, hash: &str, member: Member, event: Event, load: Load) {
    request.clear();
    let id = member.id();
    let event = if event == Event::Stopped { "&event=stopped" } else { "" };
    let _ = write!(
        request,
        "GET /announce?info_hash={hash}&peer_id={}&port={}&uploaded=0&downloaded=0&left={}&key={:08X}{event}&numwant={}&compact=1 \
         HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept-Encoding: gzip\r\nConnection: {}\r\n\r\n",
        std::str::from_utf8(&id).expect("it is ASCII"),
        member.port,
        member.left(),
        member.number,
        load.numwant,
        if load.close { "close" } else { "keep-alive" },
    );
}

/// As libtorrent and others write it: all but letters and digits escaped.
fn escape(hash: &[u8; 20]) -> String {
    hash.iter().fold(String::new(), |mut text, &byte| {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => {
                let _ = write!(text, "%{byte:02x}");
            }
        }
        text
    })
}

/// Where a reply's body begins, and how long it says that it is.
fn body(reply: &[u8]) -> Option<(usize, Option<usize>)> {
    let from = memchr::memmem::find(reply, b"\r\n\r\n")? + 4;
    let head = &reply[..from];
    if !head.starts_with(b"HTTP/1.") || head.get(8..12) != Some(b" 200") {
        // Ends the wait: its body, whatever it is, is no answer.
        return Some((from, Some(0)));
    }
    let line = head
        .split(|&byte| byte == b'\n')
        .find(|line| line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:"));
    let length = line.and_then(|line| std::str::from_utf8(&line[15..]).ok()?.trim().parse().ok());
    Some((from, length))
}

/// The peers of an answer whose body begins there; `None`: it is none.
fn peers(reply: &[u8], from: usize) -> Option<u32> {
    let body = &reply[from..];
    if body.first() != Some(&b'd') || memchr::memmem::find(body, b"8:intervali").is_none() {
        return None;
    }
    let at = memchr::memmem::find(body, b"5:peers")? + 7;
    let digits = body[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0u32, |length, digit| 10 * length + u32::from(digit - b'0'));
    length.is_multiple_of(6).then_some(length / 6)
}
