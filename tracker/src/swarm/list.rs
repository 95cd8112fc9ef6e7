//! The peers of one swarm and one address family: [`PeerList`].

use hashbrown::HashTable;

use super::entry::{Entry, Mark, Role, V6, host, ip, is_loopback};
use super::hash::Keys;
use super::is_public;

/// So many peers lie in the swarm itself; most swarms have no more.
const INLINE: usize = 2;

/// Up to so many peers are searched one after another: six cache lines of IPv4. Above, they are hashed.
const SMALL: usize = 32;

/// A hashed list is given up when so few peers are left; less than [`SMALL`], so that a swarm at the border does not move to
/// and fro.
const SHRINK: usize = SMALL / 2;

/// A small list grows by so many, which leaves no byte unused in the blocks that allocators deal in (8 + a multiple of 16).
const STEP: usize = 4;

/// A hash table with more entries is not made smaller: that would keep the announces of its swarm waiting for milliseconds.
const MAX_SHRINK: usize = 1 << 16;

/// Peers that lie one behind the other in a large list and are handed out together: fewer cache misses than one by one, and
/// still a mix, since the order is that of arrivals and departures.
const RUN: usize = 12;

/// Most entries looked at to find peers that the asker may have. Only loopback peers are ever passed over, and a swarm that is
/// full of them may answer with fewer than it could.
const MAX_LOOKS: usize = 4096;

/// Peers of one address family.
#[derive(Debug)]
pub(super) enum PeerList<const N: usize> {
    Inline(u8, [Entry<N>; INLINE]),
    Small(Vec<Entry<N>>),
    Large(Box<Large<N>>),
}

/// Peers by address and port, leechers before seeds.
#[derive(Debug)]
pub(super) struct Large<const N: usize> {
    entries: Vec<Entry<N>>,
    /// Entries `0..leechers` are leechers and partial seeds, all further ones are seeds: counts need no counting, and a
    /// seed's candidates are one range.
    leechers: usize,
    /// How many of the leechers are partial seeds.
    partial_seeds: usize,
    /// Positions by host (see [`place`]): a peer is found, and its host's others are counted, in one go.
    by_host: HashTable<u32>,
    /// Positions of the IPv6 peers that have an identity, by it.
    by_identity: HashTable<u32>,
}

/// How many peers a list has of each kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Counts {
    pub(super) seeds: usize,
    /// Partial seeds included.
    pub(super) leechers: usize,
    pub(super) partial_seeds: usize,
}

/// What is known of a peer and of its host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// It is at this position.
    At(usize),
    /// It is not there, but so many others of its host are.
    Not { of_host: usize },
}

/// For whom peers are picked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// Where the asker itself is in this list.
    pub(super) position: Option<usize>,
    /// It lacks nothing that it wants, so it is given those only that lack something.
    pub(super) for_seed: bool,
    /// It is on this machine, and reaches loopback peers.
    pub(super) is_loopback: bool,
}

impl<const N: usize> Default for PeerList<N> {
    fn default() -> Self {
        Self::Inline(0, [vacant(); INLINE])
    }
}

impl<const N: usize> PeerList<N> {
    pub(super) fn len(&self) -> usize {
        self.entries().len()
    }

    pub(super) fn entries(&self) -> &[Entry<N>] {
        match self {
            Self::Inline(length, entries) => &entries[..usize::from(*length)],
            Self::Small(entries) => entries,
            Self::Large(large) => &large.entries,
        }
    }

    pub(super) fn entry(&self, position: usize) -> Entry<N> {
        self.entries()[position]
    }

