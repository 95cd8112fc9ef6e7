//! What a run is about: who takes part, with what, and how fast.

use std::ops::Range;
use std::time::Duration;

use client::torrent::{Ablation, Stay};
use torrent_format::merkle::{Hash, Tree, root};
use torrent_format::{Info, Layout};

use super::behaviour::Behaviour;
use super::node::leaf;

/// One Mbit/s in bytes a second.
pub const MBIT: u64 = 125_000;

/// How much later than the seed the members of a crowd join, at most.
const CROWD_SPREAD: Duration = Duration::from_secs(1);

/// How far a member of a crowd is from the middle, in µs. On average a link has 25 ms; were all alike, whoever stands first in some list
/// would be first at everything.
const CROWD_LATENCY: Range<u64> = 7_500..17_500;

/// A run. Equal scenarios replay bit for bit.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// For all that is random: in the world, in every node's core, in the tracker.
    pub seed: u64,
    /// Bytes of a piece.
    pub piece_length: u32,
    /// Bytes of payload.
    pub total: u64,
    /// Who takes part.
    pub nodes: Vec<NodeSpec>,
    /// Whether there is a tracker. Without one, nodes know only [`NodeSpec::knows`].
    pub tracker: bool,
    /// When the tracker dies: it does not answer any more.
    pub tracker_until: Option<Duration>,
    /// Whether handshakes offer the Fast extension.
    pub fast: bool,
    /// Whether the torrent is one of v2 (BEP 52): its pieces are checked, and liars found, by leaves. Then a piece must be a power of two long.
    pub v2: bool,
    /// Whether a [`super::Checker`] watches every step.
    pub checked: bool,
    /// Whether the run goes on until outlaws have everything too, those who send bad blocks apart.
    pub waits_for_all: bool,
    /// How long a node hashes a piece.
    pub verify_time: Duration,
    /// What goes wrong on the way.
    pub fault: Option<Fault>,
    /// How long the run goes on after the last node has finished.
    pub tail: Duration,
    /// When the run is given up.
    pub deadline: Duration,
}

/// A node goes bad.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fault {
    /// Which.
    pub node: usize,
    /// When this share of all the bytes that were lacking has come.
    pub at: f64,
    /// How.
    pub trouble: Trouble,
}

/// How a node goes bad. Its connections stay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Trouble {
    /// Its uplink has this share of its rate.
    Throttled(f64),
    /// What it sends and what is sent to it is lost.
    BlackHole,
}

/// What a node has when it joins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holding {
    /// No piece.
    Nothing,
    /// Every piece.
    Everything,
    /// These pieces.
    Pieces(Range<u32>),
    /// Not even the info: it started from a magnet link.
    Magnet,
}

/// When a node goes, whatever [`NodeSpec::stay`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    /// It stays.
    Never,
    /// With goodbye, once it has sent this many bytes of payload.
    AfterUploading(u64),
    /// With goodbye, once every piece is had by somebody who began without it.
    OnceSpread,
    /// With goodbye, once every piece is had by two who began without it.
    OnceTwofold,
    /// Without a word: connections break, the tracker hears nothing.
    CrashAt(Duration),
}

/// A participant.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// When it joins.
    pub join: Duration,
    /// Uplink, bytes a second.
    pub up: u64,
    /// Downlink, bytes a second; `None`: as fast as anything.
    pub down: Option<u64>,
    /// Between it and the middle of the network; a link's latency, one way, is the sum of both ends'.
    pub latency: Duration,
    /// What it has.
    pub holding: Holding,
    /// What it does once it has everything.
    pub stay: Stay,
    /// When it goes.
    pub leaving: Leaving,
    /// To which group it belongs, for the tables.
    pub class: u8,
    /// How it cheats, if it does.
    pub behaviour: Behaviour,
    /// The share of blocks it sends that are bad, 0 to 1. Above 0 it is a poisoner: banning it is right.
    pub poison: f64,
    /// Policies switched off.
    pub ablation: Ablation,
    /// A seed says that it has less than it has (BEP 16).
    pub super_seed: bool,
    /// Connections, at most.
    pub max_peers: usize,
    /// It exchanges peers with peers.
    pub pex: bool,
    /// It can be dialled.
    pub reachable: bool,
    /// Other nodes that it is told of, by their position, when it joins.
    pub knows: Vec<usize>,
}

/// Uplinks in a chaos, bytes a second. On slower ones a block waits for minutes behind those of others: what is asked of so many at a
/// time then comes after anybody's patience has run out.
const CHAOS_RATE: Range<u64> = 30_000..2_000_000;

impl NodeSpec {
    /// A downloader that stays, with this uplink and no limit down, 12.5 ms from the middle.
    pub fn leecher(up: u64) -> Self {
        Self {
            join: Duration::ZERO,
            up,
            down: None,
            latency: Duration::from_micros(12_500),
            holding: Holding::Nothing,
            stay: Stay::Seed { ratio: None, time: None },
            leaving: Leaving::Never,
            class: 0,
            behaviour: Behaviour::default(),
            poison: 0.0,
            ablation: Ablation::default(),
            super_seed: false,
            max_peers: 80,
            pex: false,
            reachable: true,
            knows: Vec::new(),
        }
    }

    /// The like, with everything.
    pub fn seed(up: u64) -> Self {
        Self { holding: Holding::Everything, ..Self::leecher(up) }
    }
}

