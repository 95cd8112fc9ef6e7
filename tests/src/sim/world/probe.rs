//! A look at all nodes once a second: how many slots they give, how much they ask for, and why an uplink is idle though somebody
//! unchoked wants something.

use std::time::Duration;

use client::wire::BlockRequest;
use torrent_format::PieceIndex;

use super::super::event::NodeId;
use super::super::idle::Uplink;
use super::super::link::{LinkId, Side};
use super::super::node::Node;
use super::super::scenario::Holding;
use super::World;

/// Time between looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Bytes leaked by a node from one look at a leak to the next: eight blocks.
const LEAK_INTERVAL: u64 = 8 * 16_384;

/// By which way a free rider came by a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Of a seed, while no honest downloader had the piece.
    SeedFirst,
    /// Of a seed, while others had it too.
    SeedAgain,
    /// Of a downloader that had everything by then.
    Finished,
    /// Of a downloader that choked it: allowed fast.
    AllowedFast,
    /// In a slot, within the first piece's worth of this downloader.
    Taste,
    /// In a slot, while no honest request waited there.
    Surplus,
    /// In a slot, while an honest request waited there.
    Overtaking,
}

impl Way {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::SeedFirst,
        Self::SeedAgain,
        Self::Finished,
        Self::AllowedFast,
        Self::Taste,
        Self::Surplus,
        Self::Overtaking,
    ];

    /// For the tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::SeedFirst => "the seed, of what no other had",
            Self::SeedAgain => "the seed, of what others had",
            Self::Finished => "downloaders that were done",
            Self::AllowedFast => "downloaders, allowed fast",
            Self::Taste => "downloaders, the first piece of each",
            Self::Surplus => "downloaders, while no honest request waited",
            Self::Overtaking => "downloaders, while an honest request waited",
        }
    }
}

/// Bytes that free riders got, by [`Way`].
pub type Gifts = [u64; Way::ALL.len()];

/// Sums over all looks.
#[derive(Clone, Copy, Default, Debug)]
pub struct Probe {
    /// Looks at a node that took part.
    pub looks: u64,
    /// Of these, at one that lacked something.
    pub lacking: u64,
    /// Open connections whose other end was interested.
    pub wanting: u64,
    /// Of these, unchoked.
    pub slots: u64,
    /// Blocks that nodes were waiting for.
    pub outstanding: u64,
    /// Looks at an uplink that was idle though somebody unchoked was interested.
    pub unasked: u64,
    /// Of these: all that it could give was being asked of others.
    pub asked_elsewhere: u64,
    /// Looks at a block that a downloader sent to a free rider.
    pub leaks: u64,
    /// Of these: an honest neighbour, choked or not, lacked something that it had asked of nobody, and that the downloader had.
    pub needless_leaks: u64,
    /// Of `leaks`: a request of an honest neighbour waited in line meanwhile.
    pub overtaking_leaks: u64,
}

impl World {
    /// Looks, if it is time. Not an event: it changes nothing.
    pub(super) fn probe(&mut self) {
        if self.now.0 < INTERVAL * self.probes {
            return;
        }
        self.probes += 1;
        self.note_club();
        let mut friends = [0; 2];
        let mut probe = self.tally.probe;
        for id in 0..self.nodes.len() {
            let node = &mut self.nodes[id];
            node.series.push([node.traffic.sent, node.traffic.received]);
            let node = &self.nodes[id];
            if node.torrent.is_none() {
                continue;
            }
            if !node.books.verified().is_all() {
                self.count_friends(id, &mut friends);
            }
            probe.looks += 1;
            probe.lacking += u64::from(!node.books.verified().is_all());
            probe.wanting += u64::from(node.wanted_by[0]);
            probe.slots += u64::from(node.wanted_by[1]);
            probe.outstanding += self.checker.outstanding(id);
            if node.at() == Uplink::Unasked {
                probe.unasked += 1;
                probe.asked_elsewhere += u64::from(!self.could_be_asked(id));
            }
        }
        self.tally.probe = probe;
        self.tally.friends.push(friends);
        self.tally.gift_series.push(self.tally.gifts);
    }

