//! Connections: whom to let in, whom to dial, and what a peer's going leaves behind.

use std::net::SocketAddr;
use std::time::Duration;

use torrent_format::{Bitfield, InfoHash, Layout};

use super::accounts::Account;
use super::action::{Action, Connected, Direction, Event, Reason, Swarm};
use super::peer::{Peer, Pieces, REQUEST_QUEUE};
use super::peers::PeerKey;
use super::picker::Picker;
use super::time::Time;
use super::turnover::{LET_GO_REDIAL, dial_limit};
use super::{Content, Life, MAX_DEPARTED, Misbehaviour, Phase, Torrent};
use crate::wire::Message;
use crate::wire::extension::{ExtensionHandshake, UT_HOLEPUNCH_ID, UT_METADATA_ID, UT_PEX_ID};

/// Nothing heard for so long: the peer is gone, whatever TCP thinks. BEP 3's keep-alive is every two minutes.
const SILENCE: Duration = Duration::from_secs(150);

/// We say something at least this often.
const KEEP_ALIVE: Duration = Duration::from_secs(100);

/// A connection that was of use is dialled again after this.
const REDIAL: Duration = Duration::from_secs(2);

/// A connection that ended sooner than this, and without a block, counts as a failed dial.
const SHORT_LIVED: Duration = Duration::from_secs(60);

/// An address of a peer that is connected by another.
const TWIN_REDIAL: Duration = Duration::from_secs(5 * 60);

/// Connections to one public address: a household behind one router, but not somebody who wants all our slots.
const MAX_PER_ADDRESS: usize = 4;

/// With fewer of a hundred of the peers that we would dial we look for more.
const FEW_PERCENT: usize = 75;

/// Bytes of a `have` on the wire.
const HAVE_LENGTH: usize = 9;

/// Seeds have nothing for each other, until one of them is started anew.
const SEED_REDIAL: Duration = Duration::from_secs(15 * 60);

impl Torrent {
    pub(super) fn connect(&mut self, now: Time, peer: Connected) -> Result<PeerKey, Reason> {
        if let Err(reason) = self.may_connect(now, peer) {
            if peer.direction == Direction::Outgoing {
                match reason {
                    Reason::Ourselves | Reason::Banned => self.candidates.never(peer.addr),
                    Reason::Duplicate => self.found_at(now, peer),
                    _ => self.candidates.failed(now, peer.addr),
                }
            }
            return Err(reason);
        }
        match peer.direction {
            Direction::Outgoing => self.candidates.connected(peer.addr),
            Direction::Incoming => self.was_dialled = true,
        }
        let mut entry = Peer::new(now, peer);
        if let Some(content) = self.content() {
            let field = Bitfield::none(content.info.layout().piece_count());
            entry.pieces = Pieces::Known { field, as_seed: false };
        }
        entry.before = self.accounts.open(peer.addr.ip());
        let before = entry.before;
        let key = self.peers.insert(entry);
        if let Phase::Content(content) = &mut self.phase {
            content.first_copies.came(key, before);
        }
        if let Phase::Content(Content { info, super_seed: Some(super_seed), .. }) = &mut self.phase {
            super_seed.add(now, key, info.layout().piece_count());
        }
        if self.speaks_v2(key) {
            self.fetch.add_source(now, key);
        }
        self.notify(Event::PeerConnected(peer.addr));
        self.introduce(now, key, peer);
        Ok(key)
    }

    fn may_connect(&mut self, now: Time, peer: Connected) -> Result<(), Reason> {
        if self.life == Life::Stopping {
            return Err(Reason::Stopping);
        }
        if peer.peer_id == self.config.peer_id {
            return Err(Reason::Ourselves);
        }
        if self.blame.is_banned(peer.addr, Some(peer.peer_id)) {
            return Err(Reason::Banned);
        }
        let twin = self.peers.iter().find(|(_, other)| other.peer_id == peer.peer_id).map(|(key, other)| {
            let same_host = other.addr.ip().to_canonical() == peer.addr.ip().to_canonical();
            (key, same_host, other.direction != peer.direction, other.capabilities.v2)
        });
        if let Some((twin, same_host, crossed, twin_has_v2)) = twin {
            // Both dialled at once. Both must close the same one of the two connections, or none is left: the one that the
            // greater peer id dialled stays. But one by the v2 name can do more, and takes the place of one by the v1 name.
            let ours_wins = self.config.peer_id > peer.peer_id;
            let wins_crossing = crossed && ours_wins == (peer.direction == Direction::Outgoing);
            let better = match (peer.capabilities.v2, twin_has_v2) {
                (true, false) => true,
                (false, true) => false,
                _ => wins_crossing,
            };
            if same_host && better {
                self.disconnect(now, twin, Reason::Duplicate);
            } else {
                return Err(Reason::Duplicate);
            }
        }
        let ip = peer.addr.ip().to_canonical();
        let neighbours = self.peers.iter().filter(|(_, other)| other.addr.ip().to_canonical() == ip).count();
        let crowded = neighbours >= MAX_PER_ADDRESS && !super::candidates::is_local(ip);
        let full = self.peers.len() >= self.config.max_peers;
        if crowded || (full && !self.make_room(now, peer)) { Err(Reason::TooMany) } else { Ok(()) }
    }

