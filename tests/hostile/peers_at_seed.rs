//! Hostile peers at a seed: case by case after the list of hostile peer input (P1–P62), over a socket.

use std::sync::Arc;
use std::time::Duration;

use client::wire::{BlockRequest, Capabilities, Message};
use harness::content::Content;
use harness::peer::{self, CAPABLE, PLAIN, Received, Wire};
use harness::sandbox::{Running, Sandbox};
use harness::tree;
use harness::wait::{LONG, SOON};
use torrent_format::InfoHash;

use crate::assert_no_panic;

const PIECE: u32 = 32 * 1024;
const BLOCK: u32 = 16 * 1024;

/// A seed drops a silent or hostile peer within 10 s; a busy machine gets more.
const DROPPED_WITHIN: Duration = SOON;

/// What should become of a peer.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is hung up on.
    Dropped,
    /// It is served as if nothing had happened.
    Served,
    /// Either, as long as it gets nothing that it has no right to.
    DroppedOrServed,
}

struct Target {
    sandbox: Sandbox,
    content: Arc<Content>,
    torrent: std::path::PathBuf,
    seed: Running,
}

impl Target {
    fn start() -> Self {
        let sandbox = Sandbox::new();
        let files = tree::mixed(1, PIECE as usize);
        tree::write(&sandbox.path("data/tree"), &files);
        let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE);
        let content = Arc::new(Content::new(&torrent, &files));
        let seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
        // From now on it answers at once.
        Wire::connect_to_torrent(seed.addr, content.info_hash(), CAPABLE);
        Self { sandbox, content, torrent, seed }
    }

    fn connect(&self) -> Wire {
        Wire::connect(self.seed.addr)
    }

    /// A connection after the handshakes.
    #[track_caller]
    fn peer(&self, capabilities: Capabilities) -> Wire {
        let mut wire = self.connect();
        assert!(wire.shake_hands(self.content.info_hash(), capabilities).is_some(), "it takes new peers");
        wire
    }

    /// Sees what becomes of a peer.
    #[track_caller]
    fn expect(&self, what: &str, wire: &mut Wire, fate: Fate) {
        match fate {
            Fate::Dropped => assert!(wire.is_closed_within(DROPPED_WITHIN), "{what}: not dropped"),
            Fate::Served => assert_eq!(self.is_served(wire), Some(true), "{what}: not served"),
            Fate::DroppedOrServed => {
                assert!(self.is_served(wire).is_some(), "{what}: neither dropped nor served");
            }
        }
    }

    /// Whether a peer that asks for a block now gets it; `None`: it is neither hung up on nor answered.
    #[track_caller]
    fn is_served(&self, wire: &mut Wire) -> Option<bool> {
        let wanted = BlockRequest { index: 1, begin: BLOCK, length: BLOCK };
        wire.send(&Message::Interested);
        let mut asked = false;
        // It may be unchoked already, and not be told again: then the first request is answered too.
        wire.send(&Message::Request(wanted));
        loop {
            match wire.receive(SOON) {
                Received::Message(Message::Unchoke) if !asked => {
                    asked = true;
                    wire.send(&Message::Request(wanted));
                }
                Received::Block(block, bytes) => {
                    assert_eq!(
                        Some(bytes.as_slice()),
                        self.content.block(block),
                        "wrong bytes for {block:?}"
                    );
                    if block == wanted {
                        return Some(true);
                    }
                }
                Received::Closed => return Some(false),
                Received::Nothing => return None,
                Received::Message(_) => {}
            }
        }
    }

    /// An honest downloader gets everything, and the seed is as it was.
    #[track_caller]
    fn still_serves(&mut self, copy: &str) {
        let peer = self.seed.addr.to_string();
        let copy = self.sandbox.path(copy);
        self.sandbox.get(&self.torrent, &copy, ["--peer", &peer]).process.wait_exit(LONG).expect(0);
        tree::assert_same(&self.sandbox.path("data/tree"), &copy.join("tree"));
        assert!(self.seed.process.is_running());
        assert_no_panic(&self.seed.process.lines());
    }
}

/// A frame with this length prefix, number and payload, whether they fit or not.
fn frame(length: u32, id: u8, payload: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &[id], payload].concat()
}

/// The same with the right length.
fn message(id: u8, payload: &[u8]) -> Vec<u8> {
    frame(payload.len() as u32 + 1, id, payload)
}

