//! Hostile metadata: what peers say that a magnet means (E8, E10–E14 of the list of hostile input).

use std::net::SocketAddr;

use client::wire::extension::ExtensionHandshake;
use client::wire::ut_metadata::MetadataMessage;
use client::wire::{Capabilities, Message};
use harness::bencode::Value;
use harness::content::Content;
use harness::peer::{self, CAPABLE, Received, Wire};
use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::{LONG, SOON};
use torrent_format::InfoHash;

use crate::{assert_no_panic, assert_refused};

/// Our number for `ut_metadata`: messages to us carry it.
const UT_METADATA: u8 = 7;

/// A peer that has metadata of this length, and answers each request for a part of it with what `answer` makes.
fn metadata_peer(
    info_hash: InfoHash,
    length: u32,
    answer: impl Fn(u32) -> Option<MetadataMessage> + Send + 'static,
) -> SocketAddr {
    peer::listen(move |mut wire| {
        if wire.shake_hands(info_hash, CAPABLE).is_none() {
            return;
        }
        let hello = ExtensionHandshake {
            ut_metadata: Some(UT_METADATA),
            metadata_size: Some(length),
            ..ExtensionHandshake::default()
        };
        wire.send(&Message::Extended { id: 0, payload: hello.encode() });
        answer_metadata(&mut wire, &answer);
    })
}

fn answer_metadata(wire: &mut Wire, answer: &impl Fn(u32) -> Option<MetadataMessage>) {
    // The number under which they want our answers.
    let mut theirs = 0;
    loop {
        match wire.receive(LONG) {
            Received::Message(Message::Extended { id: 0, payload }) => {
                let hello =
                    ExtensionHandshake::decode(&payload).expect("sprat sends a proper extension handshake");
                theirs = hello.ut_metadata.unwrap_or(0);
            }
            Received::Message(Message::Extended { id: UT_METADATA, payload }) => {
                let message =
                    MetadataMessage::decode(&payload).expect("sprat sends proper metadata messages");
                let Some(MetadataMessage::Request { piece }) = message else { continue };
                if let Some(message) = answer(piece) {
                    wire.send(&Message::Extended { id: theirs, payload: message.encode() });
                }
            }
            Received::Closed | Received::Nothing => return,
            Received::Message(_) | Received::Block(..) => {}
        }
    }
}

fn part(raw: &[u8], piece: u32) -> Option<MetadataMessage> {
    let data = raw.chunks(16 * 1024).nth(piece as usize)?.to_vec();
    Some(MetadataMessage::Data { piece, total_size: raw.len() as u32, data })
}

#[test]
fn metadata_with_the_right_hash_and_a_bad_path_is_refused() {
    for path in [&["..", "..", "x"][..], &["/etc", "x"], &["a/b"], &[""], &["\x1b[2J", ".."]] {
        let file = Value::dict([("length", Value::Int(100)), ("path", Value::strings(path))]);
        let info = Value::dict([
            ("files", Value::List(vec![file])),
            ("name", Value::bytes("tree")),
            ("piece length", Value::Int(16384)),
            ("pieces", Value::Bytes(vec![7; 20])),
        ]);
        println!("{path:?}");
        let raw = info.encode();
        let info_hash = InfoHash::of_info(&raw);
        let sandbox = Sandbox::new();
        std::fs::create_dir_all(sandbox.path("a/b/copy")).expect("a test directory can be made");
        let mut before = tree::listing(sandbox.root());
        let addr = metadata_peer(info_hash, raw.len() as u32, move |piece| part(&raw, piece));
        let hash = info_hash.to_string();
        let get =
            sandbox.sprat("get").args([&hash, "-o", "a/b/copy", "--port", "0", "--peer", &addr.to_string()]);
        assert_refused(get.args(["--timeout", "20s"]).run(LONG), 4, &hash);
        let mut after = tree::listing(sandbox.root());
        for listing in [&mut before, &mut after] {
            listing.retain(|path, _| !path.starts_with("home"));
        }
        assert_eq!(after, before);
    }
}

