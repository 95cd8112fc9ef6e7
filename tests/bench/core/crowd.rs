//! One downloader between many peers: [`Crowd`].

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client::torrent::{
    Ablation, Action, Config, Connected, Direction, PeerKey, Start, Stay, Time, Torrent, Verification,
};
use client::wire::{BlockRequest, Capabilities, Message};
use torrent_format::{BLOCK_LENGTH, Bitfield, Info, PeerId};

/// Blocks of a piece: 256 KiB.
const BLOCKS_A_PIECE: u32 = 16;

/// Between two blocks: 160 MiB/s in all.
const PACE: Duration = Duration::from_micros(100);

/// `have` messages that are timed.
const HAVES: u32 = 100_000;

/// How long one of each took, on average.
pub(crate) struct Costs {
    pub(crate) peer: Duration,
    pub(crate) block: Duration,
    pub(crate) have: Duration,
}

pub(crate) struct Crowd {
    torrent: Torrent,
    info: Info,
    now: Time,
    /// Requests that are on their way, the oldest first.
    asked: VecDeque<(PeerKey, BlockRequest)>,
    /// Those of them, by piece and offset, that were taken back.
    cancelled: BTreeSet<(PeerKey, u32, u32)>,
    peers: Vec<(PeerKey, Bitfield)>,
    rng: fastrand::Rng,
    joining: Duration,
}

impl Crowd {
    /// A downloader that has nothing, and peers that have a random half each and let it download.
    pub(crate) fn new(seed: u64, pieces: u32, peers: u8) -> Self {
        let info = info(pieces);
        let config = Config {
            hashes: info.hashes(),
            peer_id: PeerId([0xff; 20]),
            listen_port: 6881,
            public_port: 6881,
            utp: false,
            seed,
            max_peers: peers.into(),
            upload_limit: None,
            trackers: Vec::new(),
            stay: Stay::Leave { linger: false },
            sequential: false,
            super_seed: false,
            pex: false,
            dht: false,
            ablation: Ablation::default(),
        };
        let start =
            Start::Known { info: info.clone(), have: Bitfield::none(pieces), wanted: Bitfield::all(pieces) };
        let torrent = Torrent::new(Time::default(), config, start);
        let mut crowd = Self {
            torrent,
            info,
            now: Time::default(),
            asked: VecDeque::new(),
            cancelled: BTreeSet::new(),
            peers: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            joining: Duration::ZERO,
        };
        for number in 0..peers {
            crowd.join(number, pieces);
        }
        crowd
    }

    fn join(&mut self, number: u8, pieces: u32) {
        let addr = SocketAddr::from(([198, 18, number, 1], 6881));
        let capabilities = Capabilities { fast: true, extended: true, ..Capabilities::default() };
        let peer_id = PeerId([number; 20]);
        let peer = Connected { addr, direction: Direction::Incoming, capabilities, peer_id, utp: false };
        let mut field = Bitfield::none(pieces);
        for piece in self.info.layout().pieces() {
            if self.rng.bool() {
                field.set(piece);
            }
        }
        let bitfield = Message::Bitfield(field.as_wire().to_vec());
        let start = Instant::now();
        let key = self.torrent.handle_connected(self.now, peer).expect("there is room");
        self.torrent.handle_message(self.now, key, bitfield);
        self.torrent.handle_message(self.now, key, Message::Unchoke);
        self.joining += start.elapsed();
        self.peers.push((key, field));
        self.drain();
    }

    /// Fetches so many blocks, then hears so many `have`s.
    pub(crate) fn run(mut self, blocks: u32) -> Costs {
        let mut taken = 0;
        let start = Instant::now();
        while taken < blocks
            && let Some((peer, request)) = self.asked.pop_front()
        {
            if self.cancelled.remove(&(peer, request.index, request.begin)) {
                continue;
            }
            self.now = self.now + PACE;
            if self.torrent.poll_timeout().is_some_and(|due| due <= self.now) {
                self.torrent.handle_timeout(self.now);
            }
            self.torrent.handle_block(self.now, peer, request, |_| [0; 32]);
            self.drain();
            taken += 1;
        }
        let block = start.elapsed() / taken.max(1);

        let mut news = Vec::new();
        for _ in 0..HAVES {
            let peer = self.rng.usize(..self.peers.len());
            let (key, field) = &mut self.peers[peer];
            let index = self.rng.u32(..field.length());
            if let Some(piece) = self.info.layout().piece(index).filter(|&piece| !field.has(piece)) {
                field.set(piece);
                news.push((*key, Message::Have(index)));
            }
        }
        let count = news.len() as u32;
        let start = Instant::now();
        for (key, have) in news {
            self.torrent.handle_message(self.now, key, have);
            while self.torrent.poll_action().is_some() {}
        }
        let have = start.elapsed() / count.max(1);
        Costs { peer: self.joining / self.peers.len() as u32, block, have }
    }

    /// Does what is asked: requests are on their way, and every piece is right.
    fn drain(&mut self) {
        while let Some(action) = self.torrent.poll_action() {
            match action {
                Action::Send(peer, Message::Request(request)) => self.asked.push_back((peer, request)),
                Action::Send(peer, Message::Cancel(request)) => {
                    self.cancelled.insert((peer, request.index, request.begin));
                }
                Action::Verify { piece, .. } => {
                    self.torrent.handle_verified(self.now, piece, Verification::Good(None));
                }
                _ => {}
            }
        }
    }
}

/// A torrent of so many pieces; its hashes are never looked at.
fn info(pieces: u32) -> Info {
    let piece_length = BLOCKS_A_PIECE * BLOCK_LENGTH;
    let length = u64::from(pieces) * u64::from(piece_length);
    let mut raw =
        format!("d6:lengthi{length}e4:name1:a12:piece lengthi{piece_length}e6:pieces{}:", pieces * 20)
            .into_bytes();
    raw.extend(std::iter::repeat_n(b'h', pieces as usize * 20));
    raw.push(b'e');
    Info::from_bytes(&raw).expect("a torrent")
}
