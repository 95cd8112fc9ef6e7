//! Connections between nodes: handshakes, messages and blocks on their way.

use std::net::SocketAddr;
use std::time::Duration;

use client::torrent::{Connected, Direction, PeerKey, Time, Verdict};
use client::wire::extension::UT_PEX_ID;
use client::wire::ut_pex::PexMessage;
use client::wire::{BlockRequest, Capabilities, Message};
use torrent_format::BLOCK_LENGTH;

use super::super::check::Rule;
use super::super::event::{Event, NodeId, Parcel};
use super::super::experiments::ENOUGH;
use super::super::link::{End, Link, LinkId, Side, State, transfer_time};
use super::super::node::{Connection, PORT, leaf};
use super::super::queue::Have;
use super::super::scenario::{Leaving, Scenario, Trouble};
use super::{SLICE, World};

/// Nothing answers at an address of nobody, or behind a router that lets nobody in. So long the client's dialler waits.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

impl World {
    /// `punched`: the other one dials at the same time, or has been told to.
    pub(super) fn connect(&mut self, id: NodeId, addr: SocketAddr, punched: bool) {
        let reachable =
            |&&other: &&NodeId| addr.port() == PORT && (punched || self.nodes[other].spec.reachable);
        let Some(&other) = self.by_ip.get(&addr.ip()).filter(reachable) else {
            self.queue.push(self.now + DIAL_TIMEOUT, id, Event::DialFailed(id, addr));
            return;
        };
        let latency = self.nodes[id].spec.latency + self.nodes[other].spec.latency;
        let link = self.links.len();
        self.links.push(Link::new(id, other, latency));
        self.checker.link(id, other);
        // SYN, SYN-ACK, then the handshake.
        self.queue.push(self.now + latency * 3, other, Event::Dial(link));
    }

    /// A handshake reaches the node that was dialled.
    pub(super) fn dialled(&mut self, id: LinkId) {
        let link = &mut self.links[id];
        let (dialler, acceptor) = (link.end(Side::Dialler).node, link.end(Side::Acceptor).node);
        let back = self.now + link.latency;
        // Not its listening port: a port of its own for each connection, from the dynamic range.
        let port = 49_152 + (id % 16_384) as u16;
        let peer = Connected {
            addr: (self.nodes[dialler].addr.ip(), port).into(),
            direction: Direction::Incoming,
            capabilities: self.capabilities(),
            peer_id: self.nodes[dialler].peer_id,
            utp: false,
        };
        let now = self.now;
        match self.nodes[acceptor].torrent.as_mut().map(|torrent| torrent.handle_connected(now, peer)) {
            Some(Ok(key)) => {
                self.open(id, Side::Acceptor, key);
                self.queue.push(back, dialler, Event::Accepted(id));
                self.drain(acceptor);
            }
            Some(Err(_)) => {
                self.links[id].end_mut(Side::Acceptor).close();
                self.refuse(id, back);
                self.drain(acceptor);
            }
            None => self.refuse(id, back),
        }
    }

    fn refuse(&mut self, id: LinkId, at: Time) {
        let link = &mut self.links[id];
        let (dialler, acceptor) = (link.end(Side::Dialler).node, link.end(Side::Acceptor).node);
        link.end_mut(Side::Dialler).close();
        self.queue.push(at, dialler, Event::DialFailed(dialler, self.nodes[acceptor].addr));
    }

    /// The answer to a handshake reaches the dialler.
    pub(super) fn accepted(&mut self, id: LinkId) {
        let link = &self.links[id];
        let (dialler, acceptor) = (link.end(Side::Dialler).node, link.end(Side::Acceptor).node);
        let peer = Connected {
            addr: self.nodes[acceptor].addr,
            direction: Direction::Outgoing,
            capabilities: self.capabilities(),
            peer_id: self.nodes[acceptor].peer_id,
            utp: false,
        };
        let now = self.now;
        match self.nodes[dialler].torrent.as_mut().map(|torrent| torrent.handle_connected(now, peer)) {
            Some(Ok(key)) => {
                self.open(id, Side::Dialler, key);
                self.introduce(id);
            }
            Some(Err(_)) | None => self.close(id, Side::Dialler),
        }
        self.drain(dialler);
    }

