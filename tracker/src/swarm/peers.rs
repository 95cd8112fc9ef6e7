//! The peers of one swarm and one address family: [`PeerList`].

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::net::{IpAddr, SocketAddr};

use indexmap::IndexMap;
use smallvec::SmallVec;

/// Up to so many peers are searched one after another; above, they are hashed. Most swarms have two peers or fewer, and those
/// two lie inline.
const SMALL: usize = 16;

/// A hashed list is given up when so few peers are left; less than [`SMALL`], so that a swarm at the border does not move to
/// and fro.
const SHRINK: usize = SMALL / 2;

/// Most entries looked at to find peers that a predicate admits. Only loopback peers are ever refused, and a swarm that is
/// full of them may answer with fewer than it could.
const MAX_LOOKS: usize = 4096;

/// What a tracker remembers of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// When it last announced, in seconds since the tracker's start.
    pub(super) last_seen: u32,
    /// What it has.
    pub(super) role: Role,
    /// Its completion was counted already.
    pub(super) counted: bool,
}

/// What a peer has of the torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Not everything.
    Leecher,
    /// Not everything, but all it wants (BEP 21). Counts as a leecher that does not download.
    PartialSeed,
    /// Everything.
    Seed,
}

/// Where a peer can be reached; 6 or 18 bytes.
pub(super) type Key<I> = (I, u16);

/// Peers by address and port, leechers before seeds.
#[derive(Debug)]
pub(super) struct PeerList<I> {
    store: Store<I>,
    /// Entries `0..leechers` are leechers and partial seeds, all further ones are seeds: counts need no counting, and a
    /// seed's candidates are one range.
    leechers: usize,
    /// How many of the leechers are partial seeds.
    partial_seeds: usize,
}

#[derive(Debug)]
enum Store<I> {
    Small(SmallVec<[(Key<I>, Peer); 2]>),
    Large(Box<Large<I>>),
}

/// Ordered by insertion and removal alone: the hashes are keyed at random against floods, and nothing that is answered
/// depends on them.
#[derive(Debug)]
struct Large<I> {
    peers: IndexMap<Key<I>, Peer>,
    /// How many entries each host has; never 0.
    hosts: HashMap<u64, u32>,
}

impl<I> Default for PeerList<I> {
    fn default() -> Self {
        Self { store: Store::Small(SmallVec::new()), leechers: 0, partial_seeds: 0 }
    }
}

impl<I: Copy + Eq + Hash + Into<IpAddr>> PeerList<I> {
    pub(super) fn len(&self) -> usize {
        match &self.store {
            Store::Small(peers) => peers.len(),
            Store::Large(large) => large.peers.len(),
        }
    }

    pub(super) fn seeds(&self) -> usize {
        self.len() - self.leechers
    }

    /// Partial seeds included.
    pub(super) fn leechers(&self) -> usize {
        self.leechers
    }

    pub(super) fn partial_seeds(&self) -> usize {
        self.partial_seeds
    }

    /// How many entries are of the same host as `ip` (see [`host`]).
    pub(super) fn of_host(&self, ip: I) -> usize {
        let wanted = host(ip.into());
        match &self.store {
            Store::Small(peers) => peers.iter().filter(|((ip, _), _)| host((*ip).into()) == wanted).count(),
            Store::Large(large) => large.hosts.get(&wanted).map_or(0, |&count| count as usize),
        }
    }

    /// Adds a peer that is not there.
    pub(super) fn insert(&mut self, key: Key<I>, peer: Peer) {
        debug_assert!(self.position(&key).is_none(), "a peer is removed before it is inserted again");
        self.grow();
        let end = self.len();
        match &mut self.store {
            Store::Small(peers) => peers.push((key, peer)),
            Store::Large(large) => {
                large.peers.insert(key, peer);
                *large.hosts.entry(host(key.0.into())).or_insert(0) += 1;
            }
        }
        if peer.role != Role::Seed {
            self.swap(end, self.leechers);
            self.leechers += 1;
            self.partial_seeds += usize::from(peer.role == Role::PartialSeed);
        }
    }

    /// Takes a peer out.
    pub(super) fn remove(&mut self, key: &Key<I>) -> Option<Peer> {
        let position = self.position(key)?;
        let peer = self.remove_at(position);
        self.shrink();
        Some(peer)
    }

    /// Forgets the peers last seen before `deadline`.
    pub(super) fn expire(&mut self, deadline: u32) {
        // Backwards: what a removal moves into the gap comes from further back and was looked at already.
        for position in (0..self.len()).rev() {
            if self.entry(position).1.last_seen < deadline {
                self.remove_at(position);
            }
        }
        self.shrink();
    }

