//! Hostile peers at a download: whatever they do, an honest peer beside them brings it to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use client::wire::{BlockRequest, Message};
use harness::content::Content;
use harness::peer::{self, CAPABLE, PLAIN, Received, Wire};
use harness::sandbox::{Running, Sandbox};
use harness::tree;
use harness::wait::LONG;
use torrent_format::InfoHash;

use crate::assert_no_panic;

const PIECE: u32 = 32 * 1024;

/// What a hostile peer does with a connection after the handshakes. It ends when the script has made its point, or with the line.
type Script = fn(&mut Wire, &Content);

/// A download that hostile peers dial into: each follows its script, and says when it has made its point.
struct Target {
    sandbox: Sandbox,
    content: Arc<Content>,
    get: Running,
    told: Sender<Wire>,
    made_their_point: Receiver<Wire>,
}

impl Target {
    fn start() -> Self {
        let sandbox = Sandbox::new();
        let files = tree::mixed(1, PIECE as usize);
        tree::write(&sandbox.path("data/tree"), &files);
        let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE);
        let content = Arc::new(Content::new(&torrent, &files));
        let get = sandbox.get(&torrent, sandbox.path("copy"), [""; 0]);
        let (told, made_their_point) = mpsc::channel();
        Self { sandbox, content, get, told, made_their_point }
    }

    fn attack(&self, script: Script) {
        let (addr, content, told) = (self.get.addr, Arc::clone(&self.content), self.told.clone());
        std::thread::spawn(move || {
            let mut wire = Wire::connect_to_torrent(addr, content.info_hash(), CAPABLE);
            script(&mut wire, &content);
            // The connection stays, if the other side lets it, until the test is over.
            let _ = told.send(wire);
        });
    }

    /// Once one of the hostile ones has made its point, an honest peer comes, and the download ends well.
    #[track_caller]
    fn finishes(mut self) {
        let wire = self.made_their_point.recv_timeout(LONG).expect("it makes its point");
        assert!(self.get.process.is_running(), "{:#?}", self.get.process.lines());
        let honest = peer::dial_and_serve(self.get.addr, &self.content);
        assert_no_panic(&self.get.process.wait_exit(LONG).expect(0).lines);
        honest.join().expect("the honest peer had no trouble");
        tree::assert_same(&self.sandbox.path("data/tree"), &self.sandbox.path("copy/tree"));
        drop(wire);
    }
}

/// Offers everything and waits for the first request; `None` if the other side hangs up.
fn offer(wire: &mut Wire) -> Option<BlockRequest> {
    wire.send(&Message::HaveAll);
    wire.send(&Message::Unchoke);
    next_request(wire)
}

fn next_request(wire: &mut Wire) -> Option<BlockRequest> {
    wire.receive_until(LONG, |received| match received {
        Received::Message(Message::Request(request)) => Some(*request),
        _ => None,
    })
}

#[test]
fn wrong_blocks_do_not_end_up_on_disk() {
    let scripts: [Script; 8] = [
        // P44: blocks that nobody asked for.
        |wire, content| {
            wire.send(&Message::HaveAll);
            for index in 0..content.pieces() {
                wire.send_block(index, 0, &[0xaa; 16 * 1024]);
            }
            wire.is_closed_within(LONG);
        },
        // P45: the right block in the wrong place, or of the wrong length.
        |wire, _| {
            while let Some(request) = offer(wire) {
                wire.send_block(request.index, request.begin + 1, &vec![1; request.length as usize]);
                wire.send_block(request.index, request.begin, &vec![1; request.length as usize - 1]);
                wire.send_block(request.index, request.begin, &vec![1; request.length as usize + 1]);
            }
        },
        // P45: places that don't exist.
        |wire, content| {
            if let Some(request) = offer(wire) {
                wire.send_block(content.pieces(), 0, &vec![1; request.length as usize]);
                wire.send_block(u32::MAX, u32::MAX, &vec![1; request.length as usize]);
            }
        },
        // P47: no bytes at all.
        |wire, _| {
            while let Some(request) = offer(wire) {
                wire.send_block(request.index, request.begin, &[]);
            }
        },
        // P49: wrong bytes, all from one.
        |wire, _| {
            while let Some(request) = offer(wire) {
                wire.send_block(request.index, request.begin, &vec![0; request.length as usize]);
            }
        },
        // P50: wrong bytes, in every other block.
        |wire, content| {
            wire.send(&Message::HaveAll);
            wire.send(&Message::Unchoke);
            peer::serve_requests(wire, content, |request, block| {
                if request.begin == 0 {
                    block.reverse();
                }
            });
        },
        // P46, P52: the right block, ten times over.
        |wire, content| {
            if let Some(request) = offer(wire) {
                for _ in 0..10 {
                    wire.send_block(
                        request.index,
                        request.begin,
                        content.block(request).expect("a proper request"),
                    );
                }
            }
        },
        // P17: half a block, then a dead line.
        |wire, _| {
            if let Some(request) = offer(wire) {
                let mut bytes = (request.length + 9).to_be_bytes().to_vec();
                bytes.push(7);
                bytes.extend(request.index.to_be_bytes());
                bytes.extend(request.begin.to_be_bytes());
                bytes.extend(vec![1; request.length as usize / 2]);
                wire.send_raw(&bytes);
            }
        },
    ];
    // One after another, so that each is asked; those that wait to be hung up on are, once they have done enough.
    for (n, script) in scripts.into_iter().enumerate() {
        println!("script {n}");
        let target = Target::start();
        target.attack(script);
        target.finishes();
    }
}

