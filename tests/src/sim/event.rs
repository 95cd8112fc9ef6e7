//! What can happen, and the hash over all that did.

use std::net::{IpAddr, SocketAddr};

use client::torrent::{PeerKey, Time, TrackerId};
use client::wire::{BlockRequest, HashRequest, Message};
use torrent_format::PieceIndex;
use torrent_format::announce::{AnnounceReply, AnnounceRequest};
use torrent_format::merkle::Hash;

use super::link::{LinkId, Side};

/// A node's position in the scenario.
pub type NodeId = usize;

/// What travels over a link. Small, since most of a run is moving these about.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// A `have`.
    Have(u32),
    /// A `request`.
    Request(BlockRequest),
    /// One of the other messages that are often sent.
    Short(Short, BlockRequest),
    /// Any other message.
    Message(Box<Message>),
    /// A block; `mark` is 0 if its bytes are good, else it stands for what is wrong with them.
    Block {
        /// Which.
        block: BlockRequest,
        /// What its bytes are.
        mark: u64,
    },
    /// The other side has closed.
    Close,
}

/// Messages that are a number, a block, or nothing but their kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Short {
    /// `choke`.
    Choke,
    /// `unchoke`.
    Unchoke,
    /// `interested`.
    Interested,
    /// `not interested`.
    NotInterested,
    /// `cancel`.
    Cancel,
    /// `reject`.
    Reject,
    /// `suggest`; the piece is the block's.
    Suggest,
}

/// What stands for a block where there is none.
const NO_BLOCK: BlockRequest = BlockRequest { index: 0, begin: 0, length: 0 };

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub enum Event {
    /// A node starts.
    Join(NodeId),
    /// A node is gone without a word.
    Crash(NodeId),
    /// A node is told to stop.
    Stop(NodeId),
    /// A node breaks all connections and comes back as somebody else.
    Rejoin(NodeId),
    /// A strategist hands out blocks.
    Beat(NodeId),
    /// It may be time for `handle_timeout`.
    Wake(NodeId),
    /// The dialler's handshake reaches the other side.
    Dial(LinkId),
    /// The answer reaches the dialler.
    Accepted(LinkId),
    /// Nobody listens there, or the handshake was refused.
    DialFailed(NodeId, SocketAddr),
    /// The uplink has put its block on the wire.
    UplinkFree(NodeId),
    /// A parcel reaches the downlink of the end at `Side`.
    Arrive(LinkId, Side, Parcel),
    /// A parcel has come through the downlink.
    Deliver(LinkId, Side, Parcel),
    /// A node has hashed a piece.
    Verified(NodeId, PieceIndex, bool),
    /// A node has hashed the leaves that a peer asked for.
    LeavesRead(NodeId, Box<LeavesRead>),
    /// A node has read the info that it got from peers.
    InfoRead(NodeId, Vec<u8>),
    /// An announce reaches the tracker.
    Announce(NodeId, TrackerId, Box<AnnounceRequest>),
    /// The answer reaches the node.
    AnnounceReply(NodeId, TrackerId, Box<AnnounceReply>),
    /// The tracker forgets who is silent.
    Expire,
}

/// Leaves for a peer.
#[derive(Clone, Debug)]
pub struct LeavesRead {
    /// Who asked.
    pub peer: PeerKey,
    /// What it asked.
    pub request: HashRequest,
    /// The leaves, unless a piece of them is missing.
    pub leaves: Option<Vec<Hash>>,
}

impl From<Message> for Parcel {
    fn from(message: Message) -> Self {
        match message {
            Message::Have(index) => Self::Have(index),
            Message::Request(block) => Self::Request(block),
            Message::Choke => Self::Short(Short::Choke, NO_BLOCK),
            Message::Unchoke => Self::Short(Short::Unchoke, NO_BLOCK),
            Message::Interested => Self::Short(Short::Interested, NO_BLOCK),
            Message::NotInterested => Self::Short(Short::NotInterested, NO_BLOCK),
            Message::Cancel(block) => Self::Short(Short::Cancel, block),
            Message::Reject(block) => Self::Short(Short::Reject, block),
            Message::Suggest(index) => Self::Short(Short::Suggest, BlockRequest { index, ..NO_BLOCK }),
            other => Self::Message(Box::new(other)),
        }
    }
}

impl Short {
    /// The message again.
    pub fn message(self, block: BlockRequest) -> Message {
        match self {
            Self::Choke => Message::Choke,
            Self::Unchoke => Message::Unchoke,
            Self::Interested => Message::Interested,
            Self::NotInterested => Message::NotInterested,
            Self::Cancel => Message::Cancel(block),
            Self::Reject => Message::Reject(block),
            Self::Suggest => Message::Suggest(block.index),
        }
    }
}

/// A hash over every event in order: two runs with equal hashes were the same run. It need not withstand anybody who means harm, so it is
/// a few multiplications.
#[derive(Clone, Debug)]
pub struct Log {
    state: [u64; 2],
    buffer: Vec<u8>,
    events: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { state: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344], buffer: Vec::new(), events: 0 }
    }
}

