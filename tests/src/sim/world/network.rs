//! Connections between nodes: handshakes, messages and blocks on their way.

use std::net::SocketAddr;

use client::torrent::{Connected, Direction, PeerKey, Time, Verdict};
use client::wire::{BlockRequest, Capabilities, Message};

use super::super::check::Rule;
use super::super::event::{Event, NodeId, Parcel};
use super::super::link::{Link, LinkId, Side, State, transfer_time};
use super::super::node::PORT;
use super::super::scenario::{Leaving, Scenario};
use super::{SLICE, World};

impl World {
    pub(super) fn connect(&mut self, id: NodeId, addr: SocketAddr) {
        let Some(&other) = self.by_ip.get(&addr.ip()).filter(|_| addr.port() == PORT) else {
            let here = self.nodes[id].spec.latency;
            self.queue.push(self.now + here + here, Event::DialFailed(id, addr));
            return;
        };
        let latency = self.nodes[id].spec.latency + self.nodes[other].spec.latency;
        let link = self.links.len();
        self.links.push(Link::new(id, other, latency));
        self.checker.link(id, other);
        // SYN, SYN-ACK, then the handshake.
        self.queue.push(self.now + latency * 3, Event::Dial(link));
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
        };
        let now = self.now;
        match self.nodes[acceptor].torrent.as_mut().map(|torrent| torrent.handle_connected(now, peer)) {
            Some(Ok(key)) => {
                self.open(id, Side::Acceptor, key);
                self.queue.push(back, Event::Accepted(id));
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
        self.queue.push(at, Event::DialFailed(dialler, self.nodes[acceptor].addr));
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
        };
        let now = self.now;
        match self.nodes[dialler].torrent.as_mut().map(|torrent| torrent.handle_connected(now, peer)) {
            Some(Ok(key)) => self.open(id, Side::Dialler, key),
            Some(Err(_)) | None => self.close(id, Side::Dialler),
        }
        self.drain(dialler);
    }

    fn capabilities(&self) -> Capabilities {
        let Scenario { fast, v2, .. } = self.scenario;
        Capabilities { fast, v2, extended: true, ..Capabilities::default() }
    }

    pub(super) fn arrive(&mut self, id: LinkId, to: Side, parcel: Parcel) {
        let link = &mut self.links[id];
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
            self.queue.push(at, Event::Deliver(id, to, parcel));
        }
    }

    pub(super) fn deliver(&mut self, id: LinkId, to: Side, parcel: Parcel) {
        let end = self.links[id].end(to);
        let node = end.node;
        let Some(key) = end.key() else {
            if let Parcel::Block { block, .. } = parcel {
                self.tally.lost += u64::from(block.length);
            }
            return;
        };
        match parcel {
            Parcel::Message(message) => {
                self.checker.delivered(id, to, &message);
                self.with(node, |torrent, now| torrent.handle_message(now, key, message));
            }
            Parcel::Block { block, mark } => self.block_delivered(id, to, key, block, mark),
            Parcel::Close => {
                self.forget(id, to);
                self.with(node, |torrent, now| torrent.handle_disconnected(now, key));
            }
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
        match torrent.handle_block(self.now, key, block) {
            Verdict::Keep => {
                let piece = self.info.layout().check_block(block.index, block.begin, block.length);
                if piece.is_some_and(|exact| node.books.keep(&self.info, exact.piece, block, mark)) {
                    self.tally.progress = self.now;
                } else {
                    self.checker.violate(self.now, receiver, Rule::KeptTwice, format!("{block:?}"));
                }
            }
            Verdict::Discard => node.traffic.discarded += length,
        }
        self.drain(receiver);
    }

    pub(super) fn uplink_free(&mut self, id: NodeId) {
        let Some((link_id, side)) = self.nodes[id].uplink.serving.take() else { return };
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
            self.queue.push(at, Event::Arrive(link_id, side.other(), Parcel::Block { block, mark }));
            for message in behind {
                self.queue.push(at, Event::Arrive(link_id, side.other(), Parcel::Message(message)));
            }
            let node = &mut self.nodes[id];
            node.traffic.sent += length;
            // Behind those who already wait: one block each, in turn.
            if !end.queue.is_empty() {
                end.lined_up = true;
                node.uplink.line.push_back((link_id, side));
            }
            self.with(id, |torrent, now| torrent.handle_block_sent(now, key, block));
            let node = &self.nodes[id];
            if matches!(node.spec.leaving, Leaving::AfterUploading(limit) if node.traffic.sent >= limit) {
                self.stop(id);
            }
        }
        self.serve(id);
    }

    pub(super) fn send(&mut self, id: NodeId, key: PeerKey, message: Message) {
        let Some((link_id, side)) = self.link_of(id, key, "send") else { return };
        let node = &mut self.nodes[id];
        let mut encoded = Vec::new();
        message.encode(&mut encoded);
        node.traffic.control += encoded.len() as u64;
        node.traffic.chokes += u64::from(message == Message::Choke);
        self.checker.sent(self.now, link_id, side, &message, &node.books);
        let link = &mut self.links[link_id];
        let at = self.now + link.latency;
        let end = link.end_mut(side);
        if end.on_wire.is_some() {
            end.behind.push(message);
        } else {
            self.queue.push(at, Event::Arrive(link_id, side.other(), Parcel::Message(message)));
        }
    }

    pub(super) fn send_block(&mut self, id: NodeId, key: PeerKey, block: BlockRequest) {
        let Some((link, side)) = self.link_of(id, key, "send a block") else { return };
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
        let Some((link, side)) = self.link_of(id, key, "drop a block") else { return };
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
                self.queue.push(at, Event::UplinkFree(id));
                return;
            }
        }
    }

    pub(super) fn link_of(&mut self, id: NodeId, key: PeerKey, what: &str) -> Option<(LinkId, Side)> {
        let link = self.nodes[id].keys.get(&key).copied();
        if link.is_none() {
            self.checker.violate(
                self.now,
                id,
                Rule::UnknownPeer,
                format!("{what}: {key:?} is not connected"),
            );
        }
        link
    }

    fn open(&mut self, link: LinkId, side: Side, key: PeerKey) {
        let end = self.links[link].end_mut(side);
        end.state = State::Open(key);
        let node = end.node;
        let before = self.nodes[node].keys.insert(key, (link, side));
        assert!(before.is_none(), "node {node}: {key:?} was used twice");
        self.checker.opened(link, side);
    }

    /// An end closes, by its own doing.
    pub(super) fn close(&mut self, link: LinkId, side: Side) {
        self.forget(link, side);
        let at = self.now + self.links[link].latency;
        self.queue.push(at, Event::Arrive(link, side.other(), Parcel::Close));
    }

    fn forget(&mut self, link: LinkId, side: Side) {
        let end = self.links[link].end_mut(side);
        if let Some(key) = end.key() {
            self.nodes[end.node].keys.remove(&key);
            self.checker.closed(link, side);
        }
        end.close();
    }
}