    /// Both ends are open, unless the acceptor has closed again: each learns what the other calls the connection.
    fn introduce(&mut self, id: LinkId) {
        let ends = [Side::Dialler, Side::Acceptor]
            .map(|side| (self.links[id].end(side).node, self.links[id].end(side).key()));
        let [(dialler, Some(a)), (acceptor, Some(b))] = ends else { return };
        for (node, key, there) in [(dialler, a, b), (acceptor, b, a)] {
            if let Some(connection) = self.nodes[node].connections.get_mut(key) {
                connection.there = Some(there);
            }
        }
    }

    fn capabilities(&self) -> Capabilities {
        let Scenario { fast, v2, .. } = self.scenario;
        Capabilities { fast, v2, extended: true, ..Capabilities::default() }
    }

    pub(super) fn arrive(&mut self, id: LinkId, to: Side, parcel: Parcel) {
        let link = &mut self.links[id];
        let fallen = |&side: &Side| self.nodes[link.end(side).node].black_hole;
        if self.holes && [to, to.other()].iter().any(fallen) {
            if let Parcel::Block { block, .. } = parcel {
                self.tally.lost += u64::from(block.length);
            }
            return;
        }
        let node = &mut self.nodes[link.end(to).node];
        let mut at = self.now.max(link.end(to).last_delivery);
        if let (Parcel::Block { block, .. }, Some(rate)) = (&parcel, node.spec.down) {
            at = at.max(node.downlink_free) + transfer_time(block.length, rate);
            node.downlink_free = at;
        }
        link.end_mut(to).last_delivery = at;
        if at == self.now {
            self.deliver(id, to, parcel);
        } else {
            let receiver = link.end(to).node;
            self.queue.push(at, receiver, Event::Deliver(id, to, parcel));
        }
    }

    pub(super) fn deliver(&mut self, id: LinkId, to: Side, parcel: Parcel) {
        let node = self.links[id].end(to).node;
        self.hear_haves(node);
        let Some(key) = self.links[id].end(to).key() else {
            if let Parcel::Block { block, .. } = parcel {
                self.tally.lost += u64::from(block.length);
            }
            return;
        };
        match parcel {
            Parcel::Have(index) => self.message(id, to, key, Message::Have(index)),
            Parcel::Request(block) => self.message(id, to, key, Message::Request(block)),
            Parcel::Short(kind, block) => self.message(id, to, key, kind.message(block)),
            Parcel::Message(message) => self.message(id, to, key, *message),
            Parcel::Block { block, mark } => self.block_delivered(id, to, key, block, mark),
            Parcel::Close => {
                self.forget(id, to);
                self.with(node, |torrent, now| torrent.handle_disconnected(now, key));
            }
        }
    }

    fn message(&mut self, id: LinkId, to: Side, key: PeerKey, message: Message) {
        self.checker.delivered(id, to, &message);
        if matches!(message, Message::Interested | Message::NotInterested) {
            self.regard(id, to, |end| end.wanted = message == Message::Interested);
        }
        let end = self.links[id].end(to);
        if message == Message::Unchoke && end.sent > 0 {
            self.nodes[end.node].first_return.get_or_insert(self.now);
        }
        let node = end.node;
        if !self.strategist_takes(node, key, &message) {
            self.with(node, |torrent, now| torrent.handle_message(now, key, message));
        }
    }

