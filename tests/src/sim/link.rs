//! Connections: two ends, each with what it has yet to send; and the uplink that a node's connections share.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use client::torrent::{PeerKey, Time};
use client::wire::{BlockRequest, Message};

use super::event::NodeId;

/// A link's position among all links that there ever were.
pub type LinkId = usize;

/// An end of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one that dialled.
    Dialler,
    /// The one that was dialled.
    Acceptor,
}

impl Side {
    /// The other end.
    pub fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }

    /// 0 or 1.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A connection, or an attempt at one.
#[derive(Debug)]
pub struct Link {
    /// One way.
    pub latency: Duration,
    ends: [End; 2],
}

/// How an end of a link stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its handshake is not done.
    Pending,
    /// Its torrent knows it by this key.
    Open(PeerKey),
    /// This end sends and takes nothing more.
    Closed,
}

/// One end, and what it sends.
#[derive(Debug)]
pub struct End {
    /// Whose.
    pub node: NodeId,
    /// How it stands.
    pub state: State,
    /// Whether this end chokes the other.
    pub choking: bool,
    /// Whether this end has heard that the other is interested.
    pub wanted: bool,
    /// Payload that this end has sent, in bytes.
    pub sent: u64,
    /// Of that: while its node lacked something, and before anything had come back.
    pub unrequited: u64,
    /// Blocks that wait for the uplink, each with its mark.
    pub queue: VecDeque<(BlockRequest, u64)>,
    /// Whether this end stands in its node's [`Uplink`].
    pub lined_up: bool,
    /// The block that the uplink is putting on the wire for this end.
    pub on_wire: Option<(BlockRequest, u64)>,
    /// Messages that must follow the block on the wire: a byte stream has one order.
    pub behind: Vec<Message>,
    /// Of which nodes this end says that they are its node's neighbours (PEX).
    pub told: BTreeSet<NodeId>,
    /// When the last parcel *to* this end comes, or came, through its node's downlink.
    pub last_delivery: Time,
}

impl End {
    fn new(node: NodeId) -> Self {
        Self {
            node,
            state: State::Pending,
            choking: true,
            wanted: false,
            sent: 0,
            unrequited: 0,
            queue: VecDeque::new(),
            lined_up: false,
            on_wire: None,
            behind: Vec::new(),
            told: BTreeSet::new(),
            last_delivery: Time::default(),
        }
    }

    /// Its key, if it is open.
    pub fn key(&self) -> Option<PeerKey> {
        match self.state {
            State::Open(key) => Some(key),
            State::Pending | State::Closed => None,
        }
    }

    /// Sends nothing more. What is on the wire is lost when it gets off.
    pub fn close(&mut self) {
        self.state = State::Closed;
        self.queue.clear();
        self.behind.clear();
        self.told.clear();
    }
}

impl Link {
    /// A link that is being dialled.
    pub fn new(dialler: NodeId, acceptor: NodeId, latency: Duration) -> Self {
        Self { latency, ends: [End::new(dialler), End::new(acceptor)] }
    }

    /// One end.
    pub fn end(&self, side: Side) -> &End {
        &self.ends[side.index()]
    }

    /// One end.
    pub fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side.index()]
    }
}

/// A node's uplink: it serves the connections that have blocks queued in turn, one block each, as TCP flows of equal round trips share
/// a bottleneck. Messages are small and pass for free.
#[derive(Debug, Default)]
pub struct Uplink {
    /// Who waits for a turn.
    pub line: VecDeque<(LinkId, Side)>,
    /// Whose block is on the wire.
    pub serving: Option<(LinkId, Side)>,
}

/// How long `bytes` take at `rate` bytes a second, rounded up to a nanosecond.
pub fn transfer_time(bytes: u32, rate: u64) -> Duration {
    Duration::from_nanos((u64::from(bytes) * 1_000_000_000).div_ceil(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_takes_its_size_over_the_rate() {
        assert_eq!(transfer_time(16_384, 524_288), Duration::from_micros(31_250));
        assert_eq!(transfer_time(1, 3), Duration::from_nanos(333_333_334));
    }
}
