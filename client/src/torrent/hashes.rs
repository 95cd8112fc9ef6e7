//! Which hashes of v2 trees to ask of whom (BEP 52): [`HashFetch`].
//!
//! Two kinds are fetched: the piece layers that a magnet, or a .torrent without them, leaves unknown; and the leaves of a piece, which tell its
//! bad blocks from its good ones. Leaves are asked for when the hash of a piece is wrong; and beforehand, of a peer that has yet to prove itself,
//! together with the piece, so that its first bad block is its last. Both kinds come in ranges of at most 512, each with the proof that leads to a hash
//! that is known already, so a range is right or it is thrown away: nothing unproven is kept, and every lie has one teller.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use torrent_format::merkle::{Hash, HashRange, WrongHashes};
use torrent_format::{Info, PieceIndex};

use super::Time;
use super::blame::Culprit;
use super::peer::Peer;
use super::peers::{PeerKey, Peers};
use crate::wire::HashRequest;

/// Requests for layers that one peer owes us at a time. Answers are 16 KiB at most, so this is as much as so many blocks.
const DEPTH: usize = 16;

/// Requests for leaves that one peer owes us at a time: as many as we answer ourselves. It has to read the piece for each.
const LEAVES_DEPTH: usize = 2;

/// Files whose layers are under way at a time; the others wait. A layer is no longer than the torrent has pieces.
const MAX_FILES: usize = 64;

/// Pieces whose leaves are fetched, or kept until they are whole, at a time. Only liars fill it.
const MAX_PIECES: usize = 16;

/// Pieces whose leaves are asked for beforehand, or known, at a time. A piece of 16 MiB has 32 KiB of them.
const MAX_FORESEEN: usize = 64;

/// How many are asked for the same leaves at once: somebody is waiting for them, and they cost little.
const MAX_ASKED_FOR_LEAVES: usize = 2;

/// A range of a layer that has not come by then is asked of someone else.
const LAYER_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for leaves. Short: a piece waits for them.
const LEAVES_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a piece waits for its leaves, or the next part of them. After that it is fetched anew, as in a v1 torrent.
pub(super) const LEAVES_WAIT: Duration = Duration::from_secs(6);

/// How long it waits at most while nothing comes, though there are others to ask.
pub(super) const MAX_LEAVES_WAIT: Duration = Duration::from_secs(20);

/// A peer that refused part of a layer, or let a request for it time out, is asked for layers again after this.
const REFUSED_WAIT: Duration = Duration::from_secs(20);

/// Requests to one peer that timed out and are remembered, so that their answers are still welcome. It takes minutes to fill.
const MAX_LATE: usize = 64;

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Goal {
    /// Part of the piece layer under this root.
    Layer { root: Hash, part: usize },
    /// Part of the leaves of this piece.
    Leaves { piece: PieceIndex, part: usize },
}

/// A range of a tree, and how far it is.
#[derive(Debug)]
struct Part {
    range: HashRange,
    hashes: Option<Vec<Hash>>,
    /// How many peers owe it to us.
    askers: usize,
}

/// All ranges that are wanted of one file for one end.
#[derive(Debug)]
struct Collection {
    file: usize,
    root: Hash,
    parts: Vec<Part>,
}

/// A piece that waits for its leaves.
#[derive(Debug)]
struct Inquest {
    wanted: Collection,
    /// The leaves of what has come.
    found: Vec<Hash>,
    /// Time enough for those who were asked.
    until: Time,
    /// Not even with others to ask.
    deadline: Time,
    /// Who sent the piece. The liar is among them, and in no hurry.
    senders: BTreeSet<Culprit>,
    /// Who refused, or did not answer.
    refused: BTreeSet<PeerKey>,
}

/// A piece that is under way, and whose leaves its giver was asked for with it.
#[derive(Debug)]
struct Foreseen {
    wanted: Collection,
    giver: PeerKey,
    /// Blocks that came before: number, leaf, and who sent it.
    arrived: Vec<(u32, Hash, Culprit)>,
}

/// A request that timed out.
#[derive(Debug)]
struct Late {
    request: HashRequest,
    goal: Goal,
    /// So many times: so many answers may come.
    answers: u32,
}