    /// Hands the node whose turn it is the `have`s that have come by now. They come before whatever else happens to it.
    pub(super) fn hear_haves(&mut self, id: NodeId) {
        let mut haves = std::mem::take(&mut self.haves);
        haves.extend(self.queue.haves(self.now));
        let any = !haves.is_empty();
        for Have { key, link, index, .. } in haves.drain(..) {
            let node = &mut self.nodes[id];
            let connection = node.connections.get(key).filter(|connection| connection.link == link);
            let (Some(torrent), Some(connection)) = (&mut node.torrent, connection) else { continue };
            let message = Message::Have(index);
            if let Some(strategist) = &mut node.strategist {
                strategist.heard_have(key);
            }
            self.log.have(id, key, index);
            self.checker.delivered(connection.link, connection.side, &message);
            torrent.handle_message(self.now, key, message);
        }
        self.haves = haves;
        if any {
            self.drain(id);
        }
    }

    fn block_delivered(&mut self, id: LinkId, to: Side, key: PeerKey, block: BlockRequest, mark: u64) {
        self.checker.block_delivered(self.now, id, to, block);
        let (link, length) = (&self.links[id], u64::from(block.length));
        let receiver = link.end(to).node;
        self.tally.received += length;
        let node = &mut self.nodes[receiver];
        node.traffic.received += length;
        let Some(torrent) = &mut node.torrent else { return };
        let exact = self.info.layout().check_block(block.index, block.begin, block.length);
        let hash = |_| exact.map_or([0; 32], |exact| leaf(exact.piece, exact.begin / BLOCK_LENGTH, mark));
        match torrent.handle_block(self.now, key, block, hash) {
            Verdict::Keep => {
                if exact.is_some_and(|exact| node.books.keep(&self.info, exact.piece, block, mark)) {
                    self.kept(receiver, length);
                } else {
                    self.checker.violate(self.now, receiver, Rule::KeptTwice, format!("{block:?}"));
                }
            }
            Verdict::Discard => node.traffic.discarded += length,
            Verdict::Spoilt => node.traffic.spoilt += length,
        }
        self.drain(receiver);
    }

    /// A node has kept so many bytes more.
    fn kept(&mut self, id: NodeId, length: u64) {
        self.tally.progress = self.now;
        let node = &mut self.nodes[id];
        node.kept += length;
        if node.nearly.is_none() && node.kept >= node.books.lacked() - node.books.lacked() / 100 {
            node.nearly = Some(self.now);
        }
        self.tally.kept += length;
        if let Some(fault) = self.scenario.fault
            && self.tally.kept as f64 >= fault.at * self.tally.lacked as f64
        {
            self.scenario.fault = None;
            let node = &mut self.nodes[fault.node];
            match fault.trouble {
                Trouble::Throttled(share) => node.spec.up = ((node.spec.up as f64 * share) as u64).max(1),
                Trouble::BlackHole => {
                    node.black_hole = true;
                    self.holes = true;
                }
            }
        }
    }

    pub(super) fn uplink_free(&mut self, id: NodeId) {
        let Some((link_id, side)) = self.nodes[id].uplink.serving.take() else { return };
        self.hear_haves(id);
        let link = &mut self.links[link_id];
        let at = self.now + link.latency;
        let end = link.end_mut(side);
        let on_wire = end.on_wire.take();
        let behind = std::mem::take(&mut end.behind);
        if let (Some((block, mark)), Some(key)) = (on_wire, end.key()) {
            let length = u64::from(block.length);
            self.tally.sent += length;
            let slice = (self.now.0.as_nanos() / SLICE.as_nanos()) as usize;
            if self.tally.slices.len() <= slice {
                self.tally.slices.resize(slice + 1, 0);
            }
            self.tally.slices[slice] += length;
            let back = link.end(side.other());
            let (paid, other) = (back.sent > 0, back.node);
            let parcel = Parcel::Block { block, mark };
            self.queue.push(at, other, Event::Arrive(link_id, side.other(), parcel));
            let lacking = !self.nodes[id].books.verified().is_all();
            let end = link.end_mut(side);
            end.sent += length;
            if lacking && !paid {
                end.unrequited += length;
            }
            let to_rider = self.nodes[other].spec.behaviour.free_rider;
            let leak = lacking && to_rider;
            if leak {
                self.nodes[id].leaked += length;
            }
            let node = &mut self.nodes[id];
            node.traffic.sent += length;
            // Behind those who already wait: one block each, in turn.
            if !end.queue.is_empty() {
                end.lined_up = true;
                node.uplink.line.push_back((link_id, side));
            }
            if let Some(connection) = node.connections.get(key).copied() {
                behind.into_iter().for_each(|message| self.dispatch(id, connection, message));
            }
            if to_rider {
                self.note_gift(id, link_id, side, block);
            }
            if leak {
                self.probe_leak(id);
            }
            self.with(id, |torrent, now| torrent.handle_block_sent(now, key, block));
            let node = &self.nodes[id];
            if matches!(node.spec.leaving, Leaving::AfterUploading(limit) if node.traffic.sent >= limit) {
                self.stop(id);
            }
        }
        self.serve(id);
        self.watch(id);
    }