/// The three numbers of a request.
fn triple(index: u32, begin: u32, length: u32) -> Vec<u8> {
    [index, begin, length].iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[test]
fn bad_handshakes_are_dropped() {
    let mut target = Target::start();
    let good = peer::handshake(target.content.info_hash(), CAPABLE);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        ("P1 pstrlen 0", with(0, 0)),
        ("P1 pstrlen 18", with(0, 18)),
        ("P1 pstrlen 255", with(0, 255)),
        ("P2 another protocol", with(5, b'x')),
        ("P3 an unknown info hash", peer::handshake(InfoHash([9; 20]), CAPABLE)),
        ("P7 67 bytes, then nothing", good[..67].to_vec()),
        ("P8 half a handshake, then nothing", good[..30].to_vec()),
        ("P12 HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("P12 TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("P12 SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()),
        ("P9 nothing at all", Vec::new()),
    ];
    // All at once: each waits for its own end.
    let mut wires: Vec<_> = cases
        .iter()
        .map(|(what, bytes)| {
            let mut wire = target.connect();
            wire.send_raw(bytes);
            (what, wire)
        })
        .collect();
    for (what, wire) in &mut wires {
        target.expect(what, wire, Fate::Dropped);
    }
    // P8: a byte now and then keeps nobody's patience alive. A whole handshake would take 20 s at this pace.
    let mut wire = target.connect();
    let dropped = good.iter().any(|&byte| {
        wire.send_raw(&[byte]);
        wire.is_closed_within(Duration::from_millis(300))
    });
    assert!(dropped, "P8 a byte now and then: not dropped");
    target.still_serves("copy");
}

#[test]
fn it_does_not_talk_to_itself_and_takes_one_of_a_peer_id() {
    let mut target = Target::start();
    let mut wire = target.connect();
    let theirs = wire.shake_hands(target.content.info_hash(), CAPABLE).expect("it takes new peers");
    assert!(theirs.peer_id.0.starts_with(b"-SR"), "{}", theirs.peer_id);
    let mut mirror = target.connect();
    mirror.send_raw(&theirs.encode());
    target.expect("P5 its own peer id", &mut mirror, Fate::Dropped);

    // P6: the same id twice. One of them stays.
    let twin = peer::handshake(target.content.info_hash(), CAPABLE);
    let served = [target.connect(), target.connect()].map(|mut wire| {
        wire.send_raw(&twin);
        let answered = wire.read_handshake().is_some();
        (wire, answered)
    });
    let served = served.map(|(mut wire, answered)| answered && target.is_served(&mut wire) == Some(true));
    assert!(served.contains(&true), "{served:?}");
    target.still_serves("copy");
}

#[test]
fn silent_connections_in_hundreds_keep_nobody_out() {
    let mut target = Target::start();
    // Below the 1,024 files that a process may open by default, on both sides.
    let silent: Vec<Wire> = (0..400).map(|_| target.connect()).collect();
    target.still_serves("copy");
    for (n, mut wire) in silent.into_iter().enumerate() {
        target.expect(&format!("P9 silent connection {n}"), &mut wire, Fate::Dropped);
    }
}

#[test]
fn a_claim_of_v2_does_no_harm() {
    let mut target = Target::start();
    let mut wire = target.peer(Capabilities { v2: true, dht: true, ..CAPABLE });
    target.expect("P10 the v2 bit on a v1 torrent", &mut wire, Fate::Served);
    let mut wire = target.peer(Capabilities { v2: true, ..CAPABLE });
    wire.send_raw(&message(21, &[0; 48]));
    target.expect("P10 a hash request on a v1 torrent", &mut wire, Fate::DroppedOrServed);
    target.still_serves("copy");
}

#[test]
fn bad_frames_are_dropped_before_they_are_buffered() {
    let mut target = Target::start();
    let pieces = target.content.pieces();
    let bitfield = pieces.div_ceil(8) as usize;
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("P13 length 2^32 - 1".into(), frame(u32::MAX, 7, &[])),
        ("P14 length 2^31".into(), frame(1 << 31, 20, &[])),
        ("P15 past the cap".into(), frame(2 << 20, 5, &[])),
        ("P21 a short bitfield".into(), message(5, &vec![0; bitfield - 1])),
        ("P21 a long bitfield".into(), message(5, &vec![0; bitfield + 1])),
        ("P22 spare bits".into(), message(5, &vec![0xff; bitfield])),
        ("P27 have past the end".into(), message(4, &pieces.to_be_bytes())),
        ("P28 have 2^32 - 1".into(), message(4, &u32::MAX.to_be_bytes())),
        ("P60 suggest past the end".into(), message(13, &pieces.to_be_bytes())),
        ("P60 allowed fast past the end".into(), message(17, &u32::MAX.to_be_bytes())),
    ];
    assert_ne!(pieces % 8, 0, "the bitfield has spare bits");
    // P20: every message of a fixed size with a byte too few and one too many.
    let sizes = [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 0),
        (4, 4),
        (6, 12),
        (8, 12),
        (9, 2),
        (13, 4),
        (14, 0),
        (15, 0),
        (16, 12),
        (17, 4),
    ];
    for (id, size) in sizes {
        cases.push((format!("P20 message {id} too long"), message(id, &vec![0; size + 1])));
        if size > 0 {
            cases.push((format!("P20 message {id} too short"), message(id, &vec![0; size - 1])));
        }
    }
    for (what, bytes) in &cases {
        let mut wire = target.peer(CAPABLE);
        wire.send_raw(bytes);
        target.expect(what, &mut wire, Fate::Dropped);
    }
    // P61: fast messages from one who did not offer them.
    for (id, payload) in [(13, &[0; 4][..]), (14, &[]), (15, &[]), (16, &[0; 12]), (17, &[0; 4])] {
        let mut wire = target.peer(PLAIN);
        wire.send_raw(&message(id, payload));
        target.expect(&format!("P61 message {id} without the bit"), &mut wire, Fate::Dropped);
    }
    target.still_serves("copy");
}

