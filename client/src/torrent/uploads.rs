//! From us to peers: slots, their requests, and the info dictionary.

use std::collections::BTreeSet;

use torrent_format::{Bitfield, PieceIndex};

use super::action::{Action, Misbehaviour};
use super::allowed_fast::{ALLOWED_FAST, allowed_fast_set};
use super::choker::{self, View};
use super::feeder::{Standing, Wished};
use super::offers;
use super::peer::{MAX_FINISH, Peer, REQUEST_QUEUE};
use super::peers::{PeerKey, Peers};
use super::super_seed::Swarm;
use super::time::Time;
use super::{Content, Phase, Torrent};
use super::{first_copies, restraint};
use crate::wire::frame::MAX_BLOCK_LENGTH;
use crate::wire::ut_metadata::{METADATA_PART_LENGTH, MetadataMessage};
use crate::wire::{BlockRequest, Message};

/// Requests beyond the queue that are rejected before the peer is dropped.
const MAX_OVERFLOW: u32 = 1_500;

/// How many times over a peer may fetch the metadata from us.
const METADATA_COPIES: u32 = 3;

impl Torrent {
    // -- slots

    /// The regular round: all slots are judged anew.
    pub(super) fn judge_slots(&mut self, now: Time) {
        let views = self.views(now, |_| true);
        let seeding = !self.is_leeching();
        self.choker.beware(self.has_sitters(now));
        let sent = self.uploaded.recent(now, choker::ROUND.as_secs());
        self.others_give = views.iter().any(|view| view.interested && view.gave > 0);
        let chosen = self.choker.judge(now, &views, sent, seeding);
        self.apply_slots(now, &views, &chosen);
    }

    /// Between rounds: free slots are filled.
    pub(super) fn fill_slots(&mut self, now: Time) {
        // Mostly nobody may have one or none is free, and to judge everybody is dear.
        if !self.is_slot_awaited() {
            return;
        }
        let seeding = !self.is_leeching();
        self.choker.beware(self.has_sitters(now));
        let holders = self.views(now, |peer| !peer.upload.choked);
        if self.choker.spare(&holders, seeding) == 0 {
            return;
        }
        let views = self.views(now, |peer| !peer.upload.choked || peer.upload.interested);
        let chosen = self.choker.fill(now, &views, seeding);
        self.apply_slots(now, &views, &chosen);
    }

    /// Whether we are the first seed, and somebody sits on what it got of us and never passed anything on.
    fn has_sitters(&self, now: Time) -> bool {
        self.content().is_some_and(|content| content.is_origin && content.first_copies.has_sitters(now))
    }

    /// Whether anybody waits for a slot who may have one.
    fn is_slot_awaited(&self) -> bool {
        let (trading, others_give) = (self.is_trading(), self.others_give);
        let layout = self.known_info().map(torrent_format::Info::layout);
        let is_spent =
            |peer: &Peer| trading && layout.is_some_and(|layout| peer.is_spent(layout, others_give));
        let mut peers = self.peers.iter().map(|(_, peer)| peer);
        peers.any(|peer| peer.upload.interested && peer.upload.choked && !is_spent(peer))
    }

    fn views(&self, now: Time, filter: impl Fn(&Peer) -> bool) -> Vec<View> {
        let content = self.content();
        let (leeching, trading, others_give) = (self.is_leeching(), self.is_trading(), self.others_give);
        let layout = self.known_info().map(torrent_format::Info::layout);
        let view = |(key, peer): (PeerKey, &Peer)| View {
            key,
            debt: content.map_or(0, |content| content.debt(key, peer, leeching)),
            spent: trading && layout.is_some_and(|layout| peer.is_spent(layout, others_give)),
            is_new: layout.is_some_and(|layout| peer.is_newcomer(layout)),
            interested: peer.upload.interested,
            unchoked: !peer.upload.choked,
            changed: peer.upload.changed,
            connected: peer.connected,
            gave: peer.download.meter.recent(now, super::rate::WINDOW_SECONDS),
            snubs: peer.download.snubs,
            lacks: content.map_or(0, |content| content.lacks(peer)),
            has: peer.field().map_or(0, Bitfield::count),
            proven: content.is_some_and(|content| content.first_copies.standing(key).1),
            idle: peer.upload.is_idle() && now - peer.upload.busy >= choker::GRACE,
        };
        self.peers.iter().filter(|(_, peer)| filter(peer)).map(view).collect()
    }

