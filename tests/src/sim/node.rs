//! A participant: its torrent, its uplink and downlink, and the books that say which bytes it holds and what they cost.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use client::torrent::{PeerKey, Time, Torrent};
use client::wire::BlockRequest;
use torrent_format::merkle::Hash;
use torrent_format::{BLOCK_LENGTH, Bitfield, Info, PeerId, PieceIndex};

use super::event::NodeId;
use super::link::{LinkId, Side, Uplink};
use super::scenario::{Holding, NodeSpec};

/// Where every node listens, each at its own address.
pub const PORT: u16 = 6881;

/// A participant.
#[derive(Debug)]
pub struct Node {
    /// What the scenario says of it.
    pub spec: NodeSpec,
    /// Where it listens.
    pub addr: SocketAddr,
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Its rules, while it takes part.
    pub torrent: Option<Torrent>,
    /// Its open connections.
    pub keys: BTreeMap<PeerKey, (LinkId, Side)>,
    /// Its uplink.
    pub uplink: Uplink,
    /// When its downlink has taken in all that has reached it.
    pub downlink_free: Time,
    /// When the heap next asks it for a timeout.
    pub wake: Option<Time>,
    /// What it holds.
    pub books: Books,
    /// What passed through it.
    pub traffic: Traffic,
    /// When it had its last piece, if it began without.
    pub finished: Option<Time>,
    /// When it joined.
    pub joined: Option<Time>,
    /// When it went.
    pub gone: Option<Time>,
    /// Whether it has been told to stop.
    pub stopping: bool,
}

/// Payload in bytes, unless said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Left the uplink on an open connection.
    pub sent: u64,
    /// Came through the downlink on an open connection.
    pub received: u64,
    /// Of what came: thrown away at once.
    pub discarded: u64,
    /// Of what came: kept, and thrown away because its piece was bad.
    pub spoilt: u64,
    /// Bytes of messages sent, blocks' 13-byte headers not among them.
    pub control: u64,
    /// `choke` messages sent.
    pub chokes: u64,
}

/// Which bytes a node holds. A piece is nowhere, or in parts, or verified.
#[derive(Debug)]
pub struct Books {
    verified: Bitfield,
    had: u64,
    total: u64,
    /// For each piece in parts, for each of its blocks that was kept, the block's mark.
    parts: BTreeMap<PieceIndex, Vec<Option<u64>>>,
}

/// How hashing a piece would end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashed {
    /// Whether every block is good.
    pub good: bool,
    /// The leaf of each block, in a torrent of any version.
    pub leaves: Vec<Hash>,
    /// Bytes.
    pub size: u64,
}

impl Node {
    /// A participant that has yet to join.
    pub fn new(id: NodeId, spec: NodeSpec, info: &Info) -> Self {
        let books = Books::new(&spec.holding, info);
        let number = u32::try_from(id).expect("fewer nodes than addresses");
        let mut random = *b"sim-00000000";
        random[4..].copy_from_slice(format!("{number:08x}").as_bytes());
        Self {
            spec,
            addr: address(number),
            peer_id: PeerId::azureus(*b"SR0100", random),
            torrent: None,
            keys: BTreeMap::new(),
            uplink: Uplink::default(),
            downlink_free: Time::default(),
            wake: None,
            books,
            traffic: Traffic::default(),
            finished: None,
            joined: None,
            gone: None,
            stopping: false,
        }
    }

    /// Whether it sends bad blocks.
    pub fn is_poisoner(&self) -> bool {
        self.spec.poison > 0.0
    }
}

/// 10.x.y.1: every node has a /24 of its own, so that nothing that counts by network takes two nodes for one.
fn address(number: u32) -> SocketAddr {
    let [_, high, middle, low] = number.to_be_bytes();
    assert_eq!(high, 0, "at most 65,536 nodes have a /24 each");
    (Ipv4Addr::new(10, middle, low, 1), PORT).into()
}

impl Books {
    fn new(holding: &Holding, info: &Info) -> Self {
        let layout = info.layout();
        let mut verified = Bitfield::none(layout.piece_count());
        let range = match holding {
            Holding::Nothing | Holding::Magnet => 0..0,
            Holding::Everything => 0..layout.piece_count(),
            Holding::Pieces(range) => range.clone(),
        };
        let mut had = 0;
        for piece in layout.pieces().filter(|piece| range.contains(&piece.get())) {
            verified.set(piece);
            had += u64::from(layout.piece_size(piece));
        }
        Self { verified, had, total: layout.total(), parts: BTreeMap::new() }
    }

