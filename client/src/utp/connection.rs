//! One connection: [`Connection`]. It hears packets ([`Connection::handle`]) and the time, and says what to send ([`transmit`]).

mod transmit;

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

use super::delay::Delays;
use super::ledbat::{Acked, Ledbat};
use super::pacer::Pacer;
use super::packet::{HEADER, Header, Kind, Packet};
use super::receiver::{Arrival, MAX_EARLY, Receiver};
use super::rtt::RoundTrip;
use super::sender::Sender;
use super::seq::Seq;
use super::timers::{Timer, Timers};
use crate::torrent::Time;

/// Bytes of a packet over IPv4, at most. With the headers of UDP and IPv4 it makes 1,420, what WireGuard carries over Ethernet; other
/// tunnels and PPPoE carry more. The way is not measured: routers fragment what they can't carry.
const MAX_PACKET_V4: usize = 1_392;

/// The same over IPv6, where no router fragments, and every way carries 1,280 bytes (RFC 8200, section 5).
const MAX_PACKET_V6: usize = 1_232;

/// The waits for an answer to a SYN. The last is repeated.
const SYN_WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3)];

/// How often the same SYN is sent. Others answer it once: if that answer was lost, only one by another name helps.
const SAME_SYN: u32 = 2;

/// How long a connection may take to come about.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long somebody whose SYN was answered may take to show that he got the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the other may be silent while we wait for an acknowledgement,
const SILENCE: Duration = Duration::from_secs(30);

/// if we have tried so often.
const MIN_TRIES: u32 = 4;

/// How long a connection that nobody here uses any more may take to get its last bytes across.
const LINGER: Duration = Duration::from_secs(15);

/// How often a FIN is sent to one who has sent his own: mostly he is gone, and nothing depends on it.
const LAST_TRIES: u32 = 2;

/// Packets that are acknowledged together.
const ACK_EVERY: u32 = 2;

/// How long one packet may wait for a second to be acknowledged with.
const ACK_DELAY: Duration = Duration::from_millis(40);

/// A sign of life is sent after so long: routers are known to forget after half a minute (BEP 29's libutp has the same).
const KEEP_ALIVE: Duration = Duration::from_secs(29);

/// By how many packets what a RESET names may be behind what we know.
const RESET_BEHIND: usize = 3;

/// What µTorrent sends as a difference of times when it knows none.
const NO_DIFFERENCE: u32 = i32::MAX as u32;

/// Why there is no connection, or no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The other does not answer.
    #[error("no answer over uTP")]
    TimedOut,
    /// The other says that there is none.
    #[error("the peer has reset the connection")]
    Reset,
    /// We are gone ourselves.
    #[error("closed")]
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    addr: SocketAddr,
    /// What the other calls it.
    pub(super) id: u16,
    /// What we call it.
    other_id: u16,
    state: State,
    sender: Sender,
    receiver: Receiver,
    trip: RoundTrip,
    delays: Delays,
    ledbat: Ledbat,
    pacer: Pacer,
    timers: Timers,
    /// Payload of a packet, at most.
    most: usize,
    /// Bytes that the other has room for, and the most that it had.
    room: usize,
    largest_room: usize,
    /// By how much our clock was ahead of the last time stamp.
    difference: u32,
    /// What was sent before this and is lost has been answered for.
    answered: u64,
    /// In order, and not acknowledged.
    unacknowledged: u32,
    /// An acknowledgement is due.
    ack_due: bool,
    /// One packet may go, windows or not.
    probe: bool,
    heard: Time,
    reader_waits: bool,
    writer_waits: bool,
    /// Nobody here uses it any more.
    released: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Our SYN is on its way.
    Dialling {
        syn: Seq,
        began: Time,
        sent: Time,
        tries: u32,
        due: bool,
    },
    /// A SYN was answered. Whoever sent it may have lied about its address.
    Answering {
        syn: Seq,
    },
    Open,
    Failed(Failure),
}