    fn apply_slots(&mut self, now: Time, views: &[View], chosen: &BTreeSet<PeerKey>) {
        for view in views {
            let unchoke = chosen.contains(&view.key);
            if unchoke != view.unchoked {
                self.set_choked(now, view.key, !unchoke);
            }
        }
    }

    fn set_choked(&mut self, now: Time, key: PeerKey, choked: bool) {
        if choked {
            self.let_finish(now, key);
        }
        let Some(peer) = self.peers.get_mut(key).filter(|_| matches!(self.phase, Phase::Content(_))) else {
            return;
        };
        peer.upload.choked = choked;
        peer.upload.changed = Some(now);
        peer.upload.busy = now;
        if !choked {
            // First, for it asks as soon as it is unchoked.
            self.suggest(now, key);
        }
        self.send(now, key, if choked { Message::Choke } else { Message::Unchoke });
        self.reject_unserved(now, key);
    }

    /// What this peer asked for and may not have is dropped, and it is told so (BEP 6).
    fn reject_unserved(&mut self, now: Time, key: PeerKey) {
        let (Some(peer), Phase::Content(content)) = (self.peers.get_mut(key), &self.phase) else { return };
        let is_fast = peer.capabilities.fast;
        let mut dropped = Vec::new();
        for request in std::mem::take(&mut peer.upload.queue) {
            if content.info.layout().piece(request.index).is_some_and(|piece| peer.upload.serves(piece)) {
                peer.upload.queue.push_back(request);
            } else {
                dropped.push(request);
            }
        }
        self.line_up(now, key);
        for request in dropped.into_iter().filter(|_| is_fast) {
            self.send(now, key, Message::Reject(request));
        }
    }

    /// Names a piece that this peer had better fetch next.
    fn suggest(&mut self, now: Time, key: PeerKey) {
        let Phase::Content(Content { info, picker, suggestions, super_seed: None, .. }) = &mut self.phase
        else {
            return;
        };
        let Some(peer) = self.peers.get(key).filter(|peer| peer.capabilities.fast && !peer.is_seed()) else {
            return;
        };
        if self.config.ablation.random_picker {
            return;
        }
        let is_worth =
            |piece| picker.have().has(piece) && picker.availability(piece) == 0 && !peer.has(piece);
        if let Some(piece) = suggestions.next(info.layout().pieces(), is_worth) {
            self.send(now, key, Message::Suggest(piece.get()));
        }
    }

    /// A piece that a choke cuts in two is of use to nobody, and its first half will likely be sent to somebody else as well. So
    /// whoever loses its slot may finish the piece at hand: it becomes allowed fast (BEP 6).
    fn let_finish(&mut self, now: Time, key: PeerKey) {
        let (Some(peer), Phase::Content(content)) = (self.peers.get_mut(key), &self.phase) else { return };
        let Some((piece, sent)) = peer.upload.at_hand else { return };
        let left = content.info.layout().block_count(piece).saturating_sub(sent);
        if !peer.capabilities.fast || peer.has(piece) || left == 0 || left > MAX_FINISH {
            return;
        }
        // One at a time, or with every choke it could have a little more.
        if let Some(before) = peer.upload.unfinished.replace(piece) {
            peer.upload.allowed_fast.remove(&before);
        }
        peer.upload.allowed_fast.insert(piece, left);
        self.send(now, key, Message::AllowedFast(piece.get()));
    }

    // -- requests

