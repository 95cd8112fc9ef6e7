//! Endpoints on lines, in virtual time: [`Net`]. Each host has an uplink with a rate, a buffer and faults, of its own or together with another;
//! a flow that gives way to losses only may share it ([`Reno`]). Hosts may be busy with other things and wake up late. The same seed gives the same run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

use crate::torrent::Time;
use crate::utp::{ConnectionKey, Endpoint, Event, Failure};

/// Headers of Ethernet, IPv4 and UDP.
const OVERHEAD: usize = 14 + 20 + 8;

/// A packet of [`Reno`]'s.
const RENO_PACKET: usize = 1_500;

/// Bytes that hosts write and read at a time.
const CHUNK: usize = 16 * 1024;

/// Packets that a host takes in before it sends.
const BATCH: usize = 32;

/// How often the queue is looked at.
const SAMPLE: Duration = Duration::from_millis(10);

/// What goes out of a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uplink {
    /// Bytes a second.
    pub(super) rate: f64,
    /// Of packets that wait.
    pub(super) buffer: usize,
    /// To the other end.
    pub(super) latency: Duration,
    /// How many of a hundred packets are lost, come twice, and come up to 30 ms late.
    pub(super) faults: (u32, u32, u32),
}

pub(super) const FAST: Uplink =
    Uplink { rate: 12_500_000.0, buffer: 250_000, latency: Duration::from_millis(10), faults: (0, 0, 0) };

/// 4 Mbit/s, and half a second of it in the buffer.
pub(super) const SLOW: Uplink =
    Uplink { rate: 500_000.0, buffer: 250_000, latency: Duration::from_millis(10), faults: (0, 0, 0) };

/// A host, and what its user does.
pub(super) struct Host {
    pub(super) endpoint: Endpoint,
    pub(super) addr: SocketAddr,
    uplink: Uplink,
    /// When all that waits has left.
    clear: Time,
    /// Whose uplink it sends through.
    through: usize,
    /// By how much its clock is ahead at first, and gains, in millionths.
    clock: Duration,
    gains: f64,
    /// How late it comes to what there is to do, at most: mostly, and once in twenty times.
    late: (Duration, Duration),
    /// When it comes to it, if there is something.
    wake: Option<Time>,
    came: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) users: BTreeMap<ConnectionKey, User>,
    /// What those who come in are to be sent.
    pub(super) greeting: Vec<u8>,
    /// They are sent more without end.
    pub(super) serves: bool,
    pub(super) accepted: usize,
}

/// One who uses a connection: writes something, and reads what comes.
#[derive(Clone, Debug, Default)]
pub(super) struct User {
    pub(super) to_write: Vec<u8>,
    pub(super) written: usize,
    /// Writes without end.
    pub(super) endless: bool,
    pub(super) read: Vec<u8>,
    pub(super) read_bytes: usize,
    pub(super) keeps: bool,
    pub(super) reads: bool,
    pub(super) ended: Option<Result<(), Failure>>,
    /// Lets go when all was written and this many bytes have come.
    pub(super) leaves_after: Option<usize>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    Packet { to: usize, from: SocketAddr, bytes: Vec<u8> },
    Reno { lost: bool, number: u64 },
}

/// A bulk transfer over TCP (NewReno) out of host 0, as far as a queue sees it.
#[derive(Debug)]
pub(super) struct Reno {
    window: f64,
    threshold: f64,
    in_flight: u64,
    next: u64,
    recovered: u64,
    pub(super) bytes: usize,
}

pub(super) struct Net {
    pub(super) now: Time,
    pub(super) hosts: Vec<Host>,
    coming: BinaryHeap<Reverse<(Time, u64, Coming)>>,
    count: u64,
    rng: fastrand::Rng,
    pub(super) reno: Option<Reno>,
    next_sample: Time,
    /// How long a packet of host 0's waits, sampled.
    pub(super) waits: Vec<Duration>,
    /// Packets that host 0 sent, as they were sent: for those who look at them.
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) records: bool,
}

impl Net {
    pub(super) fn new(uplinks: &[Uplink]) -> Self {
        let host = |(number, uplink): (usize, &Uplink)| Host {
            endpoint: Endpoint::new([number as u8 + 1; 32]),
            addr: SocketAddr::from(([198, 51, 100, number as u8 + 1], 6881)),
            uplink: *uplink,
            clear: Time::default(),
            // Time stamps go round within the run.
            clock: Duration::from_secs(4_290 * (number as u64 + 1)),
            through: number,
            gains: 0.0,
            late: (Duration::ZERO, Duration::ZERO),
            wake: None,
            came: VecDeque::new(),
            users: BTreeMap::new(),
            greeting: vec![],
            serves: false,
            accepted: 0,
        };
        Self {
            now: Time(Duration::from_secs(1)),
            hosts: uplinks.iter().enumerate().map(host).collect(),
            coming: BinaryHeap::new(),
            count: 0,
            rng: fastrand::Rng::with_seed(7),
            reno: None,
            next_sample: Time::default(),
            waits: vec![],
            sent: vec![],
            records: false,
        }
    }

