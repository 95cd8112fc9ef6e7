//! One torrent, and every decision about it: what to request and from whom, whom to unchoke, whom to dial, when to announce, whom
//! to blame. Pure: no socket, no clock, no thread, no file. Time and the random seed are arguments.
//!
//! [`Torrent`] is a state machine with one owner. What happens goes in by `handle_*`; what is to be done comes out of
//! [`Torrent::poll_action`], until it is empty; then the owner sleeps until the next event or [`Torrent::poll_timeout`]. The owner is
//! `engine::driver` for users and the simulator in `tests/src/sim` for us.
//!
//! The rules stand one to a file: [`picker`] (which block), [`choker`] (whom to upload to), `slots` (how many of them), `feeder` (in which
//! order), `suggestions` (what a seed would have others fetch), `first_copies` (who passes on what it gives), `accounts` (what those who are gone owed), `super_seed` (what it says that it has), [`pipeline`] (how many requests), [`candidates`]
//! (whom to dial), [`turnover`] (whom to let go), [`pex`] (whom to tell of whom), `holepunch` (how to reach who can't be dialled), [`announcer`] (when to announce), [`blame`] (who lied), [`metadata`] (the info from peers), [`hashes`] (hashes of v2 trees
//! from peers), [`allowed_fast`]. `connections`, `messages`, `downloads`, `pieces`, `uploads` and `hash_messages` apply them to the peers.
//!
//! A hybrid torrent (BEP 52) is two swarms with one payload: the peers of both are in one table here.

mod accounts;
mod action;
mod allowed_fast;
mod announcer;
mod blame;
mod candidates;
mod choker;
mod config;
mod connections;
mod downloads;
mod feeder;
mod first_copies;
mod hash_messages;
mod hashes;
mod holepunch;
mod messages;
mod metadata;
mod offers;
mod peer;
mod peers;
mod pex;
mod picker;
mod pieces;
mod pipeline;
mod rate;
mod reach;
mod restraint;
mod searches;
mod slots;
mod stats;
mod suggestions;
mod super_seed;
mod time;
mod turnover;
mod uploads;
mod why;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use torrent_format::announce::{AnnounceReply, AnnounceRequest};
use torrent_format::merkle::Hash;
use torrent_format::{Bitfield, Info, InfoHash, InfoHashes, PieceIndex};

pub use action::{
    Action, AnnounceFailure, Connected, Direction, Event, InfoFault, Misbehaviour, NEVER, PeerSource, Reason,
    Swarm, Verdict, Verification, leaf_digest,
};
pub use announcer::TrackerId;
pub use candidates::{is_local, may_dial};
pub use config::{Ablation, Config, LINGER_LIMIT, Start, Stay};
pub use peers::PeerKey;
pub use reach::{Encryption, Opening, Transports};
pub use stats::{PeerStats, Stats};
pub use time::Time;
pub use why::{Why, why};

use accounts::Accounts;
use announcer::{Announcement, Announcers, Totals};
use blame::Blame;
use candidates::Candidates;
use choker::Choker;
use feeder::Feeder;
use first_copies::FirstCopies;
use hash_messages::LeafRead;
use hashes::HashFetch;
use metadata::MetadataFetch;
use peers::Peers;
use picker::Picker;
use rate::Meter;
use restraint::Restraint;
use searches::Searches;
use suggestions::Suggestions;
use super_seed::SuperSeed;
use turnover::Turnover;

use crate::wire::{BlockRequest, HashRequest, Message};

/// How often the slow things are looked at: time-outs, dials, keep-alives.
const TICK: Duration = Duration::from_secs(1);

/// How often requests are spread anew.
const BALANCE: Duration = Duration::from_millis(250);

/// Peers that are gone and still counted in [`Torrent::peer_stats`].
const MAX_DEPARTED: usize = 1_000;

/// After completing, a downloader that would leave at once gives this many pieces first, if somebody wants them (Hajek & Zhu: one piece
/// a peer keeps a swarm from starving for a rare one), and whatever no other peer that it knows has.
const LINGER_PIECES: u64 = 2;