    /// A peer speaks v2, and its connection is by the v1 name, since the v2 name was not known: it is dialled by that, if piece layers are
    /// missing. Not if it dialled us: who knows whether it can be.
    pub fn upgrade(&mut self, now: Time, key: PeerKey) {
        let dialled = self.peers.get(key).is_some_and(|peer| peer.direction == Direction::Outgoing);
        if dialled && !self.speaks_v2(key) && self.hashes.v2().is_some() && self.fetch.missing_layers() > 0 {
            self.disconnect(now, key, Reason::Upgrade);
            self.settle(now);
        }
    }

    /// A peer that we are connected to already was found at this address: no need to dial it again.
    fn found_at(&mut self, now: Time, found: Connected) {
        self.candidates.disconnected(now, found.addr, TWIN_REDIAL);
        let twin = self.peers.iter_mut().find(|(_, peer)| peer.peer_id == found.peer_id);
        if let Some((_, twin)) = twin {
            twin.dial_addr.get_or_insert(found.addr);
        }
    }

    /// The first messages: what we have, and what we can.
    fn introduce(&mut self, now: Time, key: PeerKey, peer: Connected) {
        let content = self.content().filter(|content| content.super_seed.is_none());
        let have = content.map(|content| content.picker.have());
        let fast = peer.capabilities.fast;
        let first = match have {
            Some(have) if have.is_all() && fast => Some(Message::HaveAll),
            Some(have) if !have.is_none() => Some(Message::Bitfield(have.as_wire().to_vec())),
            _ if fast => Some(Message::HaveNone),
            _ => None,
        };
        if let Some(first) = first {
            self.send(now, key, first);
        }
        if peer.capabilities.extended {
            self.shake_extensions(now, key, peer.addr);
        }
        self.tell_dht_port(now, key);
    }

    /// Our extension handshake; once more when we know the info, so that others can have it from us.
    pub(super) fn shake_extensions(&mut self, now: Time, key: PeerKey, addr: SocketAddr) {
        let handshake = ExtensionHandshake {
            ut_metadata: Some(UT_METADATA_ID),
            // 0: not any more.
            ut_pex: self.config.pex.then(|| if self.exchanges_peers() { UT_PEX_ID } else { 0 }),
            ut_holepunch: (self.config.pex && self.config.utp)
                .then(|| if self.punches_holes() { UT_HOLEPUNCH_ID } else { 0 }),
            metadata_size: self.content().map(|content| content.info.raw().len() as u32),
            request_queue: Some(REQUEST_QUEUE as u32),
            client: Some(concat!("sprat ", env!("CARGO_PKG_VERSION")).to_owned()),
            port: Some(self.public_port),
            your_ip: Some(addr.ip().to_canonical()),
            upload_only: self.content().is_some_and(Content::says_complete),
        };
        self.send(now, key, Message::Extended { id: 0, payload: handshake.encode() });
    }

    /// Closes a connection, and forgets the peer.
    pub(super) fn disconnect(&mut self, now: Time, key: PeerKey, reason: Reason) {
        if self.peers.get(key).is_some() {
            self.actions.push_back(Action::Disconnect(key, reason));
            self.remove_peer(now, key, Some(reason));
        }
    }

    pub(super) fn remove_peer(&mut self, now: Time, key: PeerKey, reason: Option<Reason>) {
        let Some(mut peer) = self.peers.remove(key) else { return };
        self.interests -= u32::from(peer.download.interested);
        let mut left = Account { got: peer.got(), gave: peer.gave(), ..Account::default() };
        match &mut self.phase {
            Phase::Content(content) => {
                (left.kept, left.proven) = content.first_copies.standing(key);
                for outstanding in peer.download.take_back_all(now) {
                    content.picker.release(outstanding.block, key);
                    self.blocks_freed = true;
                }
                content.picker.disown(key);
                forget_pieces(&mut content.picker, content.info.layout(), &peer.pieces);
                for piece in content.first_copies.lost(key) {
                    content.suggestions.lost(piece);
                }
                if let Some(super_seed) = &mut content.super_seed {
                    super_seed.remove(key);
                }
            }
            Phase::Metadata(fetch) => fetch.remove_source(key),
            Phase::Layers(_) | Phase::AwaitingInfo(_) | Phase::Unusable => {}
        }
        self.accounts.close(peer.addr.ip(), left);
        self.fetch.remove_source(key);
        self.feeder.remove(key);
        self.hashes_wanted = true;
        self.slots_changed |= !peer.upload.choked;
        if let Some(addr) = peer.dial_addr {
            let useful = now - peer.connected >= SHORT_LIVED
                || peer.download.meter.total() + peer.upload.meter.total() > 0;
            match reason {
                Some(Reason::Ourselves | Reason::Banned) => self.candidates.never(addr),
                Some(Reason::Private) => self.candidates.forget(addr),
                Some(Reason::BothSeeds) => self.candidates.disconnected(now, addr, SEED_REDIAL),
                Some(Reason::TooMany) => self.candidates.disconnected(now, addr, LET_GO_REDIAL),
                Some(Reason::Upgrade) => self.candidates.redial_in(now, addr, Swarm::V2),
                // The other connection to the same peer lives.
                Some(Reason::Duplicate) => self.candidates.disconnected(now, addr, TWIN_REDIAL),
                None | Some(Reason::Silent) if useful => self.candidates.disconnected(now, addr, REDIAL),
                _ => self.candidates.failed(now, addr),
            }
        }
        self.feed(now);
        self.notify(Event::PeerDisconnected(peer.addr, reason));
        if peer.download.meter.total() + peer.upload.meter.total() > 0 {
            let stats = peer.stats();
            match self.departed.iter_mut().find(|gone| gone.peer_id == stats.peer_id) {
                Some(gone) => gone.merge(&stats),
                None => {
                    self.departed.truncate(MAX_DEPARTED - 1);
                    self.departed.push_front(stats);
                }
            }
        }
        self.dial(now);
    }

