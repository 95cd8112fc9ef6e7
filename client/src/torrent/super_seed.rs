//! A seed that says it has less (BEP 16): [`SuperSeed`].
//!
//! To each peer it names one piece at a time, of those that nobody has; the next once the peer has passed that one on, which it hears from
//! whoever got it. So hardly anything leaves it twice before all of it is in the swarm, whatever the downloaders' own picking is
//! like. It is for a first seed whose uplink is the swarm's narrowest place. Once every piece is elsewhere it is a seed like any other.
//!
//! Peers that can't reach each other pass nothing on. They must not leave the uplink idle: each time it is, they are named a piece
//! more, twice as many each time in a row.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use torrent_format::{Bitfield, Layout, PieceIndex};

use super::Time;
use super::peers::PeerKey;

/// How long a peer has, beside an idle uplink, before it is named another piece.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pieces that a peer is named at once, at most.
const MAX_NAMED: u32 = 64;

#[derive(Debug)]
pub(super) struct SuperSeed {
    /// Pieces that nobody was named in this round, in random order.
    fresh: VecDeque<PieceIndex>,
    told: BTreeMap<PeerKey, Told>,
    rng: fastrand::Rng,
}

/// What a peer knows of us.
#[derive(Debug)]
struct Told {
    pieces: Bitfield,
    /// The piece that it is to pass on before it is named another.
    waits: Option<PieceIndex>,
    since: Time,
    /// Pieces that it is named when it has waited beside an idle uplink.
    portion: u32,
}

/// What is known of who has what.
#[derive(Clone, Copy)]
pub(super) struct Swarm<'a> {
    /// Of the torrent.
    pub(super) layout: &'a Layout,
    /// How many peers have a piece.
    pub(super) availability: &'a dyn Fn(PieceIndex) -> u32,
    /// How many peers there are.
    pub(super) peers: usize,
    /// Whether a peer has a piece.
    pub(super) has: &'a dyn Fn(PeerKey, PieceIndex) -> bool,
    /// The uplink has nothing to do.
    pub(super) idle: bool,
}

impl SuperSeed {
    pub(super) fn new(seed: u64) -> Self {
        Self { fresh: VecDeque::new(), told: BTreeMap::new(), rng: fastrand::Rng::with_seed(seed) }
    }

    /// A peer has come, to a torrent of so many pieces.
    pub(super) fn add(&mut self, now: Time, key: PeerKey, pieces: u32) {
        let told = Told { pieces: Bitfield::none(pieces), waits: None, since: now, portion: 1 };
        self.told.insert(key, told);
    }

    /// A peer is gone.
    pub(super) fn remove(&mut self, key: PeerKey) {
        self.told.remove(&key);
    }

    /// Whether this peer may know that we have this piece.
    pub(super) fn shows(&self, key: PeerKey, piece: PieceIndex) -> bool {
        self.told.get(&key).is_some_and(|told| told.pieces.has(piece))
    }

    /// A peer has this piece: whoever was named it, and is another, has passed it on. Whether [`Self::next`] may have something now.
    pub(super) fn seen(&mut self, piece: PieceIndex, by: PeerKey) -> bool {
        let mut is_awaited = false;
        for (&key, told) in self.told.iter_mut().filter(|(_, told)| told.waits == Some(piece)) {
            is_awaited = true;
            if key != by {
                told.waits = None;
                told.portion = 1;
            }
        }
        is_awaited
    }

    /// Looks at all pieces: when all were named, those that nobody has got for all that will be named again; of these, such as somebody
    /// may be fetching only beside an idle uplink. `false`: every piece is elsewhere too, and there is nothing left to save.
    pub(super) fn look_around(&mut self, swarm: Swarm<'_>) -> bool {
        let mut missing = swarm.layout.pieces().filter(|&piece| (swarm.availability)(piece) == 0).peekable();
        let is_needed = missing.peek().is_some();
        if self.fresh.is_empty() {
            let named: BTreeSet<_> = self.told.values().filter_map(|told| told.waits).collect();
            self.fresh = missing.filter(|piece| swarm.idle || !named.contains(piece)).collect();
            self.rng.shuffle(self.fresh.make_contiguous());
        }
        is_needed
    }

    /// Pieces to name to peers now: to those that have passed theirs on, or that have nobody to pass it on to.
    pub(super) fn next(&mut self, now: Time, swarm: Swarm<'_>) -> Vec<(PeerKey, PieceIndex)> {
        let mut named = Vec::new();
        for key in self.told.keys().copied().collect::<Vec<_>>() {
            let Some(told) = self.told.get_mut(&key) else { continue };
            let last_to_get =
                |piece| (swarm.has)(key, piece) && (swarm.availability)(piece) as usize >= swarm.peers;
            let portion = match told.waits {
                Some(piece) if !last_to_get(piece) => {
                    if !swarm.idle || now - told.since < PATIENCE {
                        continue;
                    }
                    told.portion = (told.portion * 2).min(MAX_NAMED);
                    told.portion
                }
                _ => 1,
            };
            for _ in 0..portion {
                let Some(piece) = self.pick(key, swarm) else { break };
                let Some(told) = self.told.get_mut(&key) else { break };
                told.pieces.set(piece);
                told.waits = Some(piece);
                told.since = now;
                named.push((key, piece));
            }
        }
        named
    }

