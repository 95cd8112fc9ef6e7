//! The hash messages of BEP 52, in both directions: answers to those who ask us, and what comes of what we asked.

use std::ops::Range;

use torrent_format::merkle::{Hash, HashRange};
use torrent_format::metainfo::Version;
use torrent_format::{BLOCK_LENGTH, Info};

use super::action::{Action, Event, InfoFault, Misbehaviour};
use super::hashes::{HashFault, Progress};
use super::peers::PeerKey;
use super::time::Time;
use super::{Content, Phase, Torrent};
use crate::wire::{HashRequest, Message};

/// Leaves of how many requests are read for one peer at a time. Each may take as much reading as a piece is long.
const MAX_LEAF_READS: usize = 2;

/// The same for all peers together, those included that are gone: what was begun for them goes on.
pub(super) const MAX_ALL_LEAF_READS: usize = 8;

/// Requests that were one too many, and only refused, before the peer is dropped.
const MAX_REFUSALS: u32 = 1_500;

/// What an answer costs of the peer's allowance (see `peer`): one for each message, and one for this many leaves that have to be read.
const LEAVES_FOR_ONE: u64 = 16;

/// Of files with the same bytes, how many are looked at for one that we have.
const MAX_TWINS: usize = 64;

/// A request for which the owner reads.
#[derive(Debug)]
pub(super) struct LeafRead {
    peer: PeerKey,
    request: HashRequest,
    /// Of several with the same bytes, the one that is read.
    file: usize,
}

/// How a hash request is answered.
enum Answer {
    Now(Vec<Hash>),
    /// These leaves have to be read.
    Read {
        file: usize,
        leaves: Range<u64>,
    },
    Refused,
}

impl Torrent {
    /// Whether hash messages mean anything on this connection.
    pub(super) fn speaks_v2(&self, key: PeerKey) -> bool {
        self.hashes.v2().is_some() && self.peers.get(key).is_some_and(|peer| peer.capabilities.v2)
    }

    // -- from us

    pub(super) fn hash_request(
        &mut self,
        now: Time,
        key: PeerKey,
        request: HashRequest,
    ) -> Result<(), Misbehaviour> {
        let checked = self.known_info().and_then(|info| check(info, &request));
        let cost = checked.as_ref().map_or(1, |checked| checked.cost);
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if !peer.may_ask_for_hashes(now, cost) {
            peer.upload.refused_hashes += 1;
            if peer.upload.refused_hashes > MAX_REFUSALS {
                return Err(Misbehaviour::Flood);
            }
            self.send(now, key, Message::HashReject(request));
            return Ok(());
        }
        peer.upload.refused_hashes = 0;
        let reads_for_it = self.leaf_reads.iter().filter(|read| read.peer == key).count();
        let busy = reads_for_it >= MAX_LEAF_READS || self.leaf_reads.len() >= MAX_ALL_LEAF_READS;
        match checked.map_or(Answer::Refused, |checked| self.answer(checked)) {
            Answer::Now(hashes) => self.send(now, key, Message::Hashes(request, hashes)),
            Answer::Read { file, leaves } if !busy => {
                self.leaf_reads.push(LeafRead { peer: key, request, file });
                let (first, count) = (leaves.start, (leaves.end - leaves.start) as u32);
                self.actions.push_back(Action::ReadLeaves { peer: key, request, file, first, count });
            }
            Answer::Read { .. } | Answer::Refused => self.send(now, key, Message::HashReject(request)),
        }
        Ok(())
    }

    fn answer(&self, checked: Checked) -> Answer {
        let Some(info) = self.known_info() else { return Answer::Refused };
        let Checked { file, range, leaves, .. } = checked;
        if leaves.is_empty() {
            return info.answer_hashes(file, &range, &[]).map_or(Answer::Refused, Answer::Now);
        }
        let Some(content) = self.content() else { return Answer::Refused };
        let root = info.tree(file).map(|tree| tree.root).unwrap_or_default();
        let twins = info.files_by_root(&root).take_while(|&twin| info.tree(twin) == info.tree(file));
        let had = twins.take(MAX_TWINS).find(|&twin| content.has_leaves(twin, &leaves));
        had.map_or(Answer::Refused, |file| Answer::Read { file, leaves })
    }