    pub(super) fn request(
        &mut self,
        now: Time,
        key: PeerKey,
        request: BlockRequest,
    ) -> Result<(), Misbehaviour> {
        let (Some(peer), Phase::Content(content)) = (self.peers.get_mut(key), &self.phase) else {
            return Ok(());
        };
        let piece = content.info.layout().check_request(request.index, request.begin, request.length);
        let piece = piece.filter(|_| request.length <= MAX_BLOCK_LENGTH).ok_or(Misbehaviour::BadRequest)?;
        let upload = &mut peer.upload;
        let allowed = upload.serves(piece);
        let full = upload.queue.len() >= REQUEST_QUEUE;
        if full || !allowed {
            // A peer that is choked may have asked before it heard of it: it is only told, and counted.
            upload.overflow += 1;
            if upload.overflow > MAX_OVERFLOW {
                return Err(Misbehaviour::RequestFlood);
            }
        } else {
            upload.overflow = 0;
        }
        if full || !allowed || !content.shows(key, piece) {
            if peer.capabilities.fast {
                self.send(now, key, Message::Reject(request));
            }
            return Ok(());
        }
        if !upload.queue.contains(&request) {
            upload.queue.push_back(request);
            if std::mem::take(&mut upload.vain_offers) > 0 {
                self.next_offer = self.next_offer.min(now + offers::LEAST_PAUSE);
            }
            let rarity = |piece| content.picker.availability(piece);
            self.feeder.asked(rarity(piece), rarity);
            if upload.choked
                && let Some(blocks) = upload.allowed_fast.get_mut(&piece)
            {
                *blocks = blocks.saturating_sub(1);
            }
        }
        self.line_up(now, key);
        self.feed(now);
        Ok(())
    }

