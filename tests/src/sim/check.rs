//! The watcher: what each end of each connection has said and heard, and whether what it does next follows from that.
//!
//! It knows nothing of how the core decides. All rules are those that the peer at the other end could hold against us.

use std::collections::BTreeSet;
use std::fmt;

use client::torrent::Time;
use client::wire::extension::ExtensionHandshake;
use client::wire::{BlockRequest, Message};
use torrent_format::{BLOCK_LENGTH, Bitfield, Info, PieceIndex};

use super::event::NodeId;
use super::link::{LinkId, Side};
use super::node::Books;

/// Requests that a peer keeps if its extension handshake does not say (libtorrent's default, the lowest among clients in use).
pub const DEFAULT_REQUEST_QUEUE: u32 = 250;

/// How many peers may be asked for one block at a time, in the endgame.
pub const MAX_REQUESTERS: u32 = 2;

/// Violations kept in full; one fault tends to repeat until the run's end.
const MAX_VIOLATIONS: usize = 50;

/// What must never happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// A request for a piece that the peer has not announced.
    RequestForMissingPiece,
    /// A request while choked, for a piece that is not allowed fast.
    RequestWhileChoked,
    /// A request without having said `interested`.
    RequestWithoutInterest,
    /// A request for a block that is held, or asked from this peer already, or that does not exist.
    UselessRequest,
    /// One block asked from more than [`MAX_REQUESTERS`].
    TooManyRequesters,
    /// More requests than the peer keeps.
    RequestQueueOverrun,
    /// A piece announced before it is verified.
    UnverifiedHave,
    /// `bitfield` and the like not first, or twice.
    LateBitfield,
    /// Choke, unchoke, interested or not interested said twice.
    Redundant,
    /// A block for which no request is open, or of a piece not had, or while choking.
    UnaskedBlock,
    /// A reject without an open request.
    UnaskedReject,
    /// Hashing asked for a piece that is not whole.
    EarlyVerify,
    /// A block kept that is held already.
    KeptTwice,
    /// An honest peer was banned or called a misbehaving one.
    HonestPeerPunished,
    /// An action for a connection that is not open.
    UnknownPeer,
    /// Bytes appeared or disappeared.
    BytesNotConserved,
    /// The torrent says it is complete, or gives numbers about itself, and the books say otherwise.
    FalseReport,
}

/// A broken rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// When.
    pub time: Time,
    /// By whom.
    pub node: NodeId,
    /// Which rule.
    pub rule: Rule,
    /// What was done.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} s, node {}: {:?}: {}", self.time.0.as_secs_f64(), self.node, self.rule, self.detail)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Checker {
    info: Info,
    fast: bool,
    on: bool,
    /// Those who lie by order of the scenario.
    excused: BTreeSet<NodeId>,
    links: Vec<[View; 2]>,
    /// For each node, how many peers are being asked for each block.
    requesters: Vec<Requesters>,
    violations: Vec<Violation>,
    count: u64,
}

/// What one end has said and heard.
#[derive(Debug)]
struct View {
    node: NodeId,
    open: bool,
    // said
    announced: bool,
    choking: bool,
    interested: bool,
    allowed: Vec<u32>,
    // heard
    peer_has: Bitfield,
    peer_choking: bool,
    peer_allowed: Vec<u32>,
    peer_queue: u32,
    /// Our requests that the peer has yet to answer.
    outstanding: Blocks,
    /// Our requests that were taken back, or fell to a choke, and how often: the answers may be under way.
    written_off: Blocks,
    /// The peer's requests that we have yet to answer.
    asked: Blocks,
    /// The peer's requests that it took back, or that we took off our own queue: a reject may still be due.
    unanswered: Blocks,
}

/// Blocks, in no order: there are few, and most are taken away in the order in which they were put in.
#[derive(Debug, Default)]
struct Blocks(Vec<BlockRequest>);

impl Blocks {
    /// Puts it in once; `false`: it is in.
    fn insert(&mut self, block: BlockRequest) -> bool {
        let new = !self.0.contains(&block);
        if new {
            self.0.push(block);
        }
        new
    }