    pub(super) fn start_reno(&mut self) {
        let reno =
            Reno { window: 10.0, threshold: f64::INFINITY, in_flight: 0, next: 0, recovered: 0, bytes: 0 };
        self.reno = Some(reno);
    }

    /// It sends through another's uplink from now on.
    pub(super) fn share_uplink(&mut self, host: usize, of: usize) {
        self.hosts[host].through = of;
    }

    /// What machines are like: each comes late to what there is to do, by up to `mostly` and once in twenty times by up to `seldom`, and their
    /// clocks run at different speeds.
    pub(super) fn disturb(&mut self, mostly: Duration, seldom: Duration, seed: u64) {
        self.rng = fastrand::Rng::with_seed(seed);
        for host in &mut self.hosts {
            host.late = (mostly, seldom);
            host.gains = 40.0 * (self.rng.f64() - 0.5);
        }
    }

    /// The time as a host sees it.
    pub(super) fn time_of(&self, host: usize) -> Time {
        self.hosts[host].time(self.now)
    }

    pub(super) fn dial(&mut self, from: usize, to: usize, user: User) -> ConnectionKey {
        let (now, addr) = (self.time_of(from), self.hosts[to].addr);
        let key = self.hosts[from].endpoint.connect(now, addr).unwrap();
        self.hosts[from].users.insert(key, user);
        key
    }

    /// A packet from anywhere.
    pub(super) fn inject(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        let now = self.time_of(to);
        self.hosts[to].endpoint.handle_packet(now, from, bytes);
        self.act(to);
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    /// Until `done`, or for so long; whether it was done.
    pub(super) fn run_until(&mut self, duration: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + duration;
        (0..self.hosts.len()).for_each(|host| self.act(host));
        loop {
            if done(self) {
                return true;
            }
            let wakes = self.hosts.iter().filter_map(|host| host.wake.or_else(|| host.timeout()));
            let next = self.coming.peek().map(|Reverse((at, ..))| *at);
            let next = wakes.chain(next).chain([self.next_sample]).min().unwrap_or(end).max(self.now);
            if next >= end {
                self.now = end;
                return done(self);
            }
            self.now = next;
            self.step();
        }
    }

    fn step(&mut self) {
        if self.now >= self.next_sample {
            self.waits.push(self.hosts[0].clear - self.now);
            self.next_sample = self.now + SAMPLE;
        }
        while let Some(Reverse((at, ..))) = self.coming.peek()
            && *at <= self.now
            && let Some(Reverse((_, _, coming))) = self.coming.pop()
        {
            match coming {
                Coming::Packet { to, from, bytes } => self.hosts[to].came.push_back((from, bytes)),
                Coming::Reno { lost, number } => self.reno_heard(lost, number),
            }
        }
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            let has_work = !host.came.is_empty() || host.timeout().is_some_and(|at| at <= self.now);
            if host.wake.is_none() && has_work {
                let (mostly, seldom) = host.late;
                let most = if self.rng.u32(0..20) == 0 { seldom } else { mostly };
                host.wake = Some(self.now + most.mul_f64(self.rng.f64()));
            }
            if host.wake.is_some_and(|at| at <= self.now) {
                host.wake = None;
                self.work(index);
            }
        }
        self.reno_sends();
    }

    /// A host takes in what has come and does what is due.
    fn work(&mut self, index: usize) {
        let now = self.time_of(index);
        loop {
            let host = &mut self.hosts[index];
            for (from, bytes) in host.came.drain(..host.came.len().min(BATCH)) {
                host.endpoint.handle_packet(now, from, &bytes);
            }
            host.endpoint.handle_timeout(now);
            let done = host.came.is_empty();
            self.act(index);
            if done {
                return;
            }
        }
    }

    /// The users of a host do what they can, and all that is to be sent is sent.
    fn act(&mut self, index: usize) {
        let now = self.time_of(index);
        let host = &mut self.hosts[index];
        while let Some((key, _)) = host.endpoint.accept() {
            host.accepted += 1;
            let user = User { endless: host.serves, ..User::writing(&host.greeting) };
            host.users.insert(key, user);
        }
        let keys: Vec<_> = host.users.keys().copied().collect();
        for key in keys {
            let Some(user) = host.users.get_mut(&key) else { continue };
            user.act(&mut host.endpoint, key);
            let left = user.ended.is_some()
                || user
                    .leaves_after
                    .is_some_and(|bytes| user.written == user.to_write.len() && user.read_bytes >= bytes);
            if left && user.ended.get_or_insert(Ok(())).is_ok() && user.leaves_after.take().is_some() {
                host.endpoint.release(now, key);
            }
        }
        while let Some(event) = host.endpoint.poll_event() {
            assert!(matches!(event, Event::Incoming), "nobody has asked: {event:?}");
        }
        let mut packet = vec![];
        while let Some(to) = self.hosts[index].endpoint.poll_transmit(now, &mut packet) {
            self.send(index, to, &packet);
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, packet: &[u8]) {
        if from == 0 && self.records {
            self.sent.push(packet.to_vec());
        }
        let Some(to) = self.hosts.iter().position(|host| host.addr == to) else { return };
        let Some(arrival) = self.pass(from, packet.len() + OVERHEAD) else { return };
        let (loss, twice, late) = self.hosts[from].uplink.faults;
        let addr = self.hosts[from].addr;
        let mut chance = |of_hundred: u32| self.rng.u32(0..100) < of_hundred;
        if chance(loss) {
            return;
        }
        let copies = if chance(twice) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = if chance(late) { 30 } else { 0 };
            let coming = Coming::Packet { to, from: addr, bytes: packet.to_vec() };
            self.count += 1;
            self.coming.push(Reverse((arrival + Duration::from_millis(delay), self.count, coming)));
        }
    }