/// How long after completing silence is not yet taken for a lack of interest.
const LINGER_PATIENCE: Duration = Duration::from_secs(1);

/// One torrent. See the module's documentation; the methods come in families:
/// - `handle_*`: something happened,
/// - commands: [`Self::add_peers`], [`Self::add_peers_of`], [`Self::stop`],
/// - `poll_*`: what is to be done, and when to come back,
/// - getters: how it stands.
#[derive(Debug)]
pub struct Torrent {
    config: Config,
    /// As much as is known by now.
    hashes: InfoHashes,
    phase: Phase,
    fetch: HashFetch,
    leaf_reads: Vec<LeafRead>,
    peers: Peers,
    departed: VecDeque<PeerStats>,
    candidates: Candidates,
    announcers: Announcers,
    searches: Searches,
    turnover: Turnover,
    /// Where others reach us: what a router maps to the port that we listen on may have another number.
    public_port: u16,
    choker: Choker,
    feeder: Feeder,
    /// When [`Self::feed`] may find something to do by the clock alone.
    next_feed: Option<Time>,
    /// When whoever could ask us for something may be told so again.
    next_offer: Time,
    accounts: Accounts,
    blame: Blame,
    actions: VecDeque<Action>,
    next_tick: Time,
    next_balance: Time,
    next_round: Time,
    life: Life,
    downloaded: Meter,
    uploaded: Meter,
    wasted: u64,
    bytes_done: u64,
    bytes_total: u64,
    /// Peers that have something we need.
    interests: u32,
    /// Somebody who gave us something lately wanted something of us when the slots were judged last.
    others_give: bool,
    /// A peer has dialled us.
    was_dialled: bool,
    /// Something happened that may let a waiting peer have a slot, or a request go out. Worked off by [`Self::settle`].
    slots_changed: bool,
    blocks_freed: bool,
    hashes_wanted: bool,
}

/// What is known of the torrent.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a torrent has one, and it is this one for nearly all of its life"
)]
enum Phase {
    /// Its info comes from peers.
    Metadata(MetadataFetch),
    /// Its info is known, and piece layers come from peers, without which nothing can be checked.
    Layers(Info),
    /// Its info has come and the owner is looking at the disk.
    AwaitingInfo(Info),
    /// Its info has come and can't be used.
    Unusable,
    /// Its info is known.
    Content(Content),
}

/// A torrent whose info is known.
#[derive(Debug)]
struct Content {
    info: Info,
    picker: Picker,
    suggestions: Suggestions,
    /// Of a seed.
    first_copies: FirstCopies,
    /// A seed's, as long as there is something that only it has.
    super_seed: Option<SuperSeed>,
    /// All of it was here from the start, so nobody ever gave us any of it.
    is_origin: bool,
    /// Of the first seed.
    restraint: Restraint,
}

/// How far along we are.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Life {
    /// Wanted pieces are missing.
    Leeching,
    /// None is missing, since then; `uploaded` by then.
    Complete { since: Time, uploaded: u64, fulfilled: bool },
    /// Saying goodbye.
    Stopping,
}