    pub(super) fn leaves_read(
        &mut self,
        now: Time,
        key: PeerKey,
        request: HashRequest,
        leaves: Option<Vec<Hash>>,
    ) {
        let at = self.leaf_reads.iter().position(|read| read.peer == key && read.request == request);
        let Some(LeafRead { file, .. }) = at.map(|at| self.leaf_reads.remove(at)) else { return };
        let Some(info) = self.known_info().cloned() else { return };
        let Some(Checked { range, leaves: wanted, .. }) = check(&info, &request) else { return };
        let lost = lost_pieces(&info, file, &wanted, leaves.as_deref());
        let answer = leaves.filter(|_| lost.is_empty());
        let answer = answer.and_then(|leaves| info.answer_hashes(file, &range, &leaves));
        // A download leaves it at the refusal: its piece can't be fetched once more, for the owner does not write over what was verified.
        if !self.is_leeching() {
            for piece in lost {
                self.stop_offering(now, piece);
            }
        }
        let message = match answer {
            Some(hashes) => Message::Hashes(request, hashes),
            None => Message::HashReject(request),
        };
        self.send(now, key, message);
    }

    // -- to us

    /// Asks for what is missing, of those who may have it; and gives up on leaves that nobody has.
    pub(super) fn request_hashes(&mut self, now: Time) {
        let Some(info) = self.known_info().cloned() else { return };
        let plan = self.fetch.plan(now, &info, &self.peers);
        for (key, request) in plan.requests {
            self.send(now, key, Message::HashRequest(request));
        }
        for (piece, found) in plan.hopeless {
            self.give_up_leaves(now, piece, &found);
        }
    }

    pub(super) fn hashes_received(
        &mut self,
        now: Time,
        key: PeerKey,
        request: HashRequest,
        hashes: &[Hash],
    ) -> Result<(), Misbehaviour> {
        let Some(info) = self.known_info().cloned() else { return Err(Misbehaviour::UnaskedHashes) };
        self.hashes_wanted = true;
        match self.fetch.received(now, &info, key, request, hashes) {
            Ok(Progress::More) => {}
            Ok(Progress::Layer) => self.layer_known(),
            // What they spoilt is thrown away with the rest of what is wrong, once the piece is whole.
            Ok(Progress::Liars(liars)) => liars.into_iter().for_each(|liar| self.ban(now, liar)),
            Ok(Progress::Leaves { piece, found, bad }) => self.blame_by_leaves(now, piece, &found, &bad),
            Err(HashFault::Unasked) => return Err(Misbehaviour::UnaskedHashes),
            Err(HashFault::Wrong) => {
                let liar = self.peers.get(key).map(super::peer::Peer::culprit);
                if let Some(liar) = liar
                    && self.blame.gave_bad_hashes(liar)
                {
                    self.ban(now, liar);
                }
                return Err(Misbehaviour::BadHashes);
            }
        }
        Ok(())
    }

    pub(super) fn hashes_rejected(
        &mut self,
        now: Time,
        key: PeerKey,
        request: HashRequest,
    ) -> Result<(), Misbehaviour> {
        self.hashes_wanted = true;
        self.fetch.rejected(now, key, request).map_err(|_| Misbehaviour::UnaskedHashes)
    }

    // -- the info, and the layers that go with it

    /// The info is known, in this run or from the start.
    pub(super) fn info_came(&mut self, now: Time, raw: &[u8]) {
        match Info::from_bytes(raw) {
            Ok(info) => self.complete_info(now, info),
            Err(fault) => self.info_is_bad(InfoFault::Unusable(fault)),
        }
    }

    pub(super) fn info_is_bad(&mut self, fault: InfoFault) {
        self.phase = Phase::Unusable;
        self.actions.push_back(Action::BadInfo(fault));
    }