#[test]
fn peers_that_lie_about_metadata_do_not_keep_it_from_coming() {
    type Lie = fn(&[u8], u32) -> Option<MetadataMessage>;
    let lies: [(&str, u32, Lie); 8] = [
        ("wrong bytes", 0, |raw, piece| part(&vec![b'x'; raw.len()], piece)),
        ("silence", 0, |_, _| None),
        ("rejects", 0, |_, piece| Some(MetadataMessage::Reject { piece })),
        ("another part than asked for", 0, |raw, piece| part(raw, piece ^ 1)),
        ("a part that is too long", 0, |raw, piece| {
            Some(MetadataMessage::Data { piece, total_size: raw.len() as u32, data: vec![1; 20_000] })
        }),
        ("an empty part", 0, |raw, piece| {
            Some(MetadataMessage::Data { piece, total_size: raw.len() as u32, data: Vec::new() })
        }),
        ("a wrong total", 0, |raw, piece| {
            let MetadataMessage::Data { data, .. } = part(raw, piece)? else { return None };
            Some(MetadataMessage::Data { piece, total_size: 1, data })
        }),
        ("a size of 4 GiB", u32::MAX, |raw, piece| part(raw, piece)),
    ];
    for (name, length, lie) in lies {
        let sandbox = Sandbox::new();
        // 2,000 pieces: 40 KB of metadata in three parts.
        let files = tree::single(1, "file.bin", 2000 * 16 * 1024);
        tree::write(&sandbox.path("data"), &files);
        let torrent = sandbox.create(sandbox.path("data/file.bin"), [], 16 * 1024);
        let content = Content::new(&torrent, &files);
        let raw = content.info.raw().to_vec();
        let length = if length == 0 { raw.len() as u32 } else { length };
        let liar = metadata_peer(content.info_hash(), length, move |piece| lie(&raw, piece));
        let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
        let honest = seed.wait_listening().addr.to_string();
        let hash = content.info_hash().to_string();
        let get = sandbox.get(&hash, sandbox.path("copy"), ["--peer", &liar.to_string(), "--peer", &honest]);
        println!("{name}");
        assert_no_panic(&get.process.wait_exit(LONG).expect(0).lines);
        tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("copy/file.bin"));
    }
}

#[test]
fn extension_messages_of_all_kinds_leave_a_seed_alive() {
    let sandbox = Sandbox::new();
    let files = tree::mixed(1, 32 * 1024);
    tree::write(&sandbox.path("data/tree"), &files);
    let torrent = sandbox.create(sandbox.path("data/tree"), [], 32 * 1024);
    let content = Content::new(&torrent, &files);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    Wire::connect_to_torrent(seed.addr, content.info_hash(), CAPABLE);
    let payloads: [&[u8]; 12] = [
        b"",
        b"le",
        b"i0e",
        b"d1:md11:ut_metadatai0ee13:metadata_sizei-1ee",
        b"d1:md11:ut_metadatai256e6:ut_pexi-1ee4:reqqi-5ee",
        b"d1:md11:ut_metadatai1eee",
        b"d1:m0:e",
        b"d4:reqqi999999999999e1:pi70000e6:yourip3:abce",
        b"d8:msg_typei0e5:piecei-1ee",
        b"d8:msg_typei0e5:piecei4294967295ee",
        b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx",
        &[b'l'; 100_000],
    ];
    for payload in payloads {
        for id in [0, 1, 2, 3, 255] {
            // With the extension bit, and without it (E1).
            for capabilities in [CAPABLE, Capabilities { extended: false, ..CAPABLE }] {
                let mut wire = Wire::connect(seed.addr);
                assert!(wire.shake_hands(content.info_hash(), capabilities).is_some(), "it takes new peers");
                wire.send(&Message::Extended { id, payload: payload.to_vec() });
                wire.send(&Message::Interested);
                // Dropped or served: whatever comes first.
                wire.receive_until(SOON, |received| {
                    matches!(received, Received::Closed | Received::Message(Message::Unchoke)).then_some(())
                })
                .expect("it is dropped or served");
            }
        }
    }
    let honest = seed.addr.to_string();
    sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &honest]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    assert!(seed.process.is_running());
    assert_no_panic(&seed.process.lines());
}
