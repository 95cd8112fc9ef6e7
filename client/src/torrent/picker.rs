//! Which block to ask a peer for: [`Picker`].
//!
//! Rarest first keeps every piece alive in the swarm (Legout et al. 2006: diversity close to ideal). In order:
//! 1. a block of a piece that is started, the peer's own first: only whole pieces can be traded on. But not while the peer has a
//!    rarer one that is not: else a seed's upload goes into finishing what many others could finish;
//! 2. a new piece: at random while we have next to nothing (BEP 3: something to trade, soon), else the rarest; by number if the user
//!    wants to read along;
//! 3. in the endgame, when every block is asked for somewhere: one that a slower peer owes us. At most two peers are asked for a
//!    block, so that the last percent costs next to no duplicates.
//!
//! The pieces that are wanted and not started stand in one array, sorted by availability, with the borders of the classes beside it: a
//! `have` moves one piece over one border, and the rarest is at the front. Within a class the start is random, so that peers
//! with the same view do not all fetch the same piece.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use torrent_format::{BLOCK_LENGTH, Bitfield, Block, Layout, PieceIndex};

use super::Time;
use super::blame::Culprit;
use super::config::Ablation;
use super::peers::PeerKey;

/// While we have fewer pieces than this, new ones are picked at random (BEP 3; libtorrent's `initial_picker_threshold` is 4 too).
const RANDOM_FIRST_PIECES: u32 = 4;

/// In the endgame, no block is asked of more peers than this.
const MAX_REQUESTERS: usize = 2;

/// While so many pieces are started, no other is, however rare: they hold memory.
const MAX_PARTIALS: usize = 200;

/// How long only peers that had no part in a failed piece may fetch it again. After that anyone may: they could be all there are.
const SUSPECTS_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

/// What is known of a piece that is started.
#[derive(Debug)]
pub(super) struct Partial {
    blocks: Vec<BlockState>,
    free: u32,
    missing: u32,
    /// All blocks are here, and it is being hashed.
    verifying: bool,
    /// An earlier copy was bad: what is missing comes from one peer, so that a bad copy has one sender.
    exclusive: Option<Exclusive>,
}

/// How long one peer may take alone over a piece that failed. After that it is anybody's; digests find a liar still.
const OWNER_TIME: std::time::Duration = std::time::Duration::from_secs(60);

#[derive(Debug)]
struct Exclusive {
    owner: Option<PeerKey>,
    suspects: BTreeSet<PeerKey>,
    since: Time,
}

#[derive(Clone, Copy, Debug)]
enum BlockState {
    Free,
    Requested([Option<PeerKey>; MAX_REQUESTERS]),
    Received { from: Culprit },
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) key: PeerKey,
    pub(super) pieces: &'a Bitfield,
    /// Only these, since it chokes us (BEP 6).
    pub(super) only: Option<&'a BTreeSet<PieceIndex>>,
    /// These rather than others that are as rare: it knows of what it has sent to those whom we don't see (BEP 6).
    pub(super) suggested: &'a VecDeque<PieceIndex>,
    /// Not these.
    pub(super) avoid: &'a BTreeSet<Block>,
    /// The piece that it was asked for last.
    pub(super) current: Option<PieceIndex>,
    /// It has the whole torrent, so what it alone has must not be fetched twice.
    pub(super) is_seed: bool,
    /// Only what no more peers have than so many, since enough of the rest is asked for.
    pub(super) at_most: Option<u32>,
}

/// What [`Picker::received`] says of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Receipt {
    /// Keep it. `whole`: it was the last of its piece. `others`: peers that were asked for it too.
    New { whole: bool, others: Vec<PeerKey> },
    /// We have it, or don't want it.
    Unneeded,
}

#[derive(Debug)]
pub(super) struct Picker {
    layout: Arc<Layout>,
    have: Bitfield,
    wanted: Bitfield,
    /// How many peers have each piece; those that came with everything are counted in `seeds` instead.
    availability: Vec<u32>,
    seeds: u32,
    /// Pieces that are wanted, missing and not started, ascending by availability.
    order: Vec<PieceIndex>,
    /// `order[position[p]] == p`, or `NOWHERE`.
    position: Vec<u32>,
    /// `starts[a]` is where pieces of availability `a` start in `order`; the last class ends with it.
    starts: Vec<u32>,
    partials: BTreeMap<PieceIndex, Partial>,
    free_blocks: u32,
    rng: fastrand::Rng,
    sequential: bool,
    random: bool,
    endgame: bool,
    takes_over: bool,
}

