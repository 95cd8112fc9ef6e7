//! What becomes of a piece when all its blocks are here: it is had, or somebody lied.
//!
//! In a v2 torrent the leaves of the piece tell who (see `hashes`): the bad blocks are thrown away and their senders banned, everything else
//! stays. Where nobody gives leaves, and in v1, blocks are fetched anew and the copies are compared (see `blame`): at first those of whoever has had
//! the fewest blocks that passed, for most liars are found out by their first; if that was not it, all of them.

use std::collections::{BTreeMap, BTreeSet};

use torrent_format::merkle::Hash;
use torrent_format::{Layout, PieceIndex};

use super::action::{Action, Event, Reason, Verification, leaf_digest};
use super::blame::Culprit;
use super::hashes::Inquiry;
use super::time::Time;
use super::{Phase, Torrent};
use crate::wire::Message;

impl Torrent {
    pub(super) fn piece_hashed(&mut self, now: Time, piece: PieceIndex, outcome: Verification) {
        let Phase::Content(content) = &mut self.phase else { return };
        match outcome {
            Verification::Good(digests) => {
                let mut sent: BTreeMap<Culprit, u32> = BTreeMap::new();
                for sender in content.picker.senders(piece) {
                    *sent.entry(sender).or_default() += 1;
                }
                if !content.picker.verified(piece) {
                    return;
                }
                for (_, peer) in self.peers.iter_mut() {
                    peer.download.passed += sent.get(&peer.culprit()).copied().unwrap_or_default();
                }
                self.bytes_done += u64::from(content.info.layout().piece_payload(piece));
                self.fetch.close(piece);
                self.notify(Event::PieceVerified(piece));
                self.piece_gained(now, piece);
                for liar in digests.map(|digests| self.blame.passed(piece, &digests)).unwrap_or_default() {
                    self.ban(now, liar);
                }
                self.check_complete(now, true);
            }
            Verification::Bad(digests) => self.blame_by_copies(now, piece, digests, false),
            Verification::Doubtful(digests) => self.blame_by_copies(now, piece, digests, true),
            Verification::Wrong(leaves) => {
                if !content.picker.is_verifying(piece) {
                    return;
                }
                let senders = content.picker.senders(piece).into_iter().collect();
                match self.fetch.inquire(now, &content.info, piece, leaves.clone(), senders) {
                    Inquiry::Known(bad) => self.blame_by_leaves(now, piece, &leaves, &bad),
                    // Whom to ask is found out before anything else happens; if it is nobody, the answer comes at once.
                    Inquiry::Open => self.request_hashes(now),
                    Inquiry::Full => self.give_up_leaves(now, piece, &leaves),
                }
            }
            Verification::Lost => {
                self.fetch.close(piece);
                content.picker.restart(piece);
                self.blocks_freed = true;
            }
        }
    }

    /// These blocks of a piece are wrong, and each had one sender.
    pub(super) fn blame_by_leaves(&mut self, now: Time, piece: PieceIndex, found: &[Hash], bad: &[u32]) {
        if bad.is_empty() {
            // Then something else about it is wrong than its blocks.
            return self.give_up_leaves(now, piece, found);
        }
        let Phase::Content(content) = &mut self.phase else { return };
        if !content.picker.is_verifying(piece) {
            return;
        }
        let senders = content.picker.senders(piece);
        let liars: BTreeSet<_> =
            bad.iter().filter_map(|&number| senders.get(number as usize).copied()).collect();
        content.picker.drop_blocks(piece, bad);
        self.wasted += bytes_of(content.info.layout(), piece, bad);
        self.actions.push_back(Action::DropBlocks { piece, blocks: bad.to_vec() });
        self.notify(Event::PieceFailed { piece, blocks: bad.to_vec() });
        for liar in liars {
            self.ban(now, liar);
        }
        self.blocks_freed = true;
    }

    /// Nobody tells which blocks of the piece are wrong, whose leaves these are.
    pub(super) fn give_up_leaves(&mut self, now: Time, piece: PieceIndex, found: &[Hash]) {
        self.blame_by_copies(now, piece, found.iter().map(leaf_digest).collect(), true);
    }

    /// Some of the piece is fetched again, or all of it. If copies of a block differ, that tells who lied. `kept`: the blocks are still there.
    fn blame_by_copies(&mut self, now: Time, piece: PieceIndex, digests: Vec<u64>, kept: bool) {
        self.fetch.close(piece);
        let Phase::Content(content) = &mut self.phase else { return };
        if !content.picker.is_verifying(piece) {
            return;
        }
        let senders = content.picker.senders(piece);
        // Who is gone is as good as a stranger.
        let mut suspects: BTreeMap<Culprit, u32> = senders.iter().map(|&sender| (sender, 0)).collect();
        for (_, peer) in self.peers.iter() {
            if let Some(passed) = suspects.get_mut(&peer.culprit()) {
                *passed = peer.download.passed;
            }
        }
        if kept && !content.picker.has_failed(piece) {
            let least = suspects.values().copied().min();
            suspects.retain(|_, passed| Some(*passed) == least);
        }
        let suspect = |&(_, sender): &(u32, &Culprit)| suspects.contains_key(sender);
        let blocks: Vec<_> = (0..).zip(&senders).filter(suspect).map(|(number, _)| number).collect();
        let keys = self.peers.iter().filter(|(_, peer)| suspects.contains_key(&peer.culprit()));
        content.picker.failed(now, piece, &blocks, keys.map(|(key, _)| key).collect());
        self.wasted += bytes_of(content.info.layout(), piece, &blocks);
        if kept {
            self.actions.push_back(Action::DropBlocks { piece, blocks });
        }
        self.notify(Event::PieceFailed { piece, blocks: Vec::new() });
        if let Some(liar) = self.blame.failed(piece, senders, digests) {
            self.ban(now, liar);
        }
        self.blocks_freed = true;
    }

    /// Tells the others, and loses interest in those that had nothing else.
    fn piece_gained(&mut self, now: Time, piece: PieceIndex) {
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            peer.download.allowed_fast.remove(&piece);
            if peer.has(piece) {
                peer.download.needed -= 1;
                self.show_interest(now, key);
            }
            // Those that have this piece are told too: it is how a seed learns who passes on what it gave, and all that we are done.
            self.send(now, key, Message::Have(piece.get()));
        }
    }

    pub(super) fn ban(&mut self, now: Time, liar: Culprit) {
        if self.blame.is_banned(liar.addr, Some(liar.peer_id)) {
            return;
        }
        self.blame.ban(liar);
        self.notify(Event::PeerBanned(liar.addr));
        let keys: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| self.blame.is_banned(peer.addr, Some(peer.peer_id)))
            .map(|(k, _)| k)
            .collect();
        for key in keys {
            self.disconnect(now, key, Reason::Banned);
        }
    }
}

/// Bytes of these blocks of a piece, by their numbers.
fn bytes_of(layout: &Layout, piece: PieceIndex, blocks: &[u32]) -> u64 {
    let there = blocks.iter().filter(|&&number| number < layout.block_count(piece));
    there.map(|&number| u64::from(layout.block(piece, number).length)).sum()
}