#[test]
fn odd_but_proper_peers_are_served() {
    let mut target = Target::start();
    let none = vec![0; target.content.pieces().div_ceil(8) as usize];
    let cases: [(&str, Vec<u8>); 9] = [
        ("P19 an unknown message", message(99, b"something")),
        ("P18 a few keep-alives", vec![0; 4 * 10]),
        ("P23 two bitfields", [message(5, &none), message(5, &none)].concat()),
        ("P24 a bitfield after have", [message(4, &[0; 4]), message(5, &none)].concat()),
        ("P25 a bitfield, then have none", [message(5, &none), message(15, &[])].concat()),
        ("P25 have none, then a bitfield", [message(15, &[]), message(5, &none)].concat()),
        ("P29 the same have again", message(4, &[0; 4]).repeat(5)),
        ("P42 cancel of what was not asked for", message(8, &triple(0, 0, BLOCK))),
        ("P62 port", message(9, &6881_u16.to_be_bytes())),
    ];
    for (what, bytes) in cases {
        let mut wire = target.peer(CAPABLE);
        wire.send_raw(&bytes);
        target.expect(what, &mut wire, Fate::Served);
    }

    // Two seeds have no use for each other, so the first of these may be the end.
    let mut wire = target.peer(CAPABLE);
    wire.send_raw(&[message(14, &[]), message(15, &[])].concat());
    target.expect("P25 have all, then have none", &mut wire, Fate::DroppedOrServed);

    let mut wire = target.connect();
    let mut bytes = peer::handshake(target.content.info_hash(), CAPABLE);
    bytes.extend(message(5, &none));
    bytes.extend(message(2, &[]));
    for byte in bytes {
        wire.send_raw(&[byte]);
    }
    assert!(wire.read_handshake().is_some());
    target.expect("P16 byte by byte", &mut wire, Fate::Served);
    target.still_serves("copy");
}

#[test]
fn floods_do_not_harm_others() {
    let mut target = Target::start();
    let request = message(6, &triple(0, 0, BLOCK));
    let floods: [(&str, Vec<u8>); 8] = [
        ("P18 keep-alives", vec![0; 4 * 200_000]),
        ("P29 the same have", message(4, &[0; 4]).repeat(100_000)),
        ("P39 requests", request.repeat(100_000)),
        ("P43 requests and cancels", [request, message(8, &triple(0, 0, BLOCK))].concat().repeat(20_000)),
        ("P54 chokes and unchokes", [message(0, &[]), message(1, &[])].concat().repeat(50_000)),
        ("P55 interest that comes and goes", [message(2, &[]), message(3, &[])].concat().repeat(50_000)),
        ("P60 suggestions", message(13, &[0; 4]).repeat(100_000)),
        ("P62 ports", message(9, &[1, 1]).repeat(100_000)),
    ];
    // None of them reads what comes back (P41), and all stay while an honest peer downloads.
    let wires: Vec<Wire> = std::thread::scope(|scope| {
        let floods: Vec<_> = floods
            .iter()
            .map(|(_, bytes)| {
                let mut wire = target.peer(CAPABLE);
                wire.send(&Message::Interested);
                scope.spawn(move || {
                    wire.send_raw(bytes);
                    wire
                })
            })
            .collect();
        floods.into_iter().map(|flood| flood.join().expect("a flood ends")).collect()
    });
    target.still_serves("copy");
    drop(wires);
    target.still_serves("another copy");
}

