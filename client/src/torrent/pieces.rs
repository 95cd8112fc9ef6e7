//! What becomes of a piece when all its blocks are here: it is had, or somebody lied.
//!
//! In a v2 torrent the leaves of the piece tell who (see `hashes`): the bad blocks are thrown away and their senders banned, everything else
//! stays. Where nobody gives leaves, and in v1, the piece is fetched anew and the copies are compared (see `blame`).

use std::collections::BTreeSet;

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
                if !content.picker.verified(piece) {
                    return;
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
            Verification::Bad(digests) => {
                self.fetch.close(piece);
                self.wasted += fetched(content.info.layout(), piece);
                self.refetch(now, piece, digests);
            }
            Verification::Wrong(leaves) => {
                if !content.picker.is_verifying(piece) {
                    return;
                }
                let senders = content.picker.senders(piece).into_iter().collect();
                match self.fetch.inquire(now, &content.info, piece, leaves.clone(), senders) {
                    Inquiry::Known(bad) => self.blame_by_leaves(now, piece, &leaves, &bad),
                    // Whom to ask is found out before anything else happens; if it is nobody, the answer comes at once.
                    Inquiry::Open => self.request_hashes(now),
                    Inquiry::Full => self.blame_by_copies(now, piece, &leaves),
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
            // Then something else about it is wrong than its blocks; the piece is given up as a whole.
            return self.blame_by_copies(now, piece, found);
        }
        let Phase::Content(content) = &mut self.phase else { return };
        if !content.picker.is_verifying(piece) {
            return;
        }
        let senders = content.picker.senders(piece);
        let liars: BTreeSet<_> =
            bad.iter().filter_map(|&number| senders.get(number as usize).copied()).collect();
        content.picker.drop_blocks(piece, bad);
        let layout = content.info.layout();
        let lengths = bad.iter().filter(|&&number| number < layout.block_count(piece));
        self.wasted += lengths.map(|&number| u64::from(layout.block(piece, number).length)).sum::<u64>();
        self.actions.push_back(Action::DropBlocks { piece, blocks: bad.to_vec() });
        self.notify(Event::PieceFailed { piece, blocks: bad.to_vec() });
        for liar in liars {
            self.ban(now, liar);
        }
        self.blocks_freed = true;
    }

    /// Nobody tells which blocks of the piece are wrong: all of it goes.
    pub(super) fn blame_by_copies(&mut self, now: Time, piece: PieceIndex, found: &[Hash]) {
        let Phase::Content(content) = &mut self.phase else { return };
        self.fetch.close(piece);
        if !content.picker.is_verifying(piece) {
            return;
        }
        self.wasted += fetched(content.info.layout(), piece);
        let blocks = (0..content.info.layout().block_count(piece)).collect();
        self.actions.push_back(Action::DropBlocks { piece, blocks });
        self.refetch(now, piece, found.iter().map(leaf_digest).collect());
    }

    /// All of the piece is fetched again, and if its copies differ, that tells who lied.
    fn refetch(&mut self, now: Time, piece: PieceIndex, digests: Vec<u64>) {
        let Phase::Content(content) = &mut self.phase else { return };
        let senders = content.picker.senders(piece);
        let culprits: BTreeSet<_> = senders.iter().copied().collect();
        let suspects =
            self.peers.iter().filter(|(_, peer)| culprits.contains(&peer.culprit())).map(|(key, _)| key);
        let suspects = suspects.collect();
        content.picker.failed(now, piece, suspects);
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

/// Bytes that it took to fetch this piece.
fn fetched(layout: &Layout, piece: PieceIndex) -> u64 {
    layout.blocks(piece).map(|block| u64::from(block.length)).sum()
}