impl Scenario {
    /// A run of these nodes with one torrent of `pieces` whole pieces, and a tracker.
    pub fn new(seed: u64, pieces: u32, piece_length: u32, nodes: Vec<NodeSpec>) -> Self {
        Self {
            seed,
            piece_length,
            total: u64::from(pieces) * u64::from(piece_length),
            nodes,
            tracker: true,
            tracker_until: None,
            fast: true,
            v2: false,
            checked: true,
            waits_for_all: false,
            fault: None,
            verify_time: Duration::from_millis(1),
            tail: Duration::ZERO,
            deadline: Duration::from_secs(4 * 3600),
        }
    }

    /// A flash crowd: one seed and `peers` downloaders, all with the same uplink, that join within a second.
    pub fn flash_crowd(seed: u64, peers: usize, pieces: u32, piece_length: u32, rate: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let spread = CROWD_SPREAD.as_micros() as u64;
        let leechers = (0..peers).map(|_| NodeSpec {
            join: Duration::from_micros(rng.u64(..spread)),
            latency: Duration::from_micros(rng.u64(CROWD_LATENCY)),
            ..NodeSpec::leecher(rate)
        });
        let nodes = std::iter::once(NodeSpec::seed(rate)).chain(leechers).collect();
        Self::new(seed, pieces, piece_length, nodes)
    }

    /// Anything goes: sizes, rates, distances, who has what, who comes late, crashes, leaves or poisons. Only node 0 is sure: it has everything,
    /// is honest, and stays; so everybody else who stays must finish.
    pub fn chaos(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let pieces = rng.u32(1..80);
        let piece_length = [16 << 10, 40_000, 64 << 10, 256 << 10][rng.usize(..4)];
        let count = rng.usize(2..16);
        let poisoned = rng.u8(..4) == 0;
        let nodes = (0..count).map(|id| {
            let up = rng.u64(CHAOS_RATE);
            let mut node = NodeSpec {
                join: Duration::from_millis(rng.u64(..30_000)),
                down: rng.bool().then(|| up * rng.u64(1..10)),
                latency: Duration::from_micros(rng.u64(100..120_000)),
                max_peers: rng.usize(4..40),
                knows: if rng.u8(..4) == 0 { vec![rng.usize(..count)] } else { Vec::new() },
                ..NodeSpec::seed(up)
            };
            if id == 0 {
                return node;
            }
            let first = rng.u32(..pieces);
            node.holding = match rng.u8(..10) {
                0 => Holding::Everything,
                1 => Holding::Pieces(first..rng.u32(first..=pieces)),
                2 | 3 => Holding::Magnet,
                _ => Holding::Nothing,
            };
            node.stay = match rng.u8(..4) {
                0 => Stay::Leave { linger: rng.bool() },
                1 => Stay::Seed { ratio: Some(rng.f64() * 2.0), time: None },
                _ => Stay::Seed { ratio: None, time: None },
            };
            if rng.u8(..8) == 0 {
                node.leaving = Leaving::CrashAt(node.join + Duration::from_millis(rng.u64(..60_000)));
            }
            if poisoned && rng.u8(..5) == 0 {
                node.poison = rng.f64().max(0.05);
            }
            node
        });
        let mut scenario = Self::new(seed, pieces, piece_length, nodes.collect());
        scenario.total -= rng.u64(..u64::from(piece_length));
        scenario.fast = rng.u8(..4) != 0;
        scenario.verify_time = Duration::from_millis(rng.u64(..50));
        scenario.tail = Duration::from_secs(rng.u64(..300));
        scenario
    }

    /// The torrent of this scenario: a single file, with piece hashes that stand for content that nobody needs.
    ///
    /// # Panics
    /// If the sizes can't be laid out.
    pub fn info(&self) -> Info {
        if self.v2 {
            return self.info_v2();
        }
        let layout = Layout::new(self.piece_length.into(), [self.total])
            .expect("the scenario's sizes can be laid out");
        let mut raw = format!(
            "d6:lengthi{}e4:name8:sim-data12:piece lengthi{}e6:pieces{}:",
            self.total,
            self.piece_length,
            layout.piece_count() * 20
        )
        .into_bytes();
        for piece in layout.pieces() {
            let mut hash = [b'#'; 20];
            hash[..4].copy_from_slice(&piece.get().to_be_bytes());
            raw.extend_from_slice(&hash);
        }
        raw.push(b'e');
        Info::from_bytes(&raw).expect("the scenario's info dictionary is well-formed")
    }

    /// The same file in v2, with its piece layer.
    fn info_v2(&self) -> Info {
        let layout = Layout::new(self.piece_length.into(), [self.total])
            .expect("the scenario's sizes can be laid out");
        let leaves = |piece| (0..layout.block_count(piece)).map(|number| leaf(piece, number, 0)).collect();
        let leaves: Vec<Vec<Hash>> = layout.pieces().map(leaves).collect();
        let mut tree = Tree::new(Hash::default(), self.total, self.piece_length);
        tree.root = root(&leaves.concat(), 0, tree.height());
        let mut raw = b"d9:file treed8:sim-datad0:d".to_vec();
        raw.extend_from_slice(format!("6:lengthi{}e11:pieces root32:", self.total).as_bytes());
        raw.extend_from_slice(&tree.root);
        let length = self.piece_length;
        let rest = format!("eee12:meta versioni2e4:name8:sim-data12:piece lengthi{length}ee");
        raw.extend_from_slice(rest.as_bytes());
        let info = Info::from_bytes(&raw).expect("the scenario's info dictionary is well-formed");
        if tree.has_piece_layer() {
            let layer = leaves.iter().map(|leaves| tree.root_of_leaves(leaves)).collect();
            info.set_layer(0, layer).expect("the layer belongs to the root");
        }
        info
    }
}