#[derive(Debug)]
struct Source {
    /// Not asked for layers until then.
    resting_until: Time,
    owes_layers: usize,
    owes_leaves: usize,
    /// How often it refused part of a layer or let it time out: once for each rest. Never forgotten while it is connected, or a few that
    /// say nothing would be asked in turn for ever.
    failed_layers: u32,
    /// The same for leaves, of which only part is its fault: it may be busy.
    failed_leaves: u32,
    /// It was asked for leaves beforehand and gave none: it is not asked again.
    withholds: bool,
    late: VecDeque<Late>,
    /// How many sources came before it.
    number: u64,
}

/// What to do now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What to ask of whom.
    pub(super) requests: Vec<(PeerKey, HashRequest)>,
    /// The pieces whose leaves nobody gives, and the leaves of what has come of them. They need wait no longer.
    pub(super) hopeless: Vec<(PieceIndex, Vec<Hash>)>,
}

/// What an answer led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Nothing new, or more is needed.
    More,
    /// The leaves of a piece that is under way are known, and these have sent blocks of it that are wrong.
    Liars(BTreeSet<Culprit>),
    /// A file's piece layer is whole and set.
    Layer,
    /// The leaves of a piece are known.
    Leaves {
        piece: PieceIndex,
        /// The leaves of what has come.
        found: Vec<Hash>,
        /// The blocks that are wrong, by their numbers.
        bad: Vec<u32>,
    },
}

/// What is known of the bad blocks of a piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Inquiry {
    /// These: the leaves are known from an earlier time.
    Known(Vec<u32>),
    /// The leaves are being asked for.
    Open,
    /// Too many others are.
    Full,
}

/// A peer's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HashFault {
    /// It was not asked.
    Unasked,
    /// It gave something else than it was asked for.
    Wrong,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HashFetch {
    /// Files whose layers are missing and not begun, from the last to the first.
    files: Vec<usize>,
    /// By root: files of the same bytes need it but once.
    layers: BTreeMap<Hash, Collection>,
    inquests: BTreeMap<PieceIndex, Inquest>,
    foreseen: BTreeMap<PieceIndex, Foreseen>,
    /// Leaves of pieces that are under way, or being mended.
    proven: BTreeMap<PieceIndex, Vec<Hash>>,
    sources: BTreeMap<PeerKey, Source>,
    /// How many sources there have been.
    numbered: u64,
    asked: BTreeMap<(PeerKey, HashRequest), (Goal, Time)>,
}

impl HashFetch {
    /// Every piece layer that this info lacks is wanted.
    pub(super) fn want_layers(&mut self, info: &Info) {
        self.files = info.missing_layers().collect();
        self.files.reverse();
    }

    /// How many layers are missing, those of files with the same bytes counted once as soon as they are begun.
    pub(super) fn missing_layers(&self) -> usize {
        self.files.len() + self.layers.len()
    }

    /// This peer may be asked; no news if it was before.
    pub(super) fn add_source(&mut self, now: Time, peer: PeerKey) {
        let number = self.numbered;
        self.numbered += 1;
        self.sources.entry(peer).or_insert_with(|| Source {
            resting_until: now,
            owes_layers: 0,
            owes_leaves: 0,
            failed_layers: 0,
            failed_leaves: 0,
            withholds: false,
            late: VecDeque::new(),
            number,
        });
    }

    /// This peer is gone.
    pub(super) fn remove_source(&mut self, peer: PeerKey) {
        self.sources.remove(&peer);
        self.foreseen.retain(|_, foreseen| foreseen.giver != peer);
        let owed: Vec<_> = self.asked.keys().filter(|(of, _)| *of == peer).copied().collect();
        for key in owed {
            self.take_back(&key);
        }
    }

