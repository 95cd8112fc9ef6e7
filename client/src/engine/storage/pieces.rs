//! Pieces on their way in: which blocks are held in memory, which of them have been hashed, and what must leave memory when it runs
//! short. No I/O: workers ask for steps and report them done.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use torrent_format::{BLOCK_LENGTH, Info, PieceIndex};

use super::hashing::PieceHasher;
use crate::engine::buffer::Buffer;

/// Blocks of a piece that must wait before a worker is woken to hash them: waking one for every block costs more than hashing it.
const HASH_RUN: u32 = 16;

/// Blocks hashed in one step, between two looks at the table.
const HASH_STEP: usize = 64;

/// Wrong pieces whose data is kept, until it is known which of their blocks are bad. Many more than honest peers cause; a swarm full of
/// liars is no reason to fill the disk with lies.
const MAX_REJECTED: usize = 64;

/// All pieces that have a block and no final verdict yet.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    assemblies: HashMap<PieceIndex, Assembly>,
    /// Oldest first.
    by_age: BTreeMap<u64, PieceIndex>,
    next_age: u64,
    /// Bytes of pieces that are being finished, until they are written: they leave memory without being pushed.
    leaving: usize,
}

#[derive(Debug)]
struct Assembly {
    age: u64,
    /// One a block; none while the piece is being finished.
    blocks: Vec<Slot>,
    arrived: u32,
    /// Blocks `0..ready` have all arrived.
    ready: u32,
    /// One flag a block: it has gone through `hasher`. If that takes them in order, they are set from the front on.
    hashed: Vec<bool>,
    hashed_count: u32,
    in_order: bool,
    /// `None` while a worker uses it.
    hasher: Option<PieceHasher>,
    state: State,
    /// A worker has it, or it is in the workers' queue. Meanwhile blocks may come, and, of a rejected piece, be thrown away.
    claimed: bool,
    /// There is work that its worker may have missed.
    again: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Blocks come.
    Open,
    /// Its verdict was asked for, which it may be once every block is there; with or without digests of a good piece.
    Asked { digests: bool },
    /// Every block has gone through the hasher, and a worker does what follows from that. So many bytes of it are in memory.
    Finishing { held: usize },
    /// Its hash is wrong. The blocks wait to be told which of them are.
    Rejected,
}

#[derive(Clone, Debug)]
enum Slot {
    Missing,
    Held(Arc<Buffer>),
    /// In its file already, evicted.
    Written,
}

/// A block as a worker gets it.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Held(Arc<Buffer>),
    /// To be read back from its file.
    Written,
}

/// What to do next for a claimed piece.
#[derive(Debug)]
pub(super) enum Step {
    /// Feed these blocks to the hasher, then [`Pieces::hashed`].
    Hash(PieceHasher, Vec<(u32, Content)>),
    /// Every block has gone through the hasher: [`Pieces::reject`] or [`Pieces::left`] follows.
    Finish(Finished),
    /// Nothing; the claim is given up.
    Idle,
}

/// A piece whose blocks have all gone through the hasher.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) hasher: PieceHasher,
    pub(super) blocks: Vec<Content>,
    /// Digests of the blocks are wanted even if it is good.
    pub(super) digests: bool,
}

/// Which blocks may be pushed out of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Evict {
    /// Those that have been hashed, from pieces that have at least so many bytes of them.
    Hashed(usize),
    /// Any: what is not hashed yet is read back later.
    Any,
}

impl Pieces {
    /// Takes a block in. True if the piece's worker is to be woken: `early`, as soon as it has a run of blocks; else [`Self::verify`] will.
    /// A block that is there already is dropped.
    pub(super) fn insert(
        &mut self,
        info: &Info,
        piece: PieceIndex,
        number: u32,
        data: Buffer,
        early: bool,
    ) -> bool {
        let assembly = self.assemblies.entry(piece).or_insert_with(|| {
            self.next_age += 1;
            self.by_age.insert(self.next_age, piece);
            Assembly::new(self.next_age, info.layout().block_count(piece), PieceHasher::new(info, piece))
        });
        let Some(slot @ Slot::Missing) = assembly.blocks.get_mut(number as usize) else { return false };
        *slot = Slot::Held(Arc::new(data));
        assembly.arrived += 1;
        assembly.count_ready();
        early && (assembly.is_complete() || assembly.unhashed() >= HASH_RUN) && assembly.claim()
    }

