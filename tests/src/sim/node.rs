//! A participant: its torrent, its uplink and downlink, and the books that say which bytes it holds and what they cost.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use client::torrent::{PeerKey, Time, Torrent};
use client::wire::BlockRequest;
use torrent_format::merkle::Hash;
use torrent_format::{BLOCK_LENGTH, Bitfield, Info, PeerId, PieceIndex};

use super::behaviour::Behaviour;
use super::event::NodeId;
use super::idle::{self, Idle};
use super::link::{LinkId, Side, Uplink};
use super::scenario::{Holding, NodeSpec};
use super::world::Strategist;

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
    pub connections: Connections,
    /// What it knows of its peers, if it has a strategy of its own.
    pub strategist: Option<Strategist>,
    /// Its uplink.
    pub uplink: Uplink,
    /// Open connections whose other end is interested, and those of them that are unchoked.
    pub wanted_by: [u32; 2],
    /// What its uplink is at.
    pub idle: Idle,
    /// When its downlink has taken in all that has reached it.
    pub downlink_free: Time,
    /// When the queue next asks it for a timeout.
    pub wake: Option<Time>,
    /// What it holds.
    pub books: Books,
    /// What passed through it.
    pub traffic: Traffic,
    /// When it had its last piece, if it began without.
    pub finished: Option<Time>,
    /// When it had its first piece, if it began without any.
    pub first_piece: Option<Time>,
    /// When it was first unchoked by somebody to whom it had given something.
    pub first_return: Option<Time>,
    /// When it first had as many neighbours as are enough.
    pub enough: Option<Time>,
    /// What it sent to free riders while it lacked something itself, in bytes.
    pub leaked: u64,
    /// Payload sent and received by each second of the run.
    pub series: Vec<[u64; 2]>,
    /// Peer ids that it has used up, and what had passed through it by then.
    pub lives: u32,
    /// See `lives`.
    pub before: Traffic,
    /// When it had kept all but a hundredth of what it lacked.
    pub nearly: Option<Time>,
    /// Payload kept, in bytes.
    pub kept: u64,
    /// Nothing gets out of it or into it any more.
    pub black_hole: bool,
    /// When it joined.
    pub joined: Option<Time>,
    /// When it went.
    pub gone: Option<Time>,
    /// Whether it has been told to stop.
    pub stopping: bool,
}

/// One end of an open connection, as its node has it at hand.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// By what name the torrent knows it.
    pub key: PeerKey,
    /// Which link.
    pub link: LinkId,
    /// Which end of it.
    pub side: Side,
    /// Of the link, one way.
    pub latency: Duration,
    /// Who is at the other end.
    pub other: NodeId,
    /// By what name the other's torrent knows it, once both ends are open.
    pub there: Option<PeerKey>,
    /// The other's downlink has a limit.
    pub narrow: bool,
}

/// A node's open connections, by the place of their keys.
#[derive(Debug, Default)]
pub struct Connections {
    slots: Vec<Option<Connection>>,
    /// Those whose torrents have given their place to another already, and will say so next.
    ousted: Vec<Connection>,
}

impl Connections {
    /// A connection is open.
    pub fn insert(&mut self, connection: Connection) {
        let slot = connection.key.slot();
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        self.ousted.extend(self.slots[slot].replace(connection));
    }

    /// A connection is closed.
    pub fn remove(&mut self, key: PeerKey) {
        if let Some(place) = self.slots.get_mut(key.slot()) {
            place.take_if(|connection| connection.key == key);
        }
        self.ousted.retain(|connection| connection.key != key);
    }

    /// The connection of this key.
    pub fn get(&self, key: PeerKey) -> Option<&Connection> {
        let at_its_place = self.slots.get(key.slot()).and_then(Option::as_ref);
        at_its_place.into_iter().chain(&self.ousted).find(|connection| connection.key == key)
    }

    /// The connection of this key.
    pub fn get_mut(&mut self, key: PeerKey) -> Option<&mut Connection> {
        let at_its_place = self.slots.get_mut(key.slot()).and_then(Option::as_mut);
        at_its_place.into_iter().chain(&mut self.ousted).find(|connection| connection.key == key)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten().chain(&self.ousted)
    }
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
}

