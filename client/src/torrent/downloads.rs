//! From peers to us: interest, requests, blocks, and the info dictionary. What becomes of a whole piece is in `pieces`.

use std::collections::BTreeSet;
use std::time::Duration;

use torrent_format::merkle::Hash;
use torrent_format::{BLOCK_LENGTH, Block, PieceIndex};

use super::action::{Action, Event, InfoFault, Misbehaviour, Verdict};
use super::feeder::PREEMPT;
use super::metadata::Progress;
use super::offers;
use super::peer::{Download, Outstanding, Peer};
use super::peers::PeerKey;
use super::picker::{Asker, Picker, Receipt};
use super::pipeline::Pipeline;
use super::time::Time;
use super::{Life, Phase, Torrent};
use crate::wire::ut_metadata::MetadataMessage;
use crate::wire::{BlockRequest, Message};

/// A peer that owes us blocks and sends none for so long is snubbing us: what it owes is asked of others, and it is asked for one block at a time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Blocks that nobody asked for, before the peer is dropped.
const MAX_UNWANTED: u32 = 3;

/// Rejects in a row, before the peer is left alone for [`REJECT_PAUSE`]: asking again at once would only be rejected again.
const MAX_REJECTS: u32 = 16;
const REJECT_PAUSE: Duration = Duration::from_secs(10);

/// So soon a peer is looked through again for what is far rarer than what it is asked for, but at once if it gets something. On a home line that is
/// with every block, on a fast one it is little work.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// In the endgame another peer is asked for a block only if it will likely be this much sooner, so that the relief is worth a duplicate.
const RELIEF: Duration = Duration::from_secs(1);

/// A peer of whose blocks so many have passed has proved itself. Until then it is asked for the leaves of what it is to send (BEP 52), for a few hundred
/// bytes a piece: of those who spoil one block in ten one in eight hundred comes so far.
const PROVED: u32 = 64;

/// Adds to what a peer is asked for, though its pipeline is full, what is far rarer. It serves what is rarest first, but only of what it was asked for; and
/// a piece that is to double in number must not wait behind others.
fn stretch(now: Time, picker: &mut Picker, download: &Download, asker: Asker<'_>, requests: &mut Vec<Block>) {
    loop {
        let asked = download.outstanding.iter().map(|outstanding| outstanding.block);
        let asked = asked.chain(requests.iter().copied()).map(|block| block.piece).collect();
        let Some(at_most) = far_rarer(asked, picker, &download.pipeline) else { return };
        let asker = Asker { current: None, at_most: Some(at_most), ..asker };
        let Some(block) = picker.pick(now, asker, |_| false) else { return };
        requests.push(block);
    }
}

/// How many peers may have a piece that is asked for beside these, the pieces of the blocks that are asked for already, though the pipeline is full. What is
/// far commoner than the new piece does not count: of all else no more is asked for than the pipeline is deep. `None`: nothing is so rare, or the
/// pipeline is not full.
fn far_rarer(asked: Vec<PieceIndex>, picker: &Picker, pipeline: &Pipeline) -> Option<u32> {
    if asked.len() >= pipeline.stretched() as usize {
        return None;
    }
    let mut holders: Vec<_> = asked.into_iter().map(|piece| picker.availability(piece)).collect();
    holders.sort_unstable();
    let last = holders.get((pipeline.depth() as usize).checked_sub(1)?)?;
    Some(last / PREEMPT).filter(|&most| most > 0)
}

impl Torrent {
    /// Says whether we want anything from this peer, if that changed.
    pub(super) fn show_interest(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let interested = peer.download.needed > 0;
        if peer.download.interested != interested {
            peer.download.interested = interested;
            peer.download.was_interesting |= interested;
            if interested {
                self.interests += 1;
            } else {
                self.interests -= 1;
            }
            self.send(now, key, if interested { Message::Interested } else { Message::NotInterested });
        }
    }