    /// Adds up to `wanted` peers that `admits` takes to `picked`, at random: all if there are not more; of the leechers only
    /// if `for_seed`, since two seeds have nothing to say to each other.
    pub(super) fn pick(
        &self,
        rng: &mut fastrand::Rng,
        for_seed: bool,
        wanted: usize,
        admits: impl Fn(IpAddr) -> bool,
        picked: &mut Vec<SocketAddr>,
    ) {
        let candidates = if for_seed { self.leechers } else { self.len() };
        let chosen = walk(rng, candidates).take(MAX_LOOKS).map(|position| self.entry(position).0);
        let admitted =
            chosen.map(|(ip, port)| SocketAddr::new(ip.into(), port)).filter(|peer| admits(peer.ip()));
        picked.extend(admitted.take(wanted));
    }

    fn position(&self, key: &Key<I>) -> Option<usize> {
        match &self.store {
            Store::Small(peers) => peers.iter().position(|(other, _)| other == key),
            Store::Large(large) => large.peers.get_index_of(key),
        }
    }

    fn entry(&self, position: usize) -> (Key<I>, Peer) {
        match &self.store {
            Store::Small(peers) => peers[position],
            Store::Large(large) => {
                let (&key, &peer) = large.peers.get_index(position).expect("a position below the length");
                (key, peer)
            }
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        match &mut self.store {
            Store::Small(peers) => peers.swap(a, b),
            Store::Large(large) => large.peers.swap_indices(a, b),
        }
    }

    fn remove_at(&mut self, mut position: usize) -> Peer {
        if position < self.leechers {
            // To the end of the leechers; the gap that it leaves there is then filled by a seed, before which the border moves.
            self.leechers -= 1;
            self.swap(position, self.leechers);
            position = self.leechers;
        }
        let (key, peer) = self.entry(position);
        match &mut self.store {
            Store::Small(peers) => {
                peers.swap_remove(position);
            }
            Store::Large(large) => {
                large.peers.swap_remove_index(position);
                large.forget_host(host(key.0.into()));
            }
        }
        self.partial_seeds -= usize::from(peer.role == Role::PartialSeed);
        peer
    }

    fn grow(&mut self) {
        let Store::Small(small) = &mut self.store else {
            return;
        };
        if small.len() < SMALL {
            return;
        }
        let mut hosts = HashMap::new();
        for ((ip, _), _) in small.iter() {
            *hosts.entry(host((*ip).into())).or_insert(0) += 1;
        }
        let peers = mem::take(small).into_iter().collect();
        self.store = Store::Large(Box::new(Large { peers, hosts }));
    }

    fn shrink(&mut self) {
        let Store::Large(large) = &mut self.store else {
            return;
        };
        let length = large.peers.len();
        if length <= SHRINK {
            self.store = Store::Small(mem::take(&mut large.peers).into_iter().collect());
        } else if large.peers.capacity() > 4 * length {
            large.peers.shrink_to(2 * length);
            large.hosts.shrink_to(2 * length);
        }
    }
}

impl<I> Large<I> {
    fn forget_host(&mut self, host: u64) {
        if let Some(count) = self.hosts.get_mut(&host) {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(&host);
            }
        }
    }
}

