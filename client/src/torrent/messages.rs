//! What each message from a peer means, and which ones end the connection.

use torrent_format::{Bitfield, Layout};

use super::action::Misbehaviour;
use super::peer::{Early, Pieces};
use super::peers::PeerKey;
use super::time::Time;
use super::{Phase, Torrent};
use crate::wire::Message;
use crate::wire::extension::{ExtensionHandshake, UT_HOLEPUNCH_ID, UT_METADATA_ID, UT_PEX_ID};
use crate::wire::ut_metadata::{MAX_METADATA_LENGTH, MetadataMessage};

/// A peer may announce each piece this many times before it is only noise.
const HAVES_PER_PIECE: u64 = 10;

/// How often a peer may say all that it has, which costs as much work as there are pieces. Once is usual. But aria2 sends a bitfield in place of
/// `have`s wherever that is shorter: 72 times at most, since it is an eighth of a byte a piece, and a `have` is nine bytes.
const MAX_INVENTORIES: u32 = 100;

/// What a peer may say it has before we know how many pieces there are.
const MAX_EARLY_HAVES: usize = 100_000;

/// Allowed-fast pieces that we remember of a peer. BEP 6 speaks of ten.
const MAX_ALLOWED_FAST: usize = 64;

impl Torrent {
    pub(super) fn message(&mut self, now: Time, key: PeerKey, message: Message) -> Result<(), Misbehaviour> {
        let speaks_v2 = self.speaks_v2(key);
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.last_heard = now;
        let is_fast = peer.capabilities.fast;
        // These are counted elsewhere, or must have been asked for.
        let counted = !matches!(
            message,
            Message::Have(_)
                | Message::Request(_)
                | Message::Reject(_)
                | Message::HashRequest(_)
                | Message::Hashes(..)
                | Message::HashReject(_)
        );
        if counted && !peer.may_say(now) {
            return Err(Misbehaviour::Flood);
        }
        if matches!(message, Message::Bitfield(_) | Message::HaveAll | Message::HaveNone) {
            peer.inventories += 1;
            if peer.inventories > MAX_INVENTORIES {
                return Err(Misbehaviour::Flood);
            }
            // What a peer has tells whether it is worth asking.
            self.hashes_wanted = true;
        }
        match message {
            Message::KeepAlive => Ok(()),
            Message::Port(port) => {
                self.dht_port_told(key, port);
                Ok(())
            }
            Message::HashRequest(_) | Message::Hashes(..) | Message::HashReject(_) if !speaks_v2 => {
                Err(Misbehaviour::WrongVersion)
            }
            Message::HashRequest(request) => self.hash_request(now, key, request),
            Message::Hashes(request, hashes) => self.hashes_received(now, key, request, &hashes),
            Message::HashReject(request) => self.hashes_rejected(now, key, request),
            Message::Unknown(_) => Ok(()),
            Message::Choke => {
                self.choked(now, key);
                Ok(())
            }
            Message::Unchoke => {
                peer.download.choked = false;
                self.fill_requests(now, key);
                self.take_over(now, key, false);
                Ok(())
            }
            Message::Interested => {
                peer.upload.interested = true;
                self.slots_changed |= peer.upload.choked;
                Ok(())
            }
            Message::NotInterested => {
                peer.upload.interested = false;
                self.slots_changed |= !peer.upload.choked;
                Ok(())
            }
            Message::Have(index) => self.have_message(now, key, index),
            Message::Bitfield(bytes) => self.bitfield(now, key, bytes),
            Message::Request(request) => self.request(now, key, request),
            Message::Cancel(request) => {
                self.cancel(now, key, request);
                Ok(())
            }
            Message::Extended { id, payload } => self.extended(now, key, id, &payload),
            Message::Suggest(_)
            | Message::HaveAll
            | Message::HaveNone
            | Message::Reject(_)
            | Message::AllowedFast(_)
                if !is_fast =>
            {
                Err(Misbehaviour::FastNotOffered)
            }
            Message::Suggest(index) => self.suggested(now, key, index),
            Message::HaveAll => self.have_all(now, key),
            Message::HaveNone => {
                self.have_none(now, key);
                Ok(())
            }
            Message::Reject(request) => {
                self.rejected(now, key, request);
                Ok(())
            }
            Message::AllowedFast(index) => self.allowed_fast(now, key, index),
        }
    }

    fn layout(&self) -> Option<&Layout> {
        self.content().map(|content| &**content.info.layout())
    }

