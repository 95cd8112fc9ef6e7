//! uTP (BEP 29): connections over one UDP port, which give way to everything else on the line (LEDBAT, RFC 6817). Pure: no socket, no clock.
//! Time and the secret behind names and numbers are arguments.
//!
//! [`Endpoint`] is a state machine with one owner. Packets, the time and the wishes of those who use connections go in; packets come out of
//! [`Endpoint::poll_transmit`] and news out of [`Endpoint::poll_event`], until both are empty; then the owner sleeps until the next packet
//! or [`Endpoint::poll_timeout`]. The owner is `engine::utp` for users, and a line in virtual time for the tests.
//!
//! The rules stand one to a file: `sender` (what is on its way, and what is lost), `receiver` (what is in order), `ledbat` (how much may be
//! on its way), `delay` (how long packets wait), `floor` (whether another makes room), `rtt` (when to send again), `pacer` (not all at once);
//! `connection` applies them, `packet` is what goes over the wire.
//!
//! Whoever sends a SYN may have lied about its address. Until it has named the number that it was answered with, it costs us a small entry and
//! packets no larger than its own, and nobody here hears of it.

mod connection;
mod delay;
mod floor;
mod ledbat;
mod pacer;
mod packet;
mod receiver;
mod rtt;
mod sender;
mod seq;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use sha1::{Digest as _, Sha1};
use slab::Slab;
use torrent_format::announce::canonical;

use connection::{Connection, Wish};
use packet::{Kind, Packet};
use seq::Seq;

pub use connection::Failure;
pub use packet::PacketError;

use crate::torrent::{Time, is_local};

/// Connections at a time. Each may hold 512 KiB that came and was not read, and half as much that waits to go.
pub const MAX_CONNECTIONS: usize = 256;

/// Connections with one public address. Behind it may be many, and each of our torrents has its own.
pub const MAX_PER_ADDRESS: usize = 16;

/// SYNs whose senders have not shown that they are there. Beyond it the oldest is forgotten: one that dawdles makes room for one that may
/// not.
pub const MAX_ANSWERING: usize = 64;

/// Connections that have come in and nobody has taken; more are refused.
const MAX_BACKLOG: usize = 64;

/// One connection of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionKey(usize);

impl ConnectionKey {
    /// A small number, for a table. It is used again after [`Endpoint::release`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// News for those who wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Somebody has come: see [`Endpoint::accept`].
    Incoming,
    /// There is something to read, or the end, or a failure. Once, for who has asked by [`Endpoint::wait_readable`].
    Readable(ConnectionKey),
    /// The connection has come about, or has room, or has failed. Once, for who has asked by [`Endpoint::wait_writable`].
    Writable(ConnectionKey),
}

/// There are as many connections as may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("as many uTP connections as there may be: {MAX_CONNECTIONS}, or {MAX_PER_ADDRESS} with one address")]
pub struct TooMany;

/// See the module.
#[derive(Debug)]
pub struct Endpoint {
    connections: Slab<Entry>,
    /// By address and what the other calls it.
    names: BTreeMap<(SocketAddr, u16), usize>,
    /// How many there are, by address.
    addresses: BTreeMap<IpAddr, usize>,
    /// Answered SYNs, oldest first.
    answering: VecDeque<usize>,
    /// Connections that came in, for [`Self::accept`].
    backlog: VecDeque<usize>,
    /// Those that may have something to send, in turn.
    busy: VecDeque<usize>,
    timers: BTreeSet<(Time, usize)>,
    /// Last words of those that are no more.
    farewells: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
    secret: [u8; 32],
    counter: u64,
}

#[derive(Debug)]
struct Entry {
    connection: Connection,
    busy: bool,
    /// When it is to be looked at, as `timers` has it: at the latest when it says.
    wake: Option<Time>,
}