    /// Through a host's buffer: when it arrives at the other end.
    fn pass(&mut self, host: usize, bytes: usize) -> Option<Time> {
        let through = self.hosts[host].through;
        let Host { uplink, clear, .. } = &mut self.hosts[through];
        let waiting = (*clear - self.now).as_secs_f64() * uplink.rate;
        if waiting + bytes as f64 > uplink.buffer as f64 {
            return None;
        }
        *clear = (*clear).max(self.now) + Duration::from_secs_f64(bytes as f64 / uplink.rate);
        Some(*clear + uplink.latency)
    }

    fn reno_sends(&mut self) {
        while let Some(reno) = &mut self.reno
            && (reno.in_flight as f64) < reno.window.floor()
        {
            let number = reno.next;
            reno.next += 1;
            reno.in_flight += 1;
            let latency = self.hosts[0].uplink.latency;
            let (at, lost) = match self.pass(0, RENO_PACKET) {
                Some(arrival) => (arrival + latency, false),
                // Shown by those behind it.
                None => (self.hosts[0].clear + 2 * latency, true),
            };
            self.count += 1;
            self.coming.push(Reverse((at, self.count, Coming::Reno { lost, number })));
        }
    }

    fn reno_heard(&mut self, lost: bool, number: u64) {
        let Some(reno) = &mut self.reno else { return };
        reno.in_flight -= 1;
        if !lost {
            reno.bytes += RENO_PACKET;
            reno.window += if reno.window < reno.threshold { 1.0 } else { 1.0 / reno.window };
        } else if number >= reno.recovered {
            reno.recovered = reno.next;
            reno.window = (reno.window / 2.0).max(2.0);
            reno.threshold = reno.window;
        }
    }

    /// The mean of what packets of host 0's have waited since `from`.
    pub(super) fn mean_wait(&self) -> Duration {
        self.waits.iter().sum::<Duration>() / self.waits.len() as u32
    }
}

impl Host {
    /// The time as it sees it.
    fn time(&self, now: Time) -> Time {
        Time(self.clock + now.0.mul_f64(1.0 + self.gains / 1e6))
    }

    /// When it is to be woken, by the clock on the wall.
    fn timeout(&self) -> Option<Time> {
        let elapsed = self.endpoint.poll_timeout()?.0.saturating_sub(self.clock);
        // Not before it is due by its own clock, for all rounding.
        let rounding = if self.gains == 0.0 { Duration::ZERO } else { Duration::from_micros(1) };
        Some(Time(elapsed.div_f64(1.0 + self.gains / 1e6) + rounding))
    }
}

impl User {
    /// Writes this, and reads all.
    pub(super) fn writing(bytes: &[u8]) -> Self {
        Self { to_write: bytes.to_vec(), keeps: true, reads: true, ..Self::default() }
    }

    /// Writes for ever.
    pub(super) fn endless() -> Self {
        Self { endless: true, reads: true, ..Self::default() }
    }

    fn act(&mut self, endpoint: &mut Endpoint, key: ConnectionKey) {
        if self.ended.is_some() {
            return;
        }
        let zeros = [0; CHUNK];
        loop {
            let bytes = if self.endless {
                &zeros[..]
            } else {
                &self.to_write[self.written..(self.written + CHUNK).min(self.to_write.len())]
            };
            match endpoint.write(key, &[IoSlice::new(bytes)]) {
                Ok(Some(taken)) if taken > 0 => self.written += if self.endless { 0 } else { taken },
                _ => break,
            }
        }
        let mut buffer = [0; CHUNK];
        while self.reads {
            match endpoint.read(key, &mut [IoSliceMut::new(&mut buffer)]) {
                Ok(Some(0)) => {
                    self.ended = Some(Ok(()));
                    return;
                }
                Ok(Some(read)) => {
                    self.read_bytes += read;
                    if self.keeps {
                        self.read.extend_from_slice(&buffer[..read]);
                    }
                }
                Ok(None) => return,
                Err(failure) => {
                    self.ended = Some(Err(failure));
                    return;
                }
            }
        }
    }
}