const NOWHERE: u32 = u32::MAX;

impl Picker {
    pub(super) fn new(layout: Arc<Layout>, have: Bitfield, wanted: Bitfield, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut order: Vec<_> = layout.pieces().filter(|&p| wanted.has(p) && !have.has(p)).collect();
        rng.shuffle(&mut order);
        let count = layout.piece_count() as usize;
        let mut position = vec![NOWHERE; count];
        for (at, piece) in order.iter().enumerate() {
            position[piece.as_usize()] = at as u32;
        }
        Self {
            have,
            wanted,
            availability: vec![0; count],
            seeds: 0,
            order,
            position,
            starts: vec![0],
            partials: BTreeMap::new(),
            free_blocks: 0,
            rng,
            sequential: false,
            random: false,
            endgame: true,
            takes_over: true,
            layout,
        }
    }

    /// Pieces in order of their number.
    pub(super) fn set_sequential(&mut self, on: bool) {
        self.sequential = on;
    }

    /// For experiments: see [`super::Ablation`].
    pub(super) fn set_ablation(&mut self, ablation: Ablation) {
        self.random = ablation.random_picker;
        self.endgame = !ablation.no_endgame;
        self.takes_over = !ablation.no_take_over;
    }

    // -- what is there

    pub(super) fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Whether every wanted piece is verified.
    pub(super) fn is_complete(&self) -> bool {
        self.order.is_empty() && self.partials.is_empty()
    }

    /// Whether we want this piece and have not verified it.
    pub(super) fn needs(&self, piece: PieceIndex) -> bool {
        self.wanted.has(piece) && !self.have.has(piece)
    }

    /// How many of these pieces we need.
    pub(super) fn count_needed(&self, pieces: &Bitfield) -> u32 {
        self.order.iter().chain(self.partials.keys()).filter(|&&piece| pieces.has(piece)).count() as u32
    }

    /// How many connected peers have this piece.
    pub(super) fn availability(&self, piece: PieceIndex) -> u32 {
        self.availability[piece.as_usize()] + self.seeds
    }

    /// How many of the pieces that we need no connected peer has.
    pub(super) fn count_unavailable(&self) -> u32 {
        if self.seeds > 0 {
            return 0;
        }
        let needed = self.order.iter().chain(self.partials.keys());
        needed.filter(|&&piece| self.availability(piece) == 0 && !self.is_verifying(piece)).count() as u32
    }

    /// The pieces that we need and that one connected peer alone has.
    pub(super) fn last_copies(&self) -> Vec<PieceIndex> {
        let needed = self.order.iter().chain(self.partials.keys());
        needed.copied().filter(|&piece| self.availability(piece) == 1).collect()
    }

    /// Whether we have something that no connected peer has.
    pub(super) fn has_last_copy(&self) -> bool {
        self.seeds == 0
            && self
                .layout
                .pieces()
                .any(|piece| self.have.has(piece) && self.availability[piece.as_usize()] == 0)
    }

    // -- who has what

    pub(super) fn seed_came(&mut self) {
        self.seeds += 1;
    }

    pub(super) fn seed_left(&mut self) {
        self.seeds -= 1;
    }

    /// A peer has got this piece.
    pub(super) fn gained(&mut self, piece: PieceIndex) {
        let class = self.availability[piece.as_usize()];
        self.availability[piece.as_usize()] += 1;
        if self.position[piece.as_usize()] != NOWHERE {
            self.move_up(piece, class);
        }
    }

    /// A peer that had this piece is gone.
    pub(super) fn lost(&mut self, piece: PieceIndex) {
        let class = self.availability[piece.as_usize()];
        self.availability[piece.as_usize()] -= 1;
        if self.position[piece.as_usize()] != NOWHERE {
            self.move_down(piece, class);
        }
    }

    // -- picking