    pub(super) fn cancel(&mut self, now: Time, key: PeerKey, request: BlockRequest) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        match peer.upload.queue.iter().position(|queued| *queued == request) {
            Some(at) => {
                peer.upload.queue.remove(at);
                let (fast, waits) = (peer.capabilities.fast, !peer.upload.queue.is_empty());
                self.feeder.line_up(now, key, waits);
                // BEP 6: every request is answered, by a piece or by a reject.
                if fast {
                    self.send(now, key, Message::Reject(request));
                }
            }
            None if peer.upload.handed_over > 0 => self.actions.push_back(Action::DropBlock(key, request)),
            None => {}
        }
    }

    /// Tells the feeder whether this peer waits for something.
    fn line_up(&mut self, now: Time, key: PeerKey) {
        let waits = self.peers.get(key).is_some_and(|peer| !peer.upload.queue.is_empty());
        self.feeder.line_up(now, key, waits);
    }

    /// Hands the owner what the uplink can take soon.
    pub(super) fn feed(&mut self, now: Time) {
        let rate = self.uploaded.rate(now, 3);
        let (leeching, trading, others_give) = (self.is_leeching(), self.is_trading(), self.others_give);
        let (random, passes_on) = (self.config.ablation.random_picker, !self.config.ablation.no_choker);
        let Self { peers, feeder, actions, phase: Phase::Content(content), .. } = self else { return };
        let (mut begun, mut spent, mut held_back) = (Vec::new(), Vec::new(), false);
        while !feeder.is_ahead(now, rate) {
            let wishes = |key| {
                let content = &*content;
                // One more than the credit may go out, or a request longer than the credit would wait for ever.
                let peer = peers.get(key).filter(|peer| peer.upload.credit(now) > 0);
                let is_spent =
                    trading && peer.is_some_and(|peer| peer.is_spent(content.info.layout(), others_give));
                let pieces = peer.into_iter().flat_map(|peer| peer.upload.wishes());
                let pieces = pieces.filter(move |&(_, at_hand)| at_hand || !is_spent);
                let pieces = pieces
                    .filter_map(|(index, at_hand)| Some((content.info.layout().piece(index)?, at_hand)));
                pieces.map(move |(piece, at_hand)| {
                    // What is on its way to another is as good as there.
                    let is_sent = content.suggestions.is_sent(piece);
                    let sent = u32::from(!at_hand && is_sent);
                    let holders = if random { 0 } else { content.picker.availability(piece).max(sent) };
                    let again = passes_on && !random && content.is_again(key, piece, at_hand);
                    Wished { piece, rarity: 2 * holders + u32::from(!at_hand), again }
                })
            };
            let standing = |key| {
                peers.get(key).map(|peer| content.standing(key, peer, leeching, trading)).unwrap_or_default()
            };
            let Some(turn) = feeder.turn(now).or_else(|| feeder.begin_turn(now, standing, wishes)) else {
                break;
            };
            if turn.again && content.awaits_new(now, peers) {
                content.restraint.hold_back(now);
                held_back = true;
                feeder.end_turn();
                break;
            }
            let Some(peer) = peers.get_mut(turn.key) else { break };
            let of_piece = |request: &BlockRequest| request.index == turn.piece.get();
            let next = peer.upload.queue.iter().position(of_piece).filter(|_| peer.upload.credit(now) > 0);
            let Some(next) = next.and_then(|at| peer.upload.queue.remove(at)) else {
                feeder.end_turn();
                continue;
            };
            let bytes = u64::from(next.length);
            if peer.upload.hand_over(turn.piece, bytes) {
                if content.is_origin && passes_on {
                    let first = content.picker.availability(turn.piece) == 0;
                    content.first_copies.given(now, turn.piece, turn.key, first);
                }
                content.suggestions.sent(turn.piece);
                begun.push(turn.key);
            }
            if content.is_origin {
                content.restraint.leaves(now, !turn.again);
            }
            if trading && peer.is_spent(content.info.layout(), others_give) {
                spent.push(turn.key);
            }
            actions.push_back(Action::SendBlock(turn.key, next));
            feeder.handed(now, turn.key, bytes);
            feeder.line_up(now, turn.key, !peer.upload.queue.is_empty());
        }
        self.next_feed = self.feeder.due(now);
        if held_back {
            self.next_feed = Some(now + choker::GRACE);
            self.pass_slots_on(now);
        }
        // Before it is through with this piece it knows the next.
        for key in begun {
            self.suggest(now, key);
        }
        for key in spent {
            self.close_account(now, key);
        }
    }

    /// At the first seed, while there is something that has never left it as a whole: who asks for nothing of that makes room for others. One of these
    /// may have lost its slot with half a piece.
    fn pass_slots_on(&mut self, now: Time) {
        let Phase::Content(content) = &self.phase else { return };
        let asks_in_vain = |&(key, peer): &(PeerKey, &Peer)| {
            let upload = &peer.upload;
            let pieces = upload.wishes().filter_map(|(index, at_hand)| {
                content.info.layout().piece(index).map(|piece| (piece, at_hand))
            });
            let mut pieces = pieces.peekable();
            !upload.choked
                && upload.changed.is_none_or(|since| now - since >= restraint::TENURE)
                && pieces.peek().is_some()
                && pieces.all(|(piece, at_hand)| content.is_again(key, piece, at_hand))
        };
        let holders: Vec<_> = self.peers.iter().filter(asks_in_vain).map(|(key, _)| key).collect();
        for key in holders {
            self.set_choked(now, key, true);
            self.slots_changed = true;
        }
    }

    /// This peer gets nothing more until it gives something. The piece at hand it may finish.
    fn close_account(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let at_hand = peer.upload.at_hand.map(|(piece, _)| piece);
        peer.upload.allowed_fast.retain(|&piece, _| at_hand == Some(piece));
        if peer.upload.choked {
            self.reject_unserved(now, key);
        } else {
            self.set_choked(now, key, true);
            self.slots_changed = true;
        }
    }

    pub(super) fn block_sent(&mut self, now: Time, key: PeerKey, block: BlockRequest) {
        let bytes = u64::from(block.length);
        self.uploaded.add(now, bytes);
        self.feeder.settled(now, key, bytes);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.upload.handed_over = peer.upload.handed_over.saturating_sub(bytes);
            peer.upload.meter.add(now, bytes);
            peer.upload.busy = now;
            peer.last_sent = now;
        }
        self.feed(now);
        if self.feeder.is_dry() {
            self.next_feed = Some(now + choker::GRACE);
            self.offer(now);
        }
    }

    pub(super) fn block_dropped(&mut self, now: Time, key: PeerKey, block: BlockRequest) {
        let bytes = u64::from(block.length);
        self.feeder.settled(now, key, bytes);
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.upload.handed_over = peer.upload.handed_over.saturating_sub(bytes);
        if peer.capabilities.fast {
            self.send(now, key, Message::Reject(block));
        }
        self.feed(now);
    }

    pub(super) fn read_failed(&mut self, now: Time, key: PeerKey, block: BlockRequest) {
        self.stop_offering(now, block.index);
        self.block_dropped(now, key, block);
    }

    pub(super) fn stop_offering(&mut self, now: Time, index: u32) {
        let again = self.is_leeching();
        let Phase::Content(content) = &mut self.phase else { return };
        let Some(piece) = content.info.layout().piece(index) else { return };
        if !content.picker.forget(piece, again) {
            return;
        }
        let size = u64::from(content.info.layout().piece_payload(piece));
        let needed = content.picker.needs(piece);
        if needed || !again {
            self.bytes_done = self.bytes_done.saturating_sub(size);
        }
        self.blocks_freed = true;
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if needed && peer.has(piece) {
                peer.download.needed += 1;
            }
            self.show_interest(now, key);
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let is_fast = peer.capabilities.fast;
            let gone: Vec<_> = peer.upload.queue.iter().copied().filter(|r| r.index == piece.get()).collect();
            peer.upload.queue.retain(|request| request.index != piece.get());
            let waits = !peer.upload.queue.is_empty();
            self.feeder.line_up(now, key, waits);
            if is_fast {
                for request in gone {
                    self.send(now, key, Message::Reject(request));
                }
            }
        }
    }

    // -- the first taste

    /// Lets a newcomer have a few pieces at once (BEP 6), but only such as others have too: what only we have is worth more to the swarm
    /// in somebody else's hands than twice in one's.
    pub(super) fn offer_allowed_fast(&mut self, now: Time, key: PeerKey) {
        let others_give = self.others_give;
        let (Some(peer), Phase::Content(content)) = (self.peers.get_mut(key), &self.phase) else { return };
        let newcomer = peer.field().is_some_and(|field| (field.count() as usize) < ALLOWED_FAST);
        let spent = peer.is_spent(content.info.layout(), others_give);
        let is_shown = content.super_seed.is_none();
        if !peer.capabilities.fast || !newcomer || !is_shown || spent || !peer.upload.allowed_fast.is_empty()
        {
            return;
        }
        let set = allowed_fast_set(peer.addr.ip(), self.hashes.primary(), content.info.layout());
        let offer =
            |piece: &PieceIndex| content.picker.have().has(*piece) && content.picker.availability(*piece) > 0;
        let set: BTreeSet<_> = set.into_iter().filter(offer).collect();
        let blocks = |&piece: &PieceIndex| (piece, content.info.layout().block_count(piece));
        peer.upload.allowed_fast = set.iter().map(blocks).collect();
        for piece in set {
            self.send(now, key, Message::AllowedFast(piece.get()));
        }
    }

    /// While we say that we have less than we do: what each peer is named next, and the end of it.
    pub(super) fn name_pieces(&mut self, now: Time, look_around: bool) {
        let Phase::Content(Content { info, picker, super_seed: Some(super_seed), .. }) = &mut self.phase
        else {
            return;
        };
        let has = |key, piece| self.peers.get(key).is_some_and(|peer: &Peer| peer.has(piece));
        let swarm = Swarm {
            layout: info.layout(),
            availability: &|piece| picker.availability(piece),
            peers: self.peers.len(),
            has: &has,
            idle: self.feeder.is_dry(),
        };
        let is_needed = !look_around || super_seed.look_around(swarm);
        let named = super_seed.next(now, swarm);
        for (key, piece) in named {
            self.send(now, key, Message::Have(piece.get()));
        }
        if !is_needed {
            self.show_all(now);
        }
    }

    /// Every piece is elsewhere too: from here on it is a seed like any other. Each peer hears of what it lacks, by a `have` each, for a
    /// bitfield comes first or not at all (BEP 3).
    fn show_all(&mut self, now: Time) {
        let Phase::Content(content) = &mut self.phase else { return };
        let Some(super_seed) = content.super_seed.take() else { return };
        let have = content.picker.have().clone();
        let layout = content.info.layout().clone();
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get(key) else { continue };
            let (addr, extended) = (peer.addr, peer.capabilities.extended);
            let is_news =
                |&piece: &PieceIndex| have.has(piece) && !peer.has(piece) && !super_seed.shows(key, piece);
            for piece in layout.pieces().filter(is_news).collect::<Vec<_>>() {
                self.send(now, key, Message::Have(piece.get()));
            }
            if extended {
                self.shake_extensions(now, key, addr);
            }
        }
    }

    pub(super) fn serve_metadata(&mut self, now: Time, key: PeerKey, part: u32) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(id) = peer.ut_metadata else { return };
        let raw = match &self.phase {
            Phase::Content(content) => content.info.raw(),
            _ => &[],
        };
        let parts = (raw.len() as u32).div_ceil(METADATA_PART_LENGTH);
        let answer = if part < parts && peer.upload.metadata_parts < parts * METADATA_COPIES {
            peer.upload.metadata_parts += 1;
            let from = (part * METADATA_PART_LENGTH) as usize;
            let to = raw.len().min(from + METADATA_PART_LENGTH as usize);
            MetadataMessage::Data { piece: part, total_size: raw.len() as u32, data: raw[from..to].to_vec() }
        } else {
            MetadataMessage::Reject { piece: part }
        };
        self.send(now, key, Message::Extended { id, payload: answer.encode() });
    }
}

