//! What goes into a [`Torrent`](super::Torrent) beside messages, and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use torrent_format::announce::AnnounceRequest;
use torrent_format::merkle::Hash;
use torrent_format::metainfo::MetainfoError;
use torrent_format::{Info, InfoHash, PeerId, PieceIndex};

use super::announcer::TrackerId;
use super::peers::PeerKey;
use crate::wire::{BlockRequest, Capabilities, HashRequest, Message};

/// Who dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// They did.
    Incoming,
    /// We did.
    Outgoing,
}

/// One of the swarms of a torrent. A hybrid has both: the same pieces under two names (BEP 52, "Upgrade Path").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Swarm {
    /// That of the v1 info hash.
    V1,
    /// That of the v2 info hash, cut to 20 bytes.
    V2,
}

/// A connection whose handshakes are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connected {
    /// The other end of the socket.
    pub addr: SocketAddr,
    /// Who dialled.
    pub direction: Direction,
    /// What the peer's handshake offers. `v2`: hash messages may be exchanged on this connection.
    pub capabilities: Capabilities,
    /// What the peer calls itself.
    pub peer_id: PeerId,
    /// It is over uTP: `addr` is where the peer takes datagrams, as we see it.
    pub utp: bool,
}

/// Where an address came from. It decides what may be dialled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PeerSource {
    /// The user named it (`--peer`, `x.pe`): always welcome.
    Given,
    /// A tracker.
    Tracker {
        /// The tracker itself is at a loopback or private address, so such peers are a normal answer.
        local: bool,
    },
    /// The peer itself, by multicast on our own network (BEP 14).
    Lsd,
    /// Another peer (BEP 11).
    Pex {
        /// That one's own address: it may name others that are as near to us as itself.
        from: IpAddr,
    },
    /// A node of the DHT.
    Dht {
        /// Likewise of the node.
        local: bool,
    },
}

impl PeerSource {
    /// Whether the address comes from whoever likes to send one, rather than from the user or from a tracker that he trusts.
    pub fn is_hearsay(self) -> bool {
        matches!(self, Self::Pex { .. })
    }

    /// Whether a private torrent may have it (BEP 27).
    pub fn is_private(self) -> bool {
        matches!(self, Self::Given | Self::Tracker { .. })
    }
}

/// Something for the owner to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Dial, shake hands by this name of the torrent, then [`Torrent::handle_connected`] or [`Torrent::handle_connect_failed`].
    Connect(SocketAddr, InfoHash),
    /// The same, but by uTP and nothing else: the peer dials us at the same time, which lets each other's packets through (BEP 55).
    Punch(SocketAddr, InfoHash),
    /// Close. The torrent has forgotten the peer already; no [`Torrent::handle_disconnected`] is due.
    Disconnect(PeerKey, Reason),
    /// Send.
    Send(PeerKey, Message),
    /// Read these bytes (they lie within a piece that we have) and send them as a `piece` message; then
    /// [`Torrent::handle_block_sent`], or [`Torrent::handle_read_failed`].
    SendBlock(PeerKey, BlockRequest),
    /// Take back a [`Action::SendBlock`] if it has not left yet; if it has not, no `handle_block_sent` is due and
    /// [`Torrent::handle_block_dropped`] is instead.
    DropBlock(PeerKey, BlockRequest),
    /// Hash this piece, all of whose blocks were kept, then [`Torrent::handle_verified`].
    Verify {
        /// Which.
        piece: PieceIndex,
        /// The digest of each block is wanted even if the piece is good: an earlier copy was bad.
        digests: bool,
    },
    /// Throw away these blocks (by their numbers) of a piece that was [`Verification::Wrong`] or [`Verification::Doubtful`], keep the
    /// others, and hash the piece again when it is asked for: they will come anew.
    DropBlocks {
        /// Which piece.
        piece: PieceIndex,
        /// Which of its blocks, ascending.
        blocks: Vec<u32>,
    },
    /// Hash these leaves of a file (BEP 52), then [`Torrent::handle_leaves`]. They are those of whole pieces that we have, and end with
    /// the file.
    ReadLeaves {
        /// For whom.
        peer: PeerKey,
        /// What it asked.
        request: HashRequest,
        /// Of which file.
        file: usize,
        /// The number of the first.
        first: u64,
        /// How many.
        count: u32,
    },
    /// Tell a tracker, then [`Torrent::handle_announce_reply`] with the same tracker.
    Announce {
        /// Which tracker of ours.
        tracker: TrackerId,
        /// Its URL.
        url: Arc<str>,
        /// What to say. Boxed, as it is by far the largest of all that a torrent wants, and rare.
        request: Box<AnnounceRequest>,
    },
    /// Search the DHT for the torrent by this name, and announce it there; peers that are found go to [`Torrent::add_peers_of`], and then
    /// [`Torrent::handle_searched`].
    Search {
        /// In which swarm.
        swarm: Swarm,
        /// The name of the torrent in it.
        name: InfoHash,
        /// The port to announce.
        port: u16,
    },
    /// There is a node of the DHT at this address.
    AddNode(SocketAddr),
    /// The info has come from peers, and of a v2 torrent the piece layers. The owner looks at what is on disk, then calls
    /// [`Torrent::handle_info`]. Of a hybrid, layers may come later: see [`Event::LayersComplete`].
    Info(Info),
    /// The info has come from peers and can't be used. The owner stops.
    BadInfo(InfoFault),
    /// For the user.
    Notify(Event),
}