    /// Blocks of this piece are asked of a peer that has yet to prove itself: its leaves are wanted, if the peer gives them, before the blocks are here.
    /// `under_way`: whether a piece is begun and not whole.
    pub(super) fn foresee(
        &mut self,
        info: &Info,
        piece: PieceIndex,
        giver: PeerKey,
        under_way: impl Fn(PieceIndex) -> bool,
    ) {
        let known = self.proven.contains_key(&piece)
            || self.foreseen.contains_key(&piece)
            || self.inquests.contains_key(&piece);
        if known || self.sources.get(&giver).is_none_or(|source| source.withholds) {
            return;
        }
        if self.foreseen.len() + self.proven.len() >= MAX_FORESEEN {
            self.foreseen.retain(|&piece, _| under_way(piece));
            self.proven.retain(|&piece, _| under_way(piece));
            if self.foreseen.len() + self.proven.len() >= MAX_FORESEEN {
                return;
            }
        }
        if let Some(wanted) = Collection::leaves_of(info, piece) {
            self.foreseen.insert(piece, Foreseen { wanted, giver, arrived: Vec::new() });
        }
    }

    /// Whether this block, which has come, is known to be wrong. `found`: its leaf. If the leaves are on their way still, that is seen when they come.
    pub(super) fn is_wrong(
        &mut self,
        piece: PieceIndex,
        number: u32,
        from: Culprit,
        found: impl FnOnce() -> Hash,
    ) -> bool {
        if let Some(right) = self.proven.get(&piece).and_then(|leaves| leaves.get(number as usize)) {
            return found() != *right;
        }
        if let Some(foreseen) = self.foreseen.get_mut(&piece) {
            foreseen.arrived.push((number, found(), from));
        }
        false
    }

    /// This piece is wrong and `found` are the leaves of its blocks, which these sent: which blocks are it?
    pub(super) fn inquire(
        &mut self,
        now: Time,
        info: &Info,
        piece: PieceIndex,
        found: Vec<Hash>,
        senders: BTreeSet<Culprit>,
    ) -> Inquiry {
        if let Some(proven) = self.proven.get(&piece) {
            return Inquiry::Known(differing(proven, &found));
        }
        if self.inquests.len() >= MAX_PIECES
            || self.inquests.len() + self.proven.len() >= MAX_PIECES + MAX_FORESEEN
        {
            return Inquiry::Full;
        }
        // Whoever was asked beforehand may answer yet.
        let foreseen = self.foreseen.remove(&piece).map(|foreseen| foreseen.wanted);
        let Some(wanted) = foreseen.or_else(|| Collection::leaves_of(info, piece)) else {
            return Inquiry::Full;
        };
        let (until, deadline) = (now + LEAVES_WAIT, now + MAX_LEAVES_WAIT);
        let inquest = Inquest { wanted, found, until, deadline, senders, refused: BTreeSet::new() };
        self.inquests.insert(piece, inquest);
        Inquiry::Open
    }

    /// The piece is whole and right, or all of it is fetched anew.
    pub(super) fn close(&mut self, piece: PieceIndex) {
        self.inquests.remove(&piece);
        self.foreseen.remove(&piece);
        self.proven.remove(&piece);
    }

    /// What to do now.
    pub(super) fn plan(&mut self, now: Time, info: &Info, peers: &Peers) -> Plan {
        self.expire(now);
        self.begin_files(info);
        let mut requests = Vec::new();
        let pieces: Vec<_> = self.inquests.keys().copied().collect();
        for &piece in &pieces {
            self.ask_for_leaves(now, piece, peers, &mut requests);
        }
        self.ask_beforehand(now, &mut requests);
        self.ask_for_layers(now, peers, &mut requests);
        let mut hopeless = Vec::new();
        for piece in pieces {
            if self.is_hopeless(now, piece, peers)
                && let Some(inquest) = self.inquests.remove(&piece)
            {
                hopeless.push((piece, inquest.found));
            }
        }
        Plan { requests, hopeless }
    }