    /// The driver wants the verdict. True if the piece's worker is to be woken; `None` if blocks are missing.
    pub(super) fn verify(&mut self, piece: PieceIndex, digests: bool) -> Option<bool> {
        let assembly = self.assemblies.get_mut(&piece).filter(|assembly| assembly.is_complete())?;
        match assembly.state {
            State::Finishing { .. } => return None,
            State::Asked { .. } => {}
            State::Rejected => {
                assembly.drop_blocks(&[]);
                self.leaving += assembly.held_bytes();
            }
            State::Open => self.leaving += assembly.held_bytes(),
        }
        assembly.state = State::Asked { digests };
        Some(assembly.claim())
    }

    /// What to do next for a piece that the caller has claimed.
    pub(super) fn step(&mut self, piece: PieceIndex) -> Step {
        let Some(assembly) = self.assemblies.get_mut(&piece) else { return Step::Idle };
        if let Some(step) = assembly.hash_step() {
            return step;
        }
        if let State::Asked { digests } = assembly.state
            && let Some(hasher) = assembly.hasher.take()
        {
            assembly.state = State::Finishing { held: assembly.held_bytes() };
            let blocks = std::mem::take(&mut assembly.blocks).into_iter().map(Slot::into_content).collect();
            return Step::Finish(Finished { hasher, blocks, digests });
        }
        (assembly.claimed, assembly.again) = (false, false);
        Step::Idle
    }

    /// These blocks have gone through the hasher.
    pub(super) fn hashed(&mut self, piece: PieceIndex, hasher: PieceHasher, blocks: &[(u32, Content)]) {
        let Some(assembly) = self.assemblies.get_mut(&piece) else { return };
        assembly.hasher = Some(hasher);
        for &(number, _) in blocks {
            assembly.hashed[number as usize] = true;
        }
        assembly.hashed_count += blocks.len() as u32;
    }

    /// Keeps a finished piece whose hash is wrong until [`Self::drop_blocks`]. Gives it back if there are too many of that kind.
    pub(super) fn reject(&mut self, piece: PieceIndex, finished: Finished) -> Option<Finished> {
        let rejected = self.assemblies.values().filter(|assembly| assembly.state == State::Rejected).count();
        let Some(assembly) = self.assemblies.get_mut(&piece) else { return Some(finished) };
        let State::Finishing { held } = assembly.state else { return Some(finished) };
        if rejected >= MAX_REJECTED {
            return Some(finished);
        }
        self.leaving = self.leaving.saturating_sub(held);
        assembly.blocks = finished.blocks.into_iter().map(Slot::from).collect();
        assembly.hasher = Some(finished.hasher);
        assembly.state = State::Rejected;
        (assembly.claimed, assembly.again) = (false, false);
        None
    }

    /// Throws away these blocks of a rejected piece, which is open again.
    pub(super) fn drop_blocks(&mut self, piece: PieceIndex, numbers: &[u32]) {
        let rejected = |assembly: &&mut Assembly| assembly.state == State::Rejected;
        let Some(assembly) = self.assemblies.get_mut(&piece).filter(rejected) else { return };
        assembly.drop_blocks(numbers);
        // A worker that is evicting from it right now finds what is left.
        if assembly.arrived == 0 && !assembly.claimed {
            self.remove(piece);
        }
    }

    /// A finished piece is dealt with: its memory is given back.
    pub(super) fn left(&mut self, piece: PieceIndex) {
        let Some(State::Finishing { held }) = self.assemblies.get(&piece).map(|it| it.state) else { return };
        self.leaving = self.leaving.saturating_sub(held);
        self.remove(piece);
    }

    fn remove(&mut self, piece: PieceIndex) {
        if let Some(assembly) = self.assemblies.remove(&piece) {
            self.by_age.remove(&assembly.age);
        }
    }

    /// Whether there is anything that could be pushed out.
    pub(super) fn has_waiting(&self) -> bool {
        self.assemblies.values().any(Assembly::is_waiting)
    }

    /// Pieces that are not to be finished yet, oldest first.
    pub(super) fn waiting(&self) -> Vec<PieceIndex> {
        self.by_age.values().copied().filter(|piece| self.assemblies[piece].is_waiting()).collect()
    }

    /// Claims a piece for eviction; false if a worker has it or it is gone.
    pub(super) fn claim_idle(&mut self, piece: PieceIndex) -> bool {
        self.assemblies
            .get_mut(&piece)
            .is_some_and(|assembly| !std::mem::replace(&mut assembly.claimed, true))
    }

    /// What comes before evicting from a claimed piece: hashing what is ready.
    pub(super) fn hash_step(&mut self, piece: PieceIndex) -> Option<Step> {
        self.assemblies.get_mut(&piece)?.hash_step()
    }