    pub(super) fn send(&mut self, id: NodeId, key: PeerKey, message: Message) {
        let Some(connection) = self.connection(id, key, "send") else { return };
        let (link, side) = (connection.link, connection.side);
        let node = &mut self.nodes[id];
        node.traffic.control += self.measure.length(&message);
        node.traffic.chokes += u64::from(message == Message::Choke);
        self.checker.sent(self.now, link, side, &message, &node.books);
        if matches!(message, Message::Choke | Message::Unchoke) {
            self.regard(link, side, |end| end.choking = message == Message::Choke);
        }
        if let Message::Extended { id: UT_PEX_ID, payload } = &message {
            self.note_hearsay(link, side, payload);
        }
        if self.nodes[id].uplink.serving == Some((link, side)) {
            self.links[link].end_mut(side).behind.push(message);
        } else {
            self.dispatch(id, connection, message);
        }
    }

    /// An end tells the other of nodes that are, and that are no more, its node's neighbours.
    fn note_hearsay(&mut self, link: LinkId, side: Side, payload: &[u8]) {
        let Ok(news) = PexMessage::decode(payload) else { return };
        let named = |addr: &SocketAddr| self.by_ip.get(&addr.ip()).copied();
        let told = &mut self.links[link].end_mut(side).told;
        for gone in news.dropped.iter().filter_map(named) {
            told.remove(&gone);
        }
        told.extend(news.added.iter().filter_map(|(addr, _)| named(addr)));
    }

    /// Puts a message on its way.
    fn dispatch(&mut self, id: NodeId, connection: Connection, message: Message) {
        let Connection { link, side, latency, other, there, narrow, .. } = connection;
        let at = self.now + latency;
        if self.holes && (self.nodes[other].black_hole || self.nodes[id].black_hole) {
            return;
        }
        match (message, there) {
            // Behind a slow downlink it must keep its place among the blocks.
            (Message::Have(index), Some(key)) if !narrow => {
                self.queue.push_have(other, Have { at, key, link, index });
            }
            (message, _) => self.queue.push(at, other, Event::Arrive(link, side.other(), message.into())),
        }
    }

    pub(super) fn send_block(&mut self, id: NodeId, key: PeerKey, block: BlockRequest) {
        let Some(Connection { link, side, .. }) = self.connection(id, key, "send a block") else { return };
        let node = &mut self.nodes[id];
        self.checker.block_queued(self.now, link, side, block, &node.books);
        let poisoned = node.is_poisoner() && self.rng.f64() < node.spec.poison;
        let mark = if poisoned { self.rng.u64(1..) } else { 0 };
        let end = self.links[link].end_mut(side);
        end.queue.push_back((block, mark));
        // An end whose block is on the wire lines up again when that is done.
        if !end.lined_up && end.on_wire.is_none() {
            end.lined_up = true;
            node.uplink.line.push_back((link, side));
        }
    }

