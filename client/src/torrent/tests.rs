//! Scenarios of the whole state machine: one torrent, and peers that the test plays.

mod dht;
mod holepunch;
mod hostile;
mod offers;
mod room;
mod sources;
mod trade;
mod v2;

use std::net::SocketAddr;
use std::time::Duration;

use torrent_format::merkle::Hash;
use torrent_format::{BLOCK_LENGTH, Bitfield, Info, PeerId};

use super::*;
use crate::wire::Capabilities;

/// Both extensions that a modern peer offers.
const MODERN: Capabilities = Capabilities { fast: true, extended: true, dht: false, v2: false };
/// A peer of 2003.
const PLAIN: Capabilities = Capabilities { fast: false, extended: false, dht: false, v2: false };

/// A torrent of so many pieces of so many blocks; its hashes are never looked at.
fn info(pieces: u32, blocks: u32) -> Info {
    let piece_length = blocks * BLOCK_LENGTH;
    let mut raw = format!(
        "d6:lengthi{}e4:name1:a12:piece lengthi{piece_length}e6:pieces{}:",
        u64::from(pieces) * u64::from(piece_length),
        pieces * 20
    )
    .into_bytes();
    raw.extend(std::iter::repeat_n(b'h', pieces as usize * 20));
    raw.push(b'e');
    Info::from_bytes(&raw).unwrap()
}

fn config(info: &Info) -> Config {
    Config {
        hashes: info.hashes(),
        peer_id: PeerId([0x55; 20]),
        listen_port: 6881,
        public_port: 6881,
        utp: false,
        seed: 1,
        max_peers: 50,
        upload_limit: None,
        trackers: Vec::new(),
        stay: Stay::Leave { linger: true },
        sequential: false,
        super_seed: false,
        pex: false,
        dht: false,
        ablation: Ablation::default(),
    }
}

struct Scene {
    torrent: Torrent,
    now: Time,
    info: Info,
    actions: Vec<Action>,
}

impl Scene {
    fn new(pieces: u32, blocks: u32, have: impl Fn(u32) -> bool, change: impl FnOnce(&mut Config)) -> Self {
        let info = info(pieces, blocks);
        let mut config = config(&info);
        change(&mut config);
        let layout = info.layout();
        let mut field = Bitfield::none(pieces);
        for piece in layout.pieces().filter(|piece| have(piece.get())) {
            field.set(piece);
        }
        let start = Start::Known { info: info.clone(), have: field, wanted: Bitfield::all(pieces) };
        let torrent = Torrent::new(Time::default(), config, start);
        let mut scene = Self { torrent, now: Time::default(), info, actions: Vec::new() };
        scene.drain();
        scene
    }

    fn leecher(pieces: u32, blocks: u32) -> Self {
        Self::new(pieces, blocks, |_| false, |_| {})
    }

    fn seeder(pieces: u32, blocks: u32) -> Self {
        Self::new(pieces, blocks, |_| true, |config| config.stay = Stay::Seed { ratio: None, time: None })
    }

    fn drain(&mut self) {
        while let Some(action) = self.torrent.poll_action() {
            self.actions.push(action);
        }
    }

    /// Peer number `n` dials us, from a /24 of its own.
    fn connect(&mut self, n: u8, capabilities: Capabilities) -> PeerKey {
        self.try_connect(n, capabilities).unwrap()
    }

    fn try_connect(&mut self, n: u8, capabilities: Capabilities) -> Result<PeerKey, Reason> {
        let addr = addr(n);
        let peer = Connected {
            addr,
            direction: Direction::Incoming,
            capabilities,
            peer_id: PeerId([n; 20]),
            utp: false,
        };
        let outcome = self.torrent.handle_connected(self.now, peer);
        self.drain();
        outcome
    }

    /// A peer that has everything and lets us download.
    fn generous_seed(&mut self, n: u8) -> PeerKey {
        let key = self.connect(n, MODERN);
        self.says(key, [Message::HaveAll, Message::Unchoke]);
        key
    }

    fn says(&mut self, key: PeerKey, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.torrent.handle_message(self.now, key, message);
            self.drain();
        }
    }

    fn sends_block(&mut self, key: PeerKey, block: BlockRequest) -> Verdict {
        self.sends_block_of(key, block, [0; 32])
    }

    /// A block with this leaf.
    fn sends_block_of(&mut self, key: PeerKey, block: BlockRequest, leaf: Hash) -> Verdict {
        let verdict = self.torrent.handle_block(self.now, key, block, |_| leaf);
        self.drain();
        verdict
    }

    fn hashed(&mut self, piece: u32, outcome: Verification) {
        let piece = self.info.layout().piece(piece).unwrap();
        self.torrent.handle_verified(self.now, piece, outcome);
        self.drain();
    }

    /// Time passes; every timer fires when it is due.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.torrent.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.torrent.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    // -- what came out

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Takes the messages to this peer out of what came out.
    fn heard(&mut self, key: PeerKey) -> Vec<Message> {
        let mut heard = Vec::new();
        self.actions.retain(|action| match action {
            Action::Send(to, message) if *to == key => {
                heard.push(message.clone());
                false
            }
            _ => true,
        });
        heard
    }

    /// Takes the requests to this peer out of what came out.
    fn requests_to(&mut self, key: PeerKey) -> Vec<BlockRequest> {
        let heard = self.heard(key);
        heard.into_iter().filter_map(|m| if let Message::Request(r) = m { Some(r) } else { None }).collect()
    }

    fn blocks_to(&self, key: PeerKey) -> Vec<BlockRequest> {
        let block = |action: &Action| match action {
            Action::SendBlock(to, block) if *to == key => Some(*block),
            _ => None,
        };
        self.actions.iter().filter_map(block).collect()
    }

    fn dropped_blocks(&self) -> Vec<(u32, Vec<u32>)> {
        let dropped = |action: &Action| match action {
            Action::DropBlocks { piece, blocks } => Some((piece.get(), blocks.clone())),
            _ => None,
        };
        self.actions.iter().filter_map(dropped).collect()
    }

    fn dropped(&self, key: PeerKey) -> Option<Reason> {
        self.actions.iter().find_map(|action| match action {
            Action::Disconnect(gone, reason) if *gone == key => Some(*reason),
            _ => None,
        })
    }

    fn misbehaved(&self, key: PeerKey) -> Option<Misbehaviour> {
        match self.dropped(key) {
            Some(Reason::Misbehaved(misbehaviour)) => Some(misbehaviour),
            _ => None,
        }
    }

    fn take_verifies(&mut self) -> Vec<(u32, bool)> {
        let mut pieces = Vec::new();
        self.actions.retain(|action| match action {
            Action::Verify { piece, digests } => {
                pieces.push((piece.get(), *digests));
                false
            }
            _ => true,
        });
        pieces
    }

    fn events(&self) -> Vec<Event> {
        let event = |action: &Action| match action {
            Action::Notify(event) => Some(event.clone()),
            _ => None,
        };
        self.actions.iter().filter_map(event).collect()
    }
}

fn addr(n: u8) -> SocketAddr {
    ([198, 18, n, 1], 6881).into()
}

fn block(index: u32, number: u32) -> BlockRequest {
    BlockRequest { index, begin: number * BLOCK_LENGTH, length: BLOCK_LENGTH }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