    /// The verified pieces.
    pub fn verified(&self) -> &Bitfield {
        &self.verified
    }

    /// Bytes that it had when it joined.
    pub fn had(&self) -> u64 {
        self.had
    }

    /// Bytes that it lacked when it joined.
    pub fn lacked(&self) -> u64 {
        self.total - self.had
    }

    /// Whether this block is kept or its piece verified.
    pub fn holds(&self, piece: PieceIndex, begin: u32) -> bool {
        let number = (begin / BLOCK_LENGTH) as usize;
        self.verified.has(piece)
            || self.parts.get(&piece).is_some_and(|blocks| blocks.get(number).is_some_and(Option::is_some))
    }

    /// Keeps a block; says whether it was not held before.
    pub fn keep(&mut self, info: &Info, piece: PieceIndex, block: BlockRequest, mark: u64) -> bool {
        if self.holds(piece, block.begin) {
            return false;
        }
        let count = info.layout().block_count(piece) as usize;
        let blocks = self.parts.entry(piece).or_insert_with(|| vec![None; count]);
        blocks[(block.begin / BLOCK_LENGTH) as usize] = Some(mark);
        true
    }

    /// Whether every block of this piece is kept and the piece not yet verified.
    pub fn is_whole(&self, piece: PieceIndex) -> bool {
        self.parts.get(&piece).is_some_and(|blocks| blocks.iter().all(Option::is_some))
    }

    /// Bytes that came and are held.
    pub fn gained(&self, info: &Info) -> u64 {
        let layout = info.layout();
        let verified: u64 = (layout.pieces().filter(|&piece| self.verified.has(piece)))
            .map(|piece| u64::from(layout.piece_size(piece)))
            .sum();
        let parts: u64 = (self.parts.iter())
            .flat_map(|(&piece, marks)| layout.blocks(piece).zip(marks))
            .filter(|(_, mark)| mark.is_some())
            .map(|(block, _)| u64::from(block.length))
            .sum();
        verified + parts - self.had
    }

    /// Hashes a whole piece: it becomes verified, or is thrown away; of a v2 torrent it is kept, for [`Self::drop_blocks`]. `None` if it
    /// is not whole.
    pub fn hash(&mut self, info: &Info, piece: PieceIndex) -> Option<Hashed> {
        if !self.is_whole(piece) {
            return None;
        }
        let marks: Vec<u64> = self.parts.get(&piece)?.iter().copied().flatten().collect();
        let good = marks.iter().all(|&mark| mark == 0);
        if good {
            self.verified.set(piece);
        }
        if good || !info.version().has_v2() {
            self.parts.remove(&piece);
        }
        let leaves = (0..).zip(&marks).map(|(number, &mark)| leaf(piece, number, mark)).collect();
        Some(Hashed { good, leaves, size: info.layout().piece_size(piece).into() })
    }

    /// Throws these blocks away; how many bytes that are.
    pub fn drop_blocks(&mut self, info: &Info, piece: PieceIndex, blocks: &[u32]) -> u64 {
        let Some(marks) = self.parts.get_mut(&piece) else { return 0 };
        let held =
            blocks.iter().filter(|&&number| marks.get_mut(number as usize).and_then(Option::take).is_some());
        held.map(|&number| u64::from(info.layout().block(piece, number).length)).sum()
    }

    /// The leaves of these blocks of the one file of a v2 torrent; `None` if a piece of them is missing.
    pub fn leaves(&self, info: &Info, blocks: Range<u64>) -> Option<Vec<Hash>> {
        let layout = info.layout();
        let per_piece = u64::from(layout.piece_length() / BLOCK_LENGTH);
        let good = |block: u64| {
            let piece = layout.piece(u32::try_from(block / per_piece).ok()?)?;
            self.verified.has(piece).then(|| leaf(piece, (block % per_piece) as u32, 0))
        };
        blocks.map(good).collect()
    }
}

/// Stands for a hash of a block's bytes: a function of the same things as the digest, which it begins with.
pub fn leaf(piece: PieceIndex, number: u32, mark: u64) -> Hash {
    let mut leaf = [b'#'; 32];
    leaf[..8].copy_from_slice(&digest(piece, number, mark).to_be_bytes());
    leaf
}

/// Stands for a digest of a block's bytes: a function of which block it is and of what is wrong with it (the finaliser of splitmix64).
fn digest(piece: PieceIndex, number: u32, mark: u64) -> u64 {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    mix(mix(u64::from(piece.get()) << 32 | u64::from(number)) ^ mark)
}