impl Torrent {
    /// A torrent that starts now. Actions are due at once.
    pub fn new(now: Time, config: Config, start: Start) -> Self {
        let mut seeds = fastrand::Rng::with_seed(config.seed);
        let mut choker = Choker::new(config.upload_limit, seeds.u64(..));
        if config.ablation.no_choker {
            choker.switch_off();
        }
        let next_round = now + choker.first_round();
        let mut torrent = Self {
            candidates: Candidates::new(seeds.u64(..)),
            announcers: Announcers::new(config.trackers.clone(), start.is_private()),
            searches: Searches::default(),
            turnover: Turnover::new(now),
            public_port: config.public_port,
            hashes: config.hashes,
            fetch: HashFetch::default(),
            leaf_reads: Vec::new(),
            choker,
            feeder: Feeder::default(),
            next_feed: None,
            next_offer: now,
            phase: Phase::Metadata(MetadataFetch::new(config.hashes)),
            peers: Peers::default(),
            departed: VecDeque::new(),
            accounts: Accounts::default(),
            blame: Blame::default(),
            actions: VecDeque::new(),
            next_tick: now + TICK,
            next_balance: now + BALANCE,
            next_round,
            life: Life::Leeching,
            downloaded: Meter::default(),
            uploaded: Meter::default(),
            wasted: 0,
            bytes_done: 0,
            bytes_total: 0,
            interests: 0,
            others_give: false,
            was_dialled: false,
            slots_changed: false,
            blocks_freed: false,
            hashes_wanted: false,
            config,
        };
        torrent.join_swarms(now, &mut seeds);
        match start {
            Start::Known { info, have, wanted } => {
                torrent.learn_names(now, &info);
                torrent.fetch.want_layers(&info);
                torrent.set_content(now, info, have, wanted);
            }
            Start::Magnet { info: Some(info) } => torrent.complete_info(now, info),
            Start::Magnet { info: None } => {}
        }
        torrent.announce_if_due(now);
        torrent.join_dht(now);
        torrent.search_if_due(now);
        torrent
    }

    // -- what happens

    /// A connection is up and both handshakes are done. Refused connections are closed by the owner.
    ///
    /// # Errors
    /// Why the connection is refused.
    pub fn handle_connected(&mut self, now: Time, peer: Connected) -> Result<PeerKey, Reason> {
        let outcome = self.connect(now, peer);
        self.settle(now);
        outcome
    }

    /// A dial, or its handshake, failed.
    pub fn handle_connect_failed(&mut self, now: Time, addr: SocketAddr) {
        self.dial_failed(now, addr);
        self.dial(now);
    }

    /// A connection is gone, by the peer's doing or the network's.
    pub fn handle_disconnected(&mut self, now: Time, peer: PeerKey) {
        self.remove_peer(now, peer, None);
        self.settle(now);
    }

    /// A message came.
    pub fn handle_message(&mut self, now: Time, peer: PeerKey, message: Message) {
        if let Err(misbehaviour) = self.message(now, peer, message) {
            self.disconnect(now, peer, Reason::Misbehaved(misbehaviour));
        }
        self.settle(now);
    }

    /// A block came whole. Its payload is the owner's, and the answer says what to do with it. `leaf`: the SHA-256 of its first so many bytes (BEP 52); it
    /// is asked for if it is known what that should be.
    pub fn handle_block(
        &mut self,
        now: Time,
        peer: PeerKey,
        block: BlockRequest,
        leaf: impl FnOnce(u32) -> Hash,
    ) -> Verdict {
        let verdict = self.block_received(now, peer, block, leaf).unwrap_or_else(|misbehaviour| {
            self.disconnect(now, peer, Reason::Misbehaved(misbehaviour));
            Verdict::Discard
        });
        if verdict != Verdict::Keep {
            self.wasted += u64::from(block.length);
        }
        self.settle(now);
        verdict
    }

    /// A block that [`Action::SendBlock`] asked for has left.
    pub fn handle_block_sent(&mut self, now: Time, peer: PeerKey, block: BlockRequest) {
        self.block_sent(now, peer, block);
        self.settle(now);
    }

    /// A block that [`Action::DropBlock`] took back has not left and will not.
    pub fn handle_block_dropped(&mut self, now: Time, peer: PeerKey, block: BlockRequest) {
        self.block_dropped(now, peer, block);
        self.settle(now);
    }

    /// The bytes of this block can't be read any more: its piece is no longer offered.
    pub fn handle_read_failed(&mut self, now: Time, peer: PeerKey, block: BlockRequest) {
        self.read_failed(now, peer, block);
        self.settle(now);
    }

    /// [`Action::Verify`] is done.
    pub fn handle_verified(&mut self, now: Time, piece: PieceIndex, outcome: Verification) {
        self.piece_hashed(now, piece, outcome);
        self.settle(now);
    }

    /// [`Action::ReadLeaves`] is done; `None`: they can't be read.
    pub fn handle_leaves(
        &mut self,
        now: Time,
        peer: PeerKey,
        request: HashRequest,
        leaves: Option<Vec<Hash>>,
    ) {
        self.leaves_read(now, peer, request, leaves);
        self.settle(now);
    }

