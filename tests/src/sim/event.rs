//! What can happen, the heap that orders it, and the hash over all that did.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use client::torrent::{PeerKey, Time, TrackerId};
use client::wire::{BlockRequest, HashRequest, Message};
use sha1::{Digest as _, Sha1};
use torrent_format::PieceIndex;
use torrent_format::announce::{AnnounceReply, AnnounceRequest};
use torrent_format::merkle::Hash;

use super::link::{LinkId, Side};

/// A node's position in the scenario.
pub type NodeId = usize;

/// What travels over a link.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// Anything but a block.
    Message(Message),
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

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub enum Event {
    /// A node starts.
    Join(NodeId),
    /// A node is gone without a word.
    Crash(NodeId),
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
    LeavesRead(NodeId, PeerKey, HashRequest, Option<Vec<Hash>>),
    /// A node has read the info that it got from peers.
    InfoRead(NodeId, Vec<u8>),
    /// An announce reaches the tracker.
    Announce(NodeId, TrackerId, Box<AnnounceRequest>),
    /// The answer reaches the node.
    AnnounceReply(NodeId, TrackerId, Box<AnnounceReply>),
    /// The tracker forgets who is silent.
    Expire,
}

impl Event {
    /// Canonical bytes, for [`Log`].
    fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |kind: u8, numbers: &[u64]| {
            out.push(kind);
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        };
        match self {
            Self::Join(node) => put(0, &[*node as u64]),
            Self::Crash(node) => put(1, &[*node as u64]),
            Self::Wake(node) => put(2, &[*node as u64]),
            Self::Dial(link) => put(3, &[*link as u64]),
            Self::Accepted(link) => put(4, &[*link as u64]),
            Self::DialFailed(node, addr) => {
                put(5, &[*node as u64]);
                encode_addr(*addr, out);
            }
            Self::UplinkFree(node) => put(6, &[*node as u64]),
            Self::Arrive(link, side, parcel) => {
                put(7, &[*link as u64, side.index() as u64]);
                parcel.encode(out);
            }
            Self::Deliver(link, side, parcel) => {
                put(8, &[*link as u64, side.index() as u64]);
                parcel.encode(out);
            }
            Self::Verified(node, piece, digests) => {
                put(9, &[*node as u64, piece.get().into(), u64::from(*digests)]);
            }
            Self::InfoRead(node, raw) => {
                put(10, &[*node as u64, raw.len() as u64]);
                out.extend_from_slice(raw);
            }
            Self::Announce(node, _, request) => {
                let AnnounceRequest { uploaded, downloaded, left, event, .. } = **request;
                put(11, &[*node as u64, uploaded, downloaded, left, event as u64]);
            }
            Self::AnnounceReply(node, _, reply) => {
                put(12, &[*node as u64, reply.peers.len() as u64]);
                reply.peers.iter().for_each(|addr| encode_addr(*addr, out));
            }
            Self::Expire => put(13, &[]),
            Self::LeavesRead(node, _, request, leaves) => {
                put(
                    14,
                    &[*node as u64, request.index.into(), request.length.into(), leaves.is_some().into()],
                );
            }
        }
    }
}

impl Parcel {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message(message) => {
                out.push(0);
                message.encode(out);
            }
            Self::Block { block, mark } => {
                out.push(1);
                for number in [block.index, block.begin, block.length] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
                out.extend_from_slice(&mark.to_be_bytes());
            }
            Self::Close => out.push(2),
        }
    }
}

fn encode_addr(addr: SocketAddr, out: &mut Vec<u8>) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// The heap. Events of one moment come out in the order they were put in.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Entry>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry {
    time: Time,
    sequence: u64,
    event: Event,
}

impl Queue {
    /// Puts in an event.
    pub fn push(&mut self, time: Time, event: Event) {
        self.heap.push(Entry { time, sequence: self.sequence, event });
        self.sequence += 1;
    }

    /// The next event and its moment.
    pub fn pop(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|entry| (entry.time, entry.event))
    }
}

impl Ord for Entry {
    /// Reversed: the heap gives out its greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.sequence).cmp(&(self.time, self.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

/// A hash over every event in order: two runs with equal hashes were the same run.
#[derive(Debug, Default)]
pub struct Log {
    sha1: Sha1,
    buffer: Vec<u8>,
    events: u64,
}

impl Log {
    /// Takes in an event.
    pub fn record(&mut self, time: Time, event: &Event) {
        self.buffer.clear();
        self.buffer.extend_from_slice(&(time.0.as_nanos() as u64).to_be_bytes());
        event.encode(&mut self.buffer);
        self.sha1.update(&self.buffer);
        self.events += 1;
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The hash, in hexadecimal.
    pub fn digest(&self) -> String {
        self.sha1.clone().finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Time {
        Time(Duration::from_millis(millis))
    }

    #[test]
    fn events_come_out_by_time_and_then_in_the_order_they_went_in() {
        let mut queue = Queue::default();
        for (millis, node) in [(5, 0), (1, 1), (5, 2), (1, 3), (0, 4)] {
            queue.push(at(millis), Event::Join(node));
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|(time, event)| match event {
                Event::Join(node) => (time.0.as_millis(), node),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, [(0, 4), (1, 1), (1, 3), (5, 0), (5, 2)]);
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
        assert_eq!(all[0], "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