    /// The first run of blocks of a claimed piece that may be pushed out: its first block's number, and the blocks. Those in `pinned` (in
    /// ascending order) must have been hashed.
    pub(super) fn evictable(
        &self,
        piece: PieceIndex,
        which: Evict,
        pinned: &[u32],
    ) -> Option<(u32, Vec<Arc<Buffer>>)> {
        let assembly = self.assemblies.get(&piece)?;
        let (any, least) = match which {
            Evict::Hashed(least) => (false, least),
            Evict::Any => (true, 0),
        };
        let held = |number: usize| {
            let may_leave =
                assembly.hashed[number] || (any && pinned.binary_search(&(number as u32)).is_err());
            if let (Slot::Held(buffer), true) = (&assembly.blocks[number], may_leave) {
                Some(buffer)
            } else {
                None
            }
        };
        let mut from = 0;
        while let Some(first) = (from..assembly.blocks.len()).find(|&number| held(number).is_some()) {
            let run: Vec<_> = (first..assembly.blocks.len()).map_while(held).map(Arc::clone).collect();
            if run.len() * BLOCK_LENGTH as usize >= least {
                return Some((first as u32, run));
            }
            from = first + run.len();
        }
        None
    }

    /// This run of a claimed piece is in its file: its memory is given back. What was dropped meanwhile stays dropped.
    pub(super) fn evicted(&mut self, piece: PieceIndex, first: u32, run: &[Arc<Buffer>]) {
        let Some(assembly) = self.assemblies.get_mut(&piece) else { return };
        for (slot, written) in assembly.blocks.iter_mut().skip(first as usize).zip(run) {
            if matches!(slot, Slot::Held(buffer) if Arc::ptr_eq(buffer, written)) {
                *slot = Slot::Written;
                if matches!(assembly.state, State::Asked { .. }) {
                    // It was asked for, and counted, while its blocks were on their way out.
                    self.leaving -= written.len();
                }
            }
        }
    }

    /// Gives up a claim. True if its worker is to be woken after all.
    pub(super) fn release(&mut self, piece: PieceIndex) -> bool {
        let Some(assembly) = self.assemblies.get_mut(&piece) else { return false };
        assembly.claimed = false;
        if std::mem::take(&mut assembly.again) && assembly.claim() {
            return true;
        }
        if assembly.arrived == 0 {
            self.remove(piece);
        }
        false
    }

    /// Bytes of pieces that are being finished.
    pub(super) fn leaving(&self) -> usize {
        self.leaving
    }

    /// Forgets everything: the torrent has failed.
    pub(super) fn clear(&mut self) {
        *self = Self { next_age: self.next_age, ..Self::default() };
    }
}

impl Assembly {
    fn new(age: u64, blocks: u32, hasher: PieceHasher) -> Self {
        Self {
            age,
            blocks: vec![Slot::Missing; blocks as usize],
            arrived: 0,
            ready: 0,
            hashed: vec![false; blocks as usize],
            hashed_count: 0,
            in_order: hasher.in_order(),
            hasher: Some(hasher),
            state: State::Open,
            claimed: false,
            again: false,
        }
    }

    fn is_complete(&self) -> bool {
        self.arrived as usize == self.hashed.len()
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Open | State::Rejected)
    }

    fn held_bytes(&self) -> usize {
        self.blocks.iter().map(Slot::held_bytes).sum()
    }

    fn count_ready(&mut self) {
        while matches!(self.blocks.get(self.ready as usize), Some(Slot::Held(_) | Slot::Written)) {
            self.ready += 1;
        }
    }

    /// Blocks that could be hashed.
    fn unhashed(&self) -> u32 {
        if self.in_order { self.ready - self.hashed_count } else { self.arrived - self.hashed_count }
    }

    /// True if it was free, and the caller must now queue it.
    fn claim(&mut self) -> bool {
        self.again = self.claimed;
        !std::mem::replace(&mut self.claimed, true)
    }

    fn hash_step(&mut self) -> Option<Step> {
        if self.state == State::Rejected || self.unhashed() == 0 {
            return None;
        }
        let candidates =
            if self.in_order { self.hashed_count..self.ready } else { 0..self.blocks.len() as u32 };
        let blocks = candidates.filter(|&number| !self.hashed[number as usize]);
        let blocks = blocks.filter_map(|number| Some((number, self.blocks[number as usize].content()?)));
        let blocks = blocks.take(HASH_STEP).collect();
        Some(Step::Hash(self.hasher.take()?, blocks))
    }

    /// Without these blocks, and what was known of the whole by them.
    fn drop_blocks(&mut self, numbers: &[u32]) {
        for &number in numbers {
            if let Some(slot) = self.blocks.get_mut(number as usize) {
                *slot = Slot::Missing;
                self.hashed[number as usize] = false;
            }
        }
        if self.in_order {
            self.hashed.fill(false);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.forget(numbers);
        }
        self.hashed_count = self.hashed.iter().filter(|&&hashed| hashed).count() as u32;
        self.arrived = self.blocks.iter().filter(|slot| !matches!(slot, Slot::Missing)).count() as u32;
        self.ready = 0;
        self.count_ready();
        self.state = State::Open;
    }
}

