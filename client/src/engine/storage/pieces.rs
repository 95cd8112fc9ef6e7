//! Pieces on their way in: which blocks are held in memory, how far each piece's SHA-1 has come, and what must leave memory when
//! it runs short. No I/O: workers ask for steps and report them done.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use torrent_format::{BLOCK_LENGTH, Layout, PieceIndex};

use crate::engine::buffer::Buffer;

/// Blocks that must wait at the front of a piece before a worker is woken to hash them: waking one for every block costs more
/// than hashing it.
const HASH_RUN: u32 = 16;

/// Blocks hashed in one step, between two looks at the table.
const HASH_STEP: u32 = 64;

/// All pieces that have a block and no verdict yet.
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
    blocks: Vec<Slot>,
    /// Blocks `0..ready` have all arrived.
    ready: u32,
    /// Blocks `0..hashed` have gone through `hasher`; `hashed <= ready`.
    hashed: u32,
    hasher: Option<Sha1>,
    arrived: u32,
    /// Asked for by the driver, which it may once every block is there; with or without digests of a good piece.
    verify: Option<bool>,
    /// A worker has it, or it is in the workers' queue. Only that worker changes what has arrived.
    claimed: bool,
    /// There is work that its worker may have missed.
    again: bool,
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
    /// Feed these to the hasher, then [`Pieces::hashed`].
    Hash(Sha1, Range<u32>, Vec<Content>),
    /// Every block has gone through the hasher; the piece has left the table.
    Finish(Finished),
    /// Nothing; the claim is given up.
    Idle,
}

/// A piece with its hash.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) digest: [u8; 20],
    pub(super) blocks: Vec<Content>,
    /// Bytes of it in memory, for [`Pieces::left`].
    pub(super) held: usize,
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
    /// Takes a block in. True if the piece's worker is to be woken. A block that is there already is dropped.
    pub(super) fn insert(&mut self, layout: &Layout, piece: PieceIndex, number: u32, data: Buffer) -> bool {
        let assembly = self.assemblies.entry(piece).or_insert_with(|| {
            self.next_age += 1;
            self.by_age.insert(self.next_age, piece);
            Assembly::new(self.next_age, layout.block_count(piece))
        });
        let Some(slot @ Slot::Missing) = assembly.blocks.get_mut(number as usize) else { return false };
        *slot = Slot::Held(Arc::new(data));
        assembly.arrived += 1;
        while matches!(assembly.blocks.get(assembly.ready as usize), Some(Slot::Held(_) | Slot::Written)) {
            assembly.ready += 1;
        }
        (assembly.is_complete() || assembly.ready - assembly.hashed >= HASH_RUN) && assembly.claim()
    }

    /// The driver wants the verdict. True if the piece's worker is to be woken; `None` if blocks are missing.
    pub(super) fn verify(&mut self, piece: PieceIndex, digests: bool) -> Option<bool> {
        let assembly = self.assemblies.get_mut(&piece).filter(|assembly| assembly.is_complete())?;
        if assembly.verify.replace(digests).is_none() {
            self.leaving += assembly.held_bytes();
        }
        Some(assembly.claim())
    }

    /// What to do next for a piece that the caller has claimed.
    pub(super) fn step(&mut self, piece: PieceIndex) -> Step {
        let Some(assembly) = self.assemblies.get_mut(&piece) else { return Step::Idle };
        if let Some(step) = assembly.hash_step() {
            return step;
        }
        if let Some(digests) = assembly.verify {
            self.by_age.remove(&assembly.age);
            return self.assemblies.remove(&piece).map_or(Step::Idle, |it| Step::Finish(it.finish(digests)));
        }
        (assembly.claimed, assembly.again) = (false, false);
        Step::Idle
    }

    /// These blocks have gone through the hasher.
    pub(super) fn hashed(&mut self, piece: PieceIndex, hasher: Sha1, blocks: Range<u32>) {
        if let Some(assembly) = self.assemblies.get_mut(&piece) {
            assembly.hasher = Some(hasher);
            assembly.hashed = blocks.end;
        }
    }

    /// Whether there is anything that could be pushed out.
    pub(super) fn has_waiting(&self) -> bool {
        self.assemblies.values().any(|assembly| assembly.verify.is_none())
    }

    /// Pieces that are not to be finished yet, oldest first.
    pub(super) fn waiting(&self) -> Vec<PieceIndex> {
        self.by_age.values().copied().filter(|piece| self.assemblies[piece].verify.is_none()).collect()
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
        let (limit, least) = match which {
            Evict::Hashed(least) => (assembly.hashed as usize, least),
            Evict::Any => (assembly.blocks.len(), 0),
        };
        let held = |number: usize| {
            let stays = number >= assembly.hashed as usize && pinned.binary_search(&(number as u32)).is_ok();
            if let (Slot::Held(buffer), false) = (&assembly.blocks[number], stays) {
                Some(buffer)
            } else {
                None
            }
        };
        let first = (0..limit).find(|&number| held(number).is_some())?;
        let run: Vec<_> = (first..limit).map_while(held).map(Arc::clone).collect();
        (run.len() * BLOCK_LENGTH as usize >= least).then_some((first as u32, run))
    }

    /// These blocks of a claimed piece are in their file: their memory is given back.
    pub(super) fn evicted(&mut self, piece: PieceIndex, first: u32, count: usize) {
        let Some(assembly) = self.assemblies.get_mut(&piece) else { return };
        let run = &mut assembly.blocks[first as usize..first as usize + count];
        let bytes: usize = run.iter().map(Slot::held_bytes).sum();
        run.fill(Slot::Written);
        if assembly.verify.is_some() {
            // It was asked for, and counted, while its blocks were on their way out.
            self.leaving -= bytes;
        }
    }

    /// Gives up a claim. True if its worker is to be woken after all.
    pub(super) fn release(&mut self, piece: PieceIndex) -> bool {
        let Some(assembly) = self.assemblies.get_mut(&piece) else { return false };
        assembly.claimed = false;
        std::mem::take(&mut assembly.again) && assembly.claim()
    }

    /// Bytes of pieces that are being finished.
    pub(super) fn leaving(&self) -> usize {
        self.leaving
    }

    /// The memory of a finished piece is given back.
    pub(super) fn left(&mut self, bytes: usize) {
        // After `clear`, what was on its way is not counted any more.
        self.leaving = self.leaving.saturating_sub(bytes);
    }

    /// Forgets everything: the torrent has failed.
    pub(super) fn clear(&mut self) {
        *self = Self { next_age: self.next_age, ..Self::default() };
    }
}

