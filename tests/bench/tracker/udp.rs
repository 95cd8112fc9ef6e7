//! The load over UDP: from many addresses and ports in a shuffled order, with so many announces under way that the tracker never
//! waits for us. It spins: a sleeping generator would have the tracker pay for its wake-ups.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use harness::wait::Stopwatch;
use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt::UdpGsoSegment,
};

use crate::packet::{self, ANNOUNCE, CONNECT, Reply};
use crate::population::{self, Event, Member, Population};
use crate::tally::Tally;

/// How long an answer may be under way. Those behind it wait with it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Looks at a socket between two looks at the clock.
const SPINS: u32 = 1 << 10;

/// Bytes of a datagram, more than any tracker's reply.
const DATAGRAM: usize = 2048;

/// Packets that leave one source in a row at most.
pub(crate) const LARGEST_BURST: usize = 32;

/// How it loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Peers asked for.
    pub(crate) numwant: i32,
    /// Announces under way.
    pub(crate) window: usize,
    /// Announces in a row from one source.
    pub(crate) burst: usize,
    /// Whether each announce is preceded by a connect of its own.
    pub(crate) connect_each: bool,
}

/// When it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// Every peer has announced itself once.
    All,
    After(Duration),
}

/// A client of a tracker, with all its sources.
#[derive(Debug)]
pub(crate) struct Generator<'a> {
    population: &'a Population,
    sources: Vec<Source>,
    order: Vec<usize>,
    at: usize,
    transaction: u32,
    peer_size: usize,
    random: fastrand::Rng,
    inbox: Inbox,
}

#[derive(Debug)]
struct Source {
    socket: UdpSocket,
    connection_id: u64,
    /// The peer that is next, and how often all were.
    member: usize,
    turn: u32,
}

/// Packets of one source that are under way.
#[derive(Debug)]
struct Flight {
    source: usize,
    first: u32,
    count: usize,
    left: usize,
    connecting: bool,
    ids: [u64; LARGEST_BURST],
}

/// Where datagrams go, several a call.
#[derive(Debug)]
struct Inbox {
    buffers: Vec<[u8; DATAGRAM]>,
    lengths: Vec<usize>,
    headers: MultiHeaders<SockaddrStorage>,
}

impl<'a> Generator<'a> {
    /// Sockets for all sources, none connected yet.
    pub(crate) fn new(tracker: SocketAddr, population: &'a Population) -> io::Result<Self> {
        let mut sources = Vec::new();
        for number in 0..population.sources().len() {
            let ip = if tracker.is_ipv4() { population::address(number) } else { Ipv6Addr::LOCALHOST.into() };
            sources.push(Source::new(ip, tracker)?);
        }
        Ok(Self {
            population,
            order: (0..sources.len()).collect(),
            at: usize::MAX,
            sources,
            transaction: 1,
            peer_size: if tracker.is_ipv4() { 6 } else { 18 },
            random: fastrand::Rng::with_seed(3),
            inbox: Inbox::new(),
        })
    }

    /// Gets a connection id for every source, which trackers honour for two minutes.
    ///
    /// # Errors
    /// If the tracker does not answer.
    pub(crate) fn connect(&mut self) -> Result<(), String> {
        for number in 0..self.sources.len() {
            let answer = (0..3).find_map(|_| self.connect_one(number));
            self.sources[number].connection_id = answer.ok_or("no answer to a connect request")?;
        }
        Ok(())
    }

    fn connect_one(&mut self, number: usize) -> Option<u64> {
        let transaction = self.next_transaction(1);
        let source = &self.sources[number];
        let mut request = [0; CONNECT];
        packet::connect(&mut request, transaction);
        source.socket.send(&request).ok()?;
        let stopwatch = Stopwatch::start();
        let mut buffer = [0; DATAGRAM];
        while stopwatch.elapsed() < PATIENCE {
            let Ok(length) = source.socket.recv(&mut buffer) else { continue };
            if let Reply::Connect { transaction: of, connection_id } = packet::read(&buffer[..length], 6)
                && of == transaction
            {
                return Some(connection_id);
            }
        }
        None
    }