    /// A piece that nobody has, and that this peer was not named.
    fn pick(&mut self, key: PeerKey, swarm: Swarm<'_>) -> Option<PieceIndex> {
        while let Some(&piece) = self.fresh.front()
            && (swarm.availability)(piece) > 0
        {
            self.fresh.pop_front();
        }
        let is_for_it = |&piece: &PieceIndex| (swarm.availability)(piece) == 0 && !self.shows(key, piece);
        let next = self.fresh.iter().position(is_for_it)?;
        self.fresh.remove(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed of ten pieces, its peers, and what they have.
    struct Scene {
        layout: Layout,
        seed: SuperSeed,
        have: BTreeSet<(PeerKey, PieceIndex)>,
        peers: Vec<PeerKey>,
        now: Time,
    }

    impl Scene {
        fn new(peers: u32) -> Self {
            let layout = Layout::new(16_384, [16_384 * 10]).unwrap();
            let mut seed = SuperSeed::new(1);
            let peers: Vec<_> = (0..peers).map(PeerKey::for_test).collect();
            for &key in &peers {
                seed.add(Time::default(), key, 10);
            }
            Self { layout, seed, have: BTreeSet::new(), peers, now: Time::default() }
        }

        fn next(&mut self, idle: bool) -> Vec<(PeerKey, PieceIndex)> {
            let Self { layout, seed, have, peers, now } = self;
            let availability = |piece| have.iter().filter(|&&(_, had)| had == piece).count() as u32;
            let has = |key, piece| have.contains(&(key, piece));
            let (availability, peers) = (&availability, peers.len());
            let swarm = Swarm { layout, availability, peers, has: &has, idle };
            seed.look_around(swarm);
            seed.next(*now, swarm)
        }

        fn gets(&mut self, key: PeerKey, piece: PieceIndex) {
            self.have.insert((key, piece));
            self.seed.seen(piece, key);
        }
    }

    #[test]
    fn each_peer_is_named_another_piece_and_the_next_when_it_has_passed_it_on() {
        let mut scene = Scene::new(3);
        let first = scene.next(false);
        let pieces: BTreeSet<_> = first.iter().map(|&(_, piece)| piece).collect();
        assert_eq!((first.len(), pieces.len()), (3, 3));
        let ((a, piece), (b, _)) = (first[0], first[1]);
        assert!(scene.seed.shows(a, piece) && !scene.seed.shows(b, piece));
        scene.gets(a, piece);
        assert!(scene.next(false).is_empty(), "it has not passed it on");
        scene.gets(b, piece);
        let second = scene.next(false);
        assert_eq!(second.len(), 1);
        assert_eq!(second[0].0, a);
        assert!(!pieces.contains(&second[0].1), "one that nobody has or was named");
    }

    #[test]
    fn a_peer_alone_has_nobody_to_pass_it_on_to() {
        let mut scene = Scene::new(1);
        let mut named = BTreeSet::new();
        for _ in 0..10 {
            let next = scene.next(false);
            assert_eq!(next.len(), 1);
            named.insert(next[0].1);
            scene.gets(next[0].0, next[0].1);
        }
        assert_eq!(named.len(), 10);
        assert!(scene.next(false).is_empty(), "all of it is elsewhere");
    }

    #[test]
    fn peers_that_cannot_reach_each_other_do_not_leave_the_uplink_idle() {
        let mut scene = Scene::new(2);
        for (key, piece) in scene.next(false) {
            scene.gets(key, piece);
        }
        assert!(scene.next(true).is_empty(), "a moment to pass it on");
        scene.now = Time(PATIENCE);
        let second = scene.next(true);
        assert_eq!(second.len(), 4, "two each");
        for (key, piece) in second {
            scene.gets(key, piece);
        }
        scene.now = Time(PATIENCE * 2);
        assert_eq!(scene.next(true).len(), 4, "the four that are left");
    }

    #[test]
    fn who_does_not_fetch_what_it_was_named_does_not_keep_it_from_others() {
        let mut scene = Scene::new(10);
        let first = scene.next(false);
        assert_eq!(first.len(), 10);
        let (lazy, lost) = first[0];
        for &(key, piece) in &first[1..] {
            scene.gets(key, piece);
            scene.gets(first[(key.slot() + 1) % 10].0, piece);
        }
        assert!(scene.next(false).is_empty(), "the last piece is with somebody");
        scene.now = Time(PATIENCE);
        let again = scene.next(true);
        assert!(again.iter().any(|&(key, piece)| key != lazy && piece == lost), "{again:?}");
    }
}