    /// In a large list, without looking at it; a small one is counted.
    pub(super) fn counts(&self) -> Counts {
        if let Self::Large(large) = self {
            return Counts {
                seeds: large.entries.len() - large.leechers,
                leechers: large.leechers,
                partial_seeds: large.partial_seeds,
            };
        }
        let mut counts = Counts::default();
        for entry in self.entries() {
            let role = entry.role();
            counts.seeds += usize::from(role == Role::Seed);
            counts.leechers += usize::from(role != Role::Seed);
            counts.partial_seeds += usize::from(role == Role::PartialSeed);
        }
        counts
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Small(entries) => entries.capacity() * size_of::<Entry<N>>() + 8,
            Self::Large(large) => {
                size_of::<Large<N>>()
                    + large.entries.capacity() * size_of::<Entry<N>>()
                    + large.by_host.allocation_size()
                    + large.by_identity.allocation_size()
            }
        }
    }

    pub(super) fn find(&self, keys: &Keys, addr: &[u8; N]) -> Found {
        if let Self::Large(large) = self {
            return large.find(keys, addr);
        }
        let mut of_host = 0;
        for (position, entry) in self.entries().iter().enumerate() {
            if entry.addr == *addr {
                return Found::At(position);
            }
            of_host += usize::from(host(&entry.addr) == host(addr));
        }
        Found::Not { of_host }
    }

    /// Adds a peer that is not there; says where it is.
    pub(super) fn insert(&mut self, keys: &Keys, entry: Entry<N>) -> usize {
        self.make_room(keys);
        match self {
            Self::Inline(length, entries) => {
                entries[usize::from(*length)] = entry;
                *length += 1;
            }
            Self::Small(entries) => entries.push(entry),
            Self::Large(large) => return large.insert(keys, entry),
        }
        self.len() - 1
    }

    /// Remembers something else of the peer at `position`, which may move; says where it is then.
    pub(super) fn update(&mut self, keys: &Keys, position: usize, mark: Mark) -> usize {
        match self {
            Self::Inline(_, entries) => entries[position].set_mark(mark),
            Self::Small(entries) => entries[position].set_mark(mark),
            Self::Large(large) => return large.update(keys, position, mark),
        }
        position
    }

    /// Takes the peer at `position` out.
    pub(super) fn remove(&mut self, keys: &Keys, position: usize) -> Entry<N> {
        let removed = self.remove_at(keys, position);
        self.shrink(keys);
        removed
    }

    /// Takes out peers whose age in ticks is more than `oldest`, looking at entries below `from` from the back, at `budget` of
    /// them at most (a small list at all). What is left to look at begins below the position that is given back; 0: nothing.
    pub(super) fn expire(
        &mut self,
        keys: &Keys,
        (now, oldest): (u32, u32),
        (from, budget): (usize, usize),
        mut removed: impl FnMut(Entry<N>),
    ) -> usize {
        let from = from.min(self.len());
        let until = if matches!(self, Self::Large(_)) { from.saturating_sub(budget) } else { 0 };
        let mut any = false;
        // Backwards: what a removal moves into the gap comes from further back and was looked at already.
        for position in (until..from).rev() {
            if self.entry(position).age(now) > oldest {
                removed(self.remove_at(keys, position));
                any = true;
            }
        }
        if any {
            self.shrink(keys);
        }
        until
    }

    /// Adds the bytes of up to `wanted` peers to `picked`, at random: all if there are not more.
    pub(super) fn pick(
        &self,
        rng: &mut fastrand::Rng,
        asker: Asker,
        wanted: usize,
        picked: &mut Vec<u8>,
    ) -> usize {
        let mut left = wanted;
        let mut give = |position: usize, entry: &Entry<N>| {
            let admitted = left > 0
                && asker.position != Some(position)
                && (asker.is_loopback || !is_loopback(&entry.addr));
            if admitted {
                picked.extend_from_slice(&entry.addr);
                left -= 1;
            }
        };
        match self {
            Self::Large(large) => {
                let candidates = if asker.for_seed { large.leechers } else { large.entries.len() };
                walk(rng, candidates, wanted + 1, |position| give(position, &large.entries[position]));
                if left > 0 && !asker.is_loopback && candidates > wanted {
                    // Some of those were loopback peers: once through the list, as far as that is decent.
                    picked.truncate(picked.len() - (wanted - left) * N);
                    return large.pick_public(rng, asker, candidates, wanted, picked);
                }
            }
            _ => {
                let entries = self.entries();
                let start = if entries.is_empty() { 0 } else { rng.usize(..entries.len()) };
                let (tail, head) = entries.split_at(start);
                let positions = (start..).zip(head).chain((0..).zip(tail));
                for (position, entry) in positions {
                    if !asker.for_seed || entry.role() != Role::Seed {
                        give(position, entry);
                    }
                }
            }
        }
        wanted - left
    }

    /// Calls `each` with the position of every peer of this identity.
    pub(super) fn for_identity(&self, identity: u32, mut each: impl FnMut(usize)) {
        match self {
            Self::Large(large) => {
                for &position in large.by_identity.iter_hash(spread(identity)) {
                    if large.entries[position as usize].identity() == identity {
                        each(position as usize);
                    }
                }
            }
            _ => {
                for (position, entry) in self.entries().iter().enumerate() {
                    if entry.identity() == identity {
                        each(position);
                    }
                }
            }
        }
    }

    /// Whether [`for_identity`](Self::for_identity) finds anything in this list: a large IPv4 one has no index of identities.
    pub(super) fn knows_identities(&self) -> bool {
        N == V6 || !matches!(self, Self::Large(_))
    }

    /// Changes what is remembered at `position`, but for role and identity.
    pub(super) fn amend(&mut self, position: usize, change: impl FnOnce(&mut Mark)) {
        let entry = match self {
            Self::Inline(_, entries) => &mut entries[position],
            Self::Small(entries) => &mut entries[position],
            Self::Large(large) => &mut large.entries[position],
        };
        let mut mark = entry.mark();
        let kept = (mark.role, mark.identity);
        change(&mut mark);
        debug_assert_eq!(kept, (mark.role, mark.identity));
        entry.set_mark(mark);
    }

    fn remove_at(&mut self, keys: &Keys, position: usize) -> Entry<N> {
        match self {
            Self::Inline(length, entries) => {
                let removed = entries[position];
                *length -= 1;
                entries[position] = entries[usize::from(*length)];
                removed
            }
            Self::Small(entries) => entries.swap_remove(position),
            Self::Large(large) => large.remove(keys, position),
        }
    }

    fn make_room(&mut self, keys: &Keys) {
        match self {
            Self::Inline(length, entries) if usize::from(*length) == INLINE => {
                let mut grown = Vec::new();
                grown.reserve_exact(INLINE + STEP);
                grown.extend_from_slice(entries);
                *self = Self::Small(grown);
            }
            Self::Small(entries) if entries.len() >= SMALL => {
                *self = Self::Large(Box::new(Large::new(keys, std::mem::take(entries))));
            }
            Self::Small(entries) if entries.len() == entries.capacity() => entries.reserve_exact(STEP),
            _ => {}
        }
    }

    fn shrink(&mut self, keys: &Keys) {
        match self {
            Self::Large(large) if large.entries.len() <= SHRINK => {
                let mut entries = std::mem::take(&mut large.entries);
                entries.shrink_to(SHRINK + INLINE);
                *self = Self::Small(entries);
            }
            Self::Large(large) => large.shrink(keys),
            Self::Small(entries) if entries.len() <= INLINE => {
                let mut inline = [vacant(); INLINE];
                inline[..entries.len()].copy_from_slice(entries);
                *self = Self::Inline(entries.len() as u8, inline);
            }
            Self::Small(entries) if entries.len() + 2 * STEP <= entries.capacity() => {
                entries.shrink_to(entries.capacity() - STEP);
            }
            _ => {}
        }
    }
}

