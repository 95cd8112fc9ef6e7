//! The run: pops events, hands each to the torrent it concerns, does what the torrent then wants.

mod network;
mod probe;
mod strategist;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use client::torrent::{
    Action, Config, Event as News, PeerSource, Reason, Start, Time, Torrent, TrackerId, Verification,
    leaf_digest,
};
use client::wire::Message;
use torrent_format::announce::{AnnounceReply, AnnounceRequest};
use torrent_format::{Bitfield, Info, PieceIndex};
use tracker::swarm::Swarms;

use super::behaviour::Strategy;
use super::check::{Checker, Rule};
use super::event::{Event, LeavesRead, Log, NodeId, Parcel};
use super::idle::Slices;
use super::link::Link;
use super::node::{Connection, Node, PORT};
use super::queue::{Have, Queue};
use super::report::{Outcome, Remains, Report};
use super::scenario::{Holding, Leaving, Scenario};
pub use probe::{Gifts, Probe, Way};
pub use strategist::Strategist;

/// The tracker's distance from the middle of the network.
const TRACKER_LATENCY: Duration = Duration::from_micros(12_500);

/// How often the tracker forgets.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);

/// A swarm in which nothing is gained for so long will not finish: every timer of the protocol (the longest is the snub, 60 s) has
/// run out several times over.
const STALL_LIMIT: Duration = Duration::from_secs(240);

/// Actions or timeouts of one node at one moment beyond which the core must be in a loop.
const LOOP_LIMIT: u32 = 1_000_000;

/// Uplink use is counted in slices of this length.
pub const SLICE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    info: Info,
    now: Time,
    queue: Queue,
    log: Log,
    rng: fastrand::Rng,
    nodes: Vec<Node>,
    links: Vec<Link>,
    by_ip: BTreeMap<IpAddr, NodeId>,
    swarms: Swarms,
    checker: Checker,
    tally: Tally,
    /// How often [`Self::probe`] has looked.
    probes: u32,
    /// Whether somebody finished, joined or went since [`Self::is_finished`] was last asked.
    changed: bool,
    measure: Measure,
    /// Whether any node is a black hole by now.
    holes: bool,
    /// For [`Self::hear_haves`], so that it need not allocate.
    haves: Vec<Have>,
}

/// How long a message takes at least, from a node to another or to the tracker.
fn shortest_way(scenario: &Scenario) -> Duration {
    let mut latencies: Vec<_> = scenario.nodes.iter().map(|node| node.latency).collect();
    latencies.sort_unstable();
    let nearest = latencies.first().copied().unwrap_or(TRACKER_LATENCY);
    nearest + latencies.get(1).copied().unwrap_or(TRACKER_LATENCY).min(TRACKER_LATENCY)
}

/// What the world counts about all nodes together.
#[derive(Debug)]
pub struct Tally {
    /// Bytes that left uplinks on open connections.
    pub sent: u64,
    /// Bytes that came through downlinks.
    pub received: u64,
    /// Bytes that met a closed connection.
    pub lost: u64,
    /// Bytes that left uplinks, by [`SLICE`].
    pub slices: Vec<u64>,
    /// What uplinks were at while nodes took part.
    pub idle: Slices,
    /// What regular looks at all nodes found.
    pub probe: Probe,
    /// What free riders got so far.
    pub gifts: Gifts,
    /// The like by each second.
    pub gift_series: Vec<Gifts>,
    /// By second: slots that downloaders give to their own class, and slots that they give.
    pub friends: Vec<[u32; 2]>,
    /// By second: downloaders, and the largest number of them that lack one piece only, and the same.
    pub clubs: Vec<[u32; 2]>,
    /// When the first of those who began with everything went: how many others had the rarest piece.
    pub rarest_at_departure: Option<u32>,
    /// Pieces that somebody has who began without them.
    pub spread: Bitfield,
    /// Of these, pieces that two of them have.
    pub twofold: Bitfield,
    /// What those who began with everything had sent when every piece was spread.
    pub sent_for_first_copy: Option<u64>,
    /// Payload that was kept, and that was lacking at the start, by all, in bytes.
    pub kept: u64,
    /// See `kept`.
    pub lacked: u64,
    /// Who banned whom.
    pub bans: Vec<(NodeId, NodeId)>,
    /// When a block was last kept, or a node joined.
    progress: Time,
    /// Timeouts at the moment `now`.
    timeouts: u32,
}