impl Slot {
    fn content(&self) -> Option<Content> {
        match self {
            Self::Held(buffer) => Some(Content::Held(Arc::clone(buffer))),
            Self::Written => Some(Content::Written),
            Self::Missing => None,
        }
    }

    fn into_content(self) -> Content {
        if let Self::Held(buffer) = self { Content::Held(buffer) } else { Content::Written }
    }

    fn held_bytes(&self) -> usize {
        if let Self::Held(buffer) = self { buffer.len() } else { 0 }
    }
}

impl From<Content> for Slot {
    fn from(content: Content) -> Self {
        match content {
            Content::Held(buffer) => Self::Held(buffer),
            Content::Written => Self::Written,
        }
    }
}

#[cfg(test)]
mod tests {
    use sha1::{Digest, Sha1};

    use super::*;
    use crate::engine::buffer::BufferPool;

    const B: usize = BLOCK_LENGTH as usize;

    /// So many pieces of so many blocks each.
    fn info(pieces: usize, blocks: usize) -> Info {
        let hashes = "h".repeat(20 * pieces);
        let (length, piece_length) = (pieces * blocks * B, blocks * B);
        let raw = format!(
            "d6:lengthi{length}e4:name1:n12:piece lengthi{piece_length}e6:pieces{}:{hashes}e",
            hashes.len()
        );
        Info::from_bytes(raw.as_bytes()).unwrap()
    }

    async fn insert(pieces: &mut Pieces, info: &Info, piece: PieceIndex, numbers: &[u32]) -> Vec<bool> {
        let pool = BufferPool::new(1 << 20);
        let mut woken = Vec::new();
        for &number in numbers {
            let mut data = pool.take(BLOCK_LENGTH).await;
            data.bytes_mut().fill(number as u8);
            woken.push(pieces.insert(info, piece, number, data, true));
        }
        woken
    }

    fn hash_all(pieces: &mut Pieces, piece: PieceIndex) -> Option<Finished> {
        loop {
            match pieces.step(piece) {
                Step::Hash(hasher, blocks) => hash(pieces, piece, hasher, blocks),
                Step::Finish(finished) => return Some(finished),
                Step::Idle => return None,
            }
        }
    }

    fn hash(pieces: &mut Pieces, piece: PieceIndex, mut hasher: PieceHasher, blocks: Vec<(u32, Content)>) {
        for (number, content) in &blocks {
            let Content::Held(bytes) = content else { panic!("nothing was evicted") };
            hasher.update(&[(*number, &bytes[..])]);
        }
        pieces.hashed(piece, hasher, &blocks);
    }