    /// By which name to ask for the torrent in this swarm.
    pub(super) fn name_in(&self, swarm: Option<Swarm>) -> InfoHash {
        let in_v2 = self.hashes.v2_swarm().filter(|_| swarm == Some(Swarm::V2));
        in_v2.unwrap_or(self.hashes.primary())
    }

    /// A dial failed. A hybrid may be known there by its other name.
    pub(super) fn dial_failed(&mut self, now: Time, addr: SocketAddr) {
        self.ask_relay(now, addr);
        let is_hybrid = self.hashes.v1().is_some() && self.hashes.v2().is_some();
        self.candidates.dial_failed(now, addr, is_hybrid.then_some(Swarm::V2));
    }

    /// Dials while there is room and somebody to dial. The last places are for those who dial us.
    pub(super) fn dial(&mut self, now: Time) {
        if self.life == Life::Stopping {
            return;
        }
        while self.peers.len() + self.candidates.half_open() < dial_limit(self.config.max_peers) {
            let Some((addr, swarm)) = self.candidates.next(now) else { return };
            self.actions.push_back(Action::Connect(addr, self.name_in(swarm)));
        }
    }

    /// Too few peers, and nobody to dial: trackers are asked sooner than they said, though not than they allow.
    pub(super) fn look_for_peers(&mut self, now: Time) {
        let found = self.peers.len() + self.candidates.half_open();
        let few = dial_limit(self.config.max_peers) * FEW_PERCENT / 100;
        if !self.is_leeching() || found >= few.max(1) || self.candidates.has_ready(now) {
            return;
        }
        if found == 0 { self.announcers.lonely() } else { self.announcers.wanting() }
    }

    /// Peers that went silent, requests that nobody answers, and our own signs of life.
    pub(super) fn check_time_outs(&mut self, now: Time) {
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get(key) else { continue };
            if now - peer.last_heard >= SILENCE {
                self.disconnect(now, key, Reason::Silent);
                continue;
            }
            if now - peer.last_sent >= KEEP_ALIVE {
                self.send(now, key, Message::KeepAlive);
            }
            self.check_requests(now, key);
        }
    }

    /// The info is known now: what peers said before is checked, counted, and answered.
    pub(super) fn resolve_early_pieces(&mut self, now: Time) {
        let Some(content) = self.content() else { return };
        let layout = content.info.layout().clone();
        let has_said = content.super_seed.is_some();
        let news = if has_said { Vec::new() } else { news_of(content.picker.have(), &layout) };
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let Pieces::Early(early) = &peer.pieces else { continue };
            let Some(field) = early.resolve(&layout) else {
                self.disconnect(now, key, Reason::Misbehaved(Misbehaviour::BadBitfield));
                continue;
            };
            peer.pieces = Pieces::Known { field: Bitfield::none(layout.piece_count()), as_seed: false };
            let (addr, extended) = (peer.addr, peer.capabilities.extended);
            self.set_pieces(now, key, field);
            for message in &news {
                self.send(now, key, message.clone());
            }
            if extended {
                self.shake_extensions(now, key, addr);
            }
        }
    }
}

/// What tells a peer of these pieces in fewer bytes: a `have` each, or a bitfield. BEP 3 wants that first of all, but peers take it later too.
fn news_of(have: &Bitfield, layout: &Layout) -> Vec<Message> {
    if have.count() as usize * HAVE_LENGTH > have.as_wire().len() {
        return vec![Message::Bitfield(have.as_wire().to_vec())];
    }
    layout.pieces().filter(|&piece| have.has(piece)).map(|piece| Message::Have(piece.get())).collect()
}

/// What this peer had is rarer now.
pub(super) fn forget_pieces(picker: &mut Picker, layout: &Layout, pieces: &Pieces) {
    match pieces {
        Pieces::Early(_) => {}
        Pieces::Known { as_seed: true, .. } => picker.seed_left(),
        Pieces::Known { field, .. } if field.is_none() => {}
        Pieces::Known { field, .. } => {
            for piece in layout.pieces().filter(|&piece| field.has(piece)) {
                picker.lost(piece);
            }
        }
    }
}