    /// The next block to ask this peer for, marked as asked. `slower(holder)`: whether the holder of a request will likely be slower to answer
    /// than the asker would be; it decides who is relieved in the endgame.
    pub(super) fn pick(
        &mut self,
        now: Time,
        asker: Asker<'_>,
        slower: impl Fn(PeerKey) -> bool,
    ) -> Option<Block> {
        let piece = self.pick_piece(now, asker);
        let number = match piece {
            Some(piece) => Some((piece, self.partials[&piece].first_free(piece, asker.avoid)?)),
            None if self.is_endgame() => self.pick_endgame(now, asker, slower),
            None => None,
        };
        let (piece, number) = number?;
        let partial = self.partials.get_mut(&piece)?;
        match &mut partial.blocks[number as usize] {
            state @ BlockState::Free => {
                *state = BlockState::Requested([Some(asker.key), None]);
                partial.free -= 1;
                self.free_blocks -= 1;
            }
            BlockState::Requested(holders) => {
                *holders.iter_mut().find(|holder| holder.is_none())? = Some(asker.key);
            }
            BlockState::Received { .. } => return None,
        }
        if let Some(exclusive) = &mut partial.exclusive {
            exclusive.owner = Some(asker.key);
        }
        Some(self.layout.block(piece, number))
    }

    /// A piece with a free block that the asker may be asked for, started if it was not.
    fn pick_piece(&mut self, now: Time, asker: Asker<'_>) -> Option<PieceIndex> {
        if asker.at_most.is_some() && (self.sequential || self.random) {
            return None;
        }
        let allowed = |piece: PieceIndex| {
            asker.pieces.has(piece)
                && asker.only.is_none_or(|only| only.contains(&piece))
                && asker.at_most.is_none_or(|most| self.availability(piece) <= most)
        };
        let open = |piece: PieceIndex, partial: &Partial| {
            partial.free > 0
                && allowed(piece)
                && partial.may_ask(now, asker.key)
                && (asker.avoid.is_empty() || partial.first_free(piece, asker.avoid).is_some())
        };
        if let Some(current) = asker.current
            && self.partials.get(&current).is_some_and(|partial| open(current, partial))
        {
            return Some(current);
        }
        // The rarest that is started, and of those the one that is nearest to being whole.
        let none_free = self.free_blocks == 0;
        let started = self
            .partials
            .iter()
            .take_while(|_| !none_free)
            .filter(|&(&piece, partial)| open(piece, partial))
            .min_by_key(|&(&piece, partial)| (self.availability[piece.as_usize()], partial.missing, piece))
            .map(|(&piece, _)| piece);
        // Started pieces first, but within equal rarity only: a seed's upload is too dear to finish what many others have.
        if let Some(started) = started
            && (self.partials.len() >= MAX_PARTIALS || !self.has_rarer(started, asker))
        {
            return Some(started);
        }
        let piece = match asker.only {
            Some(only) => {
                only.iter().copied().find(|&p| self.position[p.as_usize()] != NOWHERE && asker.pieces.has(p))
            }
            None => self.pick_new(asker),
        };
        let Some(piece) = piece else { return started };
        self.start(piece);
        Some(piece)
    }

    /// Whether the asker has a piece that is rarer than this and not started.
    fn has_rarer(&self, piece: PieceIndex, asker: Asker<'_>) -> bool {
        let class = self.availability[piece.as_usize()] as usize;
        let rarer = self.starts.get(class).map_or(self.order.len(), |&start| start as usize);
        !self.sequential
            && !self.random
            && asker.only.is_none()
            && self.order[..rarer].iter().any(|&piece| asker.pieces.has(piece))
    }

    /// A piece that is not started.
    fn pick_new(&mut self, asker: Asker<'_>) -> Option<PieceIndex> {
        if self.sequential {
            return self
                .layout
                .pieces()
                .find(|&p| self.position[p.as_usize()] != NOWHERE && asker.pieces.has(p));
        }
        let end = asker.at_most.map_or(self.order.len(), |most| {
            most.checked_sub(self.seeds).map_or(0, |class| self.class_end(class as usize))
        });
        // From a seed even the first pieces are the rarest: those that only it has, and that everybody waits for.
        if self.random || (self.have.count() < RANDOM_FIRST_PIECES && !asker.is_seed) {
            return self.find_from_random(0, end, asker.pieces);
        }
        for class in 0..self.starts.len() {
            let (from, to) = (self.starts[class] as usize, self.class_end(class).min(end));
            if from >= to {
                continue;
            }
            let is_here = |piece: &&PieceIndex| {
                (from..to).contains(&(self.position[piece.as_usize()] as usize)) && asker.pieces.has(**piece)
            };
            if let Some(&piece) = asker.suggested.iter().find(is_here) {
                return Some(piece);
            }
            if let Some(piece) = self.find_from_random(from, to, asker.pieces) {
                return Some(piece);
            }
        }
        None
    }