#[test]
fn requests_that_make_no_sense_get_nothing() {
    let mut target = Target::start();
    let content = Arc::clone(&target.content);
    let (pieces, last) = (content.pieces(), content.pieces() - 1);
    let cases = [
        ("P32 index past the end", triple(pieces, 0, BLOCK)),
        ("P32 index 2^32 - 1", triple(u32::MAX, 0, BLOCK)),
        ("P32 begin past the end", triple(0, PIECE, BLOCK)),
        ("P33 length 0", triple(0, 0, 0)),
        ("P34 more than 128 KiB", triple(0, 0, 128 * 1024 + 1)),
        ("P34 length 2^32 - 1", triple(0, 0, u32::MAX)),
        ("P35 begin + length past 2^32", triple(0, u32::MAX - 5, BLOCK)),
        ("P36 across the piece's end", triple(0, PIECE - 100, BLOCK)),
        ("P36 across the torrent's end", triple(last, 0, PIECE)),
    ];
    for capabilities in [CAPABLE, PLAIN] {
        for (what, numbers) in &cases {
            let mut wire = target.peer(capabilities);
            wire.send(&Message::Interested);
            let unchoked =
                |received: &Received| (*received == Received::Message(Message::Unchoke)).then_some(());
            assert!(wire.receive_until(SOON, unchoked).is_some(), "{what}: never unchoked");
            wire.send_raw(&message(6, numbers));
            // `is_served` fails if any block comes that is not the torrent's.
            target.expect(what, &mut wire, Fate::DroppedOrServed);
        }
    }
    target.still_serves("copy");
}

#[test]
fn a_choked_peer_gets_a_reject_or_nothing() {
    let mut target = Target::start();
    let request = BlockRequest { index: 2, begin: 0, length: BLOCK };
    // Not interested, so never unchoked; and not a piece of its allowed-fast set, if it was given one.
    let mut fast = target.peer(CAPABLE);
    fast.send(&Message::HaveNone);
    let mut allowed = Vec::new();
    fast.send(&Message::Request(request));
    let answer = fast.receive_until(SOON, |received| match received {
        Received::Message(Message::AllowedFast(piece)) => {
            allowed.push(*piece);
            None
        }
        Received::Message(Message::Reject(rejected)) => Some(*rejected == request),
        Received::Block(..) => Some(allowed.contains(&request.index)),
        _ => None,
    });
    assert_eq!(answer, Some(true), "P38 with Fast: a reject");

    let mut plain = target.peer(PLAIN);
    plain.send(&Message::Request(request));
    target.expect("P38 without Fast", &mut plain, Fate::Served);
    target.still_serves("copy");
}

#[test]
fn blocks_that_nobody_asked_for_do_no_harm() {
    let mut target = Target::start();
    let block = vec![0xee; BLOCK as usize];
    for (what, index, begin, bytes) in [
        ("P44 a block that was not asked for", 0, 0, &block[..]),
        ("P45 a block past the end", u32::MAX, u32::MAX, &block[..]),
        ("P47 a block of no bytes", 0, 0, &[]),
        ("P46 a block of a piece that it has", 1, BLOCK, &block[..100]),
    ] {
        let mut wire = target.peer(CAPABLE);
        for _ in 0..10 {
            wire.send_block(index, begin, bytes);
        }
        target.expect(what, &mut wire, Fate::DroppedOrServed);
    }
    // P17: the length is right, and then the line goes dead.
    let mut wire = target.peer(CAPABLE);
    wire.send_raw(&[&frame(BLOCK + 9, 7, &[0; 8])[..], &block[..5000]].concat());
    drop(wire);
    let mut wire = target.peer(CAPABLE);
    wire.send_raw(&frame(13, 6, &[0; 5]));
    drop(wire);
    target.still_serves("copy");
}