impl Assembly {
    fn new(age: u64, blocks: u32) -> Self {
        Self {
            age,
            blocks: vec![Slot::Missing; blocks as usize],
            ready: 0,
            hashed: 0,
            hasher: Some(Sha1::new()),
            arrived: 0,
            verify: None,
            claimed: false,
            again: false,
        }
    }

    fn is_complete(&self) -> bool {
        self.arrived as usize == self.blocks.len()
    }

    fn held_bytes(&self) -> usize {
        self.blocks.iter().map(Slot::held_bytes).sum()
    }

    /// True if it was free, and the caller must now queue it.
    fn claim(&mut self) -> bool {
        self.again = self.claimed;
        !std::mem::replace(&mut self.claimed, true)
    }

    fn hash_step(&mut self) -> Option<Step> {
        let blocks = self.hashed..self.ready.min(self.hashed + HASH_STEP);
        if blocks.is_empty() {
            return None;
        }
        let contents =
            self.blocks[blocks.start as usize..blocks.end as usize].iter().map(Slot::content).collect();
        Some(Step::Hash(self.hasher.take()?, blocks, contents))
    }

    fn finish(self, digests: bool) -> Finished {
        let held = self.held_bytes();
        let digest = self.hasher.unwrap_or_default().finalize().into();
        Finished { digest, blocks: self.blocks.iter().map(Slot::content).collect(), held, digests }
    }
}

impl Slot {
    fn content(&self) -> Content {
        match self {
            Self::Held(buffer) => Content::Held(Arc::clone(buffer)),
            Self::Written | Self::Missing => Content::Written,
        }
    }

