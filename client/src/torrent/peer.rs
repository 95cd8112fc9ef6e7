//! What is known of one peer: [`Peer`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use torrent_format::{BLOCK_LENGTH, Bitfield, Block, Layout, PeerId, PieceIndex};

use super::Time;
use super::accounts::Account;
use super::action::{Connected, Direction};
use super::blame::Culprit;
use super::holepunch::Punching;
use super::pex::{Hearing, Telling};
use super::pipeline::Pipeline;
use super::rate::Meter;
use super::stats::PeerStats;
use crate::wire::{BlockRequest, Capabilities};

/// Requests that we keep for a peer; what we say in `reqq`. More are rejected.
pub(super) const REQUEST_QUEUE: usize = 500;

/// Blocks that a peer may still have after a choke, to finish its piece: 1 MiB. Of longer pieces it may keep the part it has.
pub(super) const MAX_FINISH: u32 = 64;

/// Blocks that we asked for and then took back are still welcome for this long, since they may have been on their way: through a slow line
/// that many share, for minutes.
const GRACE: Duration = Duration::from_secs(300);

/// For this long a block whose request was taken back is not asked of the same peer again: it has yet to answer the cancel (BEP 6), and that
/// answer could not be told from the one to a new request. Not longer: not every client answers.
const CANCEL_WAIT: Duration = Duration::from_secs(10);

/// How many of them are remembered.
const MAX_TAKEN_BACK: usize = 1_024;

/// A debt is counted in pieces, and smaller ones in units of so many bytes: between two that trade, one is always a little ahead.
const LEAST_DEBT: u64 = 256 * 1024;

/// Pieces that a peer may have for nothing.
const LOAN: u64 = 1;

/// The like for those who never had anything that we lacked, and so could not give, while others are there who give. One that comes late to a swarm
/// is like that for a while; so is a rider, for ever.
const GIFT: u64 = 4;

/// How many times as much as it gave a peer may have on top of that. Not just as much: between two that trade, one is always ahead, and the
/// slower one shall get on too.
const RETURN: u64 = 2;

/// Who owes more is as good as who owes this.
const MAX_DEBT: u32 = 64;

/// Suggestions that are remembered of a peer.
const MAX_SUGGESTED: usize = 16;

/// Messages other than blocks, requests and haves that a peer may send at once, and more per second. A healthy peer sends some a minute.
const MESSAGE_BURST: f64 = 2_000.0;
const MESSAGE_RATE: f64 = 50.0;

/// The same for hash requests, which come in crowds when a swarm begins from a magnet: as many as there are files. Dear ones count for
/// several.
const HASH_REQUEST_BURST: f64 = 4_096.0;
const HASH_REQUEST_RATE: f64 = 256.0;

/// Bytes that we hand to the owner ahead of the socket: so much at least, and at most; half a second's worth in between. A choke can't take back
/// what has been handed over and sent.
const CREDIT: std::ops::RangeInclusive<u64> = 64 * 1024..=2 * 1024 * 1024;

/// What a peer has.
#[derive(Debug)]
pub(super) enum Pieces {
    /// What it said before we knew the torrent's info; checked once we do.
    Early(Early),
    /// Checked.
    Known {
        field: Bitfield,
        /// It came with everything, so the picker counts it as a seed rather than piece by piece.
        as_seed: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct Early {
    pub(super) field: Option<Vec<u8>>,
    pub(super) all: bool,
    pub(super) haves: BTreeSet<u32>,
}

/// A request of ours that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outstanding {
    pub(super) block: Block,
    pub(super) at: Time,
}

/// From it to us.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) choked: bool,
    pub(super) interested: bool,
    /// It has had something that we lacked.
    pub(super) was_interesting: bool,
    /// Pieces that it has and we need. We are interested while there are any.
    pub(super) needed: u32,
    pub(super) allowed_fast: BTreeSet<PieceIndex>,
    /// What it would have us fetch, the latest last (BEP 6).
    pub(super) suggested: VecDeque<PieceIndex>,
    pub(super) outstanding: VecDeque<Outstanding>,
    pub(super) taken_back: VecDeque<Outstanding>,
    pub(super) pipeline: Pipeline,
    pub(super) meter: Meter,
    pub(super) last_block: Time,
    pub(super) snubs: bool,
    pub(super) current: Option<PieceIndex>,
    /// When it may be looked through for something that is far rarer than what it is asked for.
    pub(super) look_for_rarer: Time,
    /// When it is heeded again if it offers something.
    pub(super) heed_offers: Time,
    /// Blocks of it in pieces that passed.
    pub(super) passed: u32,
    /// Blocks that nobody asked for.
    pub(super) unwanted: u32,
    /// Rejects since the last block, and a pause that they earned.
    pub(super) rejects: u32,
    pub(super) paused_until: Time,
}