    /// Hashes came.
    ///
    /// # Errors
    /// If the peer was not asked, or they are wrong: then they are thrown away.
    pub(super) fn received(
        &mut self,
        now: Time,
        info: &Info,
        peer: PeerKey,
        request: HashRequest,
        hashes: &[Hash],
    ) -> Result<Progress, HashFault> {
        let goal = self.settle(peer, request)?;
        let collection = match goal {
            Goal::Layer { root, .. } => self.layers.get_mut(&root),
            Goal::Leaves { piece, .. } => self.leaves_wanted(piece),
        };
        let (Goal::Layer { part, .. } | Goal::Leaves { part, .. }) = goal;
        // Another was faster, or it is not needed any more.
        let Some(collection) = collection else { return Ok(Progress::More) };
        let file = collection.file;
        let Some(part) = collection.parts.get_mut(part).filter(|part| part.hashes.is_none()) else {
            return Ok(Progress::More);
        };
        match info.check_hashes(file, &part.range, hashes) {
            Ok(proven) => part.hashes = Some(proven.to_vec()),
            Err(WrongHashes::Unprovable) => return Ok(Progress::More),
            Err(_) => return Err(HashFault::Wrong),
        }
        let Some(whole) = collection.whole() else {
            if let Goal::Leaves { piece, .. } = goal
                && let Some(inquest) = self.inquests.get_mut(&piece)
            {
                inquest.until = now + LEAVES_WAIT;
            }
            return Ok(Progress::More);
        };
        match goal {
            Goal::Layer { root, .. } => {
                self.layers.remove(&root);
                // Proven range by range, so it can't be wrong now.
                let _ = info.set_layer(file, whole);
                Ok(Progress::Layer)
            }
            Goal::Leaves { piece, .. } => {
                let progress = if let Some(Inquest { found, .. }) = self.inquests.remove(&piece) {
                    Progress::Leaves { piece, bad: differing(&whole, &found), found }
                } else {
                    let arrived = self.foreseen.remove(&piece).map(|it| it.arrived).unwrap_or_default();
                    let wrong =
                        |(number, leaf, _): &(u32, Hash, _)| whole.get(*number as usize) != Some(leaf);
                    Progress::Liars(arrived.into_iter().filter(wrong).map(|(_, _, from)| from).collect())
                };
                self.proven.insert(piece, whole);
                Ok(progress)
            }
        }
    }

    /// The peer does not give these.
    ///
    /// # Errors
    /// If it was not asked.
    pub(super) fn rejected(
        &mut self,
        now: Time,
        peer: PeerKey,
        request: HashRequest,
    ) -> Result<(), HashFault> {
        let goal = self.settle(peer, request)?;
        self.refused(now, peer, goal);
        Ok(())
    }

    // -- within

    /// Crosses a request off; what it was for.
    fn settle(&mut self, peer: PeerKey, request: HashRequest) -> Result<Goal, HashFault> {
        if let Some(goal) = self.take_back(&(peer, request)) {
            return Ok(goal);
        }
        let late = self.sources.get_mut(&peer).map(|source| &mut source.late).ok_or(HashFault::Unasked)?;
        let at = late.iter().position(|late| late.request == request).ok_or(HashFault::Unasked)?;
        let (goal, answers) = (late[at].goal, late[at].answers);
        if answers > 1 {
            late[at].answers -= 1;
        } else {
            late.remove(at);
        }
        Ok(goal)
    }

    fn refused(&mut self, now: Time, peer: PeerKey, goal: Goal) {
        match goal {
            Goal::Layer { .. } => {
                if let Some(source) = self.sources.get_mut(&peer) {
                    let rests = source.resting_until > now;
                    source.failed_layers = source.failed_layers.saturating_add(u32::from(!rests));
                    source.resting_until = now + REFUSED_WAIT;
                }
            }
            Goal::Leaves { piece, .. } => {
                if let Some(inquest) = self.inquests.get_mut(&piece) {
                    inquest.refused.insert(peer);
                }
                let was_beforehand = self.foreseen.get(&piece).is_some_and(|foreseen| foreseen.giver == peer);
                if was_beforehand {
                    self.foreseen.remove(&piece);
                }
                if let Some(source) = self.sources.get_mut(&peer) {
                    source.withholds |= was_beforehand;
                    source.failed_leaves = source.failed_leaves.saturating_add(u32::from(!was_beforehand));
                }
            }
        }
    }

    fn take_back(&mut self, key: &(PeerKey, HashRequest)) -> Option<Goal> {
        let (goal, _) = self.asked.remove(key)?;
        if let Some(source) = self.sources.get_mut(&key.0) {
            match goal {
                Goal::Layer { .. } => source.owes_layers = source.owes_layers.saturating_sub(1),
                Goal::Leaves { .. } => source.owes_leaves = source.owes_leaves.saturating_sub(1),
            }
        }
        let (collection, part) = match goal {
            Goal::Layer { root, part } => (self.layers.get_mut(&root), part),
            Goal::Leaves { piece, part } => (self.leaves_wanted(piece), part),
        };
        if let Some(part) = collection.and_then(|collection| collection.parts.get_mut(part)) {
            part.askers = part.askers.saturating_sub(1);
        }
        Some(goal)
    }