    fn check_piece(&self, index: u32) -> Result<(), Misbehaviour> {
        match self.layout() {
            Some(layout) if layout.piece(index).is_none() => Err(Misbehaviour::PieceOutOfRange),
            _ => Ok(()),
        }
    }

    fn suggested(&mut self, now: Time, key: PeerKey, index: u32) -> Result<(), Misbehaviour> {
        self.check_piece(index)?;
        let piece = self.layout().and_then(|layout| layout.piece(index));
        if let (Some(piece), Some(peer)) = (piece, self.peers.get_mut(key)) {
            peer.download.suggest(piece);
            self.offered(now, key, piece);
        }
        Ok(())
    }

    // -- what the peer has

    fn have_message(&mut self, now: Time, key: PeerKey, index: u32) -> Result<(), Misbehaviour> {
        self.check_piece(index)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.haves += 1;
        let Phase::Content(content) = &mut self.phase else { return remember_early(&mut peer.pieces, index) };
        let layout = content.info.layout();
        if peer.haves > HAVES_PER_PIECE * u64::from(layout.piece_count()) + 100 {
            return Err(Misbehaviour::Flood);
        }
        let (Some(piece), Pieces::Known { field, as_seed: false }) = (layout.piece(index), &mut peer.pieces)
        else {
            return Ok(());
        };
        if !field.set(piece) {
            return Ok(());
        }
        content.picker.gained(piece);
        content.first_copies.seen(piece, key);
        let name_more = content.super_seed.as_mut().is_some_and(|seed| seed.seen(piece, key));
        let became_seed = field.is_all();
        if content.picker.needs(piece) {
            peer.download.needed += 1;
            peer.download.look_for_rarer = now;
            self.show_interest(now, key);
            self.fill_requests(now, key);
        }
        if became_seed {
            self.became_seed(now, key);
        }
        if name_more {
            self.name_pieces(now, false);
        }
        Ok(())
    }