    /// Puts it in once more.
    fn add(&mut self, block: BlockRequest) {
        self.0.push(block);
    }

    /// Takes it out once; `false`: it is not in.
    fn remove(&mut self, block: &BlockRequest) -> bool {
        let at = self.0.iter().position(|other| other == block);
        at.map(|at| self.0.remove(at)).is_some()
    }
}

/// How many peers a node is asking for each block of the torrent.
#[derive(Debug, Default)]
struct Requesters {
    /// By the block's number among all of the torrent; as long as it needs to be.
    counts: Vec<u8>,
    all: u64,
}

impl Requesters {
    fn number(info: &Info, block: &BlockRequest) -> usize {
        let per_piece = info.layout().piece_length().div_ceil(BLOCK_LENGTH) as usize;
        block.index as usize * per_piece + (block.begin / BLOCK_LENGTH) as usize
    }

    /// One more; how many that makes.
    fn add(&mut self, info: &Info, block: &BlockRequest) -> u32 {
        let number = Self::number(info, block);
        if self.counts.len() <= number {
            self.counts.resize(number + 1, 0);
        }
        self.counts[number] += 1;
        self.all += 1;
        self.counts[number].into()
    }

    /// One fewer.
    fn release(&mut self, info: &Info, block: &BlockRequest) {
        if let Some(count @ 1..) = self.counts.get_mut(Self::number(info, block)) {
            *count -= 1;
            self.all -= 1;
        }
    }

    fn any(&self, info: &Info, block: &BlockRequest) -> bool {
        self.counts.get(Self::number(info, block)).is_some_and(|&count| count > 0)
    }
}

impl View {
    fn new(node: NodeId, pieces: u32) -> Self {
        Self {
            node,
            open: false,
            announced: false,
            choking: true,
            interested: false,
            allowed: Vec::new(),
            peer_has: Bitfield::none(pieces),
            peer_choking: true,
            peer_allowed: Vec::new(),
            peer_queue: DEFAULT_REQUEST_QUEUE,
            outstanding: Blocks::default(),
            written_off: Blocks::default(),
            asked: Blocks::default(),
            unanswered: Blocks::default(),
        }
    }
}

impl Checker {
    /// For a run with this many nodes.
    pub fn new(info: Info, nodes: usize, fast: bool) -> Self {
        let requesters = std::iter::repeat_with(Requesters::default).take(nodes).collect();
        Self {
            info,
            fast,
            on: true,
            excused: BTreeSet::new(),
            links: Vec::new(),
            requesters,
            violations: Vec::new(),
            count: 0,
        }
    }

    /// Watches nothing: only what the world itself finds is counted. For very large runs.
    pub fn switch_off(&mut self) {
        self.on = false;
    }

    /// This node lies about what it has, by order of the scenario.
    pub fn excuse(&mut self, node: NodeId) {
        self.excused.insert(node);
    }

    /// The first violations, in order.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Blocks that this node waits for.
    pub fn outstanding(&self, node: NodeId) -> u64 {
        self.requesters[node].all
    }

    /// Whether requests of the other end wait for this end to send blocks.
    pub fn is_waited_for(&self, link: LinkId, side: Side) -> bool {
        self.links.get(link).is_some_and(|views| !views[side.index()].asked.0.is_empty())
    }

    /// Whether this node has asked anybody for this block.
    pub fn is_asked(&self, node: NodeId, block: BlockRequest) -> bool {
        self.requesters[node].any(&self.info, &block)
    }