impl Content {
    /// Whether this peer may know that we have this piece, and we do.
    fn shows(&self, key: PeerKey, piece: PieceIndex) -> bool {
        self.picker.have().has(piece) && self.super_seed.as_ref().is_none_or(|seed| seed.shows(key, piece))
    }

    /// Whether peers may know that we lack nothing.
    pub(super) fn says_complete(&self) -> bool {
        self.picker.is_complete() && self.super_seed.is_none()
    }

    /// Whether we are the first seed, and this piece, which the peer asked for, is elsewhere too or on its way to somebody else.
    fn is_again(&self, key: PeerKey, piece: PieceIndex, at_hand: bool) -> bool {
        let is_first = || at_hand && self.first_copies.is_first(piece, key);
        self.is_origin && !self.is_only_here(piece) && !is_first()
    }

    /// Whether nobody else has this piece, and nothing of it has left us.
    fn is_only_here(&self, piece: PieceIndex) -> bool {
        !self.suggestions.is_sent(piece) && self.picker.availability(piece) == 0
    }

    /// Whether what is elsewhere too has to wait for what is not, or for the rest of it: see [`restraint`].
    fn awaits_new(&self, now: Time, peers: &Peers) -> bool {
        if !self.restraint.may_hold_back(now) {
            return false;
        }
        let layout = self.info.layout();
        let is_in_part = |(key, peer): (PeerKey, &Peer)| {
            peer.upload.at_hand.is_some_and(|(piece, sent)| {
                sent < layout.block_count(piece) && self.first_copies.is_first(piece, key)
            })
        };
        layout.pieces().any(|piece| self.is_only_here(piece)) || peers.iter().any(is_in_part)
    }