impl Endpoint {
    /// One without connections. Nobody can guess what is derived from `secret`.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            connections: Slab::new(),
            names: BTreeMap::new(),
            addresses: BTreeMap::new(),
            answering: VecDeque::new(),
            backlog: VecDeque::new(),
            busy: VecDeque::new(),
            timers: BTreeSet::new(),
            farewells: VecDeque::new(),
            events: VecDeque::new(),
            secret,
            counter: 0,
        }
    }

    // -- what happens

    /// A packet has come.
    pub fn handle_packet(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) {
        let Ok(packet) = Packet::decode(bytes) else { return };
        let from = canonical(from);
        match packet.header.kind {
            Kind::Syn => self.handle_syn(now, from, &packet),
            Kind::Reset => self.handle_reset(from, &packet),
            Kind::Data | Kind::Fin | Kind::State => {
                // Strangers get no answer: it could be meant for somebody else.
                let Some(&index) = self.names.get(&(from, packet.header.id)) else { return };
                let connection = &mut self.connections[index].connection;
                let was_answering = connection.is_answering();
                connection.handle(now, &packet);
                if was_answering && connection.is_proven() {
                    self.arrived(now, index);
                }
                self.changed(index);
            }
        }
    }

    /// It is `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(&(at, index)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let entry = &mut self.connections[index];
            entry.wake = None;
            match entry.connection.handle_timeout(now) {
                Wish::Nothing => {}
                Wish::Name => self.rename(index),
                Wish::Farewell => self.farewell(now, index),
            }
            self.changed(index);
        }
    }

    fn handle_syn(&mut self, now: Time, from: SocketAddr, packet: &Packet<'_>) {
        let header = &packet.header;
        let id = header.id.wrapping_add(1);
        if let Some(&index) = self.names.get(&(from, id)) {
            let connection = &mut self.connections[index].connection;
            if connection.is_of(header.seq) {
                connection.answer_again();
                self.changed(index);
            }
            return;
        }
        if self.answering.len() >= MAX_ANSWERING
            && let Some(oldest) = self.answering.pop_front()
        {
            self.remove(oldest);
        }
        if self.is_full(from.ip()) {
            return;
        }
        let first = Seq(self.random());
        let index = self.insert(Connection::answer(now, from, header, first));
        self.answering.push_back(index);
        self.changed(index);
    }

    /// A RESET has the name of the packet that it answers, as its receiver or as its sender knows the connection.
    fn handle_reset(&mut self, from: SocketAddr, packet: &Packet<'_>) {
        let header = &packet.header;
        for id in [header.id, header.id.wrapping_sub(1), header.id.wrapping_add(1)] {
            if let Some(&index) = self.names.get(&(from, id))
                && self.connections[index].connection.is_called(header.id)
            {
                self.connections[index].connection.handle_reset(header);
                self.changed(index);
            }
        }
    }

    /// Somebody who sent a SYN is there.
    fn arrived(&mut self, now: Time, index: usize) {
        self.answering.retain(|answering| *answering != index);
        if self.backlog.len() >= MAX_BACKLOG {
            self.farewell(now, index);
            self.connections[index].connection.abandon();
        } else {
            self.backlog.push_back(index);
            self.events.push_back(Event::Incoming);
        }
    }

    // -- what its owner wants

    /// Dials. Whether it comes about is told by [`Self::connected`], after [`Event::Writable`]; given up by [`Self::release`].
    ///
    /// # Errors
    /// If there are too many connections.
    pub fn connect(&mut self, now: Time, to: SocketAddr) -> Result<ConnectionKey, TooMany> {
        let to = canonical(to);
        if self.is_full(to.ip()) {
            return Err(TooMany);
        }
        let (id, syn) = (self.free_id(to), Seq(self.random()));
        let index = self.insert(Connection::dial(now, to, id, syn));
        self.changed(index);
        Ok(ConnectionKey(index))
    }

    /// The next connection that has come in.
    pub fn accept(&mut self) -> Option<(ConnectionKey, SocketAddr)> {
        let index = self.backlog.pop_front()?;
        Some((ConnectionKey(index), self.connections[index].connection.addr()))
    }

    /// Whether a connection has come about.
    ///
    /// # Errors
    /// If it has not, and won't, or is over.
    pub fn connected(&self, key: ConnectionKey) -> Result<bool, Failure> {
        let connection = &self.connections[key.0].connection;
        connection.failure().map_or_else(|| Ok(connection.is_proven()), Err)
    }

    /// Reads into these parts, one after the other: how many bytes, 0 at the end, `None` if nothing is there yet.
    ///
    /// # Errors
    /// If the connection has failed, and all that came was read.
    pub fn read(
        &mut self,
        key: ConnectionKey,
        parts: &mut [IoSliceMut<'_>],
    ) -> Result<Option<usize>, Failure> {
        let connection = &mut self.connections[key.0].connection;
        let outcome = connection.read(parts);
        if connection.has_news() {
            self.changed(key.0);
        }
        outcome
    }

    /// Takes what there is room for: how many bytes, `None` if there is no room.
    ///
    /// # Errors
    /// If the connection has failed.
    pub fn write(&mut self, key: ConnectionKey, parts: &[IoSlice<'_>]) -> Result<Option<usize>, Failure> {
        let outcome = self.connections[key.0].connection.write(parts);
        self.changed(key.0);
        outcome
    }

    /// Whether [`Self::read`] has something to say; if not, [`Event::Readable`] tells when it has.
    pub fn wait_readable(&mut self, key: ConnectionKey) -> bool {
        self.connections[key.0].connection.wait_readable()
    }

    /// Whether a connection has come about, or [`Self::write`] has room; if not, [`Event::Writable`] tells when.
    pub fn wait_writable(&mut self, key: ConnectionKey) -> bool {
        self.connections[key.0].connection.wait_writable()
    }

    /// Nobody uses it any more, and its key means nothing from here on. What was written still goes out, for some seconds.
    pub fn release(&mut self, now: Time, key: ConnectionKey) {
        self.connections[key.0].connection.release(now);
        self.changed(key.0);
    }

    /// Tells everybody that there is nothing here any more.
    pub fn farewell_all(&mut self, now: Time) {
        let proven = |(index, entry): (usize, &Entry)| entry.connection.is_proven().then_some(index);
        let open: Vec<usize> = self.connections.iter().filter_map(proven).collect();
        open.into_iter().for_each(|index| self.farewell(now, index));
    }

    // -- what is to be done

    /// Writes the next packet into `packet`, in place of what is there, and says whom it is for.
    pub fn poll_transmit(&mut self, now: Time, packet: &mut Vec<u8>) -> Option<SocketAddr> {
        if let Some((to, farewell)) = self.farewells.pop_front() {
            *packet = farewell;
            return Some(to);
        }
        packet.clear();
        while let Some(index) = self.busy.pop_front() {
            let entry = &mut self.connections[index];
            let sends = entry.connection.poll_transmit(now, packet);
            let to = entry.connection.addr();
            if sends {
                // In turn, packet by packet.
                self.busy.push_back(index);
                self.tell(index);
                return Some(to);
            }
            entry.busy = false;
            self.settle(index);
        }
        None
    }

    /// Whether [`Self::poll_transmit`] may have something.
    pub fn is_busy(&self) -> bool {
        !self.busy.is_empty() || !self.farewells.is_empty()
    }

    /// News, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] should be called. It changes with every other call.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    // -- the table

    fn is_full(&self, ip: IpAddr) -> bool {
        let here = self.addresses.get(&ip).copied().unwrap_or(0);
        self.connections.len() >= MAX_CONNECTIONS || here >= MAX_PER_ADDRESS && !is_local(ip)
    }

    fn insert(&mut self, connection: Connection) -> usize {
        let (addr, id) = (connection.addr(), connection.id);
        let index = self.connections.insert(Entry { connection, busy: false, wake: None });
        self.names.insert((addr, id), index);
        *self.addresses.entry(addr.ip()).or_default() += 1;
        index
    }

    fn remove(&mut self, index: usize) {
        let Entry { connection, busy, wake } = self.connections.remove(index);
        let addr = connection.addr();
        self.names.remove(&(addr, connection.id));
        if let Some(here) = self.addresses.get_mut(&addr.ip()) {
            *here -= 1;
            if *here == 0 {
                self.addresses.remove(&addr.ip());
            }
        }
        self.answering.retain(|answering| *answering != index);
        if busy {
            self.busy.retain(|busy| *busy != index);
        }
        if let Some(at) = wake {
            self.timers.remove(&(at, index));
        }
    }

    /// Something happened to it: it may have something to send, or to tell.
    fn changed(&mut self, index: usize) {
        self.tell(index);
        let entry = &mut self.connections[index];
        if !entry.busy {
            entry.busy = true;
            self.busy.push_back(index);
        }
    }

    fn tell(&mut self, index: usize) {
        let connection = &mut self.connections[index].connection;
        if connection.wakes_reader() {
            self.events.push_back(Event::Readable(ConnectionKey(index)));
        }
        if connection.wakes_writer() {
            self.events.push_back(Event::Writable(ConnectionKey(index)));
        }
    }

    /// It has nothing to send at this moment.
    fn settle(&mut self, index: usize) {
        let entry = &mut self.connections[index];
        if entry.connection.is_over() {
            return self.remove(index);
        }
        // Too early does no harm; an acknowledgement that puts a deadline off need not touch the table.
        let wanted = entry.connection.next_timeout();
        if let Some(at) = wanted
            && entry.wake.is_none_or(|wake| at < wake)
        {
            if let Some(wake) = entry.wake.replace(at) {
                self.timers.remove(&(wake, index));
            }
            self.timers.insert((at, index));
        }
    }

    fn farewell(&mut self, now: Time, index: usize) {
        let connection = &mut self.connections[index].connection;
        let farewell = connection.farewell(now);
        self.farewells.push_back((connection.addr(), farewell));
    }

    fn rename(&mut self, index: usize) {
        let addr = self.connections[index].connection.addr();
        let (id, syn) = (self.free_id(addr), Seq(self.random()));
        let connection = &mut self.connections[index].connection;
        self.names.remove(&(addr, connection.id));
        connection.rename(id, syn);
        self.names.insert((addr, id), index);
    }

    /// A name that no connection with this address has.
    fn free_id(&mut self, addr: SocketAddr) -> u16 {
        loop {
            let id = self.random();
            if !self.names.contains_key(&(addr, id)) {
                return id;
            }
        }
    }

    /// Names and numbers are all that keeps strangers out of a connection: whoever has seen some must not be able to tell the next.
    fn random(&mut self) -> u16 {
        self.counter += 1;
        let digest =
            Sha1::new().chain_update(self.secret).chain_update(self.counter.to_be_bytes()).finalize();
        u16::from_be_bytes([digest[0], digest[1]])
    }
}