impl<const N: usize> Large<N> {
    fn new(keys: &Keys, entries: Vec<Entry<N>>) -> Self {
        let mut large = Self {
            entries: Vec::with_capacity(2 * entries.len()),
            leechers: 0,
            partial_seeds: 0,
            by_host: HashTable::with_capacity(2 * entries.len()),
            by_identity: HashTable::new(),
        };
        for entry in entries {
            large.insert(keys, entry);
        }
        large
    }

    fn find(&self, keys: &Keys, addr: &[u8; N]) -> Found {
        let mut of_host = 0;
        for &position in self.by_host.iter_hash(place(keys, addr)) {
            let other = &self.entries[position as usize].addr;
            if other == addr {
                return Found::At(position as usize);
            }
            of_host += usize::from(host(other) == host(addr));
        }
        Found::Not { of_host }
    }

    fn insert(&mut self, keys: &Keys, entry: Entry<N>) -> usize {
        let end = self.entries.len();
        if end == self.entries.capacity() {
            // Doubling would leave half of it empty.
            self.entries.reserve_exact(end / 4 + 1);
        }
        self.entries.push(entry);
        let entries = &self.entries;
        let rehash = |&position: &u32| place(keys, &entries[position as usize].addr);
        self.by_host.insert_unique(place(keys, &entry.addr), end as u32, rehash);
        self.index_identity(end);
        if entry.role() == Role::Seed {
            return end;
        }
        self.swap(keys, end, self.leechers);
        self.leechers += 1;
        self.partial_seeds += usize::from(entry.role() == Role::PartialSeed);
        self.leechers - 1
    }