    /// How many of our pieces this peer lacks; less, if it has some that we don't want.
    fn lacks(&self, peer: &Peer) -> u32 {
        let has = peer.field().map_or(0, Bitfield::count);
        (self.picker.have().count() + peer.download.needed).saturating_sub(has)
    }

    /// What a peer owes us, in pieces: what it got beyond what it gave. Once nobody can pay us back there are no debts, but to the swarm: what
    /// a peer got of the first seed and did not pass on.
    fn debt(&self, key: PeerKey, peer: &Peer, leeching: bool) -> u32 {
        let layout = self.info.layout();
        if leeching {
            return peer.debt(layout);
        }
        let in_part = |&(piece, sent): &(PieceIndex, u32)| sent < layout.block_count(piece);
        let at_hand = peer.upload.at_hand.filter(in_part).map(|(piece, _)| piece);
        self.first_copies.kept(key, at_hand, peer.had(layout), self.suggestions.has_more())
    }

    /// What counts for the feeder of this peer.
    fn standing(&self, key: PeerKey, peer: &Peer, leeching: bool, trading: bool) -> Standing {
        let layout = self.info.layout();
        let owed = self.debt(key, peer, leeching);
        // While we trade it counts whether somebody owes much, not how much. Whoever was given something rare gave most and owes least: it would be given
        // the next rare piece too, while the uplinks of those who have nothing that others lack stand still.
        let debt = if leeching { u32::from(trading && owed >= choker::MUCH) } else { owed };
        // Riders want what is rare, for they lack nearly all; and it is wasted on those who pass nothing on. Who gave us something while we traded
        // is not to wait behind them.
        let had = match (leeching, self.is_origin) {
            (false, false) => peer.had_for_nothing(layout),
            (false, true) if debt >= first_copies::MANY => peer.had(layout),
            _ => 0,
        };
        Standing { debt, had, wealth: peer.field().map_or(0, Bitfield::count) }
    }
}