    /// The info that [`Action::Info`] gave out, read, and what of it is there and wanted.
    pub fn handle_info(&mut self, now: Time, info: Info, have: Bitfield, wanted: Bitfield) {
        if matches!(self.phase, Phase::Content(_)) {
            return;
        }
        self.learn_names(now, &info);
        self.set_content(now, info, have, wanted);
        self.resolve_early_pieces(now);
        self.settle(now);
    }

    /// [`Action::Announce`] is done. `local`: the tracker itself is at a loopback or private address.
    pub fn handle_announce_reply(
        &mut self,
        now: Time,
        tracker: TrackerId,
        local: bool,
        reply: Result<AnnounceReply, AnnounceFailure>,
    ) {
        let Some(url) = self.announcers.url(tracker).cloned() else { return };
        match reply {
            Ok(reply) => {
                self.announcers.succeeded(now, tracker, &reply);
                if let Some(ip) = reply.external_ip {
                    self.candidates.set_own(SocketAddr::new(ip, self.public_port));
                }
                self.notify(Event::TrackerReplied {
                    url,
                    peers: reply.peers.len(),
                    seeds: reply.complete,
                    leechers: reply.incomplete,
                    warning: reply.warning,
                    external_ip: reply.external_ip,
                });
                self.add_candidates(now, PeerSource::Tracker { local }, Some(tracker.swarm()), reply.peers);
            }
            Err(failure) => {
                let (next, retry_in) = self.announcers.failed(now, tracker, &failure);
                // A goodbye that was not heard is nothing that the user could mend.
                if self.life != Life::Stopping {
                    self.notify(Event::TrackerFailed { url, message: failure.message, retry_in });
                }
                if let Some(announcement) = next {
                    self.announce(announcement);
                }
            }
        }
        self.announce_if_due(now);
    }