    /// The first of `order[from..to]` that is in `pieces`, looking round from a random start.
    fn find_from_random(&mut self, from: usize, to: usize, pieces: &Bitfield) -> Option<PieceIndex> {
        if from == to {
            return None;
        }
        let start = self.rng.usize(from..to);
        self.order[start..to].iter().chain(&self.order[from..start]).copied().find(|&piece| pieces.has(piece))
    }

    /// Every wanted block is here or asked for.
    pub(super) fn is_endgame(&self) -> bool {
        self.endgame && self.order.is_empty() && self.free_blocks == 0
    }

    fn pick_endgame(
        &self,
        now: Time,
        asker: Asker<'_>,
        slower: impl Fn(PeerKey) -> bool,
    ) -> Option<(PieceIndex, u32)> {
        let allowed = |piece: PieceIndex| {
            asker.pieces.has(piece) && asker.only.is_none_or(|only| only.contains(&piece))
        };
        self.partials
            .iter()
            .filter(|(piece, partial)| allowed(**piece) && partial.may_ask(now, asker.key))
            .find_map(|(&piece, partial)| {
                let (number, _) = (0..).zip(&partial.blocks).find(|&(number, block)| match block {
                    BlockState::Requested([Some(holder), None]) => {
                        *holder != asker.key && slower(*holder) && !holds(asker.avoid, piece, number)
                    }
                    _ => false,
                })?;
                Some((piece, number))
            })
    }

    /// A block that was asked of another peer, and of which the asker is to be asked instead; marked so. `idles(holder, block)`: whether the
    /// holder has let it lie for a while.
    pub(super) fn take_over(
        &mut self,
        now: Time,
        asker: Asker<'_>,
        idles: impl Fn(PeerKey, Block) -> bool,
    ) -> Option<(Block, PeerKey)> {
        if !self.takes_over {
            return None;
        }
        let allowed = |piece: PieceIndex| {
            asker.pieces.has(piece) && asker.only.is_none_or(|only| only.contains(&piece))
        };
        let open = self.partials.iter_mut().filter(|(piece, partial)| {
            partial.exclusive.is_none()
                && !partial.verifying
                && allowed(**piece)
                && partial.may_ask(now, asker.key)
        });
        for (&piece, partial) in open {
            for (number, state) in (0..).zip(&mut partial.blocks) {
                let BlockState::Requested(holders @ [Some(_), None]) = state else { continue };
                let block = self.layout.block(piece, number);
                let holder = holders[0]?;
                if holder != asker.key && !asker.avoid.contains(&block) && idles(holder, block) {
                    *holders = [Some(asker.key), None];
                    return Some((block, holder));
                }
            }
        }
        None
    }

    // -- what came of it

    /// This peer will not send this block (it choked, rejected, timed out, left).
    pub(super) fn release(&mut self, block: Block, peer: PeerKey) {
        let Some(partial) = self.partials.get_mut(&block.piece) else { return };
        if let BlockState::Requested(holders) = &mut partial.blocks[block.number() as usize] {
            for holder in &mut *holders {
                if *holder == Some(peer) {
                    *holder = None;
                }
            }
            holders.sort_by_key(Option::is_none);
            if holders[0].is_none() {
                partial.blocks[block.number() as usize] = BlockState::Free;
                partial.free += 1;
                self.free_blocks += 1;
                self.unstart_if_empty(block.piece);
            }
        }
    }

    /// A piece of which nothing is here nor asked for is as good as any other that is as rare: not to be preferred as those that are started. A seed
    /// that choked us may have sent it to somebody else by now, and suggest another (BEP 6).
    fn unstart_if_empty(&mut self, piece: PieceIndex) {
        let is_empty =
            |partial: &&Partial| partial.exclusive.is_none() && partial.free as usize == partial.blocks.len();
        if let Some(partial) = self.partials.get(&piece).filter(is_empty) {
            self.free_blocks -= partial.free;
            self.partials.remove(&piece);
            self.insert(piece);
        }
    }