/// From us to it.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) choked: bool,
    pub(super) interested: bool,
    /// When `choked` changed last.
    pub(super) changed: Option<Time>,
    pub(super) queue: VecDeque<BlockRequest>,
    /// When it was unchoked, or something was sent to it.
    pub(super) busy: Time,
    /// Handed to the owner and not sent yet, bytes.
    pub(super) handed_over: u64,
    pub(super) meter: Meter,
    /// The pieces that it may have while choked, and how many blocks more of each: so that a choke can't be lived with.
    pub(super) allowed_fast: BTreeMap<PieceIndex, u32>,
    /// The one of them that it may finish because the last choke cut it in two.
    pub(super) unfinished: Option<PieceIndex>,
    /// The piece that the last block was of, and how many blocks of it went out in a row.
    pub(super) at_hand: Option<(PieceIndex, u32)>,
    /// How often in a row it asked for nothing when we had nothing to do.
    pub(super) vain_offers: u32,
    /// Requests that were one too many.
    pub(super) overflow: u32,
    /// Parts of the metadata that it was given.
    pub(super) metadata_parts: u32,
    /// Hash requests in a row that were refused since they are too many.
    pub(super) refused_hashes: u32,
}

/// So much at once, and so much a second.
#[derive(Debug)]
struct Allowance {
    left: f64,
    at: Time,
    burst: f64,
    rate: f64,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    /// Where it can be dialled, if that is known.
    pub(super) dial_addr: Option<SocketAddr>,
    pub(super) direction: Direction,
    /// See [`Connected::utp`].
    pub(super) utp: bool,
    pub(super) peer_id: PeerId,
    pub(super) capabilities: Capabilities,
    pub(super) client: Option<String>,
    pub(super) connected: Time,
    pub(super) last_heard: Time,
    pub(super) last_sent: Time,
    pub(super) pieces: Pieces,
    pub(super) was_leecher: bool,
    pub(super) ut_metadata: Option<u8>,
    pub(super) telling: Telling,
    pub(super) hearing: Hearing,
    pub(super) punching: Punching,
    pub(super) shook_extensions: bool,
    /// It has said where its node of the DHT listens.
    pub(super) told_dht_port: bool,
    pub(super) haves: u64,
    /// Bitfields, `have all`s and `have none`s that it sent.
    pub(super) inventories: u32,
    pub(super) download: Download,
    pub(super) upload: Upload,
    /// What passed between us and who was at its network before it.
    pub(super) before: Account,
    messages: Allowance,
    hash_requests: Allowance,
}

impl Peer {
    pub(super) fn new(now: Time, connected: Connected) -> Self {
        Self {
            addr: connected.addr,
            dial_addr: (connected.direction == Direction::Outgoing).then_some(connected.addr),
            direction: connected.direction,
            utp: connected.utp,
            peer_id: connected.peer_id,
            capabilities: connected.capabilities,
            client: None,
            connected: now,
            last_heard: now,
            last_sent: now,
            pieces: Pieces::Early(Early::default()),
            was_leecher: false,
            ut_metadata: None,
            telling: Telling::new(now),
            hearing: Hearing::default(),
            punching: Punching::default(),
            shook_extensions: false,
            told_dht_port: false,
            haves: 0,
            inventories: 0,
            download: Download {
                choked: true,
                interested: false,
                was_interesting: false,
                needed: 0,
                allowed_fast: BTreeSet::new(),
                suggested: VecDeque::new(),
                outstanding: VecDeque::new(),
                taken_back: VecDeque::new(),
                pipeline: Pipeline::default(),
                meter: Meter::default(),
                last_block: now,
                snubs: false,
                current: None,
                look_for_rarer: now,
                heed_offers: now,
                passed: 0,
                unwanted: 0,
                rejects: 0,
                paused_until: now,
            },
            upload: Upload {
                choked: true,
                interested: false,
                changed: None,
                queue: VecDeque::new(),
                busy: now,
                handed_over: 0,
                meter: Meter::default(),
                allowed_fast: BTreeMap::new(),
                unfinished: None,
                at_hand: None,
                vain_offers: 0,
                overflow: 0,
                metadata_parts: 0,
                refused_hashes: 0,
            },
            before: Account::default(),
            messages: Allowance::new(now, MESSAGE_BURST, MESSAGE_RATE),
            hash_requests: Allowance::new(now, HASH_REQUEST_BURST, HASH_REQUEST_RATE),
        }
    }

    pub(super) fn culprit(&self) -> Culprit {
        Culprit { addr: self.addr, peer_id: self.peer_id }
    }