    /// A rule was broken.
    pub fn violate(&mut self, time: Time, node: NodeId, rule: Rule, detail: impl Into<String>) {
        if rule == Rule::UnverifiedHave && self.excused.contains(&node) {
            return;
        }
        self.count += 1;
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation { time, node, rule, detail: detail.into() });
        }
    }

    /// The next link is being dialled.
    pub fn link(&mut self, dialler: NodeId, acceptor: NodeId) {
        if !self.on {
            return;
        }
        let pieces = self.info.layout().piece_count();
        self.links.push([View::new(dialler, pieces), View::new(acceptor, pieces)]);
    }

    /// An end is open.
    pub fn opened(&mut self, link: LinkId, side: Side) {
        if self.on {
            self.links[link][side.index()].open = true;
        }
    }

    /// An end is closed: what it has asked for is asked from nobody now.
    pub fn closed(&mut self, link: LinkId, side: Side) {
        if !self.on {
            return;
        }
        let view = &mut self.links[link][side.index()];
        view.open = false;
        let requesters = &mut self.requesters[view.node];
        for block in std::mem::take(&mut view.outstanding).0 {
            requesters.release(&self.info, &block);
        }
    }

    /// The torrent at this end sends a message. `books`: what its node holds.
    pub fn sent(&mut self, now: Time, link: LinkId, side: Side, message: &Message, books: &Books) {
        if !self.on {
            return;
        }
        let node = self.links[link][side.index()].node;
        if let Err((rule, detail)) = self.check_sent(link, side, message, books) {
            self.violate(now, node, rule, detail);
        }
    }

    fn check_sent(
        &mut self,
        link: LinkId,
        side: Side,
        message: &Message,
        books: &Books,
    ) -> Result<(), (Rule, String)> {
        let info = &self.info;
        let view = &mut self.links[link][side.index()];
        let requesters = &mut self.requesters[view.node];
        let fail = |rule, detail: &str| Err((rule, format!("{detail}: {message:?}")));
        match message {
            Message::Choke | Message::Unchoke => {
                let choke = *message == Message::Choke;
                if std::mem::replace(&mut view.choking, choke) == choke {
                    return fail(Rule::Redundant, "said before");
                }
                if choke && !self.fast {
                    // Without BEP 6 a choke silently drops every request.
                    view.asked.0.clear();
                }
            }
            Message::Interested | Message::NotInterested => {
                let interested = *message == Message::Interested;
                if std::mem::replace(&mut view.interested, interested) == interested {
                    return fail(Rule::Redundant, "said before");
                }
            }
            Message::Have(index) => {
                view.announced = true;
                if !info.layout().piece(*index).is_some_and(|piece| books.verified().has(piece)) {
                    return fail(Rule::UnverifiedHave, "not verified");
                }
            }
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => {
                if std::mem::replace(&mut view.announced, true) {
                    return Err((Rule::LateBitfield, "the bitfield does not come first".into()));
                }
                let count = info.layout().piece_count();
                let Some(claim) = claimed(message, count) else {
                    return Err((Rule::UnverifiedHave, "a malformed bitfield".into()));
                };
                let verified = books.verified();
                if info.layout().pieces().any(|piece| claim.has(piece) && !verified.has(piece)) {
                    return Err((
                        Rule::UnverifiedHave,
                        "a bitfield with pieces that are not verified".into(),
                    ));
                }
            }
            Message::Request(block) => {
                let Some(piece) = exact(info, block) else {
                    return fail(Rule::UselessRequest, "no such block");
                };
                if !view.outstanding.insert(*block) {
                    return fail(Rule::UselessRequest, "asked this peer already");
                }
                let requested_by = requesters.add(info, block);
                if books.holds(piece, block.begin) {
                    return fail(Rule::UselessRequest, "held already");
                }
                if requested_by > MAX_REQUESTERS {
                    return fail(Rule::TooManyRequesters, "asked from too many");
                }
                if !view.peer_has.has(piece) {
                    return fail(Rule::RequestForMissingPiece, "the peer lacks it");
                }
                if view.peer_choking && !view.peer_allowed.contains(&block.index) {
                    return fail(Rule::RequestWhileChoked, "choked");
                }
                if !view.interested {
                    return fail(Rule::RequestWithoutInterest, "not interested");
                }
                if view.outstanding.0.len() > view.peer_queue as usize {
                    return fail(Rule::RequestQueueOverrun, "the peer's queue is full");
                }
            }
            Message::Cancel(block) => {
                if view.outstanding.remove(block) {
                    requesters.release(info, block);
                    view.written_off.add(*block);
                }
            }
            Message::Reject(block) => {
                if !view.asked.remove(block) && !view.unanswered.remove(block) {
                    return fail(Rule::UnaskedReject, "no such request");
                }
            }
            Message::AllowedFast(index) => {
                view.allowed.push(*index);
            }
            Message::KeepAlive
            | Message::Port(_)
            | Message::Suggest(_)
            | Message::Extended { .. }
            | Message::HashRequest(_)
            | Message::Hashes(..)
            | Message::HashReject(_)
            | Message::Unknown(_) => {}
        }
        Ok(())
    }

    /// A message reaches the torrent at this end.
    pub fn delivered(&mut self, link: LinkId, side: Side, message: &Message) {
        if !self.on {
            return;
        }
        let info = &self.info;
        let view = &mut self.links[link][side.index()];
        let requesters = &mut self.requesters[view.node];
        match message {
            Message::Choke => {
                view.peer_choking = true;
                if !self.fast {
                    for block in std::mem::take(&mut view.outstanding).0 {
                        requesters.release(info, &block);
                        view.written_off.add(block);
                    }
                }
            }
            Message::Unchoke => view.peer_choking = false,
            Message::Have(index) => {
                if let Some(piece) = info.layout().piece(*index) {
                    view.peer_has.set(piece);
                }
            }
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => {
                if let Some(claim) = claimed(message, info.layout().piece_count()) {
                    view.peer_has = claim;
                }
            }
            Message::Request(block) => {
                view.unanswered.remove(block);
                // Without BEP 6 a request that meets a choke on the way is dropped.
                if self.fast || !view.choking {
                    view.asked.insert(*block);
                }
            }
            Message::Cancel(block) => {
                if view.asked.remove(block) {
                    view.unanswered.insert(*block);
                }
            }
            Message::Reject(block) => {
                // If both are open, the answer to the older one comes first.
                if !view.written_off.remove(block) && view.outstanding.remove(block) {
                    requesters.release(info, block);
                }
            }
            Message::AllowedFast(index) => {
                view.peer_allowed.push(*index);
            }
            Message::Extended { id: 0, payload } => {
                if let Ok(handshake) = ExtensionHandshake::decode(payload) {
                    view.peer_queue = handshake.request_queue.unwrap_or(view.peer_queue);
                }
            }
            Message::KeepAlive
            | Message::Interested
            | Message::NotInterested
            | Message::Port(_)
            | Message::Suggest(_)
            | Message::Extended { .. }
            | Message::HashRequest(_)
            | Message::Hashes(..)
            | Message::HashReject(_)
            | Message::Unknown(_) => {}
        }
    }

    /// The torrent at this end wants a block sent.
    pub fn block_queued(&mut self, now: Time, link: LinkId, side: Side, block: BlockRequest, books: &Books) {
        if !self.on {
            return;
        }
        let view = &mut self.links[link][side.index()];
        let node = view.node;
        let asked = view.asked.remove(&block);
        let may = !view.choking || view.allowed.contains(&block.index);
        let piece = self.info.layout().check_request(block.index, block.begin, block.length);
        let detail = match piece {
            _ if !asked => "no such request",
            None => "no such block",
            Some(piece) if !books.verified().has(piece) => "its piece is not verified",
            _ if !may => "the peer is choked",
            _ => return,
        };
        self.violate(now, node, Rule::UnaskedBlock, format!("{detail}: {block:?}"));
    }

    /// A block was taken off this end's queue again.
    pub fn block_dropped(&mut self, link: LinkId, side: Side, block: BlockRequest) {
        if self.on {
            self.links[link][side.index()].unanswered.insert(block);
        }
    }

    /// A block reaches the torrent at this end.
    pub fn block_delivered(&mut self, now: Time, link: LinkId, side: Side, block: BlockRequest) {
        if !self.on {
            return;
        }
        let view = &mut self.links[link][side.index()];
        let node = view.node;
        if view.outstanding.remove(&block) {
            self.requesters[node].release(&self.info, &block);
        } else if !view.written_off.remove(&block) {
            let sender = self.links[link][side.other().index()].node;
            self.violate(now, sender, Rule::UnaskedBlock, format!("came to node {node} unasked: {block:?}"));
        }
    }
}