/// What comes of a timeout that is not the connection's own business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    Nothing,
    /// It wants another name, by [`Connection::rename`].
    Name,
    /// It was given up, and the other should know.
    Farewell,
}

impl Connection {
    /// One that we want. `syn` is the number of the first packet, `id` what we are called.
    pub(super) fn dial(now: Time, addr: SocketAddr, id: u16, syn: Seq) -> Self {
        let state = State::Dialling { syn, began: now, sent: now, tries: 0, due: true };
        // The other's numbers are known when it answers.
        Self::new(now, addr, (id, id.wrapping_add(1)), state, syn.plus(1), Receiver::new(Seq(0)))
    }

    /// One that somebody else wants, by this SYN.
    pub(super) fn answer(now: Time, addr: SocketAddr, syn: &Header, first: Seq) -> Self {
        let (ids, receiver) = ((syn.id.wrapping_add(1), syn.id), Receiver::new(syn.seq.plus(1)));
        let mut connection = Self::new(now, addr, ids, State::Answering { syn: syn.seq }, first, receiver);
        connection.difference = stamp(now).wrapping_sub(syn.timestamp);
        connection.hear_window(syn.window);
        // Nobody has it before it is proven.
        (connection.ack_due, connection.released) = (true, true);
        connection.timers.set(Timer::Expire, now + ANSWER_TIMEOUT);
        connection
    }