impl Node {
    /// A participant that has yet to join.
    pub fn new(id: NodeId, spec: NodeSpec, info: &Info) -> Self {
        let books = Books::new(&spec.holding, info);
        let number = u32::try_from(id).expect("fewer nodes than addresses");
        Self {
            spec,
            addr: address(number),
            peer_id: peer_id(number, 0),
            torrent: None,
            connections: Connections::default(),
            strategist: None,
            uplink: Uplink::default(),
            wanted_by: [0; 2],
            idle: Idle::default(),
            downlink_free: Time::default(),
            wake: None,
            books,
            traffic: Traffic::default(),
            finished: None,
            first_piece: None,
            nearly: None,
            kept: 0,
            black_hole: false,
            first_return: None,
            enough: None,
            leaked: 0,
            series: Vec::new(),
            lives: 0,
            before: Traffic::default(),
            joined: None,
            gone: None,
            stopping: false,
        }
    }

    /// What its uplink is at now.
    pub fn at(&self) -> idle::Uplink {
        match self.wanted_by {
            _ if self.uplink.serving.is_some() => idle::Uplink::Busy,
            [0, _] => idle::Uplink::Unwanted,
            [_, 0] => idle::Uplink::Choking,
            _ => idle::Uplink::Unasked,
        }
    }

    /// Whether it sends bad blocks.
    pub fn is_poisoner(&self) -> bool {
        self.spec.poison > 0.0
    }

    /// Whether others may drop or ban it for what it does.
    pub fn may_be_punished(&self) -> bool {
        self.is_poisoner() || self.spec.behaviour.lies()
    }

    /// Whether nobody waits for it to finish: it is of use to nobody, and nobody's business.
    pub fn is_outlaw(&self) -> bool {
        self.is_poisoner() || self.spec.behaviour != Behaviour::default()
    }

    /// It is gone and comes back under another name.
    pub fn is_reborn(&mut self, info: &Info) {
        self.lives += 1;
        self.peer_id = peer_id(address_number(self.addr), self.lives);
        let forgets = self.spec.behaviour.rejoins.is_some_and(|rejoins| rejoins.forgets);
        self.traffic.spoilt += self.books.forget(info, forgets);
        self.before = self.traffic;
        self.gone = None;
        self.stopping = false;
        self.wake = None;
    }
}

/// What a node calls itself in one of its lives.
fn peer_id(number: u32, life: u32) -> PeerId {
    let mut random = *b"sim-00000000";
    random[4..].copy_from_slice(format!("{:08x}", number | life << 16).as_bytes());
    PeerId::azureus(*b"SR0100", random)
}

/// The inverse of [`address`].
fn address_number(addr: SocketAddr) -> u32 {
    let SocketAddr::V4(addr) = addr else { return 0 };
    let [_, middle, low, _] = addr.ip().octets();
    u32::from_be_bytes([0, 0, middle, low])
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

    /// Throws away the parts, and with `all` the pieces too; how many bytes that are.
    fn forget(&mut self, info: &Info, all: bool) -> u64 {
        let before = self.gained(info);
        self.parts.clear();
        if all {
            self.verified = Bitfield::none(info.layout().piece_count());
            self.had = 0;
        }
        before - self.gained(info)
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

    /// Hashes a whole piece: it becomes verified, or is kept, for [`Self::drop_blocks`]. `None` if it is not whole.
    pub fn hash(&mut self, piece: PieceIndex) -> Option<Hashed> {
        if !self.is_whole(piece) {
            return None;
        }
        let marks: Vec<u64> = self.parts.get(&piece)?.iter().copied().flatten().collect();
        let good = marks.iter().all(|&mark| mark == 0);
        if good {
            self.verified.set(piece);
            self.parts.remove(&piece);
        }
        let leaves = (0..).zip(&marks).map(|(number, &mark)| leaf(piece, number, mark)).collect();
        Some(Hashed { good, leaves })
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