    /// This peer can't go on with what it alone was to fetch.
    pub(super) fn disown(&mut self, peer: PeerKey) {
        for partial in self.partials.values_mut() {
            if let Some(exclusive) = &mut partial.exclusive
                && exclusive.owner == Some(peer)
            {
                exclusive.owner = None;
            }
        }
    }

    /// A block came from this peer.
    pub(super) fn received(&mut self, block: Block, peer: PeerKey, from: Culprit) -> Receipt {
        // It was given up, and on its way.
        if self.position[block.piece.as_usize()] != NOWHERE {
            self.start(block.piece);
        }
        let Some(partial) = self.partials.get_mut(&block.piece) else { return Receipt::Unneeded };
        let state = &mut partial.blocks[block.number() as usize];
        let others = match state {
            BlockState::Received { .. } => return Receipt::Unneeded,
            BlockState::Free => {
                partial.free -= 1;
                self.free_blocks -= 1;
                Vec::new()
            }
            BlockState::Requested(holders) => {
                holders.iter().flatten().copied().filter(|&key| key != peer).collect()
            }
        };
        *state = BlockState::Received { from };
        partial.missing -= 1;
        partial.verifying = partial.missing == 0;
        Receipt::New { whole: partial.verifying, others }
    }

    /// Whether all blocks of the piece are here, and it is not verified.
    pub(super) fn is_verifying(&self, piece: PieceIndex) -> bool {
        self.partials.get(&piece).is_some_and(|partial| partial.verifying)
    }

    /// Whether the piece is begun and not verified.
    pub(super) fn is_under_way(&self, piece: PieceIndex) -> bool {
        self.partials.contains_key(&piece)
    }

    /// Who sent each block of a piece that is being hashed.
    pub(super) fn senders(&self, piece: PieceIndex) -> Vec<Culprit> {
        let blocks = self.partials.get(&piece).map_or(&[][..], |partial| &partial.blocks);
        let sender = |block: &BlockState| match block {
            BlockState::Received { from } => Some(*from),
            _ => None,
        };
        blocks.iter().filter_map(sender).collect()
    }

    /// The piece's hash was right. `false`: it was not being hashed.
    pub(super) fn verified(&mut self, piece: PieceIndex) -> bool {
        if self.partials.get(&piece).is_none_or(|partial| !partial.verifying) {
            return false;
        }
        self.partials.remove(&piece);
        self.have.set(piece)
    }

    /// The piece's hash was wrong: these blocks of it are fetched again, from one peer, and not from `suspects` if it can be helped.
    pub(super) fn failed(
        &mut self,
        now: Time,
        piece: PieceIndex,
        blocks: &[u32],
        mut suspects: BTreeSet<PeerKey>,
    ) {
        self.drop_blocks(piece, blocks);
        let Some(partial) = self.partials.get_mut(&piece) else { return };
        // Time runs from the first failure: else liars who come one after another would keep an honest suspect out for ever.
        let since = partial.exclusive.take().map_or(now, |earlier| {
            suspects.extend(earlier.suspects);
            earlier.since
        });
        partial.exclusive = Some(Exclusive { owner: None, suspects, since });
    }

    /// Whether an earlier copy of this piece, which is fetched again, was wrong.
    pub(super) fn has_failed(&self, piece: PieceIndex) -> bool {
        self.partials.get(&piece).is_some_and(|partial| partial.exclusive.is_some())
    }

    /// These blocks of the piece that was being hashed are fetched again, the others are kept. Of no use for blocks that the piece does not have.
    pub(super) fn drop_blocks(&mut self, piece: PieceIndex, blocks: &[u32]) {
        let Some(partial) = self.partials.get_mut(&piece).filter(|partial| partial.verifying) else { return };
        for &number in blocks {
            if let Some(state @ BlockState::Received { .. }) = partial.blocks.get_mut(number as usize) {
                *state = BlockState::Free;
                partial.free += 1;
                partial.missing += 1;
                self.free_blocks += 1;
            }
        }
        partial.verifying = partial.missing == 0;
    }