    fn bitfield(&mut self, now: Time, key: PeerKey, bytes: Vec<u8>) -> Result<(), Misbehaviour> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let Some(content) = (match &self.phase {
            Phase::Content(content) => Some(content),
            _ => None,
        }) else {
            peer.pieces = Pieces::Early(Early { field: Some(bytes), ..Early::default() });
            return Ok(());
        };
        let field = Bitfield::from_wire(&bytes, content.info.layout().piece_count())
            .ok_or(Misbehaviour::BadBitfield)?;
        self.set_pieces(now, key, field);
        Ok(())
    }

    fn have_all(&mut self, now: Time, key: PeerKey) -> Result<(), Misbehaviour> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        match &self.phase {
            Phase::Content(content) => {
                let field = Bitfield::all(content.info.layout().piece_count());
                self.set_pieces(now, key, field);
            }
            _ => peer.pieces = Pieces::Early(Early { all: true, ..Early::default() }),
        }
        Ok(())
    }

    fn have_none(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        match &self.phase {
            Phase::Content(content) => {
                let field = Bitfield::none(content.info.layout().piece_count());
                self.set_pieces(now, key, field);
            }
            _ => peer.pieces = Pieces::Early(Early::default()),
        }
    }

    /// The peer has these pieces, whatever it said before.
    pub(super) fn set_pieces(&mut self, now: Time, key: PeerKey, field: Bitfield) {
        let (Some(peer), Phase::Content(content)) = (self.peers.get_mut(key), &mut self.phase) else {
            return;
        };
        let layout = content.info.layout();
        super::connections::forget_pieces(&mut content.picker, layout, &peer.pieces);
        let as_seed = field.is_all();
        if as_seed {
            content.picker.seed_came();
        } else {
            peer.was_leecher = true;
            for piece in layout.pieces().filter(|&piece| field.has(piece)) {
                content.picker.gained(piece);
                content.first_copies.seen(piece, key);
                if let Some(super_seed) = &mut content.super_seed {
                    super_seed.seen(piece, key);
                }
            }
        }
        content.picker.disown(key);
        peer.download.needed = content.picker.count_needed(&field);
        peer.pieces = Pieces::Known { field, as_seed };
        self.show_interest(now, key);
        if as_seed {
            self.became_seed(now, key);
        } else {
            self.offer_allowed_fast(now, key);
            self.name_pieces(now, true);
        }
        self.fill_requests(now, key);
    }

    /// Two that have everything have nothing to say to each other.
    fn became_seed(&mut self, now: Time, key: PeerKey) {
        if self.content().is_some_and(|content| content.picker.is_complete()) {
            self.disconnect(now, key, super::Reason::BothSeeds);
        }
    }

    // -- extensions

    fn extended(&mut self, now: Time, key: PeerKey, id: u8, payload: &[u8]) -> Result<(), Misbehaviour> {
        let Some(peer) = self.peers.get(key) else { return Ok(()) };
        if !peer.capabilities.extended || (id != 0 && !peer.shook_extensions) {
            return Err(Misbehaviour::BadExtension);
        }
        match id {
            0 => self.extension_handshake(now, key, payload),
            UT_METADATA_ID => match MetadataMessage::decode(payload) {
                Ok(Some(message)) => self.metadata_message(now, key, message),
                Ok(None) => Ok(()),
                Err(_) => Err(Misbehaviour::BadExtension),
            },
            UT_PEX_ID => self.pex_message(now, key, payload),
            UT_HOLEPUNCH_ID => self.holepunch_message(now, key, payload),
            // We offered no other.
            _ => Ok(()),
        }
    }

    fn extension_handshake(&mut self, now: Time, key: PeerKey, payload: &[u8]) -> Result<(), Misbehaviour> {
        let handshake = ExtensionHandshake::decode(payload).map_err(|_| Misbehaviour::BadExtension)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.shook_extensions = true;
        // A handshake may come again; what it does not name stays as it was (BEP 10).
        if let Some(id) = handshake.ut_metadata {
            peer.ut_metadata = (id != 0).then_some(id);
        }
        if let Some(id) = handshake.ut_pex {
            peer.telling.set_id((id != 0).then_some(id));
        }
        if let Some(id) = handshake.ut_holepunch {
            peer.punching.set_id((id != 0).then_some(id));
        }
        if let Some(limit) = handshake.request_queue {
            peer.download.pipeline.set_peer_limit(limit);
        }
        if handshake.client.is_some() {
            peer.client = handshake.client;
        }
        if let Some(port) = handshake.port.filter(|&port| port != 0 && peer.dial_addr.is_none()) {
            let addr = std::net::SocketAddr::new(peer.addr.ip().to_canonical(), port);
            peer.dial_addr = Some(addr);
            self.candidates.connected(addr);
        }
        let size = handshake.metadata_size.filter(|size| (1..=MAX_METADATA_LENGTH).contains(size));
        if let (Phase::Metadata(fetch), Some(size), Some(_)) = (&mut self.phase, size, peer.ut_metadata) {
            fetch.add_source(now, key, size);
            self.request_metadata(now);
        }
        Ok(())
    }

    fn metadata_message(
        &mut self,
        now: Time,
        key: PeerKey,
        message: MetadataMessage,
    ) -> Result<(), Misbehaviour> {
        match message {
            MetadataMessage::Request { piece } => {
                self.serve_metadata(now, key, piece);
                Ok(())
            }
            MetadataMessage::Reject { .. } => {
                if let Phase::Metadata(fetch) = &mut self.phase {
                    fetch.rejected(now, key);
                }
                self.request_metadata(now);
                Ok(())
            }
            MetadataMessage::Data { piece, total_size, data } => {
                self.metadata_part(now, key, piece, total_size, data);
                Ok(())
            }
        }
    }

    /// What the peer lets us fetch while it chokes us.
    fn allowed_fast(&mut self, now: Time, key: PeerKey, index: u32) -> Result<(), Misbehaviour> {
        self.check_piece(index)?;
        let piece = self.layout().and_then(|layout| layout.piece(index));
        let (Some(piece), Some(peer)) = (piece, self.peers.get_mut(key)) else { return Ok(()) };
        if peer.download.allowed_fast.len() < MAX_ALLOWED_FAST {
            peer.download.allowed_fast.insert(piece);
        }
        self.fill_requests(now, key);
        Ok(())
    }
}

fn remember_early(pieces: &mut Pieces, index: u32) -> Result<(), Misbehaviour> {
    let Pieces::Early(early) = pieces else { return Ok(()) };
    if index >= torrent_format::layout::MAX_PIECES {
        return Err(Misbehaviour::PieceOutOfRange);
    }
    if early.haves.len() >= MAX_EARLY_HAVES {
        return Err(Misbehaviour::Flood);
    }
    early.haves.insert(index);
    Ok(())
}