/// The piece of a request that names exactly one block.
fn exact(info: &Info, block: &BlockRequest) -> Option<PieceIndex> {
    info.layout().check_block(block.index, block.begin, block.length).map(|block| block.piece)
}

/// What a first message claims; `None` if it is malformed.
fn claimed(message: &Message, count: u32) -> Option<Bitfield> {
    match message {
        Message::Bitfield(bytes) => Bitfield::from_wire(bytes, count),
        Message::HaveAll => Some(Bitfield::all(count)),
        _ => Some(Bitfield::none(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::Node;
    use super::super::scenario::{Holding, NodeSpec, Scenario};
    use super::*;

    const BLOCK: BlockRequest = BlockRequest { index: 1, begin: 16_384, length: 16_384 };
    const A: Side = Side::Dialler;
    const B: Side = Side::Acceptor;

    /// Node 0 has nothing, node 1 pieces 0 and 1 of four, with two blocks each; one link between them.
    struct Pair {
        checker: Checker,
        nodes: [Node; 2],
    }

    impl Pair {
        fn new(fast: bool) -> Self {
            let leecher = NodeSpec::leecher(1);
            let other = NodeSpec { holding: Holding::Pieces(0..2), ..leecher.clone() };
            let info = Scenario::new(0, 4, 32_768, Vec::new()).info();
            let mut checker = Checker::new(info.clone(), 2, fast);
            checker.link(0, 1);
            checker.opened(0, A);
            checker.opened(0, B);
            Self { checker, nodes: [Node::new(0, leecher, &info), Node::new(1, other, &info)] }
        }

        /// `side` says this, and it comes.
        fn say(&mut self, side: Side, message: Message) -> &mut Self {
            self.checker.sent(Time::default(), 0, side, &message, &self.nodes[side.index()].books);
            self.checker.delivered(0, side.other(), &message);
            self
        }

        /// B has announced its pieces and unchoked A, and A is interested.
        fn ready(fast: bool) -> Self {
            let mut pair = Self::new(fast);
            pair.say(B, Message::Bitfield(vec![0xc0])).say(B, Message::Unchoke).say(A, Message::Interested);
            pair
        }

        fn block(&mut self, side: Side) -> &mut Self {
            let books = &self.nodes[side.index()].books;
            self.checker.block_queued(Time::default(), 0, side, BLOCK, books);
            self.checker.block_delivered(Time::default(), 0, side.other(), BLOCK);
            self
        }

        fn broken(&self) -> Vec<Rule> {
            self.checker.violations().iter().map(|violation| violation.rule).collect()
        }
    }

    #[test]
    fn what_the_protocol_allows_breaks_no_rule() {
        let mut pair = Pair::ready(true);
        pair.say(A, Message::Request(BLOCK)).block(B);
        pair.say(A, Message::Request(BLOCK)).say(A, Message::Cancel(BLOCK)).say(B, Message::Reject(BLOCK));
        pair.say(A, Message::Request(BLOCK)).say(B, Message::Choke).say(B, Message::Reject(BLOCK));
        pair.say(B, Message::AllowedFast(1)).say(A, Message::Request(BLOCK)).block(B);
        assert_eq!(pair.broken(), []);
    }

    #[test]
    fn requests_must_follow_from_what_the_peer_said() {
        let cases: [(&[(Side, Message)], Rule); 6] = [
            (&[], Rule::RequestForMissingPiece),
            (&[(B, Message::Bitfield(vec![0xc0])), (A, Message::Interested)], Rule::RequestWhileChoked),
            (&[(B, Message::Bitfield(vec![0xc0])), (B, Message::Unchoke)], Rule::RequestWithoutInterest),
            (&[(B, Message::Have(0)), (B, Message::Unchoke)], Rule::RequestForMissingPiece),
            (
                &[
                    (B, Message::Have(1)),
                    (B, Message::Unchoke),
                    (B, Message::Choke),
                    (A, Message::Interested),
                ],
                Rule::RequestWhileChoked,
            ),
            (
                &[(B, Message::Have(1)), (B, Message::AllowedFast(0)), (A, Message::Interested)],
                Rule::RequestWhileChoked,
            ),
        ];
        for (before, rule) in cases {
            let mut pair = Pair::new(true);
            for (side, message) in before {
                pair.say(*side, message.clone());
            }
            pair.say(A, Message::Request(BLOCK));
            assert_eq!(pair.broken(), [rule], "{before:?}");
        }
    }

    #[test]
    fn no_block_is_asked_for_twice_or_that_does_not_exist() {
        let mut pair = Pair::ready(true);
        pair.say(A, Message::Request(BLOCK)).say(A, Message::Request(BLOCK));
        pair.say(A, Message::Request(BlockRequest { length: 1, ..BLOCK }));
        assert_eq!(pair.broken(), [Rule::UselessRequest; 2]);
    }

    #[test]
    fn a_third_requester_is_one_too_many() {
        let mut pair = Pair::ready(true);
        for link in 1..3 {
            pair.checker.link(0, 1);
            pair.checker.opened(link, A);
            pair.checker.delivered(link, A, &Message::HaveAll);
            pair.checker.delivered(link, A, &Message::Unchoke);
            pair.checker.sent(Time::default(), link, A, &Message::Interested, &pair.nodes[0].books);
        }
        let ask = |pair: &mut Pair, link| {
            pair.checker.sent(Time::default(), link, A, &Message::Request(BLOCK), &pair.nodes[0].books);
        };
        ask(&mut pair, 0);
        ask(&mut pair, 1);
        pair.checker.closed(1, A);
        ask(&mut pair, 2);
        assert_eq!(pair.broken(), []);
        pair.checker.opened(1, A);
        ask(&mut pair, 1);
        assert_eq!(pair.broken(), [Rule::TooManyRequesters]);
    }

    #[test]
    fn requests_stay_within_the_queue_that_the_peer_offers() {
        let mut pair = Pair::ready(true);
        let payload = ExtensionHandshake { request_queue: Some(1), ..ExtensionHandshake::default() }.encode();
        pair.say(B, Message::Extended { id: 0, payload });
        pair.say(A, Message::Request(BLOCK)).say(A, Message::Request(BlockRequest { begin: 0, ..BLOCK }));
        assert_eq!(pair.broken(), [Rule::RequestQueueOverrun]);
    }

    #[test]
    fn only_what_is_verified_is_announced_and_first_of_all() {
        let mut pair = Pair::new(true);
        pair.say(B, Message::Bitfield(vec![0xe0])).say(B, Message::Have(2)).say(B, Message::HaveAll);
        pair.say(A, Message::Bitfield(vec![0xc0, 0]));
        assert_eq!(
            pair.broken(),
            [Rule::UnverifiedHave, Rule::UnverifiedHave, Rule::LateBitfield, Rule::UnverifiedHave]
        );
    }

    #[test]
    fn blocks_and_rejects_answer_requests() {
        let mut pair = Pair::ready(true);
        pair.say(B, Message::Reject(BLOCK)).block(B);
        assert_eq!(pair.broken(), [Rule::UnaskedReject, Rule::UnaskedBlock, Rule::UnaskedBlock]);
    }

    #[test]
    fn without_bep_6_a_choke_drops_every_request() {
        let mut pair = Pair::ready(false);
        pair.say(A, Message::Request(BLOCK)).say(B, Message::Choke).say(B, Message::Unchoke);
        pair.say(A, Message::Request(BLOCK));
        assert_eq!(pair.broken(), []);
        pair.say(B, Message::Choke).block(B);
        assert_eq!(pair.broken(), [Rule::UnaskedBlock]);
    }

    #[test]
    fn what_is_said_twice_is_noticed() {
        let mut pair = Pair::ready(true);
        pair.say(B, Message::Unchoke).say(A, Message::Interested).say(A, Message::Choke);
        assert_eq!(pair.broken(), [Rule::Redundant; 3]);
    }
}