    fn update(&mut self, keys: &Keys, position: usize, mark: Mark) -> usize {
        let before = self.entries[position].mark();
        if before.identity != mark.identity {
            self.unindex_identity(position);
            self.entries[position].set_mark(mark);
            self.index_identity(position);
        } else {
            self.entries[position].set_mark(mark);
        }
        self.partial_seeds -= usize::from(before.role == Role::PartialSeed);
        self.partial_seeds += usize::from(mark.role == Role::PartialSeed);
        match (before.role == Role::Seed, mark.role == Role::Seed) {
            (false, true) => {
                self.leechers -= 1;
                self.swap(keys, position, self.leechers);
                self.leechers
            }
            (true, false) => {
                self.swap(keys, position, self.leechers);
                self.leechers += 1;
                self.leechers - 1
            }
            _ => position,
        }
    }

    fn remove(&mut self, keys: &Keys, mut position: usize) -> Entry<N> {
        if position < self.leechers {
            // To the end of the leechers; the gap that it leaves there is then filled by a seed, before which the border moves.
            self.leechers -= 1;
            self.swap(keys, position, self.leechers);
            position = self.leechers;
        }
        let last = self.entries.len() - 1;
        self.swap(keys, position, last);
        self.unindex_identity(last);
        let hash = place(keys, &self.entries[last].addr);
        if let Ok(slot) = self.by_host.find_entry(hash, |&at| at as usize == last) {
            slot.remove();
        }
        let removed = self.entries[last];
        self.entries.pop();
        self.partial_seeds -= usize::from(removed.role() == Role::PartialSeed);
        removed
    }

    fn swap(&mut self, keys: &Keys, a: usize, b: usize) {
        if a == b {
            return;
        }
        let [first, second] = [a, b].map(|position| place(keys, &self.entries[position].addr));
        repoint(&mut self.by_host, (first, a), (second, b));
        if N == V6 {
            let [first, second] = [a, b].map(|position| self.entries[position].identity());
            match (first, second) {
                (0, 0) => {}
                (first, 0) => move_to(&mut self.by_identity, spread(first), a, b),
                (0, second) => move_to(&mut self.by_identity, spread(second), b, a),
                _ => repoint(&mut self.by_identity, (spread(first), a), (spread(second), b)),
            }
        }
        self.entries.swap(a, b);
    }

    fn index_identity(&mut self, position: usize) {
        let identity = self.entries[position].identity();
        if N == V6 && identity != 0 {
            let entries = &self.entries;
            let rehash = |&position: &u32| spread(entries[position as usize].identity());
            self.by_identity.insert_unique(spread(identity), position as u32, rehash);
        }
    }