    /// Asks this peer for as much as its pipeline has room for.
    pub(super) fn fill_requests(&mut self, now: Time, key: PeerKey) {
        let Self { peers, phase: Phase::Content(content), life: Life::Leeching, .. } = &mut *self else {
            return;
        };
        let Some(peer) = peers.get(key) else { return };
        let download = &peer.download;
        if download.needed == 0 || (download.choked && download.allowed_fast.is_empty()) {
            return;
        }
        let room = download.room(now);
        // A stranger may be one that spoils what it sends: it is asked for no more than usual.
        let is_known = download.meter.total() >= u64::from(content.info.layout().piece_length());
        let may_stretch = is_known && download.may_stretch(now) && !content.picker.is_endgame();
        if room == 0 && !download.outstanding.is_empty() && !may_stretch {
            // Mostly there is none, for requests go out in batches.
            return;
        }
        let Some(pieces) = peer.field() else { return };
        let avoid = if peer.capabilities.fast { download.unanswered_cancels(now) } else { BTreeSet::new() };
        let asker = Asker {
            key,
            pieces,
            only: download.choked.then_some(&download.allowed_fast),
            suggested: &download.suggested,
            avoid: &avoid,
            current: download.current,
            is_seed: peer.is_seed(),
            at_most: None,
        };
        // To look through all that is asked for is dear, and mostly in vain.
        let waits = |(_, other): (_, &Peer)| {
            (!other.download.outstanding.is_empty()).then(|| other.download.expected(now, 0))
        };
        let longest = content.picker.is_endgame().then(|| peers.iter().filter_map(waits).max()).flatten();
        let mut requests = Vec::new();
        for more in 1..=room {
            let current = requests.last().map(|block: &Block| block.piece).or(download.current);
            let expected = download.expected(now, more) * 2 + RELIEF;
            if longest.is_some_and(|longest| longest <= expected) {
                break;
            }
            let slower =
                |holder| peers.get(holder).is_none_or(|other| other.download.expected(now, 0) > expected);
            let Some(block) = content.picker.pick(now, Asker { current, ..asker }, slower) else { break };
            requests.push(block);
        }
        if may_stretch {
            stretch(now, &mut content.picker, download, asker, &mut requests);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        if may_stretch {
            peer.download.look_for_rarer = now + LOOK_PAUSE;
        }
        if requests.is_empty() {
            return;
        }
        if peer.download.outstanding.is_empty() {
            // The time-out counts from the first request of a series.
            peer.download.last_block = now;
        }
        if let Some(last) = requests.last() {
            peer.download.current = Some(last.piece);
        }
        peer.download.outstanding.extend(requests.iter().map(|&block| Outstanding { block, at: now }));
        self.foresee(now, key, &requests);
        for block in requests {
            self.send(now, key, Message::Request(block.into()));
        }
    }

    /// These blocks are asked of a peer. If it has yet to prove itself, so are the leaves of their pieces.
    fn foresee(&mut self, now: Time, key: PeerKey, requests: &[Block]) {
        let Phase::Content(content) = &self.phase else { return };
        if self.peers.get(key).is_none_or(|peer| peer.download.passed >= PROVED) || !self.speaks_v2(key) {
            return;
        }
        let pieces: BTreeSet<_> = requests.iter().map(|block| block.piece).collect();
        for piece in pieces {
            self.fetch.foresee(&content.info, piece, key, |piece| content.picker.is_under_way(piece));
        }
        // Now, so that they come before the blocks.
        self.request_hashes(now);
    }

    /// A peer has nothing more to be asked for but what was asked of others: of that it takes over what lies in their lines. `offered`: it said that it
    /// has nothing to do; then also a few of those that a peer in the midst of sending owes us, but not its next.
    pub(super) fn take_over(&mut self, now: Time, key: PeerKey, offered: bool) {
        let Self { peers, phase: Phase::Content(content), life: Life::Leeching, .. } = &mut *self else {
            return;
        };
        let Some(peer) = peers.get(key) else { return };
        let download = &peer.download;
        if download.needed == 0
            || download.choked
            || !download.outstanding.is_empty()
            || download.paused_until > now
        {
            return;
        }
        let Some(pieces) = peer.field() else { return };
        let avoid = if peer.capabilities.fast { download.unanswered_cancels(now) } else { BTreeSet::new() };
        let asker = Asker {
            key,
            pieces,
            only: None,
            suggested: &download.suggested,
            avoid: &avoid,
            current: None,
            is_seed: peer.is_seed(),
            at_most: None,
        };
        let idles = |holder, block| {
            peers.get(holder).is_none_or(|other| {
                let download = &other.download;
                let (patience, silent) = (download.pipeline.patience(), now - download.last_block);
                let asked = (0..).zip(&download.outstanding).find(|(_, asked)| asked.block == block);
                let lies = silent >= patience && asked.is_none_or(|(_, asked)| now - asked.at >= patience);
                lies || (offered
                    && silent < offers::SENDING
                    && asked.is_some_and(|(place, _)| place >= offers::NEARLY_HERE))
            })
        };
        let room = if offered { download.room(now).min(offers::MOVED) } else { download.room(now) };
        let mut moved = Vec::new();
        for _ in 0..room {
            let Some(taken) = content.picker.take_over(now, asker, idles) else { break };
            moved.push(taken);
        }
        for &(block, from) in &moved {
            self.take_back(now, from, block);
            let Some(peer) = self.peers.get_mut(key) else { return };
            if peer.download.outstanding.is_empty() {
                peer.download.last_block = now;
            }
            peer.download.outstanding.push_back(Outstanding { block, at: now });
            peer.download.current = Some(block.piece);
            self.foresee(now, key, &[block]);
            self.send(now, key, Message::Request(block.into()));
        }
        for (_, from) in moved {
            self.fill_requests(now, from);
        }
    }

    /// What was asked of the peers is spread anew over those that have nothing to do.
    pub(super) fn balance(&mut self, now: Time) {
        let idle = |peer: &Peer| {
            !peer.download.choked && peer.download.needed > 0 && peer.download.outstanding.is_empty()
        };
        let idle: Vec<_> = self.peers.iter().filter(|(_, peer)| idle(peer)).map(|(key, _)| key).collect();
        for key in idle {
            self.take_over(now, key, false);
        }
    }

    pub(super) fn block_received(
        &mut self,
        now: Time,
        key: PeerKey,
        request: BlockRequest,
        leaf: impl FnOnce(u32) -> Hash,
    ) -> Result<Verdict, Misbehaviour> {
        let (Some(peer), Phase::Content(content)) = (self.peers.get_mut(key), &mut self.phase) else {
            return Ok(Verdict::Discard);
        };
        peer.last_heard = now;
        let bytes = u64::from(request.length);
        self.downloaded.add(now, bytes);
        let block = content.info.layout().check_block(request.index, request.begin, request.length);
        let asked = block
            .and_then(|block| peer.download.settle(block).map(|outstanding| (block, Some(outstanding.at))));
        let late = || block.filter(|&block| peer.download.settle_late(now, block)).map(|block| (block, None));
        let Some((block, asked_at)) = asked.or_else(late) else {
            peer.download.unwanted += 1;
            return if peer.download.unwanted >= MAX_UNWANTED {
                Err(Misbehaviour::UnwantedBlocks)
            } else {
                Ok(Verdict::Discard)
            };
        };
        let layout = content.info.layout();
        let number = block.begin / BLOCK_LENGTH;
        let payload = layout.piece_payload(block.piece).saturating_sub(block.begin).min(block.length);
        let sender = peer.culprit();
        if self.fetch.is_wrong(block.piece, number, sender, || leaf(payload)) {
            content.picker.release(block, key);
            self.notify(Event::PieceFailed { piece: block.piece, blocks: vec![number] });
            self.ban(now, sender);
            return Ok(Verdict::Spoilt);
        }
        let was_spent = peer.is_spent(layout, self.others_give);
        peer.download.meter.add(now, bytes);
        if was_spent && !peer.is_spent(layout, self.others_give) {
            // Nothing else may happen for long: between two that trade with nobody else each waits for the other.
            self.slots_changed |= peer.upload.choked && peer.upload.interested;
            if !peer.upload.queue.is_empty() {
                self.next_feed = Some(now);
            }
        }
        peer.download.last_block = now;
        peer.download.snubs = false;
        peer.download.rejects = 0;
        if let Some(asked_at) = asked_at {
            peer.download.pipeline.block_received(now, now - asked_at, &peer.download.meter);
        }
        let receipt = content.picker.received(block, key, sender);
        self.fill_requests(now, key);
        let Receipt::New { whole, others } = receipt else { return Ok(Verdict::Discard) };
        for other in others {
            self.relieve(now, other, block);
        }
        if whole {
            let digests = self.blame.is_open(block.piece);
            self.actions.push_back(Action::Verify { piece: block.piece, digests });
        }
        Ok(Verdict::Keep)
    }

    /// Another peer was faster.
    fn relieve(&mut self, now: Time, key: PeerKey, block: Block) {
        self.take_back(now, key, block);
        self.fill_requests(now, key);
    }

    fn take_back(&mut self, now: Time, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if let Some(outstanding) = peer.download.settle(block) {
            peer.download.take_back(now, outstanding);
            self.send(now, key, Message::Cancel(block.into()));
        }
    }

    /// The peer chokes us. Without the fast extension that takes back all we asked for; with it each request is rejected by name.
    pub(super) fn choked(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.download.choked = true;
        peer.download.pipeline.choked();
        let Phase::Content(content) = &mut self.phase else { return };
        if !peer.capabilities.fast {
            for outstanding in peer.download.take_back_all(now) {
                content.picker.release(outstanding.block, key);
                self.blocks_freed = true;
            }
        }
        content.picker.disown(key);
    }

    pub(super) fn rejected(&mut self, now: Time, key: PeerKey, request: BlockRequest) {
        let (Some(peer), Phase::Content(content)) = (self.peers.get_mut(key), &mut self.phase) else {
            return;
        };
        let block = content.info.layout().check_block(request.index, request.begin, request.length);
        if block.is_some_and(|block| peer.download.settle_late(now, block)) {
            // The answer to a cancel.
            return;
        }
        let Some(outstanding) = block.and_then(|block| peer.download.settle(block)) else { return };
        content.picker.release(outstanding.block, key);
        // A choke rejects all at once: others are asked when the last of it is heard, or at the next tick.
        self.blocks_freed |= peer.download.outstanding.is_empty();
        if peer.download.choked {
            peer.download.allowed_fast.remove(&outstanding.block.piece);
            content.picker.disown(key);
            return;
        }
        peer.download.rejects += 1;
        if peer.download.rejects >= MAX_REJECTS {
            peer.download.paused_until = now + REJECT_PAUSE;
            content.picker.disown(key);
        }
    }

    /// Takes back what a peer has owed for too long.
    pub(super) fn check_requests(&mut self, now: Time, key: PeerKey) {
        let (Some(peer), Phase::Content(content)) = (self.peers.get_mut(key), &mut self.phase) else {
            return;
        };
        if peer.download.outstanding.is_empty() || now - peer.download.last_block < REQUEST_TIMEOUT {
            return;
        }
        let taken_back = peer.download.take_back_all(now);
        for outstanding in &taken_back {
            content.picker.release(outstanding.block, key);
        }
        content.picker.disown(key);
        peer.download.snubs = !peer.download.choked;
        peer.download.pipeline.snubbed();
        // Others first: if they can take all of it, it is asked for nothing until it shows signs of life.
        peer.download.paused_until = now + REQUEST_TIMEOUT / 4;
        for outstanding in taken_back {
            // Or it would send them all the same, once it gets there.
            self.send(now, key, Message::Cancel(outstanding.block.into()));
        }
        self.blocks_freed = true;
        self.slots_changed = true;
    }

    // -- the info dictionary

    pub(super) fn request_metadata(&mut self, now: Time) {
        let Phase::Metadata(fetch) = &mut self.phase else { return };
        for (key, piece) in fetch.requests(now) {
            if let Some(id) = self.peers.get(key).and_then(|peer| peer.ut_metadata) {
                let payload = MetadataMessage::Request { piece }.encode();
                self.send(now, key, Message::Extended { id, payload });
            }
        }
    }

    pub(super) fn metadata_part(&mut self, now: Time, key: PeerKey, piece: u32, total: u32, data: Vec<u8>) {
        let (Some(peer), Phase::Metadata(fetch)) = (self.peers.get(key), &mut self.phase) else { return };
        match fetch.received(key, peer.culprit(), piece, total, data) {
            Progress::More => self.request_metadata(now),
            Progress::Whole(raw) => self.info_came(now, &raw),
            Progress::Conflict => self.info_is_bad(InfoFault::Conflict),
            Progress::Lie(liar) => {
                self.ban(now, liar);
                self.request_metadata(now);
            }
        }
    }
}
