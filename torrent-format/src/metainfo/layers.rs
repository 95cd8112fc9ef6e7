//! The piece layers of a torrent's files (BEP 52): found by root, known or not yet, the same for files with the same bytes.

use std::cmp::Reverse;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{File, push_string};
use crate::BLOCK_LENGTH;
use crate::merkle::{Hash, PieceLayer, Tree};

/// Which file has which root, and the piece layers that are known.
pub(super) struct Layers {
    /// The files that have a root, by root; of equal roots the one with the most leaves first, of equal trees the first.
    by_root: Vec<u32>,
    /// For every file: which of `slots` is its layer's; [`NONE`] if it has none.
    slot_of: Vec<u32>,
    /// One for every layer that differs, in order of the first file that has it. Invariant: what is in it hashes to that file's root.
    slots: Vec<Slot>,
    /// How many of `slots` are empty.
    missing: AtomicUsize,
}

struct Slot {
    file: u32,
    layer: OnceLock<PieceLayer>,
}

/// Instead of a slot's number.
const NONE: u32 = u32::MAX;

impl Layers {
    pub(super) fn new(files: &[File], piece_length: u32) -> Self {
        let mut by_root: Vec<u32> =
            (0..files.len() as u32).filter(|&i| files[i as usize].root.is_some()).collect();
        let key = |&i: &u32| {
            let file = &files[i as usize];
            (file.root.as_ref(), Reverse(file.length.div_ceil(BLOCK_LENGTH.into())))
        };
        by_root.sort_unstable_by_key(|i| (key(i), *i));

        // Trees of one root and other leaves are possible: nothing in a hash says whether it is of a leaf or of a node.
        let mut first = vec![NONE; if by_root.is_empty() { 0 } else { files.len() }];
        for same in by_root.chunk_by(|a, b| key(a) == key(b)) {
            for &file in same {
                first[file as usize] = same[0];
            }
        }
        let mut slots = Vec::new();
        let mut slot_of = first;
        for i in 0..slot_of.len() {
            let has_layer = || files[i].length > u64::from(piece_length);
            slot_of[i] = match slot_of[i] {
                first if first == NONE || !has_layer() => NONE,
                first if first as usize == i => {
                    slots.push(Slot { file: first, layer: OnceLock::new() });
                    slots.len() as u32 - 1
                }
                // It comes earlier, so that it is a slot's number already.
                first => slot_of[first as usize],
            };
        }
        slots.shrink_to_fit();
        Self { by_root, slot_of, missing: AtomicUsize::new(slots.len()), slots }
    }

    /// In the order of `by_root`.
    pub(super) fn files_by_root<'a>(
        &'a self,
        files: &'a [File],
        root: &'a Hash,
    ) -> impl Iterator<Item = usize> + 'a {
        let found = self.by_root.partition_point(|&i| files[i as usize].root.as_ref() < Some(root));
        let numbers = self.by_root[found..].iter().map(|&file| file as usize);
        numbers.take_while(move |&file| files[file].root.as_ref() == Some(root))
    }

    pub(super) fn get(&self, file: usize) -> Option<&PieceLayer> {
        self.slots.get(*self.slot_of.get(file)? as usize)?.layer.get()
    }

    /// Whether it is this file's.
    pub(super) fn set(&self, file: usize, tree: &Tree, hashes: Vec<Hash>) -> bool {
        let slot = self.slot_of.get(file).and_then(|&slot| self.slots.get(slot as usize));
        let Some((slot, layer)) = slot.zip(tree.piece_layer_of(hashes)) else { return false };
        self.fill(slot, layer);
        true
    }

    /// The first file of each layer that is not known.
    pub(super) fn missing(&self) -> impl Iterator<Item = usize> + '_ {
        // Asked for after every piece of a download, most of all when nothing is missing any more.
        let slots = if self.missing.load(Ordering::Acquire) == 0 { &[] } else { &self.slots[..] };
        slots.iter().filter(|slot| slot.layer.get().is_none()).map(|slot| slot.file as usize)
    }

    /// As the value of `piece layers`: those that are known, by root. `None` if some are missing and none is known.
    pub(super) fn encode(&self, files: &[File]) -> Option<Vec<u8>> {
        let mut known: Vec<(&Hash, &PieceLayer)> = Vec::new();
        for slot in &self.slots {
            known.extend(files[slot.file as usize].root.as_ref().zip(slot.layer.get()));
        }
        if known.is_empty() && !self.slots.is_empty() {
            return None;
        }
        // Of one root the largest tree's, as in `by_root`: peers and this key know it by the root alone.
        known.sort_unstable_by_key(|&(root, layer)| (root, Reverse(layer.pieces().len())));
        known.dedup_by_key(|&mut (root, _)| root);
        let mut out = vec![b'd'];
        for (root, layer) in known {
            push_string(&mut out, root);
            push_string(&mut out, layer.pieces().as_flattened());
        }
        out.push(b'e');
        Some(out)
    }

    /// The same layers for the same files in another info.
    pub(super) fn carry_over(&self, other: &Self) {
        for (from, to) in self.slots.iter().zip(&other.slots) {
            if let Some(layer) = from.layer.get() {
                other.fill(to, layer.clone());
            }
        }
    }

    fn fill(&self, slot: &Slot, layer: PieceLayer) {
        if slot.layer.set(layer).is_ok() {
            self.missing.fetch_sub(1, Ordering::Release);
        }
    }
}

impl PartialEq for Layers {
    fn eq(&self, other: &Self) -> bool {
        self.slots.iter().map(|slot| slot.layer.get()).eq(other.slots.iter().map(|slot| slot.layer.get()))
    }
}

impl Eq for Layers {}