    fn new(
        now: Time,
        addr: SocketAddr,
        (id, other_id): (u16, u16),
        state: State,
        first: Seq,
        receiver: Receiver,
    ) -> Self {
        let most = if addr.is_ipv4() { MAX_PACKET_V4 } else { MAX_PACKET_V6 } - HEADER;
        Self {
            addr,
            id,
            other_id,
            state,
            sender: Sender::new(first),
            receiver,
            trip: RoundTrip::default(),
            delays: Delays::default(),
            ledbat: Ledbat::new(most),
            pacer: Pacer::default(),
            timers: Timers::default(),
            most,
            room: 0,
            largest_room: 0,
            difference: 0,
            answered: 0,
            unacknowledged: 0,
            ack_due: false,
            probe: false,
            heard: now,
            reader_waits: false,
            writer_waits: false,
            released: false,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether this is the SYN that it came by, once more.
    pub(super) fn is_of(&self, syn: Seq) -> bool {
        self.state == State::Answering { syn }
    }

    /// Whether somebody is known to be at its address.
    pub(super) fn is_proven(&self) -> bool {
        self.state == State::Open
    }

    /// Whether either side calls it so.
    pub(super) fn is_called(&self, id: u16) -> bool {
        self.id == id || self.other_id == id
    }

    pub(super) fn is_answering(&self) -> bool {
        matches!(self.state, State::Answering { .. })
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        match self.state {
            State::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// Nothing is to be done for it any more.
    pub(super) fn is_over(&self) -> bool {
        let done = self.sender.is_finished() && self.receiver.has_ended() && !self.ack_due;
        self.released && (done || self.failure().is_some())
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    // -- what the other says

    /// A packet of the other's that is no SYN and no RESET. What can't be the other's is passed over: anybody can send anything.
    pub(super) fn handle(&mut self, now: Time, packet: &Packet<'_>) {
        let header = &packet.header;
        match self.state {
            State::Failed(_) => return,
            State::Dialling { syn, sent, tries, .. } => {
                if header.kind != Kind::State || header.ack != syn {
                    return;
                }
                if tries % SAME_SYN == 1 % SAME_SYN {
                    self.trip.sample(now - sent);
                }
                // It has the number that the first packet will have.
                self.receiver = Receiver::new(header.seq);
                self.open();
            }
            State::Answering { .. } => {
                if !self.sender.is_plausible(header.ack, 0) || !self.receiver.is_plausible(header.seq) {
                    return;
                }
                self.open();
            }
            State::Open => {
                let plausible = self.sender.is_plausible(header.ack, MAX_EARLY);
                if !plausible || !self.receiver.is_plausible(header.seq) {
                    return;
                }
            }
        }
        self.heard = now;
        if header.timestamp != 0 {
            self.difference = stamp(now).wrapping_sub(header.timestamp);
            self.delays.heard(now, self.difference);
        }
        self.handle_ack(now, packet);
        match header.kind {
            Kind::Data => {
                let arrival = self.receiver.data(header.seq, packet.payload);
                self.came(now, arrival);
            }
            Kind::Fin => {
                self.receiver.fin(header.seq);
                self.ack_due = true;
            }
            Kind::State | Kind::Reset | Kind::Syn => {}
        }
    }

    fn open(&mut self) {
        self.state = State::Open;
        self.released = false;
        self.timers = Timers::default();
    }

    fn handle_ack(&mut self, now: Time, packet: &Packet<'_>) {
        let header = &packet.header;
        let is_old = !self.sender.is_plausible(header.ack, 0);
        let same_room = header.window as usize == self.room;
        if !is_old {
            self.hear_window(header.window);
        }
        let repeats = header.kind == Kind::State && !is_old && same_room && packet.mask.is_empty();
        let told = self.sender.acknowledged(now, header.ack, packet.mask, repeats);
        if let Some(rtt) = told.rtt {
            self.trip.sample(rtt);
        }
        let mean = self.trip.mean().unwrap_or_default();
        let difference = Some(header.difference).filter(|it| ![0, NO_DIFFERENCE].contains(it));
        match (difference, told.order) {
            (Some(difference), Some(_)) => self.delays.told(now, difference),
            (Some(difference), None) => self.delays.reported(now, difference),
            (None, _) => {}
        }
        if let Some(order) = told.order {
            self.trip.progress();
            self.ledbat.acked(Acked {
                now,
                bytes: told.bytes,
                in_flight: told.in_flight,
                more: self.sender.has_more(),
                order,
                next_order: self.sender.next_order(),
                rtt: told.rtt.unwrap_or(mean).max(mean),
                waits: self.delays.current(),
                level: self.delays.level(),
            });
            if self.sender.is_outstanding() {
                self.timers.set(Timer::Answer, now + self.trip.timeout());
            } else {
                self.timers.stop(Timer::Answer);
            }
        }
        // What was on its way together is lost together, and counts once.
        if told.lost.is_some_and(|order| order >= self.answered) {
            self.answered = self.sender.next_order();
            self.ledbat.lost(now, mean);
        }
    }

    fn hear_window(&mut self, window: u32) {
        self.room = window as usize;
        self.largest_room = self.largest_room.max(self.room);
    }

    fn came(&mut self, now: Time, arrival: Arrival) {
        if arrival != Arrival::InOrder {
            self.ack_due = true;
            return;
        }
        self.unacknowledged += 1;
        if self.unacknowledged >= ACK_EVERY {
            self.ack_due = true;
        } else {
            self.timers.set(Timer::Ack, now + ACK_DELAY);
        }
    }

    /// The SYN that it came by has come again: the answer was lost.
    pub(super) fn answer_again(&mut self) {
        self.ack_due = true;
    }

    /// The other says that there is no such connection, if it is the other: it names something that we sent.
    pub(super) fn handle_reset(&mut self, header: &Header) {
        let named = match self.state {
            State::Dialling { syn, .. } => header.ack == syn,
            _ => header.ack == self.sender.next() || self.sender.is_plausible(header.ack, RESET_BEHIND),
        };
        if named {
            self.fail(Failure::Reset);
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.state = State::Failed(failure);
        self.timers = Timers::default();
    }

    /// It is given up at once.
    pub(super) fn abandon(&mut self) {
        self.released = true;
        self.fail(Failure::Closed);
    }

    // -- the time

    /// What is due is done.
    pub(super) fn handle_timeout(&mut self, now: Time) -> Wish {
        let mut wish = Wish::Nothing;
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Answer => wish = self.unanswered(now),
                Timer::Ack | Timer::KeepAlive => self.ack_due = true,
                Timer::Pace => {}
                Timer::Expire => {
                    if self.is_proven() && !self.receiver.has_ended() {
                        wish = Wish::Farewell;
                    }
                    self.fail(Failure::TimedOut);
                }
            }
        }
        wish
    }

    fn unanswered(&mut self, now: Time) -> Wish {
        if let State::Dialling { began, tries, due, .. } = &mut self.state {
            *due = true;
            if now - *began >= DIAL_TIMEOUT {
                self.fail(Failure::TimedOut);
            } else if *tries % SAME_SYN == 0 {
                return Wish::Name;
            }
            return Wish::Nothing;
        }
        self.trip.timed_out();
        let tries = self.trip.in_vain();
        let silent = tries >= MIN_TRIES && now - self.heard >= SILENCE;
        if silent || self.released && self.receiver.has_ended() && tries > LAST_TRIES {
            self.fail(Failure::TimedOut);
            return Wish::Nothing;
        }
        if self.sender.is_outstanding() {
            self.sender.timed_out();
            self.ledbat.timed_out();
            self.answered = self.sender.next_order();
        }
        self.probe = true;
        Wish::Nothing
    }

    /// Nobody has answered to this name: another, and another number of the SYN.
    pub(super) fn rename(&mut self, id: u16, number: Seq) {
        if let State::Dialling { syn, .. } = &mut self.state {
            *syn = number;
            (self.id, self.other_id) = (id, id.wrapping_add(1));
            self.sender = Sender::new(number.plus(1));
        }
    }

    // -- whoever uses it

    pub(super) fn is_readable(&self) -> bool {
        self.receiver.is_readable() || self.failure().is_some()
    }

    /// Bytes that were read; 0 at the end, `None` if nothing is there yet.
    pub(super) fn read(&mut self, parts: &mut [IoSliceMut<'_>]) -> Result<Option<usize>, Failure> {
        let read = self.receiver.read(parts);
        if self.receiver.has_opened() {
            self.ack_due = true;
        }
        match self.failure() {
            _ if read > 0 || self.receiver.is_at_end() => Ok(Some(read)),
            Some(failure) => Err(failure),
            None => Ok(None),
        }
    }

    pub(super) fn is_writable(&self) -> bool {
        self.sender.has_room(self.ledbat.window()) && self.is_proven() || self.failure().is_some()
    }

    /// Bytes that were taken; `None` if there is no room yet.
    pub(super) fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<Option<usize>, Failure> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let window = self.ledbat.window();
        if !self.is_proven() || self.sender.room(window) == 0 {
            return Ok(None);
        }
        Ok(Some(self.sender.write(parts, window)))
    }

    /// The other should hear that there is room again.
    pub(super) fn has_news(&self) -> bool {
        self.ack_due
    }

    /// Whoever reads wants to hear when there is something; whether there is.
    pub(super) fn wait_readable(&mut self) -> bool {
        self.reader_waits = !self.is_readable();
        !self.reader_waits
    }

    /// Whoever writes, or dials, wants to hear when that is possible; whether it is.
    pub(super) fn wait_writable(&mut self) -> bool {
        self.writer_waits = !self.is_writable();
        !self.writer_waits
    }

    /// Whether whoever waits to read has to hear now.
    pub(super) fn wakes_reader(&mut self) -> bool {
        self.reader_waits && self.wait_readable()
    }

    /// The same for whoever waits to write.
    pub(super) fn wakes_writer(&mut self) -> bool {
        self.writer_waits && self.wait_writable()
    }

    /// Nobody here uses it any more: what was written goes out, and then that it is over.
    pub(super) fn release(&mut self, now: Time) {
        self.released = true;
        (self.reader_waits, self.writer_waits) = (false, false);
        if self.is_proven() {
            self.sender.finish();
            self.receiver.drop_all();
            self.timers.set(Timer::Expire, now + LINGER);
        } else if self.failure().is_none() {
            self.fail(Failure::Closed);
        }
    }
}

/// The time as it is written into packets; never 0, which means none.
fn stamp(now: Time) -> u32 {
    (now.0.as_micros() as u32).max(1)
}