    fn unindex_identity(&mut self, position: usize) {
        let identity = self.entries[position].identity();
        if N == V6
            && identity != 0
            && let Ok(slot) = self.by_identity.find_entry(spread(identity), |&at| at as usize == position)
        {
            slot.remove();
        }
    }

    fn pick_public(
        &self,
        rng: &mut fastrand::Rng,
        asker: Asker,
        candidates: usize,
        wanted: usize,
        picked: &mut Vec<u8>,
    ) -> usize {
        let start = rng.usize(..candidates);
        let positions = (start..candidates).chain(0..start).take(MAX_LOOKS);
        let found = positions.filter(|&position| {
            asker.position != Some(position) && !is_loopback(&self.entries[position].addr)
        });
        found.take(wanted).map(|at| picked.extend_from_slice(&self.entries[at].addr)).count()
    }

    fn shrink(&mut self, keys: &Keys) {
        let length = self.entries.len();
        if self.entries.capacity() > 2 * length {
            self.entries.shrink_to(length + length / 4);
        }
        if length <= MAX_SHRINK && self.by_host.capacity() > 4 * length {
            let Self { entries, by_host, by_identity, .. } = self;
            by_host.shrink_to(2 * length, |&position| place(keys, &entries[position as usize].addr));
            by_identity.shrink_to(0, |&position| spread(entries[position as usize].identity()));
        }
    }
}

/// Where a peer stands in the table: all of one public host at one place. A private network may have any number of peers
/// behind one address, which must not all be at one place.
fn place<const N: usize>(keys: &Keys, addr: &[u8; N]) -> u64 {
    let port = if is_public(ip(addr)) { 0 } else { u64::from(addr[N - 2]) << 8 | u64::from(addr[N - 1]) };
    keys.hash_numbers(host(addr), port)
}

/// Exchanges two positions in a table.
fn repoint(table: &mut HashTable<u32>, (hash_a, a): (u64, usize), (hash_b, b): (u64, usize)) {
    /// Where both are while they change places.
    const NOWHERE: u32 = u32::MAX;
    if let Some(at) = table.find_mut(hash_a, |&at| at as usize == a) {
        *at = NOWHERE;
    }
    move_to(table, hash_b, b, a);
    if let Some(at) = table.find_mut(hash_a, |&at| at == NOWHERE) {
        *at = b as u32;
    }
}

fn move_to(table: &mut HashTable<u32>, hash: u64, from: usize, to: usize) {
    if let Some(at) = table.find_mut(hash, |&at| at as usize == from) {
        *at = to as u32;
    }
}

/// Identities are of a keyed hash already; a table wants all of its 64 bits used.
fn spread(identity: u32) -> u64 {
    u64::from(identity).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(20)
}

/// Positions `0..length`: all if `wanted` are not fewer, else runs of neighbours, one at a random place in each of as many
/// equal parts of the list, which itself is entered at a random place. Costs as many steps as are wanted, however long the
/// list is; each entry is met equally often.
fn walk(rng: &mut fastrand::Rng, length: usize, wanted: usize, mut each: impl FnMut(usize)) {
    if length <= wanted {
        if length > 0 {
            let start = rng.usize(..length);
            (start..length).chain(0..start).for_each(each);
        }
        return;
    }
    let runs = wanted.div_ceil(RUN);
    let start = rng.usize(..length);
    for run in 0..runs {
        // What is wanted and what is passed over, each in equal parts.
        let [first, last] = [run, run + 1].map(|run| run * wanted / runs);
        let [passed, to_pass] = [run, run + 1].map(|run| run * (length - wanted) / runs);
        let count = last - first;
        let offset = first + passed + rng.usize(..=to_pass - passed);
        for position in offset..offset + count {
            let position = start + position;
            each(if position >= length { position - length } else { position });
        }
    }
}

/// Fills places that hold no peer.
fn vacant<const N: usize>() -> Entry<N> {
    Entry::new([0; N], Mark { role: Role::Leecher, counted: false, paired: false, seen: 0, identity: 0 })
}

#[cfg(test)]
mod tests;