    fn held_bytes(&self) -> usize {
        if let Self::Held(buffer) = self { buffer.len() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::buffer::BufferPool;

    const B: usize = BLOCK_LENGTH as usize;

    async fn insert(pieces: &mut Pieces, layout: &Layout, piece: PieceIndex, numbers: &[u32]) -> Vec<bool> {
        let pool = BufferPool::new(1 << 20);
        let mut woken = Vec::new();
        for &number in numbers {
            let mut data = pool.take(BLOCK_LENGTH).await;
            data.bytes_mut().resize(B, number as u8);
            woken.push(pieces.insert(layout, piece, number, data));
        }
        woken
    }

    fn hash_all(pieces: &mut Pieces, piece: PieceIndex) -> Option<Finished> {
        loop {
            match pieces.step(piece) {
                Step::Hash(mut hasher, blocks, contents) => {
                    for content in contents {
                        let Content::Held(bytes) = content else { panic!("nothing was evicted") };
                        hasher.update(&**bytes);
                    }
                    pieces.hashed(piece, hasher, blocks);
                }
                Step::Finish(finished) => return Some(finished),
                Step::Idle => return None,
            }
        }
    }

    #[tokio::test]
    async fn a_piece_is_hashed_in_order_whatever_order_its_blocks_come_in() {
        let layout = Layout::new(4 * B as u64, [4 * B as u64]).unwrap();
        let piece = layout.piece(0).unwrap();
        let mut pieces = Pieces::default();
        // The last one completes it; nobody is woken for less than a run.
        assert_eq!(insert(&mut pieces, &layout, piece, &[2, 0, 3, 1]).await, [false, false, false, true]);
        assert!(hash_all(&mut pieces, piece).is_none(), "not asked for yet");
        assert_eq!(pieces.verify(piece, false), Some(true));
        let finished = hash_all(&mut pieces, piece).expect("asked for");
        let bytes: Vec<u8> = (0..4_u8).flat_map(|number| [number; B]).collect();
        assert_eq!(finished.digest, <[u8; 20]>::from(Sha1::digest(bytes)));
        assert_eq!((finished.held, pieces.leaving()), (4 * B, 4 * B));
        pieces.left(finished.held);
        assert_eq!((pieces.leaving(), pieces.has_waiting(), pieces.verify(piece, false)), (0, false, None));
    }

    #[tokio::test]
    async fn hashed_blocks_leave_before_others_and_the_oldest_piece_first() {
        let layout = Layout::new(8 * B as u64, [24 * B as u64]).unwrap();
        let [p0, p1] = [0, 1].map(|index| layout.piece(index).unwrap());
        let mut pieces = Pieces::default();
        insert(&mut pieces, &layout, p1, &[0, 1, 5]).await;
        insert(&mut pieces, &layout, p0, &[3]).await;
        assert_eq!(pieces.waiting(), [p1, p0]);
        assert!(pieces.claim_idle(p1) && !pieces.claim_idle(p1));
        assert!(pieces.evictable(p1, Evict::Hashed(0), &[]).is_none());
        let Some(Step::Hash(hasher, blocks, contents)) = pieces.hash_step(p1) else { panic!() };
        assert_eq!((blocks.clone(), contents.len()), (0..2, 2));
        pieces.hashed(p1, hasher, blocks);
        assert!(pieces.evictable(p1, Evict::Hashed(3 * B), &[]).is_none());
        let (first, run) = pieces.evictable(p1, Evict::Hashed(2 * B), &[]).unwrap();
        assert_eq!((first, run.len()), (0, 2));
        pieces.evicted(p1, first, run.len());
        assert!(pieces.evictable(p1, Evict::Hashed(0), &[]).is_none());
        assert!(pieces.evictable(p1, Evict::Any, &[5]).is_none());
        let (first, run) = pieces.evictable(p1, Evict::Any, &[]).unwrap();
        assert_eq!((first, run.len()), (5, 1));
        assert!(!pieces.release(p1));
    }

    #[tokio::test]
    async fn what_comes_while_a_worker_has_the_piece_is_not_forgotten() {
        let layout = Layout::new(2 * B as u64, [2 * B as u64]).unwrap();
        let piece = layout.piece(0).unwrap();
        let mut pieces = Pieces::default();
        insert(&mut pieces, &layout, piece, &[0]).await;
        assert!(pieces.claim_idle(piece));
        assert_eq!(
            insert(&mut pieces, &layout, piece, &[1]).await,
            [false],
            "the one who has it must look again"
        );
        assert!(pieces.release(piece), "and is told so");
    }
}