    /// As much as the tracker takes.
    pub(crate) fn saturate(&mut self, load: &Load, until: Until) -> Tally {
        let stopwatch = Stopwatch::start();
        let mut tally = Tally::default();
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let (mut under_way, mut spins, mut launched) = (0, 0u32, 0);
        let mut quiet_since: Option<Duration> = None;
        let mut over = false;
        loop {
            while !over && under_way + load.burst <= load.window {
                let flight = self.launch(load, until);
                under_way += flight.count;
                launched += flight.count as u64;
                flights.push_back(flight);
                over = match until {
                    Until::All => launched >= self.population.len(),
                    // The clock is looked at elsewhere.
                    Until::After(_) => false,
                };
            }
            let Some(flight) = flights.front_mut() else { break };
            spins += 1;
            if spins.is_multiple_of(SPINS) {
                let now = stopwatch.elapsed();
                over |= matches!(until, Until::After(time) if now >= time);
                let since = *quiet_since.get_or_insert(now);
                if now.saturating_sub(since) > PATIENCE {
                    tally.lost += flight.left as u64;
                    under_way -= flight.left;
                    flights.pop_front();
                    quiet_since = None;
                    continue;
                }
            }
            let received = self.inbox.receive(&self.sources[flight.source].socket, flight.left);
            for bytes in self.inbox.packets(received) {
                let reply = packet::read(bytes, self.peer_size);
                let answered = match reply {
                    Reply::Announce { transaction, peers } if flight.is_part(transaction) => {
                        tally.answer(peers);
                        !flight.connecting
                    }
                    Reply::Connect { transaction, connection_id } if flight.is_part(transaction) => {
                        flight.ids[transaction.wrapping_sub(flight.first) as usize] = connection_id;
                        flight.connecting
                    }
                    // An answer that was given up.
                    Reply::Announce { .. } | Reply::Connect { .. } => continue,
                    Reply::Bad => false,
                };
                tally.bad += u64::from(!answered);
                flight.left -= 1;
            }
            if received > 0 {
                quiet_since = None;
            }
            if flight.left > 0 {
                continue;
            }
            let flight = flights.pop_front().expect("it was in front");
            if flight.connecting {
                flights.push_back(self.follow(flight, load));
            } else {
                under_way -= flight.count;
            }
        }
        tally.elapsed = stopwatch.elapsed();
        tally
    }

    /// So many announces a second, whatever the tracker does, each timed.
    pub(crate) fn pace(&mut self, load: &Load, rate: f64, time: Duration) -> Tally {
        let stopwatch = Stopwatch::start();
        let mut tally = Tally::default();
        let mut flights: VecDeque<(Flight, u64)> = VecDeque::new();
        let single = Load { burst: 1, connect_each: false, ..*load };
        let (between, end) = (1e9 / rate, time.as_nanos() as u64);
        let mut sent = 0u64;
        loop {
            let now = stopwatch.elapsed().as_nanos() as u64;
            let due = (sent as f64 * between) as u64;
            if due <= now && due < end {
                flights.push_back((self.launch(&single, Until::After(time)), due));
                sent += 1;
                continue;
            }
            let Some((flight, since)) = flights.front() else {
                if due >= end {
                    break;
                }
                continue;
            };
            if now.saturating_sub(*since) > PATIENCE.as_nanos() as u64 {
                tally.lost += 1;
                flights.pop_front();
                continue;
            }
            let received = self.inbox.receive(&self.sources[flight.source].socket, 1);
            for bytes in self.inbox.packets(received) {
                let Reply::Announce { transaction, peers } = packet::read(bytes, self.peer_size) else {
                    tally.bad += 1;
                    continue;
                };
                // Nearly always the one in front.
                let Some(place) = flights.iter().position(|(flight, _)| flight.first == transaction) else {
                    continue;
                };
                let (_, since) = flights.remove(place).expect("it was found");
                tally.answer(peers);
                tally.latencies.push((stopwatch.elapsed().as_nanos() as u64).saturating_sub(since));
            }
        }
        tally.elapsed = stopwatch.elapsed();
        tally
    }