/// How long messages are on the wire.
#[derive(Debug, Default)]
struct Measure {
    encoded: Vec<u8>,
}

impl Measure {
    fn length(&mut self, message: &Message) -> u64 {
        match message {
            // Most of all messages: known without encoding them (BEP 3).
            Message::Have(_) => 9,
            Message::Request(_) | Message::Cancel(_) | Message::Reject(_) => 17,
            Message::Choke | Message::Unchoke | Message::Interested | Message::NotInterested => 5,
            _ => {
                self.encoded.clear();
                message.encode(&mut self.encoded);
                self.encoded.len() as u64
            }
        }
    }
}

impl Tally {
    fn new(pieces: u32) -> Self {
        Self {
            sent: 0,
            received: 0,
            lost: 0,
            slices: Vec::new(),
            idle: Slices::new(SLICE),
            probe: Probe::default(),
            gifts: Gifts::default(),
            gift_series: Vec::new(),
            friends: Vec::new(),
            clubs: Vec::new(),
            rarest_at_departure: None,
            spread: Bitfield::none(pieces),
            twofold: Bitfield::none(pieces),
            sent_for_first_copy: None,
            kept: 0,
            lacked: 0,
            bans: Vec::new(),
            progress: Time::default(),
            timeouts: 0,
        }
    }
}

impl World {
    /// A run that has yet to begin.
    pub fn new(scenario: Scenario) -> Self {
        let info = scenario.info();
        let mut rng = fastrand::Rng::with_seed(scenario.seed);
        let nodes: Vec<Node> =
            scenario.nodes.iter().enumerate().map(|(id, spec)| Node::new(id, spec.clone(), &info)).collect();
        let mut queue = Queue::new(shortest_way(&scenario));
        for (id, node) in nodes.iter().enumerate() {
            queue.push(Time(node.spec.join), id, Event::Join(id));
            if let Leaving::CrashAt(time) = node.spec.leaving {
                queue.push(Time(time), id, Event::Crash(id));
            }
        }
        queue.push(Time(EXPIRE_INTERVAL), nodes.len(), Event::Expire);
        let mut checker = Checker::new(info.clone(), nodes.len(), scenario.fast);
        if !scenario.checked {
            checker.switch_off();
        }
        for (id, _) in nodes.iter().enumerate().filter(|(_, node)| node.spec.behaviour.lies()) {
            checker.excuse(id);
        }
        Self {
            now: Time::default(),
            queue,
            log: Log::default(),
            by_ip: nodes.iter().enumerate().map(|(id, node)| (node.addr.ip(), id)).collect(),
            swarms: Swarms::new(rng.u64(..)),
            checker,
            tally: Tally {
                lacked: nodes.iter().map(|node| node.books.lacked()).sum(),
                ..Tally::new(info.layout().piece_count())
            },
            links: Vec::new(),
            probes: 0,
            changed: true,
            measure: Measure::default(),
            holes: false,
            haves: Vec::new(),
            rng,
            nodes,
            info,
            scenario,
        }
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Report {
        let mut all_finished_at = None;
        let outcome = loop {
            let Some(time) = self.queue.next_window() else { break self.stalled() };
            self.now = time;
            if all_finished_at.is_none() {
                self.probe();
                if std::mem::take(&mut self.changed) && self.is_finished() {
                    all_finished_at = Some(self.now);
                }
            }
            match all_finished_at {
                Some(finished) if self.now >= finished + self.scenario.tail => break Outcome::Finished,
                None if self.now > Time(self.scenario.deadline) => break Outcome::Deadline,
                None if self.now - self.tally.progress > STALL_LIMIT && self.somebody_waits() => {
                    break self.stalled();
                }
                _ => {}
            }
            while let Some(node) = self.queue.next_turn() {
                self.take_turn(node);
            }
        };
        self.check_books();
        let remains = Remains {
            scenario: &self.scenario,
            info: &self.info,
            nodes: &self.nodes,
            links: &self.links,
            tally: &self.tally,
            checker: &self.checker,
            log: &self.log,
        };
        Report::new(outcome, &remains)
    }

    /// All that happens to a node within this window.
    fn take_turn(&mut self, id: NodeId) {
        loop {
            while let Some((time, event)) = self.queue.pop() {
                if time != self.now {
                    self.tally.timeouts = 0;
                }
                self.now = time;
                self.log.record(time, &event);
                self.handle(event);
            }
            let Some(time) = self.queue.last_have() else { return };
            self.now = time;
            self.hear_haves(id);
        }
    }

    /// Whether all have everything, but those that are gone, and outlaws unless the scenario waits for them.
    fn is_finished(&self) -> bool {
        let done = |node: &Node| node.joined.is_some() && node.books.verified().is_all();
        let waits_for_all = self.scenario.waits_for_all;
        let ignored = |node: &Node| node.is_poisoner() || (node.is_outlaw() && !waits_for_all);
        self.nodes.iter().all(|node| node.gone.is_some() || ignored(node) || done(node))
    }

    fn somebody_waits(&self) -> bool {
        let waits = |node: &Node| node.torrent.is_some() && !node.books.verified().is_all();
        self.nodes.iter().any(|node| waits(node) && !node.is_outlaw())
    }

    /// Who lacks what, and whether those who are there could have helped.
    fn stalled(&self) -> Outcome {
        let mut held = Bitfield::none(self.info.layout().piece_count());
        let mut lacking = Vec::new();
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.torrent.is_some()) {
            for piece in self.info.layout().pieces().filter(|&piece| node.books.verified().has(piece)) {
                held.set(piece);
            }
            let lacks = held.length() - node.books.verified().count();
            if lacks > 0 {
                lacking.push((id, lacks));
            }
        }
        if held.is_all() {
            Outcome::Stalled { lacking }
        } else {
            Outcome::Starved { held: held.count(), lacking }
        }
    }

