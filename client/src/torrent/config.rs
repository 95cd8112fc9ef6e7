//! What a torrent is told at its start.

use std::time::Duration;

use torrent_format::{Bitfield, Info, InfoHashes, PeerId};

/// What the torrent is when it starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// Something is missing that peers have to give before the payload can be checked: the info (BEP 9), or the piece layers of a v2
    /// info (BEP 52).
    Magnet {
        /// The info, if it is known.
        info: Option<Info>,
    },
    /// Its info is known.
    Known {
        /// The info.
        info: Info,
        /// Pieces that are there, verified.
        have: Bitfield,
        /// Pieces that are wanted.
        wanted: Bitfield,
    },
}

impl Start {
    /// Whether peers may come from its trackers only (BEP 27), as far as is known.
    pub(super) fn is_private(&self) -> bool {
        match self {
            Self::Magnet { info } => info.as_ref().is_some_and(Info::is_private),
            Self::Known { info, .. } => info.is_private(),
        }
    }
}

/// How long to stay once every wanted piece is there.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Stay {
    /// Leave, but upload a little first while somebody wants it (see [`LINGER_LIMIT`]) if `linger`.
    Leave {
        /// Upload two pieces' worth and all that no other connected peer has, or until nobody wants anything, or [`LINGER_LIMIT`].
        linger: bool,
    },
    /// Until one of these is reached, or for ever.
    Seed {
        /// Uploaded bytes over the size of the wanted files.
        ratio: Option<f64>,
        /// Time since completion.
        time: Option<Duration>,
    },
}

/// The longest that a finished downloader stays on only to give something back.
pub const LINGER_LIMIT: Duration = Duration::from_secs(10);

/// What does not change while a torrent runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which torrent: as much as is known at the start.
    pub hashes: InfoHashes,
    /// Who we are.
    pub peer_id: PeerId,
    /// Where we listen.
    pub listen_port: u16,
    /// Where others reach us, which goes to trackers, into the DHT and into the extension handshake: a router may map another port to
    /// ours. See [`Torrent::set_public_port`](super::Torrent::set_public_port).
    pub public_port: u16,
    /// For all that is chosen at random. The same seed and the same events give the same actions.
    pub seed: u64,
    /// Connections, at most.
    pub max_peers: usize,
    /// Bytes a second that the owner lets us upload, if it limits us.
    pub upload_limit: Option<u64>,
    /// Trackers in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// What to do after the last piece.
    pub stay: Stay,
    /// Pieces in order rather than rarest first.
    pub sequential: bool,
    /// A seed names each peer one piece at a time until all of it is elsewhere (BEP 16).
    pub super_seed: bool,
    /// Exchange peers with peers (BEP 11). Of a private torrent it is not done anyway.
    pub pex: bool,
    /// There is a node of the DHT, at `listen_port`. A private torrent does not use it anyway.
    pub dht: bool,
    /// Connections may go over uTP.
    pub utp: bool,
    /// Policies switched off, for experiments.
    pub ablation: Ablation,
}

/// Switches for experiments: what a swarm loses without a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ablation {
    /// Pick pieces at random instead of rarest first, serve them as they were asked for, and suggest none.
    pub random_picker: bool,
    /// Unchoke whoever is interested, up to the slots, by chance, and serve all alike, whether or not they give anything.
    pub no_choker: bool,
    /// Never ask two peers for one block.
    pub no_endgame: bool,
    /// Leave with a peer what was asked of it, however long its line.
    pub no_take_over: bool,
}
