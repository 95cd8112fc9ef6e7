//! Who announces what: a fixed population of peers over torrents whose popularity falls off by Zipf's law, seeded, so that every
//! tracker gets the same.

use std::net::{IpAddr, Ipv4Addr};

/// The share of peers that have all of their torrent, in percent.
const SEEDS: u32 = 30;

/// The lowest port that a peer announces.
const FIRST_PORT: u16 = 2_000;

/// One in so many announces says `stopped`; the peer comes back with its next.
const STOPS: u32 = 32;

/// A peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    /// An index into the torrents.
    pub(crate) torrent: u32,
    /// What it announces.
    pub(crate) port: u16,
    pub(crate) seed: bool,
    /// Unique.
    pub(crate) number: u32,
}

/// What a peer says now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    None,
    Stopped,
}

/// All torrents and peers.
#[derive(Debug)]
pub(crate) struct Population {
    hashes: Vec<[u8; 20]>,
    /// By the address that they have in common.
    sources: Vec<Vec<Member>>,
}

impl Population {
    /// `peers` over `torrents`, the k-th of which draws 1/k of what the first does, from `sources` addresses.
    pub(crate) fn zipf(torrents: u32, peers: u32, sources: u32) -> Self {
        let mut sum = 0.0;
        let reach: Vec<f64> = (1..=torrents)
            .map(|rank| {
                sum += 1.0 / f64::from(rank);
                sum
            })
            .collect();
        let torrent = |random: &mut fastrand::Rng| {
            let at = random.f64() * sum;
            reach.partition_point(|&reach| reach <= at).min(torrents as usize - 1) as u32
        };
        Self::new(torrents, peers, sources, torrent)
    }

    /// `peers` over `torrents`, the same number for each.
    pub(crate) fn even(torrents: u32, peers: u32, sources: u32) -> Self {
        let mut next = 0;
        Self::new(torrents, peers, sources, |_| {
            next += 1;
            (next - 1) % torrents
        })
    }

    fn new(
        torrents: u32,
        peers: u32,
        sources: u32,
        mut torrent: impl FnMut(&mut fastrand::Rng) -> u32,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(2);
        let mut hashes = vec![[0; 20]; torrents as usize];
        hashes.iter_mut().for_each(|hash| random.fill(hash));
        let mut sizes = vec![0u32; torrents as usize];
        let mut members = vec![Vec::with_capacity((peers / sources) as usize + 1); sources as usize];
        for number in 0..peers {
            let torrent = torrent(&mut random);
            let source = &mut members[(number % sources) as usize];
            // Unique for its torrent, whatever the address.
            let size = &mut sizes[torrent as usize];
            let port = FIRST_PORT + (*size % u32::from(u16::MAX - FIRST_PORT)) as u16;
            *size += 1;
            source.push(Member { torrent, port, seed: random.u32(0..100) < SEEDS, number });
        }
        members.iter_mut().for_each(|source| random.shuffle(source));
        Self { hashes, sources: members }
    }

    /// Every torrent's info hash.
    pub(crate) fn hashes(&self) -> &[[u8; 20]] {
        &self.hashes
    }

    pub(crate) fn hash(&self, member: Member) -> &[u8; 20] {
        &self.hashes[member.torrent as usize]
    }

    /// The peers of each address.
    pub(crate) fn sources(&self) -> &[Vec<Member>] {
        &self.sources
    }

    /// How many peers.
    pub(crate) fn len(&self) -> u64 {
        self.sources.iter().map(|source| source.len() as u64).sum()
    }
}

/// The address of a source: all of 127.0.0.0/8 is this machine.
pub(crate) fn address(source: usize) -> IpAddr {
    Ipv4Addr::new(127, 1, (source / 250) as u8, (source % 250) as u8 + 1).into()
}

impl Member {
    /// Its peer id: some trackers know peers by nothing else.
    pub(crate) fn id(self) -> [u8; 20] {
        let mut id = *b"-XX0001-00000000aaaa";
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (place, digit) in id[8..16].iter_mut().rev().enumerate() {
            *digit = DIGITS[(self.number >> (4 * place)) as usize & 15];
        }
        id
    }

    /// Bytes that it lacks.
    pub(crate) fn left(self) -> u64 {
        if self.seed { 0 } else { 1 << 20 }
    }

    /// What it says in its `turn`th announce after the first.
    pub(crate) fn event(self, turn: u32) -> Event {
        if self.number.wrapping_mul(31).wrapping_add(turn) % STOPS == STOPS - 1 {
            Event::Stopped
        } else {
            Event::None
        }
    }
}