    // -- what happens

    fn handle(&mut self, event: Event) {
        match event {
            Event::Join(node) => self.join(node),
            Event::Crash(node) => self.depart(node),
            Event::Stop(node) => self.stop(node),
            Event::Rejoin(node) => self.rejoin(node),
            Event::Beat(node) => self.beat(node),
            Event::Wake(node) => self.wake(node),
            Event::Dial(link) => self.dialled(link),
            Event::Accepted(link) => self.accepted(link),
            Event::DialFailed(node, addr) => {
                self.with(node, |torrent, now| torrent.handle_connect_failed(now, addr));
            }
            Event::UplinkFree(node) => self.uplink_free(node),
            Event::Arrive(link, side, parcel) => self.arrive(link, side, parcel),
            Event::Deliver(link, side, parcel) => self.deliver(link, side, parcel),
            Event::Verified(node, piece, digests) => self.verified(node, piece, digests),
            Event::LeavesRead(node, read) => {
                let LeavesRead { peer, request, leaves } = *read;
                self.with(node, |torrent, now| torrent.handle_leaves(now, peer, request, leaves));
            }
            Event::InfoRead(node, raw) => self.info_read(node, &raw),
            Event::Announce(node, tracker, request) => self.announce(node, tracker, &request),
            Event::AnnounceReply(node, tracker, reply) => {
                self.with(node, |torrent, now| torrent.handle_announce_reply(now, tracker, true, Ok(*reply)));
            }
            Event::Expire => {
                self.swarms.expire(self.now.0);
                self.queue.push(self.now + EXPIRE_INTERVAL, self.nodes.len(), Event::Expire);
            }
        }
    }

    /// Calls a handler of a node's torrent, if it still takes part, and does what the torrent then wants.
    fn with(&mut self, id: NodeId, call: impl FnOnce(&mut Torrent, Time)) {
        if let Some(torrent) = &mut self.nodes[id].torrent {
            call(torrent, self.now);
            self.drain(id);
        }
    }