    /// How many a downloader has unchoked that are of its own class, and how many in all.
    fn count_friends(&self, id: NodeId, counts: &mut [u32; 2]) {
        let class = self.nodes[id].spec.class;
        for connection in self.nodes[id].connections.iter() {
            let end = self.links[connection.link].end(connection.side);
            if end.wanted && !end.choking {
                counts[0] += u32::from(self.nodes[connection.other].spec.class == class);
                counts[1] += 1;
            }
        }
    }

    /// How many downloaders there are, and how many of them lack one piece only, the same (Hajek and Zhu: the one-club).
    fn note_club(&mut self) {
        let mut clubs = std::collections::BTreeMap::new();
        let mut lacking = 0;
        for node in self.nodes.iter().filter(|node| node.torrent.is_some()) {
            let verified = node.books.verified();
            lacking += u32::from(!verified.is_all());
            if verified.count() + 1 == verified.length() {
                let missing = self.info.layout().pieces().find(|&piece| !verified.has(piece));
                *clubs.entry(missing).or_insert(0) += 1;
            }
        }
        self.tally.clubs.push([lacking, clubs.into_values().max().unwrap_or(0)]);
    }

    /// A node sends a block to a free rider: how come?
    pub(super) fn note_gift(&mut self, id: NodeId, link: LinkId, side: Side, block: BlockRequest) {
        let node = &self.nodes[id];
        let piece = self.info.layout().piece(block.index);
        let has = |node: &Node| piece.is_some_and(|piece| node.books.verified().has(piece));
        let downloads = |node: &&Node| node.spec.holding != Holding::Everything && !node.is_outlaw();
        let end = self.links[link].end(side);
        let way = if node.spec.holding == Holding::Everything {
            let others = self.nodes.iter().filter(downloads).any(has);
            if others { Way::SeedAgain } else { Way::SeedFirst }
        } else if node.books.verified().is_all() {
            Way::Finished
        } else if end.choking {
            Way::AllowedFast
        } else if end.sent <= u64::from(self.scenario.piece_length) {
            Way::Taste
        } else if self.is_waited_for(id) {
            Way::Overtaking
        } else {
            Way::Surplus
        };
        self.tally.gifts[way as usize] += u64::from(block.length);
    }

    /// Whether an honest neighbour's request waits here.
    fn is_waited_for(&self, id: NodeId) -> bool {
        self.nodes[id].connections.iter().any(|connection| {
            let honest = !self.nodes[connection.other].is_outlaw();
            honest && self.checker.is_waited_for(connection.link, connection.side)
        })
    }

    /// A downloader has sent a block to a free rider: now and then, looks whether somebody better wanted one.
    pub(super) fn probe_leak(&mut self, id: NodeId) {
        if !self.nodes[id].leaked.is_multiple_of(LEAK_INTERVAL) {
            return;
        }
        let better = self.nodes[id].connections.iter().any(|connection| {
            let wanted = self.links[connection.link].end(connection.side).wanted;
            let honest = !self.nodes[connection.other].is_outlaw();
            wanted && honest && self.lacks_and_wants_not(connection.other, id)
        });
        let overtakes = self.is_waited_for(id);
        self.tally.probe.overtaking_leaks += u64::from(overtakes);
        self.tally.probe.leaks += 1;
        self.tally.probe.needless_leaks += u64::from(better);
    }

    /// Whether an unchoked neighbour lacks a block that this node has, and has asked nobody for it.
    fn could_be_asked(&self, id: NodeId) -> bool {
        self.nodes[id].connections.iter().any(|connection| {
            let end = self.links[connection.link].end(connection.side);
            end.wanted && !end.choking && self.lacks_and_wants_not(connection.other, id)
        })
    }

    fn lacks_and_wants_not(&self, id: NodeId, giver: NodeId) -> bool {
        let (books, layout) = (&self.nodes[id].books, self.info.layout());
        let free = |piece: PieceIndex| {
            let asked = |block: torrent_format::Block| self.checker.is_asked(id, block.into());
            layout.blocks(piece).any(|block| !books.holds(piece, block.begin) && !asked(block))
        };
        let given = self.nodes[giver].books.verified();
        layout.pieces().any(|piece| given.has(piece) && !books.verified().has(piece) && free(piece))
    }
}