    /// The leaves of this piece, if some are missing and wanted.
    fn leaves_wanted(&mut self, piece: PieceIndex) -> Option<&mut Collection> {
        let foreseen = self.foreseen.get_mut(&piece).map(|foreseen| &mut foreseen.wanted);
        self.inquests.get_mut(&piece).map(|inquest| &mut inquest.wanted).or(foreseen)
    }

    fn expire(&mut self, now: Time) {
        let is_over = |goal: &Goal, at: Time| match goal {
            Goal::Layer { .. } => now - at >= LAYER_TIMEOUT,
            Goal::Leaves { .. } => now - at >= LEAVES_TIMEOUT,
        };
        let over: Vec<_> =
            self.asked.iter().filter(|(_, (goal, at))| is_over(goal, *at)).map(|(key, _)| *key).collect();
        for key in over {
            let Some(goal) = self.take_back(&key) else { continue };
            if let Some(source) = self.sources.get_mut(&key.0) {
                source.is_late(key.1, goal);
            }
            self.refused(now, key.0, goal);
        }
    }

    fn begin_files(&mut self, info: &Info) {
        while self.layers.len() < MAX_FILES {
            let Some(file) = self.files.pop() else { return };
            // Another file of the same bytes may have brought it.
            let missing = info.tree(file).filter(|_| info.layer(file).is_none());
            if let Some(tree) = missing {
                let collection = || Collection::new(file, tree.root, tree.piece_layer_ranges());
                self.layers.entry(tree.root).or_insert_with(collection);
            }
        }
    }

    /// Whoever has the piece must be able to give its leaves. First those who did not send it, then those that failed least.
    fn ask_for_leaves(
        &mut self,
        now: Time,
        piece: PieceIndex,
        peers: &Peers,
        requests: &mut Vec<(PeerKey, HashRequest)>,
    ) {
        let Some(inquest) = self.inquests.get_mut(&piece) else { return };
        for (number, part) in inquest.wanted.parts.iter_mut().enumerate() {
            let request = request(&inquest.wanted.root, &part.range);
            while part.hashes.is_none() && part.askers < MAX_ASKED_FOR_LEAVES {
                let able = self.sources.iter_mut().filter(|(key, source)| {
                    source.owes_leaves < LEAVES_DEPTH
                        && has(peers, **key, piece)
                        && !inquest.refused.contains(key)
                        && !self.asked.contains_key(&(**key, request))
                });
                let rank = |key, source: &Source| {
                    let peer = peers.get(key);
                    let is_sender = peer.is_some_and(|peer| inquest.senders.contains(&peer.culprit()));
                    let is_seed = peer.is_some_and(Peer::is_seed);
                    (is_sender, source.failed_leaves, !is_seed, source.owes_leaves, source.number)
                };
                let Some((&peer, source)) = able.min_by_key(|(key, source)| rank(**key, source)) else {
                    break;
                };
                source.owes_leaves += 1;
                part.askers += 1;
                self.asked.insert((peer, request), (Goal::Leaves { piece, part: number }, now));
                requests.push((peer, request));
            }
        }
    }

    /// The giver alone: it has the piece, and whoever else is asked has work that is not for its own sake. Mostly nothing is wrong.
    fn ask_beforehand(&mut self, now: Time, requests: &mut Vec<(PeerKey, HashRequest)>) {
        for (&piece, Foreseen { wanted, giver, .. }) in &mut self.foreseen {
            let Some(source) = self.sources.get_mut(giver) else { continue };
            let root = wanted.root;
            for (number, part) in wanted.parts.iter_mut().enumerate() {
                let request = request(&root, &part.range);
                let is_due = part.hashes.is_none() && part.askers == 0 && source.owes_leaves < LEAVES_DEPTH;
                if is_due && !self.asked.contains_key(&(*giver, request)) {
                    source.owes_leaves += 1;
                    part.askers += 1;
                    self.asked.insert((*giver, request), (Goal::Leaves { piece, part: number }, now));
                    requests.push((*giver, request));
                }
            }
        }
    }