    /// The moment that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        self.announce_if_due(now);
        self.search_if_due(now);
        if self.next_feed.is_some_and(|due| now >= due) {
            self.feed(now);
            if self.feeder.is_dry() {
                self.slots_changed = true;
                self.offer(now);
            }
        }
        if now >= self.next_balance {
            self.next_balance = now + BALANCE;
            self.balance(now);
        }
        if now >= self.next_round {
            self.next_round = now + choker::ROUND;
            self.judge_slots(now);
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(now);
        }
        self.settle(now);
    }

    // -- commands

    /// Addresses where peers may be.
    pub fn add_peers(&mut self, now: Time, source: PeerSource, peers: impl IntoIterator<Item = SocketAddr>) {
        self.add_candidates(now, source, None, peers);
    }

    /// Addresses where peers were found under this one of the torrent's names. A private torrent has no use for them if they are neither
    /// its trackers' nor the user's (BEP 27).
    pub fn add_peers_of(
        &mut self,
        now: Time,
        source: PeerSource,
        name: InfoHash,
        peers: impl IntoIterator<Item = SocketAddr>,
    ) {
        let swarm = if self.hashes.v2_swarm() == Some(name) { Swarm::V2 } else { Swarm::V1 };
        self.add_candidates(now, source, Some(swarm), peers);
    }

    /// Others reach us at this port: a router maps it to ours. Whoever was told of another is told anew.
    pub fn set_public_port(&mut self, now: Time, port: u16) {
        if std::mem::replace(&mut self.public_port, port) != port {
            self.announcers.moved();
            self.searches.again(now);
        }
    }

    /// Says goodbye to trackers and peers. [`Self::is_stopped`] once the trackers have answered.
    pub fn stop(&mut self, now: Time) {
        if self.life == Life::Stopping {
            return;
        }
        self.life = Life::Stopping;
        self.searches.stop();
        for peer in self.peers.keys() {
            self.disconnect(now, peer, Reason::Stopping);
        }
        for announcement in self.announcers.stop() {
            self.announce(announcement);
        }
    }

    // -- what is to be done

    /// The next thing to do. Ask until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        let next = self.actions.pop_front();
        if next.is_none() {
            // From here on at its start again, which the processor has at hand.
            self.actions.clear();
        }
        next
    }

    /// When to call [`Self::handle_timeout`], if nothing happens before. `None`: only events matter now.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.life == Life::Stopping {
            return None;
        }
        let balance = self.is_leeching().then_some(self.next_balance);
        let due = [
            Some(self.next_tick),
            Some(self.next_round),
            balance,
            self.next_feed,
            self.announcers.next_due(),
            self.searches.next_due(),
        ];
        due.into_iter().flatten().min()
    }

    // -- how it stands

    /// Whether [`Self::stop`] was called and every tracker has answered.
    pub fn is_stopped(&self) -> bool {
        self.life == Life::Stopping && self.announcers.is_stopped()
    }

    /// Figures for the user.
    pub fn stats(&self, now: Time) -> Stats {
        Stats {
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
            downloaded: self.downloaded.total(),
            uploaded: self.uploaded.total(),
            wasted: self.wasted,
            download_rate: self.downloaded.rate(now, 5),
            upload_rate: self.uploaded.rate(now, 5),
            peers: self.peers.len(),
            seeds: self.peers.iter().filter(|(_, peer)| peer.is_seed()).count(),
            unchoked_by: self.peers.iter().filter(|(_, peer)| !peer.download.choked).count(),
            useful_peers: self.peers.iter().filter(|(_, peer)| peer.download.needed > 0).count(),
            useful_unchoked: self
                .peers
                .iter()
                .filter(|(_, peer)| peer.download.needed > 0 && !peer.download.choked)
                .count(),
            pieces_nobody_has: self.content().map_or(0, |content| content.picker.count_unavailable()),
            half_open: self.candidates.half_open(),
            known_peers: self.candidates.len(),
            was_dialled: self.was_dialled,
            trackers: self.announcers.count(),
            failing_trackers: self.announcers.count_failing(),
            metadata_peers: match &self.phase {
                Phase::Metadata(fetch) => fetch.source_count(),
                _ => 0,
            },
            has_info: matches!(self.phase, Phase::Content(_)),
            missing_layers: self.fetch.missing_layers(),
            complete: self.content().is_some_and(|content| content.picker.is_complete()),
        }
    }

    /// What passed between us and each peer of this run, those that are gone included, one entry a peer id.
    pub fn peer_stats(&self) -> Vec<PeerStats> {
        let mut all: Vec<PeerStats> = self.peers.iter().map(|(_, peer)| peer.stats()).collect();
        for gone in &self.departed {
            match all.iter_mut().find(|stats| stats.peer_id == gone.peer_id) {
                Some(stats) => stats.merge(gone),
                None => all.push(gone.clone()),
            }
        }
        all
    }

    /// The pieces that are verified, once the info is known.
    pub fn have(&self) -> Option<&Bitfield> {
        self.content().map(|content| content.picker.have())
    }

    /// The info, once it is known and the payload can be checked by it.
    pub fn info(&self) -> Option<&Info> {
        self.content().map(|content| &content.info)
    }

    /// Whether peers may come from its trackers only (BEP 27). Nobody knows before the info has come.
    pub fn is_private(&self) -> bool {
        self.known_info().is_some_and(Info::is_private)
    }

    /// The torrent's info hashes: those that it was started with, and what its info adds.
    pub fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    // -- within

    fn content(&self) -> Option<&Content> {
        match &self.phase {
            Phase::Content(content) => Some(content),
            _ => None,
        }
    }

    /// The info, whether or not the payload can be checked by it yet.
    fn known_info(&self) -> Option<&Info> {
        match &self.phase {
            Phase::Layers(info) | Phase::AwaitingInfo(info) => Some(info),
            Phase::Content(content) => Some(&content.info),
            Phase::Metadata(_) | Phase::Unusable => None,
        }
    }

    fn is_leeching(&self) -> bool {
        self.life == Life::Leeching
    }

    /// Whether we give only to those who give: we lack something, and somebody here has it. When nobody has, what we have is all that
    /// others can get.
    fn is_trading(&self) -> bool {
        self.is_leeching() && self.interests > 0 && !self.config.ablation.no_choker
    }

    fn send(&mut self, now: Time, key: PeerKey, message: Message) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.last_sent = now;
            self.actions.push_back(Action::Send(key, message));
        }
    }

    fn notify(&mut self, event: Event) {
        self.actions.push_back(Action::Notify(event));
    }

    fn add_candidates(
        &mut self,
        now: Time,
        source: PeerSource,
        swarm: Option<Swarm>,
        peers: impl IntoIterator<Item = SocketAddr>,
    ) {
        if self.is_private() && !source.is_private() {
            return;
        }
        for addr in peers {
            let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            if self.blame.is_banned(addr, None) {
                continue;
            }
            self.candidates.add(now, source, swarm, addr);
            if let Some((_, peer)) = self.peers.iter().find(|(_, peer)| peer.dial_addr == Some(addr)) {
                self.candidates.is_here(addr, peer.capabilities.v2);
            }
        }
        self.dial(now);
    }

    /// Announces in every swarm of which the name is known.
    fn join_swarms(&mut self, now: Time, seeds: &mut fastrand::Rng) {
        if let Some(v1) = self.hashes.v1() {
            self.announcers.join(now, Swarm::V1, v1, seeds.u64(..));
        }
        if let Some(v2) = self.hashes.v2_swarm() {
            self.announcers.join(now, Swarm::V2, v2, seeds.u64(..));
        }
    }

    /// The info may give the torrent a second name, beside the one that it was found by.
    fn learn_names(&mut self, now: Time, info: &Info) {
        let (old, new) = (self.hashes, info.hashes());
        let Some(all) = InfoHashes::new(old.v1().or(new.v1()), old.v2().or(new.v2())) else { return };
        if all == old {
            return self.join_dht(now);
        }
        self.hashes = all;
        self.join_dht(now);
        self.join_swarms(now, &mut fastrand::Rng::with_seed(self.config.seed.rotate_left(32)));
        for key in self.peers.keys() {
            if self.speaks_v2(key) {
                self.fetch.add_source(now, key);
            }
        }
        self.announce_if_due(now);
    }

    fn set_content(&mut self, now: Time, info: Info, have: Bitfield, wanted: Bitfield) {
        let layout = info.layout().clone();
        let size = |piece| u64::from(layout.piece_payload(piece));
        self.bytes_total = layout.pieces().filter(|&piece| wanted.has(piece)).map(size).sum();
        self.bytes_done =
            layout.pieces().filter(|&piece| wanted.has(piece) && have.has(piece)).map(size).sum();
        let mut seeds = fastrand::Rng::with_seed(self.config.seed);
        let is_origin = have.is_all();
        let suggestions = Suggestions::new(layout.piece_count(), is_origin, seeds.u64(..));
        let mut picker = Picker::new(layout, have, wanted, seeds.u64(..));
        picker.set_sequential(self.config.sequential);
        picker.set_ablation(self.config.ablation);
        let (first_copies, restraint) = (FirstCopies::default(), Restraint::default());
        let super_seed = (self.config.super_seed && is_origin).then(|| {
            let mut super_seed = SuperSeed::new(seeds.u64(..));
            for key in self.peers.keys() {
                super_seed.add(now, key, picker.have().length());
            }
            super_seed
        });
        self.phase = Phase::Content(Content {
            info,
            picker,
            suggestions,
            first_copies,
            super_seed,
            is_origin,
            restraint,
        });
        // Complete from the start: nothing was completed, so no tracker hears `completed`.
        self.check_complete(now, false);
    }

    /// Works off what an event made possible. Events come before timers: a slot that fell free is filled now, not at the next round.
    fn settle(&mut self, now: Time) {
        if self.life == Life::Stopping {
            return;
        }
        if std::mem::take(&mut self.slots_changed) {
            self.fill_slots(now);
        }
        if std::mem::take(&mut self.hashes_wanted) {
            self.request_hashes(now);
        }
        if std::mem::take(&mut self.blocks_freed) {
            // What a liar was to give goes to who has been here longest: liars are banned, and who comes again comes last.
            for peer in self.peers.by_age() {
                self.fill_requests(now, peer);
            }
        }
    }

    fn tick(&mut self, now: Time) {
        if self.life == Life::Stopping {
            return;
        }
        self.check_time_outs(now);
        self.exchange_peers(now);
        self.request_metadata(now);
        self.hashes_wanted = true;
        self.ask_relays(now);
        self.turn_over(now);
        self.dial(now);
        self.look_for_peers(now);
        self.check_stay(now);
        self.name_pieces(now, true);
        // Pauses end by the clock alone.
        self.blocks_freed = true;
    }

    fn check_complete(&mut self, now: Time, announce: bool) {
        let Some(content) = self.content() else { return };
        if !self.is_leeching() || !content.picker.is_complete() {
            return;
        }
        let whole = content.picker.have().is_all();
        self.life = Life::Complete { since: now, uploaded: self.uploaded.total(), fulfilled: false };
        if announce && whole {
            self.announcers.completed(now);
            self.announce_if_due(now);
        }
        self.notify(Event::Complete);
        for (key, _) in
            self.peers.iter().filter(|(_, peer)| peer.is_seed()).map(|(k, p)| (k, p.addr)).collect::<Vec<_>>()
        {
            self.disconnect(now, key, Reason::BothSeeds);
        }
        self.slots_changed = true;
        self.check_stay(now);
    }

    /// Whether what the user asked for after completion is fulfilled.
    fn check_stay(&mut self, now: Time) {
        let Life::Complete { since, uploaded, fulfilled: false } = self.life else { return };
        let given = self.uploaded.total() - uploaded;
        let done = match self.config.stay {
            Stay::Leave { linger: false } => true,
            Stay::Leave { linger: true } => {
                let piece_length =
                    self.content().map_or(0, |content| u64::from(content.info.layout().piece_length()));
                // Those that lack something have a moment to say that they want it from us.
                let early = now - since < LINGER_PATIENCE;
                let wanted =
                    self.peers.iter().any(|(_, peer)| !peer.is_seed() && (early || peer.upload.interested));
                let enough = given >= LINGER_PIECES * piece_length
                    && self.content().is_none_or(|content| !content.picker.has_last_copy());
                !wanted || enough || now - since >= LINGER_LIMIT
            }
            Stay::Seed { ratio, time } => {
                let goal = ratio.map(|ratio| ratio * self.bytes_total as f64);
                goal.is_some_and(|goal| self.uploaded.total() as f64 >= goal)
                    || time.is_some_and(|time| now - since >= time)
            }
        };
        if done {
            self.life = Life::Complete { since, uploaded, fulfilled: true };
            self.notify(Event::Fulfilled);
        }
    }

    fn announce_if_due(&mut self, now: Time) {
        while let Some(announcement) = self.announcers.poll(now) {
            self.announce(announcement);
        }
    }

    fn announce(&mut self, announcement: Announcement) {
        let left = self.content().map_or(u64::MAX, |content| {
            let layout = content.info.layout();
            let have = content.picker.have();
            let missing = layout.pieces().filter(|&piece| !have.has(piece));
            missing.map(|piece| u64::from(layout.piece_payload(piece))).sum()
        });
        let totals = Totals { uploaded: self.uploaded.total(), downloaded: self.downloaded.total() };
        let Totals { uploaded, downloaded } = self.announcers.since_started(&announcement, totals);
        let request = AnnounceRequest {
            info_hash: announcement.info_hash,
            peer_id: self.config.peer_id,
            port: self.public_port,
            uploaded,
            downloaded,
            left,
            event: announcement.event,
            numwant: Some(announcement.numwant),
            // One key a run, so that the tracker knows us again behind another address.
            key: Some(self.config.seed as u32),
            tracker_id: announcement.tracker_id,
        };
        self.actions.push_back(Action::Announce {
            tracker: announcement.tracker,
            url: announcement.url,
            request: Box::new(request),
        });
    }
}