    /// Sends a burst from the next source.
    fn launch(&mut self, load: &Load, until: Until) -> Flight {
        loop {
            if self.at >= self.order.len() {
                self.random.shuffle(&mut self.order);
                self.at = 0;
            }
            let number = self.order[self.at];
            self.at += 1;
            let source = &self.sources[number];
            let members = &self.population.sources()[number];
            let mut count = load.burst.min(members.len());
            if matches!(until, Until::All) {
                // Nobody twice.
                if source.turn > 0 {
                    continue;
                }
                count = count.min(members.len() - source.member);
            }
            let first = self.next_transaction(count);
            let flight = Flight {
                source: number,
                first,
                count,
                left: count,
                connecting: load.connect_each,
                ids: [self.sources[number].connection_id; LARGEST_BURST],
            };
            if !load.connect_each {
                return self.follow(flight, load);
            }
            for place in 0..count {
                let mut request = [0; CONNECT];
                packet::connect(&mut request, first.wrapping_add(place as u32));
                self.sources[number].send(&request, CONNECT);
            }
            return flight;
        }
    }

    /// The announces of a flight whose connection ids are there.
    fn follow(&mut self, mut flight: Flight, load: &Load) -> Flight {
        let mut requests = [0; LARGEST_BURST * ANNOUNCE];
        if flight.connecting {
            flight.first = self.next_transaction(flight.count);
        }
        let members = &self.population.sources()[flight.source];
        let source = &mut self.sources[flight.source];
        for (place, request) in requests.as_chunks_mut().0.iter_mut().enumerate().take(flight.count) {
            let (member, turn) = source.next(members);
            let event = if turn == 0 { Event::None } else { member.event(turn) };
            let announce = (self.population.hash(member), member, event, load.numwant);
            packet::announce(request, flight.first.wrapping_add(place as u32), flight.ids[place], announce);
        }
        source.send(&requests[..flight.count * ANNOUNCE], ANNOUNCE);
        flight.connecting = false;
        flight.left = flight.count;
        flight
    }

    fn next_transaction(&mut self, count: usize) -> u32 {
        let first = self.transaction;
        self.transaction = first.wrapping_add(count as u32);
        first
    }
}

impl Source {
    fn new(ip: IpAddr, tracker: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((ip, 0))?;
        socket.connect(tracker)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, connection_id: 0, member: 0, turn: 0 })
    }

    /// Several datagrams of this size go through the kernel at once, but leave as themselves.
    fn send(&self, bytes: &[u8], size: usize) {
        if bytes.len() > size {
            // Sticks to the socket; it matters only to what is longer.
            let _ = setsockopt(&self.socket, UdpGsoSegment, &(size as i32));
        }
        // What does not leave is not answered, and counts as lost.
        let _ = self.socket.send(bytes);
    }

    fn next(&mut self, members: &[Member]) -> (Member, u32) {
        let (member, turn) = (members[self.member], self.turn);
        self.member += 1;
        if self.member == members.len() {
            self.member = 0;
            self.turn += 1;
        }
        (member, turn)
    }
}

impl Flight {
    fn is_part(&self, transaction: u32) -> bool {
        (transaction.wrapping_sub(self.first) as usize) < self.count
    }
}

impl Inbox {
    fn new() -> Self {
        Self {
            buffers: vec![[0; DATAGRAM]; LARGEST_BURST],
            lengths: vec![0; LARGEST_BURST],
            headers: MultiHeaders::preallocate(LARGEST_BURST, None),
        }
    }

    /// Takes what is there, at most so many; gives how many it took.
    fn receive(&mut self, socket: &UdpSocket, most: usize) -> usize {
        if most == 1 {
            let Ok(length) = socket.recv(&mut self.buffers[0]) else { return 0 };
            self.lengths[0] = length;
            return 1;
        }
        let mut slices: [[IoSliceMut<'_>; 1]; LARGEST_BURST] = {
            let mut buffers = self.buffers.iter_mut();
            std::array::from_fn(|_| [IoSliceMut::new(buffers.next().expect("as many"))])
        };
        let slices = slices.iter_mut().take(most);
        match recvmmsg(socket.as_raw_fd(), &mut self.headers, slices, MsgFlags::MSG_DONTWAIT, None) {
            Ok(messages) => {
                let mut received = 0;
                for (message, length) in messages.zip(&mut self.lengths) {
                    *length = message.bytes;
                    received += 1;
                }
                received
            }
            // Nothing there, or what an ICMP message tells: both are waited out.
            Err(Errno::EAGAIN) | Err(_) => 0,
        }
    }

    fn packets(&self, received: usize) -> impl Iterator<Item = &[u8]> {
        self.buffers.iter().zip(&self.lengths).take(received).map(|(buffer, &length)| &buffer[..length])
    }
}
