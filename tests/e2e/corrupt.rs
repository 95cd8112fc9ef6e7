//! A peer that lies beside one that does not.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use client::wire::{Capabilities, Message};
use harness::content::Content;
use harness::peer::{self, CAPABLE, Received};
use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::{LONG, SOON};

const PIECE: usize = 64 * 1024;

/// A seed that spoils one block in `every`, and says on the channel when it is hung up on, with the number of blocks that it
/// spoiled on that connection.
fn liar(content: Arc<Content>, every: u32) -> (std::net::SocketAddr, mpsc::Receiver<u32>) {
    let (told, hung_up) = mpsc::channel();
    let addr = peer::listen(move |mut wire| {
        if wire.shake_hands(content.info_hash(), CAPABLE).is_none() {
            return;
        }
        wire.send(&Message::HaveAll);
        wire.send(&Message::Unchoke);
        let (mut served, mut spoiled) = (0, 0);
        peer::serve_requests(&mut wire, &content, |_, block| {
            if served % every == 0 {
                block[0] ^= 0x80;
                spoiled += 1;
            }
            served += 1;
        });
        let _ = told.send(spoiled);
    });
    (addr, hung_up)
}

fn sandbox_with_content(seed: u64) -> (Sandbox, std::path::PathBuf, Arc<Content>) {
    let sandbox = Sandbox::new();
    let files = tree::mixed(seed, PIECE);
    tree::write(&sandbox.path("data/tree"), &files);
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let content = Arc::new(Content::new(&torrent, &files));
    (sandbox, torrent, content)
}

#[test]
fn a_peer_that_corrupts_every_block_is_dropped_before_anyone_else_is_there() {
    let (sandbox, torrent, content) = sandbox_with_content(1);
    let (liar, hung_up) = liar(Arc::clone(&content), 1);
    let mut get = sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &liar.to_string()]);
    let spoiled = hung_up.recv_timeout(LONG).expect("the liar is hung up on");
    assert!(spoiled > 0, "it served something");
    assert!(get.process.is_running(), "it waits for better peers");
    get.wait_event("piece_failed", SOON, |_| Some(()));

    let honest = peer::dial_and_serve(get.addr, &content);
    get.process.wait_exit(LONG).expect(0);
    honest.join().expect("the honest peer had no trouble");
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
}

#[test]
fn a_peer_that_corrupts_beside_an_honest_seeder_is_dropped_and_the_copy_is_right() {
    for every in [1, 7] {
        let (sandbox, torrent, content) = sandbox_with_content(2);
        let (liar, hung_up) = liar(Arc::clone(&content), every);
        let mut seed = sandbox.seed(&torrent, sandbox.path("data"), ["-u", "512KiB"]);
        let honest = seed.wait_listening().addr.to_string();
        let get =
            sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &liar.to_string(), "--peer", &honest]);
        let finished = get.process.wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
        let failed = harness::sandbox::events(&finished.lines)
            .iter()
            .filter(|event| event["event"] == "piece_failed")
            .count();
        let spoiled = hung_up.recv_timeout(SOON).expect("the liar is hung up on");
        assert!(failed > 0 || spoiled == 0, "{spoiled} spoiled blocks, no piece failed");
    }
}

#[test]
fn liars_who_come_again_and_again_keep_nobody_from_finishing() {
    let (sandbox, torrent, content) = sandbox_with_content(3);
    let get = sandbox.get(&torrent, sandbox.path("copy"), [""; 0]);
    let (addr, lie) = (get.addr, Arc::new(Mutex::new(true)));
    let liars: Vec<_> = (0..4)
        .map(|_| {
            let (content, lie) = (Arc::clone(&content), Arc::clone(&lie));
            std::thread::spawn(move || {
                while *lie.lock().expect("nobody panics with it") {
                    let Ok(stream) = std::net::TcpStream::connect(addr) else { continue };
                    let mut wire = peer::Wire::new(stream);
                    if wire.shake_hands(content.info_hash(), CAPABLE).is_some() {
                        wire.send(&Message::HaveAll);
                        wire.send(&Message::Unchoke);
                        peer::serve_requests(&mut wire, &content, |_, block| block.fill(0));
                    }
                }
            })
        })
        .collect();
    get.wait_event("piece_failed", LONG, |_| Some(()));
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    // Both from the same address as the liars: an honest peer on it must still get through.
    let _honest = peer::dial_and_serve(get.addr, &content);
    seed.wait_listening();
    get.process.wait_exit(LONG).expect(0);
    *lie.lock().expect("nobody panics with it") = false;
    for liar in liars {
        liar.join().expect("a liar had no trouble");
    }
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
}

/// A seed in a v2 swarm that gives the leaves of a piece (BEP 52) before its blocks, and spoils every block but the first.
fn liar_with_leaves(content: Arc<Content>) -> std::net::SocketAddr {
    peer::listen(move |mut wire| {
        if wire.shake_hands(content.info_hash(), Capabilities { v2: true, ..CAPABLE }).is_none() {
            return;
        }
        wire.send(&Message::HaveAll);
        wire.send(&Message::Unchoke);
        let (mut asked, mut told, mut served) = (VecDeque::new(), false, 0);
        loop {
            match wire.receive(LONG) {
                Received::Message(Message::HashRequest(request)) => {
                    wire.send(&Message::Hashes(request, content.hashes(&request)));
                    told = true;
                }
                Received::Message(Message::Request(request)) => asked.push_back(request),
                Received::Closed | Received::Nothing => return,
                Received::Message(_) | Received::Block(..) => {}
            }
            while let Some(request) = if told { asked.pop_front() } else { None } {
                let mut block = content.block(request).expect("it is within the file").to_vec();
                block[0] ^= if served == 0 { 0 } else { 0x80 };
                served += 1;
                wire.send_block(request.index, request.begin, &block);
            }
        }
    })
}

#[test]
fn in_a_v2_torrent_a_bad_block_of_a_stranger_is_known_as_it_comes_and_nothing_else_is_lost() {
    let sandbox = Sandbox::new();
    let files = tree::single(4, "file", 40 * PIECE);
    tree::write(&sandbox.path("data"), &files);
    let torrent = sandbox.path("file.torrent");
    let create =
        sandbox.sprat("create").arg(sandbox.path("data/file")).args(["--format", "v2", "-l", "256KiB"]);
    create.arg("-o").arg(&torrent).run(SOON).expect(0);
    let content = Arc::new(Content::new(&torrent, &files));
    let liar = liar_with_leaves(Arc::clone(&content));
    let get = sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &liar.to_string()]);
    let lost = get.wait_event("piece_failed", LONG, |event| Some(event["blocks"].clone()));
    assert_eq!(lost.as_array().map(Vec::len), Some(1), "{lost}");

    let honest = peer::dial_and_serve(get.addr, &content);
    let finished = get.process.wait_exit(LONG).expect(0);
    honest.join().expect("the honest peer had no trouble");
    tree::assert_same(&sandbox.path("data"), &sandbox.path("copy"));
    let failed = harness::sandbox::events(&finished.lines);
    assert_eq!(failed.iter().filter(|event| event["event"] == "piece_failed").count(), 1);
}