    pub(super) fn drop_block(&mut self, id: NodeId, key: PeerKey, block: BlockRequest) {
        let Some(Connection { link, side, .. }) = self.connection(id, key, "drop a block") else { return };
        let end = self.links[link].end_mut(side);
        if let Some(position) = end.queue.iter().position(|&(queued, _)| queued == block) {
            end.queue.remove(position);
            self.checker.block_dropped(link, side, block);
            // Called from within `drain`, which goes on until there are no more actions.
            if let Some(torrent) = &mut self.nodes[id].torrent {
                torrent.handle_block_dropped(self.now, key, block);
            }
        }
    }

    /// Puts the next block on the wire, if the uplink is free and anybody waits.
    pub(super) fn serve(&mut self, id: NodeId) {
        let uplink = &mut self.nodes[id].uplink;
        while uplink.serving.is_none() {
            let Some((link, side)) = uplink.line.pop_front() else { return };
            let end = self.links[link].end_mut(side);
            end.lined_up = false;
            // It is empty if its blocks were dropped or it closed since it lined up.
            if let Some((block, mark)) = end.queue.pop_front() {
                end.on_wire = Some((block, mark));
                uplink.serving = Some((link, side));
                let at = self.now + transfer_time(block.length, self.nodes[id].spec.up);
                self.queue.push(at, id, Event::UplinkFree(id));
                return;
            }
        }
    }

    /// The link that a torrent means by this key.
    pub(super) fn connection(&mut self, id: NodeId, key: PeerKey, what: &str) -> Option<Connection> {
        let connection = self.nodes[id].connections.get(key).copied();
        if connection.is_none() {
            let detail = format!("{what}: {key:?} is not connected");
            self.checker.violate(self.now, id, Rule::UnknownPeer, detail);
        }
        connection
    }

    /// What an end thinks of the other changes.
    fn regard(&mut self, link: LinkId, side: Side, change: impl FnOnce(&mut End)) {
        let end = self.links[link].end_mut(side);
        let count = |end: &End| [end.wanted, end.wanted && !end.choking].map(u32::from);
        let before = count(end);
        change(end);
        let after = count(end);
        let wanted_by = &mut self.nodes[end.node].wanted_by;
        for kind in 0..wanted_by.len() {
            wanted_by[kind] = wanted_by[kind] + after[kind] - before[kind];
        }
    }

    /// Books what a node's uplink was at, if that has changed.
    pub(super) fn watch(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let at = node.at();
        if let Some((was, since)) = node.idle.turn(self.now, at) {
            self.tally.idle.book(was, node.spec.up, since, self.now);
        }
    }

    fn open(&mut self, link: LinkId, side: Side, key: PeerKey) {
        let (latency, other) = (self.links[link].latency, self.links[link].end(side.other()).node);
        let end = self.links[link].end_mut(side);
        end.state = State::Open(key);
        let (id, narrow) = (end.node, self.nodes[other].spec.down.is_some());
        let node = &mut self.nodes[id];
        node.connections.insert(Connection { key, link, side, latency, other, there: None, narrow });
        if node.enough.is_none() && node.connections.iter().count() >= ENOUGH {
            node.enough = Some(self.now);
        }
        self.checker.opened(link, side);
    }

    /// An end closes, by its own doing.
    pub(super) fn close(&mut self, link: LinkId, side: Side) {
        self.forget(link, side);
        let (latency, other) = (self.links[link].latency, self.links[link].end(side.other()).node);
        self.queue.push(self.now + latency, other, Event::Arrive(link, side.other(), Parcel::Close));
    }

    fn forget(&mut self, link: LinkId, side: Side) {
        let end = self.links[link].end_mut(side);
        if let Some(key) = end.key() {
            self.regard(link, side, |end| end.wanted = false);
            let end = self.links[link].end_mut(side);
            self.nodes[end.node].connections.remove(key);
            self.checker.closed(link, side);
        }
        self.links[link].end_mut(side).close();
    }
}