/// Why the info that came from peers can't be used, though its hash is right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InfoFault {
    /// It is no info dictionary that we can read.
    #[error(transparent)]
    Unusable(#[from] MetainfoError),
    /// It has one of the two info hashes that we were told, and not the other.
    #[error("its info hashes, v1 and v2, are those of two different torrents")]
    Conflict,
}

/// Why a connection is closed or was never made: a closed list, so that tests can match it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It is us.
    #[error("connected to ourselves")]
    Ourselves,
    /// We are connected to this peer already.
    #[error("connected already")]
    Duplicate,
    /// The peer was banned.
    #[error("banned for bad data")]
    Banned,
    /// No room.
    #[error("too many connections")]
    TooMany,
    /// Both sides have everything.
    #[error("neither side needs the other")]
    BothSeeds,
    /// Nothing was heard.
    #[error("silent for too long")]
    Silent,
    /// A message was outside the protocol.
    #[error("protocol error: {0}")]
    Misbehaved(Misbehaviour),
    /// To be connected again by the v2 name, since hash messages are exchanged on such a connection only.
    #[error("to connect by the v2 info hash")]
    Upgrade,
    /// It was found by other means than the trackers of a torrent that turns out to be private.
    #[error("the torrent is private: peers come from its trackers only")]
    Private,
    /// We are leaving.
    #[error("stopping")]
    Stopping,
}

/// What a peer did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// Bitfield of the wrong length, or spare bits set.
    #[error("bad bitfield")]
    BadBitfield,
    /// A piece number beyond the torrent.
    #[error("piece number out of range")]
    PieceOutOfRange,
    /// A request beyond its piece, of no bytes, or too long.
    #[error("bad request")]
    BadRequest,
    /// More requests than we said we keep.
    #[error("too many requests")]
    RequestFlood,
    /// Blocks that were never asked for, again and again.
    #[error("blocks that nobody asked for")]
    UnwantedBlocks,
    /// Many more messages than anybody needs.
    #[error("message flood")]
    Flood,
    /// Fast extension messages without the bit.
    #[error("fast messages without the fast extension")]
    FastNotOffered,
    /// Extended messages without the bit, or before the extension handshake.
    #[error("bad extension message")]
    BadExtension,
    /// A message of a protocol version that this torrent, or this connection, does not have.
    #[error("message of another protocol version")]
    WrongVersion,
    /// Hashes, or a refusal to give some, that were never asked for.
    #[error("hashes that nobody asked for")]
    UnaskedHashes,
    /// Hashes that are not those of the file.
    #[error("hashes that prove nothing")]
    BadHashes,
}

/// "Never" (BEP 31), as a time: longer than a torrent runs, short enough to be added to any moment.
pub const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why an announce failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceFailure {
    /// One line for the user.
    pub message: String,
    /// The tracker wants to be asked again after this time (BEP 31).
    pub retry_after: Option<Duration>,
}

/// The digest of a block in a torrent that has leaves (BEP 52): the start of its leaf.
pub fn leaf_digest(leaf: &Hash) -> u64 {
    leaf.first_chunk().map_or(0, |start| u64::from_be_bytes(*start))
}

/// How hashing a piece ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verification {
    /// The hash is right. With a digest a block if they were asked for.
    Good(Option<Vec<u64>>),
    /// The hash is wrong: with a digest of each block. The owner has thrown the data away.
    Bad(Vec<u64>),
    /// The like, but the owner keeps the data until [`Action::DropBlocks`] says which blocks to throw away.
    Doubtful(Vec<u64>),
    /// The hash is wrong, and the piece's v2 hash is known: with the leaf of each block. The owner keeps the data until
    /// [`Action::DropBlocks`] says which blocks to throw away.
    Wrong(Vec<Hash>),
    /// Blocks of it are missing here, by nobody's fault: it is to be fetched again.
    Lost,
}

/// What to do with a block that has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Hand it to the disk.
    Keep,
    /// Throw it away.
    Discard,
    /// Throw it away: it is not what it should be, and whoever sent it is banned.
    Spoilt,
}

/// News for the user.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A peer is connected.
    PeerConnected(SocketAddr),
    /// A peer is gone.
    PeerDisconnected(SocketAddr, Option<Reason>),
    /// A peer sent bad data and is not spoken to any more.
    PeerBanned(SocketAddr),
    /// A piece is verified.
    PieceVerified(PieceIndex),
    /// A piece did not match its hash.
    PieceFailed {
        /// Which.
        piece: PieceIndex,
        /// The blocks that are wrong, by their numbers; empty if that is not known.
        blocks: Vec<u32>,
    },
    /// The last piece layer that was missing has come.
    LayersComplete,
    /// A tracker answered.
    TrackerReplied {
        /// Which.
        url: Arc<str>,
        /// How many peers it gave.
        peers: usize,
        /// Seeds in the swarm, by its account.
        seeds: Option<u32>,
        /// Leechers in the swarm, by its account.
        leechers: Option<u32>,
        /// For the user.
        warning: Option<String>,
        /// Where it sees us (BEP 24).
        external_ip: Option<IpAddr>,
    },
    /// A tracker failed.
    TrackerFailed {
        /// Which.
        url: Arc<str>,
        /// Why.
        message: String,
        /// When it is asked again.
        retry_in: Duration,
    },
    /// Every wanted piece is verified.
    Complete,
    /// What [`Config::stay`] asks for is fulfilled: the owner may stop.
    Fulfilled,
}