    fn digest(numbers: &[u8]) -> Option<[u8; 20]> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|&number| [number; B]).collect();
        Some(Sha1::digest(bytes).into())
    }

    #[tokio::test]
    async fn a_piece_is_hashed_in_order_whatever_order_its_blocks_come_in() {
        let info = info(1, 4);
        let piece = info.layout().piece(0).unwrap();
        let mut pieces = Pieces::default();
        // The last one completes it; nobody is woken for less than a run.
        assert_eq!(insert(&mut pieces, &info, piece, &[2, 0, 3, 1]).await, [false, false, false, true]);
        assert!(hash_all(&mut pieces, piece).is_none(), "not asked for yet");
        assert_eq!(pieces.verify(piece, false), Some(true));
        let finished = hash_all(&mut pieces, piece).expect("asked for");
        assert_eq!(finished.hasher.hashes(&info, piece).v1, digest(&[0, 1, 2, 3]));
        assert_eq!((finished.blocks.len(), pieces.leaving()), (4, 4 * B));
        assert_eq!(
            insert(&mut pieces, &info, piece, &[0]).await,
            [false],
            "it has left the table, but for its name"
        );
        pieces.left(piece);
        assert_eq!((pieces.leaving(), pieces.has_waiting(), pieces.verify(piece, false)), (0, false, None));
    }

    #[tokio::test]
    async fn hashed_blocks_leave_before_others_and_the_oldest_piece_first() {
        let info = info(3, 8);
        let [p0, p1] = [0, 1].map(|index| info.layout().piece(index).unwrap());
        let mut pieces = Pieces::default();
        insert(&mut pieces, &info, p1, &[0, 1, 5]).await;
        insert(&mut pieces, &info, p0, &[3]).await;
        assert_eq!(pieces.waiting(), [p1, p0]);
        assert!(pieces.claim_idle(p1) && !pieces.claim_idle(p1));
        assert!(pieces.evictable(p1, Evict::Hashed(0), &[]).is_none());
        let Some(Step::Hash(hasher, blocks)) = pieces.hash_step(p1) else { panic!() };
        assert_eq!(blocks.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1]);
        hash(&mut pieces, p1, hasher, blocks);
        assert!(pieces.evictable(p1, Evict::Hashed(3 * B), &[]).is_none());
        let (first, run) = pieces.evictable(p1, Evict::Hashed(2 * B), &[]).unwrap();
        assert_eq!((first, run.len()), (0, 2));
        pieces.evicted(p1, first, &run);
        assert!(pieces.evictable(p1, Evict::Hashed(0), &[]).is_none());
        assert!(pieces.evictable(p1, Evict::Any, &[5]).is_none());
        let (first, run) = pieces.evictable(p1, Evict::Any, &[]).unwrap();
        assert_eq!((first, run.len()), (5, 1));
        assert!(!pieces.release(p1));
    }

    #[tokio::test]
    async fn what_comes_while_a_worker_has_the_piece_is_not_forgotten() {
        let info = info(1, 2);
        let piece = info.layout().piece(0).unwrap();
        let mut pieces = Pieces::default();
        insert(&mut pieces, &info, piece, &[0]).await;
        assert!(pieces.claim_idle(piece));
        assert_eq!(
            insert(&mut pieces, &info, piece, &[1]).await,
            [false],
            "the one who has it must look again"
        );
        assert!(pieces.release(piece), "and is told so");
    }

    #[tokio::test]
    async fn a_rejected_piece_is_whole_again_once_the_blocks_that_were_dropped_have_come_anew() {
        let info = info(1, 4);
        let piece = info.layout().piece(0).unwrap();
        let mut pieces = Pieces::default();
        insert(&mut pieces, &info, piece, &[0, 1, 2, 3]).await;
        pieces.verify(piece, false);
        let finished = hash_all(&mut pieces, piece).unwrap();
        assert!(pieces.reject(piece, finished).is_none());
        assert_eq!((pieces.leaving(), pieces.waiting()), (0, vec![piece]));
        // Written out meanwhile: one of the blocks while it is dropped.
        assert!(pieces.claim_idle(piece));
        let (first, run) = pieces.evictable(piece, Evict::Hashed(0), &[]).unwrap();
        assert_eq!((first, run.len()), (0, 4));
        pieces.drop_blocks(piece, &[1, 9]);
        pieces.evicted(piece, first, &run);
        assert_eq!(pieces.verify(piece, false), None, "a block is missing");
        assert_eq!(
            insert(&mut pieces, &info, piece, &[0, 1]).await,
            [false, false],
            "0 is there, 1 completes it"
        );
        assert!(pieces.release(piece));
        let Step::Hash(hasher, blocks) = pieces.step(piece) else { panic!("v1 begins anew") };
        let held: Vec<_> =
            blocks.iter().map(|(number, content)| (*number, matches!(content, Content::Held(_)))).collect();
        assert_eq!(held, [(0, false), (1, true), (2, false), (3, false)]);
        pieces.hashed(piece, hasher, &blocks);
        pieces.verify(piece, false);
        assert!(matches!(pieces.step(piece), Step::Finish(_)));
        pieces.left(piece);
        assert!(!pieces.has_waiting() && pieces.by_age.is_empty());
    }

    #[tokio::test]
    async fn only_so_many_wrong_pieces_are_kept_and_one_without_any_block_is_forgotten() {
        let info = info(MAX_REJECTED + 1, 1);
        let mut pieces = Pieces::default();
        for piece in info.layout().pieces() {
            insert(&mut pieces, &info, piece, &[0]).await;
            pieces.verify(piece, false);
            let finished = hash_all(&mut pieces, piece).unwrap();
            assert_eq!(pieces.reject(piece, finished).is_none(), piece.as_usize() < MAX_REJECTED);
        }
        let piece = info.layout().piece(0).unwrap();
        pieces.drop_blocks(piece, &[0]);
        assert!(!pieces.waiting().contains(&piece));
        assert_eq!(insert(&mut pieces, &info, piece, &[0]).await, [true]);
    }
}