    /// Its time is up and nobody is left to ask, or it is up for good, or something is missing that nobody owes us nor will.
    fn is_hopeless(&self, now: Time, piece: PieceIndex, peers: &Peers) -> bool {
        let Some(inquest) = self.inquests.get(&piece) else { return false };
        let able = |key: &PeerKey| has(peers, *key, piece) && !inquest.refused.contains(key);
        let unasked = |part: &Part| part.hashes.is_none() && part.askers == 0;
        let is_over = inquest.until <= now;
        let is_waiting_for_nobody = || is_over || inquest.wanted.parts.iter().any(unasked);
        (is_over && inquest.deadline <= now) || (is_waiting_for_nobody() && !self.sources.keys().any(able))
    }

    /// Of those that failed least: a seed has them for certain; others may. Whoever is here longest comes first, so that nobody can push in
    /// by coming back.
    fn ask_for_layers(&mut self, now: Time, peers: &Peers, requests: &mut Vec<(PeerKey, HashRequest)>) {
        let is_seed = |key: &PeerKey| peers.get(*key).is_some_and(Peer::is_seed);
        let missing = self.layers.iter_mut().flat_map(|(root, collection)| {
            let parts = collection.parts.iter_mut().enumerate();
            parts.filter(|(_, part)| part.hashes.is_none() && part.askers == 0).map(|part| (*root, part))
        });
        for (root, (number, part)) in missing {
            let request = request(&root, &part.range);
            let able =
                self.sources.iter_mut().filter(|(_, s)| s.resting_until <= now && s.owes_layers < DEPTH);
            let rank = |key: &PeerKey, source: &Source| {
                (source.failed_layers, !is_seed(key), source.owes_layers, source.number)
            };
            let Some((&peer, source)) = able.min_by_key(|(key, source)| rank(key, source)) else { return };
            source.owes_layers += 1;
            part.askers += 1;
            self.asked.insert((peer, request), (Goal::Layer { root, part: number }, now));
            requests.push((peer, request));
        }
    }
}

impl Source {
    /// It owes us this no longer, and may give it all the same.
    fn is_late(&mut self, request: HashRequest, goal: Goal) {
        if let Some(known) = self.late.iter_mut().find(|late| late.request == request) {
            known.goal = goal;
            known.answers = known.answers.saturating_add(1);
            return;
        }
        if self.late.len() >= MAX_LATE {
            self.late.pop_front();
        }
        self.late.push_back(Late { request, goal, answers: 1 });
    }
}

impl Collection {
    fn new(file: usize, root: Hash, ranges: impl Iterator<Item = HashRange>) -> Self {
        let parts = ranges.map(|range| Part { range, hashes: None, askers: 0 }).collect();
        Self { file, root, parts }
    }

    /// The leaves of a piece; `None` if it has but one, or the torrent has none.
    fn leaves_of(info: &Info, piece: PieceIndex) -> Option<Self> {
        let (file, number) = info.file_piece(piece)?;
        let tree = info.tree(file)?;
        let wanted = Self::new(file, tree.root, tree.leaf_ranges(number));
        (!wanted.parts.is_empty()).then_some(wanted)
    }

    /// All hashes in order, once they are here.
    fn whole(&self) -> Option<Vec<Hash>> {
        let parts: Option<Vec<_>> = self.parts.iter().map(|part| part.hashes.as_deref()).collect();
        Some(parts?.concat())
    }
}

fn has(peers: &Peers, key: PeerKey, piece: PieceIndex) -> bool {
    peers.get(key).is_some_and(|peer| peer.has(piece))
}

fn request(root: &Hash, range: &HashRange) -> HashRequest {
    HashRequest {
        root: *root,
        base_layer: range.base_layer,
        index: range.index,
        length: range.length,
        proof_layers: range.proof_layers,
    }
}

/// The numbers of the leaves that are not as they should be.
fn differing(proven: &[Hash], found: &[Hash]) -> Vec<u32> {
    (0..).zip(proven.iter().zip(found)).filter(|(_, (good, found))| good != found).map(|(n, _)| n).collect()
}