    /// Gives the info to the owner as soon as the payload can be checked by it: v1 needs nothing more, v2 the piece layers.
    pub(super) fn complete_info(&mut self, now: Time, info: Info) {
        self.learn_names(now, &info);
        if info.is_private() {
            self.leave_hearsay(now);
        }
        self.fetch.want_layers(&info);
        self.hashes_wanted = true;
        if info.version() == Version::V2 && self.fetch.missing_layers() > 0 {
            self.phase = Phase::Layers(info);
        } else {
            self.phase = Phase::AwaitingInfo(info.clone());
            self.actions.push_back(Action::Info(info));
        }
    }

    fn layer_known(&mut self) {
        let Some(info) = self.known_info() else { return };
        if self.fetch.missing_layers() > 0 || info.missing_layers().next().is_some() {
            return;
        }
        let info = info.clone();
        self.notify(Event::LayersComplete);
        if matches!(self.phase, Phase::Layers(_)) {
            self.phase = Phase::AwaitingInfo(info.clone());
            self.actions.push_back(Action::Info(info));
        }
    }
}

impl Content {
    /// Whether we have the pieces that hold these leaves.
    fn has_leaves(&self, file: usize, leaves: &Range<u64>) -> bool {
        let layout = self.info.layout();
        // Without its hash nothing tells whether what is read is still the piece.
        let has = |piece| self.picker.have().has(piece) && self.info.piece_root(piece).is_some();
        pieces_of(&self.info, file, leaves).all(|index| layout.piece(index).is_some_and(has))
    }
}

/// The pieces that hold these leaves, of which there is at least one.
fn pieces_of(info: &Info, file: usize, leaves: &Range<u64>) -> Range<u32> {
    let first = info.layout().file_pieces(file).start;
    let number = |leaves: u64| u32::try_from(leaves).unwrap_or(u32::MAX);
    let (from, to) = (leaves.start / leaves_per_piece(info), leaves.end.div_ceil(leaves_per_piece(info)));
    first.saturating_add(number(from))..first.saturating_add(number(to))
}

fn leaves_per_piece(info: &Info) -> u64 {
    u64::from(info.layout().piece_length() / BLOCK_LENGTH).max(1)
}

/// The pieces that were had, and of which the leaves that were read are not those of their hash. If nothing could be read: the piece, but
/// none of several, for it can't be told which: a request for its blocks will.
fn lost_pieces(info: &Info, file: usize, wanted: &Range<u64>, found: Option<&[Hash]>) -> Vec<u32> {
    let pieces = pieces_of(info, file, wanted);
    let Some((found, tree)) = found.zip(info.tree(file)) else {
        return if pieces.len() == 1 { pieces.collect() } else { Vec::new() };
    };
    let is_right = |index: u32, leaves: &[Hash]| {
        let expected = info.layout().piece(index).and_then(|piece| info.piece_root(piece));
        expected == Some(tree.root_of_leaves(leaves))
    };
    let mut chunks = found.chunks(leaves_per_piece(info) as usize);
    pieces.filter(|&index| !chunks.next().is_some_and(|leaves| is_right(index, leaves))).collect()
}

/// A request that can be answered, by somebody who has the data.
struct Checked {
    file: usize,
    range: HashRange,
    /// The leaves that it takes; empty if the piece layer is enough.
    leaves: Range<u64>,
    /// What it costs of the peer's allowance.
    cost: u64,
}

/// `None`: there is no such range, or none that a client has to know.
fn check(info: &Info, request: &HashRequest) -> Option<Checked> {
    let file = info.file_by_root(&request.root)?;
    let tree = info.tree(file)?;
    let range = tree.check_range(request.base_layer, request.index, request.length, request.proof_layers)?;
    let leaves = tree.leaves_for(&range);
    let cost = 1 + (leaves.end - leaves.start) / LEAVES_FOR_ONE;
    Some(Checked { file, range, leaves, cost })
}