/// What counts as one host: an IPv4 address, or an IPv6 network of 64 bits, which is what one host can choose its addresses
/// from.
fn host(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

/// Each of `0..length` once, in one of many orders: from a random start in random strides that share no divisor with the
/// length. The first `k` cost `k` steps, however long the list is.
fn walk(rng: &mut fastrand::Rng, length: usize) -> impl Iterator<Item = usize> + use<> {
    let (start, stride) = match length {
        0 | 1 => (0, 1),
        _ => (rng.usize(..length), coprime_below(rng, length)),
    };
    (0..length).scan(start, move |position, _| {
        let here = *position;
        // Lengths are far from overflow: a list is bounded by memory, at 8 bytes or more an entry.
        *position = (here + stride) % length;
        Some(here)
    })
}

fn coprime_below(rng: &mut fastrand::Rng, length: usize) -> usize {
    // On average six of ten numbers will do.
    loop {
        let stride = rng.usize(1..length);
        if greatest_common_divisor(stride, length) == 1 {
            return stride;
        }
    }
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn key(number: u32) -> Key<Ipv4Addr> {
        (Ipv4Addr::from_bits(0x0a00_0000 + number), 6881)
    }

    fn peer(role: Role) -> Peer {
        Peer { last_seen: 0, role, counted: false }
    }

    fn is_large(list: &PeerList<Ipv4Addr>) -> bool {
        matches!(list.store, Store::Large(_))
    }

    fn picked(list: &PeerList<Ipv4Addr>, for_seed: bool, wanted: usize, seed: u64) -> Vec<SocketAddr> {
        let mut picked = Vec::new();
        list.pick(&mut fastrand::Rng::with_seed(seed), for_seed, wanted, |_| true, &mut picked);
        picked
    }

    #[test]
    fn two_peers_lie_inline_in_the_bytes_that_are_meant() {
        assert_eq!(size_of::<(Key<Ipv4Addr>, Peer)>(), 16);
        assert_eq!(size_of::<(Key<Ipv6Addr>, Peer)>(), 28);
        assert!(size_of::<PeerList<Ipv4Addr>>() <= 64, "{}", size_of::<PeerList<Ipv4Addr>>());
    }

    #[test]
    fn a_walk_meets_every_entry_once() {
        let mut rng = fastrand::Rng::with_seed(1);
        for length in [0, 1, 2, 3, 4, 30, 97, 1000] {
            let met: BTreeSet<_> = walk(&mut rng, length).collect();
            assert_eq!(met, (0..length).collect(), "{length}");
        }
    }

    /// The rule that counts are read off, checked against a plain list through random insertions, removals and expiries.
    #[test]
    fn leechers_come_before_seeds_whatever_happens() {
        let mut rng = fastrand::Rng::with_seed(7);
        for limit in [4, 20, 60] {
            let mut list = PeerList::default();
            let mut model: Vec<(Key<Ipv4Addr>, Peer)> = Vec::new();
            for time in 0..3000 {
                let key = key(rng.u32(..limit));
                let expected =
                    model.iter().position(|(other, _)| *other == key).map(|i| model.swap_remove(i).1);
                assert_eq!(list.remove(&key), expected);
                if rng.u8(..4) > 0 {
                    let role = [Role::Leecher, Role::PartialSeed, Role::Seed][rng.usize(..3)];
                    let peer = Peer { last_seen: time, role, counted: rng.bool() };
                    list.insert(key, peer);
                    model.push((key, peer));
                }
                if rng.u8(..50) == 0 {
                    let deadline = time.saturating_sub(rng.u32(..100));
                    list.expire(deadline);
                    model.retain(|(_, peer)| peer.last_seen >= deadline);
                }

                let count = |role| model.iter().filter(|(_, peer)| peer.role == role).count();
                assert_eq!(list.len(), model.len());
                assert_eq!(list.seeds(), count(Role::Seed));
                assert_eq!(list.partial_seeds(), count(Role::PartialSeed));
                assert_eq!(list.leechers(), count(Role::Leecher) + count(Role::PartialSeed));
                for position in 0..list.len() {
                    let entry = list.entry(position);
                    assert!(model.contains(&entry));
                    assert_eq!(entry.1.role == Role::Seed, position >= list.leechers());
                    assert_eq!(list.of_host(entry.0.0), 1);
                }
            }
        }
    }

    #[test]
    fn a_list_grows_into_a_hashed_one_and_shrinks_back() {
        let mut list = PeerList::default();
        for number in 0..=SMALL as u32 {
            list.insert(key(number), peer(Role::Seed));
        }
        assert!(is_large(&list));
        for number in 0..SHRINK as u32 {
            list.remove(&key(number));
            assert!(is_large(&list));
        }
        list.remove(&key(SHRINK as u32));
        assert!(!is_large(&list));
        assert_eq!(list.len(), SHRINK);
    }

    #[test]
    fn hosts_are_counted_in_small_lists_and_in_large_ones() {
        let mut list = PeerList::default();
        let ip = Ipv4Addr::new(192, 0, 2, 1);
        for port in 1..=100 {
            list.insert((ip, port), peer(Role::Leecher));
            assert_eq!(list.of_host(ip), usize::from(port));
        }
        for port in (1..=100).rev() {
            list.remove(&(ip, port));
            assert_eq!(list.of_host(ip), usize::from(port) - 1);
        }

        let mut list = PeerList::default();
        let [a, b, c]: [Ipv6Addr; 3] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|ip| ip.parse().unwrap());
        list.insert((a, 1), peer(Role::Leecher));
        list.insert((b, 1), peer(Role::Leecher));
        assert_eq!((list.of_host(a), list.of_host(b), list.of_host(c)), (2, 2, 0));
    }

    #[test]
    fn a_pick_is_of_distinct_peers_and_differs_from_time_to_time() {
        let mut list = PeerList::default();
        for number in 0..1000 {
            list.insert(key(number), peer(if number % 2 == 0 { Role::Seed } else { Role::Leecher }));
        }
        let first = picked(&list, false, 50, 1);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 50);
        assert_ne!(first, picked(&list, false, 50, 2));
        assert_eq!(first, picked(&list, false, 50, 1), "the same seed picks the same");

        let leechers: BTreeSet<_> = picked(&list, true, 2000, 1).into_iter().collect();
        let expected: BTreeSet<_> =
            (0..1000).filter(|n| n % 2 == 1).map(|n| SocketAddr::from(key(n))).collect();
        assert_eq!(leechers, expected);
    }

    #[test]
    fn in_the_long_run_everyone_is_picked_as_often_as_the_others() {
        let mut list = PeerList::default();
        for number in 0..100 {
            list.insert(key(number), peer(Role::Leecher));
        }
        let mut counts: HashMap<SocketAddr, u32> = HashMap::new();
        for seed in 0..2000 {
            for peer in picked(&list, false, 10, seed) {
                *counts.entry(peer).or_default() += 1;
            }
        }
        // 200 each are expected; the bounds are five standard deviations away.
        assert_eq!(counts.len(), 100);
        assert!(counts.values().all(|count| (130..=270).contains(count)), "{counts:?}");
    }
}