    /// What it has, if we know the torrent.
    pub(super) fn field(&self) -> Option<&Bitfield> {
        match &self.pieces {
            Pieces::Known { field, .. } => Some(field),
            Pieces::Early(_) => None,
        }
    }

    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        self.field().is_some_and(|field| field.has(piece))
    }

    /// It has nothing that it could give to anybody, and has had less than a piece from us: whatever it says later, that was its first taste.
    pub(super) fn is_newcomer(&self, layout: &Layout) -> bool {
        self.field().is_some_and(Bitfield::is_none)
            && self.before.got + self.upload.meter.total() < u64::from(layout.piece_length())
    }

    /// It has had its free first taste, and all that it may have for what it gave. Who never had anything that we lacked is not to blame for
    /// giving nothing, and has more before it waits for those who do (`others_give`); who has nothing after it got a piece hides what it has.
    pub(super) fn is_spent(&self, layout: &Layout, others_give: bool) -> bool {
        let could_give = self.download.was_interesting || self.field().is_some_and(Bitfield::is_none);
        let free = match could_give {
            // The piece at hand it may finish, so who is through with half of one has all of it, and never nearly two. Without BEP 6 a choke ends it.
            true if self.capabilities.fast && self.gave() == 0 => {
                let loan = LOAN * unit(layout);
                loan - (loan / 2).min(u64::from(MAX_FINISH * BLOCK_LENGTH))
            }
            true => LOAN * unit(layout),
            false if others_give => GIFT * unit(layout),
            false => return false,
        };
        self.got() >= free + RETURN * self.gave()
    }

    /// Bytes that it has of us, and that are on their way to it.
    pub(super) fn got(&self) -> u64 {
        self.before.got + self.upload.meter.total() + self.upload.handed_over
    }

    /// Bytes that it gave us.
    pub(super) fn gave(&self) -> u64 {
        self.before.gave + self.download.meter.total()
    }

    /// How many pieces more it got from us than we from it.
    pub(super) fn debt(&self, layout: &Layout) -> u32 {
        let got = self.before.got + self.upload.meter.total();
        in_pieces(layout, got.saturating_sub(self.gave())).min(MAX_DEBT)
    }

    /// How many pieces it got from us.
    pub(super) fn had(&self, layout: &Layout) -> u32 {
        in_pieces(layout, self.got())
    }

    /// How many of them are more than it may have for what it gave.
    pub(super) fn had_for_nothing(&self, layout: &Layout) -> u32 {
        in_pieces(layout, self.got().saturating_sub(RETURN * self.gave()))
    }

    pub(super) fn is_seed(&self) -> bool {
        match &self.pieces {
            Pieces::Known { field, .. } => field.is_all(),
            Pieces::Early(early) => early.all,
        }
    }

    /// Takes one ordinary message from its allowance; `false`: it talks far too much.
    pub(super) fn may_say(&mut self, now: Time) -> bool {
        self.messages.take(now, 1)
    }

    /// Takes one hash request that is worth `cost` ordinary ones from its allowance; `false`: it asks for far too many.
    pub(super) fn may_ask_for_hashes(&mut self, now: Time, cost: u64) -> bool {
        self.hash_requests.take(now, cost)
    }

    pub(super) fn stats(&self) -> PeerStats {
        PeerStats {
            addr: self.dial_addr.unwrap_or(self.addr),
            peer_id: self.peer_id,
            client: self.client.clone(),
            downloaded: self.download.meter.total(),
            uploaded: self.upload.meter.total(),
            seed: self.is_seed(),
            was_leecher: self.was_leecher,
        }
    }
}

/// Bytes, in pieces.
fn in_pieces(layout: &Layout, bytes: u64) -> u32 {
    u32::try_from(bytes / unit(layout)).unwrap_or(u32::MAX)
}

/// A piece, as far as debts go.
fn unit(layout: &Layout) -> u64 {
    u64::from(layout.piece_length()).max(LEAST_DEBT)
}

impl Allowance {
    fn new(now: Time, burst: f64, rate: f64) -> Self {
        Self { left: burst, at: now, burst, rate }
    }

    /// What is asked for in vain costs too, so that it does not pay to go on.
    fn take(&mut self, now: Time, cost: u64) -> bool {
        let earned = (now - self.at).as_secs_f64() * self.rate;
        self.left = (self.left + earned).min(self.burst) - cost as f64;
        self.at = now;
        let enough = self.left >= 0.0;
        self.left = self.left.max(-self.burst);
        enough
    }
}

impl Early {
    /// Checks what was said against the torrent that it was said about. `None`: it does not fit.
    pub(super) fn resolve(&self, layout: &Layout) -> Option<Bitfield> {
        let count = layout.piece_count();
        let mut field = match &self.field {
            _ if self.all => Bitfield::all(count),
            Some(bytes) => Bitfield::from_wire(bytes, count)?,
            None => Bitfield::none(count),
        };
        for &have in &self.haves {
            field.set(layout.piece(have)?);
        }
        Some(field)
    }
}