    fn join(&mut self, id: NodeId) {
        let pieces = self.info.layout().piece_count();
        let trackers = if self.scenario.tracker {
            vec![vec!["http://tracker.invalid/announce".into()]]
        } else {
            Vec::new()
        };
        let known: Vec<SocketAddr> =
            self.nodes[id].spec.knows.iter().map(|&other| self.nodes[other].addr).collect();
        let node = &mut self.nodes[id];
        let start = match node.spec.holding {
            Holding::Magnet => Start::Magnet { info: None },
            _ => Start::Known {
                info: self.info.clone(),
                have: node.books.verified().clone(),
                wanted: Bitfield::all(pieces),
            },
        };
        let config = Config {
            hashes: self.info.hashes(),
            peer_id: node.peer_id,
            listen_port: PORT,
            public_port: PORT,
            utp: true,
            seed: self.rng.u64(..),
            max_peers: node.spec.max_peers,
            upload_limit: None,
            trackers,
            stay: node.spec.stay,
            sequential: false,
            super_seed: node.spec.super_seed,
            pex: node.spec.pex,
            dht: false,
            ablation: node.spec.ablation,
        };
        node.torrent = Some(Torrent::new(self.now, config, start));
        node.joined.get_or_insert(self.now);
        self.changed = true;
        node.idle.start(self.now);
        if self.nodes[id].spec.behaviour.strategy != Strategy::Core {
            self.start_strategy(id);
        }
        let node = &mut self.nodes[id];
        if let Some(rejoins) = node.spec.behaviour.rejoins {
            self.queue.push(self.now + rejoins.every, id, Event::Rejoin(id));
        }
        self.tally.progress = self.now;
        self.with(id, |torrent, now| torrent.add_peers(now, PeerSource::Given, known));
    }

    /// It breaks all connections and comes back at once, as somebody else.
    fn rejoin(&mut self, id: NodeId) {
        if self.nodes[id].torrent.is_some() {
            self.depart(id);
            self.nodes[id].is_reborn(&self.info);
            self.join(id);
        }
    }