impl Log {
    /// Takes in an event.
    pub fn record(&mut self, time: Time, event: &Event) {
        self.events += 1;
        self.word(nanos(time));
        match event {
            Event::Join(node) => self.words(0, &[*node as u64]),
            Event::Crash(node) => self.words(1, &[*node as u64]),
            Event::Wake(node) => self.words(2, &[*node as u64]),
            Event::Dial(link) => self.words(3, &[*link as u64]),
            Event::Accepted(link) => self.words(4, &[*link as u64]),
            Event::DialFailed(node, addr) => {
                self.words(5, &[*node as u64]);
                self.addr(*addr);
            }
            Event::UplinkFree(node) => self.words(6, &[*node as u64]),
            Event::Arrive(link, side, parcel) => self.parcel(7, *link, *side, parcel),
            Event::Deliver(link, side, parcel) => self.parcel(8, *link, *side, parcel),
            Event::Verified(node, piece, digests) => {
                self.words(9, &[*node as u64, piece.get().into(), u64::from(*digests)]);
            }
            Event::InfoRead(node, raw) => {
                self.words(10, &[*node as u64]);
                self.bytes(raw);
            }
            Event::Announce(node, _, request) => {
                let AnnounceRequest { uploaded, downloaded, left, event, .. } = **request;
                self.words(11, &[*node as u64, uploaded, downloaded, left, event as u64]);
            }
            Event::AnnounceReply(node, _, reply) => {
                self.words(12, &[*node as u64, reply.peers.len() as u64]);
                reply.peers.iter().for_each(|addr| self.addr(*addr));
            }
            Event::Expire => self.words(13, &[]),
            Event::LeavesRead(node, read) => {
                let HashRequest { index, length, .. } = read.request;
                self.words(14, &[*node as u64, index.into(), length.into(), read.leaves.is_some().into()]);
            }
            Event::Beat(node) => self.words(19, &[*node as u64]),
            Event::Rejoin(node) => self.words(18, &[*node as u64]),
            Event::Stop(node) => self.words(20, &[*node as u64]),
        }
    }

    /// A `have` reaches a node.
    pub fn have(&mut self, node: NodeId, from: PeerKey, index: u32) {
        self.events += 1;
        self.words(16, &[node as u64, from.slot() as u64, index.into()]);
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The hash, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut last = self.clone();
        last.words(17, &[self.events]);
        format!("{:016x}{:016x}", last.state[0], last.state[1])
    }

    fn parcel(&mut self, kind: u64, link: LinkId, side: Side, parcel: &Parcel) {
        self.words(kind, &[link as u64, side.index() as u64]);
        match parcel {
            Parcel::Have(index) => self.words(0, &[u64::from(*index)]),
            Parcel::Request(block) => self.words(1, &block_words(block)),
            Parcel::Short(kind, block) => {
                self.words(2, &[*kind as u64]);
                self.words(2, &block_words(block));
            }
            Parcel::Message(message) => {
                let mut encoded = std::mem::take(&mut self.buffer);
                encoded.clear();
                message.encode(&mut encoded);
                self.bytes(&encoded);
                self.buffer = encoded;
            }
            Parcel::Block { block, mark } => {
                self.words(3, &block_words(block));
                self.word(*mark);
            }
            Parcel::Close => self.words(4, &[]),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn addr(&mut self, addr: SocketAddr) {
        let IpAddr::V4(ip) = addr.ip() else { return self.bytes(addr.to_string().as_bytes()) };
        self.word(u64::from(ip.to_bits()) << 16 | u64::from(addr.port()));
    }

    fn words(&mut self, kind: u64, words: &[u64]) {
        self.word(kind);
        words.iter().for_each(|&word| self.word(word));
    }

    fn word(&mut self, word: u64) {
        let [a, b] = self.state;
        let product = u128::from(a ^ word) * u128::from(b | 1);
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.state = [
            (low ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15).rotate_left(23),
            (high ^ b).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ a,
        ];
    }
}

fn block_words(block: &BlockRequest) -> [u64; 2] {
    [u64::from(block.index) << 32 | u64::from(block.begin), block.length.into()]
}

/// Nanoseconds since the start.
pub fn nanos(time: Time) -> u64 {
    time.0.as_secs() * 1_000_000_000 + u64::from(time.0.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Time {
        Time(Duration::from_millis(millis))
    }

    #[test]
    fn the_log_tells_apart_order_time_and_content() {
        let digest = |events: &[(u64, Event)]| {
            let mut log = Log::default();
            events.iter().for_each(|(millis, event)| log.record(at(*millis), event));
            log.digest()
        };
        let close = |mark| {
            let block = BlockRequest { index: 1, begin: 0, length: 16_384 };
            Event::Deliver(0, Side::Dialler, Parcel::Block { block, mark })
        };
        let all = [
            digest(&[]),
            digest(&[(1, Event::Join(0)), (1, Event::Join(1))]),
            digest(&[(1, Event::Join(1)), (1, Event::Join(0))]),
            digest(&[(1, Event::Join(0)), (2, Event::Join(1))]),
            digest(&[(1, close(0))]),
            digest(&[(1, close(1))]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