impl Download {
    /// How many more requests to send now. In batches, since each send is work: none while only a little room is left.
    pub(super) fn room(&self, now: Time) -> u32 {
        let depth = self.pipeline.depth();
        let room = depth.saturating_sub(self.outstanding.len() as u32);
        if self.paused_until > now || room < (depth / 8).max(1) { 0 } else { room }
    }

    /// Whether it may be asked for more than there is room for, if it has something rare.
    pub(super) fn may_stretch(&self, now: Time) -> bool {
        self.look_for_rarer <= now && self.paused_until <= now && !self.choked && !self.snubs
    }

    /// How long this peer will need for what it owes and `more` blocks, by its rate of the last seconds.
    pub(super) fn expected(&self, now: Time, more: u32) -> Duration {
        let blocks = self.outstanding.len() as u32 + more;
        let rate = self.meter.rate(now, 5);
        if rate == 0 {
            // Nothing is known: a newcomer is given the benefit of a modem's rate, a silent one is not.
            let waiting = self.outstanding.front().map_or(Duration::ZERO, |oldest| now - oldest.at);
            return waiting * 4 + Duration::from_secs(1) * blocks;
        }
        Duration::from_secs_f64(f64::from(blocks) * f64::from(BLOCK_LENGTH) / rate as f64)
    }

    /// The peer would have us fetch this piece.
    pub(super) fn suggest(&mut self, piece: PieceIndex) {
        if self.suggested.len() >= MAX_SUGGESTED {
            self.suggested.pop_front();
        }
        self.suggested.push_back(piece);
    }

    /// Remembers that this request does not count any more, though its block may still come.
    pub(super) fn take_back(&mut self, now: Time, outstanding: Outstanding) {
        if self.taken_back.len() >= MAX_TAKEN_BACK {
            self.taken_back.pop_front();
        }
        self.taken_back.push_back(Outstanding { at: now, ..outstanding });
    }

    /// All requests out of the books.
    pub(super) fn take_back_all(&mut self, now: Time) -> Vec<Outstanding> {
        let all: Vec<_> = self.outstanding.drain(..).collect();
        for &outstanding in &all {
            self.take_back(now, outstanding);
        }
        all
    }

    /// Crosses this block off what is outstanding; `None` if it was not.
    pub(super) fn settle(&mut self, block: Block) -> Option<Outstanding> {
        let at = self.outstanding.iter().position(|o| o.block == block)?;
        self.outstanding.remove(at)
    }

    /// The blocks that can't be asked for again yet, since their cancels are not answered.
    pub(super) fn unanswered_cancels(&self, now: Time) -> BTreeSet<Block> {
        let recent = self.taken_back.iter().rev().take_while(|o| now - o.at <= CANCEL_WAIT);
        recent.map(|o| o.block).collect()
    }

    /// Whether this block was asked for lately, though it is not outstanding any more.
    pub(super) fn settle_late(&mut self, now: Time, block: Block) -> bool {
        while self.taken_back.front().is_some_and(|oldest| now - oldest.at > GRACE) {
            self.taken_back.pop_front();
        }
        let at = self.taken_back.iter().position(|o| o.block == block);
        at.is_some_and(|at| self.taken_back.remove(at).is_some())
    }
}

impl Upload {
    /// Bytes that may be handed to the owner now.
    pub(super) fn credit(&self, now: Time) -> u64 {
        let half_a_second = self.meter.rate(now, 3) / 2;
        half_a_second.clamp(*CREDIT.start(), *CREDIT.end()).saturating_sub(self.handed_over)
    }

    /// Whether a request for this piece is heard.
    pub(super) fn serves(&self, piece: PieceIndex) -> bool {
        !self.choked || self.allowed_fast.get(&piece).is_some_and(|&blocks| blocks > 0)
    }

    /// A block of this piece is handed to the owner. Whether it is another piece than that of the block before.
    pub(super) fn hand_over(&mut self, piece: PieceIndex, bytes: u64) -> bool {
        self.handed_over += bytes;
        self.at_hand = match self.at_hand {
            Some((current, blocks)) if current == piece => Some((piece, blocks + 1)),
            _ => Some((piece, 1)),
        };
        self.at_hand == Some((piece, 1))
    }

    /// The pieces that it asked for, in order, each once where their blocks follow each other, and whether the last block that it got is
    /// of it.
    pub(super) fn wishes(&self) -> impl Iterator<Item = (u32, bool)> {
        let at_hand = self.at_hand.map(|(piece, _)| piece.get());
        let mut before = None;
        let new = move |index: &u32| before.replace(*index) != Some(*index);
        self.queue
            .iter()
            .map(|request| request.index)
            .filter(new)
            .map(move |index| (index, at_hand == Some(index)))
    }

    /// It holds a slot and we have nothing for it.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.handed_over == 0
    }
}