    fn wake(&mut self, id: NodeId) {
        self.hear_haves(id);
        let node = &mut self.nodes[id];
        if node.wake != Some(self.now) {
            return;
        }
        node.wake = None;
        let Some(torrent) = &mut node.torrent else { return };
        if torrent.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            torrent.handle_timeout(self.now);
            self.tally.timeouts += 1;
            assert!(self.tally.timeouts < LOOP_LIMIT, "node {id}: timeouts without end at {:?}", self.now);
        }
        self.drain(id);
    }

    fn verified(&mut self, id: NodeId, piece: PieceIndex, digests: bool) {
        self.hear_haves(id);
        let node = &mut self.nodes[id];
        if node.torrent.is_none() {
            return;
        }
        let Some(hashed) = node.books.hash(piece) else {
            // A former life asked for it.
            if node.lives > 0 {
                return;
            }
            self.checker.violate(self.now, id, Rule::EarlyVerify, format!("{piece:?} is not whole"));
            return;
        };
        let all = || hashed.leaves.iter().map(leaf_digest).collect();
        let outcome = if hashed.good {
            Verification::Good(digests.then(all))
        } else if self.scenario.v2 {
            Verification::Wrong(hashed.leaves)
        } else {
            Verification::Doubtful(all())
        };
        if hashed.good {
            node.first_piece.get_or_insert(self.now);
        }
        if hashed.good && node.books.verified().is_all() {
            node.finished.get_or_insert(self.now);
            self.changed = true;
        }
        self.with(id, |torrent, now| torrent.handle_verified(now, piece, outcome));
        if hashed.good {
            self.spread(piece);
        }
    }

    /// Somebody who began without this piece has it now.
    fn spread(&mut self, piece: PieceIndex) {
        if !self.tally.spread.set(piece) {
            self.tally.twofold.set(piece);
        }
        if self.tally.twofold.is_all() {
            self.stop_those_that(Leaving::OnceTwofold);
        }
        if !self.tally.spread.is_all() || self.tally.sent_for_first_copy.is_some() {
            return;
        }
        let seeds = self.nodes.iter().filter(|node| node.spec.holding == Holding::Everything);
        self.tally.sent_for_first_copy = Some(seeds.map(|node| node.traffic.sent).sum());
        self.stop_those_that(Leaving::OnceSpread);
    }

    fn stop_those_that(&mut self, leaving: Leaving) {
        for id in 0..self.nodes.len() {
            if self.nodes[id].spec.leaving == leaving && self.nodes[id].torrent.is_some() {
                self.queue.push(self.queue.end_of_window(), id, Event::Stop(id));
            }
        }
    }

    fn info_read(&mut self, id: NodeId, raw: &[u8]) {
        if raw != self.info.raw() {
            self.checker.violate(self.now, id, Rule::FalseReport, "took another torrent's info for ours");
            return;
        }
        let (info, wanted) = (self.info.clone(), Bitfield::all(self.info.layout().piece_count()));
        let have = self.nodes[id].books.verified().clone();
        self.with(id, |torrent, now| torrent.handle_info(now, info, have, wanted));
    }

    fn announce(&mut self, id: NodeId, tracker: TrackerId, request: &AnnounceRequest) {
        if self.scenario.tracker_until.is_some_and(|death| self.now.0 >= death) {
            return;
        }
        let peer = SocketAddr::new(self.nodes[id].addr.ip(), request.port);
        let reply: AnnounceReply = self.swarms.announce(self.now.0, peer, request);
        let at = self.now + TRACKER_LATENCY + self.nodes[id].spec.latency;
        self.queue.push(at, id, Event::AnnounceReply(id, tracker, Box::new(reply)));
    }

    // -- what torrents want

    /// Does all that a node's torrent wants, then sees to its timeout, its uplink and its leaving.
    fn drain(&mut self, id: NodeId) {
        for round in 0.. {
            assert!(round < LOOP_LIMIT, "node {id}: actions without end at {:?}", self.now);
            let Some(action) = self.nodes[id].torrent.as_mut().and_then(Torrent::poll_action) else { break };
            self.perform(id, action);
        }
        self.serve(id);
        self.watch(id);
        let node = &mut self.nodes[id];
        let Some(torrent) = &node.torrent else { return };
        if node.stopping && torrent.is_stopped() {
            self.depart(id);
        } else if let Some(deadline) = torrent.poll_timeout() {
            let deadline = deadline.max(self.now);
            if node.wake.is_none_or(|wake| deadline < wake) {
                node.wake = Some(deadline);
                self.queue.push(deadline, id, Event::Wake(id));
            }
        }
    }

    fn perform(&mut self, id: NodeId, action: Action) {
        match action {
            Action::Connect(addr, _) => self.connect(id, addr, false),
            Action::Punch(addr, _) => self.connect(id, addr, true),
            Action::Disconnect(key, reason) => {
                let Some(connection) = self.connection(id, key, "disconnect") else { return };
                let Connection { link, side, other, .. } = connection;
                if matches!(reason, Reason::Misbehaved(_) | Reason::Banned) {
                    self.punished(id, other, &reason.to_string());
                }
                self.close(link, side);
            }
            Action::Send(key, message) => {
                let pieces = self.info.layout().piece_count();
                if let Some(message) = self.nodes[id].spec.behaviour.tamper(message, pieces) {
                    self.send(id, key, message);
                }
            }
            Action::SendBlock(key, block) => self.send_block(id, key, block),
            Action::DropBlock(key, block) => self.drop_block(id, key, block),
            Action::Verify { piece, digests } => {
                if !self.nodes[id].books.is_whole(piece) {
                    self.checker.violate(self.now, id, Rule::EarlyVerify, format!("{piece:?} is not whole"));
                }
                let event = Event::Verified(id, piece, digests);
                self.queue.push(self.now + self.scenario.verify_time, id, event);
            }
            Action::Announce { tracker, url: _, request } => {
                let at = self.now + self.nodes[id].spec.latency + TRACKER_LATENCY;
                let event = Event::Announce(id, tracker, request);
                self.queue.push(at, self.nodes.len(), event);
            }
            Action::Search { .. } | Action::AddNode(_) => unreachable!("these torrents were told of no DHT"),
            Action::DropBlocks { piece, blocks } => {
                let node = &mut self.nodes[id];
                node.traffic.spoilt += node.books.drop_blocks(&self.info, piece, &blocks);
            }
            Action::ReadLeaves { peer, request, file: _, first, count } => {
                let leaves = self.nodes[id].books.leaves(&self.info, first..first + u64::from(count));
                let event = Event::LeavesRead(id, Box::new(LeavesRead { peer, request, leaves }));
                self.queue.push(self.now + self.scenario.verify_time, id, event);
            }
            Action::Info(info) => {
                let raw = info.raw().to_vec();
                self.queue.push(self.now + self.scenario.verify_time, id, Event::InfoRead(id, raw));
            }
            Action::BadInfo(fault) => {
                self.checker.violate(self.now, id, Rule::FalseReport, format!("refused our info: {fault}"));
            }
            Action::Notify(News::PeerBanned(addr)) => match self.by_ip.get(&addr.ip()) {
                Some(&other) => {
                    self.tally.bans.push((id, other));
                    self.punished(id, other, "banned");
                }
                None => self.checker.violate(self.now, id, Rule::UnknownPeer, format!("banned {addr}")),
            },
            Action::Notify(News::Complete) => {
                if !self.nodes[id].books.verified().is_all() {
                    self.checker.violate(self.now, id, Rule::FalseReport, "complete, but pieces are missing");
                }
            }
            Action::Notify(News::Fulfilled) => self.stop(id),
            Action::Notify(_) => {}
        }
    }

    fn punished(&mut self, id: NodeId, other: NodeId, how: &str) {
        if !self.nodes[other].may_be_punished() {
            self.checker.violate(self.now, id, Rule::HonestPeerPunished, format!("node {other}: {how}"));
        }
    }

    // -- leaving

    fn stop(&mut self, id: NodeId) {
        if !std::mem::replace(&mut self.nodes[id].stopping, true) {
            self.with(id, client::torrent::Torrent::stop);
        }
    }

    /// The node is gone; whatever it still has open breaks.
    fn depart(&mut self, id: NodeId) {
        if self.nodes[id].torrent.is_none() {
            return;
        }
        self.check_node(id);
        if self.nodes[id].spec.holding == Holding::Everything && self.tally.rarest_at_departure.is_none() {
            self.tally.rarest_at_departure = Some(self.rarest_without(id));
        }
        let open: Vec<_> = self.nodes[id].connections.iter().map(|open| (open.link, open.side)).collect();
        for (link, side) in open {
            self.close(link, side);
        }
        self.end_watch(id);
        self.nodes[id].torrent = None;
        self.nodes[id].gone = Some(self.now);
        self.changed = true;
    }

    /// How many others have the piece that fewest of them have.
    fn rarest_without(&self, id: NodeId) -> u32 {
        let others =
            || self.nodes.iter().enumerate().filter(|&(other, node)| other != id && node.torrent.is_some());
        let holders = |piece| others().filter(|(_, node)| node.books.verified().has(piece)).count() as u32;
        self.info.layout().pieces().map(holders).min().unwrap_or(0)
    }

    /// Books what is still open of what a node's uplink was at.
    fn end_watch(&mut self, id: NodeId) {
        let node = &self.nodes[id];
        if node.torrent.is_some() {
            let (what, since) = node.idle.current();
            self.tally.idle.book(what, node.spec.up, since, self.now);
        }
    }

    // -- the books at the end

    /// Compares what a torrent says about itself with what passed through its node.
    fn check_node(&mut self, id: NodeId) {
        let node = &self.nodes[id];
        let Some(torrent) = &node.torrent else { return };
        let (stats, traffic, before) = (torrent.stats(self.now), node.traffic, node.before);
        let wasted = traffic.discarded + traffic.spoilt;
        let gained = node.books.gained(&self.info);
        let said = (stats.uploaded, stats.downloaded, stats.wasted);
        let seen = (
            traffic.sent - before.sent,
            traffic.received - before.received,
            wasted - before.discarded - before.spoilt,
        );
        if traffic.received != gained + wasted {
            let detail = format!("received {}, gained {gained}, wasted {wasted}", traffic.received);
            self.checker.violate(self.now, id, Rule::BytesNotConserved, detail);
        }
        if said != seen {
            let detail = format!("(uploaded, downloaded, wasted): it says {said:?}, the world {seen:?}");
            self.checker.violate(self.now, id, Rule::FalseReport, detail);
        }
    }

    /// What was sent has come, or met a closed connection, or is under way.
    fn check_books(&mut self) {
        for id in 0..self.nodes.len() {
            self.end_watch(id);
            self.check_node(id);
        }
        let mut under_way = 0;
        for event in self.queue.rest() {
            if let Event::Arrive(_, _, Parcel::Block { block, .. })
            | Event::Deliver(_, _, Parcel::Block { block, .. }) = event
            {
                under_way += u64::from(block.length);
            }
        }
        let Tally { sent, received, lost, .. } = self.tally;
        if sent != received + lost + under_way {
            let detail = format!("sent {sent}, received {received}, lost {lost}, under way {under_way}");
            self.checker.violate(self.now, 0, Rule::BytesNotConserved, detail);
        }
        let nodes: u64 = self.nodes.iter().map(|node| node.traffic.received).sum();
        if received != nodes {
            let detail = format!("received {received}, by nodes {nodes}");
            self.checker.violate(self.now, 0, Rule::BytesNotConserved, detail);
        }
    }
}