    /// The piece that was being hashed is not whole here after all: all of it is fetched again.
    pub(super) fn restart(&mut self, piece: PieceIndex) {
        if let Some(partial) = self.partials.get_mut(&piece).filter(|partial| partial.verifying) {
            let count = partial.blocks.len() as u32;
            *partial = Partial { exclusive: partial.exclusive.take(), ..Partial::new(count) };
            self.free_blocks += count;
        }
    }

    /// A piece that was verified can't be read any more. It is fetched `again`, or no longer wanted. `false`: it was not there.
    pub(super) fn forget(&mut self, piece: PieceIndex, again: bool) -> bool {
        let was = self.have.clear(piece);
        if was && !again {
            self.wanted.clear(piece);
        } else if was && self.wanted.has(piece) {
            self.insert(piece);
        }
        was
    }

    // -- the array

    fn class_end(&self, class: usize) -> usize {
        self.starts.get(class + 1).map_or(self.order.len(), |&start| start as usize)
    }

    fn start(&mut self, piece: PieceIndex) {
        let mut class = self.availability[piece.as_usize()] as usize;
        // Pass it over every border to the very end.
        while class < self.starts.len() {
            let last = self.class_end(class) - 1;
            self.swap(self.position[piece.as_usize()] as usize, last);
            class += 1;
            if let Some(start) = self.starts.get_mut(class) {
                *start -= 1;
            }
        }
        self.order.pop();
        self.position[piece.as_usize()] = NOWHERE;
        let count = self.layout.block_count(piece);
        self.partials.insert(piece, Partial::new(count));
        self.free_blocks += count;
    }

    fn insert(&mut self, piece: PieceIndex) {
        self.position[piece.as_usize()] = self.order.len() as u32;
        self.order.push(piece);
        let home = self.availability[piece.as_usize()] as usize;
        while self.starts.len() <= home {
            // Classes that are still empty start before the newcomer, which belongs into the last of them.
            self.starts.push(self.order.len() as u32 - 1);
        }
        for class in (home + 1..self.starts.len()).rev() {
            let first = self.starts[class] as usize;
            self.swap(self.position[piece.as_usize()] as usize, first);
            self.starts[class] += 1;
        }
    }

    fn move_up(&mut self, piece: PieceIndex, class: u32) {
        let class = class as usize;
        if self.starts.len() <= class + 1 {
            self.starts.push(self.order.len() as u32);
        }
        let last = self.class_end(class) - 1;
        self.swap(self.position[piece.as_usize()] as usize, last);
        self.starts[class + 1] -= 1;
    }

    fn move_down(&mut self, piece: PieceIndex, class: u32) {
        let first = self.starts[class as usize] as usize;
        self.swap(self.position[piece.as_usize()] as usize, first);
        self.starts[class as usize] += 1;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.order.swap(a, b);
        self.position[self.order[a].as_usize()] = a as u32;
        self.position[self.order[b].as_usize()] = b as u32;
    }
}

impl Partial {
    fn new(blocks: u32) -> Self {
        Self {
            blocks: vec![BlockState::Free; blocks as usize],
            free: blocks,
            missing: blocks,
            verifying: false,
            exclusive: None,
        }
    }

    /// The first block that is free and not to be avoided.
    fn first_free(&self, piece: PieceIndex, avoid: &BTreeSet<Block>) -> Option<u32> {
        let free = (0..).zip(&self.blocks).filter(|(_, block)| matches!(block, BlockState::Free));
        free.map(|(number, _)| number).find(|&number| !holds(avoid, piece, number))
    }

    fn may_ask(&self, now: Time, peer: PeerKey) -> bool {
        self.exclusive.as_ref().is_none_or(|exclusive| match exclusive.owner {
            Some(owner) => owner == peer || now - exclusive.since > OWNER_TIME,
            None => !exclusive.suspects.contains(&peer) || now - exclusive.since > SUSPECTS_WAIT,
        })
    }
}

/// Whether this block, of whatever length, is among these.
fn holds(blocks: &BTreeSet<Block>, piece: PieceIndex, number: u32) -> bool {
    let least = Block { piece, begin: number * BLOCK_LENGTH, length: 0 };
    blocks.range(least..).next().is_some_and(|block| (block.piece, block.number()) == (piece, number))
}

#[cfg(test)]
mod tests;