#[test]
fn peers_that_waste_its_time_do_not_stop_it() {
    let scripts: [Script; 7] = [
        // P56: has everything, never unchokes.
        |wire, _| wire.send(&Message::HaveAll),
        // P59: rejects everything, for as long as it is asked.
        |wire, _| {
            wire.send(&Message::HaveAll);
            wire.send(&Message::Unchoke);
            let request = |received: &Received| match received {
                Received::Message(Message::Request(request)) => Some(*request),
                _ => None,
            };
            while let Some(request) = wire.receive_until(Duration::from_secs(5), request) {
                wire.send(&Message::Reject(request));
            }
        },
        // P57, P58: takes a request and says nothing more.
        |wire, _| {
            offer(wire);
        },
        // P57: begins a block and does not go on.
        |wire, _| {
            if let Some(request) = offer(wire) {
                let mut bytes = (request.length + 9).to_be_bytes().to_vec();
                bytes.extend(
                    [&[7][..], &request.index.to_be_bytes(), &request.begin.to_be_bytes(), &[1; 10]].concat(),
                );
                wire.send_raw(&bytes);
            }
        },
        // P54: chokes and unchokes without end.
        |wire, _| {
            offer(wire);
            for _ in 0..10_000 {
                wire.send(&Message::Choke);
                wire.send(&Message::Unchoke);
            }
        },
        // P30: says that it has this and that, and gives nothing.
        |wire, content| {
            for index in (0..content.pieces()).chain(0..content.pieces()) {
                wire.send(&Message::Have(index));
            }
            wire.send(&Message::Unchoke);
            next_request(wire);
            wire.send(&Message::Choke);
        },
        // P60: suggestions and allowances without end.
        |wire, content| {
            offer(wire);
            for n in 0..20_000 {
                wire.send(&Message::Suggest(n % content.pieces()));
                wire.send(&Message::AllowedFast(n % content.pieces()));
            }
        },
    ];
    // Each alone with a download: nobody else is asked first.
    std::thread::scope(|scope| {
        for script in scripts {
            scope.spawn(move || {
                let target = Target::start();
                target.attack(script);
                target.finishes();
            });
        }
    });
    // And all of them at once.
    let target = Target::start();
    for script in scripts {
        target.attack(script);
    }
    target.finishes();
}

#[test]
fn a_peer_it_dials_may_be_anything() {
    let sandbox = Sandbox::new();
    let files = tree::mixed(2, PIECE as usize);
    tree::write(&sandbox.path("data/tree"), &files);
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE);
    let content = Content::new(&torrent, &files);
    let info_hash = content.info_hash();
    let says = |bytes: Vec<u8>| {
        peer::listen(move |mut wire| {
            wire.send_raw(&bytes);
            wire.is_closed_within(LONG);
        })
    };
    let hello = move || peer::handshake(info_hash, CAPABLE);
    let hostile: Vec<SocketAddr> = vec![
        says(Vec::new()),
        says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        says(b"220 mail.example ESMTP\r\n".to_vec()),
        says(hello()[..67].to_vec()),
        // P4: another torrent than the one that was dialled for.
        says(peer::handshake(InfoHash([1; 20]), CAPABLE)),
        says([hello(), u32::MAX.to_be_bytes().to_vec(), vec![7]].concat()),
        says([hello(), vec![0, 0, 0, 2, 5, 0xff]].concat()),
        says([peer::handshake(info_hash, PLAIN), vec![0, 0, 0, 1, 14]].concat()),
        // P5: answers with the dialler's own id.
        peer::listen(|mut wire| {
            if let Some(theirs) = wire.read_handshake() {
                wire.send_raw(&theirs.encode());
                wire.is_closed_within(LONG);
            }
        }),
        // Closes at once.
        peer::listen(drop),
    ];
    let mut more: Vec<String> = hostile.iter().flat_map(|addr| ["--peer".into(), addr.to_string()]).collect();
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    more.extend(["--peer".into(), seed.wait_listening().addr.to_string()]);
    let get = sandbox.get(&torrent, sandbox.path("copy"), &more);
    assert_no_panic(&get.process.wait_exit(LONG).expect(0).lines);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
}

#[test]
fn a_request_for_what_it_does_not_have_gets_nothing() {
    // P37, at a download that has nothing yet.
    let target = Target::start();
    target.attack(|wire, content| {
        wire.send(&Message::HaveNone);
        wire.send(&Message::Interested);
        for index in 0..content.pieces().min(50) {
            wire.send(&Message::Request(BlockRequest { index, begin: 0, length: 16 * 1024 }));
        }
        let mut rejects = 0;
        let block = wire.receive_until(Duration::from_secs(3), |received| match received {
            Received::Block(block, _) => Some(Some(*block)),
            Received::Message(Message::Reject(_)) => {
                rejects += 1;
                (rejects == content.pieces().min(50)).then_some(None)
            }
            Received::Closed => Some(None),
            _ => None,
        });
        assert_eq!(block.flatten(), None, "it sent a block of a piece that it does not have");
    });
    target.finishes();
}
